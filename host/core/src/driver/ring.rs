//! The numbered ring of bytes of one port, and what happened to the port between them.
//!
//! Bytes are numbered from 0 for the life of a configured port; the numbers never restart. Four marks divide them:
//!
//! ```text
//!   tail         consumed        committed          head
//!    | kept, spare  | for a replay   | not delivered  |
//! ```
//!
//! *committed* is the end of the bytes of the last call that returned, *consumed* what the checkpoint has dealt with. A full ring drops its
//! oldest bytes: silently below consumed, as a reported overrun from there on. An overrun of bytes that were not delivered is never stored:
//! it is the difference between committed and tail, so it cannot be forgotten or reported twice.
//!
//! *Notes* are the other events of a port (attached, lost, line error, ...). Each has its place between two bytes and is delivered there,
//! so no delivered piece ever spans the border where a device came back.

use std::collections::VecDeque;
use std::ops::Range;

use super::{CallTime, Event};

/// Most bytes in one call of a driver.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Notes that wait for the driver. When there are more, the oldest that is no border goes; when all are borders, the oldest one goes together
/// with the bytes up to the next, which the driver then sees as one overrun.
const NOTES: usize = 64;

/// Receive times that are kept. When there are more, every second one of the older half is forgotten, and its bytes count as received with
/// those before them.
const TIME_MARKS: usize = 4096;

/// Bytes that follow within this time count as received together. It bounds how many calls a backlog costs.
const TIME_MARK_SPACING_NS: u64 = 1_000_000;

const SMALLEST_RING_BYTES: usize = 256 * 1024;
const LARGEST_RING_BYTES: usize = 16 * 1024 * 1024;
const RING_S: usize = 30;

/// How large the ring of a line should be: 30 s of its rate, at least 256 KiB, at most 16 MiB.
pub fn ring_capacity_bytes(line_bytes_per_s: usize) -> usize {
    line_bytes_per_s
        .saturating_mul(RING_S)
        .clamp(SMALLEST_RING_BYTES, LARGEST_RING_BYTES)
}

/// The ring of one port.
#[derive(Debug)]
pub struct PortRing {
    bytes: VecDeque<u8>,
    capacity: usize,
    tail: u64,
    consumed: u64,
    committed: u64,
    /// Where committed was at the last checkpoint.
    checked: u64,
    time_marks: VecDeque<TimeMark>,
    notes: VecDeque<Note>,
    overrun_bytes: u64,
}

/// Where the marks of a ring are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Number of the oldest byte that is kept.
    pub tail: u64,
    /// End of what the checkpoint has dealt with.
    pub consumed: u64,
    /// End of the bytes of the last call that returned.
    pub committed: u64,
    /// Number of the next byte to come.
    pub head: u64,
    /// Bytes dropped at or above consumed since the daemon started.
    pub overrun_bytes: u64,
}

/// What comes next on a port.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// A note, which has been taken out.
    Note(Event<'static>),
    /// These bytes are gone.
    Overrun(Range<u64>),
    /// These bytes, received at that time.
    Bytes(Range<u64>, CallTime),
}

#[derive(Debug, Clone, Copy)]
struct TimeMark {
    offset: u64,
    received: CallTime,
}

#[derive(Debug)]
struct Note {
    offset: u64,
    event: Event<'static>,
}

impl PortRing {
    /// An empty ring that holds this many bytes.
    pub fn new(capacity_bytes: usize) -> Self {
        let capacity = capacity_bytes.max(1);
        Self {
            bytes: VecDeque::with_capacity(capacity),
            capacity,
            tail: 0,
            consumed: 0,
            committed: 0,
            checked: 0,
            time_marks: VecDeque::with_capacity(TIME_MARKS),
            notes: VecDeque::new(),
            overrun_bytes: 0,
        }
    }

    /// Where the marks are.
    pub fn marks(&self) -> Marks {
        Marks {
            tail: self.tail,
            consumed: self.consumed,
            committed: self.committed,
            head: self.head(),
            overrun_bytes: self.overrun_bytes,
        }
    }

    /// Takes bytes from the line. Answers which bytes at or above consumed had to go for them.
    pub fn push(&mut self, data: &[u8], received: CallTime) -> Option<Range<u64>> {
        let mut lost: Option<Range<u64>> = None;
        for part in data.chunks(self.capacity) {
            let excess = (self.bytes.len() + part.len()).saturating_sub(self.capacity);
            if let Some(range) = self.drop_below(self.tail + excess as u64) {
                lost = Some(lost.map_or(range.start, |lost| lost.start)..range.end);
            }
            self.mark_time(received);
            self.bytes.extend(part);
        }
        lost
    }

    /// The first byte to come has this number. For a ring into which nothing has come.
    pub fn begin_at(&mut self, offset: u64) {
        if self.bytes.is_empty() && self.tail == self.committed {
            self.tail = offset;
            self.consumed = offset;
            self.committed = offset;
            self.checked = offset;
        }
    }

    /// The next byte to come has this number: those before it are to be had nowhere. The driver hears of it as of an overrun, which takes in what it
    /// has not got so far.
    pub fn leave_out(&mut self, to: u64) {
        let head = self.head();
        if to > head {
            self.drop_below(head);
            self.tail = to;
            self.overrun_bytes += to - head;
            self.time_marks.clear();
        }
    }

    /// Puts a border behind the bytes received so far: an event that is delivered after them and before any later byte. Answers the bytes
    /// that had to go where too many borders wait.
    pub fn border(&mut self, event: Event<'static>) -> Option<Range<u64>> {
        let lost = self.make_room_for_note();
        self.notes.push_back(Note {
            offset: self.head(),
            event,
        });
        lost
    }

    /// Puts an event that is no border behind the bytes received so far. One of the same kind that waits at the same place is replaced.
    pub fn note(&mut self, event: Event<'static>) -> Option<Range<u64>> {
        let head = self.head();
        let same = self.notes.back_mut().filter(|last| {
            last.offset == head && std::mem::discriminant(&last.event) == std::mem::discriminant(&event)
        });
        if let Some(last) = same {
            last.event = event;
            return None;
        }
        let lost = self.make_room_for_note();
        self.notes.push_back(Note { offset: head, event });
        lost
    }

    /// Whether the driver has yet to get something.
    pub fn is_pending(&self) -> bool {
        !self.notes.is_empty() || self.committed < self.head()
    }

    /// What the driver gets next. Bytes and overruns come again until they are [committed](Self::commit); a note is taken out.
    pub fn take_next(&mut self) -> Option<Next> {
        let from = self.committed;
        if let Some(note) = self.notes.pop_front_if(|note| note.offset <= from) {
            return Some(Next::Note(note.event));
        }
        let border = self.notes.front().map_or(self.head(), |note| note.offset);
        if from < self.tail {
            return Some(Next::Overrun(from..self.tail.min(border)));
        }
        self.piece(from, border)
            .map(|(range, received)| Next::Bytes(range, received))
    }

    /// The first piece of `from..to` that can go into one call: kept, received together, at most [`CHUNK_BYTES`]. None if `from` is dropped
    /// or `from..to` is empty.
    pub fn piece(&self, from: u64, to: u64) -> Option<(Range<u64>, CallTime)> {
        let to = to.min(self.head()).min(from + CHUNK_BYTES as u64);
        if from < self.tail || from >= to {
            return None;
        }
        let after = self.time_marks.partition_point(|mark| mark.offset <= from);
        let mark = self.time_marks.get(after.checked_sub(1)?)?;
        let end = self.time_marks.get(after).map_or(to, |next| next.offset.min(to));
        Some((from..end, mark.received))
    }

    /// Copies kept bytes into the buffer, replacing what it holds. False, with an empty buffer, if not all of them are kept.
    pub fn read(&self, range: Range<u64>, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        if range.start < self.tail || range.end > self.head() || range.start > range.end {
            return false;
        }
        let from = (range.start - self.tail) as usize;
        let to = (range.end - self.tail) as usize;
        let (front, back) = self.bytes.as_slices();
        let split = front.len();
        buffer.extend_from_slice(front.get(from.min(split)..to.min(split)).unwrap_or_default());
        buffer.extend_from_slice(
            back.get(from.saturating_sub(split)..to.saturating_sub(split))
                .unwrap_or_default(),
        );
        true
    }

    /// A call with the bytes up to here has returned, or they are given up.
    pub fn commit(&mut self, to: u64) {
        self.committed = self.committed.max(to.min(self.head()));
    }

    /// A checkpoint has dealt with the bytes up to here. False if that is no place it can have reached.
    pub fn consume(&mut self, to: u64) -> bool {
        let possible = self.can_consume(to);
        if possible {
            self.consumed = to;
            self.checked = self.committed;
        }
        possible
    }

    /// Whether a checkpoint can have dealt with the bytes up to here.
    pub fn can_consume(&self, to: u64) -> bool {
        (self.consumed..=self.committed).contains(&to)
    }

    /// Whether the bytes from here on are there for a driver that goes on from an older memory than the last checkpoint.
    pub fn can_go_back_to(&self, to: u64) -> bool {
        (self.tail..=self.committed).contains(&to)
    }

    /// A driver goes on that has dealt with the bytes up to here, which may be below consumed. Nothing if they cannot be had again.
    pub fn go_back_to(&mut self, to: u64) {
        if self.can_go_back_to(to) {
            self.consumed = to;
            self.checked = self.committed;
        }
    }

    /// Whether consumed has fallen half a ring behind, so that only a checkpoint keeps a replay possible. A driver that leaves consumed there
    /// is not asked again for each event but after another eighth of a ring.
    pub fn wants_checkpoint(&self) -> bool {
        let capacity = self.capacity as u64;
        self.committed - self.consumed >= capacity / 2 && self.committed - self.checked > capacity / 8
    }

    fn head(&self) -> u64 {
        self.tail + self.bytes.len() as u64
    }

    fn drop_below(&mut self, tail: u64) -> Option<Range<u64>> {
        let tail = tail.min(self.head());
        if tail <= self.tail {
            return None;
        }
        let lost = self.tail.max(self.consumed)..tail;
        self.bytes.drain(..(tail - self.tail) as usize);
        self.tail = tail;
        // The first mark speaks for the tail, so it goes only when the next one reaches it.
        while self.time_marks.get(1).is_some_and(|mark| mark.offset <= tail) {
            self.time_marks.pop_front();
        }
        if lost.is_empty() {
            return None;
        }
        self.overrun_bytes += lost.end - lost.start;
        Some(lost)
    }

    fn mark_time(&mut self, received: CallTime) {
        let offset = self.head();
        let after_border = self.notes.back().is_some_and(|note| note.offset == offset);
        let together = self.time_marks.back().is_some_and(|last| {
            !after_border
                && received.monotonic_ns.saturating_sub(last.received.monotonic_ns) < TIME_MARK_SPACING_NS
        });
        if together {
            return;
        }
        if self.time_marks.len() >= TIME_MARKS {
            let mut index = 0;
            self.time_marks.retain(|_| {
                index += 1;
                index > TIME_MARKS / 2 || index % 2 == 1
            });
        }
        self.time_marks.push_back(TimeMark { offset, received });
    }

    fn make_room_for_note(&mut self) -> Option<Range<u64>> {
        if self.notes.len() < NOTES {
            return None;
        }
        let minor = self
            .notes
            .iter()
            .position(|note| !matches!(note.event, Event::PortAttached { .. } | Event::PortLost { .. }));
        if let Some(index) = minor {
            self.notes.remove(index);
            return None;
        }
        self.notes.pop_front();
        let next = self.notes.front().map_or(self.head(), |note| note.offset);
        self.drop_below(next)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::PortIndex;
    use super::*;

    const PORT: PortIndex = PortIndex(0);

    fn at(ms: u64) -> CallTime {
        CallTime {
            monotonic_ns: ms * 1_000_000,
            wall_ms: ms as f64,
        }
    }

    fn lost() -> Event<'static> {
        Event::PortLost {
            port: PORT,
            reason: "".into(),
        }
    }

    fn attached(ring: &PortRing) -> Event<'static> {
        Event::PortAttached {
            port: PORT,
            offset: ring.marks().head,
            identity: Arc::default(),
        }
    }

    #[test]
    fn a_ring_holds_thirty_seconds_within_its_limits() {
        assert_eq!(ring_capacity_bytes(960), 256 * 1024);
        assert_eq!(ring_capacity_bytes(11_520), 345_600);
        assert_eq!(ring_capacity_bytes(1_000_000), 16 * 1024 * 1024);
    }

    #[test]
    fn bytes_below_consumed_go_silently_and_others_as_an_overrun() {
        let mut ring = PortRing::new(10);
        ring.push(&[1; 8], at(0));
        ring.commit(8);
        assert!(ring.consume(6));
        assert_eq!(ring.push(&[2; 8], at(1)), None);
        assert_eq!(ring.push(&[3; 4], at(2)), Some(6..10));
        assert_eq!(ring.marks().overrun_bytes, 4);
        assert_eq!(ring.take_next(), Some(Next::Overrun(8..10)));
        ring.commit(10);
        assert_eq!(ring.take_next(), Some(Next::Bytes(10..16, at(1))));
        ring.commit(16);
        assert_eq!(ring.take_next(), Some(Next::Bytes(16..20, at(2))));
    }

    #[test]
    fn a_checkpoint_is_wanted_when_consumed_is_half_a_ring_behind_and_not_for_each_event() {
        let mut ring = PortRing::new(100);
        ring.push(&[0; 100], at(0));
        ring.commit(49);
        assert!(!ring.wants_checkpoint());
        ring.commit(50);
        assert!(ring.wants_checkpoint());
        assert!(ring.consume(0));
        assert!(!ring.wants_checkpoint());
        ring.commit(63);
        assert!(ring.wants_checkpoint());
    }

    #[test]
    fn time_marks_are_bounded_and_only_grow_coarser() {
        let mut ring = PortRing::new(1 << 20);
        for ms in 0..20_000 {
            ring.push(&[0; 3], at(ms * 2));
        }
        assert!(ring.time_marks.len() <= TIME_MARKS);
        let mut from = 0;
        while let Some((range, received)) = ring.piece(from, u64::MAX) {
            let pushed_ms = range.start / 3 * 2;
            assert_eq!(
                received,
                at(pushed_ms),
                "the time of a piece is that of its first byte"
            );
            from = range.end;
        }
        assert_eq!(from, 60_000);
    }

    #[test]
    fn when_too_many_borders_wait_a_gap_stands_for_the_oldest() {
        let mut ring = PortRing::new(1000);
        for _ in 0..40 {
            ring.push(&[0; 2], at(0));
            ring.border(attached(&ring));
            ring.push(&[0; 2], at(0));
            ring.border(lost());
        }
        assert_eq!(ring.notes.len(), NOTES);
        let mut notes = 0;
        while let Some(next) = ring.take_next() {
            match next {
                Next::Note(_) => notes += 1,
                Next::Overrun(range) | Next::Bytes(range, _) => ring.commit(range.end),
            }
        }
        assert_eq!((notes, ring.marks().committed), (NOTES, 160));
        assert_eq!(
            ring.marks().overrun_bytes,
            34,
            "the bytes up to the first border that is left"
        );
    }

    #[derive(Debug, Clone)]
    enum Action {
        Push(usize),
        Wait(u64),
        Border(bool),
        Note,
        Deliver,
        Consume(u64),
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            4 => (0usize..90).prop_map(Action::Push),
            1 => (0u64..3).prop_map(Action::Wait),
            1 => any::<bool>().prop_map(Action::Border),
            1 => Just(Action::Note),
            4 => Just(Action::Deliver),
            1 => any::<u64>().prop_map(Action::Consume),
        ]
    }

    proptest! {
        #[test]
        fn every_byte_is_delivered_in_order_or_reported_and_no_piece_spans_a_border(
            capacity in 1usize..150,
            actions in prop::collection::vec(action(), 0..200),
        ) {
            let mut ring = PortRing::new(capacity);
            let mut line: Vec<u8> = Vec::new();
            let mut borders = Vec::new();
            let mut time_ms = 0;
            let mut buffer = Vec::new();
            let mut told = 0;
            let mut delivered_notes = Vec::new();
            for action in actions {
                match action {
                    Action::Push(length) => {
                        let data: Vec<u8> = (0..length).map(|index| (line.len() + index) as u8).collect();
                        let before = ring.marks();
                        let dropped = ring.push(&data, at(time_ms));
                        line.extend_from_slice(&data);
                        let after = ring.marks();
                        prop_assert_eq!(after.head, line.len() as u64);
                        prop_assert_eq!(after.tail, before.tail.max(after.head.saturating_sub(capacity as u64)));
                        let from = before.tail.max(before.consumed);
                        let expected = (after.tail > from).then_some(from..after.tail);
                        prop_assert_eq!(dropped, expected);
                    }
                    Action::Wait(ms) => time_ms += ms,
                    Action::Border(is_attached) => {
                        let event = if is_attached { attached(&ring) } else { lost() };
                        ring.border(event);
                        borders.push(ring.marks().head);
                    }
                    Action::Note => {
                        ring.note(Event::TransmitDrained { port: PORT });
                    }
                    Action::Deliver => match ring.take_next() {
                        None => prop_assert!(!ring.is_pending()),
                        Some(Next::Note(event)) => delivered_notes.push((event, told)),
                        Some(Next::Overrun(range)) => {
                            prop_assert_eq!(range.start, told);
                            prop_assert!(range.end <= ring.marks().tail);
                            prop_assert!(!borders.iter().any(|border| (range.start + 1..range.end).contains(border)));
                            told = range.end;
                            ring.commit(told);
                        }
                        Some(Next::Bytes(range, _)) => {
                            prop_assert_eq!(range.start, told);
                            prop_assert!(!borders.iter().any(|border| (range.start + 1..range.end).contains(border)));
                            prop_assert!(ring.read(range.clone(), &mut buffer));
                            prop_assert_eq!(&buffer[..], &line[range.start as usize..range.end as usize]);
                            told = range.end;
                            ring.commit(told);
                        }
                    },
                    Action::Consume(at) => {
                        let marks = ring.marks();
                        let to = marks.consumed + at % (marks.committed - marks.consumed + 3);
                        prop_assert_eq!(ring.consume(to), to <= marks.committed);
                    }
                }
                let marks = ring.marks();
                prop_assert!(marks.consumed <= marks.committed && marks.committed <= marks.head);
                prop_assert!(marks.head - marks.tail <= capacity as u64);
            }
            for (event, told) in delivered_notes {
                if let Event::PortAttached { offset, .. } = event {
                    prop_assert_eq!(offset, told, "a border is delivered in its place");
                }
            }
        }
    }
}
