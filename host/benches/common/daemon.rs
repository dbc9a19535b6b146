//! The daemon's state, hub and server in this process, and sockets to it.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use autobench::config::LogConfig;
use autobench::http::{HttpConfig, Server};
use autobench::hub::{Hub, HubConfig};
use autobench::load::{Look, Swarm, SwarmOptions};
use autobench::logs::LogHandle;
use autobench::state::{StateConfig, StateHandle};
use autobench_core::driver::LogLevel;
use autobench_core::state::Store;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

/// A daemon without drivers, which sends each change by itself.
pub struct Daemon {
    pub state: StateHandle,
    pub hub: Hub,
    server: Option<Server>,
    runtime: Runtime,
}

/// Who connects to it.
pub struct Clients {
    pub count: usize,
    /// How many of them look for the moments of changes.
    pub looking: usize,
    pub deflate: bool,
}

impl Daemon {
    /// With these members in its state.
    pub fn start(mut members: Map<String, Value>) -> Self {
        let runtime = two_threads();
        members.insert("version".to_owned(), json!(1_000_000));
        let store = Store::from_members(members).unwrap();
        let (server, state, hub) = runtime.block_on(async {
            let config = StateConfig {
                broadcast_interval: Duration::ZERO,
                ..StateConfig::new("00112233aabbccdd")
            };
            let state = StateHandle::start(store, config);
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
        Self {
            state,
            hub,
            server: Some(server),
            runtime,
        }
    }

    /// Connects clients, which have their welcome, snapshot and history then.
    pub fn swarm(&self, clients: &Clients) -> Swarm {
        let swarm = Swarm::connect(&SwarmOptions {
            address: self.server.as_ref().unwrap().local_addr(),
            authority: "localhost".to_owned(),
            path: "/ws".to_owned(),
            clients: clients.count,
            samplers: clients.looking,
            filtering: 0,
            look: Look::Latency,
            deflate: clients.deflate,
            headers: Vec::new(),
        })
        .unwrap();
        assert!(swarm.wait_for(3 * clients.count as u64, Duration::from_secs(20)));
        swarm
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.close());
        }
    }
}

fn silent_log() -> LogHandle {
    LogHandle::new(LogConfig {
        min_level: LogLevel::Error,
        ..LogConfig::silent(500)
    })
}

pub fn two_threads() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Connected pairs: ours and the clients'.
pub fn pairs(count: usize) -> (Vec<TcpStream>, Vec<TcpStream>) {
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
