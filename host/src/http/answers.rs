//! Answers under way: large ones are handed over piece by piece, and to nobody are more of them under way than a number of bytes.
//!
//! hyper asks for the next piece when the socket has taken most of those before it. So an answer that its peer does not take stays here, where it
//! is counted, and what lies with a connection is a few pieces, however large the answer is. What is over the bound is refused, not queued:
//! whoever asks has answers to take.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;

use super::gate::Visitor;
use super::problem::Problem;
use crate::access::network_of;

/// What is handed over at once. Answers up to this size are not counted: they are in the connection's hands at once.
const PIECE_BYTES: usize = 64 << 10;

/// When whoever was refused may ask again: an answer that is taken is taken soon.
const RETRY_S: u64 = 1;

/// All large answers under way. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    limit_bytes: u64,
    /// Bounded by the connections: each has one answer under way, and whoever has none is forgotten.
    under_way: Arc<Mutex<HashMap<Taker, u64>>>,
}

/// Who takes an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Taker {
    /// Somebody who is known.
    Actor(Arc<str>),
    /// Whoever is there, where nobody has to say who it is.
    Address(IpAddr),
}

/// An answer's bytes, as long as they are held here.
#[derive(Debug)]
struct Charge {
    answers: Answers,
    taker: Taker,
    bytes: u64,
}

/// An answer that is handed over piece by piece.
#[derive(Debug)]
struct Pieces {
    body: Body,
    /// What came of it and was not handed over.
    rest: Bytes,
    left_bytes: u64,
    _charge: Charge,
}

impl Taker {
    pub(super) fn of(visitor: &Visitor, is_open: bool) -> Self {
        match &visitor.actor {
            // With an open door everybody is the same actor.
            Some(actor) if !is_open => Self::Actor(Arc::clone(&actor.name)),
            _ => Self::Address(network_of(visitor.peer.ip())),
        }
    }
}

impl Answers {
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self {
            limit_bytes,
            under_way: Arc::default(),
        }
    }

    /// Counts an answer, or refuses it. Only for answers to GET: what was done is not refused afterwards.
    pub(super) fn begin(&self, taker: Taker, answer: Response) -> Response {
        let bytes = match answer.body().size_hint().exact() {
            Some(bytes) if bytes > PIECE_BYTES as u64 => bytes,
            // It is small, or a stream, which makes its own pieces.
            _ => return answer,
        };
        let Some(charge) = self.charge(taker, bytes) else {
            return Problem::TooManyAnswers(RETRY_S).into_response();
        };
        answer.map(|body| {
            Body::new(Pieces {
                body,
                rest: Bytes::new(),
                left_bytes: bytes,
                _charge: charge,
            })
        })
    }

    fn charge(&self, taker: Taker, bytes: u64) -> Option<Charge> {
        let mut under_way = self.under_way.lock();
        let held_bytes = under_way.get(&taker).copied().unwrap_or_default();
        // One alone may be of any size: refused now, it would be refused for ever.
        if held_bytes > 0 && held_bytes.saturating_add(bytes) > self.limit_bytes {
            return None;
        }
        under_way.insert(taker.clone(), held_bytes.saturating_add(bytes));
        Some(Charge {
            answers: self.clone(),
            taker,
            bytes,
        })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut under_way = self.answers.under_way.lock();
        if let Some(held_bytes) = under_way.get_mut(&self.taker) {
            *held_bytes = held_bytes.saturating_sub(self.bytes);
            if *held_bytes == 0 {
                under_way.remove(&self.taker);
            }
        }
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => this.rest = bytes,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        this.left_bytes = this.left_bytes.saturating_sub(piece.len() as u64);
        // A part of the whole would keep the whole in memory, when it is counted no more.
        let piece = Bytes::copy_from_slice(&piece);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn taker(name: &str) -> Taker {
        Taker::Actor(name.into())
    }

    fn answer(bytes: usize) -> Response {
        Response::new(Body::from(vec![b'x'; bytes]))
    }

    #[tokio::test]
    async fn a_large_answer_comes_in_pieces_that_are_all_of_it() {
        let answers = Answers::new(0);
        let whole: Vec<u8> = (0..3 * PIECE_BYTES + 5).map(|at| (at % 251) as u8).collect();
        let mut body = answers
            .begin(taker("one"), Response::new(Body::from(whole.clone())))
            .into_body();
        let mut taken = Vec::new();
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE_BYTES);
            taken.extend_from_slice(&piece);
            assert_eq!(body.size_hint().exact(), Some((whole.len() - taken.len()) as u64));
        }
        assert!(taken == whole && body.is_end_stream());
        drop(body);
        assert!(answers.under_way.lock().is_empty());
    }

    #[test]
    fn more_than_the_bound_is_refused_until_an_answer_is_over() {
        let answers = Answers::new(1 << 20);
        let first = answers.begin(taker("one"), answer(800 << 10));
        assert_eq!(first.status(), 200);
        assert_eq!(answers.begin(taker("one"), answer(300 << 10)).status(), 429);
        // Small ones do not count, and neither do those of others.
        assert_eq!(answers.begin(taker("one"), answer(PIECE_BYTES)).status(), 200);
        assert_eq!(answers.begin(taker("two"), answer(2 << 20)).status(), 200);
        drop(first);
        assert_eq!(answers.begin(taker("one"), answer(2 << 20)).status(), 200);
    }
}
