//! The front-panel controller against its documented talk, line by line, and its contacts against what asked for them.

use super::firmware::{Cause, Edge, FrontPanel};
use crate::board::BOOTLOADER;
use crate::board::probe::Probe;
use crate::pc::machine::{Contact, Switch};
use crate::random::Random;

const HELD: &str = "debug: front panel power button held";
const RELEASED: &str = "debug: front panel power button released";

type Board = Probe<FrontPanel, Vec<Edge>>;

impl Board {
    fn five_volts(&mut self, on: bool) {
        self.do_it(|board, now, outputs| board.five_volts(on, now, outputs));
    }

    fn disk_edge(&mut self) {
        self.do_it(FrontPanel::disk_edge);
    }

    fn button(&mut self, down: bool) {
        self.do_it(|board, now, outputs| board.local_button(down, now, outputs));
    }

    /// What happened on the contacts: milliseconds, switch, contact, cause.
    fn moved(&mut self) -> Vec<(u128, Switch, Contact, Cause)> {
        std::mem::take(&mut self.seen)
            .into_iter()
            .map(|edge| (edge.at.as_millis(), edge.switch, edge.contact, edge.cause))
            .collect()
    }
}

#[test]
fn the_documented_talk_word_by_word() {
    let mut board = Board::default();
    assert_eq!(board.ask("POWER_HOLD"), [""; 0], "not before identification");
    assert_eq!(board.ask("identify"), ["FP"]);
    assert_eq!(board.ask("POWER_HOLD"), [""; 0]);
    assert_eq!(
        board.ask("identify_complete"),
        [
            "debug: front panel identification complete, sending client power state",
            "POWER_LED_OFF",
            "HDD_ACTIVE_OFF"
        ]
    );
    assert_eq!(board.ask("identify_complete"), [""; 0], "only when unidentified");
    assert_eq!(board.ask("POWER_HOLD"), [HELD]);
    assert_eq!(board.ask("POWER_RELEASE"), [RELEASED]);
    assert_eq!(board.ask("RESET_HOLD"), ["debug: front panel reset button held"]);
    assert_eq!(
        board.ask("RESET_RELEASE"),
        ["debug: front panel reset button released"]
    );
    assert_eq!(
        board.ask(" \tPOWER_RELEASE \r"),
        [RELEASED],
        "blanks and CR are taken away"
    );
    for nothing in ["power_hold", "POWER_PRESS", "", "FP", "POWER_HOLD now"] {
        assert_eq!(board.ask(nothing), [""; 0], "{nothing:?}");
    }
}

#[test]
fn a_line_that_is_too_long_empties_the_buffer_and_the_rest_is_a_new_line() {
    let mut board = Board::identified();
    let blanks = |count| " ".repeat(count);
    assert_eq!(board.ask(&format!("{}POWER_HOLD", blanks(53))), [HELD], "63 fit");
    assert_eq!(
        board.ask(&format!("{}POWER_HOLD", blanks(54))),
        [""; 0],
        "64 do not"
    );
    assert_eq!(
        board.ask(&format!("{}xPOWER_RELEASE", "y".repeat(63))),
        [RELEASED],
        "what follows the character that was too many is a command"
    );
}

#[test]
fn five_volts_are_told_after_half_a_second_of_rest_and_not_twice() {
    let mut board = Board::identified();
    board.five_volts(true);
    board.pass(499);
    assert_eq!(board.said(), [""; 0]);
    board.five_volts(false);
    board.pass(100);
    board.five_volts(true);
    board.pass(499);
    assert_eq!(board.said(), [""; 0], "the flicker began the wait anew");
    board.pass(1);
    assert_eq!(board.said(), ["POWER_LED_ON"]);
    board.five_volts(false);
    assert_eq!(board.ask("identify"), ["FP"]);
    assert_eq!(
        board.ask("identify_complete")[1..],
        ["POWER_LED_OFF", "HDD_ACTIVE_OFF"]
    );
    board.pass(5000);
    assert_eq!(
        board.said(),
        [""; 0],
        "what identification told is not told again"
    );
}

#[test]
fn the_disk_is_active_from_its_first_edge_until_200_ms_after_the_last() {
    let mut board = Board::identified();
    for _ in 0..10 {
        board.disk_edge();
        board.pass(150);
    }
    assert_eq!(board.said(), ["HDD_ACTIVE_ON"]);
    board.pass(49);
    assert_eq!(board.said(), [""; 0]);
    board.pass(1);
    assert_eq!(board.said(), ["HDD_ACTIVE_OFF"]);
    board.send("identify\n");
    board.disk_edge();
    board.pass(1000);
    assert_eq!(board.said(), ["FP"], "an unidentified board is silent");
}

#[test]
fn a_hold_ends_after_ten_seconds_whoever_has_gone() {
    let mut board = Board::identified();
    board.send("POWER_HOLD\n");
    board.pass(9_999);
    board.send("POWER_HOLD\n");
    board.pass(9_999);
    assert_eq!(
        board.moved(),
        [(0, Switch::Power, Contact::Closed, Cause::Command)]
    );
    board.said();
    board.pass(1);
    assert_eq!(board.said(), ["debug: POWER_HOLD auto-released (timeout)"]);
    assert_eq!(
        board.moved(),
        [(19_999, Switch::Power, Contact::Open, Cause::AutoRelease)]
    );
    board.send("RESET_HOLD\nidentify\n");
    assert_eq!(
        board.board.contact(Switch::Reset),
        Contact::Closed,
        "identify leaves a hold as it is"
    );
    board.said();
    board.pass(10_000);
    assert_eq!(board.said(), [""; 0], "nobody is told who has not asked");
    assert_eq!(board.moved()[1].3, Cause::AutoRelease);
}

#[test]
fn completing_an_identification_opens_both_contacts() {
    let mut board = Board::identified();
    board.send("POWER_HOLD\nRESET_HOLD\nidentify\n");
    board.moved();
    board.send("identify_complete\n");
    let opened = |switch| (0, switch, Contact::Open, Cause::Identification);
    assert_eq!(board.moved(), [opened(Switch::Power), opened(Switch::Reset)]);
}

#[test]
fn the_button_on_the_board_is_one_silent_pulse_and_waits_for_the_lock_after_a_command() {
    let mut board = Board::identified();
    board.button(true);
    board.pass(149);
    assert_eq!(board.moved(), []);
    board.pass(1000);
    let local = |at, contact| (at, Switch::Power, contact, Cause::LocalOverride);
    assert_eq!(
        board.moved(),
        [local(150, Contact::Closed), local(250, Contact::Open)]
    );
    board.button(false);
    board.button(true);
    board.pass(1000);
    assert_eq!(board.moved().len(), 2, "pressed again, pulsed again");
    assert_eq!(board.said(), [""; 0]);
    board.button(false);
    board.send("POWER_HOLD\n");
    board.pass(300);
    board.button(true);
    board.button(false);
    board.pass(300);
    assert_eq!(board.moved().len(), 1, "not in a hold");
}

#[test]
fn a_reset_opens_the_contacts_and_forgets_who_asked() {
    let mut board = Board::identified();
    board.five_volts(true);
    board.send("POWER_HOLD\n");
    board.pass(1000);
    board.moved();
    board.said();
    board.reset();
    assert_eq!(
        board.moved(),
        [(1000, Switch::Power, Contact::Open, Cause::BoardReset)]
    );
    board.send("identify\n");
    board.now += BOOTLOADER;
    assert_eq!(board.said(), [""; 0], "the bootloader hears nothing");
    assert_eq!(board.ask("POWER_HOLD"), [""; 0]);
    assert_eq!(board.ask("identify"), ["FP"]);
    assert_eq!(board.ask("identify_complete")[1], "POWER_LED_ON");
}

/// Anything that can happen to the board, in any order. `chunks` is how the bytes are cut.
fn anything(seed: u64, chunks: bool) -> Board {
    let mut random = Random::new(seed);
    let mut cuts = Random::new(seed ^ 0x5555);
    let mut board = Board::default();
    for _ in 0..300 {
        match random.below(12) {
            0 => board.five_volts(random.percent(50)),
            1 => board.disk_edge(),
            2 => board.button(random.percent(50)),
            3 => {
                let milliseconds = random.below(12_000) as u64;
                board.pass(milliseconds);
            }
            4 if random.percent(10) => board.reset(),
            _ => {
                let mut bytes = String::new();
                for _ in 0..random.between(1, 3) {
                    let lines = [
                        "identify\n",
                        "identify\nidentify_complete\r\n",
                        "POWER_HOLD\n",
                        "POWER_RELEASE\n",
                        "RESET_HOLD\n",
                        "RESET_RELEASE\n",
                        "nonsense that goes on and on until it is much too long for the buffer of the board POWER_HOLD\n",
                        "POWER_HO",
                    ];
                    bytes.push_str(random.pick(&lines, ""));
                }
                board.send_cut(bytes.as_bytes(), chunks.then_some(&mut cuts));
                board.pass(random.below(40) as u64);
            }
        }
    }
    board
}

#[test]
fn however_the_bytes_are_cut_the_same_happens() {
    for seed in 0..200 {
        let (whole, cut) = (anything(seed, false), anything(seed, true));
        assert_eq!((whole.lines, whole.seen), (cut.lines, cut.seen), "seed {seed}");
    }
}

#[test]
fn no_contact_stays_closed_for_longer_than_a_hold_may_and_no_edge_repeats_the_one_before() {
    for seed in 0..200 {
        let mut board = anything(seed, false);
        board.pass(20_000);
        for switch in [Switch::Power, Switch::Reset] {
            assert_eq!(board.board.contact(switch), Contact::Open, "seed {seed}");
            let edges: Vec<&Edge> = board.seen.iter().filter(|edge| edge.switch == switch).collect();
            for (index, edge) in edges.iter().enumerate() {
                let closes = index % 2 == 0;
                assert_eq!(edge.contact == Contact::Closed, closes, "seed {seed}: {edge:?}");
                let causes: &[Cause] = match (closes, switch) {
                    (true, Switch::Power) => &[Cause::Command, Cause::LocalOverride],
                    (true, Switch::Reset) => &[Cause::Command],
                    (false, Switch::Reset) => &[
                        Cause::Command,
                        Cause::AutoRelease,
                        Cause::Identification,
                        Cause::BoardReset,
                    ],
                    (false, Switch::Power) => &[
                        Cause::Command,
                        Cause::AutoRelease,
                        Cause::Identification,
                        Cause::BoardReset,
                        Cause::LocalOverride,
                    ],
                };
                assert!(causes.contains(&edge.cause), "seed {seed}: {edge:?}");
            }
        }
    }
}
