//! The host's members of the state document.
//!
//! A driver's slices lie beside them as further members; nothing here knows what is in a slice. A field that is `Option` is absent when
//! there is nothing to say, except where its comment says that it is null.

mod devices;
mod plugins;
mod settings;

pub use devices::{
    DeviceEntry, DeviceStatus, DriverEntry, DriverFault, LastReload, PortEntry, PortIdentityEntry,
    ReloadVerdict, SeriesEntry, SeriesKind,
};
pub use plugins::{PluginEntry, PluginStatus, WaitingEntry, WantEntry};
pub use settings::{AppConfig, LogsClientConfig, ServerConfig, WsClientConfig};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

/// The whole state document.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppState {
    /// Rises by one with each mutation.
    pub version: u64,
    /// The daemon itself.
    pub meta: Meta,
    /// For the person before the page; empty when there is nothing to say.
    pub message: String,
    /// Which panes are shown where.
    pub layout: Layout,
    /// Settings that clients follow.
    pub config: AppConfig,
    /// Settings of the connection and of the log view.
    pub server_config: ServerConfig,
    /// By file stem.
    pub plugins: BTreeMap<String, PluginEntry>,
    /// By device id.
    pub devices: BTreeMap<String, DeviceEntry>,
    /// Video and other streams, by name.
    #[ts(type = "Record<string, unknown>")]
    pub streams: BTreeMap<String, Value>,
    /// Benchmark jobs.
    pub jobs: JobsEntry,
    /// Analysis after a run.
    pub pno: PnoEntry,
    /// The log ring, without its entries.
    pub logs: LogsEntry,
    /// Alarms that stand, by name.
    pub alarms: BTreeMap<String, AlarmEntry>,
    /// One member per driver slice.
    #[serde(flatten)]
    pub slices: Slices,
}

/// The members that belong to drivers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slices(pub BTreeMap<String, Value>);

/// The daemon itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Names one run of the daemon: 16 hexadecimal digits.
    pub boot_id: String,
    /// When it started, ISO 8601.
    pub started_at: String,
    /// Version of the daemon.
    pub build: String,
    /// How far it is.
    pub status: MetaStatus,
    /// Connected clients.
    pub clients: u32,
    /// Versions that the client farthest behind lacks, rounded up to a power of two; 0 if all keep up.
    pub max_client_lag_versions: u64,
    /// Log entries of level error and fatal since the start.
    pub errors: u64,
    /// Durations by name, in milliseconds.
    pub timings: BTreeMap<String, f64>,
}

/// How far the daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MetaStatus {
    /// Not all parts run yet.
    #[default]
    Booting,
    /// Serving.
    Ready,
    /// Something that it needs has failed.
    Error,
}

/// Which panes are shown where.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Layout {
    /// Rows of the grid.
    pub rows: u32,
    /// Columns of the grid.
    pub cols: u32,
    /// The panes, in the order of the page.
    pub panes: Vec<Pane>,
}

/// One view of one slice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct Pane {
    /// Its name on the page.
    pub id: String,
    /// Which view.
    pub pane: String,
    /// The slice it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<String>,
    /// The device behind the slice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// First row, from 0.
    pub row: u32,
    /// First column, from 0.
    pub col: u32,
    /// Rows it covers.
    pub row_span: u32,
    /// Columns it covers.
    pub col_span: u32,
}

/// Benchmark jobs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct JobsEntry {
    /// Waiting.
    #[ts(type = "unknown[]")]
    pub queue: Vec<Value>,
    /// At work.
    #[ts(type = "unknown[]")]
    pub running: Vec<Value>,
    /// The newest that is over; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(type = "unknown", optional)]
    pub last_completed: Option<Value>,
}

/// Analysis after a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct PnoEntry {
    /// What it does.
    pub status: String,
    /// How far it is, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// When it last ran, ISO 8601.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_at: Option<String>,
    /// What its last run came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(type = "unknown")]
    pub summary: Option<Value>,
    /// What it found.
    #[ts(type = "unknown[]")]
    pub findings: Vec<Value>,
}

impl Default for PnoEntry {
    fn default() -> Self {
        Self {
            status: "idle".to_owned(),
            progress: None,
            last_run_at: None,
            summary: None,
            findings: Vec::new(),
        }
    }
}

/// The log ring, without its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogsEntry {
    /// The number that the next entry gets.
    pub next_seq: u64,
    /// Most entries that it keeps.
    pub capacity: u64,
    /// Entries that it keeps now.
    pub size: u64,
    /// Place in the ring that the next entry takes, from 0.
    pub head: u64,
}

impl Default for LogsEntry {
    fn default() -> Self {
        Self {
            next_seq: 1,
            capacity: 500,
            size: 0,
            head: 0,
        }
    }
}

/// An alarm that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlarmEntry {
    /// Its number in this run of the daemon.
    pub alarm_id: u32,
    /// The device that raised it.
    pub device: String,
    /// How grave.
    pub severity: Severity,
    /// For a person.
    pub message: String,
    /// When it was raised, ISO 8601.
    pub raised_at: String,
}

/// How grave an alarm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Wants attention soon.
    Warning,
    /// Wants attention now.
    Critical,
}

impl From<crate::driver::Severity> for Severity {
    fn from(severity: crate::driver::Severity) -> Self {
        match severity {
            crate::driver::Severity::Info => Self::Info,
            crate::driver::Severity::Warning => Self::Warning,
            crate::driver::Severity::Critical => Self::Critical,
        }
    }
}
