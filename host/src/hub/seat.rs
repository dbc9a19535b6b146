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

/// Why there is no place for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSeat {
    /// The hub is closing. Nobody gets a place any more.
    Stopping,
    /// The house is full.
    Full {
        /// As many clients it takes.
        clients: u32,
    },
    /// The house has places, and none for clients that have not said who they are: for this address or for any.
    Strangers,
}

impl Hub {
    /// A place for a client that has not said who it is. Such clients get only a quarter of the house, and one address only a share of that.
    pub fn take_strangers_seat(&self, from: IpAddr) -> Result<Seat, NoSeat> {
        let Some(place) = self.shared.strangers.take(from) else {
            // Where nobody would get a place, saying who one is does not help.
            return Err(self.refuse(self.no_seat().unwrap_or(NoSeat::Strangers)));
        };
        let mut seat = self.take_seat()?;
        seat.strangers = Some(place);
        Ok(seat)
    }

    /// A place for one more client.
    pub fn take_seat(&self) -> Result<Seat, NoSeat> {
        let shared = &self.shared;
        let clients = shared.config.limits.clients;
        if *shared.stop.borrow() {
            return Err(self.refuse(NoSeat::Stopping));
        }
        if !take_one(&shared.seats, clients as usize) {
            return Err(self.refuse(NoSeat::Full { clients }));
        }
        Ok(Seat {
            shared: Arc::clone(shared),
            purpose: Purpose::Bench,
            strangers: None,
            _watching: shared.channels.state.watch(),
            deflate: None,
        })
    }

    /// Why nobody at all would get a place now.
    fn no_seat(&self) -> Option<NoSeat> {
        let clients = self.shared.config.limits.clients;
        match self.shared.seats.load(Ordering::Acquire) {
            _ if *self.shared.stop.borrow() => Some(NoSeat::Stopping),
            taken if taken >= clients as usize => Some(NoSeat::Full { clients }),
            _ => None,
        }
    }

    /// Counts a client that gets no place. Whoever comes while the hub closes was not too many.
    fn refuse(&self, why: NoSeat) -> NoSeat {
        if why != NoSeat::Stopping {
            self.shared.channels.metrics.refused.inc();
        }
        why
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
