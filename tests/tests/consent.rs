//! What a driver wants, what it is given, and what waits until somebody agrees.
//!
//! Covered: a new version that wants more than those before it is shown as waiting, in state, page and command line, while the old one goes on; consent
//! lets it run, and is kept over restarts; what `plugins.toml` does not grant is answered `not-granted` at the call, consented to or not.

use e2e::{Bench, Client, Daemon, DeviceEntry, Terminal, call, eventually, variant_of};
use serde_json::{Value, json};

/// What `curious` wants beyond what `counter` does.
fn wanted() -> Value {
    json!([
        {"kind": "port", "value": "aux", "words": "the port \"aux\""},
        {"kind": "slice", "value": "meter", "words": "to read the slice \"meter\""},
        {"kind": "dangerous-command", "value": "reset", "words": "the dangerous command \"reset\""},
    ])
}

async fn until_status(client: &mut Client, status: &str) {
    client
        .until_member("/plugins/counter/status", &json!(status))
        .await;
}

async fn until_runs(client: &mut Client, version: &str) {
    client
        .until_member("/devices/probe/driver/version", &json!(version))
        .await;
    client
        .until_member("/devices/probe/status", &json!("running"))
        .await;
}

/// A bench with `counter` on a line, which is good there, and `curious` in its file.
async fn with_curious() -> (Bench, Terminal, Daemon, Client) {
    let bench = Bench::new();
    let link = bench.folder().join("line");
    let mut line = Terminal::create(&link);
    bench.install("counter", &bench.artifacts.fixture("counter"));
    bench.configure(&[DeviceEntry::new("probe", "counter", &link)]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    client.until_member("/probe/attached", &json!(true)).await;
    line.send(b"1\n");
    client.until_member("/probe/bytes", &json!(2)).await;
    bench.install("counter", &bench.artifacts.fixture("curious"));
    until_status(&mut client, "waiting-for-consent").await;
    (bench, line, daemon, client)
}

#[tokio::test]
async fn a_version_that_wants_more_waits_for_consent_and_the_old_one_goes_on() {
    let (bench, mut line, daemon, mut client) = with_curious().await;
    assert_eq!(client.member("/plugins/counter/waiting/wants"), Some(&wanted()));
    assert_eq!(
        client.member("/plugins/counter/waiting/devices"),
        Some(&json!(["probe"]))
    );
    let hash = client.member("/plugins/counter/waiting/sha256").cloned().unwrap();
    assert_eq!(client.member("/plugins/counter/sha256"), Some(&hash));
    let reason = client
        .member("/plugins/counter/reason")
        .and_then(Value::as_str)
        .unwrap();
    assert!(
        reason.contains("to read the slice") && reason.contains("plugin grant counter"),
        "{reason}"
    );
    client
        .until("the log line", |client| {
            client.has_logged("waits for consent").then_some(())
        })
        .await;
    line.send(b"2\n");
    client.until_member("/probe/bytes", &json!(4)).await;
    assert_eq!(
        client.member("/devices/probe/driver/version"),
        Some(&json!("1.0.0"))
    );
    let listed = bench.ask(&daemon, &["plugin", "list"]).await.lines();
    assert_eq!(listed[0]["status"], "waiting-for-consent");
    assert_eq!(
        listed[0]["version"], "3.0.0",
        "it is the file's, as the hash beside it is"
    );
    assert_eq!(listed[0]["waiting"]["wants"], wanted());
    // Neither a reload nor another daemon is consent.
    let reloaded = bench
        .ask(&daemon, &["plugin", "reload", "probe", "--force"])
        .await;
    assert_eq!(
        (reloaded.code, &reloaded.lines()[0]["verdict"]),
        (Some(1), &json!("waiting-for-consent"))
    );
    let first = client.member("/devices/probe/driver/sha256").cloned();
    let record = bench.folder().join("data/versions/probe.json");
    eventually("the record of a good version", async || {
        let record: Value = serde_json::from_slice(&std::fs::read(&record).ok()?).ok()?;
        (record["good"].get(0) == first.as_ref()).then_some(())
    })
    .await;
    daemon.kill();
    let daemon = bench.start();
    let mut client = daemon.client().await;
    until_runs(&mut client, "1.0.0").await;
    until_status(&mut client, "waiting-for-consent").await;

    let other = bench
        .ask(
            &daemon,
            &["plugin", "grant", "counter", "--sha256", "0123456789ab"],
        )
        .await;
    assert_eq!(other.code, Some(1), "{other:?}");
    let unseen = json!({"sha256": "ab".repeat(32)});
    let unseen = call(
        daemon.address(),
        "POST",
        "/api/v1/plugins/counter/grant",
        "",
        Some(&unseen),
    )
    .await;
    assert_eq!(
        (unseen.status, &unseen.json()["code"]),
        (409, &json!("other-waits"))
    );
    let granted = bench.ask(&daemon, &["plugin", "grant", "counter"]).await;
    let outcome = &granted.lines()[0];
    assert_eq!(granted.code, Some(0), "{granted:?}");
    assert_eq!(
        (&outcome["device"], &outcome["to"]),
        (&json!("probe"), &hash),
        "{outcome}"
    );
    until_runs(&mut client, "3.0.0").await;
    until_status(&mut client, "bound").await;
    assert_eq!(client.member("/plugins/counter/waiting"), None);
    let again = bench.ask(&daemon, &["plugin", "grant", "counter"]).await;
    assert_eq!(again.code, Some(1), "{again:?}");
    let audit = std::fs::read_to_string(bench.folder().join("data/audit.jsonl")).unwrap();
    assert!(audit.contains("plugins/counter/grant: to what"), "{audit}");
    daemon.kill();

    // What was consented to is known to the next daemon, and wanting less, or the same once more, waits for nobody.
    let daemon = bench.start();
    let mut client = daemon.client().await;
    until_runs(&mut client, "3.0.0").await;
    bench.install("counter", &bench.artifacts.fixture("counter"));
    until_runs(&mut client, "1.0.0").await;
    bench.install("counter", &variant_of(&bench.artifacts.fixture("curious"), 1));
    until_runs(&mut client, "3.0.0").await;
    assert!(!client.has_logged("waits for consent"));
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn what_is_not_granted_is_answered_so_at_the_call_and_what_is_granted_is_given() {
    let bench = Bench::new();
    let [link, meter] = ["line", "meter"].map(|name| bench.folder().join(name));
    let mut line = Terminal::create(&link);
    let _meter = Terminal::create(&meter);
    bench.install("counter", &bench.artifacts.fixture("counter"));
    bench.install("curious", &bench.artifacts.fixture("curious"));
    let probe = DeviceEntry::new("probe", "curious", &link);
    let meter = DeviceEntry::new("meter", "counter", &meter);
    bench.configure(&[probe.clone(), meter.clone()]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    client.until_member("/probe/attached", &json!(true)).await;
    client.until_member("/meter/attached", &json!(true)).await;
    let command = json!({"name": "reset"});
    let path = "/api/v1/devices/probe/commands";
    for (tried, answer) in [
        ("write main", "Ok(())"),
        // Ports: one that it wants and `plugins.toml` does not give, and one that there is for nobody.
        ("write aux", "Err(SerialError::NotGranted)"),
        ("write other", "Err(SerialError::NotGranted)"),
        // Slices: one that it wants and is not granted, one that it did not even ask for, and its own, which it has without reading.
        ("read meter", "Err(StateError::NotGranted)"),
        ("read logs", "Err(StateError::NotGranted)"),
        ("read probe", "Err(StateError::NotGranted)"),
    ] {
        line.send(format!("{tried}\n").as_bytes());
        let expected = format!("tried {tried}: {answer}");
        client
            .until(&expected, |client| client.has_logged(&expected).then_some(()))
            .await;
    }
    let refused = call(daemon.address(), "POST", path, "", Some(&command)).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (403, &json!("not-granted"))
    );
    // A limit that it asked for itself is one, below what there is.
    line.send(b"memory 16\n");
    client
        .until("the limit", |client| {
            client.has_logged("limit exceeded").then_some(())
        })
        .await;
    client
        .until_member("/devices/probe/status", &json!("running"))
        .await;

    let granted = DeviceEntry {
        more: "[devices.probe.grants]\nread-slices = [\"meter\"]\ndangerous-commands = [\"reset\"]\n"
            .to_owned(),
        ..probe
    };
    let before = client
        .member("/devices/probe/driver/generation")
        .and_then(Value::as_u64)
        .unwrap();
    bench.configure(&[granted, meter]);
    client
        .until("the driver with the new entry", |client| {
            let generation = client.member("/devices/probe/driver/generation")?.as_u64()?;
            (generation > before && client.member("/probe/attached") == Some(&json!(true))).then_some(())
        })
        .await;
    line.send(b"read meter\n");
    client
        .until("the slice", |client| {
            client.has_logged("tried read meter: Ok(\"read\")").then_some(())
        })
        .await;
    let taken = call(daemon.address(), "POST", path, "", Some(&command)).await;
    assert_eq!(taken.status, 202, "{:?}", taken.json());
    assert!(daemon.stop().success());
}
