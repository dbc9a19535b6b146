//! Which plugins there are, which driver runs on which device, and what happens when a file changes.
//!
//! What is to be done is decided by `autobench_core::driver::versions`, a machine without files or threads; this is what surrounds it. It tells
//! the machine what has changed and how things went, and does what the machine says, one thing after the other in one task. Reading, compiling
//! and checking go on beside it. Any failure before the flip leaves the old version running, and the reason stands in the state and in the log.

mod configuration;
mod devices;
mod plugins;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use autobench_core::driver::versions::{Action, Unprepared, Unreadable, VersionHash, Versions};
use autobench_core::driver::{LogLevel, StopReason};
use autobench_core::state::{FORBIDDEN_KEYS, Pointer};
use autobench_sim::wattsup;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::{self, AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;

use super::compile::Urgency;
use super::device::Device;
use super::endpoints::Endpoints;
use super::lives::{Lives, Turn};
use super::loader::{LoadError, Loader, Prepared};
use super::package::{Package, PackageError};
use super::record::DeviceRecord;
use super::shelf::Shelf;
use super::watch::FolderWatch;
use crate::clock::Clock;
use crate::commands::Router;
use crate::config::{BenchConfig, ConfigLoader, DeviceConfig, DeviceId, PluginName};
use crate::hub::Hub;
use crate::logs::{LogHandle, LogRecord};
use crate::state::StateHandle;

/// How long the configuration has to be quiet before it is read.
const QUIET: Duration = Duration::from_millis(30);
/// How long a configuration that stops a device is given to become whole.
const GRACE: Duration = Duration::from_secs(1);

/// File names that are remembered as ignored; past it they are ignored without a word.
const IGNORED_LIMIT: usize = 64;
/// How often a plugin folder that is gone is looked for.
const FOLDER_RETRY: Duration = Duration::from_secs(1);

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
    ) -> std::io::Result<Self> {
        let mut bench = Bench::new(config, config_loader, loader, services)?;
        bench.load_all().await;
        let simulated = bench.simulated();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(bench.run(stopped));
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
}

/// A configured device.
struct Slot {
    config: DeviceConfig,
    record: DeviceRecord,
    device: Option<Device>,
    /// The version that its thread runs.
    running: Option<Arc<Prepared>>,
    emulators: Vec<(Simulated, wattsup::Emulator)>,
}

/// What goes on beside.
enum Errand {
    Read { plugin: Stem, look: u64 },
    Prepare { plugin: Stem, look: u64 },
    Keep(VersionHash),
    Fetch { device: Arc<str>, hash: VersionHash },
}

/// How something that went on beside has ended.
enum Done {
    Read {
        plugin: Stem,
        look: u64,
        result: Result<Package, LoadError>,
    },
    Prepared {
        plugin: Stem,
        look: u64,
        result: Result<Arc<Prepared>, LoadError>,
        package: Package,
    },
    Kept {
        hash: VersionHash,
        result: std::io::Result<()>,
    },
    Fetched {
        device: Arc<str>,
        hash: VersionHash,
        result: Result<Arc<Prepared>, LoadError>,
    },
    /// Its bytes are lost with what went on.
    Unprepared { plugin: Stem, look: u64, reason: String },
}

impl Bench {
    fn new(
        config: BenchConfig,
        config_loader: ConfigLoader,
        loader: Loader,
        services: Services,
    ) -> std::io::Result<Self> {
        std::fs::create_dir_all(&config.daemon.plugins_dir)?;
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
            generations: BTreeMap::new(),
            ignored: BTreeSet::new(),
            records,
            beside: JoinSet::new(),
            errands: HashMap::new(),
            looks: BTreeMap::new(),
            packages: BTreeMap::new(),
            config_path,
            drop_in_folder,
            config_changed: None,
            folder_due: None,
            config_in_doubt: false,
            config_is_bad: false,
        })
    }

    // --- start and end ---

    async fn load_all(&mut self) {
        for config in self.config.devices.values().cloned().collect::<Vec<_>>() {
            self.add_device(config).await;
        }
        self.ignore_misnamed();
        for stem in stems_in(&self.config.daemon.plugins_dir) {
            self.versions.file_found(&stem);
        }
        self.act().await;
        while let Some(done) = self.beside.join_next_with_id().await {
            self.done(done).await;
        }
    }

    async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let lives = self.lives.clone();
        loop {
            let due = self.next_due();
            tokio::select! {
                _ = &mut stop => break,
                paths = self.watch.changed() => self.note(&paths).await,
                turns = lives.changed() => self.hear(turns).await,
                () = sleep_until(due) => self.settle().await,
                Some(done) = self.beside.join_next_with_id() => self.done(done).await,
            }
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

    // --- files ---

    async fn note(&mut self, paths: &BTreeSet<PathBuf>) {
        let now = Instant::now();
        let plugins_dir = self.config.daemon.plugins_dir.clone();
        let mut is_new_folder = false;
        for path in paths {
            if path.parent() == Some(&plugins_dir) {
                match stem_of(path) {
                    Ok(Some(stem)) => self.versions.file_changed(&stem, self.now_ns()),
                    Ok(None) => {}
                    Err(reason) => self.ignore(path, &reason),
                }
            } else if *path == plugins_dir {
                self.look_again(&plugins_dir);
            }
            if self.is_configuration(path) {
                self.config_changed = Some(now + QUIET);
                self.config_in_doubt = false;
            }
            if *path == self.drop_in_folder || plugins_dir.starts_with(path) {
                is_new_folder = true;
            }
        }
        if is_new_folder {
            self.watch_again();
        }
        self.act().await;
    }

    /// A folder that has come or gone is another one from now on, and the watch was on the old one.
    fn watch_again(&mut self) {
        let plugins_dir = self.config.daemon.plugins_dir.clone();
        match watch(&plugins_dir, &self.config_path, &self.drop_in_folder) {
            Ok(watch) => self.watch = watch,
            Err(error) => self.log(
                LogLevel::Error,
                None,
                format!("changed files are no longer noticed: {error}"),
            ),
        }
        let was_gone = self.folder_due.is_some();
        let is_there = plugins_dir.is_dir();
        self.versions.folder(is_there);
        if is_there {
            self.folder_due = None;
            if was_gone {
                self.log(
                    LogLevel::Info,
                    None,
                    format!("the plugin folder {} is back", plugins_dir.display()),
                );
            }
            self.look_again(&plugins_dir);
        } else {
            self.folder_due = Some(Instant::now() + FOLDER_RETRY);
            if !was_gone {
                self.log(
                    LogLevel::Error,
                    None,
                    format!("the plugin folder {} is gone; drivers go on, and new files are taken when it is back", plugins_dir.display()),
                );
            }
        }
    }

    fn ignore_misnamed(&mut self) {
        let entries = std::fs::read_dir(&self.config.daemon.plugins_dir)
            .into_iter()
            .flatten()
            .flatten();
        for path in entries.map(|entry| entry.path()).collect::<Vec<_>>() {
            if let Err(reason) = stem_of(&path) {
                self.ignore(&path, &reason);
            }
        }
    }

    fn ignore(&mut self, path: &Path, reason: &str) {
        if self.ignored.len() < IGNORED_LIMIT && self.ignored.insert(path.to_owned()) {
            self.log(
                LogLevel::Warn,
                None,
                format!(
                    "{:?} in the plugin folder is ignored: {reason}",
                    path.file_name().unwrap_or_default()
                ),
            );
        }
    }

    fn is_configuration(&self, path: &Path) -> bool {
        let is_drop_in = path.extension().is_some_and(|extension| extension == "toml");
        path == self.config_path
            || path == self.drop_in_folder
            || (path.parent() == Some(&self.drop_in_folder) && is_drop_in)
    }

    /// Looks at every file, known or there, because changes may have been missed.
    fn look_again(&mut self, plugins_dir: &Path) {
        let mut stems: BTreeSet<Stem> = self.versions.plugins().cloned().collect();
        stems.extend(stems_in(plugins_dir));
        let now_ns = self.now_ns();
        for stem in &stems {
            self.versions.file_may_have_changed(stem, now_ns);
        }
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
        for (device, Turn { broken, live }) in turns {
            if let Some(broken) = broken {
                self.versions.broke_down(&device, broken);
            }
            if let Some(version) = live {
                self.versions.live(&device, version, self.now_ns());
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
                Action::Start { device, hash } => self.start_version(&device, hash),
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
                Action::Refuse { plugin, hash, reason } => self.say_refused(&plugin, hash, &reason),
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

    /// Reads a file beside everything else.
    fn read(&mut self, plugin: Stem, look: u64) {
        let path = self.config.daemon.plugins_dir.join(format!("{plugin}.wasm"));
        let loader = self.loader.clone();
        let done = Arc::clone(&plugin);
        let handle = self.beside.spawn(async move {
            Done::Read {
                result: loader.read(&path).await,
                plugin: done,
                look,
            }
        });
        let errand = Errand::Read {
            plugin: Arc::clone(&plugin),
            look,
        };
        self.errands.insert(handle.id(), errand);
        self.looks.insert(plugin, handle);
    }

    /// Makes what was read ready to run.
    fn prepare(&mut self, plugin: Stem, look: u64, is_first: bool) {
        let Some(package) = self.packages.remove(&plugin) else {
            return;
        };
        let urgency = if is_first { Urgency::Start } else { Urgency::Beside };
        let (loader, logs) = (self.loader.clone(), self.services.logs.clone());
        let done = Arc::clone(&plugin);
        let handle = self.beside.spawn(async move {
            Done::Prepared {
                result: prepare(&loader, &logs, &done, &package, urgency).await,
                plugin: done,
                look,
                package,
            }
        });
        let errand = Errand::Prepare {
            plugin: Arc::clone(&plugin),
            look,
        };
        self.errands.insert(handle.id(), errand);
        self.looks.insert(plugin, handle);
    }

    /// Puts a version aside in case that it is needed again. Beside everything else: the disk may take longer than the swap.
    fn keep(&mut self, package: Package) {
        let keeper = self.shelf.keeper();
        let hash = package.hash;
        let handle = self.beside.spawn_blocking(move || Done::Kept {
            hash,
            result: keeper.keep(&package),
        });
        self.errands.insert(handle.id(), Errand::Keep(hash));
    }

    /// Makes a version ready to run that was put aside.
    fn fetch(&mut self, device: Arc<str>, hash: VersionHash) {
        let path = self.shelf.path(hash);
        let (loader, logs) = (self.loader.clone(), self.services.logs.clone());
        let errand = Errand::Fetch {
            device: Arc::clone(&device),
            hash,
        };
        let handle = self.beside.spawn(async move {
            let result = async {
                let package = loader.read(&path).await?;
                if package.hash != hash {
                    return Err(LoadError::Host(format!("{} was changed", path.display())));
                }
                // A device stands still and waits for it.
                prepare(&loader, &logs, &device, &package, Urgency::Start).await
            }
            .await;
            Done::Fetched { device, hash, result }
        });
        self.errands.insert(handle.id(), errand);
    }

    async fn done(&mut self, done: Result<(task::Id, Done), JoinError>) {
        let id = done.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let errand = self.errands.remove(&id);
        match (done, errand) {
            (Ok((_, done)), _) => self.arrived(done),
            (Err(error), Some(errand)) if error.is_panic() => self.arrived(lost(errand)),
            // A look that was given up has no answer.
            (Err(_), _) => {}
        }
        self.act().await;
        // What nobody wanted prepared: it is prepared already, or a newer file came just then.
        self.packages.clear();
    }

    fn arrived(&mut self, done: Done) {
        let now_ns = self.now_ns();
        match done {
            Done::Read { plugin, look, result } => match result {
                Ok(package) => {
                    let hash = package.hash;
                    self.packages.insert(Arc::clone(&plugin), package);
                    self.versions.read(&plugin, look, hash);
                }
                Err(error) => self
                    .versions
                    .unreadable(&plugin, look, unreadable(&error), now_ns),
            },
            Done::Prepared {
                plugin,
                look,
                result,
                package,
            } => match result {
                Ok(prepared) => {
                    let hash = prepared.hash;
                    self.versions.prepared(&plugin, look);
                    // Else a newer file came just then.
                    if self.versions.is_at_hand(hash) {
                        self.prepared.insert(hash, prepared);
                        self.keep(package);
                    }
                }
                Err(error) => {
                    let why = Unprepared {
                        may_be_incomplete: error.may_be_incomplete(),
                        reason: error.to_string(),
                    };
                    self.versions.not_prepared(&plugin, look, why, now_ns);
                }
            },
            Done::Kept { hash, result } => {
                if let Err(error) = result {
                    let message = format!(
                        "version {} is not kept ({error}); should a later one be refused after a restart, it is not there to run instead",
                        hash.short()
                    );
                    self.log(LogLevel::Error, None, message);
                }
                if !self.versions.is_at_hand(hash) {
                    self.shelf.let_go(hash);
                }
            }
            Done::Fetched { device, hash, result } => match result {
                Ok(prepared) => {
                    self.prepared.insert(hash, prepared);
                    self.versions.fetched(&device, hash);
                }
                Err(error) => {
                    let message = format!(
                        "its good version {} cannot be run any more: {error}",
                        hash.short()
                    );
                    self.log_of(LogLevel::Error, &device, message);
                    self.versions.not_fetched(&device, hash);
                }
            },
            Done::Unprepared { plugin, look, reason } => {
                let why = Unprepared {
                    reason,
                    may_be_incomplete: false,
                };
                self.versions.not_prepared(&plugin, look, why, now_ns);
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

/// The answer of something that ended by a panic: without one the machine would wait for it for ever.
fn lost(errand: Errand) -> Done {
    const REASON: &str = "a fault of the daemon ended it; standard error says which";
    let error = || LoadError::Host(REASON.to_owned());
    match errand {
        Errand::Read { plugin, look } => Done::Read {
            plugin,
            look,
            result: Err(error()),
        },
        Errand::Prepare { plugin, look } => Done::Unprepared {
            plugin,
            look,
            reason: error().to_string(),
        },
        Errand::Keep(hash) => Done::Kept {
            hash,
            result: Err(std::io::Error::other(REASON)),
        },
        Errand::Fetch { device, hash } => Done::Fetched {
            device,
            hash,
            result: Err(error()),
        },
    }
}

/// Makes a package ready to run; what it logs meanwhile is of `whom`.
async fn prepare(
    loader: &Loader,
    logs: &LogHandle,
    whom: &str,
    package: &Package,
    urgency: Urgency,
) -> Result<Arc<Prepared>, LoadError> {
    let (prepared, effects) = loader.prepare(package, urgency).await?;
    for line in effects.logs {
        logs.append(LogRecord::of_driver(whom, &line));
    }
    Ok(prepared)
}

fn unreadable(error: &LoadError) -> Unreadable {
    match error {
        LoadError::Package(PackageError::Io(io)) if io.kind() == std::io::ErrorKind::NotFound => {
            Unreadable::Gone
        }
        error if error.may_be_incomplete() => Unreadable::Incomplete(error.to_string()),
        error => Unreadable::Never(error.to_string()),
    }
}

fn watch(plugins_dir: &Path, config_path: &Path, drop_in_folder: &Path) -> std::io::Result<FolderWatch> {
    FolderWatch::new([plugins_dir, folder_of(config_path), drop_in_folder]).map_err(std::io::Error::other)
}

fn stems_in(folder: &Path) -> Vec<Stem> {
    let mut stems: Vec<Stem> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| stem_of(&entry.path()).ok().flatten())
        .collect();
    stems.sort();
    stems
}

/// The stem of a plugin's file; none for a file that is no plugin by its name, and a reason for one that cannot be one.
fn stem_of(path: &Path) -> Result<Option<Stem>, String> {
    let is_wasm = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("wasm"));
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    // Editors and copying tools write hidden files beside the real one.
    if !is_wasm || name.starts_with('.') {
        return Ok(None);
    }
    let stem = name
        .strip_suffix(".wasm")
        .ok_or("its ending has to be .wasm in small letters")?;
    if FORBIDDEN_KEYS.contains(&stem) {
        return Err("its name would poison a mirror in a browser".to_owned());
    }
    PluginName::new(stem)
        .map(|stem| Some(stem.as_str().into()))
        .map_err(|error| error.to_string())
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
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
