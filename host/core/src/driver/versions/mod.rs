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
//! - *What a person asks for.* A save of a file is a wish to have it tried, whatever was refused before. So is a reload, but for what a device has
//!   refused, unless it is forced. Who goes back from a version sets it aside: neither a look at its file nor another daemon brings it back, only
//!   a wish does. See [`Reload`].
//! - *Consent.* A version that wants more than the device was consented to is not offered to it, until somebody consents, or wants that version no more.
//!   See [`Wants`]. What runs first on a device is consented to by whoever has bound it.
//! - *On probation.* A version that a device has not run before has to live for ten seconds. If it breaks down before, or its
//!   thread ends, the version from before comes back, if there is one; without one, the driver's own [`Supervision`](super::Supervision) has the last word.

mod action;
mod devices;
mod files;
mod hash;
#[cfg(test)]
mod laws;
mod record;
mod told;
mod wants;
mod wishes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub use action::Action;
pub use hash::{NoHash, VersionHash};
pub use record::{RefusedBy, RefusedVersion, VersionRecord};
pub use told::{Blame, Broken, Unprepared, Unreadable};
pub use wants::{Granted, Want, Wants, in_words};
pub use wishes::{InFile, Life, NoConsent, NoRollback, Reload, Standing};

/// How long a file has to be quiet before it is read.
const QUIET_NS: u64 = 30_000_000;
/// How long a file that is not whole, or gone, is given to become whole.
const GRACE_NS: u64 = 1_000_000_000;
/// Good versions that a device keeps; the oldest goes.
const GOOD: usize = 3;
/// Refused versions that a device remembers; the oldest is forgotten, and would be offered once more.
const REFUSED: usize = 16;

/// A plugin as it is to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginView {
    /// What the file holds, or what runs where nobody knows.
    pub hash: Option<VersionHash>,
    /// The version whose manifest describes the plugin: one that runs, if any does; rather the newest.
    pub described_by: Option<VersionHash>,
    /// Nothing is known of it yet: its first version is being prepared.
    pub is_first: bool,
    /// Why the file as it is now does not run everywhere.
    pub refusal: Option<String>,
    /// The version in the file, if it waits for consent somewhere.
    pub waiting: Option<WaitingVersion>,
    /// Devices that are bound to it.
    pub devices: Vec<Arc<str>>,
}

/// A version that is not run before somebody consents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingVersion {
    /// Which.
    pub hash: VersionHash,
    /// What it wants beyond what was consented to, on any of the devices.
    pub wants: Vec<Want>,
    /// The devices on which it waits.
    pub devices: Vec<Arc<str>>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Versions {
    files: BTreeMap<Arc<str>, File>,
    devices: BTreeMap<Arc<str>, Device>,
    /// Number of the last look. No number comes twice: a file may go and come back while somebody still looks at the former one.
    looks: u64,
    /// Versions that are prepared, and what they want.
    at_hand: BTreeMap<VersionHash, Wants>,
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
    /// Devices for which somebody has asked for a reload, until what is in the file is known.
    reloads: BTreeMap<Arc<str>, Reload>,
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
    /// The good version that somebody wants back, until it runs or does not.
    rolling_back: Option<VersionHash>,
    granted: Granted,
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
    life: Life,
    /// Its thread has ended by itself. It is not started again before something is new: what ended it might do so again.
    has_ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probation {
    /// It does not live yet, or no more.
    Waits,
    /// It lives, and is a good one then.
    Until(u64),
    Over,
}

impl File {
    /// The version that is being prepared, where none was before it.
    fn first(&self) -> Option<VersionHash> {
        match self.work {
            Work::Preparing(hash)
                if self.ready.is_none() && self.current.is_none() && self.failure.is_none() =>
            {
                Some(hash)
            }
            _ => None,
        }
    }
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

    /// What is to be kept of the device.
    pub fn record(&self, device: &str) -> Option<&VersionRecord> {
        self.devices.get(device).map(|entry| &entry.record)
    }

    /// Whether the version is prepared and wanted.
    pub fn is_at_hand(&self, hash: VersionHash) -> bool {
        self.at_hand.contains_key(&hash)
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
        let running = || bound().filter_map(|(_, device)| device.runs());
        let newest = file
            .current
            .filter(|current| running().any(|hash| hash == *current));
        Some(PluginView {
            hash: failed
                .and_then(|(hash, _)| *hash)
                .or(file.ready)
                .or(file.current)
                .or(file.first()),
            is_first: file.first().is_some(),
            described_by: newest.or_else(|| running().next()).or(file.current),
            refusal: failed.map(|(_, reason)| reason.clone()).or(refused_by_device),
            waiting: file.ready.and_then(|ready| self.waiting(plugin, ready)),
            devices: bound().map(|(name, _)| Arc::clone(name)).collect(),
        })
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
        self.at_hand.retain(|hash, _| {
            let is_wanted = wanted.contains(hash);
            if !is_wanted {
                actions.push_back(Action::Forget { hash: *hash });
            }
            is_wanted
        });
    }
}
