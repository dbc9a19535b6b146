//! What a command becomes: strokes, and of each stroke the steps that the adapter takes one by one. Knows neither SDK nor host.
//!
//! A job holds down what it needs, lets it go again when the next stroke does not need it, and leaves nothing down, however it ends.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::keys::{Key, Modifiers, Piece};
use crate::layout::Struck;
use crate::protocol::{self, Mode};

/// How long a key stays down that the adapter does not press by itself; as long as those that it does.
const PRESS_MS: u32 = 100;

/// A thing to do, of which a job has many. Short in a snapshot, because there may be thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stroke {
    /// Strikes a key: what is held meanwhile, the key, for how long if that is said, and how much of the job is done then.
    #[serde(rename = "k")]
    Key(Modifiers, Key, Option<u32>, u32),
    /// Does nothing for so many milliseconds.
    #[serde(rename = "p")]
    Pause(u32, u32),
}

/// What the adapter is asked next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// A key goes down and up by itself.
    Press(Key),
    /// A key goes down, and up before the job ends.
    Down(Key),
    /// A key goes down, and stays there for at most so many milliseconds.
    Keep(Key, u32),
    /// A key goes up.
    Up(Key),
    /// A part of a sequence.
    Say(Piece),
    /// Who decides about the pin.
    Power(Mode),
    /// Nothing for so many milliseconds.
    Wait(u32),
    /// So much of the job is done.
    Mark(u32),
}

impl Step {
    /// Whether the PC takes it for nothing new when it comes twice, so that it may be asked again when the answer is lost.
    #[must_use]
    pub fn may_repeat(self) -> bool {
        match self {
            Self::Up(_) | Self::Power(_) => true,
            Self::Down(key) | Self::Keep(key, _) => key.is_modifier(),
            Self::Press(_) | Self::Say(_) | Self::Wait(_) | Self::Mark(_) => false,
        }
    }

    /// The pieces that it sends.
    #[must_use]
    pub fn pieces(self) -> Vec<Piece> {
        match self {
            Self::Press(key) => key.press().into_iter().collect(),
            Self::Down(key) | Self::Keep(key, _) => key.make(),
            Self::Up(key) => key.undo(),
            Self::Say(piece) => vec![piece],
            Self::Power(_) | Self::Wait(_) | Self::Mark(_) => Vec::new(),
        }
    }

    /// The lines that it sends.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Power(mode) => protocol::power(mode).to_vec(),
            step => protocol::lines(&step.pieces()),
        }
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// Given up on request.
    Cancelled,
    /// Not tried.
    Blocked(String),
    /// Tried, and not done.
    Failed(String),
}

/// What a job counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Characters of a text.
    Characters,
    /// Strokes.
    Strokes,
    /// Nothing: it is one thing.
    One,
}

/// A command on its way to the adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The command's id; none for what the driver does by itself.
    pub command: Option<String>,
    /// The command's name.
    pub name: String,
    /// For a person. Nothing of a text that is typed.
    pub label: String,
    /// Who asked.
    pub by: String,
    /// When, in milliseconds since 1970.
    pub created_ms: u64,
    /// Whether it strikes keys, so that there is no use in it when the PC is off.
    pub is_input: bool,
    /// Whether nothing of it may be seen.
    #[serde(default)]
    pub is_secret: bool,
    /// Whether the adapter has answered anything of it.
    pub acknowledged: bool,
    /// What it counts.
    pub unit: Unit,
    /// How much there is.
    pub total: u32,
    /// How much of it is done.
    pub done: u32,
    /// How it ends, if that is known before it is through.
    pub ending: Option<Ending>,
    /// What the job holds down.
    pub down: Vec<Key>,
    /// What it has put down to stay so when it is over: if it is not carried through, that goes up too.
    #[serde(default)]
    pub kept: Vec<Key>,
    strokes: VecDeque<Stroke>,
    steps: VecDeque<Step>,
}

/// What a job is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Strokes, and what they are counted in.
    Strokes(Unit, Vec<Stroke>),
    /// Steps; whether they are input.
    Steps(bool, Vec<Step>),
}

impl Job {
    /// A job that has not begun.
    #[must_use]
    pub fn new(name: &str, label: String, work: Work) -> Self {
        let (is_input, unit, strokes, steps) = match work {
            Work::Strokes(unit, strokes) => (true, unit, strokes, Vec::new()),
            Work::Steps(is_input, steps) => (is_input, Unit::One, Vec::new(), steps),
        };
        let total = strokes.last().map_or(1, |last| last.done());
        Self {
            command: None,
            name: name.to_owned(),
            label,
            by: String::new(),
            created_ms: 0,
            is_input,
            is_secret: false,
            acknowledged: false,
            unit,
            total,
            done: 0,
            ending: None,
            down: Vec::new(),
            kept: Vec::new(),
            strokes: strokes.into(),
            steps: steps.into(),
        }
    }

    /// How many strokes it still keeps in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.strokes.len() + self.steps.len()
    }

    /// A key that it would strike or hold although it is held already; for a text, any key that is held.
    #[must_use]
    pub fn conflict(&self, held: &[Key]) -> Option<Key> {
        let touches = |key: Key| {
            self.strokes.iter().any(|stroke| match stroke {
                Stroke::Key(modifiers, struck, ..) => *struck == key || modifiers.contains(key),
                Stroke::Pause(..) => false,
            })
        };
        let is_text = self.unit == Unit::Characters;
        held.iter().copied().find(|key| is_text || touches(*key))
    }

    /// Whether its keys may be seen: they are no part of a text.
    #[must_use]
    pub fn names_its_keys(&self) -> bool {
        !matches!(self.name.as_str(), "type" | "macro")
    }

    /// The next step; nothing when it is through.
    pub fn next_step(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.steps.pop_front() {
                return Some(step);
            }
            match self.strokes.pop_front() {
                Some(stroke) if self.ending.is_none() => self.plan(stroke),
                _ => return self.down.last().copied().map(Step::Up),
            }
        }
    }

    /// A key that it held is up, because somebody else let it go. It goes down again if the next strike needs it.
    pub fn let_go(&mut self, key: Key) {
        self.kept.retain(|kept| *kept != key);
        let was_down = self.down.contains(&key);
        self.down.retain(|down| *down != key);
        let strikes = |step: &Step| match step {
            Step::Press(_) | Step::Say(_) => true,
            Step::Down(key) => !key.is_modifier(),
            _ => false,
        };
        let is_needed = self.steps.iter().any(strikes) && !self.steps.contains(&Step::Up(key));
        if was_down && is_needed && self.ending.is_none() {
            self.steps.push_front(Step::Down(key));
        }
    }

    /// The same step once more.
    pub fn put_back(&mut self, step: Step) {
        self.steps.push_front(step);
    }

    /// Ends it, once it has done `last` and let go of what it holds. The first ending counts.
    pub fn end(&mut self, ending: Ending, last: Option<Step>) {
        self.strokes.clear();
        self.steps.clear();
        self.steps.extend(last);
        self.down.append(&mut self.kept);
        if self.ending.is_none() {
            self.ending = Some(ending);
        }
    }

    /// How far it is, for a person.
    #[must_use]
    pub fn progress(&self) -> String {
        match self.unit {
            Unit::Characters => format!("{} of {} characters", self.done, self.total),
            Unit::Strokes => format!("{} of {} strokes", self.done, self.total),
            Unit::One => "nothing".to_owned(),
        }
    }

    fn plan(&mut self, stroke: Stroke) {
        match stroke {
            Stroke::Pause(ms, done) => self.steps.extend([Step::Wait(ms), Step::Mark(done)]),
            Stroke::Key(modifiers, key, ms, done) => {
                let too_many = self.down.iter().rev().filter(|key| !modifiers.contains(**key));
                let missing = modifiers.keys().filter(|key| !self.down.contains(key));
                let steps = too_many.map(|key| Step::Up(*key)).chain(missing.map(Step::Down));
                self.steps.extend(steps);
                self.steps.extend(strike(key, ms));
                self.steps.push_back(Step::Mark(done));
            }
        }
    }
}

/// A key goes down and up, after so many milliseconds or as fast as it goes.
pub(crate) fn strike(key: Key, ms: Option<u32>) -> Vec<Step> {
    if let Some(whole) = key.whole() {
        return whole.into_iter().map(Step::Say).collect();
    }
    match (ms, key.press()) {
        (None, Some(_)) => vec![Step::Press(key)],
        (ms, _) => vec![Step::Down(key), Step::Wait(ms.unwrap_or(PRESS_MS)), Step::Up(key)],
    }
}

impl Stroke {
    fn done(self) -> u32 {
        match self {
            Self::Key(.., done) | Self::Pause(_, done) => done,
        }
    }
}

/// The strokes of a text: each character counts as one, however many strokes it takes.
#[must_use]
pub fn text(characters: &[Vec<Struck>], before: u32) -> Vec<Stroke> {
    let mut strokes = Vec::new();
    for (done, struck) in (before + 1..).zip(characters) {
        let last = struck.len().saturating_sub(1);
        for (index, Struck { modifiers, key }) in struck.iter().enumerate() {
            // A dead key is not the character yet.
            let done = if index == last { done } else { done - 1 };
            strokes.push(Stroke::Key(*modifiers, *key, None, done));
        }
    }
    strokes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;

    fn key(name: &str) -> Key {
        Key::named(name).expect("a key")
    }

    /// All steps of a job that is asked for nothing else.
    fn steps(mut job: Job) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some(step) = job.next_step() {
            match step {
                Step::Down(key) => job.down.push(key),
                Step::Up(key) => job.down.retain(|down| *down != key),
                _ => {}
            }
            steps.push(step);
        }
        assert_eq!(job.down, []);
        steps
    }

    fn typing(layout: &str, content: &str) -> Job {
        let layout = Layout::named(layout).expect("it is there").expect("it is good");
        let strokes = text(&layout.strokes(content).expect("all are there"), 0);
        Job::new("type", String::new(), Work::Strokes(Unit::Characters, strokes))
    }

    #[test]
    fn shift_stays_down_between_two_that_need_it() {
        let shift = key("ShiftLeft");
        let expected = [
            Step::Down(shift),
            Step::Press(key("KeyA")),
            Step::Mark(1),
            Step::Press(key("KeyB")),
            Step::Mark(2),
            Step::Up(shift),
            Step::Press(key("KeyC")),
            Step::Mark(3),
        ];
        assert_eq!(steps(typing("us", "ABc")), expected);
        assert_eq!(steps(typing("us", "cB")).last(), Some(&Step::Up(shift)));
    }

    #[test]
    fn a_dead_key_counts_with_the_character_after_it() {
        let expected = [
            Step::Press(key("Backquote")),
            Step::Mark(0),
            Step::Press(key("KeyE")),
            Step::Mark(1),
        ];
        assert_eq!(steps(typing("de", "ê")), expected);
    }

    #[test]
    fn a_job_that_ends_early_lets_go_of_what_it_holds() {
        let mut job = typing("us", "ABC");
        assert_eq!(job.next_step(), Some(Step::Down(key("ShiftLeft"))));
        job.down.push(key("ShiftLeft"));
        job.end(Ending::Cancelled, None);
        job.end(Ending::Failed("later".to_owned()), None);
        assert_eq!(steps(job.clone()), [Step::Up(key("ShiftLeft"))]);
        assert_eq!(job.ending, Some(Ending::Cancelled));
    }

    #[test]
    fn a_modifier_that_somebody_else_let_go_goes_down_again_before_the_strike_that_needs_it() {
        let shift = key("ShiftLeft");
        let mut job = typing("us", "A");
        assert_eq!(job.next_step(), Some(Step::Down(shift)));
        job.down.push(shift);
        job.let_go(shift);
        assert_eq!(job.next_step(), Some(Step::Down(shift)));
        job.down.push(shift);
        assert_eq!(job.next_step(), Some(Step::Press(key("KeyA"))));
        // Struck already: it is not needed any more.
        job.let_go(shift);
        assert_eq!(steps(job), [Step::Mark(1)]);
    }

    #[test]
    fn only_what_a_pc_takes_for_nothing_new_is_repeated() {
        for key in Key::all() {
            assert!(!Step::Press(key).may_repeat(), "{key}");
            assert!(Step::Up(key).may_repeat(), "{key}");
            assert_eq!(Step::Down(key).may_repeat(), key.is_modifier(), "{key}");
        }
    }

    #[test]
    fn a_thousand_strokes_are_small_in_a_snapshot() {
        let job = typing("us", &"aB".repeat(2000));
        let bytes = serde_json::to_vec(&job).expect("it can be written").len();
        assert!(bytes < 120_000, "{bytes} bytes for 4,000 characters");
        let read: Job = serde_json::from_slice(&serde_json::to_vec(&job).expect("written")).expect("read");
        assert_eq!(read, job);
    }

    #[test]
    fn keys_that_are_held_keep_a_job_from_touching_them() {
        let held = [key("ControlLeft")];
        assert_eq!(typing("us", "a").conflict(&held), Some(key("ControlLeft")));
        let press = |name: &str| {
            let stroke = Stroke::Key(Modifiers::NONE, key(name), None, 1);
            Job::new("press", String::new(), Work::Strokes(Unit::Strokes, vec![stroke]))
        };
        assert_eq!(press("KeyC").conflict(&held), None);
        assert_eq!(press("ControlLeft").conflict(&held), Some(key("ControlLeft")));
    }
}
