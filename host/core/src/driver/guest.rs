//! The seam between the cell and whatever runs a driver: wasmtime in the daemon, plain code in tests.

use std::sync::Arc;

use super::{CommandId, Effects, Event, LeaseId, PortIndex, TimerId};

/// Time as a call sees it; it stands still while the call runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CallTime {
    /// Monotonic clock.
    pub monotonic_ns: u64,
    /// Milliseconds since 1970.
    pub wall_ms: f64,
}

/// A live instance of a driver. After a [`Fault`] it is never called again.
pub trait Guest {
    /// Starts it. `Ok(Err(_))` is a refusal by the driver itself, which is an answer; `Err(_)` is a fault.
    fn start(
        &mut self,
        input: &StartInput,
        time: CallTime,
        effects: &mut Effects,
    ) -> Result<Result<(), Refusal>, Fault>;
    /// Deals with one event.
    fn handle(&mut self, event: &Event<'_>, time: CallTime, effects: &mut Effects) -> Result<(), Fault>;
    /// Takes a snapshot at rest.
    fn snapshot(&mut self, time: CallTime) -> Result<Snapshot, Fault>;
    /// Last words.
    fn stop(&mut self, reason: StopReason, time: CallTime, effects: &mut Effects) -> Result<(), Fault>;
    /// Names of the foreign slices that it observes and may; the same for all its life.
    fn observes(&self) -> &[Arc<str>] {
        &[]
    }
}

/// What a driver starts with.
#[derive(Debug, Clone, PartialEq)]
pub struct StartInput {
    /// Id of the device.
    pub device: Arc<str>,
    /// Why it starts.
    pub reason: StartReason,
    /// Its settings as a JSON object.
    pub settings: Arc<str>,
    /// Its ports, in the order of their indices.
    pub ports: Vec<PortState>,
    /// Its slice as it stands, as JSON.
    pub slice: Option<Arc<str>>,
    /// What it goes on from.
    pub snapshot: Option<Snapshot>,
    /// Commands in flight, oldest first.
    pub commands: Vec<Arc<Command>>,
    /// Timers that run.
    pub timers: Vec<TimerId>,
    /// Leases that are open.
    pub leases: Vec<LeaseId>,
}

/// A port as it is at a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortState {
    /// Its name in `plugins.toml`.
    pub name: Arc<str>,
    /// Whether the device is there.
    pub attached: bool,
    /// Number of the next byte.
    pub offset: u64,
}

/// Why a driver is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartReason {
    /// Without anything to go on from.
    Cold,
    /// After a fault.
    Restart,
    /// In place of a predecessor at rest.
    Swap,
    /// In place of a successor that failed.
    Return,
}

/// Why a driver is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The daemon goes down.
    Shutdown,
    /// Its entry or its file is gone.
    Removed,
    /// Its entry has changed.
    Reconfigured,
}

/// A driver's memory of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Version of the form of `data`.
    pub schema_version: u32,
    /// At most 1 MiB.
    pub data: Arc<[u8]>,
    /// Per port, number of the first byte that is not dealt with.
    pub consumed: Vec<(PortIndex, u64)>,
}

/// A command on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Its id.
    pub id: CommandId,
    /// Its name from the manifest.
    pub name: String,
    /// Its arguments as a JSON object.
    pub arguments: String,
    /// Who asked.
    pub actor: String,
    /// Until when, on the monotonic clock.
    pub deadline_ns: Option<u64>,
}

/// Why a driver does not start, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The settings are wrong.
    #[error("its settings are refused: {0}")]
    InvalidSettings(String),
    /// The snapshot is not understood.
    #[error("it does not understand the snapshot: {0}")]
    UnknownSnapshot(String),
    /// A port is missing.
    #[error("it needs the port {0:?}, which the configuration does not give it")]
    MissingPort(String),
    /// Something else.
    #[error("it refuses to start: {0}")]
    Other(String),
}

/// How a driver broke off a call. The instance is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} in `{export}`: {detail}")]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// The export that was running.
    pub export: &'static str,
    /// What the engine said, with the guest's function where it is known.
    pub detail: String,
    /// Where in the driver, as far as that is known.
    pub place: Box<Place>,
}

impl Fault {
    /// A fault of which nobody knows where in the driver it was.
    pub fn new(kind: FaultKind, export: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind,
            export,
            detail: detail.into(),
            place: Box::default(),
        }
    }
}

/// Where in a driver a call was broken off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The innermost function.
    pub function: Option<String>,
    /// File and line of its source, as `src/lib.rs:12`.
    pub source: Option<String>,
    /// Name of the file that keeps the driver's memory as it was.
    pub core_dump: Option<String>,
}

/// The kinds of hard faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// It trapped: a panic, an unreachable, an access out of bounds, a stack overflow.
    Trap,
    /// It ran past its deadline.
    Deadline,
    /// It wanted more memory, host-call bytes, or another bounded thing, than it may have.
    Limit,
    /// It answered what no driver may answer, for example a snapshot that is too large.
    Contract,
}

impl FaultKind {
    /// The word by which programs know it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Limit => "limit",
            Self::Contract => "contract",
        }
    }
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline passed",
            Self::Limit => "limit exceeded",
            Self::Contract => "contract broken",
        })
    }
}
