//! A configured device: its ports, its driver's thread, and the orders that the thread takes.
//!
//! The thread owns the cell and everything in it. It steps the cell until there is nothing to do, then waits for the inbox. Orders (a swap, new
//! settings, a stop) are taken between two steps, when the driver is at rest.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use autobench_core::driver::versions::{Blame, VersionHash};
use autobench_core::driver::{
    Breakdown, CallTime, Cell, Fault, FaultKind, InputSignals, Lease, LogLevel, NoReturn, PortIdentity,
    PortIndex, Refusal, Setup, SharedInbox, StartReason, Step, StopReason, SwapRefusal,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::engine::Engine;
use super::health::Health;
use super::host_state::{KeepsHolds, NoHolds, ReadSlices, Rights};
use super::instance::Instance;
use super::leases::UndoneHolds;
use super::loader::Prepared;
use super::record::{DeviceRecord, attached_port};
use super::shadow::{Tap, Tapping};
use super::sink::DeviceSink;
use crate::bucket::Lines;
use crate::clock::Clock;
use crate::logs::{LogHandle, LogRecord};
use crate::sched;
use crate::serial::{Port, PortEvents, PortView};

/// How often lost bytes of one port are told at most; in between they are added up.
const OVERRUN_LOG_SPACING: Duration = Duration::from_secs(5);

/// A driver's thread and what it is fed by.
pub struct Device {
    inbox: SharedInbox,
    orders: Arc<Orders>,
    ports: Vec<Port>,
    thread: Option<JoinHandle<()>>,
    engine: Arc<Engine>,
    memory_limit_bytes: usize,
}

/// What a thread is started with.
pub struct DeviceParts {
    /// The engine.
    pub engine: Arc<Engine>,
    /// The version to run.
    pub prepared: Arc<Prepared>,
    /// Its settings as a JSON object.
    pub settings: Arc<str>,
    /// Memory it may use.
    pub memory_limit_bytes: usize,
    /// Foreign slices that it may read.
    pub readable_slices: Arc<[Arc<str>]>,
    /// How it reads them.
    pub slices: Arc<dyn ReadSlices>,
    /// Its inbox, which its ports feed already.
    pub inbox: SharedInbox,
    /// Its ports, in the order of their indices.
    pub ports: Vec<Port>,
    /// Where its effects go.
    pub sink: DeviceSink,
}

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

enum Order {
    Swap {
        prepared: Arc<Prepared>,
        endpoints: Vec<u32>,
        readable_slices: Arc<[Arc<str>]>,
        /// The successor. None on a return.
        warm: Option<Box<Result<Instance, Fault>>>,
        answer: oneshot::Sender<SwapOutcome>,
    },
    Reconfigure(Arc<str>),
    Release,
    /// None is answered by a driver that has never come to rest.
    Tap(oneshot::Sender<Option<Tapping>>),
    Stop(StopReason),
}

/// Orders come from the supervisor, which waits for the answer of each swap, and from at most one shadow run: a handful is all there ever is.
struct Orders {
    /// None once the thread has ended, however it ended: what is ordered then is dropped, and whoever waits for an answer hears so.
    waiting: Mutex<Option<VecDeque<Order>>>,
}

/// Asks a driver's thread for what a shadow run begins with.
#[derive(Clone)]
pub struct Tapper {
    inbox: SharedInbox,
    orders: Arc<Orders>,
}

impl Tapper {
    /// Begins to tap. None: the thread has ended, or the driver has never come to rest.
    pub async fn tap(&self) -> Option<Tapping> {
        let (answer, tapping) = oneshot::channel();
        self.orders.put(Order::Tap(answer));
        self.inbox.wake();
        tapping.await.ok().flatten()
    }
}

impl Orders {
    fn put(&self, order: Order) {
        if let Some(waiting) = &mut *self.waiting.lock() {
            waiting.push_back(order);
        }
    }
}

impl Device {
    /// Starts the thread, which starts the driver.
    pub fn start(parts: DeviceParts) -> io::Result<Self> {
        let orders = Arc::new(Orders {
            waiting: Mutex::new(Some(VecDeque::new())),
        });
        let inbox = parts.inbox.clone();
        let (engine, memory_limit_bytes) = (Arc::clone(&parts.engine), parts.memory_limit_bytes);
        let name = format!("driver-{}", parts.sink.device);
        let worker = Worker {
            orders: Arc::clone(&orders),
            cell: Cell::new(
                Setup {
                    device: Arc::clone(&parts.sink.device),
                    settings: parts.settings,
                    jitter_seed: parts.prepared.hash.number(),
                },
                parts.inbox,
            ),
            builder: InstanceBuilder {
                engine: parts.engine,
                prepared: parts.prepared,
                memory_limit_bytes: parts.memory_limit_bytes,
                device: Arc::clone(&parts.sink.device),
                ports: parts
                    .sink
                    .ports
                    .iter()
                    .map(|port| Arc::new(port.clone()) as _)
                    .collect(),
                readable_slices: parts.readable_slices,
                slices: parts.slices,
                holds: Arc::new(parts.sink.leases.clone()),
                health: Arc::clone(&parts.sink.health),
            },
            former: None,
            sink: parts.sink,
        };
        let thread = sched::spawn(name, move || worker.work())?;
        Ok(Self {
            inbox,
            orders,
            ports: parts.ports,
            thread: Some(thread),
            engine,
            memory_limit_bytes,
        })
    }

    /// Puts another version in place of the one that runs; on a return the one before it, as it was if it is still there. No answer: the thread has
    /// ended, before it took the order or over it.
    pub async fn swap(
        &self,
        prepared: Arc<Prepared>,
        endpoints: Vec<u32>,
        readable_slices: Arc<[Arc<str>]>,
        is_return: bool,
    ) -> Option<SwapOutcome> {
        let warm = match is_return {
            true => None,
            // The driver that runs is not kept waiting for that.
            false => Some(Box::new(self.warm(Arc::clone(&prepared)).await)),
        };
        let (answer, outcome) = oneshot::channel();
        self.order(Order::Swap {
            prepared,
            endpoints,
            readable_slices,
            warm,
            answer,
        });
        outcome.await.ok()
    }

    async fn warm(&self, prepared: Arc<Prepared>) -> Result<Instance, Fault> {
        let (engine, granted) = (Arc::clone(&self.engine), self.memory_limit_bytes);
        let work = move || {
            let limit_bytes = memory_limit_bytes(&prepared, granted);
            Instance::warm(&engine, &prepared.pre, limit_bytes)
        };
        let built = tokio::task::spawn_blocking(work).await;
        built.unwrap_or_else(|error| {
            let detail = format!("the thread that built it ended: {error}");
            Err(Fault::new(FaultKind::Limit, "instantiate", detail))
        })
    }

    /// Gives the driver new settings.
    pub fn reconfigure(&self, settings: Arc<str>) {
        self.order(Order::Reconfigure(settings));
    }

    /// Ends a quarantine and starts a driver that is down. One that runs does not notice.
    pub fn release(&self) {
        self.order(Order::Release);
    }

    /// Lets the driver say its last words, lets them leave, and ends thread and ports. Blocks for as long as one call may take.
    pub fn stop(mut self, reason: StopReason) {
        self.order(Order::Stop(reason));
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook already.
            let _ = thread.join();
        }
        for port in self.ports.drain(..) {
            port.close();
        }
    }

    /// For shadow runs.
    pub fn tapper(&self) -> Tapper {
        Tapper {
            inbox: self.inbox.clone(),
            orders: Arc::clone(&self.orders),
        }
    }

    fn order(&self, order: Order) {
        self.orders.put(order);
        self.inbox.wake();
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.order(Order::Stop(StopReason::Shutdown));
            let _ = thread.join();
        }
    }
}

/// The driver's thread.
struct Worker {
    orders: Arc<Orders>,
    cell: Cell<Instance>,
    builder: InstanceBuilder,
    /// The version that rests while the one that runs is on probation. The cell may have dropped it since.
    former: Option<VersionHash>,
    sink: DeviceSink,
}

impl Worker {
    fn work(mut self) {
        // What a panic leaves half done is not used again, but for what others wait for: the cell is gone with the thread.
        let inbox = self.cell.inbox().clone();
        let ended = panic::catch_unwind(AssertUnwindSafe(|| self.run()));
        self.orders.waiting.lock().take();
        inbox.abandon();
        if ended.is_err() {
            self.sink.thread_ended();
        }
    }

    fn run(&mut self) {
        loop {
            while let Some(order) = self.next_order() {
                if let Order::Stop(reason) = order {
                    let now = self.now();
                    self.cell.stop(reason, now, &mut self.sink);
                    return;
                }
                self.obey(order);
            }
            let now = self.now();
            let step = {
                let builder = &self.builder;
                // Only a driver that is down is built anew.
                let standing_alarms = if self.runs() {
                    BTreeSet::new()
                } else {
                    self.sink.alarms.names()
                };
                self.cell
                    .step(now, &mut self.sink, &mut || builder.build(&standing_alarms))
            };
            match step {
                Step::Busy => self.count(now),
                Step::Idle { until_ns } => {
                    let timeout = until_ns.map(|until| {
                        Duration::from_nanos(until.saturating_sub(self.sink.clock.monotonic_ns()))
                    });
                    self.cell.inbox().clone().wait(timeout);
                }
            }
        }
    }

    fn next_order(&self) -> Option<Order> {
        self.orders.waiting.lock().as_mut()?.pop_front()
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Swap {
                prepared,
                endpoints,
                readable_slices,
                warm,
                answer,
            } => {
                let outcome = self.swap(prepared, endpoints, readable_slices, warm.map(|warm| *warm));
                // Nobody waits any more when the daemon is going down.
                let _ = answer.send(outcome);
            }
            Order::Reconfigure(settings) => self.cell.reconfigure(settings),
            Order::Release if self.runs() => {}
            Order::Release => {
                let now_ns = self.sink.clock.monotonic_ns();
                self.cell.release(now_ns);
            }
            Order::Tap(answer) => {
                let tapping = self.tap();
                // Nobody waits any more when the run was given up.
                let _ = answer.send(tapping);
            }
            // Taken by the caller.
            Order::Stop(_) => {}
        }
    }

    /// From here on a shadow run hears what the driver is told; what it was told since its checkpoint, the run has from the journal.
    fn tap(&mut self) -> Option<Tapping> {
        let origin = self.cell.shadow_origin(self.now())?;
        let tap = Tap::default();
        self.sink.tap = Some(tap.feed());
        Some(Tapping {
            origin,
            tap,
            inbox: self.cell.inbox().clone(),
            builder: self.builder.clone(),
            standing_alarms: self.sink.alarms.names(),
        })
    }

    fn swap(
        &mut self,
        prepared: Arc<Prepared>,
        endpoints: Vec<u32>,
        readable_slices: Arc<[Arc<str>]>,
        mut warm: Option<Result<Instance, Fault>>,
    ) -> SwapOutcome {
        let is_return = warm.is_none();
        let successor_builder = InstanceBuilder {
            prepared: Arc::clone(&prepared),
            readable_slices,
            ..self.builder.clone()
        };
        let mut why_not_as_it_was = None;
        if is_return && self.former == Some(prepared.hash) {
            self.former = None;
            match self.bring_back(&prepared, &endpoints) {
                Ok(outcome) => {
                    self.builder = successor_builder;
                    return outcome;
                }
                Err(why) => why_not_as_it_was = Some(why.to_string()),
            }
        } else if is_return {
            why_not_as_it_was = Some("another version ran before the one that failed".to_owned());
        }
        let mut may_forget_checkpoint = true;
        loop {
            let standing_alarms = self.sink.alarms.names();
            let built = match warm.take() {
                Some(warm) => warm.map(|mut successor| {
                    successor.serve(successor_builder.rights(&standing_alarms));
                    successor
                }),
                // Nothing runs that would wait for it.
                None => successor_builder.build(&standing_alarms),
            };
            let successor = match built {
                Ok(successor) => successor,
                Err(fault) => {
                    let breakdown = fault.into();
                    self.sink.note_fault(&breakdown, &prepared.version());
                    return SwapOutcome::Refused {
                        reason: breakdown.to_string(),
                        // Nothing of it has run yet: it is the memory that it is given, or the daemon.
                        blame: Blame::Circumstances,
                        predecessor_runs: self.runs(),
                    };
                }
            };
            // The driver rests from here to the flip.
            let began = Instant::now();
            let now = self.now();
            // Should the driver break down over its own snapshot, that is told as its own.
            let at_rest = self.cell.rest(now, &mut self.sink);
            // The successor pushes samples by the positions in its own manifest.
            let former_endpoints = std::mem::replace(&mut self.sink.endpoints, endpoints.clone());
            let former_version = std::mem::replace(&mut self.sink.version, prepared.version());
            let former_alarms = self.sink.alarms.clone();
            let refusal = match at_rest.swap(now, &mut self.sink, successor, is_return) {
                Ok(report) => {
                    let pause = began.elapsed();
                    self.builder = successor_builder;
                    let from = match report.reason {
                        StartReason::Cold => "from nothing",
                        _ => "from the failed version's last checkpoint",
                    };
                    self.former = report.predecessor_ran.then_some(former_version.hash);
                    self.sink.former_alarms = report.predecessor_ran.then_some(former_alarms);
                    return SwapOutcome::Swapped {
                        reason: report.reason,
                        generation: self.sink.first_generation + report.generation,
                        pause,
                        carried_bytes: report.carried_bytes,
                        why_not_as_it_was: why_not_as_it_was.map(|why| format!("{from}: {why}")),
                    };
                }
                Err(refusal) => refusal,
            };
            self.sink.endpoints = former_endpoints;
            self.sink.version = former_version;
            self.sink.note_fault(&refusal.breakdown, &prepared.version());
            let is_down = !refusal.predecessor_runs;
            if !(is_down && does_not_know_snapshot(&refusal) && may_forget_checkpoint) {
                return SwapOutcome::Refused {
                    reason: refusal.to_string(),
                    blame: refusal.breakdown.blame(),
                    predecessor_runs: refusal.predecessor_runs,
                };
            }
            // A driver that is down has nothing to lose: a new version that cannot use its old checkpoint starts from nothing.
            may_forget_checkpoint = false;
            self.cell.forget_checkpoint();
        }
    }

    /// The version that ran before comes back as it was.
    fn bring_back(&mut self, former: &Prepared, endpoints: &[u32]) -> Result<SwapOutcome, NoReturn> {
        let began = Instant::now();
        let now = self.now();
        let at_rest = self.cell.rest(now, &mut self.sink);
        let failed_endpoints = std::mem::replace(&mut self.sink.endpoints, endpoints.to_vec());
        let failed_version = std::mem::replace(&mut self.sink.version, former.version());
        match at_rest.bring_back(now, &mut self.sink) {
            Ok(report) => {
                self.sink.bring_alarms_back();
                Ok(SwapOutcome::Swapped {
                    reason: report.reason,
                    generation: self.sink.first_generation + report.generation,
                    pause: began.elapsed(),
                    carried_bytes: report.carried_bytes,
                    why_not_as_it_was: report.gap.map(|why| format!("over a gap: {why}")),
                })
            }
            Err(why) => {
                self.sink.former_alarms = None;
                self.sink.endpoints = failed_endpoints;
                self.sink.version = failed_version;
                Err(why)
            }
        }
    }

    fn runs(&self) -> bool {
        self.cell.status() == autobench_core::driver::Status::Running
    }

    fn now(&self) -> CallTime {
        self.sink.clock.now()
    }

    /// Counts one step of the cell.
    fn count(&self, began: CallTime) {
        let took_ns = self.sink.clock.monotonic_ns().saturating_sub(began.monotonic_ns);
        self.sink.health.called(took_ns);
    }
}

fn does_not_know_snapshot(refusal: &SwapRefusal) -> bool {
    matches!(refusal.breakdown, Breakdown::Refused(Refusal::UnknownSnapshot(_)))
}

/// What the manifest asks for, at most what the device may have.
fn memory_limit_bytes(prepared: &Prepared, granted: usize) -> usize {
    let asked = prepared.manifest.memory_bytes;
    asked
        .and_then(|bytes| usize::try_from(bytes).ok())
        .map_or(granted, |asked| asked.min(granted))
}

/// Makes instances of a version.
#[derive(Clone)]
pub struct InstanceBuilder {
    engine: Arc<Engine>,
    pub(super) prepared: Arc<Prepared>,
    memory_limit_bytes: usize,
    device: Arc<str>,
    ports: Arc<[Arc<dyn PortView>]>,
    readable_slices: Arc<[Arc<str>]>,
    slices: Arc<dyn ReadSlices>,
    holds: Arc<dyn KeepsHolds>,
    health: Arc<Health>,
}

impl InstanceBuilder {
    /// The same for another version, which counts by itself.
    pub(super) fn clone_for(&self, prepared: Arc<Prepared>, readable_slices: Arc<[Arc<str>]>) -> Self {
        Self {
            prepared,
            readable_slices,
            ..self.clone()
        }
    }

    /// The ports of the device.
    pub(super) fn ports(&self) -> &[Arc<dyn PortView>] {
        &self.ports
    }

    /// An instance with other ports, which holds nothing, and whose use of memory is not the driver's.
    pub(super) fn build_with(
        &self,
        ports: Arc<[Arc<dyn PortView>]>,
        standing_alarms: &BTreeSet<String>,
    ) -> Result<Instance, Fault> {
        let aside = Self {
            ports,
            holds: Arc::new(NoHolds),
            health: Arc::default(),
            ..self.clone()
        };
        aside.build(standing_alarms)
    }

    fn build(&self, standing_alarms: &BTreeSet<String>) -> Result<Instance, Fault> {
        let rights = self.rights(standing_alarms);
        Instance::new(
            &self.engine,
            &self.prepared.pre,
            rights,
            self.memory_limit_bytes(),
        )
    }

    fn memory_limit_bytes(&self) -> usize {
        memory_limit_bytes(&self.prepared, self.memory_limit_bytes)
    }

    fn rights(&self, standing_alarms: &BTreeSet<String>) -> Rights {
        Rights {
            device: Arc::clone(&self.device),
            ports: Arc::clone(&self.ports),
            readable_slices: Arc::clone(&self.readable_slices),
            slices: Arc::clone(&self.slices),
            holds: Arc::clone(&self.holds),
            series_count: self.prepared.manifest.series.len(),
            standing_alarms: standing_alarms.clone(),
            version: self.prepared.hash,
            health: Arc::clone(&self.health),
        }
    }
}

/// Feeds one port's events into a driver's inbox. Runs on the port's thread.
pub struct InboxFeed {
    /// Where they go.
    pub inbox: SharedInbox,
    /// Which of the driver's ports it is.
    pub port: PortIndex,
    /// Its name.
    pub name: Arc<str>,
    /// Its device.
    pub device: Arc<str>,
    /// The device's entry in the state.
    pub record: DeviceRecord,
    /// The log.
    pub logs: LogHandle,
    /// Who hears of holds that are undone.
    pub holds: UndoneHolds,
    /// The device's counters.
    pub health: Arc<Health>,
    /// The clock.
    pub clock: Clock,
    /// What the log is told of lost bytes, so that a driver that is down does not flood it: see [`overrun_lines`].
    pub overruns: Lines,
}

/// Lost bytes are told at once, and then added up.
pub fn overrun_lines() -> Lines {
    Lines::one_in(OVERRUN_LOG_SPACING, 1, Instant::now())
}

impl InboxFeed {
    fn note_overrun(&mut self, lost: Option<std::ops::Range<u64>>) {
        let Some(lost) = lost else { return };
        let count = lost.end.saturating_sub(lost.start);
        self.health.overrun_bytes.add(count);
        // No driver is too slow for them: its thread has ended, which was said then, and a line that goes on sending would say it without end.
        if self.inbox.is_abandoned() {
            return;
        }
        if let Some(total) = self.overruns.say_sum(count, Instant::now()) {
            let message = format!(
                "port {}: {total} bytes up to number {} came faster than the driver took them and are lost",
                self.name, lost.end
            );
            self.logs
                .append(LogRecord::new("device", LogLevel::Warn, message).of_device(&*self.device));
        }
    }
}

impl PortEvents for InboxFeed {
    fn attached(&mut self, identity: Arc<PortIdentity>) {
        self.record.change(|entry| {
            entry
                .ports
                .insert(self.name.to_string(), attached_port(&identity));
        });
        let lost = self.inbox.attach(self.port, identity);
        self.note_overrun(lost);
    }

    fn bytes(&mut self, data: &[u8]) {
        self.health.bytes_in.add(data.len() as u64);
        let lost = self.inbox.push_bytes(self.port, data, self.clock.now());
        self.note_overrun(lost);
    }

    fn lost(&mut self, reason: &str) {
        self.record.change(|entry| {
            if let Some(port) = entry.ports.get_mut(&*self.name) {
                port.attached = false;
            }
        });
        let lost = self.inbox.lose(self.port, reason);
        self.note_overrun(lost);
    }

    fn drained(&mut self) {
        self.inbox.transmit_drained(self.port);
    }

    fn undone(&mut self, lease: &Lease) {
        self.holds.undone(&self.name, lease);
    }

    fn line_error(&mut self, reason: &str) {
        self.inbox.line_error(self.port, reason);
    }

    fn lines_changed(&mut self, signals: InputSignals) {
        self.inbox.lines_changed(self.port, signals);
    }
}

#[cfg(test)]
mod tests {
    use autobench_core::driver::PortSetup;
    use autobench_core::state::Store;
    use autobench_core::wire::AppState;

    use super::super::leases::LeaseJournal;
    use super::super::record::tests::probe;
    use super::*;
    use crate::config::LogConfig;
    use crate::state::{StateConfig, StateHandle};

    #[tokio::test]
    async fn bytes_for_a_thread_that_has_ended_are_counted_and_not_told() {
        let store = Store::new(&AppState::default()).unwrap();
        let state = StateHandle::start(store, StateConfig::new("boot"));
        let logs = LogHandle::new(LogConfig::silent(10));
        let folder = tempfile::tempdir().unwrap();
        let inbox = SharedInbox::new([PortSetup {
            name: "main".into(),
            ring_capacity_bytes: 4,
        }]);
        let record = DeviceRecord::publish(state, "probe", probe());
        let mut feed = InboxFeed {
            inbox: inbox.clone(),
            port: PortIndex(0),
            name: "main".into(),
            device: "probe".into(),
            health: Arc::clone(record.health()),
            record,
            logs: logs.clone(),
            holds: UndoneHolds {
                journal: LeaseJournal::open(folder.path(), "probe", Vec::new()).0,
                device: "probe".into(),
                logs: logs.clone(),
            },
            clock: Clock::start(),
            // Nothing is held back.
            overruns: Lines::one_in(Duration::ZERO, 1, Instant::now()),
        };
        let lines = || logs.history(10).entries.len();
        feed.bytes(&[1; 4]);
        assert_eq!(lines(), 0);
        feed.bytes(&[2; 4]);
        assert_eq!((lines(), feed.health.overrun_bytes.get()), (1, 4));
        inbox.abandon();
        feed.bytes(&[3; 4]);
        assert_eq!((lines(), feed.health.overrun_bytes.get()), (1, 8));
    }
}
