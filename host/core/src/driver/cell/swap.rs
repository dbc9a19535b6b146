//! How one version of a driver succeeds another.
//!
//! Best with a head start: the successor is started while the driver goes on, and the driver rests for no longer than it takes to catch up.
//!
//! ```text
//!   running --head_start: checkpoint--> goes on .............. --succeed: catch up, flip--> the successor runs
//!                  |                                              ^
//!                  +-- HeadStart --> the start, on any thread --> Started
//! ```
//!
//! To the successor this is a restart: it starts from the last checkpoint, and is given again, muted, what the driver was told since. That holds for as
//! long as this is the driver's last checkpoint, and nothing has come meanwhile that a version cannot live through by itself: a command, the loss of a
//! line. Then the successor comes too late, and one that is new gets a new head start, or succeeds the driver at rest: see [`AtRest`]. So is one that is
//! down.

use super::checkpoint::Checkpoint;
use super::former::{Flip, Former};
use super::start::{Arrival, Past, begin, begun};
use super::{Cell, Life, drop_effects};
use crate::driver::journal::{Entry, Own};
use crate::driver::{Breakdown, CallTime, Effects, Event, Guest, LogOrigin, Sink, StartInput, StartReason};

/// A swap that went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwapReport {
    /// The generation from now on.
    pub generation: u64,
    /// `Swap`, `Return`, or `Cold` where there was nothing to go on from.
    pub reason: StartReason,
    /// Bytes replayed into the driver that runs now.
    pub carried_bytes: u64,
    /// The predecessor ran until then.
    pub predecessor_ran: bool,
    /// Of a version that returned: why it was told of a gap instead of what happened since it was replaced.
    pub gap: Option<&'static str>,
}

/// A swap that did not go through. The successor is gone.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{breakdown}")]
pub struct SwapRefusal {
    /// Why.
    pub breakdown: Breakdown,
    /// Whether the predecessor goes on. It does not if it was down before, or broke down over its own snapshot.
    pub predecessor_runs: bool,
}

/// Why a successor with a head start does not run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NotSucceeded {
    /// The driver has gone on to where it cannot follow. Another instance may go on from there.
    #[error("it was overtaken by the driver")]
    TooLate,
    /// It went wrong.
    #[error(transparent)]
    Refused(#[from] SwapRefusal),
}

/// What a successor is started with while the driver goes on.
#[derive(Debug, Clone)]
pub struct HeadStart {
    input: StartInput,
    time: CallTime,
    origin: Origin,
}

/// A successor that was started, or could not be, and has yet to catch up.
#[derive(Debug)]
pub struct Started<G> {
    guest: Result<G, Breakdown>,
    effects: Effects,
    time: CallTime,
    origin: Origin,
}

/// Which checkpoint of which life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin {
    generation: u64,
    checkpoint: u64,
}

impl HeadStart {
    /// Starts a successor. What it asks for takes effect when it goes live.
    pub fn start<G: Guest>(self, mut guest: G) -> Started<G> {
        let mut effects = Effects::default();
        let begun = begin(&mut guest, &self.input, self.time, &mut effects);
        Started {
            guest: begun.map(|()| guest),
            effects,
            time: self.time,
            origin: self.origin,
        }
    }
}

/// A driver between two calls, with a checkpoint of just then if it runs. Everything that a sink is told before is of the driver, and
/// everything that it is told by [`swap`](Self::swap) is of the successor.
#[derive(Debug)]
pub struct AtRest<'a, G>(pub(super) &'a mut Cell<G>);

impl<G> Started<G> {
    /// The successor, if it could be started.
    pub fn guest_mut(&mut self) -> Option<&mut G> {
        self.guest.as_mut().ok()
    }
}

impl<G: Guest> Cell<G> {
    /// Takes a checkpoint from which a successor can start. None if the driver is down, or breaks down over its own snapshot.
    pub fn head_start(&mut self, now: CallTime, sink: &mut impl Sink) -> Option<HeadStart> {
        let AtRest(cell) = self.rest(now, sink);
        let (origin, checkpoint) = cell.origin()?;
        Some(HeadStart {
            input: checkpoint.input(&cell.setup, StartReason::Swap),
            time: cell.journal.since().unwrap_or(now),
            origin,
        })
    }

    /// Puts a successor with a head start in place of the driver. Whatever goes wrong before the flip leaves it running. All that the sink is told is of
    /// the successor.
    pub fn succeed(
        &mut self,
        now: CallTime,
        sink: &mut impl Sink,
        started: Started<G>,
    ) -> Result<SwapReport, NotSucceeded> {
        let Started {
            guest,
            mut effects,
            time,
            origin,
        } = started;
        let mut past = match self.origin() {
            Some((now, checkpoint)) if now == origin && self.may_be_relived(&effects) => checkpoint.past(),
            _ => return self.too_late(guest.ok()),
        };
        let mut guest = match guest {
            Ok(guest) => guest,
            Err(breakdown) => {
                drop_effects(&mut effects, LogOrigin::FailedCall, sink);
                return Err(self.refused(breakdown).into());
            }
        };
        let is_behind = self.journal.since().is_some();
        let flip = self.flip(now, sink.slice());
        let failed = match self.catch_up(&mut guest, &mut effects, &mut past, time, sink) {
            Ok(failed) => failed.map(Breakdown::Failed),
            Err(breakdown) => Some(breakdown),
        };
        if let Some(breakdown) = failed {
            drop_effects(&mut effects, LogOrigin::FailedCall, sink);
            self.drop_effects(LogOrigin::FailedCall, sink);
            self.spent.push(guest);
            return Err(self.refused(breakdown).into());
        }
        if is_behind && (past.lost_bytes > 0 || !self.holds_the_same(&past)) {
            return self.too_late(Some(guest));
        }
        let arrival = Arrival {
            reason: StartReason::Swap,
            effects,
            past,
            misses_events: false,
        };
        Ok(self.flip_to(guest, arrival, flip, now, sink)?)
    }

    /// Whether a successor that has started so comes through what the driver was told since to where it would be, had it been started only now.
    ///
    /// Bytes it is given again, and they mean the same to it. But what its start asks of the device was asked of the device of then; a command that the
    /// driver has in hand could be one that the successor takes for done; and the end of something that its start has begun anew is of the one before.
    fn may_be_relived(&self, start: &Effects) -> bool {
        // Holds are kept on the disk in the name of the driver that runs.
        if !start.leases.is_empty() {
            return false;
        }
        let asks = !start.port_actions.is_empty() || !start.replies.is_empty() || !start.alarms.is_empty();
        if asks && self.journal.since().is_some() {
            return false;
        }
        let is_relived = |entry: &Entry| match entry {
            Entry::Bytes { .. } => true,
            Entry::Event { event, .. } => match event {
                Event::Timer(id) => !begun(start).any(|own| own == Own::Timer(*id)),
                Event::Observed { .. } | Event::TransmitDrained { .. } => true,
                _ => false,
            },
            Entry::Spared { .. } | Entry::Gone(_) | Entry::WasGone(_) => false,
        };
        self.journal.new_entries().all(is_relived)
    }

    /// Whether it holds what the driver holds.
    fn holds_the_same(&self, past: &Past) -> bool {
        let held = self.known_leases();
        held.len() == past.leases.len() && held.iter().all(|lease| past.leases.contains(lease))
    }

    fn too_late(&mut self, successor: Option<G>) -> Result<SwapReport, NotSucceeded> {
        // Dropped when nothing waits for the driver.
        self.spent.extend(successor);
        Err(NotSucceeded::TooLate)
    }

    /// Brings the driver to rest, so that it can be succeeded. One that breaks down over its own snapshot is down from then on, and is
    /// succeeded from its last checkpoint.
    pub fn rest(&mut self, now: CallTime, sink: &mut impl Sink) -> AtRest<'_, G> {
        self.spent.clear();
        if let Err(breakdown) = self.take_checkpoint(now, sink) {
            self.break_down(breakdown, None, now, sink);
        }
        AtRest(self)
    }

    fn origin(&self) -> Option<(Origin, &Checkpoint)> {
        let (Life::Running(_), Some(checkpoint)) = (&self.life, &self.checkpoint) else {
            return None;
        };
        let origin = Origin {
            generation: self.generation,
            checkpoint: checkpoint.number,
        };
        Some((origin, checkpoint))
    }

    /// The successor has caught up.
    fn flip_to(
        &mut self,
        successor: G,
        arrival: Arrival,
        flip: Option<Flip>,
        now: CallTime,
        sink: &mut impl Sink,
    ) -> Result<SwapReport, SwapRefusal> {
        let reason = arrival.reason;
        let (predecessor, carried_bytes) = self
            .go_live(successor, arrival, now, sink)
            .map_err(|breakdown| self.refused(breakdown))?;
        self.succeeded();
        let predecessor_ran = predecessor.is_some();
        self.spent.extend(self.former.take().map(Former::into_guest));
        // At rest it is kept for as long as its successor is on probation.
        match (predecessor, flip) {
            (Some(predecessor), Some(flip)) => self.former = Some(flip.keep(predecessor)),
            (predecessor, _) => self.spent.extend(predecessor),
        }
        Ok(SwapReport {
            generation: self.generation,
            reason,
            carried_bytes,
            predecessor_ran,
            gap: None,
        })
    }

    fn refused(&self, breakdown: Breakdown) -> SwapRefusal {
        SwapRefusal {
            breakdown,
            predecessor_runs: matches!(self.life, Life::Running(_)),
        }
    }
}

impl<G: Guest> AtRest<'_, G> {
    /// Puts a successor in place of the driver. Whatever goes wrong before the flip leaves it running.
    ///
    /// What the successor's `start` asks for takes effect at the flip; what it asks for while bytes are replayed into it is muted, as in a
    /// restart. `is_return` is for a version that ran before and cannot come back as it was. A driver that is down is succeeded from its last
    /// checkpoint. If the successor then refuses the snapshot, a caller that wants it nevertheless [forgets the
    /// checkpoint](Cell::forget_checkpoint) and comes again with another instance.
    pub fn swap(
        self,
        now: CallTime,
        sink: &mut impl Sink,
        mut successor: G,
        is_return: bool,
    ) -> Result<SwapReport, SwapRefusal> {
        let Self(cell) = self;
        let slice = cell
            .checkpoint
            .as_ref()
            .and_then(|checkpoint| checkpoint.slice.clone());
        let flip = cell.flip(now, slice);
        let reason = match cell.checkpoint {
            Some(_) if is_return => StartReason::Return,
            Some(_) => StartReason::Swap,
            None => StartReason::Cold,
        };
        match cell.bring_up(&mut successor, reason, now, sink) {
            Ok(arrival) => cell.flip_to(successor, arrival, flip, now, sink),
            Err(breakdown) => Err(cell.refused(breakdown)),
        }
    }
}

#[cfg(test)]
mod tests;
