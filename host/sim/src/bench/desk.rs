//! The PC and its devices, wired up, without a terminal: bytes of the hosts and the time in, bytes for the hosts and a journal out.
//!
//! Time goes on from event to event, and what an event does elsewhere is done before the next: a contact that closes is seen by the PC at the
//! moment at which it closes, and the meter reads what the PC takes then.

use super::Device;
use super::journal::{Entry, Event, Source};
use crate::board::{BoardCable, BoardFaults, Firmware};
use crate::frontpanel::{Cause, Edge, FrontPanel};
use crate::keyboard::{Effect, KeyAction, KeyCause, Keyboard};
use crate::line;
use crate::pc::machine::{Contact, Machine, Output, Switch};
use crate::pc::screen::Screen;
use crate::pc::{Pc, PcOptions, Stage};
use crate::wattsup::cable::Cable as MeterCable;
use crate::wattsup::meter::{EnergyField, Meter};
use crate::wattsup::{FaultPlan, Tally};
use serde::Serialize;
use std::time::Duration;

/// What a desk is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The PC.
    pub pc: PcOptions,
    /// What noise and faults are drawn from.
    pub seed: u64,
    /// What the meter's rows say in their Wh field.
    pub energy_field: EnergyField,
    /// Faults of the meter's cable.
    pub meter_faults: FaultPlan,
    /// Faults of the front-panel controller and its cable.
    pub atx_faults: BoardFaults,
    /// Faults of the keyboard adapter and its cable.
    pub keyboard_faults: BoardFaults,
}

impl Setup {
    /// Good devices.
    pub fn new(seed: u64) -> Self {
        Self {
            pc: PcOptions::default(),
            seed,
            energy_field: EnergyField::Energy,
            meter_faults: FaultPlan::none(),
            atx_faults: BoardFaults::none(),
            keyboard_faults: BoardFaults::none(),
        }
    }
}

/// Other faults for one of the devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Faults {
    /// Of the meter.
    PowerMeter(FaultPlan),
    /// Of the front-panel controller.
    Atx(BoardFaults),
    /// Of the keyboard adapter.
    Keyboard(BoardFaults),
}

impl Faults {
    /// Whose they are.
    pub fn device(&self) -> Device {
        match self {
            Self::PowerMeter(_) => Device::PowerMeter,
            Self::Atx(_) => Device::Atx,
            Self::Keyboard(_) => Device::Keyboard,
        }
    }
}

/// What happened between the devices and the PC, or inside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum PcEvent {
    /// A contact on one of the PC's switches opened or closed.
    Edge {
        /// Which.
        switch: Switch,
        /// What it is now.
        contact: Contact,
        /// Why.
        cause: Cause,
    },
    /// A key went down or up.
    Key {
        /// What it did.
        action: KeyAction,
        /// Its prefix, 0 for none.
        prefix: u8,
        /// Its code.
        code: u8,
        /// Why.
        cause: KeyCause,
    },
    /// A byte from the keyboard to the PC, whether that is on or not.
    ToPc {
        /// The byte.
        byte: u8,
    },
    /// A byte from the PC to the keyboard.
    FromPc {
        /// The byte.
        byte: u8,
    },
    /// The keyboard adapter tells the mouse adapter whether the PC is on.
    PowerPin {
        /// What it tells.
        on: bool,
    },
    /// The button on the front-panel controller.
    LocalButton {
        /// Whether it is down.
        down: bool,
    },
    /// The power button of the PC's case, beside the controller's contact.
    CaseButton {
        /// Whether it is down.
        down: bool,
    },
    /// The PC's 5 V came or went.
    FiveVolts {
        /// Whether they are there.
        on: bool,
    },
    /// The PC does something else.
    Stage {
        /// What it does.
        stage: Stage,
    },
}

/// How often things happened since the bench was set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Edges on the contact of the power switch.
    pub power_edges: u64,
    /// Edges on the contact of the reset switch.
    pub reset_edges: u64,
    /// Keys that went down or up.
    pub key_edges: u64,
    /// Bytes from the keyboard to the PC.
    pub bytes_to_pc: u64,
    /// Bytes of the host that the keyboard adapter lost because it was busy.
    pub serial_bytes_lost: u64,
    /// Rows of the meter, by how they ended.
    #[serde(flatten)]
    pub rows: Tally,
}

/// The desk.
#[derive(Debug)]
pub struct Desk {
    pc: Machine,
    meter: MeterCable,
    atx: BoardCable<FrontPanel>,
    keyboard: BoardCable<Keyboard>,
    now: Duration,
    /// What the PC did that nobody has seen yet.
    pc_outputs: Vec<Output>,
    /// When whoever presses the button on the front-panel controller lets it go.
    button_up_at: Option<Duration>,
    /// The same for the button of the PC's case.
    case_up_at: Option<Duration>,
    /// The controller's contact and the button of the case: the PC sees either.
    power_contact: Contact,
    case_down: bool,
    entries: Vec<Entry>,
    counts: Counts,
}

impl Desk {
    /// A PC that is off, with devices that have power and have not been identified.
    pub fn new(setup: Setup) -> Self {
        let meter = Meter::power_on(
            Pc::driven(setup.pc, setup.seed),
            setup.energy_field,
            // Its banner goes out before anybody can have opened the port.
            &mut Vec::new(),
        );
        let (atx_seed, keyboard_seed) = (setup.seed.wrapping_add(1), setup.seed.wrapping_add(2));
        Self {
            pc: Machine::new(setup.seed),
            meter: MeterCable::new(meter, setup.meter_faults, setup.seed),
            atx: BoardCable::new(FrontPanel::default(), setup.atx_faults, atx_seed),
            keyboard: BoardCable::new(Keyboard::default(), setup.keyboard_faults, keyboard_seed),
            now: Duration::ZERO,
            pc_outputs: Vec::new(),
            button_up_at: None,
            case_up_at: None,
            power_contact: Contact::Open,
            case_down: false,
            entries: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// What the PC's screen shows.
    pub fn screen(&self) -> &Screen {
        self.pc.screen()
    }

    /// The PC.
    pub fn pc(&self) -> &Machine {
        &self.pc
    }

    /// The front-panel controller.
    pub fn atx(&self) -> &BoardCable<FrontPanel> {
        &self.atx
    }

    /// The keyboard adapter.
    pub fn keyboard(&self) -> &BoardCable<Keyboard> {
        &self.keyboard
    }

    /// How often things happened.
    pub fn counts(&self) -> Counts {
        Counts {
            serial_bytes_lost: self.keyboard.firmware().serial_lost(),
            rows: self.meter.tally(),
            ..self.counts
        }
    }

    /// What happened since the last time; whoever drives the desk takes it after each step.
    pub fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    /// Does everything that is due by `now`.
    pub fn advance(&mut self, now: Duration) {
        while let Some(due) = self.next_due().filter(|due| *due < now) {
            self.step(due.max(self.now));
        }
        self.step(now.max(self.now));
    }

    /// When something happens by itself again.
    pub fn next_due(&self) -> Option<Duration> {
        [
            self.meter.meter_due(),
            self.pc.next_due(),
            self.atx.board_due(),
            self.keyboard.board_due(),
            self.button_up_at,
            self.case_up_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Bytes of a host for a device.
    pub fn receive(&mut self, device: Device, bytes: &[u8], now: Duration) {
        self.advance(now);
        self.cable_mut(device).receive(bytes, now);
        self.settle(now);
    }

    /// Somebody opens a device's port.
    pub fn open(&mut self, device: Device, now: Duration) {
        self.advance(now);
        self.cable_mut(device).host_came();
        self.settle(now);
    }

    /// Nobody has a device's port open any more, and everything that was sent has been read.
    pub fn close(&mut self, device: Device, now: Duration) {
        self.advance(now);
        self.cable_mut(device).host_gone(0);
        self.settle(now);
    }

    /// What is due on a device's line; the host has read it. A pull of the cable that is due is done, too.
    pub fn read(&mut self, device: Device, now: Duration) -> Vec<u8> {
        self.advance(now);
        let mut read = Vec::new();
        let cable = self.cable_mut(device);
        loop {
            let count = match cable.outgoing(now) {
                None => break,
                Some(line::Outgoing::Bytes(bytes)) => {
                    read.extend_from_slice(bytes);
                    bytes.len()
                }
                Some(line::Outgoing::Unplug) => {
                    cable.unplugged(0, now);
                    break;
                }
            };
            cable.sent(count);
        }
        cable.drained();
        self.settle(now);
        read
    }

    /// Pulls a device's cable, or puts it back. A board without its cable has no power.
    pub fn set_plugged(&mut self, device: Device, plugged: bool, now: Duration) {
        self.advance(now);
        let cable = self.cable_mut(device);
        if plugged {
            cable.plugged(now);
        } else {
            cable.unplugged(0, now);
        }
        self.settle(now);
    }

    /// Resets a board. The meter is none.
    pub fn reset(&mut self, device: Device, now: Duration) {
        self.advance(now);
        match device {
            Device::PowerMeter => {}
            Device::Atx => self.atx.reset(now),
            Device::Keyboard => self.keyboard.reset(now),
        }
        self.settle(now);
    }

    /// Lets the host of a board have a line that the board did not say. The meter's faults are all in its plan.
    pub fn inject(&mut self, device: Device, text: &str, now: Duration) {
        self.advance(now);
        match device {
            Device::PowerMeter => {}
            Device::Atx => self.atx.inject(text, now),
            Device::Keyboard => self.keyboard.inject(text, now),
        }
        self.settle(now);
    }

    /// Other faults for a device.
    pub fn set_faults(&mut self, faults: Faults) {
        match faults {
            Faults::PowerMeter(plan) => self.meter.set_faults(plan),
            Faults::Atx(faults) => self.atx.set_faults(faults),
            Faults::Keyboard(faults) => self.keyboard.set_faults(faults),
        }
    }

    /// Somebody presses the power button of the PC's case for a while. The front-panel controller has no part in it.
    pub fn press_case(&mut self, time: Duration, now: Duration) {
        self.advance(now);
        self.case_up_at = Some(now + time);
        self.case_button(true, now);
        self.settle(now);
    }

    /// Somebody presses the button on the front-panel controller for a while. A board that has not been identified does not look at it.
    pub fn press_local(&mut self, time: Duration, now: Duration) {
        self.advance(now);
        self.button_up_at = Some(now + time);
        self.local_button(true, now);
        self.settle(now);
    }

    /// The meter reads its last row, as far as anybody can tell; so many of the bytes sent were not read.
    pub(super) fn finish_meter(&mut self, unread_bytes: u64) {
        self.meter.finish(unread_bytes);
        self.collect();
    }

    /// Whoever has used it has to settle what came of it.
    pub(super) fn cable_mut(&mut self, device: Device) -> &mut dyn line::Cable {
        match device {
            Device::PowerMeter => &mut self.meter,
            Device::Atx => &mut self.atx,
            Device::Keyboard => &mut self.keyboard,
        }
    }

    pub(super) fn cable(&self, device: Device) -> &dyn line::Cable {
        match device {
            Device::PowerMeter => &self.meter,
            Device::Atx => &self.atx,
            Device::Keyboard => &self.keyboard,
        }
    }

    fn step(&mut self, now: Duration) {
        self.now = now;
        // A reading that is due now is taken before anything changes.
        self.meter.advance(now);
        if self.button_up_at.is_some_and(|at| at <= now) {
            self.button_up_at = None;
            self.local_button(false, now);
        }
        if self.case_up_at.is_some_and(|at| at <= now) {
            self.case_up_at = None;
            self.case_button(false, now);
        }
        self.pc.advance(now, &mut self.pc_outputs);
        self.atx.advance(now);
        self.keyboard.advance(now);
        self.settle(now);
    }

    /// Carries what one does to the other, until nothing is left.
    pub(super) fn settle(&mut self, now: Duration) {
        loop {
            let (edges, effects) = (self.atx.take_effects(), self.keyboard.take_effects());
            let outputs = std::mem::take(&mut self.pc_outputs);
            if edges.is_empty() && effects.is_empty() && outputs.is_empty() {
                break;
            }
            for edge in edges {
                self.contact(edge);
            }
            for effect in effects {
                self.keyboard_did(effect, now);
            }
            for output in outputs {
                self.pc_did(output, now);
            }
        }
        self.collect();
    }

    fn contact(&mut self, edge: Edge) {
        let Edge {
            at,
            switch,
            contact,
            cause,
        } = edge;
        self.note(
            at,
            Source::Atx,
            PcEvent::Edge {
                switch,
                contact,
                cause,
            },
        );
        match switch {
            Switch::Power => {
                self.counts.power_edges += 1;
                self.power_contact = contact;
                self.drive_power(at);
            }
            Switch::Reset => {
                self.counts.reset_edges += 1;
                self.pc.switch(switch, contact, at, &mut self.pc_outputs);
            }
        }
    }

    fn case_button(&mut self, down: bool, now: Duration) {
        self.note(now, Source::Pc, PcEvent::CaseButton { down });
        self.case_down = down;
        self.drive_power(now);
    }

    fn drive_power(&mut self, at: Duration) {
        let contact = if self.case_down {
            Contact::Closed
        } else {
            self.power_contact
        };
        self.pc.switch(Switch::Power, contact, at, &mut self.pc_outputs);
    }

    fn keyboard_did(&mut self, effect: Effect, now: Duration) {
        let event = match effect {
            Effect::ToPc(byte) => {
                self.counts.bytes_to_pc += 1;
                self.pc.keyboard_byte(byte, now, &mut self.pc_outputs);
                PcEvent::ToPc { byte }
            }
            Effect::PowerPin(on) => PcEvent::PowerPin { on },
            Effect::Key(key) => {
                self.counts.key_edges += 1;
                PcEvent::Key {
                    action: key.action,
                    prefix: key.prefix,
                    code: key.code,
                    cause: key.cause,
                }
            }
        };
        self.note(now, Source::Keyboard, event);
    }

    fn pc_did(&mut self, output: Output, now: Duration) {
        match output {
            Output::FiveVolts(on) => {
                self.note(now, Source::Pc, PcEvent::FiveVolts { on });
                self.atx
                    .with_firmware(now, |board, now, outputs| board.five_volts(on, now, outputs));
            }
            Output::DiskEdge => self.atx.with_firmware(now, FrontPanel::disk_edge),
            Output::ToKeyboard(byte) => {
                self.note(now, Source::Pc, PcEvent::FromPc { byte });
                if self.keyboard.is_plugged() {
                    self.keyboard
                        .with_firmware(now, |board, now, outputs| board.pc_byte(byte, now, outputs));
                }
            }
            Output::Stage(stage) => {
                self.note(now, Source::Pc, PcEvent::Stage { stage });
                self.meter.pc_enters(stage, now);
            }
        }
    }

    fn local_button(&mut self, down: bool, now: Duration) {
        self.note(now, Source::Atx, PcEvent::LocalButton { down });
        self.atx
            .with_firmware(now, |board, now, outputs| board.local_button(down, now, outputs));
    }

    /// Takes the notes of the cables into the journal.
    fn collect(&mut self) {
        let atx = self.atx.take_notes().into_iter().map(|note| (Source::Atx, note));
        let keyboard = self.keyboard.take_notes().into_iter();
        let notes = atx.chain(keyboard.map(|note| (Source::Keyboard, note)));
        self.entries.extend(notes.map(|(device, note)| Entry {
            at: note.at,
            device,
            event: Event::Cable(note.kind),
        }));
        let at = self.now;
        let rows = self.meter.take_settled().into_iter();
        self.entries.extend(rows.map(|record| Entry {
            at,
            device: Source::PowerMeter,
            event: Event::Row(record),
        }));
    }

    fn note(&mut self, at: Duration, device: Source, event: PcEvent) {
        // What a board said before this is older.
        self.collect();
        self.entries.push(Entry {
            at,
            device,
            event: Event::Pc(event),
        });
    }
}

/// Whether a board of the desk has been identified.
pub(super) fn is_identified<F: Firmware>(cable: &BoardCable<F>) -> bool {
    cable.firmware().is_identified()
}
