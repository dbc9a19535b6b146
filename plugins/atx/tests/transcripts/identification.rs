//! The board is identified when it comes, and then only when what it does is not known: never over a swap.

use atx::Atx;
use autobench_sdk::Level;
use autobench_sdk::bench::{Bench, blocked, failed};
use serde_json::{Value as Json, json};

use crate::{COMPLETE, HELD, IDENTIFIED, IDENTIFY, RELEASED, bench, ready};

#[test]
fn the_slice_has_the_form_that_the_mirror_knows() {
    let bench = ready();
    let expected = json!({
        "phase": "ready", "identified": true,
        "deviceId": null, "devicePath": "/dev/bench-main", "baudRate": 9600,
        "powerSense": "off", "hddActive": false, "powerButtonHeld": false, "resetButtonHeld": false,
        "busy": false, "queueDepth": 0, "currentOp": null,
        "lastError": null, "errorHistory": [], "operationHistory": [],
        "stats": { "lines": 4, "unknownLines": 0, "autoReleases": 0 },
        "updatedAt": 1_767_225_600_000_u64,
    });
    assert_eq!(*bench.slice(), expected);
    assert_eq!(bench.phases(), ["identifying", "identifying", "ready"]);
}

#[test]
fn identification_asks_six_times_and_then_fails() {
    let mut bench = bench();
    for _ in 0..6 {
        assert_eq!(bench.written("main"), IDENTIFY);
        bench.advance_ms(1499);
        assert_eq!(bench.written("main"), b"");
        assert_eq!(bench.slice()["phase"], "identifying");
        bench.advance_ms(1);
    }
    assert_eq!(bench.written("main"), b"");
    assert_eq!(bench.slice()["phase"], "error");
    assert_eq!(bench.slice()["lastError"]["scope"], "identify");

    // Then it asks again without end, with one line of log for the whole of it.
    bench.advance_ms(500);
    assert_eq!(bench.written("main"), IDENTIFY);
    bench.advance_ms(600_000);
    let count = |level| bench.logs().iter().filter(|line| line.level == level).count();
    assert_eq!(
        (count(Level::Warn), count(Level::Info)),
        (1, 0),
        "{:?}",
        bench.logs()
    );

    bench.written("main");
    bench.feed("main", b"FP\r\n");
    assert_eq!(bench.written("main"), IDENTIFIED);
    bench.feed("main", COMPLETE);
    assert_eq!(bench.slice()["phase"], "ready");
    assert_eq!(bench.slice().get("message"), None);
    assert_eq!(bench.slice()["lastError"], Json::Null);
}

#[test]
fn a_board_that_does_not_say_how_power_is_is_asked_again() {
    let mut bench = bench();
    bench.feed("main", b"FP\r\n");
    bench.feed("main", b"debug: front panel identification complete\r\n");
    bench.written("main");
    bench.advance_ms(1999);
    assert_eq!(bench.written("main"), b"");
    bench.advance_ms(1);
    assert_eq!(bench.written("main"), IDENTIFY);
}

#[test]
fn half_a_line_from_before_does_not_spoil_a_later_answer() {
    let mut bench = bench();
    bench.feed("main", b"HDD_ACTIVE_O");
    bench.advance_ms(1500);
    assert_eq!(bench.written("main"), [IDENTIFY, IDENTIFY].concat());
    bench.feed("main", b"FP\r\n");
    assert_eq!(bench.written("main"), IDENTIFIED);
}

#[test]
fn a_board_that_answers_twice_is_identified_once() {
    let mut bench = bench();
    bench.advance_ms(1500);
    assert_eq!(bench.written("main"), [IDENTIFY, IDENTIFY].concat());
    bench.feed("main", b"FP\r\n");
    assert_eq!(bench.written("main"), IDENTIFIED);
    bench.feed("main", b"FP\r\n");
    bench.feed("main", COMPLETE);
    bench.feed("main", b"FP\r\n");
    assert_eq!(bench.written("main"), b"");
    assert_eq!(bench.slice()["phase"], "ready");
}

#[test]
fn a_board_that_resets_when_its_port_is_opened_is_left_alone_first() {
    let mut bench = Bench::<Atx>::setup()
        .settings(json!({ "wake-up-ms": 2000 }))
        .start()
        .expect("starts");
    bench.advance_ms(1999);
    assert_eq!(bench.written("main"), b"");
    assert_eq!(bench.slice()["phase"], "connecting");
    bench.advance_ms(1);
    assert_eq!(bench.written("main"), IDENTIFY);
    assert_eq!(bench.slice()["phase"], "identifying");
}

#[test]
fn nothing_is_sent_after_a_swap_or_a_restart_from_a_checkpoint() {
    let mut bench = ready();
    for _ in 0..100 {
        bench = bench.swap().expect("the successor starts");
        let checkpoint = bench.checkpoint();
        bench.feed("main", b"HDD_ACTIVE_ON\r\n");
        bench = bench.restart(Some(&checkpoint)).expect("starts again");
        bench.advance_ms(1000);
    }
    assert_eq!(bench.written("main"), b"");
    assert_eq!(bench.slice()["phase"], "ready");
}

#[test]
fn a_restart_without_a_checkpoint_identifies_again() {
    let mut bench = ready().restart(None).expect("starts again");
    assert_eq!(bench.written("main"), IDENTIFY);
    assert_eq!(bench.slice()["phase"], "identifying");
}

#[test]
fn a_swap_in_the_middle_of_the_identification_goes_on_with_it() {
    let mut bench = bench();
    bench.advance_ms(1000);
    bench.written("main");
    let mut bench = bench.swap().expect("the successor starts");
    assert_eq!(bench.written("main"), b"");
    bench.advance_ms(500);
    assert_eq!(
        bench.written("main"),
        IDENTIFY,
        "the second question comes at its time"
    );
    bench.feed("main", b"FP\r\n");
    let mut bench = bench.swap().expect("the successor starts");
    assert_eq!(bench.written("main"), IDENTIFIED);
    bench.feed("main", COMPLETE);
    assert_eq!(bench.slice()["phase"], "ready");
}

#[test]
fn a_board_that_comes_back_is_identified_again_and_half_lines_are_not_joined() {
    let mut bench = ready();
    bench.feed("main", b"POWER_LED_ON\r\nHDD_ACTIVE_");
    bench.lose("main", "unplugged");
    let slice = bench.slice();
    assert_eq!(slice["phase"], "disconnected");
    assert_eq!(slice["message"], "the line is away: unplugged");
    for member in ["hddActive", "deviceId", "devicePath", "baudRate"] {
        assert_eq!(slice[member], Json::Null, "{member}");
    }
    assert_eq!(
        (&slice["powerSense"], &slice["identified"]),
        (&json!("unknown"), &json!(false))
    );
    bench.attach("main");
    assert_eq!(bench.written("main"), IDENTIFY);
    bench.feed("main", b"ON\r\nFP\r\n");
    bench.feed("main", COMPLETE);
    bench.settle();
    assert_eq!(bench.slice()["hddActive"], false);
    assert_eq!(bench.slice()["devicePath"], "/dev/bench-main");
    assert_eq!(bench.slice()["lastError"], Json::Null);
}

#[test]
fn a_driver_may_start_before_its_board_is_there() {
    let mut bench = Bench::<Atx>::setup().detached("main").start().expect("starts");
    assert_eq!(bench.slice()["phase"], "disconnected");
    assert_eq!(bench.written("main"), b"");
    bench.attach("main");
    assert_eq!(bench.written("main"), IDENTIFY);
}

#[test]
fn bytes_that_are_missing_may_have_said_how_power_is() {
    let mut bench = ready();
    bench.overrun("main", 100);
    assert_eq!(bench.written("main"), IDENTIFY);
    assert_eq!(bench.slice()["powerSense"], "unknown");

    let mut bench = ready();
    let press = bench.command("press", &json!({ "button": "power" }));
    let waiting = bench.command("press", &json!({ "button": "power" }));
    bench.feed("main", HELD);
    bench.written("main");
    bench.overrun("main", 100);
    assert!(failed(bench.outcome(&press)).starts_with("unknown-outcome: "));
    assert!(blocked(bench.outcome(&waiting)).starts_with("not-ready: "));
    assert_eq!(
        bench.written("main"),
        b"",
        "the press has its length all the same"
    );
    bench.advance_ms(250);
    assert_eq!(bench.written("main"), b"POWER_RELEASE\n");
    bench.feed("main", RELEASED);
    assert_eq!(bench.written("main"), IDENTIFY);
}

#[test]
fn contacts_are_open_once_the_board_has_completed_its_identification() {
    let mut bench = ready();
    bench.command("press", &json!({ "button": "reset" }));
    bench.feed("main", b"debug: front panel reset button held\r\n");
    bench.advance_ms(2250);
    assert_eq!(bench.slice()["phase"], "identifying");
    assert_eq!(
        bench.slice()["resetButtonHeld"],
        true,
        "nobody has said that it was let go"
    );
    bench.feed("main", b"FP\r\n");
    // How power is gets lost.
    bench.feed("main", b"debug: front panel identification complete\r\nPOW");
    bench.settle();
    assert_eq!(bench.slice()["phase"], "identifying");
    assert_eq!(bench.slice()["resetButtonHeld"], false);
}
