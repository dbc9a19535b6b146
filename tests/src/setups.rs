//! Benches that several stories begin with.

use autobench_sim::bench as sim;
use serde_json::json;

use crate::{Bench, Client, Daemon, DeviceEntry, Sim, Terminal};

/// The plugins for the devices of a simulated PC.
const OF_PC: [&str; 3] = ["atx", "keyboard", "power-meter"];

impl Bench {
    /// A PC with its power meter, front panel and keyboard on pseudo-terminals in the bench's folder, and the plugins for them where a daemon finds them. `options`
    /// makes of it what the story wants.
    pub fn simulate_pc(&self, options: impl FnOnce(sim::Options) -> sim::Options) -> sim::Bench {
        let ports = self.folder().join("ports");
        std::fs::create_dir(&ports).unwrap();
        for plugin in OF_PC {
            self.install(plugin, &self.artifacts.plugin(plugin));
        }
        sim::Bench::start(options(sim::Options::in_folder(&ports))).expect("the simulated bench")
    }
}

/// A bench with one fixture driver, the device `probe`, on a line of the story's own, and a client that sees it attached.
pub struct Probe {
    /// Its folder and its artifacts.
    pub bench: Bench,
    /// The device's side of the line.
    pub line: Terminal,
    /// The daemon.
    pub daemon: Daemon,
    /// A client.
    pub client: Client,
}

impl Probe {
    /// Starts it with this fixture.
    pub async fn start(stem: &str) -> Self {
        let bench = Bench::new();
        let link = bench.folder().join("line");
        let line = Terminal::create(&link);
        bench.install(stem, &bench.artifacts.fixture(stem));
        bench.configure(&[DeviceEntry::new("probe", stem, &link)]);
        let daemon = bench.start();
        let mut client = daemon.client().await;
        client.until_member("/probe/attached", &json!(true)).await;
        Self {
            bench,
            line,
            daemon,
            client,
        }
    }
}

/// A bench with a simulated meter whose rows stream, and a client that follows its energy, which counts them.
pub struct Metered {
    /// Its folder and its artifacts.
    pub bench: Bench,
    /// The meter.
    pub sim: Sim,
    /// The plugin that runs.
    pub plugin: Vec<u8>,
    /// The daemon.
    pub daemon: Daemon,
    /// A client.
    pub client: Client,
    /// The series that counts the rows.
    pub energy: u64,
}

impl Metered {
    /// Starts it with so many rows per second and these faults.
    pub async fn start(speed: f64, seed: u64, faults: &str) -> Self {
        let bench = Bench::new();
        let sim = Sim::start(&bench.artifacts, bench.folder(), speed, seed, faults);
        let plugin = bench.artifacts.plugin("power-meter");
        bench.install("power-meter", &plugin);
        bench.configure(&[DeviceEntry::meter(sim.link())]);
        let daemon = bench.start();
        let mut client = daemon.client().await;
        let energy = client.endpoint("meter", "energy");
        client.subscribe(&[energy]).await;
        client
            .until_member("/powerMeter/phase", &json!("streaming"))
            .await;
        Self {
            bench,
            sim,
            plugin,
            daemon,
            client,
            energy,
        }
    }
}

/// A bench with a simulated meter whose rows stream and, beside it, a fixture driver, and a client that sees both.
pub struct Neighbours {
    /// Its folder and its artifacts.
    pub bench: Bench,
    /// The meter.
    pub sim: Sim,
    /// The other device's side of its line.
    pub line: Terminal,
    /// How the meter is configured.
    pub meter: DeviceEntry,
    /// How the other is, the device `probe`.
    pub probe: DeviceEntry,
    /// The daemon.
    pub daemon: Daemon,
    /// A client.
    pub client: Client,
}

impl Neighbours {
    /// Starts it with this fixture.
    pub async fn start(stem: &str, seed: u64) -> Self {
        let bench = Bench::new();
        let sim = Sim::start(&bench.artifacts, bench.folder(), 20.0, seed, "none");
        let link = bench.folder().join("line");
        let line = Terminal::create(&link);
        bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
        bench.install(stem, &bench.artifacts.fixture(stem));
        let meter = DeviceEntry::meter(sim.link());
        let probe = DeviceEntry::new("probe", stem, &link);
        bench.configure(&[meter.clone(), probe.clone()]);
        let daemon = bench.start();
        let mut client = daemon.client().await;
        client
            .until_member("/powerMeter/phase", &json!("streaming"))
            .await;
        client.until_member("/probe/attached", &json!(true)).await;
        Self {
            bench,
            sim,
            line,
            meter,
            probe,
            daemon,
            client,
        }
    }
}
