//! `autobench sim`: an emulator as a process of its own.

use std::io::BufReader;

use anyhow::Context;
use autobench_sim::wattsup::{Control, Emulator, Options, Stats, run_control};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{Announcer, Failure, SimArguments, SimCommand, WattsupArguments};

pub(super) fn sim(arguments: &SimArguments, json: bool) -> Result<(), Failure> {
    match &arguments.device {
        SimCommand::Wattsup(arguments) => wattsup(arguments, Announcer::new(json)),
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
    let control = arguments.control.then(|| emulator.control());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(until_asked_to_stop(control))?;
    // A thread may still wait for a line on standard input; it ends with the process.
    runtime.shutdown_background();
    let stats = emulator.stop().context("the emulator has failed")?;
    announcer.tell(&summary_event(&stats), &summary(&stats));
    Ok(())
}

/// Returns on SIGINT or SIGTERM, and when whoever steers says `quit` or is gone.
async fn until_asked_to_stop(control: Option<Control>) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let steered = async {
        match control {
            Some(control) => {
                let obey = move || run_control(&control, BufReader::new(std::io::stdin()), std::io::stdout());
                tokio::task::spawn_blocking(obey).await??;
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
