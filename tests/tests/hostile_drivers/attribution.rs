//! A breakdown is told with the line of the source, and the driver's memory is kept: both where they are asked for, and else neither.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use e2e::{Bench, Client, Daemon, eventually};
use serde_json::{Value, json};

use super::guest::{Body, Guest};

const SECRET: &str = "what a driver remembers is nobody's business";

/// A driver with names and lines that breaks down a millisecond after each start.
fn guest() -> Vec<u8> {
    let mut guest = Guest::new("probe");
    guest.text(SECRET);
    guest.line = Some(("/build/drivers/probe/src/lib.rs", 42));
    let body: Body = Box::new(|sink| {
        sink.unreachable();
    });
    guest.handle = Some(body);
    guest.module()
}

async fn broken_down(daemon: &str) -> (Bench, Daemon, Client, Value) {
    let bench = Bench::new();
    bench.install("probe", &guest());
    bench.configure_with(&format!("{daemon}\n[devices.probe]\nplugin = \"probe\""), &[]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    let fault = client
        .until("a fault", |client| {
            client.member("/devices/probe/driver/lastFault").cloned()
        })
        .await;
    assert_eq!(fault["code"], "trap");
    assert_eq!(fault["export"], "handle");
    assert_eq!(fault["function"], "mischief");
    (bench, daemon, client, fault)
}

#[tokio::test]
async fn by_default_a_breakdown_leaves_no_memory_behind_and_names_the_function() {
    let (bench, _daemon, _client, fault) = broken_down("").await;
    assert_eq!((fault.get("source"), fault.get("coreDump")), (None, None));
    assert!(!bench.folder().join("data/dumps").exists());
}

#[tokio::test]
async fn asked_for_a_breakdown_names_the_line_and_leaves_the_memory_to_the_owner() {
    let (bench, daemon, mut client, fault) = broken_down("debug-info = true\ncore-dumps = true").await;
    assert_eq!(fault["source"], "probe/src/lib.rs:42");
    assert!(
        fault["message"]
            .as_str()
            .unwrap()
            .contains("(probe/src/lib.rs:42)"),
        "{fault}"
    );
    let name = fault["coreDump"].as_str().expect("a dump").to_owned();
    let hash = &fault["sha256"].as_str().unwrap()[..12];
    assert!(name.starts_with(&format!("probe-{hash}-")), "{name}");
    client
        .until("the dump's name in the log", |client| {
            client.has_logged(&name).then_some(())
        })
        .await;
    let folder = bench.folder().join("data/dumps");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join(&name)), 0o600);
    let dump = std::fs::read(folder.join(&name)).unwrap();
    assert!(dump.starts_with(b"\0asm"));
    for part in [SECRET, "corestack"] {
        let is_there = dump.windows(part.len()).any(|window| window == part.as_bytes());
        assert!(is_there, "{part} is not in the dump");
    }
    // The state and the log have its name and nothing of what is in it.
    assert!(!client.mirror.document.to_string().contains(SECRET));
    // What a daemon without debug information has compiled is not what this one needs, and the other way round.
    let compiled = || {
        std::fs::read_dir(bench.folder().join("data/code"))
            .unwrap()
            .count()
    };
    let before = compiled();
    assert!(daemon.stop().success());
    bench.configure_with("[devices.probe]\nplugin = \"probe\"", &[]);
    let daemon = bench.start();
    eventually("a fault without a line", async || {
        let fault = daemon.member("/devices/probe/driver/lastFault").await?;
        assert_eq!(fault.get("source"), None);
        Some(())
    })
    .await;
    assert_eq!(compiled(), before + 1);
    assert_eq!(
        daemon.member("/devices/probe/driver/lastFault/function").await,
        Some(json!("mischief"))
    );
}
