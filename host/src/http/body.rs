//! Bodies, in and out, with what their connection has to know of them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::places::{Busy, Place};

/// A request's body that has to be complete in time: one that trickles would hold its place for ever.
#[derive(Debug)]
pub(super) struct Timed {
    body: Incoming,
    deadline: Pin<Box<Sleep>>,
    is_late: Arc<AtomicBool>,
    place: Arc<Place>,
    is_missing: bool,
}

/// Says whether a body came too late.
#[derive(Debug, Clone, Default)]
pub(super) struct Lateness(Arc<AtomicBool>);

/// A response's body; its connection is busy until all of it is out.
#[derive(Debug)]
struct Held {
    body: Body,
    _busy: Busy,
}

impl Timed {
    pub(super) fn new(body: Incoming, limit: Duration, place: Arc<Place>) -> (Self, Lateness) {
        let lateness = Lateness::default();
        let body = Self {
            body,
            // What is waited for is the body; the time is what it may take.
            deadline: Box::pin(tokio::time::sleep(limit)),
            is_late: Arc::clone(&lateness.0),
            place,
            is_missing: false,
        };
        (body, lateness)
    }
}

impl Lateness {
    pub(super) fn is_late(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Keeps a connection's place until a response's body is out or given up.
pub(super) fn hold(body: Body, busy: Busy) -> Body {
    Body::new(Held { body, _busy: busy })
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            if this.is_missing && (frame.is_none() || this.body.is_end_stream()) {
                this.is_missing = false;
                this.place.set_missing(false);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if !this.is_missing {
            this.is_missing = true;
            this.place.set_missing(true);
        }
        if this.deadline.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        this.is_late.store(true, Ordering::Release);
        Poll::Ready(Some(Err("the body did not come in time".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        if self.is_missing {
            self.place.set_missing(false);
        }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
