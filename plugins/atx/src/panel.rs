//! The conversation with the board: what it is, what its contacts do, and who is told of it.
//!
//! It owns what goes into a snapshot. Whatever has a time has it in there as a number; the one timer only says that it is time to look.

use std::collections::VecDeque;

use autobench_sdk::{Command, Identity, Outcome, Value, info, warn};
use serde::{Deserialize, Serialize};

use crate::protocol::{self, Button, Message};
use crate::settings::Settings;
use crate::state::{Fault, Operation, OperationStatus, Phase, Scope, Sense, State};
use crate::work::{Action, Order, Step, Verb, plan};
use crate::{BAUD_RATE, Cx, PORT};

/// The one timer. It may come early or late: what is due is decided by the times in the memory.
pub(crate) const TICK: u32 = 1;

/// The board answers within this time, or not at all. One that has just got power is deaf for half of it.
const IDENTIFY_MS: u32 = 3000;
const QUESTIONS: u8 = 3;
/// How long to leave a board alone that does not answer.
const WAIT_MS: u32 = 5000;
/// How much later than a press the host lets go of it: only when the driver did not.
const LEASE_MARGIN_MS: u32 = 1000;
/// Characters of a text from elsewhere that go into the slice, whose size is bounded.
const TEXT_LIMIT: usize = 120;

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

    // --- the line ---

    /// Takes up what the memory says. A board that is being talked to is not spoken to.
    pub(crate) fn go_on(&mut self, cx: &mut Cx<'_>, attached: bool) {
        match (self.memory.stage, attached) {
            (Stage::Away, true) => {
                let identity = cx.identity(PORT).ok();
                self.connect(cx, identity.as_ref());
            }
            (Stage::Away, false) => cx.phase(Phase::Disconnected.name()),
            (_, false) => self.leave(cx, "it was away when the driver started"),
            (_, true) => {
                let phase = cx.slice().phase;
                cx.phase(phase.name());
                let is_past = self
                    .memory
                    .armed_ns
                    .is_some_and(|at_ns| at_ns < cx.monotonic_ns());
                if is_past || !cx.timer_runs(TICK) {
                    self.memory.armed_ns = None;
                }
            }
        }
        self.settle(cx);
    }

    /// A device is there. Whatever was under way was so on another line.
    pub(crate) fn connect(&mut self, cx: &mut Cx<'_>, identity: Option<&Identity>) {
        self.give_up(cx, "line-lost: the device was attached anew");
        self.forget_board(cx);
        let state = edit(cx);
        state.power_button_held = false;
        state.reset_button_held = false;
        state.device_id = identity.and_then(device_id);
        state.device_path = identity.map(|identity| identity.path.clone());
        state.baud_rate = Some(BAUD_RATE);
        self.memory.questions = 0;
        if self.settings.wake_up_ms == 0 {
            change_phase(cx, Phase::Identifying, None);
            self.identify(cx);
        } else {
            change_phase(cx, Phase::Connecting, None);
            self.enter(cx, Stage::Waking, Some(self.settings.wake_up_ms));
        }
    }

    /// The line is away. The host has what lets go of a button, and writes it when the line is back.
    pub(crate) fn leave(&mut self, cx: &mut Cx<'_>, reason: &str) {
        self.enter(cx, Stage::Away, None);
        self.give_up(cx, &format!("line-lost: {reason}"));
        self.forget_board(cx);
        let state = edit(cx);
        state.power_button_held = false;
        state.reset_button_held = false;
        (state.device_id, state.device_path, state.baud_rate) = (None, None, None);
        note_error(cx, Scope::Read, &format!("the line is away: {reason}"));
        change_phase(
            cx,
            Phase::Disconnected,
            Some(format!("the line is away: {reason}")),
        );
        warn!(cx, "the line is away: {reason}");
    }

    /// Something of what the board said will not come, and how power is may have been in it. What waits was asked for without knowing that.
    pub(crate) fn miss(&mut self, cx: &mut Cx<'_>, reason: &str) {
        warn!(cx, "{reason}");
        note_error(cx, Scope::Read, reason);
        if self.memory.stage != Stage::Ready {
            return;
        }
        self.memory.missed = true;
        self.refuse_queue(cx, &format!("not-ready: {reason}"));
        self.fail(cx, Scope::Read, &format!("unknown-outcome: {reason}"));
        let Some(action) = &mut self.memory.active else {
            return;
        };
        action.rest.clear();
        if let Step::Resting { .. } | Step::Confirming { .. } = action.step {
            self.finish(cx);
        }
    }

    fn identify(&mut self, cx: &mut Cx<'_>) {
        self.memory.questions += 1;
        // One that is not taken is asked again in its time.
        send(cx, protocol::IDENTIFY);
        self.enter(cx, Stage::Identifying, Some(IDENTIFY_MS));
    }

    /// What the contacts are is not known, and the identification opens them.
    fn start_over(&mut self, cx: &mut Cx<'_>, reason: &str) {
        warn!(cx, "{reason}; identifying the board again");
        self.refuse_queue(cx, &format!("not-ready: {reason}"));
        self.forget_board(cx);
        change_phase(cx, Phase::Identifying, Some(reason.to_owned()));
        self.memory.questions = 0;
        self.identify(cx);
    }

    /// Nobody knows any more how the PC is.
    fn forget_board(&mut self, cx: &mut Cx<'_>) {
        self.memory.missed = false;
        let state = edit(cx);
        state.identified = false;
        state.power_sense = Sense::Unknown;
        state.hdd_active = None;
    }

    fn enter(&mut self, cx: &mut Cx<'_>, stage: Stage, after_ms: Option<u32>) {
        self.memory.stage = stage;
        self.memory.deadline_ns = after_ms.map(|after_ms| after(cx, after_ms));
    }

    // --- what the board says ---

    /// Deals with a line.
    pub(crate) fn take(&mut self, cx: &mut Cx<'_>, message: Message) {
        let stats = &mut edit(cx).stats;
        stats.lines += 1;
        stats.unknown_lines += u64::from(message == Message::Unknown);
        stats.auto_releases += u64::from(matches!(message, Message::AutoReleased(_)));
        match (self.memory.stage, message) {
            // An answer that comes after its time is still one.
            (Stage::Identifying | Stage::Waiting, Message::Token) => {
                send(cx, protocol::IDENTIFIED);
                change_phase(cx, Phase::Identifying, None);
                self.enter(cx, Stage::Completing, Some(IDENTIFY_MS));
            }
            (Stage::Completing, Message::Power(on)) => self.become_ready(cx, on),
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

    fn become_ready(&mut self, cx: &mut Cx<'_>, on: bool) {
        info!(
            cx,
            "the front panel is identified, the PC is {}",
            sense(on).name()
        );
        self.enter(cx, Stage::Ready, None);
        let state = edit(cx);
        state.identified = true;
        state.power_sense = sense(on);
        // Its identification has opened them.
        state.power_button_held = false;
        state.reset_button_held = false;
        // What went wrong with a button is worth reading longer than that.
        state
            .last_error
            .take_if(|fault| matches!(fault.scope, Scope::Read | Scope::Identify));
        change_phase(cx, Phase::Ready, None);
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
            Step::Resting { .. } | Step::Confirming { .. } => {}
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

    // --- commands ---

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
            Step::Opening { .. } => {}
            Step::Resting { .. } | Step::Confirming { .. } => self.finish(cx),
        }
        self.begin_next(cx);
    }

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

    // --- what is under way ---

    /// Takes up what waits, until something is under way.
    fn begin_next(&mut self, cx: &mut Cx<'_>) {
        while self.memory.stage == Stage::Ready
            && self.memory.active.is_none()
            && let Some(order) = self.memory.queue.pop_front()
        {
            self.begin(cx, order);
        }
    }

    fn begin(&mut self, cx: &mut Cx<'_>, order: Order) {
        let sense = cx.slice().power_sense;
        let mut legs = match plan(order.verb, sense, &self.settings) {
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
        self.begin_leg(cx);
    }

    fn begin_leg(&mut self, cx: &mut Cx<'_>) {
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

    /// Closes the contact: first the way out, then the way in.
    fn close(&mut self, cx: &mut Cx<'_>) {
        let Some(action) = &mut self.memory.active else {
            return;
        };
        let (button, ms, is_hold) = (action.leg.button, action.leg.ms, action.is_hold());
        let maximum_ms = if is_hold { ms } else { ms + LEASE_MARGIN_MS };
        let taken = cx.acquire_lease(lease(button), PORT, button.release(), maximum_ms);
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

    /// Opens the contact; giving the lease back writes what does it.
    fn let_go(&mut self, cx: &mut Cx<'_>) {
        if let Some(action) = &self.memory.active {
            cx.release_lease(lease(action.leg.button));
        }
        self.open(cx);
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

    /// The board has said that the contact is open.
    fn opened(&mut self, cx: &mut Cx<'_>) {
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

    fn next_leg(&mut self, cx: &mut Cx<'_>) {
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

    /// What is under way has failed, unless it is known already how it ended.
    fn fail(&mut self, cx: &mut Cx<'_>, scope: Scope, reason: &str) {
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

    fn answer(&mut self, cx: &mut Cx<'_>, outcome: &Outcome) {
        if let Some(action) = &mut self.memory.active
            && std::mem::replace(&mut action.open, false)
        {
            // One whose deadline has passed is over already.
            let _ = cx.complete(&action.order.id, outcome);
        }
    }

    /// Nothing is under way any more.
    fn finish(&mut self, cx: &mut Cx<'_>) {
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
    fn give_up(&mut self, cx: &mut Cx<'_>, reason: &str) {
        self.memory.missed = false;
        self.refuse_queue(cx, reason);
        self.fail(cx, Scope::Read, reason);
        self.finish(cx);
    }

    fn refuse_queue(&mut self, cx: &mut Cx<'_>, reason: &str) {
        for order in self.memory.queue.drain(..) {
            let _ = cx.complete(&order.id, &Outcome::Blocked(reason.to_owned()));
        }
    }

    fn active_on(&mut self, button: Button) -> Option<&mut Action> {
        let active = self.memory.active.as_mut();
        active.filter(|action| action.leg.button == button)
    }

    // --- time ---

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

    fn stage_is_over(&mut self, cx: &mut Cx<'_>) {
        match self.memory.stage {
            Stage::Away | Stage::Ready => self.memory.deadline_ns = None,
            Stage::Waking => {
                change_phase(cx, Phase::Identifying, None);
                self.identify(cx);
            }
            Stage::Identifying | Stage::Completing if self.memory.questions < QUESTIONS => self.identify(cx),
            Stage::Identifying | Stage::Completing => {
                if cx.slice().phase != Phase::Error {
                    let message = "the board does not answer; asking again every few seconds";
                    warn!(cx, "{message}");
                    note_error(cx, Scope::Identify, message);
                    change_phase(cx, Phase::Error, Some(message.to_owned()));
                }
                self.enter(cx, Stage::Waiting, Some(WAIT_MS));
            }
            Stage::Waiting => {
                self.memory.questions = 0;
                self.identify(cx);
            }
        }
    }

    fn step_is_over(&mut self, cx: &mut Cx<'_>, now_ns: u64) {
        let Some(action) = &self.memory.active else { return };
        match action.step {
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
        let remaining_ns = due_ns.saturating_sub(cx.monotonic_ns());
        let after_ms = u32::try_from(remaining_ns.div_ceil(1_000_000)).unwrap_or(u32::MAX);
        if let Err(error) = cx.set_timer(TICK, after_ms) {
            warn!(cx, "no timer, so the host has to let go of the buttons: {error}");
        }
    }

    fn show(&self, cx: &mut Cx<'_>) {
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

/// Says how an action ended, unless that is known already.
fn end(action: &mut Action, status: OperationStatus, reason: Option<&str>) {
    action.ended.get_or_insert_with(|| (status, reason.map(short)));
}

fn operation(order: &Order, status: OperationStatus, reason: Option<String>) -> Operation {
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

fn succeeded(sense: Sense) -> Outcome {
    Outcome::Succeeded(Some(Value::Text(sense.name().to_owned())))
}

fn set_held(cx: &mut Cx<'_>, button: Button, held: bool) {
    let state = edit(cx);
    match button {
        Button::Power => state.power_button_held = held,
        Button::Reset => state.reset_button_held = held,
    }
    urge(cx);
}

fn change_phase(cx: &mut Cx<'_>, phase: Phase, message: Option<String>) {
    cx.phase(phase.name());
    let state = edit(cx);
    state.phase = phase;
    state.message = message;
    urge(cx);
}

fn note_error(cx: &mut Cx<'_>, scope: Scope, message: &str) {
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
fn edit<'a>(cx: &'a mut Cx<'_>) -> &'a mut State {
    let now_ms = whole_ms(cx.wall_ms());
    let state = cx.edit();
    state.updated_at = Some(now_ms);
    state
}

/// Somebody waits for what has changed.
fn urge(cx: &mut Cx<'_>) {
    cx.set_now(|_| {});
}

fn send(cx: &mut Cx<'_>, data: &[u8]) {
    if let Err(error) = cx.write(PORT, data) {
        warn!(cx, "the board could not be asked: {error}");
    }
}

/// `usb:VENDOR:PRODUCT:SERIAL`, as far as the system knows them.
fn device_id(identity: &Identity) -> Option<String> {
    let (vendor, product) = identity.usb_vendor_id.zip(identity.usb_product_id)?;
    let serial = identity.serial_number.as_deref().unwrap_or_default();
    Some(format!("usb:{vendor:04x}:{product:04x}:{}", short(serial)))
}

/// The number of a button's lease.
fn lease(button: Button) -> u32 {
    match button {
        Button::Power => 1,
        Button::Reset => 2,
    }
}

fn after(cx: &mut Cx<'_>, after_ms: u32) -> u64 {
    cx.monotonic_ns() + u64::from(after_ms) * 1_000_000
}

fn sense(on: bool) -> Sense {
    if on { Sense::On } else { Sense::Off }
}

fn short(text: &str) -> String {
    text.chars().take(TEXT_LIMIT).collect()
}

/// Times in a slice are whole milliseconds.
fn whole_ms(milliseconds: f64) -> u64 {
    milliseconds as u64
}
