//! What can be done with a plugin without a daemon: `plugin check`, `diff` and `test`.
//!
//! The capture in `tests/fixtures/captures` is what the emulator of the Watts Up? meter says when it is asked as its driver asks, with one row in two
//! pieces, noise, and a cable that is pulled. The golden file beside it is what the driver makes of it. `UPDATE_FIXTURES=1` writes both anew.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of a story: what is missing fails it"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use autobench_core::capture::{Capture, Header, Record, What};
use autobench_core::driver::{CallTime, DataBits, FlowControl, LineSettings, Parity, PortIdentity, StopBits};
use autobench_sim::pc::{Pc, PcOptions};
use autobench_sim::wattsup::meter::{EnergyField, Meter, Output as Said};
use e2e::{Artifacts, Bench, Client, DeviceEntry, Terminal};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/captures")
        .join(name)
}

fn updates() -> bool {
    std::env::var_os("UPDATE_FIXTURES").is_some()
}

fn plugin(arguments: &[&str]) -> Output {
    Command::new(Artifacts::find().binary)
        .arg("plugin")
        .args(arguments)
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn events(output: &Output) -> Vec<Value> {
    out(output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn path_of(folder: &Path, stem: &str) -> String {
    folder.join(format!("{stem}.wasm")).display().to_string()
}

fn meter() -> String {
    path_of(&Artifacts::find().plugins, "power-meter")
}

fn counter(stem: &str) -> String {
    path_of(&Artifacts::find().fixtures, stem)
}

/// Twenty seconds of a meter.
fn capture() -> Capture {
    let mut session = Session {
        meter: Meter::power_on(
            Pc::new(PcOptions::default(), 7),
            EnergyField::Energy,
            &mut Vec::new(),
        ),
        records: Vec::new(),
        offset: 0,
    };
    session.attach(100);
    session.send(101, b"#V,R,0;");
    session.send(140, b"#L,W,3,E,_,1;");
    session.rows(8_000);
    session.receive(8_010, b"\x00\xff#d,-,18,12");
    session.rows(12_000);
    session.put(
        12_500,
        What::Lost {
            reason: "the device is gone".to_owned(),
        },
    );
    session.attach(14_000);
    session.send(14_001, b"#V,R,0;");
    session.send(14_040, b"#L,W,3,E,_,1;");
    session.rows(20_000);
    Capture {
        header: Header {
            device: "meter".to_owned(),
            port: "main".to_owned(),
            line: LineSettings {
                baud_rate: 115_200,
                data_bits: DataBits::Eight,
                parity: Parity::None,
                stop_bits: StopBits::One,
                flow_control: FlowControl::None,
            },
            started_at: "2026-01-01T00:00:00.000Z".to_owned(),
        },
        records: session.records,
        is_cut: false,
    }
}

struct Session {
    meter: Meter,
    records: Vec<Record>,
    offset: u64,
}

impl Session {
    fn put(&mut self, at_ms: u64, what: What) {
        let at = CallTime {
            monotonic_ns: at_ms * 1_000_000,
            wall_ms: 1_767_225_600_000.0 + at_ms as f64,
        };
        self.records.push(Record { at, what });
    }

    fn attach(&mut self, at_ms: u64) {
        let identity = PortIdentity {
            path: "/dev/ttyUSB0".to_owned(),
            usb_vendor_id: Some(0x0403),
            usb_product_id: Some(0x6001),
            serial_number: Some("A9014J7K".to_owned()),
            attributes: Vec::new(),
        };
        let offset = self.offset;
        self.put(at_ms, What::Attached { offset, identity });
    }

    fn receive(&mut self, at_ms: u64, data: &[u8]) {
        let offset = self.offset;
        self.offset += data.len() as u64;
        self.put(
            at_ms,
            What::Received {
                offset,
                data: data.to_vec(),
            },
        );
    }

    /// What the host asks, and what the meter answers within the next milliseconds.
    fn send(&mut self, at_ms: u64, data: &[u8]) {
        self.put(at_ms, What::Sent { data: data.to_vec() });
        let mut said = Vec::new();
        self.meter.receive(data, Duration::from_millis(at_ms), &mut said);
        self.hear(at_ms + 3, said);
    }

    /// The rows up to then; every fifth comes in two pieces.
    fn rows(&mut self, until_ms: u64) {
        while let Some(due) = self.meter.next_due()
            && due <= Duration::from_millis(until_ms)
        {
            let mut said = Vec::new();
            self.meter.advance(due, &mut said);
            self.hear(due.as_millis() as u64 + 5, said);
        }
    }

    fn hear(&mut self, at_ms: u64, said: Vec<Said>) {
        for said in said {
            match said {
                Said::Bytes(data) => self.receive(at_ms, &data),
                Said::Row(row) if row.number.is_multiple_of(5) => {
                    let (head, tail) = row.text.as_bytes().split_at(20);
                    self.receive(at_ms, head);
                    self.receive(at_ms + 2, tail);
                }
                Said::Row(row) => self.receive(at_ms, row.text.as_bytes()),
                Said::Started | Said::Aborted => {}
            }
        }
    }
}

#[test]
fn the_capture_of_the_meter_is_what_the_emulator_says() {
    let (path, text) = (fixture("wattsup.jsonl"), capture().to_text());
    if updates() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        kept, text,
        "the fixture is stale; run the test with UPDATE_FIXTURES=1"
    );
    assert_eq!(Capture::parse(kept.as_bytes()), Ok(capture()));
}

#[test]
fn a_driver_over_a_capture_does_what_the_golden_file_says_and_a_change_is_named_by_its_record() {
    let (capture, golden) = (fixture("wattsup.jsonl"), fixture("wattsup.golden.jsonl"));
    let (capture, golden) = (capture.to_str().unwrap(), golden.to_str().unwrap());
    let driver = meter();
    if updates() {
        let written = plugin(&[
            "test",
            &driver,
            "--capture",
            capture,
            "--golden",
            golden,
            "--update-golden",
        ]);
        assert!(written.status.success(), "{}", err(&written));
    }
    let same = plugin(&[
        "test",
        &driver,
        "--capture",
        capture,
        "--golden",
        golden,
        "--json",
    ]);
    assert_eq!(same.status.code(), Some(0), "{}{}", out(&same), err(&same));
    let events = events(&same);
    let of = |kind: &str| {
        events
            .iter()
            .filter(move |event| event["event"] == kind)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("record").len(), capture_records() + 1, "the stop is one more");
    let samples: usize = of("record")
        .iter()
        .flat_map(|event| event["entries"].as_array().unwrap())
        .filter_map(|entry| entry["samples"].as_array())
        .map(|samples| samples.iter().filter(|sample| sample[0] == "watts").count())
        .sum();
    assert!(samples >= 15, "{samples}");
    assert!(
        of("record")
            .iter()
            .any(|event| event["tookUs"].as_f64().unwrap() > 0.0)
    );
    assert!(of("slice")[0]["memoryPeakBytes"].as_u64().unwrap() > 0);
    assert_eq!(of("slice")[0]["slice"]["stats"]["totalSamples"], samples);
    assert_eq!(of("result")[0]["ok"], true);

    // The same, but one value of one record is not what the driver makes of it.
    let folder = tempfile::tempdir().unwrap();
    let altered = folder.path().join("altered.jsonl");
    let text = std::fs::read_to_string(golden).unwrap();
    let line = text.lines().position(|line| line.contains("\"watts\",")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut entry: Value = serde_json::from_str(&lines[line]).unwrap();
    let record = entry["record"].as_u64().unwrap();
    entry["did"]["samples"][0][2] = 1.25.into();
    lines[line] = entry.to_string();
    std::fs::write(&altered, lines.join("\n")).unwrap();
    let other = plugin(&[
        "test",
        &driver,
        "--capture",
        capture,
        "--golden",
        altered.to_str().unwrap(),
    ]);
    assert_eq!(other.status.code(), Some(1));
    let said = out(&other);
    let named = format!("Not as it should be: record {record}: /did/samples/0/2 is ");
    assert!(
        said.contains(&named) && said.contains(&format!("line {} of the golden file says 1.25", line + 1)),
        "{said}"
    );
}

fn capture_records() -> usize {
    capture().records.len()
}

#[test]
fn a_replay_at_full_speed_is_profiled_for_the_firefox_profiler() {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("profile.json");
    let capture = fixture("wattsup.jsonl");
    let arguments = [
        "test",
        &meter(),
        "--capture",
        capture.to_str().unwrap(),
        "--json",
        "--profile",
    ];
    let done = plugin(&[&arguments[..], &[profile.to_str().unwrap()]].concat());
    assert_eq!(done.status.code(), Some(0), "{}", err(&done));
    let event = events(&done)
        .into_iter()
        .find(|event| event["event"] == "profile")
        .unwrap();
    assert!(
        event["rounds"].as_u64().unwrap() > 1 && event["samples"].as_u64().unwrap() > 0,
        "{event}"
    );
    let profile: Value = serde_json::from_slice(&std::fs::read(profile).unwrap()).unwrap();
    assert!(
        profile["threads"][0]["samples"]["length"].as_u64().unwrap() > 0,
        "{:#}",
        profile["meta"]
    );
}

#[test]
fn what_cannot_be_played_is_told_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let text = capture().to_text();
    let other_port = write(
        "port.jsonl",
        &text.replace("\"port\":\"main\"", "\"port\":\"aux\""),
    );
    let wrong = write(
        "wrong.jsonl",
        &text.replace("\"kind\":\"lost\"", "\"kind\":\"left\""),
    );
    let cut = write("cut.jsonl", &text[..text.len() - 9]);
    let whole = write("whole.jsonl", &text);
    let driver = meter();
    let refused = |arguments: &[&str], what: &str| {
        let done = plugin(&[&["test", &driver], arguments].concat());
        assert_eq!(done.status.code(), Some(1), "{arguments:?}");
        assert!(err(&done).contains(what), "{}", err(&done));
    };
    refused(
        &["--capture", &other_port],
        "the capture is of the port \"aux\", which power-meter does not have; it has \"main\"",
    );
    refused(&["--capture", &wrong], "unknown variant `left`");
    refused(&["--capture", "nowhere.jsonl"], "the capture nowhere.jsonl");
    refused(
        &["--capture", &whole, "--settings", "{\"interval-s\": 0}"],
        "/interval-s",
    );
    refused(
        &["--capture", &whole, "--golden", "nowhere.jsonl"],
        "--update-golden writes it",
    );
    let done = plugin(&["test", &driver, "--capture", &cut]);
    assert_eq!(done.status.code(), Some(0));
    assert!(err(&done).contains("was cut and is left out"), "{}", err(&done));
    let usage = plugin(&["test", &driver, "--capture", &cut, "--update-golden"]);
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn a_driver_that_breaks_down_over_a_capture_fails_the_test_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bell.jsonl");
    let mut session = Session {
        meter: Meter::power_on(
            Pc::new(PcOptions::default(), 7),
            EnergyField::Energy,
            &mut Vec::new(),
        ),
        records: Vec::new(),
        offset: 0,
    };
    session.attach(100);
    session.receive(200, b"one\n");
    session.receive(300, b"\x07\n");
    session.receive(40_000, b"two\n");
    let records = session.records;
    let header = capture().header;
    let text = Capture {
        header,
        records,
        is_cut: false,
    }
    .to_text();
    std::fs::write(&path, text).unwrap();
    let done = plugin(&[
        "test",
        &counter("trap-on-byte"),
        "--capture",
        path.to_str().unwrap(),
    ]);
    assert_eq!(done.status.code(), Some(1), "{}", out(&done));
    let said = out(&done);
    assert!(
        said.contains(
            "Not as it should be: record 3, received bytes 4 to 6: the driver broke down: trap in `handle`"
        ),
        "{said}"
    );
    assert!(
        said.contains("bytes 4 to 6: left out") && said.contains("\"lastLine\": \"two\""),
        "{said}"
    );
}

#[tokio::test]
async fn what_the_daemon_captures_gives_the_same_slice_when_it_is_played() {
    let bench = Bench::new();
    let link = bench.folder().join("line");
    let mut terminal = Terminal::create(&link);
    bench.install("answers", &bench.artifacts.fixture("answers"));
    bench.configure(&[DeviceEntry {
        more: "capture = \"captured.jsonl\"\ncapture-mib = 1".to_owned(),
        ..DeviceEntry::new("counter", "answers", &link)
    }]);
    let daemon = bench.start();
    let mut client = Client::connect(daemon.address()).await;
    client.until_member("/counter/attached", &true.into()).await;
    let sent: Vec<String> = (0..200).map(|number| format!("{number}.5 \x01\n")).collect();
    for row in &sent {
        terminal.send(row.as_bytes());
    }
    terminal.expect("ok 199.5");
    client.until_member("/counter/lines", &200.into()).await;
    let live = client.member("/counter").unwrap().clone();
    assert!(daemon.stop().success());
    let path = bench.folder().join("captured.jsonl");
    let capture = Capture::parse(&std::fs::read(&path).unwrap()).unwrap();
    let written = capture.records.iter().filter_map(|record| match &record.what {
        What::Sent { data } => Some(data.as_slice()),
        _ => None,
    });
    let written = String::from_utf8(written.collect::<Vec<_>>().concat()).unwrap();
    assert_eq!(written.lines().count(), 200);
    assert!(
        matches!(capture.records.last().unwrap().what, What::Lost { .. }),
        "{:?}",
        capture.records.last()
    );
    let played = plugin(&[
        "test",
        &counter("answers"),
        "--capture",
        path.to_str().unwrap(),
        "--json",
    ]);
    assert_eq!(played.status.code(), Some(0), "{}", err(&played));
    let slice = events(&played)
        .into_iter()
        .find(|event| event["event"] == "slice")
        .unwrap()["slice"]
        .clone();
    for count in ["bytes", "hash", "lines", "lastLine", "missing"] {
        assert_eq!(slice[count], live[count], "{count}");
    }
}

#[test]
fn a_check_says_what_a_plugin_is_and_wants_or_why_it_is_none() {
    let good = plugin(&["check", &meter()]);
    assert_eq!(good.status.code(), Some(0), "{}", err(&good));
    let said = out(&good);
    for words in [
        "fits the world autobench:driver@0.1.0",
        "the port \"main\" at 115200 8N1",
        "memory of 16 MiB",
        "watts in W",
        "autobench:driver/serial@0.1.0",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let relay = plugin(&["check", &counter("relay"), "--json"]);
    let event = &events(&relay)[0];
    assert_eq!((&event["event"], &event["ok"]), (&"plugin".into(), &true.into()));
    let wants = event["plugin"]["wants"].as_array().unwrap();
    assert!(
        wants.iter().any(|want| want["kind"] == "dangerous-commands"),
        "{event}"
    );
    let foreign = plugin(&["check", &counter("foreign-world")]);
    assert_eq!(foreign.status.code(), Some(1));
    assert!(
        err(&foreign).contains("no driver of the world autobench:driver@0.1.0"),
        "{}",
        err(&foreign)
    );
    let text = plugin(&["check", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    assert_eq!(text.status.code(), Some(1));
    assert!(err(&text).contains("it is no WebAssembly"), "{}", err(&text));
}

#[test]
fn a_diff_says_what_another_version_changes() {
    let other = plugin(&["diff", &counter("counter"), &counter("counter-next")]);
    assert_eq!(other.status.code(), Some(0), "{}", err(&other));
    let said = out(&other);
    assert!(said.contains("becomes counter 2.0.0"), "{said}");
    assert!(
        said.contains("It wants nothing that it did not want before."),
        "{said}"
    );
    assert!(said.contains("/version: "), "{said}");
    let more = plugin(&["diff", &counter("counter"), &counter("relay"), "--json"]);
    let event = &events(&more)[0];
    let wants = event["wantsMore"].as_array().unwrap();
    assert!(
        wants.iter().any(|want| want["kind"] == "dangerous-commands"),
        "{event}"
    );
    let same = plugin(&["diff", &counter("counter"), &counter("counter")]);
    assert!(out(&same).starts_with("Both are the same file"), "{}", out(&same));
}
