//! What a person decides about versions: `autobench plugin list`, `reload` and `rollback`.
//!
//! Covered: going back takes the good version before, by a swap, and what was gone back from stays away, over a restart of the daemon too, until it
//! is reloaded or saved again; a reload leaves quarantine, and offers what was refused only when it is forced; each is in the audit with who did it.
#![expect(
    clippy::indexing_slicing,
    reason = "helpers of a story: what is missing fails it"
)]

use e2e::{Bench, Client, Daemon, DeviceEntry, Probe, Terminal, eventually, get};
use serde_json::{Value, json};

/// What sets the fixtures' mischief off.
const TRIGGER: u8 = 0x07;

/// Waits until what runs has lived for long enough to be gone back to.
async fn until_good(bench: &Bench, client: &Client) {
    let runs = client.member("/devices/probe/driver/sha256").cloned();
    let record = bench.folder().join("data/versions/probe.json");
    eventually("the record of a good version", async || {
        let record: Value = serde_json::from_slice(&std::fs::read(&record).ok()?).ok()?;
        (record["good"].get(0) == runs.as_ref()).then_some(())
    })
    .await;
}

/// What came of an order: the exit code, and the one line that says it.
async fn order(bench: &Bench, daemon: &Daemon, arguments: &[&str]) -> (Option<i32>, Value) {
    let ran = bench.ask(daemon, &[&["plugin"], arguments].concat()).await;
    let lines = ran.lines();
    assert_eq!(lines.len(), 1, "{ran:?}");
    (ran.code, lines[0].clone())
}

#[tokio::test]
async fn who_goes_back_stays_there_until_the_newer_version_is_wished_for() {
    let bench = Bench::new();
    let link = bench.folder().join("line");
    let mut line = Terminal::create(&link);
    bench.install("counter", &bench.artifacts.fixture("counter"));
    bench.configure(&[DeviceEntry::new("probe", "counter", &link)]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    client.until_member("/probe/attached", &json!(true)).await;
    let first = client.member("/devices/probe/driver/sha256").cloned().unwrap();
    let (code, refused) = order(&bench, &daemon, &["rollback", "probe"]).await;
    assert_eq!(code, Some(1), "{refused}");
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("no earlier version"),
        "{refused}"
    );
    until_good(&bench, &client).await;
    line.send(b"12\n");
    client.until_member("/probe/bytes", &json!(3)).await;
    bench.install("counter", &bench.artifacts.fixture("counter-next"));
    client
        .until_member("/devices/probe/driver/version", &json!("2.0.0"))
        .await;
    let second = client.member("/devices/probe/driver/sha256").cloned().unwrap();

    let listed = bench.ask(&daemon, &["plugin", "list"]).await;
    let [plugin] = &listed.lines()[..] else {
        panic!("{listed:?}")
    };
    assert_eq!(plugin["plugin"], "counter");
    assert_eq!(plugin["status"], "bound");
    assert_eq!(
        (&plugin["sha256"], &plugin["version"]),
        (&second, &json!("2.0.0"))
    );
    let device = &plugin["devices"][0];
    assert_eq!(
        (&device["device"], &device["status"]),
        (&json!("probe"), &json!("running"))
    );
    assert_eq!(device["lastReload"]["verdict"], "swapped");
    assert_eq!(
        Some(&device["generation"]),
        client.member("/devices/probe/driver/generation")
    );

    let (code, back) = order(&bench, &daemon, &["rollback", "probe"]).await;
    assert_eq!((code, &back["verdict"]), (Some(0), &json!("swapped")), "{back}");
    assert_eq!(
        (&back["from"], &back["to"], &back["version"]),
        (&second, &first, &json!("1.0.0"))
    );
    // It goes on from the newer one's snapshot: nothing is lost.
    line.send(b"3\n");
    client.until_member("/probe/bytes", &json!(5)).await;
    assert_eq!(client.member("/plugins/counter/status"), Some(&json!("refused")));
    assert_eq!(client.member("/plugins/counter/sha256"), Some(&second));
    assert_ne!(
        client.member("/plugins/counter/version"),
        Some(&json!("1.0.0")),
        "that is the version of another hash"
    );
    assert!(daemon.stop().success());

    // The newer file lies in the folder still.
    let daemon = bench.start();
    let mut client = daemon.client().await;
    client
        .until_member("/devices/probe/status", &json!("running"))
        .await;
    assert_eq!(client.member("/devices/probe/driver/sha256"), Some(&first));
    let reason = client
        .member("/plugins/counter/reason")
        .and_then(Value::as_str)
        .unwrap();
    assert!(reason.contains("somebody went back from it"), "{reason}");

    let (code, again) = order(&bench, &daemon, &["reload", "probe"]).await;
    assert_eq!(
        (code, &again["verdict"], &again["to"]),
        (Some(0), &json!("swapped"), &second),
        "{again}"
    );
    let (code, same) = order(&bench, &daemon, &["reload", "counter"]).await;
    assert_eq!(
        (code, &same["verdict"], &same["to"]),
        (Some(0), &json!("unchanged"), &second),
        "{same}"
    );
    let (code, back) = order(&bench, &daemon, &["rollback", "probe"]).await;
    assert_eq!((code, &back["to"]), (Some(0), &first), "{back}");
    // A save is a wish, also of what was there before.
    bench.install("counter", &bench.artifacts.fixture("counter-next"));
    client.until_member("/devices/probe/driver/sha256", &second).await;
    let audit = std::fs::read_to_string(bench.folder().join("data/audit.jsonl")).unwrap();
    for action in [
        "probe/rollback: to the good version before: probe swapped",
        "probe/reload: not forced: probe swapped",
    ] {
        let line = audit
            .lines()
            .find(|line| line.contains(action))
            .unwrap_or_else(|| panic!("no {action} in {audit}"));
        assert!(line.contains("\"local\""), "{line}");
    }
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_reload_leaves_quarantine_and_offers_what_was_refused_only_when_forced() {
    let Probe {
        bench,
        mut line,
        daemon,
        mut client,
    } = Probe::start("trap-on-byte").await;
    let at = |client: &Client| client.member("/devices/probe/driver/lastReload/at").cloned();
    bench.install("trap-on-byte", &bench.artifacts.fixture("refuses"));
    client
        .until_member("/devices/probe/driver/lastReload/verdict", &json!("refused"))
        .await;
    let refused_at = at(&client);
    let (code, outcome) = order(&bench, &daemon, &["reload", "probe"]).await;
    assert_eq!(
        (code, &outcome["verdict"]),
        (Some(1), &json!("refused")),
        "{outcome}"
    );
    assert!(
        outcome["reason"]
            .as_str()
            .unwrap()
            .contains("this driver never starts"),
        "{outcome}"
    );
    assert_eq!(at(&client), refused_at, "it was not offered again");
    let (code, outcome) = order(&bench, &daemon, &["reload", "probe", "--force"]).await;
    assert_eq!(
        (code, &outcome["verdict"]),
        (Some(1), &json!("refused")),
        "{outcome}"
    );
    client
        .until("another refusal", |client| {
            (at(client) != refused_at).then_some(())
        })
        .await;

    // What runs breaks down until it is given up, with the refused file still there.
    for skipped in ["bytes 0 to 1", "bytes 1 to 2"] {
        line.send(&[TRIGGER]);
        client
            .until(skipped, |client| client.has_logged(skipped).then_some(()))
            .await;
    }
    line.send(&[TRIGGER]);
    client
        .until_member("/devices/probe/status", &json!("quarantined"))
        .await;
    // The counters follow within a second.
    client
        .until_member("/devices/probe/driver/health/traps", &json!(5))
        .await;
    let error = client.member("/devices/probe/driver/health/lastError").cloned();
    assert!(error.is_some_and(|error| error.to_string().contains("trap in `handle`")));
    let scraped = get(daemon.address(), "/metrics").await;
    let scraped = String::from_utf8_lossy(&scraped.body).into_owned();
    for line in [
        r#"autobench_driver_traps_total{device="probe",plugin="trap-on-byte"} 5"#,
        r#"autobench_driver_call_duration_seconds_count{device="probe",plugin="trap-on-byte"}"#,
    ] {
        assert!(scraped.contains(line), "no {line} in {scraped}");
    }
    let (code, outcome) = order(&bench, &daemon, &["reload", "probe"]).await;
    assert_eq!(
        (code, &outcome["verdict"]),
        (Some(1), &json!("refused")),
        "{outcome}"
    );
    client
        .until_member("/devices/probe/status", &json!("running"))
        .await;

    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    client
        .until_member("/plugins/power-meter/status", &json!("unbound"))
        .await;
    let (code, outcome) = order(&bench, &daemon, &["reload", "power-meter"]).await;
    assert_eq!(
        (code, &outcome["verdict"]),
        (Some(0), &json!("unbound")),
        "{outcome}"
    );
    let (code, outcome) = order(&bench, &daemon, &["reload", "nobody"]).await;
    assert_eq!((code, &outcome["event"]), (Some(1), &json!("error")), "{outcome}");
    assert!(daemon.stop().success());
}
