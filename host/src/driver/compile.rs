//! Compiling plugins, in a process of its own: a component that makes the compiler grow or loop takes that process down and nothing else.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::MemfdFlags;
use rustix::process::{Resource, Rlimit, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use super::cache::Cache;
use super::engine::DebugInfo;
use super::package::{PACKAGE_LIMIT_BYTES, Package};

/// Address space of the compiling process.
const ADDRESS_LIMIT_BYTES: u64 = 1 << 30;
/// Most bytes of compiled code, and most that the compiling process may write at all: they are in memory.
const CODE_LIMIT_BYTES: u64 = 512 << 20;
/// Compiling processes at once: a hundred plugins in a folder are no hundred gigabytes.
const PROCESSES: usize = 4;
/// How much processor time it may take: what others do on the machine is not the plugin's fault.
const PROCESSOR_TIME_LIMIT: Duration = Duration::from_secs(120);
/// How long it may take on the clock, for one that neither works nor ends.
const TIME_LIMIT: Duration = Duration::from_secs(20 * 60);
/// The priority of compiling beside a bench, as `nice` counts: a tenth of what anybody else gets who wants the processor too. At the lowest, a seventieth, a
/// busy machine would keep a new version waiting for minutes (decision 0020).
const PRIORITY_BESIDE: i32 = 10;
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
    /// There was more to compute than is allowed.
    #[error("it took more than {} s of processor time to compile", PROCESSOR_TIME_LIMIT.as_secs())]
    TooMuchWork,
    /// It did not end, for whatever reason.
    #[error("compiling it did not end within {} minutes", TIME_LIMIT.as_secs() / 60)]
    TimedOut,
    /// The process could not be run, or died.
    #[error("the compiling process failed: {0}")]
    Process(String),
    /// There would be too much code.
    #[error("its compiled code has more than {} MiB", CODE_LIMIT_BYTES >> 20)]
    TooMuchCode,
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
    /// Set while the cache takes nothing, so that it is told once.
    cache_fails: Arc<AtomicBool>,
}

impl Compiler {
    /// A compiler that runs `executable compile`, which is this program.
    pub fn new(cache: Cache, executable: PathBuf, debug_info: DebugInfo) -> Self {
        Self {
            cache,
            executable,
            debug_info,
            places: Arc::new(Semaphore::new(PROCESSES)),
            cache_fails: Arc::default(),
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
        let code = self.compile(package, urgency).await?;
        self.keep(package, &code);
        Ok(code)
    }

    /// Stores the code for the next start. That it cannot be stored costs that start its warmth, and this one nothing.
    fn keep(&self, package: &Package, code: &[u8]) {
        let Err(error) = self.cache.store(package.hash, code) else {
            return self.cache_fails.store(false, Ordering::Relaxed);
        };
        if !self.cache_fails.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                channel = "app",
                "{error}; plugins run all the same, and are compiled anew at the next start"
            );
        }
    }

    async fn compile(&self, package: &Package, urgency: Urgency) -> Result<Vec<u8>, CompileError> {
        let process = |error: std::io::Error| CompileError::Process(error.to_string());
        // In memory: no disk has to have room for it.
        let output = rustix::fs::memfd_create("autobench-code", MemfdFlags::CLOEXEC)
            .map_err(|error| process(error.into()))?;
        let mut output = File::from(output);
        let written = output.try_clone().map_err(process)?;
        let mut child = tokio::process::Command::new(&self.executable)
            .arg("compile")
            .args((urgency == Urgency::Beside).then_some("--beside"))
            .args((self.debug_info == DebugInfo::Kept).then_some("--debug-info"))
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::from(written))
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
            Some(TOO_MUCH_EXIT) => return Err(CompileError::TooMuchCode),
            None if status.signal() == Some(Signal::XFSZ.as_raw()) => return Err(CompileError::TooMuchCode),
            None if status.signal() == Some(Signal::XCPU.as_raw()) => return Err(CompileError::TooMuchWork),
            _ => return Err(CompileError::Process(format!("{status}; {complaint}"))),
        }
        if output.metadata().map_err(process)?.len() > CODE_LIMIT_BYTES {
            return Err(CompileError::TooMuchCode);
        }
        let mut code = Vec::new();
        output
            .rewind()
            .and_then(|()| output.read_to_end(&mut code))
            .map_err(process)?;
        Ok(code)
    }
}

/// Exit code of the compiling process when the component is at fault.
const INVALID_EXIT: i32 = 3;
/// Exit code of the compiling process when there is more code than is taken.
const TOO_MUCH_EXIT: i32 = 4;

/// The compiling process: a plugin on standard input, compiled code on standard output.
pub fn run(urgency: Urgency, debug_info: DebugInfo) -> ExitCode {
    match compile_standard_input(urgency, debug_info) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Invalid(reason)) => {
            // The parent reads this as the reason of the refusal.
            eprintln!("{reason}");
            ExitCode::from(u8::try_from(INVALID_EXIT).unwrap_or(1))
        }
        Err(Failure::TooMuchCode) => ExitCode::from(u8::try_from(TOO_MUCH_EXIT).unwrap_or(1)),
        Err(Failure::Io(error)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

enum Failure {
    Invalid(String),
    TooMuchCode,
    Io(std::io::Error),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

fn compile_standard_input(urgency: Urgency, debug_info: DebugInfo) -> Result<(), Failure> {
    // A daemon that is killed cannot take its children with it; the kernel does.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(std::io::Error::from)?;
    for (resource, bytes) in [
        (Resource::As, ADDRESS_LIMIT_BYTES),
        (Resource::Fsize, CODE_LIMIT_BYTES),
        (Resource::Cpu, PROCESSOR_TIME_LIMIT.as_secs()),
    ] {
        let limit = Rlimit {
            current: Some(bytes),
            maximum: Some(bytes),
        };
        rustix::process::setrlimit(resource, limit).map_err(std::io::Error::from)?;
    }
    if urgency == Urgency::Beside {
        rustix::process::setpriority_process(None, PRIORITY_BESIDE).map_err(std::io::Error::from)?;
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(PACKAGE_LIMIT_BYTES + 1)
        .read_to_end(&mut bytes)?;
    let engine = wasmtime::Engine::new(&super::engine::config(debug_info))
        .map_err(|error| Failure::Io(std::io::Error::other(format!("{error:#}"))))?;
    let code = code_of(&engine, &bytes).map_err(Failure::Invalid)?;
    if code.len() as u64 > CODE_LIMIT_BYTES {
        return Err(Failure::TooMuchCode);
    }
    let mut output = std::io::stdout().lock();
    output.write_all(&code)?;
    output.flush()?;
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::package::hash_of;
    use super::*;

    /// A compiler whose compiling process is a script, and the folder of its cache.
    fn compiler(folder: &Path, script: &str) -> (Compiler, PathBuf) {
        let engine = wasmtime::Engine::new(&super::super::engine::config(DebugInfo::LeftOut)).unwrap();
        let code = folder.join("code");
        let cache = Cache::open(code.clone(), &engine).unwrap();
        let executable = folder.join("compiler");
        // By another process: one that is started meanwhile by another test would inherit the file, and a file that is being written is not run.
        let written = std::process::Command::new("sh")
            .arg("-c")
            .arg("printf '#!/bin/sh\\ncat > /dev/null\\n%s\\n' \"$2\" > \"$1\" && chmod 700 \"$1\"")
            .arg("sh")
            .arg(&executable)
            .arg(script)
            .status()
            .unwrap();
        assert!(written.success());
        (Compiler::new(cache, executable, DebugInfo::LeftOut), code)
    }

    fn package() -> Package {
        let bytes: &[u8] = b"plugin";
        Package {
            bytes: bytes.into(),
            hash: hash_of(bytes),
        }
    }

    #[tokio::test]
    async fn what_cannot_be_stored_is_used_and_stored_when_there_is_room_again() {
        let folder = tempfile::tempdir().unwrap();
        let (compiler, code) = compiler(folder.path(), "printf code");
        // As a full disk: nothing can be written there, not by root either.
        let aside = folder.path().join("aside");
        std::fs::rename(&code, &aside).unwrap();
        std::fs::write(&code, b"").unwrap();
        let compiled = async || compiler.compiled(&package(), Urgency::Start).await.unwrap();
        assert_eq!(compiled().await, b"code");
        assert!(compiler.cache_fails.load(Ordering::Relaxed));
        assert_eq!(compiled().await, b"code");

        std::fs::remove_file(&code).unwrap();
        std::fs::rename(&aside, &code).unwrap();
        assert_eq!(compiler.cache.load(package().hash), None);
        assert_eq!(compiled().await, b"code");
        assert!(!compiler.cache_fails.load(Ordering::Relaxed));
        assert_eq!(compiler.cache.load(package().hash).as_deref(), Some(&b"code"[..]));
    }

    #[tokio::test]
    async fn more_code_than_is_taken_is_refused_by_that_name() {
        for script in [
            // More than the limit without a byte of memory.
            "truncate -s 536870913 /proc/self/fd/1",
            // What becomes of a process that writes past its limit.
            "kill -XFSZ $$",
            "exit 4",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let (compiler, _) = compiler(folder.path(), script);
            let refused = compiler.compiled(&package(), Urgency::Start).await.unwrap_err();
            assert!(
                matches!(refused, CompileError::TooMuchCode),
                "{script}: {refused}"
            );
            assert_eq!(refused.to_string(), "its compiled code has more than 512 MiB");
        }
    }

    #[tokio::test]
    async fn a_plugin_that_takes_too_much_processor_time_is_refused_by_that_name() {
        let folder = tempfile::tempdir().unwrap();
        // What becomes of a process that works on past its limit.
        let (compiler, _) = compiler(folder.path(), "kill -XCPU $$");
        let refused = compiler.compiled(&package(), Urgency::Beside).await.unwrap_err();
        assert!(matches!(refused, CompileError::TooMuchWork), "{refused}");
        assert_eq!(
            refused.to_string(),
            "it took more than 120 s of processor time to compile"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_the_processor_is_not_refused_for_it_and_what_never_ends_is() {
        let folder = tempfile::tempdir().unwrap();
        let (compiler, _) = compiler(folder.path(), "exec sleep 1d");
        let began = tokio::time::Instant::now();
        let refused = compiler.compiled(&package(), Urgency::Beside).await.unwrap_err();
        assert!(matches!(refused, CompileError::TimedOut), "{refused}");
        assert_eq!(began.elapsed(), TIME_LIMIT);
        assert_eq!(refused.to_string(), "compiling it did not end within 20 minutes");
    }
}
