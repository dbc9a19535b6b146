//! Two hundred clients that read, stall, vanish, come back, ask again, switch channels off and on, and change the state, each as its seed has it:
//! at every version that a mirror reaches, its document equals the daemon's, by the hash of its canonical form (RFC 8785). A third of them has its
//! messages compressed, a third follows a part of the log, and the daemon keeps so little that whoever stalls on a narrow line falls behind.
//!
//! Of the log each follower accounts for every number: it is an entry, the same for everybody, or it is said to be missed, or the filter keeps it out.
//!
//! What the daemon's document is at a version, a witness knows: one connection that does nothing but follow, with an RFC 6902 library. Changes
//! reach all clients in the same flushes, so whatever version a mirror is at, the witness was at it too. The witness itself is compared with what
//! `/api/v1/state` says, again and again.
//!
//! One minute; ten minutes with `AUTOBENCH_LONG=1`. `AUTOBENCH_SEED=n` repeats what the clients do, though not the moments at which they do.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of a story: what is missing fails it"
)]

mod follower;
mod ledger;
mod lives;
mod log_place;
mod mirror;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::{Bench, DeviceEntry, PATIENCE, Random, Sim, get, given_seed, is_long, new_seed};
use serde_json::json;
use tokio::time::Instant;

use follower::{Follower, Heard};
use ledger::Shared;
use lives::{flood, live, post_entries};
use mirror::Mirror;

const CLIENTS: u64 = 200;
/// Rows per second of the meter: each changes the state.
const METER_SPEED: f64 = 10.0;

/// What the daemon keeps of a channel, and of the log: little, so that a client falls behind within a second or two.
const RING_KIB: usize = 64;
const LOG_ENTRIES: usize = 200;

/// The route that gives the document, and who it is in the ledger.
const STATE_ROUTE: &str = "/api/v1/state";
const WITNESS: &str = "the witness";

/// Follows until it is told how far.
async fn witness(mut follower: Follower, mut until: tokio::sync::watch::Receiver<Option<u64>>) -> Follower {
    loop {
        let version = follower.mirror.as_ref().map_or(0, |mirror| mirror.version);
        if until.borrow().is_some_and(|until| version >= until) {
            return follower;
        }
        tokio::select! {
            heard = follower.hear() => assert!(matches!(heard, Heard::Message), "the witness was closed"),
            _ = until.changed() => {}
        }
    }
}

/// What the route says, as one more claim; gives the version.
async fn ask(address: &str, ledger: &Shared) -> u64 {
    let response = get(address, STATE_ROUTE).await;
    assert_eq!(response.status, 200);
    let document = response.json();
    let version = document["version"].as_u64().expect("a version");
    let tag = response.header("etag").expect("a tag");
    assert!(
        tag.ends_with(&format!("-{version}\"")),
        "{tag} for version {version}"
    );
    let mut mirror = Mirror::default();
    mirror.replace(version, document);
    let mut ledger = ledger.lock().unwrap();
    ledger.count("asked /api/v1/state");
    ledger.came(STATE_ROUTE);
    ledger.compare(version, mirror.hash(), STATE_ROUTE.to_owned());
    version
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_restless_clients_have_the_daemons_document_at_every_version() {
    let duration = Duration::from_secs(if is_long() { 600 } else { 60 });
    let seed = given_seed().unwrap_or_else(new_seed);
    println!("seed {seed}");

    let bench = Bench::new();
    let sim = Sim::start(&bench.artifacts, bench.folder(), METER_SPEED, seed, "none");
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    bench.configure_with(
        &format!("[daemon.limits]\nclients = 300\nmessages-per-second = 100\nring-kib = {RING_KIB}"),
        &[DeviceEntry::meter(sim.link())],
    );
    let daemon = bench.start_with(&[("CLIENT_LOGS_TO_KEEP", &LOG_ENTRIES.to_string())]);
    let address = daemon.address().to_owned();
    let mut meter = daemon.client().await;
    meter.until_member("/powerMeter/phase", &json!("streaming")).await;
    let series = meter.endpoint("meter", "watts");
    drop(meter);

    let ledger = Shared::default();
    let (tell, until) = tokio::sync::watch::channel(None);
    let mut follower = Follower::new(WITNESS.to_owned(), &ledger, true);
    follower.connect(&address, None).await;
    // The witness is there before anybody else is.
    while follower.mirror.is_none() {
        assert!(
            matches!(follower.hear().await, Heard::Message),
            "the witness was closed"
        );
    }
    let witness = tokio::spawn(witness(follower, until));

    let stop = Arc::new(AtomicBool::new(false));
    let lives: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let life = live(
                number,
                seed,
                address.clone(),
                series,
                Arc::clone(&ledger),
                Arc::clone(&stop),
            );
            tokio::spawn(life)
        })
        .collect();
    let flood = tokio::spawn(flood(address.clone(), seed, Arc::clone(&stop)));
    let mut random = Random::new(seed ^ 0x106);
    let end = Instant::now() + duration;
    while Instant::now() < end {
        // How often the daemon is asked beside; the clients go on meanwhile.
        tokio::time::sleep(Duration::from_millis(700)).await;
        ask(&address, &ledger).await;
        post_entries(&address, &mut random).await;
        assert!(!flood.is_finished(), "the flood has ended");
        assert!(!witness.is_finished(), "the witness has ended");
        assert!(lives.iter().all(|life| !life.is_finished()), "a client has ended");
    }
    stop.store(true, Ordering::Release);
    for life in lives {
        life.await.expect("a client's life ends well");
    }
    flood.await.expect("the flood ends well");
    let last = ask(&address, &ledger).await;
    tell.send(Some(last)).expect("the witness listens");
    let witness = tokio::time::timeout(PATIENCE, witness).await;
    let witness = witness
        .expect("the witness gets there")
        .expect("the witness ends well");

    let mut ledger = ledger.lock().unwrap();
    ledger.settle();
    let kept_out = ledger.settle_log();
    let checked: u64 = ledger.checked.values().sum();
    let counts = &ledger.counts;
    println!(
        "{CLIENTS} clients for {duration:?}: {checked} documents equal the witness's, at {} versions ({} patches); {counts:?}",
        ledger.known.len(),
        witness.mirror.map_or(0, |mirror| mirror.patches),
    );
    println!(
        "the log: {} entries, {kept_out} that a filter kept out",
        ledger.entries.len()
    );
    assert!(kept_out > 0, "no filter kept anything out");
    for what in [
        "lag snapshots",
        "told missed",
        "told of missed log entries",
        "compressed messages",
        "log entries",
        "asked for the log again",
        "changed",
        "stalled",
        "resynced",
        "switched the state",
        "vanished",
        "said goodbye",
        "resumed",
    ] {
        assert!(counts.contains_key(what), "nobody {what}");
    }
    let mut came = ledger.came.clone();
    let witnessed = came.remove(WITNESS);
    assert_eq!(
        witnessed,
        Some(ledger.known.len() as u64),
        "each state that came to the witness is one to compare with"
    );
    assert_eq!(
        ledger.checked, came,
        "each state that came to a client, and each that the route gave, is compared"
    );
    assert_eq!(
        came.len() as u64,
        CLIENTS + 1,
        "all clients and the route have states"
    );
}
