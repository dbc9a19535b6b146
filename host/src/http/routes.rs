//! What can be asked for. GET never acts.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Request, StatusCode, Uri};
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Shared, socket};

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let router = match shared.has_test_endpoints {
        true => Router::new().route("/ws/echo", get(socket::echo)),
        false => Router::new(),
    };
    router
        .route("/ws", get(socket::handle))
        .route("/ws/flow", get(socket::handle))
        .route("/api/v1/state", get(state))
        .route("/api/v1/logs", get(logs))
        .route("/api/v1/devices", get(devices))
        .route("/api/v1/plugins", get(plugins))
        .route("/api/v1/telemetry/{endpoint_id}", get(telemetry))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(super::metrics::handle))
        .method_not_allowed_fallback(
            |uri: Uri| async move { Problem::MethodNotAllowed(uri.path().to_owned()) },
        )
        .fallback(everything_else)
        .with_state(shared)
}

/// The document. Its version is its tag, so asking again for what has not changed costs nothing.
async fn state(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let boot_id = shared.state.boot_id();
    let (tag, response) = match tag_of(boot_id, shared.state.version()) {
        tag if is_known(&headers, &tag) => (tag, StatusCode::NOT_MODIFIED.into_response()),
        _ => {
            let snapshot = shared.state.snapshot();
            (tag_of(boot_id, snapshot.version), json_bytes(snapshot.data))
        }
    };
    let mut response = response;
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The log ring, or what of it follows `sinceSeq`.
async fn logs(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let range = match query_number(&uri, "sinceSeq") {
        Ok(Some(seq)) => shared.logs.since(seq),
        Ok(None) => shared.logs.history(usize::MAX),
        Err(problem) => return problem.into_response(),
    };
    json_value(&range)
}

async fn devices(State(shared): State<Arc<Shared>>) -> Response {
    member(&shared, "devices")
}

async fn plugins(State(shared): State<Arc<Shared>>) -> Response {
    member(&shared, "plugins")
}

/// The last ten minutes of a series.
async fn telemetry(State(shared): State<Arc<Shared>>, Path(endpoint_id): Path<String>) -> Response {
    let Some((info, samples)) = endpoint_id.parse().ok().and_then(|id| shared.hub.history(id)) else {
        return Problem::UnknownEndpoint(endpoint_id).into_response();
    };
    let samples: Vec<_> = samples
        .iter()
        .map(|s| [number(s.timestamp_ms), number(s.value)])
        .collect();
    json_value(&json!({
        "endpointId": info.id,
        "endpoint": info.name,
        "unit": info.unit,
        "kind": info.kind,
        "samples": samples,
    }))
}

/// The daemon lives: it answers, and the two loops without which no client hears anything run.
async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    let loops = [
        ("the flusher of the state", shared.state.is_running()),
        ("the loop of the hub", shared.hub.is_running()),
    ];
    match loops.into_iter().find(|(_, is_running)| !is_running) {
        // While it stops, its loops end one after the other, as they should.
        Some((name, _)) if !*shared.stop.borrow() => Problem::Unhealthy(name).into_response(),
        _ => json_value(&json!({"status": "ok"})),
    }
}

/// The bench serves: every part that it needs runs, and it is not about to stop.
async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let meta = shared
        .state
        .slice_bytes("meta")
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let status = meta
        .as_ref()
        .and_then(|meta| meta.get("status"))
        .and_then(Value::as_str);
    let is_stopping = *shared.stop.borrow();
    let is_running = shared.state.is_running() && shared.hub.is_running();
    match status {
        _ if is_stopping => Problem::NotReady("stopping".to_owned()).into_response(),
        _ if !is_running => Problem::NotReady("broken".to_owned()).into_response(),
        Some("ready") => json_value(&json!({"status": "ready"})),
        status => Problem::NotReady(status.unwrap_or("booting").to_owned()).into_response(),
    }
}

async fn everything_else(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let path = request.uri().path();
    if path == "/api" || path.starts_with("/api/") {
        return Problem::NotFound(path.to_owned()).into_response();
    }
    shared.files.get(request).await
}

fn member(shared: &Shared, name: &str) -> Response {
    match shared.state.slice_bytes(name) {
        Some(bytes) => json_bytes(bytes),
        None => json_bytes(Bytes::from_static(b"{}")),
    }
}

fn json_value(value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_bytes(bytes.into()),
        // None of our types has anything that JSON does not.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn json_bytes(bytes: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, bytes).into_response()
}

/// A number in its shortest form, as on the socket.
fn number(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.trunc() == value && value.abs() < EXACT {
        Value::from(value as i64)
    } else {
        Value::from(value)
    }
}

/// Versions of two runs of the daemon cannot be compared, so the tag names the run as well.
fn tag_of(boot_id: &str, version: u64) -> String {
    format!("\"{boot_id}-{version}\"")
}

fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|known| known.trim())
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

pub(super) fn query_number(uri: &Uri, name: &'static str) -> Result<Option<u64>, Problem> {
    let pairs = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    match pairs.into_iter().find(|(key, _)| *key == name) {
        None => Ok(None),
        Some((_, value)) => value.parse().map(Some).map_err(|_| Problem::BadQuery(name)),
    }
}
