//! The meter on a pseudo-terminal: one thread that carries bytes between the terminal and the [`Cable`](super::cable::Cable), and keeps
//! its time.
//!
//! The thread waits in `poll` for bytes, for somebody who opens, reads or closes the port, for a request, and for the next moment at which
//! the cable has something to do. It owns the terminal; a [`Control`] only sends it requests.

use super::cable::{Cable, Outgoing};
use super::fault::FaultPlan;
use super::journal::{Journal, Tally};
use super::meter::{EnergyField, Meter};
use crate::pc::{Pc, PcOptions};
use crate::pty::{Drain, Presence, Pty, Waker};
use crate::random::fresh_seed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a host may take to read what is on the line before a pause, a planned unplug or the end; what it has not read then is lost.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// How long the cable stays out when a fault pulled it, in real time, because that is what a host's retries are measured in.
const UNPLUGGED_FOR: Duration = Duration::from_millis(500);
/// Requests that wait for the thread. Each asker waits for its answer, so this fills only with as many askers; the next one waits, too.
const REQUESTS: usize = 16;
/// How fast simulated time may pass, compared with real time.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.001..=10_000.0;

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
        if !SPEEDS.contains(&options.speed) {
            let message = format!(
                "a speed is from {} to {}, not {}",
                SPEEDS.start(),
                SPEEDS.end(),
                options.speed
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
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
            clock: Clock::new(options.speed),
            pty: Some(Pty::create(&options.link)?),
            link: options.link.clone(),
            waker: Arc::clone(&waker),
            requests,
            journal,
            seed,
            replug_at: None,
            blocked: false,
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
    clock: Clock,
    /// None while the cable is out.
    pty: Option<Pty>,
    link: PathBuf,
    waker: Arc<Waker>,
    requests: Receiver<Request>,
    journal: Option<Journal>,
    seed: u64,
    replug_at: Option<Instant>,
    /// The terminal has no room for what is due.
    blocked: bool,
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
        match command {
            Command::Pause => {
                self.clock.pause();
                self.let_read().map(|_| ())
            }
            Command::Resume => {
                self.clock.resume();
                Ok(())
            }
            Command::Unplug => {
                self.pull()?;
                self.replug_at = None;
                Ok(())
            }
            Command::Replug => self.plug(),
            Command::SetFaults(faults) => {
                self.cable.set_faults(faults);
                Ok(())
            }
            Command::Stats | Command::Stop => Ok(()),
        }
    }

    /// Does what is due now, and hands the journal what was settled.
    fn step(&mut self) -> io::Result<()> {
        if self.replug_at.is_some_and(|at| at <= Instant::now()) {
            self.plug()?;
        }
        let now = self.clock.now();
        self.listen(now)?;
        loop {
            // Row by row, so that a thread that was held up for long gives each row its turn on the line.
            let to = self.cable.meter_due().map_or(now, |due| due.min(now));
            self.cable.advance(to);
            self.pump(now)?;
            if to == now {
                break;
            }
        }
        self.write_journal()
    }

    /// Takes what the host wrote, and notices that it came or went.
    fn listen(&mut self, now: Duration) -> io::Result<()> {
        let Some(pty) = &mut self.pty else { return Ok(()) };
        // Bytes first, events second: whoever wrote these bytes had opened the port before, so the events are sure to say it.
        let mut bytes = Vec::new();
        read_all(pty, &mut bytes)?;
        let changes = pty.presence()?;
        if changes.contains(&Presence::Gone) {
            // Its last words, which it may have written after the first look.
            read_all(pty, &mut bytes)?;
        }
        if !bytes.is_empty() && changes.is_empty() {
            pty.mark_occupied();
        }
        self.cable.set_host_rate(pty.baud_rate()?);
        // Bytes belong to whoever is there at the end, unless nobody is.
        let heard_before_gone = changes.last() == Some(&Presence::Gone);
        for change in changes {
            match change {
                Presence::Came => self.cable.host_came(),
                Presence::Gone => {
                    if heard_before_gone {
                        self.cable.receive(&std::mem::take(&mut bytes), now);
                    }
                    self.cable.host_gone(pty.discard_unread()?);
                    pty.clear_exclusive()?;
                }
            }
        }
        self.cable.receive(&bytes, now);
        Ok(())
    }

    /// Writes what is due, as far as there is room, and looks whether it has been read.
    fn pump(&mut self, now: Duration) -> io::Result<()> {
        self.blocked = false;
        loop {
            let Some(pty) = &self.pty else { return Ok(()) };
            match self.cable.outgoing(now) {
                None => break,
                Some(Outgoing::Bytes(bytes)) => match pty.write(bytes)? {
                    0 => {
                        self.blocked = true;
                        break;
                    }
                    count => self.cable.sent(count),
                },
                Some(Outgoing::Unplug) => {
                    self.take_out()?;
                    self.replug_at = Some(Instant::now() + UNPLUGGED_FOR);
                    return Ok(());
                }
            }
        }
        if let Some(pty) = &self.pty
            && self.cable.awaits_reader()
            && pty.is_drained()?
        {
            self.cable.drained();
        }
        Ok(())
    }

    /// Sends what waits for its time, and waits until the host has read it. Says how much it has left.
    fn let_read(&mut self) -> io::Result<Drain> {
        let now = self.clock.now();
        self.cable.hurry(now);
        let until = Instant::now() + DRAIN_LIMIT;
        loop {
            self.pump(now)?;
            let Some(pty) = &mut self.pty else {
                return Ok(Drain::Empty);
            };
            if pty.wait_drained(until.saturating_duration_since(Instant::now()))? == Drain::Unread {
                return Ok(Drain::Unread);
            }
            self.cable.drained();
            // What had no room before has it now.
            if !self.blocked {
                return Ok(Drain::Empty);
            }
        }
    }

    fn pull(&mut self) -> io::Result<()> {
        self.let_read()?;
        self.take_out()
    }

    fn take_out(&mut self) -> io::Result<()> {
        let Some(mut pty) = self.pty.take() else {
            return Ok(());
        };
        let unread = match pty.wait_drained(DRAIN_LIMIT)? {
            Drain::Empty => 0,
            // Whoever has not read until now does not read.
            Drain::Unread => pty.discard_unread()?,
        };
        self.cable.unplugged(unread);
        pty.close();
        Ok(())
    }

    fn plug(&mut self) -> io::Result<()> {
        self.replug_at = None;
        if self.pty.is_none() {
            self.pty = Some(Pty::create(&self.link)?);
            self.cable.plugged();
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Stats> {
        self.step()?;
        self.let_read()?;
        let unread = match &self.pty {
            Some(pty) => pty.discard_unread()?,
            None => 0,
        };
        self.cable.finish(unread);
        self.write_journal()?;
        let stats = self.stats();
        if let Some(journal) = &mut self.journal {
            journal.summary(stats.tally, self.seed)?;
        }
        if let Some(pty) = self.pty.take() {
            pty.close();
        }
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
            plugged: self.pty.is_some(),
            seed: self.seed,
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) -> io::Result<()> {
        let line_due = if self.blocked { None } else { self.cable.line_due() };
        let due = [self.cable.meter_due(), line_due].into_iter().flatten().min();
        let replug = self
            .replug_at
            .map(|at| at.saturating_duration_since(Instant::now()));
        let longest = [due.and_then(|due| self.clock.until(due)), replug]
            .into_iter()
            .flatten()
            .min();
        let longest = longest.map(|wait| Timespec::try_from(wait).unwrap_or_default());
        let mut fds = vec![PollFd::new(&self.waker, PollFlags::IN)];
        let (data, activity);
        if let Some(pty) = &self.pty {
            (data, activity) = (pty.data(), pty.activity());
            let room = if self.blocked {
                PollFlags::OUT
            } else {
                PollFlags::empty()
            };
            fds.push(PollFd::new(&data, PollFlags::IN | room));
            fds.push(PollFd::new(&activity, PollFlags::IN));
        }
        match poll(&mut fds, longest.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Simulated time: so many times as fast as real time, and it can stand still.
#[derive(Debug)]
struct Clock {
    speed: f64,
    /// Simulated time up to `running_since`, or up to now while it stands still.
    passed: Duration,
    running_since: Option<Instant>,
}

impl Clock {
    fn new(speed: f64) -> Self {
        Self {
            speed,
            passed: Duration::ZERO,
            running_since: Some(Instant::now()),
        }
    }

    fn now(&self) -> Duration {
        match self.running_since {
            Some(since) => self.passed + since.elapsed().mul_f64(self.speed),
            None => self.passed,
        }
    }

    /// Real time until a simulated moment; none if it does not come nearer.
    fn until(&self, due: Duration) -> Option<Duration> {
        let left = due.saturating_sub(self.now());
        if left.is_zero() {
            return Some(Duration::ZERO);
        }
        // A little more than the division says: waking up just before the moment would only lead to waiting again.
        self.running_since
            .map(|_| left.div_f64(self.speed) + Duration::from_micros(1))
    }

    fn is_paused(&self) -> bool {
        self.running_since.is_none()
    }

    fn pause(&mut self) {
        self.passed = self.now();
        self.running_since = None;
    }

    fn resume(&mut self) {
        if self.running_since.is_none() {
            self.running_since = Some(Instant::now());
        }
    }
}

fn read_all(pty: &Pty, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match pty.read(&mut buffer)? {
            0 => return Ok(()),
            count => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
    }
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the emulator has ended")
}
