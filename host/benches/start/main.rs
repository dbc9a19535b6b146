//! From the start of the program to the moment at which the bench serves, with nothing compiled and with everything compiled before.
//!
//! The daemon runs as a user runs it, with the power meter's driver and no device on its line. A cold start has an empty data folder; a warm one follows
//! it on the same folder. They take turns, and the ratio is that of their medians.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run says so and ends"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

#[path = "../common/plugins.rs"]
mod plugins;

const TURNS: usize = 8;
/// Something is stuck.
const STUCK: Duration = Duration::from_secs(120);

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = plugins::path_of("power-meter");
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    if let Err(error) = std::fs::copy(&plugin, folder.path().join("plugins/power-meter.wasm")) {
        panic!("{}: {error}\n{}", plugin.display(), plugins::HINT);
    }
    let config = format!(
        "[daemon]\nlisten = \"127.0.0.1:0\"\nplugins-dir = \"plugins\"\ndata-dir = \"data\"\n\
         [devices.meter]\nplugin = \"power-meter\"\n[devices.meter.ports.main]\npath = \"{}\"\n",
        folder.path().join("no-such-line").display()
    );
    std::fs::write(folder.path().join("plugins.toml"), config).unwrap();
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
    let mut child = Command::new(env!("CARGO_BIN_EXE_autobench"))
        .args(["--json", "serve", "--config"])
        .arg(folder.join("plugins.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = loop {
        let line = lines.next().expect("it serves").unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["event"] == "listening" {
            break event["url"].as_str().unwrap().to_owned();
        }
    };
    let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    while !is_ready(&address) {
        assert!(begin.elapsed() < STUCK, "it is never ready");
    }
    let took = begin.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    took
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
