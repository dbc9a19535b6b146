//! What a client says of a command that it wants, and what it hears of one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ts_rs::TS;

use crate::commands::Stage;

/// A command as a client asks for it, on the socket and over HTTP alike.
#[derive(Debug, Clone, PartialEq, Serialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct CommandRequest {
    /// The device.
    pub device: String,
    /// Name of the command, from the manifest of the device's plugin.
    pub name: String,
    /// Its arguments, by the schema that the manifest gives. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(type = "{ [name: string]: unknown }", optional)]
    pub args: Option<Map<String, Value>>,
    /// The same key, from the same user for the same device, is the same command for a day: it is done once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// How long it may take, from now on. Absent: 30 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// How a command is: every stage that it has reached, with its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct CommandStatus {
    /// Its name among all commands.
    pub command_id: String,
    /// The device.
    pub device: String,
    /// What it is, by the manifest.
    pub name: String,
    /// Who asked.
    pub actor: String,
    /// How far it is.
    pub status: Stage,
    /// Why it ended so. What the daemon itself says begins with a stable word and a colon: see docs/commands.md.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the device really has now, where the driver says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(type = "unknown", optional)]
    pub actual_value: Option<Value>,
    /// What the driver said last of how far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<CommandProgress>,
    /// When it was taken, ISO 8601.
    pub queued_at: String,
    /// When the driver had dealt with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<String>,
    /// When the device had taken it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked_at: Option<String>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
    /// When it expires.
    pub deadline_at: String,
}

/// How far a command is, in the driver's words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(optional_fields)]
pub struct CommandProgress {
    /// For a person.
    pub message: String,
    /// From 0 to 1, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
}

impl CommandRequest {
    /// Reads the fields of a request. What is wrong is said with the field's name; fields that nobody knows do not matter.
    pub fn read(fields: &Map<String, Value>) -> Result<Self, String> {
        let text = |name: &str| match fields.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(format!("a command has a {name:?} that is no text")),
            None => Err(format!("a command needs {name:?}, a text")),
        };
        Ok(Self {
            device: text("device")?,
            name: text("name")?,
            args: match fields.get("args") {
                None | Some(Value::Null) => None,
                Some(Value::Object(args)) => Some(args.clone()),
                Some(_) => return Err("a command has \"args\" that are no object".to_owned()),
            },
            idempotency_key: match fields.get("idempotencyKey") {
                None | Some(Value::Null) => None,
                Some(_) => Some(text("idempotencyKey")?),
            },
            deadline_ms: match fields.get("deadlineMs") {
                None | Some(Value::Null) => None,
                Some(value) => Some(
                    value
                        .as_u64()
                        .ok_or("a command has a \"deadlineMs\" that is no whole number from 0 on")?,
                ),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<CommandRequest, String> {
        CommandRequest::read(value.as_object().unwrap())
    }

    #[test]
    fn a_request_is_read_and_its_mistakes_are_named() {
        let request = read(
            json!({"device": "relay", "name": "pulse", "args": {"ms": 5}, "idempotencyKey": "k",
            "deadlineMs": 100, "unknown": []}),
        )
        .unwrap();
        let written = serde_json::to_value(&request).unwrap();
        assert_eq!(
            written,
            json!({"device": "relay", "name": "pulse", "args": {"ms": 5}, "idempotencyKey": "k", "deadlineMs": 100})
        );
        assert_eq!(read(written).unwrap(), request);
        let least = read(json!({"device": "relay", "name": "on"})).unwrap();
        assert_eq!(
            serde_json::to_value(&least).unwrap(),
            json!({"device": "relay", "name": "on"})
        );
        for (value, word) in [
            (json!({"name": "on"}), "device"),
            (json!({"device": 1, "name": "on"}), "device"),
            (json!({"device": "a"}), "name"),
            (json!({"device": "a", "name": "b", "args": [1]}), "args"),
            (
                json!({"device": "a", "name": "b", "idempotencyKey": 1}),
                "idempotencyKey",
            ),
            (
                json!({"device": "a", "name": "b", "deadlineMs": -1}),
                "deadlineMs",
            ),
            (
                json!({"device": "a", "name": "b", "deadlineMs": 1.5}),
                "deadlineMs",
            ),
        ] {
            let error = read(value.clone()).unwrap_err();
            assert!(error.contains(word), "{value}: {error}");
        }
    }
}
