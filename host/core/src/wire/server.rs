//! What the daemon says.
//!
//! Hot messages are written by [`super::encode`]; the types here are their shape, and write the cold ones.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use super::{AppState, BlockMessage, CommandStatus, InitialExecutionState, MessageId, Severity};
use crate::driver::LogLevel;

/// One message of the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "type")]
pub enum ServerMessage {
    /// The first message of every connection.
    #[serde(rename = "welcome")]
    Welcome(Welcome),
    /// The name of the connection, once more, for clients that did not ask for the subprotocol.
    #[serde(rename = "connected")]
    Connected(Connected),
    /// The whole state.
    #[serde(rename = "state.snapshot")]
    StateSnapshot(Box<StateSnapshot>),
    /// What has changed in the state.
    #[serde(rename = "state.patch")]
    StatePatch(StatePatch),
    /// The newest log entries, on connect and on replay.
    #[serde(rename = "logs.history")]
    LogsHistory(LogRange),
    /// Log entries as they come.
    #[serde(rename = "logs.append")]
    LogsAppend(LogRange),
    /// Samples of one series.
    #[serde(rename = "telemetry")]
    Telemetry(Telemetry),
    /// Something happened.
    #[serde(rename = "event")]
    Event(Event),
    /// An alarm was raised, has changed, or was cleared.
    #[serde(rename = "alarm")]
    Alarm(Alarm),
    /// The answer to `identify_client`.
    #[serde(rename = "client_identified")]
    ClientIdentified(ClientIdentified),
    /// What runs and what has run, behind `client_identified` and on request.
    #[serde(rename = "initial_execution_state")]
    InitialExecutionState(InitialExecutionState),
    /// A block has begun.
    #[serde(rename = "block_started_enhanced")]
    BlockStartedEnhanced(BlockMessage),
    /// A block is over.
    #[serde(rename = "block_executed_enhanced")]
    BlockExecutedEnhanced(BlockMessage),
    /// A command has reached a stage.
    #[serde(rename = "command_status")]
    CommandStatus(CommandStatus),
    /// The answer to `ping`.
    #[serde(rename = "pong")]
    Pong(Pong),
    /// A message of the client was taken.
    #[serde(rename = "ack")]
    Ack(Ack),
    /// A message of the client was not taken.
    #[serde(rename = "error")]
    Error(ErrorMessage),
}

impl ServerMessage {
    /// The message as one frame's JSON text.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        super::encode::put(&mut bytes, self);
        bytes
    }
}

/// The first message of every connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// `autobench.v1`.
    pub protocol: String,
    /// When it was sent, ISO 8601.
    pub server_time: String,
    /// Version of the daemon.
    pub server_version: String,
    /// Names this run of the daemon.
    pub boot_id: String,
    /// Names this connection.
    pub client_id: String,
    /// What the daemon takes from one client.
    pub limits: Limits,
    /// What this daemon can do beyond the protocol's core.
    pub features: Vec<String>,
    /// Whether the missing patches follow instead of a snapshot.
    pub resumed: bool,
    /// Whether nothing follows until the client has sent `auth`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[ts(optional, as = "Option<bool>")]
    pub auth_required: bool,
}

/// The name of the connection, once more, for clients that did not ask for the subprotocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connected {
    /// Names this connection, as in `welcome`.
    pub client_id: String,
}

/// The answer to `identify_client`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(optional_fields)]
pub struct ClientIdentified {
    /// Who the client is now.
    pub data: Identified,
    /// The id of the message, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
}

/// Who a client is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Identified {
    /// Names this connection, as in `welcome`.
    pub client_id: String,
    /// What it calls itself; empty if it did not say.
    pub name: String,
    /// The page that it shows; empty if it did not say.
    pub page: String,
}

/// What the daemon takes from clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Connections at once.
    pub clients: u32,
    /// Subscriptions of one client; the ids of one message count as one.
    pub subscriptions: u32,
    /// Messages of one client per second, in the long run.
    pub messages_per_s: u32,
    /// Messages of one client at once.
    pub message_burst: u32,
    /// Size of one message of a client.
    pub message_bytes: u32,
    /// How often the daemon asks whether a silent client is there.
    pub heartbeat_interval_ms: u32,
    /// How long a client may be silent.
    pub heartbeat_timeout_ms: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 100,
            subscriptions: 50,
            messages_per_s: 10,
            message_burst: 20,
            message_bytes: 64 * 1024,
            heartbeat_interval_ms: 30_000,
            heartbeat_timeout_ms: 60_000,
        }
    }
}

/// The whole state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateSnapshot {
    /// Names this run of the daemon; versions of two runs cannot be compared.
    pub boot_id: String,
    /// `data.version` again.
    pub state_version: u64,
    /// The document.
    pub data: AppState,
}

/// What has changed in the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatePatch {
    /// The version that it applies to.
    pub from_version: u64,
    /// The version that it leads to.
    pub to_version: u64,
    /// Operations in order; the last writes `/version`.
    pub patch: Vec<PatchOperation>,
}

/// One operation of RFC 6902; the daemon uses no others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum PatchOperation {
    /// Makes a member, or inserts an element.
    Add {
        /// Where.
        path: String,
        /// What.
        #[ts(type = "unknown")]
        value: Value,
    },
    /// Puts another value in the place of one that is there.
    Replace {
        /// Where.
        path: String,
        /// What.
        #[ts(type = "unknown")]
        value: Value,
    },
    /// Takes a member or an element away.
    Remove {
        /// Where.
        path: String,
    },
}

/// Log entries and the range that they cover: a client has seen everything up to `toSeq` then, or was told in `missed` what is lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct LogRange {
    /// First number that is covered.
    pub from_seq: u64,
    /// Last number that is covered; `fromSeq - 1` when there is none.
    pub to_seq: u64,
    /// What the ring has overwritten before it could be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<LogSpan>,
    /// Oldest first.
    pub entries: Vec<LogEntry>,
}

/// A range of log entries, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogSpan {
    /// First number.
    pub from_seq: u64,
    /// Last number.
    pub to_seq: u64,
}

/// One log entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct LogEntry {
    /// Its number; rises by one with each entry that clients may see.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub ts: u64,
    /// Where it comes from; a part after a colon is a finer division.
    pub channel: String,
    /// A picture for the channel.
    pub emoji: String,
    /// How grave.
    pub level: LogLevel,
    /// The text.
    pub message: String,
    /// Colour of the channel.
    pub color: crate::logs::Color,
    /// The device, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The part of the daemon, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
}

/// Samples of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct Telemetry {
    /// The series.
    pub endpoint_id: u32,
    /// Its name: device and series with a dot between.
    pub endpoint: String,
    /// Unit of its values.
    pub unit: String,
    /// Milliseconds since 1970 and value, oldest first.
    pub samples: Vec<(f64, f64)>,
    /// The newest value.
    pub value: f64,
    /// When the newest value was taken, ISO 8601.
    pub timestamp: String,
    /// How many samples before these the ring has overwritten before this client took them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Event {
    /// Milliseconds since 1970.
    pub timestamp: f64,
    /// What.
    pub event: EventBody,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
pub struct EventBody {
    /// Its name in this run of the daemon.
    pub _id: String,
    /// What it belongs to: the bootId where there is nothing narrower.
    pub process_id: String,
    /// The device or the part of the daemon that says it.
    pub sender: Option<String>,
    /// For a person.
    pub message: String,
    /// How grave.
    pub level: LogLevel,
    /// An object whose `kind` says what else is in it.
    #[ts(type = "{ kind: string, [key: string]: unknown }")]
    pub context: Value,
}

/// An alarm was raised, has changed, or was cleared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct Alarm {
    /// Its number in this run of the daemon.
    pub alarm_id: u32,
    /// The device that raised it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// How grave.
    pub severity: Severity,
    /// For a person.
    pub message: String,
    /// When it was raised, changed or cleared, whichever this is, ISO 8601.
    pub timestamp: String,
    /// Whether it stands.
    pub state: AlarmState,
}

/// Whether an alarm stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlarmState {
    /// It stands.
    Raised,
    /// It is over.
    Cleared,
}

/// The answer to `ping`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(optional_fields)]
pub struct Pong {
    /// The daemon's time in milliseconds since 1970.
    pub ts: u64,
    /// The id of the ping, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
}

/// A message of the client was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct Ack {
    /// Always true; a refusal is an `error`.
    pub ok: bool,
    /// The id of the message, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// The command that the message asked for, if it asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_id: Option<String>,
}

/// A message of the client was not taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(optional_fields)]
pub struct ErrorMessage {
    /// Stable: programs may compare it.
    pub code: ErrorCode,
    /// For a person: what, where, and what to do instead.
    pub message: String,
    /// The id of the message, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
}

/// Why a message of a client was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// It is no JSON, or no text.
    BadJson,
    /// It is JSON, but a field is missing or of the wrong kind.
    BadMessage,
    /// Its type is not known.
    UnknownType,
    /// It names a channel that is not known.
    UnknownChannel,
    /// It names a telemetry series that does not exist.
    UnknownEndpoint,
    /// The client has not said who it is, or its token is not known.
    Unauthorized,
    /// The client's role does not suffice.
    Forbidden,
    /// It is larger than `limits.messageBytes`.
    TooLarge,
    /// The client sends more than `limits.messagesPerS`.
    RateLimited,
    /// The client has `limits.subscriptions` subscriptions.
    TooManySubscriptions,
    /// It names a device that is not configured.
    UnknownDevice,
    /// The device's driver does not run; the text says in which phase the device is, and why.
    NotReady,
    /// The device has no command of that name; the text lists those that it has.
    UnknownCommand,
    /// The command is dangerous, and `plugins.toml` does not grant it.
    NotGranted,
    /// The arguments are not as the manifest's schema wants them; the text says where.
    BadArguments,
    /// `deadlineMs` is out of range.
    BadDeadline,
    /// The idempotency key is empty or too long.
    BadKey,
    /// The device has as many commands under way as it may have, or waits.
    Busy,
    /// The idempotency key belongs to a command with another name or other arguments.
    IdempotencyMismatch,
    /// As many idempotency keys are kept as may be.
    TooManyKeys,
    /// No command of this id is known.
    UnknownCommandId,
    /// The command is a hold, which lasts as long as a client on a socket says so: send it over the socket.
    NeedsSocket,
    /// This client holds nothing by this command, or not any more.
    UnknownLease,
    /// Not an answer: the client was so far behind that messages of a channel, which the text names, were dropped.
    Missed,
}
