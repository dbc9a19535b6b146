//! The keyboard adapter, as firmware of the emulator with the keyboard's port of a PC behind it, and a line that may lose what is said on it.

use std::time::Duration;

use autobench_sdk::bench::{Bench, Model};
use autobench_sim::board::{Firmware, Output, Restart};
use autobench_sim::keyboard::{Effect, Keyboard as Firm};
use autobench_sim::pc::keys::{Action, Code, Decoder, Layout, Meaning};
use keyboard::Keyboard;
use serde_json::{Value as Json, json};

/// The driver with the adapter at its port.
pub type Rig = autobench_sdk::bench::Rig<Keyboard, Adapter>;

/// One that is ready, and of which nothing was written yet.
pub fn ready() -> Rig {
    ready_with(json!({}))
}

pub fn ready_with(settings: Json) -> Rig {
    let setup = Bench::setup().settings(settings);
    let mut rig = Rig::start(setup, "main", Adapter::default()).expect("the driver starts");
    rig.advance_ms(10);
    assert_eq!(rig.slice()["phase"], "ready");
    rig.device.written.clear();
    rig.device.lines_out = 0;
    rig.device.lines_in = 0;
    rig
}

/// The board starts anew while its line stays.
pub fn reset_board(rig: &mut Rig) {
    let now = rig.now();
    rig.device.reset(now);
    rig.exchange();
}

/// The PC sends a byte to its keyboard.
pub fn pc_sends(rig: &mut Rig, byte: u8) {
    let now = rig.now();
    rig.device.pc_byte(byte, now);
    rig.exchange();
}

/// What becomes of a line, in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Arrives,
    IsLost,
}

pub struct Adapter {
    firmware: Firm,
    decoder: Decoder,
    layout: Layout,
    /// What the driver has written, in all.
    pub written: Vec<u8>,
    /// What the firmware has sent to the PC, in all.
    pub to_pc: Vec<u8>,
    /// What the PC made of it.
    keys: Vec<(Action, Code)>,
    /// What a US keyboard means by it.
    pub typed: Vec<Meaning>,
    /// Decides about each line of the driver's.
    pub outbound: fn(usize, &str) -> Fate,
    /// Decides about each line of the firmware's.
    pub inbound: fn(usize, &str) -> Fate,
    lines_out: usize,
    lines_in: usize,
    half_line: Vec<u8>,
    /// Lines that are on their way to the driver.
    said: Vec<Vec<u8>>,
}

impl Default for Adapter {
    fn default() -> Self {
        Self {
            firmware: Firm::default(),
            decoder: Decoder::default(),
            layout: Layout::default(),
            written: Vec::new(),
            to_pc: Vec::new(),
            keys: Vec::new(),
            typed: Vec::new(),
            outbound: |_, _| Fate::Arrives,
            inbound: |_, _| Fate::Arrives,
            lines_out: 0,
            lines_in: 0,
            half_line: Vec::new(),
            said: Vec::new(),
        }
    }
}

impl Adapter {
    /// What was typed, as text.
    pub fn text(&self) -> String {
        let characters = self.typed.iter().filter_map(|meaning| match meaning {
            Meaning::Character(character) => Some(*character),
            Meaning::Enter => Some('\n'),
            _ => None,
        });
        characters.collect()
    }

    /// Keys that are down at the PC.
    pub fn down(&self) -> Vec<Code> {
        let mut down = Vec::new();
        for (action, code) in &self.keys {
            down.retain(|held| held != code);
            if *action == Action::Make {
                down.push(*code);
            }
        }
        down
    }

    fn reset(&mut self, now: Duration) {
        let mut outputs = Vec::new();
        self.firmware.restart(Restart::Reset, now, &mut outputs);
        self.take(outputs);
    }

    fn pc_byte(&mut self, byte: u8, now: Duration) {
        let mut outputs = Vec::new();
        self.firmware.pc_byte(byte, now, &mut outputs);
        self.take(outputs);
    }

    /// The driver's lines arrive whole, or not at all.
    fn receive(&mut self, written: &[u8], now: Duration, outputs: &mut Vec<Output<Effect>>) {
        self.written.extend_from_slice(written);
        self.half_line.extend_from_slice(written);
        while let Some(end) = self.half_line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.half_line.drain(..=end).collect();
            let fate = (self.outbound)(self.lines_out, &String::from_utf8_lossy(&line));
            self.lines_out += 1;
            if fate == Fate::Arrives {
                self.firmware.receive(&line, now, outputs);
            }
        }
    }

    fn take(&mut self, outputs: Vec<Output<Effect>>) {
        for output in outputs {
            match output {
                Output::Line(line) => {
                    let fate = (self.inbound)(self.lines_in, &line);
                    self.lines_in += 1;
                    if fate == Fate::Arrives {
                        self.said.push(format!("{line}\r\n").into_bytes());
                    }
                }
                Output::Effect(Effect::ToPc(byte)) => {
                    self.to_pc.push(byte);
                    if let Some((action, code)) = self.decoder.push(byte) {
                        self.keys.push((action, code));
                        self.typed.extend(self.layout.push(action, code));
                    }
                }
                Output::Effect(_) => {}
            }
        }
    }
}

impl Model for Adapter {
    fn exchange(&mut self, written: &[u8], now: Duration) -> Vec<Vec<u8>> {
        let mut outputs = Vec::new();
        if written.is_empty() {
            self.firmware.advance(now, &mut outputs);
        } else {
            self.receive(written, now, &mut outputs);
        }
        self.take(outputs);
        std::mem::take(&mut self.said)
    }
}
