//! A transcript finds out a driver to which it matters how its bytes come; a rig carries bytes between a driver and a model of its device, whatever
//! becomes of the driver.

#![expect(clippy::expect_used, reason = "test helpers")]

use std::time::Duration;

use autobench_sdk::bench::{Bench, Interruption, Model, Rig, Transcript, blocked};
use autobench_sdk::{
    Bytes, Command, Context, Driver, Line, LineFramer, Lost, Manifest, NoSettings, Outcome, PortWish,
    Refusal, Slice, Snapshot, Start,
};
use schemars::JsonSchema;
use serde_json::json;

#[derive(Debug, Clone, Default, JsonSchema, Slice)]
struct Counts {
    lines: u64,
    events: u64,
    lost: u64,
}

/// Counts lines, and wrongly events; passes a command on to its device and ends it with the next line.
struct Counter {
    framer: LineFramer,
    command: Option<String>,
}

impl Driver for Counter {
    type Settings = NoSettings;
    type Slice = Counts;

    fn manifest() -> Manifest {
        Manifest::new("counter", "1.0.0", "Counts.").port(PortWish::new("main", "Any text."))
    }

    fn start(_: &mut Context<'_, Counts>, mut start: Start<NoSettings>) -> Result<Self, Refusal> {
        Ok(Self {
            framer: LineFramer::new(100),
            command: start.memory()?.unwrap_or_default(),
        })
    }

    fn on_bytes(&mut self, cx: &mut Context<'_, Counts>, bytes: Bytes) {
        cx.edit().events += 1;
        let command = &mut self.command;
        self.framer.feed(&bytes.data, |line| {
            cx.edit().lines += 1;
            if let (Some(id), Line::Whole(_)) = (command.take(), line) {
                let _ = cx.complete(&id, &Outcome::Succeeded(None));
            }
        });
    }

    fn on_lost(&mut self, cx: &mut Context<'_, Counts>, _: Lost) {
        cx.edit().lost += 1;
    }

    fn on_command(&mut self, cx: &mut Context<'_, Counts>, command: Command) {
        if self.command.is_some() {
            let _ = cx.complete(&command.id, &Outcome::Blocked("one at a time".to_owned()));
            return;
        }
        let _ = cx.write("main", command.name.as_bytes());
        self.command = Some(command.id);
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.command).rereading("main", self.framer.held())
    }
}

const TRANSCRIPT: Transcript<'_> = Transcript::new("main", b"one\r\ntwo\r\n\r\nthree\r\n");

fn begin() -> Bench<Counter> {
    Bench::start().expect("the driver starts")
}

fn check_lines(bench: &mut Bench<Counter>) {
    bench.settle();
    assert_eq!(bench.slice()["lines"], 4);
}

fn check_events(bench: &mut Bench<Counter>) {
    bench.settle();
    assert_eq!(bench.slice()["events"], 1);
}

#[test]
fn a_driver_to_which_it_does_not_matter_how_its_bytes_come_passes_in_every_way() {
    TRANSCRIPT.whole(begin, check_lines);
    TRANSCRIPT.split_everywhere(begin, check_lines);
    TRANSCRIPT.byte_by_byte(begin, check_lines);
    TRANSCRIPT.swapped_everywhere(begin, check_lines);
    TRANSCRIPT.swapped_after_each_byte(begin, check_lines);
    let pieces = Interruption::ALL.map(|interruption| (4, 7, interruption));
    TRANSCRIPT.interrupted(begin, pieces, check_lines);
}

#[test]
fn what_is_right_in_one_event_is_still_looked_at_in_one_event() {
    TRANSCRIPT.whole(begin, check_events);
}

#[test]
#[should_panic(expected = "assertion `left == right` failed")]
fn a_driver_that_counts_events_is_found_out() {
    TRANSCRIPT.byte_by_byte(begin, check_events);
}

#[test]
#[should_panic(expected = "not blocked: Some(Outcome::Succeeded(None))")]
fn a_command_that_was_done_is_not_taken_for_one_that_was_blocked() {
    let _ = blocked(&Outcome::Succeeded(None));
}

/// Answers whatever it is told after 20 ms.
#[derive(Default)]
struct Slow {
    heard: Vec<u8>,
    answers_at: Option<Duration>,
}

impl Model for Slow {
    fn exchange(&mut self, written: &[u8], now: Duration) -> Vec<Vec<u8>> {
        if !written.is_empty() {
            self.heard.extend_from_slice(written);
            self.answers_at = Some(now + Duration::from_millis(20));
        }
        match self.answers_at.take_if(|at| *at <= now) {
            Some(_) => vec![b"do".to_vec(), b"ne\r\n".to_vec()],
            None => Vec::new(),
        }
    }
}

fn rig() -> Rig<Counter, Slow> {
    Rig::start(Bench::setup(), "main", Slow::default()).expect("the driver starts")
}

#[test]
fn what_a_command_writes_has_arrived_and_its_answer_comes_at_its_time() {
    let mut rig = rig();
    let go = rig.command("go", &json!({}));
    assert_eq!(rig.device.heard, b"go");
    rig.advance_ms(19);
    assert_eq!(rig.bench().outcome(&go), None);
    assert_eq!(blocked(&rig.run("stop", &json!({}))), "one at a time");
    assert_eq!(rig.end_of(&go), Outcome::Succeeded(None));
    assert_eq!(rig.now(), Duration::from_millis(20));
}

#[test]
fn a_command_that_is_under_way_ends_after_a_swap_and_after_a_restart() {
    let mut rig = rig();
    let go = rig.command("go", &json!({}));
    rig.swap();
    rig.advance_ms(10);
    rig.restart();
    assert_eq!(rig.end_of(&go), Outcome::Succeeded(None));
    assert_eq!(rig.device.heard, b"go");
}

#[test]
fn one_that_starts_from_nothing_has_forgotten() {
    let mut rig = rig();
    let go = rig.command("go", &json!({}));
    rig.restart_from_nothing();
    rig.advance_ms(1000);
    assert_eq!(rig.bench().outcome(&go), None);
}

#[test]
fn the_pieces_of_the_device_come_as_they_are_and_no_longer_than_the_line_cuts_them() {
    for (chunk_bytes, events) in [(usize::MAX, 2), (3, 3), (1, 6)] {
        let mut rig = rig();
        rig.chunk_bytes = chunk_bytes;
        rig.run("go", &json!({}));
        rig.advance_ms(50);
        assert_eq!(rig.slice()["events"], events, "in pieces of {chunk_bytes}");
        assert_eq!(rig.slice()["lines"], 1);
    }
}

#[test]
fn a_line_that_is_lost_is_lost_for_the_driver() {
    let mut rig = rig();
    rig.lose("unplugged");
    rig.attach();
    rig.advance_ms(50);
    assert_eq!(rig.into_bench().slice()["lost"], 1);
}
