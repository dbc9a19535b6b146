//! What a person asks for: to try what is in a file once more, to go back from it, to let it run although it wants more than those before it; and how
//! a device stands, for the answer.

use std::sync::Arc;

use super::record::remember;
use super::{
    Action, Device, RefusedBy, RefusedVersion, VersionHash, Versions, WaitingVersion, Want, Wants, Work,
};

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

/// Why there is nothing to consent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoConsent {
    /// Nothing waits.
    NothingWaits,
    /// Another version waits than the one that somebody has looked at.
    Other(VersionHash),
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
    /// A version that waits for consent, and what it wants more.
    Waits(VersionHash, Vec<Want>),
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

    /// Somebody consents to what this version wants, on every device on which it waits; those are the answer. It is offered to them then.
    pub fn consent(&mut self, plugin: &Arc<str>, hash: VersionHash) -> Result<Vec<Arc<str>>, NoConsent> {
        let ready = self.files.get(plugin).and_then(|file| file.ready);
        let waiting = ready
            .and_then(|ready| self.waiting(plugin, ready))
            .ok_or(NoConsent::NothingWaits)?;
        if waiting.hash != hash {
            return Err(NoConsent::Other(waiting.hash));
        }
        let wants = self.at_hand.get(&hash).cloned();
        for device in &waiting.devices {
            if let Some(entry) = self.devices.get_mut(device)
                && entry.consent_to(wants.as_ref())
            {
                // Before it runs: whoever has consented once is not asked again.
                self.actions.push_back(Action::Persist {
                    device: Arc::clone(device),
                });
            }
        }
        waiting.devices.iter().for_each(|device| self.settle(device));
        self.publish(plugin);
        self.tidy();
        Ok(waiting.devices)
    }

    /// What the version wants beyond what the device was consented to. Nothing if nothing has run there yet: who has bound the device has agreed.
    pub(super) fn wants_more(&self, device: &Device, hash: VersionHash) -> Vec<Want> {
        match (self.at_hand.get(&hash), &device.record.consented) {
            (Some(wants), Some(consented)) => wants.beyond(consented, &device.granted),
            _ => Vec::new(),
        }
    }

    pub(super) fn waits(&self, device: &Device, hash: VersionHash) -> bool {
        !self.wants_more(device, hash).is_empty()
    }

    /// Where the version in a plugin's file waits, if it does anywhere.
    pub(super) fn waiting(&self, plugin: &str, ready: VersionHash) -> Option<WaitingVersion> {
        let mut waiting = WaitingVersion {
            hash: ready,
            wants: Vec::new(),
            devices: Vec::new(),
        };
        for (name, device) in self
            .devices
            .iter()
            .filter(|(_, device)| *device.plugin == *plugin)
        {
            let wants = self.wants_more(device, ready);
            if !wants.is_empty() && device.refusal_of(ready).is_none() {
                waiting.wants.extend(wants);
                waiting.devices.push(Arc::clone(name));
            }
        }
        waiting.wants.sort();
        waiting.wants.dedup();
        (!waiting.devices.is_empty()).then_some(waiting)
    }

    /// Has it told that the version in the file waits on the device, if it does.
    pub(super) fn say_waiting(&mut self, name: &Arc<str>) {
        let Some(device) = self.devices.get(name) else {
            return;
        };
        let ready = self.files.get(&device.plugin).and_then(|file| file.ready);
        let Some(hash) = ready.filter(|ready| device.refusal_of(*ready).is_none()) else {
            return;
        };
        let wants = self.wants_more(device, hash);
        if !wants.is_empty() {
            self.actions.push_back(Action::Wait {
                plugin: Arc::clone(&device.plugin),
                device: Arc::clone(name),
                hash,
                wants,
            });
        }
    }

    /// How a device stands; none if there is none of the name.
    pub fn standing(&self, device: &str) -> Option<Standing> {
        let entry = self.devices.get(device)?;
        let (in_file, is_looked_at) = self.in_file(&entry.plugin);
        let in_file = match in_file {
            InFile::Version(hash) => match entry.refusal_of(hash) {
                Some(reason) => InFile::Refused(hash, reason.to_owned()),
                None => match self.wants_more(entry, hash) {
                    wants if wants.is_empty() => InFile::Version(hash),
                    wants => InFile::Waits(hash, wants),
                },
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
    /// What this version wants is consented to. Answers whether there was something to add.
    pub(super) fn consent_to(&mut self, wants: Option<&Wants>) -> bool {
        let Some(wants) = wants else { return false };
        match &mut self.record.consented {
            Some(consented) => consented.take_in(wants),
            none => {
                *none = Some(wants.clone());
                true
            }
        }
    }

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
