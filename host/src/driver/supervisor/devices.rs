//! A device's life: published, started with its ports and emulators, stopped.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use autobench_core::driver::{
    LineSettings, LogLevel, PortAction, PortIndex, PortSetup, SharedInbox, StopReason, ring_capacity_bytes,
};
use autobench_core::state::OFFERED_MEMBERS;
use autobench_core::wire::{DeviceEntry, DeviceStatus, DriverEntry, PortEntry, SeriesEntry};

use super::super::alarms::Alarms;
use super::super::device::{Device, DeviceParts};
use super::super::fit::fit;
use super::super::host_state::ReadSlices;
use super::super::inbox_feed::{InboxFeed, overrun_lines};
use super::super::leases::{JournalPort, LeaseJournal, UndoFeed, UndoneHolds, left_of};
use super::super::loader::Prepared;
use super::super::manifest::{Manifest, Series};
use super::super::record::DeviceRecord;
use super::super::shadow;
use super::super::sink::{DeviceSink, LogBudget};
use super::grants::{granted, readable_slices};
use super::{Bench, Slot};
use crate::config::{DeviceConfig, DeviceId, PortConfig, PortSource};
use crate::hub::EndpointInfo;
use crate::logs::LogRecord;
use crate::serial::{DisplayLine, Port, PortSettings, Recorder, Withholding};
use crate::state::StateHandle;

/// The alarm of a device of which an earlier run has held something that nobody undoes.
const HOLD_NOT_UNDONE: &str = "hold-not-undone";

impl Bench {
    /// Publishes a device and starts its driver if there is a version for it.
    pub(super) async fn add_device(&mut self, config: DeviceConfig) {
        let id = config.id.clone();
        let plugin: Arc<str> = config.plugin.as_str().into();
        let entry = DeviceEntry {
            kind: config.plugin.to_string(),
            plugin: config.plugin.to_string(),
            slice: config.slice.to_string(),
            status: DeviceStatus::Starting,
            reason: None,
            phase: None,
            driver: None,
            ports: config
                .ports
                .keys()
                .map(|name| (name.to_string(), PortEntry::default()))
                .collect(),
            series: BTreeMap::new(),
            last_seen: None,
            stale_since: None,
        };
        let record = DeviceRecord::publish(self.services.state.clone(), id.as_str(), entry);
        let slot = Slot {
            config,
            record,
            device: None,
            running: None,
            emulators: Vec::new(),
            undoing: Vec::new(),
        };
        let granted = granted(&slot.config);
        let dangerous = &slot.config.grants.dangerous_commands;
        self.services
            .commands
            .add_device(id.as_str(), slot.record.clone(), dangerous);
        self.records.lock().insert(id.clone(), slot.record.clone());
        self.devices.insert(id.clone(), slot);
        let name: Arc<str> = id.as_str().into();
        let record = self.shelf.record(&name);
        self.versions.device_added(&name, &plugin, record, granted);
        self.act().await;
    }

    /// Starts the driver of a device, and says why not if that does not go.
    pub(super) fn start_driver(&mut self, id: &DeviceId, prepared: &Arc<Prepared>) -> Result<(), String> {
        let Some(slot) = self.devices.get(id) else {
            return Ok(());
        };
        let started = fit(&slot.config, &prepared.manifest).and_then(|()| self.start_parts(id, prepared));
        match &started {
            Ok(()) => {
                self.describe_series(id, &prepared.manifest);
                self.adopt_limits(id, prepared);
                self.tell_not_granted(id, &prepared.manifest);
                if let Some(slot) = self.devices.get_mut(id) {
                    slot.running = Some(Arc::clone(prepared));
                }
            }
            Err(reason) => {
                self.log(
                    LogLevel::Error,
                    Some(id),
                    format!("driver is not started: {reason}"),
                );
            }
        }
        started
    }

    fn start_parts(&mut self, id: &DeviceId, prepared: &Arc<Prepared>) -> Result<(), String> {
        let endpoints = self.register_series(id, &prepared.manifest);
        let services = self.services.clone();
        let sysfs_root = self.config.daemon.sysfs_root.clone();
        let data_dir = self.config.daemon.data_dir.clone();
        let slot = self.devices.get_mut(id).ok_or("it is not configured")?;
        // Its own ports take over what these have not written.
        slot.undoing.clear();
        slot.emulators = self.pc.start_emulators(&slot.config, &self.config)?;
        let device: Arc<str> = id.as_str().into();
        let health = Arc::clone(slot.record.health());
        let first_generation = self.generations.get(id).copied().unwrap_or(0);
        slot.record.change(|entry| {
            entry.kind.clone_from(&prepared.manifest.device_type);
            entry.status = DeviceStatus::Starting;
            entry.reason = None;
            entry.series = series_entries(&prepared.manifest, &endpoints);
            let (last_reload, last_fault) = match entry.driver.take() {
                Some(driver) => (driver.last_reload, driver.last_fault),
                None => (None, None),
            };
            entry.driver = Some(DriverEntry {
                sha256: prepared.hash.to_string(),
                version: prepared.manifest.version.clone(),
                generation: first_generation,
                health: health.members(),
                last_reload,
                last_fault,
            });
        });

        let lines: Vec<_> = prepared
            .manifest
            .ports
            .iter()
            .filter_map(|wish| {
                let (name, config) = slot
                    .config
                    .ports
                    .iter()
                    .find(|(name, _)| name.as_str() == wish.name)?;
                Some((name, config, config.line.over(wish.line)))
            })
            .collect();
        let inbox = SharedInbox::new(lines.iter().map(|(name, _, line)| PortSetup {
            name: name.as_str().into(),
            // Ten bits travel for each byte of 8N1; other framings differ by little.
            ring_capacity_bytes: ring_capacity_bytes(
                usize::try_from(line.baud_rate / 10).unwrap_or(usize::MAX),
            ),
        }));
        health.watch(Some(inbox.clone()));
        let journal_ports = lines.iter().map(|(name, config, line)| JournalPort {
            name: name.as_str().into(),
            line: config.source.to_string(),
            settings: Some(*line),
        });
        let (leases, earlier) =
            LeaseJournal::open(&data_dir.join("leases"), id.as_str(), journal_ports.collect());
        for problem in &earlier.problems {
            let line = LogRecord::new("device", LogLevel::Error, problem.clone());
            services.logs.append(line.of_device(&*device));
        }
        let withholding = Arc::<Withholding>::default();
        let mut ports = Vec::with_capacity(lines.len());
        for (index, (name, config, line)) in lines.into_iter().enumerate() {
            let name: Arc<str> = name.as_str().into();
            let simulated = slot
                .emulators
                .iter()
                .find(|(simulated, _)| simulated.port == *name)
                .map(|(simulated, _)| simulated.link.clone());
            let settings = PortSettings {
                simulated,
                ..port_settings(&device, &name, config, line, &sysfs_root)
            };
            // A bench without a capture is a bench all the same.
            let recorder = config.capture.clone().and_then(|capture| {
                let path = capture.path.clone();
                let withheld = Arc::clone(&withholding);
                let started = Recorder::start(capture, &device, &name, line, services.clock, withheld);
                if let Err(error) = &started {
                    tracing::error!(channel = "device", tag = %device, "port {name} is not captured: {}: {error}", path.display());
                }
                started.ok()
            });
            let feed = InboxFeed {
                inbox: inbox.clone(),
                port: PortIndex(index),
                name,
                device: Arc::clone(&device),
                record: slot.record.clone(),
                logs: services.logs.clone(),
                holds: UndoneHolds {
                    journal: leases.clone(),
                    device: Arc::clone(&device),
                    logs: services.logs.clone(),
                },
                health: Arc::clone(&health),
                clock: services.clock,
                overruns: overrun_lines(),
            };
            ports.push(
                Port::start(settings, Box::new(feed), recorder)
                    .map_err(|error| format!("a thread cannot be started: {error}"))?,
            );
        }
        // Before the driver lives, so before anything else is written.
        for (lease, _) in earlier.to_undo {
            if let Some(port) = ports.get(lease.port.0) {
                port.control().perform(PortAction::Undo(lease));
            }
        }
        let mut sink = DeviceSink {
            device: Arc::clone(&device),
            slice: slot.config.slice.as_str().into(),
            state: services.state.clone(),
            record: slot.record.clone(),
            hub: services.hub.clone(),
            logs: services.logs.clone(),
            commands: services.commands.of_device(&device),
            alarms: Alarms::new(device),
            former_alarms: None,
            ports: ports.iter().map(|port| port.control().clone()).collect(),
            leases,
            endpoints,
            version: prepared.version(),
            lives: self.lives.clone(),
            health,
            clock: services.clock,
            dumps: data_dir.join("dumps"),
            withholding: Arc::clone(&withholding),
            first_generation,
            batches: Vec::new(),
            inbox: inbox.clone(),
            observing: None,
            unsent: None,
            tap: None,
            log_budget: LogBudget::new(Instant::now()),
        };
        if let Some(problem) = earlier.problems.first() {
            sink.raise(HOLD_NOT_UNDONE, problem.clone());
        }
        let parts = DeviceParts {
            engine: Arc::clone(self.loader.engine()),
            prepared: Arc::clone(prepared),
            settings: slot.config.settings.to_string().into(),
            memory_limit_bytes: slot.config.limits.memory_bytes,
            readable_slices: readable_slices(&slot.config, &prepared.manifest),
            slices: Arc::new(StateSlices(services.state.clone())),
            inbox,
            ports,
            sink,
        };
        let commands = parts.sink.commands.clone();
        // Before the driver runs: once its entry says so, commands find it.
        let table = Arc::clone(&prepared.commands);
        services
            .commands
            .attach(id.as_str(), parts.inbox.clone(), table, withholding);
        let started = Device::start(parts).map_err(|error| {
            commands.down("the driver could not be started", true);
            format!("a thread cannot be started: {error}")
        });
        let driver = started?;
        let running = shadow::Running {
            tapper: driver.tapper(),
            loader: self.loader.clone(),
            clock: services.clock,
            file: self
                .config
                .daemon
                .plugins_dir
                .join(format!("{}.wasm", slot.config.plugin)),
            granted_slices: slot
                .config
                .grants
                .read_slices
                .iter()
                .map(ToString::to_string)
                .collect(),
        };
        services.shadow_runs.attach(id.as_str(), running);
        slot.device = Some(driver);
        Ok(())
    }

    /// Writes what undoes the holds of an earlier run to the ports of a device whose driver does not run, and nothing else. They are open until it does.
    pub(super) fn undo_alone(&mut self, id: &DeviceId) {
        let sysfs_root = self.config.daemon.sysfs_root.clone();
        let folder = self.config.daemon.data_dir.join("leases");
        let services = self.services.clone();
        let Some(slot) = self.devices.get_mut(id) else {
            return;
        };
        let ports = slot.config.ports.iter().map(|(name, config)| JournalPort {
            name: name.as_str().into(),
            line: config.source.to_string(),
            settings: None,
        });
        let (journal, earlier) = LeaseJournal::open(&folder, id.as_str(), ports.collect());
        let device: Arc<str> = id.as_str().into();
        let holds = UndoneHolds {
            journal,
            device: Arc::clone(&device),
            logs: services.logs.clone(),
        };
        let log = |message: String| {
            let line = LogRecord::new("device", LogLevel::Error, message);
            services.logs.append(line.of_device(&*device));
        };
        earlier.problems.into_iter().for_each(log);
        for (index, (name, config)) in slot.config.ports.iter().enumerate() {
            let its = earlier.to_undo.iter().filter(|(lease, _)| lease.port.0 == index);
            let its: Vec<_> = its.cloned().collect();
            // Emulators run for drivers alone; one that runs anew holds nothing.
            let line = its.iter().find_map(|(_, line)| *line);
            let (Some(line), PortSource::Path(_) | PortSource::Usb { .. }) = (line, &config.source) else {
                continue;
            };
            let name: Arc<str> = name.as_str().into();
            let settings = port_settings(&device, &name, config, config.line.over(line), &sysfs_root);
            let holds = holds.clone();
            match Port::start(settings, Box::new(UndoFeed { name, holds }), None) {
                Ok(port) => {
                    for (lease, _) in its {
                        port.control().perform(PortAction::Undo(lease));
                    }
                    slot.undoing.push(port);
                }
                Err(error) => log(format!(
                    "a thread cannot be started ({error}): holds of an earlier run are not undone"
                )),
            }
        }
    }

    /// The numbers of a manifest's series. One that the hub does not know yet is made known; the names and units of the others stay those of
    /// the version that runs, until another one does.
    pub(super) fn register_series(&mut self, id: &DeviceId, manifest: &Manifest) -> Vec<u32> {
        let known: Vec<u32> = self
            .services
            .hub
            .endpoints()
            .iter()
            .map(|endpoint| endpoint.id)
            .collect();
        let numbers: Vec<u32> = manifest
            .series
            .iter()
            .map(|series| self.endpoints.number(id.as_str(), &series.name))
            .collect();
        for (series, number) in manifest
            .series
            .iter()
            .zip(&numbers)
            .filter(|(_, number)| !known.contains(number))
        {
            self.services.hub.register_endpoint(endpoint(id, series, *number));
        }
        numbers
    }

    /// Gives the series the names and units of the version that runs now.
    pub(super) fn describe_series(&mut self, id: &DeviceId, manifest: &Manifest) {
        for series in &manifest.series {
            let number = self.endpoints.number(id.as_str(), &series.name);
            self.services.hub.register_endpoint(endpoint(id, series, number));
        }
    }

    /// Gives the slice the size that a version asks for, within what the configuration allows.
    pub(super) fn limit_slice(&self, id: &DeviceId, prepared: &Prepared) {
        let Some(slot) = self.devices.get(id) else { return };
        let granted = slot.config.limits.slice_bytes;
        let asked = prepared
            .manifest
            .slice_bytes
            .and_then(|bytes| usize::try_from(bytes).ok());
        let limit_bytes = asked.map_or(granted, |asked| asked.min(granted));
        self.services
            .state
            .update(|store| store.set_limit(slot.config.slice.as_str(), limit_bytes));
    }

    /// Takes in what the version that runs now asks for.
    pub(super) fn adopt_limits(&self, id: &DeviceId, prepared: &Prepared) {
        self.limit_slice(id, prepared);
        let Some(slot) = self.devices.get(id) else { return };
        for wish in &prepared.manifest.ports {
            let former = slot
                .running
                .as_ref()
                .and_then(|running| running.manifest.ports.iter().find(|port| port.name == wish.name));
            if former.is_some_and(|former| former.line != wish.line) {
                let message = format!(
                    "the new version wants port {} at {}; that takes effect when the line is opened next",
                    wish.name,
                    DisplayLine(wish.line)
                );
                self.log(LogLevel::Warn, Some(id), message);
            }
        }
    }

    /// Stops the driver of a device; the device stays configured, its slice stays and is marked stale. An offered member is as by default again: clients
    /// read it without a look at whose it is, so what nobody keeps up to date must not stand there.
    pub(super) async fn stop_driver(&mut self, id: &DeviceId, reason: StopReason) {
        let Some(slot) = self.devices.get_mut(id) else {
            return;
        };
        let device = slot.device.take();
        self.services.shadow_runs.detach(id.as_str());
        slot.running = None;
        slot.undoing.clear();
        slot.record.health().watch(None);
        let record = slot.record.clone();
        if let Some(generation) = record.read(|entry| entry.driver.as_ref().map(|driver| driver.generation)) {
            self.generations.insert(id.clone(), generation);
        }
        let emulators = std::mem::take(&mut slot.emulators);
        let stopped = tokio::task::spawn_blocking(move || {
            if let Some(device) = device {
                device.stop(reason);
            }
            // Ports are closed now, whatever their devices do.
            record.change(|entry| entry.ports.values_mut().for_each(|port| port.attached = false));
            for (simulated, emulator) in emulators {
                if let Err(error) = emulator.stop(&simulated) {
                    tracing::warn!(channel = "device", tag = %simulated.device, "the emulator ended badly: {error}");
                }
            }
        });
        if let Err(error) = stopped.await {
            self.log(
                LogLevel::Error,
                Some(id),
                format!("its driver ended badly: {error}"),
            );
        }
        self.lives.forget(id.as_str());
        if let Some(slot) = self.devices.get(id)
            && OFFERED_MEMBERS.contains(&slot.config.slice.as_str())
        {
            // It is no member of the host, and that is all that is asked.
            let _ = self.services.state.remove_member(slot.config.slice.as_str());
        }
    }

    pub(super) async fn stop_device(&mut self, id: &DeviceId, reason: StopReason) {
        self.stop_driver(id, reason).await;
        let left = left_of(&self.config.daemon.data_dir.join("leases"), id.as_str());
        if left > 0 && reason != StopReason::Reconfigured {
            let message = format!(
                "{left} of its holds could not be undone before its ports were closed; the next start with this device does it"
            );
            self.log(LogLevel::Error, Some(id), message);
        }
        self.devices.remove(id);
        self.services.commands.remove_device(id.as_str());
        self.records.lock().remove(id);
        self.versions.device_removed(id.as_str());
    }
}

/// How a port is opened, other than an emulator's.
fn port_settings(
    device: &Arc<str>,
    name: &Arc<str>,
    config: &PortConfig,
    line: LineSettings,
    sysfs_root: &Path,
) -> PortSettings {
    PortSettings {
        device: Arc::clone(device),
        name: Arc::clone(name),
        source: config.source.clone(),
        simulated: None,
        line,
        dtr: config.dtr,
        rts: config.rts,
        hangup_on_close: config.hangup_on_close,
        exclusive: config.exclusive,
        sysfs_root: sysfs_root.to_owned(),
    }
}

/// Reads slices for drivers.
struct StateSlices(StateHandle);

impl ReadSlices for StateSlices {
    fn read(&self, slice: &str) -> Option<String> {
        let bytes = self.0.slice_bytes(slice)?;
        String::from_utf8(bytes.into()).ok()
    }
}

fn endpoint(id: &DeviceId, series: &Series, number: u32) -> EndpointInfo {
    EndpointInfo {
        id: number,
        name: format!("{id}.{}", series.name),
        unit: series.unit.clone(),
        kind: series.kind,
    }
}

pub(super) fn series_entries(manifest: &Manifest, endpoints: &[u32]) -> BTreeMap<String, SeriesEntry> {
    manifest
        .series
        .iter()
        .zip(endpoints)
        .map(|(series, endpoint)| {
            let entry = SeriesEntry {
                endpoint_id: *endpoint,
                unit: series.unit.clone(),
                kind: series.kind,
            };
            (series.name.clone(), entry)
        })
        .collect()
}
