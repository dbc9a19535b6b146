//! What the little boards have in common: a firmware that speaks in lines, and the USB cable between it and the host.
//!
//! ```text
//! terminal <-> line <-> cable (faults, who listens) <-> firmware (commands, lines) <-> the PC's connectors
//! ```
//!
//! A board keeps its state, also that it has been identified, while the host closes the port and opens it again: opening does not reset it.
//! The cable is also its supply, so a board that was unplugged starts anew.

mod cable;
#[cfg(test)]
mod cable_laws;
mod fault;
#[cfg(test)]
pub(crate) mod probe;

pub use cable::{BoardCable, Fate, Note, NoteKind};
pub use fault::{BoardFault, BoardFaults, BoardFaultsError};

use std::time::Duration;

/// How long a board is deaf and dumb after a reset, while its bootloader waits for a new firmware.
pub const BOOTLOADER: Duration = Duration::from_millis(1500);

/// What a firmware does, in the order in which it does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<E> {
    /// A line for the host, without its `\r\n`.
    Line(String),
    /// Something at the PC's side.
    Effect(E),
}

/// Why a board starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Its reset, or a watchdog.
    Reset,
    /// It had no supply for a while.
    PowerLost,
}

/// A firmware without its line: bytes and the time in, lines and effects out.
pub trait Firmware {
    /// What it does at the PC's side.
    type Effect;

    /// The word that says what kind of board it is.
    const TOKEN: &'static str;
    /// Lines that a board of this kind may have had to say before anybody asked.
    const OLD_NEWS: &'static [&'static str];

    /// Bytes from the host.
    fn receive(&mut self, bytes: &[u8], now: Duration, outputs: &mut Vec<Output<Self::Effect>>);
    /// Does everything that is due by `now`.
    fn advance(&mut self, now: Duration, outputs: &mut Vec<Output<Self::Effect>>);
    /// When `advance` has something to do again.
    fn next_due(&self) -> Option<Duration>;
    /// Starts anew. What it did at the PC's side ends, and it hears nothing until its bootloader is through.
    fn restart(&mut self, cause: Restart, now: Duration, outputs: &mut Vec<Output<Self::Effect>>);
    /// Whether it has been identified.
    fn is_identified(&self) -> bool;
}
