//! Where a driver's effects go in the daemon: store, hub, log and ports.

mod log_budget;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use autobench_core::driver::leases::reason;
use autobench_core::driver::shadow::Tapped;
use autobench_core::driver::versions::Broken;
use autobench_core::driver::{
    AlarmChange, Breakdown, Cause, Command, Commit, Effects, Event, Lease, LeaseOver, LifeChange, LogLevel,
    LogLine, LogOrigin, PortAction, Sample, Severity, SharedInbox, Sink, Skipped, SliceRefused, StartReason,
    StatusChange, Taken, Verdict,
};
use autobench_core::state::StateError;
use autobench_core::wire::DeviceStatus;

use log_budget::LOG_LINES_PER_SECOND;
pub use log_budget::LogBudget;

use super::alarms::{AlarmUpdate, Alarms};
use super::events::envelope;
use super::fault;
use super::health::Health;
use super::host_state::LOG_LINES_PER_CALL;
use super::leases::LeaseJournal;
use super::lives::Lives;
use super::loader::Version;
use super::record::DeviceRecord;
use super::shadow::Feed;
use crate::clock::{Clock, now_iso};
use crate::commands::DeviceCommands;
use crate::hub::Hub;
use crate::logs::{LogHandle, LogRecord};
use crate::serial::{PortControl, PortView};
use crate::state::{Observing, StateHandle, Unsent};

/// Files of skipped bytes that are kept per device; the oldest goes.
const SKIPPED_FILES_LIMIT: usize = 16;

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
                if let PortAction::Write(data) = &action {
                    self.health.bytes_out.add(data.len() as u64);
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
        use LogLevel::{Error, Info, Warn};
        self.end_shadow_run(&change);
        match change {
            LifeChange::Started {
                reason,
                generation,
                replayed_bytes,
                lost_bytes,
                from_snapshot,
            } => {
                let generation = self.first_generation + generation;
                if reason == StartReason::Restart {
                    self.health.restarts.add(1);
                }
                self.health.generation.set(generation);
                let how = match (reason, from_snapshot) {
                    (_, false) => Some("it starts from nothing".to_owned()),
                    (StartReason::Cold | StartReason::Restart, true) => Some(format!(
                        "it goes on from a snapshot, {replayed_bytes} bytes replayed"
                    )),
                    // Whoever has asked for it tells how it went. The device waits for what is said here.
                    (StartReason::Swap | StartReason::Return, true) => None,
                };
                if let Some(how) = how {
                    self.log(Info, format!("driver is live, generation {generation}: {how}"));
                }
                if lost_bytes > 0 {
                    self.health.overrun_bytes.add(lost_bytes);
                    self.log(
                        Warn,
                        format!("{lost_bytes} bytes that its predecessor had not dealt with are lost"),
                    );
                }
                if !from_snapshot {
                    self.go_live(generation);
                }
                self.lives.live(&self.device, self.version.hash);
            }
            LifeChange::BrokeDown { breakdown, verdict } => self.broke_down(breakdown, verdict),
            LifeChange::CheckpointDropped { breakdown } => {
                self.log(Warn, format!("its checkpoint is given up: {breakdown}"));
            }
            LifeChange::LastWordsLost { breakdown } => {
                let version = self.version.clone();
                self.note_fault(breakdown, &version);
                self.log(Error, format!("its last words are lost: {breakdown}"));
            }
            LifeChange::Stopped(_) => {
                self.commands.down("the driver was stopped", true);
                self.clear_alarms();
                self.hub.abort_blocks(&self.device);
                self.record.change(|entry| {
                    entry.status = DeviceStatus::Stopped;
                    // What the driver said last is no longer so: nobody looks at the device.
                    entry.phase = None;
                    entry.stale_since.get_or_insert_with(now_iso);
                });
            }
        }
    }
}

impl DeviceSink {
    /// Raises a critical alarm of the device that no driver has asked for.
    pub fn raise(&mut self, key: &str, message: String) {
        let raised = self.alarms.change(AlarmChange::Raise {
            key: key.to_owned(),
            severity: Severity::Critical,
            message,
        });
        self.tell_alarms(raised.into_iter().collect());
    }

    fn go_live(&self, generation: u64) {
        if let Err(error) = self.record.go_live(generation, None, |_| Ok(())).map(drop) {
            self.log(LogLevel::Error, format!("that it runs is not published: {error}"));
        }
    }

    /// Counts a breakdown, and shows it with the version whose it is.
    pub fn note_fault(&self, breakdown: &Breakdown, version: &Version) {
        self.health.broke_down(breakdown, self.clock.now().wall_ms);
        self.record.change(|entry| {
            let plugin = entry.plugin.clone();
            if let Some(driver) = &mut entry.driver {
                let shown = fault::of_breakdown(breakdown, plugin, version.hash, &version.name);
                driver.last_fault = Some(shown);
            }
        });
    }

    /// Slice, phase and alarms of one call, as one version. If the slice refuses its operations, the rest is applied all the same.
    fn apply_to_state(&mut self, effects: &mut Effects) -> Result<(), StateError> {
        // A failure is the cell's to act on; of several phases in one call only the last ever was the phase.
        let phase = newest_phase(&effects.status);
        effects.status.clear();
        let alarms: Vec<_> = effects
            .alarms
            .drain(..)
            .filter_map(|change| self.alarms.change(change))
            .collect();
        if phase.is_none() && alarms.is_empty() {
            if effects.operations.is_empty() {
                return Ok(());
            }
            return self
                .state
                .apply_slice(&self.slice, &effects.operations)
                .map(|_| ());
        }
        let mut applied = Ok(());
        let published = self.record.change_with(
            |entry| {
                if let Some(phase) = phase {
                    entry.phase = Some(phase);
                }
            },
            |transaction| {
                applied = transaction.apply(&self.slice, &effects.operations);
                alarms.iter().for_each(|alarm| alarm.apply(transaction));
            },
        );
        if let Err(error) = published {
            // The size of a slice is only known at the end: everything else goes out without it.
            applied = Err(error);
            self.publish_alarms(&alarms);
        }
        for alarm in alarms {
            self.hub.publish_alarm(alarm.message);
        }
        applied
    }

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

    fn publish_alarms(&self, alarms: &[AlarmUpdate]) {
        let published = self.record.change_with(
            |_| (),
            |transaction| alarms.iter().for_each(|alarm| alarm.apply(transaction)),
        );
        if let Err(error) = published {
            self.log(LogLevel::Error, format!("its alarms are not published: {error}"));
        }
    }

    /// The driver's thread ends by a fault of the daemon. Nobody is left who waits for it, and who starts drivers hears of it last: another thread has
    /// its own word on all of this.
    pub fn thread_ended(&mut self) {
        let reason = "its thread ended by a fault of the daemon; standard error says which";
        let _told_last = self.lives.ending(&self.device);
        if let Some(tap) = self.tap.take() {
            tap.replaced(format!("the driver is down: {reason}"));
        }
        // Those that are undone already, and have yet to leave, go out once more.
        for lease in self.leases.standing() {
            self.lease_over(&LeaseOver {
                lease,
                reason: reason::DRIVER_FAILED.into(),
            });
        }
        self.log(LogLevel::Error, format!("the driver is down: {reason}"));
        self.commands.down(reason, true);
        self.clear_alarms();
        self.hub.abort_blocks(&self.device);
        self.record.change(|entry| {
            entry.status = DeviceStatus::Stopped;
            entry.reason = Some(reason.to_owned());
            entry.phase = None;
            entry.stale_since.get_or_insert_with(now_iso);
        });
    }

    /// The driver is down: says why, and what brings it back.
    fn broke_down(&mut self, breakdown: &Breakdown, verdict: Verdict) {
        let version = self.version.clone();
        self.note_fault(breakdown, &version);
        let mut reason = breakdown.to_string();
        let status = match verdict {
            Verdict::Restart { at_ns } => {
                let pause_ms = at_ns.saturating_sub(self.clock.monotonic_ns()) / 1_000_000;
                self.log(
                    LogLevel::Warn,
                    format!("driver broke down: {reason}; it is started again in {pause_ms} ms"),
                );
                DeviceStatus::Restarting
            }
            Verdict::Quarantine => {
                self.log(
                    LogLevel::Error,
                    format!("driver broke down too often and is in quarantine: {reason}; a new version of its file ends it, and so does `autobench plugin reload`"),
                );
                self.stays_down(&format!("the driver is in quarantine: {reason}"));
                DeviceStatus::Quarantined
            }
            Verdict::AwaitsConfiguration => {
                reason.push_str(&format!(
                    "; correct [devices.{}] in plugins.toml, and it is started",
                    self.device
                ));
                self.log(LogLevel::Error, format!("driver does not start: {reason}"));
                self.stays_down(&format!("the driver does not start: {reason}"));
                DeviceStatus::Refused
            }
        };
        let broken = Broken {
            hash: version.hash,
            reason: reason.clone(),
            blame: breakdown.blame(),
            is_quarantined: status != DeviceStatus::Restarting,
        };
        self.record.change(|entry| {
            entry.status = status;
            entry.reason = Some(reason);
            entry.stale_since.get_or_insert_with(now_iso);
        });
        self.lives.broke_down(&self.device, broken);
    }

    /// Nobody waits any more for a driver that is not started again by itself.
    fn stays_down(&self, why: &str) {
        self.hub.abort_blocks(&self.device);
        self.commands.down(why, false);
    }

    /// The version that rested is back, and its alarms with it.
    pub fn bring_alarms_back(&mut self) {
        if let Some(former) = self.former_alarms.take() {
            let alarms = self.alarms.go_back_to(former);
            self.tell_alarms(alarms);
        }
    }

    fn clear_alarms(&mut self) {
        let alarms = self.alarms.clear_all();
        self.tell_alarms(alarms);
    }

    fn tell_alarms(&self, alarms: Vec<AlarmUpdate>) {
        if alarms.is_empty() {
            return;
        }
        self.publish_alarms(&alarms);
        for alarm in alarms {
            self.hub.publish_alarm(alarm.message);
        }
    }

    /// A shadow run compares with the version that it began with, in the life that it began in.
    fn end_shadow_run(&mut self, change: &LifeChange<'_>) {
        let why = match change {
            LifeChange::Started {
                reason: StartReason::Restart,
                ..
            } => "the driver was started again since the run began".to_owned(),
            LifeChange::Started { .. } => {
                let hash = self.version.hash.to_string();
                let hash = hash.get(..12).unwrap_or(&hash);
                format!("another version runs since the run began: {hash}")
            }
            LifeChange::BrokeDown { breakdown, .. } => {
                format!("the version that runs broke down on the bench: {breakdown}")
            }
            LifeChange::Stopped(_) => "the driver was stopped since the run began".to_owned(),
            LifeChange::CheckpointDropped { .. } | LifeChange::LastWordsLost { .. } => return,
        };
        if let Some(tap) = self.tap.take() {
            tap.replaced(why);
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

    /// What the driver logs, as long as it leaves room in the ring for what others have to say.
    fn append_lines(&mut self, lines: &mut Vec<LogLine>, suppressed: u64, mark: Option<&str>) {
        if lines.is_empty() && suppressed == 0 {
            return;
        }
        let now = Instant::now();
        let mut left_out = suppressed;
        for mut line in lines.drain(..) {
            if !self.log_budget.admit(now) {
                left_out += 1;
                continue;
            }
            if let Some(mark) = mark {
                line.attributes.push(("line".to_owned(), mark.to_owned()));
            }
            self.logs.append(LogRecord::of_driver(&self.device, &line));
        }
        if left_out > 0 {
            self.health.log_lines_left_out.add(left_out);
            if let Some(total) = self.log_budget.leave_out(left_out, now) {
                self.log(LogLevel::Warn, format!("{total} of its log lines are left out: it may write {LOG_LINES_PER_CALL} in one call and {LOG_LINES_PER_SECOND} per second"));
            }
        }
    }

    fn log(&self, level: LogLevel, message: String) {
        self.logs
            .append(LogRecord::new("device", level, message).of_device(&*self.device));
    }

    /// Keeps skipped bytes in a file and names it, or says why not.
    fn dump(&self, offset: u64, bytes: &[u8]) -> String {
        let path = self.dumps.join(format!("{}@{offset}.bytes", self.device));
        let written = std::fs::create_dir_all(&self.dumps).and_then(|()| {
            self.forget_old_dumps();
            std::fs::write(&path, bytes)
        });
        match written {
            Ok(()) => format!(", kept in {}", path.display()),
            Err(error) => format!(", not kept in {}: {error}", path.display()),
        }
    }

    fn forget_old_dumps(&self) {
        let prefix = format!("{}@", self.device);
        let mut files: Vec<_> = std::fs::read_dir(&self.dumps)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|file| file.file_name().to_string_lossy().starts_with(&prefix))
            .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())))
            .collect();
        files.sort();
        let surplus = (files.len() + 1).saturating_sub(SKIPPED_FILES_LIMIT);
        for (_, path) in files.into_iter().take(surplus) {
            // One file too many does no harm; the next dump tries again.
            let _ = std::fs::remove_file(path);
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
