//! The driver of the schedule test: everything it does follows from what it was told, so that a second one, which is never interrupted, says
//! what the first should have done.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
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
    fn without_partial_records(&self) -> Self {
        let mut memory = self.clone();
        for port in &mut memory.ports {
            port.position -= port.record.len() as u64;
            port.hash = port.hash_at_record;
            port.record.clear();
        }
        memory
    }

    fn start(&mut self, input: &StartInput, publish: bool, time: CallTime, effects: &mut Effects) {
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

    fn handle(&mut self, event: &Event<'_>, time: CallTime, effects: &mut Effects) {
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
#[derive(Debug, Default)]
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

/// What goes wrong. Shared by all guests of a schedule.
#[derive(Debug)]
pub struct Plan {
    pub rng: Rng,
    /// Of 1,000 calls, so many trap.
    pub trap_per_mille: u64,
    /// A byte over which every guest traps.
    pub poison: Option<(PortIndex, u64)>,
    /// A timer over which every guest traps.
    pub poison_timer: Option<TimerId>,
    /// Of 1,000 starts from a snapshot, so many do not understand it.
    pub refuse_per_mille: u64,
    /// Memory of the guest that was made last.
    pub newest: Rc<RefCell<Memory>>,
    /// Whether the last start published a slice.
    pub newest_published: bool,
    pub counts: Counts,
}

macro_rules! counts {
    ($($name:ident),* $(,)?) => {
        /// How often things happened, so that schedules that have become harmless are noticed.
        #[derive(Debug, Clone, Copy, Default)]
        pub struct Counts {
            $(pub $name: u64,)*
        }

        impl Counts {
            pub fn add(&mut self, other: Counts) {
                $(self.$name += other.$name;)*
            }

            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counts! {
    start_traps,
    handle_traps,
    replay_traps,
    snapshot_traps,
    refused_starts,
    bytes_replayed_in_swaps,
    bytes_replayed_in_restarts,
    breakdowns,
    swaps,
    swaps_refused,
    swaps_of_the_dead,
    cold_starts,
    replays_with_loss,
    overruns,
    skipped_bytes,
    skipped_events,
    commands_failed,
    commands_completed,
    refused_updates,
    quarantines,
    commits,
    samples,
}

/// The driver that is interrupted.
pub struct TestGuest {
    memory: Rc<RefCell<Memory>>,
    plan: Rc<RefCell<Plan>>,
    dead: bool,
    started: bool,
    /// A memory of some records ago, for a snapshot that leaves whole records to the replay.
    anchor: Option<Box<Memory>>,
    records_since_anchor: u64,
    reported: Vec<u64>,
    /// A driver may leave its slice as it is when it starts.
    publishes: bool,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    memory: Memory,
    /// The slice is ahead of the memory, so the start has to publish it.
    behind: bool,
}

impl TestGuest {
    pub fn new(plan: &Rc<RefCell<Plan>>) -> Self {
        let memory = Rc::new(RefCell::new(Memory::default()));
        let mut shared = plan.borrow_mut();
        shared.newest = Rc::clone(&memory);
        let publishes = shared.rng.chance(500);
        drop(shared);
        Self {
            memory,
            plan: Rc::clone(plan),
            dead: false,
            started: false,
            anchor: None,
            records_since_anchor: 0,
            reported: Vec::new(),
            publishes,
        }
    }

    /// Where in a call it traps, if it does: after it has done its work, or before.
    fn trap(&self) -> Option<bool> {
        let plan = &mut *self.plan.borrow_mut();
        let traps = plan.rng.chance(plan.trap_per_mille);
        traps.then(|| plan.rng.chance(500))
    }

    fn fault(&mut self, export: &'static str) -> Fault {
        self.dead = true;
        Fault {
            kind: FaultKind::Trap,
            export,
            detail: "unreachable".to_owned(),
        }
    }

    fn is_poisoned(&self, event: &Event<'_>) -> bool {
        let plan = self.plan.borrow();
        match event {
            Event::Bytes {
                port, offset, data, ..
            } => plan.poison.is_some_and(|(bad, at)| {
                bad == *port && (*offset..*offset + data.len() as u64).contains(&at)
            }),
            Event::Timer(id) => plan.poison_timer == Some(*id),
            _ => false,
        }
    }
}

impl Guest for TestGuest {
    fn start(
        &mut self,
        input: &StartInput,
        time: CallTime,
        effects: &mut Effects,
    ) -> Result<Result<(), Refusal>, Fault> {
        assert!(!self.dead && !self.started, "start is called once");
        self.started = true;
        let trap = self.trap();
        if trap == Some(false) {
            self.plan.borrow_mut().counts.start_traps += 1;
            return Err(self.fault("start"));
        }
        let mut publish = true;
        if let Some(snapshot) = &input.snapshot {
            let plan = &mut *self.plan.borrow_mut();
            if plan.rng.chance(plan.refuse_per_mille) {
                plan.counts.refused_starts += 1;
                let unknown = plan.rng.chance(500);
                return Ok(Err(match unknown {
                    true => Refusal::UnknownSnapshot("another schema".to_owned()),
                    false => Refusal::Other("in a bad mood".to_owned()),
                }));
            }
            let Saved { memory, behind } = serde_json::from_slice(&snapshot.data).unwrap();
            publish = behind || self.publishes;
            let listed: Vec<_> = input
                .commands
                .iter()
                .map(|command| command.id.0.to_string())
                .collect();
            assert_eq!(
                listed, memory.pending,
                "commands in flight are those of the snapshot"
            );
            self.reported = snapshot.consumed.iter().map(|&(_, to)| to).collect();
            for (state, port) in input.ports.iter().zip(&memory.ports) {
                assert_eq!((state.attached, state.offset), (port.attached, port.position));
            }
            *self.memory.borrow_mut() = memory;
        }
        self.plan.borrow_mut().newest_published = publish;
        self.memory.borrow_mut().start(input, publish, time, effects);
        if trap == Some(true) {
            self.plan.borrow_mut().counts.start_traps += 1;
            return Err(self.fault("start"));
        }
        Ok(Ok(()))
    }

    fn handle(&mut self, event: &Event<'_>, time: CallTime, effects: &mut Effects) -> Result<(), Fault> {
        assert!(!self.dead && self.started, "a dead guest is called");
        let replayed = matches!(event, Event::Bytes { replayed: true, .. });
        let trap = match self.is_poisoned(event) {
            true => Some(self.plan.borrow_mut().rng.chance(500)),
            false => self.trap(),
        };
        let before = self
            .memory
            .borrow()
            .ports
            .iter()
            .map(|port| port.records)
            .sum::<u64>();
        if trap != Some(false) {
            self.memory.borrow_mut().handle(event, time, effects);
        }
        if trap.is_some() {
            let counts = &mut self.plan.borrow_mut().counts;
            match replayed {
                true => counts.replay_traps += 1,
                false => counts.handle_traps += 1,
            }
        }
        if trap.is_some() {
            return Err(self.fault("handle"));
        }
        let memory = self.memory.borrow();
        let records = memory.ports.iter().map(|port| port.records).sum::<u64>() - before;
        self.records_since_anchor += records;
        if !matches!(event, Event::Bytes { .. }) {
            self.anchor = None;
        } else if records > 0 && (self.anchor.is_none() || self.records_since_anchor > 12) {
            self.anchor = Some(Box::new(memory.without_partial_records()));
            self.records_since_anchor = 0;
        }
        Ok(())
    }

    fn snapshot(&mut self, _time: CallTime) -> Result<Snapshot, Fault> {
        assert!(!self.dead && self.started, "a dead guest is called");
        if self.trap().is_some() {
            self.plan.borrow_mut().counts.snapshot_traps += 1;
            return Err(self.fault("snapshot"));
        }
        let memory = self.memory.borrow();
        let kind = self.plan.borrow_mut().rng.below(3);
        let possible = |memory: &Memory| {
            let reported = self.reported.iter().copied().chain(std::iter::repeat(0));
            memory
                .ports
                .iter()
                .zip(reported)
                .all(|(port, reported)| port.position >= reported)
        };
        let (saved, behind) = match (kind, self.anchor.as_deref()) {
            (0, Some(anchor)) if possible(anchor) => (anchor.clone(), true),
            (0 | 1, _) if possible(&memory.without_partial_records()) => {
                (memory.without_partial_records(), false)
            }
            _ => (memory.clone(), false),
        };
        let consumed: Vec<_> = saved
            .ports
            .iter()
            .enumerate()
            .map(|(index, port)| (PortIndex(index), port.position))
            .collect();
        self.reported = consumed.iter().map(|&(_, to)| to).collect();
        let data = serde_json::to_vec(&Saved {
            memory: saved,
            behind,
        })
        .unwrap();
        Ok(Snapshot {
            schema_version: 1,
            data: data.into(),
            consumed,
        })
    }

    fn stop(&mut self, _reason: StopReason, _time: CallTime, effects: &mut Effects) -> Result<(), Fault> {
        assert!(!self.dead && self.started, "a dead guest is called");
        write(effects, 0, b"bye");
        Ok(())
    }
}

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
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

fn write(effects: &mut Effects, port: usize, data: &[u8]) {
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
