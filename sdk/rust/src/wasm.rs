//! The component's side: the imports behind [`Host`], and the one instance behind the exports.

use std::cell::RefCell;
use std::sync::Once;

use crate::bindings::autobench::driver::{
    alarms, clock, commands, events, lease, log, serial, state, status, telemetry, timer,
};
use crate::bindings::exports::autobench::driver::guest;
use crate::driver::Driver;
use crate::host::Host;
use crate::runtime::{Runtime, describe};
use crate::{
    Attribute, CommandError, EventError, Identity, InputSignals, LeaseError, Level, LineSettings, Operation,
    Outcome, OutputSignals, Refusal, Sample, SerialError, Severity, StateError, StopReason, TelemetryError,
    TimerError,
};

/// The imports of the world. A port's handle is good for the life of the driver, so each is opened once.
#[derive(Default)]
pub struct Imports {
    ports: Vec<(String, serial::Port)>,
}

impl Imports {
    fn port(&mut self, name: &str) -> Result<&serial::Port, SerialError> {
        let index = match self.ports.iter().position(|(open, _)| open == name) {
            Some(index) => index,
            None => {
                self.ports.push((name.to_owned(), serial::open(name)?));
                self.ports.len() - 1
            }
        };
        self.ports
            .get(index)
            .map(|(_, port)| port)
            .ok_or(SerialError::NotGranted)
    }
}

impl Host for Imports {
    fn write(&mut self, port: &str, data: &[u8]) -> Result<(), SerialError> {
        self.port(port)?.write(data)
    }
    fn discard_output(&mut self, port: &str) -> Result<(), SerialError> {
        self.port(port)?.discard_output()
    }
    fn set_line(&mut self, port: &str, settings: LineSettings) -> Result<(), SerialError> {
        self.port(port)?.set_line(settings)
    }
    fn set_signals(&mut self, port: &str, signals: OutputSignals) -> Result<(), SerialError> {
        self.port(port)?.set_signals(signals)
    }
    fn get_signals(&mut self, port: &str) -> Result<InputSignals, SerialError> {
        self.port(port)?.get_signals()
    }
    fn identity(&mut self, port: &str) -> Result<Identity, SerialError> {
        self.port(port)?.identity()
    }
    fn update_slice(&mut self, operations: &[Operation]) -> Result<(), StateError> {
        state::update_slice(operations)
    }
    fn intern(&mut self, path: &str) -> Result<u32, StateError> {
        state::intern(path)
    }
    fn read_slice(&mut self, name: &str) -> Result<String, StateError> {
        state::read_slice(name)
    }
    fn push(&mut self, samples: &[Sample]) -> Result<(), TelemetryError> {
        telemetry::push(samples)
    }
    fn acquire_lease(
        &mut self,
        id: u32,
        port: &str,
        release: &[u8],
        maximum_ms: u32,
        holder: Option<&str>,
    ) -> Result<(), LeaseError> {
        lease::acquire(id, port, release, maximum_ms, holder)
    }
    fn release_lease(&mut self, id: u32) {
        lease::release(id);
    }
    fn log(&mut self, level: Level, message: &str, attributes: &[Attribute]) {
        log::write(level, message, attributes);
    }
    fn monotonic_ns(&mut self) -> u64 {
        clock::monotonic_ns()
    }
    fn wall_ms(&mut self) -> f64 {
        clock::wall_ms()
    }
    fn set_timer(&mut self, id: u32, after_ms: u32) -> Result<(), TimerError> {
        timer::set(id, after_ms)
    }
    fn cancel_timer(&mut self, id: u32) {
        timer::cancel(id);
    }
    fn acknowledge(&mut self, id: &str) -> Result<(), CommandError> {
        commands::acknowledge(id)
    }
    fn progress(&mut self, id: &str, message: &str, share: Option<f64>) -> Result<(), CommandError> {
        commands::progress(id, message, share)
    }
    fn complete(&mut self, id: &str, outcome: &Outcome) -> Result<(), CommandError> {
        commands::complete(id, outcome)
    }
    fn raise_alarm(&mut self, key: &str, severity: Severity, message: &str) -> bool {
        alarms::raise(key, severity, message)
    }
    fn clear_alarm(&mut self, key: &str) {
        alarms::clear(key);
    }
    fn publish(&mut self, level: Level, kind: &str, message: &str, context: &str) -> Result<(), EventError> {
        events::publish(level, kind, message, context)
    }
    fn phase(&mut self, name: &str) {
        status::phase(name);
    }
    fn failed(&mut self, reason: &str) {
        status::failed(reason);
    }
}

/// The one driver of a component.
pub struct Instance<D: Driver>(RefCell<Slot<D>>);

struct Slot<D: Driver> {
    imports: Imports,
    runtime: Option<Runtime<D>>,
}

impl<D: Driver> Instance<D> {
    /// Nothing is running yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "named by the export macro only")]
    pub fn new() -> Self {
        Self(RefCell::new(Slot {
            imports: Imports::default(),
            runtime: None,
        }))
    }

    /// `guest.describe`.
    pub fn describe(&self) -> guest::Manifest {
        log_panics();
        describe::<D>()
    }

    /// `guest.start`.
    pub fn start(&self, configuration: guest::Configuration) -> Result<(), Refusal> {
        log_panics();
        let slot = &mut *self.0.borrow_mut();
        slot.runtime = Some(Runtime::start(&mut slot.imports, configuration)?);
        Ok(())
    }

    /// `guest.handle`. Before a start there is nobody to handle anything, and the host never calls it then.
    pub fn handle(&self, event: guest::Event) {
        let slot = &mut *self.0.borrow_mut();
        if let Some(runtime) = &mut slot.runtime {
            runtime.handle(&mut slot.imports, event);
        }
    }

    /// `guest.snapshot`.
    pub fn snapshot(&self) -> guest::DriverSnapshot {
        let slot = &mut *self.0.borrow_mut();
        match &slot.runtime {
            Some(runtime) => runtime.snapshot(&mut slot.imports),
            None => guest::DriverSnapshot {
                schema_version: D::SNAPSHOT_VERSION,
                data: Vec::new(),
                consumed: Vec::new(),
            },
        }
    }

    /// `guest.stop`.
    pub fn stop(&self, reason: StopReason) {
        let slot = &mut *self.0.borrow_mut();
        if let Some(runtime) = &mut slot.runtime {
            runtime.stop(&mut slot.imports, reason);
        }
    }
}

/// A panic is a bare trap to the host. Its text and place go to the log first, where lines of a failed call stay.
fn log_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|info| log::write(Level::Error, &info.to_string(), &[])));
    });
}
