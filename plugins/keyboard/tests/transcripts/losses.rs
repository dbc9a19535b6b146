//! A line or an answer that is lost presses no key twice and leaves none down.

use autobench_sdk::bench::failed;
use autobench_sdk::{Level, SerialError};
use serde_json::json;

use crate::adapter::{Fate, ready};
use crate::succeeded;

#[test]
fn a_key_whose_answer_is_lost_is_not_pressed_again() {
    let mut rig = ready();
    rig.device.inbound = |number, line| match (number, line.starts_with("success: press")) {
        (2, true) => Fate::IsLost,
        _ => Fate::Arrives,
    };
    let text = failed(&rig.run("type", &json!({ "text": "abcdef" })));
    assert!(
        text.contains("2 of 6 characters were done; the next one may have been typed"),
        "{text}"
    );
    assert_eq!(rig.device.text(), "abc");
    assert_eq!(rig.slice()["phase"], "ready");
    assert_eq!(rig.slice()["lastError"]["scope"], "protocol");
    // And it goes on as if nothing had been.
    assert_eq!(rig.run("type", &json!({ "text": "d" })), succeeded(1));
    assert_eq!(rig.device.text(), "abcd");
    rig.advance_ms(100);
    assert_eq!(rig.slice()["operationHistory"][0]["reason"], text);
}

#[test]
fn a_line_that_is_lost_leaves_nothing_down() {
    // Shift down, a, b, shift up, c: each of these lines is lost once.
    for lost in 0..5 {
        let mut rig = ready();
        rig.device.outbound = match lost {
            0 => |number, _| if number == 0 { Fate::IsLost } else { Fate::Arrives },
            1 => |number, _| if number == 1 { Fate::IsLost } else { Fate::Arrives },
            2 => |number, _| if number == 2 { Fate::IsLost } else { Fate::Arrives },
            3 => |number, _| if number == 3 { Fate::IsLost } else { Fate::Arrives },
            _ => |number, _| if number == 4 { Fate::IsLost } else { Fate::Arrives },
        };
        let outcome = rig.run("type", &json!({ "text": "ABc" }));
        let typed = match lost {
            // Of shift, which may be sent again, nothing is noticed.
            0 | 3 => ("ABc", true),
            1 => ("", false),
            2 => ("A", false),
            _ => ("AB", false),
        };
        assert_eq!(
            (rig.device.text().as_str(), outcome == succeeded(3)),
            typed,
            "line {lost}"
        );
        assert_eq!(rig.device.down(), [], "line {lost}");
    }
}

#[test]
fn a_hold_that_is_over_is_not_sent_again() {
    // Its line or its answer is lost, and its time is over, or its client gone, before anybody notices.
    for lost in ["line", "answer"] {
        for ends in ["maximum", "client-gone"] {
            let mut rig = ready();
            if lost == "line" {
                rig.device.outbound = |number, _| if number == 0 { Fate::IsLost } else { Fate::Arrives };
            } else {
                rig.device.inbound = |_, line| match line.starts_with("success: hold") {
                    true => Fate::IsLost,
                    false => Fate::Arrives,
                };
            }
            let ms = if ends == "maximum" { 300 } else { 10_000 };
            let hold = rig.command("hold", &json!({ "key": "ShiftLeft", "maximumMs": ms }));
            rig.advance_ms(200);
            if ends == "client-gone" {
                let lease = rig.bench().leases()[0].id;
                rig.bench_mut().end_lease(lease, ends);
            }
            rig.advance_ms(10_000);
            assert!(!failed(&rig.end_of(&hold)).is_empty());
            assert_eq!(rig.device.down(), [], "{lost} {ends}");
            assert_eq!(rig.slice()["heldKeys"], json!([]));
            let written = String::from_utf8_lossy(&rig.device.written);
            assert_eq!(
                written.matches("hold 0:12").count(),
                1,
                "{lost} {ends}: {written}"
            );
        }
    }
}

#[test]
fn a_line_that_the_adapter_has_not_understood_is_sent_again() {
    let mut rig = ready();
    rig.device.outbound = |_, _| Fate::IsLost;
    let id = rig.command("press", &json!({ "key": "KeyA" }));
    rig.device.outbound = |_, _| Fate::Arrives;
    rig.bench_mut()
        .feed("main", b"debug: command is pres:1c. nothing to do\r\n");
    assert_eq!(rig.end_of(&id), succeeded(1));
    assert_eq!(rig.device.text(), "a");
}

#[test]
fn an_adapter_that_answers_nothing_any_more_is_identified_again_without_end() {
    let mut rig = ready();
    rig.device.outbound = |_, _| Fate::IsLost;
    let id = rig.command("type", &json!({ "text": "A" }));
    rig.advance_ms(3 * 1500 + 10);
    assert!(failed(&rig.end_of(&id)).contains("does not answer any more"));
    assert_eq!(rig.slice()["phase"], "identifying");
    rig.advance_ms(9000);
    assert_eq!(rig.slice()["phase"], "error");
    rig.advance_ms(200_000);
    let warnings = rig.bench().logs().iter().filter(|line| line.level == Level::Warn);
    assert_eq!(warnings.count(), 2, "one for each change of phase");
    rig.device.outbound = |_, _| Fate::Arrives;
    rig.advance_ms(10_000);
    assert_eq!(rig.slice()["phase"], "ready");
    assert_eq!(rig.slice().get("message"), None);
}

#[test]
fn what_the_adapter_says_by_itself_is_no_answer() {
    let mut rig = ready();
    rig.device.inbound = |_, _| Fate::IsLost;
    let id = rig.command("press", &json!({ "key": "KeyA" }));
    for noise in [
        "success: press command for scan code 1B\r\n",
        "success: hold command for scan code 1C\r\n",
        "debug: acknowledge\r\nKB\r\n",
        "\u{0}\u{1}garbage\r\n",
    ] {
        rig.bench_mut().feed("main", noise.as_bytes());
    }
    rig.advance_ms(300);
    assert_eq!(rig.bench().outcome(&id), None);
    rig.bench_mut()
        .feed("main", b"success: press command for scan code 1C\r\n");
    assert_eq!(rig.end_of(&id), succeeded(1));
}

#[test]
fn a_line_that_takes_nothing_is_tried_again_and_then_given_up() {
    let mut rig = ready();
    rig.bench_mut().refuse_writes("main", Some(SerialError::Full));
    let id = rig.command("type", &json!({ "text": "a" }));
    rig.advance_ms(150);
    rig.bench_mut().refuse_writes("main", None);
    assert_eq!(rig.end_of(&id), succeeded(1));
    assert_eq!(rig.device.text(), "a");
    rig.bench_mut().refuse_writes("main", Some(SerialError::Full));
    assert!(failed(&rig.run("type", &json!({ "text": "B" }))).contains("takes nothing"));
    assert_eq!(rig.bench().leases(), []);
}
