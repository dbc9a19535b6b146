//! The upgrade of `/ws`, `/ws/flow` and `/ws/echo`: from HTTP to a bare socket for the hub.
//!
//! fastwebsockets answers the handshake. From then on its frames are not used: the stream is taken out of everything that was wrapped
//! around it, with the bytes that hyper had read ahead, and given to the hub.

use std::sync::Arc;

use autobench_core::deflate::{Agreement, negotiate};
use autobench_core::outbox::{Channel, Resume};
use autobench_core::wire::PROTOCOL;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use fastwebsockets::upgrade::{UpgradeFut, is_upgrade_request, upgrade};
use hyper::header::{
    HeaderValue, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
};
use hyper::{HeaderMap, Method, Request, Version};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;

use super::Shared;
use super::gate::Visitor;
use super::problem::Problem;
use super::query::Query;
use super::stream::Stream;
use crate::hub::{Arrival, Hub, Seat};

/// What the connection's task needs to know of a handshake that one of its requests was: it goes on when HTTP is over.
#[derive(Debug, Clone, Default)]
pub(super) struct Handshake(Arc<Mutex<Option<Accepted>>>);

#[derive(Debug)]
struct Accepted {
    upgraded: UpgradeFut,
    seat: Seat,
    visitor: Visitor,
    resume: Option<Resume>,
    begins_with: Vec<Channel>,
    speaks_ours: bool,
}

pub(super) async fn handle(
    State(shared): State<Arc<Shared>>,
    Extension(handshake): Extension<Handshake>,
    Extension(visitor): Extension<Visitor>,
    mut request: Request<Body>,
) -> Response {
    accept(&shared.hub, &handshake, visitor, &mut request, |seat| seat).unwrap_or_else(Problem::into_response)
}

/// `/ws/echo`, for suites that test the socket from outside: messages come back, up to `?limit=` bytes.
pub(super) async fn echo(
    State(shared): State<Arc<Shared>>,
    Extension(handshake): Extension<Handshake>,
    Extension(visitor): Extension<Visitor>,
    mut request: Request<Body>,
) -> Response {
    let hub = &shared.hub;
    let limit = match Query::of(request.uri()).number("limit") {
        Ok(None) => hub.limits().message_bytes as usize,
        Ok(Some(limit)) if limit <= ECHO_BYTES as u64 => limit as usize,
        Ok(Some(_)) | Err(_) => {
            let (name, rule) = ("limit", "a whole number up to 16777216");
            return Problem::BadQuery { name, rule }.into_response();
        }
    };
    accept(hub, &handshake, visitor, &mut request, |seat| {
        seat.for_echo(limit)
    })
    .unwrap_or_else(Problem::into_response)
}

/// Most that a message of `/ws/echo` may be allowed to have.
const ECHO_BYTES: usize = 16 << 20;

fn accept(
    hub: &Hub,
    handshake: &Handshake,
    visitor: Visitor,
    request: &mut Request<Body>,
    purpose: impl FnOnce(Seat) -> Seat,
) -> Result<Response, Problem> {
    let headers = request.headers();
    let is_version_13 = headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_some_and(|version| version == "13");
    // HEAD is answered wherever GET is, and yet no handshake.
    if request.method() != Method::GET || !is_upgrade_request(request) || !is_version_13 {
        return Err(Problem::UpgradeRequired);
    }
    if request.version() < Version::HTTP_11 {
        return Err(Problem::BadUpgrade("the request has to be HTTP/1.1"));
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    if !keys.next().is_some_and(is_key) || keys.next().is_some() {
        return Err(Problem::BadUpgrade(
            "Sec-WebSocket-Key has to be there once, 16 bytes in base64",
        ));
    }
    let speaks_ours = asks_for(headers, PROTOCOL);
    let deflate = match hub.accepts_deflate() {
        true => agree_on_deflate(headers)?,
        false => None,
    };
    // What is no place to go on is no reason to refuse: the client gets a snapshot.
    let query = Query::of(request.uri());
    let resume = query.text("resume").and_then(|text| Resume::parse(&text));
    let begins_with = channels_of(&query.text("subscribe").unwrap_or_default())?;
    let seat = match visitor.actor {
        Some(_) => hub.take_seat(),
        None => hub.take_strangers_seat(visitor.peer.ip()),
    };
    let seat = purpose(seat?).with_deflate(deflate);
    let (response, upgraded) =
        upgrade(request).map_err(|_| Problem::BadUpgrade("a header of the handshake is missing"))?;
    *handshake.0.lock() = Some(Accepted {
        upgraded,
        seat,
        visitor,
        resume,
        begins_with,
        speaks_ours,
    });
    let mut response = response.map(Body::new);
    if speaks_ours {
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    if let Some(agreement) = deflate {
        response.headers_mut().insert(
            SEC_WEBSOCKET_EXTENSIONS,
            HeaderValue::from_static(agreement.answer()),
        );
    }
    Ok(response)
}

fn agree_on_deflate(headers: &HeaderMap) -> Result<Option<Agreement>, Problem> {
    let offers = headers.get_all(SEC_WEBSOCKET_EXTENSIONS);
    negotiate(offers.iter().map(HeaderValue::as_bytes))
        .map_err(|_| Problem::BadUpgrade("Sec-WebSocket-Extensions has to be a list of extensions"))
}

impl Handshake {
    /// If one of the connection's requests was a handshake: gives its socket to the hub.
    pub(super) async fn finish(self, hub: &Hub) {
        let accepted = self.0.lock().take();
        let Some(Accepted {
            upgraded,
            seat,
            visitor: Visitor { actor, peer, .. },
            resume,
            begins_with,
            speaks_ours,
        }) = accepted
        else {
            return;
        };
        let upgraded = match upgraded.await {
            Ok(websocket) => websocket.into_inner().into_inner(),
            Err(error) => return tracing::debug!(%peer, %error, "went away during the handshake"),
        };
        match upgraded.downcast::<TokioIo<Stream>>() {
            Ok(parts) => hub.adopt(Arrival {
                stream: parts.io.into_inner().into_socket(),
                peer,
                early: parts.read_buf,
                seat,
                actor,
                resume,
                begins_with,
                speaks_ours,
            }),
            Err(_) => tracing::error!(%peer, "the upgraded connection is no stream of ours"),
        }
    }
}

/// `alarms`, `events`, or both with a comma between: each once, however often it is named.
fn channels_of(names: &str) -> Result<Vec<Channel>, Problem> {
    let mut channels = Vec::new();
    for name in names.split(',').filter(|name| !name.is_empty()) {
        let channel = match name {
            "alarms" => Channel::Alarms,
            "events" => Channel::Events,
            _ => {
                return Err(Problem::BadQuery {
                    name: "subscribe",
                    rule: "alarms, events, or both with a comma between",
                });
            }
        };
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    Ok(channels)
}

/// Sixteen bytes in base64: 22 characters and two for padding.
fn is_key(key: &HeaderValue) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    match key.as_bytes().strip_suffix(b"==") {
        Some(digits) => digits.len() == 22 && digits.iter().all(is_base64),
        None => false,
    }
}

fn asks_for(headers: &HeaderMap, protocol: &str) -> bool {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|offer| offer.trim() == protocol)
}
