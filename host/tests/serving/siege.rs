//! Hostile clients one by one, each beside a well-behaved mirror: what becomes of them, and that the mirror stays exact and is given no snapshot.
//!
//! Each prints the mirror's delay from a change to its patch, at the 99th percentile, without and with the hostile ones, and the ratio. The
//! figures are for reading: attackers, daemon and mirror share the machine, so nothing is asserted of a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use test_support::client_frame as frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::bench::{Answer, Bench, Client, HANDSHAKE, Settings, apply, until, within};
use crate::hostile::close_code;

/// Distance of the changes that the mirror follows.
const PULSE: Duration = Duration::from_millis(2);
/// Distance of the requests that are made beside attackers.
const ASK: Duration = Duration::from_millis(5);
/// Changes before the siege, and at least during it.
const PULSES: usize = 300;

/// When each change was made, by its value.
type Pulses = Arc<Mutex<Vec<Instant>>>;

/// A bench under attack, and how far the mirror beside is.
struct Besieged {
    bench: Bench,
    mirrored: Arc<AtomicU64>,
}

impl std::ops::Deref for Besieged {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}

impl Besieged {
    /// Makes a large change and waits until the mirror has it. The ring holds few of them: without that, a mirror whose thread gets no turn for
    /// a moment would be given a snapshot, and nobody could say whose fault that is.
    async fn change(&self, filler: Value) {
        let version = self.state.replace_slice("ballast", filler).unwrap().unwrap();
        until("the mirror follows", || {
            self.mirrored.load(Ordering::Acquire) >= version
        })
        .await;
    }
}

/// Runs an attack beside a mirror. The attack says what happened.
async fn besiege(name: &str, settings: Settings, attack: impl AsyncFnOnce(&Besieged) -> String) {
    let bench = Besieged {
        bench: Bench::with(settings).await,
        mirrored: Arc::default(),
    };
    let (client, document) = bench.join().await;
    let pulses = Pulses::default();
    let is_over = Arc::new(AtomicBool::new(false));
    let mirror = tokio::spawn(follow(
        client,
        document,
        Arc::clone(&pulses),
        Arc::clone(&bench.mirrored),
        Arc::clone(&is_over),
    ));

    let quiet_begin = pulse(&bench, &pulses, || false).await;
    let siege_begin = pulses.lock().len();
    let has_ended = AtomicBool::new(false);
    let (what, _) = tokio::join!(
        async {
            let what = attack(&bench).await;
            has_ended.store(true, Ordering::Release);
            what
        },
        pulse(&bench, &pulses, || !has_ended.load(Ordering::Acquire)),
    );
    is_over.store(true, Ordering::Release);
    bench
        .state
        .replace_slice("filler", json!({"is": "over"}))
        .unwrap();
    let (document, delays) = within(mirror).await.expect("the mirror stays exact");
    assert_eq!(document["powerMeter"], bench.document()["powerMeter"]);
    let p99 = |from: usize, to: usize| {
        let mut delays: Vec<f64> = delays
            .iter()
            .filter(|(value, _)| (from..to).contains(value))
            .map(|(_, delay)| delay.as_secs_f64() * 1e3)
            .collect();
        delays.sort_by(f64::total_cmp);
        delays[delays.len() * 99 / 100]
    };
    let (quiet, besieged) = (p99(quiet_begin, siege_begin), p99(siege_begin, usize::MAX));
    println!(
        "{name}: {what}; the mirror beside it is exact, p99 {quiet:.2} ms before and {besieged:.2} ms during, ratio {:.2}",
        besieged / quiet
    );
    bench.bench.close().await;
}

/// Changes a value again and again, a number of times and as long as asked. Gives the first value.
async fn pulse(bench: &Bench, pulses: &Pulses, goes_on: impl Fn() -> bool) -> usize {
    let mut pace = tokio::time::interval(PULSE);
    let begin = pulses.lock().len();
    let mut count = 0;
    while count < PULSES || goes_on() {
        pace.tick().await;
        let value = {
            let mut pulses = pulses.lock();
            pulses.push(Instant::now());
            pulses.len()
        };
        bench.set_watts(value as u64);
        count += 1;
    }
    begin
}

/// A mirror that takes every patch in its turn, until it sees the end. Gives its document, and when each value came.
async fn follow(
    mut client: Client,
    mut document: Value,
    pulses: Pulses,
    mirrored: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
) -> (Value, Vec<(usize, Duration)>) {
    let mut delays = Vec::new();
    let mut newest = 0;
    while !(is_over.load(Ordering::Acquire) && document["filler"]["is"] == "over") {
        let message = client.next().await;
        match message["type"].as_str() {
            Some("state.patch") => {
                apply(&mut document, &message);
                mirrored.store(document["version"].as_u64().unwrap(), Ordering::Release);
                let value = document["powerMeter"]["lastSample"]["watts"].as_u64().unwrap() as usize;
                if value > newest {
                    newest = value;
                    delays.push((value - 1, pulses.lock()[value - 1].elapsed()));
                }
            }
            Some("state.snapshot") => panic!("the mirror was not fast enough"),
            _ => {}
        }
    }
    (document, delays)
}

/// Asks for something small, again and again, until all attackers have ended as they should. Gives how often it was answered.
async fn answered_beside(bench: &Bench, mut attackers: JoinSet<()>) -> usize {
    let mut answered = 0;
    loop {
        assert_eq!(bench.get("/healthz").await.status, 200);
        answered += 1;
        match tokio::time::timeout(ASK, attackers.join_next()).await {
            Ok(Some(ended)) => ended.unwrap(),
            Ok(None) => return answered,
            // Time to ask again.
            Err(_) => {}
        }
    }
}

/// Lets so many attackers loose on a thread and a runtime of their own, and gives one task that has ended when they have. Forty that write as much
/// as the system takes hold a runtime up for tens of milliseconds, whoever they write to: on that of daemon and mirror it would be that, and not
/// what the daemon does for them, which delays the mirror.
fn attackers<F: Future<Output = ()> + Send + 'static>(
    count: usize,
    attack: impl Fn() -> F + Send + 'static,
) -> JoinSet<()> {
    let (ended, all_ended) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut attackers: JoinSet<()> = (0..count).map(|_| attack()).collect();
            while let Some(ended) = attackers.join_next().await {
                ended.unwrap();
            }
        });
        let _ = ended.send(());
    });
    let mut waiting = JoinSet::new();
    waiting.spawn(async { all_ended.await.expect("all ended as they should") });
    waiting
}

/// Sends a flood until it is cut, and gives what was said meanwhile.
async fn flood_until_cut(stream: &mut TcpStream, flood: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = stream.split();
    let sending = async { while writer.write_all(flood).await.is_ok() {} };
    let mut bytes = Vec::new();
    let reading = async { while matches!(reader.read_buf(&mut bytes).await, Ok(1..)) {} };
    within(async { tokio::join!(sending, reading) }).await;
    bytes
}

/// Whether a close frame with 1008 is among the frames.
fn is_closed_for_its_flood(bytes: &[u8]) -> bool {
    let code = 1008_u16.to_be_bytes();
    bytes.windows(4).any(|w| w[0] == 0x88 && w[2..] == code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_trickle() {
    let mut settings = Settings::default();
    // Far less than the trickle takes, and far more than a request beside it.
    settings.http.header_timeout = Duration::from_secs(2);
    settings.http.connections = 64;
    besiege("handshakes that trickle", settings, async |bench| {
        let mut attackers = JoinSet::new();
        for _ in 0..200 {
            let address = bench.address;
            attackers.spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                for byte in HANDSHAKE.as_bytes() {
                    // That it comes slowly is the attack.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    if stream.write_all(&[*byte]).await.is_err() {
                        break;
                    }
                }
                let mut answer = Vec::new();
                let _ = within(stream.read_to_end(&mut answer)).await;
                assert!(
                    answer.is_empty(),
                    "a handshake that takes longer than it may became a socket"
                );
            });
        }
        let answered = answered_beside(bench, attackers).await;
        format!("all 200 were cut without an answer, and {answered} requests beside them were answered")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_idle() {
    let mut settings = Settings::default();
    settings.http.connections = 64;
    settings.http.least_wait = Duration::from_millis(50);
    besiege("connections that idle", settings, async |bench| {
        let mut idle = Vec::new();
        for n in 0..600 {
            idle.push(TcpStream::connect(bench.address).await.unwrap());
            if n % 20 == 0 {
                assert_eq!(bench.get("/healthz").await.status, 200);
                let (_client, _) = bench.join().await;
            }
        }
        let mut cut = 0;
        for stream in &idle {
            let mut byte = [0];
            cut += usize::from(!matches!(stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock));
        }
        // The last of them may not be taken in yet.
        assert!(cut >= 500, "{cut}");
        format!("of 600 with 64 places {cut} were cut, the oldest first; 30 requests and 30 clients among them were served")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelines_that_are_never_read() {
    let mut settings = Settings::default();
    settings.http.connections = 16;
    settings.http.stall_timeout = Duration::from_millis(400);
    besiege("pipelines that are never read", settings, async |bench| {
        bench
            .state
            .replace_slice("ballast", json!({"text": "x".repeat(100_000)}))
            .unwrap();
        let snapshots = || bench.state.metrics().snapshots.get();
        let (address, before) = (bench.address, snapshots());
        let attackers = attackers(40, move || async move {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            let mut stream = socket.connect(address).await.unwrap();
            let requests = "GET /api/v1/state HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
            // Until it is cut.
            within(async { while stream.write_all(requests.as_bytes()).await.is_ok() {} }).await;
        });
        let answered = answered_beside(bench, attackers).await;
        let rendered = snapshots() - before;
        format!("all 40 were cut, the state was rendered {rendered} times for them, and {answered} requests beside them were answered")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_sockets() {
    let mut settings = Settings::default();
    settings.hub.limits.heartbeat_interval_ms = 100;
    settings.hub.limits.heartbeat_timeout_ms = 2000;
    settings.hub.stall_timeout = Duration::from_secs(60);
    besiege("sockets whose other end is silent", settings, async |bench| {
        let mut silent = Vec::new();
        for _ in 0..30 {
            silent.push(bench.raw_socket(None).await);
        }
        until("they are given up", || bench.hub.clients() == 1).await;
        for mut stream in silent {
            assert_eq!(close_code(&mut stream).await, 4408);
        }
        "all 30 were asked, given up and closed with 4408".to_owned()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_stop_reading_and_are_never_closed() {
    let mut settings = Settings::default();
    settings.hub.stall_timeout = Duration::from_millis(500);
    besiege("clients that stop reading", settings, async |bench| {
        let mut deaf = Vec::new();
        for _ in 0..20 {
            deaf.push(bench.raw_socket(Some(4096)).await);
        }
        until("they are clients", || bench.hub.clients() == 21).await;
        // Enough to fill their sockets.
        let mut n = 0;
        while bench.hub.clients() > 1 {
            n += 1;
            let filler = json!({"n": n, "text": format!("{n:04}").repeat(5_000)});
            bench.change(filler).await;
        }
        drop(deaf);
        format!("all 20 were dropped after they had taken nothing for 0.5 s, {n} large changes later")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_of_hardly_a_byte() {
    let mut settings = Settings {
        state_ring_bytes: 200_000,
        ..Settings::default()
    };
    settings.hub.stall_timeout = Duration::from_secs(5);
    besiege("a client that takes a few bytes at a time", settings, async |bench| {
        let mut sipping = bench.raw_socket(Some(1)).await;
        let mut read = 0;
        let begin = Instant::now();
        let mut n = 0;
        while begin.elapsed() < Duration::from_secs(2) {
            n += 1;
            // Another text each time: what stays the same makes no patch.
            let filler = json!({"n": n, "text": format!("{n:04}").repeat(2_000)});
            bench.change(filler).await;
            let mut few = [0; 40];
            if let Ok(Ok(count)) = tokio::time::timeout(Duration::from_millis(2), sipping.read(&mut few)).await {
                read += count;
            }
        }
        assert_eq!(bench.hub.clients(), 2, "whoever takes something is not dropped");
        // It gets well, and is told that it fell behind.
        until_told(&mut sipping).await;
        format!("it took {read} bytes in 2 s while {n} changes were made, was told what it missed, and got a snapshot")
    })
    .await;
}

/// Reads until the client was told that it fell behind.
async fn until_told(stream: &mut TcpStream) {
    const TOLD: &[u8] = b"\"code\":\"missed\"";
    let mut scratch = vec![0; 64 << 10];
    let mut bytes: Vec<u8> = Vec::new();
    while !bytes.windows(TOLD.len()).any(|window| window == TOLD) {
        // What was looked at is of no interest, but for a cut text at its end.
        bytes.drain(..bytes.len().saturating_sub(TOLD.len()));
        let count = within(stream.read(&mut scratch)).await.unwrap();
        assert!(count > 0, "closed before it was told");
        bytes.extend(&scratch[..count]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_wrong() {
    besiege("frames that are wrong", Settings::default(), async |bench| {
        let huge = [&[0x81, 0x80 | 127][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
        let crumbs = {
            let mut crumbs = frame(0x01, b" ");
            for _ in 0..70_000 {
                crumbs.extend(frame(0x00, b" "));
            }
            crumbs
        };
        let cases: Vec<(Vec<u8>, u16)> = vec![
            (frame(0x81, &[0xFF]), 1007),
            (vec![0x81, 1, b'x'], 1002),
            (frame(0xF1, b"x"), 1002),
            (frame(0x8F, b""), 1002),
            (huge, 1009),
            (
                [frame(0x01, &[b' '; 60_000]), frame(0x80, &[b' '; 60_000])].concat(),
                1009,
            ),
            (crumbs, 1009),
        ];
        let mut attackers = JoinSet::new();
        let count = 20 * cases.len();
        for (bytes, code) in std::iter::repeat_n(cases, 20).flatten() {
            let mut stream = bench.raw_socket(None).await;
            attackers.spawn(async move {
                // The daemon may have had enough before all of it is out.
                let _ = stream.write_all(&bytes).await;
                assert_eq!(close_code(&mut stream).await, code);
            });
        }
        while let Some(ended) = attackers.join_next().await {
            ended.unwrap();
        }
        until("they are gone", || bench.hub.clients() == 1).await;
        format!("all {count} were closed with 1002, 1007 or 1009, each with its own")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_messages() {
    let mut settings = Settings::default();
    settings.hub.limits.messages_per_s = 10;
    settings.hub.limits.message_burst = 20;
    besiege("floods of messages", settings, async |bench| {
        let mut attackers = JoinSet::new();
        for n in 0..8 {
            let mut stream = bench.raw_socket(None).await;
            attackers.spawn(async move {
                let text = match n % 4 {
                    0 => r#"{"type":"state.resync"}"#,
                    1 => r#"{"type":"logs.replay","sinceSeq":0}"#,
                    2 => r#"{"type":"no such thing"}"#,
                    _ => "no JSON",
                };
                let flood = frame(0x81, text.as_bytes()).repeat(200);
                let bytes = flood_until_cut(&mut stream, &flood).await;
                assert!(bytes.windows(14).any(|window| window == b"\"rate-limited\""));
                assert!(is_closed_for_its_flood(&bytes), "not closed with 1008");
            });
        }
        while let Some(ended) = attackers.join_next().await {
            ended.unwrap();
        }
        "all 8 were told rate-limited, went on, and were closed with 1008".to_owned()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_pings_and_of_pieces() {
    let mut settings = Settings::default();
    settings.hub.limits.messages_per_s = 10;
    settings.hub.limits.message_burst = 20;
    besiege("floods of pings, pongs and pieces", settings, async |bench| {
        let mut attackers = JoinSet::new();
        for n in 0..6 {
            let mut stream = bench.raw_socket(None).await;
            attackers.spawn(async move {
                let flood = match n % 3 {
                    0 => frame(0x89, b"ping").repeat(1000),
                    1 => frame(0x8A, b"pong").repeat(1000),
                    _ => frame(0x00, b"").repeat(1000),
                };
                if n % 3 == 2 {
                    stream.write_all(&frame(0x01, b"")).await.unwrap();
                }
                let bytes = flood_until_cut(&mut stream, &flood).await;
                assert!(is_closed_for_its_flood(&bytes), "not closed with 1008");
            });
        }
        while let Some(ended) = attackers.join_next().await {
            ended.unwrap();
        }
        "all 6 were closed with 1008".to_owned()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_subscriptions() {
    besiege("floods of subscriptions", Settings::default(), async |bench| {
        for id in 1..=60 {
            bench.add_series(id);
            bench.push_samples(id, 1..=500);
        }
        let mut refused = 0;
        for _ in 0..4 {
            let (mut client, _) = bench.join().await;
            for id in 1..=60 {
                client
                    .say(json!({"type": "subscribe", "channel": "telemetry", "endpointIds": [id], "id": id}))
                    .await;
            }
            let mut answered = 0;
            while answered < 60 {
                let message = client.next().await;
                match message["type"].as_str() {
                    Some("ack") => answered += 1,
                    Some("error") => {
                        assert_eq!(message["code"], "too-many-subscriptions");
                        answered += 1;
                        refused += 1;
                    }
                    _ => {}
                }
            }
            // On and off, again and again.
            for round in 0..300 {
                let kind = if round % 2 == 0 {
                    "unsubscribe"
                } else {
                    "subscribe"
                };
                client
                    .say(json!({"type": kind, "channel": "telemetry", "endpointIds": [1, 2, 3], "id": round}))
                    .await;
                // It reads now and then; one that never did would be closed.
                while round % 20 == 19 && client.wait_for("ack").await["id"] != round {}
            }
        }
        assert_eq!(refused, 4 * 10);
        "4 clients asked for 60 subscriptions each and got 50; 10 each were refused as too-many-subscriptions"
            .to_owned()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connects_and_disconnects() {
    // In a process of its own: other tests open files beside.
    const ALONE: &str = "AUTOBENCH_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
        child
            .args([
                "--exact",
                "siege::a_thousand_connects_and_disconnects",
                "--nocapture",
            ])
            .env(ALONE, "1")
            .kill_on_drop(true);
        let output = child.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        print!("{said}");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(said.contains("1 passed"), "it did not run alone");
        return;
    }
    let mut settings = Settings::default();
    settings.hub.limits.clients = 2000;
    besiege("a thousand connects and disconnects", settings, async |bench| {
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        for round in 0..20 {
            let mut sockets = Vec::new();
            for _ in 0..50 {
                sockets.push(bench.raw_socket(None).await);
            }
            for (at, mut stream) in sockets.into_iter().enumerate() {
                match (at + round) % 3 {
                    // Without a word, with a word, and with a reset.
                    0 => drop(stream),
                    1 => stream
                        .write_all(&frame(0x88, &1000_u16.to_be_bytes()))
                        .await
                        .unwrap(),
                    _ => socket2::SockRef::from(&stream)
                        .set_linger(Some(Duration::ZERO))
                        .unwrap(),
                }
            }
        }
        until("all are gone", || bench.hub.clients() == 1).await;
        until("their files are closed", || open() <= before).await;
        format!("all 1,000 were taken and forgotten, and {before} files are open as before")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_nobody_waits_for() {
    besiege(
        "handshakes that nobody waits for",
        Settings::default(),
        async |bench| {
            for _ in 0..500 {
                let mut stream = TcpStream::connect(bench.address).await.unwrap();
                stream.write_all(HANDSHAKE.as_bytes()).await.unwrap();
            }
            until("all are gone", || bench.hub.clients() == 1).await;
            until("their places are free again", || {
                let seats: Vec<_> = (0..99).filter_map(|_| bench.hub.take_seat().ok()).collect();
                seats.len() == 99
            })
            .await;
            let (_client, _) = bench.join().await;
            let answer: Answer = bench.get("/healthz").await;
            assert_eq!(answer.status, 200);
            "all 500 were forgotten".to_owned()
        },
    )
    .await;
}
