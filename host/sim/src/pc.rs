//! The simulated PC: what an old desktop takes from the wall as a function of simulated time and a seed.
//!
//! It boots, rests, runs a benchmark, rests, and is then restarted for the next run. Nothing here remembers anything: a moment can be asked
//! for twice, or out of order, and answers the same.

use crate::random::noise_at;
use std::time::Duration;

/// How long one boot takes.
const BOOT_S: f64 = 20.0;
/// Rest before the benchmark.
const REST_S: f64 = 15.0;
/// The benchmark.
const BENCHMARK_S: f64 = 60.0;
/// Rest after it, before the next boot.
const COOL_S: f64 = 25.0;
/// From one boot to the next.
const CYCLE_S: f64 = BOOT_S + REST_S + BENCHMARK_S + COOL_S;

/// What kind of PC it is.
#[derive(Clone, Debug, PartialEq)]
pub struct PcOptions {
    /// Watts at rest.
    pub idle_w: f64,
    /// Watts under full load, before noise.
    pub peak_w: f64,
    /// Mains frequency in hertz.
    pub mains_hz: f64,
}

impl Default for PcOptions {
    fn default() -> Self {
        Self {
            idle_w: 46.0,
            peak_w: 118.0,
            mains_hz: 60.0,
        }
    }
}

/// What the PC is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Power-on self test, disk spin-up, loading the system.
    Boot,
    /// Nothing runs.
    Idle,
    /// The benchmark runs.
    Benchmark,
}

/// What the PC takes from the wall at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Real power in watts.
    pub watts: f64,
    /// Mains voltage.
    pub volts: f64,
    /// Current in amperes.
    pub amps: f64,
    /// Real by apparent power, 0 to 1.
    pub power_factor: f64,
    /// Apparent power in volt-amperes.
    pub volt_amperes: f64,
    /// Mains frequency in hertz.
    pub hertz: f64,
}

/// A PC with its noise.
#[derive(Clone, Debug)]
pub struct Pc {
    options: PcOptions,
    seed: u64,
}

impl Pc {
    /// The PC of a seed.
    pub fn new(options: PcOptions, seed: u64) -> Self {
        Self { options, seed }
    }

    /// What it is doing at a moment.
    pub fn stage(&self, at: Duration) -> Stage {
        let t = at.as_secs_f64() % CYCLE_S;
        if t < BOOT_S {
            Stage::Boot
        } else if (BOOT_S + REST_S..BOOT_S + REST_S + BENCHMARK_S).contains(&t) {
            Stage::Benchmark
        } else {
            Stage::Idle
        }
    }

    /// What it takes from the wall at a moment.
    pub fn draw(&self, at: Duration) -> Draw {
        let t = at.as_secs_f64();
        let load = self.load(t % CYCLE_S).clamp(0.0, 1.1);
        let span = self.options.peak_w - self.options.idle_w;
        let watts = (self.options.idle_w
            + span * load
            + 1.2 * self.noise(0, t, 3.0)
            + 0.06 * span * load * self.noise(1, t, 1.3))
        .max(1.0);
        // The mains wander by themselves, and sag a little under the load.
        let volts = (119.9 + 0.6 * self.noise(2, t, 0.05) + 0.25 * self.noise(3, t, 2.0) - 0.5 * load)
            .clamp(118.0, 121.0);
        // A supply without correction looks better the harder it works.
        let power_factor = (0.62 + 0.07 * load + 0.006 * self.noise(4, t, 0.8)).clamp(0.1, 1.0);
        let volt_amperes = watts / power_factor;
        let hertz = self.options.mains_hz + 0.04 * self.noise(5, t, 0.1);
        Draw {
            watts,
            volts,
            amps: volt_amperes / volts,
            power_factor,
            volt_amperes,
            hertz,
        }
    }

    /// The share of the span between rest and full load, `t` seconds after power-on.
    fn load(&self, t: f64) -> f64 {
        let bench = t - BOOT_S - REST_S;
        if t < 4.0 {
            // Self test, with the disk's spin-up on top that dies away.
            0.35 + 0.5 * (-(t - 0.5).powi(2) / 0.8).exp()
        } else if t < BOOT_S {
            // Loading: bursts of work between waits for the disk.
            0.30 + 0.22 * self.noise(6, t, 1.1).max(-0.6)
        } else if !(0.0..BENCHMARK_S).contains(&bench) {
            // At rest, with a task that wakes up now and then.
            if self.noise(7, t, 0.25) > 0.8 { 0.08 } else { 0.01 }
        } else if bench < 3.0 {
            // The benchmark loads.
            0.2 + 0.1 * self.noise(6, t, 1.5)
        } else if bench < 25.0 {
            // Arithmetic: a plateau.
            0.86
        } else if bench < 28.0 {
            // Between two parts.
            0.25
        } else if bench < 52.0 {
            // Scenes: each starts high and falls as its work thins out.
            0.98 - 0.3 * ((bench - 28.0) % 6.0) / 6.0
        } else {
            // Results are written.
            0.3 + 0.15 * self.noise(6, t, 2.0)
        }
    }

    /// Noise between -1 and 1 that changes `rate_hz` times a second, without steps in between.
    fn noise(&self, lane: u64, t: f64, rate_hz: f64) -> f64 {
        let position = (t * rate_hz).max(0.0);
        let index = position.floor();
        let part = position - index;
        let smooth = part * part * (3.0 - 2.0 * part);
        let from = noise_at(self.seed, lane, index as u64);
        let to = noise_at(self.seed, lane, index as u64 + 1);
        from + (to - from) * smooth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_w(pc: &Pc, stage: Stage) -> f64 {
        let moments = (0..12_000u64)
            .map(|n| Duration::from_millis(n * 10))
            .filter(|at| pc.stage(*at) == stage);
        let watts: Vec<f64> = moments.map(|at| pc.draw(at).watts).collect();
        watts.iter().sum::<f64>() / watts.len() as f64
    }

    #[test]
    fn a_seed_gives_the_same_draw_and_another_seed_another() {
        let (a, b, c) = (
            Pc::new(PcOptions::default(), 1),
            Pc::new(PcOptions::default(), 1),
            Pc::new(PcOptions::default(), 2),
        );
        let at = Duration::from_millis(41_300);
        assert_eq!(a.draw(at), b.draw(at));
        assert_ne!(a.draw(at), c.draw(at));
    }

    #[test]
    fn rest_is_below_boot_and_boot_below_the_benchmark() {
        let pc = Pc::new(PcOptions::default(), 11);
        let (idle, boot, benchmark) = (
            mean_w(&pc, Stage::Idle),
            mean_w(&pc, Stage::Boot),
            mean_w(&pc, Stage::Benchmark),
        );
        assert!(
            idle + 5.0 < boot && boot + 15.0 < benchmark,
            "idle {idle} W, boot {boot} W, benchmark {benchmark} W"
        );
    }

    #[test]
    fn every_moment_is_physical() {
        for seed in 0..20 {
            let pc = Pc::new(PcOptions::default(), seed);
            for n in 0..3000 {
                let draw = pc.draw(Duration::from_millis(n * 97));
                assert!((118.0..=121.0).contains(&draw.volts), "{draw:?}");
                assert!((1.0..200.0).contains(&draw.watts), "{draw:?}");
                assert!((0.5..=1.0).contains(&draw.power_factor), "{draw:?}");
                assert!(
                    (draw.volts * draw.amps - draw.volt_amperes).abs() < 1e-6,
                    "{draw:?}"
                );
                assert!(
                    (draw.volt_amperes * draw.power_factor - draw.watts).abs() < 1e-6,
                    "{draw:?}"
                );
            }
        }
    }

    #[test]
    fn watts_change_from_second_to_second() {
        let pc = Pc::new(PcOptions::default(), 5);
        let tenths: Vec<i64> = (0..120)
            .map(|s| (pc.draw(Duration::from_secs(s)).watts * 10.0) as i64)
            .collect();
        let still = tenths.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(still < 12, "{still} of 120 seconds repeat the one before");
    }
}
