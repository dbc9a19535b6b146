//! The channels that clients follow: where their segments lie, and how a client joins one.
//!
//! Joining is always the same: under the channel's lock, close what is pending, take what the client has to have first, and remember the place
//! in the ring that follows. So nothing is skipped and nothing comes twice. The state does this for itself; logs, series, alarms and events
//! do it here.
//!
//! No lock of this module is ever held while another one of it is taken, or while a client's is; a client's may be held while these are.

use std::collections::BTreeMap;
use std::sync::Arc;

use autobench_core::frame;
use autobench_core::outbox::{Channel, Cursor, Positions, Ring, RingView, Segment, View};
use autobench_core::wire::{LogRange, LogSpan, ServerMessage};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::series::{Backlog, EndpointInfo, Series};
use crate::logs::LogHandle;
use crate::state::StateHandle;

/// Entries in one message. A flush of more becomes several messages, so that no browser has to parse a megabyte at once.
const MESSAGE_ENTRIES: usize = 256;

#[derive(Debug)]
pub(super) struct Channels {
    pub(super) state: StateHandle,
    pub(super) logs: LogHandle,
    log_feed: Mutex<LogFeed>,
    alarms: Mutex<Ring>,
    events: Mutex<Ring>,
    series: RwLock<BTreeMap<u32, Arc<Series>>>,
}

/// The place of each channel up to which everybody who keeps up has been written to.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<Channel, u64>);

/// Log entries, encoded once for everybody.
#[derive(Debug)]
struct LogFeed {
    segments: Ring,
    /// Up to here entries are in segments.
    published: u64,
}

impl Channels {
    pub(super) fn new(state: StateHandle, logs: LogHandle, ring_bytes: usize) -> Self {
        Self {
            log_feed: Mutex::new(LogFeed {
                segments: Ring::new(ring_bytes, 0),
                published: 0,
            }),
            alarms: Mutex::new(Ring::new(ring_bytes, 0)),
            events: Mutex::new(Ring::new(ring_bytes, 0)),
            series: RwLock::default(),
            state,
            logs,
        }
    }

    pub(super) fn register(&self, info: EndpointInfo) {
        let mut all = self.series.write();
        match all.get(&info.id) {
            Some(known) if known.info() == info => {}
            Some(known) => known.rename(info),
            None => drop(all.insert(info.id, Arc::new(Series::new(info)))),
        }
    }

    pub(super) fn series(&self, id: u32) -> Option<Arc<Series>> {
        self.series.read().get(&id).cloned()
    }

    pub(super) fn endpoints(&self) -> Vec<EndpointInfo> {
        self.series.read().values().map(|series| series.info()).collect()
    }

    /// Adds a message to alarms or events. Such messages are rare and each is a segment.
    pub(super) fn publish_message(&self, channel: Channel, message: &ServerMessage) {
        let ring = match channel {
            Channel::Alarms => &self.alarms,
            _ => &self.events,
        };
        let bytes = frame::text(&message.to_json());
        let mut ring = ring.lock();
        let number = ring.cursor().covered + 1;
        ring.push(Segment {
            bytes,
            first: number,
            last: number,
        });
    }

    /// Puts what is new in logs and series into segments.
    pub(super) fn publish(&self) {
        self.log_feed.lock().publish(&self.logs);
        for series in self.series.read().values() {
            series.publish();
        }
    }

    /// What is new since the last call: enough for every client that keeps up.
    pub(super) fn news(&self, seen: &mut Seen) -> View {
        let mut view = View::new();
        let mut add = |channel, take: &dyn Fn(u64) -> RingView| {
            let place = seen.0.entry(channel).or_default();
            let ring = take(*place);
            // Pushed to, even if what was pushed is too large to be there: whoever lacks it has to hear of it.
            if ring.end() != *place {
                *place = ring.end();
                view.insert(channel, ring);
            }
        };
        for channel in [Channel::State, Channel::Logs, Channel::Alarms, Channel::Events] {
            add(channel, &|from| self.shared_view(channel, from, usize::MAX));
        }
        for (id, series) in self.series.read().iter() {
            add(Channel::Series(*id), &|from| series.view(from, usize::MAX));
        }
        view
    }

    /// What follows the positions of one client, up to so many bytes per channel.
    pub(super) fn view_for(&self, positions: &Positions, limit_bytes: usize) -> View {
        let mut view = View::new();
        for (channel, cursor) in positions.iter() {
            let ring = match channel {
                Channel::Series(id) => match self.series(id) {
                    Some(series) => series.view(cursor.segment, limit_bytes),
                    None => continue,
                },
                _ => self.shared_view(channel, cursor.segment, limit_bytes),
            };
            view.insert(channel, ring);
        }
        view
    }

    /// The newest log entries, and where they go on.
    pub(super) fn history(&self, count: u64) -> (Bytes, Cursor) {
        let mut feed = self.log_feed.lock();
        feed.publish(&self.logs);
        let mut range = feed.since(&self.logs, feed.published.saturating_sub(count));
        if let Some(missed) = range.missed.take() {
            // Nobody asked for a certain number here: what the ring no longer has is not missed.
            range.from_seq = missed.to_seq + 1;
        }
        (message_frame(&ServerMessage::LogsHistory(range)), feed.cursor())
    }

    /// The log entries after a number, as far as the ring has them, and where they go on.
    pub(super) fn replay(&self, since_seq: u64, wrap: fn(LogRange) -> ServerMessage) -> (Bytes, Cursor) {
        let mut feed = self.log_feed.lock();
        feed.publish(&self.logs);
        let range = feed.since(&self.logs, since_seq);
        (message_frame(&wrap(range)), feed.cursor())
    }

    /// The samples of a series after a number; none if there is no such series.
    pub(super) fn backlog(&self, id: u32, covered: u64) -> Option<Backlog> {
        Some(self.series(id)?.backlog(covered))
    }

    /// Where alarms or events go on.
    pub(super) fn cursor(&self, channel: Channel) -> Cursor {
        match channel {
            Channel::Alarms => self.alarms.lock().cursor(),
            _ => self.events.lock().cursor(),
        }
    }

    fn shared_view(&self, channel: Channel, from: u64, limit_bytes: usize) -> RingView {
        match channel {
            Channel::State => self.state.view(from, limit_bytes),
            Channel::Logs => self.log_feed.lock().segments.view(from, limit_bytes),
            Channel::Alarms => self.alarms.lock().view(from, limit_bytes),
            Channel::Events | Channel::Series(_) => self.events.lock().view(from, limit_bytes),
        }
    }
}

impl LogFeed {
    fn publish(&mut self, logs: &LogHandle) {
        let range = logs.since(self.published);
        if range.to_seq < range.from_seq {
            return;
        }
        let mut missed = range.missed;
        let mut from_seq = range.from_seq;
        let mut entries = range.entries.into_iter();
        loop {
            let entries: Vec<_> = entries.by_ref().take(MESSAGE_ENTRIES).collect();
            let Some(to_seq) = entries
                .last()
                .map(|entry| entry.seq)
                .or(missed.map(|span| span.to_seq))
            else {
                break;
            };
            let message = ServerMessage::LogsAppend(LogRange {
                from_seq,
                to_seq,
                missed: missed.take(),
                entries,
            });
            self.segments.push(Segment {
                bytes: message_frame(&message),
                first: from_seq,
                last: to_seq,
            });
            self.published = to_seq;
            from_seq = to_seq + 1;
        }
    }

    /// The entries after a number up to what is in segments: what was logged in the meantime comes as a segment of its own.
    fn since(&self, logs: &LogHandle, seq: u64) -> LogRange {
        let mut range = logs.since(seq.min(self.published));
        range.entries.retain(|entry| entry.seq <= self.published);
        range.to_seq = self.published;
        range.missed = range.missed.map(|span| LogSpan {
            to_seq: span.to_seq.min(self.published),
            ..span
        });
        range
    }

    fn cursor(&self) -> Cursor {
        Cursor {
            segment: self.segments.end(),
            covered: self.published,
        }
    }
}

fn message_frame(message: &ServerMessage) -> Bytes {
    frame::text(&message.to_json())
}
