//! Random lives of a driver, a shadow run that begins anywhere in them, and a candidate that is the same or has one fault planted in it.
//!
//! `AUTOBENCH_SEED=n` repeats one life.

mod cases;

use std::cell::Cell as Shared;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use super::super::schedule::guest::Rng;
use super::super::schedule::memory::Memory;
use super::*;
use crate::driver::offline::written;
use crate::driver::{
    Cause, Cell, CommandId, Commit, Effects, Fault, FaultKind, Lease, LeaseChange, LeaseOver, LifeChange,
    LogLine, LogOrigin, PortAction, PortSetup, Refusal, Setup, Sink, Skipped, SliceRefused, Snapshot,
    StartInput, Status, Step, StopReason,
};
use crate::state::{Operation, Pointer, Store, Value};

const MS: u64 = 1_000_000;
const PORTS: usize = 2;

/// What is wrong with a candidate, from this record of its life on or over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plant {
    Nothing,
    Sample(u64),
    Slice(u64),
    Write(u64),
    Trap(u64),
}

/// The schedule's driver, uninterrupted, with a fault planted in it.
#[derive(Debug)]
struct Planted {
    memory: Memory,
    plant: Plant,
    /// Number of the first byte of the call in which it did it.
    struck: Rc<Shared<Option<u64>>>,
}

#[derive(Serialize, Deserialize)]
struct Saved(Memory);

fn fits(effects: &Effects) -> bool {
    let fits = |operation: &Operation| !matches!(operation, Operation::Set { path, .. } if path.as_str() == "/not/there");
    effects.operations.iter().all(fits)
}

impl Planted {
    fn new(plant: Plant) -> Self {
        Self {
            memory: Memory::default(),
            plant,
            struck: Rc::default(),
        }
    }

    fn records(&self) -> u64 {
        self.memory.ports.iter().map(|port| port.records).sum()
    }
}

impl Guest for Planted {
    fn start(
        &mut self,
        input: &StartInput,
        time: CallTime,
        effects: &mut Effects,
    ) -> Result<Result<(), Refusal>, Fault> {
        if let Some(snapshot) = &input.snapshot {
            self.memory = serde_json::from_slice::<Saved>(&snapshot.data).unwrap().0;
        }
        self.memory.start(input, true, time, effects);
        Ok(Ok(()))
    }

    fn handle(&mut self, event: &Event<'_>, time: CallTime, effects: &mut Effects) -> Result<(), Fault> {
        let before = self.records();
        self.memory.handle(event, time, effects);
        let Event::Bytes { offset, .. } = event else {
            return Ok(());
        };
        let now = self.records();
        let strikes = |at: u64| (before..now).contains(&at) && self.struck.get().is_none();
        match self.plant {
            Plant::Sample(at) if strikes(at) => effects.samples.last_mut().unwrap().1.value += 0.5,
            // An update that does not fit is refused as a whole.
            Plant::Slice(at) if strikes(at) && fits(effects) => effects.operations.push(Operation::Set {
                path: Arc::new(Pointer::parse("/ticks").unwrap()),
                value: Value::Integer(-1),
            }),
            Plant::Write(at) if strikes(at) => effects
                .port_actions
                .push((PortIndex(1), PortAction::Write(b"!".to_vec()))),
            Plant::Trap(at) if strikes(at) => {
                self.struck.set(Some(*offset));
                return Err(Fault::new(FaultKind::Trap, "handle", "unreachable"));
            }
            _ => return Ok(()),
        }
        self.struck.set(Some(*offset));
        Ok(())
    }

    fn snapshot(&mut self, _time: CallTime) -> Result<Snapshot, Fault> {
        let memory = self.memory.without_partial_records();
        let consumed = memory.ports.iter().enumerate();
        let consumed = consumed
            .map(|(index, port)| (PortIndex(index), port.position))
            .collect();
        Ok(Snapshot {
            schema_version: 1,
            data: serde_json::to_vec(&Saved(memory)).unwrap().into(),
            consumed,
        })
    }

    fn stop(&mut self, _: StopReason, _: CallTime, _: &mut Effects) -> Result<(), Fault> {
        Ok(())
    }
}

/// The daemon's sink, as far as the run knows it: a slice, and the tap.
#[derive(Debug)]
struct Tapping {
    store: Store,
    tapped: Vec<Tapped>,
}

impl Sink for Tapping {
    fn commit(&mut self, effects: &mut Effects, commit: Commit<'_>) -> Result<(), SliceRefused> {
        let applied = self.store.apply("slice", &effects.operations);
        self.store.take_flush();
        if let Cause::Event(taken) = commit.cause {
            self.tapped
                .extend(Tapped::of(taken, commit.time, applied.is_err()));
        }
        applied
            .map(|_| ())
            .map_err(|error| SliceRefused(error.to_string()))
    }

    fn logs(&mut self, _: &mut Vec<LogLine>, _: u64, _: LogOrigin) {}

    fn slice(&mut self) -> Option<Arc<str>> {
        let bytes = self.store.member_bytes("slice")?;
        Some(std::str::from_utf8(&bytes).unwrap().into())
    }

    fn take_over(&mut self, value: serde_json::Value, _: &mut Effects, _: u64) -> Result<(), SliceRefused> {
        self.store.replace_slice("slice", value).unwrap();
        self.store.take_flush();
        Ok(())
    }

    fn leases_opened(&mut self, _: &[(Lease, Option<u64>)]) {}

    fn lease_over(&mut self, _: &LeaseOver) {}

    fn skipped(&mut self, _: Skipped<'_>) {}

    fn command_failed(&mut self, _: &Arc<Command>, _: &Breakdown) {}

    fn life(&mut self, _: LifeChange<'_>) {}
}

struct Life {
    cell: Cell<Planted>,
    inbox: SharedInbox,
    sink: Tapping,
    rng: Rng,
    now: CallTime,
    plugged: [bool; PORTS],
    commands: u64,
}

impl Life {
    fn new(seed: u64, ring_capacity_bytes: usize) -> Self {
        let inbox = SharedInbox::new((0..PORTS).map(|port| PortSetup {
            name: format!("port{port}").into(),
            ring_capacity_bytes,
        }));
        let setup = Setup {
            device: "device".into(),
            settings: "{}".into(),
            jitter_seed: seed,
        };
        let mut life = Self {
            cell: Cell::new(setup, inbox.clone()),
            inbox,
            sink: Tapping {
                store: Store::from_members(Map::new()).unwrap(),
                tapped: Vec::new(),
            },
            rng: Rng(seed),
            now: CallTime {
                monotonic_ns: 5 * MS,
                wall_ms: 1_000.0,
            },
            plugged: [false; PORTS],
            commands: 0,
        };
        life.settle();
        life
    }

    fn pass(&mut self, ms: u64) {
        self.now.monotonic_ns += ms * MS;
        self.now.wall_ms += ms as f64;
        self.settle();
    }

    fn settle(&mut self) {
        let mut factory = || Ok(Planted::new(Plant::Nothing));
        while self.cell.step(self.now, &mut self.sink, &mut factory) == Step::Busy {}
    }

    fn act(&mut self) {
        let port = PortIndex(self.rng.below(PORTS as u64) as usize);
        match self.rng.below(20) {
            0 => {
                self.plugged[port.0] = !self.plugged[port.0];
                match self.plugged[port.0] {
                    true => self.inbox.attach(port, Arc::default()),
                    false => self.inbox.lose(port, "unplugged"),
                };
            }
            1 => {
                self.commands += 1;
                let command = Command {
                    id: CommandId(format!("c-{}", self.commands).into()),
                    name: "press".to_owned(),
                    arguments: "{}".to_owned(),
                    actor: "local".to_owned(),
                    deadline_ns: None,
                };
                let _ = self.inbox.command(Arc::new(command));
            }
            2 => self
                .cell
                .reconfigure(format!("{{\"a\":{}}}", self.now.monotonic_ns).into()),
            3..9 => {
                let ms = self.rng.below(60);
                self.pass(ms);
            }
            _ => {
                let count = 1 + self.rng.below(60) as usize;
                let data: Vec<u8> = (0..count).map(|_| self.rng.next() as u8).collect();
                self.inbox.push_bytes(port, &data, self.now);
                if self.rng.chance(700) {
                    self.settle();
                }
            }
        }
    }
}

fn version(plant: Plant) -> Version<Planted> {
    Version {
        guest: Planted::new(plant),
        series: (0..200).map(|number| format!("series-{number}")).collect(),
    }
}

/// A life, and a run over part of it. Answers what it came to and where the fault struck, and how many records the driver had at first.
fn run(seed: u64, plant: impl FnOnce(u64) -> Plant) -> Option<(Report, Option<u64>)> {
    let mut life = Life::new(seed, 1 << 16);
    let before = life.rng.below(120);
    (0..before).for_each(|_| life.act());
    // A driver that is down, because a record was bad, has no run now.
    if life.cell.status() != Status::Running {
        return None;
    }
    let origin = life.cell.shadow_origin(life.now)?;
    let records = serde_json::from_slice::<Saved>(&origin.snapshot.data).unwrap().0;
    let records = records.ports.iter().map(|port| port.records).sum();
    let candidate = version(plant(records));
    let struck = Rc::clone(&candidate.guest.struck);
    life.sink.tapped.clear();
    let mut run = ShadowRun::start(origin, life.inbox.clone(), version(Plant::Nothing), candidate);
    for _ in 0..150 {
        life.act();
        life.sink.tapped.drain(..).for_each(|tapped| {
            run.tell(&tapped);
        });
    }
    Some((run.finish(life.now), struck.get()))
}

/// Enough lives, each with its seed told when something is wrong with it.
fn lives(mut each: impl FnMut(u64)) {
    if let Ok(seed) = std::env::var("AUTOBENCH_SEED") {
        return each(seed.parse().expect("AUTOBENCH_SEED is a number"));
    }
    let count = match std::env::var_os("AUTOBENCH_LONG") {
        Some(_) => 20_000,
        None => 400,
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let base = now.map_or(0, |since| since.as_nanos() as u64);
    for seed in (0..count).map(|number| base.wrapping_add(number)) {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| each(seed)));
        if let Err(panic) = done {
            println!("AUTOBENCH_SEED={seed} repeats this life");
            std::panic::resume_unwind(panic);
        }
    }
}

/// A life may end before a byte has come.
fn did_the_same(report: &Report) -> bool {
    let nothing_came = report.end == Some(End::NothingCompared) && report.bytes == 0;
    report.is_equal() || (nothing_came && report.differences.is_empty())
}

#[test]
fn equal_versions_never_differ() {
    let (mut runs, mut rows, mut samples) = (0, 0, 0);
    lives(|seed| {
        let Some((report, _)) = run(seed, |_| Plant::Nothing) else {
            return;
        };
        assert!(did_the_same(&report), "{report:#?}");
        runs += 1;
        rows += report.rows;
        samples += report.samples;
    });
    assert!(
        runs > 0 && rows > 0 && samples > 0,
        "the lives have become too harmless"
    );
}

#[test]
fn a_planted_difference_is_found_at_its_row_and_nowhere_else() {
    let mut found = [0; 4];
    lives(|seed| {
        let kind = (seed % 4) as usize;
        let after = seed / 4 % 20;
        let plant = move |records: u64| {
            let at = records + after;
            [
                Plant::Sample(at),
                Plant::Slice(at),
                Plant::Write(at),
                Plant::Trap(at),
            ][kind]
        };
        let Some((report, struck)) = run(seed, plant) else {
            return;
        };
        let Some(offset) = struck else {
            assert!(did_the_same(&report), "{report:#?}");
            return;
        };
        found[kind] += 1;
        let first = report.differences.first();
        // The row of a line that came in pieces begins in an earlier one, with nothing but text in between.
        let is_row = |at: u64| (offset.saturating_sub(ROW_BYTES as u64)..=offset).contains(&at);
        let is_here = |first: &Difference| {
            let before = usize::try_from(offset.saturating_sub(first.offset)).unwrap();
            let before = &first.bytes[..before.min(first.bytes.len())];
            is_row(first.offset)
                && before.iter().all(|byte| is_text(*byte) && *byte != b'\n')
                && first.told.starts_with(&format!("bytes {offset} to "))
        };
        match kind {
            0 => {
                assert_eq!((report.differences.len(), &report.end), (1, &None), "{report:#?}");
                let first = first.unwrap();
                assert!(
                    is_here(first) && matches!(first.differing, Differing::Sample(..)),
                    "{report:#?}"
                );
                assert!(!first.bytes.is_empty());
            }
            1 => {
                let first = first.unwrap();
                assert_eq!(first.differing, Differing::Slice("/ticks".to_owned()));
                assert_eq!(first.candidate, Some(json!(-1)));
                assert!(is_here(first), "{report:#?}");
            }
            2 => {
                let first = first.unwrap();
                assert_eq!(report.end, Some(End::DivergedInWrites { offset: first.offset }));
                assert!(
                    is_here(first) && matches!(first.differing, Differing::Write(_)),
                    "{report:#?}"
                );
                assert_ne!(first.running, first.candidate);
            }
            _ => {
                let end = report.end.clone().unwrap();
                let End::BrokeDown {
                    offset: at,
                    running,
                    candidate,
                } = end
                else {
                    panic!("{end:?}")
                };
                assert!(is_row(at) && running.is_none(), "{at} {offset} {running:?}");
                assert!(candidate.unwrap().contains("unreachable"));
            }
        }
    });
    let is_repeated = std::env::var_os("AUTOBENCH_SEED").is_some();
    assert!(
        is_repeated || found.iter().all(|count| *count > 0),
        "the lives have become too harmless: {found:?}"
    );
}

#[test]
fn a_run_that_is_overtaken_by_the_line_says_so() {
    let mut life = Life::new(1, 64);
    life.inbox.attach(PortIndex(0), Arc::default());
    life.pass(2_000);
    let origin = life.cell.shadow_origin(life.now).unwrap();
    life.sink.tapped.clear();
    let versions = (version(Plant::Nothing), version(Plant::Nothing));
    let mut run = ShadowRun::start(origin, life.inbox.clone(), versions.0, versions.1);
    for _ in 0..4 {
        life.inbox.push_bytes(PortIndex(0), &[1; 40], life.now);
        life.pass(1_500);
    }
    let tapped = std::mem::take(&mut life.sink.tapped);
    let progress: Vec<_> = tapped.iter().map(|tapped| run.tell(tapped)).collect();
    assert_eq!(progress.last(), Some(&Progress::Over));
    let report = run.finish(life.now);
    assert!(!report.is_equal() && report.differences.is_empty());
    let Some(End::GaveUp(reason)) = report.end else {
        panic!("{:?}", report.end)
    };
    assert!(reason.contains("the ring dropped byte 0"), "{reason}");
}
