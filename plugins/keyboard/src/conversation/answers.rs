//! What the adapter answers to a step, and what is done about an answer that does not come.
//!
//! A line that is not answered is sent again only where the PC takes it for nothing new when it comes twice: releases, modifiers, the pin. A key
//! that was pressed is never pressed again, because nobody knows whether the line or its answer was lost: the command fails, and says how far it
//! came. It is sent again where the adapter itself says that it has not understood, because then it has done nothing.

use std::collections::VecDeque;

use autobench_sdk::debug;
use serde::{Deserialize, Serialize};

use super::report::so_far;
use super::steps::lease_of;
use super::{Conversation, Cx, Stage};
use crate::PORT;
use crate::keys::Verb;
use crate::state::Scope;
use crate::work::{Ending, Step, Unit};

/// What an answer has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Expected {
    Done(Verb, u8),
    Power,
}

/// A step that waits for its answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Flight {
    pub(super) step: Step,
    answers: VecDeque<Expected>,
    tries: u8,
}

impl Conversation {
    pub(super) fn await_answers(&mut self, cx: &mut Cx<'_>, step: Step, tries: u8) {
        let pieces = step.pieces().into_iter();
        let mut answers: VecDeque<_> = pieces
            .map(|piece| Expected::Done(piece.verb, piece.code))
            .collect();
        if let Step::Power(_) = step {
            answers.push_back(Expected::Power);
        }
        self.memory.flight = Some(Flight { step, answers, tries });
        self.wait_ms(cx, self.plan.settings.reply_timeout_ms);
    }

    pub(super) fn take_answer(&mut self, cx: &mut Cx<'_>, answer: Expected) {
        let Some(flight) = &mut self.memory.flight else {
            return;
        };
        // Answers to what the host has written by itself, and such as come late, are nobody's.
        if flight.answers.front() != Some(&answer) {
            return;
        }
        flight.answers.pop_front();
        if !flight.answers.is_empty() {
            return;
        }
        let step = flight.step;
        self.memory.flight = None;
        self.memory.doubts.settle(step);
        self.acknowledge(cx);
        let pacing_ms = self.plan.settings.pacing_ms;
        if pacing_ms > 0 {
            self.memory.pausing = true;
            self.wait_ms(cx, pacing_ms);
        } else {
            self.pump(cx);
        }
    }

    /// The adapter has not understood, or has forgotten that it is identified. Either way it has done nothing.
    pub(super) fn take_refusal(&mut self, cx: &mut Cx<'_>, command: &str) {
        if self.memory.stage != Stage::Ready {
            return;
        }
        let Some(flight) = self.memory.flight.take() else {
            self.take_refusal_of_release(cx, command);
            return;
        };
        let bytes = flight.step.bytes();
        let is_whole = bytes
            .split(|byte| *byte == b'\n')
            .any(|line| line == command.as_bytes());
        if is_whole {
            if flight.tries == 1 {
                self.memory.doubts.take_back(flight.step);
            }
            self.take_back(cx, flight.step);
            self.start_after_reset(cx);
        } else if self.is_release(command) {
            // The host's own line. What became of this step, its own answer says, or that there is none.
            self.memory.flight = Some(flight);
        } else if flight.tries <= self.plan.settings.retries {
            self.send_again(cx, flight);
        } else {
            self.memory.flight = Some(flight);
        }
    }

    pub(super) fn miss_answer(&mut self, cx: &mut Cx<'_>) {
        let Some(flight) = self.memory.flight.take() else {
            return;
        };
        if flight.step.may_repeat() && flight.tries <= self.plan.settings.retries {
            self.send_again(cx, flight);
        } else if flight.step.may_repeat() {
            self.start_over(cx, "the adapter does not answer any more; identifying it again");
        } else {
            self.lose(cx, flight.step);
        }
    }

    /// The first answer says that the adapter has taken the command.
    fn acknowledge(&mut self, cx: &mut Cx<'_>) {
        let Some(job) = self.memory.running.as_mut().filter(|job| !job.acknowledged) else {
            return;
        };
        job.acknowledged = true;
        if let Some(command) = &job.command {
            // One whose deadline has passed is over already.
            let _ = cx.acknowledge(command);
        }
    }

    /// Nothing came of a step; it is the next one again, unless the job is to end. Its lease is taken once more then.
    fn take_back(&mut self, cx: &mut Cx<'_>, step: Step) {
        let Some(job) = &mut self.memory.running else {
            return;
        };
        if let Step::Down(key) | Step::Keep(key, _) = step {
            job.down.retain(|down| *down != key);
            job.kept.retain(|kept| *kept != key);
        }
        if let Step::Keep(key, _) = step {
            self.memory.held.retain(|held| *held != key);
        }
        let is_only_here = matches!(step, Step::Up(key) if !self.memory.doubts.contains(key));
        if job.ending.is_none() || is_only_here {
            job.put_back(step);
        } else if let Step::Down(key) | Step::Keep(key, _) = step {
            cx.release_lease(lease_of(key));
        }
    }

    fn send_again(&mut self, cx: &mut Cx<'_>, flight: Flight) {
        if !self.is_still_held(flight.step) {
            // Its lease is over, so that nobody would let the key go that goes down now.
            self.lose(cx, flight.step);
            return;
        }
        if let Err(error) = cx.write(PORT, &flight.step.bytes()) {
            debug!(cx, "a line could not be sent again: {error}");
        }
        self.memory.doubts.ask(self.memory.running.as_ref(), flight.step);
        self.await_answers(cx, flight.step, flight.tries + 1);
    }

    /// Whether the host has what undoes this step, where there is something to undo.
    fn is_still_held(&self, step: Step) -> bool {
        match step {
            Step::Down(key) => {
                let running = self.memory.running.as_ref();
                running.is_some_and(|job| job.down.contains(&key))
            }
            Step::Keep(key, _) => self.memory.held.contains(&key),
            _ => true,
        }
    }

    /// Nobody knows whether a key went down. It is let go, and the command ends.
    fn lose(&mut self, cx: &mut Cx<'_>, step: Step) {
        let Some(job) = &mut self.memory.running else {
            return;
        };
        let what = match job.unit {
            Unit::Characters => "the next one may have been typed",
            Unit::Strokes | Unit::One => "the key may have gone down",
        };
        let text = format!("the adapter did not answer{}; {what}", so_far(job));
        let last = match step {
            Step::Press(key) | Step::Keep(key, _) => Some(Step::Up(key)),
            _ => None,
        };
        job.end(Ending::Failed(text.clone()), last);
        self.note_error(cx, Scope::Protocol, &text);
        self.pump(cx);
    }
}
