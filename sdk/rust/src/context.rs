//! What a driver may touch while it is being called.

use std::fmt;

use crate::host::AnyHost;
#[cfg(target_arch = "wasm32")]
use crate::host::Host as _;
use crate::publisher::{Desk, TRAILING_TIMER};
use crate::slice::Slice;
use crate::{
    Attribute, CommandError, EventError, Identity, InputSignals, LeaseError, Level, LineSettings, Outcome,
    OutputSignals, Sample, SerialError, Severity, StateError, TimerError,
};

/// What a driver may touch while it is being called. Everything that it asks for takes effect when the call returns, all at once; a call
/// that traps has had no effect but its log lines.
pub struct Context<'a, S> {
    host: &'a mut AnyHost,
    desk: &'a mut Desk<S>,
}

impl<'a, S: Slice> Context<'a, S> {
    pub(crate) fn new(host: &'a mut AnyHost, desk: &'a mut Desk<S>) -> Self {
        Self { host, desk }
    }

    // --- slice ---

    /// The slice as it is.
    #[must_use]
    pub fn slice(&self) -> &S {
        &self.desk.slice
    }

    /// The slice, to be changed in place. What differs at the end of the call is published: at once when nothing was published for 50 ms,
    /// otherwise when they are over.
    pub fn edit(&mut self) -> &mut S {
        self.desk.touched = true;
        &mut self.desk.slice
    }

    /// Changes the slice and publishes it at the end of this call, however recent the last publication is. For changes of phase, which
    /// somebody waits for; measured values use [`edit`](Self::edit).
    pub fn set_now(&mut self, change: impl FnOnce(&mut S)) {
        self.desk.touched = true;
        self.desk.urgent = true;
        change(&mut self.desk.slice);
    }

    /// Another slice as JSON text. The manifest has to list it and `plugins.toml` has to grant it.
    pub fn read_slice(&mut self, name: &str) -> Result<String, StateError> {
        self.host.read_slice(name)
    }

    // --- telemetry, events, alarms, status, log ---

    /// Pushes a sample of a series, by its position in the manifest. All samples of a call go out together when it ends. A value that is
    /// not finite is no measurement and is left out.
    pub fn sample(&mut self, series: u32, timestamp_ms: f64, value: f64) {
        if !value.is_finite() || !timestamp_ms.is_finite() {
            return;
        }
        self.desk.samples.push(Sample {
            series,
            timestamp_ms,
            value,
        });
    }

    /// Publishes an event. `context` is a JSON object with whatever belongs to it.
    pub fn publish(
        &mut self,
        level: Level,
        kind: &str,
        message: &str,
        context: &serde_json::Value,
    ) -> Result<(), EventError> {
        self.host.publish(level, kind, message, &context.to_string())
    }

    /// Raises an alarm of this device, or changes one that stands. False when 32 stand already.
    pub fn raise_alarm(&mut self, key: &str, severity: Severity, message: &str) -> bool {
        self.host.raise_alarm(key, severity, message)
    }

    /// Clears an alarm. One that does not stand is no error.
    pub fn clear_alarm(&mut self, key: &str) {
        self.host.clear_alarm(key);
    }

    /// Says in which phase the device is.
    pub fn phase(&mut self, name: &str) {
        self.host.phase(name);
    }

    /// Says that the driver cannot serve its device. Soon after a swap this brings the predecessor back; otherwise it is a restart.
    pub fn failed(&mut self, reason: &str) {
        self.host.failed(reason);
    }

    /// Writes a line to the log; `debug!`, `info!`, `warn!`, `error!` and `fatal!` are shorter.
    pub fn log(&mut self, level: Level, text: fmt::Arguments<'_>) {
        self.log_with(level, text, &[]);
    }

    /// Writes a line with keys and values to the log.
    pub fn log_with(&mut self, level: Level, text: fmt::Arguments<'_>, attributes: &[Attribute]) {
        match text.as_str() {
            Some(text) => self.host.log(level, text, attributes),
            None => self.host.log(level, &text.to_string(), attributes),
        }
    }

    // --- serial ---

    /// Queues bytes for a port, all or none.
    pub fn write(&mut self, port: &str, data: &[u8]) -> Result<(), SerialError> {
        self.host.write(port, data)
    }

    /// Throws away what is still queued for a port.
    pub fn discard_output(&mut self, port: &str) -> Result<(), SerialError> {
        self.host.discard_output(port)
    }

    /// Changes the line settings of a port.
    pub fn set_line(&mut self, port: &str, settings: LineSettings) -> Result<(), SerialError> {
        self.host.set_line(port, settings)
    }

    /// Drives DTR, RTS or BREAK of a port.
    pub fn set_signals(&mut self, port: &str, signals: OutputSignals) -> Result<(), SerialError> {
        self.host.set_signals(port, signals)
    }

    /// Reads CTS, DSR, DCD and RI of a port.
    pub fn get_signals(&mut self, port: &str) -> Result<InputSignals, SerialError> {
        self.host.get_signals(port)
    }

    /// What the system knows of the device behind a port.
    pub fn identity(&mut self, port: &str) -> Result<Identity, SerialError> {
        self.host.identity(port)
    }

    /// Leaves with the host the bytes that undo a hold, to be written after `maximum_ms` at the latest, or takes a lease that is open once
    /// more, with these bytes and this time. Where it is refused, the hold must not begin.
    pub fn acquire_lease(
        &mut self,
        id: u32,
        port: &str,
        release: &[u8],
        maximum_ms: u32,
    ) -> Result<(), LeaseError> {
        self.host.acquire_lease(id, port, release, maximum_ms, None)
    }

    /// The same for a command that is a hold ([`Manifest::hold`](crate::Manifest::hold)): the lease ends as well when the client that sent
    /// it lets go or is gone.
    pub fn acquire_lease_for(
        &mut self,
        holder: &str,
        id: u32,
        port: &str,
        release: &[u8],
        maximum_ms: u32,
    ) -> Result<(), LeaseError> {
        self.host
            .acquire_lease(id, port, release, maximum_ms, Some(holder))
    }

    /// Ends a lease; its bytes go out in their place among what this call writes. One that is not open is no error.
    pub fn release_lease(&mut self, id: u32) {
        self.host.release_lease(id);
    }

    // --- time ---

    /// The monotonic clock. Time stands still within a call.
    pub fn monotonic_ns(&mut self) -> u64 {
        self.host.monotonic_ns()
    }

    /// Milliseconds since 1970.
    pub fn wall_ms(&mut self) -> f64 {
        self.host.wall_ms()
    }

    /// Sets a timer, or sets one that runs anew. The largest number belongs to the SDK.
    pub fn set_timer(&mut self, id: u32, after_ms: u32) -> Result<(), TimerError> {
        if id == TRAILING_TIMER {
            return Err(TimerError::Other(format!("timer {id} belongs to the SDK")));
        }
        self.host.set_timer(id, after_ms)?;
        self.desk.timer_set(id);
        Ok(())
    }

    /// Sets a timer to a moment of the monotonic clock, which it reaches in whole milliseconds and not before. A moment that has passed is now.
    pub fn set_timer_at(&mut self, id: u32, at_ns: u64) -> Result<(), TimerError> {
        let remaining_ns = at_ns.saturating_sub(self.monotonic_ns());
        self.set_timer(
            id,
            u32::try_from(remaining_ns.div_ceil(1_000_000)).unwrap_or(u32::MAX),
        )
    }

    /// Takes a timer back.
    pub fn cancel_timer(&mut self, id: u32) {
        if id != TRAILING_TIMER && self.desk.timer_over(id) {
            self.host.cancel_timer(id);
        }
    }

    /// Whether a timer runs: set and not run out, here or by the predecessor.
    #[must_use]
    pub fn timer_runs(&self, id: u32) -> bool {
        self.desk.timer_runs(id)
    }

    // --- commands ---

    /// Says that the device has taken a command.
    pub fn acknowledge(&mut self, command: &str) -> Result<(), CommandError> {
        self.host.acknowledge(command)
    }

    /// Says how far a command is.
    pub fn progress(&mut self, command: &str, message: &str, share: Option<f64>) -> Result<(), CommandError> {
        self.host.progress(command, message, share)
    }

    /// Ends a command.
    pub fn complete(&mut self, command: &str, outcome: &Outcome) -> Result<(), CommandError> {
        self.host.complete(command, outcome)
    }
}
