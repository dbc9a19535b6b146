//! From a connection to the snapshot.

use std::time::Instant;

use autobench::load::{Latencies, prepare};
use serde_json::{Map, Value, json};

use crate::daemon::{Clients, Daemon};
use crate::{head, line};

/// With a little over a thousand bytes each, a document of 1 MB.
const SLICES: u32 = 1000;

pub fn run(joins: usize) {
    let daemon = Daemon::start(members());
    let change = prepare(&daemon.state).unwrap();
    let document_bytes = daemon.state.snapshot().data.len();
    head(&format!(
        "from connecting to having the snapshot of {document_bytes} bytes, {joins} times (100 clients: {})",
        joins.div_ceil(10)
    ));
    // The snapshot of one version is made once, whoever asks for it: the first client pays.
    for (clients, changes, rounds) in [
        (1, true, joins),
        (1, false, joins),
        (100, true, joins.div_ceil(10)),
    ] {
        for deflate in [false, true] {
            let clients = Clients {
                count: clients,
                looking: 0,
                deflate,
            };
            let mut latencies = Latencies::default();
            let mut bytes = 0;
            for _ in 0..rounds {
                if changes {
                    change();
                }
                let begin = Instant::now();
                let swarm = daemon.swarm(&clients);
                latencies.add(begin.elapsed().as_nanos() as u64);
                bytes = swarm.counts().bytes / clients.count as u64;
            }
            let who = if clients.count == 1 {
                "one client"
            } else {
                "all of 100 clients"
            };
            let before = if changes {
                "after a change"
            } else {
                "no change before"
            };
            let how = if deflate { ", deflate" } else { "" };
            line(&format!("{who}, {before}{how}"), latencies);
            println!("{:>44} {bytes:>9} bytes for each", "");
        }
    }
}

fn members() -> Map<String, Value> {
    let slice = |number: u32| {
        let history: Vec<_> = (0..35)
            .map(
                |index| json!({"ts": 1_767_225_600 + index * number, "w": 96.5 + f64::from(index % 7) * 0.3}),
            )
            .collect();
        let value = json!({
            "phase": "streaming",
            "stats": {"totalSamples": number, "badRows": 0, "bytesReceived": 0},
            "lastSample": {"ts": "2026-01-01T00:00:00.000Z", "watts": 96.5, "volts": 120.4, "amps": 0.792},
            "history": history,
        });
        (format!("slice{number:04}"), value)
    };
    (0..SLICES).map(slice).collect()
}
