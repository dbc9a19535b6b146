//! The fake host behind the bench.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::leases::{self, Lease, Leases, Sent};
use super::pointer;
use super::{attached_event, bytes_event};
use crate::bindings::exports::autobench::driver::guest::{self, Event};
use crate::host::Host;
use crate::{
    Attached, Attribute, Bytes, CommandError, EventError, Identity, InputSignals, LeaseError, Level,
    LineSettings, Lost, Operation, Outcome, OutputSignals, Overrun, Sample, SerialError, Severity,
    StateError, TelemetryError, TimerError,
};

/// Time at which a bench begins: the monotonic clock is one second old, and it is the new year of 2026.
const BEGIN_NS: u64 = 1_000_000_000;
const BEGIN_MS: f64 = 1_767_225_600_000.0;
/// As many as the wit files say.
const MOST_TIMERS: usize = 64;
const MOST_ALARMS: usize = 32;

/// One line of a driver's log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// How grave.
    pub level: Level,
    /// The text.
    pub message: String,
    /// Keys and values.
    pub attributes: Vec<Attribute>,
}

/// An answer to a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The device has taken it.
    Acknowledged(String),
    /// How far it is.
    Progress(String, String, Option<f64>),
    /// It is over.
    Completed(String, Outcome),
}

/// An event for clients.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// How grave.
    pub level: Level,
    /// Kind of the context.
    pub kind: String,
    /// For a person.
    pub message: String,
    /// The context.
    pub context: Json,
}

/// Something that happened at a port and may have to happen again.
#[derive(Debug)]
pub(super) enum Record {
    Bytes { offset: u64, data: Vec<u8> },
    Attached,
    Lost(String),
    Overrun { from: u64, to: u64 },
}

#[derive(Debug, Default)]
pub(super) struct FakePort {
    pub(super) attached: bool,
    pub(super) next: u64,
    pub(super) written: Vec<u8>,
    pub(super) refuses: Option<SerialError>,
    /// What undoes holds that ended while the device was away.
    waiting: Vec<Vec<u8>>,
    records: Vec<(Record, u64)>,
}

/// What a call asks for.
#[derive(Debug, Default)]
struct Effects {
    operations: Vec<Operation>,
    samples: Vec<Sample>,
    sent: Vec<Sent>,
    timers: Vec<(u32, Option<u64>)>,
    phases: Vec<String>,
    failures: Vec<String>,
    replies: Vec<Reply>,
    publications: Vec<Publication>,
    alarms: Vec<(String, Option<(Severity, String)>)>,
}

#[derive(Debug)]
pub(super) struct FakeHost {
    pub(super) now_ns: u64,
    pub(super) ports: BTreeMap<String, FakePort>,
    pub(super) slice: Json,
    pub(super) publications: usize,
    pub(super) last_operations: Vec<Operation>,
    pub(super) timers: BTreeMap<u32, u64>,
    pub(super) logs: Vec<LogLine>,
    pub(super) phases: Vec<String>,
    pub(super) failures: Vec<String>,
    pub(super) replies: Vec<Reply>,
    pub(super) commands: Vec<guest::Command>,
    pub(super) events: Vec<Publication>,
    pub(super) alarms: BTreeMap<String, (Severity, String)>,
    pub(super) leases: Leases,
    pub(super) foreign: BTreeMap<String, String>,
    pub(super) muted: bool,
    series: Vec<(String, Vec<Sample>)>,
    interned: Vec<String>,
    effects: Effects,
}

impl FakeHost {
    pub(super) fn new(manifest: &guest::Manifest) -> Self {
        let attached = || FakePort {
            attached: true,
            ..FakePort::default()
        };
        Self {
            now_ns: BEGIN_NS,
            ports: manifest
                .ports
                .iter()
                .map(|wish| (wish.name.clone(), attached()))
                .collect(),
            slice: Json::Null,
            publications: 0,
            last_operations: Vec::new(),
            timers: BTreeMap::new(),
            logs: Vec::new(),
            phases: Vec::new(),
            failures: Vec::new(),
            replies: Vec::new(),
            commands: Vec::new(),
            events: Vec::new(),
            alarms: BTreeMap::new(),
            leases: Leases::default(),
            foreign: BTreeMap::new(),
            muted: false,
            series: manifest
                .series
                .iter()
                .map(|series| (series.name.clone(), Vec::new()))
                .collect(),
            interned: Vec::new(),
            effects: Effects::default(),
        }
    }

    #[expect(
        clippy::panic,
        reason = "the test names a port that the manifest does not; there is nothing to go on with"
    )]
    pub(super) fn port(&mut self, name: &str) -> &mut FakePort {
        let Some(port) = self.ports.get_mut(name) else {
            panic!("the manifest wants no port {name:?}")
        };
        port
    }

    #[expect(
        clippy::panic,
        reason = "the test names a series that the manifest does not; there is nothing to compare"
    )]
    pub(super) fn samples(&self, name: &str) -> &[Sample] {
        let Some((_, samples)) = self.series.iter().find(|(series, _)| series == name) else {
            panic!("the manifest has no series {name:?}")
        };
        samples
    }

    pub(super) fn record(&mut self, port: &str, record: Record) {
        let now_ns = self.now_ns;
        self.port(port).records.push((record, now_ns));
    }

    pub(super) fn record_lengths(&self) -> Vec<(String, usize)> {
        self.ports
            .iter()
            .map(|(name, port)| (name.clone(), port.records.len()))
            .collect()
    }

    pub(super) fn receive(&mut self, port: &str, data: &[u8]) -> Bytes {
        let state = self.port(port);
        let offset = state.next;
        state.next += data.len() as u64;
        self.record(
            port,
            Record::Bytes {
                offset,
                data: data.to_vec(),
            },
        );
        bytes_event(port, offset, data, self.now_ns, wall_ms(self.now_ns), false)
    }

    /// The device of a port is there. What undoes holds that ended meanwhile goes out before the driver hears of it.
    pub(super) fn attach(&mut self, port: &str) -> Attached {
        let state = self.port(port);
        state.attached = true;
        state.written.extend(state.waiting.drain(..).flatten());
        let offset = state.next;
        attached_event(port, offset, identity(port))
    }

    pub(super) fn command(&mut self, name: &str, arguments: &Json) -> guest::Command {
        let command = guest::Command {
            id: format!("command-{}", self.commands.len() + self.replies.len() + 1),
            name: name.to_owned(),
            arguments: arguments.to_string(),
            actor: "bench".to_owned(),
            deadline_ns: None,
            attributes: Vec::new(),
        };
        self.commands.push(command.clone());
        command
    }

    /// The lease or the timer that is over next, not after `end_ns`; the clock stands at its time then. At the same time leases come first.
    pub(super) fn next_due(&mut self, end_ns: u64) -> Option<Event> {
        let open = self.leases.open.iter();
        let leases = open.map(|lease| (lease.ends_ns, false, lease.id));
        let timers = self.timers.iter().map(|(&id, &at_ns)| (at_ns, true, id));
        let due = leases.chain(timers);
        let (at_ns, is_timer, id) = due.min_by_key(|&(at_ns, is_timer, _)| (at_ns, is_timer))?;
        if at_ns > end_ns {
            return None;
        }
        self.now_ns = self.now_ns.max(at_ns);
        if !is_timer {
            return self.end_lease(id, "maximum");
        }
        self.timers.remove(&id);
        Some(Event::Timer(id))
    }

    /// What came at a port and is not dealt with: bytes from `consumed` on, and everything else that was recorded after `seen`.
    pub(super) fn since(&mut self, port: &str, consumed: u64, seen: usize) -> Vec<(Event, u64)> {
        let name = port.to_owned();
        let mut next = consumed;
        let mut events = Vec::new();
        for (index, (record, at_ns)) in self.port(port).records.iter().enumerate() {
            let event = match record {
                Record::Bytes { offset, data } => {
                    let done = usize::try_from(consumed.saturating_sub(*offset)).unwrap_or(usize::MAX);
                    next = next.max(offset + data.len() as u64);
                    match data.get(done..) {
                        Some(rest) if !rest.is_empty() => Event::Bytes(bytes_event(
                            port,
                            offset + done as u64,
                            rest,
                            *at_ns,
                            wall_ms(*at_ns),
                            true,
                        )),
                        _ => continue,
                    }
                }
                _ if index < seen => continue,
                Record::Attached => Event::PortAttached(attached_event(port, next, identity(port))),
                Record::Lost(reason) => Event::PortLost(Lost {
                    port: name.clone(),
                    reason: reason.clone(),
                }),
                Record::Overrun { from, to } => {
                    next = *to;
                    Event::Overrun(Overrun {
                        port: name.clone(),
                        from: *from,
                        to: *to,
                        reason: "bench".to_owned(),
                    })
                }
            };
            events.push((event, *at_ns));
        }
        events
    }

    /// Numbers of paths belong to an instance.
    pub(super) fn begin_instance(&mut self) {
        self.interned.clear();
    }

    /// Forgets what the call asked for.
    pub(super) fn discard(&mut self) {
        self.effects = Effects::default();
    }

    /// Lets what the call asked for take effect. If its slice operations cannot be applied, the answer says why and the rest takes effect.
    pub(super) fn commit(&mut self) -> Result<(), String> {
        let effects = std::mem::take(&mut self.effects);
        let applied = if effects.operations.is_empty() {
            Ok(())
        } else {
            pointer::apply(&self.slice, &effects.operations, &self.interned).map(|slice| {
                self.slice = slice;
                self.publications += 1;
                self.last_operations = effects.operations;
            })
        };
        self.leases.know(&effects.sent);
        if self.muted {
            return applied;
        }
        for sample in effects.samples {
            if let Some((_, samples)) = self.series.get_mut(sample.series as usize) {
                samples.push(sample);
            }
        }
        self.send(effects.sent);
        for (id, at_ns) in effects.timers {
            match at_ns {
                Some(at_ns) => self.timers.insert(id, at_ns),
                None => self.timers.remove(&id),
            };
        }
        for reply in &effects.replies {
            if let Reply::Completed(id, _) = reply {
                self.commands.retain(|command| command.id != *id);
            }
        }
        for (key, raised) in effects.alarms {
            match raised {
                Some(alarm) => self.alarms.insert(key, alarm),
                None => self.alarms.remove(&key),
            };
        }
        self.events.extend(effects.publications);
        self.phases.extend(effects.phases);
        self.failures.extend(effects.failures);
        self.replies.extend(effects.replies);
        applied
    }

    fn send(&mut self, sent: Vec<Sent>) {
        let mut left_elsewhere = Vec::new();
        for sent in sent {
            match sent {
                Sent::Write(port, data) => self.port(&port).written.extend(data),
                Sent::Acquire(lease) => left_elsewhere.extend(self.leases.acquire(lease)),
                Sent::Release(id) => {
                    let lease = self.leases.release(id);
                    self.undo(lease);
                }
            }
        }
        self.undo(left_elsewhere);
    }

    /// Writes what undoes holds, or keeps it until the device is back.
    fn undo(&mut self, leases: impl IntoIterator<Item = Lease>) {
        for lease in leases {
            let port = self.port(&lease.port);
            if port.attached {
                port.written.extend(lease.release);
            } else {
                port.waiting.push(lease.release);
            }
        }
    }

    /// Ends a lease without the driver, and answers what the driver is told of it; nothing if it does not take it for open.
    pub(super) fn end_lease(&mut self, id: u32, reason: &str) -> Option<Event> {
        let known = self.leases.known.iter().position(|&known| known == id)?;
        self.leases.known.remove(known);
        let lease = self.leases.release(id);
        self.undo(lease);
        let reason = reason.to_owned();
        Some(Event::LeaseEnded(guest::LeaseEnd { id, reason }))
    }

    /// Ends all leases.
    pub(super) fn end_leases(&mut self) {
        let open = std::mem::take(&mut self.leases.open);
        self.undo(open);
    }

    /// A driver has caught up. Ends what nobody else would, because the driver knows nothing of it; the answer is what it takes for open and is
    /// over.
    pub(super) fn go_on_with_leases(&mut self) -> Vec<u32> {
        let Leases { open, known } = &mut self.leases;
        let unknown: Vec<_> = open.extract_if(.., |lease| !known.contains(&lease.id)).collect();
        let is_open = |id: &u32| open.iter().any(|lease| lease.id == *id);
        let over = known.iter().copied().filter(|id| !is_open(id)).collect();
        self.undo(unknown);
        over
    }

    fn in_flight(&self, id: &str) -> Result<(), CommandError> {
        let known = self.commands.iter().any(|command| command.id == id);
        if known {
            Ok(())
        } else {
            Err(CommandError::UnknownCommand)
        }
    }

    fn granted(&mut self, port: &str) -> Result<&mut FakePort, SerialError> {
        let port = self.ports.get_mut(port).ok_or(SerialError::NotGranted)?;
        if port.attached {
            Ok(port)
        } else {
            Err(SerialError::NotAttached)
        }
    }
}

impl Host for FakeHost {
    fn write(&mut self, port: &str, data: &[u8]) -> Result<(), SerialError> {
        if let Some(error) = &self.granted(port)?.refuses {
            return Err(error.clone());
        }
        let write = Sent::Write(port.to_owned(), data.to_vec());
        self.effects.sent.push(write);
        Ok(())
    }
    fn discard_output(&mut self, port: &str) -> Result<(), SerialError> {
        self.granted(port).map(|_| ())
    }
    fn set_line(&mut self, port: &str, _settings: LineSettings) -> Result<(), SerialError> {
        self.granted(port).map(|_| ())
    }
    fn set_signals(&mut self, port: &str, _signals: OutputSignals) -> Result<(), SerialError> {
        self.granted(port)?;
        Err(SerialError::NotSupported)
    }
    fn get_signals(&mut self, port: &str) -> Result<InputSignals, SerialError> {
        self.granted(port)?;
        Err(SerialError::NotSupported)
    }
    fn identity(&mut self, port: &str) -> Result<Identity, SerialError> {
        self.granted(port)?;
        Ok(identity(port))
    }
    fn update_slice(&mut self, operations: &[Operation]) -> Result<(), StateError> {
        for operation in operations {
            let (path, value) = match operation {
                Operation::Set(assignment) => (&assignment.path, Some(&assignment.value)),
                Operation::Remove(path) => (path, None),
                Operation::Append(appending) => (&appending.path, Some(&appending.value)),
            };
            pointer::pointer(path, &self.interned).map_err(StateError::InvalidPath)?;
            value
                .map(pointer::json)
                .transpose()
                .map_err(StateError::InvalidValue)?;
        }
        self.effects.operations.extend_from_slice(operations);
        Ok(())
    }
    fn intern(&mut self, path: &str) -> Result<u32, StateError> {
        let number = u32::try_from(self.interned.len()).unwrap_or(u32::MAX);
        self.interned.push(path.to_owned());
        Ok(number)
    }
    fn read_slice(&mut self, name: &str) -> Result<String, StateError> {
        self.foreign.get(name).cloned().ok_or(StateError::NotGranted)
    }
    fn push(&mut self, samples: &[Sample]) -> Result<(), TelemetryError> {
        if let Some(unknown) = samples
            .iter()
            .find(|sample| sample.series as usize >= self.series.len())
        {
            return Err(TelemetryError::UnknownSeries(unknown.series));
        }
        self.effects.samples.extend_from_slice(samples);
        Ok(())
    }
    fn acquire_lease(
        &mut self,
        id: u32,
        port: &str,
        release: &[u8],
        maximum_ms: u32,
        holder: Option<&str>,
    ) -> Result<(), LeaseError> {
        let granted = self.ports.get(port).ok_or(LeaseError::NotGranted)?;
        leases::in_range(release, maximum_ms)?;
        if !granted.attached {
            return Err(LeaseError::NotAttached);
        }
        let waiting = self.ports.values().map(|port| port.waiting.len()).sum();
        if !self.leases.have_room(id, &self.effects.sent, waiting) {
            return Err(LeaseError::Full);
        }
        self.effects.sent.push(Sent::Acquire(Lease {
            id,
            port: port.to_owned(),
            release: release.to_vec(),
            ends_ns: self.now_ns + u64::from(maximum_ms) * 1_000_000,
            holder: holder.map(str::to_owned),
        }));
        Ok(())
    }
    fn release_lease(&mut self, id: u32) {
        self.effects.sent.push(Sent::Release(id));
    }
    fn log(&mut self, level: Level, message: &str, attributes: &[Attribute]) {
        self.logs.push(LogLine {
            level,
            message: message.to_owned(),
            attributes: attributes.to_vec(),
        });
    }
    fn monotonic_ns(&mut self) -> u64 {
        self.now_ns
    }
    fn wall_ms(&mut self) -> f64 {
        wall_ms(self.now_ns)
    }
    fn set_timer(&mut self, id: u32, after_ms: u32) -> Result<(), TimerError> {
        if !self.timers.contains_key(&id) && self.timers.len() >= MOST_TIMERS {
            return Err(TimerError::Full);
        }
        self.effects
            .timers
            .push((id, Some(self.now_ns + u64::from(after_ms) * 1_000_000)));
        Ok(())
    }
    fn cancel_timer(&mut self, id: u32) {
        self.effects.timers.push((id, None));
    }
    fn acknowledge(&mut self, id: &str) -> Result<(), CommandError> {
        self.in_flight(id)?;
        self.effects.replies.push(Reply::Acknowledged(id.to_owned()));
        Ok(())
    }
    fn progress(&mut self, id: &str, message: &str, share: Option<f64>) -> Result<(), CommandError> {
        self.in_flight(id)?;
        self.effects
            .replies
            .push(Reply::Progress(id.to_owned(), message.to_owned(), share));
        Ok(())
    }
    fn complete(&mut self, id: &str, outcome: &Outcome) -> Result<(), CommandError> {
        self.in_flight(id)?;
        self.effects
            .replies
            .push(Reply::Completed(id.to_owned(), outcome.clone()));
        Ok(())
    }
    fn raise_alarm(&mut self, key: &str, severity: Severity, message: &str) -> bool {
        let standing = self.alarms.contains_key(key) || self.alarms.len() < MOST_ALARMS;
        if standing {
            self.effects
                .alarms
                .push((key.to_owned(), Some((severity, message.to_owned()))));
        }
        standing
    }
    fn clear_alarm(&mut self, key: &str) {
        self.effects.alarms.push((key.to_owned(), None));
    }
    fn publish(&mut self, level: Level, kind: &str, message: &str, context: &str) -> Result<(), EventError> {
        match serde_json::from_str(context) {
            Ok(context @ Json::Object(_)) => {
                let (kind, message) = (kind.to_owned(), message.to_owned());
                self.effects.publications.push(Publication {
                    level,
                    kind,
                    message,
                    context,
                });
                Ok(())
            }
            Ok(_) => Err(EventError::InvalidContext("it is no JSON object".to_owned())),
            Err(error) => Err(EventError::InvalidContext(error.to_string())),
        }
    }
    fn phase(&mut self, name: &str) {
        self.effects.phases.push(name.to_owned());
    }
    fn failed(&mut self, reason: &str) {
        self.effects.failures.push(reason.to_owned());
    }
}

fn wall_ms(now_ns: u64) -> f64 {
    BEGIN_MS + (now_ns - BEGIN_NS) as f64 / 1e6
}

fn identity(port: &str) -> Identity {
    Identity {
        path: format!("/dev/bench-{port}"),
        usb_vendor_id: None,
        usb_product_id: None,
        serial_number: None,
        attributes: Vec::new(),
    }
}
