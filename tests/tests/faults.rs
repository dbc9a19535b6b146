//! Everything that happens to a meter's line, in turn, and the account afterwards: the rows that the daemon's telemetry holds are exactly those
//! that the emulator's journal calls readable.

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::{Bench, DeviceEntry, Sim, is_long};
use serde_json::json;

#[tokio::test]
async fn the_telemetry_equals_the_journal_row_by_row() {
    let (seed, duration) = (
        7,
        if is_long() {
            Duration::from_secs(600)
        } else {
            Duration::from_secs(25)
        },
    );
    println!("seed {seed}, {duration:?}");
    let bench = Bench::new();
    let mut sim = Sim::start(&bench.artifacts, bench.folder(), 50.0, seed, "all");
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    bench.configure(&[DeviceEntry::meter(sim.link())]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    let energy = client.endpoint("meter", "energy");
    client.subscribe(&[energy]).await;
    client
        .until_member("/powerMeter/phase", &json!("streaming"))
        .await;
    client.drain(duration).await;
    sim.ask("fault none");
    let target = client.samples.get(&energy).map_or(0, Vec::len) + 20;
    client
        .until("rows after the last fault", |client| {
            (client.samples[&energy].len() >= target).then_some(())
        })
        .await;
    let journal = sim.finish();
    let last = *journal.readable().last().expect("a row") as f64 / 10.0;
    client
        .until("the last row", |client| {
            (client.samples[&energy].last()?.1 == last).then_some(())
        })
        .await;
    let rows: Vec<u64> = client.samples[&energy]
        .iter()
        .map(|(_, value)| (value * 10.0).round() as u64)
        .collect();
    let received: BTreeSet<u64> = rows.iter().copied().collect();
    assert_eq!(received.len(), rows.len(), "a row came twice");
    assert!(journal.readable() == received, "{}", journal.explain(&received));
    let faults: BTreeSet<&str> = journal.faults.values().map(String::as_str).collect();
    println!(
        "{} rows, {} readable, faults {faults:?}",
        journal.verdicts.len(),
        received.len()
    );
    assert!(faults.len() >= 5, "only {faults:?} acted");
}
