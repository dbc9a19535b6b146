//! Drivers that are told of the slices of others.
//!
//! Covered: what is granted is told, newest first of all, and what is not granted is not, which is said once; a slice that comes later, goes stale,
//! is started anew and is taken away; swaps of the one that is observed and of the one that observes.

#![expect(clippy::expect_used, reason = "helpers of a story: what is missing fails it")]

use e2e::{Bench, Client, DeviceEntry, Terminal};
use serde_json::{Value, json};

const GRANTS: &str = "[devices.watcher.grants]\nread-slices = [\"counter\"]\n";

async fn until_version(client: &mut Client, version: &str) {
    for slice in ["watcher", "deaf"] {
        client
            .until_member(&format!("/{slice}/version"), &json!(version))
            .await;
    }
}

/// How often a text stands in the log.
fn logged(client: &Client, text: &str) -> usize {
    let messages = client.logs.values().filter_map(|entry| entry["message"].as_str());
    messages.filter(|message| message.contains(text)).count()
}

fn number(client: &Client, pointer: &str) -> u64 {
    let member = client.member(pointer).and_then(Value::as_u64);
    member.expect(pointer)
}

#[tokio::test]
async fn a_driver_is_told_of_the_slices_that_it_is_granted_and_of_no_others() {
    let bench = Bench::new();
    let link = bench.folder().join("line");
    let mut line = Terminal::create(&link);
    bench.install("watcher", &bench.artifacts.fixture("watcher"));
    bench.install("counter", &bench.artifacts.fixture("refuses"));
    bench.install("refuses", &bench.artifacts.fixture("refuses"));
    let counter = DeviceEntry::new("counter", "counter", &link);
    let watcher = DeviceEntry {
        more: GRANTS.to_owned(),
        ..DeviceEntry::without_port("watcher", "watcher")
    };
    let deaf = DeviceEntry::without_port("deaf", "watcher");
    bench.configure(&[counter.clone(), watcher.clone(), deaf.clone()]);
    let daemon = bench.start();
    let mut client = daemon.client().await;

    // The driver that is to be observed does not start, so there is nothing yet to be told of.
    until_version(&mut client, "1.0.0").await;
    assert_eq!(number(&client, "/watcher/told"), 0);
    bench.install("counter", &bench.artifacts.fixture("counter"));
    client
        .until_member("/watcher/known/counter/attached", &json!(true))
        .await;
    line.send(b"1\n2\n3\n");
    client
        .until_member("/watcher/known/counter/lines", &json!(3))
        .await;
    assert_eq!(client.member("/watcher/known/counter"), client.member("/counter"));

    // The one that is observed is swapped, and then the one that observes.
    bench.install("counter", &bench.artifacts.fixture("counter-next"));
    client
        .until_member("/devices/counter/driver/lastReload/verdict", &json!("swapped"))
        .await;
    line.send(b"4\n");
    client
        .until_member("/watcher/known/counter/lines", &json!(4))
        .await;
    let told = number(&client, "/watcher/told");
    bench.install("watcher", &bench.artifacts.fixture("watcher-next"));
    // It observes one slice more, so a person is asked.
    client
        .until_member("/plugins/watcher/status", &json!("waiting-for-consent"))
        .await;
    let granted = bench.ask(&daemon, &["plugin", "grant", "watcher"]).await;
    assert_eq!(granted.code, Some(0), "{granted:?}");
    until_version(&mut client, "2.0.0").await;
    assert_eq!(
        number(&client, "/watcher/told"),
        told,
        "nothing is told anew in a swap"
    );
    line.send(b"5\n");
    client
        .until_member("/watcher/known/counter/lines", &json!(5))
        .await;

    // A slice that goes stale is as it was, and nobody is told that it has changed.
    std::fs::remove_file(bench.plugins().join("counter.wasm")).expect("the file is there");
    client
        .until("the slice is stale", |client| {
            client.member("/devices/counter/staleSince").map(|_| ())
        })
        .await;
    assert_eq!(
        client.member("/watcher/known/counter/lines"),
        Some(&json!(5)),
        "it knows what stands there"
    );
    bench.install("counter", &bench.artifacts.fixture("counter"));
    client
        .until_member("/watcher/known/counter/lines", &json!(0))
        .await;
    assert_eq!(number(&client, "/watcher/gone"), 0);

    // The slice gets another name, and the driver of the device that is to have the old one does not start.
    let renamed = DeviceEntry {
        slice: "renamed".to_owned(),
        ..counter
    };
    let nobody = DeviceEntry {
        slice: "counter".to_owned(),
        ..DeviceEntry::without_port("nobody", "refuses")
    };
    bench.configure(&[renamed, nobody, watcher, deaf]);
    client.until_member("/watcher/gone", &json!(1)).await;
    assert_eq!(client.member("/watcher/known"), Some(&json!({})));

    // Who is granted nothing was told nothing, and each version said once what it wanted.
    assert_eq!(client.member("/deaf/told"), Some(&json!(0)));
    for version in ["1.0.0", "2.0.0"] {
        let refused = format!("watcher {version} wants to observe [\"counter\"");
        assert_eq!(logged(&client, &refused), 1, "{refused}");
    }
    assert_eq!(
        logged(
            &client,
            "watcher 2.0.0 wants to observe [\"second\"], which it is not granted"
        ),
        1
    );
    daemon.stop();
}
