//! Places for clients, each taken before a handshake is answered.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use autobench_core::deflate::Agreement;

use super::{Hub, Shared, strangers};
use crate::state::Watching;

/// A place for one client, taken before its handshake is answered. Dropping it frees the place.
#[derive(Debug)]
pub struct Seat {
    shared: Arc<Shared>,
    pub(super) purpose: Purpose,
    /// The place that it takes of those for clients that have not said who they are.
    strangers: Option<strangers::Place>,
    _watching: Watching,
    /// What the handshake agreed on about compression.
    pub(super) deflate: Option<Agreement>,
}

/// What a client's messages are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It talks to the bench.
    Bench,
    /// They come back, up to this size: `/ws/echo`.
    Echo { message_bytes: usize },
}

impl Hub {
    /// A place for a client that has not said who it is. Such clients get only a quarter of the house, and one address only a share of that.
    pub fn take_strangers_seat(&self, from: IpAddr) -> Option<Seat> {
        let Some(place) = self.shared.strangers.take(from) else {
            self.shared.channels.metrics.refused.inc();
            return None;
        };
        let mut seat = self.take_seat()?;
        seat.strangers = Some(place);
        Some(seat)
    }

    /// A place for one more client, or none if the house is full or closing.
    pub fn take_seat(&self) -> Option<Seat> {
        let shared = &self.shared;
        if *shared.stop.borrow() {
            return None;
        }
        if !take_one(&shared.seats, shared.config.limits.clients as usize) {
            shared.channels.metrics.refused.inc();
            return None;
        }
        Some(Seat {
            shared: Arc::clone(shared),
            purpose: Purpose::Bench,
            strangers: None,
            _watching: shared.channels.state.watch(),
            deflate: None,
        })
    }
}

impl Seat {
    /// Notes that the client may compress, and how it may be compressed for.
    #[must_use]
    pub fn with_deflate(mut self, agreement: Option<Agreement>) -> Self {
        self.deflate = agreement;
        self
    }

    /// The place of a client whose messages, up to this size, come back as they are.
    #[must_use]
    pub fn for_echo(mut self, message_bytes: usize) -> Self {
        self.purpose = Purpose::Echo { message_bytes };
        self
    }

    /// Its client has said who it is, and takes no stranger's place from now on.
    pub(super) fn know(&mut self) {
        self.strangers = None;
    }

    pub(super) fn is_echo(&self) -> bool {
        matches!(self.purpose, Purpose::Echo { .. })
    }

    /// The size up to which its client's messages are taken.
    pub(super) fn message_bytes(&self) -> usize {
        match self.purpose {
            Purpose::Bench => self.shared.config.limits.message_bytes as usize,
            Purpose::Echo { message_bytes } => message_bytes,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.seats.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Counts one more, if there are fewer than the limit.
fn take_one(count: &AtomicUsize, limit: usize) -> bool {
    let more = |taken: usize| (taken < limit).then_some(taken + 1);
    count
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
        .is_ok()
}
