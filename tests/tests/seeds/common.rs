//! What the five clients share.

use std::time::Duration;

use e2e::{Bench, Daemon, DeviceEntry, PATIENCE, Sim, Terminal};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// What every one of them has: a WebSocket that carries JSON.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Opens one, or does not.
    pub async fn open(url: &str) -> Option<Self> {
        Self::open_with(url, &[]).await
    }

    /// The same with more headers.
    pub async fn open_with(url: &str, headers: &[(&'static str, &str)]) -> Option<Self> {
        let mut request = url.into_client_request().expect("an address");
        for (name, value) in headers {
            let value = value.parse().expect("a header's value");
            request.headers_mut().insert(*name, value);
        }
        let opened =
            tokio::time::timeout(Duration::from_secs(5), tokio_tungstenite::connect_async(request)).await;
        opened.ok()?.ok().map(|(socket, _)| Self(socket))
    }

    /// Sends a message; false if the connection is gone.
    pub async fn send(&mut self, message: &Value) -> bool {
        self.0.send(Message::text(message.to_string())).await.is_ok()
    }

    /// The next message; none when the connection is gone.
    pub async fn receive(&mut self) -> Option<Value> {
        loop {
            match self.0.next().await? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).expect("JSON")),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next message, which has to come.
    pub async fn next(&mut self) -> Value {
        tokio::time::timeout(PATIENCE, self.receive())
            .await
            .expect("a message in time")
            .expect("the socket is open")
    }
}

/// A bench with a simulated power meter.
pub fn with_meter(seed: u64) -> (Bench, Sim) {
    let bench = Bench::new();
    let sim = Sim::start(&bench.artifacts, bench.folder(), 20.0, seed, "none");
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    bench.configure(&[DeviceEntry::meter(sim.link())]);
    (bench, sim)
}

/// A bench with a driver that says what its line tells it to say.
pub struct Narrated {
    bench: Bench,
    line: Terminal,
}

impl Narrated {
    pub fn new(device: &str) -> Self {
        let bench = Bench::new();
        let link = bench.folder().join("line");
        let line = Terminal::create(&link);
        bench.install("narrator", &bench.artifacts.fixture("narrator"));
        bench.configure(&[DeviceEntry::new(device, "narrator", &link)]);
        Self { bench, line }
    }

    /// Starts the daemon and waits until its driver listens.
    pub async fn start(&self, device: &str) -> Daemon {
        let daemon = self.bench.start();
        let at = format!("/devices/{device}/phase");
        e2e::eventually("the driver", async || {
            (daemon.member(&at).await? == "ready").then_some(())
        })
        .await;
        daemon
    }

    /// Lets the driver say something.
    pub fn say(&mut self, said: &Value) {
        self.line.send(format!("{said}\n").as_bytes());
    }
}
