//! The book and the ledger together, over everything that can happen, in any order, with crashes.

use std::collections::BTreeMap;
use std::io;

use proptest::prelude::*;

use super::super::{KEYS_KEPT_MS, Ledger, Storage};
use super::*;
use crate::testing::config;

/// A disk that forgets at a crash what it was not told to keep, and a half of a line here and there.
#[derive(Debug, Default, Clone)]
struct Disk {
    safe: Vec<u8>,
    unsafe_tail: Vec<u8>,
    is_full: bool,
}

impl Disk {
    fn crash(&mut self, kept_tail_bytes: usize) {
        let kept = kept_tail_bytes.min(self.unsafe_tail.len());
        self.safe.extend_from_slice(&self.unsafe_tail[..kept]);
        self.unsafe_tail.clear();
    }
}

impl Storage for &mut Disk {
    fn load(&mut self) -> io::Result<Vec<u8>> {
        Ok([self.safe.as_slice(), &self.unsafe_tail].concat())
    }

    fn append(&mut self, bytes: &[u8], is_durable: bool) -> io::Result<()> {
        if self.is_full {
            self.unsafe_tail.extend_from_slice(&bytes[..bytes.len() / 2]);
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.unsafe_tail.extend_from_slice(bytes);
        if is_durable {
            self.crash(usize::MAX);
        }
        Ok(())
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.safe = bytes.to_vec();
        self.unsafe_tail.clear();
        Ok(())
    }
}

fn at(ms: u64) -> CallTime {
    CallTime {
        monotonic_ns: ms * 1_000_000,
        wall_ms: ms as f64,
    }
}

fn request(device: &str, key: Option<&str>, arguments: u8) -> Request {
    Request {
        device: device.into(),
        name: "on".to_owned(),
        arguments: format!("{{\"a\":{arguments}}}"),
        fingerprint: Fingerprint([arguments; 32]),
        actor: "local".into(),
        key: key.map(str::to_owned),
        deadline_ms: Some(1_000),
    }
}

fn new(admission: Admission) -> (CommandId, Change) {
    match admission {
        Admission::New(command, change) => (command.id.clone(), change),
        Admission::Known(status) => panic!("{status:?}"),
    }
}

#[derive(Debug, Clone)]
enum Op {
    Submit {
        device: usize,
        key: Option<u8>,
        arguments: u8,
    },
    Sent(usize),
    Acknowledge(usize),
    Progress(usize),
    Complete(usize, u8),
    HostEnds(usize),
    Pass(u64),
    Crash {
        kept_tail_bytes: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0_usize..2, proptest::option::of(0_u8..6), 0_u8..2)
            .prop_map(|(device, key, arguments)| Op::Submit { device, key, arguments }),
        4 => any::<usize>().prop_map(Op::Sent),
        3 => any::<usize>().prop_map(Op::Acknowledge),
        2 => any::<usize>().prop_map(Op::Progress),
        3 => (any::<usize>(), 0_u8..4).prop_map(|(at, how)| Op::Complete(at, how)),
        1 => any::<usize>().prop_map(Op::HostEnds),
        3 => (0_u64..700).prop_map(Op::Pass),
        1 => (0_usize..400).prop_map(|kept_tail_bytes| Op::Crash { kept_tail_bytes }),
    ]
}

#[test]
fn a_key_is_done_once_over_crashes_and_every_command_ends_once() {
    let mut runner = proptest::test_runner::TestRunner::new(config(400, 40_000));
    runner
        .run(&proptest::collection::vec(op(), 1..80), |ops| {
            let mut disk = Disk::default();
            let mut run = 0;
            let mut now_ms = 1_000;
            // What was told of each command: by id, over all runs. And the commands whose first byte may have left, by key.
            let mut told: BTreeMap<String, Vec<CommandStatus>> = BTreeMap::new();
            let mut left: BTreeMap<(usize, u8), (String, u8)> = BTreeMap::new();
            let mut remaining = ops.into_iter().peekable();
            while remaining.peek().is_some() {
                run += 1;
                let (mut ledger, restored) = Ledger::open(&mut disk, now_ms).unwrap();
                prop_assert_eq!(restored.damaged_lines, 0);
                let mut book = Book::new(&format!("run{run}"));
                let mut ids: Vec<CommandId> = Vec::new();
                for change in book.restore(restored, now_ms) {
                    prop_assert!(
                        change
                            .status
                            .reason
                            .as_ref()
                            .unwrap()
                            .starts_with("unknown-outcome:")
                    );
                    ledger.write(&[change.line.unwrap()], false, now_ms).unwrap();
                    told.entry(change.status.command_id.clone())
                        .or_default()
                        .push(change.status);
                }
                let mut crashed = None;
                for op in remaining.by_ref() {
                    let pick = |at: usize| ids.get(at.checked_rem(ids.len())?).cloned();
                    let now = at(now_ms);
                    let changes: Vec<Change> = match op {
                        Op::Submit {
                            device,
                            key,
                            arguments,
                        } => {
                            let text = key.map(|key| format!("k{key}"));
                            let wanted = request(["a", "b"][device], text.as_deref(), arguments);
                            let before = key.and_then(|key| left.get(&(device, key)));
                            match book.submit(wanted, now) {
                                Ok(Admission::New(command, change)) => {
                                    prop_assert_eq!(before, None, "a key is done twice");
                                    prop_assert_eq!(change.line.is_some(), key.is_some());
                                    if let (Some(line), Some(key)) = (&change.line, key) {
                                        ledger.write(std::slice::from_ref(line), true, now_ms).unwrap();
                                        left.insert((device, key), (command.id.0.to_string(), arguments));
                                    }
                                    ids.push(command.id.clone());
                                    told.entry(command.id.0.to_string())
                                        .or_default()
                                        .push(change.status);
                                }
                                Ok(Admission::Known(status)) => {
                                    prop_assert_eq!(before, Some(&(status.command_id.clone(), arguments)));
                                    let last = told[&status.command_id].last().unwrap();
                                    // An ending that was told before a crash is taken back below, and may have come to the disk all the same.
                                    let survived = status.status.is_final() && !last.status.is_final();
                                    prop_assert!(survived || status == *last, "{status:?}, {last:?}");
                                }
                                Err(refused) if refused.code == ErrorCode::IdempotencyMismatch => {
                                    prop_assert!(before.is_some_and(|(_, known)| *known != arguments));
                                }
                                Err(refused) => prop_assert_eq!(refused.code, ErrorCode::Busy),
                            }
                            Vec::new()
                        }
                        Op::Sent(at) => pick(at).and_then(|id| book.sent(&id, now)).into_iter().collect(),
                        Op::Acknowledge(at) => pick(at)
                            .and_then(|id| book.reply(&CommandReply::Acknowledge { id }, now))
                            .into_iter()
                            .collect(),
                        Op::Progress(at) => pick(at)
                            .and_then(|id| {
                                let message = now_ms.to_string();
                                book.reply(
                                    &CommandReply::Progress {
                                        id,
                                        message,
                                        share: Some(0.5),
                                    },
                                    now,
                                )
                            })
                            .into_iter()
                            .collect(),
                        Op::Complete(at, how) => pick(at)
                            .and_then(|id| {
                                let outcome = match how {
                                    0 => Outcome::Succeeded(Some(Value::Boolean(true))),
                                    1 => Outcome::Failed("no".to_owned()),
                                    2 => Outcome::Blocked("no".to_owned()),
                                    _ => Outcome::Cancelled,
                                };
                                book.reply(&CommandReply::Complete { id, outcome }, now)
                            })
                            .into_iter()
                            .collect(),
                        Op::HostEnds(at) => pick(at)
                            .and_then(|id| book.end(&id, Ending::Cancelled, "on request", now))
                            .into_iter()
                            .collect(),
                        Op::Pass(ms) => {
                            now_ms += ms;
                            let expired = book.expire(super::tests::at(now_ms));
                            expired.into_iter().map(|(_, _, change)| change).collect()
                        }
                        Op::Crash { kept_tail_bytes } => {
                            crashed = Some(kept_tail_bytes);
                            break;
                        }
                    };
                    for change in changes {
                        if let Some(line) = &change.line {
                            ledger.write(std::slice::from_ref(line), false, now_ms).unwrap();
                        }
                        told.entry(change.status.command_id.clone())
                            .or_default()
                            .push(change.status);
                    }
                    prop_assert!(book.next_deadline_ns().is_none_or(|due| due > now_ms * 1_000_000));
                    for device in ["a", "b"] {
                        let under_way = book.under_way(device).len();
                        prop_assert!(under_way <= COMMANDS);
                        prop_assert_eq!(under_way, book.unfinished.get(device).copied().unwrap_or(0));
                    }
                }
                if let Some(kept_tail_bytes) = crashed {
                    // How a command ended may be lost with the power; then it is failed, and still never done again.
                    for statuses in told.values_mut() {
                        statuses.retain(|status| !status.status.is_final());
                    }
                    disk.crash(kept_tail_bytes);
                } else {
                    for (id, statuses) in &told {
                        let stages: Vec<_> = statuses.iter().map(|status| status.status).collect();
                        prop_assert!(stages.is_sorted(), "{id}: {stages:?}");
                        let finals = stages.iter().filter(|stage| stage.is_final()).count();
                        prop_assert!(finals <= 1, "{id}: {stages:?}");
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_was_under_way_at_a_crash_is_failed_and_not_done_again() {
    let mut disk = Disk::default();
    let (mut ledger, _) = Ledger::open(&mut disk, 0).unwrap();
    let mut book = Book::new("first");
    let (id, change) = new(book.submit(request("relay", Some("k"), 1), at(5)).unwrap());
    ledger.write(&[change.line.unwrap()], true, 5).unwrap();
    assert!(
        book.sent(&id, at(6)).unwrap().line.is_none(),
        "a stage on the way is not written"
    );
    disk.crash(0);

    let (_, restored) = Ledger::open(&mut disk, 7).unwrap();
    let mut book = Book::new("second");
    let changes = book.restore(restored, 7);
    assert_eq!(changes.len(), 1);
    match book.submit(request("relay", Some("k"), 1), at(8)).unwrap() {
        Admission::Known(status) => {
            assert_eq!(
                (status.command_id.as_str(), status.status),
                ("first-1", Stage::Failed)
            );
            assert!(
                status.reason.as_ref().unwrap().starts_with("unknown-outcome:"),
                "{status:?}"
            );
            assert_eq!(book.status("first-1"), Some(status));
        }
        Admission::New(..) => panic!("done again"),
    }
    let mismatch = book.submit(request("relay", Some("k"), 2), at(8)).unwrap_err();
    assert_eq!(mismatch.code, ErrorCode::IdempotencyMismatch);
    assert!(mismatch.message.contains("first-1"), "{mismatch}");
    // Another device, and another actor, have keys of their own.
    new(book.submit(request("other", Some("k"), 2), at(8)).unwrap());
    let other_actor = Request {
        actor: "somebody".into(),
        ..request("relay", Some("k"), 2)
    };
    new(book.submit(other_actor, at(8)).unwrap());
}

#[test]
fn a_key_is_forgotten_after_a_day_and_not_before() {
    let mut disk = Disk::default();
    let (mut ledger, _) = Ledger::open(&mut disk, 0).unwrap();
    let mut book = Book::new("run");
    let (id, change) = new(book.submit(request("relay", Some("k"), 1), at(10)).unwrap());
    ledger.write(&[change.line.unwrap()], true, 10).unwrap();
    let over = book.end(&id, Ending::Cancelled, "on request", at(20)).unwrap();
    ledger.write(&[over.line.unwrap()], false, 20).unwrap();
    let last = 10 + KEYS_KEPT_MS - 1;
    assert!(matches!(
        book.submit(request("relay", Some("k"), 1), at(last)).unwrap(),
        Admission::Known(_)
    ));
    let known = |book: &mut Book, at| book.known(&request("relay", Some("k"), 1), at).unwrap();
    assert!(known(&mut book, at(last)).is_some());
    assert_eq!(
        known(&mut book, at(last + 1)),
        None,
        "whoever asks runs into the checks of a new command"
    );
    new(book.submit(request("relay", Some("k"), 1), at(last + 1)).unwrap());
    assert_eq!(Ledger::open(&mut disk, last).unwrap().1.records.len(), 1);
    assert_eq!(Ledger::open(&mut disk, last + 1).unwrap().1.records.len(), 0);
    assert!(disk.safe.is_empty(), "it is gone from the disk too");
}

#[test]
fn the_sixty_fifth_command_of_a_device_is_refused_until_one_is_over() {
    let mut book = Book::new("run");
    let ids: Vec<_> = (0..COMMANDS)
        .map(|_| new(book.submit(request("relay", None, 0), at(0)).unwrap()).0)
        .collect();
    let refused = book.submit(request("relay", None, 0), at(0)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Busy);
    new(book.submit(request("other", None, 0), at(0)).unwrap());
    let done = CommandReply::Complete {
        id: ids[0].clone(),
        outcome: Outcome::Succeeded(None),
    };
    book.reply(&done, at(1)).unwrap();
    assert_eq!(book.reply(&done, at(1)), None, "over is over");
    new(book.submit(request("relay", None, 0), at(1)).unwrap());
}

#[test]
fn the_ring_forgets_what_is_over_and_never_what_is_under_way() {
    let mut book = Book::new("run");
    let (first, _) = new(book.submit(request("relay", None, 0), at(0)).unwrap());
    for _ in 0..2 * RECENT {
        let (id, _) = new(book.submit(request("relay", None, 0), at(0)).unwrap());
        book.end(&id, Ending::Failed, "no", at(0)).unwrap();
    }
    assert_eq!(book.recent().count(), RECENT);
    assert_eq!(book.recent().next().unwrap().command_id, *first.0);
    assert_eq!(book.status("run-2"), None);
    for nonsense in [
        "",
        "run",
        "run-",
        "run-x",
        "other-1",
        "run-99999999999999999999",
        "run-1 ",
    ] {
        assert_eq!(book.status(nonsense), None, "{nonsense}");
    }
}

#[test]
fn a_deadline_ends_a_command_at_every_stage_and_only_then() {
    let mut book = Book::new("run");
    let (queued, _) = new(book.submit(request("relay", None, 0), at(0)).unwrap());
    let (sent, _) = new(book.submit(request("relay", None, 0), at(1)).unwrap());
    book.sent(&sent, at(2)).unwrap();
    assert_eq!(book.next_deadline_ns(), Some(1_000_000_000));
    assert_eq!(book.expire(at(999)), []);
    let expired = book.expire(at(1_000));
    assert_eq!(expired.len(), 1);
    assert_eq!((&*expired[0].0, &expired[0].1), ("relay", &queued));
    assert_eq!(expired[0].2.status.status, Stage::Expired);
    assert!(
        expired[0]
            .2
            .status
            .reason
            .as_ref()
            .unwrap()
            .starts_with("deadline:")
    );
    assert_eq!(book.expire(at(1_001)).len(), 1);
    assert_eq!(book.next_deadline_ns(), None);
    let late = CommandReply::Complete {
        id: sent.clone(),
        outcome: Outcome::Succeeded(None),
    };
    assert_eq!(
        book.reply(&late, at(1_002)),
        None,
        "what comes later is not heard"
    );
    for deadline_ms in [0, DEADLINE_MAX_MS + 1] {
        let wrong = Request {
            deadline_ms: Some(deadline_ms),
            ..request("relay", None, 0)
        };
        assert_eq!(
            book.submit(wrong, at(0)).unwrap_err().code,
            ErrorCode::BadDeadline
        );
    }
    for key in ["", "a\nb", &"x".repeat(201)] {
        let refused = book.submit(request("relay", Some(key), 0), at(0)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::BadKey);
    }
}

#[test]
fn a_line_that_was_cut_by_a_full_disk_harms_no_other() {
    let mut disk = Disk::default();
    let mut book = Book::new("run");
    let mut line = |key: &str| {
        let (_, change) = new(book.submit(request("relay", Some(key), 1), at(5)).unwrap());
        change.line.unwrap()
    };
    let (before, cut, after) = (line("before"), line("cut"), line("after"));
    let (mut ledger, _) = Ledger::open(&mut disk, 5).unwrap();
    ledger.write(&[before], true, 5).unwrap();
    ledger.storage_mut().is_full = true;
    assert!(ledger.write(&[cut], true, 5).is_err());
    ledger.storage_mut().is_full = false;
    ledger.write(&[after], true, 5).unwrap();
    let (_, restored) = Ledger::open(&mut disk, 5).unwrap();
    let keys: Vec<_> = restored
        .records
        .iter()
        .map(|record| record.key.text.to_string())
        .collect();
    assert_eq!(keys, ["after", "before"]);
    assert_eq!(restored.damaged_lines, 1);
    assert_eq!(
        Ledger::open(&mut disk, 5).unwrap().1.damaged_lines,
        0,
        "it was written anew"
    );
}

#[test]
fn the_file_is_written_anew_before_it_grows_without_end() {
    let mut disk = Disk::default();
    let mut book = Book::new("run");
    let (mut ledger, _) = Ledger::open(&mut disk, 5).unwrap();
    let (_, change) = new(book.submit(request("relay", Some("k"), 1), at(5)).unwrap());
    let line = change.line.unwrap();
    for _ in 0..20_000 {
        ledger.write(std::slice::from_ref(&line), false, 5).unwrap();
    }
    let lines = (&mut disk)
        .load()
        .unwrap()
        .iter()
        .filter(|byte| **byte == b'\n')
        .count();
    assert!(lines < 5_000, "{lines}");
}
