//! One version in the run: its guest, its timers, its slice, and what it asked for since the last comparison.

use std::sync::Arc;

use super::Origin;
use crate::driver::draft::Draft;
use crate::driver::{
    Breakdown, CallTime, Effects, Event, Fault, FaultKind, Guest, LeaseChange, SliceRefused, StartInput,
    StartReason, TIMERS, TimerId, Timers,
};

/// Timers that may run out between two events. One that sets them to run out at once would never get further.
const TIMERS_BETWEEN_EVENTS: usize = 10_000;

#[derive(Debug)]
pub(super) struct Lane<G> {
    guest: G,
    timers: Timers,
    pub(super) slice: Draft,
    /// Everything since the last comparison.
    pub(super) asked: Effects,
    effects: Effects,
    clock: CallTime,
}

impl<G: Guest> Lane<G> {
    pub(super) fn new(guest: G, origin: &Origin) -> Self {
        Self {
            guest,
            timers: origin.timers.clone(),
            slice: Draft::new(origin.slice.clone()),
            asked: Effects::default(),
            effects: Effects::default(),
            clock: origin.time,
        }
    }

    pub(super) fn start(&mut self, origin: &Origin) -> Result<(), Breakdown> {
        let input = StartInput {
            device: Arc::clone(&origin.device),
            reason: StartReason::Swap,
            settings: Arc::clone(&origin.settings),
            ports: origin.ports.clone(),
            slice: origin.slice.clone(),
            snapshot: Some(origin.snapshot.clone()),
            commands: origin.commands.clone(),
            timers: origin.timers.ids(),
            leases: origin.leases.clone(),
        };
        self.guest.start(&input, self.clock, &mut self.effects)??;
        let applied = self.slice.apply(&self.effects.operations);
        applied.map_err(|error| SliceRefused(error.to_string()))?;
        self.take_in("start")
    }

    /// Lets timers run out that are due, and tells it the event.
    pub(super) fn tell(&mut self, event: &Event<'_>, time: CallTime, refused: bool) -> Result<(), Breakdown> {
        self.pass_time(time)?;
        // What another version observes is nothing to this one.
        if let Event::Observed { slice, .. } = event
            && !self.guest.observes().contains(slice)
        {
            return Ok(());
        }
        self.call(event, refused)
    }

    /// Its timers run out that are due by then, each at its time.
    pub(super) fn pass_time(&mut self, until: CallTime) -> Result<(), Breakdown> {
        for _ in 0..TIMERS_BETWEEN_EVENTS {
            let due_ns = self.timers.next_ns();
            let Some(id) = self.timers.pop_due(until.monotonic_ns) else {
                self.clock = until;
                return Ok(());
            };
            let due_ns = due_ns.unwrap_or_default().max(self.clock.monotonic_ns);
            let early_ns = until.monotonic_ns.saturating_sub(due_ns);
            self.clock = CallTime {
                monotonic_ns: due_ns,
                wall_ms: until.wall_ms - early_ns as f64 / 1.0e6,
            };
            self.call(&Event::Timer(id), false)?;
        }
        Err(Breakdown::Fault(Fault::new(
            FaultKind::Limit,
            "handle",
            format!("more than {TIMERS_BETWEEN_EVENTS} timers ran out between two events"),
        )))
    }

    pub(super) fn forget_timer(&mut self, id: TimerId) {
        self.timers.cancel(id);
    }

    fn call(&mut self, event: &Event<'_>, refused: bool) -> Result<(), Breakdown> {
        self.guest.handle(event, self.clock, &mut self.effects)?;
        // What does not fit is missed, as it would be live; the other one then has it, or misses it too.
        if !refused {
            let _ = self.slice.apply(&self.effects.operations);
        }
        self.take_in("handle")
    }

    fn take_in(&mut self, export: &'static str) -> Result<(), Breakdown> {
        if !self.timers.fit(&self.effects.timers) {
            return Err(Breakdown::Fault(Fault::new(
                FaultKind::Limit,
                export,
                format!("more than {TIMERS} timers"),
            )));
        }
        let timers = self.effects.timers.iter();
        timers.for_each(|&change| self.timers.apply(change));
        let (asked, effects) = (&mut self.asked, &mut self.effects);
        asked.operations.append(&mut effects.operations);
        asked.samples.append(&mut effects.samples);
        asked.publications.append(&mut effects.publications);
        asked.alarms.append(&mut effects.alarms);
        asked.replies.append(&mut effects.replies);
        // Leases are given back between the actions of their own call.
        let earlier = asked.port_actions.len();
        asked
            .leases
            .extend(effects.leases.drain(..).map(|change| match change {
                LeaseChange::Release { id, actions_before } => LeaseChange::Release {
                    id,
                    actions_before: earlier + actions_before,
                },
                acquire => acquire,
            }));
        asked.port_actions.append(&mut effects.port_actions);
        asked.status.append(&mut effects.status);
        effects.clear();
        Ok(())
    }
}
