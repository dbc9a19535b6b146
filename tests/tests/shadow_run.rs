//! A candidate in the shadow of the version that runs.
//!
//! Covered: a planted parsing bug is found, and the first row that it misreads is named; one that writes something else diverges at its row; an equal one
//! is adopted, and nothing is lost over it; the version that runs does not notice a run; what is no candidate is refused; nothing is adopted after no bytes, or
//! in the place of a newer file.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of a story: what is missing fails it"
)]

use std::collections::BTreeMap;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use e2e::{Artifacts, Bench, Client, Daemon, DeviceEntry, Terminal, eventually};
use serde_json::Value;

/// Between two rows of the line.
const PACE: Duration = Duration::from_millis(15);

/// A bench with one driver on a line that a story writes to.
struct Line {
    bench: Bench,
    daemon: Daemon,
    client: Client,
    terminal: Terminal,
    /// Where each row begins.
    rows: BTreeMap<u64, String>,
    sent_bytes: u64,
    sent_rows: u64,
}

impl Line {
    async fn start(plugin: &str) -> Self {
        let bench = Bench::new();
        let link = bench.folder().join("line");
        let terminal = Terminal::create(&link);
        bench.install("counter", &bench.artifacts.fixture(plugin));
        bench.configure(&[DeviceEntry::new("counter", "counter", &link)]);
        let daemon = bench.start();
        let mut client = Client::connect(daemon.address()).await;
        client
            .until("the port is open", |client| {
                (client.member("/counter/attached") == Some(&true.into())).then_some(())
            })
            .await;
        Self {
            bench,
            daemon,
            client,
            terminal,
            rows: BTreeMap::new(),
            sent_bytes: 0,
            sent_rows: 0,
        }
    }

    fn send_row(&mut self) {
        self.send_burst(1);
    }

    /// Rows in one write. Every seventh has three digits before its point.
    fn send_burst(&mut self, rows: usize) {
        let mut burst = String::new();
        for _ in 0..rows {
            self.sent_rows += 1;
            let number = self.sent_rows % 80;
            let row = match self.sent_rows.is_multiple_of(7) {
                true => format!("1{:02}.{:03}\n", 10 + number, self.sent_rows % 1000),
                false => format!("{:02}.{:03}\n", 10 + number, self.sent_rows % 1000),
            };
            let offset = self.sent_bytes;
            self.sent_bytes += row.len() as u64;
            burst.push_str(&row);
            self.rows.insert(offset, row);
        }
        self.terminal.send(burst.as_bytes());
    }

    fn attempt(&self, arguments: &[&str]) -> Child {
        Command::new(Artifacts::find().binary)
            .args(["plugin", "try", "--url", &self.daemon.url(), "--json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Sends rows while a command runs, so many at once.
    async fn send_rows_during(&mut self, burst: usize, arguments: &[&str]) -> Output {
        let mut command = self.attempt(arguments);
        while command.try_wait().unwrap().is_none() {
            self.send_burst(burst);
            // The pace of the line; nothing is waited for.
            tokio::time::sleep(PACE).await;
        }
        command.wait_with_output().unwrap()
    }

    fn fixture(&self, stem: &str) -> String {
        let path = self.bench.artifacts.fixtures.join(format!("{stem}.wasm"));
        path.display().to_string()
    }

    /// Everything that was sent is counted, and nothing else.
    async fn assert_nothing_is_lost(&mut self) {
        let (rows, bytes) = (self.sent_rows, self.sent_bytes);
        self.client
            .until("all rows are counted", |client| {
                (client.member("/counter/lines")? == rows).then_some(())
            })
            .await;
        assert_eq!(self.client.member("/counter/bytes"), Some(&bytes.into()));
    }
}

fn report(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn a_planted_parsing_bug_is_found_at_the_first_row_that_is_misread() {
    let mut line = Line::start("counter").await;
    (0..20).for_each(|_| line.send_row());
    let candidate = line.fixture("misreads");
    let done = line
        .send_rows_during(
            25,
            &[&candidate, "--device", "counter", "--seconds", "3", "--adopt"],
        )
        .await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let report = report(&done);
    assert_eq!(
        (&report["verdict"], &report["adopted"]),
        (&"differs".into(), &false.into()),
        "{report}"
    );
    let differences = report["differences"].as_array().unwrap();
    assert!(differences.len() >= 3, "{report}");
    // From the first on, each row with three digits is one, named by where it begins and by its text, and with both readings of it.
    let first = differences[0]["offset"].as_u64().unwrap();
    let misread = line
        .rows
        .range(first..)
        .filter(|(_, row)| row.len() == "123.456\n".len());
    for (difference, (offset, row)) in differences.iter().zip(misread) {
        assert_eq!(difference["offset"], *offset, "{difference}");
        assert_eq!(difference["text"], row.as_str(), "{difference}");
        assert_eq!(
            (difference["in"].as_str(), difference["place"].as_str()),
            (Some("sample"), Some("line"))
        );
        assert_eq!(difference["running"][1], row.trim().parse::<f64>().unwrap());
        assert_eq!(
            difference["candidate"][1],
            row[1..].trim().parse::<f64>().unwrap()
        );
    }
    assert!(
        report["samples"].as_u64().unwrap() > 7 * (differences.len() as u64 - 1),
        "{report}"
    );
    // The driver that runs goes on as if nothing had been.
    line.assert_nothing_is_lost().await;
    assert_eq!(
        line.client.member("/devices/counter/driver/version"),
        Some(&"1.0.0".into())
    );
    assert_eq!(
        line.client.member("/devices/counter/driver/generation"),
        Some(&1.into())
    );
}

#[tokio::test]
async fn an_equal_candidate_is_adopted_and_nothing_is_lost_over_it() {
    let mut line = Line::start("counter").await;
    (0..20).for_each(|_| line.send_row());
    let candidate = line.fixture("counter-next");
    let done = line
        .send_rows_during(
            1,
            &[&candidate, "--device", "counter", "--seconds", "2", "--adopt"],
        )
        .await;
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let report = report(&done);
    assert_eq!(
        (&report["verdict"], &report["adopted"]),
        (&"equal".into(), &true.into()),
        "{report}"
    );
    assert!(report["samples"].as_u64().unwrap() > 10, "{report}");
    assert_eq!(report["running"]["version"], "1.0.0");
    assert_eq!(report["candidate"]["version"], "2.0.0");
    line.client
        .until("the candidate runs", |client| {
            (client.member("/devices/counter/driver/version")? == "2.0.0").then_some(())
        })
        .await;
    (0..20).for_each(|_| line.send_row());
    line.assert_nothing_is_lost().await;
    let verdict = line.client.member("/devices/counter/driver/lastReload/verdict");
    assert_eq!(verdict, Some(&"swapped".into()));
}

#[tokio::test]
async fn a_candidate_that_writes_something_else_diverges_at_its_row_and_is_not_adopted() {
    let mut line = Line::start("answers").await;
    line.send_row();
    line.terminal.expect("ok 11.001\n");
    let candidate = line.fixture("counter-next");
    let done = line
        .send_rows_during(
            1,
            &[&candidate, "--device", "counter", "--seconds", "60", "--adopt"],
        )
        .await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let report = report(&done);
    assert_eq!(
        (&report["verdict"], &report["adopted"]),
        (&"diverged-in-writes".into(), &false.into()),
        "{report}"
    );
    let offset = report["offset"].as_u64().unwrap();
    let row = line.rows[&offset].clone();
    assert_eq!(report["reason"], format!("diverged in writes at offset {offset}"));
    let writes: Vec<_> = report["differences"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|difference| difference["in"] == "write")
        .collect();
    assert_eq!(writes.len(), 1, "{report}");
    assert!(
        writes[0]["running"]["text"]
            .as_str()
            .unwrap()
            .starts_with(&format!("ok {row}")),
        "{report}"
    );
    assert_eq!(writes[0].get("candidate"), None);
}

#[tokio::test]
async fn what_is_no_candidate_is_refused_and_a_run_ends_with_whoever_asked() {
    let line = Line::start("counter").await;
    let url = line.daemon.url();
    let attempt = |file: &str, device: &str, seconds: &str| {
        Command::new(Artifacts::find().binary)
            .args([
                "plugin",
                "try",
                file,
                "--url",
                &url,
                "--device",
                device,
                "--seconds",
                seconds,
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let refused = |file: &str, device: &str, what: &str| {
        let done = attempt(file, device, "1").wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "{said}");
        assert!(said.contains(what), "{said}");
    };
    refused(
        &line.fixture("counter-next"),
        "nothing",
        "there is no device \"nothing\"",
    );
    refused(
        &line.fixture("foreign-world"),
        "counter",
        "no driver of the world",
    );
    refused(
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        "counter",
        "no WebAssembly",
    );
    // Somebody tries for an hour, and gives up. Until then nobody else can.
    let candidate = line.fixture("counter-next");
    let mut long = attempt(&candidate, "counter", "3600");
    eventually("the run is under way", async || {
        if long.try_wait().unwrap().is_some() {
            // The other one below came first.
            long = attempt(&candidate, "counter", "3600");
        }
        let done = attempt(&candidate, "counter", "0.01").wait_with_output().unwrap();
        String::from_utf8_lossy(&done.stderr)
            .contains("is under way")
            .then_some(())
    })
    .await;
    long.kill().unwrap();
    long.wait().unwrap();
    eventually("another run has its turn", async || {
        let done = attempt(&candidate, "counter", "0.01").wait_with_output().unwrap();
        String::from_utf8_lossy(&done.stdout)
            .contains("nothing was compared")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_run_over_an_idle_line_has_compared_nothing_and_adopts_nothing() {
    let line = Line::start("counter").await;
    let candidate = line.fixture("misreads");
    let done = line
        .attempt(&[&candidate, "--device", "counter", "--seconds", "0.1", "--adopt"])
        .wait_with_output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let report = report(&done);
    assert_eq!(
        (&report["verdict"], &report["adopted"]),
        (&"nothing-compared".into(), &false.into()),
        "{report}"
    );
    assert!(
        report["reason"]
            .as_str()
            .unwrap()
            .contains("let it send something"),
        "{report}"
    );
    let file = line.bench.plugins().join("counter.wasm");
    assert_eq!(
        std::fs::read(file).unwrap(),
        line.bench.artifacts.fixture("counter")
    );
}

#[tokio::test]
async fn a_newer_file_that_is_saved_during_a_run_ends_it_and_stays() {
    let mut line = Line::start("answers").await;
    line.send_row();
    let candidate = line.fixture("answers");
    let arguments = |seconds| {
        [
            &*candidate,
            "--device",
            "counter",
            "--seconds",
            seconds,
            "--adopt",
        ]
    };
    let mut long = line.attempt(&arguments("20"));
    eventually("the run is under way", async || {
        if long.try_wait().unwrap().is_some() {
            // The other one below came first.
            long = line.attempt(&arguments("20"));
        }
        let [file, device, name, seconds, duration, _] = arguments("0.01");
        let other = line.attempt(&[file, device, name, seconds, duration]);
        let done = other.wait_with_output().unwrap();
        String::from_utf8_lossy(&done.stderr)
            .contains("is under way")
            .then_some(())
    })
    .await;
    let newer = line.bench.artifacts.fixture("counter-next");
    line.bench.install("counter", &newer);
    while long.try_wait().unwrap().is_none() {
        line.send_row();
        // The pace of the line; nothing is waited for.
        tokio::time::sleep(PACE).await;
    }
    let done = long.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let report = report(&done);
    assert_eq!(
        (&report["verdict"], &report["adopted"]),
        (&"gave-up".into(), &false.into()),
        "{report}"
    );
    let reason = report["reason"].as_str().unwrap();
    assert!(
        reason.contains("another version runs") || reason.contains("another file was saved"),
        "{reason}"
    );
    let file = line.bench.plugins().join("counter.wasm");
    assert_eq!(std::fs::read(file).unwrap(), newer);
    line.client
        .until("the newer file runs", |client| {
            (client.member("/devices/counter/driver/version")? == "2.0.0").then_some(())
        })
        .await;
}
