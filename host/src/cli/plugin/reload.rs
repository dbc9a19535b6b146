//! `autobench plugin reload` and `rollback`: which version runs, decided by a person. Both wait for what comes of it.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::printable;
use crate::cli::Announcer;
use crate::cli::api::{ANSWER_WAIT, Api, DaemonArguments};
use crate::cli::usage::wrong;
use crate::driver::desk::{Outcome, Verdict};

pub(super) const HELP: &str = "\
Where a device and a plugin have the same name, the device is meant.

Exit codes:
  0  the newest file runs, or is good and no device names it
  1  it does not, the daemon does not answer, or the time was over first; the version that ran goes on";

pub(super) const ROLLBACK_HELP: &str = "\
The version that ran is set aside: its file comes back with `autobench plugin reload`, or when it is saved again, and not before; nor does it after a
restart of the daemon.

Exit codes:
  0  the earlier version runs
  1  it does not, or there is none; the version that ran goes on";

/// `autobench plugin reload`.
#[derive(Debug, Args, PartialEq)]
pub struct ReloadArguments {
    /// A device, or a plugin by the name of its file without .wasm
    #[arg(value_name = "DEVICE|PLUGIN")]
    pub whom: String,
    /// Offer a version again that was refused, too
    #[arg(long)]
    pub force: bool,
    /// How long to wait for what comes of it, in seconds
    #[arg(long = "timeout", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout_s: u64,
    /// Which daemon.
    #[command(flatten)]
    pub daemon: DaemonArguments,
}

/// `autobench plugin rollback`.
#[derive(Debug, Args, PartialEq)]
pub struct RollbackArguments {
    /// The device
    #[arg(value_name = "DEVICE")]
    pub device: String,
    /// How long to wait for what comes of it, in seconds
    #[arg(long = "timeout", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout_s: u64,
    /// Which daemon.
    #[command(flatten)]
    pub daemon: DaemonArguments,
}

#[derive(Debug, Deserialize)]
struct Outcomes {
    outcomes: Vec<Outcome>,
}

pub(super) fn reload(
    arguments: &ReloadArguments,
    token: Option<&str>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let api = Api::new(&arguments.daemon, token)?;
    let whom = &arguments.whom;
    let has = |path: &str| -> anyhow::Result<bool> {
        let all: BTreeMap<String, Value> = serde_json::from_value(api.get(path)?)
            .context("the daemon answers something else than this autobench knows")?;
        Ok(all.contains_key(whom))
    };
    let path = if has("/api/v1/devices")? {
        format!("/api/v1/devices/{whom}/reload")
    } else if has("/api/v1/plugins")? {
        format!("/api/v1/plugins/{whom}/reload")
    } else {
        bail!("there is no device and no plugin {whom:?}; `autobench plugin list` says which there are");
    };
    let body = json!({ "force": arguments.force });
    order(&api, &path, &body, arguments.timeout_s, json)
}

pub(super) fn roll_back(
    arguments: &RollbackArguments,
    token: Option<&str>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let device = &arguments.device;
    if !device
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    {
        return Err(wrong(anyhow!(
            "{device:?} is no name of a device; `autobench plugin list` says which there are"
        )));
    }
    let path = format!("/api/v1/devices/{device}/rollback");
    let api = Api::new(&arguments.daemon, token)?;
    order(&api, &path, &json!({}), arguments.timeout_s, json)
}

pub(super) fn order(
    api: &Api,
    path: &str,
    body: &Value,
    timeout_s: u64,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let path = format!("{path}?wait={}", timeout_s * 1000);
    let patience = Duration::from_secs(timeout_s) + ANSWER_WAIT;
    let answered = api.ask(Method::POST, &path, Some(body), patience)?;
    let is_under_way = answered.status == StatusCode::ACCEPTED;
    let Outcomes { outcomes } = serde_json::from_value(answered.good()?)
        .context("the daemon answers something else than this autobench knows")?;
    if is_under_way {
        bail!("it is still under way after {timeout_s} s; `autobench plugin list` says what comes of it");
    }
    let announcer = Announcer::new(json);
    for outcome in &outcomes {
        announcer.tell(&as_json(outcome)?, &printable(&as_text(outcome)));
    }
    let is_good = outcomes.iter().all(|outcome| outcome.verdict.is_good());
    Ok(match is_good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn as_json(outcome: &Outcome) -> anyhow::Result<Value> {
    let mut value = serde_json::to_value(outcome)?;
    if let Some(members) = value.as_object_mut() {
        members.insert("event".to_owned(), "reload".into());
    }
    Ok(value)
}

fn as_text(outcome: &Outcome) -> String {
    let whom = outcome.device.as_ref().unwrap_or(&outcome.plugin);
    let what = match outcome.verdict {
        Verdict::Swapped => "runs another version, from the former one's snapshot",
        Verdict::Cold => "runs another version, from nothing",
        Verdict::Started => "runs",
        Verdict::Released => "runs again",
        Verdict::Unchanged => "ran it already",
        Verdict::Unbound => "is good, and no device names it",
        Verdict::Refused => "refused",
        Verdict::WaitingForConsent => "waits for consent; `autobench plugin grant` gives it",
        Verdict::Down => "broke down",
    };
    let mut text = format!("{whom}: {what}");
    let hash = |hash: &Option<String>| {
        let short = hash.as_deref().and_then(|hash| hash.get(..12));
        short.map(str::to_owned)
    };
    if let Some(to) = hash(&outcome.to) {
        let before = match hash(&outcome.from) {
            Some(from) if from != to => format!("{from} -> "),
            _ => String::new(),
        };
        let version = outcome
            .version
            .as_ref()
            .map(|version| format!(" (version {version})"))
            .unwrap_or_default();
        let verb = match outcome.verdict {
            Verdict::Refused | Verdict::WaitingForConsent => "; what runs is ",
            _ => ", ",
        };
        text.push_str(&format!("{verb}{before}{to}{version}"));
    }
    if let Some(pause_us) = outcome.pause_us {
        text.push_str(&format!(", paused {pause_us} µs"));
    }
    if let Some(reason) = &outcome.reason {
        text.push_str(&format!(": {reason}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(verdict: Verdict) -> Outcome {
        Outcome {
            plugin: "counter".to_owned(),
            device: Some("probe".to_owned()),
            verdict,
            from: Some("ab".repeat(32)),
            to: Some("cd".repeat(32)),
            version: Some("2.0.0".to_owned()),
            reason: None,
            pause_us: None,
            carried_bytes: None,
        }
    }

    #[test]
    fn what_came_of_it_is_one_line() {
        let swapped = Outcome {
            pause_us: Some(120),
            ..outcome(Verdict::Swapped)
        };
        assert_eq!(
            as_text(&swapped),
            "probe: runs another version, from the former one's snapshot, abababababab -> cdcdcdcdcdcd (version 2.0.0), paused 120 µs"
        );
        let refused = Outcome {
            to: Some("ab".repeat(32)),
            reason: Some("no".to_owned()),
            ..outcome(Verdict::Refused)
        };
        assert_eq!(
            as_text(&refused),
            "probe: refused; what runs is abababababab (version 2.0.0): no"
        );
        assert_eq!(as_json(&refused).unwrap()["verdict"], "refused");
    }
}
