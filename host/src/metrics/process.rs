//! The process itself, under the names that every Prometheus client gives it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::Page;

/// Processor time of all threads.
pub fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or(0),
        time.tv_nsec.try_into().unwrap_or(0),
    )
}

/// Processor time, memory, threads and descriptors. What the system does not tell is left out.
pub fn process(page: &mut Page) {
    page.counter(
        "process_cpu_seconds_total",
        "Processor time of the daemon, user and system",
        cpu().as_secs_f64(),
    );
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |name: &str| number(&status, name).map(|kib| kib << 10);
    if let Some(bytes) = kib("VmRSS:") {
        page.gauge(
            "process_resident_memory_bytes",
            "Memory that the daemon has in use",
            bytes,
        );
    }
    if let Some(bytes) = kib("VmSize:") {
        page.gauge(
            "process_virtual_memory_bytes",
            "Addresses that the daemon has reserved",
            bytes,
        );
    }
    if let Some(threads) = number(&status, "Threads:") {
        page.gauge("process_threads", "Threads of the daemon", threads);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        page.gauge("process_open_fds", "Open descriptors", open.count());
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        page.gauge("process_max_fds", "Descriptors that may be open", most);
    }
    if let Some(start) = start_time_s() {
        page.gauge(
            "process_start_time_seconds",
            "When the daemon started, in seconds since 1970",
            start,
        );
    }
}

fn number(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// From the time of the machine's start and the ticks since then.
fn start_time_s() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in brackets, may hold anything; the 22nd field is the 20th behind it.
    let ticks: f64 = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
    let boot = std::fs::read_to_string("/proc/stat").ok()?;
    let boot_s = number(&boot, "btime ")?;
    Some(boot_s as f64 + ticks / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_says_how_large_it_is_and_when_it_started() {
        let mut page = Page::default();
        process(&mut page);
        let text = page.into_text();
        let value = |name: &str| -> f64 {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.unwrap_or_else(|| panic!("{name} in {text}"))
                .parse()
                .unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e5);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_threads") >= 1.0);
        let now_s = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let age_s = now_s - value("process_start_time_seconds");
        assert!((-2.0..3600.0).contains(&age_s), "{age_s}");
    }
}
