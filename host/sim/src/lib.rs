//! Device emulators on pseudo-terminals, for a bench without hardware and for tests that need hardware to misbehave on demand.
//!
//! An emulator stands behind a link that a program opens as if it were a serial port. Its protocol is a pure machine; its faults come from
//! a seed; its journal says what a driver should have made of them. Nothing here knows the daemon.

pub mod bench;
pub mod board;
#[cfg(test)]
mod client;
mod clock;
mod control;
mod device;
pub mod frontpanel;
mod journal;
pub mod keyboard;
mod line;
pub mod pc;
pub mod pty;
pub mod random;
mod runner;
pub mod wattsup;
