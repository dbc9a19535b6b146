//! Those who ask: each with a token or without one, over HTTP and over the socket.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use e2e::{PATIENCE, Response, call};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::table::{Role, Way};

/// Messages that a client sends at once at most, with room for one that lets go. The daemon takes twenty.
const MESSAGES: usize = 12;
/// How old a connection is at most that is asked over. Without a token it is closed after five seconds.
const AGE: Duration = Duration::from_secs(2);

/// What the daemon makes of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The status, where there is one, and the code.
    Refused(Option<u16>, String),
    /// It has this id.
    Taken(String),
}

/// Those who ask.
pub struct Callers {
    address: String,
    sockets: BTreeMap<Role, Socket>,
}

struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    opened: Instant,
    messages: usize,
}

/// The tokens, as the configuration has them.
pub fn tokens() -> String {
    let toml = [Role::Viewer, Role::Operator, Role::Admin].map(|role| {
        let name = format!("{role:?}").to_lowercase();
        let hash = Sha256::digest(token(role).expect("it has one"));
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("[auth.tokens.{name}]\nsha256 = \"{hash}\"\nrole = \"{name}\"\n")
    });
    toml.concat()
}

fn token(role: Role) -> Option<String> {
    (role != Role::Nobody).then(|| format!("the-token-of-{role:?}-in-the-table"))
}

impl Callers {
    /// Of the daemon at `host:port`.
    pub fn of(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            sockets: BTreeMap::new(),
        }
    }

    /// Asks for a command.
    pub async fn ask(&mut self, role: Role, way: Way, device: &str, name: &str, args: &Value) -> Answer {
        match way {
            Way::Http => {
                let path = format!("/api/v1/devices/{device}/commands");
                let body = json!({"name": name, "args": args});
                let response = self.http(role, "POST", &path, Some(&body)).await;
                let answer = response.json();
                match response.status {
                    202 => Answer::Taken(text(&answer, "commandId")),
                    status => Answer::Refused(Some(status), text(&answer, "code")),
                }
            }
            Way::Socket => {
                let message = json!({"type": "command", "device": device, "name": name, "args": args});
                let answer = self.say(role, message).await;
                match answer["type"].as_str() {
                    Some("ack") => Answer::Taken(text(&answer, "commandId")),
                    _ => Answer::Refused(None, text(&answer, "code")),
                }
            }
        }
    }

    /// Lets go of what a command began over this role's socket, unless it is over already.
    pub async fn let_go(&mut self, role: Role, command: &str) {
        let answer = self
            .say(role, json!({"type": "lease.end", "commandId": command}))
            .await;
        assert!(
            answer["ok"] == true || answer["code"] == "unknown-lease",
            "{answer}"
        );
    }

    /// Withdraws a command.
    pub async fn withdraw(&self, command: &str) {
        let path = format!("/api/v1/commands/{command}");
        let response = self.http(Role::Operator, "DELETE", &path, None).await;
        assert_eq!(response.status / 100, 2, "{response:?}");
    }

    /// What a route has, as JSON.
    pub async fn get(&self, path: &str) -> Option<Value> {
        let response = self.http(Role::Admin, "GET", path, None).await;
        (response.status == 200).then(|| response.json())
    }

    async fn http(&self, role: Role, method: &str, path: &str, body: Option<&Value>) -> Response {
        let bearer = token(role).map(|token| format!("Authorization: Bearer {token}\r\n"));
        call(&self.address, method, path, &bearer.unwrap_or_default(), body).await
    }

    /// Says something over the socket of a role, and gives the answer.
    async fn say(&mut self, role: Role, message: Value) -> Value {
        let is_fit = |socket: &Socket| socket.messages < MESSAGES && socket.opened.elapsed() < AGE;
        let is_end = message["type"] == "lease.end";
        if !is_end && !self.sockets.get(&role).is_some_and(is_fit) {
            let socket = Socket::open(&self.address, token(role)).await;
            self.sockets.insert(role, socket);
        }
        let socket = self.sockets.get_mut(&role).expect("it is open");
        tokio::time::timeout(PATIENCE, socket.ask(message))
            .await
            .expect("an answer in time")
    }
}

impl Socket {
    async fn open(address: &str, token: Option<String>) -> Self {
        let mut request = format!("ws://{address}/ws")
            .into_client_request()
            .expect("an address");
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", HeaderValue::from_static("autobench.v1"));
        if let Some(token) = token {
            let bearer = HeaderValue::try_from(format!("Bearer {token}")).expect("a header");
            headers.insert("authorization", bearer);
        }
        let (stream, _) = tokio_tungstenite::connect_async(request)
            .await
            .expect("the socket opens");
        Self {
            stream,
            opened: Instant::now(),
            messages: 0,
        }
    }

    async fn ask(&mut self, mut message: Value) -> Value {
        self.messages += 1;
        let id = format!("m{}", self.messages);
        message["id"] = id.as_str().into();
        let message = Message::text(message.to_string());
        self.stream.send(message).await.expect("it is sent");
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).expect("JSON");
                    let is_answer = matches!(message["type"].as_str(), Some("ack" | "error"));
                    if is_answer && message["id"] == *id {
                        return message;
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => panic!("the socket closed before an answer"),
                Some(Ok(_)) => {}
            }
        }
    }
}

fn text(answer: &Value, name: &str) -> String {
    answer[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name}: {answer}"))
        .to_owned()
}
