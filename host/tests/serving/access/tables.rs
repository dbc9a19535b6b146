//! What the tables of routes and of messages say, walked with real requests.

use autobench_core::access::{Access, MESSAGES, ROUTES, Role, RouteId};
use serde_json::{Value, json};

use super::{INGEST, TOKENS, ask, bearer, guarded};
use crate::bench::{Answer, Bench, Settings};

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
