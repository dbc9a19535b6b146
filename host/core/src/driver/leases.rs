//! The leases of one driver: holds on its device that end without it.
//!
//! With each lease a driver leaves the bytes that undo the hold. They lie here, with the host, which writes them when the lease ends: because the driver
//! gives it back, because its longest time is over, because its line is gone, because somebody else ends it, or because the driver broke down or is
//! stopped. A swap ends none.
//!
//! Like timers, leases go by numbers that the driver chooses, so that a replay, which asks for them once more, means the same ones.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{CommandId, LeaseChange, LeaseId, PortIndex};

/// Most leases of one driver. A call that takes more is broken off as a fault (`limit exceeded`); the runtime answers `full` before that.
pub const LEASES: usize = 16;

/// Most bytes that undo one hold.
pub const RELEASE_BYTES: usize = 1024;

/// Longest time of a lease, in milliseconds.
pub const LEASE_MAXIMUM_MS: u32 = 600_000;

/// Why leases end.
pub mod reason {
    /// The driver gave it back. It is not told of that.
    pub const GIVEN_BACK: &str = "given-back";
    /// Its longest time was over.
    pub const MAXIMUM: &str = "maximum";
    /// Its line was lost.
    pub const PORT_LOST: &str = "port-lost";
    /// The driver broke down.
    pub const DRIVER_FAILED: &str = "driver-failed";
    /// The driver was stopped.
    pub const DRIVER_STOPPED: &str = "driver-stopped";
    /// The driver that goes on knows nothing of it.
    pub const UNKNOWN: &str = "unknown-to-driver";
    /// The client that held it let it go.
    pub const RELEASED: &str = "released";
    /// The client that held it did not renew it in time.
    pub const EXPIRED: &str = "expired";
    /// The client that held it is gone, or nobody held it any more when it was taken.
    pub const CLIENT_GONE: &str = "client-gone";
}

/// One hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Never given to another lease of the cell: the same id may be taken again while the bytes of the one before it are on their way.
    pub number: u64,
    /// The number that its driver chose.
    pub id: LeaseId,
    /// Where the bytes go.
    pub port: PortIndex,
    /// What undoes the hold.
    pub release: Arc<[u8]>,
    /// When it ends at the latest, on the monotonic clock.
    pub ends_ns: u64,
    /// The command whose sender holds it; none if nobody but the driver does.
    pub holder: Option<CommandId>,
}

/// A lease that is over, of which the driver does not yet know.
#[derive(Debug)]
pub(super) struct Untold {
    pub(super) id: LeaseId,
    /// None: its bytes were written when it ended.
    pub(super) lease: Option<Lease>,
    pub(super) reason: Arc<str>,
}

/// A lease that is over, and whose bytes are to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseOver {
    /// Which.
    pub lease: Lease,
    /// See [`reason`].
    pub reason: Arc<str>,
}

/// What the leases of a committed call lead to.
#[derive(Debug, Default)]
pub struct LeaseTurn {
    /// Taken, in order: with each the number of the one that it takes the place of, whose bytes nobody has to write any more.
    pub opened: Vec<(Lease, Option<u64>)>,
    /// Given back, in order: with each how many actions on ports were asked for before that.
    pub given_back: Vec<(usize, Lease)>,
    /// Left for another port.
    pub over: Vec<LeaseOver>,
}

/// The leases of a driver.
#[derive(Debug, Default)]
pub struct Leases {
    taken: u64,
    /// At most [`LEASES`].
    open: Vec<Lease>,
    /// Over without the driver, which is to be told. It takes them for open until then, so with those that are it is at most [`LEASES`].
    untold: VecDeque<Untold>,
}

impl Leases {
    /// Does what a committed call asked for.
    pub fn apply(&mut self, changes: &[LeaseChange], now_ns: u64) -> LeaseTurn {
        let mut turn = LeaseTurn::default();
        for change in changes {
            match change {
                LeaseChange::Acquire {
                    id,
                    port,
                    release,
                    maximum_ms,
                    holder,
                } => {
                    self.taken += 1;
                    let lease = Lease {
                        number: self.taken,
                        id: *id,
                        port: *port,
                        release: Arc::clone(release),
                        ends_ns: now_ns.saturating_add(u64::from(*maximum_ms) * 1_000_000),
                        holder: holder.clone(),
                    };
                    let before = self.take(*id, lease.clone());
                    let (here, elsewhere) = match before {
                        Some(before) if before.port == *port => (Some(before.number), None),
                        // What it left for another port would otherwise be written by nobody.
                        before => (None, before),
                    };
                    turn.opened.push((lease, here));
                    turn.over.extend(elsewhere.map(|lease| LeaseOver {
                        lease,
                        reason: reason::GIVEN_BACK.into(),
                    }));
                }
                LeaseChange::Release { id, actions_before } => {
                    let untold = self.untold.iter().position(|untold| untold.id == *id);
                    let untold = untold.and_then(|index| self.untold.remove(index));
                    let lease = match untold {
                        Some(untold) => untold.lease,
                        None => self.remove(*id),
                    };
                    turn.given_back
                        .extend(lease.map(|lease| (*actions_before, lease)));
                }
            }
        }
        turn
    }

    /// Whoever sent this command holds nothing any more. Answers which of its leases were open.
    pub fn end_held(&mut self, holder: &CommandId, reason: &str) -> Vec<LeaseId> {
        let is_held = |lease: &mut Lease| lease.holder.as_ref() == Some(holder);
        let held: Vec<_> = self.open.extract_if(.., is_held).collect();
        let ids = held.iter().map(|lease| lease.id).collect();
        self.untold
            .extend(held.into_iter().map(|lease| Untold::of(lease, reason)));
        ids
    }

    /// A line is lost.
    pub fn lose(&mut self, port: PortIndex) {
        let lost = self.open.extract_if(.., |lease| lease.port == port);
        self.untold
            .extend(lost.map(|lease| Untold::of(lease, reason::PORT_LOST)));
    }

    /// The next one that is over without the driver.
    pub(super) fn next_untold(&mut self, now_ns: u64) -> Option<Untold> {
        if let Some(untold) = self.untold.pop_front() {
            return Some(untold);
        }
        let due = self.open.iter().position(|lease| lease.ends_ns <= now_ns)?;
        Some(Untold::of(self.open.remove(due), reason::MAXIMUM))
    }

    /// When the next one is over of itself.
    pub fn next_ns(&self) -> Option<u64> {
        self.open.iter().map(|lease| lease.ends_ns).min()
    }

    /// Ends all. What the driver has yet to be told of the others is forgotten: whoever goes on is told anew.
    pub fn end_all(&mut self, reason: &str) -> Vec<LeaseOver> {
        let reason: Arc<str> = reason.into();
        let untold = self.untold.drain(..).filter_map(Untold::into_over);
        let mut ended: Vec<_> = untold.collect();
        ended.extend(self.open.drain(..).map(|lease| LeaseOver {
            lease,
            reason: Arc::clone(&reason),
        }));
        ended
    }

    /// A driver goes on that takes these for open; of the end of `in_hand` it is about to be told. Answers what else is open, which nobody would end. Of
    /// those that are not open any more it will be told.
    pub(super) fn go_on_with(&mut self, known: &[LeaseId], in_hand: Option<LeaseId>) -> Vec<LeaseOver> {
        let is_unknown = |id: LeaseId| !known.contains(&id);
        let open = self.open.extract_if(.., |lease| is_unknown(lease.id));
        let mut ended: Vec<_> = open
            .map(|lease| LeaseOver {
                lease,
                reason: reason::UNKNOWN.into(),
            })
            .collect();
        let (unknown, untold) = self
            .untold
            .drain(..)
            .partition::<Vec<_>, _>(|untold| is_unknown(untold.id));
        self.untold.extend(untold);
        ended.extend(unknown.into_iter().filter_map(Untold::into_over));
        for &id in known {
            if in_hand != Some(id) && !self.known().any(|known| known == id) {
                self.untold.push_back(Untold {
                    id,
                    lease: None,
                    reason: reason::DRIVER_FAILED.into(),
                });
            }
        }
        ended
    }

    /// Those that the driver takes for open: those that are, and those of whose end it has not been told.
    pub fn known(&self) -> impl Iterator<Item = LeaseId> {
        let untold = self.untold.iter().map(|untold| untold.id);
        self.open.iter().map(|lease| lease.id).chain(untold)
    }

    /// Answers the one that it takes the place of. Where that is over, and the driver did not yet know, so is this one.
    fn take(&mut self, id: LeaseId, lease: Lease) -> Option<Lease> {
        if let Some(untold) = self.untold.iter_mut().find(|untold| untold.id == id) {
            return untold.lease.replace(lease);
        }
        let before = self.remove(id);
        self.open.push(lease);
        before
    }

    fn remove(&mut self, id: LeaseId) -> Option<Lease> {
        let index = self.open.iter().position(|lease| lease.id == id)?;
        Some(self.open.remove(index))
    }
}

impl Untold {
    fn of(lease: Lease, reason: &str) -> Self {
        Self {
            id: lease.id,
            lease: Some(lease),
            reason: reason.into(),
        }
    }

    fn into_over(self) -> Option<LeaseOver> {
        let Self { lease, reason, .. } = self;
        lease.map(|lease| LeaseOver { lease, reason })
    }
}

/// The leases that a driver knows after these changes.
pub(super) fn know(known: &mut Vec<LeaseId>, changes: &[LeaseChange]) -> Result<(), TooManyLeases> {
    for change in changes {
        match change {
            LeaseChange::Acquire { id, .. } if known.contains(id) => {}
            LeaseChange::Acquire { .. } if known.len() >= LEASES => return Err(TooManyLeases),
            LeaseChange::Acquire { id, .. } => known.push(*id),
            LeaseChange::Release { id, .. } => known.retain(|known| known != id),
        }
    }
    Ok(())
}

/// More leases than a driver may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyLeases;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Act {
        Acquire(u32, usize, u32, u8),
        Release(u32),
        EndHeld(u8),
        Lose(usize),
        Pass(u64),
        Take,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            (0..6u32, 0..2usize, 1..50u32, 0..4u8)
                .prop_map(|(id, port, ms, holder)| Act::Acquire(id, port, ms, holder)),
            (0..6u32).prop_map(Act::Release),
            (1..4u8).prop_map(Act::EndHeld),
            (0..2usize).prop_map(Act::Lose),
            (0..20u64).prop_map(Act::Pass),
            Just(Act::Take),
        ];
        prop::collection::vec(act, 0..80)
    }

    /// Of nobody for 0.
    fn command(holder: u8) -> Option<CommandId> {
        (holder > 0).then(|| CommandId(holder.to_string().into()))
    }

    proptest! {
        /// Every hold is undone once, with its own bytes, on its own port. What was taken once more on the same port is one hold.
        #[test]
        fn every_hold_is_undone_once_and_in_its_time(acts in acts()) {
            let mut leases = Leases::default();
            // By the bytes that undo them, each of which is one of a kind.
            let mut held: BTreeMap<u8, Lease> = BTreeMap::new();
            let mut now_ns = 0;
            let mut number = 0u8;
            for act in acts {
                let mut turn = LeaseTurn::default();
                match act {
                    Act::Acquire(id, port, maximum_ms, holder) => {
                        number += 1;
                        let acquire = LeaseChange::Acquire {
                            id: LeaseId(id),
                            port: PortIndex(port),
                            release: [number].into(),
                            maximum_ms,
                            holder: command(holder),
                        };
                        turn = leases.apply(&[acquire], now_ns);
                        prop_assert_eq!(turn.opened.len(), 1);
                        let (lease, instead_of) = turn.opened.remove(0);
                        let before = held.extract_if(.., |_, lease| lease.id.0 == id && lease.port.0 == port);
                        prop_assert_eq!(before.map(|(_, lease)| lease.number).next(), instead_of);
                        held.insert(number, lease);
                    }
                    Act::Release(id) => {
                        let release = LeaseChange::Release {
                            id: LeaseId(id),
                            actions_before: 0,
                        };
                        turn = leases.apply(&[release], now_ns);
                        prop_assert!(leases.known().all(|known| known.0 != id));
                    }
                    Act::EndHeld(holder) => {
                        let holder = command(holder);
                        let is_held = |lease: &&Lease| lease.holder == holder;
                        let held = leases.open.iter().filter(is_held).map(|lease| lease.id);
                        let held: Vec<_> = held.collect();
                        let ended = leases.end_held(&holder.unwrap(), reason::CLIENT_GONE);
                        prop_assert_eq!(ended, held);
                    }
                    Act::Lose(port) => leases.lose(PortIndex(port)),
                    Act::Pass(ms) => now_ns += ms * 1_000_000,
                    Act::Take => turn.over.extend(leases.next_untold(now_ns).and_then(Untold::into_over)),
                }
                for (_, lease) in turn.given_back {
                    prop_assert_eq!(held.remove(&lease.release[0]), Some(lease.clone()));
                }
                for LeaseOver { lease, reason } in turn.over {
                    prop_assert_eq!(held.remove(&lease.release[0]), Some(lease.clone()));
                    prop_assert!(&*reason != reason::MAXIMUM || lease.ends_ns <= now_ns);
                }
                let mut known: Vec<_> = leases.known().collect();
                known.sort_unstable();
                let mut expected: Vec<_> = held.values().map(|lease| lease.id).collect();
                expected.sort_unstable();
                prop_assert_eq!(known, expected, "each is undone by somebody, once");
            }
            let ended = leases.end_all(reason::DRIVER_STOPPED);
            prop_assert_eq!(ended.len(), held.len());
        }
    }

    #[test]
    fn a_lease_that_is_taken_once_more_on_its_port_is_not_over() {
        let acquire = |port, maximum_ms| LeaseChange::Acquire {
            id: LeaseId(1),
            port: PortIndex(port),
            release: [port as u8].into(),
            maximum_ms,
            holder: None,
        };
        let mut leases = Leases::default();
        assert!(leases.apply(&[acquire(0, 10)], 0).over.is_empty());
        assert!(leases.apply(&[acquire(0, 10)], 5_000_000).over.is_empty());
        assert_eq!(leases.next_ns(), Some(15_000_000));
        let moved = leases.apply(&[acquire(1, 10)], 6_000_000);
        assert_eq!(moved.over[0].lease.port, PortIndex(0));
        assert_eq!(leases.known().collect::<Vec<_>>(), [LeaseId(1)]);
    }
}
