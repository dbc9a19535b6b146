//! What is refused unasked writes no byte; settings and the manifest are as they say.

use atx::Atx;
use autobench_sdk::bench::{Bench, blocked};
use autobench_sdk::{Outcome, Refusal, Value};
use serde_json::{Value as Json, json};

use crate::{bench, ready};

#[test]
fn no_refused_command_writes_a_byte() {
    let every = [
        ("press", json!({ "button": "power" })),
        ("hold", json!({ "button": "reset", "ms": 500 })),
        ("on", json!({})),
        ("off", json!({})),
        ("force-off", json!({})),
        ("reset", json!({})),
        ("cycle", json!({})),
    ];
    let check = |mut bench: Bench<Atx>, word: &str, refused: &[(&str, Json)]| {
        bench.written("main");
        for (name, arguments) in refused {
            let id = bench.command(name, arguments);
            let reason = blocked(bench.outcome(&id));
            assert!(reason.starts_with(word), "{name}: {reason}");
        }
        assert_eq!(bench.written("main"), b"");
        assert_eq!(bench.leases(), []);
    };
    check(bench(), "not-ready: the front panel is identifying", &every);
    let away = Bench::<Atx>::setup().detached("main").start().expect("starts");
    check(away, "not-ready: the front panel is disconnected", &every);
    let mut silent = bench();
    silent.advance_ms(9000);
    check(silent, "not-ready: the front panel is error", &every);
    check(
        ready(),
        "ms is ",
        &[("press", json!({ "button": "power", "ms": 49 }))],
    );
    check(
        ready(),
        "ms is ",
        &[("hold", json!({ "button": "power", "ms": 10_001 }))],
    );
    check(ready(), "there is no command ", &[("jump", json!({}))]);
}

#[test]
fn a_release_of_what_nobody_holds_writes_no_byte_either() {
    let mut bench = ready();
    let id = bench.command("release", &json!({ "button": "power" }));
    assert_eq!(
        bench.outcome(&id),
        Some(&Outcome::Succeeded(Some(Value::Boolean(false))))
    );
    assert_eq!(bench.written("main"), b"");
    assert_eq!(bench.slice()["busy"], false);
}

#[test]
fn a_full_queue_refuses_and_says_so() {
    let mut bench = ready();
    let press = json!({ "button": "power" });
    let taken: Vec<_> = (0..9).map(|_| bench.command("press", &press)).collect();
    bench.written("main");
    let refused = bench.command("press", &press);
    assert_eq!(blocked(bench.outcome(&refused)), "busy: 8 commands wait already");
    assert_eq!(bench.written("main"), b"");
    bench.settle();
    assert_eq!(bench.slice()["lastError"]["scope"], "queue");
    assert_eq!(bench.slice()["queueDepth"], 8);
    for id in &taken {
        assert_eq!(bench.outcome(id), None);
    }
}

#[test]
fn settings_take_effect_with_the_next_command() {
    let mut bench = ready();
    bench.change_settings(json!({ "press-ms": 100, "queue-depth": 0 }));
    bench.command("press", &json!({ "button": "power" }));
    let refused = bench.command("press", &json!({ "button": "power" }));
    assert!(blocked(bench.outcome(&refused)).starts_with("busy: "));
    bench.written("main");
    bench.advance_ms(100);
    assert_eq!(bench.written("main"), b"POWER_RELEASE\n");
}

#[test]
fn wrong_settings_are_refused_with_what_is_wrong() {
    let refusal = |settings| match Bench::<Atx>::setup().settings(settings).start() {
        Err(Refusal::InvalidSettings(text)) => text,
        other => panic!("not refused for its settings: {:?}", other.err()),
    };
    assert_eq!(
        refusal(json!({ "press-ms": 49 })),
        "press-ms is a number from 50 to 10000"
    );
    assert!(refusal(json!({ "press": 1 })).starts_with("unknown field `press`, expected one of `press-ms`"));
}

#[test]
fn the_manifest_calls_dangerous_what_touches_power() {
    let manifest = Bench::<Atx>::manifest();
    assert_eq!(manifest, Bench::<Atx>::manifest());
    assert_eq!(
        (manifest.slice.as_str(), manifest.device_type.as_str()),
        ("frontPanel", "atx")
    );
    let harmless: Vec<_> = manifest
        .commands
        .iter()
        .filter(|command| !command.dangerous)
        .map(|command| command.name.as_str())
        .collect();
    assert_eq!((harmless, manifest.commands.len()), (vec!["release"], 8));
}
