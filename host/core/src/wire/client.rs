//! What clients say. How it is read stands in `read`.

mod read;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ts_rs::TS;

use super::{CommandRequest, ErrorCode};
use crate::logs::LogFilter;

/// One message of a client, with the id that its answer carries.
#[derive(Debug, Clone, PartialEq, Serialize, TS, JsonSchema)]
#[ts(optional_fields)]
pub struct ClientFrame {
    /// Any text or number; echoed in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// The message.
    #[serde(flatten)]
    pub message: ClientMessage,
}

/// The id of a client's message, in the client's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(untagged)]
pub enum MessageId {
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

/// What a client can say.
#[derive(Debug, Clone, PartialEq, Serialize, TS, JsonSchema)]
#[serde(tag = "type")]
pub enum ClientMessage {
    /// Who it is.
    #[serde(rename = "hello")]
    #[ts(optional_fields)]
    Hello {
        /// Name of the client.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Page that it shows.
        #[serde(skip_serializing_if = "Option::is_none")]
        page: Option<String>,
    },
    /// The token, from a client whose upgrade carried none.
    #[serde(rename = "auth")]
    Auth {
        /// The token itself.
        token: Secret,
    },
    /// Asks for `pong`.
    #[serde(rename = "ping")]
    Ping,
    /// Asks for the whole state again.
    #[serde(rename = "state.resync")]
    StateResync,
    /// Asks for the log entries after a number.
    #[serde(rename = "logs.replay", rename_all = "camelCase")]
    LogsReplay {
        /// The last number that the client has.
        since_seq: u64,
    },
    /// Asks for a channel.
    #[serde(rename = "subscribe")]
    Subscribe(Subscription),
    /// Wants a channel no more.
    #[serde(rename = "unsubscribe")]
    Unsubscribe(Topic),
    /// Wants only some log entries, or, without filters, all of them again.
    #[serde(rename = "subscribe_logs")]
    SubscribeLogs {
        /// Which ones. Absent: all.
        #[ts(as = "Option<LogFilter>", optional)]
        filters: LogFilter,
    },
    /// Wants no log entries.
    #[serde(rename = "unsubscribe_logs")]
    UnsubscribeLogs,
    /// Who it is; from now on it hears of blocks.
    #[serde(rename = "identify_client", rename_all = "camelCase")]
    IdentifyClient {
        /// Who.
        client_info: ClientInfo,
    },
    /// Asks which blocks run and have run.
    #[serde(rename = "request_initial_state")]
    RequestInitialState,
    /// How the client's own hardware is, in its own words. Every field but `type` and `id` is kept.
    #[serde(rename = "hardware_health_update")]
    HardwareHealthUpdate(HardwareHealth),
    /// Asks for a command. The sender hears every stage of it, also without a subscription.
    #[serde(rename = "command")]
    Command(CommandRequest),
    /// Withdraws a command.
    #[serde(rename = "command.cancel", rename_all = "camelCase")]
    CommandCancel {
        /// Which.
        command_id: String,
    },
    /// Goes on holding what a command of this client began.
    #[serde(rename = "lease.renew", rename_all = "camelCase")]
    LeaseRenew {
        /// The command.
        command_id: String,
    },
    /// Lets go of it.
    #[serde(rename = "lease.end", rename_all = "camelCase")]
    LeaseEnd {
        /// The command.
        command_id: String,
    },
}

/// A text that no log may ever show.
#[derive(Clone, PartialEq, Eq, Serialize, TS, JsonSchema)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text from being shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever compares it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Who a client says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, TS, JsonSchema)]
#[ts(optional_fields)]
pub struct ClientInfo {
    /// Name of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Page that it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
}

/// How a client's own hardware is, in its own words.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct HardwareHealth(pub Map<String, Value>);

/// Largest `hardware_health_update`, as JSON: it is kept for each client, and told to everybody who hears of events.
pub const HEALTH_BYTES: usize = 4 << 10;

/// What a client subscribes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS, JsonSchema)]
#[serde(untagged)]
pub enum Subscription {
    /// A channel.
    Topic(Topic),
    /// No channel: the state and the newest log entries, once.
    Snapshot {
        /// How much of them.
        payload: SnapshotRequest,
    },
}

/// A channel. State and logs are on from the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS, JsonSchema)]
#[serde(tag = "channel", rename_all = "lowercase")]
pub enum Topic {
    /// `state.patch`.
    State,
    /// `logs.append`.
    Logs,
    /// `alarm`.
    Alarms,
    /// `event`.
    Events,
    /// `telemetry` of some series.
    #[serde(rename_all = "camelCase")]
    #[ts(optional_fields)]
    Telemetry {
        /// The series. Absent, which only `unsubscribe` may: all that the client has.
        #[serde(skip_serializing_if = "Option::is_none")]
        endpoint_ids: Option<Vec<u32>>,
    },
    /// `command_status` of some commands, or of all.
    #[serde(rename_all = "camelCase")]
    #[ts(optional_fields)]
    Commands {
        /// The commands. Absent: all of them.
        #[serde(skip_serializing_if = "Option::is_none")]
        command_ids: Option<Vec<String>>,
    },
}

/// What a subscription without a channel asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct SnapshotRequest {
    /// Whether it wants the state. Absent: yes.
    #[ts(as = "Option<bool>", optional)]
    pub include_snapshot: bool,
    /// How many log entries it wants. Absent: as many as on connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs_history: Option<u32>,
}

/// Why a client's message is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// For programs.
    pub code: ErrorCode,
    /// For a person.
    pub message: String,
    /// The id of the message, where it could be read.
    pub id: Option<MessageId>,
}

impl ClientError {
    /// The answer to the client.
    pub fn into_message(self) -> super::ServerMessage {
        super::ServerMessage::Error(super::ErrorMessage {
            code: self.code,
            message: self.message,
            id: self.id,
        })
    }
}

#[cfg(test)]
mod tests;
