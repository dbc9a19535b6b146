//! The one loop that writes to everybody who keeps up, and tends all: its thread, its pass, and its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use autobench_core::frame::CloseCode;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::channels::Seen;
use super::client::Patience;
use super::metrics::Tally;
use super::{Shared, contexts};
use crate::sched;

/// The loop's thread. It has one for itself: a pass over a thousand sockets takes a millisecond or two, in which no other task of a shared
/// thread would run, and a thread that does nothing else is woken with one call of the system, where a pool wakes several.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) thread: std::thread::JoinHandle<()>,
    /// Resolves when the thread has ended, however.
    pub(super) ended: oneshot::Receiver<()>,
}

/// What the loop waits for.
struct Signals {
    stop: watch::Receiver<bool>,
    state: watch::Receiver<u64>,
    logs: watch::Receiver<u64>,
    /// Dropped when nothing more is passed on.
    running: watch::Sender<()>,
}

pub(super) fn begin_loop(shared: &Arc<Shared>, running: watch::Sender<()>) -> Option<Loop> {
    // Without an I/O driver: the loop waits for signals and for time, and never for a socket.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let (end, ended) = oneshot::channel();
    let looping = Arc::clone(shared);
    // From here on, and not from when the thread gets its turn: what happens in between is news for it.
    let signals = Signals {
        stop: shared.stop.subscribe(),
        state: shared.channels.state.changes(),
        logs: shared.channels.logs.changes(),
        running,
    };
    let thread = runtime.and_then(|runtime| {
        sched::spawn("hub", move || {
            let _end = end;
            runtime.block_on(run(looping, signals));
        })
    });
    match thread {
        Ok(thread) => Some(Loop { thread, ended }),
        Err(error) => {
            // Seen by whoever asks after the daemon's health, too.
            tracing::error!(%error, "the hub's loop cannot be started");
            None
        }
    }
}

/// The one loop. It ends when the hub is closed, with a last pass.
async fn run(shared: Arc<Shared>, signals: Signals) {
    let Signals {
        mut stop,
        mut state,
        mut logs,
        running,
    } = signals;
    let mut tend = tokio::time::interval(shared.tend_interval());
    tend.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen = Seen::default();
    let mut coder = contexts::Coder::default();
    let mut next_publish = Instant::now();
    let mut is_waiting = false;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            _ = state.changed() => {}
            Ok(()) = logs.changed(), if !is_waiting => is_waiting = true,
            () = shared.news.notified(), if !is_waiting => is_waiting = true,
            () = tokio::time::sleep_until(next_publish), if is_waiting => {}
            _ = tend.tick() => {
                shared.tend();
                coder.rest(shared.client_count.load(Ordering::Acquire), &shared.channels.packed);
            }
        }
        if is_waiting && Instant::now() >= next_publish {
            is_waiting = false;
            // Before publishing: what comes in between wakes the loop again.
            shared.has_news.store(false, Ordering::Release);
            shared.channels.publish();
            next_publish = Instant::now() + shared.config.broadcast_interval;
        }
        shared.pass(&mut seen, &mut coder);
    }
    // What stopping the devices changed. A snapshot closes the flush that is pending.
    shared.channels.publish();
    let _ = shared.channels.state.snapshot();
    shared.pass(&mut seen, &mut coder);
    drop(running);
    if shared.is_orphaned.load(Ordering::Acquire) {
        say_goodbye(&shared, &mut tend).await;
    }
}

impl Shared {
    /// Writes what is new to everybody who keeps up.
    fn pass(&self, seen: &mut Seen, coder: &mut contexts::Coder) {
        let view = self.channels.news(seen);
        if view.is_empty() {
            return;
        }
        let begin = Instant::now();
        let mut pass = coder.begin(&view, &self.channels);
        let clients = Arc::clone(&self.clients.lock());
        let mut last = None;
        let mut tally = Tally::default();
        for client in clients.iter() {
            client.write_shared(&view, &mut last, &mut pass, &mut tally);
        }
        coder.end(pass);
        self.passed.send_modify(|passes| *passes += 1);
        if tally.writes > 0 {
            self.channels.metrics.passed(&tally, begin.elapsed());
        }
    }

    fn tend(&self) {
        let limits = &self.config.limits;
        let patience = Patience {
            heartbeat_interval: Duration::from_millis(limits.heartbeat_interval_ms.into()),
            heartbeat_timeout: Duration::from_millis(limits.heartbeat_timeout_ms.into()),
            stall_timeout: self.config.stall_timeout,
            close_timeout: self.config.close_timeout,
            auth_timeout: self.config.auth_timeout,
        };
        let now = std::time::Instant::now();
        let clients = Arc::clone(&self.clients.lock());
        for client in clients.iter() {
            client.tend(now, patience, &self.config.guard);
        }
        for listener in self.listeners.lock().values() {
            listener.tend(&self.config.guard);
        }
        let version = self.channels.state.published();
        self.lag.note(version, self.lag(version, now).most_versions);
        while self.sessions.lock().try_join_next().is_some() {}
    }

    /// Often enough for the shortest of the time-outs, and never more than once per second for the usual ones.
    fn tend_interval(&self) -> Duration {
        let heartbeat = Duration::from_millis(self.config.limits.heartbeat_interval_ms.into());
        let shortest = heartbeat
            .min(self.config.stall_timeout)
            .min(self.config.close_timeout)
            .min(self.config.auth_timeout);
        (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }
}

/// What closing does for clients, where nobody closes. The loop tends them until the last is gone or the time for that is over.
async fn say_goodbye(shared: &Shared, tend: &mut tokio::time::Interval) {
    let sessions = || shared.sessions.lock();
    let clients = Arc::clone(&shared.clients.lock());
    for client in clients.iter() {
        client.close(CloseCode::GoingAway, "the daemon is stopping");
    }
    // Twice: once for the client to take the close frame, once for it to answer.
    let until = Instant::now() + 2 * shared.config.close_timeout;
    while Instant::now() < until {
        tend.tick().await;
        shared.tend();
        if sessions().is_empty() {
            return;
        }
    }
    sessions().abort_all();
}
