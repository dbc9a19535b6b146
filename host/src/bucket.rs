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

/// Lines about what may happen without end: a burst of them, and then one in a while. What is beyond is counted, and the next line says how much.
#[derive(Debug)]
pub(crate) struct Lines {
    bucket: Bucket,
    unsaid: u64,
}

impl Lines {
    /// One in this time, and so many at once.
    pub(crate) fn one_in(distance: Duration, burst: u32, now: Instant) -> Self {
        Self {
            bucket: Bucket::one_in(distance, burst, now),
            unsaid: 0,
        }
    }

    /// It has happened again. If that is to be said: how often it happened since the last line, besides.
    pub(crate) fn say(&mut self, now: Instant) -> Option<u64> {
        self.say_sum(1, now).map(|sum| sum - 1)
    }

    /// So much of it has happened. If that is to be said: how much since the last line, with this.
    pub(crate) fn say_sum(&mut self, count: u64, now: Instant) -> Option<u64> {
        self.unsaid += count;
        let is_said = self.bucket.admit(now);
        is_said.then(|| std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_burst_are_counted_and_said_with_the_next() {
        let start = Instant::now();
        let distance = Duration::from_secs(1);
        let mut lines = Lines::one_in(distance, 30, start);
        let said: Vec<_> = (0..1000).filter_map(|_| lines.say(start)).collect();
        assert_eq!(said, [0; 30]);
        assert_eq!(lines.say(start + distance), Some(970));
        assert_eq!(lines.say(start + distance), None);
    }

    #[test]
    fn what_is_said_at_once_is_added_up_behind_it() {
        let start = Instant::now();
        let mut lines = Lines::one_in(Duration::from_secs(5), 1, start);
        assert_eq!(lines.say_sum(10, start), Some(10));
        assert_eq!(lines.say_sum(5, start + Duration::from_secs(1)), None);
        assert_eq!(lines.say_sum(7, start + Duration::from_secs(6)), Some(12));
    }

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
