//! What it costs to bring one patch to many sockets, beside a bare loop and beside what is usual.
//!
//! Five ways to the same clients, in turns in one run; the two that compress are compared with each other:
//!
//! - *bare*: one thread writes the same prebuilt frames to every socket, with one write per flush. Nothing can be faster without leaving
//!   sockets.
//! - *ours*: the daemon's own state, hub and HTTP server. Each frame is a change of the state by a thread of its own; it is applied, becomes a
//!   patch, a segment, and is written by the hub.
//! - *bare, coded* and *ours, deflate*: the same with permessage-deflate. The bare loop writes frames that were compressed beforehand; the daemon
//!   compresses once for all clients, and its last column says how many bytes a frame has on the wire.
//! - *tokio-tungstenite*: a task per client that takes messages from a broadcast channel and sends them; what most servers do.
//!
//! The clients are one thread of this process that reads all sockets and counts frames (`autobench::load::Swarm`). The next flush is
//! made while the last is being written: as soon as the first client has it. So each is written by itself, nobody is helped by falling behind,
//! and nobody has to be woken for each. (With `AUTOBENCH_LOCKSTEP=1`: when every client has it.) What is compared is deliveries per second
//! on the clock, and processor time without that of the clients, which a busy machine disturbs less. Behind the table of a case stands what the
//! budgets are about, with the budget.
//!
//! `cargo bench -p autobench --bench fanout [-- CLIENTS/FRAMES …]`; rounds: `AUTOBENCH_ROUNDS`; `AUTOBENCH_ONLY=ours` for a profile.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench that cannot go on has nothing to report"
)]

mod contenders;
#[path = "../common/daemon.rs"]
mod daemon;

use std::time::{Duration, Instant};

use contenders::{Bare, Contender, Ours, Shape, Tungstenite};
use rustix::time::{ClockId, clock_gettime};

/// Clients, and frames in one flush.
const CASES: [(usize, usize); 6] = [(1, 1), (1, 16), (100, 1), (100, 16), (1000, 1), (1000, 16)];
/// How long one turn of one contender takes, roughly.
const TURN: Duration = Duration::from_millis(200);
/// Nothing takes this long.
const STUCK: Duration = Duration::from_secs(20);

fn main() {
    // The thread that makes the changes is as a driver's is, and so is the bare loop, which is the same.
    autobench::sched::ask_for_short_turns();
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let rounds = std::env::var("AUTOBENCH_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(11);
    let only = std::env::var("AUTOBENCH_ONLY").ok();
    println!("deliveries per second, and processor time per delivery; medians of {rounds} rounds");
    println!(
        "{:>7} {:>6} {:<18} {:>12} {:>8} {:>10} {:>8} {:>10} {:>8}",
        "clients", "frames", "", "per second", "ratio", "cpu ns", "ratio", "per write", "bytes"
    );
    for (clients, frames) in CASES {
        if wanted.is_empty() || wanted.iter().any(|case| *case == format!("{clients}/{frames}")) {
            case(clients, frames, rounds, only.as_deref());
        }
    }
}

fn case(clients: usize, frames: usize, rounds: usize, only: Option<&str>) {
    let mut contenders: Vec<Box<dyn Contender>> = vec![
        Box::new(Bare::plain(clients, frames)),
        Box::new(Ours::new(clients, false)),
        Box::new(Bare::coded(clients, frames)),
        Box::new(Ours::new(clients, true)),
        Box::new(Tungstenite::new(clients)),
    ];
    contenders.retain(|contender| only.is_none_or(|only| contender.name() == only));
    let mut results: Vec<Vec<Turn>> = contenders.iter().map(|_| Vec::new()).collect();
    // A first turn says how many flushes fit into one, and warms up.
    let flushes: Vec<u64> = contenders
        .iter_mut()
        .map(|contender| {
            let trial = turn(&mut **contender, clients, frames, 50);
            let per_flush = trial.elapsed.as_secs_f64() / 50.0;
            ((TURN.as_secs_f64() / per_flush) as u64).max(20)
        })
        .collect();
    for _ in 0..rounds {
        for ((contender, results), flushes) in contenders.iter_mut().zip(&mut results).zip(&flushes) {
            results.push(turn(&mut **contender, clients, frames, *flushes));
        }
    }
    for (contender, turns) in contenders.iter().zip(&results) {
        let base = contenders
            .iter()
            .position(|rival| rival.is_coded() == contender.is_coded())
            .and_then(|base| results.get(base))
            .unwrap_or(turns);
        let shape = contender.shape();
        println!(
            "{clients:>7} {frames:>6} {:<18} {:>12.0} {:>8.3} {:>10.0} {:>8.3} {:>10} {:>8}",
            contender.name(),
            median(turns.iter().map(Turn::per_second)),
            ratio(turns, base, Turn::per_second),
            median(turns.iter().map(Turn::cpu_ns)),
            1.0 / ratio(turns, base, Turn::cpu_ns),
            told(shape.as_ref().map(|shape| shape.frames_per_write)),
            told(shape.as_ref().map(|shape| shape.bytes_per_frame)),
        );
    }
    let of = |name: &str| {
        let found = contenders
            .iter()
            .zip(&results)
            .find(|(contender, _)| contender.name() == name);
        found.map(|(contender, turns)| (&turns[..], contender.shape()))
    };
    if clients >= BUDGETED_CLIENTS
        && let (Some(bare), Some(ours), Some(coded), Some(deflate)) =
            (of(Bare::PLAIN), of(Ours::PLAIN), of(Bare::CODED), of(Ours::CODED))
    {
        budgets(bare.0, ours, coded.0, deflate);
    }
}

/// Budgets are for as many clients or more.
const BUDGETED_CLIENTS: usize = 100;

/// What the budgets are about, from turns that took turns with one another.
fn budgets(bare: &[Turn], ours: (&[Turn], Option<Shape>), coded: &[Turn], deflate: (&[Turn], Option<Shape>)) {
    let line = |what: &str, measured: String, budget: &str| {
        println!("{:>14} {what:<58} {measured:>13}   {budget}", "")
    };
    let beside = |ours: &[Turn], bare: &[Turn]| {
        let (rate, cpu) = (
            ratio(ours, bare, Turn::per_second),
            ratio(bare, ours, Turn::cpu_ns),
        );
        format!("{rate:.3}, {cpu:.3}")
    };
    line(
        "ours : bare, per second and by processor time",
        beside(ours.0, bare),
        "at least 0.9",
    );
    line(
        "ours, deflate : bare, coded",
        beside(deflate.0, coded),
        "at least 0.8",
    );
    line(
        "processor time, ours with deflate : ours",
        format!("{:.3}", ratio(deflate.0, ours.0, Turn::cpu_ns)),
        "at most 1.2",
    );
    if let (Some(plain), Some(deflate)) = (ours.1, deflate.1) {
        line(
            "bytes of a patch, plain and with deflate",
            format!("{:.1}, {:.1}", plain.bytes_per_frame, deflate.bytes_per_frame),
            "at most 30 of some 180",
        );
    }
}

/// The median of the ratios of turns that followed each other.
fn ratio(ours: &[Turn], base: &[Turn], of: fn(&Turn) -> f64) -> f64 {
    median(ours.iter().zip(base).map(|(ours, base)| of(ours) / of(base)))
}

fn told(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.1}"))
}

/// What one turn came to.
#[derive(Debug, Clone, Copy)]
struct Turn {
    deliveries: u64,
    elapsed: Duration,
    /// Without that of the clients.
    cpu: Duration,
}

impl Turn {
    fn per_second(&self) -> f64 {
        self.deliveries as f64 / self.elapsed.as_secs_f64()
    }

    fn cpu_ns(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.deliveries as f64
    }
}

fn turn(contender: &mut dyn Contender, clients: usize, frames: usize, flushes: u64) -> Turn {
    let per_flush = (clients * frames) as u64;
    let begin = contender.swarm().counts();
    let first = contender.swarm().first_frames();
    let window = if std::env::var_os("AUTOBENCH_LOCKSTEP").is_some() {
        0
    } else {
        1
    };
    let (cpu, start) = (process_cpu(), Instant::now());
    for flush in 0..flushes {
        let everywhere = begin.frames + flush.saturating_sub(window) * per_flush;
        let begun = first + flush * frames as u64;
        if !contender.swarm().wait(everywhere, begun, STUCK) {
            panic!("{} is stuck", contender.name());
        }
        contender.flush(frames);
    }
    if !contender
        .swarm()
        .wait_for(begin.frames + flushes * per_flush, STUCK)
    {
        panic!("{} is stuck", contender.name());
    }
    let elapsed = start.elapsed();
    let end = contender.swarm().counts();
    Turn {
        deliveries: end.frames - begin.frames,
        elapsed,
        cpu: (process_cpu() - cpu).saturating_sub(end.cpu - begin.cpu),
    }
}

fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
