//! Which plugins there are, which driver runs on which device, and what happens when a file changes.
//!
//! What is to be done is decided by `autobench_core::driver::versions`, a machine without files or threads; this is what surrounds it. It tells
//! the machine what has changed and how things went, and does what the machine says, one thing after the other in one task. Reading, compiling
//! and checking go on beside it. Any failure before the flip leaves the old version running, and the reason stands in the state and in the log.

mod beside;
mod configuration;
mod devices;
mod emulators;
mod files;
mod grants;
mod orders;
mod plugins;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use autobench_core::driver::versions::{Action, VersionHash, Versions};
use autobench_core::driver::{LogLevel, StopReason};
use autobench_core::state::Pointer;
use autobench_core::wire::DriverFault;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::{self, AbortHandle, JoinSet};
use tokio::time::Instant;

use self::beside::{Done, Errand};
use self::emulators::{Emulator, SimulatedPc};
use self::files::{stems_in, watch};
use self::orders::Waiting;
use super::desk::Orders;
use super::device::Device;
use super::endpoints::Endpoints;
use super::leases::of_strangers;
use super::lives::{Lives, Turn};
use super::loader::{Loader, Prepared};
use super::package::Package;
use super::record::DeviceRecord;
use super::shadow::ShadowRuns;
use super::shelf::Shelf;
use super::watch::FolderWatch;
use crate::clock::Clock;
use crate::commands::Router;
use crate::config::{BenchConfig, ConfigLoader, DeviceConfig, DeviceId};
use crate::hub::Hub;
use crate::logs::{LogHandle, LogRecord};
use crate::metrics::Registry;
use crate::serial::Port;
use crate::state::StateHandle;

/// What the supervisor works with.
#[derive(Clone)]
pub struct Services {
    /// The state.
    pub state: StateHandle,
    /// The fan-out.
    pub hub: Hub,
    /// The log.
    pub logs: LogHandle,
    /// The command router.
    pub commands: Router,
    /// The clock.
    pub clock: Clock,
    /// Numbers of telemetry series.
    pub endpoints: Endpoints,
    /// Who asks what drivers count.
    pub metrics: Registry,
    /// Where shadow runs are asked for.
    pub shadow_runs: ShadowRuns,
}

/// An emulator that the daemon has started for a `sim` port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulated {
    /// The device it stands for.
    pub device: String,
    /// The port it is behind.
    pub port: String,
    /// Where its pseudo-terminal is.
    pub link: PathBuf,
    /// Seed of its noise.
    pub seed: u64,
}

/// The supervisor's task, while it runs.
pub struct Supervisor {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
    simulated: Vec<Simulated>,
}

impl Supervisor {
    /// Loads every plugin, starts every device, and goes on in a task of its own.
    pub async fn start(
        config: BenchConfig,
        config_loader: ConfigLoader,
        loader: Loader,
        services: Services,
        orders: Orders,
    ) -> std::io::Result<Self> {
        let mut bench = Bench::new(config, config_loader, loader, services)?;
        bench.load_all().await;
        let simulated = bench.simulated();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(bench.run(orders, stopped));
        Ok(Self {
            stop,
            task,
            simulated,
        })
    }

    /// The emulators that were started.
    pub fn simulated(&self) -> &[Simulated] {
        &self.simulated
    }

    /// Stops every driver, lets its last words leave, and ends the task.
    pub async fn close(self) {
        // The task has ended already when nobody listens.
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!(channel = "app", "the supervisor ended badly: {error}");
        }
    }
}

type Records = Arc<Mutex<BTreeMap<DeviceId, DeviceRecord>>>;

/// File stem of a plugin.
type Stem = Arc<str>;

struct Bench {
    config: BenchConfig,
    config_loader: ConfigLoader,
    loader: Loader,
    services: Services,
    watch: FolderWatch,
    endpoints: Endpoints,
    versions: Versions,
    /// What `versions` has at hand.
    prepared: BTreeMap<VersionHash, Arc<Prepared>>,
    shelf: Shelf,
    lives: Lives,
    devices: BTreeMap<DeviceId, Slot>,
    pc: SimulatedPc,
    /// The last generation of each device, so that it goes on rising when the device is stopped and started. One number per id that was ever
    /// configured in this run.
    generations: BTreeMap<DeviceId, u64>,
    /// The same devices, for whoever writes their counters.
    records: Records,
    /// What goes on beside: at most one look per plugin and one fetch per device.
    beside: JoinSet<Done>,
    /// What each of them was sent for, in case that it never comes back.
    errands: HashMap<task::Id, Errand>,
    looks: BTreeMap<Stem, AbortHandle>,
    /// What was read and is not yet being prepared.
    packages: BTreeMap<Stem, Package>,
    /// What programs are told of files that are refused.
    refused_files: BTreeMap<Stem, RefusedFile>,
    /// Files whose names no plugin can have, told once each.
    ignored: BTreeSet<PathBuf>,
    /// The main file, absolute: that is how changes of it are told.
    config_path: PathBuf,
    drop_in_folder: PathBuf,
    config_changed: Option<Instant>,
    /// When the plugin folder, which is gone, is looked for again.
    folder_due: Option<Instant>,
    /// Set while a configuration that would stop a device is given a moment: it may be half written.
    config_in_doubt: bool,
    config_is_bad: bool,
    /// Orders that wait for what comes of them.
    waiting: Vec<Waiting>,
}

/// Why nobody can run what is in a file.
struct RefusedFile {
    code: &'static str,
    fault: Option<DriverFault>,
}

/// A configured device.
struct Slot {
    config: DeviceConfig,
    record: DeviceRecord,
    device: Option<Device>,
    /// The version that its thread runs.
    running: Option<Arc<Prepared>>,
    emulators: Vec<(Simulated, Emulator)>,
    /// Ports that are open for what undoes holds of an earlier run, while no driver runs.
    undoing: Vec<Port>,
}

impl Bench {
    fn new(
        config: BenchConfig,
        config_loader: ConfigLoader,
        loader: Loader,
        services: Services,
    ) -> std::io::Result<Self> {
        // A folder that devices name is somewhere, maybe not mounted yet: an empty one in its place would hide that.
        if config.devices.is_empty() {
            std::fs::create_dir_all(&config.daemon.plugins_dir)?;
        }
        let config_path = std::path::absolute(config_loader.path())?;
        let drop_in_folder = std::path::absolute(config_loader.drop_in_folder())?;
        let watch = watch(&config.daemon.plugins_dir, &config_path, &drop_in_folder)?;
        let shelf = Shelf::open(config.daemon.data_dir.join("versions"))?;
        let endpoints = services.endpoints.clone();
        let records = Records::default();
        let counted = Arc::clone(&records);
        services.state.register_counters(move |store| {
            counted
                .lock()
                .values()
                .for_each(|record| record.write_counters(store))
        });
        let scraped = Arc::clone(&records);
        services.metrics.register(move |page| {
            let drivers: Vec<_> = scraped.lock().values().map(DeviceRecord::scraped).collect();
            super::metrics::page(page, &drivers);
        });
        Ok(Self {
            config,
            config_loader,
            loader,
            services,
            watch,
            endpoints,
            versions: Versions::default(),
            prepared: BTreeMap::new(),
            shelf,
            lives: Lives::default(),
            devices: BTreeMap::new(),
            pc: SimulatedPc::default(),
            generations: BTreeMap::new(),
            ignored: BTreeSet::new(),
            records,
            beside: JoinSet::new(),
            errands: HashMap::new(),
            looks: BTreeMap::new(),
            packages: BTreeMap::new(),
            refused_files: BTreeMap::new(),
            config_path,
            drop_in_folder,
            config_changed: None,
            folder_due: None,
            config_in_doubt: false,
            config_is_bad: false,
            waiting: Vec::new(),
        })
    }

    async fn load_all(&mut self) {
        if !self.config.daemon.plugins_dir.is_dir() {
            self.watch_again();
        }
        // The files first, so that it is known of which devices there are none.
        for stem in stems_in(&self.config.daemon.plugins_dir) {
            self.versions.file_found(&stem);
        }
        for config in self.config.devices.values().cloned().collect::<Vec<_>>() {
            self.add_device(config).await;
        }
        let leases = self.config.daemon.data_dir.join("leases");
        let is_configured = |device: &str| self.devices.keys().any(|id| id.as_str() == device);
        for line in of_strangers(&leases, is_configured) {
            self.log(LogLevel::Error, None, line);
        }
        self.ignore_misnamed();
        self.act().await;
        while let Some(done) = self.beside.join_next_with_id().await {
            self.done(done).await;
        }
        // Whoever can run, runs now.
        let down = self.devices.iter().filter(|(_, slot)| slot.device.is_none());
        for id in down.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.undo_alone(&id);
        }
    }

    async fn run(mut self, mut orders: Orders, mut stop: oneshot::Receiver<()>) {
        let lives = self.lives.clone();
        loop {
            let due = self.next_due();
            tokio::select! {
                _ = &mut stop => break,
                paths = self.watch.changed() => self.note(&paths).await,
                turns = lives.changed() => self.hear(turns).await,
                () = sleep_until(due) => self.settle().await,
                Some(done) = self.beside.join_next_with_id() => self.done(done).await,
                asked = orders.next() => self.take_order(asked).await,
            }
            self.answer_orders();
        }
        self.beside.shutdown().await;
        for id in self.devices.keys().cloned().collect::<Vec<_>>() {
            self.stop_device(&id, StopReason::Shutdown).await;
        }
    }

    fn simulated(&self) -> Vec<Simulated> {
        self.devices
            .values()
            .flat_map(|slot| &slot.emulators)
            .map(|(simulated, _)| simulated.clone())
            .collect()
    }

    fn now_ns(&self) -> u64 {
        self.services.clock.monotonic_ns()
    }

    fn next_due(&self) -> Option<Instant> {
        let versions_due = self
            .versions
            .next_deadline_ns()
            .map(|due_ns| Instant::now() + Duration::from_nanos(due_ns.saturating_sub(self.now_ns())));
        versions_due
            .into_iter()
            .chain(self.config_changed)
            .chain(self.folder_due)
            .min()
    }

    async fn settle(&mut self) {
        let now = Instant::now();
        self.versions.time(self.now_ns());
        self.act().await;
        if self.folder_due.is_some_and(|due| due <= now) {
            self.watch_again();
            self.act().await;
        }
        if self.config_changed.is_some_and(|due| due <= now) {
            self.config_changed = None;
            self.reload_configuration().await;
        }
    }

    /// Tells the machine how the drivers are.
    async fn hear(&mut self, turns: BTreeMap<Arc<str>, Turn>) {
        for (device, turn) in turns {
            let Turn {
                broken,
                live,
                has_ended,
            } = turn;
            if let Some(broken) = broken {
                self.versions.broke_down(&device, broken);
            }
            if let Some(version) = live {
                self.versions.live(&device, version, self.now_ns());
            }
            if has_ended {
                self.versions.ended(&device);
            }
        }
        self.act().await;
    }

    /// Does what the machine says, until it has nothing more to say.
    async fn act(&mut self) {
        while let Some(action) = self.versions.next_action() {
            match action {
                Action::Read { plugin, look } => self.read(plugin, look),
                Action::Prepare {
                    plugin,
                    look,
                    is_first,
                    ..
                } => self.prepare(plugin, look, is_first),
                Action::GiveUp { plugin } => {
                    if let Some(look) = self.looks.remove(&plugin) {
                        look.abort();
                    }
                    self.packages.remove(&plugin);
                }
                Action::Fetch { device, hash } => self.fetch(device, hash),
                Action::Start {
                    device,
                    hash,
                    is_return,
                } => self.start_version(&device, hash, is_return).await,
                Action::Swap {
                    device,
                    hash,
                    is_return,
                } => self.swap(&device, hash, is_return).await,
                Action::Release { device } => {
                    let slot = self.devices.get(&*device);
                    if let Some(device) = slot.and_then(|slot| slot.device.as_ref()) {
                        device.release();
                    }
                }
                Action::Stop { device } => self.stop_without_file(&device).await,
                Action::Down { device, reason } => self.say_down(&device, reason),
                Action::First { device } => self.say_first(&device),
                Action::Missing { device } => self.say_missing(&device),
                Action::Refuse { plugin, hash, reason } => self.say_refused(&plugin, hash, &reason),
                Action::Wait {
                    plugin,
                    device,
                    hash,
                    wants,
                } => self.say_waiting(&plugin, &device, hash, &wants),
                Action::Gone { plugin } => self.say_gone(&plugin),
                Action::Publish { plugin } => self.publish_plugin(&plugin),
                Action::Persist { device } => self.persist(&device).await,
                Action::Forget { hash } => {
                    self.prepared.remove(&hash);
                    self.shelf.let_go(hash);
                }
            }
        }
    }

    /// Waits for the disk, so that what comes after it is only told once it is written; but not on a thread that others wait for.
    async fn persist(&mut self, device: &str) {
        let Some(record) = self.versions.record(device).cloned() else {
            return;
        };
        let unwritten = self.shelf.note(device, record);
        let written = tokio::task::spawn_blocking(move || unwritten.write()).await;
        match written.unwrap_or_else(|ended| Err(std::io::Error::other(ended))) {
            Ok(dropped) => dropped
                .into_iter()
                .filter(|hash| !self.prepared.contains_key(hash))
                .for_each(|hash| self.shelf.let_go(hash)),
            Err(error) => self.log_of(
                LogLevel::Error,
                device,
                format!("which of its versions are good is not written ({error}); a restart of the daemon will not know"),
            ),
        }
    }

    fn log(&self, level: LogLevel, device: Option<&DeviceId>, message: String) {
        match device {
            Some(id) => self.log_of(level, id.as_str(), message),
            None => self.append(LogRecord::new("app", level, message)),
        }
    }

    fn log_of(&self, level: LogLevel, device: &str, message: String) {
        self.append(LogRecord::new("device", level, message).of_device(device));
    }

    fn append(&self, record: LogRecord) {
        self.services.logs.append(record.of_module("supervisor"));
    }
}

/// The place of a member of one of the host's maps.
fn member_path(map: &str, key: &str) -> Pointer {
    Pointer::of([map, key])
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
