//! What happens so often that only one line in a minute says so.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use autobench_core::access::RouteId;
use parking_lot::Mutex;

use crate::bucket::Lines;

const DISTANCE: Duration = Duration::from_secs(60);

/// By route and actor. As many entries as there are tokens, for each route.
#[derive(Debug, Default)]
pub(super) struct Often(Mutex<HashMap<(RouteId, String), Lines>>);

impl Often {
    /// It has happened again. How often since it was last said, if it is to be said now.
    pub(super) fn count(&self, route: RouteId, actor: &str) -> Option<u64> {
        self.count_at(route, actor, Instant::now())
    }

    fn count_at(&self, route: RouteId, actor: &str, now: Instant) -> Option<u64> {
        let mut all = self.0.lock();
        let lines = all.entry((route, actor.to_owned()));
        lines.or_insert_with(|| Lines::one_in(DISTANCE, 1, now)).say(now)
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
