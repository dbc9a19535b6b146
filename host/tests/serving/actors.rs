//! What one actor can cost the others: lines of the record, places, guesses. And that what an actor ends is over everywhere.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use autobench::hub::NoSeat;
use autobench::logs::LogLayer;
use autobench_core::access::Role;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tracing_subscriber::layer::SubscriberExt;

use crate::access::{
    audited, bearer, before_one_is_forgiven, guarded, guarded_settings, guarded_with, token_of,
};
use crate::bench::{Bench, HANDSHAKE, Settings, until, within};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A session for a token: the header line that a browser sends from then on.
async fn session(bench: &Bench, token: &str) -> String {
    let body = json!({ "token": token }).to_string();
    let begun = bench
        .request(&format!(
            "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    assert_eq!(begun.status, 200, "{begun:?}");
    let cookie = begun.header("set-cookie").unwrap();
    format!("Cookie: {}\r\n", cookie.split(';').next().unwrap())
}

fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n")
}

/// Makes the state larger than what the system holds of an answer: eight megabytes.
fn fill(bench: &Bench) {
    for number in 0..64 {
        let slice = format!("ballast{number}");
        bench
            .state
            .replace_slice(&slice, "x".repeat(128 << 10).into())
            .unwrap();
    }
}

/// A stream of events that has begun.
async fn listen(bench: &Bench, more: &str) -> TcpStream {
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream
        .write_all(get("/api/v1/events", more).as_bytes())
        .await
        .unwrap();
    let mut head = [0; 12];
    within(stream.read_exact(&mut head)).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn ending_a_session_ends_the_sockets_and_streams_that_began_with_it() {
    let (bench, _folder) = guarded_with(|hub| hub.close_timeout = Duration::from_millis(100)).await;
    let token = token_of(Role::Operator);
    let (ending, staying) = (session(&bench, token).await, session(&bench, token).await);
    let mut ends = bench.connect_with(&ending).await;
    let mut stays = bench.connect_with(&staying).await;
    let mut by_token = bench.connect_with(&bearer(token)).await;
    for client in [&mut ends, &mut stays, &mut by_token] {
        client.expect("welcome").await;
    }
    let mut stream = listen(&bench, &ending).await;
    let delete = get("/api/v1/session", &ending).replace("GET", "DELETE");
    assert_eq!(bench.request(&delete).await.status, 204);
    assert_eq!(ends.close_code().await, Some(4401));
    let mut rest = Vec::new();
    within(stream.read_to_end(&mut rest)).await.unwrap();
    for client in [&mut stays, &mut by_token] {
        client.say(json!({"type": "ping"})).await;
        client.wait_for("pong").await;
    }
    bench.close().await;
}

#[tokio::test]
async fn what_a_client_says_after_its_session_has_ended_is_not_done() {
    // Nobody looks after the clients meanwhile.
    let (bench, _folder) = guarded_with(|hub| {
        hub.limits.heartbeat_interval_ms = 60_000;
        hub.limits.heartbeat_timeout_ms = 60_000;
        hub.stall_timeout = Duration::from_secs(60);
        hub.auth_timeout = Duration::from_secs(60);
        hub.close_timeout = Duration::from_secs(60);
    })
    .await;
    let header = session(&bench, token_of(Role::Operator)).await;
    let mut client = bench.connect_with(&header).await;
    client.expect("welcome").await;
    let delete = get("/api/v1/session", &header).replace("GET", "DELETE");
    assert_eq!(bench.request(&delete).await.status, 204);
    client
        .say(json!({"type": "command", "device": "psu", "name": "output.on", "id": 7}))
        .await;
    assert_eq!(client.close_code().await, Some(4401));
    bench.close().await;
}

#[tokio::test]
async fn strangers_that_come_at_once_get_no_more_than_their_quarter() {
    let (bench, _folder) = guarded_with(|hub| hub.limits.clients = 8).await;
    let seats: Vec<_> = (0..8)
        .filter_map(|_| bench.hub.take_strangers_seat(HERE).ok())
        .collect();
    assert_eq!(seats.len(), 2, "upgrades that are answered and not adopted yet");
    drop(seats);
    let mut stranger = bench.connect().await;
    stranger.expect("welcome").await;
    let other = bench.hub.take_strangers_seat(HERE);
    assert!(other.is_ok() && bench.hub.take_strangers_seat(HERE).is_err());
    // Whoever has said who it is takes no stranger's place any more.
    stranger
        .say(json!({"type": "auth", "token": token_of(Role::Viewer)}))
        .await;
    stranger.expect("state.snapshot").await;
    assert!(bench.hub.take_strangers_seat(HERE).is_ok());
    bench.close().await;
}

#[tokio::test]
async fn strangers_from_one_address_leave_places_to_those_from_others() {
    // Sixteen places for strangers, four for an address.
    let (bench, _folder) = guarded_with(|hub| hub.limits.clients = 64).await;
    let from = |last: u32| format!("X-Forwarded-For: 192.0.2.{last}\r\n");
    let mut crowd = Vec::new();
    for _ in 0..4 {
        crowd.push(bench.connect_with(&from(1)).await);
    }
    let handshake = |more: &str| {
        HANDSHAKE
            .replace("Connection: Upgrade", "Connection: Upgrade, close")
            .replace("\r\n\r\n", &format!("\r\n{more}\r\n"))
    };
    let refused = bench.request(&handshake(&from(1))).await;
    refused.is_problem(503, "too-many-clients");
    // Whoever is on this machine may call itself what it likes: dividing its places would keep nobody from anything.
    let mut others = vec![bench.connect_with(&from(2)).await];
    for _ in 0..11 {
        others.push(bench.connect().await);
    }
    bench
        .request(&handshake(""))
        .await
        .is_problem(503, "too-many-clients");
    drop(others);
    until("the others have left", || bench.hub.clients() == 4).await;
    // Whoever has said who it is takes no stranger's place any more.
    let mut first = crowd.remove(0);
    first.expect("welcome").await;
    first
        .say(json!({"type": "auth", "token": token_of(Role::Viewer)}))
        .await;
    first.expect("state.snapshot").await;
    let mut fifth = bench.connect_with(&from(1)).await;
    fifth.expect("welcome").await;
    bench.close().await;
}

#[tokio::test]
async fn a_stranger_is_told_to_show_the_token_where_that_helps() {
    let (bench, _folder) = guarded_with(|hub| hub.limits.clients = 8).await;
    let handshake = HANDSHAKE.replace("Connection: Upgrade", "Connection: Upgrade, close");
    let strangers: Vec<_> = (0..2)
        .map(|_| bench.hub.take_strangers_seat(HERE).unwrap())
        .collect();
    let refused = bench.request(&handshake).await;
    refused.is_problem(503, "too-many-clients");
    assert!(refused.body.contains("show the token"), "{}", refused.body);
    // Nobody gets into a full house, with a token or without, whether or not the strangers' places are taken.
    let mut known: Vec<_> = (0..6).map(|_| bench.hub.take_seat().unwrap()).collect();
    let full = NoSeat::Full { clients: 8 };
    assert_eq!(bench.hub.take_strangers_seat(HERE).err(), Some(full));
    drop(strangers);
    known.extend((0..2).map(|_| bench.hub.take_seat().unwrap()));
    let refused = bench.request(&handshake).await;
    refused.is_problem(503, "too-many-clients");
    assert!(
        refused.body.contains("8 clients are connected"),
        "{}",
        refused.body
    );
    assert_eq!(bench.hub.metrics().refused.get(), 3);
    drop(known);
    let hub = bench.hub.clone();
    bench.close().await;
    assert_eq!(hub.take_strangers_seat(HERE).err(), Some(NoSeat::Stopping));
    assert_eq!(hub.take_seat().err(), Some(NoSeat::Stopping));
    assert_eq!(hub.metrics().refused.get(), 3);
}

/// A connection that has asked for the state, seen that the answer begins, and takes no more of it.
async fn ask_and_take_nothing(bench: &Bench, more: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(bench.address).await.unwrap();
    stream
        .write_all(get("/api/v1/state", more).as_bytes())
        .await
        .unwrap();
    let mut head = [0; 12];
    within(stream.read_exact(&mut head)).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn large_answers_that_an_actor_does_not_take_keep_only_that_actor_from_more() {
    let (mut settings, _folder) = guarded_settings();
    settings.http.answer_bytes = 16 << 20;
    settings.http.stall_timeout = Duration::from_secs(3600);
    let bench = Bench::with(settings).await;
    fill(&bench);
    let viewer = bearer(token_of(Role::Viewer));
    let first = ask_and_take_nothing(&bench, &viewer).await;
    let _second = ask_and_take_nothing(&bench, &viewer).await;
    let refused = bench.request(&get("/api/v1/state", &viewer)).await;
    refused.is_problem(429, "too-many-answers");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    // Who asks again and again costs nothing.
    let snapshots = bench.state.metrics().snapshots.get();
    for _ in 0..3 {
        let refused = bench.request(&get("/api/v1/state", &viewer)).await;
        refused.is_problem(429, "too-many-answers");
    }
    assert_eq!(bench.state.metrics().snapshots.get(), snapshots, "it is not made");
    let refused = bench.request(&get("/api/v1/logs", &viewer)).await;
    refused.is_problem(429, "too-many-answers");
    // What is small is no matter, and neither is what others ask for.
    for path in ["/api/v1/message", "/api/v1/state?path=/powerMeter", "/healthz"] {
        assert_eq!(bench.request(&get(path, &viewer)).await.status, 200, "{path}");
    }
    let operator = bearer(token_of(Role::Operator));
    assert_eq!(bench.request(&get("/api/v1/state", &operator)).await.status, 200);
    drop(first);
    let begin = std::time::Instant::now();
    while bench.request(&get("/api/v1/state", &viewer)).await.status != 200 {
        assert!(
            begin.elapsed() < crate::bench::DEADLINE,
            "its place is free again"
        );
    }
    bench.close().await;
}

#[tokio::test]
async fn where_nobody_says_who_it_is_large_answers_are_limited_by_address() {
    let mut settings = Settings::default();
    settings.http.answer_bytes = 1 << 20;
    settings.http.stall_timeout = Duration::from_secs(3600);
    let bench = Bench::with(settings).await;
    fill(&bench);
    let from = |last: u32| format!("X-Forwarded-For: 192.0.2.{last}\r\n");
    // One may be larger than the bound, as nobody could ever have it otherwise, and counts as half of it: it is no reason to refuse all others.
    let mut taking_nothing = vec![
        ask_and_take_nothing(&bench, &from(1)).await,
        ask_and_take_nothing(&bench, &from(1)).await,
    ];
    let refused = bench.request(&get("/api/v1/state", &from(1))).await;
    refused.is_problem(429, "too-many-answers");
    let elsewhere = bench.request(&get("/api/v1/state", &from(2))).await;
    assert_eq!(elsewhere.status, 200);
    assert_eq!(elsewhere.json()["version"], bench.document()["version"]);
    // This machine has four times as much, for everybody behind a proxy that names nobody.
    for _ in 0..8 {
        taking_nothing.push(ask_and_take_nothing(&bench, "").await);
    }
    let refused = bench.request(&get("/api/v1/state", "")).await;
    refused.is_problem(429, "too-many-answers");
    bench.close().await;
}

#[tokio::test]
async fn beyond_the_limit_a_right_token_is_answered_as_a_wrong_one() {
    let (bench, folder) = guarded().await;
    let header = session(&bench, token_of(Role::Viewer)).await;
    let attempt = |token: &str, from: &str| {
        get(
            "/api/v1/state",
            &format!("X-Forwarded-For: {from}\r\n{}", bearer(token)),
        )
    };
    let body = json!({"token": token_of(Role::Admin)}).to_string();
    let login = |from: &str| {
        format!(
            "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Forwarded-For: {from}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let before = audited(&folder).len();
    let (from, free, beyond) = before_one_is_forgiven(async |from| {
        let (mut free, mut beyond) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            free.push(bench.request(&attempt("guess", from)).await);
        }
        for _ in 0..10 {
            beyond.push(bench.request(&attempt("guess", from)).await);
            beyond.push(bench.request(&attempt(token_of(Role::Admin), from)).await);
        }
        // The log's own token is a token as well, and a login is an attempt.
        beyond.push(bench.request(&attempt("7f1c0e2d5a64b398ingest", from)).await);
        beyond.push(bench.request(&login(from)).await);
        (from.to_owned(), free, beyond)
    })
    .await;
    for answer in &free {
        answer.is_problem(401, "wrong-token");
    }
    for answer in &beyond {
        answer.is_problem(429, "too-many-attempts");
        assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() <= 4);
    }
    for pair in beyond[..20].chunks(2) {
        // But for the seconds, which pass.
        let words = |body: &str| body.replace(|one: char| one.is_ascii_digit(), "");
        assert_eq!(words(&pair[0].body), words(&pair[1].body));
    }
    let lines = audited(&folder);
    let of_guesses = lines.iter().filter(|line| line["peer"] == from.as_str()).count();
    // A session is no attempt, and another address has its own ten.
    let from = format!("X-Forwarded-For: {from}\r\n{header}");
    assert_eq!(bench.request(&get("/api/v1/state", &from)).await.status, 200);
    let elsewhere = bench.request(&attempt(token_of(Role::Admin), "192.0.2.2")).await;
    assert_eq!(elsewhere.status, 200);
    assert_eq!(before, 1, "the session");
    assert!(
        (10..=11).contains(&of_guesses),
        "what is refused beyond fills no file"
    );
    bench.close().await;
}

#[tokio::test]
async fn a_viewers_noise_pushes_nothing_out_of_ring_and_record() {
    let (bench, folder) = guarded().await;
    let _log = tracing::subscriber::set_default(
        tracing_subscriber::registry().with(LogLayer::new(bench.logs.clone())),
    );
    let body = json!({"message": "x"}).to_string();
    let put = |who: &str| {
        format!(
            "PUT /api/v1/message HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n{who}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let (viewer, operator) = (bearer(token_of(Role::Viewer)), bearer(token_of(Role::Operator)));
    let first = bench.log("what happened before the noise");
    assert_eq!(bench.request(&put(&operator)).await.status, 204);
    let mut client = bench.connect_with(&viewer).await;
    for n in 0..200 {
        assert_eq!(bench.request(&put(&viewer)).await.status, 403);
        assert_eq!(bench.request(&put("")).await.status, 401);
        client
            .say(json!({"type": "command", "device": "psu", "name": "output.on", "id": n}))
            .await;
        drop(bench.connect_with(&viewer).await);
        session(&bench, token_of(Role::Viewer)).await;
    }
    until("they are gone", || bench.hub.clients() == 1).await;
    assert_eq!(bench.request(&put(&operator)).await.status, 204);
    let entries = bench.logs.since(first - 1);
    assert!(entries.missed.is_none(), "the ring has lost something");
    assert!(entries.entries.len() < 200, "{}", entries.entries.len());
    let lines = audited(&folder);
    let of = |actor: &Value| lines.iter().filter(|line| line["actor"] == *actor).count();
    assert_eq!(of(&json!("operator")), 2);
    assert!(
        of(&json!("viewer")) >= 10 && of(&json!("viewer")) < 60,
        "{lines:?}"
    );
    assert!(of(&Value::Null) >= 10 && of(&Value::Null) < 60, "{lines:?}");
    bench.close().await;
}

#[tokio::test]
async fn listeners_are_seen_among_the_clients() {
    let bench = Bench::start().await;
    let mut listener = crate::events::Listener::open(&bench, "?channels=state,logs,events", None).await;
    listener.expect("welcome").await;
    listener.expect("state.snapshot").await;
    listener.expect("logs.history").await;
    until("it is counted", || bench.document()["meta"]["clients"] == 1).await;
    let entries = bench.get("/api/v1/clients").await.json();
    let entry = &entries[0];
    assert_eq!(entry["subscriptions"], json!(["state", "logs", "events"]));
    assert_eq!(entry["page"], "/api/v1/events");
    assert_eq!(
        entry["peer"].as_str().unwrap().split(':').next(),
        Some("127.0.0.1")
    );
    assert!(
        entry["lag"]["versions"].is_u64() && entry["lag"]["logEntries"].is_u64(),
        "{entry}"
    );
    let (_socket, _) = bench.join().await;
    let ids: Vec<Value> = bench
        .get("/api/v1/clients")
        .await
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["clientId"].clone())
        .collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
    drop(listener);
    let mut watts = 0;
    // The daemon notices when it has something to say.
    while bench
        .get("/api/v1/clients")
        .await
        .json()
        .as_array()
        .unwrap()
        .len()
        > 1
    {
        watts += 1;
        bench.set_watts(watts);
        assert!(watts < 10_000, "it is still there");
    }
    bench.close().await;
}

#[tokio::test]
async fn whoever_takes_hardly_anything_of_an_answer_is_cut_and_whoever_reads_is_not() {
    let mut settings = Settings::default();
    settings.http.stall_timeout = Duration::from_secs(2);
    settings.http.least_bytes_per_s = 200 << 10;
    let bench = Bench::with(settings).await;
    fill(&bench);
    // The pauses are far shorter than the time in which a socket may take nothing.
    let taken = async |step: usize, pause: Duration| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        let mut stream = socket.connect(bench.address).await.unwrap();
        stream
            .write_all(get("/api/v1/state", "").as_bytes())
            .await
            .unwrap();
        let (mut buffer, mut taken) = (vec![0; step], 0);
        loop {
            match within(stream.read(&mut buffer)).await {
                Ok(0) | Err(_) => return taken,
                Ok(count) => taken += count,
            }
            // That it takes little at a time is what is tested; nothing waits for it.
            tokio::time::sleep(pause).await;
        }
    };
    let (sip, gulp) = tokio::join!(
        taken(4 << 10, Duration::from_millis(50)),
        taken(64 << 10, Duration::ZERO)
    );
    assert!(sip < 2 << 20, "it took {sip} bytes");
    assert!(gulp > 8 << 20, "it took {gulp} bytes");
    bench.close().await;
}
