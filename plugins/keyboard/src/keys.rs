//! Keys by their names, and the lines of the adapter that make and break them. Knows neither SDK nor host.
//!
//! A key is named as `KeyboardEvent.code` names it in a browser, by its place on the keyboard and not by what is printed on it. The codes are
//! those of set 2.
//!
//! The firmware has three verbs. With the prefix `0`, `hold` sends the code and `release` sends `F0` and the code; with another prefix `hold`
//! sends both bytes, and `release` and `press` end with `F0 E0 F0 C`, which is wrong: right is `E0 F0 C`. So a prefixed key is never pressed or
//! released as such: `hold 0:e0` sends the `E0` alone, and `release 0:C` the rest.

use serde::{Deserialize, Serialize};

/// What the adapter is to do with a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    /// Make, 100 ms, break.
    Press,
    /// Make.
    Hold,
    /// Break.
    Release,
}

/// One line of the adapter's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// What to do.
    pub verb: Verb,
    /// 0 for none.
    pub prefix: u8,
    /// The code.
    pub code: u8,
}

/// A key, by a number that stays the same over versions: its prefix and its code. The number is also that of its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(u16);

const PRINT_SCREEN: Key = Key(0xE07C);
const PAUSE: Key = Key(0xE114);
const EXTENDED: u8 = 0xE0;

/// Names and keys.
#[rustfmt::skip]
const KEYS: [(&str, Key); 105] = [
    ("KeyA", Key(0x1C)), ("KeyB", Key(0x32)), ("KeyC", Key(0x21)), ("KeyD", Key(0x23)), ("KeyE", Key(0x24)), ("KeyF", Key(0x2B)),
    ("KeyG", Key(0x34)), ("KeyH", Key(0x33)), ("KeyI", Key(0x43)), ("KeyJ", Key(0x3B)), ("KeyK", Key(0x42)), ("KeyL", Key(0x4B)),
    ("KeyM", Key(0x3A)), ("KeyN", Key(0x31)), ("KeyO", Key(0x44)), ("KeyP", Key(0x4D)), ("KeyQ", Key(0x15)), ("KeyR", Key(0x2D)),
    ("KeyS", Key(0x1B)), ("KeyT", Key(0x2C)), ("KeyU", Key(0x3C)), ("KeyV", Key(0x2A)), ("KeyW", Key(0x1D)), ("KeyX", Key(0x22)),
    ("KeyY", Key(0x35)), ("KeyZ", Key(0x1A)),
    ("Digit1", Key(0x16)), ("Digit2", Key(0x1E)), ("Digit3", Key(0x26)), ("Digit4", Key(0x25)), ("Digit5", Key(0x2E)),
    ("Digit6", Key(0x36)), ("Digit7", Key(0x3D)), ("Digit8", Key(0x3E)), ("Digit9", Key(0x46)), ("Digit0", Key(0x45)),
    ("Space", Key(0x29)), ("Enter", Key(0x5A)), ("Tab", Key(0x0D)), ("Backspace", Key(0x66)), ("Escape", Key(0x76)),
    ("Minus", Key(0x4E)), ("Equal", Key(0x55)), ("BracketLeft", Key(0x54)), ("BracketRight", Key(0x5B)), ("Backslash", Key(0x5D)),
    ("Semicolon", Key(0x4C)), ("Quote", Key(0x52)), ("Comma", Key(0x41)), ("Period", Key(0x49)), ("Slash", Key(0x4A)),
    ("Backquote", Key(0x0E)), ("IntlBackslash", Key(0x61)),
    ("ShiftLeft", Key(0x12)), ("ShiftRight", Key(0x59)), ("ControlLeft", Key(0x14)), ("AltLeft", Key(0x11)),
    ("ControlRight", Key(0xE014)), ("AltRight", Key(0xE011)), ("MetaLeft", Key(0xE01F)), ("MetaRight", Key(0xE027)),
    ("ContextMenu", Key(0xE02F)),
    ("ArrowUp", Key(0xE075)), ("ArrowDown", Key(0xE072)), ("ArrowLeft", Key(0xE06B)), ("ArrowRight", Key(0xE074)),
    ("Home", Key(0xE06C)), ("End", Key(0xE069)), ("PageUp", Key(0xE07D)), ("PageDown", Key(0xE07A)), ("Insert", Key(0xE070)),
    ("Delete", Key(0xE071)),
    ("F1", Key(0x05)), ("F2", Key(0x06)), ("F3", Key(0x04)), ("F4", Key(0x0C)), ("F5", Key(0x03)), ("F6", Key(0x0B)),
    ("F7", Key(0x83)), ("F8", Key(0x0A)), ("F9", Key(0x01)), ("F10", Key(0x09)), ("F11", Key(0x78)), ("F12", Key(0x07)),
    ("CapsLock", Key(0x58)), ("NumLock", Key(0x77)), ("ScrollLock", Key(0x7E)),
    ("Numpad0", Key(0x70)), ("Numpad1", Key(0x69)), ("Numpad2", Key(0x72)), ("Numpad3", Key(0x7A)), ("Numpad4", Key(0x6B)),
    ("Numpad5", Key(0x73)), ("Numpad6", Key(0x74)), ("Numpad7", Key(0x6C)), ("Numpad8", Key(0x75)), ("Numpad9", Key(0x7D)),
    ("NumpadDecimal", Key(0x71)), ("NumpadAdd", Key(0x79)), ("NumpadSubtract", Key(0x7B)), ("NumpadMultiply", Key(0x7C)),
    ("NumpadDivide", Key(0xE04A)), ("NumpadEnter", Key(0xE05A)),
    ("PrintScreen", PRINT_SCREEN), ("Pause", PAUSE),
];

/// Keys that are held while another one is struck, in the order of their bits in [`Modifiers`].
const MODIFIERS: [Key; 8] = [
    Key(0x14),
    Key(0x12),
    Key(0x11),
    Key(0xE01F),
    Key(0xE014),
    Key(0x59),
    Key(0xE011),
    Key(0xE027),
];

/// A set of modifiers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modifiers(u8);

impl Modifiers {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// The left shift key.
    pub const SHIFT: Self = Self(0b0000_0010);
    /// The right alt key, which is AltGr where a layout has one.
    pub const ALT_GR: Self = Self(0b0100_0000);

    /// All of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The same with one more key; nothing if that key is no modifier.
    #[must_use]
    pub fn with(self, key: Key) -> Option<Self> {
        let bit = MODIFIERS.iter().position(|modifier| *modifier == key)?;
        Some(Self(self.0 | 1 << bit))
    }

    /// Its keys, in the order in which they go down.
    pub fn keys(self) -> impl Iterator<Item = Key> {
        let with_bits = (0..).zip(MODIFIERS);
        with_bits.filter_map(move |(bit, key)| (self.0 >> bit & 1 == 1).then_some(key))
    }

    /// Whether the key is in it.
    #[must_use]
    pub fn contains(self, key: Key) -> bool {
        self.keys().any(|modifier| modifier == key)
    }
}

/// Why a name is no key that can be struck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoKey {
    /// Nothing is called this.
    Unknown(String),
    /// It would have to stay down, and has no break: its one sequence says that it went down and up.
    HasNoBreak(Key),
}

impl std::fmt::Display for NoKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(name) => write!(
                f,
                "there is no key {name:?}; keys have the names of KeyboardEvent.code, such as KeyA, Enter or ArrowUp"
            ),
            Self::HasNoBreak(key) => write!(
                f,
                "{key} cannot be held: a keyboard has no code for its release; press it instead"
            ),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Key {
    /// The key of this name.
    pub fn named(name: &str) -> Result<Self, NoKey> {
        KEYS.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, key)| *key)
            .ok_or_else(|| NoKey::Unknown(name.chars().take(40).collect()))
    }

    /// The same, for somebody who wants to hold it.
    pub fn to_hold(name: &str) -> Result<Self, NoKey> {
        match Self::named(name)? {
            PAUSE => Err(NoKey::HasNoBreak(PAUSE)),
            key => Ok(key),
        }
    }

    /// The key of this number; nothing if there is none.
    #[must_use]
    pub fn of_number(number: u16) -> Option<Self> {
        KEYS.iter()
            .map(|(_, key)| *key)
            .find(|key| key.number() == number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        KEYS.iter()
            .find(|(_, key)| *key == self)
            .map_or("?", |(name, _)| *name)
    }

    /// All keys.
    pub fn all() -> impl Iterator<Item = Self> {
        KEYS.iter().map(|(_, key)| *key)
    }

    /// All modifiers.
    pub fn modifiers() -> impl Iterator<Item = Self> {
        MODIFIERS.into_iter()
    }

    /// Whether a PC takes a second make of it for nothing new.
    #[must_use]
    pub fn is_modifier(self) -> bool {
        MODIFIERS.contains(&self)
    }

    /// The one line that presses it, where the firmware does that rightly.
    #[must_use]
    pub fn press(self) -> Option<Piece> {
        let (prefix, code) = self.bytes();
        (prefix == 0).then_some(Piece {
            verb: Verb::Press,
            prefix,
            code,
        })
    }

    /// What presses a key that is down and up in one, and can be neither held nor released.
    #[must_use]
    pub fn whole(self) -> Option<Vec<Piece>> {
        // E1 14 77 E1 F0 14 F0 77.
        (self == PAUSE).then(|| {
            vec![
                hold(0xE1, 0x14),
                hold(0, 0x77),
                hold(0, 0xE1),
                release(0x14),
                release(0x77),
            ]
        })
    }

    /// What makes it.
    #[must_use]
    pub fn make(self) -> Vec<Piece> {
        let (prefix, code) = self.bytes();
        if self == PRINT_SCREEN {
            return vec![hold(EXTENDED, 0x12), hold(EXTENDED, 0x7C)];
        }
        vec![hold(prefix, code)]
    }

    /// What breaks it. Breaking a key that is up means nothing to a PC.
    #[must_use]
    pub fn undo(self) -> Vec<Piece> {
        let (prefix, code) = self.bytes();
        if self == PRINT_SCREEN {
            return vec![hold(0, EXTENDED), release(0x7C), hold(0, EXTENDED), release(0x12)];
        }
        if prefix == 0 {
            vec![release(code)]
        } else {
            vec![hold(0, prefix), release(code)]
        }
    }

    /// Whether it is the key with a prefix to this one without.
    #[must_use]
    pub fn has_code_of(self, plain: Self) -> bool {
        let (prefix, code) = self.bytes();
        prefix != 0 && plain.bytes() == (0, code)
    }

    const fn bytes(self) -> (u8, u8) {
        let [prefix, code] = self.0.to_be_bytes();
        (prefix, code)
    }
}

const fn hold(prefix: u8, code: u8) -> Piece {
    Piece {
        verb: Verb::Hold,
        prefix,
        code,
    }
}

const fn release(code: u8) -> Piece {
    Piece {
        verb: Verb::Release,
        prefix: 0,
        code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// What the firmware sends to the PC for these lines, wrong as it is.
    fn sent(pieces: &[Piece]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in pieces {
            let prefix = (piece.prefix != 0).then_some(piece.prefix);
            let codes: Vec<u8> = prefix.into_iter().chain([piece.code]).collect();
            if piece.verb != Verb::Release {
                bytes.extend_from_slice(&codes);
            }
            if piece.verb != Verb::Hold {
                bytes.extend(codes.iter().flat_map(|code| [0xF0, *code]));
            }
        }
        bytes
    }

    #[test]
    fn names_and_numbers_are_each_there_once() {
        let names: BTreeSet<_> = KEYS.iter().map(|(name, _)| name).collect();
        let numbers: BTreeSet<_> = KEYS.iter().map(|(_, key)| key.number()).collect();
        assert_eq!((names.len(), numbers.len()), (KEYS.len(), KEYS.len()));
        for (name, key) in KEYS {
            assert_eq!(Key::named(name), Ok(key));
            assert_eq!(Key::of_number(key.number()), Some(key));
            assert_eq!(key.name(), name);
        }
    }

    #[test]
    fn every_key_is_made_and_broken_in_the_right_order() {
        for key in Key::all() {
            let [prefix, code] = key.number().to_be_bytes();
            let (make, undo) = match key {
                PAUSE => continue,
                PRINT_SCREEN => (
                    vec![0xE0, 0x12, 0xE0, 0x7C],
                    vec![0xE0, 0xF0, 0x7C, 0xE0, 0xF0, 0x12],
                ),
                _ if prefix == 0 => (vec![code], vec![0xF0, code]),
                _ => (vec![0xE0, code], vec![0xE0, 0xF0, code]),
            };
            assert_eq!(sent(&key.make()), make, "{key}");
            assert_eq!(sent(&key.undo()), undo, "{key}");
            if let Some(press) = key.press() {
                assert_eq!(sent(&[press]), [make, undo].concat(), "{key}");
            }
        }
    }

    #[test]
    fn pause_is_one_sequence_and_cannot_be_held() {
        let whole = PAUSE.whole().expect("pause has one");
        assert_eq!(sent(&whole), [0xE1, 0x14, 0x77, 0xE1, 0xF0, 0x14, 0xF0, 0x77]);
        let refusal = Key::to_hold("Pause").expect_err("it has no break");
        assert!(
            refusal.to_string().starts_with("Pause cannot be held"),
            "{refusal}"
        );
        assert!(Key::all().all(|key| key == PAUSE || key.whole().is_none()));
    }

    #[test]
    fn a_name_that_is_no_key_is_refused_with_it() {
        for name in ["", "a", "keya", "Fn", "KeyÄ"] {
            let refusal = Key::named(name).expect_err(name).to_string();
            assert!(refusal.contains(&format!("{name:?}")), "{refusal}");
        }
    }

    #[test]
    fn modifiers_are_a_set() {
        let both = Modifiers::SHIFT.and(Modifiers::ALT_GR);
        let names: Vec<_> = both.keys().map(Key::name).collect();
        assert_eq!(names, ["ShiftLeft", "AltRight"]);
        assert_eq!(Modifiers::default().with(Key(0x12)), Some(Modifiers::SHIFT));
        assert_eq!(Modifiers::default().with(Key(0x1C)), None);
        assert!(Key::modifiers().all(Key::is_modifier));
    }
}
