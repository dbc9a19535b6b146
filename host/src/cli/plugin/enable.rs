//! `autobench plugin enable`: an entry for a device, written behind what is in `plugins.toml` already, of which no byte changes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use serde_json::json;

use super::ask;
use crate::cli::usage::wrong;
use crate::cli::{Announcer, Failure};
use crate::config::{
    BenchConfig, ConfigLoader, DeviceConfig, DeviceId, Environment, NameError, Overrides, PluginName,
    PortName, SliceName, Waiting,
};
use crate::durable;

pub(super) const HELP: &str = "\
Examples:
  autobench plugin enable power-meter --device meter --slice powerMeter --port main=/dev/serial/by-id/usb-FTDI-if00
  autobench plugin enable power-meter --device meter --port main=usb:0403:6001
  autobench plugin enable power-meter --device spare --port main=sim:wattsup

A daemon that runs on this file takes the device in at once, and touches no other.";

/// `autobench plugin enable`.
#[derive(Debug, Args, PartialEq)]
pub struct EnableArguments {
    /// The plugin: the name of a file in the plugin folder, without .wasm
    #[arg(value_name = "PLUGIN")]
    pub plugin: String,
    /// Name of the device: letters, digits, dashes
    #[arg(long, value_name = "NAME")]
    pub device: String,
    /// The device's member of the state; without it the device's name in camel case
    #[arg(long, value_name = "NAME")]
    pub slice: Option<String>,
    /// A port that the driver asks for, and where its line is found
    #[arg(long, value_name = "NAME=PATH|usb:VVVV:PPPP[:SERIAL]|sim:DEVICE", value_parser = port)]
    pub port: Vec<Port>,
    /// The bench's file
    #[arg(
        long,
        value_name = "FILE",
        default_value = "plugins.toml",
        env = "AUTOBENCH_CONFIG"
    )]
    pub config: PathBuf,
}

/// A port on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    name: String,
    key: &'static str,
    value: String,
}

pub(super) fn enable(
    arguments: &EnableArguments,
    environment: Environment,
    json: bool,
) -> Result<(), Failure> {
    write(arguments, environment, json, |config, device| {
        ask(config, std::iter::once(device))
    })
}

/// Writes the entry, if `ask` has nothing to say against it.
fn write(
    arguments: &EnableArguments,
    environment: Environment,
    json: bool,
    ask: impl Fn(&BenchConfig, &DeviceConfig) -> anyhow::Result<Vec<String>>,
) -> Result<(), Failure> {
    check_names(arguments).map_err(wrong)?;
    // What a link leads to is changed, and not the link.
    let file = arguments
        .config
        .canonicalize()
        .map_err(|error| anyhow!("{} cannot be found: {error}", arguments.config.display()))?;
    let before = read(&file)?;
    let entry = entry(arguments, line_end(&before));
    let after = format!("{before}{}{entry}", gap(&before, line_end(&before)));
    let loader = ConfigLoader::new(&arguments.config, environment, Overrides::default());
    let known = refuse_known(&loader, &before, arguments)?;
    // As the daemon does: a file that is gone is its own device's affair.
    let config = loader.load_text(&after, Waiting::BoundIn(&known.devices))?;
    if let Some(device) = config.devices.get(&*arguments.device) {
        let problems = ask(&config, device)?;
        if !problems.is_empty() {
            return Err(anyhow!("nothing is written: {}", problems.join("; ")).into());
        }
    }
    // Somebody may have saved it meanwhile.
    if read(&file)? != before {
        return Err(anyhow!(
            "{} was changed meanwhile; nothing is written, try again",
            file.display()
        )
        .into());
    }
    durable::replace_in_kind(&file, after.as_bytes())
        .with_context(|| format!("{} cannot be written", file.display()))?;
    let event = json!({
        "event": "enabled",
        "file": arguments.config,
        "device": arguments.device,
        "plugin": arguments.plugin,
        "written": entry,
    });
    let text = format!(
        "Written to {}:\n\n{}",
        arguments.config.display(),
        entry.trim_end()
    );
    Announcer::new(json).tell(&event, &text);
    Ok(())
}

/// They are for whoever typed them to mend, and for no file.
fn check_names(arguments: &EnableArguments) -> Result<(), NameError> {
    PluginName::new(&*arguments.plugin)?;
    DeviceId::new(&*arguments.device)?;
    if let Some(slice) = &arguments.slice {
        SliceName::new(&**slice)?;
    }
    for port in &arguments.port {
        PortName::new(&*port.name)?;
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// A file that is not good as it is is not added to; nor is a device that is there written twice.
fn refuse_known(
    loader: &ConfigLoader,
    before: &str,
    arguments: &EnableArguments,
) -> Result<BenchConfig, Failure> {
    let config = loader.load_text(before, Waiting::Everybody)?;
    if config.devices.keys().any(|id| id.as_str() == arguments.device) {
        let file = loader.path().display();
        return Err(anyhow!(
            "there is a device {:?} already; change its entry in {file} or in plugins.d, or take another name",
            arguments.device
        )
        .into());
    }
    Ok(config)
}

fn line_end(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// What stands between what is there and the entry.
fn gap(before: &str, line_end: &str) -> String {
    match before {
        "" => String::new(),
        _ if before.ends_with('\n') => line_end.to_owned(),
        _ => line_end.repeat(2),
    }
}

fn entry(arguments: &EnableArguments, line_end: &str) -> String {
    let EnableArguments {
        plugin,
        device,
        slice,
        port,
        ..
    } = arguments;
    let mut lines = format!("[devices.{}]\nplugin = {}\n", key(device), text(plugin));
    if let Some(slice) = slice {
        // A text takes whatever is written to it.
        let _ = writeln!(lines, "slice = {}", text(slice));
    }
    for Port {
        name,
        key: source,
        value,
    } in port
    {
        let _ = writeln!(
            lines,
            "\n[devices.{}.ports.{}]\n{source} = {}",
            key(device),
            key(name),
            text(value)
        );
    }
    lines.replace('\n', line_end)
}

/// A key, in quotes where it needs them: whether it is a good name is for the configuration to say.
fn key(name: &str) -> String {
    let is_bare = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_bare { name.to_owned() } else { text(name) }
}

fn text(value: &str) -> String {
    toml::Value::from(value).to_string()
}

fn port(written: &str) -> Result<Port, String> {
    let parse = || -> anyhow::Result<Port> {
        let Some((name, place)) = written.split_once('=') else {
            bail!("no name");
        };
        let (key, value) = match place.split_once(':') {
            Some(("usb", ids)) => ("usb", ids),
            Some(("sim", device)) => ("sim", device),
            _ => ("path", place),
        };
        if name.is_empty() || value.is_empty() {
            bail!("a part is empty");
        }
        Ok(Port {
            name: name.to_owned(),
            key,
            value: value.to_owned(),
        })
    };
    parse().map_err(|_| {
        "write NAME=PATH, for example main=/dev/ttyUSB0, main=usb:0403:6001 or main=sim:wattsup".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(file: &Path, ports: &[&str]) -> EnableArguments {
        EnableArguments {
            plugin: "power-meter".to_owned(),
            device: "spare".to_owned(),
            slice: None,
            port: ports.iter().map(|written| port(written).unwrap()).collect(),
            config: file.to_owned(),
        }
    }

    fn bench(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        std::fs::write(plugins.join("power-meter.wasm"), b"").unwrap();
        let file = folder.path().join("plugins.toml");
        std::fs::write(&file, text).unwrap();
        (folder, file)
    }

    fn run(arguments: &EnableArguments) -> Result<(), String> {
        let agrees = |_: &BenchConfig, _: &DeviceConfig| Ok(Vec::new());
        write(arguments, Environment::default(), true, agrees).map_err(|failure| failure.to_string())
    }

    const BENCH: &str = "# A bench.\n[daemon] # here\nlisten   =  '127.0.0.1:0'\ndata-dir = 'data'\n\n[devices.meter]\nplugin = \"power-meter\"  # the good one\nports.main.sim = \"wattsup\"";

    #[test]
    fn an_entry_is_written_behind_what_is_there_of_which_no_byte_changes() {
        use std::os::unix::fs::PermissionsExt;
        for line_end in ["\n", "\r\n"] {
            let before = format!("{BENCH}\n").replace('\n', line_end);
            let (_folder, file) = bench(&before);
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
            let mut wanted = arguments(&file, &["main=/dev/spare \"meter\""]);
            wanted.slice = Some("spareMeter".to_owned());
            run(&wanted).unwrap();
            let after = std::fs::read_to_string(&file).unwrap();
            let added = after.strip_prefix(&before).expect("what was there is as it was");
            let expected = "\n[devices.spare]\nplugin = \"power-meter\"\nslice = \"spareMeter\"\n\n[devices.spare.ports.main]\npath = '/dev/spare \"meter\"'\n";
            assert_eq!(added, expected.replace('\n', line_end));
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o640);
            let config = ConfigLoader::new(&file, Environment::default(), Overrides::default())
                .load()
                .unwrap();
            assert_eq!(config.devices.len(), 2);
        }
    }

    #[test]
    fn what_the_daemon_would_refuse_is_not_written() {
        let (_folder, file) = bench(BENCH);
        let refused = |arguments: &EnableArguments, why: &str| {
            let said = run(arguments).unwrap_err();
            assert!(said.contains(why), "{said}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), BENCH);
        };
        let good = || arguments(&file, &["main=usb:0403:6001"]);
        refused(
            &EnableArguments {
                device: "meter".to_owned(),
                ..good()
            },
            "already",
        );
        refused(
            &EnableArguments {
                plugin: "power-metre".to_owned(),
                ..good()
            },
            "did you mean \"power-meter\"",
        );
        refused(
            &EnableArguments {
                device: "a b".to_owned(),
                ..good()
            },
            "a b",
        );
        refused(&arguments(&file, &["main=tty0"]), "tty0");
        refused(&arguments(&file, &["main=/dev/a", "main=/dev/b"]), "duplicate");
        for wrong in ["main", "=x", "main=", "main=usb:"] {
            assert!(port(wrong).is_err(), "{wrong}");
        }
        // A file with a mistake is mended first.
        std::fs::write(&file, "[daemon]\nlisten = 1\n").unwrap();
        assert!(run(&good()).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "[daemon]\nlisten = 1\n");
    }
}
