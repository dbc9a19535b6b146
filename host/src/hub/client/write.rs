//! How a client is written to: by the hub's loop while it keeps up, and by its own writer while it does not.

use std::io;
use std::time::Instant;

use autobench_core::deflate::{Coded, Follow, Pass, Turn, compress_apart};
use autobench_core::frame::CloseCode;
use autobench_core::outbox::{Batch, Channel, Next, View};
use bytes::{Buf, Bytes};
use parking_lot::MutexGuard;
use rustix::net::SendFlags;

use super::super::channels::Channels;
use super::super::metrics::{HubMetrics, Tally};
use super::super::personal::{Item, ItemKind};
use super::Client;
use super::out::{Out, Phase};

/// How much of a channel a client that catches up is given in one write.
const CATCH_UP_BYTES: usize = 256 << 10;
/// From this much on it is compressed for a client whose line is narrow.
const NARROW_BYTES: usize = 2 << 10;

/// How far a client's own writer got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Pumped {
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
    pub(in crate::hub) fn pump(&self, channels: &Channels) -> io::Result<Pumped> {
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
