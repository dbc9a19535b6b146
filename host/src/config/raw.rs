//! The configuration as it is written: which keys there are and which types their values have. Nothing is interpreted here and no default
//! is filled in; each value keeps its place, so that what is found wrong with it later can be shown where it stands.

use super::problem::nearest;
use super::tree::{At, Datum, Findings, Node, Table};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Written<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub at: At,
}

/// All files together.
#[derive(Debug, Default)]
pub struct RawBench {
    pub daemon: RawDaemon,
    pub tokens: Vec<RawToken>,
    pub layout: Option<RawLayout>,
    pub devices: Vec<RawDevice>,
}

#[derive(Debug, Default)]
pub struct RawDaemon {
    pub listen: Option<Written<String>>,
    pub plugins_dir: Option<Written<String>>,
    pub data_dir: Option<Written<String>>,
    pub web_dir: Option<Written<String>>,
    pub sysfs_root: Option<Written<String>>,
    pub allowed_hosts: Vec<Written<String>>,
    pub broadcast_interval_ms: Option<Written<i64>>,
    pub deflate: Option<bool>,
    pub debug_info: Option<bool>,
    pub core_dumps: Option<bool>,
    pub limits: RawDaemonLimits,
    pub log_file: Option<RawLogFile>,
}

#[derive(Debug)]
pub struct RawLogFile {
    pub at: At,
    pub path: Option<Written<String>>,
    pub max_mib: Option<Written<i64>>,
    pub count: Option<Written<i64>>,
}

#[derive(Debug, Default)]
pub struct RawDaemonLimits {
    pub clients: Option<Written<i64>>,
    pub subscriptions: Option<Written<i64>>,
    pub messages_per_second: Option<Written<i64>>,
    pub message_burst: Option<Written<i64>>,
    pub message_kib: Option<Written<i64>>,
    pub ring_kib: Option<Written<i64>>,
    pub heartbeat_interval_s: Option<Written<i64>>,
    pub heartbeat_timeout_s: Option<Written<i64>>,
}

#[derive(Debug)]
pub struct RawToken {
    pub name: Written<String>,
    pub sha256: Option<Written<String>>,
    pub role: Option<Written<String>>,
}

#[derive(Debug)]
pub struct RawLayout {
    pub at: At,
    pub rows: Option<Written<i64>>,
    pub cols: Option<Written<i64>>,
    pub panes: Vec<RawPane>,
}

#[derive(Debug)]
pub struct RawPane {
    pub at: At,
    pub id: Option<Written<String>>,
    pub pane: Option<Written<String>>,
    pub slice: Option<Written<String>>,
    pub device: Option<Written<String>>,
    pub row: Option<Written<i64>>,
    pub col: Option<Written<i64>>,
    pub row_span: Option<Written<i64>>,
    pub col_span: Option<Written<i64>>,
}

#[derive(Debug)]
pub struct RawDevice {
    pub id: Written<String>,
    pub plugin: Option<Written<String>>,
    pub slice: Option<Written<String>>,
    pub ports: Vec<RawPort>,
    pub settings: Option<Written<Table>>,
    pub memory_mib: Option<Written<i64>>,
    pub slice_kib: Option<Written<i64>>,
    pub read_slices: Vec<Written<String>>,
    pub dangerous_commands: Vec<Written<String>>,
}

#[derive(Debug)]
pub struct RawPort {
    pub name: Written<String>,
    pub path: Option<Written<String>>,
    pub usb: Option<Written<String>>,
    pub sim: Option<Written<RawSim>>,
    pub baud_rate: Option<Written<i64>>,
    pub data_bits: Option<Written<i64>>,
    pub parity: Option<Written<String>>,
    pub stop_bits: Option<Written<i64>>,
    pub flow_control: Option<Written<String>>,
    pub dtr: Option<bool>,
    pub rts: Option<bool>,
    pub hangup_on_close: Option<bool>,
    pub exclusive: Option<bool>,
    pub capture: Option<Written<String>>,
    pub capture_mib: Option<Written<i64>>,
}

#[derive(Debug)]
pub struct RawSim {
    pub device: Option<Written<String>>,
    pub seed: Option<Written<i64>>,
    pub speed: Option<Written<f64>>,
    pub faults: Option<Written<String>>,
}

/// Reads the tree. Everything that is wrong is noted and left out.
pub fn read(table: Table, findings: &mut Findings) -> RawBench {
    let mut root = Fields::new("", table, findings);
    let daemon = root.table("daemon");
    let auth = root.table("auth");
    let layout = root.table("layout");
    let devices = root.tables("devices");
    root.close();
    RawBench {
        daemon: daemon
            .map(|(_, table)| read_daemon(table, findings))
            .unwrap_or_default(),
        tokens: auth
            .map(|(_, table)| read_auth(table, findings))
            .unwrap_or_default(),
        layout: layout.map(|(at, table)| read_layout(at, table, findings)),
        devices: devices
            .into_iter()
            .map(|(id, table)| read_device(id, table, findings))
            .collect(),
    }
}

fn read_daemon(table: Table, findings: &mut Findings) -> RawDaemon {
    let mut fields = Fields::new("daemon", table, findings);
    let mut daemon = RawDaemon {
        listen: fields.text("listen", "\"127.0.0.1:9898\""),
        plugins_dir: fields.text("plugins-dir", "\"plugins\""),
        data_dir: fields.text("data-dir", "\"/var/lib/autobench\""),
        web_dir: fields.text("web-dir", "\"web\""),
        sysfs_root: fields.text("sysfs-root", "\"/sys\""),
        allowed_hosts: fields.texts("allowed-hosts", "[\"bench.local\"]"),
        broadcast_interval_ms: fields.integer("broadcast-interval-ms", "10"),
        deflate: fields.boolean("deflate"),
        debug_info: fields.boolean("debug-info"),
        core_dumps: fields.boolean("core-dumps"),
        limits: RawDaemonLimits::default(),
        log_file: None,
    };
    let limits = fields.table("limits");
    let log_file = fields.table("log-file");
    fields.close();
    if let Some((at, table)) = log_file {
        let mut fields = Fields::new("daemon.log-file", table, findings);
        daemon.log_file = Some(RawLogFile {
            at,
            path: fields.text("path", "\"/var/log/autobench/bench.jsonl\""),
            max_mib: fields.integer("max-mib", "16"),
            count: fields.integer("count", "5"),
        });
        fields.close();
    }
    if let Some((_, table)) = limits {
        let mut fields = Fields::new("daemon.limits", table, findings);
        daemon.limits = RawDaemonLimits {
            clients: fields.integer("clients", "100"),
            subscriptions: fields.integer("subscriptions", "50"),
            messages_per_second: fields.integer("messages-per-second", "10"),
            message_burst: fields.integer("message-burst", "20"),
            message_kib: fields.integer("message-kib", "64"),
            ring_kib: fields.integer("ring-kib", "8192"),
            heartbeat_interval_s: fields.integer("heartbeat-interval-s", "30"),
            heartbeat_timeout_s: fields.integer("heartbeat-timeout-s", "60"),
        };
        fields.close();
    }
    daemon
}

fn read_auth(table: Table, findings: &mut Findings) -> Vec<RawToken> {
    let mut fields = Fields::new("auth", table, findings);
    let tokens = fields.tables("tokens");
    fields.close();
    tokens
        .into_iter()
        .map(|(name, table)| {
            let mut fields = Fields::new(&format!("auth.tokens.{}", name.value), table, findings);
            let sha256 = fields.text("sha256", "\"<64 hexadecimal digits>\"");
            let role = fields.text("role", "\"viewer\"");
            fields.close();
            RawToken { name, sha256, role }
        })
        .collect()
}

fn read_layout(at: At, table: Table, findings: &mut Findings) -> RawLayout {
    let mut fields = Fields::new("layout", table, findings);
    let rows = fields.integer("rows", "2");
    let cols = fields.integer("cols", "2");
    let panes = fields.list_of_tables("panes");
    fields.close();
    let panes = panes
        .into_iter()
        .map(|(at, table)| read_pane(at, table, findings))
        .collect();
    RawLayout {
        at,
        rows,
        cols,
        panes,
    }
}

fn read_pane(at: At, table: Table, findings: &mut Findings) -> RawPane {
    let mut fields = Fields::new("layout.panes", table, findings);
    let pane = RawPane {
        at,
        id: fields.text("id", "\"power\""),
        pane: fields.text("pane", "\"power-meter\""),
        slice: fields.text("slice", "\"powerMeter\""),
        device: fields.text("device", "\"meter\""),
        row: fields.integer("row", "0"),
        col: fields.integer("col", "0"),
        row_span: fields.integer("row-span", "1"),
        col_span: fields.integer("col-span", "1"),
    };
    fields.close();
    pane
}

fn read_device(id: Written<String>, table: Table, findings: &mut Findings) -> RawDevice {
    let path = format!("devices.{}", id.value);
    let mut fields = Fields::new(&path, table, findings);
    let plugin = fields.text("plugin", "\"power-meter\"");
    let slice = fields.text("slice", "\"powerMeter\"");
    let ports = fields.tables("ports");
    let settings = fields.table("settings").map(|(at, value)| Written { value, at });
    let limits = fields.table("limits");
    let grants = fields.table("grants");
    fields.close();

    let (mut memory_mib, mut slice_kib) = (None, None);
    let (mut read_slices, mut dangerous_commands) = (Vec::new(), Vec::new());
    if let Some((_, table)) = limits {
        let mut fields = Fields::new(&format!("{path}.limits"), table, findings);
        memory_mib = fields.integer("memory-mib", "64");
        slice_kib = fields.integer("slice-kib", "256");
        fields.close();
    }
    if let Some((_, table)) = grants {
        let mut fields = Fields::new(&format!("{path}.grants"), table, findings);
        read_slices = fields.texts("read-slices", "[\"frontPanel\"]");
        dangerous_commands = fields.texts("dangerous-commands", "[\"power-press\"]");
        fields.close();
    }
    let ports = ports
        .into_iter()
        .map(|(name, table)| read_port(&path, name, table, findings))
        .collect();
    RawDevice {
        id,
        plugin,
        slice,
        ports,
        settings,
        memory_mib,
        slice_kib,
        read_slices,
        dangerous_commands,
    }
}

fn read_port(device: &str, name: Written<String>, table: Table, findings: &mut Findings) -> RawPort {
    let path = format!("{device}.ports.{}", name.value);
    let mut fields = Fields::new(&path, table, findings);
    let sim = fields.node("sim");
    let mut port = RawPort {
        name,
        path: fields.text("path", "\"/dev/serial/by-id/…\""),
        usb: fields.text("usb", "\"0403:6001\""),
        sim: None,
        baud_rate: fields.integer("baud-rate", "115200"),
        data_bits: fields.integer("data-bits", "8"),
        parity: fields.text("parity", "\"none\""),
        stop_bits: fields.integer("stop-bits", "1"),
        flow_control: fields.text("flow-control", "\"none\""),
        dtr: fields.boolean("dtr"),
        rts: fields.boolean("rts"),
        hangup_on_close: fields.boolean("hangup-on-close"),
        exclusive: fields.boolean("exclusive"),
        capture: fields.text("capture", "\"meter.jsonl\""),
        capture_mib: fields.integer("capture-mib", "64"),
    };
    fields.close();
    port.sim = sim.and_then(|node| read_sim(&path, node, findings));
    port
}

/// `sim = "wattsup"`, or a table where more than the name is said.
fn read_sim(port: &str, node: Node, findings: &mut Findings) -> Option<Written<RawSim>> {
    let at = node.at.clone();
    let value = match node.datum {
        Datum::Text(device) => {
            let device = Some(Written {
                value: device,
                at: at.clone(),
            });
            RawSim {
                device,
                seed: None,
                speed: None,
                faults: None,
            }
        }
        Datum::Table(table) => {
            let mut fields = Fields::new(&format!("{port}.sim"), table, findings);
            let sim = RawSim {
                device: fields.text("device", "\"wattsup\""),
                seed: fields.integer("seed", "7"),
                speed: fields.number("speed", "10.0"),
                faults: fields.text("faults", "\"all:50:20\""),
            };
            fields.close();
            sim
        }
        other => {
            findings.error(
                "wrong-type",
                &at,
                format!("\"sim\" is {}, and has to be a text or a table", other.kind()),
                "write sim = \"wattsup\"",
            );
            return None;
        }
    };
    Some(Written { value, at })
}

/// One table while it is read. Each key that is asked for is known; what is left at the end is not.
struct Fields<'a> {
    path: String,
    table: Table,
    known: Vec<&'static str>,
    findings: &'a mut Findings,
}

impl<'a> Fields<'a> {
    fn new(path: &str, table: Table, findings: &'a mut Findings) -> Self {
        Self {
            path: path.to_owned(),
            table,
            known: Vec::new(),
            findings,
        }
    }

    fn node(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn text(&mut self, key: &'static str, example: &str) -> Option<Written<String>> {
        let node = self.node(key)?;
        match node.datum {
            Datum::Text(value) => Some(Written { value, at: node.at }),
            other => self.wrong_type(key, &node.at, &other, "a text", example),
        }
    }

    fn integer(&mut self, key: &'static str, example: &str) -> Option<Written<i64>> {
        let node = self.node(key)?;
        match node.datum {
            Datum::Integer(value) => Some(Written { value, at: node.at }),
            other => self.wrong_type(key, &node.at, &other, "an integer", example),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a factor of simulated time needs no 53 bits"
    )]
    fn number(&mut self, key: &'static str, example: &str) -> Option<Written<f64>> {
        let node = self.node(key)?;
        match node.datum {
            Datum::Float(value) => Some(Written { value, at: node.at }),
            Datum::Integer(value) => Some(Written {
                value: value as f64,
                at: node.at,
            }),
            other => self.wrong_type(key, &node.at, &other, "a number", example),
        }
    }

    fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let node = self.node(key)?;
        match node.datum {
            Datum::Boolean(value) => Some(value),
            other => self.wrong_type(key, &node.at, &other, "true or false", "true"),
        }
    }

    fn texts(&mut self, key: &'static str, example: &str) -> Vec<Written<String>> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let Datum::List(elements) = node.datum else {
            return self
                .wrong_type(key, &node.at, &node.datum, "a list of texts", example)
                .unwrap_or_default();
        };
        let mut texts = Vec::with_capacity(elements.len());
        for element in elements {
            match element.datum {
                Datum::Text(value) => texts.push(Written {
                    value,
                    at: element.at,
                }),
                other => {
                    self.wrong_type::<()>(key, &element.at, &other, "a list of texts", example);
                }
            }
        }
        texts
    }

    fn table(&mut self, key: &'static str) -> Option<(At, Table)> {
        let node = self.node(key)?;
        match node.datum {
            Datum::Table(table) => Some((node.key, table)),
            other => {
                let header = self.header(key);
                self.not_a_table(
                    key,
                    &node.at,
                    &other,
                    &format!("write [{header}] and its keys below it"),
                )
            }
        }
    }

    /// A table of tables by name, in the order of their names.
    fn tables(&mut self, key: &'static str) -> Vec<(Written<String>, Table)> {
        let Some((_, table)) = self.table(key) else {
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(table.len());
        for (name, node) in table {
            match node.datum {
                Datum::Table(table) => tables.push((
                    Written {
                        value: name,
                        at: node.key,
                    },
                    table,
                )),
                other => {
                    let header = self.header(key);
                    let hint = format!("write [{header}.{name}] and its keys below it");
                    self.not_a_table::<()>(&name, &node.at, &other, &hint);
                }
            }
        }
        tables
    }

    fn list_of_tables(&mut self, key: &'static str) -> Vec<(At, Table)> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let header = self.header(key);
        let hint = format!("write [[{header}]] and its keys below it, once for each");
        let Datum::List(elements) = node.datum else {
            return self
                .not_a_table(key, &node.at, &node.datum, &hint)
                .unwrap_or_default();
        };
        let mut tables = Vec::with_capacity(elements.len());
        for element in elements {
            match element.datum {
                Datum::Table(table) => tables.push((element.at, table)),
                other => {
                    self.not_a_table::<()>(key, &element.at, &other, &hint);
                }
            }
        }
        tables
    }

    /// Notes every key that nobody asked for.
    fn close(self) {
        let place = if self.path.is_empty() {
            "the file".to_owned()
        } else {
            format!("[{}]", self.path)
        };
        for (key, node) in self.table {
            let hint = match nearest(&key, self.known.iter().copied()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.findings.error(
                "unknown-key",
                &node.key,
                format!("{place} has no key \"{key}\""),
                hint,
            );
        }
    }

    fn header(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn wrong_type<T>(&mut self, key: &str, at: &At, datum: &Datum, wanted: &str, example: &str) -> Option<T> {
        let message = format!("\"{key}\" is {}, and has to be {wanted}", datum.kind());
        self.findings
            .error("wrong-type", at, message, format!("write {key} = {example}"));
        None
    }

    fn not_a_table<T>(&mut self, key: &str, at: &At, datum: &Datum, hint: &str) -> Option<T> {
        self.findings.error(
            "wrong-type",
            at,
            format!("\"{key}\" is {}, and has to be a table", datum.kind()),
            hint,
        );
        None
    }
}
