//! What can happen on a bench, and what its versions do.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::{VersionHash, Wants};

pub(super) const MS: u64 = 1_000_000;
pub(super) const S: u64 = 1_000_000_000;
/// Contents that a file can have.
pub(super) const VERSIONS: u8 = 12;
pub(super) const DEVICES: [&str; 3] = ["a", "b", "other"];
pub(super) const PLUGINS: [&str; 2] = ["meter", "relay"];

/// What a version does. The same number always does the same, so that what was refused would be refused again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    Good,
    /// No driver at all.
    Unpreparable,
    RefusesToStart,
    /// Starts, and breaks down soon.
    BreaksDown,
    /// Does not suit the settings before they are corrected.
    WantsOtherSettings,
    /// A fault of the daemon that only its start, or the swap to it, brings out ends the driver's thread.
    EndsItsThread,
}

pub(super) fn nature(hash: VersionHash) -> Nature {
    match hash.0[0] % VERSIONS {
        0..4 => Nature::Good,
        4 => Nature::Unpreparable,
        5 => Nature::RefusesToStart,
        6 => Nature::BreaksDown,
        7 => Nature::WantsOtherSettings,
        8 => Nature::EndsItsThread,
        _ => Nature::Good,
    }
}

/// What a version wants: the first nine nothing, the tenth a slice, the eleventh a port, the last both.
pub(super) fn wants(hash: VersionHash) -> Wants {
    let number = hash.0[0] % VERSIONS;
    let names = |is_wanted: bool, name: &str| is_wanted.then(|| name.to_owned()).into_iter().collect();
    Wants {
        slices: names(matches!(number, 9 | 11), "foreign"),
        ports: names(matches!(number, 10 | 11), "aux"),
        ..Wants::default()
    }
}

pub(super) fn version(number: u8) -> VersionHash {
    VersionHash([number; 32])
}

/// The plugin that a device is bound to before somebody binds it to another.
pub(super) fn first_plugin_of(device: &str) -> usize {
    usize::from(device == "other")
}

#[derive(Debug, Clone)]
pub(super) enum Act {
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
        luck: Luck,
    },
    /// The answer of a look that was given up comes nevertheless.
    AnswerLate {
        which: usize,
    },
    /// What a driver's thread has said is heard.
    Hear {
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
    /// A driver's thread ends by a fault of the daemon.
    End {
        device: usize,
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
    /// Somebody wants the newest file tried again on one device.
    Reload {
        device: usize,
        is_forced: bool,
    },
    /// Somebody wants the version before.
    RollBack {
        device: usize,
    },
    /// Somebody consents to whatever waits.
    Consent {
        plugin: usize,
    },
    /// The daemon is killed and starts again.
    Kill,
}

pub(super) fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..PLUGINS.len(), 0..VERSIONS).prop_map(|(plugin, version)| Act::Write { plugin, version }),
        1 => (0..PLUGINS.len()).prop_map(|plugin| Act::Remove { plugin }),
        1 => Just(Act::Rescan),
        12 => (any::<usize>(), luck()).prop_map(|(which, luck)| Act::Answer { which, luck }),
        2 => any::<usize>().prop_map(|which| Act::AnswerLate { which }),
        6 => any::<usize>().prop_map(|which| Act::Hear { which }),
        3 => (0u64..50).prop_map(|ms| Act::Pass { ms }),
        1 => (900u64..12_000).prop_map(|ms| Act::Pass { ms }),
        2 => (0..DEVICES.len(), any::<bool>())
            .prop_map(|(device, is_quarantined)| Act::Break { device, is_quarantined }),
        1 => (0..DEVICES.len()).prop_map(|device| Act::End { device }),
        1 => (0..DEVICES.len(), any::<bool>())
            .prop_map(|(device, are_right)| Act::Settings { device, are_right }),
        1 => (0..DEVICES.len(), 0..PLUGINS.len(), any::<bool>())
            .prop_map(|(device, plugin, is_there)| Act::Configure { device, plugin, is_there }),
        1 => (0..DEVICES.len(), any::<bool>()).prop_map(|(device, is_forced)| Act::Reload { device, is_forced }),
        1 => (0..DEVICES.len()).prop_map(|device| Act::RollBack { device }),
        1 => (0..PLUGINS.len()).prop_map(|plugin| Act::Consent { plugin }),
        1 => Just(Act::Kill),
    ]
}

/// What happens while something is under way, whatever the version is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Luck {
    Good,
    /// The daemon or the system fails: no thread for a start, no memory for a swap, no bytes for a fetch.
    Fails,
    /// The driver that runs breaks down meanwhile, and is started again.
    BreaksDown,
}

fn luck() -> impl Strategy<Value = Luck> {
    prop_oneof![6 => Just(Luck::Good), 1 => Just(Luck::Fails), 1 => Just(Luck::BreaksDown)]
}

/// An answer that is due.
#[derive(Debug, Clone)]
pub(super) enum Due {
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
    /// No answer: a version that cannot live breaks down.
    Doom {
        device: Arc<str>,
        hash: VersionHash,
    },
}
