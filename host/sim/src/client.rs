//! A program that opens a serial port, for the stories on real terminals.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, QueueSelector, tcflush, tcgetattr, tcsetattr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a story waits for something before it has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// A client of a serial port, as bare as can be.
pub(crate) struct Client {
    pub(crate) port: OwnedFd,
}

impl Client {
    pub(crate) fn open(link: &Path, baud_rate: u32) -> Self {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let port = rustix::fs::open(link, flags, Mode::empty()).unwrap();
        let mut line = tcgetattr(&port).unwrap();
        line.make_raw();
        line.set_speed(baud_rate).unwrap();
        tcsetattr(&port, OptionalActions::Now, &line).unwrap();
        tcflush(&port, QueueSelector::IFlush).unwrap();
        Self { port }
    }

    pub(crate) fn send(&self, text: &str) {
        assert_eq!(
            rustix::io::write(&self.port, text.as_bytes()).unwrap(),
            text.len()
        );
    }

    /// What comes within a time; none once the line has gone.
    pub(crate) fn read(&self, within: Duration) -> Option<Vec<u8>> {
        let within = Timespec::try_from(within).unwrap();
        let ready = poll(&mut [PollFd::new(&self.port, PollFlags::IN)], Some(&within)).unwrap();
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.port, &mut buffer) {
            Ok(0) if ready > 0 => None,
            Ok(count) => Some(buffer[..count].to_vec()),
            Err(Errno::AGAIN) => Some(Vec::new()),
            Err(Errno::IO) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Reads until a condition holds for everything that came.
    pub(crate) fn read_until(&self, done: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let until = Instant::now() + DEADLINE;
        let mut all = Vec::new();
        while !done(&all) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "nothing more came after {:?}",
                String::from_utf8_lossy(&all)
            );
            all.extend(self.read(left).expect("the line has gone"));
        }
        all
    }
}
