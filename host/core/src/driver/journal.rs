//! What the driver has been told since its checkpoint: all that a replay has to give it again.
//!
//! Bytes lie in the ring and are kept here as ranges, so the journal of a busy port is one entry. Timers, commands and notes are kept as they
//! were delivered: with them a replay leads to the very state that the driver had, and not to that of a driver that slept through them.

use std::collections::VecDeque;

use super::inbox::{Chunk, Taken};
use super::{CallTime, Event, PortIndex, TimerId};

/// Entries after which a checkpoint is due. A driver with two busy ports fills it with alternating ranges.
const ENTRIES: usize = 1024;

/// One thing to replay.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// Bytes of a port.
    Bytes {
        /// The port.
        port: PortIndex,
        /// Number of the first byte.
        from: u64,
        /// Number of the byte behind the last.
        to: u64,
        /// It is one call, and its slice operations were refused: it stands alone, so that it takes no others with it.
        refused: bool,
    },
    /// Anything else, and the time of its call.
    Event {
        /// The event.
        event: Event<'static>,
        /// Bytes of its port before it, for the events of a port.
        offset: u64,
        /// When it was handled.
        time: CallTime,
        /// Its slice operations were refused.
        refused: bool,
    },
    /// A timer that ran out without the driver's hearing of it, because it broke down over it twice.
    TimerGone(TimerId),
}

/// The entries since the checkpoint, oldest first.
#[derive(Debug, Default)]
pub struct Journal {
    entries: VecDeque<Entry>,
    since: Option<CallTime>,
}

impl Journal {
    /// The driver has dealt with this. `offset` is the committed offset of the event's port, if it has one; `refused` says whether the slice
    /// refused what the call asked of it.
    pub fn push(&mut self, taken: Taken, offset: u64, time: CallTime, refused: bool) {
        self.since.get_or_insert(time);
        match taken {
            Taken::Bytes(Chunk { port, from, to, .. }) => {
                if let Some(Entry::Bytes {
                    port: last,
                    to: end,
                    refused: false,
                    ..
                }) = self.entries.back_mut()
                    && *last == port
                    && *end == from
                    && !refused
                {
                    *end = to;
                } else {
                    self.entries.push_back(Entry::Bytes {
                        port,
                        from,
                        to,
                        refused,
                    });
                }
            }
            Taken::Event(event) => self.entries.push_back(Entry::Event {
                event,
                offset,
                time,
                refused,
            }),
        }
    }

    /// The driver will never hear of this timer.
    pub fn timer_gone(&mut self, id: TimerId) {
        self.entries.push_back(Entry::TimerGone(id));
    }

    /// A checkpoint was taken. What stays is what it has not dealt with: bytes from `consumed` on, and the borders and gaps behind them.
    pub fn trim(&mut self, consumed: impl Fn(PortIndex) -> u64) {
        self.since = None;
        self.entries.retain_mut(|entry| match entry {
            Entry::Bytes { port, from, to, .. } => {
                *from = (*from).max(consumed(*port));
                from < to
            }
            Entry::Event { event, offset, .. } => match event {
                Event::PortAttached { port, .. } | Event::PortLost { port, .. } => *offset > consumed(*port),
                Event::Overrun { port, to, .. } => *to > consumed(*port),
                _ => false,
            },
            Entry::TimerGone(_) => false,
        });
    }

    /// When the first event since the checkpoint was handled.
    pub fn since(&self) -> Option<CallTime> {
        self.since
    }

    /// Whether only a checkpoint keeps it within its bound.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= ENTRIES
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Forgets everything: there is no checkpoint to go on from.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.since = None;
    }
}
