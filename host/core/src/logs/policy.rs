//! Which records become entries, and what of their text may be seen.

use std::borrow::Cow;

use regex::{Captures, Regex};

use super::channel_family;
use crate::driver::LogLevel;

/// Longest message that is kept. A driver may log what a device sent; a full ring of such entries has to fit into a few megabytes.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024;

/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

/// What acts on a record before it is numbered. The default lets everything through as it is.
#[derive(Debug, Clone)]
pub struct LogPolicy {
    /// Channels that pass; empty for all. `device` also lets `device:meter` pass.
    pub allowed_channels: Vec<String>,
    /// Lowest level that passes.
    pub min_level: LogLevel,
    /// Its matches are secrets.
    pub redact: Option<Regex>,
}

impl Default for LogPolicy {
    fn default() -> Self {
        Self {
            allowed_channels: Vec::new(),
            min_level: LogLevel::Debug,
            redact: None,
        }
    }
}

impl LogPolicy {
    /// Whether a record of this channel and level becomes an entry.
    pub fn admits(&self, channel: &str, level: LogLevel) -> bool {
        level >= self.min_level
            && (self.allowed_channels.is_empty()
                || self
                    .allowed_channels
                    .iter()
                    .any(|allowed| allowed == channel_family(channel) || allowed == channel))
    }

    /// A message as it may be seen: redacted as a whole first, so that no secret is cut in two and survives, then cut.
    pub fn presentable<'m>(&self, message: &'m str) -> Cow<'m, str> {
        let redacted = match &self.redact {
            // A pattern that matches nothing at all, everywhere, must not put a mark between any two letters.
            Some(secret) => secret.replace_all(message, |found: &Captures<'_>| {
                if found.get(0).is_none_or(|found| found.is_empty()) {
                    ""
                } else {
                    REDACTED
                }
            }),
            None => Cow::Borrowed(message),
        };
        if redacted.len() <= MAX_MESSAGE_BYTES {
            return redacted;
        }
        let (kept, rest) = split(&redacted, MAX_MESSAGE_BYTES);
        Cow::Owned(format!("{kept}… ({rest} bytes more)"))
    }
}

/// The beginning of a text, at most so long, and how many bytes follow it.
pub(super) fn split(text: &str, max_bytes: usize) -> (&str, usize) {
    let end = text.floor_char_boundary(max_bytes);
    (text.get(..end).unwrap_or(text), text.len() - end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allowlist_looks_at_the_part_before_the_colon() {
        let policy = LogPolicy {
            allowed_channels: vec!["device".into(), "app:start".into()],
            ..LogPolicy::default()
        };
        assert!(policy.admits("device", LogLevel::Debug));
        assert!(policy.admits("device:meter", LogLevel::Debug));
        assert!(policy.admits("app:start", LogLevel::Debug));
        assert!(!policy.admits("app", LogLevel::Fatal));
        assert!(!policy.admits("devices", LogLevel::Fatal));
    }

    #[test]
    fn the_minimum_level_passes_itself_and_what_is_graver() {
        let policy = LogPolicy {
            min_level: LogLevel::Warn,
            ..LogPolicy::default()
        };
        let passed = LogLevel::ALL.map(|level| policy.admits("app", level));
        assert_eq!(passed, [false, false, true, true, true]);
    }

    #[test]
    fn a_secret_is_redacted_even_where_the_cut_would_run_through_it() {
        let policy = LogPolicy {
            redact: Some(Regex::new("token=[a-z]+").unwrap()),
            ..LogPolicy::default()
        };
        let message = format!("{}token=secretsecret and more", "x".repeat(MAX_MESSAGE_BYTES - 9));
        let seen = policy.presentable(&message);
        assert!(!seen.contains("secret"), "{}", &seen[seen.len() - 60..]);
        assert_eq!(policy.presentable("a token=b c"), "a [redacted] c");
    }

    #[test]
    fn a_pattern_that_matches_the_empty_text_changes_nothing() {
        let policy = LogPolicy {
            redact: Some(Regex::new("x*").unwrap()),
            ..LogPolicy::default()
        };
        assert_eq!(policy.presentable("axxb"), "a[redacted]b");
    }

    #[test]
    fn an_overlong_message_is_cut_at_a_letter_and_says_so() {
        let policy = LogPolicy::default();
        let exact = "x".repeat(MAX_MESSAGE_BYTES);
        assert!(matches!(policy.presentable(&exact), Cow::Borrowed(_)));
        let seen = policy
            .presentable(&format!("{}éé", "x".repeat(MAX_MESSAGE_BYTES - 1)))
            .into_owned();
        assert_eq!(
            seen,
            format!("{}… (4 bytes more)", "x".repeat(MAX_MESSAGE_BYTES - 1))
        );
    }
}
