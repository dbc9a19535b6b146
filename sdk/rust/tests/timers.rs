//! A timer that is set to a moment never comes before it.

#![expect(clippy::expect_used, reason = "test helpers")]

use autobench_sdk::bench::Bench;
use autobench_sdk::{Command, Context, Driver, Manifest, NoSettings, Refusal, Slice, Snapshot, Start};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Clone, Default, JsonSchema, Slice)]
struct Rung {
    at_ns: Option<u64>,
}

#[derive(Deserialize)]
struct At {
    ns: u64,
}

/// Sets its timer to the moments that its commands name.
struct Alarm;

impl Driver for Alarm {
    type Settings = NoSettings;
    type Slice = Rung;

    fn manifest() -> Manifest {
        Manifest::new("alarm", "1.0.0", "Rings.")
    }

    fn start(_: &mut Context<'_, Rung>, _: Start<NoSettings>) -> Result<Self, Refusal> {
        Ok(Self)
    }

    fn on_command(&mut self, cx: &mut Context<'_, Rung>, command: Command) {
        let At { ns } = command.arguments().expect("the test has written them");
        cx.set_timer_at(7, ns).expect("a free one");
    }

    fn on_timer(&mut self, cx: &mut Context<'_, Rung>, _: u32) {
        let now_ns = cx.monotonic_ns();
        cx.set_now(|rung| rung.at_ns = Some(now_ns));
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::of(&())
    }
}

#[test]
fn a_moment_is_reached_within_a_millisecond_and_not_before() {
    for (after_ns, rings_after_ns) in [
        (0, 0),
        (1, 1_000_000),
        (1_000_000, 1_000_000),
        (1_000_001, 2_000_000),
    ] {
        let mut bench = Bench::<Alarm>::start().expect("the driver starts");
        let begin_ns = bench.now_ns();
        bench.command("at", &json!({ "ns": begin_ns + after_ns }));
        bench.advance_ms(10);
        assert_eq!(
            bench.slice()["at_ns"],
            begin_ns + rings_after_ns,
            "after {after_ns} ns"
        );
    }
}

#[test]
fn a_moment_that_has_passed_is_now() {
    let mut bench = Bench::<Alarm>::start().expect("the driver starts");
    bench.advance_ms(10);
    let now_ns = bench.now_ns();
    bench.command("at", &json!({ "ns": 5 }));
    assert_eq!(bench.timers(), [(7, now_ns)]);
}
