//! What clients ask of the router, and what the supervisor tells it of devices.

use std::sync::Arc;
use std::time::Duration;

use autobench_core::commands::{Admission, ClientId, Fingerprint, Refused, Request};
use autobench_core::driver::{CommandId, SharedInbox};
use autobench_core::wire::{CommandRequest, CommandStatus, DeviceStatus, ErrorCode};
use sha2::{Digest, Sha256};

use super::file::KEY_BYTES;
use super::{Device, DeviceCommands, Driver, Job, Router, WAIT_MAX, WeakRouter};
use crate::driver::record::DeviceRecord;
use crate::driver::{CommandTable, Unfit};
use crate::serial::Withholding;

impl Router {
    /// Takes a command, or says why not. A command that holds something is taken only from a client that can let it go. `on_taken` sees it while nobody is told of another stage: whoever begins to follow it there
    /// misses none and hears none twice.
    pub fn submit(
        &self,
        request: CommandRequest,
        actor: &str,
        client: Option<ClientId>,
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
            fingerprint: fingerprint(&self.shared.secret, &name, &text),
            arguments: text,
            name,
            actor: actor.into(),
            key: idempotency_key,
            deadline_ms,
        };
        // A key that is known is answered whatever the device does now: nothing is going to be sent. Whoever is not answered here has to pass the checks: the key
        // may be forgotten by the time it is looked for again.
        {
            let mut inner = self.shared.inner.lock();
            if let Some(status) = inner.book.known(&request, self.shared.clock.now())? {
                on_taken(&status);
                return Ok(status);
            }
        }
        let kind = self.check(&request, &arguments)?;
        let holder = match (kind.is_hold, client) {
            (true, None) => return Err(needs_socket(&request)),
            (true, holder) => holder,
            (false, _) => None,
        };
        let mut inner = self.shared.inner.lock();
        let now = self.shared.clock.now();
        match inner.book.submit(request, now)? {
            Admission::Known(status) => {
                on_taken(&status);
                Ok(status)
            }
            Admission::New(command, change) => {
                let device: Arc<str> = change.status.device.as_str().into();
                if let Some(client) = holder {
                    inner.holds.begin(&device, &command.id, client, now.monotonic_ns);
                    self.shared.held.notify_one();
                }
                if let Some(withholding) = kind.secret {
                    withholding.begin();
                    inner.secrets.insert(command.id.clone(), withholding);
                }
                self.shared.tell(&change.status);
                on_taken(&change.status);
                inner.unsent.insert(command.id.clone());
                inner.jobs.push_back(Job::Send {
                    device,
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
            shared.withdraw(&mut inner, &device, &id, &format!("cancelled by {actor}"));
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

    /// A device's driver takes commands from this inbox; what is secret of them is withheld from the captures of its ports.
    pub fn attach(
        &self,
        device: &str,
        inbox: SharedInbox,
        table: Arc<CommandTable>,
        withholding: Arc<Withholding>,
    ) {
        if let Some(device) = self.shared.inner.lock().devices.get_mut(device) {
            device.driver = Some(Driver {
                inbox,
                table,
                withholding,
            });
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

    fn check(&self, request: &Request, arguments: &serde_json::Value) -> Result<Kind, Refused> {
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
            Ok(()) => {
                let is_secret = driver.table.is_secret(&request.name, arguments);
                return Ok(Kind {
                    is_hold: driver.table.is_hold(&request.name),
                    secret: is_secret.then_some(driver.withholding),
                });
            }
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

/// What there is to know of a command that is taken.
struct Kind {
    /// Whether it lasts only as long as its client holds it.
    is_hold: bool,
    /// Of one whose arguments are nobody's business: what keeps them out of captures.
    secret: Option<Arc<Withholding>>,
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

fn needs_socket(request: &Request) -> Refused {
    refused(
        ErrorCode::NeedsSocket,
        format!(
            "what {:?} of {} begins lasts only while a client holds it, so it is taken over the socket alone",
            request.name, request.device
        ),
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

/// The hash that tells whether two commands are the same: HMAC-SHA-256 (RFC 2104) under this installation's key, so that nobody who reads the ledger can
/// find out by trying what a command's arguments were.
pub(super) fn fingerprint(key: &[u8; KEY_BYTES], name: &str, arguments: &str) -> Fingerprint {
    const BLOCK_BYTES: usize = 64;
    let keyed = |pad: u8| {
        let mut hash = Sha256::new();
        hash.update(key.map(|byte| byte ^ pad));
        hash.update([pad; BLOCK_BYTES - KEY_BYTES]);
        hash
    };
    let mut inner = keyed(0x36);
    inner.update(name.as_bytes());
    inner.update([0]);
    inner.update(arguments.as_bytes());
    let mut outer = keyed(0x5c);
    outer.update(inner.finalize());
    Fingerprint(outer.finalize().into())
}

/// One text for one value: members in the order of their names, however the client wrote them.
pub(super) fn canonical(value: &serde_json::Value) -> String {
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
