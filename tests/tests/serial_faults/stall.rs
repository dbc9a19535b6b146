//! When the machine stood still: a thread that wants to run every few milliseconds, and notes when it was not let.
//!
//! What is measured in real time is measured together with what else the machine does. A beat that comes this late says that no program got to run in
//! time, and what that took is not the daemon's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const BEAT: Duration = Duration::from_millis(10);
/// A machine that is merely busy makes nobody wait for so long.
const LATE: Duration = Duration::from_millis(100);

/// The thread.
pub(crate) struct Stalls {
    seen: Arc<Mutex<Vec<(Instant, Duration)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stalls {
    pub(crate) fn watch() -> Self {
        let (seen, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (notes, ends) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || beat(&notes, &ends));
        Self {
            seen,
            stop,
            thread: Some(thread),
        }
    }

    /// How long the machine has stood still since then.
    pub(crate) fn since(&self, then: Instant) -> Duration {
        let seen = self.seen.lock().unwrap();
        let since = seen.iter().rev().take_while(|(at, _)| *at >= then);
        since.map(|(at, late)| at.duration_since(then).min(*late)).sum()
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn beat(seen: &Mutex<Vec<(Instant, Duration)>>, ends: &AtomicBool) {
    let mut last = Instant::now();
    while !ends.load(Ordering::Relaxed) {
        std::thread::sleep(BEAT);
        let now = Instant::now();
        let late = now.duration_since(last).saturating_sub(BEAT);
        if late >= LATE {
            seen.lock().unwrap().push((now, late));
        }
        last = now;
    }
}
