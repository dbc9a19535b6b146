//! What the plugins say of a configuration: each is loaded as the daemon does it, and held against the entries that are bound to it.

use std::collections::BTreeMap;

use super::load::{Bench, Loaded};
use crate::config::{BenchConfig, DeviceConfig, PluginName, PortSource};
use crate::driver::misfits;

/// What keeps some devices from running, each with its device's name before it.
pub(in crate::cli) fn ask<'a>(
    config: &BenchConfig,
    devices: impl Iterator<Item = &'a DeviceConfig>,
) -> anyhow::Result<Vec<String>> {
    let mut plugins = BTreeMap::<&PluginName, anyhow::Result<Loaded>>::new();
    let bench = Bench::new()?;
    let mut problems = Vec::new();
    for device in devices {
        let loaded = plugins.entry(&device.plugin).or_insert_with(|| {
            let file = format!("{}.wasm", device.plugin);
            bench.load(&config.daemon.plugins_dir.join(file))
        });
        let of_plugin = match loaded {
            Ok(loaded) => misfits(device, &loaded.prepared.manifest),
            Err(error) => vec![format!("its plugin cannot run: {error:#}")],
        };
        let all = of_plugin.into_iter().chain(no_lines(device));
        problems.extend(all.map(|problem| format!("the device \"{}\": {problem}", device.id)));
    }
    Ok(problems)
}

/// A line may be away. What is there and can be none is a slip.
fn no_lines(device: &DeviceConfig) -> impl Iterator<Item = String> {
    device.ports.iter().filter_map(|(name, port)| {
        let PortSource::Path(path) = &port.source else {
            return None;
        };
        let kind = std::fs::metadata(path).ok()?.file_type();
        let what = match (kind.is_dir(), kind.is_file()) {
            (true, _) => "a folder",
            (_, true) => "a file",
            (false, false) => return None,
        };
        Some(format!(
            "{}, the line of its port {name}, is {what}; name a serial line, best one of /dev/serial/by-id",
            path.display()
        ))
    })
}
