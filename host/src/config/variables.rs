//! The environment and the flags: what overrides the files.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use autobench_core::driver::LogLevel;
use autobench_core::wire::{LogsClientConfig, ServerConfig, WsClientConfig};

use super::model::{IngestConfig, LogConfig, RedactPattern, TerminalConfig};
use super::problem::{Place, Weight, nearest};
use super::tree::Findings;
use crate::access::{TOKEN_CHARS_MIN, is_long_enough};

/// The environment as it was at start. Nothing reads the process's environment later, so a reload can be told from a restart.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

/// Names only: among the values are secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl Environment {
    /// The environment of this process. A variable that is not UTF-8 is taken with replacement characters, so that its value is reported as
    /// bad where it matters.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .map(|(name, value)| {
                (
                    name.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned(),
                )
            })
            .collect()
    }

    /// A variable; one that is set to nothing counts as not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Names of all variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self {
            variables: pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        }
    }
}

/// What flags of the command line override.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--plugins-dir`.
    pub plugins_dir: Option<PathBuf>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--web-dir`.
    pub web_dir: Option<PathBuf>,
}

/// Reads the variables that say how clients and the log behave. A bad value is an error, whoever set it.
pub(super) fn read(environment: &Environment, findings: &mut Findings) -> (ServerConfig, LogConfig) {
    let mut variables = Variables {
        environment,
        findings,
    };
    let min_level = variables.level("LOG_LEVEL_MIN", LogLevel::Debug);
    let allowed_channels = variables.list("LOG_CHANNEL_ALLOWLIST");
    let redact = variables.regex("LOG_REDACT_REGEX");
    let keep: usize = variables.number("CLIENT_LOGS_TO_KEEP", 500, 1, 1_000_000);
    let snapshot: u32 = variables.number("CLIENT_LOGS_SNAPSHOT", 200, 0, 1_000_000);
    let capacity: u32 = variables.number("CLIENT_LOGS_CAPACITY", 500, 1, 1_000_000);
    let ws = WsClientConfig {
        heartbeat_interval_ms: variables.number("VITE_WS_HEARTBEAT_INTERVAL_MS", 10_000, 100, 3_600_000),
        heartbeat_timeout_ms: variables.number("VITE_WS_HEARTBEAT_TIMEOUT_MS", 5_000, 100, 3_600_000),
        reconnect_enabled: variables.boolean("VITE_WS_RECONNECT_ENABLED").unwrap_or(true),
        reconnect_min_ms: variables.number("VITE_WS_RECONNECT_MIN_MS", 1_000, 1, 3_600_000),
        reconnect_max_ms: variables.number("VITE_WS_RECONNECT_MAX_MS", 15_000, 1, 3_600_000),
        reconnect_factor: variables.number("VITE_WS_RECONNECT_FACTOR", 1.8, 1.0, 100.0),
        reconnect_jitter: variables.number("VITE_WS_RECONNECT_JITTER", 0.2, 0.0, 1.0),
    };
    if ws.reconnect_max_ms < ws.reconnect_min_ms {
        variables.bad(
            "VITE_WS_RECONNECT_MAX_MS",
            format!(
                "the longest wait of {} ms is shorter than the first of {} ms",
                ws.reconnect_max_ms, ws.reconnect_min_ms
            ),
            "set it to VITE_WS_RECONNECT_MIN_MS or more",
        );
    }
    let heartbeat = variables.boolean("WS_HEARTBEAT_LOG").unwrap_or(false);
    let terminal = TerminalConfig {
        level: variables.level("LOG_LEVEL", LogLevel::Info),
        is_pretty: variables.boolean("PRETTY_LOGS"),
        no_color: environment.get("NO_COLOR").is_some(),
    };
    variables.warn_about_slips();
    let logs = LogsClientConfig {
        snapshot,
        capacity,
        allowed_channels: allowed_channels.clone(),
        min_level,
    };
    (
        ServerConfig { logs, ws },
        LogConfig {
            capacity: keep,
            allowed_channels,
            min_level,
            redact,
            heartbeat,
            terminal,
        },
    )
}

/// Reads the variables of the log ingest.
pub(super) fn read_ingest(environment: &Environment, findings: &mut Findings) -> IngestConfig {
    let mut variables = Variables {
        environment,
        findings,
    };
    let token = variables.token("LOG_INGEST_TOKEN");
    // Not the daemon's own: but whoever sets it in this environment is told here why no daemon takes it.
    variables.token("AUTOBENCH_TOKEN");
    IngestConfig {
        token,
        allowed_channels: variables.list("LOG_INGEST_ALLOWED_CHANNELS"),
    }
}

/// Variables that are read, here or by the terminal's log.
pub(super) const KNOWN: [&str; 25] = [
    "AUTOBENCH_DATA_DIR",
    "AUTOBENCH_LISTEN",
    "AUTOBENCH_PLUGINS_DIR",
    "AUTOBENCH_TOKEN",
    "AUTOBENCH_WEB_DIR",
    "CLIENT_LOGS_CAPACITY",
    "CLIENT_LOGS_SNAPSHOT",
    "CLIENT_LOGS_TO_KEEP",
    "LOG_CHANNEL_ALLOWLIST",
    "LOG_INGEST_ALLOWED_CHANNELS",
    "LOG_INGEST_TOKEN",
    "LOG_LEVEL_MIN",
    "LOG_REDACT_REGEX",
    "LOG_LEVEL",
    "NO_COLOR",
    "PRETTY_LOGS",
    "AUTOBENCH_CONFIG",
    "VITE_WS_HEARTBEAT_INTERVAL_MS",
    "VITE_WS_HEARTBEAT_TIMEOUT_MS",
    "VITE_WS_RECONNECT_ENABLED",
    "VITE_WS_RECONNECT_MIN_MS",
    "VITE_WS_RECONNECT_MAX_MS",
    "VITE_WS_RECONNECT_FACTOR",
    "VITE_WS_RECONNECT_JITTER",
    "WS_HEARTBEAT_LOG",
];

struct Variables<'a> {
    environment: &'a Environment,
    findings: &'a mut Findings,
}

impl Variables<'_> {
    fn number<T>(&mut self, name: &'static str, default: T, least: T, most: T) -> T
    where
        T: Copy + PartialOrd + std::str::FromStr + std::fmt::Display,
    {
        let Some(text) = self.environment.get(name) else {
            return default;
        };
        match text.trim().parse::<T>() {
            Ok(value) if value >= least && value <= most => value,
            _ => {
                let message = format!("\"{text}\" is no number from {least} to {most}");
                self.bad(name, message, format!("set it to {default}, or leave it out"));
                default
            }
        }
    }

    fn boolean(&mut self, name: &'static str) -> Option<bool> {
        let text = self.environment.get(name)?;
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => {
                self.bad(
                    name,
                    format!("\"{text}\" is neither true nor false"),
                    "set it to true or false",
                );
                None
            }
        }
    }

    fn level(&mut self, name: &'static str, default: LogLevel) -> LogLevel {
        let Some(text) = self.environment.get(name) else {
            return default;
        };
        text.trim().parse().unwrap_or_else(|_| {
            self.bad(
                name,
                format!("\"{text}\" is no level"),
                "set it to debug, info, warn, error or fatal",
            );
            default
        })
    }

    fn token(&mut self, name: &'static str) -> Option<String> {
        let token = self.environment.get(name)?;
        if !is_long_enough(token) {
            // The value is not repeated.
            self.bad(
                name,
                format!("it is shorter than {TOKEN_CHARS_MIN} characters and soon guessed"),
                "set it to what `autobench token new` prints",
            );
        }
        Some(token.to_owned())
    }

    fn list(&mut self, name: &'static str) -> Vec<String> {
        let text = self.environment.get(name).unwrap_or_default();
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn regex(&mut self, name: &'static str) -> Option<RedactPattern> {
        let text = self.environment.get(name)?;
        match RedactPattern::new(text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                // The expression's own message draws over several lines; its last one says what is wrong.
                let error = error.to_string();
                let reason = error
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim_start_matches("error: ");
                self.bad(
                    name,
                    format!("it is no regular expression: {reason}"),
                    "nothing would be redacted; correct it or leave it out",
                );
                None
            }
        }
    }

    fn bad(&mut self, name: &'static str, message: String, hint: impl Into<String>) {
        self.findings.problem(
            Weight::Error,
            "bad-variable",
            Place::Variable(name),
            message,
            hint,
        );
    }

    /// A variable whose name is nearly one of ours has no effect, and nobody would notice.
    fn warn_about_slips(&mut self) {
        let slips: Vec<(String, &'static str)> = self
            .environment
            .names()
            .filter(|name| !KNOWN.contains(name))
            .filter(|name| {
                ["LOG_", "CLIENT_LOGS_", "VITE_WS_", "WS_", "AUTOBENCH_"]
                    .iter()
                    .any(|head| name.starts_with(head))
            })
            .filter_map(|name| nearest(name, KNOWN).map(|meant| (name.to_owned(), meant)))
            .collect();
        for (name, meant) in slips {
            let message = format!("{name} is set, which nothing reads");
            let hint = format!("did you mean {meant}?");
            self.findings.problem(
                Weight::Warning,
                "unknown-variable",
                Place::Variable(meant),
                message,
                hint,
            );
        }
    }
}
