//! A version's life on a device: started, swapped in, refused; and what the state says of its plugin.

use std::sync::Arc;

use autobench_core::driver::versions::{Blame, InFile, VersionHash, WaitingVersion, Want, in_words};
use autobench_core::driver::{LogLevel, Publication, StartReason, StopReason};
use autobench_core::wire::{
    DeviceEntry, DeviceStatus, DriverEntry, LastReload, PluginEntry, PluginStatus, ReloadVerdict,
    WaitingEntry, WantEntry,
};
use tokio::time::Instant;

use super::super::events::envelope;
use super::super::fit::fit;
use super::super::loader::Prepared;
use super::super::swap::SwapOutcome;
use super::devices::series_entries;
use super::grants::readable_slices;
use super::{Bench, RefusedFile, Slot, member_path};
use crate::clock::now_iso;
use crate::config::{DeviceConfig, DeviceId};

/// Why a version is not swapped in, or another one not swapped out.
const THREAD_ENDED: &str = "the driver's thread has ended by a fault of the daemon";

/// Why a version does not take the place of another.
enum NotSwapped {
    Refused {
        blame: Blame,
        reason: String,
    },
    /// There is no thread any more that could.
    Lost,
}

impl NotSwapped {
    fn circumstances(reason: &str) -> Self {
        Self::Refused {
            blame: Blame::Circumstances,
            reason: reason.to_owned(),
        }
    }
}

impl Bench {
    /// Says that nobody can run what is in a file. What runs goes on.
    pub(super) fn say_refused(&self, stem: &str, hash: Option<VersionHash>, reason: &str) {
        self.log(LogLevel::Error, None, format!("{stem}.wasm is refused: {reason}"));
        for slot in self.bound(stem) {
            let reload = LastReload {
                at: now_iso(),
                verdict: ReloadVerdict::Refused,
                from: slot.running.as_ref().map(|running| running.hash.to_string()),
                to: hash.map(|hash| hash.to_string()),
                reason: Some(reason.to_owned()),
                pause_us: None,
                carried_bytes: None,
            };
            if slot.running.is_some() {
                self.log(
                    LogLevel::Info,
                    Some(&slot.config.id),
                    "the version that runs goes on".to_owned(),
                );
            }
            slot.record.change(|entry| {
                if let Some(driver) = &mut entry.driver {
                    driver.last_reload = Some(reload);
                }
            });
        }
    }

    /// Says why nothing runs on a device.
    pub(super) fn say_down(&self, device: &str, reason: String) {
        if let Some(slot) = self.devices.get(device) {
            slot.record.change(|entry| {
                entry.status = DeviceStatus::Refused;
                entry.reason = Some(reason);
            });
        }
    }

    /// Says what a device waits for that has never run: its plugin's file is there.
    pub(super) fn say_first(&self, device: &str) {
        if let Some(slot) = self.devices.get(device) {
            let reason = format!("its plugin {}.wasm is being compiled", slot.config.plugin);
            slot.record.change(|entry| {
                entry.status = DeviceStatus::Starting;
                entry.reason = Some(reason);
            });
        }
    }

    /// Says that nothing runs on a device because its plugin's file is not there.
    pub(super) fn say_missing(&self, device: &str) {
        let Some(slot) = self.devices.get(device) else {
            return;
        };
        let reason = file_is_gone(&slot.config);
        let is_said = slot.record.read(|entry| {
            entry.status == DeviceStatus::Stopped && entry.reason.as_deref() == Some(reason.as_str())
        });
        if is_said {
            return;
        }
        slot.record.change(|entry| {
            entry.status = DeviceStatus::Stopped;
            entry.reason = Some(reason.clone());
        });
        let message = format!("no driver runs: {reason}; it starts when the file is there");
        self.log_of(LogLevel::Error, device, message);
    }

    pub(super) fn say_gone(&mut self, stem: &str) {
        self.refused_files.remove(stem);
        self.log(LogLevel::Warn, None, format!("{stem}.wasm is gone"));
        let path = member_path("plugins", stem);
        self.services.state.update(|store| drop(store.remove(&path)));
    }

    pub(super) async fn stop_without_file(&mut self, device: &str) {
        let Some(id) = self.device_id(device) else {
            return;
        };
        self.stop_driver(&id, StopReason::Removed).await;
        if let Some(slot) = self.devices.get(&id) {
            let reason = file_is_gone(&slot.config);
            slot.record.change(|entry| entry.reason = Some(reason));
        }
        self.undo_alone(&id);
    }

    pub(super) fn bound<'a>(&'a self, stem: &'a str) -> impl Iterator<Item = &'a Slot> {
        self.devices
            .values()
            .filter(move |slot| slot.config.plugin.as_str() == stem)
    }

    pub(super) fn publish_plugin(&self, stem: &str) {
        let Some(view) = self.versions.plugin(stem) else {
            return;
        };
        if let (Some(hash), None) = (view.hash, &view.refusal) {
            self.forget_refusals(stem, hash);
        }
        let described_by = view.described_by.and_then(|hash| self.prepared.get(&hash));
        let manifest = described_by.map(|prepared| &prepared.manifest);
        // It stands beside the hash, so it is that file's, where that is known, and not that of another version which runs.
        let of_hash = view.hash.and_then(|hash| self.prepared.get(&hash));
        let waiting = view.waiting.map(|waiting| self.waiting_entry(waiting));
        // Where no file is to blame, a device has refused what is in it.
        let by_device = RefusedFile {
            code: "device",
            fault: None,
        };
        let refused = view
            .refusal
            .as_ref()
            .map(|_| self.refused_files.get(stem).unwrap_or(&by_device));
        let entry = PluginEntry {
            file: format!("{stem}.wasm"),
            sha256: view.hash.map(|hash| hash.to_string()).unwrap_or_default(),
            name: manifest.map(|manifest| manifest.name.clone()),
            version: of_hash.map(|prepared| prepared.manifest.version.clone()),
            manifest: manifest.and_then(|manifest| serde_json::to_value(manifest).ok()),
            status: match (&view.refusal, &waiting, view.devices.is_empty()) {
                _ if view.is_first => PluginStatus::Compiling,
                (Some(_), _, _) => PluginStatus::Refused,
                (None, Some(_), _) => PluginStatus::WaitingForConsent,
                (None, None, true) => PluginStatus::Unbound,
                (None, None, false) => PluginStatus::Bound,
            },
            reason: view
                .refusal
                .or_else(|| waiting.as_ref().map(|waiting| waiting.in_words(stem))),
            waiting,
            code: refused.map(|refused| refused.code.to_owned()),
            fault: refused.and_then(|refused| refused.fault.clone()),
            devices: view.devices.iter().map(ToString::to_string).collect(),
        };
        let path = member_path("plugins", stem);
        let published = serde_json::to_value(&entry)
            .map_err(|error| error.to_string())
            .and_then(|value| {
                self.services
                    .state
                    .update(|store| store.replace(&path, value))
                    .map_err(|error| error.to_string())
            });
        if let Err(error) = published {
            self.log(
                LogLevel::Error,
                None,
                format!("the plugin {stem} is not published: {error}"),
            );
        }
    }

    /// What is in the file is good. Where it is what runs, the refusal of a file that is there no more is nothing to warn of.
    fn forget_refusals(&self, stem: &str, hash: VersionHash) {
        let has_refusal = |entry: &DeviceEntry| {
            let driver = entry.driver.as_ref();
            let last = driver.and_then(|driver| driver.last_reload.as_ref());
            last.is_some_and(|last| last.verdict == ReloadVerdict::Refused)
        };
        for slot in self.bound(stem) {
            let runs = slot.running.as_ref().map(|running| running.hash);
            if runs == Some(hash) && slot.record.read(has_refusal) {
                slot.record.change(|entry| {
                    if let Some(driver) = &mut entry.driver {
                        driver.last_reload = None;
                    }
                });
            }
        }
    }

    fn waiting_entry(&self, waiting: WaitingVersion) -> WaitingEntry {
        let prepared = self.prepared.get(&waiting.hash);
        WaitingEntry {
            sha256: waiting.hash.to_string(),
            version: prepared
                .map(|prepared| prepared.manifest.version.clone())
                .unwrap_or_default(),
            devices: waiting.devices.iter().map(ToString::to_string).collect(),
            wants: waiting
                .wants
                .iter()
                .map(|want| WantEntry {
                    kind: want.kind().to_owned(),
                    value: want.value(),
                    words: want.to_string(),
                })
                .collect(),
        }
    }

    /// Says that a version is not run before somebody agrees. What runs goes on.
    pub(super) fn say_waiting(&self, plugin: &str, device: &str, hash: VersionHash, wants: &[Want]) {
        let message = format!(
            "driver {} waits for consent: it wants {}, which no version before it did; `autobench plugin grant {plugin}` lets it run",
            hash.short(),
            in_words(wants)
        );
        self.log_of(LogLevel::Warn, device, message);
    }

    /// Starts a version on a device, and tells the machine how that went.
    pub(super) async fn start_version(&mut self, device: &str, hash: VersionHash, is_return: bool) {
        let started = match (self.device_id(device), self.prepared.get(&hash).cloned()) {
            (Some(id), Some(prepared)) => {
                let remains = self.devices.get(&id).filter(|slot| slot.device.is_some());
                let ended = remains.and_then(Slot::version);
                if remains.is_some() {
                    // Of a thread that has ended by itself: its ports, which the new one is to have, and its last words, which are not the new one's.
                    self.stop_driver(&id, StopReason::Reconfigured).await;
                }
                let started = self.start_driver(&id, &prepared);
                if started.is_err() {
                    self.undo_alone(&id);
                }
                if let Some(ended) = ended {
                    self.say_replaced(&id, ended, &prepared, &started, is_return);
                }
                started
            }
            _ => Err("the version is not at hand".to_owned()),
        };
        match started {
            Ok(()) => {
                self.say_instead(device, hash);
                self.versions.started(device, hash);
            }
            Err(reason) => self.versions.not_started(device, hash, reason),
        }
    }

    /// Says why a device begins with another version than the one in its plugin's file.
    fn say_instead(&self, device: &str, hash: VersionHash) {
        let Some(standing) = self.versions.standing(device) else {
            return;
        };
        let why = match standing.in_file {
            InFile::Refused(refused, reason) => {
                format!("{} in its file is refused: {reason}", refused.short())
            }
            InFile::Waits(waits, wants) => {
                format!(
                    "{} in its file waits for consent to {}",
                    waits.short(),
                    in_words(&wants)
                )
            }
            InFile::Unusable(reason) => format!("what is in its file is refused: {reason}"),
            InFile::Version(_) | InFile::Nothing => return,
        };
        let message = format!("driver {} runs, which was good before; {why}", hash.short());
        self.log_of(LogLevel::Warn, device, message);
    }

    /// A version was to be started in place of one whose thread has ended. If it is another one, that is a reload, as a swap is.
    fn say_replaced(
        &self,
        id: &DeviceId,
        ended: String,
        prepared: &Prepared,
        started: &Result<(), String>,
        is_return: bool,
    ) {
        let to = prepared.hash.to_string();
        if ended == to {
            return;
        }
        let (verdict, reason) = match started {
            Ok(()) if is_return => (ReloadVerdict::Returned, THREAD_ENDED),
            Ok(()) => (ReloadVerdict::Cold, THREAD_ENDED),
            Err(reason) => (ReloadVerdict::Refused, reason.as_str()),
        };
        let reload = without_swap(verdict, Some(ended), to, reason);
        self.note_reload(id, &reload);
        if verdict == ReloadVerdict::Returned {
            let (hash, version) = (prepared.hash.short(), &prepared.manifest.version);
            let message = format!("driver returned to {hash} ({version}): {THREAD_ENDED}");
            self.log(LogLevel::Warn, Some(id), message);
        }
    }

    /// Puts a version in place of the one that runs, and tells the machine how that went.
    pub(super) async fn swap(&mut self, device: &str, hash: VersionHash, is_return: bool) {
        let outcome = match (self.device_id(device), self.prepared.get(&hash).cloned()) {
            (Some(id), Some(prepared)) => self.swap_to(&id, &prepared, is_return).await,
            _ => Err(NotSwapped::circumstances("the version is not at hand")),
        };
        match outcome {
            Ok(()) => self.versions.swapped(device, hash, self.now_ns()),
            Err(NotSwapped::Lost) => {
                let message = format!(
                    "driver {} is started in a thread of its own: the former one has ended",
                    hash.short()
                );
                self.log_of(LogLevel::Warn, device, message);
                self.versions.swap_lost(device, hash);
            }
            Err(NotSwapped::Refused { blame, reason }) => {
                self.versions.swap_refused(device, hash, blame, reason)
            }
        }
    }

    fn device_id(&self, device: &str) -> Option<DeviceId> {
        self.devices.get_key_value(device).map(|(id, _)| id.clone())
    }

    async fn swap_to(
        &mut self,
        id: &DeviceId,
        prepared: &Arc<Prepared>,
        is_return: bool,
    ) -> Result<(), NotSwapped> {
        let began = Instant::now();
        let endpoints = self.register_series(id, &prepared.manifest);
        let Some((slot, device)) = self
            .devices
            .get(id)
            .and_then(|slot| Some((slot, slot.device.as_ref()?)))
        else {
            return Err(NotSwapped::circumstances("no driver runs"));
        };
        let from = slot.version();
        if is_return {
            // The failed version may have asked for less than the slice of this one has.
            self.limit_slice(id, prepared);
        }
        let answer = match fit(&slot.config, &prepared.manifest) {
            Ok(()) => {
                device
                    .swap(
                        Arc::clone(prepared),
                        endpoints.clone(),
                        readable_slices(&slot.config, &prepared.manifest),
                        is_return,
                    )
                    .await
            }
            Err(reason) => Some(SwapOutcome::Refused {
                reason,
                blame: Blame::Circumstances,
                predecessor_runs: true,
            }),
        };
        let to = prepared.hash.to_string();
        let reload = reload_of(answer.as_ref(), is_return, from, to.clone());
        let Some(outcome) = answer else {
            self.note_reload(id, &reload);
            return Err(NotSwapped::Lost);
        };
        match &outcome {
            SwapOutcome::Swapped {
                generation,
                pause,
                carried_bytes,
                why_not_as_it_was,
                ..
            } => {
                slot.record.change(|entry| {
                    entry.kind.clone_from(&prepared.manifest.device_type);
                    entry.series = series_entries(&prepared.manifest, &endpoints);
                    entry.driver = Some(DriverEntry {
                        sha256: to.clone(),
                        version: prepared.manifest.version.clone(),
                        // The driver may have been restarted since; its thread has said so then.
                        generation: entry
                            .driver
                            .as_ref()
                            .map_or(0, |driver| driver.generation)
                            .max(*generation),
                        health: slot.record.health().members(),
                        last_reload: Some(reload.clone()),
                        last_fault: entry.driver.as_ref().and_then(|driver| driver.last_fault.clone()),
                    });
                });
                let verb = match (is_return, why_not_as_it_was) {
                    (false, _) => "swapped".to_owned(),
                    (true, None) => "returned as it was".to_owned(),
                    (true, Some(why)) => format!("returned {why}"),
                };
                let message = format!(
                    "driver {verb} to {} ({}), generation {generation}: paused {} µs, {carried_bytes} bytes carried, {} ms after it was ready",
                    prepared.hash.short(),
                    prepared.manifest.version,
                    pause.as_micros(),
                    began.elapsed().as_millis()
                );
                self.log(LogLevel::Info, Some(id), message);
            }
            SwapOutcome::Refused {
                reason,
                predecessor_runs,
                ..
            } => {
                slot.record.change(|entry| {
                    if let Some(driver) = &mut entry.driver {
                        driver.last_reload = Some(reload.clone());
                    }
                });
                let goes_on = if *predecessor_runs {
                    "the version that runs goes on"
                } else {
                    "no version runs"
                };
                let message = format!("driver {} is refused: {reason}; {goes_on}", prepared.hash.short());
                self.log(LogLevel::Error, Some(id), message);
            }
        }
        let has_driver = !matches!(
            outcome,
            SwapOutcome::Refused {
                predecessor_runs: false,
                ..
            }
        );
        self.publish_reload(id, &reload, has_driver);
        if let SwapOutcome::Refused { reason, blame, .. } = outcome {
            if let Some(running) = self.devices.get(id).and_then(|slot| slot.running.as_ref()) {
                self.limit_slice(id, running);
            }
            return Err(NotSwapped::Refused { blame, reason });
        }
        self.describe_series(id, &prepared.manifest);
        self.adopt_limits(id, prepared);
        self.tell_not_granted(id, &prepared.manifest);
        self.services.commands.describe(id.as_str(), &prepared.commands);
        if let Some(slot) = self.devices.get_mut(id) {
            slot.running = Some(Arc::clone(prepared));
        }
        Ok(())
    }

    /// Shows what came of a reload of a driver whose thread has ended.
    fn note_reload(&self, id: &DeviceId, reload: &LastReload) {
        if let Some(slot) = self.devices.get(id) {
            slot.record.change(|entry| {
                if let Some(driver) = &mut entry.driver {
                    driver.last_reload = Some(reload.clone());
                }
            });
        }
        self.publish_reload(id, reload, false);
    }

    /// Tells clients of a reload. `has_driver` says whether, if it was refused, there is still a driver that runs.
    fn publish_reload(&self, id: &DeviceId, reload: &LastReload, has_driver: bool) {
        let Ok(serde_json::Value::Object(context)) = serde_json::to_value(reload) else {
            return;
        };
        let message = match reload.verdict {
            ReloadVerdict::Swapped | ReloadVerdict::Cold => format!("{id} runs a new version of its driver"),
            ReloadVerdict::Refused if has_driver => format!("{id} keeps its driver"),
            ReloadVerdict::Refused => format!("{id} has no driver that runs"),
            ReloadVerdict::Returned => format!("{id} is back at the former version of its driver"),
        };
        let publication = Publication {
            level: LogLevel::Info,
            kind: "DriverReload".to_owned(),
            message,
            context,
        };
        self.services
            .hub
            .publish_event(envelope(&self.services.state, id.as_str(), publication));
    }
}

impl Slot {
    /// Hash of the version that its driver has, as the state shows it.
    fn version(&self) -> Option<String> {
        self.record
            .read(|entry| entry.driver.as_ref().map(|driver| driver.sha256.clone()))
    }
}

/// Why a device is stopped whose plugin's file is not there.
fn file_is_gone(config: &DeviceConfig) -> String {
    format!("its plugin {}.wasm is gone", config.plugin)
}

/// What came of a swap; without an answer the thread has ended.
fn reload_of(answer: Option<&SwapOutcome>, is_return: bool, from: Option<String>, to: String) -> LastReload {
    match answer {
        Some(SwapOutcome::Swapped {
            reason,
            pause,
            carried_bytes,
            why_not_as_it_was,
            ..
        }) => LastReload {
            at: now_iso(),
            verdict: match reason {
                _ if is_return => ReloadVerdict::Returned,
                StartReason::Swap => ReloadVerdict::Swapped,
                _ => ReloadVerdict::Cold,
            },
            from,
            to: Some(to),
            reason: why_not_as_it_was.clone(),
            pause_us: u64::try_from(pause.as_micros()).ok(),
            carried_bytes: Some(*carried_bytes),
        },
        Some(SwapOutcome::Refused { reason, .. }) => without_swap(ReloadVerdict::Refused, from, to, reason),
        None => without_swap(ReloadVerdict::Refused, from, to, THREAD_ENDED),
    }
}

/// A reload in which no driver has handed over to another.
fn without_swap(verdict: ReloadVerdict, from: Option<String>, to: String, reason: &str) -> LastReload {
    LastReload {
        at: now_iso(),
        verdict,
        from,
        to: Some(to),
        reason: Some(reason.to_owned()),
        pause_us: None,
        carried_bytes: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_over_which_the_thread_has_ended_has_a_verdict() {
        for is_return in [false, true] {
            let reload = reload_of(None, is_return, Some("aa".to_owned()), "bb".to_owned());
            assert_eq!(reload.verdict, ReloadVerdict::Refused);
            assert_eq!(
                (reload.from.as_deref(), reload.to.as_deref()),
                (Some("aa"), Some("bb"))
            );
            assert_eq!(reload.reason.as_deref(), Some(THREAD_ENDED));
        }
    }
}
