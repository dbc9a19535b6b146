//! The line comes and goes, and the adapter on it is identified.

use autobench_sdk::{debug, info, warn};

use super::{Conversation, Cx, Stage, TICK};
use crate::PORT;
use crate::protocol;
use crate::state::{Phase, Power, Scope};

/// After this time without an answer the adapter is asked who it is once more. One that has just got power, or that opening resets, is deaf for about
/// as long; asked again within its time to answer, it answers twice, and the second answer is passed over.
const QUESTION_MS: u32 = 1500;
const QUESTIONS: u8 = 6;
/// How long to leave a board alone that has not answered any of them. Short, because it may be good again from one moment to the next.
const WAIT_MS: u32 = 500;

impl Conversation {
    pub(crate) fn connect(&mut self, cx: &mut Cx<'_>) {
        let path = cx.identity(PORT).ok().map(|identity| identity.path);
        cx.edit().device_path = path;
        self.memory.questions = 0;
        self.change_phase(cx, Phase::Identifying, None);
        self.identify(cx);
    }

    pub(crate) fn leave(&mut self, cx: &mut Cx<'_>, reason: &str) {
        cx.cancel_timer(TICK);
        self.memory.stage = Stage::Away;
        let message = format!("the line is away: {reason}");
        self.give_up(cx, &message);
        self.memory.doubts.forget_answers();
        self.note_error(cx, Scope::Open, &self.with_doubts(&message));
        let state = cx.edit();
        state.device_path = None;
        state.power = Power::Unknown;
        state.lights = None;
        self.change_phase(cx, Phase::Disconnected, Some(message));
        self.show(cx);
    }

    /// An answer that comes after its time is still one.
    pub(super) fn take_token(&mut self, cx: &mut Cx<'_>) {
        let (Stage::Identifying | Stage::Waiting) = self.memory.stage else {
            return;
        };
        if let Err(error) = cx.write(PORT, protocol::COMPLETE) {
            debug!(cx, "the adapter could not be told that it is identified: {error}");
            return;
        }
        cx.cancel_timer(TICK);
        self.memory.stage = Stage::Ready;
        info!(cx, "the keyboard adapter is identified");
        self.release_doubts(cx);
        self.change_phase(cx, Phase::Ready, None);
        self.pump(cx);
    }

    pub(super) fn identify(&mut self, cx: &mut Cx<'_>) {
        self.memory.questions += 1;
        self.memory.stage = Stage::Identifying;
        if let Err(error) = cx.write(PORT, protocol::IDENTIFY) {
            debug!(cx, "the adapter could not be asked who it is: {error}");
        }
        self.wait_ms(cx, QUESTION_MS);
    }

    /// It has not said in its time who it is.
    pub(super) fn miss_token(&mut self, cx: &mut Cx<'_>) {
        if self.memory.questions < QUESTIONS {
            self.identify(cx);
        } else {
            self.fail_identification(
                cx,
                "no keyboard adapter answers; check the cable, and that the port is the adapter's",
            );
        }
    }

    /// It did not answer although it was asked more than once. What was asked of it is over; it is identified as if it had just come.
    pub(super) fn start_over(&mut self, cx: &mut Cx<'_>, message: &str) {
        self.give_up(cx, message);
        self.note_error(cx, Scope::Protocol, &self.with_doubts(message));
        warn!(cx, "{message}");
        self.memory.questions = 0;
        self.change_phase(cx, Phase::Identifying, Some(message.to_owned()));
        self.identify(cx);
    }

    pub(super) fn fail_identification(&mut self, cx: &mut Cx<'_>, message: &str) {
        self.memory.stage = Stage::Waiting;
        if cx.slice().phase != Phase::Error {
            self.give_up(cx, message);
            self.note_error(cx, Scope::Identify, &self.with_doubts(message));
            warn!(cx, "{message}; asking again every few seconds");
            self.change_phase(cx, Phase::Error, Some(message.to_owned()));
        }
        self.wait_ms(cx, WAIT_MS);
    }
}
