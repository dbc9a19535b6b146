//! Sessions over HTTP: a page gives its token once and has a cookie from then on, which no script can read.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{StatusCode, header::SET_COOKIE};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::gate::{Visitor, cookie, refusal};
use super::problem::Problem;
use super::{json, routes};
use crate::access::{Actor, AuditEntry, Outcome, SESSION_IDLE};
use autobench_core::access::Role;
use autobench_core::wire::Secret;

/// Largest body of a session's begin.
const BODY_BYTES: usize = 4 << 10;

/// What a page gives for a session.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct TokenBody {
    /// The token.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String")]
    token: Secret,
}

/// Who asks.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionBody {
    /// The token's name.
    actor: String,
    /// What it may do.
    role: Role,
    /// Whether this daemon asks for tokens at all.
    auth_required: bool,
}

/// `POST /api/v1/session`.
pub(super) async fn begin(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let TokenBody { token } = json::read(body, BODY_BYTES).await?;
    let guard = shared.hub.guard();
    let (actor, secret) = guard
        .begin_session(token.reveal(), visitor.peer.ip())
        .map_err(|refused| refusal(&refused))?;
    // The new cookie takes the place of the one that came with this: nobody has that one any more.
    let former = cookie(&headers, &shared.cookie).and_then(|secret| guard.end_session(secret));
    guard.audit().record(&AuditEntry {
        actor: Some(&actor),
        peer: Some(visitor.peer.ip()),
        action: "begins a session",
        outcome: Outcome::Done,
        detail: former.is_some().then_some("in place of the one before"),
    });
    let mut response = shown(&shared, &actor);
    if let Some(secret) = secret {
        set_cookie(
            &mut response,
            &shared.cookie,
            &secret,
            SESSION_IDLE.as_secs(),
            visitor.is_https,
        );
    }
    Ok(response)
}

/// `GET /api/v1/session`.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Problem> {
    let actor = visitor.actor.ok_or(Problem::Unauthorized)?;
    Ok(shown(&shared, &actor))
}

/// `DELETE /api/v1/session`. Ending what is over is no mistake.
pub(super) async fn end(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Response {
    let guard = shared.hub.guard();
    let ended = cookie(&headers, &shared.cookie).and_then(|secret| guard.end_session(secret));
    if let Some(actor) = ended {
        guard.audit().record(&AuditEntry {
            actor: Some(&actor),
            peer: Some(visitor.peer.ip()),
            action: "ends the session",
            outcome: Outcome::Done,
            detail: None,
        });
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&mut response, &shared.cookie, "", 0, visitor.is_https);
    response
}

fn shown(shared: &Shared, actor: &Actor) -> Response {
    routes::json_value(&SessionBody {
        actor: actor.name.to_string(),
        role: actor.role,
        auth_required: !shared.hub.guard().is_open(),
    })
}

/// `Secure` only where TLS is known to be there: over plain HTTP the browser would drop the cookie.
fn set_cookie(response: &mut Response, name: &str, value: &str, max_age_s: u64, is_https: bool) {
    let secure = if is_https { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age_s}{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}
