//! The talk of the front-panel controller: its lines into values, and values into lines for it. Pure; it knows no port and no time.
//!
//! The host's lines end with LF and are exact in their case. The board answers a hold and a release with a `debug:` line, and says by itself
//! how the PC's 5 V and its disk light are. Its telemetry goes by several names in the field; all that DEVICES knows are taken.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest line that is read. The longest that the firmware says has 71 bytes.
pub const LIMIT_BYTES: usize = 128;
/// Asks what kind of board it is. It answers with [`TOKEN`] and obeys nothing until [`IDENTIFIED`].
///
/// No line end goes before it, although the board may hold half a line of somebody who was killed: ended by one, that half could be a hold.
pub const IDENTIFY: &[u8] = b"identify\n";
/// Lets the board obey. It opens both contacts and says how power and disk are.
pub const IDENTIFIED: &[u8] = b"identify_complete\n";
/// What a front-panel controller answers.
pub const TOKEN: &str = "FP";

/// One of the two buttons that the board stands in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Button {
    /// Power.
    Power,
    /// Reset.
    Reset,
}

impl Button {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Power, Self::Reset];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Reset => "reset",
        }
    }

    /// Closes the contact, for ten seconds at most: then the board opens it by itself.
    #[must_use]
    pub fn hold(self) -> &'static [u8] {
        match self {
            Self::Power => b"POWER_HOLD\n",
            Self::Reset => b"RESET_HOLD\n",
        }
    }

    /// Opens the contact.
    #[must_use]
    pub fn release(self) -> &'static [u8] {
        match self {
            Self::Power => b"POWER_RELEASE\n",
            Self::Reset => b"RESET_RELEASE\n",
        }
    }
}

/// What a line of the board says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// It is a front-panel controller, and waits to be told that it is one.
    Token,
    /// It obeys from now on.
    Identified,
    /// The PC's 5 V are there, or not.
    Power(bool),
    /// The PC's disk is at work, or not.
    Disk(bool),
    /// A hold was done.
    Held(Button),
    /// A release was done.
    Released(Button),
    /// A hold was ten seconds old, and is over.
    AutoReleased(Button),
    /// Something else for whoever works on the board.
    Chatter,
    /// Nothing that a front-panel controller says.
    Unknown,
}

/// Reads a line, without its end.
#[must_use]
pub fn read_line(line: &[u8]) -> Message {
    let Ok(text) = std::str::from_utf8(line) else {
        return Message::Unknown;
    };
    let text = text.trim();
    if text == TOKEN {
        return Message::Token;
    }
    if let Some(words) = text.strip_prefix("debug:") {
        return read_debug(words.trim());
    }
    if text.starts_with("done:") {
        return Message::Chatter;
    }
    read_telemetry(text).unwrap_or(Message::Unknown)
}

fn read_debug(words: &str) -> Message {
    match words {
        "front panel power button held" => Message::Held(Button::Power),
        "front panel power button released" => Message::Released(Button::Power),
        "front panel reset button held" => Message::Held(Button::Reset),
        "front panel reset button released" => Message::Released(Button::Reset),
        _ if words.starts_with("POWER_HOLD auto-released") => Message::AutoReleased(Button::Power),
        _ if words.starts_with("RESET_HOLD auto-released") => Message::AutoReleased(Button::Reset),
        _ if words.starts_with("front panel identification complete") => Message::Identified,
        _ => Message::Chatter,
    }
}

/// A name and how it is, with `_`, `=` or `:` between: `POWER_LED_ON`, `PWR_ON`, `POWER_SENSE=1`, `HDD:0`.
fn read_telemetry(text: &str) -> Option<Message> {
    let (name, value) = text
        .split_once(['=', ':'])
        .or_else(|| text.rsplit_once('_'))
        .map(|(name, value)| (name.trim(), value.trim()))?;
    let is = |word: &str| value.eq_ignore_ascii_case(word);
    let on = match () {
        () if is("on") || is("1") => true,
        () if is("off") || is("0") => false,
        () => return None,
    };
    let is_one_of = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
    if is_one_of(&["POWER_LED", "POWER_SENSE", "POWER", "PWR_LED", "PWR_SENSE", "PWR"]) {
        Some(Message::Power(on))
    } else if is_one_of(&["HDD_ACTIVE", "HDD_LED", "HDD"]) {
        Some(Message::Disk(on))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_firmware_says_is_read() {
        for (line, message) in [
            ("FP", Message::Token),
            (
                "debug: front panel identification complete, sending client power state",
                Message::Identified,
            ),
            ("POWER_LED_ON", Message::Power(true)),
            ("POWER_LED_OFF", Message::Power(false)),
            ("HDD_ACTIVE_ON", Message::Disk(true)),
            ("HDD_ACTIVE_OFF", Message::Disk(false)),
            (
                "debug: front panel power button held",
                Message::Held(Button::Power),
            ),
            (
                "debug: front panel reset button released",
                Message::Released(Button::Reset),
            ),
            (
                "debug: POWER_HOLD auto-released (timeout)",
                Message::AutoReleased(Button::Power),
            ),
            (
                "debug: RESET_HOLD auto-released (timeout)",
                Message::AutoReleased(Button::Reset),
            ),
            ("debug: display not found", Message::Chatter),
            ("done: anything", Message::Chatter),
        ] {
            assert_eq!(read_line(line.as_bytes()), message, "{line}");
        }
    }

    #[test]
    fn telemetry_goes_by_many_names() {
        for line in [
            "POWER_SENSE_ON",
            "PWR_ON",
            "POWER_SENSE=1",
            "POWER_SENSE:ON",
            "power_led=on",
            " PWR: 1 ",
        ] {
            assert_eq!(read_line(line.as_bytes()), Message::Power(true), "{line}");
        }
        for line in ["HDD:0", "HDD_OFF", "HDD_LED=0", "HDD_ACTIVE=off"] {
            assert_eq!(read_line(line.as_bytes()), Message::Disk(false), "{line}");
        }
    }

    #[test]
    fn what_only_resembles_a_line_is_none() {
        for line in [
            "",
            "fp",
            "FPX",
            "XFP",
            "AC",
            "HDD_ACTIVE",
            "HDD_ACTIVE_",
            "POWER_LED_ONE",
            "POWER_HOLD",
            "_ON",
            "FAN=1",
            "\u{fffd}",
        ] {
            assert_eq!(read_line(line.as_bytes()), Message::Unknown, "{line}");
        }
        assert_eq!(read_line(b"POWER_LED_\xff"), Message::Unknown);
    }
}
