//! What compression saves on the wire, and what it costs: for all clients together, not for each.
//!
//! The table before the times gives the bytes of a message on the wire, header included: plain, in a shared context with its openings, and each
//! message alone.
//!
//! `cargo bench -p autobench-core --bench deflate`

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot go on has nothing to report"
)]

use std::hint::black_box;
use std::time::Duration;

use autobench_core::deflate::{Compression, Contexts, Turn, compress_apart};
use autobench_core::frame::{self, FrameReader, Opcode};
use autobench_core::outbox::{Channel, Positions, Ring, Segment, View};
use autobench_core::state::{Pointer, Store};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Map, Value, json};

/// What is sent.
#[derive(Clone, Copy)]
enum Load {
    /// One field of a meter: some 180 bytes.
    Patches,
    /// All fields of a meter's row.
    Rows,
    /// Patches and, every third, a line of the log.
    Mixed,
}

const LOADS: [(Load, &str); 3] = [
    (Load::Patches, "patches of one field"),
    (Load::Rows, "patches of a meter's row"),
    (Load::Mixed, "patches and lines of the log"),
];

/// A store, and the messages that follow from its changes.
struct Source {
    load: Load,
    store: Store,
    count: u64,
}

impl Source {
    fn new(load: Load) -> Self {
        let mut members = Map::new();
        members.insert("version".to_owned(), json!(1_000_000));
        members.insert("powerMeter".to_owned(), json!({"lastSample": {"watts": 0}}));
        Self {
            load,
            store: Store::from_members(members).unwrap(),
            count: 0,
        }
    }

    fn message(&mut self) -> Vec<u8> {
        self.count += 1;
        let n = self.count;
        // No two follow each other by a rule that a compressor could find.
        let noise = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        let watts = 90.0 + (noise % 1000) as f64 / 100.0;
        let mut set = |path: &str, value: Value| {
            let at = Pointer::parse(path).unwrap();
            self.store.set(&at, value).unwrap();
        };
        match self.load {
            Load::Mixed if n.is_multiple_of(3) => {
                let (id, ms) = (noise % 977, noise % 101);
                let ts = 1_767_225_600_000_u64 + n * 37;
                return format!(
                    "{{\"type\":\"logs.append\",\"fromSeq\":{n},\"toSeq\":{n},\"entries\":[{{\"seq\":{n},\"ts\":{ts},\"channel\":\"device\",\
                     \"emoji\":\"🔌\",\"level\":\"info\",\"message\":\"request {id} took {ms} ms\",\"color\":\"green\",\"tag\":\"meter\"}}]}}"
                )
                .into_bytes();
            }
            Load::Rows => {
                set(
                    "/powerMeter/lastSample/ts",
                    json!(format!(
                        "2026-01-01T00:{:02}:{:02}.{:03}Z",
                        n / 60 % 60,
                        n % 60,
                        noise % 1000
                    )),
                );
                set(
                    "/powerMeter/lastSample/volts",
                    json!(120.0 + (noise % 13) as f64 / 10.0),
                );
                set(
                    "/powerMeter/lastSample/amps",
                    json!((noise % 997) as f64 / 1000.0),
                );
                set("/powerMeter/lastSample/watts", json!(watts));
                set(
                    "/powerMeter/stats",
                    json!({"totalSamples": n, "badRows": 0, "bytesReceived": n * 92}),
                );
            }
            _ => set("/powerMeter/lastSample/watts", json!(watts)),
        }
        self.store.take_flush().unwrap().frame.to_vec()
    }
}

/// One channel, and a client in a context over it: what the hub does, without its sockets.
struct Line {
    compression: Compression,
    source: Source,
    ring: Ring,
    contexts: Contexts,
    positions: Positions,
    membership: Option<autobench_core::deflate::Membership>,
}

impl Line {
    fn new(load: Load, compression: Compression) -> Self {
        let ring = Ring::new(1 << 20, 0);
        let mut positions = Positions::new();
        positions.set(Channel::State, ring.cursor());
        Self {
            compression,
            source: Source::new(load),
            ring,
            contexts: Contexts::new(),
            positions,
            membership: None,
        }
    }

    fn publish(&mut self) -> (View, usize) {
        let (from, number) = (self.ring.end(), self.ring.cursor().covered + 1);
        let bytes = frame::text(&self.source.message());
        let plain_bytes = bytes.len();
        self.ring.push(Segment {
            bytes,
            first: number,
            last: number,
        });
        let mut view = View::new();
        view.insert(Channel::State, self.ring.view(from, usize::MAX));
        (view, plain_bytes)
    }

    /// Codes what is new; gives its bytes, none while the client is not a member yet.
    fn pass(&mut self, view: &View) -> Option<usize> {
        let mut pass = self.contexts.encode(view, Duration::ZERO);
        let turn = pass.turn(self.compression, &mut self.membership, &self.positions);
        self.positions.set(Channel::State, self.ring.cursor());
        let bytes = match turn {
            Turn::Coded(coded) => {
                self.membership = Some(coded.membership());
                Some(coded.bytes().len())
            }
            _ => {
                pass.would_join(self.compression, &self.positions);
                None
            }
        };
        self.contexts.end_pass(pass, Duration::ZERO);
        bytes
    }
}

fn wire(_: &mut Criterion) {
    println!("bytes of a message on the wire, the mean of 10,000");
    println!("{:<32} {:>8} {:>8} {:>8}", "", "plain", "shared", "alone");
    for (load, name) in LOADS {
        let mean = |compression| {
            let mut line = Line::new(load, compression);
            let (mut plain, mut coded, mut count) = (0, 0, 0);
            while count < 10_000 {
                let (view, plain_bytes) = line.publish();
                if let Some(bytes) = line.pass(&view) {
                    plain += plain_bytes;
                    coded += bytes;
                    count += 1;
                }
            }
            (
                f64::from(plain as u32) / 10_000.0,
                f64::from(coded as u32) / 10_000.0,
            )
        };
        let ((plain, shared), (_, alone)) = (mean(Compression::Shared), mean(Compression::Alone));
        println!("{name:<32} {plain:>8.1} {shared:>8.1} {alone:>8.1}");
    }
}

fn coding(criterion: &mut Criterion) {
    for (load, name) in LOADS {
        let mut group = criterion.benchmark_group(name);
        for (compression, name) in [(Compression::Shared, "shared"), (Compression::Alone, "alone")] {
            let mut line = Line::new(load, compression);
            for _ in 0..3 {
                let (view, _) = line.publish();
                line.pass(&view);
            }
            group.bench_function(format!("a pass, {name}"), |bencher| {
                bencher.iter_batched_ref(
                    || (),
                    |()| {
                        let (view, _) = line.publish();
                        black_box(line.pass(&view))
                    },
                    criterion::BatchSize::SmallInput,
                );
            });
        }
        let mut line = Line::new(load, Compression::Shared);
        group.bench_function("the same without coding", |bencher| {
            bencher.iter(|| black_box(line.publish()));
        });
        group.finish();
    }
}

fn apart(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compressed for one client");
    let slices: Map<String, Value> = (0..1000)
        .map(|slice| {
            let history: Vec<_> = (0..35)
                .map(|index| json!({"ts": 1_767_225_600 + index * slice, "w": 96.5 + f64::from(index % 7) * 0.3}))
                .collect();
            (format!("slice{slice:04}"), json!({"phase": "streaming", "history": history}))
        })
        .collect();
    let snapshot = frame::text(Value::Object(slices).to_string().as_bytes());
    let mut source = Source::new(Load::Mixed);
    let backlog: Vec<Bytes> = (0..350).map(|_| frame::text(&source.message())).collect();
    for (name, frames) in [
        ("a snapshot", vec![snapshot]),
        ("350 messages to catch up with", backlog),
    ] {
        let plain_bytes: usize = frames.iter().map(Bytes::len).sum();
        let bytes = compress_apart(Compression::Shared, &frames).unwrap().len();
        println!("{name}: {plain_bytes} bytes become {bytes}");
        group.throughput(Throughput::Bytes(plain_bytes as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(compress_apart(Compression::Shared, &frames)));
        });
    }
    group.finish();
}

/// A client's message, masked with zeros, plain and compressed.
fn reading(criterion: &mut Criterion) {
    let text = json!({"type": "subscribe", "channel": "telemetry", "endpointIds": (1..40).collect::<Vec<_>>(), "id": "abc"})
        .to_string();
    let plain = frame::text(text.as_bytes());
    let coded = compress_apart(Compression::Alone, std::slice::from_ref(&plain)).unwrap();
    let mut group = criterion.benchmark_group("a client's message is read");
    for (name, ours) in [("plain", plain), ("compressed", coded)] {
        let bytes = as_clients(&ours);
        let mut reader = FrameReader::new(1 << 16).with_deflate();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                reader.push(&bytes);
                black_box(reader.next().unwrap().unwrap());
                black_box(reader.next().unwrap())
            });
        });
    }
    group.finish();
}

/// A frame of ours with a mask of zeros.
fn as_clients(ours: &[u8]) -> Vec<u8> {
    let payload = match ours {
        [_, 126, _, _, payload @ ..] => payload,
        [_, _, payload @ ..] => payload,
        _ => ours,
    };
    let mut out = Vec::new();
    frame::append(&mut out, Opcode::Text, payload);
    let header_len = out.len() - payload.len();
    let (Some(first), Some(mask_bit)) = (ours.first(), out.get(1).map(|length| length | 0x80)) else {
        return out;
    };
    let mut frame = vec![*first, mask_bit];
    frame.extend(out.get(2..header_len).unwrap_or_default());
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

criterion_group!(benches, wire, coding, apart, reading);
criterion_main!(benches);
