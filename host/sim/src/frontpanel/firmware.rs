//! The firmware of the front-panel controller, without a line: bytes, pins and the time in, lines and edges on its contacts out.
//!
//! ```text
//! unidentified --identify_complete--> identified --identify--> unidentified
//! ```
//!
//! A contact is closed while a hold or a pulse wants it closed. Holds come from the host and end by themselves after ten seconds, whoever has
//! gone meanwhile; `identify` leaves them as they are, `identify_complete` ends them. The button on the board makes a pulse of 100 ms, but
//! neither in a hold nor shortly after a command, and it says nothing. There is no answer to a line that is not understood.

use crate::board::{BOOTLOADER, Firmware, Output, Restart};
use crate::pc::machine::{Contact, Switch};
use serde::Serialize;
use std::time::Duration;

/// Characters that a line may have. The next one empties the buffer and is lost itself; what follows is read as a new line.
pub const LINE_BYTES: usize = 63;
/// After this time a hold ends by itself.
const HOLD_LIMIT: Duration = Duration::from_secs(10);
/// How long the button on the board closes the contact.
const PULSE: Duration = Duration::from_millis(100);
/// How long the button on the board is not looked at after a command.
const COMMAND_LOCK: Duration = Duration::from_millis(150);
/// How long 5 V has to stay as it is before it is told.
const SENSE_DEBOUNCE: Duration = Duration::from_millis(500);
/// How long after its last edge the disk counts as active.
const DISK_LINGER: Duration = Duration::from_millis(200);

/// Why a contact opened or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A hold or a release of the host.
    Command,
    /// A hold was ten seconds old.
    AutoRelease,
    /// The host completed the identification.
    Identification,
    /// The board was reset.
    BoardReset,
    /// The board lost its supply.
    PowerLost,
    /// The button on the board.
    LocalOverride,
}

/// A contact that opened or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// When.
    pub at: Duration,
    /// Which.
    pub switch: Switch,
    /// What it is now.
    pub contact: Contact,
    /// Why.
    pub cause: Cause,
}

/// The board.
#[derive(Debug)]
pub struct FrontPanel {
    pins: Pins,
    booting_until: Option<Duration>,
    identified: bool,
    line: Vec<u8>,
    power: Hold,
    reset: Hold,
    pulse_until: Option<Duration>,
    /// Until when the button on the board is not looked at.
    locked_until: Duration,
    /// The button on the board has had its pulse, and has not been let go since.
    fired: bool,
    /// None until it is looked at for the first time.
    sense: Option<Sense>,
    disk_edge_at: Option<Duration>,
    disk_active: bool,
}

/// What the world does to the board, whether it runs or not, and what it does to the world.
#[derive(Debug)]
struct Pins {
    five_volts: bool,
    button_down: bool,
    power: Contact,
    reset: Contact,
}

#[derive(Debug, Default)]
struct Hold {
    /// None while nobody holds.
    until: Option<Duration>,
}

#[derive(Debug)]
struct Sense {
    raw: bool,
    stable: bool,
    changed_at: Duration,
}

type Outputs = Vec<Output<Edge>>;

impl Default for FrontPanel {
    /// A board that runs, unidentified, with both contacts open, on a PC that is off.
    fn default() -> Self {
        Self {
            pins: Pins {
                five_volts: false,
                button_down: false,
                power: Contact::Open,
                reset: Contact::Open,
            },
            booting_until: None,
            identified: false,
            line: Vec::new(),
            power: Hold::default(),
            reset: Hold::default(),
            pulse_until: None,
            locked_until: Duration::ZERO,
            fired: false,
            sense: None,
            disk_edge_at: None,
            disk_active: false,
        }
    }
}

impl FrontPanel {
    /// What a contact is.
    pub fn contact(&self, switch: Switch) -> Contact {
        match switch {
            Switch::Power => self.pins.power,
            Switch::Reset => self.pins.reset,
        }
    }

    /// The PC's 5 V have come or gone.
    pub fn five_volts(&mut self, on: bool, now: Duration, outputs: &mut Outputs) {
        self.advance(now, outputs);
        self.pins.five_volts = on;
        self.tick(now, outputs);
    }

    /// The PC's disk light has gone on or off.
    pub fn disk_edge(&mut self, now: Duration, outputs: &mut Outputs) {
        self.advance(now, outputs);
        if self.booting_until.is_none() {
            self.disk_edge_at = Some(now);
            self.tick(now, outputs);
        }
    }

    /// Somebody presses the button on the board, or lets it go.
    pub fn local_button(&mut self, down: bool, now: Duration, outputs: &mut Outputs) {
        self.advance(now, outputs);
        self.pins.button_down = down;
        self.tick(now, outputs);
    }

    /// One round of the firmware's loop, in its order. Done again at the same time, it does nothing.
    fn tick(&mut self, now: Duration, outputs: &mut Outputs) {
        match self.booting_until {
            Some(until) if until > now => return,
            _ => self.booting_until = None,
        }
        if self.pulse_until.is_some_and(|until| until <= now) {
            self.pulse_until = None;
            self.drive(Cause::LocalOverride, now, outputs);
        }
        self.end_old_holds(now, outputs);
        self.look_at_button(now, outputs);
        self.look_at_sense(now, outputs);
        self.look_at_disk(now, outputs);
    }

    fn end_old_holds(&mut self, now: Duration, outputs: &mut Outputs) {
        for (switch, name) in [(Switch::Power, "POWER"), (Switch::Reset, "RESET")] {
            let hold = self.hold(switch);
            if hold.until.is_some_and(|until| until <= now) {
                hold.until = None;
                self.drive(Cause::AutoRelease, now, outputs);
                // To a host that has not identified the board, a hold that ended is no news.
                if self.identified {
                    say(outputs, &format!("debug: {name}_HOLD auto-released (timeout)"));
                }
            }
        }
    }

    fn look_at_button(&mut self, now: Duration, outputs: &mut Outputs) {
        if !self.identified || now < self.locked_until || self.power.until.is_some() {
            return;
        }
        if self.pins.button_down && !self.fired {
            self.fired = true;
            self.pulse_until = Some(now + PULSE);
            self.drive(Cause::LocalOverride, now, outputs);
        } else if !self.pins.button_down {
            self.fired = false;
        }
    }

    fn look_at_sense(&mut self, now: Duration, outputs: &mut Outputs) {
        let pin = self.pins.five_volts;
        let sense = self.sense.get_or_insert(Sense {
            raw: pin,
            stable: pin,
            changed_at: now,
        });
        if sense.raw != pin {
            (sense.raw, sense.changed_at) = (pin, now);
        }
        if sense.stable != sense.raw && sense.changed_at + SENSE_DEBOUNCE <= now {
            sense.stable = sense.raw;
            if self.identified {
                say(outputs, led(pin));
            }
        }
    }

    fn look_at_disk(&mut self, now: Duration, outputs: &mut Outputs) {
        let active = self.disk_edge_at.is_some_and(|at| now < at + DISK_LINGER);
        if !self.identified {
            self.disk_active = false;
        } else if active != self.disk_active {
            self.disk_active = active;
            say(outputs, if active { "HDD_ACTIVE_ON" } else { "HDD_ACTIVE_OFF" });
        }
    }

    fn command(&mut self, line: &str, now: Duration, outputs: &mut Outputs) {
        self.locked_until = now + COMMAND_LOCK;
        match line {
            "identify" => {
                self.identified = false;
                say(outputs, Self::TOKEN);
            }
            "identify_complete" if !self.identified => self.complete_identification(now, outputs),
            "POWER_HOLD" if self.identified => self.press(Switch::Power, "power", now, outputs),
            "POWER_RELEASE" if self.identified => self.release(Switch::Power, "power", now, outputs),
            "RESET_HOLD" if self.identified => self.press(Switch::Reset, "reset", now, outputs),
            "RESET_RELEASE" if self.identified => self.release(Switch::Reset, "reset", now, outputs),
            _ => {}
        }
    }

    fn complete_identification(&mut self, now: Duration, outputs: &mut Outputs) {
        self.identified = true;
        say(
            outputs,
            "debug: front panel identification complete, sending client power state",
        );
        (self.power, self.reset, self.pulse_until) = (Hold::default(), Hold::default(), None);
        self.drive(Cause::Identification, now, outputs);
        say(outputs, led(self.pins.five_volts));
        // What was told just now is not told again after the debounce.
        self.sense = None;
        say(outputs, "HDD_ACTIVE_OFF");
        (self.disk_active, self.disk_edge_at) = (false, None);
    }

    fn press(&mut self, switch: Switch, name: &str, now: Duration, outputs: &mut Outputs) {
        // A second hold begins the ten seconds anew.
        self.hold(switch).until = Some(now + HOLD_LIMIT);
        self.drive(Cause::Command, now, outputs);
        say(outputs, &format!("debug: front panel {name} button held"));
    }

    fn release(&mut self, switch: Switch, name: &str, now: Duration, outputs: &mut Outputs) {
        self.hold(switch).until = None;
        self.drive(Cause::Command, now, outputs);
        say(outputs, &format!("debug: front panel {name} button released"));
    }

    fn hold(&mut self, switch: Switch) -> &mut Hold {
        match switch {
            Switch::Power => &mut self.power,
            Switch::Reset => &mut self.reset,
        }
    }

    /// Puts both contacts where the holds and the pulse want them.
    fn drive(&mut self, cause: Cause, at: Duration, outputs: &mut Outputs) {
        let wanted = [
            (Switch::Power, self.power.until.or(self.pulse_until)),
            (Switch::Reset, self.reset.until),
        ];
        for (switch, pressed) in wanted {
            let contact = if pressed.is_some() {
                Contact::Closed
            } else {
                Contact::Open
            };
            let pin = match switch {
                Switch::Power => &mut self.pins.power,
                Switch::Reset => &mut self.pins.reset,
            };
            if *pin != contact {
                *pin = contact;
                outputs.push(Output::Effect(Edge {
                    at,
                    switch,
                    contact,
                    cause,
                }));
            }
        }
    }
}

impl Firmware for FrontPanel {
    type Effect = Edge;

    const TOKEN: &'static str = "FP";
    const OLD_NEWS: &'static [&'static str] = &[
        "HDD_ACTIVE_ON",
        "HDD_ACTIVE_OFF",
        "POWER_LED_ON",
        "POWER_LED_OFF",
        "debug: POWER_HOLD auto-released (timeout)",
        "debug: front panel power button released",
    ];

    fn receive(&mut self, bytes: &[u8], now: Duration, outputs: &mut Outputs) {
        self.advance(now, outputs);
        if self.booting_until.is_some() {
            return;
        }
        for byte in bytes {
            match byte {
                b'\r' => {}
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    // The firmware's strings end at a NUL.
                    let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
                    let line = String::from_utf8_lossy(line);
                    let line = line.trim_matches([' ', '\t']);
                    if !line.is_empty() {
                        self.command(line, now, outputs);
                    }
                    self.tick(now, outputs);
                }
                byte if self.line.len() < LINE_BYTES => self.line.push(*byte),
                _ => self.line.clear(),
            }
        }
    }

    fn advance(&mut self, now: Duration, outputs: &mut Outputs) {
        while let Some(due) = self.next_due().filter(|due| *due <= now) {
            self.tick(due, outputs);
        }
        self.tick(now, outputs);
    }

    fn next_due(&self) -> Option<Duration> {
        if self.booting_until.is_some() {
            return self.booting_until;
        }
        let button_waits =
            self.identified && self.power.until.is_none() && self.pins.button_down != self.fired;
        let sense = self
            .sense
            .as_ref()
            .filter(|sense| sense.raw != sense.stable)
            .map(|sense| sense.changed_at + SENSE_DEBOUNCE);
        let disk = self.disk_edge_at.filter(|_| self.disk_active);
        [
            self.pulse_until,
            self.power.until,
            self.reset.until,
            button_waits.then_some(self.locked_until),
            sense,
            disk.map(|at| at + DISK_LINGER),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn restart(&mut self, cause: Restart, now: Duration, outputs: &mut Outputs) {
        let pins = std::mem::replace(&mut self.pins, Self::default().pins);
        *self = Self {
            pins,
            booting_until: Some(now + BOOTLOADER),
            ..Self::default()
        };
        let cause = match cause {
            Restart::Reset => Cause::BoardReset,
            Restart::PowerLost => Cause::PowerLost,
        };
        self.drive(cause, now, outputs);
    }

    fn is_identified(&self) -> bool {
        self.identified
    }
}

fn led(on: bool) -> &'static str {
    if on { "POWER_LED_ON" } else { "POWER_LED_OFF" }
}

fn say(outputs: &mut Outputs, line: &str) {
    outputs.push(Output::Line(line.to_owned()));
}
