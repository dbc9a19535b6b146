//! What the witness knows, and what everybody else has: the documents by version, and the log by number.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use e2e::write_value;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub type Hash = [u8; 32];

/// Which part of the log a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    Grave,
    Left,
    Odd,
}

impl Part {
    pub const ALL: [Self; 3] = [Self::Grave, Self::Left, Self::Odd];

    pub fn filters(self) -> Value {
        match self {
            Self::Grave => json!({"level": ["warn", "error"]}),
            Self::Left => json!({"channel": "soak:left"}),
            Self::Odd => json!({"text": "ODD"}),
        }
    }

    pub fn has(self, entry: &Value) -> bool {
        let text = |name: &str| entry[name].as_str().expect("a text");
        match self {
            Self::Grave => ["warn", "error"].contains(&text("level")),
            Self::Left => text("channel") == "soak:left" || text("channel").starts_with("soak:left:"),
            Self::Odd => text("message").to_lowercase().contains("odd"),
        }
    }
}

/// An entry of the log as the first who got it had it.
pub struct Known {
    hash: Hash,
    parts: Vec<Part>,
}

/// What the document is at each version, and what is claimed about it.
#[derive(Default)]
pub struct Ledger {
    pub known: HashMap<u64, Hash>,
    /// Claims that came before the witness was there.
    waiting: Vec<(u64, Hash, String)>,
    /// By who it is: the states that came to it over the wire, counted as they are read and before anything is made of them.
    pub came: BTreeMap<String, u64>,
    /// By who it is: the documents of it that were compared with the witness's.
    pub checked: BTreeMap<String, u64>,
    pub entries: HashMap<u64, Known>,
    /// Numbers that a filter kept out.
    pub kept_out: HashSet<(Part, u64)>,
    pub counts: BTreeMap<&'static str, u64>,
}

impl Ledger {
    pub fn came(&mut self, who: &str) {
        *self.came.entry(who.to_owned()).or_default() += 1;
    }

    pub fn compare(&mut self, version: u64, hash: Hash, who: String) {
        match self.known.get(&version) {
            Some(known) => {
                assert_eq!(*known, hash, "{who} has another document at version {version}");
                *self.checked.entry(who).or_default() += 1;
            }
            None => self.waiting.push((version, hash, who)),
        }
    }

    /// Compares what had to wait. Every version that anybody was at is one that the witness has seen.
    pub fn settle(&mut self) {
        for (version, hash, who) in std::mem::take(&mut self.waiting) {
            assert!(
                self.known.contains_key(&version),
                "{who} was at version {version}, at which no flush ends"
            );
            self.compare(version, hash, who);
        }
    }

    pub fn count(&mut self, what: &'static str) {
        self.count_many(what, 1);
    }

    pub fn count_many(&mut self, what: &'static str, count: u64) {
        *self.counts.entry(what).or_default() += count;
    }

    pub fn take_entry(&mut self, seq: u64, entry: &Value, who: &str) {
        let mut text = String::new();
        write_value(&mut text, entry);
        let hash = Sha256::digest(text).into();
        let known = self.entries.entry(seq).or_insert_with(|| Known {
            hash,
            parts: Part::ALL.into_iter().filter(|part| part.has(entry)).collect(),
        });
        assert_eq!(known.hash, hash, "{who} has another log entry {seq}");
        self.count("log entries");
    }

    /// That what a filter kept out is not of the part that was asked for. Gives how many numbers were looked at.
    pub fn settle_log(&self) -> usize {
        let of_known = self
            .kept_out
            .iter()
            .filter_map(|(part, seq)| Some((part, seq, self.entries.get(seq)?)));
        of_known
            .inspect(|(part, seq, known)| {
                assert!(!known.parts.contains(part), "entry {seq} was kept from {part:?}");
            })
            .count()
    }
}

pub type Shared = Arc<Mutex<Ledger>>;
