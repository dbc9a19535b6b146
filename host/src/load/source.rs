//! A writer inside the daemon that changes the state at a steady rate.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use autobench_core::state::{Pointer, StateError};
use serde_json::json;

use super::latency::{FIELD, monotonic_ns};
use crate::state::StateHandle;

/// The slice that is changed.
const SLICE: &str = "load";

/// How much is to be changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadPlan {
    /// Changes of the state per second.
    pub updates_per_s: f64,
    /// Changes made at once; their rate stays the same, so larger bursts are rarer.
    pub burst: u32,
}

/// The writer's thread. It ends when this is dropped.
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
    /// Begins to write.
    pub fn start(state: &StateHandle, plan: LoadPlan) -> io::Result<Self> {
        let update = prepare(state).map_err(io::Error::other)?;
        let (stop, stopped) = mpsc::channel();
        let burst = plan.burst.max(1);
        let spacing = Duration::from_secs_f64(f64::from(burst) / plan.updates_per_s.max(1e-3));
        let thread = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || {
                let mut next = Instant::now();
                loop {
                    for _ in 0..burst {
                        update();
                    }
                    // A writer that was held up catches up, but not on more than a second.
                    next = (next + spacing).max(Instant::now() - Duration::from_secs(1));
                    match stopped.recv_timeout(next.saturating_duration_since(Instant::now())) {
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
