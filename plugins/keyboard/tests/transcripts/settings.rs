//! Settings and the manifest are as they say.

use autobench_sdk::Refusal;
use autobench_sdk::bench::Bench;
use keyboard::Keyboard;
use keyboard::layout::{self, Layout};
use serde_json::json;

use crate::adapter::ready;

#[test]
fn wrong_settings_are_refused_with_every_problem() {
    let settings = json!({ "queue-depth": 0, "layout": "us", "macros": { "m": [{ "press": "Fn" }], "n": [{ "type": "ä" }] } });
    match Bench::<Keyboard>::setup().settings(settings).start() {
        Err(Refusal::InvalidSettings(text)) => {
            for part in [
                "queue-depth is 0",
                "macro m: there is no key \"Fn\"",
                "macro n: the layout has no keys for 1",
            ] {
                assert!(text.contains(part), "{text}");
            }
        }
        other => panic!("not refused for its settings: {:?}", other.err()),
    }
}

#[test]
fn new_settings_are_taken_while_it_runs_and_bad_ones_are_not() {
    let mut rig = ready();
    assert_eq!(rig.slice()["layout"], "us");
    assert_eq!(rig.slice()["macros"], json!([]));
    let settings =
        json!({ "layout": "de", "macros": { "yes": [{ "type": "y" }], "again": [{ "press": "F3" }] } });
    rig.bench_mut().change_settings(settings);
    assert_eq!(rig.slice()["layout"], "de");
    assert_eq!(rig.slice()["macros"], json!(["again", "yes"]));
    rig.run("type", &json!({ "text": "y" }));
    assert_eq!(rig.device.text(), "z");
    rig.bench_mut().change_settings(json!({ "layout": "fr" }));
    assert_eq!(rig.slice()["layout"], "de");
    rig.run("type", &json!({ "text": "z" }));
    assert_eq!(rig.device.text(), "zy");
    assert_eq!(
        rig.device
            .written
            .windows(8)
            .filter(|part| part == b"identify")
            .count(),
        0
    );
}

#[test]
fn the_slice_names_each_layout_as_its_file_does() {
    let rig = ready();
    let shown = rig.slice()["layouts"].as_array().expect("the layouts").clone();
    let files = layout::names().map(|name| {
        let layout = Layout::named(name).expect("it is there").expect("it is good");
        json!({ "name": name, "title": layout.title() })
    });
    assert_eq!(shown, files.collect::<Vec<_>>());
}

#[test]
fn the_manifest_is_the_same_each_time_and_names_what_it_observes() {
    let manifest = Bench::<Keyboard>::manifest();
    assert_eq!(manifest, Bench::<Keyboard>::manifest());
    assert_eq!(manifest.slice, "ps2Keyboard");
    assert_eq!(manifest.observes, ["frontPanel"]);
    let names: Vec<_> = manifest
        .commands
        .iter()
        .map(|command| command.name.as_str())
        .collect();
    let expected = [
        "press",
        "hold",
        "keys",
        "release",
        "release-all",
        "combo",
        "type",
        "macro",
        "power",
        "cancel-all",
    ];
    assert_eq!(names, expected);
}
