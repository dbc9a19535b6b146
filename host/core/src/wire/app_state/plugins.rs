//! A plugin on disk, and what it waits for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use super::devices::DriverFault;

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
