//! Room for connections: how many may speak HTTP at once, and who goes when one more comes.
//!
//! A connection waits for its peer while no request of it is being answered, from when a request's body is missed until it is whole, and while
//! its socket takes nothing of an answer. When every place
//! is taken, the connection that has waited longest leaves: whoever opens connections and says nothing, or asks and never reads, keeps
//! nobody out. Everybody may wait a little, though: a request that has just been sent is not read yet when its connection is taken in, and under
//! a rush of connections would never be. Until somebody has had that time, newcomers wait in the system's queue. One that the daemon itself is
//! busy with is never told to leave; only when all are like that is one more refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// All places. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Places {
    taken: Arc<Mutex<Vec<Arc<Place>>>>,
    limit: usize,
    least_wait: Duration,
    freed: Arc<Notify>,
}

/// What there is for a connection that came.
#[derive(Debug)]
pub(super) enum Room {
    /// A place.
    Taken(Taken),
    /// One at this moment, or when somebody leaves.
    Soon(Instant),
    /// None: the daemon is busy with all.
    None,
}

/// A connection's place, as its stream and its requests know it.
#[derive(Debug)]
pub(super) struct Place {
    waiting: Mutex<Waiting>,
    leave: Notify,
}

#[derive(Debug)]
struct Waiting {
    /// Requests that are being answered.
    busy: u32,
    /// Since when there are none.
    idle_since: Instant,
    /// Since when the socket takes nothing, while there is something to write.
    blocked_since: Option<Instant>,
    /// Since when the rest of a request's body is waited for. What comes of it meanwhile changes nothing: one that trickles waits as long.
    missing_since: Option<Instant>,
}

/// Holds a place; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Taken {
    places: Places,
    place: Arc<Place>,
}

/// A request is being answered as long as this lives.
#[derive(Debug)]
pub(super) struct Busy(Arc<Place>);

impl Places {
    pub(super) fn new(limit: usize, least_wait: Duration) -> Self {
        Self {
            taken: Arc::default(),
            limit,
            least_wait,
            freed: Arc::default(),
        }
    }

    /// A place, if need be that of the connection that has waited longest for its peer.
    pub(super) fn take(&self) -> Room {
        let mut taken = self.taken.lock();
        if taken.len() >= self.limit {
            let waiting = taken.iter().enumerate();
            let longest = waiting
                .filter_map(|(at, place)| Some((place.waits_since()?, at)))
                .min();
            let Some((since, at)) = longest else {
                return Room::None;
            };
            if since.elapsed() < self.least_wait {
                return Room::Soon(since + self.least_wait);
            }
            // It ends in its own task; until then there is one connection more than places, and no more than that per new one.
            taken.swap_remove(at).leave.notify_one();
        }
        let place = Arc::new(Place::new());
        taken.push(Arc::clone(&place));
        Room::Taken(Taken {
            places: self.clone(),
            place,
        })
    }

    /// Completes when a place was given back.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Taken {
    pub(super) fn place(&self) -> &Arc<Place> {
        &self.place
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        if let Some(at) = taken.iter().position(|place| Arc::ptr_eq(place, &self.place)) {
            taken.swap_remove(at);
            self.places.freed.notify_one();
        }
    }
}

impl Place {
    fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                busy: 0,
                idle_since: Instant::now(),
                blocked_since: None,
                missing_since: None,
            }),
            leave: Notify::new(),
        }
    }

    /// Completes when somebody else needs the place.
    pub(super) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }

    /// The socket takes nothing, or takes something again.
    pub(super) fn set_blocked(&self, is_blocked: bool) {
        let mut waiting = self.waiting.lock();
        match is_blocked {
            true => {
                waiting.blocked_since.get_or_insert_with(Instant::now);
            }
            false => waiting.blocked_since = None,
        }
    }

    /// A request's body is not here yet, or is whole or given up.
    pub(super) fn set_missing(&self, is_missing: bool) {
        let mut waiting = self.waiting.lock();
        match is_missing {
            true => {
                waiting.missing_since.get_or_insert_with(Instant::now);
            }
            false => waiting.missing_since = None,
        }
    }

    /// A request of the connection is here.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.waiting.lock().busy += 1;
        Busy(Arc::clone(self))
    }

    fn waits_since(&self) -> Option<Instant> {
        let waiting = self.waiting.lock();
        match waiting.busy {
            0 => Some(waiting.blocked_since.unwrap_or(waiting.idle_since)),
            _ => [waiting.blocked_since, waiting.missing_since]
                .into_iter()
                .flatten()
                .min(),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting.lock();
        waiting.busy -= 1;
        waiting.idle_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(limit: usize) -> Places {
        Places::new(limit, Duration::ZERO)
    }

    fn take(places: &Places) -> Taken {
        match places.take() {
            Room::Taken(taken) => taken,
            room => panic!("{room:?}"),
        }
    }

    async fn is_told_to_leave(taken: &Taken) -> bool {
        // Whoever was told has its permit already, so a look is enough.
        tokio::select! {
            biased;
            () = taken.place.told_to_leave() => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn whoever_has_waited_longest_leaves_first() {
        let places = places(3);
        let first = take(&places);
        let second = take(&places);
        let third = take(&places);
        // The first has asked something meanwhile, so the second has waited longest.
        drop(first.place().busy());
        let fourth = take(&places);
        assert!(is_told_to_leave(&second).await);
        for stays in [&first, &third, &fourth] {
            assert!(!is_told_to_leave(stays).await);
        }
        assert_eq!(places.taken.lock().len(), 3);
        // Its own end takes nobody else's place away.
        drop(second);
        assert_eq!(places.taken.lock().len(), 3);
    }

    #[tokio::test]
    async fn nobody_leaves_while_being_answered_unless_the_answer_is_not_taken() {
        let places = places(2);
        let (one, two) = (take(&places), take(&places));
        let (_answering_one, _answering_two) = (one.place().busy(), two.place().busy());
        assert!(matches!(places.take(), Room::None));
        two.place().set_blocked(true);
        two.place().set_blocked(false);
        assert!(matches!(places.take(), Room::None));
        two.place().set_blocked(true);
        let _three = take(&places);
        assert!(is_told_to_leave(&two).await);
        assert!(!is_told_to_leave(&one).await);
    }

    #[tokio::test]
    async fn nobody_leaves_before_it_had_the_time_to_ask() {
        let places = Places::new(1, Duration::from_secs(3600));
        let begin = Instant::now();
        let one = take(&places);
        match places.take() {
            Room::Soon(at) => assert!(at >= begin + Duration::from_secs(3600)),
            room => panic!("{room:?}"),
        }
        assert!(!is_told_to_leave(&one).await);
        drop(one);
        places.freed().await;
        take(&places);
    }

    #[test]
    fn a_place_that_is_given_back_is_free() {
        let places = places(1);
        let one = take(&places);
        let _busy = one.place().busy();
        assert!(matches!(places.take(), Room::None));
        drop(one);
        take(&places);
    }
}
