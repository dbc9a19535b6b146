//! What happens so often that only one line in a minute says so.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use autobench_core::access::RouteId;
use parking_lot::Mutex;

const DISTANCE: Duration = Duration::from_secs(60);

/// By route and actor: when it was last said, and how often it has happened since. As many entries as there are tokens, for each route.
#[derive(Debug, Default)]
pub(super) struct Often(Mutex<HashMap<(RouteId, String), (Instant, u64)>>);

impl Often {
    /// It has happened again. How often since it was last said, if it is to be said now.
    pub(super) fn count(&self, route: RouteId, actor: &str) -> Option<u64> {
        self.count_at(route, actor, Instant::now())
    }

    fn count_at(&self, route: RouteId, actor: &str, now: Instant) -> Option<u64> {
        let mut all = self.0.lock();
        let Some((said_at, since)) = all.get_mut(&(route, actor.to_owned())) else {
            all.insert((route, actor.to_owned()), (now, 0));
            return Some(0);
        };
        if now.saturating_duration_since(*said_at) < DISTANCE {
            *since += 1;
            return None;
        }
        *said_at = now;
        Some(std::mem::take(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_then_one_in_a_minute_with_the_number() {
        let (often, start) = (Often::default(), Instant::now());
        let at = |s| often.count_at(RouteId::LogsIngest, "a", start + Duration::from_secs(s));
        assert_eq!(at(0), Some(0));
        assert_eq!((at(1), at(59)), (None, None));
        assert_eq!(often.count_at(RouteId::LogsIngest, "b", start), Some(0));
        assert_eq!(at(61), Some(2));
        assert_eq!(at(62), None);
    }
}
