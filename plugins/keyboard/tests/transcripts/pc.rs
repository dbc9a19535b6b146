//! What the PC's power and its lights mean for the commands.

use autobench_sdk::Outcome;
use autobench_sdk::bench::{Reply, blocked};
use serde_json::{Value as Json, json};

use crate::adapter::{Rig, pc_sends, ready};
use crate::succeeded;

#[test]
fn power_off_cancels_what_is_queued_and_lets_go() {
    let mut rig = ready();
    rig.bench_mut()
        .observe("frontPanel", &json!({ "powerSense": "on" }));
    rig.run("hold", &json!({ "key": "AltLeft" }));
    let running = rig.command("press", &json!({ "key": "KeyA", "durationMs": 5000 }));
    let waiting = rig.command("press", &json!({ "key": "KeyB" }));
    rig.advance_ms(100);
    rig.bench_mut()
        .observe("frontPanel", &json!({ "powerSense": "off" }));
    assert_eq!(rig.end_of(&waiting), Outcome::Cancelled);
    assert_eq!(rig.end_of(&running), Outcome::Cancelled);
    assert_eq!(progress(&rig, &running), ["the PC is off"]);
    rig.advance_ms(500);
    assert_eq!(rig.device.down(), []);
    assert_eq!(rig.bench().leases(), []);
    let written = rig.device.written.len();
    assert!(blocked(&rig.run("type", &json!({ "text": "a" }))).contains("the PC is off"));
    assert_eq!(rig.device.written.len(), written);
    // What is unknown forbids nothing.
    rig.bench_mut()
        .observe("frontPanel", &json!({ "powerSense": "unknown" }));
    assert_eq!(rig.run("type", &json!({ "text": "a" })), succeeded(1));
    rig.bench_mut()
        .observe("frontPanel", &json!({ "powerSense": "off" }));
    rig.bench_mut().forget("frontPanel");
    assert_eq!(rig.run("type", &json!({ "text": "b" })), succeeded(1));
}

#[test]
fn the_pin_is_as_the_adapter_says() {
    let mut rig = ready();
    assert_eq!(rig.slice()["power"], "unknown");
    assert_eq!(
        rig.run("power", &json!({ "mode": "on" })),
        Outcome::Succeeded(None)
    );
    assert_eq!(rig.device.written, b"power_on\n");
    rig.advance_ms(100);
    assert_eq!(rig.slice()["power"], "on");
    rig.run("power", &json!({ "mode": "off" }));
    rig.advance_ms(100);
    assert_eq!(rig.slice()["power"], "off");
    rig.run("power", &json!({ "mode": "auto" }));
    pc_sends(&mut rig, 0xF4);
    rig.advance_ms(100);
    assert_eq!(rig.slice()["power"], "on");
}

#[test]
fn a_text_is_not_typed_with_caps_lock_on() {
    let mut rig = ready();
    pc_sends(&mut rig, 0xED);
    pc_sends(&mut rig, 0x06);
    rig.advance_ms(100);
    assert_eq!(
        rig.slice()["lights"],
        json!({ "scroll": false, "num": true, "caps": true })
    );
    assert!(blocked(&rig.run("type", &json!({ "text": "a" }))).contains("Caps Lock"));
    pc_sends(&mut rig, 0xFF);
    rig.advance_ms(1000);
    assert_eq!(rig.slice()["lights"], Json::Null);
    assert_eq!(rig.run("type", &json!({ "text": "a" })), succeeded(1));
}

/// What a command has said of how far it is.
fn progress(rig: &Rig, id: &str) -> Vec<String> {
    let replies = rig.bench().replies().iter();
    let of_it = replies.filter_map(|reply| match reply {
        Reply::Progress(command, text, _) if command == id => Some(text.clone()),
        _ => None,
    });
    of_it.collect()
}
