//! The versioned state document, and the patches that lead from one version to the next.
//!
//! [`Store`] owns the document and is the only thing that changes it. A change is made in place and recorded at the same time as RFC 6902
//! operations, so that its cost follows the change and never the document: nothing here clones, diffs or serialises the whole. The way
//! of a change through the files:
//!
//! ```text
//! store        which member, all or nothing, one version per transaction
//!   change     changes a member's value in place; records operations, and what undoes them
//!     value    checks a value and writes it, once, into the pending flush
//!   pending    merges what a flush may merge, and writes the `state.patch`
//! members      the top-level members with their sizes and cached bytes; a snapshot joins those
//! offered      members that are always there, of one type, whichever driver writes them
//! ```
//!
//! It knows no clock, no lock and no client: when to flush is the caller's.

mod change;
mod error;
mod members;
mod offered;
mod operation;
mod path;
mod pending;
mod pointer;
mod store;
mod value;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

pub use error::StateError;
pub use offered::OFFERED_MEMBERS;
pub use operation::{Operation, Value};
pub use pending::Flush;
pub use pointer::{FORBIDDEN_KEYS, Pointer, PointerError};
pub use store::{DEFAULT_SLICE_LIMIT_BYTES, HOST_MEMBERS, MAX_PENDING_BYTES, Snapshot, Store, Transaction};
pub use value::{MAX_DEPTH, MAX_INTEGER};
