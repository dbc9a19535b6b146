//! Random schedules of everything that can happen to a driver, against a driver to which nothing ever happens.
//!
//! Each schedule pushes random pieces of bytes into small rings, lets time pass, unplugs, sends commands, swaps, and lets calls trap: at any
//! call, before or after the call has asked for its effects, in replays too, and again and again at one byte. At every commit the
//! uninterrupted driver is told the same event, and must ask for exactly the same: so effects are exactly once per committed byte, in order,
//! and what a restart or a swap remembers is what was committed. Whenever a driver goes live its memory and its slice are compared as well.
//!
//! `AUTOBENCH_SEED=n` repeats one schedule, `AUTOBENCH_LONG=1` runs a million swaps.

mod actions;
mod calm;
mod former;
pub(super) mod guest;
pub(super) mod memory;
mod swaps;
mod world;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use guest::{Counts, Plan, Rng, TestGuest};
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
