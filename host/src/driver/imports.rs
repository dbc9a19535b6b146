//! The imports of the world, one block per interface. Each collects what is asked for; nothing takes effect before the call returns.

use std::sync::Arc;

use autobench_core::driver as core;
use autobench_core::state::{self as core_state, Pointer};
use wasmtime::component::Resource;

use super::bindings::PortHandle;
use super::bindings::autobench::driver::{
    alarms, clock, commands, events, lease, log, serial, state, status, telemetry, timer, types,
};
use super::convert;
use super::host_state::{HostState, LOG_LINES_PER_CALL, Mode};
use crate::serial::{ReserveError, TRANSMIT_LIMIT_BYTES};

/// Paths that one instance may number.
const INTERNED_PATHS_LIMIT: usize = 1024;
/// Timers of one driver.
const TIMERS_LIMIT: usize = 64;
/// Longest log line, in bytes.
const LOG_LINE_LIMIT_BYTES: usize = 8 << 10;
/// Attributes of one log line.
const LOG_ATTRIBUTES_LIMIT: usize = 16;
/// Longest key and longest value of an attribute, in bytes.
const LOG_ATTRIBUTE_LIMIT_BYTES: usize = 1 << 10;
/// Longest path, in bytes. An interned one is kept for the life of the instance.
const PATH_LIMIT_BYTES: usize = 1 << 10;
/// Largest outcome of a command: it is kept as long as the command can be looked up.
const OUTCOME_LIMIT_BYTES: usize = 4 << 10;
/// Longest name of an alarm, in bytes.
const ALARM_KEY_LIMIT_BYTES: usize = 64;
/// Alarms of one device that may stand.
const STANDING_ALARMS_LIMIT: usize = 32;
/// Largest context of an event, in bytes.
const EVENT_CONTEXT_LIMIT_BYTES: usize = 64 << 10;

impl types::Host for HostState {}

impl serial::Host for HostState {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<PortHandle>, serial::SerialError>> {
        let Some(rights) = self.rights() else {
            return Ok(Err(serial::SerialError::NotGranted));
        };
        let Some(index) = rights.ports.iter().position(|port| **port.name() == *name) else {
            return Ok(Err(serial::SerialError::NotGranted));
        };
        // The handle's number is the port's index: there is nothing to look up and nothing to free.
        Ok(Ok(Resource::new_own(u32::try_from(index)?)))
    }
}

impl serial::HostPort for HostState {
    fn write(
        &mut self,
        port: Resource<PortHandle>,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<(), serial::SerialError>> {
        self.charge(data.len())?;
        let Some((index, control)) = self.port(port.rep()) else {
            return Ok(Err(serial::SerialError::NotGranted));
        };
        if data.len() > TRANSMIT_LIMIT_BYTES {
            // It would not fit into an empty queue either: `full` would have the driver try for ever.
            return Ok(Err(serial::SerialError::Invalid(format!(
                "{} bytes in one write; at most {TRANSMIT_LIMIT_BYTES} fit",
                data.len()
            ))));
        }
        let reserved = self.reserved_bytes.get(index.0).copied().unwrap_or(0) + data.len();
        match control.reserve(reserved) {
            Ok(()) => {}
            Err(ReserveError::NotAttached) => return Ok(Err(serial::SerialError::NotAttached)),
            Err(ReserveError::Full) => return Ok(Err(serial::SerialError::Full)),
        }
        if let Some(slot) = self.reserved_bytes.get_mut(index.0) {
            *slot = reserved;
        }
        self.effects
            .port_actions
            .push((index, core::PortAction::Write(data)));
        Ok(Ok(()))
    }

    fn discard_output(
        &mut self,
        port: Resource<PortHandle>,
    ) -> wasmtime::Result<Result<(), serial::SerialError>> {
        self.charge(0)?;
        Ok(self.act(&port, core::PortAction::DiscardOutput))
    }

    fn set_line(
        &mut self,
        port: Resource<PortHandle>,
        settings: types::LineSettings,
    ) -> wasmtime::Result<Result<(), serial::SerialError>> {
        if settings.baud_rate == 0 {
            return Ok(Err(serial::SerialError::Invalid(
                "baud-rate is 0; a line needs at least 1 bit per second".to_owned(),
            )));
        }
        self.charge(0)?;
        Ok(self.act(&port, core::PortAction::SetLine(convert::line_settings(settings))))
    }

    fn set_signals(
        &mut self,
        port: Resource<PortHandle>,
        signals: serial::OutputSignals,
    ) -> wasmtime::Result<Result<(), serial::SerialError>> {
        if let Some((_, control)) = self.port(port.rep())
            && !control.has_control_lines()
        {
            return Ok(Err(serial::SerialError::NotSupported));
        }
        let action = core::PortAction::SetSignals {
            data_terminal_ready: signals.data_terminal_ready,
            request_to_send: signals.request_to_send,
            break_condition: signals.break_,
        };
        self.charge(0)?;
        Ok(self.act(&port, action))
    }

    fn get_signals(
        &mut self,
        port: Resource<PortHandle>,
    ) -> wasmtime::Result<Result<serial::InputSignals, serial::SerialError>> {
        let Some((_, control)) = self.port(port.rep()) else {
            return Ok(Err(serial::SerialError::NotGranted));
        };
        Ok(control
            .input_signals()
            .map(convert::input_signals)
            .map_err(convert::signal_error))
    }

    fn identity(
        &mut self,
        port: Resource<PortHandle>,
    ) -> wasmtime::Result<Result<serial::IdentityResult, serial::SerialError>> {
        let Some((_, control)) = self.port(port.rep()) else {
            return Ok(Err(serial::SerialError::NotGranted));
        };
        Ok(control
            .identity()
            .map(|identity| convert::identity(&identity))
            .ok_or(serial::SerialError::NotAttached))
    }

    fn drop(&mut self, _port: Resource<PortHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl HostState {
    fn act(
        &mut self,
        port: &Resource<PortHandle>,
        action: core::PortAction,
    ) -> Result<(), serial::SerialError> {
        let Some((index, control)) = self.port(port.rep()) else {
            return Err(serial::SerialError::NotGranted);
        };
        if !control.is_attached() {
            return Err(serial::SerialError::NotAttached);
        }
        self.effects.port_actions.push((index, action));
        Ok(())
    }
}

impl state::Host for HostState {
    fn update_slice(
        &mut self,
        operations: Vec<state::Operation>,
    ) -> wasmtime::Result<Result<(), state::StateError>> {
        if self.rights().is_none() {
            return Ok(Err(state::StateError::NotGranted));
        }
        let before = self.effects.operations.len();
        for operation in operations {
            match self.operation(operation)? {
                Ok(operation) => self.effects.operations.push(operation),
                Err(error) => {
                    // All of one update or none of it.
                    self.effects.operations.truncate(before);
                    return Ok(Err(error));
                }
            }
        }
        Ok(Ok(()))
    }

    fn intern(&mut self, path: String) -> wasmtime::Result<Result<u32, state::StateError>> {
        self.charge(path.len())?;
        if self.rights().is_none() {
            return Ok(Err(state::StateError::NotGranted));
        }
        if path.len() > PATH_LIMIT_BYTES {
            return Ok(Err(too_long(&path)));
        }
        if self.interned.len() >= INTERNED_PATHS_LIMIT {
            return Ok(Err(state::StateError::Other(format!(
                "more than {INTERNED_PATHS_LIMIT} interned paths"
            ))));
        }
        match Pointer::parse(&path) {
            Ok(pointer) => {
                let number = u32::try_from(self.interned.len())?;
                self.interned.push(Arc::new(pointer));
                Ok(Ok(number))
            }
            Err(error) => Ok(Err(state::StateError::InvalidPath(error.to_string()))),
        }
    }

    fn read_slice(&mut self, name: String) -> wasmtime::Result<Result<String, state::StateError>> {
        let Some(rights) = self.rights() else {
            return Ok(Err(state::StateError::NotGranted));
        };
        if !rights.readable_slices.contains(&name) {
            return Ok(Err(state::StateError::NotGranted));
        }
        Ok(rights
            .slices
            .read(&name)
            .ok_or_else(|| state::StateError::InvalidPath(format!("there is no slice {name:?}"))))
    }
}

impl HostState {
    fn operation(
        &mut self,
        operation: state::Operation,
    ) -> wasmtime::Result<Result<core_state::Operation, state::StateError>> {
        Ok(match operation {
            state::Operation::Set(state::Assignment { path, value }) => {
                let path = match self.path(path)? {
                    Ok(path) => path,
                    Err(error) => return Ok(Err(error)),
                };
                self.value(value)?
                    .map(|value| core_state::Operation::Set { path, value })
            }
            state::Operation::Remove(path) => self
                .path(path)?
                .map(|path| core_state::Operation::Remove { path }),
            state::Operation::Append(state::Appending { path, value, bound }) => {
                if bound == 0 {
                    return Ok(Err(state::StateError::InvalidValue(
                        "the bound of an append is 0; it has to be at least 1".to_owned(),
                    )));
                }
                let path = match self.path(path)? {
                    Ok(path) => path,
                    Err(error) => return Ok(Err(error)),
                };
                self.value(value)?
                    .map(|value| core_state::Operation::Append { path, value, bound })
            }
        })
    }

    fn path(&mut self, path: state::Path) -> wasmtime::Result<Result<Arc<Pointer>, state::StateError>> {
        match path {
            state::Path::Interned(number) => {
                let pointer = usize::try_from(number)
                    .ok()
                    .and_then(|number| self.interned.get(number));
                Ok(pointer.cloned().ok_or_else(|| {
                    state::StateError::InvalidPath(format!("no path is interned as {number}"))
                }))
            }
            state::Path::Text(text) => {
                self.charge(text.len())?;
                if text.len() > PATH_LIMIT_BYTES {
                    return Ok(Err(too_long(&text)));
                }
                Ok(Pointer::parse(&text)
                    .map(Arc::new)
                    .map_err(|error| state::StateError::InvalidPath(error.to_string())))
            }
        }
    }

    fn value(
        &mut self,
        value: types::Value,
    ) -> wasmtime::Result<Result<core_state::Value, state::StateError>> {
        self.charge(match &value {
            types::Value::Text(text) | types::Value::Json(text) => text.len(),
            _ => 16,
        })?;
        Ok(convert::value(value).map_err(state::StateError::InvalidValue))
    }
}

impl telemetry::Host for HostState {
    fn push(
        &mut self,
        series: u32,
        samples: Vec<telemetry::Sample>,
    ) -> wasmtime::Result<Result<(), telemetry::TelemetryError>> {
        self.charge(samples.len().saturating_mul(16))?;
        let Some(rights) = self.rights() else {
            return Ok(Err(telemetry::TelemetryError::NotGranted));
        };
        if usize::try_from(series).map_or(true, |series| series >= rights.series_count) {
            return Ok(Err(telemetry::TelemetryError::UnknownSeries(series)));
        }
        if samples
            .iter()
            .any(|sample| !sample.value.is_finite() || !sample.timestamp_ms.is_finite())
        {
            return Ok(Err(telemetry::TelemetryError::InvalidValue));
        }
        let samples = samples.into_iter().map(|sample| {
            (
                series,
                core::Sample {
                    timestamp_ms: sample.timestamp_ms,
                    value: sample.value,
                },
            )
        });
        self.effects.samples.extend(samples);
        Ok(Ok(()))
    }
}

impl lease::Host for HostState {
    fn acquire(
        &mut self,
        _port: String,
        release: Vec<u8>,
        _maximum_ms: u32,
    ) -> wasmtime::Result<Result<u64, lease::LeaseError>> {
        self.charge(release.len())?;
        Ok(Err(match self.mode {
            Mode::Describe => lease::LeaseError::NotGranted,
            // A hold that nobody would end must not begin: until the host keeps leases, and a journal of them, it says so.
            Mode::Live(_) => lease::LeaseError::NotSupported,
        }))
    }

    fn release(&mut self, _id: u64) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl log::Host for HostState {
    fn write(
        &mut self,
        level: log::Level,
        message: String,
        attributes: Vec<types::AttributeResult>,
    ) -> wasmtime::Result<()> {
        let attribute_bytes: usize = attributes
            .iter()
            .map(|attribute| attribute.key.len() + attribute.value.len())
            .sum();
        self.charge(message.len().saturating_add(attribute_bytes))?;
        if self.effects.logs.len() >= LOG_LINES_PER_CALL {
            self.effects.logs_suppressed += 1;
            return Ok(());
        }
        let attributes = attributes
            .into_iter()
            .take(LOG_ATTRIBUTES_LIMIT)
            .map(|attribute| {
                (
                    cut(attribute.key, LOG_ATTRIBUTE_LIMIT_BYTES),
                    cut(attribute.value, LOG_ATTRIBUTE_LIMIT_BYTES),
                )
            })
            .collect();
        self.effects.logs.push(core::LogLine {
            level: convert::level(level),
            message: cut(message, LOG_LINE_LIMIT_BYTES),
            attributes,
        });
        Ok(())
    }
}

impl clock::Host for HostState {
    fn monotonic_ns(&mut self) -> wasmtime::Result<u64> {
        Ok(self.time.monotonic_ns)
    }

    fn wall_ms(&mut self) -> wasmtime::Result<f64> {
        Ok(self.time.wall_ms)
    }
}

impl timer::Host for HostState {
    fn set(&mut self, id: u32, after_ms: u32) -> wasmtime::Result<Result<(), timer::TimerError>> {
        self.charge(0)?;
        if self.rights().is_none() {
            return Ok(Err(timer::TimerError::NotGranted));
        }
        if !self.timers.contains(&id) && self.timers.len() >= TIMERS_LIMIT {
            return Ok(Err(timer::TimerError::Full));
        }
        self.timers.insert(id);
        let at_ns = self
            .time
            .monotonic_ns
            .saturating_add(u64::from(after_ms) * 1_000_000);
        self.effects.timers.push(core::TimerChange::Set {
            id: core::TimerId(id),
            at_ns,
        });
        Ok(Ok(()))
    }

    fn cancel(&mut self, id: u32) -> wasmtime::Result<()> {
        self.charge(0)?;
        if self.timers.remove(&id) {
            self.effects.timers.push(core::TimerChange::Cancel {
                id: core::TimerId(id),
            });
        }
        Ok(())
    }
}

impl commands::Host for HostState {
    fn acknowledge(&mut self, id: String) -> wasmtime::Result<Result<(), commands::CommandError>> {
        self.charge(id.len())?;
        Ok(self.reply(&id, |id| Ok(core::CommandReply::Acknowledge { id })))
    }

    fn progress(
        &mut self,
        id: String,
        message: String,
        share: Option<f64>,
    ) -> wasmtime::Result<Result<(), commands::CommandError>> {
        self.charge(id.len() + message.len())?;
        Ok(self.reply(&id, |id| match share {
            Some(share) if !(0.0..=1.0).contains(&share) => Err(commands::CommandError::InvalidValue(
                format!("the share {share} is not within 0 and 1"),
            )),
            _ => Ok(core::CommandReply::Progress { id, message, share }),
        }))
    }

    fn complete(
        &mut self,
        id: String,
        outcome: commands::Outcome,
    ) -> wasmtime::Result<Result<(), commands::CommandError>> {
        let bytes = outcome_bytes(&outcome);
        self.charge(id.len() + bytes)?;
        Ok(self.reply(&id, |id| {
            if bytes > OUTCOME_LIMIT_BYTES {
                return Err(commands::CommandError::InvalidValue(format!(
                    "the outcome has {bytes} bytes; at most {OUTCOME_LIMIT_BYTES} are taken"
                )));
            }
            let outcome = convert::outcome(outcome).map_err(commands::CommandError::InvalidValue)?;
            Ok(core::CommandReply::Complete { id, outcome })
        }))
    }
}

impl HostState {
    fn reply(
        &mut self,
        id: &str,
        reply: impl FnOnce(core::CommandId) -> Result<core::CommandReply, commands::CommandError>,
    ) -> Result<(), commands::CommandError> {
        if self.rights().is_none() {
            return Err(commands::CommandError::NotGranted);
        }
        let id = core::CommandId(id.into());
        if !self.commands.contains(&id) {
            return Err(commands::CommandError::UnknownCommand);
        }
        let reply = reply(id)?;
        if let core::CommandReply::Complete { id, .. } = &reply {
            self.commands.remove(id);
        }
        self.effects.replies.push(reply);
        Ok(())
    }
}

impl alarms::Host for HostState {
    fn raise(&mut self, key: String, severity: types::Severity, message: String) -> wasmtime::Result<bool> {
        self.charge(key.len() + message.len())?;
        if self.rights().is_none() || key.is_empty() || key.len() > ALARM_KEY_LIMIT_BYTES {
            return Ok(false);
        }
        if !self.alarms.contains(&key) {
            if self.alarms.len() >= STANDING_ALARMS_LIMIT {
                return Ok(false);
            }
            self.alarms.insert(key.clone());
        }
        let severity = convert::severity(severity);
        self.effects.alarms.push(core::AlarmChange::Raise {
            key,
            severity,
            message: cut(message, LOG_LINE_LIMIT_BYTES),
        });
        Ok(true)
    }

    fn clear(&mut self, key: String) -> wasmtime::Result<()> {
        self.charge(key.len())?;
        if self.alarms.remove(&key) {
            self.effects.alarms.push(core::AlarmChange::Clear { key });
        }
        Ok(())
    }
}

impl events::Host for HostState {
    fn publish(
        &mut self,
        level: log::Level,
        kind: String,
        message: String,
        context: String,
    ) -> wasmtime::Result<Result<(), events::EventError>> {
        self.charge(kind.len() + message.len() + context.len())?;
        if self.rights().is_none() {
            return Ok(Err(events::EventError::NotGranted));
        }
        if context.len() > EVENT_CONTEXT_LIMIT_BYTES {
            return Ok(Err(events::EventError::InvalidContext(format!(
                "larger than {EVENT_CONTEXT_LIMIT_BYTES} bytes"
            ))));
        }
        Ok(match convert::json(&context) {
            Ok(serde_json::Value::Object(context)) => {
                self.effects.publications.push(core::Publication {
                    level: convert::level(level),
                    kind,
                    message,
                    context,
                });
                Ok(())
            }
            Ok(_) => Err(events::EventError::InvalidContext("not a JSON object".to_owned())),
            Err(problem) => Err(events::EventError::InvalidContext(problem)),
        })
    }
}

impl status::Host for HostState {
    fn phase(&mut self, name: String) -> wasmtime::Result<()> {
        self.charge(name.len())?;
        if self.rights().is_some() {
            self.effects.status.push(core::StatusChange::Phase(cut(name, 64)));
        }
        Ok(())
    }

    fn failed(&mut self, reason: String) -> wasmtime::Result<()> {
        self.charge(reason.len())?;
        if self.rights().is_some() {
            self.effects
                .status
                .push(core::StatusChange::Failed(cut(reason, LOG_LINE_LIMIT_BYTES)));
        }
        Ok(())
    }
}

fn outcome_bytes(outcome: &commands::Outcome) -> usize {
    match outcome {
        commands::Outcome::Succeeded(Some(types::Value::Text(text) | types::Value::Json(text)))
        | commands::Outcome::Failed(text)
        | commands::Outcome::Blocked(text) => text.len(),
        commands::Outcome::Succeeded(_) | commands::Outcome::Cancelled => 0,
    }
}

fn too_long(path: &str) -> state::StateError {
    state::StateError::InvalidPath(format!(
        "a path of {} bytes; at most {PATH_LIMIT_BYTES} are taken",
        path.len()
    ))
}

/// Cuts a text at a character border and says so.
fn cut(mut text: String, limit_bytes: usize) -> String {
    if text.len() > limit_bytes {
        let end = text.floor_char_boundary(limit_bytes.saturating_sub('…'.len_utf8()));
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_a_character_border_and_marked() {
        assert_eq!(cut("short".to_owned(), 8), "short");
        let cut = cut("äöüäöü".to_owned(), 8);
        assert!(cut.len() <= 8 && cut.ends_with('…'), "{cut:?}");
    }
}
