//! The driver cell: the one place that calls a driver, and what makes each of its calls a transaction.
//!
//! ```text
//!              start returned                      fifth strike, or settings refused
//!   Waiting ------------------> Running     Waiting ----------> Quarantined
//!      ^  ^                     |  |  ^                              |
//!      |  +----- broke down ----+  |  +---- swap (from any) ---------+
//!      +----------- release -------|---------------------------------+
//!                                  +---- stop ----> Stopped
//! ```
//!
//! - *Waiting -> Running*: a new guest is started from the checkpoint, the journal is replayed into it with its effects muted, its slice
//!   replaces the one that stands, and it goes on live. Without a checkpoint it starts cold, at the committed offsets.
//! - *Running -> Waiting*: a call was broken off, or the driver said that it failed. The guest is dropped and never called again. The event
//!   comes again after the restart; over what broke the driver down twice it is helped, see `break_down`.
//! - *swap*: the same start and replay for a successor, while the predecessor rests; whatever goes wrong before the flip leaves it running. It
//!   has two halves, so that whoever owns the cell can tell what is the predecessor's and what the successor's: see [`AtRest`].
//!
//! A guest of which a call was broken off cannot be called again, because the state that runs owns the guest: there is none to call.

mod break_down;
mod checkpoint;
mod former;
mod missed;
mod shadow_origin;
mod start;
mod swap;

use std::sync::Arc;

use checkpoint::Checkpoint;
use former::Former;
pub use former::NoReturn;
pub use swap::{AtRest, HeadStart, NotSucceeded, Started, SwapRefusal, SwapReport};

#[cfg(test)]
use super::TimerId;
use super::inbox::{Chunk, Taken};
use super::journal::Journal;
use super::leases::{Untold, know, reason};
use super::{
    Breakdown, CallTime, Cause, Commit, Effects, Event, Fault, FaultKind, Guest, LeaseId, LeaseOver,
    LifeChange, LogOrigin, PortAction, SharedInbox, Sink, SliceRefused, StatusChange, StopReason,
    Supervision, Timers,
};

/// Kind of the event that tells a driver that an update of its slice was refused.
const UPDATE_REFUSED: &str = "update-refused";

/// An event that broke the driver down so many times is left out.
const FAULTS_PER_EVENT: u32 = 2;

/// A checkpoint from which so many starts in a row broke down is given up.
const FAILED_STARTS_PER_CHECKPOINT: u32 = 2;

/// What a driver is started with besides its past.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Id of the device.
    pub device: Arc<str>,
    /// Its settings as a JSON object.
    pub settings: Arc<str>,
    /// Spreads the restarts of several drivers.
    pub jitter_seed: u64,
}

/// What the driver's thread does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something was done: step again.
    Busy,
    /// Nothing to do until this time of the monotonic clock, if there is one, or until something comes into the inbox.
    Idle {
        /// When to step again at the latest.
        until_ns: Option<u64>,
    },
}

/// How a driver is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It runs.
    Running,
    /// It is started at this time.
    Waiting {
        /// Monotonic clock.
        at_ns: u64,
    },
    /// It broke down too often, or does not start with what it was given.
    Quarantined,
    /// It was stopped.
    Stopped,
}

/// One driver. See the module.
#[derive(Debug)]
pub struct Cell<G> {
    pub(super) setup: Setup,
    inbox: SharedInbox,
    life: Life<G>,
    generation: u64,
    checkpoint: Option<Checkpoint>,
    /// How many were taken.
    checkpoints: u64,
    journal: Journal,
    checkpoint_due_ns: Option<u64>,
    failed_starts: u32,
    retry: Option<InHand>,
    /// The predecessor of a version on probation.
    former: Option<Former<G>>,
    /// Drivers that never run again. To drop one takes a while, so that is done when there is nothing else to do. The next swap drops what is left: there
    /// are two at most.
    spent: Vec<G>,
    /// What it said last that it is doing.
    phase: Option<String>,
    supervision: Supervision,
    effects: Effects,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Life<G> {
    Running(G),
    Waiting { at_ns: u64 },
    Quarantined,
    Stopped,
}

/// What comes next out of the inbox.
enum Next {
    Taken(Taken),
    /// A lease that is over.
    Lease(Untold),
    /// A slice of which the driver may have to be told.
    Changed(Arc<str>),
}

/// An event that is with the driver, and how often it has broken it down.
#[derive(Debug)]
struct InHand {
    taken: Taken,
    faults: u32,
}

impl<G: Guest> Cell<G> {
    /// A driver that is started with the first step.
    pub fn new(setup: Setup, inbox: SharedInbox) -> Self {
        Self {
            supervision: Supervision::new(setup.jitter_seed),
            setup,
            inbox,
            life: Life::Waiting { at_ns: 0 },
            generation: 0,
            checkpoint: None,
            checkpoints: 0,
            journal: Journal::default(),
            checkpoint_due_ns: None,
            failed_starts: 0,
            retry: None,
            former: None,
            spent: Vec::new(),
            phase: None,
            effects: Effects::default(),
            buffer: Vec::new(),
        }
    }

    /// Does the next thing: a start, a checkpoint, or one event.
    pub fn step(
        &mut self,
        now: CallTime,
        sink: &mut impl Sink,
        factory: &mut impl FnMut() -> Result<G, Fault>,
    ) -> Step {
        if self
            .former_until_ns()
            .is_some_and(|until| until <= now.monotonic_ns)
        {
            self.spent.extend(self.former.take().map(Former::into_guest));
        }
        let step = match self.life {
            Life::Running(_) => self.turn(now, sink),
            Life::Waiting { at_ns } if at_ns <= now.monotonic_ns => {
                self.restart(now, sink, factory);
                Step::Busy
            }
            Life::Waiting { at_ns } => Step::Idle {
                until_ns: self.former_until_ns().into_iter().chain([at_ns]).min(),
            },
            Life::Quarantined | Life::Stopped => Step::Idle {
                until_ns: self.former_until_ns(),
            },
        };
        match step {
            Step::Idle { .. } if self.spent.pop().is_some() => Step::Busy,
            step => step,
        }
    }

    /// Gives the driver new settings: as an event if it runs, otherwise with its next start.
    pub fn reconfigure(&mut self, settings: Arc<str>) {
        self.setup.settings = Arc::clone(&settings);
        if let Life::Running(_) = self.life {
            self.inbox.with(|inbox| inbox.set_settings(settings));
        } else {
            // They come with the next start, and what waits is older. To one that returns they have to be told.
            let is_settings =
                |in_hand: &mut InHand| matches!(in_hand.taken, Taken::Event(Event::Settings(_)));
            self.retry.take_if(is_settings);
            self.inbox.with(|inbox| inbox.forget_settings());
            self.note_settings(settings);
        }
    }

    /// Lets the driver say its last words, which take effect, and drops it.
    pub fn stop(&mut self, reason: StopReason, now: CallTime, sink: &mut impl Sink) {
        if let Life::Running(guest) = &mut self.life {
            match guest.stop(reason, now, &mut self.effects) {
                Ok(()) => {
                    let replies = &self.effects.replies;
                    self.inbox.with(|inbox| inbox.apply_replies(replies));
                    let over = take_leases(&self.inbox, &mut self.effects, now, sink);
                    let commit = self.commit_of(Cause::Stop(reason), now);
                    // There is nobody left to be told of a refusal.
                    let _ = sink.commit(&mut self.effects, commit);
                    over.iter().for_each(|over| sink.lease_over(over));
                    self.effects.clear();
                }
                Err(fault) => {
                    self.drop_effects(LogOrigin::FailedCall, sink);
                    sink.life(LifeChange::LastWordsLost {
                        breakdown: &fault.into(),
                    });
                }
            }
        }
        self.end_leases(reason::DRIVER_STOPPED, sink);
        self.life = Life::Stopped;
        self.retry = None;
        self.former = None;
        self.forget_checkpoint();
        self.inbox.with(|inbox| inbox.set_timers(Timers::default()));
        sink.life(LifeChange::Stopped(reason));
    }

    /// Forgets all strikes, and starts a driver that is down with the next step.
    pub fn release(&mut self, now_ns: u64) {
        self.supervision.release();
        if !matches!(self.life, Life::Running(_)) {
            self.life = Life::Waiting { at_ns: now_ns };
        }
    }

    /// How the driver is.
    pub fn status(&self) -> Status {
        match self.life {
            Life::Running(_) => Status::Running,
            Life::Waiting { at_ns } => Status::Waiting { at_ns },
            Life::Quarantined => Status::Quarantined,
            Life::Stopped => Status::Stopped,
        }
    }

    /// Rises with every start, restart and flip.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Strikes that count at this time.
    pub fn strikes(&self, now_ns: u64) -> usize {
        self.supervision.strikes(now_ns)
    }

    /// A timer that ran out and broke the driver down, and comes again.
    #[cfg(test)]
    pub(super) fn timer_in_hand(&self) -> Option<TimerId> {
        match self.retry.as_ref()?.taken {
            Taken::Event(Event::Timer(id)) => Some(id),
            _ => None,
        }
    }

    /// What waits for the driver.
    pub fn inbox(&self) -> &SharedInbox {
        &self.inbox
    }

    // --- events ---

    fn turn(&mut self, now: CallTime, sink: &mut impl Sink) -> Step {
        if self.checkpoint_due_ns.is_some_and(|due| due <= now.monotonic_ns) {
            if let Err(breakdown) = self.take_checkpoint(now, sink) {
                self.break_down(breakdown, None, now, sink);
            }
            return Step::Busy;
        }
        match self.take(now, sink) {
            Some(in_hand) => {
                self.deliver(in_hand, now, sink);
                Step::Busy
            }
            None => {
                let deadline = self.inbox.with(|inbox| inbox.next_deadline_ns());
                let others = [self.checkpoint_due_ns, self.former_until_ns()];
                Step::Idle {
                    until_ns: deadline.into_iter().chain(others.into_iter().flatten()).min(),
                }
            }
        }
    }

    fn take(&mut self, now: CallTime, sink: &mut impl Sink) -> Option<InHand> {
        let Self {
            inbox, buffer, retry, ..
        } = self;
        if let Some(retry) = retry.take() {
            let kept = match retry.taken {
                Taken::Bytes(Chunk { port, from, to, .. }) => {
                    inbox.with(|inbox| inbox.read(port, from..to, buffer))
                }
                Taken::Event(_) => true,
            };
            // Bytes that the ring has dropped meanwhile come as an overrun.
            if kept {
                return Some(retry);
            }
        }
        let mut taken = inbox.with(|inbox| {
            if let Some(untold) = inbox.leases().next_untold(now.monotonic_ns) {
                return Some(Next::Lease(untold));
            }
            let taken = inbox.take(now.monotonic_ns, buffer);
            taken
                .map(Next::Taken)
                .or_else(|| inbox.take_changed_slice(now.monotonic_ns).map(Next::Changed))
        })?;
        // The store is not read under the inbox's lock.
        loop {
            taken = match taken {
                Next::Taken(taken) => return Some(InHand { taken, faults: 0 }),
                // The device first: whatever becomes of the driver over it, the hold has ended.
                Next::Lease(Untold { id, lease, reason }) => {
                    let told = Event::LeaseEnded {
                        id,
                        reason: Arc::clone(&reason),
                    };
                    if let Some(lease) = lease {
                        sink.lease_over(&LeaseOver { lease, reason });
                    }
                    Next::Taken(Taken::Event(told))
                }
                Next::Changed(slice) => {
                    let value = sink.foreign_slice(&slice);
                    inbox.with(|inbox| {
                        let event = inbox.tell_observed(&slice, value, now.monotonic_ns);
                        event
                            .map(|event| Next::Taken(Taken::Event(event)))
                            .or_else(|| inbox.take_changed_slice(now.monotonic_ns).map(Next::Changed))
                    })?
                }
            };
        }
    }

    fn deliver(&mut self, in_hand: InHand, now: CallTime, sink: &mut impl Sink) {
        let Self {
            life,
            inbox,
            effects,
            buffer,
            ..
        } = self;
        let Life::Running(guest) = life else { return };
        let returned = match &in_hand.taken {
            Taken::Bytes(chunk) => guest.handle(&bytes_event(chunk, buffer, false), now, effects),
            Taken::Event(event) => guest.handle(event, now, effects),
        };
        let settled = returned.and_then(|()| {
            inbox.with(|inbox| {
                if !effects.leases.is_empty() {
                    know(&mut inbox.leases().known().collect(), &effects.leases)
                        .map_err(|_| too_many_leases("handle"))?;
                }
                inbox
                    .settle(&in_hand.taken, &effects.timers, &effects.replies)
                    .map_err(|_| too_many_timers("handle"))
            })
        });
        let settled = match settled {
            Ok(settled) => settled,
            Err(fault) => return self.break_down(fault.into(), Some(in_hand), now, sink),
        };
        let failed = said_failed(&self.effects);
        self.hear_phase();
        let over = take_leases(&self.inbox, &mut self.effects, now, sink);
        let commit = self.commit_of(Cause::Event(&in_hand.taken), now);
        let committed = sink.commit(&mut self.effects, commit);
        over.iter().for_each(|over| sink.lease_over(over));
        let refused = committed.is_err();
        if let Err(refused) = committed {
            self.tell_refused(&refused);
        }
        self.effects.clear();
        self.note(&in_hand.taken, settled.committed, now);
        self.journal.push(in_hand.taken, settled.committed, now, refused);
        self.plan_checkpoint(settled.wants_checkpoint, now);
        if let Some(reason) = failed {
            self.break_down(Breakdown::Failed(reason), None, now, sink);
        }
    }

    fn hear_phase(&mut self) {
        if let Some(phase) = said_phase(&self.effects) {
            self.phase = Some(phase.to_owned());
        }
    }

    fn tell_refused(&mut self, refused: &SliceRefused) {
        let data = serde_json::json!({ "reason": refused.0 }).to_string();
        let event = Event::Other {
            kind: UPDATE_REFUSED.into(),
            data: data.into(),
        };
        // At most one for each event, and each is taken before the next event: there is room.
        self.inbox.with(|inbox| inbox.push_urgent(event));
    }

    fn commit_of<'a>(&self, cause: Cause<'a>, time: CallTime) -> Commit<'a> {
        Commit {
            cause,
            time,
            generation: self.generation,
        }
    }

    /// Another driver runs. The strikes were its predecessor's, and so were the faults of the event that waits.
    fn succeeded(&mut self) {
        self.supervision.release();
        if let Some(retry) = &mut self.retry {
            retry.faults = 0;
        }
    }

    /// The lease of whose end the driver was to be told when it broke down.
    fn lease_in_hand(&self) -> Option<LeaseId> {
        match &self.retry.as_ref()?.taken {
            Taken::Event(Event::LeaseEnded { id, .. }) => Some(*id),
            _ => None,
        }
    }

    /// Whoever held it, holds it no more.
    fn end_leases(&mut self, reason: &str, sink: &mut impl Sink) {
        let over = self.inbox.with(|inbox| inbox.leases().end_all(reason));
        over.iter().for_each(|over| sink.lease_over(over));
    }
}

fn bytes_event<'a>(chunk: &Chunk, data: &'a [u8], replayed: bool) -> Event<'a> {
    Event::Bytes {
        port: chunk.port,
        offset: chunk.from,
        received_ns: chunk.received.monotonic_ns,
        received_ms: chunk.received.wall_ms,
        data,
        replayed,
    }
}

fn drop_effects(effects: &mut Effects, origin: LogOrigin, sink: &mut impl Sink) {
    if !effects.logs.is_empty() || effects.logs_suppressed > 0 {
        sink.logs(&mut effects.logs, effects.logs_suppressed, origin);
    }
    effects.clear();
}

fn said_failed(effects: &Effects) -> Option<String> {
    effects.status.iter().find_map(|change| match change {
        StatusChange::Failed(reason) => Some(reason.clone()),
        StatusChange::Phase(_) => None,
    })
}

fn said_phase(effects: &Effects) -> Option<&str> {
    effects.status.iter().rev().find_map(|change| match change {
        StatusChange::Phase(phase) => Some(phase.as_str()),
        StatusChange::Failed(_) => None,
    })
}

/// What is taken is told before the commit; what is given back goes out with it, in its place among the writes. Answers what goes out behind it.
fn take_leases(
    inbox: &SharedInbox,
    effects: &mut Effects,
    now: CallTime,
    sink: &mut impl Sink,
) -> Vec<LeaseOver> {
    if effects.leases.is_empty() {
        return Vec::new();
    }
    let turn = inbox.with(|inbox| inbox.leases().apply(&effects.leases, now.monotonic_ns));
    if !turn.opened.is_empty() {
        sink.leases_opened(&turn.opened);
    }
    // The last first, so that the places of the others stay.
    for (actions_before, lease) in turn.given_back.into_iter().rev() {
        let place = actions_before.min(effects.port_actions.len());
        effects
            .port_actions
            .insert(place, (lease.port, PortAction::Undo(lease)));
    }
    turn.over
}

fn too_many_leases(export: &'static str) -> Fault {
    Fault::new(
        FaultKind::Limit,
        export,
        format!("more than {} leases", super::LEASES),
    )
}

fn too_many_timers(export: &'static str) -> Fault {
    Fault::new(
        FaultKind::Limit,
        export,
        format!("more than {} timers", super::timers::TIMERS),
    )
}
