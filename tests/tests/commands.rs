//! Commands from a client to a device and back: every stage, every refusal, deadline, cancel, keys over swaps and crashes, a flood.
//!
//! The device is a relay board on a pseudo-terminal, played by the story: what its line has been sent is all that ever reached the board.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of a story: what is missing fails it"
)]

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

/// Sends a message and waits for its answer.
async fn ask(client: &mut Client, mut message: Value) -> Value {
    let id = format!("m{}", client.answers.len());
    message["id"] = id.as_str().into();
    client.send(&message).await;
    client
        .until("an answer", |client| {
            client
                .answers
                .iter()
                .find(|answer| answer["id"] == id.as_str())
                .cloned()
        })
        .await
}

async fn send(client: &mut Client, mut command: Value) -> String {
    command["type"] = "command".into();
    command["device"] = "relay".into();
    let answer = ask(client, command).await;
    assert_eq!(answer["type"], "ack", "{answer}");
    answer["commandId"].as_str().expect("the command's id").to_owned()
}

#[tokio::test]
async fn every_stage_is_heard_on_the_socket_and_over_http() {
    let mut relay = Relay::new();
    let daemon = relay.start().await;
    let mut sender = daemon.client().await;
    let mut other = daemon.client().await;
    assert_eq!(
        ask(&mut other, json!({"type": "subscribe", "channel": "commands"})).await["type"],
        "ack"
    );

    let id = send(&mut sender, json!({"name": "on"})).await;
    assert_eq!(relay.hear("on"), id);
    until_heard(&mut sender, &id, "sent").await;
    relay.say(&format!("ack {id}"));
    until_heard(&mut sender, &id, "acked").await;
    relay.say(&format!("at {id} 0.5 half closed"));
    sender
        .until("progress", |client| {
            client
                .stages
                .last()
                .filter(|stage| stage.get("progress").is_some())
                .map(|_| ())
        })
        .await;
    relay.say(&format!("done {id} true"));
    let stages = until_heard(&mut sender, &id, "succeeded").await;
    assert_eq!(stages, ["queued", "sent", "acked", "acked", "succeeded"]);
    assert_eq!(
        until_heard(&mut other, &id, "succeeded").await,
        stages,
        "who follows all hears the same"
    );

    let last = sender.stages.last().unwrap().clone();
    assert_eq!(last["actualValue"], true);
    assert_eq!(last["progress"], json!({"message": "half closed", "share": 0.5}));
    let times: Vec<&str> = ["queuedAt", "sentAt", "ackedAt", "completedAt"]
        .map(|name| last[name].as_str().unwrap())
        .to_vec();
    assert!(times.is_sorted(), "{times:?}");
    assert!(last["deadlineAt"].as_str().unwrap() > times[3]);

    // The same over HTTP, and at once for who subscribes to it when it is over.
    let mut expected = last.clone();
    expected.as_object_mut().unwrap().remove("type");
    assert_eq!(status(&daemon, &id).await, expected);
    let list = call(&daemon, "GET", "/api/v1/commands", None, "").await.json();
    assert_eq!(list, json!({"commands": [expected]}));
    let mut late = daemon.client().await;
    let follow = json!({"type": "subscribe", "channel": "commands", "commandIds": [id]});
    assert_eq!(ask(&mut late, follow).await["type"], "ack");
    assert_eq!(until_heard(&mut late, &id, "succeeded").await, ["succeeded"]);

    // And begun over HTTP.
    let response = post(&daemon, "", json!({"name": "off"})).await;
    assert_eq!(response.status, 202);
    let id = response.json()["commandId"].as_str().unwrap().to_owned();
    assert_eq!(
        response.header("location"),
        Some(format!("/api/v1/commands/{id}").as_str())
    );
    let mut follower = daemon.client().await;
    let follow = json!({"type": "subscribe", "channel": "commands", "commandIds": [id]});
    assert_eq!(ask(&mut follower, follow).await["type"], "ack");
    assert_eq!(relay.hear("off"), id);
    relay.say(&format!("done {id} false"));
    until_heard(&mut follower, &id, "succeeded").await;
    assert_eq!(status(&daemon, &id).await["actualValue"], false);
    assert_eq!(
        heard(&sender, &id),
        Vec::<String>::new(),
        "who did not ask is not told"
    );
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn refusals_have_their_codes_and_write_nothing() {
    let mut relay = Relay::new();
    let daemon = relay.start().await;
    let mut client = daemon.client().await;
    for (command, code, status, word) in [
        (
            json!({"name": "explode"}),
            "unknown-command",
            422,
            "off, on, pulse, reset, trap",
        ),
        (json!({"name": "pulse"}), "bad-arguments", 422, "ms"),
        (
            json!({"name": "pulse", "args": {"ms": 0}}),
            "bad-arguments",
            422,
            "/ms",
        ),
        (
            json!({"name": "on", "args": {"ms": 1}}),
            "bad-arguments",
            422,
            "ms",
        ),
        (json!({"name": "reset"}), "not-granted", 403, "dangerous-commands"),
        (
            json!({"name": "on", "deadlineMs": 0}),
            "bad-deadline",
            400,
            "deadlineMs",
        ),
        (json!({"name": "on", "idempotencyKey": ""}), "bad-key", 400, "key"),
    ] {
        let response = post(&daemon, "", command.clone()).await;
        let problem = response.json();
        assert_eq!(
            (response.status, problem["code"].as_str()),
            (status, Some(code)),
            "{command}: {problem}"
        );
        assert!(
            problem["detail"].as_str().unwrap().contains(word),
            "{command}: {problem}"
        );
        let mut message = command.clone();
        message["type"] = "command".into();
        message["device"] = "relay".into();
        let answer = ask(&mut client, message).await;
        assert_eq!(
            (answer["type"].as_str(), answer["code"].as_str()),
            (Some("error"), Some(code)),
            "{answer}"
        );
    }
    let body = json!({"name": "on"});
    let unknown = call(&daemon, "POST", "/api/v1/devices/lamp/commands", Some(&body), "").await;
    assert_eq!(
        (unknown.status, unknown.json()["code"].as_str()),
        (404, Some("unknown-device"))
    );
    for (method, path) in [
        ("GET", "/api/v1/commands/x-1"),
        ("DELETE", "/api/v1/commands/x-1"),
    ] {
        let unknown = call(&daemon, method, path, None, "").await;
        assert_eq!(
            (unknown.status, unknown.json()["code"].as_str()),
            (404, Some("unknown-command-id"))
        );
    }
    for (message, code) in [
        (
            json!({"type": "command.cancel", "commandId": "x-1"}),
            "unknown-command-id",
        ),
        (
            json!({"type": "subscribe", "channel": "commands", "commandIds": ["x-1"]}),
            "unknown-command-id",
        ),
        (json!({"type": "lease.renew", "leaseId": 1}), "unknown-lease"),
        (json!({"type": "lease.end", "leaseId": 1}), "unknown-lease"),
    ] {
        assert_eq!(ask(&mut client, message.clone()).await["code"], code, "{message}");
    }
    // One that is taken is the first of which the board hears.
    let id = send(&mut client, json!({"name": "on"})).await;
    assert_eq!(relay.hear("on"), id);

    // A driver that does not run takes none.
    std::fs::remove_file(relay.bench.plugins().join("relay.wasm")).unwrap();
    eventually("the driver is stopped", async || {
        (daemon.member("/devices/relay/status").await? == "stopped").then_some(())
    })
    .await;
    let over = status(&daemon, &id).await;
    assert_eq!(over["status"], "failed");
    assert!(
        over["reason"].as_str().unwrap().starts_with("unknown-outcome:"),
        "{over}"
    );
    let response = post(&daemon, "", json!({"name": "on"})).await;
    let problem = response.json();
    assert_eq!(
        (response.status, problem["code"].as_str()),
        (503, Some("not-ready"))
    );
    assert!(
        problem["detail"].as_str().unwrap().contains("relay.wasm is gone"),
        "{problem}"
    );
    assert_eq!(relay.board.line_so_far(), None);
}

#[tokio::test]
async fn every_way_in_which_a_command_can_end() {
    let mut relay = Relay::granting("[devices.relay.grants]\ndangerous-commands = [\"reset\"]\n");
    let daemon = relay.start().await;
    let mut client = daemon.client().await;

    let late = send(&mut client, json!({"name": "on", "deadlineMs": 3000})).await;
    assert_eq!(relay.hear("on"), late);
    assert_eq!(
        until_heard(&mut client, &late, "expired").await,
        ["queued", "sent", "expired"]
    );
    assert!(
        client.stages.last().unwrap()["reason"]
            .as_str()
            .unwrap()
            .starts_with("deadline:")
    );
    // The driver is told too, and what it says then is not heard.
    assert_eq!(relay.hear("cancel"), late);

    let cancelled = send(
        &mut client,
        json!({"name": "pulse", "args": {"ms": 60_000}, "deadlineMs": 90_000}),
    )
    .await;
    assert_eq!(relay.hear("on"), cancelled);
    until_heard(&mut client, &cancelled, "acked").await;
    assert_eq!(
        ask(
            &mut client,
            json!({"type": "command.cancel", "commandId": cancelled})
        )
        .await["type"],
        "ack"
    );
    until_heard(&mut client, &cancelled, "cancelled").await;
    assert_eq!(relay.hear("cancel"), cancelled);

    let deleted = send(&mut client, json!({"name": "reset"})).await;
    assert_eq!(
        relay.hear("reset"),
        deleted,
        "a dangerous command that is granted"
    );
    let response = call(
        &daemon,
        "DELETE",
        &format!("/api/v1/commands/{deleted}"),
        None,
        "",
    )
    .await;
    assert!([200, 202].contains(&response.status), "{}", response.status);
    until_heard(&mut client, &deleted, "cancelled").await;
    assert_eq!(relay.hear("cancel"), deleted);
    let again = call(
        &daemon,
        "DELETE",
        &format!("/api/v1/commands/{deleted}"),
        None,
        "",
    )
    .await;
    assert_eq!(
        (again.status, again.json()["status"].as_str()),
        (200, Some("cancelled"))
    );

    for (answer, stage, reason) in [
        ("error", "failed", "the contact is welded"),
        ("blocked", "blocked", "the lid is open"),
    ] {
        let id = send(&mut client, json!({"name": "off"})).await;
        assert_eq!(relay.hear("off"), id);
        relay.say(&format!("{answer} {id} {reason}"));
        until_heard(&mut client, &id, stage).await;
        assert_eq!(client.stages.last().unwrap()["reason"], reason);
    }

    // A command that breaks its driver down is failed and not tried again; one that was under way goes on.
    let held = send(&mut client, json!({"name": "pulse", "args": {"ms": 3000}})).await;
    assert_eq!(relay.hear("on"), held);
    let trap = send(&mut client, json!({"name": "trap"})).await;
    until_heard(&mut client, &trap, "failed").await;
    let reason = client
        .stages
        .iter()
        .rfind(|stage| stage["commandId"] == trap.as_str())
        .unwrap()["reason"]
        .clone();
    assert!(reason.as_str().unwrap().starts_with("broke-down:"), "{reason}");
    until_heard(&mut client, &held, "succeeded").await;
    assert_eq!(
        relay.hear("off"),
        held,
        "the pulse was ended by the driver that was started again"
    );
    ready(&daemon).await;
    let on = send(&mut client, json!({"name": "on"})).await;
    assert_eq!(relay.hear("on"), on);
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_version_returns_over_a_gap_where_a_command_has_come_since() {
    let mut relay = Relay::new();
    let daemon = relay.start().await;
    let mut client = daemon.client().await;
    let first = client.member("/devices/relay/driver/sha256").cloned();
    let before = send(&mut client, json!({"name": "on"})).await;
    assert_eq!(relay.hear("on"), before);
    relay.say(&format!("done {before} true"));
    until_heard(&mut client, &before, "succeeded").await;

    let wasm = relay.bench.artifacts.fixture("relay");
    relay.bench.install("relay", &variant_of(&wasm, 1));
    client
        .until_member("/devices/relay/driver/lastReload/verdict", &json!("swapped"))
        .await;
    let open = send(&mut client, json!({"name": "off"})).await;
    assert_eq!(relay.hear("off"), open);
    relay.say(&format!("ack {open}"));
    until_heard(&mut client, &open, "acked").await;
    let trap = send(&mut client, json!({"name": "trap"})).await;
    until_heard(&mut client, &trap, "failed").await;
    client
        .until_member("/devices/relay/driver/lastReload/verdict", &json!("returned"))
        .await;
    // It says how, and why. What became of the command that was under way nobody knows, and it is not done again.
    assert_eq!(
        client.member("/devices/relay/driver/lastReload/reason"),
        Some(&json!("over a gap: a command has come since it was replaced"))
    );
    until_heard(&mut client, &open, "failed").await;
    let of_open = client
        .stages
        .iter()
        .rfind(|stage| stage["commandId"] == open.as_str());
    let reason = of_open.unwrap()["reason"].as_str().unwrap();
    assert!(reason.starts_with("unknown-outcome:"), "{reason}");
    assert_eq!(client.member("/devices/relay/driver/sha256").cloned(), first);
    // It goes on from what it knew when it was replaced, and not from what the failed version made of it.
    client.until_member("/relay/commands", &json!(1)).await;
    client.until_member("/relay/on", &json!(true)).await;
    relay.say(&format!("done {open} false"));
    let next = send(&mut client, json!({"name": "on"})).await;
    assert_eq!(relay.hear("on"), next, "nothing was written in between");
    relay.say(&format!("done {next} true"));
    until_heard(&mut client, &next, "succeeded").await;
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_key_is_one_command_over_a_swap_and_a_crash_of_the_daemon() {
    let mut relay = Relay::new();
    let daemon = relay.start().await;
    let keyed = |name: &str, key: &str| json!({"name": name, "idempotencyKey": key, "deadlineMs": 120_000});
    let id_of = |response: &Response| response.json()["commandId"].as_str().unwrap().to_owned();
    let id = id_of(&post(&daemon, "", keyed("on", "press")).await);
    assert_eq!(relay.hear("on"), id);

    // The driver is replaced while the command is under way.
    let wasm = relay.bench.artifacts.fixture("relay");
    relay.bench.install("relay", &variant_of(&wasm, 1));
    eventually("the swap", async || {
        let verdict = daemon.member("/devices/relay/driver/lastReload/verdict").await?;
        (verdict == "swapped").then_some(())
    })
    .await;
    let same = post(&daemon, "", keyed("on", "press")).await;
    assert_eq!((same.status, id_of(&same)), (202, id.clone()));
    relay.say(&format!("done {id} true"));
    assert_eq!(
        status(&daemon, &id).await["status"],
        "succeeded",
        "the successor knows it"
    );
    let other = post(&daemon, "", keyed("off", "press")).await;
    assert_eq!(
        (other.status, other.json()["code"].as_str()),
        (422, Some("idempotency-mismatch"))
    );
    // The key may come in the header, as drafted for HTTP.
    let body = json!({"name": "on", "args": {}});
    let path = "/api/v1/devices/relay/commands";
    let by_header = call(
        &daemon,
        "POST",
        path,
        Some(&body),
        "Idempotency-Key: \"press\"\r\n",
    )
    .await;
    assert_eq!((by_header.status, id_of(&by_header)), (200, id.clone()));

    // The daemon is killed while one is under way; of the other it knew how it ended.
    let open = id_of(&post(&daemon, "", keyed("on", "open")).await);
    assert_eq!(relay.hear("on"), open);
    daemon.kill();
    let daemon = relay.start().await;
    let done = post(&daemon, "", keyed("on", "press")).await.json();
    assert_eq!(
        (&done["commandId"], &done["status"]),
        (&json!(id), &json!("succeeded"))
    );
    let unknown = post(&daemon, "", keyed("on", "open")).await.json();
    assert_eq!(
        (&unknown["commandId"], &unknown["status"]),
        (&json!(open), &json!("failed"))
    );
    let reason = unknown["reason"].as_str().unwrap();
    assert!(reason.starts_with("unknown-outcome:"), "{unknown}");
    assert_eq!(status(&daemon, &open).await, unknown);
    // The next line that the board is sent belongs to the next command: nothing was written twice.
    let fresh = id_of(&post(&daemon, "", keyed("off", "fresh")).await);
    assert_eq!(relay.hear("off"), fresh);
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_flood_of_a_thousand_commands_is_done_once_each_and_heard_in_order() {
    let mut relay = Relay::new();
    let daemon = relay.start().await;
    // A board that says nothing: as many as may be are taken, the next is refused.
    let mut waiting = Vec::new();
    for number in 0..COMMANDS_AT_ONCE {
        let response = post(
            &daemon,
            "",
            json!({"name": "on", "idempotencyKey": format!("wait-{number}")}),
        )
        .await;
        assert_eq!(response.status, 202, "{number}");
        waiting.push(response.json()["commandId"].as_str().unwrap().to_owned());
    }
    let response = post(&daemon, "", json!({"name": "on"})).await;
    assert_eq!(
        (response.status, response.json()["code"].as_str()),
        (429, Some("busy"))
    );
    let mut all = daemon.client().await;
    assert_eq!(
        ask(&mut all, json!({"type": "subscribe", "channel": "commands"})).await["type"],
        "ack"
    );
    let mut some = daemon.client().await;
    let follow = json!({"type": "subscribe", "channel": "commands", "commandIds": waiting});
    assert_eq!(ask(&mut some, follow).await["type"], "ack");
    for id in &waiting {
        assert_eq!(relay.hear("on"), *id, "they come in order");
        relay.say(&format!("done {id} true"));
    }
    for id in &waiting {
        until_heard(&mut all, id, "succeeded").await;
        until_heard(&mut some, id, "succeeded").await;
    }

    // From here on the board answers at once.
    let Relay { bench, mut board } = relay;
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let player = std::thread::spawn(move || {
        let mut heard = Vec::new();
        loop {
            match board.line_so_far() {
                Some(line) => {
                    let (_, id) = line.split_once(' ').expect("a word and an id");
                    board.send(format!("ack {id}\ndone {id} true\n").as_bytes());
                    heard.push(id.to_owned());
                }
                None if stopped.try_recv().is_ok() => return heard,
                // How often the board looks; what it answers does not depend on it.
                None => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
        }
    });
    let flood = async {
        let (mut taken, mut refused) = (Vec::new(), 0);
        while taken.len() < 1000 {
            let key = format!("flood-{}", taken.len());
            let response = post(&daemon, "", json!({"name": "on", "idempotencyKey": key})).await;
            match response.status {
                202 => taken.push(response.json()["commandId"].as_str().unwrap().to_owned()),
                429 => refused += 1,
                other => panic!("{other}: {}", String::from_utf8_lossy(&response.body)),
            }
        }
        (taken, refused)
    };
    let (taken, refused) = all.beside(flood).await;
    let last = taken.last().unwrap().clone();
    until_heard(&mut all, &last, "succeeded").await;
    for id in &taken {
        assert_eq!(heard(&all, id), ["queued", "sent", "acked", "succeeded"], "{id}");
    }
    stop.send(()).unwrap();
    assert_eq!(
        player.join().unwrap(),
        taken,
        "each reached the board once, in order"
    );
    println!("1000 commands, {refused} refused as busy on the way");
    let list = call(&daemon, "GET", "/api/v1/commands", None, "").await.json();
    assert_eq!(
        list["commands"].as_array().unwrap().len(),
        1000,
        "the newest thousand can be looked up"
    );
    drop(bench);
}

#[tokio::test]
async fn autobench_send_prints_stages_and_its_exit_code_says_how_it_ended() {
    let mut relay = Relay::new();
    let daemon = relay.start().await;
    let (binary, url) = (relay.bench.artifacts.binary.clone(), daemon.url());
    let begin = move |arguments: &[&str]| {
        let (binary, url): (PathBuf, String) = (binary.clone(), url.clone());
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        tokio::task::spawn_blocking(move || {
            let output = std::process::Command::new(binary)
                .args(["--json", "send", "--url", &url])
                .args(arguments)
                .output()
                .expect("autobench runs");
            let lines: Vec<Value> = String::from_utf8_lossy(&output.stdout)
                .lines()
                .map(|line| serde_json::from_str(line).expect("JSON"))
                .collect();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.code(), lines, errors)
        })
    };
    let pulse = begin(&[
        "relay",
        "pulse",
        "--arg",
        "ms=50",
        "--arg",
        "loud=true",
        "--arg",
        "label=7",
        "--wait",
    ]);
    let id = relay.hear("loud-on");
    assert_eq!(relay.hear("off"), id);
    let (code, lines, errors) = pulse.await.unwrap();
    assert_eq!(code, Some(0), "{errors}");
    let stages: Vec<&str> = lines
        .iter()
        .map(|line| line["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        (stages.first(), stages.last()),
        (Some(&"queued"), Some(&"succeeded")),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .all(|line| line["event"] == "command" && line["commandId"] == id.as_str())
    );
    assert_eq!(
        lines.last().unwrap()["progress"]["message"],
        "closed for 50 ms (7)"
    );

    let failing = begin(&["relay", "on", "--wait"]);
    let id = relay.hear("on");
    relay.say(&format!("error {id} welded"));
    assert_eq!(failing.await.unwrap().0, Some(1));
    let blocked = begin(&["relay", "on", "--wait"]);
    let id = relay.hear("on");
    relay.say(&format!("blocked {id} lid"));
    assert_eq!(blocked.await.unwrap().0, Some(4));
    let (code, lines, _) = begin(&["relay", "on", "--wait", "--timeout", "0.1"])
        .await
        .unwrap();
    assert_eq!(
        (code, lines.last().unwrap()["status"].as_str()),
        (Some(5), Some("expired"))
    );
    let (code, lines, errors) = begin(&["relay", "explode"]).await.unwrap();
    assert_eq!(
        (code, lines[0]["code"].as_str()),
        (Some(3), Some("unknown-command")),
        "{errors}"
    );
    let (code, _, errors) = begin(&["relay", "pulse", "--arg", "ms=long"]).await.unwrap();
    assert_eq!(code, Some(2));
    assert!(errors.contains("ms is integer"), "{errors}");
    let (code, lines, _) = begin(&["relay", "on"]).await.unwrap();
    assert_eq!(
        (code, lines.len()),
        (Some(0), 1),
        "without --wait it is enough that it is taken"
    );
    assert!(daemon.stop().success());
}
