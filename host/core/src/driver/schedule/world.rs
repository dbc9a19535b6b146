//! What the driver of the schedule acts on: it takes the effects, and compares them with what the uninterrupted driver would have asked for.

mod sink;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value as Json;

use super::super::*;
use super::former::Former;
use super::guest::Plan;
use super::memory::{Memory, Reference, TOO_LARGE};
use super::{MS, PORTS};
use crate::state::{Operation, Value};

/// Takes the effects, and compares them with what the uninterrupted driver would have asked for.
pub struct World {
    pub plan: Rc<RefCell<Plan>>,
    inbox: SharedInbox,
    /// Memory of the driver that went live last.
    pub live: Rc<RefCell<Memory>>,
    pub reference: Reference,
    pub slice: Json,
    /// The slice before it was last replaced.
    pub slice_before: Json,
    /// A start has published what earlier refusals had kept out, and no checkpoint has seen that.
    pub published_unseen: bool,
    /// An update was refused, and the driver has not published its slice again since.
    pub slice_is_behind: bool,
    pub refuse_next_slice: bool,
    /// The predecessor rests, and everything that is told is its successor's.
    pub is_successors: bool,
    pub timers: BTreeSet<TimerId>,
    pub timers_unknown: bool,
    pub in_flight: Vec<Arc<Command>>,
    pub open_commands: BTreeSet<CommandId>,
    pub ports: [Stream; PORTS],
    /// What the predecessor of the last swap would be now, had it never been succeeded.
    pub former: Option<Former>,
    /// The predecessor comes back.
    pub is_returning: bool,
    /// Alarms that stand, and those that would, had the predecessor never been succeeded.
    pub alarms: BTreeSet<String>,
    pub former_alarms: Option<BTreeSet<String>>,
    /// Foreign slices that are there.
    pub foreign: BTreeMap<Arc<str>, u64>,
    /// Those of which the driver has to be told.
    pub watched: BTreeSet<Arc<str>>,
    /// What the driver that is live observes.
    pub live_observes: Vec<Arc<str>>,
    /// Those of which it was not told because it broke down over them twice.
    pub unheard: BTreeSet<Arc<str>>,
    /// Holds on the device, by their own numbers.
    pub leases: BTreeMap<u64, Lease>,
    /// Those of whose end the driver was not told because it broke down over it twice.
    pub leases_unheard: BTreeSet<LeaseId>,
    /// Bytes were lost that would have taken or given back leases.
    pub leases_unknown: bool,
}

/// Everything that ever came from a line.
#[derive(Default)]
pub struct Stream {
    pub bytes: Vec<u8>,
    pub pushes: Vec<(u64, CallTime)>,
    pub committed: u64,
    pub attached: bool,
    /// Bytes below were dropped by the ring at some time.
    pub dropped_below: u64,
    pub left_out: Option<(u64, u64)>,
}

impl World {
    pub fn new(plan: Rc<RefCell<Plan>>, inbox: SharedInbox) -> Self {
        Self {
            plan,
            inbox,
            live: Rc::default(),
            reference: Reference::default(),
            slice: Json::Null,
            slice_before: Json::Null,
            published_unseen: false,
            slice_is_behind: false,
            refuse_next_slice: false,
            is_successors: false,
            timers: BTreeSet::new(),
            timers_unknown: false,
            in_flight: Vec::new(),
            open_commands: BTreeSet::new(),
            ports: Default::default(),
            former: None,
            is_returning: false,
            alarms: BTreeSet::new(),
            former_alarms: None,
            foreign: BTreeMap::new(),
            watched: BTreeSet::new(),
            live_observes: Vec::new(),
            unheard: BTreeSet::new(),
            leases: BTreeMap::new(),
            leases_unheard: BTreeSet::new(),
            leases_unknown: false,
        }
    }

    /// At rest the driver takes those leases for open that are, and none is open for longer than it may be.
    pub fn check_leases(&self, now: CallTime) {
        for lease in self.leases.values() {
            assert!(lease.ends_ns > now.monotonic_ns, "{lease:?} is held for too long");
        }
        if self.leases_unknown {
            return;
        }
        let open = self.leases.values().map(|lease| lease.id);
        let open: BTreeSet<u32> = open
            .chain(self.leases_unheard.iter().copied())
            .map(|id| id.0)
            .collect();
        assert_eq!(
            self.live.borrow().leases,
            open,
            "the leases that the driver knows"
        );
    }

    /// At rest it knows of the slices that it observes what is so.
    pub fn check_observed(&self) {
        let live = self.live.borrow();
        for slice in &self.live_observes {
            let known = live.observed.get(&**slice).cloned().flatten();
            let known: Option<u64> = known.map(|value| value.parse().unwrap());
            assert!(
                known == self.foreign.get(slice).copied() || self.unheard.contains(slice),
                "it knows {known:?} of {slice}, which is {:?}",
                self.foreign.get(slice)
            );
        }
    }

    pub fn running_timers(&self) -> Vec<(u64, TimerId)> {
        self.inbox.with(|inbox| inbox.timers().running())
    }

    pub fn check_slice(&self) {
        if !self.slice_is_behind {
            assert_eq!(self.slice, self.reference.memory.slice(), "the slice");
        }
    }

    fn cold_input(&self, reason: StartReason) -> StartInput {
        StartInput {
            device: "meter".into(),
            reason,
            settings: "{}".into(),
            ports: self
                .ports
                .iter()
                .map(|stream| PortState {
                    name: "".into(),
                    attached: stream.attached,
                    offset: stream.committed,
                })
                .collect(),
            slice: None,
            snapshot: None,
            commands: self.in_flight.clone(),
            timers: Vec::new(),
            leases: Vec::new(),
        }
    }

    /// Follows a committed event, and answers what the uninterrupted driver asks for.
    fn follow(&mut self, taken: &Taken, time: CallTime) -> Effects {
        match taken {
            Taken::Bytes(chunk) => {
                let stream = &mut self.ports[chunk.port.0];
                assert_eq!(
                    stream.committed, chunk.from,
                    "bytes are committed once and in order"
                );
                stream.committed = chunk.to;
                let push = stream.pushes.partition_point(|&(offset, _)| offset <= chunk.from) - 1;
                let late = stream.pushes[push].1.monotonic_ns - chunk.received.monotonic_ns;
                assert!(late < MS, "the bytes were received {late} ns before");
                let event = Event::Bytes {
                    port: chunk.port,
                    offset: chunk.from,
                    received_ns: chunk.received.monotonic_ns,
                    received_ms: chunk.received.wall_ms,
                    data: &stream.bytes[chunk.from as usize..chunk.to as usize],
                    replayed: false,
                };
                return self.reference.handle(&event, time);
            }
            Taken::Event(Event::Overrun { port, from, to, .. }) => {
                let stream = &mut self.ports[port.0];
                assert_eq!(stream.committed, *from);
                if stream.left_out == Some((*from, *to)) {
                    stream.left_out = None;
                } else {
                    assert!(
                        *to <= stream.dropped_below,
                        "bytes are missing that the ring kept"
                    );
                    self.plan.borrow_mut().counts.overruns += 1;
                }
                stream.committed = *to;
            }
            Taken::Event(Event::Timer(id)) => {
                assert!(
                    self.timers_unknown || self.timers.remove(id),
                    "{id:?} was not running"
                );
            }
            Taken::Event(Event::Command(command)) => self.in_flight.push(Arc::clone(command)),
            Taken::Event(Event::Observed { slice, value }) => {
                assert!(self.live_observes.contains(slice), "nobody observes {slice}");
                self.unheard.remove(slice);
                let counts = &mut self.plan.borrow_mut().counts;
                match value {
                    Some(_) => counts.observed_values += 1,
                    None => counts.observed_ends += 1,
                }
            }
            Taken::Event(Event::PortAttached { port, .. }) => self.ports[port.0].attached = true,
            Taken::Event(Event::PortLost { port, .. }) => self.ports[port.0].attached = false,
            Taken::Event(Event::LeaseEnded { id, .. }) => {
                self.plan.borrow_mut().counts.leases_told += 1;
                assert!(!self.is_held(*id), "{id:?} is still held");
                assert!(
                    self.leases_unknown || self.reference.memory.leases.contains(&id.0),
                    "it is told of {id:?}, which it does not hold"
                );
            }
            Taken::Event(_) => {}
        }
        let Taken::Event(event) = taken else {
            unreachable!()
        };
        self.reference.handle(event, time)
    }

    /// The predecessor would have been told the same.
    fn note(&mut self, taken: &Taken, time: CallTime) {
        if let Some(former) = &mut self.former {
            former.told(taken, time, &self.ports);
        }
    }

    fn apply_outside(&mut self, effects: &Effects) {
        change_alarms(&mut self.alarms, effects);
        for change in &effects.timers {
            match change {
                TimerChange::Set { id, .. } => self.timers.insert(*id),
                TimerChange::Cancel { id } => self.timers.remove(id),
            };
        }
        for reply in &effects.replies {
            if let CommandReply::Complete { id, .. } = reply {
                assert!(self.open_commands.remove(id), "{id:?} is completed twice");
                self.in_flight.retain(|command| command.id != *id);
                self.plan.borrow_mut().counts.commands_completed += 1;
            }
        }
    }

    pub fn is_held(&self, id: LeaseId) -> bool {
        self.leases.values().any(|lease| lease.id == id)
    }

    fn undo(&mut self, lease: &Lease) {
        let held = self.leases.remove(&lease.number);
        assert_eq!(held.as_ref(), Some(lease), "it is undone once");
    }

    /// What goes out on the ports, without what the host does to end holds.
    fn undo_holds(&mut self, effects: &mut Effects) {
        let actions = std::mem::take(&mut effects.port_actions);
        for (port, action) in actions {
            match action {
                PortAction::Undo(lease) => {
                    assert_eq!(lease.port, port);
                    self.plan.borrow_mut().counts.leases_given_back += 1;
                    self.undo(&lease);
                }
                action => effects.port_actions.push((port, action)),
            }
        }
    }

    /// A second reading of what operations mean.
    fn apply_to_slice(&mut self, operations: &[Operation]) {
        for operation in operations {
            match operation {
                Operation::Set {
                    path,
                    value: Value::Json(value),
                } => match self.slice.pointer_mut(path.as_str()) {
                    Some(place) => *place = value.clone(),
                    None => panic!("the driver only sets what is there: {path}"),
                },
                Operation::Append {
                    path,
                    value: Value::Json(value),
                    bound,
                } => {
                    let array = self
                        .slice
                        .pointer_mut(path.as_str())
                        .unwrap()
                        .as_array_mut()
                        .unwrap();
                    array.push(value.clone());
                    while array.len() > *bound as usize {
                        array.remove(0);
                    }
                }
                other => panic!("the driver does not use {other:?}"),
            }
        }
    }
}

impl World {
    /// The predecessor is back, and what it is now is what counts from here on.
    fn came_back(&mut self, lost_bytes: u64) {
        let Some(mut former) = self.former.take() else {
            panic!("there was nobody who could come back");
        };
        if former.had_commands {
            return self.came_back_over_a_gap(&former);
        }
        former.comes_back();
        let returned = former.returned.borrow().clone();
        if let Some(alarms) = self.former_alarms.take() {
            assert_eq!(alarms, returned.alarms, "its alarms");
            self.plan.borrow_mut().counts.returns_of_alarms += u64::from(alarms != self.alarms);
            self.alarms = alarms;
        }
        if lost_bytes > 0 {
            // The ring had dropped a part of what it was to be given, so it is another one now.
            self.plan.borrow_mut().counts.returns_with_loss += 1;
        } else if !former.is_unsure {
            assert_eq!(returned, former.model.memory, "what it remembers");
            assert_eq!(self.running_timers(), former.timers(), "its timers");
            if !former.is_behind {
                assert_eq!(self.slice, returned.slice(), "its slice");
            }
        }
        self.slice_is_behind = former.is_behind || lost_bytes > 0 || former.is_unsure;
        self.leases_unknown |= lost_bytes > 0 || former.is_unsure || former.had_unheard_leases;
        self.leases_unheard.clear();
        self.published_unseen = false;
        self.reference.memory = returned;
        self.timers = self.running_timers().into_iter().map(|(_, id)| id).collect();
        self.timers_unknown = false;
        self.live = Rc::clone(&former.returned);
        self.live_observes.clone_from(&former.observes);
        self.former = Some(former);
    }
}

impl World {
    /// It is told of the gap, how its ports are, and of no command.
    fn came_back_over_a_gap(&mut self, former: &Former) {
        let returned = former.returned.borrow().clone();
        let before = &former.at_flip;
        let mut missed = 0;
        for ((port, before), stream) in returned.ports.iter().zip(&before.ports).zip(&self.ports) {
            assert_eq!(
                (port.position, port.attached),
                (stream.committed, stream.attached)
            );
            assert_eq!(port.records, before.records, "it was given none");
            missed += port.position - before.position;
        }
        assert_eq!(
            returned.gap_bytes,
            before.gap_bytes + missed,
            "it is told of each byte"
        );
        assert!(returned.pending.is_empty(), "it waits for no command");
        self.slice_is_behind = former.was_behind;
        if !former.was_behind {
            assert_eq!(self.slice, returned.slice(), "its slice");
        }
        let counts = &mut self.plan.borrow_mut().counts;
        counts.returns_over_a_gap += 1;
        counts.returns_over_missed_bytes += u64::from(missed > 0);
        if let Some(alarms) = self.former_alarms.take() {
            assert_eq!(alarms, returned.alarms, "its alarms");
            self.alarms = alarms;
        }
        self.published_unseen = false;
        self.leases_unknown |= former.had_unheard_leases;
        self.leases_unheard.clear();
        self.reference.memory = returned;
        self.timers = self.running_timers().into_iter().map(|(_, id)| id).collect();
        self.timers_unknown = false;
        self.live = Rc::clone(&former.returned);
        self.live_observes.clone_from(&former.observes);
        self.former = Some(former.clone());
    }
}

fn change_alarms(standing: &mut BTreeSet<String>, effects: &Effects) {
    for change in &effects.alarms {
        match change {
            AlarmChange::Raise { key, .. } => standing.insert(key.clone()),
            AlarmChange::Clear { key } => standing.remove(key),
        };
    }
}
