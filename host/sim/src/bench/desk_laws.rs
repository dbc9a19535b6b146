//! The whole bench without a terminal: what a press of the button sets off, with the firmware's timings; what is typed, and what it draws.

use super::Device;
use super::desk::{Desk, PcEvent, Setup};
use super::journal::{Entry, Event, Source};
use crate::frontpanel::{Cause, Edge};
use crate::pc::keys::keys_of;
use crate::pc::machine::{BOOT, Contact, Switch};
use crate::pc::{BENCHMARK, PcOptions, Stage};
use crate::random::Random;
use std::time::Duration;

/// A bench with somebody at every port.
pub(super) struct Rig {
    pub(super) desk: Desk,
    pub(super) now: Duration,
    step: Duration,
    pub(super) entries: Vec<Entry>,
    heard: [String; 3],
}

impl Rig {
    pub(super) fn new(setup: Setup) -> Self {
        let mut desk = Desk::new(setup);
        for device in Device::ALL {
            desk.open(device, Duration::ZERO);
        }
        Self {
            desk,
            now: Duration::ZERO,
            step: Duration::from_millis(50),
            entries: Vec::new(),
            heard: Default::default(),
        }
    }

    /// Identified, and off.
    fn ready() -> Self {
        let mut rig = Self::new(Setup::new(7));
        for device in [Device::Atx, Device::Keyboard] {
            rig.send(device, "identify\nidentify_complete\n");
        }
        rig.pass(1000);
        rig
    }

    /// At the prompt.
    fn at_prompt() -> Self {
        let mut rig = Self::ready();
        rig.click(250);
        rig.pass(11_000);
        assert_eq!(rig.last_line(), "C:\\>");
        rig
    }

    pub(super) fn send(&mut self, device: Device, text: &str) {
        self.desk.receive(device, text.as_bytes(), self.now);
        self.listen();
    }

    pub(super) fn pass(&mut self, milliseconds: u64) {
        let until = self.now + Duration::from_millis(milliseconds);
        while self.now < until {
            self.now = (self.now + self.step).min(until);
            self.listen();
        }
    }

    fn listen(&mut self) {
        for (device, heard) in Device::ALL.into_iter().zip(&mut self.heard) {
            heard.push_str(&String::from_utf8_lossy(&self.desk.read(device, self.now)));
        }
        self.entries.extend(self.desk.take_entries());
    }

    /// What a device has said since the last time, line by line.
    pub(super) fn said(&mut self, device: Device) -> Vec<String> {
        let heard = &mut self.heard[Device::ALL.iter().position(|other| *other == device).unwrap()];
        std::mem::take(heard).lines().map(str::to_owned).collect()
    }

    pub(super) fn click(&mut self, milliseconds: u64) {
        self.send(Device::Atx, "POWER_HOLD\n");
        self.pass(milliseconds);
        self.send(Device::Atx, "POWER_RELEASE\n");
    }

    fn press(&mut self, key: &str) {
        self.send(Device::Keyboard, &format!("press {key}\n"));
        self.pass(110);
    }

    fn type_text(&mut self, text: &str) {
        for character in text.chars() {
            let (code, shift) = keys_of(character).unwrap();
            if shift {
                self.send(Device::Keyboard, "hold 0:12\n");
            }
            self.press(&format!("0:{:x}", code.code));
            if shift {
                self.send(Device::Keyboard, "release 0:12\n");
            }
        }
    }

    fn enter(&mut self, line: &str) {
        self.type_text(line);
        self.press("0:5a");
    }

    fn screen(&self) -> Vec<String> {
        let mut lines = self.desk.screen().lines();
        lines.retain(|line| !line.is_empty());
        lines
    }

    fn last_line(&self) -> String {
        self.screen().pop().unwrap_or_default()
    }

    pub(super) fn edges(&self) -> Vec<Edge> {
        self.entries.iter().filter_map(Entry::edge).collect()
    }

    /// When the PC's 5 V came or went, and stages began, since an entry.
    fn pc_events(&self, since: usize) -> Vec<(u128, PcEvent)> {
        self.entries[since..]
            .iter()
            .filter(|entry| entry.device == Source::Pc)
            .filter_map(|entry| match &entry.event {
                Event::Pc(event @ (PcEvent::FiveVolts { .. } | PcEvent::Stage { .. })) => {
                    Some((entry.at.as_millis(), event.clone()))
                }
                _ => None,
            })
            .collect()
    }
}

#[test]
fn a_press_starts_the_pc_with_the_timings_of_its_parts() {
    let mut rig = Rig::ready();
    rig.said(Device::Atx);
    let start = rig.now.as_millis();
    rig.click(250);
    rig.pass(11_000);
    // 16 ms until the board believes the switch, 300 ms for the supply, nine seconds to the prompt.
    let stage = |at, stage| (start + at, PcEvent::Stage { stage });
    assert_eq!(
        rig.pc_events(0),
        [
            stage(16, Stage::Boot),
            (start + 316, PcEvent::FiveVolts { on: true }),
            stage(316, Stage::Boot),
            stage(9_316, Stage::Idle)
        ]
    );
    let said = rig.said(Device::Atx);
    assert_eq!(
        said[..3],
        [
            "debug: front panel power button held",
            "debug: front panel power button released",
            "POWER_LED_ON"
        ]
    );
    let disk: Vec<&str> = said[3..].iter().map(String::as_str).collect();
    assert!(disk.len() >= 6, "{disk:?}");
    for pair in disk.chunks(2) {
        assert_eq!(pair, ["HDD_ACTIVE_ON", "HDD_ACTIVE_OFF"]);
    }
    let led_on = rig.entries.iter().find_map(|entry| {
        let text = serde_json::to_string(entry).unwrap();
        text.contains("POWER_LED_ON").then_some(entry.at.as_millis())
    });
    assert_eq!(led_on, Some(start + 816), "half a second after 5 V");
}

#[test]
fn a_starting_pc_talks_to_its_keyboard_as_pcs_do() {
    let rig = Rig::at_prompt();
    let talk: Vec<(u128, bool, u8)> = rig
        .entries
        .iter()
        .filter_map(|entry| match entry.event {
            Event::Pc(PcEvent::FromPc { byte }) => Some((entry.at.as_millis(), true, byte)),
            Event::Pc(PcEvent::ToPc { byte }) => Some((entry.at.as_millis(), false, byte)),
            _ => None,
        })
        .collect();
    let reset_at = talk[0].0;
    let bytes: Vec<(bool, u8)> = talk.iter().map(|(_, from_pc, byte)| (*from_pc, *byte)).collect();
    let mut expected = vec![(true, 0xFF), (false, 0xFA), (false, 0xAA), (true, 0xF2)];
    expected.extend([(false, 0xFA), (false, 0xAB), (false, 0x83)]);
    for byte in [0xED, 0x02, 0xF3, 0x20, 0xF4] {
        expected.extend([(true, byte), (false, 0xFA)]);
    }
    // Journal entries of one moment may stand in another order than they came about in; the talk of each side may not.
    for from_pc in [true, false] {
        let side = |talk: &[(bool, u8)]| -> Vec<u8> {
            talk.iter()
                .filter(|(from, _)| *from == from_pc)
                .map(|(_, byte)| *byte)
                .collect()
        };
        assert_eq!(side(&bytes), side(&expected));
    }
    let passed = talk.iter().find(|(_, _, byte)| *byte == 0xAA).unwrap().0;
    assert_eq!(passed - reset_at, 600);
    assert!(rig.desk.counts().power_edges == 2 && rig.desk.counts().key_edges == 0);
}

#[test]
fn every_printable_character_that_is_typed_arrives_at_the_prompt() {
    let mut rig = Rig::at_prompt();
    let all: String = ('!'..='~').collect();
    for half in [&all[..47], &all[47..]] {
        rig.enter(&format!("echo {half}"));
        let screen = rig.screen();
        assert!(screen.contains(&format!("C:\\>echo {half}")), "{screen:?}");
        assert!(screen.contains(&half.to_owned()), "{screen:?}");
    }
}

#[test]
fn the_prompt_edits_a_line_and_knows_its_commands() {
    let mut rig = Rig::at_prompt();
    rig.type_text("verx");
    rig.press("0:66");
    assert_eq!(rig.last_line(), "C:\\>ver");
    rig.press("0:5a");
    assert!(rig.screen().contains(&"Sim-DOS Version 6.22".to_owned()));
    rig.enter("format c:");
    assert!(rig.screen().contains(&"Bad command or file name".to_owned()));
    rig.enter("cls");
    assert_eq!(rig.screen(), ["C:\\>"]);
    rig.enter("HELP");
    assert!(rig.screen().iter().any(|line| line.starts_with("SHUTDOWN")));
    // The adapter's wrong break of a prefixed key leaves nothing stuck: the keypad's Enter, then a cursor key that means nothing here.
    rig.type_text("echo up");
    rig.press("e0:75");
    rig.press("e0:5a");
    assert!(rig.screen().contains(&"up".to_owned()));
}

#[test]
fn caps_lock_lights_its_lamp_and_types_capitals() {
    let mut rig = Rig::at_prompt();
    rig.said(Device::Keyboard);
    rig.press("0:58");
    rig.pass(200);
    let lamp = "debug: LED arg=0x06 scroll=0 num=1 caps=1".to_owned();
    assert!(rig.said(Device::Keyboard).contains(&lamp));
    rig.type_text("echo 1a");
    assert_eq!(rig.last_line(), "C:\\>ECHO 1A");
}

#[test]
fn the_benchmark_draws_its_profile_and_says_its_score() {
    let mut rig = Rig::at_prompt();
    rig.send(Device::PowerMeter, "#L,W,3,E,_,1;");
    rig.enter("bench");
    let stage = |stage| Event::Pc(PcEvent::Stage { stage });
    let began = rig
        .entries
        .iter()
        .find(|entry| entry.event == stage(Stage::Benchmark))
        .unwrap()
        .at;
    rig.pass(61_000);
    let score = format!("Done in 60.0 s. Score: {}", rig.desk.pc().score());
    assert!(rig.screen().contains(&score), "{:?}", rig.screen());
    let ended = rig
        .entries
        .iter()
        .rev()
        .find(|entry| entry.event == stage(Stage::Idle));
    assert_eq!(ended.unwrap().at - began, Duration::from_secs(60));

    let options = PcOptions::default();
    let mut start = began.as_secs_f64();
    for part in BENCHMARK {
        let end = start + part.seconds;
        let watts: Vec<f64> = rig
            .entries
            .iter()
            .filter_map(|entry| match &entry.event {
                Event::Row(row) => Some((row.t_ms as f64 / 1000.0, row.deciwatts as f64 / 10.0)),
                _ => None,
            })
            .filter(|(at, _)| *at >= start && *at < end)
            .map(|(_, watts)| watts)
            .collect();
        let mean = watts.iter().sum::<f64>() / watts.len() as f64;
        let expected = options.idle_w + (options.peak_w - options.idle_w) * part.mean_load();
        assert!(
            (mean - expected).abs() < 8.0,
            "{}: {mean} W, not {expected} W",
            part.name
        );
        start = end;
    }
}

#[test]
fn control_c_ends_the_benchmark_and_forgets_what_was_typed_ahead_and_its_end_does_not() {
    let mut rig = Rig::at_prompt();
    rig.enter("bench");
    rig.pass(5000);
    rig.type_text("ver");
    assert_eq!(rig.desk.pc().stage(), Stage::Benchmark);
    rig.send(Device::Keyboard, "hold 0:14\n");
    rig.press("0:21");
    rig.send(Device::Keyboard, "release 0:14\n");
    assert_eq!(rig.desk.pc().stage(), Stage::Idle);
    rig.enter("bench");
    rig.enter("echo later");
    rig.pass(61_000);
    assert!(rig.screen().contains(&"later".to_owned()), "{:?}", rig.screen());
}

#[test]
fn a_long_press_cuts_the_power_and_a_short_one_does_nothing() {
    let mut rig = Rig::at_prompt();
    let before = rig.entries.len();
    rig.click(3900);
    rig.pass(1000);
    assert_eq!(rig.pc_events(before), [], "too short to cut");
    let start = rig.now.as_millis();
    rig.said(Device::Atx);
    rig.click(5500);
    assert_eq!(
        rig.pc_events(before),
        [
            (start + 4_016, PcEvent::Stage { stage: Stage::Off }),
            (start + 4_046, PcEvent::FiveVolts { on: false })
        ]
    );
    assert!(rig.said(Device::Atx).contains(&"POWER_LED_OFF".to_owned()));
    assert_eq!(rig.screen(), [""; 0]);
    rig.pass(5000);
    assert!(!rig.desk.pc().has_five_volts(), "letting go starts nothing");
}

#[test]
fn shutdown_switches_off_and_the_meter_reads_standby() {
    let mut rig = Rig::at_prompt();
    rig.send(Device::PowerMeter, "#L,W,3,E,_,1;");
    rig.enter("shutdown");
    rig.pass(5000);
    assert!(!rig.desk.pc().has_five_volts());
    let last = rig.entries.iter().rev().find_map(|entry| match &entry.event {
        Event::Row(row) => Some(row.deciwatts),
        _ => None,
    });
    assert!((25..45).contains(&last.unwrap()), "{last:?}");
}

#[test]
fn reset_and_control_alt_delete_start_over_without_losing_power() {
    let mut rig = Rig::at_prompt();
    rig.type_text("echo");
    let before = rig.entries.len();
    rig.send(Device::Atx, "RESET_HOLD\n");
    rig.pass(250);
    rig.send(Device::Atx, "RESET_RELEASE\n");
    rig.pass(BOOT.as_millis() as u64 + 100);
    assert_eq!(rig.last_line(), "C:\\>");
    rig.send(Device::Keyboard, "hold 0:14\nhold 0:11\n");
    rig.press("e0:71");
    rig.send(Device::Keyboard, "release 0:11\nrelease 0:14\n");
    assert_eq!(rig.desk.pc().stage(), Stage::Boot);
    rig.pass(BOOT.as_millis() as u64);
    assert_eq!(rig.last_line(), "C:\\>");
    rig.enter("echo well");
    assert!(rig.screen().contains(&"well".to_owned()));
    let volts = rig.pc_events(before);
    assert!(
        volts
            .iter()
            .all(|(_, event)| matches!(event, PcEvent::Stage { .. })),
        "{volts:?}"
    );
}

#[test]
fn a_pc_without_a_keyboard_says_so_and_goes_on() {
    let mut rig = Rig::ready();
    rig.desk.set_plugged(Device::Keyboard, false, rig.now);
    rig.click(250);
    rig.pass(11_000);
    let complaint = "Keyboard error or no keyboard present".to_owned();
    assert!(rig.screen().contains(&complaint), "{:?}", rig.screen());
    rig.desk.set_plugged(Device::Keyboard, true, rig.now);
    rig.desk.open(Device::Keyboard, rig.now);
    rig.pass(2000);
    rig.send(Device::Keyboard, "identify\nidentify_complete\n");
    rig.enter("ver");
    assert!(rig.screen().contains(&"Sim-DOS Version 6.22".to_owned()));
}

#[test]
fn nothing_but_a_command_presses_anything() {
    let mut rig = Rig::ready();
    for _ in 0..20 {
        for device in [Device::Atx, Device::Keyboard] {
            rig.desk.close(device, rig.now);
            rig.pass(500);
            rig.desk.open(device, rig.now);
            rig.send(device, "identify\n");
            rig.pass(100);
            rig.send(device, "identify_complete\n");
        }
    }
    rig.send(Device::Keyboard, "power_on\n");
    rig.pass(60_000);
    assert_eq!(rig.edges(), []);
    let counts = rig.desk.counts();
    assert_eq!(
        (counts.power_edges, counts.key_edges, counts.bytes_to_pc),
        (0, 0, 0)
    );
    assert_eq!(rig.desk.pc().stage(), Stage::Off);
}

#[test]
fn boards_stay_identified_while_nobody_has_their_port_open_and_not_without_power() {
    let mut rig = Rig::at_prompt();
    rig.send(Device::Atx, "RESET_HOLD\n");
    rig.desk.close(Device::Atx, rig.now);
    rig.said(Device::Atx);
    rig.pass(3000);
    assert_eq!(rig.said(Device::Atx), [""; 0], "nobody is there");
    rig.desk.open(Device::Atx, rig.now);
    rig.send(Device::Atx, "POWER_RELEASE\n");
    assert_eq!(
        rig.said(Device::Atx),
        ["debug: front panel power button released"]
    );
    rig.pass(8_000);
    let opened = rig.edges().pop().unwrap();
    assert_eq!(
        (opened.switch, opened.contact, opened.cause),
        (Switch::Reset, Contact::Open, Cause::AutoRelease),
        "the hold of a host that has gone"
    );
    rig.send(Device::Atx, "POWER_HOLD\n");
    rig.pass(100);
    rig.desk.set_plugged(Device::Atx, false, rig.now);
    rig.listen();
    let opened = rig.edges().pop().unwrap();
    assert_eq!((opened.at, opened.cause), (rig.now, Cause::PowerLost));
    rig.desk.set_plugged(Device::Atx, true, rig.now);
    rig.desk.open(Device::Atx, rig.now);
    rig.pass(3000);
    rig.said(Device::Atx);
    rig.send(Device::Atx, "POWER_HOLD\n");
    assert_eq!(rig.said(Device::Atx), [""; 0], "it has to be identified again");
    rig.send(Device::Atx, "identify\nidentify_complete\n");
    assert!(rig.said(Device::Atx).contains(&"POWER_LED_ON".to_owned()));
}

#[test]
fn the_button_on_the_board_starts_the_pc_too() {
    let mut rig = Rig::ready();
    rig.desk.press_local(Duration::from_millis(200), rig.now);
    rig.pass(2000);
    assert!(rig.desk.pc().has_five_volts());
    assert!(rig.edges().iter().all(|edge| edge.cause == Cause::LocalOverride));
}

#[test]
fn the_button_of_the_case_needs_no_board_and_counts_together_with_the_contact() {
    let mut rig = Rig::new(Setup::new(7));
    rig.desk.press_local(Duration::from_millis(200), rig.now);
    rig.pass(2000);
    assert!(
        !rig.desk.pc().has_five_volts(),
        "the board has not been identified"
    );
    rig.desk.press_case(Duration::from_millis(200), rig.now);
    rig.pass(2000);
    assert!(rig.desk.pc().has_five_volts());
    assert_eq!(rig.edges(), []);
    // Three seconds of one and three of the other are a hold of nearly six.
    rig.send(Device::Atx, "identify\nidentify_complete\nPOWER_HOLD\n");
    rig.pass(2900);
    rig.desk.press_case(Duration::from_millis(3000), rig.now);
    rig.send(Device::Atx, "POWER_RELEASE\n");
    rig.pass(3000);
    assert!(!rig.desk.pc().has_five_volts());
}

#[test]
fn however_often_somebody_looks_the_same_happens() {
    let run = |step_ms: u64| {
        let mut rig = Rig::ready();
        rig.step = Duration::from_millis(step_ms);
        rig.click(300);
        rig.pass(12_000);
        rig.enter("ver");
        rig.pass(2000);
        let happened = |entry: &Entry| !matches!(entry.event, Event::Row(_));
        rig.entries.retain(happened);
        (rig.entries, rig.desk.screen().clone())
    };
    let often = run(3);
    for step_ms in [50, 1000, 20_000] {
        assert_eq!(run(step_ms), often, "every {step_ms} ms");
    }
}

#[test]
fn a_seed_gives_the_same_bench() {
    let run = |seed| {
        let setup = Setup {
            atx_faults: "all".parse().unwrap(),
            keyboard_faults: "all".parse().unwrap(),
            ..Setup::new(seed)
        };
        let mut rig = Rig::new(setup);
        let mut random = Random::new(seed);
        for _ in 0..100 {
            let device = random.pick(&[Device::Atx, Device::Keyboard], Device::Atx);
            rig.send(device, "identify\nidentify_complete\n");
            rig.click(random.below(3000) as u64);
            rig.press("0:1c");
        }
        rig.entries
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
