//! What people order, and what came of it. An order sets something going; it is answered when all of it has come to rest.

use std::sync::Arc;

use autobench_core::driver::LogLevel;
use autobench_core::driver::versions::{InFile, Life, NoConsent, Reload, Standing, VersionHash, in_words};
use autobench_core::wire::{LastReload, ReloadVerdict};
use tokio::sync::oneshot;

use super::super::desk::{Answer, Asked, NotDone, Order, Outcome, Verdict};
use super::{Bench, Stem};
use crate::config::PluginName;

/// Orders that wait for what comes of them. One more is refused; those of people who have gone do not count.
const WAITING: usize = 64;

/// An order that waits for what comes of it.
pub(super) struct Waiting {
    answer: oneshot::Sender<Answer>,
    plugin: Stem,
    /// The devices that it is about, and how they were.
    devices: Vec<Before>,
}

/// How a device was when the order came, and what it is to run.
struct Before {
    device: Arc<str>,
    runs: Option<VersionHash>,
    was_down: bool,
    goal: Goal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// What is in the file.
    Newest,
    /// This version.
    Back(VersionHash),
}

impl Bench {
    pub(super) async fn take_order(&mut self, asked: Asked) {
        self.waiting.retain(|waiting| !waiting.answer.is_closed());
        let Asked { order, by, answer } = asked;
        let begun = match self.waiting.len() < WAITING {
            true => self.begin(&order, &by),
            false => Err(NotDone::Busy),
        };
        match begun {
            Ok((plugin, devices)) => {
                self.waiting.push(Waiting {
                    answer,
                    plugin,
                    devices,
                });
                self.act().await;
            }
            // Whoever asked may have gone.
            Err(refused) => drop(answer.send(Err(refused))),
        }
    }

    /// Answers the orders of which it is known what came of them.
    pub(super) fn answer_orders(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            if self.is_over(&waiting) {
                let outcomes = self.outcomes(&waiting);
                // Whoever asked may have gone.
                let _ = waiting.answer.send(Ok(outcomes));
            } else {
                self.waiting.push(waiting);
            }
        }
    }

    fn begin(&mut self, order: &Order, by: &str) -> Result<(Stem, Vec<Before>), NotDone> {
        match order {
            Order::ReloadPlugin(plugin, how) => {
                let plugin = self.known_plugin(plugin)?;
                let devices = self
                    .bound(&plugin)
                    .map(|slot| slot.config.id.as_str().into())
                    .collect();
                Ok(self.begin_reload(plugin, devices, *how, by))
            }
            Order::ReloadDevice(device, how) => {
                let plugin = self.plugin_of(device)?;
                let devices = vec![Arc::from(device.as_str())];
                Ok(self.begin_reload(plugin, devices, *how, by))
            }
            Order::Consent(plugin, hash) => {
                let plugin = self.known_plugin(plugin)?;
                let before: Vec<Before> = self
                    .bound(&plugin)
                    .map(|slot| self.before(&slot.config.id.as_str().into(), Goal::Newest))
                    .collect();
                let devices = self
                    .versions
                    .consent(&plugin, *hash)
                    .map_err(|refused| match refused {
                        NoConsent::NothingWaits => NotDone::NothingWaits(plugin.to_string()),
                        NoConsent::Other(waits) => NotDone::OtherWaits(waits),
                    })?;
                let message = format!("{by} consents to what {plugin}.wasm {} wants", hash.short());
                self.log(LogLevel::Info, None, message);
                let concerned = before
                    .into_iter()
                    .filter(|before| devices.contains(&before.device))
                    .collect();
                Ok((plugin, concerned))
            }
            Order::RollBack(device) => {
                let plugin = self.plugin_of(device)?;
                let device: Arc<str> = device.as_str().into();
                let before = self.before(&device, Goal::Newest);
                let back = self
                    .versions
                    .roll_back(&device)
                    .map_err(|error| NotDone::NoEarlier(error.to_string()))?;
                let message = format!("{by} has it go back to version {}", back.short());
                self.log_of(LogLevel::Info, &device, message);
                let goal = Goal::Back(back);
                Ok((plugin, vec![Before { goal, ..before }]))
            }
        }
    }

    fn begin_reload(
        &mut self,
        plugin: Stem,
        devices: Vec<Arc<str>>,
        how: Reload,
        by: &str,
    ) -> (Stem, Vec<Before>) {
        let force = match how {
            Reload::Plain => "",
            Reload::Forced => ", and what was refused offered again",
        };
        let message = format!("{by} has {plugin}.wasm loaded again{force}");
        self.log(LogLevel::Info, None, message);
        let before = devices
            .iter()
            .map(|device| self.before(device, Goal::Newest))
            .collect();
        let now_ns = self.now_ns();
        self.versions.reload(&plugin, &devices, how, now_ns);
        (plugin, before)
    }

    fn before(&self, device: &Arc<str>, goal: Goal) -> Before {
        let standing = self.versions.standing(device);
        Before {
            device: Arc::clone(device),
            runs: standing.as_ref().and_then(|standing| standing.runs),
            was_down: standing.is_none_or(|standing| standing.life != Some(Life::Lives)),
            goal,
        }
    }

    fn plugin_of(&self, device: &str) -> Result<Stem, NotDone> {
        let slot = self.devices.get(device);
        slot.map(|slot| slot.config.plugin.as_str().into())
            .ok_or_else(|| NotDone::UnknownDevice(device.to_owned()))
    }

    /// A plugin that is there, or that a device names: its file may be gone.
    fn known_plugin(&self, plugin: &str) -> Result<Stem, NotDone> {
        let is_known = self.versions.plugin(plugin).is_some() || self.bound(plugin).next().is_some() || {
            let path = self.config.daemon.plugins_dir.join(format!("{plugin}.wasm"));
            PluginName::new(plugin).is_ok() && path.exists()
        };
        match is_known {
            true => Ok(plugin.into()),
            false => Err(NotDone::UnknownPlugin(plugin.to_owned())),
        }
    }

    fn is_over(&self, waiting: &Waiting) -> bool {
        let is_at_rest = |before: &Before| match self.versions.standing(&before.device) {
            Some(standing) => {
                !standing.is_changing && (before.goal != Goal::Newest || !standing.is_looked_at)
            }
            None => true,
        };
        let is_read = !waiting.devices.is_empty() || !self.versions.in_file(&waiting.plugin).1;
        is_read && waiting.devices.iter().all(is_at_rest)
    }

    fn outcomes(&self, waiting: &Waiting) -> Vec<Outcome> {
        if !waiting.devices.is_empty() {
            return waiting
                .devices
                .iter()
                .map(|before| self.outcome(&waiting.plugin, before))
                .collect();
        }
        let (verdict, hash, reason) = match self.versions.in_file(&waiting.plugin).0 {
            InFile::Version(hash) | InFile::Waits(hash, _) => (Verdict::Unbound, Some(hash), None),
            InFile::Unusable(reason) | InFile::Refused(_, reason) => (Verdict::Refused, None, Some(reason)),
            InFile::Nothing => (Verdict::Refused, None, Some(gone(&waiting.plugin))),
        };
        vec![Outcome {
            plugin: waiting.plugin.to_string(),
            device: None,
            verdict,
            from: None,
            to: hash.map(|hash| hash.to_string()),
            version: hash.and_then(|hash| self.version_of(hash)),
            reason,
            pause_us: None,
            carried_bytes: None,
        }]
    }

    fn outcome(&self, plugin: &Stem, before: &Before) -> Outcome {
        let standing = self.versions.standing(&before.device);
        let runs = standing.as_ref().and_then(|standing| standing.runs);
        let to = runs.map(|hash| hash.to_string());
        let last_reload = self.devices.get(&*before.device).and_then(|slot| {
            slot.record
                .read(|entry| entry.driver.as_ref()?.last_reload.clone())
        });
        let is_other = runs != before.runs;
        let swap = last_reload.clone().filter(|reload| is_other && reload.to == to);
        let (verdict, reason) = match standing {
            None => (Verdict::Refused, Some("it is not configured any more".to_owned())),
            Some(standing) => match why_not(&standing, before.goal, last_reload.as_ref()) {
                Some(refused) => refused,
                None => {
                    let verdict = match &swap {
                        _ if before.runs.is_none() => Verdict::Started,
                        Some(reload) if reload.verdict == ReloadVerdict::Cold => Verdict::Cold,
                        _ if is_other => Verdict::Swapped,
                        _ if before.was_down => Verdict::Released,
                        _ => Verdict::Unchanged,
                    };
                    (verdict, swap.as_ref().and_then(|reload| reload.reason.clone()))
                }
            },
        };
        Outcome {
            plugin: plugin.to_string(),
            device: Some(before.device.to_string()),
            verdict,
            from: before.runs.map(|hash| hash.to_string()),
            to,
            version: runs.and_then(|hash| self.version_of(hash)),
            reason,
            pause_us: swap.as_ref().and_then(|reload| reload.pause_us),
            carried_bytes: swap.and_then(|reload| reload.carried_bytes),
        }
    }

    fn version_of(&self, hash: VersionHash) -> Option<String> {
        self.prepared
            .get(&hash)
            .map(|prepared| prepared.manifest.version.clone())
    }
}

/// Why the device does not run what it was to run, if it does not.
fn why_not(
    standing: &Standing,
    goal: Goal,
    last_reload: Option<&LastReload>,
) -> Option<(Verdict, Option<String>)> {
    let refused = |reason: String| Some((Verdict::Refused, Some(reason)));
    let wanted = match (goal, &standing.in_file) {
        (Goal::Back(hash), _) => hash,
        (Goal::Newest, InFile::Version(hash)) => *hash,
        (Goal::Newest, InFile::Waits(_, wants)) => {
            return Some((
                Verdict::WaitingForConsent,
                Some(format!("it wants {}", in_words(wants))),
            ));
        }
        (Goal::Newest, InFile::Unusable(reason) | InFile::Refused(_, reason)) => {
            return refused(reason.clone());
        }
        (Goal::Newest, InFile::Nothing) => return refused(gone(&standing.plugin)),
    };
    match &standing.life {
        _ if standing.runs != Some(wanted) => {
            let said = last_reload.filter(|reload| reload.to == Some(wanted.to_string()));
            let reason = said.and_then(|reload| reload.reason.clone());
            refused(reason.unwrap_or_else(|| "it was not started; the log says why".to_owned()))
        }
        Some(Life::Down { reason, .. }) => Some((Verdict::Down, Some(reason.clone()))),
        _ => None,
    }
}

fn gone(plugin: &str) -> String {
    format!("there is no {plugin}.wasm in the plugin folder")
}
