//! A pseudo-terminal with a link to it, which a program opens as if it were a serial port.
//!
//! The emulator's side is the master. This module also keeps a descriptor of the slave, which the other program opens: without it the
//! master would report a hang-up whenever nobody has the port open, the exclusive mark that a killed program leaves could not be taken
//! away, and nothing would tell how much of what was written has been read. What it does not know is what the bytes mean.
//!
//! Who has the port open, and when it has read, is told by inotify on the slave's node; nothing here polls.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{Dir, Mode, OFlags, readlinkat};
use rustix::io::Errno;
use rustix::process::getpid;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, ioctl_tiocnxcl, tcgetattr, tcsetattr};
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The rate of a serial port that nobody has set yet, as the system gives it to a real one.
pub const INITIAL_BAUD_RATE: u32 = 9600;

/// A pseudo-terminal whose link is in place for as long as this lives.
#[derive(Debug)]
pub struct Pty {
    link: Link,
    watch: OwnedFd,
    // The slave goes before the master: the other way round, the last one to go would be an orphan.
    slave: OwnedFd,
    master: OwnedFd,
    terminal: PathBuf,
    occupied: bool,
    /// What inotify told that nobody has asked for yet. Opening and closing alternate in here after folding, so it has two entries at most.
    pending: Vec<Presence>,
}

/// A change in who has the port open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Somebody has it open, and nobody had before.
    Came,
    /// Nobody has it open any more.
    Gone,
}

/// What a wait for the reader came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// Everything that was written has been read.
    Empty,
    /// Time is up, or the reader has gone, and something is left.
    Unread,
}

impl Pty {
    /// Opens a pseudo-terminal, puts it into raw mode and points `link` at it. A link that is there already is replaced in one step; anything
    /// else of that name is an error.
    pub fn create(link: &Path) -> io::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(
            &master,
            OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
        )?;
        for side in [&master, &slave] {
            rustix::io::ioctl_fionbio(side, true)?;
        }
        let mut line = tcgetattr(&slave)?;
        line.make_raw();
        line.set_speed(INITIAL_BAUD_RATE)?;
        tcsetattr(&slave, OptionalActions::Now, &line)?;
        let terminal = PathBuf::from(OsStr::from_bytes(ptsname(&master, Vec::new())?.as_bytes()));
        // Watched before the link appears, so that the first one to open it is seen.
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        inotify::add_watch(
            &watch,
            &terminal,
            WatchFlags::OPEN | WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE | WatchFlags::ACCESS,
        )?;
        let link = Link::place(link, &terminal)?;
        Ok(Self {
            link,
            watch,
            slave,
            master,
            terminal,
            occupied: false,
            pending: Vec::new(),
        })
    }

    /// The link.
    pub fn link(&self) -> &Path {
        &self.link.path
    }

    /// The terminal that the link points at.
    pub fn terminal(&self) -> &Path {
        &self.terminal
    }

    /// Readable when the other side has written, writable when there is room for it to read.
    pub fn data(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// Readable when somebody has opened, read or closed the port.
    pub fn activity(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// Takes what the other side has written; 0 if there is nothing.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        none_as_zero(rustix::io::read(&self.master, buffer))
    }

    /// Writes as much as there is room for; 0 if there is none.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        none_as_zero(rustix::io::write(&self.master, bytes))
    }

    /// The rate that the other side has set.
    pub fn baud_rate(&self) -> io::Result<u32> {
        // Asked of a master, the kernel answers for the slave.
        Ok(tcgetattr(&self.master)?.output_speed())
    }

    /// Whether everything that was written has been read.
    pub fn is_drained(&self) -> io::Result<bool> {
        // FIONREAD alone may say 0 while bytes are still on their way between the two sides; polling the slave first waits for those.
        let mut fds = [PollFd::new(&self.slave, PollFlags::IN)];
        let ready = poll(&mut fds, Some(&Timespec::default()))?;
        Ok(ready == 0 && rustix::io::ioctl_fionread(&self.slave)? == 0)
    }

    /// Waits until everything that was written has been read, at most until `limit` from now.
    pub fn wait_drained(&mut self, limit: Duration) -> io::Result<Drain> {
        let until = Instant::now() + limit;
        loop {
            if self.is_drained()? {
                return Ok(Drain::Empty);
            }
            let left = until.saturating_duration_since(Instant::now());
            self.absorb()?;
            if left.is_zero() || self.pending.contains(&Presence::Gone) || !self.occupied_soon() {
                return Ok(Drain::Unread);
            }
            if self.is_drained()? {
                return Ok(Drain::Empty);
            }
            let left = Timespec::try_from(left).unwrap_or_default();
            match poll(&mut [PollFd::new(&self.watch, PollFlags::IN)], Some(&left)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes away what nobody has read, and says how many bytes that was. Only for when nobody else reads.
    pub fn discard_unread(&self) -> io::Result<u64> {
        let mut total = 0;
        let mut buffer = [0; 4096];
        loop {
            match none_as_zero(rustix::io::read(&self.slave, &mut buffer))? {
                0 => return Ok(total),
                count => total += count as u64,
            }
        }
    }

    /// Takes away the mark that keeps others from opening the port. A killed program leaves it behind for as long as the terminal lives.
    pub fn clear_exclusive(&self) -> io::Result<()> {
        Ok(ioctl_tiocnxcl(&self.slave)?)
    }

    /// Who came and went since the last call, in that order.
    pub fn presence(&mut self) -> io::Result<Vec<Presence>> {
        self.absorb()?;
        let changes = std::mem::take(&mut self.pending);
        if let Some(last) = changes.last() {
            self.occupied = *last == Presence::Came;
        }
        Ok(changes)
    }

    /// The other side has written, so somebody is there, whatever was made of the events.
    pub fn mark_occupied(&mut self) {
        self.occupied = true;
    }

    /// Takes the link away, then the terminal. Whoever still has it open gets a hang-up; what was not read is gone.
    pub fn close(self) {
        let Self {
            link,
            watch,
            slave,
            master,
            ..
        } = self;
        // The number of this terminal is free for anybody from the moment the master is closed; the link must not point at it then.
        drop(link);
        drop(watch);
        drop(slave);
        drop(master);
    }

    fn occupied_soon(&self) -> bool {
        self.pending
            .last()
            .map_or(self.occupied, |last| *last == Presence::Came)
    }

    /// Reads what inotify has to tell and folds it into `pending`.
    fn absorb(&mut self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 2048];
        let mut events = inotify::Reader::new(&self.watch, &mut buffer);
        let mut seen = Vec::new();
        loop {
            match events.next() {
                Ok(event) if event.events().contains(ReadFlags::OPEN) => seen.push(Presence::Came),
                Ok(event)
                    if event
                        .events()
                        .intersects(ReadFlags::CLOSE_WRITE | ReadFlags::CLOSE_NOWRITE) =>
                {
                    seen.push(Presence::Gone);
                }
                Ok(_) => {}
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        if seen.last() == Some(&Presence::Gone) && self.has_holders() {
            // One of several has closed it. Equal events in a row come as one, so counting them would not tell.
            seen.clear();
        }
        for change in seen {
            if (change == Presence::Came) != self.occupied_soon() {
                self.pending.push(change);
            }
        }
        // Came and gone before anybody looked is nothing; gone, come and gone is gone.
        while self.pending.len() > 2 {
            self.pending.drain(0..2);
        }
        Ok(())
    }

    /// Whether any descriptor of any process that can be looked at is this slave, apart from our own.
    fn has_holders(&self) -> bool {
        let Ok(processes) = open_directory(Path::new("/proc")) else {
            return false;
        };
        let Ok(processes) = Dir::new(processes) else {
            return false;
        };
        processes.flatten().any(|process| {
            let name = process.file_name().to_bytes();
            name.iter().all(u8::is_ascii_digit) && self.holds(OsStr::from_bytes(name))
        })
    }

    /// Whether a process has this slave open. One that ended meanwhile, or that belongs to somebody else, does not.
    fn holds(&self, process: &OsStr) -> bool {
        let descriptors = Path::new("/proc").join(process).join("fd");
        let Ok(folder) = open_directory(&descriptors) else {
            return false;
        };
        let Ok(entries) = Dir::read_from(&folder) else {
            return false;
        };
        let ours = process.as_bytes() == getpid().to_string().as_bytes();
        let own = self.slave.as_raw_fd().to_string();
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            !(ours && name.to_bytes() == own.as_bytes())
                && readlinkat(&folder, name, Vec::new())
                    .is_ok_and(|target| target.to_bytes() == self.terminal.as_os_str().as_bytes())
        })
    }
}

/// A signal that a thread in `poll` wakes up from.
#[derive(Debug)]
pub struct Waker {
    event: OwnedFd,
}

impl Waker {
    /// A signal that has not been given.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            event: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        })
    }

    /// Gives the signal. Given twice before it was taken, it is given once.
    pub fn wake(&self) -> io::Result<()> {
        none_as_zero(rustix::io::write(&self.event, &1u64.to_ne_bytes())).map(|_| ())
    }

    /// Takes the signal.
    pub fn take(&self) -> io::Result<()> {
        none_as_zero(rustix::io::read(&self.event, &mut [0; 8])).map(|_| ())
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// A symbolic link that is ours. It points at a living terminal or is not there.
#[derive(Debug)]
struct Link {
    path: PathBuf,
    target: PathBuf,
}

impl Link {
    fn place(path: &Path, target: &Path) -> io::Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.is_symlink() => {
                let message = format!("{} exists and is no link; it is left as it is", path.display());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
            }
            _ => {}
        }
        let name = path
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the link needs a file name"))?;
        let mut fresh_name = OsStr::new(".").to_os_string();
        fresh_name.push(name);
        fresh_name.push(format!(
            ".{}.{}",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        ));
        let fresh = path.with_file_name(fresh_name);
        // A process of the same number may have been killed between the two steps below.
        let _ = std::fs::remove_file(&fresh);
        std::os::unix::fs::symlink(target, &fresh)?;
        // A rename, because between a removal and a new link another program would find nothing, or somebody else's terminal.
        std::fs::rename(&fresh, path).inspect_err(|_| {
            let _ = std::fs::remove_file(&fresh);
        })?;
        Ok(Self {
            path: path.to_owned(),
            target: target.to_owned(),
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Another emulator may have taken the name over since.
        if std::fs::read_link(&self.path).is_ok_and(|target| target == self.target) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

fn none_as_zero(result: Result<usize, Errno>) -> io::Result<usize> {
    match result {
        Ok(count) => Ok(count),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
