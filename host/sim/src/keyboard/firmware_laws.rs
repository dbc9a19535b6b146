//! The keyboard adapter against its documented talk, on both sides, and against a PC that knows set 2.

use super::firmware::{Effect, KeyAction, KeyCause, Keyboard};
use crate::board::probe::Probe;
use crate::board::{BOOTLOADER, Firmware};
use crate::random::Random;

/// What it does at the PC's side.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    to_pc: Vec<u8>,
    keys: Vec<(u128, KeyAction, u8, u8, KeyCause)>,
    pin: bool,
}

impl Extend<Effect> for Seen {
    fn extend<T: IntoIterator<Item = Effect>>(&mut self, effects: T) {
        for effect in effects {
            match effect {
                Effect::ToPc(byte) => self.to_pc.push(byte),
                Effect::PowerPin(on) => self.pin = on,
                Effect::Key(key) => {
                    self.keys
                        .push((key.at.as_millis(), key.action, key.prefix, key.code, key.cause));
                }
            }
        }
    }
}

type Board = Probe<Keyboard, Seen>;

impl Board {
    fn pc_says(&mut self, byte: u8) {
        self.do_it(|board, now, outputs| board.pc_byte(byte, now, outputs));
    }

    /// What it says to a line within a quarter of a second.
    fn ask_and_wait(&mut self, line: &str) -> Vec<String> {
        let mut said = self.ask(line);
        self.pass(250);
        said.extend(self.said());
        said
    }

    fn sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.seen.to_pc)
    }
}

#[test]
fn the_documented_talk_word_by_word() {
    let mut board = Board::default();
    assert_eq!(
        board.ask_and_wait("press 0:1c"),
        ["debug: command is press 0:1c. nothing to do"]
    );
    assert_eq!(board.ask_and_wait("identify"), ["KB"]);
    assert_eq!(
        board.ask_and_wait("identify_complete\r"),
        ["debug: keyboard identification complete"]
    );
    for (line, answer) in [
        (
            "identify_complete",
            "debug: command is identify_complete. nothing to do",
        ),
        ("press 0:1c", "success: press command for scan code 1C"),
        ("hold e0:75", "success: hold command for scan code 75"),
        ("release e0:75", "success: release command for scan code 75"),
        ("press 0:5", "success: press command for scan code 5"),
        (
            "power_on",
            "debug: keyboard accepts power ON command, sets PIN 5 to HIGH",
        ),
        (
            "power_off",
            "debug: keyboard accepts power OFF command, sets PIN 5 to LOW",
        ),
        (
            "power_auto",
            "debug: keyboard power mode set to AUTO; hostEverTalked=0 pin=LOW",
        ),
        ("nonsense", "debug: command is nonsense. nothing to do"),
    ] {
        assert_eq!(board.ask_and_wait(line), [answer], "{line}");
    }
    assert_eq!(
        board.ask_and_wait("tap 0:1c"),
        [""; 0],
        "an unknown verb is not answered"
    );
}

#[test]
fn a_prefixed_key_breaks_in_the_wrong_order() {
    let mut board = Board::identified();
    board.ask_and_wait("press 0:1c");
    assert_eq!(board.sent(), [0x1C, 0xF0, 0x1C]);
    board.ask_and_wait("press e0:75");
    assert_eq!(board.sent(), [0xE0, 0x75, 0xF0, 0xE0, 0xF0, 0x75]);
    board.ask_and_wait("hold e0:14");
    board.ask_and_wait("release e0:14");
    assert_eq!(board.sent(), [0xE0, 0x14, 0xF0, 0xE0, 0xF0, 0x14]);
}

#[test]
fn a_press_lasts_100_ms_and_is_answered_after_that() {
    let mut board = Board::identified();
    board.send("press 0:1c\n");
    board.pass(99);
    assert_eq!((board.said(), board.sent()), (Vec::new(), vec![0x1C]));
    board.pass(1);
    assert_eq!(board.said(), ["success: press command for scan code 1C"]);
    assert_eq!(
        board.seen.keys,
        [
            (0, KeyAction::Make, 0, 0x1C, KeyCause::Press),
            (100, KeyAction::Break, 0, 0x1C, KeyCause::Press)
        ]
    );
}

#[test]
fn in_a_press_63_bytes_wait_and_the_rest_is_lost() {
    let mut board = Board::identified();
    // Each line has eleven bytes: five and eight bytes of the sixth find room.
    board.send(&"press 0:1c\n".repeat(10));
    board.pass(10_000);
    let said = board.said();
    assert_eq!(
        said.iter().filter(|line| line.starts_with("success")).count(),
        7,
        "{said:?}"
    );
    assert_eq!(board.board.serial_lost(), 9 * 11 - 63);
}

#[test]
fn a_line_without_an_end_is_taken_after_a_second() {
    let mut board = Board::identified();
    board.send("power_on");
    board.pass(999);
    assert_eq!(board.said(), [""; 0]);
    board.pass(1);
    assert_eq!(
        board.said(),
        ["debug: keyboard accepts power ON command, sets PIN 5 to HIGH"]
    );
    assert!(board.seen.pin);
}

#[test]
fn a_pc_that_starts_is_answered_and_told() {
    let mut board = Board::default();
    board.pc_says(0xFF);
    assert_eq!(
        board.said(),
        [
            "debug: keyboard observed PS/2 host activity; sets PIN 5 to HIGH (AUTO)",
            "debug: keyboard sim recieved 0xFF (RESET)",
            "debug: handling reset command",
            "debug: acknowledge"
        ]
    );
    board.pass(599);
    assert_eq!(board.sent(), [0xFA]);
    board.pass(1);
    assert_eq!(
        (board.sent(), board.said()),
        (vec![0xAA], vec!["debug: sent BAT success".to_owned()])
    );
    board.pc_says(0xF2);
    assert_eq!(board.sent(), [0xFA, 0xAB, 0x83]);
    board.said();
    board.pc_says(0xED);
    board.pc_says(0x02);
    assert_eq!(board.sent(), [0xFA, 0xFA]);
    assert!(
        board
            .said()
            .contains(&"debug: LED arg=0x02 scroll=0 num=1 caps=0".to_owned())
    );
    board.pc_says(0xF3);
    board.pc_says(0x20);
    assert!(
        board
            .said()
            .contains(&"debug: typematic arg=0x20 delayMs=500 rateCps=30.0".to_owned())
    );
    board.pc_says(0xF4);
    assert_eq!(board.sent(), [0xFA, 0xFA, 0xFA]);
    board.pc_says(0xFE);
    assert_eq!(board.sent(), [0xFA], "resend is the last byte again");
    board.pc_says(0xED);
    board.said();
    board.pass(30);
    assert_eq!(
        board.said()[0],
        "debug: LED argument read failed (no reliable byte)"
    );
}

#[test]
fn a_reset_in_a_press_leaves_the_key_down() {
    let mut board = Board::identified();
    board.send("press 0:1c\n");
    board.pass(50);
    board.reset();
    board.pass(5000);
    assert_eq!((board.sent(), board.said()), (vec![0x1C], Vec::new()));
    assert!(!board.board.is_identified());
}

#[test]
fn however_the_bytes_are_cut_the_same_happens() {
    for seed in 0..200 {
        let run = |chunks: bool| {
            let mut random = Random::new(seed);
            let mut cuts = Random::new(seed ^ 0x5555);
            let mut board = Board::default();
            for _ in 0..200 {
                if random.percent(20) {
                    let bytes = [0xFF, 0xF2, 0xED, 0x02, 0xF3, 0x20, 0xF4, 0xFE, 0xEE, 0xF0, 0x00];
                    let byte = random.pick(&bytes, 0xFF);
                    board.pc_says(byte);
                }
                if random.percent(2) {
                    board.reset();
                    board.pass(BOOTLOADER.as_millis() as u64);
                }
                let lines = [
                    "identify\n",
                    "identify\r\nidentify_complete\r\n",
                    "press 0:1c\n",
                    "hold e0:75\nrelease e0:75\n",
                    "power_auto\npower_off\n",
                    "press 0:",
                    "\n",
                    "\u{0}\u{1}junk é\n",
                ];
                let bytes = random.pick(&lines, "").as_bytes();
                board.send_cut(bytes, chunks.then_some(&mut cuts));
                board.pass(random.below(400) as u64);
            }
            (board.lines, board.seen, board.board.serial_lost())
        };
        assert_eq!(run(false), run(true), "seed {seed}");
    }
}
