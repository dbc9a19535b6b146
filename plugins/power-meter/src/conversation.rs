//! Who asked what of whom, and until when.
//!
//! It owns what goes into a snapshot. Whatever has a time has it in there as a number; the one timer only says that it is time to look.

use autobench_sdk::{Bytes, debug, info, warn, whole_ms};
use serde::{Deserialize, Serialize};

use crate::protocol::{self, Message, Reading, Reserved, Version};
use crate::state::Phase;
use crate::{Cx, PORT};

/// The one timer. It may come early or late: what is due is decided by `Memory::deadline_ns`.
pub(crate) const TICK: u32 = 1;

/// The meter answers within this time, or not at all.
const REPLY_MS: u64 = 2000;
/// How much later than its interval the first row may be.
const FIRST_ROW_MS: u64 = 1500;
const QUESTIONS: u8 = 3;
/// How long to leave a meter alone that has not answered any of them. Short, because it may be good again from one moment to the next, and its first
/// row takes another interval.
const WAIT_MS: u64 = 500;
/// No meter is called silent sooner than this, however short its interval.
const SILENCE_MS: u64 = 3000;
/// In how many intervals at least one row has to come.
const SILENCE_INTERVALS: u64 = 3;

/// Where the conversation with the meter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Stage {
    /// The line is away.
    Away,
    /// Asked who it is.
    Identifying,
    /// Asked for rows.
    Asking,
    /// Asked for rows in the other form of the command.
    AskingAgain,
    /// Rows are coming.
    Streaming,
    /// Rows came and stopped; asked for them again.
    Silent,
    /// Left alone for a while.
    Waiting,
}

/// What goes into a snapshot, next to the slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    stage: Stage,
    /// How many times it was asked who it is, without an answer.
    questions: u8,
    /// When the stage has lasted too long, on the monotonic clock.
    deadline_ns: u64,
    /// The interval that the meter was last asked for.
    interval_s: u32,
    /// Number of the first byte that is not yet in `bytesReceived`. Bytes that come again after a swap are not counted again.
    counted_to: u64,
    /// Whether the last row was bad, so that a noisy line is logged once.
    noisy: bool,
}

impl Memory {
    /// Of a driver that starts from nothing, before this byte.
    pub(crate) fn new(interval_s: u32, offset: u64) -> Self {
        Self {
            stage: Stage::Away,
            questions: 0,
            deadline_ns: 0,
            interval_s,
            counted_to: offset,
            noisy: false,
        }
    }
}

/// The conversation with the meter.
pub(crate) struct Conversation {
    pub(crate) memory: Memory,
    /// What the meter said that it is, for the line of log that says that it streams. After a swap between the two that line says less.
    model: Option<String>,
}

impl Conversation {
    pub(crate) fn new(memory: Memory) -> Self {
        Self { memory, model: None }
    }

    /// Takes up what the memory says. A meter that is being talked to is not spoken to: it would answer twice.
    pub(crate) fn go_on(&mut self, cx: &mut Cx<'_>, attached: bool, interval_s: u32) {
        match (self.memory.stage, attached) {
            (Stage::Away, true) => {
                self.memory.interval_s = interval_s;
                self.connect(cx);
            }
            (Stage::Away, false) => {
                self.memory.interval_s = interval_s;
                cx.phase(Phase::Disconnected.name());
            }
            (_, false) => self.leave(cx, "it was away when the driver started"),
            (_, true) => {
                let phase = cx.slice().phase;
                cx.phase(phase.name());
                if !cx.timer_runs(TICK) {
                    self.arm(cx);
                }
                self.change_interval(cx, interval_s);
            }
        }
    }

    pub(crate) fn connect(&mut self, cx: &mut Cx<'_>) {
        change_phase(cx, Phase::Connecting, None);
        self.memory.questions = 0;
        self.identify(cx);
    }

    pub(crate) fn leave(&mut self, cx: &mut Cx<'_>, reason: &str) {
        cx.cancel_timer(TICK);
        self.memory.stage = Stage::Away;
        self.note_error(cx);
        change_phase(
            cx,
            Phase::Disconnected,
            Some(format!("the line is away: {reason}")),
        );
    }

    fn identify(&mut self, cx: &mut Cx<'_>) {
        self.memory.questions += 1;
        let mut question = vec![protocol::ABORT];
        question.extend_from_slice(protocol::IDENTIFY);
        send(cx, &question);
        self.enter(cx, Stage::Identifying, REPLY_MS);
    }

    fn ask(&mut self, cx: &mut Cx<'_>, reserved: Reserved) {
        send(
            cx,
            protocol::log_externally(self.memory.interval_s, reserved).as_bytes(),
        );
        let stage = match reserved {
            Reserved::Underscore => Stage::Asking,
            Reserved::Zero => Stage::AskingAgain,
        };
        self.enter(cx, stage, FIRST_ROW_MS + self.interval_ms());
    }

    pub(crate) fn change_interval(&mut self, cx: &mut Cx<'_>, interval_s: u32) {
        if self.memory.interval_s == interval_s {
            return;
        }
        self.memory.interval_s = interval_s;
        match self.memory.stage {
            // The new interval goes out when the meter is asked for rows.
            Stage::Away | Stage::Identifying | Stage::Waiting => {}
            Stage::Asking | Stage::AskingAgain | Stage::Streaming | Stage::Silent => {
                self.ask(cx, Reserved::Underscore);
            }
        }
    }

    /// Deals with a message that was complete with these bytes, and gives the row if it is one.
    pub(crate) fn take(&mut self, cx: &mut Cx<'_>, message: &Message, bytes: &Bytes) -> Option<Reading> {
        match message {
            Message::Row(reading) => {
                self.take_row(cx, reading, bytes);
                Some(*reading)
            }
            Message::Recovered {
                reading,
                damaged_before,
            } => {
                if *damaged_before {
                    self.take_bad_row(cx, bytes.received_ms);
                }
                self.take_row(cx, reading, bytes);
                Some(*reading)
            }
            Message::Version(version) => {
                self.take_version(cx, version);
                None
            }
            Message::Bad => {
                self.take_bad_row(cx, bytes.received_ms);
                None
            }
            Message::Other | Message::Junk => None,
        }
    }

    fn take_version(&mut self, cx: &mut Cx<'_>, version: &Version) {
        // An answer that comes after its time is still one.
        if let Stage::Identifying | Stage::Waiting = self.memory.stage {
            let ((hardware, step), (firmware, patch)) = (version.hardware, version.firmware);
            let model = version.model;
            self.model = Some(format!(
                "Watts Up? {model}, hardware {hardware}.{step}, firmware {firmware}.{patch}"
            ));
            // What is wrong is over when rows come.
            if cx.slice().phase != Phase::Error {
                change_phase(cx, Phase::Connecting, None);
            }
            self.ask(cx, Reserved::Underscore);
        }
    }

    fn take_row(&mut self, cx: &mut Cx<'_>, reading: &Reading, bytes: &Bytes) {
        self.memory.noisy = false;
        push(cx, reading, bytes.received_ms);
        let state = cx.edit();
        state.stats.total_samples += 1;
        state.stats.last_sample_at = Some(whole_ms(bytes.received_ms));
        match self.memory.stage {
            // The timer stays as it is: when it comes it finds the deadline moved.
            Stage::Streaming => {
                self.memory.deadline_ns = bytes.received_ns + self.silence_ms() * 1_000_000;
            }
            Stage::Asking | Stage::AskingAgain | Stage::Silent | Stage::Waiting => {
                if state.phase != Phase::Streaming {
                    let model = self.model.as_deref().unwrap_or("a meter");
                    info!(cx, "{model}: streaming, a row every {} s", self.memory.interval_s);
                }
                change_phase(cx, Phase::Streaming, None);
                self.enter(cx, Stage::Streaming, self.silence_ms());
            }
            // What was on the line before the meter was stopped says nothing about whether it listens.
            Stage::Identifying | Stage::Away => {}
        }
    }

    fn take_bad_row(&mut self, cx: &mut Cx<'_>, received_ms: f64) {
        let stats = &mut cx.edit().stats;
        stats.bad_rows += 1;
        stats.last_error_at = Some(whole_ms(received_ms));
        if !self.memory.noisy {
            debug!(
                cx,
                "a damaged row is left out; further ones are only counted until a good one comes"
            );
        }
        self.memory.noisy = true;
    }

    pub(crate) fn tick(&mut self, cx: &mut Cx<'_>) {
        if self.memory.stage == Stage::Away {
            return;
        }
        if cx.monotonic_ns() < self.memory.deadline_ns {
            self.arm(cx);
            return;
        }
        match self.memory.stage {
            Stage::Away => {}
            Stage::Identifying if self.memory.questions < QUESTIONS => self.identify(cx),
            Stage::Identifying => {
                self.fail(
                    cx,
                    "the meter does not answer; check that it has power and the baud rate of its model",
                );
                self.enter(cx, Stage::Waiting, WAIT_MS);
            }
            Stage::Waiting => {
                self.memory.questions = 0;
                self.identify(cx);
            }
            Stage::Asking => self.ask(cx, Reserved::Zero),
            Stage::AskingAgain => {
                self.fail(cx, "the meter answers, but sends no rows");
                self.memory.questions = 0;
                self.identify(cx);
            }
            Stage::Streaming => {
                self.note_error(cx);
                let message = format!("no row for {} s; asked for them again", self.silence_ms() / 1000);
                debug!(cx, "{message}");
                cx.set_now(|state| state.message = Some(message));
                send(
                    cx,
                    protocol::log_externally(self.memory.interval_s, Reserved::Underscore).as_bytes(),
                );
                self.enter(cx, Stage::Silent, self.silence_ms());
            }
            Stage::Silent => {
                self.note_error(cx);
                let message = "the meter is silent; identifying it again";
                warn!(cx, "{message}");
                change_phase(cx, Phase::Connecting, Some(message.to_owned()));
                self.memory.questions = 0;
                self.identify(cx);
            }
        }
    }

    /// The meter is there and does not do what it is for. It is asked on, and the log is told once.
    fn fail(&self, cx: &mut Cx<'_>, message: &str) {
        self.note_error(cx);
        if cx.slice().phase != Phase::Error {
            warn!(cx, "{message}; asking again every few seconds");
        }
        change_phase(cx, Phase::Error, Some(message.to_owned()));
    }

    fn enter(&mut self, cx: &mut Cx<'_>, stage: Stage, after_ms: u64) {
        self.memory.stage = stage;
        self.memory.deadline_ns = cx.monotonic_ns() + after_ms * 1_000_000;
        self.arm(cx);
    }

    fn arm(&self, cx: &mut Cx<'_>) {
        if let Err(error) = cx.set_timer_at(TICK, self.memory.deadline_ns) {
            warn!(cx, "no timer, so a silent meter will not be noticed: {error}");
        }
    }

    /// Leaves the meter to itself, and its rows in its memory.
    pub(crate) fn stop(&self, cx: &mut Cx<'_>) {
        if self.memory.stage != Stage::Away {
            let command = protocol::log_internally(self.memory.interval_s);
            send(cx, command.as_bytes());
        }
    }

    pub(crate) fn count_bytes(&mut self, cx: &mut Cx<'_>, offset: u64, length: usize) {
        let end = offset + length as u64;
        let fresh = end.saturating_sub(self.memory.counted_to.max(offset));
        self.memory.counted_to = self.memory.counted_to.max(end);
        cx.edit().stats.bytes_received += fresh;
    }

    /// Bytes below this will not come and were not received.
    pub(crate) fn skip_to(&mut self, offset: u64) {
        self.memory.counted_to = self.memory.counted_to.max(offset);
    }

    pub(crate) fn note_error(&self, cx: &mut Cx<'_>) {
        let now_ms = whole_ms(cx.wall_ms());
        cx.edit().stats.last_error_at = Some(now_ms);
    }

    fn interval_ms(&self) -> u64 {
        u64::from(self.memory.interval_s) * 1000
    }

    fn silence_ms(&self) -> u64 {
        SILENCE_MS.max(SILENCE_INTERVALS * self.interval_ms())
    }
}

/// Every quantity of a row as telemetry, in the order of the manifest's series.
fn push(cx: &mut Cx<'_>, reading: &Reading, received_ms: f64) {
    let quantities = [
        reading.watts,
        reading.volts,
        reading.amps,
        reading.power_factor,
        reading.frequency_hz,
        reading.energy_wh,
        reading.apparent_va,
    ];
    for (series, quantity) in (0..).zip(quantities) {
        if let Some(value) = quantity {
            cx.sample(series, received_ms, value);
        }
    }
}

fn change_phase(cx: &mut Cx<'_>, phase: Phase, message: Option<String>) {
    cx.phase(phase.name());
    cx.set_now(|state| {
        state.phase = phase;
        state.message = message;
    });
}

/// A write that the line does not take is not repeated here: the timer asks again.
fn send(cx: &mut Cx<'_>, data: &[u8]) {
    if let Err(error) = cx.write(PORT, data) {
        // The host tells of a line that is gone.
        debug!(cx, "the meter could not be asked: {error}");
    }
}
