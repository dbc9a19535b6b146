//! A studio that synchronises state and logs: snapshot, then diffs; a gap asks for a resync or a replay; the daemon's `serverConfig` is adopted on
//! connect, with the size of the log store, the least level, the heartbeat and the reconnect.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use e2e::{Bench, Daemon, DeviceEntry, PATIENCE, Random, Relay, Terminal, call, canonical};
use serde_json::{Value, json};

use super::common::{Socket, with_meter};

/// `ServerConfig.ws`, as adopted.
#[derive(Debug, Clone, PartialEq)]
struct Ws {
    heartbeat_interval: Duration,
    heartbeat_timeout: Duration,
    reconnect_min_ms: f64,
    reconnect_max_ms: f64,
    reconnect_factor: f64,
    reconnect_jitter: f64,
}

/// `useLogs` and the mirror's store, and the composable that feeds them.
struct Studio {
    url: String,
    ws: Socket,
    config: Option<Ws>,
    version: u64,
    state: Value,
    capacity: usize,
    min_level: String,
    allowed_channels: Vec<String>,
    logs: BTreeMap<u64, Value>,
    last_seq: u64,
    types: Vec<String>,
    /// Types of which the next message is lost, to make a gap.
    lose: Vec<&'static str>,
}

impl Studio {
    async fn connect(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ws: Socket::open(url).await.expect("the socket opens"),
            config: None,
            version: 0,
            state: Value::Null,
            capacity: usize::MAX,
            min_level: String::new(),
            allowed_channels: Vec::new(),
            logs: BTreeMap::new(),
            last_seq: 0,
            types: Vec::new(),
            lose: Vec::new(),
        }
    }

    fn adopt_server_config(&mut self) {
        let logs = &self.state["serverConfig"]["logs"];
        self.capacity = logs["capacity"].as_u64().expect("capacity") as usize;
        logs["minLevel"]
            .as_str()
            .expect("minLevel")
            .clone_into(&mut self.min_level);
        let channels = logs["allowedChannels"]
            .as_array()
            .expect("allowedChannels")
            .iter();
        self.allowed_channels = channels
            .map(|name| name.as_str().expect("a name").to_owned())
            .collect();
        let ws = &self.state["serverConfig"]["ws"];
        let number = |name: &str| ws[name].as_f64().unwrap_or_else(|| panic!("{name}: {ws}"));
        assert_eq!(ws["reconnectEnabled"], true);
        self.config = Some(Ws {
            heartbeat_interval: Duration::from_millis(number("heartbeatIntervalMs") as u64),
            heartbeat_timeout: Duration::from_millis(number("heartbeatTimeoutMs") as u64),
            reconnect_min_ms: number("reconnectMinMs"),
            reconnect_max_ms: number("reconnectMaxMs"),
            reconnect_factor: number("reconnectFactor"),
            reconnect_jitter: number("reconnectJitter"),
        });
    }

    /// Takes one message; false when the connection is gone.
    async fn on_message(&mut self) -> bool {
        let Ok(message) = tokio::time::timeout(PATIENCE, self.ws.receive()).await else {
            panic!("no message in time");
        };
        match message {
            Some(message) => {
                self.take(message).await;
                true
            }
            None => false,
        }
    }

    async fn take(&mut self, message: Value) {
        let kind = message["type"].as_str().expect("a type").to_owned();
        if let Some(at) = self.lose.iter().position(|lost| *lost == kind) {
            self.lose.remove(at);
            return;
        }
        self.types.push(kind.clone());
        match kind.as_str() {
            "state.snapshot" => {
                self.version = message["stateVersion"].as_u64().expect("stateVersion");
                self.state = message["data"].clone();
                self.adopt_server_config();
            }
            "state.patch" if message["fromVersion"].as_u64() == Some(self.version) => {
                let patch: json_patch::Patch =
                    serde_json::from_value(message["patch"].clone()).expect("RFC 6902");
                json_patch::patch(&mut self.state, &patch).expect("the patch applies");
                self.version = message["toVersion"].as_u64().expect("toVersion");
                assert_eq!(self.state["version"], self.version);
            }
            "state.patch" => {
                self.ws.send(&json!({"type": "state.resync"})).await;
            }
            "logs.history" | "logs.append" => {
                let from = message["fromSeq"].as_u64().expect("fromSeq");
                if self.last_seq > 0 && from > self.last_seq + 1 {
                    self.ws
                        .send(&json!({"type": "logs.replay", "sinceSeq": self.last_seq}))
                        .await;
                    return;
                }
                for entry in message["entries"].as_array().expect("entries") {
                    for field in ["seq", "ts", "channel", "emoji", "level", "message", "color"] {
                        assert!(entry.get(field).is_some(), "{field}: {entry}");
                    }
                    self.logs
                        .insert(entry["seq"].as_u64().expect("seq"), entry.clone());
                }
                while self.logs.len() > self.capacity {
                    self.logs.pop_first();
                }
                self.last_seq = self.last_seq.max(message["toSeq"].as_u64().expect("toSeq"));
            }
            _ => {}
        }
    }

    async fn until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        let begin = Instant::now();
        while !done(self) {
            assert!(
                begin.elapsed() < PATIENCE,
                "not in time; heard {:?}",
                self.types.iter().rev().take(40)
            );
            assert!(self.on_message().await, "the connection is gone");
        }
    }

    /// Checks that the mirror is the daemon's document, at one version.
    async fn agrees_with(&mut self, daemon: &Daemon) {
        // A snapshot that was asked for before may pass the document's version over, and there is one for each patch that did not fit.
        for _ in 0..20 {
            let document = daemon.state().await;
            let version = document["version"].as_u64().expect("a version");
            self.until(|studio| studio.version >= version).await;
            if self.version == version {
                assert_eq!(
                    canonical(&self.state),
                    canonical(&document),
                    "at version {version}"
                );
                return;
            }
        }
        panic!("the mirror is at none of the versions at which the daemon was seen");
    }

    fn count(&self, kind: &str) -> usize {
        self.types.iter().filter(|known| *known == kind).count()
    }

    /// Pings until there is no pong in time, and says how long the daemon was silent then.
    async fn heartbeat(&mut self) -> Duration {
        let ws = self.config.clone().expect("a configuration");
        loop {
            let asked = Instant::now();
            self.ws.send(&json!({"type": "ping"})).await;
            let answered = tokio::time::timeout(ws.heartbeat_timeout, async {
                loop {
                    match self.ws.receive().await {
                        Some(message) if message["type"] == "pong" => return true,
                        Some(message) => self.take(message).await,
                        None => return false,
                    }
                }
            });
            if !matches!(answered.await, Ok(true)) {
                return asked.elapsed();
            }
            self.types.push("pong".to_owned());
            // The page's own pulse, as configured.
            tokio::time::sleep(ws.heartbeat_interval).await;
        }
    }

    /// Tries until it is connected again, and gives the pauses before each try. Whoever asks is told of each that failed.
    async fn reconnect(&mut self, random: &mut Random, mut failed: impl FnMut(usize)) -> Vec<Duration> {
        let ws = self.config.clone().expect("a configuration");
        let mut pauses = Vec::new();
        loop {
            let attempt = i32::try_from(pauses.len()).expect("few");
            let base = ws
                .reconnect_max_ms
                .min(ws.reconnect_min_ms * ws.reconnect_factor.powi(attempt));
            let chance = random.below(1 << 20) as f64 / f64::from(1 << 20);
            let pause =
                Duration::from_millis((base * (1.0 + ws.reconnect_jitter * (2.0 * chance - 1.0))) as u64);
            // The page's own pause: how long it waits is what the daemon's configuration says.
            tokio::time::sleep(pause).await;
            pauses.push(pause);
            if let Some(socket) = Socket::open(&self.url).await {
                self.ws = socket;
                self.types.clear();
                return pauses;
            }
            assert!(pauses.len() < 50, "the daemon does not come back");
            failed(pauses.len());
        }
    }
}

const ENVIRONMENT: [(&str, &str); 13] = [
    ("LOG_CHANNEL_ALLOWLIST", "websocket,app,request,device,sidecar"),
    ("LOG_LEVEL_MIN", "debug"),
    ("LOG_REDACT_REGEX", "key-[0-9]+"),
    ("CLIENT_LOGS_SNAPSHOT", "5"),
    ("CLIENT_LOGS_CAPACITY", "30"),
    ("VITE_WS_HEARTBEAT_INTERVAL_MS", "100"),
    ("VITE_WS_HEARTBEAT_TIMEOUT_MS", "1000"),
    ("VITE_WS_RECONNECT_ENABLED", "true"),
    ("VITE_WS_RECONNECT_MIN_MS", "50"),
    ("VITE_WS_RECONNECT_MAX_MS", "400"),
    ("VITE_WS_RECONNECT_FACTOR", "1.8"),
    ("VITE_WS_RECONNECT_JITTER", "0.2"),
    ("WS_HEARTBEAT_LOG", "true"),
];

/// The domains of the state, with what each has at least.
fn assert_domains(state: &Value) {
    for (domain, fields) in [
        ("meta", &["startedAt", "build", "status"][..]),
        ("config", &["requestSample", "features"]),
        ("jobs", &["queue", "running"]),
        ("pno", &["status"]),
        ("logs", &["nextSeq", "capacity", "size", "head"]),
        ("serverConfig", &["logs", "ws"]),
    ] {
        for field in fields {
            assert!(
                state[domain].get(field).is_some(),
                "{domain}.{field}: {}",
                state[domain]
            );
        }
    }
    assert!(state["streams"].is_object(), "{state}");
    let devices = state["devices"].as_object().expect("devices");
    for (id, device) in devices {
        assert!(
            device["type"].is_string() && device["status"].is_string(),
            "{id}: {device}"
        );
    }
    assert!(!devices.is_empty());
}

#[tokio::test]
async fn a_studio_follows_the_daemons_configuration_mends_gaps_and_comes_back() {
    let (bench, _sim) = with_meter(32);
    bench.listen_on_fixed_port();
    let daemon = bench.start_with(&ENVIRONMENT);
    let relay = Relay::to(daemon.address()).await;
    let mut studio = Studio::connect(&format!("ws://{}/ws", relay.address())).await;

    // Connect flow: the state, then the newest log entries, as many as the daemon is configured to send.
    studio.until(|studio| studio.count("logs.history") == 1).await;
    assert!(studio.logs.len() <= 5, "{}", studio.logs.len());
    let order: Vec<_> = studio.types.iter().filter(|kind| *kind != "welcome").collect();
    assert_eq!(order[..2], ["state.snapshot", "logs.history"]);
    assert_eq!((studio.capacity, studio.min_level.as_str()), (30, "debug"));
    assert_eq!(
        studio.allowed_channels,
        ["websocket", "app", "request", "device", "sidecar"]
    );
    assert_domains(&studio.state);
    let ws = studio.config.clone().expect("a configuration");
    assert_eq!(ws.heartbeat_interval, Duration::from_millis(100));
    assert_eq!(
        (
            ws.reconnect_min_ms,
            ws.reconnect_max_ms,
            ws.reconnect_factor,
            ws.reconnect_jitter
        ),
        (50.0, 400.0, 1.8, 0.2)
    );

    // A patch is lost: one resync, and the state is whole again.
    studio.lose.push("state.patch");
    let before = studio.count("state.patch");
    studio.until(|studio| studio.count("state.snapshot") == 2).await;
    studio
        .until(|studio| studio.count("state.patch") > before + 3)
        .await;
    studio.agrees_with(&daemon).await;

    // A batch of log entries is lost: a replay brings it. Pings are logged, so there is always something.
    studio.lose.push("logs.append");
    while studio.count("logs.history") < 2 {
        let pongs = studio.count("pong");
        studio.ws.send(&json!({"type": "ping"})).await;
        studio.until(|studio| studio.count("pong") > pongs).await;
        // No more than ten messages a second: that is what it may send.
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    let first = *studio.logs.keys().next().expect("entries");
    assert!(
        (first..=studio.last_seq).all(|seq| studio.logs.contains_key(&seq)),
        "a hole in the log"
    );
    assert!(
        studio
            .logs
            .values()
            .any(|entry| entry["emoji"] == "💓" && entry["channel"] == "websocket")
    );
    // What another program tells is redacted before it has a number, for everybody.
    let told = json!([
        {"channel": "sidecar", "level": "warn", "message": "no signal with key-4711"},
    ]);
    let answer = call(daemon.address(), "POST", "/api/v1/logs", "", Some(&told)).await;
    assert_eq!(
        (answer.status, &answer.json()["accepted"]),
        (200, &json!(1)),
        "{answer:?}"
    );
    studio
        .until(|studio| studio.logs.values().any(|entry| entry["channel"] == "sidecar"))
        .await;
    let mut sidecar = studio.logs.values().filter(|entry| entry["channel"] == "sidecar");
    let message = sidecar.next().expect("the entry")["message"]
        .as_str()
        .expect("a text");
    assert!(
        message.starts_with("no signal with ") && !message.contains("4711"),
        "{message}"
    );
    assert!(studio.logs.values().all(|entry| {
        let channel = entry["channel"].as_str().expect("a channel");
        let family = channel.split(':').next().expect("a family");
        studio.allowed_channels.iter().any(|allowed| allowed == family)
    }));
    assert_eq!(
        studio.state["logs"]["capacity"], 500,
        "the ring's own bound, not the client's"
    );

    // The network goes without a word: no pong, and the studio comes back by itself, however often it has to try.
    relay.freeze(true);
    let silence = studio.heartbeat().await;
    assert!(silence >= ws.heartbeat_timeout, "{silence:?}");
    relay.cut();
    relay.freeze(false);
    let mut random = Random::new(7);
    let pauses = studio.reconnect(&mut random, |_| {}).await;
    assert!(
        pauses[0] >= Duration::from_millis(40) && pauses[0] <= Duration::from_millis(60),
        "{pauses:?}"
    );
    studio.until(|studio| studio.count("state.patch") > 3).await;
    studio.agrees_with(&daemon).await;
    assert_eq!(
        studio
            .types
            .iter()
            .find(|kind| *kind != "welcome")
            .map(String::as_str),
        Some("state.snapshot")
    );

    // The daemon goes. The pauses grow up to the largest, and with the new run the studio begins anew.
    let first_boot = studio.state["meta"]["bootId"].clone();
    studio.url = format!("ws://{}/ws", daemon.address());
    drop(relay);
    daemon.kill();
    while studio.on_message().await {}
    let mut next = None;
    let pauses = studio
        .reconnect(&mut random, |failed| {
            if failed == 5 {
                next = Some(bench.start_with(&ENVIRONMENT));
            }
        })
        .await;
    for (attempt, pause) in pauses.iter().enumerate() {
        let base = 400.0_f64.min(50.0 * 1.8_f64.powi(i32::try_from(attempt).expect("few")));
        let share = pause.as_secs_f64() * 1e3 / base;
        assert!((0.77..=1.2).contains(&share), "{attempt}: {pauses:?}");
    }
    assert!(pauses.len() > 5 && pauses.last() > pauses.first(), "{pauses:?}");
    studio.until(|studio| studio.count("state.patch") > 3).await;
    assert_ne!(studio.state["meta"]["bootId"], first_boot);
    let daemon = next.expect("the daemon was started again");
    studio.agrees_with(&daemon).await;
    assert!(daemon.stop().success());
}

/// A bench whose drivers keep the members that the daemon has no source for, each from what its own line says.
struct Scheduled {
    bench: Bench,
    lines: BTreeMap<&'static str, Terminal>,
}

impl Scheduled {
    const MEMBERS: [&str; 3] = ["jobs", "pno", "streams"];

    fn new() -> Self {
        let bench = Bench::new();
        let lines = Self::MEMBERS.map(|member| {
            bench.install(member, &bench.artifacts.fixture(member));
            (member, Terminal::create(&bench.folder().join(member)))
        });
        let scheduled = Self {
            lines: lines.into_iter().collect(),
            bench,
        };
        scheduled.configure(&Self::MEMBERS, &[]);
        scheduled
    }

    /// Devices that have the name of their driver and of their slice, and others.
    fn configure(&self, members: &[&str], others: &[DeviceEntry]) {
        let own = members
            .iter()
            .map(|member| DeviceEntry::new(member, member, &self.bench.folder().join(member)));
        let devices: Vec<_> = own.chain(others.iter().cloned()).collect();
        self.bench.configure(&devices);
    }

    fn say(&mut self, member: &str, said: &Value) {
        let line = self.lines.get_mut(member).expect("a line");
        line.send(format!("{said}\n").as_bytes());
    }
}

#[tokio::test]
async fn a_studio_sees_jobs_wait_run_and_end_and_nothing_of_them_when_their_driver_goes() {
    let mut scheduled = Scheduled::new();
    let daemon = scheduled.bench.start();
    let mut studio = Studio::connect(&format!("ws://{}/ws", daemon.address())).await;
    let ready = |studio: &Studio, device: &str| studio.state["devices"][device]["phase"] == "ready";
    studio
        .until(|studio| Scheduled::MEMBERS.iter().all(|device| ready(studio, device)))
        .await;
    assert_domains(&studio.state);
    let (no_jobs, no_run) = (
        json!({"queue": [], "running": []}),
        json!({"status": "idle", "findings": []}),
    );
    assert_eq!(studio.state["jobs"], no_jobs);

    // Two jobs wait; the first runs while the second still waits, and ends.
    let job = |id: &str, recipe: &str| json!({"id": id, "recipe": recipe});
    let (warm_up, full_load) = (job("j-1", "warm-up"), job("j-2", "full-load"));
    for job in [&warm_up, &full_load] {
        scheduled.say("jobs", &json!({ "queue": job }));
    }
    studio
        .until(|studio| studio.state["jobs"]["queue"] == json!([warm_up, full_load]))
        .await;
    scheduled.say("jobs", &json!({"run": {"id": "j-1"}}));
    studio
        .until(|studio| studio.state["jobs"] == json!({"queue": [full_load], "running": [warm_up]}))
        .await;
    scheduled.say("jobs", &json!({"run": {"id": "j-2"}}));
    scheduled.say("jobs", &json!({"end": {"id": "j-1", "result": "passed"}}));
    let over = json!({"id": "j-1", "recipe": "warm-up", "result": "passed"});
    studio
        .until(|studio| {
            studio.state["jobs"] == json!({"queue": [], "running": [full_load], "lastCompleted": over})
        })
        .await;
    // What the run was recorded with, and what its analysis finds.
    let recorder = json!({"status": "recording", "url": "rtsp://bench/1"});
    scheduled.say("streams", &json!({ "recorder": recorder }));
    scheduled.say("pno", &json!({"analyse": {"progress": 0.5}}));
    studio
        .until(|studio| {
            studio.state["streams"] == json!({"recorder": recorder}) && studio.state["pno"]["progress"] == 0.5
        })
        .await;
    let found = json!({"at": "2026-01-01T00:00:00.000Z", "findings": ["a dip"]});
    scheduled.say("pno", &json!({ "done": found }));
    let analysed = json!({"status": "idle", "lastRunAt": found["at"], "findings": ["a dip"]});
    studio.until(|studio| studio.state["pno"] == analysed).await;
    assert_domains(&studio.state);
    studio.agrees_with(&daemon).await;

    // Nobody keeps the jobs any more, as their device is not configured: none stands there as if it still ran. The others have lost nothing.
    scheduled.configure(&["pno", "streams"], &[]);
    studio.until(|studio| studio.state["jobs"] == no_jobs).await;
    assert_eq!(studio.state["pno"], analysed);
    // The same for a driver whose file is gone.
    std::fs::remove_file(scheduled.bench.plugins().join("pno.wasm")).expect("the file is removed");
    studio.until(|studio| studio.state["pno"] == no_run).await;
    assert_eq!(studio.state["streams"], json!({"recorder": recorder}));

    // A driver that does not name the member is refused it, and the one that does gets it back.
    let link = scheduled.bench.folder().join("jobs");
    scheduled
        .bench
        .install("narrator", &scheduled.bench.artifacts.fixture("narrator"));
    let mut usurper = DeviceEntry::new("usurper", "narrator", &link);
    usurper.slice = "jobs".to_owned();
    scheduled.configure(&["streams"], &[usurper]);
    studio
        .until(|studio| studio.state["devices"]["usurper"]["status"] == "refused")
        .await;
    let reason = &studio.state["devices"]["usurper"]["reason"];
    assert!(
        reason.as_str().is_some_and(|reason| reason.contains("\"jobs\"")),
        "{reason}"
    );
    assert_eq!(studio.state["jobs"], no_jobs);
    scheduled.configure(&["jobs", "streams"], &[]);
    studio.until(|studio| ready(studio, "jobs")).await;
    scheduled.say("jobs", &json!({ "queue": full_load }));
    studio
        .until(|studio| studio.state["jobs"] == json!({"queue": [full_load], "running": []}))
        .await;
    assert_domains(&studio.state);
    studio.agrees_with(&daemon).await;
    assert!(daemon.stop().success());
}
