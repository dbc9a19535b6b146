//! A bench that asks for tokens, from outside: made on the command line, asked for on the page, taken away in the configuration, and beyond
//! loopback never absent.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of a story: what is missing fails it"
)]

use std::process::Command;

use e2e::{Bench, Browser, Daemon, DeviceEntry, Response, Sim, eventually, request};
use serde_json::{Value, json};

/// What `autobench token new` answers.
struct Token {
    token: String,
    toml: String,
}

fn new_token(bench: &Bench, name: &str, role: &str) -> Token {
    let output = Command::new(&bench.artifacts.binary)
        .args(["--json", "token", "new", "--name", name, "--role", role])
        .output()
        .expect("the program runs");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |name: &str| answer[name].as_str().expect("a text").to_owned();
    Token {
        token: text("token"),
        toml: text("toml"),
    }
}

async fn ask(daemon: &Daemon, method: &str, path: &str, token: Option<&str>, body: &str) -> Response {
    let address = daemon.address().replace("0.0.0.0", "127.0.0.1");
    let bearer = token
        .map(|token| format!("Authorization: Bearer {token}\r\n"))
        .unwrap_or_default();
    let kind = match body {
        "" => "",
        _ => "Content-Type: application/json\r\n",
    };
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{bearer}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    request(&address, &text).await
}

#[tokio::test]
async fn the_page_asks_for_the_token_and_shows_the_bench() {
    let bench = Bench::new();
    let sim = Sim::start(&bench.artifacts, bench.folder(), 20.0, 21, "none");
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    let lab = new_token(&bench, "lab", "operator");
    bench.configure_with(&lab.toml, &[DeviceEntry::meter(sim.link())]);
    let daemon = bench.start();
    assert_eq!(ask(&daemon, "GET", "/api/v1/state", None, "").await.status, 401);

    let mut browser = Browser::open(&daemon.url());
    browser.until("that a token is asked for", |look| {
        (look.link_status == "locked").then_some(())
    });
    assert_eq!(browser.look().watts, "", "nothing of the bench is shown");
    browser.fill("Token", &lab.token);
    browser.press("Open the bench");
    browser.until("the bench", |look| look.is_live().then_some(()));
    // The session goes with a page that is loaded anew.
    browser.reload();
    browser.until("the bench again", |look| look.is_live().then_some(()));
    assert_eq!(browser.complaints(), [""; 0]);

    // Another token takes its place: the page is sent off without a restart.
    let other = new_token(&bench, "other", "viewer");
    bench.configure_with(&other.toml, &[DeviceEntry::meter(sim.link())]);
    browser.until("that the token is gone", |look| {
        (look.link_status == "locked").then_some(())
    });
    assert_eq!(
        ask(&daemon, "GET", "/api/v1/state", Some(&lab.token), "")
            .await
            .status,
        401
    );
    let seen = ask(&daemon, "GET", "/api/v1/state", Some(&other.token), "").await;
    assert_eq!(seen.status, 200);

    // What was done is recorded, and the token is nowhere: not in the state, the log, the record, or what the daemon prints.
    let message = json!({"message": "x"}).to_string();
    let refused = ask(&daemon, "PUT", "/api/v1/message", Some(&other.token), &message).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (403, &json!("forbidden"))
    );
    let log = ask(&daemon, "GET", "/api/v1/logs", Some(&other.token), "").await;
    let audit: String = ["audit.jsonl", "audit-others.jsonl"]
        .iter()
        .map(|name| std::fs::read_to_string(bench.folder().join("data").join(name)).expect("an audit"))
        .collect();
    assert!(
        audit.contains("begins a session") && audit.contains("PUT /api/v1/message"),
        "{audit}"
    );
    for text in [
        String::from_utf8_lossy(&seen.body).into_owned(),
        String::from_utf8_lossy(&log.body).into_owned(),
        audit,
        daemon.errors(),
    ] {
        assert!(
            !text.contains(&lab.token) && !text.contains(&other.token),
            "{text}"
        );
    }
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn beyond_loopback_a_daemon_without_a_token_does_not_start_and_one_with_it_serves() {
    let bench = Bench::new();
    bench.configure(&[]);
    let open = |extra: &str| {
        let text = std::fs::read_to_string(bench.config()).expect("a configuration");
        let text = text.replace("127.0.0.1:0", "0.0.0.0:0");
        std::fs::write(bench.config(), format!("{text}\n{extra}")).expect("it is written");
    };
    open("");
    let output = Command::new(&bench.artifacts.binary)
        .args(["serve", "--config"])
        .arg(bench.config())
        .output()
        .expect("the program runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        told.contains("without any token") && told.contains("autobench token new"),
        "{told}"
    );

    let lab = new_token(&bench, "lab", "admin");
    open(&lab.toml);
    let daemon = bench.start();
    assert_eq!(ask(&daemon, "GET", "/healthz", None, "").await.status, 200);
    assert_eq!(ask(&daemon, "GET", "/api/v1/state", None, "").await.status, 401);
    assert_eq!(
        ask(&daemon, "GET", "/api/v1/state", Some(&lab.token), "")
            .await
            .status,
        200
    );
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_listener_that_was_cut_off_has_the_state_of_the_daemon_again() {
    let bench = Bench::new();
    let mut sim = Sim::start(&bench.artifacts, bench.folder(), 20.0, 22, "none");
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    bench.configure(&[DeviceEntry::meter(sim.link())]);
    let daemon = bench.start();
    let mut mirror = Value::Null;
    let mut last_id = None;
    for round in 0..5 {
        let events = listen(&daemon, last_id.as_deref(), 10 + round * 7).await;
        for (name, id, data) in events {
            // An EventSource would come back with it.
            assert_eq!(
                id.is_none(),
                name == "welcome",
                "all but the welcome have a place"
            );
            match name.as_str() {
                "welcome" => assert_eq!(data["resumed"], round > 0),
                "state.snapshot" => {
                    assert_eq!(round, 0, "a listener that goes on needs no snapshot");
                    mirror = data["data"].clone();
                }
                _ => apply(&mut mirror, &data),
            }
            last_id = id.or(last_id);
        }
    }
    sim.ask("pause");
    eventually(
        "the listener's copy and the daemon's state at one version",
        async || {
            for (name, id, data) in listen(&daemon, last_id.as_deref(), 2).await {
                if name == "state.patch" {
                    apply(&mut mirror, &data);
                }
                last_id = id.or(last_id.take());
            }
            let state = daemon.state().await;
            (state["version"] == mirror["version"]).then(|| assert_eq!(state, mirror))
        },
    )
    .await;
    assert!(daemon.stop().success());
}

fn apply(mirror: &mut Value, data: &Value) {
    assert_eq!(data["fromVersion"], mirror["version"]);
    let patch: json_patch::Patch = serde_json::from_value(data["patch"].clone()).expect("a patch");
    json_patch::patch(mirror, &patch).expect("it applies");
}

/// Listens to the state for so many events, and goes without a word.
async fn listen(
    daemon: &Daemon,
    last_id: Option<&str>,
    count: usize,
) -> Vec<(String, Option<String>, Value)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = daemon.address();
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("it connects");
    let last = last_id
        .map(|id| format!("Last-Event-ID: {id}\r\n"))
        .unwrap_or_default();
    let text = format!("GET /api/v1/events?channels=state HTTP/1.1\r\nHost: {address}\r\n{last}\r\n");
    stream.write_all(text.as_bytes()).await.expect("it is sent");
    let mut bytes = Vec::new();
    let mut events = Vec::new();
    while events.len() < count {
        let mut buffer = [0; 16384];
        let read = tokio::time::timeout(e2e::PATIENCE, stream.read(&mut buffer));
        let read = read.await.expect("an event in time").expect("the answer goes on");
        assert!(read > 0, "the daemon ended the answer");
        bytes.extend_from_slice(&buffer[..read]);
        events = parse(&bytes);
    }
    events.truncate(count);
    events
}

/// The whole events of an answer so far. Chunks are taken off first; an event may be spread over several.
fn parse(bytes: &[u8]) -> Vec<(String, Option<String>, Value)> {
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Vec::new();
    };
    let mut rest = &bytes[head + 4..];
    let mut text = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let digits = std::str::from_utf8(&rest[..end]).expect("a length");
        let length = usize::from_str_radix(digits, 16).expect("a length");
        let Some(chunk) = rest.get(end + 2..end + 2 + length) else {
            break;
        };
        text.extend_from_slice(chunk);
        rest = rest.get(end + 4 + length..).unwrap_or_default();
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let Some(end) = text.rfind("\n\n") else {
        return Vec::new();
    };
    let blocks = text[..end].split("\n\n");
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim_start_matches(": ").to_owned())
    };
    blocks
        .filter_map(|block| {
            let data = field(block, "data")?;
            Some((
                field(block, "event").expect("a name"),
                field(block, "id"),
                serde_json::from_str(&data).expect("JSON"),
            ))
        })
        .collect()
}
