//! A plugin's life: refused, adopted, swapped in, gone.

use std::sync::Arc;

use autobench_core::driver::{LogLevel, Publication, StartReason, StopReason};
use autobench_core::wire::{DeviceStatus, DriverEntry, LastReload, PluginEntry, PluginStatus, ReloadVerdict};
use tokio::time::Instant;

use super::super::device::SwapOutcome;
use super::super::events::envelope;
use super::super::loader::Prepared;
use super::super::package::Hash;
use super::devices::{fit, readable_slices, series_entries};
use super::{Bench, Slot, member_path};
use crate::clock::now_iso;
use crate::config::DeviceId;

impl Bench {
    pub(super) fn refuse_plugin(&mut self, stem: &str, hash: Option<Hash>, reason: String) {
        let Some(plugin) = self.plugins.get_mut(stem) else {
            return;
        };
        if plugin
            .refusal
            .as_ref()
            .is_some_and(|(known_hash, known)| *known_hash == hash && *known == reason)
        {
            return;
        }
        plugin.refusal = Some((hash, reason.clone()));
        self.log(LogLevel::Error, None, format!("{stem}.wasm is refused: {reason}"));
        self.publish_plugin(stem);
        for slot in self.bound(stem) {
            let reload = LastReload {
                at: now_iso(),
                verdict: ReloadVerdict::Refused,
                from: slot.running.as_ref().map(|running| running.hash.to_string()),
                to: hash.map(|hash| hash.to_string()),
                reason: Some(reason.clone()),
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
                if slot.running.is_none() {
                    entry.status = DeviceStatus::Refused;
                    entry.reason = Some(reason.clone());
                }
                if let Some(driver) = &mut entry.driver {
                    driver.last_reload = Some(reload);
                }
            });
        }
    }

    fn bound<'a>(&'a self, stem: &'a str) -> impl Iterator<Item = &'a Slot> {
        self.devices
            .values()
            .filter(move |slot| slot.config.plugin.as_str() == stem)
    }

    fn bound_ids(&self, stem: &str) -> Vec<DeviceId> {
        self.bound(stem).map(|slot| slot.config.id.clone()).collect()
    }

    pub(super) async fn plugin_gone(&mut self, stem: &str) {
        self.plugins.remove(stem);
        self.log(LogLevel::Warn, None, format!("{stem}.wasm is gone"));
        let path = member_path("plugins", stem);
        self.services.state.update(|store| drop(store.remove(&path)));
        for id in self.bound_ids(stem) {
            self.stop_driver(&id, StopReason::Removed).await;
            if let Some(slot) = self.devices.get(&id) {
                slot.record
                    .change(|entry| entry.reason = Some(format!("its plugin {stem}.wasm is gone")));
            }
        }
    }

    pub(super) fn publish_plugin(&self, stem: &str) {
        let Some(plugin) = self.plugins.get(stem) else {
            return;
        };
        let devices: Vec<String> = self.bound(stem).map(|slot| slot.config.id.to_string()).collect();
        let manifest = plugin.good.as_ref().map(|prepared| &prepared.manifest);
        let refused_hash = plugin.refusal.as_ref().and_then(|(hash, _)| *hash);
        let hash = refused_hash.or(plugin.good.as_ref().map(|prepared| prepared.hash));
        let entry = PluginEntry {
            file: format!("{stem}.wasm"),
            sha256: hash.map(|hash| hash.to_string()).unwrap_or_default(),
            name: manifest.map(|manifest| manifest.name.clone()),
            version: manifest.map(|manifest| manifest.version.clone()),
            manifest: manifest.and_then(|manifest| serde_json::to_value(manifest).ok()),
            status: match (&plugin.refusal, devices.is_empty()) {
                (Some(_), _) => PluginStatus::Refused,
                (None, true) => PluginStatus::Unbound,
                (None, false) => PluginStatus::Bound,
            },
            reason: plugin.refusal.as_ref().map(|(_, reason)| reason.clone()),
            devices,
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

    /// Brings a version to every device that wants it. It becomes the good one if any of them takes it, or if nobody wants it; what refuses
    /// it goes on with the version that it has.
    pub(super) async fn bind(&mut self, stem: &str, candidate: &Arc<Prepared>) {
        let mut accepted = 0_usize;
        let mut refused = None;
        let bound = self.bound_ids(stem);
        for id in &bound {
            let outcome = match self.devices.get(id) {
                // A file that was spoilt and is again what already runs needs no swap.
                Some(slot) if slot.runs(candidate) => Ok(()),
                Some(slot) if slot.device.is_some() => self.swap(id, candidate).await,
                Some(_) => self.start_driver(id, candidate),
                None => continue,
            };
            match outcome {
                Ok(()) => accepted += 1,
                Err(reason) => refused = Some(format!("on {id}: {reason}")),
            }
        }
        if let Some(plugin) = self.plugins.get_mut(stem) {
            if accepted > 0 || bound.is_empty() {
                plugin.good = Some(Arc::clone(candidate));
            }
            plugin.refusal = refused.map(|reason| (Some(candidate.hash), reason));
        }
        self.publish_plugin(stem);
    }

    /// Starts what is in quarantine once more: its file was put there again, which is how a person says so.
    pub(super) fn release(&self, stem: &str) {
        for slot in self.bound(stem) {
            let is_down = slot
                .record
                .read(|entry| entry.status == DeviceStatus::Quarantined);
            if is_down && let Some(device) = &slot.device {
                device.release();
            }
        }
    }

    async fn swap(&mut self, id: &DeviceId, prepared: &Arc<Prepared>) -> Result<(), String> {
        let began = Instant::now();
        let endpoints = self.register_series(id, &prepared.manifest);
        let Some(slot) = self.devices.get(id) else {
            return Ok(());
        };
        let Some(device) = &slot.device else { return Ok(()) };
        let from = slot
            .record
            .read(|entry| entry.driver.as_ref().map(|driver| driver.sha256.clone()));
        let outcome = match fit(&slot.config, &prepared.manifest) {
            Ok(()) => {
                device
                    .swap(
                        Arc::clone(prepared),
                        endpoints.clone(),
                        readable_slices(&slot.config, &prepared.manifest),
                    )
                    .await
            }
            Err(reason) => SwapOutcome::Refused {
                reason,
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
                let message = format!(
                    "driver swapped to {} ({}): paused {} µs, {carried_bytes} bytes carried, {} ms after it was ready",
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
        if let SwapOutcome::Refused { reason, .. } = outcome {
            return Err(reason);
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
            ReloadVerdict::Refused | ReloadVerdict::Returned => format!("{id} keeps its driver"),
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
