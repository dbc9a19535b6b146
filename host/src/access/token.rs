//! Tokens: how one is made, and by what it is known.

use sha2::{Digest, Sha256};

/// A token that was just made. It is shown once and never kept.
pub struct NewToken(String);

impl NewToken {
    /// 128 bits from the system, in 32 hexadecimal digits.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        // The system's generator fails on no system that runs this program; without it there is nothing safe to go on with.
        if let Err(error) = getrandom::fill(&mut bytes) {
            tracing::error!(fatal = true, "the system gives no random numbers: {error}");
            std::process::abort();
        }
        Self(hex(&bytes))
    }

    /// The token itself.
    pub fn reveal(self) -> String {
        self.0
    }

    /// What the configuration knows of it.
    pub fn sha256(&self) -> String {
        hex(&digest(&self.0))
    }
}

/// By what a token is known.
pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tokens_are_the_same_and_each_has_128_bits() {
        let tokens: std::collections::BTreeSet<String> =
            (0..1000).map(|_| NewToken::random().reveal()).collect();
        assert_eq!(tokens.len(), 1000);
        assert!(tokens.iter().all(|token| token.len() == 32));
    }

    #[test]
    fn a_token_is_known_by_what_sha256sum_prints() {
        assert_eq!(
            hex(&digest("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
