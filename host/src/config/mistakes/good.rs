//! Benches without a mistake, and what they mean.

use autobench_sim::bench::Device;

use super::*;

#[test]
fn an_empty_file_is_a_bench_without_devices() {
    let bench = Bench::new("");
    let config = bench.load().unwrap();
    let folder = bench.folder.path();
    assert_eq!(config.daemon.listen, "127.0.0.1:9898".parse().unwrap());
    assert_eq!(config.daemon.plugins_dir, folder.join("plugins"));
    assert_eq!(
        config.daemon.data_dir,
        PathBuf::from("/home/nobody/.local/state/autobench")
    );
    assert_eq!(config.daemon.web_dir, None);
    assert_eq!(config.daemon.broadcast_interval_ms, 10);
    assert!(config.daemon.deflate);
    assert!(!config.daemon.debug_info && !config.daemon.core_dumps);
    assert_eq!(config.daemon.limits.message_bytes, 65_536);
    assert_eq!(config.daemon.limits.ring_bytes, 8 << 20);
    assert_eq!(
        (
            config.daemon.limits.heartbeat_interval_ms,
            config.daemon.limits.heartbeat_timeout_ms
        ),
        (30_000, 60_000)
    );
    assert_eq!(
        (config.layout, config.devices.len(), config.warnings),
        (None, 0, vec![])
    );
    assert_eq!(config.client, autobench_core::wire::ServerConfig::default());
    assert_eq!(config.logs.capacity, 500);
}

#[test]
fn a_bench_with_everything_means_what_it_says() {
    use autobench_core::driver::{DataBits, FlowControl, Parity, StopBits};
    let bench = Bench::new(
        r#"
[daemon]
listen = "[::1]:0"
plugins-dir = "plugins"
data-dir = "/var/lib/x"
web-dir = "web"
sysfs-root = "sys"
allowed-hosts = ["Bench.local.", "192.0.2.7"]
broadcast-interval-ms = 0
deflate = false
debug-info = true
core-dumps = true
[daemon.limits]
clients = 7
message-kib = 1
ring-kib = 64
[devices.front-panel]
plugin = "atx"
[devices.front-panel.ports.main]
usb = "0403:6001:A:B"
baud-rate = 9600
data-bits = 7
parity = "even"
stop-bits = 2
flow-control = "hardware"
dtr = false
rts = true
hangup-on-close = false
exclusive = false
capture = "captures/panel.jsonl"
capture-mib = 2
[devices.front-panel.settings]
nested = { list = [1, 2.5, "x", true, 2024-01-01] }
[devices.front-panel.limits]
memory-mib = 8
slice-kib = 16
[devices.front-panel.grants]
read-slices = ["powerMeter"]
[devices.meter]
plugin = "power-meter"
slice = "powerMeter"
ports.main.sim = { device = "wattsup", seed = 7, speed = 2, faults = "nuls,split:50:20" }
[layout]
rows = 1
cols = 2
panes = [{ pane = "power-meter", device = "meter" }, { pane = "logs", col = 1 }]
"#,
    );
    let config = bench.load().unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.warnings, []);
    assert_eq!(config.daemon.allowed_hosts, ["bench.local", "192.0.2.7"]);
    assert!(!config.daemon.deflate);
    assert!(config.daemon.debug_info && config.daemon.core_dumps);
    assert_eq!(config.daemon.sysfs_root, bench.path("sys"));
    assert_eq!(config.daemon.web_dir, Some(bench.path("web")));
    assert_eq!(
        (
            config.daemon.limits.clients,
            config.daemon.limits.message_bytes,
            config.daemon.limits.ring_bytes
        ),
        (7, 1024, 64 << 10)
    );

    let panel = &config.devices["front-panel"];
    assert_eq!(panel.slice.as_str(), "frontPanel");
    let port = &panel.ports["main"];
    assert_eq!(
        port.source,
        PortSource::Usb {
            vendor: 0x0403,
            product: 0x6001,
            serial: Some("A:B".into())
        }
    );
    assert_eq!(
        port.line,
        LineOverrides {
            baud_rate: Some(9600),
            data_bits: Some(DataBits::Seven),
            parity: Some(Parity::Even),
            stop_bits: Some(StopBits::Two),
            flow_control: Some(FlowControl::Hardware),
        }
    );
    assert_eq!(
        (port.dtr, port.rts, port.hangup_on_close, port.exclusive),
        (Some(false), Some(true), Some(false), false)
    );
    let capture = port.capture.as_ref().unwrap();
    assert!(
        capture.path.is_absolute() && capture.path.ends_with("captures/panel.jsonl"),
        "{capture:?}"
    );
    assert_eq!(capture.max_bytes, 2 << 20);
    assert_eq!(
        panel.settings,
        serde_json::json!({"nested": {"list": [1, 2.5, "x", true, "2024-01-01"]}})
    );
    assert_eq!(
        panel.limits,
        DriverLimits {
            memory_bytes: 8 << 20,
            slice_bytes: 16 << 10
        }
    );
    assert_eq!(panel.grants.read_slices[0].as_str(), "powerMeter");

    let meter = &config.devices["meter"];
    assert_eq!(meter.settings, serde_json::json!({}));
    assert_eq!(meter.limits, DriverLimits::default());
    let PortSource::Sim(sim) = &meter.ports["main"].source else {
        panic!("{meter:?}")
    };
    assert_eq!((sim.seed, sim.speed), (Some(7), Some(2.0)));
    let faults = "nuls,split:50:20".parse().unwrap();
    assert_eq!(sim.emulator, SimEmulator::WattsUp(faults));
    assert!(meter.ports["main"].exclusive);

    let layout = serde_json::to_value(config.layout).unwrap();
    assert_eq!(
        layout,
        serde_json::json!({"rows": 1, "cols": 2, "panes": [
            {"id": "power-meter", "pane": "power-meter", "slice": "powerMeter", "device": "meter", "row": 0, "col": 0, "rowSpan": 1, "colSpan": 1},
            {"id": "logs", "pane": "logs", "row": 0, "col": 1, "rowSpan": 1, "colSpan": 1},
        ]})
    );
}

#[test]
fn variables_override_the_file_and_flags_override_variables() {
    let bench = Bench::new("[daemon]\nlisten = \"127.0.0.1:1\"\nweb-dir = \"a\"\n");
    assert_eq!(bench.load().unwrap().daemon.listen.port(), 1);
    let mut bench = bench
        .variable("AUTOBENCH_LISTEN", "127.0.0.1:2")
        .variable("AUTOBENCH_WEB_DIR", "/b");
    let config = bench.load().unwrap();
    assert_eq!(
        (config.daemon.listen.port(), config.daemon.web_dir),
        (2, Some("/b".into()))
    );
    bench.overrides = Overrides {
        listen: Some("127.0.0.1:3".parse().unwrap()),
        web_dir: Some("c".into()),
        ..Overrides::default()
    };
    let config = bench.load().unwrap();
    assert_eq!(
        (config.daemon.listen.port(), config.daemon.web_dir),
        (3, Some(std::env::current_dir().unwrap().join("c")))
    );
}

#[test]
fn the_variables_of_the_log_and_of_browsers_are_taken_under_their_names() {
    let config = Bench::new("")
        .variable("LOG_CHANNEL_ALLOWLIST", "websocket, app,,request")
        .variable("LOG_LEVEL_MIN", "WARN")
        .variable("LOG_REDACT_REGEX", "token=\\S+")
        .variable("LOG_LEVEL", "error")
        .variable("PRETTY_LOGS", "false")
        .variable("NO_COLOR", "1")
        .variable("CLIENT_LOGS_SNAPSHOT", "20")
        .variable("CLIENT_LOGS_CAPACITY", "50")
        .variable("CLIENT_LOGS_TO_KEEP", "70")
        .variable("VITE_WS_HEARTBEAT_INTERVAL_MS", "1000")
        .variable("VITE_WS_HEARTBEAT_TIMEOUT_MS", "500")
        .variable("VITE_WS_RECONNECT_ENABLED", "false")
        .variable("VITE_WS_RECONNECT_MIN_MS", "10")
        .variable("VITE_WS_RECONNECT_MAX_MS", "20")
        .variable("VITE_WS_RECONNECT_FACTOR", "2")
        .variable("VITE_WS_RECONNECT_JITTER", "0")
        .variable("WS_HEARTBEAT_LOG", "true")
        .variable("LOG_INGEST_TOKEN", "0123456789abcdef")
        .variable("LOG_INGEST_ALLOWED_CHANNELS", "sidecar,ffmpeg")
        .load()
        .unwrap();
    assert_eq!(
        serde_json::to_value(&config.client).unwrap(),
        serde_json::json!({
            "logs": {"snapshot": 20, "capacity": 50, "allowedChannels": ["websocket", "app", "request"], "minLevel": "warn"},
            "ws": {"heartbeatIntervalMs": 1000, "heartbeatTimeoutMs": 500, "reconnectEnabled": false, "reconnectMinMs": 10,
                   "reconnectMaxMs": 20, "reconnectFactor": 2.0, "reconnectJitter": 0.0},
        })
    );
    assert_eq!((config.logs.capacity, config.logs.heartbeat), (70, true));
    assert_eq!(config.ingest.token.as_deref(), Some("0123456789abcdef"));
    assert_eq!(config.ingest.allowed_channels, ["sidecar", "ffmpeg"]);
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
    assert_eq!(config.logs.policy().presentable("a token=5 b"), "a [redacted] b");
    assert_eq!(config.logs.terminal.is_pretty, Some(false));
    assert!(config.logs.terminal.no_color);
}

#[test]
fn an_edit_changes_only_the_entry_it_touches() {
    let bench = Bench::new(&format!("{METER}[devices.panel]\nplugin = \"atx\"\n"));
    let before = bench.load().unwrap();
    let bench = bench.file(
        "plugins.toml",
        &format!("# a comment\n{METER}[devices.panel]\nplugin = \"atx\"\nsettings.press-ms = 250\n"),
    );
    let after = bench.load().unwrap();
    assert_eq!(before.devices["meter"], after.devices["meter"]);
    assert_ne!(before.devices["panel"], after.devices["panel"]);
    assert_eq!(before.daemon, after.daemon);
}

#[test]
fn a_line_setting_that_is_not_written_comes_from_the_manifest() {
    use autobench_core::driver::{DataBits, FlowControl, LineSettings, Parity, StopBits};
    let manifest = LineSettings {
        baud_rate: 115_200,
        data_bits: DataBits::Eight,
        parity: Parity::None,
        stop_bits: StopBits::One,
        flow_control: FlowControl::None,
    };
    assert_eq!(LineOverrides::default().over(manifest), manifest);
    let overrides = LineOverrides {
        parity: Some(Parity::Odd),
        ..LineOverrides::default()
    };
    assert_eq!(
        overrides.over(manifest),
        LineSettings {
            parity: Parity::Odd,
            ..manifest
        }
    );
}

#[test]
fn the_demo_bench_is_good_once_its_plugin_is_built() {
    let bench = Bench::new(include_str!("../../../../plugins.toml"))
        .file("target/autobench/plugins/power-meter.wasm", "")
        .file("target/autobench/plugins/atx.wasm", "")
        .file("target/autobench/plugins/keyboard.wasm", "");
    let config = bench.load().unwrap_or_else(|errors| panic!("{errors}"));
    let simulated =
        ["meter", "panel", "keyboard"].map(|device| match &config.devices[device].ports["main"].source {
            PortSource::Sim(sim) => Some(sim.emulator.device()),
            _ => None,
        });
    let of_pc =
        [Device::PowerMeter, Device::Atx, Device::Keyboard].map(|device| Some(SimDevice::OfPc(device)));
    assert_eq!(simulated, of_pc);
    let meter = &config.devices["meter"];
    assert_eq!(
        (meter.plugin.as_str(), meter.slice.as_str()),
        ("power-meter", "powerMeter")
    );
    assert_eq!(config.daemon.listen, DEFAULT_LISTEN);
}
