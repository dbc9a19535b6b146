//! Writers inside the daemon: one that changes the state, one that logs, each at a steady rate.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use autobench_core::driver::LogLevel;
use autobench_core::state::{Pointer, StateError};
use serde_json::json;

use super::latency::{FIELD, monotonic_ns};
use crate::logs::{LogHandle, LogRecord};
use crate::sched;
use crate::state::StateHandle;

/// The slice that is changed.
const SLICE: &str = "load";

/// The first log entry of the load, and every so many-th after it, is a warning; the others are not.
pub(super) const MARK_EVERY: u64 = 10;

/// How much is to be written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadPlan {
    /// Changes of the state, or log entries, per second.
    pub per_s: f64,
    /// Made at once; the rate stays the same, so larger bursts are rarer.
    pub burst: u32,
}

/// A writer's thread. It ends when this is dropped.
#[derive(Debug)]
pub struct Source {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Makes the slice of the load, and gives a change of it: a patch of some 180 bytes that carries the moment at which it was made.
pub fn prepare(state: &StateHandle) -> Result<impl Fn() + Send + use<>, StateError> {
    state.replace_slice(SLICE, json!({ "lastSample": { FIELD: 0 } }))?;
    let at = Pointer::of([SLICE, "lastSample", FIELD]);
    let state = state.clone();
    Ok(move || {
        let now = monotonic_ns().into();
        // The member is there and a number is always allowed.
        let _ = state.update(|store| store.set(&at, now));
    })
}

impl Source {
    /// Begins to change the state.
    pub fn updates(state: &StateHandle, plan: LoadPlan) -> io::Result<Self> {
        let update = prepare(state).map_err(io::Error::other)?;
        Self::start("load", plan, update)
    }

    /// Begins to log.
    pub fn entries(logs: &LogHandle, plan: LoadPlan) -> io::Result<Self> {
        let logs = logs.clone();
        let mut count = 0_u64;
        Self::start("load-log", plan, move || {
            count += 1;
            let text = format!(
                "entry {count} of the load: the meter answers, and this is as long as most lines are"
            );
            let level = if count % MARK_EVERY == 1 {
                LogLevel::Warn
            } else {
                LogLevel::Info
            };
            logs.append(LogRecord::new("benchmark", level, text).of_device("load"));
        })
    }

    fn start(name: &str, plan: LoadPlan, mut act: impl FnMut() + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let burst = plan.burst.max(1);
        let spacing = Duration::from_secs_f64(f64::from(burst) / plan.per_s.max(1e-3));
        // As a driver's thread is.
        let thread = sched::spawn(name, move || {
            let mut next = Instant::now();
            loop {
                for _ in 0..burst {
                    act();
                }
                // Whoever was held up catches up, but not on more than a second.
                let now = Instant::now();
                next = (next + spacing).max(now.checked_sub(Duration::from_secs(1)).unwrap_or(now));
                match stopped.recv_timeout(next.saturating_duration_since(now)) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
