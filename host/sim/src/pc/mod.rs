//! The simulated PC.
//!
//! ```text
//! switches, keys --> machine (power, boot, prompt) --stage--> Pc (watts) --> meter
//!                       |-- 5 V, disk light --> front panel
//!                       `-- PS/2 bytes --> keyboard
//! ```
//!
//! [`Pc`] is what an old desktop takes from the wall as a function of simulated time and a seed. By itself it boots, rests, runs a benchmark,
//! rests, and is then restarted for the next run; driven, it takes what its stage takes. It remembers nothing but that stage: a moment can be
//! asked for twice, or out of order, and answers the same. [`machine::Machine`] is the PC that somebody operates.

pub mod keys;
pub mod machine;
mod port;
mod prompt;
pub mod screen;

use crate::random::noise_at;
use std::time::Duration;

/// How long one boot takes.
const BOOT_S: f64 = 20.0;
/// Rest before the benchmark.
const REST_S: f64 = 15.0;
/// The benchmark: the parts of [`BENCHMARK`] together.
const BENCHMARK_S: f64 = 60.0;
/// Rest after it, before the next boot.
const COOL_S: f64 = 25.0;
/// From one boot to the next.
const CYCLE_S: f64 = BOOT_S + REST_S + BENCHMARK_S + COOL_S;

/// A part of the benchmark, with the load it puts on the PC.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// What it says it does.
    pub name: &'static str,
    /// How long it takes.
    pub seconds: f64,
    /// The share of the span between rest and full load, at the start of each round.
    pub load: f64,
    /// How much of that is gone at the end of a round.
    pub falls_by: f64,
    /// How long a round takes.
    pub round_s: f64,
    /// By how much the load trembles.
    pub tremble: f64,
    /// How often it does.
    pub tremble_hz: f64,
}

impl Part {
    /// The share of the span between rest and full load over the whole part.
    pub fn mean_load(&self) -> f64 {
        self.load - self.falls_by / 2.0
    }
}

/// The benchmark, part by part. Watts over a part are `idle_w + (peak_w - idle_w) * mean_load()`, give or take noise that is over in seconds.
///
/// | seconds | load |
/// |---|---|
/// | 0 to 3, loading | 0.20 |
/// | 3 to 25, arithmetic | 0.86 |
/// | 25 to 28, between two parts | 0.25 |
/// | 28 to 52, four scenes | each falls from 0.98 to 0.68 as its work thins out |
/// | 52 to 60, results | 0.30 |
pub const BENCHMARK: [Part; 5] = [
    Part {
        tremble: 0.1,
        tremble_hz: 1.5,
        ..Part::steady("Loading", 3.0, 0.2)
    },
    Part::steady("Arithmetic", 22.0, 0.86),
    Part::steady("Clearing up", 3.0, 0.25),
    Part {
        falls_by: 0.3,
        round_s: 6.0,
        ..Part::steady("Scenes", 24.0, 0.98)
    },
    Part {
        tremble: 0.15,
        tremble_hz: 2.0,
        ..Part::steady("Writing results", 8.0, 0.3)
    },
];

impl Part {
    const fn steady(name: &'static str, seconds: f64, load: f64) -> Self {
        Self {
            name,
            seconds,
            load,
            falls_by: 0.0,
            round_s: seconds,
            tremble: 0.0,
            tremble_hz: 1.0,
        }
    }
}

/// What kind of PC it is.
#[derive(Clone, Debug, PartialEq)]
pub struct PcOptions {
    /// Watts at rest.
    pub idle_w: f64,
    /// Watts under full load, before noise.
    pub peak_w: f64,
    /// Watts while it is off, for the supply's standby rail.
    pub standby_w: f64,
    /// Mains frequency in hertz.
    pub mains_hz: f64,
}

impl Default for PcOptions {
    fn default() -> Self {
        Self {
            idle_w: 46.0,
            peak_w: 118.0,
            standby_w: 3.2,
            mains_hz: 60.0,
        }
    }
}

/// What the PC is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Its supply gives nothing but standby power.
    Off,
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
    program: Program,
}

/// Who decides what the PC does.
#[derive(Clone, Copy, Debug)]
enum Program {
    /// It runs by itself, from boot to boot.
    Cycle,
    /// Somebody else, who says when a stage begins.
    Driven { stage: Stage, since: Duration },
}

impl Pc {
    /// The PC of a seed, which runs by itself.
    pub fn new(options: PcOptions, seed: u64) -> Self {
        Self {
            options,
            seed,
            program: Program::Cycle,
        }
    }

    /// The PC of a seed, which is off and then does what [`Pc::enter`] says.
    pub fn driven(options: PcOptions, seed: u64) -> Self {
        Self {
            program: Program::Driven {
                stage: Stage::Off,
                since: Duration::ZERO,
            },
            ..Self::new(options, seed)
        }
    }

    /// A stage begins, and whatever ran by itself ends.
    pub fn enter(&mut self, stage: Stage, since: Duration) {
        self.program = Program::Driven { stage, since };
    }

    /// What it is doing at a moment.
    pub fn stage(&self, at: Duration) -> Stage {
        if let Program::Driven { stage, .. } = self.program {
            return stage;
        }
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
        if self.stage(at) == Stage::Off {
            return self.standby(t);
        }
        let load = self.load(at).clamp(0.0, 1.1);
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

    /// A small switched supply with nothing behind it: little real power, and a current that leads.
    fn standby(&self, t: f64) -> Draw {
        let volts = (119.9 + 0.6 * self.noise(2, t, 0.05) + 0.25 * self.noise(3, t, 2.0)).clamp(118.0, 121.0);
        let watts = (self.options.standby_w + 0.05 * self.noise(0, t, 0.5)).max(0.0);
        let power_factor = 0.32;
        let volt_amperes = watts / power_factor;
        Draw {
            watts,
            volts,
            amps: volt_amperes / volts,
            power_factor,
            volt_amperes,
            hertz: self.options.mains_hz + 0.04 * self.noise(5, t, 0.1),
        }
    }

    /// The share of the span between rest and full load.
    fn load(&self, at: Duration) -> f64 {
        let stage = self.stage(at);
        // Since the stage began, and where in the noise that is.
        let (t, place) = match self.program {
            Program::Driven { since, .. } => (at.saturating_sub(since).as_secs_f64(), at.as_secs_f64()),
            Program::Cycle => {
                let t = at.as_secs_f64() % CYCLE_S;
                let start = if stage == Stage::Benchmark {
                    BOOT_S + REST_S
                } else {
                    0.0
                };
                (t - start, t)
            }
        };
        match stage {
            Stage::Off => 0.0,
            // Self test, with the disk's spin-up on top that dies away.
            Stage::Boot if t < 4.0 => 0.35 + 0.5 * (-(t - 0.5).powi(2) / 0.8).exp(),
            // Loading: bursts of work between waits for the disk.
            Stage::Boot => 0.30 + 0.22 * self.noise(6, place, 1.1).max(-0.6),
            // At rest, with a task that wakes up now and then.
            Stage::Idle if self.noise(7, place, 0.25) > 0.8 => 0.08,
            Stage::Idle => 0.01,
            Stage::Benchmark => self.benchmark_load(t, place),
        }
    }

    fn benchmark_load(&self, t: f64, place: f64) -> f64 {
        let mut start = 0.0;
        for part in BENCHMARK {
            if t < start + part.seconds {
                let round = ((t - start) % part.round_s) / part.round_s;
                let tremble = part.tremble * self.noise(6, place, part.tremble_hz);
                return part.load - part.falls_by * round + tremble;
            }
            start += part.seconds;
        }
        0.01
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
