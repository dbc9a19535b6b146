//! Compression of what clients are sent, done once for all of them (permessage-deflate, RFC 7692), without a socket.
//!
//! A compressor that keeps its window from message to message makes a patch of 180 bytes one of 25, because a patch is nearly the patch
//! before. One such compressor per client would cost more than everything else together. But clients that follow the same channels are sent
//! the same segments in the same order, so one compressor, one *context*, serves all of them:
//!
//! ```text
//!            candidate: its positions are where the context stands, and the context begins anew
//!  outside ------------------------------------------------------------------------------------> member
//!     ^                                                                                            |
//!     +--- its positions are not where the context stands (snapshot, replay, subscription), or ----+
//!          it was sent something else compressed, or it lies further behind than the tail reaches
//! ```
//!
//! Two rules make this exact, and both are checked where a client is about to be written to, not remembered by whoever might break them:
//!
//! - *The window.* A context *opens* at times: it forgets its window, so that nothing behind refers to anything before. Only there a client may
//!   join. From then on it is sent every segment of the context, in order, and nothing else that is compressed.
//! - *The positions.* A coded segment leads from certain plain [`Positions`](crate::outbox::Positions) to others. It is written only to a client that is exactly at
//!   the first, and moves it to the second: a member always has plain positions, so leaving is forgetting that it is one. Whatever moves a
//!   client's cursors makes it leave, without a word.
//!
//! What is personal is sent uncompressed. It does not enter the client's window, and so does not disturb the context.
//!
//! [`Contexts`] is the writer's side: in each pass of the fan-out it codes what the contexts' members are owed, and decides which contexts begin
//! and end ([`Contexts::encode`], [`Contexts::end_pass`]). [`Pass::turn`] says for one client what it is written. [`Tails`] keeps the last
//! coded segments for members whose sockets block. [`negotiate`] reads a client's offer, and [`compress_apart`] compresses for one client.
//!
//! Bounds: eight contexts, one mebibyte of segments each. A bound there has to be: each context has a compressor (a quarter of a mebibyte) and a tail,
//! and what is new for its members is compressed by the one loop, before anybody is written to; so each one delays all. Eight are more than the
//! kinds of clients that a bench has (the page, with and without a chart; the command line; a recorder). Clients of a ninth kind are sent plain frames,
//! which are always right, unless they are more than twice as many as those who share the smallest context: then that one ends and makes room.
//! A member that falls off the tail goes on with plain frames from where it is.

mod codec;
mod contexts;
mod offer;
mod tail;

pub use codec::compress_apart;
pub(crate) use codec::{InflateError, inflate};
pub use contexts::{Coded, Contexts, Membership, Pass, Turn};
pub use offer::{Agreement, MalformedOffer, negotiate};
pub use tail::{Follow, Reached, Run, Tails};

/// How the messages to a client may be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// A message may refer to those before it.
    Shared,
    /// Each message by itself: the client asked for it.
    Alone,
}

/// Most contexts at once. Clients that follow other channels than these are sent plain frames, unless they are many; the module says why.
pub const CONTEXTS: usize = 8;

/// How much of its segments a context keeps for members whose sockets block. They are some eight times as small as the plain ones, so a member
/// that falls off has about fallen off the plain rings, too.
pub const TAIL_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests;
