//! The cable between the meter and the host: what faults make of the bytes, who listens, and which rows arrived.
//!
//! It owns the meter and is as pure: bytes and the time in, bytes out. Whoever carries the bytes says when somebody opens the port, closes
//! it, and has read everything; a row is settled, and its record handed out, once it is known whether the host has its last byte.
//!
//! ```text
//! Away --opened--> Quiet --first byte--> Heard --closed, unplugged--> Away
//! ```
//!
//! Rows reach the line in `Heard` only. A host flushes its input between opening the port and its first byte; what was sent in between
//! could be read or not, and nobody could tell which.

use super::damage;
use super::fault::{Fault, FaultPlan, Turns};
use super::journal::{LostReason, Record, Tally};
use super::meter::{BAUD_RATE, Meter, Output, Row};
pub use crate::line::Outgoing;
use crate::pc::Stage;
use crate::random::Random;
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes that wait for the line. A terminal holds some 64 KiB more, so this is full only when the host has stopped reading; then rows are
/// lost as an overrun, and answers are dropped, as they are in the meter's own buffer.
const QUEUE_BYTES: usize = 16 * 1024;
/// Rows on the line that the host has not read. More than a terminal holds; beyond it rows are lost as an overrun.
const UNREAD_ROWS: usize = 4096;

/// A meter on its cable.
#[derive(Debug)]
pub struct Cable {
    meter: Meter,
    random: Random,
    turns: Turns,
    host: Host,
    host_rate: u32,
    plugged: bool,
    /// The cable is about to be pulled: nothing may follow what is queued before that.
    unplug_queued: bool,
    silent: bool,
    /// Nothing gets through.
    muted: bool,
    /// Rows that wait to be sent in one write.
    held: Vec<(Record, Vec<u8>)>,
    held_target: usize,
    queue: VecDeque<Item>,
    queued_bytes: usize,
    /// When the last queued piece is due: the order on the line is the order in the queue.
    tail_due: Duration,
    /// Whether a row that is queued now would directly follow the end of a packet.
    tail: LineEnd,
    sent: u64,
    sent_end: LineEnd,
    /// Rows on the line, by the offset of their end.
    unread: VecDeque<(u64, Record)>,
    /// Settled rows that nobody has taken yet; whoever drives the cable takes them after each step.
    settled: Vec<Record>,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Away,
    Quiet,
    Heard,
}

/// What the last bytes on the line were, for somebody who looks for the end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    /// Nothing, or the end of a packet, with nothing that counts after it.
    Clean,
    /// Something that would become part of a row without a head.
    Soiled,
}

#[derive(Debug)]
enum Item {
    Piece(Piece),
    Unplug(Duration),
}

#[derive(Debug)]
struct Piece {
    due: Duration,
    bytes: Vec<u8>,
    sent: usize,
    /// Rows whose last byte is in this piece, each with the offset behind its `;`.
    rows: VecDeque<(usize, Record)>,
}

impl Cable {
    /// A meter that has just got power, plugged in, with nobody listening.
    pub fn new(meter: Meter, faults: FaultPlan, seed: u64) -> Self {
        Self {
            meter,
            random: Random::new(seed),
            turns: Turns::new(faults),
            host: Host::Away,
            host_rate: BAUD_RATE,
            plugged: true,
            unplug_queued: false,
            silent: false,
            muted: false,
            held: Vec::new(),
            held_target: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            tail_due: Duration::ZERO,
            tail: LineEnd::Clean,
            sent: 0,
            sent_end: LineEnd::Clean,
            unread: VecDeque::new(),
            settled: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Another plan, from its first turn.
    pub fn set_faults(&mut self, faults: FaultPlan) {
        self.turns = Turns::new(faults);
    }

    /// The rate that the host has set.
    pub fn set_host_rate(&mut self, baud_rate: u32) {
        self.host_rate = baud_rate;
    }

    /// Somebody opened the port.
    pub fn host_came(&mut self) {
        self.host = Host::Quiet;
        (self.tail, self.sent_end) = (LineEnd::Clean, LineEnd::Clean);
    }

    /// Nobody has the port open any more; so many of the bytes sent were not read.
    pub fn host_gone(&mut self, unread_bytes: u64) {
        self.hang_up(unread_bytes, LostReason::NobodyThere);
    }

    /// The cable is out; so many of the bytes sent were not read.
    pub fn unplugged(&mut self, unread_bytes: u64) {
        self.hang_up(unread_bytes, LostReason::Unplugged);
        self.queue.clear();
        self.plugged = false;
        self.unplug_queued = false;
    }

    /// The cable is in again.
    pub fn plugged(&mut self) {
        self.plugged = true;
    }

    /// Nothing will be sent any more; so many of the bytes sent were not read.
    pub fn finish(&mut self, unread_bytes: u64) {
        self.hang_up(unread_bytes, LostReason::Stopped);
    }

    /// From now on nothing gets through in either direction; or it does again.
    pub fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// Bytes for the host that the meter did not say. They go into the gap between two packets.
    pub fn add_noise(&mut self, bytes: &[u8], now: Duration) {
        self.answer(bytes.to_vec(), now);
    }

    /// Bytes from the host.
    pub fn receive(&mut self, bytes: &[u8], now: Duration) {
        if !self.plugged || self.muted || bytes.is_empty() {
            return;
        }
        // Rows that fell due before these bytes came went unheard.
        self.advance(now);
        self.host = Host::Heard;
        if self.rates_agree() {
            let mut outputs = Vec::new();
            self.meter.receive(bytes, now, &mut outputs);
            self.carry(outputs, now);
        } else {
            self.meter.line_noise();
        }
    }

    /// The PC behind the meter does something else from now on.
    pub fn pc_enters(&mut self, stage: Stage, now: Duration) {
        self.advance(now);
        self.meter.pc_enters(stage, now);
    }

    /// Does everything that is due by `now`.
    pub fn advance(&mut self, now: Duration) {
        let mut outputs = Vec::new();
        self.meter.advance(now, &mut outputs);
        self.carry(outputs, now);
    }

    /// Sends at once what waits for its time or for company.
    pub fn hurry(&mut self, now: Duration) {
        self.release_held(now);
        for item in &mut self.queue {
            match item {
                Item::Piece(Piece { due, .. }) | Item::Unplug(due) => *due = (*due).min(now),
            }
        }
        self.tail_due = self.tail_due.min(now);
    }

    /// When the meter has something to do again.
    pub fn meter_due(&self) -> Option<Duration> {
        self.meter.next_due()
    }

    /// When there is something for the line.
    pub fn line_due(&self) -> Option<Duration> {
        self.queue.front().map(|item| match item {
            Item::Piece(Piece { due, .. }) | Item::Unplug(due) => *due,
        })
    }

    /// What is due for the line.
    pub fn outgoing(&self, now: Duration) -> Option<Outgoing<'_>> {
        match self.queue.front()? {
            Item::Piece(piece) if piece.due <= now => {
                Some(Outgoing::Bytes(piece.bytes.get(piece.sent..).unwrap_or_default()))
            }
            Item::Unplug(due) if *due <= now => Some(Outgoing::Unplug),
            _ => None,
        }
    }

    /// So many bytes of what was due are on the line.
    pub fn sent(&mut self, count: usize) {
        let Some(Item::Piece(piece)) = self.queue.front_mut() else {
            return;
        };
        let from = piece.sent;
        let to = (from + count).min(piece.bytes.len());
        self.sent_end = self.sent_end.after(piece.bytes.get(from..to).unwrap_or_default());
        while let Some((end, record)) = piece.rows.pop_front_if(|(end, _)| *end <= to) {
            self.unread.push_back((self.sent + (end - from) as u64, record));
        }
        self.sent += (to - from) as u64;
        self.queued_bytes = self.queued_bytes.saturating_sub(to - from);
        piece.sent = to;
        if to == piece.bytes.len() {
            self.queue.pop_front();
        }
    }

    /// The host has read everything that was sent.
    pub fn drained(&mut self) {
        while let Some((_, record)) = self.unread.pop_front() {
            self.settle(record);
        }
    }

    /// Whether rows are on the line of which it is not known whether the host has read them.
    pub fn awaits_reader(&self) -> bool {
        !self.unread.is_empty()
    }

    /// The rows that were settled since the last time.
    pub fn take_settled(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.settled)
    }

    /// How many rows ended how.
    pub fn tally(&self) -> Tally {
        Tally {
            rows: self.meter.rows(),
            ..self.tally
        }
    }

    fn carry(&mut self, outputs: Vec<Output>, now: Duration) {
        for output in outputs {
            match output {
                Output::Bytes(bytes) => self.answer(bytes, now),
                Output::Row(row) => self.row(row),
                Output::Started => self.silent = false,
                Output::Aborted => self.abort(),
            }
        }
    }

    fn rates_agree(&self) -> bool {
        // A wrong rate begins with a row: were it there before, no host could start the rows that end it.
        self.host_rate == BAUD_RATE && self.turns.under_way() != Some(Fault::WrongBaud)
    }

    fn answer(&mut self, bytes: Vec<u8>, now: Duration) {
        if !self.plugged
            || self.muted
            || self.unplug_queued
            || self.host != Host::Heard
            || self.queued_bytes > QUEUE_BYTES
        {
            return;
        }
        self.release_held(now);
        let bytes = if self.rates_agree() {
            bytes
        } else {
            damage::garbled(&bytes, &mut self.random)
        };
        self.enqueue(now, bytes, VecDeque::new());
    }

    fn row(&mut self, row: Row) {
        let record = Record::new(row.number, row.at, row.deciwatts);
        if let Some(reason) = self.reason_to_hold_back() {
            let fault = (reason == LostReason::Silence).then_some(Fault::Silence);
            return self.settle(Record { fault, ..record }.lost(reason));
        }
        let (text, at) = (row.text.into_bytes(), row.at);
        let fault = self.turns.next_row(&mut self.random);
        if self.host_rate != BAUD_RATE || fault == Some(Fault::WrongBaud) {
            self.release_held(at);
            let bytes = damage::garbled(&text, &mut self.random);
            self.enqueue(at, bytes, VecDeque::new());
            let record = Record {
                altered: true,
                fault: Some(Fault::WrongBaud),
                ..record
            };
            return self.settle(record.lost(LostReason::WrongBaud));
        }
        if fault == Some(Fault::Joined) || (fault.is_none() && !self.held.is_empty()) {
            return self.hold(record, text, at);
        }
        self.release_held(at);
        match fault {
            Some(fault) => self.strike(
                fault,
                Record {
                    fault: Some(fault),
                    ..record
                },
                text,
                at,
            ),
            None => self.enqueue_row(at, text, record),
        }
    }

    /// Why a row cannot reach the line at all.
    fn reason_to_hold_back(&self) -> Option<LostReason> {
        if !self.plugged || self.unplug_queued {
            return Some(LostReason::Unplugged);
        }
        match self.host {
            Host::Away => Some(LostReason::NobodyThere),
            Host::Quiet => Some(LostReason::Unheard),
            Host::Heard if self.silent || self.muted => Some(LostReason::Silence),
            Host::Heard if self.queued_bytes > QUEUE_BYTES || self.unread.len() >= UNREAD_ROWS => {
                Some(LostReason::Overrun)
            }
            Host::Heard => None,
        }
    }

    fn strike(&mut self, fault: Fault, record: Record, text: Vec<u8>, at: Duration) {
        match fault {
            Fault::Nuls => {
                let (bytes, altered) = damage::with_nuls(&text, &mut self.random);
                self.enqueue_row(at, bytes, Record { altered, ..record });
            }
            Fault::Split => {
                let mut pieces = damage::pieces(&text, &mut self.random);
                let last = pieces.pop().unwrap_or_default();
                // All pauses together stay below half an interval, so that the rows after this one are not late for ever.
                let longest = self.meter.interval().mul_f64(0.45 / (pieces.len() + 1) as f64);
                let mut due = at;
                // A cut may have fallen into the line end; the row is whole with its `;`, wherever that is.
                let mut record = Some(record);
                for bytes in pieces.into_iter().chain([last]) {
                    let whole = if bytes.contains(&b';') {
                        record.take()
                    } else {
                        None
                    };
                    let rows = whole
                        .map(|record| (end_of_row(&bytes), record))
                        .into_iter()
                        .collect();
                    self.enqueue(due, bytes, rows);
                    due += longest.mul_f64(self.random.below(1000) as f64 / 1000.0);
                }
            }
            Fault::Headless if self.tail == LineEnd::Clean => {
                let bytes = damage::without_head(&text, &mut self.random);
                self.enqueue_row(at, bytes, record.headless());
            }
            // Something stands before this row that nobody could tell from it.
            Fault::Headless => self.enqueue_row(
                at,
                text,
                Record {
                    fault: None,
                    ..record
                },
            ),
            Fault::Garbage if self.random.percent(35) => {
                let bytes = damage::beyond_reading(&text, &mut self.random);
                self.enqueue(at, bytes, VecDeque::new());
                self.settle(
                    Record {
                        altered: true,
                        ..record
                    }
                    .lost(LostReason::Damaged),
                );
            }
            Fault::Garbage => {
                let mut bytes = damage::junk(&mut self.random);
                let end = bytes.len() + end_of_row(&text);
                bytes.extend(text);
                if self.random.percent(50) {
                    bytes.extend(damage::junk(&mut self.random));
                }
                self.enqueue(at, bytes, VecDeque::from([(end, record)]));
            }
            Fault::Silence => {
                self.silent = true;
                self.settle(record.lost(LostReason::Silence));
            }
            Fault::Unplug => {
                if self.random.percent(50) {
                    let bytes = damage::cut(&text, &mut self.random);
                    self.enqueue(at, bytes, VecDeque::new());
                    self.settle(
                        Record {
                            altered: true,
                            ..record
                        }
                        .lost(LostReason::Cut),
                    );
                } else {
                    self.enqueue_row(at, text, record);
                }
                self.unplug_queued = true;
                self.queue.push_back(Item::Unplug(self.tail_due));
            }
            // Both are settled before a row is struck.
            Fault::Joined | Fault::WrongBaud => self.enqueue_row(at, text, record),
        }
    }

    /// Keeps a row until there are enough for one write.
    fn hold(&mut self, record: Record, text: Vec<u8>, at: Duration) {
        if self.held.is_empty() {
            self.held_target = self.random.between(2, 5);
        }
        self.held.push((record, text));
        if self.held.len() >= self.held_target {
            self.release_held(at);
        }
    }

    fn release_held(&mut self, at: Duration) {
        let held = std::mem::take(&mut self.held);
        let count = held.len();
        let mut bytes = Vec::new();
        let mut rows = VecDeque::new();
        for (index, (record, text)) in held.into_iter().enumerate() {
            let record = Record {
                fault: (count > 1).then_some(Fault::Joined),
                ..record
            };
            let text = if index + 1 < count && self.random.percent(50) {
                damage::without_line_end(&text).to_vec()
            } else {
                text
            };
            let (text, record) = if index > 0 && self.random.percent(15) {
                (damage::without_head(&text, &mut self.random), record.headless())
            } else {
                (text, record)
            };
            rows.push_back((bytes.len() + end_of_row(&text), record));
            bytes.extend(text);
        }
        if !bytes.is_empty() {
            self.enqueue(at, bytes, rows);
        }
    }

    fn enqueue_row(&mut self, at: Duration, bytes: Vec<u8>, record: Record) {
        let end = end_of_row(&bytes);
        self.enqueue(at, bytes, VecDeque::from([(end, record)]));
    }

    fn enqueue(&mut self, at: Duration, bytes: Vec<u8>, rows: VecDeque<(usize, Record)>) {
        self.tail_due = self.tail_due.max(at);
        self.tail = self.tail.after(&bytes);
        self.queued_bytes += bytes.len();
        self.queue.push_back(Item::Piece(Piece {
            due: self.tail_due,
            bytes,
            sent: 0,
            rows,
        }));
    }

    fn abort(&mut self) {
        self.lose_queue(LostReason::Aborted);
        self.tail = self.sent_end;
        self.tail_due = Duration::ZERO;
    }

    fn hang_up(&mut self, unread_bytes: u64, reason: LostReason) {
        let read = self.sent.saturating_sub(unread_bytes);
        while let Some((end, record)) = self.unread.pop_front() {
            self.settle(if end <= read {
                record
            } else {
                record.lost(LostReason::Unread)
            });
        }
        self.lose_queue(reason);
        self.host = Host::Away;
        (self.tail, self.sent_end) = (LineEnd::Clean, LineEnd::Clean);
        self.tail_due = Duration::ZERO;
    }

    /// Empties the queue of bytes; a pull of the cable that is due stays due.
    fn lose_queue(&mut self, reason: LostReason) {
        for (record, _) in std::mem::take(&mut self.held) {
            self.settle(record.lost(reason));
        }
        for item in std::mem::take(&mut self.queue) {
            match item {
                Item::Piece(piece) => {
                    for (_, record) in piece.rows {
                        self.settle(record.lost(reason));
                    }
                }
                Item::Unplug(due) => self.queue.push_back(Item::Unplug(due)),
            }
        }
        self.queued_bytes = 0;
    }

    fn settle(&mut self, record: Record) {
        self.tally.count(&record);
        self.settled.push(record);
    }
}

impl LineEnd {
    fn after(self, bytes: &[u8]) -> Self {
        bytes.iter().fold(self, |end, byte| match byte {
            b';' => Self::Clean,
            0 | b'\r' | b'\n' | b'\t' => end,
            _ => Self::Soiled,
        })
    }
}

/// The offset behind the `;` of a row that has only that one.
fn end_of_row(row: &[u8]) -> usize {
    row.iter()
        .position(|byte| *byte == b';')
        .map_or(row.len(), |position| position + 1)
}
