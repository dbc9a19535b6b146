use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::driver::{
    Effects, Event, FaultKind, PortAction, Refusal, Snapshot, StartInput, TimerChange, TimerId,
};
use crate::state::{Operation, Pointer, Value};

const MS: u64 = 1_000_000;
const FIRST: u64 = 1_000;

/// Counts bytes, asks every 7 ms, and traps over a poisoned byte.
#[derive(Debug, Default)]
struct Counter {
    bytes: i64,
    timer_ms: u64,
}

const POISON: u8 = 0xff;

fn counter(timer_ms: u64) -> impl FnMut() -> Result<Counter, Fault> {
    move || Ok(Counter { bytes: 0, timer_ms })
}

impl Counter {
    fn publish(&self, effects: &mut Effects) {
        effects.operations.push(Operation::Set {
            path: Arc::new(Pointer::parse("/bytes").unwrap()),
            value: Value::Integer(self.bytes),
        });
    }

    fn set_timer(&self, time: CallTime, effects: &mut Effects) {
        effects.timers.push(TimerChange::Set {
            id: TimerId(1),
            at_ns: time.monotonic_ns + self.timer_ms * MS,
        });
    }
}

impl Guest for Counter {
    fn start(
        &mut self,
        input: &StartInput,
        time: CallTime,
        effects: &mut Effects,
    ) -> Result<Result<(), Refusal>, Fault> {
        if let Some(snapshot) = &input.snapshot {
            self.bytes = i64::from_le_bytes(snapshot.data[..].try_into().unwrap());
        }
        effects.operations.push(Operation::Set {
            path: Arc::new(Pointer::parse("").unwrap()),
            value: Value::Json(json!({ "bytes": self.bytes })),
        });
        self.set_timer(time, effects);
        Ok(Ok(()))
    }

    fn handle(&mut self, event: &Event<'_>, time: CallTime, effects: &mut Effects) -> Result<(), Fault> {
        match event {
            Event::Bytes { data, .. } if data.contains(&POISON) => {
                return Err(Fault::new(FaultKind::Trap, "handle", "unreachable"));
            }
            Event::Bytes { data, .. } => {
                self.bytes += data.len() as i64;
                self.publish(effects);
            }
            Event::Timer(_) => {
                self.set_timer(time, effects);
                effects
                    .port_actions
                    .push((PORT, PortAction::Write(b"?".to_vec())));
            }
            _ => {}
        }
        Ok(())
    }

    fn snapshot(&mut self, _time: CallTime) -> Result<Snapshot, Fault> {
        Ok(Snapshot {
            schema_version: 1,
            data: self.bytes.to_le_bytes().into(),
            consumed: Vec::new(),
        })
    }

    fn stop(&mut self, _: StopReason, _: CallTime, _: &mut Effects) -> Result<(), Fault> {
        Ok(())
    }
}

fn setup() -> OfflineSetup {
    OfflineSetup {
        device: "meter".into(),
        port: "main".into(),
        settings: "{}".into(),
        series: Vec::new(),
        slice_limit_bytes: 1 << 10,
    }
}

fn at(ms: u64) -> CallTime {
    CallTime {
        monotonic_ns: ms * MS,
        wall_ms: 5_000.0 + ms as f64,
    }
}

fn attached() -> Record {
    let what = What::Attached {
        offset: FIRST,
        identity: Default::default(),
    };
    Record { at: at(10), what }
}

/// Records that follow on one another, each so many milliseconds behind the one before.
fn capture(pieces: &[(u64, Piece)]) -> Vec<Record> {
    let (mut ms, mut next) = (10, FIRST);
    let mut records = vec![attached()];
    for (after_ms, piece) in pieces {
        ms += after_ms;
        let from = next;
        let what = match piece {
            Piece::Bytes(data) => {
                next += data.len() as u64;
                What::Received {
                    offset: from,
                    data: data.clone(),
                }
            }
            Piece::Gap(bytes) => {
                next += bytes;
                What::Overrun {
                    from,
                    to: next,
                    records: 1,
                    reason: "slow".to_owned(),
                }
            }
        };
        records.push(Record { at: at(ms), what });
    }
    records
}

#[derive(Debug, Clone)]
enum Piece {
    Bytes(Vec<u8>),
    Gap(u64),
}

fn piece() -> impl Strategy<Value = (u64, Piece)> {
    let what = prop_oneof![
        6 => prop::collection::vec(0u8..200, 1..9).prop_map(Piece::Bytes),
        1 => (1u64..9).prop_map(Piece::Gap),
    ];
    (0u64..40, what)
}

fn play(records: &[Record], timer_ms: u64) -> Result<(Vec<Json>, Option<Json>), NeverAtRest> {
    let mut bench = OfflineBench::new(setup()).unwrap();
    let mut factory = counter(timer_ms);
    let mut done = Vec::new();
    for record in records {
        let entries = bench.play(record, &mut factory)?;
        done.extend(entries.iter().map(|entry| bench.to_json(entry)));
    }
    let entries = bench.stop();
    done.extend(entries.iter().map(|entry| bench.to_json(entry)));
    Ok((done, bench.slice()))
}

proptest! {
    #[test]
    fn every_byte_comes_in_its_place_and_timers_run_out_at_their_times(
        pieces in prop::collection::vec(piece(), 0..30),
    ) {
        let records = capture(&pieces);
        let (done, slice) = play(&records, 7).unwrap();
        let mut expected_ns = (10 + 7) * MS;
        let mut told = Vec::new();
        let mut last_ns = 0;
        for entry in &done {
            let (call, ns) = (entry["call"].as_str().unwrap(), entry["ns"].as_u64().unwrap());
            prop_assert!(ns >= last_ns, "time goes back: {entry}");
            last_ns = ns;
            if call == "timer 1" {
                prop_assert_eq!(ns, expected_ns);
                prop_assert_eq!(&entry["writes"], &json!([{"port": "main", "text": "?"}]));
                expected_ns += 7 * MS;
            } else if call.starts_with("bytes") || call.starts_with("overrun") {
                told.push((call.to_owned(), ns));
            }
        }
        prop_assert!(expected_ns > records.last().unwrap().at.monotonic_ns, "a timer did not run out");
        let expected: Vec<_> = records[1..].iter().map(|record| {
            let words = match &record.what {
                What::Received { offset, data } => format!("bytes {offset} to {}", offset + data.len() as u64),
                What::Overrun { from, to, .. } => format!("overrun {from} to {to}"),
                other => panic!("{other:?}"),
            };
            (words, record.at.monotonic_ns)
        }).collect();
        prop_assert_eq!(told, expected);
        let received: usize = pieces.iter().map(|(_, piece)| match piece {
            Piece::Bytes(data) => data.len(),
            Piece::Gap(_) => 0,
        }).sum();
        prop_assert_eq!(slice, Some(json!({ "bytes": received })));
        prop_assert_eq!(play(&records, 7).unwrap().0, done, "it is the same each time");
    }
}

#[test]
fn what_breaks_a_driver_down_twice_is_left_out_and_the_rest_goes_on() {
    let records = capture(&[
        (5, Piece::Bytes(vec![1, 2])),
        (5, Piece::Bytes(vec![POISON])),
        (5_000, Piece::Bytes(vec![3])),
    ]);
    let (done, slice) = play(&records, 1_000).unwrap();
    let broke_down = done.iter().filter(|entry| entry["brokeDown"].is_string());
    assert_eq!(broke_down.count(), 2);
    let given_up = done.iter().find(|entry| entry["givenUp"].is_string()).unwrap();
    assert!(
        given_up["givenUp"]
            .as_str()
            .unwrap()
            .starts_with("bytes 1002 to 1003")
    );
    assert_eq!(slice, Some(json!({ "bytes": 3 })));
}

#[test]
fn a_driver_whose_timers_chase_each_other_is_told_and_not_waited_for() {
    let records = capture(&[(5, Piece::Bytes(vec![1]))]);
    assert_eq!(play(&records, 0), Err(NeverAtRest));
}

#[test]
fn an_update_that_the_slice_refuses_is_recorded_with_its_reason() {
    let mut bench = OfflineBench::new(OfflineSetup {
        slice_limit_bytes: 11,
        ..setup()
    })
    .unwrap();
    let mut factory = counter(1_000);
    bench.play(&attached(), &mut factory).unwrap();
    let long = Record {
        at: at(11),
        what: What::Received {
            offset: FIRST,
            data: vec![0; 10_000],
        },
    };
    let entries = bench.play(&long, &mut factory).unwrap();
    let written: Vec<_> = entries.iter().map(|entry| bench.to_json(entry)).collect();
    assert!(
        written[0]["refused"].as_str().unwrap().contains("11"),
        "{written:?}"
    );
    assert_eq!(written[1]["call"], "other update-refused");
    assert_eq!(bench.slice(), Some(json!({ "bytes": 0 })));
}
