//! A configured device: its ports, its driver's thread, and the orders that the thread takes.
//!
//! The thread owns the cell and everything in it. It steps the cell until there is nothing to do, then waits for the inbox. Orders (a swap, new
//! settings, a stop) are taken between two steps, when the driver is at rest.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use autobench_core::driver::versions::VersionHash;
use autobench_core::driver::{CallTime, Cell, Setup, SharedInbox, Step, StopReason};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::builder::InstanceBuilder;
use super::engine::Engine;
use super::host_state::ReadSlices;
use super::instance::Instance;
use super::loader::Prepared;
use super::shadow::{Tap, Tapping};
use super::sink::DeviceSink;
use super::swap::{Start, SwapOrder};
use crate::sched;
use crate::serial::Port;

/// A driver's thread and what it is fed by.
pub struct Device {
    inbox: SharedInbox,
    orders: Arc<Orders>,
    ports: Vec<Port>,
    thread: Option<JoinHandle<()>>,
    pub(super) engine: Arc<Engine>,
    pub(super) memory_limit_bytes: usize,
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

pub(super) enum Order {
    /// None is answered by a driver that is down.
    HeadStart(oneshot::Sender<Option<Start>>),
    Swap(Box<SwapOrder>),
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

    pub(super) fn order(&self, order: Order) {
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
pub(super) struct Worker {
    orders: Arc<Orders>,
    pub(super) cell: Cell<Instance>,
    pub(super) builder: InstanceBuilder,
    /// The version that rests while the one that runs is on probation. The cell may have dropped it since.
    pub(super) former: Option<VersionHash>,
    pub(super) sink: DeviceSink,
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
                    self.sink.unsent = None;
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
            Order::HeadStart(answer) => {
                let start = self.head_start();
                // Nobody waits any more when the daemon is going down.
                let _ = answer.send(start);
            }
            Order::Swap(order) => {
                let outcome = self.swap(&order.version, order.successor);
                let _ = order.answer.send(outcome);
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

    pub(super) fn runs(&self) -> bool {
        self.cell.status() == autobench_core::driver::Status::Running
    }

    pub(super) fn now(&self) -> CallTime {
        self.sink.clock.now()
    }

    /// Counts one step of the cell.
    fn count(&self, began: CallTime) {
        let took_ns = self.sink.clock.monotonic_ns().saturating_sub(began.monotonic_ns);
        self.sink.health.called(took_ns);
    }
}
