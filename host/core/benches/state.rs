//! What a change of the state costs, against the size of the document, and what an entry of the log costs.
//!
//! `cargo bench -p autobench-core --bench state`

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot go on has nothing to report"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use autobench_core::driver::LogLevel;
use autobench_core::logs::{LogPolicy, LogRecord, LogRing};
use autobench_core::state::{Operation, Pointer, Store, Value};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use serde_json::{Map, json};

/// Slices of about 1 KB in the document, and what to call that.
const DOCUMENTS: [(usize, &str); 4] = [(1, "1 KB"), (10, "10 KB"), (100, "100 KB"), (1000, "1 MB")];

/// A document of so many slices, each a little over a thousand bytes.
fn store(slices: usize) -> Store {
    let mut members = Map::new();
    for slice in 0..slices {
        let history: Vec<_> = (0..35)
            .map(|index| json!({"ts": 1_767_225_600 + index, "w": 96.5}))
            .collect();
        members.insert(
            format!("slice{slice:04}"),
            json!({
                "phase": "streaming",
                "stats": {"totalSamples": 0, "badRows": 0, "bytesReceived": 0},
                "lastSample": {"ts": "2026-01-01T00:00:00.000Z", "watts": 96.5, "volts": 120.4, "amps": 0.792},
                "history": history,
            }),
        );
    }
    Store::from_members(members).unwrap()
}

fn set(path: &str, value: Value) -> Operation {
    Operation::Set {
        path: Arc::new(Pointer::parse(path).unwrap()),
        value,
    }
}

/// One field changes, and its patch is written out.
fn one_field(store: &mut Store, slice: &str, operation: &mut [Operation; 1], round: u64) {
    if let [Operation::Set { value, .. }] = operation {
        *value = Value::Float(round as f64 * 0.1);
    }
    black_box(store.apply(slice, operation).unwrap());
    black_box(store.take_flush());
}

fn updates(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one field changed, patch encoded");
    for (slices, size) in DOCUMENTS {
        let mut store = store(slices);
        let slice = format!("slice{:04}", slices / 2);
        let mut operation = [set("/lastSample/watts", Value::Null)];
        let mut round = 0;
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                round += 1;
                one_field(&mut store, &slice, &mut operation, round);
            });
        });
    }
    group.finish();
    ratio();

    let mut group = criterion.benchmark_group("meter row of four operations, 1 MB document");
    for (name, rows) in [("flushed each", 1), ("flushed every 16", 16)] {
        let mut store = store(1000);
        let mut round = 0_u64;
        let mut row = [
            set("/lastSample/watts", Value::Null),
            set("/lastSample/volts", Value::Null),
            set("/lastSample/amps", Value::Null),
            set("/stats/totalSamples", Value::Null),
        ];
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                round += 1;
                for (index, operation) in row.iter_mut().enumerate() {
                    if let Operation::Set { value, .. } = operation {
                        *value = if index == 3 {
                            Value::Integer(round as i64)
                        } else {
                            Value::Float(round as f64 * 0.1)
                        };
                    }
                }
                black_box(store.apply("slice0500", &row).unwrap());
                if round.is_multiple_of(rows) {
                    black_box(store.take_flush());
                }
            });
        });
    }
    group.finish();
}

fn snapshots(criterion: &mut Criterion) {
    let mut store = store(1000);
    let mut operation = [set("/lastSample/watts", Value::Null)];
    let mut round = 0;
    criterion.bench_function("snapshot of a 1 MB document after one change", |bencher| {
        bencher.iter(|| {
            round += 1;
            one_field(&mut store, "slice0500", &mut operation, round);
            black_box(store.snapshot());
        });
    });
}

/// Both sizes in turns in one run, because two runs on a busy machine cannot be compared.
fn ratio() {
    const ROUNDS: u64 = 20_000;
    let mut documents = [(store(1), 0_u128), (store(1000), 0)];
    let mut operation = [set("/lastSample/watts", Value::Null)];
    for turn in 0..20 {
        for (store, elapsed_ns) in &mut documents {
            let start = Instant::now();
            for round in 0..ROUNDS {
                one_field(store, "slice0000", &mut operation, turn * ROUNDS + round);
            }
            // The first turn warms up.
            if turn > 0 {
                *elapsed_ns += start.elapsed().as_nanos();
            }
        }
    }
    let [(_, small), (_, large)] = documents;
    println!(
        "one field changed, ratio 1 MB : 1 KB = {:.2}",
        large as f64 / small as f64
    );
}

fn logs(criterion: &mut Criterion) {
    let mut ring = LogRing::new(LogPolicy::default(), 500, 1 << 20);
    let record = LogRecord {
        ts_ms: 1_767_225_600_000,
        channel: "device:meter",
        level: LogLevel::Info,
        message: "the meter answers: model 1, hardware 5.2, firmware 3.14; logging every second",
        tag: Some("meter"),
        module: Some("autobench::serial"),
        emoji: None,
        color: None,
    };
    criterion.bench_function("log entry appended", |bencher| {
        bencher.iter(|| black_box(ring.append(black_box(&record))));
    });
}

criterion_group!(benches, updates, snapshots, logs);
criterion_main!(benches);
