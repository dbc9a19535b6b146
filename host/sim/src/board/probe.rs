//! A firmware without a cable, for the laws of the boards: bytes and the time in, what it says and what comes of it out.

use super::{Firmware, Output, Restart};
use crate::random::Random;
use std::time::Duration;

/// A board, and what has been seen of it. What it does at the PC's side is collected in `S`.
#[derive(Default)]
pub(crate) struct Probe<F: Firmware, S> {
    pub(crate) board: F,
    pub(crate) now: Duration,
    pub(crate) lines: Vec<String>,
    pub(crate) seen: S,
}

impl<F: Firmware + Default, S: Default + Extend<F::Effect>> Probe<F, S> {
    pub(crate) fn identified() -> Self {
        let mut probe = Self::default();
        probe.send("identify\nidentify_complete\n");
        probe.lines.clear();
        probe
    }

    pub(crate) fn do_it(&mut self, act: impl FnOnce(&mut F, Duration, &mut Vec<Output<F::Effect>>)) {
        let mut outputs = Vec::new();
        act(&mut self.board, self.now, &mut outputs);
        for output in outputs {
            match output {
                Output::Line(line) => self.lines.push(line),
                Output::Effect(effect) => self.seen.extend([effect]),
            }
        }
    }

    pub(crate) fn send(&mut self, bytes: &str) {
        self.send_cut(bytes.as_bytes(), None);
    }

    /// In pieces, if there is anything to draw the cuts from.
    pub(crate) fn send_cut(&mut self, bytes: &[u8], mut cuts: Option<&mut Random>) {
        let mut rest = bytes;
        while let Some(cuts) = cuts.as_mut().filter(|_| rest.len() > 1) {
            let (head, tail) = rest.split_at(cuts.between(1, rest.len() - 1));
            self.do_it(|board, now, outputs| board.receive(head, now, outputs));
            rest = tail;
        }
        self.do_it(|board, now, outputs| board.receive(rest, now, outputs));
    }

    pub(crate) fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.do_it(|board, now, outputs| board.advance(now, outputs));
    }

    pub(crate) fn reset(&mut self) {
        self.do_it(|board, now, outputs| board.restart(Restart::Reset, now, outputs));
    }

    /// What it says to a line at once.
    pub(crate) fn ask(&mut self, line: &str) -> Vec<String> {
        self.lines.clear();
        self.send(&format!("{line}\n"));
        self.said()
    }

    pub(crate) fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }
}
