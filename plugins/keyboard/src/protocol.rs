//! The adapter's lines: values to bytes and back. Knows neither SDK nor host.
//!
//! ```text
//! identify            KB
//! identify_complete
//! press 0:1c          success: press command for scan code 1C       a tenth of a second later
//! hold e0:75          success: hold command for scan code 75        without the prefix
//! power_on            debug: keyboard accepts power ON command, sets PIN 5 to HIGH
//! ```
//!
//! What a reset or the PC lets it say comes in between. It says nothing about a line whose verb it does not know.

use crate::keys::{Piece, Verb};

/// Asks who it is. It answers with its token, and takes nothing else until it is told that this was right.
pub const IDENTIFY: &[u8] = b"identify\n";
/// Says that this was right.
pub const COMPLETE: &[u8] = b"identify_complete\n";
/// What it answers.
pub const TOKEN: &str = "KB";
/// What its sisters answer.
const OTHER_TOKENS: [&str; 3] = ["FP", "MS", "AC"];
/// Longer than any line that it says; what is longer is not read.
pub const LINE_LIMIT_BYTES: usize = 256;

/// Who decides about the pin that tells the mouse adapter whether the PC is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nobody: it is high.
    On,
    /// Nobody: it is low.
    Off,
    /// The PC, by talking to its keyboard.
    Auto,
}

/// The keyboard's lights, as the PC sets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lights {
    /// Scroll lock.
    pub scroll: bool,
    /// Num lock.
    pub num: bool,
    /// Caps lock.
    pub caps: bool,
}

/// What a line of the adapter's says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// It is a keyboard adapter.
    Token,
    /// It is another board.
    OtherToken(&'a str),
    /// It has done this with this code.
    Done(Verb, u8),
    /// It has not understood this, or has not been identified.
    NothingToDo(&'a str),
    /// It was told who decides about the pin, and the pin is high, or low.
    Power(bool),
    /// The PC talks to its keyboard, and the pin is high because of that.
    PcTalks,
    /// The PC starts.
    PcReset,
    /// The PC has set the lights.
    Lights(Lights),
    /// Anything else.
    Other,
}

/// The line that sends a piece, with its end.
#[must_use]
pub fn line(piece: Piece) -> String {
    let Piece { verb, prefix, code } = piece;
    format!("{} {prefix:x}:{code:x}\n", word(verb))
}

/// The lines that send several.
#[must_use]
pub fn lines(pieces: &[Piece]) -> Vec<u8> {
    pieces
        .iter()
        .flat_map(|piece| line(*piece).into_bytes())
        .collect()
}

/// The line that says who decides about the pin.
#[must_use]
pub const fn power(mode: Mode) -> &'static [u8] {
    match mode {
        Mode::On => b"power_on\n",
        Mode::Off => b"power_off\n",
        Mode::Auto => b"power_auto\n",
    }
}

/// Reads a line, without its end.
#[must_use]
pub fn read(line: &[u8]) -> Message<'_> {
    let Ok(line) = std::str::from_utf8(line) else {
        return Message::Other;
    };
    if line == TOKEN {
        return Message::Token;
    }
    if OTHER_TOKENS.contains(&line) {
        return Message::OtherToken(line);
    }
    if let Some(done) = line.strip_prefix("success: ") {
        return read_done(done).unwrap_or(Message::Other);
    }
    line.strip_prefix("debug: ")
        .and_then(read_debug)
        .unwrap_or(Message::Other)
}

fn read_done(text: &str) -> Option<Message<'_>> {
    let (verb, code) = text.split_once(" command for scan code ")?;
    let verb = [Verb::Press, Verb::Hold, Verb::Release]
        .into_iter()
        .find(|known| word(*known) == verb)?;
    let digits = matches!(code.len(), 1..=2) && code.bytes().all(|digit| digit.is_ascii_hexdigit());
    let code = digits.then(|| u8::from_str_radix(code, 16).ok()).flatten()?;
    Some(Message::Done(verb, code))
}

fn read_debug(text: &str) -> Option<Message<'_>> {
    if let Some(command) = text
        .strip_prefix("command is ")
        .and_then(|rest| rest.strip_suffix(". nothing to do"))
    {
        return Some(Message::NothingToDo(command));
    }
    if text.starts_with("keyboard accepts power ") || text.starts_with("keyboard power mode set to ") {
        let level = text.rsplit([' ', '=']).next();
        return match level {
            Some("HIGH") => Some(Message::Power(true)),
            Some("LOW") => Some(Message::Power(false)),
            _ => None,
        };
    }
    if text.starts_with("keyboard observed PS/2 host activity") {
        return Some(Message::PcTalks);
    }
    if text.starts_with("keyboard sim recieved 0xFF ") {
        return Some(Message::PcReset);
    }
    read_lights(text.strip_prefix("LED arg=")?)
}

/// `0x02 scroll=0 num=1 caps=0`.
fn read_lights(text: &str) -> Option<Message<'_>> {
    let mut fields = text.split(' ').skip(1);
    let mut light = |name: &str| match fields.next()?.strip_prefix(name)?.strip_prefix('=')? {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    };
    Some(Message::Lights(Lights {
        scroll: light("scroll")?,
        num: light("num")?,
        caps: light("caps")?,
    }))
}

const fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::Press => "press",
        Verb::Hold => "hold",
        Verb::Release => "release",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Key;

    #[test]
    fn lines_are_as_the_firmware_wants_them() {
        let key = |name: &str| Key::named(name).expect("a key");
        assert_eq!(key("KeyA").press().map(line).as_deref(), Some("press 0:1c\n"));
        assert_eq!(key("F9").press().map(line).as_deref(), Some("press 0:1\n"));
        assert_eq!(lines(&key("ArrowUp").make()), b"hold e0:75\n");
        assert_eq!(lines(&key("ArrowUp").undo()), b"hold 0:e0\nrelease 0:75\n");
        assert_eq!(power(Mode::Auto), b"power_auto\n");
    }

    #[test]
    fn what_it_says_is_told_apart() {
        let lights = Lights {
            scroll: false,
            num: true,
            caps: false,
        };
        for (line, message) in [
            ("KB", Message::Token),
            ("FP", Message::OtherToken("FP")),
            ("KBD", Message::Other),
            (
                "success: press command for scan code 1C",
                Message::Done(Verb::Press, 0x1C),
            ),
            (
                "success: hold command for scan code 5",
                Message::Done(Verb::Hold, 5),
            ),
            (
                "success: release command for scan code E0",
                Message::Done(Verb::Release, 0xE0),
            ),
            ("success: press command for scan code ", Message::Other),
            ("success: press command for scan code +1", Message::Other),
            ("success: press command for scan code 1C2", Message::Other),
            ("success: move command for scan code 1C", Message::Other),
            (
                "debug: command is pres. nothing to do",
                Message::NothingToDo("pres"),
            ),
            (
                "debug: keyboard accepts power ON command, sets PIN 5 to HIGH",
                Message::Power(true),
            ),
            (
                "debug: keyboard accepts power OFF command, sets PIN 5 to LOW",
                Message::Power(false),
            ),
            (
                "debug: keyboard power mode set to AUTO; hostEverTalked=0 pin=LOW",
                Message::Power(false),
            ),
            (
                "debug: keyboard observed PS/2 host activity; sets PIN 5 to HIGH (AUTO)",
                Message::PcTalks,
            ),
            ("debug: keyboard sim recieved 0xFF (RESET)", Message::PcReset),
            ("debug: keyboard sim recieved 0xFE (RESEND)", Message::Other),
            (
                "debug: LED arg=0x02 scroll=0 num=1 caps=0",
                Message::Lights(lights),
            ),
            ("debug: LED arg=0x02 scroll=0 num=2 caps=0", Message::Other),
            ("debug: acknowledge", Message::Other),
            ("", Message::Other),
        ] {
            assert_eq!(read(line.as_bytes()), message, "{line}");
        }
        assert_eq!(read(b"\xffKB"), Message::Other);
    }
}
