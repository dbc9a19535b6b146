//! `autobench plugin list`: the members `plugins` and `devices` of the state, put together.

use std::collections::BTreeMap;

use anyhow::Context;
use autobench_core::wire::{DeviceEntry, LastReload, PluginEntry};
use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::printable;
use crate::cli::Announcer;
use crate::cli::api::{Api, DaemonArguments};

/// `autobench plugin list`.
#[derive(Debug, Args, PartialEq)]
pub struct ListArguments {
    /// Which daemon.
    #[command(flatten)]
    pub daemon: DaemonArguments,
}

type Plugins = BTreeMap<String, PluginEntry>;
type Devices = BTreeMap<String, DeviceEntry>;

pub(super) fn list(arguments: &ListArguments, token: Option<&str>, json: bool) -> anyhow::Result<()> {
    let api = Api::new(&arguments.daemon, token)?;
    let plugins: Plugins = member(&api, "/api/v1/plugins")?;
    let devices: Devices = member(&api, "/api/v1/devices")?;
    let announcer = Announcer::new(json);
    if plugins.is_empty() && !json {
        announcer.tell(&Value::Null, "There is no plugin.");
    }
    for (stem, plugin) in &plugins {
        announcer.tell(
            &as_json(stem, plugin, &devices),
            &printable(&as_text(plugin, &devices)),
        );
    }
    Ok(())
}

fn member<T: DeserializeOwned>(api: &Api, path: &str) -> anyhow::Result<T> {
    serde_json::from_value(api.get(path)?)
        .context("the daemon answers something else than this autobench knows")
}

fn as_json(stem: &str, plugin: &PluginEntry, devices: &Devices) -> Value {
    let devices: Vec<Value> = bound(plugin, devices)
        .map(|(id, device)| {
            let driver = device.driver.as_ref();
            json!({
                "device": id,
                "status": device.status,
                "reason": device.reason,
                "version": driver.map(|driver| &driver.version),
                "sha256": driver.map(|driver| &driver.sha256),
                "generation": driver.map(|driver| driver.generation),
                "lastReload": driver.and_then(|driver| driver.last_reload.as_ref()),
            })
        })
        .collect();
    json!({
        "event": "plugin",
        "plugin": stem,
        "file": plugin.file,
        "version": plugin.version,
        "sha256": plugin.sha256,
        "status": plugin.status,
        "reason": plugin.reason,
        "waiting": plugin.waiting,
        "devices": devices,
    })
}

/// A line for the plugin, and one for each device that is bound to it.
fn as_text(plugin: &PluginEntry, devices: &Devices) -> String {
    let mut text = format!("{}  {}", plugin.file, word(&plugin.status));
    if !plugin.sha256.is_empty() {
        text.push_str(&format!("  {}", short(&plugin.sha256)));
    }
    // The version in words is of what the manifest describes: what runs, if anything does.
    if let Some(version) = &plugin.version {
        text.push_str(&format!("  version {version}"));
    }
    if let Some(reason) = &plugin.reason {
        text.push_str(&format!("\n  {reason}"));
    }
    for (id, device) in bound(plugin, devices) {
        text.push_str(&format!("\n  {id}  {}", word(&device.status)));
        if let Some(driver) = &device.driver {
            text.push_str(&format!(
                "  {} (version {}), generation {}",
                short(&driver.sha256),
                driver.version,
                driver.generation
            ));
            if let Some(reload) = &driver.last_reload {
                text.push_str(&format!("; {}", reloaded(reload)));
            }
        }
        if let Some(reason) = &device.reason {
            text.push_str(&format!(": {reason}"));
        }
    }
    text
}

fn reloaded(reload: &LastReload) -> String {
    let to = reload
        .to
        .as_deref()
        .map(|to| format!(" {}", short(to)))
        .unwrap_or_default();
    let reason = reload
        .reason
        .as_ref()
        .map(|reason| format!(" ({reason})"))
        .unwrap_or_default();
    format!("last reload {}: {}{to}{reason}", reload.at, word(&reload.verdict))
}

fn bound<'a>(
    plugin: &'a PluginEntry,
    devices: &'a Devices,
) -> impl Iterator<Item = (&'a String, &'a DeviceEntry)> {
    plugin.devices.iter().filter_map(|id| devices.get_key_value(id))
}

/// The first twelve digits, as in the log.
fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// A status by its name on the wire.
fn word(status: &impl serde::Serialize) -> String {
    match serde_json::to_value(status) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench() -> (Plugins, Devices) {
        let plugins = json!({"counter": {
            "file": "counter.wasm", "sha256": "ab".repeat(32), "version": "1.0.0", "status": "refused",
            "reason": "on probe: no", "devices": ["probe"],
        }});
        let devices = json!({"probe": {
            "type": "counter", "plugin": "counter", "slice": "probe", "status": "running", "ports": {}, "series": {},
            "driver": {"sha256": "cd".repeat(32), "version": "1.0.0", "generation": 3, "health": {},
                "lastReload": {"at": "2026-01-01T00:00:00.000Z", "verdict": "refused", "to": "ab".repeat(32), "reason": "no"}},
        }});
        (
            serde_json::from_value(plugins).unwrap(),
            serde_json::from_value(devices).unwrap(),
        )
    }

    #[test]
    fn a_plugin_is_shown_with_what_runs_and_what_came_of_its_file() {
        let (plugins, devices) = bench();
        assert_eq!(
            as_text(&plugins["counter"], &devices),
            "counter.wasm  refused  abababababab  version 1.0.0\n  on probe: no\n  probe  running  cdcdcdcdcdcd (version 1.0.0), \
             generation 3; last reload 2026-01-01T00:00:00.000Z: refused abababababab (no)"
        );
        let value = as_json("counter", &plugins["counter"], &devices);
        assert_eq!(value["plugin"], "counter");
        assert_eq!(value["devices"][0]["generation"], 3);
        assert_eq!(value["devices"][0]["lastReload"]["verdict"], "refused");
    }
}
