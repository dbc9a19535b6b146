//! The predecessor on its successor's probation: it rests, and what happens is noted for it, so that it can return as if it had never been succeeded.
//!
//! ```text
//!   flip: the predecessor rests --> events are noted --> probation is over: dropped
//!                                         |
//!                                         +--> return: the same events, muted; its slice, once; live
//! ```
//!
//! What it is given again is what happened to the device since the flip: bytes from the ring, borders and gaps, settings. Its timers are its own, and
//! run out in the replay when they would have. Its successor asked for what all that wanted, so of what it asks for only its slice and its timers
//! go on. What was addressed to its successor alone it never hears of.
//!
//! It cannot live through a command, which its successor may have done and which it would do again, nor through more than a journal holds. If one was under
//! way at the flip or has come since, it comes back all the same, but over a gap: instead of what it missed it is told how things are now, see [`missed`],
//! and how the commands that were under way ended nobody knows. If even that does not go, because the ring has dropped bytes that its next snapshot leaves
//! to a replay, or because it breaks down over it, its version goes on from the last checkpoint, as a successor does.
//!
//! [`missed`]: super::missed

use std::sync::Arc;

use super::checkpoint::{broken_contract, snapshot_of};
use super::missed::{Outline, Way};
use super::start::{Arrival, Past, Replay};
use super::{AtRest, Cell, InHand, Life, SwapReport, UPDATE_REFUSED};
use crate::driver::draft::Draft;
use crate::driver::inbox::Taken;
use crate::driver::journal::{Entry, Journal};
use crate::driver::{
    Breakdown, CallTime, Command, Effects, Event, Guest, Inbox, LeaseId, LogOrigin, PROBATION_NS, PortIndex,
    Sink, StartReason, StatusChange, TimerChange, Timers,
};

/// How long a successor that broke down stays down at least while its predecessor can come back: whoever decides that has to hear of it first, and what
/// broke it down would break it down once more.
const DECISION_NS: u64 = 1_000_000_000;

/// Most timers that run out in the replay of a return. Those that are left run out when the driver is live.
const REPLAYED_TIMERS: usize = 10_000;

/// A driver at rest that may come back.
#[derive(Debug)]
pub(super) struct Former<G> {
    guest: G,
    flip: Flip,
    since: Journal,
    outline: Outline,
    /// Why it cannot live through what happened.
    gap: Option<&'static str>,
    /// When its successor dealt with something last.
    told: CallTime,
    until_ns: u64,
}

/// What the host held for a driver when it was succeeded.
#[derive(Debug)]
pub(super) struct Flip {
    at: CallTime,
    slice: Option<Arc<str>>,
    phase: Option<String>,
    timers: Timers,
    leases: Vec<LeaseId>,
    /// Per port, number of the first byte that it had not dealt with, by its last checkpoint.
    consumed: Vec<u64>,
    /// What it had been given since its last checkpoint, and what it had not dealt with then.
    undealt: Journal,
    /// Per port, number of the first byte that it had not been given, and whether the device was there.
    given: Vec<(u64, bool)>,
    /// Commands that were under way.
    commands: Vec<Arc<Command>>,
}

/// Why a driver comes back over a gap.
const COMMAND_AT_FLIP: &str = "a command was under way when it was replaced";
const COMMAND_SINCE: &str = "a command has come since it was replaced";
const TOO_MUCH: &str = "more has happened since it was replaced than is noted";

/// Why a driver does not come back as it was.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoReturn {
    /// It is not kept.
    #[error(
        "it is not kept: its time was over, or it was down, or had yet to be told of something, when it was replaced"
    )]
    NotKept,
    /// Bytes that it has not dealt with are gone.
    #[error("the ring has dropped bytes that it has not dealt with")]
    BytesGone,
    /// It broke down over it.
    #[error(transparent)]
    BrokeDown(#[from] Breakdown),
}

impl<G> Former<G> {
    fn misses(&mut self, why: &'static str) {
        self.gap = Some(why);
        self.since.clear();
    }

    pub(super) fn into_guest(self) -> G {
        self.guest
    }
}

impl Flip {
    pub(super) fn keep<G>(self, guest: G) -> Former<G> {
        Former {
            guest,
            told: self.at,
            until_ns: self.at.monotonic_ns + PROBATION_NS + DECISION_NS,
            gap: (!self.commands.is_empty()).then_some(COMMAND_AT_FLIP),
            flip: self,
            since: Journal::default(),
            outline: Outline::default(),
        }
    }
}

impl<G: Guest> Cell<G> {
    /// What the driver between two calls, whose slice this is, would come back to. None if it is down, has never come to rest, or something is under way
    /// that it alone can end.
    pub(super) fn flip(&self, now: CallTime, slice: Option<Arc<str>>) -> Option<Flip> {
        let (Life::Running(_), Some(_)) = (&self.life, &self.checkpoint) else {
            return None;
        };
        let (mut timers, ports, commands, is_told_of_refusal) = self.inbox.with(|inbox| {
            (
                inbox.timers().clone(),
                inbox.port_states(),
                inbox.commands_in_flight().to_vec(),
                inbox.has_urgent(is_refusal),
            )
        });
        let has_something_of_its_own = match &self.retry {
            Some(InHand {
                taken: Taken::Event(Event::Timer(id)),
                ..
            }) => {
                timers.apply(TimerChange::Set {
                    id: *id,
                    at_ns: now.monotonic_ns,
                });
                false
            }
            Some(InHand {
                taken: Taken::Event(Event::Overrun { .. }),
                ..
            }) => true,
            Some(InHand {
                taken: Taken::Event(event),
                ..
            }) => is_refusal(event),
            _ => false,
        };
        if is_told_of_refusal || has_something_of_its_own {
            return None;
        }
        let given = self.inbox.with(|inbox| {
            let given = ports.iter().enumerate().map(|(index, port)| {
                let committed = inbox.marks(PortIndex(index)).map_or(0, |marks| marks.committed);
                (committed, port.attached)
            });
            given.collect()
        });
        Some(Flip {
            at: now,
            slice,
            phase: self.phase.clone(),
            timers,
            leases: self.known_leases(),
            consumed: ports.iter().map(|port| port.offset).collect(),
            undealt: self.journal.clone(),
            given,
            commands,
        })
    }

    /// Notes for the predecessor what its successor was told. `offset` is as in [`Journal::push`].
    pub(super) fn note(&mut self, taken: &Taken, offset: u64, now: CallTime) {
        let Some(former) = &mut self.former else { return };
        former.told = now;
        former.outline.note(taken);
        match taken {
            _ if former.gap.is_some() => {}
            Taken::Event(Event::Command(_)) => former.misses(COMMAND_SINCE),
            Taken::Event(event) if !is_of_the_device(event) => {}
            _ if former.since.is_full() => former.misses(TOO_MUCH),
            // What its successor was spared is given to this one, as far as the ring has it.
            &Taken::Event(Event::Overrun { port, from, to, .. }) => {
                former.since.spared(port, from, to, now);
            }
            _ => former.since.push(taken.clone(), offset, now, false),
        }
    }

    /// Notes settings that nobody was told, since the successor is down. They belong behind what was noted last.
    pub(super) fn note_settings(&mut self, settings: Arc<str>) {
        if let Some(former) = &self.former {
            let at = former.told;
            self.note(&Taken::Event(Event::Settings(settings)), 0, at);
        }
    }

    /// The successor broke down: the predecessor is kept as long as at the flip. Answers when the successor may be started again.
    pub(super) fn keep_former(&mut self, now_ns: u64) -> Option<u64> {
        let former = self.former.as_mut()?;
        former.until_ns = now_ns + PROBATION_NS + DECISION_NS;
        Some(now_ns + DECISION_NS)
    }

    /// When the predecessor goes for good.
    pub(super) fn former_until_ns(&self) -> Option<u64> {
        self.former.as_ref().map(|former| former.until_ns)
    }
}

impl<G: Guest> AtRest<'_, G> {
    /// Brings the predecessor back in place of its successor. If that goes wrong, it is gone, and nothing else has changed.
    pub fn bring_back(self, now: CallTime, sink: &mut impl Sink) -> Result<SwapReport, NoReturn> {
        let Self(cell) = self;
        let Former {
            mut guest,
            flip,
            mut since,
            outline,
            gap,
            told,
            ..
        } = cell.former.take().ok_or(NoReturn::NotKept)?;
        if let Some(why) = gap {
            let ways = cell.inbox.with(|inbox| ways(&flip.given, inbox));
            since = outline.told(&flip.commands, &ways, told, why);
        }
        let mut past = Past::of(Draft::new(flip.slice), flip.timers, flip.leases);
        let relived = cell.relive(&mut guest, &since, &mut past, (flip.at, told), sink);
        let relived = relived.and_then(|phase| Ok((phase, snapshot_of(&mut guest, now)?)));
        let (phase, snapshot) = match relived {
            Ok(relived) => relived,
            Err(breakdown) => {
                cell.drop_effects(LogOrigin::FailedCall, sink);
                return Err(breakdown.into());
            }
        };
        let is_before_flip =
            |&(port, to): &(PortIndex, u64)| flip.consumed.get(port.0).is_some_and(|at| to < *at);
        if snapshot.consumed.iter().any(is_before_flip) {
            let detail = "the snapshot has dealt with less than the last one".to_owned();
            return Err(broken_contract(detail).into());
        }
        let Some(before) = cell.inbox.with(|inbox| inbox.go_back_to(&snapshot.consumed)) else {
            return Err(NoReturn::BytesGone);
        };
        // A command that its successor had in hand is failed by now. Its successor's own timer, or a refusal of its update, is nothing to it. Bytes that its successor was to be spared come to it as bytes.
        let not_its_own = cell.retry.take_if(|retry| match &retry.taken {
            Taken::Event(Event::Overrun { .. }) => true,
            Taken::Event(event) => !is_of_the_device(event),
            Taken::Bytes(_) => false,
        });
        let mut effects = Effects::default();
        effects
            .status
            .extend(phase.or(flip.phase).map(StatusChange::Phase));
        let arrival = Arrival {
            reason: StartReason::Return,
            effects,
            past,
            misses_events: gap.is_some(),
        };
        let (_, carried_bytes) = match cell.go_live(guest, arrival, now, sink) {
            Ok(live) => live,
            Err(breakdown) => {
                cell.retry = cell.retry.take().or(not_its_own);
                cell.inbox.with(|inbox| inbox.go_back_to(&before));
                return Err(breakdown.into());
            }
        };
        cell.inbox.with(|inbox| inbox.withdraw(is_refusal));
        let mut journal = flip.undealt;
        journal.append(since);
        let held = |inbox: &mut Inbox| (inbox.port_states(), inbox.timers().clone());
        let (ports, timers) = cell.inbox.with(held);
        cell.journal = journal;
        cell.trim_journal(&ports);
        cell.keep_checkpoint(snapshot, ports, timers, Vec::new(), sink);
        cell.succeeded();
        Ok(SwapReport {
            generation: cell.generation,
            reason: StartReason::Return,
            carried_bytes,
            predecessor_ran: false,
            gap,
        })
    }
}

fn ways(given: &[(u64, bool)], inbox: &Inbox) -> Vec<Way> {
    let ways = given
        .iter()
        .enumerate()
        .map(|(index, &(from, was_attached))| Way {
            from,
            to: inbox
                .marks(PortIndex(index))
                .map_or(from, |marks| marks.committed.max(from)),
            was_attached,
        });
    ways.collect()
}

impl<G: Guest> Cell<G> {
    fn relive(
        &mut self,
        guest: &mut G,
        since: &Journal,
        past: &mut Past,
        (flip, told): (CallTime, CallTime),
        sink: &mut impl Sink,
    ) -> Result<Option<String>, Breakdown> {
        let mut replay = Replay::new(guest, &mut self.effects, &mut self.buffer, past, flip, sink);
        replay.own_timers = REPLAYED_TIMERS;
        replay.is_return = true;
        for entry in since.entries() {
            match entry {
                Entry::Gone(_) | Entry::WasGone(_) => {}
                &Entry::Bytes { port, from, to, .. } => {
                    replay.bytes(&self.inbox, (port, from..to), false)?;
                }
                &Entry::Spared { port, from, to } => replay.spared(&self.inbox, (port, from..to))?,
                Entry::Event { event, time, .. } => {
                    replay.pass_time(*time)?;
                    replay.call(event, *time, false)?;
                }
            }
        }
        replay.pass_time(told)?;
        match replay.said.failed.take() {
            Some(reason) => Err(Breakdown::Failed(reason)),
            None => Ok(replay.said.phase.take()),
        }
    }
}

/// Whether an event tells of the device and of what is around it, and not of what one driver did.
fn is_of_the_device(event: &Event<'_>) -> bool {
    match event {
        Event::Bytes { .. }
        | Event::PortAttached { .. }
        | Event::PortLost { .. }
        | Event::Overrun { .. }
        | Event::LineError { .. }
        | Event::LinesChanged { .. }
        | Event::TransmitDrained { .. }
        | Event::LeaseEnded { .. }
        | Event::Observed { .. }
        | Event::Settings(_) => true,
        Event::Other { .. } => !is_refusal(event),
        Event::Timer(_) | Event::Command(_) | Event::CommandCancelled { .. } => false,
    }
}

/// Whether it tells a driver that an update of its slice was refused.
fn is_refusal(event: &Event<'_>) -> bool {
    matches!(event, Event::Other { kind, .. } if &**kind == UPDATE_REFUSED)
}
