//! What is recorded of it all, in the audit and in the log, and what never is.

use autobench::access::digest;
use autobench_core::access::{ROUTES, Role};
use autobench_core::driver::LogLevel;
use serde_json::json;

use super::{INGEST, TOKENS, ask, audited, bearer, guarded, token_of};
use crate::bench::Bench;
use crate::relay::Relay;

#[tokio::test]
async fn a_command_is_recorded_with_what_was_asked_of_which_device() {
    let (bench, folder) = guarded().await;
    let data = tempfile::tempdir().unwrap();
    let commands = autobench::commands::Commands::start(
        data.path(),
        "0123456789abcdef",
        autobench::clock::Clock::start(),
        bench.logs.clone(),
        bench.hub.clone(),
    )
    .unwrap();
    bench.hub.serve_commands(commands.router());
    let body = json!({"name": "output.on", "args": {"secret": "hunter2"}}).to_string();
    let answer = bench
        .request(&format!(
            "POST /api/v1/devices/psu/commands HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\n{}Content-Length: {}\r\n\r\n{body}",
            bearer(token_of(Role::Operator)),
            body.len()
        ))
        .await;
    answer.is_problem(404, "unknown-device");
    let line = audited(&folder).pop().unwrap();
    let action = line["action"].as_str().unwrap();
    assert!(action.contains("psu") && action.contains("output.on"), "{line}");
    assert_eq!(line["detail"], "404");
    assert!(!line.to_string().contains("hunter2"), "{line}");
    bench.close().await;
    commands.close();
}

#[tokio::test]
async fn a_command_over_the_socket_is_recorded_with_who_asked_which_device_and_never_with_what() {
    const SECRET: &str = "hunter2";
    let (bench, folder) = guarded().await;
    let relay = Relay::of(&bench);
    let mut client = bench.connect().await;
    client.expect("welcome").await;
    client
        .say(json!({"type": "auth", "token": token_of(Role::Operator)}))
        .await;
    client.wait_for("logs.history").await;
    let mut ask = async |request: serde_json::Value| {
        client.say(request).await;
        loop {
            let message = client.next().await;
            if matches!(message["type"].as_str(), Some("ack" | "error")) {
                return message;
            }
        }
    };
    // What a client says comes back in refusals, so those could give it away, too.
    let long = SECRET.repeat(9);
    let on = |label: &str| json!({"type": "command", "device": "relay", "name": "on", "idempotencyKey": SECRET, "args": {"label": label}});
    let taken = ask(on(SECRET)).await;
    let id = taken["commandId"].as_str().unwrap().to_owned();
    let refused = ask(on(&long)).await;
    assert_eq!(refused["code"], "idempotency-mismatch", "{refused}");
    let unfit = json!({"type": "command", "device": "relay", "name": "on", "args": {"label": long}});
    assert_eq!(ask(unfit).await["code"], "bad-arguments");
    let lamp = json!({"type": "command", "device": "lamp", "name": "on", "args": {"label": SECRET}});
    assert_eq!(ask(lamp).await["code"], "unknown-device");
    let cancel = json!({"type": "command.cancel", "commandId": id});
    assert_eq!(ask(cancel).await["type"], "ack");

    let lines = audited(&folder);
    let told: Vec<_> = lines
        .iter()
        .filter(|line| line["action"] != "opens a socket")
        .map(|line| {
            assert_eq!(
                (&line["actor"], &line["role"]),
                (&json!("operator"), &json!("operator"))
            );
            assert_eq!(line["peer"], "127.0.0.1");
            let text = |name: &str| line[name].as_str().map(str::to_owned);
            (text("action").unwrap(), text("outcome").unwrap(), text("detail"))
        })
        .collect();
    let line = |action: &str, outcome: &str, detail: Option<&str>| {
        (action.to_owned(), outcome.to_owned(), detail.map(str::to_owned))
    };
    assert_eq!(
        told,
        [
            line("command relay on", "done", None),
            line("command relay on", "refused", Some("idempotency-mismatch")),
            line("command relay on", "refused", Some("bad-arguments")),
            line("command lamp on", "refused", Some("unknown-device")),
            line(&format!("cancel {id}"), "done", None),
        ]
    );
    let entries = bench.logs.history(100).entries;
    let in_log = entries.iter().filter(|entry| entry.channel == "audit").count();
    assert_eq!(in_log, lines.len(), "the record is in the log, too");
    let log = serde_json::to_string(&bench.logs.history(100)).unwrap();
    let record = serde_json::to_string(&lines).unwrap();
    for text in [&log, &record] {
        assert!(!text.contains(SECRET), "{text}");
    }
    bench.close().await;
    relay.close();
}

#[tokio::test]
async fn actions_are_recorded_with_who_and_how_and_reading_is_not() {
    let (bench, folder) = guarded().await;
    let put = |who: &str, body: &str| {
        format!(
            "PUT /api/v1/message HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n{who}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let body = json!({"message": "back at noon"}).to_string();
    assert_eq!(
        bench
            .request(&put(&bearer(token_of(Role::Operator)), &body))
            .await
            .status,
        204
    );
    assert_eq!(
        bench
            .request(&put(&bearer(token_of(Role::Viewer)), &body))
            .await
            .status,
        403
    );
    assert_eq!(bench.request(&put("", &body)).await.status, 401);
    assert_eq!(
        bench
            .request(&put(&bearer(token_of(Role::Admin)), "{"))
            .await
            .status,
        400
    );
    ask(&bench, &ROUTES[0], &bearer(token_of(Role::Admin))).await;
    let told: Vec<_> = audited(&folder)
        .into_iter()
        .map(|line| {
            (
                line["actor"].clone(),
                line["outcome"].clone(),
                line["detail"].clone(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (json!("operator"), json!("done"), json!("204")),
            (json!("admin"), json!("failed"), json!("400")),
            (json!("viewer"), json!("refused"), json!("403")),
            (json!(null), json!("refused"), json!(null)),
        ]
    );
    let entries = bench.logs.history(100).entries;
    let in_log = entries.iter().filter(|entry| entry.channel == "audit").count();
    assert_eq!(in_log, 4);
    bench.close().await;
}

#[tokio::test]
async fn a_token_is_in_no_state_no_log_and_no_record() {
    let (bench, folder) = guarded().await;
    let planted = "9c0ffee9c0ffee9c0ffee9c0ffee9c0f";
    for (token, _) in TOKENS
        .into_iter()
        .chain([(planted, Role::Viewer), (INGEST, Role::Viewer)])
    {
        ask(&bench, &ROUTES[8], &bearer(token)).await;
        let body = json!({ "token": token }).to_string();
        bench
            .request(&format!(
                "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            ))
            .await;
        bench.get(&format!("/api/v1/state?token={token}")).await;
        let mut client = bench.connect().await;
        client.expect("welcome").await;
        client.say(json!({"type": "auth", "token": token})).await;
        client.next().await;
    }
    let state = bench.document().to_string();
    let log = serde_json::to_string(&bench.logs.history(1000)).unwrap();
    let audit = serde_json::to_string(&audited(&folder)).unwrap();
    for (token, _) in TOKENS
        .into_iter()
        .chain([(planted, Role::Viewer), (INGEST, Role::Viewer)])
    {
        let sha256: String = digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
        for (place, text) in [("state", &state), ("log", &log), ("audit", &audit)] {
            assert!(!text.contains(token), "{token} is in the {place}");
            assert!(!text.contains(&sha256), "the hash of {token} is in the {place}");
        }
    }
    assert!(log.contains("not known"), "the failures were noted: {log}");
    bench.close().await;
}

#[tokio::test]
async fn requests_that_went_well_are_no_entries_of_the_ring_and_failures_are_few() {
    let bench = Bench::start().await;
    let before = bench.logs.metadata().next_seq;
    let begin = std::time::Instant::now();
    for _ in 0..50 {
        assert_eq!(bench.get("/api/v1/devices").await.status, 200);
    }
    assert_eq!(bench.logs.metadata().next_seq, before);
    for _ in 0..50 {
        assert_eq!(bench.get("/api/v1/nothing").await.status, 404);
    }
    let entries = bench.logs.since(before - 1).entries;
    let failures = entries
        .iter()
        .filter(|entry| entry.channel == "request" && entry.level == LogLevel::Warn);
    let count = failures.count();
    // Thirty at once, and one for each second that all of it took.
    let most = 31 + begin.elapsed().as_secs() as usize;
    assert!((30..=most).contains(&count), "{count} of {most}");
    bench.close().await;
}
