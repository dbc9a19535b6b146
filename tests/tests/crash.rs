//! A daemon that is killed as by a power cut, and started again on the same data folder.

use e2e::{Bench, DeviceEntry, Sim};
use serde_json::json;

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
