//! Over a swap, a breakdown, a lost line and a board that was reset, each character is typed once and nothing stays down.

use autobench_sdk::Level;
use autobench_sdk::bench::{blocked, failed};
use autobench_sim::pc::keys::Code;
use serde_json::{Value as Json, json};

use crate::adapter::{ready, reset_board};
use crate::{count, succeeded};

#[test]
fn a_swap_at_any_moment_types_each_character_once() {
    let text = "aAbB\n";
    for moment in 0..80 {
        let mut rig = ready();
        rig.chunk_bytes = 9;
        let id = rig.command("type", &json!({ "text": text }));
        rig.advance_ms(moment * 15);
        rig.swap();
        assert_eq!(
            rig.end_of(&id),
            succeeded(count(text)),
            "swapped after {} ms",
            moment * 15
        );
        assert_eq!(rig.device.text(), text, "swapped after {} ms", moment * 15);
        assert_eq!(rig.device.down(), []);
    }
}

#[test]
fn a_restart_in_ready_identifies_only_without_a_checkpoint() {
    let mut rig = ready();
    rig.restart();
    rig.advance_ms(20_000);
    assert_eq!(rig.device.written, b"");
    assert_eq!(rig.slice()["phase"], "ready");
    rig.swap();
    rig.advance_ms(20_000);
    assert_eq!(rig.device.written, b"");
    rig.restart_from_nothing();
    rig.advance_ms(10);
    assert_eq!(rig.device.written, b"identify\nidentify_complete\n");
    assert_eq!(rig.slice()["phase"], "ready");
}

/// A breakdown lets Shift go, whatever needs it.
#[test]
fn a_breakdown_at_any_moment_types_each_character_once_and_as_it_is() {
    let text = "aABb";
    for moment in 0..75 {
        let mut rig = ready();
        let id = rig.command("type", &json!({ "text": text }));
        rig.advance_ms(moment * 10);
        rig.restart();
        assert_eq!(
            rig.end_of(&id),
            succeeded(count(text)),
            "after {} ms",
            moment * 10
        );
        assert_eq!(rig.device.text(), text, "after {} ms", moment * 10);
        assert_eq!(rig.device.down(), [], "after {} ms", moment * 10);
    }
}

#[test]
fn a_hold_lives_through_a_swap_and_ends_with_a_breakdown() {
    let mut rig = ready();
    rig.run("hold", &json!({ "key": "ArrowUp" }));
    rig.swap();
    rig.advance_ms(500);
    assert_eq!(rig.device.down(), [Code::extended(0x75)]);
    assert_eq!(rig.slice()["heldKeys"], json!(["ArrowUp"]));
    rig.restart();
    rig.advance_ms(100);
    assert_eq!(rig.device.down(), []);
    assert_eq!(rig.slice()["heldKeys"], json!([]));
}

#[test]
fn a_line_that_comes_back_is_identified_again_and_types_nothing_old() {
    let mut rig = ready();
    let running = rig.command("type", &json!({ "text": "ABCDEFGH" }));
    let waiting = rig.command("type", &json!({ "text": "later" }));
    rig.advance_ms(400);
    rig.lose("unplugged");
    assert_eq!(rig.slice()["phase"], "disconnected");
    let text = failed(&rig.end_of(&running));
    assert!(
        text.contains("the line is away: unplugged; 3 of 8 characters were done"),
        "{text}"
    );
    assert!(blocked(&rig.end_of(&waiting)).contains("away"));
    let typed = rig.device.text();
    rig.attach();
    rig.advance_ms(5000);
    assert_eq!(rig.slice()["phase"], "ready");
    assert_eq!(rig.slice()["lastError"], Json::Null);
    assert_eq!(rig.device.text(), typed);
    assert_eq!(rig.device.down(), [], "what undoes the hold went out first");
}

#[test]
fn a_board_that_was_reset_is_identified_again_and_the_text_goes_on() {
    let mut rig = ready();
    rig.run("type", &json!({ "text": "ab" }));
    reset_board(&mut rig);
    rig.advance_ms(2000);
    assert_eq!(rig.run("type", &json!({ "text": "cD" })), succeeded(2));
    assert_eq!(rig.device.text(), "abcD");
    let warnings = rig.bench().logs().iter().filter(|line| line.level == Level::Warn);
    assert_eq!(warnings.count(), 1);
}
