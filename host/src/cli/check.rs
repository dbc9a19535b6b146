//! `autobench check-config`.

use std::path::Path;

use serde_json::json;

use super::plugin::ask;
use super::{Announcer, Failure, drawn};
use crate::config::{
    BenchConfig, ConfigErrors, ConfigLoader, Environment, Overrides, Place, PortSource, Problem, Weight,
};

pub(super) fn check(file: &Path, environment: Environment, json: bool) -> Result<(), Failure> {
    let config = ConfigLoader::new(file, environment, Overrides::default()).load()?;
    let told = ask(&config, config.devices.values())?;
    if !told.is_empty() {
        let misfit = |message| Problem {
            weight: Weight::Error,
            code: "misfit",
            place: Place::File(file.to_owned()),
            message,
            hint: None,
        };
        let problems = config.warnings.into_iter().chain(told.into_iter().map(misfit));
        return Err(Failure::Config(ConfigErrors {
            problems: problems.collect(),
            sources: Vec::new(),
        }));
    }
    if !json {
        eprint!("{}", drawn(&config.warnings, &[]));
    }
    let event = json!({
        "event": "config",
        "ok": true,
        "problems": config.warnings.iter().map(Problem::to_json).collect::<Vec<_>>(),
        "listen": config.daemon.listen.to_string(),
        "devices": config.devices.keys().collect::<Vec<_>>(),
    });
    Announcer::new(json).tell(&event, &summary(file, &config));
    Ok(())
}

/// The bench in a few lines.
fn summary(file: &Path, config: &BenchConfig) -> String {
    let mut text = format!(
        "{} is good.\nThe daemon would listen on {}",
        file.display(),
        config.daemon.listen
    );
    if config.devices.is_empty() {
        text.push_str(", without a device.");
    }
    for device in config.devices.values() {
        text.push_str(&format!(
            "\n{}: plugin {}, slice {}",
            device.id, device.plugin, device.slice
        ));
        for (name, port) in &device.ports {
            text.push_str(&format!(", port {name} on {}", source(&port.source)));
        }
    }
    text
}

fn source(source: &PortSource) -> String {
    match source {
        PortSource::Path(path) => path.display().to_string(),
        PortSource::Usb {
            vendor,
            product,
            serial,
        } => {
            let serial = serial
                .as_ref()
                .map(|serial| format!(":{serial}"))
                .unwrap_or_default();
            format!("USB {vendor:04x}:{product:04x}{serial}")
        }
        PortSource::Sim(sim) => format!("a simulated {}", sim.emulator.device().as_str()),
    }
}
