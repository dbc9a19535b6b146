//! The front-panel controller `FP`: two contacts on the PC's power and reset switches, and two eyes on its 5 V and its disk light.
//!
//! ```text
//! host --lines--> firmware --edges on two contacts--> PC
//!      <--lines--          <--5 V, disk light, the button on the board--
//! ```

mod firmware;
#[cfg(test)]
mod firmware_laws;

pub use firmware::{Cause, Edge, FrontPanel, LINE_BYTES};
