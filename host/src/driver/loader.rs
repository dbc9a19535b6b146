//! From a file to something that can be instantiated: read, compile aside, type-check, describe. No driver notices any of it.

use std::path::Path;
use std::sync::Arc;

use autobench_core::driver::versions::VersionHash;
use autobench_core::driver::{Effects, Fault};
use wasmtime::component::Component;

use super::arguments::CommandTable;
use super::bindings::DriverPre;
use super::compile::{self, CompileError, Compiler, Urgency};
use super::engine::Engine;
use super::host_state::HostState;
use super::instance::Instance;
use super::manifest::Manifest;
use super::package::{Package, PackageError};
use super::wasi;

/// Memory that a driver may use while it describes itself, whatever it is granted later.
const DESCRIBE_MEMORY_BYTES: usize = 64 << 20;

/// A plugin that is ready to run: compiled, linked, and described.
pub struct Prepared {
    /// Hash of the file.
    pub hash: VersionHash,
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its commands, ready to check arguments.
    pub commands: Arc<CommandTable>,
    /// Ready to be instantiated.
    pub pre: DriverPre<HostState>,
}

impl Prepared {
    /// Which version it is.
    pub fn version(&self) -> Version {
        Version {
            hash: self.hash,
            name: self.manifest.version.as_str().into(),
        }
    }
}

/// A version, and what it calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Hash of its file.
    pub hash: VersionHash,
    /// By its manifest.
    pub name: Arc<str>,
}

/// Why a file does not become a driver.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is no plugin.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// It cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It is a component of another world.
    #[error("it is no driver of the world autobench:driver@0.1.0: {0}")]
    World(String),
    /// It breaks down, or contradicts itself, while it describes itself.
    #[error("it cannot describe itself: {0}")]
    Describe(Fault),
    /// One of its commands could not be checked, or not at a bounded cost.
    #[error("{0}")]
    Commands(String),
    /// The daemon's own fault.
    #[error("the daemon cannot load it: {0}")]
    Host(String),
}

impl LoadError {
    /// The word by which programs know it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Package(PackageError::Io(_)) => "unreadable",
            Self::Package(PackageError::Link) => "link",
            Self::Package(PackageError::NotRegular(_)) => "no-file",
            Self::Package(PackageError::TooLarge(_)) => "too-large",
            Self::Package(PackageError::Empty) => "empty",
            Self::Package(PackageError::NotWebAssembly) => "no-webassembly",
            Self::Compile(CompileError::Invalid(_)) => "invalid",
            Self::Compile(
                CompileError::TooMuchWork
                | CompileError::TimedOut
                | CompileError::TooMuchCode
                | CompileError::Process(_),
            ) => "compile",
            Self::Host(_) => "host",
            Self::World(_) => "world",
            Self::Describe(_) => "describe",
            Self::Commands(_) => "commands",
        }
    }

    /// Whether the file may simply not be complete yet. Such a refusal waits until the file has been still for a moment.
    pub fn may_be_incomplete(&self) -> bool {
        matches!(
            self,
            Self::Package(PackageError::Empty | PackageError::NotWebAssembly | PackageError::Io(_))
                | Self::Compile(CompileError::Invalid(_))
        )
    }
}

/// Loads plugins.
#[derive(Clone)]
pub struct Loader {
    engine: Arc<Engine>,
    compiler: Compiler,
}

impl Loader {
    /// A loader for this engine.
    pub fn new(engine: Arc<Engine>, compiler: Compiler) -> Self {
        Self { engine, compiler }
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Reads a file on a thread of its own, because a disk may be slow.
    pub async fn read(&self, path: &Path) -> Result<Package, LoadError> {
        let path = path.to_owned();
        blocking(move || Package::read(&path))
            .await?
            .map_err(LoadError::from)
    }

    /// Makes a package ready to run. Dropping the future abandons it at once.
    pub async fn prepare(
        &self,
        package: &Package,
        urgency: Urgency,
    ) -> Result<(Arc<Prepared>, Effects), LoadError> {
        let code = self.compiler.compiled(package, urgency).await?;
        let engine = Arc::clone(&self.engine);
        let hash = package.hash;
        blocking(move || link(&engine, hash, &code)).await?
    }
}

/// Makes a package ready to run in this process, without the compiling process and the cache, and waits for it. For tools that load plugins
/// they trust, such as benchmarks: a component that makes the compiler grow or loop takes the whole program down.
pub fn prepare_in_process(engine: &Engine, package: &Package) -> Result<(Arc<Prepared>, Effects), LoadError> {
    let code = compile::code_of(engine.wasmtime(), &package.bytes).map_err(CompileError::Invalid)?;
    link(engine, package.hash, &code)
}

async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, LoadError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| LoadError::Host(error.to_string()))
}

fn link(engine: &Engine, hash: VersionHash, code: &[u8]) -> Result<(Arc<Prepared>, Effects), LoadError> {
    // SAFETY: `code` was made by `compile::code_of` for an engine of the same configuration: in this process, or in our own compiling process,
    // and then it comes either straight from it or from the cache, which belongs to the owner alone and has verified its hash.
    let component = unsafe { Component::deserialize(engine.wasmtime(), code) }
        .map_err(|error| LoadError::Host(format!("{error:#}")))?;
    // Imports and exports are compared with the world before any code of the guest runs.
    let pre = wasi::linker(engine, &component)
        .and_then(|linker| linker.instantiate_pre(&component))
        .map_err(|error| LoadError::World(root(&error)))?;
    let pre = DriverPre::new(pre).map_err(|error| LoadError::World(root(&error)))?;
    let (manifest, effects) =
        Instance::describe(engine, &pre, DESCRIBE_MEMORY_BYTES).map_err(LoadError::Describe)?;
    let commands = CommandTable::compile(&manifest.commands).map_err(LoadError::Commands)?;
    let prepared = Prepared {
        hash,
        manifest,
        commands: Arc::new(commands),
        pre,
    };
    Ok((Arc::new(prepared), effects))
}

/// What went wrong, outermost and innermost: the middle is wasmtime's own bookkeeping.
fn root(error: &wasmtime::Error) -> String {
    let outer = error.to_string();
    let inner = error.root_cause().to_string();
    if outer == inner {
        outer
    } else {
        format!("{outer}: {inner}")
    }
}
