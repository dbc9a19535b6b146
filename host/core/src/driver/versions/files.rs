//! A plugin's file: from its change to a version that is ready, or a reason why it is none.

use std::sync::Arc;

use super::{
    Action, Device, File, GRACE_NS, QUIET_NS, Unprepared, Unreadable, VersionHash, Versions, Wants, Work,
};

impl Versions {
    /// A file was there when the daemon started. It is looked at at once.
    pub fn file_found(&mut self, plugin: &Arc<str>) {
        self.files.entry(Arc::clone(plugin)).or_default().was_there = true;
        self.look_at(plugin);
    }

    /// A file has come, changed or gone, and was named: somebody has put it there, maybe the same as before.
    pub fn file_changed(&mut self, plugin: &Arc<str>, now_ns: u64) {
        self.files.entry(Arc::clone(plugin)).or_default().is_touched = true;
        self.file_may_have_changed(plugin, now_ns);
    }

    /// The file is to be looked at again, because changes may have been missed.
    pub fn file_may_have_changed(&mut self, plugin: &Arc<str>, now_ns: u64) {
        let look = self.next_look();
        let file = self.files.entry(Arc::clone(plugin)).or_default();
        file.changed_ns = Some(now_ns);
        let former = std::mem::replace(
            &mut file.work,
            Work::Quiet {
                due_ns: now_ns + QUIET_NS,
            },
        );
        // An answer that comes nevertheless is an older file's.
        file.look = look;
        if matches!(former, Work::Reading | Work::Preparing(_)) {
            self.actions.push_back(Action::GiveUp {
                plugin: Arc::clone(plugin),
            });
        }
    }

    /// The folder of all files has come or gone. While it is gone, no file counts as gone.
    pub fn folder(&mut self, is_there: bool) {
        self.folder_is_gone = !is_there;
    }

    /// Plugins whose files are known.
    pub fn plugins(&self) -> impl Iterator<Item = &Arc<str>> {
        self.files.keys()
    }

    /// The file was read.
    pub fn read(&mut self, plugin: &Arc<str>, look: u64, hash: VersionHash) {
        let Some(file) = self.files.get_mut(plugin).filter(|file| file.look == look) else {
            return;
        };
        // Who puts a file there again wants it tried again. A file that was there before the daemon is nobody's wish, and neither is one that is
        // looked at again and found as it was.
        let was_there = std::mem::take(&mut file.was_there);
        let is_other = file.last_read.replace(hash) != Some(hash);
        let is_wish = std::mem::take(&mut file.is_touched) || (is_other && !was_there);
        if self.at_hand.contains_key(&hash) {
            file.work = Work::None;
        } else {
            file.work = Work::Preparing(hash);
            self.actions.push_back(Action::Prepare {
                plugin: Arc::clone(plugin),
                look,
                hash,
                is_first: was_there && !is_wish,
            });
        }
        if is_wish {
            self.lift(plugin, hash);
        }
        self.lift_for_reloads(plugin, hash);
        if self.at_hand.contains_key(&hash) {
            self.adopt(plugin, hash);
        }
        self.say_first(plugin);
        self.tidy();
    }

    /// The file gives no version.
    pub fn unreadable(&mut self, plugin: &Arc<str>, look: u64, why: Unreadable, now_ns: u64) {
        let Some(file) = self.files.get_mut(plugin).filter(|file| file.look == look) else {
            return;
        };
        if !matches!(why, Unreadable::Never(_)) && file.waits_for_the_rest(now_ns) {
            return;
        }
        file.work = Work::None;
        match why {
            Unreadable::Gone if self.folder_is_gone => {}
            Unreadable::Gone => self.gone(plugin),
            Unreadable::Incomplete(reason) | Unreadable::Never(reason) => self.fail(plugin, None, reason),
        }
        self.tidy();
    }

    /// The version that was read is ready to run.
    pub fn prepared(&mut self, plugin: &Arc<str>, look: u64, wants: Wants) {
        let Some(file) = self.files.get_mut(plugin).filter(|file| file.look == look) else {
            return;
        };
        if let Work::Preparing(hash) = file.work {
            file.work = Work::None;
            self.at_hand.insert(hash, wants);
            self.adopt(plugin, hash);
        }
        self.tidy();
    }

    /// The version that was read cannot be run by anybody.
    pub fn not_prepared(&mut self, plugin: &Arc<str>, look: u64, why: Unprepared, now_ns: u64) {
        let Some(file) = self.files.get_mut(plugin).filter(|file| file.look == look) else {
            return;
        };
        let Work::Preparing(hash) = file.work else { return };
        if why.may_be_incomplete && file.waits_for_the_rest(now_ns) {
            return;
        }
        let reason = why.reason;
        file.work = Work::None;
        self.fail(plugin, Some(hash), reason);
        self.tidy();
    }

    pub(super) fn look_at(&mut self, plugin: &Arc<str>) {
        let look = self.next_look();
        let Some(file) = self.files.get_mut(plugin) else {
            return;
        };
        file.look = look;
        file.work = Work::Reading;
        self.actions.push_back(Action::Read {
            plugin: Arc::clone(plugin),
            look,
        });
    }

    fn next_look(&mut self) -> u64 {
        self.looks += 1;
        self.looks
    }

    /// A version is in the file and ready: every device that wants it gets it.
    fn adopt(&mut self, plugin: &Arc<str>, hash: VersionHash) {
        let bound = self.bound(plugin);
        if let Some(file) = self.files.get_mut(plugin) {
            file.ready = Some(hash);
            file.failure = None;
            if bound.is_empty() {
                file.current = Some(hash);
            }
        }
        bound.iter().for_each(|name| self.say_waiting(name));
        self.end_reloads(plugin);
        bound.iter().for_each(|name| self.settle(name));
        self.publish(plugin);
    }

    /// Nobody can run what is in the file.
    fn fail(&mut self, plugin: &Arc<str>, hash: Option<VersionHash>, reason: String) {
        let Some(file) = self.files.get_mut(plugin) else {
            return;
        };
        file.ready = None;
        let failure = Some((hash, reason.clone()));
        if file.failure != failure {
            file.failure = failure;
            self.actions.push_back(Action::Refuse {
                plugin: Arc::clone(plugin),
                hash,
                reason,
            });
        }
        self.end_reloads(plugin);
        for name in self.bound(plugin) {
            self.settle(&name);
        }
        self.publish(plugin);
    }

    fn gone(&mut self, plugin: &Arc<str>) {
        self.files.remove(plugin);
        self.actions.push_back(Action::Gone {
            plugin: Arc::clone(plugin),
        });
        for name in self.bound(plugin) {
            self.settle(&name);
        }
    }

    /// Somebody wants a version to be tried once more: it may be offered again where it was refused, and goes on where it is in quarantine.
    fn lift(&mut self, plugin: &Arc<str>, hash: VersionHash) {
        for name in self.bound(plugin) {
            let Some(device) = self.devices.get_mut(&name) else {
                continue;
            };
            device.misfits.retain(|misfit| misfit.hash != hash);
            let before = device.record.refused.len();
            device.record.refused.retain(|refused| refused.hash != hash);
            if device.record.refused.len() != before {
                self.actions.push_back(Action::Persist {
                    device: Arc::clone(&name),
                });
            }
            device
                .running
                .take_if(|running| running.has_ended && running.hash == hash);
            if let Some(running) = self.running_mut(&name, hash)
                && running.release()
            {
                self.actions.push_back(Action::Release { device: name });
            }
        }
    }

    /// Has it shown that a first version is being prepared, where there would be nothing to see until it is.
    fn say_first(&mut self, plugin: &Arc<str>) {
        if self.files.get(plugin).and_then(File::first).is_none() {
            return;
        }
        self.publish(plugin);
        for name in self.bound(plugin) {
            let stands_still = |device: &Device| device.running.is_none() && device.offered.is_none();
            if self.devices.get(&name).is_some_and(stands_still) {
                self.actions.push_back(Action::First { device: name });
            }
        }
    }

    pub(super) fn publish(&mut self, plugin: &Arc<str>) {
        if self.files.contains_key(plugin) {
            self.actions.push_back(Action::Publish {
                plugin: Arc::clone(plugin),
            });
        }
    }

    pub(super) fn bound(&self, plugin: &str) -> Vec<Arc<str>> {
        self.devices
            .iter()
            .filter(|(_, device)| *device.plugin == *plugin)
            .map(|(name, _)| Arc::clone(name))
            .collect()
    }
}

impl File {
    /// Whether the file is looked at once more, when it has had its time to become whole.
    fn waits_for_the_rest(&mut self, now_ns: u64) -> bool {
        let due_ns = self.changed_ns.map(|changed_ns| changed_ns + GRACE_NS);
        match due_ns.filter(|due_ns| now_ns < *due_ns) {
            Some(due_ns) => {
                self.work = Work::Quiet { due_ns };
                true
            }
            None => false,
        }
    }
}
