//! What a page is let in by, its session, and what it is not: an address, or another page's origin.

use autobench_core::access::{Method, ROUTES, Role, RouteId};
use serde_json::json;

use super::{audited, bearer, guarded, guarded_settings, token_of};
use crate::bench::Bench;

#[tokio::test]
async fn a_page_has_a_session_for_its_token_until_it_ends_it() {
    let (bench, folder) = guarded().await;
    let begin = |token: &str, more: &str| {
        let body = json!({ "token": token }).to_string();
        format!(
            "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{more}\r\n{body}",
            body.len()
        )
    };
    let token = token_of(Role::Operator);
    bench
        .request(&begin("guess", ""))
        .await
        .is_problem(401, "wrong-token");
    let begun = bench.request(&begin(token, "")).await;
    assert_eq!(begun.status, 200, "{begun:?}");
    assert_eq!(
        begun.json(),
        json!({"actor": "operator", "role": "operator", "authRequired": true})
    );
    let cookie = begun.header("set-cookie").unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains(token), "{cookie}");
    let tls = "X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.77\r\n";
    let secure = bench.request(&begin(token, tls)).await;
    assert!(secure.header("set-cookie").unwrap().ends_with("; Secure"));

    let shown = cookie.split(';').next().unwrap();
    let header = format!("Cookie: {shown}\r\n");
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n");
    assert_eq!(bench.request(&get("/api/v1/state")).await.status, 200);
    assert_eq!(
        bench.request(&get("/api/v1/session")).await.json()["actor"],
        "operator"
    );
    let mut socket = bench.connect_with(&header).await;
    assert!(socket.expect("welcome").await.get("authRequired").is_none());
    // Another port is another daemon, and its cookie is not this one's.
    let foreign = header.replace(&bench.address.port().to_string(), "1");
    let asked = get("/api/v1/state").replace(&header, &foreign);
    bench.request(&asked).await.is_problem(401, "unauthorized");

    // Whoever logs in again has one session and not two.
    let again = bench.request(&begin(token, &header)).await;
    assert_eq!(again.status, 200);
    bench
        .request(&get("/api/v1/state"))
        .await
        .is_problem(401, "unauthorized");
    let shown = again.header("set-cookie").unwrap().split(';').next().unwrap();
    let header = format!("Cookie: {shown}\r\n");
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n");
    assert_eq!(bench.request(&get("/api/v1/state")).await.status, 200);

    let end =
        format!("DELETE /api/v1/session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n");
    let ended = bench.request(&end).await;
    assert_eq!(ended.status, 204);
    assert!(ended.header("set-cookie").unwrap().contains("Max-Age=0"));
    bench
        .request(&get("/api/v1/state"))
        .await
        .is_problem(401, "unauthorized");
    assert_eq!(
        bench.request(&end).await.status,
        204,
        "ending what is over is no mistake"
    );

    let lines = audited(&folder);
    let actions: Vec<&str> = lines
        .iter()
        .map(|line| line["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "begins a session",
            "begins a session",
            "begins a session",
            "ends the session",
            "shows a token that is not known"
        ]
    );
    assert_eq!(
        (&lines[4]["actor"], &lines[4]["outcome"]),
        (&json!(null), &json!("refused"))
    );
    assert_eq!(lines[1]["peer"], "192.0.2.77");
    bench.close().await;
}

#[tokio::test]
async fn a_proxy_on_this_machine_is_known_where_both_families_are_listened_to() {
    if std::net::TcpListener::bind("[::]:0").is_err() {
        // A machine without IPv6 has nobody who listens so; the gate's own test has the addresses.
        return;
    }
    let (mut settings, folder) = guarded_settings();
    settings.http.listen = "[::]:0".parse().unwrap();
    let mut bench = Bench::with(settings).await;
    bench.address = ([127, 0, 0, 1], bench.address.port()).into();
    let body = json!({ "token": token_of(Role::Operator) }).to_string();
    let begin = format!(
        "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.77\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let begun = bench.request(&begin).await;
    assert_eq!(begun.status, 200, "{begun:?}");
    assert!(begun.header("set-cookie").unwrap().ends_with("; Secure"));
    // One user's wrong tokens are not another's.
    let get = |from: &str, token: &str| {
        format!(
            "GET /api/v1/clients HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Forwarded-For: {from}\r\n{}\r\n",
            bearer(token)
        )
    };
    for _ in 0..10 {
        bench
            .request(&get("192.0.2.77", "guess"))
            .await
            .is_problem(401, "wrong-token");
    }
    // And an address is the same in whichever form it comes, in the record and wherever it is shown.
    let mut socket = bench.connect_with(&bearer(token_of(Role::Operator))).await;
    socket.expect("welcome").await;
    let clients = bench
        .request(&get("::ffff:192.0.2.78", token_of(Role::Operator)))
        .await;
    assert_eq!(clients.status, 200, "{clients:?}");
    let peer = clients.json()[0]["peer"].as_str().unwrap().to_owned();
    assert!(peer.starts_with("127.0.0.1:"), "{peer}");
    assert_eq!(audited(&folder)[0]["peer"], "192.0.2.77");
    bench.close().await;
}

#[tokio::test]
async fn a_token_in_an_address_is_refused_wherever_it_is() {
    let (bench, _folder) = guarded().await;
    for path in [
        "/api/v1/state?token=x",
        "/ws?access_token=x",
        "/?a=1&auth=x",
        "/healthz?token",
    ] {
        bench.get(path).await.is_problem(400, "token-in-url");
    }
    bench.close().await;
}

#[tokio::test]
async fn a_page_from_elsewhere_can_do_nothing_that_acts() {
    // On a bench that asks for no token at all: here these checks are all that there is.
    let bench = Bench::start().await;
    let before = bench.state.version();
    let port = bench.address.port();
    for route in ROUTES.iter().filter(|route| route.method != Method::Get) {
        let (method, path) = (route.method.as_str(), route.path);
        let send = async |host: &str, more: &str, body: &str| {
            let length = body.len();
            let text = format!(
                "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}Content-Length: {length}\r\n\r\n{body}"
            );
            bench.request(&text).await
        };
        let json = "Content-Type: application/json\r\n";
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost:1",
            "https://localhost",
            &format!("http://localhost.evil.example:{port}"),
        ] {
            let origin = format!("{json}Origin: {origin}\r\n");
            send(&format!("localhost:{port}"), &origin, "{}")
                .await
                .is_problem(403, "forbidden-origin");
        }
        // A name that was bound to this address after the page was loaded.
        send(&format!("rebound.example:{port}"), json, "{}")
            .await
            .is_problem(403, "forbidden-host");
        // What a form can send without being asked.
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain; application/json",
        ] {
            let kind = format!("Content-Type: {kind}\r\n");
            send("localhost", &kind, "{}")
                .await
                .is_problem(415, "unsupported-media-type");
        }
        send("localhost", "", "{}")
            .await
            .is_problem(415, "unsupported-media-type");
        // Without a driver a command is not looked at at all. A plugin is larger than this.
        if !matches!(
            route.id,
            RouteId::DeviceCommand | RouteId::SessionEnd | RouteId::CommandCancel | RouteId::ShadowRun
        ) {
            let huge = format!("\"{}\"", "x".repeat(600 << 10));
            send("localhost", json, &huge).await.is_problem(413, "too-large");
        }
        // The question that a browser asks first is never answered with yes.
        let asked = format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\nOrigin: http://evil.example\r\n\
             Access-Control-Request-Method: {method}\r\n\r\n"
        );
        let answer = bench.request(&asked).await;
        answer.is_problem(403, "forbidden-origin");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    assert_eq!(bench.state.version(), before, "nothing has happened");
    bench.close().await;
}
