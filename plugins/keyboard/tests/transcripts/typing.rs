//! What is typed reaches the PC as the codes that a keyboard sends, in every layout and in every chunking.

use autobench_sdk::bench::blocked;
use autobench_sim::pc::keys::{Code, Meaning};
use keyboard::keys::Key;
use keyboard::layout::{self, Layout};
use serde_json::json;

use crate::adapter::{ready, ready_with};
use crate::{count, succeeded};

const SENTENCE: &str = "Hello, \"World\"! dir C:\\*.* | MORE\n~{[a^b]} 100% & 2+2=4 @home #1_x";

#[test]
fn a_text_in_us_reaches_the_pc_as_it_is() {
    let mut rig = ready();
    let outcome = rig.run("type", &json!({ "text": SENTENCE }));
    assert_eq!(outcome, succeeded(count(SENTENCE)));
    assert_eq!(rig.device.text(), SENTENCE);
    assert_eq!(rig.device.down(), []);
    assert_eq!(rig.bench().leases(), []);
}

#[test]
fn every_chunking_of_what_the_adapter_says_gives_the_same() {
    let mut whole = ready();
    whole.run("type", &json!({ "text": "aB~~" }));
    for chunk in [1, 2, 3, 5, 7, 11, 40] {
        let mut rig = ready();
        rig.chunk_bytes = chunk;
        rig.run("type", &json!({ "text": "aB~~" }));
        assert_eq!(rig.device.written, whole.device.written, "in pieces of {chunk}");
        assert_eq!(rig.device.to_pc, whole.device.to_pc, "in pieces of {chunk}");
        assert_eq!(rig.slice()["operationHistory"].as_array().map(Vec::len), Some(1));
    }
}

/// `golden.txt` was worked out from a table of set 2 and from what is printed on the keys, not from the layout files.
#[test]
fn the_scan_codes_of_every_character_of_every_layout_are_the_golden_ones() {
    let mut found = String::new();
    for name in layout::names() {
        let layout = Layout::named(name).expect("it is there").expect("it is good");
        for character in layout.characters() {
            let mut rig = ready_with(json!({ "layout": name, "pacing-ms": 0 }));
            let outcome = rig.run("type", &json!({ "text": character.to_string() }));
            assert_eq!(outcome, succeeded(1), "{name}: {character:?}");
            assert_eq!(rig.device.down(), [], "{name}: {character:?}");
            let bytes: Vec<_> = rig
                .device
                .to_pc
                .iter()
                .map(|byte| format!("{byte:02X}"))
                .collect();
            found += &format!("{name} {character:?} {}\n", bytes.join(" "));
        }
    }
    let golden = include_str!("golden.txt");
    if found != golden {
        for (found, golden) in found.lines().zip(golden.lines()) {
            assert_eq!(found, golden);
        }
        std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/golden.txt"), &found)
            .expect("it can be written");
        panic!("the files differ in length; what was found is in golden.txt in the target's tmp folder");
    }
}

/// `keys.txt` has what a keyboard sends when a key is pressed, from a table of set 2 and not from the driver's.
#[test]
fn every_key_goes_down_and_up_with_its_golden_codes() {
    let mut found = Vec::new();
    for key in Key::all() {
        let mut rig = ready();
        assert_eq!(
            rig.run("press", &json!({ "key": key.name() })),
            succeeded(1),
            "{key}"
        );
        assert_eq!(rig.device.down(), [], "{key}");
        assert_eq!(rig.bench().leases(), [], "{key}");
        let bytes: Vec<_> = rig
            .device
            .to_pc
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        found.push(format!("{key} {}", bytes.join(" ")));
    }
    found.sort();
    let golden: Vec<_> = include_str!("keys.txt").lines().collect();
    assert_eq!(found, golden);
}

#[test]
fn pause_and_print_screen_are_their_whole_sequences() {
    let mut rig = ready();
    rig.run("press", &json!({ "key": "Pause" }));
    assert_eq!(rig.device.to_pc, [0xE1, 0x14, 0x77, 0xE1, 0xF0, 0x14, 0xF0, 0x77]);
    let mut rig = ready();
    rig.run("press", &json!({ "key": "PrintScreen" }));
    assert_eq!(
        rig.device.to_pc,
        [0xE0, 0x12, 0xE0, 0x7C, 0xE0, 0xF0, 0x7C, 0xE0, 0xF0, 0x12]
    );
}

#[test]
fn a_combo_starts_the_pc_over_and_leaves_nothing_down() {
    let mut rig = ready();
    let keys = json!({ "keys": ["ControlLeft", "AltLeft", "Delete"] });
    assert_eq!(rig.run("combo", &keys), succeeded(1));
    assert_eq!(rig.device.typed, [Meaning::ControlAltDelete]);
    assert_eq!(rig.device.down(), []);
    let refused = blocked(&rig.run("combo", &json!({ "keys": ["KeyA", "KeyB"] })));
    assert!(refused.contains("KeyA is no modifier"), "{refused}");
}

#[test]
fn a_press_lasts_as_long_as_it_was_asked_for() {
    let mut rig = ready();
    let id = rig.command("press", &json!({ "key": "KeyA", "durationMs": 700 }));
    rig.advance_ms(700);
    assert_eq!(rig.device.down(), [Code::plain(0x1C)]);
    rig.end_of(&id);
    assert_eq!(rig.device.down(), []);
}

#[test]
fn a_macro_does_one_after_the_other_with_its_delays() {
    let steps = json!([{ "type": "DIR" }, { "delay-ms": 500 }, { "press": "Enter" },
        { "combo": ["ControlLeft", "KeyC"] }]);
    let mut rig = ready_with(json!({ "macros": { "list": steps } }));
    let before_ns = rig.bench().now_ns();
    assert_eq!(rig.run("macro", &json!({ "name": "list" })), succeeded(6));
    assert!(rig.bench().now_ns() - before_ns > 900_000_000);
    assert_eq!(rig.device.text(), "DIR\n");
    assert_eq!(rig.device.typed.last(), Some(&Meaning::ControlC));
    let refused = blocked(&rig.run("macro", &json!({ "name": "lits" })));
    assert!(refused.contains("there are: list"), "{refused}");
}
