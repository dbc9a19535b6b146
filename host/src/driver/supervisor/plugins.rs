//! A version's life on a device: started, swapped in, refused; and what the state says of its plugin.

use std::sync::Arc;

use autobench_core::driver::versions::{Blame, VersionHash};
use autobench_core::driver::{LogLevel, Publication, StartReason, StopReason};
use autobench_core::wire::{DeviceStatus, DriverEntry, LastReload, PluginEntry, PluginStatus, ReloadVerdict};
use tokio::time::Instant;

use super::super::device::SwapOutcome;
use super::super::events::envelope;
use super::super::loader::Prepared;
use super::devices::{fit, readable_slices, series_entries};
use super::{Bench, Slot, member_path};
use crate::clock::now_iso;
use crate::config::DeviceId;

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

    pub(super) fn say_gone(&self, stem: &str) {
        self.log(LogLevel::Warn, None, format!("{stem}.wasm is gone"));
        let path = member_path("plugins", stem);
        self.services.state.update(|store| drop(store.remove(&path)));
    }

    pub(super) async fn stop_without_file(&mut self, device: &str) {
        let Some((id, plugin)) = self
            .devices
            .get_key_value(device)
            .map(|(id, slot)| (id.clone(), slot.config.plugin.clone()))
        else {
            return;
        };
        self.stop_driver(&id, StopReason::Removed).await;
        if let Some(slot) = self.devices.get(&id) {
            slot.record
                .change(|entry| entry.reason = Some(format!("its plugin {plugin}.wasm is gone")));
        }
    }

    fn bound<'a>(&'a self, stem: &'a str) -> impl Iterator<Item = &'a Slot> {
        self.devices
            .values()
            .filter(move |slot| slot.config.plugin.as_str() == stem)
    }

    pub(super) fn publish_plugin(&self, stem: &str) {
        let Some(view) = self.versions.plugin(stem) else {
            return;
        };
        let described_by = view.described_by.and_then(|hash| self.prepared.get(&hash));
        let manifest = described_by.map(|prepared| &prepared.manifest);
        let entry = PluginEntry {
            file: format!("{stem}.wasm"),
            sha256: view.hash.map(|hash| hash.to_string()).unwrap_or_default(),
            name: manifest.map(|manifest| manifest.name.clone()),
            version: manifest.map(|manifest| manifest.version.clone()),
            manifest: manifest.and_then(|manifest| serde_json::to_value(manifest).ok()),
            status: match (&view.refusal, view.devices.is_empty()) {
                (Some(_), _) => PluginStatus::Refused,
                (None, true) => PluginStatus::Unbound,
                (None, false) => PluginStatus::Bound,
            },
            reason: view.refusal,
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

    /// Starts a version on a device, and tells the machine how that went.
    pub(super) async fn start_version(&mut self, device: &str, hash: VersionHash) {
        let started = match (self.device_id(device), self.prepared.get(&hash).cloned()) {
            (Some(id), Some(prepared)) => {
                let has_remains = self.devices.get(&id).is_some_and(|slot| slot.device.is_some());
                if has_remains {
                    // Of a thread that has ended by itself: its ports, which the new one is to have, and its last words, which are not the new one's.
                    self.stop_driver(&id, StopReason::Reconfigured).await;
                }
                self.start_driver(&id, &prepared)
            }
            _ => Err("the version is not at hand".to_owned()),
        };
        match started {
            Ok(()) => self.versions.started(device, hash),
            Err(reason) => self.versions.not_started(device, hash, reason),
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
        let from = slot
            .record
            .read(|entry| entry.driver.as_ref().map(|driver| driver.sha256.clone()));
        let outcome = match fit(&slot.config, &prepared.manifest) {
            Ok(()) => device
                .swap(
                    Arc::clone(prepared),
                    endpoints.clone(),
                    readable_slices(&slot.config, &prepared.manifest),
                )
                .await
                .ok_or(NotSwapped::Lost)?,
            Err(reason) => SwapOutcome::Refused {
                reason,
                blame: Blame::Circumstances,
                predecessor_runs: true,
            },
        };
        let to = prepared.hash.to_string();
        let at = now_iso();
        let reload = match &outcome {
            SwapOutcome::Swapped {
                reason,
                pause,
                carried_bytes,
                ..
            } => LastReload {
                at,
                verdict: match reason {
                    _ if is_return => ReloadVerdict::Returned,
                    StartReason::Swap => ReloadVerdict::Swapped,
                    _ => ReloadVerdict::Cold,
                },
                from: from.clone(),
                to: Some(to.clone()),
                reason: None,
                pause_us: u64::try_from(pause.as_micros()).ok(),
                carried_bytes: Some(*carried_bytes),
            },
            SwapOutcome::Refused { reason, .. } => LastReload {
                at,
                verdict: ReloadVerdict::Refused,
                from: from.clone(),
                to: Some(to.clone()),
                reason: Some(reason.clone()),
                pause_us: None,
                carried_bytes: None,
            },
        };
        match &outcome {
            SwapOutcome::Swapped {
                generation,
                pause,
                carried_bytes,
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
                    });
                });
                let verb = if is_return { "returned" } else { "swapped" };
                let message = format!(
                    "driver {verb} to {} ({}): paused {} µs, {carried_bytes} bytes carried, {} ms after it was ready",
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
        self.publish_reload(id, &reload);
        if let SwapOutcome::Refused { reason, blame, .. } = outcome {
            return Err(NotSwapped::Refused { blame, reason });
        }
        self.describe_series(id, &prepared.manifest);
        self.adopt_limits(id, prepared);
        self.services.commands.describe(id.as_str(), &prepared.commands);
        if let Some(slot) = self.devices.get_mut(id) {
            slot.running = Some(Arc::clone(prepared));
        }
        Ok(())
    }

    fn publish_reload(&self, id: &DeviceId, reload: &LastReload) {
        let Ok(serde_json::Value::Object(context)) = serde_json::to_value(reload) else {
            return;
        };
        let message = match reload.verdict {
            ReloadVerdict::Swapped | ReloadVerdict::Cold => format!("{id} runs a new version of its driver"),
            ReloadVerdict::Refused => format!("{id} keeps its driver"),
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
