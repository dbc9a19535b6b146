//! The emulators behind a device's simulated ports.

use std::path::{Path, PathBuf};

use autobench_sim::wattsup;

use super::Simulated;
use crate::config::{DeviceConfig, PortSource, SimDevice, SimSpec};

/// Starts one for each port that says `sim`.
pub(super) fn start_emulators(
    config: &DeviceConfig,
    data_dir: &Path,
) -> Result<Vec<(Simulated, wattsup::Emulator)>, String> {
    let mut emulators = Vec::new();
    for (port, port_config) in &config.ports {
        let PortSource::Sim(spec) = &port_config.source else {
            continue;
        };
        let folder = data_dir.join("sim");
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        let link = folder.join(format!("{}-{port}", config.id));
        emulators.push(start_emulator(config, port.as_str(), spec, link)?);
    }
    Ok(emulators)
}

fn start_emulator(
    config: &DeviceConfig,
    port: &str,
    spec: &SimSpec,
    link: PathBuf,
) -> Result<(Simulated, wattsup::Emulator), String> {
    let SimDevice::WattsUp = spec.device;
    let options = wattsup::Options {
        seed: spec.seed,
        speed: spec.speed,
        faults: spec.faults.clone(),
        ..wattsup::Options::new(&link)
    };
    let emulator = wattsup::Emulator::start(options)
        .map_err(|error| format!("the emulator behind the port {port}: {error}"))?;
    let simulated = Simulated {
        device: config.id.to_string(),
        port: port.to_owned(),
        link,
        seed: emulator.seed(),
    };
    Ok((simulated, emulator))
}
