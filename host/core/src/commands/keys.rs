//! Idempotency keys: a command that is sent again under the same key is the same command.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::wire::CommandStatus;

/// How long a key is kept.
pub const KEYS_KEPT_MS: u64 = 24 * 3_600_000;

/// Most keys that are kept. One more command with a key is refused until the oldest is a day old: to forget a key early would let a command be
/// done twice. Commands without a key are still taken.
pub const KEYS: usize = 20_000;

/// Longest key, in characters.
pub const KEY_CHARS: usize = 200;

/// A hash of what a command is: its name and its arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// What a key belongs to. Two people, or two devices, may use the same text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) actor: Arc<str>,
    pub(super) device: Arc<str>,
    pub(super) text: Arc<str>,
}

/// A key and what became of its command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(flatten)]
    pub(super) key: Key,
    pub(super) fingerprint: Fingerprint,
    pub(super) queued_ms: u64,
    pub(super) status: CommandStatus,
}

/// The keys of the last day.
#[derive(Debug, Default)]
pub(super) struct Keys {
    records: HashMap<Key, Record>,
    by_command: HashMap<String, Key>,
    /// Keys by age. A time twice is told apart by the key.
    by_age: BTreeMap<(u64, Key), ()>,
}

impl Keys {
    pub(super) fn get(&self, key: &Key) -> Option<&Record> {
        self.records.get(key)
    }

    pub(super) fn of_command(&self, id: &str) -> Option<&Record> {
        self.records.get(self.by_command.get(id)?)
    }

    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= KEYS
    }

    pub(super) fn put(&mut self, record: Record) {
        self.remove(&record.key.clone());
        self.by_command
            .insert(record.status.command_id.clone(), record.key.clone());
        self.by_age.insert((record.queued_ms, record.key.clone()), ());
        self.records.insert(record.key.clone(), record);
    }

    /// Forgets what is over and older than a day.
    pub(super) fn forget_old(&mut self, now_ms: u64) {
        let old: VecDeque<Key> = self
            .by_age
            .keys()
            .take_while(|(queued_ms, _)| queued_ms.saturating_add(KEYS_KEPT_MS) <= now_ms)
            .map(|(_, key)| key.clone())
            .filter(|key| {
                self.records
                    .get(key)
                    .is_some_and(|record| record.status.status.is_final())
            })
            .collect();
        old.iter().for_each(|key| self.remove(key));
    }

    fn remove(&mut self, key: &Key) {
        if let Some(record) = self.records.remove(key) {
            self.by_command.remove(&record.status.command_id);
            self.by_age.remove(&(record.queued_ms, record.key));
        }
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom("a fingerprint is 64 hexadecimal digits");
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * index..2 * index + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}
