//! The laws of the ring: what is numbered, kept, and read back.

use proptest::prelude::*;

use super::*;
use crate::testing::config;
use crate::wire::{LogEntry, ServerMessage};

fn record<'a>(channel: &'a str, level: LogLevel, message: &'a str) -> LogRecord<'a> {
    LogRecord {
        ts_ms: 1,
        channel,
        level,
        message,
        tag: None,
        module: None,
        emoji: None,
        color: None,
    }
}

fn read(entry: &Entry) -> LogEntry {
    serde_json::from_slice(entry.json()).unwrap()
}

#[test]
fn an_entry_is_what_its_type_says() {
    let mut ring = LogRing::new(LogPolicy::default(), 10, 10_000);
    let full = LogRecord {
        ts_ms: 1_767_225_600_000,
        tag: Some("meter"),
        module: Some("serial"),
        ..record("device:meter", LogLevel::Warn, "a \"quoted\"\nline")
    };
    assert_eq!(ring.append(&full), Some(1));
    let other = LogRecord {
        emoji: Some("*"),
        color: Some(Color::Red),
        ..record("app", LogLevel::Info, "")
    };
    assert_eq!(ring.append(&other), Some(2));
    let range = ring.since(0, usize::MAX);
    for entry in &range.entries {
        assert_eq!(
            serde_json::to_vec(&read(entry)).unwrap(),
            &entry.json()[..],
            "the same text in both ways"
        );
    }
    let entry = read(&range.entries[0]);
    assert_eq!(
        (entry.seq, entry.level, entry.color),
        (1, LogLevel::Warn, Color::Green)
    );
    assert_eq!(
        (entry.message.as_str(), entry.tag.as_deref()),
        ("a \"quoted\"\nline", Some("meter"))
    );
    assert_eq!(read(&range.entries[1]).color, Color::Red);
    let mut frame = Vec::new();
    range.write(&mut frame, LogsFrame::History);
    let ServerMessage::LogsHistory(message) = serde_json::from_slice(&frame).unwrap() else {
        panic!("no history")
    };
    assert_eq!(
        (message.from_seq, message.to_seq, message.entries.len()),
        (1, 2, 2)
    );
}

#[test]
fn what_a_filter_looks_at_is_what_the_json_says() {
    let texts = ["", "plain", "a \"quoted\"\nline\\", "Ä\u{1}é", "\\"];
    let mut ring = LogRing::new(LogPolicy::default(), 1000, 1 << 20);
    for text in texts {
        for other in texts {
            ring.append(&LogRecord {
                tag: Some(other),
                module: Some(text),
                ..record(other, LogLevel::Error, text)
            });
        }
    }
    ring.append(&record("app", LogLevel::Debug, ""));
    let range = ring.since(0, usize::MAX);
    assert_eq!(range.entries.len(), texts.len() * texts.len() + 1);
    for entry in &range.entries {
        let json = read(entry);
        assert_eq!(
            (entry.level(), &*entry.channel(), &*entry.message()),
            (json.level, &*json.channel, &*json.message)
        );
        assert_eq!(entry.tag().as_deref(), json.tag.as_deref());
        assert_eq!(entry.module().as_deref(), json.module.as_deref());
    }
}

#[test]
fn a_piece_is_bounded_in_bytes_and_holds_one_entry_at_least() {
    let mut ring = LogRing::new(LogPolicy::default(), 100, 1 << 20);
    for _ in 0..10 {
        ring.append(&record("app", LogLevel::Info, &"m".repeat(900)));
    }
    let one = ring.piece(0, usize::MAX, 10);
    assert_eq!((one.from_seq, one.to_seq, one.entries.len()), (1, 1, 1));
    let some = ring.piece(2, usize::MAX, 4_500);
    assert_eq!((some.from_seq, some.to_seq, some.entries.len()), (3, 6, 4));
    assert_eq!(ring.piece(2, 3, 4_500).entries.len(), 3);
    assert_eq!(ring.piece(0, usize::MAX, usize::MAX), ring.since(0, usize::MAX));
}

#[test]
fn what_is_not_admitted_takes_no_number() {
    let policy = LogPolicy {
        allowed_channels: vec!["app".into()],
        min_level: LogLevel::Info,
        redact: None,
    };
    let mut ring = LogRing::new(policy, 10, 10_000);
    assert_eq!(ring.append(&record("app", LogLevel::Info, "")), Some(1));
    assert_eq!(ring.append(&record("app", LogLevel::Debug, "")), None);
    assert_eq!(ring.append(&record("device", LogLevel::Fatal, "")), None);
    assert_eq!(ring.append(&record("app:x", LogLevel::Warn, "")), Some(2));
}

#[test]
fn an_empty_ring_answers_with_an_empty_range() {
    let ring = LogRing::new(LogPolicy::default(), 10, 10_000);
    let empty = Range {
        from_seq: 1,
        to_seq: 0,
        missed: None,
        entries: Vec::new(),
    };
    assert!(empty.is_empty());
    assert_eq!(ring.history(5), empty);
    assert_eq!(ring.since(0, 5), empty);
    assert_eq!(ring.since(u64::MAX, 5), empty, "a number from another run");
}

#[test]
fn history_is_the_newest_and_misses_nothing() {
    let mut ring = LogRing::new(LogPolicy::default(), 3, 10_000);
    for _ in 0..5 {
        ring.append(&record("app", LogLevel::Info, "m"));
    }
    let range = ring.history(2);
    assert_eq!((range.from_seq, range.to_seq, range.missed), (4, 5, None));
    assert_eq!(ring.history(100).entries.len(), 3);
    assert_eq!(ring.history(0).entries.len(), 0);
    assert_eq!(
        ring.metadata(),
        LogsEntry {
            next_seq: 6,
            capacity: 3,
            size: 3,
            head: 2
        }
    );
}

#[test]
fn a_replay_from_before_the_ring_names_what_is_lost() {
    let mut ring = LogRing::new(LogPolicy::default(), 3, 10_000);
    for _ in 0..10 {
        ring.append(&record("app", LogLevel::Info, "m"));
    }
    let range = ring.since(2, usize::MAX);
    assert_eq!((range.from_seq, range.to_seq), (3, 10));
    assert_eq!(
        range.missed,
        Some(LogSpan {
            from_seq: 3,
            to_seq: 7
        })
    );
    assert_eq!(range.entries.len(), 3);
}

#[test]
fn overlong_names_cannot_make_an_entry_without_bound() {
    let mut ring = LogRing::new(LogPolicy::default(), 3, 10_000);
    let long = "é".repeat(100_000);
    ring.append(&LogRecord {
        tag: Some(&long),
        module: Some(&long),
        emoji: Some(&long),
        ..record(&long, LogLevel::Info, &long)
    });
    assert!(ring.size_bytes() < 10_000, "{}", ring.size_bytes());
}

#[test]
fn a_range_that_is_cut_is_what_it_would_have_been_then() {
    let mut ring = LogRing::new(LogPolicy::default(), 3, 10_000);
    for _ in 0..10 {
        ring.append(&record("app", LogLevel::Info, "m"));
    }
    // Missed are 3 to 7, there are 8 to 10.
    for (last, entries, missed_to) in [
        (12, 3, Some(7)),
        (9, 2, Some(7)),
        (7, 0, Some(7)),
        (4, 0, Some(4)),
        (2, 0, None),
    ] {
        let mut range = ring.since(2, usize::MAX);
        range.cut_to(last);
        assert_eq!((range.from_seq, range.to_seq), (3, last.min(10)));
        assert_eq!(range.entries.len(), entries, "cut to {last}");
        assert_eq!(range.missed.map(|span| span.to_seq), missed_to, "cut to {last}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append {
        channel: &'static str,
        level: LogLevel,
        length: usize,
    },
    Read {
        reader: usize,
        max_entries: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (prop::sample::select(vec!["app", "device:meter", "mouse"]), prop::sample::select(LogLevel::ALL.to_vec()), 0_usize..300)
            .prop_map(|(channel, level, length)| Step::Append { channel, level, length }),
        1 => (0_usize..2, 0_usize..20).prop_map(|(reader, max_entries)| Step::Read { reader, max_entries }),
    ]
}

#[test]
fn a_reader_sees_each_number_once_or_is_told_that_it_missed_it() {
    let law = |(capacity, capacity_bytes, steps): (usize, usize, Vec<Step>)| {
        let policy = LogPolicy {
            allowed_channels: vec!["app".into(), "device".into()],
            min_level: LogLevel::Info,
            redact: None,
        };
        let mut ring = LogRing::new(policy, capacity, capacity_bytes);
        let mut logged = Vec::new();
        // Per reader, what became of each number so far: the message, or nothing where it was missed.
        let mut seen: [Vec<Option<String>>; 2] = Default::default();
        let read_range = |ring: &LogRing, seen: &mut Vec<Option<String>>, max_entries| {
            let range = ring.since(seen.len() as u64, max_entries);
            assert_eq!(range.from_seq, seen.len() as u64 + 1);
            if let Some(missed) = range.missed {
                assert_eq!(missed.from_seq, range.from_seq);
                assert!(missed.to_seq >= missed.from_seq);
                seen.resize(missed.to_seq as usize, None);
            }
            assert!(range.entries.len() <= max_entries);
            for entry in &range.entries {
                let entry = read(entry);
                assert_eq!(entry.seq, seen.len() as u64 + 1);
                seen.push(Some(entry.message));
            }
            assert_eq!(range.to_seq, seen.len() as u64);
        };
        for step in steps {
            match step {
                Step::Append {
                    channel,
                    level,
                    length,
                } => {
                    let message = format!("{}{}", logged.len(), "x".repeat(length));
                    let admitted = channel != "mouse" && level != LogLevel::Debug;
                    let seq = ring.append(&record(channel, level, &message));
                    assert_eq!(seq, admitted.then_some(logged.len() as u64 + 1));
                    if admitted {
                        logged.push(message);
                    }
                }
                Step::Read { reader, max_entries } => read_range(&ring, &mut seen[reader], max_entries),
            }
            let size = ring.metadata().size as usize;
            assert!(size <= capacity);
            assert!(ring.size_bytes() <= capacity_bytes || size == 1);
            assert_eq!(ring.next_seq(), logged.len() as u64 + 1);
            let kept = ring.history(usize::MAX);
            assert_eq!(
                kept.entries.iter().map(|entry| entry.json().len()).sum::<usize>(),
                ring.size_bytes()
            );
        }
        for seen in &mut seen {
            read_range(&ring, seen, usize::MAX);
            assert_eq!(seen.len(), logged.len());
            for (seen, logged) in seen.iter().zip(&logged) {
                assert!(seen.as_ref().is_none_or(|seen| seen == logged));
            }
        }
    };
    let steps = prop::collection::vec(step(), 0..120);
    proptest!(config(200, 20_000), |(capacity in 1_usize..12, capacity_bytes in 0_usize..3000, steps in steps)| {
        law((capacity, capacity_bytes, steps));
    });
}
