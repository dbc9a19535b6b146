//! What waits for a driver: the bytes of its ports and everything else that can happen to it.
//!
//! Order of delivery: lease ends and cancels, timers, commands, bytes and notes of the ports in turn, then settings and observed slices. Every
//! queue has a bound, stated at its constant.

mod marks;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::leases::Leases;
use super::observing::{Known, Observing, SPACING_NS};
use super::ring::{Next, PortRing};
use super::timers::Timers;
use super::{CallTime, Command, CommandId, Event, InputSignals, LeaseId, PortIdentity, PortIndex};

/// Commands that wait or are in flight. More are refused with [`Busy`].
pub const COMMANDS: usize = 64;

/// Urgent events. Each is about a lease or an update that is open, so more can only come from a fault in the host; then the newest is dropped and the
/// caller told.
const URGENT: usize = 256;

/// After so many events in a row while bytes waited, bytes get a turn, so that a driver whose timers chase each other still hears its port.
const EVENTS_BEFORE_BYTES: u32 = 64;

/// A port as the inbox is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSetup {
    /// Its name in `plugins.toml`.
    pub name: Arc<str>,
    /// See [`ring_capacity_bytes`](super::ring_capacity_bytes).
    pub ring_capacity_bytes: usize,
}

/// The command was not taken: as many as a driver may have wait or are in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the driver is busy: {COMMANDS} of its commands are not done")]
pub struct Busy;

/// What became of a cancel.
#[derive(Debug, Clone, PartialEq)]
pub enum Cancelled {
    /// The driver never heard of the command, and never will.
    BeforeDelivery(Arc<Command>),
    /// The driver will be told; it answers.
    Requested,
    /// No such command waits or is in flight.
    Unknown,
}

/// A piece of a port's bytes that goes into one call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chunk {
    /// The port.
    pub port: PortIndex,
    /// Number of the first byte.
    pub from: u64,
    /// Number of the byte behind the last.
    pub to: u64,
    /// When they were received.
    pub received: CallTime,
}

/// One event on its way to the driver. Bytes lie in the buffer that was handed in.
#[derive(Debug, Clone, PartialEq)]
pub enum Taken {
    /// Bytes.
    Bytes(Chunk),
    /// Anything else.
    Event(Event<'static>),
}

/// More timers than a driver may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyTimers;

/// How things stand after an event is behind the driver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// The committed offset of the event's port; 0 if it has none.
    pub committed: u64,
    /// Whether the ring wants a checkpoint soon.
    pub wants_checkpoint: bool,
}

/// What waits for one driver.
#[derive(Debug)]
pub struct Inbox {
    ports: Vec<Port>,
    next_port: usize,
    urgent: VecDeque<Event<'static>>,
    leases: Leases,
    timers: Timers,
    queued_commands: VecDeque<Arc<Command>>,
    /// The command that is with the driver in a call that has not returned. A cancel must not fall between the queue and the flight.
    command_in_hand: Option<Arc<Command>>,
    commands_in_flight: Vec<Arc<Command>>,
    settings: Newest<Arc<str>>,
    observing: Observing,
    events_since_bytes: u32,
}

/// How much waits in an inbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Bytes.
    pub bytes: u64,
    /// Anything else, commands among it. Timers, observed slices and borders between bytes do not count.
    pub events: u64,
}

#[derive(Debug)]
struct Port {
    name: Arc<str>,
    ring: PortRing,
    /// As far as the driver has been told.
    attached: bool,
}

/// A value of which only the newest counts, spaced in time.
#[derive(Debug)]
struct Newest<T> {
    waiting: Option<T>,
    not_before_ns: u64,
}

impl Inbox {
    /// An empty inbox of a driver with these ports.
    pub fn new(ports: impl IntoIterator<Item = PortSetup>) -> Self {
        Self {
            ports: ports
                .into_iter()
                .map(|port| Port {
                    name: port.name,
                    ring: PortRing::new(port.ring_capacity_bytes),
                    attached: false,
                })
                .collect(),
            next_port: 0,
            urgent: VecDeque::new(),
            leases: Leases::default(),
            timers: Timers::default(),
            queued_commands: VecDeque::new(),
            command_in_hand: None,
            commands_in_flight: Vec::new(),
            settings: Newest::default(),
            observing: Observing::default(),
            events_since_bytes: 0,
        }
    }

    // --- in ---

    /// Bytes from the line. Answers what was lost for them at or above consumed. Bytes of a port that does not exist are dropped.
    pub fn push_bytes(&mut self, port: PortIndex, data: &[u8], received: CallTime) -> Option<Range<u64>> {
        self.ring_mut(port)?.push(data, received)
    }

    /// The device is there; later bytes are of its new line.
    pub fn attach(&mut self, port: PortIndex, identity: Arc<PortIdentity>) -> Option<Range<u64>> {
        let ring = self.ring_mut(port)?;
        let offset = ring.marks().head;
        ring.border(Event::PortAttached {
            port,
            offset,
            identity,
        })
    }

    /// The device is gone.
    pub fn lose(&mut self, port: PortIndex, reason: Arc<str>) -> Option<Range<u64>> {
        self.ring_mut(port)?.border(Event::PortLost { port, reason })
    }

    /// A fault on the line.
    pub fn line_error(&mut self, port: PortIndex, reason: Arc<str>) {
        self.note(port, Event::LineError { port, reason });
    }

    /// The lines that the device drives have changed.
    pub fn lines_changed(&mut self, port: PortIndex, signals: InputSignals) {
        self.note(port, Event::LinesChanged { port, signals });
    }

    /// The transmit queue is empty.
    pub fn transmit_drained(&mut self, port: PortIndex) {
        self.note(port, Event::TransmitDrained { port });
    }

    /// The first byte to come on a port has this number. For a port on which nothing has happened.
    pub fn begin_at(&mut self, port: PortIndex, offset: u64) {
        if let Some(ring) = self.ring_mut(port) {
            ring.begin_at(offset);
        }
    }

    /// The next byte to come on a port has this number; those before it are lost.
    pub fn leave_out(&mut self, port: PortIndex, to: u64) {
        if let Some(ring) = self.ring_mut(port) {
            ring.leave_out(to);
        }
    }

    /// A command.
    pub fn push_command(&mut self, command: Arc<Command>) -> Result<(), Busy> {
        if self.queued_commands.len() + self.commands_in_flight.len() >= COMMANDS {
            return Err(Busy);
        }
        self.queued_commands.push_back(command);
        Ok(())
    }

    /// A command is withdrawn.
    pub fn cancel_command(&mut self, id: &CommandId, reason: Arc<str>) -> Cancelled {
        if let Some(command) = self.unqueue(id) {
            return Cancelled::BeforeDelivery(command);
        }
        if !self.has_command(id) {
            return Cancelled::Unknown;
        }
        self.tell_cancelled(id, reason, false);
        Cancelled::Requested
    }

    /// A command's deadline has passed: it is over, whatever the driver makes of it. A driver that has it is told, and its place is free.
    pub fn expire_command(&mut self, id: &CommandId, reason: Arc<str>) {
        if self.unqueue(id).is_none() && self.has_command(id) {
            self.tell_cancelled(id, reason, true);
            self.forget_command(id);
        }
    }

    /// A command in flight is over without the driver's answer, for example expired.
    pub fn forget_command(&mut self, id: &CommandId) {
        self.command_in_hand.take_if(|command| command.id == *id);
        self.commands_in_flight.retain(|command| command.id != *id);
    }

    /// The driver that goes on knows nothing of the commands in flight.
    pub(super) fn forget_commands_in_flight(&mut self) {
        self.commands_in_flight.clear();
    }

    /// Whoever sent this command holds nothing any more. Answers which of its leases were open.
    pub fn end_held(&mut self, holder: &CommandId, reason: &str) -> Vec<LeaseId> {
        self.leases.end_held(holder, reason)
    }

    /// Something else that the driver should hear soon. False if too many urgent events wait.
    pub fn push_urgent(&mut self, event: Event<'static>) -> bool {
        let room = self.urgent.len() < URGENT;
        if room {
            self.urgent.push_back(event);
        }
        room
    }

    /// The settings have changed.
    pub fn set_settings(&mut self, settings: Arc<str>) {
        self.settings.waiting = Some(settings);
    }

    /// Settings that wait are out of date.
    pub fn forget_settings(&mut self) {
        self.settings.waiting = None;
    }

    /// Whether an event that the driver should hear soon waits.
    pub fn has_urgent(&self, is: impl FnMut(&Event<'static>) -> bool) -> bool {
        self.urgent.iter().any(is)
    }

    /// Takes such events back.
    pub fn withdraw(&mut self, mut is: impl FnMut(&Event<'static>) -> bool) {
        self.urgent.retain(|event| !is(event));
    }

    /// The driver that runs from now on observes these slices; see [`Observing::go_on_with`].
    pub(super) fn observe_from_now_on(&mut self, slices: &[Arc<str>], known: Known) {
        self.observing.go_on_with(slices, known);
    }

    /// A slice has changed. Answers whether the driver observes it and was not to be told of it already.
    pub fn slice_changed(&mut self, slice: &str) -> bool {
        self.observing.changed(slice)
    }

    // --- out ---

    /// Takes the next event out. Bytes are copied into the buffer and come again until they are [settled](Self::settle).
    pub fn take(&mut self, now_ns: u64, buffer: &mut Vec<u8>) -> Option<Taken> {
        if self.events_since_bytes >= EVENTS_BEFORE_BYTES
            && let Some(taken) = self.take_from_ports(buffer)
        {
            return Some(taken);
        }
        if let Some(event) = self.take_before_bytes(now_ns) {
            self.events_since_bytes = self.events_since_bytes.saturating_add(1);
            return Some(Taken::Event(event));
        }
        self.take_from_ports(buffer)
            .or_else(|| self.take_after_bytes(now_ns).map(Taken::Event))
    }

    /// An observed slice that has changed, for when there is nothing else to take. Whoever takes it reads its value, and
    /// [asks](Self::tell_observed) whether the driver has to hear of it.
    pub fn take_changed_slice(&mut self, now_ns: u64) -> Option<Arc<str>> {
        self.observing.take_due(now_ns)
    }

    /// The event that tells the driver of an observed slice's value; none if it was told that last.
    pub fn tell_observed(
        &mut self,
        slice: &Arc<str>,
        value: Option<Arc<str>>,
        now_ns: u64,
    ) -> Option<Event<'static>> {
        self.observing.tell(slice, value, now_ns)
    }

    /// When [`take`](Self::take) or [`take_changed_slice`](Self::take_changed_slice) may have something although nothing new comes in.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.observing
            .due_ns()
            .into_iter()
            .chain(self.settings.due_ns())
            .chain(self.timers.next_ns())
            .chain(self.leases.next_ns())
            .min()
    }

    /// Copies bytes that are kept into the buffer. False if some of them are dropped.
    pub fn read(&self, port: PortIndex, range: Range<u64>, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        self.ring(port).is_some_and(|ring| ring.read(range, buffer))
    }

    /// The first piece of these bytes for a replay. None if they are dropped, or there are none.
    pub fn piece(&self, port: PortIndex, from: u64, to: u64, buffer: &mut Vec<u8>) -> Option<Chunk> {
        let ring = self.ring(port)?;
        let (range, received) = ring.piece(from, to)?;
        ring.read(range.clone(), buffer).then_some(Chunk {
            port,
            from: range.start,
            to: range.end,
            received,
        })
    }

    // --- held ---

    /// What waits for the driver: bytes of all ports that no call has returned from, and other events and commands.
    pub fn depth(&self) -> Depth {
        let bytes = self.ports.iter().map(|port| {
            let marks = port.ring.marks();
            marks.head.saturating_sub(marks.committed.max(marks.tail))
        });
        let events =
            self.urgent.len() + self.queued_commands.len() + usize::from(self.settings.waiting.is_some());
        Depth {
            bytes: bytes.sum(),
            events: events as u64,
        }
    }

    /// The timers that run.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Puts these timers in place of those that run.
    pub fn set_timers(&mut self, timers: Timers) {
        self.timers = timers;
    }

    /// The driver's leases.
    pub(super) fn leases(&mut self) -> &mut Leases {
        &mut self.leases
    }

    /// Commands in flight, oldest first.
    pub fn commands_in_flight(&self) -> &[Arc<Command>] {
        &self.commands_in_flight
    }

    // --- inside ---

    fn unqueue(&mut self, id: &CommandId) -> Option<Arc<Command>> {
        let queued = self
            .queued_commands
            .iter()
            .position(|command| command.id == *id)?;
        self.queued_commands.remove(queued)
    }

    /// Whether the driver has the command.
    fn has_command(&self, id: &CommandId) -> bool {
        let mut held = self.command_in_hand.iter().chain(&self.commands_in_flight);
        held.any(|command| command.id == *id)
    }

    /// Needs no bound of its own: one for each command that the driver has, and it takes these before it takes another command.
    fn tell_cancelled(&mut self, id: &CommandId, reason: Arc<str>, is_over: bool) {
        let told = self.urgent.iter_mut().find_map(|event| match event {
            Event::CommandCancelled {
                id: told, is_over, ..
            } if told == id => Some(is_over),
            _ => None,
        });
        match told {
            Some(told_over) => *told_over |= is_over,
            None => self.urgent.push_back(Event::CommandCancelled {
                id: id.clone(),
                reason,
                is_over,
            }),
        }
    }

    fn take_before_bytes(&mut self, now_ns: u64) -> Option<Event<'static>> {
        if let Some(event) = self.urgent.pop_front() {
            return Some(event);
        }
        if let Some(id) = self.timers.pop_due(now_ns) {
            return Some(Event::Timer(id));
        }
        // A command whose call broke down was still in hand; it is failed, and this puts it away.
        self.command_in_hand = self.queued_commands.pop_front();
        self.command_in_hand.clone().map(Event::Command)
    }

    fn take_from_ports(&mut self, buffer: &mut Vec<u8>) -> Option<Taken> {
        let count = self.ports.len();
        for turn in 0..count {
            let index = (self.next_port + turn) % count;
            let port = PortIndex(index);
            let Some(ring) = self.ring_mut(port) else { continue };
            let taken = match ring.take_next() {
                None => continue,
                Some(Next::Note(event)) => {
                    if let Event::PortLost { .. } = event {
                        self.leases.lose(port);
                    }
                    Taken::Event(event)
                }
                Some(Next::Overrun(range)) => Taken::Event(Event::Overrun {
                    port,
                    from: range.start,
                    to: range.end,
                    reason: ring_was_full(),
                }),
                Some(Next::Bytes(range, received)) => {
                    ring.read(range.clone(), buffer);
                    Taken::Bytes(Chunk {
                        port,
                        from: range.start,
                        to: range.end,
                        received,
                    })
                }
            };
            self.next_port = index + 1;
            self.events_since_bytes = 0;
            return Some(taken);
        }
        None
    }

    fn take_after_bytes(&mut self, now_ns: u64) -> Option<Event<'static>> {
        self.settings.take(now_ns).map(Event::Settings)
    }

    fn note(&mut self, port: PortIndex, event: Event<'static>) {
        if let Some(ring) = self.ring_mut(port) {
            ring.note(event);
        }
    }

    fn ring(&self, port: PortIndex) -> Option<&PortRing> {
        self.ports.get(port.0).map(|port| &port.ring)
    }

    fn ring_mut(&mut self, port: PortIndex) -> Option<&mut PortRing> {
        self.ports.get_mut(port.0).map(|port| &mut port.ring)
    }
}

impl<T> Newest<T> {
    fn due_ns(&self) -> Option<u64> {
        self.waiting.as_ref().map(|_| self.not_before_ns)
    }

    fn take(&mut self, now_ns: u64) -> Option<T> {
        if now_ns < self.not_before_ns {
            return None;
        }
        let value = self.waiting.take()?;
        self.not_before_ns = now_ns + SPACING_NS;
        Some(value)
    }
}

impl<T> Default for Newest<T> {
    fn default() -> Self {
        Self {
            waiting: None,
            not_before_ns: 0,
        }
    }
}

/// The reason of an overrun that the ring itself made.
pub(super) fn ring_was_full() -> Arc<str> {
    "the driver did not keep up and the ring was full".into()
}

#[cfg(test)]
mod tests;
