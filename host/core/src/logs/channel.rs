//! The channels of the log, each with its picture and its colour.
//!
//! A channel's name may go on after a colon (`device:meter`); picture, colour and allowlist look only at the part before it. A channel
//! that is not listed is no error: a new part of the daemon must not be mute because a table was forgotten.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// The colours that a log view has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// Blue.
    Blue,
    /// Cyan.
    Cyan,
    /// Gray.
    Gray,
    /// Green.
    Green,
    /// Magenta.
    Magenta,
    /// Red.
    Red,
    /// White.
    White,
    /// Yellow.
    Yellow,
}

impl Color {
    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Cyan => "cyan",
            Self::Gray => "gray",
            Self::Green => "green",
            Self::Magenta => "magenta",
            Self::Red => "red",
            Self::White => "white",
            Self::Yellow => "yellow",
        }
    }
}

/// How a channel is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Its picture.
    pub emoji: &'static str,
    /// Its colour.
    pub color: Color,
}

/// The channels that are known, by name.
pub const CHANNELS: [(&str, Style); 17] = [
    ("app", style("📦", Color::White)),
    ("atlona-controller", style("🎛️", Color::Cyan)),
    ("benchmark", style("🏁", Color::Yellow)),
    ("cf-imager", style("💾", Color::Yellow)),
    ("device", style("🔌", Color::Green)),
    ("ffmpeg", style("🎞️", Color::Magenta)),
    ("frontpanel", style("🔘", Color::Red)),
    ("keyboard", style("⌨️", Color::Blue)),
    ("mouse", style("🖱️", Color::Blue)),
    ("ocr", style("🔎", Color::Cyan)),
    ("orchestrator", style("🧭", Color::White)),
    ("powermeter", style("⚡", Color::Yellow)),
    ("request", style("🌐", Color::Gray)),
    ("serial-printer", style("🖨️", Color::Green)),
    ("sidecar", style("🛰️", Color::Magenta)),
    ("stream", style("📺", Color::Cyan)),
    ("websocket", style("🔗", Color::Blue)),
];

/// The part of a channel's name before a colon.
pub fn channel_family(channel: &str) -> &str {
    channel.split_once(':').map_or(channel, |(family, _)| family)
}

/// How a channel is shown.
pub fn channel_style(channel: &str) -> Style {
    let family = channel_family(channel);
    CHANNELS
        .iter()
        .find(|(name, _)| *name == family)
        .map_or(style("📝", Color::Gray), |(_, style)| *style)
}

const fn style(emoji: &'static str, color: Color) -> Style {
    Style { emoji, color }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finer_division_of_a_channel_looks_like_the_channel() {
        assert_eq!(channel_style("device:meter"), channel_style("device"));
        assert_eq!(channel_style("device").emoji, "🔌");
        assert_eq!(channel_style("device").color, Color::Green);
    }

    #[test]
    fn a_channel_nobody_listed_is_shown_all_the_same() {
        assert_eq!(channel_style("something-new").color, Color::Gray);
    }

    #[test]
    fn no_channel_is_listed_twice() {
        for (index, (name, _)) in CHANNELS.iter().enumerate() {
            assert!(
                CHANNELS.iter().skip(index + 1).all(|(other, _)| other != name),
                "{name}"
            );
        }
    }
}
