//! Chance that can be repeated.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A generator whose every step follows from its seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    #[expect(
        clippy::should_implement_trait,
        reason = "it never ends, and nobody wants it as an iterator"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below a bound; 0 if the bound is.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// Whether it happens this time, of `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Noise.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// A time of so many milliseconds.
    pub fn ms(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.next() % (to - from))
    }
}

/// Whether the full counts are asked for: `AUTOBENCH_LONG=1`.
pub fn is_long() -> bool {
    std::env::var_os("AUTOBENCH_LONG").is_some_and(|value| value == "1")
}

/// The seed that is to be repeated, if one is given: `AUTOBENCH_SEED=n`.
pub fn given_seed() -> Option<u64> {
    let text = std::env::var("AUTOBENCH_SEED").ok()?;
    Some(text.parse().expect("AUTOBENCH_SEED is a number"))
}

/// A seed that was hardly ever used before.
pub fn new_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_nanos() as u64 % 1_000_000_000_000
}

/// How long a campaign over seeds takes where the full counts are asked for.
const LONG: Duration = Duration::from_secs(600);

/// One seed after another: so many of them, the same each time; or, with `AUTOBENCH_LONG=1`, from a new one for ten minutes. Begins with the seed
/// that is given, if one is, and prints with which.
#[derive(Debug)]
pub struct Seeds {
    next: u64,
    left: usize,
    end: Option<Instant>,
}

impl Seeds {
    /// The seeds of a campaign.
    pub fn new(name: &str, count: usize) -> Self {
        let is_long = is_long();
        let next = given_seed().unwrap_or_else(|| if is_long { new_seed() } else { 1 });
        println!("{name}: from seed {next}");
        Self {
            next,
            left: count,
            end: is_long.then(|| Instant::now() + LONG),
        }
    }
}

impl Iterator for Seeds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let goes_on = match self.end {
            Some(end) => Instant::now() < end,
            None => self.left > 0,
        };
        self.left = self.left.saturating_sub(1);
        let seed = self.next;
        self.next += 1;
        goes_on.then_some(seed)
    }
}
