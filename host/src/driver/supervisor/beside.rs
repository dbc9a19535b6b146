//! What goes on beside everything else: reading files, compiling and checking what was read, keeping and fetching versions.

use std::sync::Arc;

use autobench_core::driver::LogLevel;
use autobench_core::driver::versions::{Unprepared, Unreadable, VersionHash};
use tokio::task::{self, JoinError};

use super::super::compile::Urgency;
use super::super::fault;
use super::super::loader::{LoadError, Loader, Prepared};
use super::super::package::{Package, PackageError};
use super::{Bench, RefusedFile, Stem};
use crate::logs::{LogHandle, LogRecord};

/// What goes on beside.
pub(super) enum Errand {
    Read { plugin: Stem, look: u64 },
    Prepare { plugin: Stem, look: u64 },
    Keep(VersionHash),
    Fetch { device: Arc<str>, hash: VersionHash },
}

/// How something that went on beside has ended.
pub(super) enum Done {
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
    /// Reads a file beside everything else.
    pub(super) fn read(&mut self, plugin: Stem, look: u64) {
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
    pub(super) fn prepare(&mut self, plugin: Stem, look: u64, is_first: bool) {
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
    pub(super) fn keep(&mut self, package: Package) {
        let keeper = self.shelf.keeper();
        let hash = package.hash;
        let handle = self.beside.spawn_blocking(move || Done::Kept {
            hash,
            result: keeper.keep(&package),
        });
        self.errands.insert(handle.id(), Errand::Keep(hash));
    }

    /// Makes a version ready to run that was put aside.
    pub(super) fn fetch(&mut self, device: Arc<str>, hash: VersionHash) {
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

    pub(super) async fn done(&mut self, done: Result<(task::Id, Done), JoinError>) {
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
                    self.refused_files.remove(&plugin);
                    self.packages.insert(Arc::clone(&plugin), package);
                    self.versions.read(&plugin, look, hash);
                }
                Err(error) => {
                    let refused = RefusedFile {
                        code: error.code(),
                        fault: None,
                    };
                    self.refused_files.insert(Arc::clone(&plugin), refused);
                    self.versions
                        .unreadable(&plugin, look, unreadable(&error), now_ns);
                }
            },
            Done::Prepared {
                plugin,
                look,
                result,
                package,
            } => match result {
                Ok(prepared) => {
                    let hash = prepared.hash;
                    self.refused_files.remove(&plugin);
                    self.versions.prepared(&plugin, look, prepared.manifest.wants());
                    // Else a newer file came just then.
                    if self.versions.is_at_hand(hash) {
                        self.prepared.insert(hash, prepared);
                        self.keep(package);
                    }
                }
                Err(error) => {
                    let refused = RefusedFile {
                        code: error.code(),
                        fault: fault::of_load(&error, &plugin, package.hash),
                    };
                    self.refused_files.insert(Arc::clone(&plugin), refused);
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
                    let wants = prepared.manifest.wants();
                    self.prepared.insert(hash, prepared);
                    self.versions.fetched(&device, hash, wants);
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
                let refused = RefusedFile {
                    code: "host",
                    fault: None,
                };
                self.refused_files.insert(Arc::clone(&plugin), refused);
                let why = Unprepared {
                    reason,
                    may_be_incomplete: false,
                };
                self.versions.not_prepared(&plugin, look, why, now_ns);
            }
        }
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
