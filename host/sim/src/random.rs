//! Randomness that a seed repeats on every machine and with every compiler: SplitMix64, an addition and two multiplications per number.
//! Faults and noise need no better, and a failing run must come back from the number that it printed.

use std::hash::{BuildHasher, Hasher};

/// A stream of numbers from a seed.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number, every value equally likely.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// A number below `bound`; 0 for a bound of 0. The modulo's bias is far below what a fault could show.
    pub fn below(&mut self, bound: usize) -> usize {
        match u64::try_from(bound) {
            Ok(bound) if bound > 0 => usize::try_from(self.next_u64() % bound).unwrap_or(0),
            _ => 0,
        }
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in `percent` of the cases.
    pub fn percent(&mut self, percent: u8) -> bool {
        self.below(100) < usize::from(percent)
    }

    /// One of the items; the fall-back if there is none.
    pub fn pick<T: Copy>(&mut self, items: &[T], fallback: T) -> T {
        items.get(self.below(items.len())).copied().unwrap_or(fallback)
    }
}

/// A seed that differs from run to run, for a run that was given none.
pub fn fresh_seed() -> u64 {
    // The standard library keys its hash maps from the system's randomness; an empty hash hands that on without another dependency.
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}

/// A number between -1 and 1 that belongs to a place in a table nobody has to store.
pub(crate) fn noise_at(seed: u64, lane: u64, index: u64) -> f64 {
    let key = mix(seed ^ mix(lane.wrapping_mul(0xA076_1D64_78BD_642F) ^ mix(index)));
    // 53 bits are what a double holds exactly.
    (key >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_splitmix64() {
        // The published first outputs for seed 1234567.
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn bounds_hold_and_both_ends_are_reached() {
        let mut random = Random::new(7);
        let drawn: std::collections::BTreeSet<usize> = (0..1000).map(|_| random.between(3, 6)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), vec![3, 4, 5, 6]);
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn noise_stays_within_one() {
        for index in 0..10_000 {
            let value = noise_at(3, 1, index);
            assert!((-1.0..=1.0).contains(&value), "{value}");
        }
    }
}
