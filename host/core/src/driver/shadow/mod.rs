//! The shadow run: the version that runs and a candidate, side by side in stores of their own, from the same checkpoint over the same events. What
//! they ask for is compared and goes nowhere.
//!
//! ```text
//! live driver --checkpoint, what it was told since--> Origin --+--> lane of the version that runs --+
//!      |                                                       |                                    +--> comparison --> report
//!      +--each event that a call returned for--> Tapped -------+--> lane of the candidate ----------+
//! ```
//!
//! Bytes are not in what is tapped: the run reads them from the driver's ring, behind the driver. If the ring, or the tap, has moved on before the run
//! came to them, the run is over and says so. The clock of the run is when bytes were received. Timers are each lane's own, and run out between two
//! events at their own times; the live driver's are nothing to it.
//!
//! What is compared is compared event by event: a row that one of them does not see is one difference, and not one for every row after it. Once
//! they write different bytes the comparison ends, because a device would have answered differently from there on.
//!
//! How bytes are cut into calls is free, so both are told them line by line: a difference is then that of one line. A call whose update of the slice was
//! refused stays whole, because the refusal was of all that it asked for.

mod compare;
mod lane;

use std::sync::Arc;

pub use compare::{Difference, Differing, End, Report};

use self::compare::{Comparison, Place};
use self::lane::Lane;
use super::inbox::{Chunk, Taken};
use super::{
    Breakdown, CallTime, Command, Event, Guest, LeaseId, PortIndex, PortState, SharedInbox, Snapshot,
    TimerId, Timers,
};

/// Bytes without a line's end that are told in one call at most, and that a row shows.
const ROW_BYTES: usize = 256;

/// Where both versions begin: the live driver's checkpoint, and what it was told since.
#[derive(Debug, Clone)]
pub struct Origin {
    pub(super) device: Arc<str>,
    pub(super) settings: Arc<str>,
    pub(super) snapshot: Snapshot,
    pub(super) slice: Option<Arc<str>>,
    pub(super) ports: Vec<PortState>,
    pub(super) timers: Timers,
    pub(super) leases: Vec<LeaseId>,
    pub(super) commands: Vec<Arc<Command>>,
    pub(super) time: CallTime,
    pub(super) since: Vec<Tapped>,
}

/// One thing that the live driver was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Tapped {
    /// What.
    pub told: Told,
    /// When its call began.
    pub time: CallTime,
    /// Whether the slice refused what that call asked of it.
    pub refused: bool,
}

/// What a driver was told.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Bytes, which are in the ring.
    Bytes {
        /// The port.
        port: PortIndex,
        /// Number of the first.
        from: u64,
        /// Number of the one behind the last.
        to: u64,
    },
    /// Anything else.
    Event(Event<'static>),
    /// A timer of the checkpoint that no version ever hears of.
    TimerGone(TimerId),
}

impl Tapped {
    /// What is to be told to both, if it is anything to them: a timer is each driver's own.
    pub fn of(taken: &Taken, time: CallTime, refused: bool) -> Option<Self> {
        let told = match taken {
            &Taken::Bytes(Chunk { port, from, to, .. }) => Told::Bytes { port, from, to },
            Taken::Event(Event::Timer(_)) => return None,
            Taken::Event(event) => Told::Event(event.clone()),
        };
        Some(Self { told, time, refused })
    }
}

/// One of the two versions.
#[derive(Debug)]
pub struct Version<G> {
    /// A new instance of it.
    pub guest: G,
    /// Names of its series, in the order of its manifest.
    pub series: Vec<String>,
}

/// Whether the run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is more to compare.
    GoesOn,
    /// The report is what it is.
    Over,
}

/// A run under way.
#[derive(Debug)]
pub struct ShadowRun<G> {
    running: Lane<G>,
    candidate: Lane<G>,
    comparison: Comparison,
    inbox: SharedInbox,
    buffer: Vec<u8>,
    /// Of each port.
    lines: Vec<Line>,
    clock: CallTime,
    /// End of the bytes that were told last.
    offset: u64,
}

impl<G: Guest> ShadowRun<G> {
    /// Starts both versions, and lets them live through what the live driver was told since its checkpoint. `inbox` is the live driver's.
    pub fn start(origin: Origin, inbox: SharedInbox, running: Version<G>, candidate: Version<G>) -> Self {
        let mut run = Self {
            comparison: Comparison::new(
                running.series,
                candidate.series,
                origin.ports.iter().map(|port| Arc::clone(&port.name)).collect(),
            ),
            running: Lane::new(running.guest, &origin),
            candidate: Lane::new(candidate.guest, &origin),
            inbox,
            buffer: Vec::new(),
            lines: vec![Line::default(); origin.ports.len()],
            clock: origin.time,
            offset: origin
                .ports
                .iter()
                .map(|port| port.offset)
                .max()
                .unwrap_or_default(),
        };
        let started = (run.running.start(&origin), run.candidate.start(&origin));
        let place = run.place("start".to_owned());
        let mut progress = run.compare(started, place);
        let mut since = origin.since.iter();
        while progress == Progress::GoesOn
            && let Some(tapped) = since.next()
        {
            progress = run.tell(tapped);
        }
        run
    }

    /// Whether the run goes on.
    pub fn progress(&self) -> Progress {
        self.comparison.progress()
    }

    /// Tells both of them what the live driver was told.
    pub fn tell(&mut self, tapped: &Tapped) -> Progress {
        if self.progress() == Progress::Over {
            return Progress::Over;
        }
        match &tapped.told {
            &Told::Bytes { port, from, to } => self.tell_bytes(port, from, to, tapped.refused),
            Told::Event(event) => {
                if let Event::PortAttached { port, .. } | Event::PortLost { port, .. } = event
                    && let Some(line) = self.lines.get_mut(port.0)
                {
                    *line = Line::default();
                }
                self.clock = later(self.clock, tapped.time);
                let done = self.tell_both(event, tapped.refused);
                let place = self.place(super::offline::in_words(event));
                self.compare(done, place)
            }
            Told::TimerGone(id) => {
                self.running.forget_timer(*id);
                self.candidate.forget_timer(*id);
                Progress::GoesOn
            }
        }
    }

    /// The run ends here, for this reason if something is amiss.
    pub fn give_up(&mut self, reason: String) {
        self.comparison.end(End::GaveUp(reason));
    }

    /// What it came to. Timers that are due until then have run out.
    pub fn finish(mut self, until: CallTime) -> Report {
        if self.progress() == Progress::GoesOn {
            self.clock = later(self.clock, until);
            let clock = self.clock;
            let passed = (self.running.pass_time(clock), self.candidate.pass_time(clock));
            let place = self.place("the end".to_owned());
            self.compare(passed, place);
        }
        self.comparison.into_report()
    }

    fn tell_bytes(&mut self, port: PortIndex, from: u64, to: u64, refused: bool) -> Progress {
        let mut at = from;
        while at < to {
            let mut buffer = std::mem::take(&mut self.buffer);
            let piece = self.inbox.with(|inbox| inbox.piece(port, at, to, &mut buffer));
            let Some(chunk) = piece else {
                self.give_up(format!(
                    "the ring dropped byte {at} before the run came to it: the versions are slower than the line"
                ));
                return Progress::Over;
            };
            self.clock = later(self.clock, chunk.received);
            let mut rest = buffer.as_slice();
            let mut offset = chunk.from;
            let mut progress = Progress::GoesOn;
            while progress == Progress::GoesOn && !rest.is_empty() {
                let (row, more) = match refused {
                    true => (rest, &[][..]),
                    false => rest.split_at(row_len(rest)),
                };
                progress = self.tell_row(port, offset, chunk.received, row, refused);
                offset = self.offset;
                rest = more;
            }
            self.buffer = buffer;
            if progress == Progress::Over {
                return Progress::Over;
            }
            at = chunk.to;
        }
        Progress::GoesOn
    }

    fn tell_row(
        &mut self,
        port: PortIndex,
        offset: u64,
        received: CallTime,
        data: &[u8],
        refused: bool,
    ) -> Progress {
        let event = Event::Bytes {
            port,
            offset,
            received_ns: received.monotonic_ns,
            received_ms: received.wall_ms,
            data,
            replayed: false,
        };
        let done = self.tell_both(&event, refused);
        let (from, bytes) = match self.lines.get_mut(port.0) {
            Some(line) => line.grow(offset, data),
            None => (offset, data.to_vec()),
        };
        let place = Place {
            told: super::offline::in_words(&event),
            offset: from,
            time: self.clock,
            bytes,
            told_bytes: data.len() as u64,
        };
        self.offset = offset + data.len() as u64;
        self.compare(done, place)
    }

    fn tell_both(
        &mut self,
        event: &Event<'_>,
        refused: bool,
    ) -> (Result<(), Breakdown>, Result<(), Breakdown>) {
        let clock = self.clock;
        (
            self.running.tell(event, clock, refused),
            self.candidate.tell(event, clock, refused),
        )
    }

    /// A place without bytes.
    fn place(&self, told: String) -> Place {
        Place {
            told,
            offset: self.offset,
            time: self.clock,
            bytes: Vec::new(),
            told_bytes: 0,
        }
    }

    fn compare(&mut self, done: (Result<(), Breakdown>, Result<(), Breakdown>), place: Place) -> Progress {
        self.comparison
            .row(&mut self.running, &mut self.candidate, done, place);
        self.progress()
    }
}

/// The line that a port is in the middle of.
#[derive(Debug, Clone, Default)]
struct Line {
    /// Number of its first byte.
    from: u64,
    bytes: Vec<u8>,
}

impl Line {
    /// More bytes have come. Answers the row that they belong to and where it begins: only text goes on over several calls, because nobody knows where
    /// a row of anything else begins.
    fn grow(&mut self, offset: u64, data: &[u8]) -> (u64, Vec<u8>) {
        let goes_on = self.from + self.bytes.len() as u64 == offset && self.bytes.len() < ROW_BYTES;
        if !goes_on {
            self.bytes.clear();
        }
        if self.bytes.is_empty() {
            self.from = offset;
        }
        self.bytes.extend_from_slice(data);
        let row = (self.from, self.bytes.clone());
        if data.contains(&b'\n') || !data.iter().copied().all(is_text) {
            self.bytes.clear();
        }
        row
    }
}

fn is_text(byte: u8) -> bool {
    byte.is_ascii_graphic() || b" \t\r\n".contains(&byte)
}

/// How many of these bytes are told in one call: up to a line's end.
fn row_len(bytes: &[u8]) -> usize {
    let ends = bytes.iter().take(ROW_BYTES).position(|byte| *byte == b'\n');
    ends.map_or(bytes.len().min(ROW_BYTES), |end| end + 1)
}

fn later(clock: CallTime, time: CallTime) -> CallTime {
    match time.monotonic_ns > clock.monotonic_ns {
        true => time,
        false => clock,
    }
}

#[cfg(test)]
mod laws;
