//! A control panel: it learns its name from `connected`, subscribes to series by number and to alarms, keeps what it wanted to say while it was
//! away, and subscribes again when it is back.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use e2e::{Bench, Daemon, DeviceEntry, Relay, Sim, Terminal, eventually};
use serde_json::{Value, json};

use super::Socket;

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

#[test]
fn the_pauses_grow_to_half_a_minute() {
    let pauses: Vec<u64> = (0..6).map(|attempt| backoff(attempt).as_secs()).collect();
    assert_eq!(pauses, [3, 6, 12, 24, 30, 30]);
}
