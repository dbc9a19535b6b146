//! What one client has of the log: every entry that it wants once, or told that it is missing.

use memchr::memmem;

use super::source::MARK_EVERY;

/// The entries that a client saw, without their texts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LogView {
    /// Up to here every number was seen, said to be missing, or rightly left out.
    pub covered: u64,
    /// Entries that came.
    pub entries: u64,
    /// Entries that were said to be missing.
    pub missed: u64,
    /// Entries that the client does not want, and was not sent.
    pub left_out: u64,
    /// What did not fit: a gap that nobody told of, a number twice, a range that its entries do not fill. The first few.
    pub faults: Vec<String>,
    wanted: Wanted,
}

/// What the client asked for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Wanted {
    #[default]
    Everything,
    /// What the load marks. While the load runs, nothing else may be logged: then the first entry of the load says which numbers those are.
    Marked { first: Option<u64> },
}

/// Faults that are kept: one says it all.
const FAULTS: usize = 5;

impl LogView {
    /// Of a client that wants only what the load marks.
    pub fn of_marked() -> Self {
        Self {
            wanted: Wanted::Marked { first: None },
            ..Self::default()
        }
    }

    /// Whether the client filters.
    pub fn is_filtered(&self) -> bool {
        self.wanted != Wanted::Everything
    }

    /// Whether nothing up to this number is still to come. A client that filters is not told at once that there was nothing for it.
    pub fn is_up_to(&self, last: u64) -> bool {
        self.next_wanted(self.covered + 1).is_some_and(|next| next > last)
    }

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
                (Some(first), Some(last)) if first >= next && last >= first => {
                    self.leave_out(next, first);
                    self.missed += last + 1 - first;
                    next = last + 1;
                }
                span => self.fault(format!("missing is {span:?}, from {next} on")),
            }
        }
        for at in memmem::find_iter(entries, b"{\"seq\":") {
            let entry = entries.get(at..).unwrap_or_default();
            match number(entry, b"{\"seq\":") {
                Some(seq) if seq >= next => {
                    self.learn(seq, entry);
                    self.leave_out(next, seq);
                    if self.next_wanted(seq).is_some_and(|wanted| wanted != seq) {
                        self.fault(format!("{seq} came although it does not pass the filter"));
                    }
                    next = seq + 1;
                }
                seq => self.fault(format!("in place of {next} came {seq:?}")),
            }
            self.entries += 1;
        }
        if next > to + 1 {
            self.fault(format!("a range up to {to} holds entries up to {}", next - 1));
        }
        self.leave_out(next, to + 1);
        self.covered = to;
    }

    /// The first number from here on that the client wants; none while it has seen nothing that tells.
    fn next_wanted(&self, from: u64) -> Option<u64> {
        match self.wanted {
            Wanted::Everything => Some(from),
            Wanted::Marked { first } => {
                let steps = from.saturating_sub(first?).div_ceil(MARK_EVERY);
                Some(first? + steps * MARK_EVERY)
            }
        }
    }

    /// Numbers that neither came nor were said to be missing.
    fn leave_out(&mut self, from: u64, until: u64) {
        if let Some(wanted) = self.next_wanted(from).filter(|wanted| *wanted < until) {
            self.fault(format!("{wanted} did not come and was not said to be missing"));
        }
        self.left_out += until.saturating_sub(from);
    }

    /// Finds out which numbers are marked, from the first entry of the load that comes.
    fn learn(&mut self, seq: u64, entry: &[u8]) {
        let Wanted::Marked { first: first @ None } = &mut self.wanted else {
            return;
        };
        // Anything else is what was logged before the load began.
        let Some(count) = number(entry, b"\"message\":\"entry ") else {
            return;
        };
        *first = (seq + 1).checked_sub(count);
        if count > 1 && self.missed == 0 {
            self.fault(format!("the load begins with its entry {count}"));
        }
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
            ..LogView::default()
        };
        assert_eq!(seen, expected);
        assert!(seen.is_up_to(9) && !seen.is_up_to(10));
    }

    /// What a client that filters is sent of a load whose first entry has the number 6.
    fn filtered(messages: &[&str]) -> LogView {
        let mut view = LogView::of_marked();
        for message in [HISTORY, r#"{"type":"ack"}"#].iter().chain(messages) {
            view.take(message.as_bytes());
        }
        view
    }

    const FIRST: &str = r#"{"type":"logs.append","fromSeq":5,"toSeq":9,"entries":[{"seq":6,"message":"entry 1 of the load"}]}"#;
    const THIRD: &str = r#"{"type":"logs.append","fromSeq":10,"toSeq":27,"missed":{"fromSeq":14,"toSeq":17},"entries":[{"seq":26,"message":"entry 21 of the load"}]}"#;

    #[test]
    fn who_filters_sees_or_misses_what_passes_and_nothing_else() {
        let seen = filtered(&[FIRST, THIRD]);
        assert!(seen.faults.is_empty(), "{seen:?}");
        assert_eq!(
            (seen.covered, seen.entries, seen.missed, seen.left_out),
            (27, 4, 4, 17)
        );
        assert!(seen.is_up_to(35) && !seen.is_up_to(36), "36 passes");
        assert!(!filtered(&[]).is_up_to(4), "it has seen nothing of the load");
    }

    #[test]
    fn what_passes_and_neither_comes_nor_is_missing_is_a_fault_and_so_is_what_does_not_pass() {
        for append in [
            r#"{"type":"logs.append","fromSeq":10,"toSeq":16,"entries":[]}"#,
            r#"{"type":"logs.append","fromSeq":10,"toSeq":17,"missed":{"fromSeq":17,"toSeq":17},"entries":[]}"#,
            r#"{"type":"logs.append","fromSeq":10,"toSeq":26,"entries":[{"seq":26,"message":"entry 21 of the load"}]}"#,
            r#"{"type":"logs.append","fromSeq":10,"toSeq":17,"entries":[{"seq":16,"message":"entry 11 of the load"},{"seq":17,"message":"entry 12 of the load"}]}"#,
        ] {
            assert!(!filtered(&[FIRST, append]).faults.is_empty(), "{append}");
        }
        let late = r#"{"type":"logs.append","fromSeq":5,"toSeq":16,"entries":[{"seq":16,"message":"entry 11 of the load"}]}"#;
        assert!(!filtered(&[late]).faults.is_empty());
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
