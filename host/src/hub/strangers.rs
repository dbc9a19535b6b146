//! Places for clients that have not said who they are: a quarter of the house, so that they keep nobody out who has, and of that quarter only a
//! share for each address, so that one keeps not all the others out. This machine may have all of it: `access::share_of` says why.

use std::net::IpAddr;
use std::sync::Arc;

use crate::access::share_of;
use crate::shares::{Share, Shares};

/// The house has so many places for each of a stranger's, and the strangers for each of an address.
const SHARE: usize = 4;

/// Fewest places of an address, where the strangers have as many: pages of several people may come from one, at once, and each is a stranger
/// until it has shown its token.
const ADDRESS_MIN: usize = 4;

/// The places for strangers.
#[derive(Debug)]
pub(super) struct Strangers(Arc<Shares<IpAddr>>);

/// A stranger's place. Dropping it frees it.
pub(super) type Place = Share<IpAddr>;

impl Strangers {
    pub(super) fn in_a_house_of(clients: usize) -> Self {
        let limit = (clients / SHARE).max(1);
        let limit_of_address = (limit / SHARE).max(ADDRESS_MIN).min(limit);
        Self(Shares::new(limit, limit_of_address))
    }

    /// A place, unless there is none for anybody, or for this address.
    pub(super) fn take(&self, from: IpAddr) -> Option<Place> {
        self.0.take(share_of(from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(strangers: &Strangers, from: &str, asked: usize) -> Vec<Place> {
        let from = from.parse().unwrap();
        (0..asked).filter_map(|_| strangers.take(from)).collect()
    }

    #[test]
    fn an_address_gets_its_share_and_all_together_theirs() {
        let strangers = Strangers::in_a_house_of(100);
        let one = places(&strangers, "192.0.2.1", 100);
        assert_eq!(one.len(), 6);
        // One network of IPv6 is one house.
        let two = places(&strangers, "2001:db8::1", 3);
        let three = places(&strangers, "2001:db8::2", 100);
        assert_eq!((two.len(), three.len()), (3, 3));
        let here = places(&strangers, "127.0.0.1", 100);
        assert_eq!(here.len(), 13, "what is left of 25");
        assert!(places(&strangers, "192.0.2.2", 1).is_empty());
        drop((one, two, three, here));
        assert_eq!(
            places(&strangers, "192.0.2.2", 100).len(),
            6,
            "all are free again"
        );
    }

    #[test]
    fn whoever_is_on_this_machine_has_all_that_there_is() {
        for here in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            let strangers = Strangers::in_a_house_of(100);
            assert_eq!(places(&strangers, here, 100).len(), 25, "{here}");
        }
    }

    #[test]
    fn several_pages_of_one_address_come_in_at_once_in_a_small_house_too() {
        for (clients, all, of_address) in [
            (1, 1, 1),
            (8, 2, 2),
            (16, 4, 4),
            (31, 7, 4),
            (32, 8, 4),
            (80, 20, 5),
        ] {
            let strangers = Strangers::in_a_house_of(clients);
            let one = places(&strangers, "192.0.2.1", 100);
            assert_eq!(one.len(), of_address, "of {clients}");
            let others = places(&strangers, "127.0.0.1", 100);
            assert_eq!(one.len() + others.len(), all, "of {clients}");
        }
    }
}
