//! A dashboard of a program that runs: it says who it is, asks what runs, follows blocks into a history of four actions, wants only some log
//! entries, and says how its hardware is.

use std::time::Duration;

use e2e::{Relay, eventually, get};
use serde_json::{Value, json};

use super::common::{Narrated, Socket};

/// `actionHistory`.
#[derive(Debug, Clone, PartialEq)]
struct Action {
    kind: String,
    text: String,
    block_id: String,
    /// `None` while it is in progress.
    success: Option<bool>,
}

/// `useWebSocketStore`.
struct Store {
    ws: Socket,
    client_id: String,
    history: Vec<Action>,
    initial: Option<Value>,
    logs: Vec<Value>,
    ranges: Vec<(u64, u64)>,
    events: Vec<Value>,
    acks: usize,
}

impl Store {
    /// Connects; the first message says who it is.
    async fn connect(address: &str, name: &str, page: &str) -> Self {
        let mut ws = Socket::open(&format!("ws://{address}/ws/flow"))
            .await
            .expect("the socket opens");
        ws.send(&json!({"type": "identify_client", "clientInfo": {"name": name, "page": page}}))
            .await;
        let mut store = Self {
            ws,
            client_id: String::new(),
            history: Vec::new(),
            initial: None,
            logs: Vec::new(),
            ranges: Vec::new(),
            events: Vec::new(),
            acks: 0,
        };
        store.until(|store| !store.client_id.is_empty()).await;
        store
    }

    async fn until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        while !done(self) {
            let message = self.ws.next().await;
            self.handle_websocket_message(&message);
        }
    }

    fn handle_websocket_message(&mut self, message: &Value) {
        let data = &message["data"];
        match message["type"].as_str().expect("a type") {
            "client_identified" => {
                data["clientId"]
                    .as_str()
                    .expect("clientId")
                    .clone_into(&mut self.client_id);
            }
            "initial_execution_state" => {
                assert!(message["timestamp"].is_string());
                assert!(data["executionContext"].is_object());
                self.history.clear();
                for block in data["recent"].as_array().expect("recent").iter().rev() {
                    self.started(block);
                    self.executed(block);
                }
                for block in data["active"].as_array().expect("active") {
                    self.started(block);
                }
                self.initial = Some(message.clone());
            }
            "block_started_enhanced" => self.started(data),
            "block_executed_enhanced" => self.executed(data),
            "logs.history" | "logs.append" => {
                self.logs
                    .extend(message["entries"].as_array().expect("entries").clone());
                let bound = |name: &str| message[name].as_u64().expect("a bound");
                self.ranges.push((bound("fromSeq"), bound("toSeq")));
            }
            "event" => self.events.push(message.clone()),
            "ack" => self.acks += 1,
            _ => {}
        }
    }

    fn started(&mut self, data: &Value) {
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        assert!(data["timing"]["startTime"].is_string(), "{data}");
        self.history.insert(
            0,
            Action {
                kind: text("blockType"),
                text: text("displayText"),
                block_id: text("blockId"),
                success: None,
            },
        );
        self.history.truncate(4);
    }

    fn executed(&mut self, data: &Value) {
        assert!(data["timing"]["endTime"].is_string(), "{data}");
        if let Some(action) = self
            .history
            .iter_mut()
            .find(|action| action.block_id == data["blockId"])
        {
            action.success = Some(data["status"] == "completed");
        }
    }
}

fn started(number: u32) -> Value {
    json!({"event": {"kind": "block_started", "message": "a block begins", "context": {
        "blockId": format!("block_{number}"), "blockType": "sensor", "blockName": "EC", "displayText": format!("Измерва EC {number}..."),
        "executionContext": {"program": "morning", "loop": number}}}})
}

fn executed(number: u32, status: &str) -> Value {
    json!({"event": {"kind": "block_executed", "message": "a block is over", "context": {
        "blockId": format!("block_{number}"), "status": status, "result": {"ec": 1.4}}}})
}

#[tokio::test]
async fn a_dashboard_follows_a_program_and_shows_its_last_four_actions() {
    let mut narrated = Narrated::new("flow");
    let daemon = narrated.start("flow").await;
    let mut store = Store::connect(daemon.address(), "ProgramDashboard", "dashboard").await;
    store.until(|store| store.initial.is_some()).await;
    let initial = store.initial.take().expect("the initial state");
    assert_eq!(initial["data"]["active"], json!([]));

    // Six blocks, of which the history keeps four, newest first; the fifth fails.
    for number in 1..=6 {
        narrated.say(&started(number));
        if number < 6 {
            narrated.say(&executed(
                number,
                if number == 5 { "failed" } else { "completed" },
            ));
        }
    }
    store
        .until(|store| {
            store
                .history
                .first()
                .is_some_and(|action| action.block_id == "block_6")
        })
        .await;
    let shown: Vec<_> = store
        .history
        .iter()
        .map(|a| (a.block_id.as_str(), a.success))
        .collect();
    assert_eq!(
        shown,
        [
            ("block_6", None),
            ("block_5", Some(false)),
            ("block_4", Some(true)),
            ("block_3", Some(true))
        ]
    );
    assert_eq!(
        (store.history[0].kind.as_str(), store.history[0].text.as_str()),
        ("sensor", "Измерва EC 6...")
    );

    // A second dashboard that comes in the middle sees the same, and hears the rest.
    let mut late = Store::connect(daemon.address(), "Second", "dashboard").await;
    late.until(|late| late.initial.is_some()).await;
    assert_eq!(late.history, store.history);
    late.initial = None;
    late.ws.send(&json!({"type": "request_initial_state"})).await;
    late.until(|late| late.initial.is_some()).await;
    let state = late.initial.take().expect("the initial state");
    assert_eq!(
        state["data"]["executionContext"],
        json!({"program": "morning", "loop": 6})
    );
    assert_eq!(state["data"]["recent"].as_array().map(Vec::len), Some(5));
    narrated.say(&executed(6, "completed"));
    for page in [&mut store, &mut late] {
        page.until(|page| page.history[0].success == Some(true)).await;
    }

    // The line breaks. Three seconds later it is back, says again who it is, and has its history again: with what happened meanwhile.
    let wire = Relay::to(daemon.address()).await;
    let mut away = Store::connect(wire.address(), "Away", "dashboard").await;
    away.until(|away| away.initial.is_some()).await;
    let (before, first_id) = (away.history.clone(), away.client_id.clone());
    wire.cut();
    while let Some(message) = away.ws.receive().await {
        away.handle_websocket_message(&message);
    }
    narrated.say(&started(7));
    narrated.say(&executed(7, "completed"));
    for page in [&mut store, &mut late] {
        page.until(|page| page.history[0].block_id == "block_7" && page.history[0].success.is_some())
            .await;
    }
    // The page's own pause, which its document names.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut away = Store::connect(wire.address(), "Away", "dashboard").await;
    away.until(|away| away.initial.is_some()).await;
    assert_ne!(away.client_id, first_id);
    assert_ne!(away.history, before);
    assert_eq!(away.history, store.history);

    // The page of the logs wants only the program's, and only some levels.
    let mut logs = Store::connect(daemon.address(), "SystemLogs", "logs").await;
    logs.ws
        .send(&json!({"type": "subscribe_logs", "filters": {"level": ["info", "error"], "tag": "flow", "text": "calibration"}}))
        .await;
    logs.until(|logs| logs.acks == 1).await;
    logs.logs.clear();
    logs.ranges.clear();
    for number in 0..5 {
        narrated
            .say(&json!({"log": {"isError": number % 2 == 1, "message": format!("Calibration {number}")}}));
        narrated.say(&json!({"log": {"isError": true, "message": format!("noise {number}")}}));
    }
    logs.until(|logs| logs.logs.len() >= 5).await;
    let messages: Vec<_> = logs
        .logs
        .iter()
        .map(|entry| entry["message"].as_str().expect("a text"))
        .collect();
    assert_eq!(
        messages,
        [
            "Calibration 0",
            "Calibration 1",
            "Calibration 2",
            "Calibration 3",
            "Calibration 4"
        ]
    );
    assert!(logs.logs.iter().all(|entry| entry["tag"] == "flow"));
    for pair in logs.ranges.windows(2) {
        assert_eq!(
            pair[1].0,
            pair[0].1 + 1,
            "the ranges are contiguous: {:?}",
            logs.ranges
        );
    }

    // Its hardware's health is kept with it, and told to whoever hears of events.
    late.ws
        .send(&json!({"type": "subscribe", "channel": "events"}))
        .await;
    late.until(|late| late.acks == 1).await;
    store
        .ws
        .send(&json!({"type": "hardware_health_update", "data": {"relays": "ok", "cpuLoad": 0.4}}))
        .await;
    store.until(|store| store.acks == 1).await;
    late.until(|late| {
        late.events
            .iter()
            .any(|event| event["event"]["context"]["kind"] == "HardwareHealth")
    })
    .await;
    let context = &late.events.last().expect("an event")["event"]["context"];
    assert_eq!(context["clientId"], store.client_id.as_str());
    assert_eq!(context["health"]["data"]["relays"], "ok");
    let clients = get(daemon.address(), "/api/v1/clients").await.json();
    let of = |id: &str| {
        let all = clients.as_array().expect("clients").iter();
        all.clone()
            .find(|client| client["clientId"] == id)
            .expect("the client")
            .clone()
    };
    let first = of(&store.client_id);
    assert_eq!(
        (&first["name"], &first["page"]),
        (&json!("ProgramDashboard"), &json!("dashboard"))
    );
    assert_eq!(first["health"]["data"], json!({"relays": "ok", "cpuLoad": 0.4}));
    assert_eq!(of(&logs.client_id)["filter"]["tag"], "flow");
    assert!(
        of(&late.client_id)["subscriptions"]
            .as_array()
            .expect("a list")
            .contains(&json!("events"))
    );

    // A dashboard that goes leaves the others alone, and is forgotten.
    let gone = logs.client_id.clone();
    drop(logs);
    eventually("the client that went is gone", async || {
        let clients = get(daemon.address(), "/api/v1/clients").await.json();
        let all = clients.as_array()?.iter();
        (!all.clone().any(|client| client["clientId"] == gone.as_str())).then_some(())
    })
    .await;
    narrated.say(&started(8));
    store.until(|store| store.history[0].block_id == "block_8").await;
    store.ws.send(&json!({"type": "ping"})).await;
    while store.ws.next().await["type"] != "pong" {}
    assert!(daemon.stop().success());
}
