//! A control panel: it learns its name from `connected`, subscribes to series by number and to alarms, keeps what it wanted to say while it was
//! away, and subscribes again when it is back. Samples come in over HTTP, and who has no socket listens to server-sent events.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use e2e::{Bench, Daemon, DeviceEntry, Relay, Response, Sim, Terminal, eventually, request};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::common::Socket;

/// 3 s, 6 s, 12 s, and never more than 30 s.
fn backoff(attempt: u32) -> Duration {
    Duration::from_secs((3_u64 << attempt.min(4)).min(30))
}

/// `useWebSocket` and the page that uses it.
struct Panel {
    url: String,
    ws: Option<Socket>,
    client_id: String,
    /// What is sent again after each reconnection.
    subscriptions: Vec<Value>,
    /// What the page wanted to say while there was no connection.
    queue: VecDeque<Value>,
    temperature: BTreeMap<u64, f64>,
    samples: usize,
    alarms: Vec<Value>,
    answers: Vec<Value>,
}

impl Panel {
    async fn open(url: &str) -> Self {
        let mut panel = Self {
            url: url.to_owned(),
            ws: None,
            client_id: String::new(),
            subscriptions: Vec::new(),
            queue: VecDeque::new(),
            temperature: BTreeMap::new(),
            samples: 0,
            alarms: Vec::new(),
            answers: Vec::new(),
        };
        assert!(panel.connect().await, "the socket opens");
        panel
    }

    /// Connects, waits for its name, and says what waited.
    async fn connect(&mut self) -> bool {
        self.client_id.clear();
        self.ws = Socket::open(&self.url).await;
        if self.ws.is_none() {
            return false;
        }
        self.until(|panel| !panel.client_id.is_empty()).await;
        for message in self.subscriptions.clone() {
            self.send_now(&message).await;
        }
        while let Some(message) = self.queue.pop_front() {
            self.send_now(&message).await;
        }
        true
    }

    async fn send_now(&mut self, message: &Value) {
        let ws = self.ws.as_mut().expect("a connection");
        assert!(ws.send(message).await, "the message is sent");
    }

    async fn send(&mut self, message: Value) {
        if self.ws.is_some() {
            self.send_now(&message).await;
        } else {
            self.queue.push_back(message);
        }
    }

    async fn subscribe(&mut self, message: Value) {
        self.subscriptions.push(message.clone());
        self.send(message).await;
    }

    /// Takes a message; false when the connection is gone, which the page shows.
    async fn on_message(&mut self) -> bool {
        let Some(message) = self.ws.as_mut().expect("a connection").receive().await else {
            self.ws = None;
            return false;
        };
        match message["type"].as_str().expect("a type") {
            "connected" => message["clientId"]
                .as_str()
                .expect("clientId")
                .clone_into(&mut self.client_id),
            "telemetry" => {
                let id = message["endpointId"].as_u64().expect("a numeric id");
                assert!(
                    message["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')),
                    "{message}"
                );
                self.temperature
                    .insert(id, message["value"].as_f64().expect("a value"));
                self.samples += 1;
            }
            "alarm" => self.alarms.push(message),
            "pong" | "error" => self.answers.push(message),
            _ => {}
        }
        true
    }

    async fn until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        let all = async {
            while !done(self) {
                assert!(self.on_message().await, "the connection is gone");
            }
        };
        tokio::time::timeout(e2e::PATIENCE, all).await.expect("in time");
    }
}

/// A bench with a meter, and a driver that raises alarms.
fn bench() -> (Bench, Sim, Terminal) {
    let bench = Bench::new();
    let sim = Sim::start(&bench.artifacts, bench.folder(), 20.0, 33, "none");
    let link = bench.folder().join("line");
    let line = Terminal::create(&link);
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    bench.install("narrator", &bench.artifacts.fixture("narrator"));
    bench.configure(&[
        DeviceEntry::meter(sim.link()),
        DeviceEntry::new("tank", "narrator", &link),
    ]);
    (bench, sim, line)
}

async fn endpoint(daemon: &Daemon, series: &str) -> u64 {
    eventually("the series", async || {
        let at = format!("/devices/meter/series/{series}/endpointId");
        daemon.member(&at).await?.as_u64()
    })
    .await
}

#[tokio::test]
async fn a_panel_shows_series_and_alarms_and_finds_back_with_what_it_wanted_to_say() {
    let (bench, _sim, mut line) = bench();
    let daemon = bench.start();
    let (watts, volts) = (endpoint(&daemon, "watts").await, endpoint(&daemon, "volts").await);
    let relay = Relay::to(daemon.address()).await;
    let mut panel = Panel::open(&format!("ws://{}/ws", relay.address())).await;
    let first_id = panel.client_id.clone();

    // Telemetry by number, as one subscription of two; then one of them is ended, and nothing of it comes any more.
    panel
        .subscribe(json!({"type": "subscribe", "channel": "telemetry", "endpointIds": [watts, volts]}))
        .await;
    panel.until(|panel| panel.temperature.len() == 2).await;
    panel
        .send(json!({"type": "unsubscribe", "channel": "telemetry", "endpointIds": [volts]}))
        .await;
    panel.send(json!({"type": "ping"})).await;
    panel.until(|panel| !panel.answers.is_empty()).await;
    assert_eq!(panel.answers.remove(0)["type"], "pong");
    panel.temperature.clear();
    let so_far = panel.samples;
    panel.until(|panel| panel.samples >= so_far + 5).await;
    assert_eq!(panel.temperature.keys().collect::<Vec<_>>(), [&watts]);
    panel.subscriptions[0] = json!({"type": "subscribe", "channel": "telemetry", "endpointIds": [watts]});

    // Alarms, raised and cleared.
    panel
        .subscribe(json!({"type": "subscribe", "channel": "alarms"}))
        .await;
    panel.send(json!({"type": "ping"})).await;
    panel.until(|panel| !panel.answers.is_empty()).await;
    panel.answers.clear();
    line.send(b"{\"raise\":{\"key\":\"hlt\",\"message\":\"HLT temperature exceeded 212 F\"}}\n");
    panel.until(|panel| panel.alarms.len() == 1).await;
    let alarm = panel.alarms.remove(0);
    assert!(
        alarm["alarmId"].is_u64() && alarm["timestamp"].is_string(),
        "{alarm}"
    );
    assert_eq!(
        (&alarm["severity"], &alarm["message"]),
        (&json!("critical"), &json!("HLT temperature exceeded 212 F"))
    );
    line.send(b"{\"clear\":{\"key\":\"hlt\"}}\n");
    panel.until(|panel| panel.alarms.len() == 1).await;
    assert_eq!(panel.alarms.remove(0)["state"], "cleared");

    // The connection breaks. What the page wants to say meanwhile waits; it is back within its own 3 s, under a new name.
    relay.cut();
    while panel.on_message().await {}
    panel.send(json!({"type": "ping", "id": "queued"})).await;
    assert_eq!(panel.queue.len(), 1);
    for attempt in 0.. {
        tokio::time::sleep(backoff(attempt)).await;
        if panel.connect().await {
            break;
        }
    }
    assert_ne!(panel.client_id, first_id);
    panel.until(|panel| !panel.answers.is_empty()).await;
    assert_eq!(panel.answers.remove(0)["id"], "queued");
    let so_far = panel.samples;
    panel.until(|panel| panel.samples > so_far + 3).await;
    assert_eq!(panel.temperature.keys().collect::<Vec<_>>(), [&watts]);
    line.send(b"{\"raise\":{\"key\":\"hlt\",\"message\":\"again\"}}\n");
    panel.until(|panel| panel.alarms.len() == 1).await;
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn the_limits_of_a_client_are_told_and_kept() {
    let (bench, sim, _line) = bench();
    bench.configure_with(
        "[daemon.limits]\nclients = 2\nsubscriptions = 2\nmessages-per-second = 10\n",
        &[DeviceEntry::meter(sim.link())],
    );
    let daemon = bench.start();
    let (watts, volts, amps) = (
        endpoint(&daemon, "watts").await,
        endpoint(&daemon, "volts").await,
        endpoint(&daemon, "amps").await,
    );
    let url = format!("ws://{}/ws", daemon.address());
    let mut panel = Panel::open(&url).await;
    for id in [watts, volts, amps] {
        panel
            .send(json!({"type": "subscribe", "channel": "telemetry", "endpointIds": [id]}))
            .await;
    }
    panel.until(|panel| !panel.answers.is_empty()).await;
    assert_eq!(panel.answers.remove(0)["code"], "too-many-subscriptions");
    // More than ten in a second, and more than may come at once.
    for number in 0..40 {
        panel.send(json!({"type": "ping", "id": number})).await;
    }
    panel.until(|panel| panel.answers.len() == 40).await;
    let refused = panel
        .answers
        .iter()
        .filter(|answer| answer["code"] == "rate-limited")
        .count();
    assert!((10..40).contains(&refused), "{refused} of 40");
    let _second = Panel::open(&url).await;
    assert!(
        Socket::open(&url).await.is_none(),
        "a third client finds no place"
    );
    assert!(daemon.stop().success());
}

/// `POST`, with a token or without.
async fn post(daemon: &Daemon, path: &str, token: Option<&str>, body: &Value) -> Response {
    let (address, body) = (daemon.address(), body.to_string());
    let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    request(
        address,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{token}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
    .await
}

#[tokio::test]
async fn what_is_posted_reaches_the_panel_over_the_socket_and_over_server_sent_events() {
    let (bench, _sim, mut line) = bench();
    let daemon = bench.start();
    let posted = |value: f64| json!({"endpoint": "hlt.temperature", "unit": "°F", "value": value});
    let taken = post(&daemon, "/api/v1/telemetry", None, &posted(180.5))
        .await
        .json();
    let id = taken["series"][0]["endpointId"].as_u64().expect("a number");

    let mut panel = Panel::open(&format!("ws://{}/ws", daemon.address())).await;
    panel
        .subscribe(json!({"type": "subscribe", "channel": "telemetry", "endpointIds": [id]}))
        .await;
    panel
        .until(|panel| panel.temperature.get(&id) == Some(&180.5))
        .await;

    // The alternative for those who have no socket: one direction, over HTTP.
    let mut events = TcpStream::connect(daemon.address()).await.expect("a connection");
    let ask = format!(
        "GET /api/v1/events?channels=alarms,telemetry:{id} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n",
        daemon.address()
    );
    events
        .write_all(ask.as_bytes())
        .await
        .expect("the request is sent");
    let mut heard = String::new();
    listen(&mut events, &mut heard, "180.5").await;

    post(&daemon, "/api/v1/telemetry", None, &posted(212.5)).await;
    panel
        .until(|panel| panel.temperature.get(&id) == Some(&212.5))
        .await;
    listen(&mut events, &mut heard, "212.5").await;
    line.send(b"{\"raise\":{\"key\":\"hlt\",\"message\":\"HLT temperature exceeded 212 F\"}}\n");
    listen(&mut events, &mut heard, "HLT temperature exceeded 212 F").await;
    assert!(
        heard.contains("event: alarm\n") && heard.contains("event: telemetry\n"),
        "{heard}"
    );
    assert!(daemon.stop().success());
}

/// Reads until a text has come.
async fn listen(stream: &mut TcpStream, heard: &mut String, text: &str) {
    let mut buffer = [0; 4096];
    while !heard.contains(text) {
        let count = tokio::time::timeout(e2e::PATIENCE, stream.read(&mut buffer))
            .await
            .unwrap_or_else(|_| panic!("{text} in time: {heard}"))
            .expect("the answer goes on");
        assert!(count > 0, "the answer ended before {text}: {heard}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
}

const VIEWER: &str = "ab-viewer-00112233445566778899aabbccddeeff";
const OPERATOR: &str = "ab-operator-00112233445566778899aabbccddeeff";

#[tokio::test]
async fn each_endpoint_asks_for_its_role() {
    let (bench, sim, _line) = bench();
    bench.configure_with(
        "[auth.tokens.wall]\nrole = \"viewer\"\nsha256 = \"e28e7d11b45bfcf3d64249060df09a0db153f9ade0fa7fab0de881ebf3e4a7d9\"\n\
         [auth.tokens.desk]\nrole = \"operator\"\nsha256 = \"dab59bcabf713d09e5821f4eea0cbc1674a9e02c6eeb20e0eb646b610ce197e9\"\n",
        &[DeviceEntry::meter(sim.link())],
    );
    let daemon = bench.start();
    let sample = json!({"endpoint": "hlt.temperature", "unit": "°F", "value": 1});
    let statuses = [
        post(&daemon, "/api/v1/telemetry", None, &sample).await.status,
        post(&daemon, "/api/v1/telemetry", Some(VIEWER), &sample)
            .await
            .status,
        post(&daemon, "/api/v1/telemetry", Some(OPERATOR), &sample)
            .await
            .status,
    ];
    assert_eq!(statuses, [401, 403, 200]);
    assert_eq!(e2e::get(daemon.address(), "/api/v1/state").await.status, 401);

    // The socket asks for the token in the first message, and gives nothing before.
    let mut socket = Socket::open(&format!("ws://{}/ws", daemon.address()))
        .await
        .expect("the socket opens");
    let welcome = socket.next().await;
    assert_eq!(
        (&welcome["type"], &welcome["authRequired"]),
        (&json!("welcome"), &json!(true))
    );
    socket
        .send(&json!({"type": "subscribe", "channel": "alarms", "id": "early"}))
        .await;
    assert_eq!(socket.next().await["code"], "unauthorized");
    socket.send(&json!({"type": "auth", "token": VIEWER})).await;
    let mut types = Vec::new();
    while types.last().is_none_or(|kind| kind != "connected") {
        types.push(socket.next().await["type"].as_str().expect("a type").to_owned());
    }
    assert_eq!(types[..2], ["state.snapshot", "logs.history"]);
    assert!(daemon.stop().success());
}

#[test]
fn the_pauses_grow_to_half_a_minute() {
    let pauses: Vec<u64> = (0..6).map(|attempt| backoff(attempt).as_secs()).collect();
    assert_eq!(pauses, [3, 6, 12, 24, 30, 30]);
}
