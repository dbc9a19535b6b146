//! The messages of the socket: their shapes, how they are written and how a client's are read.
//!
//! This module owns every name that a browser sees. [`AppState`] and its members are the host's part of the state document;
//! [`ServerMessage`] and [`ClientMessage`] are what travels. Cold messages are written from those types; the hot ones (`state.patch`,
//! `logs.append`, `telemetry`) are written by [`encode`] straight into a byte buffer, and the tests hold them to the same types.
//! [`typescript`] prints all of them for the mirror; a test fails when the committed file differs. [`schema`] says the same as JSON Schemas.
//!
//! It does not know sockets, clients or subscriptions: that is the hub's.

mod app_state;
mod blocks;
mod canonical;
mod client;
mod client_entry;
mod command;
pub mod encode;
mod one_or_many;
mod schema;
mod server;
mod time;
mod typescript;

pub use app_state::{
    AlarmEntry, AppConfig, AppState, DeviceEntry, DeviceStatus, DriverEntry, DriverFault, JobsEntry,
    LastReload, Layout, LogsClientConfig, LogsEntry, Meta, MetaStatus, Pane, PluginEntry, PluginStatus,
    PnoEntry, PortEntry, PortIdentityEntry, ReloadVerdict, SeriesEntry, SeriesKind, ServerConfig, Severity,
    Slices, WaitingEntry, WantEntry, WsClientConfig,
};
pub use blocks::{
    ACTIVE_BLOCKS, Block, BlockMessage, BlockTiming, BlockTracker, ExecutionState, InitialExecutionState,
    RECENT_BLOCKS,
};
pub use canonical::canonical;
pub use client::{
    ClientError, ClientFrame, ClientInfo, ClientMessage, HardwareHealth, MessageId, Secret, SnapshotRequest,
    Subscription, Topic,
};
pub use client_entry::{ClientEntry, ClientLag};
pub use command::{CommandProgress, CommandRequest, CommandStatus};
pub use one_or_many::OneOrMany;
pub use schema::schema;
pub use server::{
    Ack, Alarm, AlarmState, ClientIdentified, Connected, ErrorCode, ErrorMessage, Event, EventBody,
    Identified, Limits, LogEntry, LogRange, LogSpan, PatchOperation, Pong, ServerMessage, StatePatch,
    StateSnapshot, Telemetry, Welcome,
};
pub use time::iso8601;
pub use typescript::typescript;

/// The subprotocol that a client asks for in the upgrade, and what `welcome.protocol` says.
pub const PROTOCOL: &str = "autobench.v1";
