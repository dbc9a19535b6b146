//! Commands over HTTP: the same as on the socket.

use std::sync::Arc;
use std::time::Duration;

use autobench_core::commands::{Refused, Stage};
use autobench_core::wire::{CommandRequest, CommandStatus, ErrorCode};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use hyper::header::{HeaderValue, LOCATION};
use hyper::{HeaderMap, StatusCode, Uri};
use serde_json::{Map, Value};

use super::gate::{Deed, Visitor};
use super::places::Taken;
use super::problem::Problem;
use super::query::Query;
use super::routes::json_value;
use super::{Shared, json};
use crate::access::command_action;
use crate::commands::Router;

/// Largest body, as on the socket.
const BODY_BYTES: usize = 64 << 10;

/// When whoever may not wait may ask again.
const RETRY_S: u64 = 1;

/// Asks a device for a command: 202 as long as it is under way, 200 when `?wait=` has seen its end.
pub(super) async fn submit(
    State(shared): State<Arc<Shared>>,
    Path(device): Path<String>,
    Extension(visitor): Extension<Visitor>,
    Extension(taken): Extension<Arc<Taken>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let router = router(&shared)?;
    let wait = wait(&uri)?;
    let mut fields: Map<String, Value> = json::read(body, BODY_BYTES).await?;
    // The address says which device.
    fields.insert("device".to_owned(), device.into());
    let mut request = CommandRequest::read(&fields).map_err(Problem::BadBody)?;
    if let Some(key) = idempotency_key(&headers)? {
        if request
            .idempotency_key
            .as_ref()
            .is_some_and(|other| *other != key)
        {
            return Err(bad_key("the header Idempotency-Key and the body name two keys"));
        }
        request.idempotency_key = Some(key);
    }
    let deed = command_action(&request.device, &request.name);
    let status = match router.submit(request, name_of(&visitor), None, |_| ()) {
        Ok(status) => status,
        Err(refused) => {
            let mut response = Problem::Command(refused).into_response();
            response.extensions_mut().insert(Deed(deed));
            return Ok(response);
        }
    };
    // What was done is not refused afterwards.
    let status = waited(&shared, &visitor, &taken, &status, wait)
        .await
        .unwrap_or(status);
    let mut response = answer(&status);
    let deed = Deed(format!("{deed} {}", status.command_id));
    response.extensions_mut().insert(deed);
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v1/commands/{}", status.command_id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// The newest commands, newest first.
pub(super) async fn recent(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    Ok(json_value(
        &serde_json::json!({"commands": router(&shared)?.recent()}),
    ))
}

/// How a command is; with `?wait=` as soon as it is over.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Extension(visitor): Extension<Visitor>,
    Extension(taken): Extension<Arc<Taken>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let router = router(&shared)?;
    let wait = wait(&uri)?;
    let status = router.status(&id).ok_or_else(|| unknown(&id))?;
    let status = waited(&shared, &visitor, &taken, &status, wait).await?;
    Ok(json_value(&status))
}

/// Withdraws a command: 200 when it is over, 202 when its driver was asked.
pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Problem> {
    let status = router(&shared)?
        .cancel(&id, name_of(&visitor))
        .map_err(Problem::Command)?;
    Ok(answer(&status))
}

/// The status of a refusal.
pub(super) const fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::UnknownDevice | ErrorCode::UnknownCommandId => StatusCode::NOT_FOUND,
        ErrorCode::NotGranted => StatusCode::FORBIDDEN,
        ErrorCode::NotReady => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Busy | ErrorCode::TooManyKeys => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::UnknownCommand
        | ErrorCode::BadArguments
        | ErrorCode::IdempotencyMismatch
        | ErrorCode::NeedsSocket => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// The code of a refusal, as the socket has it.
pub(super) const fn code_of(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UnknownDevice => "unknown-device",
        ErrorCode::UnknownCommandId => "unknown-command-id",
        ErrorCode::NotGranted => "not-granted",
        ErrorCode::NotReady => "not-ready",
        ErrorCode::Busy => "busy",
        ErrorCode::TooManyKeys => "too-many-keys",
        ErrorCode::UnknownCommand => "unknown-command",
        ErrorCode::BadArguments => "bad-arguments",
        ErrorCode::NeedsSocket => "needs-socket",
        ErrorCode::IdempotencyMismatch => "idempotency-mismatch",
        ErrorCode::BadDeadline => "bad-deadline",
        ErrorCode::BadKey => "bad-key",
        _ => "bad-message",
    }
}

fn router(shared: &Shared) -> Result<Router, Problem> {
    shared
        .hub
        .commands()
        .ok_or_else(|| Problem::NotReady("booting".to_owned()))
}

/// The gate lets nobody in whom nobody knows.
fn name_of(visitor: &Visitor) -> &str {
    visitor.actor.as_ref().map_or("nobody", |actor| &actor.name)
}

fn wait(uri: &Uri) -> Result<Duration, Problem> {
    Ok(Duration::from_millis(Query::of(uri).number("wait")?.unwrap_or(0)))
}

/// How a command is when it is over, or when the time is. Refused where too many wait already.
async fn waited(
    shared: &Shared,
    visitor: &Visitor,
    taken: &Arc<Taken>,
    status: &CommandStatus,
    wait: Duration,
) -> Result<CommandStatus, Problem> {
    if wait.is_zero() || status.status.is_final() {
        return Ok(status.clone());
    }
    // It takes no place of those for connections (`places`), so this is what bounds it: who waits already may do so for a minute.
    let taker = visitor.taker(shared).whose_share();
    let _wait = shared.waits.take(taker).ok_or(Problem::TooManyWaits(RETRY_S))?;
    // Ends before the other: the connection is always counted somewhere.
    let _away = taken.away();
    let ended = router(shared)?.wait(&status.command_id, wait).await;
    Ok(ended.unwrap_or_else(|| status.clone()))
}

fn answer(status: &CommandStatus) -> Response {
    let code = match status.status {
        Stage::Queued | Stage::Sent | Stage::Acked => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    };
    (code, json_value(status)).into_response()
}

/// The header as drafted for HTTP, a text in quotes, or the bare text that most send.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .map_err(|_| bad_key("the header Idempotency-Key is no plain text"))?
        .trim();
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    Ok(Some(quoted.unwrap_or(text).to_owned()))
}

fn unknown(id: &str) -> Problem {
    Problem::Command(Refused {
        code: ErrorCode::UnknownCommandId,
        message: format!("no command {id:?} is known"),
    })
}

fn bad_key(message: &str) -> Problem {
    Problem::Command(Refused {
        code: ErrorCode::BadKey,
        message: message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_socket() {
        for code in [
            ErrorCode::UnknownDevice,
            ErrorCode::UnknownCommandId,
            ErrorCode::NotGranted,
            ErrorCode::NotReady,
            ErrorCode::Busy,
            ErrorCode::TooManyKeys,
            ErrorCode::UnknownCommand,
            ErrorCode::BadArguments,
            ErrorCode::NeedsSocket,
            ErrorCode::IdempotencyMismatch,
            ErrorCode::BadDeadline,
            ErrorCode::BadKey,
            ErrorCode::BadMessage,
        ] {
            assert_eq!(serde_json::to_value(code).unwrap(), code_of(code));
        }
    }

    #[test]
    fn a_key_comes_with_quotes_or_without() {
        for (header, key) in [("\"a b\"", "a b"), ("abc", "abc"), ("\"", "\"")] {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", HeaderValue::from_static(header));
            assert_eq!(idempotency_key(&headers).unwrap().unwrap(), key);
        }
    }
}
