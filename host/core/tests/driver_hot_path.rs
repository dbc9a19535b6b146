//! The way of a port's bytes into a driver and of its effects out of it, once warm, allocates nothing of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell as Counter;
use std::sync::Arc;

use autobench_core::driver::{
    Breakdown, CallTime, Cell, Command, Commit, Effects, Event, Fault, Guest, Lease, LeaseOver, LifeChange,
    LogLine, LogOrigin, PortIndex, PortSetup, Refusal, Sample, Setup, SharedInbox, Sink, Skipped,
    SliceRefused, Snapshot, StartInput, Step, StopReason, TimerChange, TimerId,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Counter<u64> = const { Counter::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Pushes a sample and sets a timer for each event.
struct Meter;

impl Guest for Meter {
    fn start(&mut self, _: &StartInput, _: CallTime, _: &mut Effects) -> Result<Result<(), Refusal>, Fault> {
        Ok(Ok(()))
    }

    fn handle(&mut self, _: &Event<'_>, time: CallTime, effects: &mut Effects) -> Result<(), Fault> {
        let sample = Sample {
            timestamp_ms: time.wall_ms,
            value: 1.0,
        };
        effects.samples.push((0, sample));
        effects.timers.push(TimerChange::Set {
            id: TimerId(1),
            at_ns: time.monotonic_ns + 5_000_000_000,
        });
        Ok(())
    }

    fn snapshot(&mut self, _: CallTime) -> Result<Snapshot, Fault> {
        Ok(Snapshot {
            schema_version: 1,
            data: Arc::default(),
            consumed: Vec::new(),
        })
    }

    fn stop(&mut self, _: StopReason, _: CallTime, _: &mut Effects) -> Result<(), Fault> {
        Ok(())
    }
}

#[derive(Default)]
struct Counted {
    samples: usize,
}

impl Sink for Counted {
    fn commit(&mut self, effects: &mut Effects, _: Commit<'_>) -> Result<(), SliceRefused> {
        self.samples += effects.samples.len();
        Ok(())
    }
    fn logs(&mut self, _: &mut Vec<LogLine>, _: u64, _: LogOrigin) {}
    fn slice(&mut self) -> Option<Arc<str>> {
        None
    }
    fn take_over(&mut self, _: serde_json::Value, _: &mut Effects, _: u64) -> Result<(), SliceRefused> {
        Ok(())
    }
    fn leases_opened(&mut self, _: &[(Lease, Option<u64>)]) {}
    fn lease_over(&mut self, _: &LeaseOver) {}
    fn skipped(&mut self, _: Skipped<'_>) {}
    fn command_failed(&mut self, _: &Arc<Command>, _: &Breakdown) {}
    fn life(&mut self, _: LifeChange<'_>) {}
}

#[test]
fn a_warm_cell_passes_bytes_and_effects_without_allocating() {
    let inbox = SharedInbox::new([PortSetup {
        name: "main".into(),
        ring_capacity_bytes: 256 * 1024,
    }]);
    let setup = Setup {
        device: "meter".into(),
        settings: "{}".into(),
        jitter_seed: 1,
    };
    let mut cell = Cell::new(setup, inbox.clone());
    let mut sink = Counted::default();
    let mut now = CallTime {
        monotonic_ns: 0,
        wall_ms: 0.0,
    };
    let mut run = |rows: usize, sink: &mut Counted| {
        for _ in 0..rows {
            inbox.push_bytes(PortIndex(0), &[b'x'; 90], now);
            while cell.step(now, sink, &mut || Ok(Meter)) == Step::Busy {}
            now.monotonic_ns += 100_000;
        }
    };
    run(1_000, &mut sink);
    // A checkpoint may allocate; none falls into these rows: they end before half a ring, and before the first second.
    let before = ALLOCATIONS.with(Counter::get);
    run(400, &mut sink);
    let after = ALLOCATIONS.with(Counter::get);
    assert_eq!(sink.samples, 1_400);
    assert_eq!(after - before, 0, "allocations in 400 rows");
}
