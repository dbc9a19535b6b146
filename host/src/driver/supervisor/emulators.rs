//! The emulators behind simulated ports: meters of their own, and the one PC whose devices several ports are.

use std::io;
use std::path::{Path, PathBuf};

use autobench_sim::bench::{self, Faults};
use autobench_sim::wattsup;

use super::Simulated;
use crate::config::{BenchConfig, DeviceConfig, PortSource, SimEmulator};

/// What is behind a port.
pub(super) enum Emulator {
    /// A power meter, which ends with its device.
    Meter(wattsup::Emulator),
    /// A device of the simulated PC, which goes on: real boards keep their state while nobody has their port open, too.
    OfPc,
}

/// The PC that the daemon simulates once a device of it is asked for, until the daemon ends.
#[derive(Default)]
pub(super) struct SimulatedPc(Option<bench::Bench>);

impl Emulator {
    /// Ends it, and takes away its link: one that is left behind points at a terminal that may be somebody else's by then.
    pub(super) fn stop(self, simulated: &Simulated) -> io::Result<()> {
        if let Self::Meter(meter) = self {
            meter.stop()?;
            std::fs::remove_file(&simulated.link)?;
        }
        Ok(())
    }
}

impl SimulatedPc {
    /// Starts the emulators of a device: one for each port that says `sim`.
    pub(super) fn start_emulators(
        &mut self,
        config: &DeviceConfig,
        all: &BenchConfig,
    ) -> Result<Vec<(Simulated, Emulator)>, String> {
        let mut emulators = Vec::new();
        for (port, port_config) in &config.ports {
            let PortSource::Sim(spec) = &port_config.source else {
                continue;
            };
            let folder = all.daemon.data_dir.join("sim");
            let told = |error: io::Error| format!("the emulator behind the port {port}: {error}");
            std::fs::create_dir_all(&folder)
                .map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
            let (link, seed, emulator) = match &spec.emulator {
                SimEmulator::WattsUp(faults) => {
                    let options = wattsup::Options {
                        seed: spec.seed,
                        speed: spec.speed.unwrap_or(1.0),
                        faults: faults.clone(),
                        ..wattsup::Options::new(folder.join(format!("{}-{port}", config.id)))
                    };
                    let meter = wattsup::Emulator::start(options).map_err(told)?;
                    (meter.link().to_owned(), meter.seed(), Emulator::Meter(meter))
                }
                SimEmulator::OfPc(faults) => {
                    let (link, seed) = self.device(faults, all, &folder).map_err(told)?;
                    (link, seed, Emulator::OfPc)
                }
            };
            let simulated = Simulated {
                device: config.id.to_string(),
                port: port.to_string(),
                link,
                seed,
            };
            emulators.push((simulated, emulator));
        }
        Ok(emulators)
    }

    /// A device of the PC, with its faults.
    fn device(&mut self, faults: &Faults, all: &BenchConfig, folder: &Path) -> io::Result<(PathBuf, u64)> {
        let pc = match &mut self.0 {
            Some(pc) => pc,
            none => none.insert(start_pc(all, folder)?),
        };
        pc.control().set_faults(faults.clone())?;
        let link = pc.link(faults.device()).map(Path::to_owned);
        let link = link.ok_or_else(|| io::Error::other("the simulated PC has no such device"))?;
        Ok((link, pc.seed()))
    }
}

/// Seed and speed stand at any one of its devices; where they stand at several, they are the same.
fn start_pc(all: &BenchConfig, folder: &Path) -> io::Result<bench::Bench> {
    let ports = all.devices.values().flat_map(|device| device.ports.values());
    let specs: Vec<_> = ports
        .filter_map(|port| match &port.source {
            PortSource::Sim(spec) if matches!(spec.emulator, SimEmulator::OfPc(_)) => Some(spec),
            _ => None,
        })
        .collect();
    bench::Bench::start(bench::Options {
        seed: specs.iter().find_map(|spec| spec.seed),
        speed: specs.iter().find_map(|spec| spec.speed).unwrap_or(1.0),
        ..bench::Options::in_folder(folder)
    })
}
