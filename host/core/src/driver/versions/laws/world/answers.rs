//! What the bench answers to what it was asked for: files that are read, versions that start or do not, swaps.

use super::*;

impl World {
    pub(in super::super) fn answer(&mut self, which: usize) {
        self.answer_by(which, Luck::Good);
    }

    /// What a look has found that nobody waits for any more.
    pub(super) fn answer_late(&mut self, which: usize) {
        if self.late.is_empty() {
            return;
        }
        let before = format!("{:?}", self.versions);
        match self.late.remove(which % self.late.len()) {
            Due::Read { plugin, look } => self.answer_read(&plugin, look),
            Due::Prepare { plugin, look, hash } => self.answer_prepare(&plugin, look, hash),
            other => unreachable!("{other:?} is no look"),
        }
        let after = format!("{:?}", self.versions);
        assert_eq!(before, after, "an answer that nobody waits for changes nothing");
    }

    fn answer_read(&mut self, plugin: &Arc<str>, look: u64) {
        match self.files.get(plugin).copied() {
            Some(hash) => self.versions.read(plugin, look, hash),
            None => self
                .versions
                .unreadable(plugin, look, Unreadable::Gone, self.now_ns),
        }
    }

    fn answer_prepare(&mut self, plugin: &Arc<str>, look: u64, hash: VersionHash) {
        match nature(hash) {
            Nature::Unpreparable => {
                let why = Unprepared {
                    reason: "no driver".to_owned(),
                    may_be_incomplete: hash.0[0].is_multiple_of(2),
                };
                self.versions.not_prepared(plugin, look, why, self.now_ns);
            }
            _ => self.versions.prepared(plugin, look, wants(hash)),
        }
    }

    pub(in super::super) fn answer_by(&mut self, which: usize, luck: Luck) {
        if self.due.is_empty() {
            return;
        }
        match self.due.remove(which % self.due.len()) {
            Due::Read { plugin, look } => self.read(&plugin, look),
            Due::Prepare { plugin, look, hash } => {
                if nature(hash) != Nature::Unpreparable {
                    self.at_hand.insert(hash);
                    self.kept.insert(hash);
                }
                self.answer_prepare(&plugin, look, hash);
            }
            Due::Fetch { device, hash } => self.fetch(&device, hash, luck),
            Due::Start { device, hash } if luck == Luck::Fails => {
                self.clear_away(&device);
                if !self.is_wanted_back(&device, hash) {
                    self.misfits.insert((Arc::clone(&device), hash));
                }
                self.versions.not_started(&device, hash, "no thread".to_owned());
            }
            Due::Start { device, hash } => {
                self.clear_away(&device);
                self.is_wanted_back(&device, hash);
                self.threads.get_mut(&device).unwrap().runs = Some(hash);
                self.agree(&device, hash);
                self.versions.started(&device, hash);
                self.start_driver(&device, hash);
                if luck == Luck::BreaksDown {
                    self.break_down(&device, false);
                }
            }
            Due::Swap { device, hash } if self.threads[&device].ended.is_some() => self.lose(&device, hash),
            Due::Swap { device, hash } if nature(hash) == Nature::EndsItsThread => {
                self.end_thread(&device);
                self.lose(&device, hash);
            }
            Due::Swap { device, hash } => {
                if luck == Luck::BreaksDown {
                    self.break_down(&device, false);
                }
                self.swap(&device, hash, luck);
            }
            Due::Doom { device, hash } => {
                let thread = self.threads.get(&device);
                match nature(hash) {
                    _ if thread.is_none_or(|thread| thread.runs != Some(hash)) => {}
                    Nature::EndsItsThread => self.end_thread(&device),
                    _ => self.fall(&device, hash, true),
                }
            }
        }
        self.obey();
    }

    fn lose(&mut self, device: &Arc<str>, hash: VersionHash) {
        self.versions.swap_lost(device, hash);
        self.note_end(device);
    }

    /// What is left of a thread: nobody hears any more what it has said.
    pub(super) fn clear_away(&mut self, device: &Arc<str>) {
        *self.threads.get_mut(device).unwrap() = Thread::default();
        self.board.remove(device);
    }

    fn fetch(&mut self, device: &Arc<str>, hash: VersionHash, luck: Luck) {
        let entry = self.versions.devices.get(device);
        let is_waited_for = entry.is_some_and(|entry| entry.fetching == Some(hash));
        let is_kept = self.kept.contains(&hash);
        assert!(is_kept || !is_waited_for, "a good version was let go of");
        if !is_kept || luck == Luck::Fails {
            self.versions.not_fetched(device, hash);
        } else {
            self.at_hand.insert(hash);
            self.versions.fetched(device, hash, wants(hash));
        }
    }

    fn swap(&mut self, device: &Arc<str>, hash: VersionHash, luck: Luck) {
        let lacks_settings =
            nature(hash) == Nature::WantsOtherSettings && !self.settings_are_right.contains(&**device);
        let refusal = match nature(hash) {
            _ if luck == Luck::Fails => Some((Blame::Circumstances, "no memory")),
            Nature::RefusesToStart => Some((Blame::Version, "no")),
            _ if lacks_settings => Some((Blame::Circumstances, "settings")),
            _ => None,
        };
        let is_wanted_back = self.is_wanted_back(device, hash);
        if let Some((blame, reason)) = refusal {
            let before = self.versions.record(device).cloned();
            if is_wanted_back {
                self.versions.swap_refused(device, hash, blame, reason.to_owned());
                return assert_eq!(self.versions.record(device).cloned(), before, "all is as it was");
            }
            let refusals = match blame {
                Blame::Circumstances => &mut self.misfits,
                Blame::Version => &mut self.refused,
            };
            refusals.insert((Arc::clone(device), hash));
            return self.versions.swap_refused(device, hash, blame, reason.to_owned());
        }
        self.threads.get_mut(device).unwrap().runs = Some(hash);
        self.come_alive(device, hash);
        self.agree(device, hash);
        self.swaps += 1;
        self.versions.swapped(device, hash, self.now_ns);
    }

    fn read(&mut self, plugin: &Arc<str>, look: u64) {
        if let Some(hash) = self.files.get(plugin).copied()
            && (self.touched.remove(plugin) | (self.last_read.insert(Arc::clone(plugin), hash) != Some(hash)))
        {
            // Somebody wants it tried.
            let bound: Vec<_> = DEVICES
                .into_iter()
                .filter(|name| self.plugin_of(name) == *plugin)
                .collect();
            for refusals in [&mut self.refused, &mut self.misfits, &mut self.broken] {
                refusals.retain(|(name, refused)| !bound.contains(&&**name) || *refused != hash);
            }
        }
        let is_there = self.files.get(plugin).copied();
        for (device, (_, how)) in self
            .reloads
            .extract_if(.., |_, (of, _)| of == plugin)
            .collect::<Vec<_>>()
        {
            let Some(hash) = is_there else { continue };
            let is_lifted = |(name, refused): &(Arc<str>, VersionHash)| *name == device && *refused == hash;
            self.misfits.retain(|refusal| !is_lifted(refusal));
            let record = self.versions.record(&device);
            let by_device = record.is_some_and(|record| {
                let mut refused = record.refused.iter();
                refused.any(|refused| refused.hash == hash && refused.by == RefusedBy::Device)
            });
            if how == Reload::Forced || !by_device {
                self.refused.retain(|refusal| !is_lifted(refusal));
                self.broken.retain(|refusal| !is_lifted(refusal));
            }
        }
        self.answer_read(plugin, look);
        if self.versions.plugin(plugin).is_none() {
            self.last_read.remove(plugin);
        }
    }
}
