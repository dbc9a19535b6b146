//! The faults of a board's cable: each does what it says, and none closes a contact that nobody asked for.

use super::cable::{BoardCable, Fate, NoteKind};
use super::{BoardFault, BoardFaults};
use crate::frontpanel::{Cause, Edge, FrontPanel};
use crate::line::{Cable, Outgoing};
use crate::pc::machine::Contact;
use crate::random::Random;
use std::time::Duration;

struct Host {
    cable: BoardCable<FrontPanel>,
    now: Duration,
    heard: Vec<u8>,
    edges: Vec<Edge>,
    notes: Vec<NoteKind>,
    pulls: u32,
}

impl Host {
    fn new(faults: BoardFaults, seed: u64) -> Self {
        let mut cable = BoardCable::new(FrontPanel::default(), faults, seed);
        cable.host_came();
        Self {
            cable,
            now: Duration::ZERO,
            heard: Vec::new(),
            edges: Vec::new(),
            notes: Vec::new(),
            pulls: 0,
        }
    }

    fn send(&mut self, text: &str) {
        self.cable.receive(text.as_bytes(), self.now);
        self.listen();
    }

    fn pass(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds.div_ceil(10) {
            self.now += Duration::from_millis(10);
            self.cable.advance(self.now);
            self.listen();
        }
    }

    fn listen(&mut self) {
        loop {
            let count = match self.cable.outgoing(self.now) {
                None => break,
                Some(Outgoing::Bytes(bytes)) => {
                    self.heard.extend_from_slice(bytes);
                    bytes.len()
                }
                Some(Outgoing::Unplug) => {
                    self.pulls += 1;
                    self.cable.unplugged(0, self.now);
                    self.cable.plugged(self.now);
                    self.cable.host_came();
                    break;
                }
            };
            self.cable.sent(count);
        }
        self.edges.extend(self.cable.take_effects());
        let notes = self.cable.take_notes();
        self.notes.extend(notes.into_iter().map(|note| note.kind));
    }

    fn said(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.heard)).into_owned()
    }
}

fn only(fault: BoardFault) -> BoardFaults {
    BoardFaults::none().with(fault, 100)
}

#[test]
fn old_telemetry_stands_before_the_token_and_nowhere_else() {
    for seed in 0..20 {
        let mut host = Host::new(only(BoardFault::Stray), seed);
        host.send("identify\n");
        let said = host.said();
        let lines: Vec<&str> = said.lines().collect();
        assert!((2..=4).contains(&lines.len()), "seed {seed}: {said}");
        assert_eq!(lines.last(), Some(&"FP"));
        assert!(!lines[..lines.len() - 1].contains(&"FP"));
        host.send("identify_complete\nPOWER_RELEASE\n");
        assert_eq!(host.said().lines().count(), 4);
    }
}

#[test]
fn a_lost_reply_is_a_command_that_was_done() {
    let mut host = Host::new(only(BoardFault::Lost), 1);
    host.send("identify\nidentify_complete\nPOWER_HOLD\n");
    host.pass(100);
    assert_eq!(host.said(), "");
    assert_eq!(host.edges.len(), 1);
    assert!(host.notes.iter().any(|note| matches!(
        note,
        NoteKind::Said { line, fate: Fate::Lost } if line == "FP"
    )));
}

#[test]
fn a_late_reply_comes_late_and_in_order() {
    for seed in 0..20 {
        let mut host = Host::new(only(BoardFault::Late), seed);
        host.send("identify\nidentify_complete\n");
        host.pass(90);
        assert_eq!(host.said(), "", "seed {seed}");
        host.pass(1500);
        let said = host.said();
        assert!(said.starts_with("FP\r\ndebug: "), "seed {seed}: {said}");
        assert!(said.ends_with("HDD_ACTIVE_OFF\r\n"), "seed {seed}: {said}");
    }
}

#[test]
fn a_reset_in_a_command_cuts_the_answer_and_opens_what_it_closed() {
    for seed in 0..50 {
        let mut host = Host::new(BoardFaults::none(), seed);
        host.send("identify\nidentify_complete\n");
        host.said();
        host.cable.set_faults(only(BoardFault::Reset));
        host.send("POWER_HOLD\n");
        host.pass(200);
        let whole = "debug: front panel power button held\r\n";
        let said = host.said();
        assert!(whole.starts_with(&said) && said != whole, "seed {seed}: {said}");
        let causes: Vec<Cause> = host.edges.iter().map(|edge| edge.cause).collect();
        assert_eq!(causes, [Cause::Command, Cause::BoardReset], "seed {seed}");
        assert!(host.notes.contains(&NoteKind::Reset));
    }
}

#[test]
fn junk_takes_the_place_of_a_line_or_stands_before_it() {
    let (mut whole, mut gone) = (0, 0);
    for seed in 0..50 {
        let mut host = Host::new(only(BoardFault::Garbage), seed);
        host.send("identify\n");
        let heard = std::mem::take(&mut host.heard);
        match heard.strip_suffix(b"FP\r\n") {
            Some(junk) if junk.ends_with(b"\r\n") => whole += 1,
            _ => gone += 1,
        }
    }
    assert!(whole > 10 && gone > 10, "{whole} whole, {gone} gone");
}

#[test]
fn under_every_fault_a_contact_closes_only_for_a_hold_and_never_for_longer_than_ten_seconds() {
    for seed in 0..40 {
        let mut host = Host::new(BoardFaults::all(), seed);
        let mut random = Random::new(seed);
        let mut holds = 0;
        for _ in 0..150 {
            let lines = [
                "identify\n",
                "identify_complete\n",
                "POWER_HOLD\n",
                "POWER_RELEASE\n",
                "RESET_HOLD\n",
                "RESET_RELEASE\n",
            ];
            let line = random.pick(&lines, "");
            holds += usize::from(line.ends_with("HOLD\n"));
            host.send(line);
            host.pass(random.below(2500) as u64);
        }
        host.pass(11_000);
        assert!(host.pulls > 0, "seed {seed}");
        let closed = |edge: &&Edge| edge.contact == Contact::Closed;
        assert!(host.edges.iter().filter(closed).count() <= holds, "seed {seed}");
        for edge in host.edges.iter().filter(closed) {
            assert_eq!(edge.cause, Cause::Command, "seed {seed}");
        }
        for switch in [
            crate::pc::machine::Switch::Power,
            crate::pc::machine::Switch::Reset,
        ] {
            assert_eq!(
                host.cable.firmware().contact(switch),
                Contact::Open,
                "seed {seed}"
            );
        }
    }
}
