//! What a client is sent next.
//!
//! Per channel there is one [`Ring`] of encoded [`Segment`]s, and per client one [`Cursor`] into it: nothing is copied for a client. The
//! policy is here as plain types without sockets or locks. [`View`] is a look at the rings that a writer takes once and then uses for many
//! clients; [`View::next`] says for one client's [`Positions`] whether it is up to date, what is written to it in one go, or that it fell
//! off a ring and what it needs then. [`Batch::after`] moves the positions on by as many bytes as the socket really took.
//!
//! Order holds within a channel. A segment is whole frames, and a client that got a part of a segment is owed the rest before anything
//! else: `after` gives that rest back. [`Resume`] is where a client goes on that was away.

mod position;
mod resume;
mod ring;
mod view;

pub use position::{Channel, Cursor, Positions};
pub use resume::Resume;
pub use ring::{Ring, RingView, Segment};
pub use view::{Batch, Next, Progress, View};

/// How much the ring of a channel holds, in bytes of memory. When it is full the oldest segments go, and a client that had not got them yet
/// is sent one snapshot (state) or told the range that it missed (all others).
pub const RING_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests;
