//! Who gets in: the table of routes and that of messages, walked with real requests; sessions, sockets, and what is recorded of it all.

mod guesses;
mod pages;
mod record;
mod sockets;
mod tables;

use std::time::{Duration, Instant};

use autobench::access::{Audit, Guard, digest};
use autobench::config::{AuthConfig, LogConfig, TokenConfig};
use autobench::hub::HubConfig;
use autobench_core::access::{Method, Role, Route, RouteId};
use serde_json::Value;

use crate::bench::{Answer, Bench, Settings};

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

/// Tries what has to be over before a wrong token is forgiven: from one address after another, until it was. A machine that is slower than that
/// says nothing of what is refused.
pub async fn before_one_is_forgiven<T>(mut trial: impl AsyncFnMut(&str) -> T) -> T {
    const FORGIVEN_AFTER: Duration = Duration::from_secs(3);
    for number in 1..=20 {
        let begin = Instant::now();
        let outcome = trial(&format!("198.51.100.{number}")).await;
        if begin.elapsed() < FORGIVEN_AFTER {
            return outcome;
        }
    }
    panic!("the machine is too slow for this");
}

pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}
