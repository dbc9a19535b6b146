//! Times from a change to a socket.

use rustix::time::{ClockId, clock_gettime};

/// Times above this many are thinned out: every second one is forgotten, and from then on every second one is not taken.
const MOST: usize = 1 << 20;

/// How the writer names the moment of a change; see [`sent_ns`].
pub(super) const FIELD: &str = "sentNs";

/// A whole number in a document may have 53 bits; in 52 the nanoseconds come round every seven weeks.
pub(super) const MASK: u64 = (1 << 52) - 1;

/// Nanoseconds of the clock that every process of the machine shares.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec as u64)
        & MASK
}

/// How long ago a [`monotonic_ns`] was, at `now`.
pub(super) fn since(sent_ns: u64, now_ns: u64) -> u64 {
    now_ns.wrapping_sub(sent_ns) & MASK
}

/// What stands before the moment, in a patch of a number and in a message for people.
const MARKS: [&str; 2] = ["/sentNs\",\"value\":", "autobench bench "];

/// The `message` of a bench whose load comes over HTTP.
pub fn message(sent_ns: u64) -> String {
    format!("autobench bench {sent_ns}")
}

/// The moment that a patch of the load names.
pub fn sent_ns(payload: &[u8]) -> Option<u64> {
    let behind = |mark: &str| Some(memchr::memmem::find(payload, mark.as_bytes())? + mark.len());
    let start = MARKS.into_iter().find_map(behind)?;
    let digits = payload
        .get(start..)?
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let mut digits = digits.peekable();
    digits.peek()?;
    digits.try_fold(0_u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// Many durations, as they are: a histogram would have to know beforehand what it will see.
#[derive(Debug, Default, Clone)]
pub struct Latencies {
    ns: Vec<u64>,
    /// Every so many-th is kept.
    thinning: u64,
    skipped: u64,
}

/// What is said of many durations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantiles {
    /// How many there were.
    pub count: usize,
    /// In microseconds.
    pub p50_us: f64,
    /// In microseconds.
    pub p90_us: f64,
    /// In microseconds.
    pub p99_us: f64,
    /// In microseconds.
    pub max_us: f64,
}

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, ns: u64) {
        self.skipped += 1;
        if self.skipped < self.thinning {
            return;
        }
        self.skipped = 0;
        self.ns.push(ns);
        if self.ns.len() >= MOST {
            let mut is_kept = false;
            self.ns.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.thinning = self.thinning.max(1) * 2;
        }
    }

    /// Their quantiles; none if there is nothing.
    pub fn quantiles(mut self) -> Option<Quantiles> {
        self.ns.sort_unstable();
        let last = self.ns.len().checked_sub(1)?;
        let at = |part: f64| {
            let index = ((last as f64) * part).round() as usize;
            self.ns.get(index.min(last)).map_or(0.0, |ns| *ns as f64 / 1e3)
        };
        Some(Quantiles {
            count: self.ns.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            max_us: at(1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_is_read_out_of_a_patch() {
        let patch = br#"{"patch":[{"op":"replace","path":"/load/lastSample/sentNs","value":123456},{"op":"replace","path":"/version","value":9}]}"#;
        assert_eq!(sent_ns(patch), Some(123_456));
        assert_eq!(sent_ns(br#"{"path":"/load/sentNs","value":null}"#), None);
        assert_eq!(sent_ns(b"{}"), None);
        let text = format!(
            r#"{{"op":"replace","path":"/message","value":"{}"}}"#,
            message(77)
        );
        assert_eq!(sent_ns(text.as_bytes()), Some(77));
    }

    #[test]
    fn a_moment_before_the_clock_came_round_is_not_in_the_future() {
        assert_eq!(since(MASK - 4, 5), 10);
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_times() {
        let mut latencies = Latencies::default();
        for ns in (0..=1000_u64).rev() {
            latencies.add(ns * 1000);
        }
        let quantiles = latencies.quantiles().unwrap();
        assert_eq!(
            (quantiles.p50_us, quantiles.p99_us, quantiles.max_us),
            (500.0, 990.0, 1000.0)
        );
        assert_eq!(Latencies::default().quantiles(), None);
    }

    #[test]
    fn however_many_times_there_are_the_memory_is_bounded() {
        let mut latencies = Latencies::default();
        for ns in 0..5 * MOST as u64 {
            latencies.add(ns);
        }
        assert!(latencies.ns.len() <= MOST);
        let quantiles = latencies.quantiles().unwrap();
        assert!((2000.0..3300.0).contains(&quantiles.p50_us), "{quantiles:?}");
    }
}
