//! What a client holds ends with it: when it lets go, when it does not say any more that it holds, when its socket goes.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of a story: what is missing fails it"
)]

use std::time::{Duration, Instant};

use e2e::{Client, call};
use serde_json::{Value, json};

use super::{Board, until_ended};

/// How long a hold stands without being renewed.
const HOLD: Duration = Duration::from_millis(1500);

/// Asks for a command and gives its id.
async fn command(client: &mut Client, args: Value) -> String {
    let message = json!({"type": "command", "device": "board", "name": "hold", "args": args});
    let answer = client.ask(message).await;
    answer["commandId"].as_str().expect("it is taken").to_owned()
}

async fn renew(client: &mut Client, command: &str) -> Value {
    client
        .ask(json!({"type": "lease.renew", "commandId": command}))
        .await
}

#[tokio::test]
async fn a_hold_stands_while_its_client_renews_it_and_ends_when_it_does_not() {
    let mut board = Board::new();
    let (daemon, mut client) = board.start().await;
    let hold = command(&mut client, json!({"key": 1})).await;
    assert_eq!(board.line.next_line(), "down 1");

    let mut other = daemon.client().await;
    for kind in ["lease.renew", "lease.end"] {
        let answer = other.ask(json!({"type": kind, "commandId": hold})).await;
        assert_eq!(answer["code"], "unknown-lease", "it is not its own");
    }
    // Twice as long as it would stand, and over a swap.
    board
        .bench
        .install("holder", &board.bench.artifacts.fixture("holder-next"));
    let begin = Instant::now();
    let mut renewed = Instant::now();
    while begin.elapsed() < HOLD * 2 {
        renewed = Instant::now();
        assert_eq!(renew(&mut client, &hold).await["ok"], true);
        client.drain(Duration::from_millis(300)).await;
    }
    client
        .until_member("/devices/board/driver/lastReload/verdict", &json!("swapped"))
        .await;
    assert_eq!(board.line.line_so_far(), None);

    assert_eq!(board.line.next_line(), "up 1");
    let stood = renewed.elapsed();
    assert!(stood >= HOLD, "it ended after {stood:?}");
    until_ended(&mut client, &["1 expired"]).await;
    assert_eq!(renew(&mut client, &hold).await["code"], "unknown-lease");
    board.until_journal_is_empty().await;
    assert!(daemon.stop().success());
    assert_eq!(board.line.line_so_far(), None);
}

#[tokio::test]
async fn a_hold_ends_at_once_when_its_client_lets_go_or_is_gone() {
    let mut board = Board::new();
    let (daemon, mut witness) = board.start().await;
    let mut client = daemon.client().await;
    let hold = command(&mut client, json!({"key": 1})).await;
    assert_eq!(board.line.next_line(), "down 1");
    let let_go = client.ask(json!({"type": "lease.end", "commandId": hold})).await;
    assert_eq!(let_go["ok"], true);
    assert_eq!(board.line.next_line(), "up 1");
    until_ended(&mut witness, &["1 released"]).await;

    for key in [2, 3] {
        command(&mut client, json!({"key": key})).await;
        assert_eq!(board.line.next_line(), format!("down {key}"));
    }
    drop(client);
    assert_eq!(board.line.next_line(), "up 2");
    assert_eq!(board.line.next_line(), "up 3");
    until_ended(&mut witness, &["1 released", "2 client-gone", "3 client-gone"]).await;
    assert!(daemon.stop().success());
    assert_eq!(board.line.line_so_far(), None);
}

#[tokio::test]
async fn a_driver_that_holds_something_for_nobody_any_more_does_so_for_a_moment() {
    let mut board = Board::new();
    let (daemon, mut witness) = board.start().await;
    let mut client = daemon.client().await;
    let hold = command(&mut client, json!({"key": 1, "late": true})).await;
    client
        .until("the driver has it", |client| {
            client
                .stages
                .iter()
                .any(|stage| stage["commandId"] == *hold && stage["status"] == "acked")
                .then_some(())
        })
        .await;
    drop(client);
    witness.until_member("/meta/clients", &json!(1)).await;
    board.line.send(b"go\n");
    assert_eq!(board.line.next_line(), "down 1");
    assert_eq!(board.line.next_line(), "up 1");
    until_ended(&mut witness, &["1 client-gone"]).await;
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn nothing_is_held_without_a_socket() {
    let mut board = Board::new();
    let (daemon, _) = board.start().await;
    let body = json!({"name": "hold", "args": {"key": 1}});
    let path = "/api/v1/devices/board/commands";
    let refused = call(daemon.address(), "POST", path, "", Some(&body)).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.json()["code"], "needs-socket");
    board.until_journal_is_empty().await;
    assert!(daemon.stop().success());
    assert_eq!(board.line.line_so_far(), None);
}
