//! What is refused writes nothing; what waits keeps its turn, until somebody withdraws it.

use autobench_sdk::Outcome;
use autobench_sdk::bench::blocked;
use autobench_sim::pc::keys::Code;
use serde_json::{Value as Json, json};

use crate::adapter::{ready, ready_with};
use crate::succeeded;

#[test]
fn no_refused_command_writes_a_byte() {
    let mut rig = ready();
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
        let text = blocked(&rig.run(name, &arguments));
        assert!(text.contains(complaint), "{text}");
    }
    rig.advance_ms(5000);
    assert_eq!(rig.device.written, b"");
    assert_eq!(rig.bench().leases(), []);
}

#[test]
fn a_queue_that_is_full_refuses_the_next_and_keeps_the_others() {
    let mut rig = ready_with(json!({ "queue-depth": 2 }));
    let ids: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|text| rig.command("type", &json!({ "text": text })))
        .collect();
    let refused = rig.command("type", &json!({ "text": "d" }));
    assert!(blocked(&rig.end_of(&refused)).contains("the queue is full: 2 commands wait"));
    rig.advance_ms(50);
    assert_eq!(rig.slice()["queueDepth"], 2);
    for id in &ids {
        assert_eq!(rig.end_of(id), succeeded(1));
    }
    assert_eq!(rig.device.text(), "abc");
    rig.advance_ms(100);
    assert_eq!(rig.slice()["queueDepth"], 0);
    assert_eq!(
        (&rig.slice()["busy"], &rig.slice()["currentOp"]),
        (&json!(false), &Json::Null)
    );
}

#[test]
fn a_text_that_is_cancelled_stops_and_leaves_nothing_down() {
    let mut rig = ready();
    let running = rig.command("type", &json!({ "text": "ABCDEFGH" }));
    let waiting = rig.command("type", &json!({ "text": "x" }));
    let last = rig.command("type", &json!({ "text": "z" }));
    rig.advance_ms(300);
    rig.bench_mut().cancel_command(&waiting, "on request");
    rig.bench_mut().cancel_command(&running, "on request");
    assert_eq!(rig.end_of(&waiting), Outcome::Cancelled);
    assert_eq!(rig.end_of(&running), Outcome::Cancelled);
    assert_eq!(rig.end_of(&last), succeeded(1));
    // The key that was under way is not taken back.
    assert_eq!(rig.device.text(), "ABCz");
    assert_eq!(rig.device.down(), []);
    rig.advance_ms(100);
    let history = rig.slice()["operationHistory"].clone();
    assert_eq!(history[0]["status"], "cancelled");
    assert_eq!(history[2]["label"], "type 1 characters");
}

#[test]
fn cancelling_a_long_press_lets_the_key_go_at_once() {
    let mut rig = ready();
    let id = rig.command("press", &json!({ "key": "ArrowUp", "durationMs": 60_000 }));
    rig.advance_ms(200);
    assert_eq!(rig.device.down(), [Code::extended(0x75)]);
    rig.bench_mut().cancel_command(&id, "on request");
    rig.advance_ms(100);
    assert_eq!(rig.bench().outcome(&id), Some(&Outcome::Cancelled));
    assert_eq!(rig.device.down(), []);
}
