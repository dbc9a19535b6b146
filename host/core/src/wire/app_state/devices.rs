//! A device of the bench: its driver, its ports and its series.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

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
