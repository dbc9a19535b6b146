//! Single cases: what is no difference, where in the bytes a difference has its place, and what a run of no bytes comes to.

use super::*;

#[test]
fn how_a_write_is_cut_and_how_series_are_numbered_is_no_difference() {
    let life = Life::new(1, 1 << 10);
    let origin = life.cell.shadow_origin(life.now).unwrap();
    let place = || two_bytes(&life);
    let mut comparison = Comparison::new(
        vec!["watts".to_owned(), "volts".to_owned()],
        vec!["volts".to_owned(), "watts".to_owned()],
        vec!["main".into()],
    );
    let mut lanes = [(); 2].map(|()| Lane::new(Planted::new(Plant::Nothing), &origin));
    let write = |data: &[u8]| (PortIndex(0), PortAction::Write(data.to_vec()));
    let sample = |value| crate::driver::Sample {
        timestamp_ms: 1.0,
        value,
    };
    let [running, candidate] = &mut lanes;
    running.asked.port_actions.extend([write(b"abc")]);
    candidate.asked.port_actions.extend([write(b"a"), write(b"bc")]);
    running
        .asked
        .samples
        .extend([(0, sample(96.5)), (1, sample(120.0))]);
    candidate
        .asked
        .samples
        .extend([(0, sample(120.0)), (1, sample(96.5))]);
    comparison.row(running, candidate, (Ok(()), Ok(())), place());
    assert_eq!(comparison.progress(), Progress::GoesOn);
    running.asked.port_actions.extend([write(b"abc")]);
    candidate.asked.port_actions.extend([write(b"ab")]);
    comparison.row(running, candidate, (Ok(()), Ok(())), place());
    let report = comparison.into_report();
    assert_eq!(report.differences.len(), 1, "{report:#?}");
    assert_eq!(
        report.differences[0].running,
        Some(written::port_action("main", &write(b"abc").1))
    );
    assert_eq!(report.end, Some(End::DivergedInWrites { offset: 0 }));
}

fn two_bytes(life: &Life) -> Place {
    Place {
        told: "bytes 0 to 2".to_owned(),
        offset: 0,
        time: life.now,
        bytes: b"ab".to_vec(),
        told_bytes: 2,
    }
}

#[test]
fn a_lease_is_given_back_at_its_place_among_the_bytes_however_they_are_cut() {
    let life = Life::new(1, 1 << 10);
    let origin = life.cell.shadow_origin(life.now).unwrap();
    let write = |data: &[u8]| (PortIndex(0), PortAction::Write(data.to_vec()));
    let release = |actions_before| LeaseChange::Release {
        id: LeaseId(1),
        actions_before,
    };
    let compared = |candidate_writes: &[&[u8]], candidate_release: usize| {
        let mut comparison = Comparison::new(Vec::new(), Vec::new(), vec!["main".into()]);
        let [mut running, mut candidate] = [(); 2].map(|()| Lane::new(Planted::new(Plant::Nothing), &origin));
        running.asked.port_actions.extend([write(b"abc"), write(b"de")]);
        running.asked.leases.push(release(1));
        let writes = candidate_writes.iter().map(|data| write(data));
        candidate.asked.port_actions.extend(writes);
        candidate.asked.leases.push(release(candidate_release));
        comparison.row(&mut running, &mut candidate, (Ok(()), Ok(())), two_bytes(&life));
        comparison.into_report()
    };
    for (writes, before) in [
        (&[&b"abc"[..], b"de"][..], 1),
        (&[b"ab", b"c", b"de"], 2),
        (&[b"a", b"b", b"c", b"d", b"e"], 3),
    ] {
        let report = compared(writes, before);
        assert!(report.is_equal(), "{report:#?}");
    }
    let report = compared(&[b"abcd", b"e"], 1);
    assert_eq!(report.end, Some(End::DivergedInWrites { offset: 0 }));
    let [difference] = &report.differences[..] else {
        panic!("{report:#?}")
    };
    assert_eq!(difference.differing, Differing::Lease(0));
    assert_eq!(difference.running, Some(json!({"release": 1, "after": 3})));
    assert_eq!(difference.candidate, Some(json!({"release": 1, "after": 4})));
}

/// Holds something over a timer and lets it go over bytes, so that both calls are one row.
#[derive(Debug)]
struct Holding {
    cuts: bool,
}

impl Guest for Holding {
    fn start(
        &mut self,
        _: &StartInput,
        time: CallTime,
        effects: &mut Effects,
    ) -> Result<Result<(), Refusal>, Fault> {
        effects.timers.push(crate::driver::TimerChange::Set {
            id: TimerId(900),
            at_ns: time.monotonic_ns,
        });
        Ok(Ok(()))
    }

    fn handle(&mut self, event: &Event<'_>, _: CallTime, effects: &mut Effects) -> Result<(), Fault> {
        let mut write = |data: &[u8]| {
            let action = PortAction::Write(data.to_vec());
            effects.port_actions.push((PortIndex(0), action));
        };
        match (event, self.cuts) {
            (Event::Timer(TimerId(900)), true) => {
                write(b"t");
                write(b"u");
            }
            (Event::Timer(TimerId(900)), false) => write(b"tu"),
            (Event::Bytes { .. }, _) => {
                write(b"v");
                effects.leases.push(LeaseChange::Release {
                    id: LeaseId(1),
                    actions_before: 1,
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn snapshot(&mut self, _: CallTime) -> Result<Snapshot, Fault> {
        unreachable!("a lane takes none")
    }

    fn stop(&mut self, _: StopReason, _: CallTime, _: &mut Effects) -> Result<(), Fault> {
        Ok(())
    }
}

#[test]
fn a_lease_has_its_place_also_behind_what_a_timer_of_the_same_row_wrote() {
    let life = Life::new(1, 1 << 10);
    let origin = life.cell.shadow_origin(life.now).unwrap();
    let versions = [false, true].map(|cuts| Version {
        guest: Holding { cuts },
        series: Vec::new(),
    });
    let [running, candidate] = versions;
    let mut run = ShadowRun::start(origin, life.inbox.clone(), running, candidate);
    tell_bytes(&mut run, &life, b"abc\n", false);
    let report = run.finish(life.now);
    assert!(report.is_equal(), "{report:#?}");
}

/// Gives each line as a sample; one that misreads loses the first of three digits.
#[derive(Debug, Default)]
struct Reader {
    line: Vec<u8>,
    misreads: bool,
}

impl Guest for Reader {
    fn start(&mut self, _: &StartInput, _: CallTime, _: &mut Effects) -> Result<Result<(), Refusal>, Fault> {
        Ok(Ok(()))
    }

    fn handle(&mut self, event: &Event<'_>, _: CallTime, effects: &mut Effects) -> Result<(), Fault> {
        let Event::Bytes { data, .. } = event else {
            return Ok(());
        };
        for byte in *data {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = String::from_utf8(std::mem::take(&mut self.line)).unwrap();
            let read = match self.misreads && line.find('.') == Some(3) {
                true => &line[1..],
                false => &line[..],
            };
            let sample = crate::driver::Sample {
                timestamp_ms: 1.0,
                value: read.parse().unwrap_or_default(),
            };
            effects.samples.push((0, sample));
        }
        Ok(())
    }

    fn snapshot(&mut self, _: CallTime) -> Result<Snapshot, Fault> {
        unreachable!("a lane takes none")
    }

    fn stop(&mut self, _: StopReason, _: CallTime, _: &mut Effects) -> Result<(), Fault> {
        Ok(())
    }
}

/// One piece of bytes on the first port, and one call of the live driver with it.
fn tell_bytes<G: Guest>(run: &mut ShadowRun<G>, life: &Life, data: &[u8], refused: bool) {
    let port = PortIndex(0);
    life.inbox.push_bytes(port, data, life.now);
    let from = run.offset;
    let told = Told::Bytes {
        port,
        from,
        to: from + data.len() as u64,
    };
    run.tell(&Tapped {
        told,
        time: life.now,
        refused,
    });
}

fn run_of_readers(life: &Life) -> ShadowRun<Reader> {
    let origin = life.cell.shadow_origin(life.now).unwrap();
    let [running, candidate] = [false, true].map(|misreads| Version {
        guest: Reader {
            misreads,
            ..Reader::default()
        },
        series: vec!["line".to_owned()],
    });
    ShadowRun::start(origin, life.inbox.clone(), running, candidate)
}

#[test]
fn a_difference_names_its_line_however_the_bytes_came() {
    let life = Life::new(1, 1 << 16);
    let mut run = run_of_readers(&life);
    // Lines in one piece, a line in two, one in single bytes, and one behind bytes that are no text.
    tell_bytes(&mut run, &life, b"10.5\n123.5\n11.5\n12", false);
    tell_bytes(&mut run, &life, b"4.5\n12.5\n", false);
    for byte in b"125.5\n" {
        tell_bytes(&mut run, &life, &[*byte], false);
    }
    tell_bytes(&mut run, &life, b"\x02\n\x03", false);
    tell_bytes(&mut run, &life, b"\n126.5\n", false);
    let report = run.finish(life.now);
    let found: Vec<_> = report
        .differences
        .iter()
        .map(|difference| {
            let text = String::from_utf8_lossy(&difference.bytes).into_owned();
            (difference.offset, text, difference.told.as_str())
        })
        .collect();
    assert_eq!(
        found,
        [
            (5, "123.5\n".to_owned(), "bytes 5 to 11"),
            (16, "124.5\n".to_owned(), "bytes 18 to 22"),
            (27, "125.5\n".to_owned(), "bytes 32 to 33"),
            (37, "126.5\n".to_owned(), "bytes 37 to 43"),
        ]
    );
    assert_eq!((report.bytes, report.end), (43, None));
    assert!(
        report
            .differences
            .iter()
            .all(|difference| difference.differing == Differing::Sample("line".to_owned(), 0))
    );
}

#[test]
fn what_has_no_line_ends_is_cut_at_a_bound_and_a_refused_call_not_at_all() {
    let life = Life::new(1, 1 << 16);
    let mut run = run_of_readers(&life);
    tell_bytes(&mut run, &life, &[b'1'; 600], false);
    tell_bytes(&mut run, &life, b"\n", false);
    let rows = run.comparison.report().rows;
    assert_eq!(rows, 5, "the start, three pieces, and the line's end");
    tell_bytes(&mut run, &life, b"10.5\n123.5\n124.5\n", true);
    let report = run.finish(life.now);
    let found: Vec<_> = report
        .differences
        .iter()
        .map(|difference| (difference.row, difference.offset))
        .collect();
    assert_eq!(found, [(5, 601), (5, 601)]);
}

#[test]
fn a_run_in_which_no_bytes_came_has_compared_nothing() {
    let life = Life::new(1, 1 << 10);
    let report = run_of_readers(&life).finish(life.now);
    assert!(!report.is_equal() && report.differences.is_empty(), "{report:#?}");
    assert_eq!(report.end, Some(End::NothingCompared));
}
