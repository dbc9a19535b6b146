//! A bench: one simulated PC with its power meter, its front-panel controller and its keyboard adapter, each on a terminal of its own.
//!
//! ```text
//!               .-- meter ------ line -- terminal
//! wall -- PC ---+-- front panel - line -- terminal      one thread, one clock
//!               `-- keyboard --- line -- terminal
//! ```
//!
//! The desk is pure: it has the PC and the devices with their cables, and carries what one does to the other in the order of time. The
//! emulator carries bytes and time to it. A bench may have terminals for some of its devices only; the others are there all the same.

mod control;
mod desk;
mod emulator;
mod journal;

#[cfg(test)]
mod desk_laws;
#[cfg(test)]
mod stories;

pub use crate::device::{Device, UnknownDevice};
pub use control::run_control;
pub use desk::{Counts, Desk, Faults, PcEvent, Setup};
pub use emulator::{Bench, Control, DeviceStats, Options, Stats};
pub use journal::{Entry, Event, Source};
