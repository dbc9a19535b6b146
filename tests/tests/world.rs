//! How the world of the drivers may grow: `wit/README.md` has the rules.
//!
//! Covered: what was shipped is as it was; today's world is a compatible successor of it, by the check that is used at a release, and the same as long as it has
//! the same number; the check sees each kind of change that would break drivers, and lets those pass that do not; a driver that was built when the world was
//! cut is loaded, is given each thing that the world has, and is swapped.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of a story: what is missing fails it"
)]

use std::collections::BTreeMap;
use std::path::Path;

use e2e::{Bench, DeviceEntry, Terminal};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
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

fn frozen() -> World {
    read("../wit/frozen/0.1.0")
}

/// One `Resolve` holds no package twice, so one of two gets another number. The check does not look at it.
fn renumbered(world: World) -> World {
    let files = world.into_iter();
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

/// Whether drivers that were built for the first world fit the second.
fn succeeds(first: World, second: &World) -> Result<(), String> {
    let mut resolve = Resolve::default();
    let first = parse(&mut resolve, &renumbered(first));
    let second = parse(&mut resolve, second);
    wit_component::semver_check(resolve, first, second).map_err(|error| format!("{error:#}"))
}

/// Whether drivers that were built for 0.1.0 fit this world.
fn fits(world: &World) -> Result<(), String> {
    succeeds(frozen(), world)
}

/// The SHA-256 of files, each with its name, in the order of their names.
fn hash_of(folder: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(&folder)
        .expect("the folder")
        .map(|file| file.unwrap().path());
    let files: std::collections::BTreeSet<_> = files.collect();
    let mut hash = Sha256::new();
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        hash.update(file.file_name().unwrap().as_encoded_bytes());
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
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
fn what_was_shipped_is_as_it_was() {
    assert_eq!(
        [hash_of("../wit/frozen/0.1.0"), hash_of("fixtures/worlds/0.1.0")],
        [
            "71a46a61cb5b73ac384f92958b948b8cc32dbafadc3f1a8bb5dc822ec32bdf6a",
            "5621b4152ea18983a7911b938d8d7ba5fafaeed9fc2e32096e0bcf5b90613222"
        ],
        "a world that was shipped, and the driver that was built for it, never change: what you want belongs into the next one"
    );
}

#[test]
fn drivers_of_the_first_world_fit_todays() {
    fits(&today()).expect("wit/README.md says what may change");
}

#[test]
fn what_grows_gets_another_number() {
    let is_cut = today()
        .get("world.wit")
        .is_some_and(|text| text.starts_with("package autobench:driver@0.1.0;"));
    if is_cut {
        succeeds(today(), &frozen())
            .expect("what has been added to 0.1.0 makes it 0.2.0: change the number of the package");
    }
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

/// The driver that was built when 0.1.0 was cut: as compilers for Rust hand it over, and as those for other languages do.
fn built(form: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/worlds/0.1.0");
    std::fs::read(folder.join(format!("{form}.wasm"))).expect("it was built once and for all")
}

#[tokio::test]
async fn a_driver_that_was_built_for_the_first_world_has_all_of_it_and_is_swapped() {
    let bench = Bench::new();
    let link = bench.folder().join("line");
    let mut line = Terminal::create(&link);
    bench.install("first-world", &built("module"));
    bench.configure(&[DeviceEntry::new("first", "first-world", &link)]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    client.until_member("/devices/first/phase", &json!("ready")).await;
    let ticks = |client: &e2e::Client| client.member("/first/ticks").and_then(Value::as_u64);
    client
        .until("three turns", |client| (ticks(client)? >= 3).then_some(()))
        .await;

    // A pseudo-terminal has no modem lines.
    let uses = [
        ("port", "Ok(()) Ok(()) false false true"),
        ("slice", "Ok(())"),
        ("telemetry", "Ok(())"),
        ("hold", "Ok(())"),
        ("raise", "true"),
        ("event", "Ok(())"),
        ("clock", "true"),
        ("cancel", "Ok(())"),
        ("refused", "true true"),
    ];
    for (word, answer) in uses {
        line.send(format!("{word}\n").as_bytes());
        assert_eq!(line.next_line(), format!("{word} {answer}"));
    }
    for (member, expected) in [
        ("null", json!(null)),
        ("float", json!(1.5)),
        ("text", json!("as it is")),
        ("list", json!([2, 3])),
    ] {
        client.until_member(&format!("/first/{member}"), &expected).await;
    }
    assert_eq!(client.member("/first/flag"), None);
    let messages = |client: &e2e::Client| -> Option<Vec<Value>> {
        let alarms = client.member("/alarms")?.as_object()?.values();
        Some(alarms.map(|alarm| alarm["message"].clone()).collect())
    };
    client
        .until("the alarm", |client| {
            (messages(client)? == [json!("the lid is open")]).then_some(())
        })
        .await;
    line.send(b"clear\n");
    assert_eq!(line.next_line(), "clear Ok(())");

    let swapped = json!("swapped");
    bench.install("first-world", &built("component"));
    client
        .until_member("/devices/first/driver/lastReload/verdict", &swapped)
        .await;
    let before = ticks(&client).expect("it has counted");
    assert!(before >= 3, "it goes on from its snapshot");
    client
        .until("three more turns", |client| {
            (ticks(client)? >= before + 3).then_some(())
        })
        .await;
    let echo = bench
        .ask(
            &daemon,
            &["send", "first", "echo", "--arg", "text=hello", "--wait"],
        )
        .await;
    let last = echo.lines().pop().expect("a stage");
    assert_eq!(
        (echo.code, &last["actualValue"]),
        (Some(0), &json!({"text": "hello"}))
    );
    assert_eq!(line.line_so_far(), None, "a swap ends no hold");
    line.send(b"release\n");
    assert_eq!(line.next_line(), "let go");
    assert_eq!(line.next_line(), "release Ok(())");
    line.send(b"hold\n");
    assert_eq!(line.next_line(), "hold Ok(())");
    assert!(daemon.stop().success());
    let last = [line.next_line(), line.next_line()];
    assert!(last.contains(&"stop StopReason::Shutdown".to_owned()), "{last:?}");
    assert!(last.contains(&"let go".to_owned()), "{last:?}");
}
