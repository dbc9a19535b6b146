//! What people ask for on the bench, and what has to come of it.

use super::*;

impl World {
    pub(in super::super) fn reload(&mut self, device: &str, is_forced: bool) {
        if !self.configured.contains(device) {
            return;
        }
        let how = match is_forced {
            true => Reload::Forced,
            false => Reload::Plain,
        };
        let name: Arc<str> = device.into();
        let plugin = self.plugin_of(device);
        let wish = self
            .reloads
            .entry(Arc::clone(&name))
            .or_insert((Arc::clone(&plugin), how));
        wish.1 = wish.1.max(how);
        self.versions.reload(&plugin, &[name], how, self.now_ns);
        self.obey();
    }

    /// What the device goes back to is good, kept, and another one.
    pub(in super::super) fn roll_back(&mut self, device: &str) -> Result<VersionHash, NoRollback> {
        let before = self.versions.record(device).cloned();
        let back = self.versions.roll_back(device)?;
        assert!(before.unwrap().good.contains(&back), "it was never good");
        assert!(self.kept.contains(&back), "its bytes are not kept");
        assert_ne!(self.threads[device].runs, Some(back), "it runs already");
        self.rollbacks.insert(device.into(), back);
        self.obey();
        Ok(back)
    }

    /// Somebody consents to what waits, if something does. It is on the disk before it runs.
    pub(in super::super) fn consent(&mut self, plugin: &str) {
        let plugin: Arc<str> = plugin.into();
        let Some(waiting) = self.versions.plugin(&plugin).and_then(|view| view.waiting) else {
            let nothing = self.versions.consent(&plugin, version(0));
            return assert_eq!(nothing, Err(NoConsent::NothingWaits));
        };
        let other = self.versions.consent(&plugin, VersionHash([99; 32]));
        assert_eq!(other, Err(NoConsent::Other(waiting.hash)));
        let devices = self.versions.consent(&plugin, waiting.hash).unwrap();
        assert_eq!(devices, waiting.devices);
        for device in devices {
            self.agree(&device, waiting.hash);
        }
        self.obey();
    }

    pub(super) fn agree(&mut self, device: &str, hash: VersionHash) {
        let consented = self.consented.entry(device.into()).or_default();
        consented.take_in(&wants(hash));
    }

    /// Whether somebody has agreed to what the version wants: by what has run, or by saying so.
    pub(super) fn is_agreed(&self, device: &str, hash: VersionHash) -> bool {
        let consented = self.consented.get(device);
        consented.is_none_or(|consented| wants(hash).beyond(consented, &Granted::default()).is_empty())
    }

    /// Whether the version is with the device because somebody wants it back. It says nothing about it then that it does not run.
    pub(super) fn is_wanted_back(&mut self, device: &str, hash: VersionHash) -> bool {
        self.rollbacks.get(device) == Some(&hash) && self.rollbacks.remove(device).is_some()
    }
}
