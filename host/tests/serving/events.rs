//! Server-sent events: the socket's messages, with a place from which a listener goes on.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::bench::{Bench, DEADLINE, Settings, apply, until, within};

/// A listener written from the standard's text alone: chunks off, then lines, then events.
pub struct Listener {
    stream: TcpStream,
    bytes: Vec<u8>,
    text: String,
    events: VecDeque<Event>,
    last_id: Option<String>,
}

#[derive(Debug, Clone)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

impl Listener {
    pub async fn open(bench: &Bench, query: &str, last_id: Option<&str>) -> Self {
        Self::on(TcpStream::connect(bench.address).await.unwrap(), query, last_id).await
    }

    async fn on(mut stream: TcpStream, query: &str, last_id: Option<&str>) -> Self {
        let last = last_id
            .map(|id| format!("Last-Event-ID: {id}\r\n"))
            .unwrap_or_default();
        let request = format!("GET /api/v1/events{query} HTTP/1.1\r\nHost: localhost\r\n{last}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(stream.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        assert!(head.contains("connection: close"), "{head}");
        Self {
            stream,
            bytes: Vec::new(),
            text: String::new(),
            events: VecDeque::new(),
            last_id: last_id.map(str::to_owned),
        }
    }

    /// The next event; none when the daemon has ended the answer.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                // As a browser does: an event without an id leaves the last one.
                if event.id.is_some() {
                    self.last_id.clone_from(&event.id);
                }
                return Some(event);
            }
            let mut buffer = [0; 65536];
            let count = within(self.stream.read(&mut buffer)).await.unwrap_or(0);
            if count == 0 {
                return None;
            }
            self.bytes.extend_from_slice(&buffer[..count]);
            self.unchunk();
            self.split();
        }
    }

    pub async fn expect(&mut self, name: &str) -> Value {
        let event = self.next().await.expect("an event");
        assert_eq!(event.name, name, "{event:?}");
        event.data
    }

    async fn wait_for(&mut self, name: &str) -> Value {
        loop {
            let event = self.next().await.expect("an event");
            if event.name == name {
                return event.data;
            }
        }
    }

    fn unchunk(&mut self) {
        while let Some(end) = self.bytes.windows(2).position(|pair| pair == b"\r\n") {
            let digits = std::str::from_utf8(&self.bytes[..end]).unwrap();
            let length = usize::from_str_radix(digits, 16).unwrap();
            let whole = end + 2 + length + 2;
            if self.bytes.len() < whole {
                return;
            }
            let chunk = self.bytes[end + 2..whole - 2].to_vec();
            self.text.push_str(&String::from_utf8(chunk).unwrap());
            self.bytes.drain(..whole);
        }
    }

    fn split(&mut self) {
        while let Some(end) = self.text.find("\n\n") {
            let block: String = self.text.drain(..end + 2).collect();
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                    .map(str::to_owned)
            };
            let Some(data) = field("data") else { continue };
            self.events.push_back(Event {
                // What `onmessage` hears.
                name: field("event").unwrap_or_else(|| "message".to_owned()),
                id: field("id"),
                data: serde_json::from_str(&data).unwrap(),
            });
        }
    }
}

#[tokio::test]
async fn a_listener_gets_a_snapshot_and_then_the_patches() {
    let bench = Bench::start().await;
    bench.log("before");
    let mut listener = Listener::open(&bench, "", None).await;
    let welcome = listener.expect("welcome").await;
    assert_eq!(welcome["resumed"], false);
    let snapshot = listener.expect("state.snapshot").await;
    let mut mirror = snapshot["data"].clone();
    let history = listener.expect("logs.history").await;
    assert_eq!(history["entries"][0]["message"], "before");
    let version = bench.set_watts(5);
    // The host's own counters may come first.
    while mirror["version"].as_u64() < Some(version) {
        apply(&mut mirror, &listener.wait_for("state.patch").await);
    }
    assert_eq!(mirror["powerMeter"]["lastSample"]["watts"], 5);
    bench.log("after");
    let appended = listener.wait_for("logs.append").await;
    assert_eq!(appended["entries"][0]["message"], "after");
    bench.close().await;
    // The host's own counters may come before it.
    while let Some(event) = listener.next().await {
        assert_eq!(event.name, "state.patch", "the end is the daemon's end");
    }
}

#[tokio::test]
async fn a_listener_that_was_cut_off_anywhere_goes_on_without_gap_or_repetition() {
    let bench = Bench::start().await;
    let mut listener = Listener::open(&bench, "?channels=state,logs", None).await;
    listener.expect("welcome").await;
    let mut mirror = listener.expect("state.snapshot").await["data"].clone();
    let mut seen = 0;
    let mut watts = 0;
    let (mut version, mut seq) = (0, 0);
    for round in 0..30 {
        // Some changes while it listens, some while it is away.
        for _ in 0..3 {
            watts += 1;
            version = bench.set_watts(watts);
            seq = bench.log(&format!("line {watts}"));
        }
        // How much it takes before it is cut off again differs from round to round. What is flushed at once may be as few as two events.
        for _ in 0..round % 5 {
            if seen >= seq && mirror["version"].as_u64() >= Some(version) {
                break;
            }
            let Some(event) = listener.next().await else { break };
            take(&event, &mut mirror, &mut seen);
        }
        let last_id = listener.last_id.clone();
        drop(listener);
        listener = Listener::open(&bench, "?channels=state,logs", last_id.as_deref()).await;
        let welcome = listener.expect("welcome").await;
        assert_eq!(welcome["resumed"], true);
    }
    let last = bench.log("the end");
    let version = bench.state.version();
    while seen < last || mirror["version"].as_u64() < Some(version) {
        let event = listener.next().await.unwrap();
        assert_ne!(event.name, "state.snapshot");
        take(&event, &mut mirror, &mut seen);
    }
    assert_eq!(mirror["powerMeter"]["lastSample"]["watts"], watts);
    // The host's own counters move the state on now and then: what is the same version has to be the same document.
    let begin = std::time::Instant::now();
    let mut state = bench.get("/api/v1/state").await.json();
    while state["version"] != mirror["version"] {
        assert!(begin.elapsed() < DEADLINE, "the versions never agree");
        while mirror["version"].as_u64() < state["version"].as_u64() {
            take(&listener.next().await.unwrap(), &mut mirror, &mut seen);
        }
        if state["version"] != mirror["version"] {
            state = bench.get("/api/v1/state").await.json();
        }
    }
    assert_eq!(mirror, state);
    bench.close().await;
}

#[tokio::test]
async fn a_listener_that_is_cut_right_behind_its_welcome_is_not_moved_back() {
    let bench = Bench::start().await;
    for line in 1..=3 {
        bench.log(&format!("line {line}"));
    }
    let mut listener = Listener::open(&bench, "", None).await;
    listener.expect("welcome").await;
    assert_eq!(listener.last_id, None, "it has nothing yet");
    listener.expect("state.snapshot").await;
    listener.expect("logs.history").await;
    let mut place = listener.last_id.clone();
    bench.log("line 4");
    for _ in 0..3 {
        listener = Listener::open(&bench, "", place.as_deref()).await;
        assert_eq!(listener.expect("welcome").await["resumed"], true);
        assert_eq!(listener.last_id, place);
        place = listener.last_id.clone();
    }
    let appended = listener.wait_for("logs.append").await;
    assert_eq!((&appended["fromSeq"], &appended["toSeq"]), (&json!(4), &json!(4)));
    assert!(appended.get("missed").is_none(), "{appended}");
    // The state begins anew, the log does not: that it has the entries stays true when it is cut behind the snapshot.
    let place = format!("{}.999999.3", crate::bench::BOOT_ID);
    let mut listener = Listener::open(&bench, "", Some(&place)).await;
    assert_eq!(listener.expect("welcome").await["resumed"], false);
    listener.expect("state.snapshot").await;
    assert!(listener.last_id.unwrap().ends_with(".3"));
    bench.close().await;
}

#[tokio::test]
async fn a_place_without_a_log_entry_begins_with_the_newest_as_on_the_socket() {
    let bench = Bench::with(Settings {
        log_capacity: 5,
        ..Settings::default()
    })
    .await;
    for line in 1..=20 {
        bench.log(&format!("line {line}"));
    }
    let version = bench.state.version();
    let place = format!("{}.{version}.0", crate::bench::BOOT_ID);
    let mut listener = Listener::open(&bench, "?channels=logs", Some(&place)).await;
    // Nothing is gone on with.
    assert_eq!(listener.expect("welcome").await["resumed"], false);
    let history = listener.expect("logs.history").await;
    assert!(history.get("missed").is_none(), "{history}");
    assert_eq!(history["toSeq"], 20);
    bench.close().await;
}

#[tokio::test]
async fn resumed_says_whether_something_is_gone_on_with() {
    let bench = Bench::start().await;
    let seq = bench.log("a line");
    let boot = crate::bench::BOOT_ID;
    for (channels, place, resumed) in [
        ("logs", format!("{boot}.0.{seq}"), true),
        ("logs", format!("{boot}.0.999999"), false),
        ("events", format!("{boot}.1.{seq}"), false),
        ("alarms,commands", format!("{boot}.1.{seq}"), false),
    ] {
        let mut listener = Listener::open(&bench, &format!("?channels={channels}"), Some(&place)).await;
        assert_eq!(
            listener.expect("welcome").await["resumed"],
            resumed,
            "{channels} {place}"
        );
    }
    bench.close().await;
}

#[tokio::test]
async fn a_listener_hears_what_stopping_did() {
    // Nothing is flushed before the last pass.
    let settings = Settings {
        broadcast_interval: Duration::from_secs(3600),
        ..Settings::default()
    };
    let bench = Bench::with(settings).await;
    let mut listener = Listener::open(&bench, "?channels=state,logs", None).await;
    listener.expect("welcome").await;
    listener.expect("state.snapshot").await;
    listener.expect("logs.history").await;
    // The first change of a pause may go out at once; those behind it wait.
    for watts in 1..=9 {
        bench.set_watts(watts);
        bench.log(&format!("line {watts}"));
    }
    bench.close().await;
    let (mut watts, mut lines) = (Value::Null, 0);
    while let Some(event) = listener.next().await {
        match event.name.as_str() {
            "state.patch" => {
                for operation in event.data["patch"].as_array().unwrap() {
                    if operation["path"] == "/powerMeter/lastSample/watts" {
                        watts = operation["value"].clone();
                    }
                }
            }
            "logs.append" => lines += event.data["entries"].as_array().unwrap().len(),
            other => panic!("{other}: {event:?}"),
        }
    }
    assert_eq!((watts, lines), (json!(9), 9));
}

/// A mirror and a log that trust nothing: each version and each number follows the one before.
fn take(event: &Event, mirror: &mut Value, seen: &mut u64) {
    match event.name.as_str() {
        "state.patch" => apply(mirror, &event.data),
        "logs.append" | "logs.history" => {
            let from = event.data["fromSeq"].as_u64().unwrap();
            assert!(event.data.get("missed").is_none(), "{event:?}");
            assert_eq!(from, *seen + 1, "{event:?}");
            *seen = event.data["toSeq"].as_u64().unwrap();
        }
        other => panic!("{other}: {event:?}"),
    }
}

#[tokio::test]
async fn a_place_that_is_gone_or_never_was_is_answered_with_a_snapshot() {
    let settings = Settings {
        state_ring_bytes: 2000,
        ..Settings::default()
    };
    let bench = Bench::with(settings).await;
    let mut listener = Listener::open(&bench, "?channels=state", None).await;
    listener.expect("welcome").await;
    listener.expect("state.snapshot").await;
    let old = listener.last_id.clone().unwrap();
    drop(listener);
    for watts in 1..200 {
        bench.set_watts(watts);
        bench.state.snapshot();
    }
    let elsewhere = old.replace(crate::bench::BOOT_ID, "ffffffffffffffff");
    let future = format!("{}.999999.0", crate::bench::BOOT_ID);
    for id in [old.as_str(), &elsewhere, &future, "nonsense"] {
        let mut listener = Listener::open(&bench, "?channels=state", Some(id)).await;
        assert_eq!(listener.expect("welcome").await["resumed"], false, "{id}");
        let snapshot = listener.expect("state.snapshot").await;
        assert_eq!(snapshot["data"]["powerMeter"]["lastSample"]["watts"], 199);
    }
    bench.close().await;
}

#[tokio::test]
async fn telemetry_events_and_alarms_are_events_too() {
    let bench = Bench::start().await;
    bench.add_series(4);
    bench.push_samples(4, 1..=2);
    let mut listener = Listener::open(&bench, "?channels=telemetry:4,events", None).await;
    listener.expect("welcome").await;
    let backlog = listener.expect("telemetry").await;
    assert_eq!(backlog["samples"].as_array().unwrap().len(), 2);
    bench.push_samples(4, 3..=3);
    assert_eq!(listener.expect("telemetry").await["value"], 3);
    bench.set_watts(1);
    bench.hub.publish_event(
        serde_json::from_value(json!({
            "timestamp": 1, "event": {"_id": "e-1", "process_id": "p", "sender": null, "message": "m", "level": "info",
            "context": {"kind": "test"}}
        }))
        .unwrap(),
    );
    assert_eq!(listener.expect("event").await["event"]["_id"], "e-1");
    bench
        .get("/api/v1/events?channels=telemetry:5")
        .await
        .is_problem(404, "unknown-endpoint");
    bench
        .get("/api/v1/events?channels=weather")
        .await
        .is_problem(400, "bad-query");
    bench.close().await;
}

#[tokio::test]
async fn a_page_that_only_has_onmessage_hears_every_event() {
    let bench = Bench::start().await;
    let mut listener = Listener::open(&bench, "?named=false", None).await;
    for kind in ["welcome", "state.snapshot", "logs.history"] {
        assert_eq!(listener.expect("message").await["type"], kind);
    }
    // A large one goes out in pieces.
    let text = "x".repeat(20_000);
    let at = autobench_core::state::Pointer::parse("/message").unwrap();
    bench.state.update(|store| store.set(&at, text.into())).unwrap();
    while listener.expect("message").await["type"] != "state.patch" {}
    assert!(listener.last_id.is_some(), "it has a place to go on from");
    let mut named = Listener::open(&bench, "?named=true", None).await;
    named.expect("welcome").await;
    bench
        .get("/api/v1/events?named=perhaps")
        .await
        .is_problem(400, "bad-query");
    bench.close().await;
}

#[tokio::test]
async fn listeners_count_as_clients() {
    let mut settings = Settings::default();
    settings.hub.limits.clients = 2;
    let bench = Bench::with(settings).await;
    let mut first = Listener::open(&bench, "", None).await;
    first.expect("welcome").await;
    let _socket = bench.connect().await;
    bench
        .get("/api/v1/events")
        .await
        .is_problem(503, "too-many-clients");
    drop(first);
    // The daemon notices when it has something to say.
    let begin = std::time::Instant::now();
    let mut watts = 0;
    while bench.hub.take_seat().is_err() {
        assert!(begin.elapsed() < DEADLINE, "the place is not given back");
        watts += 1;
        bench.set_watts(watts);
        // How often it has something to say.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bench.close().await;
}

#[tokio::test]
async fn listeners_keep_nobody_out() {
    let mut settings = Settings::default();
    settings.http.connections = 2;
    // Nobody has to make room: a newcomer gets in when somebody has left a place.
    settings.http.least_wait = Duration::from_secs(3600);
    settings.hub.limits.clients = 8;
    let bench = Bench::with(settings).await;
    let mut listeners = Vec::new();
    for _ in 0..7 {
        listeners.push(Listener::open(&bench, "", None).await);
    }
    for _ in 0..4 {
        assert_eq!(bench.get("/healthz").await.status, 200);
    }
    let (_socket, _) = bench.join().await;
    bench
        .get("/api/v1/events")
        .await
        .is_problem(503, "too-many-clients");
    for listener in &mut listeners {
        listener.expect("welcome").await;
    }
    bench.close().await;
}

#[tokio::test]
async fn a_listener_that_takes_nothing_is_cut_and_holds_no_one_up() {
    let mut settings = Settings {
        state_ring_bytes: 1 << 20,
        ..Settings::default()
    };
    settings.http.stall_timeout = Duration::from_millis(300);
    settings.hub.limits.clients = 2;
    let bench = Bench::with(settings).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let silent = Listener::on(socket.connect(bench.address).await.unwrap(), "", None).await;
    let mut awake = Listener::open(&bench, "?channels=state", None).await;
    assert!(bench.hub.take_seat().is_err());
    awake.expect("welcome").await;
    let mut mirror = awake.expect("state.snapshot").await["data"].clone();
    let filler = "x".repeat(20_000);
    let at = autobench_core::state::Pointer::parse("/message").unwrap();
    let begin = std::time::Instant::now();
    // Both seats are taken until the silent one is cut.
    while bench.hub.take_seat().is_err() {
        assert!(begin.elapsed() < DEADLINE, "it is not cut");
        let text = format!("{filler}{}", begin.elapsed().as_nanos());
        bench.state.update(|store| store.set(&at, text.into())).unwrap();
        apply(&mut mirror, &awake.wait_for("state.patch").await);
    }
    drop(silent);
    until("the other goes on", || bench.hub.take_seat().is_ok()).await;
    bench.close().await;
}
