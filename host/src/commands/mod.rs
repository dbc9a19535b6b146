//! The command router: from what a client wants to what a driver is told, and back to what is heard of it.
//!
//! ```text
//! socket, HTTP -> submit: key known? device ready? arguments? busy? -> book: queued
//!                                                                       | worker: key to the disk, in groups
//!                                                                     driver's inbox
//!                                                                       | sink: the call has returned
//! hub, waiters <--------- every stage, in order ---------------------- book: sent, acked, succeeded ...
//! ```
//!
//! One lock holds the book and what is on its way, for a few map operations at a time; nobody writes to a disk, calls a driver or waits for a
//! client under it. What must wait for the disk waits on the worker's thread, and what was not renewed ends on a thread of its own, which never
//! waits for anything else. The lock comes before those of an inbox, of the hub's rings and of
//! a client, and none of them is held when it is taken.
//!
//! Bounds: [`COMMANDS`](autobench_core::driver::COMMANDS) commands under way per device, one more is refused with `busy`; with them the worker's
//! queue is bounded too. [`RECENT`](autobench_core::commands::RECENT) commands can be looked up, [`KEYS`](autobench_core::commands::KEYS) keys are kept.

mod device;
mod file;
mod holds;
mod router;
mod worker;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use autobench_core::commands::{Book, Change, Ending, Holds, Ledger, Line, Stage};
use autobench_core::driver::{Cancelled, Command, CommandId, LogLevel, SharedInbox};
use autobench_core::wire::CommandStatus;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::driver::CommandTable;
use crate::driver::record::DeviceRecord;
use crate::hub::Hub;
use crate::logs::{LogHandle, LogRecord};
use crate::serial::{ABANDONED_NS, AFTERMATH_NS, Withholding};
use file::{KEY_BYTES, LedgerFile};

/// Longest that somebody may wait for the end of a command in one request.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// Name of the ledger in the data folder.
const LEDGER: &str = "commands.jsonl";

/// Name of the file with the key that the ledger's hashes are made with.
const LEDGER_KEY: &str = "commands.key";

/// The router while it runs. Closing it ends its threads.
pub struct Commands {
    router: Router,
    threads: Vec<JoinHandle<()>>,
}

/// A handle on the router. Cheap to clone.
#[derive(Clone)]
pub struct Router {
    shared: Arc<Shared>,
}

/// A handle that keeps nothing alive, for those whom the router itself tells of stages.
#[derive(Clone, Default)]
pub struct WeakRouter(Weak<Shared>);

/// What a driver's thread tells the router of its device's commands.
#[derive(Clone)]
pub struct DeviceCommands {
    router: Router,
    device: Arc<str>,
}

struct Shared {
    inner: Mutex<Inner>,
    /// The worker has something to do.
    work: Condvar,
    /// Something is held.
    held: Condvar,
    /// Counts changes, for those who wait for one.
    changes: watch::Sender<u64>,
    clock: Clock,
    hub: Hub,
    logs: LogHandle,
    /// What hashes of arguments are made with.
    secret: [u8; KEY_BYTES],
}

struct Inner {
    book: Book,
    holds: Holds,
    devices: BTreeMap<Arc<str>, Device>,
    jobs: VecDeque<Job>,
    /// Commands among the jobs, or in the worker's hands: their drivers have not heard of them.
    unsent: HashSet<CommandId>,
    /// Commands under way whose arguments are nobody's business, with what keeps them out of the captures of their devices.
    secrets: HashMap<CommandId, Arc<Withholding>>,
    is_closing: bool,
}

/// What the worker does, in order.
enum Job {
    /// A line of which nothing depends on the disk.
    Write(Line),
    /// A command that goes to its driver, once its line is on the disk.
    Send {
        device: Arc<str>,
        command: Arc<Command>,
        line: Option<Line>,
    },
}

#[derive(Clone)]
struct Device {
    record: DeviceRecord,
    /// Dangerous commands that are granted.
    granted: Arc<[String]>,
    driver: Option<Driver>,
}

#[derive(Clone)]
struct Driver {
    inbox: SharedInbox,
    table: Arc<CommandTable>,
    withholding: Arc<Withholding>,
}

impl Commands {
    /// Reads the ledger and starts the worker. `boot_id` names this run of the daemon.
    pub fn start(
        data_dir: &Path,
        boot_id: &str,
        clock: Clock,
        logs: LogHandle,
        hub: Hub,
    ) -> io::Result<Self> {
        let now_ms = clock.now().wall_ms as u64;
        let (mut ledger, restored) = Ledger::open(LedgerFile::new(data_dir.join(LEDGER)), now_ms)?;
        if restored.damaged_lines > 0 {
            logs.append(LogRecord::new(
                "app",
                LogLevel::Error,
                format!(
                    "{} lines of {LEDGER} are damaged; their idempotency keys are forgotten",
                    restored.damaged_lines
                ),
            ));
        }
        let secret = file::key(&data_dir.join(LEDGER_KEY))?;
        let mut book = Book::new(boot_id.get(..8).unwrap_or(boot_id));
        let unknown = book.restore(restored, now_ms);
        for change in &unknown {
            log_end(&logs, &change.status);
        }
        let lines: Vec<Line> = unknown.into_iter().filter_map(|change| change.line).collect();
        ledger.write(&lines, true, now_ms)?;
        let router = Router {
            shared: Arc::new(Shared {
                inner: Mutex::new(Inner {
                    book,
                    holds: Holds::default(),
                    devices: BTreeMap::new(),
                    jobs: VecDeque::new(),
                    secrets: HashMap::new(),
                    unsent: HashSet::new(),
                    is_closing: false,
                }),
                work: Condvar::new(),
                held: Condvar::new(),
                changes: watch::channel(0).0,
                clock,
                hub,
                logs,
                secret,
            }),
        };
        let mut commands = Self {
            router,
            threads: Vec::new(),
        };
        let shared = Arc::clone(&commands.router.shared);
        commands.spawn("commands", move || worker::run(&shared, ledger))?;
        let shared = Arc::clone(&commands.router.shared);
        commands.spawn("holds", move || holds::run(&shared))?;
        Ok(commands)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        self.threads.push(thread);
        Ok(())
    }

    /// The router.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Writes down what is left and ends the threads. Blocks for as long as the disk takes. Called when no driver runs any more.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        self.router.shared.inner.lock().is_closing = true;
        self.router.shared.work.notify_one();
        self.router.shared.held.notify_one();
        for thread in self.threads.drain(..) {
            // A panic of the thread has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn end(&self, inner: &mut MutexGuard<'_, Inner>, id: &CommandId, ending: Ending, reason: &str) {
        if let Some(change) = inner.book.end(id, ending, reason, self.clock.now()) {
            self.publish(inner, change);
        }
    }

    /// Takes a command that is under way back: at once if its driver has not heard of it, otherwise its driver is asked.
    fn withdraw(&self, inner: &mut MutexGuard<'_, Inner>, device: &str, id: &CommandId, why: &str) {
        let is_unheard = inner.unsent.contains(id)
            || inner.inbox(device).is_some_and(|inbox| {
                let cancelled = inbox.cancel_command(id, why);
                matches!(cancelled, Cancelled::BeforeDelivery(_))
            });
        if is_unheard {
            let reason = format!("on-request: {why} before it was sent");
            self.end(inner, id, Ending::Cancelled, &reason);
        }
    }

    /// Tells everybody of what did not come from the driver.
    fn publish(&self, inner: &mut MutexGuard<'_, Inner>, change: Change) {
        self.publish_of(inner, change, false);
    }

    /// Tells everybody, and has it written down where the command has a key.
    fn publish_of(&self, inner: &mut MutexGuard<'_, Inner>, change: Change, by_driver: bool) {
        self.tell(&change.status);
        if change.status.status.is_final() {
            let id = CommandId(change.status.command_id.as_str().into());
            inner.holds.command_over(&id);
            // Its driver has said so, or has never heard of it: nothing of it is left. Otherwise it may be in the middle of it.
            let is_left = change.status.sent_at.is_some() && !by_driver;
            if let Some(withholding) = inner.secrets.remove(&id) {
                let aftermath_ns = if is_left { ABANDONED_NS } else { AFTERMATH_NS };
                withholding.end(self.clock.monotonic_ns(), aftermath_ns);
            }
        }
        if let Some(line) = change.line {
            inner.jobs.push_back(Job::Write(line));
            self.work.notify_one();
        }
    }

    /// Called under the router's lock, so that stages are told in their order.
    fn tell(&self, status: &CommandStatus) {
        self.hub.publish_command(status);
        self.changes.send_modify(|count| *count += 1);
        if status.status == Stage::Queued {
            let message = format!(
                "{} ({}) is asked for by {}",
                status.name, status.command_id, status.actor
            );
            self.logs
                .append(LogRecord::new("device", LogLevel::Info, message).of_device(&*status.device));
        } else if status.status.is_final() {
            log_end(&self.logs, status);
        }
    }
}

impl Inner {
    fn inbox(&self, device: &str) -> Option<SharedInbox> {
        Some(self.devices.get(device)?.driver.as_ref()?.inbox.clone())
    }
}

fn log_end(logs: &LogHandle, status: &CommandStatus) {
    let level = match status.status {
        Stage::Succeeded | Stage::Cancelled => LogLevel::Info,
        _ => LogLevel::Warn,
    };
    let reason = status.reason.as_ref().map(|reason| format!(": {reason}"));
    let message = format!(
        "{} ({}) {}{}",
        status.name,
        status.command_id,
        status.status,
        reason.unwrap_or_default()
    );
    logs.append(LogRecord::new("device", level, message).of_device(&*status.device));
}

#[cfg(test)]
mod tests;
