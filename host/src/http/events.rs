//! Server-sent events: what the socket sends, for whoever has no socket.
//!
//! The body asks the hub's feed for its next part when hyper wants more, which it does when the connection takes more: nothing is written ahead. A
//! connection that takes nothing is cut as any other (`stream`). A listener has a seat among the clients, so it takes no place of those who ask
//! (`places`); and when its stream is over, so is its connection.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use autobench_core::outbox::{Channel, Resume};
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Uri};

use super::Shared;
use super::gate::Visitor;
use super::places::{Away, Taken};
use super::problem::Problem;
use super::query::Query;
use crate::hub::{Feed, FeedRequest, Part};

/// Series that one listener may follow.
const SERIES: usize = 256;

/// Messages up to this size are copied into their event, which is one write then; larger ones are sent from where they are.
const COPIED_BYTES: usize = 4 << 10;

/// `GET /api/v1/events`.
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    Extension(taken): Extension<Arc<Taken>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Query::of(&uri);
    let is_named = match query.text("named").as_deref() {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => {
            return Err(Problem::BadQuery {
                name: "named",
                rule: "true or false",
            });
        }
    };
    let channels = match query.text("channels") {
        Some(text) => channels(&text).ok_or(Problem::BadQuery {
            name: "channels",
            rule: "some of state, logs, events, alarms, commands and telemetry:1,2",
        })?,
        None => vec![Channel::State, Channel::Logs],
    };
    let actor = visitor.actor.ok_or(Problem::Unauthorized)?;
    let request = FeedRequest {
        peer: visitor.peer,
        page: uri.path().to_owned(),
        resume: headers
            .get("last-event-id")
            .and_then(|id| id.to_str().ok())
            .and_then(Resume::parse),
        channels,
    };
    let hub = &shared.hub;
    let seat = hub.take_seat()?;
    let feed = hub
        .listen(seat, actor, &request)
        .ok_or_else(|| Problem::UnknownEndpoint("one of channels".to_owned()))?;
    let listening = Listening {
        _away: taken.away(),
        feed,
        waiting: VecDeque::new(),
        is_named,
    };
    let body = Body::from_stream(stream::unfold(listening, next));
    let mut response = body.into_response();
    for (name, value) in [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        (CONNECTION, "close"),
        // What nginx would hold back until it has more.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// A stream that is under way.
struct Listening {
    /// Ends before the seat is given back: the connection is always counted somewhere.
    _away: Away,
    /// What is to come.
    feed: Feed,
    /// What of it waits to be taken.
    waiting: VecDeque<Bytes>,
    is_named: bool,
}

async fn next(mut listening: Listening) -> Option<(Result<Bytes, Infallible>, Listening)> {
    while listening.waiting.is_empty() {
        let part = listening.feed.next().await?;
        write(&mut listening.waiting, part, listening.is_named);
    }
    let bytes = listening.waiting.pop_front()?;
    Some((Ok(bytes), listening))
}

fn write(out: &mut VecDeque<Bytes>, part: Part, is_named: bool) {
    let Part::Message { name, json, place } = part else {
        out.push_back(Bytes::from_static(b":\n\n"));
        return;
    };
    // Without an id a browser keeps the last one, and so does whoever does as the standard says.
    let id = place.map(|place| format!("id: {place}\n")).unwrap_or_default();
    // A browser hands an event without a name to `onmessage`, and only that; its `type` says the same.
    let head = match is_named {
        true => format!("event: {name}\n{id}data: "),
        false => format!("{id}data: "),
    };
    if json.len() <= COPIED_BYTES {
        let mut whole = Vec::with_capacity(head.len() + json.len() + 2);
        whole.extend_from_slice(head.as_bytes());
        whole.extend_from_slice(&json);
        whole.extend_from_slice(b"\n\n");
        out.push_back(whole.into());
    } else {
        out.extend([head.into(), json, Bytes::from_static(b"\n\n")]);
    }
}

/// `state,logs,telemetry:1,2`: a number behind a comma belongs to the telemetry before it.
fn channels(text: &str) -> Option<Vec<Channel>> {
    let mut channels = Vec::new();
    let mut in_telemetry = false;
    for part in text.split(',') {
        let number = match part.strip_prefix("telemetry:") {
            Some(number) => Some(number),
            None if in_telemetry && part.bytes().all(|byte| byte.is_ascii_digit()) => Some(part),
            None => None,
        };
        let channel = match (number, part) {
            (Some(number), _) => Channel::Series(number.parse().ok()?),
            (None, "state") => Channel::State,
            (None, "logs") => Channel::Logs,
            (None, "events") => Channel::Events,
            (None, "commands") => Channel::Commands,
            (None, "alarms") => Channel::Alarms,
            _ => return None,
        };
        in_telemetry = number.is_some();
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    (channels.len() <= SERIES).then_some(channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_without_a_name_is_otherwise_the_same() {
        for length in [10, COPIED_BYTES + 1] {
            let json = Bytes::from(vec![b'x'; length]);
            let written = |is_named| {
                let mut out = VecDeque::new();
                let part = Part::Message {
                    name: "state.patch",
                    json: json.clone(),
                    place: Some(Resume::parse("7f3a91c04be25d68.814.3022").unwrap()),
                };
                write(&mut out, part, is_named);
                String::from_utf8(out.iter().flatten().copied().collect()).unwrap()
            };
            let unnamed = written(false);
            assert!(
                unnamed.starts_with("id: 7f3a91c04be25d68.814.3022\ndata: xxxxxxxxxx"),
                "{unnamed}"
            );
            assert!(unnamed.ends_with("x\n\n"));
            assert_eq!(written(true), format!("event: state.patch\n{unnamed}"));
        }
    }

    #[test]
    fn channels_are_named_with_commas_between() {
        assert_eq!(
            channels("state,telemetry:1,2,logs,logs").unwrap(),
            [
                Channel::State,
                Channel::Series(1),
                Channel::Series(2),
                Channel::Logs
            ]
        );
        for bad in [
            "",
            "weather",
            "state,1",
            "telemetry",
            "telemetry:",
            "telemetry:1,x",
            "telemetry:-1",
        ] {
            assert_eq!(channels(bad), None, "{bad}");
        }
    }
}
