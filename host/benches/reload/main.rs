//! From a plugin's file that is saved to its version that runs, with the device's line streaming.
//!
//! The daemon runs as a user runs it, with the power meter's driver on an emulated meter. Each turn saves a file that has never been seen, which is
//! compiled, and one that has, which is not. A clock stands beside a socket that hears of each swap; how long the driver was at rest is what the daemon
//! says of it.

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

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use autobench_sim::wattsup::{Emulator, Options};
use serde_json::Value;
use serving::{Further, Serving};

const TURNS: u32 = 20;
/// Something is stuck.
const STUCK: Duration = Duration::from_secs(60);
/// A version that has run for this long is not on probation any more, but two versions may well follow each other faster.
const BETWEEN: Duration = Duration::from_millis(300);

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let line = folder.path().join("line");
    let emulator = Emulator::start(Options {
        speed: 50.0,
        ..Options::new(&line)
    })
    .unwrap();
    let further = Further {
        port: "baud-rate = 115200\n",
        ..Further::default()
    };
    serving::set_up(folder.path(), &line, &further);
    let mut reloads = Reloads::start(folder.path());
    let wasm = std::fs::read(&reloads.plugin).unwrap();
    let (mut new, mut known, mut pauses) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 1..=TURNS {
        for (times, file) in [(&mut new, variant_of(&wasm, turn)), (&mut known, wasm.clone())] {
            // A rate, and no wait for anything: files are saved as often as a busy author saves them.
            std::thread::sleep(BETWEEN);
            let (took, pause) = reloads.save(&file);
            times.push(took);
            pauses.push(pause);
        }
    }
    drop(reloads);
    emulator.stop().unwrap();
    println!("the component has {} KB", wasm.len() / 1000);
    told("saved to running, a new file", new);
    told("saved to running, a file that ran before", known);
    told("the driver at rest", pauses);
}

/// The same component as another file.
fn variant_of(wasm: &[u8], number: u32) -> Vec<u8> {
    let mut bytes = wasm.to_vec();
    // A custom section of four bytes.
    bytes.extend_from_slice(&[0, 6, 1, b'v']);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes
}

/// A daemon, and what it says of its drivers.
struct Reloads {
    _daemon: Serving,
    plugin: PathBuf,
    events: BufReader<TcpStream>,
}

impl Reloads {
    fn start(folder: &Path) -> Self {
        let daemon = Serving::start(folder, None);
        let address = &daemon.address;
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(STUCK)).unwrap();
        write!(
            stream,
            "GET /api/v1/events?channels=state,events HTTP/1.1\r\nHost: {address}\r\n\r\n"
        )
        .unwrap();
        let mut reloads = Self {
            plugin: folder.join("plugins/power-meter.wasm"),
            events: BufReader::new(stream),
            _daemon: daemon,
        };
        reloads.until(|line| line.contains("streaming"));
        reloads
    }

    /// How long it takes until it runs, and how long the one before was at rest.
    fn save(&mut self, file: &[u8]) -> (Duration, Duration) {
        let beside = self.plugin.with_extension("part");
        std::fs::write(&beside, file).unwrap();
        let begin = Instant::now();
        std::fs::rename(&beside, &self.plugin).unwrap();
        let told = self.until(|line| line.contains("DriverReload"));
        let took = begin.elapsed();
        let told = told.trim_start_matches("data:").trim();
        let event: Value = serde_json::from_str(told).unwrap_or_else(|error| panic!("{error}: {told}"));
        let reload = &event["event"]["context"];
        assert_eq!(reload["verdict"], "swapped", "{event}");
        (took, Duration::from_micros(reload["pauseUs"].as_u64().unwrap()))
    }

    fn until(&mut self, is_it: impl Fn(&str) -> bool) -> String {
        let mut line = String::new();
        while !is_it(&line) {
            line.clear();
            assert!(
                self.events.read_line(&mut line).unwrap() > 0,
                "the daemon has ended"
            );
        }
        line
    }
}

fn told(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let ms = |at: usize| times[at].as_secs_f64() * 1e3;
    println!(
        "{what}: median {:.2} ms, p99 {:.2}, most {:.2}",
        ms(times.len() / 2),
        ms((times.len() - 1) * 99 / 100),
        ms(times.len() - 1)
    );
}
