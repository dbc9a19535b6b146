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
//! plain ones all the same, and whoever moves them need not think of it (`autobench_core::deflate` says why). What its own writer compresses for
//! it alone, it compresses without the lock.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use autobench_core::deflate::{
    Coded, Compression, Follow, Membership, Pass, Reached, Run, Turn, compress_apart,
};
use autobench_core::frame::{self, CloseCode};
use autobench_core::logs::{FilteredLogs, LogFilter};
use autobench_core::outbox::{Batch, Channel, Cursor, Next, Positions, View};
use autobench_core::wire::encode::LogsFrame;
use autobench_core::wire::{
    ClientEntry, ClientLag, Connected, ErrorCode, ErrorMessage, HardwareHealth, ServerMessage, iso8601,
};
use bytes::{Buf, Bytes};
use parking_lot::{Mutex, MutexGuard};
use rustix::net::SendFlags;
use smallvec::SmallVec;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::channels::Channels;
use super::metrics::{HubMetrics, Lag, Tally};
use super::now_ms;
use super::personal::{Full, Item, ItemKind, Personal};
use crate::access::{Actor, Guard};

/// How much of a channel a client that catches up is given in one write.
const CATCH_UP_BYTES: usize = 256 << 10;
/// From this much on it is compressed for a client whose line is narrow.
const NARROW_BYTES: usize = 2 << 10;

/// How often in a row a client's own filter looks at the log before others have their turn.
const LOOKS_IN_A_ROW: u32 = 8;

#[derive(Debug)]
pub(super) struct Client {
    pub(super) number: u64,
    pub(super) peer: SocketAddr,
    pub(super) stream: TcpStream,
    compression: Option<Compression>,
    out: Mutex<Out>,
    /// When it came, in milliseconds since 1970.
    since_ms: u64,
    about: Mutex<About>,
    /// Its own task has something to do: write, close, or end.
    pub(super) wake: Notify,
}

/// What a client says of itself.
#[derive(Debug, Default)]
struct About {
    name: String,
    page: String,
    health: Option<Box<HardwareHealth>>,
}

#[derive(Debug)]
struct Out {
    /// What it is owed once it is known who it is.
    opening: Option<Box<Opening>>,
    /// The channels that the client is to get, in order; positions may lag behind, until what comes first is out.
    wanted: SmallVec<[Channel; 2]>,
    positions: Positions,
    /// The context whose window the client has.
    membership: Option<Membership>,
    /// A client that wants only some log entries has no position in the log's channel, and is always written to by its own writer.
    filtered: Option<Box<FilteredLogs>>,
    personal: Personal,
    /// The newest stage of each command that it follows by id, while there is no room for every stage. Bounded by what it may follow.
    owed_commands: BTreeMap<String, Bytes>,
    /// What is left of a frame or segment that was begun.
    rest: Bytes,
    has_own_writer: bool,
    /// Its socket blocked since it has its own writer: the line is what it waits for.
    is_narrow: bool,
    /// Since when the socket takes nothing, while something waits for it.
    stalled_since: Option<Instant>,
    heard_at: Instant,
    pinged_at: Instant,
    phase: Phase,
    /// Who it is; none until it has said so, which it has to do some time after `since`.
    actor: Option<Actor>,
    since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// A close frame waits, since then; nothing follows it.
    Closing(CloseCode, Instant),
    /// It is given up: nothing more is written.
    Aborted(CloseCode),
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

/// How far a client's own writer got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pumped {
    /// Everything is out; the hub's loop writes from now on.
    CaughtUp,
    /// There is more, and others have their turn first.
    More,
    /// The socket takes nothing now.
    Blocked,
    /// The close frame is out, with this code.
    Closed(CloseCode),
    /// It was given up.
    Aborted(CloseCode),
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
            out: Mutex::new(Out {
                opening: None,
                wanted: SmallVec::new(),
                positions: Positions::new(),
                membership: None,
                filtered: None,
                personal,
                owed_commands: BTreeMap::new(),
                rest: Bytes::new(),
                has_own_writer: true,
                is_narrow: false,
                stalled_since: None,
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

    /// Writes what the hub's loop has for everybody. `last` is the batch of the client before: clients at the same place get the same.
    pub(super) fn write_shared<'v>(
        &self,
        view: &'v View,
        last: &mut Option<Batch<'v>>,
        pass: &mut Pass,
        tally: &mut Tally,
    ) {
        let mut out = self.out.lock();
        let out = &mut *out;
        if out.has_own_writer {
            // Its own writer looks at the rings again before it lets go of the lock for good.
            if let Some(membership) = out.membership {
                pass.is_member(membership);
            }
            return;
        }
        if out.filtered.is_some() && view.has(Channel::Logs) {
            if let Some(membership) = out.membership {
                pass.is_member(membership);
            }
            return self.hand_over(out);
        }
        let Some(compression) = self.compression else {
            return self.write_plain(out, view, last, tally);
        };
        match pass.turn(compression, &mut out.membership, &out.positions) {
            Turn::UpToDate => {}
            Turn::Coded(coded) => self.write_coded(out, &coded, tally),
            Turn::Plain => {
                self.write_plain(out, view, last, tally);
                if !out.has_own_writer {
                    pass.would_join(compression, &out.positions);
                }
            }
        }
    }

    fn write_coded(&self, out: &mut Out, coded: &Coded, tally: &mut Tally) {
        tally.writes += 1;
        match self.send(coded.bytes()) {
            Ok(written) => {
                tally.bytes += written as u64;
                tally.segments += coded.segments() as u64;
                out.membership = Some(coded.membership());
                out.positions.clone_from(coded.after());
                if written < coded.bytes().len() {
                    tally.blocked += 1;
                    out.rest = coded.bytes().slice(written..);
                    self.hand_over(out);
                }
            }
            // As below.
            Err(_) => {
                tally.blocked += 1;
                out.stalled_since.get_or_insert_with(Instant::now);
                self.hand_over(out);
            }
        }
    }

    fn write_plain<'v>(
        &self,
        out: &mut Out,
        view: &'v View,
        last: &mut Option<Batch<'v>>,
        tally: &mut Tally,
    ) {
        match last {
            // The second client at this place: there will be more.
            Some(batch) if batch.fits(&out.positions) => batch.join(),
            _ => match view.next(&out.positions) {
                Next::UpToDate => return,
                Next::Write(batch) => *last = Some(batch),
                Next::Snapshot | Next::Missed(..) => return self.hand_over(out),
            },
        }
        let Some(batch) = last else {
            return;
        };
        tally.writes += 1;
        let sent = match batch.whole() {
            Some(bytes) => self.send(bytes),
            None => self.stream.try_write_vectored(batch.slices()),
        };
        match sent {
            Ok(written) if written == batch.total_bytes() => {
                out.positions.clone_from(batch.complete());
                tally.bytes += written as u64;
                tally.segments += batch.segments() as u64;
            }
            Ok(written) => {
                tally.bytes += written as u64;
                tally.blocked += 1;
                out.took(batch, written);
                self.hand_over(out);
            }
            // A real error comes again in its own writer, who knows what to do.
            Err(_) => {
                tally.blocked += 1;
                out.stalled_since.get_or_insert_with(Instant::now);
                self.hand_over(out);
            }
        }
    }

    /// Writes until everything is out or the socket would block. Its own task calls it.
    pub(super) fn pump(&self, channels: &Channels) -> io::Result<Pumped> {
        let metrics = &channels.metrics;
        let mut out = self.out.lock();
        // Also where only the client said something: what is begun here is finished here, and the hub's loop keeps away until it is.
        out.has_own_writer = true;
        let mut looks = 0;
        loop {
            if let Phase::Aborted(code) = out.phase {
                return Ok(Pumped::Aborted(code));
            }
            if !out.rest.is_empty() {
                metrics.own_writes.inc();
                match self.stream.try_write(&out.rest) {
                    Ok(written) => {
                        metrics.written_bytes.add(written as u64);
                        out.rest.advance(written);
                        out.stalled_since = None;
                        if out.rest.is_empty() {
                            out.rest = Bytes::new();
                        }
                        continue;
                    }
                    Err(error) => return out.blocked(error),
                }
            }
            if let Some(item) = out.personal.pop() {
                let kind = item.kind();
                let bytes = out.make(item, channels);
                out.rest = self.pack(&mut out, kind, bytes, channels);
                continue;
            }
            if let Some((_, frame)) = out.owed_commands.pop_first() {
                out.rest = frame;
                continue;
            }
            if let Phase::Closing(code, _) = out.phase {
                return Ok(Pumped::Closed(code));
            }
            if let Some(member) = out.membership {
                match channels.packed.follow(member, &out.positions, CATCH_UP_BYTES) {
                    Follow::UpToDate => {
                        if let Some(pumped) = out.settle(channels, &mut looks) {
                            return Ok(pumped);
                        }
                    }
                    Follow::Left => out.membership = None,
                    Follow::Write(run) => {
                        metrics.own_writes.inc();
                        match self.stream.try_write_vectored(&run.slices()) {
                            Ok(written) => out.followed(&run, written, metrics),
                            Err(error) => return out.blocked(error),
                        }
                    }
                }
                continue;
            }
            let view = channels.view_for(&out.positions, CATCH_UP_BYTES);
            match view.next(&out.positions) {
                Next::UpToDate => {
                    if let Some(pumped) = out.settle(channels, &mut looks) {
                        return Ok(pumped);
                    }
                }
                Next::Write(batch) if self.packs(&out, &batch) => self.pack_batch(&mut out, &batch, metrics),
                Next::Write(batch) => {
                    metrics.own_writes.inc();
                    match self.try_write(&batch) {
                        Ok(written) => {
                            metrics.written_bytes.add(written as u64);
                            metrics.segments.add(batch.segments() as u64);
                            out.took(&batch, written);
                        }
                        Err(error) => return out.blocked(error),
                    }
                }
                Next::Snapshot => {
                    metrics.lag_snapshots.inc();
                    tracing::debug!(client = self.number, "fell behind the state; it gets a snapshot");
                    out.lost(Channel::State, "patches were dropped; a snapshot follows");
                    out.recover(Item::Snapshot);
                }
                Next::Missed(channel, missed) => {
                    metrics.missed.inc();
                    tracing::debug!(client = self.number, ?channel, ?missed, "fell behind");
                    out.missed(channel, channels);
                }
            }
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

    /// Adds a stage of a command that the client follows by its id. Who follows all of them has it from there.
    pub(super) fn tell_command(&self, id: &str, frame: &Bytes) {
        if !self.wants(Channel::Commands) {
            self.owe_command(id, frame);
        }
    }

    /// Adds a stage of a command. When many wait already, only the newest of each command is kept: it has the times of those before it.
    pub(super) fn owe_command(&self, id: &str, frame: &Bytes) {
        let mut out = self.out.lock();
        if out.phase != Phase::Open {
            return;
        }
        if out.owed_commands.contains_key(id) || out.personal.is_half_full() {
            out.owed_commands.insert(id.to_owned(), frame.clone());
        } else {
            // There is room for as many again.
            let _ = out.personal.push(Item::Frame(frame.clone()));
        }
        self.hand_over(&mut out);
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
            Channel::Logs => out.personal.push(Item::History(0)),
            Channel::Series(id) => out.personal.push(Item::Backlog(id, None)),
            Channel::Blocks => out.personal.push(Item::ExecutionState(None)),
            Channel::Alarms | Channel::Events | Channel::Commands => {
                let cursor = channels.cursor(channel);
                out.positions.set(channel, cursor);
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
            out.personal.push(Item::History(0))?;
        }
        if filter.is_open() {
            // Back to what everybody gets, behind what it was told of. A client whose history is still on its way goes on behind that.
            return match out.filtered.take().and_then(|logs| logs.told()) {
                Some(seq) => out.personal.push(Item::MissedLogs(seq)),
                None => Ok(()),
            };
        }
        if let Some(logs) = &mut out.filtered {
            logs.refilter(filter);
            return Ok(());
        }
        let place = out.positions.get(Channel::Logs);
        out.positions.remove(Channel::Logs);
        out.filtered = Some(Box::new(match place {
            Some(cursor) => FilteredLogs::after(filter, cursor.covered),
            None => FilteredLogs::waiting(filter),
        }));
        Ok(())
    }

    /// Takes in who the client says it is.
    pub(super) fn introduce(&self, name: &str, page: &str) {
        let mut about = self.about.lock();
        name.clone_into(&mut about.name);
        page.clone_into(&mut about.page);
    }

    /// Takes in how the client's hardware is.
    pub(super) fn set_health(&self, health: HardwareHealth) {
        self.about.lock().health = Some(Box::new(health));
    }

    /// What it calls itself, and its page.
    pub(super) fn introduction(&self) -> (String, String) {
        let about = self.about.lock();
        (about.name.clone(), about.page.clone())
    }

    /// What an engineer is shown of it.
    pub(super) fn entry(&self, state_version: u64, newest_seq: u64) -> ClientEntry {
        let about = self.about.lock();
        let (name, page, health) = (about.name.clone(), about.page.clone(), about.health.clone());
        drop(about);
        let out = self.out.lock();
        let covered = |channel| out.positions.get(channel).map(|cursor| cursor.covered);
        let seq = match &out.filtered {
            Some(logs) => logs.next(),
            None => covered(Channel::Logs),
        };
        ClientEntry {
            client_id: self.id(),
            peer: self.peer.to_string(),
            name,
            page,
            since: iso8601(self.since_ms),
            subscriptions: out.wanted.iter().map(|channel| subscription(*channel)).collect(),
            filter: out.filtered.as_ref().map(|logs| logs.filter().clone()),
            lag: ClientLag {
                versions: covered(Channel::State).map(|version| state_version.saturating_sub(version)),
                log_entries: seq.map(|seq| newest_seq.saturating_sub(seq)),
                waiting: out.personal.len() as u64,
                stalled_ms: out
                    .stalled_since
                    .map(|since| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)),
            },
            health: health.map(|health| *health),
        }
    }

    /// Ends a channel.
    pub(super) fn unwant(&self, channel: Channel) {
        let mut out = self.out.lock();
        if channel == Channel::Logs {
            out.filtered = None;
        }
        out.wanted.retain(|wanted| *wanted != channel);
        out.positions.remove(channel);
    }

    pub(super) fn wants(&self, channel: Channel) -> bool {
        self.out.lock().wants(channel)
    }

    /// The client said something, or answered a ping.
    pub(super) fn heard(&self) {
        self.out.lock().heard_at = Instant::now();
    }

    /// Whether so much waits for this client alone that it should be written before more is asked.
    pub(super) fn is_crowded(&self) -> bool {
        self.out.lock().personal.is_crowded()
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
        out.owed_commands.clear();
        // An emptied queue has room for two.
        if let Some(message) = last {
            let _ = out.personal.message(message);
        }
        let _ = out.personal.push(Item::Frame(frame));
        out.has_own_writer = true;
        self.wake.notify_one();
    }

    /// Adds how far this client is behind `version`.
    pub(super) fn add_lag(&self, lag: &mut Lag, version: u64, now: Instant) {
        let out = self.out.lock();
        if out.phase != Phase::Open {
            return;
        }
        lag.behind += u64::from(out.has_own_writer);
        if let Some(cursor) = out.positions.get(Channel::State) {
            lag.missing(version.saturating_sub(cursor.covered));
        }
        if let Some(since) = out.stalled_since {
            lag.longest_stall = lag.longest_stall.max(now.saturating_duration_since(since));
        }
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
        if out
            .stalled_since
            .is_some_and(|since| now.saturating_duration_since(since) >= patience.stall_timeout)
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

    /// Compresses, if it pays, what was made for this client alone. The lock is let go meanwhile; the client keeps its own writer, so nobody
    /// else writes, and only closing can come between.
    fn pack(
        &self,
        out: &mut MutexGuard<'_, Out>,
        kind: ItemKind,
        bytes: Bytes,
        channels: &Channels,
    ) -> Bytes {
        let Some(compression) = self
            .compression
            .filter(|_| kind != ItemKind::Small && !bytes.is_empty())
        else {
            return bytes;
        };
        let version = out.positions.get(Channel::State).map(|cursor| cursor.covered);
        out.has_own_writer = true;
        let packed = MutexGuard::unlocked(out, || match (kind, version) {
            (ItemKind::Snapshot, Some(version)) => channels.packed.snapshot(version, &bytes),
            _ => compress_apart(compression, std::slice::from_ref(&bytes)),
        });
        match packed {
            Some(packed) => {
                // It enters the client's window.
                out.membership = None;
                packed
            }
            None => bytes,
        }
    }

    /// Whether what a client has to catch up with is compressed for it alone: only if its line is narrow, or everybody else would pay for it.
    fn packs(&self, out: &Out, batch: &Batch<'_>) -> bool {
        self.compression.is_some() && out.is_narrow && batch.total_bytes() >= NARROW_BYTES
    }

    fn pack_batch(&self, out: &mut MutexGuard<'_, Out>, batch: &Batch<'_>, metrics: &HubMetrics) {
        let Some(compression) = self.compression else {
            return;
        };
        out.has_own_writer = true;
        let frames: Vec<Bytes> = batch.frames().cloned().collect();
        let packed = MutexGuard::unlocked(out, || compress_apart(compression, &frames));
        if out.phase != Phase::Open {
            return;
        }
        match packed {
            Some(packed) => {
                metrics.segments.add(batch.segments() as u64);
                out.positions.clone_from(batch.complete());
                out.rest = packed;
            }
            // It does not get smaller: the rest of this time it goes out as it is.
            None => out.is_narrow = false,
        }
    }

    fn hand_over(&self, out: &mut Out) {
        out.has_own_writer = true;
        self.wake.notify_one();
    }

    /// The loop's write: straight to the system, once per client and flush. What tokio knows of the socket is neither asked nor told: when the
    /// socket takes nothing, the client's own writer finds out again through tokio, and waits there.
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        Ok(rustix::net::send(&self.stream, bytes, flags)?)
    }

    fn try_write(&self, batch: &Batch<'_>) -> io::Result<usize> {
        match batch.whole() {
            Some(bytes) => self.stream.try_write(bytes),
            None => self.stream.try_write_vectored(batch.slices()),
        }
    }
}

impl Out {
    fn wants(&self, channel: Channel) -> bool {
        self.wanted.contains(&channel)
    }

    /// What everybody gets first. From here on the client follows state and log.
    fn begin(&mut self, opening: Opening, number: u64, channels: &Channels) -> Result<(), Full> {
        self.wanted.extend([Channel::State, Channel::Logs]);
        match opening.resumed {
            Some((cursor, _)) => self.positions.set(Channel::State, cursor),
            None => self.personal.push(Item::Snapshot)?,
        }
        self.personal.push(match opening.resumed {
            Some((_, log_seq)) if log_seq > 0 => Item::Replay(log_seq),
            _ => Item::History(opening.history_entries),
        })?;
        for channel in opening.begins_with {
            self.wanted.push(channel);
            self.positions.set(channel, channels.cursor(channel));
        }
        if opening.says_connected {
            let client_id = id(number);
            self.personal
                .message(&ServerMessage::Connected(Connected { client_id }))?;
        }
        Ok(())
    }

    fn took(&mut self, batch: &Batch<'_>, written_bytes: usize) {
        let progress = batch.after(written_bytes);
        self.positions = progress.positions;
        self.rest = progress.rest.unwrap_or_default();
        self.stalled_since = None;
    }

    fn caught_up(&mut self) -> Pumped {
        self.has_own_writer = false;
        self.is_narrow = false;
        self.stalled_since = None;
        Pumped::CaughtUp
    }

    fn followed(&mut self, run: &Run, written_bytes: usize, metrics: &HubMetrics) {
        metrics.written_bytes.add(written_bytes as u64);
        if let Some(Reached {
            membership,
            positions,
            rest,
            segments,
        }) = run.after(written_bytes)
        {
            metrics.segments.add(segments as u64);
            self.membership = Some(membership);
            self.positions.clone_from(positions);
            self.rest = rest;
            self.stalled_since = None;
        }
    }

    fn blocked(&mut self, error: io::Error) -> io::Result<Pumped> {
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(error);
        }
        self.is_narrow = true;
        self.stalled_since.get_or_insert_with(Instant::now);
        Ok(Pumped::Blocked)
    }

    /// Makes the bytes of an item whose turn has come, and sets the place where its channel goes on behind it.
    fn make(&mut self, item: Item, channels: &Channels) -> Bytes {
        match item {
            Item::Frame(bytes) => bytes,
            Item::Pong(payload) => frame::pong(&payload),
            Item::Snapshot => {
                channels.metrics.snapshots.inc();
                let snapshot = channels.state.snapshot();
                self.follow(Channel::State, snapshot.cursor);
                snapshot.frame
            }
            Item::History(count) if self.filtered.is_some() => {
                self.restart_filtered(channels.log_seq_before(count), channels)
            }
            Item::Replay(seq) if self.filtered.is_some() => self.restart_filtered(seq, channels),
            Item::MissedLogs(seq) if self.filtered.is_some() => {
                if let Some(logs) = &mut self.filtered {
                    logs.place(seq);
                }
                Bytes::new()
            }
            Item::ExecutionState(id) => {
                let (bytes, cursor) = channels.blocks.state(id);
                self.follow(Channel::Blocks, cursor);
                bytes
            }
            Item::History(count) => {
                let (bytes, cursor) = channels.history(count);
                self.follow(Channel::Logs, cursor);
                bytes
            }
            Item::Replay(seq) => {
                let (bytes, cursor) = channels.replay(seq, LogsFrame::History);
                self.follow(Channel::Logs, cursor);
                bytes
            }
            Item::MissedLogs(seq) => {
                let (bytes, cursor) = channels.replay(seq, LogsFrame::Append);
                self.follow(Channel::Logs, cursor);
                bytes
            }
            Item::Backlog(id, covered) => {
                if !self.wants(Channel::Series(id)) {
                    return Bytes::new();
                }
                let Some(backlog) = channels.backlog(id, covered) else {
                    return Bytes::new();
                };
                self.follow(Channel::Series(id), backlog.cursor);
                backlog.frame.unwrap_or_default()
            }
        }
    }

    /// Everybody's channels are written. If log entries pass the client's own filter, they are next; otherwise says how far it got.
    fn settle(&mut self, channels: &Channels, looks: &mut u32) -> Option<Pumped> {
        let message = self.filtered.as_mut().and_then(|logs| channels.filtered(logs));
        let Some(message) = message else {
            return Some(self.caught_up());
        };
        self.rest = message;
        *looks += 1;
        (*looks >= LOOKS_IN_A_ROW).then_some(Pumped::More)
    }

    /// The entries follow in the client's own messages, of which the first is a `logs.history`.
    fn restart_filtered(&mut self, seq: u64, channels: &Channels) -> Bytes {
        if let Some(logs) = &mut self.filtered {
            logs.restart(seq.min(channels.logs.metadata().next_seq - 1));
        }
        Bytes::new()
    }

    /// A channel that was switched off meanwhile stays off.
    fn follow(&mut self, channel: Channel, cursor: Cursor) {
        if self.wants(channel) {
            self.positions.set(channel, cursor);
        }
    }

    fn missed(&mut self, channel: Channel, channels: &Channels) {
        let covered = self.positions.get(channel).map_or(0, |cursor| cursor.covered);
        match channel {
            Channel::State => self.recover(Item::Snapshot),
            Channel::Logs => self.recover(Item::MissedLogs(covered)),
            Channel::Series(id) => self.recover(Item::Backlog(id, Some(covered))),
            Channel::Blocks => {
                self.lost(channel, "what runs now follows");
                self.recover(Item::ExecutionState(None));
            }
            Channel::Alarms | Channel::Events | Channel::Commands => {
                let cursor = channels.cursor(channel);
                let count = cursor.covered.saturating_sub(covered);
                self.lost(channel, &format!("{count} messages were dropped"));
                // On from the oldest that is there would be kinder, but those too would be gone before a client this slow takes them.
                self.positions.set(channel, cursor);
            }
        }
    }

    fn lost(&mut self, channel: Channel, what: &str) {
        let message = ServerMessage::Error(ErrorMessage {
            code: ErrorCode::Missed,
            message: format!("this client fell behind on {}: {what}", name(channel)),
            id: None,
        });
        self.recover(Item::Frame(frame::text(&message.to_json())));
    }

    /// Only called with an empty queue, which has room.
    fn recover(&mut self, item: Item) {
        let _ = self.personal.push(item);
    }
}

/// The name of a client on the wire.
pub(super) fn id(number: u64) -> String {
    format!("c-{number}")
}

fn name(channel: Channel) -> &'static str {
    match channel {
        Channel::State => "state",
        Channel::Logs => "logs",
        Channel::Alarms => "alarms",
        Channel::Events => "events",
        Channel::Blocks => "blocks",
        Channel::Commands => "commands",
        Channel::Series(_) => "telemetry",
    }
}

/// How a channel is called in a list of what somebody gets.
pub(super) fn subscription(channel: Channel) -> String {
    match channel {
        Channel::Series(id) => format!("{}:{id}", name(channel)),
        _ => name(channel).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use autobench_core::state::Store;
    use autobench_core::wire::AppState;
    use tokio::runtime::Runtime;

    use super::super::{Hub, HubConfig};
    use super::*;
    use crate::config::{LogConfig, TerminalConfig};
    use crate::logs::{LogHandle, LogRecord};
    use crate::state::{StateConfig, StateHandle};
    use autobench_core::driver::LogLevel;

    /// What happens under a lock that somebody holds may take this long; nothing here takes a hundredth of it.
    const PATIENCE: Duration = Duration::from_secs(5);

    struct Bench {
        runtime: Runtime,
        state: StateHandle,
        logs: LogHandle,
        hub: Hub,
    }

    fn bench() -> Bench {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let inside = runtime.enter();
        let config = StateConfig {
            counters_interval: Duration::from_millis(1),
            ..StateConfig::new("00112233aabbccdd")
        };
        let state = StateHandle::start(Store::new(&AppState::default()).unwrap(), config);
        let logs = LogHandle::new(LogConfig {
            capacity: 10,
            allowed_channels: Vec::new(),
            min_level: LogLevel::Debug,
            redact: None,
            heartbeat: false,
            terminal: TerminalConfig {
                level: LogLevel::Error,
                is_pretty: None,
                no_color: true,
            },
        });
        let hub = Hub::start(HubConfig::default(), state.clone(), logs.clone());
        drop(inside);
        Bench {
            runtime,
            state,
            logs,
            hub,
        }
    }

    #[test]
    fn the_counters_run_while_somebody_holds_the_list_of_clients() {
        let bench = bench();
        let mut changes = bench.state.changes();
        let held = bench.hub.shared.clients.lock();
        let _watching = bench.state.watch();
        bench
            .logs
            .append(LogRecord::new("app", LogLevel::Info, "something to count"));
        let counted = bench
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, changes.changed()).await });
        drop(held);
        assert!(
            counted.is_ok(),
            "the counters, which hold the store, wait for the list of clients"
        );
    }

    #[test]
    fn what_its_own_writer_began_is_not_cut_into_by_the_loop() {
        let bench = bench();
        let (stream, accepted) = bench.runtime.block_on(connected());
        let small = "small buffers";
        socket2::SockRef::from(&stream)
            .set_send_buffer_size(4096)
            .expect(small);
        socket2::SockRef::from(&accepted.0)
            .set_recv_buffer_size(4096)
            .expect(small);
        let client = client_of(&bench, stream);
        let channels = &bench.hub.shared.channels;
        let inside = bench.runtime.enter();
        let begin = Instant::now();
        while client.pump(channels).unwrap() != Pumped::CaughtUp {
            assert!(begin.elapsed() < PATIENCE, "it takes its snapshot");
            std::thread::yield_now();
        }
        assert!(!client.out.lock().has_own_writer);
        // More than the system's buffers hold, before the loop comes by: the client is not in its list.
        for n in 10..50_u64 {
            let text = n.to_string().repeat(50_000);
            bench.state.replace_slice("filler", text.into()).unwrap();
            bench.state.snapshot();
        }
        while client.pump(channels).unwrap() != Pumped::Blocked {
            assert!(begin.elapsed() < PATIENCE, "nobody reads");
        }
        drop(inside);
        let out = client.out.lock();
        assert!(
            out.has_own_writer,
            "the loop would write into the middle of a frame"
        );
    }

    async fn connected() -> (TcpStream, (TcpStream, SocketAddr)) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (stream, listener.accept().await.unwrap())
    }

    fn client_of(bench: &Bench, stream: TcpStream) -> Arc<Client> {
        let peer = stream.peer_addr().unwrap();
        let welcome = bench.hub.shared.welcome(1, false, false);
        let opening = Opening {
            resumed: None,
            history_entries: 0,
            begins_with: Vec::new(),
            says_connected: false,
        };
        Arc::new(Client::new(
            1,
            peer,
            stream,
            &welcome,
            Some(Actor::local()),
            opening,
            &bench.hub.shared.channels,
        ))
    }

    #[test]
    fn closing_holds_no_list_while_it_waits_for_a_client() {
        let bench = bench();
        let (stream, _accepted) = bench.runtime.block_on(connected());
        let client = client_of(&bench, stream);
        bench
            .hub
            .shared
            .change_clients(|clients| clients.push(Arc::clone(&client)));
        assert_eq!(bench.hub.clients(), 1);

        let held = client.out.lock();
        let hub = bench.hub.clone();
        let closing = bench.runtime.spawn(async move { hub.close(PATIENCE).await });
        // Closing clones the list once; from then on it waits for `held` alone.
        let begin = Instant::now();
        while Arc::strong_count(&bench.hub.shared.clients.try_lock_for(PATIENCE).unwrap()) < 2 {
            assert!(begin.elapsed() < PATIENCE, "closing has not begun");
            std::thread::yield_now();
        }
        assert!(bench.hub.shared.clients.try_lock_for(PATIENCE).is_some());
        drop(held);
        bench.runtime.block_on(closing).unwrap();
    }
}
