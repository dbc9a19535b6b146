//! What the log counts.

use autobench_core::driver::LogLevel;
use autobench_core::wire::LogsEntry;

use crate::metrics::{Counter, Page};

/// The log's counters. They only rise.
#[derive(Debug, Default)]
pub struct LogMetrics {
    /// Entries of each level, in the order of [`LogLevel::ALL`].
    levels: [Counter; LogLevel::ALL.len()],
    /// Records that allowlist or minimum level kept out of the ring.
    pub kept_out: Counter,
}

impl LogMetrics {
    /// Entries of level error and fatal since the start.
    pub fn errors(&self) -> u64 {
        self.level(LogLevel::Error).get() + self.level(LogLevel::Fatal).get()
    }

    pub(super) fn level(&self, level: LogLevel) -> &Counter {
        let place = LogLevel::ALL.iter().position(|known| *known == level);
        // Every level is in the list of all.
        place
            .and_then(|place| self.levels.get(place))
            .unwrap_or(&self.kept_out)
    }

    pub(super) fn page(&self, page: &mut Page, ring: &LogsEntry, ring_bytes: usize, left_out: u64) {
        let names = LogLevel::ALL.map(|level| [("level", level.as_str())]);
        let levels = names
            .iter()
            .zip(&self.levels)
            .map(|(name, count)| (&name[..], count.get()));
        page.counters(
            "autobench_log_entries_total",
            "Log entries that were given a number, by level",
            levels,
        );
        page.counter(
            "autobench_log_kept_out_total",
            "Log records that allowlist or minimum level kept out",
            self.kept_out.get(),
        );
        page.gauge(
            "autobench_log_ring_entries",
            "Entries that the log ring holds",
            ring.size,
        );
        page.gauge(
            "autobench_log_ring_capacity_entries",
            "Entries that the log ring may hold",
            ring.capacity,
        );
        page.gauge(
            "autobench_log_ring_bytes",
            "Bytes of the entries that the log ring holds",
            ring_bytes,
        );
        page.counter(
            "autobench_log_terminal_left_out_total",
            "Log lines that the terminal did not take in time",
            left_out,
        );
    }
}
