//! How a guest comes to life: started from the checkpoint, or from nothing, caught up, and live.

use std::ops::Range;
use std::sync::Arc;

use super::{
    Cell, FAILED_STARTS_PER_CHECKPOINT, InHand, Life, bytes_event, drop_effects, said_failed, said_phase,
    take_leases, too_many_leases, too_many_timers,
};
use crate::driver::draft::Draft;
use crate::driver::inbox::{Taken, ring_was_full};
use crate::driver::journal::{Entry, Own};
use crate::driver::leases::know;
use crate::driver::observing::Known;
use crate::driver::{
    Breakdown, CallTime, Cause, Effects, Event, Fault, Guest, LeaseChange, LeaseId, LifeChange, LogOrigin,
    PortIndex, Refusal, SharedInbox, Sink, SliceRefused, StartInput, StartReason, StatusChange, TimerChange,
    Timers,
};

/// A guest that has been started and has caught up, and what takes effect when it goes live.
pub(super) struct Arrival {
    pub(super) reason: StartReason,
    pub(super) effects: Effects,
    pub(super) past: Past,
    /// It returns over a gap: of the commands that are under way it knows nothing.
    pub(super) misses_events: bool,
}

/// What a start and a replay make of what the host holds for the driver.
pub(super) struct Past {
    /// None after a cold start, whose slice operations are in the effects.
    slice: Option<Draft>,
    timers: Timers,
    /// The leases that the guest takes for open.
    pub(super) leases: Vec<LeaseId>,
    pub(super) begun_by_start: Vec<Own>,
    replayed_bytes: u64,
    pub(super) lost_bytes: u64,
}

impl<G: Guest> Cell<G> {
    pub(super) fn restart(
        &mut self,
        now: CallTime,
        sink: &mut impl Sink,
        factory: &mut impl FnMut() -> Result<G, Fault>,
    ) {
        let reason = match self.generation {
            0 => StartReason::Cold,
            _ => StartReason::Restart,
        };
        let mut guest = match factory() {
            Ok(guest) => guest,
            Err(fault) => return self.break_down(fault.into(), None, now, sink),
        };
        let arrived = self.bring_up(&mut guest, reason, now, sink);
        let Err(breakdown) = arrived.and_then(|arrival| self.go_live(guest, arrival, now, sink)) else {
            return;
        };
        if self.checkpoint.is_some() {
            self.failed_starts += 1;
            let not_understood = matches!(breakdown, Breakdown::Refused(Refusal::UnknownSnapshot(_)));
            if not_understood || self.failed_starts >= FAILED_STARTS_PER_CHECKPOINT {
                self.drop_checkpoint(&breakdown, sink);
            }
            if not_understood {
                // No strike: the life stays as it is, and the next step starts it cold.
                return;
            }
        }
        self.break_down(breakdown, None, now, sink);
    }

    /// Starts a guest and lets it catch up. Nothing it asks for takes effect yet; log lines do.
    ///
    /// The guest lives through the past in order: its start has the time of the first event it is going to see again, and its clock never
    /// goes back from there.
    pub(super) fn bring_up(
        &mut self,
        guest: &mut G,
        reason: StartReason,
        now: CallTime,
        sink: &mut impl Sink,
    ) -> Result<Arrival, Breakdown> {
        if self.checkpoint.is_none() {
            self.journal.clear();
        }
        let time = self.journal.since().unwrap_or(now);
        let (input, mut past) = match &self.checkpoint {
            Some(checkpoint) => (checkpoint.input(&self.setup, reason), checkpoint.past()),
            None => self.without_memory(reason, sink),
        };
        let begun = begin(guest, &input, time, &mut self.effects);
        let mut effects = std::mem::take(&mut self.effects);
        // What it says there of its failure it said before the breakdown, too.
        match begun.and_then(|()| self.catch_up(guest, &mut effects, &mut past, time, sink)) {
            Ok(_) => Ok(Arrival {
                reason,
                effects,
                past,
                misses_events: false,
            }),
            Err(breakdown) => {
                drop_effects(&mut effects, LogOrigin::FailedCall, sink);
                drop_effects(&mut self.effects, LogOrigin::FailedCall, sink);
                Err(breakdown)
            }
        }
    }

    /// Brings a guest that was started from the checkpoint to where its predecessor was. Answers why it cannot go on, if it said so on the way.
    pub(super) fn catch_up(
        &mut self,
        guest: &mut G,
        start: &mut Effects,
        past: &mut Past,
        time: CallTime,
        sink: &mut impl Sink,
    ) -> Result<Option<String>, Breakdown> {
        past.apply(start, "start")?;
        past.begun_by_start = begun(start).collect();
        if let Some(slice) = &mut past.slice {
            slice
                .apply(&start.operations)
                .map_err(|error| SliceRefused(error.to_string()))?;
            let said = self.replay(guest, past, time, sink)?;
            // What it does now, and not what it did when it started.
            start.status.extend(said.phase.map(StatusChange::Phase));
            return Ok(said.failed);
        }
        Ok(None)
    }

    /// What a guest starts with that has nothing to go on from.
    fn without_memory(&mut self, reason: StartReason, sink: &mut impl Sink) -> (StartInput, Past) {
        let (ports, commands, lost_bytes) = self.inbox.with(|inbox| {
            // Whatever was not dealt with is lost with the driver's memory: it goes on at the committed offsets.
            let lost_bytes = inbox.give_up_replay();
            (
                inbox.port_states(),
                inbox.commands_in_flight().to_vec(),
                lost_bytes,
            )
        });
        let input = StartInput {
            device: Arc::clone(&self.setup.device),
            reason,
            settings: Arc::clone(&self.setup.settings),
            ports,
            slice: sink.slice(),
            snapshot: None,
            commands,
            timers: Vec::new(),
            leases: Vec::new(),
        };
        (input, Past::of_nothing(lost_bytes))
    }

    /// Gives the guest everything since the checkpoint again. Of what it asks for, only its slice and its timers, which are its own memory
    /// kept by the host, go on; the rest happened the first time.
    fn replay(
        &mut self,
        guest: &mut G,
        past: &mut Past,
        started: CallTime,
        sink: &mut impl Sink,
    ) -> Result<Said, Fault> {
        let mut replay = Replay::new(guest, &mut self.effects, &mut self.buffer, past, started, sink);
        for entry in self.journal.entries() {
            match entry {
                // What the start has set is of now.
                Entry::WasGone(own) if replay.past.begun_by_start.contains(own) => {}
                Entry::Gone(own) | Entry::WasGone(own) => replay.past.end(*own),
                Entry::Event {
                    event, time, refused, ..
                } => {
                    if let Event::Timer(id) = event {
                        replay.past.timers.cancel(*id);
                    }
                    replay.call(event, *time, *refused)?;
                }
                &Entry::Bytes {
                    port,
                    from,
                    to,
                    refused,
                } => replay.bytes(&self.inbox, (port, from..to), refused)?,
                &Entry::Spared { port, from, to } => replay.spared(&self.inbox, (port, from..to))?,
            }
        }
        Ok(replay.said)
    }

    /// The flip. Answers the guest that ran until now, if there was one, and how many bytes were replayed.
    pub(super) fn go_live(
        &mut self,
        guest: G,
        mut arrival: Arrival,
        now: CallTime,
        sink: &mut impl Sink,
    ) -> Result<(Option<G>, u64), Breakdown> {
        let Past {
            slice,
            mut timers,
            leases,
            begun_by_start,
            replayed_bytes,
            lost_bytes,
            ..
        } = arrival.past;
        let from_snapshot = slice.is_some();
        let phase = said_phase(&arrival.effects).map(str::to_owned);
        if let Some(slice) = slice {
            if let Err(refused) =
                sink.take_over(slice.into_value(), &mut arrival.effects, self.generation + 1)
            {
                drop_effects(&mut arrival.effects, LogOrigin::FailedCall, sink);
                return Err(refused.into());
            }
            arrival.effects.operations.clear();
        }
        // Were it to start from this checkpoint again, its start would not be the same call; the timers that it set now must not be lost.
        if let Some(checkpoint) = &mut self.checkpoint {
            for &change in &arrival.effects.timers {
                checkpoint.timers.apply(change);
            }
            // The same holds for its leases.
            let known = know(&mut checkpoint.leases, &arrival.effects.leases);
            debug_assert_eq!(known, Ok(()), "the start was checked");
            begun(&arrival.effects).for_each(|own| self.journal.is_back(own));
        }
        match &self.retry {
            Some(InHand {
                taken: Taken::Event(Event::Timer(id)),
                ..
            }) if from_snapshot => timers.cancel(*id),
            // A driver without memory knows nothing of the timer.
            Some(InHand {
                taken: Taken::Event(Event::Timer(_)),
                ..
            }) => self.retry = None,
            // It is told of all that it observes, and of nothing else.
            Some(InHand {
                taken: Taken::Event(Event::Observed { slice, .. }),
                ..
            }) if !from_snapshot || !guest.observes().contains(slice) => self.retry = None,
            Some(InHand {
                taken: Taken::Event(Event::LeaseEnded { id, .. }),
                ..
            }) if !leases.contains(id) || begun_by_start.contains(&Own::Lease(*id)) => self.retry = None,
            _ => {}
        }
        sink.observe(guest.observes());
        let effects = &mut arrival.effects;
        self.inbox.with(|inbox| {
            let known = match (from_snapshot, arrival.misses_events) {
                (false, _) => Known::Nothing,
                (true, true) => Known::OfBefore,
                (true, false) => Known::AsTold,
            };
            inbox.observe_from_now_on(guest.observes(), known);
            inbox.set_timers(timers);
            if arrival.misses_events {
                inbox.forget_commands_in_flight();
            }
            let in_flight = inbox.commands_in_flight();
            // The checkpoint may list commands that are over by now.
            effects
                .replies
                .retain(|reply| in_flight.iter().any(|command| command.id == *reply.id()));
            inbox.apply_replies(&effects.replies);
        });
        let predecessor = match std::mem::replace(&mut self.life, Life::Running(guest)) {
            Life::Running(predecessor) => Some(predecessor),
            Life::Waiting { .. } | Life::Quarantined | Life::Stopped => None,
        };
        self.generation += 1;
        self.failed_starts = 0;
        // At the first rest, outside the pause of a swap: until then a fault would start from the predecessor's.
        self.checkpoint_due_ns = Some(now.monotonic_ns);
        self.supervision.live(now.monotonic_ns);
        if phase.is_some() {
            self.phase = phase;
        }
        let mut over = take_leases(&self.inbox, effects, now, sink);
        let commit = self.commit_of(
            Cause::Start {
                reason: arrival.reason,
                from_snapshot,
                forgets_commands: !from_snapshot || arrival.misses_events,
            },
            now,
        );
        if let Err(refused) = sink.commit(effects, commit) {
            self.tell_refused(&refused);
        }
        let in_hand = self.lease_in_hand();
        over.extend(
            self.inbox
                .with(|inbox| inbox.leases().go_on_with(&leases, in_hand)),
        );
        over.iter().for_each(|over| sink.lease_over(over));
        effects.clear();
        self.effects = arrival.effects;
        sink.life(LifeChange::Started {
            reason: arrival.reason,
            generation: self.generation,
            replayed_bytes,
            lost_bytes,
            from_snapshot,
        });
        Ok((predecessor, replayed_bytes))
    }
}

/// What a guest said of itself in a replay.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// What it does, the last time that it said so.
    pub(super) phase: Option<String>,
    /// That it cannot go on, the first time.
    pub(super) failed: Option<String>,
}

/// A guest that lives through what happened before. Nothing that it asks for takes effect; its slice and its timers are kept aside.
pub(super) struct Replay<'a, G, S> {
    guest: &'a mut G,
    effects: &'a mut Effects,
    buffer: &'a mut Vec<u8>,
    pub(super) past: &'a mut Past,
    started: CallTime,
    /// It never goes back.
    clock: CallTime,
    /// How many of its own timers may yet run out.
    pub(super) own_timers: usize,
    /// What it asks for is what it will have asked for, and not what it asked for the first time.
    pub(super) is_return: bool,
    pub(super) said: Said,
    sink: &'a mut S,
}

impl<'a, G: Guest, S: Sink> Replay<'a, G, S> {
    pub(super) fn new(
        guest: &'a mut G,
        effects: &'a mut Effects,
        buffer: &'a mut Vec<u8>,
        past: &'a mut Past,
        started: CallTime,
        sink: &'a mut S,
    ) -> Self {
        Self {
            guest,
            effects,
            buffer,
            past,
            started,
            clock: started,
            own_timers: 0,
            is_return: false,
            said: Said::default(),
            sink,
        }
    }

    pub(super) fn call(&mut self, event: &Event<'_>, time: CallTime, refused: bool) -> Result<(), Fault> {
        match event {
            // What another version observed is nothing to this one, and neither is what it held.
            Event::Observed { slice, .. } if !self.guest.observes().contains(slice) => return Ok(()),
            Event::LeaseEnded { id, .. } if !self.past.leases.contains(id) => return Ok(()),
            Event::LeaseEnded { id, .. } => self.past.end(Own::Lease(*id)),
            _ => {}
        }
        if time.monotonic_ns > self.clock.monotonic_ns {
            self.clock = time;
        }
        self.guest.handle(event, self.clock, self.effects)?;
        // What the slice refused the first time stays refused: the driver was told so, by an event that is replayed too.
        if let (Some(slice), false) = (&mut self.past.slice, refused) {
            // A successor may ask for something that does not fit; it misses this change, as it would live.
            let _ = slice.apply(&self.effects.operations);
        }
        self.past.apply(self.effects, "handle")?;
        if let Some(phase) = said_phase(self.effects) {
            self.said.phase = Some(phase.to_owned());
        }
        self.said.failed = self.said.failed.take().or_else(|| said_failed(self.effects));
        if self.is_return {
            self.sink.relived(self.effects);
        }
        drop_effects(self.effects, LogOrigin::Replay, self.sink);
        Ok(())
    }

    /// Its own timers run out that are due by then.
    pub(super) fn pass_time(&mut self, until: CallTime) -> Result<(), Fault> {
        while self.own_timers > 0
            && let Some(due_ns) = self.past.timers.next_ns()
            && let Some(id) = self.past.timers.pop_due(until.monotonic_ns)
        {
            self.own_timers -= 1;
            let early_ns = until.monotonic_ns - due_ns;
            let time = CallTime {
                monotonic_ns: due_ns,
                wall_ms: until.wall_ms - early_ns as f64 / 1.0e6,
            };
            self.call(&Event::Timer(id), time, false)?;
        }
        Ok(())
    }

    /// Bytes that another version was not given. What the ring did not have of them either when this one came back was counted as lost then; what it
    /// has dropped since is lost now.
    pub(super) fn spared(
        &mut self,
        inbox: &SharedInbox,
        bytes: (PortIndex, Range<u64>),
    ) -> Result<(), Fault> {
        let lost_bytes = self.past.lost_bytes;
        self.bytes(inbox, bytes, false)?;
        if self.is_return {
            self.past.lost_bytes = lost_bytes;
        }
        Ok(())
    }

    /// The bytes of a port, or what the ring still has of them.
    pub(super) fn bytes(
        &mut self,
        inbox: &SharedInbox,
        (port, range): (PortIndex, Range<u64>),
        refused: bool,
    ) -> Result<(), Fault> {
        let mut at = range.start;
        while at < range.end {
            let (piece, tail) = inbox.with(|inbox| {
                let tail = inbox.marks(port).map_or(range.end, |marks| marks.tail);
                (inbox.piece(port, at, range.end, self.buffer), tail)
            });
            at = match piece {
                Some(chunk) => {
                    self.pass_time(chunk.received)?;
                    // The call needs all of this, and the buffer only to read.
                    let data = std::mem::take(self.buffer);
                    let called = self.call(&bytes_event(&chunk, &data, true), chunk.received, refused);
                    *self.buffer = data;
                    called?;
                    self.past.replayed_bytes += chunk.to - chunk.from;
                    chunk.to
                }
                // The ring has dropped them since they were handled.
                None => {
                    let lost_to = tail.clamp(at + 1, range.end);
                    let lost = Event::Overrun {
                        port,
                        from: at,
                        to: lost_to,
                        reason: ring_was_full(),
                    };
                    self.call(&lost, self.started, false)?;
                    self.past.lost_bytes += lost_to - at;
                    lost_to
                }
            };
        }
        Ok(())
    }
}

impl Past {
    fn of_nothing(lost_bytes: u64) -> Self {
        Self {
            slice: None,
            timers: Timers::default(),
            leases: Vec::new(),
            begun_by_start: Vec::new(),
            replayed_bytes: 0,
            lost_bytes,
        }
    }

    pub(super) fn of(slice: Draft, timers: Timers, leases: Vec<LeaseId>) -> Self {
        Self {
            slice: Some(slice),
            timers,
            leases,
            begun_by_start: Vec::new(),
            replayed_bytes: 0,
            lost_bytes: 0,
        }
    }

    /// Timers and leases of one call.
    fn apply(&mut self, effects: &Effects, export: &'static str) -> Result<(), Fault> {
        if !self.timers.fit(&effects.timers) {
            return Err(too_many_timers(export));
        }
        let timers = effects.timers.iter();
        timers.for_each(|&change| self.timers.apply(change));
        know(&mut self.leases, &effects.leases).map_err(|_| too_many_leases(export))
    }

    fn end(&mut self, own: Own) {
        match own {
            Own::Timer(id) => self.timers.cancel(id),
            Own::Lease(id) => self.leases.retain(|known| *known != id),
        }
    }
}

/// Starts a guest, and tells whether it can go on.
pub(super) fn begin<G: Guest>(
    guest: &mut G,
    input: &StartInput,
    time: CallTime,
    effects: &mut Effects,
) -> Result<(), Breakdown> {
    guest.start(input, time, effects)??;
    match said_failed(effects) {
        Some(reason) => Err(Breakdown::Failed(reason)),
        None => Ok(()),
    }
}

/// What a start begins.
pub(super) fn begun(effects: &Effects) -> impl Iterator<Item = Own> {
    let timers = effects.timers.iter().filter_map(|change| match change {
        TimerChange::Set { id, .. } => Some(Own::Timer(*id)),
        TimerChange::Cancel { .. } => None,
    });
    let leases = effects.leases.iter().filter_map(|change| match change {
        LeaseChange::Acquire { id, .. } => Some(Own::Lease(*id)),
        LeaseChange::Release { .. } => None,
    });
    timers.chain(leases)
}
