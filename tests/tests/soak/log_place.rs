//! The log as one follower hears it: every number is accounted for.

use serde_json::Value;

use super::ledger::{Ledger, Part};

/// How far a follower is in the log.
#[derive(Default)]
pub struct LogPlace {
    /// Its last range ended here; kept over a break. None while the next range says where it begins.
    pub covered: Option<u64>,
    pub part: Option<Part>,
    /// The filter was taken, as an answer said: from there on nothing else comes.
    pub is_filtered: bool,
    /// It has asked for what lies behind this number, and the range that begins there has not come yet.
    pub asked: Option<u64>,
}

impl LogPlace {
    pub fn take(&mut self, message: &Value, ledger: &mut Ledger, who: &str) {
        let number = |range: &Value, name: &str| range[name].as_u64().expect("a number");
        let (from, to) = (number(message, "fromSeq"), number(message, "toSeq"));
        assert!(to + 1 >= from, "{who}: {from} to {to}");
        let is_answer =
            message["type"] == "logs.history" && self.asked.is_some_and(|asked| from == asked + 1);
        if is_answer {
            self.asked = None;
        } else if let Some(covered) = self.covered {
            assert_eq!(
                from,
                covered + 1,
                "{who}: a {} of the log that does not begin where the last has ended",
                message["type"]
            );
        }
        self.covered = Some(to);
        let mut next = from;
        if let Some(missed) = message.get("missed") {
            let (missed_from, missed_to) = (number(missed, "fromSeq"), number(missed, "toSeq"));
            assert!(
                from <= missed_from && missed_from <= missed_to && missed_to <= to,
                "{who}: {missed} of {from} to {to}"
            );
            // What was looked at, and kept out, before the rest was overwritten.
            self.keep_out(from..missed_from, ledger, who);
            next = missed_to + 1;
            ledger.count("told of missed log entries");
            ledger.count_many("missed log entries", next - missed_from);
        }
        for entry in message["entries"].as_array().expect("entries") {
            let seq = number(entry, "seq");
            assert!((next..=to).contains(&seq), "{who}: entry {seq} of {next} to {to}");
            self.keep_out(next..seq, ledger, who);
            if let (Some(part), true) = (self.part, self.is_filtered) {
                assert!(part.has(entry), "{who} wants {part:?} and got {entry}");
            }
            ledger.take_entry(seq, entry, who);
            next = seq + 1;
        }
        self.keep_out(next..to + 1, ledger, who);
    }

    fn keep_out(&self, numbers: std::ops::Range<u64>, ledger: &mut Ledger, who: &str) {
        if numbers.is_empty() {
            return;
        }
        let Some(part) = self.part else {
            panic!("{who} has no filter, and {numbers:?} are neither entries nor said to be missed");
        };
        ledger.kept_out.extend(numbers.map(|number| (part, number)));
    }
}
