//! Swaps of the driver of a schedule, and returns of its predecessor.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use super::former::Former;
use super::guest::TestGuest;
use super::world::World;
use super::{PORTS, Schedule};

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

impl Schedule {
    pub(super) fn swap(&mut self) {
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

    pub(super) fn swap_at_rest(&mut self) {
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
    pub(super) fn bring_back(&mut self) {
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
}
