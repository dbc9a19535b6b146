//! The driver on the native bench with the emulator's firmware in the loop: what is typed reaches the PC once, whatever happens in between; what
//! is refused writes nothing; what is held is let go.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test helpers"
)]

mod rig;

use autobench_sdk::bench::Bench;
use autobench_sdk::{Level, Outcome, Refusal, SerialError, StopReason};
use autobench_sim::pc::keys::{Code, Meaning};
use keyboard::Keyboard;
use keyboard::keys::Key;
use keyboard::layout::{self, Layout};
use proptest::prelude::*;
use rig::{Fate, Rig, succeeded};
use serde_json::{Value as Json, json};

const SENTENCE: &str = "Hello, \"World\"! dir C:\\*.* | MORE\n~{[a^b]} 100% & 2+2=4 @home #1_x";

fn blocked(outcome: Outcome) -> String {
    match outcome {
        Outcome::Blocked(text) => text,
        other => panic!("not blocked: {other:?}"),
    }
}

fn failed(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed(text) => text,
        other => panic!("not failed: {other:?}"),
    }
}

fn count(outcome: &str) -> i64 {
    i64::try_from(outcome.chars().count()).expect("it is short")
}

// --- what reaches the PC ---

#[test]
fn a_text_in_us_reaches_the_pc_as_it_is() {
    let mut rig = Rig::ready();
    let outcome = rig.run("type", json!({ "text": SENTENCE }));
    assert_eq!(outcome, succeeded(count(SENTENCE)));
    assert_eq!(rig.text(), SENTENCE);
    assert_eq!(rig.down(), []);
    assert_eq!(rig.bench().leases(), []);
}

#[test]
fn every_chunking_of_what_the_adapter_says_gives_the_same() {
    let mut whole = Rig::ready();
    whole.run("type", json!({ "text": "aB~~" }));
    for chunk in [1, 2, 3, 5, 7, 11, 40] {
        let mut rig = Rig::ready();
        rig.chunk = chunk;
        rig.run("type", json!({ "text": "aB~~" }));
        assert_eq!(rig.written, whole.written, "in pieces of {chunk}");
        assert_eq!(rig.to_pc, whole.to_pc, "in pieces of {chunk}");
        assert_eq!(rig.slice()["operationHistory"].as_array().map(Vec::len), Some(1));
    }
}

/// `golden.txt` was worked out from a table of set 2 and from what is printed on the keys, not from the layout files.
#[test]
fn the_scan_codes_of_every_character_of_every_layout_are_the_golden_ones() {
    let mut found = String::new();
    for name in layout::names() {
        let layout = Layout::named(name).expect("it is there").expect("it is good");
        for character in layout.characters() {
            let mut rig = Rig::ready_with(json!({ "layout": name, "pacing-ms": 0 }));
            let outcome = rig.run("type", json!({ "text": character.to_string() }));
            assert_eq!(outcome, succeeded(1), "{name}: {character:?}");
            assert_eq!(rig.down(), [], "{name}: {character:?}");
            let bytes: Vec<_> = rig.to_pc.iter().map(|byte| format!("{byte:02X}")).collect();
            found += &format!("{name} {character:?} {}\n", bytes.join(" "));
        }
    }
    let golden = include_str!("golden.txt");
    if found != golden {
        for (found, golden) in found.lines().zip(golden.lines()) {
            assert_eq!(found, golden);
        }
        std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/golden.txt"), &found)
            .expect("it can be written");
        panic!("the files differ in length; what was found is in golden.txt in the target's tmp folder");
    }
}

/// `keys.txt` has what a keyboard sends when a key is pressed, from a table of set 2 and not from the driver's.
#[test]
fn every_key_goes_down_and_up_with_its_golden_codes() {
    let mut found = Vec::new();
    for key in Key::all() {
        let mut rig = Rig::ready();
        assert_eq!(
            rig.run("press", json!({ "key": key.name() })),
            succeeded(1),
            "{key}"
        );
        assert_eq!(rig.down(), [], "{key}");
        assert_eq!(rig.bench().leases(), [], "{key}");
        let bytes: Vec<_> = rig.to_pc.iter().map(|byte| format!("{byte:02X}")).collect();
        found.push(format!("{key} {}", bytes.join(" ")));
    }
    found.sort();
    let golden: Vec<_> = include_str!("keys.txt").lines().collect();
    assert_eq!(found, golden);
}

#[test]
fn pause_and_print_screen_are_their_whole_sequences() {
    let mut rig = Rig::ready();
    rig.run("press", json!({ "key": "Pause" }));
    assert_eq!(rig.to_pc, [0xE1, 0x14, 0x77, 0xE1, 0xF0, 0x14, 0xF0, 0x77]);
    let mut rig = Rig::ready();
    rig.run("press", json!({ "key": "PrintScreen" }));
    assert_eq!(
        rig.to_pc,
        [0xE0, 0x12, 0xE0, 0x7C, 0xE0, 0xF0, 0x7C, 0xE0, 0xF0, 0x12]
    );
}

#[test]
fn a_combo_starts_the_pc_over_and_leaves_nothing_down() {
    let mut rig = Rig::ready();
    let keys = json!({ "keys": ["ControlLeft", "AltLeft", "Delete"] });
    assert_eq!(rig.run("combo", keys), succeeded(1));
    assert_eq!(rig.typed, [Meaning::ControlAltDelete]);
    assert_eq!(rig.down(), []);
    let refused = blocked(rig.run("combo", json!({ "keys": ["KeyA", "KeyB"] })));
    assert!(refused.contains("KeyA is no modifier"), "{refused}");
}

#[test]
fn a_press_lasts_as_long_as_it_was_asked_for() {
    let mut rig = Rig::ready();
    let id = rig.command("press", json!({ "key": "KeyA", "durationMs": 700 }));
    rig.advance_ms(700);
    assert_eq!(rig.down(), [Code::plain(0x1C)]);
    rig.end_of(&id);
    assert_eq!(rig.down(), []);
}

#[test]
fn a_macro_does_one_after_the_other_with_its_delays() {
    let steps = json!([{ "type": "DIR" }, { "delay-ms": 500 }, { "press": "Enter" },
        { "combo": ["ControlLeft", "KeyC"] }]);
    let mut rig = Rig::ready_with(json!({ "macros": { "list": steps } }));
    let before_ns = rig.bench().now_ns();
    assert_eq!(rig.run("macro", json!({ "name": "list" })), succeeded(6));
    assert!(rig.bench().now_ns() - before_ns > 900_000_000);
    assert_eq!(rig.text(), "DIR\n");
    assert_eq!(rig.typed.last(), Some(&Meaning::ControlC));
    let refused = blocked(rig.run("macro", json!({ "name": "lits" })));
    assert!(refused.contains("there are: list"), "{refused}");
}

// --- swaps and restarts ---

#[test]
fn a_swap_at_any_moment_types_each_character_once() {
    let text = "aAbB\n";
    for moment in 0..80 {
        let mut rig = Rig::ready();
        rig.chunk = 9;
        let id = rig.command("type", json!({ "text": text }));
        rig.advance_ms(moment * 15);
        rig.swap();
        assert_eq!(
            rig.end_of(&id),
            succeeded(count(text)),
            "swapped after {} ms",
            moment * 15
        );
        assert_eq!(rig.text(), text, "swapped after {} ms", moment * 15);
        assert_eq!(rig.down(), []);
    }
}

#[test]
fn a_restart_in_ready_identifies_only_without_a_checkpoint() {
    let mut rig = Rig::ready();
    rig.restart(true);
    rig.advance_ms(20_000);
    assert_eq!(rig.written, b"");
    assert_eq!(rig.slice()["phase"], "ready");
    rig.swap();
    rig.advance_ms(20_000);
    assert_eq!(rig.written, b"");
    rig.restart(false);
    rig.advance_ms(10);
    assert_eq!(rig.written, b"identify\nidentify_complete\n");
    assert_eq!(rig.slice()["phase"], "ready");
}

/// A breakdown lets Shift go, whatever needs it.
#[test]
fn a_breakdown_at_any_moment_types_each_character_once_and_as_it_is() {
    let text = "aABb";
    for moment in 0..75 {
        let mut rig = Rig::ready();
        let id = rig.command("type", json!({ "text": text }));
        rig.advance_ms(moment * 10);
        rig.restart(true);
        assert_eq!(
            rig.end_of(&id),
            succeeded(count(text)),
            "after {} ms",
            moment * 10
        );
        assert_eq!(rig.text(), text, "after {} ms", moment * 10);
        assert_eq!(rig.down(), [], "after {} ms", moment * 10);
    }
}

#[test]
fn a_hold_lives_through_a_swap_and_ends_with_a_breakdown() {
    let mut rig = Rig::ready();
    rig.run("hold", json!({ "key": "ArrowUp" }));
    rig.swap();
    rig.advance_ms(500);
    assert_eq!(rig.down(), [Code::extended(0x75)]);
    assert_eq!(rig.slice()["heldKeys"], json!(["ArrowUp"]));
    rig.restart(true);
    rig.advance_ms(100);
    assert_eq!(rig.down(), []);
    assert_eq!(rig.slice()["heldKeys"], json!([]));
}

#[test]
fn a_line_that_comes_back_is_identified_again_and_types_nothing_old() {
    let mut rig = Rig::ready();
    let running = rig.command("type", json!({ "text": "ABCDEFGH" }));
    let waiting = rig.command("type", json!({ "text": "later" }));
    rig.advance_ms(400);
    rig.lose();
    assert_eq!(rig.slice()["phase"], "disconnected");
    let text = failed(rig.end_of(&running));
    assert!(
        text.contains("the line is away: unplugged; 3 of 8 characters were done"),
        "{text}"
    );
    assert!(blocked(rig.end_of(&waiting)).contains("away"));
    let typed = rig.text();
    rig.attach();
    rig.advance_ms(5000);
    assert_eq!(rig.slice()["phase"], "ready");
    assert_eq!(rig.slice()["lastError"], Json::Null);
    assert_eq!(rig.text(), typed);
    assert_eq!(rig.down(), [], "what undoes the hold went out first");
}

#[test]
fn a_board_that_was_reset_is_identified_again_and_the_text_goes_on() {
    let mut rig = Rig::ready();
    rig.run("type", json!({ "text": "ab" }));
    rig.reset_board();
    rig.advance_ms(2000);
    assert_eq!(rig.run("type", json!({ "text": "cD" })), succeeded(2));
    assert_eq!(rig.text(), "abcD");
    let warnings = rig.bench().logs().iter().filter(|line| line.level == Level::Warn);
    assert_eq!(warnings.count(), 1);
}

// --- answers that are lost ---

#[test]
fn a_key_whose_answer_is_lost_is_not_pressed_again() {
    let mut rig = Rig::ready();
    rig.inbound = |number, line| match (number, line.starts_with("success: press")) {
        (2, true) => Fate::IsLost,
        _ => Fate::Arrives,
    };
    let text = failed(rig.run("type", json!({ "text": "abcdef" })));
    assert!(
        text.contains("2 of 6 characters were done; the next one may have been typed"),
        "{text}"
    );
    assert_eq!(rig.text(), "abc");
    assert_eq!(rig.slice()["phase"], "ready");
    assert_eq!(rig.slice()["lastError"]["scope"], "protocol");
    // And it goes on as if nothing had been.
    assert_eq!(rig.run("type", json!({ "text": "d" })), succeeded(1));
    assert_eq!(rig.text(), "abcd");
}

#[test]
fn a_line_that_is_lost_leaves_nothing_down() {
    // Shift down, a, b, shift up, c: each of these lines is lost once.
    for lost in 0..5 {
        let mut rig = Rig::ready();
        rig.outbound = match lost {
            0 => |number, _| if number == 0 { Fate::IsLost } else { Fate::Arrives },
            1 => |number, _| if number == 1 { Fate::IsLost } else { Fate::Arrives },
            2 => |number, _| if number == 2 { Fate::IsLost } else { Fate::Arrives },
            3 => |number, _| if number == 3 { Fate::IsLost } else { Fate::Arrives },
            _ => |number, _| if number == 4 { Fate::IsLost } else { Fate::Arrives },
        };
        let outcome = rig.run("type", json!({ "text": "ABc" }));
        let typed = match lost {
            // Of shift, which may be sent again, nothing is noticed.
            0 | 3 => ("ABc", true),
            1 => ("", false),
            2 => ("A", false),
            _ => ("AB", false),
        };
        assert_eq!(
            (rig.text().as_str(), outcome == succeeded(3)),
            typed,
            "line {lost}"
        );
        assert_eq!(rig.down(), [], "line {lost}");
    }
}

#[test]
fn a_line_that_the_adapter_has_not_understood_is_sent_again() {
    let mut rig = Rig::ready();
    rig.outbound = |_, _| Fate::IsLost;
    let id = rig.command("press", json!({ "key": "KeyA" }));
    rig.outbound = |_, _| Fate::Arrives;
    rig.bench()
        .feed("main", b"debug: command is pres:1c. nothing to do\r\n");
    assert_eq!(rig.end_of(&id), succeeded(1));
    assert_eq!(rig.text(), "a");
}

#[test]
fn an_adapter_that_answers_nothing_any_more_is_identified_again_without_end() {
    let mut rig = Rig::ready();
    rig.outbound = |_, _| Fate::IsLost;
    let id = rig.command("type", json!({ "text": "A" }));
    rig.advance_ms(3 * 1500 + 10);
    assert!(failed(rig.end_of(&id)).contains("does not answer any more"));
    assert_eq!(rig.slice()["phase"], "identifying");
    rig.advance_ms(9000);
    assert_eq!(rig.slice()["phase"], "error");
    rig.advance_ms(200_000);
    let warnings = rig.bench().logs().iter().filter(|line| line.level == Level::Warn);
    assert_eq!(warnings.count(), 2, "one for each change of phase");
    rig.outbound = |_, _| Fate::Arrives;
    rig.advance_ms(10_000);
    assert_eq!(rig.slice()["phase"], "ready");
    assert_eq!(rig.slice().get("message"), None);
}

#[test]
fn what_the_adapter_says_by_itself_is_no_answer() {
    let mut rig = Rig::ready();
    rig.inbound = |_, _| Fate::IsLost;
    let id = rig.command("press", json!({ "key": "KeyA" }));
    for noise in [
        "success: press command for scan code 1B\r\n",
        "success: hold command for scan code 1C\r\n",
        "debug: acknowledge\r\nKB\r\n",
        "\u{0}\u{1}garbage\r\n",
    ] {
        rig.bench().feed("main", noise.as_bytes());
    }
    rig.advance_ms(300);
    assert_eq!(rig.bench().outcome(&id), None);
    rig.bench()
        .feed("main", b"success: press command for scan code 1C\r\n");
    assert_eq!(rig.end_of(&id), succeeded(1));
}

#[test]
fn a_line_that_takes_nothing_is_tried_again_and_then_given_up() {
    let mut rig = Rig::ready();
    rig.bench().refuse_writes("main", Some(SerialError::Full));
    let id = rig.command("type", json!({ "text": "a" }));
    rig.advance_ms(150);
    rig.bench().refuse_writes("main", None);
    assert_eq!(rig.end_of(&id), succeeded(1));
    assert_eq!(rig.text(), "a");
    rig.bench().refuse_writes("main", Some(SerialError::Full));
    assert!(failed(rig.run("type", json!({ "text": "B" }))).contains("takes nothing"));
    assert_eq!(rig.bench().leases(), []);
}

// --- identification ---

#[test]
fn old_news_before_the_token_are_passed_over() {
    let mut bench: Bench<Keyboard> = Bench::start().expect("starts");
    assert_eq!(bench.written("main"), b"identify\n");
    bench.feed(
        "main",
        b"debug: acknowledge\r\nsuccess: press command for scan code 1C\r\nKB",
    );
    assert_eq!(bench.written("main"), b"");
    let mut bench = bench.swap().expect("the successor starts");
    bench.feed("main", b"\r\n");
    assert_eq!(bench.written("main"), b"identify_complete\n");
    assert_eq!(bench.slice()["phase"], "ready");
    assert_eq!(bench.phases(), ["identifying", "identifying", "ready"]);
}

#[test]
fn another_board_is_not_taken_for_a_keyboard() {
    let mut bench: Bench<Keyboard> = Bench::start().expect("starts");
    bench.written("main");
    bench.feed("main", b"FP\r\n");
    bench.advance_ms(100);
    assert_eq!(bench.written("main"), b"");
    assert_eq!(bench.slice()["phase"], "error");
    assert!(
        bench.slice()["message"]
            .as_str()
            .is_some_and(|text| text.contains("says FP"))
    );
    bench.advance_ms(5000);
    assert_eq!(bench.written("main"), b"identify\n");
}

#[test]
fn it_may_start_before_the_adapter_is_there() {
    let mut bench = Bench::<Keyboard>::setup()
        .detached("main")
        .start()
        .expect("starts");
    assert_eq!(bench.slice()["phase"], "disconnected");
    let id = bench.command("press", &json!({ "key": "KeyA" }));
    assert_eq!(
        bench.outcome(&id),
        Some(&Outcome::Blocked(
            "the adapter is not ready: disconnected".to_owned()
        ))
    );
    bench.advance_ms(10_000);
    assert_eq!(bench.written("main"), b"");
    bench.attach("main");
    assert_eq!(bench.written("main"), b"identify\n");
}

// --- refusals, the queue, cancelling ---

#[test]
fn no_refused_command_writes_a_byte() {
    let mut rig = Rig::ready();
    for (name, arguments, complaint) in [
        ("press", json!({ "key": "Fn" }), "there is no key \"Fn\""),
        (
            "press",
            json!({ "key": "Pause", "durationMs": 500 }),
            "Pause cannot be held",
        ),
        (
            "press",
            json!({ "key": "KeyA", "durationMs": 5 }),
            "from 10 to 60000",
        ),
        ("hold", json!({ "key": "Pause" }), "Pause cannot be held"),
        (
            "hold",
            json!({ "key": "KeyA", "maximumMs": 20_000 }),
            "from 10 to 10000",
        ),
        ("release", json!({ "key": "a" }), "there is no key \"a\""),
        ("combo", json!({ "keys": [] }), "at least one"),
        (
            "combo",
            json!({ "keys": ["ShiftLeft", "ShiftLeft"] }),
            "there twice",
        ),
        ("type", json!({ "text": "naïve €" }), "'ï' at 3, '€' at 7"),
        (
            "type",
            json!({ "text": "a", "layout": "fr" }),
            "there are: us, uk, de",
        ),
        ("type", json!({ "text": "a".repeat(4001) }), "at most 4000"),
        ("macro", json!({ "name": "x" }), "no macro"),
    ] {
        let text = blocked(rig.run(name, arguments));
        assert!(text.contains(complaint), "{text}");
    }
    rig.advance_ms(5000);
    assert_eq!(rig.written, b"");
    assert_eq!(rig.bench().leases(), []);
}

#[test]
fn a_queue_that_is_full_refuses_the_next_and_keeps_the_others() {
    let mut rig = Rig::ready_with(json!({ "queue-depth": 2 }));
    let ids: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|text| rig.command("type", json!({ "text": text })))
        .collect();
    let refused = rig.command("type", json!({ "text": "d" }));
    assert!(blocked(rig.end_of(&refused)).contains("the queue is full: 2 commands wait"));
    rig.advance_ms(50);
    assert_eq!(rig.slice()["queueDepth"], 2);
    for id in &ids {
        assert_eq!(rig.end_of(id), succeeded(1));
    }
    assert_eq!(rig.text(), "abc");
    rig.advance_ms(100);
    assert_eq!(rig.slice()["queueDepth"], 0);
    assert_eq!(
        (&rig.slice()["busy"], &rig.slice()["currentOp"]),
        (&json!(false), &Json::Null)
    );
}

#[test]
fn a_text_that_is_cancelled_stops_and_leaves_nothing_down() {
    let mut rig = Rig::ready();
    let running = rig.command("type", json!({ "text": "ABCDEFGH" }));
    let waiting = rig.command("type", json!({ "text": "x" }));
    let last = rig.command("type", json!({ "text": "z" }));
    rig.advance_ms(300);
    rig.bench().cancel_command(&waiting, "on request");
    rig.bench().cancel_command(&running, "on request");
    assert_eq!(rig.end_of(&waiting), Outcome::Cancelled);
    assert_eq!(rig.end_of(&running), Outcome::Cancelled);
    assert_eq!(rig.end_of(&last), succeeded(1));
    // The key that was under way is not taken back.
    assert_eq!(rig.text(), "ABCz");
    assert_eq!(rig.down(), []);
    rig.advance_ms(100);
    let history = rig.slice()["operationHistory"].clone();
    assert_eq!(history[0]["status"], "cancelled");
    assert_eq!(history[2]["label"], "type 1 characters");
}

#[test]
fn cancelling_a_long_press_lets_the_key_go_at_once() {
    let mut rig = Rig::ready();
    let id = rig.command("press", json!({ "key": "ArrowUp", "durationMs": 60_000 }));
    rig.advance_ms(200);
    assert_eq!(rig.down(), [Code::extended(0x75)]);
    rig.bench().cancel_command(&id, "on request");
    rig.advance_ms(100);
    assert_eq!(rig.bench().outcome(&id), Some(&Outcome::Cancelled));
    assert_eq!(rig.down(), []);
}

// --- holds ---

#[test]
fn a_hold_has_its_lease_before_its_line_and_ends_with_it() {
    let mut rig = Rig::ready();
    let id = rig
        .bench()
        .command("hold", &json!({ "key": "KeyA", "maximumMs": 2000 }));
    let leases = rig.bench().leases().to_vec();
    assert_eq!(leases.len(), 1);
    assert_eq!(leases[0].release, b"release 0:1c\n");
    assert_eq!(rig.end_of(&id), Outcome::Succeeded(None));
    assert_eq!(rig.written, b"hold 0:1c\n");
    rig.advance_ms(1000);
    // Once more for two seconds, without another make.
    assert_eq!(
        rig.run("hold", json!({ "key": "KeyA", "maximumMs": 2000 })),
        Outcome::Succeeded(None)
    );
    rig.advance_ms(1500);
    assert_eq!(rig.written, b"hold 0:1c\n");
    assert_eq!(rig.down(), [Code::plain(0x1C)]);
    rig.advance_ms(1000);
    assert_eq!(rig.down(), []);
    assert_eq!(rig.written, b"hold 0:1c\nrelease 0:1c\n");
    assert_eq!(rig.slice()["heldKeys"], json!([]));
}

#[test]
fn a_release_gives_the_lease_back_and_nothing_is_written_twice() {
    let mut rig = Rig::ready();
    rig.run("hold", json!({ "key": "ControlRight" }));
    assert_eq!(
        rig.run("release", json!({ "key": "ControlRight" })),
        Outcome::Succeeded(None)
    );
    rig.advance_ms(20_000);
    assert_eq!(rig.written, b"hold e0:14\nhold 0:e0\nrelease 0:14\n");
    assert_eq!(rig.to_pc, [0xE0, 0x14, 0xE0, 0xF0, 0x14]);
}

#[test]
fn a_text_waits_for_no_key_that_is_held_but_is_refused() {
    let mut rig = Rig::ready();
    rig.run("hold", json!({ "key": "ControlLeft" }));
    assert!(blocked(rig.run("type", json!({ "text": "c" }))).contains("ControlLeft is held"));
    assert_eq!(rig.run("press", json!({ "key": "KeyC" })), succeeded(1));
    assert_eq!(rig.typed, [Meaning::ControlC]);
}

#[test]
fn release_all_withdraws_what_is_under_way_and_lets_everything_go() {
    let mut rig = Rig::ready();
    rig.run("hold", json!({ "key": "ShiftRight" }));
    rig.run("hold", json!({ "key": "ArrowDown" }));
    let running = rig.command("press", json!({ "key": "KeyA", "durationMs": 5000 }));
    rig.advance_ms(200);
    assert_eq!(rig.run("release-all", json!({})), Outcome::Succeeded(None));
    assert_eq!(rig.bench().outcome(&running), Some(&Outcome::Cancelled));
    assert_eq!(rig.down(), []);
    assert_eq!(rig.bench().leases(), []);
}

#[test]
fn nothing_stays_down_when_the_driver_is_stopped() {
    let mut rig = Rig::ready();
    rig.run("hold", json!({ "key": "KeyA" }));
    let bench = rig.into_bench();
    assert_eq!(bench.stop(StopReason::Shutdown, "main"), b"release 0:1c\n");
}

// --- the PC's power ---

#[test]
fn power_off_cancels_what_is_queued_and_lets_go() {
    let mut rig = Rig::ready();
    rig.bench().observe("frontPanel", &json!({ "powerSense": "on" }));
    rig.run("hold", json!({ "key": "AltLeft" }));
    let running = rig.command("press", json!({ "key": "KeyA", "durationMs": 5000 }));
    let waiting = rig.command("press", json!({ "key": "KeyB" }));
    rig.advance_ms(100);
    rig.bench().observe("frontPanel", &json!({ "powerSense": "off" }));
    assert_eq!(rig.end_of(&waiting), Outcome::Cancelled);
    assert_eq!(rig.end_of(&running), Outcome::Cancelled);
    assert_eq!(rig.progress(&running), ["the PC is off"]);
    rig.advance_ms(500);
    assert_eq!(rig.down(), []);
    assert_eq!(rig.bench().leases(), []);
    let written = rig.written.len();
    assert!(blocked(rig.run("type", json!({ "text": "a" }))).contains("the PC is off"));
    assert_eq!(rig.written.len(), written);
    // What is unknown forbids nothing.
    rig.bench()
        .observe("frontPanel", &json!({ "powerSense": "unknown" }));
    assert_eq!(rig.run("type", json!({ "text": "a" })), succeeded(1));
    rig.bench().observe("frontPanel", &json!({ "powerSense": "off" }));
    rig.bench().forget("frontPanel");
    assert_eq!(rig.run("type", json!({ "text": "b" })), succeeded(1));
}

#[test]
fn the_pin_is_as_the_adapter_says() {
    let mut rig = Rig::ready();
    assert_eq!(rig.slice()["power"], "unknown");
    assert_eq!(
        rig.run("power", json!({ "mode": "on" })),
        Outcome::Succeeded(None)
    );
    assert_eq!(rig.written, b"power_on\n");
    rig.advance_ms(100);
    assert_eq!(rig.slice()["power"], "on");
    rig.run("power", json!({ "mode": "off" }));
    rig.advance_ms(100);
    assert_eq!(rig.slice()["power"], "off");
    rig.run("power", json!({ "mode": "auto" }));
    rig.pc_sends(0xF4);
    rig.advance_ms(100);
    assert_eq!(rig.slice()["power"], "on");
}

#[test]
fn a_text_is_not_typed_with_caps_lock_on() {
    let mut rig = Rig::ready();
    rig.pc_sends(0xED);
    rig.pc_sends(0x06);
    rig.advance_ms(100);
    assert_eq!(
        rig.slice()["lights"],
        json!({ "scroll": false, "num": true, "caps": true })
    );
    assert!(blocked(rig.run("type", json!({ "text": "a" }))).contains("Caps Lock"));
    rig.pc_sends(0xFF);
    rig.advance_ms(1000);
    assert_eq!(rig.slice()["lights"], Json::Null);
    assert_eq!(rig.run("type", json!({ "text": "a" })), succeeded(1));
}

// --- secrets ---

#[test]
fn a_secret_is_nowhere_but_on_the_line_and_in_the_snapshot() {
    let secret = "Sesame99";
    let mut rig = Rig::ready();
    let id = rig.command("type", json!({ "text": secret, "secret": true }));
    let missing = rig.command("type", json!({ "text": "Sesame99€", "secret": true }));
    rig.advance_ms(600);
    rig.swap();
    rig.inbound = |_, _| Fate::IsLost;
    let ended = failed(rig.end_of(&id));
    let refused = blocked(rig.end_of(&missing));
    assert!(refused.ends_with("has no keys for 9"), "{refused}");
    rig.advance_ms(100);
    let bench = rig.bench();
    let seen = format!(
        "{:?}{:?}{:?}{ended}{refused}{}",
        bench.logs(),
        bench.events(),
        bench.replies(),
        bench.slice()
    );
    for part in ["Sesame", "esam", "e99", "€", "press 0", "scan code"] {
        assert!(!seen.contains(part), "{part:?} is in {seen}");
    }
}

// --- settings, manifest ---

#[test]
fn wrong_settings_are_refused_with_every_problem() {
    let settings = json!({ "queue-depth": 0, "layout": "us", "macros": { "m": [{ "press": "Fn" }], "n": [{ "type": "ä" }] } });
    match Bench::<Keyboard>::setup().settings(settings).start() {
        Err(Refusal::InvalidSettings(text)) => {
            for part in [
                "queue-depth is 0",
                "macro m: there is no key \"Fn\"",
                "macro n: the layout has no keys for 1",
            ] {
                assert!(text.contains(part), "{text}");
            }
        }
        other => panic!("not refused for its settings: {:?}", other.err()),
    }
}

#[test]
fn new_settings_are_taken_while_it_runs_and_bad_ones_are_not() {
    let mut rig = Rig::ready();
    rig.bench().change_settings(json!({ "layout": "de" }));
    rig.run("type", json!({ "text": "y" }));
    assert_eq!(rig.text(), "z");
    rig.bench().change_settings(json!({ "layout": "fr" }));
    rig.run("type", json!({ "text": "z" }));
    assert_eq!(rig.text(), "zy");
    assert_eq!(
        rig.written.windows(8).filter(|part| part == b"identify").count(),
        0
    );
}

#[test]
fn the_manifest_is_the_same_each_time_and_names_what_it_observes() {
    let manifest = Bench::<Keyboard>::manifest();
    assert_eq!(manifest, Bench::<Keyboard>::manifest());
    assert_eq!(manifest.slice, "ps2Keyboard");
    assert_eq!(manifest.observes, ["frontPanel"]);
    let names: Vec<_> = manifest
        .commands
        .iter()
        .map(|command| command.name.as_str())
        .collect();
    let expected = [
        "press",
        "hold",
        "release",
        "release-all",
        "combo",
        "type",
        "macro",
        "power",
        "cancel-all",
    ];
    assert_eq!(names, expected);
}

fn cases() -> ProptestConfig {
    let long = std::env::var_os("AUTOBENCH_LONG").is_some();
    ProptestConfig::with_cases(if long { 2000 } else { 30 })
}

proptest! {
    #![proptest_config(cases())]

    /// Whatever the adapter says, the driver stands, and goes on.
    #[test]
    fn garbage_never_stops_it(garbage in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut rig = Rig::ready();
        rig.bench().feed("main", &garbage);
        rig.bench().feed("main", b"\r\n");
        rig.advance_ms(10_000);
        prop_assert_eq!(rig.run("type", json!({ "text": "a" })), succeeded(1));
    }

    /// Swaps, pauses and pieces in any order: each character is typed once.
    #[test]
    fn nothing_between_the_answers_changes_what_is_typed(
        chunk in 1..50_usize,
        pauses in prop::collection::vec(1..200_u64, 0..20),
        text in "[a-zA-Z0-9 !?]{1,12}",
    ) {
        let mut rig = Rig::ready();
        rig.chunk = chunk;
        let id = rig.command("type", json!({ "text": text }));
        for pause_ms in pauses {
            rig.advance_ms(pause_ms);
            rig.swap();
        }
        prop_assert_eq!(rig.end_of(&id), succeeded(count(&text)));
        prop_assert_eq!(rig.text(), text);
        prop_assert_eq!(rig.down(), []);
    }
}
