//! `autobench serve` and `autobench demo`: read the configuration, say what is doubtful, hand over to the daemon.

use std::time::Duration;

use super::{BenchArguments, DemoArguments, Failure, drawn};
use crate::app::{AppOptions, DemoOptions};
use crate::config::{ConfigLoader, Environment, Waiting};

pub(super) fn serve(
    arguments: &BenchArguments,
    environment: Environment,
    json: bool,
    run: fn(AppOptions) -> anyhow::Result<()>,
) -> Result<(), Failure> {
    Ok(run(options(arguments, environment, json, None)?)?)
}

pub(super) fn demo(
    arguments: &DemoArguments,
    environment: Environment,
    json: bool,
    run: fn(AppOptions) -> anyhow::Result<()>,
) -> Result<(), Failure> {
    let demo = DemoOptions {
        for_duration: arguments.for_seconds.map(Duration::from_secs_f64),
        open: !arguments.no_open,
    };
    Ok(run(options(&arguments.bench, environment, json, Some(demo))?)?)
}

fn options(
    arguments: &BenchArguments,
    environment: Environment,
    json: bool,
    demo: Option<DemoOptions>,
) -> Result<AppOptions, Failure> {
    let loader = ConfigLoader::new(&arguments.config, environment, arguments.overrides());
    // One file that is gone must not take the other devices down with it, nor keep what was held from being undone.
    let config = loader.load_to_run(Waiting::Everybody)?;
    eprint!("{}", drawn(&config.warnings, &[]));
    Ok(AppOptions {
        config,
        loader,
        json,
        test_endpoints: arguments.test_endpoints,
        demo,
        load_control: arguments.load_control,
    })
}
