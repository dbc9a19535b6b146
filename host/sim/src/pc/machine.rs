//! The PC that somebody operates: its switches, its supply, its start, its prompt. Switches, keyboard bytes and the time in; 5 V, disk light,
//! bytes for the keyboard, and the stage that says what it takes from the wall, out.
//!
//! ```text
//! Off --power pressed--> Starting --supply up--> Booting --loaded--> Prompt <--> Benchmark
//!  ^                                                ^                   |
//!  |                                                `-- reset, Ctrl+Alt+Del from anywhere below Off
//!  `-- power held for 4 s, `shutdown`
//! ```
//!
//! A short press while it runs does nothing: its setup says "delay 4 s", as it has to where a bench presses the button by mistake. A hold that
//! switches it on counts as well, so holding on for four seconds more switches it off again.

use super::keys::{Decoder, Layout, Meaning};
use super::port::Port;
use super::prompt::{Prompt, Task};
use super::screen::Screen;
use super::{BENCHMARK, Stage};
use crate::random::Random;
use std::collections::VecDeque;
use std::time::Duration;

/// How long a switch has to stay as it is before the board believes it.
pub const SWITCH_DEBOUNCE: Duration = Duration::from_millis(16);
/// From the press to 5 V.
pub const SUPPLY_UP: Duration = Duration::from_millis(300);
/// For how long the supply's capacitors keep 5 V up.
pub const SUPPLY_DOWN: Duration = Duration::from_millis(30);
/// A hold of the power switch that cuts power, whatever runs.
pub const HOLD_TO_CUT: Duration = Duration::from_secs(4);
/// From 5 V, or the end of a reset, to the prompt.
pub const BOOT: Duration = Duration::from_secs(9);
/// From 5 V, or the end of a reset, to the first byte for the keyboard.
pub const KEYBOARD_RESET: Duration = Duration::from_millis(300);
/// From the command to the end of power.
pub const SHUTDOWN: Duration = Duration::from_millis(1500);
/// Keys that wait while nobody reads them, as in the memory of a PC's BIOS; one more is lost with a beep.
const TYPED_AHEAD: usize = 15;

/// A switch on the front panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Switch {
    /// Starts it, and cuts power when held.
    Power,
    /// Starts it over.
    Reset,
}

/// A pair of contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contact {
    /// Nobody presses.
    Open,
    /// Somebody presses.
    Closed,
}

/// What the PC does to those around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Its supply gives 5 V, or does not any more.
    FiveVolts(bool),
    /// The light of the disk has gone on or off.
    DiskEdge,
    /// A byte for the keyboard.
    ToKeyboard(u8),
    /// It does something else from now on.
    Stage(Stage),
}

/// The PC.
#[derive(Debug)]
pub struct Machine {
    seed: u64,
    random: Random,
    state: State,
    power: Debounced,
    reset: Debounced,
    /// When the hold of the power switch began to count.
    held_since: Option<Duration>,
    five_volts: bool,
    agenda: VecDeque<(Duration, Step)>,
    disk_edges: VecDeque<Duration>,
    port: Port,
    decoder: Decoder,
    layout: Layout,
    typed_ahead: VecDeque<Meaning>,
    prompt: Prompt,
    screen: Screen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Off,
    /// The supply comes up.
    Starting,
    /// The reset switch is closed.
    HeldInReset,
    Booting,
    Prompt,
    Benchmark,
    ShuttingDown,
}

/// What is to happen at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    SupplyUp,
    SupplyDown,
    Say(&'static str),
    SetUpKeyboard,
    SayKeyboard,
    Loaded,
    BenchmarkEnds,
    PowerOff,
}

/// A switch, and what the board believes about it.
#[derive(Debug)]
struct Debounced {
    raw: Contact,
    since: Duration,
    believed: Contact,
}

impl Machine {
    /// A PC that is off, with nobody at its switches.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            random: Random::new(seed),
            state: State::Off,
            power: Debounced::open(),
            reset: Debounced::open(),
            held_since: None,
            five_volts: false,
            agenda: VecDeque::new(),
            disk_edges: VecDeque::new(),
            port: Port::default(),
            decoder: Decoder::default(),
            layout: Layout::default(),
            typed_ahead: VecDeque::new(),
            prompt: Prompt::default(),
            screen: Screen::default(),
        }
    }

    /// What its screen shows.
    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Whether its supply gives 5 V.
    pub fn has_five_volts(&self) -> bool {
        self.five_volts
    }

    /// What it is doing.
    pub fn stage(&self) -> Stage {
        match self.state {
            State::Off => Stage::Off,
            State::Starting | State::HeldInReset | State::Booting => Stage::Boot,
            State::Prompt | State::ShuttingDown => Stage::Idle,
            State::Benchmark => Stage::Benchmark,
        }
    }

    /// What the benchmark says at its end. Another seed is another PC.
    pub fn score(&self) -> u64 {
        Random::new(self.seed).next_u64() % 200 + 1400
    }

    /// Somebody presses a switch, or lets it go.
    pub fn switch(&mut self, switch: Switch, contact: Contact, now: Duration, outputs: &mut Vec<Output>) {
        self.advance(now, outputs);
        let debounced = match switch {
            Switch::Power => &mut self.power,
            Switch::Reset => &mut self.reset,
        };
        if debounced.raw != contact {
            (debounced.raw, debounced.since) = (contact, now);
        }
    }

    /// A byte from the keyboard.
    pub fn keyboard_byte(&mut self, byte: u8, now: Duration, outputs: &mut Vec<Output>) {
        self.advance(now, outputs);
        if !self.five_volts || self.state == State::HeldInReset {
            return;
        }
        let key = self.port.receive(byte).and_then(|byte| self.decoder.push(byte));
        match key.and_then(|(action, code)| self.layout.push(action, code)) {
            Some(Meaning::ControlAltDelete) => self.boot(now, outputs),
            Some(Meaning::LightsChanged) => self.port.set_lights(self.layout.lights()),
            Some(meaning) => self.typed(meaning, now, outputs),
            None => {}
        }
        self.talk(now, outputs);
    }

    /// Does everything that is due by `now`.
    pub fn advance(&mut self, now: Duration, outputs: &mut Vec<Output>) {
        while let Some(due) = self.next_due().filter(|due| *due <= now) {
            self.believe_switches(due, outputs);
            if self.held_since.is_some_and(|since| since + HOLD_TO_CUT <= due) {
                self.power_off(due, outputs);
            }
            while let Some((_, step)) = self.agenda.pop_front_if(|(at, _)| *at <= due) {
                self.take(step, due, outputs);
            }
            while self.disk_edges.pop_front_if(|at| *at <= due).is_some() {
                outputs.push(Output::DiskEdge);
            }
            self.talk(due, outputs);
        }
    }

    /// When `advance` has something to do again.
    pub fn next_due(&self) -> Option<Duration> {
        [
            self.power.due(),
            self.reset.due(),
            self.held_since.map(|since| since + HOLD_TO_CUT),
            self.agenda.front().map(|(at, _)| *at),
            self.disk_edges.front().copied(),
            self.port.next_due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn believe_switches(&mut self, now: Duration, outputs: &mut Vec<Output>) {
        match self.power.settle(now) {
            Some(Contact::Closed) if self.state == State::Off => {
                self.enter(State::Starting, outputs);
                self.schedule(now, SUPPLY_UP, Step::SupplyUp);
            }
            Some(Contact::Closed) if self.five_volts => self.held_since = Some(now),
            Some(Contact::Open) => self.held_since = None,
            _ => {}
        }
        match self.reset.settle(now) {
            Some(Contact::Closed) if self.five_volts && self.state != State::Off => {
                self.forget();
                self.enter(State::HeldInReset, outputs);
            }
            Some(Contact::Open) if self.state == State::HeldInReset => self.boot(now, outputs),
            _ => {}
        }
    }

    fn take(&mut self, step: Step, now: Duration, outputs: &mut Vec<Output>) {
        match step {
            Step::SupplyUp => {
                self.set_five_volts(true, outputs);
                if self.power.believed == Contact::Closed {
                    self.held_since = Some(now);
                }
                if self.reset.believed == Contact::Closed {
                    self.enter(State::HeldInReset, outputs);
                } else {
                    self.boot(now, outputs);
                }
            }
            Step::SupplyDown => self.set_five_volts(false, outputs),
            Step::Say(text) => self.screen.print(text),
            Step::SetUpKeyboard => self.port.set_up(self.layout.lights()),
            Step::SayKeyboard => {
                let text = if self.port.is_answered() {
                    "Keyboard ................ found\n\n"
                } else {
                    "Keyboard error or no keyboard present\n\n"
                };
                self.screen.print(text);
            }
            Step::Loaded => {
                self.enter(State::Prompt, outputs);
                self.prompt.show(&mut self.screen);
                self.read_ahead(now, outputs);
            }
            Step::BenchmarkEnds => {
                let text = format!("Done in 60.0 s. Score: {}\n\n", self.score());
                self.screen.print(&text);
                self.enter(State::Prompt, outputs);
                self.prompt.show(&mut self.screen);
                self.read_ahead(now, outputs);
            }
            Step::PowerOff => self.power_off(now, outputs),
        }
    }

    /// Starts over, with the supply up.
    fn boot(&mut self, now: Duration, outputs: &mut Vec<Output>) {
        self.forget();
        self.enter(State::Booting, outputs);
        for (after_ms, text) in [
            (100, "Sim BIOS v4.51, an emulation of no PC in particular\n\n"),
            (400, "Memory test ............. 65536K OK\n"),
            (3_300, "Primary master .......... SIM-8400 8063 MB\n"),
            (5_000, "Starting Sim-DOS...\n\n"),
            (7_200, "HIMEM is testing extended memory... done.\n"),
        ] {
            self.schedule(now, Duration::from_millis(after_ms), Step::Say(text));
        }
        self.schedule(now, KEYBOARD_RESET, Step::SetUpKeyboard);
        self.schedule(now, Duration::from_secs(3), Step::SayKeyboard);
        self.schedule(now, BOOT, Step::Loaded);
        // The disk is looked for, then read until the prompt is there.
        self.disk_busy(now + Duration::from_millis(2_500), Duration::from_millis(300));
        self.disk_busy(now + Duration::from_millis(4_800), Duration::from_millis(1_400));
        self.disk_busy(now + Duration::from_millis(6_700), Duration::from_millis(900));
        self.disk_busy(now + Duration::from_millis(8_200), Duration::from_millis(600));
    }

    /// Ends whatever runs, without a word.
    fn forget(&mut self) {
        self.agenda.clear();
        self.disk_edges.clear();
        self.port.power_off();
        self.decoder = Decoder::default();
        self.layout = Layout::default();
        self.typed_ahead.clear();
        self.screen.clear();
    }

    fn power_off(&mut self, now: Duration, outputs: &mut Vec<Output>) {
        self.forget();
        self.held_since = None;
        self.enter(State::Off, outputs);
        self.schedule(now, SUPPLY_DOWN, Step::SupplyDown);
    }

    fn enter(&mut self, state: State, outputs: &mut Vec<Output>) {
        // A boot in the middle of a boot begins anew, and so does what it takes from the wall.
        self.state = state;
        outputs.push(Output::Stage(self.stage()));
    }

    fn set_five_volts(&mut self, on: bool, outputs: &mut Vec<Output>) {
        if self.five_volts != on {
            self.five_volts = on;
            outputs.push(Output::FiveVolts(on));
        }
    }

    /// A key for whatever runs.
    fn typed(&mut self, meaning: Meaning, now: Duration, outputs: &mut Vec<Output>) {
        match self.state {
            State::Prompt => {
                let task = self.prompt.push(meaning, &mut self.screen);
                self.disk_edges_for(task, now);
                match task {
                    Some(Task::Bench) => self.start_benchmark(now, outputs),
                    Some(Task::Shutdown) => {
                        self.screen.print("Shutting down.\n");
                        self.enter(State::ShuttingDown, outputs);
                        self.schedule(now, SHUTDOWN, Step::PowerOff);
                    }
                    Some(Task::Lookup) | None => {}
                }
            }
            State::Benchmark if meaning == Meaning::ControlC => {
                self.agenda.clear();
                self.disk_edges.clear();
                self.typed_ahead.clear();
                self.screen.print("^C\n\n");
                self.enter(State::Prompt, outputs);
                self.prompt.show(&mut self.screen);
            }
            State::Booting | State::Benchmark if self.typed_ahead.len() < TYPED_AHEAD => {
                self.typed_ahead.push_back(meaning);
            }
            _ => {}
        }
    }

    /// What was typed while nobody read it.
    fn read_ahead(&mut self, now: Duration, outputs: &mut Vec<Output>) {
        while self.state == State::Prompt
            && let Some(meaning) = self.typed_ahead.pop_front()
        {
            self.typed(meaning, now, outputs);
        }
    }

    fn start_benchmark(&mut self, now: Duration, outputs: &mut Vec<Output>) {
        self.enter(State::Benchmark, outputs);
        self.screen.print("Sim-Bench 1.0\n");
        let mut start = 0.0;
        for part in BENCHMARK {
            let after = Duration::from_secs_f64(start);
            self.schedule(now, after, Step::Say(part.name));
            self.schedule(now, after, Step::Say("...\n"));
            start += part.seconds;
        }
        self.schedule(now, Duration::from_secs_f64(start), Step::BenchmarkEnds);
    }

    fn disk_edges_for(&mut self, task: Option<Task>, now: Duration) {
        match task {
            Some(Task::Lookup) => self.disk_busy(now, Duration::from_millis(80)),
            Some(Task::Shutdown) => self.disk_busy(now, Duration::from_millis(700)),
            Some(Task::Bench) => {
                // It loads, and at the end it writes its results.
                self.disk_busy(now, Duration::from_millis(2_700));
                for second in [52, 55, 58] {
                    self.disk_busy(now + Duration::from_secs(second), Duration::from_millis(1_200));
                }
            }
            None => {}
        }
    }

    /// Makes the light flicker for a while.
    fn disk_busy(&mut self, from: Duration, time: Duration) {
        let until = from + time;
        let mut at = from.max(self.disk_edges.back().copied().unwrap_or_default());
        while at < until {
            self.disk_edges.push_back(at);
            at += Duration::from_millis(self.random.between(4, 45) as u64);
        }
    }

    fn schedule(&mut self, now: Duration, after: Duration, step: Step) {
        let at = now + after;
        let place = self.agenda.partition_point(|(other, _)| *other <= at);
        self.agenda.insert(place, (at, step));
    }

    /// Says what it has to say to the keyboard.
    fn talk(&mut self, now: Duration, outputs: &mut Vec<Output>) {
        while let Some(byte) = self.port.advance(now) {
            outputs.push(Output::ToKeyboard(byte));
        }
    }
}

impl Debounced {
    fn open() -> Self {
        Self {
            raw: Contact::Open,
            since: Duration::ZERO,
            believed: Contact::Open,
        }
    }

    fn due(&self) -> Option<Duration> {
        (self.raw != self.believed).then(|| self.since + SWITCH_DEBOUNCE)
    }

    /// What the board believes from now on, if that is something else than before.
    fn settle(&mut self, now: Duration) -> Option<Contact> {
        self.due().filter(|due| *due <= now)?;
        self.believed = self.raw;
        Some(self.believed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moves the power switch at milliseconds, closing it first, and tells when 5 V came and went.
    fn five_volts_after(moves_ms: &[u64]) -> Vec<(u128, bool)> {
        let mut machine = Machine::new(1);
        let mut seen = Vec::new();
        let mut outputs = Vec::new();
        for ms in 0..20_000u64 {
            let now = Duration::from_millis(ms);
            machine.advance(now, &mut outputs);
            if let Some(index) = moves_ms.iter().position(|at| *at == ms) {
                let contact = if index % 2 == 0 {
                    Contact::Closed
                } else {
                    Contact::Open
                };
                machine.switch(Switch::Power, contact, now, &mut outputs);
            }
            for output in outputs.drain(..) {
                if let Output::FiveVolts(on) = output {
                    seen.push((now.as_millis(), on));
                }
            }
        }
        seen
    }

    #[test]
    fn a_switch_that_only_bounces_starts_nothing() {
        assert_eq!(five_volts_after(&[10, 25, 30, 45]), []);
        assert_eq!(
            five_volts_after(&[10, 12, 15, 200]),
            [(331, true)],
            "the time counts from the last bounce"
        );
    }

    #[test]
    fn a_hold_that_starts_the_pc_cuts_it_when_it_goes_on_for_four_seconds() {
        assert_eq!(
            five_volts_after(&[0, 5500]),
            [(316, true), (4346, false)],
            "four seconds after 5 V, and 30 ms until they are gone"
        );
        assert_eq!(five_volts_after(&[0, 4300]), [(316, true)]);
        assert_eq!(
            five_volts_after(&[0, 5500, 6000, 6250]),
            [(316, true), (4346, false), (6316, true)]
        );
    }

    #[test]
    fn whatever_is_done_to_it_nothing_stays_due() {
        for seed in 0..50 {
            let mut random = Random::new(seed);
            let mut machine = Machine::new(seed);
            let mut now = Duration::ZERO;
            let mut outputs = Vec::new();
            for _ in 0..2000 {
                match random.below(8) {
                    0 => {
                        let switch = random.pick(&[Switch::Power, Switch::Reset], Switch::Power);
                        let contact = random.pick(&[Contact::Open, Contact::Closed], Contact::Open);
                        machine.switch(switch, contact, now, &mut outputs);
                    }
                    1 => now += Duration::from_millis(random.below(5000) as u64),
                    2 => now += Duration::from_millis(random.below(20) as u64),
                    _ => machine.keyboard_byte((random.next_u64() & 0xFF) as u8, now, &mut outputs),
                }
                machine.advance(now, &mut outputs);
                assert!(machine.next_due().is_none_or(|due| due > now), "seed {seed}");
                assert_eq!(machine.screen().lines().len(), 25, "seed {seed}");
            }
            let volts: Vec<bool> = outputs
                .iter()
                .filter_map(|output| match output {
                    Output::FiveVolts(on) => Some(*on),
                    _ => None,
                })
                .collect();
            assert!(
                volts
                    .iter()
                    .enumerate()
                    .all(|(index, on)| *on == (index % 2 == 0)),
                "seed {seed}: {volts:?}"
            );
        }
    }
}
