//! A Watts Up? PRO power meter.
//!
//! ```text
//! terminal <-> emulator (thread, time) <-> cable (faults, verdicts) <-> meter (commands, rows) <- PC
//! ```
//!
//! Meter and cable are pure; the emulator carries bytes and time to them.

pub mod cable;
mod control;
mod damage;
mod emulator;
mod fault;
mod journal;
mod line;
pub mod meter;
mod packet;

#[cfg(test)]
mod cable_laws;
#[cfg(test)]
mod emulator_stories;
#[cfg(test)]
mod meter_laws;

pub use crate::control::ControlEnd;
pub use control::run_control;
pub use emulator::{Control, Emulator, Options, Stats};
pub use fault::{Fault, FaultPlan, FaultPlanError};
pub use journal::{LostReason, Record, Tally, Verdict};
