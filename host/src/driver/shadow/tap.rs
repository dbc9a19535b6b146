//! What the live driver was told, on its way to a shadow run.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Instant;

use autobench_core::driver::shadow::Tapped;
use parking_lot::{Condvar, Mutex};

/// Events that may wait for the run. The driver's thread never waits for it: one more, and the run has fallen off, which its report says.
const WAITING: usize = 8192;

/// The run's end.
#[derive(Default)]
pub struct Tap(Arc<Shared>);

/// The driver's end. It is good for nothing once the run is over.
pub struct Feed(Weak<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Tapped>,
    has_fallen_off: bool,
    /// Why the version that the run began with does not run any more.
    replaced: Option<String>,
    is_stopped: bool,
}

/// What the run hears.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// The driver was told this.
    Event(Tapped),
    /// More has happened than could wait.
    FellOff,
    /// The version that the run began with does not run any more: why.
    Replaced(String),
    /// The time is over, or nobody waits for the run any more.
    Over,
}

impl Tap {
    /// An end for the driver.
    pub fn feed(&self) -> Feed {
        Feed(Arc::downgrade(&self.0))
    }

    /// Ends the run from outside, by dropping what is answered.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::downgrade(&self.0))
    }

    /// Waits for the next event until then.
    pub fn next(&self, until: Instant) -> Heard {
        let mut state = self.0.state.lock();
        loop {
            if state.is_stopped {
                return Heard::Over;
            }
            if let Some(tapped) = state.waiting.pop_front() {
                return Heard::Event(tapped);
            }
            if state.has_fallen_off {
                return Heard::FellOff;
            }
            if let Some(why) = &state.replaced {
                return Heard::Replaced(why.clone());
            }
            if self.0.news.wait_until(&mut state, until).timed_out()
                && state.waiting.is_empty()
                && state.replaced.is_none()
            {
                return Heard::Over;
            }
        }
    }

    /// Why it is not sure that the version that the run began with still runs, if it is not.
    pub fn replaced(&self) -> Option<String> {
        let state = self.0.state.lock();
        match state.has_fallen_off {
            true => Some("more has happened than the run could follow".to_owned()),
            false => state.replaced.clone(),
        }
    }
}

impl Feed {
    /// Hands an event over. False when nobody wants any.
    pub fn push(&self, tapped: Tapped) -> bool {
        let Some(shared) = self.0.upgrade() else {
            return false;
        };
        let mut state = shared.state.lock();
        if state.has_fallen_off {
            return false;
        }
        if state.waiting.len() >= WAITING {
            state.has_fallen_off = true;
        } else {
            state.waiting.push_back(tapped);
        }
        drop(state);
        shared.news.notify_one();
        true
    }
}

impl Feed {
    /// The version that the run began with does not run any more.
    pub fn replaced(self, why: String) {
        if let Some(shared) = self.0.upgrade() {
            shared.state.lock().replaced.get_or_insert(why);
            shared.news.notify_one();
        }
    }
}

/// Ends the run when it is dropped: whoever wanted it is gone.
pub struct Stopper(Weak<Shared>);

impl Drop for Stopper {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.state.lock().is_stopped = true;
            shared.news.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use autobench_core::driver::shadow::Told;
    use autobench_core::driver::{CallTime, TimerId};

    use super::*;

    fn tapped(number: u32) -> Tapped {
        Tapped {
            told: Told::TimerGone(TimerId(number)),
            time: CallTime {
                monotonic_ns: 0,
                wall_ms: 0.0,
            },
            refused: false,
        }
    }

    #[test]
    fn a_run_that_does_not_follow_falls_off_and_hears_so_after_what_waited() {
        let tap = Tap::default();
        let feed = tap.feed();
        for number in 0..WAITING as u32 {
            assert!(feed.push(tapped(number)));
        }
        assert!(feed.push(tapped(0)), "this one makes it fall off");
        assert!(!feed.push(tapped(0)));
        let until = Instant::now() + Duration::from_secs(60);
        for number in 0..WAITING as u32 {
            assert_eq!(tap.next(until), Heard::Event(tapped(number)));
        }
        assert_eq!(tap.next(until), Heard::FellOff);
    }

    #[test]
    fn a_run_hears_behind_what_waited_that_its_version_was_replaced() {
        let tap = Tap::default();
        let feed = tap.feed();
        assert!(feed.push(tapped(1)));
        assert_eq!(tap.replaced(), None);
        feed.replaced("another one came".to_owned());
        let until = Instant::now() + Duration::from_secs(60);
        assert_eq!(tap.next(until), Heard::Event(tapped(1)));
        assert_eq!(tap.next(until), Heard::Replaced("another one came".to_owned()));
        assert_eq!(tap.replaced().as_deref(), Some("another one came"));
    }

    #[test]
    fn a_run_ends_with_its_time_or_with_whoever_wanted_it_and_the_driver_lets_go() {
        let tap = Tap::default();
        let feed = tap.feed();
        assert_eq!(tap.next(Instant::now()), Heard::Over);
        let stopper = tap.stopper();
        assert!(feed.push(tapped(1)));
        drop(stopper);
        assert_eq!(tap.next(Instant::now() + Duration::from_secs(60)), Heard::Over);
        drop(tap);
        assert!(!feed.push(tapped(1)));
    }
}
