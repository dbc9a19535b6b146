//! What is told when something did not go: a file that gives no version, a version that does not run, a driver that broke down.

use super::VersionHash;

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
