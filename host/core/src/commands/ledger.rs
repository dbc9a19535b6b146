//! The keys on the disk: one file that only grows, until it is written anew.
//!
//! One line of JSON per record; of two lines with the same key the later counts. A line that says *queued* is on the disk before its command
//! leaves; what follows is written without waiting for the disk, because to lose it is safe: a command of which the file does not say how it
//! ended is `failed: unknown-outcome` at the next start, and never done again.

use std::collections::HashMap;
use std::io;

use super::keys::{KEYS_KEPT_MS, Record};

/// Lines that are added at least before the file is written anew.
const SURPLUS_LINES: usize = 4_096;

/// Where the ledger is kept.
pub trait Storage {
    /// Everything that is there; empty if nothing ever was.
    fn load(&mut self) -> io::Result<Vec<u8>>;
    /// Adds to the end. If `is_durable`, what was added ever is on the disk when this returns.
    fn append(&mut self, bytes: &[u8], is_durable: bool) -> io::Result<()>;
    /// Puts other content in the place of all that is there, wholly or not at all, and on the disk when this returns.
    fn replace(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// The file of the keys.
#[derive(Debug)]
pub struct Ledger<S> {
    storage: S,
    /// Lines when the file was last written anew, and added since.
    kept_lines: usize,
    added_lines: usize,
    /// A line may have been written in part: the next begins with a line break.
    is_torn: bool,
}

/// What the file held at the start.
#[derive(Debug, Default)]
pub struct Restored {
    pub(super) records: Vec<Record>,
    /// Lines that could not be read, but for a last one that was cut: what they said of their keys is lost.
    pub damaged_lines: usize,
}

/// A line to be written, made by the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line(Vec<u8>);

impl Line {
    pub(super) fn of(record: &Record) -> Self {
        // A record has nothing that JSON does not.
        let mut text = serde_json::to_vec(record).unwrap_or_default();
        text.push(b'\n');
        Self(text)
    }
}

impl<S: Storage> Ledger<S> {
    /// Reads what is there, and writes it anew where it was cut or has grown.
    pub fn open(storage: S, now_ms: u64) -> io::Result<(Self, Restored)> {
        let mut ledger = Self {
            storage,
            kept_lines: 0,
            added_lines: 0,
            is_torn: false,
        };
        let restored = ledger.compact(now_ms)?;
        Ok((ledger, restored))
    }

    /// Writes lines, oldest first; if `is_durable` they are on the disk when this returns.
    pub fn write(&mut self, lines: &[Line], is_durable: bool, now_ms: u64) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(lines.iter().map(|line| line.0.len()).sum::<usize>() + 1);
        if self.is_torn {
            bytes.push(b'\n');
        }
        lines.iter().for_each(|line| bytes.extend_from_slice(&line.0));
        self.added_lines += lines.len();
        self.is_torn = true;
        self.storage.append(&bytes, is_durable)?;
        self.is_torn = false;
        if self.added_lines > self.kept_lines.max(SURPLUS_LINES) {
            self.compact(now_ms)?;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    /// Writes the file anew, one line for each key of the last day, unless it is so already. Answers what it holds.
    fn compact(&mut self, now_ms: u64) -> io::Result<Restored> {
        let bytes = self.storage.load()?;
        let is_torn = bytes.last().is_some_and(|last| *last != b'\n');
        let mut newest: HashMap<_, Record> = HashMap::new();
        let (mut lines, mut damaged_lines) = (0, 0);
        let mut rest = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .peekable();
        while let Some(line) = rest.next() {
            lines += 1;
            match serde_json::from_slice::<Record>(line) {
                Ok(record) => drop(newest.insert(record.key.clone(), record)),
                // A line that was cut said that a command was queued, which then did not leave; or how one ended, which is not known then.
                Err(_) if is_torn && rest.peek().is_none() => {}
                Err(_) => damaged_lines += 1,
            }
        }
        newest.retain(|_, record| record.queued_ms.saturating_add(KEYS_KEPT_MS) > now_ms);
        let mut records: Vec<Record> = newest.into_values().collect();
        records.sort_by(|a, b| (a.queued_ms, &a.key).cmp(&(b.queued_ms, &b.key)));
        if lines != records.len() || is_torn {
            let text: Vec<u8> = records.iter().flat_map(|record| Line::of(record).0).collect();
            self.storage.replace(&text)?;
        }
        self.kept_lines = records.len();
        self.added_lines = 0;
        self.is_torn = false;
        Ok(Restored {
            records,
            damaged_lines,
        })
    }
}
