//! A port that is played: it is there when whoever plays says so, and takes whatever is written to it.

use std::sync::Arc;

use autobench_core::driver::{InputSignals, PortIdentity};
use parking_lot::Mutex;

use crate::serial::{PortView, ReserveError, SignalError};

/// A port without a line.
pub struct PlayedPort {
    name: Arc<str>,
    identity: Mutex<Option<Arc<PortIdentity>>>,
}

impl PlayedPort {
    /// A port whose device is away.
    pub fn new(name: Arc<str>) -> Self {
        Self {
            name,
            identity: Mutex::new(None),
        }
    }

    /// The device is there, or is not.
    pub fn set_attached(&self, identity: Option<Arc<PortIdentity>>) {
        *self.identity.lock() = identity;
    }
}

impl PortView for PlayedPort {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn is_attached(&self) -> bool {
        self.identity.lock().is_some()
    }

    fn identity(&self) -> Option<Arc<PortIdentity>> {
        self.identity.lock().clone()
    }

    fn has_control_lines(&self) -> bool {
        self.is_attached()
    }

    /// There is always room: what is written goes nowhere.
    fn reserve(&self, _reserved_bytes: usize) -> Result<(), ReserveError> {
        match self.is_attached() {
            true => Ok(()),
            false => Err(ReserveError::NotAttached),
        }
    }

    /// What is written goes nowhere at once.
    fn waiting_undos(&self) -> usize {
        0
    }

    /// Nobody noted how they were.
    fn input_signals(&self) -> Result<InputSignals, SignalError> {
        match self.is_attached() {
            true => Err(SignalError::NotSupported),
            false => Err(SignalError::NotAttached),
        }
    }
}
