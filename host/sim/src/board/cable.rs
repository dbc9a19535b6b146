//! The USB cable of a board: who listens, and what faults make of the lines.
//!
//! It owns the firmware and is as pure: bytes and the time in, bytes out, and effects at the PC's side. What a board says while nobody has the
//! port open is lost, as it is on the real one; opening and closing the port changes nothing in the board.

use super::fault::{BoardFault, BoardFaults};
use super::{Firmware, Output, Restart};
use crate::line::{Cable, Outgoing};
use crate::random::Random;
use serde::Serialize;
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes that wait for the line. A terminal holds some 64 KiB more, so this is full only when the host has stopped reading; then lines are
/// lost, as they are in the board.
const QUEUE_BYTES: usize = 16 * 1024;
/// A line of the host is noted up to this length. What is longer is noise, or somebody who forgot the line ends.
const NOTED_BYTES: usize = 256;
/// How late a late line is, at least and at most.
const LATE_MS: (usize, usize) = (100, 1500);
/// How long after the start of a command the board resets. A key press keeps it busy for 100 ms.
const RESET_WITHIN_MS: usize = 99;
/// How long after a command the board is pulled.
const UNPLUG_WITHIN_MS: usize = 200;

/// What became of a line of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It went to the host as it is.
    Sent,
    /// Nobody had the port open.
    NobodyThere,
    /// The host read so slowly that there was no room for it.
    Overrun,
    /// A fault lost it.
    Lost,
    /// A fault delayed it.
    Late,
    /// A fault put junk in its place.
    Garbled,
    /// The board was reset before it was out.
    Cut,
}

/// Something that happened on the cable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at: Duration,
    /// What it was.
    pub kind: NoteKind,
}

/// What happened on the cable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum NoteKind {
    /// Somebody opened the port.
    Opened,
    /// Nobody has the port open any more.
    Closed,
    /// The host wrote this line.
    Heard {
        /// The line, as the firmware trims it; a long one is cut.
        line: String,
    },
    /// The board said this line.
    Said {
        /// The line.
        line: String,
        /// What became of it.
        fate: Fate,
    },
    /// The board said nothing of this, but the host gets it.
    Junk {
        /// What it gets.
        line: String,
    },
    /// The board starts anew.
    Reset,
    /// The board was pulled.
    Unplugged,
    /// The board was put back.
    Plugged,
}

/// A board on its cable.
#[derive(Debug)]
pub struct BoardCable<F: Firmware> {
    firmware: F,
    random: Random,
    faults: BoardFaults,
    open: bool,
    plugged: bool,
    muted: bool,
    resets: u64,
    /// The line that the host is writing, for the notes and for the faults.
    heard: Vec<u8>,
    /// When a fault resets the board, or pulls it.
    reset_at: Option<Duration>,
    unplug_at: Option<Duration>,
    queue: VecDeque<(Duration, Vec<u8>)>,
    queued_bytes: usize,
    /// When the last queued line is due: the order on the line is the order in the queue.
    tail_due: Duration,
    now: Duration,
    effects: Vec<F::Effect>,
    notes: Vec<Note>,
}

impl<F: Firmware> BoardCable<F> {
    /// A board that has just got power, plugged in, with nobody listening.
    pub fn new(firmware: F, faults: BoardFaults, seed: u64) -> Self {
        Self {
            firmware,
            random: Random::new(seed),
            faults,
            open: false,
            plugged: true,
            muted: false,
            resets: 0,
            heard: Vec::new(),
            reset_at: None,
            unplug_at: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            tail_due: Duration::ZERO,
            now: Duration::ZERO,
            effects: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The board.
    pub fn firmware(&self) -> &F {
        &self.firmware
    }

    /// Something happens at the PC's side of the board. Without power it notices nothing.
    pub fn with_firmware(
        &mut self,
        now: Duration,
        act: impl FnOnce(&mut F, Duration, &mut Vec<Output<F::Effect>>),
    ) {
        self.advance(now);
        let mut outputs = Vec::new();
        act(&mut self.firmware, now, &mut outputs);
        self.carry(outputs, now);
    }

    /// Other faults, from now on. A reset or a pull that is under way still comes.
    pub fn set_faults(&mut self, faults: BoardFaults) {
        self.faults = faults;
    }

    /// Whether it is plugged in.
    pub fn is_plugged(&self) -> bool {
        self.plugged
    }

    /// How often it was reset.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// Whether somebody has the port open.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The board resets now.
    pub fn reset(&mut self, now: Duration) {
        self.advance(now);
        self.restart(Restart::Reset, now);
        self.note(now, NoteKind::Reset);
    }

    /// The host gets a line that the board did not say just now.
    pub fn inject(&mut self, text: &str, now: Duration) {
        self.advance(now);
        if self.plugged {
            self.note(
                now,
                NoteKind::Junk {
                    line: text.to_owned(),
                },
            );
            self.enqueue(now, format!("{text}\r\n").into_bytes());
        }
    }

    /// Does everything that is due by `now`.
    pub fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
        while let Some(due) = self.reset_at.filter(|due| *due <= now) {
            self.run_firmware(due);
            self.reset_at = None;
            self.restart(Restart::Reset, due);
            self.note(due, NoteKind::Reset);
        }
        self.run_firmware(now);
    }

    /// When the board has something to do again.
    pub fn board_due(&self) -> Option<Duration> {
        let firmware = self.firmware.next_due().filter(|_| self.plugged);
        [firmware, self.reset_at].into_iter().flatten().min()
    }

    /// What happened at the PC's side since the last time; whoever drives the cable takes it after each step.
    pub fn take_effects(&mut self) -> Vec<F::Effect> {
        std::mem::take(&mut self.effects)
    }

    /// What happened on the cable since the last time.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    fn run_firmware(&mut self, now: Duration) {
        if !self.plugged {
            return;
        }
        while let Some(due) = self.firmware.next_due().filter(|due| *due <= now) {
            let mut outputs = Vec::new();
            self.firmware.advance(due, &mut outputs);
            self.carry(outputs, due);
        }
        let mut outputs = Vec::new();
        self.firmware.advance(now, &mut outputs);
        self.carry(outputs, now);
    }

    fn restart(&mut self, cause: Restart, now: Duration) {
        self.resets += u64::from(cause == Restart::Reset);
        let mut outputs = Vec::new();
        self.firmware.restart(cause, now, &mut outputs);
        self.carry(outputs, now);
        self.heard.clear();
    }

    /// Bytes up to and with a line end, or the last ones of a read.
    fn hear(&mut self, bytes: &[u8], now: Duration) {
        let room = NOTED_BYTES.saturating_sub(self.heard.len());
        self.heard.extend(bytes.iter().take(room));
        if bytes.last() != Some(&b'\n') {
            return self.tell_firmware(bytes, now);
        }
        let text = String::from_utf8_lossy(&self.heard).trim().to_owned();
        self.heard.clear();
        self.note(now, NoteKind::Heard { line: text.clone() });
        if text == "identify" && self.faults.strikes(BoardFault::Stray, &mut self.random) {
            for _ in 0..self.random.between(1, 3) {
                let old = self.random.pick(F::OLD_NEWS, "");
                self.note(now, NoteKind::Junk { line: old.to_owned() });
                self.enqueue(now, format!("{old}\r\n").into_bytes());
            }
        }
        if self.faults.strikes(BoardFault::Reset, &mut self.random) {
            let after = self.random.below(RESET_WITHIN_MS + 1) as u64;
            self.reset_at.get_or_insert(now + Duration::from_millis(after));
        }
        if self.faults.strikes(BoardFault::Unplug, &mut self.random) {
            let after = self.random.below(UNPLUG_WITHIN_MS + 1) as u64;
            self.unplug_at.get_or_insert(now + Duration::from_millis(after));
        }
        self.tell_firmware(bytes, now);
    }

    fn tell_firmware(&mut self, bytes: &[u8], now: Duration) {
        let mut outputs = Vec::new();
        self.firmware.receive(bytes, now, &mut outputs);
        self.carry(outputs, now);
    }

    fn carry(&mut self, outputs: Vec<Output<F::Effect>>, now: Duration) {
        for output in outputs {
            match output {
                Output::Effect(effect) => self.effects.push(effect),
                Output::Line(line) => self.say(line, now),
            }
        }
    }

    fn say(&mut self, line: String, now: Duration) {
        let mut bytes = line.clone().into_bytes();
        bytes.extend(b"\r\n");
        let mut due = now;
        let fate = if !self.open || !self.plugged {
            Fate::NobodyThere
        } else if self.queued_bytes > QUEUE_BYTES {
            Fate::Overrun
        } else if self.reset_at.is_some() {
            // What the board was saying when it was reset ends somewhere.
            bytes.truncate(self.random.below(bytes.len()));
            Fate::Cut
        } else if self.muted || self.faults.strikes(BoardFault::Lost, &mut self.random) {
            Fate::Lost
        } else if self.faults.strikes(BoardFault::Garbage, &mut self.random) {
            self.garble(&mut bytes)
        } else if self.faults.strikes(BoardFault::Late, &mut self.random) {
            due += Duration::from_millis(self.random.between(LATE_MS.0, LATE_MS.1) as u64);
            Fate::Late
        } else {
            Fate::Sent
        };
        match fate {
            Fate::NobodyThere | Fate::Overrun | Fate::Lost => {}
            Fate::Sent | Fate::Late | Fate::Garbled | Fate::Cut => self.enqueue(due, bytes),
        }
        self.note(now, NoteKind::Said { line, fate });
    }

    /// Junk in the place of a line, or before it with a line end between, so that the line itself is whole.
    fn garble(&mut self, bytes: &mut Vec<u8>) -> Fate {
        let count = self.random.between(1, 24);
        let mut junk: Vec<u8> = (0..count)
            .map(|_| (self.random.next_u64() & 0xFF) as u8)
            .collect();
        junk.retain(|byte| *byte != b'\n');
        junk.extend(b"\r\n");
        if self.random.percent(50) {
            junk.append(bytes);
            *bytes = junk;
            return Fate::Sent;
        }
        *bytes = junk;
        Fate::Garbled
    }

    fn enqueue(&mut self, due: Duration, bytes: Vec<u8>) {
        if !self.open || bytes.is_empty() {
            return;
        }
        self.tail_due = self.tail_due.max(due);
        self.queued_bytes += bytes.len();
        self.queue.push_back((self.tail_due, bytes));
    }

    fn hang_up(&mut self) {
        self.queue.clear();
        self.queued_bytes = 0;
        self.tail_due = Duration::ZERO;
        self.open = false;
    }

    fn note(&mut self, at: Duration, kind: NoteKind) {
        self.notes.push(Note { at, kind });
    }
}

impl<F: Firmware> Cable for BoardCable<F> {
    /// The rate of a board on USB means nothing.
    fn set_host_rate(&mut self, _: u32) {}

    fn host_came(&mut self) {
        self.open = true;
        self.note(self.now, NoteKind::Opened);
    }

    fn host_gone(&mut self, _: u64) {
        self.hang_up();
        self.note(self.now, NoteKind::Closed);
    }

    fn receive(&mut self, bytes: &[u8], now: Duration) {
        self.advance(now);
        if !self.plugged || bytes.is_empty() {
            return;
        }
        // Whoever writes has the port open.
        self.open = true;
        if self.muted {
            return;
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.hear(line, now);
        }
    }

    fn outgoing(&self, now: Duration) -> Option<Outgoing<'_>> {
        if self.unplug_at.is_some_and(|at| at <= now) {
            return Some(Outgoing::Unplug);
        }
        let (due, bytes) = self.queue.front()?;
        (*due <= now).then_some(Outgoing::Bytes(bytes))
    }

    fn line_due(&self) -> Option<Duration> {
        let queue = self.queue.front().map(|(due, _)| *due);
        [queue, self.unplug_at].into_iter().flatten().min()
    }

    fn sent(&mut self, count: usize) {
        let Some((_, bytes)) = self.queue.front_mut() else {
            return;
        };
        let count = count.min(bytes.len());
        bytes.drain(..count);
        self.queued_bytes = self.queued_bytes.saturating_sub(count);
        if bytes.is_empty() {
            self.queue.pop_front();
        }
    }

    fn awaits_reader(&self) -> bool {
        false
    }

    fn drained(&mut self) {}

    fn hurry(&mut self, now: Duration) {
        for (due, _) in &mut self.queue {
            *due = (*due).min(now);
        }
        self.tail_due = self.tail_due.min(now);
    }

    fn unplugged(&mut self, _: u64, now: Duration) {
        self.advance(now);
        self.hang_up();
        (self.unplug_at, self.reset_at) = (None, None);
        // Without its supply it presses nothing.
        self.restart(Restart::PowerLost, now);
        self.plugged = false;
        self.note(now, NoteKind::Unplugged);
    }

    fn plugged(&mut self, now: Duration) {
        self.plugged = true;
        self.note(now, NoteKind::Plugged);
        self.restart(Restart::PowerLost, now);
    }

    fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
    }

    fn add_noise(&mut self, bytes: &[u8], now: Duration) {
        self.advance(now);
        if self.plugged && !bytes.is_empty() {
            let line = String::from_utf8_lossy(bytes.get(..NOTED_BYTES).unwrap_or(bytes)).into_owned();
            self.note(now, NoteKind::Junk { line });
            self.enqueue(now, bytes.to_vec());
        }
    }
}
