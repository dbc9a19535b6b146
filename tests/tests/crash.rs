//! A daemon that is killed as by a power cut, and started again on the same data folder.

use e2e::{Bench, DeviceEntry, Sim, Terminal, eventually};
use serde_json::{Value, json};

#[tokio::test]
async fn a_daemon_that_was_killed_starts_where_its_data_folder_says() {
    let bench = Bench::new();
    let sim = Sim::start(&bench.artifacts, bench.folder(), 20.0, 13, "none");
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    bench.configure(&[DeviceEntry::meter(sim.link())]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    client
        .until_member("/powerMeter/phase", &json!("streaming"))
        .await;
    let boot_id = client.member("/meta/bootId").cloned();
    let energy = client.endpoint("meter", "energy");
    daemon.kill();

    // Neither its lock on the data folder nor its hold on the port outlives it, and the meter, which is still sending, is identified anew.
    let daemon = bench.start();
    let mut client = daemon.client().await;
    assert_ne!(client.member("/meta/bootId").cloned(), boot_id);
    client
        .until_member("/powerMeter/phase", &json!("streaming"))
        .await;
    assert_eq!(
        client.endpoint("meter", "energy"),
        energy,
        "series keep their numbers"
    );
    client.subscribe(&[energy]).await;
    client
        .until("samples", |client| {
            client
                .samples
                .get(&energy)
                .filter(|samples| samples.len() > 10)
                .map(|_| ())
        })
        .await;
    let rows: Vec<i64> = client.samples[&energy]
        .iter()
        .map(|(_, value)| (value * 10.0).round() as i64)
        .collect();
    assert!(rows.windows(2).all(|pair| pair[1] == pair[0] + 1), "{rows:?}");
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_version_that_fails_on_probation_gives_way_and_does_not_come_back_after_a_crash() {
    const TRIGGER: u8 = 0x07;
    let bench = Bench::new();
    let link = bench.folder().join("line");
    let mut line = Terminal::create(&link);
    bench.install("counter", &bench.artifacts.fixture("counter"));
    bench.configure(&[DeviceEntry::new("probe", "counter", &link)]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    client.until_member("/probe/attached", &json!(true)).await;
    let good = client.member("/devices/probe/driver/sha256").cloned();
    // It lives for its ten seconds, and is kept.
    let record = bench.folder().join("data/versions/probe.json");
    eventually("the record", async || {
        let record: Value = serde_json::from_slice(&std::fs::read(&record).ok()?).ok()?;
        (record["good"].get(0) == good.as_ref()).then_some(())
    })
    .await;
    bench.install("counter", &bench.artifacts.fixture("trap-on-byte"));
    client
        .until_member("/devices/probe/driver/lastReload/verdict", &json!("swapped"))
        .await;
    line.send(&[b'1', TRIGGER, b'\n']);
    client
        .until_member("/devices/probe/driver/lastReload/verdict", &json!("returned"))
        .await;
    // The former version takes what the new one broke down over.
    client.until_member("/probe/bytes", &json!(3)).await;
    assert_eq!(client.member("/devices/probe/driver/sha256").cloned(), good);
    client
        .until("the refusal", |client| {
            let reason = client.member("/plugins/counter/reason")?.as_str()?;
            reason.contains("first seconds").then_some(())
        })
        .await;
    daemon.kill();

    // The refused file lies in the folder still.
    let daemon = bench.start();
    let mut client = daemon.client().await;
    client
        .until_member("/devices/probe/status", &json!("running"))
        .await;
    assert_eq!(client.member("/devices/probe/driver/sha256").cloned(), good);
    assert_eq!(client.member("/plugins/counter/status"), Some(&json!("refused")));
    // It says so: which runs, and why the newer one does not.
    let reason = client.member("/plugins/counter/reason").and_then(Value::as_str);
    assert!(
        reason.is_some_and(|reason| reason.contains("first seconds")),
        "{reason:?}"
    );
    client
        .until("the log line", |client| {
            client.has_logged("runs, which was good before;").then_some(())
        })
        .await;
    line.send(&[TRIGGER]);
    client.until_member("/probe/bytes", &json!(1)).await;
    assert!(daemon.stop().success());
}
