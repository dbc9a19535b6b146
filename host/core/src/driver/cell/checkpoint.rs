//! Checkpoints: a driver at rest, written down with what the host held for it, so that a restart or a successor goes on from there.

use std::sync::Arc;

use super::start::Past;
use super::{Cell, Life, Setup};
use crate::driver::draft::Draft;
use crate::driver::journal::Own;
use crate::driver::{
    Breakdown, CallTime, Command, Fault, FaultKind, Guest, LeaseId, PortState, Sink, Snapshot, StartInput,
    StartReason, Timers,
};

/// Largest snapshot. A driver that answers a larger one breaks its contract.
const SNAPSHOT_BYTES: usize = 1024 * 1024;

/// A checkpoint is taken at rest once this time has passed since the first event that it does not cover.
const CHECKPOINT_EVERY_NS: u64 = 1_000_000_000;

/// A driver at rest, and what the host held for it at that moment.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// No two of a cell have the same.
    pub(super) number: u64,
    pub(super) snapshot: Snapshot,
    pub(super) slice: Option<Arc<str>>,
    pub(super) ports: Vec<PortState>,
    pub(super) timers: Timers,
    pub(super) leases: Vec<LeaseId>,
    pub(super) commands: Vec<Arc<Command>>,
}

impl Checkpoint {
    /// What a version starts with that goes on from here.
    pub(super) fn input(&self, setup: &Setup, reason: StartReason) -> StartInput {
        StartInput {
            device: Arc::clone(&setup.device),
            reason,
            settings: Arc::clone(&setup.settings),
            ports: self.ports.clone(),
            slice: self.slice.clone(),
            snapshot: Some(self.snapshot.clone()),
            commands: self.commands.clone(),
            timers: self.timers.ids(),
            leases: self.leases.clone(),
        }
    }

    /// What the host held for it, as the version's start finds it.
    pub(super) fn past(&self) -> Past {
        Past::of(
            Draft::new(self.slice.clone()),
            self.timers.clone(),
            self.leases.clone(),
        )
    }
}

impl<G: Guest> Cell<G> {
    /// Lets the next start be a cold one, unless a checkpoint is taken before.
    pub fn forget_checkpoint(&mut self) {
        self.checkpoint = None;
        self.journal.clear();
        self.failed_starts = 0;
    }

    /// An event was dealt with that no checkpoint covers: one is taken within a second, and at once where the host holds too much for the driver.
    pub(super) fn plan_checkpoint(&mut self, is_wanted: bool, now: CallTime) {
        let due_ns = if is_wanted || self.journal.is_full() {
            now.monotonic_ns
        } else {
            now.monotonic_ns + CHECKPOINT_EVERY_NS
        };
        self.checkpoint_due_ns = Some(self.checkpoint_due_ns.map_or(due_ns, |due| due.min(due_ns)));
    }

    /// Takes a checkpoint of a driver that runs.
    pub(super) fn take_checkpoint(&mut self, now: CallTime, sink: &mut impl Sink) -> Result<(), Breakdown> {
        let Life::Running(guest) = &mut self.life else {
            return Ok(());
        };
        let snapshot = snapshot_of(guest, now)?;
        let held = self.inbox.with(|inbox| {
            inbox.consume(&snapshot.consumed)?;
            Some((
                inbox.port_states(),
                inbox.timers().clone(),
                inbox.commands_in_flight().to_vec(),
            ))
        });
        let Some((ports, timers, commands)) = held else {
            return Err(broken_contract(format!(
                "the snapshot has dealt with {:?}, which is before the last snapshot or after the last byte",
                snapshot.consumed
            )));
        };
        self.trim_journal(&ports);
        self.keep_checkpoint(snapshot, ports, timers, commands, sink);
        self.checkpoint_due_ns = None;
        // The checkpoint is good; but a driver that is asked again after each event, and always in vain, is not.
        if self.journal.is_full() {
            return Err(broken_contract(
                "the snapshot leaves too many pieces of bytes that are not dealt with".to_owned(),
            ));
        }
        Ok(())
    }

    /// The next start goes on from here.
    pub(super) fn keep_checkpoint(
        &mut self,
        snapshot: Snapshot,
        ports: Vec<PortState>,
        timers: Timers,
        commands: Vec<Arc<Command>>,
        sink: &mut impl Sink,
    ) {
        self.checkpoints += 1;
        self.checkpoint = Some(Checkpoint {
            number: self.checkpoints,
            snapshot,
            slice: sink.slice(),
            ports,
            timers,
            leases: self.known_leases(),
            commands,
        });
    }

    /// A checkpoint has dealt with what lies before these ports.
    pub(super) fn trim_journal(&mut self, ports: &[PortState]) {
        let Self { journal, inbox, .. } = self;
        let goes_on = |own| {
            inbox.with(|inbox| match own {
                Own::Timer(id) => inbox.timers().is_running(id),
                Own::Lease(id) => inbox.leases().known().any(|known| known == id),
            })
        };
        journal.trim(goes_on, |port| ports.get(port.0).map_or(0, |state| state.offset));
    }

    /// The leases that the driver takes for open.
    pub(super) fn known_leases(&self) -> Vec<LeaseId> {
        let known = self
            .inbox
            .with(|inbox| inbox.leases().known().collect::<Vec<_>>());
        known.into_iter().chain(self.lease_in_hand()).collect()
    }
}

pub(super) fn snapshot_of(guest: &mut impl Guest, now: CallTime) -> Result<Snapshot, Breakdown> {
    let snapshot = guest.snapshot(now)?;
    match snapshot.data.len() {
        0..=SNAPSHOT_BYTES => Ok(snapshot),
        bytes => Err(broken_contract(format!(
            "the snapshot has {bytes} bytes, the most is {SNAPSHOT_BYTES}"
        ))),
    }
}

pub(super) fn broken_contract(detail: String) -> Breakdown {
    Fault::new(FaultKind::Contract, "snapshot", detail).into()
}
