//! The configuration as it is meant: checked, complete, with every default filled in and every path absolute.
//!
//! Two values are equal exactly when a running bench need not notice the difference, so that an edit of the file touches only the drivers
//! whose [`DeviceConfig`] is no longer equal.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use autobench_core::access::Role;
use autobench_core::driver::{DataBits, FlowControl, LineSettings, LogLevel, Parity, StopBits};
use autobench_core::logs::LogPolicy;
use autobench_core::wire::{Layout, ServerConfig};
use autobench_sim::bench::{Device, Faults};
use autobench_sim::wattsup::FaultPlan;

use super::name::{DeviceId, PluginName, PortName, SliceName};
use super::problem::Problem;

/// What `plugins.toml`, `plugins.d`, the environment and the flags say together.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchConfig {
    /// The main file.
    pub path: PathBuf,
    /// `[daemon]`.
    pub daemon: DaemonConfig,
    /// `[auth]`.
    pub auth: AuthConfig,
    /// What browsers are told to do: `serverConfig` of the state.
    pub client: ServerConfig,
    /// The log ring and what goes into it.
    pub logs: LogConfig,
    /// What may come into the log from outside.
    pub ingest: IngestConfig,
    /// `[layout]`, if it is written; otherwise the layout follows from the devices.
    pub layout: Option<Layout>,
    /// `[devices.<id>]`.
    pub devices: BTreeMap<DeviceId, DeviceConfig>,
    /// What is doubtful without being wrong. Whoever starts the bench says it once.
    pub warnings: Vec<Problem>,
}

/// `[daemon]`.
#[derive(Debug, Clone, PartialEq)]
pub struct DaemonConfig {
    /// Where HTTP and the socket are served. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folder with the plugins' `.wasm` files.
    pub plugins_dir: PathBuf,
    /// Folder for what outlives a run: good versions, compile cache, leases, audit.
    pub data_dir: PathBuf,
    /// Folder with the built mirror; without one the daemon serves no page.
    pub web_dir: Option<PathBuf>,
    /// Names beside the listen address and localhost that a `Host` header may carry.
    pub allowed_hosts: Vec<String>,
    /// Distance between two flushes while changes keep coming; 0 sends each change.
    pub broadcast_interval_ms: u64,
    /// Whether clients that offer it are sent compressed messages.
    pub deflate: bool,
    /// Whether compiled drivers keep which line of their source they come from.
    pub debug_info: bool,
    /// Whether the memory of a driver that breaks down is kept.
    pub core_dumps: bool,
    /// Where USB identities are read; tests plant their own.
    pub sysfs_root: PathBuf,
    /// `[daemon.limits]`.
    pub limits: DaemonLimits,
    /// `[daemon.log-file]`, if the log is also to be appended to a file.
    pub log_file: Option<LogFileConfig>,
}

/// `[daemon.log-file]`: where the log is appended, and how much of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFileConfig {
    /// The file that is written; older ones are beside it, with a number behind their name.
    pub path: PathBuf,
    /// A file that would become larger than this is set aside.
    pub max_bytes: u64,
    /// Files that are kept, with the one that is written.
    pub count: u32,
}

/// `[daemon.limits]`: what clients may ask of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonLimits {
    /// Clients at once; the next one is refused.
    pub clients: usize,
    /// Subscriptions of one client.
    pub subscriptions: usize,
    /// Messages of one client, in the long run.
    pub messages_per_second: u32,
    /// Messages that one client may send at once after a silence.
    pub message_burst: u32,
    /// Size of one message from a client.
    pub message_bytes: usize,
    /// Memory for what each channel last sent, by which a client may be behind.
    pub ring_bytes: usize,
    /// Distance of the daemon's pings to a silent client.
    pub heartbeat_interval_ms: u64,
    /// Silence after which a client is dropped.
    pub heartbeat_timeout_ms: u64,
}

/// `[auth]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthConfig {
    /// `[auth.tokens.<name>]`.
    pub tokens: BTreeMap<String, TokenConfig>,
}

/// Who may put entries into the log from outside, and which.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct IngestConfig {
    /// A token that serves for nothing else.
    pub token: Option<String>,
    /// Channels that may be written to; empty for all but the daemon's own.
    pub allowed_channels: Vec<String>,
}

impl std::fmt::Debug for IngestConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IngestConfig")
            .field("has_token", &self.token.is_some())
            .field("allowed_channels", &self.allowed_channels)
            .finish()
    }
}

/// A token: only its hash is ever written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenConfig {
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
    /// What its bearer may do.
    pub role: Role,
}

/// The log ring and what goes into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Entries that the ring keeps.
    pub capacity: usize,
    /// Channels that get into the ring; empty for all. `device` also lets `device:meter` pass.
    pub allowed_channels: Vec<String>,
    /// Lowest level that gets into the ring.
    pub min_level: LogLevel,
    /// What is blotted out before an entry gets its number, and on the terminal.
    pub redact: Option<RedactPattern>,
    /// Whether pings of clients are logged.
    pub heartbeat: bool,
    /// What is printed on the terminal.
    pub terminal: TerminalConfig,
}

/// What of the log is printed on the terminal, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalConfig {
    /// Lowest level that is printed.
    pub level: LogLevel,
    /// For a person or for a program; none asks whether a person is looking.
    pub is_pretty: Option<bool>,
    /// Whether colours are unwanted even on a terminal.
    pub no_color: bool,
}

/// A regular expression over log messages; its matches are secrets.
#[derive(Debug, Clone)]
pub struct RedactPattern(regex::Regex);

impl RedactPattern {
    /// Compiles a pattern.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        regex::Regex::new(pattern).map(Self)
    }

    /// The compiled pattern.
    pub fn regex(&self) -> &regex::Regex {
        &self.0
    }
}

impl PartialEq for RedactPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for RedactPattern {}

impl LogConfig {
    /// A log that takes everything and prints next to nothing: for tests and measurements, which say only what is different with them.
    #[doc(hidden)]
    pub fn silent(capacity: usize) -> Self {
        Self {
            capacity,
            allowed_channels: Vec::new(),
            min_level: LogLevel::Debug,
            redact: None,
            heartbeat: false,
            terminal: TerminalConfig {
                level: LogLevel::Fatal,
                is_pretty: None,
                no_color: true,
            },
        }
    }

    /// What acts on a record before it is numbered.
    pub fn policy(&self) -> LogPolicy {
        LogPolicy {
            allowed_channels: self.allowed_channels.clone(),
            min_level: self.min_level,
            redact: self.redact.as_ref().map(|pattern| pattern.regex().clone()),
        }
    }
}

/// `[devices.<id>]`: one driver, bound to its ports.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceConfig {
    /// The key of the table.
    pub id: DeviceId,
    /// Which plugin drives it.
    pub plugin: PluginName,
    /// Where its state goes.
    pub slice: SliceName,
    /// `[devices.<id>.ports.<name>]`.
    pub ports: BTreeMap<PortName, PortConfig>,
    /// `[devices.<id>.settings]`, always a JSON object; only the driver knows what it means.
    pub settings: serde_json::Value,
    /// `[devices.<id>.limits]`.
    pub limits: DriverLimits,
    /// `[devices.<id>.grants]`.
    pub grants: Grants,
}

/// `[devices.<id>.limits]`: what a driver gets at most. Its manifest may ask for less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriverLimits {
    /// All memories and tables of its instance together.
    pub memory_bytes: usize,
    /// Its slice as JSON.
    pub slice_bytes: usize,
}

impl Default for DriverLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            slice_bytes: 256 << 10,
        }
    }
}

/// `[devices.<id>.grants]`: what a driver may touch beside its own slice and ports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// Foreign slices that it may read and observe.
    pub read_slices: Vec<SliceName>,
    /// Commands that its manifest calls dangerous and that may be used all the same.
    pub dangerous_commands: Vec<String>,
}

/// `[devices.<id>.ports.<name>]`.
#[derive(Debug, Clone, PartialEq)]
pub struct PortConfig {
    /// Where the line is found.
    pub source: PortSource,
    /// What differs from the line settings of the driver's manifest.
    pub line: LineOverrides,
    /// DTR after opening; none leaves what the system did.
    pub dtr: Option<bool>,
    /// RTS after opening; none leaves what the system did.
    pub rts: Option<bool>,
    /// Whether the system drops the modem lines at the last close; none leaves it to the system.
    pub hangup_on_close: Option<bool>,
    /// Whether the port is taken for the daemon alone.
    pub exclusive: bool,
    /// Where what it does is recorded, if it is.
    pub capture: Option<CaptureConfig>,
}

/// Where a port's capture is written, and how large it may grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureConfig {
    /// `capture`.
    pub path: PathBuf,
    /// `capture-mib`, in bytes: past it the file becomes `FILE.1`, and a new one begins.
    pub max_bytes: u64,
}

/// Where a line is found.
#[derive(Debug, Clone, PartialEq)]
pub enum PortSource {
    /// A file of the system, best one of `/dev/serial/by-id` or `by-path`.
    Path(PathBuf),
    /// The tty of a USB device, wherever it is plugged in.
    Usb {
        /// Vendor id.
        vendor: u16,
        /// Product id.
        product: u16,
        /// Serial number; without one the only device of this vendor and product.
        serial: Option<String>,
    },
    /// An emulator that the daemon starts itself.
    Sim(SimSpec),
}

impl std::fmt::Display for PortSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "path {}", path.display()),
            Self::Usb {
                vendor,
                product,
                serial,
            } => {
                write!(f, "usb {vendor:04x}:{product:04x}")?;
                serial.iter().try_for_each(|serial| write!(f, ":{serial}"))
            }
            Self::Sim(sim) => write!(f, "sim {:?}", sim.emulator.device()),
        }
    }
}

/// An emulator that the daemon starts itself.
#[derive(Debug, Clone, PartialEq)]
pub struct SimSpec {
    /// Which one.
    pub emulator: SimEmulator,
    /// Seed of its noise; without one a new one each time, which is printed.
    pub seed: Option<u64>,
    /// How many times faster than the real thing its clock runs; as fast as the real thing if nothing is said.
    pub speed: Option<f64>,
}

/// An emulator, with the faults that it plays.
#[derive(Debug, Clone, PartialEq)]
pub enum SimEmulator {
    /// A power meter in front of a simulated PC of its own.
    WattsUp(FaultPlan),
    /// A device of the one PC that the daemon simulates: whichever has these faults.
    OfPc(Faults),
}

impl SimEmulator {
    /// Which device that is.
    pub fn device(&self) -> SimDevice {
        match self {
            Self::WattsUp(_) => SimDevice::WattsUp,
            Self::OfPc(faults) => SimDevice::OfPc(faults.device()),
        }
    }
}

/// Devices that can be simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimDevice {
    /// A Watts Up? PRO power meter in front of a simulated PC of its own, which works without end.
    WattsUp,
    /// A device of the one PC that the daemon simulates.
    OfPc(Device),
}

impl SimDevice {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::WattsUp,
        Self::OfPc(Device::PowerMeter),
        Self::OfPc(Device::Atx),
        Self::OfPc(Device::Keyboard),
    ];

    /// Its name in `plugins.toml` and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WattsUp => "wattsup",
            Self::OfPc(device) => device.name(),
        }
    }
}

/// Line settings as far as they are written; the rest comes from the driver's manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LineOverrides {
    /// `baud-rate`.
    pub baud_rate: Option<u32>,
    /// `data-bits`.
    pub data_bits: Option<DataBits>,
    /// `parity`.
    pub parity: Option<Parity>,
    /// `stop-bits`.
    pub stop_bits: Option<StopBits>,
    /// `flow-control`.
    pub flow_control: Option<FlowControl>,
}

impl LineOverrides {
    /// The line settings to use on a port for which the manifest says `manifest`.
    pub fn over(&self, manifest: LineSettings) -> LineSettings {
        LineSettings {
            baud_rate: self.baud_rate.unwrap_or(manifest.baud_rate),
            data_bits: self.data_bits.unwrap_or(manifest.data_bits),
            parity: self.parity.unwrap_or(manifest.parity),
            stop_bits: self.stop_bits.unwrap_or(manifest.stop_bits),
            flow_control: self.flow_control.unwrap_or(manifest.flow_control),
        }
    }
}
