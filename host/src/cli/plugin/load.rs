//! A plugin file for commands that need no daemon: read, compiled and described exactly as the daemon does it, with nothing left behind.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use autobench_core::driver::LogLine;

use crate::driver::Cache;
use crate::driver::compile::{Compiler, Urgency};
use crate::driver::engine::{DebugInfo, Diagnosis, Engine};
use crate::driver::loader::{Loader, Prepared};

/// A plugin that is ready to run.
pub(super) struct Loaded {
    /// What it runs in.
    pub(super) engine: Arc<Engine>,
    /// The plugin.
    pub(super) prepared: Arc<Prepared>,
    /// Size of its file.
    pub(super) file_bytes: u64,
    /// What it logged while it described itself.
    pub(super) logs: Vec<LogLine>,
}

/// Loads plugins into one engine.
pub(super) struct Bench {
    loader: Loader,
    runtime: tokio::runtime::Runtime,
    /// Compiled code lies here until it is loaded.
    _code: tempfile::TempDir,
}

impl Bench {
    pub(super) fn new() -> anyhow::Result<Self> {
        // Whoever works on a driver wants to know the line over which it breaks down.
        let diagnosis = Diagnosis {
            debug_info: DebugInfo::Kept,
            core_dumps: None,
        };
        let debug_info = diagnosis.debug_info;
        let engine = Engine::new(diagnosis)
            .map_err(|error| anyhow::anyhow!("{error:#}"))
            .context("wasmtime cannot be started")?;
        let code = tempfile::Builder::new()
            .prefix("autobench-code-")
            .tempdir()
            .context("there is no place for compiled code")?;
        let cache = Cache::open(code.path().join("code"), engine.wasmtime())?;
        let executable = std::env::current_exe()
            .context("this program cannot find itself, and compiles plugins by starting itself")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start")?;
        Ok(Self {
            loader: Loader::new(Arc::new(engine), Compiler::new(cache, executable, debug_info)),
            runtime,
            _code: code,
        })
    }

    /// Loads a file, or says why it is no driver.
    pub(super) fn load(&self, path: &Path) -> anyhow::Result<Loaded> {
        let loaded = self.runtime.block_on(async {
            let package = self.loader.read(path).await?;
            let (prepared, effects) = self.loader.prepare(&package, Urgency::Start).await?;
            anyhow::Ok(Loaded {
                engine: Arc::clone(self.loader.engine()),
                prepared,
                file_bytes: package.bytes.len() as u64,
                logs: effects.logs,
            })
        });
        loaded.with_context(|| path.display().to_string())
    }
}
