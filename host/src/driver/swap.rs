//! A swap, from both of its sides: whoever orders it readies the successor beside the driver, and the driver's thread puts it in the driver's place.
//!
//! The successor is built and started while the driver goes on, from a checkpoint as every second has one; the driver rests while it catches up with what
//! came since. If the driver came to rest once more meanwhile, was restarted, or was told what a successor cannot live through, that was in vain, and
//! another instance tries again. After [`HEAD_STARTS`] of them the next one is started while the driver rests, which does not fail for that reason.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use autobench_core::driver::versions::Blame;
use autobench_core::driver::{
    Breakdown, Fault, FaultKind, HeadStart, NoReturn, NotSucceeded, Refusal, StartReason, Started,
    SwapRefusal, SwapReport,
};
use tokio::sync::oneshot;

use super::alarms::Alarms;
use super::builder::{InstanceBuilder, memory_limit_bytes};
use super::device::{Device, Order, Worker};
use super::host_state::{NoHolds, Rights};
use super::instance::Instance;
use super::loader::{Prepared, Version};
use super::sink::DeviceSink;

/// Successors that may come too late, one after the other.
const HEAD_STARTS: usize = 2;

/// How a swap went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwapOutcome {
    /// The new version runs.
    Swapped {
        /// `Swap`, or `Cold` where there was nothing to go on from.
        reason: StartReason,
        /// Its generation.
        generation: u64,
        /// How long the driver was at rest.
        pause: Duration,
        /// Bytes given to it again.
        carried_bytes: u64,
        /// Of a version that returned: how, and why not as it was, if it did not.
        why_not_as_it_was: Option<String>,
    },
    /// The old version goes on, or nothing does.
    Refused {
        /// Why.
        reason: String,
        /// Whose fault that is.
        blame: Blame,
        /// Whether the old version runs.
        predecessor_runs: bool,
    },
}

/// What is to run from now on.
pub(super) struct SwapOrder {
    pub(super) version: NewVersion,
    pub(super) successor: Successor,
    pub(super) answer: oneshot::Sender<Result<SwapOutcome, TooLate>>,
}

/// A version with what the daemon knows of it.
#[derive(Clone)]
pub(super) struct NewVersion {
    prepared: Arc<Prepared>,
    endpoints: Vec<u32>,
    readable_slices: Arc<[Arc<str>]>,
}

/// An instance of it, as far as it has come.
pub(super) enum Successor {
    /// It has to catch up.
    Started(Box<Started<Instance>>),
    /// It has yet to be started.
    New(Result<Instance, Fault>),
    /// It is the one before, which rests.
    Former,
}

/// What a successor is started with while the driver goes on.
pub(super) struct Start {
    head_start: HeadStart,
    builder: InstanceBuilder,
    standing_alarms: BTreeSet<String>,
}

/// The driver is not where its successor started any more, by a way that the successor could have gone after it: it was restarted, came to rest once more, was
/// told or lost something that a successor cannot live through, or anything at all where the start itself did something.
pub(super) struct TooLate;

/// What the sink knew of the version before, to be put back should its successor be refused.
struct Before {
    endpoints: Vec<u32>,
    version: Version,
    alarms: Alarms,
}

impl NewVersion {
    /// Builds it for the device of another version.
    fn builder(&self, former: &InstanceBuilder) -> InstanceBuilder {
        former.clone_for(Arc::clone(&self.prepared), Arc::clone(&self.readable_slices))
    }
}

impl Device {
    /// Puts another version in place of the one that runs; on a return the one before it, as it was if it is still there. No answer: the thread has
    /// ended, before it took the order or over it.
    pub async fn swap(
        &self,
        prepared: Arc<Prepared>,
        endpoints: Vec<u32>,
        readable_slices: Arc<[Arc<str>]>,
        is_return: bool,
    ) -> Option<SwapOutcome> {
        let version = NewVersion {
            prepared,
            endpoints,
            readable_slices,
        };
        if is_return {
            return self.put(version, Successor::Former).await?.ok();
        }
        for _ in 0..HEAD_STARTS {
            let successor = self.successor(&version).await?;
            if let Ok(outcome) = self.put(version.clone(), successor).await? {
                return Some(outcome);
            }
        }
        let successor = Successor::New(self.warm(&version.prepared).await);
        self.put(version, successor).await?.ok()
    }

    /// An instance that has been started from where the driver is just now, if there is such a place.
    async fn successor(&self, version: &NewVersion) -> Option<Successor> {
        let instance = match self.warm(&version.prepared).await {
            Ok(instance) => instance,
            fault => return Some(Successor::New(fault)),
        };
        let (answer, start) = oneshot::channel();
        self.order(Order::HeadStart(answer));
        let Some(start) = start.await.ok()? else {
            return Some(Successor::New(Ok(instance)));
        };
        let Start {
            head_start,
            builder,
            standing_alarms,
        } = start;
        let builder = version.builder(&builder);
        let start = move || {
            let mut instance = instance;
            // What is on the disk of holds is the driver's that runs. One that takes a hold in its start does not take over from here.
            instance.serve(Rights {
                holds: Arc::new(NoHolds),
                ..builder.rights(&standing_alarms)
            });
            head_start.start(instance)
        };
        let started = aside(start).await;
        Some(started.map_or_else(
            |fault| Successor::New(Err(fault)),
            |started| Successor::Started(Box::new(started)),
        ))
    }

    async fn warm(&self, prepared: &Arc<Prepared>) -> Result<Instance, Fault> {
        let (engine, granted) = (Arc::clone(&self.engine), self.memory_limit_bytes);
        let prepared = Arc::clone(prepared);
        let build = move || {
            let limit_bytes = memory_limit_bytes(&prepared, granted);
            Instance::warm(&engine, &prepared.pre, limit_bytes)
        };
        aside(build).await?
    }

    async fn put(&self, version: NewVersion, successor: Successor) -> Option<Result<SwapOutcome, TooLate>> {
        let (answer, outcome) = oneshot::channel();
        self.order(Order::Swap(Box::new(SwapOrder {
            version,
            successor,
            answer,
        })));
        outcome.await.ok()
    }
}

/// Does it where no driver waits for it.
async fn aside<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        let detail = format!("the thread that built it ended: {error}");
        Fault::new(FaultKind::Limit, "instantiate", detail)
    })
}

impl Worker {
    /// From here a successor can start, while this driver goes on.
    pub(super) fn head_start(&mut self) -> Option<Start> {
        let now = self.now();
        let head_start = self.cell.head_start(now, &mut self.sink)?;
        Some(Start {
            head_start,
            builder: self.builder.clone(),
            standing_alarms: self.sink.alarms.names(),
        })
    }

    pub(super) fn swap(
        &mut self,
        version: &NewVersion,
        successor: Successor,
    ) -> Result<SwapOutcome, TooLate> {
        match successor {
            Successor::Started(started) => self.let_succeed(version, *started),
            Successor::New(built) => {
                let built = built.map(|mut successor| {
                    let builder = version.builder(&self.builder);
                    successor.serve(builder.rights(&self.sink.alarms.names()));
                    successor
                });
                Ok(self.swap_at_rest(version, built, None))
            }
            Successor::Former => Ok(self.go_back(version)),
        }
    }

    fn let_succeed(
        &mut self,
        version: &NewVersion,
        mut started: Started<Instance>,
    ) -> Result<SwapOutcome, TooLate> {
        if let Some(instance) = started.guest_mut() {
            instance.keep_holds_with(&self.builder.holds);
        }
        // The driver rests from here to the flip.
        let began = Instant::now();
        let now = self.now();
        let before = Before::replaced(&mut self.sink, version);
        match self.cell.succeed(now, &mut self.sink, started) {
            Ok(report) => Ok(self.swapped(version, before, report, began.elapsed(), None)),
            Err(why) => {
                before.put_back(&mut self.sink);
                match why {
                    NotSucceeded::TooLate => Err(TooLate),
                    NotSucceeded::Refused(refusal) => Ok(self.refused(version, &refusal)),
                }
            }
        }
    }

    /// The version before comes back: as it was, or from the last checkpoint of the one that failed.
    fn go_back(&mut self, version: &NewVersion) -> SwapOutcome {
        let why_not_as_it_was = match self.former.take_if(|former| *former == version.prepared.hash) {
            Some(_) => match self.bring_back(version) {
                Ok(outcome) => return outcome,
                Err(why) => why.to_string(),
            },
            None => "another version ran before the one that failed".to_owned(),
        };
        // What runs now has failed, and nothing waits for it.
        let built = self.build(version);
        self.swap_at_rest(version, built, Some(why_not_as_it_was))
    }

    /// `why_not_as_it_was` is for a version that returns.
    fn swap_at_rest(
        &mut self,
        version: &NewVersion,
        mut built: Result<Instance, Fault>,
        why_not_as_it_was: Option<String>,
    ) -> SwapOutcome {
        let is_return = why_not_as_it_was.is_some();
        let mut may_forget_checkpoint = true;
        loop {
            let successor = match built {
                Ok(successor) => successor,
                Err(fault) => return self.not_built(version, fault),
            };
            // The driver rests from here to the flip.
            let began = Instant::now();
            let now = self.now();
            // Should the driver break down over its own snapshot, that is told as its own.
            let at_rest = self.cell.rest(now, &mut self.sink);
            let before = Before::replaced(&mut self.sink, version);
            let refusal = match at_rest.swap(now, &mut self.sink, successor, is_return) {
                Ok(report) => {
                    return self.swapped(version, before, report, began.elapsed(), why_not_as_it_was);
                }
                Err(refusal) => refusal,
            };
            before.put_back(&mut self.sink);
            let is_down = !refusal.predecessor_runs;
            let outcome = self.refused(version, &refusal);
            if !(is_down && does_not_know_snapshot(&refusal) && may_forget_checkpoint) {
                return outcome;
            }
            // A driver that is down has nothing to lose: a new version that cannot use its old checkpoint starts from nothing.
            may_forget_checkpoint = false;
            self.cell.forget_checkpoint();
            built = self.build(version);
        }
    }

    /// An instance of another version, for this device as it is now.
    fn build(&self, version: &NewVersion) -> Result<Instance, Fault> {
        version.builder(&self.builder).build(&self.sink.alarms.names())
    }

    /// The version that ran before comes back as it was.
    fn bring_back(&mut self, version: &NewVersion) -> Result<SwapOutcome, NoReturn> {
        let began = Instant::now();
        let now = self.now();
        let at_rest = self.cell.rest(now, &mut self.sink);
        let before = Before::replaced(&mut self.sink, version);
        match at_rest.bring_back(now, &mut self.sink) {
            Ok(report) => {
                self.sink.bring_alarms_back();
                self.builder = version.builder(&self.builder);
                let why = report.gap.as_ref().map(|why| format!("over a gap: {why}"));
                Ok(self.went_well(&report, began.elapsed(), why))
            }
            Err(why) => {
                self.sink.former_alarms = None;
                before.put_back(&mut self.sink);
                Err(why)
            }
        }
    }

    fn swapped(
        &mut self,
        version: &NewVersion,
        before: Before,
        report: SwapReport,
        pause: Duration,
        why_not_as_it_was: Option<String>,
    ) -> SwapOutcome {
        self.builder = version.builder(&self.builder);
        let from = match report.reason {
            StartReason::Cold => "from nothing",
            _ => "from the failed version's last checkpoint",
        };
        self.former = report.predecessor_ran.then_some(before.version.hash);
        self.sink.former_alarms = report.predecessor_ran.then_some(before.alarms);
        let why = why_not_as_it_was.map(|why| format!("{from}: {why}"));
        self.went_well(&report, pause, why)
    }

    fn went_well(
        &self,
        report: &SwapReport,
        pause: Duration,
        why_not_as_it_was: Option<String>,
    ) -> SwapOutcome {
        SwapOutcome::Swapped {
            reason: report.reason,
            generation: self.sink.first_generation + report.generation,
            pause,
            carried_bytes: report.carried_bytes,
            why_not_as_it_was,
        }
    }

    fn refused(&self, version: &NewVersion, refusal: &SwapRefusal) -> SwapOutcome {
        self.sink
            .note_fault(&refusal.breakdown, &version.prepared.version());
        SwapOutcome::Refused {
            reason: refusal.to_string(),
            blame: refusal.breakdown.blame(),
            predecessor_runs: refusal.predecessor_runs,
        }
    }

    fn not_built(&self, version: &NewVersion, fault: Fault) -> SwapOutcome {
        let breakdown = fault.into();
        self.sink.note_fault(&breakdown, &version.prepared.version());
        SwapOutcome::Refused {
            reason: breakdown.to_string(),
            // Nothing of it has run yet: it is the memory that it is given, or the daemon.
            blame: Blame::Circumstances,
            predecessor_runs: self.runs(),
        }
    }
}

impl Before {
    /// From here on the sink speaks for another version: it pushes samples by the positions in its own manifest.
    fn replaced(sink: &mut DeviceSink, version: &NewVersion) -> Self {
        Self {
            endpoints: std::mem::replace(&mut sink.endpoints, version.endpoints.clone()),
            version: std::mem::replace(&mut sink.version, version.prepared.version()),
            alarms: sink.alarms.clone(),
        }
    }

    fn put_back(self, sink: &mut DeviceSink) {
        sink.endpoints = self.endpoints;
        sink.version = self.version;
    }
}

fn does_not_know_snapshot(refusal: &SwapRefusal) -> bool {
    matches!(refusal.breakdown, Breakdown::Refused(Refusal::UnknownSnapshot(_)))
}
