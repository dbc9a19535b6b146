//! How long it takes until a client has it.
//!
//! - *serial*: a row of the power meter is written into a pseudo-terminal, and a client waits for the frame with its value. Once through the
//!   daemon as a user runs it, in a process of its own, with the driver as a component and the state; and through two native bridges that
//!   have neither, see `bridge`. Rows go to one after the other in turns, at random moments on an idle bench.
//! - *update*: the state changes, and 1, 100 or 1,000 sockets wait for the patch, beside a bare loop that writes to as many.
//! - *join*: a client connects to a bench with a document of 1 MB, and waits for the snapshot.
//!
//! All of it is waiting, so it wants an idle machine: the load average is printed first.
//!
//! `cargo demo --build-only && cargo bench -p autobench --bench latency [-- serial update join]`; rows and updates of each contender:
//! `AUTOBENCH_ROUNDS`; another folder of plugins: `AUTOBENCH_PLUGINS`; the moments of another run: `AUTOBENCH_SEED`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench that cannot go on has nothing to report"
)]

mod bridge;
#[path = "../common/daemon.rs"]
#[expect(dead_code, reason = "only the fan-out asks the hub what it has written")]
mod daemon;
mod join;
#[path = "../common/plugins.rs"]
mod plugins;
mod process;
mod serial;
#[path = "../common/serving.rs"]
mod serving;
mod update;

use std::time::Duration;

use autobench::load::{Latencies, Quantiles};
use autobench_sim::random::{Random, fresh_seed};

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == part);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let seed = number_from("AUTOBENCH_SEED").unwrap_or_else(fresh_seed);
    println!("load average {}; AUTOBENCH_SEED={seed}", load.trim());
    let mut pauses = Pauses(Random::new(seed));
    let rounds = number_from("AUTOBENCH_ROUNDS").and_then(|rounds| usize::try_from(rounds).ok());
    if is_wanted("serial") {
        serial::run(rounds.unwrap_or(1000), &mut pauses);
    }
    if is_wanted("update") {
        update::run(rounds.unwrap_or(500), &mut pauses);
    }
    if is_wanted("join") {
        join::run(rounds.unwrap_or(50));
    }
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Moments that are in step with nothing.
struct Pauses(Random);

impl Pauses {
    /// Lets a random time pass, so that everything that the last round woke is asleep again, and no round begins at a moment that a timer of the
    /// daemon's has chosen.
    fn pause_us(&mut self, least: usize, most: usize) {
        std::thread::sleep(Duration::from_micros(self.0.between(least, most) as u64));
    }
}

fn head(title: &str) {
    println!(
        "\n{title}\n{:<44} {:>9} {:>9} {:>9} {:>9}",
        "", "p50 µs", "p90", "p99", "max"
    );
}

/// Prints a line, and gives what it says.
fn line(what: &str, latencies: Latencies) -> Quantiles {
    let q = latencies.quantiles().unwrap();
    println!(
        "{what:<44} {:>9.1} {:>9.1} {:>9.1} {:>9.1}",
        q.p50_us, q.p90_us, q.p99_us, q.max_us
    );
    q
}

fn ratio(what: &str, ours: &Quantiles, base: &Quantiles, budget: &str) {
    println!(
        "{what:<44} {:>9.2} {:>9.2} {:>9.2} {:>9.2}   {budget}",
        ours.p50_us / base.p50_us,
        ours.p90_us / base.p90_us,
        ours.p99_us / base.p99_us,
        ours.max_us / base.max_us
    );
}
