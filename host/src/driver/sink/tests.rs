use std::time::Instant;

use autobench_core::driver::versions::VersionHash;
use autobench_core::driver::{AlarmChange, LeaseId, PortIndex, Severity, StartReason};
use autobench_core::state::Store;
use autobench_core::wire::{AppState, DeviceStatus};
use serde_json::json;

use super::super::host_state::LOG_LINES_PER_CALL;
use super::super::record::tests::probe;
use super::log_budget::LOG_LINES_BURST;
use super::*;
use crate::clock::now_iso;
use crate::commands::Commands;
use crate::config::LogConfig;
use crate::hub::HubConfig;
use crate::state::StateConfig;

struct Bench {
    sink: DeviceSink,
    _commands: Commands,
    _folder: tempfile::TempDir,
}

/// A device with two series, and a port that is away.
fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(&AppState::default()).unwrap();
    let state = StateHandle::start(store, StateConfig::new("boot"));
    let logs = LogHandle::new(LogConfig::silent(10));
    let hub = Hub::start(HubConfig::default(), state.clone(), logs.clone());
    let clock = Clock::start();
    let commands = Commands::start(folder.path(), "boot", clock, logs.clone(), hub.clone()).unwrap();
    let device: Arc<str> = "probe".into();
    let record = DeviceRecord::publish(state.clone(), "probe", probe());
    let sink = DeviceSink {
        slice: Arc::clone(&device),
        state,
        health: Arc::clone(record.health()),
        record,
        hub,
        logs,
        alarms: Alarms::new(Arc::clone(&device)),
        former_alarms: None,
        commands: commands.router().of_device(&device),
        ports: Arc::new([PortControl::new("main".into()).unwrap()]),
        leases: LeaseJournal::open(folder.path(), "probe", Vec::new()).0,
        endpoints: vec![1, 2],
        version: Version {
            hash: VersionHash([1; 32]),
            name: "1.0.0".into(),
        },
        lives: Lives::default(),
        clock,
        first_generation: 0,
        dumps: folder.path().join("dumps"),
        withholding: Arc::default(),
        batches: Vec::new(),
        inbox: SharedInbox::new([]),
        observing: None,
        unsent: None,
        tap: None,
        log_budget: LogBudget::new(Instant::now()),
        device,
    };
    Bench {
        sink,
        _commands: commands,
        _folder: folder,
    }
}

fn samples(count: usize) -> Effects {
    let sample = Sample {
        timestamp_ms: 0.0,
        value: 1.0,
    };
    Effects {
        samples: vec![(1, sample); count],
        ..Effects::default()
    }
}

#[tokio::test]
async fn a_thread_that_ends_undoes_what_is_held() {
    let mut bench = bench();
    let sink = &mut bench.sink;
    let lease = Lease {
        number: 1,
        id: LeaseId(1),
        port: PortIndex(0),
        release: (*b"up").into(),
        ends_ns: 0,
        holder: None,
    };
    sink.leases_opened(&[(lease, None)]);
    assert_eq!(sink.ports[0].waiting_undos(), 0);
    sink.thread_ended();
    assert_eq!(sink.ports[0].waiting_undos(), 1);
}

#[tokio::test]
async fn a_thread_that_ends_leaves_neither_a_phase_nor_an_alarm_and_is_told() {
    let mut bench = bench();
    let sink = &mut bench.sink;
    let mut effects = Effects::default();
    effects.status.push(StatusChange::Phase("streaming".into()));
    effects.alarms.push(AlarmChange::Raise {
        key: "hot".into(),
        severity: Severity::Warning,
        message: "it is hot".into(),
    });
    sink.apply_to_state(&mut effects).unwrap();
    assert_eq!(
        sink.record.read(|entry| entry.phase.clone()),
        Some("streaming".into())
    );
    sink.thread_ended();
    let (status, phase) = sink.record.read(|entry| (entry.status, entry.phase.clone()));
    assert_eq!((status, phase), (DeviceStatus::Stopped, None));
    assert!(sink.alarms.names().is_empty());
    assert!(sink.lives.changed().await.remove("probe").unwrap().has_ended);
}

#[tokio::test]
async fn a_driver_that_takes_over_is_live_in_the_version_that_has_its_slice() {
    let mut bench = bench();
    let sink = &mut bench.sink;
    sink.record.change(|entry| {
        entry.status = DeviceStatus::Restarting;
        entry.stale_since = Some(now_iso());
    });
    let version = sink.state.version();
    let mut effects = Effects::default();
    effects.status.push(StatusChange::Phase("starting".into()));
    effects.status.push(StatusChange::Phase("streaming".into()));
    sink.take_over(json!({"rows": 1}), &mut effects, 2).unwrap();
    let commit = Commit {
        cause: Cause::Start {
            reason: StartReason::Swap,
            from_snapshot: true,
            forgets_commands: false,
        },
        time: sink.clock.now(),
        generation: 2,
    };
    sink.commit(&mut effects, commit).unwrap();
    sink.life(LifeChange::Started {
        reason: StartReason::Swap,
        generation: 2,
        replayed_bytes: 0,
        lost_bytes: 0,
        from_snapshot: true,
    });
    assert_eq!(sink.state.version(), version + 1, "one version for all of it");
    let document: serde_json::Value = serde_json::from_slice(&sink.state.snapshot().data).unwrap();
    assert_eq!(document.pointer("/probe/rows"), Some(&json!(1)));
    assert_eq!(document.pointer("/devices/probe/status"), Some(&json!("running")));
    assert_eq!(
        document.pointer("/devices/probe/phase"),
        Some(&json!("streaming"))
    );
    assert_eq!(document.pointer("/devices/probe/staleSince"), None);
}

#[tokio::test]
async fn a_slice_that_is_refused_leaves_the_entry_of_the_driver_that_goes_on() {
    let mut bench = bench();
    let sink = &mut bench.sink;
    sink.state.update(|store| store.set_limit("probe", 64));
    sink.record.change(|entry| entry.phase = Some("streaming".into()));
    let version = sink.state.version();
    let mut effects = Effects::default();
    effects.status.push(StatusChange::Phase("late".into()));
    let refused = sink.take_over(json!({"text": "x".repeat(100)}), &mut effects, 2);
    assert!(refused.unwrap_err().0.contains("64"), "the size limit is named");
    // Whatever is published next does not carry it.
    sink.record.change(|_| ());
    assert_eq!(sink.state.version(), version);
    assert_eq!(
        sink.record.read(|entry| entry.phase.clone()),
        Some("streaming".into())
    );
}

#[tokio::test]
async fn a_driver_that_logs_without_end_leaves_room_for_others_and_is_counted() {
    let mut bench = bench();
    let sink = &mut bench.sink;
    let line = LogLine {
        level: LogLevel::Info,
        message: "again".to_owned(),
        attributes: Vec::new(),
    };
    let per_call = LOG_LINES_PER_CALL;
    let calls = 2 * LOG_LINES_BURST as usize / per_call;
    for _ in 0..calls {
        sink.append_lines(&mut vec![line.clone(); per_call], 10, None);
    }
    let left_out = sink.health.log_lines_left_out.get();
    let written = (calls * (per_call + 10)) as u64 - left_out;
    assert!(
        written >= u64::from(LOG_LINES_BURST) && left_out > 10 * calls as u64,
        "{written}"
    );
}

#[tokio::test]
async fn many_samples_leave_no_room_behind_usual_ones_leave_theirs_and_none_look_at_no_series() {
    let mut bench = bench();
    let sink = &mut bench.sink;
    sink.push_samples(&mut samples(0));
    assert!(sink.batches.is_empty());
    sink.push_samples(&mut samples(BATCH_KEPT_SAMPLES));
    let room = |sink: &DeviceSink| sink.batches.iter().map(Vec::capacity).collect::<Vec<_>>();
    assert_eq!(room(sink), [0, BATCH_KEPT_SAMPLES]);
    sink.push_samples(&mut samples(43_690));
    assert_eq!(room(sink), [0, BATCH_KEPT_SAMPLES]);
    assert_eq!(sink.health.samples.get(), 43_690 + BATCH_KEPT_SAMPLES as u64);
}
