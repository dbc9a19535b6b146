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
    /// What it was given does not suit it, which another start does not change: it stays down until it is given something else, or is released.
    AwaitsConfiguration,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn four_strikes_restart_with_doubling_waits_and_the_fifth_is_quarantine() {
        let mut supervision = Supervision::new(7);
        let mut now_ns = 50 * S;
        for base_ns in [100, 200, 400, 800].map(|ms| ms * 1_000_000) {
            let Verdict::Restart { at_ns } = supervision.strike(now_ns) else {
                panic!("too early for quarantine");
            };
            let wait_ns = at_ns - now_ns;
            assert!(
                (base_ns..=base_ns * 5 / 4).contains(&wait_ns),
                "{wait_ns} after {base_ns}"
            );
            now_ns = at_ns;
            supervision.live(now_ns);
        }
        assert_eq!(supervision.strike(now_ns), Verdict::Quarantine);
        assert_eq!(supervision.strikes(now_ns), 5);
    }

    #[test]
    fn a_healthy_minute_resets_strikes_and_backoff() {
        let mut supervision = Supervision::new(7);
        for round in 0..20 {
            let live_ns = round * 100 * S;
            supervision.live(live_ns);
            assert_eq!(supervision.strikes(live_ns + 60 * S), 0);
            let Verdict::Restart { at_ns } = supervision.strike(live_ns + 60 * S) else {
                panic!("it was healthy for a minute");
            };
            assert!(at_ns - (live_ns + 60 * S) <= 125_000_000);
        }
    }

    #[test]
    fn a_minute_of_being_down_is_not_healthy() {
        let mut supervision = Supervision::new(7);
        let verdicts: Vec<_> = (0..5).map(|round| supervision.strike(round * 90 * S)).collect();
        assert_eq!(verdicts.last(), Some(&Verdict::Quarantine));
    }

    #[test]
    fn release_leaves_nothing_behind() {
        let mut supervision = Supervision::new(7);
        (0..5).for_each(|at| {
            supervision.strike(at);
        });
        supervision.release();
        assert!(matches!(supervision.strike(10), Verdict::Restart { at_ns } if at_ns <= 10 + 125_000_000));
    }

    proptest! {
        #[test]
        fn waits_stay_between_a_tenth_of_a_second_and_thirty_seconds(
            seed: u64,
            gaps in prop::collection::vec(0u64..400, 1..200),
            lives in prop::collection::vec(any::<bool>(), 200),
        ) {
            let mut supervision = Supervision::new(seed);
            let mut now_ns = 0;
            let mut strikes: Vec<u64> = Vec::new();
            for (gap, lives) in gaps.into_iter().zip(lives) {
                if lives {
                    supervision.live(now_ns);
                }
                now_ns += gap * S;
                if lives && gap >= 60 {
                    strikes.clear();
                }
                strikes.retain(|strike| now_ns - strike < 600 * S);
                strikes.push(now_ns);
                match supervision.strike(now_ns) {
                    Verdict::Restart { at_ns } => {
                        prop_assert!((S / 10..=30 * S).contains(&(at_ns - now_ns)));
                        prop_assert!(strikes.len() < 5);
                    }
                    Verdict::Quarantine => {
                        prop_assert!(strikes.len() >= 5, "five strikes in ten minutes, and no fewer");
                        supervision.release();
                        strikes.clear();
                    }
                    Verdict::AwaitsConfiguration => unreachable!("a strike is the version's own fault"),
                }
            }
        }
    }
}
