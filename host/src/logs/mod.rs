//! The log: a bounded ring of numbered entries for clients, and lines on the terminal.
//!
//! Everything that is logged, by the daemon through `tracing` or by a driver through its call, comes through [`LogHandle::append`]. There it is
//! cut to a bounded length and redacted, then printed if the terminal wants its level, then numbered and kept if allowlist and minimum level
//! let it pass. What does not pass leaves no gap in the numbers.

mod layer;
mod record;
mod ring;
mod terminal;

use std::io::Write;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use autobench_core::logs::channel_family;
use autobench_core::wire::{LogRange, LogsEntry};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::config::LogConfig;
use ring::Ring;
use terminal::Terminal;

pub use layer::{LogLayer, install};
pub use record::LogRecord;
pub use terminal::{BadVariable, TerminalForm, TerminalStyle};

/// Longest message that is kept. A driver may log what a device sent; 500 such entries have to fit in a few megabytes.
const MAX_MESSAGE_BYTES: usize = 8 << 10;

/// The log. Cheap to clone; every clone is the same log.
#[derive(Debug, Clone)]
pub struct LogHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: LogConfig,
    ring: Mutex<Ring>,
    next_seq: watch::Sender<u64>,
    terminal: Option<Terminal>,
}

impl LogHandle {
    /// A log that prints nothing.
    pub fn new(config: LogConfig) -> Self {
        Self::build(config, None)
    }

    /// A log that also prints on standard error.
    pub fn with_terminal(config: LogConfig, style: TerminalStyle) -> std::io::Result<Self> {
        Self::with_terminal_on(config, style, std::io::stderr())
    }

    /// A log that also prints on `out`.
    pub fn with_terminal_on(
        config: LogConfig,
        style: TerminalStyle,
        out: impl Write + Send + 'static,
    ) -> std::io::Result<Self> {
        Ok(Self::build(config, Some(Terminal::start(style, out)?)))
    }

    fn build(config: LogConfig, terminal: Option<Terminal>) -> Self {
        let ring = Mutex::new(Ring::new(config.capacity));
        let (next_seq, _) = watch::channel(1);
        Self {
            inner: Arc::new(Inner {
                config,
                ring,
                next_seq,
                terminal,
            }),
        }
    }

    /// Logs a record now. Gives its number, or none when allowlist or minimum level keep it out of the ring.
    pub fn append(&self, record: LogRecord) -> Option<u64> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.append_at(record, u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
    }

    /// Logs a record with its time, in milliseconds since 1970.
    pub fn append_at(&self, mut record: LogRecord, ts_ms: u64) -> Option<u64> {
        record.message = self.inner.presentable(record.message);
        if let Some(terminal) = &self.inner.terminal {
            terminal.print(&record, ts_ms);
        }
        if !self.inner.admits(&record) {
            return None;
        }
        let mut ring = self.inner.ring.lock();
        let seq = ring.push(record, ts_ms);
        // Sent under the lock, so that the number seen by a reader never goes back.
        self.inner.next_seq.send_replace(seq + 1);
        Some(seq)
    }

    /// The entries after number `seq`, and what of them the ring has overwritten.
    pub fn since(&self, seq: u64) -> LogRange {
        self.inner.ring.lock().since(seq)
    }

    /// The newest `count` entries.
    pub fn history(&self, count: usize) -> LogRange {
        self.inner.ring.lock().history(count)
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
        self.inner.config.heartbeat
    }

    /// Waits until the terminal has everything, at most a second. For the end of the daemon.
    pub fn flush_terminal(&self) {
        if let Some(terminal) = &self.inner.terminal {
            terminal.flush();
        }
    }
}

impl Inner {
    /// The message as it may be seen: redacted as a whole first, so that no secret is cut in two and survives, then cut.
    fn presentable(&self, message: String) -> String {
        let mut message = match &self.config.redact {
            Some(pattern) => pattern.redact(&message).into_owned(),
            None => message,
        };
        if message.len() > MAX_MESSAGE_BYTES {
            let mut end = MAX_MESSAGE_BYTES;
            while !message.is_char_boundary(end) {
                end -= 1;
            }
            let rest = message.len() - end;
            message.truncate(end);
            message.push_str(&format!("… ({rest} bytes more)"));
        }
        message
    }

    fn admits(&self, record: &LogRecord) -> bool {
        let allowed = &self.config.allowed_channels;
        record.level >= self.config.min_level
            && (allowed.is_empty()
                || allowed
                    .iter()
                    .any(|channel| channel == channel_family(&record.channel) || channel == &record.channel))
    }
}
