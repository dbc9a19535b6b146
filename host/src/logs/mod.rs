//! The log: a bounded ring of numbered entries for clients, and lines on the terminal.
//!
//! Everything that is logged, by the daemon through `tracing` or by a driver through its call, comes through [`LogHandle::append`]. There it is
//! redacted and cut, printed if the terminal wants its level, and given to the ring, which numbers it if allowlist and minimum level let it
//! pass. What does not pass leaves no gap in the numbers. The ring itself, its bounds and its policy are [`autobench_core::logs`].

mod file;
mod layer;
mod metrics;
mod record;
mod terminal;

use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use autobench_core::logs::{LogPolicy, LogRing, Range};
use autobench_core::wire::{LogEntry, LogRange, LogsEntry};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::config::{LogConfig, LogFileConfig};
use crate::metrics::Page;
use file::LogFile;
pub(crate) use file::harmless;
use terminal::Terminal;

pub use layer::{LogLayer, install};
pub use metrics::LogMetrics;
pub use record::LogRecord;
pub use terminal::{TerminalForm, TerminalStyle};

/// Bytes that the ring keeps at most, as JSON; beyond it the oldest entries go, however few they are. 500 entries of usual length are a
/// hundredth of it, 500 of the longest that are kept a half.
const RING_BYTES: usize = 8 << 20;

/// How long the end of the daemon waits for a disk that does not take the last entries.
const FLUSH_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

/// The log. Cheap to clone; every clone is the same log.
#[derive(Debug, Clone)]
pub struct LogHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The ring's own policy, once more, so that the terminal needs no lock.
    policy: LogPolicy,
    wants_heartbeats: bool,
    ring: Mutex<LogRing>,
    metrics: LogMetrics,
    next_seq: watch::Sender<u64>,
    terminal: Option<Terminal>,
    file: OnceLock<LogFile>,
}

impl LogHandle {
    /// A log that prints nothing.
    pub fn new(config: LogConfig) -> Self {
        Self::build(&config, None)
    }

    /// A log that also prints on standard error, as the configuration says.
    pub fn with_terminal(config: LogConfig) -> std::io::Result<Self> {
        let style = TerminalStyle::new(&config.terminal, TerminalStyle::is_terminal());
        Self::with_terminal_on(config, style, std::io::stderr())
    }

    /// A log that also prints on `out`.
    pub fn with_terminal_on(
        config: LogConfig,
        style: TerminalStyle,
        out: impl Write + Send + 'static,
    ) -> std::io::Result<Self> {
        Ok(Self::build(&config, Some(Terminal::start(style, out)?)))
    }

    fn build(config: &LogConfig, terminal: Option<Terminal>) -> Self {
        let ring = Mutex::new(LogRing::new(config.policy(), config.capacity, RING_BYTES));
        let (next_seq, _) = watch::channel(1);
        let inner = Inner {
            policy: config.policy(),
            wants_heartbeats: config.heartbeat,
            ring,
            metrics: LogMetrics::default(),
            next_seq,
            terminal,
            file: OnceLock::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Logs a record now. Gives its number, or none when allowlist or minimum level keep it out of the ring.
    pub fn append(&self, record: LogRecord) -> Option<u64> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.append_at(&record, u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
    }

    /// Logs a record with its time, in milliseconds since 1970.
    pub fn append_at(&self, record: &LogRecord, ts_ms: u64) -> Option<u64> {
        if let Some(terminal) = &self.inner.terminal {
            terminal.print(record, ts_ms, &self.inner.policy);
        }
        let mut ring = self.inner.ring.lock();
        let Some(seq) = ring.append(&autobench_core::logs::LogRecord {
            ts_ms,
            channel: &record.channel,
            level: record.level,
            message: &record.message,
            tag: record.tag.as_deref(),
            module: record.module.as_deref(),
            emoji: record.emoji.as_deref(),
            color: None,
        }) else {
            self.inner.metrics.kept_out.inc();
            return None;
        };
        self.inner.metrics.level(record.level).inc();
        if let (Some(file), Some(entry)) = (self.inner.file.get(), ring.newest()) {
            file.push(entry.json().clone());
        }
        // Sent under the lock, so that the number seen by a reader never goes back.
        self.inner.next_seq.send_replace(seq + 1);
        Some(seq)
    }

    /// The oldest entries after number `seq`, at most so many, as the JSON in which the ring keeps them, and what the ring has overwritten.
    pub fn encoded_since(&self, seq: u64, max_entries: usize) -> Range {
        self.inner.ring.lock().since(seq, max_entries)
    }

    /// The same, and at most so many bytes, but one entry however long.
    pub fn piece(&self, seq: u64, max_entries: usize, max_bytes: usize) -> Range {
        self.inner.ring.lock().piece(seq, max_entries, max_bytes)
    }

    /// The number that the next entry gets.
    pub fn next_seq(&self) -> u64 {
        self.inner.ring.lock().next_seq()
    }

    /// All entries after number `seq`, and what of them the ring has overwritten. Reads every entry's JSON: for answers to one, not for all.
    pub fn since(&self, seq: u64) -> LogRange {
        decoded(self.encoded_since(seq, usize::MAX))
    }

    /// The newest `count` entries.
    pub fn history(&self, count: usize) -> LogRange {
        let range = self.inner.ring.lock().history(count);
        decoded(range)
    }

    /// Whoever reads or writes waits until this is dropped.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Drop + '_ {
        self.inner.ring.lock()
    }

    /// What was counted.
    pub fn metrics(&self) -> &LogMetrics {
        &self.inner.metrics
    }

    /// Says it to a scraper.
    pub fn page(&self, page: &mut Page) {
        let (metadata, bytes) = {
            let ring = self.inner.ring.lock();
            (ring.metadata(), ring.size_bytes())
        };
        let left_out = self.inner.terminal.as_ref().map_or(0, Terminal::left_out);
        self.inner.metrics.page(page, &metadata, bytes, left_out);
        if let Some(file) = self.inner.file.get() {
            file.page(page);
        }
    }

    /// `logs` of the state.
    pub fn metadata(&self) -> LogsEntry {
        self.inner.ring.lock().metadata()
    }

    /// The number that the next entry gets, and a way to wait until it changes. Several entries may be one change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.next_seq.subscribe()
    }

    /// Whether pings of clients are to be logged.
    pub fn wants_heartbeats(&self) -> bool {
        self.inner.wants_heartbeats
    }

    /// A text as the log would show it: redacted, and cut if it is overlong.
    pub fn presentable<'m>(&self, text: &'m str) -> std::borrow::Cow<'m, str> {
        self.inner.policy.presentable(text)
    }

    /// Prints a record without giving it a number: for what is worth a line on the terminal of whoever asks for it, and no entry of the ring.
    pub fn print(&self, record: &LogRecord) {
        if let Some(terminal) = &self.inner.terminal {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let ts_ms = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
            terminal.print(record, ts_ms, &self.inner.policy);
        }
    }

    /// Also appends every entry from now on to a file. Only the first file counts.
    pub fn append_to(&self, config: LogFileConfig) -> std::io::Result<()> {
        let file = LogFile::start(config, Arc::downgrade(&self.inner))?;
        let _ = self.inner.file.set(file);
        Ok(())
    }

    /// Waits until the log file has everything, at most a second. For the end of the daemon.
    pub fn flush_file(&self) {
        if let Some(file) = self.inner.file.get() {
            file.flush(FLUSH_WAIT);
        }
    }

    /// Waits until the terminal has everything, at most a second. For the end of the daemon.
    pub fn flush_terminal(&self) {
        if let Some(terminal) = &self.inner.terminal {
            terminal.flush();
        }
    }
}

fn decoded(range: Range) -> LogRange {
    // The ring's JSON is that of `LogEntry`, by a test of its own.
    let entries = range
        .entries
        .iter()
        .filter_map(|entry| serde_json::from_slice::<LogEntry>(entry.json()).ok());
    LogRange {
        from_seq: range.from_seq,
        to_seq: range.to_seq,
        missed: range.missed,
        entries: entries.collect(),
    }
}

#[cfg(test)]
mod tests;
