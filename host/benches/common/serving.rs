//! The daemon as a user runs it, in a process of its own, with the power meter's driver on a line.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::plugins;

/// Lines of `plugins.toml` beside those that every bench has.
#[derive(Default)]
pub struct Further<'a> {
    pub daemon: &'a str,
    pub device: &'a str,
    pub port: &'a str,
}

/// Makes a folder with the driver and a `plugins.toml` that binds it to a line.
pub fn set_up(folder: &Path, line: &Path, further: &Further<'_>) {
    let plugin = plugins::path_of("power-meter");
    std::fs::create_dir(folder.join("plugins")).unwrap();
    if let Err(error) = std::fs::copy(&plugin, folder.join("plugins/power-meter.wasm")) {
        panic!("{}: {error}\n{}", plugin.display(), plugins::HINT);
    }
    let Further { daemon, device, port } = further;
    let config = format!(
        "[daemon]\nlisten = \"127.0.0.1:0\"\nplugins-dir = \"plugins\"\ndata-dir = \"data\"\n{daemon}\
         [devices.meter]\nplugin = \"power-meter\"\n{device}\
         [devices.meter.ports.main]\npath = \"{}\"\n{port}",
        line.display()
    );
    std::fs::write(folder.join("plugins.toml"), config).unwrap();
}

/// A daemon that serves. It ends with this.
pub struct Serving {
    child: Child,
    /// Where it serves, as host and port.
    pub address: String,
    /// Kept open: what else it says is nobody's, but it may say it.
    events: Lines<BufReader<ChildStdout>>,
}

impl Serving {
    /// On a folder that was set up, until it listens. What it logs shows from a level on, if there is one.
    pub fn start(folder: &Path, shown: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_autobench"));
        command
            .args(["--json", "serve", "--config"])
            .arg(folder.join("plugins.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        match shown {
            Some(level) => command.env("LOG_LEVEL", level),
            None => command.stderr(Stdio::null()),
        };
        let mut child = command.spawn().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut serving = Self {
            child,
            address: String::new(),
            events,
        };
        serving.address = serving.listening();
        serving
    }

    fn listening(&mut self) -> String {
        for line in &mut self.events {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if let ("listening", Some(url)) = (
                event.get("event").and_then(Value::as_str).unwrap_or_default(),
                event.get("url").and_then(Value::as_str),
            ) {
                return url.trim_start_matches("http://").trim_end_matches('/').to_owned();
            }
        }
        panic!("the daemon ended before it served");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
