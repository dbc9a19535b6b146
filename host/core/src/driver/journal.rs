//! What the driver has been told since its checkpoint: all that a replay has to give it again.
//!
//! Bytes lie in the ring and are kept here as ranges, so the journal of a busy port is one entry. Timers, commands and notes are kept as they
//! were delivered: with them a replay leads to the very state that the driver had, and not to that of a driver that slept through them.

use std::collections::VecDeque;

use super::inbox::{Chunk, Taken};
use super::{CallTime, Event, LeaseId, PortIndex, TimerId};

/// Entries after which a checkpoint is due. A driver with two busy ports fills it with alternating ranges.
const ENTRIES: usize = 1024;

/// Bytes of observed values after which a checkpoint is due: one value may have as many as a slice.
const VALUE_BYTES: usize = 4 * 1024 * 1024;

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
    /// Bytes of a port that another version was not given, and that were counted then.
    Spared {
        /// The port.
        port: PortIndex,
        /// Number of the first byte.
        from: u64,
        /// Number of the byte behind the last.
        to: u64,
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
    /// It ended without the driver's hearing of it, because the driver broke down over that twice.
    Gone(Own),
    /// The same, before the checkpoint: what stays before it may begin it once more. What a start begins is not meant.
    WasGone(Own),
}

/// What a driver began under a number of its own, and the host ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// A timer, which runs out.
    Timer(TimerId),
    /// A lease, which is over.
    Lease(LeaseId),
}

/// The entries since the checkpoint, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    entries: VecDeque<Entry>,
    /// So many of the oldest were there at the checkpoint.
    of_before: usize,
    since: Option<CallTime>,
    value_bytes: usize,
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
            Taken::Event(event) => {
                if let Event::Observed { value, .. } = &event {
                    self.value_bytes += value.as_deref().map_or(0, str::len);
                }
                self.entries.push_back(Entry::Event {
                    event,
                    offset,
                    time,
                    refused,
                });
            }
        }
    }

    /// The driver that runs was not given these bytes; this journal's is, as far as they are kept.
    pub fn spared(&mut self, port: PortIndex, from: u64, to: u64, time: CallTime) {
        self.since.get_or_insert(time);
        self.entries.push_back(Entry::Spared { port, from, to });
    }

    /// The driver will never hear of the end of this.
    pub fn gone(&mut self, own: Own) {
        self.entries.push_back(Entry::Gone(own));
    }

    /// A start has begun this anew: that it was left out before is over.
    pub fn is_back(&mut self, own: Own) {
        let mut index = 0;
        let mut of_before = 0;
        self.entries.retain(|entry| {
            let stays = *entry != Entry::WasGone(own);
            of_before += usize::from(stays && index < self.of_before);
            index += 1;
            stays
        });
        self.of_before = of_before;
    }

    /// A checkpoint was taken, at which what `goes_on` says has not ended. What stays is what it has not dealt with: bytes from `consumed` on, and the
    /// borders and gaps behind them; and that an end will not be heard of, where what stays before it may begin it once more.
    pub fn trim(&mut self, goes_on: impl Fn(Own) -> bool, consumed: impl Fn(PortIndex) -> u64) {
        self.since = None;
        self.value_bytes = 0;
        let mut stays_before = false;
        self.entries.retain_mut(|entry| {
            let stays = match entry {
                Entry::Bytes { port, from, to, .. } | Entry::Spared { port, from, to } => {
                    *from = (*from).max(consumed(*port));
                    from < to
                }
                Entry::Event { event, offset, .. } => match event {
                    Event::PortAttached { port, .. } | Event::PortLost { port, .. } => {
                        *offset > consumed(*port)
                    }
                    Event::Overrun { port, to, .. } => *to > consumed(*port),
                    _ => false,
                },
                &mut (Entry::Gone(own) | Entry::WasGone(own)) => {
                    *entry = Entry::WasGone(own);
                    stays_before && !goes_on(own)
                }
            };
            stays_before |= stays;
            stays
        });
        self.of_before = self.entries.len();
    }

    /// Puts what happened later behind it.
    pub fn append(&mut self, later: Self) {
        self.since = self.since.or(later.since);
        self.entries.extend(later.entries);
        self.value_bytes += later.value_bytes;
    }

    /// When the first event since the checkpoint was handled.
    pub fn since(&self) -> Option<CallTime> {
        self.since
    }

    /// Whether only a checkpoint keeps it within its bound.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= ENTRIES || self.value_bytes >= VALUE_BYTES
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// What has happened since the checkpoint, but for bytes that directly follow those of before.
    pub fn new_entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().skip(self.of_before)
    }

    /// Forgets everything: there is no checkpoint to go on from.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.of_before = 0;
        self.since = None;
        self.value_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: PortIndex = PortIndex(0);
    const NOW: CallTime = CallTime {
        monotonic_ns: 5,
        wall_ms: 5.0,
    };

    fn bytes(from: u64, to: u64) -> Taken {
        Taken::Bytes(Chunk {
            port: PORT,
            from,
            to,
            received: NOW,
        })
    }

    fn attached(offset: u64) -> Taken {
        Taken::Event(Event::PortAttached {
            port: PORT,
            offset,
            identity: Default::default(),
        })
    }

    fn ranges(journal: &Journal) -> Vec<(u64, u64)> {
        let ranges = journal.entries().filter_map(|entry| match entry {
            Entry::Bytes { from, to, .. } => Some((*from, *to)),
            _ => None,
        });
        ranges.collect()
    }

    #[test]
    fn bytes_of_one_port_are_one_entry_unless_something_lies_between_or_was_refused() {
        let mut journal = Journal::default();
        journal.push(bytes(0, 5), 5, NOW, false);
        journal.push(bytes(5, 9), 9, NOW, false);
        journal.push(bytes(9, 12), 12, NOW, true);
        journal.push(bytes(12, 14), 14, NOW, false);
        journal.push(attached(14), 14, NOW, false);
        journal.push(bytes(14, 20), 20, NOW, false);
        assert_eq!(ranges(&journal), [(0, 9), (9, 12), (12, 14), (14, 20)]);
    }

    #[test]
    fn a_timer_that_is_gone_stays_gone_where_bytes_before_it_set_it_once_more() {
        const TIMER: Own = Own::Timer(TimerId(5));
        let mut journal = Journal::default();
        journal.push(bytes(0, 10), 10, NOW, false);
        journal.gone(TIMER);
        let gone = |runs: bool, consumed: u64| {
            let mut journal = journal.clone();
            journal.trim(|own| runs && own == TIMER, |_| consumed);
            journal.entries().any(|entry| *entry == Entry::WasGone(TIMER))
        };
        assert!(gone(false, 7));
        assert!(!gone(false, 10), "nothing sets it any more");
        assert!(!gone(true, 7), "it was set anew since");
    }

    #[test]
    fn values_of_observed_slices_fill_it_by_their_bytes_until_a_checkpoint() {
        let mut journal = Journal::default();
        let value: std::sync::Arc<str> = " ".repeat(1024 * 1024).into();
        let mut pushed = 0;
        while !journal.is_full() {
            let event = Event::Observed {
                slice: "other".into(),
                value: Some(value.clone()),
            };
            journal.push(Taken::Event(event), 0, NOW, false);
            pushed += 1;
        }
        assert_eq!(pushed, 4);
        journal.trim(|_| false, |_| 0);
        assert!(!journal.is_full());
        assert_eq!(journal.entries().count(), 0);
    }

    #[test]
    fn a_checkpoint_leaves_bytes_that_are_not_dealt_with_and_the_borders_behind_them() {
        let mut journal = Journal::default();
        journal.push(bytes(0, 10), 10, NOW, false);
        journal.push(Taken::Event(Event::Timer(TimerId(1))), 0, NOW, false);
        journal.push(attached(10), 10, NOW, false);
        journal.push(bytes(10, 20), 20, NOW, false);
        let mut dealt_with = journal.clone();
        journal.trim(|_| false, |_| 7);
        assert_eq!(ranges(&journal), [(7, 10), (10, 20)]);
        assert_eq!(journal.entries().count(), 3, "the border stays, the timer goes");
        assert_eq!(journal.since(), None);
        dealt_with.trim(|_| false, |_| 10);
        assert_eq!(ranges(&dealt_with), [(10, 20)]);
        assert_eq!(dealt_with.entries().count(), 1, "nothing lies before the border");
    }
}
