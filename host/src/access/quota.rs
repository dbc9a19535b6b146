//! How many lines one source may have written down, in the record and in the log.
//!
//! Whoever has a viewer's token, or none, can be refused and can come and go as often as they like; whoever reads the record wants to see that,
//! and not it alone. So each source has a burst of lines and then a steady rate, and those whom nobody knows have one rate all together, since
//! addresses cost nothing. What is beyond is counted, and one line says how much it was as soon as there is room for a line.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::network_of;
use crate::bucket::Bucket;

/// Lines that a source has at once, and the distance of those behind them.
const BURST: u32 = 20;
const DISTANCE: Duration = Duration::from_secs(10);

/// The same for everybody together whom nobody knows.
const STRANGERS_BURST: u32 = 100;
const STRANGERS_DISTANCE: Duration = Duration::from_secs(5);

/// Sources that are counted one by one. Those beyond are counted as one.
const CAPACITY: usize = 1024;

/// What lines are about. One kind takes no room from the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What was done, or tried.
    Action,
    /// Who comes and goes.
    Presence,
}

/// Whom lines are about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// Somebody who is known, from wherever.
    Actor(Arc<str>),
    /// Somebody whom nobody knows; a whole network where it is IPv6.
    Network(IpAddr),
    /// Networks beyond those that are counted one by one.
    Elsewhere,
}

/// Lines that were left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) source: Source,
    pub(super) kind: Kind,
    pub(super) lines: u64,
}

#[derive(Debug)]
pub(super) struct Quota {
    accounts: HashMap<(Source, Kind), Account>,
    strangers: Bucket,
}

#[derive(Debug)]
struct Account {
    bucket: Bucket,
    left_out: u64,
}

impl Source {
    pub(super) fn network(address: IpAddr) -> Self {
        Self::Network(network_of(address))
    }

    fn is_stranger(&self) -> bool {
        !matches!(self, Self::Actor(_))
    }
}

impl Quota {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            accounts: HashMap::new(),
            strangers: Bucket::one_in(STRANGERS_DISTANCE, STRANGERS_BURST, now),
        }
    }

    /// Whether a line may be written. If not, it is counted.
    pub(super) fn admit(&mut self, source: Source, kind: Kind, now: Instant) -> bool {
        self.count(source, kind, now, true)
    }

    /// Counts a line that is not to be written in any case.
    pub(super) fn leave_out(&mut self, source: Source, kind: Kind, now: Instant) {
        self.count(source, kind, now, false);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    fn count(&mut self, source: Source, kind: Kind, now: Instant, is_wanted: bool) -> bool {
        let mut key = (source, kind);
        let is_stranger = key.0.is_stranger();
        // Actors are as many as there are tokens; networks are without end.
        if is_stranger && !self.accounts.contains_key(&key) && self.accounts.len() >= CAPACITY {
            key.0 = Source::Elsewhere;
        }
        let account = self.accounts.entry(key).or_insert_with(|| Account {
            bucket: Bucket::one_in(DISTANCE, BURST, now),
            left_out: 0,
        });
        // Whoever owes a line about those that were left out says that one first.
        let is_admitted = is_wanted
            && account.left_out == 0
            && account.admit(is_stranger.then_some(&mut self.strangers), now);
        account.left_out += u64::from(!is_admitted);
        is_admitted
    }

    /// What is to be said now of lines that were left out. Forgets sources that owe nothing and have their whole burst again.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<LeftOut> {
        let mut said = Vec::new();
        for ((source, kind), account) in &mut self.accounts {
            let strangers = source.is_stranger().then_some(&mut self.strangers);
            if account.left_out > 0 && account.admit(strangers, now) {
                said.push(LeftOut {
                    source: source.clone(),
                    kind: *kind,
                    lines: std::mem::take(&mut account.left_out),
                });
            }
        }
        self.accounts
            .retain(|_, account| account.left_out > 0 || !account.bucket.is_full(now));
        said
    }
}

impl Account {
    /// Takes a line out of both buckets, or out of neither.
    fn admit(&mut self, strangers: Option<&mut Bucket>, now: Instant) -> bool {
        self.bucket.wait(now, 1).is_none()
            && strangers.is_none_or(|bucket| bucket.admit(now))
            && self.bucket.admit(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(name: &str) -> Source {
        Source::Actor(name.into())
    }

    fn admitted(quota: &mut Quota, source: &Source, count: usize, now: Instant) -> usize {
        (0..count)
            .filter(|_| quota.admit(source.clone(), Kind::Action, now))
            .count()
    }

    #[test]
    fn a_source_has_its_burst_and_then_one_line_that_says_how_many_were_left_out() {
        let start = Instant::now();
        let mut quota = Quota::new(start);
        let wall = actor("wall");
        assert_eq!(admitted(&mut quota, &wall, 100, start), 20);
        assert_eq!(quota.settle(start), []);
        // Another source, and another kind of line, have their own.
        assert_eq!(admitted(&mut quota, &actor("desk"), 5, start), 5);
        assert!(quota.admit(wall.clone(), Kind::Presence, start));
        let later = start + DISTANCE;
        assert_eq!(
            admitted(&mut quota, &wall, 1, later),
            0,
            "what is owed comes first"
        );
        let said = LeftOut {
            source: wall.clone(),
            kind: Kind::Action,
            lines: 81,
        };
        assert_eq!(quota.settle(later), [said]);
        assert_eq!(admitted(&mut quota, &wall, 1, later + DISTANCE), 1);
    }

    #[test]
    fn whoever_has_its_burst_again_is_forgotten_and_what_is_owed_is_said_before() {
        let start = Instant::now();
        let mut quota = Quota::new(start);
        admitted(&mut quota, &actor("wall"), 21, start);
        assert_eq!(quota.settle(start + DISTANCE * 40).len(), 1);
        assert_eq!(
            quota.accounts.len(),
            1,
            "the line that said so was one of its own"
        );
        assert_eq!(quota.settle(start + DISTANCE * 80), []);
        assert_eq!(quota.accounts.len(), 0);
    }

    #[test]
    fn addresses_without_end_get_one_rate_all_together_and_cost_known_ones_nothing() {
        let start = Instant::now();
        let mut quota = Quota::new(start);
        let mut written = 0;
        for number in 0..CAPACITY as u32 * 3 {
            let source = Source::network(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into());
            written += admitted(&mut quota, &source, 30, start);
            assert!(quota.accounts.len() <= CAPACITY + 2);
        }
        assert_eq!(written, STRANGERS_BURST as usize);
        assert_eq!(admitted(&mut quota, &actor("wall"), 1, start), 1);
        let said = quota.settle(start + STRANGERS_DISTANCE * 3);
        assert!(said.len() <= 3, "{}", said.len());
    }

    #[test]
    fn what_is_only_counted_takes_no_room() {
        let start = Instant::now();
        let mut quota = Quota::new(start);
        let here = Source::network("192.0.2.1".parse().unwrap());
        quota.leave_out(here.clone(), Kind::Action, start);
        let said = quota.settle(start);
        assert_eq!((said.len(), said[0].lines), (1, 1));
        assert_eq!(admitted(&mut quota, &here, 100, start), 19);
    }
}
