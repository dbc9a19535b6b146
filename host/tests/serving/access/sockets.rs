//! A socket's token: shown in its first message or in its upgrade, wrong, missing, changed or taken away.

use std::time::Duration;

use autobench::access::digest;
use autobench_core::access::Role;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{audited, auth, bearer, guarded, guarded_with, token_of};
use crate::bench::{HANDSHAKE, until, within};

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
    let (bench, _folder) = guarded().await;
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
    bench.close().await;
    // A bench of its own: whoever shows a token there has longer for it.
    let (bench, _folder) = guarded_with(|hub| hub.auth_timeout = Duration::from_millis(200)).await;
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
