//! Two hundred clients that read, stall, vanish, come back, ask again, switch channels off and on, and change the state, each as its seed has it:
//! at every version that a mirror reaches, its document equals the daemon's, by the hash of its canonical form (RFC 8785). A third of them has its
//! messages compressed, a third follows a part of the log, and the daemon keeps so little that whoever stalls on a narrow line falls behind.
//!
//! Of the log each follower accounts for every number: it is an entry, the same for everybody, or it is said to be missed, or the filter keeps it out.
//!
//! What the daemon's document is at a version, a witness knows: one connection that does nothing but follow, with an RFC 6902 library. Changes
//! reach all clients in the same flushes, so whatever version a mirror is at, the witness was at it too. The witness itself is compared with what
//! `/api/v1/state` says, again and again.
//!
//! One minute; ten minutes with `AUTOBENCH_LONG=1`. `AUTOBENCH_SEED=n` repeats what the clients do, though not the moments at which they do.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of a story: what is missing fails it"
)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::{
    Bench, DeviceEntry, Frame, PATIENCE, Random, Sim, call, client_frame, get, given_seed, is_long, new_seed,
    sort_names, take_frame, write_string, write_value,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use test_support::BrowserInflater;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

const CLIENTS: u64 = 200;
/// Rows per second of the meter: each changes the state.
const METER_SPEED: f64 = 10.0;
/// Every so many patches a mirror hashes all of its document and not only what was touched.
const WHOLE_EVERY: u64 = 32;

/// What the daemon keeps of a channel, and of the log: little, so that a client falls behind within a second or two.
const RING_KIB: usize = 64;
const LOG_ENTRIES: usize = 200;
/// Entries in one body, so few that the daemon's own feed never loses one.
const POSTED_ENTRIES: usize = 120;
/// Changes of a flood, each of some 2 KiB: several rings and lines full.
const FLOOD_CHANGES: usize = 100;

/// The route that gives the document, and who it is in the ledger.
const STATE_ROUTE: &str = "/api/v1/state";
const WITNESS: &str = "the witness";

type Hash = [u8; 32];

/// Which part of the log a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Grave,
    Left,
    Odd,
}

impl Part {
    const ALL: [Self; 3] = [Self::Grave, Self::Left, Self::Odd];

    fn filters(self) -> Value {
        match self {
            Self::Grave => json!({"level": ["warn", "error"]}),
            Self::Left => json!({"channel": "soak:left"}),
            Self::Odd => json!({"text": "ODD"}),
        }
    }

    fn has(self, entry: &Value) -> bool {
        let text = |name: &str| entry[name].as_str().expect("a text");
        match self {
            Self::Grave => ["warn", "error"].contains(&text("level")),
            Self::Left => text("channel") == "soak:left" || text("channel").starts_with("soak:left:"),
            Self::Odd => text("message").to_lowercase().contains("odd"),
        }
    }
}

/// An entry of the log as the first who got it had it.
struct Known {
    hash: Hash,
    parts: Vec<Part>,
}

/// What the document is at each version, and what is claimed about it.
#[derive(Default)]
struct Ledger {
    known: HashMap<u64, Hash>,
    /// Claims that came before the witness was there.
    waiting: Vec<(u64, Hash, String)>,
    /// By who it is: the states that came to it over the wire, counted as they are read and before anything is made of them.
    came: BTreeMap<String, u64>,
    /// By who it is: the documents of it that were compared with the witness's.
    checked: BTreeMap<String, u64>,
    entries: HashMap<u64, Known>,
    /// Numbers that a filter kept out.
    kept_out: HashSet<(Part, u64)>,
    counts: BTreeMap<&'static str, u64>,
}

impl Ledger {
    fn came(&mut self, who: &str) {
        *self.came.entry(who.to_owned()).or_default() += 1;
    }

    fn compare(&mut self, version: u64, hash: Hash, who: String) {
        match self.known.get(&version) {
            Some(known) => {
                assert_eq!(*known, hash, "{who} has another document at version {version}");
                *self.checked.entry(who).or_default() += 1;
            }
            None => self.waiting.push((version, hash, who)),
        }
    }

    /// Compares what had to wait. Every version that anybody was at is one that the witness has seen.
    fn settle(&mut self) {
        for (version, hash, who) in std::mem::take(&mut self.waiting) {
            assert!(
                self.known.contains_key(&version),
                "{who} was at version {version}, at which no flush ends"
            );
            self.compare(version, hash, who);
        }
    }

    fn count(&mut self, what: &'static str) {
        self.count_many(what, 1);
    }

    fn count_many(&mut self, what: &'static str, count: u64) {
        *self.counts.entry(what).or_default() += count;
    }

    fn take_entry(&mut self, seq: u64, entry: &Value, who: &str) {
        let mut text = String::new();
        write_value(&mut text, entry);
        let hash = Sha256::digest(text).into();
        let known = self.entries.entry(seq).or_insert_with(|| Known {
            hash,
            parts: Part::ALL.into_iter().filter(|part| part.has(entry)).collect(),
        });
        assert_eq!(known.hash, hash, "{who} has another log entry {seq}");
        self.count("log entries");
    }

    /// That what a filter kept out is not of the part that was asked for. Gives how many numbers were looked at.
    fn settle_log(&self) -> usize {
        let of_known = self
            .kept_out
            .iter()
            .filter_map(|(part, seq)| Some((part, seq, self.entries.get(seq)?)));
        of_known
            .inspect(|(part, seq, known)| {
                assert!(!known.parts.contains(part), "entry {seq} was kept from {part:?}");
            })
            .count()
    }
}

type Shared = Arc<Mutex<Ledger>>;

/// A copy of the state, with the canonical text of each member, so that a patch costs what it touches.
#[derive(Default)]
struct Mirror {
    version: u64,
    document: Value,
    texts: BTreeMap<String, String>,
    patches: u64,
}

impl Mirror {
    fn replace(&mut self, version: u64, document: Value) {
        self.version = version;
        self.document = document;
        self.write_all();
        self.agree();
    }

    fn apply(&mut self, from: u64, to: u64, patch: &Value) {
        assert_eq!(
            from, self.version,
            "a patch that does not begin where the mirror is"
        );
        assert!(to > from, "a patch that leads nowhere");
        let operations: json_patch::Patch = serde_json::from_value(patch.clone()).expect("an RFC 6902 patch");
        json_patch::patch(&mut self.document, &operations).expect("the patch applies");
        self.version = to;
        self.patches += 1;
        if self.patches.is_multiple_of(WHOLE_EVERY) {
            self.write_all();
        } else {
            for operation in patch.as_array().expect("operations") {
                for place in ["path", "from"] {
                    if let Some(path) = operation.get(place).and_then(Value::as_str) {
                        let member = path.split('/').nth(1).expect("a member");
                        self.write(&member.replace("~1", "/").replace("~0", "~"));
                    }
                }
            }
        }
        self.agree();
    }

    fn agree(&self) {
        assert_eq!(
            self.document["version"].as_u64(),
            Some(self.version),
            "the document disagrees with its version"
        );
    }

    fn write_all(&mut self) {
        self.texts.clear();
        let names: Vec<String> = self
            .document
            .as_object()
            .expect("a document")
            .keys()
            .cloned()
            .collect();
        for name in names {
            self.write(&name);
        }
    }

    fn write(&mut self, member: &str) {
        match self.document.get(member) {
            Some(value) => {
                let text = self.texts.entry(member.to_owned()).or_default();
                text.clear();
                write_string(text, member);
                text.push(':');
                write_value(text, value);
            }
            None => {
                self.texts.remove(member);
            }
        }
    }

    fn hash(&self) -> Hash {
        let mut names: Vec<&String> = self.texts.keys().collect();
        sort_names(&mut names);
        let mut hasher = Sha256::new();
        hasher.update(b"{");
        for (at, name) in names.into_iter().enumerate() {
            if at > 0 {
                hasher.update(b",");
            }
            hasher.update(&self.texts[name]);
        }
        hasher.update(b"}");
        hasher.finalize().into()
    }
}

/// A socket of bytes that keeps a mirror.
struct Follower {
    name: String,
    ledger: Shared,
    stream: Option<TcpStream>,
    inbox: Vec<u8>,
    boot_id: String,
    /// Kept over a break, to go on from.
    mirror: Option<Mirror>,
    log: LogPlace,
    /// Reads compressed messages; there while they were agreed on.
    inflater: Option<BrowserInflater>,
    deflates: bool,
    /// The part of the log that it asks for when it has connected.
    wants: Option<Part>,
    /// It was told that it fell behind on the state, and no snapshot has come yet.
    is_owed_snapshot: bool,
    is_witness: bool,
}

/// How far a follower is in the log.
#[derive(Default)]
struct LogPlace {
    /// Its last range ended here; kept over a break. None while the next range says where it begins.
    covered: Option<u64>,
    part: Option<Part>,
    /// The filter was taken, as an answer said: from there on nothing else comes.
    is_filtered: bool,
    /// It has asked for what lies behind this number, and the range that begins there has not come yet.
    asked: Option<u64>,
}

impl LogPlace {
    fn take(&mut self, message: &Value, ledger: &mut Ledger, who: &str) {
        let number = |range: &Value, name: &str| range[name].as_u64().expect("a number");
        let (from, to) = (number(message, "fromSeq"), number(message, "toSeq"));
        assert!(to + 1 >= from, "{who}: {from} to {to}");
        let is_answer =
            message["type"] == "logs.history" && self.asked.is_some_and(|asked| from == asked + 1);
        if is_answer {
            self.asked = None;
        } else if let Some(covered) = self.covered {
            assert_eq!(
                from,
                covered + 1,
                "{who}: a {} of the log that does not begin where the last has ended",
                message["type"]
            );
        }
        self.covered = Some(to);
        let mut next = from;
        if let Some(missed) = message.get("missed") {
            let (missed_from, missed_to) = (number(missed, "fromSeq"), number(missed, "toSeq"));
            assert!(
                from <= missed_from && missed_from <= missed_to && missed_to <= to,
                "{who}: {missed} of {from} to {to}"
            );
            // What was looked at, and kept out, before the rest was overwritten.
            self.keep_out(from..missed_from, ledger, who);
            next = missed_to + 1;
            ledger.count("told of missed log entries");
            ledger.count_many("missed log entries", next - missed_from);
        }
        for entry in message["entries"].as_array().expect("entries") {
            let seq = number(entry, "seq");
            assert!((next..=to).contains(&seq), "{who}: entry {seq} of {next} to {to}");
            self.keep_out(next..seq, ledger, who);
            if let (Some(part), true) = (self.part, self.is_filtered) {
                assert!(part.has(entry), "{who} wants {part:?} and got {entry}");
            }
            ledger.take_entry(seq, entry, who);
            next = seq + 1;
        }
        self.keep_out(next..to + 1, ledger, who);
    }

    fn keep_out(&self, numbers: std::ops::Range<u64>, ledger: &mut Ledger, who: &str) {
        if numbers.is_empty() {
            return;
        }
        let Some(part) = self.part else {
            panic!("{who} has no filter, and {numbers:?} are neither entries nor said to be missed");
        };
        ledger.kept_out.extend(numbers.map(|number| (part, number)));
    }
}

/// What a follower waits for.
enum Heard {
    Message,
    Ended,
}

impl Follower {
    fn new(name: String, ledger: &Shared, is_witness: bool) -> Self {
        Self {
            name,
            ledger: Arc::clone(ledger),
            stream: None,
            inbox: Vec::new(),
            boot_id: String::new(),
            mirror: None,
            log: LogPlace::default(),
            inflater: None,
            deflates: false,
            wants: None,
            is_owed_snapshot: false,
            is_witness,
        }
    }

    /// Connects; with a mirror from before it asks to go on from there.
    async fn connect(&mut self, address: &str, receive_buffer_bytes: Option<u32>) {
        self.inbox.clear();
        self.inflater = None;
        self.is_owed_snapshot = false;
        // Filters and questions are of one connection.
        self.log.part = None;
        self.log.is_filtered = false;
        self.log.asked = None;
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let mut stream = socket
            .connect(address.parse().unwrap())
            .await
            .expect("a connection");
        let query = match &self.mirror {
            Some(mirror) => format!(
                "?resume={}.{}.{}",
                self.boot_id,
                mirror.version,
                self.log.covered.unwrap_or(0)
            ),
            None => String::new(),
        };
        let offer = if self.deflates {
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        } else {
            ""
        };
        let handshake = format!(
            "GET /ws{query} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Protocol: autobench.v1\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        );
        stream
            .write_all(handshake.as_bytes())
            .await
            .expect("the handshake is sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("an answer"));
        }
        assert!(
            head.starts_with(b"HTTP/1.1 101 "),
            "{}: {}",
            self.name,
            String::from_utf8_lossy(&head)
        );
        if self.deflates {
            let head = String::from_utf8_lossy(&head).to_lowercase();
            assert!(
                head.contains("sec-websocket-extensions: permessage-deflate"),
                "{}: {head}",
                self.name
            );
            self.inflater = Some(BrowserInflater::default());
        }
        self.stream = Some(stream);
        if let Some(part) = self.wants {
            self.log.part = Some(part);
            self.say(&json!({"type": "subscribe_logs", "id": "part", "filters": part.filters()}))
                .await;
        }
    }

    /// Gone without a word; the mirror stays.
    fn vanish(&mut self) {
        self.stream = None;
    }

    async fn say(&mut self, message: &Value) {
        let text = message.to_string();
        let frame = client_frame(0x81, text.as_bytes());
        self.stream
            .as_mut()
            .expect("a socket")
            .write_all(&frame)
            .await
            .expect("it is sent");
    }

    /// Reads for a time.
    async fn read_for(&mut self, duration: Duration) {
        let end = Instant::now() + duration;
        loop {
            match tokio::time::timeout_at(end, self.hear()).await {
                Ok(Heard::Message) => {}
                Ok(Heard::Ended) => panic!("{} was closed and nothing was wrong with it", self.name),
                Err(_) => return,
            }
        }
    }

    /// Takes the next frame. Safe to drop: what was read stays.
    async fn hear(&mut self) -> Heard {
        loop {
            if let Some(Frame { first, payload }) = take_frame(&mut self.inbox) {
                match first {
                    0x81 | 0xC1 => {
                        let text = if first == 0xC1 {
                            let inflater = self.inflater.as_mut().expect("compressed only if agreed on");
                            self.ledger.lock().unwrap().count("compressed messages");
                            inflater.inflate(payload)
                        } else {
                            payload
                        };
                        let message: Value = serde_json::from_slice(&text).expect("JSON");
                        if matches!(message["type"].as_str(), Some("state.snapshot" | "state.patch")) {
                            self.ledger.lock().unwrap().came(&self.name);
                        }
                        self.take(&message);
                        return Heard::Message;
                    }
                    0x89 => {
                        let pong = client_frame(0x8A, &payload);
                        self.stream
                            .as_mut()
                            .expect("a socket")
                            .write_all(&pong)
                            .await
                            .expect("it is sent");
                    }
                    0x88 => return Heard::Ended,
                    first => panic!("a frame that begins with {first:#x}"),
                }
                continue;
            }
            self.inbox.reserve(16 << 10);
            match self
                .stream
                .as_mut()
                .expect("a socket")
                .read_buf(&mut self.inbox)
                .await
            {
                Ok(0) | Err(_) => return Heard::Ended,
                Ok(_) => {}
            }
        }
    }

    fn take(&mut self, message: &Value) {
        match message["type"].as_str().expect("a type") {
            "welcome" => {
                self.boot_id = message["bootId"].as_str().expect("a boot id").to_owned();
                let mut ledger = self.ledger.lock().unwrap();
                if message["resumed"] == true {
                    assert!(self.mirror.is_some(), "{} did not ask to resume", self.name);
                    ledger.count("resumed");
                } else {
                    self.log.covered = None;
                    if self.mirror.take().is_some() {
                        ledger.count("not resumed");
                    }
                }
            }
            "state.snapshot" => {
                let version = message["stateVersion"].as_u64().expect("a version");
                let mirror = self.mirror.get_or_insert_default();
                mirror.replace(version, message["data"].clone());
                let mut ledger = self.ledger.lock().unwrap();
                ledger.count("snapshots");
                if std::mem::take(&mut self.is_owed_snapshot) {
                    ledger.count("lag snapshots");
                }
                drop(ledger);
                self.reached();
            }
            "state.patch" => {
                let number = |name: &str| message[name].as_u64().expect("a version");
                let (from, to) = (number("fromVersion"), number("toVersion"));
                assert!(
                    !self.is_owed_snapshot,
                    "{} fell behind and got a patch before its snapshot",
                    self.name
                );
                let Some(mirror) = &mut self.mirror else {
                    panic!("{} got a patch before a snapshot", self.name);
                };
                mirror.apply(from, to, &message["patch"]);
                self.reached();
            }
            "logs.history" | "logs.append" => {
                let mut ledger = self.ledger.lock().unwrap();
                assert!(
                    !self.is_witness || message.get("missed").is_none(),
                    "the witness missed a part of the log"
                );
                self.log.take(message, &mut ledger, &self.name);
            }
            "ack" if message["id"] == "part" => self.log.is_filtered = true,
            "error" => {
                assert_eq!(message["code"], "missed", "{}: {message}", self.name);
                assert!(!self.is_witness, "the witness fell behind: {message}");
                let mut ledger = self.ledger.lock().unwrap();
                ledger.count("told missed");
                if message["message"]
                    .as_str()
                    .expect("a text")
                    .contains(" on state: ")
                {
                    self.is_owed_snapshot = true;
                }
            }
            "telemetry" if message.get("missed").is_some() => {
                self.ledger.lock().unwrap().count("told of missed samples");
            }
            _ => {}
        }
    }

    fn reached(&mut self) {
        let mirror = self.mirror.as_ref().expect("a mirror");
        let hash = mirror.hash();
        let mut ledger = self.ledger.lock().unwrap();
        ledger.count("versions reached");
        if self.is_witness {
            ledger.known.insert(mirror.version, hash);
        } else {
            ledger.compare(mirror.version, hash, self.name.clone());
        }
    }
}

/// Shows a text to all mirrors: the change that anybody may make.
async fn change(address: &str, text: &str) {
    let body = json!({ "message": text });
    let response = call(address, "PUT", "/api/v1/message", "", Some(&body)).await;
    assert!((200..300).contains(&response.status), "{response:?}");
}

/// A text that no compressor makes much smaller, nearly as long as one may be.
fn large_text(random: &mut Random) -> String {
    (0..490)
        .map(|_| char::from_u32(0x1F300 + random.below(0x300) as u32).expect("a character"))
        .collect()
}

/// Entries for each part of the log, and for none.
async fn post_entries(address: &str, random: &mut Random) {
    let entries: Vec<Value> = (0..POSTED_ENTRIES)
        .map(|_| {
            json!({
                "channel": random.pick(&["soak", "soak:left", "soak:left:hand", "soak:right"]),
                "level": random.pick(&["debug", "info", "warn", "error"]),
                "message": format!("{} {}", random.pick(&["odd", "Odd", "even"]), random.next()),
                "tag": random.pick(&["one", "two"]),
            })
        })
        .collect();
    let response = call(address, "POST", "/api/v1/logs", "", Some(&json!(entries))).await;
    assert!((200..300).contains(&response.status), "{response:?}");
    assert_eq!(response.json()["accepted"], POSTED_ENTRIES, "{response:?}");
}

/// Now and then many large changes in a row.
async fn flood(address: String, seed: u64, stop: Arc<AtomicBool>) {
    let mut random = Random::new(seed ^ 0xF100D);
    // The pace of the changes: slower than flushes, so that each is a patch of its own.
    let mut pace = tokio::time::interval(Duration::from_millis(15));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.load(Ordering::Acquire) {
        for _ in 0..FLOOD_CHANGES {
            pace.tick().await;
            change(&address, &large_text(&mut random)).await;
        }
        // Until those who read have it all.
        tokio::time::sleep(random.ms(2000, 5000)).await;
    }
}

/// The life of one client.
async fn live(number: u64, seed: u64, address: String, series: u64, ledger: Shared, stop: Arc<AtomicBool>) {
    let mut random = Random::new(seed.wrapping_mul(1_000_003).wrapping_add(number));
    let mut follower = Follower::new(format!("client {number}"), &ledger, false);
    follower.deflates = number.is_multiple_of(3);
    follower.wants = (number / 3).is_multiple_of(3).then(|| random.pick(&Part::ALL));
    let count = |what| ledger.lock().unwrap().count(what);
    // They arrive one by one and not in a row.
    tokio::time::sleep(random.ms(0, 2000)).await;
    while !stop.load(Ordering::Acquire) {
        let small = random.one_in(2).then_some(4096);
        follower.connect(&address, small).await;
        let mut has_state = true;
        let mut has_series = false;
        while !stop.load(Ordering::Acquire) {
            let pause = random.ms(50, 1500);
            follower.read_for(pause).await;
            match random.below(26) {
                0..4 => {
                    count("changed");
                    let text = if random.one_in(3) {
                        large_text(&mut random)
                    } else {
                        format!(
                            "client {number} says {}",
                            "\u{1F50C}é~\"\\/".repeat(random.below(20))
                        )
                    };
                    change(&address, &text).await;
                }
                4..7 => {
                    count("stalled");
                    // It reads nothing for a while: that is what it is here for, and nothing waits for it.
                    tokio::time::sleep(random.ms(100, 6000)).await;
                }
                7 | 8 => {
                    count("resynced");
                    follower.say(&json!({"type": "state.resync"})).await;
                }
                9 | 10 => {
                    count("switched the state");
                    let kind = if has_state { "unsubscribe" } else { "subscribe" };
                    follower.say(&json!({"type": kind, "channel": "state"})).await;
                    has_state = !has_state;
                }
                11 | 12 => {
                    count("switched telemetry");
                    let kind = if has_series { "unsubscribe" } else { "subscribe" };
                    follower
                        .say(&json!({"type": kind, "channel": "telemetry", "endpointIds": [series]}))
                        .await;
                    has_series = !has_series;
                }
                13 => follower.say(&json!({"type": "ping"})).await,
                14..17 => {
                    count("vanished");
                    follower.vanish();
                    break;
                }
                17 => {
                    count("said goodbye");
                    let close = client_frame(0x88, &1000_u16.to_be_bytes());
                    follower
                        .stream
                        .as_mut()
                        .unwrap()
                        .write_all(&close)
                        .await
                        .expect("it is sent");
                    while let Heard::Message = follower.hear().await {}
                    // It comes back as a stranger.
                    follower.mirror = None;
                    break;
                }
                18 => {
                    // One question at a time, so that it is known which answer is whose.
                    if let (None, Some(covered)) = (follower.log.asked, follower.log.covered) {
                        count("asked for the log again");
                        let since = covered.saturating_sub(random.below(300) as u64);
                        follower.log.asked = Some(since);
                        follower
                            .say(&json!({"type": "logs.replay", "sinceSeq": since}))
                            .await;
                    }
                }
                _ => {}
            }
        }
        if !has_state {
            // What it missed it did not want; it begins anew.
            follower.mirror = None;
        }
        // How long it is away is up to it, as long as the daemon still may have what it missed, and longer.
        let away = random.ms(0, 2000);
        follower.vanish();
        tokio::time::sleep(away).await;
    }
}

/// Follows until it is told how far.
async fn witness(mut follower: Follower, mut until: tokio::sync::watch::Receiver<Option<u64>>) -> Follower {
    loop {
        let version = follower.mirror.as_ref().map_or(0, |mirror| mirror.version);
        if until.borrow().is_some_and(|until| version >= until) {
            return follower;
        }
        tokio::select! {
            heard = follower.hear() => assert!(matches!(heard, Heard::Message), "the witness was closed"),
            _ = until.changed() => {}
        }
    }
}

/// What the route says, as one more claim; gives the version.
async fn ask(address: &str, ledger: &Shared) -> u64 {
    let response = get(address, STATE_ROUTE).await;
    assert_eq!(response.status, 200);
    let document = response.json();
    let version = document["version"].as_u64().expect("a version");
    let tag = response.header("etag").expect("a tag");
    assert!(
        tag.ends_with(&format!("-{version}\"")),
        "{tag} for version {version}"
    );
    let mut mirror = Mirror::default();
    mirror.replace(version, document);
    let mut ledger = ledger.lock().unwrap();
    ledger.count("asked /api/v1/state");
    ledger.came(STATE_ROUTE);
    ledger.compare(version, mirror.hash(), STATE_ROUTE.to_owned());
    version
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_restless_clients_have_the_daemons_document_at_every_version() {
    let duration = Duration::from_secs(if is_long() { 600 } else { 60 });
    let seed = given_seed().unwrap_or_else(new_seed);
    println!("seed {seed}");

    let bench = Bench::new();
    let sim = Sim::start(&bench.artifacts, bench.folder(), METER_SPEED, seed, "none");
    bench.install("power-meter", &bench.artifacts.plugin("power-meter"));
    bench.configure_with(
        &format!("[daemon.limits]\nclients = 300\nmessages-per-second = 100\nring-kib = {RING_KIB}"),
        &[DeviceEntry::meter(sim.link())],
    );
    let daemon = bench.start_with(&[("CLIENT_LOGS_TO_KEEP", &LOG_ENTRIES.to_string())]);
    let address = daemon.address().to_owned();
    let mut meter = daemon.client().await;
    meter.until_member("/powerMeter/phase", &json!("streaming")).await;
    let series = meter.endpoint("meter", "watts");
    drop(meter);

    let ledger = Shared::default();
    let (tell, until) = tokio::sync::watch::channel(None);
    let mut follower = Follower::new(WITNESS.to_owned(), &ledger, true);
    follower.connect(&address, None).await;
    // The witness is there before anybody else is.
    while follower.mirror.is_none() {
        assert!(
            matches!(follower.hear().await, Heard::Message),
            "the witness was closed"
        );
    }
    let witness = tokio::spawn(witness(follower, until));

    let stop = Arc::new(AtomicBool::new(false));
    let lives: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let life = live(
                number,
                seed,
                address.clone(),
                series,
                Arc::clone(&ledger),
                Arc::clone(&stop),
            );
            tokio::spawn(life)
        })
        .collect();
    let flood = tokio::spawn(flood(address.clone(), seed, Arc::clone(&stop)));
    let mut random = Random::new(seed ^ 0x106);
    let end = Instant::now() + duration;
    while Instant::now() < end {
        // How often the daemon is asked beside; the clients go on meanwhile.
        tokio::time::sleep(Duration::from_millis(700)).await;
        ask(&address, &ledger).await;
        post_entries(&address, &mut random).await;
        assert!(!flood.is_finished(), "the flood has ended");
        assert!(!witness.is_finished(), "the witness has ended");
        assert!(lives.iter().all(|life| !life.is_finished()), "a client has ended");
    }
    stop.store(true, Ordering::Release);
    for life in lives {
        life.await.expect("a client's life ends well");
    }
    flood.await.expect("the flood ends well");
    let last = ask(&address, &ledger).await;
    tell.send(Some(last)).expect("the witness listens");
    let witness = tokio::time::timeout(PATIENCE, witness).await;
    let witness = witness
        .expect("the witness gets there")
        .expect("the witness ends well");

    let mut ledger = ledger.lock().unwrap();
    ledger.settle();
    let kept_out = ledger.settle_log();
    let checked: u64 = ledger.checked.values().sum();
    let counts = &ledger.counts;
    println!(
        "{CLIENTS} clients for {duration:?}: {checked} documents equal the witness's, at {} versions ({} patches); {counts:?}",
        ledger.known.len(),
        witness.mirror.map_or(0, |mirror| mirror.patches),
    );
    println!(
        "the log: {} entries, {kept_out} that a filter kept out",
        ledger.entries.len()
    );
    assert!(kept_out > 0, "no filter kept anything out");
    for what in [
        "lag snapshots",
        "told missed",
        "told of missed log entries",
        "compressed messages",
        "log entries",
        "asked for the log again",
        "changed",
        "stalled",
        "resynced",
        "switched the state",
        "vanished",
        "said goodbye",
        "resumed",
    ] {
        assert!(counts.contains_key(what), "nobody {what}");
    }
    let mut came = ledger.came.clone();
    let witnessed = came.remove(WITNESS);
    assert_eq!(
        witnessed,
        Some(ledger.known.len() as u64),
        "each state that came to the witness is one to compare with"
    );
    assert_eq!(
        ledger.checked, came,
        "each state that came to a client, and each that the route gave, is compared"
    );
    assert_eq!(
        came.len() as u64,
        CLIENTS + 1,
        "all clients and the route have states"
    );
}
