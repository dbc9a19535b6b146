//! What the predecessor of a version would be, had it never been succeeded: a second reading of what a return is.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::super::*;
use super::MS;
use super::memory::{Memory, Reference, TOO_LARGE};
use super::world::{Stream, World};
use crate::state::{Operation, Value};

/// The model of a driver at rest, that is told what its successor is told.
#[derive(Clone)]
pub struct Former {
    /// What it remembered when it was succeeded, and whether its slice was less than that.
    pub at_flip: Memory,
    pub was_behind: bool,
    /// The memory of the driver itself.
    pub returned: Rc<RefCell<Memory>>,
    pub model: Reference,
    timers: Vec<(u64, TimerId)>,
    /// When its successor dealt with something last.
    told: CallTime,
    /// The port, end and time of the bytes that came last.
    received: Option<(PortIndex, u64, CallTime)>,
    clock: CallTime,
    /// A command was under way, so it does not come back.
    pub had_commands: bool,
    /// One of its updates would have been refused, so its slice is not all that it wants.
    pub is_behind: bool,
    /// The slices that it observes.
    pub observes: Vec<Arc<str>>,
    /// Of the end of some of its leases it was not told, or it has lost bytes that would have taken or given back some.
    pub had_unheard_leases: bool,
    /// It is told of bytes whose time of arrival only the ring knows.
    pub is_unsure: bool,
}

impl Former {
    pub fn at_flip(world: &World, timer_in_hand: Option<TimerId>, now: CallTime) -> Self {
        let mut timers = world.running_timers();
        if let Some(id) = timer_in_hand {
            // It has run out, and the driver has yet to hear of it.
            timers.retain(|(_, running)| *running != id);
            timers.push((now.monotonic_ns, id));
        }
        Self {
            at_flip: world.live.borrow().clone(),
            was_behind: world.slice_is_behind,
            model: Reference {
                memory: world.live.borrow().clone(),
            },
            returned: Rc::clone(&world.live),
            timers,
            told: now,
            received: None,
            clock: now,
            had_commands: !world.in_flight.is_empty(),
            is_behind: world.slice_is_behind,
            observes: world.live_observes.clone(),
            had_unheard_leases: world.leases_unknown || !world.leases_unheard.is_empty(),
            is_unsure: false,
        }
    }

    /// The event was committed.
    pub fn told(&mut self, taken: &Taken, time: CallTime, ports: &[Stream]) {
        self.had_commands |= matches!(taken, Taken::Event(Event::Command(_)));
        if self.is_unsure {
            return;
        }
        self.told = time;
        match taken {
            Taken::Bytes(chunk) => {
                let data = &ports[chunk.port.0].bytes[chunk.from as usize..chunk.to as usize];
                // What was received together comes in one call, although its successor got it in two.
                if self.received != Some((chunk.port, chunk.from, chunk.received)) {
                    self.pass_time(chunk.received);
                }
                self.received = Some((chunk.port, chunk.to, chunk.received));
                self.handle(
                    &Event::Bytes {
                        port: chunk.port,
                        offset: chunk.from,
                        received_ns: chunk.received.monotonic_ns,
                        received_ms: chunk.received.wall_ms,
                        data,
                        replayed: true,
                    },
                    chunk.received,
                );
            }
            // It is given what its successor was spared.
            Taken::Event(Event::Overrun { .. }) => self.is_unsure = true,
            Taken::Event(Event::Command(_)) => {}
            Taken::Event(event) => {
                let is_its_own = matches!(event, Event::Timer(_) | Event::CommandCancelled { .. })
                    || matches!(event, Event::Other { kind, .. } if &**kind == "update-refused");
                if !is_its_own {
                    self.received = None;
                    self.pass_time(time);
                    let is_of_others = match event {
                        Event::Observed { slice, .. } => !self.observes.contains(slice),
                        Event::LeaseEnded { id, .. } => !self.model.memory.leases.contains(&id.0),
                        _ => false,
                    };
                    if !is_of_others {
                        self.handle(event, time);
                    }
                }
            }
        }
    }

    /// While its successor is down.
    pub fn settings_changed(&mut self, settings: Arc<str>) {
        self.told(&Taken::Event(Event::Settings(settings)), self.told, &[]);
    }

    /// Its successor never dealt with the event, which nobody tells the time of.
    pub fn was_left_out(&mut self, event: &Event<'static>) {
        self.is_unsure |= !matches!(event, Event::Timer(_));
    }

    /// It comes back: its timers have run out that were due when its successor last did something.
    pub fn comes_back(&mut self) {
        if !self.is_unsure {
            self.pass_time(self.told);
        }
    }

    pub fn timers(&self) -> Vec<(u64, TimerId)> {
        let mut timers = self.timers.clone();
        timers.sort_unstable();
        timers
    }

    fn pass_time(&mut self, until: CallTime) {
        while let Some(&(due_ns, id)) = self.timers.iter().min()
            && due_ns <= until.monotonic_ns
        {
            self.timers.retain(|&timer| timer != (due_ns, id));
            let early_ns = until.monotonic_ns - due_ns;
            let time = CallTime {
                monotonic_ns: due_ns,
                wall_ms: until.wall_ms - early_ns as f64 / MS as f64,
            };
            self.handle(&Event::Timer(id), time);
        }
    }

    fn handle(&mut self, event: &Event<'_>, time: CallTime) {
        if time.monotonic_ns > self.clock.monotonic_ns {
            self.clock = time;
        }
        let effects = self.model.handle(event, self.clock);
        for change in &effects.timers {
            let (TimerChange::Set { id, .. } | TimerChange::Cancel { id }) = change;
            self.timers.retain(|(_, running)| running != id);
            if let TimerChange::Set { id, at_ns } = change {
                self.timers.push((*at_ns, *id));
            }
        }
        self.is_behind |= effects.operations.iter().any(|operation| {
            matches!(operation, Operation::Set { path, value }
                if path.as_str() == "/not/there" || *value == Value::Json(TOO_LARGE.into()))
        });
    }
}
