//! The bench around the machine: files, threads and a disk that do what it says, and check it at each step.

mod answers;
mod checks;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::*;
use super::model::{Act, DEVICES, Due, Luck, MS, Nature, PLUGINS, first_plugin_of, nature, version, wants};

#[derive(Debug, Default)]
pub(super) struct Thread {
    pub(super) runs: Option<VersionHash>,
    pub(super) is_live: bool,
    pub(super) is_quarantined: bool,
    /// What it ran when it ended by itself.
    ended: Option<VersionHash>,
}

/// What a driver's thread has said and nobody has heard yet: as on the host's board, what is newer overwrites what no longer matters.
#[derive(Debug, Default)]
struct Turn {
    broken: Option<Broken>,
    live: Option<VersionHash>,
    has_ended: bool,
}

/// The bench: files, threads, the disk. What it does not lose when the daemon is killed stands first.
#[derive(Default)]
pub(super) struct World {
    pub(super) files: BTreeMap<Arc<str>, VersionHash>,
    configured: BTreeSet<&'static str>,
    /// Devices that were bound to another plugin than at first.
    rebound: BTreeMap<Arc<str>, usize>,
    /// Files that somebody has put there since they were last read.
    touched: BTreeSet<Arc<str>>,
    /// What was in each file when it was read last, or when the daemon started.
    last_read: BTreeMap<Arc<str>, VersionHash>,
    /// What was ever in a plugin's file.
    pub(super) written: BTreeSet<(Arc<str>, VersionHash)>,
    settings_are_right: BTreeSet<&'static str>,
    pub(super) records: BTreeMap<Arc<str>, VersionRecord>,
    /// Versions whose bytes are kept.
    pub(super) kept: BTreeSet<VersionHash>,
    pub(super) versions: Versions,
    pub(super) threads: BTreeMap<Arc<str>, Thread>,
    pub(super) at_hand: BTreeSet<VersionHash>,
    pub(super) due: Vec<Due>,
    /// Answers of looks that were given up. They may come nevertheless.
    late: Vec<Due>,
    board: BTreeMap<Arc<str>, Turn>,
    pub(super) now_ns: u64,
    /// What a device has refused since its file was last read after a change.
    refused: BTreeSet<(Arc<str>, VersionHash)>,
    /// What the configuration or the daemon did not let run on a device, since either has changed.
    misfits: BTreeSet<(Arc<str>, VersionHash)>,
    /// What was heard to have broken down and not to have come back since.
    broken: BTreeSet<(Arc<str>, VersionHash)>,
    /// Reloads of devices that were asked for since their files were last read, and of which plugin.
    reloads: BTreeMap<Arc<str>, (Arc<str>, Reload)>,
    /// What devices were told to go back to, until it has been tried.
    rollbacks: BTreeMap<Arc<str>, VersionHash>,
    /// What was agreed to on each device on which something has run.
    consented: BTreeMap<Arc<str>, Wants>,
    pub(super) swaps: u64,
    pub(super) returns: u64,
}

impl World {
    /// A daemon that has just started, with these devices and without a file.
    pub(super) fn with(devices: &[&'static str]) -> Self {
        let mut world = Self {
            configured: devices.iter().copied().collect(),
            ..Self::default()
        };
        world.start();
        world
    }

    pub(super) fn start(&mut self) {
        self.versions = Versions::default();
        self.threads.clear();
        self.at_hand.clear();
        self.touched.clear();
        self.last_read.clone_from(&self.files);
        self.let_go();
        self.due.clear();
        self.late.clear();
        self.board.clear();
        self.broken.clear();
        self.reloads.clear();
        self.rollbacks.clear();
        // The configuration may have been mended meanwhile: what did not suit it is tried again.
        self.misfits.clear();
        for device in self.configured.clone() {
            self.add(device);
        }
        for plugin in self.files.keys().cloned().collect::<Vec<_>>() {
            self.versions.file_found(&plugin);
        }
        self.obey();
    }

    fn add(&mut self, device: &'static str) {
        let name: Arc<str> = device.into();
        let record = self.records.get(&name).cloned().unwrap_or_default();
        self.threads.insert(Arc::clone(&name), Thread::default());
        let plugin = self.plugin_of(device);
        let granted = Granted::default();
        self.versions.device_added(&name, &plugin, record, granted);
        self.obey();
    }

    fn plugin_of(&self, device: &str) -> Arc<str> {
        let rebound = self.rebound.get(device).copied();
        PLUGINS[rebound.unwrap_or_else(|| first_plugin_of(device))].into()
    }

    fn bind(&mut self, device: &'static str, plugin: usize) {
        if self.plugin_of(device) != PLUGINS[plugin].into() {
            self.rebound.insert(device.into(), plugin);
            // Another plugin begins without a past.
            self.consented.remove(device);
            self.refused.retain(|(name, _)| **name != *device);
        }
    }

    pub(super) fn act(&mut self, act: &Act) {
        match *act {
            Act::Write {
                plugin,
                version: number,
            } => {
                let plugin: Arc<str> = PLUGINS[plugin].into();
                self.files.insert(Arc::clone(&plugin), version(number));
                self.touched.insert(Arc::clone(&plugin));
                self.written.insert((Arc::clone(&plugin), version(number)));
                self.versions.file_changed(&plugin, self.now_ns);
            }
            Act::Remove { plugin } => {
                let plugin: Arc<str> = PLUGINS[plugin].into();
                self.files.remove(&plugin);
                self.versions.file_changed(&plugin, self.now_ns);
            }
            Act::Rescan => {
                let known = self.versions.plugins().chain(self.files.keys());
                for plugin in known.cloned().collect::<BTreeSet<_>>() {
                    self.versions.file_may_have_changed(&plugin, self.now_ns);
                }
            }
            Act::Answer { which, luck } => self.answer_by(which, luck),
            Act::AnswerLate { which } => self.answer_late(which),
            Act::Hear { which } => self.hear(which),
            Act::Pass { ms } => self.pass(ms * MS),
            Act::Break {
                device,
                is_quarantined,
            } => self.break_down(DEVICES[device], is_quarantined),
            Act::End { device } => self.end_thread(DEVICES[device]),
            Act::Settings { device, are_right } => {
                let device = DEVICES[device];
                match are_right {
                    true => self.settings_are_right.insert(device),
                    false => self.settings_are_right.remove(device),
                };
                if self.configured.contains(device) {
                    self.misfits.retain(|(name, _)| **name != *device);
                    self.versions.settings_changed(device);
                    self.obey();
                    let thread = &self.threads[device];
                    assert!(!thread.is_quarantined, "corrected settings end a quarantine");
                }
            }
            Act::Configure {
                device,
                plugin,
                is_there,
            } => {
                let device = DEVICES[device];
                if self.configured.remove(device) {
                    // A fetch goes on beside, and its answer comes whatever has become of the device.
                    self.due.retain(|due| {
                        !matches!(due, Due::Start { device: name, .. } | Due::Swap { device: name, .. } if **name == *device)
                    });
                    self.board.remove(device);
                    self.broken.retain(|(name, _)| **name != *device);
                    self.misfits.retain(|(name, _)| **name != *device);
                    self.reloads.remove(device);
                    self.rollbacks.remove(device);
                    self.threads.remove(device);
                    self.versions.device_removed(device);
                    self.obey();
                }
                if is_there {
                    self.bind(device, plugin);
                    self.configured.insert(device);
                    self.add(device);
                }
            }
            Act::Reload { device, is_forced } => self.reload(DEVICES[device], is_forced),
            Act::RollBack { device } => drop(self.roll_back(DEVICES[device])),
            Act::Consent { plugin } => self.consent(PLUGINS[plugin]),
            Act::Kill => self.start(),
        }
        self.obey();
    }

    pub(super) fn pass(&mut self, ns: u64) {
        self.now_ns += ns;
        while self
            .versions
            .next_deadline_ns()
            .is_some_and(|due_ns| due_ns <= self.now_ns)
        {
            self.versions.time(self.now_ns);
            self.obey();
        }
    }

    /// A driver that lives breaks down, and is started again unless it broke down too often.
    pub(super) fn break_down(&mut self, device: &str, is_quarantined: bool) {
        let lives = self.threads.get(device).filter(|thread| thread.is_live);
        if let Some(hash) = lives.and_then(|thread| thread.runs) {
            self.fall(device, hash, is_quarantined);
            if !is_quarantined {
                self.come_alive(device, hash);
            }
        }
    }

    fn fall(&mut self, device: &str, hash: VersionHash, is_quarantined: bool) {
        let blame = match nature(hash) {
            Nature::WantsOtherSettings => Blame::Circumstances,
            _ => Blame::Version,
        };
        let thread = self.threads.get_mut(device).unwrap();
        thread.is_live = false;
        thread.is_quarantined = is_quarantined;
        let turn = Turn {
            broken: Some(Broken {
                hash,
                reason: "trap".to_owned(),
                blame,
                is_quarantined,
            }),
            live: None,
            has_ended: false,
        };
        self.board.insert(device.into(), turn);
    }

    /// A driver's thread ends without having been asked to.
    pub(super) fn end_thread(&mut self, device: &str) {
        let Some(thread) = self.threads.get_mut(device) else {
            return;
        };
        if let Some(hash) = thread.runs {
            *thread = Thread {
                ended: Some(hash),
                ..Thread::default()
            };
            let turn = self.board.entry(device.into()).or_default();
            turn.live = None;
            turn.has_ended = true;
        }
    }

    fn come_alive(&mut self, device: &str, hash: VersionHash) {
        let thread = self.threads.get_mut(device).unwrap();
        thread.is_live = true;
        thread.is_quarantined = false;
        self.board.entry(device.into()).or_default().live = Some(hash);
        if nature(hash) == Nature::BreaksDown {
            self.doom(device, hash);
        }
    }

    /// Starts the driver of the version that the thread has.
    fn start_driver(&mut self, device: &str, hash: VersionHash) {
        match nature(hash) {
            Nature::RefusesToStart | Nature::EndsItsThread => self.doom(device, hash),
            _ => self.come_alive(device, hash),
        }
    }

    fn doom(&mut self, device: &str, hash: VersionHash) {
        let device = device.into();
        self.due.push(Due::Doom { device, hash });
    }

    /// One driver's thread is heard.
    fn hear(&mut self, which: usize) {
        let which = which % self.board.len().max(1);
        let Some(device) = self.board.keys().nth(which).cloned() else {
            return;
        };
        let turn = self.board.remove(&device).unwrap();
        if let Some(broken) = turn.broken {
            if broken.blame == Blame::Version {
                self.broken.insert((Arc::clone(&device), broken.hash));
            }
            self.versions.broke_down(&device, broken);
        }
        if let Some(hash) = turn.live {
            self.broken.remove(&(Arc::clone(&device), hash));
            self.versions.live(&device, hash, self.now_ns);
        }
        if turn.has_ended {
            self.versions.ended(&device);
            self.note_end(&device);
        }
        self.obey();
    }

    /// The machine knows that a thread has ended by itself. What it ran on probation is not what the device waits for, if there is a good one.
    fn note_end(&mut self, device: &Arc<str>) {
        let Some(hash) = self.threads[device].ended else {
            return;
        };
        let entry = &self.versions.devices[device];
        let has_good = entry
            .record
            .good
            .iter()
            .any(|good| *good != hash && entry.refusal_of(*good).is_none());
        // With new settings it does not count what ran.
        let counts = entry.running.as_ref().is_some_and(|running| running.hash == hash);
        assert!(
            !counts || !has_good || self.is_good(device, hash) || entry.refusal_of(hash).is_some(),
            "{device} stays down with {hash:?}, which never was good, although another one is"
        );
        if entry.misfits.iter().any(|misfit| misfit.hash == hash) {
            assert!(!self.is_good(device, hash), "a good version is given up");
            self.misfits.insert((Arc::clone(device), hash));
        }
    }

    pub(super) fn hear_all(&mut self) {
        while !self.board.is_empty() {
            self.hear(0);
        }
    }

    /// What the machine has refused by itself: it says so in what it keeps.
    fn note_refusals(&mut self) {
        for (name, record) in &self.records {
            // What has lived for long enough is good, whatever it did before.
            self.refused
                .retain(|(refused_by, hash)| refused_by != name || !record.good.contains(hash));
            self.refused.extend(
                record
                    .refused
                    .iter()
                    .map(|refused| (Arc::clone(name), refused.hash)),
            );
        }
    }

    /// Does what the machine says, and checks it.
    fn obey(&mut self) {
        while let Some(action) = self.versions.next_action() {
            match action {
                Action::Read { plugin, look } => self.due.push(Due::Read { plugin, look }),
                Action::Prepare { plugin, look, hash, .. } => {
                    assert!(!self.at_hand.contains(&hash), "it is prepared already");
                    self.due.push(Due::Prepare { plugin, look, hash });
                }
                Action::GiveUp { plugin } => self.late.extend(self.due.extract_if(.., |due| {
                    matches!(due, Due::Read { plugin: of, .. } | Due::Prepare { plugin: of, .. } if *of == plugin)
                })),
                Action::Fetch { device, hash } => {
                    self.check_binding(&device, hash);
                    self.due.push(Due::Fetch { device, hash });
                }
                Action::Start { device, hash, is_return } => {
                    assert_eq!(self.threads[&device].runs, None, "there is a driver already");
                    self.check_offer(&device, hash);
                    self.returns += u64::from(is_return);
                    self.due.push(Due::Start { device, hash });
                }
                Action::Swap { device, hash, is_return } => {
                    let thread = &self.threads[&device];
                    assert!(thread.runs.or(thread.ended).is_some(), "there is nothing to swap");
                    assert_ne!(self.threads[&device].runs, Some(hash), "it runs already");
                    self.check_offer(&device, hash);
                    assert!(
                        !is_return || !self.broken.contains(&(Arc::clone(&device), hash)) || self.is_good(&device, hash),
                        "{device} goes back to {hash:?}, which broke down itself"
                    );
                    self.returns += u64::from(is_return);
                    self.due.push(Due::Swap { device, hash });
                }
                Action::Release { device } => {
                    let thread = self.threads.get_mut(&device).unwrap();
                    thread.is_quarantined = false;
                    if let Some(hash) = thread.runs.filter(|_| !thread.is_live) {
                        self.start_driver(&device, hash);
                    }
                }
                Action::Stop { device } => {
                    self.check_idle(&device);
                    self.clear_away(&device);
                }
                Action::Persist { device } => {
                    let record = self.versions.record(&device).unwrap().clone();
                    assert!(record.good.len() <= GOOD && record.refused.len() <= REFUSED);
                    self.records.insert(device, record);
                    self.let_go();
                }
                Action::Forget { hash } => {
                    assert!(self.at_hand.remove(&hash), "it was not at hand");
                    self.let_go();
                }
                Action::Down { device, reason } => {
                    assert!(!reason.is_empty());
                    assert_eq!(self.threads[&device].runs, None);
                }
                Action::First { device } => {
                    assert_eq!(self.threads[&device].runs, None, "something runs");
                    let view = self.versions.plugin(&self.plugin_of(&device)).unwrap();
                    assert!(view.is_first && view.hash.is_some(), "{view:?}");
                }
                Action::Missing { device } => {
                    assert_eq!(self.threads[&device].runs, None);
                    assert!(!self.versions.files.contains_key(&self.versions.devices[&device].plugin));
                }
                Action::Wait { device, hash, wants, .. } => {
                    assert!(!wants.is_empty() && !self.is_agreed(&device, hash));
                }
                Action::Refuse { .. } | Action::Gone { .. } | Action::Publish { .. } => {}
            }
        }
        self.note_refusals();
        let devices = &self.versions.devices;
        self.rollbacks.retain(|name, back| {
            devices
                .get(name)
                .is_some_and(|device| device.rolling_back == Some(*back))
        });
        let running = self.threads.values().filter_map(|thread| thread.runs);
        assert!(
            running.into_iter().all(|hash| self.at_hand.contains(&hash)),
            "what runs was let go of"
        );
        assert!(self.at_hand.len() <= 2 * PLUGINS.len() + 4 * DEVICES.len());
        for (name, device) in &self.versions.devices {
            for misfit in &device.misfits {
                assert!(
                    self.misfits.contains(&(Arc::clone(name), misfit.hash)),
                    "nothing speaks against {:?} on {name}",
                    misfit.hash
                );
            }
        }
        for (name, record) in &self.records {
            if let Some(now) = self.versions.record(name) {
                assert_eq!(now, record, "what the disk says is what the machine knows");
            }
        }
    }

    /// Lets go of bytes that are neither at hand nor good for anybody.
    fn let_go(&mut self) {
        let good = || self.records.values().flat_map(|record| &record.good);
        let at_hand = &self.at_hand;
        self.kept
            .retain(|hash| at_hand.contains(hash) || good().any(|good| good == hash));
        assert!(
            good().all(|good| self.kept.contains(good)),
            "the bytes of every good version are kept"
        );
    }

    /// Lets everything be answered and all time pass.
    pub(super) fn finish(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "it never comes to rest");
            if !self.late.is_empty() {
                self.answer_late(0);
            } else if !self.board.is_empty() {
                self.hear(0);
            } else if !self.due.is_empty() {
                self.answer(0);
            } else if let Some(due_ns) = self.versions.next_deadline_ns() {
                self.pass(due_ns.saturating_sub(self.now_ns));
            } else {
                return;
            }
        }
    }
}
