//! The driver on the native bench, with the firmware of the emulator behind its port and the keyboard's port of a PC behind that. Time is the
//! test's: nothing happens but in `advance_ms`.

use std::time::Duration;

use autobench_sdk::bench::{Bench, Reply};
use autobench_sdk::{Outcome, Value};
use autobench_sim::board::{Firmware, Output, Restart};
use autobench_sim::keyboard::{Effect, Keyboard as Firm};
use autobench_sim::pc::keys::{Action, Code, Decoder, Layout, Meaning};
use keyboard::Keyboard;
use serde_json::{Value as Json, json};

/// What becomes of a line, in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Arrives,
    IsLost,
}

pub struct Rig {
    /// Always there, but for the moment of a swap.
    bench: Option<Bench<Keyboard>>,
    firmware: Firm,
    decoder: Decoder,
    layout: Layout,
    /// The monotonic clock of the bench began before the firmware's.
    began_ns: u64,
    /// What the driver has written, in all.
    pub written: Vec<u8>,
    /// What the firmware has sent to the PC, in all.
    pub to_pc: Vec<u8>,
    /// What the PC made of it.
    pub keys: Vec<(Action, Code)>,
    /// What a US keyboard means by it.
    pub typed: Vec<Meaning>,
    /// Decides about each line of the driver's.
    pub outbound: fn(usize, &str) -> Fate,
    /// Decides about each line of the firmware's.
    pub inbound: fn(usize, &str) -> Fate,
    /// In pieces of how many bytes the driver gets lines.
    pub chunk: usize,
    lines_out: usize,
    lines_in: usize,
    half_line: Vec<u8>,
}

impl Rig {
    pub fn new(settings: Json) -> Self {
        let bench = Bench::setup()
            .settings(settings)
            .start()
            .expect("the driver starts");
        let began_ns = bench.now_ns();
        let mut rig = Self {
            bench: Some(bench),
            firmware: Firm::default(),
            decoder: Decoder::default(),
            layout: Layout::default(),
            began_ns,
            written: Vec::new(),
            to_pc: Vec::new(),
            keys: Vec::new(),
            typed: Vec::new(),
            outbound: |_, _| Fate::Arrives,
            inbound: |_, _| Fate::Arrives,
            chunk: usize::MAX,
            lines_out: 0,
            lines_in: 0,
            half_line: Vec::new(),
        };
        rig.exchange();
        rig
    }

    /// One that is ready, and of which nothing was written yet.
    pub fn ready() -> Self {
        Self::ready_with(json!({}))
    }

    pub fn ready_with(settings: Json) -> Self {
        let mut rig = Self::new(settings);
        rig.advance_ms(10);
        assert_eq!(rig.slice()["phase"], "ready");
        rig.written.clear();
        rig.lines_out = 0;
        rig.lines_in = 0;
        rig
    }

    pub fn bench(&mut self) -> &mut Bench<Keyboard> {
        self.bench.as_mut().expect("there is one")
    }

    pub fn slice(&mut self) -> Json {
        self.bench().slice().clone()
    }

    /// Gives a command, and lets what it writes arrive.
    pub fn command(&mut self, name: &str, arguments: Json) -> String {
        let id = self.bench().command(name, &arguments);
        self.exchange();
        id
    }

    /// Gives a command and lets time pass until it is over.
    pub fn run(&mut self, name: &str, arguments: Json) -> Outcome {
        let id = self.command(name, arguments);
        self.end_of(&id)
    }

    pub fn end_of(&mut self, id: &str) -> Outcome {
        for _ in 0..3_000_000 {
            if let Some(outcome) = self.bench().outcome(id) {
                return outcome.clone();
            }
            self.advance_ms(1);
        }
        panic!("{id} does not end")
    }

    pub fn advance_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.bench().advance_ms(1);
            self.exchange();
        }
    }

    pub fn swap(&mut self) {
        let bench = self.bench.take().expect("there is one");
        self.bench = Some(bench.swap().expect("the successor starts"));
        self.exchange();
    }

    /// A fault and a restart, from a checkpoint of this moment or from nothing.
    pub fn restart(&mut self, with_checkpoint: bool) {
        let mut bench = self.bench.take().expect("there is one");
        let checkpoint = bench.checkpoint();
        let restarted = bench.restart(with_checkpoint.then_some(&checkpoint));
        self.bench = Some(restarted.expect("the driver starts again"));
        self.exchange();
    }

    pub fn lose(&mut self) {
        self.bench().lose("main", "unplugged");
        self.exchange();
    }

    pub fn attach(&mut self) {
        self.bench().attach("main");
        self.exchange();
    }

    /// The board starts anew while its line stays.
    pub fn reset_board(&mut self) {
        let now = self.now();
        let mut outputs = Vec::new();
        self.firmware.restart(Restart::Reset, now, &mut outputs);
        self.take(outputs);
    }

    /// The PC sends a byte to its keyboard.
    pub fn pc_sends(&mut self, byte: u8) {
        let now = self.now();
        let mut outputs = Vec::new();
        self.firmware.pc_byte(byte, now, &mut outputs);
        self.take(outputs);
        self.exchange();
    }

    pub fn into_bench(self) -> Bench<Keyboard> {
        self.bench.expect("there is one")
    }

    pub fn progress(&mut self, id: &str) -> Vec<String> {
        let replies = self.bench().replies().iter();
        let of_it = replies.filter_map(|reply| match reply {
            Reply::Progress(command, text, _) if command == id => Some(text.clone()),
            _ => None,
        });
        of_it.collect()
    }

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

    fn now(&mut self) -> Duration {
        let began_ns = self.began_ns;
        Duration::from_nanos(self.bench().now_ns() - began_ns)
    }

    /// Lets go to and fro what there is, until neither side says anything.
    fn exchange(&mut self) {
        loop {
            let now = self.now();
            let written = self.bench().written("main");
            let mut outputs = Vec::new();
            if written.is_empty() {
                self.firmware.advance(now, &mut outputs);
            } else {
                self.written.extend_from_slice(&written);
                self.half_line.extend_from_slice(&written);
                while let Some(end) = self.half_line.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = self.half_line.drain(..=end).collect();
                    let fate = (self.outbound)(self.lines_out, &String::from_utf8_lossy(&line));
                    self.lines_out += 1;
                    if fate == Fate::Arrives {
                        self.firmware.receive(&line, now, &mut outputs);
                    }
                }
            }
            if written.is_empty() && outputs.is_empty() {
                return;
            }
            self.take(outputs);
        }
    }

    fn take(&mut self, outputs: Vec<Output<Effect>>) {
        for output in outputs {
            match output {
                Output::Line(line) => {
                    let fate = (self.inbound)(self.lines_in, &line);
                    self.lines_in += 1;
                    if fate == Fate::Arrives {
                        let chunk = self.chunk;
                        for piece in format!("{line}\r\n").as_bytes().chunks(chunk) {
                            self.bench().feed("main", piece);
                        }
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

pub fn succeeded(count: i64) -> Outcome {
    Outcome::Succeeded(Some(Value::Integer(count)))
}
