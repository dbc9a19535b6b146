//! The power meter's wire, with somebody on it who notes what the daemon writes: the meter's emulator notes what it says, and not what it hears.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use autobench_sim::pty::Pty;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

const BAUD_RATE: u32 = 115_200;
/// How often it looks whether the meter is back, and whether it is to end.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};

/// The wire. It is out while the meter's cable is.
pub struct Wire {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    heard: Mutex<Vec<u8>>,
    is_mute: AtomicBool,
    is_over: AtomicBool,
}

impl Wire {
    /// From a meter to a link that the daemon opens.
    pub fn lay(meter: &Path, link: &Path) -> Self {
        let shared = Arc::new(Shared::default());
        let (meter, link, carried) = (meter.to_owned(), link.to_owned(), Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            while !carried.is_over.load(Ordering::Acquire) {
                match open(&meter) {
                    Some(far) => carry(&carried, &far, &link),
                    None => drop(poll(&mut [], Some(&LOOK))),
                }
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Keeps what the meter says from the daemon, or lets it through.
    pub fn mute(&self, is_mute: bool) {
        self.shared.is_mute.store(is_mute, Ordering::Release);
    }

    /// Everything that the daemon has written, since the beginning.
    pub fn heard(&self) -> Vec<u8> {
        self.shared.heard.lock().expect("no panic on the wire").clone()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there has been said already.
            let _ = thread.join();
        }
    }
}

fn open(meter: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let far = rustix::fs::open(meter, flags, Mode::empty()).ok()?;
    let mut line = tcgetattr(&far).ok()?;
    line.make_raw();
    line.set_speed(BAUD_RATE).ok()?;
    tcsetattr(&far, OptionalActions::Now, &line).ok()?;
    Some(far)
}

/// Carries bytes both ways until the meter's cable is out.
fn carry(shared: &Shared, far: &OwnedFd, link: &Path) {
    let near = Pty::create(link).expect("a pseudo-terminal");
    let mut buffer = [0; 4096];
    while !shared.is_over.load(Ordering::Acquire) {
        let near_fd = near.data();
        let mut ends = [
            PollFd::from_borrowed_fd(near_fd, PollFlags::IN),
            PollFd::new(far, PollFlags::IN),
        ];
        let _ = poll(&mut ends, Some(&LOOK));
        let is_out = ends[1].revents().contains(PollFlags::HUP);
        while let Ok(count @ 1..) = near.read(&mut buffer) {
            let bytes = &buffer[..count];
            shared
                .heard
                .lock()
                .expect("one at a time")
                .extend_from_slice(bytes);
            // A few bytes now and then, for which the line always has room.
            let _ = rustix::io::write(far, bytes);
        }
        match rustix::io::read(far, &mut buffer) {
            Ok(count @ 1..) if !shared.is_mute.load(Ordering::Acquire) => {
                // What has no room is lost, as on any line.
                let _ = near.write(&buffer[..count]);
            }
            Ok(_) | Err(Errno::AGAIN) if !is_out => {}
            _ => break,
        }
    }
    near.close();
}
