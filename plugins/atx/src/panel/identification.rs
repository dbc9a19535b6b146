//! The line comes and goes, and the board on it is identified: asked what it is, told that it is what it says, and believed once it says how
//! power is.

use autobench_sdk::{Identity, debug, info, warn};

use super::asking::contacts_are_open;
use super::report::{change_phase, edit, note_error, short};
use super::telemetry::sense;
use super::{Panel, Stage, TICK, after};
use crate::protocol;
use crate::state::{Phase, Scope, Sense};
use crate::work::Step;
use crate::{BAUD_RATE, Cx, PORT};

/// After this time without an answer the board is asked what it is once more. One that has just got power is deaf for as long; asked again within
/// its time to answer, it answers twice, and the second answer is passed over.
const QUESTION_MS: u32 = 1500;
const QUESTIONS: u8 = 6;
/// The board says how power is within this time, or not at all.
const COMPLETE_MS: u32 = 2000;
/// How long to leave a board alone that has not answered any of them. Short, because it may be good again from one moment to the next.
const WAIT_MS: u32 = 500;

impl Panel {
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
    }

    /// Something of what the board said will not come, and how power is may have been in it. What waits was asked for without knowing that.
    pub(crate) fn miss(&mut self, cx: &mut Cx<'_>, reason: &str) {
        note_error(cx, Scope::Read, reason);
        if self.memory.stage != Stage::Ready {
            debug!(cx, "{reason}");
            return;
        }
        // Told with the change of phase that comes of it.
        self.memory.missed = true;
        self.refuse_queue(cx, &format!("not-ready: {reason}"));
        self.fail(cx, Scope::Read, &format!("unknown-outcome: {reason}"));
        let Some(action) = &mut self.memory.active else {
            return;
        };
        action.rest.clear();
        if let Step::Asking { .. } | Step::Resting { .. } | Step::Confirming { .. } = action.step {
            self.finish(cx);
        }
    }

    pub(super) fn take_token(&mut self, cx: &mut Cx<'_>) {
        send(cx, protocol::IDENTIFIED);
        change_phase(cx, Phase::Identifying, None);
        self.enter(cx, Stage::Completing, Some(COMPLETE_MS));
    }

    pub(super) fn become_ready(&mut self, cx: &mut Cx<'_>, on: bool) {
        info!(
            cx,
            "the front panel is identified, the PC is {}",
            sense(on).name()
        );
        self.enter(cx, Stage::Ready, None);
        let state = edit(cx);
        state.identified = true;
        state.power_sense = sense(on);
        // What went wrong with a button is worth reading longer than that.
        state
            .last_error
            .take_if(|fault| matches!(fault.scope, Scope::Read | Scope::Identify));
        contacts_are_open(cx);
        change_phase(cx, Phase::Ready, None);
    }

    pub(super) fn stage_is_over(&mut self, cx: &mut Cx<'_>) {
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

    /// What the contacts are is not known, and the identification opens them.
    pub(super) fn start_over(&mut self, cx: &mut Cx<'_>, reason: &str) {
        warn!(cx, "{reason}; identifying the board again");
        self.refuse_queue(cx, &format!("not-ready: {reason}"));
        self.forget_board(cx);
        change_phase(cx, Phase::Identifying, Some(reason.to_owned()));
        self.memory.questions = 0;
        self.identify(cx);
    }

    fn identify(&mut self, cx: &mut Cx<'_>) {
        self.memory.questions += 1;
        // One that is not taken is asked again in its time.
        send(cx, protocol::IDENTIFY);
        self.enter(cx, Stage::Identifying, Some(QUESTION_MS));
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
}

pub(super) fn send(cx: &mut Cx<'_>, data: &[u8]) {
    if let Err(error) = cx.write(PORT, data) {
        // The host tells of a line that is gone, and one that takes nothing is asked again in its time.
        debug!(cx, "the board could not be asked: {error}");
    }
}

/// `usb:VENDOR:PRODUCT:SERIAL`, as far as the system knows them.
fn device_id(identity: &Identity) -> Option<String> {
    let (vendor, product) = identity.usb_vendor_id.zip(identity.usb_product_id)?;
    let serial = identity.serial_number.as_deref().unwrap_or_default();
    Some(format!("usb:{vendor:04x}:{product:04x}:{}", short(serial)))
}
