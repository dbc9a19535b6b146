//! The keyboard adapter `KB`: lines from the host become scan codes for the PC, and what the PC asks of its keyboard is answered and told.
//!
//! ```text
//! host --lines--> firmware --set 2--> PC
//!      <--lines--          <--RESET, READ_ID, SET_LEDS...--
//! ```

mod firmware;
#[cfg(test)]
mod firmware_laws;
mod host_side;

pub use firmware::{Effect, KeyAction, KeyCause, KeyEdge, Keyboard, SERIAL_BYTES};
