//! What the daemon is started with.

use std::time::Duration;

use crate::config::{BenchConfig, ConfigLoader};

/// Everything that the command line decides before the daemon starts.
#[derive(Debug, Clone)]
pub struct AppOptions {
    /// The configuration to start with, already good.
    pub config: BenchConfig,
    /// Reads it again when a file has changed; the environment and the flags stay those of the start.
    pub loader: ConfigLoader,
    /// Whether standard output carries events as JSON, one per line.
    pub json: bool,
    /// Set for `autobench demo`.
    pub demo: Option<DemoOptions>,
}

/// What `autobench demo` adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoOptions {
    /// Ends by itself after this time.
    pub for_duration: Option<Duration>,
    /// Opens the page in a browser.
    pub open: bool,
}
