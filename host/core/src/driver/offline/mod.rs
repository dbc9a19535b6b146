//! The offline bench: a driver over a capture, without a daemon, on the capture's own clock.
//!
//! It is the cell itself, with its inbox and everything that happens to a driver in the daemon (checkpoints, restarts, what is left out after it
//! broke the driver down twice). What differs is around it: events come from a capture, time passes as the capture says, and what the driver asks
//! for is recorded. Timers run out between two records, each at its own time. So the same driver over the same capture always does the same.

pub mod difference;
mod recorder;
pub(crate) mod written;

use std::sync::Arc;

pub(crate) use recorder::in_words;
pub use recorder::{Entry, Told};

use self::recorder::Recorder;
use super::{CallTime, Cell, Fault, Guest, PortIndex, PortSetup, Setup, SharedInbox, Step, StopReason};
use crate::capture::{Record, What};
use crate::state::StateError;

/// The one port that a capture is of.
const PORT: PortIndex = PortIndex(0);

/// Room for the bytes of one record: each is dealt with before the next one comes, but a driver that is down lets them wait.
const RING_BYTES: usize = 16 << 20;

/// Calls at one moment of the clock, after which the driver is taken to go on for ever: its timers run out at once, again and again.
const CALLS_AT_ONE_TIME: u32 = 100_000;

/// The driver never comes to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the driver sets timers that run out at once, {CALLS_AT_ONE_TIME} times in a row: no record would ever come to it"
)]
pub struct NeverAtRest;

/// How the bench is set up.
#[derive(Debug, Clone)]
pub struct OfflineSetup {
    /// Id of the device.
    pub device: Arc<str>,
    /// Name of the port that the capture is of.
    pub port: Arc<str>,
    /// The driver's settings as a JSON object.
    pub settings: Arc<str>,
    /// Names of its series, in the order of its manifest.
    pub series: Vec<String>,
    /// Largest slice.
    pub slice_limit_bytes: usize,
}

/// One driver, and what it has done so far.
#[derive(Debug)]
pub struct OfflineBench<G> {
    cell: Cell<G>,
    inbox: SharedInbox,
    recorder: Recorder,
    now: CallTime,
    has_begun: bool,
}

impl<G: Guest> OfflineBench<G> {
    /// A driver that is started at the time of the first record.
    pub fn new(setup: OfflineSetup) -> Result<Self, StateError> {
        let inbox = SharedInbox::new([PortSetup {
            name: Arc::clone(&setup.port),
            ring_capacity_bytes: RING_BYTES,
        }]);
        let cell = Cell::new(
            Setup {
                device: setup.device,
                settings: setup.settings,
                // The same restarts each time.
                jitter_seed: 0,
            },
            inbox.clone(),
        );
        Ok(Self {
            cell,
            inbox,
            recorder: Recorder::new(setup.port, setup.series, setup.slice_limit_bytes)?,
            now: CallTime {
                monotonic_ns: 0,
                wall_ms: 0.0,
            },
            has_begun: false,
        })
    }

    /// Lets time pass up to a record, and lets the driver deal with it. Answers what it did meanwhile.
    pub fn play(
        &mut self,
        record: &Record,
        factory: &mut impl FnMut() -> Result<G, Fault>,
    ) -> Result<Vec<Entry>, NeverAtRest> {
        if self.has_begun {
            self.pass_time(record.at, factory)?;
        } else {
            self.has_begun = true;
            self.begin(record);
            self.now = record.at;
            self.come_to_rest(factory)?;
        }
        self.now = record.at;
        match &record.what {
            What::Attached { identity, .. } => {
                self.inbox.attach(PORT, Arc::new(identity.clone()));
            }
            What::Received { data, .. } => {
                self.inbox.push_bytes(PORT, data, record.at);
            }
            What::Lost { reason } => {
                self.inbox.lose(PORT, reason.as_str());
            }
            What::Overrun { to, .. } => self.inbox.with(|inbox| inbox.leave_out(PORT, *to)),
            What::Sent { .. } => {}
        }
        self.come_to_rest(factory)?;
        Ok(self.recorder.take())
    }

    /// The device goes away without a word: lets the driver say its last ones.
    pub fn stop(&mut self) -> Vec<Entry> {
        self.cell.stop(StopReason::Shutdown, self.now, &mut self.recorder);
        self.recorder.take()
    }

    /// The driver's slice as it stands.
    pub fn slice(&mut self) -> Option<serde_json::Value> {
        self.recorder.slice_value()
    }

    /// What an entry is as JSON.
    pub fn to_json(&self, entry: &Entry) -> serde_json::Value {
        written::entry(entry, &self.recorder.port, &self.recorder.series)
    }

    /// A capture may begin behind the first byte of the daemon's run.
    fn begin(&mut self, record: &Record) {
        if let What::Attached { offset: first, .. }
        | What::Received { offset: first, .. }
        | What::Overrun { from: first, .. } = record.what
        {
            self.inbox.with(|inbox| inbox.begin_at(PORT, first));
        }
    }

    fn pass_time(
        &mut self,
        until: CallTime,
        factory: &mut impl FnMut() -> Result<G, Fault>,
    ) -> Result<(), NeverAtRest> {
        while let Some(due_ns) = self.come_to_rest(factory)?
            && due_ns <= until.monotonic_ns
        {
            let early_ns = until.monotonic_ns - due_ns;
            self.now = CallTime {
                monotonic_ns: due_ns.max(self.now.monotonic_ns),
                wall_ms: until.wall_ms - early_ns as f64 / 1.0e6,
            };
        }
        Ok(())
    }

    /// Steps until there is nothing to do at this time. Answers when there is.
    fn come_to_rest(
        &mut self,
        factory: &mut impl FnMut() -> Result<G, Fault>,
    ) -> Result<Option<u64>, NeverAtRest> {
        for _ in 0..CALLS_AT_ONE_TIME {
            match self.cell.step(self.now, &mut self.recorder, factory) {
                Step::Busy => {}
                Step::Idle { until_ns } => return Ok(until_ns),
            }
        }
        Err(NeverAtRest)
    }
}

#[cfg(test)]
mod laws;
