//! `autobench send` of a command that holds something: it holds until it is interrupted, for a time, or until somebody else ends it.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of a story: what is missing fails it"
)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::Daemon;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Board, until_ended};

/// Longer than a hold stands that nobody renews.
const LONG: Duration = Duration::from_millis(2_000);

/// `autobench --json send board hold --arg key=1`, on its way.
fn send(board: &Board, daemon: &Daemon, more: &[&str]) -> Child {
    Command::new(&board.bench.artifacts.binary)
        .args([
            "--json",
            "send",
            "board",
            "hold",
            "--arg",
            "key=1",
            "--url",
            &daemon.url(),
        ])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("autobench runs")
}

/// Its exit code, and the last thing that it said.
async fn ended(child: Child) -> (Option<i32>, Value) {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output())
        .await
        .unwrap()
        .expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().last().unwrap_or_default();
    let said = serde_json::from_str(last).expect("its last line is JSON");
    (output.status.code(), said)
}

/// What one said that was used wrongly.
async fn ended_badly(child: Child) -> String {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output())
        .await
        .unwrap()
        .expect("it ends");
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_command_line_holds_until_it_is_interrupted() {
    let mut board = Board::new();
    let (daemon, mut client) = board.start().await;
    let holding = send(&board, &daemon, &[]);
    assert_eq!(board.line.next_line(), "down 1");
    client.drain(LONG).await;
    assert_eq!(board.line.line_so_far(), None, "it renews its hold");
    let pid = Pid::from_raw(i32::try_from(holding.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(board.line.next_line(), "up 1");
    let (code, said) = ended(holding).await;
    assert_eq!(
        (code, said.get("event")),
        (Some(0), Some(&"released".into())),
        "{said}"
    );
    until_ended(&mut client, &["1 released"]).await;

    // One that is killed says nothing any more, and holds nothing.
    let mut holding = send(&board, &daemon, &[]);
    assert_eq!(board.line.next_line(), "down 1");
    holding.kill().unwrap();
    assert_eq!(board.line.next_line(), "up 1");
    until_ended(&mut client, &["1 released", "1 client-gone"]).await;
    holding.wait().unwrap();
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_command_line_holds_for_a_time_and_says_when_it_could_not() {
    let mut board = Board::new();
    let (daemon, mut client) = board.start().await;
    let begin = Instant::now();
    let holding = send(&board, &daemon, &["--hold-for", "2"]);
    assert_eq!(board.line.next_line(), "down 1");
    assert_eq!(board.line.next_line(), "up 1");
    assert!(begin.elapsed() >= LONG);
    let (code, said) = ended(holding).await;
    assert_eq!(
        (code, said.get("event")),
        (Some(0), Some(&"released".into())),
        "{said}"
    );

    // Its device ends it: to be sure, once without a time, which is no fault, and once before its time.
    for (more, expected) in [(&[][..], 0), (&["--hold-for", "600"][..], 5)] {
        let holding = send(&board, &daemon, more);
        assert_eq!(board.line.next_line(), "down 1");
        board.line.send(b"let-go 1\n");
        for expected in ["before 1", "up 1", "behind 1"] {
            assert_eq!(board.line.next_line(), expected);
        }
        let (code, said) = ended(holding).await;
        assert_eq!(
            (code, said.get("event")),
            (Some(expected), Some(&"over".into())),
            "{said}"
        );
    }
    // Of what it gave back itself a driver is told nothing.
    until_ended(&mut client, &["1 released"]).await;

    let keyed = ended_badly(send(&board, &daemon, &["--key", "k"])).await;
    assert!(keyed.contains("sending it again would hold nothing"), "{keyed}");
    let (code, said) = ended(send(&board, &daemon, &["--arg", "loud=true"])).await;
    assert_eq!(
        (code, said.get("code")),
        (Some(3), Some(&"bad-arguments".into())),
        "{said}"
    );
    board.until_journal_is_empty().await;
    assert!(daemon.stop().success());
    assert_eq!(board.line.line_so_far(), None);
}

#[tokio::test]
async fn a_hold_that_never_began_is_no_success() {
    let mut board = Board::new();
    let (daemon, mut client) = board.start().await;
    for (line, code, status) in [("drop", 6, "cancelled"), ("fail", 1, "failed")] {
        let holding = send(&board, &daemon, &["--arg", "late=true"]);
        client.until_member("/board/waiting", &json!(1)).await;
        if line == "drop" {
            let pid = Pid::from_raw(i32::try_from(holding.id()).unwrap()).unwrap();
            kill_process(pid, Signal::INT).unwrap();
            client
                .until("the daemon has heard of it", |client| {
                    let mut messages = client.logs.values().filter_map(|entry| entry["message"].as_str());
                    messages.find(|message| message.contains("let go of")).map(drop)
                })
                .await;
        }
        board.line.send(format!("{line}\n").as_bytes());
        let (ended_with, said) = ended(holding).await;
        assert_eq!(
            (ended_with, said.get("status")),
            (Some(code), Some(&status.into())),
            "{said}"
        );
        client.until_member("/board/waiting", &json!(0)).await;
    }
    assert!(daemon.stop().success());
    assert_eq!(board.line.line_so_far(), None);
}
