//! Every command of every driver, asked for by everybody, by both ways, in every phase of its device: what the answer is stands in a table, and
//! what is refused writes no byte to its port.
//!
//! The three drivers that come with autobench run on one simulated PC. What there is to ask for is read from their manifests, so that a command
//! without a row in `table.rs` fails the story, and so does a row without its command. Each command is asked for with arguments that fit and with
//! such as do not, and beside it one that is not there; by nobody, a viewer, an operator and an admin; over HTTP and over the socket; with and
//! without its grant where it is dangerous; while the device is not configured any more, its driver does not run, its line is away, it is not
//! awake, silent, or left alone, and while it obeys, with the PC off and on. What is dangerous is asked for with a wrong token as well.
//!
//! The judge is the emulators' journal, which has every line that a board heard, and of the meter, whose emulator notes no such thing, a wire that
//! does. A line that was begun and not ended would stand before the next one, which would not be what it has to be. After each refusal nothing has
//! come that the driver does not say by itself to find out what the device is. What might come later stands before what comes next over the
//! same way: each command that is taken has written its own lines and no other since the one before, each change of phase the identification's
//! and no other.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of a story: what is missing fails it"
)]

mod callers;
mod table;
mod walk;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use autobench_sim::bench as sim;
use autobench_sim::bench::{Device, Event, Faults, Source};
use autobench_sim::board::{BoardFault, BoardFaults, NoteKind};
use e2e::{Bench, Daemon, DeviceEntry, eventually, given_seed, new_seed};
use serde_json::{Value, json};

use callers::{Answer, Callers};
use table::{Asked, Cell, Declared, End, Expected, Phase, Power, Role, Row, Way, expected};
use wire::Wire;

const PANEL: &str = "panel";
const KEYBOARD: &str = "keyboard";
const METER: &str = "meter";
/// The link of the wire on which the meter is.
const WIRE: &str = "wire";
const DEVICES: [(&str, &str); 3] = [(PANEL, "atx"), (KEYBOARD, "keyboard"), (METER, "power-meter")];
/// What a driver says by itself, and no command: what are you, then it is you, send rows, and at the end, keep them.
const OWN: [&str; 6] = [
    "identify",
    "identify_complete",
    "\u{18}#V,R,0;",
    "#L,W,3,E,_,1;",
    "#L,W,3,E,0,1;",
    "#L,W,3,I,_,1;",
];
/// What closes the contact of the PC's power button.
const POWER_HOLD: &str = "POWER_HOLD";
/// How much faster than for everybody time passes for the PC and its devices.
const SPEED: f64 = 6.0;
/// For how long a button is left alone after a press: long enough for the PC to see that it was let go, also on a machine that is busy.
const DEAD_MS: u64 = 150;
/// How often a phase that does not last may be over before everything has been asked in it.
const TRIES: usize = 5;

/// How the devices are configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setup {
    /// The front panel takes its time to be awake, and nothing dangerous is granted.
    Slow,
    /// Nothing dangerous is granted.
    Guarded,
    /// No driver starts with its settings.
    Wrong,
    /// There is no device.
    Empty,
    /// Everything is granted.
    Granted,
}

/// The PC has not seen a press as it was meant.
struct Missed(String);

/// How many cells of the table were walked.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    taken: usize,
    refused: usize,
    /// Of the refused ones, those that the driver refused.
    blocked: usize,
}

struct Desk {
    bench: Bench,
    sim: sim::Bench,
    wire: Wire,
    rows: Vec<Row>,
    /// Of each device how many of the lines that it heard have been judged.
    judged: BTreeMap<&'static str, usize>,
    power: Power,
    /// When, by the clock of the simulated bench, the buttons have been left alone for long enough.
    rested_ms: u64,
    tally: Tally,
}

#[tokio::test]
async fn no_command_that_is_refused_writes_a_byte_to_its_port() {
    // Two benches side by side, because both wait for most of their time.
    let (guarded, granted) = tokio::join!(before_anything_is_granted(), while_everything_is_granted());
    println!("{}", guarded.and(granted));
}

/// Walks the phases up to the one in which the devices obey, with nothing granted that is dangerous.
async fn before_anything_is_granted() -> Tally {
    let mut desk = Desk::new();
    for device in Device::ALL {
        desk.sim.control().unplug(device).unwrap();
    }
    desk.configure(Setup::Slow);
    let daemon = desk.bench.start();
    let callers = &mut Callers::of(daemon.address());
    for (device, _) in DEVICES {
        desk.walk(callers, device, Phase::Away).await;
    }

    // They are back, and silent: the drivers ask them what they are, and give up after a while.
    desk.hush();
    for device in Device::ALL {
        desk.sim.control().replug(device).unwrap();
    }
    desk.walk(callers, PANEL, Phase::Connecting).await;
    desk.walk(callers, METER, Phase::Connecting).await;
    desk.walk(callers, KEYBOARD, Phase::Identifying).await;
    desk.walk(callers, PANEL, Phase::Identifying).await;
    for (device, _) in DEVICES {
        desk.walk(callers, device, Phase::Error).await;
    }

    desk.configure(Setup::Wrong);
    for (device, _) in DEVICES {
        desk.walk(callers, device, Phase::Down).await;
    }
    let counts = desk.sim.control().stats().unwrap().counts;
    assert_eq!(
        (counts.power_edges, counts.reset_edges, counts.key_edges),
        (0, 0, 0)
    );

    desk.unhush();
    desk.configure_apart(Setup::Guarded, Setup::Wrong);
    desk.come_up(callers, Setup::Guarded).await;
    for (device, _) in DEVICES {
        desk.walk(callers, device, Phase::Ready(Power::Off)).await;
    }

    desk.configure(Setup::Empty);
    for (device, _) in DEVICES {
        desk.walk(callers, device, Phase::Gone).await;
    }
    // What the last refusals might have written comes before what the drivers say now.
    desk.configure_apart(Setup::Guarded, Setup::Empty);
    desk.come_up(callers, Setup::Guarded).await;
    let counts = desk.sim.control().stats().unwrap().counts;
    assert_eq!((counts.power_edges, counts.reset_edges), (0, 0));
    desk.end(daemon)
}

/// Walks the phase in which the devices obey, with everything granted, and the PC off and on.
async fn while_everything_is_granted() -> Tally {
    let mut desk = Desk::new();
    desk.configure_apart(Setup::Granted, Setup::Empty);
    let daemon = desk.bench.start();
    let callers = &mut Callers::of(daemon.address());
    desk.come_up(callers, Setup::Granted).await;
    desk.walk_granted(callers).await;
    // What the last refusals might have written comes before this.
    desk.switch(callers).await;
    let args = json!({"mode": "auto"});
    desk.does(callers, KEYBOARD, "power", &args, &["power_auto"])
        .await;
    desk.end(daemon)
}

impl Desk {
    fn new() -> Self {
        let bench = Bench::new();
        let seed = given_seed().unwrap_or_else(new_seed);
        println!("seed {seed}");
        let sim = bench.simulate_pc(|options| sim::Options {
            seed: Some(seed),
            speed: SPEED,
            ..options
        });
        let meter = sim.link(Device::PowerMeter).unwrap();
        let wire = Wire::lay(meter, &bench.folder().join(WIRE));
        Self {
            bench,
            sim,
            wire,
            rows: table::rows(),
            judged: BTreeMap::new(),
            power: Power::Off,
            rested_ms: 0,
            tally: Tally::default(),
        }
    }

    fn configure(&self, setup: Setup) {
        self.configure_apart(setup, setup);
    }

    /// Configures the devices, and the keyboard in another way than the rest.
    fn configure_apart(&self, rest: Setup, keyboard: Setup) {
        let entries = DEVICES.map(|(device, _)| match device {
            KEYBOARD => (device, keyboard),
            _ => (device, rest),
        });
        let there = entries.iter().filter(|(_, setup)| *setup != Setup::Empty);
        let entries: Vec<_> = there.map(|(device, setup)| self.entry(device, *setup)).collect();
        self.bench.configure_with(&callers::tokens(), &entries);
    }

    fn entry(&self, device: &str, setup: Setup) -> DeviceEntry {
        let is_wrong = setup == Setup::Wrong;
        let of = |right: u64| if is_wrong { 0 } else { right };
        // More than settings changes with it, so that a driver does not just refuse the new ones and go on.
        let limits = format!(
            "[devices.{device}.limits]\nmemory-mib = {}\n",
            64 - u64::from(is_wrong)
        );
        let (more, slice) = match device {
            PANEL => {
                let granted = match setup {
                    Setup::Granted => json!(["press", "hold", "on", "off", "force-off", "reset", "cycle"]),
                    _ => json!([]),
                };
                let wake_up_ms = if setup == Setup::Slow { 2000 } else { 0 };
                // Where time is faster for the PC, a press is longer for it.
                let force_off_ms = of((5500.0 / SPEED) as u64);
                let more = format!(
                    "[devices.panel.grants]\ndangerous-commands = {granted}\n[devices.panel.settings]\nforce-off-ms = {force_off_ms}\n\
                     press-ms = 200\ndead-ms = {DEAD_MS}\nreply-ms = 10000\nconfirm-on-ms = 4000\nconfirm-off-ms = 4000\nwake-up-ms = {wake_up_ms}\n"
                );
                (more, "frontPanel")
            }
            KEYBOARD => {
                let queue_depth = of(32);
                let more = format!(
                    "[devices.keyboard.grants]\nread-slices = [\"frontPanel\"]\n[devices.keyboard.settings]\n\
                     queue-depth = {queue_depth}\nreply-timeout-ms = 10000\npacing-ms = 0\n\
                     [[devices.keyboard.settings.macros.a]]\npress = \"KeyA\"\n"
                );
                (more, "ps2Keyboard")
            }
            _ => {
                let more = format!("[devices.meter.settings]\ninterval-s = {}\n", of(1));
                (more, "powerMeter")
            }
        };
        let link = match device {
            METER => self.bench.folder().join(WIRE),
            _ => self.sim.link(kind(device)).expect("its link").to_owned(),
        };
        DeviceEntry {
            slice: slice.to_owned(),
            more: limits + &more,
            ..DeviceEntry::new(device, plugin(device), &link)
        }
    }

    /// Nothing that a device says reaches its driver.
    fn hush(&self) {
        self.wire.mute(true);
        self.strike(&BoardFaults::none().with(BoardFault::Lost, 100));
    }

    fn unhush(&self) {
        self.wire.mute(false);
        self.strike(&BoardFaults::none());
    }

    fn strike(&self, faults: &BoardFaults) {
        for faults in [Faults::Atx(faults.clone()), Faults::Keyboard(faults.clone())] {
            self.sim.control().set_faults(faults).unwrap();
        }
    }

    // --- the judge ---

    /// Every line that a device has heard so far.
    fn heard(&self, device: &str) -> Vec<String> {
        let source = match device {
            PANEL => Source::Atx,
            KEYBOARD => Source::Keyboard,
            _ => {
                let bytes = self.wire.heard();
                let text = String::from_utf8_lossy(&bytes);
                return text.split_inclusive(';').map(ToOwned::to_owned).collect();
            }
        };
        let journal = self.sim.control().journal().expect("the simulated bench runs");
        let lines = journal.into_iter().filter(|entry| entry.device == source);
        lines
            .filter_map(|entry| match entry.event {
                Event::Cable(NoteKind::Heard { line }) => Some(line),
                _ => None,
            })
            .collect()
    }

    /// What a device has heard and nobody has judged. While it is not ready, its driver says things by itself, which are left out.
    fn unjudged(&self, device: &str, phase: Phase) -> Vec<String> {
        let heard = self.heard(device);
        let from = self.judged.get(device).copied().unwrap_or_default();
        let is_own = |line: &String| OWN.contains(&line.as_str()) && !matches!(phase, Phase::Ready(_));
        heard
            .into_iter()
            .skip(from)
            .filter(|line| !is_own(line))
            .collect()
    }

    /// Waits for as many lines as have to come, and wants no other.
    async fn judge(&mut self, device: &'static str, lines: &[&str], what: &impl fmt::Debug) {
        let phase = Phase::Ready(self.power);
        let heard = eventually(&format!("{lines:?} of {what:?}"), async || {
            let heard = self.unjudged(device, phase);
            (heard.len() >= lines.len()).then_some(heard)
        })
        .await;
        assert_eq!(heard, lines, "{what:?}");
        *self.judged.entry(device).or_default() += lines.len();
    }

    // --- phases ---

    /// Waits until a device is in one of these phases, and says in which.
    async fn until(&self, callers: &Callers, device: &str, phases: &[Phase]) -> Phase {
        eventually(&format!("{device} is one of {phases:?}"), async || {
            let now = self.phase(callers, device).await?;
            phases.contains(&now).then_some(now)
        })
        .await
    }

    async fn phase(&self, callers: &Callers, device: &str) -> Option<Phase> {
        let entry = callers.get(&format!("/api/v1/devices/{device}")).await?;
        match (
            entry["status"].as_str()?,
            entry["phase"].as_str().unwrap_or_default(),
        ) {
            ("refused", _) => Some(Phase::Down),
            // The router forgets it a moment after its driver has stopped.
            ("stopped", _) => {
                let path = "/api/v1/logs?channel=device&limit=100";
                let logs = callers.get(path).await?;
                let mut entries = logs["entries"].as_array()?.iter();
                let is_last =
                    |entry: &Value| entry["tag"] == device && entry["message"] == "is no longer configured";
                entries.any(is_last).then_some(Phase::Gone)
            }
            ("running", "disconnected") => Some(Phase::Away),
            ("running", "connecting") => Some(Phase::Connecting),
            ("running", "identifying") => Some(Phase::Identifying),
            ("running", "error") => Some(Phase::Error),
            ("running", "ready" | "streaming") => Some(Phase::Ready(self.power)),
            _ => None,
        }
    }

    /// Waits until the front panel and the meter obey, which are configured already, and then has the keyboard come: beside a front panel that does
    /// not know yet whether the PC is on, it would take what it has to refuse.
    async fn come_up(&mut self, callers: &Callers, setup: Setup) {
        self.until_identified(callers, PANEL).await;
        self.until_identified(callers, METER).await;
        self.configure(setup);
        self.until_identified(callers, KEYBOARD).await;
        self.look_at_power(callers).await;
    }

    /// Waits until a device obeys. Up to here its driver has said nothing but what it says by itself.
    async fn until_identified(&mut self, callers: &Callers, device: &'static str) {
        self.until(callers, device, &[Phase::Ready(self.power)]).await;
        eventually(&format!("the identification of {device}"), async || {
            let last = self.heard(device).pop()?;
            matches!(last.as_str(), "identify_complete" | "#L,W,3,E,_,1;").then_some(())
        })
        .await;
        assert_eq!(self.unjudged(device, Phase::Identifying), [""; 0], "{device}");
        let count = self.heard(device).len();
        self.judged.insert(device, count);
    }

    async fn until_idle(&mut self, callers: &Callers, device: &str) {
        let slice = match device {
            PANEL => "frontPanel",
            KEYBOARD => "ps2Keyboard",
            _ => return,
        };
        eventually(&format!("{device} is idle"), async || {
            let slice = callers.get(&format!("/api/v1/state?path=/{slice}")).await?;
            let held = slice["heldKeys"].as_array().map_or(0, Vec::len);
            (slice["busy"] == false && slice["queueDepth"] == 0 && held == 0).then_some(())
        })
        .await;
        // The last press ended before this.
        let now_ms = self.sim.control().stats().unwrap().t_ms;
        self.rested_ms = now_ms + (DEAD_MS as f64 * SPEED) as u64;
    }

    /// Waits until the buttons have been left alone for long enough: a hold is refused before.
    async fn until_rested(&self) {
        eventually("the buttons have rested", async || {
            (self.sim.control().stats().unwrap().t_ms > self.rested_ms).then_some(())
        })
        .await;
    }

    /// Waits until both drivers know how the PC is.
    async fn look_at_power(&mut self, callers: &Callers) {
        self.power = eventually("that both drivers know how the PC is", async || {
            let (word, power) = match self.sim.control().stats().unwrap().five_volts {
                true => ("on", Power::On),
                false => ("off", Power::Off),
            };
            for slice in ["frontPanel", "ps2Keyboard"] {
                let path = format!("/api/v1/state?path=/{slice}/powerSense");
                if callers.get(&path).await? != word {
                    return None;
                }
            }
            Some(power)
        })
        .await;
    }

    /// The daemon ends. The meter is told to keep its rows, and nothing else is said.
    fn end(&self, daemon: Daemon) -> Tally {
        assert!(daemon.stop().success());
        assert_eq!(self.unjudged(METER, Phase::Ready(self.power)), ["#L,W,3,I,_,1;"]);
        for board in [PANEL, KEYBOARD] {
            assert_eq!(self.unjudged(board, Phase::Ready(self.power)), [""; 0], "{board}");
        }
        self.tally
    }
}

fn plugin(device: &str) -> &'static str {
    let mut known = DEVICES.iter();
    known.find(|(other, _)| *other == device).expect("a device").1
}

fn kind(device: &str) -> Device {
    match device {
        PANEL => Device::Atx,
        KEYBOARD => Device::Keyboard,
        _ => Device::PowerMeter,
    }
}

/// How a command is when it is over.
async fn end_of(callers: &Callers, id: &str) -> Value {
    eventually(&format!("the end of {id}"), async || {
        let status = callers.get(&format!("/api/v1/commands/{id}")).await?;
        (!status["completedAt"].is_null()).then_some(status)
    })
    .await
}

impl Tally {
    fn and(self, other: Self) -> Self {
        Self {
            taken: self.taken + other.taken,
            refused: self.refused + other.refused,
            blocked: self.blocked + other.blocked,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            taken,
            refused,
            blocked,
        } = self;
        write!(
            f,
            "{} cells: {taken} taken, {refused} refused, {blocked} of them by the driver, no byte for a refused one",
            taken + refused
        )
    }
}
