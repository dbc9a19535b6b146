//! What the rest of the daemon holds of a port: its state, its transmit queue, and a way to wake its thread.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use autobench_core::driver::{InputSignals, PortAction, PortIdentity};
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};
use serialport::{SerialPort, TTYPort};

use super::transmit::TransmitQueue;

/// Why control lines cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// The port has none: a pseudo-terminal, or an adapter without them.
    #[error("the port has no control lines")]
    NotSupported,
    /// The device is away.
    #[error("the device is away")]
    NotAttached,
    /// Something else.
    #[error("{0}")]
    Other(String),
}

/// Why bytes cannot be queued now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// The device is away.
    #[error("the device is away")]
    NotAttached,
    /// The transmit queue has no room for them; the driver hears when it has.
    #[error("the transmit queue is full")]
    Full,
}

/// What an instance of a driver sees of a port.
pub trait PortView: Send + Sync {
    /// Its name in `plugins.toml`.
    fn name(&self) -> &Arc<str>;
    /// Whether the device is there.
    fn is_attached(&self) -> bool;
    /// What the system knows of the device, while it is there.
    fn identity(&self) -> Option<Arc<PortIdentity>>;
    /// Whether the line has control lines at all; false while the device is away.
    fn has_control_lines(&self) -> bool;
    /// Checks that so many bytes, all of this call, can be queued.
    fn reserve(&self, reserved_bytes: usize) -> Result<(), ReserveError>;
    /// How many holds wait to be undone on it.
    fn waiting_undos(&self) -> usize;
    /// Reads CTS, DSR, DCD and RI.
    fn input_signals(&self) -> Result<InputSignals, SignalError>;
}

/// A cheap handle of a port.
#[derive(Clone)]
pub struct PortControl {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    name: Arc<str>,
    pub(super) wake: OwnedFd,
    pub(super) stop: AtomicBool,
    pub(super) line: Mutex<Line>,
}

/// What changes while the port lives.
#[derive(Default)]
pub(super) struct Line {
    pub(super) attached: Option<Attached>,
    /// How the device's lines are, as the thread that watches them saw last; a newer look takes the place of one that waits.
    pub(super) seen: Option<InputSignals>,
    pub(super) transmit: TransmitQueue,
}

/// A line that is open.
pub(super) struct Attached {
    pub(super) tty: TTYPort,
    pub(super) identity: Arc<PortIdentity>,
    pub(super) has_control_lines: bool,
}

impl PortControl {
    /// A port whose device is away, and stays away until a [`Port`](super::Port) finds it.
    pub fn new(name: Arc<str>) -> std::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Shared {
            name,
            wake,
            stop: AtomicBool::new(false),
            line: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Queues what a committed call asked for. While the device is away nothing is queued: bytes for a line that is gone would reach whatever
    /// is plugged in next.
    pub fn perform(&self, action: PortAction) {
        {
            let mut line = self.shared.line.lock();
            // What undoes a hold waits for the line.
            if line.attached.is_none() && !matches!(action, PortAction::Undo(_)) {
                return;
            }
            line.transmit.push(action);
        }
        self.wake();
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The device's lines are so now.
    pub(super) fn see(&self, signals: InputSignals) {
        self.shared.line.lock().seen = Some(signals);
        self.wake();
    }

    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        // The counter is at its limit only when the thread has not yet looked at the last wake-up, which then serves for this one too.
        let _ = rustix::io::write(&self.shared.wake, &1_u64.to_ne_bytes());
    }
}

impl PortView for PortControl {
    fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    fn is_attached(&self) -> bool {
        self.shared.line.lock().attached.is_some()
    }

    fn identity(&self) -> Option<Arc<PortIdentity>> {
        self.shared
            .line
            .lock()
            .attached
            .as_ref()
            .map(|attached| Arc::clone(&attached.identity))
    }

    fn has_control_lines(&self) -> bool {
        self.shared
            .line
            .lock()
            .attached
            .as_ref()
            .is_some_and(|attached| attached.has_control_lines)
    }

    /// Checks that this much fits into the transmit queue. If it does not, the driver hears of room as soon as the queue has run empty: that
    /// is noted under the lock of the check, and the thread is woken, because it may have emptied the queue a moment ago and sleep.
    fn reserve(&self, reserved_bytes: usize) -> Result<(), ReserveError> {
        {
            let mut line = self.shared.line.lock();
            if line.attached.is_none() {
                return Err(ReserveError::NotAttached);
            }
            if reserved_bytes <= line.transmit.free_bytes() {
                return Ok(());
            }
            line.transmit.note_refused();
        }
        self.wake();
        Err(ReserveError::Full)
    }

    fn waiting_undos(&self) -> usize {
        self.shared.line.lock().transmit.waiting_undos()
    }

    fn input_signals(&self) -> Result<InputSignals, SignalError> {
        let mut line = self.shared.line.lock();
        let attached = line.attached.as_mut().ok_or(SignalError::NotAttached)?;
        if !attached.has_control_lines {
            return Err(SignalError::NotSupported);
        }
        let tty = &mut attached.tty;
        let other = |error: serialport::Error| SignalError::Other(error.to_string());
        Ok(InputSignals {
            clear_to_send: tty.read_clear_to_send().map_err(other)?,
            data_set_ready: tty.read_data_set_ready().map_err(other)?,
            data_carrier_detect: tty.read_carrier_detect().map_err(other)?,
            ring_indicator: tty.read_ring_indicator().map_err(other)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use autobench_core::driver::PortAction;

    use super::super::transmit::TRANSMIT_LIMIT_BYTES;
    use super::*;

    /// A port with a pseudo-terminal, whose other end has to live as long.
    fn attached() -> (PortControl, TTYPort) {
        let control = PortControl::new("main".into()).unwrap();
        let (other, tty) = TTYPort::pair().unwrap();
        control.shared.line.lock().attached = Some(Attached {
            tty,
            identity: Arc::default(),
            has_control_lines: false,
        });
        (control, other)
    }

    fn is_woken(control: &PortControl) -> bool {
        let mut counter = [0; 8];
        rustix::io::read(&control.shared.wake, &mut counter).is_ok()
    }

    #[test]
    fn a_refused_write_is_noted_and_the_thread_looks_again() {
        let (control, _other) = attached();
        control.perform(PortAction::Write(vec![0; TRANSMIT_LIMIT_BYTES]));
        assert!(is_woken(&control));
        assert_eq!(control.reserve(0), Ok(()));
        assert!(!is_woken(&control), "there is nothing to look at");

        assert_eq!(control.reserve(1), Err(ReserveError::Full));
        assert!(
            is_woken(&control),
            "the queue may be empty by now and the thread asleep"
        );
        control.shared.line.lock().transmit.sent(TRANSMIT_LIMIT_BYTES);
        assert!(control.shared.line.lock().transmit.take_drained());
        assert_eq!(control.reserve(1), Ok(()));
    }

    #[test]
    fn nothing_is_reserved_on_a_line_that_is_away() {
        let control = PortControl::new("main".into()).unwrap();
        assert_eq!(control.reserve(1), Err(ReserveError::NotAttached));
        assert!(!is_woken(&control));
    }
}
