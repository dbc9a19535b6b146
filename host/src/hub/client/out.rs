//! What a client is owed, and where it is in each channel.

use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use autobench_core::deflate::{Membership, Reached, Run};
use autobench_core::frame::{self, CloseCode};
use autobench_core::logs::FilteredLogs;
use autobench_core::outbox::{Batch, Channel, Cursor, Positions};
use autobench_core::wire::encode::LogsFrame;
use autobench_core::wire::{Connected, ErrorCode, ErrorMessage, ServerMessage};
use bytes::Bytes;
use smallvec::SmallVec;

use super::super::channels::Channels;
use super::super::metrics::HubMetrics;
use super::super::personal::{Full, Item, Personal};
use super::write::Pumped;
use super::{Opening, id};
use crate::access::Actor;

/// How often in a row a client's own filter looks at the log before others have their turn.
const LOOKS_IN_A_ROW: u32 = 8;

#[derive(Debug)]
pub(super) struct Out {
    /// What it is owed once it is known who it is.
    pub(super) opening: Option<Box<Opening>>,
    /// The channels that the client is to get, in order; positions may lag behind, until what comes first is out.
    pub(super) wanted: SmallVec<[Channel; 2]>,
    pub(super) positions: Positions,
    /// The context whose window the client has.
    pub(super) membership: Option<Membership>,
    /// A client that wants only some log entries has no position in the log's channel, and is always written to by its own writer.
    pub(super) filtered: Option<Box<FilteredLogs>>,
    pub(super) personal: Personal,
    /// The newest stage of each command that it follows by id, while there is no room for every stage. Bounded by what it may follow.
    pub(super) owed_commands: BTreeMap<String, Bytes>,
    /// What is left of a frame or segment that was begun.
    pub(super) rest: Bytes,
    pub(super) has_own_writer: bool,
    /// Its socket blocked since it has its own writer: the line is what it waits for.
    pub(super) is_narrow: bool,
    /// Since when the socket takes nothing, while something waits for it.
    pub(super) stalled_since: Option<Instant>,
    pub(super) heard_at: Instant,
    pub(super) pinged_at: Instant,
    pub(super) phase: Phase,
    /// Who it is; none until it has said so, which it has to do some time after `since`.
    pub(super) actor: Option<Actor>,
    pub(super) since: Instant,
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

    pub(super) fn took(&mut self, batch: &Batch<'_>, written_bytes: usize) {
        let progress = batch.after(written_bytes);
        self.positions = progress.positions;
        self.rest = progress.rest.unwrap_or_default();
        self.stalled_since = None;
    }

    pub(super) fn caught_up(&mut self) -> Pumped {
        self.has_own_writer = false;
        self.is_narrow = false;
        self.stalled_since = None;
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
            self.stalled_since = None;
        }
    }

    pub(super) fn blocked(&mut self, error: io::Error) -> io::Result<Pumped> {
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(error);
        }
        self.is_narrow = true;
        self.stalled_since.get_or_insert_with(Instant::now);
        Ok(Pumped::Blocked)
    }

    /// Makes the bytes of an item whose turn has come, and sets the place where its channel goes on behind it.
    pub(super) fn make(&mut self, item: Item, channels: &Channels) -> Bytes {
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
    pub(super) fn settle(&mut self, channels: &Channels, looks: &mut u32) -> Option<Pumped> {
        let message = self.filtered.as_mut().and_then(|logs| channels.filtered(logs));
        let Some(message) = message else {
            return Some(self.caught_up());
        };
        self.rest = message;
        *looks += 1;
        (*looks >= LOOKS_IN_A_ROW).then_some(Pumped::More)
    }

    /// The entries follow in the client's own messages, of which the first is a `logs.history`.
    pub(super) fn restart_filtered(&mut self, seq: u64, channels: &Channels) -> Bytes {
        if let Some(logs) = &mut self.filtered {
            logs.restart(seq.min(channels.logs.metadata().next_seq - 1));
        }
        Bytes::new()
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
