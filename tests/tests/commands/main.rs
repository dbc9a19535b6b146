//! Commands from a client to a device and back: every stage, every refusal, deadline, cancel, keys over swaps and crashes, a flood.
//!
//! The device is a relay board on a pseudo-terminal, played by the story: what its line has been sent is all that ever reached the board.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of a story: what is missing fails it"
)]

mod once;
mod send;
mod stages;

use std::path::PathBuf;

use e2e::{Bench, Client, Daemon, DeviceEntry, Response, Terminal, eventually, variant_of};
use serde_json::{Value, json};

/// What a driver may have under way.
const COMMANDS_AT_ONCE: usize = 64;

struct Relay {
    bench: Bench,
    board: Terminal,
}

impl Relay {
    fn new() -> Self {
        Self::granting("")
    }

    fn granting(grants: &str) -> Self {
        let bench = Bench::new();
        let link = bench.folder().join("board");
        let board = Terminal::create(&link);
        bench.install("relay", &bench.artifacts.fixture("relay"));
        bench.configure(&[DeviceEntry {
            more: grants.to_owned(),
            ..DeviceEntry::new("relay", "relay", &link)
        }]);
        Self { bench, board }
    }

    async fn start(&self) -> Daemon {
        let daemon = self.bench.start();
        ready(&daemon).await;
        daemon
    }

    /// Waits for a line such as `on ID` and gives the id.
    fn hear(&mut self, word: &str) -> String {
        let line = self.board.next_line();
        let (heard, id) = line.split_once(' ').expect("a word and an id");
        assert_eq!(heard, word, "{line:?}");
        id.to_owned()
    }

    fn say(&mut self, line: &str) {
        self.board.send(format!("{line}\n").as_bytes());
    }
}

async fn ready(daemon: &Daemon) {
    eventually("the relay is ready", async || {
        let phase = daemon.member("/devices/relay/phase").await?;
        let status = daemon.member("/devices/relay/status").await?;
        (phase == "ready" && status == "running").then_some(())
    })
    .await;
}

async fn call(daemon: &Daemon, method: &str, path: &str, body: Option<&Value>, headers: &str) -> Response {
    e2e::call(daemon.address(), method, path, headers, body).await
}

async fn post(daemon: &Daemon, query: &str, body: Value) -> Response {
    call(
        daemon,
        "POST",
        &format!("/api/v1/devices/relay/commands{query}"),
        Some(&body),
        "",
    )
    .await
}

async fn status(daemon: &Daemon, id: &str) -> Value {
    let response = call(
        daemon,
        "GET",
        &format!("/api/v1/commands/{id}?wait=20000"),
        None,
        "",
    )
    .await;
    assert_eq!(
        response.status,
        200,
        "{}",
        String::from_utf8_lossy(&response.body)
    );
    response.json()
}

/// The stages of one command that a client has heard.
fn heard(client: &Client, id: &str) -> Vec<String> {
    let of_command = client.stages.iter().filter(|stage| stage["commandId"] == id);
    of_command
        .map(|stage| stage["status"].as_str().unwrap().to_owned())
        .collect()
}

async fn until_heard(client: &mut Client, id: &str, last: &str) -> Vec<String> {
    client
        .until(&format!("{id} is {last}"), |client| {
            let stages = heard(client, id);
            (stages.last().map(String::as_str) == Some(last)).then_some(stages)
        })
        .await
}

async fn send(client: &mut Client, mut command: Value) -> String {
    command["type"] = "command".into();
    command["device"] = "relay".into();
    let answer = client.ask(command).await;
    assert_eq!(answer["type"], "ack", "{answer}");
    answer["commandId"].as_str().expect("the command's id").to_owned()
}
