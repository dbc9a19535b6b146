//! The bench on pseudo-terminals: a [`Desk`] that a thread brings bytes and time, and what can be asked of it.

use super::Device;
use super::desk::{Counts, Desk, Faults, Setup, is_identified};
use super::journal::Entry;
use crate::board::BoardFaults;
use crate::clock::Clock;
use crate::journal::Journal;
use crate::line::{self, Line};
use crate::pc::{PcOptions, Stage};
use crate::random::fresh_seed;
use crate::runner::{Asker, Hosts, Request, Rig, Running};
use crate::wattsup::FaultPlan;
use crate::wattsup::meter::EnergyField;
use serde::Serialize;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Entries of the journal that can be asked for. The file has them all; here the oldest go.
const ENTRIES_KEPT: usize = 20_000;

/// What to emulate.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the link of each device's terminal is made. A device without a link is there, and nobody can open it.
    pub links: Vec<(Device, PathBuf)>,
    /// What noise and faults are drawn from; a fresh one if there is none.
    pub seed: Option<u64>,
    /// How many simulated seconds pass in a real one.
    pub speed: f64,
    /// Faults of the meter's cable.
    pub meter_faults: FaultPlan,
    /// Faults of the front-panel controller and its cable.
    pub atx_faults: BoardFaults,
    /// Faults of the keyboard adapter and its cable.
    pub keyboard_faults: BoardFaults,
    /// Where to note what happened. With a journal, the Wh field of each row of the meter carries the row's number.
    pub journal: Option<PathBuf>,
    /// The PC.
    pub pc: PcOptions,
}

impl Options {
    /// All devices in real time, each with a link in the folder that has the device's name: `power-meter`, `atx`, `keyboard`.
    pub fn in_folder(folder: &Path) -> Self {
        Self::with_links(Device::ALL.map(|device| (device, folder.join(device.name()))))
    }

    /// Good devices in real time.
    pub fn with_links(links: impl IntoIterator<Item = (Device, PathBuf)>) -> Self {
        Self {
            links: links.into_iter().collect(),
            seed: None,
            speed: 1.0,
            meter_faults: FaultPlan::none(),
            atx_faults: BoardFaults::none(),
            keyboard_faults: BoardFaults::none(),
            journal: None,
            pc: PcOptions::default(),
        }
    }
}

/// How it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Simulated time since the bench was set up.
    pub t_ms: u64,
    /// Whether simulated time stands still.
    pub paused: bool,
    /// What noise and faults are drawn from.
    pub seed: u64,
    /// Whether the PC's supply gives 5 V.
    pub five_volts: bool,
    /// What the PC does.
    pub stage: Stage,
    /// How often things happened.
    #[serde(flatten)]
    pub counts: Counts,
    /// The devices with a terminal.
    pub devices: Vec<DeviceStats>,
}

/// How a device stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceStats {
    /// Which.
    pub device: Device,
    /// Whether its cable is in.
    pub plugged: bool,
    /// Whether it has been identified; the meter never is.
    pub identified: bool,
    /// How often it was reset; the meter never is.
    pub resets: u64,
}

/// A running bench. [`Bench::stop`] ends it and says how it went; dropping it ends it, too, and says nothing.
#[derive(Debug)]
pub struct Bench {
    running: Running<DeskRig>,
    links: Vec<(Device, PathBuf)>,
    seed: u64,
}

impl Bench {
    /// Makes the terminals, their links and the journal, and starts.
    pub fn start(options: Options) -> io::Result<Self> {
        let clock = Clock::new(options.speed)?;
        let seed = options.seed.unwrap_or_else(fresh_seed);
        let journal = options.journal.as_deref().map(Journal::create).transpose()?;
        let desk = Desk::new(Setup {
            pc: options.pc,
            seed,
            energy_field: if journal.is_some() {
                EnergyField::RowNumber
            } else {
                EnergyField::Energy
            },
            meter_faults: options.meter_faults,
            atx_faults: options.atx_faults,
            keyboard_faults: options.keyboard_faults,
        });
        let rig = DeskRig {
            desk,
            journal,
            entries: VecDeque::new(),
            seed,
        };
        Ok(Self {
            running: Running::start(rig, clock, &options.links)?,
            links: options.links,
            seed,
        })
    }

    /// Where the links are.
    pub fn links(&self) -> &[(Device, PathBuf)] {
        &self.links
    }

    /// Where a device's link is, if it has one.
    pub fn link(&self, device: Device) -> Option<&Path> {
        let (_, link) = self.links.iter().find(|(other, _)| *other == device)?;
        Some(link)
    }

    /// What noise and faults are drawn from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A handle that others can keep.
    pub fn control(&self) -> Control {
        Control(self.running.asker().clone())
    }

    /// Lets the hosts read what is on the lines, sums up in the journal, takes the links away and ends.
    pub fn stop(self) -> io::Result<Stats> {
        self.running.stop()
    }
}

/// Steers a running bench from any thread. Each request returns when it has been done; after the end of the bench all of them fail.
#[derive(Clone, Debug)]
pub struct Control(Asker<DeskRig>);

impl Control {
    /// Lets the hosts read what is on the lines, and stops simulated time. Commands are still heard.
    pub fn pause(&self) -> io::Result<Stats> {
        self.0.ask(Request::Pause)
    }

    /// Lets simulated time pass again.
    pub fn resume(&self) -> io::Result<Stats> {
        self.0.ask(Request::Resume)
    }

    /// Lets the host read what is on the line, then pulls the cable: the link goes, and whoever has the port open gets a hang-up. A board
    /// loses its power with it, and lets go of the buttons.
    pub fn unplug(&self, device: Device) -> io::Result<Stats> {
        self.0.ask(Request::Unplug(device))
    }

    /// Puts the cable back: a new terminal under the same link. It changes nothing while the cable is in.
    pub fn replug(&self, device: Device) -> io::Result<Stats> {
        self.0.ask(Request::Replug(device))
    }

    /// The device comes anew under another terminal before the old one has gone: the link moves, then whoever has the port open gets a hang-up. A
    /// board loses its power for that moment.
    pub fn rename(&self, device: Device) -> io::Result<Stats> {
        self.0.ask(Request::Rename(device))
    }

    /// Lets nothing through in either direction while the port can be opened all the same, as an adapter that hangs; or everything again.
    pub fn mute(&self, device: Device, muted: bool) -> io::Result<Stats> {
        self.0.ask(Request::Mute(device, muted))
    }

    /// Lets the host of a device have bytes that the device did not say.
    pub fn noise(&self, device: Device, bytes: &[u8]) -> io::Result<Stats> {
        self.0.ask(Request::Noise(device, bytes.to_vec()))
    }

    /// Resets a board, whatever it is doing.
    pub fn reset(&self, device: Device) -> io::Result<Stats> {
        self.order(Order::Reset(device))
    }

    /// Lets the host of a board have a line that the board did not say.
    pub fn inject(&self, device: Device, line: &str) -> io::Result<Stats> {
        self.order(Order::Inject(device, line.to_owned()))
    }

    /// Other faults for a device.
    pub fn set_faults(&self, faults: Faults) -> io::Result<Stats> {
        self.order(Order::SetFaults(faults))
    }

    /// Presses the power button of the PC's case for a while of simulated time. The front-panel controller has no part in it.
    pub fn press_case(&self, time: Duration) -> io::Result<Stats> {
        self.order(Order::PressCase(time))
    }

    /// Presses the button on the front-panel controller for a while of simulated time. A board that has not been identified does not look at
    /// it.
    pub fn press_local(&self, time: Duration) -> io::Result<Stats> {
        self.order(Order::PressLocal(time))
    }

    /// How it stands.
    pub fn stats(&self) -> io::Result<Stats> {
        self.0.ask(Request::Stats)
    }

    /// What the PC's screen shows: 25 rows, without the blanks at their ends.
    pub fn screen(&self) -> io::Result<Vec<String>> {
        match self.0.ask_for(Request::Order(Order::Screen))? {
            (_, Extra::Screen(screen)) => Ok(screen),
            _ => Ok(Vec::new()),
        }
    }

    /// What happened since the start; of a long run, the last twenty thousand entries.
    pub fn journal(&self) -> io::Result<Vec<Entry>> {
        match self.0.ask_for(Request::Order(Order::Journal))? {
            (_, Extra::Journal(entries)) => Ok(entries),
            _ => Ok(Vec::new()),
        }
    }

    fn order(&self, order: Order) -> io::Result<Stats> {
        self.0.ask(Request::Order(order))
    }
}

#[derive(Clone, Debug)]
enum Order {
    Reset(Device),
    Inject(Device, String),
    SetFaults(Faults),
    PressCase(Duration),
    PressLocal(Duration),
    Screen,
    Journal,
}

/// What an order gets beside how it stands.
#[derive(Debug, Default)]
enum Extra {
    #[default]
    Nothing,
    Screen(Vec<String>),
    Journal(Vec<Entry>),
}

/// The desk, and its journal.
struct DeskRig {
    desk: Desk,
    journal: Option<Journal>,
    /// The last entries of the journal.
    entries: VecDeque<Entry>,
    seed: u64,
}

impl Rig for DeskRig {
    type Order = Order;
    type Extra = Extra;
    type Stats = Stats;

    const NAME: &'static str = "bench";
    const THREAD: &'static str = "sim-bench";
    const HOSTS: Hosts = Hosts::After;

    fn cable_mut(&mut self, device: Device) -> &mut dyn line::Cable {
        self.desk.cable_mut(device)
    }

    fn cable(&self, device: Device) -> &dyn line::Cable {
        self.desk.cable(device)
    }

    fn advance(&mut self, to: Duration) {
        self.desk.advance(to);
    }

    fn next_due(&self) -> Option<Duration> {
        self.desk.next_due()
    }

    fn settle(&mut self, now: Duration) {
        self.desk.settle(now);
    }

    fn obey(&mut self, order: Order, now: Duration) -> io::Result<Extra> {
        match order {
            Order::Reset(device) => self.desk.reset(device, now),
            Order::Inject(device, line) => self.desk.inject(device, &line, now),
            Order::SetFaults(faults) => self.desk.set_faults(faults),
            Order::PressCase(time) => self.desk.press_case(time, now),
            Order::PressLocal(time) => self.desk.press_local(time, now),
            Order::Screen => return Ok(Extra::Screen(self.desk.screen().lines())),
            Order::Journal => {
                self.write_journal()?;
                return Ok(Extra::Journal(self.entries.iter().cloned().collect()));
            }
        }
        Ok(Extra::Nothing)
    }

    fn finish_meter(&mut self, unread_bytes: u64) {
        self.desk.finish_meter(unread_bytes);
    }

    fn write_journal(&mut self) -> io::Result<()> {
        for entry in self.desk.take_entries() {
            if let Some(journal) = &mut self.journal {
                journal.line(&entry)?;
            }
            if self.entries.len() == ENTRIES_KEPT {
                self.entries.pop_front();
            }
            self.entries.push_back(entry);
        }
        Ok(())
    }

    fn sum_up(&mut self) -> io::Result<()> {
        match &mut self.journal {
            Some(journal) => journal.summary(self.desk.counts(), self.seed),
            None => Ok(()),
        }
    }

    fn stats(&self, clock: &Clock, lines: &[(Device, Line)]) -> Stats {
        let device = |(device, line): &(Device, Line)| DeviceStats {
            device: *device,
            plugged: line.is_plugged(),
            identified: match device {
                Device::PowerMeter => false,
                Device::Atx => is_identified(self.desk.atx()),
                Device::Keyboard => is_identified(self.desk.keyboard()),
            },
            resets: match device {
                Device::PowerMeter => 0,
                Device::Atx => self.desk.atx().resets(),
                Device::Keyboard => self.desk.keyboard().resets(),
            },
        };
        Stats {
            t_ms: clock.now_ms(),
            paused: clock.is_paused(),
            seed: self.seed,
            five_volts: self.desk.pc().has_five_volts(),
            stage: self.desk.pc().stage(),
            counts: self.desk.counts(),
            devices: lines.iter().map(device).collect(),
        }
    }
}
