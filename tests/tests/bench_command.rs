//! `autobench bench` as it is typed: on a daemon of its own and on a running one, with few clients and for a moment. Not what it measures is
//! looked at, but that it measures what it says, and what it says when it cannot.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of a story: what is missing fails it"
)]

use std::process::{Command, Output};

use e2e::{Bench, Daemon};
use serde_json::Value;

fn run(bench: &Bench, arguments: &[&str], token: Option<&str>) -> Output {
    let mut command = Command::new(&bench.artifacts.binary);
    command
        .args(["--json", "bench"])
        .args(arguments)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("AUTOBENCH_")))
        .envs(token.map(|token| ("AUTOBENCH_TOKEN", token)));
    command.output().expect("the program runs")
}

/// What it says when it succeeds.
fn measured(bench: &Bench, arguments: &[&str]) -> Value {
    let output = run(bench, arguments, None);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// What it says when it fails.
fn refused(bench: &Bench, arguments: &[&str], token: Option<&str>) -> String {
    ended_with(1, bench, arguments, token)
}

fn ended_with(code: i32, bench: &Bench, arguments: &[&str], token: Option<&str>) -> String {
    let output = run(bench, arguments, token);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    let event: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(event["event"], "error", "{event}");
    event["message"].as_str().expect("a text").to_owned()
}

fn number(report: &Value, name: &str) -> f64 {
    report[name]
        .as_f64()
        .unwrap_or_else(|| panic!("no {name} in {report}"))
}

fn running(more: &str) -> (Bench, Daemon) {
    let bench = Bench::new();
    bench.configure_with(more, &[]);
    let daemon = bench.start();
    (bench, daemon)
}

#[test]
fn the_fanout_of_its_own_daemon_is_measured_plain_and_with_deflate() {
    let bench = Bench::new();
    let arguments = ["fanout", "--clients", "20", "--rate", "200", "--seconds", "0.5"];
    let plain = measured(&bench, &arguments);
    let deflate = measured(&bench, &[&arguments[..], &["--deflate"]].concat());
    for (report, with_deflate) in [(&plain, 0.0), (&deflate, 18.0)] {
        assert_eq!(number(report, "clients"), 20.0, "{report}");
        assert_eq!(number(report, "clientsAtTheEnd"), 20.0, "{report}");
        assert_eq!(number(report, "clientsWithDeflate"), with_deflate, "{report}");
        assert!(number(report, "deliveries") > 20.0, "{report}");
        assert!(number(report, "daemonCpuSecondsPerMillion") > 0.0, "{report}");
        assert!(number(&report["latencyUs"], "count") > 0.0, "{report}");
    }
    let (plain_bytes, deflate_bytes) = (
        number(&plain, "bytesPerDelivery"),
        number(&deflate, "bytesPerDelivery"),
    );
    assert!(
        deflate_bytes < plain_bytes / 2.0,
        "{deflate_bytes} of {plain_bytes} bytes"
    );
}

#[tokio::test]
async fn a_running_daemon_is_measured_by_changes_of_its_message() {
    let (bench, daemon) = running("");
    let url = daemon.url();
    let arguments = ["fanout", "--url", &url, "--clients", "5", "--seconds", "0.5"];
    let idle = measured(&bench, &[&arguments[..], &["--rate", "0"]].concat());
    assert!(idle["latencyUs"].is_null(), "{idle}");
    assert_eq!(daemon.member("/message").await, Some(Value::from("")));
    let report = measured(&bench, &[&arguments[..], &["--rate", "100"]].concat());
    assert_eq!(number(&report, "clientsAtTheEnd"), 5.0, "{report}");
    assert!(number(&report, "deliveries") > 5.0, "{report}");
    assert!(number(&report, "updatesPerSecond") > 10.0, "{report}");
    assert!(number(&report["latencyUs"], "count") > 0.0, "{report}");
    let message = daemon.member("/message").await.expect("a message");
    assert!(
        message
            .as_str()
            .is_some_and(|text| text.starts_with("autobench bench ")),
        "{message}"
    );
}

#[test]
fn as_many_clients_as_the_daemon_takes_can_be_measured() {
    let (bench, daemon) = running("[daemon.limits]\nclients = 60");
    let url = daemon.url();
    let arguments = [
        "fanout",
        "--url",
        &url,
        "--clients",
        "60",
        "--rate",
        "50",
        "--seconds",
        "0.2",
    ];
    let report = measured(&bench, &arguments);
    assert_eq!(number(&report, "clientsAtTheEnd"), 60.0, "{report}");
}

#[test]
fn what_cannot_be_measured_is_told_with_where_and_what_to_do() {
    let bench = Bench::new();
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("its address").to_string()
    };
    let told = |message: String, words: &[&str]| {
        for word in words {
            assert!(message.contains(word), "{word:?} is not in {message:?}");
        }
    };
    told(
        refused(&bench, &["fanout", "--url", &nobody], None),
        &[&nobody, "no daemon answers", "autobench serve"],
    );
    told(
        ended_with(2, &bench, &["fanout", "--url", "https://127.0.0.1"], None),
        &["TLS", "http://127.0.0.1:9898"],
    );

    let (bench, daemon) = running("[daemon.limits]\nclients = 3");
    told(
        refused(
            &bench,
            &["fanout", "--url", &daemon.url(), "--clients", "4"],
            None,
        ),
        &[
            "4 clients cannot connect",
            daemon.address(),
            "daemon.limits.clients",
        ],
    );

    let (bench, daemon) = running("deflate = false");
    told(
        refused(
            &bench,
            &["fanout", "--url", &daemon.url(), "--clients", "2", "--deflate"],
            None,
        ),
        &[daemon.address(), "daemon.deflate", "--deflate"],
    );
}

#[test]
fn a_bench_with_tokens_is_measured_with_one_and_by_who_may_change_it() {
    let bench = Bench::new();
    let new_token = |role: &str| {
        let output = Command::new(&bench.artifacts.binary)
            .args(["--json", "token", "new", "--name", role, "--role", role])
            .output()
            .expect("the program runs");
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = |name: &str| answer[name].as_str().expect("a text").to_owned();
        (text("token"), text("toml"))
    };
    let (operator, viewer) = (new_token("operator"), new_token("viewer"));
    bench.configure_with(&format!("{}\n{}", operator.1, viewer.1), &[]);
    let daemon = bench.start();
    let url = daemon.url();
    let arguments = [
        "fanout",
        "--url",
        &url,
        "--clients",
        "3",
        "--rate",
        "50",
        "--seconds",
        "0.2",
    ];
    let nobody = refused(&bench, &arguments, None);
    assert!(
        nobody.contains("401") && nobody.contains("AUTOBENCH_TOKEN"),
        "{nobody}"
    );
    let looking = refused(&bench, &arguments, Some(&viewer.0));
    assert!(
        looking.contains("403") && looking.contains("--rate 0"),
        "{looking}"
    );
    let output = run(&bench, &arguments, Some(&operator.0));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_log_of_clients_that_filter_is_exact_or_said_to_be_missing() {
    let bench = Bench::new();
    for rate in ["300", "60000"] {
        let arguments = [
            "logs",
            "--clients",
            "8",
            "--filtering",
            "3",
            "--rate",
            rate,
            "--seconds",
            "0.5",
        ];
        let report = measured(&bench, &arguments);
        assert!(report["fault"].is_null(), "{report}");
        assert_eq!(
            (number(&report, "views"), number(&report, "viewsWithFilter")),
            (5.0, 3.0),
            "{report}"
        );
        assert!(number(&report, "entriesPerSecond") > 10.0, "{report}");
    }
}
