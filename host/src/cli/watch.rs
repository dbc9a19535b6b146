//! `autobench watch`: a client of the daemon's socket that prints what comes.
//!
//! A daemon that is away is waited for. One that says that it will never serve this client is not, and neither is a name that stands for no
//! address.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use autobench_core::frame::CloseCode;
use bytes::Bytes;
use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{
    AUTHORIZATION, CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use hyper::upgrade::Upgraded;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::target::{Target, problem_text};
use super::{Failure, WatchArguments};
use crate::logs::harmless;

/// First and longest wait before connecting again. A daemon that restarts is back within a second.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// How long the daemon may take to answer the upgrade.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);

/// Largest message: a snapshot of a bench with a thousand slices has a hundredth of this.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

pub(super) fn watch(arguments: &WatchArguments, token: Option<&str>, json: bool) -> Result<(), Failure> {
    let target = Target::parse(&arguments.url)?.with_token(token);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(run(&target, arguments, json, &mut std::io::stdout()))
}

async fn run(
    target: &Target,
    arguments: &WatchArguments,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut left = arguments.count.unwrap_or(u64::MAX);
    let mut wait = RECONNECT.0;
    let mut was_there = false;
    loop {
        match connect(target).await {
            Ok(socket) => {
                was_there = true;
                let since = Instant::now();
                match print_messages(socket, &mut left, json, out).await {
                    Ended::Enough => return Ok(()),
                    Ended::Closed(code, reason) if code == Some(CloseCode::Unauthorized.number()) => {
                        let hint = "set AUTOBENCH_TOKEN to a token of this daemon";
                        return Err(anyhow!("the daemon has sent this client off: {reason} — {hint}").into());
                    }
                    Ended::Closed(_, reason) => {
                        eprintln!("autobench: the connection has ended: {reason}");
                        if arguments.once {
                            return Ok(());
                        }
                    }
                }
                if since.elapsed() > RECONNECT.1 {
                    wait = RECONNECT.0;
                }
            }
            Err(error) if arguments.once || error.is_for_good(was_there) => {
                return Err(error.into_error().into());
            }
            Err(error) => eprintln!("autobench: {:#}; trying again", error.what),
        }
        // Nobody says when a daemon is back: it is tried, and not too often.
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RECONNECT.1);
    }
}

pub(super) type Socket = WebSocket<TokioIo<Upgraded>>;

/// Why there is no connection.
#[derive(Debug)]
pub(super) struct Away {
    what: anyhow::Error,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Nobody answers, or not now.
    NotNow,
    /// The name stands for no address.
    NoSuchName,
    /// The daemon will answer the same the next time.
    Refused,
}

impl Away {
    pub(super) fn into_error(self) -> anyhow::Error {
        self.what
    }

    /// Whether trying again changes nothing. A name that was good once is good again when the network is back.
    fn is_for_good(&self, was_there: bool) -> bool {
        match self.why {
            Why::NotNow => false,
            Why::NoSuchName => !was_there,
            Why::Refused => true,
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Away {
    fn from(error: E) -> Self {
        Self {
            what: error.into(),
            why: Why::NotNow,
        }
    }
}

pub(super) async fn connect(target: &Target) -> Result<Socket, Away> {
    let addresses = match tokio::net::lookup_host(&target.address).await {
        Ok(addresses) => addresses.collect::<Vec<_>>(),
        Err(error) => {
            let what = anyhow!(error).context(format!(
                "{} cannot be resolved — look at the name, or write the address in numbers",
                target.address
            ));
            let why = Why::NoSuchName;
            return Err(Away { what, why });
        }
    };
    let stream = TcpStream::connect(&*addresses).await.with_context(|| {
        format!(
            "no daemon answers on {} — start one with `autobench serve`",
            target.address
        )
    })?;
    match tokio::time::timeout(HANDSHAKE_WAIT, upgrade(target, stream)).await {
        Ok(socket) => socket,
        Err(_) => Err(anyhow!("{} took the connection and does not answer", target.address).into()),
    }
}

async fn upgrade(target: &Target, stream: TcpStream) -> Result<Socket, Away> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the connection; an error on it reaches the reader below as the end of the stream.
    tokio::spawn(connection.with_upgrades());
    let mut request = Request::get(target.path.as_str())
        .header(HOST, &target.authority)
        .header(UPGRADE, "websocket")
        .header(CONNECTION, "upgrade")
        .header(SEC_WEBSOCKET_KEY, fastwebsockets::handshake::generate_key())
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_PROTOCOL, autobench_core::wire::PROTOCOL);
    if let Some(token) = &target.token {
        request = request.header(AUTHORIZATION, format!("Bearer {}", token.reveal()));
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let body = Limited::new(response.into_body(), 64 << 10).collect().await;
        let text = body
            .map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned())
            .unwrap_or_default();
        return Err(Away {
            what: anyhow!("{} answers {status}: {}", target.authority, problem_text(&text)),
            why: if is_final(status) {
                Why::Refused
            } else {
                Why::NotNow
            },
        });
    }
    let upgraded = hyper::upgrade::on(response).await?;
    let mut socket = WebSocket::after_handshake(TokioIo::new(upgraded), Role::Client);
    socket.set_max_message_size(MAX_MESSAGE_BYTES);
    Ok(socket)
}

/// Whether a daemon that answers this will answer the same the next time. A full house, a daemon that starts, and a proxy without one behind it
/// are another matter.
fn is_final(status: StatusCode) -> bool {
    let passes = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    !status.is_server_error() && !passes.contains(&status)
}

enum Ended {
    /// As many messages as were asked for.
    Enough,
    /// With the code of a close frame, if there was one.
    Closed(Option<u16>, String),
}

async fn print_messages(socket: Socket, left: &mut u64, json: bool, out: &mut impl Write) -> Ended {
    let mut socket = FragmentCollector::new(socket);
    loop {
        let frame = match socket.read_frame().await {
            Ok(frame) => frame,
            Err(error) => return Ended::Closed(None, error.to_string()),
        };
        match frame.opcode {
            OpCode::Text => {
                let Ok(text) = std::str::from_utf8(&frame.payload) else {
                    continue;
                };
                // What a device sent may be in it; it must not command this terminal.
                let text = harmless(text.as_bytes());
                let text = String::from_utf8_lossy(&text);
                let line = if json {
                    text.replace(['\n', '\r'], " ")
                } else {
                    describe(&text)
                };
                // Nobody reads any more, for example behind `head`.
                if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                    return Ended::Enough;
                }
                *left -= 1;
                if *left == 0 {
                    return Ended::Enough;
                }
            }
            OpCode::Close => {
                let code = frame.payload.first_chunk().copied().map(u16::from_be_bytes);
                return Ended::Closed(code, close_reason(&frame.payload));
            }
            OpCode::Binary | OpCode::Continuation | OpCode::Ping | OpCode::Pong => {}
        }
    }
}

pub(super) fn close_reason(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            let reason = String::from_utf8_lossy(reason);
            if reason.is_empty() {
                format!("closed with {code}")
            } else {
                format!("closed with {code}, {reason}")
            }
        }
        _ => "closed".to_owned(),
    }
}

/// One message in one line for a person.
fn describe(text: &str) -> String {
    let Ok(message) = serde_json::from_str::<Value>(text) else {
        return text.to_owned();
    };
    let number = |name: &str| message.get(name).and_then(Value::as_u64).unwrap_or_default();
    let word = |name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default();
    let kind = word("type");
    match kind {
        "welcome" => format!(
            "welcome         autobench {}, boot {}, client {}",
            word("serverVersion"),
            word("bootId"),
            word("clientId")
        ),
        "state.snapshot" => format!(
            "state.snapshot  version {}, {} bytes",
            number("stateVersion"),
            text.len()
        ),
        "state.patch" => format!(
            "state.patch     {} -> {}  {}",
            number("fromVersion"),
            number("toVersion"),
            describe_patch(&message)
        ),
        "logs.history" | "logs.append" => {
            let mut lines = vec![format!("{kind:<15} {}..{}", number("fromSeq"), number("toSeq"))];
            let entries = message.get("entries").and_then(Value::as_array);
            lines.extend(entries.into_iter().flatten().map(describe_entry));
            lines.join("\n")
        }
        "telemetry" => {
            let samples = message
                .get("samples")
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            let value = message.get("value").unwrap_or(&Value::Null);
            format!(
                "telemetry       {} {value} {} ({samples} samples)",
                word("endpoint"),
                word("unit")
            )
        }
        _ => text.to_owned(),
    }
}

fn describe_patch(message: &Value) -> String {
    let operations = message.get("patch").and_then(Value::as_array);
    let operations = operations.into_iter().flatten().filter_map(|operation| {
        let path = operation.get("path")?.as_str()?;
        if path == "/version" {
            return None;
        }
        let value = match (operation.get("op")?.as_str()?, operation.get("value")) {
            ("remove", _) | (_, None) => "removed".to_owned(),
            (_, Some(value @ (Value::Object(_) | Value::Array(_)))) => {
                format!("{} bytes", value.to_string().len())
            }
            (_, Some(value)) => value.to_string(),
        };
        Some(format!("{path} {value}"))
    });
    operations.collect::<Vec<_>>().join(", ")
}

fn describe_entry(entry: &Value) -> String {
    // An entry can hold what a device sent; it must not command this terminal.
    let word = |name: &str| -> String {
        let text = entry.get(name).and_then(Value::as_str).unwrap_or_default();
        text.chars()
            .map(|one| if one.is_control() { ' ' } else { one })
            .collect()
    };
    let tag = match &*word("tag") {
        "" => String::new(),
        tag => format!(" {tag}"),
    };
    format!(
        "  {} {:<5} {}{tag}: {}",
        word("emoji"),
        word("level"),
        word("channel"),
        word("message")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_described_by_its_paths_without_the_version() {
        let text = r#"{"type":"state.patch","fromVersion":1,"toVersion":2,"patch":[
            {"op":"replace","path":"/powerMeter/lastSample/watts","value":96.5},
            {"op":"remove","path":"/powerMeter/message"},
            {"op":"replace","path":"/version","value":2}]}"#;
        assert_eq!(
            describe(text),
            "state.patch     1 -> 2  /powerMeter/lastSample/watts 96.5, /powerMeter/message removed"
        );
    }

    #[test]
    fn a_log_line_cannot_command_the_terminal() {
        let entry = serde_json::json!({"channel": "device", "level": "info", "emoji": "", "message": "a\u{1b}[2Jb\nc", "tag": "me\u{9b}ter"});
        assert_eq!(describe_entry(&entry), "   info  device me ter: a [2Jb c");
    }

    use fastwebsockets::{Frame, Payload};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper::{Request, Response};

    type Answer = Response<Full<Bytes>>;

    async fn answer(mut request: Request<Incoming>) -> Result<Answer, std::convert::Infallible> {
        if request.uri().path() == "/busy" {
            return Ok(Response::builder().status(503).body(Full::from("full")).unwrap());
        }
        if request.uri().path() != "/ws" {
            let body = r#"{"title":"Forbidden","detail":"this Origin is not allowed"}"#;
            return Ok(Response::builder().status(403).body(Full::from(body)).unwrap());
        }
        assert_eq!(
            request.headers().get(SEC_WEBSOCKET_PROTOCOL).unwrap(),
            autobench_core::wire::PROTOCOL
        );
        let (response, upgrade) = fastwebsockets::upgrade::upgrade(&mut request).unwrap();
        tokio::spawn(async move {
            let mut socket = upgrade.await.unwrap();
            for text in [r#"{"type":"pong","ts":1}"#, "{\"type\":\n\"ack\"}"] {
                socket
                    .write_frame(Frame::text(Payload::Borrowed(text.as_bytes())))
                    .await
                    .unwrap();
            }
            socket
                .write_frame(Frame::close(1001, b"going away"))
                .await
                .unwrap();
        });
        Ok(response.map(|_| Full::default()))
    }

    /// A daemon that says two things and goes; any number of times.
    async fn start_daemon() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                tokio::spawn(connection.with_upgrades());
            }
        });
        address.to_string()
    }

    async fn watched(url: &str, once: bool, count: Option<u64>) -> (Result<(), Failure>, String) {
        let target = Target::parse(url).unwrap();
        let arguments = WatchArguments {
            url: url.to_owned(),
            once,
            count,
        };
        let mut out = Vec::new();
        let result = run(&target, &arguments, true, &mut out).await;
        (result, String::from_utf8(out).unwrap())
    }

    #[tokio::test]
    async fn every_message_is_one_line_until_the_connection_ends() {
        let address = start_daemon().await;
        let (result, out) = watched(&address, true, None).await;
        assert!(result.is_ok());
        assert_eq!(out, "{\"type\":\"pong\",\"ts\":1}\n{\"type\": \"ack\"}\n");
    }

    #[tokio::test]
    async fn a_lost_connection_is_made_again() {
        let address = start_daemon().await;
        let (result, out) = watched(&address, false, Some(5)).await;
        assert!(result.is_ok());
        assert_eq!(out.lines().count(), 5);
    }

    #[tokio::test]
    async fn a_refusal_ends_in_the_words_of_the_daemon() {
        let address = start_daemon().await;
        let (result, out) = watched(&format!("http://{address}/other"), true, None).await;
        let told = result.unwrap_err().to_string();
        assert_eq!(
            told,
            format!("{address} answers 403 Forbidden: this Origin is not allowed")
        );
        assert_eq!(out, "");
    }

    #[tokio::test]
    async fn what_will_never_be_served_is_not_tried_again() {
        let address = start_daemon().await;
        // Without `--once`, each would go on for ever.
        let (result, _) = watched(&format!("http://{address}/other"), false, None).await;
        let told = result.unwrap_err().to_string();
        assert_eq!(
            told,
            format!("{address} answers 403 Forbidden: this Origin is not allowed")
        );
        let (result, _) = watched("http://no-such-host.invalid:9898", false, None).await;
        let told = result.unwrap_err().to_string();
        assert!(
            told.starts_with("no-such-host.invalid:9898 cannot be resolved"),
            "{told}"
        );
    }

    #[tokio::test]
    async fn what_is_merely_away_is_tried_again() {
        let address = start_daemon().await;
        let busy = connect(&Target::parse(&format!("http://{address}/busy")).unwrap()).await;
        assert!(!busy.err().unwrap().is_for_good(false));
        let gone = connect(&Target::parse("http://127.0.0.1:1").unwrap()).await;
        assert!(!gone.err().unwrap().is_for_good(false));
        let unknown = connect(&Target::parse("http://no-such-host.invalid:1").unwrap()).await;
        let unknown = unknown.err().unwrap();
        assert!(unknown.is_for_good(false) && !unknown.is_for_good(true));
        for (status, expected) in [
            (200, true),
            (401, true),
            (404, true),
            (426, true),
            (408, false),
            (429, false),
            (502, false),
            (503, false),
        ] {
            assert_eq!(
                is_final(StatusCode::from_u16(status).unwrap()),
                expected,
                "{status}"
            );
        }
    }

    #[tokio::test]
    async fn a_daemon_that_wants_a_token_is_not_tried_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(async |mut request: Request<Incoming>| {
                let (response, upgrade) = fastwebsockets::upgrade::upgrade(&mut request).unwrap();
                tokio::spawn(async move {
                    let mut socket = upgrade.await.unwrap();
                    socket
                        .write_frame(Frame::close(4401, b"no token came in time"))
                        .await
                        .unwrap();
                });
                Ok::<Answer, std::convert::Infallible>(response.map(|_| Full::default()))
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            connection.with_upgrades().await.unwrap();
        });
        let (result, _) = watched(&address.to_string(), false, None).await;
        let told = result.unwrap_err().to_string();
        assert!(
            told.contains("no token came in time") && told.contains("AUTOBENCH_TOKEN"),
            "{told}"
        );
    }
}
