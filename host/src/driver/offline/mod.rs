//! A plugin over a capture, without a daemon: the core's offline bench with a component as its driver.
//!
//! Everything that a driver meets in the daemon is as there: the same instance with the same limits and deadlines, the same cell. Its port takes what
//! it writes and sends it nowhere, foreign slices are not to be read, and there are no commands.

mod port;
mod profile;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use autobench_core::capture::{Capture, Record, What};
use autobench_core::driver::offline::{Entry, NeverAtRest, OfflineBench, OfflineSetup};
use autobench_core::driver::{
    CallTime, Effects, Event, Fault, Guest, Refusal, Snapshot, StartInput, StopReason,
};
use jsonschema::Validator;
use serde_json::Value;

pub use self::port::PlayedPort;
pub use self::profile::{Profile, ProfileError, Sampler, profile};

use super::arguments::{complaint, validator};
use super::engine::Engine;
use super::health::Health;
use super::host_state::{NoHolds, ReadSlices, Rights};
use super::instance::Instance;
use super::loader::Prepared;
use crate::config::DriverLimits;
use crate::serial::PortView;

/// What a driver is played with.
#[derive(Clone)]
pub struct Play<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The plugin.
    pub prepared: &'a Arc<Prepared>,
    /// What is played.
    pub capture: &'a Capture,
    /// Its settings.
    pub settings: &'a Value,
}

/// Why a capture is not played, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The driver has no such port.
    #[error("the capture is of the port {port:?}, which {driver} does not have; it has {known}")]
    NoSuchPort {
        /// The capture's.
        port: String,
        /// The driver.
        driver: String,
        /// Its ports.
        known: String,
    },
    /// The settings are not what its schema asks for.
    #[error("the settings are not what {0} takes: {1}")]
    Settings(String, String),
    /// One of its schemas cannot be used.
    #[error("its {0} cannot be used: {1}")]
    Schema(&'static str, String),
    /// It goes on for ever.
    #[error(transparent)]
    NeverAtRest(#[from] NeverAtRest),
    /// This program's own fault.
    #[error("it cannot be played: {0}")]
    Host(String),
}

/// What a driver did over one record.
#[derive(Debug)]
pub struct Played<'a> {
    /// Which record, from 1: the line of the file without its header. None for the stop at the end.
    pub number: Option<usize>,
    /// The record.
    pub record: Option<&'a Record>,
    /// What it asked for, call by call, and what became of it.
    pub entries: Vec<Value>,
    /// Where its slice is not what its own schema says, if that is so now.
    pub schema_problem: Option<String>,
    /// What it cost.
    pub cost: Cost,
}

/// What calls cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Calls into the driver, checkpoints among them.
    pub calls: u32,
    /// Time inside of them.
    pub took: Duration,
    /// Memory after the last of them.
    pub memory_bytes: u64,
}

/// A plugin that plays a capture.
pub struct Player<'a> {
    play: Play<'a>,
    bench: OfflineBench<Measured>,
    port: Arc<PlayedPort>,
    port_views: Arc<[Arc<dyn PortView>]>,
    health: Arc<Health>,
    cost: Rc<RefCell<Cost>>,
    slice_schema: Option<Validator>,
    sampler: Option<Sampler>,
    next: usize,
    is_over: bool,
}

impl<'a> Player<'a> {
    /// Readies a plugin for a capture.
    pub fn new(play: Play<'a>) -> Result<Self, PlayError> {
        let manifest = &play.prepared.manifest;
        let port_name = &play.capture.header.port;
        if !manifest.ports.iter().any(|wish| wish.name == *port_name) {
            let known: Vec<_> = manifest
                .ports
                .iter()
                .map(|wish| format!("{:?}", wish.name))
                .collect();
            return Err(PlayError::NoSuchPort {
                port: port_name.clone(),
                driver: manifest.name.clone(),
                known: match known.is_empty() {
                    true => "none".to_owned(),
                    false => known.join(", "),
                },
            });
        }
        if let Some(schema) = &manifest.settings_schema {
            let schema =
                validator(schema).map_err(|problem| PlayError::Schema("settings-schema", problem))?;
            if let Some(problem) = complaint(&schema, play.settings, "the settings") {
                return Err(PlayError::Settings(manifest.name.clone(), problem));
            }
        }
        let slice_schema = manifest
            .slice_schema
            .as_ref()
            .map(|schema| validator(schema).map_err(|problem| PlayError::Schema("slice-schema", problem)))
            .transpose()?;
        let limits = DriverLimits::default();
        let asked = manifest.slice_bytes.and_then(|bytes| usize::try_from(bytes).ok());
        let name: Arc<str> = port_name.as_str().into();
        let bench = OfflineBench::new(OfflineSetup {
            device: play.capture.header.device.as_str().into(),
            port: Arc::clone(&name),
            settings: play.settings.to_string().into(),
            series: manifest.series.iter().map(|series| series.name.clone()).collect(),
            slice_limit_bytes: asked.map_or(limits.slice_bytes, |asked| asked.min(limits.slice_bytes)),
        })
        .map_err(|error| PlayError::Host(error.to_string()))?;
        let port = Arc::new(PlayedPort::new(name));
        Ok(Self {
            bench,
            port_views: Arc::new([Arc::clone(&port) as _]),
            port,
            health: Arc::default(),
            cost: Rc::default(),
            slice_schema,
            sampler: None,
            next: 0,
            is_over: false,
            play,
        })
    }

    /// Plays the next record; behind the last one, the stop. None when that was it.
    pub fn play_next(&mut self) -> Option<Result<Played<'a>, PlayError>> {
        if self.is_over {
            return None;
        }
        let index = self.next;
        let Some(record) = self.play.capture.records.get(index) else {
            self.is_over = true;
            let entries = self.bench.stop();
            return Some(Ok(self.played(None, None, &entries)));
        };
        self.next += 1;
        match &record.what {
            What::Attached { identity, .. } => self.port.set_attached(Some(Arc::new(identity.clone()))),
            What::Lost { .. } => self.port.set_attached(None),
            What::Received { .. } | What::Sent { .. } | What::Overrun { .. } => {}
        }
        let (engine, prepared) = (self.play.engine, self.play.prepared);
        let (ports, health, cost) = (&self.port_views, &self.health, &self.cost);
        let sampler = &self.sampler;
        let mut factory = || {
            let mut instance = instance(engine, prepared, ports, health)?;
            if let Some(sampler) = sampler {
                instance.sample_with(sampler.clone());
            }
            Ok(Measured {
                instance,
                cost: Rc::clone(cost),
            })
        };
        let entries = match self.bench.play(record, &mut factory) {
            Ok(entries) => entries,
            Err(never) => {
                self.is_over = true;
                return Some(Err(never.into()));
            }
        };
        Some(Ok(self.played(Some(index + 1), Some(record), &entries)))
    }

    /// Looks where its instances are at each tick of the epoch.
    fn sample_with(&mut self, sampler: &Sampler) {
        self.sampler = Some(sampler.clone());
    }

    /// Its slice as it stands.
    pub fn slice(&mut self) -> Option<Value> {
        self.bench.slice()
    }

    /// The most memory that it had.
    pub fn memory_peak_bytes(&self) -> u64 {
        self.health.memory_peak_bytes.get()
    }

    fn played(&mut self, number: Option<usize>, record: Option<&'a Record>, entries: &[Entry]) -> Played<'a> {
        let entries: Vec<_> = entries.iter().map(|entry| self.bench.to_json(entry)).collect();
        let has_updates = entries.iter().any(|entry| entry.get("updates").is_some());
        let slice = self.slice_schema.as_ref().filter(|_| has_updates);
        let schema_problem = slice.and_then(|schema| complaint(schema, &self.bench.slice()?, "the slice"));
        let taken = std::mem::take(&mut *self.cost.borrow_mut());
        Played {
            number,
            record,
            entries,
            schema_problem,
            cost: Cost {
                memory_bytes: self.health.memory_bytes.get(),
                ..taken
            },
        }
    }
}

/// An instance whose ports are played.
fn instance(
    engine: &Engine,
    prepared: &Prepared,
    ports: &Arc<[Arc<dyn PortView>]>,
    health: &Arc<Health>,
) -> Result<Instance, Fault> {
    let limit_bytes = DriverLimits::default().memory_bytes;
    let asked = prepared
        .manifest
        .memory_bytes
        .and_then(|bytes| usize::try_from(bytes).ok());
    let rights = Rights {
        device: "offline".into(),
        ports: Arc::clone(ports),
        readable_slices: Arc::new([]),
        slices: Arc::new(NoSlices),
        holds: Arc::new(NoHolds),
        series_count: prepared.manifest.series.len(),
        standing_alarms: BTreeSet::new(),
        version: prepared.hash,
        health: Arc::clone(health),
    };
    let memory_limit_bytes = asked.map_or(limit_bytes, |asked| asked.min(limit_bytes));
    Instance::new(engine, &prepared.pre, rights, memory_limit_bytes)
}

/// Nobody else has a slice.
struct NoSlices;

impl ReadSlices for NoSlices {
    fn read(&self, _slice: &str) -> Option<String> {
        None
    }
}

/// An instance whose calls are timed.
struct Measured {
    instance: Instance,
    cost: Rc<RefCell<Cost>>,
}

impl Measured {
    fn measured<R>(&mut self, call: impl FnOnce(&mut Instance) -> R) -> R {
        let began = Instant::now();
        let answer = call(&mut self.instance);
        let mut cost = self.cost.borrow_mut();
        cost.took += began.elapsed();
        cost.calls += 1;
        answer
    }
}

impl Guest for Measured {
    fn start(
        &mut self,
        input: &StartInput,
        time: CallTime,
        effects: &mut Effects,
    ) -> Result<Result<(), Refusal>, Fault> {
        self.measured(|instance| instance.start(input, time, effects))
    }

    fn handle(&mut self, event: &Event<'_>, time: CallTime, effects: &mut Effects) -> Result<(), Fault> {
        self.measured(|instance| instance.handle(event, time, effects))
    }

    fn snapshot(&mut self, time: CallTime) -> Result<Snapshot, Fault> {
        self.measured(|instance| instance.snapshot(time))
    }

    fn observes(&self) -> &[Arc<str>] {
        self.instance.observes()
    }

    fn stop(&mut self, reason: StopReason, time: CallTime, effects: &mut Effects) -> Result<(), Fault> {
        self.measured(|instance| instance.stop(reason, time, effects))
    }
}
