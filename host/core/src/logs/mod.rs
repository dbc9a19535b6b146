//! The log: what an entry looks like, and the bounded ring that numbers and keeps entries.

mod channel;
mod level;

pub use channel::{CHANNELS, Color, Style, channel_family, channel_style};
pub use level::UnknownLevel;
