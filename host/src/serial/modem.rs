//! What Linux says of a line besides its bytes: counts of faults, and changes of the lines that the device drives.
//!
//! A fault comes with a byte or with a hole between bytes, so its count is looked at when bytes have come. A change of CTS, DSR, DCD or RI wakes no
//! `poll`; there is one call that waits for it (`TIOCMIWAIT`), in which a thread of its own sits while the line is open, and which only a signal ends.
//! Both depend on the kernel's driver: where it does not know them (pseudo-terminals, some adapters) nothing is told, and nothing else changes.
//!
//! The call notices what changes while it waits. What changes in the microseconds between a look at the lines and the next wait is told with the change
//! after it: the kernel has no way to ask without that gap.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Once};
use std::thread::JoinHandle;
use std::time::Duration;

use autobench_core::driver::{InputSignals, LineFaults};

/// Distance between two signals to a thread that is to leave its wait. One that comes before the thread is in it has no effect.
const KICK_SPACING: Duration = Duration::from_millis(10);

/// Signals after which a thread is left to itself: a kernel driver whose wait no signal ends holds it until the device is gone.
const KICKS: u32 = 100;

/// The faults that the system has counted; none where its driver does not count.
pub fn faults(tty: BorrowedFd<'_>) -> Option<LineFaults> {
    /// `struct serial_icounter_struct` of the kernel.
    #[repr(C)]
    struct Counters {
        /// cts, dsr, rng, dcd, rx, tx
        _lines_and_bytes: [libc::c_int; 6],
        frame: libc::c_int,
        overrun: libc::c_int,
        parity: libc::c_int,
        brk: libc::c_int,
        buf_overrun: libc::c_int,
        _reserved: [libc::c_int; 9],
    }
    let mut counters = MaybeUninit::<Counters>::zeroed();
    // SAFETY: the descriptor is open, and the kernel writes at most the structure that it calls by this name.
    let answer = unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCGICOUNT, counters.as_mut_ptr()) };
    if answer != 0 {
        return None;
    }
    // SAFETY: integers of any value are valid, and all of them were zeroed.
    let counters = unsafe { counters.assume_init() };
    Some(LineFaults {
        framing: counters.frame.cast_unsigned(),
        parity: counters.parity.cast_unsigned(),
        breaks: counters.brk.cast_unsigned(),
        overruns: counters
            .overrun
            .cast_unsigned()
            .wrapping_add(counters.buf_overrun.cast_unsigned()),
    })
}

/// The lines that a device drives.
pub trait DeviceLines: Send + 'static {
    /// How they are.
    fn signals(&self) -> io::Result<InputSignals>;
    /// Waits until one of them changes. A signal to the thread has to end it with [`io::ErrorKind::Interrupted`].
    fn wait(&self) -> io::Result<()>;
}

/// Those of a tty.
pub struct TtyLines(pub OwnedFd);

impl DeviceLines for TtyLines {
    fn signals(&self) -> io::Result<InputSignals> {
        let mut bits: libc::c_int = 0;
        // SAFETY: the descriptor is open, and the kernel writes one integer.
        let answer = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TIOCMGET, &raw mut bits) };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(InputSignals {
            clear_to_send: bits & libc::TIOCM_CTS != 0,
            data_set_ready: bits & libc::TIOCM_DSR != 0,
            data_carrier_detect: bits & libc::TIOCM_CAR != 0,
            ring_indicator: bits & libc::TIOCM_RNG != 0,
        })
    }

    fn wait(&self) -> io::Result<()> {
        let lines = libc::TIOCM_CTS | libc::TIOCM_DSR | libc::TIOCM_CAR | libc::TIOCM_RNG;
        // SAFETY: the descriptor is open, and the argument is a number.
        let answer = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TIOCMIWAIT, lines) };
        if answer == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// A thread that tells how the lines are: at once, and after each change. It ends when this is dropped, or when there is nothing to wait for.
pub struct LineWatch {
    stop: Arc<AtomicBool>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl LineWatch {
    /// Starts it.
    pub fn start(
        name: String,
        lines: impl DeviceLines,
        tell: impl Fn(InputSignals) + Send + 'static,
    ) -> io::Result<Self> {
        let_signals_interrupt();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let (end, ended) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let _end = end;
            while !stopping.load(Ordering::SeqCst) {
                let Ok(signals) = lines.signals() else { return };
                tell(signals);
                match lines.wait() {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // The device is gone, or its driver cannot wait.
                    Err(_) => return,
                }
            }
        })?;
        Ok(Self {
            stop,
            ended,
            thread: Some(thread),
        })
    }
}

impl Drop for LineWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let Some(thread) = self.thread.take() else { return };
        for _ in 0..KICKS {
            // SAFETY: the thread has not been joined or detached, so its handle is good; the signal has a handler that does nothing.
            unsafe { libc::pthread_kill(thread.as_pthread_t(), interrupting_signal()) };
            if self.ended.recv_timeout(KICK_SPACING) == Err(RecvTimeoutError::Disconnected) {
                // A panic of the thread has been reported by the panic hook already.
                let _ = thread.join();
                return;
            }
        }
        tracing::warn!(
            channel = "device",
            "a kernel driver does not let go of a thread that waits for lines; the line stays open until its device is gone"
        );
    }
}

fn interrupting_signal() -> libc::c_int {
    libc::SIGRTMIN() + 5
}

/// Gives the signal a handler that does nothing, so that it ends a wait and not the daemon.
fn let_signals_interrupt() {
    extern "C" fn nothing(_: libc::c_int) {}
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the structure is zeroed, which is an empty mask and no flags, so that calls are not begun anew; the handler touches nothing.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
            libc::sigaction(interrupting_signal(), &raw const action, std::ptr::null_mut());
        }
    });
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::sync::Mutex;

    use serialport::TTYPort;

    use super::*;
    use crate::serial::engine::with_descriptor;

    /// Lines whose state is what was written into a pipe last; a read of the pipe is the wait that a signal ends.
    struct Piped {
        pipe: OwnedFd,
        last: Mutex<u8>,
    }

    impl DeviceLines for Piped {
        fn signals(&self) -> io::Result<InputSignals> {
            Ok(signals(*self.last.lock().unwrap()))
        }

        fn wait(&self) -> io::Result<()> {
            let mut byte = [0];
            let mut last = self.last.lock().unwrap();
            match rustix::io::read(&self.pipe, &mut byte)? {
                0 => Err(io::Error::other("the device is gone")),
                _ => {
                    *last = byte[0];
                    Ok(())
                }
            }
        }
    }

    fn signals(bits: u8) -> InputSignals {
        InputSignals {
            clear_to_send: bits & 1 != 0,
            data_set_ready: bits & 2 != 0,
            data_carrier_detect: bits & 4 != 0,
            ring_indicator: bits & 8 != 0,
        }
    }

    fn piped() -> (LineWatch, mpsc::Receiver<InputSignals>, OwnedFd) {
        let (pipe, device) = rustix::pipe::pipe().unwrap();
        let lines = Piped {
            pipe,
            last: Mutex::new(1),
        };
        let (tell, told) = mpsc::channel();
        let watch = LineWatch::start("lines".to_owned(), lines, move |signals| {
            let _ = tell.send(signals);
        });
        (watch.unwrap(), told, device)
    }

    #[test]
    fn each_change_is_told_and_a_watch_that_waits_can_be_stopped() {
        let (watch, told, device) = piped();
        assert_eq!(told.recv(), Ok(signals(1)), "how they are at first");
        for bits in [3, 8, 0] {
            rustix::io::write(&device, &[bits]).unwrap();
            assert_eq!(told.recv(), Ok(signals(bits)));
        }
        // It waits for a change that never comes.
        drop(watch);
        assert!(told.recv().is_err(), "the thread has ended");
    }

    #[test]
    fn a_watch_ends_by_itself_when_its_device_is_gone() {
        let (watch, told, device) = piped();
        assert_eq!(told.recv(), Ok(signals(1)));
        drop(device);
        assert!(told.recv().is_err(), "the thread has ended");
        drop(watch);
    }

    #[test]
    fn a_pseudo_terminal_counts_no_faults_and_has_no_lines() {
        let (_other, tty) = TTYPort::pair().unwrap();
        assert_eq!(with_descriptor(&tty, faults), None);
        let copy = with_descriptor(&tty, |tty| rustix::io::fcntl_dupfd_cloexec(tty.as_fd(), 0)).unwrap();
        let lines = TtyLines(copy);
        assert!(lines.signals().is_err());
        assert!(lines.wait().is_err());
    }
}
