//! What is under way, leg by leg: the lease and the closed contact, the open one, and the power sense that has to come of it.

use autobench_sdk::{Outcome, Value, warn};

use super::report::{edit, note_error, operation, set_held, short};
use super::{Panel, Stage, after};
use crate::protocol::Button;
use crate::state::{OperationStatus, Scope, Sense};
use crate::work::{Action, Step};
use crate::{Cx, PORT};

/// How much later than a press the host lets go of it: only when the driver did not.
const LEASE_MARGIN_MS: u32 = 1000;

impl Panel {
    /// The host has let go of a button, or will as soon as the line is back.
    pub(crate) fn lease_ended(&mut self, cx: &mut Cx<'_>, id: u32, reason: &str) {
        let Some(button) = Button::ALL.into_iter().find(|button| lease(*button) == id) else {
            return;
        };
        let Some(action) = self.active_on(button) else {
            return;
        };
        let Step::Closed { opened, .. } = action.step else {
            return;
        };
        if action.is_hold() && !action.open {
            end(action, OperationStatus::Completed, Some(reason));
        } else {
            self.fail(
                cx,
                Scope::Protocol,
                &format!("cut-short: the host let go: {reason}"),
            );
        }
        self.open(cx);
        if opened {
            self.opened(cx);
        }
        self.begin_next(cx);
    }

    pub(super) fn begin_leg(&mut self, cx: &mut Cx<'_>) {
        let now_ns = cx.monotonic_ns();
        let Some(button) = self.memory.active.as_ref().map(|action| action.leg.button) else {
            return;
        };
        let until_ns = *self.memory.rests_ns(button);
        let Some(action) = &mut self.memory.active else {
            return;
        };
        action.held = false;
        action.step = Step::Resting { until_ns };
        if until_ns <= now_ns {
            self.close(cx);
        }
    }

    /// Opens the contact; giving the lease back writes what does it.
    pub(super) fn let_go(&mut self, cx: &mut Cx<'_>) {
        if let Some(action) = &self.memory.active {
            cx.release_lease(lease(action.leg.button));
        }
        self.open(cx);
    }

    /// The board has said that the contact is open.
    pub(super) fn opened(&mut self, cx: &mut Cx<'_>) {
        let Some(action) = &mut self.memory.active else {
            return;
        };
        for id in action.releases.drain(..) {
            let _ = cx.complete(&id, &Outcome::Succeeded(Some(Value::Boolean(false))));
        }
        let (ended, held, want) = (action.ended.is_some(), action.held, action.leg.want);
        if ended {
            self.finish(cx);
        } else if !held {
            self.fail(
                cx,
                Scope::Protocol,
                "not-confirmed: the board has not said that it pressed the button",
            );
            self.finish(cx);
        } else if let Some((want, within_ms)) = want
            && cx.slice().power_sense != want
        {
            action.step = Step::Confirming {
                by_ns: after(cx, within_ms),
            };
        } else {
            self.next_leg(cx);
        }
    }

    pub(super) fn next_leg(&mut self, cx: &mut Cx<'_>) {
        let Some(action) = &mut self.memory.active else {
            return;
        };
        if let Some(leg) = action.rest.pop_front() {
            action.leg = leg;
            self.begin_leg(cx);
            return;
        }
        let wanted = action.leg.want.map(|(want, _)| want);
        end(action, OperationStatus::Completed, None);
        let outcome = wanted.map_or(Outcome::Succeeded(None), succeeded);
        self.answer(cx, &outcome);
        self.finish(cx);
    }

    pub(super) fn step_is_over(&mut self, cx: &mut Cx<'_>, now_ns: u64) {
        let Some(action) = &self.memory.active else { return };
        match action.step {
            Step::Asking { questions, .. } => self.question_is_over(cx, questions),
            Step::Resting { .. } => self.close(cx),
            Step::Closed {
                until_ns: Some(until_ns),
                ..
            } if until_ns <= now_ns => self.let_go(cx),
            Step::Closed { .. } => {
                let reason = "not-confirmed: the board has not said that it pressed the button";
                self.fail(cx, Scope::Protocol, reason);
                self.let_go(cx);
            }
            Step::Opening { .. } => {
                let reason = "not-confirmed: the board has not said that it let go";
                self.fail(cx, Scope::Protocol, reason);
                self.finish(cx);
                if self.memory.stage == Stage::Ready {
                    self.start_over(cx, "the board has not said that it let go");
                }
            }
            Step::Confirming { .. } => {
                let (sense, within_ms) = (cx.slice().power_sense, action.leg.want.map_or(0, |(_, ms)| ms));
                let reason = format!(
                    "not-confirmed: the PC is {} {within_ms} ms after the press",
                    sense.name()
                );
                self.fail(cx, Scope::Protocol, &reason);
                self.finish(cx);
            }
        }
    }

    /// What is under way has failed, unless it is known already how it ended.
    pub(super) fn fail(&mut self, cx: &mut Cx<'_>, scope: Scope, reason: &str) {
        let Some(action) = &mut self.memory.active else {
            return;
        };
        if action.ended.is_some() {
            return;
        }
        end(action, OperationStatus::Failed, Some(reason));
        let label = action.order.verb.label();
        warn!(cx, "{label}: {reason}");
        note_error(cx, scope, reason);
        self.answer(cx, &Outcome::Failed(reason.to_owned()));
    }

    pub(super) fn answer(&mut self, cx: &mut Cx<'_>, outcome: &Outcome) {
        if let Some(action) = &mut self.memory.active
            && std::mem::replace(&mut action.open, false)
        {
            // One whose deadline has passed is over already.
            let _ = cx.complete(&action.order.id, outcome);
        }
    }

    /// Nothing is under way any more.
    pub(super) fn finish(&mut self, cx: &mut Cx<'_>) {
        let Some(action) = self.memory.active.take() else {
            return;
        };
        let (status, reason) = action.ended.clone().unwrap_or((OperationStatus::Completed, None));
        let state = edit(cx);
        if status == OperationStatus::Completed {
            state.last_error = None;
        }
        state
            .operation_history
            .push(operation(&action.order, status, reason));
        for id in &action.releases {
            let reason = "not-confirmed: the board has not said that it let go";
            let _ = cx.complete(id, &Outcome::Failed(reason.to_owned()));
        }
        if self.memory.missed && self.memory.stage == Stage::Ready {
            self.start_over(cx, "some of what the board said is lost");
        }
    }

    /// Whatever is under way or waits is over.
    pub(super) fn give_up(&mut self, cx: &mut Cx<'_>, reason: &str) {
        self.memory.missed = false;
        self.refuse_queue(cx, reason);
        self.fail(cx, Scope::Read, reason);
        self.finish(cx);
    }

    pub(super) fn active_on(&mut self, button: Button) -> Option<&mut Action> {
        let active = self.memory.active.as_mut();
        active.filter(|action| action.leg.button == button)
    }

    /// Closes the contact: first the way out, then the way in.
    fn close(&mut self, cx: &mut Cx<'_>) {
        let Some(action) = &mut self.memory.active else {
            return;
        };
        let (button, ms, is_hold) = (action.leg.button, action.leg.ms, action.is_hold());
        let taken = if is_hold {
            cx.acquire_lease_for(&action.order.id, lease(button), PORT, button.release(), ms)
        } else {
            cx.acquire_lease(lease(button), PORT, button.release(), ms + LEASE_MARGIN_MS)
        };
        if let Err(error) = taken {
            self.fail(
                cx,
                Scope::Write,
                &format!("not-sent: nobody would let go of the button: {error}"),
            );
            self.finish(cx);
            return;
        }
        if let Err(error) = cx.write(PORT, button.hold()) {
            // What lets go of it is written without need, and does nothing.
            cx.release_lease(lease(button));
            self.fail(
                cx,
                Scope::Write,
                &format!("not-sent: the line does not take it: {error}"),
            );
            self.finish(cx);
            return;
        }
        action.step = Step::Closed {
            until_ns: (!is_hold).then(|| after(cx, ms)),
            reply_by_ns: Some(after(cx, self.settings.reply_ms)),
            opened: false,
        };
        set_held(cx, button, true);
    }

    /// What opens the contact is on its way.
    fn open(&mut self, cx: &mut Cx<'_>) {
        let Some(action) = &mut self.memory.active else {
            return;
        };
        action.step = Step::Opening {
            reply_by_ns: after(cx, self.settings.reply_ms),
        };
        let button = action.leg.button;
        *self.memory.rests_ns(button) = after(cx, self.settings.dead_ms);
    }
}

/// Says how an action ended, unless that is known already.
pub(super) fn end(action: &mut Action, status: OperationStatus, reason: Option<&str>) {
    action.ended.get_or_insert_with(|| (status, reason.map(short)));
}

pub(super) fn succeeded(sense: Sense) -> Outcome {
    Outcome::Succeeded(Some(Value::Text(sense.name().to_owned())))
}

/// The number of a button's lease.
fn lease(button: Button) -> u32 {
    match button {
        Button::Power => 1,
        Button::Reset => 2,
    }
}
