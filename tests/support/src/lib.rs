//! What the tests of several packages share: chance that follows from a seed, frames as a client of bytes writes and reads them, streams of
//! frames that nobody would write by hand, and what a browser does with compressed messages.
//!
//! It shares no code with the daemon, so that what the daemon does can be judged by it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "for tests: a failure here is the test's failure"
)]

mod compression;
mod frames;
mod random;
mod streams;
mod tungstenite_reader;

pub use compression::{BrowserInflater, compressed, finished, mark_compressed};
pub use frames::{Frame, client_frame, client_frame_with, payload, take_frame};
pub use random::{Random, Seeds, given_seed, is_long, new_seed};
pub use streams::{Extension, Stream, length, text};
pub use tungstenite_reader::{Message, TungsteniteReader};
