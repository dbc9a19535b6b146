//! The meter on a pseudo-terminal: a [`Cable`] that a thread brings bytes and time, and what can be asked of it.

use super::cable::Cable;
use super::fault::FaultPlan;
use super::journal::Tally;
use super::meter::{EnergyField, Meter};
use crate::clock::Clock;
use crate::device::Device;
use crate::journal::Journal;
use crate::line::{self, Line};
use crate::pc::{Pc, PcOptions};
use crate::random::fresh_seed;
use crate::runner::{Asker, Hosts, Request, Rig, Running};
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The one line that a meter has.
const METER: Device = Device::PowerMeter;

/// What to emulate.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the link to the terminal is made.
    pub link: PathBuf,
    /// What noise and faults are drawn from; a fresh one if there is none.
    pub seed: Option<u64>,
    /// How many simulated seconds pass in a real one.
    pub speed: f64,
    /// Which faults act.
    pub faults: FaultPlan,
    /// Where to note what became of each row. With a journal, the Wh field of each row carries the row's number.
    pub journal: Option<PathBuf>,
    /// The PC behind the meter.
    pub pc: PcOptions,
}

impl Options {
    /// A good meter in real time.
    pub fn new(link: impl Into<PathBuf>) -> Self {
        Self {
            link: link.into(),
            seed: None,
            speed: 1.0,
            faults: FaultPlan::none(),
            journal: None,
            pc: PcOptions::default(),
        }
    }
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// How many rows ended how.
    #[serde(flatten)]
    pub tally: Tally,
    /// Simulated time since power-on.
    pub t_ms: u64,
    /// Whether simulated time stands still.
    pub paused: bool,
    /// Whether the cable is in.
    pub plugged: bool,
    /// What noise and faults are drawn from.
    pub seed: u64,
}

/// A running emulator. [`Emulator::stop`] ends it and says how it went; dropping it ends it, too, and says nothing.
#[derive(Debug)]
pub struct Emulator {
    running: Running<MeterRig>,
    link: PathBuf,
    seed: u64,
}

impl Emulator {
    /// Makes the terminal, its link and the journal, and starts.
    pub fn start(options: Options) -> io::Result<Self> {
        let clock = Clock::new(options.speed)?;
        let seed = options.seed.unwrap_or_else(fresh_seed);
        let journal = options.journal.as_deref().map(Journal::create).transpose()?;
        let energy_field = if journal.is_some() {
            EnergyField::RowNumber
        } else {
            EnergyField::Energy
        };
        // Its banner goes out before anybody can have opened the port.
        let meter = Meter::power_on(Pc::new(options.pc, seed), energy_field, &mut Vec::new());
        let rig = MeterRig {
            cable: Cable::new(meter, options.faults, seed),
            journal,
            seed,
        };
        Ok(Self {
            running: Running::start(rig, clock, &[(METER, options.link.clone())])?,
            link: options.link,
            seed,
        })
    }

    /// Where the link is.
    pub fn link(&self) -> &Path {
        &self.link
    }

    /// What noise and faults are drawn from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A handle that others can keep.
    pub fn control(&self) -> Control {
        Control(self.running.asker().clone())
    }

    /// As [`Control::pause`].
    pub fn pause(&self) -> io::Result<Stats> {
        self.control().pause()
    }

    /// As [`Control::resume`].
    pub fn resume(&self) -> io::Result<Stats> {
        self.control().resume()
    }

    /// As [`Control::unplug`].
    pub fn unplug(&self) -> io::Result<Stats> {
        self.control().unplug()
    }

    /// As [`Control::replug`].
    pub fn replug(&self) -> io::Result<Stats> {
        self.control().replug()
    }

    /// As [`Control::set_faults`].
    pub fn set_faults(&self, faults: FaultPlan) -> io::Result<Stats> {
        self.control().set_faults(faults)
    }

    /// As [`Control::stats`].
    pub fn stats(&self) -> io::Result<Stats> {
        self.control().stats()
    }

    /// Lets the host read what is on the line, sums up in the journal, takes the link away and ends.
    pub fn stop(self) -> io::Result<Stats> {
        self.running.stop()
    }
}

/// Steers a running emulator from any thread. Each request returns when it has been done; after the end of the emulator all of them fail.
#[derive(Clone, Debug)]
pub struct Control(Asker<MeterRig>);

impl Control {
    /// Lets the host read what is on the line, and stops simulated time. Commands are still answered. The journal is complete, except for
    /// rows that the host leaves unread.
    pub fn pause(&self) -> io::Result<Stats> {
        self.0.ask(Request::Pause)
    }

    /// Lets simulated time pass again.
    pub fn resume(&self) -> io::Result<Stats> {
        self.0.ask(Request::Resume)
    }

    /// Lets the host read what is on the line, then pulls the cable: the link goes, and whoever has the port open gets a hang-up.
    pub fn unplug(&self) -> io::Result<Stats> {
        self.0.ask(Request::Unplug(METER))
    }

    /// Puts the cable back: a new terminal under the same link. It changes nothing while the cable is in.
    pub fn replug(&self) -> io::Result<Stats> {
        self.0.ask(Request::Replug(METER))
    }

    /// Another plan, from its first turn. A silence goes on until the host asks for rows.
    pub fn set_faults(&self, faults: FaultPlan) -> io::Result<Stats> {
        self.0.ask(Request::Order(faults))
    }

    /// How it stands.
    pub fn stats(&self) -> io::Result<Stats> {
        self.0.ask(Request::Stats)
    }
}

/// The meter on its cable, and its journal.
struct MeterRig {
    cable: Cable,
    journal: Option<Journal>,
    seed: u64,
}

impl Rig for MeterRig {
    type Order = FaultPlan;
    type Extra = ();
    type Stats = Stats;

    const NAME: &'static str = "emulator";
    const THREAD: &'static str = "sim-wattsup";
    const HOSTS: Hosts = Hosts::Before;

    fn cable_mut(&mut self, _: Device) -> &mut dyn line::Cable {
        &mut self.cable
    }

    fn cable(&self, _: Device) -> &dyn line::Cable {
        &self.cable
    }

    fn advance(&mut self, to: Duration) {
        self.cable.advance(to);
    }

    fn next_due(&self) -> Option<Duration> {
        self.cable.meter_due()
    }

    /// There is nobody else whom it could concern.
    fn settle(&mut self, _: Duration) {}

    fn obey(&mut self, faults: FaultPlan, _: Duration) -> io::Result<()> {
        self.cable.set_faults(faults);
        Ok(())
    }

    fn finish_meter(&mut self, unread_bytes: u64) {
        self.cable.finish(unread_bytes);
    }

    fn write_journal(&mut self) -> io::Result<()> {
        for record in self.cable.take_settled() {
            if let Some(journal) = &mut self.journal {
                journal.line(&record)?;
            }
        }
        Ok(())
    }

    fn sum_up(&mut self) -> io::Result<()> {
        match &mut self.journal {
            Some(journal) => journal.summary(self.cable.tally(), self.seed),
            None => Ok(()),
        }
    }

    fn stats(&self, clock: &Clock, lines: &[(Device, Line)]) -> Stats {
        Stats {
            tally: self.cable.tally(),
            t_ms: clock.now_ms(),
            paused: clock.is_paused(),
            plugged: lines.iter().all(|(_, line)| line.is_plugged()),
            seed: self.seed,
        }
    }
}
