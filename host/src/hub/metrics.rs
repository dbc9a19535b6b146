//! What the fan-out counts.
//!
//! The loop that writes to everybody adds up what it does in a [`Tally`] of its own and gives it to the counters once per pass, so that a client
//! costs no counter.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::{Counter, Histogram, Page};

/// The hub's counters. They only rise.
#[derive(Debug, Default)]
pub struct HubMetrics {
    /// Passes of the loop over the clients that had something to write.
    pub passes: Counter,
    /// How long they took.
    pub pass_time: Histogram,
    /// Writes to sockets by the loop.
    pub shared_writes: Counter,
    /// Writes to sockets by clients' own writers.
    pub own_writes: Counter,
    /// Bytes that sockets took.
    pub written_bytes: Counter,
    /// Segments that were handed to sockets, counted once per client.
    pub segments: Counter,
    /// Times that a socket took nothing or only a part.
    pub blocked: Counter,
    /// Clients that began.
    pub clients: Counter,
    /// Clients that were refused because there was no place for them.
    pub refused: Counter,
    /// Clients that went, or were closed by agreement.
    pub gone: Counter,
    /// Clients that were dropped because they took nothing.
    pub dropped: Counter,
    /// Snapshots that were sent, whyever.
    pub snapshots: Counter,
    /// Those that were sent because a client fell behind.
    pub lag_snapshots: Counter,
    /// Times that a client was told that it missed something of another channel than the state.
    pub missed: Counter,
    /// Messages of clients.
    pub messages: Counter,
    /// How long they took to handle.
    pub message_time: Histogram,
    /// Bytes of segments that were made of the log.
    pub log_bytes: Counter,
    /// Bytes of plain segments that were compressed once for all members of a context, counted once per context.
    pub plain_bytes: Counter,
    /// What became of them.
    pub coded_bytes: Counter,
}

/// What one pass did.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) writes: u64,
    pub(super) bytes: u64,
    pub(super) segments: u64,
    pub(super) blocked: u64,
}

/// How far clients are behind, at one moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lag {
    /// Clients that the loop does not write to now.
    pub(super) behind: u64,
    /// Versions of the state that the one farthest behind lacks.
    pub(super) most_versions: u64,
    /// Versions that all of them lack together.
    pub(super) sum_versions: u64,
    /// How long the one that has taken nothing for longest has done so.
    pub(super) longest_stall: Duration,
}

impl Lag {
    /// One more client lacks so many versions.
    pub(super) fn missing(&mut self, versions: u64) {
        self.most_versions = self.most_versions.max(versions);
        self.sum_versions += versions;
    }
}

/// The lag as the state says it: looked at while clients are tended, so that whoever counts need not ask a client.
#[derive(Debug, Default)]
pub(super) struct LagWatch {
    looked_at_version: AtomicU64,
    most_versions: AtomicU64,
}

impl LagWatch {
    /// At this version the client farthest behind lacks so many.
    pub(super) fn note(&self, version: u64, most_versions: u64) {
        let before = self.looked_at_version.swap(version, Ordering::Relaxed);
        // What came since the last look may be on its way to everybody. And an exact number would rise with each patch that says it.
        let is_behind = most_versions > version.saturating_sub(before);
        let rounded = most_versions.checked_next_power_of_two().unwrap_or(u64::MAX);
        self.most_versions
            .store(if is_behind { rounded } else { 0 }, Ordering::Relaxed);
    }

    pub(super) fn most_versions(&self) -> u64 {
        self.most_versions.load(Ordering::Relaxed)
    }
}

impl HubMetrics {
    pub(super) fn passed(&self, tally: &Tally, took: Duration) {
        self.passes.inc();
        self.pass_time.observe(took);
        self.shared_writes.add(tally.writes);
        self.written_bytes.add(tally.bytes);
        self.segments.add(tally.segments);
        self.blocked.add(tally.blocked);
    }

    pub(super) fn page(&self, page: &mut Page, clients: usize, lag: Lag) {
        page.gauge("autobench_clients", "Clients that are connected", clients);
        page.counter(
            "autobench_clients_connected_total",
            "Clients that connected",
            self.clients.get(),
        );
        page.counter(
            "autobench_clients_refused_total",
            "Clients that were refused because the house was full, or the part of it for clients that have not said who they are",
            self.refused.get(),
        );
        page.counters(
            "autobench_clients_gone_total",
            "Clients that are gone: of themselves or by agreement (gone), or given up because they took nothing (stalled)",
            [
                (&[("reason", "gone")] as &[(&str, &str)], self.gone.get()),
                (&[("reason", "stalled")], self.dropped.get()),
            ],
        );
        page.gauge(
            "autobench_clients_behind",
            "Clients that are behind or have something of their own to get",
            lag.behind,
        );
        page.gauges(
            "autobench_client_lag_versions",
            "Versions of the state that clients have not been sent yet: of the one farthest behind (max), of all together (sum)",
            [
                (&[("of", "max")] as &[(&str, &str)], lag.most_versions),
                (&[("of", "sum")], lag.sum_versions),
            ],
        );
        page.gauge(
            "autobench_client_stall_seconds",
            "For how long the socket that has taken nothing for longest has done so",
            lag.longest_stall.as_secs_f64(),
        );
        page.counter(
            "autobench_hub_passes_total",
            "Passes over all clients that had something to write",
            self.passes.get(),
        );
        page.histogram(
            "autobench_hub_pass_duration_seconds",
            "How long a pass over all clients took",
            &self.pass_time,
        );
        page.counters(
            "autobench_hub_writes_total",
            "Writes to sockets: by the one loop (loop), or by the writer of a client that was behind (own)",
            [
                (&[("by", "loop")] as &[(&str, &str)], self.shared_writes.get()),
                (&[("by", "own")], self.own_writes.get()),
            ],
        );
        page.counter(
            "autobench_hub_written_bytes_total",
            "Bytes that clients' sockets took",
            self.written_bytes.get(),
        );
        page.counters(
            "autobench_hub_context_bytes_total",
            "Bytes of segments that were compressed for a shared context: before (plain) and after (coded)",
            [
                (&[("form", "plain")] as &[(&str, &str)], self.plain_bytes.get()),
                (&[("form", "coded")], self.coded_bytes.get()),
            ],
        );
        page.counter(
            "autobench_hub_segments_total",
            "Segments given to clients, counted once per client",
            self.segments.get(),
        );
        page.counter(
            "autobench_hub_blocked_total",
            "Writes that a socket did not take, or not as a whole",
            self.blocked.get(),
        );
        page.counters(
            "autobench_client_snapshots_total",
            "Snapshots of the state that were sent: at the beginning or on request (asked), or because a client fell behind (lag)",
            [
                (&[("cause", "asked")] as &[(&str, &str)], self.snapshots.get().saturating_sub(self.lag_snapshots.get())),
                (&[("cause", "lag")], self.lag_snapshots.get()),
            ],
        );
        page.counter(
            "autobench_client_missed_total",
            "Times that a client was told that it missed log entries, samples, alarms or events",
            self.missed.get(),
        );
        page.counter(
            "autobench_client_messages_total",
            "Messages from clients",
            self.messages.get(),
        );
        page.histogram(
            "autobench_client_message_duration_seconds",
            "How long a message from a client took",
            &self.message_time,
        );
        page.counter(
            "autobench_log_sent_bytes_total",
            "Bytes of log entries encoded for clients, once for all",
            self.log_bytes.get(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_there_at_the_last_look_makes_a_lag_and_its_size_is_rounded() {
        let lag = LagWatch::default();
        let mut told = Vec::new();
        // A client that stands still at version 95, one at 105, and one that has taken all but the newest.
        for (version, most_versions) in [
            (100, 5),
            (200, 105),
            (201, 96),
            (202, 97),
            (300, 60),
            (310, 70),
            (310, 0),
        ] {
            lag.note(version, most_versions);
            told.push(lag.most_versions());
        }
        assert_eq!(told, [0, 128, 128, 128, 0, 128, 0]);
    }
}
