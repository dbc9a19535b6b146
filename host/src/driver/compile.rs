//! Compiling plugins, in a process of its own: a component that makes the compiler grow or loop takes that process down and nothing else.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use super::cache::{Cache, CacheError};
use super::engine::DebugInfo;
use super::package::{PACKAGE_LIMIT_BYTES, Package};

/// Address space of the compiling process.
const ADDRESS_LIMIT_BYTES: u64 = 1 << 30;
/// Compiling processes at once: a hundred plugins in a folder are no hundred gigabytes.
const PROCESSES: usize = 4;
/// How long it may take.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// Most bytes of its complaints that are kept.
const COMPLAINT_LIMIT_BYTES: u64 = 4 << 10;

/// Whether anything else has to come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// The bench is starting and waits for it.
    Start,
    /// A benchmark may be running: compiling takes what nobody else wants.
    Beside,
}

/// Why a plugin was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The component is not valid.
    #[error("{0}")]
    Invalid(String),
    /// It took too long.
    #[error("it took more than {} s to compile", TIME_LIMIT.as_secs())]
    TimedOut,
    /// The process could not be run, or died.
    #[error("the compiling process failed: {0}")]
    Process(String),
    /// The cache did not take the result.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Gives compiled code for a plugin, from the cache or by compiling it.
#[derive(Debug, Clone)]
pub struct Compiler {
    cache: Cache,
    executable: PathBuf,
    debug_info: DebugInfo,
    /// Whoever wants to compile while all of them are taken waits for one; a file that is replaced meanwhile leaves the queue, so that it is never longer than
    /// there are plugins.
    places: Arc<Semaphore>,
}

impl Compiler {
    /// A compiler that runs `executable compile`, which is this program.
    pub fn new(cache: Cache, executable: PathBuf, debug_info: DebugInfo) -> Self {
        Self {
            cache,
            executable,
            debug_info,
            places: Arc::new(Semaphore::new(PROCESSES)),
        }
    }

    /// The compiled code of a plugin, verified.
    ///
    /// Dropping the future kills the compiling process, which is what happens when a newer file has arrived.
    pub async fn compiled(&self, package: &Package, urgency: Urgency) -> Result<Vec<u8>, CompileError> {
        if let Some(code) = self.cache.load(package.hash) {
            return Ok(code);
        }
        let _place = self
            .places
            .acquire()
            .await
            .map_err(|closed| CompileError::Process(closed.to_string()))?;
        let output = self.cache.new_entry_path(package.hash)?;
        let result = self.compile(package, urgency, &output).await;
        let _ = std::fs::remove_file(&output).or_else(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                Ok(())
            } else {
                Err(error)
            }
        });
        result
    }

    async fn compile(
        &self,
        package: &Package,
        urgency: Urgency,
        output: &Path,
    ) -> Result<Vec<u8>, CompileError> {
        let process = |error: std::io::Error| CompileError::Process(error.to_string());
        let mut child = tokio::process::Command::new(&self.executable)
            .arg("compile")
            .arg("--output")
            .arg(output)
            .args((urgency == Urgency::Beside).then_some("--beside"))
            .args((self.debug_info == DebugInfo::Kept).then_some("--debug-info"))
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(process)?;
        let stdin = child.stdin.take();
        let stderr = child.stderr.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // The child may refuse before it has read everything; its exit says why, and not this pipe.
                let _ = stdin.write_all(&package.bytes).await;
                let _ = stdin.shutdown().await;
            }
        };
        let listen = async {
            let mut complaint = Vec::new();
            if let Some(stderr) = stderr {
                let _ = stderr
                    .take(COMPLAINT_LIMIT_BYTES)
                    .read_to_end(&mut complaint)
                    .await;
            }
            String::from_utf8_lossy(&complaint).trim().to_owned()
        };
        let run = async { tokio::join!(feed, listen, child.wait()) };
        let Ok(((), complaint, status)) = tokio::time::timeout(TIME_LIMIT, run).await else {
            return Err(CompileError::TimedOut);
        };
        let status = status.map_err(process)?;
        match status.code() {
            Some(0) => {}
            Some(INVALID_EXIT) => return Err(CompileError::Invalid(complaint)),
            _ => return Err(CompileError::Process(format!("{status}; {complaint}"))),
        }
        let code = std::fs::read(output).map_err(process)?;
        self.cache.store(package.hash, &code)?;
        Ok(code)
    }
}

/// Exit code of the compiling process when the component is at fault.
const INVALID_EXIT: i32 = 3;

/// The compiling process: a plugin on standard input, compiled code in a file.
pub fn run(output: &Path, urgency: Urgency, debug_info: DebugInfo) -> ExitCode {
    match compile_standard_input(output, urgency, debug_info) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Invalid(reason)) => {
            // The parent reads this as the reason of the refusal.
            eprintln!("{reason}");
            ExitCode::from(u8::try_from(INVALID_EXIT).unwrap_or(1))
        }
        Err(Failure::Io(error)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

enum Failure {
    Invalid(String),
    Io(std::io::Error),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

fn compile_standard_input(output: &Path, urgency: Urgency, debug_info: DebugInfo) -> Result<(), Failure> {
    // A daemon that is killed cannot take its children with it; the kernel does.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(std::io::Error::from)?;
    let limit = Rlimit {
        current: Some(ADDRESS_LIMIT_BYTES),
        maximum: Some(ADDRESS_LIMIT_BYTES),
    };
    rustix::process::setrlimit(Resource::As, limit).map_err(std::io::Error::from)?;
    if urgency == Urgency::Beside {
        rustix::process::setpriority_process(None, 19).map_err(std::io::Error::from)?;
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(PACKAGE_LIMIT_BYTES + 1)
        .read_to_end(&mut bytes)?;
    let engine = wasmtime::Engine::new(&super::engine::config(debug_info))
        .map_err(|error| Failure::Io(std::io::Error::other(format!("{error:#}"))))?;
    let code = code_of(&engine, &bytes).map_err(Failure::Invalid)?;
    let mut file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .open(output)?;
    file.write_all(&code)?;
    Ok(())
}

/// Compiles a plugin in this process, or says why it cannot be compiled.
pub(super) fn code_of(engine: &wasmtime::Engine, plugin: &[u8]) -> Result<Vec<u8>, String> {
    let component = component_of(engine, plugin)?;
    engine
        .precompile_component(&component)
        .map_err(|error| format!("{error:#}"))
}

/// A component as it is; a core module wrapped into one by the description that its build left in it.
fn component_of<'a>(
    engine: &wasmtime::Engine,
    bytes: &'a [u8],
) -> Result<std::borrow::Cow<'a, [u8]>, String> {
    // The layer field of the preamble: 0 is a core module, 1 a component.
    match bytes.get(4..8) {
        Some([0x0d, 0x00, 0x01, 0x00]) => Ok(bytes.into()),
        Some([0x01, 0x00, 0x00, 0x00]) => {
            // The encoder takes it for granted that a module is whole.
            wasmtime::Module::validate(engine, bytes)
                .map_err(|error| format!("the core module is not valid: {:#}", error))?;
            wit_component::ComponentEncoder::default()
                .module(bytes)
                .and_then(|encoder| encoder.validate(true).encode())
                .map(Into::into)
                .map_err(|error| format!("the core module cannot be made a component: {error:#}"))
        }
        Some(version) => Err(format!(
            "neither a core module nor a component: its version bytes are {version:02x?}"
        )),
        None => Err("it ends within its first eight bytes".to_owned()),
    }
}
