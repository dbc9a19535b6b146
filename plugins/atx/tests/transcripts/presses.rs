//! A press closes a contact once, for its time, and ends well only when the board and the PC say so.

use autobench_sdk::bench::{Reply, blocked, failed};
use autobench_sdk::{Outcome, SerialError};
use serde_json::{Value as Json, json};

use crate::{HELD, IDENTIFY, RELEASED, ready};

#[test]
fn a_press_is_acknowledged_by_the_board_and_done_when_it_has_let_go() {
    let mut bench = ready();
    let press = bench.command("press", &json!({ "button": "power" }));
    assert_eq!(bench.written("main"), b"POWER_HOLD\n");
    let slice = bench.slice();
    assert_eq!(
        (&slice["busy"], &slice["powerButtonHeld"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(slice["currentOp"]["label"], "press power for 250 ms");
    assert_eq!(slice["currentOp"]["requestedBy"], "bench");
    assert_eq!(bench.replies(), []);
    bench.feed("main", HELD);
    assert_eq!(bench.replies(), [Reply::Acknowledged(press.clone())]);
    bench.advance_ms(249);
    assert_eq!(bench.written("main"), b"");
    bench.advance_ms(1);
    assert_eq!(bench.written("main"), b"POWER_RELEASE\n", "once");
    assert_eq!(bench.leases(), []);
    assert_eq!(bench.outcome(&press), None);
    bench.feed("main", RELEASED);
    assert_eq!(bench.outcome(&press), Some(&Outcome::Succeeded(None)));
    let slice = bench.slice();
    assert_eq!(
        (&slice["busy"], &slice["powerButtonHeld"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(slice["currentOp"], Json::Null);
    assert_eq!(slice["operationHistory"][0]["status"], "completed");
    bench.advance_ms(60_000);
    assert_eq!(bench.written("main"), b"");
}

#[test]
fn the_lease_is_there_before_the_contact_closes_and_outlives_the_press() {
    let mut bench = ready();
    bench.command("press", &json!({ "button": "reset", "ms": 3000 }));
    let lease = bench.leases().first().cloned().expect("a lease");
    assert_eq!(lease.release, b"RESET_RELEASE\n");
    assert_eq!(lease.ends_ns, bench.now_ns() + 4_000_000_000);
}

#[test]
fn commands_wait_for_each_other_and_for_the_button_to_rest() {
    let mut bench = ready();
    let first = bench.command("press", &json!({ "button": "power" }));
    let second = bench.command("press", &json!({ "button": "power" }));
    let third = bench.command("press", &json!({ "button": "reset" }));
    assert_eq!(bench.slice()["queueDepth"], 2);
    assert_eq!(bench.written("main"), b"POWER_HOLD\n");
    bench.feed("main", HELD);
    bench.advance_ms(250);
    bench.feed("main", RELEASED);
    assert!(bench.outcome(&first).is_some());
    assert_eq!(bench.written("main"), b"POWER_RELEASE\n");
    bench.advance_ms(999);
    assert_eq!(bench.written("main"), b"");
    assert_eq!(bench.slice()["queueDepth"], 1);
    bench.advance_ms(1);
    assert_eq!(bench.written("main"), b"POWER_HOLD\n");
    bench.feed("main", HELD);
    bench.advance_ms(250);
    bench.feed("main", RELEASED);
    assert!(bench.outcome(&second).is_some());
    // The other button has not been touched.
    assert_eq!(bench.written("main"), b"POWER_RELEASE\nRESET_HOLD\n");
    assert_eq!(bench.outcome(&third), None);
    assert_eq!(bench.slice()["queueDepth"], 0);
}

#[test]
fn a_press_that_the_board_cuts_short_has_failed() {
    let mut bench = ready();
    let press = bench.command("press", &json!({ "button": "power", "ms": 9000 }));
    bench.feed("main", HELD);
    bench.feed("main", b"debug: POWER_HOLD auto-released (timeout)\r\n");
    assert!(failed(bench.outcome(&press)).starts_with("cut-short: "));
}

#[test]
fn a_release_cuts_no_press_short() {
    let mut bench = ready();
    let press = bench.command("press", &json!({ "button": "power" }));
    bench.feed("main", HELD);
    bench.written("main");
    bench.command("release", &json!({ "button": "power" }));
    assert_eq!(bench.written("main"), b"");
    bench.advance_ms(250);
    bench.feed("main", RELEASED);
    assert_eq!(bench.outcome(&press), Some(&Outcome::Succeeded(None)));
}

#[test]
fn a_cancelled_press_lets_go_at_once() {
    let mut bench = ready();
    let press = bench.command("press", &json!({ "button": "power", "ms": 5000 }));
    bench.feed("main", HELD);
    bench.advance_ms(1000);
    bench.written("main");
    bench.cancel_command(&press, "on-request");
    assert_eq!(bench.written("main"), b"POWER_RELEASE\n");
    assert_eq!(bench.outcome(&press), Some(&Outcome::Cancelled));
    assert_eq!(bench.slice()["busy"], true);
    bench.feed("main", RELEASED);
    assert_eq!(bench.slice()["busy"], false);
    assert_eq!(bench.slice()["operationHistory"][0]["status"], "cancelled");
    bench.advance_ms(10_000);
    assert_eq!(bench.written("main"), b"");
}

#[test]
fn a_cancelled_command_that_waits_writes_no_byte() {
    let mut bench = ready();
    bench.command("press", &json!({ "button": "power" }));
    let waiting = bench.command("press", &json!({ "button": "reset" }));
    bench.cancel_command(&waiting, "on-request");
    assert_eq!(bench.outcome(&waiting), Some(&Outcome::Cancelled));
    bench.feed("main", HELD);
    bench.advance_ms(250);
    bench.feed("main", RELEASED);
    bench.advance_ms(10_000);
    assert_eq!(bench.written("main"), b"POWER_HOLD\nPOWER_RELEASE\n");
}

#[test]
fn a_cancelled_intent_waits_no_longer() {
    let mut bench = ready();
    let on = bench.command("on", &json!({}));
    bench.feed("main", HELD);
    bench.advance_ms(250);
    bench.feed("main", RELEASED);
    assert_eq!(bench.slice()["busy"], true);
    bench.cancel_command(&on, "deadline");
    assert_eq!(bench.outcome(&on), Some(&Outcome::Cancelled));
    assert_eq!(bench.slice()["busy"], false);
}

#[test]
fn a_line_that_is_lost_fails_what_was_under_way_and_what_waited() {
    let mut bench = ready();
    let press = bench.command("press", &json!({ "button": "power" }));
    let waiting = bench.command("press", &json!({ "button": "reset" }));
    bench.feed("main", HELD);
    bench.written("main");
    bench.lose("main", "unplugged");
    assert_eq!(failed(bench.outcome(&press)), "line-lost: unplugged");
    assert_eq!(blocked(bench.outcome(&waiting)), "line-lost: unplugged");
    let slice = bench.slice();
    for member in ["busy", "powerButtonHeld"] {
        assert_eq!(slice[member], false, "{member}");
    }
    assert_eq!(
        (&slice["currentOp"], &slice["queueDepth"]),
        (&Json::Null, &json!(0))
    );
    assert_eq!(slice["operationHistory"][0]["status"], "failed");
    bench.advance_ms(10_000);
    assert_eq!(bench.written("main"), b"");
    bench.attach("main");
    assert_eq!(bench.written("main"), [b"POWER_RELEASE\n", IDENTIFY].concat());
}

#[test]
fn a_press_that_a_breakdown_cuts_short_has_failed() {
    let mut bench = ready();
    let press = bench.command("press", &json!({ "button": "power", "ms": 5000 }));
    bench.feed("main", HELD);
    let checkpoint = bench.checkpoint();
    bench.written("main");
    let mut bench = bench.restart(Some(&checkpoint)).expect("starts again");
    assert_eq!(bench.written("main"), b"POWER_RELEASE\n", "by the host, and once");
    assert!(failed(bench.outcome(&press)).starts_with("cut-short: "));
    bench.feed("main", RELEASED);
    assert_eq!(bench.slice()["busy"], false);
    bench.advance_ms(20_000);
    assert_eq!(bench.written("main"), b"");
    assert_eq!(bench.slice()["phase"], "ready");
}

#[test]
fn a_line_that_takes_nothing_fails_the_command() {
    let mut bench = ready();
    bench.refuse_writes("main", Some(SerialError::Full));
    let press = bench.command("press", &json!({ "button": "power" }));
    assert!(failed(bench.outcome(&press)).starts_with("not-sent: "));
    assert_eq!(bench.leases(), []);
    assert_eq!(bench.slice()["busy"], false);
}

#[test]
fn the_history_is_bounded() {
    let mut bench = ready();
    for _ in 0..120 {
        let press = bench.command("press", &json!({ "button": "power" }));
        bench.feed("main", HELD);
        bench.advance_ms(250);
        bench.feed("main", RELEASED);
        assert!(bench.outcome(&press).is_some());
        bench.advance_ms(1000);
    }
    assert_eq!(
        bench.slice()["operationHistory"].as_array().map(Vec::len),
        Some(100)
    );
}
