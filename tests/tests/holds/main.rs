//! Holds end, whatever becomes of the driver, of the line and of the daemon. The story plays the board, and judges by what its line was sent.

mod clients;
mod send;

use std::path::PathBuf;

use e2e::{Bench, Client, Daemon, DeviceEntry, Terminal, eventually};
use serde_json::{Value, json};

/// Longer than any of these stories takes.
const LONG_MS: u32 = 600_000;

struct Board {
    bench: Bench,
    link: PathBuf,
    line: Terminal,
}

impl Board {
    fn new() -> Self {
        let bench = Bench::new();
        let link = bench.folder().join("line");
        let line = Terminal::create(&link);
        bench.install("holder", &bench.artifacts.fixture("holder"));
        bench.configure(&[DeviceEntry::new("board", "holder", &link)]);
        Self { bench, link, line }
    }

    /// A daemon whose driver has the board.
    async fn start(&self) -> (Daemon, Client) {
        let daemon = self.bench.start();
        let mut client = daemon.client().await;
        until_attached(&mut client).await;
        (daemon, client)
    }

    fn journal(&self) -> PathBuf {
        self.bench.folder().join("data/leases/board.json")
    }

    /// Lets the driver hold a key down.
    fn hold(&mut self, key: u32, ms: u32) {
        self.line.send(format!("hold {key} {ms}\n").as_bytes());
        assert_eq!(self.line.next_line(), format!("down {key}"));
    }

    /// Nothing stands in the journal any more: what undoes the holds has left, and goes out no more.
    async fn until_journal_is_empty(&self) {
        eventually("the journal is empty", async || {
            (!self.journal().exists()).then_some(())
        })
        .await;
    }
}

async fn until_attached(client: &mut Client) {
    client.until_member("/board/attached", &json!(true)).await;
}

async fn until_ended(client: &mut Client, ended: &[&str]) {
    client.until_member("/board/ended", &json!(ended)).await;
}

async fn until_refused(client: &mut Client, words: &str) {
    client
        .until("the refusal", |client| {
            let refused = client.member("/board/refused")?.as_str()?;
            refused.contains(words).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_hold_ends_in_its_time_and_goes_on_over_a_swap() {
    let mut board = Board::new();
    let (daemon, mut client) = board.start().await;
    board.hold(1, LONG_MS);
    board.hold(2, LONG_MS);
    board.hold(3, 300);
    assert_eq!(board.line.next_line(), "up 3");
    until_ended(&mut client, &["3 maximum"]).await;

    board
        .bench
        .install("holder", &board.bench.artifacts.fixture("holder-next"));
    client
        .until_member("/devices/board/driver/lastReload/verdict", &json!("swapped"))
        .await;
    client.until_member("/board/down", &json!([1, 2])).await;
    // The successor knows of it. Nothing was written in between.
    board.line.send(b"let-go 1\n");
    for expected in ["before 1", "up 1", "behind 1"] {
        assert_eq!(board.line.next_line(), expected);
    }
    // A hold that is taken once more ends in its new time, once.
    board.hold(2, 300);
    assert_eq!(board.line.next_line(), "up 2");
    until_ended(&mut client, &["3 maximum", "2 maximum"]).await;
    board.until_journal_is_empty().await;
    assert!(daemon.stop().success());
    assert_eq!(board.line.line_so_far(), None);
}

#[tokio::test]
async fn a_hold_ends_with_a_breakdown_and_with_a_stop_and_the_driver_hears_of_it() {
    let mut board = Board::new();
    let (daemon, mut client) = board.start().await;
    board.hold(1, LONG_MS);
    board.line.send(b"trap\n");
    assert_eq!(board.line.next_line(), "up 1");
    until_ended(&mut client, &["1 driver-failed"]).await;
    client.until_member("/board/down", &json!([])).await;
    board.hold(2, LONG_MS);
    assert!(daemon.stop().success());
    assert_eq!(board.line.next_line(), "up 2");
    board.until_journal_is_empty().await;
    assert_eq!(board.line.line_so_far(), None);
}

#[tokio::test]
async fn a_hold_whose_line_is_lost_is_undone_as_soon_as_it_is_back() {
    let mut board = Board::new();
    let (daemon, mut client) = board.start().await;
    board.hold(1, LONG_MS);
    board.line.close();
    until_ended(&mut client, &["1 port-lost"]).await;
    client.until_member("/board/attached", &json!(false)).await;
    board.line = Terminal::create(&board.link);
    assert_eq!(board.line.next_line(), "up 1");
    board.until_journal_is_empty().await;
    assert!(daemon.stop().success());
    assert_eq!(board.line.line_so_far(), None);
}

#[tokio::test]
async fn what_a_killed_daemon_held_is_undone_by_the_next_and_nothing_else_is_written() {
    let mut board = Board::new();
    let (daemon, _) = board.start().await;
    board.hold(1, LONG_MS);
    board.hold(2, LONG_MS);
    daemon.kill();
    assert!(board.journal().exists());

    let daemon = board.bench.start();
    let mut client = daemon.client().await;
    let mut undone = [board.line.next_line(), board.line.next_line()];
    undone.sort_unstable();
    assert_eq!(undone, ["up 1", "up 2"]);
    until_attached(&mut client).await;
    client.until_member("/board/down", &json!([])).await;
    client
        .until("the log line", |client| {
            client
                .has_logged("the hold 1 of an earlier run is written")
                .then_some(())
        })
        .await;
    board.until_journal_is_empty().await;
    daemon.kill();

    // Nor is it written once more.
    let (daemon, _) = board.start().await;
    board.hold(3, 1);
    assert_eq!(board.line.next_line(), "up 3");
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn what_a_killed_daemon_held_is_undone_although_no_driver_runs() {
    let mut board = Board::new();
    let (daemon, _) = board.start().await;
    board.hold(1, LONG_MS);
    daemon.kill();
    board.bench.install("holder", b"half a file");
    std::fs::remove_dir_all(board.bench.folder().join("data/versions")).unwrap();

    let daemon = board.bench.start();
    assert_eq!(board.line.next_line(), "up 1");
    board.until_journal_is_empty().await;
    let status = daemon.member("/devices/board/status").await;
    assert_ne!(status, Some(json!("running")), "there is no driver");
    // One that comes later takes the line over.
    board
        .bench
        .install("holder", &board.bench.artifacts.fixture("holder"));
    let mut client = daemon.client().await;
    until_attached(&mut client).await;
    board.hold(2, 1);
    assert_eq!(board.line.next_line(), "up 2");
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn what_a_killed_daemon_held_is_undone_although_its_drivers_file_is_gone() {
    let mut board = Board::new();
    let (daemon, _) = board.start().await;
    board.hold(1, LONG_MS);
    daemon.kill();
    std::fs::remove_file(board.bench.plugins().join("holder.wasm")).unwrap();

    let daemon = board.bench.start();
    assert_eq!(board.line.next_line(), "up 1");
    board.until_journal_is_empty().await;
    let status = daemon.member("/devices/board/status").await;
    assert_eq!(status, Some(json!("stopped")));
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn what_was_held_on_another_line_is_told_and_not_written_to_this_one() {
    let mut board = Board::new();
    let (daemon, _) = board.start().await;
    board.hold(1, LONG_MS);
    daemon.kill();
    let elsewhere = board.bench.folder().join("elsewhere");
    let mut other = Terminal::create(&elsewhere);
    board
        .bench
        .configure(&[DeviceEntry::new("board", "holder", &elsewhere)]);

    let daemon = board.bench.start();
    let mut client = daemon.client().await;
    client
        .until("the log line", |client| {
            client.has_logged("the device has no such line now").then_some(())
        })
        .await;
    until_attached(&mut client).await;
    other.send(b"hold 2 1\n");
    assert_eq!(other.next_line(), "down 2");
    assert_eq!(other.next_line(), "up 2");
    let alarms = client.member("/alarms").and_then(Value::as_object);
    let is_raised = alarms.is_some_and(|alarms| alarms.contains_key("board:hold-not-undone"));
    assert!(is_raised, "it stands as an alarm: {alarms:?}");
    assert!(daemon.stop().success());
    let journal: Value = serde_json::from_slice(&std::fs::read(board.journal()).unwrap()).unwrap();
    assert_eq!(
        journal.pointer("/holds/0/lease"),
        Some(&json!(1)),
        "it is kept: {journal}"
    );
    assert_eq!(journal.pointer("/holds/1"), None);
    assert_eq!(other.line_so_far(), None);
}

#[tokio::test]
async fn no_more_than_sixteen_are_open_and_what_is_out_of_range_is_refused_with_the_bounds() {
    let mut board = Board::new();
    let (daemon, mut client) = board.start().await;
    for key in 1..=16 {
        board.hold(key, LONG_MS);
    }
    board.line.send(b"hold 17 1000\n");
    until_refused(&mut client, "Full").await;
    board.line.send(b"hold 1 600001\n");
    until_refused(&mut client, "from 1 to 600000").await;
    assert!(daemon.stop().success());
    let undone: Vec<_> = (1..=16).map(|_| board.line.next_line()).collect();
    assert!(undone.iter().all(|line| line.starts_with("up ")), "{undone:?}");
    board.until_journal_is_empty().await;
}

#[tokio::test]
async fn a_hold_that_cannot_be_written_down_does_not_begin() {
    let mut board = Board::new();
    let (daemon, mut client) = board.start().await;
    // Where the folder of the journals has to be is a file: as on a full disk, nothing can be written.
    let folder = board.bench.folder().join("data/leases");
    std::fs::write(&folder, "").unwrap();
    board.line.send(b"hold 1 1000\n");
    until_refused(&mut client, "cannot be written down").await;
    assert_eq!(board.line.line_so_far(), None, "nothing is held");
    std::fs::remove_file(&folder).unwrap();
    board.hold(1, 1);
    assert_eq!(board.line.next_line(), "up 1");
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_hold_on_a_line_that_is_away_when_its_driver_goes_is_undone_when_it_is_back() {
    let mut board = Board::new();
    let (daemon, mut client) = board.start().await;
    board.hold(1, LONG_MS);
    board.line.close();
    client.until_member("/board/attached", &json!(false)).await;
    std::fs::remove_file(board.bench.plugins().join("holder.wasm")).unwrap();
    client
        .until_member("/devices/board/status", &json!("stopped"))
        .await;
    board.line = Terminal::create(&board.link);
    assert_eq!(board.line.next_line(), "up 1");
    board.until_journal_is_empty().await;
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn holds_without_end_in_one_call_are_bounded_and_each_is_undone() {
    let mut board = Board::new();
    let (daemon, mut client) = board.start().await;
    board.line.send(b"flood 12000\n");
    until_refused(&mut client, "Full").await;
    let journal = std::fs::metadata(board.journal()).map_or(0, |journal| journal.len());
    assert!(journal < 100_000, "{journal} bytes");
    assert!(daemon.stop().success());
    let mut undone = 0;
    while let Some(line) = board.line.line_so_far() {
        assert_eq!(line, "up 1");
        undone += 1;
    }
    assert!((1..=16).contains(&undone), "{undone} were undone");
    board.until_journal_is_empty().await;
}

#[tokio::test]
async fn a_driver_that_holds_something_with_its_last_words_leaves_nothing_held() {
    let mut board = Board::new();
    let (daemon, mut client) = board.start().await;
    board.line.send(b"hold-at-stop\n");
    client
        .until_member("/board/refused", &json!("nothing, until it stops"))
        .await;
    assert!(daemon.stop().success());
    assert_eq!(
        [board.line.next_line(), board.line.next_line()],
        ["down 99", "up 99"]
    );
    board.until_journal_is_empty().await;
}
