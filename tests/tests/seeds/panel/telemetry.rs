//! Series and alarms, posted and streamed, over the socket and over server-sent events.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

#[tokio::test]
async fn a_panel_shows_series_and_alarms_and_finds_back_with_what_it_wanted_to_say() {
    let mut brewery = Brewery::new();
    let daemon = brewery.start().await;
    let (watts, volts) = (endpoint(&daemon, "watts").await, endpoint(&daemon, "volts").await);
    let wire = Relay::to(daemon.address()).await;
    let mut panel = Panel::open(&socket_of(wire.address())).await;
    let first_id = panel.client_id.clone();

    // Telemetry by number, as one subscription of two; then one of them is ended, and nothing of it comes any more.
    panel
        .subscribe(json!({"type": "subscribe", "channel": "telemetry", "endpointIds": [watts, volts]}))
        .await;
    panel
        .until("both series", |panel| panel.temperature.len() == 2)
        .await;
    panel
        .send(json!({"type": "unsubscribe", "channel": "telemetry", "endpointIds": [volts]}))
        .await;
    panel.settle().await;
    panel.temperature.clear();
    let so_far = panel.samples;
    panel
        .until("more samples", |panel| panel.samples >= so_far + 5)
        .await;
    assert_eq!(panel.temperature.keys().collect::<Vec<_>>(), [&watts]);
    panel.subscriptions[0] = json!({"type": "subscribe", "channel": "telemetry", "endpointIds": [watts]});

    // Alarms, raised and cleared; and none for who does not want them any more.
    let alarms = |kind: &str| json!({"type": kind, "channel": "alarms"});
    panel.subscribe(alarms("subscribe")).await;
    panel.settle().await;
    brewery.raise("HLT temperature exceeded 212°F");
    panel.until("the alarm", |panel| panel.alarms.len() == 1).await;
    let alarm = panel.alarms.remove(0);
    assert!(
        alarm["alarmId"].is_u64() && alarm["timestamp"].is_string(),
        "{alarm}"
    );
    assert_eq!(
        (&alarm["severity"], &alarm["message"]),
        (&json!("critical"), &json!("HLT temperature exceeded 212°F"))
    );
    brewery.clear();
    panel
        .until("that it is over", |panel| panel.alarms.len() == 1)
        .await;
    assert_eq!(panel.alarms.remove(0)["state"], "cleared");
    panel.send(alarms("unsubscribe")).await;
    panel.settle().await;
    brewery.raise("nobody hears this");
    brewery.clear();
    eventually("both are said", async || {
        (daemon.member("/tank/said").await? == 4).then_some(())
    })
    .await;
    panel.settle().await;
    assert_eq!(panel.alarms, [Value::Null; 0]);
    panel.send(alarms("subscribe")).await;

    // The connection breaks. What the page wants to say meanwhile waits; it is back within its own 3 s, under a new name.
    wire.cut();
    while panel.on_message().await {}
    panel.send(json!({"type": "ping", "id": "queued"})).await;
    assert_eq!(panel.queue.len(), 1);
    panel.come_back().await;
    assert_ne!(panel.client_id, first_id);
    panel
        .until("the answer to what waited", |panel| {
            panel.answers.iter().any(|answer| answer["id"] == "queued")
        })
        .await;
    let so_far = panel.samples;
    panel
        .until("more samples", |panel| panel.samples > so_far + 3)
        .await;
    assert_eq!(panel.temperature.keys().collect::<Vec<_>>(), [&watts]);
    brewery.raise("again");
    panel.until("the alarm", |panel| panel.alarms.len() == 1).await;
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn what_is_posted_reaches_the_panel_over_the_socket_and_over_server_sent_events() {
    let mut brewery = Brewery::new();
    let daemon = brewery.start().await;
    let posted = |value: f64| json!({"endpoint": "hlt.temperature", "unit": "°F", "value": value});
    let taken = post(&daemon, "/api/v1/telemetry", None, &posted(180.5))
        .await
        .json();
    let id = taken["series"][0]["endpointId"].as_u64().expect("a number");

    let mut panel = Panel::open(&socket_of(daemon.address())).await;
    panel
        .subscribe(json!({"type": "subscribe", "channel": "telemetry", "endpointIds": [id]}))
        .await;
    panel
        .until("what was posted", |panel| {
            panel.temperature.get(&id) == Some(&180.5)
        })
        .await;

    // The alternative for those who have no socket: one direction, over HTTP, and they come back by themselves.
    let mut listener = Listener::default();
    let channels = format!("alarms,commands,telemetry:{id}");
    listener.open(&daemon, &channels).await;
    listener.until("telemetry", |data| data["value"] == 180.5).await;
    post(&daemon, "/api/v1/telemetry", None, &posted(212.5)).await;
    panel
        .until("what was posted", |panel| {
            panel.temperature.get(&id) == Some(&212.5)
        })
        .await;
    let sample = listener.until("telemetry", |data| data["value"] == 212.5).await;
    assert_eq!(sample["endpointId"], id, "{sample}");
    brewery.raise("HLT temperature exceeded 212°F");
    let alarm = listener.until("alarm", |data| data["state"] == "raised").await;
    assert_eq!(alarm["message"], "HLT temperature exceeded 212°F");
    let on = press(&daemon, "on").await;
    assert_eq!(brewery.board_hears("on"), on);
    brewery.board_says(&format!("done {on} true"));
    let done = listener
        .until("command_status", |data| data["status"] == "succeeded")
        .await;
    assert_eq!(
        (&done["commandId"], &done["actualValue"]),
        (&json!(on), &json!(true))
    );

    // Cut off, it comes back with the last id that it was given, and its series begin again.
    assert!(listener.last_id.is_some());
    listener.open(&daemon, &channels).await;
    listener.until("telemetry", |data| data["value"] == 212.5).await;
    assert!(daemon.stop().success());
}

/// `EventSource`.
#[derive(Default)]
struct Listener {
    stream: Option<TcpStream>,
    heard: Vec<u8>,
    last_id: Option<String>,
}

impl Listener {
    async fn open(&mut self, daemon: &Daemon, channels: &str) {
        let mut stream = TcpStream::connect(daemon.address()).await.expect("a connection");
        let again = self.last_id.as_ref();
        let again = again.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        // HTTP/1.0, so that the body comes without the lengths of its pieces.
        let ask = format!(
            "GET /api/v1/events?channels={channels} HTTP/1.0\r\nHost: {}\r\nAccept: text/event-stream\r\n{again}\r\n",
            daemon.address()
        );
        stream
            .write_all(ask.as_bytes())
            .await
            .expect("the request is sent");
        self.heard.clear();
        self.stream = Some(stream);
        let head = self.block("\r\n\r\n").await;
        assert!(
            head.contains(" 200 ") && head.contains("text/event-stream"),
            "{head}"
        );
    }

    /// What comes up to an end of it.
    async fn block(&mut self, end: &str) -> String {
        loop {
            let at = self
                .heard
                .windows(end.len())
                .position(|window| window == end.as_bytes());
            if let Some(at) = at {
                let block = self.heard.drain(..at + end.len()).collect();
                return String::from_utf8(block).expect("UTF-8");
            }
            let stream = self.stream.as_mut().expect("a connection");
            let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut self.heard)).await;
            let count = read.expect("an event in time").expect("the answer goes on");
            assert!(count > 0, "the answer ended");
        }
    }

    /// `addEventListener`: waits for an event of this name that is as it should be.
    async fn until(&mut self, name: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let block = self.block("\n\n").await;
            let field = |name: &str| {
                let of_name = |line: &str| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned);
                block.lines().find_map(of_name)
            };
            if let Some(id) = field("id") {
                self.last_id = Some(id);
            }
            if field("event").is_none_or(|event| event != name) {
                continue;
            }
            let data: Value = serde_json::from_str(&field("data").expect("data")).expect("JSON");
            assert_eq!(data["type"], name);
            if is_it(&data) {
                return data;
            }
        }
    }
}
