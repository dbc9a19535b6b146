//! The command line: what can be asked of `autobench`, and what it answers.
//!
//! Answers go to standard output, everything else to standard error. With `--json` every answer is one JSON object per line with a member
//! `event`. Exit codes: 0 done, 1 failed, 2 the command itself was wrong.

mod announce;
mod api;
mod arguments;
mod bench;
mod check;
mod explain;
mod link;
mod plugin;
mod send;
mod serve;
mod sim;
mod target;
mod token;
mod usage;
mod watch;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

use crate::app::AppOptions;
use crate::config::{Colour, ConfigErrors, Environment, Problem, Source};
use crate::driver::compile::Urgency;
use crate::driver::engine::DebugInfo;

pub use announce::Announcer;
pub use api::DaemonArguments;
pub use arguments::{
    Arguments, BenchArguments, BenchCommand, Command, DemoArguments, FanoutArguments, LogsArguments,
    SendArguments, TokenArguments, TokenCommand, WatchArguments,
};
pub use explain::listen_error;
pub use plugin::{
    BuildArguments, CheckArguments, DiffArguments, EnableArguments, GrantArguments, Language, ListArguments,
    NewArguments, PluginArguments, PluginCommand, Port, ReloadArguments, RollbackArguments, TestArguments,
    TryArguments,
};
pub use sim::{SimArguments, SimBenchArguments, SimBoardArguments, SimCommand, SimRun, WattsupArguments};

/// What the command line starts and does not know itself.
#[derive(Debug, Clone, Copy)]
pub struct Programs {
    /// Runs the daemon until it is asked to stop.
    pub serve: fn(AppOptions) -> anyhow::Result<()>,
    /// Compiles the plugin on standard input to standard output, as the daemon's child; its exit codes are between the two.
    pub compile: fn(Urgency, DebugInfo) -> ExitCode,
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is not good.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// Something else, for a person.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl Failure {
    fn code(&self) -> ExitCode {
        match self {
            Self::Other(error) if error.is::<usage::Wrong>() => ExitCode::from(usage::WRONG),
            Self::Config(_) | Self::Other(_) => ExitCode::FAILURE,
        }
    }
}

/// Reads the process's arguments and environment, and does what they ask.
pub fn main(programs: Programs) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage::end(&error),
    };
    let json = arguments.json;
    match run(arguments, Environment::of_process(), programs) {
        Ok(code) => code,
        Err(failure) => {
            tell(&failure, json);
            failure.code()
        }
    }
}

fn run(arguments: Arguments, environment: Environment, programs: Programs) -> Result<ExitCode, Failure> {
    let json = arguments.json;
    match arguments.command {
        Command::Serve(bench) => serve::serve(&bench, environment, json, programs.serve)?,
        Command::Demo(demo) => serve::demo(&demo, environment, json, programs.serve)?,
        Command::CheckConfig { file } => check::check(&file, environment, json)?,
        Command::Watch(watch) => watch::watch(&watch, environment.get("AUTOBENCH_TOKEN"), json)?,
        Command::Send(send) => return send::send(&send, environment.get("AUTOBENCH_TOKEN"), json),
        Command::Plugin(plugin) => return plugin::plugin(&plugin, environment, json),
        Command::Token(token) => token::token(&token, json),
        Command::Sim(sim) => sim::sim(&sim, json)?,
        Command::Bench { what } => bench::bench(&what, environment.get("AUTOBENCH_TOKEN"), json)?,
        Command::Compile { beside, debug_info } => {
            let urgency = if beside { Urgency::Beside } else { Urgency::Start };
            let debug_info = match debug_info {
                true => DebugInfo::Kept,
                false => DebugInfo::LeftOut,
            };
            return Ok((programs.compile)(urgency, debug_info));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(failure: &Failure, json: bool) {
    match failure {
        Failure::Config(errors) if json => {
            let problems: Vec<_> = errors.problems.iter().map(Problem::to_json).collect();
            Announcer::new(json)
                .say(&serde_json::json!({ "event": "config", "ok": false, "problems": problems }));
        }
        Failure::Config(errors) => {
            eprint!("{}", drawn(&errors.problems, &errors.sources));
            let count = errors.error_count();
            let things = if count == 1 { "one error" } else { "errors" };
            let number = if count == 1 {
                String::new()
            } else {
                format!("{count} ")
            };
            eprintln!("autobench: the configuration is not used: {number}{things}");
        }
        Failure::Other(error) if json => {
            Announcer::new(json)
                .say(&serde_json::json!({ "event": "error", "message": format!("{error:#}") }));
            eprintln!("autobench: {error:#}");
        }
        Failure::Other(error) => eprintln!("autobench: {error:#}"),
    }
}

/// Problems for standard error: drawn into their text on a terminal, one line each otherwise.
fn drawn(problems: &[Problem], sources: &[Source]) -> String {
    if !std::io::stderr().is_terminal() {
        return problems.iter().map(|problem| format!("{problem}\n")).collect();
    }
    let colour = match std::env::var_os("NO_COLOR") {
        Some(value) if !value.is_empty() => Colour::None,
        _ => Colour::Ansi,
    };
    crate::config::render(problems, sources, colour, 100)
}
