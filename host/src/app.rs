//! Builds everything and stops it in reverse. The only module that knows all others.
//!
//! ```text
//! log, data folder -> store -> hub -> HTTP -> commands -> supervisor (drivers, ports) -> ready
//! ```
//!
//! The socket is bound before any driver runs: a daemon that cannot serve must not open a port either. At the end the drivers go first, so that
//! clients still see how they stop.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use autobench_core::state::{Pointer, Store};
use autobench_core::wire::{AppState, Limits, Meta, MetaStatus};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::access::{Audit, Guard};
use crate::cli::{Announcer, listen_error};
use crate::clock::Clock;
use crate::commands::Commands;
use crate::config::{BenchConfig, ConfigLoader};
use crate::data_folder::DataFolder;
use crate::driver::Cache;
use crate::driver::compile::Compiler;
use crate::driver::core_dump::CoreDumps;
use crate::driver::desk::Desk;
use crate::driver::endpoints::Endpoints;
use crate::driver::engine::{DebugInfo, Diagnosis, Engine};
use crate::driver::loader::Loader;
use crate::driver::shadow::ShadowRuns;
use crate::driver::supervisor::{Services, Supervisor};
use crate::http::{HttpConfig, Server};
use crate::hub::{Hub, HubConfig};
use crate::layout;
use crate::logs::{self, LogHandle};
use crate::metrics::Registry;
use crate::state::{StateConfig, StateHandle};

/// How long clients are given to take what they are owed when the daemon stops.
const GRACE: Duration = Duration::from_secs(2);

/// Everything that the command line decides before the daemon starts.
#[derive(Debug, Clone)]
pub struct AppOptions {
    /// The configuration to start with, already good.
    pub config: BenchConfig,
    /// Reads it again when a file has changed; the environment and the flags stay those of the start.
    pub loader: ConfigLoader,
    /// Whether standard output carries events as JSON, one per line.
    pub json: bool,
    /// Whether `/ws/echo` is there, for suites that test the socket from outside.
    pub test_endpoints: bool,
    /// Set for `autobench demo`.
    pub demo: Option<DemoOptions>,
    /// Makes load as standard input says, and stops at its end: for `autobench bench`.
    pub load_control: bool,
}

/// What `autobench demo` adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoOptions {
    /// Ends by itself after this time.
    pub for_duration: Option<Duration>,
    /// Opens the page in a browser.
    pub open: bool,
}

/// Runs the daemon until it is asked to stop.
pub fn run(options: AppOptions) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("io")
        .enable_all()
        .build()
        .context("the threads of the daemon cannot be started")?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
        let demo = options.demo;
        let load_control = options.load_control;
        let announcer = Announcer::new(options.json);
        // Compiling a large plugin takes a while: who asks to stop meanwhile need not wait for it.
        let app = tokio::select! {
            app = App::start(options) => app?,
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        };
        for simulated in app.supervisor.simulated() {
            announcer.sim(&simulated.device, &simulated.link.display().to_string());
        }
        announcer.listening(&app.url);
        if demo.is_some_and(|demo| demo.open) {
            open_page(&app.url);
        }
        let reason = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
            () = load(load_control, &app, announcer) => "there are no more orders for the load",
            () = elapsed(demo.and_then(|demo| demo.for_duration)) => "the time given with --for is over",
        };
        tracing::info!(channel = "app", "stopping: {reason}");
        tokio::select! {
            () = app.close() => Ok(()),
            _ = interrupt.recv() => anyhow::bail!("stopped at once by a second signal; what was on its way to devices or clients is cut off"),
            _ = terminate.recv() => anyhow::bail!("stopped at once by a second signal; what was on its way to devices or clients is cut off"),
        }
    })
}

struct App {
    // Held for its lock on the data folder.
    _data_folder: DataFolder,
    url: String,
    logs: LogHandle,
    state: StateHandle,
    server: Server,
    commands: Commands,
    supervisor: Supervisor,
}

impl App {
    async fn start(options: AppOptions) -> anyhow::Result<Self> {
        let AppOptions {
            config,
            loader: config_loader,
            test_endpoints,
            demo: _,
            json: _,
            load_control: _,
        } = options;
        let clock = Clock::start();
        let logs = start_log(&config)?;
        let data_folder = DataFolder::open(&config.daemon.data_dir)?;
        let boot_id = boot_id();
        let state = StateHandle::start(
            Store::new(&initial_state(&config, &boot_id)).context("the first state is refused")?,
            StateConfig {
                broadcast_interval: Duration::from_millis(config.daemon.broadcast_interval_ms),
                ring_bytes: config.daemon.limits.ring_bytes,
                ..StateConfig::new(boot_id)
            },
        );
        let audit = Audit::open(&config.daemon.data_dir, logs.clone())
            .context("the audit file in the data folder cannot be opened")?;
        let guard = Guard::new(&config.auth, config.ingest.token.as_deref(), audit);
        let endpoints = Endpoints::open(config.daemon.data_dir.join("endpoints.json"));
        let hub = Hub::start(hub_config(&config, guard), state.clone(), logs.clone());
        let metrics = Registry::default();
        let shadow_runs = ShadowRuns::default();
        let (desk, orders) = Desk::new();
        let http = HttpConfig {
            test_endpoints,
            metrics: metrics.clone(),
            desk,
            shadow_runs: shadow_runs.clone(),
            ..http_config(&config, endpoints.clone())
        };
        let server = Server::start(http, state.clone(), logs.clone(), hub.clone())
            .await
            .map_err(|error| listen_error(config.daemon.listen, &error))?;
        let url = format!("http://{}/", server.local_addr());
        tracing::info!(
            channel = "app",
            "autobench {} serves {url}",
            env!("CARGO_PKG_VERSION")
        );

        let commands = Commands::start(
            &config.daemon.data_dir,
            state.boot_id(),
            clock,
            logs.clone(),
            hub.clone(),
        )
        .context("the record of commands in the data folder cannot be read or written")?;
        hub.serve_commands(commands.router());
        let diagnosis = Diagnosis {
            debug_info: match config.daemon.debug_info {
                true => DebugInfo::Kept,
                false => DebugInfo::LeftOut,
            },
            core_dumps: config
                .daemon
                .core_dumps
                .then(|| CoreDumps::new(config.daemon.data_dir.join("dumps"))),
        };
        let debug_info = diagnosis.debug_info;
        let engine = Arc::new(
            Engine::new(diagnosis)
                .map_err(|error| anyhow::anyhow!("{error:#}"))
                .context("wasmtime cannot be started")?,
        );
        let cache = Cache::open(config.daemon.data_dir.join("code"), engine.wasmtime())?;
        let executable = std::env::current_exe()
            .context("this program cannot find itself, and compiles plugins by starting itself")?;
        let loader = Loader::new(engine, Compiler::new(cache, executable, debug_info));
        let services = Services {
            state: state.clone(),
            hub: hub.clone(),
            logs: logs.clone(),
            commands: commands.router().clone(),
            clock,
            endpoints,
            metrics,
            shadow_runs,
        };
        let supervisor = Supervisor::start(config, config_loader, loader, services, orders)
            .await
            .context("the supervisor cannot be started")?;
        set_status(&state, MetaStatus::Ready);
        Ok(Self {
            _data_folder: data_folder,
            url,
            logs,
            state,
            server,
            commands,
            supervisor,
        })
    }

    async fn close(self) {
        self.supervisor.close().await;
        let commands = self.commands;
        // Its thread may be waiting for the disk.
        let _ = tokio::task::spawn_blocking(move || commands.close()).await;
        self.server.close().await;
        self.state.close().await;
        tracing::info!(channel = "app", "stopped");
        self.logs.flush_terminal();
        self.logs.flush_file();
    }
}

fn start_log(config: &BenchConfig) -> anyhow::Result<LogHandle> {
    let logs = LogHandle::with_terminal(config.logs.clone()).context("the log cannot be started")?;
    if let Some(file) = &config.daemon.log_file {
        let path = file.path.display();
        logs.append_to(file.clone()).with_context(|| {
            format!("the log file {path} cannot be opened (daemon.log-file in the configuration)")
        })?;
    }
    logs::install(&logs).context("the log cannot be installed")?;
    Ok(logs)
}

fn initial_state(config: &BenchConfig, boot_id: &str) -> AppState {
    AppState {
        meta: Meta {
            boot_id: boot_id.to_owned(),
            started_at: crate::clock::now_iso(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            status: MetaStatus::Booting,
            clients: 0,
            max_client_lag_versions: 0,
            errors: 0,
            timings: BTreeMap::new(),
        },
        layout: layout::of(config),
        server_config: config.client.clone(),
        ..AppState::default()
    }
}

fn hub_config(config: &BenchConfig, guard: Guard) -> HubConfig {
    let limits = &config.daemon.limits;
    let u32_of = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let u32_ms = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    HubConfig {
        limits: Limits {
            clients: u32_of(limits.clients),
            subscriptions: u32_of(limits.subscriptions),
            messages_per_s: limits.messages_per_second,
            message_burst: limits.message_burst,
            message_bytes: u32_of(limits.message_bytes),
            heartbeat_interval_ms: u32_ms(limits.heartbeat_interval_ms),
            heartbeat_timeout_ms: u32_ms(limits.heartbeat_timeout_ms),
        },
        broadcast_interval: Duration::from_millis(config.daemon.broadcast_interval_ms),
        history_entries: u64::from(config.client.logs.snapshot),
        ring_bytes: limits.ring_bytes,
        deflate: config.daemon.deflate,
        guard,
        ..HubConfig::default()
    }
}

fn http_config(config: &BenchConfig, series: Endpoints) -> HttpConfig {
    HttpConfig {
        allowed_hosts: config.daemon.allowed_hosts.clone(),
        web_dir: config.daemon.web_dir.clone(),
        ingest_channels: config.ingest.allowed_channels.clone(),
        series,
        grace: GRACE,
        ..HttpConfig::new(config.daemon.listen)
    }
}

fn set_status(state: &StateHandle, status: MetaStatus) {
    let path = Pointer::of(["meta", "status"]);
    if let Ok(value) = serde_json::to_value(status) {
        // The member is there from the start.
        let _ = state.update(|store| store.set(&path, value));
    }
}

/// Names this run of the daemon. Not a secret: it only has to differ from that of the last run.
fn boot_id() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// Makes load until the orders on standard input end; for ever, if there are to be none.
async fn load(is_wanted: bool, app: &App, announcer: Announcer) {
    if !is_wanted {
        return std::future::pending().await;
    }
    let (state, logs) = (app.state.clone(), app.logs.clone());
    let (end, ended) = oneshot::channel();
    // A thread, and no blocking task: one that waits for standard input would keep the runtime from ending.
    let thread = std::thread::Builder::new()
        .name("load-control".to_owned())
        .spawn(move || {
            let say = |order: &str| announcer.obeyed(order);
            let obeyed = crate::load::obey(std::io::stdin().lock(), &state, &logs, say);
            let _ = end.send(obeyed);
        });
    match (thread, ended.await) {
        (Ok(_), Ok(Ok(()))) => {}
        (Err(error), _) | (_, Ok(Err(error))) => tracing::error!(channel = "app", "no load is made: {error}"),
        (_, Err(_)) => tracing::error!(channel = "app", "the load ended badly"),
    }
}

/// The time itself is what was asked for with `--for`.
async fn elapsed(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Shows the page in the desktop's browser, where there is a desktop.
fn open_page(url: &str) {
    let has_desktop = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    if !has_desktop || !Path::new("/usr/bin/xdg-open").exists() {
        return;
    }
    let opened = std::process::Command::new("/usr/bin/xdg-open")
        .arg(url)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    if let Err(error) = opened {
        tracing::warn!(
            channel = "app",
            "the page cannot be opened in a browser: {error}; it is at {url}"
        );
    }
}
