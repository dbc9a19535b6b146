//! What must hold whenever something is offered, and when everything has been answered.

use super::*;

impl World {
    pub(super) fn check_offer(&self, device: &Arc<str>, hash: VersionHash) {
        self.check_idle(device);
        self.check_binding(device, hash);
        self.check_agreed(device, hash);
        assert!(self.at_hand.contains(&hash), "it is not prepared");
        let offer = (Arc::clone(device), hash);
        assert!(
            !self.refused.contains(&offer) && !self.misfits.contains(&offer),
            "{hash:?} is offered to {device} again"
        );
    }

    pub(super) fn check_agreed(&self, device: &str, hash: VersionHash) {
        assert!(
            self.is_agreed(device, hash),
            "{device} gets {hash:?}, which wants more than was agreed to"
        );
    }

    pub(super) fn is_good(&self, device: &str, hash: VersionHash) -> bool {
        self.records
            .get(device)
            .is_some_and(|record| record.good.contains(&hash))
    }

    pub(super) fn check_binding(&self, device: &Arc<str>, hash: VersionHash) {
        assert!(
            self.written.contains(&(self.plugin_of(device), hash)),
            "{device} gets {hash:?}, which never was a version of its plugin"
        );
    }

    pub(super) fn check_idle(&self, device: &Arc<str>) {
        let is_offered = self.due.iter().any(
            |due| matches!(due, Due::Start { device: to, .. } | Due::Swap { device: to, .. } if to == device),
        );
        assert!(!is_offered, "two swaps of {device} meet");
    }

    /// The newest file runs wherever it can; where it cannot, something that was good does.
    pub(in super::super) fn check_at_rest(&self) {
        for (name, thread) in &self.threads {
            let Some(in_file) = self.files.get(&self.plugin_of(name)) else {
                assert_eq!(thread.runs, None, "{name} runs a plugin that is gone");
                continue;
            };
            let device = &self.versions.devices[name];
            let is_waiting = nature(*in_file) != Nature::Unpreparable && !self.is_agreed(name, *in_file);
            let standing = self.versions.standing(name).unwrap();
            let is_refused = device.refusal_of(*in_file).is_some();
            if !is_refused {
                assert_eq!(
                    matches!(standing.in_file, InFile::Waits(hash, _) if hash == *in_file),
                    is_waiting
                );
            }
            let is_refused = is_refused || is_waiting;
            if let Some(ended) = thread.ended {
                let is_new = *in_file != ended && nature(*in_file) != Nature::Unpreparable && !is_refused;
                assert!(!is_new, "{name} stands still although its file is a new one");
                continue;
            }
            if nature(*in_file) != Nature::Unpreparable && !is_refused {
                assert_eq!(thread.runs, Some(*in_file), "{name} does not run the newest file");
            } else if let Some(good) = device
                .record
                .good
                .iter()
                .find(|good| device.refusal_of(**good).is_none())
            {
                assert!(
                    thread.runs.is_some(),
                    "{name} stands still although {good:?} is good"
                );
            }
            if nature(*in_file) == Nature::Good && !is_refused && thread.is_live {
                assert_eq!(
                    device.record.good.first(),
                    Some(in_file),
                    "it has lived long enough"
                );
            }
            let view = self.versions.plugin(&self.plugin_of(name)).unwrap();
            assert_eq!(view.hash, Some(*in_file));
            if thread.runs.is_some() {
                let described_by = view.described_by.expect("something describes what runs");
                assert!(
                    self.threads.iter().any(|(other, thread)| {
                        self.plugin_of(other) == self.plugin_of(name) && thread.runs == Some(described_by)
                    }),
                    "{described_by:?} describes the plugin and runs nowhere"
                );
            }
            assert_eq!(
                view.refusal.is_some(),
                nature(*in_file) == Nature::Unpreparable || self.refuses(&self.plugin_of(name), *in_file)
            );
        }
        assert!(
            self.at_hand.len() <= 2 * PLUGINS.len() + DEVICES.len(),
            "nothing is hoarded"
        );
    }

    fn refuses(&self, plugin: &str, hash: VersionHash) -> bool {
        let bound = self
            .versions
            .devices
            .values()
            .filter(|device| *device.plugin == *plugin);
        bound.into_iter().any(|device| device.refusal_of(hash).is_some())
    }
}
