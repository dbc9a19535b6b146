//! Which version of a plugin runs on which device: a decision without files, threads or clocks.
//!
//! ```text
//!  file:    changed -> quiet -> read -> prepare -> ready       what a device is offered
//!              ^         |        |        |
//!              +---------+--------+--------+  a newer change gives up what is under way
//!
//!  device:  offered -> runs, on probation -> good              kept over restarts, three of them
//!              |            |
//!              +-> refused <+  never offered again until its file changes; the former version goes on, or comes back
//! ```
//!
//! Whoever owns the machine tells it what has happened, does what [`Versions::next_action`] says, and tells how that went. There is one rule
//! for what a device runs, `Versions::choice`; every event ends in asking it again, so that no event has a way of its own to a swap.
//!
//! - *The newest file wins.* A change gives up the look that is under way. While a version is with a driver's thread the file may go on
//!   changing; what is newest when the verdict comes is offered next, and what lay in between never is.
//! - *Two swaps never meet.* A device has one offer at a time.
//! - *On probation.* A version that a device has not run before has to live for ten seconds. If it breaks down before, the version from before
//!   comes back, if there is one; without one, the driver's own [`Supervision`](super::Supervision) has the last word.

mod hash;
#[cfg(test)]
mod laws;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use hash::{NoHash, VersionHash};

/// How long a file has to be quiet before it is read.
const QUIET_NS: u64 = 30_000_000;
/// How long a file that is not whole, or gone, is given to become whole.
const GRACE_NS: u64 = 1_000_000_000;
/// How long a new version has to live to be a good one.
const PROBATION_NS: u64 = 10_000_000_000;
/// Good versions that a device keeps; the oldest goes.
const GOOD: usize = 3;
/// Refused versions that a device remembers; the oldest is forgotten, and would be offered once more.
const REFUSED: usize = 16;

/// What is to be done. The answer to each goes back to [`Versions`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Read the plugin's file, beside everything else. Answer: [`Versions::read`] or [`Versions::unreadable`].
    Read {
        /// The plugin.
        plugin: Arc<str>,
        /// Number of the look, for the answer.
        look: u64,
    },
    /// Compile and check what was read, beside everything else. Answer: [`Versions::prepared`] or [`Versions::not_prepared`].
    Prepare {
        /// The plugin.
        plugin: Arc<str>,
        /// Number of the look, for the answer.
        look: u64,
        /// What was read.
        hash: VersionHash,
        /// Whether the file was there before the daemon: nothing runs yet that could be disturbed.
        is_first: bool,
    },
    /// A look is of no interest any more.
    GiveUp {
        /// The plugin.
        plugin: Arc<str>,
    },
    /// Prepare a good version that was kept. Answer: [`Versions::fetched`] or [`Versions::not_fetched`].
    Fetch {
        /// The device that kept it.
        device: Arc<str>,
        /// The version.
        hash: VersionHash,
    },
    /// Start a driver where none runs. Answer: [`Versions::started`] or [`Versions::not_started`].
    Start {
        /// The device.
        device: Arc<str>,
        /// The version.
        hash: VersionHash,
    },
    /// Put a version in place of the one that runs. Answer: [`Versions::swapped`] or [`Versions::swap_refused`].
    Swap {
        /// The device.
        device: Arc<str>,
        /// The version.
        hash: VersionHash,
        /// Whether it comes back because its successor was no good.
        is_return: bool,
    },
    /// Start the version that is down once more, whatever its strikes.
    Release {
        /// The device.
        device: Arc<str>,
    },
    /// Stop the driver: its file is gone.
    Stop {
        /// The device.
        device: Arc<str>,
    },
    /// Nothing runs, and nothing will before something changes.
    Down {
        /// The device.
        device: Arc<str>,
        /// Why.
        reason: String,
    },
    /// Say that a file is refused; what runs goes on.
    Refuse {
        /// The plugin.
        plugin: Arc<str>,
        /// What was read, if it could be.
        hash: Option<VersionHash>,
        /// Why.
        reason: String,
    },
    /// Say that a file is gone.
    Gone {
        /// The plugin.
        plugin: Arc<str>,
    },
    /// Show the plugin as [`Versions::plugin`] has it now.
    Publish {
        /// The plugin.
        plugin: Arc<str>,
    },
    /// Write [`Versions::record`] of the device. The bytes of a version are kept for as long as a record calls it good.
    Persist {
        /// The device.
        device: Arc<str>,
    },
    /// No longer wanted: let go of what was prepared, and of its bytes, unless a record calls it good.
    Forget {
        /// The version.
        hash: VersionHash,
    },
}

/// Why a file gives no version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not there.
    Gone,
    /// It may still be being written.
    Incomplete(String),
    /// It is no plugin.
    Never(String),
}

/// Why what was read cannot be run by anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unprepared {
    /// Why.
    pub reason: String,
    /// Whether the file may still be being written.
    pub may_be_incomplete: bool,
}

/// Whose fault it is that a version does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The version's own: it is not tried again until its file changes.
    Version,
    /// The configuration's, or the daemon's: it is tried again when the configuration changes.
    Circumstances,
}

/// A driver that broke down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The version that ran.
    pub hash: VersionHash,
    /// Why.
    pub reason: String,
    /// Whose fault it is.
    pub blame: Blame,
    /// Whether it stays down until it is released.
    pub is_quarantined: bool,
}

/// What is kept of a device over restarts of the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VersionRecord {
    /// The plugin that the device was bound to. Another plugin's versions do not run on its hardware, however good they were.
    pub plugin: String,
    /// Versions that lived through their probation, newest first.
    pub good: Vec<VersionHash>,
    /// Versions that are not offered again, oldest first.
    pub refused: Vec<RefusedVersion>,
}

/// A version that is not offered again, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedVersion {
    /// The version.
    pub hash: VersionHash,
    /// Why.
    pub reason: String,
}

/// A plugin as it is to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginView {
    /// What the file holds, or what runs where nobody knows.
    pub hash: Option<VersionHash>,
    /// The version whose manifest describes the plugin: one that runs, if any does; rather the newest.
    pub described_by: Option<VersionHash>,
    /// Why the file as it is now does not run everywhere.
    pub refusal: Option<String>,
    /// Devices that are bound to it.
    pub devices: Vec<Arc<str>>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Versions {
    files: BTreeMap<Arc<str>, File>,
    devices: BTreeMap<Arc<str>, Device>,
    /// Versions that are prepared.
    at_hand: BTreeSet<VersionHash>,
    /// Set while the folder of all files is gone, which says nothing about any of them.
    folder_is_gone: bool,
    /// Taken out after each event, of which each leaves a handful for each device of one plugin.
    actions: VecDeque<Action>,
}

#[derive(Debug, Default)]
struct File {
    work: Work,
    /// Answers to another look are of no interest.
    look: u64,
    /// When it changed last in this run of the daemon, or may have.
    changed_ns: Option<u64>,
    /// It was there before the daemon, and has not been read yet.
    was_there: bool,
    /// Set from a change that somebody made until the file is read.
    is_touched: bool,
    /// What was in it when it was read last.
    last_read: Option<VersionHash>,
    /// The version in the file, once it is prepared.
    ready: Option<VersionHash>,
    /// Why nobody can run what is in the file.
    failure: Option<(Option<VersionHash>, String)>,
    /// The newest version that some device took, or that nobody wanted.
    current: Option<VersionHash>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Work {
    #[default]
    None,
    Quiet {
        due_ns: u64,
    },
    Reading,
    Preparing(VersionHash),
}

#[derive(Debug)]
struct Device {
    plugin: Arc<str>,
    running: Option<Running>,
    /// With the driver's thread; nothing else is offered before it has answered.
    offered: Option<VersionHash>,
    fetching: Option<VersionHash>,
    /// What the configuration does not suit, and why; as bounded as what the device remembers.
    misfits: Vec<RefusedVersion>,
    record: VersionRecord,
}

#[derive(Debug)]
struct Running {
    hash: VersionHash,
    /// What ran before it.
    former: Option<VersionHash>,
    probation: Probation,
    is_quarantined: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probation {
    /// It does not live yet, or no more.
    Waits,
    /// It lives, and is a good one then.
    Until(u64),
    Over,
}

impl Versions {
    /// The next thing to do. To be asked after each event until there is none.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`time`](Self::time) has something to do.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let files = self.files.values().filter_map(|file| match file.work {
            Work::Quiet { due_ns } => Some(due_ns),
            _ => None,
        });
        let probations =
            self.devices
                .values()
                .filter_map(|device| match device.running.as_ref()?.probation {
                    Probation::Until(end_ns) => Some(end_ns),
                    Probation::Waits | Probation::Over => None,
                });
        files.chain(probations).min()
    }

    /// Time has passed.
    pub fn time(&mut self, now_ns: u64) {
        let due: Vec<Arc<str>> = self
            .files
            .iter()
            .filter(|(_, file)| matches!(file.work, Work::Quiet { due_ns } if due_ns <= now_ns))
            .map(|(plugin, _)| Arc::clone(plugin))
            .collect();
        due.iter().for_each(|plugin| self.look_at(plugin));
        let proven: Vec<Arc<str>> = self
            .devices
            .iter()
            .filter(|(_, device)| {
                device
                    .running
                    .as_ref()
                    .is_some_and(|running| running.is_proven(now_ns))
            })
            .map(|(device, _)| Arc::clone(device))
            .collect();
        proven.iter().for_each(|device| self.prove(device));
        self.tidy();
    }

    // --- files ---

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
        let file = self.files.entry(Arc::clone(plugin)).or_default();
        file.changed_ns = Some(now_ns);
        let former = std::mem::replace(
            &mut file.work,
            Work::Quiet {
                due_ns: now_ns + QUIET_NS,
            },
        );
        // An answer that comes nevertheless is an older file's.
        file.look += 1;
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
        if self.at_hand.contains(&hash) {
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
        if self.at_hand.contains(&hash) {
            self.adopt(plugin, hash);
        }
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
    pub fn prepared(&mut self, plugin: &Arc<str>, look: u64) {
        let Some(file) = self.files.get_mut(plugin).filter(|file| file.look == look) else {
            return;
        };
        if let Work::Preparing(hash) = file.work {
            file.work = Work::None;
            self.at_hand.insert(hash);
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

    /// A good version that was kept is ready to run.
    pub fn fetched(&mut self, device: &str, hash: VersionHash) {
        self.at_hand.insert(hash);
        if let Some(entry) = self.devices.get_mut(device) {
            entry.fetching.take_if(|fetching| *fetching == hash);
        }
        self.settle(device);
        self.tidy();
    }

    /// A good version that was kept cannot be run any more.
    pub fn not_fetched(&mut self, device: &str, hash: VersionHash) {
        let Some((name, entry)) = self.device_mut(device) else {
            return;
        };
        entry.fetching.take_if(|fetching| *fetching == hash);
        entry.record.good.retain(|good| *good != hash);
        if let Some(running) = &mut entry.running {
            running.former.take_if(|former| *former == hash);
        }
        self.actions.push_back(Action::Persist { device: name });
        self.settle(device);
        self.tidy();
    }

    // --- devices ---

    /// A device is configured, with what is remembered of it. What it remembers of another plugin is forgotten.
    pub fn device_added(&mut self, device: &Arc<str>, plugin: &Arc<str>, remembered: VersionRecord) {
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
            misfits: Vec::new(),
            record,
        };
        self.devices.insert(Arc::clone(device), entry);
        self.settle(device);
        self.publish(plugin);
    }

    /// A device is no longer configured, or is going to be added anew. Its driver is stopped already.
    pub fn device_removed(&mut self, device: &str) {
        if let Some(entry) = self.devices.remove(device) {
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
        if let Some(running) = &mut entry.running {
            running.is_quarantined = false;
            // Settings that a person has corrected are a reason to try once more; a driver that runs does not notice.
            self.actions.push_back(Action::Release { device: name });
        }
        self.settle(device);
        self.tidy();
    }

    /// The driver's thread has the version, and starts it.
    pub fn started(&mut self, device: &str, hash: VersionHash) {
        self.arrived(device, hash, Probation::Waits);
    }

    /// The driver's thread could not be started with the version.
    pub fn not_started(&mut self, device: &str, hash: VersionHash, reason: String) {
        self.refused(device, hash, Blame::Circumstances, reason);
    }

    /// The version runs in place of the one before.
    pub fn swapped(&mut self, device: &str, hash: VersionHash, now_ns: u64) {
        self.arrived(device, hash, Probation::Until(now_ns + PROBATION_NS));
    }

    /// The version does not run. What ran before goes on, if it ran.
    pub fn swap_refused(&mut self, device: &str, hash: VersionHash, blame: Blame, reason: String) {
        self.refused(device, hash, blame, reason);
    }

    /// The driver lives, after a start or a restart.
    pub fn live(&mut self, device: &str, hash: VersionHash, now_ns: u64) {
        if let Some(running) = self.running_mut(device, hash) {
            running.is_quarantined = false;
            if running.probation != Probation::Over {
                running.probation = Probation::Until(now_ns + PROBATION_NS);
            }
        }
    }

    /// The driver broke down.
    pub fn broke_down(&mut self, device: &str, broken: Broken) {
        let Some(running) = self.running_mut(device, broken.hash) else {
            return;
        };
        running.is_quarantined = broken.is_quarantined;
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

    /// What is to be kept of the device.
    pub fn record(&self, device: &str) -> Option<&VersionRecord> {
        self.devices.get(device).map(|entry| &entry.record)
    }

    /// Whether the version is prepared and wanted.
    pub fn is_at_hand(&self, hash: VersionHash) -> bool {
        self.at_hand.contains(&hash)
    }

    /// The plugin as it is to be shown; none if its file is not known.
    pub fn plugin(&self, plugin: &str) -> Option<PluginView> {
        let file = self.files.get(plugin)?;
        let bound = || {
            self.devices
                .iter()
                .filter(|(_, device)| *device.plugin == *plugin)
        };
        let refused_by_device = file.ready.and_then(|ready| {
            bound().find_map(|(name, device)| Some(format!("on {name}: {}", device.refusal_of(ready)?)))
        });
        let failed = file.failure.as_ref();
        let running = || bound().filter_map(|(_, device)| Some(device.running.as_ref()?.hash));
        let newest = file
            .current
            .filter(|current| running().any(|hash| hash == *current));
        Some(PluginView {
            hash: failed.and_then(|(hash, _)| *hash).or(file.ready).or(file.current),
            described_by: newest.or_else(|| running().next()).or(file.current),
            refusal: failed.map(|(_, reason)| reason.clone()).or(refused_by_device),
            devices: bound().map(|(name, _)| Arc::clone(name)).collect(),
        })
    }

    // --- inside: files ---

    fn look_at(&mut self, plugin: &Arc<str>) {
        let Some(file) = self.files.get_mut(plugin) else {
            return;
        };
        file.look += 1;
        file.work = Work::Reading;
        self.actions.push_back(Action::Read {
            plugin: Arc::clone(plugin),
            look: file.look,
        });
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
            if let Some(running) = self.running_mut(&name, hash)
                && std::mem::take(&mut running.is_quarantined)
            {
                self.actions.push_back(Action::Release { device: name });
            }
        }
    }

    fn publish(&mut self, plugin: &Arc<str>) {
        if self.files.contains_key(plugin) {
            self.actions.push_back(Action::Publish {
                plugin: Arc::clone(plugin),
            });
        }
    }

    fn bound(&self, plugin: &str) -> Vec<Arc<str>> {
        self.devices
            .iter()
            .filter(|(_, device)| *device.plugin == *plugin)
            .map(|(name, _)| Arc::clone(name))
            .collect()
    }

    // --- inside: devices ---

    /// What the device is to run: what is in its file, unless it refused that; else what runs, or ran before, or was good.
    fn choice(&self, name: &str) -> Option<VersionHash> {
        let device = self.devices.get(name)?;
        // Without its file a plugin is removed, whatever is kept of it.
        let file = self.files.get(&device.plugin)?;
        let in_file = file.ready.filter(|ready| device.refusal_of(*ready).is_none());
        let runs = device.running.as_ref().map(|running| running.hash);
        let goes_on = runs.filter(|runs| device.refusal_of(*runs).is_none());
        // Until the file is known to be no good, a device that stands still waits for it.
        let may_fall_back = runs.is_some() || file.work == Work::None;
        let back = || may_fall_back.then(|| self.ways_back(name).next()).flatten();
        in_file
            .or(goes_on)
            .or_else(back)
            .or_else(|| {
                file.current
                    .filter(|current| device.refusal_of(*current).is_none())
            })
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
    fn settle(&mut self, name: &str) {
        let choice = self.choice(name);
        let at_hand = choice.is_some_and(|hash| self.at_hand.contains(&hash));
        let Some((name, device)) = self.device_mut(name) else {
            return;
        };
        if device.offered.is_some() {
            return;
        }
        let runs = device.running.as_ref().map(|running| running.hash);
        let Some(hash) = choice else {
            return match device.running.take() {
                Some(_) => self.actions.push_back(Action::Stop { device: name }),
                None => self.say_why_down(&name),
            };
        };
        if runs == Some(hash) {
            return;
        }
        let action = if !at_hand {
            if device.fetching.replace(hash) == Some(hash) {
                return;
            }
            Action::Fetch { device: name, hash }
        } else {
            device.offered = Some(hash);
            match runs {
                None => Action::Start { device: name, hash },
                Some(runs) => Action::Swap {
                    device: name,
                    hash,
                    is_return: device.refusal_of(runs).is_some(),
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
            return;
        };
        let failure = file.failure.as_ref().map(|(_, reason)| reason.as_str());
        let refusal = || device.refusal_of(file.ready?);
        if let Some(reason) = failure.or_else(refusal) {
            self.actions.push_back(Action::Down {
                device: Arc::clone(name),
                reason: reason.to_owned(),
            });
        }
    }

    fn arrived(&mut self, device: &str, hash: VersionHash, probation: Probation) {
        let Some((name, entry)) = self.device_mut(device) else {
            return;
        };
        if entry.offered.take_if(|offered| *offered == hash).is_none() {
            return;
        }
        let is_known_good = entry.record.good.contains(&hash);
        // What never lived is nothing to go back to; what ran before it may be.
        let former = entry.running.take().and_then(|running| match running.probation {
            Probation::Waits => running.former,
            Probation::Until(_) | Probation::Over => Some(running.hash),
        });
        entry.running = Some(Running {
            hash,
            former: former.filter(|former| entry.refusal_of(*former).is_none()),
            probation: if is_known_good { Probation::Over } else { probation },
            is_quarantined: false,
        });
        let plugin = Arc::clone(&entry.plugin);
        if is_known_good {
            self.prove(&name);
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

    fn refused(&mut self, device: &str, hash: VersionHash, blame: Blame, reason: String) {
        let Some((_, entry)) = self.device_mut(device) else {
            return;
        };
        if entry.offered.take_if(|offered| *offered == hash).is_none() {
            return;
        }
        let plugin = Arc::clone(&entry.plugin);
        match blame {
            Blame::Circumstances => {
                remember(&mut entry.misfits, hash, reason);
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
        remember(&mut record.refused, hash, reason);
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
    fn prove(&mut self, device: &str) {
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

    /// Lets go of what nobody is going to run without saying so first.
    fn tidy(&mut self) {
        let of_files = self.files.values().flat_map(|file| [file.ready, file.current]);
        let of_devices = self.devices.values().flat_map(|device| {
            let running = device.running.as_ref();
            [
                device.offered,
                running.map(|running| running.hash),
                running.and_then(|running| running.former),
                device.fetching,
            ]
        });
        let wanted: BTreeSet<VersionHash> = of_files.chain(of_devices).flatten().collect();
        let actions = &mut self.actions;
        self.at_hand.retain(|hash| {
            let is_wanted = wanted.contains(hash);
            if !is_wanted {
                actions.push_back(Action::Forget { hash: *hash });
            }
            is_wanted
        });
    }

    fn device_mut(&mut self, device: &str) -> Option<(Arc<str>, &mut Device)> {
        let (name, _) = self.devices.get_key_value(device)?;
        let name = Arc::clone(name);
        self.devices.get_mut(device).map(|device| (name, device))
    }

    fn running_mut(&mut self, device: &str, hash: VersionHash) -> Option<&mut Running> {
        let running = self.devices.get_mut(device)?.running.as_mut();
        running.filter(|running| running.hash == hash)
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

impl Device {
    /// Why the version is not offered to the device, if it is not.
    fn refusal_of(&self, hash: VersionHash) -> Option<&str> {
        self.misfits
            .iter()
            .chain(&self.record.refused)
            .find(|refused| refused.hash == hash)
            .map(|refused| refused.reason.as_str())
    }
}

impl Running {
    fn is_proven(&self, now_ns: u64) -> bool {
        matches!(self.probation, Probation::Until(end_ns) if end_ns <= now_ns)
    }
}

fn remember(refused: &mut Vec<RefusedVersion>, hash: VersionHash, reason: String) {
    refused.retain(|refused| refused.hash != hash);
    if refused.len() >= REFUSED {
        refused.remove(0);
    }
    refused.push(RefusedVersion { hash, reason });
}
