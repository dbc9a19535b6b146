//! A driver that is swapped again and again while a megabyte comes in every second, between versions that differ; every tenth one traps in the
//! middle of it and gives way to the one before. The series is that of a driver to which nothing happened, row by row, and so is the slice.
//!
//! Forty swaps, a thousand with `AUTOBENCH_LONG=1`. `AUTOBENCH_SEED=n` repeats the lines and where they are cut.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use e2e::{Bench, Client, DeviceEntry, Random, Terminal, given_seed, is_long, new_seed, variant_of};
use serde_json::{Value, json};

const TRIGGER: u8 = 0x07;
const BYTES_PER_S: f64 = 1e6;
/// How long the writer lets the line rest between two portions.
const PORTION: Duration = Duration::from_millis(1);

/// What is asked of the writer.
enum Ask {
    /// A line with the trigger in it.
    Trigger,
    /// To end, and say what it has sent.
    End,
}

/// Everything that went over the line.
struct Sent {
    bytes: Vec<u8>,
    lines: u64,
    /// Each line that is a number, in order: 1, 2, 3 and so on.
    rows: u64,
}

/// Writes lines of 20 to 180 bytes, each a number, in pieces that end anywhere, at the rate of the line.
fn write_lines(mut line: Terminal, asked: &Receiver<Ask>, mut random: Random) -> Sent {
    let mut sent = Sent {
        bytes: Vec::new(),
        lines: 0,
        rows: 0,
    };
    let mut waiting = Vec::new();
    let begin = Instant::now();
    let mut is_over = false;
    loop {
        // It is the line's rate that is waited for, not the daemon.
        match asked.recv_timeout(PORTION) {
            Ok(Ask::Trigger) => {
                waiting.extend_from_slice(&[b'x', TRIGGER, b'\n']);
                sent.lines += 1;
            }
            Ok(Ask::End) | Err(RecvTimeoutError::Disconnected) => is_over = true,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let due = (begin.elapsed().as_secs_f64() * BYTES_PER_S) as usize;
        while !is_over && sent.bytes.len() + waiting.len() < due {
            sent.rows += 1;
            sent.lines += 1;
            let width = 19 + random.below(160);
            let rows = sent.rows;
            waiting.extend_from_slice(format!("{rows:<width$}\n").as_bytes());
        }
        // The rest waits for the next portion.
        let end = if is_over {
            waiting.len()
        } else {
            random.below(waiting.len() + 1)
        };
        let rest = waiting.split_off(end);
        line.send(&waiting);
        sent.bytes.append(&mut waiting);
        waiting = rest;
        if is_over {
            line.wait_until_read();
            return sent;
        }
    }
}

fn reload<'a>(client: &'a Client, member: &str) -> Option<&'a Value> {
    client.member(&format!("/devices/probe/driver/lastReload/{member}"))
}

/// Installs a file, and waits until it runs.
async fn swap_to(bench: &Bench, client: &mut Client, file: &[u8]) {
    let at = reload(client, "at").cloned();
    let from = client.member("/devices/probe/driver/sha256").cloned();
    bench.install("counter", file);
    client
        .until("the swap", |client| {
            let is_new = reload(client, "at").cloned() != at || reload(client, "from").cloned() == from;
            (is_new && client.member("/devices/probe/driver/sha256").cloned() != from).then_some(())
        })
        .await;
    assert_eq!(reload(client, "verdict"), Some(&json!("swapped")));
}

fn quantile(sorted: &[u64], per_cent: usize) -> u64 {
    let at = (sorted.len() - 1) * per_cent / 100;
    sorted.get(at).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_megabyte_a_second_over_swaps_and_traps_is_read_as_if_nothing_had_happened() {
    let swaps = if is_long() { 1000 } else { 40 };
    let seed = given_seed().unwrap_or_else(new_seed);
    println!("seed {seed}, {swaps} swaps");
    let bench = Bench::new();
    let versions = ["counter", "counter-next"].map(|stem| bench.artifacts.fixture(stem));
    let trap = bench.artifacts.fixture("trap-on-byte");
    bench.install("counter", &versions[0]);
    let link = bench.folder().join("line");
    let line = Terminal::create(&link);
    let mut device = DeviceEntry::new("probe", "counter", &link);
    // The size of the ring goes by the rate of the line.
    device.more = "baud-rate = 10000000".to_owned();
    bench.configure(&[device]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    client.until_member("/probe/attached", &json!(true)).await;
    let series = client.endpoint("probe", "line");
    client.subscribe(&[series]).await;

    let (ask, asked): (Sender<Ask>, Receiver<Ask>) = channel();
    let random = Random::new(seed);
    let writer = std::thread::spawn(move || write_lines(line, &asked, random));
    let (mut pauses, mut carried, mut returns) = (Vec::new(), 0, Vec::new());
    let mut running = 0;
    for number in 1..=swaps {
        if number % 10 == 0 {
            // What has trapped once is not run again, so each is a file of its own.
            swap_to(&bench, &mut client, &variant_of(&trap, number)).await;
            ask.send(Ask::Trigger).expect("the writer writes");
            client
                .until("the return", |client| {
                    (reload(client, "verdict") == Some(&json!("returned"))).then_some(())
                })
                .await;
            assert_eq!(reload(&client, "reason"), None, "it comes back as it was");
            returns.push(
                reload(&client, "pauseUs")
                    .and_then(Value::as_u64)
                    .expect("a pause"),
            );
        } else {
            running = 1 - running;
            swap_to(&bench, &mut client, &versions[running]).await;
            pauses.push(
                reload(&client, "pauseUs")
                    .and_then(Value::as_u64)
                    .expect("a pause"),
            );
        }
        carried += reload(&client, "carriedBytes")
            .and_then(Value::as_u64)
            .expect("a count");
    }
    ask.send(Ask::End).expect("the writer writes");
    let sent = client
        .beside(async { tokio::task::spawn_blocking(move || writer.join()).await })
        .await;
    let sent = sent.expect("it is waited for").expect("the writer ends");
    client
        .until_member("/probe/bytes", &json!(sent.bytes.len()))
        .await;
    client.until_member("/probe/lines", &json!(sent.lines)).await;
    assert_eq!(client.member("/probe/hash"), Some(&json!(hash(&sent.bytes))));
    assert_eq!(client.member("/probe/missing"), Some(&json!(0)));
    client
        .until("the last row", |client| {
            let last = client.samples.get(&series)?.last()?.1;
            (last >= sent.rows as f64).then_some(())
        })
        .await;
    let rows: Vec<u64> = client.samples[&series]
        .iter()
        .map(|(_, value)| *value as u64)
        .collect();
    let first_wrong = rows.iter().zip(1..).find(|(row, expected)| *row != expected);
    assert_eq!(first_wrong, None, "of {} rows, {} came", sent.rows, rows.len());
    assert_eq!(rows.len() as u64, sent.rows);
    pauses.sort_unstable();
    returns.sort_unstable();
    println!(
        "{} bytes, {} rows, {} swaps and {} returns, {carried} bytes carried; paused {} us at p50, {} at p99, {} at most; for a return {} at p50, {} at most",
        sent.bytes.len(),
        sent.rows,
        pauses.len() + returns.len(),
        returns.len(),
        quantile(&pauses, 50),
        quantile(&pauses, 99),
        quantile(&pauses, 100),
        quantile(&returns, 50),
        quantile(&returns, 100),
    );
    assert!(daemon.stop().success());
}

/// FNV-1a, 32 bits.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
