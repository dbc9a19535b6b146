//! The page in Chromium, served by the public binary under its content policy.
//!
//! Covered: watts that change; compressed messages that the browser reads; two browsers and the daemon that agree while the meter is silent; a
//! reload that loses no sample; a daemon that is killed and comes back; a connection that breaks; a page that fits a phone.
//!
//! With `AUTOBENCH_SCREENSHOTS=<absolute folder>` the last story leaves pictures there.

use std::path::PathBuf;

use e2e::{Bench, Browser, Daemon, DeviceEntry, Relay, Sim, canonical, eventually, get};
use serde_json::Value;

/// Rows per second: enough to see change soon, and few enough to be read one by one.
const SPEED: f64 = 20.0;

/// A bench with a simulated meter.
fn bench(seed: u64) -> (Bench, Sim) {
    let bench = Bench::new();
    let sim = Sim::start(&bench.artifacts, bench.folder(), SPEED, seed, "none");
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    bench.configure(&[DeviceEntry::meter(sim.link())]);
    (bench, sim)
}

async fn watts_endpoint(daemon: &Daemon) -> u64 {
    eventually("the series of watts", async || {
        daemon
            .member("/devices/meter/series/watts/endpointId")
            .await?
            .as_u64()
    })
    .await
}

/// Waits until the number on the page has changed that many times.
fn until_watts_change(browser: &mut Browser, changes: usize) {
    let mut shown = Vec::new();
    browser.until(&format!("{changes} changes of the watts"), |look| {
        if look.is_live() && shown.last() != Some(&look.watts) {
            shown.push(look.watts.clone());
        }
        (shown.len() > changes).then_some(())
    });
}

#[tokio::test]
async fn the_page_shows_watts_that_change() {
    let (bench, _sim) = bench(11);
    let daemon = bench.start();
    let mut browser = Browser::open(&daemon.url());
    until_watts_change(&mut browser, 2);
    browser.until("a chart of the samples, and a page at rest", |look| {
        (look.chart_samples >= 10 && look.phase == "streaming" && look.link == "Live").then_some(())
    });
    // The number is the meter's and no decoration: the rest of an idle PC to the peak of a busy one.
    let watts = browser.look().number().expect("watts");
    assert!((20.0..200.0).contains(&watts), "{watts} W");
    let boot_id = daemon.member("/meta/bootId").await.expect("a boot id");
    assert_eq!(Value::from(browser.look().boot_id), boot_id);
    assert_eq!(browser.complaints(), [""; 0]);
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn two_browsers_and_the_daemon_agree_while_the_meter_is_silent() {
    let (bench, mut sim) = bench(12);
    let daemon = bench.start();
    let mut left = Browser::open(&daemon.url());
    let mut right = Browser::open_sized(&daemon.url(), 360, 780);
    until_watts_change(&mut left, 2);
    until_watts_change(&mut right, 2);
    sim.ask("pause");
    // The host's own counters may move between two looks, so all three are asked until they speak of one version.
    eventually("both pages and the daemon at one version", async || {
        let (left_document, left_watts) = left.document();
        let (right_document, right_watts) = right.document();
        let state = daemon.state().await;
        let version = state["version"].as_u64().expect("a version");
        let same = [&left_document, &right_document]
            .iter()
            .all(|document| document["version"].as_u64() == Some(version));
        let text = format!("{:.1}", state.pointer("/powerMeter/lastSample/watts")?.as_f64()?);
        // The text follows the mirror with the browser's next frame.
        (same && left_watts == text && right_watts == text).then(|| {
            assert_eq!(canonical(&left_document), canonical(&state), "the left page");
            assert_eq!(canonical(&right_document), canonical(&state), "the right page");
        })
    })
    .await;
    sim.ask("resume");
    until_watts_change(&mut left, 2);
    until_watts_change(&mut right, 2);
    assert_eq!(left.complaints(), [""; 0]);
    assert_eq!(right.complaints(), [""; 0]);
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn the_browser_reads_compressed_messages_and_its_mirror_is_exact() {
    let (bench, mut sim) = bench(16);
    let daemon = bench.start();
    let mut left = Browser::open(&daemon.url());
    let mut right = Browser::open(&daemon.url());
    // Both become members of one context, one leaves it with its page and joins anew.
    until_watts_change(&mut left, 5);
    until_watts_change(&mut right, 5);
    right.reload();
    until_watts_change(&mut right, 5);
    for (browser, handshakes) in [(&mut left, 1), (&mut right, 2)] {
        let agreed = "permessage-deflate; client_no_context_takeover".to_owned();
        assert_eq!(browser.extensions(), vec![agreed; handshakes]);
    }
    // That it is agreed on is not yet that it is done.
    let (plain, coded) = eventually("patches that were compressed", async || {
        let page = String::from_utf8(get(daemon.address(), "/metrics").await.body).expect("text");
        let counter = |form: &str| {
            let name = format!("autobench_hub_context_bytes_total{{form=\"{form}\"}} ");
            let line = page.lines().find_map(|line| line.strip_prefix(&name))?;
            line.parse::<f64>().ok()
        };
        let (plain, coded) = (counter("plain")?, counter("coded")?);
        (plain > 20_000.0).then_some((plain, coded))
    })
    .await;
    assert!(coded * 3.0 < plain, "{coded} bytes of {plain}");
    sim.ask("pause");
    eventually("both pages and the daemon at one version", async || {
        let documents = [left.document().0, right.document().0];
        let state = daemon.state().await;
        let same = documents
            .iter()
            .all(|document| document["version"] == state["version"]);
        same.then(|| {
            for document in &documents {
                assert_eq!(canonical(document), canonical(&state));
            }
        })
    })
    .await;
    assert_eq!(left.complaints(), [""; 0]);
    assert_eq!(right.complaints(), [""; 0]);
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_reload_of_the_page_loses_no_sample() {
    let (bench, _sim) = bench(13);
    let daemon = bench.start();
    let endpoint = watts_endpoint(&daemon).await;
    let mut browser = Browser::open(&daemon.url());
    browser.until("a chart worth keeping", |look| {
        (look.chart_samples >= 60).then_some(())
    });
    let before = browser.series(endpoint);
    assert!(before.len() >= 60, "{} samples", before.len());
    browser.reload();
    browser.until("the chart after the reload", |look| {
        (look.is_live() && look.chart_samples >= 60).then_some(())
    });
    let after = browser.series(endpoint);
    let missing: Vec<_> = before.iter().filter(|sample| !after.contains(sample)).collect();
    assert!(
        missing.is_empty(),
        "{} of {} samples are gone: {missing:?}",
        missing.len(),
        before.len()
    );
    assert_eq!(browser.complaints(), [""; 0]);
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_page_says_that_its_daemon_is_gone_and_shows_the_next_one() {
    let (bench, _sim) = bench(14);
    bench.listen_on_fixed_port();
    let daemon = bench.start();
    let address = daemon.address().to_owned();
    let endpoint = watts_endpoint(&daemon).await;
    let mut browser = Browser::open(&daemon.url());
    until_watts_change(&mut browser, 2);
    let first_boot = browser.look().boot_id;
    daemon.kill();

    browser.until("the loss, said", |look| {
        (look.link == "Offline"
            && look.is_stale == Some(true)
            && look.stale_text.contains("no connection to the daemon")
            && look.number().is_some())
        .then_some(())
    });
    let kept = browser.look();
    let samples = browser.series(endpoint);
    assert_eq!(kept.boot_id, first_boot, "the last values stay on the page");

    let daemon = bench.start();
    assert_eq!(daemon.address(), address);
    let boot_id = daemon.member("/meta/bootId").await.expect("a boot id");
    let boot_id = boot_id.as_str().expect("a text").to_owned();
    assert_ne!(boot_id, first_boot);
    // Nobody presses anything.
    browser.until("the new daemon", |look| {
        (look.is_live() && look.boot_id == boot_id).then_some(())
    });
    until_watts_change(&mut browser, 2);
    let now = browser.series(watts_endpoint(&daemon).await);
    assert!(
        samples.iter().all(|sample| now.contains(sample)),
        "the chart from before the loss stays"
    );
    // The browser itself notes each connection that it could not open; that is the one thing it may say here.
    let others: Vec<String> = browser
        .complaints()
        .into_iter()
        .filter(|text| !text.starts_with(&format!("WebSocket connection to 'ws://{address}/ws")))
        .collect();
    assert_eq!(others, [""; 0]);
    assert!(daemon.stop().success());
}

// The wire passes bytes on while the browser is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_whose_connection_broke_goes_on_where_it_was_without_a_snapshot() {
    let (bench, _sim) = bench(16);
    let daemon = bench.start();
    let endpoint = watts_endpoint(&daemon).await;
    let relay = Relay::to(daemon.address()).await;
    let mut browser = Browser::open(&format!("http://{}/", relay.address()));
    until_watts_change(&mut browser, 2);
    let samples = browser.series(endpoint);
    for cuts in 1..=3 {
        relay.cut();
        browser.until("a new connection that is live", |look| {
            (look.is_live() && look.link == "Live").then_some(())
        });
        eventually("another socket", async || {
            (browser.sockets().len() > cuts).then_some(())
        })
        .await;
        until_watts_change(&mut browser, 2);
    }
    let sockets = browser.sockets();
    assert_eq!(sockets.len(), 4, "one connection and one after each cut");
    assert_eq!(sockets[0][..3], ["welcome", "state.snapshot", "logs.history"]);
    for socket in &sockets[1..] {
        assert_eq!(socket[0], "welcome");
        assert!(!socket.iter().any(|kind| kind == "state.snapshot"), "{socket:?}");
        assert!(socket.iter().any(|kind| kind == "state.patch"), "{socket:?}");
    }
    // The mirror is the daemon's document all the same, at one version.
    eventually("the page and the daemon at one version", async || {
        let (document, _) = browser.document();
        let state = daemon.state().await;
        (document["version"] == state["version"]).then(|| assert_eq!(canonical(&document), canonical(&state)))
    })
    .await;
    let now = browser.series(endpoint);
    assert!(
        samples.iter().all(|sample| now.contains(sample)),
        "the chart stays"
    );
    let others: Vec<String> = browser
        .complaints()
        .into_iter()
        .filter(|text| !text.starts_with("WebSocket connection to"))
        .collect();
    assert_eq!(others, [""; 0]);
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn the_page_fits_a_phone() {
    let (bench, _sim) = bench(15);
    let daemon = bench.start();
    let mut browser = Browser::open_sized(&daemon.url(), 360, 780);
    until_watts_change(&mut browser, 2);
    browser.until("a chart", |look| (look.chart_samples >= 20).then_some(()));
    assert_eq!(browser.overflow(), [""; 0]);
    let shapes = [
        ("360-dark", 360, 780, "dark"),
        ("1280-dark", 1280, 800, "dark"),
        ("1280-light", 1280, 800, "light"),
    ];
    let pictures = std::env::var_os("AUTOBENCH_SCREENSHOTS").map(PathBuf::from);
    for (name, width, height, scheme) in shapes {
        browser.shape(width, height, scheme);
        assert_eq!(browser.overflow(), [""; 0], "{name}");
        if let Some(folder) = &pictures {
            browser.screenshot(&folder.join(format!("{name}.png")));
        }
    }
    assert_eq!(browser.complaints(), [""; 0]);
    assert!(daemon.stop().success());
}
