//! A command that finds nothing to press asks the board first: one that was reset says nothing by itself, and what it said last may be over.

use atx::Atx;
use autobench_sdk::bench::{Bench, Reply, Transcript, blocked, failed};
use autobench_sdk::{Outcome, SerialError, Value};
use serde_json::{Value as Json, json};

use crate::{COMPLETE, COMPLETE_ON, HELD, IDENTIFIED, IDENTIFY, RELEASED, ready, running};

fn text(sense: &str) -> Outcome {
    Outcome::Succeeded(Some(Value::Text(sense.to_owned())))
}

/// The board answers.
fn answer(bench: &mut Bench<Atx>, complete: &[u8]) {
    bench.feed("main", b"FP\r\n");
    assert_eq!(bench.written("main"), IDENTIFIED);
    bench.feed("main", complete);
}

/// How a test begins.
type Begin = fn() -> Bench<Atx>;

/// What finds all as it should be, and the board that says so.
const SATISFIED: [(&str, Begin, &[u8], &str); 3] = [
    ("on", running, COMPLETE_ON, "on"),
    ("off", ready, COMPLETE, "off"),
    ("force-off", ready, COMPLETE, "off"),
];

#[test]
fn what_is_as_it_should_be_is_asked_for_and_left_alone() {
    for (name, begin, complete, sense) in SATISFIED {
        let mut bench = begin();
        let (logs, phases) = (bench.logs().len(), bench.phases().len());
        let id = bench.command(name, &json!({}));
        assert_eq!(bench.written("main"), IDENTIFY, "{name}");
        assert_eq!(bench.outcome(&id), None, "{name}");
        assert_eq!(bench.slice()["currentOp"]["kind"], name);
        assert_eq!(bench.slice()["phase"], "ready");
        answer(&mut bench, complete);
        assert_eq!(bench.outcome(&id), Some(&text(sense)), "{name}");
        bench.advance_ms(30_000);
        assert_eq!(bench.written("main"), b"", "{name}");
        assert_eq!(bench.leases(), []);
        let slice = bench.slice();
        for (member, value) in [
            ("busy", json!(false)),
            ("powerSense", json!(sense)),
            ("phase", json!("ready")),
            ("lastError", Json::Null),
        ] {
            assert_eq!(slice[member], value, "{name}: {member}");
        }
        assert_eq!(
            (bench.logs().len(), bench.phases().len()),
            (logs, phases),
            "{name}: {:?}",
            bench.logs()
        );
    }
}

#[test]
fn what_was_stale_is_put_right_and_pressed() {
    let cases: [(&str, Begin, &[u8], &[u8]); 5] = [
        ("on", running, COMPLETE, b"POWER_HOLD\n"),
        ("off", ready, COMPLETE_ON, b"POWER_HOLD\n"),
        ("force-off", ready, COMPLETE_ON, b"POWER_HOLD\n"),
        ("reset", ready, COMPLETE_ON, b"RESET_HOLD\n"),
        ("cycle", ready, COMPLETE_ON, b"POWER_HOLD\n"),
    ];
    for (name, begin, complete, hold) in cases {
        let mut bench = begin();
        let id = bench.command(name, &json!({}));
        assert_eq!(bench.written("main"), IDENTIFY, "{name}");
        answer(&mut bench, complete);
        assert_eq!(bench.written("main"), hold, "{name}");
        assert_eq!(bench.outcome(&id), None, "{name}");
        assert_eq!(bench.slice()["phase"], "ready");
    }

    let mut bench = running();
    let on = bench.command("on", &json!({}));
    bench.written("main");
    answer(&mut bench, COMPLETE);
    bench.feed("main", HELD);
    bench.advance_ms(250);
    bench.feed("main", RELEASED);
    bench.feed("main", b"POWER_LED_ON\r\n");
    assert_eq!(bench.outcome(&on), Some(&text("on")));
    assert_eq!(bench.written("main"), b"POWER_HOLD\nPOWER_RELEASE\n");
}

#[test]
fn a_reset_of_a_pc_that_is_off_fails_by_what_the_board_says() {
    let mut bench = ready();
    let reset = bench.command("reset", &json!({}));
    assert_eq!(bench.written("main"), IDENTIFY);
    answer(&mut bench, COMPLETE);
    assert!(failed(bench.outcome(&reset)).starts_with("power-off: "));
    assert_eq!(bench.slice()["busy"], false);
    assert_eq!(bench.slice()["operationHistory"][0]["status"], "failed");
    bench.advance_ms(30_000);
    assert_eq!(bench.written("main"), b"");
}

#[test]
fn a_cycle_of_a_pc_that_is_off_is_only_switched_on() {
    let mut bench = ready();
    bench.command("cycle", &json!({}));
    assert_eq!(bench.written("main"), IDENTIFY);
    answer(&mut bench, COMPLETE);
    bench.feed("main", HELD);
    bench.advance_ms(250);
    assert_eq!(bench.written("main"), b"POWER_HOLD\nPOWER_RELEASE\n");
}

#[test]
fn what_presses_is_not_asked_for() {
    for (name, begin) in [
        ("on", ready as Begin),
        ("off", running),
        ("force-off", running),
        ("cycle", running),
    ] {
        let mut bench = begin();
        bench.command(name, &json!({}));
        assert_eq!(bench.written("main"), b"POWER_HOLD\n", "{name}");
    }
}

#[test]
fn a_board_that_does_not_answer_fails_the_command() {
    for (name, begin, ..) in SATISFIED {
        let mut bench = begin();
        let id = bench.command(name, &json!({}));
        let waiting = bench.command("press", &json!({ "button": "power" }));
        for _ in 0..3 {
            assert_eq!(bench.written("main"), IDENTIFY, "{name}");
            bench.advance_ms(1999);
            assert_eq!(bench.written("main"), b"", "{name}");
            assert_eq!(bench.outcome(&id), None, "{name}");
            bench.advance_ms(1);
        }
        assert!(
            failed(bench.outcome(&id)).starts_with("not-confirmed: "),
            "{name}"
        );
        assert!(
            blocked(bench.outcome(&waiting)).starts_with("not-ready: "),
            "{name}"
        );
        // Whether it obeys is not known, so it is identified again.
        assert_eq!(bench.written("main"), IDENTIFY, "{name}");
        assert_eq!(bench.slice()["phase"], "identifying");
        assert_eq!(bench.slice()["powerSense"], "unknown");
        answer(&mut bench, COMPLETE);
        assert_eq!(bench.slice()["phase"], "ready");
        assert_eq!(bench.slice()["busy"], false);
    }
}

#[test]
fn a_board_that_does_not_say_how_power_is_is_asked_again() {
    let mut bench = running();
    let on = bench.command("on", &json!({}));
    bench.written("main");
    answer(&mut bench, b"debug: front panel identification complete\r\n");
    bench.advance_ms(1999);
    assert_eq!(bench.written("main"), b"");
    bench.advance_ms(1);
    assert_eq!(bench.written("main"), IDENTIFY);
    answer(&mut bench, COMPLETE_ON);
    assert_eq!(bench.outcome(&on), Some(&text("on")));
}

#[test]
fn news_before_the_answer_decides_nothing() {
    let mut bench = running();
    let on = bench.command("on", &json!({}));
    bench.feed("main", b"POWER_LED_ON\r\nHDD_ACTIVE_ON\r\n");
    assert_eq!(bench.outcome(&on), None);
    bench.feed("main", b"POWER_LED_OFF\r\n");
    assert_eq!(bench.outcome(&on), None);
    assert_eq!(bench.written("main"), IDENTIFY);
    answer(&mut bench, COMPLETE);
    assert_eq!(bench.written("main"), b"POWER_HOLD\n");
}

#[test]
fn half_a_line_from_before_does_not_spoil_a_later_answer() {
    let mut bench = running();
    let on = bench.command("on", &json!({}));
    bench.feed("main", b"HDD_ACTIVE_O");
    bench.feed("main", b"FP\r\nHDD_ACTIVE_O");
    bench.advance_ms(2000);
    assert_eq!(bench.written("main"), [IDENTIFY, IDENTIFY].concat());
    answer(&mut bench, COMPLETE_ON);
    assert_eq!(bench.outcome(&on), Some(&text("on")));
}

#[test]
fn a_board_that_takes_long_for_everything_may_take_long_for_this() {
    let mut bench = running();
    bench.change_settings(json!({ "reply-ms": 10_000 }));
    let on = bench.command("on", &json!({}));
    bench.advance_ms(9999);
    assert_eq!(bench.written("main"), IDENTIFY);
    answer(&mut bench, COMPLETE_ON);
    assert_eq!(bench.outcome(&on), Some(&text("on")));
}

#[test]
fn a_line_that_takes_nothing_is_a_board_that_does_not_answer() {
    let mut bench = running();
    bench.refuse_writes("main", Some(SerialError::Full));
    let on = bench.command("on", &json!({}));
    bench.advance_ms(6000);
    assert!(failed(bench.outcome(&on)).starts_with("not-confirmed: "));
}

#[test]
fn the_board_is_never_asked_while_somebody_holds_a_button() {
    let mut bench = running();
    bench.command("hold", &json!({ "button": "reset" }));
    let on = bench.command("on", &json!({}));
    bench.feed("main", b"debug: front panel reset button held\r\n");
    bench.advance_ms(5000);
    assert_eq!(bench.written("main"), b"RESET_HOLD\n");
    bench.command("release", &json!({ "button": "reset" }));
    assert_eq!(bench.written("main"), b"RESET_RELEASE\n");
    assert_eq!(bench.outcome(&on), None);
    bench.feed("main", b"debug: front panel reset button released\r\n");
    assert_eq!(bench.written("main"), IDENTIFY);
    answer(&mut bench, COMPLETE_ON);
    assert_eq!(bench.outcome(&on), Some(&text("on")));
}

#[test]
fn other_commands_wait_and_a_hold_does_not() {
    let mut bench = running();
    let on = bench.command("on", &json!({}));
    let press = bench.command("press", &json!({ "button": "reset" }));
    let again = bench.command("on", &json!({}));
    let hold = bench.command("hold", &json!({ "button": "power" }));
    assert!(blocked(bench.outcome(&hold)).starts_with("busy: "));
    assert_eq!(bench.slice()["queueDepth"], 2);
    assert_eq!(bench.written("main"), IDENTIFY);
    answer(&mut bench, COMPLETE_ON);
    assert_eq!(bench.outcome(&on), Some(&text("on")));
    assert_eq!(bench.written("main"), b"RESET_HOLD\n");
    bench.feed("main", b"debug: front panel reset button held\r\n");
    bench.advance_ms(250);
    bench.feed("main", b"debug: front panel reset button released\r\n");
    assert!(bench.outcome(&press).is_some());
    assert_eq!(bench.written("main"), [b"RESET_RELEASE\n", IDENTIFY].concat());
    answer(&mut bench, COMPLETE_ON);
    assert_eq!(bench.outcome(&again), Some(&text("on")));
}

#[test]
fn one_that_is_taken_back_presses_nothing_and_leaves_a_board_that_obeys() {
    let whole = [b"FP\r\n", COMPLETE].concat();
    let before_power = whole.len() - b"\r\nHDD_ACTIVE_OFF\r\n".len();
    for (at, reason) in (0..before_power).zip(["on-request", "deadline"].iter().cycle()) {
        let (said, rest) = whole.split_at(at);
        let mut bench = running();
        let on = bench.command("on", &json!({}));
        let press = bench.command("press", &json!({ "button": "reset" }));
        bench.feed("main", said);
        bench.cancel_command(&on, reason);
        assert_eq!(bench.outcome(&on), Some(&Outcome::Cancelled));
        bench.feed("main", rest);
        assert_eq!(
            bench.written("main"),
            [IDENTIFY, IDENTIFIED, b"RESET_HOLD\n"].concat(),
            "only the one that waited, at {at}"
        );
        assert_eq!(bench.outcome(&press), None);
        let ends = bench.replies().iter();
        let ends = ends.filter(|reply| matches!(reply, Reply::Completed(id, _) if *id == on));
        assert_eq!(ends.count(), 1);
        assert_eq!(bench.slice()["powerSense"], "off");
        assert_eq!(bench.slice()["operationHistory"][0]["status"], "cancelled");
    }
    // A board that is silent is found out all the same.
    let mut bench = running();
    let on = bench.command("on", &json!({}));
    bench.cancel_command(&on, "on-request");
    bench.advance_ms(6000);
    assert_eq!(bench.outcome(&on), Some(&Outcome::Cancelled));
    assert_eq!(bench.slice()["phase"], "identifying");
    assert_eq!(bench.slice()["busy"], false);
}

#[test]
fn a_line_that_is_lost_or_lets_bytes_go_missing_fails_the_command() {
    let mut bench = running();
    let on = bench.command("on", &json!({}));
    bench.feed("main", b"FP\r\n");
    bench.written("main");
    bench.lose("main", "unplugged");
    assert_eq!(failed(bench.outcome(&on)), "line-lost: unplugged");
    assert_eq!(bench.slice()["busy"], false);
    bench.attach("main");
    assert_eq!(bench.written("main"), IDENTIFY);

    let mut bench = running();
    let on = bench.command("on", &json!({}));
    bench.overrun("main", 100);
    assert!(failed(bench.outcome(&on)).starts_with("unknown-outcome: "));
    assert_eq!(bench.written("main"), [IDENTIFY, IDENTIFY].concat());
    bench.feed("main", b"FP\r\n");
    bench.feed("main", b"FP\r\n");
    bench.feed("main", COMPLETE);
    assert_eq!(bench.written("main"), IDENTIFIED);
    assert_eq!(bench.slice()["phase"], "ready");
    assert_eq!(bench.slice()["powerSense"], "off");
}

/// The answer of a board on a PC that is on, with news before it and behind it.
const ANSWER: Transcript<'_> = Transcript::new(
    "main",
    b"HDD_ACTIVE_ON\r\nFP\r\ndebug: front panel identification complete, sending client power state\r\nPOWER_LED_ON\r\n\
    HDD_ACTIVE_OFF\r\nHDD_ACTIVE_ON\r\n",
);

fn asked() -> Bench<Atx> {
    let mut bench = running();
    assert_eq!(bench.command("on", &json!({})), "command-1");
    bench
}

fn check_answer(bench: &mut Bench<Atx>) {
    bench.settle();
    assert_eq!(bench.outcome("command-1"), Some(&text("on")));
    assert_eq!(bench.written("main"), [IDENTIFY, IDENTIFIED].concat());
    assert_eq!(
        (&bench.slice()["phase"], &bench.slice()["busy"]),
        (&json!("ready"), &json!(false))
    );
    assert_eq!(bench.slice()["hddActive"], true);
}

#[test]
fn neither_chunks_nor_swaps_change_the_answer() {
    ANSWER.split_everywhere(asked, check_answer);
    ANSWER.byte_by_byte(asked, check_answer);
    ANSWER.swapped_everywhere(asked, check_answer);
    ANSWER.swapped_after_each_byte(asked, check_answer);
}

#[test]
fn a_restart_from_a_checkpoint_goes_on_asking() {
    for said in [&b""[..], b"FP\r\n"] {
        for restarts in [false, true] {
            let mut bench = running();
            let on = bench.command("on", &json!({}));
            bench.advance_ms(1000);
            bench.feed("main", said);
            bench.written("main");
            let mut bench = if restarts {
                let checkpoint = bench.checkpoint();
                bench.restart(Some(&checkpoint)).expect("starts again")
            } else {
                bench.swap().expect("the successor starts")
            };
            assert_eq!(bench.written("main"), b"", "nothing is said twice");
            assert_eq!(bench.slice()["currentOp"]["kind"], "on");
            // What was asked for last has its time, and no more.
            let left_ms = if said.is_empty() { 1000 } else { 2000 };
            bench.advance_ms(left_ms - 1);
            assert_eq!(bench.written("main"), b"");
            bench.advance_ms(1);
            assert_eq!(bench.written("main"), IDENTIFY);
            answer(&mut bench, COMPLETE_ON);
            assert_eq!(bench.outcome(&on), Some(&text("on")));
            assert_eq!(bench.slice()["busy"], false);
        }
    }
}
