//! The one writer of the state, and the stream of patches that clients follow.
//!
//! ```text
//! drivers, app --(store lock)--> Store --take_flush--> (stream lock) ring of segments --changes()--> hub
//!                                  ^                        |
//!                                  +------- snapshot -------+   both locks: a snapshot and its place in the stream are one point
//! ```
//!
//! There are two locks with one order: *stream*, then *store*. Whoever only changes the state takes the store's alone, for as long as the
//! change takes; encoding and publishing a flush happens under the stream's. A snapshot takes both, closes the pending flush and publishes it
//! first, so what follows in the stream begins at the snapshot's version: there is no gap and nothing twice. Clients share theirs, and get what was
//! flushed last: whoever has something already and asks again, however often, costs no flush, and there is one snapshot between two flushes.
//!
//! A change after a pause goes out at once, by the thread that made it; those that follow within the broadcast interval wait for the flusher task.
//! It also runs the host-owned counters (see [`StateHandle::register_counters`]). This module knows nothing of sockets and clients, except
//! how many are watching.

mod flusher;
mod metrics;
mod observers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use autobench_core::outbox::{Cursor, RING_BYTES, Resume, Ring, RingView};
use autobench_core::state::{Operation, StateError, Store};
use bytes::Bytes;
use parking_lot::Mutex;

pub use self::metrics::StateMetrics;
pub use self::observers::Observer;
use self::observers::Observers;
use crate::metrics::Page;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How the stream of patches behaves.
#[derive(Debug, Clone)]
pub struct StateConfig {
    /// Names this run of the daemon, in every snapshot.
    pub boot_id: String,
    /// Distance between two flushes while changes keep coming; zero sends each change by itself.
    pub broadcast_interval: Duration,
    /// Memory for segments; see [`RING_BYTES`].
    pub ring_bytes: usize,
    /// Distance between two runs of the counters.
    pub counters_interval: Duration,
}

impl StateConfig {
    /// The documented defaults.
    pub fn new(boot_id: impl Into<String>) -> Self {
        Self {
            boot_id: boot_id.into(),
            broadcast_interval: Duration::from_millis(10),
            ring_bytes: RING_BYTES,
            counters_interval: Duration::from_secs(1),
        }
    }
}

/// The state. Cheap to clone; every clone is the same state.
#[derive(Clone)]
pub struct StateHandle {
    shared: Arc<Shared>,
}

/// The document at one version, and the place in the stream that follows it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The version.
    pub version: u64,
    /// The document as JSON.
    pub data: Bytes,
    /// The same in a `state.snapshot`, as a WebSocket frame; one for everybody who asks at this version.
    pub frame: Bytes,
    /// Where the patches go on.
    pub cursor: Cursor,
}

/// What a client begins with; one for all who ask between two flushes.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// The version.
    pub version: u64,
    /// The document in a `state.snapshot`, as a WebSocket frame.
    pub frame: Bytes,
    /// Where the patches go on.
    pub cursor: Cursor,
}

/// Somebody looks at the state: the counters run while at least one of these lives.
#[derive(Debug)]
pub struct Watching {
    shared: Arc<Shared>,
}

/// What was changed by somebody who had something more urgent to do than to send it. It goes out with the next change of anybody, and at the latest when
/// this is dropped.
#[derive(Debug)]
pub struct Unsent {
    shared: Arc<Shared>,
}

/// Somebody observes these slices.
#[derive(Debug)]
pub struct Observing {
    shared: Arc<Shared>,
    slices: Box<[Arc<str>]>,
    id: u64,
}

impl Observing {
    /// The slices.
    pub fn slices(&self) -> &[Arc<str>] {
        &self.slices
    }
}

type Counters = Box<dyn FnMut(&mut Store) + Send>;

struct Shared {
    config: StateConfig,
    metrics: StateMetrics,
    /// Taken before `store`, never after it.
    stream: Mutex<Stream>,
    store: Mutex<Store>,
    observers: Observers,
    /// Set by the first change after a flush, so that only that one wakes the flusher.
    is_dirty: AtomicBool,
    began: Instant,
    /// Nanoseconds since `began` before which changes wait.
    next_flush_ns: AtomicU64,
    dirty: Notify,
    flushed: watch::Sender<u64>,
    /// Taken before both others; held while the counters run.
    counters: Mutex<Vec<Counters>>,
    watchers: AtomicUsize,
    watched: Notify,
    stop: watch::Sender<bool>,
    flusher: Mutex<Option<JoinHandle<()>>>,
}

struct Stream {
    ring: Ring,
    /// The snapshot of what was published last. One more copy of the document, dropped by the next flush.
    beginning: Option<Beginning>,
    /// Somebody waits for the flusher to make the next one.
    is_awaited: bool,
}

impl StateHandle {
    /// Takes the store over and starts the flusher. Needs a tokio runtime.
    pub fn start(store: Store, config: StateConfig) -> Self {
        let handle = Self {
            shared: Arc::new(Shared {
                stream: Mutex::new(Stream {
                    ring: Ring::new(config.ring_bytes, store.version()),
                    beginning: None,
                    is_awaited: false,
                }),
                config,
                metrics: StateMetrics::default(),
                store: Mutex::new(store),
                observers: Observers::default(),
                is_dirty: AtomicBool::new(false),
                began: Instant::now(),
                next_flush_ns: AtomicU64::new(0),
                dirty: Notify::new(),
                flushed: watch::channel(0).0,
                counters: Mutex::new(Vec::new()),
                watchers: AtomicUsize::new(0),
                watched: Notify::new(),
                stop: watch::channel(false).0,
                flusher: Mutex::new(None),
            }),
        };
        let task = tokio::spawn(flusher::run_flusher(Arc::clone(&handle.shared)));
        *handle.shared.flusher.lock() = Some(task);
        handle
    }

    /// Names this run of the daemon.
    pub fn boot_id(&self) -> &str {
        &self.shared.config.boot_id
    }

    /// The present version.
    pub fn version(&self) -> u64 {
        self.shared.store.lock().version()
    }

    /// A driver's operations on its slice: all or none. Gives the new version, or none when nothing has changed.
    pub fn apply_slice(&self, slice: &str, operations: &[Operation]) -> Result<Option<u64>, StateError> {
        self.update(|store| store.apply(slice, operations))
    }

    /// Makes a slice equal to a value, with operations only for what differs; creates it if it is missing.
    pub fn replace_slice(&self, slice: &str, value: serde_json::Value) -> Result<Option<u64>, StateError> {
        self.update(|store| store.replace_slice(slice, value))
    }

    /// Takes a slice away. One that is not there is no change.
    pub fn remove_member(&self, name: &str) -> Result<Option<u64>, StateError> {
        self.update(|store| store.remove_slice(name))
    }

    /// Any change. The closure holds the store's lock: it must not wait, log, or call this handle again. Parse before, not inside.
    pub fn update<R>(&self, change: impl FnOnce(&mut Store) -> R) -> R {
        let shared = &self.shared;
        if shared.config.broadcast_interval.is_zero() {
            // Each change is a flush of its own: no other change may come between.
            let mut stream = shared.stream.lock();
            let mut store = shared.store.lock();
            let result = change(&mut store);
            let flush = store.take_flush();
            let changed = store.take_observed_changes();
            drop(store);
            shared.publish(&mut stream, flush);
            drop(stream);
            shared.observers.tell(&changed);
            return result;
        }
        let mut store = shared.store.lock();
        let result = change(&mut store);
        let (has_pending, is_full) = (store.has_pending(), store.pending_is_full());
        let changed = store.take_observed_changes();
        drop(store);
        shared.observers.tell(&changed);
        shared.send(has_pending, is_full);
        result
    }

    /// As [`Self::update`], and sends nothing and wakes nobody until what it answers is dropped, who observes a changed slice excepted. Where each change
    /// is a flush of its own this one is too.
    pub fn update_unsent<R>(&self, change: impl FnOnce(&mut Store) -> R) -> (R, Unsent) {
        let shared = &self.shared;
        let result = if shared.config.broadcast_interval.is_zero() {
            self.update(change)
        } else {
            let mut store = shared.store.lock();
            let result = change(&mut store);
            let changed = store.take_observed_changes();
            drop(store);
            shared.observers.tell(&changed);
            result
        };
        let shared = Arc::clone(shared);
        (result, Unsent { shared })
    }

    /// One member as JSON.
    pub fn slice_bytes(&self, slice: &str) -> Option<Bytes> {
        self.shared.store.lock().member_bytes(slice)
    }

    /// Says from now on when one of these slices has changed, comes or goes, until what this answers is dropped.
    pub fn observe(&self, slices: &[Arc<str>], observer: Observer) -> Observing {
        let shared = Arc::clone(&self.shared);
        Observing {
            id: shared.observers.add(slices, &observer, &shared.store),
            slices: slices.into(),
            shared,
        }
    }

    /// The document now, and where the stream goes on from it.
    pub fn snapshot(&self) -> Snapshot {
        let mut stream = self.shared.stream.lock();
        self.shared.take_snapshot(&mut stream)
    }

    /// The document for a client: as it was flushed last, if somebody has asked since, and otherwise as it is now. However many ask, there are at
    /// most two flushes in an interval, and one snapshot for each.
    pub fn beginning(&self) -> Beginning {
        let mut stream = self.shared.stream.lock();
        match &stream.beginning {
            Some(beginning) => beginning.clone(),
            None => self.shared.begin(&mut stream),
        }
    }

    /// The same for a client that can wait, and costs no flush. None if one is to come: the client asks again when [`StateHandle::end`] has moved,
    /// and gets what the flusher has made for all who wait.
    pub fn beginning_unless_due(&self) -> Option<Beginning> {
        let shared = &self.shared;
        let mut stream = shared.stream.lock();
        if let Some(beginning) = &stream.beginning {
            return Some(beginning.clone());
        }
        if !shared.is_idle() && shared.store.lock().has_pending() {
            stream.is_awaited = true;
            return None;
        }
        Some(shared.begin(&mut stream))
    }

    /// How far two flushes are apart at least.
    pub fn broadcast_interval(&self) -> Duration {
        self.shared.config.broadcast_interval
    }

    /// The number that the next segment gets.
    pub fn end(&self) -> u64 {
        *self.shared.flushed.borrow()
    }

    /// The version up to which the stream of patches goes.
    pub fn published(&self) -> u64 {
        self.shared.stream.lock().ring.cursor().covered
    }

    /// What was counted.
    pub fn metrics(&self) -> &StateMetrics {
        &self.shared.metrics
    }

    /// Says it to a scraper.
    pub fn page(&self, page: &mut Page) {
        self.metrics().page(self.version(), page);
    }

    /// Whether the flusher runs: without it no change gets out.
    pub fn is_running(&self) -> bool {
        let flusher = self.shared.flusher.lock();
        flusher.as_ref().is_some_and(|task| !task.is_finished())
    }

    /// The segments from a number on.
    pub fn view(&self, from: u64, limit_bytes: usize) -> RingView {
        self.shared.stream.lock().ring.view(from, limit_bytes)
    }

    /// Where a client goes on that was away, if it can; see [`Resume::decide`].
    pub fn resume(&self, resume: &Resume, next_log_seq: u64) -> Option<Cursor> {
        let stream = self.shared.stream.lock();
        resume.decide(self.boot_id(), &stream.ring, next_log_seq)
    }

    /// The number that the next segment gets, and a way to wait until it changes. Several segments may be one change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.flushed.subscribe()
    }

    /// Registers host-owned counters (log metadata, clients, health, last seen). All of them run together, at most once per interval and
    /// only while somebody watches; what is equal to what is there is no change and makes no frame. The closure holds the store's lock: it
    /// must not wait, log, or call this handle.
    pub fn register_counters(&self, counters: impl FnMut(&mut Store) + Send + 'static) {
        self.shared.counters.lock().push(Box::new(counters));
    }

    /// Says that somebody looks at the state from now on.
    pub fn watch(&self) -> Watching {
        if self.shared.watchers.fetch_add(1, Ordering::AcqRel) == 0 {
            self.shared.watched.notify_one();
        }
        Watching {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Publishes what is pending and stops the flusher. Changes are still taken, but nobody hears of them.
    pub async fn close(&self) {
        self.shared.stop.send_replace(true);
        let task = self.shared.flusher.lock().take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the state's flusher ended badly");
        }
    }
}

impl std::fmt::Debug for StateHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateHandle")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        let (has_pending, is_full) = {
            let store = self.shared.store.lock();
            (store.has_pending(), store.pending_is_full())
        };
        self.shared.send(has_pending, is_full);
    }
}

impl Drop for Observing {
    fn drop(&mut self) {
        self.shared
            .observers
            .remove(&self.slices, self.id, &self.shared.store);
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.shared.watchers.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
