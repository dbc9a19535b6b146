use autobench_core::outbox::{Channel, Next, Positions, View};
use autobench_core::state::Pointer;
use serde_json::{Value, json};
use test_support::payload;

use super::*;

fn store() -> Store {
    let members = json!({"version": 3, "meta": {"clients": 0}, "powerMeter": {"watts": 0}});
    let Value::Object(members) = members else {
        unreachable!()
    };
    Store::from_members(members).unwrap()
}

fn start(interval_ms: u64) -> StateHandle {
    let config = StateConfig {
        broadcast_interval: Duration::from_millis(interval_ms),
        ..StateConfig::new("00112233aabbccdd")
    };
    StateHandle::start(store(), config)
}

fn set_watts(state: &StateHandle, watts: u64) -> u64 {
    let at = Pointer::parse("/powerMeter/watts").unwrap();
    state
        .update(|store| store.set(&at, json!(watts)))
        .unwrap()
        .unwrap()
}

/// The patches from a place on, as JSON.
fn patches(state: &StateHandle, cursor: Cursor) -> Vec<Value> {
    let mut view = View::new();
    view.insert(Channel::State, state.view(cursor.segment, usize::MAX));
    let mut positions = Positions::new();
    positions.set(Channel::State, cursor);
    match view.next(&positions) {
        Next::UpToDate => Vec::new(),
        Next::Write(batch) => batch
            .slices()
            .iter()
            .map(|frame| serde_json::from_slice(&payload(frame)).unwrap())
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn apply(mirror: &mut Value, patch: &Value) {
    assert_eq!(
        patch["fromVersion"], mirror["version"],
        "patches follow one another"
    );
    let operations: json_patch::Patch = serde_json::from_value(patch["patch"].clone()).unwrap();
    json_patch::patch(mirror, &operations).unwrap();
}

async fn wait_for_segment(state: &StateHandle, number: u64) {
    let mut changes = state.changes();
    tokio::time::timeout(Duration::from_secs(10), changes.wait_for(|end| *end >= number))
        .await
        .expect("a flush within its deadline")
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_change_after_a_pause_goes_out_at_once_and_only_the_followers_wait() {
    let state = start(10);
    let begin = Instant::now();
    set_watts(&state, 1);
    wait_for_segment(&state, 1).await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    set_watts(&state, 2);
    set_watts(&state, 3);
    wait_for_segment(&state, 2).await;
    // tokio's clock ticks in whole milliseconds.
    assert!(
        (10..=11).contains(&begin.elapsed().as_millis()),
        "{:?}",
        begin.elapsed()
    );
    let patches = patches(
        &state,
        Cursor {
            segment: 0,
            covered: 3,
        },
    );
    let spans: Vec<_> = patches
        .iter()
        .map(|p| (p["fromVersion"].clone(), p["toVersion"].clone()))
        .collect();
    assert_eq!(spans, [(json!(3), json!(4)), (json!(4), json!(6))]);
    state.close().await;
}

#[tokio::test(start_paused = true)]
async fn with_an_interval_of_zero_each_change_is_a_frame() {
    let state = start(0);
    for watts in 1..=20 {
        set_watts(&state, watts);
    }
    assert_eq!(
        patches(
            &state,
            Cursor {
                segment: 0,
                covered: 3
            }
        )
        .len(),
        20
    );
    state.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_closes_the_pending_flush_and_the_stream_goes_on_from_it() {
    let state = start(1000);
    set_watts(&state, 1);
    wait_for_segment(&state, 1).await;
    set_watts(&state, 2);
    let snapshot = state.snapshot();
    assert_eq!(snapshot.version, 5);
    assert_eq!(
        snapshot.cursor,
        Cursor {
            segment: 2,
            covered: 5
        }
    );
    let again = state.snapshot();
    assert_eq!(
        again.frame.as_ptr(),
        snapshot.frame.as_ptr(),
        "one frame for everybody at a version"
    );
    set_watts(&state, 3);
    wait_for_segment(&state, 3).await;
    let mut mirror: Value = serde_json::from_slice(&snapshot.data).unwrap();
    for patch in patches(&state, snapshot.cursor) {
        apply(&mut mirror, &patch);
    }
    let now: Value = serde_json::from_slice(&state.snapshot().data).unwrap();
    assert_eq!(mirror, now);
    state.close().await;
}

/// Changes and clients in every order: who shares a snapshot and follows the stream from there has the document, and nobody costs a flush.
#[tokio::test(start_paused = true)]
async fn however_often_clients_ask_there_is_one_snapshot_between_two_flushes() {
    const INTERVAL_MS: u64 = 10;
    let state = start(INTERVAL_MS);
    let begin = Instant::now();
    let mut waiting = 0;
    let mut shared: Vec<Beginning> = Vec::new();
    let mut choices = 0x5eed_u64;
    for n in 1..=3000 {
        choices = choices.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        match choices >> 61 {
            // Spreads the calls over many flushes; what is counted holds however long they take.
            0 => tokio::time::sleep(Duration::from_millis(1)).await,
            1..=4 => {
                set_watts(&state, n);
            }
            _ => {
                let known = *state.changes().borrow();
                match state.beginning_unless_due() {
                    Some(beginning) => shared.push(beginning),
                    None => {
                        waiting += 1;
                        wait_for_segment(&state, known + 1).await;
                        let version = state.published();
                        let beginning = state.beginning_unless_due().unwrap();
                        assert_eq!(beginning.version, version, "it was made with that flush");
                        shared.push(beginning);
                    }
                }
            }
        }
    }
    let metrics = state.metrics();
    let (patches, snapshots) = (metrics.patches.get(), metrics.snapshots.get());
    let most = begin.elapsed().as_millis() as u64 / INTERVAL_MS + 1;
    assert!(
        waiting > 10 && shared.len() > 10 * waiting,
        "{waiting} of {}",
        shared.len()
    );
    assert!(
        patches <= most && snapshots <= patches + 1,
        "{patches} {snapshots} {most}"
    );
    state.close().await;
    let now: Value = serde_json::from_slice(&state.snapshot().data).unwrap();
    for beginning in shared.iter().step_by(7) {
        let message: Value = serde_json::from_slice(&payload(&beginning.frame)).unwrap();
        let mut mirror = message["data"].clone();
        assert_eq!(mirror["version"], beginning.version);
        for patch in self::patches(&state, beginning.cursor) {
            apply(&mut mirror, &patch);
        }
        assert_eq!(mirror, now);
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_that_changes_nothing_makes_no_frame() {
    let state = start(10);
    let at = Pointer::parse("/powerMeter/watts").unwrap();
    assert_eq!(state.update(|store| store.set(&at, json!(0))), Ok(None));
    state.close().await;
    assert_eq!(*state.changes().borrow(), 0);
}

#[tokio::test(start_paused = true)]
async fn more_than_a_flush_may_hold_goes_out_without_waiting() {
    let state = start(60_000);
    set_watts(&state, 1);
    wait_for_segment(&state, 1).await;
    let large = "x".repeat(100_000);
    for n in 0..5 {
        state
            .replace_slice(&format!("slice{n}"), json!({ "text": large }))
            .unwrap();
    }
    assert!(*state.changes().borrow() >= 2, "the pending flush is bounded");
    state.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_unsent_goes_out_with_the_next_change_and_at_the_latest_when_it_is_let_go() {
    let state = start(10);
    let snapshot = state.snapshot();
    let (begin, mut mirror) = (snapshot.cursor, serde_json::from_slice(&snapshot.data).unwrap());
    let at = Pointer::parse("/powerMeter/watts").unwrap();
    let set_unsent = |watts: u64| {
        let (set, unsent) = state.update_unsent(|store| store.set(&at, json!(watts)));
        set.unwrap();
        unsent
    };
    let unsent = set_unsent(1);
    assert!(patches(&state, begin).is_empty(), "nobody is told");
    drop(unsent);
    assert_eq!(patches(&state, begin).len(), 1);
    // Time is paused: nobody waits here, the clock jumps past the interval.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let unsent = set_unsent(2);
    set_watts(&state, 3);
    assert_eq!(patches(&state, begin).len(), 2, "with what followed it");
    drop(unsent);
    let sent = patches(&state, begin);
    assert_eq!(sent.len(), 2, "once");
    sent.iter().for_each(|patch| apply(&mut mirror, patch));
    assert_eq!(mirror["powerMeter"]["watts"], json!(3));
    state.close().await;
}

#[tokio::test(start_paused = true)]
async fn counters_run_together_once_per_interval_and_only_while_somebody_watches() {
    let state = start(10);
    let at = Pointer::parse("/meta/clients").unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    state.register_counters(move |store| {
        let run = counted.fetch_add(1, Ordering::Relaxed);
        // The value changes in the first two runs only.
        store.set(&at, json!(run.min(1))).unwrap();
    });
    // Time is paused: nobody waits here, the clock jumps.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(runs.load(Ordering::Relaxed), 0, "nobody watches");
    let watching = state.watch();
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    assert_eq!(runs.load(Ordering::Relaxed), 6);
    assert_eq!(*state.changes().borrow(), 1, "only what has changed is sent");
    drop(watching);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(runs.load(Ordering::Relaxed) <= 7);
    state.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_right_after_the_counters_goes_out_at_once() {
    let state = start(10);
    let at = Pointer::parse("/meta/clients").unwrap();
    let mut run = 0;
    state.register_counters(move |store| {
        run += 1;
        store.set(&at, json!(run)).unwrap();
    });
    let mut changes = state.changes();
    let _watching = state.watch();
    for _ in 0..3 {
        changes.changed().await.unwrap();
        let counted = tokio::time::Instant::now();
        set_watts(&state, 7);
        changes.changed().await.unwrap();
        assert_eq!(counted.elapsed(), Duration::ZERO);
        // The change has begun an interval, as any change does.
        set_watts(&state, 8);
        changes.changed().await.unwrap();
        assert_eq!(counted.elapsed(), Duration::from_millis(10));
    }
    state.close().await;
}

#[tokio::test]
async fn what_is_pending_at_the_end_is_still_published() {
    let state = start(60_000);
    set_watts(&state, 1);
    wait_for_segment(&state, 1).await;
    set_watts(&state, 2);
    state.close().await;
    assert_eq!(*state.changes().borrow(), 2);
}

/// Random writers against random snapshots: whoever takes a snapshot and follows the stream from there has the server's document.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_snapshot_with_its_stream_gives_the_document() {
    for interval_ms in [0, 1] {
        let state = start(interval_ms);
        let writer = {
            let state = state.clone();
            std::thread::spawn(move || {
                for n in 0..3_000_u64 {
                    set_watts(&state, n + 1);
                    if n % 7 == 0 {
                        let at = Pointer::parse("/powerMeter/history").unwrap();
                        let _ = state.update(|store| {
                            store
                                .append(&at, json!(n), 5)
                                .or_else(|_| store.set(&at, json!([n])))
                        });
                    }
                }
            })
        };
        let mut snapshots = Vec::new();
        while !writer.is_finished() {
            snapshots.push(state.snapshot());
            tokio::task::yield_now().await;
        }
        writer.join().unwrap();
        state.close().await;
        let now: Value = serde_json::from_slice(&state.snapshot().data).unwrap();
        let step = (snapshots.len() / 20).max(1);
        for snapshot in snapshots.iter().step_by(step) {
            let mut mirror: Value = serde_json::from_slice(&snapshot.data).unwrap();
            for patch in patches(&state, snapshot.cursor) {
                apply(&mut mirror, &patch);
            }
            assert_eq!(mirror, now);
        }
    }
}

#[tokio::test]
async fn an_observer_is_told_of_its_slices_until_it_goes_and_others_go_on() {
    for interval_ms in [0, 10] {
        let state = start(interval_ms);
        let told: Arc<Mutex<Vec<(char, String)>>> = Arc::default();
        let observer = |name: char| -> Observer {
            let told = Arc::clone(&told);
            Arc::new(move |slice: &str| told.lock().push((name, slice.to_owned())))
        };
        let slices = ["powerMeter".into(), "panel".into()];
        let both = state.observe(&slices, observer('a'));
        let one = state.observe(&slices[1..], observer('b'));
        set_watts(&state, 1);
        state.replace_slice("panel", json!({})).unwrap();
        let take = || {
            let told = std::mem::take(&mut *told.lock());
            told.into_iter()
                .map(|(name, slice)| format!("{name}:{slice}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(take(), ["a:powerMeter", "a:panel", "b:panel"]);
        drop(both);
        set_watts(&state, 2);
        state.remove_member("panel").unwrap();
        assert_eq!(take(), ["b:panel"]);
        drop(one);
        state.replace_slice("panel", json!({})).unwrap();
        assert_eq!(take(), [""; 0]);
    }
}
