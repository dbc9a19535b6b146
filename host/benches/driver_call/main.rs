//! What a call of a driver costs as a component, beside the same code compiled natively.
//!
//! The power meter's driver runs in wasmtime, through the daemon's own `Instance`, written in Rust and, where they were built, in Python and in
//! JavaScript; and natively, through the SDK alone. All collect what they ask for into the same `Effects`, and commit it into a store of their own
//! with the same members. What is measured is one event from the call to the committed version; samples are counted and dropped, where the daemon
//! gives them to its hub, and every sixteenth commit takes the pending patch, which is about what a busy line sees at ten milliseconds between
//! patches.
//!
//! `cargo demo --build-only && cargo bench -p autobench --bench driver_call`; another folder of plugins: `AUTOBENCH_PLUGINS`. The drivers in
//! Python and JavaScript are built by `cargo verify --long`, the one in Python also without `--long`, or one by one, as the bench says where one is
//! missing; another folder of examples: `AUTOBENCH_EXAMPLES`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench that cannot go on has nothing to report"
)]

mod native;
#[path = "../common/plugins.rs"]
mod plugins;

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use autobench::driver::engine::{Diagnosis, Engine};
use autobench::driver::host_state::{NoHolds, ReadSlices, Rights};
use autobench::driver::instance::Instance;
use autobench::driver::loader;
use autobench::driver::package::Package;
use autobench::serial::PortControl;
use autobench_core::driver::{
    CallTime, Effects, Event, Guest, PortIndex, PortState, StartInput, StartReason, TimerId,
};
use autobench_core::state::Store;
use autobench_core::wire::canonical;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;

use native::NativeGuest;

/// The languages in which the driver is an example of its SDK, with the SDK's folder and the component's name.
const EXAMPLES: [(&str, &str, &str); 2] = [
    ("Python", "python", "power-meter-python"),
    ("JavaScript", "js", "power-meter-javascript"),
];
const SLICE: &str = "powerMeter";
const VERSION: &[u8] = b"#v,-,8,1,131071,5,2,3,14,0,0;\r\n";
const ROWS_PER_BATCH: usize = 16;
const COMMITS_PER_FLUSH: u64 = 16;
/// Between two events. The SDK publishes a slice at most every 50 ms, so that each event publishes.
const SPACING_NS: u64 = 1_000_000_000;
const BEGIN_MS: f64 = 1_767_225_600_000.0;

/// What happens to the driver.
#[derive(Clone, Copy)]
enum Kind {
    /// A timer that it does not know.
    Timer,
    /// An event of a kind that it does not know, as two texts.
    Other,
    /// One row: a publication, and a sample of each of the seven series.
    Row,
    /// Sixteen rows in one event: sixteen samples of each series, and one publication with the last row.
    Batch,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Timer, Self::Other, Self::Row, Self::Batch];

    fn title(self) -> &'static str {
        match self {
            Self::Timer => "empty call, a timer",
            Self::Other => "empty call, an `other`",
            Self::Row => "one row",
            Self::Batch => "row in a batch of 16",
        }
    }

    /// What one event is divided by.
    fn units(self) -> u64 {
        match self {
            Self::Timer | Self::Other | Self::Row => 1,
            Self::Batch => ROWS_PER_BATCH as u64,
        }
    }
}

/// What the driver is given, made once.
struct Inputs {
    rows: Vec<Vec<u8>>,
    batches: Vec<Vec<u8>>,
    other: Event<'static>,
}

impl Inputs {
    fn new() -> Self {
        let batch = |first: usize| (first..first + ROWS_PER_BATCH).flat_map(row).collect();
        Self {
            rows: (0..ROWS_PER_BATCH).map(row).collect(),
            // Their last rows differ, because only those are published.
            batches: (0..ROWS_PER_BATCH).map(batch).collect(),
            other: Event::Other {
                kind: "bench".into(),
                data: "{}".into(),
            },
        }
    }
}

/// A row as the meter sends one, each a little different from the one before: watts, amps, energy and apparent power move, volts now and then.
fn row(index: usize) -> Vec<u8> {
    let (watts, volts, amps) = (965 + index % 7, 1204 + index / 4 % 2, 792 + index % 7);
    let (energy, apparent) = (100 + index, 966 + index % 7);
    format!("#d,-,18,{watts},{volts},{amps},{energy},0,69384,5550,965,1205,833,965,1203,779,100,0,0,500,{apparent};\r\n")
        .into_bytes()
}

/// A driver, and the store that it writes to.
struct Subject<G> {
    guest: G,
    store: Store,
    effects: Effects,
    offset: u64,
    events: u64,
    commits: u64,
    operations: usize,
    samples: usize,
}

impl<G: Guest> Subject<G> {
    /// Starts the driver and leads it to where rows stream.
    fn new(guest: G, inputs: &Inputs) -> Self {
        let serde_json::Value::Object(members) = json!({ "version": 1, "meta": {}, SLICE: {} }) else {
            panic!("it is written as an object")
        };
        let mut subject = Self {
            guest,
            store: Store::from_members(members).unwrap(),
            effects: Effects::default(),
            offset: 0,
            events: 0,
            commits: 0,
            operations: 0,
            samples: 0,
        };
        let input = StartInput {
            device: "meter".into(),
            reason: StartReason::Cold,
            settings: "{}".into(),
            ports: vec![PortState {
                name: "main".into(),
                attached: true,
                offset: 0,
            }],
            slice: None,
            snapshot: None,
            commands: Vec::new(),
            timers: Vec::new(),
            leases: Vec::new(),
        };
        let time = subject.next_time();
        subject
            .guest
            .start(&input, time, &mut subject.effects)
            .unwrap()
            .unwrap();
        subject.commit();
        subject.bytes(VERSION);
        subject.event(Kind::Row, inputs);
        let slice = subject.store.member_bytes(SLICE).unwrap();
        let slice: serde_json::Value = serde_json::from_slice(&slice).unwrap();
        assert_eq!(slice["phase"], "streaming", "{slice}");
        subject
    }

    /// One event, from the call to the committed version.
    fn event(&mut self, kind: Kind, inputs: &Inputs) {
        let turn = self.events as usize % ROWS_PER_BATCH;
        match kind {
            Kind::Timer => self.handle(&Event::Timer(TimerId(77))),
            Kind::Other => self.handle(&inputs.other),
            Kind::Row => self.bytes(&inputs.rows[turn]),
            Kind::Batch => self.bytes(&inputs.batches[turn]),
        }
    }

    fn bytes(&mut self, data: &[u8]) {
        let offset = self.offset;
        self.offset += data.len() as u64;
        let time = self.time();
        self.handle(&Event::Bytes {
            port: PortIndex(0),
            offset,
            received_ns: time.monotonic_ns,
            received_ms: time.wall_ms,
            data: black_box(data),
            replayed: false,
        });
    }

    fn handle(&mut self, event: &Event<'_>) {
        let time = self.next_time();
        self.guest.handle(event, time, &mut self.effects).unwrap();
        self.commit();
    }

    fn commit(&mut self) {
        self.operations += self.effects.operations.len();
        self.samples += black_box(&self.effects.samples).len();
        if !self.effects.operations.is_empty() {
            self.store.apply(SLICE, &self.effects.operations).unwrap();
            self.commits += 1;
            if self.commits.is_multiple_of(COMMITS_PER_FLUSH) {
                black_box(self.store.take_flush());
            }
        }
        self.effects.clear();
    }

    fn time(&self) -> CallTime {
        CallTime {
            monotonic_ns: (self.events + 1) * SPACING_NS,
            wall_ms: BEGIN_MS + self.events as f64 * 1000.0,
        }
    }

    fn next_time(&mut self) -> CallTime {
        let time = self.time();
        self.events += 1;
        time
    }
}

fn component(engine: &Engine, path: &Path, inputs: &Inputs) -> Subject<Instance> {
    let package =
        Package::read(path).unwrap_or_else(|error| panic!("{}: {error}\n{}", path.display(), plugins::HINT));
    let begin = Instant::now();
    let (prepared, _) =
        loader::prepare_in_process(engine, &package).unwrap_or_else(|error| panic!("{error}"));
    println!(
        "{}: {} bytes, compiled in {} ms",
        path.file_name().unwrap_or_default().display(),
        package.bytes.len(),
        begin.elapsed().as_millis()
    );
    let rights = Rights {
        version: prepared.hash,
        device: "meter".into(),
        // Its device is away, so that what the driver writes is refused; it goes on all the same.
        ports: [Arc::new(PortControl::new("main".into()).unwrap()) as _].into(),
        readable_slices: [].into(),
        slices: Arc::new(NoSlices),
        holds: Arc::new(NoHolds),
        series_count: prepared.manifest.series.len(),
        standing_alarms: Default::default(),
        health: Arc::default(),
    };
    let instance = Instance::new(engine, &prepared.pre, rights, 64 << 20).unwrap();
    Subject::new(instance, inputs)
}

struct NoSlices;

impl ReadSlices for NoSlices {
    fn read(&self, _slice: &str) -> Option<String> {
        None
    }
}

fn calls(criterion: &mut Criterion) {
    let inputs = Inputs::new();
    let engine = Engine::new(Diagnosis::default()).unwrap();
    // A profile is to show what it was asked for, and nothing else.
    let is_profiled = std::env::args().any(|argument| argument == "--profile-time");
    if !is_profiled {
        examples(&engine, &inputs);
    }
    let mut component = component(&engine, &plugins::path_of("power-meter"), &inputs);
    let mut native = Subject::new(NativeGuest::new(), &inputs);
    same_work(&mut component, &mut native, &inputs);
    if !is_profiled {
        ratios("Rust", &mut component, &mut native, &inputs);
    }
    for kind in Kind::ALL {
        let mut group = criterion.benchmark_group(kind.title());
        group.throughput(Throughput::Elements(kind.units()));
        group.bench_function("component", |bencher| {
            bencher.iter(|| component.event(kind, &inputs));
        });
        group.bench_function("native", |bencher| {
            bencher.iter(|| native.event(kind, &inputs));
        });
        group.finish();
    }
}

/// The driver in the other languages, each where it was built.
fn examples(engine: &Engine, inputs: &Inputs) {
    for (language, sdk, stem) in EXAMPLES {
        let path = plugins::below("AUTOBENCH_EXAMPLES", "examples", stem);
        if !path.is_file() {
            println!(
                "in {language}: not built. To build it: autobench plugin build sdk/{sdk}/examples/power-meter --out {}",
                path.display()
            );
            continue;
        }
        let mut component = component(engine, &path, inputs);
        let mut native = Subject::new(NativeGuest::new(), inputs);
        same_work(&mut component, &mut native, inputs);
        ratios(language, &mut component, &mut native, inputs);
    }
}

/// Both ask for the same and come to the same slice; otherwise a ratio of their times would say nothing.
fn same_work(component: &mut Subject<Instance>, native: &mut Subject<NativeGuest>, inputs: &Inputs) {
    for kind in Kind::ALL {
        let before = (native.operations, native.samples);
        for _ in 0..ROWS_PER_BATCH {
            component.event(kind, inputs);
            native.event(kind, inputs);
        }
        assert_eq!(
            (component.operations, component.samples),
            (native.operations, native.samples),
            "{}",
            kind.title()
        );
        println!(
            "{}: {:.1} operations and {:.1} samples per event",
            kind.title(),
            (native.operations - before.0) as f64 / ROWS_PER_BATCH as f64,
            (native.samples - before.1) as f64 / ROWS_PER_BATCH as f64
        );
    }
    assert_eq!(slice_of(component), slice_of(native));
}

/// As text in which 50 and 50.0 are one, because JavaScript has one kind of number.
fn slice_of<G>(subject: &mut Subject<G>) -> String {
    canonical(&serde_json::from_slice(&subject.store.member_bytes(SLICE).unwrap()).unwrap())
}

/// Both in turns in one run, because two runs on a busy machine cannot be compared. The middle of the turns, because some are disturbed.
fn ratios(
    language: &str,
    component: &mut Subject<Instance>,
    native: &mut Subject<NativeGuest>,
    inputs: &Inputs,
) {
    const TURNS: usize = 101;
    const TURN: Duration = Duration::from_millis(5);
    for kind in Kind::ALL {
        let events = events_in(TURN, || component.event(kind, inputs));
        let (mut components, mut natives, mut quotients) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let in_component = time_of(events, || component.event(kind, inputs));
            let natively = time_of(events, || native.event(kind, inputs));
            components.push(in_component);
            natives.push(natively);
            quotients.push(in_component / natively);
        }
        let units = events as f64 * kind.units() as f64;
        println!(
            "in {language}, {}: component {:.3} µs, native {:.3} µs, ratio {:.2}",
            kind.title(),
            middle(components) / units,
            middle(natives) / units,
            middle(quotients)
        );
    }
}

fn events_in(time: Duration, mut event: impl FnMut()) -> u64 {
    let begin = Instant::now();
    let mut events = 0;
    while begin.elapsed() < time {
        event();
        events += 1;
    }
    events
}

/// Microseconds of so many events.
fn time_of(events: u64, mut event: impl FnMut()) -> f64 {
    let begin = Instant::now();
    (0..events).for_each(|_| event());
    begin.elapsed().as_nanos() as f64 / 1000.0
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

criterion_group!(benches, calls);
criterion_main!(benches);
