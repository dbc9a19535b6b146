//! The conversation with the board: what it is, what its contacts do, and who is told of it.
//!
//! It owns what goes into a snapshot. Whatever has a time has it in there as a number; the one timer only says that it is time to look.
//!
//! Here is what all of it shares: the memory and the time. `identification.rs` comes first in the board's life, `telemetry.rs` reads what it says,
//! `queue.rs` and `press.rs` carry out what is asked of it, `asking.rs` makes sure where there is nothing to press, `report.rs` shows it.

mod asking;
mod identification;
mod press;
mod queue;
mod report;
mod telemetry;

use std::collections::VecDeque;

use autobench_sdk::warn;
use serde::{Deserialize, Serialize};

use crate::Cx;
use crate::protocol::Button;
use crate::settings::Settings;
use crate::work::{Action, Order, Step};

/// The one timer. It may come early or late: what is due is decided by the times in the memory.
pub(crate) const TICK: u32 = 1;

/// Where the conversation with the board stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Stage {
    /// The line is away.
    #[default]
    Away,
    /// Left alone until it is awake.
    Waking,
    /// Asked what it is.
    Identifying,
    /// Told that it is what it says; it has to say how power is.
    Completing,
    /// It obeys.
    Ready,
    /// Left alone for a while, because it does not answer.
    Waiting,
}

/// What goes into a snapshot, next to the slice.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Memory {
    stage: Stage,
    /// How many times it was asked what it is, without an answer.
    questions: u8,
    /// When the stage has lasted too long, on the monotonic clock. None in those that last.
    deadline_ns: Option<u64>,
    /// What the timer is set to, so that it is not set anew, later by a part of a millisecond, at each event.
    armed_ns: Option<u64>,
    /// Until when the power button is to be left alone.
    power_rests_ns: u64,
    /// The same for the reset button.
    reset_rests_ns: u64,
    active: Option<Action>,
    queue: VecDeque<Order>,
    /// Whether something of what the board said is lost, so that it is to be identified again as soon as nothing is under way.
    missed: bool,
    /// Whether the framer stands in the middle of a line that is too long.
    pub(crate) skipping: bool,
}

impl Memory {
    /// Until when a button is to be left alone.
    fn rests_ns(&mut self, button: Button) -> &mut u64 {
        match button {
            Button::Power => &mut self.power_rests_ns,
            Button::Reset => &mut self.reset_rests_ns,
        }
    }
}

/// The board, as far as the driver knows.
pub(crate) struct Panel {
    pub(crate) memory: Memory,
    pub(crate) settings: Settings,
}

impl Panel {
    pub(crate) fn new(memory: Memory, settings: Settings) -> Self {
        Self { memory, settings }
    }

    /// Whether the board has not answered in its time.
    pub(crate) fn is_unanswered(&self, cx: &mut Cx<'_>) -> bool {
        let stage = match self.memory.stage {
            Stage::Identifying | Stage::Completing | Stage::Waiting => self.memory.deadline_ns,
            Stage::Away | Stage::Waking | Stage::Ready => None,
        };
        let step = self.memory.active.as_ref().and_then(|action| match action.step {
            Step::Closed { reply_by_ns, .. } => reply_by_ns,
            Step::Opening { reply_by_ns } => Some(reply_by_ns),
            Step::Asking { by_ns, .. } => Some(by_ns),
            Step::Resting { .. } | Step::Confirming { .. } => None,
        });
        let now_ns = cx.monotonic_ns();
        [stage, step].into_iter().flatten().any(|by_ns| by_ns <= now_ns)
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, cx: &mut Cx<'_>) {
        self.memory.armed_ns = None;
        let now_ns = cx.monotonic_ns();
        let is_due = |due_ns: Option<u64>| due_ns.is_some_and(|due_ns| due_ns <= now_ns);
        if is_due(self.memory.deadline_ns) {
            self.stage_is_over(cx);
        }
        if is_due(self.memory.active.as_ref().and_then(Action::due_ns)) {
            self.step_is_over(cx, now_ns);
        }
        self.begin_next(cx);
    }

    /// Ends a call: shows what is under way, and sets the timer to what is due next.
    pub(crate) fn settle(&mut self, cx: &mut Cx<'_>) {
        if self.memory.missed && self.memory.active.is_none() && self.memory.stage == Stage::Ready {
            self.start_over(cx, "some of what the board said is lost");
        }
        self.show(cx);
        let active_ns = self.memory.active.as_ref().and_then(Action::due_ns);
        let due_ns = [self.memory.deadline_ns, active_ns].into_iter().flatten().min();
        if due_ns == self.memory.armed_ns {
            return;
        }
        self.memory.armed_ns = due_ns;
        let Some(due_ns) = due_ns else {
            cx.cancel_timer(TICK);
            return;
        };
        if let Err(error) = cx.set_timer_at(TICK, due_ns) {
            warn!(cx, "no timer, so the host has to let go of the buttons: {error}");
        }
    }
}

/// The moment that is so much later.
fn after(cx: &mut Cx<'_>, after_ms: u32) -> u64 {
    cx.monotonic_ns() + u64::from(after_ms) * 1_000_000
}
