//! Scan codes of set 2, and what a US keyboard means by them.
//!
//! ```text
//! make  [E0] C     break  [E0] F0 C     Pause  E1 14 77 E1 F0 14 F0 77
//! ```
//!
//! The order of `E0` and `F0` does not matter here, as it does not to the controller of a PC: the adapter's firmware breaks a prefixed key with
//! `F0 E0 F0 C`.

/// Bytes after `E1` that are the rest of Pause.
const PAUSE_REST: u8 = 7;

/// A key, by its place in set 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code {
    /// Whether it comes after `E0`.
    pub extended: bool,
    /// The code.
    pub code: u8,
}

impl Code {
    /// A key without prefix.
    pub const fn plain(code: u8) -> Self {
        Self {
            extended: false,
            code,
        }
    }

    /// A key with the prefix `E0`.
    pub const fn extended(code: u8) -> Self {
        Self { extended: true, code }
    }
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It went down, or repeated.
    Make,
    /// It went up.
    Break,
}

/// Turns bytes into keys.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    extended: bool,
    released: bool,
    skip: u8,
}

impl Decoder {
    /// Takes a byte; a key when it was the last one of it.
    pub fn push(&mut self, byte: u8) -> Option<(Action, Code)> {
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        match byte {
            0xE0 => self.extended = true,
            0xF0 => self.released = true,
            0xE1 => self.skip = PAUSE_REST,
            // No key has these: answers that nobody waited for, and what a keyboard says when it has lost count.
            0x00 | 0xAA | 0xEE | 0xFA..=0xFF => *self = Self::default(),
            code => {
                let action = if self.released {
                    Action::Break
                } else {
                    Action::Make
                };
                let extended = self.extended;
                *self = Self::default();
                return Some((action, Code { extended, code }));
            }
        }
        None
    }
}

/// What the keyboard means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A character.
    Character(char),
    /// End of the line.
    Enter,
    /// Take back the last character.
    Backspace,
    /// Take back the line.
    Escape,
    /// Stop what runs.
    ControlC,
    /// Start over, at once.
    ControlAltDelete,
    /// Shown on the keyboard's lights.
    LightsChanged,
}

/// Which keys are down, and which locks are on.
#[derive(Clone, Debug)]
pub struct Layout {
    down: std::collections::BTreeSet<Code>,
    caps_lock: bool,
    num_lock: bool,
    scroll_lock: bool,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            down: std::collections::BTreeSet::new(),
            caps_lock: false,
            // As a PC's setup leaves it.
            num_lock: true,
            scroll_lock: false,
        }
    }
}

const SHIFTS: [Code; 2] = [Code::plain(0x12), Code::plain(0x59)];
const CONTROLS: [Code; 2] = [Code::plain(0x14), Code::extended(0x14)];
const ALTS: [Code; 2] = [Code::plain(0x11), Code::extended(0x11)];
const CAPS_LOCK: Code = Code::plain(0x58);
const NUM_LOCK: Code = Code::plain(0x77);
const SCROLL_LOCK: Code = Code::plain(0x7E);
const C: Code = Code::plain(0x21);

/// Keys with a character, and the one it has with shift.
#[rustfmt::skip]
const CHARACTERS: [(u8, char, char); 48] = [
    (0x1C, 'a', 'A'), (0x32, 'b', 'B'), (0x21, 'c', 'C'), (0x23, 'd', 'D'), (0x24, 'e', 'E'), (0x2B, 'f', 'F'), (0x34, 'g', 'G'),
    (0x33, 'h', 'H'), (0x43, 'i', 'I'), (0x3B, 'j', 'J'), (0x42, 'k', 'K'), (0x4B, 'l', 'L'), (0x3A, 'm', 'M'), (0x31, 'n', 'N'),
    (0x44, 'o', 'O'), (0x4D, 'p', 'P'), (0x15, 'q', 'Q'), (0x2D, 'r', 'R'), (0x1B, 's', 'S'), (0x2C, 't', 'T'), (0x3C, 'u', 'U'),
    (0x2A, 'v', 'V'), (0x1D, 'w', 'W'), (0x22, 'x', 'X'), (0x35, 'y', 'Y'), (0x1A, 'z', 'Z'),
    (0x16, '1', '!'), (0x1E, '2', '@'), (0x26, '3', '#'), (0x25, '4', '$'), (0x2E, '5', '%'), (0x36, '6', '^'), (0x3D, '7', '&'),
    (0x3E, '8', '*'), (0x46, '9', '('), (0x45, '0', ')'),
    (0x4E, '-', '_'), (0x55, '=', '+'), (0x54, '[', '{'), (0x5B, ']', '}'), (0x5D, '\\', '|'), (0x4C, ';', ':'), (0x52, '\'', '"'),
    (0x41, ',', '<'), (0x49, '.', '>'), (0x4A, '/', '?'), (0x0E, '`', '~'), (0x29, ' ', ' '),
];

/// The keypad: with the lock on, what is printed on it.
#[rustfmt::skip]
const KEYPAD: [(u8, char); 11] = [
    (0x70, '0'), (0x69, '1'), (0x72, '2'), (0x7A, '3'), (0x6B, '4'), (0x73, '5'), (0x74, '6'), (0x6C, '7'), (0x75, '8'), (0x7D, '9'), (0x71, '.'),
];

/// The keys of a character on a US keyboard: the key, and whether shift goes with it. None if there is none.
pub fn keys_of(character: char) -> Option<(Code, bool)> {
    CHARACTERS.iter().find_map(|(code, plain, shifted)| {
        if *plain == character {
            Some((Code::plain(*code), false))
        } else if *shifted == character {
            Some((Code::plain(*code), true))
        } else {
            None
        }
    })
}

impl Layout {
    /// The bits of the keyboard's lights: scroll, num, caps from the lowest.
    pub fn lights(&self) -> u8 {
        u8::from(self.scroll_lock) | u8::from(self.num_lock) << 1 | u8::from(self.caps_lock) << 2
    }

    /// Takes what happened to a key; what it means, if it means anything by itself.
    pub fn push(&mut self, action: Action, code: Code) -> Option<Meaning> {
        if action == Action::Break {
            self.down.remove(&code);
            return None;
        }
        let repeats = !self.down.insert(code);
        match code {
            CAPS_LOCK | NUM_LOCK | SCROLL_LOCK if repeats => return None,
            CAPS_LOCK => self.caps_lock = !self.caps_lock,
            NUM_LOCK => self.num_lock = !self.num_lock,
            SCROLL_LOCK => self.scroll_lock = !self.scroll_lock,
            _ => return self.meaning(code),
        }
        Some(Meaning::LightsChanged)
    }

    fn meaning(&self, code: Code) -> Option<Meaning> {
        let is_down = |keys: [Code; 2]| keys.iter().any(|key| self.down.contains(key));
        match (is_down(CONTROLS), is_down(ALTS), code) {
            // The delete key, or the one on the keypad.
            (true, true, Code { code: 0x71, .. }) => return Some(Meaning::ControlAltDelete),
            (true, false, C) => return Some(Meaning::ControlC),
            (true, _, _) | (_, true, _) => return None,
            _ => {}
        }
        let shifted = is_down(SHIFTS);
        match (code.extended, code.code) {
            (_, 0x5A) => Some(Meaning::Enter),
            (false, 0x66) => Some(Meaning::Backspace),
            (false, 0x76) => Some(Meaning::Escape),
            (true, 0x4A) => Some(Meaning::Character('/')),
            (false, 0x79) => Some(Meaning::Character('+')),
            (false, 0x7B) => Some(Meaning::Character('-')),
            (false, 0x7C) => Some(Meaning::Character('*')),
            (false, code) => self.character(code, shifted).map(Meaning::Character),
            (true, _) => None,
        }
    }

    fn character(&self, code: u8, shifted: bool) -> Option<char> {
        if let Some((_, plain, upper)) = CHARACTERS.iter().find(|(key, ..)| *key == code) {
            let upper_case = shifted != (self.caps_lock && plain.is_ascii_lowercase());
            return Some(if upper_case { *upper } else { *plain });
        }
        // Without the lock, or with shift, the keypad moves the cursor, which nobody here looks at.
        let digits = self.num_lock && !shifted;
        KEYPAD
            .iter()
            .find(|(key, _)| *key == code && digits)
            .map(|(_, character)| *character)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_bytes(layout: &mut Layout, bytes: &[u8]) -> Vec<Meaning> {
        let mut decoder = Decoder::default();
        bytes
            .iter()
            .filter_map(|byte| decoder.push(*byte))
            .filter_map(|(action, code)| layout.push(action, code))
            .collect()
    }

    #[test]
    fn every_printable_character_has_keys_that_mean_it() {
        for character in ' '..='~' {
            let (code, shift) = keys_of(character).unwrap_or_else(|| panic!("{character:?}"));
            let mut bytes = vec![code.code, 0xF0, code.code];
            if shift {
                bytes = [&[0x12][..], &bytes, &[0xF0, 0x12]].concat();
            }
            assert_eq!(
                type_bytes(&mut Layout::default(), &bytes),
                [Meaning::Character(character)],
                "{character:?}"
            );
        }
    }

    #[test]
    fn both_orders_of_the_break_release_a_prefixed_key() {
        for release in [&[0xE0, 0xF0, 0x14][..], &[0xF0, 0xE0, 0xF0, 0x14]] {
            let bytes = [&[0xE0, 0x14][..], release, &[0x21]].concat();
            assert_eq!(
                type_bytes(&mut Layout::default(), &bytes),
                [Meaning::Character('c')],
                "right control is up again after {release:x?}"
            );
        }
    }

    #[test]
    fn caps_lock_turns_letters_and_leaves_digits() {
        let mut layout = Layout::default();
        assert_eq!(layout.lights(), 0b010);
        assert_eq!(
            type_bytes(&mut layout, &[0x58, 0x58, 0xF0, 0x58]),
            [Meaning::LightsChanged]
        );
        assert_eq!(layout.lights(), 0b110);
        let typed = type_bytes(&mut layout, &[0x1C, 0xF0, 0x1C, 0x16, 0x12, 0x1C]);
        assert_eq!(
            typed,
            [
                Meaning::Character('A'),
                Meaning::Character('1'),
                Meaning::Character('a')
            ]
        );
    }

    #[test]
    fn pause_means_nothing_and_what_follows_it_does() {
        let bytes = [0xE1, 0x14, 0x77, 0xE1, 0xF0, 0x14, 0xF0, 0x77, 0x21];
        assert_eq!(
            type_bytes(&mut Layout::default(), &bytes),
            [Meaning::Character('c')]
        );
    }

    #[test]
    fn control_with_alt_and_delete_starts_over_and_control_c_stops() {
        assert_eq!(
            type_bytes(&mut Layout::default(), &[0x14, 0x11, 0xE0, 0x71]),
            [Meaning::ControlAltDelete]
        );
        assert_eq!(
            type_bytes(&mut Layout::default(), &[0xE0, 0x14, 0x21]),
            [Meaning::ControlC]
        );
    }
}
