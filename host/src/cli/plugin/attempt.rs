//! `autobench plugin try`: a candidate in the shadow of the version that runs.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use super::printable;
use crate::cli::Announcer;
use crate::cli::api::{Api, DaemonArguments};
use crate::driver::package::Package;

pub(super) const HELP: &str = "\
Both versions run in stores of their own, from the same checkpoint over the same bytes, and nothing that they ask for has an effect.

Exit codes:
  0  equal
  1  they differ, or there was no run
  2  the command line was wrong";

/// How much longer than the run itself its report is waited for: a large plugin is compiled first, when nobody else wants the processor.
const PATIENCE: Duration = Duration::from_secs(180);

/// `autobench plugin try`.
#[derive(Debug, Args, PartialEq)]
pub struct TryArguments {
    /// The candidate
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The device whose driver it is compared with
    #[arg(long, value_name = "ID")]
    pub device: String,
    /// How long live bytes are compared
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    pub seconds: f64,
    /// Let it run if it is equal: it takes the place of the plugin's file
    #[arg(long)]
    pub adopt: bool,
    /// Which daemon
    #[command(flatten)]
    pub daemon: DaemonArguments,
}

pub(super) fn attempt(arguments: &TryArguments, token: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    let package = Package::read(&arguments.file).with_context(|| arguments.file.display().to_string())?;
    let body = json!({
        "plugin": STANDARD.encode(&package.bytes),
        "seconds": arguments.seconds,
        "adopt": arguments.adopt,
    });
    let path = format!("/api/v1/devices/{}/shadow-runs", arguments.device);
    let patience = PATIENCE + Duration::from_secs_f64(arguments.seconds);
    let daemon = Api::new(&arguments.daemon, token)?;
    // A plugin is large: it is only sent where there is such a device.
    daemon.get(&format!("/api/v1/devices/{}", arguments.device))?;
    let mut report = daemon.ask(Method::POST, &path, Some(&body), patience)?.good()?;
    let text = in_words(&report);
    if let Some(members) = report.as_object_mut() {
        members.insert("event".to_owned(), "shadow-run".into());
    }
    Announcer::new(json).tell(&report, &printable(&text));
    Ok(match word(&report, "verdict") {
        "equal" => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn in_words(report: &Value) -> String {
    let version = |which: &str| {
        let version = report.get(which).unwrap_or(&Value::Null);
        let hash = word(version, "sha256");
        format!(
            "{} ({})",
            word(version, "version"),
            hash.get(..12).unwrap_or(hash)
        )
    };
    let verdict = match word(report, "verdict") {
        "equal" => "did the same".to_owned(),
        "differs" => "did something else".to_owned(),
        _ => word(report, "reason").to_owned(),
    };
    let mut text = format!(
        "{} beside {} on {}, over {} rows with {} bytes and {} samples: {verdict}.",
        version("candidate"),
        version("running"),
        word(report, "device"),
        number(report, "rows"),
        number(report, "bytes"),
        number(report, "samples"),
    );
    let differences = report.get("differences").and_then(Value::as_array);
    for difference in differences.into_iter().flatten() {
        let place = match difference.get("place").and_then(Value::as_str) {
            Some(place) => format!("{} {place}", word(difference, "in")),
            None => word(difference, "in").to_owned(),
        };
        let side = |which: &str| {
            difference
                .get(which)
                .map_or("nothing".to_owned(), Value::to_string)
        };
        text.push_str(&format!(
            "\n  row {} at byte {} ({}): {place} is {}, and {} in the candidate",
            number(difference, "row"),
            number(difference, "offset"),
            word(difference, "told"),
            side("running"),
            side("candidate"),
        ));
        let bytes = difference.get("text").or_else(|| difference.get("hex"));
        if let Some(bytes) = bytes {
            text.push_str(&format!("\n    {bytes}"));
        }
    }
    match number(report, "unlisted") {
        0 => {}
        more => text.push_str(&format!("\n  and {more} more")),
    }
    if report.get("adopted").and_then(Value::as_bool) == Some(true) {
        text.push_str("\nIt is adopted: the daemon takes it as a file that was saved.");
    }
    text
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err("write a number of seconds above 0 and at most 3600".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_row_its_bytes_and_both_readings() {
        let report = json!({
            "device": "meter", "verdict": "differs", "rows": 30, "bytes": 400, "samples": 29, "unlisted": 2, "adopted": false,
            "running": {"sha256": "00112233445566", "version": "1.0.0"},
            "candidate": {"sha256": "aabbccddeeff00", "version": "1.1.0"},
            "differences": [{
                "row": 7, "told": "bytes 80 to 88", "offset": 80, "text": "123.5\n", "in": "sample", "place": "watts",
                "running": [1.0, 123.5],
            }],
        });
        assert_eq!(
            in_words(&report),
            "1.1.0 (aabbccddeeff) beside 1.0.0 (001122334455) on meter, over 30 rows with 400 bytes and 29 samples: did something else.\n  \
             row 7 at byte 80 (bytes 80 to 88): sample watts is [1.0,123.5], and nothing in the candidate\n    \"123.5\\n\"\n  and 2 more"
        );
    }
}
