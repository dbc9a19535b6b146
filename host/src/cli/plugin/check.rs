//! `autobench plugin check`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::described::{as_json, in_words};
use super::load::Bench;
use crate::cli::Announcer;

/// `autobench plugin check`.
#[derive(Debug, Args, PartialEq)]
pub struct CheckArguments {
    /// The plugin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

pub(super) fn check(arguments: &CheckArguments, json: bool) -> anyhow::Result<()> {
    let loaded = Bench::new()?.load(&arguments.file)?;
    let event = json!({ "event": "plugin", "file": arguments.file, "ok": true, "plugin": as_json(&loaded) });
    let text = format!(
        "{} fits the world autobench:driver@0.1.0.\n{}",
        arguments.file.display(),
        in_words(&loaded)
    );
    Announcer::new(json).tell(&event, &text);
    Ok(())
}
