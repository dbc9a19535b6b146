//! What the daemon counts, and how a scraper reads it.
//!
//! Counters belong to the part that counts: the hub, the log, the state each have a struct of them. Counting is a relaxed addition and nothing
//! else: no lock, no name is looked up. Names, help and units come in only when somebody scrapes: each part registers once what it has to say
//! ([`Registry::register`]), and [`Registry::render`] asks all of them for one [`Page`].
//!
//! Names follow Prometheus: `autobench_` before them, base units (seconds, bytes) and `_total` behind them.

mod page;
mod process;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

pub use page::{CONTENT_TYPE, Page};
pub use process::{cpu as process_cpu, process};

/// Something that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds so many.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of a histogram's buckets, in nanoseconds: from a call into a driver to a client that is nearly given up.
const BOUNDS_NS: [u64; 17] = [
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
];

/// How long something took, each time.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One per bound, not added up.
    buckets: [AtomicU64; BOUNDS_NS.len()],
    beyond: AtomicU64,
    sum_ns: AtomicU64,
}

impl Histogram {
    /// Adds one duration.
    pub fn observe(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_NS.partition_point(|bound| *bound < ns);
        self.buckets
            .get(bucket)
            .unwrap_or(&self.beyond)
            .fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// The bound below which this part of the durations lies, in milliseconds; none before the first. Coarse on purpose: it changes seldom,
    /// and what does not change makes no patch.
    pub fn quantile_ms(&self, part: f64) -> Option<f64> {
        let counts = self.counts();
        let total: u64 = counts.iter().map(|(_, count)| count).sum();
        let wanted = (total as f64 * part).ceil().max(1.0);
        let mut seen = 0;
        for (bound_ns, count) in counts {
            seen += count;
            if seen as f64 >= wanted {
                let bound_ns = bound_ns.or(BOUNDS_NS.last().copied())?;
                return Some(bound_ns as f64 / 1e6);
            }
        }
        None
    }

    /// Each bucket with its upper bound, the last without one.
    fn counts(&self) -> Vec<(Option<u64>, u64)> {
        let bounded = BOUNDS_NS.iter().zip(&self.buckets);
        let mut counts: Vec<_> = bounded
            .map(|(bound, count)| (Some(*bound), count.load(Ordering::Relaxed)))
            .collect();
        counts.push((None, self.beyond.load(Ordering::Relaxed)));
        counts
    }

    fn sum_s(&self) -> f64 {
        self.sum_ns.load(Ordering::Relaxed) as f64 / 1e9
    }
}

type Part = Box<dyn Fn(&mut Page) + Send>;

/// Who has something to say to a scraper. Cheap to clone; every clone is the same.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Vec<Part>>>);

impl Registry {
    /// Adds a part. It is asked at every scrape, under the registry's lock, and must not wait.
    pub fn register(&self, part: impl Fn(&mut Page) + Send + 'static) {
        self.0.lock().push(Box::new(part));
    }

    /// What all parts say, in the order in which they were registered.
    pub fn render(&self) -> String {
        let mut page = Page::default();
        for part in self.0.lock().iter() {
            part(&mut page);
        }
        page.into_text()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_on_a_bound_belongs_below_it() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(1));
        histogram.observe(Duration::from_nanos(1001));
        histogram.observe(Duration::from_secs(5));
        let counts = histogram.counts();
        assert_eq!(counts[..2], [(Some(1000), 1), (Some(5000), 1)]);
        assert_eq!(counts.last(), Some(&(None, 1)));
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile_ms(0.5), None);
        for us in 0..100 {
            histogram.observe(Duration::from_micros(us));
        }
        assert_eq!(histogram.quantile_ms(0.5), Some(0.05));
        assert_eq!(histogram.quantile_ms(0.99), Some(0.1));
        histogram.observe(Duration::from_secs(9));
        assert_eq!(histogram.quantile_ms(1.0), Some(1000.0));
    }
}
