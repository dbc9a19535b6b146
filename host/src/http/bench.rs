//! What is on the bench: the state and its members, the log, telemetry; and the two members that whoever operates the bench may set.

use std::sync::Arc;

use autobench_core::driver::LogLevel;
use autobench_core::logs::channel_family;
use autobench_core::state::Pointer;
use autobench_core::wire::{Layout, LogRange, SeriesKind};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::header::IF_MATCH;
use hyper::{HeaderMap, StatusCode, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::problem::Problem;
use super::query::Query;
use super::routes::{json_value, knows, tag_of, tagged};
use super::{Shared, json};
use crate::hub::EndpointInfo;
use crate::layout::mistakes;

/// Largest body of a text.
const MESSAGE_BYTES: usize = 4 << 10;
/// Longest text that mirrors show.
const MESSAGE_CHARS: usize = 500;
/// Largest body of a layout: the largest grid has 576 panes.
const LAYOUT_BYTES: usize = 256 << 10;

/// `GET` and `PUT /api/v1/message`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct MessageBody {
    /// The text that all mirrors show; empty for none.
    message: String,
}

/// `GET /api/v1/telemetry`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SeriesList {
    /// Every series.
    series: Vec<SeriesBody>,
}

/// `GET /api/v1/telemetry/{endpointId}`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct HistoryBody {
    /// The series.
    #[serde(flatten)]
    series: SeriesBody,
    /// Milliseconds since 1970 and value, oldest first.
    samples: Vec<[Number; 2]>,
}

/// One telemetry series.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SeriesBody {
    /// Its number.
    endpoint_id: u32,
    /// Its name.
    endpoint: String,
    /// Unit of its values.
    unit: String,
    /// Measurement or total.
    kind: SeriesKind,
}

/// The document, or one value of it. Its version is the document's tag, so asking again for what has not changed costs nothing.
pub(super) async fn state(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    if let Some(path) = Query::of(&uri).text("path") {
        return value_at(&shared, &headers, &path);
    }
    let boot_id = shared.state.boot_id();
    // Versions of two runs of the daemon cannot be compared, so the tag names the run as well.
    let tag = |version| format!("\"{boot_id}-{version}\"");
    let present = tag(shared.state.version());
    if knows(&headers, hyper::header::IF_NONE_MATCH, &present) {
        return Ok(tagged(&headers, &present, Bytes::new));
    }
    let snapshot = shared.state.snapshot();
    Ok(tagged(&headers, &tag(snapshot.version), || snapshot.data))
}

fn value_at(shared: &Shared, headers: &HeaderMap, path: &str) -> Result<Response, Problem> {
    let unknown = || Problem::UnknownPath(path.to_owned());
    let mut parts = path.splitn(3, '/');
    // A pointer begins with a slash; the first part is a member, whose own text is all that has to be read.
    let (Some(""), Some(member)) = (parts.next(), parts.next()) else {
        return Err(Problem::BadQuery {
            name: "path",
            rule: "a JSON Pointer, for example /powerMeter/lastSample",
        });
    };
    let member = member.replace("~1", "/").replace("~0", "~");
    // The version is no member of its own to the store.
    let bytes = match member.as_str() {
        "version" => shared.state.version().to_string().into(),
        _ => shared.state.slice_bytes(&member).ok_or_else(unknown)?,
    };
    let bytes = match parts.next() {
        None => bytes,
        Some(rest) => {
            let value: Value = serde_json::from_slice(&bytes).map_err(|_| unknown())?;
            let found = value.pointer(&format!("/{rest}")).ok_or_else(unknown)?;
            found.to_string().into()
        }
    };
    Ok(tagged(headers, &tag_of(&bytes), || bytes.clone()))
}

/// Log entries: those behind `sinceSeq`, the oldest first, or without it the newest; of a channel, of a level or graver, and so many.
pub(super) async fn logs(State(shared): State<Arc<Shared>>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::of(&uri);
    let since_seq = query.number("sinceSeq")?;
    let limit = query
        .number("limit")?
        .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let level: Option<LogLevel> = match query.text("level") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| Problem::BadQuery {
            name: "level",
            rule: "debug, info, warn, error or fatal",
        })?),
    };
    let channels: Vec<String> = query
        .text("channel")
        .map(|text| text.split(',').map(str::to_owned).collect())
        .unwrap_or_default();
    let mut range = match since_seq {
        Some(seq) => shared.logs.since(seq),
        None => shared.logs.history(usize::MAX),
    };
    range.entries.retain(|entry| {
        level.is_none_or(|level| entry.level >= level)
            && (channels.is_empty()
                || channels
                    .iter()
                    .any(|wanted| *wanted == entry.channel || wanted == channel_family(&entry.channel)))
    });
    cut(&mut range, limit, since_seq.is_some());
    Ok(json_value(&range))
}

/// Cuts a range to so many entries. It says then where it really begins or ends, so that whoever goes on from there misses nothing.
fn cut(range: &mut LogRange, limit: usize, from_oldest: bool) {
    if range.entries.len() <= limit {
        return;
    }
    if from_oldest {
        range.entries.truncate(limit);
        range.to_seq = match range.entries.last() {
            Some(last) => last.seq,
            None => range.missed.map_or(range.from_seq - 1, |missed| missed.to_seq),
        };
    } else {
        range.entries.drain(..range.entries.len() - limit);
        range.from_seq = range.entries.first().map_or(range.to_seq + 1, |first| first.seq);
    }
}

/// Every device.
pub(super) async fn devices(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    member(&shared, &headers, "devices")
}

/// One device.
pub(super) async fn device(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let devices: Value = shared
        .state
        .slice_bytes("devices")
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let device = devices.get(&id).ok_or(Problem::UnknownDevice(id))?;
    let bytes = Bytes::from(device.to_string());
    Ok(tagged(&headers, &tag_of(&bytes), || bytes.clone()))
}

/// Every plugin.
pub(super) async fn plugins(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    member(&shared, &headers, "plugins")
}

/// The text that all mirrors show.
pub(super) async fn message(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let bytes = as_message(shared.state.slice_bytes("message"));
    tagged(&headers, &tag_of(&bytes), || bytes.clone())
}

/// Sets it.
pub(super) async fn put_message(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let MessageBody { message } = json::read(body, MESSAGE_BYTES).await?;
    if message.chars().count() > MESSAGE_CHARS {
        let rule = format!("\"message\" has more than {MESSAGE_CHARS} characters");
        return Err(Problem::BadBody(rule));
    }
    let at = Pointer::of(["message"]);
    // What is there is looked at where it is changed: nobody comes between.
    shared.state.update(|store| {
        check_if_match(&headers, &as_message(store.member_bytes("message")))?;
        store
            .set(&at, message.into())
            .map_err(|error| Problem::NotTaken(error.to_string()))
    })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The member, which is a JSON text, as the body of an answer.
fn as_message(member: Option<Bytes>) -> Bytes {
    let text = member.unwrap_or(Bytes::from_static(b"\"\""));
    [b"{\"message\":", &*text, b"}"].concat().into()
}

/// Which panes the mirrors show where.
pub(super) async fn layout(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    member(&shared, &headers, "layout")
}

/// Sets it, until the configuration is read again.
pub(super) async fn put_layout(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let layout: Layout = json::read(body, LAYOUT_BYTES).await?;
    let devices: serde_json::Map<String, Value> = shared
        .state
        .slice_bytes("devices")
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let mistakes = mistakes(&layout, |device| devices.contains_key(device));
    if !mistakes.is_empty() {
        return Err(Problem::BadLayout(mistakes));
    }
    let value = serde_json::to_value(layout).map_err(|error| Problem::BadBody(error.to_string()))?;
    let at = Pointer::of(["layout"]);
    shared.state.update(|store| {
        check_if_match(&headers, &store.member_bytes("layout").unwrap_or_default())?;
        store
            .replace(&at, value)
            .map_err(|error| Problem::NotTaken(error.to_string()))
    })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Every telemetry series.
pub(super) async fn telemetry(State(shared): State<Arc<Shared>>) -> Response {
    let series = shared.hub.endpoints().into_iter().map(SeriesBody::of);
    json_value(&SeriesList {
        series: series.collect(),
    })
}

/// The last ten minutes of a series.
pub(super) async fn series(
    State(shared): State<Arc<Shared>>,
    Path(endpoint_id): Path<String>,
) -> Result<Response, Problem> {
    let Some((info, samples)) = endpoint_id.parse().ok().and_then(|id| shared.hub.history(id)) else {
        return Err(Problem::UnknownEndpoint(endpoint_id));
    };
    let samples = samples
        .iter()
        .map(|sample| [number(sample.timestamp_ms), number(sample.value)]);
    Ok(json_value(&HistoryBody {
        series: SeriesBody::of(info),
        samples: samples.collect(),
    }))
}

impl SeriesBody {
    fn of(info: EndpointInfo) -> Self {
        Self {
            endpoint_id: info.id,
            endpoint: info.name,
            unit: info.unit,
            kind: info.kind,
        }
    }
}

fn member(shared: &Shared, headers: &HeaderMap, name: &str) -> Response {
    let bytes = shared
        .state
        .slice_bytes(name)
        .unwrap_or(Bytes::from_static(b"{}"));
    tagged(headers, &tag_of(&bytes), || bytes.clone())
}

/// `If-Match`, where a request has it: two people who change the same thing shall not do so unseen.
fn check_if_match(headers: &HeaderMap, present: &[u8]) -> Result<(), Problem> {
    if !headers.contains_key(IF_MATCH) || knows(headers, IF_MATCH, &tag_of(present)) {
        Ok(())
    } else {
        Err(Problem::Changed)
    }
}

/// A number in its shortest form, as on the socket.
fn number(value: f64) -> Number {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.trunc() == value && value.abs() < EXACT {
        return Number::from(value as i64);
    }
    // A series holds finite values only.
    Number::from_f64(value).unwrap_or_else(|| Number::from(0))
}
