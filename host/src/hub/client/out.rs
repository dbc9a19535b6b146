//! What a client is owed, and where it is in each channel.

use std::io;
use std::time::Instant;

use autobench_core::deflate::{Membership, Reached, Run};
use autobench_core::frame::{self, CloseCode};
use autobench_core::logs::{LogFilter, LogReader};
use autobench_core::outbox::{Batch, Channel, Cursor, Positions};
use autobench_core::wire::{Connected, ErrorCode, ErrorMessage, ServerMessage};
use bytes::Bytes;
use smallvec::SmallVec;

use super::super::channels::{Channels, LogStart};
use super::super::metrics::HubMetrics;
use super::super::personal::{Full, Item, Personal};
use super::super::series::GoesOn;
use super::stages::Told;
use super::write::Pumped;
use super::{Opening, id};
use crate::access::Actor;

#[derive(Debug)]
pub(super) struct Out {
    /// What it is owed once it is known who it is.
    pub(super) opening: Option<Box<Opening>>,
    /// The channels that the client is to get, in order; positions may lag behind, until what comes first is out.
    pub(super) wanted: SmallVec<[Channel; 2]>,
    pub(super) positions: Positions,
    /// The context whose window the client has.
    pub(super) membership: Option<Membership>,
    /// A client that wants only some log entries, or that has to get older ones first, reads the log where it is kept: it has no position in the
    /// log's channel, and is written to by its own writer.
    pub(super) log: Option<Box<LogReader>>,
    /// The same for series whose history it has to get first: behind which sample. Bounded by its subscriptions.
    pub(super) histories: Vec<(u32, Option<u64>)>,
    pub(super) personal: Personal,
    /// Where it began to follow all commands.
    pub(super) commands_from: u64,
    /// What is left of a frame or segment that was begun.
    pub(super) rest: Bytes,
    pub(super) has_own_writer: bool,
    /// The number of the next flush when its snapshot's turn had come: it waits for that flush.
    pub(super) awaits_flush: Option<u64>,
    /// The hub's loop came by meanwhile, so there may be news behind what its own writer looked at last.
    pub(super) was_passed: bool,
    /// Its socket blocked since it has its own writer: the line is what it waits for.
    pub(super) is_narrow: bool,
    /// There while something waits for a socket that takes nothing.
    pub(super) stall: Option<Stall>,
    pub(super) heard_at: Instant,
    pub(super) pinged_at: Instant,
    pub(super) phase: Phase,
    /// Who it is; none until it has said so, which it has to do some time after `since`.
    pub(super) actor: Option<Actor>,
    pub(super) since: Instant,
}

/// A frame for one client.
#[derive(Debug)]
pub(super) enum Packed {
    /// As it is.
    Plain(Bytes),
    /// Compressed, so that it enters the client's window.
    InWindow(Bytes),
}

/// A piece of the log for one client, and how far it is then.
#[derive(Debug)]
pub(super) struct ReadLog {
    pub(super) log: Box<LogReader>,
    pub(super) packed: Packed,
    pub(super) joins: Option<Cursor>,
    pub(super) has_looked: bool,
}

impl Packed {
    fn is_empty(&self) -> bool {
        match self {
            Self::Plain(frame) | Self::InWindow(frame) => frame.is_empty(),
        }
    }
}

/// A socket that takes nothing.
#[derive(Debug)]
pub(super) struct Stall {
    /// Since when its peer has taken nothing.
    pub(super) since: Instant,
    /// What the peer had not acknowledged when that was looked at last.
    unacknowledged_bytes: Option<u64>,
}

impl Stall {
    /// Takes in what the peer has not acknowledged now. One that reads a little makes no room for a write, and takes something all the same.
    pub(super) fn look(&mut self, now: Instant, unacknowledged_bytes: u64) {
        let before = self.unacknowledged_bytes.replace(unacknowledged_bytes);
        if before.is_some_and(|before| unacknowledged_bytes < before) {
            self.since = now;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// A close frame waits, since then; nothing follows it.
    Closing(CloseCode, Instant),
    /// It is given up: nothing more is written.
    Aborted(CloseCode),
}

impl Out {
    pub(super) fn wants(&self, channel: Channel) -> bool {
        self.wanted.contains(&channel)
    }

    /// What everybody gets first. From here on the client follows state and log.
    pub(super) fn begin(&mut self, opening: Opening, number: u64, channels: &Channels) -> Result<(), Full> {
        self.wanted.extend([Channel::State, Channel::Logs]);
        match opening.resumed {
            Some((cursor, _)) => self.positions.set(Channel::State, cursor),
            None => self.personal.push(Item::Snapshot)?,
        }
        self.personal.push(Item::Logs(match opening.resumed {
            Some((_, log_seq)) if log_seq > 0 => LogStart::After(log_seq),
            _ => LogStart::Newest(opening.history_entries),
        }))?;
        for channel in opening.begins_with {
            self.wanted.push(channel);
            self.begin_now(channel, channels);
        }
        if opening.says_connected {
            let client_id = id(number);
            self.personal
                .message(&ServerMessage::Connected(Connected { client_id }))?;
        }
        Ok(())
    }

    /// A channel of which nothing came before.
    pub(super) fn begin_now(&mut self, channel: Channel, channels: &Channels) {
        let cursor = channels.cursor(channel);
        if channel == Channel::Commands {
            self.commands_from = cursor.segment;
        }
        self.positions.set(channel, cursor);
    }

    /// What it was told of all commands, if it follows them.
    pub(super) fn told_of_commands(&self) -> Option<Told> {
        let cursor = self.positions.get(Channel::Commands)?;
        Some(Told {
            from: self.commands_from,
            until: cursor.segment,
        })
    }

    pub(super) fn took(&mut self, batch: &Batch<'_>, written_bytes: usize) {
        let progress = batch.after(written_bytes);
        self.positions = progress.positions;
        self.rest = progress.rest.unwrap_or_default();
        self.stall = None;
    }

    /// The socket takes nothing.
    pub(super) fn stalls(&mut self) {
        self.stall.get_or_insert_with(|| Stall {
            since: Instant::now(),
            unacknowledged_bytes: None,
        });
    }

    pub(super) fn caught_up(&mut self) -> Pumped {
        self.has_own_writer = false;
        self.is_narrow = false;
        self.stall = None;
        Pumped::CaughtUp
    }

    pub(super) fn followed(&mut self, run: &Run, written_bytes: usize, metrics: &HubMetrics) {
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
            self.stall = None;
        }
    }

    pub(super) fn blocked(&mut self, error: io::Error) -> io::Result<Pumped> {
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(error);
        }
        self.is_narrow = true;
        self.stalls();
        Ok(Pumped::Blocked)
    }

    /// What was made for this client alone goes out next.
    pub(super) fn send_next(&mut self, packed: Packed) {
        self.rest = match packed {
            Packed::Plain(frame) => frame,
            Packed::InWindow(frame) => {
                self.membership = None;
                frame
            }
        };
    }

    /// Takes in a piece of the log: how far the client is with it. False if there was nothing.
    pub(super) fn read_log(&mut self, read: ReadLog) -> bool {
        let ReadLog {
            log,
            packed,
            joins,
            has_looked,
        } = read;
        let is_placed = joins.is_some();
        match joins {
            Some(cursor) => {
                self.log = None;
                self.follow(Channel::Logs, cursor);
            }
            None => self.log = Some(log),
        }
        let has_message = !packed.is_empty();
        self.send_next(packed);
        has_message || is_placed || has_looked
    }

    /// The same for the history of a series.
    pub(super) fn read_history(&mut self, id: u32, goes_on: GoesOn, packed: Packed) {
        self.histories.retain(|(known, _)| *known != id);
        match goes_on {
            GoesOn::At(cursor) => self.follow(Channel::Series(id), cursor),
            GoesOn::After(number) => self.histories.push((id, Some(number))),
        }
        self.send_next(packed);
    }

    /// A channel that was switched off meanwhile stays off.
    pub(super) fn follow(&mut self, channel: Channel, cursor: Cursor) {
        if self.wants(channel) {
            self.positions.set(channel, cursor);
        }
    }

    pub(super) fn missed(&mut self, channel: Channel, channels: &Channels) {
        let covered = self.positions.get(channel).map_or(0, |cursor| cursor.covered);
        match channel {
            Channel::State => self.recover(Item::Snapshot),
            Channel::Logs => {
                self.positions.remove(channel);
                self.log = Some(Box::new(LogReader::after(LogFilter::default(), covered)));
            }
            Channel::Series(id) => {
                self.positions.remove(channel);
                self.histories.push((id, Some(covered)));
            }
            Channel::Blocks => {
                self.lost(channel, "what runs now follows");
                self.recover(Item::ExecutionState(None));
            }
            Channel::Alarms | Channel::Events | Channel::Commands => {
                let cursor = channels.cursor(channel);
                let count = cursor.covered.saturating_sub(covered);
                self.lost(channel, &format!("{count} messages were dropped"));
                // On from the oldest that is there would be kinder, but those too would be gone before a client this slow takes them.
                self.begin_now(channel, channels);
            }
        }
    }

    pub(super) fn lost(&mut self, channel: Channel, what: &str) {
        let message = ServerMessage::Error(ErrorMessage {
            code: ErrorCode::Missed,
            message: format!("this client fell behind on {}: {what}", name(channel)),
            id: None,
        });
        self.recover(Item::Frame(frame::text(&message.to_json())));
    }

    /// Only called with an empty queue, which has room.
    pub(super) fn recover(&mut self, item: Item) {
        let _ = self.personal.push(item);
    }
}

pub(super) fn name(channel: Channel) -> &'static str {
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
