//! Serial ports: one thread each that finds the line, opens it, reads it into the driver's inbox and writes what the driver queued.
//!
//! A port outlives its device and its driver: unplugging, renaming of the tty and swaps are normal events. What it does not do: it never
//! interprets a byte, and it never writes one that a driver, or a lease, has not asked for.

mod control;
mod engine;
mod find;
mod line;
mod modem;
mod recorder;
mod transmit;
mod withholding;

pub use control::{PortControl, PortView, ReserveError, SignalError};
pub use engine::{Port, PortEvents, PortSettings};
pub use find::{FindError, Found, find};
pub use line::DisplayLine;
pub use recorder::Recorder;
pub use transmit::TRANSMIT_LIMIT_BYTES;
pub use withholding::{ABANDONED_NS, AFTERMATH_NS, Withholding};
