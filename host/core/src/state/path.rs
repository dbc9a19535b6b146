//! The place where a change is at work: an absolute path, with a hash for itself and for each place above it.

use smallvec::SmallVec;

use super::Pointer;
use super::pointer::token_hash;

/// A path that grows and shrinks with the recursion of a change. One is kept by the store and used again, so that it costs no allocation.
#[derive(Debug, Default)]
pub(super) struct Path {
    /// RFC 6901 text.
    text: String,
    /// From the member down to the place itself, the hash of each path.
    hashes: SmallVec<[u64; 8]>,
}

impl Path {
    /// Begins at a member. `prefix` is its path as text.
    pub(super) fn start(&mut self, prefix: &str, hash: u64) {
        self.text.clear();
        self.hashes.clear();
        self.text.push_str(prefix);
        self.hashes.push(hash);
    }

    /// Goes down by a pointer, of whose tokens the first `skip` are walked already, `skipped_bytes` long as text.
    pub(super) fn extend(&mut self, pointer: &Pointer, skip: usize, skipped_bytes: usize) {
        self.text
            .push_str(pointer.as_str().get(skipped_bytes..).unwrap_or_default());
        let mut hash = self.hash();
        for token in pointer.token_hashes().iter().skip(skip) {
            hash = child_hash(hash, *token);
            self.hashes.push(hash);
        }
    }

    /// Goes down by one key, for the time of one call.
    pub(super) fn with<R>(&mut self, key: &str, f: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.text.len();
        self.text.push('/');
        push_escaped(&mut self.text, key);
        self.hashes.push(child_hash(self.hash(), token_hash(key)));
        let result = f(self);
        self.text.truncate(length);
        self.hashes.pop();
        result
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Hashes from the member down to the place itself.
    pub(super) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Levels below the document.
    pub(super) fn depth(&self) -> usize {
        self.hashes.len()
    }

    fn hash(&self) -> u64 {
        self.hashes.last().copied().unwrap_or_default()
    }
}

/// Hash of a member's path.
pub(super) fn member_hash(name: &str) -> u64 {
    child_hash(0, token_hash(name))
}

/// A member's path as text.
pub(super) fn member_prefix(name: &str) -> String {
    let mut prefix = String::with_capacity(name.len() + 1);
    prefix.push('/');
    push_escaped(&mut prefix, name);
    prefix
}

/// Reference tokens of a path's text, escapes undone.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
    text.split('/').skip(1).map(|raw| {
        if raw.contains('~') {
            raw.replace("~1", "/").replace("~0", "~").into()
        } else {
            raw.into()
        }
    })
}

/// A position in an array, as RFC 6901 writes it: digits, without leading zeros.
pub(super) fn array_index(token: &str) -> Option<usize> {
    let canonical = token == "0" || !token.starts_with('0');
    (canonical && token.bytes().all(|byte| byte.is_ascii_digit())).then(|| token.parse().ok())?
}

fn child_hash(parent: u64, token: u64) -> u64 {
    let mixed = (parent.rotate_left(23) ^ token).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

fn push_escaped(text: &mut String, token: &str) {
    if token.contains(['~', '/']) {
        for c in token.chars() {
            match c {
                '~' => text.push_str("~0"),
                '/' => text.push_str("~1"),
                c => text.push(c),
            }
        }
    } else {
        text.push_str(token);
    }
}
