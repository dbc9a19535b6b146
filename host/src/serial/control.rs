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

    /// Its name in `plugins.toml`.
    pub fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    /// Whether the device is there.
    pub fn is_attached(&self) -> bool {
        self.shared.line.lock().attached.is_some()
    }

    /// What the system knows of the device, while it is there.
    pub fn identity(&self) -> Option<Arc<PortIdentity>> {
        self.shared
            .line
            .lock()
            .attached
            .as_ref()
            .map(|attached| Arc::clone(&attached.identity))
    }

    /// Whether the line has control lines at all; false while the device is away.
    pub fn has_control_lines(&self) -> bool {
        self.shared
            .line
            .lock()
            .attached
            .as_ref()
            .is_some_and(|attached| attached.has_control_lines)
    }

    /// Room in the transmit queue.
    pub fn transmit_free_bytes(&self) -> usize {
        self.shared.line.lock().transmit.free_bytes()
    }

    /// Remembers that a write did not fit, so that the driver hears of room.
    pub fn note_refused(&self) {
        self.shared.line.lock().transmit.note_refused();
    }

    /// Queues what a committed call asked for. While the device is away nothing is queued: bytes for a line that is gone would reach whatever
    /// is plugged in next.
    pub fn perform(&self, action: PortAction) {
        {
            let mut line = self.shared.line.lock();
            if line.attached.is_none() {
                return;
            }
            line.transmit.push(action);
        }
        self.wake();
    }

    /// Reads CTS, DSR, DCD and RI.
    pub fn input_signals(&self) -> Result<InputSignals, SignalError> {
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

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
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
