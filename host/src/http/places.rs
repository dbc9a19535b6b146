//! Room for connections: how many may speak HTTP at once, and who goes when one more comes.
//!
//! A connection waits for its peer while no request of it is being answered, from when a request's body is missed until it is whole, and while
//! its socket does not take all that there is of an answer: from when that began, or from when it last had taken enough (`stream`), however often
//! everything was out in between. When every place is taken, the connection that has waited longest leaves: whoever opens connections and says
//! nothing, or asks and never reads, keeps nobody out. Everybody may wait a little, though: a request that has just been sent is not read yet when
//! its connection is taken in, and under a rush of connections would never be. Until somebody has had that time, newcomers wait in the system's
//! queue. One that the daemon itself is busy with is never told to leave; only when all are like that is one more refused.
//!
//! A connection that waits for something to happen on the bench takes no place meanwhile: it is counted elsewhere, a listener among the clients
//! (`events`), a request that waits for a command's end among those that do (`commands`). Afterwards it has a place again, be there one or not. So there
//! may be more connections here than places, by as many as were away; no newcomer adds to them.

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
    /// Since when the socket is waited for, while there is something that it does not take.
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

/// A connection takes no place as long as this lives.
#[derive(Debug)]
pub(super) struct Away {
    taken: Arc<Taken>,
    /// Whether it had one to leave: whoever was told to leave does not come back.
    has_left: bool,
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

    /// False if it was taken away before.
    fn give_back(&self, place: &Arc<Place>) -> bool {
        let mut taken = self.taken.lock();
        let Some(at) = taken.iter().position(|one| Arc::ptr_eq(one, place)) else {
            return false;
        };
        taken.swap_remove(at);
        self.freed.notify_one();
        true
    }
}

impl Taken {
    pub(super) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// Leaves the place to others while the connection waits for something to happen, and is counted among those who do.
    pub(super) fn away(self: &Arc<Self>) -> Away {
        Away {
            has_left: self.places.give_back(&self.place),
            taken: Arc::clone(self),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.places.give_back(&self.place);
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        if self.has_left {
            let Taken { places, place } = &*self.taken;
            places.taken.lock().push(Arc::clone(place));
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

    /// Since when its socket is waited for, if it is.
    pub(super) fn set_blocked(&self, since: Option<Instant>) {
        self.waiting.lock().blocked_since = since;
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

    pub(super) fn waits_since(&self) -> Option<Instant> {
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
        two.place().set_blocked(Some(Instant::now()));
        two.place().set_blocked(None);
        assert!(matches!(places.take(), Room::None));
        two.place().set_blocked(Some(Instant::now()));
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

    #[tokio::test]
    async fn whoever_is_away_takes_no_place_and_has_one_again_afterwards() {
        let places = places(1);
        let listener = Arc::new(take(&places));
        let busy = listener.place().busy();
        assert!(matches!(places.take(), Room::None));
        let away = listener.away();
        // Who waits for a place hears of it.
        places.freed().await;
        let other = take(&places);
        let other_is_busy = other.place().busy();
        assert!(matches!(places.take(), Room::None));
        // There are two now, of whom a newcomer takes the place of one.
        drop((away, busy));
        let newcomer = take(&places);
        assert!(is_told_to_leave(&listener).await);
        assert_eq!(places.taken.lock().len(), 2);
        drop((newcomer, other_is_busy, other, listener));
        assert!(places.taken.lock().is_empty());
    }

    #[tokio::test]
    async fn whoever_was_told_to_leave_does_not_come_back() {
        let places = places(1);
        let first = Arc::new(take(&places));
        let _second = take(&places);
        assert!(is_told_to_leave(&first).await);
        drop(first.away());
        assert_eq!(places.taken.lock().len(), 1);
    }

    #[test]
    fn a_connection_that_ends_while_it_is_away_leaves_nothing() {
        let places = places(1);
        let taken = Arc::new(take(&places));
        let away = taken.away();
        drop(taken);
        drop(away);
        assert!(places.taken.lock().is_empty());
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
