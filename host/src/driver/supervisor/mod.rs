//! Which plugins there are, which driver runs on which device, and what happens when a file changes.
//!
//! One task owns all of it, so that two swaps of a device never meet. Compiling goes on beside it, one process per plugin, and is given up when
//! a newer file arrives. In order, for a changed file: quiet for a moment, read once, compile aside, type-check, describe, swap in every device
//! that runs it. Any failure before the flip leaves the old version running, and the reason stands in the state and in the log.

mod configuration;
mod devices;
mod plugins;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use autobench_core::driver::{LogLevel, StopReason};
use autobench_core::state::{FORBIDDEN_KEYS, Pointer};
use autobench_sim::wattsup;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::compile::Urgency;
use super::device::Device;
use super::endpoints::Endpoints;
use super::loader::{LoadError, Loader, Prepared};
use super::package::{Hash, PackageError};
use super::record::DeviceRecord;
use super::watch::FolderWatch;
use crate::clock::Clock;
use crate::commands::Router;
use crate::config::{BenchConfig, ConfigLoader, DeviceConfig, DeviceId, PluginName};
use crate::hub::Hub;
use crate::logs::{LogHandle, LogRecord};
use crate::state::StateHandle;

/// How long a file has to be quiet before it is read.
const QUIET: Duration = Duration::from_millis(30);
/// How long a file that does not parse, or is gone, is given to become whole.
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
type Stem = String;

struct Bench {
    config: BenchConfig,
    config_loader: ConfigLoader,
    loader: Loader,
    services: Services,
    watch: FolderWatch,
    endpoints: Endpoints,
    plugins: BTreeMap<Stem, Plugin>,
    devices: BTreeMap<DeviceId, Slot>,
    /// The last generation of each device, so that it goes on rising when the device is stopped and started. One number per id that was ever
    /// configured in this run.
    generations: BTreeMap<DeviceId, u64>,
    /// The same devices, for whoever writes their counters.
    records: Records,
    preparing: JoinSet<Loaded>,
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

/// A plugin file.
#[derive(Default)]
struct Plugin {
    /// The newest version that a device has taken, or that nobody wants yet: what a device is started with.
    good: Option<Arc<Prepared>>,
    /// Why the file as it is now is not run.
    refusal: Option<(Option<Hash>, String)>,
    /// When the file changed last, and when it is looked at next.
    changed_at: Option<Instant>,
    due: Option<Instant>,
    /// The look that is under way; an answer to an older one is of no interest.
    look: u64,
    abort: Option<tokio::task::AbortHandle>,
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

impl Slot {
    fn runs(&self, version: &Prepared) -> bool {
        self.device.is_some()
            && self
                .running
                .as_ref()
                .is_some_and(|running| running.hash == version.hash)
    }
}

/// The end of a look at a file.
struct Loaded {
    stem: Stem,
    look: u64,
    result: Result<Look, (Option<Hash>, LoadError)>,
}

enum Look {
    Same,
    New(Arc<Prepared>),
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
            plugins: BTreeMap::new(),
            devices: BTreeMap::new(),
            generations: BTreeMap::new(),
            ignored: BTreeSet::new(),
            records,
            preparing: JoinSet::new(),
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
            self.add_device(config);
        }
        self.ignore_misnamed();
        for stem in stems_in(&self.config.daemon.plugins_dir) {
            self.look_at(&stem, Urgency::Start);
        }
        while let Some(done) = self.preparing.join_next().await {
            if let Ok(loaded) = done {
                self.loaded(loaded).await;
            }
        }
    }

    async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        loop {
            let due = self.next_due();
            tokio::select! {
                _ = &mut stop => break,
                paths = self.watch.changed() => self.note(&paths),
                () = sleep_until(due) => self.settle().await,
                Some(done) = self.preparing.join_next() => {
                    // A look that was given up has no answer.
                    if let Ok(loaded) = done {
                        self.loaded(loaded).await;
                    }
                }
            }
        }
        self.preparing.shutdown().await;
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

    fn note(&mut self, paths: &BTreeSet<PathBuf>) {
        let now = Instant::now();
        let plugins_dir = self.config.daemon.plugins_dir.clone();
        let mut is_new_folder = false;
        for path in paths {
            if path.parent() == Some(&plugins_dir) {
                match stem_of(path) {
                    Ok(Some(stem)) => self.touched(stem, now),
                    Ok(None) => {}
                    Err(reason) => self.ignore(path, &reason),
                }
            } else if *path == plugins_dir {
                for stem in stems_in(&plugins_dir) {
                    self.touched(stem, now);
                }
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
        if plugins_dir.is_dir() {
            self.folder_due = None;
            if was_gone {
                self.log(
                    LogLevel::Info,
                    None,
                    format!("the plugin folder {} is back", plugins_dir.display()),
                );
            }
            let now = Instant::now();
            let known: Vec<Stem> = self.plugins.keys().cloned().collect();
            for stem in stems_in(&plugins_dir).into_iter().chain(known) {
                self.touched(stem, now);
            }
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

    fn touched(&mut self, stem: Stem, now: Instant) {
        let plugin = self.plugins.entry(stem).or_default();
        plugin.changed_at = Some(now);
        plugin.due = Some(now + QUIET);
    }

    fn next_due(&self) -> Option<Instant> {
        self.plugins
            .values()
            .filter_map(|plugin| plugin.due)
            .chain(self.config_changed)
            .chain(self.folder_due)
            .min()
    }

    async fn settle(&mut self) {
        let now = Instant::now();
        let due: Vec<Stem> = self
            .plugins
            .iter()
            .filter(|(_, plugin)| plugin.due.is_some_and(|due| due <= now))
            .map(|(stem, _)| stem.clone())
            .collect();
        for stem in due {
            self.look_at(&stem, Urgency::Beside);
        }
        if self.folder_due.is_some_and(|due| due <= now) {
            self.watch_again();
        }
        if self.config_changed.is_some_and(|due| due <= now) {
            self.config_changed = None;
            self.reload_configuration().await;
        }
    }

    /// Reads and prepares a file beside everything else. What was under way for an older file is given up.
    fn look_at(&mut self, stem: &str, urgency: Urgency) {
        let path = self.config.daemon.plugins_dir.join(format!("{stem}.wasm"));
        let plugin = self.plugins.entry(stem.to_owned()).or_default();
        plugin.due = None;
        plugin.look += 1;
        if let Some(abort) = plugin.abort.take() {
            abort.abort();
        }
        let running = plugin.good.as_ref().map(|good| good.hash);
        let refused = plugin.refusal.is_some();
        let (stem, look) = (stem.to_owned(), plugin.look);
        let (loader, logs) = (self.loader.clone(), self.services.logs.clone());
        let abort = self.preparing.spawn(async move {
            let mut hash = None;
            let result = async {
                let package = loader.read(&path).await?;
                hash = Some(package.hash);
                if running == hash && !refused {
                    return Ok(Look::Same);
                }
                let (prepared, effects) = loader.prepare(&package, urgency).await?;
                for line in effects.logs {
                    logs.append(LogRecord::of_driver(&stem, &line));
                }
                Ok(Look::New(prepared))
            }
            .await;
            Loaded {
                stem,
                look,
                result: result.map_err(|error| (hash, error)),
            }
        });
        plugin.abort = Some(abort);
    }

    async fn loaded(&mut self, loaded: Loaded) {
        let Loaded { stem, look, result } = loaded;
        let Some(plugin) = self.plugins.get_mut(&stem) else {
            return;
        };
        if plugin.look != look {
            return;
        }
        plugin.abort = None;
        match result {
            Ok(Look::Same) => {
                self.publish_plugin(&stem);
                self.release(&stem);
            }
            Ok(Look::New(candidate)) => self.bind(&stem, &candidate).await,
            Err((hash, error)) => {
                let grace_ends = plugin.changed_at.map(|changed| changed + GRACE);
                let gone = matches!(&error, LoadError::Package(PackageError::Io(io)) if io.kind() == std::io::ErrorKind::NotFound);
                if (gone || error.may_be_incomplete()) && grace_ends.is_some_and(|ends| Instant::now() < ends)
                {
                    plugin.due = grace_ends;
                    return;
                }
                // A folder that is gone says nothing about the files in it.
                if gone && self.folder_due.is_some() {
                    return;
                }
                if gone {
                    self.plugin_gone(&stem).await;
                } else {
                    self.refuse_plugin(&stem, hash, error.to_string());
                }
            }
        }
    }

    fn log(&self, level: LogLevel, device: Option<&DeviceId>, message: String) {
        let record = match device {
            Some(id) => LogRecord::new("device", level, message).of_device(id.as_str()),
            None => LogRecord::new("app", level, message),
        };
        self.services.logs.append(record.of_module("supervisor"));
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
        .map(|stem| Some(stem.to_string()))
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
