//! How far the driver is: what a returned call has put behind it, what a checkpoint has dealt with, and the way back.

use std::sync::Arc;

use super::{Chunk, Inbox, Settled, Taken, TooManyTimers};
use crate::driver::ring::PortRing;
use crate::driver::{CommandReply, Event, Marks, PortIndex, PortState, TimerChange};

impl Inbox {
    /// The call with this event has returned with these changes.
    pub fn settle(
        &mut self,
        taken: &Taken,
        timers: &[TimerChange],
        replies: &[CommandReply],
    ) -> Result<Settled, TooManyTimers> {
        if !self.timers.fit(timers) {
            return Err(TooManyTimers);
        }
        timers.iter().for_each(|&change| self.timers.apply(change));
        if let Taken::Event(Event::Command(command)) = taken {
            // What has expired during the call is not in hand any more.
            let in_hand = self.command_in_hand.take_if(|held| held.id == command.id);
            self.commands_in_flight.extend(in_hand);
        }
        self.apply_replies(replies);
        Ok(self.pass(taken))
    }

    /// The event is behind the driver, whether a call with it returned or it was given up.
    pub fn pass(&mut self, taken: &Taken) -> Settled {
        let Some(port) = port_of(taken).and_then(|port| self.ports.get_mut(port.0)) else {
            return Settled::default();
        };
        match taken {
            Taken::Bytes(Chunk { to, .. }) | Taken::Event(Event::Overrun { to, .. }) => port.ring.commit(*to),
            Taken::Event(Event::PortAttached { .. }) => port.attached = true,
            Taken::Event(Event::PortLost { .. }) => port.attached = false,
            Taken::Event(_) => {}
        }
        Settled {
            committed: port.ring.marks().committed,
            wants_checkpoint: port.ring.wants_checkpoint(),
        }
    }

    /// Commands that end in these replies are no longer in flight.
    pub fn apply_replies(&mut self, replies: &[CommandReply]) {
        for reply in replies {
            if let CommandReply::Complete { id, .. } = reply {
                self.forget_command(id);
            }
        }
    }

    /// A checkpoint has dealt with these bytes; ports that are not named are dealt with up to committed. None, and nothing done, if a mark
    /// is impossible.
    pub fn consume(&mut self, consumed: &[(PortIndex, u64)]) -> Option<()> {
        let possible = consumed
            .iter()
            .all(|&(port, to)| self.ring(port).is_some_and(|ring| ring.can_consume(to)));
        if !possible {
            return None;
        }
        for (index, port) in self.ports.iter_mut().enumerate() {
            let named = consumed.iter().rev().find(|(named, _)| named.0 == index);
            let to = named.map_or(port.ring.marks().committed, |&(_, to)| to);
            port.ring.consume(to);
        }
        Some(())
    }

    /// A driver goes on that has dealt with these bytes, which may be before those of the last checkpoint. Ports that are not named are dealt with up
    /// to committed. Answers where it was; none, and nothing done, if bytes are gone that it needs.
    pub fn go_back_to(&mut self, consumed: &[(PortIndex, u64)]) -> Option<Vec<(PortIndex, u64)>> {
        let possible = consumed
            .iter()
            .all(|&(port, to)| self.ring(port).is_some_and(|ring| ring.can_go_back_to(to)));
        if !possible {
            return None;
        }
        let mut before = Vec::new();
        for (index, port) in self.ports.iter_mut().enumerate() {
            let named = consumed.iter().rev().find(|(named, _)| named.0 == index);
            let marks = port.ring.marks();
            before.push((PortIndex(index), marks.consumed));
            port.ring.go_back_to(named.map_or(marks.committed, |&(_, to)| to));
        }
        Some(before)
    }

    /// Gives up what was handled and is not dealt with, because nobody remembers it. Answers how many bytes that are.
    pub fn give_up_replay(&mut self) -> u64 {
        let given_up = self.ports.iter().map(|port| port.ring.marks());
        let given_up = given_up.map(|marks| marks.committed - marks.consumed).sum();
        self.consume(&[]);
        given_up
    }

    /// Where the marks of a port are.
    pub fn marks(&self, port: PortIndex) -> Option<Marks> {
        self.ring(port).map(PortRing::marks)
    }

    /// The ports as the driver knows them, the next byte being consumed.
    pub fn port_states(&self) -> Vec<PortState> {
        self.ports
            .iter()
            .map(|port| PortState {
                name: Arc::clone(&port.name),
                attached: port.attached,
                offset: port.ring.marks().consumed,
            })
            .collect()
    }
}

/// The port that an event belongs to.
fn port_of(taken: &Taken) -> Option<PortIndex> {
    match taken {
        Taken::Bytes(Chunk { port, .. }) => Some(*port),
        Taken::Event(
            Event::PortAttached { port, .. }
            | Event::PortLost { port, .. }
            | Event::Overrun { port, .. }
            | Event::LineError { port, .. }
            | Event::LinesChanged { port, .. }
            | Event::TransmitDrained { port },
        ) => Some(*port),
        Taken::Event(_) => None,
    }
}
