//! What one client has of the log: every entry once, or told that it is missing.

use memchr::memmem;

/// The entries that a client saw, without their texts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LogView {
    /// Up to here every number was seen or said to be missing.
    pub covered: u64,
    /// Entries that came.
    pub entries: u64,
    /// Entries that were said to be missing.
    pub missed: u64,
    /// What did not fit: a gap that nobody told of, a number twice, a range that its entries do not fill. The first few.
    pub faults: Vec<String>,
}

/// Faults that are kept: one says it all.
const FAULTS: usize = 5;

impl LogView {
    /// Takes a message in. What is no message of the log is none of its business.
    pub fn take(&mut self, payload: &[u8]) {
        let is_append = payload.starts_with(br#"{"type":"logs.append","#);
        let is_history = payload.starts_with(br#"{"type":"logs.history","#);
        if !is_append && !is_history {
            return;
        }
        let (head, entries) = match memmem::find(payload, b"\"entries\":[") {
            Some(at) => payload.split_at(at),
            None => (payload, &[][..]),
        };
        let (Some(from), Some(to)) = (number(head, b"\"fromSeq\":"), number(head, b"\"toSeq\":")) else {
            return self.fault("a range without numbers".to_owned());
        };
        if is_history {
            self.covered = from.saturating_sub(1);
        }
        if from != self.covered + 1 {
            self.fault(format!("after {} a range begins at {from}", self.covered));
        }
        let mut next = from;
        if let Some(missed) = memmem::find(head, b"\"missed\":").and_then(|at| head.get(at..)) {
            match (number(missed, b"\"fromSeq\":"), number(missed, b"\"toSeq\":")) {
                (Some(first), Some(last)) if first == next && last >= first => {
                    self.missed += last + 1 - first;
                    next = last + 1;
                }
                span => self.fault(format!("missing is {span:?}, from {next} on")),
            }
        }
        for at in memmem::find_iter(entries, b"{\"seq\":") {
            let seq = entries.get(at..).and_then(|entry| number(entry, b"{\"seq\":"));
            if seq != Some(next) {
                self.fault(format!("in place of {next} came {seq:?}"));
            }
            self.entries += 1;
            next += 1;
        }
        if next != to + 1 {
            self.fault(format!("a range up to {to} holds entries up to {}", next - 1));
        }
        self.covered = to;
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS {
            self.faults.push(fault);
        }
    }
}

/// The number behind a mark.
fn number(text: &[u8], mark: &[u8]) -> Option<u64> {
    let start = memmem::find(text, mark)? + mark.len();
    let digits = text.get(start..)?;
    let end = digits
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(digits.len());
    std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(messages: &[&str]) -> LogView {
        let mut view = LogView::default();
        for message in messages {
            view.take(message.as_bytes());
        }
        view
    }

    const HISTORY: &str =
        r#"{"type":"logs.history","fromSeq":3,"toSeq":4,"entries":[{"seq":3,"ts":1},{"seq":4,"ts":1}]}"#;

    #[test]
    fn every_number_is_seen_or_missed() {
        let seen = view(&[
            HISTORY,
            r#"{"type":"state.patch"}"#,
            r#"{"type":"logs.append","fromSeq":5,"toSeq":5,"entries":[{"seq":5}]}"#,
            r#"{"type":"logs.append","fromSeq":6,"toSeq":9,"missed":{"fromSeq":6,"toSeq":8},"entries":[{"seq":9}]}"#,
        ]);
        let expected = LogView {
            covered: 9,
            entries: 4,
            missed: 3,
            faults: Vec::new(),
        };
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_gap_a_repetition_and_a_range_that_is_not_filled_are_faults() {
        for append in [
            r#"{"type":"logs.append","fromSeq":6,"toSeq":6,"entries":[{"seq":6}]}"#,
            r#"{"type":"logs.append","fromSeq":4,"toSeq":5,"entries":[{"seq":4},{"seq":5}]}"#,
            r#"{"type":"logs.append","fromSeq":5,"toSeq":6,"entries":[{"seq":5}]}"#,
            r#"{"type":"logs.append","fromSeq":5,"toSeq":6,"missed":{"fromSeq":6,"toSeq":6},"entries":[{"seq":5}]}"#,
        ] {
            assert!(!view(&[HISTORY, append]).faults.is_empty(), "{append}");
        }
    }
}
