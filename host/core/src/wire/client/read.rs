//! Reading what clients say. By hand and not derived: a page from the year before must get an answer that names the field it got wrong, and
//! fields that nobody knows must not matter.

use serde_json::{Map, Value};

use super::{
    ClientError, ClientFrame, ClientInfo, ClientMessage, HEALTH_BYTES, HardwareHealth, MessageId, Secret,
    SnapshotRequest, Subscription, Topic,
};
use crate::driver::LogLevel;
use crate::logs::LogFilter;
use crate::state::FORBIDDEN_KEYS;
use crate::wire::{CommandRequest, ErrorCode, OneOrMany};

/// Longest id that is repeated in an answer, in bytes: answers wait in memory for whoever does not read.
const ID_BYTES: usize = 128;
/// Longest value of a filter in bytes, and most values of one condition: each is looked for in each entry.
const FILTER_BYTES: usize = 256;
const FILTER_VALUES: usize = 32;

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
            Some(Value::String(text)) if text.len() > ID_BYTES => {
                return Err(ClientError {
                    code: ErrorCode::BadMessage,
                    message: format!("\"id\" has {} bytes; {ID_BYTES} are the most", text.len()),
                    id: None,
                });
            }
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
            command_id: read_command_id(fields, kind)?,
        },
        "lease.renew" => ClientMessage::LeaseRenew {
            command_id: read_command_id(fields, kind)?,
        },
        "lease.end" => ClientMessage::LeaseEnd {
            command_id: read_command_id(fields, kind)?,
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
    let read = |id: &Value| id.as_str().filter(|id| id.len() <= ID_BYTES).map(str::to_owned);
    ids.as_array()
        .and_then(|ids| ids.iter().map(read).collect())
        .map(Some)
        .ok_or_else(|| {
            bad(format!(
                "{kind:?} has \"commandIds\" that are no list of texts of at most {ID_BYTES} bytes"
            ))
        })
}

fn read_command_id(fields: &Map<String, Value>, kind: &str) -> Result<String, Refused> {
    optional_text(fields, kind, "commandId")?
        .filter(|id| id.len() <= ID_BYTES)
        .ok_or_else(|| {
            bad(format!(
                "{kind:?} needs \"commandId\", a text of at most {ID_BYTES} bytes"
            ))
        })
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
