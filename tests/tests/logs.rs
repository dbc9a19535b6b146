//! The log ring from outside: numbers without gaps, an honest account of what the ring has overwritten, replay of what a client missed, and
//! redaction before anything gets a number.

use e2e::{Bench, Client, DeviceEntry, Terminal, get};
use serde_json::{Value, json};

async fn bench_with_log(environment: &[(&str, &str)]) -> (Bench, Terminal, e2e::Daemon, Client) {
    let bench = Bench::new();
    let link = bench.folder().join("line");
    let line = Terminal::create(&link);
    bench.install("counter", &bench.artifacts.fixture("counter"));
    bench.configure(&[DeviceEntry::new("probe", "counter", &link)]);
    let daemon = bench.start_with(environment);
    let mut client = daemon.client().await;
    client.until_member("/probe/attached", &json!(true)).await;
    (bench, line, daemon, client)
}

/// Makes the daemon log once: a file that is no plugin.
fn provoke(bench: &Bench, number: usize) {
    bench.install(
        &format!("nonsense-{number}"),
        format!("nonsense {number}").as_bytes(),
    );
}

#[tokio::test]
async fn entries_are_numbered_without_gaps_and_replayed_from_any_number() {
    let (bench, _line, daemon, mut client) = bench_with_log(&[]).await;
    provoke(&bench, 1);
    client
        .until("the entry", |client| {
            client.has_logged("nonsense-1.wasm is refused").then_some(())
        })
        .await;
    let numbers: Vec<u64> = client.logs.keys().copied().collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    let first = numbers[0];
    client.logs.clear();
    client
        .send(&json!({"type": "logs.replay", "sinceSeq": first}))
        .await;
    client
        .until("the replay", |client| {
            (client.logs.len() >= numbers.len() - 1).then_some(())
        })
        .await;
    assert!(!client.logs.contains_key(&first));
    assert!(client.logs.contains_key(&(first + 1)));
    drop(daemon);
}

#[tokio::test]
async fn what_the_ring_has_overwritten_is_told_and_not_invented() {
    let (bench, _line, daemon, mut client) = bench_with_log(&[("CLIENT_LOGS_TO_KEEP", "10")]).await;
    for number in 0..15 {
        provoke(&bench, number);
        client
            .until("its refusal", |client| {
                client
                    .has_logged(&format!("nonsense-{number}.wasm is refused"))
                    .then_some(())
            })
            .await;
    }
    client.missed_logs.clear();
    client.logs.clear();
    client.send(&json!({"type": "logs.replay", "sinceSeq": 0})).await;
    client
        .until("the replay", |client| (client.logs.len() >= 10).then_some(()))
        .await;
    let oldest = *client.logs.keys().next().expect("an entry");
    assert_eq!(client.logs.len(), 10);
    assert_eq!(client.missed_logs, [(1, oldest - 1)]);
    let range = get(daemon.address(), "/api/v1/logs?sinceSeq=0").await.json();
    assert_eq!(range["missed"]["toSeq"].as_u64(), Some(oldest - 1), "{range}");
}

#[tokio::test]
async fn secrets_are_blotted_out_before_an_entry_gets_its_number() {
    let (bench, _line, daemon, mut client) = bench_with_log(&[("LOG_REDACT_REGEX", "hunter[0-9]")]).await;
    bench.install("hunter2", b"nonsense");
    client
        .until("the entry", |client| {
            client.has_logged(".wasm is refused").then_some(())
        })
        .await;
    assert!(!client.has_logged("hunter2"));
    assert!(!daemon.errors().contains("hunter2"), "{}", daemon.errors());
    let levels: Vec<&Value> = client.logs.values().map(|entry| &entry["level"]).collect();
    assert!(levels.contains(&&json!("error")));
}
