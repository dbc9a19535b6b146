//! A cable's end on a pseudo-terminal: it carries bytes between the terminal and a [`Cable`], notices who comes, reads and goes, and can be
//! pulled and put back. What the bytes mean, and when they are due, only the cable knows.

use crate::clock::Clock;
use crate::pty::{Drain, Presence, Pty};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a host may take to read what is on the line before a pause, a planned unplug or the end; what it has not read then is lost.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// How long the cable stays out when a fault pulled it, in real time, because that is what a host's retries are measured in.
const UNPLUGGED_FOR: Duration = Duration::from_millis(500);

/// What is next for the line.
#[derive(Debug, PartialEq, Eq)]
pub enum Outgoing<'a> {
    /// Bytes to write in one go, as far as possible.
    Bytes(&'a [u8]),
    /// The cable is to be pulled.
    Unplug,
}

/// A device with its cable, as far as the end in the host's computer is concerned. It is pure; every call tells it the time.
pub(crate) trait Cable {
    /// The rate that the host has set.
    fn set_host_rate(&mut self, baud_rate: u32);
    /// Somebody opened the port.
    fn host_came(&mut self);
    /// Nobody has the port open any more; so many of the bytes sent were not read.
    fn host_gone(&mut self, unread_bytes: u64);
    /// Bytes from the host.
    fn receive(&mut self, bytes: &[u8], now: Duration);
    /// What is due for the line.
    fn outgoing(&self, now: Duration) -> Option<Outgoing<'_>>;
    /// When there is something for the line.
    fn line_due(&self) -> Option<Duration>;
    /// So many bytes of what was due are on the line.
    fn sent(&mut self, count: usize);
    /// Whether it matters when the host has read everything that was sent.
    fn awaits_reader(&self) -> bool;
    /// The host has read everything that was sent.
    fn drained(&mut self);
    /// Sends at once what waits for its time or for company.
    fn hurry(&mut self, now: Duration);
    /// The cable is out; so many of the bytes sent were not read.
    fn unplugged(&mut self, unread_bytes: u64, now: Duration);
    /// The cable is in again.
    fn plugged(&mut self, now: Duration);
    /// From now on nothing gets through in either direction, while the port can be opened all the same; or it does again.
    fn set_muted(&mut self, muted: bool);
    /// Bytes for the host that the device did not say.
    fn add_noise(&mut self, bytes: &[u8], now: Duration);
}

/// The terminal of a cable, which is there while the cable is in.
#[derive(Debug)]
pub(crate) struct Line {
    link: PathBuf,
    /// None while the cable is out.
    pty: Option<Pty>,
    replug_at: Option<Instant>,
    /// The terminal has no room for what is due.
    blocked: bool,
}

impl Line {
    pub(crate) fn create(link: PathBuf) -> io::Result<Self> {
        Ok(Self {
            pty: Some(Pty::create(&link)?),
            link,
            replug_at: None,
            blocked: false,
        })
    }

    pub(crate) fn is_plugged(&self) -> bool {
        self.pty.is_some()
    }

    /// Puts a cable back that a fault pulled, if its time is over.
    pub(crate) fn replug_if_due(&mut self, cable: &mut dyn Cable, now: Duration) -> io::Result<()> {
        if self.replug_at.is_some_and(|at| at <= Instant::now()) {
            self.plug(cable, now)?;
        }
        Ok(())
    }

    /// Takes what the host wrote, and notices that it came or went.
    pub(crate) fn listen(&mut self, cable: &mut dyn Cable, now: Duration) -> io::Result<()> {
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
        cable.set_host_rate(pty.baud_rate()?);
        // Bytes belong to whoever is there at the end, unless nobody is.
        let heard_before_gone = changes.last() == Some(&Presence::Gone);
        for change in changes {
            match change {
                Presence::Came => cable.host_came(),
                Presence::Gone => {
                    if heard_before_gone {
                        cable.receive(&std::mem::take(&mut bytes), now);
                    }
                    cable.host_gone(pty.discard_unread()?);
                    pty.clear_exclusive()?;
                }
            }
        }
        cable.receive(&bytes, now);
        Ok(())
    }

    /// Writes what is due, as far as there is room, and looks whether it has been read.
    pub(crate) fn pump(&mut self, cable: &mut dyn Cable, now: Duration) -> io::Result<()> {
        self.blocked = false;
        loop {
            let Some(pty) = &self.pty else { return Ok(()) };
            match cable.outgoing(now) {
                None => break,
                Some(Outgoing::Bytes(bytes)) => match pty.write(bytes)? {
                    0 => {
                        self.blocked = true;
                        break;
                    }
                    count => cable.sent(count),
                },
                Some(Outgoing::Unplug) => {
                    self.take_out(cable, now)?;
                    self.replug_at = Some(Instant::now() + UNPLUGGED_FOR);
                    return Ok(());
                }
            }
        }
        if let Some(pty) = &self.pty
            && cable.awaits_reader()
            && pty.is_drained()?
        {
            cable.drained();
        }
        Ok(())
    }

    /// Sends what waits for its time, and waits until the host has read it. Says how much it has left.
    pub(crate) fn let_read(&mut self, cable: &mut dyn Cable, now: Duration) -> io::Result<Drain> {
        cable.hurry(now);
        let until = Instant::now() + DRAIN_LIMIT;
        loop {
            self.pump(cable, now)?;
            let Some(pty) = &mut self.pty else {
                return Ok(Drain::Empty);
            };
            if pty.wait_drained(until.saturating_duration_since(Instant::now()))? == Drain::Unread {
                return Ok(Drain::Unread);
            }
            cable.drained();
            // What had no room before has it now.
            if !self.blocked {
                return Ok(Drain::Empty);
            }
        }
    }

    /// Lets the host read what is on the line, and pulls the cable until somebody puts it back.
    pub(crate) fn pull(&mut self, cable: &mut dyn Cable, now: Duration) -> io::Result<()> {
        self.let_read(cable, now)?;
        self.take_out(cable, now)?;
        self.replug_at = None;
        Ok(())
    }

    /// Puts the cable back: a new terminal under the same link. It changes nothing while the cable is in.
    pub(crate) fn plug(&mut self, cable: &mut dyn Cable, now: Duration) -> io::Result<()> {
        self.replug_at = None;
        if self.pty.is_none() {
            self.pty = Some(Pty::create(&self.link)?);
            cable.plugged(now);
        }
        Ok(())
    }

    /// The device comes anew under another terminal before the old one has gone, as an adapter does that is quick: the link moves, and whoever has
    /// the old terminal open gets a hang-up.
    pub(crate) fn rename(&mut self, cable: &mut dyn Cable, now: Duration) -> io::Result<()> {
        let fresh = Pty::create(&self.link)?;
        self.let_read(cable, now)?;
        self.take_out(cable, now)?;
        self.replug_at = None;
        self.pty = Some(fresh);
        cable.plugged(now);
        Ok(())
    }

    /// How many of the bytes sent the host has not read. Only for the end: they are taken away.
    pub(crate) fn discard_unread(&self) -> io::Result<u64> {
        self.pty.as_ref().map_or(Ok(0), Pty::discard_unread)
    }

    /// Takes the link away, then the terminal.
    pub(crate) fn close(self) {
        if let Some(pty) = self.pty {
            pty.close();
        }
    }

    fn take_out(&mut self, cable: &mut dyn Cable, now: Duration) -> io::Result<()> {
        let Some(mut pty) = self.pty.take() else {
            return Ok(());
        };
        let unread = match pty.wait_drained(DRAIN_LIMIT)? {
            Drain::Empty => 0,
            // Whoever has not read until now does not read.
            Drain::Unread => pty.discard_unread()?,
        };
        cable.unplugged(unread, now);
        pty.close();
        Ok(())
    }

    /// When the line has something to do, apart from what the host does: in simulated time for the cable, in real time for the plug.
    fn due(&self, cable: &dyn Cable, clock: &Clock) -> Option<Duration> {
        let line_due = if self.blocked { None } else { cable.line_due() };
        let replug = self
            .replug_at
            .map(|at| at.saturating_duration_since(Instant::now()));
        [line_due.and_then(|due| clock.until(due)), replug]
            .into_iter()
            .flatten()
            .min()
    }
}

/// What a thread waits for.
pub(crate) struct Wait<'a> {
    fds: Vec<PollFd<'a>>,
    longest: Option<Duration>,
}

impl<'a> Wait<'a> {
    /// Until somebody wakes it, or a time has passed.
    pub(crate) fn new(waker: &'a impl AsFd, longest: Option<Duration>) -> Self {
        Self {
            fds: vec![PollFd::new(waker, PollFlags::IN)],
            longest,
        }
    }

    /// Or until this line has something to do.
    pub(crate) fn line(mut self, line: &'a Line, cable: &dyn Cable, clock: &Clock) -> Self {
        self.longest = [self.longest, line.due(cable, clock)].into_iter().flatten().min();
        if let Some(pty) = &line.pty {
            let room = if line.blocked {
                PollFlags::OUT
            } else {
                PollFlags::empty()
            };
            self.fds
                .push(PollFd::from_borrowed_fd(pty.data(), PollFlags::IN | room));
            self.fds
                .push(PollFd::from_borrowed_fd(pty.activity(), PollFlags::IN));
        }
        self
    }

    /// Waits.
    pub(crate) fn poll(mut self) -> io::Result<()> {
        let longest = self
            .longest
            .map(|wait| Timespec::try_from(wait).unwrap_or_default());
        match poll(&mut self.fds, longest.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
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
