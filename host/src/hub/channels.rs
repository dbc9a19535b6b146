//! The channels that clients follow: where their segments lie, and how a client joins one.
//!
//! Joining is always the same: under the channel's lock, close what is pending, take what the client has to have first, and remember the place
//! in the ring that follows. So nothing is skipped and nothing comes twice. The state does this for itself; logs, series, alarms and events
//! do it here.
//!
//! The order of locks: a client's, then one of this module's. Of these the list of series is held while one of its series is taken, and no other two
//! are ever held together. Whoever holds one of them never asks for a client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use autobench_core::frame;
use autobench_core::logs::{LogReader, Range};
use autobench_core::outbox::{Channel, Cursor, Positions, Ring, RingView, Segment, View};
use autobench_core::wire::ServerMessage;
use autobench_core::wire::encode::LogsFrame;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::blocks::Blocks;
use super::contexts::Packed;
use super::metrics::HubMetrics;
use super::series::{Backlog, EndpointInfo, Series};
use crate::bucket::Lines;
use crate::logs::LogHandle;
use crate::state::StateHandle;

/// Entries in one message. A flush of more becomes several messages, so that no browser has to parse a megabyte at once.
const MESSAGE_ENTRIES: usize = 256;
/// Bytes of entries in one message, but one entry however long. It is also what a client holds at most of what was made for it alone while its
/// socket takes nothing: the next piece is made when this one is out.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// Lines about clients that fell behind: so many at once, and the distance of those behind them.
const BEHIND_BURST: u32 = 20;
const BEHIND_DISTANCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Channels {
    pub(super) state: StateHandle,
    pub(super) logs: LogHandle,
    pub(super) metrics: HubMetrics,
    log_feed: Mutex<LogFeed>,
    alarms: Mutex<Ring>,
    events: Mutex<Ring>,
    pub(super) blocks: Blocks,
    commands: Mutex<Ring>,
    series: RwLock<BTreeMap<u32, Arc<Series>>>,
    /// What was compressed once for several clients.
    pub(super) packed: Packed,
    /// What the log is told of clients that fall behind: the metrics count each, and a bench with many slow ones shall not fill the log.
    behind: Mutex<Lines>,
}

/// The place of each channel up to which everybody who keeps up has been written to.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<Channel, u64>);

/// Where a client begins to read the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogStart {
    /// Behind this number.
    After(u64),
    /// At the newest entries, so many at most.
    Newest(u64),
}

/// What a client that reads the log where it is kept is told next.
#[derive(Debug)]
pub(super) struct LogPiece {
    /// None if there is nothing to say.
    pub(super) message: Option<Bytes>,
    /// Where it goes on with everybody else, if it can.
    pub(super) joins: Option<Cursor>,
    /// Entries were looked at, of which none has passed perhaps: there may be more.
    pub(super) has_looked: bool,
}

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
            blocks: Blocks::new(ring_bytes),
            commands: Mutex::new(Ring::new(ring_bytes, 0)),
            series: RwLock::default(),
            metrics: HubMetrics::default(),
            packed: Packed::default(),
            behind: Mutex::new(Lines::one_in(BEHIND_DISTANCE, BEHIND_BURST, Instant::now())),
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

    /// Says in the log that a client fell behind, while few do.
    pub(super) fn fell_behind(&self, client: u64, channel: Channel) {
        let unsaid = self.behind.lock().say(Instant::now());
        if let Some(unsaid) = unsaid {
            tracing::debug!(client, ?channel, unsaid, "fell behind");
        }
    }

    /// Adds a message to alarms, events or commands. Such messages are rare and each is a segment. Gives the segment's number and its frame.
    pub(super) fn publish_message(&self, channel: Channel, message: &ServerMessage) -> (u64, Bytes) {
        let ring = match channel {
            Channel::Alarms => &self.alarms,
            Channel::Commands => &self.commands,
            _ => &self.events,
        };
        let bytes = frame::text(&message.to_json());
        let mut ring = ring.lock();
        let Cursor { segment, covered } = ring.cursor();
        ring.push(Segment {
            bytes: bytes.clone(),
            first: covered + 1,
            last: covered + 1,
        });
        (segment, bytes)
    }

    /// Puts what is new in logs and series into segments.
    pub(super) fn publish(&self) {
        self.log_feed.lock().publish(&self.logs, &self.metrics);
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
        for channel in [
            Channel::State,
            Channel::Logs,
            Channel::Alarms,
            Channel::Events,
            Channel::Blocks,
            Channel::Commands,
        ] {
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

    /// Lets a client begin to read the log. The first piece is a `logs.history`, and there is one even if it is empty.
    pub(super) fn begin_logs(&self, reader: &mut LogReader, start: LogStart) -> LogPiece {
        let logs = self.logs.metadata();
        let newest = logs.next_seq - 1;
        let seq = match start {
            LogStart::After(seq) => seq.min(newest),
            LogStart::Newest(count) => newest.saturating_sub(count.min(logs.size)),
        };
        reader.restart(seq);
        let (mut range, joins) = self.entries(reader, seq);
        if matches!(start, LogStart::Newest(_))
            && let Some(missed) = range.missed.take()
        {
            // Nobody asked for a certain number here: what the ring no longer has is not missed.
            range.from_seq = missed.to_seq + 1;
            reader.restart(missed.to_seq);
        }
        piece(reader, &range, joins)
    }

    /// The next piece for a client that reads the log where it is kept. Looks at a bounded number of entries.
    pub(super) fn read_logs(&self, reader: &mut LogReader) -> LogPiece {
        // Nothing while its history is still on its way.
        let Some(seq) = reader.next() else {
            return LogPiece {
                message: None,
                joins: None,
                has_looked: false,
            };
        };
        let (range, joins) = self.entries(reader, seq);
        piece(reader, &range, joins)
    }

    /// The log entries after a number, a piece of them, and where they go on in the segments, if one begins there.
    pub(super) fn log_piece(&self, since_seq: u64) -> (Range, Option<Cursor>) {
        let mut feed = self.log_feed.lock();
        feed.publish(&self.logs, &self.metrics);
        let range = feed.since(&self.logs, since_seq);
        let joins = feed.cursor_after(range.to_seq);
        (range, joins)
    }

    /// The number behind which the newest `count` log entries are, or as many of them as there are.
    pub(super) fn log_seq_before(&self, count: u64) -> u64 {
        let logs = self.logs.metadata();
        (logs.next_seq - 1).saturating_sub(count.min(logs.size))
    }

    fn entries(&self, reader: &LogReader, seq: u64) -> (Range, Option<Cursor>) {
        if reader.is_open() {
            return self.log_piece(seq);
        }
        (self.logs.piece(seq, MESSAGE_ENTRIES, PIECE_BYTES), None)
    }

    /// The samples of a series, after a number if there is one, a piece of them; none if there is no such series.
    pub(super) fn backlog(&self, id: u32, covered: Option<u64>) -> Option<Backlog> {
        Some(self.series(id)?.backlog(covered))
    }

    /// Where alarms, events or commands go on.
    pub(super) fn cursor(&self, channel: Channel) -> Cursor {
        match channel {
            Channel::Alarms => self.alarms.lock().cursor(),
            Channel::Blocks => self.blocks.cursor(),
            Channel::Commands => self.commands.lock().cursor(),
            _ => self.events.lock().cursor(),
        }
    }

    fn shared_view(&self, channel: Channel, from: u64, limit_bytes: usize) -> RingView {
        match channel {
            Channel::State => self.state.view(from, limit_bytes),
            Channel::Logs => self.log_feed.lock().segments.view(from, limit_bytes),
            Channel::Alarms => self.alarms.lock().view(from, limit_bytes),
            Channel::Blocks => self.blocks.view(from, limit_bytes),
            Channel::Commands => self.commands.lock().view(from, limit_bytes),
            Channel::Events | Channel::Series(_) => self.events.lock().view(from, limit_bytes),
        }
    }
}

impl LogFeed {
    fn publish(&mut self, logs: &LogHandle, metrics: &HubMetrics) {
        // What is logged from here on is for the next time: a writer without pause must not hold whoever publishes.
        let last = logs.next_seq() - 1;
        while self.published < last {
            let range = logs.piece(self.published, MESSAGE_ENTRIES, PIECE_BYTES);
            if range.is_empty() {
                return;
            }
            let bytes = range_frame(&range, LogsFrame::Append);
            metrics.log_bytes.add(bytes.len() as u64);
            self.segments.push(Segment {
                bytes,
                first: range.from_seq,
                last: range.to_seq,
            });
            self.published = range.to_seq;
        }
    }

    /// The entries after a number up to what is in segments, a piece of them: what was logged in the meantime comes as a segment of its own.
    fn since(&self, logs: &LogHandle, seq: u64) -> Range {
        let mut range = logs.piece(seq.min(self.published), usize::MAX, PIECE_BYTES);
        range.cut_to(self.published);
        range
    }

    /// Where somebody goes on who has everything up to this number, if a segment begins there.
    fn cursor_after(&self, seq: u64) -> Option<Cursor> {
        if seq == self.published {
            return Some(self.cursor());
        }
        self.segments.cursor_after(seq)
    }

    fn cursor(&self) -> Cursor {
        Cursor {
            segment: self.segments.end(),
            covered: self.published,
        }
    }
}

fn piece(reader: &mut LogReader, range: &Range, joins: Option<Cursor>) -> LogPiece {
    let has_news = !range.is_empty() || reader.is_owed();
    let room_bytes = if reader.is_open() { range_bytes(range) } else { 256 };
    let message = has_news
        .then(|| frame::build_text(room_bytes, |out| reader.take(range, out).then_some(()).ok_or(())).ok())
        .flatten();
    LogPiece {
        message,
        joins,
        has_looked: !range.is_empty(),
    }
}

fn range_bytes(range: &Range) -> usize {
    let entries = range.entries.iter();
    entries.map(|entry| entry.json().len() + 1).sum::<usize>() + 128
}

/// Entries as one frame, from the ring's own bytes.
pub(super) fn range_frame(range: &Range, kind: LogsFrame) -> Bytes {
    let built = frame::build_text(range_bytes(range), |out| {
        range.write(out, kind);
        Ok::<(), std::convert::Infallible>(())
    });
    match built {
        Ok(frame) => frame,
        Err(never) => match never {},
    }
}
