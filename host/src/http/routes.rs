//! What can be asked for. GET never acts. The router is made from the table of `autobench_core::access`: what is not in it is not served.

use std::sync::{Arc, OnceLock};

use autobench_core::access::{Method as Verb, ROUTES, Route, RouteId};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Request, StatusCode, Uri};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::problem::Problem;
use super::{Shared, bench, commands, events, gate, ingest, openapi, plugins, session, shadow, socket};

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let Some(handler) = handler(route.id) else {
            continue;
        };
        if route.id == RouteId::Echo && !shared.has_test_endpoints {
            continue;
        }
        let gate = axum::middleware::from_fn_with_state((Arc::clone(&shared), route), gate::pass);
        router = router.route(route.path, handler.route_layer(gate));
    }
    router
        .method_not_allowed_fallback(async |uri: Uri| not_allowed(uri.path()))
        .fallback(everything_else)
        .with_state(shared)
}

/// What serves a route. None for the page and its files, which are whatever no other route is.
fn handler(id: RouteId) -> Option<MethodRouter<Arc<Shared>>> {
    Some(match id {
        RouteId::Page | RouteId::File => return None,
        RouteId::Socket => get(socket::handle),
        RouteId::Echo => get(socket::echo),
        RouteId::Metrics => get(super::metrics::handle),
        RouteId::Clients => get(clients),
        RouteId::Schema => get(schema),
        RouteId::Healthz => get(healthz),
        RouteId::Readyz => get(readyz),
        RouteId::SessionBegin => post(session::begin),
        RouteId::SessionShow => get(session::show),
        RouteId::SessionEnd => delete(session::end),
        RouteId::State => get(bench::state),
        RouteId::Events => get(events::events),
        RouteId::Openapi => get(openapi::handle),
        RouteId::Logs => get(bench::logs),
        RouteId::LogsIngest => post(ingest::logs),
        RouteId::Message => get(bench::message),
        RouteId::MessagePut => put(bench::put_message),
        RouteId::Layout => get(bench::layout),
        RouteId::LayoutPut => put(bench::put_layout),
        RouteId::Devices => get(bench::devices),
        RouteId::Device => get(bench::device),
        RouteId::DeviceCommand => post(commands::submit),
        RouteId::Commands => get(commands::recent),
        RouteId::Command => get(commands::show),
        RouteId::CommandCancel => delete(commands::cancel),
        RouteId::ShadowRun => post(shadow::run),
        RouteId::Plugins => get(bench::plugins),
        RouteId::PluginReload => post(plugins::reload_plugin),
        RouteId::PluginGrant => post(plugins::grant),
        RouteId::DeviceReload => post(plugins::reload_device),
        RouteId::DeviceRollback => post(plugins::roll_back),
        RouteId::Telemetry => get(bench::telemetry),
        RouteId::TelemetryIngest => post(ingest::telemetry),
        RouteId::TelemetrySeries => get(bench::series),
    })
}

/// What a path takes instead.
fn not_allowed(path: &str) -> Problem {
    let mut allow: Vec<&str> = Vec::new();
    for route in ROUTES.iter().filter(|route| fits(route, path)) {
        if route.method == Verb::Get {
            allow.extend(["GET", "HEAD"]);
        } else {
            allow.push(route.method.as_str());
        }
    }
    Problem::MethodNotAllowed {
        path: path.to_owned(),
        allow: allow.join(", "),
    }
}

fn fits(route: &Route, path: &str) -> bool {
    let mut wanted = route.path.split('/');
    let mut given = path.split('/');
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(part), Some(text))
                if part.starts_with('{') && !part.starts_with("{*") && !text.is_empty() => {}
            (Some(part), Some(text)) if part == text => {}
            _ => return false,
        }
    }
}

/// `GET /healthz` and `/readyz`, where all is well.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StatusBody {
    /// `ok` or `ready`.
    status: &'static str,
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
        _ => json_value(&StatusBody { status: "ok" }),
    }
}

/// Who is connected.
async fn clients(State(shared): State<Arc<Shared>>) -> Response {
    json_value(&shared.hub.entries())
}

/// The messages of the socket as JSON Schemas. They are those of this build, so they are made once.
async fn schema() -> Response {
    static SCHEMA: OnceLock<Bytes> = OnceLock::new();
    let bytes = SCHEMA.get_or_init(|| autobench_core::wire::schema().to_string().into());
    json_bytes(bytes.clone(), "no-cache")
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
        Some("ready") => json_value(&StatusBody { status: "ready" }),
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

/// An answer that nothing between here and the client may keep.
pub(super) fn json_value(value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_bytes(bytes.into(), "no-store"),
        // None of our types has anything that JSON does not.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// An answer with a tag, and without a body for whoever has it already.
pub(super) fn tagged(headers: &HeaderMap, tag: &str, bytes: impl FnOnce() -> Bytes) -> Response {
    let mut response = if knows(headers, header::IF_NONE_MATCH, tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        json_bytes(bytes(), "no-cache")
    };
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// A tag that says what the bytes are.
pub(super) fn tag_of(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let short = digest
        .iter()
        .take(8)
        .fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    format!("\"{short:016x}\"")
}

/// Whether a header of conditions names this tag.
pub(super) fn knows(headers: &HeaderMap, name: header::HeaderName, tag: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn json_bytes(bytes: Bytes, caching: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, caching),
    ];
    (headers, bytes).into_response()
}
