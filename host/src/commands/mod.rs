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
//! client under it. What must wait for the disk waits on the worker's thread. The lock comes before those of an inbox, of the hub's rings and of
//! a client, and none of them is held when it is taken.
//!
//! Bounds: [`COMMANDS`](autobench_core::driver::COMMANDS) commands under way per device, one more is refused with `busy`; with them the worker's
//! queue is bounded too. [`RECENT`](autobench_core::commands::RECENT) commands can be looked up, [`KEYS`](autobench_core::commands::KEYS) keys are kept.

mod file;
mod worker;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use autobench_core::commands::{
    Admission, Book, Change, Ending, Fingerprint, Ledger, Line, Refused, Request, Stage,
};
use autobench_core::driver::{
    Breakdown, CallTime, Cancelled, Command, CommandId, CommandReply, LogLevel, SharedInbox,
};
use autobench_core::wire::{CommandRequest, CommandStatus, DeviceStatus, ErrorCode};
use parking_lot::{Condvar, Mutex, MutexGuard};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::driver::record::DeviceRecord;
use crate::driver::{CommandTable, Unfit};
use crate::hub::Hub;
use crate::logs::{LogHandle, LogRecord};
use file::LedgerFile;

/// Longest that somebody may wait for the end of a command in one request.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// Name of the ledger in the data folder.
const LEDGER: &str = "commands.jsonl";

/// The router while it runs. Closing it ends its thread.
pub struct Commands {
    router: Router,
    thread: Option<JoinHandle<()>>,
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
    /// Counts changes, for those who wait for one.
    changes: watch::Sender<u64>,
    clock: Clock,
    hub: Hub,
    logs: LogHandle,
}

struct Inner {
    book: Book,
    devices: BTreeMap<Arc<str>, Device>,
    jobs: VecDeque<Job>,
    /// Commands among the jobs, or in the worker's hands: their drivers have not heard of them.
    unsent: HashSet<CommandId>,
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
                    devices: BTreeMap::new(),
                    jobs: VecDeque::new(),
                    unsent: HashSet::new(),
                    is_closing: false,
                }),
                work: Condvar::new(),
                changes: watch::channel(0).0,
                clock,
                hub,
                logs,
            }),
        };
        let shared = Arc::clone(&router.shared);
        let thread = std::thread::Builder::new()
            .name("commands".to_owned())
            .spawn(move || worker::run(&shared, ledger))?;
        Ok(Self {
            router,
            thread: Some(thread),
        })
    }

    /// The router.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Writes down what is left and ends the thread. Blocks for as long as the disk takes. Called when no driver runs any more.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        self.router.shared.inner.lock().is_closing = true;
        self.router.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

impl Router {
    /// Takes a command, or says why not. `on_taken` sees it while nobody is told of another stage: whoever begins to follow it there
    /// misses none and hears none twice.
    pub fn submit(
        &self,
        request: CommandRequest,
        actor: &str,
        on_taken: impl FnOnce(&CommandStatus),
    ) -> Result<CommandStatus, Refused> {
        let CommandRequest {
            device,
            name,
            args,
            idempotency_key,
            deadline_ms,
        } = request;
        let arguments = serde_json::Value::Object(args.unwrap_or_default());
        let text = canonical(&arguments);
        let request = Request {
            device: device.as_str().into(),
            fingerprint: fingerprint(&name, &text),
            arguments: text,
            name,
            actor: actor.into(),
            key: idempotency_key,
            deadline_ms,
        };
        // A key that is known is answered whatever the device does now: nothing is going to be sent.
        let is_known = self.shared.inner.lock().book.known(&request)?.is_some();
        if !is_known {
            self.check(&request, &arguments)?;
        }
        let mut inner = self.shared.inner.lock();
        match inner.book.submit(request, self.shared.clock.now())? {
            Admission::Known(status) => {
                on_taken(&status);
                Ok(status)
            }
            Admission::New(command, change) => {
                self.shared.tell(&change.status);
                on_taken(&change.status);
                inner.unsent.insert(command.id.clone());
                inner.jobs.push_back(Job::Send {
                    device: change.status.device.as_str().into(),
                    command,
                    line: change.line,
                });
                drop(inner);
                self.shared.work.notify_one();
                Ok(change.status)
            }
        }
    }

    /// How a command is.
    pub fn status(&self, id: &str) -> Option<CommandStatus> {
        self.shared.inner.lock().book.status(id)
    }

    /// Lets somebody see how a command is while nobody is told of another stage: what is said there comes before what follows.
    pub fn look(&self, id: &str, see: impl FnOnce(&CommandStatus)) -> bool {
        let inner = self.shared.inner.lock();
        let status = inner.book.status(id);
        status.as_ref().map(see).is_some()
    }

    /// The newest commands of this run, newest first.
    pub fn recent(&self) -> Vec<CommandStatus> {
        self.shared.inner.lock().book.recent().rev().collect()
    }

    /// Withdraws a command. One that its driver has not heard of is cancelled at once; otherwise the driver is asked, and its answer is a stage
    /// as any other. One that is over stays as it is.
    pub fn cancel(&self, id: &str, actor: &str) -> Result<CommandStatus, Refused> {
        let unknown = || refused(ErrorCode::UnknownCommandId, format!("no command {id:?} is known"));
        let shared = &self.shared;
        let mut inner = shared.inner.lock();
        let Some((device, stage)) = inner.book.stage(id) else {
            return inner.book.status(id).ok_or_else(unknown);
        };
        let (device, id) = (Arc::clone(device), CommandId(id.into()));
        if !stage.is_final() {
            let reason = format!("cancelled by {actor}");
            let is_withdrawn = inner.unsent.contains(&id)
                || match inner.inbox(&device) {
                    Some(inbox) => {
                        matches!(
                            inbox.cancel_command(&id, reason.as_str()),
                            Cancelled::BeforeDelivery(_)
                        )
                    }
                    None => false,
                };
            if is_withdrawn {
                let reason = format!("on-request: {reason} before it was sent");
                shared.end(&mut inner, &id, Ending::Cancelled, &reason);
            }
        }
        inner.book.status(&id.0).ok_or_else(unknown)
    }

    /// How a command is when it is over, or when the time is. None if it is not known.
    pub async fn wait(&self, id: &str, timeout: Duration) -> Option<CommandStatus> {
        let mut changes = self.shared.changes.subscribe();
        let over = async {
            loop {
                match self.status(id) {
                    Some(status) if !status.status.is_final() => {}
                    status => return status,
                }
                // The sender lives as long as this router.
                if changes.changed().await.is_err() {
                    return self.status(id);
                }
            }
        };
        match tokio::time::timeout(timeout.min(WAIT_MAX), over).await {
            Ok(status) => status,
            Err(_) => self.status(id),
        }
    }

    /// A handle that keeps nothing alive.
    pub fn downgrade(&self) -> WeakRouter {
        WeakRouter(Arc::downgrade(&self.shared))
    }

    // --- devices ---

    /// A device is configured.
    pub fn add_device(&self, device: &str, record: DeviceRecord, granted: &[String]) {
        let added = Device {
            record,
            granted: granted.into(),
            driver: None,
        };
        self.shared.inner.lock().devices.insert(device.into(), added);
    }

    /// A device is not configured any more.
    pub fn remove_device(&self, device: &str) {
        self.shared.inner.lock().devices.remove(device);
    }

    /// A device's driver takes commands from this inbox.
    pub fn attach(&self, device: &str, inbox: SharedInbox, table: Arc<CommandTable>) {
        if let Some(device) = self.shared.inner.lock().devices.get_mut(device) {
            device.driver = Some(Driver { inbox, table });
        }
    }

    /// Another version of the driver has other commands.
    pub fn describe(&self, device: &str, table: &Arc<CommandTable>) {
        let mut inner = self.shared.inner.lock();
        if let Some(driver) = inner
            .devices
            .get_mut(device)
            .and_then(|device| device.driver.as_mut())
        {
            driver.table = Arc::clone(table);
        }
    }

    /// The way back from a device's driver.
    pub fn of_device(&self, device: &Arc<str>) -> DeviceCommands {
        DeviceCommands {
            router: self.clone(),
            device: Arc::clone(device),
        }
    }

    // --- inside ---

    fn check(&self, request: &Request, arguments: &serde_json::Value) -> Result<(), Refused> {
        let (found, known) = {
            let inner = self.shared.inner.lock();
            let known: Vec<String> = inner.devices.keys().map(ToString::to_string).collect();
            (inner.devices.get(&request.device).cloned(), known)
        };
        let id = &request.device;
        let Some(device) = found else {
            return Err(refused(
                ErrorCode::UnknownDevice,
                format!("there is no device {id:?}; there are: {}", listed(&known)),
            ));
        };
        let (status, phase, reason) = device
            .record
            .read(|entry| (entry.status, entry.phase.clone(), entry.reason.clone()));
        let driver = match device.driver {
            Some(driver) if status == DeviceStatus::Running => driver,
            _ => return Err(not_ready(id, status, phase, reason)),
        };
        let unfit = match driver.table.check(&request.name, arguments, &device.granted) {
            Ok(()) => return Ok(()),
            Err(unfit) => unfit,
        };
        Err(match unfit {
            Unfit::Unknown(known) => refused(
                ErrorCode::UnknownCommand,
                format!(
                    "{id} has no command {:?}; it has: {}",
                    request.name,
                    listed(&known)
                ),
            ),
            Unfit::Dangerous => refused(
                ErrorCode::NotGranted,
                format!(
                    "the command {0:?} is dangerous; to allow it write dangerous-commands = [\"{0}\"] in [devices.{id}.grants]",
                    request.name
                ),
            ),
            Unfit::Arguments(problem) => refused(
                ErrorCode::BadArguments,
                format!("the arguments of {:?} do not fit: {problem}", request.name),
            ),
        })
    }
}

impl WeakRouter {
    /// The router, if it is still there.
    pub fn upgrade(&self) -> Option<Router> {
        self.0.upgrade().map(|shared| Router { shared })
    }
}

impl std::fmt::Debug for WeakRouter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakRouter")
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Router")
    }
}

impl DeviceCommands {
    /// The driver's call with a command has returned.
    pub fn sent(&self, command: &Command, now: CallTime) {
        let mut inner = self.router.shared.inner.lock();
        if let Some(change) = inner.book.sent(&command.id, now) {
            self.router.shared.publish(&mut inner, change);
        }
    }

    /// The driver answers.
    pub fn replies(&self, replies: impl Iterator<Item = CommandReply>, now: CallTime) {
        let mut inner = self.router.shared.inner.lock();
        for reply in replies {
            if let Some(change) = inner.book.reply(&reply, now) {
                self.router.shared.publish(&mut inner, change);
            }
        }
    }

    /// The driver's call with a command broke down: it had no effect.
    pub fn broke_down(&self, command: &Command, breakdown: &Breakdown) {
        let mut inner = self.router.shared.inner.lock();
        let reason = format!("broke-down: the driver broke down over it, without effect: {breakdown}");
        self.router
            .shared
            .end(&mut inner, &command.id, Ending::Failed, &reason);
    }

    /// The driver starts without memory of what it had been sent. It goes on with what it has answered in its start; how the rest ended
    /// nobody will know.
    pub fn forgotten(&self, answered: &[CommandId]) {
        let shared = &self.router.shared;
        let mut inner = shared.inner.lock();
        for (id, stage) in inner.book.under_way(&self.device) {
            if stage == Stage::Queued || answered.contains(&id) {
                continue;
            }
            if let Some(inbox) = inner.inbox(&self.device) {
                inbox.forget_command(&id);
            }
            let reason = "unknown-outcome: the driver started again without memory of the command";
            shared.end(&mut inner, &id, Ending::Failed, reason);
        }
    }

    /// The driver is down and is not started again by itself, or is gone.
    pub fn down(&self, why: &str, is_gone: bool) {
        let shared = &self.router.shared;
        let mut inner = shared.inner.lock();
        for (id, stage) in inner.book.under_way(&self.device) {
            if let Some(inbox) = inner.inbox(&self.device) {
                // Should it be started again, it is told that nobody waits for this one any more.
                inbox.expire_command(&id, why);
            }
            let reason = match stage {
                Stage::Queued => format!("not-sent: {why}"),
                _ => format!("unknown-outcome: {why}"),
            };
            shared.end(&mut inner, &id, Ending::Failed, &reason);
        }
        if is_gone && let Some(device) = inner.devices.get_mut(&self.device) {
            device.driver = None;
        }
    }
}

impl Shared {
    fn end(&self, inner: &mut MutexGuard<'_, Inner>, id: &CommandId, ending: Ending, reason: &str) {
        if let Some(change) = inner.book.end(id, ending, reason, self.clock.now()) {
            self.publish(inner, change);
        }
    }

    /// Tells everybody, and has it written down where the command has a key.
    fn publish(&self, inner: &mut MutexGuard<'_, Inner>, change: Change) {
        self.tell(&change.status);
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

fn not_ready(device: &str, status: DeviceStatus, phase: Option<String>, reason: Option<String>) -> Refused {
    let status = serde_json::to_value(status).ok();
    let status = status
        .as_ref()
        .and_then(serde_json::Value::as_str)
        .unwrap_or("down");
    let phase = phase
        .map(|phase| format!(", its device {phase}"))
        .unwrap_or_default();
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    refused(
        ErrorCode::NotReady,
        format!("the driver of {device} is {status}{phase}{reason}"),
    )
}

fn refused(code: ErrorCode, message: String) -> Refused {
    Refused { code, message }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// The hash that tells whether two commands are the same.
fn fingerprint(name: &str, arguments: &str) -> Fingerprint {
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    hash.update([0]);
    hash.update(arguments.as_bytes());
    Fingerprint(hash.finalize().into())
}

/// One text for one value: members in the order of their names, however the client wrote them.
fn canonical(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            let members: Vec<String> = members
                .into_iter()
                .map(|(name, value)| {
                    format!("{}:{}", serde_json::Value::from(name.as_str()), canonical(value))
                })
                .collect();
            format!("{{{}}}", members.join(","))
        }
        serde_json::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        scalar => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests;
