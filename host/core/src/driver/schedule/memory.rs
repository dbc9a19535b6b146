//! What the driver of the schedule remembers, and what it does with an event: everything follows from what it was told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::*;
use crate::state::{Operation, Pointer, Value};

pub const HEARTBEAT: TimerId = TimerId(9);
pub const AFTER_SWAP: TimerId = TimerId(7);
const WATCHDOG: TimerId = TimerId(1);
const COMPLETE: TimerId = TimerId(20);
const MS: u64 = 1_000_000;
const HISTORY: usize = 8;
/// Alarms that it raises and clears.
const ALARMS: u64 = 4;
/// Leases that it takes and gives back.
pub const LEASES_USED: u32 = 6;

/// A command whose sender holds leases.
pub fn holder(number: u32) -> CommandId {
    CommandId(format!("hold-{number}").into())
}
/// What the slice's limit refuses.
pub const TOO_LARGE: &str = "too large";

/// What the driver remembers. Its slice is a picture of the part that records and events change.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Memory {
    pub ports: Vec<PortMemory>,
    pub ticks: u64,
    pub heard: u64,
    pub gap_bytes: u64,
    pub pending: Vec<String>,
    pub history: VecDeque<(usize, u64, u64)>,
    /// Its alarms that stand.
    pub alarms: BTreeSet<String>,
    /// The leases that it takes for open.
    pub leases: BTreeSet<u32>,
    /// What it was told of foreign slices.
    pub observed: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PortMemory {
    pub attached: bool,
    pub position: u64,
    pub hash: u64,
    pub records: u64,
    hash_at_record: u64,
    record: Vec<u8>,
}

impl Memory {
    pub fn slice(&self) -> serde_json::Value {
        let ports = self.ports.iter().map(|port| {
            json!({"attached": port.attached, "records": port.records, "hash": hex(port.hash_at_record)})
        });
        json!({
            "ports": ports.collect::<Vec<_>>(),
            "ticks": self.ticks,
            "heard": self.heard,
            "gapBytes": self.gap_bytes,
            "pending": self.pending,
            "history": self.history,
        })
    }

    /// As it was when the records that are not whole began.
    pub fn without_partial_records(&self) -> Self {
        let mut memory = self.clone();
        for port in &mut memory.ports {
            port.position -= port.record.len() as u64;
            port.hash = port.hash_at_record;
            port.record.clear();
        }
        memory
    }

    pub fn start(&mut self, input: &StartInput, publish: bool, time: CallTime, effects: &mut Effects) {
        if input.snapshot.is_none() {
            *self = Self {
                ports: input
                    .ports
                    .iter()
                    .map(|port| PortMemory {
                        attached: port.attached,
                        position: port.offset,
                        ..PortMemory::default()
                    })
                    .collect(),
                ..Self::default()
            };
            effects.timers.push(set(HEARTBEAT, time, 100));
            for key in 0..ALARMS {
                // What a predecessor raised is nothing that this one knows of.
                effects.alarms.push(AlarmChange::Clear { key: key.to_string() });
            }
            for command in &input.commands {
                effects.replies.push(CommandReply::Complete {
                    id: command.id.clone(),
                    outcome: Outcome::Failed("forgotten".to_owned()),
                });
            }
        }
        if input.reason == StartReason::Swap {
            effects.timers.push(set(AFTER_SWAP, time, 20));
        }
        if publish {
            effects.operations.push(set_json("", self.slice()));
        }
        effects.samples.push((100, sample(time.wall_ms, 1)));
    }

    pub fn handle(&mut self, event: &Event<'_>, time: CallTime, effects: &mut Effects) {
        match event {
            Event::Bytes {
                port,
                offset,
                received_ms,
                data,
                ..
            } => {
                assert_eq!(
                    self.ports[port.0].position, *offset,
                    "bytes of port {port:?} are not contiguous"
                );
                assert!(!data.is_empty() && data.len() <= 64 * 1024);
                for &byte in *data {
                    self.byte(port.0, byte, *received_ms, time, effects);
                }
            }
            Event::PortAttached { port, offset, .. } => {
                let memory = &mut self.ports[port.0];
                assert_eq!(memory.position, *offset, "the border is not where the bytes end");
                memory.attached = true;
                memory.record.clear();
                memory.hash_at_record = memory.hash;
                write(effects, port.0, b"who are you");
                let hash = hex(memory.hash);
                effects
                    .operations
                    .push(set_json(&format!("/ports/{}/hash", port.0), json!(hash)));
                effects
                    .operations
                    .push(set_json(&format!("/ports/{}/attached", port.0), json!(true)));
            }
            Event::PortLost { port, .. } => {
                self.ports[port.0].attached = false;
                effects
                    .operations
                    .push(set_json(&format!("/ports/{}/attached", port.0), json!(false)));
            }
            Event::Overrun { port, from, to, .. } => {
                let memory = &mut self.ports[port.0];
                assert!(
                    memory.position == *from && from < to,
                    "the gap is not where the bytes end"
                );
                memory.position = *to;
                memory.record.clear();
                memory.hash_at_record = memory.hash;
                self.gap_bytes += to - from;
                let hash = hex(memory.hash);
                effects
                    .operations
                    .push(set_json(&format!("/ports/{}/hash", port.0), json!(hash)));
                effects
                    .operations
                    .push(set_json("/gapBytes", json!(self.gap_bytes)));
            }
            Event::Timer(id) => {
                self.ticks += 1;
                effects.operations.push(set_json("/ticks", json!(self.ticks)));
                effects
                    .samples
                    .push((10 + id.0, sample(time.wall_ms, self.ticks)));
                match *id {
                    HEARTBEAT => effects.timers.push(set(HEARTBEAT, time, 100)),
                    WATCHDOG => write(effects, 0, b"still there"),
                    COMPLETE => {
                        for id in self.pending.drain(..) {
                            effects.replies.push(CommandReply::Complete {
                                id: CommandId(id.into()),
                                outcome: Outcome::Succeeded(Some(Value::Integer(self.ticks as i64))),
                            });
                        }
                        effects.operations.push(set_json("/pending", json!([])));
                    }
                    _ => {}
                }
            }
            Event::Command(command) => {
                self.pending.push(command.id.0.to_string());
                effects.replies.push(CommandReply::Acknowledge {
                    id: command.id.clone(),
                });
                write(effects, 0, command.id.0.as_bytes());
                effects.timers.push(set(COMPLETE, time, 3));
                effects.operations.push(set_json("/pending", json!(self.pending)));
            }
            Event::CommandCancelled { id, .. } => {
                if let Some(index) = self.pending.iter().position(|pending| **pending == *id.0) {
                    self.pending.remove(index);
                    effects.replies.push(CommandReply::Complete {
                        id: id.clone(),
                        outcome: Outcome::Cancelled,
                    });
                    effects.operations.push(set_json("/pending", json!(self.pending)));
                }
            }
            Event::LeaseEnded { id, .. } => {
                self.leases.remove(&id.0);
                effects.samples.push((300 + id.0, sample(time.wall_ms, 1)));
            }
            Event::Observed { slice, value } => {
                let value = value.as_deref().map(str::to_owned);
                let number = value.as_deref().map_or(0, |value| value.parse().unwrap());
                self.observed.insert(slice.to_string(), value);
                effects.samples.push((200, sample(time.wall_ms, number)));
            }
            Event::Other { kind, .. } if &**kind == "update-refused" => {
                self.heard += 1;
                effects.operations.push(set_json("", self.slice()));
            }
            _ => {
                self.heard += 1;
                effects.operations.push(set_json("/heard", json!(self.heard)));
            }
        }
    }

    fn byte(&mut self, index: usize, byte: u8, received_ms: f64, time: CallTime, effects: &mut Effects) {
        let port = &mut self.ports[index];
        port.position += 1;
        port.hash = (port.hash ^ u64::from(byte))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(23);
        port.record.push(byte);
        if port.record.len() < 1 + usize::from(port.record[0] % 23) {
            return;
        }
        port.record.clear();
        port.records += 1;
        port.hash_at_record = port.hash;
        let (digest, records) = (port.hash, port.records);
        effects
            .samples
            .push((index as u32, sample(received_ms, digest >> 12)));
        write(effects, index, &digest.to_le_bytes());
        effects.timers.push(set(WATCHDOG, time, 50));
        if digest.is_multiple_of(7) {
            effects
                .timers
                .push(set(TimerId(2 + (digest >> 8) as u32 % 4), time, digest % 40));
        }
        if digest.is_multiple_of(11) {
            effects.timers.push(TimerChange::Cancel {
                id: TimerId(2 + (digest >> 8) as u32 % 4),
            });
        }
        effects
            .operations
            .push(set_json(&format!("/ports/{index}/records"), json!(records)));
        effects
            .operations
            .push(set_json(&format!("/ports/{index}/hash"), json!(hex(digest))));
        if digest.is_multiple_of(53) {
            // Refused for its place, which everybody can see, or for its size, which only the store knows.
            effects.operations.push(match records.is_multiple_of(2) {
                true => set_json("/not/there", json!(1)),
                false => set_json("/gapBytes", json!(TOO_LARGE)),
            });
        }
        if digest.is_multiple_of(5) {
            let key = (digest % ALARMS).to_string();
            effects.alarms.push(match self.alarms.remove(&key) {
                true => AlarmChange::Clear { key },
                false => {
                    self.alarms.insert(key.clone());
                    AlarmChange::Raise {
                        key,
                        severity: Severity::Warning,
                        message: String::new(),
                    }
                }
            });
        }
        let id = (digest >> 20) as u32 % LEASES_USED;
        if digest.is_multiple_of(9) {
            self.leases.insert(id);
            effects.leases.push(LeaseChange::Acquire {
                id: LeaseId(id),
                port: PortIndex((digest >> 24) as usize % 2),
                release: digest.to_le_bytes().into(),
                maximum_ms: 1 + (digest >> 28) as u32 % 3_000,
                holder: (!digest.is_multiple_of(5)).then(|| holder((digest >> 40) as u32 % LEASES_USED)),
            });
        }
        if digest.is_multiple_of(14) {
            let id = id.wrapping_add(1) % LEASES_USED;
            self.leases.remove(&id);
            effects.leases.push(LeaseChange::Release {
                id: LeaseId(id),
                actions_before: effects.port_actions.len(),
            });
        }
        let entry = (index, digest >> 12, (received_ms * 1000.0) as u64);
        effects.operations.push(Operation::Append {
            path: pointer("/history"),
            value: Value::Json(json!(entry)),
            bound: HISTORY as u32,
        });
        self.history.push_back(entry);
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        if digest.is_multiple_of(701) {
            effects
                .status
                .push(StatusChange::Failed("a bad record".to_owned()));
        }
        effects.logs.push(LogLine {
            level: LogLevel::Debug,
            message: format!("record {records}"),
            attributes: Vec::new(),
        });
    }
}

/// The driver that is never interrupted.
#[derive(Debug, Clone, Default)]
pub struct Reference {
    pub memory: Memory,
}

impl Reference {
    pub fn start(&mut self, input: &StartInput, time: CallTime) -> Effects {
        let mut effects = Effects::default();
        self.memory.start(input, true, time, &mut effects);
        effects
    }

    pub fn handle(&mut self, event: &Event<'_>, time: CallTime) -> Effects {
        let mut effects = Effects::default();
        self.memory.handle(event, time, &mut effects);
        effects
    }
}

fn set(id: TimerId, time: CallTime, after_ms: u64) -> TimerChange {
    TimerChange::Set {
        id,
        at_ns: time.monotonic_ns + after_ms * MS,
    }
}

fn sample(timestamp_ms: f64, value: u64) -> Sample {
    Sample {
        timestamp_ms,
        value: value as f64,
    }
}

pub fn write(effects: &mut Effects, port: usize, data: &[u8]) {
    effects
        .port_actions
        .push((PortIndex(port), PortAction::Write(data.to_vec())));
}

fn set_json(path: &str, value: serde_json::Value) -> Operation {
    Operation::Set {
        path: pointer(path),
        value: Value::Json(value),
    }
}

fn pointer(path: &str) -> Arc<Pointer> {
    Arc::new(Pointer::parse(path).unwrap())
}

fn hex(hash: u64) -> String {
    format!("{hash:016x}")
}
