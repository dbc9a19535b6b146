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
    let counters: [(&str, &str, Pick); 8] = [
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
    let last_seen = drivers.iter().map(|driver| driver.health.last_seen_ms.get());
    page.gauges(
        "autobench_driver_last_seen_timestamp_seconds",
        "When bytes last came from the driver's ports, since 1970; not there before the first",
        series(&labels, last_seen)
            .filter(|(_, last_seen_ms)| *last_seen_ms > 0)
            .map(|(labels, last_seen_ms)| (labels, last_seen_ms as f64 / 1e3)),
    );
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
        health.calls.add(3);
        health.busy_ns.add(1_500_000_000);
        health.longest_ns.raise_to(250_000);
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
            r#"autobench_driver_longest_call_seconds{device="meter",plugin="power-meter"} 0.00025"#,
            r#"autobench_driver_memory_bytes{device="meter",plugin="power-meter"} 65536"#,
            r#"autobench_driver_last_seen_timestamp_seconds{device="meter",plugin="power-meter"} 1767225600.5"#,
        ] {
            assert!(text.lines().any(|written| written == line), "no {line} in {text}");
        }
        assert!(!text.contains(r#"last_seen_timestamp_seconds{device="spare""#));
    }
}
