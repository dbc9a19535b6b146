//! How a guest comes to life: started from the checkpoint, or from nothing, caught up, and live.

use std::sync::Arc;

use super::{
    Cell, FAILED_STARTS_PER_CHECKPOINT, InHand, Life, bytes_event, drop_effects, said_failed, too_many_timers,
};
use crate::driver::inbox::{Taken, ring_was_full};
use crate::driver::journal::Entry;
use crate::driver::shadow::Shadow;
use crate::driver::{
    Breakdown, CallTime, Cause, Effects, Event, Fault, Guest, LifeChange, LogOrigin, Refusal, Sink,
    SliceRefused, StartInput, StartReason, TimerChange, Timers,
};

/// A guest that has been started and has caught up, and what takes effect when it goes live.
pub(super) struct Arrival {
    reason: StartReason,
    effects: Effects,
    past: Past,
}

/// What a start and a replay make of what the host holds for the driver.
struct Past {
    /// None after a cold start, whose slice operations are in the effects.
    slice: Option<Shadow>,
    timers: Timers,
    replayed_bytes: u64,
    lost_bytes: u64,
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
        let mut past = Past {
            slice: None,
            timers: Timers::default(),
            replayed_bytes: 0,
            lost_bytes: 0,
        };
        let input = self.start_input(reason, &mut past, sink);
        let started = guest.start(&input, time, &mut self.effects);
        let ready = started.map_err(Breakdown::from).and_then(|answer| match answer {
            Err(refusal) => Err(refusal.into()),
            Ok(()) => match said_failed(&self.effects) {
                Some(reason) => Err(Breakdown::Failed(reason)),
                None => Ok(()),
            },
        });
        let mut effects = std::mem::take(&mut self.effects);
        match ready.and_then(|()| self.catch_up(guest, &effects, &mut past, time, sink)) {
            Ok(()) => Ok(Arrival {
                reason,
                effects,
                past,
            }),
            Err(breakdown) => {
                drop_effects(&mut effects, LogOrigin::FailedCall, sink);
                drop_effects(&mut self.effects, LogOrigin::FailedCall, sink);
                Err(breakdown)
            }
        }
    }

    /// Brings a guest that was started from the checkpoint to where its predecessor was.
    fn catch_up(
        &mut self,
        guest: &mut G,
        start: &Effects,
        past: &mut Past,
        time: CallTime,
        sink: &mut impl Sink,
    ) -> Result<(), Breakdown> {
        past.apply_timers(&start.timers, "start")?;
        if let Some(slice) = &mut past.slice {
            slice
                .apply(&start.operations)
                .map_err(|error| SliceRefused(error.to_string()))?;
            self.replay(guest, past, time, sink)?;
        }
        Ok(())
    }

    fn start_input(&mut self, reason: StartReason, past: &mut Past, sink: &mut impl Sink) -> StartInput {
        let device = Arc::clone(&self.setup.device);
        let settings = Arc::clone(&self.setup.settings);
        match &self.checkpoint {
            Some(checkpoint) => {
                past.slice = Some(Shadow::new(checkpoint.slice.clone()));
                past.timers = checkpoint.timers.clone();
                StartInput {
                    device,
                    reason,
                    settings,
                    ports: checkpoint.ports.clone(),
                    slice: checkpoint.slice.clone(),
                    snapshot: Some(checkpoint.snapshot.clone()),
                    commands: checkpoint.commands.clone(),
                    timers: checkpoint.timers.ids(),
                }
            }
            None => {
                let (ports, commands) = self.inbox.with(|inbox| {
                    // Whatever was not dealt with is lost with the driver's memory: it goes on at the committed offsets.
                    past.lost_bytes = inbox.give_up_replay();
                    (inbox.port_states(), inbox.commands_in_flight().to_vec())
                });
                StartInput {
                    device,
                    reason,
                    settings,
                    ports,
                    slice: sink.slice(),
                    snapshot: None,
                    commands,
                    timers: Vec::new(),
                }
            }
        }
    }

    /// Gives the guest everything since the checkpoint again. Of what it asks for, only its slice and its timers, which are its own memory
    /// kept by the host, go on; the rest happened the first time.
    fn replay(
        &mut self,
        guest: &mut G,
        past: &mut Past,
        started: CallTime,
        sink: &mut impl Sink,
    ) -> Result<(), Fault> {
        let Self {
            inbox,
            journal,
            effects,
            buffer,
            ..
        } = self;
        let mut clock = started;
        let mut call = |event: &Event<'_>, time: CallTime, refused: bool, past: &mut Past| {
            if time.monotonic_ns > clock.monotonic_ns {
                clock = time;
            }
            guest.handle(event, clock, effects)?;
            // What the slice refused the first time stays refused: the driver was told so, by an event that is replayed too.
            if let (Some(slice), false) = (&mut past.slice, refused) {
                // A successor may ask for something that does not fit; it misses this change, as it would live.
                let _ = slice.apply(&effects.operations);
            }
            past.apply_timers(&effects.timers, "handle")?;
            drop_effects(effects, LogOrigin::Replay, sink);
            Ok(())
        };
        for entry in journal.entries() {
            match entry {
                Entry::TimerGone(id) => past.timers.cancel(*id),
                Entry::Event {
                    event, time, refused, ..
                } => {
                    if let Event::Timer(id) = event {
                        past.timers.cancel(*id);
                    }
                    call(event, *time, *refused, past)?;
                }
                &Entry::Bytes {
                    port,
                    from,
                    to,
                    refused,
                } => {
                    let mut at = from;
                    while at < to {
                        let (piece, tail) = inbox.with(|inbox| {
                            let tail = inbox.marks(port).map_or(to, |marks| marks.tail);
                            (inbox.piece(port, at, to, buffer), tail)
                        });
                        at = match piece {
                            Some(chunk) => {
                                call(&bytes_event(&chunk, buffer, true), chunk.received, refused, past)?;
                                past.replayed_bytes += chunk.to - chunk.from;
                                chunk.to
                            }
                            // The ring has dropped them since they were handled.
                            None => {
                                let lost_to = tail.clamp(at + 1, to);
                                let lost = Event::Overrun {
                                    port,
                                    from: at,
                                    to: lost_to,
                                    reason: ring_was_full(),
                                };
                                call(&lost, started, false, past)?;
                                past.lost_bytes += lost_to - at;
                                lost_to
                            }
                        };
                    }
                }
            }
        }
        Ok(())
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
            replayed_bytes,
            lost_bytes,
        } = arrival.past;
        let from_snapshot = slice.is_some();
        if let Some(slice) = slice {
            if let Err(refused) = sink.replace_slice(slice.into_value()) {
                drop_effects(&mut arrival.effects, LogOrigin::FailedCall, sink);
                return Err(refused.into());
            }
            arrival.effects.operations.clear();
        }
        // Were it to start from this checkpoint again, its start would not be the same call; the timers that it set now must not be lost.
        if let Some(checkpoint) = &mut self.checkpoint {
            let changes = arrival.effects.timers.iter();
            changes.for_each(|&change| checkpoint.timers.apply(change));
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
            _ => {}
        }
        let effects = &mut arrival.effects;
        self.inbox.with(|inbox| {
            inbox.set_timers(timers);
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
        let commit = self.commit_of(
            Cause::Start {
                reason: arrival.reason,
                from_snapshot,
            },
            now,
        );
        if let Err(refused) = sink.commit(effects, commit) {
            self.tell_refused(&refused);
        }
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

impl Past {
    fn apply_timers(&mut self, changes: &[TimerChange], export: &'static str) -> Result<(), Fault> {
        if !self.timers.fit(changes) {
            return Err(too_many_timers(export));
        }
        changes.iter().for_each(|&change| self.timers.apply(change));
        Ok(())
    }
}
