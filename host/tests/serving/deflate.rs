//! Compressed messages, both ways, over real sockets: what is agreed on, what a browser's inflater makes of it, and what bad clients try.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use test_support::{BrowserInflater, Frame, Random, client_frame, compressed, is_long, take_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::bench::{Answer, Bench, Settings, apply, until, within};

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
const OFFER_ALONE: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";

fn handshake(headers: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{headers}\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A client that does what a browser does with compressed messages: one inflater for its whole life, fed with nothing else.
struct Client {
    stream: TcpStream,
    pending: Vec<u8>,
    inflater: BrowserInflater,
    /// Each message has to stand alone: the inflater forgets everything before it.
    forgets: bool,
    is_agreed: bool,
    wire_bytes: usize,
    text_bytes: usize,
    compressed: usize,
}

enum Heard {
    Message(Value),
    Closed(u16),
}

impl Client {
    async fn connect(bench: &Bench, headers: &str, receive_buffer_bytes: Option<u32>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let mut stream = socket.connect(bench.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(handshake(headers).as_bytes()).await.unwrap();
        let answer = head(&mut stream).await;
        assert_eq!(answer.status, 101, "{answer:?}");
        let agreed = answer.header("sec-websocket-extensions");
        Self {
            stream,
            pending: Vec::new(),
            inflater: BrowserInflater::default(),
            forgets: agreed.is_some_and(|agreed| agreed.contains("server_no_context_takeover")),
            is_agreed: agreed.is_some(),
            wire_bytes: 0,
            text_bytes: 0,
            compressed: 0,
        }
    }

    async fn join(bench: &Bench, headers: &str) -> (Self, Value) {
        let mut client = Self::connect(bench, headers, None).await;
        assert_eq!(client.next().await["type"], "welcome");
        let snapshot = client.next().await;
        assert_eq!(snapshot["type"], "state.snapshot");
        assert_eq!(client.next().await["type"], "logs.history");
        (client, snapshot["data"].clone())
    }

    async fn next(&mut self) -> Value {
        match self.hear().await {
            Heard::Message(message) => message,
            Heard::Closed(code) => panic!("closed with {code}"),
        }
    }

    async fn wait_for(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    async fn close_code(&mut self) -> u16 {
        loop {
            if let Heard::Closed(code) = self.hear().await {
                return code;
            }
        }
    }

    async fn hear(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.take_frame() {
                if let Some(heard) = heard {
                    return heard;
                }
                continue;
            }
            let mut buffer = [0; 16 << 10];
            let count = within(self.stream.read(&mut buffer)).await.unwrap();
            assert_ne!(count, 0, "it ended without a close frame");
            self.pending.extend_from_slice(&buffer[..count]);
        }
    }

    /// None: more bytes are needed. `Some(None)`: a ping or a pong.
    fn take_frame(&mut self) -> Option<Option<Heard>> {
        let pending = self.pending.len();
        let Frame { first, payload } = take_frame(&mut self.pending)?;
        self.wire_bytes += pending - self.pending.len();
        let text = match first {
            0x81 => payload,
            0xC1 => {
                assert!(self.is_agreed, "nothing was agreed on");
                self.compressed += 1;
                if self.forgets {
                    self.inflater.forget();
                }
                self.inflater.inflate(payload)
            }
            0x88 => return Some(Some(Heard::Closed(u16::from_be_bytes([payload[0], payload[1]])))),
            0x89 | 0x8A => return Some(None),
            first => panic!("a frame that begins with {first:#x}"),
        };
        self.text_bytes += text.len();
        Some(Some(Heard::Message(serde_json::from_slice(&text).unwrap())))
    }

    async fn say(&mut self, message: &Value) {
        self.send(&client_frame(0x81, message.to_string().as_bytes()))
            .await;
    }

    async fn say_compressed(&mut self, message: &Value) {
        let text = message.to_string();
        self.send(&client_frame(0xC1, &deflated(text.as_bytes()))).await;
    }

    async fn send(&mut self, bytes: &[u8]) {
        within(self.stream.write_all(bytes)).await.unwrap();
    }
}

async fn head(stream: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    Answer::read(&head)
}

/// A message compressed as a client does that was told to begin each with an empty window.
fn deflated(text: &[u8]) -> Vec<u8> {
    compressed(text, 6)
}

fn without_deflate() -> Settings {
    let mut settings = Settings::default();
    settings.hub.deflate = false;
    settings
}

#[tokio::test]
async fn an_offer_is_answered_if_deflate_is_on_and_a_malformed_one_refused() {
    let (on, off) = (Bench::start().await, Bench::with(without_deflate()).await);
    let cases = [
        (&on, "", None),
        (&on, OFFER, Some("permessage-deflate; client_no_context_takeover")),
        (
            &on,
            OFFER_ALONE,
            Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        ),
        (
            &on,
            "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n",
            None,
        ),
        (
            &on,
            "Sec-WebSocket-Extensions: x-first; a=\"b\"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
            Some("permessage-deflate; client_no_context_takeover"),
        ),
        (&off, OFFER, None),
    ];
    for (bench, offer, agreed) in cases {
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        stream.write_all(handshake(offer).as_bytes()).await.unwrap();
        let answer = head(&mut stream).await;
        assert_eq!(
            (answer.status, answer.header("sec-websocket-extensions")),
            (101, agreed),
            "{offer}"
        );
    }
    let malformed = handshake("Sec-WebSocket-Extensions: permessage-deflate; =\r\n")
        .replace("Connection: Upgrade", "Connection: Upgrade, close");
    assert_eq!(on.request(&malformed).await.status, 400);
    on.close().await;
    off.close().await;
}

#[tokio::test]
async fn compressed_messages_of_a_client_are_read() {
    let bench = Bench::start().await;
    let (mut client, _) = Client::join(&bench, OFFER).await;
    client.say_compressed(&json!({"type": "ping", "id": "one"})).await;
    assert_eq!(client.wait_for("pong").await["id"], "one");
    // In pieces, with a ping between them, and uncompressed in turns.
    let name = "abc".repeat(5000);
    let body = deflated(
        json!({"type": "hello", "name": name, "id": 2})
            .to_string()
            .as_bytes(),
    );
    let (head, tail) = body.split_at(body.len() / 2);
    let pieces = [
        client_frame(0x41, head),
        client_frame(0x89, b"?"),
        client_frame(0x00, tail),
        client_frame(0x80, b""),
    ];
    client.send(&pieces.concat()).await;
    assert_eq!(client.wait_for("ack").await["id"], 2);
    client.say(&json!({"type": "ping", "id": 3})).await;
    assert_eq!(client.wait_for("pong").await["id"], 3);
    client.say_compressed(&json!({"type": "ping", "id": 4})).await;
    assert_eq!(client.wait_for("pong").await["id"], 4);
    bench.close().await;
}

#[tokio::test]
async fn bombs_and_garbage_end_with_their_close_code() {
    let bench = Bench::start().await;
    let bomb = deflated(&vec![b' '; 30 << 20]);
    assert!(bomb.len() < 64 << 10);
    let (first, second) = bomb.split_at(bomb.len() / 2);
    let cases = [
        ("a bomb", client_frame(0xC1, &bomb), 1009),
        (
            "a bomb in pieces",
            [client_frame(0x41, first), client_frame(0x80, second)].concat(),
            1009,
        ),
        ("no deflate", client_frame(0xC1, &[0xFF; 20]), 1007),
        ("no UTF-8", client_frame(0xC1, &deflated(&[0xFF, 0xFE])), 1007),
        ("bytes", client_frame(0xC2, &deflated(b"x")), 1003),
        ("a compressed ping", client_frame(0xC9, &deflated(b"x")), 1002),
        (
            "a compressed continuation",
            [client_frame(0x41, &deflated(b"x")), client_frame(0xC0, b"")].concat(),
            1002,
        ),
        ("another reserved bit", client_frame(0xA1, b"x"), 1002),
    ];
    for (what, bytes, code) in cases {
        let (mut client, _) = Client::join(&bench, OFFER).await;
        client.send(&bytes).await;
        assert_eq!(client.close_code().await, code, "{what}");
    }
    let (mut client, _) = Client::join(&bench, "").await;
    client.send(&client_frame(0xC1, &deflated(b"{}"))).await;
    assert_eq!(client.close_code().await, 1002, "nothing was agreed on");
    until("all of them are gone", || bench.hub.clients() == 0).await;
    bench.close().await;
}

#[tokio::test]
async fn patches_shrink_in_the_shared_window_and_the_snapshot_alone() {
    let bench = Bench::start().await;
    let filler: Vec<_> = (0..1000)
        .map(|n| json!({"name": format!("entry {n}"), "value": n}))
        .collect();
    bench
        .state
        .replace_slice("filler", json!({"list": filler}))
        .unwrap();
    let mut clients = Vec::new();
    for headers in [OFFER, OFFER, OFFER_ALONE, ""] {
        let (client, mirror) = Client::join(&bench, headers).await;
        match headers {
            "" => assert_eq!(client.compressed, 0),
            _ => assert!(
                client.wire_bytes * 4 < client.text_bytes,
                "{} bytes",
                client.wire_bytes
            ),
        }
        clients.push((client, mirror));
    }
    // Until the contexts have begun, and then a thousand patches, which everybody has to have before the next.
    let mut begun = Vec::new();
    for n in 1..=1300_u64 {
        let version = bench.set_watts(n);
        for (client, mirror) in &mut clients {
            while mirror["version"].as_u64() < Some(version) {
                let message = client.next().await;
                if message["type"] == "state.patch" {
                    apply(mirror, &message);
                }
            }
        }
        if n == 300 {
            begun = clients
                .iter()
                .map(|(c, _)| (c.wire_bytes, c.text_bytes, c.compressed))
                .collect();
        }
    }
    let document = bench.document();
    let mut shares = Vec::new();
    for ((client, mirror), (wire_bytes, text_bytes, compressed)) in clients.iter().zip(begun) {
        assert_eq!(mirror["powerMeter"], document["powerMeter"]);
        let share = (client.wire_bytes - wire_bytes) as f64 / (client.text_bytes - text_bytes) as f64;
        shares.push((share, client.compressed - compressed));
    }
    println!("share of the text on the wire, and messages compressed: {shares:?}");
    assert!(shares[0].0 < 0.2 && shares[1].0 < 0.2, "{shares:?}");
    assert!(shares[2].0 < 1.0 && shares[2].1 >= 1000, "{shares:?}");
    assert!(shares[3].0 > 1.0 && shares[3].1 == 0, "{shares:?}");
    bench.close().await;
}

#[tokio::test]
async fn a_member_that_blocks_goes_on_in_the_context_or_leaves_it_and_is_exact_either_way() {
    // The small ring of the state makes it fall off; the large one lets it go on with what it missed.
    for state_ring_bytes in [128 << 10, 64 << 20] {
        let mut settings = Settings {
            state_ring_bytes,
            ..Settings::default()
        };
        settings.hub.stall_timeout = Duration::from_secs(60);
        let bench = Bench::with(settings).await;
        let mut client = Client::connect(&bench, OFFER, Some(4096)).await;
        let mut state = Follower::default();
        // It has to be a member before it stops reading.
        let mut n = 0;
        while client.compressed < 20 {
            n += 1;
            let version = bench.set_watts(n);
            while state.mirror["version"].as_u64() < Some(version) {
                state.take(&client.next().await);
            }
        }
        let mut last = 0;
        for n in 1..=1500_u64 {
            // Text that does not shrink to nothing: some ten megabytes of it, even compressed.
            let text: String = (0..2000)
                .map(|k| format!("{:x}", n.wrapping_mul(k * 7919 + 13)))
                .collect();
            bench
                .state
                .replace_slice("filler", json!({"n": n, "text": text}))
                .unwrap();
            last = bench.state.snapshot().version;
            tokio::task::yield_now().await;
        }
        while state.mirror["version"].as_u64() < Some(last) {
            state.take(&client.next().await);
        }
        assert_eq!(state.mirror["filler"], bench.document()["filler"]);
        println!(
            "{} bytes on the wire for {} of text, {} messages compressed",
            client.wire_bytes, client.text_bytes, client.compressed
        );
        bench.close().await;
    }
}

/// What a client knows, and has to hear next.
#[derive(Default)]
struct Follower {
    mirror: Value,
    log_seq: Option<u64>,
    series: BTreeMap<u64, u64>,
}

impl Follower {
    /// Takes a message in; panics if anything is skipped or comes twice.
    fn take(&mut self, message: &Value) {
        match message["type"].as_str().unwrap() {
            "state.snapshot" => {
                assert!(
                    message["stateVersion"].as_u64() >= self.mirror["version"].as_u64(),
                    "never back"
                );
                self.mirror = message["data"].clone();
            }
            "state.patch" => apply(&mut self.mirror, message),
            "logs.history" => self.log_seq = message["toSeq"].as_u64(),
            "logs.append" => {
                let covered = self.log_seq.expect("a history comes first");
                assert_eq!(message["fromSeq"], covered + 1, "no gap between ranges");
                self.log_seq = message["toSeq"].as_u64();
            }
            "telemetry" => {
                let id = message["endpointId"].as_u64().unwrap();
                let missed = message["missed"].as_u64().unwrap_or_default();
                for (index, sample) in message["samples"].as_array().unwrap().iter().enumerate() {
                    let number = sample[1].as_f64().unwrap() as u64;
                    let before = self.series.insert(id, number).unwrap_or_default();
                    let missed = if index == 0 { missed } else { 0 };
                    assert_eq!(number, before + missed + 1, "every sample once, in order");
                }
            }
            _ => {}
        }
    }
}

/// One client's life: reads, stalls, asks again, takes and gives up channels, goes and comes back. Ends when it has the last version.
async fn live(
    bench: &Bench,
    mut dice: Random,
    mut last: tokio::sync::watch::Receiver<Option<u64>>,
) -> (usize, usize) {
    let (mut wire_bytes, mut text_bytes) = (0, 0);
    loop {
        let headers = [OFFER, OFFER, OFFER, OFFER_ALONE, ""][dice.below(5)];
        let receive_buffer_bytes = dice.one_in(3).then_some(4096);
        let mut client = Client::connect(bench, headers, receive_buffer_bytes).await;
        let mut follower = Follower::default();
        let mut series = [false; 2];
        let mut wants_state = true;
        let ends_after = dice.below(3000);
        let mut heard = 0;
        loop {
            tokio::select! {
                message = client.next() => {
                    heard += 1;
                    if message["type"] == "ack" && message["id"] == "off" {
                        // What was on its way has come.
                        follower.series.clear();
                    }
                    follower.take(&message);
                }
                // Whoever has switched the state off may get no message any more.
                Ok(()) = last.changed() => {}
            }
            let goes_on = match *last.borrow() {
                Some(last) if wants_state && follower.mirror["version"].as_u64() >= Some(last) => {
                    let document = bench.document();
                    for member in ["powerMeter", "filler"] {
                        assert_eq!(follower.mirror[member], document[member]);
                    }
                    return (wire_bytes + client.wire_bytes, text_bytes + client.text_bytes);
                }
                Some(_) if wants_state => continue,
                // The end has come: everybody has to see it.
                Some(_) => false,
                None => true,
            };
            if !goes_on {
                client
                    .say(&json!({"type": "subscribe", "channel": "state"}))
                    .await;
                wants_state = true;
                continue;
            }
            if heard == ends_after {
                break;
            }
            let message = match dice.below(400) {
                0 => json!({"type": "state.resync"}),
                1 => {
                    json!({"type": "logs.replay", "sinceSeq": follower.log_seq.unwrap_or_default().saturating_sub(3)})
                }
                2 => json!({"type": "ping", "id": heard}),
                3 => {
                    wants_state = !wants_state;
                    let kind = if wants_state { "subscribe" } else { "unsubscribe" };
                    json!({"type": kind, "channel": "state"})
                }
                n @ 4..6 => {
                    let on = &mut series[n - 4];
                    *on = !*on;
                    match *on {
                        true => json!({"type": "subscribe", "channel": "telemetry", "endpointIds": [n - 3]}),
                        false => {
                            // Both end, so that one answer is about both.
                            series = [false; 2];
                            json!({"type": "unsubscribe", "channel": "telemetry", "endpointIds": [1, 2], "id": "off"})
                        }
                    }
                }
                6 => {
                    // It reads nothing for a while: that is what it is here for, and nothing waits for it.
                    tokio::time::sleep(dice.ms(0, 80)).await;
                    continue;
                }
                _ => continue,
            };
            match client.is_agreed && dice.one_in(2) {
                true => client.say_compressed(&message).await,
                false => client.say(&message).await,
            }
        }
        wire_bytes += client.wire_bytes;
        text_bytes += client.text_bytes;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_clients_do_each_inflater_reads_exactly_what_happened() {
    let rounds = if is_long() { 20 } else { 2 };
    for seed in 1..=rounds {
        println!("seed {seed}");
        let mut settings = Settings {
            state_ring_bytes: 256 << 10,
            log_capacity: 20_000,
            ..Settings::default()
        };
        settings.hub.stall_timeout = Duration::from_secs(60);
        settings.hub.ring_bytes = 256 << 10;
        let bench = std::sync::Arc::new(Bench::with(settings).await);
        bench.add_series(1);
        bench.add_series(2);
        let (end, last) = tokio::sync::watch::channel(None);
        let clients: Vec<_> = (0..16)
            .map(|number| {
                let (bench, last) = (std::sync::Arc::clone(&bench), last.clone());
                let dice = Random::new(seed << 32 | (number + 1));
                tokio::spawn(async move { live(&bench, dice, last).await })
            })
            .collect();
        let mut dice = Random::new(seed);
        let begin = std::time::Instant::now();
        let (mut n, mut samples) = (0_u64, [0_u64; 2]);
        while begin.elapsed() < Duration::from_millis(2500) {
            n += 1;
            match dice.below(8) {
                0..3 => drop(bench.set_watts(n)),
                3 | 4 => drop(bench.log(&format!("request {n} took {} ms", dice.below(100)))),
                which @ 5..7 => {
                    let count = &mut samples[which - 5];
                    let more = 1 + dice.below(5) as u64;
                    bench.push_samples(which as u32 - 4, *count + 1..=*count + more);
                    *count += more;
                }
                _ => {
                    let text = format!("{:x}", dice.next()).repeat(1 + dice.below(600));
                    bench
                        .state
                        .replace_slice("filler", json!({"n": n, "text": text}))
                        .unwrap();
                }
            }
            if dice.one_in(4) {
                // Changes come in bursts of every length, so that flushes hold one and many.
                tokio::time::sleep(Duration::from_micros(dice.next() % 3000)).await;
            }
        }
        let (mut wire_bytes, mut text_bytes) = (0, 0);
        end.send_replace(Some(bench.set_watts(n + 1)));
        for client in clients {
            let (wire, text) = within(client).await.unwrap();
            wire_bytes += wire;
            text_bytes += text;
        }
        println!("{n} changes; {wire_bytes} bytes on the wire for {text_bytes} of text");
        std::sync::Arc::into_inner(bench).unwrap().close().await;
    }
}
