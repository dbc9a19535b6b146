//! Who gets in: the table of routes and that of messages, walked with real requests; sessions, sockets, and what is recorded of it all.

use std::time::Duration;

use autobench::access::{Audit, Guard, digest};
use autobench::config::{AuthConfig, LogConfig, TokenConfig};
use autobench::hub::HubConfig;
use autobench_core::access::{Access, MESSAGES, Method, ROUTES, Role, Route, RouteId};
use autobench_core::driver::LogLevel;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bench::{Answer, Bench, HANDSHAKE, Settings, until, within};

/// A token of each role. No other text of the tests looks like one of them.
const TOKENS: [(&str, Role); 3] = [
    ("7f1c0e2d5a64b398viewer", Role::Viewer),
    ("7f1c0e2d5a64b398operator", Role::Operator),
    ("7f1c0e2d5a64b398admin", Role::Admin),
];
const INGEST: &str = "7f1c0e2d5a64b398ingest";

pub fn token_of(role: Role) -> &'static str {
    TOKENS.iter().find(|(_, known)| *known == role).unwrap().0
}

pub fn auth() -> AuthConfig {
    let tokens = TOKENS.iter().map(|(token, role)| {
        let token = TokenConfig {
            sha256: digest(token),
            role: *role,
        };
        (role.to_string(), token)
    });
    AuthConfig {
        tokens: tokens.collect(),
    }
}

/// A bench that asks for tokens, and the folder of its audit.
pub async fn guarded() -> (Bench, tempfile::TempDir) {
    guarded_with(|_| {}).await
}

pub async fn guarded_with(change: impl FnOnce(&mut HubConfig)) -> (Bench, tempfile::TempDir) {
    let (mut settings, folder) = guarded_settings();
    change(&mut settings.hub);
    (Bench::with(settings).await, folder)
}

/// What such a bench is begun with.
pub fn guarded_settings() -> (Settings, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let logs = autobench::logs::LogHandle::new(LogConfig::silent(500));
    let mut settings = Settings {
        logs: Some(logs.clone()),
        ..Settings::default()
    };
    settings.hub.guard = Guard::new(&auth(), Some(INGEST), Audit::open(folder.path(), logs).unwrap());
    settings.http.test_endpoints = true;
    (settings, folder)
}

/// The record: first what those did who may act on the bench, then what everybody else did or tried.
pub fn audited(folder: &tempfile::TempDir) -> Vec<Value> {
    ["audit.jsonl", "audit-others.jsonl"]
        .iter()
        .map(|name| std::fs::read_to_string(folder.path().join(name)).unwrap())
        .collect::<String>()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A request to a route as a program would send it, with a body where the method has one.
async fn ask(bench: &Bench, route: &Route, more: &str) -> Answer {
    let path = route
        .path
        .replace("{*file}", "x.js")
        .replace("{endpointId}", "1")
        .replace("{id}", "meter");
    // What would be listened to for ever is asked for wrongly: the role is looked at before that.
    let path = match route.id {
        RouteId::Events => path + "?channels=none",
        _ => path,
    };
    let body = match route.method {
        Method::Post | Method::Put => "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        Method::Get | Method::Delete => "\r\n",
    };
    let method = route.method.as_str();
    bench
        .request(&format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}{body}"
        ))
        .await
}

pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[tokio::test]
async fn every_route_asks_for_the_role_that_the_table_says() {
    let (bench, _folder) = guarded().await;
    let code = |answer: &Answer| {
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        body["code"].clone()
    };
    for route in ROUTES {
        let name = format!("{} {}", route.method.as_str(), route.path);
        let stranger = ask(&bench, route, "").await;
        let is_open = route.access == Access::Open;
        assert_eq!(stranger.status == 401, !is_open, "{name}: {stranger:?}");
        if !is_open {
            assert_eq!(code(&stranger), "unauthorized", "{name}");
            assert!(stranger.header("www-authenticate").unwrap().starts_with("Bearer"));
        }
        // It is there: nothing that the table names is answered by the fall-back.
        assert!(
            !(stranger.status == 404 && code(&stranger) == "not-found" && !is_open),
            "{name}"
        );
        assert_ne!(stranger.status, 405, "{name}");
        for (token, role) in TOKENS {
            let answer = ask(&bench, route, &bearer(token)).await;
            let may = match route.access {
                Access::Open => true,
                Access::Ingest => role >= Role::Operator,
                Access::Role(needed) => role >= needed,
            };
            let is_refused = answer.status == 403 && code(&answer) == "forbidden";
            assert_eq!(is_refused, !may, "{name} as {role}: {answer:?}");
            assert_ne!(answer.status, 401, "{name} as {role}");
        }
        let ingest = ask(&bench, route, &bearer(INGEST)).await;
        let may = matches!(route.access, Access::Open | Access::Ingest);
        assert_eq!(ingest.status == 401, !may, "{name} with the ingest's token");
    }
    bench.close().await;
}

#[tokio::test]
async fn nothing_is_served_that_the_table_does_not_name() {
    let mut settings = Settings::default();
    settings.http.test_endpoints = true;
    let bench = Bench::with(settings).await;
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        for route in ROUTES.iter().filter(|route| route.id != RouteId::File) {
            let path = route.path.replace("{endpointId}", "1").replace("{id}", "meter");
            let query = match route.id {
                RouteId::Events => "?channels=none",
                _ => "",
            };
            let mut same = ROUTES.iter().filter(|other| other.path == route.path);
            let is_named = same.any(|other| other.method.as_str() == method);
            let answer = bench
                .request(&format!(
                    "{method} {path}{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                ))
                .await;
            assert_eq!(answer.status == 405, !is_named, "{method} {path}: {answer:?}");
            if !is_named {
                answer.is_problem(405, "method-not-allowed");
                let allow = answer.header("allow").unwrap();
                for other in ROUTES.iter().filter(|other| other.path == route.path) {
                    assert!(
                        allow.split(", ").any(|one| one == other.method.as_str()),
                        "{path}: {allow}"
                    );
                }
            }
        }
    }
    bench.close().await;
}

#[tokio::test]
async fn every_message_asks_for_the_role_that_the_table_says() {
    let (bench, _folder) = guarded().await;
    for entry in MESSAGES {
        let mut message: Value = serde_json::from_str(entry.example).unwrap();
        message["id"] = json!("q");
        // A client that nobody knows is told so, whatever it says but ping and its token.
        let mut stranger = bench.connect().await;
        let welcome = stranger.expect("welcome").await;
        assert_eq!(welcome["authRequired"], true);
        stranger.say(message.clone()).await;
        let answer = stranger.next().await;
        match entry.name {
            "ping" => assert_eq!(answer["type"], "pong"),
            _ => assert_eq!(
                (&answer["type"], &answer["code"], &answer["id"]),
                (&json!("error"), &json!("unauthorized"), &json!("q")),
                "{}",
                entry.name
            ),
        }
        for (token, role) in TOKENS {
            let mut client = bench.connect_with(&bearer(token)).await;
            assert!(client.expect("welcome").await.get("authRequired").is_none());
            client.expect("state.snapshot").await;
            client.expect("logs.history").await;
            if entry.name == "auth" {
                message["token"] = json!(token);
            }
            client.say(message.clone()).await;
            let answer = loop {
                let answer = client.next().await;
                if answer["id"] == "q" {
                    break answer;
                }
            };
            let is_forbidden = answer["type"] == "error" && answer["code"] == "forbidden";
            assert_eq!(
                is_forbidden,
                role < entry.role,
                "{} as {role}: {answer}",
                entry.name
            );
            assert_ne!(answer["code"], "unauthorized", "{} as {role}", entry.name);
        }
    }
    bench.close().await;
}

#[tokio::test]
async fn a_socket_gets_nothing_before_its_token_and_everything_after_it() {
    let (bench, folder) = guarded().await;
    let mut client = bench.connect().await;
    client.expect("welcome").await;
    bench.set_watts(1);
    bench.log("not for strangers");
    client.say(json!({"type": "ping", "id": 1})).await;
    client.expect("pong").await;
    client
        .say(json!({"type": "auth", "token": token_of(Role::Viewer), "id": 2}))
        .await;
    assert_eq!(client.expect("ack").await["id"], 2);
    let snapshot = client.expect("state.snapshot").await;
    assert_eq!(snapshot["data"]["powerMeter"]["lastSample"]["watts"], 1);
    client.expect("logs.history").await;
    bench.set_watts(2);
    client.wait_for("state.patch").await;
    assert!(
        audited(&folder)
            .iter()
            .any(|line| line["actor"] == "viewer" && line["action"] == "opens a socket")
    );
    bench.close().await;
}

#[tokio::test]
async fn a_wrong_token_and_none_at_all_close_the_socket_with_4401() {
    let (bench, _folder) = guarded_with(|hub| hub.auth_timeout = Duration::from_millis(200)).await;
    let mut wrong = bench.connect().await;
    wrong.expect("welcome").await;
    wrong
        .say(json!({"type": "auth", "token": "guess", "id": 7}))
        .await;
    let error = wrong.expect("error").await;
    assert_eq!(
        (&error["code"], &error["id"]),
        (&json!("unauthorized"), &json!(7))
    );
    assert_eq!(wrong.close_code().await, Some(4401));
    let mut silent = bench.connect().await;
    silent.expect("welcome").await;
    assert_eq!(silent.close_code().await, Some(4401));
    bench.close().await;
}

#[tokio::test]
async fn strangers_take_a_quarter_of_the_house_and_no_more() {
    let (bench, _folder) = guarded_with(|hub| hub.limits.clients = 8).await;
    let _strangers = [bench.connect().await, bench.connect().await];
    until("two strangers are in", || bench.hub.clients() == 2).await;
    let close = HANDSHAKE.replace("Connection: Upgrade", "Connection: Upgrade, close");
    bench.request(&close).await.is_problem(503, "too-many-clients");
    let mut known = bench.connect_with(&bearer(token_of(Role::Viewer))).await;
    known.expect("welcome").await;
    bench.close().await;
}

#[tokio::test]
async fn a_client_whose_token_is_taken_away_is_sent_off() {
    let (bench, _folder) = guarded_with(|hub| hub.close_timeout = Duration::from_millis(100)).await;
    let mut client = bench.connect_with(&bearer(token_of(Role::Operator))).await;
    let mut other = bench.connect_with(&bearer(token_of(Role::Viewer))).await;
    client.expect("welcome").await;
    let mut fewer = auth();
    fewer.tokens.remove("operator");
    bench.hub.guard().set_tokens(&fewer);
    assert_eq!(client.close_code().await, Some(4401));
    other.say(json!({"type": "ping"})).await;
    other.wait_for("pong").await;
    bench.close().await;
}

#[tokio::test]
async fn a_token_that_is_changed_ends_what_began_with_the_old_one() {
    let (bench, _folder) = guarded_with(|hub| hub.close_timeout = Duration::from_millis(100)).await;
    let old = bearer(token_of(Role::Operator));
    let mut client = bench.connect_with(&old).await;
    let mut other = bench.connect_with(&bearer(token_of(Role::Viewer))).await;
    client.expect("welcome").await;
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    let request = format!("GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{old}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = vec![within(stream.read_u8()).await.unwrap()];
    let mut changed = auth();
    changed.tokens.get_mut("operator").unwrap().sha256 = digest("another token");
    bench.hub.guard().set_tokens(&changed);
    assert_eq!(client.close_code().await, Some(4401));
    // Also when nothing happens on the bench.
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes));
    ended.await.expect("the stream of events has ended").unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 200"));
    other.say(json!({"type": "ping"})).await;
    other.wait_for("pong").await;
    bench.close().await;
}

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
async fn who_guesses_waits_and_elsewhere_nobody_does() {
    let (bench, folder) = guarded().await;
    let try_from = |token: &str, from: &str| {
        format!(
            "GET /api/v1/state HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Forwarded-For: {from}\r\n{}\r\n",
            bearer(token)
        )
    };
    for _ in 0..10 {
        bench
            .request(&try_from("guess", "192.0.2.1"))
            .await
            .is_problem(401, "wrong-token");
    }
    for _ in 0..30 {
        let told = bench.request(&try_from("guess", "192.0.2.1")).await;
        told.is_problem(429, "too-many-attempts");
        assert!(told.header("retry-after").unwrap().parse::<u64>().unwrap() <= 4);
        let knows = bench.request(&try_from(token_of(Role::Admin), "192.0.2.2")).await;
        assert_eq!(knows.status, 200);
    }
    let elsewhere = bench.request(&try_from("guess", "192.0.2.2")).await;
    elsewhere.is_problem(401, "wrong-token");
    let lines = audited(&folder);
    let is_attempt = |line: &&Value| line["outcome"] != "left out";
    assert_eq!(
        lines.iter().filter(is_attempt).count(),
        11,
        "what is refused beyond that fills no file"
    );
    bench.close().await;
}

#[tokio::test]
async fn the_ingests_token_is_not_guessed_any_faster_where_nothing_else_takes_one() {
    let mut settings = Settings::default();
    settings.hub.guard = Guard::new(&AuthConfig::default(), Some(INGEST), Audit::nowhere());
    let bench = Bench::with(settings).await;
    let body = json!({"channel": "sidecar", "message": "x"}).to_string();
    let post = |who: &str| {
        format!(
            "POST /api/v1/logs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n{who}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for _ in 0..20 {
        bench.request(&post("")).await.is_problem(401, "unauthorized");
    }
    for _ in 0..10 {
        bench
            .request(&post(&bearer("guess")))
            .await
            .is_problem(401, "wrong-token");
    }
    bench
        .request(&post(&bearer("guess")))
        .await
        .is_problem(429, "too-many-attempts");
    // The right one is told from it elsewhere only.
    bench
        .request(&post(&bearer(INGEST)))
        .await
        .is_problem(429, "too-many-attempts");
    let elsewhere = format!("X-Forwarded-For: 192.0.2.3\r\n{}", bearer(INGEST));
    assert_eq!(bench.request(&post(&elsewhere)).await.status, 200);
    bench.close().await;
}

#[tokio::test]
async fn a_command_is_recorded_with_what_was_asked_of_which_device() {
    let (bench, folder) = guarded().await;
    let data = tempfile::tempdir().unwrap();
    let commands = autobench::commands::Commands::start(
        data.path(),
        "0123456789abcdef",
        autobench::clock::Clock::start(),
        bench.logs.clone(),
        bench.hub.clone(),
    )
    .unwrap();
    bench.hub.serve_commands(commands.router());
    let body = json!({"name": "output.on", "args": {"secret": "hunter2"}}).to_string();
    let answer = bench
        .request(&format!(
            "POST /api/v1/devices/psu/commands HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\n{}Content-Length: {}\r\n\r\n{body}",
            bearer(token_of(Role::Operator)),
            body.len()
        ))
        .await;
    answer.is_problem(404, "unknown-device");
    let line = audited(&folder).pop().unwrap();
    let action = line["action"].as_str().unwrap();
    assert!(action.contains("psu") && action.contains("output.on"), "{line}");
    assert_eq!(line["detail"], "404");
    assert!(!line.to_string().contains("hunter2"), "{line}");
    bench.close().await;
    commands.close();
}

#[tokio::test]
async fn actions_are_recorded_with_who_and_how_and_reading_is_not() {
    let (bench, folder) = guarded().await;
    let put = |who: &str, body: &str| {
        format!(
            "PUT /api/v1/message HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n{who}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let body = json!({"message": "back at noon"}).to_string();
    assert_eq!(
        bench
            .request(&put(&bearer(token_of(Role::Operator)), &body))
            .await
            .status,
        204
    );
    assert_eq!(
        bench
            .request(&put(&bearer(token_of(Role::Viewer)), &body))
            .await
            .status,
        403
    );
    assert_eq!(bench.request(&put("", &body)).await.status, 401);
    assert_eq!(
        bench
            .request(&put(&bearer(token_of(Role::Admin)), "{"))
            .await
            .status,
        400
    );
    ask(&bench, &ROUTES[0], &bearer(token_of(Role::Admin))).await;
    let told: Vec<_> = audited(&folder)
        .into_iter()
        .map(|line| {
            (
                line["actor"].clone(),
                line["outcome"].clone(),
                line["detail"].clone(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (json!("operator"), json!("done"), json!("204")),
            (json!("admin"), json!("failed"), json!("400")),
            (json!("viewer"), json!("refused"), json!("403")),
            (json!(null), json!("refused"), json!(null)),
        ]
    );
    let entries = bench.logs.history(100).entries;
    let in_log = entries.iter().filter(|entry| entry.channel == "audit").count();
    assert_eq!(in_log, 4);
    bench.close().await;
}

#[tokio::test]
async fn a_token_is_in_no_state_no_log_and_no_record() {
    let (bench, folder) = guarded().await;
    let planted = "9c0ffee9c0ffee9c0ffee9c0ffee9c0f";
    for (token, _) in TOKENS
        .into_iter()
        .chain([(planted, Role::Viewer), (INGEST, Role::Viewer)])
    {
        ask(&bench, &ROUTES[8], &bearer(token)).await;
        let body = json!({ "token": token }).to_string();
        bench
            .request(&format!(
                "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            ))
            .await;
        bench.get(&format!("/api/v1/state?token={token}")).await;
        let mut client = bench.connect().await;
        client.expect("welcome").await;
        client.say(json!({"type": "auth", "token": token})).await;
        client.next().await;
    }
    let state = bench.document().to_string();
    let log = serde_json::to_string(&bench.logs.history(1000)).unwrap();
    let audit = serde_json::to_string(&audited(&folder)).unwrap();
    for (token, _) in TOKENS
        .into_iter()
        .chain([(planted, Role::Viewer), (INGEST, Role::Viewer)])
    {
        let sha256: String = digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
        for (place, text) in [("state", &state), ("log", &log), ("audit", &audit)] {
            assert!(!text.contains(token), "{token} is in the {place}");
            assert!(!text.contains(&sha256), "the hash of {token} is in the {place}");
        }
    }
    assert!(log.contains("not known"), "the failures were noted: {log}");
    bench.close().await;
}

#[tokio::test]
async fn requests_that_went_well_are_no_entries_of_the_ring_and_failures_are_few() {
    let bench = Bench::start().await;
    let before = bench.logs.metadata().next_seq;
    for _ in 0..50 {
        assert_eq!(bench.get("/api/v1/devices").await.status, 200);
    }
    assert_eq!(bench.logs.metadata().next_seq, before);
    for _ in 0..50 {
        assert_eq!(bench.get("/api/v1/nothing").await.status, 404);
    }
    let entries = bench.logs.since(before - 1).entries;
    let failures = entries
        .iter()
        .filter(|entry| entry.channel == "request" && entry.level == LogLevel::Warn);
    let count = failures.count();
    assert!((30..45).contains(&count), "{count}");
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
        // Without a driver a command is not looked at at all.
        if !matches!(
            route.id,
            RouteId::DeviceCommand | RouteId::SessionEnd | RouteId::CommandCancel
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
