//! Keys that may be down at the PC: from when their make is written until the adapter has said that it has sent their break, or the PC was off.
//!
//! What the host writes when a hold is over may reach a board that has been reset, that still starts, or that is not identified, and is passed
//! over then. So the end of a lease is not believed before it is answered, and after each identification all of these keys go up before anything
//! else.

use std::collections::BTreeMap;

use autobench_sdk::warn;
use serde::{Deserialize, Serialize};

use super::steps::lease_of;
use super::{Conversation, Cx};
use crate::keys::{Key, Verb};
use crate::protocol;
use crate::settings;
use crate::state::{Phase, Scope};
use crate::work::{Job, Step};

/// As many answers as the break of a key has at most.
const MOST_ANSWERS: usize = 4;

/// Keys that may be down, and what the adapter has said of late. Bounded by the number of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Doubts {
    keys: BTreeMap<Key, Doubt>,
    /// Its newest answers to makes and breaks.
    heard: Vec<(Verb, u8)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Doubt {
    how: How,
    /// Whether its name may be seen: it is no part of a text.
    is_named: bool,
}

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum How {
    /// Its make was written once, and not answered.
    Asked,
    /// Its make was written although it may have been down already.
    AskedAgain,
    /// It went down.
    Down,
    /// The host has let it go, and that was not answered yet.
    LetGo,
}

impl Doubts {
    /// A make of this step is written.
    pub(super) fn ask(&mut self, job: Option<&Job>, step: Step) {
        let (Step::Down(key) | Step::Keep(key, _) | Step::Press(key)) = step else {
            return;
        };
        // What a secret text strikes is not sent again later, where it would be seen. The adapter lets it go by itself, and the job does.
        let is_struck = matches!(step, Step::Press(_));
        if is_struck && job.is_some_and(|job| job.is_secret) {
            return;
        }
        let is_named = job.is_some_and(Job::names_its_keys);
        let how = match self.keys.contains_key(&key) {
            true => How::AskedAgain,
            false => How::Asked,
        };
        self.keys.insert(key, Doubt { how, is_named });
    }

    /// All of a step was answered.
    pub(super) fn settle(&mut self, step: Step) {
        match step {
            // The adapter says so after the break.
            Step::Press(key) => drop(self.keys.remove(&key)),
            Step::Down(key) | Step::Keep(key, _) => {
                let asked = self.keys.get_mut(&key).filter(|doubt| doubt.how != How::LetGo);
                if let Some(doubt) = asked {
                    doubt.how = How::Down;
                }
            }
            Step::Up(key) => {
                if let Some(doubt) = self.keys.get_mut(&key) {
                    doubt.how = How::Down;
                }
            }
            Step::Say(_) | Step::Power(_) | Step::Wait(_) | Step::Mark(_) => {}
        }
    }

    /// The adapter has refused a step that was written once: it has done nothing.
    pub(super) fn take_back(&mut self, step: Step) {
        if let Step::Down(key) | Step::Keep(key, _) | Step::Press(key) = step
            && self.keys.get(&key).is_some_and(|doubt| doubt.how == How::Asked)
        {
            self.keys.remove(&key);
        }
    }

    /// The host has let a key go, and may not have been heard.
    pub(super) fn let_go(&mut self, key: Key) {
        if let Some(doubt) = self.keys.get_mut(&key) {
            doubt.how = How::LetGo;
        }
    }

    /// A key that the host has let go, without an answer so far.
    pub(super) fn unanswered(&self) -> Option<Key> {
        let mut let_go = self.keys.iter().filter(|(_, doubt)| doubt.how == How::LetGo);
        let_go.next().map(|(key, _)| *key)
    }

    /// The adapter has said this, while that step waits for its answers.
    fn hear(&mut self, verb: Verb, code: u8, flight: Option<Step>) {
        let before = self.heard.last().copied();
        self.heard.push((verb, code));
        let too_many = self.heard.len().saturating_sub(MOST_ANSWERS);
        self.heard.drain(..too_many);
        // A release within a sequence is none of a key.
        if verb != Verb::Release || matches!(flight, Some(Step::Say(_))) {
            return;
        }
        // Answers have no prefix: two keys with the same code differ in what was said before.
        let broken = Key::all().filter(|key| self.ends_with_break_of(*key));
        let Some(key) = broken.max_by_key(|key| key.undo().len()) else {
            return;
        };
        let is_plain = key.undo().len() == 1;
        let is_part_of_another = matches!(before, Some((Verb::Hold, 0xE0 | 0xE1)));
        if is_plain && is_part_of_another {
            return;
        }
        let is_asked = flight == Some(Step::Up(key));
        let is_expected = self
            .keys
            .get(&key)
            .is_some_and(|doubt| matches!(doubt.how, How::Down | How::LetGo));
        // Of the other one the first answer may be lost; a key that goes up once more is no harm.
        let may_be_another = is_plain && self.keys.keys().any(|other| other.has_code_of(key));
        if is_asked || is_expected && !may_be_another {
            self.keys.remove(&key);
        }
    }

    fn ends_with_break_of(&self, key: Key) -> bool {
        let undo = key.undo();
        let start = self.heard.len().checked_sub(undo.len());
        let last = start.and_then(|start| self.heard.get(start..));
        last.is_some_and(|last| {
            last.iter()
                .zip(&undo)
                .all(|((verb, code), piece)| (*verb, *code) == (piece.verb, piece.code))
        })
    }

    /// The PC has forgotten what was down, but not what comes after.
    pub(super) fn forget_past(&mut self) {
        self.keys
            .retain(|_, doubt| matches!(doubt.how, How::Asked | How::AskedAgain));
    }

    pub(super) fn forget_all(&mut self) {
        self.keys.clear();
    }

    /// The line was away: what was said before has no continuation.
    pub(super) fn forget_answers(&mut self) {
        self.heard.clear();
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.keys.contains_key(&key)
    }

    /// Those with a prefix first, so that each answer is clearly one of them.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.keys.keys().rev().copied()
    }

    /// For a person; nothing if there is no doubt.
    fn describe(&self) -> Option<String> {
        let named = self.keys.iter().filter(|(_, doubt)| doubt.is_named);
        let mut names: Vec<_> = named.map(|(key, _)| key.name()).collect();
        if self.keys.values().any(|doubt| !doubt.is_named) {
            names.push("a key that was typed");
        }
        (!names.is_empty()).then(|| format!("{} may still be down at the PC", names.join(", ")))
    }
}

impl Conversation {
    /// The adapter has made or broken something.
    pub(super) fn hear_done(&mut self, verb: Verb, code: u8) {
        let flight = self.memory.flight.as_ref().map(|flight| flight.step);
        self.memory.doubts.hear(verb, code, flight);
    }

    /// A message, and which keys may still be down.
    pub(super) fn with_doubts(&self, message: &str) -> String {
        match self.memory.doubts.describe() {
            Some(doubts) => format!("{message}; {doubts}"),
            None => message.to_owned(),
        }
    }

    /// The adapter has forgotten that it is identified, and what is down.
    pub(super) fn start_after_reset(&mut self, cx: &mut Cx<'_>) {
        let message = "the adapter has been reset; identifying it again";
        warn!(cx, "{message}");
        if self.memory.doubts.describe().is_some() {
            let text = self.with_doubts("the adapter has been reset");
            self.note_error(cx, Scope::Protocol, &text);
        }
        self.memory.pausing = false;
        self.memory.questions = 0;
        self.change_phase(cx, Phase::Identifying, Some(message.to_owned()));
        self.identify(cx);
    }

    /// The adapter says that it has nothing to do with a line that no step has sent: what the host has written by itself.
    pub(super) fn take_refusal_of_release(&mut self, cx: &mut Cx<'_>, command: &str) {
        let is_ours = |line: &[u8]| line.trim_ascii_end() == command.as_bytes();
        if !is_ours(protocol::IDENTIFY) && !is_ours(protocol::COMPLETE) {
            self.start_after_reset(cx);
        }
    }

    /// Whether this is a line that lets go of a key that may be down.
    pub(super) fn is_release(&self, command: &str) -> bool {
        let mut pieces = self.memory.doubts.keys().flat_map(Key::undo);
        pieces.any(|piece| protocol::line(piece).trim_ascii_end() == command)
    }

    /// The adapter is identified: all keys that may be down go up before anything else. What is under way waits, and puts down again what it needs.
    pub(super) fn release_doubts(&mut self, cx: &mut Cx<'_>) {
        let mut keys: Vec<_> = self.memory.doubts.keys().collect();
        let held = self.memory.held.iter().copied();
        keys.extend(held.filter(|key| !self.memory.doubts.contains(*key)));
        if keys.is_empty() {
            cx.edit().last_error = None;
            return;
        }
        for doubt in self.memory.doubts.keys.values_mut() {
            if doubt.how == How::LetGo {
                doubt.how = How::Down;
            }
        }
        let mut release = settings::release_doubtful(&keys);
        release.created_ms = autobench_sdk::whole_ms(cx.wall_ms());
        if let Some(mut job) = self.memory.running.take() {
            for key in keys {
                if job.down.contains(&key) {
                    // With it goes its lease.
                    release.down.push(key);
                }
                job.let_go(key);
            }
            // One of the driver's own is about the same keys.
            if job.command.is_some() {
                self.memory.aside = Some(job);
            }
        }
        self.memory.running = Some(release);
    }

    /// A job is over: with the last doubt goes what was told of it.
    pub(super) fn finish_release(&self, cx: &mut Cx<'_>, job: &Job) {
        let is_over = job.name == settings::RELEASE_DOUBTFUL && job.ending.is_none();
        if is_over && self.memory.doubts.describe().is_none() {
            cx.edit().last_error = None;
        }
    }

    /// A lease is over without the driver: the host writes what lets the key go, now or as soon as the line is back.
    pub(super) fn doubt_release(&mut self, cx: &mut Cx<'_>, lease: u32) -> Option<Key> {
        let key = Key::all().find(|key| lease_of(*key) == lease)?;
        self.memory.doubts.let_go(key);
        self.memory.held.retain(|held| *held != key);
        for job in self.memory.running.iter_mut().chain(&mut self.memory.aside) {
            job.let_go(key);
        }
        self.pump(cx);
        Some(key)
    }
}
