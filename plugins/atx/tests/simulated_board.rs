//! The driver with the firmware of the simulated bench and the PC behind it in the loop, millisecond by millisecond, with a clock that the test
//! owns. What happened is read from the bench's journal: every edge on a contact is in it, with its cause.

#![expect(clippy::expect_used, clippy::panic, reason = "test helpers")]

use std::time::Duration;

use atx::Atx;
use autobench_sdk::bench::{Bench, Model, Reply, Rig, failed};
use autobench_sdk::{Outcome, Value};
use autobench_sim::bench::{Desk, Device, Faults, Setup};
use autobench_sim::board::{BoardFault, BoardFaults};
use autobench_sim::frontpanel::{Cause, Edge};
use autobench_sim::pc::machine::{Contact, Switch};
use autobench_sim::random::Random;
use serde_json::json;

/// The board with the PC behind it.
struct Board {
    desk: Desk,
    edges: Vec<Edge>,
    /// Bytes that it was sent.
    heard: usize,
}

impl Board {
    fn new(setup: Setup) -> Self {
        let mut desk = Desk::new(setup);
        desk.open(Device::Atx, Duration::ZERO);
        Self {
            desk,
            edges: Vec::new(),
            heard: 0,
        }
    }

    /// The edges, as when, which, what and why.
    fn edges(&self) -> Vec<(u128, Switch, Contact, Cause)> {
        let edge = |edge: &Edge| (edge.at.as_millis(), edge.switch, edge.contact, edge.cause);
        self.edges.iter().map(edge).collect()
    }

    /// Each press: which button, and for how long. Every edge belongs to one, and every one was asked for.
    fn presses(&self) -> Vec<(Switch, u128)> {
        self.edges
            .chunks(2)
            .map(|pair| match pair {
                [closed, opened] => {
                    assert_eq!((closed.contact, opened.contact), (Contact::Closed, Contact::Open));
                    assert_eq!((closed.cause, opened.cause), (Cause::Command, Cause::Command));
                    assert_eq!(closed.switch, opened.switch);
                    (closed.switch, (opened.at - closed.at).as_millis())
                }
                _ => panic!("a contact is still closed: {:?}", self.edges),
            })
            .collect()
    }
}

impl Model for Board {
    fn exchange(&mut self, written: &[u8], now: Duration) -> Vec<Vec<u8>> {
        self.heard += written.len();
        self.desk.receive(Device::Atx, written, now);
        let said = self.desk.read(Device::Atx, now);
        self.edges
            .extend(self.desk.take_entries().iter().filter_map(|entry| entry.edge()));
        if said.is_empty() { Vec::new() } else { vec![said] }
    }
}

/// A driver, a board and a PC that share a clock.
type World = Rig<Atx, Board>;

fn world(board: Setup) -> World {
    Rig::start(Bench::setup(), "main", Board::new(board)).expect("the driver starts")
}

/// A board that obeys, on a PC that is off.
fn ready() -> World {
    let mut world = world(Setup::new(1));
    world.advance_ms(20);
    assert_eq!(world.slice()["phase"], "ready");
    assert_eq!(world.slice()["powerSense"], "off");
    world
}

/// The same on a PC that is on.
fn running() -> World {
    let mut world = ready();
    world.run("on", &json!({}));
    // The press that did it is history, and the button has rested.
    world.advance_ms(1500);
    world.device.edges.clear();
    world
}

fn text(sense: &str) -> Outcome {
    Outcome::Succeeded(Some(Value::Text(sense.to_owned())))
}

#[test]
fn old_telemetry_before_the_token_is_not_believed() {
    for seed in 0..30 {
        let mut setup = Setup::new(seed);
        setup.atx_faults = BoardFaults::none().with(BoardFault::Stray, 100);
        let mut world = world(setup);
        world.advance_ms(100);
        assert_eq!(world.slice()["phase"], "ready", "seed {seed}");
        assert_eq!(world.slice()["powerSense"], "off", "seed {seed}");
        assert_eq!(world.slice()["hddActive"], false, "seed {seed}");
        assert_eq!(world.device.edges(), [], "seed {seed}");
    }
}

#[test]
fn a_press_closes_once_and_opens_once_and_has_its_length() {
    for (button, switch) in [("power", Switch::Power), ("reset", Switch::Reset)] {
        for ms in [50, 250, 3000, 9000] {
            let mut world = ready();
            let press = world.command("press", &json!({ "button": button, "ms": ms }));
            assert_eq!(world.end_of(&press), Outcome::Succeeded(None));
            world.advance_ms(12_000);
            assert_eq!(world.device.presses(), [(switch, u128::from(ms as u32))]);
        }
    }
}

#[test]
fn every_chunking_presses_the_same() {
    let run = |chunk| {
        let mut world = ready();
        world.chunk_bytes = chunk;
        let on = world.command("on", &json!({}));
        world.end_of(&on);
        world.advance_ms(15_000);
        (world.device.edges(), world.slice().clone())
    };
    let (edges, slice) = run(usize::MAX);
    assert_eq!(edges.len(), 2);
    assert!(
        slice["stats"]["lines"].as_u64().is_some_and(|lines| lines > 10),
        "{slice}"
    );
    for chunk in [1, 2, 3, 7, 16] {
        assert_eq!(run(chunk), (edges.clone(), slice.clone()), "chunks of {chunk}");
    }
}

#[test]
fn a_swap_in_the_middle_of_a_press_completes_it_once_with_its_length() {
    for at_ms in 0..=260 {
        let mut world = ready();
        let press = world.command("press", &json!({ "button": "power" }));
        world.advance_ms(at_ms);
        world.swap();
        assert_eq!(world.end_of(&press), Outcome::Succeeded(None), "at {at_ms}");
        world.advance_ms(2000);
        assert_eq!(world.device.presses(), [(Switch::Power, 250)], "at {at_ms}");
    }
}

#[test]
fn a_swap_every_millisecond_changes_no_press() {
    let mut world = ready();
    let on = world.command("on", &json!({}));
    for _ in 0..2000 {
        world.advance_ms(1);
        world.swap();
    }
    assert_eq!(world.end_of(&on), text("on"));
    assert_eq!(world.device.presses(), [(Switch::Power, 250)]);
}

#[test]
fn a_hundred_restarts_and_a_hundred_swaps_make_no_edge() {
    let mut world = running();
    let before = world.device.desk.counts();
    let before_heard = world.device.heard;
    for _ in 0..100 {
        world.advance_ms(7);
        world.swap();
        world.advance_ms(7);
        world.restart();
    }
    world.advance_ms(20_000);
    assert_eq!(world.device.edges(), []);
    assert_eq!(world.device.desk.counts().power_edges, before.power_edges);
    assert_eq!(world.slice()["phase"], "ready");
    assert_eq!(world.device.heard, before_heard, "the board was told nothing");
}

#[test]
fn a_breakdown_in_the_middle_of_a_press_opens_the_contact_once() {
    for at_ms in [0, 1, 100, 249] {
        let mut world = ready();
        let press = world.command("press", &json!({ "button": "power" }));
        world.advance_ms(at_ms);
        world.restart();
        assert!(failed(&world.end_of(&press)).starts_with("cut-short: "));
        world.advance_ms(15_000);
        assert_eq!(world.device.presses(), [(Switch::Power, u128::from(at_ms))]);
        assert_eq!(world.slice()["phase"], "ready");
        assert_eq!(world.slice()["powerButtonHeld"], false);
    }
}

#[test]
fn on_presses_once_and_waits_for_the_5_volts() {
    let mut world = ready();
    let on = world.command("on", &json!({}));
    assert_eq!(world.end_of(&on), text("on"));
    assert_eq!(world.slice()["powerSense"], "on");
    world.advance_ms(5000);
    assert_eq!(world.device.presses(), [(Switch::Power, 250)]);
    let again = world.command("on", &json!({}));
    assert_eq!(world.end_of(&again), text("on"));
    assert_eq!(world.device.presses().len(), 1, "it is on");
}

#[test]
fn off_that_the_pc_ignores_is_not_confirmed() {
    let mut world = running();
    let off = world.command("off", &json!({}));
    let reason = failed(&world.end_of(&off));
    assert_eq!(reason, "not-confirmed: the PC is on 20000 ms after the press");
    assert_eq!(world.device.presses(), [(Switch::Power, 250)]);
    assert_eq!(world.slice()["lastError"]["message"], reason);
}

#[test]
fn force_off_holds_until_power_is_cut() {
    let mut world = running();
    let off = world.command("force-off", &json!({}));
    assert_eq!(world.end_of(&off), text("off"));
    world.advance_ms(5000);
    assert_eq!(world.device.presses(), [(Switch::Power, 5500)]);
    assert_eq!(world.slice()["powerSense"], "off");
    let again = world.command("force-off", &json!({}));
    assert_eq!(world.end_of(&again), text("off"));
    assert_eq!(world.device.presses().len(), 1, "it is off");
}

#[test]
fn reset_presses_the_other_button_and_needs_a_pc_that_is_on() {
    let mut world = ready();
    let reset = world.command("reset", &json!({}));
    assert!(matches!(world.end_of(&reset), Outcome::Failed(_)));
    assert_eq!(world.device.edges(), []);
    let mut world = running();
    let reset = world.command("reset", &json!({}));
    assert_eq!(world.end_of(&reset), text("on"));
    assert_eq!(world.device.presses(), [(Switch::Reset, 250)]);
}

#[test]
fn cycle_cuts_power_and_switches_on_again() {
    let mut world = running();
    let cycle = world.command("cycle", &json!({}));
    assert_eq!(world.end_of(&cycle), text("on"));
    assert_eq!(
        world.device.presses(),
        [(Switch::Power, 5500), (Switch::Power, 250)]
    );
    let gap = world.device.edges[2].at - world.device.edges[1].at;
    assert!(gap >= Duration::from_millis(1000), "{gap:?}");

    let mut world = ready();
    let cycle = world.command("cycle", &json!({}));
    assert_eq!(world.end_of(&cycle), text("on"));
    assert_eq!(world.device.presses(), [(Switch::Power, 250)]);
}

#[test]
fn a_cancel_in_the_middle_of_a_press_opens_the_contact() {
    let mut world = ready();
    let press = world.command("press", &json!({ "button": "power", "ms": 3000 }));
    world.advance_ms(1200);
    world.bench_mut().cancel_command(&press, "on-request");
    world.exchange();
    assert_eq!(world.end_of(&press), Outcome::Cancelled);
    world.advance_ms(12_000);
    assert_eq!(world.device.presses(), [(Switch::Power, 1200)]);
}

#[test]
fn intents_that_wait_look_at_power_when_it_is_their_turn() {
    let mut world = ready();
    let first = world.command("on", &json!({}));
    let second = world.command("on", &json!({}));
    assert_eq!(world.end_of(&first), text("on"));
    assert_eq!(world.end_of(&second), text("on"));
    world.advance_ms(5000);
    assert_eq!(world.device.presses(), [(Switch::Power, 250)]);
}

#[test]
fn swaps_in_the_middle_of_a_hold_leave_it_as_it_is() {
    let mut world = ready();
    world.command("hold", &json!({ "button": "power", "ms": 3000 }));
    for _ in 0..100 {
        world.advance_ms(10);
        world.swap();
    }
    let release = world.command("release", &json!({ "button": "power" }));
    assert_eq!(
        world.end_of(&release),
        Outcome::Succeeded(Some(Value::Boolean(false)))
    );
    world.advance_ms(12_000);
    assert_eq!(world.device.presses(), [(Switch::Power, 1000)]);
}

#[test]
fn a_board_that_resets_in_the_middle_of_a_press_is_identified_again() {
    let mut world = ready();
    let press = world.command("press", &json!({ "button": "power", "ms": 3000 }));
    world.advance_ms(500);
    let now = world.now();
    world.device.desk.reset(Device::Atx, now);
    assert!(failed(&world.end_of(&press)).starts_with("not-confirmed: "));
    world.advance_ms(5000);
    assert_eq!(world.slice()["phase"], "ready");
    assert_eq!(world.slice()["powerButtonHeld"], false);
    let causes: Vec<_> = world.device.edges.iter().map(|edge| edge.cause).collect();
    assert_eq!(causes, [Cause::Command, Cause::BoardReset]);
}

#[test]
fn a_board_that_was_pulled_in_the_middle_of_a_press_obeys_when_it_is_back() {
    let mut world = ready();
    let press = world.command("press", &json!({ "button": "power", "ms": 3000 }));
    world.advance_ms(500);
    let now = world.now();
    world.device.desk.set_plugged(Device::Atx, false, now);
    world.lose("unplugged");
    assert_eq!(failed(&world.end_of(&press)), "line-lost: unplugged");
    world.advance_ms(1000);
    let now = world.now();
    world.device.desk.set_plugged(Device::Atx, true, now);
    world.device.desk.open(Device::Atx, now);
    world.attach();
    world.advance_ms(5000);
    assert_eq!(world.slice()["phase"], "ready");
    let causes: Vec<_> = world.device.edges.iter().map(|edge| edge.cause).collect();
    assert_eq!(causes, [Cause::Command, Cause::PowerLost]);
}

#[test]
fn a_hold_of_ten_seconds_and_more_ends_by_itself() {
    // The board's own limit and the host's come at the same time; either way the contact opens once, and the board is not identified again.
    let mut world = ready();
    let hold = world.command("hold", &json!({ "button": "reset" }));
    assert_eq!(
        world.end_of(&hold),
        Outcome::Succeeded(Some(Value::Boolean(true)))
    );
    world.advance_ms(15_000);
    let edges = world.device.edges();
    assert_eq!(edges.len(), 2, "{edges:?}");
    assert_eq!((edges[1].0 - edges[0].0, edges[1].2), (10_000, Contact::Open));
    assert_eq!(world.slice()["busy"], false);
    assert_eq!(world.slice()["phase"], "ready");
    assert_eq!(world.slice()["resetButtonHeld"], false);
}

#[test]
fn under_faults_every_command_ends_once_and_no_contact_closes_unasked_or_stays_closed() {
    let faults = BoardFaults::none()
        .with(BoardFault::Stray, 100)
        .with(BoardFault::Lost, 10)
        .with(BoardFault::Late, 10)
        .with(BoardFault::Garbage, 10)
        .with(BoardFault::Reset, 3);
    let seeds = if std::env::var_os("AUTOBENCH_LONG").is_some() {
        0..200
    } else {
        0..8
    };
    let (mut edges, mut done) = (0, 0);
    for seed in seeds {
        let mut random = Random::new(seed);
        let mut world = ready();
        world.device.desk.set_faults(Faults::Atx(faults.clone()));
        let mut ids: Vec<String> = Vec::new();
        for _ in 0..40 {
            match random.below(11) {
                0 => world.swap(),
                1 => world.restart(),
                2 => {
                    if let Some(id) = ids.last().cloned()
                        && world.bench().outcome(&id).is_none()
                    {
                        world.bench_mut().cancel_command(&id, "on-request");
                        world.exchange();
                    }
                }
                3 => ids.push(world.command("hold", &json!({ "button": "reset", "ms": 700 }))),
                4 => ids.push(world.command("release", &json!({ "button": "reset" }))),
                5 => ids.push(world.command("on", &json!({}))),
                6 => ids.push(world.command("cycle", &json!({}))),
                7 => ids.push(world.command("reset", &json!({}))),
                8 => ids.push(world.command("force-off", &json!({}))),
                _ => ids.push(world.command("press", &json!({ "button": "power", "ms": 400 }))),
            }
            world.advance_ms(random.below(3000) as u64);
        }
        world.device.desk.set_faults(Faults::Atx(BoardFaults::none()));
        for id in &ids {
            done += usize::from(matches!(world.end_of(id), Outcome::Succeeded(_)));
        }
        world.advance_ms(20_000);
        assert_eq!(world.slice()["phase"], "ready", "seed {seed}");
        assert_eq!(world.slice()["busy"], false, "seed {seed}");
        let completed = ids
            .iter()
            .filter(|id| {
                let replies = world.bench().replies();
                let ends = replies
                    .iter()
                    .filter(|reply| matches!(reply, Reply::Completed(ended, _) if ended == *id));
                ends.count() == 1
            })
            .count();
        assert_eq!(completed, ids.len(), "seed {seed}");
        edges += world.device.edges.len();
        for pair in world.device.edges.chunks(2) {
            let [closed, opened] = pair else {
                panic!("seed {seed}: a contact stays closed: {:?}", world.device.edges)
            };
            assert_eq!(
                (closed.contact, closed.cause),
                (Contact::Closed, Cause::Command),
                "seed {seed}"
            );
            assert_eq!(
                (closed.switch, opened.contact),
                (opened.switch, Contact::Open),
                "seed {seed}"
            );
            let length = opened.at - closed.at;
            assert!(length <= Duration::from_millis(5500), "seed {seed}: {length:?}");
        }
    }
    assert!(edges > 20 && done > 20, "{edges} edges, {done} commands done");
}
