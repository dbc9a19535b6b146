//! Whether what a device's entry in `plugins.toml` gives suits a version of its driver. What is said is for whoever wrote the entry.

use autobench_core::state::OFFERED_MEMBERS;

use super::arguments::{complaint, validator};
use super::manifest::Manifest;
use crate::config::DeviceConfig;

/// What keeps the version from being started on the device, if anything does. Its settings are for the driver itself to judge.
pub(super) fn fit(config: &DeviceConfig, manifest: &Manifest) -> Result<(), String> {
    wrong_slice(config, manifest)
        .into_iter()
        .chain(missing_ports(config, manifest))
        .chain(unknown_ports(config, manifest))
        .next()
        .map_or(Ok(()), Err)
}

/// Everything about an entry that does not suit the version, its settings held against the schema that the driver gives for them.
pub fn misfits(config: &DeviceConfig, manifest: &Manifest) -> Vec<String> {
    wrong_slice(config, manifest)
        .into_iter()
        .chain(missing_ports(config, manifest))
        .chain(unknown_ports(config, manifest))
        .chain(wrong_settings(config, manifest))
        .collect()
}

fn wrong_slice(config: &DeviceConfig, manifest: &Manifest) -> Option<String> {
    let slice = config.slice.as_str();
    (OFFERED_MEMBERS.contains(&slice) && manifest.slice != slice).then(|| {
        format!(
            "the member {slice:?} is of a type of its own, and only for drivers whose manifest names it as their slice; \
             write another slice in [devices.{}]",
            config.id
        )
    })
}

fn missing_ports(config: &DeviceConfig, manifest: &Manifest) -> impl Iterator<Item = String> {
    let missing = manifest
        .ports
        .iter()
        .filter(|wish| wish.required && !config.ports.keys().any(|name| name.as_str() == wish.name));
    missing.map(|wish| {
        format!(
            "it needs the port {0:?} ({1}); write [devices.{2}.ports.{0}] with path, usb or sim",
            wish.name, wish.description, config.id
        )
    })
}

fn unknown_ports(config: &DeviceConfig, manifest: &Manifest) -> impl Iterator<Item = String> {
    let unknown = config
        .ports
        .keys()
        .filter(|name| !manifest.ports.iter().any(|wish| wish.name == name.as_str()));
    unknown.map(|name| {
        let known: Vec<&str> = manifest.ports.iter().map(|wish| wish.name.as_str()).collect();
        format!(
            "[devices.{}.ports.{name}] names a port that {} does not have; it has {}",
            config.id,
            manifest.name,
            if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            }
        )
    })
}

fn wrong_settings(config: &DeviceConfig, manifest: &Manifest) -> Option<String> {
    let schema = validator(manifest.settings_schema.as_ref()?).ok()?;
    let complaint = complaint(&schema, &config.settings, "the settings")?;
    Some(format!(
        "its settings are refused: {complaint}; correct [devices.{}.settings]",
        config.id
    ))
}
