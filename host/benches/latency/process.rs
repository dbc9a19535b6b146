//! The daemon as a user runs it, with the power meter on a pseudo-terminal.

use std::io::{BufRead, BufReader, Lines};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use autobench_sim::pty::Pty;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio_tungstenite::tungstenite;

use crate::plugins;
use crate::serial::Line;

/// A cold start compiles the driver.
const START: Duration = Duration::from_secs(120);
/// What a meter answers when it is asked for its version.
const VERSION: &[u8] = b"#v,-,8,1,131071,5,2,3,14,0,0;\r\n";

pub struct Process {
    // Goes before its line: a line that is lost would be worth warnings.
    _daemon: Daemon,
    pub line: Line,
}

/// Ends with this.
struct Daemon {
    child: Child,
    events: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// In a folder of its own.
    pub fn start(folder: &Path, interval: Duration) -> Self {
        let pty = Pty::create(&folder.join("meter")).unwrap();
        let plugin = plugins::path_of("power-meter");
        std::fs::create_dir(folder.join("plugins")).unwrap();
        if let Err(error) = std::fs::copy(&plugin, folder.join("plugins/power-meter.wasm")) {
            panic!("{}: {error}\n{}", plugin.display(), plugins::HINT);
        }
        let config = format!(
            "[daemon]\nlisten = \"127.0.0.1:0\"\nplugins-dir = \"plugins\"\ndata-dir = \"data\"\n\
             broadcast-interval-ms = {}\n\
             [devices.meter]\nplugin = \"power-meter\"\nslice = \"powerMeter\"\n\
             [devices.meter.ports.main]\npath = \"{}\"\n",
            interval.as_millis(),
            pty.link().display()
        );
        std::fs::write(folder.join("plugins.toml"), config).unwrap();
        let mut daemon = Daemon::start(&folder.join("plugins.toml"));
        let address = daemon.address();
        let stream = TcpStream::connect(&address).unwrap();
        let (socket, _) = tungstenite::client(format!("ws://{address}/ws"), stream).unwrap();
        let mut line = Line::new(pty, socket);
        until_asked(&line.pty, "#V,R,0;");
        line.pty.write(VERSION).unwrap();
        until_asked(&line.pty, "#L,W,3,E");
        // The first row makes what the others change.
        line.row(0);
        Self {
            _daemon: daemon,
            line,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A daemon that stops waits for clients that do not go.
        let _ = self.line.socket.get_ref().shutdown(Shutdown::Both);
    }
}

impl Daemon {
    fn start(config: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_autobench"))
            .args(["serve", "--json", "--config"])
            .arg(config)
            // What goes wrong shows; the rest would be between the numbers.
            .env("LOG_LEVEL", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let events = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, events }
    }

    /// Waits until it serves.
    fn address(&mut self) -> String {
        for line in &mut self.events {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if let ("listening", Some(url)) = (
                event.get("event").and_then(Value::as_str).unwrap_or_default(),
                event.get("url").and_then(Value::as_str),
            ) {
                return url.trim_start_matches("http://").trim_end_matches('/').to_owned();
            }
        }
        panic!("the daemon ended before it served; what it said is above");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = kill_process(pid.unwrap(), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Waits until the driver has said something.
fn until_asked(pty: &Pty, question: &str) {
    let end = Instant::now() + START;
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while !heard.contains(question) {
        let left = end.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::from_borrowed_fd(pty.data(), PollFlags::IN)];
        let ready = poll(&mut fds, Some(&Timespec::try_from(left).unwrap())).unwrap();
        assert!(
            ready > 0,
            "the driver does not say {question:?} within {START:?}, but {heard:?}"
        );
        let count = pty.read(&mut buffer).unwrap();
        heard.push_str(&String::from_utf8_lossy(buffer.get(..count).unwrap()));
    }
}
