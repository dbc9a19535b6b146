//! What every emulator on pseudo-terminals has: one thread that carries bytes between the terminals and the cables of a [`Rig`], keeps its
//! time, and does what is asked of it.
//!
//! ```text
//! terminal -- line --.
//! terminal -- line --+-- runner (thread, clock) -- rig (pure: devices with their cables)
//!     requests ------'
//! ```
//!
//! The thread waits in `poll` for bytes, for somebody who opens, reads or closes a port, for a request, and for the next moment at which
//! something happens on the rig. It owns everything; an [`Asker`] only sends it requests.

use crate::clock::Clock;
use crate::device::Device;
use crate::line::{Cable, Line, Wait};
use crate::pty::Waker;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Requests that wait for the thread. Each asker waits for its answer, so this fills only with as many askers; the next one waits, too.
const REQUESTS: usize = 16;

/// What is emulated: devices with their cables, and the journal of what happens. It is told the time, and touches no terminal.
pub(crate) trait Rig: Send + 'static {
    /// What can be asked of this rig only.
    type Order: Send;
    /// What an order gets beside how it stands; the default where there is nothing to get.
    type Extra: Default + Send;
    /// How it stands.
    type Stats: Send;

    /// What it is called when it has ended.
    const NAME: &'static str;
    /// The name of its thread.
    const THREAD: &'static str;
    /// When its hosts are heard.
    const HOSTS: Hosts;

    /// A cable. Whoever has used it has to settle what came of it.
    fn cable_mut(&mut self, device: Device) -> &mut dyn Cable;
    fn cable(&self, device: Device) -> &dyn Cable;
    /// Does everything that is due by then.
    fn advance(&mut self, to: Duration);
    /// When something happens by itself again.
    fn next_due(&self) -> Option<Duration>;
    /// Carries what came over a cable to whom it concerns.
    fn settle(&mut self, now: Duration);
    /// Does what nobody but this rig can do.
    fn obey(&mut self, order: Self::Order, now: Duration) -> io::Result<Self::Extra>;
    /// The meter reads its last row, as far as anybody can tell; so many of the bytes sent were not read.
    fn finish_meter(&mut self, unread_bytes: u64);
    /// Hands the journal what happened since the last time.
    fn write_journal(&mut self) -> io::Result<()>;
    /// Sums up in the journal.
    fn sum_up(&mut self) -> io::Result<()>;
    /// How it stands.
    fn stats(&self, clock: &Clock, lines: &[(Device, Line)]) -> Self::Stats;
}

/// When the hosts of a rig are heard: before or after what fell due since the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hosts {
    /// Who listens decides what becomes of a row: one that has fallen due after its host went is lost, and must not lie in the terminal for
    /// the next.
    Before,
    /// What bytes set off reaches other devices, and must find them at the same moment.
    After,
}

/// A rig that runs. [`Running::stop`] ends it and says how it went; dropping it ends it, too, and says nothing.
pub(crate) struct Running<R: Rig> {
    asker: Asker<R>,
    thread: Option<JoinHandle<io::Result<R::Stats>>>,
}

impl<R: Rig> Running<R> {
    /// Makes the terminals and their links, and starts.
    pub(crate) fn start(rig: R, clock: Clock, links: &[(Device, PathBuf)]) -> io::Result<Self> {
        let lines = links
            .iter()
            .map(|(device, link)| Ok((*device, Line::create(link.clone())?)))
            .collect::<io::Result<Vec<_>>>()?;
        let waker = Arc::new(Waker::new()?);
        let (sender, requests) = sync_channel(REQUESTS);
        let worker = Worker {
            rig,
            lines,
            clock,
            waker: Arc::clone(&waker),
            requests,
        };
        let thread = std::thread::Builder::new()
            .name(R::THREAD.to_owned())
            .spawn(move || worker.run())?;
        Ok(Self {
            asker: Asker { sender, waker },
            thread: Some(thread),
        })
    }

    pub(crate) fn asker(&self) -> &Asker<R> {
        &self.asker
    }

    /// Lets the hosts read what is on the lines, sums up in the journal, takes the links away and ends.
    pub(crate) fn stop(mut self) -> io::Result<R::Stats> {
        self.end()
    }

    fn end(&mut self) -> io::Result<R::Stats> {
        let Some(thread) = self.thread.take() else {
            return Err(ended::<R>());
        };
        // Without a thread to hear it, the thread's own result says why.
        let _ = self.asker.send(Request::Stop, None);
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other(format!("the {}'s thread panicked", R::NAME))))
    }
}

impl<R: Rig> fmt::Debug for Running<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("asker", &self.asker)
            .field("thread", &self.thread)
            .finish()
    }
}

impl<R: Rig> Drop for Running<R> {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.end();
        }
    }
}

/// Asks a running rig from any thread. Each request returns when it has been done; after the end of the rig all of them fail.
pub(crate) struct Asker<R: Rig> {
    sender: SyncSender<Asked<R>>,
    waker: Arc<Waker>,
}

impl<R: Rig> Asker<R> {
    /// Asks for what changes nothing but how it stands.
    pub(crate) fn ask(&self, request: Request<R::Order>) -> io::Result<R::Stats> {
        self.ask_for(request).map(|(stats, _)| stats)
    }

    /// The same with what else there is to get.
    pub(crate) fn ask_for(&self, request: Request<R::Order>) -> io::Result<(R::Stats, R::Extra)> {
        let (answer, answered) = sync_channel(1);
        self.send(request, Some(answer))?;
        answered.recv().unwrap_or_else(|_| Err(ended::<R>()))
    }

    fn send(&self, request: Request<R::Order>, answer: Option<Answer<R>>) -> io::Result<()> {
        self.sender.send((request, answer)).map_err(|_| ended::<R>())?;
        self.waker.wake()
    }
}

impl<R: Rig> Clone for Asker<R> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            waker: Arc::clone(&self.waker),
        }
    }
}

impl<R: Rig> fmt::Debug for Asker<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker")
            .field("waker", &self.waker)
            .finish_non_exhaustive()
    }
}

/// What can be asked.
#[derive(Debug)]
pub(crate) enum Request<O> {
    /// Lets the hosts read what is on the lines, and stops simulated time.
    Pause,
    /// Lets simulated time pass again.
    Resume,
    /// Lets the host read what is on the line, then pulls the cable.
    Unplug(Device),
    /// Puts the cable back.
    Replug(Device),
    /// Gives the device another terminal under the same link.
    Rename(Device),
    /// Lets nothing through in either direction, or everything again.
    Mute(Device, bool),
    /// Lets the host have bytes that the device did not say.
    Noise(Device, Vec<u8>),
    /// How it stands.
    Stats,
    /// Something of the rig's own.
    Order(O),
    /// The end.
    Stop,
}

/// A request, and where its answer goes.
type Asked<R> = (Request<<R as Rig>::Order>, Option<Answer<R>>);
type Answer<R> = SyncSender<io::Result<(<R as Rig>::Stats, <R as Rig>::Extra)>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

/// What the thread owns.
struct Worker<R: Rig> {
    rig: R,
    lines: Vec<(Device, Line)>,
    clock: Clock,
    waker: Arc<Waker>,
    requests: Receiver<Asked<R>>,
}

impl<R: Rig> Worker<R> {
    fn run(mut self) -> io::Result<R::Stats> {
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
                Ok((Request::Stop, _)) | Err(TryRecvError::Disconnected) => return Ok(Next::End),
                Err(TryRecvError::Empty) => return Ok(Next::GoOn),
                Ok((request, answer)) => {
                    self.step()?;
                    let done = self.obey(request);
                    self.rig.write_journal()?;
                    if let Some(answer) = answer {
                        // Who asked may have gone meanwhile.
                        let _ = answer.try_send(done.map(|extra| (self.stats(), extra)));
                    }
                }
            }
        }
    }

    fn obey(&mut self, request: Request<R::Order>) -> io::Result<R::Extra> {
        let now = self.clock.now();
        match request {
            Request::Pause => {
                self.clock.pause();
                self.let_read()?;
            }
            Request::Resume => self.clock.resume(),
            Request::Unplug(device) => {
                let line = line_of(&mut self.lines, device)?;
                line.pull(self.rig.cable_mut(device), now)?;
                self.rig.settle(now);
            }
            Request::Replug(device) => {
                let line = line_of(&mut self.lines, device)?;
                line.plug(self.rig.cable_mut(device), now)?;
                self.rig.settle(now);
            }
            Request::Rename(device) => {
                let line = line_of(&mut self.lines, device)?;
                line.rename(self.rig.cable_mut(device), now)?;
                self.rig.settle(now);
            }
            Request::Mute(device, muted) => self.rig.cable_mut(device).set_muted(muted),
            Request::Noise(device, bytes) => {
                self.rig.cable_mut(device).add_noise(&bytes, now);
                self.rig.settle(now);
            }
            Request::Order(order) => return self.rig.obey(order, now),
            Request::Stats | Request::Stop => {}
        }
        Ok(R::Extra::default())
    }

    /// Does what is due now, hears the hosts, and hands the journal what happened.
    fn step(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        for (device, line) in &mut self.lines {
            line.replug_if_due(self.rig.cable_mut(*device), now)?;
        }
        if R::HOSTS == Hosts::Before {
            self.listen(now)?;
        }
        loop {
            // Event by event, so that a thread that was held up for long gives each line its turn on the terminal.
            let to = self.rig.next_due().map_or(now, |due| due.min(now));
            self.rig.advance(to);
            self.pump(now)?;
            if to == now {
                break;
            }
        }
        if R::HOSTS == Hosts::After {
            self.listen(now)?;
            self.pump(now)?;
        }
        self.rig.write_journal()
    }

    /// Takes what the hosts wrote, and notices who came or went.
    fn listen(&mut self, now: Duration) -> io::Result<()> {
        for (device, line) in &mut self.lines {
            line.listen(self.rig.cable_mut(*device), now)?;
            self.rig.settle(now);
        }
        Ok(())
    }

    /// Writes what is due, as far as there is room.
    fn pump(&mut self, now: Duration) -> io::Result<()> {
        for (device, line) in &mut self.lines {
            line.pump(self.rig.cable_mut(*device), now)?;
        }
        self.rig.settle(now);
        Ok(())
    }

    fn let_read(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        for (device, line) in &mut self.lines {
            line.let_read(self.rig.cable_mut(*device), now)?;
        }
        self.rig.settle(now);
        Ok(())
    }

    fn finish(mut self) -> io::Result<R::Stats> {
        self.step()?;
        self.let_read()?;
        for (device, line) in &self.lines {
            if *device == Device::PowerMeter {
                self.rig.finish_meter(line.discard_unread()?);
            }
        }
        self.rig.write_journal()?;
        let stats = self.stats();
        self.rig.sum_up()?;
        for (_, line) in self.lines {
            line.close();
        }
        Ok(stats)
    }

    fn stats(&self) -> R::Stats {
        self.rig.stats(&self.clock, &self.lines)
    }

    /// Waits until there is something to do.
    fn wait(&self) -> io::Result<()> {
        let rig = self.rig.next_due().and_then(|due| self.clock.until(due));
        let mut wait = Wait::new(&*self.waker, rig);
        for (device, line) in &self.lines {
            wait = wait.line(line, self.rig.cable(*device), &self.clock);
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

fn ended<R: Rig>() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, format!("the {} has ended", R::NAME))
}
