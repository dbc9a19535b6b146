//! The trait that a driver implements, and what it starts with and leaves behind.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::bindings::exports::autobench::driver::guest;
use crate::{
    Attached, Bytes, Cancellation, Context, LeaseEnd, LineError, LinesChanged, Lost, Manifest, Observed,
    OtherEvent, Overrun, PortState, Refusal, Slice, StartReason, StopReason, warn,
};

/// A driver of one device. Everything but [`manifest`](Self::manifest), [`start`](Self::start) and [`snapshot`](Self::snapshot) has a
/// default that does nothing.
///
/// It never blocks and holds nothing but itself: between two calls it is at rest, and the host may take a snapshot of it, replace it with
/// another version, or drop it.
pub trait Driver: Sized + 'static {
    /// `[devices.<id>.settings]`. Its schema goes into the manifest. [`NoSettings`] where there are none.
    type Settings: DeserializeOwned + JsonSchema;
    /// Its part of the state. Its schema goes into the manifest.
    type Slice: Slice;

    /// Version of what [`snapshot`](Self::snapshot) returns and of the slice inside it; raised when an older one cannot be read.
    const SNAPSHOT_VERSION: u32 = 1;

    /// What the driver says of itself; the same each time.
    fn manifest() -> Manifest;

    /// Starts the driver. Where it goes on from a predecessor, the slice is already as that one left it, and [`Start::memory`] gives what
    /// that one put into its snapshot.
    fn start(cx: &mut Context<'_, Self::Slice>, start: Start<Self::Settings>) -> Result<Self, Refusal>;

    /// What the driver needs to go on, and up to where bytes are dealt with. The slice is added by the SDK.
    fn snapshot(&self) -> Snapshot;

    /// Makes a snapshot of an older version into one of this version: an object with `slice` and `driver`.
    fn migrate(from_version: u32, _snapshot: Json) -> Result<Json, Refusal> {
        Err(Refusal::UnknownSnapshot(format!(
            "its version is {from_version}, this driver takes version {}",
            Self::SNAPSHOT_VERSION
        )))
    }

    /// Bytes from a port.
    fn on_bytes(&mut self, _cx: &mut Context<'_, Self::Slice>, _bytes: Bytes) {}

    /// A device is there, for the first time or again. A packet that is half read ends here.
    fn on_attached(&mut self, _cx: &mut Context<'_, Self::Slice>, _attached: Attached) {}

    /// A device is gone.
    fn on_lost(&mut self, _cx: &mut Context<'_, Self::Slice>, _lost: Lost) {}

    /// Bytes that the driver will not get. A packet that is half read ends here.
    fn on_overrun(&mut self, _cx: &mut Context<'_, Self::Slice>, _overrun: Overrun) {}

    /// A fault on the line that the system reports.
    fn on_line_error(&mut self, _cx: &mut Context<'_, Self::Slice>, _error: LineError) {}

    /// Lines that the device drives have changed.
    fn on_lines_changed(&mut self, _cx: &mut Context<'_, Self::Slice>, _changed: LinesChanged) {}

    /// The transmit queue of the named port is empty.
    fn on_transmit_drained(&mut self, _cx: &mut Context<'_, Self::Slice>, _port: String) {}

    /// A timer has run out.
    fn on_timer(&mut self, _cx: &mut Context<'_, Self::Slice>, _id: u32) {}

    /// A command. It stays in flight until it is completed or expires.
    fn on_command(&mut self, _cx: &mut Context<'_, Self::Slice>, _command: Command) {}

    /// A command is withdrawn.
    fn on_cancel(&mut self, _cx: &mut Context<'_, Self::Slice>, _cancellation: Cancellation) {}

    /// A lease is over without the driver: its bytes were written, or will be as soon as its line is back.
    fn on_lease_ended(&mut self, _cx: &mut Context<'_, Self::Slice>, _end: LeaseEnd) {}

    /// A foreign slice has changed.
    fn on_observed(&mut self, _cx: &mut Context<'_, Self::Slice>, _observed: Observed) {}

    /// `[devices.<id>.settings]` has changed.
    fn on_settings(&mut self, cx: &mut Context<'_, Self::Slice>, _settings: Self::Settings) {
        warn!(cx, "this driver takes new settings only when it starts");
    }

    /// Something that this version of the world does not name.
    fn on_other(&mut self, _cx: &mut Context<'_, Self::Slice>, _event: OtherEvent) {}

    /// Last words: what it writes here still leaves. Not called before a swap.
    fn stop(&mut self, _cx: &mut Context<'_, Self::Slice>, _reason: StopReason) {}
}

/// For drivers without settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// For commands without arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

/// What a driver starts with.
#[derive(Debug)]
pub struct Start<T> {
    /// Id of the device in `plugins.toml`.
    pub device: String,
    /// Why it starts.
    pub reason: StartReason,
    /// Its settings.
    pub settings: T,
    /// The ports that it is given.
    pub ports: Vec<PortState>,
    /// The slice as it stands in the state, as JSON text. For a start from nothing that wants to keep something of it.
    pub slice: Option<String>,
    /// Commands in flight, oldest first. Started from nothing, a driver says in its start which of them it goes on with (by acknowledging
    /// or completing them); the host fails the others, because nobody knows how far they came.
    pub commands: Vec<Command>,
    /// Ids of timers that are running.
    pub timers: Vec<u32>,
    /// Ids of leases that are open. One whose bytes the host has written since is told as ended behind the start.
    pub leases: Vec<u32>,
    pub(crate) memory: Option<Json>,
}

impl<T> Start<T> {
    /// A port by its name, or the refusal that says that it is missing.
    pub fn port(&self, name: &str) -> Result<&PortState, Refusal> {
        self.ports
            .iter()
            .find(|port| port.name == name)
            .ok_or_else(|| Refusal::MissingPort(name.to_owned()))
    }

    /// What the predecessor, or this driver before a fault, gave to [`Snapshot::of`]; nothing at a cold start.
    pub fn memory<M: DeserializeOwned>(&mut self) -> Result<Option<M>, Refusal> {
        self.memory
            .take()
            .map(|memory| {
                serde_json::from_value(memory).map_err(|error| Refusal::UnknownSnapshot(error.to_string()))
            })
            .transpose()
    }
}

/// What a driver needs to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub(crate) memory: Result<Json, String>,
    /// Per port, how many of the bytes that came last are not dealt with.
    pub(crate) rereading: Vec<(String, usize)>,
}

impl Snapshot {
    /// A snapshot of whatever the driver needs. All bytes so far count as dealt with.
    #[must_use]
    pub fn of<M: Serialize>(memory: &M) -> Self {
        Self {
            memory: serde_json::to_value(memory).map_err(|error| error.to_string()),
            rereading: Vec::new(),
        }
    }

    /// Leaves the last `count` bytes of a port to the successor, which gets them again: the half packet that a framer holds. What is in the
    /// memory must then not depend on them.
    #[must_use]
    pub fn rereading(mut self, port: &str, count: usize) -> Self {
        self.rereading.push((port.to_owned(), count));
        self
    }
}

/// A command on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Its id, unique in one run of the host.
    pub id: String,
    /// Its name from the manifest.
    pub name: String,
    /// Who asked, for the log.
    pub actor: String,
    /// Until when it has to be complete, on the monotonic clock.
    pub deadline_ns: Option<u64>,
    arguments: String,
}

impl Command {
    /// Its arguments. The host has checked them against the schema of this type already; an error text is for the one who asked.
    pub fn arguments<A: DeserializeOwned>(&self) -> Result<A, String> {
        parse(&self.arguments)
    }
}

impl From<guest::Command> for Command {
    fn from(command: guest::Command) -> Self {
        let guest::Command {
            id,
            name,
            arguments,
            actor,
            deadline_ns,
            attributes: _,
        } = command;
        Self {
            id,
            name,
            actor,
            deadline_ns,
            arguments,
        }
    }
}

/// JSON text as a value of the driver's type. By way of a JSON value, so that there is one parser in the component and no line and column
/// in the error, which mean nothing to somebody who wrote TOML.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let json: Json = serde_json::from_str(text).map_err(|error| error.to_string())?;
    serde_json::from_value(json).map_err(|error| error.to_string())
}
