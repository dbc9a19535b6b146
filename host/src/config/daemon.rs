//! `[daemon]`, with what variables and flags override in it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::load::absolute;
use super::model::{DaemonConfig, DaemonLimits, LogFileConfig};
use super::problem::{Place, Weight, folder_of};
use super::raw::{RawDaemon, RawLogFile, Written};
use super::tree::Findings;
use super::values::{DEFAULT_LISTEN, integer, likely_address};
use super::variables::{Environment, Overrides};

/// The daemon's settings as they are meant. Flags count before variables, variables before the file, the file before the defaults.
pub fn daemon(
    raw: &RawDaemon,
    file: &Path,
    environment: &Environment,
    overrides: &Overrides,
    findings: &mut Findings,
) -> DaemonConfig {
    Layers {
        file,
        environment,
        overrides,
    }
    .daemon(raw, findings)
}

struct Layers<'a> {
    file: &'a Path,
    environment: &'a Environment,
    overrides: &'a Overrides,
}

impl Layers<'_> {
    fn daemon(&self, raw: &RawDaemon, findings: &mut Findings) -> DaemonConfig {
        let folder = absolute(folder_of(self.file));
        let limits = &raw.limits;
        let heartbeat_interval_s: u64 = integer(
            &limits.heartbeat_interval_s,
            "heartbeat-interval-s",
            30,
            1..=3600,
            findings,
        );
        let heartbeat_timeout_s: u64 = integer(
            &limits.heartbeat_timeout_s,
            "heartbeat-timeout-s",
            60,
            2..=7200,
            findings,
        );
        if heartbeat_timeout_s <= heartbeat_interval_s
            && let Some(at) = limits
                .heartbeat_timeout_s
                .as_ref()
                .or(limits.heartbeat_interval_s.as_ref())
        {
            findings.error(
                "bad-value",
                &at.at,
                format!("a client would be dropped after {heartbeat_timeout_s} s, before the ping that is due after {heartbeat_interval_s} s is answered"),
                format!("write heartbeat-timeout-s = {}", heartbeat_interval_s * 2),
            );
        }
        DaemonConfig {
            listen: self.listen(raw, findings),
            plugins_dir: self
                .folder(
                    &self.overrides.plugins_dir,
                    "AUTOBENCH_PLUGINS_DIR",
                    &raw.plugins_dir,
                    &folder,
                )
                .unwrap_or_else(|| folder.join("plugins")),
            data_dir: self
                .folder(
                    &self.overrides.data_dir,
                    "AUTOBENCH_DATA_DIR",
                    &raw.data_dir,
                    &folder,
                )
                .unwrap_or_else(|| self.default_data_dir(findings)),
            web_dir: self.folder(
                &self.overrides.web_dir,
                "AUTOBENCH_WEB_DIR",
                &raw.web_dir,
                &folder,
            ),
            sysfs_root: raw
                .sysfs_root
                .as_ref()
                .map_or_else(|| "/sys".into(), |written| folder.join(&written.value)),
            allowed_hosts: raw
                .allowed_hosts
                .iter()
                .filter_map(|host| allowed_host(host, findings))
                .collect(),
            deflate: raw.deflate.unwrap_or(true),
            debug_info: raw.debug_info.unwrap_or(false),
            core_dumps: raw.core_dumps.unwrap_or(false),
            broadcast_interval_ms: integer(
                &raw.broadcast_interval_ms,
                "broadcast-interval-ms",
                10,
                0..=10_000,
                findings,
            ),
            limits: DaemonLimits {
                clients: integer(&limits.clients, "clients", 100, 1..=100_000, findings),
                subscriptions: integer(&limits.subscriptions, "subscriptions", 50, 1..=100_000, findings),
                messages_per_second: integer(
                    &limits.messages_per_second,
                    "messages-per-second",
                    10,
                    1..=100_000,
                    findings,
                ),
                message_burst: integer(&limits.message_burst, "message-burst", 20, 1..=100_000, findings),
                message_bytes: integer::<usize>(&limits.message_kib, "message-kib", 64, 1..=1024, findings)
                    << 10,
                ring_bytes: integer::<usize>(&limits.ring_kib, "ring-kib", 8192, 64..=65_536, findings) << 10,
                heartbeat_interval_ms: heartbeat_interval_s * 1000,
                heartbeat_timeout_ms: heartbeat_timeout_s * 1000,
            },
            log_file: raw
                .log_file
                .as_ref()
                .and_then(|raw| log_file(raw, &folder, findings)),
        }
    }

    fn listen(&self, raw: &RawDaemon, findings: &mut Findings) -> SocketAddr {
        let listen = if let Some(listen) = self.overrides.listen {
            Some(listen)
        } else if let Some(text) = self.environment.get("AUTOBENCH_LISTEN") {
            let place = Place::Variable("AUTOBENCH_LISTEN");
            address(
                text,
                &place,
                &format!("set it to {}", likely_address(text)),
                findings,
            )
        } else if let Some(written) = &raw.listen {
            let place = findings.place(&written.at);
            let hint = format!("write listen = \"{}\"", likely_address(&written.value));
            address(&written.value, &place, &hint, findings)
        } else {
            None
        };
        listen.unwrap_or(DEFAULT_LISTEN)
    }

    /// A folder: from a flag or a variable relative to where the daemon was started, from the file relative to the file.
    fn folder(
        &self,
        flag: &Option<PathBuf>,
        variable: &'static str,
        written: &Option<Written<String>>,
        folder: &Path,
    ) -> Option<PathBuf> {
        flag.as_deref()
            .or_else(|| self.environment.get(variable).map(Path::new))
            .map(absolute)
            .or_else(|| written.as_ref().map(|written| folder.join(&written.value)))
    }

    fn default_data_dir(&self, findings: &mut Findings) -> PathBuf {
        let state_home = self
            .environment
            .get("XDG_STATE_HOME")
            .map(Path::new)
            .filter(|path| path.is_absolute());
        if let Some(state_home) = state_home {
            return state_home.join("autobench");
        }
        if let Some(home) = self
            .environment
            .get("HOME")
            .map(Path::new)
            .filter(|path| path.is_absolute())
        {
            return home.join(".local/state/autobench");
        }
        findings.problem(
            Weight::Error,
            "no-data-dir",
            Place::File(self.file.to_owned()),
            "there is no place for data: neither HOME nor XDG_STATE_HOME is set",
            "write data-dir = \"/var/lib/autobench\" in [daemon]",
        );
        PathBuf::new()
    }
}

fn log_file(raw: &RawLogFile, folder: &Path, findings: &mut Findings) -> Option<LogFileConfig> {
    let max_mib: u64 = integer(&raw.max_mib, "max-mib", 16, 1..=65_536, findings);
    let count = integer(&raw.count, "count", 5, 1..=1000, findings);
    let Some(path) = &raw.path else {
        findings.missing(
            "missing-key",
            &raw.at,
            "[daemon.log-file] does not say where the log is written",
            "write path = \"/var/log/autobench/bench.jsonl\"",
        );
        return None;
    };
    Some(LogFileConfig {
        path: folder.join(&path.value),
        max_bytes: max_mib << 20,
        count,
    })
}

fn address(text: &str, place: &Place, hint: &str, findings: &mut Findings) -> Option<SocketAddr> {
    let listen = text.parse().ok();
    if listen.is_none() {
        let message = format!("\"{text}\" is no address to listen on");
        findings.problem(Weight::Error, "bad-value", place.clone(), message, hint);
    }
    listen
}

fn allowed_host(written: &Written<String>, findings: &mut Findings) -> Option<String> {
    let host = written.value.trim_end_matches('.').to_ascii_lowercase();
    let is_name = !host.is_empty()
        && host.len() <= 253
        && host
            .chars()
            .all(|one| one.is_ascii_alphanumeric() || matches!(one, '-' | '.' | '_'));
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if is_name || is_address {
        return Some(host);
    }
    findings.error(
        "bad-value",
        &written.at,
        format!("\"{}\" is no host name", written.value),
        "write the name as it stands in the browser's address line, without scheme, port and wildcard: \"bench.local\"",
    );
    None
}
