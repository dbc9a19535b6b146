//! A daemon without drivers, and clients for it: one built on tungstenite, which shares no code with the server, and one of bare bytes.

use std::net::SocketAddr;
use std::time::Duration;

use autobench::config::LogConfig;
use autobench::http::{HttpConfig, Server};
use autobench::hub::{EndpointInfo, Hub, HubConfig};
use autobench::logs::{LogHandle, LogRecord};
use autobench::state::{StateConfig, StateHandle};
use autobench_core::driver::{LogLevel, Sample};
use autobench_core::state::{Pointer, Store};
use autobench_core::wire::{AppState, SeriesKind};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// Nothing here takes this long. A test that waits waits for something.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub const BOOT_ID: &str = "00112233aabbccdd";

pub struct Settings {
    pub hub: HubConfig,
    pub http: HttpConfig,
    pub broadcast_interval: Duration,
    pub state_ring_bytes: usize,
    pub log_capacity: usize,
    pub log_heartbeat: bool,
    /// A log that others write to as well.
    pub logs: Option<LogHandle>,
}

impl Default for Settings {
    fn default() -> Self {
        let mut hub = HubConfig::default();
        // Tests say much in a short time; the rate is tested by itself.
        hub.limits.messages_per_s = 10_000;
        hub.limits.message_burst = 10_000;
        // Most clients here do not say goodbye, and nobody wants to wait for them.
        hub.close_timeout = Duration::from_millis(200);
        Self {
            hub,
            http: HttpConfig::new("127.0.0.1:0".parse().unwrap()),
            broadcast_interval: Duration::from_millis(1),
            state_ring_bytes: 8 << 20,
            log_capacity: 500,
            log_heartbeat: false,
            logs: None,
        }
    }
}

pub struct Bench {
    pub state: StateHandle,
    pub logs: LogHandle,
    pub hub: Hub,
    pub address: SocketAddr,
    server: Server,
}

impl Bench {
    pub async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    pub async fn with(settings: Settings) -> Self {
        let mut document = AppState::default();
        document.meta.boot_id = BOOT_ID.to_owned();
        let mut store = Store::new(&document).unwrap();
        store
            .replace_slice(
                "powerMeter",
                json!({"phase": "streaming", "lastSample": {"watts": 0}, "history": []}),
            )
            .unwrap();
        store.take_flush();
        let state = StateHandle::start(
            store,
            StateConfig {
                broadcast_interval: settings.broadcast_interval,
                ring_bytes: settings.state_ring_bytes,
                counters_interval: Duration::from_millis(50),
                ..StateConfig::new(BOOT_ID)
            },
        );
        let logs = settings.logs.unwrap_or_else(|| {
            LogHandle::new(LogConfig {
                heartbeat: settings.log_heartbeat,
                ..LogConfig::silent(settings.log_capacity)
            })
        });
        let hub = Hub::start(
            HubConfig {
                broadcast_interval: settings.broadcast_interval,
                ..settings.hub
            },
            state.clone(),
            logs.clone(),
        );
        let server = Server::start(settings.http, state.clone(), logs.clone(), hub.clone())
            .await
            .unwrap();
        Self {
            address: server.local_addr(),
            state,
            logs,
            hub,
            server,
        }
    }

    pub async fn close(self) {
        self.server.close().await;
        self.state.close().await;
    }

    pub fn set_watts(&self, watts: u64) -> u64 {
        let at = Pointer::parse("/powerMeter/lastSample/watts").unwrap();
        self.state
            .update(|store| store.set(&at, json!(watts)))
            .unwrap()
            .unwrap()
    }

    pub fn log(&self, message: &str) -> u64 {
        self.logs
            .append(LogRecord::new("app", LogLevel::Info, message))
            .unwrap()
    }

    pub fn document(&self) -> Value {
        serde_json::from_slice(&self.state.snapshot().data).unwrap()
    }

    pub fn add_series(&self, id: u32) {
        self.hub.register_endpoint(EndpointInfo {
            id,
            name: format!("meter.series{id}"),
            unit: "W".to_owned(),
            kind: SeriesKind::Measurement,
        });
    }

    /// Samples whose value is their number.
    pub fn push_samples(&self, id: u32, numbers: std::ops::RangeInclusive<u64>) {
        let samples: Vec<_> = numbers
            .map(|n| Sample {
                timestamp_ms: 1e12 + n as f64,
                value: n as f64,
            })
            .collect();
        self.hub.push_samples(id, &samples);
    }

    pub async fn connect(&self) -> Client {
        self.connect_with("").await
    }

    /// A client whose upgrade carries more header lines.
    pub async fn connect_with(&self, more: &str) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let url = format!("ws://localhost:{}/ws", self.address.port());
        Self::handshake(&url, stream, more).await
    }

    /// A client that was away and comes back with what it has.
    pub async fn come_back(&self, resume: &str) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let url = format!("ws://localhost:{}/ws?resume={resume}", self.address.port());
        Self::handshake(&url, stream, "").await
    }

    async fn handshake(url: &str, stream: TcpStream, more: &str) -> Client {
        let mut request = url.into_client_request().unwrap();
        let protocol = HeaderValue::from_static("autobench.v1");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        for (name, value) in more.lines().filter_map(|line| line.split_once(": ")) {
            let name: tokio_tungstenite::tungstenite::http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        Client { socket }
    }

    /// A client with the first three messages behind it; gives the snapshot's document.
    pub async fn join(&self) -> (Client, Value) {
        let mut client = self.connect().await;
        client.expect("welcome").await;
        let snapshot = client.expect("state.snapshot").await;
        client.expect("logs.history").await;
        (client, snapshot["data"].clone())
    }

    /// A socket after the handshake, bytes and all; `receive_buffer_bytes` is how little its system takes for it.
    pub async fn raw_socket(&self, receive_buffer_bytes: Option<u32>) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let mut stream = socket.connect(self.address).await.unwrap();
        stream.write_all(HANDSHAKE.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(stream.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        stream
    }

    /// One request over a connection of its own.
    pub async fn request(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        within(stream.read_to_end(&mut bytes)).await.unwrap();
        Answer::read(&bytes)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
        .await
    }
}

pub const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Protocol: autobench.v1\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub struct Client {
    socket: WebSocketStream<TcpStream>,
}

/// What a client hears.
#[derive(Debug)]
pub enum Heard {
    Message(Value),
    Ping,
    Closed(Option<u16>),
}

impl Client {
    pub fn over(socket: WebSocketStream<TcpStream>) -> Self {
        Self { socket }
    }

    pub async fn hear(&mut self) -> Heard {
        loop {
            return match within(self.socket.next()).await {
                Some(Ok(Message::Text(text))) => Heard::Message(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_))) => Heard::Ping,
                Some(Ok(Message::Close(frame))) => {
                    Heard::Closed(frame.map(|CloseFrame { code, .. }| code.into()))
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => Heard::Closed(None),
            };
        }
    }

    pub async fn next(&mut self) -> Value {
        loop {
            match self.hear().await {
                Heard::Message(message) => return message,
                Heard::Ping => {}
                Heard::Closed(code) => panic!("closed with {code:?}"),
            }
        }
    }

    /// The next message, which has to be of this type.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let message = self.next().await;
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    /// The next message of this type, whatever comes before it.
    pub async fn wait_for(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    pub async fn say(&mut self, message: Value) {
        self.socket
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    pub async fn say_raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    pub async fn close_code(&mut self) -> Option<u16> {
        loop {
            if let Heard::Closed(code) = self.hear().await {
                return code;
            }
        }
    }
}

/// Applies a `state.patch` with a library that the server has no part in.
pub fn apply(mirror: &mut Value, patch: &Value) {
    assert_eq!(
        patch["fromVersion"], mirror["version"],
        "patches follow one another"
    );
    let operations: json_patch::Patch = serde_json::from_value(patch["patch"].clone()).unwrap();
    json_patch::patch(mirror, &operations).unwrap();
    assert_eq!(patch["toVersion"], mirror["version"]);
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    pub fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        Self {
            status: head
                .split(' ')
                .nth(1)
                .and_then(|s| s.parse().ok())
                .unwrap_or_default(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that this is a problem with this status and code.
    pub fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let body = self.json();
        assert_eq!(
            (self.status, &body["code"], &body["status"]),
            (status, &json!(code), &json!(status))
        );
        assert!(!body["detail"].as_str().unwrap().is_empty());
    }
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("it happens within the deadline")
}

/// Waits for a condition that nothing announces.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE, "{what}");
        // How often it looks; what it waits for is the condition.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
