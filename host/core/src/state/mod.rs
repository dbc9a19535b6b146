//! The versioned state document.

mod operation;
mod pointer;

pub use operation::{Operation, Value};
pub use pointer::{Pointer, PointerError};
