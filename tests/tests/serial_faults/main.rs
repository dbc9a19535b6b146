//! Random faults of the serial lines of three devices at once, with their real drivers, on the emulators of one simulated PC.
//!
//! Covered: after each fault the device streams, or is ready, within five seconds of its line being good; the log has at most one line for each
//! change of its phase; no button and no key moves that nobody asked for; and the meter's rows go on being read, each of them. Fifty faults, or a
//! thousand with `AUTOBENCH_LONG=1`. Each device has one fault at a time.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of a story: what is missing fails it"
)]

mod fault;
mod stall;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use autobench_sim::bench as sim;
use autobench_sim::bench::{Device, Entry};
use autobench_sim::frontpanel::Cause;
use autobench_sim::pc::machine::{Contact, Switch};
use e2e::{Bench, Daemon, DeviceEntry, Random, given_seed, is_long, new_seed};
use serde_json::json;

use fault::{Kind, Line};
use stall::Stalls;
use watch::{Log, Watch, Window};

/// How long a device may take to be back once its line is good, on a machine that does not stand still meanwhile.
const LIMIT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_fault_of_its_line_a_device_is_back_within_five_seconds() {
    let count = if is_long() { 1000 } else { 50 };
    let seed = given_seed().unwrap_or_else(new_seed);
    println!("seed {seed}");
    let (bench, desk) = set_up(seed);
    let daemon = bench.start();

    let lines = [
        (Device::PowerMeter, "meter", "streaming"),
        (Device::Atx, "panel", "ready"),
        (Device::Keyboard, "keyboard", "ready"),
    ];
    let control = desk.control();
    control
        .press_case(Duration::from_millis(200))
        .expect("the simulated bench runs");
    let stalls = Stalls::watch();
    let mut runs = Vec::new();
    for (index, (device, id, goal)) in lines.into_iter().enumerate() {
        let share = count / lines.len() + usize::from(index < count % lines.len());
        let line = Line::new(device, id, control.clone(), Random::new(seed + index as u64 + 1));
        runs.push(run(
            &stalls,
            line,
            Watch::new(daemon.client().await, id, goal),
            share,
        ));
    }
    let runs = futures_util::future::join_all(runs).await;

    check_times(&runs);
    for run in &runs {
        run.log.check_lines(run.cuts);
        run.log.check_others(&lines.map(|(_, id, _)| id));
    }
    check_edges(&control, runs.iter().map(|run| run.presses).sum());
    check_rows(&daemon, &control).await;
    assert!(daemon.stop().success());
}

/// A bench with the three devices of a simulated PC.
fn set_up(seed: u64) -> (Bench, sim::Bench) {
    let bench = Bench::new();
    let desk = bench.simulate_pc(|options| sim::Options {
        seed: Some(seed),
        // With a journal the rows of the meter are numbered.
        journal: Some(bench.folder().join("journal.jsonl")),
        ..options
    });
    let link = |device| desk.link(device).expect("its link");
    bench.configure(&[
        DeviceEntry {
            slice: "frontPanel".to_owned(),
            more: "[devices.panel.grants]\ndangerous-commands = [\"press\"]\n".to_owned(),
            ..DeviceEntry::new("panel", "atx", link(Device::Atx))
        },
        DeviceEntry {
            slice: "ps2Keyboard".to_owned(),
            more: "[devices.keyboard.grants]\nread-slices = [\"frontPanel\"]\n".to_owned(),
            ..DeviceEntry::new("keyboard", "keyboard", link(Device::Keyboard))
        },
        DeviceEntry::meter(link(Device::PowerMeter)),
    ]);
    (bench, desk)
}

/// What came of the faults of one line.
struct Run {
    windows: Vec<Window>,
    log: Log,
    /// How often a button was pressed, on purpose.
    presses: u64,
    /// How often the line was cut.
    cuts: usize,
}

/// So many faults of one line, one after the other.
async fn run(stalls: &Stalls, mut line: Line, mut watch: Watch, count: usize) -> Run {
    watch.until_back(&line).await;
    let mut windows = Vec::new();
    for number in 0..count {
        let kind = line.next_kind();
        let good = line.strike(kind, &mut watch).await;
        let back = watch.until_back_since(&line, good).await;
        let stalled = stalls.since(good.at);
        line.heal(&mut watch).await;
        windows.push(Window {
            id: watch.id(),
            kind,
            number,
            back,
            stalled,
        });
    }
    Run {
        windows,
        log: watch.finish(),
        presses: line.presses,
        cuts: line.cuts,
    }
}

fn check_times(runs: &[Run]) {
    let mut windows: Vec<_> = runs.iter().flat_map(|run| &run.windows).collect();
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    for window in &windows {
        *kinds.entry(window.kind).or_default() += 1;
    }
    let kinds: Vec<_> = kinds
        .iter()
        .map(|(kind, count)| format!("{} {count}", kind.name()))
        .collect();
    windows.sort_unstable_by_key(|window| window.back);
    let at = |share: usize| windows[(windows.len() - 1) * share / 100].back.as_millis();
    println!(
        "{} faults ({}): back after p50 {} p99 {} worst {} ms",
        windows.len(),
        kinds.join(", "),
        at(50),
        at(99),
        at(100)
    );
    let is_late = |window: &&&Window| window.back.saturating_sub(window.stalled) > LIMIT;
    let late: Vec<_> = windows.iter().filter(is_late).collect();
    assert!(late.is_empty(), "not back within {LIMIT:?}: {late:#?}");
}

/// Only the presses that were asked for closed a contact, and only that of the button which they were for; no key moved.
fn check_edges(control: &sim::Control, presses: u64) {
    let counts = counts(control);
    assert_eq!((counts.power_edges, counts.key_edges), (0, 0));
    assert!(
        counts.reset_edges <= 2 * presses,
        "{} edges of {presses} presses",
        counts.reset_edges
    );
    let journal = control.journal().expect("the simulated bench runs");
    let mut contact = Contact::Open;
    for edge in journal.iter().filter_map(Entry::edge) {
        assert_eq!(edge.switch, Switch::Reset, "{edge:?}");
        let may = match edge.contact {
            Contact::Closed => edge.cause == Cause::Command,
            Contact::Open => true,
        };
        assert!(may, "nobody asked for {edge:?}");
        contact = edge.contact;
    }
    assert_eq!(contact, Contact::Open, "a button is held");
}

fn counts(control: &sim::Control) -> sim::Counts {
    control.stats().expect("the simulated bench runs").counts
}

/// The rows that the meter sends now are read, each of them.
async fn check_rows(daemon: &Daemon, control: &sim::Control) {
    let before = counts(control).rows.newest_readable;
    let mut client = daemon.client().await;
    let energy = client.endpoint("meter", "energy");
    client.subscribe(&[energy]).await;
    let rows: Vec<u64> = client
        .until("five rows", |client| {
            let samples = client.samples.get(&energy)?.iter();
            let numbers = samples.map(|(_, value)| (value * 10.0).round() as u64);
            let fresh: Vec<_> = numbers.filter(|number| *number > before).collect();
            (fresh.len() >= 5).then_some(fresh)
        })
        .await;
    let expected: Vec<_> = (before + 1..).take(rows.len()).collect();
    assert_eq!(rows, expected);
    client
        .until_member("/devices/meter/phase", &json!("streaming"))
        .await;
}
