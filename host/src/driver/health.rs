//! Counters about a driver, written on its thread and read by whoever publishes them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use autobench_core::driver::{Breakdown, Depth, Fault, FaultKind, SharedInbox};
use autobench_core::wire::iso8601;
use parking_lot::Mutex;
use serde_json::Value;

use crate::metrics::Histogram;

/// Shortest time over which the busy share is taken: below it the last one is said again.
const SHARE_WINDOW: Duration = Duration::from_millis(500);

/// The counters. They rise for as long as the device is configured, over restarts and swaps.
#[derive(Debug, Default)]
pub struct Health {
    /// Calls of `handle` that returned.
    pub calls: Counter,
    /// Time spent in the driver and in applying what it asked for.
    pub busy_ns: Counter,
    /// The longest of these times.
    pub longest_ns: Counter,
    /// How long each call took.
    pub call_times: Histogram,
    /// Faults, refusals and failures.
    pub faults: Counter,
    /// Of these, traps.
    pub traps: Counter,
    /// Of these, deadlines that passed.
    pub deadlines: Counter,
    /// Of these, limits that were exceeded: memory, bytes handed to the host, timers.
    pub limits: Counter,
    /// Of these, broken contracts.
    pub contracts: Counter,
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
    /// Log lines that were too many.
    pub log_lines_left_out: Counter,
    /// Memory in use after the last call.
    pub memory_bytes: Counter,
    /// The most memory that was in use.
    pub memory_peak_bytes: Counter,
    /// When bytes last came, in milliseconds since 1970; 0 before the first.
    pub last_seen_ms: Counter,
    /// How often a driver has gone live on the device.
    pub generation: Counter,
    /// When something last broke down, in milliseconds since 1970; 0 before the first.
    pub last_error_ms: Counter,
    /// What that was.
    last_error: Mutex<Option<String>>,
    /// Where what waits for the driver is counted, while it has a thread.
    inbox: Mutex<Option<SharedInbox>>,
    share: Mutex<Option<Share>>,
}

/// The busy share, and from when on it is taken next.
#[derive(Debug, Clone, Copy)]
struct Share {
    since: Instant,
    busy_ns: u64,
    share: f64,
}

impl Health {
    /// Counts a call that has returned.
    pub fn called(&self, took_ns: u64) {
        self.calls.add(1);
        self.busy_ns.add(took_ns);
        self.longest_ns.raise_to(took_ns);
        self.call_times.observe(Duration::from_nanos(took_ns));
    }

    /// Counts a breakdown.
    pub fn broke_down(&self, breakdown: &Breakdown, wall_ms: f64) {
        self.faults.add(1);
        if let Breakdown::Fault(Fault { kind, .. }) = breakdown {
            self.faults_of(*kind).add(1);
        }
        self.last_error_ms.set(wall_ms as u64);
        *self.last_error.lock() = Some(breakdown.to_string());
    }

    /// From now on what waits is in this inbox; none once the driver has no thread.
    pub fn watch(&self, inbox: Option<SharedInbox>) {
        *self.inbox.lock() = inbox;
    }

    /// What waits for the driver.
    pub fn depth(&self) -> Depth {
        let inbox = self.inbox.lock().clone();
        inbox.map_or_else(Depth::default, |inbox| inbox.with(|inbox| inbox.depth()))
    }

    /// The part of the time since the last look but one in which the driver was busy, from 0 to 1, in hundredths: what is not much changes seldom.
    fn busy_share(&self, now: Instant) -> f64 {
        let busy_ns = self.busy_ns.get();
        let mut last = self.share.lock();
        let share = match *last {
            None => 0.0,
            Some(last) if now.saturating_duration_since(last.since) < SHARE_WINDOW => return last.share,
            Some(last) => {
                let passed = now.saturating_duration_since(last.since);
                let busy = Duration::from_nanos(busy_ns.saturating_sub(last.busy_ns));
                (busy.as_secs_f64() / passed.as_secs_f64() * 100.0)
                    .round()
                    .min(100.0)
                    / 100.0
            }
        };
        *last = Some(Share {
            since: now,
            busy_ns,
            share,
        });
        share
    }

    /// The counter of faults of one kind.
    pub fn faults_of(&self, kind: FaultKind) -> &Counter {
        match kind {
            FaultKind::Trap => &self.traps,
            FaultKind::Deadline => &self.deadlines,
            FaultKind::Limit => &self.limits,
            FaultKind::Contract => &self.contracts,
        }
    }

    /// The counters as the state shows them, in camel case.
    pub fn members(&self) -> BTreeMap<String, Value> {
        let counters: [(&str, &Counter, u64); 18] = [
            ("calls", &self.calls, 1),
            ("busyUs", &self.busy_ns, 1000),
            ("longestUs", &self.longest_ns, 1000),
            ("faults", &self.faults, 1),
            ("traps", &self.traps, 1),
            ("generation", &self.generation, 1),
            ("deadlines", &self.deadlines, 1),
            ("limits", &self.limits, 1),
            ("contracts", &self.contracts, 1),
            ("restarts", &self.restarts, 1),
            ("bytesIn", &self.bytes_in, 1),
            ("bytesOut", &self.bytes_out, 1),
            ("samples", &self.samples, 1),
            ("overrunBytes", &self.overrun_bytes, 1),
            ("refusedUpdates", &self.refused_updates, 1),
            ("logLinesLeftOut", &self.log_lines_left_out, 1),
            ("memoryBytes", &self.memory_bytes, 1),
            ("memoryPeakBytes", &self.memory_peak_bytes, 1),
        ];
        let mut members: BTreeMap<String, Value> = counters
            .into_iter()
            .map(|(name, counter, unit)| (name.to_owned(), Value::from(counter.get() / unit)))
            .collect();
        let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
        let Depth { bytes, events } = self.depth();
        put("inboxBytes", bytes.into());
        put("inboxEvents", events.into());
        put("busyShare", self.busy_share(Instant::now()).into());
        // Bounds, and so whole microseconds.
        for (name, part) in [("callP50Us", 0.5), ("callP99Us", 0.99)] {
            if let Some(ms) = self.call_times.quantile_ms(part) {
                put(name, ((ms * 1e3).round() as u64).into());
            }
        }
        if let Some(error) = &*self.last_error.lock() {
            put("lastError", error.as_str().into());
            put("lastErrorAt", iso8601(self.last_error_ms.get()).into());
        }
        members
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

#[cfg(test)]
mod tests {
    use autobench_core::driver::{PortIndex, PortSetup};

    use super::*;

    #[test]
    fn the_state_shows_what_was_counted_and_nothing_that_never_was() {
        let health = Health::default();
        let members = health.members();
        assert_eq!(members["busyShare"], 0.0);
        assert_eq!(members["inboxBytes"], 0);
        for absent in ["callP50Us", "callP99Us", "lastError", "lastErrorAt"] {
            assert!(!members.contains_key(absent), "{absent}");
        }
        (0..99).for_each(|_| health.called(7_000));
        health.called(2_000_000);
        let trap = Breakdown::Fault(Fault::new(FaultKind::Trap, "handle", "unreachable"));
        health.broke_down(&trap, 1_767_225_600_000.0);
        health.broke_down(&Breakdown::Failed("no answer".to_owned()), 1_767_225_601_000.0);
        let inbox = SharedInbox::new([PortSetup {
            name: "main".into(),
            ring_capacity_bytes: 64,
        }]);
        inbox.push_bytes(
            PortIndex(0),
            b"12",
            autobench_core::driver::CallTime {
                monotonic_ns: 1,
                wall_ms: 1.0,
            },
        );
        health.watch(Some(inbox));
        let members = health.members();
        for (name, value) in [
            ("calls", 100),
            ("callP50Us", 10),
            ("callP99Us", 10),
            ("longestUs", 2_000),
            ("faults", 2),
            ("traps", 1),
            ("inboxBytes", 2),
            ("inboxEvents", 0),
        ] {
            assert_eq!(members[name], value, "{name}");
        }
        assert_eq!(members["lastError"], "it says: no answer");
        assert_eq!(members["lastErrorAt"], "2026-01-01T00:00:01.000Z");
        health.watch(None);
        assert_eq!(health.members()["inboxBytes"], 0);
    }

    #[test]
    fn the_busy_share_is_that_of_the_time_between_two_looks() {
        let health = Health::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        health.busy_ns.add(5_000_000_000);
        assert_eq!(health.busy_share(at(0)), 0.0, "nobody knows since when");
        health.busy_ns.add(250_000_000);
        assert_eq!(health.busy_share(at(1_000)), 0.25);
        health.busy_ns.add(1_000_000);
        assert_eq!(health.busy_share(at(1_100)), 0.25, "too soon for another");
        assert_eq!(health.busy_share(at(2_000)), 0.0);
        health.busy_ns.add(9_000_000_000);
        assert_eq!(health.busy_share(at(3_000)), 1.0);
    }
}
