//! What a line can ask of a meter.

use super::emulator::{Control, Stats};
use super::fault::FaultPlan;
use crate::control::{ControlEnd, invalid, serve};
use std::io::{self, BufRead, Write};

const REQUESTS: &str = "pause, resume, unplug, replug, stats, fault PLAN, quit";

/// Obeys the lines `pause`, `resume`, `unplug`, `replug`, `stats`, `fault PLAN` and `quit`, one after the other. The answer is
/// `{"ok":true,"did":LINE,...}` with how the emulator stands then, or `{"ok":false,"error":TEXT}`.
///
/// The answer to `quit` comes before the emulator is stopped, which is left to the caller.
pub fn run_control(control: &Control, input: impl BufRead, output: impl Write) -> io::Result<ControlEnd> {
    serve(input, output, |line| obey(control, line))
}

fn obey(control: &Control, line: &str) -> io::Result<Stats> {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("pause", "") => control.pause(),
        ("resume", "") => control.resume(),
        ("unplug", "") => control.unplug(),
        ("replug", "") => control.replug(),
        ("stats" | "quit", "") => control.stats(),
        ("fault", plan) => {
            let plan: FaultPlan = plan.trim().parse().map_err(invalid)?;
            control.set_faults(plan)
        }
        _ => Err(invalid(format!("`{line}` is no request; there are {REQUESTS}"))),
    }
}
