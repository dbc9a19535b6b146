//! The log: what an entry looks like, what may become one, and the bounded ring that numbers and keeps entries.
//!
//! [`LogPolicy`] acts first: allowlist and minimum level decide whether a record becomes an entry, redaction and cutting what of it may be
//! seen. Only then does [`LogRing`] number it, so that what clients must not see leaves no gap in the numbers. An entry is written as JSON
//! once, whoever reads it and however often. What one client wants of them is behind the ring, in [`LogFilter`], and how far it has come in
//! [`LogReader`].

mod channel;
mod filter;
mod level;
mod policy;
mod ring;

pub use channel::{CHANNELS, Color, Style, channel_family, channel_style};
pub use filter::{LogFilter, LogReader};
pub use level::UnknownLevel;
pub use policy::{LogPolicy, MAX_MESSAGE_BYTES};
pub use ring::{Entry, LogRecord, LogRing, Range};
