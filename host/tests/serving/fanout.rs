//! Many clients, fast and slow: everybody gets everything in order, or is told what is missing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::{Bench, Settings, apply, until};

/// A client that reads nothing for a while, on a bench whose rings are small. Each step writes more than the system buffers hold.
fn small_rings() -> Settings {
    let mut settings = Settings::default();
    settings.hub.ring_bytes = 64 << 10;
    settings.hub.stall_timeout = Duration::from_secs(60);
    settings.state_ring_bytes = 256 << 10;
    settings
}

#[tokio::test]
async fn whoever_falls_off_the_ring_gets_one_snapshot_is_told_so_and_is_exact_again() {
    let bench = Bench::with(small_rings()).await;
    let (mut client, mut mirror) = bench.join().await;
    // 40 MB against whatever the system buffers: the client does not read meanwhile.
    for n in 1..=400 {
        bench
            .state
            .replace_slice("filler", json!({"n": n, "text": n.to_string().repeat(33_000)}))
            .unwrap();
        bench.state.snapshot();
        tokio::task::yield_now().await;
    }
    let last = bench.set_watts(1);
    let (mut snapshots, mut told) = (0, 0);
    while mirror["version"].as_u64() < Some(last) {
        let message = client.next().await;
        match message["type"].as_str() {
            Some("state.patch") => apply(&mut mirror, &message),
            Some("state.snapshot") => {
                assert!(
                    message["stateVersion"].as_u64() >= mirror["version"].as_u64(),
                    "never back"
                );
                mirror = message["data"].clone();
                snapshots += 1;
            }
            Some("error") if message["code"] == "missed" => {
                assert_eq!(snapshots, told, "it is told before the snapshot comes");
                told += 1;
            }
            _ => {}
        }
    }
    assert_eq!(told, snapshots);
    // As long as the system's buffers take snapshots, a client that reads nothing may be given one after the other; hundreds of patches are lost.
    assert!((1..=40).contains(&snapshots), "{snapshots} snapshots");
    let document = bench.document();
    assert_eq!(mirror["powerMeter"], document["powerMeter"]);
    assert_eq!(mirror["filler"], document["filler"]);
    bench.close().await;
}

#[tokio::test]
async fn whoever_falls_off_the_log_is_told_the_range() {
    let bench = Bench::with(Settings {
        log_capacity: 50,
        ..small_rings()
    })
    .await;
    let (mut client, _) = bench.join().await;
    let text = "x".repeat(8_000);
    const LAST: u64 = 8_000;
    for _ in 1..=LAST {
        bench.log(&text);
        tokio::task::yield_now().await;
    }
    let mut covered = 0;
    let mut missed = 0;
    while covered < LAST {
        let message = client.wait_for("logs.append").await;
        assert_eq!(message["fromSeq"], covered + 1, "no gap between ranges");
        covered = message["toSeq"].as_u64().unwrap();
        let entries = message["entries"].as_array().unwrap();
        let mut next = message["fromSeq"].as_u64().unwrap();
        if let Some(span) = message.get("missed") {
            assert_eq!(span["fromSeq"], next);
            next = span["toSeq"].as_u64().unwrap() + 1;
            missed += next - span["fromSeq"].as_u64().unwrap();
        }
        for entry in entries {
            assert_eq!(entry["seq"], next);
            next += 1;
        }
        assert_eq!(next, covered + 1, "what is neither there nor missed");
    }
    assert!(missed > 0);
    bench.close().await;
}

#[tokio::test]
async fn whoever_falls_off_a_series_catches_up_from_its_history() {
    let bench = Bench::with(small_rings()).await;
    bench.add_series(1);
    let (mut client, _) = bench.join().await;
    client
        .say(json!({"type": "subscribe", "channel": "telemetry", "endpointIds": [1]}))
        .await;
    client.wait_for("ack").await;
    // Far more than segments and system buffers hold, and more than the history holds too.
    const LAST: u64 = 1_500_000;
    let step = 5_000;
    for from in (1..=LAST).step_by(step as usize) {
        bench.push_samples(1, from..=from + step - 1);
        tokio::task::yield_now().await;
    }
    let mut newest = 0;
    let mut missed = 0;
    while newest < LAST {
        let message = client.wait_for("telemetry").await;
        missed += message.get("missed").map_or(0, |count| count.as_u64().unwrap());
        let lost_now = message.get("missed").map_or(0, |count| count.as_u64().unwrap());
        for (index, sample) in message["samples"].as_array().unwrap().iter().enumerate() {
            let value = sample[1].as_f64().unwrap() as u64;
            let skipped = if index == 0 { lost_now } else { 0 };
            assert_eq!(value, newest + 1 + skipped, "no gap that is not told");
            newest = value;
        }
    }
    assert!(missed > 0);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_that_come_and_go_all_have_the_state() {
    let mut settings = Settings::default();
    settings.hub.limits.clients = 1000;
    let bench = Bench::with(settings).await;
    bench.add_series(1);
    let state = bench.state.clone();
    let hub = bench.hub.clone();
    // Some changes for each step of the clients, made while they go on: most of them read nothing before the end, and what comes until then has to
    // find room in their sockets, however long they take.
    let (step, steps) = std::sync::mpsc::channel();
    let writer = std::thread::spawn(move || {
        let at = autobench_core::state::Pointer::parse("/powerMeter/lastSample/watts").unwrap();
        let mut n = 0_u64;
        while let Ok(()) = steps.recv() {
            for _ in 0..5 {
                n += 1;
                state.update(|store| store.set(&at, json!(n))).unwrap();
                let sample = autobench_core::driver::Sample {
                    timestamp_ms: n as f64,
                    value: n as f64,
                };
                hub.push_samples(1, &[sample]);
            }
        }
    });
    let mut clients: Vec<(crate::bench::Client, Value)> = Vec::new();
    for n in 0..200_usize {
        step.send(()).unwrap();
        let (mut client, mut mirror) = bench.join().await;
        if n % 3 == 0 {
            client
                .say(json!({"type": "subscribe", "channel": "telemetry", "endpointIds": [1]}))
                .await;
        }
        for _ in 0..n % 4 {
            step.send(()).unwrap();
            apply(&mut mirror, &client.wait_for("state.patch").await);
        }
        clients.push((client, mirror));
        if n % 7 == 0 {
            clients.swap_remove(n % clients.len());
        }
    }
    drop(step);
    tokio::task::spawn_blocking(|| writer.join().unwrap())
        .await
        .unwrap();
    // The count of clients changes the state as well, until the last who left is counted out.
    until("who left is gone", || bench.hub.clients() == clients.len()).await;
    for (client, mirror) in &mut clients {
        loop {
            let document = bench.document();
            if *mirror == document {
                break;
            }
            if mirror["version"] == document["version"] {
                panic!("the same version, and not the same state");
            }
            apply(mirror, &client.wait_for("state.patch").await);
        }
    }
    bench.close().await;
}
