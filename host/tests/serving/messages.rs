//! Messages of dashboards and panels: blocks, filtered logs, health, and who is connected.

use autobench::logs::LogRecord;
use autobench_core::driver::LogLevel;
use autobench_core::wire::{Event, EventBody};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::bench::{Bench, Client, Settings};

fn event(device: &str, context: Value) -> Event {
    Event {
        timestamp: 1_758_223_260_007.0,
        event: EventBody {
            _id: "boot-1".to_owned(),
            process_id: "boot".to_owned(),
            sender: Some(device.to_owned()),
            message: String::new(),
            level: LogLevel::Info,
            context,
        },
    }
}

fn block(bench: &Bench, kind: &str, id: u32) {
    bench
        .hub
        .publish_event(event("flow", json!({"kind": kind, "blockId": format!("b{id}")})));
}

fn log(bench: &Bench, level: LogLevel, message: &str) {
    bench.logs.append(LogRecord::new("app", level, message)).unwrap();
}

#[tokio::test]
async fn who_did_not_offer_the_subprotocol_is_told_its_name_behind_the_history() {
    let bench = Bench::start().await;
    let stream = TcpStream::connect(bench.address).await.unwrap();
    let url = format!("ws://localhost:{}/ws", bench.address.port());
    let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let mut client = Client::over(socket);
    let welcome = client.expect("welcome").await;
    client.expect("state.snapshot").await;
    client.expect("logs.history").await;
    assert_eq!(client.expect("connected").await["clientId"], welcome["clientId"]);
    bench.close().await;
}

#[tokio::test]
async fn whoever_identifies_itself_is_told_what_runs_and_misses_no_block_after_it() {
    let bench = Bench::start().await;
    block(&bench, "block_started", 1);
    let (mut client, _) = bench.join().await;
    client
        .say(json!({"type": "identify_client", "id": "i", "clientInfo": {"name": "wall", "page": "p"}}))
        .await;
    let identified = client.wait_for("client_identified").await;
    assert_eq!(
        (
            &identified["id"],
            &identified["data"]["name"],
            &identified["data"]["page"]
        ),
        (&json!("i"), &json!("wall"), &json!("p"))
    );
    let state = client.wait_for("initial_execution_state").await;
    assert_eq!(state["data"]["active"][0]["blockId"], "b1");
    for id in 1..50 {
        block(&bench, "block_executed", id);
        block(&bench, "block_started", id + 1);
    }
    for id in 1..50 {
        assert_eq!(
            client.wait_for("block_executed_enhanced").await["data"]["blockId"],
            format!("b{id}")
        );
        assert_eq!(
            client.wait_for("block_started_enhanced").await["data"]["blockId"],
            format!("b{}", id + 1)
        );
    }
    bench.hub.abort_blocks("flow");
    assert_eq!(
        client.wait_for("block_executed_enhanced").await["data"]["status"],
        "aborted"
    );
    client
        .say(json!({"type": "request_initial_state", "id": 7}))
        .await;
    let state = client.wait_for("initial_execution_state").await;
    assert_eq!((&state["id"], &state["data"]["active"]), (&json!(7), &json!([])));
    assert_eq!(state["data"]["recent"].as_array().unwrap().len(), 20);
    bench.close().await;
}

#[tokio::test]
async fn a_filter_lets_only_some_entries_pass_and_leaves_no_gap_between_ranges() {
    let bench = Bench::with(Settings {
        log_capacity: 5_000,
        ..Settings::default()
    })
    .await;
    let (mut client, _) = bench.join().await;
    client
        .say(json!({"type": "subscribe_logs", "filters": {"level": "error"}, "id": 1}))
        .await;
    client.wait_for("ack").await;
    let from = bench.logs.metadata().next_seq;
    for n in 0..1_000 {
        log(
            &bench,
            if n % 100 == 0 {
                LogLevel::Error
            } else {
                LogLevel::Info
            },
            &n.to_string(),
        );
        if n % 37 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let (mut got, mut told) = (Vec::new(), from - 1);
    while got.len() < 10 {
        let range = client.wait_for("logs.append").await;
        assert_eq!(range["fromSeq"], told + 1);
        assert!(range.get("missed").is_none(), "{range}");
        told = range["toSeq"].as_u64().unwrap();
        for entry in range["entries"].as_array().unwrap() {
            assert_eq!(entry["level"], "error");
            got.push(entry["message"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(got.last().map(String::as_str), Some("900"));
    // Without a filter everything comes again, behind what was covered.
    client.say(json!({"type": "subscribe_logs", "id": 2})).await;
    log(&bench, LogLevel::Info, "all of it");
    loop {
        let range = client.wait_for("logs.append").await;
        assert_eq!(range["fromSeq"], told + 1);
        told = range["toSeq"].as_u64().unwrap();
        let entries = range["entries"].as_array().unwrap();
        if entries.iter().any(|entry| entry["message"] == "all of it") {
            break;
        }
    }
    client.say(json!({"type": "unsubscribe_logs", "id": 3})).await;
    client.wait_for("ack").await;
    log(&bench, LogLevel::Error, "nobody hears this");
    client.say(json!({"type": "ping"})).await;
    loop {
        let message = client.next().await;
        assert_ne!(message["type"], "logs.append", "{message}");
        if message["type"] == "pong" {
            break;
        }
    }
    bench.close().await;
}

#[tokio::test]
async fn a_filtered_replay_begins_with_a_history_and_names_what_is_lost() {
    let bench = Bench::with(Settings {
        log_capacity: 20,
        ..Settings::default()
    })
    .await;
    for n in 0..50 {
        log(
            &bench,
            if n % 2 == 0 {
                LogLevel::Warn
            } else {
                LogLevel::Info
            },
            &n.to_string(),
        );
    }
    let (mut client, _) = bench.join().await;
    client
        .say(json!({"type": "subscribe_logs", "filters": {"level": ["warn"]}}))
        .await;
    client.say(json!({"type": "logs.replay", "sinceSeq": 5})).await;
    let history = client.wait_for("logs.history").await;
    assert_eq!(history["fromSeq"], 6);
    assert_eq!(history["missed"]["fromSeq"], 6);
    let entries = history["entries"].as_array().unwrap();
    assert!(
        !entries.is_empty() && entries.iter().all(|entry| entry["level"] == "warn"),
        "{history}"
    );
    bench.close().await;
}

#[tokio::test]
async fn clients_are_listed_with_what_they_said_and_what_they_get() {
    let bench = Bench::start().await;
    bench.add_series(4);
    let (mut client, _) = bench.join().await;
    for message in [
        json!({"type": "hello", "name": "wall", "page": "/"}),
        json!({"type": "subscribe", "channel": "telemetry", "endpointIds": [4]}),
        json!({"type": "subscribe_logs", "filters": {"tag": ["a", "b"]}}),
        json!({"type": "hardware_health_update", "cpu": 0.4}),
    ] {
        client.say(message).await;
        client.wait_for("ack").await;
    }
    let clients = bench.get("/api/v1/clients").await.json();
    let entry = &clients[0];
    assert_eq!(
        (&entry["clientId"], &entry["name"], &entry["page"]),
        (&json!("c-1"), &json!("wall"), &json!("/"))
    );
    assert_eq!(entry["subscriptions"], json!(["state", "logs", "telemetry:4"]));
    assert_eq!(entry["filter"], json!({"tag": ["a", "b"]}));
    assert_eq!(entry["health"], json!({"cpu": 0.4}));
    assert!(entry["since"].as_str().unwrap().ends_with('Z'));
    assert!(
        entry["lag"]["versions"].is_u64() && entry["lag"]["logEntries"].is_u64(),
        "{entry}"
    );
    bench.close().await;
}

#[tokio::test]
async fn the_address_can_ask_for_alarms_and_events() {
    let bench = Bench::start().await;
    let mut client = bench.come_back("none&subscribe=events").await;
    client.wait_for("logs.history").await;
    bench
        .hub
        .publish_event(event("flow", json!({"kind": "Anything"})));
    assert_eq!(
        client.wait_for("event").await["event"]["context"]["kind"],
        "Anything"
    );
    // Named twice it is one channel.
    let mut twice = bench.come_back("none&subscribe=events,alarms,events").await;
    twice.wait_for("logs.history").await;
    let clients = bench.get("/api/v1/clients").await.json();
    assert_eq!(
        clients[1]["subscriptions"],
        json!(["state", "logs", "events", "alarms"])
    );
    let refused = bench
        .request(
            &crate::bench::HANDSHAKE
                .replace("GET /ws ", "GET /ws?subscribe=weather ")
                .replace("Connection: Upgrade", "Connection: Upgrade, close"),
        )
        .await;
    refused.is_problem(400, "bad-query");
    bench.close().await;
}

#[tokio::test]
async fn the_schemas_of_all_messages_are_served() {
    let bench = Bench::start().await;
    let schema = bench.get("/api/v1/schema").await.json();
    for (side, name) in [
        ("server", "state.patch"),
        ("server", "welcome"),
        ("client", "subscribe_logs"),
    ] {
        assert_eq!(schema[side][name]["properties"]["type"]["const"], name);
    }
    bench.close().await;
}
