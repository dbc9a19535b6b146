//! `autobench plugin test`: a capture played to a driver, and what it does held against a golden file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use autobench_core::capture::{Capture, Record, What};
use autobench_core::driver::offline::difference::differences;
use clap::Args;
use serde_json::{Value, json};

use super::described::size;
use super::load::{Bench, Loaded};
use super::printable;
use crate::cli::Announcer;
use crate::driver::offline::{Play, Played, Player, profile};

pub(super) const HELP: &str = "\
Time is that of the capture: timers run out between two records, each at its own time. What the driver writes goes nowhere.

Exit codes:
  0  played; the driver did what the golden file says, where one is given
  1  it did something else, broke down without a golden file that says so, or keeps its slice otherwise than its own schema says
  2  the command line was wrong";

/// How long a profiled driver is at work at least.
const PROFILED: Duration = Duration::from_secs(2);

/// Largest capture.
const CAPTURE_LIMIT_BYTES: u64 = 1 << 30;

/// `autobench plugin test`.
#[derive(Debug, Args, PartialEq)]
pub struct TestArguments {
    /// The plugin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The capture of its port
    #[arg(long, value_name = "FILE")]
    pub capture: PathBuf,
    /// What the driver is to do, record by record
    #[arg(long, value_name = "FILE")]
    pub golden: Option<PathBuf>,
    /// Write into the golden file what the driver does now
    #[arg(long, requires = "golden")]
    pub update_golden: bool,
    /// Its settings: a JSON object, or a file with one
    #[arg(long, value_name = "JSON or FILE", default_value = "{}")]
    pub settings: String,
    /// Play it at full speed for some seconds, and write where the driver spends them, for the Firefox Profiler
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
}

pub(super) fn test(arguments: &TestArguments, json: bool) -> anyhow::Result<ExitCode> {
    let settings = settings(&arguments.settings)?;
    let capture = read_capture(&arguments.capture)?;
    let loaded = Bench::new()?.load(&arguments.file)?;
    let announcer = Announcer::new(json);
    if capture.is_cut {
        eprintln!(
            "autobench: the last line of {} was cut and is left out",
            arguments.capture.display()
        );
    }
    let play = Play {
        engine: &loaded.engine,
        prepared: &loaded.prepared,
        capture: &capture,
        settings: &settings,
    };
    let done = play_all(&play, &loaded, announcer)?;
    let verdict = match &arguments.golden {
        Some(golden) if arguments.update_golden => {
            std::fs::write(golden, done.golden_text())
                .with_context(|| format!("the golden file {} cannot be written", golden.display()))?;
            eprintln!("autobench: {} is what the driver does now", golden.display());
            None
        }
        Some(golden) => done.first_difference(&read_golden(golden)?),
        None => done.trouble.clone(),
    };
    let problem = verdict.or(done.schema_problem);
    if let Some(out) = &arguments.profile {
        let profile = profile(&play, PROFILED)?;
        std::fs::write(out, &profile.json)
            .with_context(|| format!("the profile {} cannot be written", out.display()))?;
        announcer.tell(
            &json!({ "event": "profile", "file": out, "rounds": profile.rounds, "samples": profile.samples }),
            &format!(
                "{}: the driver was looked at {} times while the capture was played {} times",
                out.display(),
                profile.samples,
                profile.rounds
            ),
        );
    }
    let event = json!({
        "event": "result",
        "ok": problem.is_none(),
        "problem": problem,
        "records": capture.records.len(),
        "captureIsCut": capture.is_cut,
    });
    let text = match &problem {
        Some(problem) => format!("Not as it should be: {}", printable(problem)),
        None if arguments.golden.is_some() => "As the golden file says.".to_owned(),
        None => "Played to the end.".to_owned(),
    };
    announcer.tell(&event, &text);
    Ok(match problem {
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    })
}

/// What the driver did, over all records.
#[derive(Default)]
struct Done {
    /// The lines of a golden file.
    lines: Vec<Value>,
    /// The first breakdown.
    trouble: Option<String>,
    schema_problem: Option<String>,
}

fn play_all(play: &Play<'_>, loaded: &Loaded, announcer: Announcer) -> anyhow::Result<Done> {
    let mut player = Player::new(play.clone())?;
    let mut done = Done::default();
    while let Some(played) = player.play_next() {
        let played = played?;
        announcer.tell(&event_of(&played), &printable(&words_of(&played)));
        let place = place_of(&played);
        for entry in &played.entries {
            let broke_down = entry.get("brokeDown").and_then(Value::as_str);
            if let (Some(reason), None) = (broke_down, &done.trouble) {
                done.trouble = Some(format!("{place}: the driver broke down: {reason}"));
            }
            done.lines.push(json!({ "record": played.number, "did": entry }));
        }
        if let (Some(problem), None) = (&played.schema_problem, &done.schema_problem) {
            done.schema_problem = Some(format!(
                "{place}: against the slice-schema of the manifest: {problem}"
            ));
        }
    }
    let slice = player.slice();
    let peak_bytes = player.memory_peak_bytes();
    announcer.tell(
        &json!({ "event": "slice", "slice": slice, "memoryPeakBytes": peak_bytes }),
        &printable(&format!(
            "{} {} ends with at most {} of memory and the slice\n{:#}",
            loaded.prepared.manifest.name,
            loaded.prepared.manifest.version,
            size(peak_bytes),
            slice.clone().unwrap_or_default()
        )),
    );
    done.lines.push(json!({ "slice": slice }));
    Ok(done)
}

impl Done {
    fn golden_text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Where what the driver did is first not what the golden file says.
    fn first_difference(&self, golden: &[Value]) -> Option<String> {
        for index in 0..self.lines.len().max(golden.len()) {
            let (did, says) = (self.lines.get(index), golden.get(index));
            let place = |line: &Value| match line.get("record") {
                Some(Value::Number(number)) => format!("record {number}"),
                Some(_) => "the stop behind the last record".to_owned(),
                None => "the slice at the end".to_owned(),
            };
            let number = index + 1;
            let problem = match (did, says) {
                (Some(did), Some(says)) => {
                    let first = differences(did, says, 1).into_iter().next();
                    first.map(|first| {
                        let value = |value: Option<Value>| {
                            value.map_or("absent".to_owned(), |value| value.to_string())
                        };
                        format!(
                            "{}: {} is {}, and line {number} of the golden file says {}",
                            place(did),
                            first.path,
                            value(first.left),
                            value(first.right)
                        )
                    })
                }
                (Some(did), None) => Some(format!(
                    "{}: the driver goes on, and the golden file ends with line {index}: {did}",
                    place(did)
                )),
                (None, says) => says.map(|says| {
                    format!(
                        "{}: line {number} of the golden file says more than the driver did: {says}",
                        place(says)
                    )
                }),
            };
            if problem.is_some() {
                return problem;
            }
        }
        None
    }
}

fn settings(text: &str) -> anyhow::Result<Value> {
    let written = if text.trim_start().starts_with('{') {
        text.to_owned()
    } else {
        std::fs::read_to_string(text).with_context(|| {
            format!("--settings {text} is no JSON object, and no file with one; write for example '{{\"interval-s\": 2}}'")
        })?
    };
    match serde_json::from_str(&written) {
        Ok(settings @ Value::Object(_)) => Ok(settings),
        Ok(_) => bail!("the settings are no JSON object"),
        Err(error) => bail!("the settings are no JSON: {error}"),
    }
}

fn read_capture(path: &Path) -> anyhow::Result<Capture> {
    let what = || format!("the capture {}", path.display());
    let bytes = std::fs::metadata(path).with_context(what)?.len();
    if bytes > CAPTURE_LIMIT_BYTES {
        bail!(
            "{} has {}; at most {} are played",
            what(),
            size(bytes),
            size(CAPTURE_LIMIT_BYTES)
        );
    }
    Capture::parse(&std::fs::read(path).with_context(what)?).with_context(what)
}

fn read_golden(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the golden file {}; --update-golden writes it", path.display()))?;
    let lines = text.lines().enumerate().map(|(index, line)| {
        serde_json::from_str(line)
            .with_context(|| format!("the golden file {}, line {}", path.display(), index + 1))
    });
    lines.collect()
}

fn event_of(played: &Played<'_>) -> Value {
    json!({
        "event": "record",
        "record": played.number,
        "kind": played.record.map(kind_of),
        "entries": played.entries,
        "calls": played.cost.calls,
        "tookUs": played.cost.took.as_secs_f64() * 1.0e6,
        "memoryBytes": played.cost.memory_bytes,
        "schemaProblem": played.schema_problem,
    })
}

fn words_of(played: &Played<'_>) -> String {
    let calls = match played.cost.calls {
        1 => "1 call".to_owned(),
        calls => format!("{calls} calls"),
    };
    let mut text = format!(
        "{}: {calls}, {:.1} µs, {}",
        place_of(played),
        played.cost.took.as_secs_f64() * 1.0e6,
        size(played.cost.memory_bytes)
    );
    for entry in &played.entries {
        let Some(members) = entry.as_object() else {
            continue;
        };
        if let Some(call) = members.get("call").and_then(Value::as_str) {
            text.push_str(&format!("\n  {call}"));
        }
        let asked = members
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "call" | "ns"));
        for (name, value) in asked {
            match value.as_array() {
                Some(values) => values
                    .iter()
                    .for_each(|value| text.push_str(&format!("\n    {name}: {value}"))),
                None => text.push_str(&format!("\n    {name}: {value}")),
            }
        }
    }
    if let Some(problem) = &played.schema_problem {
        text.push_str(&format!("\n    against the slice-schema: {problem}"));
    }
    text
}

fn place_of(played: &Played<'_>) -> String {
    match (played.number, played.record) {
        (Some(number), Some(record)) => format!("record {number}, {}", what_of(record)),
        _ => "the stop behind the last record".to_owned(),
    }
}

fn what_of(record: &Record) -> String {
    match &record.what {
        What::Attached { offset, .. } => format!("attached at byte {offset}"),
        What::Received { offset, data } => {
            format!(
                "received bytes {offset} to {}",
                offset.saturating_add(data.len() as u64)
            )
        }
        What::Sent { data } => format!("sent {} bytes", data.len()),
        What::Lost { reason } => format!("lost: {reason}"),
        What::Overrun { from, to, .. } => format!("overrun from byte {from} to {to}"),
    }
}

fn kind_of(record: &Record) -> &'static str {
    match record.what {
        What::Attached { .. } => "attached",
        What::Received { .. } => "received",
        What::Sent { .. } => "sent",
        What::Lost { .. } => "lost",
        What::Overrun { .. } => "overrun",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(lines: &[Value]) -> Done {
        Done {
            lines: lines.to_vec(),
            ..Done::default()
        }
    }

    #[test]
    fn the_first_difference_is_named_by_record_and_place() {
        let line = |record: u64, watts: f64| json!({"record": record, "did": {"call": "bytes 0 to 9", "samples": [["watts", 1.0, watts]]}});
        let says = [line(1, 1.0), line(2, 96.5), json!({"slice": {"a": 1}})];
        assert_eq!(done(&says).first_difference(&says), None);
        let wrong = done(&[line(1, 1.0), line(2, 965.0), json!({"slice": {"a": 2}})]);
        assert_eq!(
            wrong.first_difference(&says).unwrap(),
            "record 2: /did/samples/0/2 is 965.0, and line 2 of the golden file says 96.5"
        );
        let short = done(&says[..2]).first_difference(&says).unwrap();
        assert!(
            short.starts_with("the slice at the end: line 3 of the golden file says more"),
            "{short}"
        );
        let long = done(&says).first_difference(&says[..1]).unwrap();
        assert!(
            long.starts_with("record 2: the driver goes on, and the golden file ends with line 1"),
            "{long}"
        );
    }

    #[test]
    fn settings_are_an_object_or_a_file_with_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.json");
        std::fs::write(&file, r#"{"interval-s": 2}"#).unwrap();
        assert_eq!(
            settings(file.to_str().unwrap()).unwrap(),
            json!({"interval-s": 2})
        );
        assert_eq!(settings(" {\"a\": 1}").unwrap(), json!({"a": 1}));
        assert!(settings("{").unwrap_err().to_string().contains("no JSON"));
        let missing = settings("nothing.json").unwrap_err().to_string();
        assert!(missing.contains("no JSON object, and no file"), "{missing}");
    }
}
