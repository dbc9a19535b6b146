//! The host's members of the state document.
//!
//! A driver's slices lie beside them as further members; nothing here knows what is in a slice. A field that is `Option` is absent when
//! there is nothing to say, except where its comment says that it is null.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use crate::driver::LogLevel;

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

/// Settings that clients follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppConfig {
    /// Share of requests that are logged, from 0 to 1.
    pub request_sample: f64,
    /// Switches by name.
    pub features: BTreeMap<String, bool>,
}

impl Default for AppConfig {
    fn default() -> Self {
        Self {
            request_sample: 1.0,
            features: BTreeMap::new(),
        }
    }
}

/// Settings of the connection and of the log view. The defaults are those of the environment variables that change them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerConfig {
    /// The log view.
    pub logs: LogsClientConfig,
    /// The connection.
    pub ws: WsClientConfig,
}

/// Settings of the log view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogsClientConfig {
    /// Entries that a client gets when it connects.
    pub snapshot: u32,
    /// Entries that a client should keep.
    pub capacity: u32,
    /// Channels that clients see; empty for all.
    pub allowed_channels: Vec<String>,
    /// Lowest level that clients see.
    pub min_level: LogLevel,
}

impl Default for LogsClientConfig {
    fn default() -> Self {
        Self {
            snapshot: 200,
            capacity: 500,
            allowed_channels: Vec::new(),
            min_level: LogLevel::Debug,
        }
    }
}

/// Settings of the connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WsClientConfig {
    /// How often a client pings.
    pub heartbeat_interval_ms: u32,
    /// How long it waits for the answer.
    pub heartbeat_timeout_ms: u32,
    /// Whether it connects again.
    pub reconnect_enabled: bool,
    /// First wait before it connects again.
    pub reconnect_min_ms: u32,
    /// Longest wait.
    pub reconnect_max_ms: u32,
    /// What each wait is multiplied by.
    pub reconnect_factor: f64,
    /// Share of a wait that is random.
    pub reconnect_jitter: f64,
}

impl Default for WsClientConfig {
    fn default() -> Self {
        Self {
            heartbeat_interval_ms: 10_000,
            heartbeat_timeout_ms: 5_000,
            reconnect_enabled: true,
            reconnect_min_ms: 1_000,
            reconnect_max_ms: 15_000,
            reconnect_factor: 1.8,
            reconnect_jitter: 0.2,
        }
    }
}

/// A plugin on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct PluginEntry {
    /// Name of its file.
    pub file: String,
    /// Hash of its file, hexadecimal.
    pub sha256: String,
    /// Its name in its own words; absent while its manifest is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its version in its own words; absent while its manifest is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(type = "Record<string, unknown>", optional)]
    pub manifest: Option<Value>,
    /// What became of it.
    pub status: PluginStatus,
    /// Why it is refused, or what it waits for; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The version in the file, while it waits for consent; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingEntry>,
    /// The word for it that stays the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Where it broke down, if that is why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<DriverFault>,
    /// Devices that run it.
    pub devices: Vec<String>,
}

/// A version that wants more than was consented to, and is not run before somebody consents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitingEntry {
    /// Hash of its file, hexadecimal.
    pub sha256: String,
    /// Its version in its own words.
    pub version: String,
    /// Devices on which it waits; what ran there goes on.
    pub devices: Vec<String>,
    /// What it wants more.
    pub wants: Vec<WantEntry>,
}

impl WaitingEntry {
    /// What it waits for, in one sentence.
    pub fn in_words(&self, plugin: &str) -> String {
        let wants: Vec<&str> = self.wants.iter().map(|want| want.words.as_str()).collect();
        format!(
            "version {} wants {}, which no version before it did; `autobench plugin grant {plugin}` lets it run",
            self.version,
            wants.join(", ")
        )
    }
}

/// One thing that a version wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WantEntry {
    /// `port`, `slice`, `dangerous-command`, `memory-bytes` or `slice-bytes`.
    pub kind: String,
    /// Its name, or its number of bytes.
    pub value: String,
    /// For a person.
    pub words: String,
}

/// What became of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PluginStatus {
    /// Its first version is being compiled; nothing is known of it yet.
    Compiling,
    /// A device runs it.
    Bound,
    /// Good, but no device names it.
    Unbound,
    /// Not run; the reason says why.
    Refused,
    /// It wants more than was consented to, and waits for consent; what ran before goes on.
    WaitingForConsent,
}

/// A device of the bench.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct DeviceEntry {
    /// What kind of device: the name in the driver's manifest.
    #[serde(rename = "type")]
    pub kind: String,
    /// File stem of its plugin.
    pub plugin: String,
    /// Its member of the state.
    pub slice: String,
    /// How its driver fares.
    pub status: DeviceStatus,
    /// Why it is so; absent when there is nothing to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Phase in the driver's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The running instance; absent before the first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<DriverEntry>,
    /// By name in `plugins.toml`.
    pub ports: BTreeMap<String, PortEntry>,
    /// By name in the manifest.
    pub series: BTreeMap<String, SeriesEntry>,
    /// When its driver last handled an event of its device, ISO 8601.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
    /// Since when its slice is not kept up to date, ISO 8601; absent while it is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_since: Option<String>,
}

/// How a driver fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceStatus {
    /// On its way.
    Starting,
    /// At work.
    Running,
    /// Broken off, and about to start again.
    Restarting,
    /// Broken off too often; `plugin reload` leaves it.
    Quarantined,
    /// Ended on request.
    Stopped,
    /// Not run: its file is refused, or it refuses what the configuration gives it; the reason says which and why.
    Refused,
}

/// The running instance of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct DriverEntry {
    /// Hash of the file that runs, hexadecimal.
    pub sha256: String,
    /// Its version.
    pub version: String,
    /// Rises with every flip, return and restart.
    pub generation: u64,
    /// Counters of the host about it.
    #[ts(type = "Record<string, unknown>")]
    pub health: BTreeMap<String, Value>,
    /// What came of the newest attempt to replace it; absent before the first, and once the refused file has given way to the one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reload: Option<LastReload>,
    /// The newest breakdown, of whichever version; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fault: Option<DriverFault>,
}

/// How a version of a driver broke down, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct DriverFault {
    /// When, ISO 8601.
    pub at: String,
    /// `trap`, `deadline`, `limit`, `contract`, `refused`, `failed` or `slice`.
    pub code: String,
    /// The same for a person.
    pub message: String,
    /// The export that was running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<String>,
    /// The innermost function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// File and line of its source, if its build kept them and they are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// File stem of the plugin.
    pub plugin: String,
    /// Its version; absent while its manifest is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Hash of its file, hexadecimal.
    pub sha256: String,
    /// Name of the file with its memory, where dumps are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_dump: Option<String>,
}

/// What came of an attempt to replace a driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct LastReload {
    /// When, ISO 8601.
    pub at: String,
    /// What came of it.
    pub verdict: ReloadVerdict,
    /// Hash of the file that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Hash of the file that was to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long no driver was fed, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_us: Option<u64>,
    /// Bytes that the new one was given again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried_bytes: Option<u64>,
}

/// What came of an attempt to replace a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReloadVerdict {
    /// The new one runs, and goes on from the old one's snapshot.
    Swapped,
    /// The new one does not run. The old one goes on, unless its thread ended over this, which `reason` says then.
    Refused,
    /// The new one runs, from nothing.
    Cold,
    /// The new one failed in its probation, and the old one runs again.
    Returned,
}

/// A serial line of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct PortEntry {
    /// Path of the line; absent while it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether the line is open.
    pub attached: bool,
    /// What the system knows of the device behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<PortIdentityEntry>,
}

/// What the system knows of the device behind a port.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct PortIdentityEntry {
    /// USB vendor id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usb_vendor_id: Option<u16>,
    /// USB product id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usb_product_id: Option<u16>,
    /// USB serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
    /// More, as keys and texts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[ts(as = "Option<BTreeMap<String, String>>", optional)]
    pub attributes: BTreeMap<String, String>,
}

/// A telemetry series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeriesEntry {
    /// The number by which clients subscribe.
    pub endpoint_id: u32,
    /// Unit of its values.
    pub unit: String,
    /// What its values are.
    pub kind: SeriesKind,
}

/// What the values of a series are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SeriesKind {
    /// A quantity as it is at that time.
    Measurement,
    /// A sum that only grows until it is reset.
    Total,
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
