//! Random schedules of everything that can happen to a driver, against a driver to which nothing ever happens.
//!
//! Each schedule pushes random pieces of bytes into small rings, lets time pass, unplugs, sends commands, swaps, and lets calls trap: at any
//! call, before or after the call has asked for its effects, in replays too, and again and again at one byte. At every commit the
//! uninterrupted driver is told the same event, and must ask for exactly the same: so effects are exactly once per committed byte, in order,
//! and what a restart or a swap remembers is what was committed. Whenever a driver goes live its memory and its slice are compared as well.
//!
//! `AUTOBENCH_SEED=n` repeats one schedule, `AUTOBENCH_LONG=1` runs longer.

mod guest;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value as Json;

use super::*;
use crate::state::{Operation, Value};
use guest::{Counts, Plan, Reference, Rng, TestGuest};

const PORTS: usize = 2;
const MS: u64 = 1_000_000;
const ACTIONS: usize = 400;

#[test]
fn effects_are_exactly_once_per_committed_byte_over_traps_restarts_and_swaps() {
    if let Ok(seed) = std::env::var("AUTOBENCH_SEED") {
        let seed = seed.parse().expect("AUTOBENCH_SEED is a number");
        println!("{:#?}", Schedule::run(seed));
        return;
    }
    let wanted = match std::env::var_os("AUTOBENCH_LONG") {
        Some(_) => 1_000_000,
        None => 100_000,
    };
    let base = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64);
    println!("base seed {base}");
    let mut total = Counts::default();
    let mut seed = base;
    while total.swaps + total.breakdowns < wanted {
        let counts = std::panic::catch_unwind(|| Schedule::run(seed)).unwrap_or_else(|panic| {
            println!("AUTOBENCH_SEED={seed} repeats this schedule");
            std::panic::resume_unwind(panic)
        });
        total.add(counts);
        seed = seed.wrapping_add(1);
    }
    println!("{} schedules: {total:#?}", seed.wrapping_sub(base));
    for (what, count) in total.list() {
        assert!(
            count > 0,
            "no schedule had any {what}: they have become too harmless"
        );
    }
}

/// One schedule: a cell, what it acts on, and what happens to it.
struct Schedule {
    cell: Cell<TestGuest>,
    inbox: SharedInbox,
    world: World,
    rng: Rng,
    now: CallTime,
    commands: u64,
    plugged: [bool; PORTS],
}

/// Takes the effects, and compares them with what the uninterrupted driver would have asked for.
struct World {
    plan: Rc<RefCell<Plan>>,
    reference: Reference,
    slice: Json,
    /// The slice before it was last replaced.
    slice_before: Json,
    /// A start has published what earlier refusals had kept out, and no checkpoint has seen that.
    published_unseen: bool,
    /// An update was refused, and the driver has not published its slice again since.
    slice_is_behind: bool,
    refuse_next_slice: bool,
    timers: BTreeSet<TimerId>,
    timers_unknown: bool,
    in_flight: Vec<Arc<Command>>,
    open_commands: BTreeSet<CommandId>,
    ports: [Stream; PORTS],
}

/// Everything that ever came from a line.
#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    pushes: Vec<(u64, CallTime)>,
    committed: u64,
    attached: bool,
    /// Bytes below were dropped by the ring at some time.
    dropped_below: u64,
    left_out: Option<(u64, u64)>,
}

impl Schedule {
    fn run(seed: u64) -> Counts {
        let mut rng = Rng(seed);
        let plan = Rc::new(RefCell::new(Plan {
            rng: Rng(rng.next()),
            trap_per_mille: [5, 30, 60, 120][rng.below(4) as usize],
            poison: None,
            poison_timer: None,
            refuse_per_mille: [0, 50, 200][rng.below(3) as usize],
            newest: Rc::default(),
            newest_published: false,
            counts: Counts::default(),
        }));
        let inbox = SharedInbox::new((0..PORTS).map(|port| PortSetup {
            name: format!("port{port}").into(),
            ring_capacity_bytes: [300, 2_000, 8_000][rng.below(3) as usize],
        }));
        let setup = Setup {
            device: "meter".into(),
            settings: "{}".into(),
            jitter_seed: seed,
        };
        let mut schedule = Self {
            cell: Cell::new(setup, inbox.clone()),
            inbox,
            world: World::new(plan),
            rng,
            now: CallTime {
                monotonic_ns: 1_000 * MS,
                wall_ms: 1.0e12,
            },
            commands: 0,
            plugged: [false; PORTS],
        };
        for _ in 0..ACTIONS {
            schedule.act();
        }
        schedule.finish()
    }

    fn act(&mut self) {
        let port = PortIndex(self.rng.below(PORTS as u64) as usize);
        match self.rng.below(100) {
            0..40 => self.push(port),
            40..70 => {
                for _ in 0..=self.rng.below(6) {
                    self.step();
                }
            }
            70..80 => {
                let us = [300, 3_000, 30_000, 1_200_000][self.rng.below(4) as usize];
                let us = self.rng.below(us);
                self.pass_time(us);
            }
            80..82 => self.plug(port),
            82..86 => self.command(),
            86 => self.cancel(),
            87 => self.settle(),
            88..90 => self.minor_event(port),
            90 => {
                let at = self.world.ports[port.0].bytes.len() as u64 + self.rng.below(100);
                self.world.plan.borrow_mut().poison.get_or_insert((port, at));
            }
            91 => {
                let id = TimerId(1 + self.rng.below(5) as u32);
                self.world.plan.borrow_mut().poison_timer.get_or_insert(id);
            }
            92 if self.rng.chance(100) => self.pass_time(70_000_000),
            _ => self.swap(),
        }
    }

    fn finish(mut self) -> Counts {
        {
            let mut plan = self.world.plan.borrow_mut();
            plan.trap_per_mille = 0;
            plan.refuse_per_mille = 0;
        }
        self.settle();
        self.cell.stop(StopReason::Shutdown, self.now, &mut self.world);
        assert_eq!(self.cell.status(), Status::Stopped);
        let plan = self.world.plan.borrow();
        plan.counts
    }

    fn push(&mut self, port: PortIndex) {
        let most = if self.rng.chance(30) { 3_000 } else { 60 };
        let length = 1 + self.rng.below(most) as usize;
        let data: Vec<u8> = (0..length).map(|_| self.rng.next() as u8).collect();
        let lost = self.inbox.push_bytes(port, &data, self.now);
        let stream = &mut self.world.ports[port.0];
        stream.pushes.push((stream.bytes.len() as u64, self.now));
        stream.bytes.extend_from_slice(&data);
        if let Some(lost) = lost {
            stream.dropped_below = stream.dropped_below.max(lost.end);
        }
        let marks = self.inbox.marks(port).unwrap();
        assert_eq!(
            marks.head,
            stream.bytes.len() as u64,
            "byte numbers never restart"
        );
    }

    fn plug(&mut self, port: PortIndex) {
        let plugged = &mut self.plugged[port.0];
        *plugged = !*plugged;
        let lost = match *plugged {
            true => self.inbox.attach(port, Arc::default()),
            false => self.inbox.lose(port, "unplugged"),
        };
        if let Some(lost) = lost {
            let stream = &mut self.world.ports[port.0];
            stream.dropped_below = stream.dropped_below.max(lost.end);
        }
    }

    fn command(&mut self) {
        self.commands += 1;
        let id = CommandId(format!("c{}", self.commands).into());
        let command = Arc::new(Command {
            id: id.clone(),
            name: "press".to_owned(),
            arguments: "{}".to_owned(),
            actor: "a test".to_owned(),
            deadline_ns: None,
        });
        if self.inbox.command(command).is_ok() {
            self.world.open_commands.insert(id);
        }
    }

    fn cancel(&mut self) {
        let index = self.rng.below(8) as usize;
        let Some(id) = self.world.open_commands.iter().nth(index).cloned() else {
            return;
        };
        if let Cancelled::BeforeDelivery(command) = self.inbox.cancel_command(&id, "changed my mind") {
            assert!(self.world.open_commands.remove(&command.id));
        }
    }

    fn minor_event(&mut self, port: PortIndex) {
        match self.rng.below(6) {
            0 => self.inbox.line_error(port, "framing"),
            1 => self.inbox.transmit_drained(port),
            2 => self.cell.reconfigure("{\"a\":1}".into()),
            3 => assert!(self.inbox.lease_ended(LeaseId(1), "released")),
            4 => assert!(self.inbox.other("news", "{}")),
            _ => assert!(self.inbox.observe(&"foreign".into(), Some("1".into()))),
        }
    }

    fn swap(&mut self) {
        let successor = TestGuest::new(&self.world.plan);
        let before = self.cell.status();
        let generation = self.cell.generation();
        self.world.refuse_next_slice = self.rng.chance(30);
        let swapped = self.cell.swap(self.now, &mut self.world, successor);
        let after = self.cell.status();
        let counts = &mut self.world.plan.borrow_mut().counts;
        match swapped {
            Ok(report) => {
                counts.swaps += 1;
                counts.bytes_replayed_in_swaps += report.carried_bytes;
                counts.swaps_of_the_dead += u64::from(report.predecessor.is_none());
                // A timer that the start sets may run out in the replay of what the dead one was told.
                self.world.timers_unknown |= report.predecessor.is_none();
                assert_eq!(after, Status::Running);
                assert_eq!(self.cell.generation(), generation + 1);
            }
            Err(refusal) => {
                counts.swaps_refused += 1;
                assert_eq!(refusal.predecessor_runs, after == Status::Running);
                assert!(
                    before == Status::Running || after == before,
                    "a refused swap changes nothing"
                );
                assert_eq!(self.cell.generation(), generation);
            }
        }
        self.world.refuse_next_slice = false;
    }

    fn step(&mut self) -> Step {
        let plan = Rc::clone(&self.world.plan);
        let mut factory = || {
            if plan.borrow_mut().rng.chance(5) {
                return Err(Fault {
                    kind: FaultKind::Limit,
                    export: "instantiate",
                    detail: "no room".to_owned(),
                });
            }
            Ok(TestGuest::new(&plan))
        };
        let step = self.cell.step(self.now, &mut self.world, &mut factory);
        if self.cell.status() == Status::Quarantined {
            self.world.plan.borrow_mut().counts.quarantines += 1;
            self.cell.release(self.now.monotonic_ns);
            return Step::Busy;
        }
        step
    }

    fn pass_time(&mut self, us: u64) {
        self.now.monotonic_ns += us * 1_000;
        self.now.wall_ms += us as f64 / 1_000.0;
    }

    /// Until the driver is at rest with nothing to do.
    fn settle(&mut self) {
        for _ in 0..20_000 {
            match self.step() {
                Step::Busy => {}
                Step::Idle { until_ns } if self.cell.status() != Status::Running => {
                    let wait = until_ns.unwrap().saturating_sub(self.now.monotonic_ns);
                    self.pass_time(wait / 1_000 + 1);
                }
                Step::Idle { .. } => return self.check_at_rest(),
            }
        }
        panic!("the driver never comes to rest: {:?}", self.cell.status());
    }

    fn check_at_rest(&mut self) {
        for (index, stream) in self.world.ports.iter().enumerate() {
            let marks = self.inbox.marks(PortIndex(index)).unwrap();
            assert_eq!(marks.committed, stream.committed);
            assert_eq!(
                stream.committed,
                stream.bytes.len() as u64,
                "bytes are left at rest"
            );
        }
        let running: BTreeSet<_> = self
            .inbox
            .with(|inbox| inbox.timers().ids())
            .into_iter()
            .collect();
        if std::mem::take(&mut self.world.timers_unknown) {
            self.world.timers = running;
        } else {
            assert_eq!(running, self.world.timers, "timers at rest");
        }
        self.world.check_slice();
    }
}

impl World {
    fn new(plan: Rc<RefCell<Plan>>) -> Self {
        Self {
            plan,
            reference: Reference::default(),
            slice: Json::Null,
            slice_before: Json::Null,
            published_unseen: false,
            slice_is_behind: false,
            refuse_next_slice: false,
            timers: BTreeSet::new(),
            timers_unknown: false,
            in_flight: Vec::new(),
            open_commands: BTreeSet::new(),
            ports: Default::default(),
        }
    }

    fn check_slice(&self) {
        if !self.slice_is_behind {
            assert_eq!(self.slice, self.reference.memory.slice(), "the slice");
        }
    }

    fn cold_input(&self, reason: StartReason) -> StartInput {
        StartInput {
            device: "meter".into(),
            reason,
            settings: "{}".into(),
            ports: self
                .ports
                .iter()
                .map(|stream| PortState {
                    name: "".into(),
                    attached: stream.attached,
                    offset: stream.committed,
                })
                .collect(),
            slice: None,
            snapshot: None,
            commands: self.in_flight.clone(),
            timers: Vec::new(),
        }
    }

    /// Follows a committed event, and answers what the uninterrupted driver asks for.
    fn follow(&mut self, taken: &Taken, time: CallTime) -> Effects {
        match taken {
            Taken::Bytes(chunk) => {
                let stream = &mut self.ports[chunk.port.0];
                assert_eq!(
                    stream.committed, chunk.from,
                    "bytes are committed once and in order"
                );
                stream.committed = chunk.to;
                let push = stream.pushes.partition_point(|&(offset, _)| offset <= chunk.from) - 1;
                let late = stream.pushes[push].1.monotonic_ns - chunk.received.monotonic_ns;
                assert!(late < MS, "the bytes were received {late} ns before");
                let event = Event::Bytes {
                    port: chunk.port,
                    offset: chunk.from,
                    received_ns: chunk.received.monotonic_ns,
                    received_ms: chunk.received.wall_ms,
                    data: &stream.bytes[chunk.from as usize..chunk.to as usize],
                    replayed: false,
                };
                return self.reference.handle(&event, time);
            }
            Taken::Event(Event::Overrun { port, from, to, .. }) => {
                let stream = &mut self.ports[port.0];
                assert_eq!(stream.committed, *from);
                if stream.left_out == Some((*from, *to)) {
                    stream.left_out = None;
                } else {
                    assert!(
                        *to <= stream.dropped_below,
                        "bytes are missing that the ring kept"
                    );
                    self.plan.borrow_mut().counts.overruns += 1;
                }
                stream.committed = *to;
            }
            Taken::Event(Event::Timer(id)) => {
                assert!(
                    self.timers_unknown || self.timers.remove(id),
                    "{id:?} was not running"
                );
            }
            Taken::Event(Event::Command(command)) => self.in_flight.push(Arc::clone(command)),
            Taken::Event(Event::PortAttached { port, .. }) => self.ports[port.0].attached = true,
            Taken::Event(Event::PortLost { port, .. }) => self.ports[port.0].attached = false,
            Taken::Event(_) => {}
        }
        let Taken::Event(event) = taken else {
            unreachable!()
        };
        self.reference.handle(event, time)
    }

    fn apply_outside(&mut self, effects: &Effects) {
        for change in &effects.timers {
            match change {
                TimerChange::Set { id, .. } => self.timers.insert(*id),
                TimerChange::Cancel { id } => self.timers.remove(id),
            };
        }
        for reply in &effects.replies {
            if let CommandReply::Complete { id, .. } = reply {
                assert!(self.open_commands.remove(id), "{id:?} is completed twice");
                self.in_flight.retain(|command| command.id != *id);
                self.plan.borrow_mut().counts.commands_completed += 1;
            }
        }
    }

    /// A second reading of what operations mean.
    fn apply_to_slice(&mut self, operations: &[Operation]) {
        for operation in operations {
            match operation {
                Operation::Set {
                    path,
                    value: Value::Json(value),
                } => match self.slice.pointer_mut(path.as_str()) {
                    Some(place) => *place = value.clone(),
                    None => panic!("the driver only sets what is there: {path}"),
                },
                Operation::Append {
                    path,
                    value: Value::Json(value),
                    bound,
                } => {
                    let array = self
                        .slice
                        .pointer_mut(path.as_str())
                        .unwrap()
                        .as_array_mut()
                        .unwrap();
                    array.push(value.clone());
                    while array.len() > *bound as usize {
                        array.remove(0);
                    }
                }
                other => panic!("the driver does not use {other:?}"),
            }
        }
    }
}

impl Sink for World {
    fn commit(&mut self, effects: &mut Effects, commit: Commit<'_>) -> Result<(), SliceRefused> {
        self.plan.borrow_mut().counts.commits += 1;
        self.plan.borrow_mut().counts.samples += effects.samples.len() as u64;
        match commit.cause {
            Cause::Start {
                from_snapshot: true, ..
            } => {
                assert!(
                    effects.operations.is_empty(),
                    "a start from a snapshot replaces the slice"
                );
                assert!(effects.port_actions.is_empty() && effects.replies.is_empty());
                assert_eq!(effects.samples.len(), 1, "the replay is muted");
            }
            Cause::Start { reason, .. } => {
                let expected = self.reference.start(&self.cold_input(reason), commit.time);
                assert_same(effects, &expected);
                self.timers.clear();
                self.slice_is_behind = false;
            }
            Cause::Event(taken) => {
                let expected = self.follow(taken, commit.time);
                assert_same(effects, &expected);
                if let Taken::Event(Event::Other { kind, .. }) = taken
                    && &**kind == "update-refused"
                {
                    self.slice_is_behind = false;
                }
            }
            Cause::Stop(_) => assert_eq!(effects.port_actions.len(), 1, "last words are written"),
        }
        self.apply_outside(effects);
        let refused = effects.operations.iter().any(|operation| {
            matches!(operation, Operation::Set { path, value }
                if path.as_str() == "/not/there" || *value == Value::Json(guest::TOO_LARGE.into()))
        });
        if refused {
            self.slice_is_behind = true;
            self.plan.borrow_mut().counts.refused_updates += 1;
            return Err(SliceRefused("no such place, or too large".to_owned()));
        }
        self.apply_to_slice(&effects.operations);
        Ok(())
    }

    fn logs(&mut self, _lines: &mut Vec<LogLine>, _suppressed: u64, _origin: LogOrigin) {}

    fn slice(&mut self) -> Option<Arc<str>> {
        self.published_unseen = false;
        (!self.slice.is_null()).then(|| self.slice.to_string().into())
    }

    fn replace_slice(&mut self, value: Json) -> Result<(), SliceRefused> {
        if self.refuse_next_slice {
            return Err(SliceRefused("too large".to_owned()));
        }
        self.slice_before = std::mem::replace(&mut self.slice, value);
        Ok(())
    }

    fn skipped(&mut self, skipped: Skipped<'_>) {
        let mut plan = self.plan.borrow_mut();
        match skipped.taken {
            Taken::Bytes(chunk) => {
                plan.counts.skipped_bytes += chunk.to - chunk.from;
                let stream = &mut self.ports[chunk.port.0];
                assert_eq!(stream.committed, chunk.from);
                assert_eq!(
                    skipped.bytes,
                    &stream.bytes[chunk.from as usize..chunk.to as usize]
                );
                stream.left_out = Some((chunk.from, chunk.to));
                if plan
                    .poison
                    .is_some_and(|(port, at)| port == chunk.port && at < chunk.to)
                {
                    plan.poison = None;
                }
            }
            Taken::Event(event) => {
                plan.counts.skipped_events += 1;
                match event {
                    Event::Timer(id) => {
                        plan.poison_timer = plan.poison_timer.filter(|poison| poison != id);
                        self.timers.remove(id);
                    }
                    Event::PortAttached { port, .. } => self.ports[port.0].attached = true,
                    Event::PortLost { port, .. } => self.ports[port.0].attached = false,
                    Event::Overrun { port, to, .. } => self.ports[port.0].committed = *to,
                    _ => {}
                }
            }
        }
    }

    fn command_failed(&mut self, command: &Arc<Command>, _breakdown: &Breakdown) {
        self.plan.borrow_mut().counts.commands_failed += 1;
        assert!(
            self.open_commands.remove(&command.id),
            "{:?} fails twice",
            command.id
        );
    }

    fn life(&mut self, change: LifeChange<'_>) {
        let (newest, published) = {
            let plan = self.plan.borrow();
            (Rc::clone(&plan.newest), plan.newest_published)
        };
        let counts = &mut self.plan.borrow_mut().counts;
        match change {
            LifeChange::CheckpointDropped { .. } | LifeChange::Stopped(_) => {}
            LifeChange::BrokeDown { .. } => counts.breakdowns += 1,
            LifeChange::Started {
                from_snapshot: false, ..
            } => counts.cold_starts += 1,
            LifeChange::Started {
                reason,
                replayed_bytes,
                lost_bytes,
                ..
            } => {
                if reason == StartReason::Restart {
                    counts.bytes_replayed_in_restarts += replayed_bytes;
                }
                if published {
                    self.published_unseen = true;
                } else if lost_bytes == 0 && !self.published_unseen {
                    assert_eq!(self.slice, self.slice_before, "a start that publishes nothing");
                }
                if lost_bytes > 0 {
                    // The ring had dropped a part of the past, so the driver is another one now.
                    counts.replays_with_loss += 1;
                    self.reference.memory = newest.borrow().clone();
                    self.slice_is_behind = true;
                    self.timers_unknown = true;
                }
                assert_eq!(
                    *newest.borrow(),
                    self.reference.memory,
                    "what the driver remembers"
                );
                self.check_slice();
            }
        }
    }
}

fn assert_same(effects: &Effects, expected: &Effects) {
    assert_eq!(effects.operations, expected.operations);
    assert_eq!(effects.samples, expected.samples);
    assert_eq!(effects.port_actions, expected.port_actions);
    assert_eq!(effects.replies, expected.replies);
    assert_eq!(effects.timers, expected.timers);
    assert_eq!(effects.status, expected.status);
}
