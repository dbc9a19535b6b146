//! A client written from the protocol alone.

use std::sync::Arc;
use std::time::Duration;

use e2e::{Frame, client_frame, take_frame};
use serde_json::{Value, json};
use test_support::BrowserInflater;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::ledger::{Part, Shared};
use super::log_place::LogPlace;
use super::mirror::Mirror;

/// A socket of bytes that keeps a mirror.
pub struct Follower {
    name: String,
    ledger: Shared,
    pub stream: Option<TcpStream>,
    inbox: Vec<u8>,
    boot_id: String,
    /// Kept over a break, to go on from.
    pub mirror: Option<Mirror>,
    pub log: LogPlace,
    /// Reads compressed messages; there while they were agreed on.
    inflater: Option<BrowserInflater>,
    pub deflates: bool,
    /// The part of the log that it asks for when it has connected.
    pub wants: Option<Part>,
    /// It was told that it fell behind on the state, and no snapshot has come yet.
    is_owed_snapshot: bool,
    is_witness: bool,
}

/// What a follower waits for.
pub enum Heard {
    Message,
    Ended(String),
}

impl Follower {
    pub fn new(name: String, ledger: &Shared, is_witness: bool) -> Self {
        Self {
            name,
            ledger: Arc::clone(ledger),
            stream: None,
            inbox: Vec::new(),
            boot_id: String::new(),
            mirror: None,
            log: LogPlace::default(),
            inflater: None,
            deflates: false,
            wants: None,
            is_owed_snapshot: false,
            is_witness,
        }
    }

    /// Connects; with a mirror from before it asks to go on from there.
    pub async fn connect(&mut self, address: &str, receive_buffer_bytes: Option<u32>) {
        self.inbox.clear();
        self.inflater = None;
        self.is_owed_snapshot = false;
        // Filters and questions are of one connection.
        self.log.part = None;
        self.log.is_filtered = false;
        self.log.asked = None;
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let mut stream = socket
            .connect(address.parse().unwrap())
            .await
            .expect("a connection");
        let query = match &self.mirror {
            Some(mirror) => format!(
                "?resume={}.{}.{}",
                self.boot_id,
                mirror.version,
                self.log.covered.unwrap_or(0)
            ),
            None => String::new(),
        };
        let offer = if self.deflates {
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        } else {
            ""
        };
        let handshake = format!(
            "GET /ws{query} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Protocol: autobench.v1\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        );
        stream
            .write_all(handshake.as_bytes())
            .await
            .expect("the handshake is sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("an answer"));
        }
        assert!(
            head.starts_with(b"HTTP/1.1 101 "),
            "{}: {}",
            self.name,
            String::from_utf8_lossy(&head)
        );
        if self.deflates {
            let head = String::from_utf8_lossy(&head).to_lowercase();
            assert!(
                head.contains("sec-websocket-extensions: permessage-deflate"),
                "{}: {head}",
                self.name
            );
            self.inflater = Some(BrowserInflater::default());
        }
        self.stream = Some(stream);
        if let Some(part) = self.wants {
            self.log.part = Some(part);
            self.say(&json!({"type": "subscribe_logs", "id": "part", "filters": part.filters()}))
                .await;
        }
    }

    /// Gone without a word; the mirror stays.
    pub fn vanish(&mut self) {
        self.stream = None;
    }

    pub async fn say(&mut self, message: &Value) {
        let text = message.to_string();
        let frame = client_frame(0x81, text.as_bytes());
        self.stream
            .as_mut()
            .expect("a socket")
            .write_all(&frame)
            .await
            .expect("it is sent");
    }

    /// Reads for a time.
    pub async fn read_for(&mut self, duration: Duration) {
        let end = Instant::now() + duration;
        loop {
            match tokio::time::timeout_at(end, self.hear()).await {
                Ok(Heard::Message) => {}
                Ok(Heard::Ended(how)) => {
                    panic!("{} was closed and nothing was wrong with it: {how}", self.name)
                }
                Err(_) => return,
            }
        }
    }

    /// Takes the next frame. Safe to drop: what was read stays.
    pub async fn hear(&mut self) -> Heard {
        loop {
            if let Some(Frame { first, payload }) = take_frame(&mut self.inbox) {
                match first {
                    0x81 | 0xC1 => {
                        let text = if first == 0xC1 {
                            let inflater = self.inflater.as_mut().expect("compressed only if agreed on");
                            self.ledger.lock().unwrap().count("compressed messages");
                            inflater.inflate(payload)
                        } else {
                            payload
                        };
                        let message: Value = serde_json::from_slice(&text).expect("JSON");
                        if matches!(message["type"].as_str(), Some("state.snapshot" | "state.patch")) {
                            self.ledger.lock().unwrap().came(&self.name);
                        }
                        self.take(&message);
                        return Heard::Message;
                    }
                    0x89 => {
                        let pong = client_frame(0x8A, &payload);
                        self.stream
                            .as_mut()
                            .expect("a socket")
                            .write_all(&pong)
                            .await
                            .expect("it is sent");
                    }
                    0x88 => {
                        let code = payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                        let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                        return Heard::Ended(format!("{code} {reason}"));
                    }
                    first => panic!("a frame that begins with {first:#x}"),
                }
                continue;
            }
            self.inbox.reserve(16 << 10);
            match self
                .stream
                .as_mut()
                .expect("a socket")
                .read_buf(&mut self.inbox)
                .await
            {
                Ok(0) => return Heard::Ended("without a word".to_owned()),
                Err(error) => return Heard::Ended(error.to_string()),
                Ok(_) => {}
            }
        }
    }

    fn take(&mut self, message: &Value) {
        match message["type"].as_str().expect("a type") {
            "welcome" => {
                self.boot_id = message["bootId"].as_str().expect("a boot id").to_owned();
                let mut ledger = self.ledger.lock().unwrap();
                if message["resumed"] == true {
                    assert!(self.mirror.is_some(), "{} did not ask to resume", self.name);
                    ledger.count("resumed");
                } else {
                    self.log.covered = None;
                    if self.mirror.take().is_some() {
                        ledger.count("not resumed");
                    }
                }
            }
            "state.snapshot" => {
                let version = message["stateVersion"].as_u64().expect("a version");
                let mirror = self.mirror.get_or_insert_default();
                mirror.replace(version, message["data"].clone());
                let mut ledger = self.ledger.lock().unwrap();
                ledger.count("snapshots");
                if std::mem::take(&mut self.is_owed_snapshot) {
                    ledger.count("lag snapshots");
                }
                drop(ledger);
                self.reached();
            }
            "state.patch" => {
                let number = |name: &str| message[name].as_u64().expect("a version");
                let (from, to) = (number("fromVersion"), number("toVersion"));
                assert!(
                    !self.is_owed_snapshot,
                    "{} fell behind and got a patch before its snapshot",
                    self.name
                );
                let Some(mirror) = &mut self.mirror else {
                    panic!("{} got a patch before a snapshot", self.name);
                };
                mirror.apply(from, to, &message["patch"]);
                self.reached();
            }
            "logs.history" | "logs.append" => {
                let mut ledger = self.ledger.lock().unwrap();
                assert!(
                    !self.is_witness || message.get("missed").is_none(),
                    "the witness missed a part of the log"
                );
                self.log.take(message, &mut ledger, &self.name);
            }
            "ack" if message["id"] == "part" => self.log.is_filtered = true,
            "error" => {
                assert_eq!(message["code"], "missed", "{}: {message}", self.name);
                assert!(!self.is_witness, "the witness fell behind: {message}");
                let mut ledger = self.ledger.lock().unwrap();
                ledger.count("told missed");
                if message["message"]
                    .as_str()
                    .expect("a text")
                    .contains(" on state: ")
                {
                    self.is_owed_snapshot = true;
                }
            }
            "telemetry" if message.get("missed").is_some() => {
                self.ledger.lock().unwrap().count("told of missed samples");
            }
            _ => {}
        }
    }

    fn reached(&mut self) {
        let mirror = self.mirror.as_ref().expect("a mirror");
        let hash = mirror.hash();
        let mut ledger = self.ledger.lock().unwrap();
        ledger.count("versions reached");
        if self.is_witness {
            ledger.known.insert(mirror.version, hash);
        } else {
            ledger.compare(mirror.version, hash, self.name.clone());
        }
    }
}
