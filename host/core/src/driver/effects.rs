//! What a call asks for, collected while it runs and applied when it returns.

use std::sync::Arc;

use super::{CommandId, LeaseId, LineSettings, PortIndex, TimerId};
use crate::state::{Operation, Value};

/// Samples for which there is room from call to call. What a call with more of them took is given back: one call may push a MiB of them, and what
/// the host keeps counts towards no limit of the driver.
const SAMPLES_KEPT: usize = 1024;

/// Everything one call asks for. The buffers are used again from call to call, so that a row of a meter allocates nothing here.
#[derive(Debug, Default)]
pub struct Effects {
    /// Operations on the slice, in order; one version of the state.
    pub operations: Vec<Operation>,
    /// Samples: position of the series in the manifest, and the sample.
    pub samples: Vec<(u32, Sample)>,
    /// Events for clients.
    pub publications: Vec<Publication>,
    /// Alarms raised and cleared.
    pub alarms: Vec<AlarmChange>,
    /// Answers to commands.
    pub replies: Vec<CommandReply>,
    /// Timers set and cancelled.
    pub timers: Vec<TimerChange>,
    /// Leases taken and given back.
    pub leases: Vec<LeaseChange>,
    /// What ports are to do: writes, line settings, signals.
    pub port_actions: Vec<(PortIndex, PortAction)>,
    /// What the driver said of itself.
    pub status: Vec<StatusChange>,
    /// Log lines: the one thing that stays of a call that fails.
    pub logs: Vec<LogLine>,
    /// Log lines past the limit of one call, which are only counted.
    pub logs_suppressed: u64,
}

impl Effects {
    /// Forgets everything and keeps the buffers.
    pub fn clear(&mut self) {
        self.clear_all_but_logs();
        self.logs.clear();
        self.logs_suppressed = 0;
    }

    /// Forgets everything that a failed call must not do.
    pub fn clear_all_but_logs(&mut self) {
        self.operations.clear();
        self.samples.clear();
        self.samples.shrink_to(SAMPLES_KEPT);
        self.publications.clear();
        self.alarms.clear();
        self.replies.clear();
        self.timers.clear();
        self.leases.clear();
        self.port_actions.clear();
        self.status.clear();
    }
}

/// One measured value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Milliseconds since 1970.
    pub timestamp_ms: f64,
    /// In the unit of the series.
    pub value: f64,
}

/// An event for clients.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// How grave.
    pub level: LogLevel,
    /// Kind of the context.
    pub kind: String,
    /// For a person.
    pub message: String,
    /// A JSON object.
    pub context: serde_json::Map<String, serde_json::Value>,
}

/// How grave an alarm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Wants attention soon.
    Warning,
    /// Wants attention now.
    Critical,
}

/// An alarm raised or cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlarmChange {
    /// Raised, or changed while it stands.
    Raise {
        /// Its name within the device.
        key: String,
        /// How grave.
        severity: Severity,
        /// For a person.
        message: String,
    },
    /// Cleared.
    Clear {
        /// Its name within the device.
        key: String,
    },
}

/// An answer to a command.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandReply {
    /// The device has taken it.
    Acknowledge {
        /// Which.
        id: CommandId,
    },
    /// How far it is.
    Progress {
        /// Which.
        id: CommandId,
        /// For a person.
        message: String,
        /// From 0 to 1, where known.
        share: Option<f64>,
    },
    /// It is over.
    Complete {
        /// Which.
        id: CommandId,
        /// How.
        outcome: Outcome,
    },
}

impl CommandReply {
    /// The command that it answers.
    pub fn id(&self) -> &CommandId {
        match self {
            Self::Acknowledge { id } | Self::Progress { id, .. } | Self::Complete { id, .. } => id,
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Done; the value is what the device has now.
    Succeeded(Option<Value>),
    /// Tried and not done.
    Failed(String),
    /// Not tried.
    Blocked(String),
    /// Given up on request.
    Cancelled,
}

/// A timer set or cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerChange {
    /// Runs out at this time of the monotonic clock.
    Set {
        /// Which.
        id: TimerId,
        /// When.
        at_ns: u64,
    },
    /// Taken back.
    Cancel {
        /// Which.
        id: TimerId,
    },
}

/// A lease taken or given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseChange {
    /// Taken, or taken once more.
    Acquire {
        /// Its number, which the driver chose.
        id: LeaseId,
        /// Where the bytes go.
        port: PortIndex,
        /// What undoes the hold.
        release: Arc<[u8]>,
        /// Longest duration from now on.
        maximum_ms: u32,
        /// The command whose sender holds it; none if nobody but the driver does.
        holder: Option<CommandId>,
    },
    /// Given back.
    Release {
        /// Which.
        id: LeaseId,
        /// How many actions on ports the call had asked for before: its bytes go out behind them.
        actions_before: usize,
    },
}

/// What a port is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortAction {
    /// Send bytes.
    Write(Vec<u8>),
    /// Send what undoes a hold. No driver asks for that: the host does where one gives a lease back.
    Undo(super::Lease),
    /// Throw away what is queued.
    DiscardOutput,
    /// Change the line.
    SetLine(LineSettings),
    /// Drive DTR, RTS, BREAK; none leaves a line as it is.
    SetSignals {
        /// DTR.
        data_terminal_ready: Option<bool>,
        /// RTS.
        request_to_send: Option<bool>,
        /// BREAK.
        break_condition: Option<bool>,
    },
}

/// What a driver says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusChange {
    /// The phase of its device.
    Phase(String),
    /// It cannot go on.
    Failed(String),
}

/// Level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For whoever works on the code.
    Debug,
    /// Worth reading later.
    Info,
    /// Wrong, but it goes on.
    Warn,
    /// Did not work.
    Error,
    /// Cannot go on.
    Fatal,
}

/// One line of the log from a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How grave.
    pub level: LogLevel,
    /// The text.
    pub message: String,
    /// Keys and values.
    pub attributes: Vec<(String, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(effects: &mut Effects, count: usize) {
        let sample = Sample {
            timestamp_ms: 0.0,
            value: 1.0,
        };
        effects.samples.extend(std::iter::repeat_n((0, sample), count));
    }

    #[test]
    fn a_call_with_many_samples_leaves_no_room_behind_and_a_usual_one_leaves_its_own() {
        let mut effects = Effects::default();
        push(&mut effects, 100);
        let usual = effects.samples.capacity();
        effects.clear();
        assert_eq!(effects.samples.capacity(), usual);
        push(&mut effects, 43_690);
        effects.clear();
        let kept = effects.samples.capacity();
        assert!((usual..=SAMPLES_KEPT).contains(&kept), "room for {kept}");
    }
}
