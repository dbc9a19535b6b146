//! What a driver's store holds on the host's side: its rights, its limits, and the effects of the call that is running.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use autobench_core::driver::{CallTime, CommandId, Effects, PortIndex};
use autobench_core::state::Pointer;

use super::health::Health;
use super::limits::{Deadline, MemoryLimit, Watch};
use crate::serial::PortControl;

/// Bytes that one call may hand to the host, over all host calls in it.
pub const HOST_CALL_BYTES_LIMIT: usize = 1 << 20;

/// What a host call counts beside its bytes.
const HOST_CALL_COST_BYTES: usize = 32;

/// Log lines that one call may write; past it they are only counted.
pub const LOG_LINES_PER_CALL: usize = 256;

/// Reads foreign slices for a driver that may.
pub trait ReadSlices: Send + Sync {
    /// The slice as JSON text, none if there is no such member.
    fn read(&self, slice: &str) -> Option<String>;
}

/// What an instance may reach.
#[derive(Clone)]
pub struct Rights {
    /// Id of the device, for messages.
    pub device: Arc<str>,
    /// The ports that `plugins.toml` gives it, in the order of their indices.
    pub ports: Arc<[PortControl]>,
    /// Names of the foreign slices it may read: observed by the manifest and granted by `plugins.toml`.
    pub readable_slices: Arc<[Arc<str>]>,
    /// How it reads them.
    pub slices: Arc<dyn ReadSlices>,
    /// How many series its manifest declares.
    pub series_count: usize,
    /// Names of the device's alarms that stand.
    pub standing_alarms: BTreeSet<String>,
    /// Where its use of memory is counted.
    pub health: Arc<Health>,
}

/// Whether the instance describes itself or serves a device.
pub enum Mode {
    /// `describe`: every import but `log` answers `not-granted`.
    Describe,
    /// Serves a device.
    Live(Rights),
}

/// The data of a driver's store.
pub struct HostState {
    pub(super) mode: Mode,
    pub(super) memory: MemoryLimit,
    pub(super) watch: Watch,
    pub(super) time: CallTime,
    pub(super) effects: Effects,
    pub(super) interned: Vec<Arc<Pointer>>,
    /// Bytes written to each port in this call, which the transmit queues do not know of yet.
    pub(super) reserved_bytes: Vec<usize>,
    pub(super) host_call_bytes: usize,
    /// Timers that run: kept here so that the 65th can be refused at the call.
    pub(super) timers: BTreeSet<u32>,
    /// Commands in flight, so that an answer to another one can be refused at the call.
    pub(super) commands: HashSet<CommandId>,
    /// Alarms that stand, so that one too many can be refused at the call.
    pub(super) alarms: BTreeSet<String>,
}

impl HostState {
    /// A fresh state for one instance.
    pub fn new(mode: Mode, memory_limit_bytes: usize) -> Self {
        let (port_count, alarms) = match &mode {
            Mode::Describe => (0, BTreeSet::new()),
            Mode::Live(rights) => (rights.ports.len(), rights.standing_alarms.clone()),
        };
        Self {
            mode,
            memory: MemoryLimit::new(memory_limit_bytes),
            watch: Watch::new(Deadline::COLD_START),
            time: CallTime {
                monotonic_ns: 0,
                wall_ms: 0.0,
            },
            effects: Effects::default(),
            interned: Vec::new(),
            reserved_bytes: vec![0; port_count],
            host_call_bytes: 0,
            timers: BTreeSet::new(),
            commands: HashSet::new(),
            alarms,
        }
    }

    /// From here on the instance serves a device.
    pub(super) fn serve(&mut self, rights: Rights) {
        self.reserved_bytes.resize(rights.ports.len(), 0);
        self.alarms.clone_from(&rights.standing_alarms);
        self.effects.clear();
        self.mode = Mode::Live(rights);
    }

    /// Readies the state for a call.
    pub(super) fn begin_call(&mut self, time: CallTime, deadline: Deadline) {
        self.time = time;
        self.watch = Watch::new(deadline);
        self.host_call_bytes = 0;
        self.reserved_bytes.fill(0);
    }

    pub(super) fn rights(&self) -> Option<&Rights> {
        match &self.mode {
            Mode::Describe => None,
            Mode::Live(rights) => Some(rights),
        }
    }

    pub(super) fn port(&self, index: u32) -> Option<(PortIndex, &PortControl)> {
        let index = usize::try_from(index).ok()?;
        self.rights()?
            .ports
            .get(index)
            .map(|control| (PortIndex(index), control))
    }

    /// Counts bytes that the driver hands to the host, and a little for the call itself, because an effect without a text takes memory too;
    /// ends the call when they are too many.
    pub(super) fn charge(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.host_call_bytes = self
            .host_call_bytes
            .saturating_add(bytes)
            .saturating_add(HOST_CALL_COST_BYTES);
        if self.host_call_bytes > HOST_CALL_BYTES_LIMIT {
            return Err(LimitExceeded(format!(
                "more than {HOST_CALL_BYTES_LIMIT} bytes handed to the host in one call"
            ))
            .into());
        }
        Ok(())
    }
}

/// Ends a call because a bounded thing was used up. Told from a trap when the call comes back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LimitExceeded(pub String);
