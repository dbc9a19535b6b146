//! Clients that are killed, that never read, that ask without end, or that send garbage: the other mirrors stay exact, and do not wait.
//!
//! Each case prints the delay of a sample from its row to a mirror, at the 99th percentile, quiet and disturbed, and the ratio. The figures are for
//! reading: attackers, daemon and mirror share the machine, so nothing is asserted of a time. What is asserted is that every mirror ends as the
//! daemon's document, and that each hostile client is told, or let go, as it should be.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of a story: what is missing fails it"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::{
    Bench, Client, DeviceEntry, Frame, PATIENCE, Sim, canonical, client_frame, eventually, is_long,
    take_frame,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Mirrors that are watched.
const MIRRORS: usize = 4;
/// A row, and so a sample, each hundredth of a second.
const METER_SPEED: f64 = 100.0;
/// Pipelines that never read.
const PIPELINES: usize = 40;
/// Clients that ask without end, and clients that send what is wrong.
const CROWD: usize = 8;

/// One case at a time: two would measure one another.
static ALONE: Mutex<()> = Mutex::const_new(());

/// What hostile clients have to know.
#[derive(Clone)]
struct Siege {
    address: String,
    /// Numbers of the meter's series.
    series: Vec<u64>,
    is_over: Arc<AtomicBool>,
    /// Of each hostile client that has to be told, or let go, how often it was, as it should be.
    ends: Arc<std::sync::Mutex<Vec<u64>>>,
}

impl Siege {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Acquire)
    }

    /// One more hostile client that has to end as it should, at least once. Gives its place.
    fn expect_an_end(&self) -> usize {
        let mut ends = self.ends.lock().expect("no panic");
        ends.push(0);
        ends.len() - 1
    }

    fn ended_as_it_should(&self, place: usize) {
        self.ends.lock().expect("no panic")[place] += 1;
    }

    /// How often they ended as they should, if each has.
    fn all_ended(&self) -> Option<u64> {
        let ends = self.ends.lock().expect("no panic");
        (!ends.is_empty() && ends.iter().all(|count| *count > 0)).then(|| ends.iter().sum())
    }
}

/// Hostile clients, on a thread and a runtime of their own: forty that write as much as the system takes hold a runtime up for tens of milliseconds,
/// whoever they write to. On the mirror's it would be that which is measured, and not what the daemon does for them.
struct Hostile {
    clients: JoinSet<()>,
    /// There until it is dropped, where it may not be waited for.
    runtime: Option<Runtime>,
}

impl Hostile {
    fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self {
            clients: JoinSet::new(),
            runtime: Some(runtime.expect("a runtime")),
        }
    }

    fn spawn(&mut self, client: impl Future<Output = ()> + Send + 'static) {
        let runtime = self.runtime.as_ref().expect("there until it is dropped");
        self.clients.spawn_on(client, runtime.handle());
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Measures a mirror without and beside hostile clients, while others are watched. Each hostile client goes on until the siege is over.
async fn beside(name: &str, attack: impl AsyncFnOnce(Siege, &mut Hostile)) {
    let _alone = ALONE.lock().await;
    let bench = Bench::new();
    let mut sim = Sim::start(&bench.artifacts, bench.folder(), METER_SPEED, 11, "none");
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    bench.configure(&[DeviceEntry::meter(sim.link())]);
    let daemon = bench.start();
    let mut watched = daemon.client().await;
    watched
        .until_member("/powerMeter/phase", &json!("streaming"))
        .await;
    let all = watched.member("/devices/meter/series").and_then(Value::as_object);
    let siege = Siege {
        address: daemon.address().to_owned(),
        series: all
            .expect("series")
            .values()
            .filter_map(|series| series["endpointId"].as_u64())
            .collect(),
        is_over: Arc::default(),
        ends: Arc::default(),
    };
    let energy = watched.endpoint("meter", "energy");
    watched.subscribe(&[energy]).await;
    let quiet = p99(delays(&mut watched, energy).await);

    let mut mirrors = Vec::new();
    for _ in 0..MIRRORS {
        mirrors.push(daemon.client().await);
    }
    let mut hostile = Hostile::new();
    attack(siege.clone(), &mut hostile).await;
    let disturbed = p99(delays(&mut watched, energy).await);
    let all_ended = eventually("each hostile client ends as it should", async || {
        siege.all_ended()
    });
    watched.beside(all_ended).await;
    siege.is_over.store(true, Ordering::Release);
    let ended = async {
        while let Some(ended) = hostile.clients.join_next().await {
            ended.expect("a hostile client ends as it should");
        }
    };
    tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("the hostile clients end");

    sim.ask("pause");
    mirrors.push(watched);
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
    println!(
        "p99 of the delivery beside {name}: quiet {quiet:.2} ms, disturbed {disturbed:.2} ms, ratio {:.2}; they ended as they should {} times, each of them at least once",
        disturbed / quiet,
        siege.ends.lock().expect("no panic").iter().sum::<u64>(),
    );
    assert!(daemon.stop().success());
}

/// How long after its row was received each sample reached a mirror, in milliseconds, over a while that begins now.
async fn delays(client: &mut Client, energy: u64) -> Vec<f64> {
    let now_ms = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.expect("a clock").as_secs_f64() * 1e3
    };
    let count = if is_long() { 3000 } else { 300 };
    let (begin_ms, mut delays) = (now_ms(), Vec::new());
    let deadline = Instant::now() + Duration::from_secs(90);
    while delays.len() < count {
        assert!(Instant::now() < deadline, "too few samples");
        let message = client.next().await;
        if message["type"] == "telemetry" && message["endpointId"].as_u64() == Some(energy) {
            let newest = message["samples"].as_array().and_then(|samples| samples.last());
            let newest_ms = newest.and_then(|sample| sample[0].as_f64()).expect("a time");
            // What had come before is of another while.
            if newest_ms >= begin_ms {
                delays.push(now_ms() - newest_ms);
            }
        }
    }
    delays
}

fn p99(mut delays: Vec<f64>) -> f64 {
    delays.sort_by(f64::total_cmp);
    delays[delays.len() * 99 / 100]
}

/// A connection whose system takes hardly anything for it, so that the line is full within a few answers.
async fn narrow(address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let stream = socket.connect(address.parse().expect("an address")).await;
    stream.expect("a connection")
}

/// Opens the socket by hand, and reads nothing behind the first words of the answer.
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

async fn opened(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("a connection");
    upgraded(stream, address).await
}

/// The rest of the answer to the upgrade.
async fn skip_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
}

/// Everything that comes, up to the code of the close frame; none if the connection ends without one.
async fn until_close(stream: &mut (impl AsyncReadExt + Unpin), mut hear: impl FnMut(&Frame)) -> Option<u16> {
    let mut inbox = Vec::new();
    loop {
        while let Some(frame) = take_frame(&mut inbox) {
            if frame.first == 0x88 {
                return frame
                    .payload
                    .first_chunk::<2>()
                    .map(|code| u16::from_be_bytes(*code));
            }
            hear(&frame);
        }
        match stream.read_buf(&mut inbox).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// Writes again and again until the daemon lets it go or the siege is over. True if it was let go.
async fn write_on(siege: &Siege, stream: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while siege.goes_on() {
        // A line that is full takes nothing for as long as the daemon lets it: the siege may be over meanwhile.
        match tokio::time::timeout(Duration::from_millis(500), stream.write(rest)).await {
            Ok(Ok(count)) => rest = &rest[count..],
            Ok(Err(_)) => return true,
            Err(_) => {}
        }
        if rest.is_empty() {
            rest = bytes;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelines_that_are_never_read() {
    beside("forty pipelines that are never read", async |siege, hostile| {
        for _ in 0..PIPELINES {
            let siege = siege.clone();
            let place = siege.expect_an_end();
            hostile.spawn(async move {
                let request = format!("GET /api/v1/state HTTP/1.1\r\nHost: {}\r\n\r\n", siege.address);
                let requests = request.repeat(100);
                while siege.goes_on() {
                    let mut stream = narrow(&siege.address).await;
                    if write_on(&siege, &mut stream, requests.as_bytes()).await {
                        siege.ended_as_it_should(place);
                    }
                }
            });
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_subscriptions() {
    beside("a flood of subscriptions", async |siege, hostile| {
        for _ in 0..CROWD {
            let siege = siege.clone();
            let place = siege.expect_an_end();
            hostile.spawn(async move {
                let all = |kind| json!({"type": kind, "channel": "telemetry", "endpointIds": siege.series});
                let mut flood = Vec::new();
                for kind in ["subscribe", "unsubscribe"].repeat(20) {
                    flood.extend(client_frame(0x81, all(kind).to_string().as_bytes()));
                }
                while siege.goes_on() {
                    let mut stream = opened(&siege.address).await;
                    skip_head(&mut stream).await;
                    let (mut reader, mut writer) = stream.split();
                    let mut was_told = false;
                    let hearing = until_close(&mut reader, |frame| {
                        let text = String::from_utf8_lossy(&frame.payload);
                        was_told |= text.contains("\"rate-limited\"");
                    });
                    // It writes on until it is over, and hears what it is told meanwhile.
                    let code = tokio::select! {
                        code = hearing => code,
                        false = write_on(&siege, &mut writer, &flood) => return,
                    };
                    // Where the daemon's last bytes were lost with the connection, the code was among them.
                    if let Some(code) = code {
                        assert_eq!(code, 1008);
                        if was_told {
                            siege.ended_as_it_should(place);
                        }
                    }
                }
            });
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_send_wrong_frames() {
    beside("clients that send wrong frames", async |siege, hostile| {
        let huge = [&[0x81, 0x80 | 127][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
        let cases = [
            (client_frame(0x81, &[0xFF]), 1007),
            (vec![0x81, 1, b'x'], 1002),
            (client_frame(0xF1, b"x"), 1002),
            (client_frame(0x8F, b""), 1002),
            (client_frame(0x80, b"x"), 1002),
            (client_frame(0x82, b"x"), 1003),
            (client_frame(0x88, &[0x03, 0xED]), 1002),
            (huge, 1009),
        ];
        for number in 0..CROWD {
            let (siege, cases) = (siege.clone(), cases.clone());
            let place = siege.expect_an_end();
            hostile.spawn(async move {
                for (bytes, code) in cases.iter().cycle().skip(number) {
                    if !siege.goes_on() {
                        return;
                    }
                    let mut stream = opened(&siege.address).await;
                    skip_head(&mut stream).await;
                    stream.write_all(bytes).await.expect("the frame is sent");
                    let closed = tokio::time::timeout(PATIENCE, until_close(&mut stream, |_| {}));
                    assert_eq!(closed.await.expect("an end"), Some(*code), "{bytes:02x?}");
                    siege.ended_as_it_should(place);
                }
            });
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_read_vanish_or_send_garbage() {
    beside(
        "silence, a vandal and one that is gone",
        async |siege, hostile| {
            // It asks for the whole state again and again and never reads a byte, until the daemon has had enough.
            let silent = siege.clone();
            let place = silent.expect_an_end();
            hostile.spawn(async move {
                let mut stream = upgraded(narrow(&silent.address).await, &silent.address).await;
                let question = client_frame(0x81, br#"{"type":"state.resync"}"#);
                let mut pace = tokio::time::interval(Duration::from_millis(150));
                while stream.write_all(&question).await.is_ok() {
                    pace.tick().await;
                }
                silent.ended_as_it_should(place);
            });
            // One that sends garbage, again and again.
            let vandal = siege.clone();
            let place = vandal.expect_an_end();
            hostile.spawn(async move {
                for round in 0_u8..20 {
                    let mut stream = opened(&vandal.address).await;
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
                vandal.ended_as_it_should(place);
            });
            // One that is gone without a word.
            drop(opened(&siege.address).await);
        },
    )
    .await;
}
