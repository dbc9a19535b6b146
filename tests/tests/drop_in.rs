//! A plugin that is dropped in, bound with one command, and taken away again, beside a device that notices none of it.

use e2e::{Bench, DeviceEntry, Probe, Sim, Terminal};
use serde_json::{Value, json};

#[tokio::test]
async fn a_plugin_is_dropped_in_enabled_and_taken_away_and_its_neighbour_notices_nothing() {
    let Probe {
        bench,
        mut line,
        daemon,
        mut client,
    } = Probe::start("counter").await;
    let generation = client.member("/devices/probe/driver/generation").cloned();
    let link = bench.folder().join("second line");
    let mut second = Terminal::create(&link);
    bench.install("spare", &bench.artifacts.fixture("curious"));
    client
        .until_member("/plugins/spare/status", &json!("unbound"))
        .await;
    assert_eq!(
        client.member("/plugins/spare/manifest/observes"),
        Some(&json!(["meter"]))
    );

    let before = format!(
        "# A comment.\n{}# The last line.",
        std::fs::read_to_string(bench.config()).unwrap()
    );
    bench.write_config(&before);
    let port = format!("main={}", link.display());
    let enable = async |device: &str| {
        let arguments = [
            "--json", "plugin", "enable", "spare", "--device", device, "--port", &port,
        ];
        bench.run(&arguments).await
    };
    let enabled = enable("second").await;
    assert_eq!(enabled.code, Some(0), "{enabled:?}");
    let after = std::fs::read_to_string(bench.config()).unwrap();
    let written = after.strip_prefix(&before).expect("what was there is as it was");
    assert_eq!(enabled.lines()[0]["written"], written.trim_start());
    client.until_member("/second/attached", &json!(true)).await;
    second.send(b"12\n");
    client.until_member("/second/bytes", &json!(3)).await;
    let again = enable("probe").await;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(
        again.lines()[0]["message"].as_str().unwrap().contains("already"),
        "{again:?}"
    );
    assert_eq!(enable("third").await.code, Some(1), "its line is another's");
    assert_eq!(std::fs::read_to_string(bench.config()).unwrap(), after);

    // Its entry goes: it stops, and what it showed last is marked.
    bench.write_config(&before);
    client
        .until_member("/devices/second/status", &json!("stopped"))
        .await;
    client
        .until_member("/devices/second/ports/main/attached", &json!(false))
        .await;
    assert!(
        client
            .member("/devices/second/staleSince")
            .and_then(Value::as_str)
            .is_some()
    );
    assert_eq!(client.member("/second/bytes"), Some(&json!(3)));
    client
        .until_member("/plugins/spare/status", &json!("unbound"))
        .await;
    line.send(b"1\n");
    client.until_member("/probe/bytes", &json!(2)).await;
    assert_eq!(
        client.member("/devices/probe/driver/generation"),
        generation.as_ref()
    );
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_bench_whose_plugin_folder_is_not_there_waits_for_it() {
    let bench = Bench::new();
    let link = bench.folder().join("line");
    let _line = Terminal::create(&link);
    bench.configure(&[DeviceEntry::new("probe", "counter", &link)]);
    std::fs::remove_dir(bench.plugins()).expect("it is empty");
    let daemon = bench.start();
    let mut client = daemon.client().await;
    client
        .until_member("/devices/probe/status", &json!("stopped"))
        .await;
    client
        .until("the log line", |client| {
            client.has_logged("is not there; drivers go on").then_some(())
        })
        .await;
    assert!(
        !bench.plugins().exists(),
        "no empty folder hides that it is missing"
    );
    // It comes as a whole, as a file system that is mounted does.
    let aside = bench.folder().join("aside");
    std::fs::create_dir(&aside).expect("a folder");
    std::fs::write(aside.join("counter.wasm"), bench.artifacts.fixture("counter")).expect("a plugin");
    std::fs::rename(&aside, bench.plugins()).expect("the folder comes");
    client.until_member("/probe/attached", &json!(true)).await;
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_device_whose_plugin_is_not_there_waits_for_it_and_its_neighbour_runs() {
    let bench = Bench::new();
    let sim = Sim::start(&bench.artifacts, bench.folder(), 20.0, 11, "none");
    let link = bench.folder().join("line");
    let mut line = Terminal::create(&link);
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    let meter = DeviceEntry::meter(sim.link());
    let probe = DeviceEntry::new("probe", "counter", &link);
    bench.configure(&[meter.clone(), probe.clone()]);
    let config = bench.config().display().to_string();
    let checked = bench.run(&["check-config", &config]).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.errors.contains("there is no counter.wasm"), "{checked:?}");

    let daemon = bench.start();
    assert!(daemon.errors().contains("there is no counter.wasm"));
    let mut client = daemon.client().await;
    client
        .until_member("/powerMeter/phase", &json!("streaming"))
        .await;
    assert_eq!(client.member("/devices/probe/status"), Some(&json!("stopped")));
    assert_eq!(
        client.member("/devices/probe/reason"),
        Some(&json!("its plugin counter.wasm is gone"))
    );
    assert_eq!(client.member("/plugins/counter"), None);
    client
        .until("the log line", |client| {
            client
                .has_logged("no driver runs: its plugin counter.wasm is gone")
                .then_some(())
        })
        .await;
    let generation = client.member("/devices/meter/driver/generation").cloned();

    // An edit of something else is taken; one that names a file that never was is a slip, and is not.
    let settings = "[devices.meter.settings]\ninterval-s = 2\n".to_owned();
    bench.configure(&[
        DeviceEntry {
            more: settings,
            ..meter.clone()
        },
        probe.clone(),
    ]);
    client
        .until("the new settings", |client| {
            client.has_logged("has new settings").then_some(())
        })
        .await;
    bench.configure(&[
        DeviceEntry {
            plugin: "power-metr".to_owned(),
            ..meter.clone()
        },
        probe,
    ]);
    client
        .until("the refusal", |client| {
            let message = client.member("/message")?.as_str()?;
            message.contains("not used").then_some(())
        })
        .await;

    bench.install("counter", &bench.artifacts.fixture("counter"));
    client
        .until_member("/plugins/counter/status", &json!("compiling"))
        .await;
    client
        .until_member(
            "/devices/probe/reason",
            &json!("its plugin counter.wasm is being compiled"),
        )
        .await;
    client.until_member("/probe/attached", &json!(true)).await;
    assert_eq!(client.member("/devices/probe/reason"), None);
    line.send(b"12\n");
    client.until_member("/probe/bytes", &json!(3)).await;
    assert_eq!(
        client.member("/devices/meter/driver/generation"),
        generation.as_ref()
    );
    assert!(daemon.stop().success());
}
