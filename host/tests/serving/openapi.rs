//! The description of the routes: every route is in it, and every answer is what it says.

use std::collections::BTreeSet;

use autobench_core::access::{ROUTES, RouteId};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::bench::{Bench, Settings};

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
        // Commands take a driver; this bench has none.
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
