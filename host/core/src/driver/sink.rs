//! Where a driver's effects go: the state store, hub, log and ports in the daemon, a model in tests.

use std::sync::Arc;

use super::versions::Blame;
use super::{
    CallTime, Command, Effects, Fault, Lease, LeaseOver, LogLine, Refusal, StartReason, StopReason, Taken,
    Verdict,
};

/// Takes what the cell lets through. Called on the driver's thread, never while the inbox is locked.
pub trait Sink {
    /// A call has returned: everything it asked for takes effect at once, as one version of the state. Timers are applied already, and what is
    /// left in `effects` afterwards is forgotten, so buffers may be drained or read. This is the one call of the hot path.
    ///
    /// If the slice refuses the operations, none of them is applied, everything else is, and the driver is told.
    fn commit(&mut self, effects: &mut Effects, commit: Commit<'_>) -> Result<(), SliceRefused>;

    /// Log lines of a call that otherwise has no effect.
    fn logs(&mut self, lines: &mut Vec<LogLine>, suppressed: u64, origin: LogOrigin);

    /// The driver's slice as JSON text, as it stands.
    fn slice(&mut self) -> Option<Arc<str>>;

    /// A driver goes on from a snapshot: its slice comes in place of the one that stands, and with it, as one version of the state, what its start
    /// says of its phase and that it is live. The rest of what its start asked for follows in a [commit](Self::commit); of what is published here
    /// nothing has to be published there, and it may be drained. Refused, nothing has changed.
    fn take_over(
        &mut self,
        slice: serde_json::Value,
        effects: &mut Effects,
        generation: u64,
    ) -> Result<(), SliceRefused>;

    /// The driver that goes live observes these slices: whoever changes one of them has to [say so](super::SharedInbox::slice_changed) from now on.
    /// Called once at each start, before the driver is told their values.
    fn observe(&mut self, _slices: &[Arc<str>]) {}

    /// A foreign slice as JSON text, as it stands; none if there is no such slice.
    fn foreign_slice(&mut self, _slice: &str) -> Option<Arc<str>> {
        None
    }

    /// A version that is to return asked for this, muted, while it lived through what happened since it was replaced. What stands of itself once it is
    /// back, such as its alarms, stands as if this had not been muted.
    fn relived(&mut self, _effects: &Effects) {}

    /// Leases were taken, or taken once more: what undoes them has to be kept over a crash of the daemon. Told before the commit of the call that took them,
    /// so before the holds begin. With each comes the number of the one in whose place it is, whose bytes need not be kept any more.
    fn leases_opened(&mut self, opened: &[(Lease, Option<u64>)]);

    /// A lease is over: its bytes have to go out on its port, behind everything that was asked for before, and as soon as there is a line that takes them.
    /// Where the driver gives it back they are among what a commit does to its ports.
    fn lease_over(&mut self, over: &LeaseOver);

    /// Something that broke the driver down twice is left out.
    fn skipped(&mut self, skipped: Skipped<'_>);

    /// A command whose call broke down. It had no effect and is not tried again.
    fn command_failed(&mut self, command: &Arc<Command>, breakdown: &Breakdown);

    /// The driver's life has taken a turn.
    fn life(&mut self, change: LifeChange<'_>);
}

/// The slice's checks failed: a parent that is not there, or the size limit. The text says which.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SliceRefused(pub String);

/// What a commit belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// The call.
    pub cause: Cause<'a>,
    /// The time of the call.
    pub time: CallTime,
    /// The driver's generation.
    pub generation: u64,
}

/// The call that a commit belongs to.
#[derive(Debug, Clone, Copy)]
pub enum Cause<'a> {
    /// A start.
    Start {
        /// Why it was started.
        reason: StartReason,
        /// Whether it goes on from a snapshot. Its slice has been replaced then, and the effects hold no operations.
        from_snapshot: bool,
        /// Whether the driver knows nothing of the commands in flight but of those that it answers here: nobody knows how the others ended.
        forgets_commands: bool,
    },
    /// An event.
    Event(&'a Taken),
    /// A stop.
    Stop(StopReason),
}

/// Whose log lines they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOrigin {
    /// Of a call that failed: they are marked, and they may be repeated.
    FailedCall,
    /// Of a replay: they were most likely logged before.
    Replay,
}

/// Why a driver does not go on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Breakdown {
    /// It broke off a call.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// It refused to start.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It said that it cannot go on.
    #[error("it says: {0}")]
    Failed(String),
    /// The slice that it starts with is refused.
    #[error("its slice is refused: {0}")]
    Slice(#[from] SliceRefused),
}

impl Breakdown {
    /// The word by which programs know it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.kind.code(),
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Slice(_) => "slice",
        }
    }

    /// The export over which it broke down, where it was one.
    pub fn export(&self) -> Option<&'static str> {
        match self {
            Self::Fault(fault) => Some(fault.export),
            Self::Refused(_) | Self::Slice(_) => Some("start"),
            Self::Failed(_) => None,
        }
    }

    /// Whose fault it is, as far as anybody can tell.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Refused(Refusal::InvalidSettings(_) | Refusal::MissingPort(_)) => Blame::Circumstances,
            Self::Refused(Refusal::UnknownSnapshot(_) | Refusal::Other(_))
            | Self::Fault(_)
            | Self::Failed(_)
            | Self::Slice(_) => Blame::Version,
        }
    }
}

/// What is left out after it broke the driver down twice.
#[derive(Debug)]
pub struct Skipped<'a> {
    /// The event.
    pub taken: &'a Taken,
    /// Its bytes, if it is bytes.
    pub bytes: &'a [u8],
    /// FNV-1a of the bytes, to recognise them in the log.
    pub hash: u64,
    /// What happened the second time.
    pub breakdown: &'a Breakdown,
}

/// A turn in a driver's life.
#[derive(Debug)]
pub enum LifeChange<'a> {
    /// It is live.
    Started {
        /// Why it was started.
        reason: StartReason,
        /// Its generation from now on.
        generation: u64,
        /// Bytes replayed into it.
        replayed_bytes: u64,
        /// Bytes that its predecessor had got, and had not dealt with, and that could not be replayed: the ring had dropped them, or there was
        /// no snapshot to go on from.
        lost_bytes: u64,
        /// Whether it goes on from a snapshot.
        from_snapshot: bool,
    },
    /// It broke down.
    BrokeDown {
        /// Why.
        breakdown: &'a Breakdown,
        /// What follows.
        verdict: Verdict,
    },
    /// Its checkpoint is given up, and it starts cold.
    CheckpointDropped {
        /// Why.
        breakdown: &'a Breakdown,
    },
    /// It broke down over its last words, which had no effect. It is stopped all the same.
    LastWordsLost {
        /// Why.
        breakdown: &'a Breakdown,
    },
    /// It was stopped.
    Stopped(StopReason),
}

/// FNV-1a, 64 bits.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
