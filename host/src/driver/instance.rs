//! A live instance of a driver: one store, entered by one call at a time, dropped after the first fault.

use std::sync::Arc;

use autobench_core::driver::{
    CallTime, Effects, Event, Fault, Guest, PortIndex, Refusal, Snapshot, StartInput, StartReason, StopReason,
};
use wasmtime::{Store, UpdateDeadline};

use super::bindings::exports::autobench::driver::guest;
use super::bindings::{Driver, DriverPre};
use super::convert;
use super::core_dump::CoreDumps;
use super::engine::{CallGate, Engine};
use super::fault;
use super::host_state::{HostState, KeepsHolds, Mode, Rights};
use super::limits::Deadline;
use super::manifest::Manifest;
use super::offline::Sampler;

/// Largest snapshot.
const SNAPSHOT_LIMIT_BYTES: usize = 1 << 20;

/// Bytes that one host call may copy out of the guest. A snapshot comes back as one result, so it has to fit beside its marks.
const COPY_LIMIT_BYTES: usize = SNAPSHOT_LIMIT_BYTES + (64 << 10);

/// A driver that runs.
pub struct Instance {
    store: Store<HostState>,
    driver: Driver,
    gate: CallGate,
    port_names: Vec<Arc<str>>,
    core_dumps: Option<CoreDumps>,
}

impl Instance {
    /// Makes an instance that serves a device.
    pub fn new(
        engine: &Engine,
        pre: &DriverPre<HostState>,
        rights: Rights,
        memory_limit_bytes: usize,
    ) -> Result<Self, Fault> {
        let port_names = rights.ports.iter().map(|port| Arc::clone(port.name())).collect();
        let deadline = Deadline::COLD_START;
        Self::instantiate(
            engine,
            pre,
            Mode::Live(rights),
            memory_limit_bytes,
            port_names,
            deadline,
        )
    }

    /// An instance that has been asked once what it is, so that its memory is there and its code has run, and that serves nobody yet.
    pub fn warm(
        engine: &Engine,
        pre: &DriverPre<HostState>,
        memory_limit_bytes: usize,
    ) -> Result<Self, Fault> {
        let fresh = || {
            let (mode, limit) = (Mode::Describe, memory_limit_bytes);
            Self::instantiate(engine, pre, mode, limit, Vec::new(), Deadline::COLD_START)
        };
        let mut instance = fresh()?;
        // What it answers was looked at when it was loaded. If it cannot any more, one that was not asked starts.
        match instance.call_describe(Deadline::CALL) {
            Ok(_) => Ok(instance),
            Err(_) => fresh(),
        }
    }

    /// From here on it serves a device.
    pub fn serve(&mut self, rights: Rights) {
        self.port_names = rights.ports.iter().map(|port| Arc::clone(port.name())).collect();
        self.store.data_mut().serve(rights);
    }

    /// From here on what it holds is kept there.
    pub fn keep_holds_with(&mut self, holds: &Arc<dyn KeepsHolds>) {
        self.store.data_mut().keep_holds_with(holds);
    }

    /// Asks a component what it is, in a store that is thrown away, then twice in another one, and refuses one that does not give the same answer each
    /// time: one that counts in its memory is the same in each store that is new.
    pub fn describe(
        engine: &Engine,
        pre: &DriverPre<HostState>,
        memory_limit_bytes: usize,
    ) -> Result<(Manifest, Effects), Fault> {
        let deadline = Deadline::COLD_START;
        let ask = || {
            let (mode, limit) = (Mode::Describe, memory_limit_bytes);
            let mut instance = Self::instantiate(engine, pre, mode, limit, Vec::new(), deadline)?;
            let manifest = instance.call_describe(deadline)?;
            Ok((instance, manifest))
        };
        let (mut first, manifest) = ask()?;
        let (mut second, again) = ask()?;
        if manifest != again || manifest != second.call_describe(deadline)? {
            return Err(fault::contract(
                "describe",
                "it describes itself differently each time it is asked".to_owned(),
            ));
        }
        let effects = std::mem::take(&mut first.store.data_mut().effects);
        Ok((manifest, effects))
    }

    fn instantiate(
        engine: &Engine,
        pre: &DriverPre<HostState>,
        mode: Mode,
        memory_limit_bytes: usize,
        port_names: Vec<Arc<str>>,
        deadline: Deadline,
    ) -> Result<Self, Fault> {
        let mut store = Store::new(engine.wasmtime(), HostState::new(mode, memory_limit_bytes));
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(COPY_LIMIT_BYTES);
        store.epoch_deadline_callback(|mut context| {
            if let Some(sampler) = context.data().sampler.clone() {
                sampler.sample(&context);
            }
            Ok(if context.data_mut().watch.tick() {
                UpdateDeadline::Interrupt
            } else {
                UpdateDeadline::Continue(1)
            })
        });
        store.data_mut().begin_call(
            CallTime {
                monotonic_ns: 0,
                wall_ms: 0.0,
            },
            deadline,
        );
        store.set_epoch_deadline(1);
        let gate = engine.calls();
        let driver = {
            let _running = gate.enter();
            pre.instantiate(&mut store)
        };
        let core_dumps = engine.core_dumps().cloned();
        match driver {
            Ok(driver) => Ok(Self {
                store,
                driver,
                gate,
                port_names,
                core_dumps,
            }),
            Err(error) => Err(fault::of_call(
                &mut store,
                "instantiate",
                &error,
                core_dumps.as_ref(),
            )),
        }
    }

    fn call_describe(&mut self, deadline: Deadline) -> Result<Manifest, Fault> {
        let manifest = self.call(
            "describe",
            CallTime {
                monotonic_ns: 0,
                wall_ms: 0.0,
            },
            deadline,
            |driver, store| driver.autobench_driver_guest().call_describe(store),
        )?;
        Manifest::check(manifest).map_err(|problem| fault::contract("describe", problem))
    }

    /// Runs one call: readies the state, lets the ticker run, and names what went wrong.
    fn call<R>(
        &mut self,
        export: &'static str,
        time: CallTime,
        deadline: Deadline,
        call: impl FnOnce(&Driver, &mut Store<HostState>) -> wasmtime::Result<R>,
    ) -> Result<R, Fault> {
        self.store.data_mut().begin_call(time, deadline);
        self.store.set_epoch_deadline(1);
        let result = {
            let _running = self.gate.enter();
            call(&self.driver, &mut self.store)
        };
        let state = self.store.data_mut();
        state.end_lines();
        if let Some(rights) = state.rights() {
            rights.health.memory_bytes.set(state.memory.used_bytes() as u64);
            rights
                .health
                .memory_peak_bytes
                .raise_to(state.memory.peak_bytes() as u64);
        }
        result.map_err(|error| fault::of_call(&mut self.store, export, &error, self.core_dumps.as_ref()))
    }

    /// As [`Self::call`], with the caller's buffers for what the driver asks for.
    fn call_with_effects<R>(
        &mut self,
        export: &'static str,
        time: CallTime,
        deadline: Deadline,
        effects: &mut Effects,
        call: impl FnOnce(&Driver, &mut Store<HostState>) -> wasmtime::Result<R>,
    ) -> Result<R, Fault> {
        std::mem::swap(&mut self.store.data_mut().effects, effects);
        let result = self.call(export, time, deadline, call);
        std::mem::swap(&mut self.store.data_mut().effects, effects);
        result
    }
}

impl Instance {
    /// Lets somebody look what it is doing at each tick of the epoch.
    pub fn sample_with(&mut self, sampler: Sampler) {
        self.store.data_mut().sampler = Some(sampler);
    }
}

impl Guest for Instance {
    fn start(
        &mut self,
        input: &StartInput,
        time: CallTime,
        effects: &mut Effects,
    ) -> Result<Result<(), Refusal>, Fault> {
        let state = self.store.data_mut();
        state.own.timers = input.timers.iter().map(|timer| timer.0).collect();
        // Which port each is for only matters to one that is taken once more, for another.
        state.own.leases = input.leases.iter().map(|lease| (*lease, PortIndex(0))).collect();
        state.own.commands = input.commands.iter().map(|command| command.id.clone()).collect();
        let ports: Vec<_> = input
            .ports
            .iter()
            .map(|port| guest::PortState {
                name: &port.name,
                attached: port.attached,
                offset: port.offset,
            })
            .collect();
        let consumed: Vec<_> = input
            .snapshot
            .iter()
            .flat_map(|snapshot| &snapshot.consumed)
            .filter_map(|(port, consumed)| {
                Some(guest::PortMarkParam {
                    port: input.ports.get(port.0)?.name.as_ref(),
                    consumed: *consumed,
                })
            })
            .collect();
        let commands: Vec<_> = input
            .commands
            .iter()
            .map(|command| guest_command(command))
            .collect();
        let timers: Vec<_> = input.timers.iter().map(|timer| timer.0).collect();
        let leases: Vec<_> = input.leases.iter().map(|lease| lease.0).collect();
        let configuration = guest::Configuration {
            device: &input.device,
            reason: convert::start_reason(input.reason),
            settings: &input.settings,
            ports: &ports,
            slice: input.slice.as_deref(),
            snapshot: input
                .snapshot
                .as_ref()
                .map(|snapshot| guest::DriverSnapshotParam {
                    schema_version: snapshot.schema_version,
                    data: &snapshot.data,
                    consumed: &consumed,
                }),
            commands: &commands,
            timers: &timers,
            leases: &leases,
            attributes: &[],
        };
        let deadline = match input.reason {
            StartReason::Cold | StartReason::Restart => Deadline::COLD_START,
            StartReason::Swap | StartReason::Return => Deadline::SWAP_START,
        };
        let result = self.call_with_effects("start", time, deadline, effects, |driver, store| {
            driver.autobench_driver_guest().call_start(store, configuration)
        })?;
        Ok(result.map_err(convert::refusal))
    }

    fn handle(&mut self, event: &Event<'_>, time: CallTime, effects: &mut Effects) -> Result<(), Fault> {
        match event {
            Event::Timer(timer) => {
                self.store.data_mut().own.timers.remove(&timer.0);
            }
            Event::LeaseEnded { id, .. } => {
                self.store.data_mut().own.leases.remove(id);
            }
            Event::Command(command) => {
                self.store.data_mut().own.commands.insert(command.id.clone());
            }
            _ => {}
        }
        std::mem::swap(&mut self.store.data_mut().effects, effects);
        let result = if let Event::PortAttached {
            port,
            offset,
            identity,
        } = event
        {
            let attributes: Vec<_> = identity
                .attributes
                .iter()
                .map(|(key, value)| super::bindings::autobench::driver::types::AttributeParam { key, value })
                .collect();
            let identity = super::bindings::autobench::driver::serial::IdentityParam {
                path: &identity.path,
                usb_vendor_id: identity.usb_vendor_id,
                usb_product_id: identity.usb_product_id,
                serial_number: identity.serial_number.as_deref(),
                attributes: &attributes,
            };
            let name = self.port_names.get(port.0).cloned().unwrap_or_else(|| "".into());
            let event = guest::Event::PortAttached(guest::Attached {
                port: &name,
                offset: *offset,
                identity,
            });
            self.call("handle", time, Deadline::CALL, |driver, store| {
                driver.autobench_driver_guest().call_handle(store, event)
            })
        } else {
            self.handle_plain(event, time)
        };
        std::mem::swap(&mut self.store.data_mut().effects, effects);
        if let Event::CommandCancelled {
            id, is_over: true, ..
        } = event
        {
            // A driver that never answers would otherwise let the set grow without end.
            self.store.data_mut().own.commands.remove(id);
        }
        result
    }

    fn snapshot(&mut self, time: CallTime) -> Result<Snapshot, Fault> {
        let own = self.store.data().own.clone();
        let snapshot = self.call("snapshot", time, Deadline::CALL, |driver, store| {
            driver.autobench_driver_guest().call_snapshot(store)
        })?;
        // A snapshot has no effects; what it asked for, log lines included, is dropped.
        let state = self.store.data_mut();
        state.effects.clear();
        state.own = own;
        if snapshot.data.len() > SNAPSHOT_LIMIT_BYTES {
            return Err(fault::contract(
                "snapshot",
                format!(
                    "its snapshot has {} bytes; at most {SNAPSHOT_LIMIT_BYTES} are taken",
                    snapshot.data.len()
                ),
            ));
        }
        let mut consumed = Vec::with_capacity(snapshot.consumed.len());
        for mark in snapshot.consumed {
            let Some(port) = self.port_names.iter().position(|name| **name == *mark.port) else {
                return Err(fault::contract(
                    "snapshot",
                    format!(
                        "its snapshot names the port {:?}, which it does not have",
                        mark.port
                    ),
                ));
            };
            consumed.push((PortIndex(port), mark.consumed));
        }
        Ok(Snapshot {
            schema_version: snapshot.schema_version,
            data: snapshot.data.into(),
            consumed,
        })
    }

    fn stop(&mut self, reason: StopReason, time: CallTime, effects: &mut Effects) -> Result<(), Fault> {
        let reason = convert::stop_reason(reason);
        self.call_with_effects("stop", time, Deadline::CALL, effects, |driver, store| {
            driver.autobench_driver_guest().call_stop(store, reason)
        })
    }

    fn observes(&self) -> &[Arc<str>] {
        let rights = self.store.data().rights();
        rights.map_or(&[], |rights| &rights.readable_slices)
    }
}

impl Instance {
    /// Every event that borrows nothing but the event itself and the port's name.
    fn handle_plain(&mut self, event: &Event<'_>, time: CallTime) -> Result<(), Fault> {
        // Names are shared, so that the store can be borrowed while the event borrows them.
        let name = match event {
            Event::Bytes { port, .. }
            | Event::PortLost { port, .. }
            | Event::Overrun { port, .. }
            | Event::LineError { port, .. }
            | Event::LinesChanged { port, .. }
            | Event::TransmitDrained { port } => self.port_names.get(port.0).cloned(),
            _ => None,
        };
        let port = name.as_deref().unwrap_or("");
        let event = match event {
            Event::Bytes {
                offset,
                received_ns,
                received_ms,
                data,
                replayed,
                ..
            } => guest::Event::Bytes(guest::Bytes {
                port,
                offset: *offset,
                received_ns: *received_ns,
                received_ms: *received_ms,
                data,
                replayed: *replayed,
            }),
            Event::PortLost { reason, .. } => guest::Event::PortLost(guest::Lost { port, reason }),
            Event::Overrun { from, to, reason, .. } => guest::Event::Overrun(guest::Overrun {
                port,
                from: *from,
                to: *to,
                reason,
            }),
            Event::LineError { reason, .. } => guest::Event::LineError(guest::LineError { port, reason }),
            Event::LinesChanged { signals, .. } => guest::Event::LinesChanged(guest::LinesChanged {
                port,
                signals: convert::input_signals(*signals),
            }),
            Event::TransmitDrained { .. } => guest::Event::TransmitDrained(port),
            Event::Timer(timer) => guest::Event::Timer(timer.0),
            Event::Command(command) => guest::Event::Command(guest_command(command)),
            Event::CommandCancelled { id, reason, .. } => {
                guest::Event::CommandCancelled(guest::Cancellation { id: &id.0, reason })
            }
            Event::LeaseEnded { id, reason } => {
                guest::Event::LeaseEnded(guest::LeaseEnd { id: id.0, reason })
            }
            Event::Observed { slice, value } => guest::Event::Observed(guest::Observed {
                slice,
                value: value.as_deref(),
            }),
            Event::Settings(settings) => guest::Event::Settings(settings),
            Event::Other { kind, data } => guest::Event::Other(guest::OtherEvent { kind, data }),
            // Handled by the caller, because it borrows more than this.
            Event::PortAttached { .. } => return Ok(()),
        };
        self.call("handle", time, Deadline::CALL, |driver, store| {
            driver.autobench_driver_guest().call_handle(store, event)
        })
    }
}

fn guest_command(command: &autobench_core::driver::Command) -> guest::Command<'_> {
    guest::Command {
        id: &command.id.0,
        name: &command.name,
        arguments: &command.arguments,
        actor: &command.actor,
        deadline_ns: command.deadline_ns,
        attributes: &[],
    }
}
