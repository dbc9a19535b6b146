//! What an edit of the configuration does: only the drivers whose entry changed notice it.

use std::collections::BTreeSet;
use std::time::Duration;

use autobench_core::driver::{LogLevel, StopReason};
use autobench_core::state::Pointer;

use tokio::time::Instant;

use super::Bench;
use crate::config::{AuthConfig, BenchConfig, ConfigErrors, DeviceConfig, DeviceId, Waiting};

/// How long a configuration that stops a device is given to become whole.
const GRACE: Duration = Duration::from_secs(1);

impl Bench {
    pub(super) async fn reload_configuration(&mut self) {
        let loader = self.config_loader.clone();
        // A file that is gone has stopped its device already; one that never was is a slip of the edit.
        let known = self.config.devices.clone();
        let loaded = tokio::task::spawn_blocking(move || loader.load_to_run(Waiting::BoundIn(&known))).await;
        match loaded {
            Ok(Ok(config)) if self.stops_a_device(&config) && !self.config_in_doubt => {
                // Between the emptying and the writing of a file there is a moment in which it names nothing.
                self.config_in_doubt = true;
                let message = "the configuration no longer names a device that runs; it may be half written and is read once more";
                self.log(LogLevel::Debug, None, message.to_owned());
                self.config_changed = Some(Instant::now() + GRACE);
            }
            Ok(Ok(config)) => {
                self.config_in_doubt = false;
                self.log(LogLevel::Info, None, "the configuration is read".to_owned());
                self.adopt(config).await;
            }
            Ok(Err(errors)) => self.refuse_configuration(&errors),
            Err(error) => self.log(
                LogLevel::Error,
                None,
                format!("the configuration cannot be read: {error}"),
            ),
        }
    }

    fn stops_a_device(&self, config: &BenchConfig) -> bool {
        self.devices.keys().any(|id| !config.devices.contains_key(id))
    }

    fn refuse_configuration(&mut self, errors: &ConfigErrors) {
        for line in errors.to_string().lines() {
            self.log(LogLevel::Error, None, line.to_owned());
        }
        self.config_is_bad = true;
        let message = format!(
            "{} is not used: {} problems, see the log",
            self.config_loader.path().display(),
            errors.error_count()
        );
        self.set_message(&message);
    }

    async fn adopt(&mut self, config: BenchConfig) {
        if self.config_is_bad {
            self.config_is_bad = false;
            self.set_message("");
        }
        if config.auth != self.config.auth {
            self.adopt_tokens(&config.auth);
        }
        if config.daemon != self.config.daemon {
            self.log(
                LogLevel::Warn,
                None,
                "changes of [daemon] take effect at the next start".to_owned(),
            );
        }
        let gone: Vec<DeviceId> = self
            .devices
            .keys()
            .filter(|id| !config.devices.contains_key(*id))
            .cloned()
            .collect();
        for id in gone {
            self.stop_device(&id, StopReason::Removed).await;
            // Its entry stays, as its slice does, so that a mirror can tell that it is stale.
            self.log(LogLevel::Info, Some(&id), "is no longer configured".to_owned());
            self.act().await;
        }
        let renamed = self.stop_renamed(&config).await;
        for wanted in config.devices.values() {
            let Some(slot) = self.devices.get_mut(&wanted.id) else {
                if !renamed.contains(&wanted.id) {
                    self.log(LogLevel::Info, Some(&wanted.id), "is configured".to_owned());
                }
                self.add_device(wanted.clone()).await;
                continue;
            };
            if slot.config == *wanted {
                continue;
            }
            let only_settings = DeviceConfig {
                settings: wanted.settings.clone(),
                ..slot.config.clone()
            } == *wanted;
            if only_settings && let Some(device) = &slot.device {
                slot.config = wanted.clone();
                device.reconfigure(wanted.settings.to_string().into());
                self.log(LogLevel::Info, Some(&wanted.id), "has new settings".to_owned());
                self.versions.settings_changed(wanted.id.as_str());
                self.act().await;
                continue;
            }
            self.stop_reconfigured(&wanted.id).await;
            self.add_device(wanted.clone()).await;
        }
        if let Ok(layout) = serde_json::to_value(crate::layout::of(&config)) {
            // The member is there from the start, and a layout is a value that the state takes.
            let _ = self
                .services
                .state
                .update(|store| store.replace(&Pointer::of(["layout"]), layout));
        }
        for warning in &config.warnings {
            self.log(LogLevel::Warn, None, warning.to_string());
        }
        // What is only read at the start stays what it was at the start.
        self.config = BenchConfig {
            daemon: self.config.daemon.clone(),
            ..config
        };
    }

    /// Stops the devices whose slice gets another name, before any other starts: one may get the name that another had, and neither the former driver's
    /// last words nor its end may touch what is the new one's then.
    async fn stop_renamed(&mut self, config: &BenchConfig) -> BTreeSet<DeviceId> {
        let mut renamed = BTreeSet::new();
        for wanted in config.devices.values() {
            let slice = match self.devices.get(&wanted.id) {
                Some(slot) if slot.config.slice != wanted.slice => slot.config.slice.to_string(),
                _ => continue,
            };
            self.stop_reconfigured(&wanted.id).await;
            // It goes by another name now; under the old one nobody would ever write it again.
            let _ = self.services.state.remove_member(&slice);
            renamed.insert(wanted.id.clone());
        }
        renamed
    }

    async fn stop_reconfigured(&mut self, id: &DeviceId) {
        self.log(
            LogLevel::Info,
            Some(id),
            "is configured anew and starts again".to_owned(),
        );
        self.stop_device(id, StopReason::Reconfigured).await;
    }

    /// Tokens come, go and change their roles at once. Only the last one stays until the next start: an edit that goes wrong must not open the door.
    fn adopt_tokens(&self, auth: &AuthConfig) {
        if auth.tokens.is_empty() {
            let message = "there is no token any more; until the next start the former ones are asked for";
            return self.log(LogLevel::Warn, None, message.to_owned());
        }
        self.services.hub.guard().set_tokens(auth);
        self.log(
            LogLevel::Info,
            None,
            "the tokens are those of the configuration".to_owned(),
        );
    }

    fn set_message(&self, message: &str) {
        if let Ok(path) = Pointer::parse("/message") {
            // The member is always there, and a text is always taken.
            let _ = self
                .services
                .state
                .update(|store| store.set(&path, message.into()));
        }
    }
}
