//! What clients say, and how it is read.
//!
//! Reading is by hand and not derived: a page from the year before must get an answer that names the field it got wrong, and fields that
//! nobody knows must not matter.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ts_rs::TS;

use super::{CommandRequest, ErrorCode, OneOrMany};
use crate::driver::LogLevel;
use crate::logs::LogFilter;
use crate::state::FORBIDDEN_KEYS;

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
    /// Renews a lease.
    #[serde(rename = "lease.renew", rename_all = "camelCase")]
    LeaseRenew {
        /// Which.
        lease_id: u64,
    },
    /// Ends a lease.
    #[serde(rename = "lease.end", rename_all = "camelCase")]
    LeaseEnd {
        /// Which.
        lease_id: u64,
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
/// Longest value of a filter in bytes, and most values of one condition: each is looked for in each entry.
const FILTER_BYTES: usize = 256;
const FILTER_VALUES: usize = 32;

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

impl ClientFrame {
    /// Reads one message. The text's size is the caller's to limit; its depth is limited by the parser.
    pub fn parse(text: &[u8]) -> Result<Self, ClientError> {
        let value: Value = serde_json::from_slice(text).map_err(|error| ClientError {
            code: ErrorCode::BadJson,
            message: format!("the message is no JSON: {error}"),
            id: None,
        })?;
        let Value::Object(fields) = value else {
            return Err(ClientError {
                code: ErrorCode::BadMessage,
                message: "a message is a JSON object with the field \"type\"".to_owned(),
                id: None,
            });
        };
        let id = match fields.get("id") {
            Some(Value::String(text)) => Some(MessageId::Text(text.clone())),
            Some(Value::Number(number)) => number.as_i64().map(MessageId::Number),
            _ => None,
        };
        match read_message(&fields) {
            Ok(message) => Ok(Self { id, message }),
            Err((code, message)) => Err(ClientError { code, message, id }),
        }
    }
}

type Refused = (ErrorCode, String);

fn read_message(fields: &Map<String, Value>) -> Result<ClientMessage, Refused> {
    let Some(Value::String(kind)) = fields.get("type") else {
        return Err(bad("the field \"type\" is missing, or is no text"));
    };
    Ok(match kind.as_str() {
        "hello" => ClientMessage::Hello {
            name: optional_text(fields, kind, "name")?,
            page: optional_text(fields, kind, "page")?,
        },
        "auth" => match fields.get("token") {
            Some(Value::String(token)) => ClientMessage::Auth {
                token: Secret::new(token.as_str()),
            },
            _ => return Err(bad("\"auth\" needs \"token\", a text")),
        },
        "ping" => ClientMessage::Ping,
        "state.resync" => ClientMessage::StateResync,
        "logs.replay" => ClientMessage::LogsReplay {
            since_seq: fields
                .get("sinceSeq")
                .and_then(Value::as_u64)
                .ok_or_else(|| bad("\"logs.replay\" needs \"sinceSeq\", a whole number from 0 on"))?,
        },
        "subscribe" => ClientMessage::Subscribe(match fields.get("channel") {
            None | Some(Value::Null) => Subscription::Snapshot {
                payload: read_snapshot_request(fields)?,
            },
            Some(channel) => match read_topic(channel, fields, kind)? {
                Topic::Telemetry { endpoint_ids: None } => {
                    return Err(bad(
                        "\"subscribe\" to telemetry needs \"endpointIds\", a list of numbers",
                    ));
                }
                topic => Subscription::Topic(topic),
            },
        }),
        "unsubscribe" => match fields.get("channel") {
            None => return Err(bad("\"unsubscribe\" needs \"channel\"")),
            Some(channel) => ClientMessage::Unsubscribe(read_topic(channel, fields, kind)?),
        },
        "subscribe_logs" => ClientMessage::SubscribeLogs {
            filters: read_filters(fields)?,
        },
        "unsubscribe_logs" => ClientMessage::UnsubscribeLogs,
        "identify_client" => ClientMessage::IdentifyClient {
            client_info: read_client_info(fields, kind)?,
        },
        "request_initial_state" => ClientMessage::RequestInitialState,
        "hardware_health_update" => ClientMessage::HardwareHealthUpdate(read_health(fields)?),
        "command" => ClientMessage::Command(CommandRequest::read(fields).map_err(bad)?),
        "command.cancel" => ClientMessage::CommandCancel {
            command_id: optional_text(fields, kind, "commandId")?
                .ok_or_else(|| bad("\"command.cancel\" needs \"commandId\", a text"))?,
        },
        "lease.renew" => ClientMessage::LeaseRenew {
            lease_id: read_lease_id(fields, kind)?,
        },
        "lease.end" => ClientMessage::LeaseEnd {
            lease_id: read_lease_id(fields, kind)?,
        },
        other => {
            return Err((
                ErrorCode::UnknownType,
                format!(
                    "the type {:?} is not known; docs/protocol.md has all that are",
                    shortened(other)
                ),
            ));
        }
    })
}

fn read_topic(channel: &Value, fields: &Map<String, Value>, kind: &str) -> Result<Topic, Refused> {
    let Value::String(channel) = channel else {
        return Err(bad(format!("{kind:?} has a \"channel\" that is no text")));
    };
    Ok(match channel.as_str() {
        "state" => Topic::State,
        "logs" => Topic::Logs,
        "alarms" => Topic::Alarms,
        "events" => Topic::Events,
        "telemetry" => Topic::Telemetry {
            endpoint_ids: read_endpoint_ids(fields, kind)?,
        },
        "commands" => Topic::Commands {
            command_ids: read_command_ids(fields, kind)?,
        },
        other => {
            return Err((
                ErrorCode::UnknownChannel,
                format!(
                    "the channel {:?} is not known; known are state, logs, telemetry, alarms, events and commands",
                    shortened(other)
                ),
            ));
        }
    })
}

fn read_endpoint_ids(fields: &Map<String, Value>, kind: &str) -> Result<Option<Vec<u32>>, Refused> {
    let Some(ids) = fields.get("endpointIds") else {
        return Ok(None);
    };
    ids.as_array()
        .and_then(|ids| ids.iter().map(|id| u32::try_from(id.as_u64()?).ok()).collect())
        .map(Some)
        .ok_or_else(|| {
            bad(format!(
                "{kind:?} has \"endpointIds\" that are no list of whole numbers from 0 on"
            ))
        })
}

fn read_command_ids(fields: &Map<String, Value>, kind: &str) -> Result<Option<Vec<String>>, Refused> {
    let Some(ids) = fields.get("commandIds") else {
        return Ok(None);
    };
    ids.as_array()
        .and_then(|ids| ids.iter().map(|id| id.as_str().map(str::to_owned)).collect())
        .map(Some)
        .ok_or_else(|| bad(format!("{kind:?} has \"commandIds\" that are no list of texts")))
}

fn read_lease_id(fields: &Map<String, Value>, kind: &str) -> Result<u64, Refused> {
    fields
        .get("leaseId")
        .and_then(Value::as_u64)
        .ok_or_else(|| bad(format!("{kind:?} needs \"leaseId\", a whole number from 0 on")))
}

fn read_snapshot_request(fields: &Map<String, Value>) -> Result<SnapshotRequest, Refused> {
    let mut request = SnapshotRequest {
        include_snapshot: true,
        logs_history: None,
    };
    match fields.get("payload") {
        None | Some(Value::Null) => {}
        Some(Value::Object(payload)) => {
            match payload.get("includeSnapshot") {
                None => {}
                Some(Value::Bool(wanted)) => request.include_snapshot = *wanted,
                Some(_) => {
                    return Err(bad(
                        "\"subscribe\" has a \"payload.includeSnapshot\" that is no boolean",
                    ));
                }
            }
            if let Some(count) = payload.get("logsHistory") {
                let count = count.as_u64().ok_or_else(|| {
                    bad("\"subscribe\" has a \"payload.logsHistory\" that is no whole number from 0 on")
                })?;
                request.logs_history = Some(u32::try_from(count).unwrap_or(u32::MAX));
            }
        }
        Some(_) => return Err(bad("\"subscribe\" has a \"payload\" that is no object")),
    }
    Ok(request)
}

fn read_client_info(fields: &Map<String, Value>, kind: &str) -> Result<ClientInfo, Refused> {
    match fields.get("clientInfo") {
        None | Some(Value::Null) => Ok(ClientInfo::default()),
        Some(Value::Object(info)) => Ok(ClientInfo {
            name: optional_text(info, kind, "name")?,
            page: optional_text(info, kind, "page")?,
        }),
        Some(_) => Err(bad(format!("{kind:?} has a \"clientInfo\" that is no object"))),
    }
}

fn read_filters(fields: &Map<String, Value>) -> Result<LogFilter, Refused> {
    let filters = match fields.get("filters") {
        None | Some(Value::Null) => return Ok(LogFilter::default()),
        Some(Value::Object(filters)) => filters,
        Some(_) => return Err(bad("\"subscribe_logs\" has \"filters\" that are no object")),
    };
    let level = read_texts(filters, "level")?.map(|names| {
        let levels: Result<Vec<LogLevel>, _> = names.0.iter().map(|name| name.parse()).collect();
        levels
            .map(OneOrMany)
            .map_err(|error| bad(format!("\"filters.level\": {error}")))
    });
    Ok(LogFilter {
        level: level.transpose()?,
        channel: read_texts(filters, "channel")?,
        tag: read_texts(filters, "tag")?,
        module: read_texts(filters, "module")?,
        text: read_texts(filters, "text")?,
    })
}

/// A text or a list of them.
fn read_texts(filters: &Map<String, Value>, name: &str) -> Result<Option<OneOrMany<String>>, Refused> {
    let texts: Option<Vec<&str>> = match filters.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => Some(vec![text]),
        Some(Value::Array(texts)) => texts.iter().map(Value::as_str).collect(),
        Some(_) => None,
    };
    let texts = texts.ok_or_else(|| {
        bad(format!(
            "\"filters.{name}\" is neither a text nor a list of texts"
        ))
    })?;
    if texts.len() > FILTER_VALUES || texts.iter().any(|text| text.len() > FILTER_BYTES) {
        return Err(bad(format!(
            "\"filters.{name}\" has more than {FILTER_VALUES} values, or one of more than {FILTER_BYTES} bytes"
        )));
    }
    Ok(Some(OneOrMany(texts.into_iter().map(str::to_owned).collect())))
}

fn read_health(fields: &Map<String, Value>) -> Result<HardwareHealth, Refused> {
    let mut health = fields.clone();
    health.remove("type");
    health.remove("id");
    if serde_json::to_vec(&health).is_ok_and(|bytes| bytes.len() > HEALTH_BYTES) {
        return Err((
            ErrorCode::TooLarge,
            format!("\"hardware_health_update\" has more than {HEALTH_BYTES} bytes"),
        ));
    }
    // Everybody who hears of events gets it, so what poisons an object in a browser stays out.
    match poisoned(&health) {
        Some(name) => Err(bad(format!(
            "\"hardware_health_update\" has a field {name:?}, which is not taken"
        ))),
        None => Ok(HardwareHealth(health)),
    }
}

/// The first name in an object, or in what is in it, that no browser should get. The parser has limited the depth.
fn poisoned(object: &Map<String, Value>) -> Option<&str> {
    fn within(value: &Value) -> Option<&str> {
        match value {
            Value::Object(object) => poisoned(object),
            Value::Array(values) => values.iter().find_map(within),
            _ => None,
        }
    }
    object.iter().find_map(|(name, value)| {
        let is_bad = FORBIDDEN_KEYS.contains(&name.as_str());
        is_bad.then_some(name.as_str()).or_else(|| within(value))
    })
}

fn optional_text(fields: &Map<String, Value>, kind: &str, name: &str) -> Result<Option<String>, Refused> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(bad(format!("{kind:?} has a {name:?} that is no text"))),
    }
}

fn bad(message: impl Into<String>) -> Refused {
    (ErrorCode::BadMessage, message.into())
}

/// A client's own words, short enough to be said back to it.
fn shortened(text: &str) -> &str {
    match text.char_indices().nth(64) {
        Some((end, _)) => text.get(..end).unwrap_or(text),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ClientMessage {
        ClientFrame::parse(text.as_bytes()).unwrap().message
    }

    fn refusal(text: &str) -> ClientError {
        ClientFrame::parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn every_message_of_a_client_is_read() {
        assert_eq!(
            parse(r#"{"type":"hello","name":"wall","page":"/"}"#),
            ClientMessage::Hello {
                name: Some("wall".into()),
                page: Some("/".into())
            }
        );
        assert_eq!(
            parse(r#"{"type":"hello"}"#),
            ClientMessage::Hello {
                name: None,
                page: None
            }
        );
        assert_eq!(
            parse(r#"{"type":"auth","token":"abc"}"#),
            ClientMessage::Auth {
                token: Secret::new("abc")
            }
        );
        assert_eq!(parse(r#"{"type":"ping"}"#), ClientMessage::Ping);
        assert_eq!(parse(r#"{"type":"state.resync"}"#), ClientMessage::StateResync);
        assert_eq!(
            parse(r#"{"type":"logs.replay","sinceSeq":12}"#),
            ClientMessage::LogsReplay { since_seq: 12 }
        );
        assert_eq!(
            parse(r#"{"type":"subscribe","channel":"telemetry","endpointIds":[1,2]}"#),
            ClientMessage::Subscribe(Subscription::Topic(Topic::Telemetry {
                endpoint_ids: Some(vec![1, 2])
            }))
        );
        assert_eq!(
            parse(r#"{"type":"unsubscribe","channel":"telemetry"}"#),
            ClientMessage::Unsubscribe(Topic::Telemetry { endpoint_ids: None })
        );
        for (name, topic) in [
            ("state", Topic::State),
            ("logs", Topic::Logs),
            ("alarms", Topic::Alarms),
            ("events", Topic::Events),
        ] {
            assert_eq!(
                parse(&format!(r#"{{"type":"subscribe","channel":"{name}"}}"#)),
                ClientMessage::Subscribe(Subscription::Topic(topic.clone()))
            );
            assert_eq!(
                parse(&format!(r#"{{"type":"unsubscribe","channel":"{name}"}}"#)),
                ClientMessage::Unsubscribe(topic)
            );
        }
        assert_eq!(
            parse(r#"{"type":"subscribe","payload":{"includeSnapshot":false,"logsHistory":100}}"#),
            ClientMessage::Subscribe(Subscription::Snapshot {
                payload: SnapshotRequest {
                    include_snapshot: false,
                    logs_history: Some(100)
                }
            })
        );
        assert_eq!(
            parse(r#"{"type":"subscribe"}"#),
            ClientMessage::Subscribe(Subscription::Snapshot {
                payload: SnapshotRequest {
                    include_snapshot: true,
                    logs_history: None
                }
            })
        );
    }

    #[test]
    fn what_is_written_is_read_back_as_it_was() {
        for message in [
            ClientMessage::Ping,
            ClientMessage::LogsReplay { since_seq: 7 },
            ClientMessage::Subscribe(Subscription::Topic(Topic::Telemetry {
                endpoint_ids: Some(vec![3]),
            })),
            ClientMessage::Subscribe(Subscription::Topic(Topic::Logs)),
            ClientMessage::Subscribe(Subscription::Snapshot {
                payload: SnapshotRequest {
                    include_snapshot: true,
                    logs_history: Some(5),
                },
            }),
            ClientMessage::Unsubscribe(Topic::Events),
            ClientMessage::Subscribe(Subscription::Topic(Topic::Commands { command_ids: None })),
            ClientMessage::Unsubscribe(Topic::Commands {
                command_ids: Some(vec!["a-1".into()]),
            }),
            ClientMessage::Command(CommandRequest {
                device: "relay".into(),
                name: "on".into(),
                args: None,
                idempotency_key: Some("k".into()),
                deadline_ms: Some(5),
            }),
            ClientMessage::CommandCancel {
                command_id: "a-1".into(),
            },
            ClientMessage::LeaseRenew { lease_id: 1 },
            ClientMessage::LeaseEnd { lease_id: 1 },
        ] {
            let frame = ClientFrame {
                id: Some(MessageId::Number(4)),
                message,
            };
            let text = serde_json::to_vec(&frame).unwrap();
            assert_eq!(ClientFrame::parse(&text).unwrap(), frame);
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let frame = ClientFrame::parse(br#"{"type":"auth","token":"hunter2"}"#).unwrap();
        assert!(!format!("{frame:?}").contains("hunter2"), "{frame:?}");
        let error = refusal(r#"{"type":"auth","token":["hunter2"]}"#);
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn the_messages_of_dashboards_are_read_as_they_write_them() {
        assert_eq!(
            parse(
                r#"{"type":"identify_client","clientInfo":{"name":"ProgramDashboard","page":"dashboard"}}"#
            ),
            ClientMessage::IdentifyClient {
                client_info: ClientInfo {
                    name: Some("ProgramDashboard".into()),
                    page: Some("dashboard".into())
                }
            }
        );
        assert_eq!(
            parse(r#"{"type":"identify_client"}"#),
            ClientMessage::IdentifyClient {
                client_info: ClientInfo::default()
            }
        );
        assert_eq!(
            parse(r#"{"type":"request_initial_state"}"#),
            ClientMessage::RequestInitialState
        );
        assert_eq!(
            parse(
                r#"{"type":"subscribe_logs","filters":{"level":["info","error"],"tag":"FlowExecutor","module":"sensor"}}"#
            ),
            ClientMessage::SubscribeLogs {
                filters: LogFilter {
                    level: Some(OneOrMany(vec![LogLevel::Info, LogLevel::Error])),
                    tag: Some(OneOrMany(vec!["FlowExecutor".into()])),
                    module: Some(OneOrMany(vec!["sensor".into()])),
                    ..LogFilter::default()
                }
            }
        );
        for open in [
            r#"{"type":"subscribe_logs"}"#,
            r#"{"type":"subscribe_logs","filters":{"level":null}}"#,
        ] {
            assert_eq!(
                parse(open),
                ClientMessage::SubscribeLogs {
                    filters: LogFilter::default()
                }
            );
        }
        assert_eq!(
            parse(r#"{"type":"unsubscribe_logs"}"#),
            ClientMessage::UnsubscribeLogs
        );
        let ClientMessage::HardwareHealthUpdate(health) =
            parse(r#"{"type":"hardware_health_update","id":3,"data":{"cpu":0.4},"ok":true}"#)
        else {
            panic!("no health")
        };
        assert_eq!(
            Value::from(health.0),
            serde_json::json!({"data": {"cpu": 0.4}, "ok": true})
        );
    }

    #[test]
    fn what_is_kept_of_a_client_is_bounded_and_does_no_harm() {
        let large = format!(
            r#"{{"type":"hardware_health_update","data":"{}"}}"#,
            "x".repeat(HEALTH_BYTES)
        );
        assert_eq!(refusal(&large).code, ErrorCode::TooLarge);
        let poison = refusal(r#"{"type":"hardware_health_update","data":[{"__proto__":{}}]}"#);
        assert_eq!(poison.code, ErrorCode::BadMessage);
        assert!(poison.message.contains("__proto__"));
        let many = serde_json::json!({"type": "subscribe_logs", "filters": {"tag": vec!["x"; 33]}});
        assert!(refusal(&many.to_string()).message.contains("filters.tag"));
    }

    #[test]
    fn unknown_fields_do_not_matter() {
        assert_eq!(
            parse(r#"{"type":"ping","at":1,"payload":{"x":[]}}"#),
            ClientMessage::Ping
        );
    }

    #[test]
    fn a_refusal_names_what_is_wrong_and_echoes_the_id() {
        for (text, code, word) in [
            ("{", ErrorCode::BadJson, "JSON"),
            ("[1]", ErrorCode::BadMessage, "object"),
            (r#"{"id":"a"}"#, ErrorCode::BadMessage, "type"),
            (r#"{"id":"a","type":7}"#, ErrorCode::BadMessage, "type"),
            (r#"{"id":"a","type":"reboot"}"#, ErrorCode::UnknownType, "reboot"),
            (
                r#"{"id":"a","type":"hello","name":1}"#,
                ErrorCode::BadMessage,
                "name",
            ),
            (
                r#"{"id":"a","type":"logs.replay"}"#,
                ErrorCode::BadMessage,
                "sinceSeq",
            ),
            (
                r#"{"id":"a","type":"logs.replay","sinceSeq":-1}"#,
                ErrorCode::BadMessage,
                "sinceSeq",
            ),
            (
                r#"{"id":"a","type":"subscribe","channel":"weather"}"#,
                ErrorCode::UnknownChannel,
                "weather",
            ),
            (
                r#"{"id":"a","type":"subscribe","channel":3}"#,
                ErrorCode::BadMessage,
                "channel",
            ),
            (
                r#"{"id":"a","type":"subscribe","channel":"telemetry"}"#,
                ErrorCode::BadMessage,
                "endpointIds",
            ),
            (
                r#"{"id":"a","type":"subscribe","channel":"telemetry","endpointIds":["1"]}"#,
                ErrorCode::BadMessage,
                "endpointIds",
            ),
            (
                r#"{"id":"a","type":"subscribe","payload":3}"#,
                ErrorCode::BadMessage,
                "payload",
            ),
            (
                r#"{"id":"a","type":"subscribe","payload":{"logsHistory":"x"}}"#,
                ErrorCode::BadMessage,
                "logsHistory",
            ),
            (
                r#"{"id":"a","type":"subscribe_logs","filters":[]}"#,
                ErrorCode::BadMessage,
                "filters",
            ),
            (
                r#"{"id":"a","type":"subscribe_logs","filters":{"level":["loud"]}}"#,
                ErrorCode::BadMessage,
                "filters.level",
            ),
            (
                r#"{"id":"a","type":"subscribe_logs","filters":{"module":7}}"#,
                ErrorCode::BadMessage,
                "filters.module",
            ),
            (
                r#"{"id":"a","type":"identify_client","clientInfo":"me"}"#,
                ErrorCode::BadMessage,
                "clientInfo",
            ),
            (
                r#"{"id":"a","type":"identify_client","clientInfo":{"page":1}}"#,
                ErrorCode::BadMessage,
                "page",
            ),
            (
                r#"{"id":"a","type":"unsubscribe"}"#,
                ErrorCode::BadMessage,
                "channel",
            ),
            (
                r#"{"id":"a","type":"subscribe","channel":"commands","commandIds":[1]}"#,
                ErrorCode::BadMessage,
                "commandIds",
            ),
            (
                r#"{"id":"a","type":"command","device":"relay"}"#,
                ErrorCode::BadMessage,
                "name",
            ),
            (
                r#"{"id":"a","type":"command.cancel"}"#,
                ErrorCode::BadMessage,
                "commandId",
            ),
            (
                r#"{"id":"a","type":"lease.renew","leaseId":"x"}"#,
                ErrorCode::BadMessage,
                "leaseId",
            ),
        ] {
            let refused = refusal(text);
            assert_eq!(refused.code, code, "{text}");
            assert!(refused.message.contains(word), "{text}: {}", refused.message);
            assert_eq!(
                refused.id,
                text.contains("\"id\"").then(|| MessageId::Text("a".into())),
                "{text}"
            );
        }
        assert_eq!(refusal(r#"{"id":17,"type":"x"}"#).id, Some(MessageId::Number(17)));
    }

    #[test]
    fn a_long_unknown_type_is_not_said_back_in_full() {
        let refused = refusal(&format!(r#"{{"type":"{}"}}"#, "é".repeat(10_000)));
        assert!(refused.message.len() < 400, "{}", refused.message.len());
    }
}
