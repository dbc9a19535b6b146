//! Failed attempts: how many an address has free.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::bucket::Bucket;

/// Failures that an address has free at once, and what each costs in time afterwards.
const BURST: u32 = 10;
const COST: Duration = Duration::from_secs(3);

/// Addresses that are remembered. When one more fails, the one whose failures weigh least is forgotten: filling the table costs an attacker as
/// many addresses, and gains one that was almost free anyway.
const CAPACITY: usize = 1024;

/// What each address has left.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<IpAddr, Bucket>);

impl Failures {
    /// How long this address has to wait before it is looked at again.
    pub(super) fn wait(&self, from: IpAddr, now: Instant) -> Option<Duration> {
        self.0.get(&network_of(from))?.wait(now, 1)
    }

    /// It has failed once more. Called for addresses that need not wait.
    pub(super) fn note(&mut self, from: IpAddr, now: Instant) {
        self.0.retain(|_, bucket| !bucket.is_full(now));
        let key = network_of(from);
        if !self.0.contains_key(&key) && self.0.len() >= CAPACITY {
            let lightest = self.0.iter().min_by_key(|(_, bucket)| bucket.full_at());
            if let Some(address) = lightest.map(|(address, _)| *address) {
                self.0.remove(&address);
            }
        }
        let bucket = self.0.entry(key);
        bucket
            .or_insert_with(|| Bucket::one_in(COST, BURST, now))
            .admit(now);
    }
}

/// Whoever has one IPv6 address has 2^64 of them.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        },
    }
}

/// Whose share somebody takes who has not said who it is: that of its network, and nobody's on this machine, which is not divided. Whoever is here
/// may name any client in `X-Forwarded-For`, so a share would hold nobody; and behind a proxy here that names none, everybody comes from here.
pub(crate) fn share_of(address: IpAddr) -> Option<IpAddr> {
    (!address.to_canonical().is_loopback()).then(|| network_of(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn ten_failures_are_free_and_then_one_in_three_seconds() {
        let start = Instant::now();
        let mut failures = Failures::default();
        for number in 1..=10 {
            assert_eq!(failures.wait(HERE, start), None, "{number}");
            failures.note(HERE, start);
        }
        assert_eq!(failures.wait(HERE, start), Some(COST));
        failures.note(HERE, start);
        assert_eq!(
            failures.wait(HERE, start),
            Some(COST),
            "beyond the limit nothing adds up"
        );
        assert_eq!(failures.wait(HERE, start + COST), None);
        failures.note(HERE, start + COST);
        assert_eq!(failures.wait(HERE, start + COST), Some(COST));
    }

    #[test]
    fn the_table_is_bounded_and_the_worst_stay_in_it() {
        let start = Instant::now();
        let mut failures = Failures::default();
        while failures.wait(HERE, start).is_none() {
            failures.note(HERE, start);
        }
        for number in 0..CAPACITY as u32 * 2 {
            let other = IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number));
            failures.note(other, start);
            assert!(failures.0.len() <= CAPACITY);
        }
        assert!(failures.wait(HERE, start).is_some());
        failures.note("10.0.0.1".parse().unwrap(), start + COST * BURST * 2);
        assert_eq!(failures.0.len(), 1, "what is over is forgotten");
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let start = Instant::now();
        let mut failures = Failures::default();
        for number in 1..=10 {
            failures.note(format!("2001:db8::{number}").parse().unwrap(), start);
        }
        assert!(failures.wait("2001:db8::ffff".parse().unwrap(), start).is_some());
        assert!(failures.wait("2001:db8:0:1::1".parse().unwrap(), start).is_none());
        assert_eq!(network_of("::ffff:192.0.2.1".parse().unwrap()), HERE);
    }
}
