//! What is to be done.

use std::sync::Arc;

use super::{VersionHash, Want};

/// What is to be done. The answer to each goes back to [`Versions`](super::Versions).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Read the plugin's file, beside everything else.
    /// Answer: [`Versions::read`](super::Versions::read) or [`Versions::unreadable`](super::Versions::unreadable).
    Read {
        /// The plugin.
        plugin: Arc<str>,
        /// Number of the look, for the answer.
        look: u64,
    },
    /// Compile and check what was read, beside everything else.
    /// Answer: [`Versions::prepared`](super::Versions::prepared) or [`Versions::not_prepared`](super::Versions::not_prepared).
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
    /// Prepare a good version that was kept.
    /// Answer: [`Versions::fetched`](super::Versions::fetched) or [`Versions::not_fetched`](super::Versions::not_fetched).
    Fetch {
        /// The device that kept it.
        device: Arc<str>,
        /// The version.
        hash: VersionHash,
    },
    /// Start a driver where none runs; what is left of a thread that has ended is cleared away first.
    /// Answer: [`Versions::started`](super::Versions::started) or [`Versions::not_started`](super::Versions::not_started).
    Start {
        /// The device.
        device: Arc<str>,
        /// The version.
        hash: VersionHash,
        /// Whether it comes back because its successor's thread has ended.
        is_return: bool,
    },
    /// Put a version in place of the one that runs.
    /// Answer: [`Versions::swapped`](super::Versions::swapped), [`Versions::swap_refused`](super::Versions::swap_refused) or
    /// [`Versions::swap_lost`](super::Versions::swap_lost).
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
    /// Nothing runs yet: the first version of its plugin is being prepared.
    First {
        /// The device.
        device: Arc<str>,
    },
    /// Nothing runs, and nothing will before its file comes.
    Missing {
        /// The device.
        device: Arc<str>,
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
    /// Say that a version waits for consent; what runs goes on.
    Wait {
        /// The plugin.
        plugin: Arc<str>,
        /// The device on which it waits.
        device: Arc<str>,
        /// The version.
        hash: VersionHash,
        /// What it wants beyond what was consented to.
        wants: Vec<Want>,
    },
    /// Say that a file is gone.
    Gone {
        /// The plugin.
        plugin: Arc<str>,
    },
    /// Show the plugin as [`Versions::plugin`](super::Versions::plugin) has it now.
    Publish {
        /// The plugin.
        plugin: Arc<str>,
    },
    /// Write [`Versions::record`](super::Versions::record) of the device. The bytes of a version are kept for as long as a record calls it good.
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
