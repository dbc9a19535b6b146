//! What a driver on the offline bench asked for, and what became of it.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::driver::{
    Breakdown, CallTime, Cause, Command, Commit, Effects, Event, Lease, LeaseOver, LifeChange, LogLine,
    LogOrigin, Sink, Skipped, SliceRefused, StartReason, StopReason, Taken, Verdict,
};
use crate::state::{Pointer, StateError, Store};

const SLICE: &str = "slice";

/// One thing that the driver did, or that became of it.
#[derive(Debug)]
pub enum Entry {
    /// A call returned.
    Call {
        /// What it was told.
        told: Told,
        /// When.
        time: CallTime,
        /// What it asked for.
        effects: Box<Effects>,
        /// Why its update of the slice was refused, if it was.
        refused: Option<String>,
    },
    /// It broke down, and this follows.
    BrokeDown(String),
    /// Something was left out, or given up, after it broke the driver down.
    GivenUp(String),
    /// A lease ended, and the host wrote its bytes.
    LeaseOver(LeaseOver),
    /// Log lines of a call that had no other effect.
    Logs(Vec<LogLine>),
}

/// What a driver was told in a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// To start.
    Start(StartReason),
    /// Bytes.
    Bytes {
        /// Number of the first.
        from: u64,
        /// Number of the one behind the last.
        to: u64,
    },
    /// Something else, in words.
    Event(String),
    /// To stop.
    Stop(StopReason),
}

/// Records, and keeps the slice as the daemon's state would.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) port: Arc<str>,
    pub(super) series: Vec<String>,
    store: Store,
    entries: Vec<Entry>,
}

impl Recorder {
    pub(super) fn new(
        port: Arc<str>,
        series: Vec<String>,
        slice_limit_bytes: usize,
    ) -> Result<Self, StateError> {
        let mut store = Store::from_members(Map::new())?;
        store.set_limit(SLICE, slice_limit_bytes);
        Ok(Self {
            port,
            series,
            store,
            entries: Vec::new(),
        })
    }

    pub(super) fn take(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    pub(super) fn slice_value(&mut self) -> Option<Json> {
        self.store.get(&Pointer::of([SLICE])).cloned()
    }
}

impl Sink for Recorder {
    fn commit(&mut self, effects: &mut Effects, commit: Commit<'_>) -> Result<(), SliceRefused> {
        let applied = self.store.apply(SLICE, &effects.operations);
        let refused = applied.err().map(|error| error.to_string());
        self.store.take_flush();
        self.entries.push(Entry::Call {
            told: told(commit.cause),
            time: commit.time,
            effects: Box::new(std::mem::take(effects)),
            refused: refused.clone(),
        });
        refused.map_or(Ok(()), |reason| Err(SliceRefused(reason)))
    }

    fn logs(&mut self, lines: &mut Vec<LogLine>, _suppressed: u64, origin: LogOrigin) {
        // Those of a replay were recorded the first time.
        if origin == LogOrigin::FailedCall && !lines.is_empty() {
            self.entries.push(Entry::Logs(std::mem::take(lines)));
        }
    }

    fn slice(&mut self) -> Option<Arc<str>> {
        let bytes = self.store.member_bytes(SLICE)?;
        std::str::from_utf8(&bytes).ok().map(Arc::from)
    }

    fn take_over(
        &mut self,
        value: Json,
        _effects: &mut Effects,
        _generation: u64,
    ) -> Result<(), SliceRefused> {
        let replaced = self.store.replace_slice(SLICE, value);
        self.store.take_flush();
        replaced
            .map(|_| ())
            .map_err(|error| SliceRefused(error.to_string()))
    }

    fn leases_opened(&mut self, _opened: &[(Lease, Option<u64>)]) {}

    fn lease_over(&mut self, over: &LeaseOver) {
        self.entries.push(Entry::LeaseOver(over.clone()));
    }

    fn skipped(&mut self, skipped: Skipped<'_>) {
        let what = match skipped.taken {
            Taken::Bytes(chunk) => format!("bytes {} to {}", chunk.from, chunk.to),
            Taken::Event(event) => in_words(event),
        };
        self.entries.push(Entry::GivenUp(format!(
            "{what}: left out, because the driver broke down over it twice"
        )));
    }

    fn command_failed(&mut self, command: &Arc<Command>, breakdown: &Breakdown) {
        self.entries.push(Entry::GivenUp(format!(
            "the command {} had no effect: {breakdown}",
            command.name
        )));
    }

    fn life(&mut self, change: LifeChange<'_>) {
        let entry = match change {
            LifeChange::BrokeDown { breakdown, verdict } => {
                let follows = match verdict {
                    Verdict::Restart { .. } => "it is started again",
                    Verdict::Quarantine => "it is in quarantine",
                    Verdict::AwaitsConfiguration => "it waits for other settings",
                };
                Entry::BrokeDown(format!("{breakdown}; {follows}"))
            }
            LifeChange::CheckpointDropped { .. } => {
                Entry::GivenUp("its checkpoint: it starts from nothing".to_owned())
            }
            LifeChange::LastWordsLost { breakdown } => {
                Entry::BrokeDown(format!("{breakdown}; its last words are lost"))
            }
            LifeChange::Started { .. } | LifeChange::Stopped(_) => return,
        };
        self.entries.push(entry);
    }
}

fn told(cause: Cause<'_>) -> Told {
    match cause {
        Cause::Start { reason, .. } => Told::Start(reason),
        Cause::Event(Taken::Bytes(chunk)) => Told::Bytes {
            from: chunk.from,
            to: chunk.to,
        },
        Cause::Event(Taken::Event(event)) => Told::Event(in_words(event)),
        Cause::Stop(reason) => Told::Stop(reason),
    }
}

/// An event in a few words.
pub(crate) fn in_words(event: &Event<'_>) -> String {
    match event {
        Event::Bytes { offset, data, .. } => format!("bytes {offset} to {}", offset + data.len() as u64),
        Event::PortAttached { offset, .. } => format!("port attached at {offset}"),
        Event::PortLost { reason, .. } => format!("port lost: {reason}"),
        Event::Overrun { from, to, .. } => format!("overrun {from} to {to}"),
        Event::LineError { reason, .. } => format!("line error: {reason}"),
        Event::LinesChanged { .. } => "lines changed".to_owned(),
        Event::TransmitDrained { .. } => "transmit drained".to_owned(),
        Event::Timer(id) => format!("timer {}", id.0),
        Event::Command(command) => format!("command {}", command.name),
        Event::CommandCancelled { .. } => "command cancelled".to_owned(),
        Event::LeaseEnded { id, .. } => format!("lease {} ended", id.0),
        Event::Observed { slice, .. } => format!("observed {slice}"),
        Event::Settings(_) => "settings".to_owned(),
        Event::Other { kind, .. } => format!("other {kind}"),
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Start(reason) => {
                let reason = match reason {
                    StartReason::Cold => "cold",
                    StartReason::Restart => "restart",
                    StartReason::Swap => "swap",
                    StartReason::Return => "return",
                };
                write!(f, "start, {reason}")
            }
            Self::Bytes { from, to } => write!(f, "bytes {from} to {to}"),
            Self::Event(text) => f.write_str(text),
            Self::Stop(_) => f.write_str("stop"),
        }
    }
}
