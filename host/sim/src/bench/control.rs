//! What a line can ask of a bench.

use super::Device;
use super::desk::Faults;
use super::emulator::{Control, Stats};
use super::journal::Entry;
use crate::control::{ControlEnd, invalid, serve};
use serde::Serialize;
use std::io::{self, BufRead, Write};
use std::time::Duration;

/// How long a button is pressed unless a request says otherwise.
const PRESS: Duration = Duration::from_millis(200);
const REQUESTS: &str = "pause, resume, unplug DEVICE, replug DEVICE, rename DEVICE, mute DEVICE, unmute DEVICE, reset DEVICE, say DEVICE TEXT, fault DEVICE PLAN, \
                        press-case [MS], press-local [MS], screen, journal, stats, quit; a DEVICE is power-meter, atx or keyboard";

/// Obeys lines, one after the other: `pause`, `resume`, `unplug DEVICE`, `replug DEVICE`, `rename DEVICE`, `mute DEVICE`,
/// `unmute DEVICE`, `reset DEVICE`, `say DEVICE TEXT`, `fault DEVICE PLAN`, `press-case [MS]`, `press-local [MS]`, `screen`, `journal`, `stats` and `quit`. The answer is `{"ok":true,"did":LINE,...}` with how the
/// bench stands then, with `screen` its 25 rows and with `journal` its entries in it, or `{"ok":false,"error":TEXT}`.
///
/// The answer to `quit` comes before the bench is stopped, which is left to the caller.
pub fn run_control(control: &Control, input: impl BufRead, output: impl Write) -> io::Result<ControlEnd> {
    serve(input, output, |line| obey(control, line))
}

#[derive(Serialize)]
struct Done {
    #[serde(flatten)]
    stats: Stats,
    #[serde(skip_serializing_if = "Option::is_none")]
    screen: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<Vec<Entry>>,
}

fn obey(control: &Control, line: &str) -> io::Result<Done> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim();
    let (mut screen, mut journal) = (None, None);
    let stats = match (verb, rest) {
        ("pause", "") => control.pause(),
        ("resume", "") => control.resume(),
        ("stats" | "quit", "") => control.stats(),
        ("screen", "") => {
            screen = Some(control.screen()?);
            control.stats()
        }
        ("journal", "") => {
            journal = Some(control.journal()?);
            control.stats()
        }
        ("press-case", time) => control.press_case(press_time(time)?),
        ("press-local", time) => control.press_local(press_time(time)?),
        ("unplug", device) => control.unplug(device.parse().map_err(invalid)?),
        ("replug", device) => control.replug(device.parse().map_err(invalid)?),
        ("rename", device) => control.rename(device.parse().map_err(invalid)?),
        ("mute", device) => control.mute(device.parse().map_err(invalid)?, true),
        ("unmute", device) => control.mute(device.parse().map_err(invalid)?, false),
        ("reset", device) => control.reset(device.parse().map_err(invalid)?),
        ("say", rest) => {
            let (device, text) = rest.split_once(' ').unwrap_or((rest, ""));
            control.inject(device.parse().map_err(invalid)?, text)
        }
        ("fault", rest) => control.set_faults(faults(rest)?),
        _ => Err(invalid(format!("`{line}` is no request; there are {REQUESTS}"))),
    }?;
    Ok(Done {
        stats,
        screen,
        journal,
    })
}

fn press_time(text: &str) -> io::Result<Duration> {
    if text.is_empty() {
        return Ok(PRESS);
    }
    text.parse().map(Duration::from_millis).map_err(invalid)
}

fn faults(text: &str) -> io::Result<Faults> {
    let (device, plan) = text.split_once(' ').unwrap_or((text, ""));
    let plan = plan.trim();
    Ok(match device.parse().map_err(invalid)? {
        Device::PowerMeter => Faults::PowerMeter(plan.parse().map_err(invalid)?),
        Device::Atx => Faults::Atx(plan.parse().map_err(invalid)?),
        Device::Keyboard => Faults::Keyboard(plan.parse().map_err(invalid)?),
    })
}
