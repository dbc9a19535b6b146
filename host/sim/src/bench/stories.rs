//! The bench on real pseudo-terminals, opened as any program opens a serial port, and steered as another process steers it.

use super::control::run_control;
use super::emulator::{Bench, Control, Options};
use super::journal::Entry;
use super::{Device, Faults};
use crate::client::{Client, DEADLINE};
use crate::pc::Stage;
use crate::pc::keys::keys_of;
use std::path::Path;
use std::time::{Duration, Instant};

fn start(folder: &Path, speed: f64) -> Bench {
    Bench::start(Options {
        seed: Some(7),
        speed,
        journal: Some(folder.join("journal")),
        ..Options::in_folder(folder)
    })
    .unwrap()
}

/// A host on a device's port.
struct Host {
    client: Client,
    /// What has come and has not been looked at.
    heard: String,
}

impl Host {
    fn open(link: &Path, baud_rate: u32) -> Self {
        Self {
            client: Client::open(link, baud_rate),
            heard: String::new(),
        }
    }

    /// Writes a line and reads until a text has come.
    fn ask(&mut self, line: &str, answer: &str) -> String {
        self.client.send(&format!("{line}\n"));
        self.until(answer)
    }

    /// What came up to a text, and with it.
    fn until(&mut self, text: &str) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(start) = self.heard.find(text) {
                let rest = self.heard.split_off(start + text.len());
                return std::mem::replace(&mut self.heard, rest);
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {text:?} after {:?}", self.heard);
            let bytes = self.client.read(left).expect("the line has gone");
            self.heard.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
}

fn open(bench: &Bench, device: Device) -> Host {
    let baud_rate = if device == Device::PowerMeter {
        115_200
    } else {
        9600
    };
    Host::open(bench.link(device).unwrap(), baud_rate)
}

fn wait_for(control: &Control, what: &str, done: impl Fn(&Control) -> bool) {
    let until = Instant::now() + DEADLINE;
    while !done(control) {
        assert!(Instant::now() < until, "no {what}: {:?}", control.stats());
        std::thread::yield_now();
    }
}

fn shows(control: &Control, text: &str) -> bool {
    control.screen().unwrap().iter().any(|line| line.contains(text))
}

#[test]
fn a_press_on_one_port_is_seen_on_all_three() {
    let folder = tempfile::tempdir().unwrap();
    let bench = start(folder.path(), 10.0);
    let control = bench.control();
    let (mut meter, mut atx, mut keyboard) = (
        open(&bench, Device::PowerMeter),
        open(&bench, Device::Atx),
        open(&bench, Device::Keyboard),
    );
    assert_eq!(atx.ask("identify", "FP\r\n"), "FP\r\n");
    atx.ask("identify_complete", "HDD_ACTIVE_OFF\r\n");
    keyboard.ask("identify", "KB\r\n");
    keyboard.ask("identify_complete", "identification complete\r\n");
    meter.client.send("#L,W,3,E,_,1;");
    // The button on the board lasts as long as simulated time says. A hold by this host would cut the power, were the test held up.
    control.press_local(Duration::from_millis(200)).unwrap();
    atx.until("POWER_LED_ON\r\n");
    keyboard.until("enable scanning\r\n");
    wait_for(&control, "prompt", |control| shows(control, "C:\\>"));
    atx.ask("RESET_HOLD", "reset button held\r\n");
    // A press that the board is to believe lasts a while.
    wait_for(&control, "reset", |control| {
        control.stats().unwrap().stage == Stage::Boot
    });
    atx.ask("RESET_RELEASE", "reset button released\r\n");
    keyboard.until("recieved 0xFF (RESET)\r\n");
    keyboard.until("enable scanning\r\n");
    meter.until("#d,-,18,");
    wait_for(&control, "prompt again", |control| shows(control, "C:\\>"));
    for character in "bench".chars() {
        let (code, _) = keys_of(character).unwrap();
        let answer = format!("success: press command for scan code {:X}\r\n", code.code);
        keyboard.ask(&format!("press 0:{:x}", code.code), &answer);
    }
    keyboard.ask("press 0:5a", "scan code 5A\r\n");
    assert_eq!(control.stats().unwrap().stage, Stage::Benchmark);
    // Nothing but the benchmark draws so much.
    let mut deciwatts = 0;
    while deciwatts < 950 {
        meter.until("#d,-,18,");
        deciwatts = meter.until(",").trim_end_matches(',').parse().unwrap();
    }
    drop(meter);
    let stats = bench.stop().unwrap();
    let counts = stats.counts;
    assert_eq!(
        (counts.power_edges, counts.reset_edges, counts.key_edges),
        (2, 2, 12)
    );
    for device in Device::ALL {
        assert!(std::fs::symlink_metadata(folder.path().join(device.name())).is_err());
    }
    let journal = std::fs::read_to_string(folder.path().join("journal")).unwrap();
    let lines: Vec<serde_json::Value> = journal
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let edges: Vec<String> = lines
        .iter()
        .filter(|line| line["what"] == "edge")
        .map(|line| format!("{} {} {}", line["switch"], line["contact"], line["cause"]).replace('"', ""))
        .collect();
    assert_eq!(
        edges,
        [
            "power closed local-override",
            "power open local-override",
            "reset closed command",
            "reset open command"
        ]
    );
    let summary = lines.last().unwrap();
    assert_eq!((&summary["summary"], &summary["seed"]), (&true.into(), &7.into()));
}

#[test]
fn a_board_outlives_its_host_and_starts_anew_when_it_was_pulled() {
    let folder = tempfile::tempdir().unwrap();
    let bench = start(folder.path(), 20.0);
    let control = bench.control();
    let mut atx = open(&bench, Device::Atx);
    atx.ask("identify", "FP\r\n");
    atx.ask("identify_complete", "HDD_ACTIVE_OFF\r\n");
    drop(atx);
    let closed = |entry: &Entry| serde_json::to_string(entry).unwrap().contains("\"closed\"");
    wait_for(&control, "end of the host", |control| {
        control.journal().unwrap().iter().any(closed)
    });
    let mut atx = open(&bench, Device::Atx);
    atx.ask("POWER_HOLD", "power button held\r\n");
    wait_for(&control, "start", |control| {
        control.stats().unwrap().stage == Stage::Boot
    });
    control.unplug(Device::Atx).unwrap();
    assert_eq!(atx.client.read(DEADLINE), None, "a hang-up");
    let edges: Vec<_> = control
        .journal()
        .unwrap()
        .iter()
        .filter_map(Entry::edge)
        .collect();
    assert_eq!(edges.len(), 2, "no power, no press: {edges:?}");
    let stats = control.replug(Device::Atx).unwrap();
    assert!(
        stats
            .devices
            .iter()
            .all(|device| device.plugged && !device.identified)
    );
    let t_ms = stats.t_ms;
    wait_for(&control, "end of the bootloader", |control| {
        control.stats().unwrap().t_ms > t_ms + 2_000
    });
    let mut atx = open(&bench, Device::Atx);
    atx.ask("identify", "FP\r\n");
    // The press, short as it was, has started the PC.
    atx.ask("identify_complete", "POWER_LED_ON\r\n");
}

#[test]
fn a_fault_pulls_a_board_and_puts_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let bench = start(folder.path(), 1.0);
    let control = bench.control();
    control
        .set_faults(Faults::Keyboard("unplug:100".parse().unwrap()))
        .unwrap();
    let Host { client: keyboard, .. } = open(&bench, Device::Keyboard);
    keyboard.send("identify\n");
    while keyboard.read(DEADLINE).is_some() {}
    control
        .set_faults(Faults::Keyboard("none".parse().unwrap()))
        .unwrap();
    wait_for(&control, "plug", |control| {
        control
            .stats()
            .unwrap()
            .devices
            .iter()
            .all(|device| device.plugged)
    });
    let Host { client: keyboard, .. } = open(&bench, Device::Keyboard);
    let until = Instant::now() + DEADLINE;
    let mut heard = Vec::new();
    while !heard.ends_with(b"KB\r\n") {
        assert!(Instant::now() < until, "{heard:?}");
        keyboard.send("identify\n");
        heard.extend(keyboard.read(Duration::from_millis(200)).unwrap());
    }
}

#[test]
fn a_device_that_is_renamed_has_another_terminal_before_the_old_one_goes() {
    let folder = tempfile::tempdir().unwrap();
    let bench = start(folder.path(), 100.0);
    let control = bench.control();
    let link = bench.link(Device::Atx).unwrap();
    let mut atx = open(&bench, Device::Atx);
    atx.ask("identify", "FP\r\n");
    let old = std::fs::read_link(link).unwrap();
    control.rename(Device::Atx).unwrap();
    assert_ne!(std::fs::read_link(link).unwrap(), old);
    assert_eq!(atx.client.read(DEADLINE), None, "a hang-up");
    wait_for(&control, "end of the bootloader", |control| {
        open(&bench, Device::Atx).client.send("identify\n");
        let heard = |entry: &Entry| serde_json::to_string(entry).unwrap().contains("\"FP\"");
        control
            .journal()
            .unwrap()
            .iter()
            .filter(|entry| heard(entry))
            .count()
            > 1
    });
}

#[test]
fn a_muted_line_carries_nothing_and_noise_is_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let bench = start(folder.path(), 1.0);
    let control = bench.control();
    let (mut atx, mut meter) = (open(&bench, Device::Atx), open(&bench, Device::PowerMeter));
    for device in [Device::Atx, Device::PowerMeter] {
        control.mute(device, true).unwrap();
    }
    atx.client.send("identify\n");
    meter.client.send("#V,R,0;");
    // Whatever was sent has been heard when the answer to a later request is there.
    control.stats().unwrap();
    for device in [Device::Atx, Device::PowerMeter] {
        control.mute(device, false).unwrap();
    }
    assert_eq!(atx.ask("identify", "FP\r\n"), "FP\r\n", "only one was heard");
    meter.client.send("#V,R,0;");
    let version = meter.until(";");
    assert_eq!(version.matches('#').count(), 1, "{version}");
    for (device, host) in [(Device::Atx, &mut atx), (Device::PowerMeter, &mut meter)] {
        control.noise(device, b"\x01half a li").unwrap();
        host.until("\x01half a li");
    }
    assert!(
        control
            .stats()
            .unwrap()
            .devices
            .iter()
            .all(|device| device.resets == 0)
    );
    control.reset(Device::Atx).unwrap();
    let stats = control.stats().unwrap();
    let atx = stats.devices.iter().find(|stats| stats.device == Device::Atx);
    assert_eq!(atx.unwrap().resets, 1);
}

#[test]
fn a_bench_obeys_lines_and_answers_each_with_json() {
    let folder = tempfile::tempdir().unwrap();
    let bench = start(folder.path(), 100.0);
    let mut atx = open(&bench, Device::Atx);
    atx.ask("identify", "FP\r\n");
    let lines = "stats\nscreen\njournal\npress-local 200\npress-case\nsay atx HDD_ACTIVE_ON\nfault keyboard lost:20\n\
                 fault power-meter nuls\nunplug keyboard\nreplug keyboard\nreset atx\npause\nresume\n\
                 mute keyboard\nunmute keyboard\nrename keyboard\n\
                 dance\nunplug toaster\nfault atx nuls\nquit\nnever read\n";
    let mut answers = Vec::new();
    run_control(&bench.control(), lines.as_bytes(), &mut answers).unwrap();
    let answers: Vec<serde_json::Value> = String::from_utf8(answers)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 20);
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer["ok"], !(16..19).contains(&index), "{answer}");
    }
    assert_eq!(answers[1]["screen"].as_array().unwrap().len(), 25);
    assert!(!answers[2]["journal"].as_array().unwrap().is_empty());
    assert!(answers[17]["error"].as_str().unwrap().contains("`toaster`"));
    atx.until("HDD_ACTIVE_ON\r\n");
}

#[test]
fn a_bench_may_have_one_terminal_only() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("panel");
    let bench = Bench::start(Options::with_links([(Device::Atx, link.clone())])).unwrap();
    let mut atx = Host::open(&link, 9600);
    atx.ask("identify", "FP\r\n");
    let refused = bench.control().unplug(Device::Keyboard).unwrap_err();
    assert!(refused.to_string().contains("keyboard has no terminal"));
}
