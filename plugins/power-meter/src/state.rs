//! The slice `powerMeter`.

use autobench_sdk::{Slice, iso_8601};
use schemars::JsonSchema;

use crate::protocol::Reading;

/// How the device is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema, Slice)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// The line is away.
    #[default]
    Disconnected,
    /// The meter is being identified or asked for rows.
    Connecting,
    /// Rows are coming.
    Streaming,
    /// The meter does not answer.
    Error,
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Streaming => "streaming",
            Self::Error => "error",
        }
    }
}

/// The slice.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema, Slice)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// How the device is.
    pub phase: Phase,
    /// What there is to say, for a person.
    #[slice(absent)]
    pub message: Option<String>,
    /// Counts since the driver started without a predecessor.
    pub stats: Stats,
    /// The newest row.
    pub last_sample: Option<LastSample>,
}

/// Counts.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema, Slice)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Rows that were read.
    pub total_samples: u64,
    /// Rows that were lost in damage.
    pub bad_rows: u64,
    /// Bytes that came from the line.
    pub bytes_received: u64,
    /// Milliseconds since 1970.
    pub last_sample_at: Option<u64>,
    /// Milliseconds since 1970.
    pub last_error_at: Option<u64>,
}

/// The newest row. What the meter does not log is not there.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema, Slice)]
#[serde(rename_all = "camelCase")]
pub struct LastSample {
    /// When its last byte was received.
    pub ts: String,
    /// Real power.
    #[slice(absent)]
    pub watts: Option<f64>,
    /// Voltage.
    #[slice(absent)]
    pub volts: Option<f64>,
    /// Current.
    #[slice(absent)]
    pub amps: Option<f64>,
    /// Line frequency.
    #[slice(absent)]
    pub frequency_hz: Option<f64>,
    /// From 0 to 1.
    #[slice(absent)]
    pub power_factor: Option<f64>,
    /// Energy since the meter's memory was cleared.
    #[slice(absent)]
    pub energy_wh: Option<f64>,
}

impl LastSample {
    pub(crate) fn new(reading: &Reading, received_ms: f64) -> Self {
        Self {
            ts: iso_8601(received_ms),
            watts: reading.watts,
            volts: reading.volts,
            amps: reading.amps,
            frequency_hz: reading.frequency_hz,
            power_factor: reading.power_factor,
            energy_wh: reading.energy_wh,
        }
    }
}
