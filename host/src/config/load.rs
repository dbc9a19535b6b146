//! From files, environment and flags to a [`BenchConfig`]: what is written becomes what is meant, or a list of everything that is wrong.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use autobench_core::driver::{DataBits, FlowControl, Parity, StopBits};
use autobench_core::wire::{Layout, Pane};

use super::model::{
    AuthConfig, BenchConfig, DaemonConfig, DaemonLimits, DeviceConfig, DriverLimits, Grants, LineOverrides,
    PortConfig, PortSource, Role, SimSpec, TokenConfig,
};
use super::name::{DeviceId, NameError, POISONED_KEYS, PluginName, PortName, SliceName};
use super::problem::{ConfigErrors, Place, Source, Weight, folder_of, nearest};
use super::raw::{
    self, RawBench, RawDaemon, RawDevice, RawLayout, RawPane, RawPort, RawSim, RawToken, Written,
};
use super::tree::{At, Datum, Findings, Table};
use super::variables::{self, Environment, Overrides};

/// Where the daemon listens when nothing else is written.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9898);

/// Largest configuration file. A bench with a thousand devices has a tenth of this.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Emulators that `sim` can name.
const SIMS: [&str; 1] = ["wattsup"];

/// Faults that they can play.
const SIM_FAULTS: [&str; 1] = ["nuls"];

/// Largest integer that a browser holds exactly.
const MAX_EXACT_INTEGER: i64 = (1 << 53) - 1;

/// Reads one bench's configuration, as often as asked. Environment and flags are those of the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigLoader {
    path: PathBuf,
    environment: Environment,
    overrides: Overrides,
}

impl ConfigLoader {
    /// A loader for the main file `path`, named as it will stand in messages.
    pub fn new(path: impl Into<PathBuf>, environment: Environment, overrides: Overrides) -> Self {
        Self {
            path: path.into(),
            environment,
            overrides,
        }
    }

    /// The main file, as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder whose `*.toml` files add devices to the main file.
    pub fn drop_in_folder(&self) -> PathBuf {
        folder_of(&self.path).join("plugins.d")
    }

    /// Reads everything anew. Either the whole configuration is good, with what is doubtful in `warnings`, or nothing of it is used.
    pub fn load(&self) -> Result<BenchConfig, ConfigErrors> {
        let mut findings = Findings::default();
        let config = self.gather(&mut findings);
        let Findings {
            sources,
            mut problems,
            ..
        } = findings;
        let order = |file: &Path| sources.iter().position(|source| source.file == file);
        problems.sort_by_key(|problem| match &problem.place {
            Place::Text { file, span, .. } => (order(file).unwrap_or(usize::MAX), span.start),
            Place::File(_) | Place::Variable(_) | Place::Flag(_) => (usize::MAX, 0),
        });
        let failed = problems.iter().any(|problem| problem.weight == Weight::Error);
        match config {
            Some(config) if !failed => Ok(BenchConfig {
                warnings: problems,
                ..config
            }),
            _ => Err(ConfigErrors { problems, sources }),
        }
    }

    fn gather(&self, findings: &mut Findings) -> Option<BenchConfig> {
        let mut tree = self
            .read_file(&self.path, findings)
            .map(|source| findings.parse(source))?;
        let drop_ins = drop_in_files(&self.drop_in_folder(), findings);
        for file in &drop_ins {
            if let Some(source) = self.read_file(file, findings) {
                let table = findings.parse(source);
                findings.merge(&mut tree, table, "");
            }
        }
        let raw = raw::read(tree, findings);
        let daemon = self.daemon(&raw.daemon, findings);
        let (client, logs) = variables::read(&self.environment, findings);
        let auth = auth(&raw.tokens, findings);
        refuse_open_doors(&raw, &daemon, findings);
        self.check_permissions(&drop_ins, &daemon, findings);
        let devices = devices(&raw.devices, &daemon, findings);
        let layout = raw.layout.as_ref().map(|raw| layout(raw, &devices, findings));
        let path = absolute(&self.path);
        Some(BenchConfig {
            path,
            daemon,
            auth,
            client,
            logs,
            layout,
            devices,
            warnings: Vec::new(),
        })
    }

    fn read_file(&self, file: &Path, findings: &mut Findings) -> Option<Source> {
        match read_text(file) {
            Ok(text) => Some(Source {
                file: file.to_owned(),
                text: text.into(),
            }),
            Err(ReadError { message, hint }) => {
                let place = Place::File(file.to_owned());
                findings.problem(Weight::Error, "unreadable", place, message, hint);
                None
            }
        }
    }

    // --- [daemon] ---

    fn daemon(&self, raw: &RawDaemon, findings: &mut Findings) -> DaemonConfig {
        let folder = absolute(folder_of(&self.path));
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
                heartbeat_interval_ms: heartbeat_interval_s * 1000,
                heartbeat_timeout_ms: heartbeat_timeout_s * 1000,
            },
        }
    }

    fn listen(&self, raw: &RawDaemon, findings: &mut Findings) -> SocketAddr {
        if let Some(listen) = self.overrides.listen {
            return listen;
        }
        if let Some(text) = self.environment.get("AUTOBENCH_LISTEN") {
            return text.parse().unwrap_or_else(|_| {
                let place = Place::Variable("AUTOBENCH_LISTEN");
                findings.problem(
                    Weight::Error,
                    "bad-value",
                    place,
                    bad_address(text),
                    address_hint(text),
                );
                DEFAULT_LISTEN
            });
        }
        let Some(written) = &raw.listen else {
            return DEFAULT_LISTEN;
        };
        written.value.parse().unwrap_or_else(|_| {
            let hint = format!("write listen = \"{}\"", likely_address(&written.value));
            findings.error("bad-value", &written.at, bad_address(&written.value), hint);
            DEFAULT_LISTEN
        })
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
            Place::File(self.path.clone()),
            "there is no place for data: neither HOME nor XDG_STATE_HOME is set",
            "write data-dir = \"/var/lib/autobench\" in [daemon]",
        );
        PathBuf::new()
    }

    // --- permissions ---

    /// Whoever may write these files and folders decides what runs on the bench.
    fn check_permissions(&self, drop_ins: &[PathBuf], daemon: &DaemonConfig, findings: &mut Findings) {
        let weight = if daemon.listen.ip().is_loopback() {
            Weight::Warning
        } else {
            Weight::Error
        };
        let drop_in_folder = self.drop_in_folder();
        let paths = [
            self.path.as_path(),
            folder_of(&self.path),
            &drop_in_folder,
            &daemon.plugins_dir,
        ];
        for path in paths.into_iter().chain(drop_ins.iter().map(PathBuf::as_path)) {
            let Ok(metadata) = std::fs::metadata(path) else {
                continue;
            };
            // In a sticky folder only the owner of a file can replace it.
            let is_sticky_folder = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
            if metadata.mode() & 0o022 != 0 && !is_sticky_folder {
                let place = Place::File(path.to_owned());
                let message = format!(
                    "others than its owner may write it (mode {:o}), and with it decide what runs on the bench",
                    metadata.mode() & 0o7777
                );
                findings.problem(
                    weight,
                    "writable-by-others",
                    place,
                    message,
                    format!("run chmod go-w {}", path.display()),
                );
            }
        }
    }
}

// --- reading ---

struct ReadError {
    message: String,
    hint: String,
}

fn read_text(file: &Path) -> Result<String, ReadError> {
    let fail = |message: String, hint: &str| ReadError {
        message,
        hint: hint.to_owned(),
    };
    let metadata = std::fs::metadata(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => fail(
            "there is no such file".into(),
            "name the bench's file, for example --config plugins.toml, or write one: docs/configuration.md shows how",
        ),
        std::io::ErrorKind::PermissionDenied => {
            fail("it may not be read by this user".into(), "change its permissions, or run as its owner")
        }
        _ => fail(format!("it cannot be read: {error}"), ""),
    })?;
    if !metadata.is_file() {
        return Err(fail("it is not a regular file".into(), "name a TOML file"));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(fail(
            "it is larger than 1 MiB".into(),
            "this does not look like a configuration",
        ));
    }
    let bytes = std::fs::read(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => fail(
            "it may not be read by this user".into(),
            "change its permissions, or run as its owner",
        ),
        _ => fail(format!("it cannot be read: {error}"), ""),
    })?;
    String::from_utf8(bytes).map_err(|_| fail("it is not UTF-8".into(), "save it as UTF-8"))
}

/// The `*.toml` files of a folder in the order of their names; a folder that is not there has none.
fn drop_in_files(folder: &Path, findings: &mut Findings) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                let place = Place::File(folder.to_owned());
                findings.problem(
                    Weight::Error,
                    "unreadable",
                    place,
                    format!("it cannot be read: {error}"),
                    "",
                );
            }
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| !name.to_string_lossy().starts_with('.'))
        })
        .collect();
    files.sort();
    files
}

fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // `absolute` leaves `.` out only inside the path; the folder of a bare file name ends in one.
    path.components().collect()
}

// --- values ---

fn integer<T>(
    written: &Option<Written<i64>>,
    key: &str,
    default: i64,
    range: std::ops::RangeInclusive<i64>,
    findings: &mut Findings,
) -> T
where
    T: TryFrom<i64> + Default,
{
    let mut value = default;
    if let Some(written) = written {
        if range.contains(&written.value) {
            value = written.value;
        } else {
            findings.error(
                "bad-value",
                &written.at,
                format!(
                    "\"{key}\" is {}, and has to be from {} to {}",
                    written.value,
                    range.start(),
                    range.end()
                ),
                format!("write {key} = {default}, which is what it is without this line"),
            );
        }
    }
    // Every range that is asked for fits its type.
    T::try_from(value).unwrap_or_default()
}

fn choice<T: Copy>(
    written: &Option<Written<String>>,
    key: &str,
    choices: &[(&str, T)],
    findings: &mut Findings,
) -> Option<T> {
    let written = written.as_ref()?;
    let found = choices.iter().find(|(name, _)| *name == written.value);
    if found.is_none() {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        findings.error(
            "bad-value",
            &written.at,
            format!("\"{key}\" cannot be \"{}\"", written.value),
            format!("write one of {}", names.join(", ")),
        );
    }
    found.map(|(_, value)| *value)
}

fn numbered<T: Copy>(
    written: &Option<Written<i64>>,
    key: &str,
    choices: &[(i64, T)],
    findings: &mut Findings,
) -> Option<T> {
    let written = written.as_ref()?;
    let found = choices.iter().find(|(number, _)| *number == written.value);
    if found.is_none() {
        let numbers: Vec<String> = choices.iter().map(|(number, _)| number.to_string()).collect();
        findings.error(
            "bad-value",
            &written.at,
            format!("\"{key}\" cannot be {}", written.value),
            format!("write one of {}", numbers.join(", ")),
        );
    }
    found.map(|(_, value)| *value)
}

fn name<N>(
    written: &Written<String>,
    make: impl Fn(&str) -> Result<N, NameError>,
    findings: &mut Findings,
) -> Option<N> {
    match make(&written.value) {
        Ok(name) => Some(name),
        Err(error) => {
            let message = format!("\"{}\" is no {}", written.value, error.what);
            findings.error("bad-name", &written.at, message, error.rule);
            None
        }
    }
}

fn bad_address(text: &str) -> String {
    format!("\"{text}\" is no address to listen on")
}

fn address_hint(text: &str) -> String {
    format!("write {}", likely_address(text))
}

/// The address that was probably meant: a host name for the loopback, a port alone, an address alone.
fn likely_address(text: &str) -> SocketAddr {
    let port = text
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .unwrap_or(DEFAULT_LISTEN.port());
    match text.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, DEFAULT_LISTEN.port()),
        Err(_) => SocketAddr::new(DEFAULT_LISTEN.ip(), port),
    }
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

// --- [auth] ---

fn auth(raw: &[RawToken], findings: &mut Findings) -> AuthConfig {
    let mut tokens = BTreeMap::new();
    for token in raw {
        let header = &token.name;
        let role = match &token.role {
            Some(_) => choice(
                &token.role,
                "role",
                &[
                    ("viewer", Role::Viewer),
                    ("operator", Role::Operator),
                    ("admin", Role::Admin),
                ],
                findings,
            ),
            None => {
                let message = format!("the token \"{}\" has no role", header.value);
                findings.missing(
                    "missing-key",
                    &header.at,
                    message,
                    "write role = \"viewer\", \"operator\" or \"admin\"",
                );
                None
            }
        };
        let sha256 = match &token.sha256 {
            Some(written) => digest(written, findings),
            None => {
                let message = format!("the token \"{}\" has no sha256", header.value);
                let hint = "write sha256 = \"…\" with what `printf %s TOKEN | sha256sum` prints";
                findings.missing("missing-key", &header.at, message, hint);
                None
            }
        };
        if let (Some(role), Some(sha256)) = (role, sha256) {
            tokens.insert(header.value.clone(), TokenConfig { sha256, role });
        }
    }
    AuthConfig { tokens }
}

fn digest(written: &Written<String>, findings: &mut Findings) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let digits = written.value.as_bytes();
    let is_hex = digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit);
    if !is_hex {
        // The value is not repeated: it may be the token itself.
        findings.error(
            "bad-value",
            &written.at,
            "\"sha256\" is not a SHA-256 in hexadecimal digits",
            "write the 64 digits that `printf %s TOKEN | sha256sum` prints, never the token itself",
        );
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(written.value.as_bytes().chunks(2)) {
        *byte = std::str::from_utf8(pair)
            .ok()
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())?;
    }
    Some(digest)
}

/// Nothing may look protected that is not.
fn refuse_open_doors(raw: &RawBench, daemon: &DaemonConfig, findings: &mut Findings) {
    if let Some(token) = raw.tokens.first() {
        findings.error(
            "tokens-not-enforced",
            &token.name.at,
            "this version does not check tokens yet, so [auth.tokens] would protect nothing",
            "remove it, listen on 127.0.0.1, and reach the bench through an SSH tunnel or a proxy that authenticates",
        );
    }
    if !daemon.listen.ip().is_loopback() {
        let message = format!(
            "listening on {} would let everyone on the network operate the bench, and this version checks no tokens yet",
            daemon.listen
        );
        let hint = format!(
            "listen on 127.0.0.1:{} and reach the bench through an SSH tunnel or a proxy that authenticates",
            daemon.listen.port()
        );
        match &raw.daemon.listen {
            Some(written) if written.value.parse() == Ok(daemon.listen) => {
                findings.error("open-to-network", &written.at, message, hint);
            }
            _ => findings.problem(
                Weight::Error,
                "open-to-network",
                Place::Flag("--listen"),
                message,
                hint,
            ),
        }
    }
}

// --- [devices] ---

fn devices(
    raw: &[RawDevice],
    daemon: &DaemonConfig,
    findings: &mut Findings,
) -> BTreeMap<DeviceId, DeviceConfig> {
    let mut devices = BTreeMap::new();
    let mut taken = Taken::default();
    let plugins = PluginFiles::read(&daemon.plugins_dir);
    for raw in raw {
        let id = name(&raw.id, |text| DeviceId::new(text), findings);
        let plugin = plugin(raw, &plugins, findings);
        let slice = slice(raw, id.as_ref(), &mut taken, findings);
        let ports = raw
            .ports
            .iter()
            .filter_map(|port| self::port(raw, port, &mut taken, findings))
            .collect();
        let settings = raw
            .settings
            .as_ref()
            .map(|written| settings(&written.value, findings))
            .unwrap_or_default();
        let default = DriverLimits::default();
        let limits = DriverLimits {
            memory_bytes: integer::<usize>(
                &raw.memory_mib,
                "memory-mib",
                in_units(default.memory_bytes, 20),
                1..=4096,
                findings,
            ) << 20,
            slice_bytes: integer::<usize>(
                &raw.slice_kib,
                "slice-kib",
                in_units(default.slice_bytes, 10),
                1..=16_384,
                findings,
            ) << 10,
        };
        let read_slices = raw
            .read_slices
            .iter()
            .filter_map(|written| name(written, |text| SliceName::new(text), findings))
            .collect();
        if let (Some(id), Some(plugin), Some(slice)) = (id, plugin, slice) {
            let settings = serde_json::Value::Object(settings);
            let grants = Grants { read_slices };
            devices.insert(
                id.clone(),
                DeviceConfig {
                    id,
                    plugin,
                    slice,
                    ports,
                    settings,
                    limits,
                    grants,
                },
            );
        }
    }
    check_grants(raw, &taken, findings);
    devices
}

fn in_units(bytes: usize, shift: u32) -> i64 {
    i64::try_from(bytes >> shift).unwrap_or(i64::MAX)
}

/// What the plugin folder holds.
struct PluginFiles {
    folder: PathBuf,
    is_there: bool,
    stems: Vec<String>,
}

impl PluginFiles {
    fn read(folder: &Path) -> Self {
        let entries = std::fs::read_dir(folder);
        let is_there = entries.is_ok();
        let mut stems: Vec<String> = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
            .filter_map(|path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))
            .collect();
        stems.sort();
        Self {
            folder: folder.to_owned(),
            is_there,
            stems,
        }
    }
}

fn plugin(raw: &RawDevice, files: &PluginFiles, findings: &mut Findings) -> Option<PluginName> {
    let Some(written) = &raw.plugin else {
        let message = format!("the device \"{}\" has no plugin", raw.id.value);
        let hint = match files.stems.as_slice() {
            [] => "write plugin = \"power-meter\", the name of a file in the plugin folder without .wasm"
                .to_owned(),
            stems => format!("write plugin = \"…\" with one of: {}", stems.join(", ")),
        };
        findings.missing("missing-key", &raw.id.at, message, hint);
        return None;
    };
    let plugin = name(written, |text| PluginName::new(text), findings)?;
    if files.stems.iter().any(|stem| stem == plugin.as_str()) {
        return Some(plugin);
    }
    let folder = files.folder.display();
    let (message, hint) = if !files.is_there {
        (
            format!("there is no {plugin}.wasm, because there is no plugin folder {folder}"),
            "build the plugins, in a checkout with `cargo demo --build-only`, or name their folder with plugins-dir in [daemon]".to_owned(),
        )
    } else {
        let hint = match (
            nearest(plugin.as_str(), files.stems.iter().map(String::as_str)),
            files.stems.as_slice(),
        ) {
            (Some(meant), stems) => format!("did you mean \"{meant}\"? There are: {}", stems.join(", ")),
            (None, []) => {
                "the folder holds no plugins; build them, or name another with plugins-dir in [daemon]"
                    .to_owned()
            }
            (None, stems) => format!("there are: {}", stems.join(", ")),
        };
        (format!("there is no {plugin}.wasm in {folder}"), hint)
    };
    findings.error("missing-plugin", &written.at, message, hint);
    None
}

fn slice(
    raw: &RawDevice,
    id: Option<&DeviceId>,
    taken: &mut Taken,
    findings: &mut Findings,
) -> Option<SliceName> {
    let (slice, at) = match &raw.slice {
        Some(written) => (name(written, |text| SliceName::new(text), findings)?, &written.at),
        None => match id?.default_slice() {
            Ok(slice) => (slice, &raw.id.at),
            Err(error) => {
                let message = format!(
                    "the device \"{}\" would have the slice \"{}\", which is a member of the host",
                    raw.id.value, error.text
                );
                let hint = format!(
                    "write slice = \"{}Driver\" in [devices.{}], or another name",
                    error.text, raw.id.value
                );
                findings.error("bad-name", &raw.id.at, message, hint);
                return None;
            }
        },
    };
    if let Some((other, first)) = taken.slices.get(&slice) {
        let first = findings.place(first);
        findings.error(
            "slice-taken",
            at,
            format!("the device \"{}\" has the slice \"{slice}\", which is the device \"{other}\"'s already ({first})", raw.id.value),
            format!("write slice = \"{slice}2\" in [devices.{}], or another name", raw.id.value),
        );
        return None;
    }
    taken
        .slices
        .insert(slice.clone(), (raw.id.value.clone(), at.clone()));
    Some(slice)
}

/// What only one device can have.
#[derive(Default)]
struct Taken {
    slices: BTreeMap<SliceName, (String, At)>,
    lines: Vec<TakenLine>,
}

struct TakenLine {
    line: Line,
    device: String,
    port: String,
    at: At,
}

/// A line as far as two ports can have the same one.
#[derive(PartialEq)]
enum Line {
    Path {
        written: PathBuf,
        resolved: PathBuf,
    },
    Usb {
        vendor: u16,
        product: u16,
        serial: Option<String>,
    },
}

impl Line {
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Path { written, resolved },
                Self::Path {
                    written: other_written,
                    resolved: other_resolved,
                },
            ) => written == other_written || resolved == other_resolved,
            (
                Self::Usb {
                    vendor,
                    product,
                    serial,
                },
                Self::Usb {
                    vendor: other_vendor,
                    product: other_product,
                    serial: other_serial,
                },
            ) => {
                // Without a serial number either could be the other's device.
                (vendor, product) == (other_vendor, other_product)
                    && (serial == other_serial || serial.is_none() || other_serial.is_none())
            }
            (Self::Path { .. }, Self::Usb { .. }) | (Self::Usb { .. }, Self::Path { .. }) => false,
        }
    }
}

impl Taken {
    fn take(&mut self, line: Line, device: &str, port: &Written<String>, at: &At, findings: &mut Findings) {
        if let Some(first) = self.lines.iter().find(|taken| taken.line.meets(&line)) {
            let place = findings.place(&first.at);
            let hint = match (&line, &first.line) {
                (Line::Usb { serial: None, .. }, _) | (_, Line::Usb { serial: None, .. }) => {
                    "tell them apart by serial number: usb = \"vendor:product:serial\""
                }
                _ => "give each port a line of its own, or remove one of the two devices",
            };
            findings.error(
                "line-taken",
                at,
                format!(
                    "the port \"{}\" of \"{device}\" is on the line of the port \"{}\" of \"{}\" ({place})",
                    port.value, first.port, first.device
                ),
                hint,
            );
            return;
        }
        self.lines.push(TakenLine {
            line,
            device: device.to_owned(),
            port: port.value.clone(),
            at: at.clone(),
        });
    }
}

// --- [devices.<id>.ports] ---

fn port(
    device: &RawDevice,
    raw: &RawPort,
    taken: &mut Taken,
    findings: &mut Findings,
) -> Option<(PortName, PortConfig)> {
    let port_name = name(&raw.name, |text| PortName::new(text), findings);
    let line = LineOverrides {
        baud_rate: raw
            .baud_rate
            .as_ref()
            .map(|_| integer(&raw.baud_rate, "baud-rate", 115_200, 50..=20_000_000, findings)),
        data_bits: numbered(
            &raw.data_bits,
            "data-bits",
            &[
                (5, DataBits::Five),
                (6, DataBits::Six),
                (7, DataBits::Seven),
                (8, DataBits::Eight),
            ],
            findings,
        ),
        parity: choice(
            &raw.parity,
            "parity",
            &[
                ("none", Parity::None),
                ("even", Parity::Even),
                ("odd", Parity::Odd),
            ],
            findings,
        ),
        stop_bits: numbered(
            &raw.stop_bits,
            "stop-bits",
            &[(1, StopBits::One), (2, StopBits::Two)],
            findings,
        ),
        flow_control: choice(
            &raw.flow_control,
            "flow-control",
            &[
                ("none", FlowControl::None),
                ("software", FlowControl::Software),
                ("hardware", FlowControl::Hardware),
            ],
            findings,
        ),
    };
    let source = port_source(device, raw, taken, findings);
    Some((
        port_name?,
        PortConfig {
            source: source?,
            line,
            dtr: raw.dtr,
            rts: raw.rts,
            hangup_on_close: raw.hangup_on_close,
            exclusive: raw.exclusive.unwrap_or(true),
        },
    ))
}

fn port_source(
    device: &RawDevice,
    raw: &RawPort,
    taken: &mut Taken,
    findings: &mut Findings,
) -> Option<PortSource> {
    let given = [
        raw.path.as_ref().map(|written| ("path", &written.at)),
        raw.usb.as_ref().map(|written| ("usb", &written.at)),
        raw.sim.as_ref().map(|written| ("sim", &written.at)),
    ];
    let given: Vec<(&str, &At)> = given.into_iter().flatten().collect();
    match given.as_slice() {
        [] => {
            findings.missing(
                "no-source",
                &raw.name.at,
                format!(
                    "the port \"{}\" of \"{}\" has no line",
                    raw.name.value, device.id.value
                ),
                "write one of path = \"/dev/serial/by-id/…\", usb = \"0403:6001\", sim = \"wattsup\"",
            );
            return None;
        }
        [_] => {}
        [(first, _), .., (last, at)] => {
            findings.error(
                "two-sources",
                at,
                format!(
                    "the port \"{}\" of \"{}\" has both {first} and {last}",
                    raw.name.value, device.id.value
                ),
                "keep one of path, usb and sim",
            );
            return None;
        }
    }
    if let Some(written) = &raw.path {
        let path = PathBuf::from(&written.value);
        if !path.is_absolute() {
            let hint = format!("write path = \"/dev/{}\"", written.value.trim_start_matches("./"));
            findings.error(
                "bad-value",
                &written.at,
                format!("\"{}\" does not begin at the root", written.value),
                hint,
            );
            return None;
        }
        let resolved = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        let line = Line::Path {
            written: path.components().collect(),
            resolved,
        };
        taken.take(line, &device.id.value, &raw.name, &written.at, findings);
        return Some(PortSource::Path(path));
    }
    if let Some(written) = &raw.usb {
        let Some((vendor, product, serial)) = usb_identity(&written.value) else {
            findings.error(
                "bad-value",
                &written.at,
                format!("\"{}\" is no USB identity", written.value),
                "write vendor and product as four hexadecimal digits each, and the serial number where there are several: \"0403:6001\" or \"0403:6001:A9014J7K\"",
            );
            return None;
        };
        let line = Line::Usb {
            vendor,
            product,
            serial: serial.clone(),
        };
        taken.take(line, &device.id.value, &raw.name, &written.at, findings);
        return Some(PortSource::Usb {
            vendor,
            product,
            serial,
        });
    }
    raw.sim
        .as_ref()
        .and_then(|written| sim(written, findings))
        .map(PortSource::Sim)
}

fn usb_identity(text: &str) -> Option<(u16, u16, Option<String>)> {
    let mut parts = text.splitn(3, ':');
    let mut id = || {
        let digits = parts.next()?;
        let is_id = digits.len() == 4 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
        if is_id {
            u16::from_str_radix(digits, 16).ok()
        } else {
            None
        }
    };
    let (vendor, product) = (id()?, id()?);
    match parts.next() {
        None => Some((vendor, product, None)),
        Some("") => None,
        Some(serial) => Some((vendor, product, Some(serial.to_owned()))),
    }
}

fn sim(written: &Written<RawSim>, findings: &mut Findings) -> Option<SimSpec> {
    let raw = &written.value;
    let Some(device) = &raw.device else {
        findings.missing(
            "missing-key",
            &written.at,
            "this sim has no device",
            "write sim = { device = \"wattsup\" }",
        );
        return None;
    };
    if !SIMS.contains(&device.value.as_str()) {
        let hint = match nearest(&device.value, SIMS) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("there are: {}", SIMS.join(", ")),
        };
        findings.error(
            "bad-value",
            &device.at,
            format!("there is no emulator \"{}\"", device.value),
            hint,
        );
        return None;
    }
    let seed = raw
        .seed
        .as_ref()
        .map(|_| integer(&raw.seed, "seed", 7, 0..=MAX_EXACT_INTEGER, findings));
    let mut speed = 1.0;
    if let Some(written) = &raw.speed {
        speed = written.value;
        if !(0.01..=1000.0).contains(&speed) {
            findings.error(
                "bad-value",
                &written.at,
                format!("\"speed\" is {speed}, and has to be from 0.01 to 1000"),
                "write speed = 1.0 for the pace of the real thing",
            );
        }
    }
    let faults = raw
        .faults
        .iter()
        .filter_map(|fault| sim_fault(fault, findings))
        .collect();
    Some(SimSpec {
        device: device.value.clone(),
        seed,
        speed,
        faults,
    })
}

fn sim_fault(written: &Written<String>, findings: &mut Findings) -> Option<String> {
    if SIM_FAULTS.contains(&written.value.as_str()) {
        return Some(written.value.clone());
    }
    let hint = match nearest(&written.value, SIM_FAULTS) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("there are: {}", SIM_FAULTS.join(", ")),
    };
    findings.error(
        "bad-value",
        &written.at,
        format!("there is no fault \"{}\"", written.value),
        hint,
    );
    None
}

// --- [devices.<id>.settings] ---

type Object = serde_json::Map<String, serde_json::Value>;

fn settings(table: &Table, findings: &mut Findings) -> Object {
    let mut object = Object::new();
    for (key, node) in table {
        if POISONED_KEYS.contains(&key.as_str()) {
            findings.error(
                "bad-name",
                &node.key,
                format!("\"{key}\" cannot be a key of settings"),
                "choose another name: this one breaks browsers that show it",
            );
            continue;
        }
        let value = setting(&node.datum, &node.at, findings);
        object.insert(key.clone(), value);
    }
    object
}

fn setting(datum: &Datum, at: &At, findings: &mut Findings) -> serde_json::Value {
    match datum {
        Datum::Text(text) | Datum::Moment(text) => text.as_str().into(),
        Datum::Boolean(boolean) => (*boolean).into(),
        Datum::Integer(integer) => {
            if integer.abs() > MAX_EXACT_INTEGER {
                findings.error(
                    "bad-number",
                    at,
                    format!("{integer} is beyond ±(2^53 − 1), where browsers lose digits"),
                    "write it as a text",
                );
            }
            (*integer).into()
        }
        Datum::Float(float) => {
            if !float.is_finite() {
                findings.error(
                    "bad-number",
                    at,
                    format!("{float} is no finite number"),
                    "leave the key out",
                );
            }
            (*float).into()
        }
        Datum::List(elements) => elements
            .iter()
            .map(|element| setting(&element.datum, &element.at, findings))
            .collect(),
        Datum::Table(table) => serde_json::Value::Object(settings(table, findings)),
    }
}

// --- [devices.<id>.grants] ---

fn check_grants(raw: &[RawDevice], taken: &Taken, findings: &mut Findings) {
    for written in raw.iter().flat_map(|device| &device.read_slices) {
        let Ok(slice) = SliceName::new(written.value.as_str()) else {
            continue;
        };
        if !taken.slices.contains_key(&slice) {
            let names = taken.slices.keys().map(SliceName::as_str);
            let hint = match nearest(slice.as_str(), names.clone()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("there are: {}", names.collect::<Vec<_>>().join(", ")),
            };
            findings.missing(
                "unknown-slice",
                &written.at,
                format!("no device has the slice \"{slice}\""),
                hint,
            );
        }
    }
}

// --- [layout] ---

fn layout(raw: &RawLayout, devices: &BTreeMap<DeviceId, DeviceConfig>, findings: &mut Findings) -> Layout {
    let rows = integer(&raw.rows, "rows", 2, 1..=24, findings);
    let cols = integer(&raw.cols, "cols", 2, 1..=24, findings);
    if raw.panes.is_empty() {
        findings.missing(
            "missing-key",
            &raw.at,
            "the layout has no panes",
            "write [[layout.panes]], or leave [layout] out",
        );
    }
    let mut panes: Vec<Pane> = Vec::with_capacity(raw.panes.len());
    for raw in &raw.panes {
        let Some(pane) = pane(raw, devices, findings) else {
            continue;
        };
        if panes.iter().any(|other| other.id == pane.id) {
            let at = raw.id.as_ref().map_or(&raw.at, |written| &written.at);
            findings.error(
                "duplicate",
                at,
                format!("there is a pane \"{}\" already", pane.id),
                "give each pane its own id",
            );
        }
        if pane.row + pane.row_span > rows || pane.col + pane.col_span > cols {
            let message = format!(
                "the pane \"{}\" reaches beyond the grid of {rows} rows and {cols} columns",
                pane.id
            );
            findings.error(
                "bad-value",
                &raw.at,
                message,
                "rows and columns are counted from 0; make the grid larger or the pane smaller",
            );
        } else if let Some(other) = panes.iter().find(|other| overlap(other, &pane)) {
            let message = format!(
                "the pane \"{}\" covers part of the pane \"{}\"",
                pane.id, other.id
            );
            findings.error("bad-value", &raw.at, message, "move one of them");
        }
        panes.push(pane);
    }
    Layout { rows, cols, panes }
}

fn overlap(one: &Pane, other: &Pane) -> bool {
    one.row < other.row + other.row_span
        && other.row < one.row + one.row_span
        && one.col < other.col + other.col_span
        && other.col < one.col + one.col_span
}

fn pane(raw: &RawPane, devices: &BTreeMap<DeviceId, DeviceConfig>, findings: &mut Findings) -> Option<Pane> {
    if raw.pane.is_none() {
        findings.missing(
            "missing-key",
            &raw.at,
            "this pane does not say what it shows",
            "write pane = \"power-meter\", \"logs\" or \"state\"",
        );
    }
    let pane = raw.pane.as_ref()?.value.clone();
    let mut slice = raw
        .slice
        .as_ref()
        .and_then(|written| name(written, |text| SliceName::new(text), findings));
    let mut device = None;
    if let Some(written) = &raw.device {
        match devices.get(written.value.as_str()) {
            Some(config) => {
                device = Some(config.id.clone());
                slice = slice.or_else(|| Some(config.slice.clone()));
            }
            None => {
                let ids = devices.keys().map(DeviceId::as_str);
                let hint = match nearest(&written.value, ids.clone()) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None => format!("there are: {}", ids.collect::<Vec<_>>().join(", ")),
                };
                findings.missing(
                    "unknown-device",
                    &written.at,
                    format!("there is no good device \"{}\"", written.value),
                    hint,
                );
            }
        }
    }
    Some(Pane {
        id: raw
            .id
            .as_ref()
            .map_or_else(|| pane.clone(), |written| written.value.clone()),
        pane,
        slice: slice.map(|slice| slice.to_string()),
        device: device.map(|device| device.to_string()),
        row: integer(&raw.row, "row", 0, 0..=23, findings),
        col: integer(&raw.col, "col", 0, 0..=23, findings),
        row_span: integer(&raw.row_span, "row-span", 1, 1..=24, findings),
        col_span: integer(&raw.col_span, "col-span", 1, 1..=24, findings),
    })
}
