//! Refusals over HTTP: `application/problem+json` (RFC 9457) with a stable code.

use autobench_core::access::Role;
use autobench_core::commands::Refused;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER,
    SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::commands;
use crate::hub::NoSeat;

/// Why a request is refused. The code of each is part of the interface: programs may compare it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("the header Host is missing, or is no host")]
    NoHost,
    #[error("{0:?} is no name of this daemon; add it to allowed-hosts in plugins.toml if it should be")]
    ForbiddenHost(String),
    #[error("a page from {0:?} may not talk to this daemon; open the page that the daemon serves")]
    ForbiddenOrigin(String),
    #[error(
        "a token never belongs into an address, where histories and logs keep it: send it as Authorization: Bearer, and make a new one"
    )]
    TokenInUrl,
    #[error("say who you are: Authorization: Bearer TOKEN, or a session from POST /api/v1/session")]
    Unauthorized,
    #[error("this token is not known; one of fewer than 16 characters never is")]
    WrongToken,
    #[error("too many wrong tokens came from this address, so none is looked at; try again in {0} s")]
    TooManyAttempts(u64),
    #[error("this takes the role {needed}, and {actor} is {role}")]
    Forbidden { actor: String, role: Role, needed: Role },
    #[error("nothing from outside may be put into the log's channel {0:?}; see LOG_INGEST_ALLOWED_CHANNELS")]
    ForbiddenChannel(String),
    #[error("there is nothing at {0}")]
    NotFound(String),
    #[error("there is no device {0:?}; see /api/v1/devices")]
    UnknownDevice(String),
    #[error("there is no plugin {0:?}; see /api/v1/plugins")]
    UnknownPlugin(String),
    #[error("{0}")]
    NoEarlierVersion(String),
    #[error("no version of {0} waits for consent")]
    NothingWaits(String),
    #[error("it is the version {0} that waits; look at what it wants")]
    OtherWaits(String),
    #[error("no driver of {0:?} runs, which a candidate could be compared with")]
    NoDriverRuns(String),
    #[error("a shadow run of {0:?} is under way; there is one at a time")]
    ShadowRunUnderWay(String),
    #[error("{0}")]
    CandidateRefused(String),
    #[error("{0}")]
    ShadowRunFailed(String),
    #[error("the state has nothing at {0:?}")]
    UnknownPath(String),
    #[error("there is no telemetry series {0:?}; see /api/v1/telemetry")]
    UnknownEndpoint(String),
    #[error("{path} takes only {allow}")]
    MethodNotAllowed { path: String, allow: String },
    #[error("a body has to be application/json")]
    UnsupportedMediaType,
    #[error("a body here has at most {0} bytes")]
    TooLarge(usize),
    #[error("the body did not come in time")]
    RequestTimeout,
    #[error("the body is no JSON: {0}")]
    BadJson(String),
    #[error("the body is not what is taken here: {0}")]
    BadBody(String),
    #[error("the layout is not good: {}", .0.join("; "))]
    BadLayout(Vec<String>),
    #[error("what is there is not what If-Match names; look at it again")]
    Changed,
    #[error("{0:?} belongs to a driver, and only that may give it samples")]
    SeriesOwned(String),
    #[error("there are {0} series from outside already, which is the limit")]
    TooManySeries(usize),
    #[error("this comes faster than it is taken; try again in {0} s")]
    RateLimited(u64),
    #[error("this is a WebSocket; ask for an upgrade, version 13")]
    UpgradeRequired,
    #[error("the upgrade is not as RFC 6455 wants it: {0}")]
    BadUpgrade(&'static str),
    #[error("{0} clients are connected, which is the limit; close one, or raise daemon.limits.clients")]
    TooManyClients(u32),
    #[error(
        "there are too many clients that have not said who they are, from this address or altogether; show the token with the upgrade"
    )]
    TooManyStrangers,
    #[error("large answers that you asked for are still under way; take them, and try again in {0} s")]
    TooManyAnswers(u64),
    #[error(
        "too many requests wait already, of yours or altogether; ask without `wait`, follow the command on the socket, or try again in {0} s"
    )]
    TooManyWaits(u64),
    #[error("the query has {name:?}, which has to be {rule}")]
    BadQuery { name: &'static str, rule: &'static str },
    #[error("the daemon is {0}")]
    NotReady(String),
    #[error("{0} has ended; restart the daemon, and see its log for the reason")]
    Unhealthy(&'static str),
    #[error("the state did not take it: {0}")]
    NotTaken(String),
    #[error("{}", .0.message)]
    Command(Refused),
}

impl Problem {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Command(refused) => commands::status_of(refused.code),
            Self::NoHost
            | Self::BadUpgrade(_)
            | Self::BadQuery { .. }
            | Self::TokenInUrl
            | Self::BadJson(_)
            | Self::BadBody(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::ForbiddenHost(_)
            | Self::ForbiddenOrigin(_)
            | Self::Forbidden { .. }
            | Self::ForbiddenChannel(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_)
            | Self::UnknownDevice(_)
            | Self::UnknownPlugin(_)
            | Self::UnknownPath(_)
            | Self::UnknownEndpoint(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::SeriesOwned(_)
            | Self::TooManySeries(_)
            | Self::NoEarlierVersion(_)
            | Self::NothingWaits(_)
            | Self::OtherWaits(_)
            | Self::NoDriverRuns(_)
            | Self::ShadowRunUnderWay(_) => StatusCode::CONFLICT,
            Self::ShadowRunFailed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Changed => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BadLayout(_) | Self::NotTaken(_) | Self::CandidateRefused(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::TooManyAttempts(_)
            | Self::TooManyAnswers(_)
            | Self::TooManyWaits(_)
            | Self::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::TooManyClients(_) | Self::TooManyStrangers | Self::NotReady(_) | Self::Unhealthy(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Command(refused) => commands::code_of(refused.code),
            Self::NoHost => "no-host",
            Self::ForbiddenHost(_) => "forbidden-host",
            Self::ForbiddenOrigin(_) => "forbidden-origin",
            Self::TokenInUrl => "token-in-url",
            Self::Unauthorized => "unauthorized",
            Self::WrongToken => "wrong-token",
            Self::TooManyAttempts(_) => "too-many-attempts",
            Self::Forbidden { .. } => "forbidden",
            Self::ForbiddenChannel(_) => "forbidden-channel",
            Self::NotFound(_) => "not-found",
            Self::UnknownDevice(_) => "unknown-device",
            Self::UnknownPlugin(_) => "unknown-plugin",
            Self::NoEarlierVersion(_) => "no-earlier-version",
            Self::NothingWaits(_) => "nothing-waits",
            Self::OtherWaits(_) => "other-waits",
            Self::NoDriverRuns(_) => "no-driver-runs",
            Self::ShadowRunUnderWay(_) => "shadow-run-under-way",
            Self::CandidateRefused(_) => "candidate-refused",
            Self::ShadowRunFailed(_) => "shadow-run-failed",
            Self::UnknownPath(_) => "unknown-path",
            Self::UnknownEndpoint(_) => "unknown-endpoint",
            Self::MethodNotAllowed { .. } => "method-not-allowed",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::TooLarge(_) => "too-large",
            Self::RequestTimeout => "request-timeout",
            Self::BadJson(_) => "bad-json",
            Self::BadBody(_) => "bad-body",
            Self::BadLayout(_) => "bad-layout",
            Self::Changed => "changed",
            Self::SeriesOwned(_) => "series-owned",
            Self::TooManySeries(_) => "too-many-series",
            Self::RateLimited(_) => "rate-limited",
            Self::UpgradeRequired => "upgrade-required",
            Self::BadUpgrade(_) => "bad-upgrade",
            Self::TooManyClients(_) => "too-many-clients",
            Self::TooManyStrangers => "too-many-clients",
            Self::TooManyAnswers(_) => "too-many-answers",
            Self::TooManyWaits(_) => "too-many-waits",
            Self::BadQuery { .. } => "bad-query",
            Self::NotReady(_) => "not-ready",
            Self::Unhealthy(_) => "unhealthy",
            Self::NotTaken(_) => "not-taken",
        }
    }

    fn write_headers(&self, headers: &mut HeaderMap) {
        match self {
            Self::RequestTimeout => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::UpgradeRequired => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            Self::MethodNotAllowed { allow, .. } => {
                if let Ok(allow) = HeaderValue::from_str(allow) {
                    headers.insert(ALLOW, allow);
                }
            }
            Self::Unauthorized | Self::WrongToken => {
                headers.insert(
                    WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"autobench\""),
                );
            }
            Self::TooManyAttempts(wait_s)
            | Self::TooManyAnswers(wait_s)
            | Self::TooManyWaits(wait_s)
            | Self::RateLimited(wait_s) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(*wait_s));
            }
            _ => {}
        }
    }
}

impl From<NoSeat> for Problem {
    fn from(why: NoSeat) -> Self {
        match why {
            NoSeat::Stopping => Self::NotReady("stopping".to_owned()),
            NoSeat::Full { clients } => Self::TooManyClients(clients),
            NoSeat::Strangers => Self::TooManyStrangers,
        }
    }
}

/// A refusal on the wire.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ProblemBody {
    /// `about:blank`: what it means is in the code.
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// Stable: programs may compare it.
    code: &'static str,
    /// For a person: what, where, and what to do instead.
    detail: String,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = ProblemBody {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            code: self.code(),
            detail: self.to_string(),
        };
        // Texts and a number always have a JSON.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.write_headers(headers);
        response
    }
}

#[cfg(test)]
mod tests {
    /// The codes of the source above are those of the manual, and the other way round.
    #[test]
    fn the_manual_names_every_code() {
        let manual = include_str!("../../../docs/http.md");
        let source = include_str!("problem.rs");
        let codes: Vec<&str> = source
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Self::"))
            .filter_map(|line| line.split_once("=> \""))
            .map(|(_, rest)| rest.trim_end_matches("\","))
            .collect();
        assert!(codes.len() >= 30, "{codes:?}");
        for code in &codes {
            assert!(
                manual.contains(&format!("| `{code}` |")),
                "docs/http.md lacks {code}"
            );
        }
        let table = manual.split("## Problems").nth(1).unwrap();
        let table = table.split("\n## ").next().unwrap();
        for line in table.lines().filter_map(|line| line.strip_prefix("| `")) {
            let code = line.split('`').next().unwrap();
            assert!(
                codes.contains(&code) || code == "too-many-connections",
                "{code} is given by nothing"
            );
        }
    }
}
