//! A hold stands until somebody lets go: who held, the driver, the host, or the board by itself.

use atx::Atx;
use autobench_sdk::bench::{Bench, blocked, failed};
use autobench_sdk::{Outcome, StopReason, Value};
use serde_json::json;

use crate::{COMPLETE, HELD, IDENTIFY, RELEASED, ready};

/// A board that holds the power button.
fn holding() -> Bench<Atx> {
    let mut bench = ready();
    let hold = bench.command("hold", &json!({ "button": "power" }));
    let holders: Vec<_> = bench.leases().iter().map(|lease| lease.holder.as_ref()).collect();
    assert_eq!(holders, [Some(&hold)]);
    bench.feed("main", HELD);
    assert_eq!(
        bench.outcome(&hold),
        Some(&Outcome::Succeeded(Some(Value::Boolean(true))))
    );
    assert_eq!(bench.written("main"), b"POWER_HOLD\n");
    bench
}

#[test]
fn a_hold_does_not_wait() {
    let mut bench = ready();
    bench.command("press", &json!({ "button": "power" }));
    let busy = bench.command("hold", &json!({ "button": "reset" }));
    assert!(blocked(bench.outcome(&busy)).starts_with("busy: "));
    bench.feed("main", HELD);
    bench.advance_ms(250);
    bench.feed("main", RELEASED);
    bench.written("main");
    let resting = bench.command("hold", &json!({ "button": "power" }));
    assert!(blocked(bench.outcome(&resting)).starts_with("busy: "));
    assert_eq!(bench.written("main"), b"");
}

#[test]
fn a_hold_stands_until_it_is_released() {
    let mut bench = holding();
    bench.advance_ms(3000);
    assert_eq!(bench.written("main"), b"");
    assert_eq!(bench.slice()["currentOp"]["kind"], "hold");
    let other = bench.command("release", &json!({ "button": "reset" }));
    assert!(bench.outcome(&other).is_some());
    let release = bench.command("release", &json!({ "button": "power" }));
    assert_eq!(bench.written("main"), b"POWER_RELEASE\n");
    assert_eq!(bench.outcome(&release), None);
    bench.feed("main", RELEASED);
    assert_eq!(
        bench.outcome(&release),
        Some(&Outcome::Succeeded(Some(Value::Boolean(false))))
    );
    assert_eq!(bench.slice()["powerButtonHeld"], false);
    assert_eq!(bench.slice()["busy"], false);
    assert_eq!(bench.slice()["operationHistory"][0]["status"], "completed");
}

#[test]
fn a_hold_that_is_released_before_the_board_has_said_a_word_is_cancelled() {
    let mut bench = ready();
    let hold = bench.command("hold", &json!({ "button": "power" }));
    let release = bench.command("release", &json!({ "button": "power" }));
    assert_eq!(bench.written("main"), b"POWER_HOLD\nPOWER_RELEASE\n");
    assert_eq!(bench.outcome(&hold), Some(&Outcome::Cancelled));
    bench.feed("main", HELD);
    assert_eq!(
        bench.slice()["powerButtonHeld"],
        true,
        "the board has not yet said that it let go"
    );
    bench.feed("main", RELEASED);
    assert!(matches!(bench.outcome(&release), Some(Outcome::Succeeded(_))));
    assert_eq!(bench.slice()["powerButtonHeld"], false);
    assert_eq!(bench.slice()["busy"], false);
}

#[test]
fn a_hold_ends_when_its_time_is_over() {
    let mut bench = ready();
    bench.command("hold", &json!({ "button": "power", "ms": 4000 }));
    bench.feed("main", HELD);
    bench.written("main");
    bench.advance_ms(3999);
    assert_eq!(bench.written("main"), b"");
    bench.advance_ms(1);
    assert_eq!(bench.written("main"), b"POWER_RELEASE\n", "by the host, and once");
    bench.feed("main", RELEASED);
    assert_eq!(bench.slice()["busy"], false);
    assert_eq!(bench.slice()["operationHistory"][0]["reason"], "maximum");
}

#[test]
fn a_hold_whose_client_is_gone_ends() {
    let mut bench = holding();
    bench.end_lease(1, "client-gone");
    assert_eq!(bench.written("main"), b"POWER_RELEASE\n");
    bench.feed("main", RELEASED);
    assert_eq!(bench.slice()["powerButtonHeld"], false);
    assert_eq!(bench.slice()["busy"], false);
}

#[test]
fn a_board_that_lets_go_by_itself_clears_the_slice() {
    let mut bench = holding();
    bench.advance_ms(9000);
    bench.feed("main", b"debug: POWER_HOLD auto-released (timeout)\r\n");
    assert_eq!(bench.slice()["powerButtonHeld"], false);
    assert_eq!(bench.leases(), []);
    bench.feed("main", RELEASED);
    bench.settle();
    let slice = bench.slice();
    assert_eq!(
        (&slice["busy"], &slice["stats"]["autoReleases"]),
        (&json!(false), &json!(1))
    );
    assert_eq!(
        slice["operationHistory"][0]["reason"],
        "the board let go by itself"
    );
    bench.written("main");
    bench.advance_ms(20_000);
    assert_eq!(bench.written("main"), b"");
}

#[test]
fn a_hold_that_the_board_does_not_confirm_is_let_go() {
    let mut bench = ready();
    let hold = bench.command("hold", &json!({ "button": "power" }));
    assert_eq!(bench.written("main"), b"POWER_HOLD\n");
    bench.advance_ms(2000);
    assert!(failed(bench.outcome(&hold)).starts_with("not-confirmed: "));
    assert_eq!(bench.written("main"), b"POWER_RELEASE\n");
    // Nobody knows what the contact is, so the board is identified again, which opens it.
    bench.advance_ms(2000);
    assert_eq!(bench.written("main"), IDENTIFY);
    assert_eq!(bench.slice()["phase"], "identifying");
    bench.feed("main", b"FP\r\n");
    bench.feed("main", COMPLETE);
    assert_eq!(bench.slice()["powerButtonHeld"], false);
    assert_eq!(bench.slice()["lastError"]["scope"], "protocol");
}

#[test]
fn a_driver_that_is_stopped_lets_go() {
    assert_eq!(holding().stop(StopReason::Removed, "main"), b"POWER_RELEASE\n");
    assert_eq!(ready().stop(StopReason::Shutdown, "main"), b"");
}
