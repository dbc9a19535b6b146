//! The alarms of one device: in the state while they stand, on the alarm channel when they come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use autobench_core::driver as core;
use autobench_core::state::{Pointer, Transaction};
use autobench_core::wire::{Alarm, AlarmEntry, AlarmState, Severity};

use crate::clock::now_iso;

/// The device's alarms that stand.
#[derive(Clone)]
pub struct Alarms {
    device: Arc<str>,
    standing: BTreeMap<String, AlarmEntry>,
}

/// A change of an alarm: what the state gets, and what clients are told.
pub struct AlarmUpdate {
    path: Pointer,
    /// None takes the alarm out of the state.
    value: Option<serde_json::Value>,
    /// What clients are told.
    pub message: Alarm,
}

impl AlarmUpdate {
    /// Puts it into the state.
    pub fn apply(&self, transaction: &mut Transaction<'_>) {
        let applied = match &self.value {
            Some(value) => transaction.set(&self.path, value.clone()),
            None => transaction.remove(&self.path),
        };
        // `alarms` is always there and an entry is always a value that the state takes.
        debug_assert!(applied.is_ok(), "{applied:?}");
    }
}

impl Alarms {
    /// None stands.
    pub fn new(device: Arc<str>) -> Self {
        Self {
            device,
            standing: BTreeMap::new(),
        }
    }

    /// Names of those that stand.
    pub fn names(&self) -> BTreeSet<String> {
        self.standing.keys().cloned().collect()
    }

    /// Raises or clears one; none when that changes nothing.
    pub fn change(&mut self, change: core::AlarmChange) -> Option<AlarmUpdate> {
        match change {
            core::AlarmChange::Raise {
                key,
                severity,
                message,
            } => self.raise(key, wire_severity(severity), message),
            core::AlarmChange::Clear { key } => self.clear(&key),
        }
    }

    /// Clears all: the device is stopped.
    pub fn clear_all(&mut self) -> Vec<AlarmUpdate> {
        self.names().iter().filter_map(|key| self.clear(key)).collect()
    }

    /// Makes them those of a version that is back: what stood then stands as it did, and what came since goes.
    pub fn go_back_to(&mut self, former: Self) -> Vec<AlarmUpdate> {
        let gone: Vec<_> = self
            .names()
            .into_iter()
            .filter(|key| !former.standing.contains_key(key))
            .collect();
        let mut updates: Vec<_> = gone.iter().filter_map(|key| self.clear(key)).collect();
        for (key, entry) in former.standing {
            if self.standing.get(&key) == Some(&entry) {
                continue;
            }
            updates.extend(self.put(key, entry, now_iso()));
        }
        updates
    }

    fn raise(&mut self, key: String, severity: Severity, message: String) -> Option<AlarmUpdate> {
        static NEXT_ID: AtomicU32 = AtomicU32::new(1);
        let now = now_iso();
        let entry = match self.standing.get(&key) {
            Some(standing) if standing.severity == severity && standing.message == message => return None,
            Some(standing) => AlarmEntry {
                severity,
                message,
                ..standing.clone()
            },
            None => AlarmEntry {
                alarm_id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
                device: self.device.to_string(),
                severity,
                message,
                raised_at: now.clone(),
            },
        };
        self.put(key, entry, now)
    }

    fn put(&mut self, key: String, entry: AlarmEntry, now: String) -> Option<AlarmUpdate> {
        let update = AlarmUpdate {
            path: self.path(&key)?,
            value: Some(serde_json::to_value(&entry).ok()?),
            // Of this change; since when it stands is in the entry.
            message: message_of(&entry, AlarmState::Raised, now),
        };
        self.standing.insert(key, entry);
        Some(update)
    }

    fn clear(&mut self, key: &str) -> Option<AlarmUpdate> {
        let entry = self.standing.remove(key)?;
        Some(AlarmUpdate {
            path: self.path(key)?,
            value: None,
            message: message_of(&entry, AlarmState::Cleared, now_iso()),
        })
    }

    fn path(&self, key: &str) -> Option<Pointer> {
        let escaped = key.replace('~', "~0").replace('/', "~1");
        Pointer::parse(&format!("/alarms/{}:{escaped}", self.device)).ok()
    }
}

fn message_of(entry: &AlarmEntry, state: AlarmState, timestamp: String) -> Alarm {
    Alarm {
        alarm_id: entry.alarm_id,
        device: Some(entry.device.clone()),
        severity: entry.severity,
        message: entry.message.clone(),
        timestamp,
        state,
    }
}

fn wire_severity(severity: core::Severity) -> Severity {
    match severity {
        core::Severity::Info => Severity::Info,
        core::Severity::Warning => Severity::Warning,
        core::Severity::Critical => Severity::Critical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raise(key: &str, message: &str) -> core::AlarmChange {
        core::AlarmChange::Raise {
            key: key.into(),
            severity: core::Severity::Warning,
            message: message.into(),
        }
    }

    #[test]
    fn an_alarm_keeps_its_number_while_it_stands_and_is_told_only_when_it_changes() {
        let mut alarms = Alarms::new("meter".into());
        let first = alarms.change(raise("hot", "80 degrees")).unwrap();
        assert!(alarms.change(raise("hot", "80 degrees")).is_none());
        while now_iso() == first.message.timestamp {
            std::hint::spin_loop();
        }
        let second = alarms.change(raise("hot", "90 degrees")).unwrap();
        assert_eq!(first.message.alarm_id, second.message.alarm_id);
        // Each message has its own time, the entry that since when it stands.
        assert!(second.message.timestamp > first.message.timestamp);
        let raised_at = second.value.as_ref().unwrap()["raisedAt"].clone();
        assert_eq!(raised_at, first.message.timestamp);
        let cleared = alarms.clear_all();
        assert_eq!(cleared.len(), 1);
        assert_eq!(cleared[0].message.state, AlarmState::Cleared);
        assert!(
            alarms
                .change(core::AlarmChange::Clear { key: "hot".into() })
                .is_none()
        );
    }

    #[test]
    fn alarms_of_a_version_that_is_back_stand_as_they_did_and_no_others() {
        let mut alarms = Alarms::new("meter".into());
        for key in ["kept", "cleared", "changed"] {
            alarms.change(raise(key, "as it was")).unwrap();
        }
        let former = alarms.clone();
        let entries = former.standing.clone();
        alarms.change(core::AlarmChange::Clear {
            key: "cleared".into(),
        });
        alarms.change(raise("changed", "otherwise"));
        alarms.change(raise("new", "of the failed one"));
        let updates = alarms.go_back_to(former);
        let told: Vec<_> = updates
            .iter()
            .map(|update| (update.path.to_string(), update.message.state))
            .collect();
        assert_eq!(
            told,
            [
                ("/alarms/meter:new".to_owned(), AlarmState::Cleared),
                ("/alarms/meter:changed".to_owned(), AlarmState::Raised),
                ("/alarms/meter:cleared".to_owned(), AlarmState::Raised),
            ]
        );
        assert_eq!(alarms.standing, entries, "with their numbers and times");
    }
}
