//! `autobench plugin`: what can be done with drivers and their versions. One file per verb.

mod build;
mod kit;
mod new;
mod project;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Failure;
pub use build::BuildArguments;
pub use new::NewArguments;
pub use project::Language;

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
}

pub(super) fn plugin(arguments: &PluginArguments, json: bool) -> Result<ExitCode, Failure> {
    match &arguments.command {
        PluginCommand::New(new) => new::new(new, json)?,
        PluginCommand::Build(build) => build::build(build, json)?,
    }
    Ok(ExitCode::SUCCESS)
}
