//! Blocks for whoever follows them: what runs, what has run, and the stream that goes on from there.

use autobench_core::frame;
use autobench_core::outbox::{Cursor, Ring, RingView, Segment};
use autobench_core::wire::{BlockTracker, Event, InitialExecutionState, MessageId, ServerMessage, iso8601};
use bytes::Bytes;
use parking_lot::Mutex;

use super::now_ms;

/// The tracker and its stream move together, so that a state and what follows it come from the same point.
#[derive(Debug)]
pub(super) struct Blocks(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    tracker: BlockTracker,
    segments: Ring,
}

impl Blocks {
    pub(super) fn new(ring_bytes: usize) -> Self {
        Self(Mutex::new(Inner {
            tracker: BlockTracker::default(),
            segments: Ring::new(ring_bytes, 0),
        }))
    }

    /// Takes an event, which may be about a block.
    pub(super) fn take(&self, event: &Event) {
        let mut inner = self.0.lock();
        if let Some(message) = inner.tracker.take(event) {
            inner.push(&message);
        }
    }

    /// A device's driver runs no more.
    pub(super) fn abort(&self, device: &str) {
        let mut inner = self.0.lock();
        for message in inner.tracker.abort(device, now_ms()) {
            inner.push(&message);
        }
    }

    /// What runs and has run, and where the stream goes on.
    pub(super) fn state(&self, id: Option<MessageId>) -> (Bytes, Cursor) {
        let inner = self.0.lock();
        let message = ServerMessage::InitialExecutionState(InitialExecutionState {
            timestamp: iso8601(now_ms()),
            data: inner.tracker.state(),
            id,
        });
        (frame::text(&message.to_json()), inner.segments.cursor())
    }

    /// Where the stream goes on.
    pub(super) fn cursor(&self) -> Cursor {
        self.0.lock().segments.cursor()
    }

    pub(super) fn view(&self, from: u64, limit_bytes: usize) -> RingView {
        self.0.lock().segments.view(from, limit_bytes)
    }
}

impl Inner {
    fn push(&mut self, message: &ServerMessage) {
        let number = self.segments.cursor().covered + 1;
        self.segments.push(Segment {
            bytes: frame::text(&message.to_json()),
            first: number,
            last: number,
        });
    }
}
