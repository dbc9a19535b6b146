//! Drivers that mean no good, beside a meter whose rows stream.
//!
//! Covered: loops, traps, recursion in each export; memory and tables without end; floods of updates, log lines and events; texts and lists of any
//! size and from nowhere; values that would poison a mirror; ports that were not given; manifests and schemas that cost, or lie; snapshots past
//! their limit; files that are no drivers, or compile for ever. Each is offered as a new version of a device that runs and as a new device, and
//! run. Each is contained and named with its reason; the device goes on with its former version; the daemon lives within bounded memory; and the
//! meter's series has every row that its journal has, each taken in time.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test: a failure here is the test's failure"
)]

mod acts;
mod attribution;
mod cases;
mod debug_info;
mod guest;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use cases::{Case, End};
use e2e::{Bench, Client, Daemon, DeviceEntry, Sim, Terminal, eventually, is_long, variant_of};
use guest::TRIGGER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const SEED: u64 = 20_260_611;
/// Rows per second of the meter.
const ROWS_PER_SECOND: f64 = 50.0;
/// A row is taken before so many more are sent: at worst it waits for as long as a machine that builds beside makes anything wait.
const ROWS_LATE: f64 = 75.0;
/// Refused before anybody looks at what is in it.
const UNREAD: [&str; 3] = ["no-webassembly", "empty", "too-large"];
/// Processes that compile at once.
const COMPILING: usize = 4;
/// How long one may take.
const COMPILE_LIMIT: Duration = Duration::from_secs(180);
/// What the daemon may have grown by when everything is over.
const GROWN_KIB: u64 = 96 << 10;
/// What it may have had at any time: one driver's memory at a time, twice, and what it began with.
const PEAK_GROWN_KIB: u64 = 320 << 10;

/// A meter that streams, and beside it a device that counts.
struct Siege {
    bench: Bench,
    sim: Sim,
    line: Terminal,
    devices: [DeviceEntry; 2],
    daemon: Daemon,
    client: Client,
    energy: u64,
    /// Bytes that the device was sent.
    sent: u64,
    grown: Memory,
}

impl Siege {
    async fn begin() -> Self {
        let bench = Bench::new();
        let sim = Sim::start(&bench.artifacts, bench.folder(), ROWS_PER_SECOND, SEED, "none");
        let link = bench.folder().join("line");
        let line = Terminal::create(&link);
        bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
        bench.install("victim", &bench.artifacts.fixture("counter"));
        let devices = [
            DeviceEntry::meter(sim.link()),
            DeviceEntry::new("victim", "victim", &link),
        ];
        bench.configure(&devices);
        let daemon = bench.start();
        let mut client = daemon.client().await;
        let energy = client.endpoint("meter", "energy");
        client.subscribe(&[energy]).await;
        client
            .until_member("/powerMeter/phase", &json!("streaming"))
            .await;
        client.until_member("/victim/attached", &json!(true)).await;
        let grown = Memory::of(&daemon);
        Self {
            bench,
            sim,
            line,
            devices,
            daemon,
            client,
            energy,
            sent: 0,
            grown,
        }
    }

    /// Sends the device a byte.
    fn send(&mut self, byte: u8) {
        self.line.send(&[byte]);
        self.sent += 1;
    }

    /// The meter's rows that were sent by now have come.
    async fn expect_rows(&mut self, meanwhile: &str) {
        let sent = self.sim.ask("stats")["rows"].as_u64().expect("rows");
        let energy = self.energy;
        self.client
            .until(
                &format!("row {sent} of the meter, beside {meanwhile}"),
                |client| (newest_row(client, energy)? >= sent).then_some(()),
            )
            .await;
    }

    /// Offers a file as a new version of the device, and lets it run.
    async fn offer_as_version(&mut self, case: &Case, good: &Value) {
        let name = case.name;
        let hash = hash_of(&case.file);
        self.bench.install("victim", &case.file);
        let in_swap = |code| matches!(code, "start" | "instantiate");
        match case.end {
            End::Refused(code, words) => {
                self.client
                    .until(&format!("{name} is refused"), |client| {
                        let plugin = client.member("/plugins/victim")?;
                        let is_so = plugin["status"] == "refused" && plugin["code"] == code;
                        let says = plugin["reason"].as_str()?.contains(words);
                        // Of a file that is not taken for a plugin nobody asks for the hash.
                        let is_it = plugin["sha256"] == hash || UNREAD.contains(&code);
                        (is_it && is_so && says).then_some(())
                    })
                    .await;
            }
            End::Breaks(export, code, words) if in_swap(export) => {
                self.until_fault(name, "victim", &hash, export, code, words).await;
                self.client
                    .until(&format!("{name} is refused by the device"), |client| {
                        let reload = client.member("/devices/victim/driver/lastReload")?;
                        (reload["to"] == hash && reload["verdict"] == "refused").then_some(())
                    })
                    .await;
            }
            End::Breaks(..) | End::Contained => {
                self.client
                    .until(&format!("{name} runs"), |client| {
                        let driver = client.member("/devices/victim/driver")?;
                        // It may be over with it before anybody has looked.
                        (driver["sha256"] == hash || driver["lastFault"]["sha256"] == hash).then_some(())
                    })
                    .await;
                if let End::Contained = case.end {
                    // A byte that sets nothing off but what it does each time.
                    self.send(b'x');
                    self.client
                        .until_member("/devices/victim/phase", &json!("contained"))
                        .await;
                }
                self.send(TRIGGER);
                let (export, code, words) = match case.end {
                    End::Breaks(export, code, words) if export != "stop" => (export, code, words),
                    // Nothing else is wrong with it than what it does over this byte.
                    _ => ("handle", "trap", "unreachable"),
                };
                self.until_fault(name, "victim", &hash, export, code, words).await;
                self.client
                    .until(&format!("the return from {name}"), |client| {
                        let driver = client.member("/devices/victim/driver")?;
                        let is_back = driver["lastReload"]["verdict"] == "returned";
                        (is_back && driver["sha256"] == *good).then_some(())
                    })
                    .await;
            }
        }
        // The device has lost nothing of what came meanwhile.
        self.send(b'\n');
        let sent = self.sent;
        self.client.until_member("/victim/bytes", &json!(sent)).await;
        self.client
            .until_member("/devices/victim/status", &json!("running"))
            .await;
        self.expect_rows(name).await;
        let memory = Memory::of(&self.daemon);
        assert!(
            memory.now_kib <= self.grown.now_kib + GROWN_KIB,
            "{name}: {memory:?} after {:?}",
            self.grown
        );
    }

    async fn until_fault(
        &mut self,
        name: &str,
        device: &str,
        hash: &str,
        export: &str,
        code: &str,
        words: &str,
    ) {
        let place = format!("/devices/{device}/driver/lastFault");
        self.client
            .until(
                &format!("{name} breaks down over {export} with {code}: {words}"),
                |client| {
                    let fault = client.member(&place)?;
                    (fault["sha256"] == hash).then_some(())
                },
            )
            .await;
        let fault = self.client.member(&place).unwrap();
        assert_eq!(fault["export"], export, "{name}: {fault}");
        assert_eq!(fault["code"], code, "{name}: {fault}");
        assert!(
            fault["message"].as_str().unwrap().contains(words),
            "{name}: {fault}"
        );
        assert_eq!(fault["version"], "6.6.6", "{name}: {fault}");
        let plugin = self.client.member(&format!("/devices/{device}/plugin"));
        assert_eq!(fault.get("plugin"), plugin, "{name}: {fault}");
    }
}

#[tokio::test]
async fn a_hostile_version_is_contained_and_named_and_the_meter_loses_nothing() {
    let mut siege = Siege::begin().await;
    let good = siege
        .client
        .member("/devices/victim/driver/sha256")
        .cloned()
        .unwrap();
    let mut cases = cases::all();
    cases.push(Case {
        name: "machine-code",
        file: siege.machine_code(),
        end: End::Refused("no-webassembly", "does not begin with"),
    });
    for case in &cases {
        siege.offer_as_version(case, &good).await;
    }
    println!("{} hostile versions", cases.len());
    siege.account().await;
}

#[tokio::test]
async fn hostile_devices_are_contained_and_named_and_the_meter_loses_nothing() {
    let mut siege = Siege::begin().await;
    let cases = cases::all();
    for case in &cases {
        siege.bench.install(case.name, &case.file);
    }
    siege.configure(&cases);
    let mut most_children = 0;
    for case in &cases {
        most_children = most_children.max(children_of(&siege.daemon));
        siege.expect_device(case).await;
    }
    siege.expect_rows("all of them").await;
    println!(
        "{} hostile devices, at most {most_children} processes seen that compile",
        cases.len()
    );
    assert!(
        most_children <= COMPILING,
        "{most_children} processes compile at once"
    );
    // Those with nothing wrong but their last words have said them now.
    siege.configure(&[]);
    for case in cases
        .iter()
        .filter(|case| matches!(case.end, End::Breaks("stop", ..)))
    {
        let End::Breaks(export, code, words) = case.end else {
            continue;
        };
        siege
            .until_fault(case.name, case.name, &hash_of(&case.file), export, code, words)
            .await;
    }
    siege.account().await;
}

#[tokio::test]
async fn what_compiles_for_ever_takes_nothing_from_the_others_and_gives_way_to_what_is_newer() {
    let mut siege = Siege::begin().await;
    let good = siege.bench.artifacts.fixture("counter");
    let file = cases::compiles_for_ever();
    siege.bench.install("victim", &file);
    eventually("a process that compiles", async || {
        (children_of(&siege.daemon) > 0).then_some(())
    })
    .await;
    // For as long as the meter takes for a hundred rows.
    let due = newest_row(&siege.client, siege.energy).unwrap_or_default() + 100;
    let energy = siege.energy;
    siege
        .client
        .until("a hundred rows", |client| {
            (newest_row(client, energy)? >= due).then_some(())
        })
        .await;
    if is_long() {
        let began = Instant::now();
        while began.elapsed() < COMPILE_LIMIT && children_of(&siege.daemon) > 0 {
            siege.client.drain(Duration::from_secs(1)).await;
        }
        siege
            .client
            .until_member("/plugins/victim/code", &json!("compile"))
            .await;
    } else {
        assert!(children_of(&siege.daemon) > 0, "it is compiled in no time");
    }
    siege.bench.install("victim", &variant_of(&good, 1));
    siege
        .client
        .until_member("/devices/victim/driver/lastReload/verdict", &json!("swapped"))
        .await;
    assert_eq!(
        children_of(&siege.daemon),
        0,
        "somebody goes on compiling what nobody wants"
    );
    siege.send(b'\n');
    siege.client.until_member("/victim/bytes", &json!(1)).await;
    siege.account().await;
}

#[tokio::test]
async fn what_is_no_file_is_named_and_the_meter_loses_nothing() {
    let mut siege = Siege::begin().await;
    let at = |name: &str| siege.bench.plugins().join(name);
    std::os::unix::fs::symlink("/dev/zero", at("link.wasm")).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe.wasm"), mode).unwrap();
    std::fs::create_dir(at("folder.wasm")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.wasm")).unwrap();
    for (stem, code) in [
        ("link", "link"),
        ("pipe", "no-file"),
        ("folder", "no-file"),
        ("socket", "no-file"),
    ] {
        siege
            .client
            .until_member(&format!("/plugins/{stem}/code"), &json!(code))
            .await;
        siege.expect_rows(stem).await;
    }
    siege.account().await;
}

impl Siege {
    /// The bench with a device for each of these files.
    fn configure(&self, cases: &[Case]) {
        self.bench.configure(&self.devices);
        let mut text = std::fs::read_to_string(self.bench.config()).unwrap();
        for Case { name, .. } in cases {
            writeln!(text, "[devices.{name}]\nplugin = \"{name}\"").unwrap();
        }
        self.bench.write_config(&text);
    }

    /// A device with nothing but this file has come to what has to become of it.
    async fn expect_device(&mut self, case: &Case) {
        let name = case.name;
        let status = match case.end {
            End::Refused(..) => "refused",
            // What it broke down over twice it is spared.
            End::Breaks("stop" | "handle", ..) | End::Contained => "running",
            End::Breaks(..) => "quarantined",
        };
        let device = format!("/devices/{name}");
        match case.end {
            End::Refused(code, words) => {
                let plugin = format!("/plugins/{name}");
                self.client
                    .until_member(&format!("{plugin}/code"), &json!(code))
                    .await;
                self.client
                    .until(&format!("{name}: {words}"), |client| {
                        let reason = client.member(&format!("{device}/reason"))?.as_str()?;
                        reason.contains(words).then_some(())
                    })
                    .await;
            }
            End::Breaks("stop", ..) => {}
            End::Breaks(export, code, words) => {
                let hash = hash_of(&case.file);
                self.until_fault(name, name, &hash, export, code, words).await;
            }
            End::Contained => {
                self.client
                    .until_member(&format!("{device}/phase"), &json!("contained"))
                    .await;
            }
        }
        self.client
            .until_member(&format!("{device}/status"), &json!(status))
            .await;
    }

    /// What the daemon has made of a plugin, without what it keeps before it.
    fn machine_code(&self) -> Vec<u8> {
        let folder = self.bench.folder().join("data/code");
        let entry = std::fs::read_dir(folder)
            .unwrap()
            .flatten()
            .next()
            .expect("a compiled plugin");
        let bytes = std::fs::read(entry.path()).unwrap();
        let begin = bytes
            .windows(4)
            .position(|window| window == b"\x7fELF")
            .expect("machine code");
        bytes[begin..].to_vec()
    }
}

impl Siege {
    /// Every row of the meter came once, in order and in time.
    async fn account(mut self) {
        let memory = Memory::of(&self.daemon);
        println!("{:?} before, {memory:?} after", self.grown);
        assert!(
            memory.peak_kib <= self.grown.now_kib + PEAK_GROWN_KIB,
            "{memory:?}"
        );
        let journal = self.sim.finish();
        let last = *journal.readable().last().expect("a row");
        let energy = self.energy;
        self.client
            .until("the last row", |client| {
                (newest_row(client, energy)? == last).then_some(())
            })
            .await;
        let samples = &self.client.samples[&energy];
        let rows: Vec<u64> = samples.iter().map(|(_, value)| row_of(*value)).collect();
        let received: BTreeSet<u64> = rows.iter().copied().collect();
        assert_eq!(received.len(), rows.len(), "a row came twice");
        assert!(rows.is_sorted(), "rows came out of order");
        assert!(journal.readable() == received, "{}", journal.explain(&received));
        let worst = lateness(samples);
        println!(
            "{} rows, the latest taken {worst:.1} rows after it was due",
            rows.len()
        );
        assert!(worst < ROWS_LATE, "a row was taken {worst:.1} rows late");
        assert!(self.daemon.stop().success());
    }
}

/// By how many rows the latest one was taken too late, by the times at which the host received them: the emulator sends them at one pace.
fn lateness(samples: &[(f64, f64)]) -> f64 {
    let row_ms = 1000.0 / ROWS_PER_SECOND;
    let offsets = samples
        .iter()
        .map(|(at_ms, value)| at_ms - row_of(*value) as f64 * row_ms);
    let (mut earliest, mut latest) = (f64::INFINITY, f64::NEG_INFINITY);
    for offset in offsets {
        earliest = earliest.min(offset);
        latest = latest.max(offset);
    }
    (latest - earliest) / row_ms
}

fn newest_row(client: &Client, energy: u64) -> Option<u64> {
    client
        .samples
        .get(&energy)?
        .last()
        .map(|(_, value)| row_of(*value))
}

/// A row's number is its energy in tenths.
fn row_of(energy: f64) -> u64 {
    (energy * 10.0).round() as u64
}

/// Processes that the daemon has started and that are not over.
fn children_of(daemon: &Daemon) -> usize {
    let parent = format!("PPid:\t{}", daemon.pid());
    let statuses = std::fs::read_dir("/proc").unwrap().flatten();
    statuses
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("status")).ok())
        .filter(|status| status.lines().any(|line| line == parent))
        .count()
}

fn hash_of(file: &[u8]) -> String {
    Sha256::digest(file).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What the daemon has of the machine's memory.
#[derive(Debug, Clone, Copy)]
struct Memory {
    now_kib: u64,
    peak_kib: u64,
}

impl Memory {
    fn of(daemon: &Daemon) -> Self {
        let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it lives");
        let field = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).expect("a field");
            line.split_whitespace()
                .nth(1)
                .and_then(|number| number.parse().ok())
                .expect("a number")
        };
        Self {
            now_kib: field("VmRSS:"),
            peak_kib: field("VmHWM:"),
        }
    }
}
