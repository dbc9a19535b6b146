//! What becomes of a driver's life in the daemon: when it starts, breaks down, is stopped, and when its thread ends.

use autobench_core::driver::leases::reason;
use autobench_core::driver::versions::Broken;
use autobench_core::driver::{Breakdown, LeaseOver, LifeChange, LogLevel, Sink, StartReason, Verdict};
use autobench_core::wire::DeviceStatus;

use super::DeviceSink;
use crate::clock::now_iso;
use crate::driver::fault;
use crate::driver::loader::Version;

impl DeviceSink {
    pub(super) fn tell_life(&mut self, change: LifeChange<'_>) {
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
}
