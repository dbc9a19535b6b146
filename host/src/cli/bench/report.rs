//! What a measurement came to, as JSON and for a person.

use serde_json::{Value, json};

use super::{Moment, RSS};
use crate::load::{LogView, Quantiles};

/// `autobench bench fanout`.
#[derive(Debug)]
pub(super) struct Fanout {
    pub(super) clients: usize,
    pub(super) deflated: usize,
    pub(super) connect_s: f64,
    pub(super) memory_per_client_bytes: f64,
    pub(super) latencies: Option<Quantiles>,
    pub(super) before: Moment,
    pub(super) after: Moment,
}

impl Moment {
    fn seconds_since(&self, before: &Self) -> f64 {
        (self.at - before.at).as_secs_f64()
    }

    fn frames_since(&self, before: &Self) -> f64 {
        (self.clients.frames - before.clients.frames) as f64
    }

    fn since(&self, before: &Self, series: &str) -> f64 {
        self.daemon.sum(series) - before.daemon.sum(series)
    }
}

impl Fanout {
    pub(super) fn json(&self) -> Value {
        let (before, after) = (&self.before, &self.after);
        let seconds = after.seconds_since(before);
        let frames = after.frames_since(before);
        let cpu_s = after.since(before, "process_cpu_seconds_total");
        let own_cpu_s = (after.clients.cpu - before.clients.cpu).as_secs_f64();
        let per_million = |cpu_s: f64| if frames > 0.0 { cpu_s * 1e6 / frames } else { 0.0 };
        let writes = after.since(before, "autobench_hub_writes_total");
        let segments = after.since(before, "autobench_hub_segments_total");
        json!({
            "event": "bench",
            "bench": "fanout",
            "clients": self.clients,
            "clientsAtTheEnd": after.clients.connected,
            "clientsWithDeflate": self.deflated,
            "connectSeconds": rounded(self.connect_s),
            "seconds": rounded(seconds),
            "updatesPerSecond": rounded(after.since(before, "autobench_state_version") / seconds),
            "deliveries": frames,
            "deliveriesPerSecond": rounded(frames / seconds),
            "bytesPerSecond": rounded((after.clients.bytes - before.clients.bytes) as f64 / seconds),
            "bytesPerDelivery": rounded((after.clients.bytes - before.clients.bytes) as f64 / frames.max(1.0)),
            "framesPerWrite": rounded(if writes > 0.0 { segments / writes } else { 0.0 }),
            "daemonCpuSecondsPerMillion": rounded(per_million(cpu_s)),
            "daemonCpuShare": rounded(cpu_s / seconds),
            "clientCpuSecondsPerMillion": rounded(per_million(own_cpu_s)),
            "latencyUs": self.latencies.map(|q| json!({
                "count": q.count, "p50": rounded(q.p50_us), "p90": rounded(q.p90_us), "p99": rounded(q.p99_us), "max": rounded(q.max_us),
            })),
            "memoryPerClientBytes": rounded(self.memory_per_client_bytes),
            "daemonMemoryBytes": after.daemon.get(RSS),
            "snapshotsForLag": after.since(before, "autobench_client_snapshots_total{cause=\"lag\"}"),
            "blockedWrites": after.since(before, "autobench_hub_blocked_total"),
        })
    }

    pub(super) fn text(&self) -> String {
        let json = self.json();
        let number = |name: &str| json.get(name).and_then(Value::as_f64).unwrap_or(0.0);
        let latency = match self.latencies {
            Some(q) => format!(
                "  latency                {:.0} µs at p50, {:.0} at p90, {:.0} at p99, {:.0} at most, over {} looks",
                q.p50_us, q.p90_us, q.p99_us, q.max_us, q.count
            ),
            None => "  latency                unknown: no change named its moment, nobody looked (of clients with deflate every tenth does), or the daemon is on another machine".to_owned(),
        };
        format!(
            "{} clients ({} with deflate), {:.0} updates per second for {:.1} s\n\
             \x20 deliveries per second  {:.0}, of {:.0} bytes each; {:.1} frames in one write\n\
             \x20 processor time         {:.2} s per million deliveries in the daemon ({:.0} % of a core), {:.2} s in the clients\n\
             {latency}\n\
             \x20 memory                 {:.1} KB per idle client, {:.1} MB in all\n\
             \x20 clients behind         {:.0} snapshots, {:.0} writes that were not taken as a whole",
            self.clients,
            self.deflated,
            number("updatesPerSecond"),
            number("seconds"),
            number("deliveriesPerSecond"),
            number("bytesPerDelivery"),
            number("framesPerWrite"),
            number("daemonCpuSecondsPerMillion"),
            number("daemonCpuShare") * 100.0,
            number("clientCpuSecondsPerMillion"),
            self.memory_per_client_bytes / 1e3,
            number("daemonMemoryBytes") / 1e6,
            number("snapshotsForLag"),
            number("blockedWrites"),
        )
    }
}

/// `autobench bench logs`.
#[derive(Debug)]
pub(super) struct Logs {
    pub(super) clients: usize,
    pub(super) connected: usize,
    pub(super) last: u64,
    pub(super) most_memory_bytes: f64,
    pub(super) views: Vec<LogView>,
    pub(super) before: Moment,
    pub(super) after: Moment,
}

impl Logs {
    /// What is wrong with a client's view, if anything is.
    pub(super) fn fault(&self) -> Option<String> {
        self.views.iter().find_map(|view| {
            let behind = (!view.is_up_to(self.last))
                .then(|| format!("it ends at {}, the log at {}", view.covered, self.last));
            view.faults.first().cloned().or(behind)
        })
    }

    /// How many views there are that filter, or that do not, and which share of the log they were told is missing.
    fn views(&self, are_filtered: bool) -> (usize, f64) {
        let views = self
            .views
            .iter()
            .filter(|view| view.is_filtered() == are_filtered);
        let (mut count, mut missed, mut all) = (0, 0, 0);
        for view in views {
            count += 1;
            missed += view.missed;
            all += view.missed + view.entries + view.left_out;
        }
        (count, missed as f64 / all.max(1) as f64)
    }

    pub(super) fn json(&self) -> Value {
        let (before, after) = (&self.before, &self.after);
        let seconds = after.seconds_since(before);
        let entries = after.since(before, "autobench_log_entries_total");
        let (plain, plain_missed) = self.views(false);
        let (filtered, filtered_missed) = self.views(true);
        json!({
            "event": "bench",
            "bench": "logs",
            "clients": self.clients,
            "clientsAtTheEnd": self.connected,
            "seconds": rounded(seconds),
            "entriesPerSecond": rounded(entries / seconds),
            "clientBytesPerSecond": rounded((after.clients.bytes - before.clients.bytes) as f64 / seconds),
            "daemonCpuSecondsPerMillion": rounded(after.since(before, "process_cpu_seconds_total") * 1e6 / entries.max(1.0)),
            "daemonMemoryBytesBefore": before.daemon.get(RSS),
            "daemonMemoryBytesAfter": after.daemon.get(RSS),
            "daemonMemoryBytesMost": self.most_memory_bytes,
            "views": plain,
            "viewsShareMissed": rounded(plain_missed),
            "viewsWithFilter": filtered,
            "viewsWithFilterShareMissed": rounded(filtered_missed),
            "fault": self.fault(),
        })
    }

    pub(super) fn text(&self) -> String {
        let json = self.json();
        let number = |name: &str| json.get(name).and_then(Value::as_f64).unwrap_or(0.0);
        format!(
            "{} clients, {:.0} log entries per second for {:.1} s\n\
             \x20 processor time  {:.2} s per million entries\n\
             \x20 memory          {:.1} MB before, {:.1} after, {:.1} at most\n\
             \x20 clients         {:.1} MB per second to all; {} were looked at, and {} with a filter, which were told that they miss {:.1} % and {:.1} %\n\
             \x20 their views     {}",
            self.clients,
            number("entriesPerSecond"),
            number("seconds"),
            number("daemonCpuSecondsPerMillion"),
            number("daemonMemoryBytesBefore") / 1e6,
            number("daemonMemoryBytesAfter") / 1e6,
            number("daemonMemoryBytesMost") / 1e6,
            number("clientBytesPerSecond") / 1e6,
            number("views"),
            number("viewsWithFilter"),
            number("viewsShareMissed") * 100.0,
            number("viewsWithFilterShareMissed") * 100.0,
            self.fault()
                .unwrap_or_else(|| "exact: what did not come was said to be missing".to_owned()),
        )
    }
}

/// Four digits behind the point are more than any of this is worth.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
