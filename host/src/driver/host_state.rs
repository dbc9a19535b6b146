//! What a driver's store holds on the host's side: its rights, its limits, and the effects of the call that is running.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::sync::Arc;

use autobench_core::driver::versions::VersionHash;
use autobench_core::driver::{CallTime, CommandId, Effects, LeaseId, LogLevel, LogLine, PortIndex};
use autobench_core::state::Pointer;

use super::health::Health;
use super::limits::{Deadline, MemoryLimit, Watch};
use super::offline::Sampler;
use crate::serial::PortView;

/// Bytes that one call may hand to the host, over all host calls in it.
pub const HOST_CALL_BYTES_LIMIT: usize = 1 << 20;

/// What a host call counts beside its bytes.
const HOST_CALL_COST_BYTES: usize = 32;

/// Log lines that one call may write; past it they are only counted.
pub const LOG_LINES_PER_CALL: usize = 256;

/// Longest log line, in bytes.
pub(super) const LOG_LINE_LIMIT_BYTES: usize = 8 << 10;

/// Reads foreign slices for a driver that may.
pub trait ReadSlices: Send + Sync {
    /// The slice as JSON text, none if there is no such member.
    fn read(&self, slice: &str) -> Option<String>;
}

/// What an instance may reach.
#[derive(Clone)]
pub struct Rights {
    /// Id of the device, for messages.
    pub device: Arc<str>,
    /// The ports that `plugins.toml` gives it, in the order of their indices.
    pub ports: Arc<[Arc<dyn PortView>]>,
    /// Names of the foreign slices it may read: observed by the manifest and granted by `plugins.toml`.
    pub readable_slices: Arc<[Arc<str>]>,
    /// How it reads them.
    pub slices: Arc<dyn ReadSlices>,
    /// Where what undoes its holds is kept over a crash of the daemon.
    pub holds: Arc<dyn KeepsHolds>,
    /// How many series its manifest declares.
    pub series_count: usize,
    /// Names of the device's alarms that stand.
    pub standing_alarms: BTreeSet<String>,
    /// The version that it is an instance of.
    pub version: VersionHash,
    /// Where its use of memory is counted.
    pub health: Arc<Health>,
}

/// Keeps what undoes holds over a crash of the daemon.
pub trait KeepsHolds: Send + Sync {
    /// A call, known by its time, wants to hold something: what undoes it is kept when this returns.
    fn prepare(&self, call: CallTime, lease: LeaseId, port: PortIndex, release: &[u8]) -> io::Result<()>;
}

/// For instances that hold nothing.
pub struct NoHolds;

impl KeepsHolds for NoHolds {
    fn prepare(&self, _: CallTime, _: LeaseId, _: PortIndex, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the instance describes itself or serves a device.
pub enum Mode {
    /// `describe`: every import but `log` answers `not-granted`.
    Describe,
    /// Serves a device.
    Live(Rights),
}

/// Where a language's runtime writes what nobody asked it to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandardStream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// What the driver has begun and not ended, as far as it knows: kept here so that one too many, and one that is none of its, can be refused at the call.
#[derive(Debug, Clone, Default)]
pub(super) struct Own {
    /// Timers that run.
    pub(super) timers: BTreeSet<u32>,
    /// Leases that are open, and for which port.
    pub(super) leases: BTreeMap<LeaseId, PortIndex>,
    /// Commands in flight.
    pub(super) commands: HashSet<CommandId>,
    /// Alarms that stand.
    pub(super) alarms: BTreeSet<String>,
}

/// The data of a driver's store.
pub struct HostState {
    pub(super) mode: Mode,
    pub(super) memory: MemoryLimit,
    pub(super) watch: Watch,
    pub(super) time: CallTime,
    pub(super) effects: Effects,
    pub(super) interned: Vec<Arc<Pointer>>,
    /// Bytes written to each port in this call, which the transmit queues do not know of yet.
    pub(super) reserved_bytes: Vec<usize>,
    pub(super) host_call_bytes: usize,
    pub(super) own: Own,
    /// Leases that this call has taken and given back, and how many of them somebody has to undo because of it.
    pub(super) lease_changes: usize,
    pub(super) undos: usize,
    /// Of each standard stream, the line that has not ended yet; at most one line's limit of it.
    unfinished_lines: [Vec<u8>; 2],
    /// Who looks what the guest is doing, while it is profiled.
    pub(super) sampler: Option<Sampler>,
}

impl HostState {
    /// A fresh state for one instance.
    pub fn new(mode: Mode, memory_limit_bytes: usize) -> Self {
        let (port_count, alarms) = match &mode {
            Mode::Describe => (0, BTreeSet::new()),
            Mode::Live(rights) => (rights.ports.len(), rights.standing_alarms.clone()),
        };
        Self {
            mode,
            memory: MemoryLimit::new(memory_limit_bytes),
            watch: Watch::new(Deadline::COLD_START),
            time: CallTime {
                monotonic_ns: 0,
                wall_ms: 0.0,
            },
            effects: Effects::default(),
            interned: Vec::new(),
            reserved_bytes: vec![0; port_count],
            host_call_bytes: 0,
            own: Own {
                alarms,
                ..Own::default()
            },
            lease_changes: 0,
            undos: 0,
            unfinished_lines: Default::default(),
            sampler: None,
        }
    }

    /// From here on the instance serves a device.
    pub(super) fn serve(&mut self, rights: Rights) {
        self.reserved_bytes.resize(rights.ports.len(), 0);
        self.own.alarms.clone_from(&rights.standing_alarms);
        self.effects.clear();
        self.mode = Mode::Live(rights);
    }

    pub(super) fn keep_holds_with(&mut self, holds: &Arc<dyn KeepsHolds>) {
        if let Mode::Live(rights) = &mut self.mode {
            rights.holds = Arc::clone(holds);
        }
    }

    /// Readies the state for a call.
    pub(super) fn begin_call(&mut self, time: CallTime, deadline: Deadline) {
        self.time = time;
        self.watch = Watch::new(deadline);
        self.host_call_bytes = 0;
        self.lease_changes = 0;
        self.undos = 0;
        self.reserved_bytes.fill(0);
    }

    pub(super) fn rights(&self) -> Option<&Rights> {
        match &self.mode {
            Mode::Describe => None,
            Mode::Live(rights) => Some(rights),
        }
    }

    pub(super) fn port(&self, index: u32) -> Option<(PortIndex, &dyn PortView)> {
        let index = usize::try_from(index).ok()?;
        self.rights()?
            .ports
            .get(index)
            .map(|port| (PortIndex(index), &**port))
    }

    /// Takes what a runtime writes to a standard stream: each line of it is a line of the log.
    pub(super) fn write_to_stream(&mut self, stream: StandardStream, bytes: &[u8]) -> wasmtime::Result<()> {
        self.charge(bytes.len())?;
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = self.unfinished_line(stream);
            // One byte more than a line may have, so that a longer one is cut and marked.
            let room = (LOG_LINE_LIMIT_BYTES + 1).saturating_sub(line.len());
            line.extend(part.iter().filter(|byte| **byte != b'\n').take(room));
            if part.ends_with(b"\n") {
                self.end_line(stream);
            }
        }
        Ok(())
    }

    /// Ends the lines that a call has left without an end.
    pub(super) fn end_lines(&mut self) {
        for stream in [StandardStream::Output, StandardStream::Error] {
            if !self.unfinished_line(stream).is_empty() {
                self.end_line(stream);
            }
        }
    }

    fn unfinished_line(&mut self, stream: StandardStream) -> &mut Vec<u8> {
        let [output, error] = &mut self.unfinished_lines;
        match stream {
            StandardStream::Output => output,
            StandardStream::Error => error,
        }
    }

    fn end_line(&mut self, stream: StandardStream) {
        let line = std::mem::take(self.unfinished_line(stream));
        let (level, name) = match stream {
            StandardStream::Output => (LogLevel::Info, "stdout"),
            StandardStream::Error => (LogLevel::Warn, "stderr"),
        };
        self.log(LogLine {
            level,
            message: cut(String::from_utf8_lossy(&line).into_owned(), LOG_LINE_LIMIT_BYTES),
            attributes: vec![("stream".to_owned(), name.to_owned())],
        });
    }

    /// Keeps a line of the log; past the limit of a call they are only counted.
    pub(super) fn log(&mut self, line: LogLine) {
        if self.effects.logs.len() < LOG_LINES_PER_CALL {
            self.effects.logs.push(line);
        } else {
            self.effects.logs_suppressed += 1;
        }
    }

    /// Counts bytes that the driver hands to the host, and a little for the call itself, because an effect without a text takes memory too;
    /// ends the call when they are too many.
    pub(super) fn charge(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.host_call_bytes = self
            .host_call_bytes
            .saturating_add(bytes)
            .saturating_add(HOST_CALL_COST_BYTES);
        if self.host_call_bytes > HOST_CALL_BYTES_LIMIT {
            return Err(LimitExceeded(format!(
                "more than {HOST_CALL_BYTES_LIMIT} bytes handed to the host in one call"
            ))
            .into());
        }
        Ok(())
    }
}

/// Cuts a text at a character border and says so.
pub(super) fn cut(mut text: String, limit_bytes: usize) -> String {
    if text.len() > limit_bytes {
        let end = text.floor_char_boundary(limit_bytes.saturating_sub('…'.len_utf8()));
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Ends a call because a bounded thing was used up. Told from a trap when the call comes back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LimitExceeded(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_runtime_prints_is_kept_line_by_line_and_within_the_bounds_of_the_log() {
        let mut state = HostState::new(Mode::Describe, 1 << 20);
        let mut print = |text: &str| {
            state
                .write_to_stream(StandardStream::Error, text.as_bytes())
                .unwrap();
        };
        print("Trace");
        print("back\nsecond");
        print(&"x".repeat(9000));
        print(&"y".repeat(9000));
        state.end_lines();
        let lines = &state.effects.logs;
        assert_eq!(lines.len(), 2);
        assert_eq!(
            (lines[0].message.as_str(), lines[0].level),
            ("Traceback", LogLevel::Warn)
        );
        assert_eq!(lines[0].attributes, [("stream".to_owned(), "stderr".to_owned())]);
        assert!(lines[1].message.starts_with("secondxxx") && lines[1].message.ends_with('…'));
        assert!(lines[1].message.len() <= LOG_LINE_LIMIT_BYTES);

        state
            .write_to_stream(StandardStream::Output, "line\n".repeat(300).as_bytes())
            .unwrap();
        assert_eq!(state.effects.logs.len(), LOG_LINES_PER_CALL);
        assert_eq!(state.effects.logs_suppressed, 302 - LOG_LINES_PER_CALL as u64);
        let flood = vec![b'x'; HOST_CALL_BYTES_LIMIT];
        assert!(state.write_to_stream(StandardStream::Output, &flood).is_err());
    }
}
