//! How a client is written to: by the hub's loop while it keeps up, and by its own writer while it does not.

use std::io;
use std::time::Duration;

use autobench_core::deflate::{Coded, Follow, Pass, Turn, compress_apart};
use autobench_core::frame::{self, CloseCode};
use autobench_core::logs::{LogFilter, LogReader};
use autobench_core::outbox::{Batch, Channel, Next, View};
use bytes::{Buf, Bytes};
use parking_lot::MutexGuard;
use rustix::net::SendFlags;

use super::super::channels::{Channels, LogPiece};
use super::super::metrics::{HubMetrics, Tally};
use super::super::personal::Item;
use super::Client;
use super::out::{Out, Packed, Phase, ReadLog};
use super::stages::NextStage;

/// How much of a channel a client that catches up is given in one write.
const CATCH_UP_BYTES: usize = 256 << 10;
/// From this much on it is compressed for a client whose line is narrow, and so is what is made for one client.
const NARROW_BYTES: usize = 2 << 10;
/// Longest flush interval that a client that asks for a snapshot waits for.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// Pieces of the log or of a history in a row before other clients have their turn.
const PIECES_IN_A_ROW: u32 = 8;

/// How far a client's own writer got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Pumped {
    /// Everything is out; the hub's loop writes from now on.
    CaughtUp,
    /// There is more, and others have their turn first.
    More,
    /// The socket takes nothing now.
    Blocked,
    /// What comes next is made with the next flush, behind which the hub's loop wakes the client.
    AwaitsFlush,
    /// The close frame is out, with this code.
    Closed(CloseCode),
    /// It was given up.
    Aborted(CloseCode),
}

impl Client {
    /// Writes what the hub's loop has for everybody. `last` is the batch of the client before: clients at the same place get the same.
    pub(in crate::hub) fn write_shared<'v>(
        &self,
        view: &'v View,
        last: &mut Option<Batch<'v>>,
        pass: &mut Pass,
        tally: &mut Tally,
    ) {
        let mut out = self.out.lock();
        let out = &mut *out;
        if out.has_own_writer {
            // Its own writer looks at the rings again before it gives the client back.
            out.was_passed = true;
            if out.awaits_flush.is_some() && view.has(Channel::State) {
                self.wake.notify_one();
            }
            if let Some(membership) = out.membership {
                pass.is_member(membership);
            }
            return;
        }
        if out.log.is_some() && view.has(Channel::Logs) {
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
                out.stalls();
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
                out.stalls();
                self.hand_over(out);
            }
        }
    }

    /// Writes until everything is out or the socket would block. Its own task calls it.
    pub(in crate::hub) fn pump(&self, channels: &Channels) -> io::Result<Pumped> {
        let metrics = &channels.metrics;
        let mut out = self.out.lock();
        // Also where only the client said something: what is begun here is finished here, and the hub's loop keeps away until it is.
        out.has_own_writer = true;
        let mut pieces = 0;
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
                        out.stall = None;
                        if out.rest.is_empty() {
                            out.rest = Bytes::new();
                        }
                        continue;
                    }
                    Err(error) => return out.blocked(error),
                }
            }
            if let Some(item) = out.personal.pop() {
                if !self.give(&mut out, item, channels) {
                    // Nothing waits for the socket.
                    out.stall = None;
                    return Ok(Pumped::AwaitsFlush);
                }
                continue;
            }
            if let Phase::Closing(code, _) = out.phase {
                return Ok(Pumped::Closed(code));
            }
            let told = out.told_of_commands();
            match self.stages.lock().next(told) {
                NextStage::Write(frame) => {
                    out.rest = frame;
                    continue;
                }
                // The coded segments may lie behind the ring, and this waits for the ring.
                NextStage::BehindRing => out.membership = None,
                NextStage::None => {}
            }
            if pieces >= PIECES_IN_A_ROW {
                return Ok(Pumped::More);
            }
            // Set again by a pass while the lock is let go of below: what it had for this client was not seen here then.
            out.was_passed = false;
            if let Some(member) = out.membership {
                match channels.packed.follow(member, &out.positions, CATCH_UP_BYTES) {
                    Follow::UpToDate => {
                        if !self.read_on(&mut out, channels) && !out.was_passed {
                            return Ok(out.caught_up());
                        }
                        pieces += 1;
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
                    if !self.read_on(&mut out, channels) && !out.was_passed {
                        return Ok(out.caught_up());
                    }
                    pieces += 1;
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
                    channels.fell_behind(self.number, Channel::State);
                    out.lost(Channel::State, "patches were dropped; a snapshot follows");
                    out.recover(Item::Snapshot);
                }
                Next::Missed(channel, _) => {
                    metrics.missed.inc();
                    channels.fell_behind(self.number, channel);
                    if let (Channel::Commands, Some(told)) = (channel, out.told_of_commands()) {
                        self.stages.lock().leave_ring(told);
                    }
                    out.missed(channel, channels);
                }
            }
        }
    }

    /// Gives the client something apart from the channels, whose turn has come. False if it has to wait for a flush.
    fn give(&self, out: &mut MutexGuard<'_, Out>, item: Item, channels: &Channels) -> bool {
        match item {
            Item::Frame(frame) => out.rest = frame,
            Item::Pong(payload) => out.rest = frame::pong(&payload),
            Item::Snapshot => return self.give_snapshot(out, channels),
            Item::ExecutionState(id) => {
                let made = outside(out, || {
                    let (frame, cursor) = channels.blocks.state(id);
                    (self.pack(frame), cursor)
                });
                if let Some((packed, cursor)) = made {
                    out.follow(Channel::Blocks, cursor);
                    out.send_next(packed);
                }
            }
            Item::Logs(start) => {
                // With the filter that it has, if it has one.
                let mut log = out.log.take().unwrap_or_else(|| {
                    let everything = LogFilter::default();
                    Box::new(LogReader::waiting(everything))
                });
                out.positions.remove(Channel::Logs);
                let made = outside(out, || {
                    let piece = channels.begin_logs(&mut log, start);
                    self.pack_piece(log, piece)
                });
                if let Some(made) = made {
                    out.read_log(made);
                }
            }
        }
        true
    }

    fn give_snapshot(&self, out: &mut MutexGuard<'_, Out>, channels: &Channels) -> bool {
        let end = channels.state.end();
        if out.awaits_flush == Some(end) && !out.personal.is_crowded() {
            out.personal.put_back(Item::Snapshot);
            return false;
        }
        // Who has nothing yet does not wait, and who has waited does not wait again, lest the flushes be too fast for it. Nor does a client whose
        // queue has filled meanwhile; and nobody does for long, because everything else that this client was to get waits behind it.
        let can_wait = out.awaits_flush.is_none()
            && out.positions.get(Channel::State).is_some()
            && channels.state.broadcast_interval() <= LONGEST_WAIT;
        // Before the look: a flush that comes behind it wakes the client.
        out.awaits_flush.get_or_insert(end);
        let made = outside(out, || {
            let snapshot = match can_wait {
                true => channels.state.beginning_unless_due()?,
                false => channels.state.beginning(),
            };
            // Once for everybody who gets this version.
            let packed = self
                .compression
                .and_then(|_| channels.packed.snapshot(snapshot.version, &snapshot.frame));
            Some((snapshot, packed))
        });
        let (snapshot, packed) = match made {
            Some(Some(made)) => made,
            Some(None) => {
                out.personal.put_back(Item::Snapshot);
                return false;
            }
            None => return true,
        };
        out.awaits_flush = None;
        channels.metrics.snapshots.inc();
        out.follow(Channel::State, snapshot.cursor);
        out.send_next(match packed {
            Some(packed) => Packed::InWindow(packed),
            None => Packed::Plain(snapshot.frame),
        });
        true
    }

    /// Everybody's channels are written. What the client reads where it is kept comes next, a piece of it. False if there is nothing.
    fn read_on(&self, out: &mut MutexGuard<'_, Out>, channels: &Channels) -> bool {
        if let Some((id, covered)) = out.histories.first().copied() {
            let made = outside(out, || {
                let backlog = channels.backlog(id, covered)?;
                Some((self.pack(backlog.frame.unwrap_or_default()), backlog.goes_on))
            });
            match made {
                Some(Some((packed, goes_on))) => out.read_history(id, goes_on, packed),
                Some(None) => out.histories.retain(|(known, _)| *known != id),
                None => {}
            }
            return true;
        }
        let Some(mut log) = out.log.clone() else {
            return false;
        };
        let made = outside(out, || {
            let piece = channels.read_logs(&mut log);
            self.pack_piece(log, piece)
        });
        made.is_none_or(|made| out.read_log(made))
    }

    /// Compresses what was made for this client alone, if that pays. It enters the client's window then.
    fn pack(&self, frame: Bytes) -> Packed {
        let packed = self
            .compression
            .filter(|_| frame.len() >= NARROW_BYTES)
            .and_then(|compression| compress_apart(compression, std::slice::from_ref(&frame)));
        match packed {
            Some(packed) => Packed::InWindow(packed),
            None => Packed::Plain(frame),
        }
    }

    /// What passes a filter comes as it is: it may come for ever, and nobody else gets the same.
    fn pack_piece(&self, log: Box<LogReader>, piece: LogPiece) -> ReadLog {
        let message = piece.message.unwrap_or_default();
        let packed = if log.is_open() {
            self.pack(message)
        } else {
            Packed::Plain(message)
        };
        ReadLog {
            log,
            packed,
            joins: piece.joins,
            has_looked: piece.has_looked,
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
        let frames: Vec<Bytes> = batch.frames().cloned().collect();
        let Some(packed) = outside(out, || compress_apart(compression, &frames)) else {
            return;
        };
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

/// Lets go of the lock while something is made for this client. It keeps its own writer meanwhile, so nobody else writes; only closing can come
/// between, and then what was made is of no use.
fn outside<R>(out: &mut MutexGuard<'_, Out>, make: impl FnOnce() -> R) -> Option<R> {
    let made = MutexGuard::unlocked(out, make);
    (out.phase == Phase::Open).then_some(made)
}
