//! Refusals over HTTP: `application/problem+json` (RFC 9457) with a stable code.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_VERSION, UPGRADE};
use serde_json::json;

/// Why a request is refused. The code of each is part of the interface: programs may compare it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("the header Host is missing, or is no host")]
    NoHost,
    #[error("{0:?} is no name of this daemon; add it to allowed-hosts in plugins.toml if it should be")]
    ForbiddenHost(String),
    #[error("a page from {0:?} may not talk to this daemon; open the page that the daemon serves")]
    ForbiddenOrigin(String),
    #[error("there is nothing at {0}")]
    NotFound(String),
    #[error("there is no telemetry series {0:?}; see devices.<id>.series in /api/v1/state")]
    UnknownEndpoint(String),
    #[error("{0} takes only GET and HEAD")]
    MethodNotAllowed(String),
    #[error("a body has to be application/json")]
    UnsupportedMediaType,
    #[error("this is a WebSocket; ask for an upgrade, version 13")]
    UpgradeRequired,
    #[error("the upgrade is not as RFC 6455 wants it: {0}")]
    BadUpgrade(&'static str),
    #[error("{0} clients are connected, which is the limit; close one, or raise daemon.limits.clients")]
    TooManyClients(u32),
    #[error("the query has {0:?}, which is no whole number from 0 on")]
    BadQuery(&'static str),
    #[error("the body did not come in time")]
    RequestTimeout,
    #[error("the daemon is {0}")]
    NotReady(String),
    #[error("{0} has ended; restart the daemon, and see its log for the reason")]
    Unhealthy(&'static str),
}

impl Problem {
    const fn status(&self) -> StatusCode {
        match self {
            Self::NoHost | Self::BadUpgrade(_) | Self::BadQuery(_) => StatusCode::BAD_REQUEST,
            Self::ForbiddenHost(_) | Self::ForbiddenOrigin(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) | Self::UnknownEndpoint(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooManyClients(_) | Self::NotReady(_) | Self::Unhealthy(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::NoHost => "no-host",
            Self::ForbiddenHost(_) => "forbidden-host",
            Self::ForbiddenOrigin(_) => "forbidden-origin",
            Self::NotFound(_) => "not-found",
            Self::UnknownEndpoint(_) => "unknown-endpoint",
            Self::MethodNotAllowed(_) => "method-not-allowed",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::UpgradeRequired => "upgrade-required",
            Self::BadUpgrade(_) => "bad-upgrade",
            Self::TooManyClients(_) => "too-many-clients",
            Self::BadQuery(_) => "bad-query",
            Self::RequestTimeout => "request-timeout",
            Self::NotReady(_) => "not-ready",
            Self::Unhealthy(_) => "unhealthy",
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "code": self.code(),
            "detail": self.to_string(),
        });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self {
            Self::RequestTimeout => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::UpgradeRequired => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            Self::MethodNotAllowed(_) => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            _ => {}
        }
        response
    }
}
