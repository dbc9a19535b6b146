//! A daemon of the bench's own.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, bail};
use parking_lot::Mutex;
use serde_json::Value;

/// A daemon on an empty bench, in a process of its own. It ends with this, and also when this process is killed: its orders end then.
#[derive(Debug)]
pub(super) struct OwnDaemon {
    child: Child,
    orders: Option<Mutex<ChildStdin>>,
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
        let orders = child.stdin.take().map(Mutex::new);
        let lines = child.stdout.take().map(BufReader::new);
        let mut daemon = Self {
            child,
            orders,
            url: String::new(),
            _folder: folder,
        };
        for line in lines.into_iter().flat_map(BufRead::lines) {
            let event: Value = serde_json::from_str(&line?)?;
            if let (Some("listening"), Some(url)) = (member(&event, "event"), member(&event, "url")) {
                daemon.url = url.to_owned();
                return Ok(daemon);
            }
        }
        bail!("the bench's own daemon ended before it served; what it said is above")
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// One line of `autobench::load::obey`.
    pub(super) fn order(&self, line: &str) -> anyhow::Result<()> {
        if let Some(orders) = &self.orders {
            let mut orders = orders.lock();
            writeln!(orders, "{line}")
                .and_then(|()| orders.flush())
                .context("the bench's own daemon is gone")?;
        }
        Ok(())
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
