//! A key that went down is let go at the PC, whatever became of the adapter, the line and the hold meanwhile; and nothing is said of it before.

use autobench_sdk::{Outcome, SerialError};
use autobench_sim::pc::keys::{Code, Meaning};
use serde_json::{Value as Json, json};

use crate::adapter::{Fate, Rig, pc_sends, ready, reset_board};
use crate::succeeded;

/// Longer than the board takes to start, and than the driver takes to identify it.
const SETTLED_MS: u64 = 20_000;

fn hold(rig: &mut Rig, key: &str) {
    let outcome = rig.run("hold", &json!({ "key": key }));
    assert_eq!(outcome, Outcome::Succeeded(None), "{key}");
    rig.advance_ms(50);
}

fn end_hold(rig: &mut Rig) {
    let lease = rig.bench().leases().first().expect("a key is held").id;
    rig.bench_mut().end_lease(lease, "released");
    rig.exchange();
}

fn written(rig: &Rig) -> String {
    String::from_utf8_lossy(&rig.device.written).into_owned()
}

fn last_error(rig: &Rig) -> String {
    let message = rig.slice().pointer("/lastError/message");
    message.and_then(Json::as_str).unwrap_or_default().to_owned()
}

/// Nothing is down, and nothing says that something is.
fn assert_let_go(rig: &Rig, what: &str) {
    assert_eq!(rig.device.down(), [], "{what}");
    assert_eq!(rig.bench().leases(), [], "{what}");
    assert_eq!(rig.slice()["heldKeys"], json!([]), "{what}");
    assert_eq!(rig.slice()["phase"], "ready", "{what}");
    assert_eq!(rig.slice()["lastError"], Json::Null, "{what}");
}

#[test]
fn a_hold_that_ends_after_the_board_was_reset_ends_at_the_pc() {
    for key in ["KeyA", "ArrowUp", "PrintScreen", "ShiftLeft", "ControlRight"] {
        // The board still starts, and is deaf, or it is there again and has forgotten that it is identified.
        for after_ms in [0, 100, 3000] {
            for ends in ["lease", "release", "release-all"] {
                let what = format!("{key}, {after_ms} ms, {ends}");
                let mut rig = ready();
                hold(&mut rig, key);
                reset_board(&mut rig);
                rig.advance_ms(after_ms);
                assert_ne!(rig.device.down(), [], "{what}");
                match ends {
                    "lease" => end_hold(&mut rig),
                    "release" => drop(rig.command(ends, &json!({ "key": key }))),
                    _ => drop(rig.command(ends, &json!({}))),
                }
                rig.advance_ms(SETTLED_MS);
                assert_let_go(&rig, &what);
            }
        }
    }
}

#[test]
fn several_holds_that_end_at_once_after_a_reset_all_end_at_the_pc() {
    let mut rig = ready();
    for key in ["KeyA", "Numpad8", "ArrowUp", "ControlLeft", "ControlRight"] {
        hold(&mut rig, key);
    }
    reset_board(&mut rig);
    rig.advance_ms(1500);
    let leases: Vec<_> = rig.bench().leases().iter().map(|lease| lease.id).collect();
    assert_eq!(leases.len(), 5);
    for lease in leases {
        rig.bench_mut().end_lease(lease, "client-gone");
    }
    rig.exchange();
    rig.advance_ms(SETTLED_MS);
    assert_let_go(&rig, "five keys");
}

#[test]
fn a_lease_whose_bytes_are_lost_or_garbled_is_followed_by_a_release() {
    for answer in ["", "debug: command is rele. nothing to do\r\n"] {
        let mut rig = ready();
        hold(&mut rig, "KeyA");
        rig.device.outbound = |_, _| Fate::IsLost;
        end_hold(&mut rig);
        rig.device.outbound = |_, _| Fate::Arrives;
        rig.bench_mut().feed("main", answer.as_bytes());
        rig.advance_ms(SETTLED_MS);
        assert_let_go(&rig, answer);
    }
}

#[test]
fn a_line_that_is_lost_while_a_key_is_held_leaves_none_down() {
    for key in ["KeyB", "ArrowUp"] {
        for is_reset in [false, true] {
            let what = format!("{key}, reset {is_reset}");
            let mut rig = ready();
            hold(&mut rig, key);
            rig.lose("unplugged");
            if is_reset {
                reset_board(&mut rig);
            }
            rig.advance_ms(5000);
            let error = last_error(&rig);
            assert!(
                error.ends_with(&format!(
                    "the line is away: unplugged; {key} may still be down at the PC"
                )),
                "{error}"
            );
            rig.device.written.clear();
            rig.attach();
            rig.advance_ms(SETTLED_MS);
            assert_let_go(&rig, &what);
            // What has answered the host's bytes is not asked once more.
            let times = if is_reset { 2 } else { 1 };
            assert_eq!(written(&rig).matches("release").count(), times, "{what}");
        }
    }
}

#[test]
fn a_text_that_the_line_or_the_board_interrupts_leaves_shift_up() {
    // At each moment of the text.
    for moment in 0..60 {
        for is_secret in [false, true] {
            let what = format!("after {} ms, secret {is_secret}", moment * 13);
            let mut rig = ready();
            rig.command("type", &json!({ "text": "ABCDEFGH", "secret": is_secret }));
            rig.advance_ms(moment * 13);
            rig.lose("unplugged");
            rig.advance_ms(200);
            reset_board(&mut rig);
            rig.advance_ms(5000);
            let error = last_error(&rig);
            assert!(!error.contains("Key"), "{what}: {error}");
            rig.attach();
            rig.advance_ms(SETTLED_MS);
            assert_let_go(&rig, &what);
            let before = rig.device.text();
            assert_eq!(rig.run("type", &json!({ "text": "abc" })), succeeded(3));
            assert_eq!(rig.device.text(), format!("{before}abc"), "{what}");
        }
    }
}

#[test]
fn a_board_that_is_reset_in_the_middle_of_a_text_types_nothing_twice_and_leaves_nothing_down() {
    for moment in 0..60 {
        for is_secret in [false, true] {
            let what = format!("after {} ms, secret {is_secret}", moment * 13);
            let mut rig = ready();
            let id = rig.command("type", &json!({ "text": "ABcDe", "secret": is_secret }));
            rig.advance_ms(moment * 13);
            reset_board(&mut rig);
            rig.end_of(&id);
            rig.advance_ms(SETTLED_MS);
            assert_eq!(rig.device.down(), [], "{what}");
            assert!(
                "ABcDe".starts_with(&rig.device.text()),
                "{what}: {}",
                rig.device.text()
            );
            assert_eq!(rig.bench().leases(), [], "{what}");
            let seen = format!("{:?}{}", rig.bench().logs(), rig.slice());
            assert!(!seen.contains("KeyA"), "{what}: {seen}");
            assert!(!seen.contains("Shift"), "{what}: {seen}");
        }
    }
}

#[test]
fn a_text_goes_on_with_shift_after_a_reset_that_is_noticed_by_its_next_line() {
    let mut rig = ready();
    let id = rig.command("type", &json!({ "text": "ABC" }));
    rig.advance_ms(1);
    // As a board that starts at once: the line is refused instead of lost.
    rig.device.outbound = |_, _| Fate::IsLost;
    rig.advance_ms(140);
    rig.device.outbound = |_, _| Fate::Arrives;
    assert_eq!(rig.device.typed, []);
    rig.bench_mut()
        .feed("main", b"debug: command is press 0:1c. nothing to do\r\n");
    rig.exchange();
    assert_eq!(rig.end_of(&id), succeeded(3));
    assert_eq!(rig.device.text(), "ABC");
    rig.advance_ms(100);
    assert_let_go(&rig, "the text");
}

#[test]
fn keys_that_are_held_go_up_when_the_board_is_identified_again() {
    let mut rig = ready();
    hold(&mut rig, "ControlLeft");
    reset_board(&mut rig);
    rig.advance_ms(3000);
    // Its line finds out. What was held before is up before it is struck.
    assert_eq!(rig.run("press", &json!({ "key": "KeyC" })), succeeded(1));
    assert_eq!(rig.device.typed, [Meaning::Character('c')]);
    rig.advance_ms(100);
    assert_let_go(&rig, "control");
}

#[test]
fn a_doubt_is_told_until_the_key_is_up() {
    let mut rig = ready();
    hold(&mut rig, "KeyA");
    reset_board(&mut rig);
    rig.advance_ms(3000);
    rig.device.inbound = |_, line| match line == "KB" {
        true => Fate::IsLost,
        false => Fate::Arrives,
    };
    end_hold(&mut rig);
    rig.advance_ms(1000);
    assert_eq!(rig.slice()["phase"], "identifying");
    assert_eq!(
        last_error(&rig),
        "the adapter has been reset; KeyA may still be down at the PC"
    );
    rig.advance_ms(10_000);
    assert_eq!(rig.slice()["phase"], "error");
    let error = last_error(&rig);
    assert!(error.ends_with("; KeyA may still be down at the PC"), "{error}");
    rig.device.inbound = |_, line| match line.starts_with("success") {
        true => Fate::IsLost,
        false => Fate::Arrives,
    };
    rig.advance_ms(4000);
    assert!(last_error(&rig).contains("KeyA may still be down"));
    rig.device.inbound = |_, _| Fate::Arrives;
    rig.advance_ms(SETTLED_MS);
    assert_let_go(&rig, "at last");
}

#[test]
fn a_swap_and_a_restart_from_a_checkpoint_keep_the_doubt() {
    for is_swap in [true, false] {
        let mut rig = ready();
        hold(&mut rig, "KeyA");
        rig.lose("unplugged");
        reset_board(&mut rig);
        rig.advance_ms(3000);
        if is_swap {
            rig.swap();
        } else {
            rig.restart();
        }
        rig.attach();
        rig.advance_ms(SETTLED_MS);
        assert_let_go(&rig, if is_swap { "swap" } else { "restart" });
    }
}

#[test]
fn a_swap_while_it_is_let_go_changes_nothing() {
    for moment in 0..60 {
        let mut rig = ready();
        rig.chunk_bytes = 7;
        hold(&mut rig, "ArrowUp");
        hold(&mut rig, "KeyA");
        reset_board(&mut rig);
        rig.advance_ms(3000);
        end_hold(&mut rig);
        let text = rig.command("type", &json!({ "text": "a" }));
        rig.advance_ms(moment * 5);
        rig.swap();
        rig.end_of(&text);
        rig.advance_ms(SETTLED_MS);
        assert_let_go(&rig, &format!("{moment}"));
    }
}

#[test]
fn without_a_doubt_nothing_is_sent_after_an_identification() {
    let mut rig = ready();
    hold(&mut rig, "ArrowUp");
    hold(&mut rig, "KeyA");
    end_hold(&mut rig);
    end_hold(&mut rig);
    rig.run("type", &json!({ "text": "aB" }));
    rig.run("combo", &json!({ "keys": ["ControlLeft", "AltLeft", "Delete"] }));
    rig.run("press", &json!({ "key": "Pause" }));
    rig.run("press", &json!({ "key": "KeyA", "durationMs": 500 }));
    rig.advance_ms(1000);
    rig.device.written.clear();
    rig.lose("unplugged");
    reset_board(&mut rig);
    rig.advance_ms(1000);
    assert_eq!(last_error(&rig), "the line is away: unplugged");
    rig.attach();
    rig.advance_ms(SETTLED_MS);
    assert_eq!(written(&rig).replace("identify\n", ""), "identify_complete\n");
    rig.device.written.clear();
    reset_board(&mut rig);
    rig.advance_ms(3000);
    rig.run("power", &json!({ "mode": "auto" }));
    rig.advance_ms(SETTLED_MS);
    assert_eq!(
        written(&rig),
        "power_auto\nidentify\nidentify_complete\npower_auto\n"
    );
}

#[test]
fn a_pc_that_was_off_has_forgotten_its_keys() {
    for how in ["sense", "reset"] {
        let mut rig = ready();
        hold(&mut rig, "KeyA");
        if how == "reset" {
            pc_sends(&mut rig, 0xFF);
            rig.advance_ms(1000);
        }
        rig.lose("unplugged");
        if how == "sense" {
            rig.bench_mut()
                .observe("frontPanel", &json!({ "powerSense": "off" }));
        }
        reset_board(&mut rig);
        rig.advance_ms(3000);
        rig.device.written.clear();
        rig.attach();
        rig.advance_ms(SETTLED_MS);
        // Only what the host had for it.
        assert_eq!(
            written(&rig).replace("identify\n", ""),
            "release 0:1c\nidentify_complete\n",
            "{how}"
        );
        assert_eq!(rig.slice()["lastError"], Json::Null, "{how}");
    }
}

#[test]
fn an_answer_for_the_key_with_the_prefix_is_none_for_the_key_without() {
    let mut rig = ready();
    hold(&mut rig, "ControlLeft");
    hold(&mut rig, "ArrowUp");
    // Both sequences end with the code of another key that is down.
    rig.run("release", &json!({ "key": "ControlRight" }));
    rig.run("release", &json!({ "key": "Numpad8" }));
    rig.run("press", &json!({ "key": "Pause" }));
    assert_eq!(rig.device.down(), [Code::plain(0x14), Code::extended(0x75)]);
    rig.lose("unplugged");
    reset_board(&mut rig);
    rig.advance_ms(3000);
    rig.attach();
    rig.advance_ms(SETTLED_MS);
    assert_let_go(&rig, "control and arrow");
}

#[test]
fn an_answer_from_before_a_make_is_none_for_it() {
    let mut rig = ready();
    rig.device.inbound = |_, _| Fate::IsLost;
    rig.command("hold", &json!({ "key": "KeyA" }));
    rig.advance_ms(100);
    rig.lose("unplugged");
    reset_board(&mut rig);
    rig.attach();
    rig.bench_mut()
        .feed("main", b"success: release command for scan code 1C\r\n");
    rig.device.inbound = |_, _| Fate::Arrives;
    rig.advance_ms(SETTLED_MS);
    assert_let_go(&rig, "KeyA");
}

#[test]
fn key_events_that_a_reset_interrupts_leave_nothing_down() {
    for moment in 0..40 {
        for after_ms in [1, 700, 2000] {
            let what = format!("{moment} x 5 ms, {after_ms} ms");
            let mut rig = ready();
            let event = |key: &str, down: bool| json!({ "key": key, "down": down });
            let events = [
                event("ShiftLeft", true),
                event("ArrowUp", true),
                event("ArrowUp", false),
                event("KeyB", true),
            ];
            rig.command("keys", &json!({ "events": events }));
            rig.advance_ms(moment * 5);
            reset_board(&mut rig);
            rig.advance_ms(after_ms);
            while !rig.bench().leases().is_empty() {
                end_hold(&mut rig);
            }
            rig.advance_ms(SETTLED_MS);
            assert_eq!(rig.device.down(), [], "{what}");
            assert_eq!(rig.bench().leases(), [], "{what}");
            assert_eq!(rig.slice()["phase"], "ready", "{what}");
        }
    }
}

#[test]
fn release_all_lets_go_of_what_the_slice_does_not_show_any_more() {
    let mut rig = ready();
    hold(&mut rig, "KeyA");
    rig.device.outbound = |_, line| match line.starts_with("release") {
        true => Fate::IsLost,
        false => Fate::Arrives,
    };
    end_hold(&mut rig);
    rig.advance_ms(100);
    assert_eq!(rig.slice()["heldKeys"], json!([]));
    rig.device.written.clear();
    rig.device.outbound = |_, _| Fate::Arrives;
    assert_eq!(rig.run("release-all", &json!({})), Outcome::Succeeded(None));
    assert!(written(&rig).contains("release 0:1c\n"), "{}", written(&rig));
    rig.advance_ms(100);
    assert_let_go(&rig, "release-all");
}

#[test]
fn commands_that_come_while_keys_are_let_go_wait_and_cannot_withdraw_that() {
    let mut rig = ready();
    hold(&mut rig, "ShiftLeft");
    hold(&mut rig, "KeyA");
    rig.lose("unplugged");
    reset_board(&mut rig);
    rig.advance_ms(3000);
    rig.attach();
    for _ in 0..5000 {
        if rig.slice()["phase"] == "ready" {
            break;
        }
        rig.advance_ms(1);
    }
    let typing = rig.command("type", &json!({ "text": "x" }));
    assert_eq!(
        rig.run("cancel-all", &json!({})),
        succeeded(1),
        "only what was asked for"
    );
    assert_eq!(rig.end_of(&typing), Outcome::Cancelled);
    assert_eq!(rig.run("type", &json!({ "text": "y" })), succeeded(1));
    assert_eq!(rig.device.typed.last(), Some(&Meaning::Character('y')));
    rig.advance_ms(100);
    assert_let_go(&rig, "both");
}

#[test]
fn a_line_that_takes_nothing_when_keys_are_to_be_let_go_is_tried_until_it_does() {
    let mut rig = ready();
    hold(&mut rig, "KeyA");
    rig.lose("unplugged");
    reset_board(&mut rig);
    rig.advance_ms(3000);
    // It is identified, and the first release is lost.
    rig.device.outbound = |_, line| match line.starts_with("release") {
        true => Fate::IsLost,
        false => Fate::Arrives,
    };
    rig.attach();
    rig.advance_ms(100);
    assert_eq!(rig.slice()["phase"], "ready");
    rig.bench_mut().refuse_writes("main", Some(SerialError::Full));
    rig.device.outbound = |_, _| Fate::Arrives;
    rig.advance_ms(25_000);
    assert_ne!(rig.device.down(), []);
    assert!(last_error(&rig).contains("KeyA may still be down"));
    rig.bench_mut().refuse_writes("main", None);
    rig.advance_ms(SETTLED_MS);
    assert_let_go(&rig, "a full line");
}

/// Keys, resets, lost lines, and ends of holds in any order.
mod anything {
    use proptest::prelude::*;

    use super::*;

    fn cases() -> ProptestConfig {
        let long = std::env::var_os("AUTOBENCH_LONG").is_some();
        ProptestConfig::with_cases(if long { 2000 } else { 60 })
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn whatever_happens_nothing_is_down_in_the_end(
            events in prop::collection::vec((0..9_u8, 0..2500_u64), 1..25),
            chunk in 1..50_usize,
        ) {
            let mut rig = ready();
            rig.chunk_bytes = chunk;
            let mut is_away = false;
            for (what, pause_ms) in events {
                match what {
                    0 => drop(rig.command("hold", &json!({ "key": "KeyA" }))),
                    1 => drop(rig.command("hold", &json!({ "key": "ControlRight" }))),
                    2 => drop(rig.command("combo", &json!({ "keys": ["ControlLeft", "ArrowUp"] }))),
                    3 => drop(rig.command("type", &json!({ "text": "AbC" }))),
                    4 => reset_board(&mut rig),
                    5 if is_away => {
                        rig.attach();
                        is_away = false;
                    }
                    5 => {
                        rig.lose("unplugged");
                        is_away = true;
                    }
                    6 if !rig.bench().leases().is_empty() => end_hold(&mut rig),
                    7 => rig.swap(),
                    8 => rig.restart(),
                    _ => {}
                }
                rig.advance_ms(pause_ms);
            }
            if is_away {
                rig.attach();
            }
            // Longer than any hold.
            rig.advance_ms(60_000);
            prop_assert_eq!(rig.device.down(), []);
            prop_assert_eq!(rig.bench().leases(), []);
            prop_assert_eq!(&rig.slice()["heldKeys"], &json!([]));
            prop_assert_eq!(&rig.slice()["phase"], "ready");
        }
    }
}
