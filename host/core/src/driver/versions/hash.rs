//! What a version of a plugin is known by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The SHA-256 of a plugin's bytes, shown and written in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct VersionHash(pub [u8; 32]);

impl VersionHash {
    /// Its first eight bytes as a number, for what only has to differ.
    pub fn number(&self) -> u64 {
        self.0
            .iter()
            .take(8)
            .fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }

    /// The first twelve digits, for a person.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(12);
        text
    }
}

impl fmt::Display for VersionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for VersionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// The text is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash has 64 hexadecimal digits")]
pub struct NoHash;

impl FromStr for VersionHash {
    type Err = NoHash;

    fn from_str(text: &str) -> Result<Self, NoHash> {
        let digits = text
            .chars()
            .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<Vec<u8>>>()
            .ok_or(NoHash)?;
        let bytes: Vec<u8> = digits
            .chunks_exact(2)
            .filter_map(|pair| match pair {
                [high, low] => Some((high << 4) | low),
                _ => None,
            })
            .collect();
        match digits.len() {
            64 => bytes.try_into().map(Self).map_err(|_| NoHash),
            _ => Err(NoHash),
        }
    }
}

impl From<VersionHash> for String {
    fn from(hash: VersionHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for VersionHash {
    type Error = NoHash;

    fn try_from(text: String) -> Result<Self, NoHash> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_back_as_it_is_written_and_nothing_else_is() {
        let hash = VersionHash(std::array::from_fn(|index| index as u8 * 7));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.short().parse::<VersionHash>(), Err(NoHash));
        assert_eq!("ä".repeat(64).parse::<VersionHash>(), Err(NoHash));
        let text = serde_json::to_string(&hash).unwrap();
        assert_eq!(serde_json::from_str::<VersionHash>(&text).unwrap(), hash);
    }
}
