//! `[devices.<id>.ports.<name>]`: where a line is found, and how it is set.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use autobench_core::driver::{DataBits, FlowControl, Parity, StopBits};
use autobench_sim::bench::{Device, Faults};
use autobench_sim::board::BoardFaults;
use autobench_sim::wattsup::FaultPlan;

use super::model::{CaptureConfig, LineOverrides, PortConfig, PortSource, SimDevice, SimEmulator, SimSpec};
use super::name::PortName;
use super::problem::nearest;
use super::raw::{RawDevice, RawPort, RawSim, Written};
use super::tree::{At, Findings};
use super::values::{MAX_EXACT_INTEGER, choice, integer, name, numbered, optional_integer};

/// One port of a device.
pub fn port(
    device: &RawDevice,
    raw: &RawPort,
    folder: &Path,
    lines: &mut Lines,
    findings: &mut Findings,
) -> Option<(PortName, PortConfig)> {
    let port_name = name(&raw.name, |text| PortName::new(text), findings);
    let line = LineOverrides {
        baud_rate: optional_integer(&raw.baud_rate, "baud-rate", 115_200, 50..=20_000_000, findings),
        data_bits: numbered(
            &raw.data_bits,
            "data-bits",
            &[
                (5, DataBits::Five),
                (6, DataBits::Six),
                (7, DataBits::Seven),
                (8, DataBits::Eight),
            ],
            findings,
        ),
        parity: choice(
            &raw.parity,
            "parity",
            &[
                ("none", Parity::None),
                ("even", Parity::Even),
                ("odd", Parity::Odd),
            ],
            findings,
        ),
        stop_bits: numbered(
            &raw.stop_bits,
            "stop-bits",
            &[(1, StopBits::One), (2, StopBits::Two)],
            findings,
        ),
        flow_control: choice(
            &raw.flow_control,
            "flow-control",
            &[
                ("none", FlowControl::None),
                ("software", FlowControl::Software),
                ("hardware", FlowControl::Hardware),
            ],
            findings,
        ),
    };
    let source = port_source(device, raw, lines, findings);
    let max_mib: u64 = integer(&raw.capture_mib, "capture-mib", 64, 1..=65_536, findings);
    let capture = raw.capture.as_ref().map(|written| CaptureConfig {
        path: folder.join(&written.value),
        max_bytes: max_mib << 20,
    });
    Some((
        port_name?,
        PortConfig {
            source: source?,
            line,
            dtr: raw.dtr,
            rts: raw.rts,
            hangup_on_close: raw.hangup_on_close,
            exclusive: raw.exclusive.unwrap_or(true),
            capture,
        },
    ))
}

fn port_source(
    device: &RawDevice,
    raw: &RawPort,
    lines: &mut Lines,
    findings: &mut Findings,
) -> Option<PortSource> {
    let given = [
        raw.path.as_ref().map(|written| ("path", &written.at)),
        raw.usb.as_ref().map(|written| ("usb", &written.at)),
        raw.sim.as_ref().map(|written| ("sim", &written.at)),
    ];
    let given: Vec<(&str, &At)> = given.into_iter().flatten().collect();
    match given.as_slice() {
        [] => {
            findings.missing(
                "no-source",
                &raw.name.at,
                format!(
                    "the port \"{}\" of \"{}\" has no line",
                    raw.name.value, device.id.value
                ),
                "write one of path = \"/dev/serial/by-id/…\", usb = \"0403:6001\", sim = \"wattsup\"",
            );
            return None;
        }
        [_] => {}
        [(first, _), .., (last, at)] => {
            findings.error(
                "two-sources",
                at,
                format!(
                    "the port \"{}\" of \"{}\" has both {first} and {last}",
                    raw.name.value, device.id.value
                ),
                "keep one of path, usb and sim",
            );
            return None;
        }
    }
    if let Some(written) = &raw.path {
        let path = PathBuf::from(&written.value);
        if !path.is_absolute() {
            let hint = format!("write path = \"/dev/{}\"", written.value.trim_start_matches("./"));
            findings.error(
                "bad-value",
                &written.at,
                format!("\"{}\" does not begin at the root", written.value),
                hint,
            );
            return None;
        }
        let resolved = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        let line = Line::Path {
            written: path.components().collect(),
            resolved,
        };
        lines.take(line, &device.id.value, &raw.name, &written.at, findings);
        return Some(PortSource::Path(path));
    }
    if let Some(written) = &raw.usb {
        let Some((vendor, product, serial)) = usb_identity(&written.value) else {
            findings.error(
                "bad-value",
                &written.at,
                format!("\"{}\" is no USB identity", written.value),
                "write vendor and product as four hexadecimal digits each, and the serial number where there are several: \"0403:6001\" or \"0403:6001:A9014J7K\"",
            );
            return None;
        };
        let line = Line::Usb {
            vendor,
            product,
            serial: serial.clone(),
        };
        lines.take(line, &device.id.value, &raw.name, &written.at, findings);
        return Some(PortSource::Usb {
            vendor,
            product,
            serial,
        });
    }
    let written = raw.sim.as_ref()?;
    let spec = sim(written, findings)?;
    if let SimEmulator::OfPc(of_pc) = &spec.emulator {
        lines.take(
            Line::OfPc(of_pc.device()),
            &device.id.value,
            &raw.name,
            &written.at,
            findings,
        );
        lines.pace(&written.value, findings);
    }
    Some(PortSource::Sim(spec))
}

fn usb_identity(text: &str) -> Option<(u16, u16, Option<String>)> {
    let mut parts = text.splitn(3, ':');
    let mut id = || {
        let digits = parts.next()?;
        let is_id = digits.len() == 4 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
        if is_id {
            u16::from_str_radix(digits, 16).ok()
        } else {
            None
        }
    };
    let (vendor, product) = (id()?, id()?);
    match parts.next() {
        None => Some((vendor, product, None)),
        Some("") => None,
        Some(serial) => Some((vendor, product, Some(serial.to_owned()))),
    }
}

fn sim(written: &Written<RawSim>, findings: &mut Findings) -> Option<SimSpec> {
    let raw = &written.value;
    let Some(device) = &raw.device else {
        findings.missing(
            "missing-key",
            &written.at,
            "this sim has no device",
            "write sim = { device = \"wattsup\" }",
        );
        return None;
    };
    let Some(sim) = SimDevice::ALL
        .into_iter()
        .find(|sim| sim.as_str() == device.value)
    else {
        let names = SimDevice::ALL.map(SimDevice::as_str);
        let hint = match nearest(&device.value, names) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("there are: {}", names.join(", ")),
        };
        findings.error(
            "bad-value",
            &device.at,
            format!("there is no emulator \"{}\"", device.value),
            hint,
        );
        return None;
    };
    let seed = optional_integer(&raw.seed, "seed", 7, 0..=MAX_EXACT_INTEGER, findings);
    let mut speed = None;
    if let Some(written) = &raw.speed {
        let value = written.value;
        speed = Some(value);
        if !(0.001..=10_000.0).contains(&value) {
            findings.error(
                "bad-value",
                &written.at,
                format!("\"speed\" is {value}, and has to be from 0.001 to 10000"),
                "write speed = 1.0 for the pace of the real thing",
            );
        }
    }
    let of_meter = |findings| faults(raw, findings).unwrap_or(FaultPlan::none());
    let of_board = |findings| faults(raw, findings).unwrap_or(BoardFaults::none());
    let emulator = match sim {
        SimDevice::WattsUp => SimEmulator::WattsUp(of_meter(findings)),
        SimDevice::OfPc(Device::PowerMeter) => SimEmulator::OfPc(Faults::PowerMeter(of_meter(findings))),
        SimDevice::OfPc(Device::Atx) => SimEmulator::OfPc(Faults::Atx(of_board(findings))),
        SimDevice::OfPc(Device::Keyboard) => SimEmulator::OfPc(Faults::Keyboard(of_board(findings))),
    };
    Some(SimSpec {
        emulator,
        seed,
        speed,
    })
}

fn faults<F: FromStr<Err: Display>>(raw: &RawSim, findings: &mut Findings) -> Option<F> {
    let written = raw.faults.as_ref()?;
    match written.value.parse() {
        Ok(faults) => Some(faults),
        Err(error) => {
            let message = format!("\"{}\" is no plan of faults", written.value);
            findings.error("bad-value", &written.at, message, F::Err::to_string(&error));
            None
        }
    }
}

/// Lines that are given away.
#[derive(Default)]
pub struct Lines {
    taken: Vec<TakenLine>,
    /// Seed and speed of the simulated PC, as they are written first.
    seed: Option<Written<i64>>,
    speed: Option<Written<f64>>,
}

struct TakenLine {
    line: Line,
    device: String,
    port: String,
    at: At,
}

/// A line as far as two ports can have the same one.
#[derive(PartialEq)]
enum Line {
    Path {
        written: PathBuf,
        resolved: PathBuf,
    },
    Usb {
        vendor: u16,
        product: u16,
        serial: Option<String>,
    },
    /// A device of the simulated PC.
    OfPc(Device),
}

impl Line {
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Path { written, resolved },
                Self::Path {
                    written: other_written,
                    resolved: other_resolved,
                },
            ) => written == other_written || resolved == other_resolved,
            (
                Self::Usb {
                    vendor,
                    product,
                    serial,
                },
                Self::Usb {
                    vendor: other_vendor,
                    product: other_product,
                    serial: other_serial,
                },
            ) => {
                // Without a serial number either could be the other's device.
                (vendor, product) == (other_vendor, other_product)
                    && (serial == other_serial || serial.is_none() || other_serial.is_none())
            }
            (Self::OfPc(device), Self::OfPc(other)) => device == other,
            (Self::Path { .. } | Self::Usb { .. } | Self::OfPc(_), _) => false,
        }
    }
}

impl Lines {
    fn take(&mut self, line: Line, device: &str, port: &Written<String>, at: &At, findings: &mut Findings) {
        if let Some(first) = self.taken.iter().find(|taken| taken.line.meets(&line)) {
            let place = findings.place(&first.at);
            let hint = match (&line, &first.line) {
                (Line::Usb { serial: None, .. }, _) | (_, Line::Usb { serial: None, .. }) => {
                    "tell them apart by serial number: usb = \"vendor:product:serial\""
                }
                _ => "give each port a line of its own, or remove one of the two devices",
            };
            findings.error(
                "line-taken",
                at,
                format!(
                    "the port \"{}\" of \"{device}\" is on the line of the port \"{}\" of \"{}\" ({place})",
                    port.value, first.port, first.device
                ),
                hint,
            );
            return;
        }
        self.taken.push(TakenLine {
            line,
            device: device.to_owned(),
            port: port.value.clone(),
            at: at.clone(),
        });
    }

    /// There is one simulated PC: it has one seed and one speed, at whichever of its devices they are written.
    fn pace(&mut self, sim: &RawSim, findings: &mut Findings) {
        same("seed", &mut self.seed, &sim.seed, findings);
        same("speed", &mut self.speed, &sim.speed, findings);
    }
}

fn same<T: Copy + PartialEq + Display>(
    name: &str,
    first: &mut Option<Written<T>>,
    written: &Option<Written<T>>,
    findings: &mut Findings,
) {
    let Some(written) = written else {
        return;
    };
    match first {
        None => {
            *first = Some(Written {
                value: written.value,
                at: written.at.clone(),
            });
        }
        Some(first) if first.value == written.value => {}
        Some(first) => {
            let message = format!(
                "\"{name}\" is {}, and {} at another device of the same simulated PC ({})",
                written.value,
                first.value,
                findings.place(&first.at)
            );
            findings.error("sim-differs", &written.at, message, "write it once");
        }
    }
}
