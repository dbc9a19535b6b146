//! Variables.

use super::*;

#[test]
fn every_variable_with_a_bad_value_is_named() {
    for (variable, value, told) in [
        (
            "CLIENT_LOGS_SNAPSHOT",
            "-1",
            "\"-1\" is no number from 0 to 1000000 — set it to 200, or leave it out",
        ),
        (
            "CLIENT_LOGS_CAPACITY",
            "x",
            "\"x\" is no number from 1 to 1000000 — set it to 500, or leave it out",
        ),
        (
            "CLIENT_LOGS_TO_KEEP",
            "0",
            "\"0\" is no number from 1 to 1000000 — set it to 500, or leave it out",
        ),
        (
            "LOG_LEVEL_MIN",
            "loud",
            "\"loud\" is no level — set it to debug, info, warn, error or fatal",
        ),
        (
            "LOG_LEVEL",
            "2",
            "\"2\" is no level — set it to debug, info, warn, error or fatal",
        ),
        (
            "PRETTY_LOGS",
            "maybe",
            "\"maybe\" is neither true nor false — set it to true or false",
        ),
        (
            "WS_HEARTBEAT_LOG",
            "2",
            "\"2\" is neither true nor false — set it to true or false",
        ),
        (
            "LOG_REDACT_REGEX",
            "(",
            "it is no regular expression: unclosed group — nothing would be redacted; correct it or leave it out",
        ),
        (
            "VITE_WS_HEARTBEAT_INTERVAL_MS",
            "1",
            "\"1\" is no number from 100 to 3600000 — set it to 10000, or leave it out",
        ),
        (
            "VITE_WS_HEARTBEAT_TIMEOUT_MS",
            "1e9",
            "\"1e9\" is no number from 100 to 3600000 — set it to 5000, or leave it out",
        ),
        (
            "VITE_WS_RECONNECT_ENABLED",
            "ja",
            "\"ja\" is neither true nor false — set it to true or false",
        ),
        (
            "VITE_WS_RECONNECT_MIN_MS",
            "0",
            "\"0\" is no number from 1 to 3600000 — set it to 1000, or leave it out",
        ),
        (
            "VITE_WS_RECONNECT_MAX_MS",
            "500",
            "the longest wait of 500 ms is shorter than the first of 1000 ms — set it to VITE_WS_RECONNECT_MIN_MS or more",
        ),
        (
            "VITE_WS_RECONNECT_FACTOR",
            "0.5",
            "\"0.5\" is no number from 1 to 100 — set it to 1.8, or leave it out",
        ),
        (
            "VITE_WS_RECONNECT_JITTER",
            "NaN",
            "\"NaN\" is no number from 0 to 1 — set it to 0.2, or leave it out",
        ),
        (
            "AUTOBENCH_LISTEN",
            "9898",
            "\"9898\" is no address to listen on — set it to 127.0.0.1:9898",
        ),
    ] {
        let bench = Bench::new(METER).variable(variable, value);
        assert!(bench.load().is_err(), "{variable}");
        assert_eq!(bench.told(), [format!("{variable}: {told}")]);
    }
}

#[test]
fn a_variable_whose_name_is_nearly_right_is_a_warning() {
    let bench = Bench::new(METER)
        .variable("CLIENT_LOG_CAPACITY", "9")
        .variable("LOG_FORMAT", "x")
        .variable("CLIENT_LOGS_CAPACITI", "9");
    assert!(bench.load().is_ok());
    assert_eq!(
        bench.told(),
        [
            "CLIENT_LOGS_CAPACITY: warning: CLIENT_LOGS_CAPACITI is set, which nothing reads — did you mean CLIENT_LOGS_CAPACITY?"
        ]
    );
}
