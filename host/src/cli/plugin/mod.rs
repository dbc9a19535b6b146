//! `autobench plugin`: what can be done with drivers and their versions. One file per verb.

mod build;
mod enable;
mod grant;
mod kit;
mod list;
mod new;
mod project;
mod reload;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Failure;
use crate::config::Environment;
pub use build::BuildArguments;
pub use enable::{EnableArguments, Port};
pub use grant::GrantArguments;
pub use list::ListArguments;
pub use new::NewArguments;
pub use project::Language;
pub use reload::{ReloadArguments, RollbackArguments};

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
