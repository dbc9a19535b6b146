//! Requests that wait for something to happen: so many of one, and so many altogether. They take no place of those for connections (`places`), so
//! this is what bounds them. Whoever comes beyond does not wait, and is told so: who waits already may do so for a minute.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::answers::Taker;

/// All that wait. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Waits {
    limit: usize,
    limit_of_one: usize,
    waiting: Arc<Mutex<Waiting>>,
}

/// Bounded by the limit: whoever does not wait is forgotten.
#[derive(Debug, Default)]
struct Waiting {
    all: usize,
    by_taker: HashMap<Taker, usize>,
}

/// A request waits as long as this lives.
#[derive(Debug)]
pub(super) struct Wait {
    waits: Waits,
    taker: Taker,
}

impl Waits {
    pub(super) fn new(limit: usize, limit_of_one: usize) -> Self {
        Self {
            limit,
            limit_of_one,
            waiting: Arc::default(),
        }
    }

    /// Lets one more wait, unless there are too many, altogether or for the same.
    pub(super) fn begin(&self, taker: Taker) -> Option<Wait> {
        let mut waiting = self.waiting.lock();
        let count = waiting.by_taker.get(&taker).copied().unwrap_or_default();
        if waiting.all >= self.limit || count >= self.limit_of_one {
            return None;
        }
        waiting.all += 1;
        waiting.by_taker.insert(taker.clone(), count + 1);
        Some(Wait {
            waits: self.clone(),
            taker,
        })
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut waiting = self.waits.waiting.lock();
        waiting.all -= 1;
        if let Some(count) = waiting.by_taker.get_mut(&self.taker) {
            *count -= 1;
            if *count == 0 {
                waiting.by_taker.remove(&self.taker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_its_share_and_all_together_theirs() {
        let waits = Waits::new(5, 3);
        let begin = |name: &str, times: usize| -> Vec<Wait> {
            let taker = Taker::Actor(name.into());
            (0..times).filter_map(|_| waits.begin(taker.clone())).collect()
        };
        let mut one = begin("one", 9);
        let two = begin("two", 9);
        assert_eq!((one.len(), two.len()), (3, 2));
        assert!(begin("three", 1).is_empty());
        one.pop();
        let three = begin("three", 1);
        assert_eq!(three.len(), 1);
        drop((one, two, three));
        let waiting = waits.waiting.lock();
        assert_eq!((waiting.all, waiting.by_taker.len()), (0, 0));
    }
}
