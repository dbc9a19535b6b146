//! The router's thread: keys to the disk, commands to their drivers, deadlines.
//!
//! Commands that came while the disk was busy share its next write, so a flood costs few of them. Commands without a key wait behind those
//! with one, so that a device gets its commands in the order in which they were taken.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use autobench_core::commands::{Ending, Ledger, Line};
use autobench_core::driver::{Command, LogLevel};

use super::file::LedgerFile;
use super::{Job, Shared};
use crate::logs::LogRecord;

/// Works until the router is closed and everything is written.
pub(super) fn run(shared: &Shared, mut ledger: Ledger<LedgerFile>) {
    let mut is_writable = true;
    while let Some(jobs) = next_jobs(shared) {
        let mut lines = Vec::new();
        let mut commands = Vec::new();
        let mut is_durable = false;
        for job in jobs {
            match job {
                Job::Write(line) => lines.push(line),
                Job::Send {
                    device,
                    command,
                    line,
                } => {
                    let has_key = line.is_some();
                    is_durable |= has_key;
                    lines.extend(line);
                    commands.push((device, command, has_key));
                }
            }
        }
        let written = write(shared, &mut ledger, &lines, is_durable, &mut is_writable);
        send(shared, commands, &written);
    }
}

/// Waits for something to do. None when the router is closed and nothing is left.
fn next_jobs(shared: &Shared) -> Option<VecDeque<Job>> {
    let mut inner = shared.inner.lock();
    loop {
        let now = shared.clock.now();
        for (device, id, change) in inner.book.expire(now) {
            if let Some(inbox) = inner.inbox(&device) {
                inbox.expire_command(&id, "deadline: it has passed");
            }
            shared.publish(&mut inner, change);
        }
        if !inner.jobs.is_empty() {
            return Some(std::mem::take(&mut inner.jobs));
        }
        if inner.is_closing {
            return None;
        }
        match inner.book.next_deadline_ns() {
            Some(deadline_ns) => {
                let left = Duration::from_nanos(deadline_ns.saturating_sub(shared.clock.monotonic_ns()));
                let _ = shared.work.wait_until(&mut inner, Instant::now() + left);
            }
            None => shared.work.wait(&mut inner),
        }
    }
}

fn write(
    shared: &Shared,
    ledger: &mut Ledger<LedgerFile>,
    lines: &[Line],
    is_durable: bool,
    is_writable: &mut bool,
) -> Result<(), String> {
    let now_ms = shared.clock.now().wall_ms as u64;
    let written = ledger
        .write(lines, is_durable, now_ms)
        .map_err(|error| error.to_string());
    // A full disk is told once, and once more when it is over.
    if written.is_ok() != *is_writable {
        *is_writable = written.is_ok();
        let (level, message) = match &written {
            Ok(()) => (LogLevel::Info, "idempotency keys are written again".to_owned()),
            Err(error) => (
                LogLevel::Error,
                format!("idempotency keys cannot be written, commands with a key fail: {error}"),
            ),
        };
        shared.logs.append(LogRecord::new("app", level, message));
    }
    written
}

/// Gives commands to their drivers, unless they are over by now.
fn send(shared: &Shared, commands: Vec<(Arc<str>, Arc<Command>, bool)>, written: &Result<(), String>) {
    for (device, command, has_key) in commands {
        let mut inner = shared.inner.lock();
        inner.unsent.remove(&command.id);
        if inner
            .book
            .stage(&command.id.0)
            .is_none_or(|(_, stage)| stage.is_final())
        {
            continue;
        }
        let failure = match (written, inner.inbox(&device)) {
            (Err(error), _) if has_key => {
                format!("not-recorded: its key cannot be written to the disk, so it was not sent: {error}")
            }
            (_, None) => "not-sent: the device's driver was stopped".to_owned(),
            (_, Some(inbox)) => match inbox.command(Arc::clone(&command)) {
                Ok(()) => continue,
                Err(busy) => format!("not-sent: {busy}"),
            },
        };
        shared.end(&mut inner, &command.id, Ending::Failed, &failure);
    }
}
