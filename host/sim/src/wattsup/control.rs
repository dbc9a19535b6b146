//! Steering an emulator that runs in another process: a line of text asks, a line of JSON answers when it has been done.

use super::emulator::{Control, Stats};
use super::fault::FaultPlan;
use serde::Serialize;
use std::io::{self, BufRead, Write};

/// Why `run_control` returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlEnd {
    /// Somebody wrote `quit`.
    Quit,
    /// There is nobody any more who could write.
    EndOfInput,
}

/// Obeys the lines `pause`, `resume`, `unplug`, `replug`, `stats`, `fault PLAN` and `quit`, one after the other. The answer is
/// `{"ok":true,"did":LINE,...}` with how the emulator stands then, or `{"ok":false,"error":TEXT}`.
///
/// The answer to `quit` comes before the emulator is stopped, which is left to the caller.
pub fn run_control(control: &Control, input: impl BufRead, mut output: impl Write) -> io::Result<ControlEnd> {
    for line in input.lines() {
        let line = line?;
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let answer = match obey(control, line) {
            Ok(stats) => serde_json::to_string(&Done {
                ok: true,
                did: line,
                stats,
            }),
            Err(error) => serde_json::to_string(&Refused {
                ok: false,
                error: error.to_string(),
            }),
        };
        writeln!(output, "{}", answer.map_err(io::Error::other)?)?;
        output.flush()?;
        if line == "quit" {
            return Ok(ControlEnd::Quit);
        }
    }
    Ok(ControlEnd::EndOfInput)
}

#[derive(Serialize)]
struct Done<'a> {
    ok: bool,
    did: &'a str,
    #[serde(flatten)]
    stats: Stats,
}

#[derive(Serialize)]
struct Refused {
    ok: bool,
    error: String,
}

fn obey(control: &Control, line: &str) -> io::Result<Stats> {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("pause", "") => control.pause(),
        ("resume", "") => control.resume(),
        ("unplug", "") => control.unplug(),
        ("replug", "") => control.replug(),
        ("stats" | "quit", "") => control.stats(),
        ("fault", plan) => {
            let plan: FaultPlan = plan
                .trim()
                .parse()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            control.set_faults(plan)
        }
        _ => {
            let message = format!(
                "`{line}` is no request; there are pause, resume, unplug, replug, stats, fault PLAN, quit"
            );
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
    }
}
