//! The messages of the socket: their shapes, how they are written and how a client's are read.
//!
//! This module owns every name that a browser sees. [`AppState`] and its members are the host's part of the state document;
//! [`ServerMessage`] and [`ClientMessage`] are what travels. Cold messages are written from those types; the hot ones (`state.patch`,
//! `logs.append`, `telemetry`) are written by [`encode`] straight into a byte buffer, and the tests hold them to the same types.
//! [`typescript`] prints all of them for the mirror; a test fails when the committed file differs.
//!
//! It does not know sockets, clients or subscriptions: that is the hub's.

mod app_state;
mod client;
pub mod encode;
mod server;
mod time;
mod typescript;

pub use app_state::{
    AlarmEntry, AppConfig, AppState, DeviceEntry, DeviceStatus, DriverEntry, JobsEntry, LastReload, Layout,
    LogsClientConfig, LogsEntry, Meta, MetaStatus, Pane, PluginEntry, PluginStatus, PnoEntry, PortEntry,
    PortIdentityEntry, ReloadVerdict, SeriesEntry, SeriesKind, ServerConfig, Severity, Slices,
    WsClientConfig,
};
pub use client::{ClientError, ClientFrame, ClientMessage, MessageId, Secret, SnapshotRequest, Subscription, Topic};
pub use server::{
    Ack, Alarm, AlarmState, ErrorCode, ErrorMessage, Event, EventBody, Limits, LogEntry, LogRange, LogSpan,
    PatchOperation, Pong, ServerMessage, StatePatch, StateSnapshot, Telemetry, Welcome,
};
pub use time::iso8601;
pub use typescript::typescript;

/// The subprotocol that a client asks for in the upgrade, and what `welcome.protocol` says.
pub const PROTOCOL: &str = "autobench.v1";
