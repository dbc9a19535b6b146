//! `[devices.<id>]`: plugin, slice, settings, limits and grants.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use autobench_core::state::FORBIDDEN_KEYS;

use super::model::{DaemonConfig, DeviceConfig, DriverLimits, Grants};
use super::name::{DeviceId, PluginName, SliceName};
use super::ports::{Lines, port};
use super::problem::{Weight, nearest};
use super::raw::RawDevice;
use super::tree::{At, Datum, Findings, Table};
use super::values::{MAX_EXACT_INTEGER, integer, name};

/// Slices that are given away: to which device, and where that is written.
type Slices = BTreeMap<SliceName, (String, At)>;

/// Which devices may be without their plugin's file, and stand still until it comes. For all others that is a mistake.
#[derive(Debug, Clone, Copy)]
pub enum Waiting<'a> {
    /// None of them.
    Nobody,
    /// All of them.
    Everybody,
    /// Those that are bound to the same plugin here.
    BoundIn(&'a BTreeMap<DeviceId, DeviceConfig>),
}

impl Waiting<'_> {
    fn covers(self, id: &str, plugin: &PluginName) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everybody => true,
            Self::BoundIn(devices) => devices.get(id).is_some_and(|device| device.plugin == *plugin),
        }
    }
}

/// Devices by id. A device with a problem is left out, and the problem keeps the configuration from being used.
pub fn devices(
    raw: &[RawDevice],
    daemon: &DaemonConfig,
    folder: &Path,
    waiting: Waiting<'_>,
    findings: &mut Findings,
) -> BTreeMap<DeviceId, DeviceConfig> {
    let mut devices = BTreeMap::new();
    let mut slices = Slices::new();
    let mut lines = Lines::default();
    let plugins = PluginFiles::read(&daemon.plugins_dir);
    for raw in raw {
        let id = name(&raw.id, |text| DeviceId::new(text), findings);
        let plugin = plugin(raw, &plugins, waiting, findings);
        let slice = slice(raw, id.as_ref(), &mut slices, findings);
        let ports = raw
            .ports
            .iter()
            .filter_map(|port| self::port(raw, port, folder, &mut lines, findings))
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
            // Whether there are commands of these names only the manifest can say, and it may change while the daemon runs.
            let dangerous_commands = raw.dangerous_commands.iter();
            let grants = Grants {
                read_slices,
                dangerous_commands: dangerous_commands.map(|written| written.value.clone()).collect(),
            };
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
    check_grants(raw, &slices, findings);
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

fn plugin(
    raw: &RawDevice,
    files: &PluginFiles,
    waiting: Waiting<'_>,
    findings: &mut Findings,
) -> Option<PluginName> {
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
    if waiting.covers(&raw.id.value, &plugin) {
        let place = findings.place(&written.at);
        findings.problem(Weight::Warning, "missing-plugin", place, message, hint);
        return Some(plugin);
    }
    findings.error("missing-plugin", &written.at, message, hint);
    None
}

fn slice(
    raw: &RawDevice,
    id: Option<&DeviceId>,
    slices: &mut Slices,
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
    if let Some((other, first)) = slices.get(&slice) {
        let first = findings.place(first);
        findings.error(
            "slice-taken",
            at,
            format!("the device \"{}\" has the slice \"{slice}\", which is the device \"{other}\"'s already ({first})", raw.id.value),
            format!("write slice = \"{slice}2\" in [devices.{}], or another name", raw.id.value),
        );
        return None;
    }
    slices.insert(slice.clone(), (raw.id.value.clone(), at.clone()));
    Some(slice)
}

// --- settings ---

type Object = serde_json::Map<String, serde_json::Value>;

fn settings(table: &Table, findings: &mut Findings) -> Object {
    let mut object = Object::new();
    for (key, node) in table {
        if FORBIDDEN_KEYS.contains(&key.as_str()) {
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

// --- grants ---

fn check_grants(raw: &[RawDevice], slices: &Slices, findings: &mut Findings) {
    for written in raw.iter().flat_map(|device| &device.read_slices) {
        let Ok(slice) = SliceName::new(written.value.as_str()) else {
            continue;
        };
        if !slices.contains_key(&slice) {
            let names = slices.keys().map(SliceName::as_str);
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
