//! So many of something altogether, and of that so many for each who takes it: one keeps not all the others out. There is no queue: whoever finds
//! nothing left is told so.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

#[derive(Debug)]
pub(crate) struct Shares<K: Hash + Eq> {
    limit: usize,
    limit_of_one: usize,
    taken: Mutex<Taken<K>>,
}

/// Bounded by the limit: whoever holds nothing is forgotten.
#[derive(Debug)]
struct Taken<K> {
    all: usize,
    by_taker: HashMap<K, usize>,
}

/// One of them. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Share<K: Hash + Eq> {
    shares: Arc<Shares<K>>,
    /// Whose it is. None for one whose share is all there is.
    taker: Option<K>,
}

impl<K: Hash + Eq + Clone> Shares<K> {
    pub(crate) fn new(limit: usize, limit_of_one: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            limit_of_one,
            taken: Mutex::new(Taken {
                all: 0,
                by_taker: HashMap::new(),
            }),
        })
    }

    /// One, unless there is none for anybody, or for this taker. Who is nobody may have all that there are.
    pub(crate) fn take(self: &Arc<Self>, taker: Option<K>) -> Option<Share<K>> {
        let mut taken = self.taken.lock();
        if taken.all >= self.limit {
            return None;
        }
        if let Some(taker) = &taker {
            let count = taken.by_taker.get(taker).copied().unwrap_or_default();
            if count >= self.limit_of_one {
                return None;
            }
            taken.by_taker.insert(taker.clone(), count + 1);
        }
        taken.all += 1;
        Some(Share {
            shares: Arc::clone(self),
            taker,
        })
    }
}

impl<K: Hash + Eq> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock();
        taken.all -= 1;
        let Some(taker) = &self.taker else { return };
        if let Some(count) = taken.by_taker.get_mut(taker) {
            *count -= 1;
            if *count == 0 {
                taken.by_taker.remove(taker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_its_share_and_all_together_theirs() {
        let shares = Shares::new(5, 3);
        let take = |taker: Option<&'static str>, times: usize| -> Vec<Share<&str>> {
            (0..times).filter_map(|_| shares.take(taker)).collect()
        };
        let mut one = take(Some("one"), 9);
        let two = take(Some("two"), 9);
        assert_eq!((one.len(), two.len()), (3, 2));
        assert!(take(Some("three"), 1).is_empty());
        one.pop();
        let three = take(Some("three"), 1);
        assert_eq!(three.len(), 1);
        drop((one, two, three));
        {
            let taken = shares.taken.lock();
            assert_eq!((taken.all, taken.by_taker.len()), (0, 0));
        }
        assert_eq!(take(None, 9).len(), 5, "nobody's share is all");
    }
}
