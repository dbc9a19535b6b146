//! What a plugin is and what it wants, as JSON and in words.

use serde_json::{Value, json};

use super::load::Loaded;
use super::printable;
use crate::config::DriverLimits;
use crate::driver::manifest::Manifest;
use crate::serial::DisplayLine;

/// One thing that the configuration has to give a driver, or may.
pub(super) struct Want {
    /// What it is, as `plugins.toml` calls it.
    pub(super) kind: &'static str,
    /// Which.
    pub(super) name: String,
    /// How much of it, where that is a question.
    pub(super) bytes: Option<u64>,
    /// In words.
    pub(super) words: String,
}

impl Want {
    /// Whether whoever was granted this needs no other grant for that.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.kind == other.kind && self.name == other.name && self.bytes >= other.bytes
    }

    pub(super) fn to_json(&self) -> Value {
        json!({ "kind": self.kind, "name": self.name, "bytes": self.bytes, "words": self.words })
    }
}

/// Everything that a driver wants to be granted.
pub(super) fn wants(manifest: &Manifest) -> Vec<Want> {
    let ports = manifest.ports.iter().map(|port| {
        let need = if port.required {
            "it cannot run without it"
        } else {
            "it can do without"
        };
        let usb = match port.usb.as_slice() {
            [] => String::new(),
            ids => format!("; found by USB {}", ids.join(", ")),
        };
        Want {
            kind: "port",
            name: port.name.clone(),
            bytes: None,
            words: format!(
                "the port {:?} at {}: {} ({need}{usb})",
                port.name,
                DisplayLine(port.line),
                port.description
            ),
        }
    });
    let slices = manifest.observes.iter().map(|slice| Want {
        kind: "read-slices",
        name: slice.clone(),
        bytes: None,
        words: format!("to read the slice {slice:?} of another driver"),
    });
    let commands = manifest.commands.iter().filter(|command| command.dangerous);
    let commands = commands.map(|command| Want {
        kind: "dangerous-commands",
        name: command.name.clone(),
        bytes: None,
        words: format!(
            "the command {:?}, which can harm what the bench runs: {}",
            command.name, command.description
        ),
    });
    let default = DriverLimits::default();
    let limit = |name: &str, what: &str, asked: Option<u64>, default: usize| {
        let bytes = asked.unwrap_or(default as u64);
        let asked = if asked.is_some() {
            ""
        } else {
            ", which every driver gets"
        };
        Want {
            kind: "limit",
            name: name.to_owned(),
            bytes: Some(bytes),
            words: format!("{what} of {}{asked}", size(bytes)),
        }
    };
    ports
        .chain(slices)
        .chain(commands)
        .chain([
            limit("memory", "memory", manifest.memory_bytes, default.memory_bytes),
            limit("slice", "a slice", manifest.slice_bytes, default.slice_bytes),
        ])
        .collect()
}

/// The plugin as one object.
pub(super) fn as_json(loaded: &Loaded) -> Value {
    let prepared = &loaded.prepared;
    let wants: Vec<_> = wants(&prepared.manifest)
        .into_iter()
        .map(|want| want.to_json())
        .collect();
    json!({
        "name": prepared.manifest.name,
        "version": prepared.manifest.version,
        "sha256": prepared.hash.to_string(),
        "fileBytes": loaded.file_bytes,
        "imports": imports(loaded),
        "wants": wants,
        "manifest": prepared.manifest,
    })
}

/// Names of what the component imports.
pub(super) fn imports(loaded: &Loaded) -> Vec<String> {
    let component = loaded.prepared.pre.instance_pre().component();
    let names = component.component_type();
    let mut imports: Vec<_> = names
        .imports(loaded.engine.wasmtime())
        .map(|(name, _)| name.to_owned())
        .collect();
    imports.sort_unstable();
    imports
}

/// The plugin for a person.
pub(super) fn in_words(loaded: &Loaded) -> String {
    let manifest = &loaded.prepared.manifest;
    let mut text = format!(
        "{} {}: {}\n  {}, SHA-256 {}\n  device type {}, slice {}, snapshots of version {}\nIt wants:",
        manifest.name,
        manifest.version,
        manifest.description,
        size(loaded.file_bytes),
        loaded.prepared.hash,
        manifest.device_type,
        manifest.slice,
        manifest.snapshot_version,
    );
    for want in wants(manifest) {
        text.push_str(&format!("\n  {}", want.words));
    }
    list(&mut text, "It pushes the series:", &series(manifest));
    list(&mut text, "It takes the commands:", &commands(manifest));
    list(&mut text, "It imports:", &imports(loaded));
    let lines: Vec<_> = loaded.logs.iter().map(|line| line.message.clone()).collect();
    list(&mut text, "It logged while it described itself:", &lines);
    printable(&text)
}

fn list(text: &mut String, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        text.push('\n');
        text.push_str(title);
    }
    for line in lines {
        text.push_str(&format!("\n  {line}"));
    }
}

fn series(manifest: &Manifest) -> Vec<String> {
    let series = manifest.series.iter();
    series
        .map(|series| format!("{} in {}: {}", series.name, series.unit, series.description))
        .collect()
}

fn commands(manifest: &Manifest) -> Vec<String> {
    let commands = manifest.commands.iter();
    commands
        .map(|command| {
            let mark = match (command.dangerous, command.hold) {
                (true, true) => " (dangerous, while held)",
                (true, false) => " (dangerous)",
                (false, true) => " (while held)",
                (false, false) => "",
            };
            format!("{}{mark}: {}", command.name, command.description)
        })
        .collect()
}

/// Bytes as a person reads them.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}
