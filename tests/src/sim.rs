//! `autobench sim wattsup` in a process of its own, obeying its standard input.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::Artifacts;

/// The emulator.
pub struct Sim {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    link: PathBuf,
    journal: PathBuf,
}

impl Sim {
    /// Starts the emulator with its link and its journal in a folder.
    pub fn start(artifacts: &Artifacts, folder: &Path, speed: f64, seed: u64, faults: &str) -> Self {
        let link = folder.join("meter");
        let journal = folder.join("journal.jsonl");
        let mut child = Command::new(&artifacts.binary)
            .args(["--json", "sim", "wattsup", "--control"])
            .arg("--link")
            .arg(&link)
            .arg("--journal")
            .arg(&journal)
            .args([
                "--speed",
                &speed.to_string(),
                "--seed",
                &seed.to_string(),
                "--fault",
                faults,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the emulator starts");
        let stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the emulator speaks");
        assert!(
            line.contains("\"event\":\"sim\""),
            "the emulator's first line: {line:?}"
        );
        Self {
            child,
            stdin,
            stdout,
            link,
            journal,
        }
    }

    /// The link to its terminal.
    pub fn link(&self) -> &Path {
        &self.link
    }

    /// Asks for something and waits until it is done.
    pub fn ask(&mut self, request: &str) -> Value {
        writeln!(self.stdin, "{request}").expect("the emulator listens");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the emulator answers");
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert_eq!(answer["ok"], true, "{request}: {answer}");
        answer
    }

    /// Ends the emulator and reads what it noted.
    pub fn finish(mut self) -> Journal {
        self.ask("quit");
        let status = self.child.wait().expect("the emulator ends");
        assert!(status.success(), "the emulator ended with {status}");
        Journal::read(&self.journal)
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // Already gone after `finish`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the emulator noted of each row.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    /// Verdict by row number: `good`, `headless` or `lost`.
    pub verdicts: BTreeMap<u64, String>,
    /// Fault by row number, where one acted.
    pub faults: BTreeMap<u64, String>,
}

impl Journal {
    fn read(path: &Path) -> Self {
        let mut journal = Self::default();
        for line in std::fs::read_to_string(path)
            .expect("the journal is there")
            .lines()
        {
            let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let Some(row) = record["row"].as_u64() else {
                continue;
            };
            journal
                .verdicts
                .insert(row, record["verdict"].as_str().expect("a verdict").to_owned());
            if let Some(fault) = record["fault"].as_str() {
                journal.faults.insert(row, fault.to_owned());
            }
        }
        assert!(!journal.verdicts.is_empty(), "the journal has no row");
        journal
    }

    /// Numbers of the rows that a driver has to have read.
    pub fn readable(&self) -> BTreeSet<u64> {
        self.verdicts
            .iter()
            .filter(|(_, verdict)| *verdict != "lost")
            .map(|(row, _)| *row)
            .collect()
    }

    /// Says for each row in which two sets differ what the journal says of it.
    pub fn explain(&self, received: &BTreeSet<u64>) -> String {
        let readable = self.readable();
        let told = |row: &u64| {
            format!(
                "row {row}: {} {}",
                self.verdicts.get(row).map_or("unknown", String::as_str),
                self.faults.get(row).map_or("", String::as_str)
            )
        };
        let missing: Vec<String> = readable.difference(received).map(told).take(20).collect();
        let surplus: Vec<String> = received.difference(&readable).map(told).take(20).collect();
        format!("missing: {missing:?}; not to be there: {surplus:?}")
    }
}
