//! What a device's entry in `plugins.toml` grants, and what a version may read by it.

use std::sync::Arc;

use autobench_core::driver::LogLevel;
use autobench_core::driver::versions::Granted;

use super::super::manifest::Manifest;
use super::Bench;
use crate::config::{DeviceConfig, DeviceId};

impl Bench {
    /// Says which slices a version wants to observe and may not: it hears nothing of them, and cannot know that.
    pub(super) fn tell_not_granted(&self, id: &DeviceId, manifest: &Manifest) {
        let Some(slot) = self.devices.get(id) else { return };
        let refused: Vec<_> = (manifest.observes.iter())
            .filter(|slice| !is_granted(&slot.config, slice))
            .collect();
        if !refused.is_empty() {
            let message = format!(
                "{} {} wants to observe {refused:?}, which it is not granted: it is told nothing of that and cannot read it; \
                 if it may, add it to read-slices in [devices.{id}.grants]",
                manifest.name, manifest.version
            );
            self.log(LogLevel::Warn, Some(id), message);
        }
    }
}

/// What a device's entry in `plugins.toml` names.
pub(super) fn granted(config: &DeviceConfig) -> Granted {
    let DeviceConfig {
        ports,
        grants,
        limits,
        ..
    } = config;
    let bytes = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    Granted {
        ports: ports.keys().map(ToString::to_string).collect(),
        slices: grants.read_slices.iter().map(ToString::to_string).collect(),
        dangerous_commands: grants.dangerous_commands.iter().cloned().collect(),
        memory_bytes: bytes(limits.memory_bytes),
        slice_bytes: bytes(limits.slice_bytes),
    }
}

/// What a driver may read: what its manifest observes and the configuration grants.
pub(super) fn readable_slices(config: &DeviceConfig, manifest: &Manifest) -> Arc<[Arc<str>]> {
    let observed = manifest.observes.iter();
    observed
        .filter(|slice| is_granted(config, slice))
        .map(|slice| slice.as_str().into())
        .collect()
}

fn is_granted(config: &DeviceConfig, slice: &str) -> bool {
    let mut granted = config.grants.read_slices.iter();
    granted.any(|granted| granted.as_str() == slice)
}
