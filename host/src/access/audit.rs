//! The record of who did what: lines of JSON in a file of the data folder, and entries of the log's channel `audit`.
//!
//! A line is with the system before the action is answered. Files are the owner's alone and are set aside at [`FILE_BYTES`], so that of each at
//! most two of that size are there; with the second the oldest lines go. What is recorded names actions and never their content, and the log's
//! redaction applies to it too.
//!
//! What those do who may act on the bench is always recorded, in a file of its own. What everybody else does or tries is in another, and bounded
//! by [`Quota`]: no noise of a viewer, or of somebody without a token, takes a line away from an operator's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use autobench_core::access::Role;
use autobench_core::driver::LogLevel;
use autobench_core::wire::iso8601;
use parking_lot::Mutex;
use serde_json::json;

use super::Actor;
use super::quota::{Kind, LeftOut, Quota, Source};
use crate::logs::{LogHandle, LogRecord};

/// The channel of the log. Nobody outside may write to it.
pub const CHANNEL: &str = "audit";

/// Size at which the file is set aside.
const FILE_BYTES: u64 = 8 << 20;

/// Most of an action's name and of its detail.
const TEXT_BYTES: usize = 300;

/// One action, or the attempt.
#[derive(Debug, Clone, Copy)]
pub struct AuditEntry<'a> {
    /// Who; none for somebody unknown.
    pub actor: Option<&'a Actor>,
    /// From where.
    pub peer: Option<IpAddr>,
    /// What, without its content.
    pub action: &'a str,
    /// How it went.
    pub outcome: Outcome,
    /// A status or a code.
    pub detail: Option<&'a str>,
}

/// How an action went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not let through.
    Refused,
    /// It was let through and did not succeed.
    Failed,
    /// It is a number of lines that were not written one by one.
    LeftOut,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::LeftOut => "left out",
        }
    }
}

/// The record. Cheap to clone; every clone is the same.
#[derive(Debug, Clone)]
pub struct Audit {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    logs: Option<LogHandle>,
    files: Option<Files>,
    quota: Mutex<Quota>,
}

#[derive(Debug)]
struct Files {
    /// What operators and admins did.
    actors: Mutex<Kept>,
    /// What everybody else did or tried.
    others: Mutex<Kept>,
}

/// A line of the record.
struct Line<'a> {
    name: Option<&'a str>,
    role: Option<Role>,
    peer: Option<IpAddr>,
    action: &'a str,
    outcome: Outcome,
    detail: Option<&'a str>,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    file: File,
    bytes: u64,
    limit_bytes: u64,
    /// The last line has no end: it was cut by a full disk, or by a power cut.
    is_torn: bool,
}

impl Audit {
    /// A record that keeps nothing.
    pub fn nowhere() -> Self {
        Self::to(None, None)
    }

    /// A record in `audit.jsonl` and `audit-others.jsonl` of a folder, and in the log.
    pub fn open(folder: &Path, logs: LogHandle) -> io::Result<Self> {
        Self::open_bounded(folder, logs, FILE_BYTES)
    }

    fn open_bounded(folder: &Path, logs: LogHandle, limit_bytes: u64) -> io::Result<Self> {
        let open = |name| Ok::<_, io::Error>(Mutex::new(Kept::open(folder.join(name), limit_bytes)?));
        let files = Files {
            actors: open("audit.jsonl")?,
            others: open("audit-others.jsonl")?,
        };
        Ok(Self::to(Some(logs), Some(files)))
    }

    fn to(logs: Option<LogHandle>, files: Option<Files>) -> Self {
        Self {
            inner: Arc::new(Inner {
                logs,
                files,
                quota: Mutex::new(Quota::new(Instant::now())),
            }),
        }
    }

    /// Records an action. What nobody does who may act on the bench is recorded within its source's quota.
    pub fn record(&self, entry: &AuditEntry<'_>) {
        let line = Line {
            name: entry.actor.map(|actor| &*actor.name),
            role: entry.actor.map(|actor| actor.role),
            peer: entry.peer,
            action: entry.action,
            outcome: entry.outcome,
            detail: entry.detail,
        };
        let is_admitted = line.is_of_an_actor()
            || self
                .inner
                .quota
                .lock()
                .admit(source(entry.actor, entry.peer), Kind::Action, Instant::now());
        if is_admitted {
            self.write(&line);
        }
    }

    /// Counts what somebody unknown tried, without a line of its own.
    pub(super) fn leave_out(&self, from: IpAddr) {
        let mut quota = self.inner.quota.lock();
        quota.leave_out(source(None, Some(from)), Kind::Action, Instant::now());
    }

    /// Whether the log may have a line about somebody who comes or goes. If not, it is counted.
    pub fn may_tell(&self, actor: Option<&Actor>, from: IpAddr) -> bool {
        let mut quota = self.inner.quota.lock();
        quota.admit(source(actor, Some(from)), Kind::Presence, Instant::now())
    }

    /// Whether somebody was counted of late: only then is there something to settle.
    pub fn counts(&self) -> bool {
        !self.inner.quota.lock().is_empty()
    }

    /// Says what was left out, where there is room for a line again. To be called about once a second; it writes to the disk.
    pub fn settle(&self) {
        let said = self.inner.quota.lock().settle(Instant::now());
        for LeftOut { source, kind, lines } in said {
            let what = match kind {
                Kind::Action => "of what it did",
                Kind::Presence => "of its coming and going",
            };
            let (name, peer) = match &source {
                Source::Actor(name) => (Some(&**name), None),
                Source::Network(address) => (None, Some(*address)),
                Source::Elsewhere => (None, None),
            };
            self.write(&Line {
                name,
                role: None,
                peer,
                action: &format!("more lines {what}: {lines}"),
                outcome: Outcome::LeftOut,
                detail: None,
            });
        }
    }

    /// A file that cannot be written is an error in the log, and no reason to leave the bench without a hand.
    fn write(&self, line: &Line<'_>) {
        let Some(logs) = &self.inner.logs else {
            return;
        };
        let (action, detail) = (shortened(line.action), line.detail.map(shortened));
        if let Some(files) = &self.inner.files {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let text = json!({
                "at": iso8601(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)),
                "actor": line.name,
                "role": line.role,
                "peer": line.peer,
                "action": logs.presentable(action),
                "outcome": line.outcome.as_str(),
                "detail": detail.map(|detail| logs.presentable(detail)),
            });
            let file = match line.is_of_an_actor() {
                true => &files.actors,
                false => &files.others,
            };
            if let Err(error) = file.lock().write(&text.to_string()) {
                tracing::error!(channel = "app", %error, "an action could not be recorded in the audit file");
            }
        }
        let who = match (line.name, line.role) {
            (Some(name), Some(role)) => format!("{name} ({role})"),
            (Some(name), None) => name.to_owned(),
            (None, _) => "somebody unknown".to_owned(),
        };
        let from = line.peer.map(|peer| format!(" from {peer}")).unwrap_or_default();
        let detail = detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
        let level = match line.outcome {
            Outcome::Done => LogLevel::Info,
            Outcome::Refused | Outcome::Failed | Outcome::LeftOut => LogLevel::Warn,
        };
        let message = format!("{who}{from}: {action}, {}{detail}", line.outcome.as_str());
        logs.append(LogRecord::new(CHANNEL, level, message).of_module("access"));
    }
}

impl Line<'_> {
    /// Whether somebody did this who may act on the bench.
    fn is_of_an_actor(&self) -> bool {
        self.role.is_some_and(|role| role >= Role::Operator)
    }
}

fn source(actor: Option<&Actor>, peer: Option<IpAddr>) -> Source {
    match (actor, peer) {
        (Some(actor), _) => Source::Actor(Arc::clone(&actor.name)),
        (None, Some(peer)) => Source::network(peer),
        (None, None) => Source::Elsewhere,
    }
}

/// Whether the last line has no end, because the disk was full or the power went.
fn ends_within_a_line(path: &Path, bytes: u64) -> io::Result<bool> {
    if bytes == 0 {
        return Ok(false);
    }
    let mut last = [0];
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    file.read_exact_at(&mut last, bytes - 1)?;
    Ok(last != *b"\n")
}

impl Kept {
    fn open(path: PathBuf, limit_bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            // A link that somebody laid there shall not be followed.
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            is_torn: ends_within_a_line(&path, bytes)?,
            path,
            file,
            bytes,
            limit_bytes,
        })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64 + 1;
        if self.bytes > 0
            && self.bytes + length > self.limit_bytes
            && let Err(error) = self.set_aside()
        {
            // A record that is too long is better than one with a hole. It is tried again with each line.
            tracing::error!(
                channel = "app",
                file = %self.path.display(),
                %error,
                "the audit file is full and cannot be set aside; it grows until the folder can be written and a descriptor is free"
            );
        }
        // In one go, so that a line is never cut by another's.
        let end_of_torn = if self.is_torn { "\n" } else { "" };
        let written = self.file.write_all(format!("{end_of_torn}{line}\n").as_bytes());
        // A full disk takes a part of it, which must not become one line with the next.
        self.is_torn = written.is_err();
        written?;
        self.bytes += length + end_of_torn.len() as u64;
        Ok(())
    }

    fn set_aside(&mut self) -> io::Result<()> {
        // Nothing is moved before the next file is there: opening is what fails when descriptors are short.
        let fresh_path = self.path.with_extension("next.jsonl");
        let mut fresh = Self::open(fresh_path.clone(), self.limit_bytes)?;
        match fs::rename(&self.path, self.path.with_extension("1.jsonl")) {
            // Somebody took it away, or the last attempt came only so far.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved?,
        }
        fs::rename(&fresh_path, &self.path)?;
        fresh.path.clone_from(&self.path);
        *self = fresh;
        Ok(())
    }
}

/// A command as the record has it: what was asked of which device, and never with which arguments. They are a client's own words, so neither may
/// push the other out of the line.
pub fn command_action(device: &str, name: &str) -> String {
    const CHARS: usize = 64;
    let cut = |text: &str| text.chars().take(CHARS).collect::<String>();
    format!("command {} {}", cut(device), cut(name))
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::Value;

    use super::*;
    use crate::config::{LogConfig, RedactPattern};

    fn logs() -> LogHandle {
        LogHandle::new(LogConfig {
            redact: RedactPattern::new("hunter\\d").ok(),
            ..LogConfig::silent(100)
        })
    }

    fn record(audit: &Audit, action: &str) {
        let actor = Actor {
            name: "lab".into(),
            role: Role::Operator,
            generation: 1,
            session: None,
        };
        audit.record(&AuditEntry {
            actor: Some(&actor),
            peer: Some("192.0.2.1".parse().unwrap()),
            action,
            outcome: Outcome::Done,
            detail: Some("204"),
        });
    }

    #[test]
    fn a_line_that_was_torn_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        fs::write(&path, r#"{"actor":"lab","peer":"192.0"#).unwrap();
        let audit = Audit::open(folder.path(), logs()).unwrap();
        record(&audit, "first");
        record(&audit, "second");
        let text = fs::read_to_string(&path).unwrap();
        let actions: Vec<_> = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .map(|line| line["action"].clone())
            .collect();
        assert_eq!(actions, ["first", "second"], "{text}");
    }

    #[test]
    fn an_action_is_a_line_of_the_file_and_an_entry_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let logs = logs();
        let audit = Audit::open(folder.path(), logs.clone()).unwrap();
        record(&audit, "PUT /api/v1/message hunter2");
        let path = folder.path().join("audit.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (
                &line["actor"],
                &line["role"],
                &line["peer"],
                &line["outcome"],
                &line["detail"]
            ),
            (
                &json!("lab"),
                &json!("operator"),
                &json!("192.0.2.1"),
                &json!("done"),
                &json!("204")
            )
        );
        assert_eq!(line["action"], "PUT /api/v1/message [redacted]");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let entry = &logs.history(1).entries[0];
        assert_eq!(
            (entry.channel.as_str(), entry.message.as_str()),
            (
                "audit",
                "lab (operator) from 192.0.2.1: PUT /api/v1/message [redacted], done (204)"
            )
        );
    }

    #[test]
    fn two_files_are_kept_and_a_restart_goes_on_with_them() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..5 {
            let audit = Audit::open_bounded(folder.path(), logs(), 2000).unwrap();
            for number in 0..7 {
                record(&audit, &format!("action {round}.{number}"));
            }
        }
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["audit-others.jsonl", "audit.1.jsonl", "audit.jsonl"]);
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let both = read("audit.1.jsonl") + &read("audit.jsonl");
        assert!(read("audit.1.jsonl").len() <= 2000 && read("audit.jsonl").len() <= 2000);
        let actions: Vec<String> = both
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).unwrap()["action"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        let all: Vec<String> = (0..35).map(|n| format!("action {}.{}", n / 7, n % 7)).collect();
        assert!(actions.len() > 10 && all.ends_with(&actions), "{actions:?}");
    }

    #[test]
    fn the_noise_of_those_who_may_not_act_takes_no_line_from_those_who_may() {
        let folder = tempfile::tempdir().unwrap();
        let logs = logs();
        let audit = Audit::open_bounded(folder.path(), logs.clone(), 2000).unwrap();
        record(&audit, "the action");
        let wall = Actor {
            name: "wall".into(),
            role: Role::Viewer,
            generation: 2,
            session: None,
        };
        for actor in [Some(&wall), None] {
            for number in 0..100 {
                audit.record(&AuditEntry {
                    actor,
                    peer: Some("192.0.2.9".parse().unwrap()),
                    action: &format!("attempt {number}"),
                    outcome: Outcome::Refused,
                    detail: None,
                });
            }
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("audit.jsonl").lines().count(), 1);
        assert!(!folder.path().join("audit.1.jsonl").exists());
        assert!(read("audit-others.1.jsonl").contains("attempt"));
        assert_eq!(logs.history(100).entries.len(), 41);
        for _ in 0..100 {
            record(&audit, "another action");
        }
        assert!(read("audit.jsonl").contains("another action"));
        assert!(read("audit-others.jsonl").contains("attempt 19"));
        // Whoever comes and goes is counted apart from what it does.
        assert!(audit.may_tell(Some(&wall), "192.0.2.9".parse().unwrap()));
    }

    #[test]
    fn what_was_left_out_is_said_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let logs = logs();
        let audit = Audit::open(folder.path(), logs.clone()).unwrap();
        assert!(!audit.counts());
        for _ in 0..3 {
            audit.leave_out("192.0.2.9".parse().unwrap());
        }
        assert!(audit.counts());
        audit.settle();
        audit.settle();
        let text = fs::read_to_string(folder.path().join("audit-others.jsonl")).unwrap();
        let line: Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(
            (&line["actor"], &line["peer"], &line["action"], &line["outcome"]),
            (
                &Value::Null,
                &json!("192.0.2.9"),
                &json!("more lines of what it did: 3"),
                &json!("left out")
            )
        );
        assert_eq!(
            logs.history(1).entries[0].message,
            "somebody unknown from 192.0.2.9: more lines of what it did: 3, left out"
        );
    }

    #[test]
    fn a_file_that_cannot_be_set_aside_takes_the_lines_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::open_bounded(folder.path(), logs(), 2000).unwrap();
        let count = |name: &str| {
            let text = fs::read_to_string(folder.path().join(name)).unwrap();
            text.lines().count()
        };
        // What is set aside cannot lie there, nor can the next file be made: as with no descriptor left.
        for obstacle in ["audit.1.jsonl", "audit.next.jsonl"] {
            fs::create_dir_all(folder.path().join(obstacle).join("full")).unwrap();
        }
        for number in 0..40 {
            record(&audit, &format!("action {number}"));
        }
        assert_eq!(count("audit.jsonl"), 40);
        for obstacle in ["audit.1.jsonl", "audit.next.jsonl"] {
            fs::remove_dir_all(folder.path().join(obstacle)).unwrap();
        }
        record(&audit, "action 40");
        assert_eq!((count("audit.1.jsonl"), count("audit.jsonl")), (40, 1));
    }

    #[test]
    fn a_file_that_was_taken_away_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::open_bounded(folder.path(), logs(), 2000).unwrap();
        record(&audit, "action 0");
        let path = folder.path().join("audit.jsonl");
        fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        for number in 1..40 {
            record(&audit, &format!("action {number}"));
        }
        assert!(fs::read_to_string(&path).unwrap().contains("action 39"));
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", folder.path().join("audit.jsonl")).unwrap();
        assert!(Audit::open(folder.path(), logs()).is_err());
    }
}
