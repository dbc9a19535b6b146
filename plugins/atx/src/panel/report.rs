//! What is seen of the panel in the slice.

use autobench_sdk::whole_ms;

use super::Panel;
use crate::Cx;
use crate::protocol::Button;
use crate::state::{Fault, Operation, OperationStatus, Phase, Scope, State};
use crate::work::Order;

/// Characters of a text from elsewhere that go into the slice, whose size is bounded.
const TEXT_LIMIT: usize = 120;

impl Panel {
    pub(super) fn show(&self, cx: &mut Cx<'_>) {
        let busy = self.memory.active.is_some();
        let queue_depth = u32::try_from(self.memory.queue.len()).unwrap_or(u32::MAX);
        let current_op = self
            .memory
            .active
            .as_ref()
            .map(|action| operation(&action.order, OperationStatus::Running, None));
        let slice = cx.slice();
        if (slice.busy, slice.queue_depth, &slice.current_op) != (busy, queue_depth, &current_op) {
            let state = edit(cx);
            (state.busy, state.queue_depth, state.current_op) = (busy, queue_depth, current_op);
            urge(cx);
        }
    }
}

pub(super) fn operation(order: &Order, status: OperationStatus, reason: Option<String>) -> Operation {
    Operation {
        id: order.id.clone(),
        kind: order.verb.name().to_owned(),
        status,
        created_at: order.created_at,
        requested_by: order.actor.clone(),
        label: order.verb.label(),
        reason,
    }
}

pub(super) fn set_held(cx: &mut Cx<'_>, button: Button, held: bool) {
    let state = edit(cx);
    match button {
        Button::Power => state.power_button_held = held,
        Button::Reset => state.reset_button_held = held,
    }
    urge(cx);
}

pub(super) fn change_phase(cx: &mut Cx<'_>, phase: Phase, message: Option<String>) {
    cx.phase(phase.name());
    let state = edit(cx);
    state.phase = phase;
    state.message = message;
    urge(cx);
}

pub(super) fn note_error(cx: &mut Cx<'_>, scope: Scope, message: &str) {
    let fault = Fault {
        at: whole_ms(cx.wall_ms()),
        scope,
        message: short(message),
    };
    let state = edit(cx);
    state.last_error = Some(fault.clone());
    state.error_history.push(fault);
}

/// The slice, to be changed, with the time of the change.
pub(super) fn edit<'a>(cx: &'a mut Cx<'_>) -> &'a mut State {
    let now_ms = whole_ms(cx.wall_ms());
    let state = cx.edit();
    state.updated_at = Some(now_ms);
    state
}

/// Somebody waits for what has changed.
pub(super) fn urge(cx: &mut Cx<'_>) {
    cx.set_now(|_| {});
}

pub(super) fn short(text: &str) -> String {
    text.chars().take(TEXT_LIMIT).collect()
}
