//! The record of who did what: lines of JSON in a file of the data folder, and entries of the log's channel `audit`.
//!
//! A line is with the system before the action is answered. The file is the owner's alone and is set aside at [`FILE_BYTES`], so that at most
//! two of that size are there; with the second the oldest lines go. What is recorded names actions and never their content, and the log's
//! redaction applies to it too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use autobench_core::driver::LogLevel;
use autobench_core::wire::iso8601;
use parking_lot::Mutex;
use serde_json::json;

use super::Actor;
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
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
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
    file: Option<Mutex<Kept>>,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    file: File,
    bytes: u64,
    limit_bytes: u64,
}

impl Audit {
    /// A record that keeps nothing.
    pub fn nowhere() -> Self {
        Self {
            inner: Arc::new(Inner {
                logs: None,
                file: None,
            }),
        }
    }

    /// A record in `audit.jsonl` of a folder, and in the log.
    pub fn open(folder: &Path, logs: LogHandle) -> io::Result<Self> {
        Self::open_bounded(folder, logs, FILE_BYTES)
    }

    fn open_bounded(folder: &Path, logs: LogHandle, limit_bytes: u64) -> io::Result<Self> {
        let kept = Kept::open(folder.join("audit.jsonl"), limit_bytes)?;
        Ok(Self {
            inner: Arc::new(Inner {
                logs: Some(logs),
                file: Some(Mutex::new(kept)),
            }),
        })
    }

    /// Records an action. A file that cannot be written is an error in the log, and no reason to leave the bench without a hand.
    pub fn record(&self, entry: &AuditEntry<'_>) {
        let Some(logs) = &self.inner.logs else {
            return;
        };
        let (action, detail) = (shortened(entry.action), entry.detail.map(shortened));
        if let Some(file) = &self.inner.file {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let line = json!({
                "at": iso8601(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)),
                "actor": entry.actor.map(|actor| &*actor.name),
                "role": entry.actor.map(|actor| actor.role),
                "peer": entry.peer,
                "action": logs.presentable(action),
                "outcome": entry.outcome.as_str(),
                "detail": detail.map(|detail| logs.presentable(detail)),
            });
            if let Err(error) = file.lock().write(&line.to_string()) {
                tracing::error!(channel = "app", %error, "an action could not be recorded in the audit file");
            }
        }
        let who = match entry.actor {
            Some(actor) => format!("{} ({})", actor.name, actor.role),
            None => "somebody unknown".to_owned(),
        };
        let from = entry.peer.map(|peer| format!(" from {peer}")).unwrap_or_default();
        let detail = detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
        let level = match entry.outcome {
            Outcome::Done => LogLevel::Info,
            Outcome::Refused | Outcome::Failed => LogLevel::Warn,
        };
        let message = format!("{who}{from}: {action}, {}{detail}", entry.outcome.as_str());
        logs.append(LogRecord::new(CHANNEL, level, message).of_module("access"));
    }
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
            path,
            file,
            bytes,
            limit_bytes,
        })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64 + 1;
        if self.bytes > 0 && self.bytes + length > self.limit_bytes {
            self.set_aside()?;
        }
        // In one go, so that a line is never cut by another's.
        self.file.write_all(format!("{line}\n").as_bytes())?;
        self.bytes += length;
        Ok(())
    }

    fn set_aside(&mut self) -> io::Result<()> {
        fs::rename(&self.path, self.path.with_file_name("audit.1.jsonl"))?;
        *self = Self::open(self.path.clone(), self.limit_bytes)?;
        Ok(())
    }
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use autobench_core::access::Role;
    use serde_json::Value;

    use super::*;
    use crate::config::{LogConfig, RedactPattern, TerminalConfig};

    fn logs() -> LogHandle {
        LogHandle::new(LogConfig {
            capacity: 100,
            allowed_channels: Vec::new(),
            min_level: LogLevel::Debug,
            redact: RedactPattern::new("hunter\\d").ok(),
            heartbeat: false,
            terminal: TerminalConfig {
                level: LogLevel::Fatal,
                is_pretty: None,
                no_color: true,
            },
        })
    }

    fn record(audit: &Audit, action: &str) {
        let actor = Actor {
            name: "lab".into(),
            role: Role::Operator,
            generation: 1,
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
        assert_eq!(names, ["audit.1.jsonl", "audit.jsonl"]);
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
    fn a_link_in_its_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", folder.path().join("audit.jsonl")).unwrap();
        assert!(Audit::open(folder.path(), logs()).is_err());
    }
}
