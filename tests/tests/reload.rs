//! New versions while rows stream.
//!
//! Covered: a good file dropped in thirty times under load loses and doubles no row; everything that is no driver leaves the old one streaming,
//! with its reason in state and log; a plugin that nobody names is shown as unbound; a removed file stops its driver and marks its slice stale.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use e2e::{Bench, Client, DeviceEntry, Journal, Metered, Probe, Terminal, eventually, is_long, variant_of};
use serde_json::{Value, json};

const SEED: u64 = 20_260_101;
/// How long the daemon waits with the checkpoint of a driver that does something.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

fn rows_of(client: &Client, endpoint: u64) -> Vec<u64> {
    client
        .samples
        .get(&endpoint)
        .into_iter()
        .flatten()
        .map(|(_, value)| (value * 10.0).round() as u64)
        .collect()
}

/// Every row that the journal calls readable came once, and no other.
fn assert_equal_rows(journal: &Journal, rows: &[u64]) {
    let received: BTreeSet<u64> = rows.iter().copied().collect();
    assert_eq!(received.len(), rows.len(), "a row came twice");
    assert!(rows.is_sorted(), "rows came out of order");
    assert!(journal.readable() == received, "{}", journal.explain(&received));
}

#[tokio::test]
async fn swaps_under_load_lose_and_double_nothing() {
    let swaps = if is_long() { 300 } else { 30 };
    println!("seed {SEED}, {swaps} swaps");
    // Two hundred rows per second, cut and joined and with junk between them.
    let Metered {
        bench,
        mut sim,
        plugin: meter,
        daemon: _daemon,
        mut client,
        energy,
    } = Metered::start(200.0, SEED, "split,joined,headless,garbage,nuls:20").await;
    let mut generation = client
        .member("/devices/meter/driver/generation")
        .and_then(Value::as_u64)
        .expect("a generation");
    for number in 1..=swaps {
        let before = client.member("/devices/meter/driver/lastReload/to").cloned();
        bench.install("power-meter", &variant_of(&meter, number));
        generation += 1;
        client
            .until(&format!("swap {number}"), |client| {
                let to = client.member("/devices/meter/driver/lastReload/to");
                (to.is_some() && to != before.as_ref()).then_some(())
            })
            .await;
        assert_eq!(
            client.member("/devices/meter/driver/lastReload/verdict"),
            Some(&json!("swapped")),
            "swap {number}"
        );
        assert_eq!(
            client.member("/devices/meter/driver/generation"),
            Some(&json!(generation)),
            "swap {number}"
        );
    }
    sim.ask("pause");
    let rows = sim.ask("stats")["rows"].as_u64().expect("rows");
    let journal = sim.finish();
    let last = *journal.readable().last().expect("a row");
    assert!(rows >= last);
    client
        .until("the last row", |client| {
            rows_of(client, energy).contains(&last).then_some(())
        })
        .await;
    assert_equal_rows(&journal, &rows_of(&client, energy));
    println!(
        "{} rows, {} of them readable, {swaps} swaps",
        journal.verdicts.len(),
        journal.readable().len()
    );
}

#[tokio::test]
async fn what_is_no_driver_leaves_the_old_one_streaming() {
    let Metered {
        bench,
        sim,
        plugin: meter,
        daemon,
        mut client,
        energy,
    } = Metered::start(50.0, SEED, "none").await;
    let generation = client.member("/devices/meter/driver/generation").cloned();
    let path = bench.plugins().join("power-meter.wasm");

    let refused = async |client: &mut Client, what: &str, reason: &str| {
        client
            .until(&format!("{what} is refused"), |client| {
                let shown = client.member("/plugins/power-meter/reason")?.as_str()?;
                (shown.contains(reason) && client.has_logged(reason)).then_some(())
            })
            .await;
        // Plugin and device are told in a version each.
        client
            .until_member("/plugins/power-meter/status", &json!("refused"))
            .await;
        client
            .until_member("/devices/meter/driver/lastReload/verdict", &json!("refused"))
            .await;
        assert_eq!(
            client.member("/devices/meter/driver/generation"),
            generation.as_ref(),
            "{what}"
        );
        let before = rows_of(client, energy).len();
        client
            .until("more rows", |client| {
                (rows_of(client, energy).len() > before + 3).then_some(())
            })
            .await;
    };

    bench.install("power-meter", &meter[..meter.len() / 2]);
    refused(&mut client, "a truncated file", "core module").await;
    bench.install("power-meter", &[0; 4096]);
    refused(&mut client, "zeros", "no WebAssembly").await;
    bench.install("power-meter", &bench.artifacts.fixture("foreign-world"));
    refused(
        &mut client,
        "a component of another world",
        "no driver of the world",
    )
    .await;
    bench.install("power-meter", &bench.artifacts.fixture("trap-in-start"));
    // It does not say how little memory is enough for it, as the meter's driver does, so a person is asked.
    client
        .until_member("/plugins/power-meter/status", &json!("waiting-for-consent"))
        .await;
    let granted = bench.ask(&daemon, &["plugin", "grant", "power-meter"]).await;
    assert_eq!(granted.code, Some(1), "{granted:?}");
    refused(&mut client, "a driver that traps in start", "trap in `start`").await;
    bench.install("power-meter", &bench.artifacts.fixture("refuses"));
    refused(&mut client, "a driver that refuses", "this driver never starts").await;
    std::fs::remove_file(&path).expect("the file is there");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        &path,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
    )
    .expect("a pipe");
    refused(&mut client, "a pipe", "a pipe").await;
    std::fs::remove_file(&path).expect("the pipe is there");
    std::os::unix::fs::symlink("/etc/hostname", &path).expect("a link");
    refused(&mut client, "a link", "symbolic link").await;

    // The same bad file once more is refused once more, and an edit of the device does not start it either.
    std::fs::remove_file(&path).expect("the link is there");
    for _ in 0..2 {
        bench.install("power-meter", &bench.artifacts.fixture("refuses"));
        refused(&mut client, "a driver that refuses", "this driver never starts").await;
    }
    // What runs already is taken back without a swap.
    bench.install("power-meter", &meter);
    client
        .until_member("/plugins/power-meter/status", &json!("bound"))
        .await;
    assert_eq!(
        client.member("/devices/meter/driver/generation"),
        generation.as_ref()
    );
    assert_eq!(
        client.member("/plugins/power-meter/sha256"),
        client.member("/devices/meter/driver/sha256")
    );
    // Nothing is left to warn of.
    client
        .until("the refusal is gone", |client| {
            let driver = client.member("/devices/meter/driver")?;
            driver.get("lastReload").is_none().then_some(())
        })
        .await;

    // Nothing was lost over all of it, and another good file is swapped in.
    bench.install("power-meter", &variant_of(&meter, 1));
    client
        .until_member("/plugins/power-meter/status", &json!("bound"))
        .await;
    client
        .until_member("/devices/meter/driver/lastReload/verdict", &json!("swapped"))
        .await;
    let journal = sim.finish();
    let last = *journal.readable().last().expect("a row");
    client
        .until("the last row", |client| {
            rows_of(client, energy).contains(&last).then_some(())
        })
        .await;
    assert_equal_rows(&journal, &rows_of(&client, energy));
}

#[tokio::test]
async fn files_come_and_go_without_a_restart_of_anything_else() {
    let Probe {
        bench,
        mut line,
        daemon: _daemon,
        mut client,
    } = Probe::start("counter").await;
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    client
        .until_member("/plugins/power-meter/status", &json!("unbound"))
        .await;
    assert_eq!(
        client.member("/plugins/power-meter/manifest/name"),
        Some(&json!("power-meter"))
    );
    line.send(b"1\n");
    client.until_member("/probe/bytes", &json!(2)).await;
    std::fs::remove_file(bench.plugins().join("counter.wasm")).expect("the file is there");
    client
        .until_member("/devices/probe/status", &json!("stopped"))
        .await;
    // The port is let go of when the driver has stopped.
    client
        .until_member("/devices/probe/ports/main/attached", &json!(false))
        .await;
    assert!(client.member("/devices/probe/staleSince").is_some());
    assert_eq!(client.member("/devices/probe/phase"), None);
    let generation = client
        .member("/devices/probe/driver/generation")
        .and_then(Value::as_u64);
    assert_eq!(client.member("/probe/bytes"), Some(&json!(2)), "the slice stays");
    bench.install("counter", &bench.artifacts.fixture("counter"));
    client
        .until_member("/devices/probe/status", &json!("running"))
        .await;
    assert_eq!(client.member("/devices/probe/staleSince"), None);
    assert!(
        client
            .member("/devices/probe/driver/generation")
            .and_then(Value::as_u64)
            > generation,
        "it only ever rises"
    );
    // A name that no plugin can have is told.
    std::fs::write(bench.plugins().join("__proto__.wasm"), b"x").unwrap();
    client
        .until("the refusal of the name", |client| {
            client.has_logged("would poison a mirror").then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_plugin_folder_that_was_moved_away_and_back_is_watched_as_before() {
    let Probe {
        bench,
        mut line,
        daemon: _daemon,
        mut client,
    } = Probe::start("counter").await;
    let aside = bench.folder().join("aside");
    std::fs::rename(bench.plugins(), &aside).unwrap();
    client
        .until("the loss", |client| {
            client.has_logged("drivers go on").then_some(())
        })
        .await;
    line.send(b"1\n");
    client.until_member("/probe/bytes", &json!(2)).await;
    std::fs::rename(&aside, bench.plugins()).unwrap();
    client
        .until("the return", |client| client.has_logged("is back").then_some(()))
        .await;
    bench.install("counter", &bench.artifacts.fixture("counter-next"));
    client
        .until_member("/devices/probe/driver/version", &json!("2.0.0"))
        .await;
    client.until_member("/probe/bytes", &json!(2)).await;
}

/// What comes from the line and goes to it over a version that fails on probation: the slice is what the former version alone would show, with
/// what the failed one did to it gone, and nothing is written twice.
#[tokio::test]
async fn a_version_that_returns_is_as_if_it_had_never_been_replaced() {
    const TRIGGER: u8 = 0x07;
    let bench = Bench::new();
    let link = bench.folder().join("line");
    let mut line = Terminal::create(&link);
    bench.install("answers", &bench.artifacts.fixture("answers"));
    bench.configure(&[DeviceEntry::new("probe", "answers", &link)]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    client.until_member("/probe/attached", &json!(true)).await;
    let good = client.member("/devices/probe/driver/sha256").cloned();
    let record = bench.folder().join("data/versions/probe.json");
    eventually("the record of a good version", async || {
        let record: Value = serde_json::from_slice(&std::fs::read(&record).ok()?).ok()?;
        (record["good"].get(0) == good.as_ref()).then_some(())
    })
    .await;
    let series = client.endpoint("probe", "line");
    client.subscribe(&[series]).await;
    // Whole lines and one that has only begun.
    let mut all = Vec::new();
    let mut send = |line: &mut Terminal, bytes: &[u8]| {
        line.send(bytes);
        all.extend_from_slice(bytes);
    };
    send(&mut line, b"1\n2\n3");
    assert_eq!([line.next_line(), line.next_line()], ["ok 1", "ok 2"]);
    client.until_member("/probe/bytes", &json!(5)).await;

    bench.install("answers", &bench.artifacts.fixture("answers-wrongly"));
    client
        .until_member("/devices/probe/driver/lastReload/verdict", &json!("swapped"))
        .await;
    send(&mut line, b"4\n");
    assert_eq!(line.next_line(), "ok 34");
    let mut expected = vec![1.0, 2.0, 34.0];
    // For longer than it is until its memory and its wrong slice are in a checkpoint.
    let begin = Instant::now();
    for row in 100.. {
        send(&mut line, format!("{row}\n").as_bytes());
        assert_eq!(line.next_line(), format!("ok {row}"));
        expected.push(f64::from(row));
        if begin.elapsed() > 3 * CHECKPOINT_EVERY {
            break;
        }
    }
    client
        .until("a wrong slice", |client| {
            (client.member("/probe/lastLine") == Some(&Value::Null)).then_some(())
        })
        .await;

    // It has cleared the former one's alarm, raised one of its own, and raised none over the line that the former one takes amiss.
    let alarms = |client: &Client| -> Vec<String> {
        let standing = client.member("/alarms").and_then(Value::as_object);
        standing
            .into_iter()
            .flatten()
            .map(|(key, _)| key.clone())
            .collect()
    };
    assert_eq!(alarms(&client), ["probe:miscounting"]);

    send(&mut line, &[b'6', b'\n', TRIGGER, b'\n', b'7', b'\n']);
    client
        .until_member("/devices/probe/driver/lastReload/verdict", &json!("returned"))
        .await;
    assert_eq!(client.member("/devices/probe/driver/lastReload/reason"), None);
    assert_eq!(client.member("/devices/probe/driver/sha256").cloned(), good);
    client
        .until("the alarms of the version that is back", |client| {
            let mut standing = alarms(client);
            standing.sort();
            (standing == ["probe:answering", "probe:hundred"]).then_some(())
        })
        .await;
    // What came in one piece with the trigger was never answered, and is now; nothing else is answered again.
    let answers: Vec<String> = (0..3).map(|_| line.next_line()).collect();
    assert_eq!(answers, ["ok 6", "ok \u{7}", "ok 7"]);
    send(&mut line, b"8\n");
    assert_eq!(line.next_line(), "ok 8");
    expected.extend([6.0, 7.0, 8.0]);
    client.until_member("/probe/lastLine", &json!("8")).await;
    client.until_member("/probe/bytes", &json!(all.len())).await;
    let lines = all.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(client.member("/probe/hash"), Some(&json!(hash(&all))));
    assert_eq!(client.member("/probe/lines"), Some(&json!(lines)));
    assert_eq!(client.member("/probe/missing"), Some(&json!(0)));
    let values = |client: &Client| -> Vec<f64> {
        let samples = client.samples.get(&series).into_iter().flatten();
        samples.map(|(_, value)| *value).collect()
    };
    client
        .until("all samples", |client| {
            (values(client).len() >= expected.len()).then_some(())
        })
        .await;
    assert_eq!(values(&client), expected);
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_version_that_takes_long_to_say_what_it_is_goes_on_where_the_former_was() {
    let bench = Bench::new();
    let link = bench.folder().join("line");
    let mut line = Terminal::create(&link);
    bench.install("counter", &bench.artifacts.fixture("counter"));
    bench.configure(&[DeviceEntry::new("probe", "counter", &link)]);
    let daemon = bench.start();
    let mut client = daemon.client().await;
    client.until_member("/probe/attached", &json!(true)).await;
    line.send(b"1\n2");
    client.until_member("/probe/bytes", &json!(3)).await;
    bench.install("counter", &bench.artifacts.fixture("slow-to-say"));
    client
        .until_member("/devices/probe/driver/version", &json!("3.0.0"))
        .await;
    assert_eq!(
        client.member("/devices/probe/driver/lastReload/verdict"),
        Some(&json!("swapped"))
    );
    line.send(b"3\n");
    client.until_member("/probe/bytes", &json!(5)).await;
    assert_eq!(client.member("/probe/hash"), Some(&json!(hash(b"1\n23\n"))));
    assert_eq!(client.member("/probe/lines"), Some(&json!(2)));
}

/// FNV-1a, 32 bits.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[tokio::test]
async fn a_version_is_swapped_in_although_its_code_cannot_be_kept() {
    let Probe {
        bench,
        mut line,
        daemon,
        mut client,
    } = Probe::start("counter").await;
    // As a full disk: nothing can be written there, whoever writes.
    let code = bench.folder().join("data/code");
    std::fs::remove_dir_all(&code).unwrap();
    std::fs::write(&code, b"").unwrap();
    let next = bench.artifacts.fixture("counter-next");
    bench.install("counter", &next);
    client
        .until_member("/devices/probe/driver/lastReload/verdict", &json!("swapped"))
        .await;
    line.send(b"12\n");
    client.until_member("/probe/bytes", &json!(3)).await;
    client
        .until("the warning", |client| {
            client.has_logged("the cache of compiled code").then_some(())
        })
        .await;
    assert!(daemon.stop().success());
}
