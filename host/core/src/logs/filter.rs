//! Log entries for one client that wants only some of them.
//!
//! What is filtered out still counts as covered: the ranges of a filtered client follow one another without a gap, as everybody's do, and only
//! `missed` says that something was lost.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::Range;
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

/// What of an entry a filter looks at.
#[derive(Debug, Deserialize)]
struct Fields<'a> {
    level: LogLevel,
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow, default)]
    tag: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    module: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

impl LogFilter {
    /// Whether it lets everything pass.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an entry passes, given as the JSON in which the ring keeps it.
    pub fn passes(&self, entry: &[u8]) -> bool {
        serde_json::from_slice::<Fields<'_>>(entry).is_ok_and(|fields| self.takes(&fields))
    }

    fn takes(&self, entry: &Fields<'_>) -> bool {
        let is_one = |wanted: &Option<OneOrMany<String>>, found: Option<&str>, separator: &str| {
            wanted.as_ref().is_none_or(|wanted| {
                let mut wanted = wanted.0.iter();
                found.is_some_and(|found| wanted.any(|wanted| is_or_is_within(found, wanted, separator)))
            })
        };
        let has_level = |levels: &OneOrMany<LogLevel>| levels.0.contains(&entry.level);
        self.level.as_ref().is_none_or(has_level)
            && is_one(&self.channel, Some(&entry.channel), ":")
            && is_one(&self.tag, entry.tag.as_deref(), "")
            && is_one(&self.module, entry.module.as_deref(), "::")
            && self.text.as_ref().is_none_or(|texts| {
                let message = entry.message.to_lowercase();
                texts.0.iter().any(|text| message.contains(&text.to_lowercase()))
            })
    }
}

/// Whether a name is the wanted one, or a finer division of it behind the separator, if there is one.
fn is_or_is_within(found: &str, wanted: &str, separator: &str) -> bool {
    found
        .strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || (!separator.is_empty() && rest.starts_with(separator)))
}

/// How far a filtered client is: what it was told, and what was looked at for it.
#[derive(Debug)]
pub struct FilteredLogs {
    filter: LogFilter,
    /// The next range begins behind this number.
    told: u64,
    /// Entries up to here were looked at.
    scanned: u64,
    /// A range is owed even if nothing passes, and under which name.
    owed: Option<LogsFrame>,
    /// False while it is not known yet where the client is.
    is_placed: bool,
}

impl FilteredLogs {
    /// A client that has everything up to a number.
    pub fn after(filter: LogFilter, seq: u64) -> Self {
        Self {
            filter,
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

    /// Another filter, from here on.
    pub fn refilter(&mut self, filter: LogFilter) {
        self.filter = filter;
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

    /// Goes on behind a number, if it is not known yet where the client is.
    pub fn place(&mut self, seq: u64) {
        if !self.is_placed {
            self.told = seq;
            self.scanned = seq;
            self.is_placed = true;
        }
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
            .map(|entry| &entry[..])
            .filter(|entry| self.filter.passes(entry))
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

    fn entry(level: &str, channel: &str, tag: &str, module: &str, message: &str) -> String {
        format!(
            r#"{{"seq":1,"ts":1,"channel":"{channel}","emoji":"","level":"{level}","message":"{message}","color":"red","tag":"{tag}","module":"{module}"}}"#
        )
    }

    #[test]
    fn each_condition_has_to_hold_and_one_of_its_values_is_enough() {
        let entry = entry(
            "info",
            "device:meter",
            "FlowExecutor",
            "sensor::ec",
            "Reads EC \\u00c4",
        );
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
            (r#"{"text":"reads ec"}"#, true),
            (r#"{"text":["nothing","ä"]}"#, true),
            (r#"{"text":"nothing","level":"info"}"#, false),
        ] {
            assert_eq!(filter(json).passes(entry.as_bytes()), passes, "{json}");
        }
        let bare =
            br#"{"seq":1,"ts":1,"channel":"app","emoji":"","level":"info","message":"","color":"red"}"#;
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
            let mut reader = FilteredLogs::after(only(wanted), 0);
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
    fn a_reader_that_waits_has_no_place_until_it_is_told() {
        let mut reader = FilteredLogs::waiting(LogFilter::default());
        assert_eq!((reader.next(), reader.told()), (None, None));
        reader.restart(7);
        assert_eq!((reader.next(), reader.told()), (Some(7), Some(7)));
    }
}
