//! The configuration: `plugins.toml`, then `plugins.d/*.toml`, then the environment, then flags.
//!
//! As written ([`raw`]) and as meant ([`model`]) are two types. Reading gathers every problem before it gives up, and gives either a whole
//! [`BenchConfig`] or none, so that a bad file can never replace a good one. The environment is taken once, at start: a later reload of the
//! file sees the same variables and flags.

mod load;
mod model;
mod name;
mod problem;
mod raw;
mod tree;
mod variables;

use autobench_core::driver::LogLevel;

pub use load::ConfigLoader;
pub use model::{
    AuthConfig, BenchConfig, ClientLogs, ClientSocket, DaemonConfig, DaemonLimits, DeviceConfig,
    DriverLimits, Grants, LayoutConfig, LineOverrides, LogConfig, PaneConfig, PortConfig, PortSource, Role,
    ServerConfig, SimSpec, TokenConfig,
};
pub use name::{DeviceId, HOST_MEMBERS, NameError, PluginName, PortName, SliceName};
pub use problem::{Colour, ConfigErrors, Place, Problem, Source, Weight, render};
pub use variables::{Environment, Overrides};

/// The name of a level, as it stands in variables and on the wire.
pub fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
        LogLevel::Fatal => "fatal",
    }
}

/// The level of a name.
pub fn level_of(name: &str) -> Option<LogLevel> {
    match name {
        "debug" => Some(LogLevel::Debug),
        "info" => Some(LogLevel::Info),
        "warn" => Some(LogLevel::Warn),
        "error" => Some(LogLevel::Error),
        "fatal" => Some(LogLevel::Fatal),
        _ => None,
    }
}
