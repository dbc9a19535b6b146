//! A breakdown: what ended a call and where, and how the state shows it.

use std::sync::Arc;

use autobench_core::driver::versions::VersionHash;
use autobench_core::driver::{Breakdown, Fault, FaultKind, Place};
use autobench_core::wire::DriverFault;
use wasmtime::{FrameInfo, Store, Trap, WasmBacktrace, WasmCoreDump};

use super::core_dump::{CoreDumps, DUMP_LIMIT_BYTES};
use super::host_state::{HOST_CALL_BYTES_LIMIT, HostState, LimitExceeded};
use super::loader::LoadError;
use crate::clock::{now_iso, wall_ms};

/// How much of a file's path is told, from its end.
const SOURCE_FOLDERS: usize = 3;
const SOURCE_CHARS: usize = 120;

/// Of a version that ran, or was to run, on a device.
pub fn of_breakdown(breakdown: &Breakdown, plugin: String, hash: VersionHash, version: &str) -> DriverFault {
    let place = match breakdown {
        Breakdown::Fault(fault) => (*fault.place).clone(),
        _ => Place::default(),
    };
    DriverFault {
        at: now_iso(),
        code: breakdown.code().to_owned(),
        message: breakdown.to_string(),
        export: breakdown.export().map(str::to_owned),
        function: place.function,
        source: place.source,
        plugin,
        version: Some(version.to_owned()),
        sha256: hash.to_string(),
        core_dump: place.core_dump,
    }
}

/// Of a version that broke down before it could say what it is.
pub fn of_load(error: &LoadError, plugin: &str, hash: VersionHash) -> Option<DriverFault> {
    let LoadError::Describe(Fault {
        kind, export, place, ..
    }) = error
    else {
        return None;
    };
    let place = (**place).clone();
    Some(DriverFault {
        at: now_iso(),
        code: kind.code().to_owned(),
        message: error.to_string(),
        export: Some((*export).to_owned()),
        function: place.function,
        source: place.source,
        plugin: plugin.to_owned(),
        version: None,
        sha256: hash.to_string(),
        core_dump: place.core_dump,
    })
}

/// An answer that no driver may give.
pub fn contract(export: &'static str, detail: String) -> Fault {
    Fault::new(FaultKind::Contract, export, detail)
}

/// Names what ended a call and where, and keeps the guest's memory where that is asked for.
pub fn of_call(
    store: &mut Store<HostState>,
    export: &'static str,
    error: &wasmtime::Error,
    core_dumps: Option<&CoreDumps>,
) -> Fault {
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    let core_dump = error.downcast_ref::<WasmCoreDump>();
    let frames = match (backtrace, core_dump) {
        (Some(backtrace), _) => backtrace.frames(),
        (None, Some(dump)) => dump.frames(),
        (None, None) => &[],
    };
    let functions = functions(frames);
    let mut place = Place {
        function: functions.first().cloned(),
        source: source(frames),
        core_dump: None,
    };
    let way = match functions.is_empty() {
        true => String::new(),
        false => format!(" at {}", functions.join(" < ")),
    };
    let line = place
        .source
        .as_ref()
        .map(|source| format!(" ({source})"))
        .unwrap_or_default();
    let text = format!("{error:#}");
    let (kind, cause) = if let Some(passed) = store.data_mut().watch.take_passed() {
        (FaultKind::Deadline, passed)
    } else if let Some(limit) = error.downcast_ref::<LimitExceeded>() {
        (FaultKind::Limit, limit.0.clone())
    } else if text.contains("fuel allocated for hostcalls") {
        let cause = format!("more than {HOST_CALL_BYTES_LIMIT} bytes handed to the host in one call");
        (FaultKind::Limit, cause)
    } else if text.contains("resource limit exceeded") {
        // Of memories or tables there are more than anybody may have.
        (FaultKind::Limit, error.root_cause().to_string())
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        (FaultKind::Trap, trap.to_string())
    } else {
        (FaultKind::Contract, format!("{:#}", error.root_cause()))
    };
    if let (Some(dump), Some(folder)) = (core_dump, core_dumps) {
        place.core_dump = keep(store, dump, folder);
    }
    Fault {
        kind,
        export,
        detail: format!("{cause}{way}{line}"),
        place: Box::new(place),
    }
}

/// What a panic of a Rust guest runs through before it traps says nothing about the driver.
fn is_machinery(function: &str) -> bool {
    let machinery = [
        "rust_panic",
        "core::panicking",
        "std::panicking",
        "std::process",
        "__rustc",
        "std::sys::",
    ];
    machinery.iter().any(|prefix| function.contains(prefix))
}

/// The guest's innermost functions.
fn functions(frames: &[FrameInfo]) -> Vec<String> {
    frames
        .iter()
        .filter_map(FrameInfo::func_name)
        .filter(|name| !is_machinery(name))
        .take(4)
        .map(str::to_owned)
        .collect()
}

/// The innermost line of the guest's own source, as its last folders and its number.
fn source(frames: &[FrameInfo]) -> Option<String> {
    let mut symbols = frames.iter().flat_map(FrameInfo::symbols);
    let (file, line) = symbols.find_map(|symbol| {
        let (file, line) = (symbol.file()?, symbol.line()?);
        // The standard library, and what was built with another machine's registry.
        let is_own = !file.contains("/rustc/") && !file.contains("/library/") && line > 0;
        let is_named = !symbol.name().is_some_and(is_machinery);
        (is_own && is_named).then_some((file, line))
    })?;
    let mut folders: Vec<&str> = file.rsplit('/').take(SOURCE_FOLDERS).collect();
    folders.reverse();
    let file: String = folders.join("/").chars().take(SOURCE_CHARS).collect();
    Some(format!("{file}:{line}"))
}

/// Keeps the guest's memory, and answers the file's name.
fn keep(store: &mut Store<HostState>, dump: &WasmCoreDump, folder: &CoreDumps) -> Option<String> {
    let rights = store.data().rights()?;
    let (device, version) = (Arc::clone(&rights.device), rights.version);
    let used_bytes = store.data().memory.used_bytes();
    if used_bytes > DUMP_LIMIT_BYTES {
        tracing::warn!(channel = "device", tag = %device, "no dump is made of {used_bytes} bytes of memory; at most {DUMP_LIMIT_BYTES} are written");
        return None;
    }
    let bytes = dump.serialize(&mut *store, &version.to_string());
    match folder.keep(&device, version, wall_ms() as u64, &bytes) {
        Ok(name) => {
            tracing::info!(channel = "device", tag = %device, "its memory is kept in {name}");
            Some(name)
        }
        Err(error) => {
            tracing::warn!(channel = "device", tag = %device, "its memory is not kept: {error}");
            None
        }
    }
}
