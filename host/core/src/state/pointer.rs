//! JSON Pointers (RFC 6901), parsed once.

use std::fmt;

/// A parsed JSON Pointer: its text, and its reference tokens with the escapes undone.
#[derive(Debug, Clone)]
pub struct Pointer {
    text: Box<str>,
    tokens: Box<[Box<str>]>,
    /// Hashes of the tokens, taken once, because a driver writes the same few places again and again.
    token_hashes: Box<[u64]>,
}

/// Why a text is no JSON Pointer that the state takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// Neither empty nor beginning with a slash.
    #[error("a path is empty or begins with '/', but {0:?} does neither")]
    NoLeadingSlash(String),
    /// A tilde that is followed by neither 0 nor 1.
    #[error("in the path {0:?} a '~' is followed by neither 0 nor 1")]
    BadEscape(String),
    /// A token that poisons an object in a browser.
    #[error("the path {0:?} contains the key {1:?}, which would poison a mirror in a browser")]
    ForbiddenKey(String, String),
}

/// Keys that no object of the state may have.
pub const FORBIDDEN_KEYS: [&str; 3] = ["__proto__", "prototype", "constructor"];

impl Pointer {
    /// Parses a pointer.
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        if text.is_empty() {
            return Ok(Self {
                text: "".into(),
                tokens: Box::default(),
                token_hashes: Box::default(),
            });
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(PointerError::NoLeadingSlash(text.to_owned()));
        };
        let tokens = rest
            .split('/')
            .map(|raw| unescape(raw, text))
            .collect::<Result<Box<[_]>, _>>()?;
        Ok(Self {
            text: text.into(),
            token_hashes: tokens.iter().map(|token| token_hash(token)).collect(),
            tokens,
        })
    }

    /// The pointer to a place of the host's own, from tokens that are already known to be good: names that a newtype has checked.
    pub fn of<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Self {
        let tokens: Box<[Box<str>]> = tokens.into_iter().map(Box::from).collect();
        let text = tokens.iter().fold(String::new(), |text, token| {
            text + "/" + &token.replace('~', "~0").replace('/', "~1")
        });
        Self {
            text: text.into(),
            token_hashes: tokens.iter().map(|token| token_hash(token)).collect(),
            tokens,
        }
    }

    /// The pointer as text, escapes included.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its reference tokens, escapes undone; none for the whole document.
    pub fn tokens(&self) -> &[Box<str>] {
        &self.tokens
    }

    /// Hash of each reference token.
    pub(super) fn token_hashes(&self) -> &[u64] {
        &self.token_hashes
    }

    /// Whether it names the whole document.
    pub fn is_root(&self) -> bool {
        self.tokens.is_empty()
    }
}

impl PartialEq for Pointer {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pointer {}

impl std::hash::Hash for Pointer {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Hash of one reference token (FNV-1a). Two tokens with one hash cost a missed merge in a flush and nothing else; see `pending`.
pub(super) fn token_hash(token: &str) -> u64 {
    token.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn unescape(raw: &str, whole: &str) -> Result<Box<str>, PointerError> {
    let token: Box<str> = if raw.contains('~') {
        let mut token = String::with_capacity(raw.len());
        let mut chars = raw.chars();
        while let Some(c) = chars.next() {
            match c {
                '~' => match chars.next() {
                    Some('0') => token.push('~'),
                    Some('1') => token.push('/'),
                    _ => return Err(PointerError::BadEscape(whole.to_owned())),
                },
                c => token.push(c),
            }
        }
        token.into()
    } else {
        raw.into()
    };
    if FORBIDDEN_KEYS.contains(&&*token) {
        return Err(PointerError::ForbiddenKey(whole.to_owned(), token.into()));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_in_tokens_and_kept_in_the_text() {
        let pointer = Pointer::parse("/a~1b/m~0n/").unwrap();
        assert_eq!(pointer.as_str(), "/a~1b/m~0n/");
        assert_eq!(
            pointer.tokens().iter().map(|t| &**t).collect::<Vec<_>>(),
            ["a/b", "m~n", ""]
        );
    }

    #[test]
    fn a_pointer_of_tokens_is_the_one_that_its_text_gives() {
        for tokens in [vec!["devices", "meter"], vec!["a/b", "m~n", ""], vec![]] {
            let pointer = Pointer::of(tokens);
            assert_eq!(Pointer::parse(pointer.as_str()), Ok(pointer));
        }
    }

    #[test]
    fn what_is_no_pointer_is_refused_by_name() {
        assert!(matches!(
            Pointer::parse("a"),
            Err(PointerError::NoLeadingSlash(_))
        ));
        assert!(matches!(Pointer::parse("/a~2"), Err(PointerError::BadEscape(_))));
        assert!(matches!(
            Pointer::parse("/x/__proto__"),
            Err(PointerError::ForbiddenKey(..))
        ));
    }
}
