//! A mirror written only from the protocol: an independent RFC 6902 library, and bookkeeping that trusts nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::PATIENCE;

/// A client's copy of the state.
#[derive(Debug, Clone, Default)]
pub struct Mirror {
    /// Its version.
    pub version: u64,
    /// The document.
    pub document: Value,
    /// How many patches it took.
    pub patches: u64,
    /// How many snapshots it took.
    pub snapshots: u64,
}

impl Mirror {
    fn take(&mut self, message: &Value) {
        match message["type"].as_str() {
            Some("state.snapshot") => {
                self.version = message["stateVersion"].as_u64().expect("a version");
                self.document = message["data"].clone();
                self.snapshots += 1;
            }
            Some("state.patch") => {
                let from = message["fromVersion"].as_u64().expect("fromVersion");
                let to = message["toVersion"].as_u64().expect("toVersion");
                assert_eq!(
                    from, self.version,
                    "a patch that does not begin where the mirror is"
                );
                assert!(to > from, "a patch that leads nowhere");
                let patch: json_patch::Patch =
                    serde_json::from_value(message["patch"].clone()).expect("an RFC 6902 patch");
                json_patch::patch(&mut self.document, &patch).expect("the patch applies");
                self.version = to;
                self.patches += 1;
            }
            _ => return,
        }
        assert_eq!(
            self.document["version"].as_u64(),
            Some(self.version),
            "the document disagrees with its version"
        );
    }
}

/// A connected client.
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Its copy of the state.
    pub mirror: Mirror,
    /// Log entries by number.
    pub logs: BTreeMap<u64, Value>,
    /// Ranges of log numbers that it was told it missed.
    pub missed_logs: Vec<(u64, u64)>,
    /// Samples by endpoint, in the order in which they came.
    pub samples: BTreeMap<u64, Vec<(f64, f64)>>,
    /// The first messages' types, in order.
    pub first_types: Vec<String>,
    /// Events.
    pub events: Vec<Value>,
    /// Stages of commands.
    pub stages: Vec<Value>,
    /// Answers to what it asked: acknowledgements and errors.
    pub answers: Vec<Value>,
}

impl Client {
    /// Connects and waits for the first snapshot.
    pub async fn connect(address: &str) -> Self {
        let mut request = format!("ws://{address}/ws")
            .into_client_request()
            .expect("an address");
        let protocol = HeaderValue::from_static("autobench.v1");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let (socket, _) = tokio_tungstenite::connect_async(request)
            .await
            .expect("the socket opens");
        let mut client = Self {
            socket,
            mirror: Mirror::default(),
            logs: BTreeMap::new(),
            missed_logs: Vec::new(),
            samples: BTreeMap::new(),
            first_types: Vec::new(),
            events: Vec::new(),
            stages: Vec::new(),
            answers: Vec::new(),
        };
        client
            .until("a snapshot", |client| (client.mirror.snapshots > 0).then_some(()))
            .await;
        client
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &Value) {
        self.socket
            .send(Message::text(message.to_string()))
            .await
            .expect("the message is sent");
    }

    /// Sends a message and waits for its answer.
    pub async fn ask(&mut self, mut message: Value) -> Value {
        let id = format!("m{}", self.answers.len());
        message["id"] = id.as_str().into();
        self.send(&message).await;
        self.until("an answer", |client| {
            let mut answers = client.answers.iter();
            answers.find(|answer| answer["id"] == *id).cloned()
        })
        .await
    }

    /// Subscribes to series.
    pub async fn subscribe(&mut self, endpoints: &[u64]) {
        self.send(&json!({"type": "subscribe", "channel": "telemetry", "endpointIds": endpoints}))
            .await;
    }

    /// Takes the next message, whatever it is.
    pub async fn next(&mut self) -> Value {
        tokio::time::timeout(PATIENCE, self.receive())
            .await
            .expect("a message in time")
            .expect("the socket is open")
    }

    /// Takes messages until a look at the client gives something.
    pub async fn until<T>(&mut self, what: &str, look: impl FnMut(&Self) -> Option<T>) -> T {
        self.until_within(PATIENCE, what, look).await
    }

    /// As [`Self::until`], for what takes longer than a story usually waits.
    pub async fn until_within<T>(
        &mut self,
        patience: Duration,
        what: &str,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            match tokio::time::timeout_at(deadline, self.receive()).await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the socket was closed before {what}"),
                Err(_) => panic!(
                    "not within {patience:?}: {what}; mirror {:#}",
                    self.mirror.document
                ),
            }
        }
    }

    /// Takes what comes while something else goes on: the daemon has a reader meanwhile, however long it takes.
    pub async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = std::pin::pin!(other);
        loop {
            tokio::select! {
                outcome = &mut other => return outcome,
                received = self.receive() => assert!(received.is_some(), "the socket was closed meanwhile"),
            }
        }
    }

    /// Takes what comes within a time.
    pub async fn drain(&mut self, duration: Duration) {
        let deadline = tokio::time::Instant::now() + duration;
        while let Ok(Some(_)) = tokio::time::timeout_at(deadline, self.receive()).await {}
    }

    /// Waits until the mirror holds a value at a place.
    pub async fn until_member(&mut self, pointer: &str, expected: &Value) {
        self.until(&format!("{pointer} is {expected}"), |client| {
            (client.mirror.document.pointer(pointer) == Some(expected)).then_some(())
        })
        .await;
    }

    /// A member of the mirror.
    pub fn member(&self, pointer: &str) -> Option<&Value> {
        self.mirror.document.pointer(pointer)
    }

    /// The number of a device's series.
    pub fn endpoint(&self, device: &str, series: &str) -> u64 {
        self.member(&format!("/devices/{device}/series/{series}/endpointId"))
            .and_then(Value::as_u64)
            .unwrap_or_else(|| {
                panic!(
                    "{device} has no series {series}: {:#}",
                    self.mirror.document["devices"]
                )
            })
    }

    /// Whether a log line contains a text.
    pub fn has_logged(&self, text: &str) -> bool {
        self.logs.values().any(|entry| {
            entry["message"]
                .as_str()
                .is_some_and(|message| message.contains(text))
        })
    }

    async fn receive(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Text(text)) => {
                    let message: Value = serde_json::from_str(&text).expect("JSON");
                    self.take(&message);
                    return Some(message);
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    fn take(&mut self, message: &Value) {
        if self.first_types.len() < 8 {
            self.first_types
                .push(message["type"].as_str().unwrap_or_default().to_owned());
        }
        self.mirror.take(message);
        match message["type"].as_str() {
            Some("logs.history" | "logs.append") => {
                for entry in message["entries"].as_array().expect("entries") {
                    let seq = entry["seq"].as_u64().expect("a number");
                    self.logs.insert(seq, entry.clone());
                }
                if let Some(missed) = message.get("missed") {
                    let bound = |name: &str| missed[name].as_u64().expect("a bound");
                    self.missed_logs.push((bound("fromSeq"), bound("toSeq")));
                }
            }
            Some("telemetry") => {
                let endpoint = message["endpointId"].as_u64().expect("an endpoint");
                let samples = self.samples.entry(endpoint).or_default();
                for sample in message["samples"].as_array().expect("samples") {
                    samples.push((
                        sample[0].as_f64().expect("a time"),
                        sample[1].as_f64().expect("a value"),
                    ));
                }
            }
            Some("event") => self.events.push(message.clone()),
            Some("command_status") => self.stages.push(message.clone()),
            Some("ack" | "error") => self.answers.push(message.clone()),
            _ => {}
        }
    }
}
