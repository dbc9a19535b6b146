//! The front panel and the keyboard of a simulated PC, behind a real daemon: what is pressed, for how long, and that nothing else ever is.
//!
//! The judge is the emulators' journal, which has every edge on the PC's buttons and every key, with its cause.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of a story: what is missing fails it"
)]

mod holds;
mod presses;
mod rest;
mod secrets;

use autobench_sim::bench as sim;
use autobench_sim::bench::{Device, Entry};
use autobench_sim::frontpanel::Edge;
use e2e::{Bench, Client, Daemon, DeviceEntry, eventually, given_seed, new_seed, variant_of};
use serde_json::{Value, json};

const DRIVERS: [(&str, &str); 3] = [
    ("panel", "atx"),
    ("keyboard", "keyboard"),
    ("meter", "power-meter"),
];

struct Desk {
    bench: Bench,
    sim: sim::Bench,
}

impl Desk {
    /// A bench in real time, or faster.
    fn new(speed: f64) -> Self {
        Self::with_keyboard(speed, "")
    }

    /// The same, with more lines for the keyboard's port.
    fn with_keyboard(speed: f64, port: &str) -> Self {
        let bench = Bench::new();
        let seed = given_seed().unwrap_or_else(new_seed);
        println!("seed {seed}");
        let sim = bench.simulate_pc(|options| sim::Options {
            seed: Some(seed),
            speed,
            ..options
        });
        let link = |device| sim.link(device).expect("its link");
        let granted = "[devices.panel.grants]\ndangerous-commands = [\"press\", \"hold\", \"on\", \"off\", \"force-off\", \"reset\", \"cycle\"]\n";
        // Where time is faster for the PC, a press is longer for it.
        let force_off_ms = (5500.0 / speed) as u64;
        let panel = format!("{granted}[devices.panel.settings]\nforce-off-ms = {force_off_ms}\n");
        let observes = "[devices.keyboard.grants]\nread-slices = [\"frontPanel\"]\n";
        bench.configure(&[
            DeviceEntry {
                slice: "frontPanel".to_owned(),
                more: panel,
                ..DeviceEntry::new("panel", "atx", link(Device::Atx))
            },
            DeviceEntry {
                slice: "ps2Keyboard".to_owned(),
                more: format!("{port}{observes}"),
                ..DeviceEntry::new("keyboard", "keyboard", link(Device::Keyboard))
            },
            DeviceEntry::meter(link(Device::PowerMeter)),
        ]);
        Self { bench, sim }
    }

    /// A daemon whose drivers are ready.
    async fn start(&self) -> (Daemon, Client) {
        let daemon = self.bench.start();
        let mut client = daemon.client().await;
        until_ready(&mut client).await;
        (daemon, client)
    }

    /// Puts the n-th version of a plugin where the daemon finds it, the file that was released for 0.
    fn install(&self, plugin: &str, version: u32) {
        let released = self.bench.artifacts.plugin(plugin);
        let file = match version {
            0 => released,
            _ => variant_of(&released, version),
        };
        self.bench.install(plugin, &file);
    }

    /// What stands on the PC's screen.
    fn screen(&self) -> String {
        let lines = self.sim.control().screen();
        lines.expect("the simulated bench runs").join("\n")
    }

    fn journal(&self) -> Vec<Entry> {
        self.sim.control().journal().expect("the simulated bench runs")
    }

    /// The edges on both contacts, in order.
    fn edges(&self) -> Vec<Edge> {
        self.journal().iter().filter_map(Entry::edge).collect()
    }

    async fn until_edges(&self, count: usize) -> Vec<Edge> {
        eventually(&format!("{count} edges"), async || {
            let edges = self.edges();
            (edges.len() >= count).then_some(edges)
        })
        .await
    }

    /// How many edges there were on buttons and keys.
    fn edge_count(&self) -> u64 {
        let counts = self
            .sim
            .control()
            .stats()
            .expect("the simulated bench runs")
            .counts;
        counts.power_edges + counts.reset_edges + counts.key_edges
    }
}

async fn until_ready(client: &mut Client) {
    for (device, phase) in [("panel", "ready"), ("keyboard", "ready"), ("meter", "streaming")] {
        client
            .until_member(&format!("/devices/{device}/phase"), &json!(phase))
            .await;
    }
}

/// Asks for a command and gives its id.
async fn command(client: &mut Client, device: &str, name: &str, args: Value) -> String {
    let message = json!({"type": "command", "device": device, "name": name, "args": args});
    let answer = client.ask(message).await;
    assert!(answer["commandId"].is_string(), "{name} of {device}: {answer}");
    answer["commandId"].as_str().unwrap().to_owned()
}

/// The last stage of a command.
async fn end_of(client: &mut Client, command: &str) -> Value {
    client
        .until(&format!("the end of {command}"), |client| {
            let mut stages = client.stages.iter().rev();
            let newest = stages.find(|stage| stage["commandId"] == *command)?;
            (!newest["completedAt"].is_null()).then(|| newest.clone())
        })
        .await
}

/// A command that has to succeed.
async fn succeeds(client: &mut Client, device: &str, name: &str, args: Value) {
    let id = command(client, device, name, args).await;
    let end = end_of(client, &id).await;
    assert_eq!(end["status"], "succeeded", "{end}");
}
