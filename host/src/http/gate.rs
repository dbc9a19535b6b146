//! Who asks, and whether the table lets them.
//!
//! A request is given a [`Visitor`] before it is routed; each route's gate compares it with the table of `autobench_core::access`, and records what
//! was done. So no handler has to think of either.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use autobench_core::access::{Access, Method as Verb, Role, Route, RouteId};
use axum::body::Body;
use axum::extract::State;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::header::{self, HeaderMap};
use hyper::{Request, StatusCode, Uri};

use super::Shared;
use super::answers::Taker;
use super::problem::Problem;
use super::query::Query;
use crate::access::{Actor, AuditEntry, Credentials, Identity, Outcome, Refused};

/// Members of a query that look like a token. What stands in an address is kept by histories, proxies and their logs.
const TOKENS_IN_QUERIES: [&str; 8] = [
    "token",
    "access_token",
    "auth",
    "authorization",
    "api_key",
    "apikey",
    "bearer",
    "password",
];

/// Who sent a request.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// Who it is, if that is known.
    pub(super) actor: Option<Actor>,
    /// Whether the token of the log ingest was shown.
    pub(super) is_ingest: bool,
    /// Whether a token was shown at all.
    shows_token: bool,
    /// Where it comes from: the client's address where a proxy on this machine names it.
    pub(super) peer: SocketAddr,
    /// Whether a proxy on this machine says that it came through TLS.
    pub(super) is_https: bool,
}

impl Visitor {
    /// Reads what a request shows. A token in the address is refused, and so is one that is not known.
    pub(super) fn of(
        shared: &Shared,
        uri: &Uri,
        headers: &HeaderMap,
        peer: SocketAddr,
    ) -> Result<Self, Problem> {
        if has_token(uri) {
            return Err(Problem::TokenInUrl);
        }
        // Only a proxy on this machine is believed: anybody else can write these headers too.
        let proxy = peer.ip().is_loopback().then_some(headers);
        let is_https = proxy.and_then(|headers| last(headers, "x-forwarded-proto")) == Some("https");
        let client = proxy
            .and_then(|headers| last(headers, "x-forwarded-for"))
            .and_then(address);
        let peer = SocketAddr::new(client.unwrap_or(peer.ip()), peer.port());
        let shown = Credentials {
            bearer: bearer(headers)?,
            session: cookie(headers, &shared.cookie),
        };
        let guard = shared.hub.guard();
        let Identity { actor, is_ingest } = guard
            .identify(shown, peer.ip())
            .map_err(|refused| refusal(&refused))?;
        Ok(Self {
            actor,
            is_ingest,
            shows_token: shown.bearer.is_some(),
            peer,
            is_https,
        })
    }

    /// In whose name this visitor takes large answers.
    pub(super) fn taker(&self, shared: &Shared) -> Taker {
        let is_open = shared.hub.guard().is_open();
        Taker::of(self.actor.as_ref(), is_open, self.peer.ip())
    }

    /// Whether this visitor may use a route, and has not as many large answers under way as may be.
    fn gets(&self, shared: &Shared, route: &Route, uri: &Uri) -> Result<(), Problem> {
        self.may(shared, route.access)?;
        match may_be_large(route.id, uri) {
            true => shared.answers.look(&self.taker(shared)),
            false => Ok(()),
        }
    }

    /// Whether the table lets this visitor use a route.
    fn may(&self, shared: &Shared, access: Access) -> Result<(), Problem> {
        let needed = match access {
            Access::Open => return Ok(()),
            Access::Ingest if self.is_ingest => return Ok(()),
            // Whoever sets a token for the ingest wants it to be shown, also where nothing else takes one.
            Access::Ingest if shared.hub.guard().is_open() && shared.hub.guard().has_ingest_token() => {
                return Err(match self.shows_token {
                    true => refusal(&shared.hub.guard().wrong_token(self.peer.ip())),
                    false => Problem::Unauthorized,
                });
            }
            Access::Ingest => Role::Operator,
            Access::Role(role) => role,
        };
        match &self.actor {
            None => Err(Problem::Unauthorized),
            Some(actor) if actor.role >= needed => Ok(()),
            Some(actor) => Err(Problem::Forbidden {
                actor: actor.name.to_string(),
                role: actor.role,
                needed,
            }),
        }
    }
}

/// What a handler did, in the record's words: goes with its response where the route's address does not say it.
#[derive(Debug, Clone)]
pub(super) struct Deed(pub(super) String);

/// The gate of one route.
pub(super) async fn pass(
    State((shared, route)): State<(Arc<Shared>, &'static Route)>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let Some(visitor) = request.extensions().get::<Visitor>().cloned() else {
        // Nobody is routed without one.
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let path = request.uri().path().to_owned();
    let response = match visitor.gets(&shared, route, request.uri()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    // Sessions are recorded where it is known whose they are.
    if route.method != Verb::Get && !matches!(route.id, RouteId::SessionBegin | RouteId::SessionEnd) {
        record(&shared, route, &visitor, &path, &response);
    }
    response
}

/// Answers that take their size in work and memory before it shows. Others are made, and refused if they have become large.
fn may_be_large(route: RouteId, uri: &Uri) -> bool {
    match route {
        RouteId::State => Query::of(uri).text("path").is_none(),
        RouteId::Logs | RouteId::TelemetrySeries => true,
        _ => false,
    }
}

fn record(shared: &Shared, route: &Route, visitor: &Visitor, path: &str, response: &Response) {
    let (guard, status) = (shared.hub.guard(), response.status());
    let mut action = format!("{} {path}", route.method.as_str());
    if visitor.actor.is_none() && !visitor.is_ingest {
        return guard.stranger(visitor.peer.ip(), &action);
    }
    if let Some(Deed(deed)) = response.extensions().get() {
        action = format!("{action}: {deed}");
    }
    let outcome = match status {
        status if status.is_success() => Outcome::Done,
        StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE => {
            Outcome::Refused
        }
        _ => Outcome::Failed,
    };
    let mut detail = status.as_str().to_owned();
    if outcome == Outcome::Done && matches!(route.id, RouteId::LogsIngest | RouteId::TelemetryIngest) {
        // These come by the second and change nothing on the bench: one line in a minute says so, with their number.
        let who = visitor.actor.as_ref().map_or("log-ingest", |actor| &actor.name);
        match shared.often.count(route.id, who) {
            None => return,
            Some(0) => {}
            Some(more) => detail = format!("{detail}, and {more} times before"),
        }
    }
    guard.audit().record(&AuditEntry {
        actor: visitor.actor.as_ref(),
        peer: Some(visitor.peer.ip()),
        action: &action,
        outcome,
        detail: Some(&detail),
    });
}

/// Why a token is not taken, for HTTP.
pub(super) fn refusal(refused: &Refused) -> Problem {
    match refused {
        Refused::WrongToken => Problem::WrongToken,
        Refused::TooMany(wait) => Problem::TooManyAttempts(wait.as_secs() + 1),
    }
}

/// The session's secret of a request.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return match headers.contains_key(header::AUTHORIZATION) {
            true => Err(Problem::WrongToken),
            false => Ok(None),
        };
    };
    let value = value.to_str().map_err(|_| Problem::WrongToken)?;
    Ok(match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim()),
        _ => None,
    })
}

fn has_token(uri: &Uri) -> bool {
    uri.query().unwrap_or_default().split('&').any(|pair| {
        let key = pair.split('=').next().unwrap_or_default();
        TOKENS_IN_QUERIES
            .iter()
            .any(|name| key.eq_ignore_ascii_case(name))
    })
}

/// The last of a header's values: what the nearest proxy wrote.
fn last<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim)
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_the_address_is_seen() {
        for path in [
            "/?token=x",
            "/ws?resume=a&Access_Token=x",
            "/?a=1&auth",
            "/?bearer=",
        ] {
            assert!(has_token(&path.parse().unwrap()), "{path}");
        }
        for path in ["/", "/?path=/token", "/?tokens=1", "/token"] {
            assert!(!has_token(&path.parse().unwrap()), "{path}");
        }
    }

    #[test]
    fn the_nearest_proxy_is_believed_and_not_those_before_it() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "6.6.6.6".parse().unwrap());
        headers.append("x-forwarded-for", "7.7.7.7, 192.0.2.4".parse().unwrap());
        assert_eq!(last(&headers, "x-forwarded-for"), Some("192.0.2.4"));
        for (text, expected) in [
            ("192.0.2.4", Some("192.0.2.4")),
            ("192.0.2.4:1", Some("192.0.2.4")),
            ("[2001:db8::1]:5", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("::ffff:192.0.2.4", Some("192.0.2.4")),
            ("[::ffff:192.0.2.4]:1", Some("192.0.2.4")),
            ("unknown", None),
        ] {
            assert_eq!(address(text), expected.map(|ip| ip.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=b; autobench-session-1=no".parse().unwrap());
        headers.append(header::COOKIE, "autobench-session-12=yes; c".parse().unwrap());
        assert_eq!(cookie(&headers, "autobench-session-12"), Some("yes"));
        assert_eq!(cookie(&headers, "autobench-session"), None);
    }

    #[test]
    fn only_one_bearer_is_taken() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), Ok(None));
        headers.append(header::AUTHORIZATION, "Basic eDp5".parse().unwrap());
        assert_eq!(bearer(&headers), Ok(None));
        headers.insert(header::AUTHORIZATION, "bearer  abc ".parse().unwrap());
        assert_eq!(bearer(&headers), Ok(Some("abc")));
        headers.append(header::AUTHORIZATION, "Bearer def".parse().unwrap());
        assert_eq!(bearer(&headers), Err(Problem::WrongToken));
    }
}
