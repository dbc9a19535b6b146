//! What a client that behaves is sent, in which order, and what its messages do.

use autobench_core::state::Pointer;
use autobench_core::wire::{Alarm, AlarmState, Event, EventBody, Severity};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::bench::{BOOT_ID, Bench, Heard, Settings, apply};

#[tokio::test]
async fn welcome_snapshot_and_history_come_first_and_in_this_order() {
    let bench = Bench::start().await;
    bench.log("before");
    let mut client = bench.connect().await;
    let welcome = client.expect("welcome").await;
    assert_eq!(welcome["protocol"], "autobench.v1");
    assert_eq!(welcome["bootId"], BOOT_ID);
    assert_eq!(welcome["clientId"], "c-1");
    assert_eq!(welcome["limits"]["clients"], 100);
    assert_eq!(welcome["resumed"], false);
    let snapshot = client.expect("state.snapshot").await;
    assert_eq!(snapshot["bootId"], BOOT_ID);
    assert_eq!(snapshot["stateVersion"], snapshot["data"]["version"]);
    let history = client.expect("logs.history").await;
    assert_eq!((&history["fromSeq"], &history["toSeq"]), (&json!(1), &json!(1)));
    assert_eq!(history["entries"][0]["message"], "before");
    // The count of clients follows, then what happens.
    let mut mirror = snapshot["data"].clone();
    let watts_version = bench.set_watts(97);
    while mirror["version"].as_u64() < Some(watts_version) {
        apply(&mut mirror, &client.wait_for("state.patch").await);
    }
    assert_eq!(mirror["powerMeter"]["lastSample"]["watts"], 97);
    bench.close().await;
}

#[tokio::test]
async fn an_empty_log_has_an_empty_range() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    let history = client.wait_for("logs.history").await;
    assert_eq!(
        history,
        json!({"type": "logs.history", "fromSeq": 1, "toSeq": 0, "entries": []})
    );
    bench.close().await;
}

#[tokio::test]
async fn the_second_path_is_the_same_socket_and_the_subprotocol_is_agreed_on() {
    let bench = Bench::start().await;
    let handshake = |path: &str, more: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n{more}\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    let offer = "Sec-WebSocket-Protocol: chat, autobench.v1\r\n";
    for (path, more, agreed) in [("/ws/flow", offer, Some("autobench.v1")), ("/ws", "", None)] {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(bench.address).await.unwrap();
        stream.write_all(handshake(path, more).as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(crate::bench::within(stream.read_u8()).await.unwrap());
        }
        let answer = crate::bench::Answer::read(&head);
        assert_eq!(answer.status, 101);
        // The sample of RFC 6455.
        assert_eq!(
            answer.header("sec-websocket-accept"),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
        assert_eq!(answer.header("sec-websocket-protocol"), agreed);
    }
    bench.close().await;
}

#[tokio::test]
async fn each_question_has_its_answer_with_its_id() {
    let bench = Bench::start().await;
    let (mut client, _) = bench.join().await;
    client
        .say(json!({"type": "hello", "name": "wall", "page": "/", "id": "h1", "more": [1]}))
        .await;
    assert_eq!(
        client.wait_for("ack").await,
        json!({"type": "ack", "ok": true, "id": "h1"})
    );
    client.say(json!({"type": "ping"})).await;
    let pong = client.wait_for("pong").await;
    assert!(pong["ts"].as_u64().unwrap() > 1_700_000_000_000);
    client.say(json!({"type": "ping", "id": 7})).await;
    assert_eq!(client.wait_for("pong").await["id"], 7);
    for (message, code) in [
        (json!({"type": "dance", "id": "x"}), "unknown-type"),
        (
            json!({"type": "subscribe", "channel": "weather", "id": "x"}),
            "unknown-channel",
        ),
        (
            json!({"type": "subscribe", "channel": "telemetry", "endpointIds": [99], "id": "x"}),
            "unknown-endpoint",
        ),
        (json!({"type": "logs.replay", "id": "x"}), "bad-message"),
    ] {
        client.say(message).await;
        let error = client.wait_for("error").await;
        assert_eq!((&error["code"], &error["id"]), (&json!(code), &json!("x")));
    }
    client.say_raw(Message::text("{")).await;
    assert_eq!(client.wait_for("error").await["code"], "bad-json");
    client.say_raw(Message::Ping(vec![1, 2, 3].into())).await;
    client.say_raw(Message::Close(None)).await;
    assert_eq!(client.close_code().await, Some(1000));
    bench.close().await;
}

#[tokio::test]
async fn a_resync_is_a_snapshot_and_the_patches_go_on_behind_it() {
    let bench = Bench::start().await;
    let (mut client, _) = bench.join().await;
    bench.set_watts(1);
    client.say(json!({"type": "state.resync"})).await;
    let mut mirror = client.wait_for("state.snapshot").await["data"].clone();
    bench.set_watts(2);
    while mirror["powerMeter"]["lastSample"]["watts"] != 2 {
        apply(&mut mirror, &client.wait_for("state.patch").await);
    }
    bench.close().await;
}

/// Whoever asks as often as it may gets what everybody has: the interval between two flushes stays what it is.
#[tokio::test]
async fn clients_that_ask_for_snapshots_all_the_time_cause_no_flush() {
    const INTERVAL: std::time::Duration = std::time::Duration::from_millis(20);
    let bench = Bench::with(Settings {
        broadcast_interval: INTERVAL,
        ..Settings::default()
    })
    .await;
    let mut mirrors = Vec::new();
    for _ in 0..3 {
        mirrors.push(bench.join().await);
    }
    let metrics = || {
        let metrics = bench.state.metrics();
        (metrics.patches.get(), metrics.snapshots.get())
    };
    let (patches, snapshots) = metrics();
    let begin = std::time::Instant::now();
    for round in 0..40 {
        for (n, (client, _)) in (0..).zip(&mut mirrors) {
            bench.set_watts(1000 + 10 * round + n);
            client.say(json!({"type": "state.resync"})).await;
        }
        for (client, mirror) in &mut mirrors {
            loop {
                let message = client.next().await;
                match message["type"].as_str().unwrap() {
                    "state.patch" => apply(mirror, &message),
                    "state.snapshot" => {
                        assert!(message["stateVersion"].as_u64() >= mirror["version"].as_u64());
                        *mirror = message["data"].clone();
                        break;
                    }
                    _ => {}
                }
            }
        }
    }
    let intervals = (begin.elapsed().as_millis() / INTERVAL.as_millis()) as u64;
    let (patches, snapshots) = (metrics().0 - patches, metrics().1 - snapshots);
    // Twice what there is room for: who comes late on a busy machine need not wait again.
    let most = 2 * intervals + 5;
    assert!(
        patches <= most && snapshots <= most,
        "{patches} patches, {snapshots} snapshots, {intervals} intervals"
    );
    let last = bench.set_watts(7);
    for (client, mirror) in &mut mirrors {
        while mirror["version"].as_u64() < Some(last) {
            apply(mirror, &client.wait_for("state.patch").await);
        }
        assert_eq!(mirror["powerMeter"]["lastSample"]["watts"], 7);
    }
    bench.close().await;
}

#[tokio::test]
async fn a_replay_gives_what_the_ring_has_and_names_what_it_has_not() {
    let bench = Bench::with(Settings {
        log_capacity: 10,
        ..Settings::default()
    })
    .await;
    for n in 1..=25 {
        bench.log(&format!("entry {n}"));
    }
    let (mut client, _) = bench.join().await;
    client.say(json!({"type": "logs.replay", "sinceSeq": 20})).await;
    let replay = client.wait_for("logs.history").await;
    assert_eq!((&replay["fromSeq"], &replay["toSeq"]), (&json!(21), &json!(25)));
    assert_eq!(replay["entries"].as_array().unwrap().len(), 5);
    assert_eq!(replay.get("missed"), None);
    client.say(json!({"type": "logs.replay", "sinceSeq": 3})).await;
    let replay = client.wait_for("logs.history").await;
    assert_eq!((&replay["fromSeq"], &replay["toSeq"]), (&json!(4), &json!(25)));
    assert_eq!(replay["missed"], json!({"fromSeq": 4, "toSeq": 15}));
    assert_eq!(replay["entries"][0]["seq"], 16);
    client
        .say(json!({"type": "logs.replay", "sinceSeq": 1_000_000}))
        .await;
    let replay = client.wait_for("logs.history").await;
    assert_eq!((&replay["fromSeq"], &replay["toSeq"]), (&json!(26), &json!(25)));
    // And live entries go on behind it.
    bench.log("entry 26");
    let live = client.wait_for("logs.append").await;
    assert_eq!((&live["fromSeq"], &live["toSeq"]), (&json!(26), &json!(26)));
    bench.close().await;
}

#[tokio::test]
async fn log_ranges_follow_one_another_while_entries_pour_in_and_clients_join() {
    let bench = Bench::with(Settings {
        log_capacity: 100_000,
        ..Settings::default()
    })
    .await;
    const LAST: u64 = 5_000;
    let logs = bench.logs.clone();
    let writer = std::thread::spawn(move || {
        for n in 0..LAST {
            let level = autobench_core::driver::LogLevel::Info;
            logs.append(autobench::logs::LogRecord::new("app", level, n.to_string()));
        }
    });
    for round in 0..5 {
        let mut client = bench.connect().await;
        let mut covered = None;
        while covered != Some(LAST) {
            let message = client.next().await;
            let Some(from_seq) = message["fromSeq"].as_u64() else {
                continue;
            };
            if let Some(covered) = covered {
                assert_eq!(from_seq, covered + 1, "round {round}");
            }
            covered = message["toSeq"].as_u64();
            if round % 2 == 1 && from_seq < LAST / 2 {
                // The range that a replay covers is where the client is then.
                client
                    .say(json!({"type": "logs.replay", "sinceSeq": covered}))
                    .await;
                let replay = loop {
                    let message = client.next().await;
                    if message["type"] == "logs.history" {
                        break message;
                    }
                    if let Some(to_seq) = message["toSeq"].as_u64() {
                        assert_eq!(message["fromSeq"].as_u64(), covered.map(|c| c + 1));
                        covered = Some(to_seq);
                    }
                };
                assert!(replay["fromSeq"].as_u64() <= covered.map(|c| c + 1));
                covered = replay["toSeq"].as_u64();
            }
        }
    }
    writer.join().unwrap();
    bench.close().await;
}

#[tokio::test]
async fn a_subscription_without_a_channel_sends_state_and_log_again() {
    let bench = Bench::start().await;
    for n in 1..=9 {
        bench.log(&n.to_string());
    }
    let (mut client, _) = bench.join().await;
    let payload = json!({"includeSnapshot": true, "logsHistory": 4});
    client.say(json!({"type": "subscribe", "payload": payload})).await;
    client.wait_for("ack").await;
    client.wait_for("state.snapshot").await;
    let history = client.wait_for("logs.history").await;
    assert_eq!((&history["fromSeq"], &history["toSeq"]), (&json!(6), &json!(9)));
    client
        .say(json!({"type": "subscribe", "payload": {"includeSnapshot": false}}))
        .await;
    client.wait_for("ack").await;
    let next = loop {
        let message = client.next().await;
        if message["type"] != "state.patch" {
            break message;
        }
    };
    assert_eq!(next["type"], "logs.history");
    assert_eq!(next["fromSeq"], 1);
    bench.close().await;
}

#[tokio::test]
async fn state_and_logs_can_be_switched_off_and_on_again() {
    let bench = Bench::start().await;
    let (mut client, _) = bench.join().await;
    for channel in ["state", "logs"] {
        client
            .say(json!({"type": "unsubscribe", "channel": channel}))
            .await;
        client.wait_for("ack").await;
    }
    for n in 1..=20 {
        bench.set_watts(n);
        bench.log("unheard");
    }
    // The pong comes after everything that was sent before it.
    bench.state.snapshot();
    client.say(json!({"type": "ping"})).await;
    assert_eq!(client.next().await["type"], "pong");
    client.say(json!({"type": "subscribe", "channel": "logs"})).await;
    client.expect("ack").await;
    assert_eq!(client.expect("logs.history").await["toSeq"], 20);
    bench.log("heard");
    let live = client.expect("logs.append").await;
    assert_eq!(
        (&live["fromSeq"], &live["entries"][0]["message"]),
        (&json!(21), &json!("heard"))
    );
    client.say(json!({"type": "subscribe", "channel": "state"})).await;
    client.expect("ack").await;
    let mut mirror = client.wait_for("state.snapshot").await["data"].clone();
    bench.set_watts(99);
    while mirror["powerMeter"]["lastSample"]["watts"] != 99 {
        apply(&mut mirror, &client.wait_for("state.patch").await);
    }
    bench.close().await;
}

#[tokio::test]
async fn events_and_alarms_reach_only_whoever_subscribed() {
    let bench = Bench::start().await;
    let (mut deaf, _) = bench.join().await;
    let (mut client, _) = bench.join().await;
    for channel in ["events", "alarms"] {
        client.say(json!({"type": "subscribe", "channel": channel})).await;
        client.wait_for("ack").await;
    }
    bench.hub.publish_event(Event {
        timestamp: 1.0,
        event: EventBody {
            _id: "e-1".to_owned(),
            process_id: BOOT_ID.to_owned(),
            sender: None,
            message: "swapped".to_owned(),
            level: autobench_core::driver::LogLevel::Info,
            context: json!({"kind": "reload"}),
        },
    });
    bench.hub.publish_alarm(Alarm {
        alarm_id: 1,
        device: None,
        severity: Severity::Critical,
        message: "hot".to_owned(),
        timestamp: "2026-01-01T00:00:00.000Z".to_owned(),
        state: AlarmState::Raised,
    });
    let (mut event, mut alarm) = (None, None);
    while event.is_none() || alarm.is_none() {
        let message = client.next().await;
        match message["type"].as_str() {
            Some("event") => event = Some(message),
            Some("alarm") => alarm = Some(message),
            _ => {}
        }
    }
    assert_eq!(event.unwrap()["event"]["context"]["kind"], "reload");
    assert_eq!(alarm.unwrap()["alarmId"], 1);
    deaf.say(json!({"type": "ping"})).await;
    loop {
        match deaf.next().await["type"].as_str() {
            Some("pong") => break,
            Some("event" | "alarm") => panic!("it did not subscribe"),
            _ => {}
        }
    }
    bench.close().await;
}

#[tokio::test]
async fn a_welcome_has_the_features_of_the_one_in_the_fixtures() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    let welcome = client.expect("welcome").await;
    let fixture = include_str!("../../../tests/fixtures/wire/server/welcome.json");
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    assert_eq!(welcome["features"], fixture["features"]);
    assert_eq!(welcome["protocol"], fixture["protocol"]);
    bench.close().await;
}

#[tokio::test]
async fn the_count_of_clients_and_the_log_metadata_are_in_the_state() {
    let bench = Bench::start().await;
    let (mut client, mut mirror) = bench.join().await;
    bench.log("one");
    while mirror["meta"]["clients"] != 1 || mirror["logs"]["nextSeq"] != 2 {
        apply(&mut mirror, &client.wait_for("state.patch").await);
    }
    assert_eq!(bench.hub.clients(), 1);
    bench.close().await;
}

#[tokio::test]
async fn heartbeats_are_logged_when_asked_for() {
    let bench = Bench::with(Settings {
        log_heartbeat: true,
        ..Settings::default()
    })
    .await;
    let (mut client, _) = bench.join().await;
    client.say(json!({"type": "ping"})).await;
    let entry = client.wait_for("logs.append").await["entries"][0].clone();
    assert_eq!(
        (&entry["channel"], &entry["emoji"]),
        (&json!("websocket"), &json!("💓"))
    );
    bench.close().await;
}

#[tokio::test]
async fn whoever_is_connected_at_the_end_is_told() {
    let bench = Bench::start().await;
    let (mut one, _) = bench.join().await;
    let (mut two, _) = bench.join().await;
    let closing = tokio::spawn(bench.close());
    assert_eq!(one.close_code().await, Some(1001));
    assert_eq!(two.close_code().await, Some(1001));
    drop((one, two));
    crate::bench::within(closing).await.unwrap();
}

#[tokio::test]
async fn what_was_said_last_comes_before_the_goodbye() {
    let bench = Bench::start().await;
    let (mut client, _) = bench.join().await;
    bench.log("first");
    client.wait_for("logs.append").await;
    // So soon behind the first that it waits for the next flush.
    bench.log("last words");
    let closing = tokio::spawn(bench.close());
    let appended = client.wait_for("logs.append").await;
    assert_eq!(appended["entries"][0]["message"], "last words");
    assert_eq!(client.close_code().await, Some(1001));
    crate::bench::within(closing).await.unwrap();
}

#[tokio::test]
async fn snapshot_and_patches_equal_the_state_at_every_version() {
    let bench = Bench::start().await;
    let state = bench.state.clone();
    let (all_joined, joined) = std::sync::mpsc::channel();
    let writer = std::thread::spawn(move || {
        let watts = Pointer::parse("/powerMeter/lastSample/watts").unwrap();
        let history = Pointer::parse("/powerMeter/history").unwrap();
        let extra = Pointer::parse("/powerMeter/extra").unwrap();
        let mut documents = Vec::new();
        for n in 1..=2_000_u64 {
            if n == 1_000 {
                // Half of it happens while they join, half when they have.
                joined.recv().unwrap();
            }
            let (version, document) = state.update(|store| {
                match n % 5 {
                    0 => store.append(&history, json!({"n": n}), 7).unwrap(),
                    1 => store.merge(&extra, json!({"a": n, "b": {"c": n}})).unwrap(),
                    2 => store.merge(&extra, json!({"b": null})).unwrap(),
                    _ => store.set(&watts, json!(n)).unwrap(),
                };
                (store.version(), store.member_bytes("powerMeter").unwrap())
            });
            documents.push((version, document));
            if n % 100 == 0 {
                // A snapshot for somebody else ends a flush, so that there are versions to compare.
                state.snapshot();
                std::thread::yield_now();
            }
        }
        documents
    });
    let mut mirrors = Vec::new();
    for _ in 0..4 {
        mirrors.push(bench.join().await);
    }
    all_joined.send(()).unwrap();
    let documents: std::collections::HashMap<_, _> = tokio::task::spawn_blocking(|| writer.join().unwrap())
        .await
        .unwrap()
        .into_iter()
        .collect();
    let last = *documents.keys().max().unwrap();
    let mut compared = 0;
    for (client, mirror) in &mut mirrors {
        while mirror["version"].as_u64() < Some(last) {
            apply(mirror, &client.wait_for("state.patch").await);
            if let Some(document) = documents.get(&mirror["version"].as_u64().unwrap()) {
                assert_eq!(
                    mirror["powerMeter"],
                    serde_json::from_slice::<Value>(document).unwrap()
                );
                compared += 1;
            }
        }
    }
    assert!(compared >= 4);
    bench.close().await;
}

#[tokio::test]
async fn the_daemon_asks_after_a_client_and_believes_its_pong() {
    let mut settings = Settings::default();
    settings.hub.limits.heartbeat_interval_ms = 40;
    settings.hub.limits.heartbeat_timeout_ms = 1500;
    let bench = Bench::with(settings).await;
    let (mut client, _) = bench.join().await;
    // tungstenite answers pings while it reads. Eighty of them are two time-outs long.
    let mut pings = 0;
    while pings < 80 {
        match client.hear().await {
            Heard::Ping => pings += 1,
            Heard::Message(_) => {}
            Heard::Closed(code) => panic!("closed with {code:?}"),
        }
    }
    bench.close().await;
}
