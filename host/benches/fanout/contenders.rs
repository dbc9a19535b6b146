//! The ways from a change to many sockets.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use autobench::hub::Hub;
use autobench::load::{Swarm, prepare};
use autobench_core::deflate::{Compression, compress_apart};
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

use crate::daemon::{Clients, Daemon, pairs, two_threads};

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

pub struct Bare {
    name: &'static str,
    sockets: Vec<TcpStream>,
    swarm: Swarm,
    bytes: Vec<u8>,
    frames: usize,
}

impl Bare {
    pub const PLAIN: &str = "bare";
    pub const CODED: &str = "bare, coded";

    pub fn plain(clients: usize, frames: usize) -> Self {
        let bytes = patches(frames)
            .iter()
            .flat_map(|patch| frame::text(patch.as_bytes()))
            .collect();
        Self::over(Self::PLAIN, clients, frames, bytes)
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
        Self::over(Self::CODED, clients, frames, bytes)
    }

    fn over(name: &'static str, clients: usize, frames: usize, bytes: Vec<u8>) -> Self {
        let (sockets, far) = pairs(clients);
        Self {
            name,
            sockets,
            swarm: Swarm::over(far, false).unwrap(),
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
        self.name == Self::CODED
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
    daemon: Daemon,
    /// What was written before the first flush.
    begin: Written,
    is_coded: bool,
    swarm: Swarm,
    update: Box<dyn Fn()>,
}

impl Ours {
    pub const PLAIN: &str = "ours";
    pub const CODED: &str = "ours, deflate";

    pub fn new(clients: usize, is_coded: bool) -> Self {
        let daemon = Daemon::start(Map::new());
        let update = prepare(&daemon.state).unwrap();
        let swarm = daemon.swarm(&Clients {
            count: clients,
            looking: 0,
            deflate: is_coded,
        });
        Self {
            begin: written(&daemon.hub),
            daemon,
            is_coded,
            swarm,
            update: Box::new(update),
        }
    }
}

impl Contender for Ours {
    fn name(&self) -> &'static str {
        if self.is_coded { Self::CODED } else { Self::PLAIN }
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
        let now = written(&self.daemon.hub);
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
            swarm: Swarm::over(far, false).unwrap(),
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
