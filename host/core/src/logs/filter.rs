//! Log entries for one client that wants only some of them, or lies so far back that it reads them where they are kept.
//!
//! What is filtered out still counts as covered: the ranges of a filtered client follow one another without a gap, as everybody's do, and only
//! `missed` says that something was lost.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use ts_rs::TS;

use super::{Entry, Range};
use crate::driver::LogLevel;
use crate::wire::OneOrMany;
use crate::wire::encode::{self, LogsFrame};

/// Entries that were filtered out one after the other, after which the client is told that they are covered. So what it would ask for after a
/// short absence stays small.
const QUIET_ENTRIES: u64 = 256;

/// Which entries a client wants: those that pass each condition. A condition that is absent lets everything pass; an empty list nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, TS, JsonSchema)]
#[ts(optional_fields)]
pub struct LogFilter {
    /// One of these levels.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(type = "LogLevel | Array<LogLevel>", optional)]
    pub level: Option<OneOrMany<LogLevel>>,
    /// One of these channels; `device` also stands for `device:meter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(type = "string | Array<string>", optional)]
    pub channel: Option<OneOrMany<String>>,
    /// One of these tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(type = "string | Array<string>", optional)]
    pub tag: Option<OneOrMany<String>>,
    /// One of these modules; `hub` also stands for `hub::client`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(type = "string | Array<string>", optional)]
    pub module: Option<OneOrMany<String>>,
    /// One of these texts is part of the message, in capitals or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(type = "string | Array<string>", optional)]
    pub text: Option<OneOrMany<String>>,
}

impl LogFilter {
    /// Whether it lets everything pass.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an entry passes.
    pub fn passes(&self, entry: &Entry) -> bool {
        let has_level = |levels: &OneOrMany<LogLevel>| levels.0.contains(&entry.level());
        self.level.as_ref().is_none_or(has_level)
            && is_one(self.channel.as_ref(), ":", || Some(entry.channel()))
            && is_one(self.tag.as_ref(), "", || entry.tag())
            && is_one(self.module.as_ref(), "::", || entry.module())
            && self.text.as_ref().is_none_or(|texts| {
                let message = entry.message().to_lowercase();
                texts.0.iter().any(|text| message.contains(&text.to_lowercase()))
            })
    }
}

/// Whether a name is among the wanted ones, or nothing is said about it. It is looked at only if something is.
fn is_one<'e>(
    wanted: Option<&OneOrMany<String>>,
    separator: &str,
    found: impl FnOnce() -> Option<Cow<'e, str>>,
) -> bool {
    wanted.is_none_or(|wanted| {
        let mut wanted = wanted.0.iter();
        found().is_some_and(|found| wanted.any(|wanted| is_or_is_within(&found, wanted, separator)))
    })
}

/// Whether a name is the wanted one, or a finer division of it behind the separator, if there is one.
fn is_or_is_within(found: &str, wanted: &str, separator: &str) -> bool {
    found
        .strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || (!separator.is_empty() && rest.starts_with(separator)))
}

/// How far a client is that reads entries where they are kept: what it was told, and what was looked at for it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogReader {
    filter: Arc<LogFilter>,
    /// The next range begins behind this number.
    told: u64,
    /// Entries up to here were looked at.
    scanned: u64,
    /// A range is owed even if nothing passes, and under which name.
    owed: Option<LogsFrame>,
    /// False while it is not known yet where the client is.
    is_placed: bool,
}

impl LogReader {
    /// A client that has everything up to a number.
    pub fn after(filter: LogFilter, seq: u64) -> Self {
        Self {
            filter: Arc::new(filter),
            told: seq,
            scanned: seq,
            owed: None,
            is_placed: true,
        }
    }

    /// A client whose first range is still on its way; [`Self::restart`] says where it begins.
    pub fn waiting(filter: LogFilter) -> Self {
        Self {
            is_placed: false,
            ..Self::after(filter, 0)
        }
    }

    /// The filter.
    pub fn filter(&self) -> &LogFilter {
        &self.filter
    }

    /// Whether everything passes: such a client can go on with everybody else as soon as it has caught up.
    pub fn is_open(&self) -> bool {
        self.filter.is_open()
    }

    /// Another filter, from here on. Without any the client goes on behind what it was told of, and gets what was passed over since.
    pub fn refilter(&mut self, filter: LogFilter) {
        self.filter = Arc::new(filter);
        if self.is_open() {
            self.scanned = self.told;
        }
    }

    /// The last number that the client was told of; none while that is not known.
    pub fn told(&self) -> Option<u64> {
        self.is_placed.then_some(self.told)
    }

    /// The number behind which it goes on; none while that is not known.
    pub fn next(&self) -> Option<u64> {
        self.is_placed.then_some(self.scanned)
    }

    /// Goes on behind a number, and says so in a `logs.history` in any case.
    pub fn restart(&mut self, seq: u64) {
        self.told = seq;
        self.scanned = seq;
        self.owed = Some(LogsFrame::History);
        self.is_placed = true;
    }

    /// Whether the client is owed a range although there may be no news.
    pub fn is_owed(&self) -> bool {
        self.owed.is_some()
    }

    /// Takes the entries behind [`Self::next`], and appends a message to the buffer if there is something to say. False if there is not.
    pub fn take(&mut self, range: &Range, out: &mut Vec<u8>) -> bool {
        self.scanned = self.scanned.max(range.to_seq);
        let passing: Vec<&[u8]> = range
            .entries
            .iter()
            .filter(|entry| self.filter.passes(entry))
            .map(|entry| &entry.json()[..])
            .collect();
        let is_quiet =
            passing.is_empty() && range.missed.is_none() && self.scanned - self.told < QUIET_ENTRIES;
        if is_quiet && self.owed.is_none() {
            return false;
        }
        let frame = self.owed.take().unwrap_or(LogsFrame::Append);
        // What was looked at before this range is covered as well.
        encode::logs(out, frame, self.told + 1, self.scanned, range.missed, passing);
        self.told = self.scanned;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::logs::{LogPolicy, LogRecord, LogRing};
    use crate::testing::config;
    use crate::wire::{ClientFrame, ClientMessage, LogEntry, ServerMessage};

    fn filter(json: &str) -> LogFilter {
        let text = format!(r#"{{"type":"subscribe_logs","filters":{json}}}"#);
        match ClientFrame::parse(text.as_bytes()).unwrap().message {
            ClientMessage::SubscribeLogs { filters } => filters,
            other => panic!("{other:?}"),
        }
    }

    /// An entry as the ring has it.
    fn entry(record: &LogRecord<'_>) -> Entry {
        let mut ring = LogRing::new(LogPolicy::default(), 1, 1 << 20);
        ring.append(record);
        ring.newest().unwrap().clone()
    }

    #[test]
    fn each_condition_has_to_hold_and_one_of_its_values_is_enough() {
        let record = LogRecord {
            ts_ms: 1,
            channel: "device:meter",
            level: LogLevel::Info,
            message: "Reads \"EC\" Ä",
            tag: Some("FlowExecutor"),
            module: Some("sensor::ec"),
            emoji: None,
            color: None,
        };
        let read = entry(&record);
        for (json, passes) in [
            ("{}", true),
            (
                r#"{"level":["info","error"],"tag":"FlowExecutor","module":"sensor"}"#,
                true,
            ),
            (r#"{"level":["warn","error"]}"#, false),
            (r#"{"level":"info"}"#, true),
            (r#"{"level":[]}"#, false),
            (r#"{"channel":"device"}"#, true),
            (r#"{"channel":"device:meter"}"#, true),
            (r#"{"channel":"dev"}"#, false),
            (r#"{"channel":["app","device"]}"#, true),
            (r#"{"tag":"Flow"}"#, false),
            (r#"{"module":"sensor::ec"}"#, true),
            (r#"{"module":"sens"}"#, false),
            (r#"{"text":"reads \"ec\""}"#, true),
            (r#"{"text":"reads ec"}"#, false),
            (r#"{"text":["nothing","ä"]}"#, true),
            (r#"{"text":"nothing","level":"info"}"#, false),
        ] {
            assert_eq!(filter(json).passes(&read), passes, "{json}");
        }
        let bare = &entry(&LogRecord {
            channel: "app",
            message: "",
            tag: None,
            module: None,
            ..record
        });
        assert!(filter("{}").passes(bare));
        assert!(!filter(r#"{"tag":"x"}"#).passes(bare));
        assert!(!filter(r#"{"module":"x"}"#).passes(bare));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Append { level: LogLevel, times: usize },
        Read { max_entries: usize },
        Refilter { level: LogLevel },
        Replay { back: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let level = || prop::sample::select(LogLevel::ALL.to_vec());
        prop_oneof![
            4 => (level(), 1_usize..40).prop_map(|(level, times)| Step::Append { level, times }),
            4 => (0_usize..60).prop_map(|max_entries| Step::Read { max_entries }),
            1 => level().prop_map(|level| Step::Refilter { level }),
            1 => (0_u64..30).prop_map(|back| Step::Replay { back }),
        ]
    }

    fn only(level: LogLevel) -> LogFilter {
        LogFilter {
            level: Some(OneOrMany(vec![level])),
            ..LogFilter::default()
        }
    }

    #[test]
    fn ranges_follow_one_another_and_hold_what_passes_and_nothing_else() {
        proptest!(config(300, 30_000), |(capacity in 1_usize..300, steps in prop::collection::vec(step(), 0..60))| {
            let mut ring = LogRing::new(LogPolicy::default(), capacity, 1 << 20);
            let mut levels = Vec::new();
            let mut wanted = LogLevel::Info;
            let mut reader = LogReader::after(only(wanted), 0);
            let mut told = 0;
            for step in steps.into_iter().chain([Step::Read { max_entries: usize::MAX }]) {
                match step {
                    Step::Append { level, times } => for _ in 0..times {
                        levels.push(level);
                        ring.append(&LogRecord {
                            ts_ms: 1, channel: "app", level, message: "m", tag: None, module: None, emoji: None, color: None,
                        });
                    },
                    Step::Refilter { level } => {
                        wanted = level;
                        reader.refilter(only(level));
                        // What was looked at with the filter before is not looked at again.
                        told = reader.next().unwrap();
                        reader.restart(told);
                    }
                    Step::Replay { back } => {
                        told = (levels.len() as u64).saturating_sub(back);
                        reader.restart(told);
                    }
                    Step::Read { max_entries } => {
                        let range = ring.since(reader.next().unwrap(), max_entries);
                        let mut out = Vec::new();
                        let owed = reader.is_owed();
                        if !reader.take(&range, &mut out) {
                            prop_assert!(out.is_empty() && !owed);
                            prop_assert!(range.missed.is_none());
                            continue;
                        }
                        let (is_history, message) = match serde_json::from_slice(&out).unwrap() {
                            ServerMessage::LogsHistory(message) => (true, message),
                            ServerMessage::LogsAppend(message) => (false, message),
                            other => panic!("{other:?}"),
                        };
                        prop_assert_eq!(is_history, owed);
                        prop_assert_eq!(message.from_seq, told + 1);
                        prop_assert_eq!(message.to_seq, range.to_seq);
                        let is_missed = |seq: &u64| message.missed.is_some_and(|m| (m.from_seq..=m.to_seq).contains(seq));
                        let expected: Vec<u64> = (told + 1..=message.to_seq)
                            .filter(|seq| levels[*seq as usize - 1] == wanted && !is_missed(seq))
                            .collect();
                        let got: Vec<u64> = message.entries.iter().map(|LogEntry { seq, .. }| *seq).collect();
                        prop_assert_eq!(got, expected);
                        told = message.to_seq;
                    }
                }
                prop_assert_eq!(reader.told(), Some(told));
                prop_assert!(reader.next().unwrap() - told < QUIET_ENTRIES);
            }
        });
    }

    #[test]
    fn without_a_filter_what_was_passed_over_since_the_last_range_comes_again() {
        let mut ring = LogRing::new(LogPolicy::default(), 100, 1 << 20);
        for _ in 0..5 {
            ring.append(&LogRecord {
                ts_ms: 1,
                channel: "app",
                level: LogLevel::Info,
                message: "m",
                tag: None,
                module: None,
                emoji: None,
                color: None,
            });
        }
        let mut reader = LogReader::after(only(LogLevel::Error), 1);
        assert!(!reader.take(&ring.since(1, usize::MAX), &mut Vec::new()));
        assert_eq!((reader.told(), reader.next()), (Some(1), Some(5)));
        reader.refilter(LogFilter::default());
        assert_eq!((reader.told(), reader.next()), (Some(1), Some(1)));
        reader.refilter(only(LogLevel::Error));
        assert_eq!(reader.next(), Some(1));
    }

    #[test]
    fn a_reader_that_waits_has_no_place_until_it_is_told() {
        let mut reader = LogReader::waiting(LogFilter::default());
        assert_eq!((reader.next(), reader.told()), (None, None));
        reader.restart(7);
        assert_eq!((reader.next(), reader.told()), (Some(7), Some(7)));
    }
}
