//! The daemon's clocks: one origin for everything that is stamped with monotonic time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use autobench_core::driver::CallTime;

/// A monotonic clock that counts from the start of the daemon, and the wall clock beside it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// Both clocks, read together.
    pub fn now(&self) -> CallTime {
        CallTime {
            monotonic_ns: self.monotonic_ns(),
            wall_ms: wall_ms(),
        }
    }

    /// Nanoseconds since the start of the daemon. They last for 584 years.
    pub fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Milliseconds since 1970; 0 when the machine's clock is set before that.
pub fn wall_ms() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64() * 1e3)
}

/// The present moment, ISO 8601.
pub fn now_iso() -> String {
    autobench_core::wire::iso8601(wall_ms() as u64)
}
