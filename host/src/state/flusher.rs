//! When a flush goes out, and who makes it; the snapshots that close one; and the host-owned counters, which the flusher runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use autobench_core::frame;
use autobench_core::outbox::Segment;
use autobench_core::state::Flush;
use autobench_core::wire::encode;
use bytes::Bytes;
use tokio::time::Instant;

use super::{Beginning, Shared, Snapshot, Stream};

pub(super) async fn run_flusher(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    let mut next_counters = Instant::now();
    let mut is_waiting = false;
    loop {
        let is_watched = shared.watchers.load(Ordering::Acquire) > 0;
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            () = shared.dirty.notified(), if !is_waiting => is_waiting = true,
            () = tokio::time::sleep_until(shared.next_flush()), if is_waiting => {}
            () = tokio::time::sleep_until(next_counters), if is_watched => {
                shared.run_counters();
                next_counters = Instant::now() + shared.config.counters_interval;
            }
            () = shared.watched.notified(), if !is_watched => {}
        }
        // An idle flush goes out at once, mostly by whoever made the change; only one that follows another is spaced.
        if is_waiting && shared.is_idle() {
            is_waiting = false;
            shared.flush_for_all();
        }
    }
    shared.flush();
}

impl Shared {
    /// What a change has to be followed by.
    pub(super) fn send(&self, has_pending: bool, is_full: bool) {
        if is_full {
            self.flush();
        } else if has_pending && !self.is_dirty.swap(true, Ordering::AcqRel) {
            if self.is_idle() {
                // Nothing to space: whoever made the change sends it, and nobody has to be woken first.
                self.flush();
            } else {
                self.dirty.notify_one();
            }
        }
    }

    fn flush(&self) {
        let begin = self.begin_flush();
        self.publish_pending(begin);
    }

    /// A flush of counters that nothing else came with. No interval begins with it: once a second, it would hold up whatever a device says right after it.
    fn flush_counters(&self) {
        self.is_dirty.store(false, Ordering::Release);
        self.publish_pending(Instant::now());
    }

    fn publish_pending(&self, begin: Instant) {
        let mut stream = self.stream.lock();
        let flush = self.store.lock().take_flush();
        self.publish(&mut stream, flush);
        drop(stream);
        self.metrics.flush_time.observe(begin.elapsed());
    }

    /// The flusher's own: it makes the snapshot that clients wait for. Whoever changes the state does not, and waits for no client.
    fn flush_for_all(&self) {
        let mut stream = self.stream.lock();
        if stream.is_awaited {
            self.begin_flush();
            self.take_snapshot(&mut stream);
        } else {
            drop(stream);
            self.flush();
        }
    }

    fn begin_flush(&self) -> Instant {
        // Before the flush is taken: a change that comes between is then in this flush or wakes the flusher again.
        self.is_dirty.store(false, Ordering::Release);
        let begin = Instant::now();
        let next = begin.saturating_duration_since(self.began) + self.config.broadcast_interval;
        let next_ns = u64::try_from(next.as_nanos()).unwrap_or(u64::MAX);
        self.next_flush_ns.store(next_ns, Ordering::Release);
        begin
    }

    pub(super) fn begin(&self, stream: &mut Stream) -> Beginning {
        if self.store.lock().has_pending() {
            // It closes a flush, so the next one is an interval behind it.
            self.begin_flush();
        }
        let Snapshot {
            version,
            frame,
            cursor,
            ..
        } = self.take_snapshot(stream);
        Beginning {
            version,
            frame,
            cursor,
        }
    }

    pub(super) fn take_snapshot(&self, stream: &mut Stream) -> Snapshot {
        let begin = Instant::now();
        let snapshot = self.store.lock().snapshot();
        self.publish(stream, snapshot.closed);
        let frame = match &stream.beginning {
            Some(known) if known.version == snapshot.version => known.frame.clone(),
            _ => self.frame(snapshot.version, &snapshot.data),
        };
        let (version, cursor) = (snapshot.version, stream.ring.cursor());
        stream.beginning = Some(Beginning {
            version,
            frame: frame.clone(),
            cursor,
        });
        stream.is_awaited = false;
        self.metrics.snapshots.inc();
        self.metrics.snapshot_time.observe(begin.elapsed());
        Snapshot {
            version,
            data: snapshot.data,
            frame,
            cursor,
        }
    }

    fn frame(&self, version: u64, data: &[u8]) -> Bytes {
        let boot_id = &self.config.boot_id;
        let built = frame::build_text(data.len() + boot_id.len() + 96, |out| {
            encode::state_snapshot(out, boot_id, version, data);
            Ok::<(), Infallible>(())
        });
        match built {
            Ok(frame) => frame,
            Err(never) => match never {},
        }
    }

    fn next_flush(&self) -> Instant {
        self.began + Duration::from_nanos(self.next_flush_ns.load(Ordering::Acquire))
    }

    /// Whether the last flush is long enough ago that a change need not wait.
    pub(super) fn is_idle(&self) -> bool {
        Instant::now() >= self.next_flush()
    }

    pub(super) fn publish(&self, stream: &mut Stream, flush: Option<Flush>) {
        let Some(flush) = flush else {
            return;
        };
        stream.beginning = None;
        self.metrics.patches.inc();
        self.metrics.patch_bytes.add(flush.frame.len() as u64);
        stream.ring.push(Segment {
            bytes: frame::text(&flush.frame),
            first: flush.from_version + 1,
            last: flush.to_version,
        });
        // Under the lock, so that the number never goes back.
        self.flushed.send_replace(stream.ring.end());
    }

    fn run_counters(&self) {
        let mut counters = self.counters.lock();
        let mut store = self.store.lock();
        let is_alone = !store.has_pending() && self.is_idle();
        for counter in counters.iter_mut() {
            counter(&mut store);
        }
        let has_pending = store.has_pending();
        let changed = store.take_observed_changes();
        drop(store);
        self.observers.tell(&changed);
        if has_pending && is_alone {
            self.flush_counters();
        } else if has_pending && !self.is_dirty.swap(true, Ordering::AcqRel) {
            self.dirty.notify_one();
        }
    }
}
