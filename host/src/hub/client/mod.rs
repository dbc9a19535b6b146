//! What one client is owed, and how it is written.
//!
//! ```text
//!            hub's pass finds it caught up              pass: would block, or took a part
//!   shared ------------------------------> shared   shared ---------------------------> own writer
//!   own writer: everything is out -> shared         anything personal to send -> own writer
//! ```
//!
//! While a client keeps up the hub's one loop writes to it. From the moment that its socket would block, or that something personal waits,
//! it has its own writer (its own task) until it has caught up. Both hold the lock of [`Out`] while they write, so frames never interleave,
//! and a segment that was sent in part is finished before anything else.
//!
//! A client for which messages are compressed is written the segments of a shared context while it is a member of one; its positions are the
//! plain ones all the same, and whoever moves them need not think of it (`autobench_core::deflate` says why).
//!
//! What a client is given beside the channels is made without that lock: the hub's loop passes by meanwhile, and goes on with the next client. The
//! log and the history of a series come in pieces, of which the next is made when the last is out; so a client whose socket takes nothing holds one
//! piece, and references into what everybody shares.
//!
//! Files: `out` what is behind that lock, `write` who writes when, `stages` those of commands, `shown` what others are told of a client.

mod out;
mod shown;
mod stages;
mod write;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use autobench_core::commands::ClientId;
use autobench_core::deflate::{Compression, compress_apart};
use autobench_core::frame::{self, CloseCode};
use autobench_core::logs::{LogFilter, LogReader};
use autobench_core::outbox::{Channel, Cursor, Positions};
use autobench_core::wire::ServerMessage;
use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::channels::{Channels, LogStart};
use super::now_ms;
use super::personal::{Full, Item, Personal};
use crate::access::{Actor, Guard};
use crate::tcp::unacknowledged_bytes;
use out::{Out, Phase};
use shown::About;
use stages::Stages;

pub(super) use shown::subscription;
pub(super) use stages::{At, Stage};
pub(super) use write::Pumped;

#[derive(Debug)]
pub(super) struct Client {
    pub(super) number: u64,
    pub(super) peer: SocketAddr,
    pub(super) stream: TcpStream,
    compression: Option<Compression>,
    out: Mutex<Out>,
    /// Taken after `out`, never before it.
    stages: Mutex<Stages>,
    /// When it came, in milliseconds since 1970.
    since_ms: u64,
    about: Mutex<About>,
    /// Its own task has something to do: write, close, or end.
    pub(super) wake: Notify,
}

/// What a client is owed first, behind `welcome`.
#[derive(Debug)]
pub(super) struct Opening {
    /// A client that was away: where it goes on in the state, and the last log entry that it has. Everybody else gets a snapshot.
    pub(super) resumed: Option<(Cursor, u64)>,
    /// Log entries for those who have none.
    pub(super) history_entries: u64,
    /// Alarms and events, if it has no message to ask for them.
    pub(super) begins_with: Vec<Channel>,
    /// Whether it waits for `connected`.
    pub(super) says_connected: bool,
}

/// When a client is asked whether it is there, and when it is given up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) heartbeat_interval: Duration,
    pub(super) heartbeat_timeout: Duration,
    pub(super) stall_timeout: Duration,
    pub(super) close_timeout: Duration,
    pub(super) auth_timeout: Duration,
}

impl Client {
    /// A client that gets nothing but answers.
    pub(super) fn bare(number: u64, peer: SocketAddr, stream: TcpStream, actor: Option<Actor>) -> Self {
        Self::owed(number, peer, stream, actor, Personal::default())
    }

    /// A client that is owed what everybody gets first, once it is known who it is.
    pub(super) fn new(
        number: u64,
        peer: SocketAddr,
        stream: TcpStream,
        welcome: &ServerMessage,
        actor: Option<Actor>,
        opening: Opening,
        channels: &Channels,
    ) -> Self {
        let mut personal = Personal::default();
        let _ = personal.message(welcome);
        let is_known = actor.is_some();
        let mut client = Self::owed(number, peer, stream, actor, personal);
        let out = client.out.get_mut();
        if is_known {
            // A new queue has room.
            let _ = out.begin(opening, number, channels);
        } else {
            out.opening = Some(Box::new(opening));
        }
        client
    }

    fn owed(
        number: u64,
        peer: SocketAddr,
        stream: TcpStream,
        actor: Option<Actor>,
        personal: Personal,
    ) -> Self {
        let now = Instant::now();
        Self {
            number,
            peer,
            stream,
            compression: None,
            since_ms: now_ms(),
            about: Mutex::default(),
            stages: Mutex::default(),
            out: Mutex::new(Out {
                opening: None,
                wanted: SmallVec::new(),
                positions: Positions::new(),
                membership: None,
                log: None,
                histories: Vec::new(),
                personal,
                commands_from: 0,
                rest: Bytes::new(),
                has_own_writer: true,
                awaits_flush: None,
                was_passed: false,
                is_narrow: false,
                stall: None,
                heard_at: now,
                pinged_at: now,
                phase: Phase::Open,
                actor,
                since: now,
            }),
            wake: Notify::new(),
        }
    }

    /// The same client, for whom messages are compressed like this.
    pub(super) fn compressed(mut self, compression: Option<Compression>) -> Self {
        self.compression = compression;
        self
    }

    /// Its name on the wire.
    pub(super) fn id(&self) -> String {
        id(self.number)
    }

    /// By which it holds what its commands begin.
    pub(super) fn holder(&self) -> ClientId {
        ClientId(self.number)
    }

    /// Who it is, if it is known.
    pub(super) fn actor(&self) -> Option<Actor> {
        self.out.lock().actor.clone()
    }

    /// It is known who the client is. The first time it is owed what everybody gets first.
    pub(super) fn admit(&self, actor: Actor, channels: &Channels) -> Result<(), Full> {
        let mut out = self.out.lock();
        if out.phase != Phase::Open || out.actor.replace(actor).is_some() {
            return Ok(());
        }
        out.has_own_writer = true;
        match out.opening.take() {
            Some(opening) => out.begin(*opening, self.number, channels),
            None => Ok(()),
        }
    }

    /// Adds something for this client alone. The caller sees to it that the client's task pumps.
    pub(super) fn push(&self, item: Item) -> Result<(), Full> {
        let mut out = self.out.lock();
        if out.phase != Phase::Open {
            return Ok(());
        }
        out.has_own_writer = true;
        out.personal.push(item)
    }

    /// A frame for this client alone, compressed if it may be and gets smaller by it.
    pub(super) fn packed(&self, frame: Bytes) -> Bytes {
        self.compression
            .and_then(|compression| compress_apart(compression, std::slice::from_ref(&frame)))
            .unwrap_or(frame)
    }

    /// Adds a message for this client alone.
    pub(super) fn say(&self, message: &ServerMessage) -> Result<(), Full> {
        self.push(Item::Frame(frame::text(&message.to_json())))
    }

    /// Adds a stage of a command that the client follows by its id, or asked for. Never waits for the client.
    pub(super) fn tell_stage(&self, id: &str, stage: Stage) {
        self.stages.lock().push(id, stage);
        self.wake.notify_one();
    }

    /// Keeps the hub's loop away until the client's task has pumped: what is said to it until then comes before what the loop would write.
    pub(super) fn hold(&self) {
        self.out.lock().has_own_writer = true;
    }

    /// Begins a channel. State and logs begin behind their snapshot and history, series behind their backlog; alarms and events now.
    pub(super) fn want(&self, channel: Channel, channels: &Channels) -> Result<(), Full> {
        let mut out = self.out.lock();
        if out.phase != Phase::Open || out.wants(channel) {
            return Ok(());
        }
        out.wanted.push(channel);
        out.has_own_writer = true;
        match channel {
            Channel::State => out.personal.push(Item::Snapshot),
            // Nothing was missed: the client did not want it. From here on it gets everything.
            Channel::Logs => out.personal.push(Item::Logs(LogStart::Newest(0))),
            Channel::Series(id) => {
                out.histories.push((id, None));
                Ok(())
            }
            Channel::Blocks => out.personal.push(Item::ExecutionState(None)),
            Channel::Alarms | Channel::Events | Channel::Commands => {
                out.begin_now(channel, channels);
                Ok(())
            }
        }
    }

    /// Switches log entries on, and from now on gives only those that pass.
    pub(super) fn filter_logs(&self, filter: LogFilter) -> Result<(), Full> {
        let mut out = self.out.lock();
        if out.phase != Phase::Open {
            return Ok(());
        }
        out.has_own_writer = true;
        let was_on = out.wants(Channel::Logs);
        if !was_on {
            out.wanted.push(Channel::Logs);
            // Nothing was missed: the client did not want it. An empty history says where it begins.
            out.personal.push(Item::Logs(LogStart::Newest(0)))?;
        }
        if let Some(log) = &mut out.log {
            log.refilter(filter);
        } else if !filter.is_open() {
            let place = out.positions.get(Channel::Logs);
            out.positions.remove(Channel::Logs);
            out.log = Some(Box::new(match place {
                Some(cursor) => LogReader::after(filter, cursor.covered),
                None => LogReader::waiting(filter),
            }));
        }
        Ok(())
    }

    /// Ends a channel.
    pub(super) fn unwant(&self, channel: Channel) {
        let mut out = self.out.lock();
        match channel {
            Channel::Logs => out.log = None,
            Channel::Series(id) => out.histories.retain(|(known, _)| *known != id),
            Channel::Commands => {
                if let Some(told) = out.told_of_commands() {
                    self.stages.lock().leave_ring(told);
                    out.has_own_writer = true;
                }
            }
            Channel::State | Channel::Alarms | Channel::Events | Channel::Blocks => {}
        }
        out.wanted.retain(|wanted| *wanted != channel);
        out.positions.remove(channel);
    }

    pub(super) fn wants(&self, channel: Channel) -> bool {
        self.out.lock().wants(channel)
    }

    /// Those of some channels that it does not want yet.
    pub(super) fn not_wanted(&self, mut channels: SmallVec<[Channel; 1]>) -> SmallVec<[Channel; 1]> {
        let out = self.out.lock();
        channels.retain(|channel| !out.wants(*channel));
        channels
    }

    /// The client said something, or answered a ping.
    pub(super) fn heard(&self) {
        self.out.lock().heard_at = Instant::now();
    }

    /// Whether so much waits for this client alone that it should be written before more is asked.
    pub(super) fn is_crowded(&self) -> bool {
        self.out.lock().personal.is_crowded()
    }

    /// Whether it is served: neither told goodbye nor given up.
    pub(super) fn is_open(&self) -> bool {
        self.out.lock().phase == Phase::Open
    }

    /// Whether something for this client alone is not out yet.
    pub(super) fn is_owed(&self) -> bool {
        let out = self.out.lock();
        !out.rest.is_empty() || !out.personal.is_empty()
    }

    /// Queues a close frame behind the frame that is under way; everything else that waited is dropped.
    pub(super) fn close(&self, code: CloseCode, reason: &str) {
        self.end(code, None, frame::close(code, reason));
    }

    /// The same, with one message before it.
    pub(super) fn close_with(&self, code: CloseCode, reason: &str, last: &ServerMessage) {
        self.end(code, Some(last), frame::close(code, reason));
    }

    /// Answers the client's close frame with its own code.
    pub(super) fn answer_close(&self, code: Option<u16>) {
        self.end(CloseCode::Normal, None, frame::close_answer(code));
    }

    fn end(&self, code: CloseCode, last: Option<&ServerMessage>, frame: Bytes) {
        let mut out = self.out.lock();
        if out.phase != Phase::Open {
            return;
        }
        out.phase = Phase::Closing(code, Instant::now());
        out.positions = Positions::new();
        out.personal.clear();
        out.log = None;
        out.histories.clear();
        self.stages.lock().clear();
        // An emptied queue has room for two.
        if let Some(message) = last {
            let _ = out.personal.message(message);
        }
        let _ = out.personal.push(Item::Frame(frame));
        out.has_own_writer = true;
        self.wake.notify_one();
    }

    /// Asks after a silent client, and gives up one that is gone or takes nothing.
    pub(super) fn tend(&self, now: Instant, patience: Patience, guard: &Guard) {
        let mut out = self.out.lock();
        match out.phase {
            Phase::Open => {}
            Phase::Closing(code, since) if now.saturating_duration_since(since) >= patience.close_timeout => {
                out.phase = Phase::Aborted(code);
                return self.hand_over(&mut out);
            }
            Phase::Closing(..) | Phase::Aborted(_) => return,
        }
        let unwelcome = match &out.actor {
            None if now.saturating_duration_since(out.since) >= patience.auth_timeout => {
                Some("no token came in time")
            }
            Some(actor) => guard.why_over(actor),
            None => None,
        };
        if let Some(reason) = unwelcome {
            drop(out);
            return self.close(CloseCode::Unauthorized, reason);
        }
        let silence = now.saturating_duration_since(out.heard_at);
        if let Some(stall) = &mut out.stall {
            stall.look(now, unacknowledged_bytes(&self.stream));
        }
        if out
            .stall
            .as_ref()
            .is_some_and(|stall| now.saturating_duration_since(stall.since) >= patience.stall_timeout)
        {
            out.phase = Phase::Aborted(CloseCode::Stalled);
            self.hand_over(&mut out);
        } else if silence >= patience.heartbeat_timeout {
            drop(out);
            self.close(CloseCode::Silent, "nothing was heard of this client for too long");
        } else if now.saturating_duration_since(out.heard_at.max(out.pinged_at))
            >= patience.heartbeat_interval
        {
            out.pinged_at = now;
            // With a full queue the client has other worries than a ping.
            let _ = out.personal.push(Item::Frame(frame::ping(b"")));
            self.hand_over(&mut out);
        }
    }

    fn hand_over(&self, out: &mut Out) {
        out.has_own_writer = true;
        self.wake.notify_one();
    }
}

/// The name of a client on the wire.
pub(super) fn id(number: u64) -> String {
    format!("c-{number}")
}
