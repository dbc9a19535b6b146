//! The imports of the world, one block per interface. Each collects what is asked for; nothing takes effect before the call returns.

mod commands;
mod serial;
mod state;

use autobench_core::driver as core;

use super::bindings::autobench::driver::{
    alarms, clock, events, lease, log, status, telemetry, timer, types,
};
use super::convert;
use super::host_state::{HostState, LOG_LINE_LIMIT_BYTES, cut};

/// Timers of one driver.
const TIMERS_LIMIT: usize = 64;
/// Leases that one call may take and give back.
const LEASE_CHANGES_LIMIT: usize = 64;
/// Attributes of one log line.
const LOG_ATTRIBUTES_LIMIT: usize = 16;
/// Longest key and longest value of an attribute, in bytes.
const LOG_ATTRIBUTE_LIMIT_BYTES: usize = 1 << 10;
/// Longest name of an alarm, in bytes.
const ALARM_KEY_LIMIT_BYTES: usize = 64;
/// Alarms of one device that may stand.
const STANDING_ALARMS_LIMIT: usize = 32;
/// Largest context of an event, in bytes.
const EVENT_CONTEXT_LIMIT_BYTES: usize = 64 << 10;
impl types::Host for HostState {}

impl telemetry::Host for HostState {
    fn push(
        &mut self,
        samples: Vec<telemetry::Sample>,
    ) -> wasmtime::Result<Result<(), telemetry::TelemetryError>> {
        self.charge(samples.len().saturating_mul(size_of::<telemetry::Sample>()))?;
        let Some(rights) = self.rights() else {
            return Ok(Err(telemetry::TelemetryError::NotGranted));
        };
        for sample in &samples {
            if usize::try_from(sample.series).map_or(true, |series| series >= rights.series_count) {
                return Ok(Err(telemetry::TelemetryError::UnknownSeries(sample.series)));
            }
            if !sample.value.is_finite() || !sample.timestamp_ms.is_finite() {
                return Ok(Err(telemetry::TelemetryError::InvalidValue));
            }
        }
        let samples = samples.into_iter().map(|sample| {
            (
                sample.series,
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
        id: u32,
        port: String,
        release: Vec<u8>,
        maximum_ms: u32,
        holder: Option<String>,
    ) -> wasmtime::Result<Result<(), lease::LeaseError>> {
        self.charge(release.len() + port.len() + holder.as_ref().map_or(0, String::len))?;
        let Some(rights) = self.rights() else {
            return Ok(Err(lease::LeaseError::NotGranted));
        };
        let Some((index, line)) = rights
            .ports
            .iter()
            .enumerate()
            .find(|(_, line)| **line.name() == *port)
        else {
            return Ok(Err(lease::LeaseError::NotGranted));
        };
        if release.is_empty() || release.len() > core::leases::RELEASE_BYTES {
            return Ok(Err(lease::LeaseError::Invalid(format!(
                "{} bytes to undo the hold; it takes 1 to {}",
                release.len(),
                core::leases::RELEASE_BYTES
            ))));
        }
        if maximum_ms == 0 || maximum_ms > core::leases::LEASE_MAXIMUM_MS {
            return Ok(Err(lease::LeaseError::Invalid(format!(
                "a maximum of {maximum_ms} ms; it is from 1 to {}",
                core::leases::LEASE_MAXIMUM_MS
            ))));
        }
        if !line.is_attached() {
            return Ok(Err(lease::LeaseError::NotAttached));
        }
        let (id, port) = (core::LeaseId(id), core::PortIndex(index));
        // What is given back, or moved to another port, has to be undone on the line; that is bounded together with what is held.
        let is_renewed = self.own.leases.get(&id) == Some(&port);
        let waiting: usize = rights.ports.iter().map(|port| port.waiting_undos()).sum();
        let is_full = !is_renewed && self.own.leases.len() + self.undos + waiting >= core::LEASES;
        if is_full || self.lease_changes >= LEASE_CHANGES_LIMIT {
            return Ok(Err(lease::LeaseError::Full));
        }
        if let Err(error) = rights.holds.prepare(self.time, id, port, &release) {
            return Ok(Err(lease::LeaseError::Other(format!(
                "what undoes the hold cannot be written down: {error}"
            ))));
        }
        self.lease_changes += 1;
        if self
            .own
            .leases
            .insert(id, port)
            .is_some_and(|before| before != port)
        {
            self.undos += 1;
        }
        self.effects.leases.push(core::LeaseChange::Acquire {
            id,
            port,
            release: release.into(),
            maximum_ms,
            holder: holder.map(|command| core::CommandId(command.into())),
        });
        Ok(Ok(()))
    }

    fn release(&mut self, id: u32) -> wasmtime::Result<()> {
        self.charge(0)?;
        let id = core::LeaseId(id);
        let was_open = self.own.leases.remove(&id).is_some();
        // One that is not open as far as it knows may be open all the same, after bytes were lost; asking for that without end is no use.
        if was_open || self.lease_changes < LEASE_CHANGES_LIMIT {
            self.lease_changes += 1;
            self.undos += usize::from(was_open);
            let actions_before = self.effects.port_actions.len();
            self.effects
                .leases
                .push(core::LeaseChange::Release { id, actions_before });
        }
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
        self.log(core::LogLine {
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
        if !self.own.timers.contains(&id) && self.own.timers.len() >= TIMERS_LIMIT {
            return Ok(Err(timer::TimerError::Full));
        }
        self.own.timers.insert(id);
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
        if self.own.timers.remove(&id) {
            self.effects.timers.push(core::TimerChange::Cancel {
                id: core::TimerId(id),
            });
        }
        Ok(())
    }
}

impl alarms::Host for HostState {
    fn raise(&mut self, key: String, severity: types::Severity, message: String) -> wasmtime::Result<bool> {
        self.charge(key.len() + message.len())?;
        if self.rights().is_none() || key.is_empty() || key.len() > ALARM_KEY_LIMIT_BYTES {
            return Ok(false);
        }
        if !self.own.alarms.contains(&key) {
            if self.own.alarms.len() >= STANDING_ALARMS_LIMIT {
                return Ok(false);
            }
            self.own.alarms.insert(key.clone());
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
        if self.rights().is_none() || key.is_empty() || key.len() > ALARM_KEY_LIMIT_BYTES {
            return Ok(());
        }
        self.own.alarms.remove(&key);
        // Its predecessor may have raised one that it never heard of. Where none stands this is no change.
        self.effects.alarms.push(core::AlarmChange::Clear { key });
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use autobench_core::driver::versions::VersionHash;

    use super::super::health::Health;
    use super::super::host_state::{Mode, NoHolds, ReadSlices, Rights};
    use super::*;

    struct NoSlices;

    impl ReadSlices for NoSlices {
        fn read(&self, _slice: &str) -> Option<String> {
            None
        }
    }

    /// The numbers stand in `wit/telemetry.wit`.
    #[test]
    fn one_wrong_series_loses_the_push_and_each_sample_counts_24_bytes_of_the_call() {
        let rights = Rights {
            device: "probe".into(),
            ports: Arc::new([]),
            readable_slices: Arc::new([]),
            slices: Arc::new(NoSlices),
            holds: Arc::new(NoHolds),
            series_count: 2,
            standing_alarms: BTreeSet::new(),
            version: VersionHash([0; 32]),
            health: Arc::new(Health::default()),
        };
        let mut state = HostState::new(Mode::Live(rights), 1 << 20);
        let mut push = |series: &[u32]| {
            let samples = series.iter().map(|series| telemetry::Sample {
                series: *series,
                timestamp_ms: 0.0,
                value: 1.0,
            });
            let answer = telemetry::Host::push(&mut state, samples.collect()).unwrap();
            (
                answer.is_ok(),
                format!("{answer:?}"),
                state.effects.samples.len(),
                state.host_call_bytes,
            )
        };
        let (is_taken, error, taken, bytes) = push(&[0, 7, 1, 9]);
        assert!(!is_taken && error.contains("UnknownSeries(7)"), "{error}");
        assert_eq!((taken, bytes), (0, 4 * 24 + 32));
        let (is_taken, _, taken, bytes) = push(&[0, 1]);
        assert!(is_taken);
        assert_eq!((taken, bytes), (2, 6 * 24 + 2 * 32));
    }

    #[test]
    fn a_text_is_cut_at_a_character_border_and_marked() {
        assert_eq!(cut("short".to_owned(), 8), "short");
        let cut = cut("äöüäöü".to_owned(), 8);
        assert!(cut.len() <= 8 && cut.ends_with('…'), "{cut:?}");
    }
}
