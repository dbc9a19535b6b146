//! Counters about a driver, written on its thread and read by whoever publishes them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

/// The counters. They rise for as long as the device is configured, over restarts and swaps.
#[derive(Debug, Default)]
pub struct Health {
    /// Calls of `handle` that returned.
    pub calls: Counter,
    /// Time spent in the driver and in applying what it asked for.
    pub busy_ns: Counter,
    /// The longest of these times.
    pub longest_ns: Counter,
    /// Faults, refusals and failures.
    pub faults: Counter,
    /// Starts after a fault.
    pub restarts: Counter,
    /// Bytes received from all ports.
    pub bytes_in: Counter,
    /// Bytes queued for all ports.
    pub bytes_out: Counter,
    /// Samples pushed.
    pub samples: Counter,
    /// Bytes that the driver never got.
    pub overrun_bytes: Counter,
    /// Operations that the slice refused.
    pub refused_updates: Counter,
    /// Memory in use after the last call.
    pub memory_bytes: Counter,
    /// The most memory that was in use.
    pub memory_peak_bytes: Counter,
    /// When bytes last came, in milliseconds since 1970; 0 before the first.
    pub last_seen_ms: Counter,
}

impl Health {
    /// The counters as the state shows them, in camel case.
    pub fn members(&self) -> BTreeMap<String, Value> {
        let counters: [(&str, &Counter, u64); 12] = [
            ("calls", &self.calls, 1),
            ("busyUs", &self.busy_ns, 1000),
            ("longestUs", &self.longest_ns, 1000),
            ("faults", &self.faults, 1),
            ("restarts", &self.restarts, 1),
            ("bytesIn", &self.bytes_in, 1),
            ("bytesOut", &self.bytes_out, 1),
            ("samples", &self.samples, 1),
            ("overrunBytes", &self.overrun_bytes, 1),
            ("refusedUpdates", &self.refused_updates, 1),
            ("memoryBytes", &self.memory_bytes, 1),
            ("memoryPeakBytes", &self.memory_peak_bytes, 1),
        ];
        counters
            .into_iter()
            .map(|(name, counter, unit)| (name.to_owned(), Value::from(counter.get() / unit)))
            .collect()
    }
}

/// One counter. Each has one writer, so that relaxed loads and stores are enough.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Puts a value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Raises it to a value that is higher.
    pub fn raise_to(&self, value: u64) {
        // Looked at first, because it is seldom higher and a look costs next to nothing.
        if value > self.get() {
            self.0.fetch_max(value, Ordering::Relaxed);
        }
    }
}
