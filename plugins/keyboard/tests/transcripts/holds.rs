//! A hold has its lease before its line, and whatever ends it writes what lets go once.

use autobench_sdk::bench::blocked;
use autobench_sdk::{Outcome, StopReason};
use autobench_sim::pc::keys::{Code, Meaning};
use serde_json::json;

use crate::adapter::{Fate, ready};
use crate::succeeded;

#[test]
fn a_hold_has_its_lease_before_its_line_and_ends_with_it() {
    let mut rig = ready();
    let id = rig
        .bench_mut()
        .command("hold", &json!({ "key": "KeyA", "maximumMs": 2000 }));
    let leases = rig.bench().leases().to_vec();
    assert_eq!(leases.len(), 1);
    assert_eq!(leases[0].release, b"release 0:1c\n");
    assert_eq!(leases[0].holder.as_ref(), Some(&id));
    assert_eq!(rig.end_of(&id), Outcome::Succeeded(None));
    assert_eq!(rig.device.written, b"hold 0:1c\n");
    rig.advance_ms(1000);
    // Once more for two seconds, without another make.
    assert_eq!(
        rig.run("hold", &json!({ "key": "KeyA", "maximumMs": 2000 })),
        Outcome::Succeeded(None)
    );
    rig.advance_ms(1500);
    assert_eq!(rig.device.written, b"hold 0:1c\n");
    assert_eq!(rig.device.down(), [Code::plain(0x1C)]);
    rig.advance_ms(1000);
    assert_eq!(rig.device.down(), []);
    assert_eq!(rig.device.written, b"hold 0:1c\nrelease 0:1c\n");
    assert_eq!(rig.slice()["heldKeys"], json!([]));
}

#[test]
fn key_events_go_down_and_up_in_order_and_what_stays_down_is_held_by_their_client() {
    let mut rig = ready();
    let event = |key: &str, down: bool| json!({ "key": key, "down": down });
    let events = [
        event("ShiftLeft", true),
        event("KeyA", true),
        event("KeyA", false),
        event("PrintScreen", true),
        event("PrintScreen", false),
        event("KeyB", true),
    ];
    let id = rig.bench_mut().command("keys", &json!({ "events": events }));
    assert_eq!(rig.end_of(&id), Outcome::Succeeded(None));
    let down = [Code::plain(0x12), Code::plain(0x32)];
    assert_eq!(rig.device.down(), down);
    let leases = rig.bench().leases();
    let holders: Vec<_> = leases.iter().map(|lease| lease.holder.as_ref()).collect();
    assert_eq!(holders, [Some(&id), Some(&id)], "only for what is down");
    let up = [event("KeyB", false), event("ShiftLeft", false)];
    assert_eq!(
        rig.run("keys", &json!({ "events": up })),
        Outcome::Succeeded(None)
    );
    assert_eq!(rig.device.down(), []);
    let events = [event("ShiftLeft", true), event("NoSuchKey", true)];
    assert!(blocked(&rig.run("keys", &json!({ "events": events }))).contains("NoSuchKey"));
    assert_eq!(rig.device.down(), [], "none of them, if one is wrong");
}

#[test]
fn key_events_that_are_withdrawn_or_fail_in_the_middle_leave_none_of_their_keys_down() {
    let event = |key: &str| json!({ "key": key, "down": true });
    let events = json!({ "events": [event("ShiftLeft"), event("KeyA"), event("KeyB"), event("KeyC")] });
    for is_withdrawn in [true, false] {
        let mut rig = ready();
        // What another command holds is none of theirs.
        rig.run("hold", &json!({ "key": "ControlRight" }));
        // Of KeyB's make nothing is heard; it went down all the same.
        rig.device.inbound = |_, line| match line == "success: hold command for scan code 32" {
            true => Fate::IsLost,
            false => Fate::Arrives,
        };
        let id = rig.command("keys", &events);
        if is_withdrawn {
            rig.bench_mut().cancel_command(&id, "on request");
        }
        let outcome = rig.end_of(&id);
        assert_eq!(outcome == Outcome::Cancelled, is_withdrawn, "{outcome:?}");
        rig.advance_ms(3000);
        assert_eq!(rig.device.down(), [Code::extended(0x14)]);
        assert_eq!(rig.slice()["heldKeys"], json!(["ControlRight"]));
        assert_eq!(rig.bench().leases().len(), 1);
    }
}

#[test]
fn a_release_gives_the_lease_back_and_nothing_is_written_twice() {
    let mut rig = ready();
    rig.run("hold", &json!({ "key": "ControlRight" }));
    assert_eq!(
        rig.run("release", &json!({ "key": "ControlRight" })),
        Outcome::Succeeded(None)
    );
    rig.advance_ms(20_000);
    assert_eq!(rig.device.written, b"hold e0:14\nhold 0:e0\nrelease 0:14\n");
    assert_eq!(rig.device.to_pc, [0xE0, 0x14, 0xE0, 0xF0, 0x14]);
}

#[test]
fn a_text_waits_for_no_key_that_is_held_but_is_refused() {
    let mut rig = ready();
    rig.run("hold", &json!({ "key": "ControlLeft" }));
    assert!(blocked(&rig.run("type", &json!({ "text": "c" }))).contains("ControlLeft is held"));
    assert_eq!(rig.run("press", &json!({ "key": "KeyC" })), succeeded(1));
    assert_eq!(rig.device.typed, [Meaning::ControlC]);
}

#[test]
fn release_all_withdraws_what_is_under_way_and_lets_everything_go() {
    let mut rig = ready();
    rig.run("hold", &json!({ "key": "ShiftRight" }));
    rig.run("hold", &json!({ "key": "ArrowDown" }));
    let running = rig.command("press", &json!({ "key": "KeyA", "durationMs": 5000 }));
    rig.advance_ms(200);
    assert_eq!(rig.run("release-all", &json!({})), Outcome::Succeeded(None));
    assert_eq!(rig.bench().outcome(&running), Some(&Outcome::Cancelled));
    assert_eq!(rig.device.down(), []);
    assert_eq!(rig.bench().leases(), []);
}

#[test]
fn nothing_stays_down_when_the_driver_is_stopped() {
    let mut rig = ready();
    rig.run("hold", &json!({ "key": "KeyA" }));
    let bench = rig.into_bench();
    assert_eq!(bench.stop(StopReason::Shutdown, "main"), b"release 0:1c\n");
}
