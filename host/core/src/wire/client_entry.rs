//! What `/api/v1/clients` says of a client.

use schemars::JsonSchema;
use serde::Serialize;
use ts_rs::TS;

use super::HardwareHealth;
use crate::logs::LogFilter;

/// One client.
#[derive(Debug, Clone, PartialEq, Serialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct ClientEntry {
    /// Names the connection.
    pub client_id: String,
    /// Address and port of its other end.
    pub peer: String,
    /// What it calls itself; empty if it did not say.
    pub name: String,
    /// The page that it shows; empty if it did not say.
    pub page: String,
    /// When it connected, ISO 8601.
    pub since: String,
    /// The channels that it gets; a telemetry series as `telemetry:<endpointId>`.
    pub subscriptions: Vec<String>,
    /// Which log entries it wants, if not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<LogFilter>,
    /// How far behind it is.
    pub lag: ClientLag,
    /// What it last said of its hardware.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HardwareHealth>,
}

/// How far behind a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct ClientLag {
    /// Versions of the state that it lacks. Absent if it does not follow the state, or waits for a snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versions: Option<u64>,
    /// Log entries that it lacks. Absent if it does not follow the log, or waits for its history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_entries: Option<u64>,
    /// Messages for it alone that wait.
    pub waiting: u64,
    /// For how long its socket has taken nothing although something waits for it. Absent if it takes what comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled_ms: Option<u64>,
}
