//! The commands of this run, and the keys of a day.
//!
//! Everything that can happen to a command comes in here, in any order and any number of times, and comes out as [`Change`]s: what is to be
//! told, and what is to be written down. Nothing happens here; whoever owns the book sends, tells and writes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Number, Value as Json};

use super::keys::{Fingerprint, KEY_CHARS, Key, Keys, Record};
use super::ledger::{Line, Restored};
use super::life::{Ending, Life, Stage};
use crate::driver::{COMMANDS, CallTime, Command, CommandId, CommandReply, Outcome};
use crate::state::Value;
use crate::wire::{CommandProgress, CommandStatus, ErrorCode, iso8601};

/// Commands that can be looked up. Past it the oldest that is over goes; those under way, of which there are at most [`COMMANDS`] per device,
/// never do.
pub const RECENT: usize = 1_000;

/// How long a command may take if nobody says otherwise.
pub const DEADLINE_DEFAULT_MS: u64 = 30_000;

/// How long it may take at most.
pub const DEADLINE_MAX_MS: u64 = 3_600_000;

/// Most of a text that a driver says of a command; the rest is cut.
const TEXT_BYTES: usize = 1 << 10;

/// A command that has passed every check but those of the book.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The device.
    pub device: Arc<str>,
    /// Name of the command.
    pub name: String,
    /// Its arguments as a JSON object.
    pub arguments: String,
    /// Hash of name and arguments.
    pub fingerprint: Fingerprint,
    /// Who asks.
    pub actor: Arc<str>,
    /// Idempotency key.
    pub key: Option<String>,
    /// How long it may take.
    pub deadline_ms: Option<u64>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Admission {
    /// It is a new command: to be told, written down, and sent.
    New(Arc<Command>, Change),
    /// It is a command that is known by its key.
    Known(CommandStatus),
}

/// Why a request is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// For programs.
    pub code: ErrorCode,
    /// For a person.
    pub message: String,
}

/// Something to be told, and written down if the command has a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// How the command is now.
    pub status: CommandStatus,
    /// What the ledger is to say of it.
    pub line: Option<Line>,
}

/// See the module.
#[derive(Debug)]
pub struct Book {
    run: String,
    next_number: u64,
    entries: BTreeMap<u64, Entry>,
    unfinished: HashMap<Arc<str>, usize>,
    deadlines: BTreeSet<(u64, u64)>,
    keys: Keys,
}

#[derive(Debug)]
struct Entry {
    device: Arc<str>,
    command: Arc<Command>,
    key: Option<(Key, Fingerprint)>,
    life: Life,
    deadline_ns: u64,
    deadline_at_ms: u64,
    reason: Option<String>,
    actual_value: Option<Json>,
    progress: Option<CommandProgress>,
}

impl Book {
    /// An empty book. `run` names this run of the daemon: with it the ids of two runs differ.
    pub fn new(run: &str) -> Self {
        Self {
            run: run.to_owned(),
            next_number: 1,
            entries: BTreeMap::new(),
            unfinished: HashMap::new(),
            deadlines: BTreeSet::new(),
            keys: Keys::default(),
        }
    }

    /// Takes over the keys of earlier runs. What was under way when the daemon ended is failed, because nobody knows how far it came.
    pub fn restore(&mut self, restored: Restored, now_ms: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        for mut record in restored.records {
            if !record.status.status.is_final() {
                record.status.status = Stage::Failed;
                record.status.reason =
                    Some("unknown-outcome: the daemon ended while the command was under way".to_owned());
                record.status.completed_at = Some(iso8601(now_ms.max(record.queued_ms)));
                changes.push(Change {
                    status: record.status.clone(),
                    line: Some(Line::of(&record)),
                });
            }
            self.keys.put(record);
        }
        changes
    }

    /// Whether this key is known: then no other check matters, because nothing will be sent. A key that is older than a day is not.
    pub fn known(&mut self, request: &Request, now: CallTime) -> Result<Option<CommandStatus>, Refused> {
        self.keys.forget_old(wall_ms(now));
        let Some(key) = key_of(request)? else {
            return Ok(None);
        };
        let Some(record) = self.keys.get(&key) else {
            return Ok(None);
        };
        if record.fingerprint != request.fingerprint {
            return Err(refused(
                ErrorCode::IdempotencyMismatch,
                format!(
                    "the key {:?} belongs to the command {} ({}), with another name or other arguments",
                    key.text, record.status.command_id, record.status.name
                ),
            ));
        }
        // The entry knows the stages that are not written down.
        let id = &record.status.command_id;
        Ok(Some(self.status(id).unwrap_or_else(|| record.status.clone())))
    }

    /// Takes a request. Its id is told to nobody before this returns.
    pub fn submit(&mut self, request: Request, now: CallTime) -> Result<Admission, Refused> {
        let now_ms = wall_ms(now);
        if let Some(status) = self.known(&request, now)? {
            return Ok(Admission::Known(status));
        }
        let deadline_ms = request.deadline_ms.unwrap_or(DEADLINE_DEFAULT_MS);
        if !(1..=DEADLINE_MAX_MS).contains(&deadline_ms) {
            return Err(refused(
                ErrorCode::BadDeadline,
                format!("deadlineMs is {deadline_ms}; write 1 to {DEADLINE_MAX_MS}"),
            ));
        }
        let key = key_of(&request)?;
        if key.is_some() && self.keys.is_full() {
            return Err(refused(
                ErrorCode::TooManyKeys,
                format!(
                    "{} keys of the last day are kept, which is the most; send the command without one, or later",
                    super::KEYS
                ),
            ));
        }
        let under_way = self.unfinished.get(&request.device).copied().unwrap_or(0);
        if under_way >= COMMANDS {
            return Err(refused(
                ErrorCode::Busy,
                format!(
                    "{COMMANDS} commands of {} are under way, which is the most",
                    request.device
                ),
            ));
        }
        let number = self.next_number;
        self.next_number += 1;
        let deadline_ns = now
            .monotonic_ns
            .saturating_add(deadline_ms.saturating_mul(1_000_000));
        let command = Arc::new(Command {
            id: CommandId(format!("{}-{number}", self.run).into()),
            name: request.name,
            arguments: request.arguments,
            actor: request.actor.to_string(),
            deadline_ns: Some(deadline_ns),
        });
        self.unfinished.insert(Arc::clone(&request.device), under_way + 1);
        self.deadlines.insert((deadline_ns, number));
        let entry = Entry {
            device: request.device,
            command: Arc::clone(&command),
            key: key.map(|key| (key, request.fingerprint)),
            life: Life::new(now_ms),
            deadline_ns,
            deadline_at_ms: now_ms.saturating_add(deadline_ms),
            reason: None,
            actual_value: None,
            progress: None,
        };
        let change = self.keep(entry.status(), entry.record());
        self.entries.insert(number, entry);
        self.forget_surplus();
        Ok(Admission::New(command, change))
    }

    // --- what happens ---

    /// The driver's call with the command has returned.
    pub fn sent(&mut self, id: &CommandId, now: CallTime) -> Option<Change> {
        self.change(id, |entry| entry.life.sent(wall_ms(now)))
    }

    /// The driver answers.
    pub fn reply(&mut self, reply: &CommandReply, now: CallTime) -> Option<Change> {
        match reply {
            CommandReply::Acknowledge { id } => self.change(id, |entry| entry.life.acked(wall_ms(now))),
            CommandReply::Progress { id, message, share } => self.change(id, |entry| {
                if entry.life.stage().is_final() {
                    return false;
                }
                let progress = CommandProgress {
                    message: cut(message),
                    share: *share,
                };
                let is_news = entry.progress.as_ref() != Some(&progress);
                entry.progress = Some(progress);
                is_news
            }),
            CommandReply::Complete { id, outcome } => {
                let (ending, reason, value) = match outcome {
                    Outcome::Succeeded(value) => (Ending::Succeeded, None, value.as_ref().map(json)),
                    Outcome::Failed(reason) => (Ending::Failed, Some(cut(reason)), None),
                    Outcome::Blocked(reason) => (Ending::Blocked, Some(cut(reason)), None),
                    Outcome::Cancelled => (Ending::Cancelled, None, None),
                };
                self.change(id, |entry| {
                    let is_news = entry.life.end(ending, wall_ms(now));
                    if is_news {
                        entry.reason = reason;
                        entry.actual_value = value;
                    }
                    is_news
                })
            }
        }
    }

    /// The host ends it. The reason begins with a stable word and a colon.
    pub fn end(&mut self, id: &CommandId, ending: Ending, reason: &str, now: CallTime) -> Option<Change> {
        self.change(id, |entry| {
            let is_news = entry.life.end(ending, wall_ms(now));
            if is_news {
                entry.reason = Some(cut(reason));
            }
            is_news
        })
    }

    /// Ends what has passed its deadline: which, of which device, and the change.
    pub fn expire(&mut self, now: CallTime) -> Vec<(Arc<str>, CommandId, Change)> {
        let mut expired = Vec::new();
        while let Some(&(deadline_ns, number)) = self.deadlines.first()
            && deadline_ns <= now.monotonic_ns
        {
            self.deadlines.pop_first();
            let Some(entry) = self.entries.get(&number) else {
                continue;
            };
            let (device, id) = (Arc::clone(&entry.device), entry.command.id.clone());
            let reason = match entry.life.stage() {
                Stage::Queued => "deadline: it passed before the driver had dealt with the command",
                _ => "deadline: it passed before the driver said how the command ended",
            };
            if let Some(change) = self.end(&id, Ending::Expired, reason, now) {
                expired.push((device, id, change));
            }
        }
        expired
    }

    /// When [`expire`](Self::expire) has something to do.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline_ns, _)| *deadline_ns)
    }

    // --- looks ---

    /// How a command is: one of this run, or one of an earlier run that had a key.
    pub fn status(&self, id: &str) -> Option<CommandStatus> {
        match self.entry(id) {
            Some(entry) => Some(entry.status()),
            None => self.keys.of_command(id).map(|record| record.status.clone()),
        }
    }

    /// The device and stage of a command of this run.
    pub fn stage(&self, id: &str) -> Option<(&Arc<str>, Stage)> {
        self.entry(id).map(|entry| (&entry.device, entry.life.stage()))
    }

    /// The newest commands of this run, oldest first.
    pub fn recent(&self) -> impl DoubleEndedIterator<Item = CommandStatus> {
        self.entries.values().map(Entry::status)
    }

    /// A device's commands that are not over, oldest first, with their stages.
    pub fn under_way(&self, device: &str) -> Vec<(CommandId, Stage)> {
        let of_device = self.entries.values().filter(|entry| &*entry.device == device);
        of_device
            .filter(|entry| !entry.life.stage().is_final())
            .map(|entry| (entry.command.id.clone(), entry.life.stage()))
            .collect()
    }

    // --- inside ---

    fn entry(&self, id: &str) -> Option<&Entry> {
        self.entries.get(&self.number(id)?)
    }

    fn number(&self, id: &str) -> Option<u64> {
        id.strip_prefix(&*self.run)?.strip_prefix('-')?.parse().ok()
    }

    fn change(&mut self, id: &CommandId, change: impl FnOnce(&mut Entry) -> bool) -> Option<Change> {
        let number = self.number(&id.0)?;
        let entry = self.entries.get_mut(&number)?;
        if !change(entry) {
            return None;
        }
        if entry.life.stage().is_final() {
            self.deadlines.remove(&(entry.deadline_ns, number));
            if let Some(under_way) = self.unfinished.get_mut(&entry.device) {
                *under_way = under_way.saturating_sub(1);
                if *under_way == 0 {
                    self.unfinished.remove(&entry.device);
                }
            }
        }
        let entry = self.entries.get(&number)?;
        let status = entry.status();
        // Only how it ended is written down: until then nobody could say more of it after a crash than that it was under way.
        let record = entry.record().filter(|_| status.status.is_final());
        Some(self.keep(status, record))
    }

    fn keep(&mut self, status: CommandStatus, record: Option<Record>) -> Change {
        let line = record.as_ref().map(Line::of);
        if let Some(record) = record {
            self.keys.put(record);
        }
        Change { status, line }
    }

    fn forget_surplus(&mut self) {
        while self.entries.len() > RECENT {
            let over = self
                .entries
                .iter()
                .find(|(_, entry)| entry.life.stage().is_final())
                .map(|(number, _)| *number);
            match over {
                Some(number) => drop(self.entries.remove(&number)),
                None => break,
            }
        }
    }
}

impl Entry {
    fn status(&self) -> CommandStatus {
        let times = self.life.times();
        CommandStatus {
            command_id: self.command.id.0.to_string(),
            device: self.device.to_string(),
            name: self.command.name.clone(),
            actor: self.command.actor.clone(),
            status: self.life.stage(),
            reason: self.reason.clone(),
            actual_value: self.actual_value.clone(),
            progress: self.progress.clone(),
            queued_at: iso8601(times.queued_ms),
            sent_at: times.sent_ms.map(iso8601),
            acked_at: times.acked_ms.map(iso8601),
            completed_at: times.completed_ms.map(iso8601),
            deadline_at: iso8601(self.deadline_at_ms),
        }
    }

    fn record(&self) -> Option<Record> {
        let (key, fingerprint) = self.key.as_ref()?;
        Some(Record {
            key: key.clone(),
            fingerprint: *fingerprint,
            queued_ms: self.life.times().queued_ms,
            status: self.status(),
        })
    }
}

fn key_of(request: &Request) -> Result<Option<Key>, Refused> {
    let Some(text) = &request.key else { return Ok(None) };
    if text.is_empty() || text.chars().count() > KEY_CHARS || text.chars().any(char::is_control) {
        return Err(refused(
            ErrorCode::BadKey,
            format!("an idempotency key has 1 to {KEY_CHARS} characters, none of them a control character"),
        ));
    }
    Ok(Some(Key {
        actor: Arc::clone(&request.actor),
        device: Arc::clone(&request.device),
        text: text.as_str().into(),
    }))
}

fn refused(code: ErrorCode, message: String) -> Refused {
    Refused { code, message }
}

fn wall_ms(now: CallTime) -> u64 {
    now.wall_ms as u64
}

fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Float(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
        Value::Text(value) => value.clone().into(),
        Value::Json(value) => value.clone(),
    }
}

fn cut(text: &str) -> String {
    match text.len() > TEXT_BYTES {
        true => format!(
            "{}…",
            text.get(..text.floor_char_boundary(TEXT_BYTES))
                .unwrap_or_default()
        ),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
