//! The imports of the world as one trait, so that a driver runs the same in a component and under the native bench.

use crate::{
    Attribute, CommandError, EventError, Identity, InputSignals, LeaseError, Level, LineSettings, Operation,
    Outcome, OutputSignals, Sample, SerialError, Severity, StateError, TelemetryError, TimerError,
};

/// In a component the imports themselves, so that those which a driver never calls are not linked; natively whatever a test gives.
#[cfg(target_arch = "wasm32")]
pub(crate) type AnyHost = crate::wasm::Imports;
/// In a component the imports themselves, so that those which a driver never calls are not linked; natively whatever a test gives.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) type AnyHost = dyn Host;

/// What a host offers. One method per import; what each does stands in the wit files. Ports go by their names.
pub trait Host {
    /// `serial.port.write`.
    fn write(&mut self, port: &str, data: &[u8]) -> Result<(), SerialError>;
    /// `serial.port.discard-output`.
    fn discard_output(&mut self, port: &str) -> Result<(), SerialError>;
    /// `serial.port.set-line`.
    fn set_line(&mut self, port: &str, settings: LineSettings) -> Result<(), SerialError>;
    /// `serial.port.set-signals`.
    fn set_signals(&mut self, port: &str, signals: OutputSignals) -> Result<(), SerialError>;
    /// `serial.port.get-signals`.
    fn get_signals(&mut self, port: &str) -> Result<InputSignals, SerialError>;
    /// `serial.port.identity`.
    fn identity(&mut self, port: &str) -> Result<Identity, SerialError>;
    /// `state.update-slice`.
    fn update_slice(&mut self, operations: &[Operation]) -> Result<(), StateError>;
    /// `state.intern`.
    fn intern(&mut self, path: &str) -> Result<u32, StateError>;
    /// `state.read-slice`.
    fn read_slice(&mut self, name: &str) -> Result<String, StateError>;
    /// `telemetry.push`.
    fn push(&mut self, samples: &[Sample]) -> Result<(), TelemetryError>;
    /// `lease.acquire`.
    fn acquire_lease(
        &mut self,
        id: u32,
        port: &str,
        release: &[u8],
        maximum_ms: u32,
        holder: Option<&str>,
    ) -> Result<(), LeaseError>;
    /// `lease.release`.
    fn release_lease(&mut self, id: u32);
    /// `log.write`.
    fn log(&mut self, level: Level, message: &str, attributes: &[Attribute]);
    /// `clock.monotonic-ns`.
    fn monotonic_ns(&mut self) -> u64;
    /// `clock.wall-ms`.
    fn wall_ms(&mut self) -> f64;
    /// `timer.set`.
    fn set_timer(&mut self, id: u32, after_ms: u32) -> Result<(), TimerError>;
    /// `timer.cancel`.
    fn cancel_timer(&mut self, id: u32);
    /// `commands.acknowledge`.
    fn acknowledge(&mut self, id: &str) -> Result<(), CommandError>;
    /// `commands.progress`.
    fn progress(&mut self, id: &str, message: &str, share: Option<f64>) -> Result<(), CommandError>;
    /// `commands.complete`.
    fn complete(&mut self, id: &str, outcome: &Outcome) -> Result<(), CommandError>;
    /// `alarms.raise`.
    fn raise_alarm(&mut self, key: &str, severity: Severity, message: &str) -> bool;
    /// `alarms.clear`.
    fn clear_alarm(&mut self, key: &str);
    /// `events.publish`.
    fn publish(&mut self, level: Level, kind: &str, message: &str, context: &str) -> Result<(), EventError>;
    /// `status.phase`.
    fn phase(&mut self, name: &str);
    /// `status.failed`.
    fn failed(&mut self, reason: &str);
}
