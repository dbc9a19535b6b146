use super::*;
use crate::driver::*;
use crate::state::Value;
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// What a version does when it starts, and over each event.
#[derive(Clone, Copy)]
struct Version {
    start: fn(&mut Effects),
    handle: fn(&Event<'_>, &mut Effects),
}

const CALM: Version = Version {
    start: |_| (),
    handle: |_, _| (),
};

impl Guest for Version {
    fn start(
        &mut self,
        input: &StartInput,
        _: CallTime,
        effects: &mut Effects,
    ) -> Result<Result<(), Refusal>, Fault> {
        if input.snapshot.is_none() {
            let path = Arc::new(crate::state::Pointer::parse("").unwrap());
            effects.operations.push(crate::state::Operation::Set {
                path,
                value: Value::Json(json!({})),
            });
        }
        (self.start)(effects);
        Ok(Ok(()))
    }

    fn handle(&mut self, event: &Event<'_>, _: CallTime, effects: &mut Effects) -> Result<(), Fault> {
        (self.handle)(event, effects);
        Ok(())
    }

    fn snapshot(&mut self, _: CallTime) -> Result<Snapshot, Fault> {
        Ok(Snapshot {
            schema_version: 1,
            data: Arc::from([]),
            consumed: Vec::new(),
        })
    }

    fn stop(&mut self, _: StopReason, _: CallTime, _: &mut Effects) -> Result<(), Fault> {
        Ok(())
    }
}

/// What becomes of what drivers ask for.
#[derive(Default)]
struct Device {
    slice: Json,
    phase: Option<String>,
}

impl Device {
    fn hear(&mut self, effects: &Effects) {
        for change in &effects.status {
            if let StatusChange::Phase(phase) = change {
                self.phase = Some(phase.clone());
            }
        }
    }
}

impl Sink for Device {
    fn commit(&mut self, effects: &mut Effects, _: Commit<'_>) -> Result<(), SliceRefused> {
        self.hear(effects);
        if !effects.operations.is_empty() {
            self.slice = json!({});
        }
        Ok(())
    }

    fn logs(&mut self, _: &mut Vec<LogLine>, _: u64, _: LogOrigin) {}

    fn slice(&mut self) -> Option<Arc<str>> {
        (!self.slice.is_null()).then(|| self.slice.to_string().into())
    }

    fn take_over(&mut self, slice: Json, effects: &mut Effects, _: u64) -> Result<(), SliceRefused> {
        self.hear(effects);
        effects.status.clear();
        self.slice = slice;
        Ok(())
    }

    fn leases_opened(&mut self, _: &[(Lease, Option<u64>)]) {}

    fn lease_over(&mut self, _: &LeaseOver) {}

    fn skipped(&mut self, _: Skipped<'_>) {}

    fn command_failed(&mut self, _: &Arc<Command>, _: &Breakdown) {}

    fn life(&mut self, _: LifeChange<'_>) {}
}

const PORT: PortIndex = PortIndex(0);
const TIMER: TimerId = TimerId(7);

/// A driver that runs, and its device.
struct Bench {
    cell: Cell<Version>,
    inbox: SharedInbox,
    device: Device,
    now: CallTime,
}

impl Bench {
    fn with(version: Version) -> Self {
        let inbox = SharedInbox::new([PortSetup {
            name: "main".into(),
            ring_capacity_bytes: 64,
        }]);
        let setup = Setup {
            device: "probe".into(),
            settings: "{}".into(),
            jitter_seed: 1,
        };
        let mut bench = Self {
            cell: Cell::new(setup, inbox.clone()),
            inbox,
            device: Device::default(),
            now: CallTime {
                monotonic_ns: 1,
                wall_ms: 1.0,
            },
        };
        bench.inbox.attach(PORT, Arc::default());
        bench.settle(version);
        bench
    }

    fn settle(&mut self, version: Version) {
        while self.cell.step(self.now, &mut self.device, &mut || Ok(version)) == Step::Busy {
            self.now.monotonic_ns += 1;
        }
    }

    /// Swaps to a version, with something that happens while it starts, and that the driver deals with.
    fn swap(&mut self, version: Version, beside: impl FnOnce(&mut Self)) -> Result<SwapReport, NotSucceeded> {
        let head_start = self.cell.head_start(self.now, &mut self.device).unwrap();
        let started = head_start.start(version);
        self.now.monotonic_ns += 1_000_000;
        beside(self);
        self.settle(CALM);
        self.cell.succeed(self.now, &mut self.device, started)
    }

    fn bytes(&mut self, data: &[u8]) {
        self.inbox.push_bytes(PORT, data, self.now);
    }

    fn command(&mut self) {
        let command = Command {
            id: CommandId("c1".into()),
            name: "press".to_owned(),
            arguments: "{}".to_owned(),
            actor: "a test".to_owned(),
            deadline_ns: None,
        };
        assert!(self.inbox.command(Arc::new(command)).is_ok());
    }
}

fn phase(effects: &mut Effects, name: &str) {
    effects.status.push(StatusChange::Phase(name.to_owned()));
}

#[test]
fn the_phase_is_the_one_that_was_said_last_whether_at_the_start_or_since() {
    const VERSION: Version = Version {
        start: |effects| phase(effects, "connecting"),
        handle: |event, effects| {
            if let Event::Bytes { .. } = event {
                phase(effects, "streaming");
            }
        },
    };
    let mut bench = Bench::with(VERSION);
    bench.swap(VERSION, |bench| bench.bytes(b"x")).unwrap();
    assert_eq!(bench.device.phase.as_deref(), Some("streaming"));
    bench.swap(VERSION, |_| ()).unwrap();
    assert_eq!(bench.device.phase.as_deref(), Some("connecting"));
}

#[test]
fn what_a_start_asks_of_the_device_is_not_asked_of_one_that_has_gone_on() {
    const WRITES: Version = Version {
        start: |effects| {
            effects
                .port_actions
                .push((PORT, PortAction::Write(b"a".to_vec())))
        },
        ..CALM
    };
    const RAISES: Version = Version {
        start: |effects| {
            effects.alarms.push(AlarmChange::Raise {
                key: "offline".to_owned(),
                severity: Severity::Warning,
                message: String::new(),
            });
        },
        ..CALM
    };
    for version in [WRITES, RAISES] {
        let mut bench = Bench::with(CALM);
        let late = bench.swap(version, |bench| bench.bytes(b"x"));
        assert_eq!(late, Err(NotSucceeded::TooLate));
        assert!(bench.swap(version, |_| ()).is_ok(), "nothing has come meanwhile");
    }
}

#[test]
fn a_start_that_holds_something_takes_over_from_a_driver_at_rest_only() {
    const HOLDS: Version = Version {
        start: |effects| {
            effects.leases.push(LeaseChange::Acquire {
                id: LeaseId(1),
                port: PORT,
                release: (*b"up").into(),
                maximum_ms: 1000,
                holder: None,
            });
        },
        ..CALM
    };
    let mut bench = Bench::with(CALM);
    assert_eq!(bench.swap(HOLDS, |_| ()), Err(NotSucceeded::TooLate));
    let now = bench.now;
    let at_rest = bench.cell.rest(now, &mut bench.device);
    assert!(at_rest.swap(now, &mut bench.device, HOLDS, false).is_ok());
}

#[test]
fn a_command_and_a_line_that_breaks_are_not_lived_through() {
    let mut bench = Bench::with(CALM);
    let beside: [fn(&mut Bench); 3] = [
        Bench::command,
        |bench| assert_eq!(bench.inbox.lose(PORT, "unplugged"), None),
        |bench| bench.cell.reconfigure("{\"a\":1}".into()),
    ];
    for beside in beside {
        assert_eq!(bench.swap(CALM, beside), Err(NotSucceeded::TooLate));
    }
    assert!(bench.swap(CALM, |bench| bench.bytes(b"x")).is_ok());
}

#[test]
fn a_timer_that_a_start_sets_is_not_the_one_that_ran_out_meanwhile() {
    const SETS: Version = Version {
        start: |effects| {
            effects.timers.push(TimerChange::Set {
                id: TIMER,
                at_ns: u64::MAX,
            });
        },
        ..CALM
    };
    const SETS_WHEN_GIVEN_BYTES: Version = Version {
        handle: |event, effects| {
            if let Event::Bytes { received_ns, .. } = event {
                effects.timers.push(TimerChange::Set {
                    id: TIMER,
                    at_ns: *received_ns,
                });
            }
        },
        ..CALM
    };
    let mut bench = Bench::with(SETS_WHEN_GIVEN_BYTES);
    let late = bench.swap(SETS, |bench| bench.bytes(b"x"));
    assert_eq!(late, Err(NotSucceeded::TooLate));
    bench.swap(SETS, |_| ()).unwrap();
    assert!(bench.inbox.with(|inbox| inbox.timers().is_running(TIMER)));
}

#[test]
fn a_version_that_says_on_the_way_that_it_cannot_go_on_is_refused() {
    const FAILS: Version = Version {
        handle: |event, effects| {
            if let Event::Bytes { .. } = event {
                effects.status.push(StatusChange::Failed("too much".to_owned()));
            }
        },
        ..CALM
    };
    let mut bench = Bench::with(CALM);
    let refused = bench.swap(FAILS, |bench| bench.bytes(b"x"));
    let Err(NotSucceeded::Refused(refusal)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(refusal.breakdown, Breakdown::Failed("too much".to_owned()));
    assert!(refusal.predecessor_runs);
}

#[test]
fn bytes_that_only_the_driver_before_was_given_are_not_missed_by_the_one_after() {
    let mut bench = Bench::with(CALM);
    let late = bench.swap(CALM, |bench| {
        for _ in 0..3 {
            bench.bytes(&[b'x'; 40]);
            // Dealt with, so that nothing is lost to the driver that runs.
            let now = bench.now;
            while bench.cell.step(now, &mut bench.device, &mut || Ok(CALM)) == Step::Busy {}
        }
    });
    assert_eq!(late, Err(NotSucceeded::TooLate), "the ring has room for 64");
}
