//! The messages as JSON Schemas, from the same types as everything else.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::{ClientFrame, PROTOCOL, ServerMessage, Slices};
use crate::driver::LogLevel;

/// One document with a schema for each message, `server.<type>` and `client.<type>`, and what they share in `$defs`. A validator for one
/// message is made of the reference `#/server/<type>`. Fields that a schema does not name are allowed.
pub fn schema() -> Value {
    let mut server = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut client = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let server_messages = messages(&mut server, &ServerMessage::json_schema);
    let client_messages = messages(&mut client, &ClientFrame::json_schema);
    let mut definitions = server.take_definitions(true);
    definitions.extend(client.take_definitions(true));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("Messages of the socket, {PROTOCOL}"),
        "server": server_messages,
        "client": client_messages,
        "$defs": definitions,
    })
}

/// The schema of each variant by the `type` that it demands. A type with several shapes is any of them.
fn messages(generator: &mut SchemaGenerator, of: &dyn Fn(&mut SchemaGenerator) -> Schema) -> Value {
    let mut whole = of(generator).to_value();
    let mut found: Map<String, Value> = Map::new();
    let shared = whole.get("properties").cloned();
    let variants = match whole.get_mut("oneOf").map(Value::take) {
        Some(Value::Array(variants)) => variants,
        _ => Vec::new(),
    };
    for mut variant in variants {
        let Some(name) = variant.pointer("/properties/type/const").and_then(Value::as_str) else {
            continue;
        };
        let name = name.to_owned();
        // What every message may have stands beside the variants.
        if let (Some(Value::Object(shared)), Some(Value::Object(own))) =
            (&shared, variant.get_mut("properties"))
        {
            for (field, schema) in shared {
                own.entry(field.clone()).or_insert_with(|| schema.clone());
            }
        }
        found.insert(name, variant);
    }
    Value::Object(found)
}

impl JsonSchema for LogLevel {
    fn schema_name() -> Cow<'static, str> {
        "LogLevel".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"enum": Self::ALL.map(Self::as_str), "description": "How grave a log entry is, least first."})
    }
}

/// A slice is anything: its driver's manifest has its schema.
impl JsonSchema for Slices {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Slices".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object"})
    }
}
