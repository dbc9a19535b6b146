//! What a foreign web page in the engineer's own browser may do: nothing.

use e2e::{Bench, Daemon, call, eventually, get, request};
use serde_json::json;

fn daemon() -> (Bench, Daemon) {
    let bench = Bench::new();
    bench.configure(&[]);
    let daemon = bench.start();
    (bench, daemon)
}

fn upgrade(address: &str, more: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

#[tokio::test]
async fn a_foreign_origin_gets_no_socket() {
    let (_bench, daemon) = daemon();
    let address = daemon.address();
    let response = request(address, &upgrade(address, "Origin: http://evil.example\r\n")).await;
    assert_eq!(response.status, 403);
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    assert!(response.json()["code"].is_string());
}

#[tokio::test]
async fn a_foreign_host_gets_nothing() {
    let (_bench, daemon) = daemon();
    let text = "GET /api/v1/state HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n";
    let response = request(daemon.address(), text).await;
    assert!(matches!(response.status, 403 | 421), "{}", response.status);
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
}

#[tokio::test]
async fn the_own_page_is_served_with_the_usual_headers() {
    let (_bench, daemon) = daemon();
    let response = get(daemon.address(), "/").await;
    assert_eq!(response.status, 200);
    let policy = response.header("content-security-policy").expect("a policy");
    assert!(
        policy.contains("default-src 'self'") || policy.contains("default-src 'none'"),
        "{policy}"
    );
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    let missing = get(daemon.address(), "/api/v1/nothing").await;
    assert_eq!(missing.status, 404);
    assert_eq!(missing.header("content-type"), Some("application/problem+json"));
}

#[tokio::test]
async fn a_state_that_has_not_changed_is_not_sent_again() {
    let (_bench, daemon) = daemon();
    let address = daemon.address();
    let ask_again = async |tag: &str| {
        let text = format!(
            "GET /api/v1/state HTTP/1.1\r\nHost: {address}\r\nIf-None-Match: {tag}\r\nConnection: close\r\n\r\n"
        );
        request(address, &text).await
    };
    // The daemon's own members may change in between, and then the tag has to; when they do not, nothing is sent.
    let tag = eventually("a state that stays as it is", async || {
        let first = get(address, "/api/v1/state").await;
        let tag = first.header("etag").expect("a tag").to_owned();
        let second = ask_again(&tag).await;
        if second.status == 304 {
            assert!(second.body.is_empty(), "{second:?}");
            assert_eq!(second.header("etag"), Some(&*tag));
            return Some(tag);
        }
        assert_eq!(second.status, 200);
        assert_ne!(second.header("etag"), Some(&*tag), "the same state is sent again");
        None
    })
    .await;
    let said = json!({"message": "back at noon"});
    let set = call(address, "PUT", "/api/v1/message", "", Some(&said)).await;
    assert_eq!(set.status, 204);
    let changed = ask_again(&tag).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), Some(&*tag));
    assert_eq!(changed.json()["message"], "back at noon");
}
