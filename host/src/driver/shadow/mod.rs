//! Shadow runs in the daemon: a candidate beside the version that runs, over the same bytes, without any effect. What is compared, and how, is in
//! `autobench_core::driver::shadow`.
//!
//! ```text
//! request -> candidate prepared -> the driver's thread gives its checkpoint and begins to tap -> a thread of the run's own -> report -> adopted
//! ```
//!
//! The live driver does nothing for the run but note what it was told. The run reads bytes from its ring, behind it, at the lowest priority; when it
//! cannot follow, it says so and is over.

mod guest;
mod report;
mod tap;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use autobench_core::driver::shadow::{Origin, Progress, ShadowRun, Version};
use autobench_core::driver::versions::VersionHash;
use autobench_core::driver::{Fault, SharedInbox};
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use self::report::{ShadowDifference, ShadowReport, Verdict, VersionName};
pub use self::tap::{Feed, Tap};

use self::guest::{ShadowGuest, ShadowPort};
use self::tap::{Heard, Stopper};
use super::builder::InstanceBuilder;
use super::compile::Urgency;
use super::device::Tapper;
use super::loader::{LoadError, Loader, Prepared};
use super::offline::PlayedPort;
use super::package::{Package, PackageError};
use crate::clock::Clock;
use crate::durable;

/// Where shadow runs are asked for. Cheap to clone.
#[derive(Clone, Default)]
pub struct ShadowRuns {
    devices: Arc<Mutex<BTreeMap<String, Entry>>>,
}

impl std::fmt::Debug for ShadowRuns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShadowRuns").finish_non_exhaustive()
    }
}

struct Entry {
    running: Running,
    /// One run at a time: two would take the time of a third driver from the bench.
    is_busy: bool,
}

/// A driver that may have a run.
#[derive(Clone)]
pub struct Running {
    /// Its thread.
    pub tapper: Tapper,
    /// Loads candidates.
    pub loader: Loader,
    /// The clock.
    pub clock: Clock,
    /// The file that a candidate replaces when it is adopted.
    pub file: PathBuf,
    /// Foreign slices that the configuration grants.
    pub granted_slices: Vec<String>,
}

/// What the driver's thread gives to a run.
pub struct Tapping {
    pub(super) origin: Origin,
    pub(super) tap: Tap,
    pub(super) inbox: SharedInbox,
    pub(super) builder: InstanceBuilder,
    pub(super) standing_alarms: BTreeSet<String>,
}

/// Why there is no run.
#[derive(Debug, thiserror::Error)]
pub enum NoRun {
    /// There is no such device, or no driver of it.
    #[error("no driver of {0:?} runs")]
    NotRunning(String),
    /// Another one is under way.
    #[error("a shadow run of {0:?} is under way")]
    Busy(String),
    /// The candidate is no driver.
    #[error("the candidate is not taken: {0}")]
    Candidate(#[from] LoadError),
    /// One of the two cannot be made.
    #[error("{0} cannot be made: {1}")]
    Instance(&'static str, Fault),
    /// The daemon's own fault.
    #[error("the run cannot begin: {0}")]
    Host(String),
    /// It was equal, and is not adopted.
    #[error("the candidate is equal and cannot be written to {0}: {1}")]
    Adopt(PathBuf, std::io::Error),
}

/// What is wanted.
pub struct Wanted {
    /// The candidate's file.
    pub plugin: Vec<u8>,
    /// How long live bytes are compared.
    pub duration: Duration,
    /// Whether the candidate is to run if it is equal.
    pub adopts: bool,
}

impl ShadowRuns {
    /// A driver runs that may have a run from now on.
    pub fn attach(&self, device: &str, running: Running) {
        let entry = Entry {
            running,
            is_busy: false,
        };
        self.devices.lock().insert(device.to_owned(), entry);
    }

    /// It does not any more. A run that is under way ends by itself.
    pub fn detach(&self, device: &str) {
        self.devices.lock().remove(device);
    }

    /// Runs a candidate beside a driver. Dropping the future ends the run.
    pub async fn run(&self, device: &str, wanted: Wanted) -> Result<ShadowReport, NoRun> {
        let (running, _turn) = self.turn(device)?;
        let package = Package::of(wanted.plugin).map_err(LoadError::from)?;
        // Before anything else: whatever is saved from here on is newer than the wish to adopt the candidate.
        let began_with = match wanted.adopts {
            true => blocking(&running.file, |file| Ok(saved(file))).await?,
            false => None,
        };
        let (candidate, _) = running.loader.prepare(&package, Urgency::Beside).await?;
        let tapping = running.tapper.tap().await;
        let tapping = tapping.ok_or_else(|| NoRun::NotRunning(device.to_owned()))?;
        let stopper = tapping.tap.stopper();
        let (mut report, tap) =
            compare(device, &running, tapping, candidate, wanted.duration, stopper).await?;
        if wanted.adopts && report.verdict == Verdict::Equal {
            let bytes = Arc::clone(&package.bytes);
            let newer = blocking(&running.file, move |file| adopt(file, &bytes, began_with, &tap)).await?;
            match newer {
                Some(why) => {
                    report.verdict = Verdict::GaveUp;
                    report.reason = Some(format!("{why}; the candidate is not adopted"));
                }
                None => report.adopted = true,
            }
        }
        Ok(report)
    }

    fn turn(&self, device: &str) -> Result<(Running, Turn), NoRun> {
        let mut devices = self.devices.lock();
        let entry = devices
            .get_mut(device)
            .ok_or_else(|| NoRun::NotRunning(device.to_owned()))?;
        if entry.is_busy {
            return Err(NoRun::Busy(device.to_owned()));
        }
        entry.is_busy = true;
        let turn = Turn {
            runs: self.clone(),
            device: device.to_owned(),
        };
        Ok((entry.running.clone(), turn))
    }
}

/// The hash of the plugin's file, if there is one that can be read.
fn saved(file: &Path) -> Option<VersionHash> {
    Package::read(file).ok().map(|package| package.hash)
}

/// Puts a candidate in the place of the plugin's file. The newest file wins: if it is not the one that the run began with, or another version runs,
/// nothing is written, and why is answered.
fn adopt(
    file: &Path,
    bytes: &[u8],
    began_with: Option<VersionHash>,
    tap: &Tap,
) -> std::io::Result<Option<String>> {
    let mut newer = None;
    let written = durable::replace_if(file, bytes, || {
        newer = tap.replaced();
        if newer.is_none() && saved(file) != began_with {
            newer = Some("another file was saved in the plugin folder since the run began".to_owned());
        }
        match newer {
            None => Ok(()),
            Some(_) => Err(std::io::ErrorKind::AlreadyExists.into()),
        }
    });
    match newer {
        Some(why) => Ok(Some(why)),
        None => written.map(|()| None),
    }
}

/// Work with the plugin's file, where it keeps nobody waiting.
async fn blocking<T: Send + 'static>(
    file: &Path,
    work: impl FnOnce(&Path) -> std::io::Result<T> + Send + 'static,
) -> Result<T, NoRun> {
    let path = file.to_owned();
    let done = tokio::task::spawn_blocking(move || work(&path)).await;
    done.unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(|error| NoRun::Adopt(file.to_owned(), error))
}

/// The device's one run. Dropped, it leaves room for the next.
struct Turn {
    runs: ShadowRuns,
    device: String,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(entry) = self.runs.devices.lock().get_mut(&self.device) {
            entry.is_busy = false;
        }
    }
}

/// The run itself, on a thread of its own. `stopper` ends it when the future is dropped.
async fn compare(
    device: &str,
    running: &Running,
    tapping: Tapping,
    candidate: Arc<Prepared>,
    duration: Duration,
    stopper: Stopper,
) -> Result<(ShadowReport, Tap), NoRun> {
    let names = (name_of(&tapping.builder.prepared), name_of(&candidate));
    let clock = running.clock;
    let granted = running.granted_slices.clone();
    let (answer, answered) = oneshot::channel();
    std::thread::Builder::new()
        .name(format!("shadow-{device}"))
        .spawn(move || {
            // Whoever runs on the bench comes first. It is no fault if the system refuses: the run is only in the way a little more.
            let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 19);
            // Nobody waits any more when the request was given up.
            let _ = answer.send(run(tapping, &candidate, &granted, clock, duration));
        })
        .map_err(|error| NoRun::Host(error.to_string()))?;
    let (report, tap) = answered
        .await
        .map_err(|_| NoRun::Host("its thread ended".to_owned()))??;
    drop(stopper);
    Ok((ShadowReport::of(device, names.0, names.1, report), tap))
}

fn run(
    tapping: Tapping,
    candidate: &Arc<Prepared>,
    granted_slices: &[String],
    clock: Clock,
    duration: Duration,
) -> Result<(autobench_core::driver::shadow::Report, Tap), NoRun> {
    let Tapping {
        origin,
        tap,
        inbox,
        builder,
        standing_alarms,
    } = tapping;
    let until = Instant::now() + duration;
    let until_ns = clock
        .monotonic_ns()
        .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    let readable = candidate.manifest.observes.iter();
    let readable = readable
        .filter(|slice| granted_slices.contains(slice))
        .map(|slice| Arc::from(slice.as_str()))
        .collect();
    let candidate_builder = builder.clone_for(Arc::clone(candidate), readable);
    let version = |builder: &InstanceBuilder| -> Result<Version<ShadowGuest>, Fault> {
        let (ports, views): (Vec<_>, Vec<_>) = builder
            .ports()
            .iter()
            .map(|live| {
                let port = Arc::new(PlayedPort::new(Arc::clone(live.name())));
                let identity = live.identity().unwrap_or_default();
                let view: Arc<dyn crate::serial::PortView> = Arc::clone(&port) as _;
                (ShadowPort { port, identity }, view)
            })
            .unzip();
        let instance = builder.build_with(views.into(), &standing_alarms)?;
        let series = builder.prepared.manifest.series.iter();
        Ok(Version {
            guest: ShadowGuest { instance, ports },
            series: series.map(|series| series.name.clone()).collect(),
        })
    };
    let running = version(&builder).map_err(|fault| NoRun::Instance("the version that runs", fault))?;
    let candidate = version(&candidate_builder).map_err(|fault| NoRun::Instance("the candidate", fault))?;
    let mut run = ShadowRun::start(origin, inbox, running, candidate);
    while run.progress() == Progress::GoesOn {
        match tap.next(until) {
            // A line that never pauses would hold the run for ever.
            Heard::Event(tapped) if tapped.time.monotonic_ns > until_ns => break,
            Heard::Event(tapped) => {
                run.tell(&tapped);
            }
            Heard::FellOff => run.give_up(
                "more has happened than the run could follow: the versions are slower than the line"
                    .to_owned(),
            ),
            Heard::Replaced(why) => run.give_up(why),
            Heard::Over => break,
        }
    }
    // What happens from here on is of interest to an adoption.
    Ok((run.finish(clock.now()), tap))
}

fn name_of(prepared: &Prepared) -> VersionName {
    VersionName {
        sha256: prepared.hash.to_string(),
        version: prepared.manifest.version.clone(),
    }
}

impl From<PackageError> for NoRun {
    fn from(error: PackageError) -> Self {
        Self::Candidate(error.into())
    }
}
