//! Drivers that are not written in Rust.
//!
//! Covered: the power meter in Python takes over from the one in Rust while rows stream, and gives back to it, with the same slice, series and
//! snapshot, and no row is lost or doubled by the emulator's journal; with `--long`, a relay board in JavaScript takes over from one in Rust while
//! a pulse runs, ends it, and takes commands.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use e2e::{Artifacts, Bench, Client, Daemon, DeviceEntry, Metered, Terminal, is_long};
use serde_json::{Value, json};

const SEED: u64 = 20_260_102;
/// A component with an interpreter in it takes its ten seconds to compile, at a low priority.
const COMPILING: Duration = Duration::from_secs(300);
/// Rows that each version is to deal with before the next one takes over.
const ROWS_EACH: usize = 100;
const ROUNDS: usize = 3;

fn rows_of(client: &Client, endpoint: u64) -> Vec<u64> {
    let samples = client.samples.get(&endpoint).into_iter().flatten();
    samples.map(|(_, value)| (value * 10.0).round() as u64).collect()
}

fn reload(client: &Client, member: &str) -> Option<Value> {
    client
        .member(&format!("/devices/meter/driver/lastReload/{member}"))
        .cloned()
}

/// An interpreter wants more memory than the driver in Rust, so a person is asked.
async fn consent_to_memory(bench: &Bench, daemon: &Daemon, client: &mut Client) {
    let place = "/plugins/power-meter/waiting/wants";
    client
        .until_within(COMPILING, "what it waits for", |client| {
            client.member(place).map(|_| ())
        })
        .await;
    let wants = client.member(place).and_then(Value::as_array).cloned();
    let kinds: Vec<_> = wants.iter().flatten().map(|want| &want["kind"]).collect();
    assert_eq!(kinds, [&json!("memory-bytes")]);
    let granted = bench.ask(daemon, &["plugin", "grant", "power-meter"]).await;
    assert_eq!(granted.code, Some(0), "{granted:?}");
}

#[tokio::test]
async fn the_power_meter_in_python_takes_over_and_gives_back_without_losing_a_row() {
    let python = Artifacts::example("power-meter-python");
    println!("seed {SEED}");
    let Metered {
        bench,
        mut sim,
        plugin: rust,
        daemon,
        mut client,
        energy,
    } = Metered::start(100.0, SEED, "split,joined,headless,garbage,nuls:20").await;
    let schema = |client: &Client| {
        client
            .member("/plugins/power-meter/manifest/sliceSchema")
            .cloned()
            .expect("a schema")
    };
    let schema_in_rust = schema(&client);
    for round in 0..ROUNDS {
        for (language, file) in [("Python", &python), ("Rust", &rust)] {
            let before = reload(&client, "at");
            let begin = Instant::now();
            bench.install("power-meter", file);
            let what = format!("{language} takes over in round {round}");
            if round == 0 && language == "Python" {
                consent_to_memory(&bench, &daemon, &mut client).await;
            }
            client
                .until_within(COMPILING, &what, |client| {
                    (reload(client, "at") != before).then_some(())
                })
                .await;
            assert_eq!(reload(&client, "verdict"), Some(json!("swapped")), "{what}");
            println!(
                "{what}: {} bytes, after {} ms, paused for {} us",
                file.len(),
                begin.elapsed().as_millis(),
                reload(&client, "pauseUs").unwrap_or_default()
            );
            assert_eq!(schema(&client), schema_in_rust, "{what}");
            let known = rows_of(&client, energy).len();
            client
                .until("its rows", |client| {
                    (rows_of(client, energy).len() >= known + ROWS_EACH).then_some(())
                })
                .await;
        }
    }
    // It was never asked to stream anew, and says so itself: whoever took over went on.
    assert!(!client.has_logged("identifying it again"));
    sim.ask("pause");
    let journal = sim.finish();
    let last = *journal.readable().last().expect("a row");
    client
        .until("the last row", |client| {
            rows_of(client, energy).contains(&last).then_some(())
        })
        .await;
    let rows = rows_of(&client, energy);
    let received: BTreeSet<u64> = rows.iter().copied().collect();
    assert_eq!(received.len(), rows.len(), "a row came twice");
    assert!(rows.is_sorted(), "rows came out of order");
    assert!(journal.readable() == received, "{}", journal.explain(&received));
    println!("{} rows, {} of them readable", journal.verdicts.len(), rows.len());
    assert!(daemon.stop().success());
}

async fn send(client: &mut Client, name: &str, arguments: Value) {
    client
        .send(&json!({"type": "command", "device": "relay", "name": name, "args": arguments}))
        .await;
}

/// Waits for a line such as `on ID`, and gives the id.
fn hear(board: &mut Terminal, word: &str) -> String {
    let line = board.next_line();
    let (heard, id) = line.split_once(' ').unwrap_or_default();
    assert_eq!(heard, word, "{line:?}");
    id.to_owned()
}

async fn until_stage(client: &mut Client, id: &str, status: &str) {
    client
        .until(&format!("{id} {status}"), |client| {
            client
                .stages
                .iter()
                .any(|stage| stage["commandId"] == id && stage["status"] == status)
                .then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_relay_board_in_javascript_takes_over_a_pulse_and_takes_commands() {
    if !is_long() {
        println!("only with --long, which builds the driver");
        return;
    }
    let javascript = Artifacts::example("relay-javascript");
    let bench = Bench::new();
    let link = bench.folder().join("board");
    let mut board = Terminal::create(&link);
    bench.install("relay", &bench.artifacts.fixture("relay"));
    bench.configure(&[DeviceEntry::new("relay", "relay", &link)]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    client.until_member("/devices/relay/phase", &json!("ready")).await;
    send(&mut client, "pulse", json!({"ms": 25_000})).await;
    let pulse = hear(&mut board, "on");
    let begin = Instant::now();
    bench.install("relay", &javascript);
    client
        .until_within(COMPILING, "JavaScript takes over", |client| {
            let verdict = client.member("/devices/relay/driver/lastReload/verdict");
            (verdict == Some(&json!("swapped"))).then_some(())
        })
        .await;
    println!(
        "JavaScript takes over: {} bytes, after {} ms, paused for {} us",
        javascript.len(),
        begin.elapsed().as_millis(),
        client
            .member("/devices/relay/driver/lastReload/pauseUs")
            .cloned()
            .unwrap_or_default()
    );
    until_stage(&mut client, &pulse, "succeeded").await;
    assert_eq!(hear(&mut board, "off"), pulse);
    send(&mut client, "on", json!({})).await;
    let on = hear(&mut board, "on");
    board.send(format!("ack {on}\ndone {on} true\n").as_bytes());
    until_stage(&mut client, &on, "succeeded").await;
    client.until_member("/relay/on", &json!(true)).await;
    client.until_member("/relay/commands", &json!(2)).await;
    board.close();
    client
        .until_member("/devices/relay/phase", &json!("disconnected"))
        .await;
    assert!(daemon.stop().success());
}
