//! What a listener over server-sent events is sent: the same messages as on the socket, from the same rings.
//!
//! A [`Feed`] is a few positions in the rings, as a socket's client is. Whoever writes the answer asks it for the next [`Part`] when the connection
//! takes more, so a slow listener holds nothing but its positions; one that fell off a ring gets a snapshot or is told what it missed. A connection
//! that takes nothing is cut by whoever owns it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use autobench_core::outbox::{Channel, Cursor, Next, Positions, Resume};
use autobench_core::wire::encode::LogsFrame;
use autobench_core::wire::{ClientEntry, ClientLag, ErrorCode, ErrorMessage, ServerMessage, iso8601};
use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::channels::range_frame;
use super::client::{id, subscription};
use super::metrics::Lag;
use super::series::GoesOn;
use super::{Hub, Seat, Shared, now_ms};
use crate::access::{Actor, Guard};

/// How much of a channel is looked at in one go.
const GO_BYTES: usize = 256 << 10;

/// Distance of the signs of life while nothing happens: proxies give up connections that are silent for a minute.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What somebody wants to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRequest {
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// The address that was asked for.
    pub page: String,
    /// The channels, each once.
    pub channels: Vec<Channel>,
    /// Where it was before.
    pub resume: Option<Resume>,
}

/// The next thing for a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A message.
    Message {
        /// Its type, which names the event.
        name: &'static str,
        /// The message as JSON, which has no line break in it.
        json: Bytes,
        /// Where the listener is when it has this; 0 stands for what it has nothing of. None: where it was before.
        place: Option<Resume>,
    },
    /// Nothing has happened.
    Heartbeat,
}

/// What one listener is owed. Dropping it gives its seat back.
#[derive(Debug)]
pub struct Feed {
    shared: Arc<Shared>,
    listener: Arc<Listener>,
    _seat: Seat,
    positions: Positions,
    place: Resume,
    /// What comes before anything of the rings.
    first: VecDeque<First>,
    /// Parts of a go that are not sent yet: references into the rings' segments, at most [`GO_BYTES`] per channel.
    ready: VecDeque<Part>,
    news: watch::Receiver<u64>,
    over: watch::Receiver<()>,
    series: Vec<u32>,
}

/// A listener as others see it: who it is and how far it got.
#[derive(Debug)]
pub(super) struct Listener {
    number: u64,
    peer: SocketAddr,
    page: String,
    actor: Actor,
    /// Its token or its session is over.
    ended: Notify,
    channels: Vec<Channel>,
    since_ms: u64,
    reached: Mutex<Reached>,
}

#[derive(Debug, Default)]
struct Reached {
    version: Option<u64>,
    log_seq: Option<u64>,
    waiting: u64,
    /// When the last part was given out, while the next is not asked for.
    given_at: Option<Instant>,
}

#[derive(Debug)]
enum First {
    Welcome(bool),
    Snapshot,
    History,
    /// Entries after this number.
    Logs(u64),
    /// Samples of a series after this number.
    Backlog(u32, Option<u64>),
    /// A channel of which something is gone.
    Lost(Channel),
}

impl Hub {
    /// A listener begins. None if one of the series is not there.
    pub fn listen(&self, seat: Seat, actor: Actor, request: &FeedRequest) -> Option<Feed> {
        let shared = Arc::clone(&self.shared);
        let channels = &shared.channels;
        let boot_id = channels.state.boot_id();
        let follows = |channel| request.channels.contains(&channel);
        let resume = request.resume.as_ref().filter(|place| place.boot_id == boot_id);
        let state_cursor = resume
            .filter(|_| follows(Channel::State))
            .and_then(|place| self.resume(place));
        // 0 is the place of somebody who has no entry. A number from the future is of no use: the log begins anew then.
        let log_seq = resume
            .map(|place| place.log_seq)
            .filter(|seq| follows(Channel::Logs) && (1..channels.logs.next_seq()).contains(seq));
        let is_resumed = match follows(Channel::State) {
            true => state_cursor.is_some(),
            false => log_seq.is_some(),
        };
        let listener = Listener {
            number: shared.next_number.fetch_add(1, Ordering::Relaxed),
            peer: request.peer,
            page: request.page.clone(),
            actor,
            ended: Notify::new(),
            channels: request.channels.clone(),
            since_ms: now_ms(),
            reached: Mutex::default(),
        };
        let mut feed = Feed {
            listener: Arc::new(listener),
            _seat: seat,
            positions: Positions::new(),
            // What it has already: the first thing that it is sent must not move it back.
            place: Resume {
                boot_id: boot_id.to_owned(),
                version: state_cursor.map_or(0, |cursor| cursor.covered),
                log_seq: log_seq.unwrap_or(0),
            },
            first: VecDeque::new(),
            ready: VecDeque::new(),
            news: shared.passed.subscribe(),
            over: shared.over.clone(),
            series: Vec::new(),
            shared: Arc::clone(&shared),
        };
        for channel in &request.channels {
            match *channel {
                Channel::State => match state_cursor {
                    Some(cursor) => feed.follow(Channel::State, cursor),
                    None => feed.first.push_back(First::Snapshot),
                },
                Channel::Logs => feed.first.push_back(log_seq.map_or(First::History, First::Logs)),
                Channel::Series(id) => {
                    let series = channels.series(id)?;
                    series.join();
                    feed.series.push(id);
                    feed.first.push_back(First::Backlog(id, None));
                }
                Channel::Alarms | Channel::Events | Channel::Blocks | Channel::Commands => {
                    feed.follow(*channel, channels.cursor(*channel));
                }
            }
        }
        feed.first.push_front(First::Welcome(is_resumed));
        let listener = Arc::clone(&feed.listener);
        shared.change_listeners(|listeners| {
            listeners.insert(listener.number, listener);
        });
        Some(feed)
    }
}

impl Feed {
    /// The next part, when there is one. None when it is over: the daemon stops and the listener has everything up to that, or it is no longer
    /// let in.
    pub async fn next(&mut self) -> Option<Part> {
        self.note(None);
        let part = self.wait_for_next().await;
        self.note(Some(Instant::now()));
        part
    }

    async fn wait_for_next(&mut self) -> Option<Part> {
        let heartbeat_at = tokio::time::Instant::now() + HEARTBEAT;
        loop {
            if !self.shared.config.guard.still_knows(&self.listener.actor) {
                return None;
            }
            if let Some(part) = self.ready.pop_front() {
                return Some(part);
            }
            if let Some(first) = self.first.pop_front() {
                self.make(first);
                continue;
            }
            // Before the look: what comes in between is seen by it or wakes the wait below; and nothing comes behind the last pass.
            self.news.mark_unchanged();
            let is_over = self.over.has_changed().is_err();
            if self.look() {
                continue;
            }
            if is_over {
                return None;
            }
            self.note(None);
            tokio::select! {
                changed = self.news.changed() => changed.ok()?,
                // Another look, which is the last one.
                _ = self.over.changed() => {}
                () = tokio::time::sleep_until(heartbeat_at) => return Some(Part::Heartbeat),
                // Another look at whether it is still let in.
                () = self.listener.ended.notified() => {}
            }
        }
    }

    /// Lets others see how far the listener got.
    fn note(&self, given_at: Option<Instant>) {
        let covered = |channel| self.positions.get(channel).map(|cursor| cursor.covered);
        *self.listener.reached.lock() = Reached {
            version: covered(Channel::State),
            log_seq: covered(Channel::Logs),
            waiting: self.ready.len() as u64,
            given_at,
        };
    }

    /// Takes what the rings have. False if that is nothing.
    fn look(&mut self) -> bool {
        let view = self.shared.channels.view_for(&self.positions, GO_BYTES);
        let batch = match view.next(&self.positions) {
            Next::UpToDate => return false,
            Next::Write(batch) => batch,
            Next::Snapshot => {
                self.first.extend([First::Lost(Channel::State), First::Snapshot]);
                return true;
            }
            Next::Missed(channel, _) => {
                let covered = self.positions.get(channel).map_or(0, |cursor| cursor.covered);
                self.first.push_back(match channel {
                    Channel::State => First::Snapshot,
                    Channel::Logs => First::Logs(covered),
                    Channel::Series(id) => First::Backlog(id, Some(covered)),
                    Channel::Alarms | Channel::Events | Channel::Blocks | Channel::Commands => {
                        First::Lost(channel)
                    }
                });
                return true;
            }
        };
        for (channel, segment) in batch.parts() {
            let name = match channel {
                Channel::State => "state.patch",
                Channel::Logs => "logs.append",
                Channel::Alarms => "alarm",
                Channel::Events => "event",
                Channel::Blocks => "block",
                Channel::Commands => "command_status",
                Channel::Series(_) => "telemetry",
            };
            let mut payloads = payloads(&segment.bytes).peekable();
            while let Some(json) = payloads.next() {
                if payloads.peek().is_none() {
                    reach(&mut self.place, channel, segment.last);
                }
                self.ready.push_back(Part::Message {
                    name,
                    json,
                    place: Some(self.place.clone()),
                });
            }
        }
        self.positions = batch.complete().clone();
        true
    }

    fn make(&mut self, first: First) {
        let channels = &self.shared.channels;
        let (name, frame, place) = match first {
            First::Welcome(is_resumed) => {
                let welcome = self.shared.welcome(self.listener.number, is_resumed, false);
                return self.say("welcome", &welcome, None);
            }
            First::Snapshot => {
                let snapshot = channels.state.beginning();
                let place = Some((Channel::State, snapshot.cursor));
                ("state.snapshot", snapshot.frame, place)
            }
            First::History => {
                let since_seq = channels.log_seq_before(self.shared.config.history_entries);
                let (mut range, joins) = channels.log_piece(since_seq);
                if let Some(missed) = range.missed.take() {
                    // Nobody asked for a certain number here.
                    range.from_seq = missed.to_seq + 1;
                }
                let frame = range_frame(&range, LogsFrame::History);
                ("logs.history", frame, self.logs_go_on(range.to_seq, joins))
            }
            First::Logs(seq) => {
                let (range, joins) = channels.log_piece(seq);
                let frame = range_frame(&range, LogsFrame::Append);
                ("logs.append", frame, self.logs_go_on(range.to_seq, joins))
            }
            First::Backlog(id, covered) => {
                let Some(backlog) = channels.backlog(id, covered) else {
                    return;
                };
                let frame = backlog.frame.unwrap_or_default();
                let place = match backlog.goes_on {
                    GoesOn::At(cursor) => Some((Channel::Series(id), cursor)),
                    GoesOn::After(number) => {
                        self.first.push_front(First::Backlog(id, Some(number)));
                        None
                    }
                };
                ("telemetry", frame, place)
            }
            First::Lost(channel) => {
                let what = match channel {
                    Channel::State => "patches were dropped; a snapshot follows",
                    _ => "messages were dropped",
                };
                if channel != Channel::State {
                    let cursor = channels.cursor(channel);
                    self.positions.set(channel, cursor);
                }
                let message = ServerMessage::Error(ErrorMessage {
                    code: ErrorCode::Missed,
                    message: format!("this listener fell behind: {what}"),
                    id: None,
                });
                return self.say("missed", &message, Some(self.place.clone()));
            }
        };
        if let Some((channel, cursor)) = place {
            self.follow(channel, cursor);
        }
        for json in payloads(&frame) {
            self.ready.push_back(Part::Message {
                name,
                json,
                place: Some(self.place.clone()),
            });
        }
    }

    /// Where the log goes on behind a piece of it; nowhere yet while the next piece comes first.
    fn logs_go_on(&mut self, to_seq: u64, joins: Option<Cursor>) -> Option<(Channel, Cursor)> {
        if joins.is_none() {
            self.first.push_front(First::Logs(to_seq));
            reach(&mut self.place, Channel::Logs, to_seq);
        }
        joins.map(|cursor| (Channel::Logs, cursor))
    }

    fn say(&mut self, name: &'static str, message: &ServerMessage, place: Option<Resume>) {
        self.ready.push_back(Part::Message {
            name,
            json: message.to_json().into(),
            place,
        });
    }

    fn follow(&mut self, channel: Channel, cursor: Cursor) {
        self.positions.set(channel, cursor);
        reach(&mut self.place, channel, cursor.covered);
    }
}

impl Listener {
    /// Ends one that is no longer let in. It keeps the session of one that is: an open stream uses it.
    pub(super) fn tend(&self, guard: &Guard) {
        if !guard.still_knows(&self.actor) {
            self.ended.notify_one();
        }
    }

    /// What an engineer is shown of it.
    pub(super) fn entry(&self, state_version: u64, newest_seq: u64) -> ClientEntry {
        let reached = self.reached.lock();
        let stalled = reached.given_at.map(|since| since.elapsed().as_millis());
        ClientEntry {
            client_id: id(self.number),
            peer: self.peer.to_string(),
            name: String::new(),
            page: self.page.clone(),
            since: iso8601(self.since_ms),
            subscriptions: self.channels.iter().copied().map(subscription).collect(),
            filter: None,
            lag: ClientLag {
                versions: reached
                    .version
                    .map(|version| state_version.saturating_sub(version)),
                log_entries: reached.log_seq.map(|seq| newest_seq.saturating_sub(seq)),
                waiting: reached.waiting,
                // Between one part and the next there is always a moment.
                stalled_ms: stalled
                    .filter(|ms| *ms > 0)
                    .map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
            },
            health: None,
        }
    }

    /// Adds how far this listener is behind `version`.
    pub(super) fn add_lag(&self, lag: &mut Lag, version: u64, now: Instant) {
        let reached = self.reached.lock();
        lag.behind += u64::from(reached.waiting > 0);
        if let Some(covered) = reached.version {
            lag.missing(version.saturating_sub(covered));
        }
        if let Some(since) = reached.given_at {
            lag.longest_stall = lag.longest_stall.max(now.saturating_duration_since(since));
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let number = self.listener.number;
        self.shared.change_listeners(|listeners| {
            listeners.remove(&number);
        });
        for id in &self.series {
            if let Some(series) = self.shared.channels.series(*id) {
                series.leave();
            }
        }
    }
}

/// The place of somebody who has this much of a channel.
fn reach(place: &mut Resume, channel: Channel, covered: u64) {
    match channel {
        Channel::State => place.version = covered,
        Channel::Logs => place.log_seq = covered,
        Channel::Alarms | Channel::Events | Channel::Blocks | Channel::Commands | Channel::Series(_) => {}
    }
}

/// The texts in a run of frames of ours: unmasked, and each message in one frame.
fn payloads(frames: &Bytes) -> impl Iterator<Item = Bytes> {
    let mut rest = frames.clone();
    std::iter::from_fn(move || {
        if rest.len() < 2 {
            return None;
        }
        rest.advance(1);
        let length = match rest.get_u8() & 0x7f {
            126 if rest.len() >= 2 => u64::from(rest.get_u16()),
            127 if rest.len() >= 8 => rest.get_u64(),
            short => u64::from(short),
        };
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= rest.len())?;
        Some(rest.split_to(length))
    })
}

#[cfg(test)]
mod tests {
    use autobench_core::frame;

    use super::*;

    #[test]
    fn the_texts_of_frames_come_out_as_they_went_in() {
        let texts = ["", "a", &"b".repeat(125), &"c".repeat(126), &"d".repeat(70_000)];
        let mut frames = Vec::new();
        for text in texts {
            frames.extend_from_slice(&frame::text(text.as_bytes()));
        }
        let read: Vec<_> = payloads(&frames.into()).collect();
        assert_eq!(read, texts.map(|text| Bytes::copy_from_slice(text.as_bytes())));
        assert_eq!(payloads(&Bytes::from_static(b"\x81\x7f")).count(), 0);
    }
}
