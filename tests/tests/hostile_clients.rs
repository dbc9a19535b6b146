//! Clients that are killed, that never read, or that send garbage: the other mirrors stay exact, and do not wait.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of a story: what is missing fails it"
)]

use std::time::Duration;

use e2e::{Bench, Client, Daemon, DeviceEntry, Sim, canonical, eventually, is_long};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

/// Mirrors that are watched.
const MIRRORS: usize = 4;

async fn streaming() -> (Bench, Sim, Daemon) {
    let bench = Bench::new();
    let sim = Sim::start(&bench.artifacts, bench.folder(), 100.0, 11, "none");
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    bench.configure(&[DeviceEntry::meter(sim.link())]);
    let daemon = bench.start();
    (bench, sim, daemon)
}

/// How long after its row was received each sample reached a mirror, in milliseconds, over a while.
async fn delays(client: &mut Client, energy: u64, samples: usize) -> Vec<f64> {
    let mut delays = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while delays.len() < samples {
        assert!(Instant::now() < deadline, "too few samples");
        let message = client.next().await;
        if message["type"] == "telemetry" && message["endpointId"].as_u64() == Some(energy) {
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .expect("a clock")
                .as_secs_f64()
                * 1e3;
            let newest = message["samples"]
                .as_array()
                .expect("samples")
                .last()
                .expect("a sample")[0]
                .as_f64()
                .expect("a time");
            delays.push(now - newest);
        }
    }
    delays
}

fn p99(mut delays: Vec<f64>) -> f64 {
    delays.sort_by(f64::total_cmp);
    delays[delays.len() * 99 / 100]
}

async fn measured(daemon: &Daemon) -> f64 {
    let samples = if is_long() { 3000 } else { 300 };
    let mut client = daemon.client().await;
    client
        .until_member("/powerMeter/phase", &json!("streaming"))
        .await;
    let energy = client.endpoint("meter", "energy");
    client.subscribe(&[energy]).await;
    p99(delays(&mut client, energy, samples).await)
}

/// Opens the socket by hand and does nothing with it.
async fn opened(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("a connection");
    upgraded(stream, address).await
}

async fn upgraded(mut stream: TcpStream, address: &str) -> TcpStream {
    let text = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream
        .write_all(text.as_bytes())
        .await
        .expect("the upgrade is sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 101");
    stream
}

/// Asks for the whole state again and again and never reads a byte, until the daemon has had enough. A small receive buffer, so that the
/// line is full within a few answers.
async fn never_read(address: String) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let stream = socket.connect(address.parse().expect("an address")).await;
    let mut stream = upgraded(stream.expect("a connection"), &address).await;
    let mut pace = tokio::time::interval(Duration::from_millis(150));
    loop {
        pace.tick().await;
        if stream
            .write_all(&masked(br#"{"type":"state.resync"}"#))
            .await
            .is_err()
        {
            return;
        }
    }
}

/// One short text message as a client sends it. A mask of zeros is a mask.
fn masked(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short message");
    assert!(length < 126, "a short message");
    let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(text);
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_stay_exact_and_do_not_wait() {
    let (_bench, mut sim, daemon) = streaming().await;
    let quiet = measured(&daemon).await;

    let mut mirrors = Vec::new();
    for _ in 0..MIRRORS {
        mirrors.push(daemon.client().await);
    }
    let silent = tokio::spawn(never_read(daemon.address().to_owned()));
    // One that sends garbage, again and again.
    let address = daemon.address().to_owned();
    let vandal = tokio::spawn(async move {
        for round in 0_u8..20 {
            let mut stream = opened(&address).await;
            let garbage: Vec<u8> = (0..2000_u32)
                .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ round)
                .collect();
            // The daemon may close before everything is taken.
            let _ = stream.write_all(&garbage).await;
            let mut rest = Vec::new();
            let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest))
                .await
                .expect("garbage is answered with a close");
        }
    });
    // One that is gone without a word.
    drop(opened(daemon.address()).await);

    let disturbed = measured(&daemon).await;
    vandal.await.expect("the vandal ends");
    sim.ask("pause");
    eventually("all mirrors equal the daemon's document", async || {
        let state = daemon.state().await;
        let version = state["version"].as_u64().expect("a version");
        for client in &mut mirrors {
            client
                .until("that version", |client| {
                    (client.mirror.version >= version).then_some(())
                })
                .await;
            if client.mirror.version != version {
                return None;
            }
            assert_eq!(canonical(&client.mirror.document), canonical(&state));
        }
        Some(())
    })
    .await;
    // It had been taking nothing all the while: that is why it was let go.
    tokio::time::timeout(Duration::from_secs(60), silent)
        .await
        .expect("a client that never reads is let go")
        .expect("the silent one ends");
    let ratio = disturbed / quiet;
    println!("p99 of the delivery: quiet {quiet:.2} ms, disturbed {disturbed:.2} ms, ratio {ratio:.2}");
}
