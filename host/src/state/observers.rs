//! Who is told that a slice has changed.
//!
//! The store marks the slices that somebody observes, so that a change of any other costs nothing but a look at the mark. Observers are told after the
//! store's lock is given back, and are told no value: whoever wants it reads it, and gets the newest.

use std::collections::BTreeMap;
use std::sync::Arc;

use autobench_core::state::Store;
use parking_lot::Mutex;

/// Told of a change by the thread that made it: must not wait, log, or call the state.
pub type Observer = Arc<dyn Fn(&str) + Send + Sync>;

/// The observers. Their lock is taken before the store's, and never while that is held.
#[derive(Default)]
pub(super) struct Observers(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    next_id: u64,
    by_slice: BTreeMap<Arc<str>, Vec<(u64, Observer)>>,
}

impl Observers {
    /// Answers the number under which the observer [goes](Self::remove) again.
    pub(super) fn add(&self, slices: &[Arc<str>], observer: &Observer, store: &Mutex<Store>) -> u64 {
        let inner = &mut *self.0.lock();
        inner.next_id += 1;
        for slice in slices {
            let observers = inner.by_slice.entry(Arc::clone(slice)).or_default();
            observers.push((inner.next_id, Arc::clone(observer)));
            store.lock().observe(slice);
        }
        inner.next_id
    }

    pub(super) fn remove(&self, slices: &[Arc<str>], id: u64, store: &Mutex<Store>) {
        let inner = &mut *self.0.lock();
        for slice in slices {
            let Some(observers) = inner.by_slice.get_mut(slice) else {
                continue;
            };
            observers.retain(|(observer, _)| *observer != id);
            if observers.is_empty() {
                inner.by_slice.remove(slice);
                store.lock().unobserve(slice);
            }
        }
    }

    pub(super) fn tell(&self, changed: &[Arc<str>]) {
        if changed.is_empty() {
            return;
        }
        let inner = self.0.lock();
        for slice in changed {
            for (_, observer) in inner.by_slice.get(slice).into_iter().flatten() {
                observer(slice);
            }
        }
    }
}
