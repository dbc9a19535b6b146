//! `/api/v1/openapi.json`: the table of routes and the types of bodies as OpenAPI 3.1. Nothing is written down twice: paths, methods, roles and texts
//! are the table's, schemas the types'. What is here is which type belongs to which route.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use autobench_core::access::{Access, ROUTES, Route, RouteId};
use autobench_core::wire::{
    AppState, ClientEntry, CommandRequest, CommandStatus, DeviceEntry, Layout, LogRange, PluginEntry,
};
use axum::response::Response;
use bytes::Bytes;
use hyper::HeaderMap;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::bench::{HistoryBody, MessageBody, SeriesList};
use super::ingest::{LogEntryBody, LogsTaken, SamplesBody, TelemetryTaken};
use super::plugins::{GrantBody, OutcomesBody, ReloadBody, RollbackBody};
use super::problem::ProblemBody;
use super::routes::{StatusBody, tag_of, tagged};
use super::session::{SessionBody, TokenBody};
use super::shadow::ShadowRunBody;
use crate::driver::shadow::ShadowReport;

/// The document. It is made once: nothing in it changes while the daemon runs.
pub(super) async fn handle(headers: HeaderMap) -> Response {
    static DOCUMENT: OnceLock<(Bytes, String)> = OnceLock::new();
    let (bytes, tag) = DOCUMENT.get_or_init(|| {
        let bytes = Bytes::from(document().to_string());
        let tag = tag_of(&bytes);
        (bytes, tag)
    });
    tagged(&headers, tag, || bytes.clone())
}

fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let path = route.path.replace("{*", "{");
        let operation = operation(route, &mut generator);
        let item = paths.entry(path).or_insert_with(|| json!({}));
        if let Value::Object(item) = item {
            item.insert(route.method.as_str().to_lowercase(), operation);
        }
    }
    let problem = generator.subschema_for::<ProblemBody>().to_value();
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "autobench",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A bench, over HTTP. Without tokens in the configuration no security is asked for; the role that each operation takes is its x-role.",
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": {"problem": {
                "description": "It was refused; the code says why.",
                "content": {"application/problem+json": {"schema": problem}},
            }},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "autobench-session-<port>"},
            },
        },
    })
}

/// What a route takes and gives.
struct Shape {
    query: &'static [Parameter],
    takes: Option<Value>,
    gives: Gives,
}

struct Parameter {
    name: &'static str,
    kind: &'static str,
    about: &'static str,
}

enum Gives {
    /// JSON.
    Json(Value),
    /// JSON with a tag, and nothing for whoever has it.
    Tagged(Value),
    /// JSON, with 202 while it is under way.
    Begun(Value),
    /// Nothing but that it is done.
    Nothing,
    /// Something else.
    Other(&'static str),
    /// A WebSocket.
    Socket,
}

const STATE_QUERY: [Parameter; 1] = [parameter(
    "path",
    "string",
    "a JSON Pointer: the value there instead of the document",
)];

const EVENTS_QUERY: [Parameter; 2] = [
    parameter(
        "channels",
        "string",
        "some of state, logs, events, alarms, commands and telemetry:1,2; without it state and logs",
    ),
    parameter(
        "named",
        "boolean",
        "false for events without a name, as `onmessage` hears them",
    ),
];

const WAIT_QUERY: [Parameter; 1] = [parameter(
    "wait",
    "integer",
    "how many milliseconds to wait for its end",
)];

const OUTCOME_QUERY: [Parameter; 1] = [parameter(
    "wait",
    "integer",
    "how many milliseconds to wait for what comes of it; 30000 if not given",
)];

const LOGS_QUERY: [Parameter; 4] = [
    parameter(
        "sinceSeq",
        "integer",
        "only entries behind this number, oldest first",
    ),
    parameter("limit", "integer", "so many at most"),
    parameter("level", "string", "this level and graver"),
    parameter("channel", "string", "these channels, with commas between"),
];

fn shape(id: RouteId, generator: &mut SchemaGenerator) -> Shape {
    let mut of = Schemas(generator);
    let gives = |gives| Shape {
        query: &[],
        takes: None,
        gives,
    };
    match id {
        RouteId::Page | RouteId::File => gives(Gives::Other("text/html")),
        RouteId::Socket | RouteId::Echo => gives(Gives::Socket),
        RouteId::Metrics => gives(Gives::Other("text/plain")),
        RouteId::Healthz | RouteId::Readyz => gives(Gives::Json(of.schema::<StatusBody>())),
        RouteId::SessionShow => gives(Gives::Json(of.schema::<SessionBody>())),
        RouteId::SessionBegin => Shape {
            takes: Some(of.schema::<TokenBody>()),
            ..gives(Gives::Json(of.schema::<SessionBody>()))
        },
        RouteId::SessionEnd => gives(Gives::Nothing),
        RouteId::State => Shape {
            query: &STATE_QUERY,
            ..gives(Gives::Tagged(of.schema::<AppState>()))
        },
        RouteId::Events => Shape {
            query: &EVENTS_QUERY,
            ..gives(Gives::Other("text/event-stream"))
        },
        RouteId::Logs => Shape {
            query: &LOGS_QUERY,
            ..gives(Gives::Json(of.schema::<LogRange>()))
        },
        RouteId::LogsIngest => {
            let entry = of.schema::<LogEntryBody>();
            let list = json!({"type": "array", "items": entry});
            let named = json!({"type": "object", "properties": {"entries": list}, "required": ["entries"]});
            Shape {
                takes: Some(json!({"anyOf": [entry, list, named]})),
                ..gives(Gives::Json(of.schema::<LogsTaken>()))
            }
        }
        RouteId::Message => gives(Gives::Tagged(of.schema::<MessageBody>())),
        RouteId::MessagePut => Shape {
            takes: Some(of.schema::<MessageBody>()),
            ..gives(Gives::Nothing)
        },
        RouteId::Layout => gives(Gives::Tagged(of.schema::<Layout>())),
        RouteId::LayoutPut => Shape {
            takes: Some(of.schema::<Layout>()),
            ..gives(Gives::Nothing)
        },
        RouteId::Devices => gives(Gives::Tagged(of.schema::<BTreeMap<String, DeviceEntry>>())),
        RouteId::Device => gives(Gives::Tagged(of.schema::<DeviceEntry>())),
        RouteId::Plugins => gives(Gives::Tagged(of.schema::<BTreeMap<String, PluginEntry>>())),
        RouteId::PluginReload | RouteId::DeviceReload => Shape {
            query: &OUTCOME_QUERY,
            takes: Some(of.schema::<ReloadBody>()),
            ..gives(Gives::Begun(of.schema::<OutcomesBody>()))
        },
        RouteId::PluginGrant => Shape {
            query: &OUTCOME_QUERY,
            takes: Some(of.schema::<GrantBody>()),
            ..gives(Gives::Begun(of.schema::<OutcomesBody>()))
        },
        RouteId::DeviceRollback => Shape {
            query: &OUTCOME_QUERY,
            takes: Some(of.schema::<RollbackBody>()),
            ..gives(Gives::Begun(of.schema::<OutcomesBody>()))
        },
        RouteId::ShadowRun => Shape {
            takes: Some(of.schema::<ShadowRunBody>()),
            ..gives(Gives::Json(of.schema::<ShadowReport>()))
        },
        RouteId::Telemetry => gives(Gives::Json(of.schema::<SeriesList>())),
        RouteId::TelemetryIngest => {
            let one = of.schema::<SamplesBody>();
            Shape {
                takes: Some(json!({"anyOf": [one, {"type": "array", "items": one}]})),
                ..gives(Gives::Json(of.schema::<TelemetryTaken>()))
            }
        }
        RouteId::TelemetrySeries => gives(Gives::Json(of.schema::<HistoryBody>())),
        RouteId::Clients => gives(Gives::Json(of.schema::<Vec<ClientEntry>>())),
        RouteId::DeviceCommand => Shape {
            query: &WAIT_QUERY,
            takes: Some(command(of.0)),
            ..gives(Gives::Begun(of.schema::<CommandStatus>()))
        },
        RouteId::Commands => gives(Gives::Json(json!({
            "type": "object",
            "properties": {"commands": of.schema::<Vec<CommandStatus>>()},
            "required": ["commands"],
        }))),
        RouteId::Command => Shape {
            query: &WAIT_QUERY,
            ..gives(Gives::Json(of.schema::<CommandStatus>()))
        },
        RouteId::CommandCancel => gives(Gives::Begun(of.schema::<CommandStatus>())),
        // Descriptions of descriptions: any object.
        RouteId::Schema | RouteId::Openapi => gives(Gives::Json(json!({"type": "object"}))),
    }
}

/// A command as it is asked for over HTTP: the address names the device.
fn command(generator: &mut SchemaGenerator) -> Value {
    let mut schema = CommandRequest::json_schema(generator).to_value();
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name != "device");
    }
    schema
}

struct Schemas<'g>(&'g mut SchemaGenerator);

impl Schemas<'_> {
    fn schema<T: JsonSchema>(&mut self) -> Value {
        self.0.subschema_for::<T>().to_value()
    }
}

const fn parameter(name: &'static str, kind: &'static str, about: &'static str) -> Parameter {
    Parameter { name, kind, about }
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let Shape { query, takes, gives } = shape(route.id, generator);
    let mut parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let name = name.trim_start_matches('*');
            json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
        })
        .collect();
    parameters.extend(query.iter().map(|parameter| {
        json!({
            "name": parameter.name,
            "in": "query",
            "description": parameter.about,
            "schema": {"type": parameter.kind},
        })
    }));
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.about,
        "parameters": parameters,
        "responses": responses(gives),
        "security": match route.access {
            Access::Open => json!([]),
            Access::Role(_) | Access::Ingest => json!([{"token": []}, {"session": []}]),
        },
        "x-role": route.access.to_string(),
    });
    if let (Some(schema), Value::Object(operation)) = (takes, &mut operation) {
        let body = json!({"required": true, "content": {"application/json": {"schema": schema}}});
        operation.insert("requestBody".to_owned(), body);
    }
    operation
}

/// The name of the route within the program, once for each of its paths.
fn operation_id(route: &Route) -> String {
    let same = ROUTES.iter().filter(|other| other.id == route.id);
    let place = same.take_while(|other| other.path != route.path).count();
    let mut name = format!("{:?}", route.id);
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    if place > 0 {
        name.push_str(&(place + 1).to_string());
    }
    name
}

fn responses(gives: Gives) -> Value {
    let json_of =
        |schema| json!({"description": "It is done.", "content": {"application/json": {"schema": schema}}});
    let problem = json!({"$ref": "#/components/responses/problem"});
    let (status, answer) = match gives {
        Gives::Json(schema) => ("200", json_of(schema)),
        Gives::Tagged(schema) => {
            return json!({
                "200": json_of(schema),
                "304": {"description": "It is what If-None-Match names."},
                "default": problem,
            });
        }
        Gives::Begun(schema) => {
            return json!({"200": json_of(schema.clone()), "202": json_of(schema), "default": problem});
        }
        Gives::Nothing => ("204", json!({"description": "It is done."})),
        Gives::Other(kind) => (
            "200",
            json!({"description": "It is here.", "content": {kind: {"schema": {"type": "string"}}}}),
        ),
        Gives::Socket => ("101", json!({"description": "A WebSocket follows."})),
    };
    json!({status: answer, "default": problem})
}
