//! Bytes in, frames out: from a real terminal through the real component to a mirror that trusts nothing.
//!
//! Covered: a snapshot and the patches after it give the daemon's document; wherever a stream is cut, the same samples come out; a device that
//! is unplugged and comes back streams again; a daemon that is asked to stop says goodbye to its meter.

use e2e::{Bench, Client, DeviceEntry, Sim, Terminal, eventually, get};
use serde_json::{Value, json};

/// What a meter answers to the question who it is.
const VERSION: &str = "#v,-,8,1,65206,5,2,3,14,200612211910,0;\r\n";

#[tokio::test]
async fn a_snapshot_and_its_patches_give_the_daemons_document() {
    let bench = Bench::new();
    let sim = Sim::start(&bench.artifacts, bench.folder(), 20.0, 1, "none");
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    bench.configure(&[DeviceEntry::meter(sim.link())]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    assert_eq!(client.first_types[..2], ["welcome", "state.snapshot"]);
    client
        .until_member("/powerMeter/phase", &json!("streaming"))
        .await;
    client
        .until("fifty patches", |client| {
            (client.mirror.patches >= 50 && client.mirror.snapshots == 1).then_some(())
        })
        .await;
    // The document of one moment: both are asked until they speak of the same version.
    eventually("the mirror and the daemon at one version", async || {
        let state = daemon.state().await;
        let version = state["version"].as_u64().expect("a version");
        client
            .until("that version", |client| {
                (client.mirror.version >= version).then_some(())
            })
            .await;
        (client.mirror.version == version).then(|| assert_eq!(client.mirror.document, state))
    })
    .await;
    // A scraper reads of the driver what the state says of it.
    let page = String::from_utf8(get(daemon.address(), "/metrics").await.body).expect("text");
    let counted = |metric: &str| -> f64 {
        let series = format!("{metric}{{device=\"meter\",plugin=\"power-meter\"}} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&series));
        let value = value.unwrap_or_else(|| panic!("no {series} in {page}"));
        value.parse().expect("a number")
    };
    let health = &daemon.state().await["devices"]["meter"]["driver"]["health"];
    assert_eq!(counted("autobench_driver_faults_total"), health["faults"]);
    for metric in [
        "calls_total",
        "received_bytes_total",
        "samples_total",
        "busy_seconds_total",
        "memory_bytes",
    ] {
        assert!(counted(&format!("autobench_driver_{metric}")) > 0.0, "{metric}");
    }
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn wherever_a_row_is_cut_the_same_sample_comes_out() {
    let bench = Bench::new();
    let link = bench.folder().join("line");
    let mut line = Terminal::create(&link);
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    bench.configure(&[DeviceEntry::meter(&link)]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    line.expect("#V,R,0;");
    line.send(VERSION.as_bytes());
    line.expect("#L,W,3,E,_,1;");
    let endpoint = client.endpoint("meter", "energy");
    client.subscribe(&[endpoint]).await;

    let mut number = 0_u64;
    let row = |number: u64| {
        format!("#d,-,18,965,1204,792,{number},0,69384,5550,965,1205,833,965,1203,779,100,0,0,500,965;\r\n")
    };
    let length = row(1_000).len();
    for cut in 0..=length {
        number += 1;
        let row = row(1_000 + number);
        line.send(&row.as_bytes()[..cut]);
        line.wait_until_read();
        line.send(&row.as_bytes()[cut..]);
        line.wait_until_read();
    }
    let expected: Vec<f64> = (1..=number)
        .map(|number| (1_000 + number) as f64 / 10.0)
        .collect();
    client
        .until("every row", |client| {
            client
                .samples
                .get(&endpoint)
                .is_some_and(|samples| samples.len() >= expected.len())
                .then_some(())
        })
        .await;
    let values: Vec<f64> = client.samples[&endpoint]
        .iter()
        .map(|(_, value)| *value)
        .collect();
    assert_eq!(values, expected);
    client
        .until_member("/powerMeter/stats/totalSamples", &json!(number))
        .await;
    client.until_member("/powerMeter/stats/badRows", &json!(0)).await;
}

#[tokio::test]
async fn a_meter_that_was_unplugged_streams_again() {
    let bench = Bench::new();
    let mut sim = Sim::start(&bench.artifacts, bench.folder(), 20.0, 2, "none");
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    bench.configure(&[DeviceEntry::meter(sim.link())]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    for round in 0..3 {
        client
            .until_member("/powerMeter/phase", &json!("streaming"))
            .await;
        client
            .until_member("/devices/meter/ports/main/attached", &json!(true))
            .await;
        sim.ask("unplug");
        client
            .until_member("/devices/meter/ports/main/attached", &json!(false))
            .await;
        client
            .until_member("/powerMeter/phase", &json!("disconnected"))
            .await;
        sim.ask("replug");
        client
            .until(&format!("round {round}"), |client| {
                (client.member("/powerMeter/phase")? == "streaming").then_some(())
            })
            .await;
    }
    let energy = client.endpoint("meter", "energy");
    client.subscribe(&[energy]).await;
    client
        .until("samples", |client| {
            client
                .samples
                .get(&energy)
                .filter(|samples| samples.len() > 5)
                .map(|_| ())
        })
        .await;
    let said = |client: &Client, text: &str| {
        let entries = client.logs.values().filter(|entry| entry["tag"] == "meter");
        let has_text = |entry: &&Value| entry["message"].as_str().is_some_and(|said| said.contains(text));
        entries.filter(has_text).count()
    };
    client
        .until("the last line", |client| {
            (said(client, "streaming, ") == 4).then_some(())
        })
        .await;
    let counts = ["is open: ", "is lost: ", "is not open", "is away"].map(|text| said(&client, text));
    assert_eq!(
        counts,
        [4, 3, 0, 0],
        "one line for each change: {:#?}",
        client.logs
    );
}

#[tokio::test]
async fn a_daemon_that_stops_says_goodbye_to_its_meter() {
    let bench = Bench::new();
    let link = bench.folder().join("line");
    let mut line = Terminal::create(&link);
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    bench.configure(&[DeviceEntry::meter(&link)]);
    let daemon = bench.start();
    line.expect("#V,R,0;");
    line.send(VERSION.as_bytes());
    line.expect("#L,W,3,E,_,1;");
    line.send(b"#d,-,18,965,1204,792,1,0,69384,5550,965,1205,833,965,1203,779,100,0,0,500,965;\r\n");
    eventually("streaming", async || {
        (daemon.member("/powerMeter/phase").await? == "streaming").then_some(())
    })
    .await;
    assert!(daemon.stop().success());
    line.expect("#L,W,3,I,_,1;");
}
