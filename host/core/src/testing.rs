//! How property tests run: few cases with the same seed each time, or with `AUTOBENCH_LONG=1` many cases with a new one, which is printed.

use proptest::test_runner::{Config, RngSeed};

/// Settings for a property test. `PROPTEST_RNG_SEED` repeats a run.
pub(crate) fn config(cases: u32, long_cases: u32) -> Config {
    let long = std::env::var_os("AUTOBENCH_LONG").is_some();
    let mut config = Config {
        cases: if long { long_cases } else { cases },
        failure_persistence: None,
        ..Config::default()
    };
    if config.rng_seed == RngSeed::Random {
        let seed = if long {
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |now| now.subsec_nanos().into())
        } else {
            1
        };
        config.rng_seed = RngSeed::Fixed(seed);
    }
    println!("{:?}, {} cases", config.rng_seed, config.cases);
    config
}
