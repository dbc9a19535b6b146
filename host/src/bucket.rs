//! How much somebody may do: a bucket that fills at a steady rate and lets a burst through.

use std::time::{Duration, Instant};

/// Whoever was silent may say several things at once, and goes on at the steady rate behind them.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    /// What one thing takes out.
    cost: Duration,
    /// What the bucket holds when it is full.
    depth: Duration,
    /// The moment at which the bucket will be full again.
    full_at: Instant,
}

impl Bucket {
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        Self::one_in(Duration::from_secs(1) / per_second.max(1), burst, now)
    }

    /// One in this time, and so many at once.
    pub(crate) fn one_in(cost: Duration, burst: u32, now: Instant) -> Self {
        Self {
            cost,
            depth: cost.saturating_mul(burst.max(1)),
            full_at: now,
        }
    }

    /// Takes one out, if there is enough left.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        self.admit_many(now, 1)
    }

    /// Takes so many out, if there is enough left for all.
    pub(crate) fn admit_many(&mut self, now: Instant, count: u32) -> bool {
        self.take(now, count).is_ok()
    }

    /// The same; if there is not enough left, says in what time there will be.
    pub(crate) fn take(&mut self, now: Instant, count: u32) -> Result<(), Duration> {
        match self.wait(now, count) {
            Some(wait) => Err(wait),
            None => {
                self.full_at = self.after(now, count);
                Ok(())
            }
        }
    }

    /// In what time there will be enough left for so many. None if there is now.
    pub(crate) fn wait(&self, now: Instant, count: u32) -> Option<Duration> {
        let debt = self.after(now, count).saturating_duration_since(now);
        (debt > self.depth).then(|| debt - self.depth)
    }

    /// Whether nothing is taken out: a new bucket would be the same.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    /// When it will be full again. Orders buckets of a kind by how much was taken out.
    pub(crate) fn full_at(&self) -> Instant {
        self.full_at
    }

    fn after(&self, now: Instant, count: u32) -> Instant {
        self.full_at.max(now) + self.cost.saturating_mul(count)
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

    #[test]
    fn whoever_comes_too_early_is_told_when_to_come_again() {
        let start = Instant::now();
        let mut bucket = Bucket::one_in(Duration::from_secs(3), 10, start);
        assert!(bucket.is_full(start));
        assert!((0..10).all(|_| bucket.take(start, 1).is_ok()));
        assert_eq!(bucket.take(start, 1), Err(Duration::from_secs(3)));
        assert_eq!(bucket.wait(start, 2), Some(Duration::from_secs(6)));
        let later = start + Duration::from_secs(3);
        assert_eq!(bucket.wait(later, 1), None);
        assert_eq!(bucket.take(later, 1), Ok(()));
        assert!(!bucket.is_full(later) && bucket.is_full(later + Duration::from_secs(30)));
    }
}
