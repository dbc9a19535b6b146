//! What a person asks for: to try what is in a file once more, or to go back from it; and how a device stands, for the answer.

use std::sync::Arc;

use super::record::remember;
use super::{Action, Device, RefusedBy, RefusedVersion, VersionHash, Versions, Work};

/// What a reload makes good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reload {
    /// What the device has refused stays refused.
    Plain,
    /// What the device has refused is offered to it once more.
    Forced,
}

/// Why there is nothing to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRollback {
    /// There is no such device.
    #[error("there is no such device")]
    UnknownDevice,
    /// A version is with its driver's thread.
    #[error("another version is being put in its place just now")]
    Busy,
    /// No other version was good.
    #[error(
        "no earlier version of its plugin is kept: one is good once it has run for ten seconds without a fault"
    )]
    NoEarlier,
}

/// How a driver is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// Its thread has been told to start it, and has not said how that went.
    Starts,
    /// It lives.
    Lives,
    /// It broke down.
    Down {
        /// Why.
        reason: String,
        /// Whether it stays down until it is released.
        is_quarantined: bool,
    },
}

impl Life {
    pub(super) fn is_quarantined(&self) -> bool {
        matches!(
            self,
            Self::Down {
                is_quarantined: true,
                ..
            }
        )
    }
}

/// What there is in a file, for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InFile {
    /// No file.
    Nothing,
    /// Something that nobody can run, and why.
    Unusable(String),
    /// A version that the device does not want, and why.
    Refused(VersionHash, String),
    /// A version.
    Version(VersionHash),
}

/// How a device stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its plugin.
    pub plugin: Arc<str>,
    /// What its thread runs, be it down.
    pub runs: Option<VersionHash>,
    /// How that is.
    pub life: Option<Life>,
    /// What there is in its plugin's file.
    pub in_file: InFile,
    /// Whether the file is being looked at.
    pub is_looked_at: bool,
    /// Whether it is not yet known how a version fares: it is fetched, with the driver's thread, or started.
    pub is_changing: bool,
}

impl Versions {
    /// Somebody wants the newest file of a plugin tried again on some of its devices. It is looked at as if it might have changed; what has not
    /// changed leaves a quarantine, and what was set aside or did not suit the configuration is offered again.
    pub fn reload(&mut self, plugin: &Arc<str>, devices: &[Arc<str>], how: Reload, now_ns: u64) {
        self.file_may_have_changed(plugin, now_ns);
        let bound = self.bound(plugin);
        if let Some(file) = self.files.get_mut(plugin) {
            for device in devices.iter().filter(|device| bound.contains(device)) {
                let reload = file.reloads.entry(Arc::clone(device)).or_insert(how);
                *reload = how.max(*reload);
            }
        }
    }

    /// Somebody wants the device to go back to the good version before the one that runs. Answers which one that is. When it runs, the one that
    /// ran is set aside; if it does not, all is as it was.
    pub fn roll_back(&mut self, device: &str) -> Result<VersionHash, NoRollback> {
        let (_, entry) = self.device_mut(device).ok_or(NoRollback::UnknownDevice)?;
        if entry.offered.is_some() || entry.rolling_back.is_some() {
            return Err(NoRollback::Busy);
        }
        let running = entry.running.as_ref().ok_or(NoRollback::NoEarlier)?.hash;
        let good = &entry.record.good;
        let back = good
            .iter()
            .copied()
            .find(|good| *good != running && entry.refusal_of(*good).is_none())
            .ok_or(NoRollback::NoEarlier)?;
        entry.rolling_back = Some(back);
        self.settle(device);
        self.tidy();
        Ok(back)
    }

    /// How a device stands; none if there is none of the name.
    pub fn standing(&self, device: &str) -> Option<Standing> {
        let entry = self.devices.get(device)?;
        let (in_file, is_looked_at) = self.in_file(&entry.plugin);
        let in_file = match in_file {
            InFile::Version(hash) => match entry.refusal_of(hash) {
                Some(reason) => InFile::Refused(hash, reason.to_owned()),
                None => InFile::Version(hash),
            },
            other => other,
        };
        let life = entry
            .running
            .as_ref()
            .filter(|running| !running.has_ended)
            .map(|running| running.life.clone());
        let is_under_way =
            entry.offered.is_some() || entry.fetching.is_some() || entry.rolling_back.is_some();
        Some(Standing {
            plugin: Arc::clone(&entry.plugin),
            runs: entry.runs(),
            is_changing: is_under_way || life == Some(Life::Starts),
            life,
            in_file,
            is_looked_at,
        })
    }

    /// What there is in a plugin's file, and whether it is being looked at.
    pub fn in_file(&self, plugin: &str) -> (InFile, bool) {
        let Some(file) = self.files.get(plugin) else {
            return (InFile::Nothing, false);
        };
        let in_file = match (&file.failure, file.ready) {
            (Some((_, reason)), _) => InFile::Unusable(reason.clone()),
            (None, Some(ready)) => InFile::Version(ready),
            (None, None) => InFile::Nothing,
        };
        (in_file, file.work != Work::None)
    }

    /// The file was read: what a reload makes good is made good for what is in it.
    pub(super) fn lift_for_reloads(&mut self, plugin: &str, hash: VersionHash) {
        let Some(file) = self.files.get(plugin) else {
            return;
        };
        for (name, reload) in &file.reloads {
            let Some(device) = self.devices.get_mut(name) else {
                continue;
            };
            device.misfits.retain(|misfit| misfit.hash != hash);
            let refused = &mut device.record.refused;
            let before = refused.len();
            refused.retain(|refused| {
                refused.hash != hash || (refused.by == RefusedBy::Device && *reload == Reload::Plain)
            });
            if refused.len() != before {
                self.actions.push_back(Action::Persist {
                    device: Arc::clone(name),
                });
            }
        }
    }

    /// It is known what is in the file: what is down and goes on being what the device is to run is started once more.
    pub(super) fn end_reloads(&mut self, plugin: &str) {
        let Some(file) = self.files.get_mut(plugin) else {
            return;
        };
        for name in std::mem::take(&mut file.reloads).into_keys() {
            let choice = self.choice(&name);
            let Some(device) = self.devices.get_mut(&name) else {
                continue;
            };
            device.running.take_if(|running| running.has_ended);
            if let Some(running) = &mut device.running
                && Some(running.hash) == choice
                && running.release()
            {
                self.actions.push_back(Action::Release { device: name });
            }
        }
    }
}

impl Device {
    /// If it is this version that was wanted back: sets aside what ran until now, and says whether it did.
    pub(super) fn set_aside_for(&mut self, hash: VersionHash) -> bool {
        if self.rolling_back.take_if(|back| *back == hash).is_none() {
            return false;
        }
        let former = self.running.as_ref().map(|running| running.hash);
        let Some(former) = former.filter(|former| *former != hash && self.refusal_of(*former).is_none())
        else {
            return false;
        };
        self.record.good.retain(|good| *good != former);
        let entry = RefusedVersion {
            hash: former,
            reason:
                "somebody went back from it; it is run again after a reload, or when its file is saved again"
                    .to_owned(),
            by: RefusedBy::Person,
        };
        remember(&mut self.record.refused, entry);
        true
    }
}
