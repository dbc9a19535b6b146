//! The firmware of the keyboard adapter, without a line: bytes from the host and from the PC, and the time in; lines, bytes for the PC and the
//! level of a pin out.
//!
//! It does one thing at a time. While it presses a key (100 ms) or tests itself (600 ms) it reads neither side: the PC's byte waits on the
//! PS/2 line, the host's bytes in a ring of 64, of which one is always free; what does not fit is lost. A line without its end is taken as it
//! is after a second.
//!
//! Its key with a prefix is wrong on purpose, because the real one's is: it breaks with `F0 E0 F0 C`.

use super::host_side::{argument_of, command_line};
use crate::board::{BOOTLOADER, Firmware, Output, Restart};
use serde::Serialize;
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes of the host that wait while the firmware is busy.
pub const SERIAL_BYTES: usize = 63;
/// How long `press` keeps a key down.
const PRESS: Duration = Duration::from_millis(100);
/// How long the self test takes.
const SELF_TEST: Duration = Duration::from_millis(600);
/// How long it waits for the second byte of the PC's command.
const ARGUMENT_LIMIT: Duration = Duration::from_millis(30);
/// How long it waits for the rest of a line.
const LINE_LIMIT: Duration = Duration::from_secs(1);
/// The longest line that its memory holds. What is longer is cut.
const LINE_BYTES: usize = 1024;
/// Bytes of the PC that wait; the PS/2 line itself holds one, and a PC sends the next after the answer.
const PC_BYTES: usize = 16;

/// What the firmware does at the PC's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A byte for the PC.
    ToPc(u8),
    /// A key went down or up; its bytes come with it.
    Key(KeyEdge),
    /// The pin that tells the mouse adapter whether the PC is on.
    PowerPin(bool),
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyAction {
    /// It went down.
    Make,
    /// It went up.
    Break,
}

/// Why it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyCause {
    /// The host's `press`.
    Press,
    /// The host's `hold`.
    Hold,
    /// The host's `release`.
    Release,
}

/// A key that went down or up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyEdge {
    /// When.
    pub at: Duration,
    /// What it did.
    pub action: KeyAction,
    /// Its prefix, 0 for none.
    pub prefix: u8,
    /// Its code.
    pub code: u8,
    /// Why.
    pub cause: KeyCause,
}

/// The board.
#[derive(Debug)]
pub struct Keyboard {
    booting_until: Option<Duration>,
    identified: bool,
    serial: VecDeque<u8>,
    /// Bytes of the host that found no room, since the start.
    serial_lost: u64,
    line: Vec<u8>,
    /// When the last byte of the line came; none between lines.
    line_byte_at: Option<Duration>,
    from_pc: VecDeque<u8>,
    busy: Option<Busy>,
    power_mode: PowerMode,
    pub(super) host_ever_talked: bool,
    pub(super) power_pin: bool,
    pub(super) last_byte: u8,
    pub(super) scan_code_set: u8,
}

/// What keeps the firmware from looking at anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Busy {
    Press { until: Duration, prefix: u8, code: u8 },
    SelfTest { until: Duration },
    Argument { until: Duration, of: u8 },
}

/// Who decides about the pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PowerMode {
    Auto,
    On,
    Off,
}

pub(super) type Outputs = Vec<Output<Effect>>;

impl Default for Keyboard {
    /// A board that runs, unidentified, with no key down.
    fn default() -> Self {
        Self {
            booting_until: None,
            identified: false,
            serial: VecDeque::new(),
            serial_lost: 0,
            line: Vec::new(),
            line_byte_at: None,
            from_pc: VecDeque::new(),
            busy: None,
            power_mode: PowerMode::Auto,
            host_ever_talked: false,
            power_pin: false,
            last_byte: 0,
            scan_code_set: 2,
        }
    }
}

impl Keyboard {
    /// A byte from the PC.
    pub fn pc_byte(&mut self, byte: u8, now: Duration, outputs: &mut Outputs) {
        self.advance(now, outputs);
        if self.booting_until.is_none() && self.from_pc.len() < PC_BYTES {
            self.from_pc.push_back(byte);
            self.work(now, outputs);
        }
    }

    /// Bytes of the host that were lost because the firmware was busy.
    pub fn serial_lost(&self) -> u64 {
        self.serial_lost
    }

    /// Goes on with what it has, until there is nothing or it is busy.
    fn work(&mut self, now: Duration, outputs: &mut Outputs) {
        while self.busy.is_none() {
            // Inside a line it waits for the line's end and for nothing else.
            if self.line_byte_at.is_none()
                && let Some(byte) = self.from_pc.pop_front()
            {
                self.pc_command(byte, now, outputs);
            } else if let Some(byte) = self.serial.pop_front() {
                self.serial_byte(byte, now, outputs);
            } else {
                return;
            }
        }
        if let Some(Busy::Argument { of, .. }) = self.busy
            && let Some(byte) = self.from_pc.pop_front()
        {
            self.busy = None;
            self.pc_argument(of, Some(byte), outputs);
            self.work(now, outputs);
        }
    }

    fn serial_byte(&mut self, byte: u8, now: Duration, outputs: &mut Outputs) {
        if byte == b'\n' {
            self.end_line(now, outputs);
        } else {
            self.line_byte_at = Some(now);
            if self.line.len() < LINE_BYTES {
                self.line.push(byte);
            }
        }
    }

    fn end_line(&mut self, now: Duration, outputs: &mut Outputs) {
        self.line_byte_at = None;
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        self.command(line.trim(), now, outputs);
    }

    fn command(&mut self, line: &str, now: Duration, outputs: &mut Outputs) {
        match line {
            "identify" => {
                self.identified = false;
                say(outputs, Self::TOKEN);
            }
            "identify_complete" if !self.identified => {
                self.identified = true;
                say(outputs, "debug: keyboard identification complete");
            }
            "power_on" if self.identified => self.set_power(PowerMode::On, outputs),
            "power_off" if self.identified => self.set_power(PowerMode::Off, outputs),
            "power_auto" if self.identified => self.set_power(PowerMode::Auto, outputs),
            _ if self.identified && line.contains(' ') => self.key_command(line, now, outputs),
            _ => say(outputs, &format!("debug: command is {line}. nothing to do")),
        }
    }

    fn set_power(&mut self, mode: PowerMode, outputs: &mut Outputs) {
        self.power_mode = mode;
        let on = match mode {
            PowerMode::On => true,
            PowerMode::Off => false,
            PowerMode::Auto => self.host_ever_talked,
        };
        self.set_pin(on, outputs);
        let level = if on { "HIGH" } else { "LOW" };
        say(
            outputs,
            &match mode {
                PowerMode::On => format!("debug: keyboard accepts power ON command, sets PIN 5 to {level}"),
                PowerMode::Off => format!("debug: keyboard accepts power OFF command, sets PIN 5 to {level}"),
                PowerMode::Auto => format!(
                    "debug: keyboard power mode set to AUTO; hostEverTalked={} pin={level}",
                    u8::from(self.host_ever_talked)
                ),
            },
        );
    }

    fn set_pin(&mut self, on: bool, outputs: &mut Outputs) {
        if self.power_pin != on {
            self.power_pin = on;
            outputs.push(Output::Effect(Effect::PowerPin(on)));
        }
    }

    /// A verb and a key. A verb that it does not know is not answered.
    fn key_command(&mut self, line: &str, now: Duration, outputs: &mut Outputs) {
        let Some((verb, prefix, code)) = command_line(line) else {
            return;
        };
        match verb {
            "press" => {
                self.make(prefix, code, KeyCause::Press, now, outputs);
                self.busy = Some(Busy::Press {
                    until: now + PRESS,
                    prefix,
                    code,
                });
                return;
            }
            "hold" => self.make(prefix, code, KeyCause::Hold, now, outputs),
            "release" => self.release(prefix, code, KeyCause::Release, now, outputs),
            _ => return,
        }
        succeed(verb, code, outputs);
    }

    fn make(&mut self, prefix: u8, code: u8, cause: KeyCause, at: Duration, outputs: &mut Outputs) {
        outputs.push(Output::Effect(Effect::Key(KeyEdge {
            at,
            action: KeyAction::Make,
            prefix,
            code,
            cause,
        })));
        let prefix = (prefix != 0).then_some(prefix);
        for byte in prefix.into_iter().chain([code]) {
            outputs.push(Output::Effect(Effect::ToPc(byte)));
        }
    }

    fn release(&mut self, prefix: u8, code: u8, cause: KeyCause, at: Duration, outputs: &mut Outputs) {
        outputs.push(Output::Effect(Effect::Key(KeyEdge {
            at,
            action: KeyAction::Break,
            prefix,
            code,
            cause,
        })));
        let prefix = (prefix != 0).then_some(prefix);
        for byte in prefix.into_iter().chain([code]) {
            outputs.push(Output::Effect(Effect::ToPc(0xF0)));
            outputs.push(Output::Effect(Effect::ToPc(byte)));
        }
    }

    fn pc_command(&mut self, byte: u8, now: Duration, outputs: &mut Outputs) {
        self.host_ever_talked = true;
        if self.power_mode == PowerMode::Auto && !self.power_pin {
            self.set_pin(true, outputs);
            say(
                outputs,
                "debug: keyboard observed PS/2 host activity; sets PIN 5 to HIGH (AUTO)",
            );
        }
        self.answer(byte, outputs);
        self.busy = match byte {
            0xFF => Some(Busy::SelfTest {
                until: now + SELF_TEST,
            }),
            of if argument_of(of).is_some() => Some(Busy::Argument {
                until: now + ARGUMENT_LIMIT,
                of,
            }),
            _ => None,
        };
    }

    fn end_busy(&mut self, busy: Busy, now: Duration, outputs: &mut Outputs) {
        self.busy = None;
        match busy {
            Busy::Press { prefix, code, .. } => {
                self.release(prefix, code, KeyCause::Press, now, outputs);
                succeed("press", code, outputs);
            }
            Busy::SelfTest { .. } => {
                self.send_to_pc(0xAA, outputs);
                say(outputs, "debug: sent BAT success");
            }
            Busy::Argument { of, .. } => self.pc_argument(of, None, outputs),
        }
    }

    pub(super) fn send_to_pc(&mut self, byte: u8, outputs: &mut Outputs) {
        self.last_byte = byte;
        outputs.push(Output::Effect(Effect::ToPc(byte)));
    }
}

impl Firmware for Keyboard {
    type Effect = Effect;

    const TOKEN: &'static str = "KB";
    const OLD_NEWS: &'static [&'static str] = &[
        "debug: acknowledge",
        "debug: sent BAT success",
        "debug: keyboard sim recieved 0xED (SET_LEDS)",
        "debug: LED arg=0x02 scroll=0 num=1 caps=0",
        "success: press command for scan code 1C",
    ];

    fn receive(&mut self, bytes: &[u8], now: Duration, outputs: &mut Outputs) {
        self.advance(now, outputs);
        for byte in bytes {
            if self.booting_until.is_some() {
                return;
            }
            if self.serial.len() < SERIAL_BYTES {
                self.serial.push_back(*byte);
            } else {
                self.serial_lost += 1;
            }
            self.work(now, outputs);
        }
    }

    fn advance(&mut self, now: Duration, outputs: &mut Outputs) {
        while let Some(due) = self.next_due().filter(|due| *due <= now) {
            if self.booting_until.is_some() {
                self.booting_until = None;
            } else if let Some(busy) = self.busy {
                self.end_busy(busy, due, outputs);
            } else {
                self.end_line(due, outputs);
            }
            self.work(due, outputs);
        }
    }

    fn next_due(&self) -> Option<Duration> {
        if self.booting_until.is_some() {
            return self.booting_until;
        }
        match self.busy {
            Some(Busy::Press { until, .. } | Busy::SelfTest { until } | Busy::Argument { until, .. }) => {
                Some(until)
            }
            None => self.line_byte_at.map(|at| at + LINE_LIMIT),
        }
    }

    /// Keys that are down stay down for the PC: nobody sends their breaks.
    fn restart(&mut self, _: Restart, now: Duration, outputs: &mut Outputs) {
        self.set_pin(false, outputs);
        *self = Self {
            booting_until: Some(now + BOOTLOADER),
            serial_lost: self.serial_lost,
            ..Self::default()
        };
    }

    fn is_identified(&self) -> bool {
        self.identified
    }
}

fn succeed(verb: &str, code: u8, outputs: &mut Outputs) {
    say(
        outputs,
        &format!("success: {verb} command for scan code {code:X}"),
    );
}

pub(super) fn say(outputs: &mut Outputs, line: &str) {
    outputs.push(Output::Line(line.to_owned()));
}
