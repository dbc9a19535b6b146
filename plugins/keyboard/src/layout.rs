//! Layouts of the keyboard that the PC takes it for: which strokes give a text. Knows neither SDK nor host.
//!
//! A layout is a file in `layouts/`, whose form `layouts/us.layout` explains, and a line in `FILES`.

use std::collections::BTreeMap;
use std::fmt;

use crate::keys::{Key, Modifiers};

/// Names and texts of the layouts.
const FILES: [(&str, &str); 3] = [
    ("us", include_str!("../layouts/us.layout")),
    ("uk", include_str!("../layouts/uk.layout")),
    ("de", include_str!("../layouts/de.layout")),
];

/// What the columns of a key are struck with.
const LEVELS: [Modifiers; 4] = [
    Modifiers::NONE,
    Modifiers::SHIFT,
    Modifiers::ALT_GR,
    Modifiers::SHIFT.and(Modifiers::ALT_GR),
];

/// Characters that are missing, at most this many by place.
const LISTED: usize = 20;

/// A key, struck with others held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Struck {
    /// What is held meanwhile.
    pub modifiers: Modifiers,
    /// What is struck.
    pub key: Key,
}

/// The names of all layouts.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// The names of all layouts, with what a person calls them. Reads no more of them than that.
pub fn titles() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().map(|(name, text)| {
        let title = text.lines().find_map(|line| line.strip_prefix("title "));
        (*name, title.map_or(*name, str::trim))
    })
}

/// A layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    title: String,
    characters: BTreeMap<char, Vec<Struck>>,
}

/// Why a file is no layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

/// Characters that a layout has no keys for, and their places in the text, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub Vec<(usize, char)>);

impl Missing {
    /// For a person: every character by its place, or, of a text that nobody may read, the places alone.
    #[must_use]
    pub fn describe(&self, is_secret: bool) -> String {
        let listed = self.0.iter().take(LISTED).map(|(place, character)| {
            if is_secret {
                place.to_string()
            } else {
                format!("{character:?} at {place}")
            }
        });
        let mut text = listed.collect::<Vec<_>>().join(", ");
        if let Some(more) = self.0.len().checked_sub(LISTED).filter(|more| *more > 0) {
            text += &format!(" and {more} more");
        }
        text
    }
}

/// What one character of a text needs.
pub type Strokes = Vec<Struck>;

impl Layout {
    /// The layout of this name; nothing if there is none.
    pub fn named(name: &str) -> Option<Result<Self, Fault>> {
        let (_, text) = FILES.iter().find(|(known, _)| *known == name)?;
        Some(Self::read(text))
    }

    /// Reads a file.
    pub fn read(text: &str) -> Result<Self, Fault> {
        let mut reader = Reader::default();
        let mut last = 0;
        for (line, content) in (1..).zip(text.lines()) {
            last = line;
            reader.line(content).map_err(|text| Fault { line, text })?;
        }
        reader.finish().map_err(|text| Fault { line: last, text })
    }

    /// What it is, for a person.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The strokes of each character of a text, or all the characters that it has none for. The end of a line is Enter, however it is written.
    pub fn strokes(&self, text: &str) -> Result<Vec<Strokes>, Missing> {
        let mut strokes = Vec::new();
        let mut missing = Vec::new();
        let mut characters = (1..).zip(text.chars()).peekable();
        while let Some((place, character)) = characters.next() {
            if character == '\r' && characters.peek().is_some_and(|(_, next)| *next == '\n') {
                continue;
            }
            match self.characters.get(&character) {
                Some(struck) => strokes.push(struck.clone()),
                None => missing.push((place, character)),
            }
        }
        if missing.is_empty() {
            Ok(strokes)
        } else {
            Err(Missing(missing))
        }
    }

    /// Every character that it has strokes for.
    pub fn characters(&self) -> impl Iterator<Item = char> {
        self.characters.keys().copied()
    }
}

/// A file that is being read.
#[derive(Debug, Default)]
struct Reader {
    title: Option<String>,
    characters: BTreeMap<char, Vec<Struck>>,
    /// How an accent is struck, by the accent.
    accents: BTreeMap<char, Struck>,
    /// What an accent makes of the character after it.
    pairs: Vec<(char, char, char)>,
}

impl Reader {
    fn line(&mut self, content: &str) -> Result<(), String> {
        let mut words = content.split_whitespace();
        match words.next() {
            None => Ok(()),
            Some(word) if word.starts_with('#') => Ok(()),
            Some("title") => {
                self.title = Some(words.collect::<Vec<_>>().join(" "));
                Ok(())
            }
            Some("key") => self.key(words),
            Some("dead") => self.dead(words),
            Some(other) => Err(format!(
                "a line begins with title, key or dead, not with {other:?}"
            )),
        }
    }

    fn key<'a>(&mut self, mut words: impl Iterator<Item = &'a str>) -> Result<(), String> {
        let name = words.next().ok_or("the name of the key is missing")?;
        let key = Key::named(name).map_err(|refusal| refusal.to_string())?;
        let mut levels = LEVELS.into_iter();
        for word in words {
            let modifiers = levels
                .next()
                .ok_or_else(|| format!("{name} has more than {} columns", LEVELS.len()))?;
            self.column(word, Struck { modifiers, key })?;
        }
        Ok(())
    }

    fn column(&mut self, word: &str, struck: Struck) -> Result<(), String> {
        if word == "none" {
            return Ok(());
        }
        if let Some(accent) = word.strip_prefix("dead") {
            let accent = only(accent).ok_or_else(|| format!("{word:?} is not `dead` and one accent"))?;
            return match self.accents.insert(accent, struck) {
                Some(_) => Err(format!("the accent {accent:?} is there twice")),
                None => Ok(()),
            };
        }
        let character = match word {
            "space" => ' ',
            word => only(word).ok_or_else(|| format!("{word:?} is not one character"))?,
        };
        self.add(character, vec![struck])
    }

    fn dead<'a>(&mut self, mut words: impl Iterator<Item = &'a str>) -> Result<(), String> {
        let accent = words.next().and_then(only).ok_or("the accent is missing")?;
        for word in words {
            let mut characters = word.chars();
            match (characters.next(), characters.next(), characters.next()) {
                (Some(base), Some(result), None) => self.pairs.push((accent, base, result)),
                _ => {
                    return Err(format!(
                        "{word:?} is not two characters: one, and what it becomes"
                    ));
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, character: char, struck: Vec<Struck>) -> Result<(), String> {
        match self.characters.insert(character, struck) {
            Some(_) => Err(format!("the character {character:?} is there twice")),
            None => Ok(()),
        }
    }

    /// Accents are put together when all keys are known.
    fn finish(mut self) -> Result<Layout, String> {
        let title = self.title.take().ok_or("the title is missing")?;
        for (accent, base, result) in std::mem::take(&mut self.pairs) {
            let dead = self.accents.get(&accent).copied();
            let dead = dead.ok_or_else(|| format!("no key has the accent {accent:?}"))?;
            let after = self.characters.get(&base).cloned();
            let after = after.ok_or_else(|| format!("no key has {base:?}, which becomes {result:?}"))?;
            self.add(result, [vec![dead], after].concat())?;
        }
        let space = self.characters.get(&' ').cloned().ok_or("no key has the space")?;
        for (accent, dead) in std::mem::take(&mut self.accents) {
            self.add(accent, [vec![dead], space.clone()].concat())?;
        }
        for (character, name) in [('\n', "Enter"), ('\r', "Enter"), ('\t', "Tab")] {
            let key = Key::named(name).map_err(|refusal| refusal.to_string())?;
            let modifiers = Modifiers::NONE;
            self.add(character, vec![Struck { modifiers, key }])?;
        }
        Ok(Layout {
            title,
            characters: self.characters,
        })
    }
}

/// The character that a word consists of.
fn only(word: &str) -> Option<char> {
    let mut characters = word.chars();
    characters.next().filter(|_| characters.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(name: &str) -> Layout {
        Layout::named(name).expect("there is one").expect("it is good")
    }

    fn codes(struck: &[Struck]) -> Vec<Vec<u16>> {
        let held_and_struck = |struck: &Struck| {
            let held = struck.modifiers.keys().map(Key::number);
            held.chain([struck.key.number()]).collect()
        };
        struck.iter().map(held_and_struck).collect()
    }

    #[test]
    fn every_layout_is_good_and_has_all_of_ascii() {
        for name in names() {
            let layout = layout(name);
            for character in (' '..='~').chain(['\n', '\t']) {
                assert!(
                    layout.strokes(&character.to_string()).is_ok(),
                    "{name}: {character:?}"
                );
            }
        }
        assert_eq!(Layout::named("fr"), None);
        assert_eq!(layout("de").title(), "German");
    }

    #[test]
    fn characters_are_struck_as_they_are_printed_on_the_keys() {
        let struck = |name: &str, character: char| {
            let strokes = layout(name).strokes(&character.to_string()).expect("it is there");
            strokes
                .iter()
                .flat_map(|strokes| codes(strokes))
                .collect::<Vec<_>>()
        };
        for (name, character, expected) in [
            ("us", '"', vec![vec![0x12, 0x52]]),
            ("us", '@', vec![vec![0x12, 0x1E]]),
            ("us", '\\', vec![vec![0x5D]]),
            ("uk", '"', vec![vec![0x12, 0x1E]]),
            ("uk", '@', vec![vec![0x12, 0x52]]),
            ("uk", '#', vec![vec![0x5D]]),
            ("uk", '~', vec![vec![0x12, 0x5D]]),
            ("uk", '\\', vec![vec![0x61]]),
            ("uk", '£', vec![vec![0x12, 0x26]]),
            ("uk", '€', vec![vec![0xE011, 0x25]]),
            ("uk", 'É', vec![vec![0x12, 0xE011, 0x24]]),
            ("de", 'y', vec![vec![0x1A]]),
            ("de", 'Z', vec![vec![0x12, 0x35]]),
            ("de", '@', vec![vec![0xE011, 0x15]]),
            ("de", '\\', vec![vec![0xE011, 0x4E]]),
            ("de", '|', vec![vec![0xE011, 0x61]]),
            ("de", 'ß', vec![vec![0x4E]]),
            ("de", '^', vec![vec![0x0E], vec![0x29]]),
            ("de", '`', vec![vec![0x12, 0x55], vec![0x29]]),
            ("de", 'Ê', vec![vec![0x0E], vec![0x12, 0x24]]),
            ("de", 'é', vec![vec![0x55], vec![0x24]]),
        ] {
            assert_eq!(struck(name, character), expected, "{name}: {character:?}");
        }
    }

    #[test]
    fn no_two_characters_of_a_layout_are_struck_alike() {
        for name in names() {
            let layout = layout(name);
            let mut seen = BTreeMap::new();
            for (character, strokes) in &layout.characters {
                if *character != '\r' {
                    assert_eq!(
                        seen.insert(format!("{strokes:?}"), character),
                        None,
                        "{name}: {character:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn all_missing_characters_are_named_with_their_places_and_those_of_a_secret_without_themselves() {
        let missing = layout("us").strokes("ok ä, no €").expect_err("two are missing");
        assert_eq!(missing.0, [(4, 'ä'), (10, '€')]);
        assert_eq!(missing.describe(false), "'ä' at 4, '€' at 10");
        assert_eq!(missing.describe(true), "4, 10");
        let many = layout("us")
            .strokes(&"ä".repeat(25))
            .expect_err("all are missing");
        assert!(
            many.describe(true).ends_with("20 and 5 more"),
            "{}",
            many.describe(true)
        );
    }

    #[test]
    fn the_end_of_a_line_is_enter_however_it_is_written() {
        let layout = layout("us");
        let once = layout.strokes("a\nb");
        assert_eq!(layout.strokes("a\r\nb"), once);
        assert_eq!(layout.strokes("a\rb"), once);
    }

    #[test]
    fn a_bad_file_is_refused_with_the_line_and_what_is_wrong_there() {
        for (text, line, complaint) in [
            ("title x\nkye KeyA a", 2, "not with \"kye\""),
            ("key KeyÄ a", 1, "no key \"KeyÄ\""),
            ("key", 1, "name of the key"),
            ("key KeyA ab", 1, "not one character"),
            ("key KeyA a A none none none", 1, "more than 4 columns"),
            ("key KeyA a\nkey KeyB a", 2, "there twice"),
            ("key KeyA dead", 1, "one accent"),
            ("title x\ndead ^ a", 2, "not two characters"),
            ("title x\nkey KeyA a\ndead ^ aâ", 3, "no key has the accent"),
            ("title x\nkey KeyA dead^\ndead ^ aâ", 3, "no key has 'a'"),
            ("key KeyA a", 1, "title is missing"),
            ("title x\nkey KeyA a", 2, "the space"),
        ] {
            let fault = Layout::read(text).expect_err(text);
            assert_eq!(fault.line, line, "{fault}");
            assert!(fault.to_string().contains(complaint), "{fault}");
        }
    }
}
