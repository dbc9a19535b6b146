//! The driver cell: what keeps a driver's calls transactional over traps, restarts and swaps.

mod effects;
mod event;
mod guest;

pub use effects::{
    AlarmChange, CommandReply, Effects, LeaseChange, LogLevel, LogLine, Outcome, PortAction, Publication,
    Sample, Severity, StatusChange, TimerChange,
};
pub use event::{
    CommandId, DataBits, Event, FlowControl, InputSignals, LeaseId, LineSettings, Parity, PortIdentity,
    PortIndex, StopBits, TimerId,
};
pub use guest::{
    CallTime, Command, Fault, FaultKind, Guest, PortState, Refusal, Snapshot, StartInput, StartReason,
    StopReason,
};
