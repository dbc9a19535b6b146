//! The bench on pseudo-terminals: one thread that carries bytes between the terminals and the [`Desk`], and keeps its time.
//!
//! The thread waits in `poll` for bytes, for somebody who opens, reads or closes a port, for a request, and for the next moment at which
//! something happens on the desk. It owns everything; a [`Control`] only sends it requests.

use super::Device;
use super::desk::{Counts, Desk, Faults, Setup, is_identified};
use super::journal::{Entry, Journal};
use crate::board::BoardFaults;
use crate::clock::Clock;
use crate::line::{Line, Wait};
use crate::pc::{PcOptions, Stage};
use crate::pty::Waker;
use crate::random::fresh_seed;
use crate::wattsup::FaultPlan;
use crate::wattsup::meter::EnergyField;
use serde::Serialize;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Requests that wait for the thread. Each asker waits for its answer, so this fills only with as many askers; the next one waits, too.
const REQUESTS: usize = 16;
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
}

/// A running bench. [`Bench::stop`] ends it and says how it went; dropping it ends it, too, and says nothing.
#[derive(Debug)]
pub struct Bench {
    control: Control,
    thread: Option<JoinHandle<io::Result<Stats>>>,
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
        let lines = options
            .links
            .iter()
            .map(|(device, link)| Ok((*device, Line::create(link.clone())?)))
            .collect::<io::Result<Vec<_>>>()?;
        let waker = Arc::new(Waker::new()?);
        let (sender, requests) = sync_channel(REQUESTS);
        let worker = Worker {
            desk,
            lines,
            clock,
            waker: Arc::clone(&waker),
            requests,
            journal,
            entries: VecDeque::new(),
            seed,
        };
        let thread = std::thread::Builder::new()
            .name("sim-bench".to_owned())
            .spawn(move || worker.run())?;
        Ok(Self {
            control: Control { sender, waker },
            thread: Some(thread),
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
        self.control.clone()
    }

    /// Lets the hosts read what is on the lines, sums up in the journal, takes the links away and ends.
    pub fn stop(mut self) -> io::Result<Stats> {
        self.end()
    }

    fn end(&mut self) -> io::Result<Stats> {
        let Some(thread) = self.thread.take() else {
            return Err(stopped());
        };
        // Without a thread to hear it, the thread's own result says why.
        let _ = self.control.send(Command::Stop, None);
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the bench's thread panicked")))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.end();
        }
    }
}

/// Steers a running bench from any thread. Each request returns when it has been done; after the end of the bench all of them fail.
#[derive(Clone, Debug)]
pub struct Control {
    sender: SyncSender<Request>,
    waker: Arc<Waker>,
}

impl Control {
    /// Lets the hosts read what is on the lines, and stops simulated time. Commands are still heard.
    pub fn pause(&self) -> io::Result<Stats> {
        self.ask(Command::Pause).map(|(stats, _)| stats)
    }

    /// Lets simulated time pass again.
    pub fn resume(&self) -> io::Result<Stats> {
        self.ask(Command::Resume).map(|(stats, _)| stats)
    }

    /// Lets the host read what is on the line, then pulls the cable: the link goes, and whoever has the port open gets a hang-up. A board
    /// loses its power with it, and lets go of the buttons.
    pub fn unplug(&self, device: Device) -> io::Result<Stats> {
        self.ask(Command::Unplug(device)).map(|(stats, _)| stats)
    }

    /// Puts the cable back: a new terminal under the same link. It changes nothing while the cable is in.
    pub fn replug(&self, device: Device) -> io::Result<Stats> {
        self.ask(Command::Replug(device)).map(|(stats, _)| stats)
    }

    /// Resets a board, whatever it is doing.
    pub fn reset(&self, device: Device) -> io::Result<Stats> {
        self.ask(Command::Reset(device)).map(|(stats, _)| stats)
    }

    /// Lets the host of a board have a line that the board did not say.
    pub fn inject(&self, device: Device, line: &str) -> io::Result<Stats> {
        self.ask(Command::Inject(device, line.to_owned()))
            .map(|(stats, _)| stats)
    }

    /// Other faults for a device.
    pub fn set_faults(&self, faults: Faults) -> io::Result<Stats> {
        self.ask(Command::SetFaults(faults)).map(|(stats, _)| stats)
    }

    /// Presses the power button of the PC's case for a while of simulated time. The front-panel controller has no part in it.
    pub fn press_case(&self, time: Duration) -> io::Result<Stats> {
        self.ask(Command::PressCase(time)).map(|(stats, _)| stats)
    }

    /// Presses the button on the front-panel controller for a while of simulated time. A board that has not been identified does not look at
    /// it.
    pub fn press_local(&self, time: Duration) -> io::Result<Stats> {
        self.ask(Command::PressLocal(time)).map(|(stats, _)| stats)
    }

    /// How it stands.
    pub fn stats(&self) -> io::Result<Stats> {
        self.ask(Command::Stats).map(|(stats, _)| stats)
    }

    /// What the PC's screen shows: 25 rows, without the blanks at their ends.
    pub fn screen(&self) -> io::Result<Vec<String>> {
        match self.ask(Command::Screen)? {
            (_, Extra::Screen(screen)) => Ok(screen),
            _ => Ok(Vec::new()),
        }
    }

    /// What happened since the start; of a long run, the last twenty thousand entries.
    pub fn journal(&self) -> io::Result<Vec<Entry>> {
        match self.ask(Command::Journal)? {
            (_, Extra::Journal(entries)) => Ok(entries),
            _ => Ok(Vec::new()),
        }
    }

    fn ask(&self, command: Command) -> io::Result<(Stats, Extra)> {
        let (answer, answered) = sync_channel(1);
        self.send(command, Some(answer))?;
        answered.recv().unwrap_or_else(|_| Err(stopped()))
    }

    fn send(&self, command: Command, answer: Option<Answer>) -> io::Result<()> {
        self.sender
            .send(Request { command, answer })
            .map_err(|_| stopped())?;
        self.waker.wake()
    }
}

type Answer = SyncSender<io::Result<(Stats, Extra)>>;

#[derive(Debug)]
struct Request {
    command: Command,
    answer: Option<Answer>,
}

#[derive(Clone, Debug)]
enum Command {
    Pause,
    Resume,
    Unplug(Device),
    Replug(Device),
    Reset(Device),
    Inject(Device, String),
    SetFaults(Faults),
    PressCase(Duration),
    PressLocal(Duration),
    Stats,
    Screen,
    Journal,
    Stop,
}

/// What a request gets beside how it stands.
#[derive(Debug)]
enum Extra {
    Nothing,
    Screen(Vec<String>),
    Journal(Vec<Entry>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

/// What the thread owns.
struct Worker {
    desk: Desk,
    lines: Vec<(Device, Line)>,
    clock: Clock,
    waker: Arc<Waker>,
    requests: Receiver<Request>,
    journal: Option<Journal>,
    /// The last entries of the journal.
    entries: VecDeque<Entry>,
    seed: u64,
}

impl Worker {
    fn run(mut self) -> io::Result<Stats> {
        while self.answer_requests()? == Next::GoOn {
            self.step()?;
            self.wait()?;
        }
        self.finish()
    }

    fn answer_requests(&mut self) -> io::Result<Next> {
        // Taken before the requests, or one that comes in between would not wake anybody.
        self.waker.take()?;
        loop {
            match self.requests.try_recv() {
                Ok(Request {
                    command: Command::Stop,
                    ..
                })
                | Err(TryRecvError::Disconnected) => return Ok(Next::End),
                Err(TryRecvError::Empty) => return Ok(Next::GoOn),
                Ok(Request { command, answer }) => {
                    self.step()?;
                    let done = self.obey(command);
                    self.write_journal()?;
                    if let Some(answer) = answer {
                        // Who asked may have gone meanwhile.
                        let _ = answer.try_send(done.map(|extra| (self.stats(), extra)));
                    }
                }
            }
        }
    }

    fn obey(&mut self, command: Command) -> io::Result<Extra> {
        let now = self.clock.now();
        match command {
            Command::Pause => {
                self.clock.pause();
                self.let_read()?;
            }
            Command::Resume => self.clock.resume(),
            Command::Unplug(device) => {
                let line = line_of(&mut self.lines, device)?;
                line.pull(self.desk.cable_mut(device), now)?;
                self.desk.settle(now);
            }
            Command::Replug(device) => {
                let line = line_of(&mut self.lines, device)?;
                line.plug(self.desk.cable_mut(device), now)?;
                self.desk.settle(now);
            }
            Command::Reset(device) => self.desk.reset(device, now),
            Command::Inject(device, line) => self.desk.inject(device, &line, now),
            Command::SetFaults(faults) => self.desk.set_faults(faults),
            Command::PressCase(time) => self.desk.press_case(time, now),
            Command::PressLocal(time) => self.desk.press_local(time, now),
            Command::Screen => return Ok(Extra::Screen(self.desk.screen().lines())),
            Command::Journal => {
                self.write_journal()?;
                return Ok(Extra::Journal(self.entries.iter().cloned().collect()));
            }
            Command::Stats | Command::Stop => {}
        }
        Ok(Extra::Nothing)
    }

    /// Does what is due now, hears the hosts, and hands the journal what happened.
    fn step(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        for (device, line) in &mut self.lines {
            line.replug_if_due(self.desk.cable_mut(*device), now)?;
        }
        loop {
            // Event by event, so that a thread that was held up for long gives each line its turn on the terminal.
            let to = self.desk.next_due().map_or(now, |due| due.min(now));
            self.desk.advance(to);
            self.pump(now)?;
            if to == now {
                break;
            }
        }
        for (device, line) in &mut self.lines {
            line.listen(self.desk.cable_mut(*device), now)?;
            self.desk.settle(now);
        }
        self.pump(now)?;
        self.write_journal()
    }

    /// Writes what is due, as far as there is room.
    fn pump(&mut self, now: Duration) -> io::Result<()> {
        for (device, line) in &mut self.lines {
            line.pump(self.desk.cable_mut(*device), now)?;
        }
        self.desk.settle(now);
        Ok(())
    }

    fn let_read(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        for (device, line) in &mut self.lines {
            line.let_read(self.desk.cable_mut(*device), now)?;
        }
        self.desk.settle(now);
        Ok(())
    }

    fn finish(mut self) -> io::Result<Stats> {
        self.step()?;
        self.let_read()?;
        for (device, line) in &self.lines {
            if *device == Device::PowerMeter {
                self.desk.finish_meter(line.discard_unread()?);
            }
        }
        self.write_journal()?;
        let stats = self.stats();
        if let Some(journal) = &mut self.journal {
            journal.summary(stats.counts, self.seed)?;
        }
        for (_, line) in self.lines {
            line.close();
        }
        Ok(stats)
    }

    fn write_journal(&mut self) -> io::Result<()> {
        for entry in self.desk.take_entries() {
            if let Some(journal) = &mut self.journal {
                journal.entry(&entry)?;
            }
            if self.entries.len() == ENTRIES_KEPT {
                self.entries.pop_front();
            }
            self.entries.push_back(entry);
        }
        Ok(())
    }

    fn stats(&self) -> Stats {
        let device = |(device, line): &(Device, Line)| DeviceStats {
            device: *device,
            plugged: line.is_plugged(),
            identified: match device {
                Device::PowerMeter => false,
                Device::Atx => is_identified(self.desk.atx()),
                Device::Keyboard => is_identified(self.desk.keyboard()),
            },
        };
        Stats {
            t_ms: u64::try_from(self.clock.now().as_millis()).unwrap_or(u64::MAX),
            paused: self.clock.is_paused(),
            seed: self.seed,
            five_volts: self.desk.pc().has_five_volts(),
            stage: self.desk.pc().stage(),
            counts: self.desk.counts(),
            devices: self.lines.iter().map(device).collect(),
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) -> io::Result<()> {
        let desk = self.desk.next_due().and_then(|due| self.clock.until(due));
        let mut wait = Wait::new(&*self.waker, desk);
        for (device, line) in &self.lines {
            wait = wait.line(line, self.desk.cable(*device), &self.clock);
        }
        wait.poll()
    }
}

fn line_of(lines: &mut [(Device, Line)], device: Device) -> io::Result<&mut Line> {
    lines
        .iter_mut()
        .find(|(other, _)| *other == device)
        .map(|(_, line)| line)
        .ok_or_else(|| {
            let message = format!("{device} has no terminal here");
            io::Error::new(io::ErrorKind::NotFound, message)
        })
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the bench has ended")
}
