//! `autobench plugin`: what can be done with drivers and their versions. One file per verb.

mod ask;
mod attempt;
mod build;
mod check;
mod described;
mod diff;
mod enable;
mod grant;
mod kit;
mod list;
mod load;
mod new;
mod project;
mod reload;
mod test;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Failure;
use crate::config::Environment;
pub(super) use ask::ask;
pub use attempt::TryArguments;
pub use build::BuildArguments;
pub use check::CheckArguments;
pub use diff::DiffArguments;
pub use enable::{EnableArguments, Port};
pub use grant::GrantArguments;
pub use list::ListArguments;
pub use new::NewArguments;
pub use project::Language;
pub use reload::{ReloadArguments, RollbackArguments};
pub use test::TestArguments;

/// `autobench plugin`.
#[derive(Debug, Args, PartialEq)]
pub struct PluginArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: PluginCommand,
}

/// What can be done with plugins.
#[derive(Debug, Subcommand, PartialEq)]
pub enum PluginCommand {
    /// Begin a driver: make a folder that builds and whose tests pass
    #[command(after_help = new::HELP)]
    New(NewArguments),
    /// Build the driver in a folder into a .wasm file
    #[command(after_help = build::HELP)]
    Build(BuildArguments),
    /// Say whether a file is a driver, what it is, and what it wants to be granted
    Check(CheckArguments),
    /// Say what another version of a driver changes: what it is, what it wants, its size
    Diff(DiffArguments),
    /// Play a port's capture to a driver, without a daemon
    #[command(after_help = test::HELP)]
    Test(TestArguments),
    /// Run another version beside the one that runs on a device, without any effect, and say in what they differ
    #[command(after_help = attempt::HELP)]
    Try(TryArguments),
    /// Say which plugins there are, and what runs on which device
    List(ListArguments),
    /// Bind a plugin to a new device: write its entry to plugins.toml
    #[command(after_help = enable::HELP)]
    Enable(EnableArguments),
    /// Try the newest file of a plugin again, and leave quarantine
    #[command(after_help = reload::HELP)]
    Reload(ReloadArguments),
    /// Consent to what a version wants more than those before it
    #[command(after_help = grant::HELP)]
    Grant(GrantArguments),
    /// Go back to the good version that a device ran before
    #[command(after_help = reload::ROLLBACK_HELP)]
    Rollback(RollbackArguments),
}

pub(super) fn plugin(
    arguments: &PluginArguments,
    environment: Environment,
    json: bool,
) -> Result<ExitCode, Failure> {
    // For a daemon that wants one.
    let token = environment.get("AUTOBENCH_TOKEN").map(str::to_owned);
    let token = token.as_deref();
    match &arguments.command {
        PluginCommand::New(new) => new::new(new, json)?,
        PluginCommand::Build(build) => build::build(build, json)?,
        PluginCommand::Check(check) => check::check(check, json)?,
        PluginCommand::Diff(diff) => diff::diff(diff, json)?,
        PluginCommand::Test(test) => return Ok(test::test(test, json)?),
        PluginCommand::Try(attempt) => return Ok(attempt::attempt(attempt, token, json)?),
        PluginCommand::List(list) => list::list(list, token, json)?,
        PluginCommand::Enable(enable) => enable::enable(enable, environment, json)?,
        PluginCommand::Reload(reload) => return Ok(reload::reload(reload, token, json)?),
        PluginCommand::Grant(grant) => return Ok(grant::grant(grant, token, json)?),
        PluginCommand::Rollback(rollback) => return Ok(reload::roll_back(rollback, token, json)?),
    }
    Ok(ExitCode::SUCCESS)
}

/// Texts of drivers for a terminal: what would move its cursor or worse is shown as a question mark.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}
