//! Random histories of files, drivers, settings and restarts, against what must hold of every choice.
//!
//! A bench does what the machine says, in an order of its own: answers come late, drivers refuse or break down, the daemon is killed between
//! any two steps. The laws are checked at each action, and, after everything has been answered, on what runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;
/// Contents that a file can have.
const VERSIONS: u8 = 8;
const DEVICES: [&str; 3] = ["a", "b", "other"];
const PLUGINS: [&str; 2] = ["meter", "relay"];

/// What a version does. The same number always does the same, so that what was refused would be refused again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    Good,
    /// No driver at all.
    Unpreparable,
    RefusesToStart,
    /// Starts, and breaks down soon.
    BreaksDown,
    /// Does not suit the settings before they are corrected.
    WantsOtherSettings,
}

fn nature(hash: VersionHash) -> Nature {
    match hash.0[0] % VERSIONS {
        0..4 => Nature::Good,
        4 => Nature::Unpreparable,
        5 => Nature::RefusesToStart,
        6 => Nature::BreaksDown,
        _ => Nature::WantsOtherSettings,
    }
}

fn version(number: u8) -> VersionHash {
    VersionHash([number; 32])
}

/// The plugin that a device is bound to before somebody binds it to another.
fn first_plugin_of(device: &str) -> usize {
    usize::from(device == "other")
}

#[derive(Debug, Clone)]
enum Act {
    /// Somebody writes a file, maybe the same as before.
    Write {
        plugin: usize,
        version: u8,
    },
    Remove {
        plugin: usize,
    },
    /// The system has dropped events: every file may have changed.
    Rescan,
    /// One of the answers that are due is given.
    Answer {
        which: usize,
    },
    Pass {
        ms: u64,
    },
    /// A driver that runs breaks down, maybe for the fifth time.
    Break {
        device: usize,
        is_quarantined: bool,
    },
    Settings {
        device: usize,
        are_right: bool,
    },
    Configure {
        device: usize,
        plugin: usize,
        is_there: bool,
    },
    /// The daemon is killed and starts again.
    Kill,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..PLUGINS.len(), 0..VERSIONS).prop_map(|(plugin, version)| Act::Write { plugin, version }),
        1 => (0..PLUGINS.len()).prop_map(|plugin| Act::Remove { plugin }),
        1 => Just(Act::Rescan),
        12 => any::<usize>().prop_map(|which| Act::Answer { which }),
        3 => (0u64..50).prop_map(|ms| Act::Pass { ms }),
        1 => (900u64..12_000).prop_map(|ms| Act::Pass { ms }),
        2 => (0..DEVICES.len(), any::<bool>())
            .prop_map(|(device, is_quarantined)| Act::Break { device, is_quarantined }),
        1 => (0..DEVICES.len(), any::<bool>())
            .prop_map(|(device, are_right)| Act::Settings { device, are_right }),
        1 => (0..DEVICES.len(), 0..PLUGINS.len(), any::<bool>())
            .prop_map(|(device, plugin, is_there)| Act::Configure { device, plugin, is_there }),
        1 => Just(Act::Kill),
    ]
}

/// An answer that is due.
#[derive(Debug, Clone)]
enum Due {
    Read {
        plugin: Arc<str>,
        look: u64,
    },
    Prepare {
        plugin: Arc<str>,
        look: u64,
        hash: VersionHash,
    },
    Fetch {
        device: Arc<str>,
        hash: VersionHash,
    },
    Start {
        device: Arc<str>,
        hash: VersionHash,
    },
    Swap {
        device: Arc<str>,
        hash: VersionHash,
    },
}

#[derive(Debug, Default)]
struct Thread {
    runs: Option<VersionHash>,
    is_live: bool,
    is_quarantined: bool,
}

/// The bench: files, threads, the disk. What it does not lose when the daemon is killed stands first.
#[derive(Default)]
struct World {
    files: BTreeMap<Arc<str>, VersionHash>,
    configured: BTreeSet<&'static str>,
    /// Devices that were bound to another plugin than at first.
    rebound: BTreeMap<Arc<str>, usize>,
    /// Files that somebody has put there since they were last read.
    touched: BTreeSet<Arc<str>>,
    /// What was in each file when it was read last, or when the daemon started.
    last_read: BTreeMap<Arc<str>, VersionHash>,
    /// What was ever in a plugin's file.
    written: BTreeSet<(Arc<str>, VersionHash)>,
    settings_are_right: BTreeSet<&'static str>,
    records: BTreeMap<Arc<str>, VersionRecord>,
    /// Versions whose bytes are kept.
    kept: BTreeSet<VersionHash>,
    versions: Versions,
    threads: BTreeMap<Arc<str>, Thread>,
    at_hand: BTreeSet<VersionHash>,
    due: Vec<Due>,
    now_ns: u64,
    /// What a device has refused since its file was last read after a change.
    refused: BTreeSet<(Arc<str>, VersionHash)>,
    swaps: u64,
    returns: u64,
}

impl World {
    fn start(&mut self) {
        self.versions = Versions::default();
        self.threads.clear();
        self.at_hand.clear();
        self.touched.clear();
        self.last_read.clone_from(&self.files);
        self.let_go();
        self.due.clear();
        // The configuration may have been mended meanwhile: what did not suit it is tried again.
        self.refused
            .retain(|(_, hash)| nature(*hash) != Nature::WantsOtherSettings);
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
        self.versions.device_added(&name, &plugin, record);
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
            self.refused.retain(|(name, _)| **name != *device);
        }
    }

    fn act(&mut self, act: &Act) {
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
            Act::Answer { which } => self.answer(which),
            Act::Pass { ms } => self.pass(ms * MS),
            Act::Break {
                device,
                is_quarantined,
            } => self.break_down(DEVICES[device], is_quarantined),
            Act::Settings { device, are_right } => {
                let device = DEVICES[device];
                match are_right {
                    true => self.settings_are_right.insert(device),
                    false => self.settings_are_right.remove(device),
                };
                if self.configured.contains(device) {
                    self.refused.retain(|(name, hash)| {
                        **name != *device || nature(*hash) != Nature::WantsOtherSettings
                    });
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
                    self.due.retain(|due| !matches!(due, Due::Start { device: name, .. } | Due::Swap { device: name, .. } | Due::Fetch { device: name, .. } if **name == *device));
                    self.threads.remove(device);
                    self.versions.device_removed(device);
                    self.obey();
                    self.refused.retain(|(name, hash)| {
                        **name != *device || nature(*hash) != Nature::WantsOtherSettings
                    });
                }
                if is_there {
                    self.bind(device, plugin);
                    self.configured.insert(device);
                    self.add(device);
                }
            }
            Act::Kill => self.start(),
        }
        self.obey();
    }

    fn pass(&mut self, ns: u64) {
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

    fn break_down(&mut self, device: &str, is_quarantined: bool) {
        let Some(thread) = self.threads.get_mut(device) else {
            return;
        };
        let Some(hash) = thread.runs.filter(|_| thread.is_live) else {
            return;
        };
        let blame = match nature(hash) {
            Nature::WantsOtherSettings => Blame::Circumstances,
            _ => Blame::Version,
        };
        thread.is_live = false;
        thread.is_quarantined = is_quarantined;
        let broken = Broken {
            hash,
            reason: "trap".to_owned(),
            blame,
            is_quarantined,
        };
        self.versions.broke_down(device, broken);
        self.obey();
        self.note_refusals();
        if !is_quarantined
            && self
                .threads
                .get(device)
                .is_some_and(|thread| thread.runs == Some(hash))
        {
            self.come_alive(device, hash);
        }
    }

    fn come_alive(&mut self, device: &str, hash: VersionHash) {
        if let Some(thread) = self.threads.get_mut(device) {
            thread.is_live = true;
            thread.is_quarantined = false;
        }
        self.versions.live(device, hash, self.now_ns);
        self.obey();
        if nature(hash) == Nature::BreaksDown {
            self.break_down(device, true);
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

    fn answer(&mut self, which: usize) {
        if self.due.is_empty() {
            return;
        }
        match self.due.remove(which % self.due.len()) {
            Due::Read { plugin, look } => match self.files.get(&plugin) {
                Some(hash) => self.read(&plugin, look, *hash),
                None => {
                    self.versions
                        .unreadable(&plugin, look, Unreadable::Gone, self.now_ns);
                    if self.versions.plugin(&plugin).is_none() {
                        self.last_read.remove(&plugin);
                    }
                }
            },
            Due::Prepare { plugin, look, hash } => match nature(hash) {
                Nature::Unpreparable => {
                    let why = Unprepared {
                        reason: "no driver".to_owned(),
                        may_be_incomplete: hash.0[0].is_multiple_of(2),
                    };
                    self.versions.not_prepared(&plugin, look, why, self.now_ns);
                }
                _ => {
                    self.at_hand.insert(hash);
                    self.kept.insert(hash);
                    self.versions.prepared(&plugin, look);
                }
            },
            Due::Fetch { device, hash } => {
                assert!(self.kept.contains(&hash), "a good version was let go of");
                self.at_hand.insert(hash);
                self.versions.fetched(&device, hash);
            }
            Due::Start { device, hash } => {
                self.threads.get_mut(&device).unwrap().runs = Some(hash);
                self.versions.started(&device, hash);
                self.obey();
                let still = self.threads[&device].runs == Some(hash);
                if still && nature(hash) != Nature::RefusesToStart {
                    self.come_alive(&device, hash);
                } else if still {
                    self.threads.get_mut(&device).unwrap().is_live = true;
                    self.break_down(&device, true);
                }
            }
            Due::Swap { device, hash } => match nature(hash) {
                Nature::RefusesToStart => {
                    self.refused.insert((Arc::clone(&device), hash));
                    self.versions
                        .swap_refused(&device, hash, Blame::Version, "no".to_owned());
                }
                Nature::WantsOtherSettings if !self.settings_are_right.contains(&*device) => {
                    self.refused.insert((Arc::clone(&device), hash));
                    self.versions
                        .swap_refused(&device, hash, Blame::Circumstances, "settings".to_owned());
                }
                _ => {
                    let thread = self.threads.get_mut(&device).unwrap();
                    thread.runs = Some(hash);
                    thread.is_live = true;
                    thread.is_quarantined = false;
                    self.swaps += 1;
                    self.versions.swapped(&device, hash, self.now_ns);
                    self.obey();
                    if nature(hash) == Nature::BreaksDown {
                        self.break_down(&device, true);
                    }
                }
            },
        }
        self.obey();
    }

    fn read(&mut self, plugin: &Arc<str>, look: u64, hash: VersionHash) {
        let file = &self.versions.files[plugin];
        let counts = file.look == look;
        if counts
            && (self.touched.remove(plugin) | (self.last_read.insert(Arc::clone(plugin), hash) != Some(hash)))
        {
            let bound: Vec<_> = DEVICES
                .into_iter()
                .filter(|name| self.plugin_of(name) == *plugin)
                .collect();
            self.refused
                .retain(|(name, refused)| !bound.contains(&&**name) || *refused != hash);
        }
        self.versions.read(plugin, look, hash);
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
                Action::GiveUp { plugin } => self.due.retain(|due| {
                    !matches!(due, Due::Read { plugin: of, .. } | Due::Prepare { plugin: of, .. } if *of == plugin)
                }),
                Action::Fetch { device, hash } => {
                    self.check_binding(&device, hash);
                    self.due.push(Due::Fetch { device, hash });
                }
                Action::Start { device, hash } => {
                    assert_eq!(self.threads[&device].runs, None, "there is a driver already");
                    self.check_offer(&device, hash);
                    self.due.push(Due::Start { device, hash });
                }
                Action::Swap { device, hash, is_return } => {
                    assert!(self.threads[&device].runs.is_some(), "there is nothing to swap");
                    assert_ne!(self.threads[&device].runs, Some(hash), "it runs already");
                    self.check_offer(&device, hash);
                    self.returns += u64::from(is_return);
                    self.due.push(Due::Swap { device, hash });
                }
                Action::Release { device } => {
                    self.threads.get_mut(&device).unwrap().is_quarantined = false;
                }
                Action::Stop { device } => {
                    self.check_idle(&device);
                    *self.threads.get_mut(&device).unwrap() = Thread::default();
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
                Action::Refuse { .. } | Action::Gone { .. } | Action::Publish { .. } => {}
            }
        }
        self.note_refusals();
        let running = self.threads.values().filter_map(|thread| thread.runs);
        assert!(
            running.into_iter().all(|hash| self.at_hand.contains(&hash)),
            "what runs was let go of"
        );
        assert!(self.at_hand.len() <= 2 * PLUGINS.len() + 4 * DEVICES.len());
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

    fn check_offer(&self, device: &Arc<str>, hash: VersionHash) {
        self.check_idle(device);
        self.check_binding(device, hash);
        assert!(self.at_hand.contains(&hash), "it is not prepared");
        assert!(
            !self.refused.contains(&(Arc::clone(device), hash)),
            "{hash:?} is offered to {device} again"
        );
    }

    fn check_binding(&self, device: &Arc<str>, hash: VersionHash) {
        assert!(
            self.written.contains(&(self.plugin_of(device), hash)),
            "{device} gets {hash:?}, which never was a version of its plugin"
        );
    }

    fn check_idle(&self, device: &Arc<str>) {
        let is_offered = self.due.iter().any(
            |due| matches!(due, Due::Start { device: to, .. } | Due::Swap { device: to, .. } if to == device),
        );
        assert!(!is_offered, "two swaps of {device} meet");
    }

    /// Lets everything be answered and all time pass.
    fn finish(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "it never comes to rest");
            if !self.due.is_empty() {
                self.answer(0);
            } else if let Some(due_ns) = self.versions.next_deadline_ns() {
                self.pass(due_ns.saturating_sub(self.now_ns));
            } else {
                return;
            }
        }
    }

    /// The newest file runs wherever it can; where it cannot, something that was good does.
    fn check_at_rest(&self) {
        for (name, thread) in &self.threads {
            let Some(in_file) = self.files.get(&self.plugin_of(name)) else {
                assert_eq!(thread.runs, None, "{name} runs a plugin that is gone");
                continue;
            };
            let device = &self.versions.devices[name];
            let is_refused = device.refusal_of(*in_file).is_some();
            if nature(*in_file) != Nature::Unpreparable && !is_refused {
                assert_eq!(thread.runs, Some(*in_file), "{name} does not run the newest file");
            } else if let Some(good) = device.record.good.first() {
                assert!(
                    thread.runs.is_some(),
                    "{name} stands still although {good:?} is good"
                );
            }
            if nature(*in_file) == Nature::Good && !is_refused && thread.is_live {
                assert_eq!(
                    device.record.good.first(),
                    Some(in_file),
                    "it has lived long enough"
                );
            }
            let view = self.versions.plugin(&self.plugin_of(name)).unwrap();
            assert_eq!(view.hash, Some(*in_file));
            if thread.runs.is_some() {
                let described_by = view.described_by.expect("something describes what runs");
                assert!(
                    self.threads.iter().any(|(other, thread)| {
                        self.plugin_of(other) == self.plugin_of(name) && thread.runs == Some(described_by)
                    }),
                    "{described_by:?} describes the plugin and runs nowhere"
                );
            }
            assert_eq!(
                view.refusal.is_some(),
                nature(*in_file) == Nature::Unpreparable || self.refuses(&self.plugin_of(name), *in_file)
            );
        }
        assert!(
            self.at_hand.len() <= 2 * PLUGINS.len() + DEVICES.len(),
            "nothing is hoarded"
        );
    }

    fn refuses(&self, plugin: &str, hash: VersionHash) -> bool {
        let bound = self
            .versions
            .devices
            .values()
            .filter(|device| *device.plugin == *plugin);
        bound.into_iter().any(|device| device.refusal_of(hash).is_some())
    }
}

fn world(devices: &[&'static str]) -> World {
    let mut world = World {
        configured: devices.iter().copied().collect(),
        ..World::default()
    };
    world.start();
    world
}

fn write(world: &mut World, number: u8) {
    world.act(&Act::Write {
        plugin: 0,
        version: number,
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn every_history_ends_with_the_newest_file_or_with_what_was_good(
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut world = world(&DEVICES);
        for act in &acts {
            world.act(act);
        }
        world.finish();
        world.check_at_rest();
        // A daemon that starts on what is left ends in the same place.
        world.start();
        world.finish();
        world.check_at_rest();
    }
}

fn cases() -> u32 {
    match std::env::var_os("AUTOBENCH_LONG") {
        Some(_) => 200_000,
        None => 2_000,
    }
}

#[test]
fn of_files_that_come_while_one_is_prepared_only_the_newest_is_offered() {
    let mut world = world(&["a"]);
    write(&mut world, 0);
    world.finish();
    write(&mut world, 1);
    world.pass(QUIET_NS);
    world.answer(0);
    assert!(matches!(world.due[..], [Due::Prepare { .. }]));
    for number in [2, 3, 1, 2] {
        write(&mut world, number);
    }
    assert!(world.due.is_empty(), "what is under way is given up");
    world.pass(QUIET_NS);
    let swaps = world.swaps;
    world.finish();
    assert_eq!(
        (world.threads["a"].runs, world.swaps),
        (Some(version(2)), swaps + 1)
    );
}

#[test]
fn a_file_that_changes_during_a_swap_is_swapped_in_after_it() {
    let mut world = world(&["a"]);
    write(&mut world, 0);
    world.finish();
    write(&mut world, 1);
    world.pass(QUIET_NS);
    world.answer(0);
    world.answer(0);
    assert!(matches!(world.due[..], [Due::Swap { hash, .. }] if hash == version(1)));
    write(&mut world, 2);
    world.pass(QUIET_NS);
    // The newer one is ready first, and waits.
    world.answer(1);
    world.answer(1);
    assert!(matches!(world.due[..], [Due::Swap { hash, .. }] if hash == version(1)));
    world.answer(0);
    assert!(matches!(world.due[..], [Due::Swap { hash, .. }] if hash == version(2)));
}

#[test]
fn the_hundredth_swap_is_as_the_first() {
    let mut world = world(&["a"]);
    write(&mut world, 0);
    world.finish();
    for swap in 1..=100 {
        write(&mut world, swap % 4);
        world.finish();
        assert_eq!(world.swaps, u64::from(swap));
        assert_eq!(world.threads["a"].runs, Some(version(swap % 4)));
        assert_eq!(world.at_hand.len(), 1);
    }
}

#[test]
fn what_breaks_down_on_probation_gives_way_to_what_ran_before_and_never_comes_back_by_itself() {
    let mut world = world(&["a"]);
    write(&mut world, 0);
    world.finish();
    write(&mut world, 6);
    world.finish();
    assert_eq!((world.threads["a"].runs, world.returns), (Some(version(0)), 1));
    let view = world.versions.plugin(PLUGINS[0]).unwrap();
    assert!(view.refusal.unwrap().contains("first seconds"));
    assert_eq!(
        view.described_by,
        Some(version(0)),
        "what runs describes the plugin"
    );
    // Killed with the refused file in the folder: the good one is started from what was kept, and the other not even tried.
    world.start();
    world.finish();
    assert_eq!((world.threads["a"].runs, world.returns), (Some(version(0)), 1));
    // Putting it there again is a wish.
    write(&mut world, 6);
    world.finish();
    assert_eq!((world.threads["a"].runs, world.returns), (Some(version(0)), 2));
}

#[test]
fn a_device_that_is_bound_to_another_plugin_never_goes_back_to_the_former_ones_driver() {
    let mut world = world(&["a"]);
    write(&mut world, 0);
    world.finish();
    assert!(world.kept.contains(&version(0)));
    // The other plugin's only version refuses to start.
    world.act(&Act::Write {
        plugin: 1,
        version: 5,
    });
    world.act(&Act::Configure {
        device: 0,
        plugin: 1,
        is_there: true,
    });
    world.finish();
    assert_ne!(world.threads["a"].runs, Some(version(0)));
    assert!(world.records["a"].good.is_empty());
    // Its file is the only place that still has it.
    world.act(&Act::Remove { plugin: 0 });
    world.finish();
    assert!(!world.kept.contains(&version(0)), "its bytes are let go of");
    world.act(&Act::Kill);
    world.finish();
    assert_ne!(world.threads["a"].runs, Some(version(0)));
}

#[test]
fn what_was_not_good_for_long_enough_is_still_what_one_goes_back_to() {
    let mut world = world(&["a"]);
    write(&mut world, 0);
    world.pass(QUIET_NS);
    (0..3).for_each(|_| world.answer(0));
    assert!(world.versions.record("a").unwrap().good.is_empty());
    write(&mut world, 6);
    world.finish();
    assert_eq!(world.threads["a"].runs, Some(version(0)));
}

#[test]
fn a_good_version_that_breaks_down_stays_the_drivers_own_affair() {
    let mut world = world(&["a"]);
    write(&mut world, 0);
    world.finish();
    write(&mut world, 1);
    world.finish();
    world.break_down("a", true);
    assert!(world.due.is_empty());
    assert_eq!(world.threads["a"].runs, Some(version(1)));
    assert!(world.threads["a"].is_quarantined);
    // Nothing has changed when it is looked at again.
    world.act(&Act::Rescan);
    world.finish();
    assert!(world.threads["a"].is_quarantined);
    write(&mut world, 1);
    world.finish();
    assert!(!world.threads["a"].is_quarantined);
    world.come_alive("a", version(1));
    world.break_down("a", true);
    world.act(&Act::Settings {
        device: 0,
        are_right: true,
    });
    assert!(!world.threads["a"].is_quarantined);
}

#[test]
fn a_refused_version_is_not_tried_again_because_its_file_was_looked_at_again() {
    let mut world = world(&["a"]);
    write(&mut world, 0);
    world.finish();
    write(&mut world, 6);
    world.finish();
    world.act(&Act::Rescan);
    world.finish();
    assert_eq!((world.threads["a"].runs, world.returns), (Some(version(0)), 1));
    // One whose change was missed is found to be another, and tried.
    world.files.insert(PLUGINS[0].into(), version(1));
    world.written.insert((PLUGINS[0].into(), version(1)));
    world.act(&Act::Rescan);
    world.finish();
    assert_eq!(world.threads["a"].runs, Some(version(1)));
}

#[test]
fn a_kept_version_that_is_lost_is_said_and_the_next_one_taken() {
    let mut versions = Versions::default();
    let (device, plugin): (Arc<str>, Arc<str>) = ("a".into(), "meter".into());
    let record = VersionRecord {
        plugin: plugin.to_string(),
        good: vec![version(1), version(2)],
        refused: vec![RefusedVersion {
            hash: version(3),
            reason: "trap".to_owned(),
        }],
    };
    versions.device_added(&device, &plugin, record);
    versions.file_found(&plugin);
    versions.read(&plugin, 1, version(3));
    versions.prepared(&plugin, 1);
    let actions = |versions: &mut Versions| std::iter::from_fn(|| versions.next_action()).collect::<Vec<_>>();
    let fetch = |hash| Action::Fetch {
        device: Arc::clone(&device),
        hash,
    };
    assert!(actions(&mut versions).contains(&fetch(version(1))));
    versions.not_fetched("a", version(1));
    assert!(actions(&mut versions).contains(&fetch(version(2))));
    versions.not_fetched("a", version(2));
    let reason = "trap".to_owned();
    assert!(actions(&mut versions).contains(&Action::Down { device, reason }));
}

#[test]
fn a_file_that_is_not_whole_has_a_second_to_become_so() {
    let mut versions = Versions::default();
    let plugin: Arc<str> = "meter".into();
    versions.file_changed(&plugin, 0);
    let look = |versions: &mut Versions, now_ns| {
        versions.time(now_ns);
        let Some(Action::Read { look, .. }) = versions.next_action() else {
            panic!("it is not looked at");
        };
        look
    };
    let first = look(&mut versions, QUIET_NS);
    let why = || Unreadable::Incomplete("it is empty".to_owned());
    versions.unreadable(&plugin, first, why(), QUIET_NS);
    assert_eq!(versions.next_action(), None);
    assert_eq!(versions.next_deadline_ns(), Some(S));
    let second = look(&mut versions, S);
    versions.unreadable(&plugin, second, why(), S);
    assert!(matches!(versions.next_action(), Some(Action::Refuse { .. })));
    // Told once, however often it is looked at.
    assert!(matches!(versions.next_action(), Some(Action::Publish { .. })));
    versions.file_changed(&plugin, 2 * S);
    let third = look(&mut versions, 4 * S);
    versions.unreadable(&plugin, third, why(), 4 * S);
    assert!(!matches!(versions.next_action(), Some(Action::Refuse { .. })));
}

#[test]
fn files_are_not_gone_while_their_folder_is() {
    let mut world = world(&["a"]);
    write(&mut world, 0);
    world.finish();
    world.versions.folder(false);
    world.files.clear();
    world.versions.file_changed(&PLUGINS[0].into(), world.now_ns);
    world.finish();
    assert_eq!(world.threads["a"].runs, Some(version(0)));
    world.versions.folder(true);
    world.versions.file_changed(&PLUGINS[0].into(), world.now_ns);
    world.finish();
    assert_eq!(world.threads["a"].runs, None);
}
