//! What the routes take and answer.

use serde_json::{Value, json};

use crate::bench::{Answer, Bench, Settings, apply};

async fn send(bench: &Bench, method: &str, path: &str, more: &str, body: &str) -> Answer {
    bench
        .request(&format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n{more}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await
}

async fn post(bench: &Bench, path: &str, body: &Value) -> Answer {
    send(bench, "POST", path, "", &body.to_string()).await
}

async fn put(bench: &Bench, path: &str, body: &Value) -> Answer {
    send(bench, "PUT", path, "", &body.to_string()).await
}

#[tokio::test]
async fn one_value_of_the_state_can_be_asked_for() {
    let bench = Bench::start().await;
    bench.set_watts(7);
    let value = bench.get("/api/v1/state?path=/powerMeter/lastSample").await;
    assert_eq!(value.json(), json!({"watts": 7}));
    let tag = value.header("etag").unwrap();
    let again = format!(
        "GET /api/v1/state?path=%2FpowerMeter%2FlastSample HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nIf-None-Match: {tag}\r\n\r\n"
    );
    assert_eq!(bench.request(&again).await.status, 304);
    bench.set_watts(8);
    assert_eq!(bench.request(&again).await.json(), json!({"watts": 8}));
    assert_eq!(bench.get("/api/v1/state?path=/version").await.status, 200);
    for path in [
        "/nothing",
        "/powerMeter/nothing",
        "/powerMeter/lastSample/watts/x",
    ] {
        bench
            .get(&format!("/api/v1/state?path={path}"))
            .await
            .is_problem(404, "unknown-path");
    }
    bench
        .get("/api/v1/state?path=powerMeter")
        .await
        .is_problem(400, "bad-query");
    bench.close().await;
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let bench = Bench::start().await;
    for path in ["/api/v1/state", "/api/v1/logs", "/api/v1/message", "/healthz"] {
        let head = bench
            .request(&format!(
                "HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
    }
    bench.close().await;
}

#[tokio::test]
async fn the_log_can_be_asked_for_by_channel_level_and_number() {
    let bench = Bench::start().await;
    for (channel, level) in [
        ("app", "info"),
        ("device:meter", "warn"),
        ("device", "debug"),
        ("app", "error"),
    ] {
        let entry = json!({"channel": channel, "level": level, "message": format!("{channel} {level}")});
        post(&bench, "/api/v1/logs", &entry).await;
    }
    let messages = async |query: &str| -> Vec<String> {
        let range = bench.get(&format!("/api/v1/logs?{query}")).await.json();
        let entries = range["entries"].as_array().unwrap().clone();
        entries
            .iter()
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        messages("channel=device").await,
        ["device:meter warn", "device debug"]
    );
    assert_eq!(messages("channel=device:meter").await, ["device:meter warn"]);
    assert_eq!(
        messages("channel=app,device&level=warn").await,
        ["device:meter warn", "app error"]
    );
    assert_eq!(messages("channel=app,device&limit=1").await, ["app error"]);
    assert_eq!(
        messages("channel=app,device&limit=1&sinceSeq=0").await,
        ["app info"]
    );
    // Whoever goes on behind toSeq sees each entry once.
    let mut since = 0;
    let mut seen = Vec::new();
    loop {
        let range = bench
            .get(&format!(
                "/api/v1/logs?sinceSeq={since}&limit=1&channel=app,device"
            ))
            .await
            .json();
        let entries = range["entries"].as_array().unwrap();
        let Some(entry) = entries.first() else { break };
        seen.push(entry["message"].as_str().unwrap().to_owned());
        since = range["toSeq"].as_u64().unwrap();
    }
    assert_eq!(
        seen,
        ["app info", "device:meter warn", "device debug", "app error"]
    );
    for query in ["level=loud", "limit=-1", "sinceSeq=x"] {
        bench
            .get(&format!("/api/v1/logs?{query}"))
            .await
            .is_problem(400, "bad-query");
    }
    bench.close().await;
}

#[tokio::test]
async fn the_message_is_set_and_everybody_sees_it() {
    let bench = Bench::start().await;
    let (mut client, mut mirror) = bench.join().await;
    assert_eq!(bench.get("/api/v1/message").await.json(), json!({"message": ""}));
    let set = put(
        &bench,
        "/api/v1/message",
        &json!({"message": "back at noon", "more": 1}),
    )
    .await;
    assert_eq!(set.status, 204);
    // The counters have patches of their own, before it or with it.
    while mirror["message"] != "back at noon" {
        apply(&mut mirror, &client.wait_for("state.patch").await);
    }
    let shown = bench.get("/api/v1/message").await;
    assert_eq!(shown.json(), json!({"message": "back at noon"}));
    // Of two who saw the same, the second is told of the first.
    let tag = format!("If-Match: {}\r\n", shown.header("etag").unwrap());
    let first = send(&bench, "PUT", "/api/v1/message", &tag, r#"{"message":"a"}"#).await;
    assert_eq!(first.status, 204);
    send(&bench, "PUT", "/api/v1/message", &tag, r#"{"message":"b"}"#)
        .await
        .is_problem(412, "changed");
    for (body, code) in [
        (json!({"message": 1}), "bad-body"),
        (json!({"text": "x"}), "bad-body"),
        (json!({"message": "x".repeat(501)}), "bad-body"),
    ] {
        put(&bench, "/api/v1/message", &body).await.is_problem(400, code);
    }
    send(&bench, "PUT", "/api/v1/message", "", "{")
        .await
        .is_problem(400, "bad-json");
    put(&bench, "/api/v1/message", &json!({"message": "x".repeat(5000)}))
        .await
        .is_problem(413, "too-large");
    bench.close().await;
}

#[tokio::test]
async fn a_good_layout_is_taken_and_a_bad_one_is_told_all_that_is_wrong() {
    let bench = Bench::start().await;
    let pane = |id: &str, row: u32| json!({"id": id, "pane": "logs", "row": row, "col": 0, "rowSpan": 1, "colSpan": 1});
    let good = json!({"rows": 2, "cols": 1, "panes": [pane("a", 0), pane("b", 1)]});
    assert_eq!(put(&bench, "/api/v1/layout", &good).await.status, 204);
    assert_eq!(bench.get("/api/v1/layout").await.json(), good);
    assert_eq!(bench.document()["layout"], good);
    let mut bad = good.clone();
    bad["panes"][1]["row"] = json!(0);
    bad["panes"][1]["id"] = json!("a");
    bad["panes"][0]["device"] = json!("nobody");
    let told = put(&bench, "/api/v1/layout", &bad).await;
    told.is_problem(422, "bad-layout");
    let detail = told.json()["detail"].as_str().unwrap().to_owned();
    for word in ["two panes", "covers part", "nobody"] {
        assert!(detail.contains(word), "{detail}");
    }
    assert_eq!(bench.get("/api/v1/layout").await.json(), good);
    bench.close().await;
}

#[tokio::test]
async fn one_device_can_be_asked_for() {
    let bench = Bench::start().await;
    bench
        .get("/api/v1/devices/meter")
        .await
        .is_problem(404, "unknown-device");
    let at = autobench_core::state::Pointer::parse("/devices/meter").unwrap();
    bench
        .state
        .update(|store| store.set(&at, json!({"status": "running"})))
        .unwrap();
    let device = bench.get("/api/v1/devices/meter").await;
    assert_eq!(device.json(), json!({"status": "running"}));
    assert!(device.header("etag").is_some());
    bench.close().await;
}

#[tokio::test]
async fn entries_come_in_as_one_as_a_list_and_by_name() {
    let bench = Bench::start().await;
    let entry = |text: &str| json!({"channel": "sidecar", "level": "warn", "message": text, "ts": 1000});
    let one = post(&bench, "/api/v1/logs", &entry("one")).await;
    assert_eq!(one.json(), json!({"accepted": 1, "dropped": 0, "lastSeq": 1}));
    post(&bench, "/api/v1/logs", &json!([entry("two"), entry("three")])).await;
    post(&bench, "/api/v1/logs", &json!({"entries": [entry("four")]})).await;
    let range = bench.get("/api/v1/logs?channel=sidecar").await.json();
    let entries = range["entries"].as_array().unwrap();
    let texts: Vec<_> = entries
        .iter()
        .map(|entry| entry["message"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["one", "two", "three", "four"]);
    assert_eq!(
        (&entries[0]["ts"], &entries[0]["level"], &entries[0]["module"]),
        (&json!(1000), &json!("warn"), &json!("ingest:local"))
    );
    let next = bench.logs.metadata().next_seq;
    // A body with one bad entry is not taken at all.
    for (bad, status, code) in [
        (json!([entry("x"), {"channel": "sidecar"}]), 400, "bad-body"),
        (json!({"channel": "a b", "message": ""}), 400, "bad-body"),
        (
            json!({"channel": "audit", "message": "x"}),
            403,
            "forbidden-channel",
        ),
        (
            json!({"channel": "app", "level": "loud", "message": "x"}),
            400,
            "bad-body",
        ),
        (json!("text"), 400, "bad-body"),
        (json!(vec![entry("x"); 1001]), 400, "bad-body"),
    ] {
        post(&bench, "/api/v1/logs", &bad).await.is_problem(status, code);
    }
    for field in ["tag", "emoji", "module"] {
        for bad in ["a\nb", "\u{1b}[2J", "\u{9b}31m", &"x".repeat(65)] {
            let mut one = entry("x");
            one[field] = bad.into();
            let answer = post(&bench, "/api/v1/logs", &one).await;
            answer.is_problem(400, "bad-body");
            assert!(answer.body.contains(field), "{answer:?}");
        }
    }
    let entries = bench.logs.since(next - 1).entries;
    assert!(entries.iter().all(|entry| entry.channel != "sidecar"));
    // Nobody passes for a part of the daemon.
    let mut named = entry("x");
    named["module"] = "driver".into();
    named["tag"] = "é".repeat(64).into();
    let taken = post(&bench, "/api/v1/logs", &named).await.json();
    let seq = taken["lastSeq"].as_u64().unwrap();
    let entries = bench.logs.since(seq - 1).entries;
    assert_eq!(entries[0].module.as_deref(), Some("ingest:local/driver"));
    bench.close().await;
}

#[tokio::test]
async fn entries_that_come_too_fast_are_refused_for_a_while() {
    let bench = Bench::start().await;
    let many = json!(vec![json!({"channel": "sidecar", "message": "x"}); 1000]);
    let mut refused = None;
    for _ in 0..20 {
        let answer = post(&bench, "/api/v1/logs", &many).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("twenty thousand entries at once are too many");
    refused.is_problem(429, "rate-limited");
    assert!(refused.header("retry-after").is_some());
    bench.close().await;
}

#[tokio::test]
async fn only_the_channels_that_are_listed_come_in() {
    let mut settings = Settings::default();
    settings.http.ingest_channels = vec!["sidecar".to_owned()];
    let bench = Bench::with(settings).await;
    let entry = |channel: &str| json!({"channel": channel, "message": "x"});
    assert_eq!(
        post(&bench, "/api/v1/logs", &entry("sidecar:ffmpeg"))
            .await
            .status,
        200
    );
    post(&bench, "/api/v1/logs", &entry("app"))
        .await
        .is_problem(403, "forbidden-channel");
    bench.close().await;
}

#[tokio::test]
async fn samples_come_in_by_name_and_go_on_by_number() {
    let bench = Bench::start().await;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64;
    let first =
        json!({"endpoint": "room.temperature", "unit": "°C", "samples": [[now - 1000, 20.5], [now, 21]]});
    let taken = post(&bench, "/api/v1/telemetry", &first).await.json();
    assert_eq!(taken["accepted"], 2);
    let id = taken["series"][0]["endpointId"].clone();
    let (mut client, _) = bench.join().await;
    client
        .say(json!({"type": "subscribe", "channel": "telemetry", "endpointIds": [id]}))
        .await;
    let backlog = client.wait_for("telemetry").await;
    assert_eq!(
        (&backlog["endpoint"], &backlog["unit"]),
        (&json!("room.temperature"), &json!("°C"))
    );
    assert_eq!(backlog["samples"].as_array().unwrap().len(), 2);
    post(
        &bench,
        "/api/v1/telemetry",
        &json!([{"endpointId": id, "value": 22.5}]),
    )
    .await;
    assert_eq!(client.wait_for("telemetry").await["value"], 22.5);
    let listed = bench.get("/api/v1/telemetry").await.json();
    assert_eq!(
        listed["series"],
        json!([{"endpointId": id, "endpoint": "room.temperature", "unit": "°C", "kind": "measurement"}])
    );
    let series = bench.get(&format!("/api/v1/telemetry/{id}")).await.json();
    assert_eq!(series["samples"].as_array().unwrap().len(), 3);
    for (bad, status, code) in [
        (json!({"value": 1}), 400, "bad-body"),
        (json!({"endpoint": "room"}), 400, "bad-body"),
        (json!({"endpoint": "room.x"}), 400, "bad-body"),
        (
            json!({"endpoint": "room.x", "samples": [[5, 1]]}),
            400,
            "bad-body",
        ),
        (json!({"endpoint": "room.x", "value": "1"}), 400, "bad-body"),
        (json!({"endpointId": 99, "value": 1}), 404, "unknown-endpoint"),
        (
            json!({"endpointId": 99, "endpoint": "room.temperature", "value": 1}),
            400,
            "bad-body",
        ),
    ] {
        post(&bench, "/api/v1/telemetry", &bad)
            .await
            .is_problem(status, code);
    }
    bench.close().await;
}

#[tokio::test]
async fn samples_from_outside_neither_empty_nor_freeze_a_chart() {
    let bench = Bench::start().await;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64;
    let first = json!({"endpoint": "room.temperature", "samples": [[now - 500_000, 1], [now - 1000, 2]]});
    let taken = post(&bench, "/api/v1/telemetry", &first).await.json();
    let id = &taken["series"][0]["endpointId"];
    for (samples, what) in [
        (json!([[now + 3_000_000, 3]]), "ahead"),
        (json!([[now + 60_000, 3]]), "ahead"),
        (json!([[now, 3], [now - 1, 4]]), "oldest first"),
    ] {
        let body = json!({"endpointId": id, "samples": samples});
        let answer = post(&bench, "/api/v1/telemetry", &body).await;
        assert!(answer.body.contains(what), "{samples}");
        answer.is_problem(400, "bad-body");
    }
    // Clocks that differ by a moment are no mistake.
    let body = json!({"endpointId": id, "samples": [[now + 1000, 5], [now + 1000, 6]]});
    assert_eq!(post(&bench, "/api/v1/telemetry", &body).await.status, 200);
    let kept = bench.get(&format!("/api/v1/telemetry/{id}")).await.json();
    let values: Vec<_> = kept["samples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one[1].as_f64().unwrap())
        .collect();
    assert_eq!(values, [1.0, 2.0, 5.0, 6.0]);
    bench.close().await;
}

#[tokio::test]
async fn a_refused_body_of_samples_numbers_nothing() {
    let settings = Settings::default();
    let series = settings.http.series.clone();
    let bench = Bench::with(settings).await;
    let number = series.number("meter", "watts");
    for (second, status) in [
        (json!({"endpointId": 99, "value": 1}), 404),
        (json!({"endpoint": "nodot", "value": 1}), 400),
        (json!({"endpoint": "meter.watts", "value": 1}), 409),
        (json!({"endpoint": "room.y", "endpointId": 77, "value": 1}), 400),
        (
            json!({"endpoint": "room.y", "unit": "seventeen letters", "value": 1}),
            400,
        ),
    ] {
        let body = json!([{"endpoint": "room.x", "value": 1}, second]);
        assert_eq!(
            post(&bench, "/api/v1/telemetry", &body).await.status,
            status,
            "{body}"
        );
    }
    // As many new ones as there is room for, and one more: none of them is taken.
    for round in 0..4 {
        let many: Vec<_> = (0..63)
            .map(|n| json!({"endpoint": format!("hall.n{round}x{n}"), "value": 1}))
            .collect();
        assert_eq!(post(&bench, "/api/v1/telemetry", &json!(many)).await.status, 200);
    }
    let five: Vec<_> = (0..5)
        .map(|n| json!({"endpoint": format!("attic.n{n}"), "value": 1}))
        .collect();
    post(&bench, "/api/v1/telemetry", &json!(five))
        .await
        .is_problem(409, "too-many-series");
    // The next number is the one behind those that were taken.
    assert_eq!(series.number("meter", "volts"), number + 4 * 63 + 1);
    let same = json!([{"endpoint": "room.z", "value": 1}, {"endpoint": "room.z", "value": 2}]);
    let taken = post(&bench, "/api/v1/telemetry", &same).await.json();
    assert_eq!(taken["series"][0]["endpointId"], taken["series"][1]["endpointId"]);
    bench.close().await;
}

#[tokio::test]
async fn a_drivers_series_is_its_own() {
    let settings = Settings::default();
    let series = settings.http.series.clone();
    let bench = Bench::with(settings).await;
    let number = series.number("meter", "watts");
    bench.hub.register_endpoint(autobench::hub::EndpointInfo {
        id: number,
        name: "meter.watts".to_owned(),
        unit: "W".to_owned(),
        kind: autobench_core::wire::SeriesKind::Measurement,
    });
    for body in [
        json!({"endpoint": "meter.watts", "value": 1}),
        json!({"endpointId": number, "value": 1}),
        json!([{"endpoint": "room.x", "value": 1}, {"endpointId": number, "value": 1}]),
    ] {
        post(&bench, "/api/v1/telemetry", &body)
            .await
            .is_problem(409, "series-owned");
    }
    assert_eq!(bench.hub.history(number).unwrap().1.len(), 0);
    // A device that is configured has all names behind its own.
    let at = autobench_core::state::Pointer::parse("/devices/panel").unwrap();
    bench.state.update(|store| store.set(&at, json!({}))).unwrap();
    post(
        &bench,
        "/api/v1/telemetry",
        &json!({"endpoint": "panel.anything", "value": 1}),
    )
    .await
    .is_problem(409, "series-owned");
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_saw_the_same_exactly_one_changes_it() {
    let bench = Bench::start().await;
    let layout = |rows: usize| {
        let panes = json!([{"id": "logs", "pane": "logs", "row": 0, "col": 0, "rowSpan": 1, "colSpan": 1}]);
        json!({"rows": rows, "cols": 1, "panes": panes})
    };
    put(&bench, "/api/v1/layout", &layout(1)).await;
    for round in 0..100 {
        for path in ["/api/v1/message", "/api/v1/layout"] {
            let seen = bench.get(path).await;
            let tag = format!("If-Match: {}\r\n", seen.header("etag").unwrap());
            let mut all = Vec::new();
            for number in 0..6 {
                let body = match path {
                    "/api/v1/message" => json!({"message": format!("{round} {number}")}),
                    _ => layout(2 + (round * 6 + number) % 12),
                };
                all.push(body.to_string());
            }
            let all = all.iter().map(|body| send(&bench, "PUT", path, &tag, body));
            let done = futures_util::future::join_all(all).await;
            let changed = done.iter().filter(|answer| answer.status == 204).count();
            assert_eq!(changed, 1, "{path} {round}: {done:?}");
        }
    }
    bench.close().await;
}
