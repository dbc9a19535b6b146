//! The keyboard's port of the PC: what it asks of the keyboard, and which bytes are answers and which are keys.

use std::collections::VecDeque;
use std::time::Duration;

/// How long an answer may take. A keyboard that tests itself needs 600 ms; one that is busy with something else, a little more.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// The keyboard has done what it was asked.
const ACKNOWLEDGED: u8 = 0xFA;
/// The keyboard has tested itself and is well.
const SELF_TEST_PASSED: u8 = 0xAA;
/// What a keyboard is called.
const IDENTITY: [u8; 2] = [0xAB, 0x83];

/// A step of the talk with the keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Send(u8),
    Expect(u8),
}

/// The port.
#[derive(Debug, Default)]
pub(super) struct Port {
    steps: VecDeque<Step>,
    /// When the step that waits for an answer gives up.
    deadline: Option<Duration>,
    answered: bool,
}

impl Port {
    /// What a PC does with its keyboard when it starts: it tests it, asks what it is, and sets it up. Whatever was under way is forgotten.
    pub(super) fn set_up(&mut self, lights: u8) {
        *self = Self::default();
        self.send(&[0xFF], &[ACKNOWLEDGED, SELF_TEST_PASSED]);
        self.send(&[0xF2], &[ACKNOWLEDGED, IDENTITY[0], IDENTITY[1]]);
        self.set_lights(lights);
        // 30 characters a second after half a second.
        self.send(&[0xF3], &[ACKNOWLEDGED]);
        self.send(&[0x20], &[ACKNOWLEDGED]);
        self.send(&[0xF4], &[ACKNOWLEDGED]);
    }

    pub(super) fn set_lights(&mut self, lights: u8) {
        self.send(&[0xED], &[ACKNOWLEDGED]);
        self.send(&[lights], &[ACKNOWLEDGED]);
    }

    /// Forgets what was under way.
    pub(super) fn power_off(&mut self) {
        *self = Self::default();
    }

    /// Whether a keyboard has passed its test since the start.
    pub(super) fn is_answered(&self) -> bool {
        self.answered
    }

    /// A byte from the keyboard; it is handed back if it is none that was asked for.
    pub(super) fn receive(&mut self, byte: u8) -> Option<u8> {
        if self.deadline.is_some() && self.steps.front() == Some(&Step::Expect(byte)) {
            self.answered |= byte == SELF_TEST_PASSED;
            self.steps.pop_front();
            self.deadline = None;
            return None;
        }
        Some(byte)
    }

    /// The next byte for the keyboard.
    pub(super) fn advance(&mut self, now: Duration) -> Option<u8> {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            // Without an answer there is no point in asking on.
            self.steps.clear();
            self.deadline = None;
        }
        match self.steps.front()? {
            Step::Send(byte) => {
                let byte = *byte;
                self.steps.pop_front();
                Some(byte)
            }
            Step::Expect(_) => {
                self.deadline.get_or_insert(now + ANSWER_LIMIT);
                None
            }
        }
    }

    /// When it gives up on an answer.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.deadline
    }

    fn send(&mut self, bytes: &[u8], answers: &[u8]) {
        self.steps.extend(bytes.iter().map(|byte| Step::Send(*byte)));
        self.steps
            .extend(answers.iter().map(|answer| Step::Expect(*answer)));
    }
}
