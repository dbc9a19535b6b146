//! What the board says: how power and the disk are, and what its contacts have done.

use autobench_sdk::{Outcome, Value, info};

use super::asking::contacts_are_open;
use super::press::end;
use super::report::{edit, set_held, urge};
use super::{Panel, Stage};
use crate::Cx;
use crate::protocol::{Button, Message};
use crate::state::{OperationStatus, Scope, Sense};
use crate::work::Step;

impl Panel {
    /// Deals with a line.
    pub(crate) fn take(&mut self, cx: &mut Cx<'_>, message: Message) {
        let stats = &mut edit(cx).stats;
        stats.lines += 1;
        stats.unknown_lines += u64::from(message == Message::Unknown);
        stats.auto_releases += u64::from(matches!(message, Message::AutoReleased(_)));
        match (self.memory.stage, message) {
            // An answer that comes after its time is still one.
            (Stage::Identifying | Stage::Waiting, Message::Token) => self.take_token(cx),
            (Stage::Completing, Message::Power(on)) => self.become_ready(cx, on),
            (Stage::Completing, Message::Identified) => contacts_are_open(cx),
            (Stage::Ready, Message::Token) => self.take_answer(cx),
            (Stage::Ready, Message::Power(on)) => self.take_power(cx, on),
            (Stage::Completing | Stage::Ready, Message::Disk(active)) => {
                edit(cx).hdd_active = Some(active);
                urge(cx);
            }
            (Stage::Ready, Message::Held(button)) => self.take_held(cx, button),
            (Stage::Ready, Message::Released(button)) => self.take_released(cx, button),
            (Stage::Ready, Message::AutoReleased(button)) => self.take_auto_released(cx, button),
            // What was on the line before the board was asked says nothing about how it is now.
            _ => {}
        }
        self.begin_next(cx);
    }

    fn take_power(&mut self, cx: &mut Cx<'_>, on: bool) {
        let sense = sense(on);
        if cx.slice().power_sense != sense {
            info!(cx, "the PC is {}", sense.name());
            edit(cx).power_sense = sense;
            urge(cx);
        }
        let confirms = self.memory.active.as_ref().is_some_and(|action| {
            matches!(action.step, Step::Confirming { .. })
                && action.leg.want.is_some_and(|(want, _)| want == sense)
        });
        if confirms {
            self.next_leg(cx);
        } else if self.is_asked_for_power() {
            self.decide(cx);
        }
    }

    fn take_held(&mut self, cx: &mut Cx<'_>, button: Button) {
        let Some(action) = self.active_on(button) else {
            return;
        };
        action.held = true;
        let mut closed = false;
        if let Step::Closed {
            reply_by_ns, opened, ..
        } = &mut action.step
        {
            *reply_by_ns = None;
            closed = !*opened;
        }
        let (id, is_hold) = (action.order.id.clone(), action.is_hold());
        let acknowledges = action.open && !std::mem::replace(&mut action.acknowledged, true);
        if closed {
            set_held(cx, button, true);
        }
        if acknowledges {
            let _ = cx.acknowledge(&id);
        }
        // A hold is done once it stands; how long it goes on is up to others.
        if is_hold && closed {
            self.answer(cx, &Outcome::Succeeded(Some(Value::Boolean(true))));
        }
    }

    fn take_released(&mut self, cx: &mut Cx<'_>, button: Button) {
        set_held(cx, button, false);
        let Some(action) = self.active_on(button) else {
            return;
        };
        match &mut action.step {
            Step::Opening { .. } => self.opened(cx),
            // The host let go of it, and is about to say so.
            Step::Closed { opened, .. } => *opened = true,
            Step::Asking { .. } | Step::Resting { .. } | Step::Confirming { .. } => {}
        }
    }

    fn take_auto_released(&mut self, cx: &mut Cx<'_>, button: Button) {
        set_held(cx, button, false);
        let Some(action) = self.active_on(button) else {
            return;
        };
        if !matches!(action.step, Step::Closed { .. }) {
            return;
        }
        let reason = "the board let go by itself";
        if action.is_hold() && !action.open {
            end(action, OperationStatus::Completed, Some(reason));
        } else {
            self.fail(cx, Scope::Protocol, &format!("cut-short: {reason}"));
        }
        self.let_go(cx);
    }
}

pub(super) fn sense(on: bool) -> Sense {
    if on { Sense::On } else { Sense::Off }
}
