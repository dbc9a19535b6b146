//! What is asked of the buttons: whether it may wait, its turn, and its end when somebody takes it back.

use autobench_sdk::{Command, Outcome, Value, whole_ms};

use super::press::{end, succeeded};
use super::report::{note_error, short};
use super::{Panel, Stage};
use crate::Cx;
use crate::protocol::Button;
use crate::state::{OperationStatus, Scope};
use crate::work::{Action, Order, Step, Verb, plan};

impl Panel {
    /// Something is to be done with the buttons: now, or after what is under way.
    pub(crate) fn ask(&mut self, cx: &mut Cx<'_>, command: &Command, verb: Verb) {
        if let Some(reason) = self.obstacle(cx, verb) {
            let _ = cx.complete(&command.id, &Outcome::Blocked(reason));
            return;
        }
        let created_at = whole_ms(cx.wall_ms());
        self.memory.queue.push_back(Order {
            id: command.id.clone(),
            verb,
            actor: short(&command.actor),
            created_at,
        });
        self.begin_next(cx);
    }

    /// Ends a hold. A press goes on: whoever lets go of what was refused to him must not cut it short.
    pub(crate) fn release(&mut self, cx: &mut Cx<'_>, id: &str, button: Button) {
        let hold = self.active_on(button).filter(|action| action.is_hold());
        let Some(action) = hold else {
            let _ = cx.complete(id, &Outcome::Succeeded(Some(Value::Boolean(false))));
            return;
        };
        action.releases.push(id.to_owned());
        if matches!(action.step, Step::Closed { .. }) {
            if action.open {
                end(action, OperationStatus::Cancelled, Some("released"));
                self.answer(cx, &Outcome::Cancelled);
            } else {
                end(action, OperationStatus::Completed, None);
            }
            self.let_go(cx);
        }
    }

    /// A command is withdrawn, or its time is over.
    pub(crate) fn cancel(&mut self, cx: &mut Cx<'_>, id: &str, reason: &str) {
        let waiting = self.memory.queue.iter().position(|order| order.id == id);
        if waiting
            .and_then(|place| self.memory.queue.remove(place))
            .is_some()
        {
            let _ = cx.complete(id, &Outcome::Cancelled);
            return;
        }
        let Some(action) = &mut self.memory.active else {
            return;
        };
        if action.releases.iter().any(|release| release == id) {
            action.releases.retain(|release| release != id);
            let _ = cx.complete(id, &Outcome::Cancelled);
            return;
        }
        if action.order.id != id || !action.open {
            return;
        }
        end(action, OperationStatus::Cancelled, Some(reason));
        let step = action.step;
        self.answer(cx, &Outcome::Cancelled);
        match step {
            Step::Closed { .. } => self.let_go(cx),
            // The board is not left in the middle of its identification, nor a contact before it is known to be open.
            Step::Asking { .. } | Step::Opening { .. } => {}
            Step::Resting { .. } | Step::Confirming { .. } => self.finish(cx),
        }
        self.begin_next(cx);
    }

    /// Takes up what waits, until something is under way.
    pub(super) fn begin_next(&mut self, cx: &mut Cx<'_>) {
        while self.memory.stage == Stage::Ready
            && self.memory.active.is_none()
            && let Some(order) = self.memory.queue.pop_front()
        {
            self.begin(cx, order);
        }
    }

    pub(super) fn refuse_queue(&mut self, cx: &mut Cx<'_>, reason: &str) {
        for order in self.memory.queue.drain(..) {
            let _ = cx.complete(&order.id, &Outcome::Blocked(reason.to_owned()));
        }
    }

    /// Why a command is not even to wait.
    fn obstacle(&mut self, cx: &mut Cx<'_>, verb: Verb) -> Option<String> {
        if self.memory.stage != Stage::Ready || self.memory.missed {
            let phase = cx.slice().phase.name();
            return Some(format!("not-ready: the front panel is {phase}"));
        }
        let waiting = self.memory.queue.len();
        if let Verb::Hold(button, _) = verb {
            // Whoever holds a button is there now, and may be gone when it is its turn.
            let rests = *self.memory.rests_ns(button) > cx.monotonic_ns();
            let busy = self.memory.active.is_some() || waiting > 0 || rests;
            return busy.then(|| "busy: something else is under way, and a hold does not wait".to_owned());
        }
        let depth = usize::try_from(self.settings.queue_depth).unwrap_or(usize::MAX);
        if self.memory.active.is_some() && waiting >= depth {
            let reason = format!("busy: {waiting} commands wait already");
            note_error(cx, Scope::Queue, &reason);
            return Some(reason);
        }
        None
    }

    fn begin(&mut self, cx: &mut Cx<'_>, order: Order) {
        let sense = cx.slice().power_sense;
        let is_doubtful = order.verb.is_doubtful(sense);
        // What there is to press if the board says otherwise.
        let presumed = if is_doubtful { sense.opposite() } else { sense };
        let mut legs = match plan(order.verb, presumed, &self.settings) {
            Ok(legs) => legs,
            Err(reason) => {
                let _ = cx.complete(&order.id, &Outcome::Blocked(reason.to_owned()));
                return;
            }
        };
        let Some(leg) = legs.pop_front() else {
            // It is as it should be.
            let _ = cx.complete(&order.id, &succeeded(sense));
            return;
        };
        self.memory.active = Some(Action {
            order,
            open: true,
            acknowledged: false,
            leg,
            rest: legs,
            step: Step::Resting { until_ns: 0 },
            held: false,
            ended: None,
            releases: Vec::new(),
        });
        if is_doubtful {
            self.question(cx);
        } else {
            self.begin_leg(cx);
        }
    }
}
