//! `devices.<id>` in the state: one owner per device, written as a whole and published as what has changed.

use std::sync::Arc;

use autobench_core::driver::PortIdentity;
use autobench_core::state::{Pointer, StateError, Store, Transaction};
use autobench_core::wire::{DeviceEntry, DeviceStatus, PortEntry, PortIdentityEntry, iso8601};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::health::Health;
use super::metrics::Scraped;
use crate::state::{StateHandle, Unsent};

/// A device's entry and the way it gets into the state.
#[derive(Clone)]
pub struct DeviceRecord {
    shared: Arc<Shared>,
}

struct Shared {
    device: Arc<str>,
    plugin: Arc<str>,
    path: Pointer,
    generation_path: Pointer,
    health_path: Pointer,
    last_seen_path: Pointer,
    health: Arc<Health>,
    state: StateHandle,
    entry: Mutex<DeviceEntry>,
}

impl DeviceRecord {
    /// Publishes a new device.
    pub fn publish(state: StateHandle, id: &str, entry: DeviceEntry) -> Self {
        let record = Self {
            shared: Arc::new(Shared {
                device: id.into(),
                plugin: entry.plugin.as_str().into(),
                path: Pointer::of(["devices", id]),
                generation_path: Pointer::of(["devices", id, "driver", "generation"]),
                health_path: Pointer::of(["devices", id, "driver", "health"]),
                last_seen_path: Pointer::of(["devices", id, "lastSeen"]),
                health: Arc::new(Health::default()),
                state,
                entry: Mutex::new(entry),
            }),
        };
        record.change(|_| ());
        record
    }

    /// Changes the entry and publishes the difference; nothing is published when there is none.
    pub fn change(&self, change: impl FnOnce(&mut DeviceEntry)) {
        if let Err(error) = self.change_with(change, |_| ()) {
            tracing::error!(channel = "app", "{} is not published: {error}", self.shared.path);
        }
    }

    /// As [`Self::change`], with other changes of the state in the same version: all of it or, with an error, none. The closure `also` runs under
    /// the store's lock.
    pub fn change_with(
        &self,
        change: impl FnOnce(&mut DeviceEntry),
        also: impl FnOnce(&mut Transaction<'_>),
    ) -> Result<(), StateError> {
        // The lock is held until the state has it, so that two changes arrive in the order in which they were made.
        let mut entry = self.shared.entry.lock();
        change(&mut entry);
        self.shared.publish(&entry, also)
    }

    /// The driver is live in this generation, and with it, as one version, another change takes place that can be refused. Then the entry is as it was,
    /// too. A swap waits for this: what does not change with it is not looked at, and it is sent later.
    pub fn go_live(
        &self,
        generation: u64,
        phase: Option<String>,
        other: impl FnOnce(&mut Transaction<'_>) -> Result<(), StateError>,
    ) -> Result<Unsent, StateError> {
        let shared = &self.shared;
        let mut entry = shared.entry.lock();
        let mut merged = Map::new();
        merged.insert("status".to_owned(), json!(DeviceStatus::Running));
        merged.insert("reason".to_owned(), Value::Null);
        merged.insert("staleSince".to_owned(), Value::Null);
        merged.extend(
            phase
                .clone()
                .map(|phase| ("phase".to_owned(), Value::String(phase))),
        );
        let (published, unsent): (Result<(), StateError>, _) = shared.state.update_unsent(|store| {
            store
                .transaction(|transaction| {
                    other(transaction)?;
                    transaction.merge(&shared.path, Value::Object(merged))?;
                    match transaction.get(&shared.generation_path) {
                        Some(_) => transaction.set(&shared.generation_path, generation.into()),
                        // Before its first start a device has no driver.
                        None => Ok(()),
                    }
                })
                .map(|((), _)| ())
        });
        published?;
        entry.status = DeviceStatus::Running;
        entry.reason = None;
        entry.stale_since = None;
        if phase.is_some() {
            entry.phase = phase;
        }
        if let Some(driver) = &mut entry.driver {
            driver.generation = generation;
        }
        Ok(unsent)
    }

    /// The device's counters.
    pub fn health(&self) -> &Arc<Health> {
        &self.shared.health
    }

    /// Writes the counters. They are the host's: they move at their own pace, see [`StateHandle::register_counters`].
    pub fn write_counters(&self, store: &mut Store) {
        let shared = &self.shared;
        // A device whose driver has never started has no place for them.
        if store.get(&shared.health_path).is_some()
            && let Ok(health) = serde_json::to_value(shared.health.members())
        {
            let _ = store.replace(&shared.health_path, health);
        }
        let last_seen_ms = shared.health.last_seen_ms.get();
        if last_seen_ms > 0 {
            let _ = store.set(&shared.last_seen_path, iso8601(last_seen_ms).into());
        }
    }

    /// The counters, for a scraper. Takes no lock.
    pub(super) fn scraped(&self) -> Scraped {
        Scraped {
            device: Arc::clone(&self.shared.device),
            plugin: Arc::clone(&self.shared.plugin),
            health: Arc::clone(&self.shared.health),
        }
    }

    /// Reads the entry.
    pub fn read<R>(&self, read: impl FnOnce(&DeviceEntry) -> R) -> R {
        read(&self.shared.entry.lock())
    }
}

impl Shared {
    /// Publishes the entry behind another change, as one version of the state.
    fn publish(
        &self,
        entry: &DeviceEntry,
        also: impl FnOnce(&mut Transaction<'_>),
    ) -> Result<(), StateError> {
        let mut value = serde_json::to_value(entry).unwrap_or_else(|error| {
            // The entry is numbers, texts and maps with text keys.
            tracing::error!(channel = "app", "{} cannot be written: {error}", self.path);
            Value::Null
        });
        self.state
            .update(|store| {
                store.transaction(|transaction| {
                    also(transaction);
                    // The counters stay as they were last written; they have their own pace.
                    if let Some(health) = transaction.get(&self.health_path).cloned()
                        && let Some(driver) = value.get_mut("driver").and_then(Value::as_object_mut)
                    {
                        driver.insert("health".to_owned(), health);
                    }
                    if let Some(last_seen) = transaction.get(&self.last_seen_path).cloned()
                        && let Some(device) = value.as_object_mut()
                    {
                        device.insert("lastSeen".to_owned(), last_seen);
                    }
                    transaction.replace(&self.path, value)
                })
            })
            .map(|_: ((), _)| ())
    }
}

/// A port with its device there, as the state shows it.
pub fn attached_port(identity: &PortIdentity) -> PortEntry {
    PortEntry {
        path: Some(identity.path.clone()),
        attached: true,
        identity: Some(PortIdentityEntry {
            usb_vendor_id: identity.usb_vendor_id,
            usb_product_id: identity.usb_product_id,
            serial_number: identity.serial_number.clone(),
            attributes: identity.attributes.iter().cloned().collect(),
        }),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use autobench_core::state::Store;
    use autobench_core::wire::AppState;

    use super::*;
    use crate::state::StateConfig;

    /// The entry of a device whose driver runs.
    pub(in super::super) fn probe() -> DeviceEntry {
        DeviceEntry {
            kind: "probe".into(),
            plugin: "probe".into(),
            slice: "probe".into(),
            status: DeviceStatus::Running,
            reason: None,
            phase: None,
            driver: None,
            ports: Default::default(),
            series: Default::default(),
            last_seen: None,
            stale_since: None,
        }
    }

    #[tokio::test]
    async fn a_change_that_is_refused_with_another_is_told_and_leaves_no_half() {
        let mut store = Store::new(&AppState::default()).unwrap();
        store.set_limit("probe", 64);
        store.replace_slice("probe", json!({"bytes": 1})).unwrap();
        let state = StateHandle::start(store, StateConfig::new("boot"));
        let record = DeviceRecord::publish(state.clone(), "probe", probe());
        let version = state.version();
        let refused = record.change_with(
            |entry| entry.phase = Some("late".into()),
            |transaction| {
                transaction
                    .replace_slice("probe", json!({"text": "x".repeat(100)}))
                    .unwrap()
            },
        );
        assert!(
            refused.unwrap_err().to_string().contains("64"),
            "the size limit is named"
        );
        assert_eq!(state.version(), version);
        // The phase was not lost with it: the next publication carries it.
        record.change_with(|_| (), |_| ()).unwrap();
        let document: serde_json::Value = serde_json::from_slice(&state.snapshot().data).unwrap();
        assert_eq!(document.pointer("/devices/probe/phase"), Some(&json!("late")));
        assert_eq!(document.pointer("/probe"), Some(&json!({"bytes": 1})));
    }
}
