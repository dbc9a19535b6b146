use std::sync::mpsc;

use autobench_core::driver::{LogLevel, LogLine};
use autobench_core::wire::LogSpan;
use parking_lot::Mutex;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::config::{RedactPattern, TerminalConfig};

fn config() -> LogConfig {
    LogConfig {
        terminal: TerminalConfig {
            level: LogLevel::Info,
            is_pretty: None,
            no_color: false,
        },
        ..LogConfig::silent(3)
    }
}

fn info(message: &str) -> LogRecord {
    LogRecord::new("app", LogLevel::Info, message)
}

fn messages(range: &LogRange) -> Vec<&str> {
    range.entries.iter().map(|entry| entry.message.as_str()).collect()
}

// --- the ring ---

#[test]
fn entries_are_numbered_from_one_without_gaps() {
    let logs = LogHandle::new(config());
    let clone = logs.clone();
    assert_eq!(logs.append(info("a")), Some(1));
    assert_eq!(clone.append(info("b")), Some(2));
    let range = logs.since(0);
    assert_eq!((range.from_seq, range.to_seq, range.missed), (1, 2, None));
    assert_eq!(messages(&range), ["a", "b"]);
    assert_eq!(
        range.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn a_reader_that_is_too_late_is_told_what_it_missed() {
    let logs = LogHandle::new(config());
    for message in ["a", "b", "c", "d", "e"] {
        logs.append(info(message));
    }
    let range = logs.since(1);
    assert_eq!((range.from_seq, range.to_seq), (2, 5));
    assert_eq!(
        range.missed,
        Some(LogSpan {
            from_seq: 2,
            to_seq: 2
        })
    );
    assert_eq!(messages(&range), ["c", "d", "e"]);
    assert_eq!(logs.since(2).missed, None);
}

#[test]
fn a_reader_that_has_everything_gets_an_empty_range() {
    let logs = LogHandle::new(config());
    logs.append(info("a"));
    for seq in [1, 2, u64::MAX] {
        let range = logs.since(seq);
        assert_eq!(
            (range.from_seq, range.to_seq, range.entries.len()),
            (2, 1, 0),
            "{seq}"
        );
    }
    let empty = LogHandle::new(config()).history(10);
    assert_eq!((empty.from_seq, empty.to_seq, empty.missed), (1, 0, None));
}

#[test]
fn the_history_is_the_newest_entries() {
    let logs = LogHandle::new(config());
    for message in ["a", "b", "c", "d"] {
        logs.append(info(message));
    }
    assert_eq!(messages(&logs.history(2)), ["c", "d"]);
    assert_eq!(messages(&logs.history(99)), ["b", "c", "d"]);
    assert_eq!(logs.history(99).missed, None);
    assert_eq!(messages(&logs.history(0)), [""; 0]);
}

#[test]
fn what_is_encoded_is_what_is_decoded() {
    let logs = LogHandle::new(config());
    logs.append(info("a").of_device("meter").of_module("driver"));
    let encoded = logs.encoded_since(0, 10);
    assert_eq!(encoded.entries.len(), 1);
    assert_eq!(
        serde_json::from_slice::<LogEntry>(encoded.entries[0].json()).unwrap(),
        logs.since(0).entries[0]
    );
}

#[test]
fn metadata_counts_what_the_ring_holds() {
    let logs = LogHandle::new(config());
    for _ in 0..4 {
        logs.append(info("x"));
    }
    let metadata = logs.metadata();
    assert_eq!(
        (metadata.next_seq, metadata.capacity, metadata.size, metadata.head),
        (5, 3, 3, 1)
    );
}

#[test]
fn what_is_kept_out_leaves_no_gap() {
    let logs = LogHandle::new(LogConfig {
        allowed_channels: vec!["device".into()],
        min_level: LogLevel::Warn,
        ..config()
    });
    assert_eq!(
        logs.append(LogRecord::new("device:meter", LogLevel::Warn, "a")),
        Some(1)
    );
    assert_eq!(logs.append(LogRecord::new("device", LogLevel::Info, "b")), None);
    assert_eq!(logs.append(LogRecord::new("app", LogLevel::Fatal, "c")), None);
    assert_eq!(
        logs.append(LogRecord::new("device", LogLevel::Fatal, "d")),
        Some(2)
    );
}

#[tokio::test]
async fn whoever_waits_wakes_up_with_the_next_number() {
    let logs = LogHandle::new(config());
    let mut changes = logs.changes();
    assert_eq!(*changes.borrow_and_update(), 1);
    let writer = logs.clone();
    let writing = std::thread::spawn(move || {
        writer.append(info("a"));
        writer.append(info("b"));
    });
    changes.wait_for(|next| *next == 3).await.unwrap();
    writing.join().unwrap();
    assert!(!changes.has_changed().unwrap());
}

#[test]
fn numbers_that_readers_see_never_go_back() {
    let logs = LogHandle::new(LogConfig {
        capacity: 1000,
        ..config()
    });
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let logs = logs.clone();
            std::thread::spawn(move || {
                (0..500)
                    .map(|_| logs.append(info("x")).unwrap())
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let changes = logs.changes();
    let mut seen = 1;
    while seen < 2001 {
        let now = *changes.borrow();
        assert!(now >= seen, "{now} after {seen}");
        seen = now;
    }
    let mut numbers: Vec<u64> = writers
        .into_iter()
        .flat_map(|writer| writer.join().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=2000).collect::<Vec<_>>());
}

// --- redaction and terminal ---

/// A terminal that tells what was written.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Screen {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

fn on_screen(config: LogConfig, form: TerminalForm) -> (LogHandle, Screen) {
    let screen = Screen::default();
    let style = TerminalStyle {
        level: config.terminal.level,
        form,
    };
    (
        LogHandle::with_terminal_on(config, style, screen.clone()).unwrap(),
        screen,
    )
}

#[test]
fn a_secret_reaches_neither_the_ring_nor_the_terminal() {
    let redact = Some(RedactPattern::new(r"token=\S+").unwrap());
    let (logs, screen) = on_screen(LogConfig { redact, ..config() }, TerminalForm::Plain);
    logs.append(info("open with token=hunter2 now"));
    logs.append(info(&format!("{} token=hunter2", "x".repeat(8 * 1024 - 10))));
    logs.flush_terminal();
    let range = logs.since(0);
    assert_eq!(messages(&range)[0], "open with [redacted] now");
    assert!(!format!("{range:?}").contains("hunter"));
    assert!(screen.text().contains("open with [redacted] now"));
    assert!(!screen.text().contains("hunter"));
}

#[test]
fn the_terminal_prints_its_own_levels_and_is_not_filtered_by_channels() {
    let config = LogConfig {
        allowed_channels: vec!["device".into()],
        ..config()
    };
    let (logs, screen) = on_screen(config, TerminalForm::Plain);
    logs.append_at(&LogRecord::new("app", LogLevel::Debug, "not printed"), 0);
    logs.append_at(
        &LogRecord::new("app", LogLevel::Info, "printed").of_device("meter"),
        86_399_999,
    );
    logs.flush_terminal();
    assert_eq!(screen.text(), "23:59:59.999 info  app meter: printed\n");
    assert_eq!(logs.metadata().size, 0);
}

#[test]
fn what_a_device_sent_cannot_command_the_terminal() {
    for form in [TerminalForm::Plain, TerminalForm::Pretty] {
        let (logs, screen) = on_screen(config(), form);
        logs.append(info("one\ntwo\u{1b}[2J\u{9b}"));
        logs.flush_terminal();
        let text = screen.text();
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(text.contains("one\\ntwo\\u{1b}[2J\\u{9b}"), "{text:?}");
    }
}

#[test]
fn tag_picture_and_module_are_cleaned_cut_and_redacted_like_the_text() {
    let secret = || LogConfig {
        redact: RedactPattern::new("hunter\\d").ok(),
        ..config()
    };
    let record = |text: &str| LogRecord {
        tag: Some(text.to_owned()),
        module: Some(text.to_owned()),
        emoji: Some(text.to_owned()),
        ..info("x")
    };
    for form in [TerminalForm::Plain, TerminalForm::Pretty, TerminalForm::Coloured] {
        let (logs, screen) = on_screen(secret(), form);
        logs.append(record(&format!(
            "a\nb\u{1b}]0;\u{9b} hunter2 {}",
            "y".repeat(1000)
        )));
        logs.flush_terminal();
        let text = screen.text();
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(text.contains("a\\nb\\u{1b}]0;\\u{9b}"), "{text:?}");
        assert!(!text.contains("hunter2"), "{text:?}");
        assert!(text.chars().count() < 300, "{text:?}");
    }
    // What the file and the clients have is the ring's entry.
    let logs = LogHandle::new(secret());
    logs.append(record("hunter2"));
    let entry = serde_json::to_string(&logs.history(1).entries).unwrap();
    assert!(!entry.contains("hunter2"), "{entry}");
}

#[test]
fn the_three_forms_differ_in_pictures_and_colours() {
    let style = |form| TerminalStyle {
        level: LogLevel::Info,
        form,
    };
    let record = LogRecord::new("device", LogLevel::Warn, "gone").of_device("meter");
    let line = |form| style(form).line(&record, 1000, &LogPolicy::default());
    assert_eq!(line(TerminalForm::Plain), "00:00:01.000 warn  device meter: gone");
    assert_eq!(
        line(TerminalForm::Pretty),
        "00:00:01.000 🔌 warn  device meter: gone"
    );
    assert!(line(TerminalForm::Coloured).contains("\u{1b}[33mwarn"));
}

#[test]
fn colours_need_a_terminal_and_nobody_who_objects() {
    let form = |is_pretty, no_color, is_terminal| {
        let config = TerminalConfig {
            level: LogLevel::Info,
            is_pretty,
            no_color,
        };
        TerminalStyle::new(&config, is_terminal).form
    };
    assert_eq!(form(None, false, true), TerminalForm::Coloured);
    assert_eq!(form(None, true, true), TerminalForm::Pretty);
    assert_eq!(form(None, false, false), TerminalForm::Plain);
    assert_eq!(form(Some(true), false, false), TerminalForm::Pretty);
    assert_eq!(form(Some(false), false, true), TerminalForm::Plain);
}

/// A terminal that takes nothing until it is let.
struct Stuck(mpsc::Receiver<()>, Screen);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // Once whoever holds the other end is gone, everything is taken.
        let _ = self.0.recv();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_terminal_that_stops_holds_nobody_up_and_says_what_it_left_out() {
    let (let_go, stuck) = mpsc::channel();
    let screen = Screen::default();
    let style = TerminalStyle {
        level: LogLevel::Info,
        form: TerminalForm::Plain,
    };
    let logs = LogHandle::with_terminal_on(config(), style, Stuck(stuck, screen.clone())).unwrap();
    for _ in 0..2000 {
        logs.append(info("x"));
    }
    assert_eq!(logs.metadata().next_seq, 2001);
    drop(let_go);
    // The queue has room again once the terminal takes something; only then can the end be queued behind it.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while screen.text().lines().count() < 1024 {
        assert!(
            std::time::Instant::now() < deadline,
            "{}",
            screen.text().lines().count()
        );
        std::thread::yield_now();
    }
    logs.append(info("the last"));
    logs.flush_terminal();
    let text = screen.text();
    assert!(
        text.contains("lines left out: the terminal did not keep up)"),
        "{text}"
    );
    assert!(text.ends_with("app: the last\n"), "{text}");
    let printed = text.lines().filter(|line| line.ends_with("app: x")).count();
    let left_out: usize = text
        .lines()
        .filter_map(|line| line.strip_prefix('(')?.split(' ').next()?.parse::<usize>().ok())
        .sum();
    assert_eq!(printed + left_out, 2000);
}

// --- tracing ---

/// What is logged while `events` runs.
fn traced(events: impl FnOnce()) -> Vec<LogEntry> {
    let logs = LogHandle::new(LogConfig {
        capacity: 100,
        ..config()
    });
    let subscriber = tracing_subscriber::registry().with(LogLayer::new(logs.clone()));
    tracing::subscriber::with_default(subscriber, events);
    logs.since(0).entries
}

#[test]
fn an_event_becomes_a_record_of_its_channel_device_and_level() {
    let entries = traced(|| {
        tracing::info!(channel = "device", tag = "meter", "streaming");
        tracing::warn!(target: "autobench::serial::port", "slow");
        tracing::error!(target: "autobench::hub", "lost");
        tracing::error!(target: "autobench::http::ws", fatal = true, "over");
        tracing::debug!(target: "autobench::app", "x");
        tracing::trace!(target: "hyper::proto", "y");
    });
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| {
            let module = entry.module.as_deref().unwrap_or_default();
            (
                entry.channel.as_str(),
                entry.level,
                entry.tag.as_deref(),
                module,
                entry.message.as_str(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (
                "device",
                LogLevel::Info,
                Some("meter"),
                "logs::tests",
                "streaming"
            ),
            ("device", LogLevel::Warn, None, "serial::port", "slow"),
            ("websocket", LogLevel::Error, None, "hub", "lost"),
            ("request", LogLevel::Fatal, None, "http::ws", "over"),
            ("app", LogLevel::Debug, None, "app", "x"),
            ("app", LogLevel::Debug, None, "hyper::proto", "y"),
        ]
    );
}

#[test]
fn other_fields_go_behind_the_message() {
    let error = std::io::Error::new(std::io::ErrorKind::NotFound, "no such port");
    let entries = traced(|| {
        tracing::info!(path = "/dev/x y", bytes = 5, is_open = true, ok = ?Some(1), "opened");
        tracing::info!(error = &error as &dyn std::error::Error, "failed");
        tracing::info!(answer = 42);
        tracing::info!(module = "supervisor", tag = %"meter", "{} {}", "a", "b");
    });
    let messages: Vec<_> = entries.iter().map(|entry| entry.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "opened path=\"/dev/x y\" bytes=5 is_open=true ok=Some(1)",
            "failed error=\"no such port\"",
            "answer=42",
            "a b"
        ]
    );
    assert_eq!(entries[3].module.as_deref(), Some("supervisor"));
    assert_eq!(entries[3].tag.as_deref(), Some("meter"));
}

/// A value that logs when it is written.
struct Chatty;

impl std::fmt::Debug for Chatty {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        tracing::info!("from within");
        formatter.write_str("chatty")
    }
}

#[test]
fn an_event_from_within_the_logger_is_not_logged_for_ever() {
    let entries = traced(|| {
        tracing::info!(value = ?Chatty, "one");
        tracing::info!("two");
    });
    let messages: Vec<_> = entries.iter().map(|entry| entry.message.as_str()).collect();
    assert_eq!(messages, ["one value=chatty", "two"]);
}

#[test]
fn a_drivers_line_carries_its_device_and_its_attributes() {
    let line = LogLine {
        level: LogLevel::Warn,
        message: "bad row".into(),
        attributes: vec![("row".into(), "17".into()), ("text".into(), "#d,\"".into())],
    };
    let record = LogRecord::of_driver("meter", &line);
    assert_eq!(record.channel, "device");
    assert_eq!(record.tag.as_deref(), Some("meter"));
    assert_eq!(record.message, "bad row row=17 text=\"#d,\\\"\"");
}
