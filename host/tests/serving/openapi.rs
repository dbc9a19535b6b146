//! The description of the routes: every route is in it, and every answer is what it says.

use std::collections::BTreeSet;

use autobench_core::access::{ROUTES, RouteId};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::bench::{Answer, Bench, Settings};
use crate::relay::Relay;

/// A validator for one schema of the document; references lead into its components.
fn validator(document: &Value, schema: &Value) -> Validator {
    let whole = json!({"components": document["components"], "allOf": [schema]});
    jsonschema::validator_for(&whole).expect("a schema")
}

fn check(document: &Value, schema: &Value, answer: &Value, what: &str) {
    let validator = validator(document, schema);
    let wrong: Vec<String> = validator
        .iter_errors(answer)
        .map(|error| error.to_string())
        .collect();
    assert!(wrong.is_empty(), "{what}: {wrong:#?} in {answer:#}");
}

#[tokio::test]
async fn every_route_is_described_and_nothing_else_is() {
    let bench = Bench::start().await;
    let document = bench.get("/api/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut described = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.insert((path.clone(), method.to_uppercase()));
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
                "{path} {method}"
            );
            for schema in schemas(operation) {
                validator(&document, &schema);
            }
        }
    }
    let served: BTreeSet<_> = ROUTES
        .iter()
        .map(|route| (route.path.replace("{*", "{"), route.method.as_str().to_owned()))
        .collect();
    assert_eq!(described, served);
    bench.close().await;
}

/// Every schema of an operation, of what it takes and of what it gives.
fn schemas(operation: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    let responses = operation["responses"].as_object().unwrap().values();
    for holder in responses.chain([&operation["requestBody"]]) {
        if let Some(content) = holder.get("content").and_then(Value::as_object) {
            found.extend(content.values().map(|kind| kind["schema"].clone()));
        }
    }
    found
}

#[tokio::test]
async fn every_answer_is_what_its_description_says() {
    let mut settings = Settings::default();
    settings.http.test_endpoints = true;
    let bench = Bench::with(settings).await;
    let document = bench.get("/api/v1/openapi.json").await.json();
    // Something of each kind is there.
    bench.log("a line");
    bench.add_series(4);
    bench.push_samples(4, 1..=3);
    let _client = bench.join().await;
    let device = json!({
        "type": "power-meter", "plugin": "power-meter", "slice": "powerMeter", "status": "running",
        "ports": {}, "series": {"watts": {"endpointId": 4, "unit": "W", "kind": "measurement"}},
        "driver": {"sha256": "0", "version": "0.1.0", "generation": 1, "health": {}}
    });
    let ready = [("/devices/meter", device), ("/meta/status", json!("ready"))];
    for (at, value) in ready {
        let at = autobench_core::state::Pointer::parse(at).unwrap();
        bench.state.update(|store| store.set(&at, value)).unwrap();
    }
    let mut checked = 0;
    for route in ROUTES {
        let item = &document["paths"][route.path.replace("{*", "{")];
        let schema = &item["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        if route.method != autobench_core::access::Method::Get || schema.is_null() {
            continue;
        }
        // Commands take a device that takes them; this bench has none, and another test has one.
        if matches!(route.id, RouteId::Commands | RouteId::Command) {
            bench.get(route.path).await.is_problem(503, "not-ready");
            continue;
        }
        let path = route.path.replace("{endpointId}", "4").replace("{id}", "meter");
        let answer = bench.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        check(&document, schema, &answer.json(), &path);
        checked += 1;
    }
    assert!(checked >= 12, "{checked}");
    // What is taken, what is answered to it, and how it is refused.
    for (method, path, body) in [
        (
            "post",
            "/api/v1/logs",
            json!([{"channel": "sidecar", "message": "x"}]),
        ),
        (
            "post",
            "/api/v1/telemetry",
            json!({"endpoint": "room.x", "value": 1}),
        ),
        ("post", "/api/v1/session", json!({"token": "x"})),
        ("put", "/api/v1/message", json!({"message": "x"})),
        (
            "put",
            "/api/v1/layout",
            json!({"rows": 1, "cols": 1, "panes": [{"id": "a", "pane": "logs", "row": 0, "col": 0, "rowSpan": 1, "colSpan": 1}]}),
        ),
    ] {
        let operation = &document["paths"][path][method];
        check(
            &document,
            &operation["requestBody"]["content"]["application/json"]["schema"],
            &body,
            path,
        );
        let send = async |body: &str| {
            let method = method.to_uppercase();
            let text = format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            bench.request(&text).await
        };
        let answer = send(&body.to_string()).await;
        let described = &operation["responses"][answer.status.to_string()];
        assert!(described.is_object(), "{path}: {answer:?}");
        if answer.status == 200 {
            check(
                &document,
                &described["content"]["application/json"]["schema"],
                &answer.json(),
                path,
            );
        }
        let refused = send("{").await;
        refused.is_problem(400, "bad-json");
        let problem = &document["components"]["responses"]["problem"]["content"]["application/problem+json"];
        check(&document, &problem["schema"], &refused.json(), path);
    }
    let openapi = ROUTES.iter().find(|route| route.id == RouteId::Openapi).unwrap();
    let first = bench.get(openapi.path).await;
    let tag = first.header("etag").unwrap();
    let again = format!(
        "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nIf-None-Match: {tag}\r\n\r\n",
        openapi.path
    );
    assert_eq!(bench.request(&again).await.status, 304);
    bench.close().await;
}

/// Checks an answer against what the description of its operation says of its status.
fn check_answer(document: &Value, method: &str, path: &str, answer: &Answer) -> Value {
    let what = format!("{method} {path}");
    let responses = &document["paths"][path][method]["responses"];
    let (described, kind) = match &responses[answer.status.to_string()] {
        Value::Null => {
            assert_eq!(
                responses["default"]["$ref"], "#/components/responses/problem",
                "{what}"
            );
            (
                &document["components"]["responses"]["problem"],
                "application/problem+json",
            )
        }
        described => (described, "application/json"),
    };
    let sent = answer.header("content-type").unwrap();
    assert!(sent.starts_with(kind), "{what}: {answer:?}");
    let schema = &described["content"][kind]["schema"];
    assert!(!schema.is_null(), "{what}: {answer:?}");
    check(document, schema, &answer.json(), &what);
    answer.json()
}

#[tokio::test]
async fn commands_are_taken_shown_and_withdrawn_as_their_description_says() {
    const ASK: &str = "/api/v1/devices/{id}/commands";
    const ALL: &str = "/api/v1/commands";
    const ONE: &str = "/api/v1/commands/{id}";
    let bench = Bench::start().await;
    let document = bench.get("/api/v1/openapi.json").await.json();
    let relay = Relay::of(&bench);
    let takes = &document["paths"][ASK]["post"]["requestBody"]["content"]["application/json"]["schema"];
    let send = async |method: &str, path: &str, body: &str| {
        bench
            .request(&format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            ))
            .await
    };
    let ask = async |body: &Value| send("POST", "/api/v1/devices/relay/commands", &body.to_string()).await;

    // Every field that is described is taken.
    let full = json!({"name": "on", "args": {"label": "x"}, "idempotencyKey": "key-1", "deadlineMs": 60_000});
    for field in full.as_object().unwrap().keys() {
        assert!(takes["properties"][field].is_object(), "{field}: {takes:#}");
    }
    check(&document, takes, &full, ASK);
    let begun = ask(&full).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    let status = check_answer(&document, "post", ASK, &begun);
    let first = begun.header("location").unwrap();
    assert_eq!(
        first,
        format!("/api/v1/commands/{}", status["commandId"].as_str().unwrap())
    );
    // What the description does not let pass is not taken either.
    for (wrong, code) in [
        (json!({"args": {}}), "bad-body"),
        (json!({"name": 5}), "bad-body"),
        (json!({"name": "on", "args": []}), "bad-body"),
        (json!({"name": "on", "deadlineMs": "soon"}), "bad-body"),
    ] {
        assert!(!validator(&document, takes).is_valid(&wrong), "{wrong}");
        let refused = ask(&wrong).await;
        refused.is_problem(400, code);
        check_answer(&document, "post", ASK, &refused);
    }
    let unfit = ask(&json!({"name": "on", "args": {"label": 5}})).await;
    unfit.is_problem(422, "bad-arguments");
    check_answer(&document, "post", ASK, &unfit);

    let command = relay.take().await;
    let shown = check_answer(&document, "get", ONE, &bench.get(first).await);
    assert_eq!(shown["status"], "sent");
    // Its driver has it, so withdrawing it is a question, and the driver says that it is done already.
    let asked = send("DELETE", first, "").await;
    assert_eq!(asked.status, 202, "{asked:?}");
    check_answer(&document, "delete", ONE, &asked);
    relay.succeed(&command);
    let over = bench.get(&format!("{first}?wait=20000")).await;
    assert_eq!(check_answer(&document, "get", ONE, &over)["status"], "succeeded");
    // Sent again under its key, it is over.
    let again = ask(&full).await;
    assert_eq!(again.status, 200, "{again:?}");
    check_answer(&document, "post", ASK, &again);

    // One that nobody has taken is withdrawn at once.
    let second = ask(&json!({"name": "on"})).await;
    let second = second.header("location").unwrap();
    let withdrawn = send("DELETE", second, "").await;
    assert_eq!(withdrawn.status, 200, "{withdrawn:?}");
    assert_eq!(
        check_answer(&document, "delete", ONE, &withdrawn)["status"],
        "cancelled"
    );
    let all = check_answer(&document, "get", ALL, &bench.get(ALL).await);
    let stages: Vec<&Value> = all["commands"]
        .as_array()
        .unwrap()
        .iter()
        .map(|command| &command["status"])
        .collect();
    assert_eq!(stages, ["cancelled", "succeeded"]);

    for method in ["GET", "DELETE"] {
        let unknown = send(method, "/api/v1/commands/00000000-99", "").await;
        unknown.is_problem(404, "unknown-command-id");
        check_answer(&document, &method.to_lowercase(), ONE, &unknown);
    }
    bench.close().await;
    relay.close();
}
