//! What a shadow run came to, for whoever asked.

use autobench_core::capture::Bytes;
use autobench_core::driver::shadow::{Difference, Differing, End, Report};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// A shadow run's report.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowReport {
    /// The device.
    pub device: String,
    /// The version that ran.
    pub running: VersionName,
    /// The candidate.
    pub candidate: VersionName,
    /// What came of it.
    pub verdict: Verdict,
    /// Why it ended before its time, in words; absent if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Number of the first byte of the row at which it ended before its time, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Rows that were compared: events that both were told, the start among them.
    pub rows: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Samples that were compared.
    pub samples: u64,
    /// Every difference in order, at most a hundred.
    pub differences: Vec<ShadowDifference>,
    /// How many more there were.
    pub unlisted: u64,
    /// Whether the candidate was put into the plugin folder, to be taken as any file that is saved there.
    pub adopted: bool,
}

/// A version of a driver.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionName {
    /// Hash of its file.
    pub sha256: String,
    /// Its version in its own words.
    pub version: String,
}

/// What came of a shadow run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The candidate did what the version that ran did, and nothing else.
    Equal,
    /// It did something else, and wrote the same.
    Differs,
    /// It wrote something else; nothing was compared from there on.
    DivergedInWrites,
    /// One of them broke down; the reason says which.
    BrokeDown,
    /// The run could not go on, or another version has come since it began; the reason says why. What was compared until then is in the report.
    GaveUp,
    /// The device has ports, and no bytes came on them.
    NothingCompared,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowDifference {
    /// The row, from 0, which is the start.
    pub row: u64,
    /// What both were told.
    pub told: String,
    /// Number of the first byte of the row.
    pub offset: u64,
    /// When it was received, in milliseconds since 1970.
    pub received_ms: f64,
    /// The first bytes of the row where they are text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The first bytes of the row in hexadecimal where they are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
    /// In what they differ: `slice`, `sample`, `event`, `alarm`, `result`, `status`, `write` or `lease`.
    #[serde(rename = "in")]
    pub of: &'static str,
    /// Where: a place of the slice, the name of a series; absent for what has no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What the version that ran has there; absent where it has nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<Value>,
    /// What the candidate has there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Value>,
}

/// What is said of a run in which no bytes came, and what to do.
const NOTHING_CAME: &str = "nothing was compared, because no bytes came on the device's ports: let it send something, or give the run more seconds";

impl ShadowReport {
    /// What is to be told of a run.
    pub fn of(device: &str, running: VersionName, candidate: VersionName, report: Report) -> Self {
        let is_equal = report.is_equal();
        let (verdict, reason, offset) = match report.end {
            None if is_equal => (Verdict::Equal, None, None),
            None => (Verdict::Differs, None, None),
            Some(End::DivergedInWrites { offset }) => {
                let reason = format!("diverged in writes at offset {offset}");
                (Verdict::DivergedInWrites, Some(reason), Some(offset))
            }
            Some(End::BrokeDown {
                offset,
                running,
                candidate,
            }) => {
                let words =
                    |who: &str, what: Option<String>| what.map(|what| format!("{who} broke down: {what}"));
                let both = [
                    words("the candidate", candidate),
                    words("the version that runs", running),
                ];
                let reason = both.into_iter().flatten().collect::<Vec<_>>().join("; ");
                (Verdict::BrokeDown, Some(reason), Some(offset))
            }
            Some(End::GaveUp(reason)) => (Verdict::GaveUp, Some(reason), None),
            Some(End::NothingCompared) => (Verdict::NothingCompared, Some(NOTHING_CAME.to_owned()), None),
        };
        Self {
            device: device.to_owned(),
            running,
            candidate,
            verdict,
            reason,
            offset,
            rows: report.rows,
            bytes: report.bytes,
            samples: report.samples,
            differences: report.differences.into_iter().map(ShadowDifference::of).collect(),
            unlisted: report.unlisted,
            adopted: false,
        }
    }
}

impl ShadowDifference {
    fn of(difference: Difference) -> Self {
        let (text, hex) = match difference.bytes.is_empty() {
            true => (None, None),
            false => match Bytes::of(&difference.bytes) {
                Bytes::Text(text) => (Some(text), None),
                Bytes::Hex(hex) => (None, Some(hex)),
            },
        };
        let (of, place) = match difference.differing {
            Differing::Slice(path) => ("slice", Some(path)),
            Differing::Sample(series, _) => ("sample", Some(series)),
            Differing::Event(_) => ("event", None),
            Differing::Alarm(_) => ("alarm", None),
            Differing::Result(_) => ("result", None),
            Differing::Status(_) => ("status", None),
            Differing::Write(_) => ("write", None),
            Differing::Lease(_) => ("lease", None),
        };
        Self {
            row: difference.row,
            told: difference.told,
            offset: difference.offset,
            received_ms: difference.time.wall_ms,
            text,
            hex,
            of,
            place,
            running: difference.running,
            candidate: difference.candidate,
        }
    }
}
