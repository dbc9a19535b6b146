//! The serving half of the daemon, with its test endpoints and without.

use std::net::SocketAddr;

use autobench::config::LogConfig;
use autobench::http::{self, HttpConfig};
use autobench::hub::{Hub, HubConfig};
use autobench::logs::LogHandle;
use autobench::state::{StateConfig, StateHandle};
use autobench_core::driver::LogLevel;
use autobench_core::state::Store;
use autobench_core::wire::AppState;
use libtest_mimic::Trial;
use tokio::runtime::Runtime;

pub struct Server {
    /// Where it serves with its test endpoints.
    pub address: SocketAddr,
    /// Where another one serves without.
    pub plain_address: SocketAddr,
    runtime: Runtime,
    servers: Vec<http::Server>,
}

impl Server {
    pub fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let start = |has_test_endpoints| runtime.block_on(start(has_test_endpoints));
        let servers = vec![start(true), start(false)];
        Self {
            address: servers[0].local_addr(),
            plain_address: servers[1].local_addr(),
            runtime,
            servers,
        }
    }

    pub fn stop(self) {
        for server in self.servers {
            self.runtime.block_on(server.close());
        }
    }

    /// A case as a test.
    pub fn trial(&self, name: impl Into<String>, case: impl FnOnce(SocketAddr) + Send + 'static) -> Trial {
        let address = self.address;
        Trial::test(name, move || {
            case(address);
            Ok(())
        })
    }
}

async fn start(has_test_endpoints: bool) -> http::Server {
    let state = StateHandle::start(
        Store::new(&AppState::default()).unwrap(),
        StateConfig::new("00112233aabbccdd"),
    );
    let logs = LogHandle::new(LogConfig {
        min_level: LogLevel::Info,
        ..LogConfig::silent(100)
    });
    let mut hub = HubConfig::default();
    hub.limits.clients = 1000;
    let hub = Hub::start(hub, state.clone(), logs.clone());
    let config = HttpConfig {
        test_endpoints: has_test_endpoints,
        ..HttpConfig::new("127.0.0.1:0".parse().unwrap())
    };
    http::Server::start(config, state, logs, hub).await.unwrap()
}

/// Names may be made of parts; all of a group begin alike.
pub fn name(group: &str, what: &str, numbers: &str) -> String {
    match numbers {
        "" => format!("{group}::{what}"),
        numbers => format!("{group}::{what} [{numbers}]"),
    }
}
