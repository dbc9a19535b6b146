//! Answers under way: large ones are handed over piece by piece, and whoever has as many bytes of them under way as may be gets no more.
//!
//! hyper asks for the next piece when the socket has taken most of those before it. So an answer that its peer does not take stays here, where it
//! is counted, and what lies with a connection is a few pieces, however large the answer is. What is over the bound is refused, not queued:
//! whoever asks has answers to take.
//!
//! How large an answer is shows when it is made. So what is looked at is what is under way already, and that before anything is made: whoever is
//! below the bound gets one more, of any size, and whoever is refused may ask again and again at hardly any cost. One answer counts as at most half of the
//! bound: a larger one would by itself keep its taker from all others until it is taken, and that may take long.
//!
//! This machine is not divided (`access::share_of`). Where nobody says who it is, all who come from it take from one share, which is larger: a
//! single one of them cannot so easily keep out everybody else behind a proxy, and yet there is a bound.

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

use super::problem::Problem;
use crate::access::{Actor, share_of};

/// What is handed over at once. Answers up to this size are not counted: they are in the connection's hands at once.
const PIECE_BYTES: usize = 64 << 10;

/// When whoever was refused may ask again: an answer that is taken is taken soon.
const RETRY_S: u64 = 1;

/// So many shares of an address this machine has, as with the places for clients that have not said who they are.
const SHARES_HERE: u64 = 4;

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
    /// Somebody on this machine, or behind a proxy on it that names nobody.
    Here,
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
    pub(super) fn of(actor: Option<&Actor>, is_open: bool, from: IpAddr) -> Self {
        match actor {
            // With an open door everybody is the same actor.
            Some(actor) if !is_open => Self::Actor(Arc::clone(&actor.name)),
            _ => share_of(from).map_or(Self::Here, Self::Address),
        }
    }

    /// Whose share of something it takes that everybody has a share of. None for one whose share is all there is.
    pub(super) fn whose_share(self) -> Option<Self> {
        (self != Self::Here).then_some(self)
    }
}

impl Answers {
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self {
            // Without any room the first answer would be refused for ever.
            limit_bytes: limit_bytes.max(1),
            under_way: Arc::default(),
        }
    }

    /// Refuses, before it is made, an answer that may be large, if its taker has as much under way as may be.
    pub(super) fn look(&self, taker: &Taker) -> Result<(), Problem> {
        match self.is_full(&self.under_way.lock(), taker) {
            true => Err(Problem::TooManyAnswers(RETRY_S)),
            false => Ok(()),
        }
    }

    /// Counts an answer, or refuses it: nobody looked before it was made, or others came between. Only for answers to GET: what was done is not
    /// refused afterwards.
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
        if self.is_full(&under_way, &taker) {
            return None;
        }
        let bytes = bytes.min(self.limit_bytes.div_ceil(2));
        let held_bytes = under_way.entry(taker.clone()).or_default();
        *held_bytes = held_bytes.saturating_add(bytes);
        Some(Charge {
            answers: self.clone(),
            taker,
            bytes,
        })
    }

    fn is_full(&self, under_way: &HashMap<Taker, u64>, taker: &Taker) -> bool {
        let limit_bytes = match taker {
            Taker::Actor(_) | Taker::Address(_) => self.limit_bytes,
            Taker::Here => self.limit_bytes.saturating_mul(SHARES_HERE),
        };
        under_way
            .get(taker)
            .is_some_and(|held_bytes| *held_bytes >= limit_bytes)
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
    use hyper::StatusCode;

    use super::*;

    const OK: (StatusCode, StatusCode, StatusCode) = (StatusCode::OK, StatusCode::OK, StatusCode::OK);

    fn taker(name: &str) -> Taker {
        Taker::Actor(name.into())
    }

    fn answer(bytes: usize) -> Response {
        Response::new(Body::from(vec![b'x'; bytes]))
    }

    #[tokio::test]
    async fn a_large_answer_comes_in_pieces_that_are_all_of_it() {
        let answers = Answers::new(1);
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
    fn whoever_has_the_bound_under_way_gets_no_more_until_an_answer_is_over() {
        let answers = Answers::new(1 << 20);
        let one = taker("one");
        let first = answers.begin(one.clone(), answer(400 << 10));
        let second = answers.begin(one.clone(), answer(400 << 10));
        // What is below the bound has room for one more.
        assert_eq!(answers.look(&one), Ok(()));
        let third = answers.begin(one.clone(), answer(400 << 10));
        assert_eq!((first.status(), second.status(), third.status()), OK);
        assert_eq!(answers.look(&one), Err(Problem::TooManyAnswers(RETRY_S)));
        assert_eq!(answers.begin(one.clone(), answer(PIECE_BYTES + 1)).status(), 429);
        // Small ones do not count, and neither do those of others.
        assert_eq!(answers.begin(one.clone(), answer(PIECE_BYTES)).status(), 200);
        assert_eq!(answers.begin(taker("two"), answer(400 << 10)).status(), 200);
        drop(first);
        assert_eq!(answers.look(&one), Ok(()));
        drop((second, third));
        assert!(answers.under_way.lock().is_empty());
    }

    #[test]
    fn an_answer_that_is_larger_than_the_bound_leaves_room_for_others() {
        let answers = Answers::new(1 << 20);
        let one = taker("one");
        let large = answers.begin(one.clone(), answer(5 << 20));
        let second = answers.begin(one.clone(), answer(300 << 10));
        let third = answers.begin(one.clone(), answer(5 << 20));
        assert_eq!((large.status(), second.status(), third.status()), OK);
        assert_eq!(answers.begin(one, answer(300 << 10)).status(), 429);
    }

    #[test]
    fn this_machine_is_not_divided_and_has_more_than_an_address() {
        let of =
            |actor: Option<&Actor>, is_open, from: &str| Taker::of(actor, is_open, from.parse().unwrap());
        let local = Actor::local();
        for here in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(of(Some(&local), true, here), Taker::Here, "{here}");
            assert_eq!(of(None, false, here), Taker::Here, "{here}");
        }
        assert_eq!(
            of(Some(&local), true, "2001:db8::1"),
            Taker::Address("2001:db8::".parse().unwrap())
        );
        assert_eq!(of(Some(&local), false, "127.0.0.1"), taker("local"));
        let answers = Answers::new(1 << 20);
        let elsewhere = of(None, true, "192.0.2.1");
        for (taker, expected) in [(Taker::Here, 8), (elsewhere, 2)] {
            let begun: Vec<_> = (0..20)
                .map(|_| answers.begin(taker.clone(), answer(600 << 10)))
                .filter(|answer| answer.status() == StatusCode::OK)
                .collect();
            assert_eq!(begun.len(), expected, "{taker:?}");
        }
    }
}
