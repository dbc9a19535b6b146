//! The driver on the native bench, against lines of the board: every chunking gives the same slice, the identification goes as the README says,
//! and nothing that is refused writes a byte.

#![expect(clippy::expect_used, clippy::panic, reason = "test helpers")]

use atx::Atx;
use autobench_sdk::bench::{Bench, Reply};
use autobench_sdk::{Level, Outcome, Refusal, SerialError, StopReason, Value};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

const IDENTIFY: &[u8] = b"identify\n";
const IDENTIFIED: &[u8] = b"identify_complete\n";
const COMPLETE: &[u8] =
    b"debug: front panel identification complete, sending client power state\r\nPOWER_LED_OFF\r\nHDD_ACTIVE_OFF\r\n";
const HELD: &[u8] = b"debug: front panel power button held\r\n";
const RELEASED: &[u8] = b"debug: front panel power button released\r\n";

/// Old news, the identification, telemetry by all its names, noise, and a board that lets go by itself.
const TRANSCRIPT: &[u8] = b"HDD_ACTIVE_ON\r\nPOWER_LED_ON\r\ndebug: POWER_HOLD auto-released (timeout)\r\nXFP\r\nFP\r\n\
    debug: front panel identification complete, sending client power state\r\nPOWER_LED_OFF\r\nHDD_ACTIVE_OFF\r\n\
    POWER_LED_ON\r\nHDD_ACTIVE_ON\r\nHDD:0\r\nPWR=0\r\n\r\nFP\r\n\
    ~~~\xff\x00~~~\r\ndebug: anything else\r\nPOWER_SENSE_ON\nHDD=1\n\
    01234567890123456789012345678901234567890123456789012345678901234567890123456789\
    01234567890123456789012345678901234567890123456789012345678901234567890123456789POWER_LED_OFF\r\n\
    debug: RESET_HOLD auto-released (timeout)\r\nPOWER_LED";
const LINES: u64 = 19;
const UNKNOWN_LINES: u64 = 3;

fn bench() -> Bench<Atx> {
    Bench::start().expect("the driver starts")
}

/// A board that obeys, on a PC that is off.
fn ready() -> Bench<Atx> {
    let mut bench = bench();
    bench.feed("main", b"FP\r\n");
    bench.feed("main", COMPLETE);
    bench.settle();
    bench.written("main");
    assert_eq!(bench.slice()["phase"], "ready");
    bench
}

/// A board that holds the power button.
fn holding() -> Bench<Atx> {
    let mut bench = ready();
    let hold = bench.command("hold", &json!({ "button": "power" }));
    bench.feed("main", HELD);
    assert_eq!(
        bench.outcome(&hold),
        Some(&Outcome::Succeeded(Some(Value::Boolean(true))))
    );
    assert_eq!(bench.written("main"), b"POWER_HOLD\n");
    bench
}

fn check_transcript(bench: &mut Bench<Atx>) {
    bench.settle();
    let slice = bench.slice();
    assert_eq!(
        (&slice["phase"], &slice["identified"], &slice["powerSense"]),
        (&json!("ready"), &json!(true), &json!("on"))
    );
    assert_eq!(
        (&slice["hddActive"], &slice["powerButtonHeld"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        slice["stats"],
        json!({ "lines": LINES, "unknownLines": UNKNOWN_LINES, "autoReleases": 2 })
    );
    let written = bench.written("main");
    assert_eq!(written, [IDENTIFY, IDENTIFIED].concat());
}

fn blocked(bench: &Bench<Atx>, command: &str) -> String {
    match bench.outcome(command) {
        Some(Outcome::Blocked(reason)) => reason.clone(),
        other => panic!("not blocked: {other:?}"),
    }
}

fn failed(bench: &Bench<Atx>, command: &str) -> String {
    match bench.outcome(command) {
        Some(Outcome::Failed(reason)) => reason.clone(),
        other => panic!("not failed: {other:?}"),
    }
}

#[test]
fn every_split_in_two_gives_the_same_slice() {
    for border in 0..=TRANSCRIPT.len() {
        let mut bench = bench();
        let (front, back) = TRANSCRIPT.split_at(border);
        bench.feed("main", front);
        bench.feed("main", back);
        check_transcript(&mut bench);
    }
}

#[test]
fn byte_by_byte_gives_the_same_slice() {
    let mut bench = bench();
    for byte in TRANSCRIPT {
        bench.feed("main", &[*byte]);
    }
    check_transcript(&mut bench);
}

#[test]
fn a_swap_at_every_byte_gives_the_same_slice() {
    for border in 0..=TRANSCRIPT.len() {
        let mut bench = bench();
        let (front, back) = TRANSCRIPT.split_at(border);
        bench.feed("main", front);
        let mut bench = bench.swap().expect("the successor starts");
        bench.feed("main", back);
        check_transcript(&mut bench);
    }
}

#[test]
fn a_swap_after_each_byte_gives_the_same_slice() {
    let mut bench = bench();
    for byte in TRANSCRIPT {
        bench.feed("main", &[*byte]);
        bench = bench.swap().expect("the successor starts");
    }
    check_transcript(&mut bench);
}

fn cases() -> ProptestConfig {
    let long = std::env::var_os("AUTOBENCH_LONG").is_some();
    ProptestConfig::with_cases(if long { 20_000 } else { 200 })
}

proptest! {
    #![proptest_config(cases())]

    /// Chunks, pauses, checkpoints, swaps and restarts from an old checkpoint in any order.
    #[test]
    fn nothing_between_the_bytes_changes_what_they_say(
        steps in prop::collection::vec((1..90_usize, 0..6_u8, 0..60_u64), 0..40),
    ) {
        let mut bench = bench();
        let mut checkpoint = None;
        let mut rest = TRANSCRIPT;
        for (length, step, pause_ms) in steps {
            let (chunk, after) = rest.split_at(length.min(rest.len()));
            rest = after;
            if !chunk.is_empty() {
                bench.feed("main", chunk);
            }
            bench.advance_ms(pause_ms);
            match step {
                0 => checkpoint = Some(bench.checkpoint()),
                1 => bench = bench.swap().expect("the successor starts"),
                2 if checkpoint.is_some() => {
                    bench = bench.restart(checkpoint.as_ref()).expect("the driver starts again");
                }
                _ => {}
            }
        }
        if !rest.is_empty() {
            bench.feed("main", rest);
        }
        check_transcript(&mut bench);
    }

    /// Whatever comes, the driver stands, presses nothing, and reads what comes behind it.
    #[test]
    fn garbage_never_stops_it(garbage in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut bench = ready();
        bench.feed("main", &garbage);
        bench.feed("main", b"\nPOWER_LED_ON\r\n");
        bench.settle();
        prop_assert_eq!(&bench.slice()["powerSense"], "on");
        prop_assert_eq!(bench.written("main"), b"");
    }
}

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
fn identification_asks_three_times_and_then_waits() {
    let mut bench = bench();
    for _ in 0..3 {
        assert_eq!(bench.written("main"), IDENTIFY);
        bench.advance_ms(2999);
        assert_eq!(bench.written("main"), b"");
        assert_eq!(bench.slice()["phase"], "identifying");
        bench.advance_ms(1);
    }
    assert_eq!(bench.written("main"), b"");
    assert_eq!(bench.slice()["phase"], "error");
    assert_eq!(bench.slice()["lastError"]["scope"], "identify");

    // Then it asks again without end, with one line of log for the whole of it.
    bench.advance_ms(5000);
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
    bench.advance_ms(2999);
    assert_eq!(bench.written("main"), b"");
    bench.advance_ms(1);
    assert_eq!(bench.written("main"), IDENTIFY);
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
    bench.advance_ms(2000);
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
fn no_refused_command_writes_a_byte() {
    let every = [
        ("press", json!({ "button": "power" })),
        ("hold", json!({ "button": "reset", "ms": 500 })),
        ("on", json!({})),
        ("off", json!({})),
        ("force-off", json!({})),
        ("reset", json!({})),
        ("cycle", json!({})),
    ];
    let check = |mut bench: Bench<Atx>, word: &str, refused: &[(&str, Json)]| {
        bench.written("main");
        for (name, arguments) in refused {
            let id = bench.command(name, arguments);
            let reason = blocked(&bench, &id);
            assert!(reason.starts_with(word), "{name}: {reason}");
        }
        assert_eq!(bench.written("main"), b"");
        assert_eq!(bench.leases(), []);
    };
    check(bench(), "not-ready: the front panel is identifying", &every);
    let away = Bench::<Atx>::setup().detached("main").start().expect("starts");
    check(away, "not-ready: the front panel is disconnected", &every);
    let mut silent = bench();
    silent.advance_ms(9000);
    check(silent, "not-ready: the front panel is error", &every);
    check(ready(), "power-off: ", &[("reset", json!({}))]);
    check(
        ready(),
        "ms is ",
        &[("press", json!({ "button": "power", "ms": 49 }))],
    );
    check(
        ready(),
        "ms is ",
        &[("hold", json!({ "button": "power", "ms": 10_001 }))],
    );
    check(ready(), "there is no command ", &[("jump", json!({}))]);
}

#[test]
fn what_is_as_it_should_be_writes_no_byte_either() {
    let mut bench = ready();
    for name in ["off", "force-off"] {
        let id = bench.command(name, &json!({}));
        let off = Outcome::Succeeded(Some(Value::Text("off".to_owned())));
        assert_eq!(bench.outcome(&id), Some(&off));
    }
    bench.feed("main", b"POWER_LED_ON\r\n");
    let id = bench.command("on", &json!({}));
    assert_eq!(
        bench.outcome(&id),
        Some(&Outcome::Succeeded(Some(Value::Text("on".to_owned()))))
    );
    let id = bench.command("release", &json!({ "button": "power" }));
    assert_eq!(
        bench.outcome(&id),
        Some(&Outcome::Succeeded(Some(Value::Boolean(false))))
    );
    assert_eq!(bench.written("main"), b"");
    assert_eq!(bench.slice()["busy"], false);
}

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
fn a_full_queue_refuses_and_says_so() {
    let mut bench = ready();
    let press = json!({ "button": "power" });
    let taken: Vec<_> = (0..9).map(|_| bench.command("press", &press)).collect();
    bench.written("main");
    let refused = bench.command("press", &press);
    assert_eq!(blocked(&bench, &refused), "busy: 8 commands wait already");
    assert_eq!(bench.written("main"), b"");
    bench.settle();
    assert_eq!(bench.slice()["lastError"]["scope"], "queue");
    assert_eq!(bench.slice()["queueDepth"], 8);
    for id in &taken {
        assert_eq!(bench.outcome(id), None);
    }
}

#[test]
fn a_hold_does_not_wait() {
    let mut bench = ready();
    bench.command("press", &json!({ "button": "power" }));
    let busy = bench.command("hold", &json!({ "button": "reset" }));
    assert!(blocked(&bench, &busy).starts_with("busy: "));
    bench.feed("main", HELD);
    bench.advance_ms(250);
    bench.feed("main", RELEASED);
    bench.written("main");
    let resting = bench.command("hold", &json!({ "button": "power" }));
    assert!(blocked(&bench, &resting).starts_with("busy: "));
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
fn a_press_that_the_board_cuts_short_has_failed() {
    let mut bench = ready();
    let press = bench.command("press", &json!({ "button": "power", "ms": 9000 }));
    bench.feed("main", HELD);
    bench.feed("main", b"debug: POWER_HOLD auto-released (timeout)\r\n");
    assert!(failed(&bench, &press).starts_with("cut-short: "));
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
fn a_hold_that_the_board_does_not_confirm_is_let_go() {
    let mut bench = ready();
    let hold = bench.command("hold", &json!({ "button": "power" }));
    assert_eq!(bench.written("main"), b"POWER_HOLD\n");
    bench.advance_ms(2000);
    assert!(failed(&bench, &hold).starts_with("not-confirmed: "));
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
    assert_eq!(failed(&bench, &press), "line-lost: unplugged");
    assert_eq!(blocked(&bench, &waiting), "line-lost: unplugged");
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
    assert!(failed(&bench, &press).starts_with("cut-short: "));
    bench.feed("main", RELEASED);
    assert_eq!(bench.slice()["busy"], false);
    bench.advance_ms(20_000);
    assert_eq!(bench.written("main"), b"");
    assert_eq!(bench.slice()["phase"], "ready");
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
    assert!(failed(&bench, &press).starts_with("unknown-outcome: "));
    assert!(blocked(&bench, &waiting).starts_with("not-ready: "));
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
fn a_line_that_takes_nothing_fails_the_command() {
    let mut bench = ready();
    bench.refuse_writes("main", Some(SerialError::Full));
    let press = bench.command("press", &json!({ "button": "power" }));
    assert!(failed(&bench, &press).starts_with("not-sent: "));
    assert_eq!(bench.leases(), []);
    assert_eq!(bench.slice()["busy"], false);
}

#[test]
fn a_driver_that_is_stopped_lets_go() {
    assert_eq!(holding().stop(StopReason::Removed, "main"), b"POWER_RELEASE\n");
    assert_eq!(ready().stop(StopReason::Shutdown, "main"), b"");
}

#[test]
fn settings_take_effect_with_the_next_command() {
    let mut bench = ready();
    bench.change_settings(json!({ "press-ms": 100, "queue-depth": 0 }));
    bench.command("press", &json!({ "button": "power" }));
    let refused = bench.command("press", &json!({ "button": "power" }));
    assert!(blocked(&bench, &refused).starts_with("busy: "));
    bench.written("main");
    bench.advance_ms(100);
    assert_eq!(bench.written("main"), b"POWER_RELEASE\n");
}

#[test]
fn wrong_settings_are_refused_with_what_is_wrong() {
    let refusal = |settings| match Bench::<Atx>::setup().settings(settings).start() {
        Err(Refusal::InvalidSettings(text)) => text,
        other => panic!("not refused for its settings: {:?}", other.err()),
    };
    assert_eq!(
        refusal(json!({ "press-ms": 49 })),
        "press-ms is a number from 50 to 10000"
    );
    assert!(refusal(json!({ "press": 1 })).starts_with("unknown field `press`, expected one of `press-ms`"));
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

#[test]
fn the_manifest_calls_dangerous_what_touches_power() {
    let manifest = Bench::<Atx>::manifest();
    assert_eq!(manifest, Bench::<Atx>::manifest());
    assert_eq!(
        (manifest.slice.as_str(), manifest.device_type.as_str()),
        ("frontPanel", "atx")
    );
    let harmless: Vec<_> = manifest
        .commands
        .iter()
        .filter(|command| !command.dangerous)
        .map(|command| command.name.as_str())
        .collect();
    assert_eq!((harmless, manifest.commands.len()), (vec!["release"], 8));
}
