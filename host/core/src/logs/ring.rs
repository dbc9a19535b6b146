//! The ring: the newest entries, numbered without gaps, each written as JSON when it came.

use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::Bytes;

use super::policy::split;
use super::{Color, LogPolicy, channel_style};
use crate::driver::LogLevel;
use crate::wire::encode::{self, LogsFrame, put};
use crate::wire::{LogSpan, LogsEntry};

/// Longest channel, picture, tag or module. Names, and not a place for texts: what is longer is cut without a mark.
const MAX_NAME_BYTES: usize = 256;

/// One thing to be logged.
#[derive(Debug, Clone, Copy)]
pub struct LogRecord<'a> {
    /// When, in milliseconds since 1970.
    pub ts_ms: u64,
    /// Where it comes from.
    pub channel: &'a str,
    /// How grave.
    pub level: LogLevel,
    /// The text.
    pub message: &'a str,
    /// The device, where there is one.
    pub tag: Option<&'a str>,
    /// The part of the daemon, where it is known.
    pub module: Option<&'a str>,
    /// Another picture than the channel's.
    pub emoji: Option<&'a str>,
    /// Another colour than the channel's.
    pub color: Option<Color>,
}

/// The newest entries. Bounded in entries and in bytes of JSON; when it is full the oldest go, and a reader that wanted them is told so.
#[derive(Debug)]
pub struct LogRing {
    policy: LogPolicy,
    entries: VecDeque<Entry>,
    capacity: usize,
    capacity_bytes: usize,
    bytes: usize,
    next_seq: u64,
    scratch: Vec<u8>,
}

/// One entry: its JSON, written once for everybody, and where in it lies what a filter looks at, so that nobody has to read it for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    json: Bytes,
    level: LogLevel,
    channel: Place,
    message: Place,
    tag: Option<Place>,
    module: Option<Place>,
}

/// Where a text lies in an entry's JSON, without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    start: u32,
    end: u32,
}

impl Entry {
    /// The entry as JSON.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// How grave.
    pub fn level(&self) -> LogLevel {
        self.level
    }

    /// Where it comes from.
    pub fn channel(&self) -> Cow<'_, str> {
        self.text(self.channel)
    }

    /// The text.
    pub fn message(&self) -> Cow<'_, str> {
        self.text(self.message)
    }

    /// The device, where there is one.
    pub fn tag(&self) -> Option<Cow<'_, str>> {
        self.tag.map(|place| self.text(place))
    }

    /// The part of the daemon, where it is known.
    pub fn module(&self) -> Option<Cow<'_, str>> {
        self.module.map(|place| self.text(place))
    }

    /// Nearly every text stands in JSON as it is; only one with quotes, backslashes or control characters has to be read.
    fn text(&self, place: Place) -> Cow<'_, str> {
        let (start, end) = (place.start as usize, place.end as usize);
        let text = self.json.get(start..end).unwrap_or_default();
        if !text.contains(&b'\\') {
            return Cow::Borrowed(std::str::from_utf8(text).unwrap_or_default());
        }
        let quoted = self.json.get(start - 1..end + 1).unwrap_or_default();
        Cow::Owned(serde_json::from_slice(quoted).unwrap_or_default())
    }
}

/// Some entries, and the range of numbers that they answer for: whoever follows range after range sees each number once, or in `missed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// First number that is covered.
    pub from_seq: u64,
    /// Last number that is covered; `from_seq - 1` when there is none.
    pub to_seq: u64,
    /// What of it the ring no longer has: always its beginning.
    pub missed: Option<LogSpan>,
    /// The others, oldest first.
    pub entries: Vec<Entry>,
}

impl Range {
    /// Whether it covers no number at all.
    pub fn is_empty(&self) -> bool {
        self.to_seq < self.from_seq
    }

    /// Forgets what comes after a number; a number from before the range leaves it empty.
    pub fn cut_to(&mut self, last_seq: u64) {
        let first_entry = self.to_seq + 1 - self.entries.len() as u64;
        let kept = (last_seq + 1).saturating_sub(first_entry);
        self.entries.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        self.to_seq = self.to_seq.min(last_seq).max(self.from_seq - 1);
        self.missed = self.missed.and_then(|span| {
            let to_seq = span.to_seq.min(last_seq);
            (to_seq >= span.from_seq).then_some(LogSpan { to_seq, ..span })
        });
    }

    /// Appends it to a buffer as one message.
    pub fn write(&self, buffer: &mut Vec<u8>, frame: LogsFrame) {
        let entries = self.entries.iter().map(|entry| &entry.json[..]);
        encode::logs(buffer, frame, self.from_seq, self.to_seq, self.missed, entries);
    }
}

impl LogRing {
    /// An empty ring of at most so many entries, at least one, and so many bytes of JSON. The newest entry stays even if it alone is larger.
    pub fn new(policy: LogPolicy, capacity: usize, capacity_bytes: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            policy,
            entries: VecDeque::with_capacity(capacity.min(4096)),
            capacity,
            capacity_bytes,
            bytes: 0,
            next_seq: 1,
            scratch: Vec::with_capacity(512),
        }
    }

    /// What acts on records before they are numbered.
    pub fn policy(&self) -> &LogPolicy {
        &self.policy
    }

    /// Numbers a record and keeps it. Gives its number, or none when the policy does not admit it.
    pub fn append(&mut self, record: &LogRecord<'_>) -> Option<u64> {
        if !self.policy.admits(record.channel, record.level) {
            return None;
        }
        let message = self.policy.presentable(record.message);
        let seq = self.next_seq;
        self.next_seq += 1;
        self.scratch.clear();
        // Names may come from outside as well, and hold what is to be seen by nobody.
        let [tag, module, emoji] = [record.tag, record.module, record.emoji]
            .map(|text| text.map(|text| self.policy.presentable(text)));
        let record = &LogRecord {
            tag: tag.as_deref(),
            module: module.as_deref(),
            emoji: emoji.as_deref(),
            ..*record
        };
        let entry = write_entry(&mut self.scratch, seq, record, &message);
        self.bytes += entry.json.len();
        self.entries.push_back(entry);
        while self.entries.len() > self.capacity
            || (self.bytes > self.capacity_bytes && self.entries.len() > 1)
        {
            if let Some(oldest) = self.entries.pop_front() {
                self.bytes -= oldest.json.len();
            }
        }
        Some(seq)
    }

    /// The oldest entries after number `seq`, at most so many. A number from the future counts as the newest.
    pub fn since(&self, seq: u64, max_entries: usize) -> Range {
        self.piece(seq, max_entries, usize::MAX)
    }

    /// The same, and at most so many bytes of JSON, but one entry however long.
    pub fn piece(&self, seq: u64, max_entries: usize, max_bytes: usize) -> Range {
        let from_seq = seq.saturating_add(1).min(self.next_seq);
        let oldest = self.oldest_seq();
        let missed = (from_seq < oldest).then(|| LogSpan {
            from_seq,
            to_seq: oldest - 1,
        });
        let first = from_seq.max(oldest);
        let skip = usize::try_from(first - oldest)
            .unwrap_or(usize::MAX)
            .min(self.entries.len());
        let mut taken_bytes = 0_usize;
        let fits = |entry: &&Entry| {
            let is_first = taken_bytes == 0;
            taken_bytes += entry.json.len();
            is_first || taken_bytes <= max_bytes
        };
        let waiting = self.entries.range(skip..).take(max_entries);
        let entries: Vec<Entry> = waiting.take_while(fits).cloned().collect();
        Range {
            from_seq,
            to_seq: first - 1 + entries.len() as u64,
            missed,
            entries,
        }
    }

    /// The newest entries, at most so many.
    pub fn history(&self, max_entries: usize) -> Range {
        let count = max_entries.min(self.entries.len());
        self.since(self.next_seq - 1 - count as u64, count)
    }

    /// The newest entry.
    pub fn newest(&self) -> Option<&Entry> {
        self.entries.back()
    }

    /// The number that the next entry gets.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Bytes of JSON that are kept.
    pub fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// `logs` of the state.
    pub fn metadata(&self) -> LogsEntry {
        LogsEntry {
            next_seq: self.next_seq,
            capacity: self.capacity as u64,
            size: self.entries.len() as u64,
            head: (self.next_seq - 1) % self.capacity as u64,
        }
    }

    fn oldest_seq(&self) -> u64 {
        self.next_seq - self.entries.len() as u64
    }
}

/// The same JSON as [`crate::wire::LogEntry`] gives.
fn write_entry(out: &mut Vec<u8>, seq: u64, record: &LogRecord<'_>, message: &str) -> Entry {
    let style = channel_style(record.channel);
    let name = |text| split(text, MAX_NAME_BYTES).0;
    out.extend_from_slice(b"{\"seq\":");
    put(out, &seq);
    out.extend_from_slice(b",\"ts\":");
    put(out, &record.ts_ms);
    out.extend_from_slice(b",\"channel\":");
    let channel = put_text(out, name(record.channel));
    out.extend_from_slice(b",\"emoji\":");
    put(out, name(record.emoji.unwrap_or(style.emoji)));
    out.extend_from_slice(b",\"level\":");
    put(out, record.level.as_str());
    out.extend_from_slice(b",\"message\":");
    let message = put_text(out, message);
    out.extend_from_slice(b",\"color\":");
    put(out, record.color.unwrap_or(style.color).as_str());
    let tag = record.tag.map(|tag| {
        out.extend_from_slice(b",\"tag\":");
        put_text(out, name(tag))
    });
    let module = record.module.map(|module| {
        out.extend_from_slice(b",\"module\":");
        put_text(out, name(module))
    });
    out.push(b'}');
    Entry {
        json: Bytes::copy_from_slice(out),
        level: record.level,
        channel,
        message,
        tag,
        module,
    }
}

/// Appends a text as JSON and says where it lies. An entry is far shorter than its numbers reach: names and message are cut.
fn put_text(out: &mut Vec<u8>, text: &str) -> Place {
    let start = out.len() + 1;
    put(out, text);
    Place {
        start: start as u32,
        end: (out.len() - 1) as u32,
    }
}

#[cfg(test)]
mod tests;
