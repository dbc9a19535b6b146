//! `autobench plugin grant`: a person has seen what a version wants more than those before it, and lets it run.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use autobench_core::wire::PluginEntry;
use clap::Args;
use serde_json::json;

use super::printable;
use super::reload::order;
use crate::cli::api::{Api, DaemonArguments};

pub(super) const HELP: &str = "\
It only lets the version run. What that may reach is what plugins.toml gives it: a port, a slice or a dangerous command that is not named there is
answered `not-granted` as before. Later versions that want the same, or less, wait no more.

Exit codes:
  0  it runs on every device on which it waited
  1  it does not, or nothing waits; the version that ran goes on";

/// `autobench plugin grant`.
#[derive(Debug, Args, PartialEq)]
pub struct GrantArguments {
    /// The plugin: the name of a file in the plugin folder, without .wasm
    #[arg(value_name = "PLUGIN")]
    pub plugin: String,
    /// Consent only if this version waits; the first digits of its hash, at least eight
    #[arg(long, value_name = "HASH", value_parser = digits)]
    pub sha256: Option<String>,
    /// How long to wait for what comes of it, in seconds
    #[arg(long = "timeout", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout_s: u64,
    /// Which daemon.
    #[command(flatten)]
    pub daemon: DaemonArguments,
}

pub(super) fn grant(arguments: &GrantArguments, token: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    let api = Api::new(&arguments.daemon, token)?;
    let plugin = &arguments.plugin;
    let plugins: BTreeMap<String, PluginEntry> = serde_json::from_value(api.get("/api/v1/plugins")?)
        .context("the daemon answers something else than this autobench knows")?;
    let entry = plugins.get(plugin).ok_or_else(|| {
        anyhow!("there is no plugin {plugin:?}; `autobench plugin list` says which there are")
    })?;
    let Some(waiting) = &entry.waiting else {
        bail!("no version of {plugin} waits for consent");
    };
    if let Some(wanted) = &arguments.sha256
        && !waiting.sha256.starts_with(wanted)
    {
        bail!(
            "it is the version {} that waits; look at what it wants",
            waiting.sha256
        );
    }
    if !json {
        let text = format!(
            "{plugin} {} (version {}) wants more than the versions before it:",
            waiting.sha256.get(..12).unwrap_or_default(),
            waiting.version
        );
        eprintln!("{}", printable(&text));
        for want in &waiting.wants {
            eprintln!("  {}", printable(&want.words));
        }
    }
    // What was shown, and no other that has come since.
    let body = json!({ "sha256": waiting.sha256 });
    let path = format!("/api/v1/plugins/{plugin}/grant");
    order(&api, &path, &body, arguments.timeout_s, json)
}

fn digits(text: &str) -> Result<String, String> {
    let is_hash = (8..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_hash {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("write 8 to 64 hexadecimal digits".to_owned()),
    }
}
