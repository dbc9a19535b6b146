//! What drivers count, for a scraper: one series of each metric for each device that is configured, and none for those that were.

use std::sync::Arc;

use super::health::{Counter, Health};
use crate::metrics::Page;

/// A driver's counters, and what they are told apart by. Both names come from the configuration: there are as many series as devices in it.
pub struct Scraped {
    /// The device.
    pub device: Arc<str>,
    /// Its plugin.
    pub plugin: Arc<str>,
    /// Its counters.
    pub health: Arc<Health>,
}

type Pick = fn(&Health) -> &Counter;

/// Writes what all drivers count.
pub fn page(page: &mut Page, drivers: &[Scraped]) {
    let labels: Vec<[(&str, &str); 2]> = drivers
        .iter()
        .map(|driver| [("device", &*driver.device), ("plugin", &*driver.plugin)])
        .collect();
    let counters: [(&str, &str, Pick); 13] = [
        (
            "autobench_driver_calls_total",
            "Calls into the driver that returned",
            |health| &health.calls,
        ),
        (
            "autobench_driver_faults_total",
            "Faults, refusals and failures of the driver",
            |health| &health.faults,
        ),
        (
            "autobench_driver_traps_total",
            "Faults that were traps",
            |health| &health.traps,
        ),
        (
            "autobench_driver_deadlines_total",
            "Faults that were deadlines of a call that passed",
            |health| &health.deadlines,
        ),
        (
            "autobench_driver_limits_total",
            "Faults that were limits of memory, of bytes handed to the host or of timers",
            |health| &health.limits,
        ),
        (
            "autobench_driver_contracts_total",
            "Faults that were broken contracts",
            |health| &health.contracts,
        ),
        (
            "autobench_driver_restarts_total",
            "Starts of the driver after a fault",
            |health| &health.restarts,
        ),
        (
            "autobench_driver_received_bytes_total",
            "Bytes that came from the driver's ports",
            |health| &health.bytes_in,
        ),
        (
            "autobench_driver_sent_bytes_total",
            "Bytes that were queued for the driver's ports",
            |health| &health.bytes_out,
        ),
        (
            "autobench_driver_overrun_bytes_total",
            "Bytes that the driver never got",
            |health| &health.overrun_bytes,
        ),
        (
            "autobench_driver_samples_total",
            "Samples that the driver pushed",
            |health| &health.samples,
        ),
        (
            "autobench_driver_refused_updates_total",
            "Operations that the driver's slice refused",
            |health| &health.refused_updates,
        ),
        (
            "autobench_driver_log_lines_left_out_total",
            "Log lines of the driver that were too many",
            |health| &health.log_lines_left_out,
        ),
    ];
    for (name, help, counter) in counters {
        let values = drivers.iter().map(|driver| counter(&driver.health).get());
        page.counters(name, help, series(&labels, values));
    }
    let busy_s = drivers.iter().map(|driver| seconds(&driver.health.busy_ns));
    page.counters(
        "autobench_driver_busy_seconds_total",
        "Time spent in the driver and in applying what it asked for",
        series(&labels, busy_s),
    );
    let longest_s = drivers.iter().map(|driver| seconds(&driver.health.longest_ns));
    page.gauges(
        "autobench_driver_longest_call_seconds",
        "The longest of these times, of one call",
        series(&labels, longest_s),
    );
    let call_times = drivers.iter().map(|driver| &driver.health.call_times);
    page.histograms(
        "autobench_driver_call_duration_seconds",
        "How long each call into the driver took, with applying what it asked for",
        series(&labels, call_times),
    );
    let depths: Vec<_> = drivers.iter().map(|driver| driver.health.depth()).collect();
    page.gauges(
        "autobench_driver_inbox_bytes",
        "Bytes that wait for the driver",
        series(&labels, depths.iter().map(|depth| depth.bytes)),
    );
    page.gauges(
        "autobench_driver_inbox_events",
        "Commands and other events that wait for the driver",
        series(&labels, depths.iter().map(|depth| depth.events)),
    );
    let generations = drivers.iter().map(|driver| driver.health.generation.get());
    page.gauges(
        "autobench_driver_generation",
        "How often a driver has gone live on the device",
        series(&labels, generations),
    );
    let memory = drivers.iter().map(|driver| driver.health.memory_bytes.get());
    page.gauges(
        "autobench_driver_memory_bytes",
        "Memory of the driver after its last call",
        series(&labels, memory),
    );
    let memory_peak = drivers.iter().map(|driver| driver.health.memory_peak_bytes.get());
    page.gauges(
        "autobench_driver_memory_peak_bytes",
        "The most memory that the driver has used",
        series(&labels, memory_peak),
    );
    let last_error = drivers.iter().map(|driver| driver.health.last_error_ms.get());
    page.gauges(
        "autobench_driver_last_error_timestamp_seconds",
        "When the driver last broke down, since 1970; not there before the first time",
        since_1970(&labels, last_error),
    );
    let last_seen = drivers.iter().map(|driver| driver.health.last_seen_ms.get());
    page.gauges(
        "autobench_driver_last_seen_timestamp_seconds",
        "When bytes last came from the driver's ports, since 1970; not there before the first",
        since_1970(&labels, last_seen),
    );
}

/// Times in milliseconds as seconds; none where there is none yet.
fn since_1970<'a>(
    labels: &'a [[(&'a str, &'a str); 2]],
    values_ms: impl Iterator<Item = u64>,
) -> impl Iterator<Item = (&'a [(&'a str, &'a str)], f64)> {
    series(labels, values_ms)
        .filter(|(_, at_ms)| *at_ms > 0)
        .map(|(labels, at_ms)| (labels, at_ms as f64 / 1e3))
}

fn series<'a, V>(
    labels: &'a [[(&'a str, &'a str); 2]],
    values: impl Iterator<Item = V>,
) -> impl Iterator<Item = (&'a [(&'a str, &'a str)], V)> {
    labels.iter().map(<[_; 2]>::as_slice).zip(values)
}

fn seconds(counter: &Counter) -> f64 {
    counter.get() as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_has_its_series_in_base_units_and_one_that_never_heard_anything_no_time_of_it() {
        let scraped = |device: &str| Scraped {
            device: device.into(),
            plugin: "power-meter".into(),
            health: Arc::default(),
        };
        let drivers = [scraped("meter"), scraped("spare")];
        let health = &drivers[0].health;
        (0..2).for_each(|_| health.called(250_000));
        health.called(1_499_500_000);
        health.traps.add(1);
        health.generation.set(4);
        health.last_error_ms.set(1_767_225_600_250);
        health.memory_bytes.set(65_536);
        health.last_seen_ms.set(1_767_225_600_500);
        let mut written = Page::default();
        page(&mut written, &drivers);
        let text = written.into_text();
        for line in [
            "# TYPE autobench_driver_calls_total counter",
            r#"autobench_driver_calls_total{device="meter",plugin="power-meter"} 3"#,
            r#"autobench_driver_calls_total{device="spare",plugin="power-meter"} 0"#,
            r#"autobench_driver_busy_seconds_total{device="meter",plugin="power-meter"} 1.5"#,
            r#"autobench_driver_longest_call_seconds{device="meter",plugin="power-meter"} 1.4995"#,
            r#"autobench_driver_traps_total{device="meter",plugin="power-meter"} 1"#,
            r#"autobench_driver_generation{device="meter",plugin="power-meter"} 4"#,
            r#"autobench_driver_inbox_bytes{device="spare",plugin="power-meter"} 0"#,
            "# TYPE autobench_driver_call_duration_seconds histogram",
            r#"autobench_driver_call_duration_seconds_bucket{device="meter",plugin="power-meter",le="0.0001"} 0"#,
            r#"autobench_driver_call_duration_seconds_bucket{device="meter",plugin="power-meter",le="0.00025"} 2"#,
            r#"autobench_driver_call_duration_seconds_bucket{device="meter",plugin="power-meter",le="+Inf"} 3"#,
            r#"autobench_driver_call_duration_seconds_count{device="meter",plugin="power-meter"} 3"#,
            r#"autobench_driver_last_error_timestamp_seconds{device="meter",plugin="power-meter"} 1767225600.25"#,
            r#"autobench_driver_memory_bytes{device="meter",plugin="power-meter"} 65536"#,
            r#"autobench_driver_last_seen_timestamp_seconds{device="meter",plugin="power-meter"} 1767225600.5"#,
        ] {
            assert!(text.lines().any(|written| written == line), "no {line} in {text}");
        }
        assert!(!text.contains(r#"last_seen_timestamp_seconds{device="spare""#));
        assert!(!text.contains(r#"last_error_timestamp_seconds{device="spare""#));
    }
}
