//! What is remembered of a device.

use serde::{Deserialize, Serialize};

use super::{REFUSED, VersionHash, Wants};

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
    /// What was consented to: what has run wanted, and what somebody agreed to since. None before anything has run.
    pub consented: Option<Wants>,
}

/// A version that is not offered again, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedVersion {
    /// The version.
    pub hash: VersionHash,
    /// Why.
    pub reason: String,
    /// Who does not want it.
    #[serde(default)]
    pub by: RefusedBy,
}

/// Who does not want a version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusedBy {
    /// The device: it was no good there.
    #[default]
    Device,
    /// A person, who went back from it. Whoever asks for a reload wants it again.
    Person,
}

pub(super) fn remember(refused: &mut Vec<RefusedVersion>, entry: RefusedVersion) {
    refused.retain(|refused| refused.hash != entry.hash);
    if refused.len() >= REFUSED {
        refused.remove(0);
    }
    refused.push(entry);
}

impl RefusedVersion {
    pub(super) fn by_device(hash: VersionHash, reason: String) -> Self {
        Self {
            hash,
            reason,
            by: RefusedBy::Device,
        }
    }
}
