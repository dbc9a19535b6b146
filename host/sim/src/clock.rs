//! Time as the emulators see it. The machines behind the terminals are told the time and have none of their own.

use std::io;
use std::time::{Duration, Instant};

/// How fast simulated time may pass, compared with real time.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.001..=10_000.0;

/// Simulated time: so many times as fast as real time, and it can stand still.
#[derive(Debug)]
pub(crate) struct Clock {
    speed: f64,
    /// Simulated time up to `running_since`, or up to now while it stands still.
    passed: Duration,
    running_since: Option<Instant>,
}

impl Clock {
    /// Time that begins now. A speed that no timer could follow is refused.
    pub(crate) fn new(speed: f64) -> io::Result<Self> {
        if !SPEEDS.contains(&speed) {
            let message = format!(
                "a speed is from {} to {}, not {speed}",
                SPEEDS.start(),
                SPEEDS.end()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(Self {
            speed,
            passed: Duration::ZERO,
            running_since: Some(Instant::now()),
        })
    }

    pub(crate) fn now(&self) -> Duration {
        match self.running_since {
            Some(since) => self.passed + since.elapsed().mul_f64(self.speed),
            None => self.passed,
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX)
    }

    /// Real time until a simulated moment; none if it does not come nearer.
    pub(crate) fn until(&self, due: Duration) -> Option<Duration> {
        let left = due.saturating_sub(self.now());
        if left.is_zero() {
            return Some(Duration::ZERO);
        }
        // A little more than the division says: waking up just before the moment would only lead to waiting again.
        self.running_since
            .map(|_| left.div_f64(self.speed) + Duration::from_micros(1))
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.running_since.is_none()
    }

    pub(crate) fn pause(&mut self) {
        self.passed = self.now();
        self.running_since = None;
    }

    pub(crate) fn resume(&mut self) {
        if self.running_since.is_none() {
            self.running_since = Some(Instant::now());
        }
    }
}
