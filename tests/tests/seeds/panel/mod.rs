//! A control panel: it learns its name from `connected`, subscribes to series by number, to alarms and to commands, keeps what it wanted to say
//! while it was away, and subscribes again when it is back. Samples come in over HTTP, and who has no socket listens to server-sent events.
//!
//! Its scenario lies in a file for each part: what it shows (`telemetry`), what it does (`pump`), what it may (`access`), and how much (`limits`).

mod access;
mod limits;
mod pump;
mod telemetry;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use e2e::{Bench, Daemon, DeviceEntry, PATIENCE, Relay, Response, Sim, Terminal, call, eventually};
use serde_json::{Value, json};

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
    /// `command_status`, by command, in the order in which they came.
    statuses: BTreeMap<String, Vec<Value>>,
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
            statuses: BTreeMap::new(),
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
        self.until("its name", |panel| !panel.client_id.is_empty()).await;
        for message in self.subscriptions.clone() {
            self.send_now(&message).await;
        }
        while let Some(message) = self.queue.pop_front() {
            self.send_now(&message).await;
        }
        true
    }

    /// Notices that the connection is gone, and tries until there is another.
    async fn come_back(&mut self) {
        for attempt in 0.. {
            // The page's own pause: how long it waits is what its document says.
            tokio::time::sleep(backoff(attempt)).await;
            if self.connect().await {
                return;
            }
        }
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
            "command_status" => {
                let id = message["commandId"].as_str().expect("commandId").to_owned();
                assert!(message["status"].is_string(), "{message}");
                self.statuses.entry(id).or_default().push(message);
            }
            "alarm" => self.alarms.push(message),
            "ack" | "pong" | "error" => self.answers.push(message),
            _ => {}
        }
        true
    }

    async fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let all = async {
            while !done(self) {
                assert!(self.on_message().await, "the connection is gone before {what}");
            }
        };
        let waited = tokio::time::timeout(PATIENCE, all).await;
        waited.unwrap_or_else(|_| panic!("not in time: {what}"));
    }

    /// Whatever was said before has been answered then.
    async fn settle(&mut self) {
        let id = format!("settle-{}", self.answers.len());
        self.send(json!({"type": "ping", "id": id})).await;
        self.until("the pong", |panel| {
            panel
                .answers
                .last()
                .is_some_and(|answer| answer["type"] == "pong" && answer["id"] == id.as_str())
        })
        .await;
    }

    /// The stages of a command of which it was told, each once.
    fn stages(&self, id: &str) -> Vec<&str> {
        let told = self.statuses.get(id).into_iter().flatten();
        let mut stages: Vec<&str> = told.filter_map(|status| status["status"].as_str()).collect();
        stages.dedup();
        stages
    }

    /// Waits for a stage of a command, and gives what was said of it then.
    async fn until_stage(&mut self, id: &str, stage: &str) -> Value {
        self.until(&format!("{id} is {stage}"), |panel| {
            panel.stages(id).last() == Some(&stage)
        })
        .await;
        self.statuses[id].last().expect("a status").clone()
    }
}

/// A brewery: a meter, a tank whose driver raises alarms, and a pump behind a relay. The story plays the relay's board.
struct Brewery {
    bench: Bench,
    _sim: Sim,
    tank: Terminal,
    board: Terminal,
    devices: Vec<DeviceEntry>,
}

impl Brewery {
    fn new() -> Self {
        let bench = Bench::new();
        let sim = Sim::start(&bench.artifacts, bench.folder(), 20.0, 33, "none");
        let link = |name: &str| -> PathBuf { bench.folder().join(name) };
        let (tank_link, board_link) = (link("tank"), link("board"));
        let (tank, board) = (Terminal::create(&tank_link), Terminal::create(&board_link));
        bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
        for driver in ["narrator", "relay"] {
            bench.install(driver, &bench.artifacts.fixture(driver));
        }
        let devices = vec![
            DeviceEntry::meter(sim.link()),
            DeviceEntry::new("tank", "narrator", &tank_link),
            DeviceEntry::new("pump", "relay", &board_link),
        ];
        bench.configure(&devices);
        Self {
            bench,
            _sim: sim,
            tank,
            board,
            devices,
        }
    }

    /// Starts the daemon and waits until its drivers listen.
    async fn start(&self) -> Daemon {
        let daemon = self.bench.start();
        for device in ["tank", "pump"] {
            let at = format!("/devices/{device}/phase");
            eventually("the driver", async || {
                (daemon.member(&at).await? == "ready").then_some(())
            })
            .await;
        }
        daemon
    }

    fn raise(&mut self, message: &str) {
        let said = json!({"raise": {"key": "hlt", "message": message}});
        self.tank.send(format!("{said}\n").as_bytes());
    }

    fn clear(&mut self) {
        self.tank.send(b"{\"clear\":{\"key\":\"hlt\"}}\n");
    }

    /// Waits until the board is sent a word, and gives the command to which it belongs.
    fn board_hears(&mut self, word: &str) -> String {
        let line = self.board.next_line();
        let (heard, id) = line.split_once(' ').expect("a word and an id");
        assert_eq!(heard, word, "{line:?}");
        id.to_owned()
    }

    fn board_says(&mut self, line: &str) {
        self.board.send(format!("{line}\n").as_bytes());
    }
}

fn socket_of(address: &str) -> String {
    format!("ws://{address}/ws")
}

async fn endpoint(daemon: &Daemon, series: &str) -> u64 {
    eventually("the series", async || {
        let at = format!("/devices/meter/series/{series}/endpointId");
        daemon.member(&at).await?.as_u64()
    })
    .await
}

/// `POST`, with a token or without.
async fn post(daemon: &Daemon, path: &str, token: Option<&str>, body: &Value) -> Response {
    call(daemon.address(), "POST", path, &bearer(token), Some(body)).await
}

fn bearer(token: Option<&str>) -> String {
    token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"))
}

/// Presses a button of the pump as the page does, and gives the command's id.
async fn press(daemon: &Daemon, name: &str) -> String {
    let taken = post(
        daemon,
        "/api/v1/devices/pump/commands",
        None,
        &json!({"name": name}),
    )
    .await;
    assert_eq!(taken.status, 202, "{:?}", String::from_utf8_lossy(&taken.body));
    taken.json()["commandId"].as_str().expect("commandId").to_owned()
}

#[test]
fn the_pauses_grow_to_half_a_minute() {
    let pauses: Vec<u64> = (0..6).map(|attempt| backoff(attempt).as_secs()).collect();
    assert_eq!(pauses, [3, 6, 12, 24, 30, 30]);
}
