//! The slice `frontPanel`.

use autobench_sdk::{History, Slice};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the device is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema, Slice)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// The line is away.
    #[default]
    Disconnected,
    /// The line is there, and the board is left alone until it is awake.
    Connecting,
    /// The board was asked what it is.
    Identifying,
    /// The board obeys.
    Ready,
    /// The board does not answer.
    Error,
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Identifying => "identifying",
            Self::Ready => "ready",
            Self::Error => "error",
        }
    }
}

/// Whether the PC has its 5 V.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Slice)]
#[serde(rename_all = "camelCase")]
pub enum Sense {
    /// The board has not said.
    #[default]
    Unknown,
    /// It has not.
    Off,
    /// It has.
    On,
}

impl Sense {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Off => "off",
            Self::On => "on",
        }
    }

    /// The other way; what nobody knows stays so.
    pub(crate) fn opposite(self) -> Self {
        match self {
            Self::Unknown => Self::Unknown,
            Self::Off => Self::On,
            Self::On => Self::Off,
        }
    }
}

/// The slice.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema, Slice)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// How the device is.
    pub phase: Phase,
    /// What there is to say, for a person.
    #[slice(absent)]
    pub message: Option<String>,
    /// Whether the board has said what it is, and obeys.
    pub identified: bool,
    /// What tells this board from others, where the system knows: `usb:VENDOR:PRODUCT:SERIAL`.
    pub device_id: Option<String>,
    /// Where it is attached.
    pub device_path: Option<String>,
    /// The rate that the driver asks for. To a board on USB it means nothing.
    pub baud_rate: Option<u32>,
    /// Whether the PC has its 5 V.
    pub power_sense: Sense,
    /// Whether the PC's disk is at work; null while nobody knows.
    pub hdd_active: Option<bool>,
    /// Whether the contact of the power button is closed, as far as anybody knows.
    pub power_button_held: bool,
    /// The same for the reset button.
    pub reset_button_held: bool,
    /// Whether something is under way.
    pub busy: bool,
    /// How many commands wait behind it.
    pub queue_depth: u32,
    /// What is under way.
    #[slice(json)]
    pub current_op: Option<Operation>,
    /// What went wrong last; cleared when something goes well.
    #[slice(json)]
    pub last_error: Option<Fault>,
    /// What went wrong, the newest last.
    pub error_history: History<Fault, 50>,
    /// What was done, the newest last.
    pub operation_history: History<Operation, 100>,
    /// Counts since the driver started without a predecessor.
    pub stats: Stats,
    /// When anything of this changed last, in milliseconds since 1970.
    pub updated_at: Option<u64>,
}

/// Counts.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema, Slice)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Lines that came from the board.
    pub lines: u64,
    /// Those that no front-panel controller says.
    pub unknown_lines: u64,
    /// Holds that the board ended by itself.
    pub auto_releases: u64,
}

/// Something that is done with the buttons, or was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Id of the command that asked for it.
    pub id: String,
    /// The command's name.
    pub kind: String,
    /// How it stands.
    pub status: OperationStatus,
    /// When it was asked for, in milliseconds since 1970.
    pub created_at: u64,
    /// Who asked.
    pub requested_by: String,
    /// What it does, for a person.
    pub label: String,
    /// Why it ended as it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OperationStatus {
    /// It is under way.
    Running,
    /// It was done.
    Completed,
    /// Somebody took it back.
    Cancelled,
    /// It was tried, and not done.
    Failed,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// At what.
    pub scope: Scope,
    /// For a person.
    pub message: String,
}

/// What something went wrong at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// The line.
    Read,
    /// Sending.
    Write,
    /// Identification.
    Identify,
    /// The board's answers, or what became of the PC.
    Protocol,
    /// The queue.
    Queue,
}
