//! A slice edited in place and published by its differences is, at the host, what it is in the driver.

#![expect(clippy::expect_used, reason = "test helpers")]

use std::collections::BTreeMap;

use autobench_sdk::bench::Bench;
use autobench_sdk::{
    Bytes, Context, Driver, History, Manifest, Member, NoSettings, Operation, OtherEvent, Path, PortWish,
    Refusal, Slice, Snapshot, Start, Value,
};
use proptest::prelude::*;
use schemars::JsonSchema;
use serde_json::{Value as Json, json};

#[derive(Debug, Clone, Default, PartialEq, JsonSchema, Slice)]
#[serde(rename_all = "camelCase")]
struct Panel {
    power_on: bool,
    press_count: u64,
    #[serde(rename = "type")]
    kind: Kind,
    volts: f64,
    #[slice(absent)]
    message: Option<String>,
    owner: Option<String>,
    led: Led,
    #[slice(absent)]
    spare: Option<Led>,
    maybe: Option<Led>,
    #[slice(json)]
    names: BTreeMap<String, i32>,
    r#loop: History<u8, 4>,
    #[serde(rename = "a/b~c")]
    odd: i16,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, JsonSchema, Slice)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    #[default]
    FrontPanel,
    #[serde(rename = "KB")]
    Keyboard,
}

#[derive(Debug, Clone, Default, PartialEq, JsonSchema, Slice)]
struct Led {
    red: u8,
    #[slice(absent)]
    since_ms: Option<i64>,
}

/// Takes each byte as a number of a panel to show.
struct Shower {
    panels: Vec<Panel>,
}

thread_local! {
    static PANELS: std::cell::RefCell<Vec<Panel>> = const { std::cell::RefCell::new(Vec::new()) };
}

impl Driver for Shower {
    type Settings = NoSettings;
    type Slice = Panel;

    fn manifest() -> Manifest {
        Manifest::new("front-panel-test", "0.1.0", "Shows panels.").port(PortWish::new("main", "Numbers."))
    }
    fn start(_: &mut Context<'_, Panel>, _: Start<NoSettings>) -> Result<Self, Refusal> {
        Ok(Self {
            panels: PANELS.with(|panels| panels.borrow().clone()),
        })
    }
    fn on_bytes(&mut self, cx: &mut Context<'_, Panel>, bytes: Bytes) {
        for number in bytes.data {
            if let Some(panel) = self.panels.get(usize::from(number)) {
                // A history is added to, not replaced: that is its point.
                let history = cx.slice().r#loop.clone();
                *cx.edit() = Panel {
                    r#loop: history,
                    ..panel.clone()
                };
                for &entry in panel.r#loop.iter() {
                    cx.edit().r#loop.push(entry);
                }
            }
        }
    }
    fn on_other(&mut self, cx: &mut Context<'_, Panel>, event: OtherEvent) {
        if event.kind == "now" {
            cx.set_now(|panel| panel.press_count += 1);
        }
    }
    fn snapshot(&self) -> Snapshot {
        Snapshot::of(&())
    }
}

fn bench(panels: &[Panel]) -> Bench<Shower> {
    PANELS.with(|all| *all.borrow_mut() = panels.to_vec());
    Bench::start().expect("starts")
}

fn led() -> impl Strategy<Value = Led> {
    (0..3_u8, prop::option::of(-2..2_i64)).prop_map(|(red, since_ms)| Led { red, since_ms })
}

fn panel() -> impl Strategy<Value = Panel> {
    let flat = (
        any::<bool>(),
        prop_oneof![0..3_u64, any::<u64>()],
        any::<bool>(),
        prop_oneof![Just(0.1), Just(-0.0), Just(f64::NAN), any::<f64>()],
        prop::option::of("[a-z]{0,2}"),
        prop::option::of("[a-z]{0,2}"),
    );
    let deep = (
        led(),
        prop::option::of(led()),
        prop::option::of(led()),
        prop::collection::btree_map("[ab]", 0..2_i32, 0..3),
        prop::collection::vec(0..9_u8, 0..7),
        -1..1_i16,
    );
    (flat, deep).prop_map(
        |((power_on, press_count, keyboard, volts, message, owner), deep)| {
            let (led, spare, maybe, names, entries, odd) = deep;
            let kind = if keyboard {
                Kind::Keyboard
            } else {
                Kind::FrontPanel
            };
            let mut history = History::default();
            entries.into_iter().for_each(|entry| history.push(entry));
            Panel {
                power_on,
                press_count,
                kind,
                volts,
                message,
                owner,
                led,
                spare,
                maybe,
                names,
                r#loop: history,
                odd,
            }
        },
    )
}

proptest! {
    #[test]
    fn the_hosts_slice_follows_the_drivers(panels in prop::collection::vec(panel(), 1..12), swaps in any::<u16>()) {
        let mut bench = bench(&panels);
        let mut history: Vec<u8> = Vec::new();
        for (number, panel) in panels.iter().enumerate() {
            bench.feed("main", &[u8::try_from(number).expect("few")]);
            if swaps & (1 << number) != 0 {
                bench = bench.swap().expect("the successor starts");
            } else {
                bench.settle();
            }
            history.extend(panel.r#loop.iter());
            let kept = history.iter().skip(history.len().saturating_sub(4));
            let mut expected = panel.json();
            expected["loop"] = kept.copied().collect::<Json>();
            prop_assert_eq!(bench.slice(), &expected);
        }
    }

    #[test]
    fn a_slice_comes_back_from_its_json(panel in panel()) {
        let json = panel.json();
        let text = json.to_string();
        let back = Panel::from_json(&serde_json::from_str(&text).expect("JSON")).expect("the same form");
        prop_assert_eq!(back.json(), json);
    }
}

#[test]
fn names_follow_serde() {
    let json = Panel {
        message: Some("x".into()),
        spare: Some(Led::default()),
        ..Panel::default()
    }
    .json();
    let expected = json!({
        "powerOn": false, "pressCount": 0, "type": "front-panel", "volts": 0.0, "message": "x", "owner": null,
        "led": { "red": 0 }, "spare": { "red": 0 }, "maybe": null, "names": {}, "loop": [], "a/b~c": 0,
    });
    assert_eq!(json, expected);
    assert_eq!(
        Panel {
            kind: Kind::Keyboard,
            ..Panel::default()
        }
        .json()["type"],
        "KB"
    );
    assert_eq!(Bench::<Shower>::manifest().slice, "frontPanelTest");
}

#[test]
fn only_what_changed_becomes_an_operation() {
    let shown = Panel {
        volts: 1.5,
        led: Led {
            red: 7,
            since_ms: None,
        },
        ..Panel::default()
    };
    let mut bench = bench(&[
        shown.clone(),
        Panel {
            message: Some("hot".into()),
            ..shown
        },
    ]);
    bench.settle();
    bench.feed("main", &[0]);
    let changed: Vec<Value> = bench.last_operations().iter().filter_map(value).collect();
    assert_eq!(changed, [Value::Float(1.5), Value::Integer(7)]);
    assert!(
        bench
            .last_operations()
            .iter()
            .all(|operation| !matches!(path(operation), Path::Text(_)))
    );

    bench.settle();
    bench.feed("main", &[1]);
    assert_eq!(bench.slice()["message"], "hot");
    bench.settle();
    bench.feed("main", &[0]);
    assert!(matches!(bench.last_operations(), [Operation::Remove(_)]));
    assert_eq!(bench.slice().get("message"), None);
}

#[test]
fn a_longer_history_is_published_by_what_was_added() {
    let mut history = History::default();
    history.push(1);
    history.push(2);
    let panel = Panel {
        r#loop: history,
        ..Panel::default()
    };
    let mut bench = bench(&[panel]);
    bench.feed("main", &[0]);
    bench.settle();
    assert_eq!(bench.slice()["loop"], json!([1, 2]));
    bench.feed("main", &[0]);
    bench.settle();
    let appended = bench
        .last_operations()
        .iter()
        .filter(|operation| matches!(operation, Operation::Append(_)));
    assert_eq!(appended.count(), 2);
    assert_eq!(bench.slice()["loop"], json!([1, 2, 1, 2]));
}

#[test]
fn publications_keep_their_distance_and_urgent_ones_do_not() {
    let panels = [
        Panel::default(),
        Panel {
            odd: 1,
            ..Panel::default()
        },
    ];
    let mut bench = bench(&panels);
    assert_eq!(bench.publications(), 1, "the whole slice at the start");
    bench.advance_ms(50);
    for _ in 0..10 {
        bench.feed("main", &[1]);
        bench.feed("main", &[0]);
    }
    bench.feed("main", &[1]);
    assert_eq!(bench.publications(), 2);
    bench.settle();
    assert_eq!(bench.publications(), 2, "what came and went again is no change");
    assert_eq!(bench.timers(), []);

    bench.feed("main", &[0]);
    let other = || {
        autobench_sdk::bench::Event::Other(OtherEvent {
            kind: "now".into(),
            data: "{}".into(),
        })
    };
    bench.handle(other());
    assert_eq!(bench.publications(), 4);
    bench.handle(other());
    assert_eq!(bench.publications(), 5);
    assert_eq!(bench.slice()["pressCount"], 2);
}

#[test]
fn what_was_held_back_comes_with_the_trailing_timer() {
    let panels = [Panel {
        odd: 1,
        ..Panel::default()
    }];
    let mut bench = bench(&panels);
    bench.advance_ms(20);
    bench.feed("main", &[0]);
    assert_eq!(bench.slice()["a/b~c"], 0);
    bench.advance_ms(29);
    assert_eq!(bench.slice()["a/b~c"], 0);
    bench.advance_ms(1);
    assert_eq!(bench.slice()["a/b~c"], 1);
    assert_eq!(bench.timers(), []);
}

#[test]
fn a_snapshot_of_another_form_is_refused() {
    let mut bench = bench(&[]);
    let checkpoint = bench.checkpoint();
    let mut snapshot = checkpoint.snapshot().clone();
    assert_eq!(snapshot.consumed.first().map(|mark| mark.consumed), Some(0));
    snapshot.schema_version = 9;
    let error = bench.restart(Some(&checkpoint.with(snapshot))).err();
    assert_eq!(
        error,
        Some(Refusal::UnknownSnapshot(
            "its version is 9, this driver takes version 1".to_owned()
        ))
    );
}

fn value(operation: &Operation) -> Option<Value> {
    match operation {
        Operation::Set(assignment) => Some(assignment.value.clone()),
        Operation::Append(appending) => Some(appending.value.clone()),
        Operation::Remove(_) => None,
    }
}

fn path(operation: &Operation) -> &Path {
    match operation {
        Operation::Set(assignment) => &assignment.path,
        Operation::Append(appending) => &appending.path,
        Operation::Remove(path) => path,
    }
}
