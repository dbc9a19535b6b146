//! The question that a command asks which finds nothing to press. What the board said last may be over: one that was reset says nothing by itself,
//! and a press that does not come shows nobody that it obeys nothing either.
//!
//! The question is the identification, because a board tells how power is at its end and at no other time. It opens both contacts, and no command
//! begins before the one before has let go, so that it opens none that somebody wants closed. Once begun it is led to its end, whatever becomes of
//! the command, because a board in its middle obeys nothing. It is no change of phase: what the board is, is known.

use autobench_sdk::Outcome;

use super::identification::send;
use super::press::{end, succeeded};
use super::report::{edit, urge};
use super::{Panel, Stage, after};
use crate::Cx;
use crate::protocol;
use crate::state::{OperationStatus, Scope};
use crate::work::{Step, plan};

/// The first may be spoilt by half a line that stands in the board, or come while its bootloader is deaf; one more for what gets lost.
const QUESTIONS: u8 = 3;
/// How long the board has at the least, even if `reply-ms` is less: longer than its bootloader is deaf.
const ANSWER_MS: u32 = 2000;

impl Panel {
    /// Asks the board what it is.
    pub(super) fn question(&mut self, cx: &mut Cx<'_>) {
        let by_ns = self.answer_by_ns(cx);
        let Some(action) = &mut self.memory.active else {
            return;
        };
        let asked = match action.step {
            Step::Asking { questions, .. } => questions,
            _ => 0,
        };
        action.step = Step::Asking {
            questions: asked + 1,
            has_answered: false,
            by_ns,
        };
        send(cx, protocol::IDENTIFY);
    }

    /// The board has said what it is. It does so twice if it was asked twice.
    pub(super) fn take_answer(&mut self, cx: &mut Cx<'_>) {
        let until_ns = self.answer_by_ns(cx);
        let Some(action) = &mut self.memory.active else {
            return;
        };
        if let Step::Asking {
            has_answered, by_ns, ..
        } = &mut action.step
            && !std::mem::replace(has_answered, true)
        {
            *by_ns = until_ns;
            send(cx, protocol::IDENTIFIED);
        }
    }

    /// Whether how power is, is what the board was asked for.
    pub(super) fn is_asked_for_power(&self) -> bool {
        self.memory.active.as_ref().is_some_and(|action| {
            matches!(
                action.step,
                Step::Asking {
                    has_answered: true,
                    ..
                }
            )
        })
    }

    /// The board has said how power is: what there is to do is known.
    pub(super) fn decide(&mut self, cx: &mut Cx<'_>) {
        let sense = cx.slice().power_sense;
        let Some(action) = &mut self.memory.active else {
            return;
        };
        if action.ended.is_some() {
            self.finish(cx);
            return;
        }
        match plan(action.order.verb, sense, &self.settings) {
            Ok(mut legs) => {
                if let Some(leg) = legs.pop_front() {
                    (action.leg, action.rest) = (leg, legs);
                    self.begin_leg(cx);
                } else {
                    end(action, OperationStatus::Completed, None);
                    self.answer(cx, &succeeded(sense));
                    self.finish(cx);
                }
            }
            // It was taken, and the board was asked for it: it is not refused any more.
            Err(reason) => {
                end(action, OperationStatus::Failed, Some(reason));
                self.answer(cx, &Outcome::Failed(reason.to_owned()));
                self.finish(cx);
            }
        }
    }

    /// The board has not answered in its time.
    pub(super) fn question_is_over(&mut self, cx: &mut Cx<'_>, questions: u8) {
        if questions < QUESTIONS {
            self.question(cx);
            return;
        }
        let reason = "the board does not say how power is";
        self.fail(cx, Scope::Protocol, &format!("not-confirmed: {reason}"));
        self.finish(cx);
        if self.memory.stage == Stage::Ready {
            self.start_over(cx, reason);
        }
    }

    fn answer_by_ns(&self, cx: &mut Cx<'_>) -> u64 {
        after(cx, self.settings.reply_ms.max(ANSWER_MS))
    }
}

/// The board has completed its identification, which opens both contacts.
pub(super) fn contacts_are_open(cx: &mut Cx<'_>) {
    let slice = cx.slice();
    if slice.power_button_held || slice.reset_button_held {
        let state = edit(cx);
        state.power_button_held = false;
        state.reset_button_held = false;
        urge(cx);
    }
}
