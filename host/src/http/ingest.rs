//! What comes in from outside: log entries of other programs, and samples that no driver measures.
//!
//! A body is taken whole or not at all. Bounds: [`LOG_ENTRIES`] and [`SAMPLES`] in one, as many per second in the long run as the buckets say;
//! beyond that the answer is 429 and nothing is taken.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use autobench_core::driver::{LogLevel, Sample};
use autobench_core::logs::channel_family;
use autobench_core::wire::SeriesKind;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::gate::Visitor;
use super::problem::Problem;
use super::routes::json_value;
use super::{Shared, json};
use crate::access::CHANNEL as AUDIT_CHANNEL;
use crate::bucket::Bucket;
use crate::driver::endpoints::{NotNumbered, OUTSIDE_SERIES, Wanted};
use crate::hub::EndpointInfo;
use crate::logs::LogRecord;

/// Entries in one body.
const LOG_ENTRIES: usize = 1000;
/// Largest body of log entries.
const LOG_BYTES: usize = 512 << 10;
/// Samples in one body, and series.
const SAMPLES: usize = 8192;
const SERIES: usize = 64;
/// Largest body of samples.
const TELEMETRY_BYTES: usize = 512 << 10;
/// Longest tag, module or picture of an entry.
const NAME_CHARS: usize = 64;
/// Longest unit of a series.
const UNIT_CHARS: usize = 16;
/// How far a sample's time may lie before and behind the daemon's. A series keeps ten minutes behind its newest sample, so one from the future takes
/// that much of the chart away: enough for two clocks that are set by the same means, and little beside ten minutes.
const OLDEST_MS: f64 = 86_400_000.0;
const NEWEST_MS: f64 = 5_000.0;

/// How much of both is taken.
#[derive(Debug)]
pub(super) struct Intake {
    /// Channels that may be written to; empty for all but the audit's.
    channels: Vec<String>,
    entries: Mutex<Bucket>,
    samples: Mutex<Bucket>,
}

impl Intake {
    pub(super) fn new(channels: Vec<String>) -> Self {
        let now = Instant::now();
        Self {
            channels,
            entries: Mutex::new(Bucket::new(500, 4 * LOG_ENTRIES as u32, now)),
            samples: Mutex::new(Bucket::new(10_000, 4 * SAMPLES as u32, now)),
        }
    }

    /// The audit is written by what was done and never by who says so.
    fn admits(&self, channel: &str) -> bool {
        let family = channel_family(channel);
        let is_listed = |listed: &String| listed == family || listed == channel;
        family != AUDIT_CHANNEL && (self.channels.is_empty() || self.channels.iter().any(is_listed))
    }
}

/// `POST /api/v1/logs`: one entry, a list, or a list in `entries`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum LogsBody {
    /// A list by name.
    Named {
        /// The entries, oldest first.
        entries: Vec<Value>,
    },
    /// A list.
    Many(Vec<Value>),
    /// One entry.
    One(Value),
}

/// One entry from outside. Picture and colour follow from the channel unless a picture is given.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct LogEntryBody {
    /// Where it comes from.
    channel: String,
    /// How grave; `info` without it.
    #[serde(default = "level_info")]
    level: LogLevel,
    /// The text.
    message: String,
    /// When, in milliseconds since 1970; now without it.
    ts: Option<u64>,
    /// The device.
    tag: Option<String>,
    /// The part of the program that speaks.
    module: Option<String>,
    /// Another picture than the channel's.
    emoji: Option<String>,
}

/// What became of the entries.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogsTaken {
    /// Entries that are in the ring.
    accepted: usize,
    /// Entries that allowlist or minimum level kept out of it.
    dropped: usize,
    /// The number of the last one; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seq: Option<u64>,
}

/// Takes log entries in.
pub(super) async fn logs(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    body: Body,
) -> Result<Response, Problem> {
    let entries = match json::read(body, LOG_BYTES).await? {
        LogsBody::Named { entries } | LogsBody::Many(entries) => entries,
        LogsBody::One(entry) => vec![entry],
    };
    if entries.len() > LOG_ENTRIES {
        return Err(Problem::BadBody(format!("more than {LOG_ENTRIES} entries")));
    }
    let mut records = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let entry: LogEntryBody = serde_json::from_value(entry)
            .map_err(|error| Problem::BadBody(format!("entry {index}: {error}")))?;
        if !is_channel(&entry.channel) {
            return Err(Problem::BadBody(format!(
                "entry {index}: {:?} is no channel",
                entry.channel
            )));
        }
        for (field, text) in [
            ("tag", &entry.tag),
            ("module", &entry.module),
            ("emoji", &entry.emoji),
        ] {
            let rule = text.as_deref().and_then(unfit);
            if let Some(rule) = rule {
                return Err(Problem::BadBody(format!("entry {index}: \"{field}\" {rule}")));
            }
        }
        if !shared.intake.admits(&entry.channel) {
            return Err(Problem::ForbiddenChannel(entry.channel));
        }
        records.push(entry);
    }
    take(&shared.intake.entries, records.len())?;
    let who = visitor.actor.as_ref().map_or("log-ingest", |actor| &actor.name);
    let mut taken = LogsTaken {
        accepted: 0,
        dropped: 0,
        last_seq: None,
    };
    let now_ms = now_ms();
    for entry in records {
        let record = LogRecord {
            tag: entry.tag,
            // Whoever reads the line sees that it is a guest's.
            module: Some(match entry.module {
                Some(module) => format!("ingest:{who}/{module}"),
                None => format!("ingest:{who}"),
            }),
            emoji: entry.emoji,
            ..LogRecord::new(entry.channel, entry.level, entry.message)
        };
        match shared
            .logs
            .append_at(&record, entry.ts.unwrap_or(now_ms).min(MAX_TS))
        {
            Some(seq) => {
                taken.accepted += 1;
                taken.last_seq = Some(seq);
            }
            None => taken.dropped += 1,
        }
    }
    Ok(json_value(&taken))
}

/// Largest time that a browser holds exactly.
const MAX_TS: u64 = (1 << 53) - 1;

/// `POST /api/v1/telemetry`: one series or a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum TelemetryBody {
    /// A list.
    Many(Vec<Value>),
    /// One.
    One(Value),
}

/// Samples of one series, named by number or by name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SamplesBody {
    /// Its number, once it has one.
    endpoint_id: Option<u32>,
    /// Its name: parts of letters, digits, dashes and underscores with dots between.
    endpoint: Option<String>,
    /// Unit of its values. A series keeps it until another is given.
    unit: Option<String>,
    /// Measurement, which it is without this, or total.
    kind: Option<SeriesKind>,
    /// Milliseconds since 1970 and value, oldest first.
    #[serde(default)]
    samples: Vec<(f64, f64)>,
    /// A single value instead.
    value: Option<f64>,
    /// Its time in milliseconds since 1970; now without it.
    timestamp: Option<f64>,
}

/// What became of the samples.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TelemetryTaken {
    /// How many were taken.
    accepted: usize,
    /// Of which series, in the order of the body.
    series: Vec<SeriesTaken>,
}

/// A series that samples were taken of.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SeriesTaken {
    /// Its number from now on.
    endpoint_id: u32,
    /// Its name.
    endpoint: String,
}

/// Takes samples in, for series that no driver owns.
pub(super) async fn telemetry(State(shared): State<Arc<Shared>>, body: Body) -> Result<Response, Problem> {
    let all = match json::read(body, TELEMETRY_BYTES).await? {
        TelemetryBody::Many(all) => all,
        TelemetryBody::One(one) => vec![one],
    };
    if all.len() > SERIES {
        return Err(Problem::BadBody(format!("more than {SERIES} series")));
    }
    let now_ms = now_ms() as f64;
    let mut batches = Vec::with_capacity(all.len());
    for (index, one) in all.into_iter().enumerate() {
        let one: SamplesBody = serde_json::from_value(one)
            .map_err(|error| Problem::BadBody(format!("series {index}: {error}")))?;
        let samples =
            samples(&one, now_ms).map_err(|rule| Problem::BadBody(format!("series {index}: {rule}")))?;
        batches.push((one, samples));
    }
    let count = batches.iter().map(|(_, samples)| samples.len()).sum();
    if count > SAMPLES {
        return Err(Problem::BadBody(format!("more than {SAMPLES} samples")));
    }
    let known = Known::of(&shared);
    let named = batches.iter().map(|(one, _)| known.name(one));
    let names: Vec<String> = named.collect::<Result<_, _>>()?;
    take(&shared.intake.samples, count)?;
    // The last that can be refused: nothing is numbered, named anew or pushed of a body that is not taken.
    let wanted = batches.iter().zip(&names).map(|((one, _), name)| Wanted {
        name,
        number: one.endpoint_id,
    });
    let ids = shared
        .series
        .outside(&wanted.collect::<Vec<_>>())
        .map_err(Problem::from)?;
    let mut taken = Vec::with_capacity(ids.len());
    for (((one, samples), endpoint), endpoint_id) in batches.into_iter().zip(names).zip(ids) {
        shared
            .hub
            .register_endpoint(info(&shared, endpoint_id, &endpoint, one));
        shared.hub.push_samples(endpoint_id, &samples);
        taken.push(SeriesTaken {
            endpoint_id,
            endpoint,
        });
    }
    Ok(json_value(&TelemetryTaken {
        accepted: count,
        series: taken,
    }))
}

fn samples(one: &SamplesBody, now_ms: f64) -> Result<Vec<Sample>, String> {
    let single = one.value.map(|value| (one.timestamp.unwrap_or(now_ms), value));
    let samples: Vec<Sample> = one
        .samples
        .iter()
        .copied()
        .chain(single)
        .map(|(timestamp_ms, value)| Sample { timestamp_ms, value })
        .collect();
    if one
        .unit
        .as_ref()
        .is_some_and(|unit| unit.chars().count() > UNIT_CHARS)
    {
        return Err(format!("\"unit\" has more than {UNIT_CHARS} characters"));
    }
    if samples.is_empty() {
        return Err("there is neither \"samples\" nor \"value\"".to_owned());
    }
    for sample in &samples {
        if !(now_ms - OLDEST_MS..=now_ms + NEWEST_MS).contains(&sample.timestamp_ms) {
            return Err(format!(
                "the time {} is more than a day behind the daemon's {now_ms} or {NEWEST_MS} ahead of it, all in milliseconds since 1970",
                sample.timestamp_ms
            ));
        }
    }
    if !samples.is_sorted_by_key(|sample| sample.timestamp_ms) {
        return Err(
            "the times go back: samples come oldest first, and a single value behind them".to_owned(),
        );
    }
    Ok(samples)
}

/// What the names in a body are checked against. Read once for all of them.
struct Known {
    endpoints: Vec<EndpointInfo>,
    devices: Map<String, Value>,
}

impl Known {
    fn of(shared: &Shared) -> Self {
        let devices = shared.state.slice_bytes("devices");
        Self {
            endpoints: shared.hub.endpoints(),
            devices: devices
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .unwrap_or_default(),
        }
    }

    /// The name of the series that is meant, if it is not a driver's.
    fn name(&self, one: &SamplesBody) -> Result<String, Problem> {
        let name = match (&one.endpoint, one.endpoint_id) {
            (Some(name), _) => name.clone(),
            (None, Some(id)) => {
                let known = self.endpoints.iter().find(|info| info.id == id);
                let known = known.ok_or_else(|| Problem::UnknownEndpoint(id.to_string()))?;
                known.name.clone()
            }
            (None, None) => {
                let rule = "there is neither \"endpoint\" nor \"endpointId\"";
                return Err(Problem::BadBody(rule.to_owned()));
            }
        };
        if !is_endpoint(&name) {
            return Err(Problem::BadBody(format!("{name:?} is no name for a series")));
        }
        // Names that begin with a device's id are that device's, also those that it has not used yet.
        let device = name.split('.').next().unwrap_or_default();
        if self.devices.contains_key(device) {
            return Err(Problem::SeriesOwned(name));
        }
        Ok(name)
    }
}

impl From<NotNumbered> for Problem {
    fn from(refused: NotNumbered) -> Self {
        match refused {
            NotNumbered::Owned(name) => Self::SeriesOwned(name),
            NotNumbered::Full => Self::TooManySeries(OUTSIDE_SERIES),
            NotNumbered::Other {
                name,
                number: Some(number),
            } => Self::BadBody(format!("{name:?} has the number {number}")),
            NotNumbered::Other { name, number: None } => Self::BadBody(format!(
                "{name:?} has no number yet: leave \"endpointId\" out, and the answer has it"
            )),
        }
    }
}

/// What a series is from now on: a unit and a kind that are not given stay as they are.
fn info(shared: &Shared, id: u32, name: &str, one: SamplesBody) -> EndpointInfo {
    let former = shared.hub.endpoint(id);
    let (unit, kind) = former.map_or_else(
        || (String::new(), SeriesKind::Measurement),
        |former| (former.unit, former.kind),
    );
    EndpointInfo {
        id,
        name: name.to_owned(),
        unit: one.unit.unwrap_or(unit),
        kind: one.kind.unwrap_or(kind),
    }
}

fn is_endpoint(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|one| one.is_ascii_alphanumeric() || matches!(one, '-' | '_'))
    };
    name.len() <= 128 && name.contains('.') && name.split('.').all(is_part)
}

fn is_channel(channel: &str) -> bool {
    let is_good = |one: char| one.is_ascii_alphanumeric() || matches!(one, '-' | '_' | ':' | '.');
    !channel.is_empty() && channel.len() <= 64 && channel.chars().all(is_good)
}

/// What is wrong with a short text that goes to terminals and into lines.
fn unfit(text: &str) -> Option<&'static str> {
    if text.chars().any(char::is_control) {
        return Some("has control characters");
    }
    (text.chars().count() > NAME_CHARS).then_some("has more than 64 characters")
}

const fn level_info() -> LogLevel {
    LogLevel::Info
}

fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

/// Takes so many out of a bucket, or none.
fn take(bucket: &Mutex<Bucket>, count: usize) -> Result<(), Problem> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let taken = bucket.lock().take(Instant::now(), count);
    taken.map_err(|wait| Problem::RateLimited(wait.as_secs() + 1))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_takes_a_body_whole_or_not_at_all() {
        let bucket = Mutex::new(Bucket::one_in(Duration::from_secs(60), 100, Instant::now()));
        assert_eq!(take(&bucket, 90), Ok(()));
        // A minute later there would be room for it.
        assert_eq!(take(&bucket, 11), Err(Problem::RateLimited(60)));
        assert_eq!(take(&bucket, 10), Ok(()));
    }

    #[test]
    fn the_audit_is_nobodys_to_write() {
        let all = Intake::new(Vec::new());
        assert!(all.admits("sidecar") && all.admits("device:meter"));
        assert!(!all.admits("audit") && !all.admits("audit:x"));
        let some = Intake::new(vec!["sidecar".to_owned(), "audit".to_owned()]);
        assert!(some.admits("sidecar:ffmpeg") && !some.admits("app") && !some.admits("audit"));
    }

    #[test]
    fn names_of_series_have_parts_with_dots_between() {
        for good in ["room.temperature", "a.b.c", "x-1.y_2"] {
            assert!(is_endpoint(good), "{good}");
        }
        for bad in ["", "room", ".a", "a.", "a..b", "a.b c", "host:a.b", "a.é"] {
            assert!(!is_endpoint(bad), "{bad}");
        }
    }
}
