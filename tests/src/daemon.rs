//! The daemon as a process, in a folder of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Artifacts, Client, PATIENCE, get};

/// A bench: a folder with plugins and configuration.
pub struct Bench {
    folder: TempDir,
    /// What it runs.
    pub artifacts: Artifacts,
}

/// One `[devices.<id>]` of a story.
#[derive(Debug, Clone)]
pub struct DeviceEntry {
    /// Its id.
    pub id: String,
    /// Its plugin.
    pub plugin: String,
    /// Its slice.
    pub slice: String,
    /// The link of its port `main`; empty if it has none.
    pub link: PathBuf,
    /// More lines of TOML behind it.
    pub more: String,
}

impl DeviceEntry {
    /// A device with one port.
    pub fn new(id: &str, plugin: &str, link: &Path) -> Self {
        Self {
            id: id.to_owned(),
            plugin: plugin.to_owned(),
            slice: id.to_owned(),
            link: link.to_owned(),
            more: String::new(),
        }
    }

    /// A device without a port.
    pub fn without_port(id: &str, plugin: &str) -> Self {
        Self::new(id, plugin, Path::new(""))
    }

    /// The power meter, as the page expects it.
    pub fn meter(link: &Path) -> Self {
        Self {
            slice: "powerMeter".to_owned(),
            ..Self::new("meter", "power-meter", link)
        }
    }

    fn toml(&self) -> String {
        let Self {
            id,
            plugin,
            slice,
            link,
            more,
        } = self;
        let port = match link.as_os_str().is_empty() {
            true => String::new(),
            false => format!("[devices.{id}.ports.main]\npath = \"{}\"\n", link.display()),
        };
        format!("[devices.{id}]\nplugin = \"{plugin}\"\nslice = \"{slice}\"\n{port}{more}\n")
    }
}

impl Bench {
    /// An empty bench.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bench = Self {
            folder,
            artifacts: Artifacts::find(),
        };
        std::fs::create_dir(bench.plugins()).unwrap();
        bench
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its folder of plugins.
    pub fn plugins(&self) -> PathBuf {
        self.folder().join("plugins")
    }

    /// Its configuration.
    pub fn config(&self) -> PathBuf {
        self.folder().join("plugins.toml")
    }

    /// Puts a plugin into its folder the way a careful tool does: written aside, then moved.
    pub fn install(&self, stem: &str, bytes: &[u8]) {
        let aside = self.folder().join(format!("{stem}.aside"));
        std::fs::write(&aside, bytes).unwrap();
        std::fs::rename(&aside, self.plugins().join(format!("{stem}.wasm"))).unwrap();
    }

    /// Writes the configuration for some devices.
    pub fn configure(&self, devices: &[DeviceEntry]) {
        self.configure_with("", devices);
    }

    /// Writes the configuration with more lines in `[daemon]`.
    pub fn configure_with(&self, daemon: &str, devices: &[DeviceEntry]) {
        let mut text = format!(
            "[daemon]\nlisten = \"127.0.0.1:0\"\nplugins-dir = \"plugins\"\ndata-dir = \"data\"\nweb-dir = \"{}\"\n{daemon}\n",
            self.artifacts.web.display()
        );
        for device in devices {
            text.push_str(&device.toml());
        }
        self.write_config(&text);
    }

    /// Puts a configuration in its place the way a careful editor does. Between the emptying and the writing of a file a stalled machine could
    /// let the daemon take the empty one at its word.
    pub fn write_config(&self, text: &str) {
        let aside = self.folder().join("plugins.aside");
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(aside, self.config()).unwrap();
    }

    /// Makes each start listen on one port, for a page that outlives its daemon. Below the ports that the kernel hands out, so that no
    /// connection takes it while no daemon has it.
    pub fn listen_on_fixed_port(&self) {
        let start = 12_000 + u16::try_from(std::process::id() % 15_000).unwrap();
        let port = (start..start + 5_000)
            .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
            .expect("a free port");
        let text = std::fs::read_to_string(self.config()).unwrap();
        let fixed = text.replace(
            "listen = \"127.0.0.1:0\"",
            &format!("listen = \"127.0.0.1:{port}\""),
        );
        assert_ne!(fixed, text, "the configuration names no port to fix");
        self.write_config(&fixed);
    }

    /// Starts the daemon and waits until it serves.
    pub fn start(&self) -> Daemon {
        self.start_with(&[])
    }

    /// As [`Self::start`], with more in the environment.
    pub fn start_with(&self, environment: &[(&str, &str)]) -> Daemon {
        Daemon::start(&self.artifacts, self.folder(), &self.config(), environment)
    }

    /// As [`Self::start`], with more on the command line.
    pub fn start_with_arguments(&self, arguments: &[&str]) -> Daemon {
        Daemon::start_saying(&self.artifacts, self.folder(), &self.config(), &[], arguments)
    }

    /// As [`Self::start`], the way an engineer types it: in the bench's folder, with the file's bare name.
    pub fn start_in_folder(&self) -> Daemon {
        Daemon::start(&self.artifacts, self.folder(), Path::new("plugins.toml"), &[])
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

/// A daemon that serves.
pub struct Daemon {
    child: Child,
    address: String,
    errors: Arc<Mutex<String>>,
}

impl Daemon {
    fn start(artifacts: &Artifacts, folder: &Path, config: &Path, environment: &[(&str, &str)]) -> Self {
        Self::start_saying(artifacts, folder, config, environment, &[])
    }

    fn start_saying(
        artifacts: &Artifacts,
        folder: &Path,
        config: &Path,
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> Self {
        let mut child = Command::new(&artifacts.binary)
            .current_dir(folder)
            .args(["--json", "serve", "--config"])
            .arg(config)
            .args(arguments)
            // What names the artifacts to the stories is nothing that a daemon is started with.
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("AUTOBENCH_")))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the daemon starts");
        let errors = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&errors);
        let mut stderr = child.stderr.take().unwrap();
        // Ends with the daemon, which is killed at the latest when it is dropped.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = stderr.read(&mut buffer) {
                if count == 0 {
                    break;
                }
                let mut kept = kept.lock().unwrap();
                kept.push_str(&String::from_utf8_lossy(&buffer[..count]));
                // A story that fails shows the end of it.
                if kept.len() > 1 << 20 {
                    let cut = kept.len() - (1 << 19);
                    let cut = kept.ceil_char_boundary(cut);
                    kept.drain(..cut);
                }
            }
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = loop {
            let Some(Ok(line)) = lines.next() else {
                let _ = child.wait();
                panic!("the daemon does not serve: {}", errors.lock().unwrap());
            };
            let event: Value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
            if event["event"] == "listening" {
                break event["url"].as_str().expect("a URL").to_owned();
            }
        };
        let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Self {
            child,
            address,
            errors,
        }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The page.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it said on standard error.
    pub fn errors(&self) -> String {
        self.errors.lock().unwrap().clone()
    }

    /// The state document over HTTP.
    pub async fn state(&self) -> Value {
        let response = get(&self.address, "/api/v1/state").await;
        assert_eq!(response.status, 200);
        response.json()
    }

    /// A member of the state, by JSON Pointer.
    pub async fn member(&self, pointer: &str) -> Option<Value> {
        self.state().await.pointer(pointer).cloned()
    }

    /// A new client.
    pub async fn client(&self) -> Client {
        Client::connect(&self.address).await
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        signal(self.child.id(), rustix::process::Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("its end is seen") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the daemon does not stop: {}",
                self.errors()
            );
            std::thread::yield_now();
        }
    }

    /// Kills it as a power cut would.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- what the daemon said ---\n{}", self.errors());
        }
    }
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .expect("a process");
    rustix::process::kill_process(pid, signal).expect("the daemon is signalled");
}
