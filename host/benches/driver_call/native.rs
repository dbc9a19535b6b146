//! The power meter's driver without wasm: the SDK's runtime, and a host that collects into the core's effects as the daemon's does.

use std::sync::Arc;

use autobench_core::driver::{
    CallTime, Effects, Event, Fault, Guest, LogLevel, LogLine, PortIndex, Refusal, Sample, Snapshot,
    StartInput, StopReason, TimerChange, TimerId,
};
use autobench_core::state::{Operation, Pointer, Value};
use autobench_sdk::bindings::exports::autobench::driver::guest;
use autobench_sdk::native::{self, Host, Native};
use autobench_sdk::{
    Attribute, CommandError, EventError, Identity, InputSignals, LeaseError, Level, LineSettings, Outcome,
    OutputSignals, Path, SerialError, Severity, StateError, TelemetryError, TimerError,
};
use power_meter::PowerMeter;

/// Both sides of the native driver.
pub struct NativeGuest {
    driver: Option<Native<PowerMeter>>,
    host: CollectingHost,
}

impl NativeGuest {
    /// Not started yet.
    pub fn new() -> Self {
        Self {
            driver: None,
            host: CollectingHost {
                effects: Effects::default(),
                time: CallTime {
                    monotonic_ns: 0,
                    wall_ms: 0.0,
                },
                interned: Vec::new(),
            },
        }
    }

    fn call<R>(&mut self, time: CallTime, effects: &mut Effects, call: impl FnOnce(&mut Self) -> R) -> R {
        self.host.time = time;
        std::mem::swap(&mut self.host.effects, effects);
        let result = call(self);
        std::mem::swap(&mut self.host.effects, effects);
        result
    }
}

impl Guest for NativeGuest {
    fn start(
        &mut self,
        input: &StartInput,
        time: CallTime,
        effects: &mut Effects,
    ) -> Result<Result<(), Refusal>, Fault> {
        let configuration = native::Configuration {
            device: input.device.to_string(),
            reason: guest::StartReason::Cold,
            settings: input.settings.to_string(),
            ports: input
                .ports
                .iter()
                .map(|port| guest::PortState {
                    name: port.name.to_string(),
                    attached: port.attached,
                    offset: port.offset,
                })
                .collect(),
            slice: None,
            snapshot: None,
            commands: Vec::new(),
            timers: Vec::new(),
            leases: Vec::new(),
            attributes: Vec::new(),
        };
        self.call(time, effects, |this| {
            this.driver = Some(Native::start(&mut this.host, configuration).unwrap());
        });
        Ok(Ok(()))
    }

    fn handle(&mut self, event: &Event<'_>, time: CallTime, effects: &mut Effects) -> Result<(), Fault> {
        // A driver owns what it is given, here as in a component.
        let event = match event {
            Event::Bytes {
                port: PortIndex(0),
                offset,
                received_ns,
                received_ms,
                data,
                replayed,
            } => native::Event::Bytes(guest::Bytes {
                port: "main".to_owned(),
                offset: *offset,
                received_ns: *received_ns,
                received_ms: *received_ms,
                data: data.to_vec(),
                replayed: *replayed,
            }),
            Event::Timer(timer) => native::Event::Timer(timer.0),
            Event::Other { kind, data } => native::Event::Other(guest::OtherEvent {
                kind: kind.to_string(),
                data: data.to_string(),
            }),
            other => panic!("the bench has no such event: {other:?}"),
        };
        self.call(time, effects, |this| {
            this.driver.as_mut().unwrap().handle(&mut this.host, event);
        });
        Ok(())
    }

    fn snapshot(&mut self, _time: CallTime) -> Result<Snapshot, Fault> {
        panic!("the bench takes no snapshots")
    }

    fn stop(&mut self, _reason: StopReason, _time: CallTime, _effects: &mut Effects) -> Result<(), Fault> {
        panic!("the bench stops nothing")
    }
}

struct CollectingHost {
    effects: Effects,
    time: CallTime,
    interned: Vec<Arc<Pointer>>,
}

impl CollectingHost {
    fn path(&self, path: &Path) -> Arc<Pointer> {
        match path {
            Path::Interned(number) => Arc::clone(&self.interned[*number as usize]),
            Path::Text(text) => Arc::new(Pointer::parse(text).unwrap()),
        }
    }
}

fn value(value: &autobench_sdk::Value) -> Value {
    match value {
        autobench_sdk::Value::Null => Value::Null,
        autobench_sdk::Value::Boolean(value) => Value::Boolean(*value),
        autobench_sdk::Value::Integer(value) => Value::Integer(*value),
        autobench_sdk::Value::Float(value) => Value::Float(*value),
        autobench_sdk::Value::Text(value) => Value::Text(value.clone()),
        autobench_sdk::Value::Json(text) => Value::Json(serde_json::from_str(text).unwrap()),
    }
}

impl Host for CollectingHost {
    fn update_slice(&mut self, operations: &[autobench_sdk::Operation]) -> Result<(), StateError> {
        for operation in operations {
            let operation = match operation {
                autobench_sdk::Operation::Set(set) => Operation::Set {
                    path: self.path(&set.path),
                    value: value(&set.value),
                },
                autobench_sdk::Operation::Remove(path) => Operation::Remove {
                    path: self.path(path),
                },
                autobench_sdk::Operation::Append(append) => Operation::Append {
                    path: self.path(&append.path),
                    value: value(&append.value),
                    bound: append.bound,
                },
            };
            self.effects.operations.push(operation);
        }
        Ok(())
    }

    fn intern(&mut self, path: &str) -> Result<u32, StateError> {
        self.interned.push(Arc::new(Pointer::parse(path).unwrap()));
        Ok(self.interned.len() as u32 - 1)
    }

    fn push(&mut self, samples: &[autobench_sdk::Sample]) -> Result<(), TelemetryError> {
        self.effects.samples.extend(samples.iter().map(|sample| {
            (
                sample.series,
                Sample {
                    timestamp_ms: sample.timestamp_ms,
                    value: sample.value,
                },
            )
        }));
        Ok(())
    }

    fn log(&mut self, _level: Level, message: &str, _attributes: &[Attribute]) {
        self.effects.logs.push(LogLine {
            level: LogLevel::Info,
            message: message.to_owned(),
            attributes: Vec::new(),
        });
    }

    fn monotonic_ns(&mut self) -> u64 {
        self.time.monotonic_ns
    }

    fn wall_ms(&mut self) -> f64 {
        self.time.wall_ms
    }

    fn set_timer(&mut self, id: u32, after_ms: u32) -> Result<(), TimerError> {
        self.effects.timers.push(TimerChange::Set {
            id: TimerId(id),
            at_ns: self.time.monotonic_ns + u64::from(after_ms) * 1_000_000,
        });
        Ok(())
    }

    fn cancel_timer(&mut self, id: u32) {
        self.effects.timers.push(TimerChange::Cancel { id: TimerId(id) });
    }

    fn phase(&mut self, _name: &str) {}

    fn failed(&mut self, reason: &str) {
        panic!("the driver gives up: {reason}")
    }

    // The device is away, as it is for the component.

    fn write(&mut self, _port: &str, _data: &[u8]) -> Result<(), SerialError> {
        Err(SerialError::NotAttached)
    }

    fn discard_output(&mut self, _port: &str) -> Result<(), SerialError> {
        Err(SerialError::NotAttached)
    }

    fn set_line(&mut self, _port: &str, _settings: LineSettings) -> Result<(), SerialError> {
        Err(SerialError::NotAttached)
    }

    fn set_signals(&mut self, _port: &str, _signals: OutputSignals) -> Result<(), SerialError> {
        Err(SerialError::NotAttached)
    }

    fn get_signals(&mut self, _port: &str) -> Result<InputSignals, SerialError> {
        Err(SerialError::NotAttached)
    }

    fn identity(&mut self, _port: &str) -> Result<Identity, SerialError> {
        Err(SerialError::NotAttached)
    }

    // The power meter asks for none of these.

    fn read_slice(&mut self, _name: &str) -> Result<String, StateError> {
        Err(StateError::NotGranted)
    }

    fn acquire_lease(
        &mut self,
        _id: u32,
        _port: &str,
        _release: &[u8],
        _maximum_ms: u32,
        _holder: Option<&str>,
    ) -> Result<(), LeaseError> {
        Err(LeaseError::NotSupported)
    }

    fn release_lease(&mut self, _id: u32) {}

    fn acknowledge(&mut self, _id: &str) -> Result<(), CommandError> {
        Err(CommandError::UnknownCommand)
    }

    fn progress(&mut self, _id: &str, _message: &str, _share: Option<f64>) -> Result<(), CommandError> {
        Err(CommandError::UnknownCommand)
    }

    fn complete(&mut self, _id: &str, _outcome: &Outcome) -> Result<(), CommandError> {
        Err(CommandError::UnknownCommand)
    }

    fn raise_alarm(&mut self, _key: &str, _severity: Severity, _message: &str) -> bool {
        false
    }

    fn clear_alarm(&mut self, _key: &str) {}

    fn publish(
        &mut self,
        _level: Level,
        _kind: &str,
        _message: &str,
        _context: &str,
    ) -> Result<(), EventError> {
        Err(EventError::NotGranted)
    }
}
