//! What a scraper reads: that it is well-formed, and that it counts what was done.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::bench::{Bench, DEADLINE, Settings, apply, until};

/// A page, read as strictly as a scraper may: each metric once, with help and type before its samples, names and units as they should be.
struct Scrape {
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    async fn take(bench: &Bench) -> Self {
        let answer = bench.get("/metrics").await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        Self::read(&answer.body)
    }

    fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends");
        let mut samples = BTreeMap::new();
        let mut families = BTreeMap::new();
        let mut closed = BTreeSet::new();
        let mut helped: Option<&str> = None;
        let mut current: Option<(&str, &str)> = None;
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').expect("a help has words");
                assert!(!words.is_empty());
                if let Some((last, _)) = current.take() {
                    closed.insert(last);
                }
                helped = Some(name);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type has a kind");
                assert_eq!(helped.take(), Some(name), "help comes before the type");
                assert!(!closed.contains(name), "{name} comes once");
                is_well_named(name, kind);
                families.insert(name, kind);
                current = Some((name, kind));
            } else {
                let (series, value) = line
                    .rsplit_once(' ')
                    .unwrap_or_else(|| panic!("no sample: {line}"));
                let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                are_labels(labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}")));
                let (family, kind) = current.unwrap_or_else(|| panic!("a sample without a type: {line}"));
                let is_its_own = match kind {
                    "histogram" => ["_bucket", "_sum", "_count"]
                        .iter()
                        .any(|end| name == format!("{family}{end}")),
                    _ => name == family,
                };
                assert!(is_its_own, "{line} stands among {family}");
                assert!(value >= 0.0, "{line}");
                assert_eq!(
                    samples.insert(series.to_owned(), value),
                    None,
                    "{series} comes once"
                );
            }
        }
        for (family, _) in families.iter().filter(|(_, kind)| **kind == "histogram") {
            is_histogram(family, text, &samples);
        }
        Self { samples }
    }

    fn get(&self, series: &str) -> f64 {
        *self
            .samples
            .get(series)
            .unwrap_or_else(|| panic!("no {series} in {:#?}", self.samples))
    }
}

fn is_well_named(name: &str, kind: &str) {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    assert!(name.chars().all(is_name), "{name}");
    assert!(
        name.starts_with("autobench_") || name.starts_with("process_"),
        "{name}"
    );
    assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
    assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
    for unit in [
        "_ms",
        "_us",
        "_ns",
        "_milliseconds",
        "_minutes",
        "_kib",
        "_mb",
        "_kilobytes",
        "_percent",
    ] {
        assert!(
            !format!("{name}_").contains(&format!("{unit}_")),
            "{name} is in no base unit"
        );
    }
    if kind == "histogram" {
        assert!(
            name.ends_with("_seconds") || name.ends_with("_bytes"),
            "{name} says its unit"
        );
    }
}

/// `a="b",c="d"`, with escapes.
fn are_labels(mut text: &str) {
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").unwrap_or_else(|| panic!("{text}"));
        assert!(
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
            "{name}"
        );
        let mut is_escaped = false;
        let end = rest.find(|c| {
            let is_end = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        let behind = &rest[end.expect("a label's value ends") + 1..];
        text = behind.strip_prefix(',').unwrap_or(behind);
    }
}

fn is_histogram(family: &str, text: &str, samples: &BTreeMap<String, f64>) {
    let prefix = format!("{family}_bucket{{le=\"");
    let mut last = (f64::NEG_INFINITY, 0.0);
    for line in text.lines().filter_map(|line| line.strip_prefix(&prefix)) {
        let (bound, count) = line.split_once("\"} ").unwrap();
        let bound = if bound == "+Inf" {
            f64::INFINITY
        } else {
            bound.parse().unwrap()
        };
        let count: f64 = count.parse().unwrap();
        assert!(bound > last.0 && count >= last.1, "{family}: buckets rise");
        last = (bound, count);
    }
    assert_eq!(last.0, f64::INFINITY, "{family} has a last bucket");
    assert_eq!(samples.get(&format!("{family}_count")), Some(&last.1), "{family}");
    assert!(samples.contains_key(&format!("{family}_sum")), "{family}");
}

#[tokio::test]
async fn every_counter_rises_with_what_it_counts() {
    let bench = Bench::start().await;
    let before = Scrape::take(&bench).await;
    let (mut client, _) = bench.join().await;
    for watts in 1..=20 {
        let version = bench.set_watts(watts);
        // The count of clients is a patch too.
        while client.wait_for("state.patch").await["toVersion"].as_u64() < Some(version) {}
    }
    bench.log("something");
    client.wait_for("logs.append").await;
    client.say(json!({"type": "ping"})).await;
    client.wait_for("pong").await;
    assert_eq!(bench.get("/no/such/page").await.status, 404);
    let after = Scrape::take(&bench).await;
    let rise = |series: &str| after.get(series) - before.get(series);

    assert_eq!(rise("autobench_clients"), 1.0);
    assert_eq!(rise("autobench_clients_connected_total"), 1.0);
    assert_eq!(rise("autobench_client_snapshots_total{cause=\"asked\"}"), 1.0);
    assert_eq!(rise("autobench_client_snapshots_total{cause=\"lag\"}"), 0.0);
    assert_eq!(rise("autobench_client_messages_total"), 1.0);
    assert_eq!(rise("autobench_client_message_duration_seconds_count"), 1.0);
    assert_eq!(rise("autobench_log_entries_total{level=\"info\"}"), 1.0);
    assert!(rise("autobench_log_sent_bytes_total") > 50.0);
    assert!(rise("autobench_state_version") >= 20.0);
    // The counters in the state are flushed as well.
    assert!(rise("autobench_state_patches_total") >= 20.0);
    assert!(rise("autobench_state_patch_bytes_total") >= 20.0 * 120.0);
    assert!(rise("autobench_state_flush_duration_seconds_count") >= 20.0);
    assert!(rise("autobench_state_snapshots_total") >= 1.0);
    let writes =
        rise("autobench_hub_writes_total{by=\"loop\"}") + rise("autobench_hub_writes_total{by=\"own\"}");
    assert!(writes >= 22.0, "{writes}");
    assert!(rise("autobench_hub_written_bytes_total") >= rise("autobench_state_patch_bytes_total"));
    assert_eq!(rise("autobench_http_requests_total{code=\"4xx\"}"), 1.0);
    assert_eq!(rise("autobench_http_requests_total{code=\"1xx\"}"), 1.0);
    assert!(rise("autobench_http_requests_total{code=\"2xx\"}") >= 1.0);
    assert!(rise("autobench_http_connections_total") >= 3.0);
    assert!(rise("process_cpu_seconds_total") > 0.0);
    assert!(after.get("process_resident_memory_bytes") > 1e5);

    drop(client);
    until("the client is gone", || bench.hub.clients() == 0).await;
    until("it is counted", || bench.hub.metrics().gone.get() == 1).await;
    let last = Scrape::take(&bench).await;
    assert_eq!(last.get("autobench_clients"), 0.0);
    assert_eq!(last.get("autobench_clients_gone_total{reason=\"gone\"}"), 1.0);
    bench.close().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_shows_in_the_lag_and_as_dropped() {
    let mut settings = Settings::default();
    settings.hub.stall_timeout = std::time::Duration::from_millis(1500);
    settings.hub.limits.clients = 1;
    let bench = Bench::with(settings).await;
    let silent = bench.raw_socket(Some(4096)).await;
    until("it is a client", || bench.hub.clients() == 1).await;
    assert!(
        bench.request(crate::bench::HANDSHAKE).await.status == 503,
        "the house is full"
    );
    let mut most = 0.0_f64;
    let mut n = 0;
    while bench.hub.metrics().dropped.get() == 0 {
        n += 1;
        let filler = json!({"n": n, "text": "x".repeat(60_000)});
        bench.state.replace_slice("filler", filler).unwrap();
        if n % 20 == 0 {
            let scrape = Scrape::take(&bench).await;
            let (lag, sum) = (
                scrape.get("autobench_client_lag_versions{of=\"max\"}"),
                scrape.get("autobench_client_lag_versions{of=\"sum\"}"),
            );
            assert_eq!(lag, sum, "there is one client");
            most = most.max(lag);
        }
        // The pace of the changes: they are to fill the line, not the memory.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert!(most > 0.0, "it was behind");
    let scrape = Scrape::take(&bench).await;
    assert_eq!(
        scrape.get("autobench_clients_gone_total{reason=\"stalled\"}"),
        1.0
    );
    assert_eq!(scrape.get("autobench_clients_refused_total"), 1.0);
    assert!(scrape.get("autobench_hub_blocked_total") > 0.0);
    drop(silent);
    bench.close().await;
}

#[tokio::test]
async fn health_and_readiness_tell_the_truth() {
    let bench = Bench::start().await;
    assert_eq!(bench.get("/healthz").await.status, 200);
    bench.get("/readyz").await.is_problem(503, "not-ready");
    let status = autobench_core::state::Pointer::of(["meta", "status"]);
    bench
        .state
        .update(|store| store.set(&status, json!("ready")))
        .unwrap();
    assert_eq!(bench.get("/readyz").await.status, 200);
    // Without the flusher no client hears of a change, whatever the status says.
    bench.state.close().await;
    bench.get("/readyz").await.is_problem(503, "not-ready");
    bench.get("/healthz").await.is_problem(503, "unhealthy");
    bench.close().await;
}

#[tokio::test]
async fn the_state_says_how_long_things_take_and_how_many_errors_there_were() {
    let bench = Bench::start().await;
    let (mut client, mut mirror) = bench.join().await;
    let mut record =
        autobench::logs::LogRecord::new("app", autobench_core::driver::LogLevel::Error, "broken");
    record.tag = Some("meter".to_owned());
    bench.logs.append(record);
    while mirror["meta"]["errors"] != 1 || mirror["meta"]["timings"]["stateFlushP99"].is_null() {
        apply(&mut mirror, &client.wait_for("state.patch").await);
    }
    let timing = mirror["meta"]["timings"]["stateFlushP99"].as_f64().unwrap();
    assert!(timing > 0.0 && timing <= 1000.0, "{timing} ms");
    bench.close().await;
}

#[tokio::test]
async fn the_state_says_how_far_the_slowest_client_is_behind() {
    let bench = Bench::start().await;
    let (mut client, mut mirror) = bench.join().await;
    assert_eq!(mirror["meta"]["maxClientLagVersions"], 0);
    let silent = bench.raw_socket(Some(4096)).await;
    let begin = std::time::Instant::now();
    let mut n = 0;
    while mirror["meta"]["maxClientLagVersions"] == 0 {
        assert!(
            begin.elapsed() < DEADLINE,
            "a client that reads nothing is behind"
        );
        n += 1;
        let filler = json!({"n": n, "text": "x".repeat(60_000)});
        let version = bench.state.replace_slice("filler", filler).unwrap().unwrap();
        while mirror["version"].as_u64() < Some(version) {
            apply(&mut mirror, &client.wait_for("state.patch").await);
        }
    }
    let lag = mirror["meta"]["maxClientLagVersions"].as_u64().unwrap();
    // An exact number would rise with each patch that says it.
    assert!(
        lag.is_power_of_two() && lag < 2 * mirror["version"].as_u64().unwrap(),
        "{lag}"
    );
    drop(silent);
    while mirror["meta"]["maxClientLagVersions"] != 0 {
        apply(&mut mirror, &client.wait_for("state.patch").await);
    }
    bench.close().await;
}
