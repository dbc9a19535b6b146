//! The configuration: `plugins.toml`, then `plugins.d/*.toml`, then the environment, then flags.
//!
//! As written (`raw`) and as meant (`model`) are two types. Reading gathers every problem before it gives up, and gives either a whole
//! [`BenchConfig`] or none, so that a bad file can never replace a good one. The environment is taken once, at start: a later reload of the
//! file sees the same variables and flags.

mod auth;
mod daemon;
mod devices;
mod layout;
mod load;
#[cfg(test)]
mod mistakes;
mod model;
mod name;
mod ports;
mod problem;
mod raw;
mod tree;
mod values;
mod variables;

pub use auth::is_token_name;
pub use autobench_core::access::Role;
pub use devices::Waiting;
pub use load::ConfigLoader;
pub use model::{
    AuthConfig, BenchConfig, CaptureConfig, DaemonConfig, DaemonLimits, DeviceConfig, DriverLimits, Grants,
    IngestConfig, LineOverrides, LogConfig, LogFileConfig, PortConfig, PortSource, RedactPattern, SimDevice,
    SimEmulator, SimSpec, TerminalConfig, TokenConfig,
};
pub use name::{DeviceId, NameError, PluginName, PortName, SliceName};
pub use problem::{Colour, ConfigErrors, Place, Problem, Source, Weight, render};
pub use values::{DEFAULT_LISTEN, likely_address};
pub use variables::{Environment, Overrides};
