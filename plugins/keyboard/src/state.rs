//! The slice.

use autobench_sdk::{History, Slice};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::protocol;

/// How the device is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema, Slice)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// The line is away.
    #[default]
    Disconnected,
    /// The adapter is asked who it is.
    Identifying,
    /// It takes commands.
    Ready,
    /// It does not answer, or is another board.
    Error,
}

impl Phase {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Identifying => "identifying",
            Self::Ready => "ready",
            Self::Error => "error",
        }
    }
}

/// Something that is on, or off, or of which nobody knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema, Slice)]
#[serde(rename_all = "camelCase")]
pub enum Power {
    /// Nobody has said.
    #[default]
    Unknown,
    /// Off.
    Off,
    /// On.
    On,
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
    /// Whether the adapter has said that it is one since its line came.
    pub identified: bool,
    /// What it called itself.
    pub device_id: Option<String>,
    /// Where its line is.
    pub device_path: Option<String>,
    /// Speed of its line.
    pub baud_rate: Option<u32>,
    /// The level of the pin that tells the mouse adapter whether the PC is on, as the keyboard adapter says.
    pub power: Power,
    /// Whether the PC has power, as the front panel says.
    pub power_sense: Power,
    /// The keyboard's lights, as the PC has set them since it started.
    #[slice(json)]
    pub lights: Option<Lights>,
    /// The layout that a text is typed in unless its command says otherwise.
    pub layout: String,
    /// The layouts that there are.
    #[slice(json)]
    pub layouts: Vec<LayoutName>,
    /// Names of the macros of the settings.
    #[slice(json)]
    pub macros: Vec<String>,
    /// Whether a command is being carried out.
    pub busy: bool,
    /// Commands that wait.
    pub queue_depth: u32,
    /// The command that is being carried out.
    #[slice(json)]
    pub current_op: Option<Operation>,
    /// Keys that are held, by their names.
    #[slice(json)]
    pub held_keys: Vec<String>,
    /// The newest error since the adapter was ready.
    #[slice(json)]
    pub last_error: Option<Fault>,
    /// The newest errors.
    pub error_history: History<Fault, 50>,
    /// The newest commands that are over.
    pub operation_history: History<Operation, 100>,
    /// When something of this was changed by a command or a change of phase.
    pub updated_at: Option<String>,
}

/// A layout, for commands and for a person.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayoutName {
    /// In commands and settings.
    pub name: String,
    /// What a person calls it.
    pub title: String,
}

/// The keyboard's lights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lights {
    /// Scroll lock.
    pub scroll: bool,
    /// Num lock.
    pub num: bool,
    /// Caps lock.
    pub caps: bool,
}

impl From<protocol::Lights> for Lights {
    fn from(protocol::Lights { scroll, num, caps }: protocol::Lights) -> Self {
        Self { scroll, num, caps }
    }
}

/// How a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// It is being carried out.
    Running,
    /// Done.
    Completed,
    /// Given up.
    Cancelled,
    /// Not done.
    Failed,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Its id; absent for what the driver does by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
    /// Its name.
    pub kind: String,
    /// How it stands.
    pub status: Status,
    /// When it came.
    pub created_at: String,
    /// Who asked.
    pub requested_by: String,
    /// What it does. Of a text only its length.
    pub label: String,
    /// Why it was not done, where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// When.
    pub at: String,
    /// Where.
    pub scope: Scope,
    /// What, for a person.
    pub message: String,
    /// Whether the same may work the next time.
    pub retryable: bool,
}

/// Where something went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// The line is away.
    Open,
    /// The adapter does not say who it is.
    Identify,
    /// The line takes nothing.
    Write,
    /// The adapter does not answer, or not as it should.
    Protocol,
    /// A hold could not be guarded.
    Hold,
}
