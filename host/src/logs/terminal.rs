//! The log on the terminal: one line per record on standard error, written by a thread of its own.
//!
//! A terminal may stop (a pager, a paused session, a full pipe); a port must not. So lines wait in a queue of [`QUEUE_LINES`], and when it is
//! full further lines are left out and counted, and the count is printed as soon as there is room again.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use autobench_core::driver::LogLevel;
use autobench_core::logs::{Color, LogPolicy, channel_style};

use super::LogRecord;
use crate::config::TerminalConfig;
use crate::metrics::Counter;

/// Lines that may wait for the terminal: a second of a busy bench.
const QUEUE_LINES: usize = 1024;

/// How long the end of the daemon waits for a terminal that does not take its last lines.
const FLUSH_WAIT: Duration = Duration::from_secs(1);

/// How lines look on the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalStyle {
    /// Lowest level that is printed.
    pub level: LogLevel,
    /// For a person, or for a program that reads lines.
    pub form: TerminalForm,
}

/// For whom lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminalForm {
    /// Short time, picture, colours.
    Coloured,
    /// Short time and picture without colours.
    Pretty,
    /// `time level channel tag message`, with nothing that a program stumbles over.
    Plain,
}

impl TerminalStyle {
    /// What is configured, on a standard error that is a terminal or not.
    pub fn new(config: &TerminalConfig, is_terminal: bool) -> Self {
        let is_pretty = config.is_pretty.unwrap_or(is_terminal);
        let form = match (is_pretty, is_terminal && !config.no_color) {
            (false, _) => TerminalForm::Plain,
            (true, false) => TerminalForm::Pretty,
            (true, true) => TerminalForm::Coloured,
        };
        Self {
            level: config.level,
            form,
        }
    }

    /// Whether this process's standard error is a terminal.
    pub fn is_terminal() -> bool {
        std::io::stderr().is_terminal()
    }

    /// One record as one line, without the line's end and without secrets.
    pub fn line(self, record: &LogRecord, ts_ms: u64, policy: &LogPolicy) -> String {
        let style = channel_style(&record.channel);
        let emoji = match &record.emoji {
            Some(emoji) => &*name(emoji, policy),
            None => style.emoji,
        };
        let time = clock(ts_ms);
        let tag = record
            .tag
            .as_ref()
            .map(|tag| format!(" {}", name(tag, policy)))
            .unwrap_or_default();
        let level = record.level.as_str();
        let message = single_line(&policy.presentable(&record.message));
        match self.form {
            TerminalForm::Plain => format!("{time} {level:<5} {}{tag}: {message}", record.channel),
            TerminalForm::Pretty => format!("{time} {emoji} {level:<5} {}{tag}: {message}", record.channel),
            TerminalForm::Coloured => {
                let channel_code = colour_code(style.color);
                let level_code = level_code(record.level);
                format!(
                    "\x1b[2m{time}\x1b[0m {emoji} \x1b[{level_code}m{level:<5}\x1b[0m \x1b[{channel_code}m{}{tag}\x1b[0m: {message}",
                    record.channel
                )
            }
        }
    }
}

/// The terminal's queue and the thread behind it. Dropping it prints what still waits.
#[derive(Debug)]
pub(super) struct Terminal {
    style: TerminalStyle,
    lines: SyncSender<Job>,
    left_out: Arc<AtomicU64>,
    left_out_total: Counter,
}

#[derive(Debug)]
enum Job {
    Line(String),
    /// Answered when every line before it is written.
    Flush(SyncSender<()>),
}

impl Terminal {
    /// Starts the thread that writes to `out`.
    pub fn start(style: TerminalStyle, out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (lines, jobs) = sync_channel(QUEUE_LINES);
        let left_out = Arc::new(AtomicU64::new(0));
        let counter = left_out.clone();
        std::thread::Builder::new()
            .name("terminal-log".into())
            .spawn(move || write_lines(&jobs, &counter, out))?;
        Ok(Self {
            style,
            lines,
            left_out,
            left_out_total: Counter::default(),
        })
    }

    /// Queues a record if its level is wanted.
    pub fn print(&self, record: &LogRecord, ts_ms: u64, policy: &LogPolicy) {
        if record.level < self.style.level {
            return;
        }
        match self
            .lines
            .try_send(Job::Line(self.style.line(record, ts_ms, policy)))
        {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.left_out.fetch_add(1, Ordering::Relaxed);
                self.left_out_total.inc();
            }
        }
    }

    /// Lines that were left out since the start.
    pub fn left_out(&self) -> u64 {
        self.left_out_total.get()
    }

    /// Waits until everything queued so far is written, or until the terminal has had its second.
    pub fn flush(&self) {
        let (done, wait) = mpsc::sync_channel(1);
        if self.lines.try_send(Job::Flush(done)).is_ok() {
            // Either answer means that nothing more can be done: written, or a terminal that takes nothing.
            let _ = wait.recv_timeout(FLUSH_WAIT);
        }
    }
}

fn write_lines(jobs: &Receiver<Job>, left_out: &AtomicU64, mut out: impl Write) {
    for job in jobs {
        // A terminal that is gone takes nothing more, and that is no reason to stop the bench.
        match job {
            Job::Line(line) => {
                let missed = left_out.swap(0, Ordering::Relaxed);
                if missed > 0 {
                    let _ = writeln!(out, "({missed} lines left out: the terminal did not keep up)");
                }
                let _ = writeln!(out, "{line}");
            }
            Job::Flush(done) => {
                let _ = out.flush();
                let _ = done.try_send(());
            }
        }
    }
}

/// Time of day in UTC, with milliseconds, as in the log view of the mirror.
fn clock(ts_ms: u64) -> String {
    let (seconds, ms) = (ts_ms / 1000, ts_ms % 1000);
    format!(
        "{:02}:{:02}:{:02}.{ms:03}",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Bytes from a device may end up in a message: a line end would forge a line, an escape would command the terminal.
fn single_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// A tag or a picture, which may come from outside as well: as presentable as a message, and shorter.
fn name(text: &str, policy: &LogPolicy) -> String {
    const CHARS: usize = 64;
    single_line(&policy.presentable(text))
        .chars()
        .take(CHARS)
        .collect()
}

fn colour_code(colour: Color) -> &'static str {
    match colour {
        Color::Blue => "34",
        Color::Cyan => "36",
        Color::Gray => "90",
        Color::Green => "32",
        Color::Magenta => "35",
        Color::Red => "31",
        Color::White => "37",
        Color::Yellow => "33",
    }
}

fn level_code(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "2",
        LogLevel::Info => "32",
        LogLevel::Warn => "33",
        LogLevel::Error => "31",
        LogLevel::Fatal => "1;31",
    }
}
