//! What waits to go out on a port: bytes and changes of the line, in the order in which a driver asked for them, and what undoes holds.
//!
//! What undoes a hold is the host's and not the driver's: it needs no room, no discard takes it back, and it outlives the line. It is done with when
//! the system has sent all of it; until then a line that is lost makes it wait for the next.

use std::collections::VecDeque;

use autobench_core::driver::{Lease, LineSettings, PortAction};

/// Bytes that may wait. A write that does not fit is refused with `full` at the call: nothing waits for a line, and nothing is cut.
pub const TRANSMIT_LIMIT_BYTES: usize = 64 << 10;

/// Changes of the line that may wait one by one. Past it a change merges into the one of its kind that waits behind the same bytes: edges
/// are lost then, but never how the line is set when the next byte goes out. So at most two more wait behind each write.
const CHANGES_LIMIT: usize = 64;

/// One thing to do on the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send these bytes.
    Bytes(Vec<u8>),
    /// Send what undoes a hold.
    Undo(Lease),
    /// Change the line.
    SetLine(LineSettings),
    /// Drive DTR, RTS, BREAK.
    SetSignals {
        /// DTR.
        data_terminal_ready: Option<bool>,
        /// RTS.
        request_to_send: Option<bool>,
        /// BREAK.
        break_condition: Option<bool>,
    },
}

impl Step {
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(data) => Some(data),
            Self::Undo(lease) => Some(&lease.release),
            Self::SetLine(_) | Self::SetSignals { .. } => None,
        }
    }

    fn is_change(&self) -> bool {
        self.bytes().is_none()
    }

    /// Makes one change of two of the same kind. False when they are not.
    fn merge(&mut self, newer: &Self) -> bool {
        match (self, newer) {
            (Self::SetLine(line), Self::SetLine(newer)) => {
                *line = *newer;
                true
            }
            (
                Self::SetSignals {
                    data_terminal_ready,
                    request_to_send,
                    break_condition,
                },
                Self::SetSignals {
                    data_terminal_ready: newer_data_terminal_ready,
                    request_to_send: newer_request_to_send,
                    break_condition: newer_break_condition,
                },
            ) => {
                *data_terminal_ready = newer_data_terminal_ready.or(*data_terminal_ready);
                *request_to_send = newer_request_to_send.or(*request_to_send);
                *break_condition = newer_break_condition.or(*break_condition);
                true
            }
            _ => false,
        }
    }
}

/// What comes next on the line.
#[derive(Debug, PartialEq, Eq)]
pub enum NextStep<'a> {
    /// Send these bytes.
    Bytes(&'a [u8]),
    /// Change the line.
    Change(Step),
}

/// The queue.
#[derive(Debug, Default)]
pub struct TransmitQueue {
    steps: VecDeque<Step>,
    queued_bytes: usize,
    /// Bytes of the first step that are on the line already.
    sent_of_first: usize,
    /// What undoes holds and is with the system, which may not have sent it yet: with each how many bytes the system had been given by its end.
    leaving: Vec<(Lease, u64)>,
    /// Bytes that the system was given for this line.
    given: u64,
    discard: bool,
    refused_since_drained: bool,
}

impl TransmitQueue {
    /// Room for bytes.
    pub fn free_bytes(&self) -> usize {
        TRANSMIT_LIMIT_BYTES.saturating_sub(self.queued_bytes)
    }

    /// Takes over what a driver asked for. Writes fit, because their room was checked at the call and only grows until they come.
    pub fn push(&mut self, action: PortAction) {
        match action {
            PortAction::Write(data) if data.is_empty() => {}
            PortAction::Write(data) => {
                self.queued_bytes += data.len();
                self.steps.push_back(Step::Bytes(data));
            }
            PortAction::Undo(lease) => self.steps.push_back(Step::Undo(lease)),
            PortAction::DiscardOutput => {
                if let Some(Step::Bytes(_)) = self.steps.front() {
                    self.sent_of_first = 0;
                }
                self.steps.retain(|step| !matches!(step, Step::Bytes(_)));
                self.queued_bytes = 0;
                self.discard = true;
            }
            PortAction::SetLine(settings) => self.push_change(Step::SetLine(settings)),
            PortAction::SetSignals {
                data_terminal_ready,
                request_to_send,
                break_condition,
            } => {
                self.push_change(Step::SetSignals {
                    data_terminal_ready,
                    request_to_send,
                    break_condition,
                });
            }
        }
    }

    fn push_change(&mut self, change: Step) {
        if self.steps.iter().filter(|step| step.is_change()).count() >= CHANGES_LIMIT {
            for waiting in self.steps.iter_mut().rev().take_while(|step| step.is_change()) {
                if waiting.merge(&change) {
                    return;
                }
            }
        }
        self.steps.push_back(change);
    }

    /// Remembers that a write was refused, so that the driver is told when there is room.
    pub fn note_refused(&mut self) {
        self.refused_since_drained = true;
    }

    /// Forgets everything but what undoes holds: the line it was meant for is gone.
    pub fn clear(&mut self) {
        let Self { steps, leaving, .. } = std::mem::take(self);
        let waiting = steps.into_iter().filter(|step| matches!(step, Step::Undo(_)));
        let leaving = leaving.into_iter().map(|(lease, _)| Step::Undo(lease));
        self.steps = leaving.chain(waiting).collect();
    }

    /// Whether what the system has not yet sent is to be thrown away; asked once. Never with a part of what undoes a hold in it.
    pub fn take_discard(&mut self) -> bool {
        let is_cut = self.sent_of_first > 0 && matches!(self.steps.front(), Some(Step::Undo(_)));
        std::mem::take(&mut self.discard) && self.leaving.is_empty() && !is_cut
    }

    /// How many holds wait to be undone.
    pub fn waiting_undos(&self) -> usize {
        let queued = self.steps.iter().filter(|step| matches!(step, Step::Undo(_)));
        queued.count() + self.leaving.len()
    }

    /// Whether something that undoes a hold is with the system.
    pub fn has_undos_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// The holds that are undone, while the system has so many bytes left to send.
    pub fn take_undone(&mut self, pending_bytes: u32) -> Vec<Lease> {
        let sent = self.given.saturating_sub(pending_bytes.into());
        let undone = self.leaving.extract_if(.., |(_, end)| *end <= sent);
        undone.map(|(lease, _)| lease).collect()
    }

    /// Whether a change of the line comes next.
    pub fn is_change_next(&self) -> bool {
        self.steps.front().is_some_and(Step::is_change)
    }

    /// What comes next: a change of the line is handed out once, bytes stay until [`Self::sent`] says how many of them are gone.
    pub fn next(&mut self) -> Option<NextStep<'_>> {
        if self.is_change_next() {
            return self.steps.pop_front().map(NextStep::Change);
        }
        let data = self.steps.front()?.bytes()?;
        Some(NextStep::Bytes(
            data.get(self.sent_of_first..).unwrap_or_default(),
        ))
    }

    /// Some bytes of the first step are on the line.
    pub fn sent(&mut self, count: usize) {
        let Some(data) = self.steps.front().and_then(Step::bytes) else {
            return;
        };
        self.sent_of_first += count;
        self.given += count as u64;
        if self.sent_of_first < data.len() {
            return;
        }
        self.sent_of_first = 0;
        match self.steps.pop_front() {
            Some(Step::Bytes(data)) => self.queued_bytes = self.queued_bytes.saturating_sub(data.len()),
            Some(Step::Undo(lease)) => self.leaving.push((lease, self.given)),
            _ => {}
        }
    }

    /// Whether the queue ran empty after a write had been refused; asked once.
    pub fn take_drained(&mut self) -> bool {
        self.steps.is_empty() && std::mem::take(&mut self.refused_since_drained)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(data: &[u8]) -> PortAction {
        PortAction::Write(data.to_vec())
    }

    fn signals() -> PortAction {
        PortAction::SetSignals {
            data_terminal_ready: Some(true),
            request_to_send: None,
            break_condition: None,
        }
    }

    #[test]
    fn bytes_and_changes_leave_in_the_order_of_the_asking() {
        let mut queue = TransmitQueue::default();
        queue.push(write(b"ab"));
        queue.push(signals());
        queue.push(write(b"c"));
        assert_eq!(queue.next(), Some(NextStep::Bytes(b"ab")));
        queue.sent(1);
        assert_eq!(queue.next(), Some(NextStep::Bytes(b"b")));
        queue.sent(1);
        assert!(matches!(
            queue.next(),
            Some(NextStep::Change(Step::SetSignals { .. }))
        ));
        assert_eq!(queue.next(), Some(NextStep::Bytes(b"c")));
        queue.sent(1);
        assert_eq!(queue.next(), None);
        assert_eq!(queue.free_bytes(), TRANSMIT_LIMIT_BYTES);
    }

    #[test]
    fn room_comes_back_when_a_whole_write_has_left() {
        let mut queue = TransmitQueue::default();
        queue.push(write(&[0; 1000]));
        assert_eq!(queue.free_bytes(), TRANSMIT_LIMIT_BYTES - 1000);
        queue.sent(999);
        assert_eq!(queue.free_bytes(), TRANSMIT_LIMIT_BYTES - 1000);
        queue.sent(1);
        assert_eq!(queue.free_bytes(), TRANSMIT_LIMIT_BYTES);
    }

    #[test]
    fn a_discard_drops_bytes_and_keeps_changes() {
        let mut queue = TransmitQueue::default();
        queue.push(write(b"ab"));
        queue.push(signals());
        queue.push(PortAction::DiscardOutput);
        assert!(queue.take_discard());
        assert!(!queue.take_discard());
        assert!(matches!(queue.next(), Some(NextStep::Change(_))));
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn a_line_that_is_gone_takes_its_queue_with_it() {
        let mut queue = TransmitQueue::default();
        queue.push(write(b"for the old line"));
        queue.sent(3);
        queue.push(signals());
        queue.note_refused();
        queue.clear();
        assert_eq!(queue.next(), None);
        assert_eq!(queue.free_bytes(), TRANSMIT_LIMIT_BYTES);
        assert!(!queue.take_drained());
    }

    #[test]
    fn a_driver_is_told_of_room_only_after_it_was_refused() {
        let mut queue = TransmitQueue::default();
        queue.push(write(b"a"));
        queue.sent(1);
        assert!(!queue.take_drained());
        queue.note_refused();
        assert!(queue.take_drained());
        assert!(!queue.take_drained());
    }

    #[test]
    fn a_burst_of_signals_loses_neither_the_line_nor_a_signal() {
        let line = LineSettings {
            baud_rate: 300,
            data_bits: autobench_core::driver::DataBits::Eight,
            parity: autobench_core::driver::Parity::None,
            stop_bits: autobench_core::driver::StopBits::One,
            flow_control: autobench_core::driver::FlowControl::None,
        };
        let mut queue = TransmitQueue::default();
        queue.push(PortAction::SetLine(line));
        queue.push(PortAction::SetSignals {
            data_terminal_ready: None,
            request_to_send: Some(false),
            break_condition: None,
        });
        for _ in 0..1000 {
            queue.push(signals());
        }
        let (mut lines, mut dtr, mut rts, mut count) = (Vec::new(), None, None, 0);
        while let Some(NextStep::Change(change)) = queue.next() {
            count += 1;
            match change {
                Step::SetLine(line) => lines.push(line),
                Step::SetSignals {
                    data_terminal_ready,
                    request_to_send,
                    ..
                } => {
                    dtr = data_terminal_ready.or(dtr);
                    rts = request_to_send.or(rts);
                }
                Step::Bytes(_) | Step::Undo(_) => unreachable!(),
            }
        }
        assert_eq!((lines, dtr, rts), (vec![line], Some(true), Some(false)));
        assert_eq!(count, CHANGES_LIMIT);
    }

    #[test]
    fn changes_merge_only_behind_the_same_bytes() {
        let mut queue = TransmitQueue::default();
        for _ in 0..CHANGES_LIMIT {
            queue.push(signals());
        }
        queue.push(write(b"a"));
        queue.push(signals());
        queue.push(signals());
        assert_eq!(queue.steps.len(), CHANGES_LIMIT + 2);
        assert!(queue.steps.back().is_some_and(Step::is_change));
    }

    #[test]
    fn what_undoes_a_hold_outlives_discard_and_line_until_it_has_left() {
        let undo = |number: u64, release: &[u8]| {
            PortAction::Undo(Lease {
                number,
                id: autobench_core::driver::LeaseId(1),
                port: autobench_core::driver::PortIndex(0),
                release: release.into(),
                ends_ns: 0,
                holder: None,
            })
        };
        let numbers = |leases: Vec<Lease>| leases.iter().map(|lease| lease.number).collect::<Vec<_>>();
        let mut queue = TransmitQueue::default();
        queue.push(write(b"press"));
        queue.push(undo(1, b"up"));
        queue.push(write(b"more"));
        queue.push(undo(2, b"off"));
        assert_eq!(queue.free_bytes(), TRANSMIT_LIMIT_BYTES - 9, "it takes no room");
        queue.sent(5);
        queue.push(PortAction::DiscardOutput);
        assert!(queue.take_discard(), "nothing of it is with the system");
        queue.sent(1);
        queue.push(PortAction::DiscardOutput);
        assert!(!queue.take_discard(), "its head would be thrown away");
        assert_eq!(
            queue.next(),
            Some(NextStep::Bytes(b"p")),
            "a discard cuts none in two"
        );
        queue.sent(1);
        assert!(queue.has_undos_leaving());
        queue.push(PortAction::DiscardOutput);
        assert!(!queue.take_discard(), "it would throw away what undoes the hold");

        queue.clear();
        assert_eq!(queue.waiting_undos(), 2);
        assert_eq!(
            queue.next(),
            Some(NextStep::Bytes(b"up")),
            "the next line gets it whole"
        );
        queue.sent(2);
        assert_eq!(numbers(queue.take_undone(1)), [0; 0]);
        assert_eq!(queue.next(), Some(NextStep::Bytes(b"off")));
        queue.sent(3);
        queue.push(write(b"a line that is never silent"));
        queue.sent(27);
        assert_eq!(numbers(queue.take_undone(31)), [0; 0]);
        assert_eq!(numbers(queue.take_undone(30)), [1]);
        assert_eq!(numbers(queue.take_undone(27)), [2]);
        assert_eq!(queue.next(), None);
        assert_eq!(queue.waiting_undos(), 0);
    }
}
