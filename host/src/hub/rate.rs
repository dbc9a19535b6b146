//! How much a client may say.

use std::time::{Duration, Instant};

/// A bucket that fills at a steady rate and lets a burst through: whoever was silent may say several things at once.
#[derive(Debug)]
pub(super) struct Bucket {
    /// What one message takes out.
    cost: Duration,
    /// What the bucket holds when it is full.
    depth: Duration,
    /// The moment at which the bucket will be full again.
    full_at: Instant,
}

impl Bucket {
    pub(super) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let cost = Duration::from_secs(1) / per_second.max(1);
        Self {
            cost,
            depth: cost.saturating_mul(burst.max(1)),
            full_at: now,
        }
    }

    /// Takes one message out, if there is enough left.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        self.admit_many(now, 1)
    }

    /// Takes so many out, if there is enough left for all.
    pub(super) fn admit_many(&mut self, now: Instant, count: u32) -> bool {
        let full_at = self.full_at.max(now) + self.cost.saturating_mul(count);
        let is_admitted = full_at.saturating_duration_since(now) <= self.depth;
        if is_admitted {
            self.full_at = full_at;
        }
        is_admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_steady_rate_does() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 20, start);
        assert_eq!((0..100).filter(|_| bucket.admit(start)).count(), 20);
        // Ten more in each further second, however often the client tries.
        let admitted = (0..10_000)
            .filter(|ms| bucket.admit(start + Duration::from_millis(*ms)))
            .count();
        assert_eq!(admitted, 99);
    }

    #[test]
    fn many_at_once_take_out_as_much_as_one_by_one() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1000, 2000, start);
        assert!(bucket.admit_many(start, 1500));
        assert!(!bucket.admit_many(start, 501));
        assert!(bucket.admit_many(start, 500));
        assert!(!bucket.admit(start));
    }

    #[test]
    fn a_long_silence_saves_up_no_more_than_the_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 20, start);
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| bucket.admit(later)).count(), 20);
    }
}
