//! Settings that clients follow, with their defaults.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::driver::LogLevel;

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
