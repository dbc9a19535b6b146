//! Drivers that misbehave: each fault is contained, named, and recovered from, and the neighbour notices nothing.
//!
//! Covered: a trap and the restart from a checkpoint; bytes that trap twice are skipped; an endless loop is ended by its deadline; a memory hog by
//! its limit; a driver that breaks down again and again is quarantined until its file is put there anew.

use e2e::{Bench, Client, DeviceEntry, Neighbours, Probe, Terminal};
use serde_json::{Value, json};

/// What sets the fixtures' mischief off.
const TRIGGER: u8 = 0x07;

fn bytes_of(client: &Client) -> Option<u64> {
    client.member("/probe/bytes").and_then(Value::as_u64)
}

#[tokio::test]
async fn a_driver_that_traps_goes_on_from_its_checkpoint_and_skips_what_traps_twice() {
    let Probe {
        bench: _bench,
        mut line,
        daemon,
        mut client,
    } = Probe::start("trap-on-byte").await;
    line.send(b"12345\n");
    client.until_member("/probe/bytes", &json!(6)).await;
    line.send(&[TRIGGER]);
    client
        .until("the fault", |client| {
            client
                .has_logged("driver broke down: trap in `handle`")
                .then_some(())
        })
        .await;
    client
        .until("the skip", |client| {
            client.has_logged("bytes 6 to 7").then_some(())
        })
        .await;
    line.send(b"abc\n");
    // Six bytes from before the trap and four from after it: nothing is counted twice, and the byte that trapped is not counted.
    client.until_member("/probe/bytes", &json!(10)).await;
    client
        .until_member("/devices/probe/status", &json!("running"))
        .await;
    assert_eq!(client.member("/devices/probe/reason"), None);
    assert_eq!(client.member("/devices/probe/staleSince"), None);
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn an_endless_loop_is_ended_and_the_neighbour_keeps_its_cadence() {
    let Neighbours {
        bench: _bench,
        sim: _sim,
        mut line,
        daemon,
        mut client,
        ..
    } = Neighbours::start("endless-loop", 3).await;
    let energy = client.endpoint("meter", "energy");
    client.subscribe(&[energy]).await;
    line.send(&[TRIGGER]);
    client
        .until("the fault", |client| {
            client
                .has_logged("driver broke down: deadline passed in `handle`")
                .then_some(())
        })
        .await;
    client
        .until("the skip", |client| {
            client.has_logged("are skipped").then_some(())
        })
        .await;
    line.send(b"after\n");
    client
        .until("the bytes after it", |client| {
            (bytes_of(client)? == 6).then_some(())
        })
        .await;
    client
        .until("a few rows", |client| {
            (client.samples.get(&energy)?.len() > 3).then_some(())
        })
        .await;
    // Every row of the meter came, in order, while its neighbour looped.
    let rows: Vec<i64> = client.samples[&energy]
        .iter()
        .map(|(_, value)| (value * 10.0).round() as i64)
        .collect();
    assert!(rows.windows(2).all(|pair| pair[1] == pair[0] + 1), "{rows:?}");
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_memory_hog_meets_its_limit() {
    let Probe {
        bench: _bench,
        mut line,
        daemon,
        mut client,
    } = Probe::start("memory-hog").await;
    line.send(b"1\n");
    client.until_member("/probe/bytes", &json!(2)).await;
    line.send(&[TRIGGER]);
    client
        .until("the fault", |client| {
            client.has_logged("limit exceeded in `handle`").then_some(())
        })
        .await;
    line.send(b"2\n");
    client.until_member("/probe/bytes", &json!(4)).await;
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_driver_that_never_starts_is_quarantined_until_its_file_is_put_there_again() {
    let bench = Bench::new();
    let link = bench.folder().join("line");
    let _line = Terminal::create(&link);
    bench.install("probe", &bench.artifacts.fixture("trap-in-start"));
    bench.configure(&[DeviceEntry::new("probe", "probe", &link)]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    client
        .until_member("/devices/probe/status", &json!("quarantined"))
        .await;
    let reason = client
        .member("/devices/probe/reason")
        .and_then(Value::as_str)
        .expect("a reason")
        .to_owned();
    assert!(reason.contains("trap in `start`"), "{reason}");
    bench.install("probe", &bench.artifacts.fixture("counter"));
    client
        .until_member("/devices/probe/status", &json!("running"))
        .await;
    client.until_member("/probe/attached", &json!(true)).await;
    assert_eq!(
        client.member("/devices/probe/driver/lastReload/verdict"),
        Some(&json!("cold"))
    );
    assert!(daemon.stop().success());
}
