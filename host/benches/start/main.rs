//! From the start of the program to the moment at which the bench serves, with nothing compiled and with everything compiled before.
//!
//! The daemon runs as a user runs it, with the power meter's driver and no device on its line. A cold start has an empty data folder; a warm one follows
//! it on the same folder. They take turns, and the ratio is that of their medians.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run says so and ends"
)]

#[path = "../common/plugins.rs"]
mod plugins;
#[path = "../common/serving.rs"]
mod serving;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serving::{Further, Serving};

const TURNS: usize = 8;
/// Something is stuck.
const STUCK: Duration = Duration::from_secs(120);

fn main() {
    let folder = tempfile::tempdir().unwrap();
    serving::set_up(
        folder.path(),
        &folder.path().join("no-such-line"),
        &Further::default(),
    );
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let data = folder.path().join("data");
        if data.exists() {
            std::fs::remove_dir_all(&data).unwrap();
        }
        cold.push(start(folder.path()));
        warm.push(start(folder.path()));
    }
    let (cold, warm) = (told("cold", cold), told("warm", warm));
    println!("warm to cold {:.2}", warm.as_secs_f64() / cold.as_secs_f64());
}

/// How long one start takes until the bench says that it is ready.
fn start(folder: &Path) -> Duration {
    let begin = Instant::now();
    let daemon = Serving::start(folder, None);
    while !is_ready(&daemon.address) {
        assert!(begin.elapsed() < STUCK, "it is never ready");
    }
    begin.elapsed()
}

fn is_ready(address: &str) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.starts_with("HTTP/1.1 200")
}

/// Prints them, and answers their median.
fn told(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let median = times[times.len() / 2];
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "start to serving, {what}: median {:.0} ms ({:.0} to {:.0})",
        ms(median),
        ms(times[0]),
        ms(times[times.len() - 1])
    );
    median
}
