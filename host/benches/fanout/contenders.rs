//! The ways from a change to many sockets.

use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use autobench::config::{LogConfig, TerminalConfig};
use autobench::http::{HttpConfig, Server};
use autobench::hub::{Hub, HubConfig};
use autobench::load::{Look, Swarm, SwarmOptions, prepare};
use autobench::logs::LogHandle;
use autobench::state::{StateConfig, StateHandle};
use autobench_core::deflate::{Compression, compress_apart};
use autobench_core::driver::LogLevel;
use autobench_core::frame;
use autobench_core::state::{Pointer, Store};
use futures_util::SinkExt;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Map, json};
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// One way to bring frames to clients.
pub trait Contender {
    fn name(&self) -> &'static str;
    /// Its clients.
    fn swarm(&self) -> &Swarm;
    /// Sends so many frames to everybody.
    fn flush(&mut self, frames: usize);
    /// Whether what it sends is compressed; it is compared with what is bare and the same.
    fn is_coded(&self) -> bool {
        false
    }
    /// How many frames went out in one write, and of how many bytes each was, where that is known.
    fn shape(&self) -> Option<Shape>;
}

/// What went to the sockets.
pub struct Shape {
    pub frames_per_write: f64,
    pub bytes_per_frame: f64,
}

/// Patches as the daemon makes them: some 180 bytes.
fn patches(count: usize) -> Vec<String> {
    let mut members = Map::new();
    members.insert("version".to_owned(), json!(1_000_000));
    members.insert("load".to_owned(), json!({"lastSample": {"sentNs": 0}}));
    let mut store = Store::from_members(members).unwrap();
    let at = Pointer::of(["load", "lastSample", "sentNs"]);
    let patch = |n: usize| {
        store.set(&at, json!(12_345_678_901_234_u64 + n as u64)).unwrap();
        String::from_utf8(store.take_flush().unwrap().frame.to_vec()).unwrap()
    };
    (0..count).map(patch).collect()
}

/// Connected pairs: ours and the clients'.
fn pairs(count: usize) -> (Vec<TcpStream>, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let pair = |_| {
        let far = TcpStream::connect(address).unwrap();
        let (near, _) = listener.accept().unwrap();
        near.set_nodelay(true).unwrap();
        near.set_nonblocking(true).unwrap();
        (near, far)
    };
    (0..count).map(pair).unzip()
}

pub struct Bare {
    name: &'static str,
    sockets: Vec<TcpStream>,
    swarm: Swarm,
    bytes: Vec<u8>,
    frames: usize,
}

impl Bare {
    pub fn plain(clients: usize, frames: usize) -> Self {
        let bytes = patches(frames)
            .iter()
            .flat_map(|patch| frame::text(patch.as_bytes()))
            .collect();
        Self::over("bare", clients, frames, bytes)
    }

    /// The same patches, compressed beforehand in the window of those before them.
    pub fn coded(clients: usize, frames: usize) -> Self {
        let plain: Vec<_> = patches(64)
            .iter()
            .map(|patch| frame::text(patch.as_bytes()))
            .collect();
        let coded = compress_apart(Compression::Shared, &plain).unwrap();
        let bytes = frame::split(&coded)
            .skip(plain.len() - frames)
            .flat_map(|frame| frame.whole.to_vec())
            .collect();
        Self::over("bare, coded", clients, frames, bytes)
    }

    fn over(name: &'static str, clients: usize, frames: usize, bytes: Vec<u8>) -> Self {
        let (sockets, far) = pairs(clients);
        Self {
            name,
            sockets,
            swarm: Swarm::over(far).unwrap(),
            bytes,
            frames,
        }
    }
}

impl Contender for Bare {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_coded(&self) -> bool {
        self.name != "bare"
    }

    fn swarm(&self) -> &Swarm {
        &self.swarm
    }

    fn flush(&mut self, frames: usize) {
        assert_eq!(frames, self.frames);
        for socket in &mut self.sockets {
            let mut rest = &self.bytes[..];
            while !rest.is_empty() {
                match socket.write(rest) {
                    Ok(count) => rest = &rest[count..],
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        poll(&mut [PollFd::new(&*socket, PollFlags::OUT)], None).unwrap();
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    fn shape(&self) -> Option<Shape> {
        Some(Shape {
            frames_per_write: self.frames as f64,
            bytes_per_frame: self.bytes.len() as f64 / self.frames as f64,
        })
    }
}

/// The daemon without drivers.
pub struct Ours {
    runtime: Runtime,
    server: Option<Server>,
    hub: Hub,
    /// What was written before the first flush.
    begin: Written,
    is_coded: bool,
    swarm: Swarm,
    update: Box<dyn Fn()>,
}

impl Ours {
    pub fn new(clients: usize, is_coded: bool) -> Self {
        let runtime = two_threads();
        let (server, state, hub) = runtime.block_on(async {
            let mut members = Map::new();
            members.insert("version".to_owned(), json!(1_000_000));
            let state = StateHandle::start(
                Store::from_members(members).unwrap(),
                StateConfig {
                    broadcast_interval: Duration::ZERO,
                    ..StateConfig::new("00112233aabbccdd")
                },
            );
            let logs = silent_log();
            let mut config = HubConfig {
                broadcast_interval: Duration::ZERO,
                ..HubConfig::default()
            };
            config.limits.clients = 100_000;
            let hub = Hub::start(config, state.clone(), logs.clone());
            let http = HttpConfig::new("127.0.0.1:0".parse().unwrap());
            let server = Server::start(http, state.clone(), logs, hub.clone())
                .await
                .unwrap();
            (server, state, hub)
        });
        let update = prepare(&state).unwrap();
        let swarm = Swarm::connect(&SwarmOptions {
            address: server.local_addr(),
            authority: "localhost".to_owned(),
            path: "/ws".to_owned(),
            clients,
            samplers: 0,
            look: Look::Latency,
            deflate: is_coded,
            headers: Vec::new(),
        })
        .unwrap();
        // Welcome, snapshot, history.
        assert!(swarm.wait_for(3 * clients as u64, Duration::from_secs(20)));
        Self {
            runtime,
            server: Some(server),
            begin: written(&hub),
            is_coded,
            hub,
            swarm,
            update: Box::new(update),
        }
    }
}

impl Contender for Ours {
    fn name(&self) -> &'static str {
        if self.is_coded { "ours, deflate" } else { "ours" }
    }

    fn is_coded(&self) -> bool {
        self.is_coded
    }

    fn swarm(&self) -> &Swarm {
        &self.swarm
    }

    fn flush(&mut self, frames: usize) {
        for _ in 0..frames {
            (self.update)();
        }
    }

    fn shape(&self) -> Option<Shape> {
        let now = written(&self.hub);
        let segments = (now.segments - self.begin.segments) as f64;
        Some(Shape {
            frames_per_write: segments / (now.writes - self.begin.writes) as f64,
            bytes_per_frame: (now.bytes - self.begin.bytes) as f64 / segments,
        })
    }
}

/// Segments that went out, the writes that took them, and their bytes.
struct Written {
    segments: u64,
    writes: u64,
    bytes: u64,
}

fn written(hub: &Hub) -> Written {
    let metrics = hub.metrics();
    Written {
        segments: metrics.segments.get(),
        writes: metrics.shared_writes.get() + metrics.own_writes.get(),
        bytes: metrics.written_bytes.get(),
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.close());
        }
    }
}

fn silent_log() -> LogHandle {
    LogHandle::new(LogConfig {
        capacity: 500,
        allowed_channels: Vec::new(),
        min_level: LogLevel::Error,
        redact: None,
        heartbeat: false,
        terminal: TerminalConfig {
            level: LogLevel::Fatal,
            is_pretty: None,
            no_color: true,
        },
    })
}

fn two_threads() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// A task per client.
pub struct Tungstenite {
    _runtime: Runtime,
    swarm: Swarm,
    sender: broadcast::Sender<Message>,
    messages: Vec<Message>,
}

impl Tungstenite {
    pub fn new(clients: usize) -> Self {
        let runtime = two_threads();
        let (near, far) = pairs(clients);
        let sender = broadcast::Sender::new(256);
        let inside = runtime.enter();
        for socket in near {
            let stream = tokio::net::TcpStream::from_std(socket).unwrap();
            let mut messages = sender.subscribe();
            runtime.spawn(async move {
                let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
                while let Ok(message) = messages.recv().await {
                    socket.send(message).await.unwrap();
                }
            });
        }
        drop(inside);
        Self {
            _runtime: runtime,
            swarm: Swarm::over(far).unwrap(),
            sender,
            messages: patches(16).into_iter().map(Message::text).collect(),
        }
    }
}

impl Contender for Tungstenite {
    fn name(&self) -> &'static str {
        "tokio-tungstenite"
    }

    fn swarm(&self) -> &Swarm {
        &self.swarm
    }

    fn flush(&mut self, frames: usize) {
        for message in &self.messages[..frames] {
            self.sender.send(message.clone()).unwrap();
        }
    }

    fn shape(&self) -> Option<Shape> {
        None
    }
}
