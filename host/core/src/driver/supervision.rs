//! When a driver that broke down is started again, and when no more.

use std::collections::VecDeque;

const FIRST_BACKOFF_NS: u64 = 100_000_000;
const LONGEST_BACKOFF_NS: u64 = 30_000_000_000;
const STRIKES: usize = 5;
const STRIKE_WINDOW_NS: u64 = 600_000_000_000;
const HEALTHY_NS: u64 = 60_000_000_000;

/// Counts the strikes of one driver.
#[derive(Debug, Clone)]
pub struct Supervision {
    strikes: VecDeque<u64>,
    /// Breakdowns since the driver was last healthy: the exponent of the backoff.
    in_a_row: u32,
    live_since_ns: Option<u64>,
    jitter: Jitter,
}

/// What follows a breakdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is started again at this time.
    Restart {
        /// Monotonic clock.
        at_ns: u64,
    },
    /// Five strikes in ten minutes: it stays down until it is released.
    Quarantine,
}

impl Supervision {
    /// A driver without strikes. The seed only spreads the restarts of several drivers.
    pub fn new(seed: u64) -> Self {
        Self {
            strikes: VecDeque::with_capacity(STRIKES),
            in_a_row: 0,
            live_since_ns: None,
            jitter: Jitter(seed),
        }
    }

    /// The driver runs.
    pub fn live(&mut self, now_ns: u64) {
        self.live_since_ns = Some(now_ns);
    }

    /// The driver broke down.
    pub fn strike(&mut self, now_ns: u64) -> Verdict {
        let lived_ns = self
            .live_since_ns
            .take()
            .map_or(0, |since| now_ns.saturating_sub(since));
        if lived_ns >= HEALTHY_NS {
            self.release();
        }
        self.strikes
            .retain(|&strike| now_ns.saturating_sub(strike) < STRIKE_WINDOW_NS);
        self.strikes.push_back(now_ns);
        if self.strikes.len() >= STRIKES {
            return Verdict::Quarantine;
        }
        let doubled = FIRST_BACKOFF_NS
            .checked_shl(self.in_a_row.min(16))
            .unwrap_or(LONGEST_BACKOFF_NS);
        self.in_a_row = self.in_a_row.saturating_add(1);
        let wait = doubled + self.jitter.below(doubled / 4);
        Verdict::Restart {
            at_ns: now_ns + wait.min(LONGEST_BACKOFF_NS),
        }
    }

    /// Forgets all strikes: a healthy minute, a new version, or a person who says so.
    pub fn release(&mut self) {
        self.strikes.clear();
        self.in_a_row = 0;
    }

    /// Strikes that count at this time.
    pub fn strikes(&self, now_ns: u64) -> usize {
        let healthy = self
            .live_since_ns
            .is_some_and(|since| now_ns.saturating_sub(since) >= HEALTHY_NS);
        if healthy {
            return 0;
        }
        self.strikes
            .iter()
            .filter(|&&strike| now_ns.saturating_sub(strike) < STRIKE_WINDOW_NS)
            .count()
    }
}

/// SplitMix64: enough to spread restarts, and the same for the same seed.
#[derive(Debug, Clone)]
struct Jitter(u64);

impl Jitter {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}
