//! The emulator on real pseudo-terminals, opened as any program opens a serial port.

use super::cable_laws::ReferenceReader;
use super::control::run_control;
use super::emulator::{Emulator, Options};
use super::fault::{Fault, FaultPlan};
use super::journal::Verdict;
use crate::client::{Client, DEADLINE};
use crate::control::ControlEnd;
use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, ioctl_tiocexcl, tcgetattr, tcsetattr};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn rows_in(bytes: &[u8]) -> usize {
    bytes.windows(4).filter(|window| window == b"#d,-").count()
}

struct Bench {
    folder: tempfile::TempDir,
    options: Options,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            seed: Some(7),
            speed: 100.0,
            journal: Some(folder.path().join("journal")),
            ..Options::new(folder.path().join("meter"))
        };
        Self { folder, options }
    }

    fn start(&self) -> Emulator {
        Emulator::start(self.options.clone()).unwrap()
    }

    fn journal(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.folder.path().join("journal")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The rows that the journal says a driver has.
    fn readable(&self) -> BTreeMap<u64, String> {
        let readable = |line: &serde_json::Value| {
            let verdict = line["verdict"].as_str().filter(|verdict| *verdict != "lost")?;
            Some((line["row"].as_u64()?, verdict.to_owned()))
        };
        self.journal().iter().filter_map(readable).collect()
    }
}

fn verdicts(reader: &ReferenceReader) -> BTreeMap<u64, String> {
    let name = |verdict: Verdict| {
        serde_json::to_value(verdict)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    };
    reader
        .rows
        .iter()
        .map(|(row, (verdict, _))| (*row, name(*verdict)))
        .collect()
}

#[test]
fn a_client_gets_answers_and_rows_and_the_journal_tells_them() {
    let bench = Bench::new();
    let emulator = bench.start();
    let client = Client::open(emulator.link(), 115_200);
    client.send("#V,R,0;");
    assert_eq!(
        client.read_until(|all| all.ends_with(b";")),
        b"#v,-,8,1,65206,5,2,4,41,200612212301,0;"
    );
    client.send("#L,W,3,E,_,1;");
    let mut reader = ReferenceReader::default();
    reader.push(&client.read_until(|all| rows_in(all) >= 50));
    // A reader beside the emulator, so that the pause finds an empty line.
    let stats = std::thread::scope(|scope| {
        let paused = scope.spawn(|| emulator.pause().unwrap());
        while !paused.is_finished() {
            reader.push(&client.read(Duration::from_millis(20)).unwrap());
        }
        paused.join().unwrap()
    });
    assert_eq!(verdicts(&reader), bench.readable());
    assert_eq!((stats.tally.good, stats.tally.lost), (stats.tally.rows, 0));
    assert_eq!(
        client.read(Duration::from_millis(100)),
        Some(Vec::new()),
        "the simulation stands still"
    );
    assert_eq!(emulator.stats().unwrap().t_ms, stats.t_ms);
    emulator.resume().unwrap();
    client.read_until(|all| rows_in(all) >= 3);
    drop(client);
    let link = emulator.link().to_owned();
    let seed = emulator.seed();
    let stats = emulator.stop().unwrap();
    assert!(std::fs::symlink_metadata(&link).is_err(), "the link is gone");
    let summary = bench.journal().pop().unwrap();
    assert_eq!(summary["summary"], true);
    assert_eq!(summary["seed"], seed);
    assert_eq!(summary["rows"].as_u64(), Some(stats.tally.rows));
    assert_eq!(
        stats.tally.good + stats.tally.headless + stats.tally.lost,
        stats.tally.rows
    );
}

#[test]
fn nothing_is_delivered_from_before_the_client_opened_and_spoke() {
    let bench = Bench::new();
    let emulator = bench.start();
    let client = Client::open(emulator.link(), 115_200);
    client.send("#L,W,3,E,_,1;");
    client.read_until(|all| rows_in(all) >= 5);
    drop(client);
    let lost = |reason: &str| bench.journal().iter().any(|line| line["reason"] == reason);
    wait_for("rows that nobody was there for", || lost("nobody-there"));
    let client = Client::open(emulator.link(), 115_200);
    wait_for("rows that nobody had asked for", || lost("unheard"));
    assert_eq!(client.read(Duration::from_millis(50)), Some(Vec::new()));
    // Any byte will do, and the meter streams on.
    client.send("\r");
    client.read_until(|all| rows_in(all) >= 5);
}

#[test]
fn a_pulled_cable_delivers_what_was_sent_then_hangs_up_and_comes_back_with_higher_numbers() {
    let bench = Bench::new();
    let emulator = bench.start();
    let mut reader = ReferenceReader::default();
    let client = Client::open(emulator.link(), 115_200);
    client.send("#L,W,3,E,_,1;");
    reader.push(&client.read_until(|all| rows_in(all) >= 20));
    std::thread::scope(|scope| {
        let unplugged = scope.spawn(|| emulator.unplug().unwrap());
        while let Some(bytes) = client.read(DEADLINE) {
            reader.push(&bytes);
        }
        assert!(!unplugged.join().unwrap().plugged);
    });
    assert!(
        std::fs::symlink_metadata(emulator.link()).is_err(),
        "the link went with the cable"
    );
    let before = reader.rows.len();
    assert!(before >= 20);
    reader.line_border();
    wait_for("rows while the cable is out", || {
        bench.journal().iter().any(|line| line["reason"] == "unplugged")
    });
    assert!(emulator.replug().unwrap().plugged);
    let again = Client::open(emulator.link(), 115_200);
    again.send("\x18#L,W,3,E,_,1;");
    reader.push(&again.read_until(|all| rows_in(all) >= 20));
    drop(again);
    emulator.stop().unwrap();
    let (told, read) = (bench.readable(), verdicts(&reader));
    // The last rows were read by nobody, or were cut by this test's own reading.
    let last = *read.keys().next_back().unwrap();
    let told: BTreeMap<u64, String> = told.into_iter().filter(|(row, _)| *row <= last).collect();
    assert_eq!(told, read);
}

#[test]
fn a_client_that_was_killed_leaves_no_exclusive_mark() {
    let bench = Bench::new();
    let emulator = bench.start();
    let client = Client::open(emulator.link(), 115_200);
    ioctl_tiocexcl(&client.port).unwrap();
    let beside = rustix::fs::open(emulator.link(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty())
        .unwrap_or_else(|_| {
            // Only root may open it beside the other; anybody else has seen what is to be seen.
            rustix::io::dup(&client.port).unwrap()
        });
    assert!(is_exclusive(&beside));
    drop(client);
    // As the test holds the terminal itself, the emulator does not take the client for gone before this closes, too.
    drop(beside);
    wait_for("the mark to be taken away", || {
        let look = rustix::fs::open(emulator.link(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
        look.is_ok_and(|look| !is_exclusive(&look))
    });
}

#[test]
fn at_the_wrong_rate_both_ways_are_garbage() {
    let bench = Bench::new();
    let emulator = bench.start();
    let client = Client::open(emulator.link(), 115_200);
    client.send("#L,W,3,E,_,1;");
    client.read_until(|all| rows_in(all) >= 3);
    let mut line = tcgetattr(&client.port).unwrap();
    line.set_speed(9600).unwrap();
    tcsetattr(&client.port, OptionalActions::Now, &line).unwrap();
    client.send("\x18#V,R,0;");
    wait_for("rows at the wrong rate", || {
        bench
            .journal()
            .iter()
            .filter(|line| line["reason"] == "wrong-baud")
            .count()
            > 10
    });
    let mut garbage = Vec::new();
    while garbage.len() < 1000 {
        garbage.extend(client.read(DEADLINE).unwrap());
    }
    let garbage = &garbage[garbage.len() - 200..];
    assert!(!garbage.iter().any(|byte| b"#;,".contains(byte)), "{garbage:?}");
    line.set_speed(115_200).unwrap();
    tcsetattr(&client.port, OptionalActions::Now, &line).unwrap();
    // The meter understood nothing, so it streams on.
    let all = client.read_until(|all| rows_in(all) >= 3);
    assert!(!all.windows(2).any(|window| window == b"#v"));
}

#[test]
fn under_every_fault_the_journal_tells_what_a_client_on_a_terminal_has() {
    let mut bench = Bench::new();
    bench.options.faults = FaultPlan::all().with_turn_rows(15);
    bench.options.speed = 200.0;
    let emulator = bench.start();
    println!("seed {}", emulator.seed());
    let mut reader = ReferenceReader::default();
    let rounds = if std::env::var_os("AUTOBENCH_LONG").is_some() {
        40
    } else {
        3
    };
    let until = Instant::now() + Duration::from_secs(20 * rounds);
    let wanted_s = Duration::from_millis(1500 * rounds);
    let begun = Instant::now();
    let mut client: Option<Client> = None;
    let mut last_row = Instant::now();
    let follow = |reader: &mut ReferenceReader, client: &mut Option<Client>, last_row: &mut Instant| {
        let Some(port) = client else {
            if emulator.link().exists() {
                reader.line_border();
                let port = Client::open(emulator.link(), 115_200);
                port.send("\x18#L,W,3,E,_,1;");
                (*client, *last_row) = (Some(port), Instant::now());
            } else {
                std::thread::yield_now();
            }
            return;
        };
        let rows = reader.rows.len();
        match port.read(Duration::from_millis(20)) {
            Some(bytes) => reader.push(&bytes),
            None => *client = None,
        }
        if reader.rows.len() > rows {
            *last_row = Instant::now();
        } else if last_row.elapsed() > Duration::from_millis(150)
            && let Some(port) = client
        {
            // The cable may be pulled at this very moment.
            let _ = rustix::io::write(&port.port, b"#L,W,3,E,_,1;");
            *last_row = Instant::now();
        }
    };
    while begun.elapsed() < wanted_s {
        assert!(Instant::now() < until);
        follow(&mut reader, &mut client, &mut last_row);
    }
    std::thread::scope(|scope| {
        let paused = scope.spawn(|| emulator.pause().unwrap());
        while !paused.is_finished() {
            follow(&mut reader, &mut client, &mut last_row);
        }
    });
    assert_eq!(bench.readable(), verdicts(&reader), "seed {}", emulator.seed());
    assert!(reader.rows.len() > 100, "{}", reader.rows.len());
    for reason in ["cut", "damaged", "silence", "unplugged", "wrong-baud"] {
        if rounds > 3 {
            assert!(
                bench.journal().iter().any(|line| line["reason"] == reason),
                "no row was lost as {reason}"
            );
        }
    }
}

#[test]
fn a_link_replaces_a_link_and_nothing_else_and_is_only_taken_away_while_it_is_ours() {
    let bench = Bench::new();
    let link = bench.options.link.clone();
    std::os::unix::fs::symlink("/nowhere/at/all", &link).unwrap();
    let first = bench.start();
    assert!(link.exists(), "a stale link is replaced");
    let second = bench.start();
    let target: PathBuf = std::fs::read_link(&link).unwrap();
    first.stop().unwrap();
    assert_eq!(
        std::fs::read_link(&link).unwrap(),
        target,
        "the link of the second stays"
    );
    second.stop().unwrap();
    assert!(std::fs::symlink_metadata(&link).is_err());
    std::fs::write(&link, "precious").unwrap();
    let refused = Emulator::start(bench.options.clone()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&link).unwrap(), "precious");
    let left: Vec<_> = std::fs::read_dir(bench.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "only the journal and the file: {left:?}");
}

#[test]
fn each_line_of_the_control_channel_is_answered_with_a_line_when_it_is_done() {
    let bench = Bench::new();
    let emulator = bench.start();
    let lines = "pause\n\nunplug\nreplug\nresume\nfault split:5\nfault nonsense\ndance\nquit\nstats\n";
    let mut answers = Vec::new();
    assert_eq!(
        run_control(&emulator.control(), lines.as_bytes(), &mut answers).unwrap(),
        ControlEnd::Quit
    );
    let answers: Vec<serde_json::Value> = String::from_utf8(answers)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let did: Vec<Option<&str>> = answers.iter().map(|answer| answer["did"].as_str()).collect();
    let expected = [
        Some("pause"),
        Some("unplug"),
        Some("replug"),
        Some("resume"),
        Some("fault split:5"),
        None,
        None,
        Some("quit"),
    ];
    assert_eq!(did, expected);
    assert_eq!(
        (&answers[0]["paused"], &answers[1]["plugged"]),
        (&true.into(), &false.into())
    );
    assert_eq!(
        (&answers[2]["plugged"], &answers[3]["paused"]),
        (&true.into(), &false.into())
    );
    assert!(answers[5]["error"].as_str().unwrap().contains("nonsense"));
    let control = emulator.control();
    emulator.stop().unwrap();
    assert!(
        control.stats().is_err(),
        "a control outlives its emulator and says so"
    );
    assert_eq!(
        run_control(&control, "".as_bytes(), Vec::new()).unwrap(),
        ControlEnd::EndOfInput
    );
}

#[test]
fn a_fault_can_be_chosen_while_it_runs() {
    let bench = Bench::new();
    let emulator = bench.start();
    let client = Client::open(emulator.link(), 115_200);
    client.send("#L,W,3,E,_,1;");
    client.read_until(|all| rows_in(all) >= 3);
    emulator
        .set_faults(FaultPlan::in_turn([Fault::Nuls]).with_percent(100))
        .unwrap();
    client.read_until(|all| all.iter().filter(|byte| **byte == 0).count() > 5);
}

#[test]
fn a_speed_out_of_range_is_refused() {
    for speed in [0.0, -1.0, f64::NAN, 1e9] {
        let options = Options {
            speed,
            ..Bench::new().options
        };
        assert_eq!(
            Emulator::start(options).unwrap_err().kind(),
            std::io::ErrorKind::InvalidInput
        );
    }
}

/// Reads the mark itself: root may open a marked terminal all the same.
fn is_exclusive(terminal: &OwnedFd) -> bool {
    /// `_IOR('T', 0x40, int)`.
    const TIOCGEXCL: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<i32>(b'T', 0x40);
    // SAFETY: the opcode reads one C int, the getter's type.
    let marked: i32 =
        unsafe { rustix::ioctl::ioctl(terminal, rustix::ioctl::Getter::<TIOCGEXCL, i32>::new()) }.unwrap();
    marked != 0
}

/// Waits for something that another thread brings about, with a deadline.
fn wait_for(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::yield_now();
    }
}
