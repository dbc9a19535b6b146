//! `autobench sim`: an emulator as a process of its own.

use std::io::{self, BufReader, stdin, stdout};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use autobench_sim::bench::{self, Bench, Device};
use autobench_sim::board::BoardFaults;
use autobench_sim::wattsup::{ControlEnd, Emulator, FaultPlan, Options, Stats, run_control};
use clap::{Args, Subcommand};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{Announcer, Failure};

/// `autobench sim`.
#[derive(Debug, Args, PartialEq)]
pub struct SimArguments {
    /// Which device.
    #[command(subcommand)]
    pub device: SimCommand,
}

/// Devices that can be simulated.
#[derive(Debug, Subcommand, PartialEq)]
pub enum SimCommand {
    /// A Watts Up? PRO power meter in front of a simulated PC
    Wattsup(WattsupArguments),
    /// A PC with its power meter, its front-panel controller and its keyboard adapter, each on a port of its own
    Bench(SimBenchArguments),
    /// A front-panel controller in front of a simulated PC
    FrontPanel(SimBoardArguments),
    /// A keyboard adapter in front of a simulated PC
    Keyboard(SimBoardArguments),
}

/// `autobench sim wattsup`.
#[derive(Debug, Args, PartialEq)]
pub struct WattsupArguments {
    /// The link to the pseudo-terminal, for the port's `path`
    #[arg(long, value_name = "PATH")]
    pub link: PathBuf,
    /// Seed of noise and faults; without one a new one, which is printed
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// How many times faster than the real thing time passes
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// Faults to play in turn: `none`, `all`, or names with commas between; `all:50:20` gives each 50 rows and strikes 20 % of them
    #[arg(long, value_name = "FAULTS", default_value = "none", value_parser = FaultPlan::from_str)]
    pub fault: FaultPlan,
    /// File that gets one line per row: its number, whether its bytes were altered, how a driver should read it
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// Obey lines on standard input: pause, resume, unplug, replug, stats, fault FAULTS, quit; each is answered with a line of JSON
    #[arg(long)]
    pub control: bool,
}

/// `autobench sim bench`.
#[derive(Debug, Args, PartialEq)]
pub struct SimBenchArguments {
    /// Folder for the links to the pseudo-terminals: power-meter, atx and keyboard
    #[arg(long, value_name = "DIR")]
    pub folder: PathBuf,
    /// Faults of the power meter: `none`, `all`, or names with commas between; see `autobench sim wattsup --help`
    #[arg(long, value_name = "FAULTS", default_value = "none", value_parser = FaultPlan::from_str)]
    pub meter_fault: FaultPlan,
    /// Faults of the front-panel controller: `none`, `all`, or names with commas between, each with :PERCENT if wanted: stray, lost, late,
    /// garbage, reset, unplug
    #[arg(long, value_name = "FAULTS", default_value = "none", value_parser = BoardFaults::from_str)]
    pub atx_fault: BoardFaults,
    /// Faults of the keyboard adapter, of the same names
    #[arg(long, value_name = "FAULTS", default_value = "none", value_parser = BoardFaults::from_str)]
    pub keyboard_fault: BoardFaults,
    /// How it runs.
    #[command(flatten)]
    pub run: SimRun,
}

/// `autobench sim front-panel` and `autobench sim keyboard`.
#[derive(Debug, Args, PartialEq)]
pub struct SimBoardArguments {
    /// The link to the pseudo-terminal, for the port's `path`
    #[arg(long, value_name = "PATH")]
    pub link: PathBuf,
    /// Faults: `none`, `all`, or names with commas between, each with :PERCENT if wanted: stray, lost, late, garbage, reset, unplug
    #[arg(long, value_name = "FAULTS", default_value = "none", value_parser = BoardFaults::from_str)]
    pub fault: BoardFaults,
    /// How it runs.
    #[command(flatten)]
    pub run: SimRun,
}

/// How a simulated PC with its devices runs.
#[derive(Debug, Args, PartialEq)]
pub struct SimRun {
    /// Seed of noise and faults; without one a new one, which is printed
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// How many times faster than the real thing time passes
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// File that gets one line for each thing that happens: lines on the ports, edges on the PC's buttons with their causes, keys, rows
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// Obey lines on standard input: pause, resume, unplug DEVICE, replug DEVICE, reset DEVICE, say DEVICE TEXT, fault DEVICE FAULTS,
    /// press-case MS, press-local MS, screen, journal, stats, quit; each is answered with a line of JSON
    #[arg(long)]
    pub control: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.001..=10_000.0).contains(&speed) => Ok(speed),
        _ => Err("write a factor from 0.001 to 10000".into()),
    }
}

/// What obeys the lines on standard input, until somebody says `quit` or is gone.
type Steering = Box<dyn FnOnce() -> io::Result<ControlEnd> + Send>;

pub(super) fn sim(arguments: &SimArguments, json: bool) -> Result<(), Failure> {
    let announcer = Announcer::new(json);
    match &arguments.device {
        SimCommand::Wattsup(arguments) => wattsup(arguments, announcer),
        SimCommand::Bench(arguments) => whole_bench(arguments, announcer),
        SimCommand::FrontPanel(arguments) => board(Device::Atx, arguments, announcer),
        SimCommand::Keyboard(arguments) => board(Device::Keyboard, arguments, announcer),
    }
}

fn wattsup(arguments: &WattsupArguments, announcer: Announcer) -> Result<(), Failure> {
    let link = arguments.link.display();
    let options = Options {
        seed: arguments.seed,
        speed: arguments.speed,
        faults: arguments.fault.clone(),
        journal: arguments.journal.clone(),
        ..Options::new(&arguments.link)
    };
    let emulator =
        Emulator::start(options).with_context(|| format!("cannot make the emulator's link {link}"))?;
    let seed = emulator.seed();
    announcer.tell(
        &json!({ "event": "sim", "device": "wattsup", "link": emulator.link().display().to_string(), "seed": seed }),
        &format!("A Watts Up? PRO is simulated on {link} with seed {seed}; Ctrl-C ends it"),
    );
    let steering = arguments.control.then(|| {
        let control = emulator.control();
        Box::new(move || run_control(&control, BufReader::new(stdin()), stdout())) as Steering
    });
    run_until_asked_to_stop(steering)?;
    let stats = emulator.stop().context("the emulator has failed")?;
    announcer.tell(&summary_event(&stats), &summary(&stats));
    Ok(())
}

fn whole_bench(arguments: &SimBenchArguments, announcer: Announcer) -> Result<(), Failure> {
    let options = bench::Options {
        meter_faults: arguments.meter_fault.clone(),
        atx_faults: arguments.atx_fault.clone(),
        keyboard_faults: arguments.keyboard_fault.clone(),
        ..bench::Options::in_folder(&arguments.folder)
    };
    run_bench("bench", options, &arguments.run, announcer)
}

/// One board of the bench: the others are there, and nobody can open their ports.
fn board(device: Device, arguments: &SimBoardArguments, announcer: Announcer) -> Result<(), Failure> {
    let faults = |of: Device| {
        if of == device {
            arguments.fault.clone()
        } else {
            BoardFaults::none()
        }
    };
    let options = bench::Options {
        atx_faults: faults(Device::Atx),
        keyboard_faults: faults(Device::Keyboard),
        ..bench::Options::with_links([(device, arguments.link.clone())])
    };
    let name = match device {
        Device::Atx => "front-panel",
        Device::PowerMeter | Device::Keyboard => device.name(),
    };
    run_bench(name, options, &arguments.run, announcer)
}

fn run_bench(name: &str, options: bench::Options, run: &SimRun, announcer: Announcer) -> Result<(), Failure> {
    let bench = Bench::start(bench::Options {
        seed: run.seed,
        speed: run.speed,
        journal: run.journal.clone(),
        ..options
    })
    .context("cannot start the simulated bench")?;
    let seed = bench.seed();
    let links: serde_json::Map<String, serde_json::Value> = bench
        .links()
        .iter()
        .map(|(device, link)| (device.name().to_owned(), link.display().to_string().into()))
        .collect();
    let listed: Vec<String> = bench.links().iter().map(told).collect();
    announcer.tell(
        &json!({ "event": "sim", "device": name, "links": links, "seed": seed }),
        &format!(
            "A PC is simulated with seed {seed}, with {}; Ctrl-C ends it",
            listed.join(", ")
        ),
    );
    let steering = run.control.then(|| {
        let control = bench.control();
        Box::new(move || bench::run_control(&control, BufReader::new(stdin()), stdout())) as Steering
    });
    run_until_asked_to_stop(steering)?;
    let stats = bench.stop().context("the simulated bench has failed")?;
    let mut event = serde_json::to_value(&stats).unwrap_or_default();
    if let Some(event) = event.as_object_mut() {
        event.insert("event".into(), "sim-ended".into());
    }
    let counts = &stats.counts;
    announcer.tell(
        &event,
        &format!(
            "{} edges on the power switch, {} on the reset switch; {} keys down or up; {} rows",
            counts.power_edges, counts.reset_edges, counts.key_edges, counts.rows.rows
        ),
    );
    Ok(())
}

fn told((device, link): &(Device, PathBuf)) -> String {
    format!("{device} on {}", link.display())
}

fn run_until_asked_to_stop(steering: Option<Steering>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(until_asked_to_stop(steering))?;
    // A thread may still wait for a line on standard input; it ends with the process.
    runtime.shutdown_background();
    Ok(())
}

/// Returns on SIGINT or SIGTERM, and when whoever steers says `quit` or is gone.
async fn until_asked_to_stop(steering: Option<Steering>) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let steered = async {
        match steering {
            Some(steering) => {
                tokio::task::spawn_blocking(steering).await??;
                anyhow::Ok(())
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        ended = steered => ended,
    }
}

fn summary_event(stats: &Stats) -> serde_json::Value {
    let mut event = serde_json::to_value(stats).unwrap_or_default();
    if let Some(event) = event.as_object_mut() {
        event.insert("event".into(), "sim-ended".into());
    }
    event
}

fn summary(stats: &Stats) -> String {
    let tally = &stats.tally;
    format!(
        "{} rows: {} good, {} headless but good, {} lost",
        tally.rows, tally.good, tally.headless, tally.lost
    )
}
