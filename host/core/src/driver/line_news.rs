//! What a line says besides bytes: faults that the system counts, and the lines that the device drives.
//!
//! Each is told at once when nothing was told for a while, and otherwise when that is over: faults are added up until then, and of the lines only how they
//! are then counts. So a line at the wrong speed, or one that nobody has connected, costs its driver twenty calls a second and no more.

use std::fmt::Write as _;

use super::InputSignals;

/// Least distance between two tellings of one kind.
const SPACING_NS: u64 = 50_000_000;

/// Faults of a line, as the system counts them. They begin anywhere, and wrap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineFaults {
    /// Characters without a stop bit.
    pub framing: u32,
    /// Characters with a wrong parity bit.
    pub parity: u32,
    /// Breaks.
    pub breaks: u32,
    /// Characters that the hardware, or the system behind it, had no room for.
    pub overruns: u32,
}

/// The news of one open line.
#[derive(Debug, Default)]
pub struct LineNews {
    /// Faults that were told; none before the first look, which only says where the counts begin.
    told_faults: Option<LineFaults>,
    faults: LineFaults,
    faults_not_before_ns: u64,
    told_signals: Option<InputSignals>,
    signals: Option<InputSignals>,
    signals_not_before_ns: u64,
}

impl LineNews {
    /// The system's counts as they are now.
    pub fn count(&mut self, faults: LineFaults) {
        self.told_faults.get_or_insert(faults);
        self.faults = faults;
    }

    /// The lines as they are now. How they are at first is no news.
    pub fn see(&mut self, signals: InputSignals) {
        self.told_signals.get_or_insert(signals);
        self.signals = Some(signals);
    }

    /// Faults that are to be told now, in words.
    pub fn take_faults(&mut self, now_ns: u64) -> Option<String> {
        let told = self.told_faults.filter(|told| *told != self.faults)?;
        if now_ns < self.faults_not_before_ns {
            return None;
        }
        self.faults_not_before_ns = now_ns.saturating_add(SPACING_NS);
        self.told_faults = Some(self.faults);
        Some(in_words(told, self.faults))
    }

    /// How the lines are, if that is to be told now.
    pub fn take_signals(&mut self, now_ns: u64) -> Option<InputSignals> {
        let signals = self.signals.filter(|_| self.told_signals != self.signals)?;
        if now_ns < self.signals_not_before_ns {
            return None;
        }
        self.signals_not_before_ns = now_ns.saturating_add(SPACING_NS);
        self.told_signals = Some(signals);
        Some(signals)
    }

    /// When there is something to take although nothing new comes.
    pub fn due_ns(&self) -> Option<u64> {
        let has_faults = self.told_faults.is_some_and(|told| told != self.faults);
        let has_signals = self.told_signals != self.signals;
        let faults = has_faults.then_some(self.faults_not_before_ns);
        let signals = has_signals.then_some(self.signals_not_before_ns);
        faults.into_iter().chain(signals).min()
    }
}

fn in_words(from: LineFaults, to: LineFaults) -> String {
    let mut words = String::new();
    for (name, from, to) in [
        ("framing", from.framing, to.framing),
        ("parity", from.parity, to.parity),
        ("break", from.breaks, to.breaks),
        ("hardware overrun", from.overruns, to.overruns),
    ] {
        let count = to.wrapping_sub(from);
        if count > 0 {
            let comma = if words.is_empty() { "" } else { ", " };
            // A text takes all that is written to it.
            let _ = write!(words, "{comma}{count} {name}");
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn faults(framing: u32, breaks: u32) -> LineFaults {
        LineFaults {
            framing,
            breaks,
            ..LineFaults::default()
        }
    }

    fn signals(clear_to_send: bool) -> InputSignals {
        InputSignals {
            clear_to_send,
            data_set_ready: false,
            data_carrier_detect: false,
            ring_indicator: false,
        }
    }

    #[test]
    fn where_the_counts_and_the_lines_begin_is_no_news() {
        let mut news = LineNews::default();
        news.count(faults(17, 3));
        news.see(signals(true));
        assert_eq!(news.due_ns(), None);
        assert_eq!((news.take_faults(0), news.take_signals(0)), (None, None));
    }

    #[test]
    fn faults_are_told_by_kind_and_number_also_where_the_count_wraps() {
        let mut news = LineNews::default();
        news.count(faults(u32::MAX, 3));
        news.count(faults(1, 4));
        assert_eq!(news.take_faults(0).as_deref(), Some("2 framing, 1 break"));
        let all = LineFaults {
            framing: 1,
            parity: 5,
            breaks: 4,
            overruns: 1,
        };
        news.count(all);
        assert_eq!(news.take_faults(1), None, "too soon");
        assert_eq!(news.due_ns(), Some(SPACING_NS));
        assert_eq!(
            news.take_faults(SPACING_NS).as_deref(),
            Some("5 parity, 1 hardware overrun")
        );
    }

    #[test]
    fn a_line_that_is_back_before_anybody_was_told_has_not_changed() {
        let mut news = LineNews::default();
        for (now_ns, level) in [(0, false), (0, true), (10, false), (20, true)] {
            news.see(signals(level));
            news.take_signals(now_ns);
        }
        assert_eq!(news.due_ns(), None);
    }

    proptest! {
        #[test]
        fn every_fault_is_told_once_and_the_lines_end_up_as_they_are(
            steps in prop::collection::vec((0..3u32, 0..2u32, any::<bool>(), 0..60u64), 1..100),
        ) {
            let mut news = LineNews::default();
            let (mut counts, mut told, mut now_ns) = (faults(9, 9), (0, 0), 0);
            let (mut level, mut told_level) = (false, false);
            news.count(counts);
            news.see(signals(level));
            let mut told_at = Vec::new();
            let mut take = |news: &mut LineNews, now_ns: u64, told_level: &mut bool| {
                if let Some(words) = news.take_faults(now_ns) {
                    for word in words.split(", ") {
                        let (count, kind) = word.split_once(' ').unwrap();
                        let count: u32 = count.parse().unwrap();
                        *(if kind == "framing" { &mut told.0 } else { &mut told.1 }) += count;
                    }
                    told_at.push(now_ns);
                }
                if let Some(now) = news.take_signals(now_ns) {
                    assert_ne!(*told_level, now.clear_to_send);
                    *told_level = now.clear_to_send;
                }
            };
            for (framing, breaks, now, ms) in steps {
                now_ns += ms * 1_000_000;
                counts.framing += framing;
                counts.breaks += breaks;
                level = now;
                news.count(counts);
                news.see(signals(level));
                take(&mut news, now_ns, &mut told_level);
            }
            if let Some(due_ns) = news.due_ns() {
                take(&mut news, due_ns.max(now_ns) + SPACING_NS, &mut told_level);
            }
            prop_assert_eq!(news.due_ns(), None);
            prop_assert_eq!(told, (counts.framing - 9, counts.breaks - 9));
            prop_assert_eq!(told_level, level);
            prop_assert!(told_at.windows(2).all(|pair| pair[1] - pair[0] >= SPACING_NS));
        }
    }
}
