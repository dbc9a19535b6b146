//! A device: what it is to run, what it runs, and what it does not want.

use std::sync::Arc;

use super::super::PROBATION_NS;
use super::record::remember;
use super::{
    Action, Blame, Broken, Device, GOOD, Granted, Life, Probation, RefusedVersion, Running, VersionHash,
    VersionRecord, Versions, Wants, Work, in_words,
};

impl Versions {
    /// A device is configured, with what is remembered of it. What it remembers of another plugin is forgotten.
    pub fn device_added(
        &mut self,
        device: &Arc<str>,
        plugin: &Arc<str>,
        remembered: VersionRecord,
        granted: Granted,
    ) {
        let is_of_plugin = *remembered.plugin == **plugin;
        let is_nothing = remembered == VersionRecord::default();
        let record = if is_of_plugin {
            remembered
        } else {
            VersionRecord {
                plugin: plugin.to_string(),
                ..VersionRecord::default()
            }
        };
        if !is_of_plugin && !is_nothing {
            // The bytes of the versions that were good are let go of with the record that says so.
            self.actions.push_back(Action::Persist {
                device: Arc::clone(device),
            });
        }
        let entry = Device {
            plugin: Arc::clone(plugin),
            running: None,
            offered: None,
            fetching: None,
            rolling_back: None,
            granted,
            misfits: Vec::new(),
            record,
        };
        self.devices.insert(Arc::clone(device), entry);
        self.say_waiting(device);
        self.settle(device);
        self.publish(plugin);
    }

    /// A device is no longer configured, or is going to be added anew. Its driver is stopped already.
    pub fn device_removed(&mut self, device: &str) {
        if let Some(entry) = self.devices.remove(device) {
            // A reload was of the device as it was.
            if let Some(file) = self.files.get_mut(&entry.plugin) {
                file.reloads.remove(device);
            }
            self.publish(&entry.plugin);
        }
        self.tidy();
    }

    /// The device's driver was given new settings.
    pub fn settings_changed(&mut self, device: &str) {
        let Some((name, entry)) = self.device_mut(device) else {
            return;
        };
        entry.misfits.clear();
        entry.running.take_if(|running| running.has_ended);
        if let Some(running) = &mut entry.running {
            running.release();
            // Settings that a person has corrected are a reason to try once more; a driver that runs does not notice.
            self.actions.push_back(Action::Release { device: name });
        }
        self.settle(device);
        self.tidy();
    }

    /// The driver's thread has the version, and starts it.
    pub fn started(&mut self, device: &str, hash: VersionHash) {
        self.arrived(device, hash, Probation::Waits, Life::Starts);
    }

    /// The driver's thread could not be started with the version.
    pub fn not_started(&mut self, device: &str, hash: VersionHash, reason: String) {
        if let Some(entry) = self.devices.get_mut(device) {
            // What was left of it was cleared away for the start.
            entry.running.take_if(|running| running.has_ended);
        }
        self.refused(device, hash, Blame::Circumstances, reason);
    }

    /// The version runs in place of the one before.
    pub fn swapped(&mut self, device: &str, hash: VersionHash, now_ns: u64) {
        let probation = Probation::Until(now_ns + PROBATION_NS);
        self.arrived(device, hash, probation, Life::Lives);
    }

    /// The version does not run. What ran before goes on, if it ran.
    pub fn swap_refused(&mut self, device: &str, hash: VersionHash, blame: Blame, reason: String) {
        self.refused(device, hash, blame, reason);
    }

    /// The driver lives, after a start or a restart.
    pub fn live(&mut self, device: &str, hash: VersionHash, now_ns: u64) {
        if let Some(running) = self.running_mut(device, hash) {
            running.life = Life::Lives;
            if running.probation != Probation::Over {
                running.probation = Probation::Until(now_ns + PROBATION_NS);
            }
        }
    }

    /// The driver broke down.
    pub fn broke_down(&mut self, device: &str, broken: Broken) {
        let Some(running) = self.running_mut(device, broken.hash) else {
            return self.former_broke_down(device, broken.hash);
        };
        running.life = Life::Down {
            reason: broken.reason.clone(),
            is_quarantined: broken.is_quarantined,
        };
        let on_probation = running.probation != Probation::Over;
        if on_probation {
            running.probation = Probation::Waits;
        }
        let has_way_back = self.ways_back(device).next().is_some();
        if on_probation && has_way_back && broken.blame == Blame::Version {
            let reason = format!("it broke down within its first seconds: {}", broken.reason);
            self.refuse(device, broken.hash, reason);
            // The way back first: the disk may take its time.
            self.settle(device);
            self.tell_refused(device);
        }
        self.tidy();
    }

    /// The driver's thread has ended, and nobody asked it to. What it ran stays down until its file or the settings are new; another version is
    /// started. A version on probation gives way to the one before it, as one that breaks down does; but the fault is the daemon's, so that
    /// neither is this written down, nor do new settings or a new daemon find the version refused.
    pub fn ended(&mut self, device: &str) {
        let has_way_back = self.ways_back(device).next().is_some();
        let Some((_, entry)) = self.device_mut(device) else {
            return;
        };
        let Some(running) = &mut entry.running else { return };
        running.has_ended = true;
        let hash = running.hash;
        let on_probation = running.probation != Probation::Over;
        if on_probation {
            running.probation = Probation::Waits;
        }
        let plugin = Arc::clone(&entry.plugin);
        let gives_way = on_probation && has_way_back && entry.refusal_of(hash).is_none();
        if gives_way {
            let reason = "its thread ended within its first seconds, by a fault of the daemon";
            remember(
                &mut entry.misfits,
                RefusedVersion::by_device(hash, reason.to_owned()),
            );
        }
        self.settle(device);
        if gives_way {
            self.publish(&plugin);
        }
        self.tidy();
    }

    /// The driver's thread has ended before it took the version, or over it. The version is started in a new one.
    pub fn swap_lost(&mut self, device: &str, hash: VersionHash) {
        let Some(entry) = self.devices.get_mut(device) else {
            return;
        };
        entry.offered.take_if(|offered| *offered == hash);
        self.ended(device);
        // New settings may have come meanwhile, with which what ran no longer counts.
        self.settle(device);
        self.tidy();
    }

    /// A good version that was kept is ready to run.
    pub fn fetched(&mut self, device: &str, hash: VersionHash, wants: Wants) {
        self.at_hand.insert(hash, wants);
        if let Some(entry) = self.devices.get_mut(device) {
            entry.fetching.take_if(|fetching| *fetching == hash);
        }
        self.settle(device);
        self.tidy();
    }

    /// A good version that was kept cannot be run any more.
    pub fn not_fetched(&mut self, device: &str, hash: VersionHash) {
        // Else its file has brought it meanwhile, and it is kept anew.
        let is_lost = !self.at_hand.contains_key(&hash);
        let Some((name, entry)) = self.device_mut(device) else {
            return;
        };
        if entry.fetching.take_if(|fetching| *fetching == hash).is_none() {
            return;
        }
        entry.rolling_back.take_if(|back| is_lost && *back == hash);
        if is_lost {
            entry.record.good.retain(|good| *good != hash);
            if let Some(running) = &mut entry.running {
                running.former.take_if(|former| *former == hash);
            }
            self.actions.push_back(Action::Persist { device: name });
        }
        self.settle(device);
        self.tidy();
    }

    /// What the device is to run: what somebody wants back; else what is in its file, unless it refused that; else what runs, or ran before, or was good.
    pub(super) fn choice(&self, name: &str) -> Option<VersionHash> {
        let device = self.devices.get(name)?;
        // Without its file a plugin is removed, whatever is kept of it.
        let file = self.files.get(&device.plugin)?;
        if device.rolling_back.is_some() {
            return device.rolling_back;
        }
        let may_run = |hash: &VersionHash| device.refusal_of(*hash).is_none() && !self.waits(device, *hash);
        let in_file = file.ready.filter(may_run);
        let runs = device.running.as_ref().map(|running| running.hash);
        let goes_on = runs.filter(|runs| device.refusal_of(*runs).is_none());
        // Until the file is known to be no good, a device that stands still waits for it.
        let may_fall_back = runs.is_some() || file.work == Work::None;
        let back = || may_fall_back.then(|| self.ways_back(name).next()).flatten();
        in_file
            .or(goes_on)
            .or_else(back)
            .or_else(|| file.current.filter(may_run))
            .or(runs)
    }

    /// Versions that could take the place of the one that runs, best first.
    fn ways_back<'a>(&'a self, device: &str) -> impl Iterator<Item = VersionHash> + 'a {
        self.devices.get(device).into_iter().flat_map(|device| {
            let runs = device.running.as_ref();
            let former = runs.and_then(|running| running.former);
            former
                .into_iter()
                .chain(device.record.good.iter().copied())
                .filter(move |hash| runs.is_none_or(|running| running.hash != *hash))
                .filter(|hash| device.refusal_of(*hash).is_none())
        })
    }

    /// Brings the device one step nearer to what it is to run.
    pub(super) fn settle(&mut self, name: &str) {
        let choice = self.choice(name);
        let at_hand = choice.is_some_and(|hash| self.at_hand.contains_key(&hash));
        let Some((name, device)) = self.device_mut(name) else {
            return;
        };
        if device.offered.is_some() {
            return;
        }
        let runs = device.runs();
        let Some(hash) = choice else {
            device.rolling_back = None;
            return match device.running.take() {
                Some(_) => self.actions.push_back(Action::Stop { device: name }),
                None => self.say_why_down(&name),
            };
        };
        if device
            .running
            .as_ref()
            .is_some_and(|running| running.hash == hash)
        {
            return;
        }
        let is_wanted_back = device.rolling_back == Some(hash);
        let action = if !at_hand {
            if device.fetching.replace(hash) == Some(hash) {
                return;
            }
            Action::Fetch { device: name, hash }
        } else {
            device.offered = Some(hash);
            let former = device.running.as_ref().map(|running| running.hash);
            let gave_way = former.is_some_and(|former| device.refusal_of(former).is_some());
            let is_return = gave_way && !is_wanted_back;
            match runs {
                None => Action::Start {
                    device: name,
                    hash,
                    is_return,
                },
                Some(_) => Action::Swap {
                    device: name,
                    hash,
                    is_return,
                },
            }
        };
        self.actions.push_back(action);
    }

    fn say_why_down(&mut self, name: &Arc<str>) {
        let Some(device) = self.devices.get(name) else {
            return;
        };
        let Some(file) = self.files.get(&device.plugin) else {
            let device = Arc::clone(name);
            return self.actions.push_back(Action::Missing { device });
        };
        let failure = file.failure.as_ref().map(|(_, reason)| reason.clone());
        let refusal = || device.refusal_of(file.ready?).map(str::to_owned);
        let waiting = || {
            let wants = self.wants_more(device, file.ready?);
            (!wants.is_empty()).then(|| format!("it waits for consent to {}", in_words(&wants)))
        };
        if let Some(reason) = failure.or_else(refusal).or_else(waiting) {
            self.actions.push_back(Action::Down {
                device: Arc::clone(name),
                reason,
            });
        }
    }

    fn arrived(&mut self, device: &str, hash: VersionHash, probation: Probation, life: Life) {
        let wants = self.at_hand.get(&hash).cloned();
        let Some((name, entry)) = self.device_mut(device) else {
            return;
        };
        if entry.offered.take_if(|offered| *offered == hash).is_none() {
            return;
        }
        let is_known_good = entry.record.good.contains(&hash);
        let has_set_aside = entry.set_aside_for(hash);
        let has_consented = entry.consent_to(wants.as_ref());
        // What never lived is nothing to go back to; what ran before it may be.
        let former = entry.running.take().and_then(|running| match running.probation {
            Probation::Waits => running.former,
            Probation::Until(_) | Probation::Over => Some(running.hash),
        });
        entry.running = Some(Running {
            hash,
            // What has come back is not its own way back.
            former: former.filter(|former| *former != hash && entry.refusal_of(*former).is_none()),
            probation: if is_known_good { Probation::Over } else { probation },
            life,
            has_ended: false,
        });
        let plugin = Arc::clone(&entry.plugin);
        if is_known_good {
            self.prove(&name);
        }
        if has_set_aside || has_consented {
            self.actions.push_back(Action::Persist { device: name });
        }
        if let Some(file) = self.files.get_mut(&plugin)
            && (file.ready == Some(hash) || file.current.is_none())
        {
            file.current = Some(hash);
        }
        // The file may have changed while the version was with the driver's thread.
        self.settle(device);
        self.publish(&plugin);
        self.tidy();
    }

    /// The driver broke down while it was being swapped, and its successor runs already: what did not live long enough is nothing to go back to.
    fn former_broke_down(&mut self, device: &str, hash: VersionHash) {
        let running = self
            .devices
            .get_mut(device)
            .and_then(|entry| entry.running.as_mut());
        if let Some(running) = running {
            running.former.take_if(|former| *former == hash);
        }
        self.tidy();
    }

    fn refused(&mut self, device: &str, hash: VersionHash, blame: Blame, reason: String) {
        let Some((_, entry)) = self.device_mut(device) else {
            return;
        };
        if entry.offered.take_if(|offered| *offered == hash).is_none() {
            return;
        }
        let plugin = Arc::clone(&entry.plugin);
        if entry.rolling_back.take_if(|back| *back == hash).is_some() {
            // It was good before, and may be again: that it does not go on from its successor's memory says nothing more. All is as it was.
            self.settle(device);
            return self.tidy();
        }
        match blame {
            Blame::Circumstances => {
                remember(&mut entry.misfits, RefusedVersion::by_device(hash, reason));
                self.settle(device);
                self.publish(&plugin);
            }
            Blame::Version => {
                self.refuse(device, hash, reason);
                self.settle(device);
                self.tell_refused(device);
            }
        }
        self.tidy();
    }

    /// Remembers that the device does not want the version.
    fn refuse(&mut self, device: &str, hash: VersionHash, reason: String) {
        let Some(entry) = self.devices.get_mut(device) else {
            return;
        };
        let record = &mut entry.record;
        record.good.retain(|good| *good != hash);
        remember(&mut record.refused, RefusedVersion::by_device(hash, reason));
    }

    /// Has a refusal written, and shown once it is written.
    fn tell_refused(&mut self, device: &str) {
        let Some((name, entry)) = self.device_mut(device) else {
            return;
        };
        let plugin = Arc::clone(&entry.plugin);
        self.actions.push_back(Action::Persist { device: name });
        self.publish(&plugin);
    }

    /// The version that runs is the newest good one.
    pub(super) fn prove(&mut self, device: &str) {
        let Some((name, entry)) = self.device_mut(device) else {
            return;
        };
        let Some(running) = &mut entry.running else { return };
        running.probation = Probation::Over;
        running.former = None;
        let hash = running.hash;
        // It may have been refused while there was nothing to go back to, and have lived since.
        entry.record.refused.retain(|refused| refused.hash != hash);
        let good = &mut entry.record.good;
        if good.first() == Some(&hash) {
            return;
        }
        good.retain(|good| *good != hash);
        good.insert(0, hash);
        good.truncate(GOOD);
        self.actions.push_back(Action::Persist { device: name });
    }

    pub(super) fn device_mut(&mut self, device: &str) -> Option<(Arc<str>, &mut Device)> {
        let (name, _) = self.devices.get_key_value(device)?;
        let name = Arc::clone(name);
        self.devices.get_mut(device).map(|device| (name, device))
    }

    pub(super) fn running_mut(&mut self, device: &str, hash: VersionHash) -> Option<&mut Running> {
        let running = self.devices.get_mut(device)?.running.as_mut();
        running.filter(|running| running.hash == hash)
    }
}

impl Device {
    /// What a thread runs, be it down.
    pub(super) fn runs(&self) -> Option<VersionHash> {
        let running = self.running.as_ref().filter(|running| !running.has_ended);
        running.map(|running| running.hash)
    }

    /// Why the version is not offered to the device, if it is not.
    pub(super) fn refusal_of(&self, hash: VersionHash) -> Option<&str> {
        self.misfits
            .iter()
            .chain(&self.record.refused)
            .find(|refused| refused.hash == hash)
            .map(|refused| refused.reason.as_str())
    }
}

impl Running {
    /// Lets it start once more, if it is in quarantine. Answers whether it was.
    pub(super) fn release(&mut self) -> bool {
        let is_quarantined = self.life.is_quarantined();
        if is_quarantined {
            self.life = Life::Starts;
        }
        is_quarantined
    }

    pub(super) fn is_proven(&self, now_ns: u64) -> bool {
        matches!(self.probation, Probation::Until(end_ns) if end_ns <= now_ns)
    }
}
