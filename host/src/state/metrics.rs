//! What the state counts, and how a scraper reads it.

use crate::metrics::{Counter, Histogram, Page};

/// What the state counts.
#[derive(Debug, Default)]
pub struct StateMetrics {
    /// Patches that were published: one per flush.
    pub patches: Counter,
    /// Their bytes.
    pub patch_bytes: Counter,
    /// How long a flush took. Not taken where every change is a flush of its own: two looks at the clock would be a tenth of it.
    pub flush_time: Histogram,
    /// Snapshots that were taken.
    pub snapshots: Counter,
    /// How long they took.
    pub snapshot_time: Histogram,
}

impl StateMetrics {
    pub(super) fn page(&self, version: u64, page: &mut Page) {
        page.gauge("autobench_state_version", "Version of the state", version);
        page.counter(
            "autobench_state_patches_total",
            "Patches that were published; one per flush",
            self.patches.get(),
        );
        page.counter(
            "autobench_state_patch_bytes_total",
            "Bytes of patches, encoded once for all clients",
            self.patch_bytes.get(),
        );
        page.histogram(
            "autobench_state_flush_duration_seconds",
            "How long it took to encode and publish a flush; not measured with broadcast-interval-ms = 0",
            &self.flush_time,
        );
        page.counter(
            "autobench_state_snapshots_total",
            "Snapshots of the state that were taken",
            self.snapshots.get(),
        );
        page.histogram(
            "autobench_state_snapshot_duration_seconds",
            "How long it took to take a snapshot",
            &self.snapshot_time,
        );
    }
}
