//! The ring itself: the newest entries, numbered without gaps.

use std::collections::VecDeque;

use autobench_core::logs::channel_style;
use autobench_core::wire::{LogEntry, LogRange, LogSpan, LogsEntry};

use super::LogRecord;

#[derive(Debug)]
pub(super) struct Ring {
    entries: VecDeque<LogEntry>,
    capacity: usize,
    next_seq: u64,
}

impl Ring {
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            entries: VecDeque::with_capacity(capacity.min(4096)),
            capacity,
            next_seq: 1,
        }
    }

    /// Numbers a record and keeps it; when the ring is full the oldest entry goes.
    pub fn push(&mut self, record: LogRecord, ts_ms: u64) -> u64 {
        if self.entries.len() == self.capacity {
            self.entries.pop_front();
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        let style = channel_style(&record.channel);
        self.entries.push_back(LogEntry {
            seq,
            ts: ts_ms,
            emoji: record.emoji.unwrap_or_else(|| style.emoji.to_owned()),
            color: style.color,
            channel: record.channel,
            level: record.level,
            message: record.message,
            tag: record.tag,
            module: record.module,
        });
        seq
    }

    pub fn since(&self, seq: u64) -> LogRange {
        let from_seq = seq.saturating_add(1).min(self.next_seq);
        let oldest = self.next_seq - self.entries.len() as u64;
        let missed = (from_seq < oldest).then(|| LogSpan {
            from_seq,
            to_seq: oldest - 1,
        });
        let skip = usize::try_from(from_seq.saturating_sub(oldest)).unwrap_or(usize::MAX);
        LogRange {
            from_seq,
            to_seq: self.next_seq - 1,
            missed,
            entries: self.entries.iter().skip(skip).cloned().collect(),
        }
    }

    pub fn history(&self, count: usize) -> LogRange {
        let count = count.min(self.entries.len());
        self.since(self.next_seq - 1 - count as u64)
    }

    pub fn metadata(&self) -> LogsEntry {
        LogsEntry {
            next_seq: self.next_seq,
            capacity: self.capacity as u64,
            size: self.entries.len() as u64,
            head: (self.next_seq - 1) % self.capacity as u64,
        }
    }
}
