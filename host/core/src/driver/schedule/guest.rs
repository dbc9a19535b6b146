//! The driver of the schedule, with what goes wrong in it. A second one, which is never interrupted, says what this one should have done.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::*;
use super::memory::{Memory, write};

/// Slices of others that drivers may observe.
pub const FOREIGN_SLICES: [&str; 3] = ["meter", "panel", "keys"];

/// What goes wrong. Shared by all guests of a schedule.
#[derive(Debug)]
pub struct Plan {
    pub rng: Rng,
    /// Of 1,000 calls, so many trap.
    pub trap_per_mille: u64,
    /// A byte over which every guest traps.
    pub poison: Option<(PortIndex, u64)>,
    /// A timer over which every guest traps.
    pub poison_timer: Option<TimerId>,
    /// A lease over whose end every guest traps.
    pub poison_lease: Option<LeaseId>,
    /// Of 1,000 starts from a snapshot, so many do not understand it.
    pub refuse_per_mille: u64,
    /// Memory of the guest that was made last.
    pub newest: Rc<RefCell<Memory>>,
    /// Whether the last start published a slice.
    pub newest_published: bool,
    /// What that guest observes.
    pub newest_observes: Vec<Arc<str>>,
    pub counts: Counts,
}

macro_rules! counts {
    ($($name:ident),* $(,)?) => {
        /// How often things happened, so that schedules that have become harmless are noticed.
        #[derive(Debug, Clone, Copy, Default)]
        pub struct Counts {
            $(pub $name: u64,)*
        }

        impl Counts {
            pub fn add(&mut self, other: Counts) {
                $(self.$name += other.$name;)*
            }

            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counts! {
    start_traps,
    handle_traps,
    replay_traps,
    snapshot_traps,
    refused_starts,
    bytes_replayed_in_swaps,
    bytes_replayed_in_restarts,
    breakdowns,
    swaps,
    swaps_refused,
    swaps_of_the_dead,
    head_starts,
    head_starts_of_events,
    head_starts_too_late,
    returns,
    returns_of_bytes,
    returns_over_a_gap,
    returns_over_missed_bytes,
    returns_refused,
    returns_with_loss,
    returns_of_alarms,
    cold_starts,
    replays_with_loss,
    overruns,
    skipped_bytes,
    skipped_events,
    observed_values,
    observed_ends,
    leases_taken,
    leases_taken_once_more,
    leases_left_for_another_port,
    leases_given_back,
    leases_over,
    leases_told,
    leases_ended_by_breakdown,
    leases_over_swaps,
    commands_failed,
    commands_completed,
    refused_updates,
    quarantines,
    commits,
    samples,
}

/// The driver that is interrupted.
pub struct TestGuest {
    memory: Rc<RefCell<Memory>>,
    plan: Rc<RefCell<Plan>>,
    dead: bool,
    started: bool,
    /// A memory of some records ago, for a snapshot that leaves whole records to the replay.
    anchor: Option<Box<Memory>>,
    records_since_anchor: u64,
    reported: Vec<u64>,
    /// A driver may leave its slice as it is when it starts.
    publishes: bool,
    observes: Vec<Arc<str>>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    memory: Memory,
    /// The slice is ahead of the memory, so the start has to publish it.
    behind: bool,
}

impl TestGuest {
    pub fn new(plan: &Rc<RefCell<Plan>>) -> Self {
        let memory = Rc::new(RefCell::new(Memory::default()));
        let mut shared = plan.borrow_mut();
        shared.newest = Rc::clone(&memory);
        let publishes = shared.rng.chance(500);
        // A version observes what its file says.
        let observes: Vec<Arc<str>> = (FOREIGN_SLICES.iter())
            .filter(|_| shared.rng.chance(700))
            .map(|&slice| slice.into())
            .collect();
        shared.newest_observes.clone_from(&observes);
        drop(shared);
        Self {
            memory,
            plan: Rc::clone(plan),
            dead: false,
            started: false,
            anchor: None,
            records_since_anchor: 0,
            reported: Vec::new(),
            publishes,
            observes,
        }
    }

    /// Where in a call it traps, if it does: after it has done its work, or before.
    fn trap(&self) -> Option<bool> {
        let plan = &mut *self.plan.borrow_mut();
        let traps = plan.rng.chance(plan.trap_per_mille);
        traps.then(|| plan.rng.chance(500))
    }

    fn fault(&mut self, export: &'static str) -> Fault {
        self.dead = true;
        Fault::new(FaultKind::Trap, export, "unreachable")
    }

    fn is_poisoned(&self, event: &Event<'_>) -> bool {
        let plan = self.plan.borrow();
        match event {
            Event::Bytes {
                port, offset, data, ..
            } => plan.poison.is_some_and(|(bad, at)| {
                bad == *port && (*offset..*offset + data.len() as u64).contains(&at)
            }),
            Event::Timer(id) => plan.poison_timer == Some(*id),
            Event::LeaseEnded { id, .. } => plan.poison_lease == Some(*id),
            _ => false,
        }
    }
}

impl Guest for TestGuest {
    fn start(
        &mut self,
        input: &StartInput,
        time: CallTime,
        effects: &mut Effects,
    ) -> Result<Result<(), Refusal>, Fault> {
        assert!(!self.dead && !self.started, "start is called once");
        self.started = true;
        let trap = self.trap();
        if trap == Some(false) {
            self.plan.borrow_mut().counts.start_traps += 1;
            return Err(self.fault("start"));
        }
        let mut publish = true;
        if let Some(snapshot) = &input.snapshot {
            let plan = &mut *self.plan.borrow_mut();
            if plan.rng.chance(plan.refuse_per_mille) {
                plan.counts.refused_starts += 1;
                let unknown = plan.rng.chance(500);
                return Ok(Err(match unknown {
                    true => Refusal::UnknownSnapshot("another schema".to_owned()),
                    false => Refusal::Other("in a bad mood".to_owned()),
                }));
            }
            let Saved { memory, behind } = serde_json::from_slice(&snapshot.data).unwrap();
            publish = behind || self.publishes;
            let listed: Vec<_> = input
                .commands
                .iter()
                .map(|command| command.id.0.to_string())
                .collect();
            assert_eq!(
                listed, memory.pending,
                "commands in flight are those of the snapshot"
            );
            self.reported = snapshot.consumed.iter().map(|&(_, to)| to).collect();
            for (state, port) in input.ports.iter().zip(&memory.ports) {
                assert_eq!((state.attached, state.offset), (port.attached, port.position));
            }
            *self.memory.borrow_mut() = memory;
        }
        self.plan.borrow_mut().newest_published = publish;
        self.memory.borrow_mut().start(input, publish, time, effects);
        if trap == Some(true) {
            self.plan.borrow_mut().counts.start_traps += 1;
            return Err(self.fault("start"));
        }
        Ok(Ok(()))
    }

    fn handle(&mut self, event: &Event<'_>, time: CallTime, effects: &mut Effects) -> Result<(), Fault> {
        assert!(!self.dead && self.started, "a dead guest is called");
        let replayed = matches!(event, Event::Bytes { replayed: true, .. });
        let trap = match self.is_poisoned(event) {
            true => Some(self.plan.borrow_mut().rng.chance(500)),
            false => self.trap(),
        };
        let before = self
            .memory
            .borrow()
            .ports
            .iter()
            .map(|port| port.records)
            .sum::<u64>();
        if trap != Some(false) {
            self.memory.borrow_mut().handle(event, time, effects);
        }
        if trap.is_some() {
            let counts = &mut self.plan.borrow_mut().counts;
            match replayed {
                true => counts.replay_traps += 1,
                false => counts.handle_traps += 1,
            }
        }
        if trap.is_some() {
            return Err(self.fault("handle"));
        }
        let memory = self.memory.borrow();
        let records = memory.ports.iter().map(|port| port.records).sum::<u64>() - before;
        self.records_since_anchor += records;
        if !matches!(event, Event::Bytes { .. }) {
            self.anchor = None;
        } else if records > 0 && (self.anchor.is_none() || self.records_since_anchor > 12) {
            self.anchor = Some(Box::new(memory.without_partial_records()));
            self.records_since_anchor = 0;
        }
        Ok(())
    }

    fn snapshot(&mut self, _time: CallTime) -> Result<Snapshot, Fault> {
        assert!(!self.dead && self.started, "a dead guest is called");
        if self.trap().is_some() {
            self.plan.borrow_mut().counts.snapshot_traps += 1;
            return Err(self.fault("snapshot"));
        }
        let memory = self.memory.borrow();
        let kind = self.plan.borrow_mut().rng.below(3);
        let possible = |memory: &Memory| {
            let reported = self.reported.iter().copied().chain(std::iter::repeat(0));
            memory
                .ports
                .iter()
                .zip(reported)
                .all(|(port, reported)| port.position >= reported)
        };
        let (saved, behind) = match (kind, self.anchor.as_deref()) {
            (0, Some(anchor)) if possible(anchor) => (anchor.clone(), true),
            (0 | 1, _) if possible(&memory.without_partial_records()) => {
                (memory.without_partial_records(), false)
            }
            _ => (memory.clone(), false),
        };
        let consumed: Vec<_> = saved
            .ports
            .iter()
            .enumerate()
            .map(|(index, port)| (PortIndex(index), port.position))
            .collect();
        self.reported = consumed.iter().map(|&(_, to)| to).collect();
        let data = serde_json::to_vec(&Saved {
            memory: saved,
            behind,
        })
        .unwrap();
        Ok(Snapshot {
            schema_version: 1,
            data: data.into(),
            consumed,
        })
    }

    fn stop(&mut self, _reason: StopReason, _time: CallTime, effects: &mut Effects) -> Result<(), Fault> {
        assert!(!self.dead && self.started, "a dead guest is called");
        write(effects, 0, b"bye");
        // What it holds with its last words ends at once.
        effects.leases.push(LeaseChange::Acquire {
            id: LeaseId(99),
            port: PortIndex(0),
            release: (*b"up").into(),
            maximum_ms: 1000,
            holder: None,
        });
        Ok(())
    }

    fn observes(&self) -> &[Arc<str>] {
        &self.observes
    }
}

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}
