//! The meter on a pseudo-terminal: one thread that carries bytes between the terminal and the [`Cable`](super::cable::Cable), and keeps
//! its time.
//!
//! The thread waits in `poll` for bytes, for somebody who opens, reads or closes the port, for a request, and for the next moment at which
//! the cable has something to do. It owns the terminal; a [`Control`] only sends it requests.

use super::cable::Cable;
use super::fault::FaultPlan;
use super::journal::{Journal, Tally};
use super::meter::{EnergyField, Meter};
use crate::clock::Clock;
use crate::line::{Line, Wait};
use crate::pc::{Pc, PcOptions};
use crate::pty::Waker;
use crate::random::fresh_seed;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

/// Requests that wait for the thread. Each asker waits for its answer, so this fills only with as many askers; the next one waits, too.
const REQUESTS: usize = 16;

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
    control: Control,
    thread: Option<JoinHandle<io::Result<Stats>>>,
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
        let waker = Arc::new(Waker::new()?);
        let (sender, requests) = sync_channel(REQUESTS);
        let worker = Worker {
            cable: Cable::new(meter, options.faults, seed),
            line: Line::create(options.link.clone())?,
            clock,
            waker: Arc::clone(&waker),
            requests,
            journal,
            seed,
        };
        let thread = std::thread::Builder::new()
            .name("sim-wattsup".to_owned())
            .spawn(move || worker.run())?;
        Ok(Self {
            control: Control { sender, waker },
            thread: Some(thread),
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
        self.control.clone()
    }

    /// As [`Control::pause`].
    pub fn pause(&self) -> io::Result<Stats> {
        self.control.pause()
    }

    /// As [`Control::resume`].
    pub fn resume(&self) -> io::Result<Stats> {
        self.control.resume()
    }

    /// As [`Control::unplug`].
    pub fn unplug(&self) -> io::Result<Stats> {
        self.control.unplug()
    }

    /// As [`Control::replug`].
    pub fn replug(&self) -> io::Result<Stats> {
        self.control.replug()
    }

    /// As [`Control::set_faults`].
    pub fn set_faults(&self, faults: FaultPlan) -> io::Result<Stats> {
        self.control.set_faults(faults)
    }

    /// As [`Control::stats`].
    pub fn stats(&self) -> io::Result<Stats> {
        self.control.stats()
    }

    /// Lets the host read what is on the line, sums up in the journal, takes the link away and ends.
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
            .unwrap_or_else(|_| Err(io::Error::other("the emulator's thread panicked")))
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.end();
        }
    }
}

/// Steers a running emulator from any thread. Each request returns when it has been done; after the end of the emulator all of them fail.
#[derive(Clone, Debug)]
pub struct Control {
    sender: SyncSender<Request>,
    waker: Arc<Waker>,
}

impl Control {
    /// Lets the host read what is on the line, and stops simulated time. Commands are still answered. The journal is complete, except for
    /// rows that the host leaves unread.
    pub fn pause(&self) -> io::Result<Stats> {
        self.ask(Command::Pause)
    }

    /// Lets simulated time pass again.
    pub fn resume(&self) -> io::Result<Stats> {
        self.ask(Command::Resume)
    }

    /// Lets the host read what is on the line, then pulls the cable: the link goes, and whoever has the port open gets a hang-up.
    pub fn unplug(&self) -> io::Result<Stats> {
        self.ask(Command::Unplug)
    }

    /// Puts the cable back: a new terminal under the same link. It changes nothing while the cable is in.
    pub fn replug(&self) -> io::Result<Stats> {
        self.ask(Command::Replug)
    }

    /// Another plan, from its first turn. A silence goes on until the host asks for rows.
    pub fn set_faults(&self, faults: FaultPlan) -> io::Result<Stats> {
        self.ask(Command::SetFaults(faults))
    }

    /// How it stands.
    pub fn stats(&self) -> io::Result<Stats> {
        self.ask(Command::Stats)
    }

    fn ask(&self, command: Command) -> io::Result<Stats> {
        let (answer, answered) = sync_channel(1);
        self.send(command, Some(answer))?;
        answered.recv().unwrap_or_else(|_| Err(stopped()))
    }

    fn send(&self, command: Command, answer: Option<SyncSender<io::Result<Stats>>>) -> io::Result<()> {
        self.sender
            .send(Request { command, answer })
            .map_err(|_| stopped())?;
        self.waker.wake()
    }
}

#[derive(Debug)]
struct Request {
    command: Command,
    answer: Option<SyncSender<io::Result<Stats>>>,
}

#[derive(Clone, Debug)]
enum Command {
    Pause,
    Resume,
    Unplug,
    Replug,
    SetFaults(FaultPlan),
    Stats,
    Stop,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

/// What the thread owns.
struct Worker {
    cable: Cable,
    line: Line,
    clock: Clock,
    waker: Arc<Waker>,
    requests: Receiver<Request>,
    journal: Option<Journal>,
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
                    let done = self.obey(command).map(|()| self.stats());
                    self.write_journal()?;
                    if let Some(answer) = answer {
                        // Who asked may have gone meanwhile.
                        let _ = answer.try_send(done);
                    }
                }
            }
        }
    }

    fn obey(&mut self, command: Command) -> io::Result<()> {
        let now = self.clock.now();
        match command {
            Command::Pause => {
                self.clock.pause();
                self.line.let_read(&mut self.cable, self.clock.now()).map(|_| ())
            }
            Command::Resume => {
                self.clock.resume();
                Ok(())
            }
            Command::Unplug => self.line.pull(&mut self.cable, now),
            Command::Replug => self.line.plug(&mut self.cable, now),
            Command::SetFaults(faults) => {
                self.cable.set_faults(faults);
                Ok(())
            }
            Command::Stats | Command::Stop => Ok(()),
        }
    }

    /// Does what is due now, and hands the journal what was settled.
    fn step(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        self.line.replug_if_due(&mut self.cable, now)?;
        self.line.listen(&mut self.cable, now)?;
        loop {
            // Row by row, so that a thread that was held up for long gives each row its turn on the line.
            let to = self.cable.meter_due().map_or(now, |due| due.min(now));
            self.cable.advance(to);
            self.line.pump(&mut self.cable, now)?;
            if to == now {
                break;
            }
        }
        self.write_journal()
    }

    fn finish(mut self) -> io::Result<Stats> {
        self.step()?;
        self.line.let_read(&mut self.cable, self.clock.now())?;
        self.cable.finish(self.line.discard_unread()?);
        self.write_journal()?;
        let stats = self.stats();
        if let Some(journal) = &mut self.journal {
            journal.summary(stats.tally, self.seed)?;
        }
        self.line.close();
        Ok(stats)
    }

    fn write_journal(&mut self) -> io::Result<()> {
        for record in self.cable.take_settled() {
            if let Some(journal) = &mut self.journal {
                journal.row(&record)?;
            }
        }
        Ok(())
    }

    fn stats(&self) -> Stats {
        Stats {
            tally: self.cable.tally(),
            t_ms: u64::try_from(self.clock.now().as_millis()).unwrap_or(u64::MAX),
            paused: self.clock.is_paused(),
            plugged: self.line.is_plugged(),
            seed: self.seed,
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) -> io::Result<()> {
        let meter = self.cable.meter_due().and_then(|due| self.clock.until(due));
        Wait::new(&*self.waker, meter)
            .line(&self.line, &self.cable, &self.clock)
            .poll()
    }
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the emulator has ended")
}
