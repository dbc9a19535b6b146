//! A plugin that is dropped in, bound with one command, and taken away again, beside a device that notices none of it.

use e2e::{Probe, Terminal};
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
