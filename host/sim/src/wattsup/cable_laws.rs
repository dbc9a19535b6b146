//! The journal's verdicts against a reader that knows nothing of how the damage was done: it reads the bytes by the rules of the protocol,
//! in chunks of any size, and must hold exactly the rows that the journal calls good or headless.

use super::cable::{Cable, Outgoing};
use super::fault::{Fault, FaultPlan};
use super::journal::{LostReason, Record, Verdict};
use super::meter::{EnergyField, Meter};
use crate::pc::{Pc, PcOptions};
use crate::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Reads rows as a careful driver does.
#[derive(Default)]
pub(super) struct ReferenceReader {
    /// What came since the last `;`, or since the last `#` if that came later.
    text: Vec<u8>,
    pub(super) rows: BTreeMap<u64, (Verdict, u64)>,
}

impl ReferenceReader {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                0 | b'\r' | b'\n' | b'\t' => {}
                b'#' => self.text = vec![b'#'],
                b';' => {
                    let text = std::mem::take(&mut self.text);
                    if let Some((verdict, number, deciwatts)) = row_of(&text) {
                        assert!(
                            self.rows.insert(number, (verdict, deciwatts)).is_none(),
                            "row {number} came twice"
                        );
                    }
                }
                _ => self.text.push(*byte),
            }
        }
    }

    /// A new line: no record spans that border.
    pub(super) fn line_border(&mut self) {
        self.text.clear();
    }
}

fn row_of(text: &[u8]) -> Option<(Verdict, u64, u64)> {
    let text = std::str::from_utf8(text).ok()?;
    let tokens: Vec<&str> = text.split(',').collect();
    let (head, values) = tokens.split_at(tokens.len().checked_sub(18)?);
    let verdict = match head {
        ["#d", "-", "18"] => Verdict::Good,
        ["d" | "", "-", "18"] | ["-", "18"] => Verdict::Headless,
        _ => return None,
    };
    let values: Option<Vec<u64>> = values.iter().map(|value| value.parse().ok()).collect();
    let values = values?;
    Some((verdict, values[3], values[0]))
}

/// A host on the other end: a terminal's buffer, and a reader that takes from it.
struct Host {
    cable: Cable,
    now: Duration,
    random: Random,
    line: Vec<u8>,
    reader: ReferenceReader,
    open: bool,
    plugged: bool,
    records: BTreeMap<u64, Record>,
    /// Rows since the last one that came, as a watchdog counts them.
    quiet_since: Duration,
}

impl Host {
    fn new(faults: FaultPlan, seed: u64) -> Self {
        let meter = Meter::power_on(
            Pc::new(PcOptions::default(), seed),
            EnergyField::RowNumber,
            &mut Vec::new(),
        );
        Self {
            cable: Cable::new(meter, faults, seed),
            now: Duration::ZERO,
            random: Random::new(seed ^ 0x5EED),
            line: Vec::new(),
            reader: ReferenceReader::default(),
            open: false,
            plugged: true,
            records: BTreeMap::new(),
            quiet_since: Duration::ZERO,
        }
    }

    fn open(&mut self) {
        assert!(self.line.is_empty(), "something was sent while nobody was there");
        self.cable.host_came();
        self.reader.line_border();
        self.open = true;
    }

    fn start(&mut self) {
        self.cable.receive(b"\x18#V,R,0;#L,W,3,E,_,1;", self.now);
        self.quiet_since = self.now;
    }

    fn close(&mut self) {
        self.cable.host_gone(std::mem::take(&mut self.line).len() as u64);
        self.open = false;
    }

    /// Lets time pass, in steps that have nothing to do with the rows.
    fn step(&mut self) {
        self.now += Duration::from_millis(self.random.between(1, 1500) as u64);
        self.cable.advance(self.now);
        self.carry();
        if self.random.percent(85) {
            self.read(usize::MAX);
            self.cable.drained();
        } else {
            let part = self.random.between(0, self.line.len());
            self.read(part);
        }
        if self.open && self.now > self.quiet_since + Duration::from_secs(5) {
            self.start();
        }
        self.collect();
    }

    fn carry(&mut self) {
        loop {
            match self.cable.outgoing(self.now) {
                None => return,
                Some(Outgoing::Bytes(bytes)) => {
                    // The line takes what it likes at a time.
                    let count = self.random.between(1, bytes.len());
                    self.line.extend_from_slice(&bytes[..count]);
                    self.cable.sent(count);
                }
                Some(Outgoing::Unplug) => {
                    let unread = if self.random.percent(50) {
                        self.read(usize::MAX);
                        0
                    } else {
                        std::mem::take(&mut self.line).len()
                    };
                    self.cable.unplugged(unread as u64);
                    self.reader.line_border();
                    (self.open, self.plugged) = (false, false);
                }
            }
        }
    }

    fn read(&mut self, most: usize) {
        let before = self.reader.rows.len();
        let mut taken: Vec<u8> = self.line.drain(..most.min(self.line.len())).collect();
        while !taken.is_empty() {
            let rest = taken.split_off(self.random.between(1, taken.len()));
            self.reader.push(&taken);
            taken = rest;
        }
        if self.reader.rows.len() > before {
            self.quiet_since = self.now;
        }
    }

    fn collect(&mut self) {
        for record in self.cable.take_settled() {
            let earlier = self.records.insert(record.row, record);
            assert_eq!(earlier, None, "a row was settled twice");
        }
    }

    fn finish(&mut self) {
        self.cable.finish(std::mem::take(&mut self.line).len() as u64);
        self.collect();
    }
}

fn long() -> bool {
    std::env::var_os("AUTOBENCH_LONG").is_some()
}

/// Runs a host that comes, goes, resends, aborts and reads late, and compares.
fn run(faults: &FaultPlan, seed: u64, rows: u64) -> Host {
    let mut host = Host::new(faults.clone(), seed);
    while host.cable.tally().rows < rows {
        if !host.plugged {
            if host.random.percent(40) {
                host.cable.plugged();
                host.plugged = true;
            }
        } else if !host.open {
            if host.random.percent(50) {
                host.open();
            }
        } else if host.random.below(1000) < 4 {
            host.close();
        } else if host.random.below(1000) < 8 {
            host.start();
        } else if host.random.below(1000) < 3 {
            host.cable.hurry(host.now);
        } else if host.random.below(1000) < 3 {
            let rate = if host.random.percent(50) { 9600 } else { 115_200 };
            host.cable.set_host_rate(rate);
        } else if host.random.below(1000) < 40 {
            host.cable.set_host_rate(115_200);
        }
        host.step();
    }
    host.finish();
    let numbers: Vec<u64> = host.records.keys().copied().collect();
    assert_eq!(
        numbers,
        (1..=host.cable.tally().rows).collect::<Vec<_>>(),
        "seed {seed}: one record per row"
    );
    let told: BTreeMap<u64, (Verdict, u64)> = host
        .records
        .values()
        .filter(|record| record.verdict != Verdict::Lost)
        .map(|record| (record.row, (record.verdict, record.deciwatts)))
        .collect();
    for number in told
        .keys()
        .chain(host.reader.rows.keys())
        .collect::<BTreeSet<_>>()
    {
        let (told, read) = (told.get(number), host.reader.rows.get(number));
        assert_eq!(
            told, read,
            "seed {seed}, row {number}: the journal and the reader differ; {:?}",
            host.records[number]
        );
    }
    for record in host.records.values() {
        assert_eq!(
            record.reason.is_some(),
            record.verdict == Verdict::Lost,
            "seed {seed}: {record:?}"
        );
    }
    let tally = host.cable.tally();
    assert_eq!(
        tally.good + tally.headless + tally.lost,
        tally.rows,
        "seed {seed}"
    );
    host
}

#[test]
fn a_careful_reader_holds_exactly_the_good_and_headless_rows_under_every_fault_in_turn() {
    let (seeds, rows) = if long() { (0..200, 20_000) } else { (0..4, 6_000) };
    for seed in seeds {
        let percent = [100, 50, 20, 75][seed as usize % 4];
        println!("seed {seed}");
        let host = run(
            &FaultPlan::all()
                .with_turn_rows(11 + seed % 30)
                .with_percent(percent),
            seed,
            rows,
        );
        let reasons: BTreeSet<String> = host
            .records
            .values()
            .filter_map(|record| record.reason)
            .map(|reason| format!("{reason:?}"))
            .collect();
        for reason in [
            LostReason::Unplugged,
            LostReason::NobodyThere,
            LostReason::Unheard,
            LostReason::Silence,
            LostReason::Damaged,
            LostReason::WrongBaud,
            LostReason::Cut,
            LostReason::Unread,
        ] {
            assert!(
                reasons.contains(&format!("{reason:?}")),
                "seed {seed}: no row was lost as {reason:?}"
            );
        }
        for fault in Fault::ALL {
            assert!(
                host.records.values().any(|record| record.fault == Some(fault)),
                "seed {seed}: no {fault}"
            );
        }
        assert!(
            host.cable.tally().headless > rows / 200,
            "seed {seed}: {:?}",
            host.cable.tally()
        );
        assert!(
            host.cable.tally().good > rows / 3,
            "seed {seed}: {:?}",
            host.cable.tally()
        );
    }
}

#[test]
fn a_careful_reader_holds_exactly_the_good_and_headless_rows_under_each_fault_alone_and_under_pairs() {
    let rows = if long() { 5_000 } else { 400 };
    for (index, first) in Fault::ALL.into_iter().enumerate() {
        for (other, second) in Fault::ALL.into_iter().enumerate() {
            let plan = FaultPlan::in_turn([first, second])
                .with_turn_rows(2)
                .with_percent(80);
            run(&plan, (index * 8 + other) as u64, rows);
        }
        run(
            &FaultPlan::in_turn([first]).with_turn_rows(9).with_percent(100),
            index as u64,
            rows,
        );
    }
}

/// A host that does everything right: opens, starts, reads at once.
fn quiet_run(faults: FaultPlan, seed: u64, rows: u64) -> Host {
    let mut host = Host::new(faults, seed);
    host.open();
    host.start();
    while host.cable.tally().rows < rows {
        host.now += Duration::from_millis(100);
        host.cable.advance(host.now);
        host.carry();
        host.read(usize::MAX);
        host.cable.drained();
    }
    host.cable.hurry(host.now);
    host.carry();
    host.read(usize::MAX);
    host.cable.drained();
    host.finish();
    host
}

#[test]
fn a_good_cable_changes_nothing() {
    let host = quiet_run(FaultPlan::none(), 5, 500);
    let tally = host.cable.tally();
    assert_eq!((tally.good, tally.headless, tally.lost), (500, 0, 0));
    assert!(
        host.records
            .values()
            .all(|record| !record.altered && record.fault.is_none())
    );
    assert_eq!(host.reader.rows.len(), 500);
}

#[test]
fn faults_that_only_move_bytes_lose_nothing_and_alter_nothing() {
    let host = quiet_run(FaultPlan::in_turn([Fault::Split]).with_percent(100), 6, 500);
    assert_eq!(host.cable.tally().good, 500);
    assert!(
        host.records
            .values()
            .all(|record| !record.altered && record.fault == Some(Fault::Split))
    );
}

#[test]
fn nuls_lose_nothing_and_headless_rows_are_all_there() {
    let host = quiet_run(FaultPlan::in_turn([Fault::Nuls]).with_percent(100), 7, 500);
    assert_eq!(host.cable.tally().good, 500);
    assert!(
        host.records.values().any(|record| record.altered)
            && host.records.values().any(|record| !record.altered)
    );
    let host = quiet_run(FaultPlan::in_turn([Fault::Headless]).with_percent(100), 8, 500);
    assert_eq!(host.cable.tally().headless, 500);
}

#[test]
fn junk_between_rows_costs_no_row_that_is_not_damaged_itself() {
    let host = quiet_run(FaultPlan::in_turn([Fault::Garbage]).with_percent(100), 9, 2_000);
    let damaged = host
        .records
        .values()
        .filter(|record| record.reason == Some(LostReason::Damaged))
        .count();
    assert_eq!(host.reader.rows.len() + damaged, 2_000);
    assert!((500..900).contains(&damaged), "{damaged} of 2000");
}

#[test]
fn a_silence_lasts_until_the_host_asks_for_rows() {
    let mut host = Host::new(FaultPlan::in_turn([Fault::Silence]).with_turn_rows(1000), 10);
    host.open();
    host.start();
    for _ in 0..30 {
        host.now += Duration::from_secs(1);
        host.cable.advance(host.now);
        host.carry();
    }
    host.line.clear();
    // An answer, but no start.
    host.cable.receive(b"#V,R,0;", host.now);
    host.carry();
    assert_eq!(host.line, b"#v,-,8,1,65206,5,2,4,41,200612212301,0;");
    host.now += Duration::from_secs(5);
    host.cable.advance(host.now);
    host.collect();
    assert_eq!(host.records.len(), 35);
    assert!(
        host.records
            .values()
            .all(|record| record.reason == Some(LostReason::Silence))
    );
    host.start();
    host.now += Duration::from_secs(3);
    host.cable.advance(host.now);
    host.carry();
    host.read(usize::MAX);
    assert_eq!(host.reader.rows.len(), 3);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let bytes = |seed| {
        let mut host = Host::new(FaultPlan::all(), seed);
        let mut all = Vec::new();
        host.open();
        host.start();
        for _ in 0..300 {
            host.now += Duration::from_secs(1);
            host.cable.advance(host.now);
            host.carry();
            all.append(&mut host.line);
            host.cable.drained();
            if !host.plugged {
                host.plugged = true;
                host.cable.plugged();
                host.open();
                host.start();
            }
        }
        all
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}

#[test]
fn a_host_that_stops_reading_loses_whole_rows_as_an_overrun_and_none_in_part() {
    let mut host = Host::new(FaultPlan::none(), 11);
    host.open();
    host.start();
    for _ in 0..400 {
        host.now += Duration::from_secs(1);
        host.cable.advance(host.now);
    }
    host.carry();
    host.read(usize::MAX);
    host.cable.drained();
    host.collect();
    let overrun = host
        .records
        .values()
        .filter(|record| record.reason == Some(LostReason::Overrun))
        .count();
    assert!(overrun > 50, "{overrun}");
    assert_eq!(host.reader.rows.len() + overrun, 400);
}
