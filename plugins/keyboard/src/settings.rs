//! What may be set, and what commands take: as written, and as meant. Knows neither SDK nor host.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::keys::{Key, Modifiers};
use crate::layout::{self, Layout};
use crate::protocol::Mode;
use crate::work::{Job, Step, Stroke, Unit, Work, strike, text};

/// The longest text of one command, in characters.
const LONGEST_TEXT: usize = 4000;
/// The longest pause and press, in milliseconds.
const LONGEST_MS: u32 = 60_000;
/// The longest hold, in milliseconds, as the host keeps leases.
const LONGEST_HOLD_MS: u32 = 600_000;
/// The job that lets go of keys that may be down after the adapter or its line was away.
pub const RELEASE_DOUBTFUL: &str = "release-doubtful";

/// `[devices.<id>.settings]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// The layout that the PC takes the keyboard for: us, uk or de. A command may name another.
    pub layout: String,
    /// Commands that may wait, 1 to 64.
    pub queue_depth: usize,
    /// Milliseconds within which the adapter answers a line, 200 to 10,000.
    pub reply_timeout_ms: u32,
    /// How many times a line is sent again that may be, 0 to 5.
    pub retries: u8,
    /// Milliseconds between an answer and the next line, 0 to 1,000.
    pub pacing_ms: u32,
    /// Milliseconds that a key is held at most, 100 to 600,000. A command may ask for less.
    pub hold_maximum_ms: u32,
    /// Sequences by their names.
    pub macros: BTreeMap<String, Vec<MacroStep>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            layout: "us".to_owned(),
            queue_depth: 32,
            reply_timeout_ms: 1500,
            retries: 2,
            pacing_ms: 25,
            hold_maximum_ms: 10_000,
            macros: BTreeMap::new(),
        }
    }
}

/// One step of a macro.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MacroStep {
    /// A key, by its name.
    Press(String),
    /// Several keys, the last of which is struck while the others are held.
    Combo(Vec<String>),
    /// A text, in the layout of the settings.
    Type(String),
    /// Milliseconds in which nothing happens.
    DelayMs(u32),
}

/// Settings as they are meant: nothing in them is wrong any more.
#[derive(Debug, Clone)]
pub struct Plan {
    /// As written.
    pub settings: Settings,
    macros: BTreeMap<String, Vec<Stroke>>,
}

impl Plan {
    /// Reads the settings. The error has every problem.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let mut problems = Vec::new();
        let mut range = |name: &str, value: usize, least: usize, most: usize| {
            if !(least..=most).contains(&value) {
                problems.push(format!("{name} is {value}, and has to be from {least} to {most}"));
            }
        };
        range("queue-depth", settings.queue_depth, 1, 64);
        range(
            "reply-timeout-ms",
            settings.reply_timeout_ms as usize,
            200,
            10_000,
        );
        range("retries", usize::from(settings.retries), 0, 5);
        range("pacing-ms", settings.pacing_ms as usize, 0, 1000);
        range(
            "hold-maximum-ms",
            settings.hold_maximum_ms as usize,
            100,
            LONGEST_HOLD_MS as usize,
        );
        let mut macros = BTreeMap::new();
        match find_layout(&settings.layout) {
            Err(problem) => problems.push(problem),
            Ok(layout) => {
                for (name, steps) in &settings.macros {
                    match read_macro(&layout, steps) {
                        Ok(strokes) => drop(macros.insert(name.clone(), strokes)),
                        Err(problem) => problems.push(format!("macro {name}: {problem}")),
                    }
                }
            }
        }
        if problems.is_empty() {
            Ok(Self { settings, macros })
        } else {
            Err(problems.join("; "))
        }
    }
}

/// Arguments of `press`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Press {
    /// The key, as KeyboardEvent.code names it: KeyA, Enter, ArrowUp.
    pub key: String,
    /// How long it stays down; a tenth of a second if nothing is said.
    #[schemars(range(min = 10, max = 60_000))]
    pub duration_ms: Option<u32>,
}

/// Arguments of `hold`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hold {
    /// The key.
    pub key: String,
    /// How long it stays down at most.
    #[schemars(range(min = 10, max = 600_000))]
    pub maximum_ms: Option<u32>,
}

/// Arguments of `keys`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// What happens to keys, in order.
    #[schemars(length(min = 1, max = 64))]
    pub events: Vec<KeyEvent>,
}

/// A key goes down or up.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyEvent {
    /// The key.
    pub key: String,
    /// Whether it goes down.
    pub down: bool,
}

/// Arguments of `release`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The key.
    pub key: String,
}

/// Arguments of `combo`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Combo {
    /// Modifiers, and last the key that is struck while they are held.
    #[schemars(length(min = 1, max = 9))]
    pub keys: Vec<String>,
}

/// Arguments of `type`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Type {
    /// The text, at most 4,000 characters. A line ends with Enter.
    // Its length is not in the schema, because a complaint about it would quote the text.
    pub text: String,
    /// The layout that the PC has, if it is not that of the settings.
    pub layout: Option<String>,
    /// Whether nothing of the text may be seen, not even a character that the layout lacks.
    #[serde(default)]
    pub secret: bool,
}

/// Arguments of `macro`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Macro {
    /// Its name in the settings.
    pub name: String,
}

/// Arguments of `power`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// Who decides about the pin that tells the mouse adapter whether the PC is on.
    pub mode: Mode,
}

impl Press {
    /// The job, or why there is none.
    pub fn job(&self) -> Result<Job, String> {
        let key = Key::named(&self.key).map_err(|refusal| refusal.to_string())?;
        if let Some(ms) = self.duration_ms {
            in_range("durationMs", ms, LONGEST_MS)?;
            Key::to_hold(&self.key).map_err(|refusal| refusal.to_string())?;
        }
        let stroke = Stroke::Key(Modifiers::NONE, key, self.duration_ms, 1);
        Ok(strokes("press", format!("press {key}"), vec![stroke]))
    }
}

impl Hold {
    /// The job, or why there is none.
    pub fn job(&self, plan: &Plan) -> Result<Job, String> {
        let key = Key::to_hold(&self.key).map_err(|refusal| refusal.to_string())?;
        let most = plan.settings.hold_maximum_ms;
        let ms = self.maximum_ms.unwrap_or(most);
        in_range("maximumMs", ms, most)?;
        Ok(steps(
            "hold",
            format!("hold {key}"),
            true,
            vec![Step::Keep(key, ms)],
        ))
    }
}

impl Keys {
    /// The job, or why there is none.
    pub fn job(&self, plan: &Plan) -> Result<Job, String> {
        let mut planned = Vec::new();
        for KeyEvent { key: name, down } in &self.events {
            let key = Key::named(name).map_err(|refusal| refusal.to_string())?;
            match (Key::to_hold(name), down) {
                (Ok(key), true) => planned.push(Step::Keep(key, plan.settings.hold_maximum_ms)),
                (Ok(key), false) => planned.push(Step::Up(key)),
                // It goes down and up in one, and cannot be kept down.
                (Err(_), true) => planned.extend(strike(key, None)),
                (Err(_), false) => {}
            }
        }
        let label = format!("{} key events", self.events.len());
        Ok(steps("keys", label, true, planned))
    }
}

impl Release {
    /// The job, or why there is none.
    pub fn job(&self) -> Result<Job, String> {
        let key = Key::to_hold(&self.key).map_err(|refusal| refusal.to_string())?;
        Ok(steps(
            "release",
            format!("release {key}"),
            false,
            vec![Step::Up(key)],
        ))
    }
}

impl Combo {
    /// The job, or why there is none.
    pub fn job(&self) -> Result<Job, String> {
        let stroke = read_combo(&self.keys, 1)?;
        Ok(strokes(
            "combo",
            format!("combo {}", self.keys.join("+")),
            vec![stroke],
        ))
    }
}

impl Type {
    /// The job, or why there is none.
    pub fn job(&self, plan: &Plan) -> Result<Job, String> {
        let name = self.layout.as_ref().unwrap_or(&plan.settings.layout);
        let layout = find_layout(name)?;
        let count = self.text.chars().count();
        if count > LONGEST_TEXT {
            return Err(format!(
                "the text has {count} characters; at most {LONGEST_TEXT} are typed at once"
            ));
        }
        let struck = layout.strokes(&self.text).map_err(|missing| {
            let places = missing.describe(self.secret);
            format!("the layout {name} ({}) has no keys for {places}", layout.title())
        })?;
        let label = format!("type {count} characters");
        let mut job = Job::new("type", label, Work::Strokes(Unit::Characters, text(&struck, 0)));
        job.is_secret = self.secret;
        Ok(job)
    }
}

impl Macro {
    /// The job, or why there is none.
    pub fn job(&self, plan: &Plan) -> Result<Job, String> {
        let known = plan.macros.get(&self.name);
        let found = known.ok_or_else(|| {
            let names: Vec<_> = plan.macros.keys().take(20).map(String::as_str).collect();
            format!("there is no macro of this name; there are: {}", names.join(", "))
        })?;
        Ok(strokes("macro", format!("macro {}", self.name), found.clone()))
    }
}

impl Power {
    /// The job.
    #[must_use]
    pub fn job(&self) -> Job {
        let label = format!("power {:?}", self.mode).to_lowercase();
        steps("power", label, false, vec![Step::Power(self.mode)])
    }
}

/// What lets go of everything: the keys that are or may be down, and the modifiers, whatever is known of them.
#[must_use]
pub fn release_all(down: &[Key]) -> Job {
    let others = Key::modifiers().filter(|key| !down.contains(key));
    let up = down.iter().copied().chain(others).map(Step::Up).collect();
    steps("release-all", "release all".to_owned(), false, up)
}

/// What lets go of these keys, by the driver itself.
#[must_use]
pub fn release_held(held: &[Key]) -> Job {
    let up = held.iter().copied().map(Step::Up).collect();
    steps("release", "release what is held".to_owned(), false, up)
}

/// What lets go of keys that may be down after the adapter or its line was away.
#[must_use]
pub fn release_doubtful(keys: &[Key]) -> Job {
    let up = keys.iter().copied().map(Step::Up).collect();
    steps(RELEASE_DOUBTFUL, "release what may be down".to_owned(), false, up)
}

fn strokes(name: &str, label: String, strokes: Vec<Stroke>) -> Job {
    Job::new(name, label, Work::Strokes(Unit::Strokes, strokes))
}

fn steps(name: &str, label: String, is_input: bool, steps: Vec<Step>) -> Job {
    Job::new(name, label, Work::Steps(is_input, steps))
}

fn in_range(name: &str, ms: u32, most: u32) -> Result<(), String> {
    if (10..=most).contains(&ms) {
        Ok(())
    } else {
        Err(format!("{name} is {ms}, and has to be from 10 to {most}"))
    }
}

fn find_layout(name: &str) -> Result<Layout, String> {
    match Layout::named(name) {
        Some(layout) => layout.map_err(|fault| format!("the layout {name}: {fault}")),
        None => {
            let names: Vec<_> = layout::names().collect();
            Err(format!(
                "there is no such layout; there are: {}",
                names.join(", ")
            ))
        }
    }
}

fn read_combo(names: &[String], done: u32) -> Result<Stroke, String> {
    let (last, before) = names.split_last().ok_or("a combo has at least one key")?;
    let key = Key::named(last).map_err(|refusal| refusal.to_string())?;
    let mut modifiers = Modifiers::NONE;
    for name in before {
        let held = Key::named(name).map_err(|refusal| refusal.to_string())?;
        modifiers = modifiers.with(held).ok_or_else(|| {
            format!("{held} is no modifier; only the last key of a combo may be another one")
        })?;
    }
    if modifiers.contains(key) {
        return Err(format!("{key} is there twice"));
    }
    Ok(Stroke::Key(modifiers, key, None, done))
}

fn read_macro(layout: &Layout, steps: &[MacroStep]) -> Result<Vec<Stroke>, String> {
    let mut strokes: Vec<Stroke> = Vec::new();
    let mut done = 0;
    for step in steps {
        done += 1;
        match step {
            MacroStep::Press(name) => strokes.push(read_combo(std::slice::from_ref(name), done)?),
            MacroStep::Combo(names) => strokes.push(read_combo(names, done)?),
            MacroStep::DelayMs(ms) if *ms <= LONGEST_MS => strokes.push(Stroke::Pause(*ms, done)),
            MacroStep::DelayMs(ms) => {
                return Err(format!("a delay of {ms} ms is longer than {LONGEST_MS} ms"));
            }
            // Places and characters are left out: what a macro types may be a password.
            MacroStep::Type(content) => {
                let struck = layout
                    .strokes(content)
                    .map_err(|missing| format!("the layout has no keys for {}", missing.describe(true)))?;
                let typed = text(&struck, done - 1);
                done += u32::try_from(struck.len()).unwrap_or(u32::MAX).saturating_sub(1);
                strokes.extend(typed);
            }
        }
    }
    if strokes.len() > LONGEST_TEXT {
        return Err(format!(
            "it has {} strokes, at most {LONGEST_TEXT}",
            strokes.len()
        ));
    }
    Ok(strokes)
}
