//! How the world of the drivers may grow: `wit/README.md` has the rules.
//!
//! Covered: today's world is a compatible successor of an earlier one, by the check that is used at a release; the check sees each kind of change that
//! would break drivers, and lets those pass that do not; a driver that was built for the earlier world is loaded, runs and is swapped.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of a story: what is missing fails it"
)]

use std::collections::BTreeMap;
use std::path::Path;

use e2e::{Bench, DeviceEntry, variant_of};
use serde_json::{Value, json};
use wit_parser::{Resolve, SourceMap, WorldId};

/// The files of a world by their names.
type World = BTreeMap<String, String>;

fn read(folder: &str) -> World {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(&folder).expect("the folder of a world");
    let mut world = World::new();
    for path in files.map(|file| file.unwrap().path()) {
        if path.extension().is_some_and(|extension| extension == "wit") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            world.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    world
}

fn today() -> World {
    read("../wit")
}

fn earlier() -> World {
    // One `Resolve` holds no package twice, so the earlier one gets another number. The check does not look at it.
    let files = read("fixtures/worlds/earlier").into_iter();
    files
        .map(|(name, text)| (name, text.replace("0.1.0", "0.0.1")))
        .collect()
}

fn parse(resolve: &mut Resolve, world: &World) -> WorldId {
    let mut sources = SourceMap::new();
    for (name, text) in world {
        sources.push(Path::new(name), text.as_str());
    }
    let parsed = sources.parse().map_err(|(_, error)| error).expect("a world");
    let package = resolve.push_group(parsed).expect("a package");
    resolve
        .select_world(&[package], Some("driver"))
        .expect("the world `driver`")
}

/// Whether drivers that were built for the earlier world fit this one.
fn fits(world: &World) -> Result<(), String> {
    let mut resolve = Resolve::default();
    let earlier = parse(&mut resolve, &earlier());
    let world = parse(&mut resolve, world);
    wit_component::semver_check(resolve, earlier, world).map_err(|error| format!("{error:#}"))
}

/// Today's world with one change.
fn changed((file, before, after): (&str, &str, &str)) -> World {
    let mut world = today();
    let text = world.get_mut(file).expect("the file that is changed");
    assert_eq!(text.matches(before).count(), 1, "{before:?} is in {file} once");
    *text = text.replace(before, after);
    world
}

#[test]
fn drivers_of_the_earlier_world_fit_todays() {
    fits(&today()).expect("wit/README.md says what may change");
}

#[test]
fn each_change_that_would_break_drivers_is_seen() {
    let changes = [
        (
            "guest.wit",
            "  record port-mark {\n",
            "  record port-mark {\n    planted: bool,\n",
        ),
        (
            "guest.wit",
            "    other(other-event),\n",
            "    other(other-event),\n    planted,\n",
        ),
        ("guest.wit", "    removed,\n", "    removed,\n    planted,\n"),
        (
            "guest.wit",
            "  stop: func(reason: stop-reason);",
            "  stop: func(reason: stop-reason);\n  planted: func();",
        ),
        (
            "timer.wit",
            "set: func(id: u32, after-ms: u32)",
            "set: func(id: u32, after-ms: u64)",
        ),
        ("telemetry.wit", "    invalid-value,\n", ""),
        (
            "lease.wit",
            "  release: func(id: u32);",
            "  given-back: func(id: u32);",
        ),
        ("world.wit", "  @since(version = 0.1.0)\n  import alarms;\n", ""),
    ];
    for change in changes {
        assert!(fits(&changed(change)).is_err(), "nobody sees {change:?}");
    }
}

#[test]
fn the_world_may_grow_by_what_drivers_can_call() {
    let changes = [
        (
            "timer.wit",
            "  cancel: func(id: u32);",
            "  cancel: func(id: u32);\n  running: func(id: u32) -> bool;",
        ),
        (
            "serial.wit",
            "    discard-output: func()",
            "    send-slowly: func(data: list<u8>);\n    discard-output: func()",
        ),
        (
            "world.wit",
            "world driver {\n",
            "interface rulers {\n  measure: func() -> u32;\n}\nworld driver {\n  import rulers;\n",
        ),
    ];
    for change in changes {
        assert_eq!(fits(&changed(change)), Ok(()), "{change:?}");
    }
}

#[tokio::test]
async fn a_driver_of_the_earlier_world_runs_and_is_swapped() {
    let bench = Bench::new();
    let driver = bench.artifacts.fixture("earlier-world");
    bench.install("earlier-world", &driver);
    bench.configure(&[DeviceEntry::without_port("earlier", "earlier-world")]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    let ticks = |client: &e2e::Client| client.member("/earlier/ticks").and_then(Value::as_u64);
    client
        .until("three turns", |client| (ticks(client)? >= 3).then_some(()))
        .await;
    bench.install("earlier-world", &variant_of(&driver, 1));
    client
        .until_member("/devices/earlier/driver/lastReload/verdict", &json!("swapped"))
        .await;
    let before = ticks(&client).expect("it has counted");
    assert!(before >= 3, "it goes on from its snapshot");
    client
        .until("three more turns", |client| {
            (ticks(client)? >= before + 3).then_some(())
        })
        .await;
    daemon.stop();
}
