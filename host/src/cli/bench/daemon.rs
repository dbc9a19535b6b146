//! A daemon of the bench's own.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

/// A daemon on an empty bench, in a process of its own. It ends with this, and also when this process is killed: its orders end then.
#[derive(Debug)]
pub(super) struct OwnDaemon {
    child: Child,
    orders: Option<ChildStdin>,
    events: Lines<BufReader<ChildStdout>>,
    url: String,
    // Holds configuration and data for as long as the daemon runs.
    _folder: tempfile::TempDir,
}

impl OwnDaemon {
    pub(super) fn start(clients: usize, interval_ms: u64) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("there is no place for the bench's own daemon")?;
        let config = folder.path().join("plugins.toml");
        std::fs::create_dir(folder.path().join("plugins"))?;
        let limit = clients + 100;
        let text = format!(
            "[daemon]\nlisten = \"127.0.0.1:0\"\nplugins-dir = \"plugins\"\ndata-dir = \"data\"\n\
             broadcast-interval-ms = {interval_ms}\n[daemon.limits]\nclients = {limit}\n"
        );
        std::fs::write(&config, text)?;
        let mut child = Command::new(std::env::current_exe().context("this program cannot find itself")?)
            .args(["serve", "--json", "--load-control", "--config"])
            .arg(&config)
            // One line per client and request is not what is measured.
            .env("LOG_LEVEL", "error")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the bench's own daemon cannot be started")?;
        let orders = child.stdin.take();
        let events = child.stdout.take().context("the daemon has no output")?;
        let mut daemon = Self {
            child,
            orders,
            events: BufReader::new(events).lines(),
            url: String::new(),
            _folder: folder,
        };
        daemon.url = daemon.event("listening", "url")?;
        Ok(daemon)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// One line of `autobench::load::obey`. When this returns it is so.
    pub(super) fn order(&mut self, line: &str) -> anyhow::Result<()> {
        if let Some(orders) = &mut self.orders {
            writeln!(orders, "{line}")
                .and_then(|()| orders.flush())
                .context("the bench's own daemon is gone")?;
        }
        self.event("obeyed", "order").map(drop)
    }

    /// Waits for an event, and gives a member of it.
    fn event(&mut self, name: &str, wanted: &str) -> anyhow::Result<String> {
        for line in &mut self.events {
            let event: Value = serde_json::from_str(&line?)?;
            if member(&event, "event") == Some(name)
                && let Some(value) = member(&event, wanted)
            {
                return Ok(value.to_owned());
            }
        }
        bail!("the bench's own daemon has ended; what it said is above")
    }
}

impl Drop for OwnDaemon {
    fn drop(&mut self) {
        // The end of its orders ends it.
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}

fn member<'v>(event: &'v Value, name: &str) -> Option<&'v str> {
    event.get(name).and_then(Value::as_str)
}
