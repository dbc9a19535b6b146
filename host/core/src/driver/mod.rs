//! The driver cell: what keeps a driver's calls transactional over traps, restarts and swaps.

mod cell;
mod draft;
mod effects;
mod event;
mod guest;
mod inbox;
mod journal;
pub mod leases;
mod line_news;
mod observing;
pub mod offline;
mod ring;
pub mod shadow;
mod shared;
mod sink;
mod supervision;
mod timers;
pub mod versions;

#[cfg(test)]
mod schedule;

/// How long a new version has to live to be a good one. Until then the one before it may come back.
pub const PROBATION_NS: u64 = 10_000_000_000;

pub use cell::{
    AtRest, Cell, HeadStart, NoReturn, NotSucceeded, Setup, Started, Status, Step, SwapRefusal, SwapReport,
};
pub use draft::{Draft, DraftError};
pub use inbox::{Busy, COMMANDS, Cancelled, Chunk, Depth, Inbox, PortSetup, Settled, Taken, TooManyTimers};
pub use leases::{LEASES, Lease, LeaseOver, Leases};
pub use line_news::{LineFaults, LineNews};
pub use observing::OBSERVED_SLICES;
pub use ring::{CHUNK_BYTES, Marks, Next, PortRing, ring_capacity_bytes};
pub use shared::SharedInbox;
pub use sink::{Breakdown, Cause, Commit, LifeChange, LogOrigin, Sink, Skipped, SliceRefused};
pub use supervision::{Supervision, Verdict};
pub use timers::{TIMERS, Timers};

pub use effects::{
    AlarmChange, CommandReply, Effects, LeaseChange, LogLevel, LogLine, Outcome, PortAction, Publication,
    Sample, Severity, StatusChange, TimerChange,
};
pub use event::{
    CommandId, DataBits, Event, FlowControl, InputSignals, LeaseId, LineSettings, Parity, PortIdentity,
    PortIndex, StopBits, TimerId,
};
pub use guest::{
    CallTime, Command, Fault, FaultKind, Guest, Place, PortState, Refusal, Snapshot, StartInput, StartReason,
    StopReason,
};
