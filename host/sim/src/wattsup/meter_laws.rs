//! The table of commands, line by line, against the documented replies; the modes; the memory.

use super::meter::{EnergyField, FIELDS, Meter, Output, Row};
use crate::pc::{Pc, PcOptions};
use std::time::Duration;

const VERSION: &str = "#v,-,8,1,65206,5,2,4,41,200612212301,0;";
const BANNER: &str = "EED05F01 $Revision: 4.41 $ 200612212301 60Hz 120V\r\n";

struct Bench {
    meter: Meter,
    now: Duration,
}

impl Bench {
    fn new() -> Self {
        Self::with(EnergyField::RowNumber)
    }

    fn with(energy_field: EnergyField) -> Self {
        let pc = Pc::new(PcOptions::default(), 42);
        Self {
            meter: Meter::power_on(pc, energy_field, &mut Vec::new()),
            now: Duration::ZERO,
        }
    }

    fn send(&mut self, command: &str) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.meter.receive(command.as_bytes(), self.now, &mut outputs);
        outputs
    }

    /// The one answer to a command, as text; empty if it has none.
    fn ask(&mut self, command: &str) -> String {
        texts(&self.send(command)).concat()
    }

    fn pass(&mut self, seconds: f64) -> Vec<Output> {
        self.now += Duration::from_secs_f64(seconds);
        let mut outputs = Vec::new();
        self.meter.advance(self.now, &mut outputs);
        outputs
    }
}

fn texts(outputs: &[Output]) -> Vec<String> {
    let text = |output: &Output| match output {
        Output::Bytes(bytes) => Some(String::from_utf8(bytes.clone()).unwrap()),
        _ => None,
    };
    outputs.iter().filter_map(text).collect()
}

fn rows(outputs: &[Output]) -> Vec<&Row> {
    outputs
        .iter()
        .filter_map(|output| {
            if let Output::Row(row) = output {
                Some(row)
            } else {
                None
            }
        })
        .collect()
}

fn values(text: &str) -> Vec<Option<u64>> {
    let body = text
        .strip_prefix("#d,-,18,")
        .unwrap()
        .strip_suffix(";\r\n")
        .unwrap();
    body.split(',')
        .map(|value| {
            if value == "_" {
                None
            } else {
                Some(value.parse().unwrap())
            }
        })
        .collect()
}

#[test]
fn the_banner_comes_with_power_and_with_nothing_else() {
    let mut outputs = Vec::new();
    let mut meter = Meter::power_on(
        Pc::new(PcOptions::default(), 1),
        EnergyField::Energy,
        &mut outputs,
    );
    assert_eq!(texts(&outputs), vec![BANNER]);
    outputs.clear();
    meter.advance(Duration::from_secs(100), &mut outputs);
    assert_eq!(outputs, vec![]);
}

#[test]
fn requests_that_change_nothing_are_answered_as_documented() {
    let mut bench = Bench::new();
    let calibration = "0,3690,0,0,0,0,252,919,252,919,1,252,919,0,100,0,1234,100,0,0,0,0,0";
    for (command, reply) in [
        ("#V,R,0;", VERSION.to_owned()),
        (
            "#H,R,0;",
            "#h,-,18,W,V,A,WH,Cost,WH/Mo,Cost/Mo,Wmax,Vmax,Amax,Wmin,Vmin,Amin,PF,DC,PC,Hz,VA;".to_owned(),
        ),
        ("#S,R,0;", "#s,-,3,_,1,1;".to_owned()),
        (
            "#C,R,0;",
            "#c,-,18,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1;".to_owned(),
        ),
        ("#O,R,0;", "#o,-,1,1;".to_owned()),
        ("#N,R,0;", "#n,-,1,1630;".to_owned()),
        ("#U,R,0;", "#u,-,3,80,100,0;".to_owned()),
        ("#F,R,0;", format!("#f,-,48,13,0,{calibration},{calibration};")),
    ] {
        assert_eq!(bench.ask(command), reply, "{command}");
    }
}

#[test]
fn what_is_well_formed_and_unknown_is_answered_with_the_version_and_what_is_malformed_with_nothing() {
    let mut bench = Bench::new();
    for command in [
        "#X,R,0;",
        "#L,W,0;",
        "#L,W,3,E,_,0;",
        "#L,W,3,Q,_,1;",
        "#O,W,1,7;",
        "#U,W,3,1,2,9;",
        "#V,Q,0;",
    ] {
        assert_eq!(bench.ask(command), VERSION, "{command}");
    }
    for command in ["#V,3;", "V,R,0;", "#V,R,1;", "#;", "\r\n"] {
        assert_eq!(bench.send(command), vec![], "{command}");
    }
}

#[test]
fn external_logging_sends_a_row_every_interval_whatever_the_reserved_argument_is() {
    for reserved in ["_", "", "0", "1", "-"] {
        let mut bench = Bench::new();
        assert_eq!(
            bench.send(&format!("#L,W,3,E,{reserved},2;")),
            vec![Output::Started]
        );
        assert_eq!(bench.pass(1.9), vec![], "{reserved}: too early");
        let outputs = bench.pass(8.1);
        let rows = rows(&outputs);
        assert_eq!(
            rows.iter().map(|row| row.number).collect::<Vec<_>>(),
            vec![1, 2, 3, 4, 5],
            "{reserved}"
        );
        assert_eq!(
            rows.iter().map(|row| row.at.as_secs()).collect::<Vec<_>>(),
            vec![2, 4, 6, 8, 10]
        );
        assert_eq!(bench.ask("#S,R,0;"), "#s,-,3,_,2,2;");
    }
}

#[test]
fn a_row_says_what_the_pc_draws_in_the_units_of_the_meter() {
    let mut bench = Bench::with(EnergyField::Energy);
    bench.send("#L,W,3,E,_,1;");
    let outputs = bench.pass(60.0);
    let pc = Pc::new(PcOptions::default(), 42);
    for row in rows(&outputs) {
        let draw = pc.draw(row.at);
        let values: Vec<f64> = values(&row.text)
            .into_iter()
            .map(|value| value.unwrap() as f64)
            .collect();
        assert_eq!(values.len(), FIELDS);
        for (name, value, unit, truth) in [
            ("W", values[0], 0.1, draw.watts),
            ("V", values[1], 0.1, draw.volts),
            ("A", values[2], 0.001, draw.amps),
            ("PF", values[13], 0.01, draw.power_factor),
            ("Hz", values[16], 0.1, draw.hertz),
            ("VA", values[17], 0.1, draw.volt_amperes),
        ] {
            assert!(
                (value * unit - truth).abs() <= unit * 0.501,
                "{name}: {value} for {truth}"
            );
        }
        assert!(
            values[7] >= values[0] && values[0] >= values[10],
            "max, now and min of watts: {values:?}"
        );
    }
    // A minute at some 60 to 90 W, counted in tenths of watt-hours.
    let energy = values(&rows(&outputs).last().unwrap().text)[3].unwrap();
    assert!((6..=17).contains(&energy), "{energy}");
}

#[test]
fn row_numbers_count_up_by_one_over_stops_restarts_and_clears() {
    let mut bench = Bench::new();
    let mut numbers = Vec::new();
    for interruption in [
        "#L,R,0;",
        "\x18",
        "#V,W,0;",
        "#R,W,0;",
        "#L,W,3,I,_,1;",
        "#C,W,1,1;",
    ] {
        bench.send("#L,W,3,E,_,1;");
        for row in rows(&bench.pass(3.5)) {
            assert_eq!(
                values(&row.text)[3],
                Some(row.number),
                "the Wh field carries the number"
            );
            numbers.push(row.number);
        }
        bench.send(interruption);
        bench.pass(1.0);
    }
    assert!(numbers.len() >= 18);
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
}

#[test]
fn internal_logging_is_answered_clears_the_memory_and_ends_the_rows() {
    let mut bench = Bench::new();
    bench.pass(5.0);
    bench.send("#L,W,3,E,_,1;");
    assert_eq!(rows(&bench.pass(3.0)).len(), 3);
    assert_eq!(bench.ask("#L,W,3,I,_,4;"), "#s,-,3,_,4,1;");
    assert_eq!(bench.pass(9.0), vec![]);
    assert_eq!(bench.ask("#D,R,0;"), "#n,-,3,_,4,2;");
}

#[test]
fn reading_the_log_mode_answers_once_and_ends_external_logging() {
    let mut bench = Bench::new();
    bench.send("#L,W,3,E,_,1;");
    bench.pass(2.0);
    assert_eq!(bench.ask("#L,R,0;"), "#l,-,2,2,1;");
    assert_eq!(bench.pass(5.0), vec![]);
    assert_eq!(bench.ask("#S,R,0;"), "#s,-,3,_,1,1;");
}

#[test]
fn a_dump_is_a_preamble_the_records_and_an_end() {
    let mut bench = Bench::new();
    bench.pass(7.0);
    assert_eq!(bench.ask("#D,R,0;"), "#n,-,3,_,1,7;");
    let outputs = bench.pass(0.9);
    let texts = texts(&outputs);
    assert_eq!(texts.len(), 8);
    assert!(texts[..7].iter().all(|text| values(text).len() == FIELDS));
    assert_eq!(texts[7], "#l,-,2,_,1;");
    assert!(
        rows(&outputs).is_empty(),
        "stored records are no rows of external logging"
    );
}

#[test]
fn a_dump_takes_the_time_of_the_line_and_a_control_x_ends_it() {
    let mut bench = Bench::new();
    bench.pass(100.0);
    bench.ask("#D,R,0;");
    let first = texts(&bench.pass(0.05)).concat();
    let line_bytes = 0.05 * 11_520.0;
    assert!(
        (first.len() as f64 - line_bytes).abs() < 150.0,
        "{} bytes in 50 ms",
        first.len()
    );
    assert_eq!(bench.send("\x18"), vec![Output::Aborted]);
    assert_eq!(bench.pass(0.5), vec![]);
}

#[test]
fn a_control_x_ends_the_rows() {
    let mut bench = Bench::new();
    bench.send("#L,W,3,E,_,1;");
    bench.pass(2.0);
    assert_eq!(bench.send("\x18"), vec![Output::Aborted]);
    assert_eq!(bench.pass(5.0), vec![]);
    assert_eq!(bench.ask("\x18#V,R,0;"), VERSION, "it still answers");
}

#[test]
fn a_soft_restart_is_deaf_for_a_moment_then_shows_its_banner_and_keeps_its_settings() {
    let mut bench = Bench::new();
    bench.ask("#U,W,3,120,7,1;");
    bench.send("#L,W,3,E,_,1;");
    assert_eq!(bench.send("#V,W,0;"), vec![Output::Aborted]);
    assert_eq!(bench.send("#V,R,0;"), vec![], "deaf");
    assert_eq!(texts(&bench.pass(0.5)), vec![BANNER]);
    assert_eq!(bench.pass(3.0), vec![], "the rows ended");
    assert_eq!(bench.ask("#U,R,0;"), "#u,-,3,120,7,1;");
}

#[test]
fn fields_that_are_not_chosen_come_back_absent_and_leave_room_for_more_records() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.ask("#C,W,18,1,1,1,0,0,0,0,0,0,0,0,0,0,1,0,0,0,0;"),
        "#n,-,1,9315;"
    );
    assert_eq!(
        bench.ask("#C,R,0;"),
        "#c,-,18,1,1,1,0,0,0,0,0,0,0,0,0,0,1,0,0,0,0;"
    );
    assert_eq!(bench.ask("#N,R,0;"), "#n,-,1,9315;");
    bench.send("#L,W,3,E,_,1;");
    let outputs = bench.pass(1.0);
    let values = values(&rows(&outputs)[0].text);
    let present: Vec<usize> = (0..FIELDS).filter(|index| values[*index].is_some()).collect();
    assert_eq!(present, vec![0, 1, 2, 13]);
}

#[test]
fn every_write_that_clears_the_memory_does() {
    for command in [
        "#R,W,0;",
        "#S,W,2,_,1;",
        "#C,W,1,1;",
        "#O,W,1,1;",
        "#L,W,3,I,_,1;",
    ] {
        let mut bench = Bench::new();
        bench.pass(5.0);
        bench.send(command);
        assert_eq!(bench.ask("#D,R,0;"), "#n,-,3,_,1,0;", "{command}");
    }
    assert_eq!(Bench::new().send("#R,W,0;"), vec![], "a clear has no answer");
    assert_eq!(Bench::new().ask("#S,W,2,_,5;"), "#s,-,3,_,5,1;");
}

#[test]
fn a_full_memory_stops_wraps_or_condenses() {
    let full_s = 1630.0;
    let mut bench = Bench::new();
    assert_eq!(bench.ask("#O,W,1,0;"), "#o,-,1,0;");
    bench.pass(full_s + 100.0);
    assert_eq!(bench.ask("#S,R,0;"), "#s,-,3,_,1,0;", "suspended");
    assert_eq!(bench.ask("#D,R,0;"), "#n,-,3,_,1,1630;");

    let mut bench = Bench::new();
    assert_eq!(bench.ask("#O,W,1,1;"), "#o,-,1,1;");
    bench.pass(full_s + 100.0);
    assert_eq!(bench.ask("#S,R,0;"), "#s,-,3,_,1,1;");
    assert_eq!(bench.ask("#D,R,0;"), "#n,-,3,_,1,1630;");

    let mut bench = Bench::new();
    assert_eq!(bench.ask("#O,W,1,2;"), "#o,-,1,2;");
    bench.pass(full_s + 1.0);
    assert_eq!(
        bench.ask("#D,R,0;"),
        "#n,-,3,_,2,816;",
        "half the records, twice the interval"
    );
    bench.send("#R,W,0;");
    assert_eq!(
        bench.ask("#S,R,0;"),
        "#s,-,3,_,1,1;",
        "a clear begins at one second again"
    );
}

#[test]
fn the_way_in_which_commands_are_cut_does_not_matter() {
    let commands = "#V,R,0;\r\nxx#H,R,0;#L,W,3,E,,1;#S,R,0;#V,3;#Q,Q,0;";
    let whole = Bench::new().send(commands);
    for cut in 1..commands.len() {
        let mut bench = Bench::new();
        let (front, back) = commands.split_at(cut);
        let mut outputs = bench.send(front);
        outputs.extend(bench.send(back));
        assert_eq!(outputs, whole, "cut at {cut}");
    }
}
