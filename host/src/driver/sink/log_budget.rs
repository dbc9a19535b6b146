//! How much a driver may log: the ring is everybody's, so what one driver writes beyond its share is left out, and counted.

use std::time::{Duration, Instant};

use crate::bucket::{Bucket, Lines};

/// Log lines that a driver may write per second in the long run, and after a silence at once. What is beyond is left out and counted: the ring is
/// everybody's.
pub(super) const LOG_LINES_PER_SECOND: u32 = 200;
pub(super) const LOG_LINES_BURST: u32 = 1000;
/// How often lines that are left out are told; in between they are added up.
const LEFT_OUT_SPACING: Duration = Duration::from_secs(5);

/// How much a driver may log, over all its versions.
#[derive(Debug)]
pub struct LogBudget {
    bucket: Bucket,
    left_out: Lines,
}

impl LogBudget {
    /// Nothing was logged yet.
    pub fn new(now: Instant) -> Self {
        Self {
            bucket: Bucket::new(LOG_LINES_PER_SECOND, LOG_LINES_BURST, now),
            left_out: Lines::one_in(LEFT_OUT_SPACING, 1, now),
        }
    }

    /// Whether one more line may be written.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        self.bucket.admit(now)
    }

    /// So many were left out. Answers how many that are since it was said last, when it is time to say it.
    pub(super) fn leave_out(&mut self, lines: u64, now: Instant) -> Option<u64> {
        self.left_out.say_sum(lines, now)
    }
}
