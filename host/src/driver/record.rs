//! `devices.<id>` in the state: one owner per device, written as a whole and published as what has changed.

use std::sync::Arc;

use autobench_core::driver::PortIdentity;
use autobench_core::state::{Pointer, StateError, Store, Transaction};
use autobench_core::wire::{DeviceEntry, PortEntry, PortIdentityEntry, iso8601};
use parking_lot::Mutex;

use super::health::Health;
use crate::state::StateHandle;

/// A device's entry and the way it gets into the state.
#[derive(Clone)]
pub struct DeviceRecord {
    shared: Arc<Shared>,
}

struct Shared {
    path: Pointer,
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
                path: Pointer::of(["devices", id]),
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
        self.change_with(change, |_| ());
    }

    /// As [`Self::change`], with other changes of the state in the same version. The closure `also` runs under the store's lock.
    pub fn change_with(
        &self,
        change: impl FnOnce(&mut DeviceEntry),
        also: impl FnOnce(&mut Transaction<'_>),
    ) {
        // The lock is held until the state has it, so that two changes arrive in the order in which they were made.
        let mut entry = self.shared.entry.lock();
        change(&mut entry);
        let mut value = match serde_json::to_value(&*entry) {
            Ok(value) => value,
            Err(error) => {
                tracing::error!(channel = "app", "{} is not published: {error}", self.shared.path);
                return;
            }
        };
        let shared = &self.shared;
        let published = shared.state.update(|store| {
            store.transaction(|transaction| {
                also(transaction);
                // The counters stay as they were last written; they have their own pace.
                if let Some(health) = transaction.get(&shared.health_path).cloned()
                    && let Some(driver) = value.get_mut("driver").and_then(serde_json::Value::as_object_mut)
                {
                    driver.insert("health".to_owned(), health);
                }
                if let Some(last_seen) = transaction.get(&shared.last_seen_path).cloned()
                    && let Some(device) = value.as_object_mut()
                {
                    device.insert("lastSeen".to_owned(), last_seen);
                }
                transaction.replace(&shared.path, value)
            })
        });
        if let Err::<_, StateError>(error) = published {
            tracing::error!(channel = "app", "{} is not published: {error}", self.shared.path);
        }
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

    /// Reads the entry.
    pub fn read<R>(&self, read: impl FnOnce(&DeviceEntry) -> R) -> R {
        read(&self.shared.entry.lock())
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
