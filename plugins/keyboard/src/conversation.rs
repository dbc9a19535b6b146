//! Who asked what of whom, and until when. One line of the adapter's is under way at a time; the next one leaves when it was answered.
//!
//! It owns what goes into a snapshot. Whatever has a time has it in there as a number; the one timer only says that it is time to look.
//!
//! Here is what all of it shares: the memory, the lines that come in, and the time. `identification.rs` comes first, `queue.rs` takes what is asked,
//! `steps.rs` sends it and `answers.rs` waits for what comes of it, `doubts.rs` knows which keys may be down, `report.rs` shows it.

mod answers;
mod doubts;
mod identification;
mod queue;
mod report;
mod steps;

use std::collections::VecDeque;

use autobench_sdk::{Context, warn};
use serde::{Deserialize, Serialize};

use crate::keys::Key;
use crate::protocol::{self, Message};
use crate::settings::Plan;
use crate::state::{Phase, Power, State};
use crate::work::Job;
use answers::{Expected, Flight};
use doubts::Doubts;

/// The one timer. It may come early or late: what is due is decided by `Memory::deadline_ns`.
const TICK: u32 = 1;

pub(crate) type Cx<'a> = Context<'a, State>;

/// Where the conversation with the adapter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Stage {
    /// The line is away.
    Away,
    /// Asked who it is.
    Identifying,
    /// Left alone for a while.
    Waiting,
    /// It takes commands.
    Ready,
}

/// What goes into a snapshot, next to the slice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    stage: Stage,
    /// How many times it was asked who it is, without an answer.
    questions: u8,
    /// When the stage, the answer or the pause has lasted too long, on the monotonic clock.
    deadline_ns: u64,
    queue: VecDeque<Job>,
    running: Option<Job>,
    /// What was under way when keys had to be let go first; it goes on after that.
    #[serde(default)]
    aside: Option<Job>,
    flight: Option<Flight>,
    /// Whether the next step waits for the deadline.
    pausing: bool,
    /// Keys that stay down after the command that asked for it, each with its lease.
    held: Vec<Key>,
    /// Keys that may be down at the PC, whether they are held or not.
    #[serde(default)]
    doubts: Doubts,
    /// How many times in a row the line took nothing.
    refusals: u8,
    renewed_ns: u64,
    progress_ns: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            stage: Stage::Away,
            questions: 0,
            deadline_ns: 0,
            queue: VecDeque::new(),
            running: None,
            aside: None,
            flight: None,
            pausing: false,
            held: Vec::new(),
            doubts: Doubts::default(),
            refusals: 0,
            renewed_ns: 0,
            progress_ns: 0,
        }
    }
}

pub(crate) struct Conversation {
    pub(crate) memory: Memory,
    pub(crate) plan: Plan,
}

impl Conversation {
    /// Takes up what the memory says. An adapter that is being talked to is not identified again.
    pub(crate) fn go_on(&mut self, cx: &mut Cx<'_>, attached: bool) {
        match (self.memory.stage, attached) {
            (Stage::Away, true) => self.connect(cx),
            (Stage::Away, false) => cx.phase(Phase::Disconnected.name()),
            (_, false) => self.leave(cx, "it was away when the driver started"),
            (_, true) => {
                let phase = cx.slice().phase;
                cx.phase(phase.name());
                let waits = self.memory.stage != Stage::Ready || self.is_waiting();
                if waits && !cx.timer_runs(TICK) {
                    self.arm(cx);
                }
                self.pump(cx);
            }
        }
    }

    /// Whether the adapter has not answered in its time.
    pub(crate) fn is_unanswered(&self, cx: &mut Cx<'_>) -> bool {
        let waits = match self.memory.stage {
            Stage::Away => false,
            Stage::Identifying | Stage::Waiting => true,
            Stage::Ready => self.memory.flight.is_some(),
        };
        waits && self.memory.deadline_ns <= cx.monotonic_ns()
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
            Stage::Identifying => self.miss_token(cx),
            Stage::Waiting => {
                self.memory.questions = 0;
                self.identify(cx);
            }
            Stage::Ready if self.memory.flight.is_some() => self.miss_answer(cx),
            Stage::Ready => {
                self.memory.pausing = false;
                self.pump(cx);
            }
        }
        self.show(cx);
    }

    /// Deals with a line of the adapter's.
    pub(crate) fn hear(&mut self, cx: &mut Cx<'_>, line: &[u8]) {
        match protocol::read(line) {
            Message::Token => self.take_token(cx),
            Message::OtherToken(token) => {
                if let Stage::Identifying = self.memory.stage {
                    let message = format!("the board says {token}: it is no keyboard adapter");
                    self.fail_identification(cx, &message);
                }
            }
            Message::Done(verb, code) => {
                self.hear_done(verb, code);
                self.take_answer(cx, Expected::Done(verb, code));
            }
            Message::NothingToDo(command) => self.take_refusal(cx, command),
            Message::Power(is_on) => {
                cx.edit().power = if is_on { Power::On } else { Power::Off };
                self.take_answer(cx, Expected::Power);
            }
            Message::PcTalks => cx.edit().power = Power::On,
            Message::PcReset => {
                self.memory.doubts.forget_past();
                cx.edit().lights = None;
            }
            Message::Lights(lights) => cx.edit().lights = Some(lights.into()),
            Message::Other => {}
        }
    }

    // --- time ---

    fn wait_ms(&mut self, cx: &mut Cx<'_>, ms: u32) {
        self.memory.deadline_ns = cx.monotonic_ns() + u64::from(ms) * 1_000_000;
        self.arm(cx);
    }

    fn arm(&self, cx: &mut Cx<'_>) {
        if let Err(error) = cx.set_timer_at(TICK, self.memory.deadline_ns) {
            warn!(
                cx,
                "no timer, so an adapter that is silent will not be noticed: {error}"
            );
        }
    }
}
