//! A client that was away for a moment: it goes on where it was, or is told that it cannot, and lacks nothing either way.

use std::collections::BTreeSet;

use autobench_core::state::Pointer;
use autobench_core::wire::canonical;
use autobench_sim::random::Random;
use serde_json::{Value, json};

use crate::bench::{BOOT_ID, Bench, Client, Settings, apply};

/// What a page keeps over an absence.
struct Mirror {
    document: Value,
    log_seq: u64,
    /// Log entries that it has, and those that it was told it missed.
    logs: BTreeSet<u64>,
    missed: BTreeSet<u64>,
    snapshots: usize,
    /// Until the first history of a connection that was not resumed: it is the newest entries, whatever the client has.
    begins_anew: bool,
}

impl Mirror {
    fn new() -> Self {
        Self {
            document: json!({"version": 0}),
            log_seq: 0,
            logs: BTreeSet::new(),
            missed: BTreeSet::new(),
            snapshots: 0,
            begins_anew: true,
        }
    }

    fn version(&self) -> u64 {
        self.document["version"].as_u64().unwrap()
    }

    fn resume(&self) -> String {
        format!("{BOOT_ID}.{}.{}", self.version(), self.log_seq)
    }

    fn take(&mut self, message: &Value) {
        match message["type"].as_str().unwrap() {
            "state.snapshot" => {
                self.document = message["data"].clone();
                self.snapshots += 1;
            }
            "state.patch" => apply(&mut self.document, message),
            "logs.history" | "logs.append" => {
                let bound = |value: &Value, name: &str| value[name].as_u64().unwrap();
                let (from, to) = (bound(message, "fromSeq"), bound(message, "toSeq"));
                if !std::mem::take(&mut self.begins_anew) {
                    assert_eq!(from, self.log_seq + 1, "skipped or doubled: {message}");
                } else if self.log_seq > 0 {
                    self.missed.extend(self.log_seq + 1..from);
                }
                for entry in message["entries"].as_array().unwrap() {
                    let seq = bound(entry, "seq");
                    assert!(self.logs.insert(seq) || seq <= self.log_seq, "doubled: {entry}");
                }
                if let Some(missed) = message.get("missed") {
                    self.missed
                        .extend(bound(missed, "fromSeq")..=bound(missed, "toSeq"));
                }
                self.log_seq = to;
            }
            other => panic!("{other} was not asked for: {message}"),
        }
    }

    /// Takes messages until it is where the bench is now, and compares.
    async fn catch_up(&mut self, bench: &Bench, client: &mut Client) {
        let snapshot = bench.state.snapshot();
        let newest = bench.logs.metadata().next_seq - 1;
        while self.version() < snapshot.version || self.log_seq < newest {
            let before = self.version();
            self.take(&client.next().await);
            assert!(
                before >= snapshot.version || self.version() <= snapshot.version,
                "a snapshot's version is where a patch ends"
            );
            if self.version() == snapshot.version {
                let server: Value = serde_json::from_slice(&snapshot.data).unwrap();
                assert_eq!(canonical(&self.document), canonical(&server));
            }
        }
    }
}

async fn first_messages(client: &mut Client, mirror: &mut Mirror) -> bool {
    let welcome = client.expect("welcome").await;
    let before = mirror.snapshots;
    let resumed = welcome["resumed"].as_bool().unwrap();
    mirror.begins_anew = !resumed;
    if !resumed {
        mirror.take(&client.expect("state.snapshot").await);
        assert_eq!(mirror.snapshots, before + 1);
    }
    resumed
}

#[tokio::test]
async fn who_was_away_for_a_moment_gets_the_missing_patches_and_entries_and_no_snapshot() {
    let bench = Bench::start().await;
    let mut mirror = Mirror::new();
    bench.log("before");
    let mut client = bench.connect().await;
    assert!(!first_messages(&mut client, &mut mirror).await);
    bench.set_watts(1);
    mirror.catch_up(&bench, &mut client).await;
    drop(client);
    for watts in 2..20 {
        bench.set_watts(watts);
        bench.log("away");
    }
    let mut client = bench.come_back(&mirror.resume()).await;
    assert!(first_messages(&mut client, &mut mirror).await);
    mirror.catch_up(&bench, &mut client).await;
    assert_eq!(mirror.document["powerMeter"]["lastSample"]["watts"], 19);
    assert_eq!((mirror.snapshots, mirror.missed.len()), (1, 0));
    assert_eq!(mirror.logs.len() as u64, mirror.log_seq);
    bench.close().await;
}

#[tokio::test]
async fn what_is_no_place_to_go_on_is_no_error_and_gives_a_snapshot() {
    let bench = Bench::start().await;
    bench.set_watts(1);
    let version = bench.state.snapshot().version;
    for resume in [
        "nonsense".to_owned(),
        String::new(),
        format!("ffffffffffffffff.{version}.0"),
        format!("{BOOT_ID}.{}.0", version + 50),
        format!("{BOOT_ID}.{version}.9999"),
        format!("{BOOT_ID}.{version}"),
        format!("{BOOT_ID}.{version}.0&resume=again"),
    ] {
        let mut client = bench.come_back(&resume).await;
        let is_good = resume.ends_with("again");
        assert_eq!(client.expect("welcome").await["resumed"], is_good, "{resume}");
        if !is_good {
            client.expect("state.snapshot").await;
        }
        client.expect("logs.history").await;
    }
    bench.close().await;
}

#[tokio::test]
async fn who_was_away_for_too_long_gets_a_snapshot() {
    let bench = Bench::with(Settings {
        state_ring_bytes: 2_000,
        ..Settings::default()
    })
    .await;
    let mut mirror = Mirror::new();
    let mut client = bench.connect().await;
    first_messages(&mut client, &mut mirror).await;
    mirror.catch_up(&bench, &mut client).await;
    drop(client);
    for watts in 1..100 {
        bench.set_watts(watts);
        bench.state.snapshot();
    }
    let mut client = bench.come_back(&mirror.resume()).await;
    assert!(!first_messages(&mut client, &mut mirror).await);
    mirror.catch_up(&bench, &mut client).await;
    bench.close().await;
}

#[tokio::test]
async fn over_random_absences_a_mirror_lacks_nothing_and_gets_nothing_twice() {
    let is_long = std::env::var_os("AUTOBENCH_LONG").is_some();
    let seed: u64 = if is_long { u64::from(std::process::id()) } else { 3 };
    let rounds = if is_long { 3_000 } else { 120 };
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let bench = Bench::with(Settings {
        state_ring_bytes: 6_000,
        log_capacity: 40,
        ..Settings::default()
    })
    .await;
    bench.log("first");
    let mut mirror = Mirror::new();
    let (mut resumed, mut snapshots) = (0, 0);
    for round in 0..rounds {
        let mut client = if round == 0 {
            bench.connect().await
        } else {
            bench.come_back(&mirror.resume()).await
        };
        if first_messages(&mut client, &mut mirror).await {
            resumed += 1;
        } else {
            snapshots += 1;
        }
        for _ in 0..random.below(4) {
            mutate(&bench, &mut random);
            mirror.catch_up(&bench, &mut client).await;
        }
        drop(client);
        let changes = if random.below(7) == 0 {
            80
        } else {
            random.below(12)
        };
        for _ in 0..changes {
            mutate(&bench, &mut random);
            // A snapshot for somebody else ends a flush.
            if random.below(2) == 0 {
                bench.state.snapshot();
            }
        }
    }
    println!("{resumed} resumed, {snapshots} snapshots");
    assert!(resumed > rounds / 4 && snapshots > 3, "{resumed} and {snapshots}");
    let mut client = bench.come_back(&mirror.resume()).await;
    first_messages(&mut client, &mut mirror).await;
    mirror.catch_up(&bench, &mut client).await;
    // Every entry since the first history was seen once, or named as missed.
    let first = *mirror.logs.first().unwrap();
    let known: BTreeSet<u64> = mirror.logs.union(&mirror.missed).copied().collect();
    assert!((first..=mirror.log_seq).all(|seq| known.contains(&seq)));
    assert!(mirror.logs.is_disjoint(&mirror.missed));
    bench.close().await;
}

fn mutate(bench: &Bench, random: &mut Random) {
    match random.below(5) {
        0 => {
            bench.log("m");
        }
        1 => {
            let at = Pointer::parse("/powerMeter/history").unwrap();
            let values: Vec<usize> = (0..random.below(6)).map(|_| random.below(100)).collect();
            bench
                .state
                .update(|store| store.replace(&at, json!(values)))
                .unwrap();
        }
        2 => {
            let name = format!("slice{}", random.below(3));
            bench
                .state
                .replace_slice(&name, json!({"a": random.below(9)}))
                .unwrap();
        }
        3 => {
            bench
                .state
                .remove_member(&format!("slice{}", random.below(3)))
                .unwrap();
        }
        _ => {
            let at = Pointer::parse("/powerMeter/lastSample/watts").unwrap();
            let watts = json!(random.below(1_000));
            bench.state.update(|store| store.set(&at, watts)).unwrap();
        }
    }
}
