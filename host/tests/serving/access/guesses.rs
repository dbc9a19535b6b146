//! Whoever guesses tokens waits.

use autobench::access::{Audit, Guard};
use autobench::config::AuthConfig;
use autobench_core::access::Role;
use serde_json::{Value, json};

use super::{INGEST, audited, bearer, before_one_is_forgiven, guarded, token_of};
use crate::bench::{Bench, Settings};

#[tokio::test]
async fn who_guesses_waits_and_elsewhere_nobody_does() {
    let (bench, folder) = guarded().await;
    let try_from = |token: &str, from: &str| {
        format!(
            "GET /api/v1/state HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Forwarded-For: {from}\r\n{}\r\n",
            bearer(token)
        )
    };
    let (from, guessed, known) = before_one_is_forgiven(async |from| {
        let (mut guessed, mut known) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            guessed.push(bench.request(&try_from("guess", from)).await);
        }
        for _ in 0..30 {
            guessed.push(bench.request(&try_from("guess", from)).await);
            known.push(bench.request(&try_from(token_of(Role::Admin), "192.0.2.2")).await);
        }
        (from.to_owned(), guessed, known)
    })
    .await;
    let (wrong, beyond) = guessed.split_at(10);
    for told in wrong {
        told.is_problem(401, "wrong-token");
    }
    for told in beyond {
        told.is_problem(429, "too-many-attempts");
        assert!(told.header("retry-after").unwrap().parse::<u64>().unwrap() <= 4);
    }
    assert!(known.iter().all(|knows| knows.status == 200));
    let elsewhere = bench.request(&try_from("guess", "192.0.2.2")).await;
    elsewhere.is_problem(401, "wrong-token");
    let lines = audited(&folder);
    let is_attempt = |line: &&Value| {
        line["outcome"] != "left out" && [from.as_str(), "192.0.2.2"].iter().any(|at| line["peer"] == *at)
    };
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
