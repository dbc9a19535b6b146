//! The timers of one driver, by due time.

use super::{TimerChange, TimerId};

/// Most timers of one driver. A call that sets more is broken off as a fault (`limit exceeded`); the runtime answers `full` before that.
pub const TIMERS: usize = 64;

/// Running timers. At most [`TIMERS`], so a sorted list is smaller and faster than a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timers {
    /// Latest first: the next one to run out is popped from the end.
    running: Vec<(u64, TimerId)>,
}

impl Timers {
    /// Sets or cancels one.
    pub fn apply(&mut self, change: TimerChange) {
        match change {
            TimerChange::Set { id, at_ns } => {
                self.cancel(id);
                let place = self.running.partition_point(|&timer| timer > (at_ns, id));
                self.running.insert(place, (at_ns, id));
            }
            TimerChange::Cancel { id } => self.cancel(id),
        }
    }

    /// Takes one back. One that is not running is no error.
    pub fn cancel(&mut self, id: TimerId) {
        self.running.retain(|&(_, running)| running != id);
    }

    /// Whether it runs.
    pub fn is_running(&self, id: TimerId) -> bool {
        self.running.iter().any(|&(_, running)| running == id)
    }

    /// Whether no more than [`TIMERS`] run after these changes, and at no moment between them.
    pub fn fit(&self, changes: &[TimerChange]) -> bool {
        if self.running.len() + changes.len() <= TIMERS {
            return true;
        }
        let mut after = self.clone();
        changes.iter().all(|&change| {
            after.apply(change);
            after.running.len() <= TIMERS
        })
    }

    /// The next timer that has run out, taken out.
    pub fn pop_due(&mut self, now_ns: u64) -> Option<TimerId> {
        self.running
            .pop_if(|(at_ns, _)| *at_ns <= now_ns)
            .map(|(_, id)| id)
    }

    /// When the next one runs out.
    pub fn next_ns(&self) -> Option<u64> {
        self.running.last().map(|&(at_ns, _)| at_ns)
    }

    /// All ids, the next to run out first.
    pub fn ids(&self) -> Vec<TimerId> {
        self.running.iter().rev().map(|&(_, id)| id).collect()
    }

    /// All, with when they run out.
    #[cfg(test)]
    pub fn running(&self) -> Vec<(u64, TimerId)> {
        self.running.iter().rev().copied().collect()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.running.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn timers_run_out_once_and_in_order_of_their_times(
            changes in prop::collection::vec((0u32..80, 0u64..50, any::<bool>()), 0..120),
        ) {
            let mut timers = Timers::default();
            let mut model = BTreeMap::new();
            for (id, at_ns, is_set) in changes {
                let change = match is_set {
                    true => TimerChange::Set { id: TimerId(id), at_ns },
                    false => TimerChange::Cancel { id: TimerId(id) },
                };
                let fits = model.contains_key(&id) || !is_set || model.len() < TIMERS;
                prop_assert_eq!(timers.fit(&[change]), fits);
                if !fits {
                    continue;
                }
                timers.apply(change);
                match is_set {
                    true => model.insert(id, at_ns),
                    false => model.remove(&id),
                };
                prop_assert_eq!(timers.next_ns(), model.values().min().copied());
            }
            let mut expected: Vec<_> = model.into_iter().map(|(id, at_ns)| (at_ns, id)).collect();
            expected.sort_unstable();
            for now_ns in 0..50 {
                while let Some(id) = timers.pop_due(now_ns) {
                    prop_assert_eq!((now_ns, id.0), expected.remove(0));
                }
            }
            prop_assert!(expected.is_empty());
        }
    }
}
