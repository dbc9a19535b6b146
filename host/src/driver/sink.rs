//! Where a driver's effects go in the daemon: store, hub, log and ports.

mod changes;
mod life;
mod log_budget;
mod logs;
mod skipped;

use std::path::PathBuf;
use std::sync::Arc;

use autobench_core::driver::leases::reason;
use autobench_core::driver::shadow::Tapped;
use autobench_core::driver::{
    Breakdown, Cause, Command, Commit, Effects, Event, Lease, LeaseOver, LifeChange, LogLevel, LogLine,
    LogOrigin, PortAction, Sample, SharedInbox, Sink, Skipped, SliceRefused, StatusChange, Taken,
};

pub use log_budget::LogBudget;

use super::alarms::Alarms;
use super::events::envelope;
use super::health::Health;
use super::leases::LeaseJournal;
use super::lives::Lives;
use super::loader::Version;
use super::record::DeviceRecord;
use super::shadow::Feed;
use crate::clock::Clock;
use crate::commands::DeviceCommands;
use crate::hub::Hub;
use crate::logs::LogHandle;
use crate::serial::{PortControl, PortView, Withholding};
use crate::state::{Observing, StateHandle, Unsent};

/// Samples for which a series' batch has room from call to call. What a call with more of them took is given back: a call may push 43,690 of one
/// series, a manifest may have 256 series, and what the host keeps counts towards no limit of the driver.
const BATCH_KEPT_SAMPLES: usize = 64;

/// The destinations of one device.
pub struct DeviceSink {
    /// Id of the device.
    pub device: Arc<str>,
    /// Its slice.
    pub slice: Arc<str>,
    /// Where the slice is.
    pub state: StateHandle,
    /// Its entry in the state.
    pub record: DeviceRecord,
    /// Where samples and events go.
    pub hub: Hub,
    /// Where log lines go.
    pub logs: LogHandle,
    /// Its alarms.
    pub alarms: Alarms,
    /// Those that would stand if the version that rests had never been replaced.
    pub former_alarms: Option<Alarms>,
    /// Who hears of its commands.
    pub commands: DeviceCommands,
    /// Its ports.
    pub ports: Arc<[PortControl]>,
    /// What is kept of its holds.
    pub leases: LeaseJournal,
    /// Endpoint of each series of the running version's manifest.
    pub endpoints: Vec<u32>,
    /// The version that runs.
    pub version: Version,
    /// Who hears when it lives and when it breaks down.
    pub lives: Lives,
    /// Its counters.
    pub health: Arc<Health>,
    /// The clock.
    pub clock: Clock,
    /// The device's generation before this driver's first.
    pub first_generation: u64,
    /// Folder for bytes that were skipped.
    pub dumps: PathBuf,
    /// What keeps secrets out of them.
    pub withholding: Arc<Withholding>,
    /// Samples of each series on their way to the hub; kept for their buffers.
    pub batches: Vec<Vec<Sample>>,
    /// Who is told that a slice has changed.
    pub inbox: SharedInbox,
    /// Which slices that are.
    pub observing: Option<Observing>,
    /// That the driver is live, until it has dealt with something, or nothing waits for it.
    pub unsent: Option<Unsent>,
    /// Where a shadow run hears what the driver was told.
    pub tap: Option<Feed>,
    /// How much it may log.
    pub log_budget: LogBudget,
}

impl Sink for DeviceSink {
    fn commit(&mut self, effects: &mut Effects, commit: Commit<'_>) -> Result<(), SliceRefused> {
        let applied = self.apply_to_state(effects);
        if let Err(error) = &applied {
            self.health.refused_updates.add(1);
            self.log(
                LogLevel::Warn,
                format!("its update of {} is refused: {error}", self.slice),
            );
        }
        self.tell_tap(&commit, applied.is_err());
        self.push_samples(effects);
        for (port, action) in effects.port_actions.drain(..) {
            if let Some(control) = self.ports.get(port.0) {
                match &action {
                    PortAction::Write(data) => self.health.bytes_out.add(data.len() as u64),
                    PortAction::Undo(lease) => self.commands.lease_over(lease),
                    _ => {}
                }
                control.perform(action);
            }
        }
        self.answer_commands(effects, &commit);
        for publication in effects.publications.drain(..) {
            self.hub
                .publish_event(envelope(&self.state, &self.device, publication));
        }
        self.append_lines(&mut effects.logs, effects.logs_suppressed, None);
        if let Cause::Event(Taken::Bytes(_)) = commit.cause {
            self.health.last_seen_ms.set(commit.time.wall_ms as u64);
        }
        if let Cause::Event(_) = commit.cause {
            self.unsent = None;
        }
        applied.map_err(|error| SliceRefused(error.to_string()))
    }

    fn logs(&mut self, lines: &mut Vec<LogLine>, suppressed: u64, origin: LogOrigin) {
        let mark = match origin {
            LogOrigin::FailedCall => "of a call that failed",
            LogOrigin::Replay => "of a replay",
        };
        self.append_lines(lines, suppressed, Some(mark));
    }

    fn slice(&mut self) -> Option<Arc<str>> {
        let slice = Arc::clone(&self.slice);
        self.foreign_slice(&slice)
    }

    fn observe(&mut self, slices: &[Arc<str>]) {
        let before = self.observing.as_ref().map_or(&[][..], Observing::slices);
        if before == slices {
            return;
        }
        let inbox = self.inbox.clone();
        let observer = Arc::new(move |slice: &str| inbox.slice_changed(slice));
        // The former one goes after this one has come: between them no change of a slice that both observe would be told.
        self.observing = (!slices.is_empty()).then(|| self.state.observe(slices, observer));
    }

    fn foreign_slice(&mut self, slice: &str) -> Option<Arc<str>> {
        let bytes = self.state.slice_bytes(slice)?;
        std::str::from_utf8(&bytes).ok().map(Arc::from)
    }

    fn take_over(
        &mut self,
        slice: serde_json::Value,
        effects: &mut Effects,
        generation: u64,
    ) -> Result<(), SliceRefused> {
        let phase = newest_phase(&effects.status);
        let generation = self.first_generation + generation;
        let unsent = self
            .record
            .go_live(generation, phase, |transaction| {
                transaction.replace_slice(&self.slice, slice)
            })
            .map_err(|error| SliceRefused(error.to_string()))?;
        self.unsent = Some(unsent);
        effects.status.clear();
        Ok(())
    }

    fn relived(&mut self, effects: &Effects) {
        if let Some(alarms) = &mut self.former_alarms {
            for change in &effects.alarms {
                // Nobody is told before the version is back.
                let _ = alarms.change(change.clone());
            }
        }
    }

    fn leases_opened(&mut self, opened: &[(Lease, Option<u64>)]) {
        if let Err(error) = self.leases.opened(opened) {
            self.log(
                LogLevel::Error,
                format!("its holds cannot be written down ({error}): should the daemon crash now, nobody undoes them"),
            );
        }
        self.commands.leases_opened(opened);
    }

    fn lease_over(&mut self, over: &LeaseOver) {
        let LeaseOver { lease, reason } = over;
        let port = self.ports.get(lease.port.0);
        let name = port.map_or("", |port| &**port.name());
        let level = match &**reason {
            reason::DRIVER_FAILED | reason::PORT_LOST => LogLevel::Warn,
            _ => LogLevel::Info,
        };
        self.log(
            level,
            format!(
                "the hold {} on port {name} ends ({reason}): what undoes it goes out",
                lease.id.0
            ),
        );
        if let Some(port) = port {
            port.perform(PortAction::Undo(lease.clone()));
        }
        self.commands.lease_over(lease);
    }

    fn skipped(&mut self, skipped: Skipped<'_>) {
        let what = match skipped.taken {
            Taken::Bytes(chunk) => {
                self.health.overrun_bytes.add(chunk.to.saturating_sub(chunk.from));
                let file = self.dump(chunk.from, skipped.bytes);
                format!(
                    "bytes {} to {} (hash {:016x}{file}) are skipped",
                    chunk.from, chunk.to, skipped.hash
                )
            }
            Taken::Event(event) => format!("an event is skipped: {event:?}"),
        };
        let message = format!(
            "{what}, because they broke the driver down twice: {}",
            skipped.breakdown
        );
        self.log(LogLevel::Error, message);
    }

    fn command_failed(&mut self, command: &Arc<Command>, breakdown: &Breakdown) {
        let message = format!(
            "the command {} ({}) had no effect: {breakdown}",
            command.name, command.id.0
        );
        self.log(LogLevel::Error, message);
        self.commands.broke_down(command, breakdown);
    }

    fn life(&mut self, change: LifeChange<'_>) {
        self.tell_life(change);
    }
}

impl DeviceSink {
    /// Behind the writes: a command that is told as sent has its bytes with the port.
    fn answer_commands(&self, effects: &mut Effects, commit: &Commit<'_>) {
        if let Cause::Event(Taken::Event(Event::Command(command))) = commit.cause {
            self.commands.sent(command, commit.time);
        }
        let forgets = matches!(
            commit.cause,
            Cause::Start {
                forgets_commands: true,
                ..
            }
        );
        let answered: Vec<_> = match forgets {
            true => effects.replies.iter().map(|reply| reply.id().clone()).collect(),
            false => Vec::new(),
        };
        if !effects.replies.is_empty() {
            self.commands.replies(effects.replies.drain(..), commit.time);
        }
        if forgets {
            self.commands.forgotten(&answered);
        }
    }

    fn tell_tap(&mut self, commit: &Commit<'_>, refused: bool) {
        if let (Some(tap), Cause::Event(taken)) = (&self.tap, commit.cause)
            && let Some(tapped) = Tapped::of(taken, commit.time, refused)
            && !tap.push(tapped)
        {
            self.tap = None;
        }
    }

    fn push_samples(&mut self, effects: &mut Effects) {
        if effects.samples.is_empty() {
            return;
        }
        self.health.samples.add(effects.samples.len() as u64);
        self.batches.resize_with(self.endpoints.len(), Vec::new);
        for (series, sample) in effects.samples.drain(..) {
            let series = usize::try_from(series).ok();
            if let Some(batch) = series.and_then(|series| self.batches.get_mut(series)) {
                batch.push(sample);
            }
        }
        for (endpoint, batch) in self.endpoints.iter().zip(&mut self.batches) {
            if !batch.is_empty() {
                self.hub.push_samples(*endpoint, batch);
                batch.clear();
                batch.shrink_to(BATCH_KEPT_SAMPLES);
            }
        }
    }
}

fn newest_phase(status: &[StatusChange]) -> Option<String> {
    status.iter().rev().find_map(|change| match change {
        StatusChange::Phase(phase) => Some(phase.clone()),
        StatusChange::Failed(_) => None,
    })
}

#[cfg(test)]
mod tests;
