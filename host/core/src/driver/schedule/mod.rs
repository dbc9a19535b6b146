//! Random schedules of everything that can happen to a driver, against a driver to which nothing ever happens.
//!
//! Each schedule pushes random pieces of bytes into small rings, lets time pass, unplugs, sends commands, swaps, and lets calls trap: at any
//! call, before or after the call has asked for its effects, in replays too, and again and again at one byte. At every commit the
//! uninterrupted driver is told the same event, and must ask for exactly the same: so effects are exactly once per committed byte, in order,
//! and what a restart or a swap remembers is what was committed. Whenever a driver goes live its memory and its slice are compared as well.
//!
//! `AUTOBENCH_SEED=n` repeats one schedule, `AUTOBENCH_LONG=1` runs a million swaps.

mod former;
pub(super) mod guest;
pub(super) mod memory;
mod world;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use former::Former;
use guest::{Counts, FOREIGN_SLICES, Plan, Rng, TestGuest};
use memory::LEASES_USED;
use world::World;

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
        None => 40_000,
    };
    let base = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64);
    println!("base seed {base}, {wanted} swaps");
    let next = AtomicU64::new(base);
    let swaps = AtomicU64::new(0);
    // Schedules know nothing of each other.
    let work = || {
        let mut total = Counts::default();
        while swaps.load(Ordering::Relaxed) < wanted {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let counts = std::panic::catch_unwind(|| Schedule::run(seed)).unwrap_or_else(|panic| {
                println!("AUTOBENCH_SEED={seed} repeats this schedule");
                // The others have no need to go on.
                swaps.store(wanted, Ordering::Relaxed);
                std::panic::resume_unwind(panic)
            });
            swaps.fetch_add(counts.swaps, Ordering::Relaxed);
            total.add(counts);
        }
        total
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut total = Counts::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            total.add(
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
        }
    });
    let schedules = next.into_inner().wrapping_sub(base);
    println!("{schedules} schedules in {threads} threads: {total:#?}");
    assert!(total.swaps >= wanted);
    for (what, count) in total.list() {
        assert!(
            count > 0,
            "no schedule had any {what}: they have become too harmless"
        );
    }
}

const PORT: PortIndex = PortIndex(0);

#[test]
fn what_a_version_was_spared_comes_to_the_one_that_returns_as_bytes() {
    let mut schedule = Schedule::calm();
    schedule.send(&[0; 10]);
    schedule.settle();
    schedule.swap_at_rest();
    schedule.poison();
    schedule.send(&[0; 10]);
    schedule.fall();
    // Nobody has decided anything by then, and it breaks down once more.
    schedule.pass_time(2_000_000);
    assert_eq!(schedule.step(), Step::Busy);
    assert_eq!(schedule.cell.status(), Status::Running);
    schedule.fall();
    assert_eq!(schedule.world.plan.borrow().counts.skipped_bytes, 10);
    schedule.bring_back();
    assert_eq!(schedule.cell.status(), Status::Running);
    schedule.settle();
    let memory = schedule.world.live.borrow();
    assert_eq!((memory.ports[0].position, memory.ports[0].records), (20, 20));
    assert_eq!(memory.gap_bytes, 0, "it is told of no gap");
}

#[test]
fn a_driver_that_never_runs_again_is_dropped_when_nothing_else_is_to_be_done() {
    let mut schedule = Schedule::calm();
    let first = Rc::downgrade(&schedule.world.live);
    schedule.swap_at_rest();
    schedule.settle();
    assert!(first.upgrade().is_some(), "it may come back");
    let second = Rc::downgrade(&schedule.world.live);
    schedule.send(&[0; 10]);
    schedule.swap_at_rest();
    assert!(first.upgrade().is_some(), "not while the driver rests");
    assert_eq!(schedule.step(), Step::Busy);
    assert!(first.upgrade().is_some(), "not before the bytes");
    schedule.settle();
    assert!(first.upgrade().is_none(), "its successor is what may come back");
    assert!(second.upgrade().is_some());
    // The model of it goes, too.
    schedule.world.former = None;
    schedule.pass_time(PROBATION_NS / 1_000 + 2_000_000);
    schedule.send(&[0; 10]);
    assert_eq!(schedule.step(), Step::Busy);
    assert!(second.upgrade().is_some(), "not before the bytes");
    schedule.settle();
    assert!(second.upgrade().is_none());
}

#[test]
fn bytes_that_a_version_lost_are_not_counted_once_more_when_another_returns() {
    // Its records are long, and the driver says of none that it cannot go on.
    const FILL: u8 = 22;
    let mut schedule = Schedule::calm();
    schedule.swap_at_rest();
    let capacity = 8_000;
    let lost: u64 = (0..3)
        .filter_map(|_| {
            schedule
                .inbox
                .push_bytes(PORT, &vec![FILL; capacity], schedule.now)
        })
        .map(|lost| lost.end - lost.start)
        .sum();
    assert!(lost > 0, "no ring of a schedule has room for all of them");
    let stream = &mut schedule.world.ports[PORT.0];
    stream.pushes.push((0, schedule.now));
    stream.bytes.extend(vec![FILL; 3 * capacity]);
    stream.dropped_below = lost;
    schedule.settle();
    assert_eq!(schedule.world.plan.borrow().counts.overruns, 1);
    schedule.bring_back();
    assert_eq!(schedule.world.plan.borrow().counts.returns, 1);
    assert_eq!(schedule.world.plan.borrow().counts.returns_with_loss, 0);
    assert_eq!(
        schedule.world.live.borrow().gap_bytes,
        lost,
        "it is told of the gap"
    );
}

#[test]
fn settings_that_were_corrected_while_a_driver_is_down_are_not_followed_by_the_old_ones() {
    let mut schedule = Schedule::calm();
    let heard = schedule.world.live.borrow().heard;
    schedule.poison();
    schedule.send(&[0]);
    schedule.cell.reconfigure("{\"a\":1}".into());
    schedule.fall();
    schedule.cell.reconfigure("{\"a\":2}".into());
    schedule.settle();
    assert_eq!(schedule.cell.setup.settings.as_ref(), "{\"a\":2}");
    assert_eq!(
        schedule.world.live.borrow().heard,
        heard,
        "its start has the new ones"
    );
}

/// What the predecessor leaves behind.
struct Flip {
    former: Former,
    alarms: Option<BTreeSet<String>>,
    held: BTreeMap<u64, Lease>,
}

impl Flip {
    fn of(world: &World, timer_in_hand: Option<TimerId>, now: CallTime) -> Self {
        // One that has lost a part of its past in a replay does not know what stands.
        let knows_its_alarms = world.alarms == world.live.borrow().alarms;
        Self {
            former: Former::at_flip(world, timer_in_hand, now),
            alarms: knows_its_alarms.then(|| world.alarms.clone()),
            held: world.leases.clone(),
        }
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

impl Schedule {
    fn run(seed: u64) -> Counts {
        let mut schedule = Self::new(seed);
        for _ in 0..ACTIONS {
            schedule.act();
        }
        schedule.finish()
    }

    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let plan = Rc::new(RefCell::new(Plan {
            rng: Rng(rng.next()),
            trap_per_mille: [5, 30, 60, 120][rng.below(4) as usize],
            poison: None,
            poison_timer: None,
            poison_lease: None,
            refuse_per_mille: [0, 50, 200][rng.below(3) as usize],
            newest: Rc::default(),
            newest_published: false,
            newest_observes: Vec::new(),
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
        Self {
            cell: Cell::new(setup, inbox.clone()),
            world: World::new(plan, inbox.clone()),
            inbox,
            rng,
            now: CallTime {
                monotonic_ns: 1_000 * MS,
                wall_ms: 1.0e12,
            },
            commands: 0,
            plugged: [false; PORTS],
        }
    }

    /// One in which nothing goes wrong of itself, with a driver that runs.
    fn calm() -> Self {
        let mut schedule = Self::new(1);
        {
            let mut plan = schedule.world.plan.borrow_mut();
            plan.trap_per_mille = 0;
            plan.refuse_per_mille = 0;
        }
        schedule.settle();
        schedule
    }

    fn send(&mut self, data: &[u8]) {
        assert_eq!(
            self.inbox.push_bytes(PORT, data, self.now),
            None,
            "the ring has room"
        );
        let stream = &mut self.world.ports[PORT.0];
        stream.pushes.push((stream.bytes.len() as u64, self.now));
        stream.bytes.extend_from_slice(data);
    }

    /// Lets the driver break down over what comes next.
    fn poison(&mut self) {
        let at = self.world.ports[PORT.0].bytes.len() as u64;
        self.world.plan.borrow_mut().poison = Some((PORT, at));
    }

    /// Steps until the driver is down.
    fn fall(&mut self) {
        while self.cell.status() == Status::Running {
            assert_eq!(self.step(), Step::Busy, "it has something to break down over");
        }
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
            92 if self.rng.chance(300) => {
                let id = LeaseId(self.rng.below(LEASES_USED.into()) as u32);
                self.world.plan.borrow_mut().poison_lease.get_or_insert(id);
            }
            92 if self.rng.chance(100) => self.pass_time(70_000_000),
            93..96 => self.bring_back(),
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
        assert!(self.world.leases.is_empty(), "nobody holds what is left");
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
        match self.rng.below(10) {
            0 => self.inbox.line_error(port, "framing"),
            1 => self.inbox.transmit_drained(port),
            2 => {
                let settings: Arc<str> = format!("{{\"a\":{}}}", self.rng.below(1000)).into();
                self.cell.reconfigure(Arc::clone(&settings));
                if self.cell.status() != Status::Running
                    && let Some(former) = &mut self.world.former
                {
                    former.settings_changed(settings);
                }
            }
            3 => {
                let id = LeaseId(self.rng.below(LEASES_USED.into()) as u32);
                // One that it has ended before is held until the driver's next step.
                assert!(!self.inbox.end_lease(id, "client-gone") || self.world.is_held(id));
            }
            4 => assert!(self.inbox.other("news", "{}")),
            _ => self.change_foreign_slice(),
        }
    }

    fn change_foreign_slice(&mut self) {
        let slice: Arc<str> = FOREIGN_SLICES[self.rng.below(3) as usize].into();
        match self.rng.below(4) {
            0 => self.world.foreign.remove(&slice),
            value => self.world.foreign.insert(Arc::clone(&slice), value),
        };
        if self.world.watched.contains(&slice) {
            self.inbox.slice_changed(&slice);
        }
    }

    fn swap(&mut self) {
        match self.rng.chance(700) {
            true => self.swap_with_head_start(),
            false => self.swap_at_rest(),
        }
    }

    fn swap_with_head_start(&mut self) {
        let Some(head_start) = self.cell.head_start(self.now, &mut self.world) else {
            return self.swap_at_rest();
        };
        let started = head_start.start(TestGuest::new(&self.world.plan));
        let commits = self.world.plan.borrow().counts.commits;
        for _ in 0..self.rng.below(12) {
            self.go_on();
        }
        let is_behind = self.world.plan.borrow().counts.commits > commits;
        self.world.refuse_next_slice = self.rng.chance(30);
        let before = (self.cell.status(), self.cell.generation());
        let flip = Flip::of(&self.world, self.cell.timer_in_hand(), self.now);
        self.world.is_successors = true;
        let succeeded = self.cell.succeed(self.now, &mut self.world, started);
        self.world.is_successors = false;
        let swapped = match succeeded {
            Ok(report) => Ok(report),
            Err(NotSucceeded::Refused(refusal)) => Err(refusal),
            Err(NotSucceeded::TooLate) => {
                assert_eq!((self.cell.status(), self.cell.generation()), before);
                assert_eq!(self.world.leases, flip.held);
                self.world.refuse_next_slice = false;
                self.world.plan.borrow_mut().counts.head_starts_too_late += 1;
                return;
            }
        };
        if swapped.is_ok() {
            let counts = &mut self.world.plan.borrow_mut().counts;
            counts.head_starts += 1;
            counts.head_starts_of_events += u64::from(is_behind);
            // A timer that the start has set may run out in what the successor catches up with.
            self.world.timers_unknown |= is_behind;
        }
        self.check_swap(swapped, before, flip);
    }

    /// What happens beside a start.
    fn go_on(&mut self) {
        let port = PortIndex(self.rng.below(PORTS as u64) as usize);
        match self.rng.below(20) {
            0..9 => self.push(port),
            9..14 => {
                self.step();
            }
            14..16 => {
                let us = [300, 30_000, 1_200_000][self.rng.below(3) as usize];
                let us = self.rng.below(us);
                self.pass_time(us);
            }
            16 => self.plug(port),
            17 => self.command(),
            18 => self.cancel(),
            _ => self.minor_event(port),
        }
    }

    fn swap_at_rest(&mut self) {
        let successor = TestGuest::new(&self.world.plan);
        let before = (self.cell.status(), self.cell.generation());
        self.world.refuse_next_slice = self.rng.chance(30);
        let in_hand = self.cell.timer_in_hand();
        let at_rest = self.cell.rest(self.now, &mut self.world);
        let flip = Flip::of(&self.world, in_hand, self.now);
        self.world.is_successors = true;
        let swapped = at_rest.swap(self.now, &mut self.world, successor, false);
        self.world.is_successors = false;
        self.check_swap(swapped, before, flip);
    }

    fn check_swap(
        &mut self,
        swapped: Result<SwapReport, SwapRefusal>,
        (before, generation): (Status, u64),
        flip: Flip,
    ) {
        let after = self.cell.status();
        let held = flip.held;
        let counts = &mut self.world.plan.borrow_mut().counts;
        match swapped {
            Ok(report) => {
                counts.swaps += 1;
                counts.bytes_replayed_in_swaps += report.carried_bytes;
                counts.swaps_of_the_dead += u64::from(!report.predecessor_ran);
                // A timer that the start sets may run out in the replay of what the dead one was told.
                self.world.timers_unknown |= !report.predecessor_ran;
                self.world.former = report.predecessor_ran.then_some(flip.former);
                self.world.former_alarms = flip.alarms;
                if !self.world.leases_unknown {
                    counts.leases_over_swaps += held.len() as u64;
                    assert_eq!(self.world.leases, held, "a swap ends no hold");
                }
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
                assert_eq!(self.world.leases, held, "a refused swap changes nothing");
            }
        }
        self.world.refuse_next_slice = false;
    }

    /// The predecessor comes back, whatever its successor is doing.
    fn bring_back(&mut self) {
        let generation = self.cell.generation();
        self.world.refuse_next_slice = self.rng.chance(30);
        let at_rest = self.cell.rest(self.now, &mut self.world);
        self.world.is_successors = true;
        self.world.is_returning = true;
        let back = at_rest.bring_back(self.now, &mut self.world);
        self.world.is_successors = false;
        self.world.is_returning = false;
        self.world.refuse_next_slice = false;
        let former = self.world.former.take();
        let counts = &mut self.world.plan.borrow_mut().counts;
        match back {
            Ok(report) => {
                assert_eq!(report.reason, StartReason::Return);
                assert_eq!(self.cell.status(), Status::Running);
                assert_eq!(self.cell.generation(), generation + 1);
                let Some(former) = former else {
                    panic!("nobody was to come back")
                };
                assert_eq!(report.gap.is_some(), former.had_commands, "{:?}", report.gap);
                counts.returns += 1;
                counts.returns_of_bytes += report.carried_bytes;
            }
            Err(_) => {
                counts.returns_refused += 1;
                assert_eq!(self.cell.generation(), generation);
            }
        }
    }

    fn step(&mut self) -> Step {
        let plan = Rc::clone(&self.world.plan);
        let mut factory = || {
            if plan.borrow_mut().rng.chance(5) {
                return Err(Fault::new(FaultKind::Limit, "instantiate", "no room"));
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
        // The driver that has been waited for.
        let mut waited_for = None;
        for _ in 0..20_000 {
            match self.step() {
                Step::Busy => {}
                Step::Idle { until_ns } if self.cell.status() != Status::Running => {
                    let wait = until_ns.unwrap().saturating_sub(self.now.monotonic_ns);
                    self.pass_time(wait / 1_000 + 1);
                }
                Step::Idle { .. } if waited_for != Some(self.cell.generation()) => {
                    // For what is told at most so often. One that has just been let out of quarantine may have to wait for it anew.
                    waited_for = Some(self.cell.generation());
                    self.pass_time(60_000);
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
        self.world.check_observed();
        self.world.check_leases(self.now);
    }
}
