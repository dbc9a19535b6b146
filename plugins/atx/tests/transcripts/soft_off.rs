//! The driver with the firmware of the simulated board in the loop, and a PC behind it that a short press switches off, as an ACPI system does.

use std::time::Duration;

use atx::Atx;
use autobench_sdk::bench::{Bench, Model, Rig};
use autobench_sdk::{Outcome, Value};
use autobench_sim::board::{Firmware, Output, Restart};
use autobench_sim::frontpanel::{Cause, Edge, FrontPanel};
use autobench_sim::pc::machine::{Contact, Switch};
use serde_json::json;

/// From the press to what comes of it.
const SYSTEM: Duration = Duration::from_millis(700);

/// The board, and the PC behind it.
#[derive(Default)]
struct SoftOff {
    board: FrontPanel,
    is_on: bool,
    /// When it goes on or off.
    switches_at: Option<Duration>,
    edges: Vec<Edge>,
    said: Vec<Vec<u8>>,
}

impl SoftOff {
    fn take(&mut self, outputs: Vec<Output<Edge>>) {
        for output in outputs {
            match output {
                Output::Line(line) => self.said.push(format!("{line}\r\n").into_bytes()),
                Output::Effect(edge) => {
                    if (edge.switch, edge.contact) == (Switch::Power, Contact::Open) {
                        self.switches_at = Some(edge.at + SYSTEM);
                    }
                    self.edges.push(edge);
                }
            }
        }
    }

    /// Somebody presses the button of its case.
    fn switch(&mut self, now: Duration) {
        self.is_on = !self.is_on;
        let mut outputs = Vec::new();
        self.board.five_volts(self.is_on, now, &mut outputs);
        self.take(outputs);
    }

    fn reset_board(&mut self, now: Duration) {
        let mut outputs = Vec::new();
        self.board.restart(Restart::Reset, now, &mut outputs);
        self.take(outputs);
    }

    /// Each press: which button, and for how long.
    fn presses(&self) -> Vec<(Switch, u128)> {
        let pairs = self.edges.chunks(2);
        pairs
            .map(|pair| match pair {
                [closed, opened] => {
                    assert_eq!((closed.cause, opened.cause), (Cause::Command, Cause::Command));
                    assert_eq!((closed.contact, opened.contact), (Contact::Closed, Contact::Open));
                    (closed.switch, (opened.at - closed.at).as_millis())
                }
                _ => panic!("a contact is still closed: {:?}", self.edges),
            })
            .collect()
    }
}

impl Model for SoftOff {
    fn exchange(&mut self, written: &[u8], now: Duration) -> Vec<Vec<u8>> {
        let mut outputs = Vec::new();
        self.board.receive(written, now, &mut outputs);
        self.take(outputs);
        if self.switches_at.take_if(|at| *at <= now).is_some() {
            self.switch(now);
        }
        std::mem::take(&mut self.said)
    }
}

type World = Rig<Atx, SoftOff>;

/// A board that obeys, on a PC that is on.
fn running() -> World {
    let mut world = Rig::start(Bench::setup(), "main", SoftOff::default()).expect("the driver starts");
    let now = world.now();
    world.device.switch(now);
    world.advance_ms(2000);
    assert_eq!(world.slice()["powerSense"], "on");
    world
}

/// A board that obeys, on a PC that is off.
fn resting() -> World {
    let mut world = running();
    switch_by_hand(&mut world);
    world.advance_ms(2000);
    assert_eq!(world.slice()["powerSense"], "off");
    world
}

fn switch_by_hand(world: &mut World) {
    let now = world.now();
    world.device.switch(now);
}

/// The board resets, nobody notices, and the PC goes on or off behind its back.
fn reset_and_switched(mut world: World) -> World {
    let now = world.now();
    world.device.reset_board(now);
    world.advance_ms(5000);
    switch_by_hand(&mut world);
    world.advance_ms(5000);
    world
}

fn text(sense: &str) -> Outcome {
    Outcome::Succeeded(Some(Value::Text(sense.to_owned())))
}

#[test]
fn off_presses_once_and_waits_until_the_system_has_gone() {
    let mut world = running();
    let off = world.command("off", &json!({}));
    world.advance_ms(300);
    assert_eq!(world.bench().outcome(&off), None, "the PC is still on");
    assert_eq!(world.end_of(&off), text("off"));
    assert_eq!(world.device.presses(), [(Switch::Power, 250)]);
    assert_eq!(world.slice()["powerSense"], "off");
    world.advance_ms(5000);
    assert_eq!(world.run("off", &json!({})), text("off"));
    assert_eq!(world.device.presses().len(), 1, "it is off");
    assert_eq!(world.run("on", &json!({})), text("on"));
    assert_eq!(
        world.device.presses(),
        [(Switch::Power, 250), (Switch::Power, 250)]
    );
    assert_eq!(world.run("on", &json!({})), text("on"));
    assert_eq!(world.device.presses().len(), 2, "it is on");
}

#[test]
fn on_is_not_taken_in_by_a_board_that_was_reset() {
    let mut world = reset_and_switched(running());
    // Nothing has told that.
    assert_eq!(world.slice()["phase"], "ready");
    assert_eq!(world.slice()["powerSense"], "on");
    assert_eq!(world.run("on", &json!({})), text("on"));
    assert_eq!(world.device.presses(), [(Switch::Power, 250)]);
    assert!(world.device.is_on);
}

#[test]
fn off_is_not_taken_in_by_a_board_that_was_reset() {
    let mut world = reset_and_switched(resting());
    assert_eq!(world.slice()["powerSense"], "off");
    assert_eq!(world.run("off", &json!({})), text("off"));
    assert_eq!(world.device.presses(), [(Switch::Power, 250)]);
    assert!(!world.device.is_on);
}

#[test]
fn a_pc_that_is_on_is_reset_behind_a_board_that_was_reset() {
    let mut world = reset_and_switched(resting());
    assert_eq!(world.run("reset", &json!({})), text("on"));
    assert_eq!(world.device.presses(), [(Switch::Reset, 250)]);
}

#[test]
fn a_board_that_is_still_booting_is_asked_once_more() {
    let mut world = running();
    let now = world.now();
    world.device.reset_board(now);
    switch_by_hand(&mut world);
    assert_eq!(world.run("on", &json!({})), text("on"));
    assert_eq!(world.device.presses(), [(Switch::Power, 250)]);
    assert!(world.device.is_on);
}

#[test]
fn asking_makes_no_edge_whatever_comes_between() {
    let mut world = running();
    for at_ms in 0..20 {
        let on = world.command("on", &json!({}));
        match at_ms % 4 {
            0 => world.swap(),
            1 => world.restart(),
            2 => {
                world.bench_mut().cancel_command(&on, "on-request");
                world.exchange();
            }
            _ => {}
        }
        world.end_of(&on);
        world.advance_ms(at_ms);
    }
    world.advance_ms(15_000);
    assert_eq!(world.device.edges, []);
    assert_eq!(world.slice()["phase"], "ready");
    assert_eq!(world.slice()["busy"], false);
    // The board obeys after each of them.
    assert_eq!(world.run("off", &json!({})), text("off"));
}
