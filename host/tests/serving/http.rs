//! What HTTP answers, and whom it refuses.

use serde_json::json;

use crate::bench::{BOOT_ID, Bench, HANDSHAKE, Settings};

#[tokio::test]
async fn the_state_is_served_with_a_tag_and_not_again_while_it_is_the_same() {
    let bench = Bench::start().await;
    let first = bench.get("/api/v1/state").await;
    assert_eq!(
        (first.status, first.header("content-type")),
        (200, Some("application/json"))
    );
    assert_eq!(first.json(), bench.document());
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(tag, format!("\"{BOOT_ID}-{}\"", bench.state.version()));
    let ask = |tag: &str| {
        format!(
            "GET /api/v1/state HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nIf-None-Match: {tag}\r\n\r\n"
        )
    };
    for known in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
        let again = bench.request(&ask(&known)).await;
        assert_eq!(
            (again.status, again.body.as_str(), again.header("etag")),
            (304, "", Some(&*tag))
        );
    }
    bench.set_watts(3);
    let changed = bench.request(&ask(&tag)).await;
    assert_eq!(changed.status, 200);
    assert_eq!(changed.json()["powerMeter"]["lastSample"]["watts"], 3);
    bench.close().await;
}

#[tokio::test]
async fn logs_devices_plugins_and_telemetry_are_served() {
    let bench = Bench::with(Settings {
        log_capacity: 3,
        ..Settings::default()
    })
    .await;
    for n in 1..=5 {
        bench.log(&n.to_string());
    }
    let all = bench.get("/api/v1/logs").await.json();
    assert_eq!((&all["fromSeq"], &all["toSeq"]), (&json!(3), &json!(5)));
    let since = bench.get("/api/v1/logs?x=1&sinceSeq=1").await.json();
    assert_eq!(since["missed"], json!({"fromSeq": 2, "toSeq": 2}));
    assert_eq!(since["entries"].as_array().unwrap().len(), 3);
    bench
        .get("/api/v1/logs?sinceSeq=-1")
        .await
        .is_problem(400, "bad-query");
    assert_eq!(bench.get("/api/v1/devices").await.json(), json!({}));
    assert_eq!(bench.get("/api/v1/plugins").await.json(), json!({}));
    bench.add_series(4);
    bench.push_samples(4, 1..=2);
    let series = bench.get("/api/v1/telemetry/4").await.json();
    assert_eq!(
        series["samples"],
        json!([[1_000_000_000_001_u64, 1], [1_000_000_000_002_u64, 2]])
    );
    assert_eq!(
        (&series["endpoint"], &series["unit"]),
        (&json!("meter.series4"), &json!("W"))
    );
    bench
        .get("/api/v1/telemetry/5")
        .await
        .is_problem(404, "unknown-endpoint");
    bench
        .get("/api/v1/telemetry/x")
        .await
        .is_problem(404, "unknown-endpoint");
    bench.close().await;
}

#[tokio::test]
async fn the_daemon_is_alive_at_once_and_ready_when_it_says_so() {
    let bench = Bench::start().await;
    assert_eq!(bench.get("/healthz").await.status, 200);
    bench.get("/readyz").await.is_problem(503, "not-ready");
    let at = autobench_core::state::Pointer::parse("/meta/status").unwrap();
    bench
        .state
        .update(|store| store.set(&at, json!("ready")))
        .unwrap();
    assert_eq!(bench.get("/readyz").await.status, 200);
    bench.close().await;
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_a_problem_with_a_code() {
    let bench = Bench::start().await;
    bench.get("/api/v1/nothing").await.is_problem(404, "not-found");
    bench.get("/api").await.is_problem(404, "not-found");
    bench.get("/nothing.js").await.is_problem(404, "not-found");
    let ask = |method: &str, path: &str, more: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n")
    };
    for path in ["/api/v1/state", "/ws", "/", "/healthz"] {
        let refused = bench.request(&ask("POST", path, "")).await;
        refused.is_problem(405, "method-not-allowed");
        assert!(refused.header("allow").unwrap().contains("GET"));
    }
    let text = "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}";
    let form = "Content-Length: 2\r\n\r\n{}";
    for body in [text, form] {
        let refused = bench
            .request(&ask("POST", "/api/v1/state", body).replace("{}\r\n", "{}"))
            .await;
        refused.is_problem(415, "unsupported-media-type");
    }
    let json = "Content-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n\r\n{}";
    let refused = bench
        .request(&ask("POST", "/api/v1/state", json).replace("{}\r\n", "{}"))
        .await;
    refused.is_problem(405, "method-not-allowed");
    bench.close().await;
}

#[tokio::test]
async fn a_foreign_host_and_a_foreign_page_are_refused() {
    let bench = Bench::start().await;
    let port = bench.address.port();
    for path in ["/", "/api/v1/state", "/healthz", "/ws"] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: evil.example:{port}\r\nConnection: close\r\n\r\n");
        bench.request(&request).await.is_problem(403, "forbidden-host");
    }
    bench
        .request("GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        .await
        .is_problem(400, "no-host");
    let close = |request: String| request.replace("Connection: Upgrade", "Connection: Upgrade, close");
    for origin in ["http://evil.example", "null", "http://localhost:1"] {
        let request = close(HANDSHAKE.replace("\r\n\r\n", &format!("\r\nOrigin: {origin}\r\n\r\n")));
        bench.request(&request).await.is_problem(403, "forbidden-origin");
        let request = format!(
            "POST /api/v1/state HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n"
        );
        bench.request(&request).await.is_problem(403, "forbidden-origin");
    }
    // Nobody got as far as the hub.
    assert_eq!(bench.hub.clients(), 0);
    bench.close().await;
}

#[tokio::test]
async fn a_socket_wants_a_proper_handshake() {
    let bench = Bench::start().await;
    let answer = bench.get("/ws").await;
    answer.is_problem(426, "upgrade-required");
    assert_eq!(answer.header("sec-websocket-version"), Some("13"));
    let close = |request: String| request.replace("Connection: Upgrade", "Connection: Upgrade, close");
    let old = close(HANDSHAKE.replace("Version: 13", "Version: 8"));
    bench.request(&old).await.is_problem(426, "upgrade-required");
    for key in ["", "short==", "dGhlIHNhbXBsZSBub25jZ!=="] {
        let bad = close(HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", key));
        bench.request(&bad).await.is_problem(400, "bad-upgrade");
    }
    bench.close().await;
}

#[tokio::test]
async fn the_mirror_is_served_with_headers_that_keep_it_to_itself() {
    let folder = std::env::temp_dir().join(format!("autobench-web-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("assets")).unwrap();
    std::fs::write(folder.join("index.html"), "<!doctype html>mirror").unwrap();
    std::fs::write(folder.join("assets/a.js"), "1").unwrap();
    let mut settings = Settings::default();
    settings.http.web_dir = Some(folder.clone());
    let bench = Bench::with(settings).await;
    let page = bench.get("/").await;
    assert_eq!((page.status, page.body.as_str()), (200, "<!doctype html>mirror"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let script = bench.get("/assets/a.js").await;
    assert!(script.header("content-type").unwrap().contains("javascript"));
    assert!(script.header("cache-control").unwrap().contains("immutable"));
    for answer in [
        page,
        script,
        bench.get("/api/v1/state").await,
        bench.get("/api/v1/nothing").await,
    ] {
        assert!(
            answer
                .header("content-security-policy")
                .unwrap()
                .contains("default-src 'none'")
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    }
    bench.get("/../../etc/passwd").await.is_problem(404, "not-found");
    bench
        .get("/%2e%2e/%2e%2e/etc/passwd")
        .await
        .is_problem(404, "not-found");
    bench.get("/assets/none.js").await.is_problem(404, "not-found");
    std::fs::remove_dir_all(&folder).unwrap();
    // The folder is gone: a person is told what to do.
    let gone = bench.get("/").await;
    assert_eq!(gone.status, 404);
    assert!(gone.body.contains("cargo demo --build-only"));
    bench.close().await;
}
