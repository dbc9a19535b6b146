//! Clients that send garbage, too much, nothing, or do not read. Each ends as documented, and nobody else notices.

use std::time::Duration;

use serde_json::json;
use test_support::{Frame, client_frame as frame, take_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::bench::{Bench, DEADLINE, HANDSHAKE, Settings, apply, until, within};

/// Reads frames until the close frame; gives its code, and checks that the connection ends behind it.
pub async fn close_code(stream: &mut TcpStream) -> u16 {
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.unwrap();
    loop {
        let Frame { first, payload } = take_frame(&mut bytes).expect("a close frame");
        if first == 0x88 {
            assert!(bytes.is_empty(), "a close frame is the last");
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
    }
}

#[tokio::test]
async fn garbage_ends_with_its_close_code_and_nobody_else_notices() {
    let bench = Bench::start().await;
    let (mut witness, mut mirror) = bench.join().await;
    let huge = [&[0x81, 0x80 | 127][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("HTTP instead of frames", HANDSHAKE.into(), 1002),
        ("an unmasked frame", vec![0x81, 1, b'x'], 1002),
        ("a reserved bit", frame(0xC1, b"x"), 1002),
        ("a reserved opcode", frame(0x83, b"x"), 1002),
        ("a long ping", frame(0x89, &[0; 126]), 1002),
        ("a continuation of nothing", frame(0x80, b"x"), 1002),
        ("bad UTF-8", frame(0x81, &[0xFF]), 1007),
        ("a binary message", frame(0x82, b"x"), 1003),
        ("a terabyte", huge, 1009),
        (
            "a message in too many pieces",
            [frame(0x01, &[b' '; 60_000]), frame(0x80, &[b' '; 60_000])].concat(),
            1009,
        ),
        ("a bad close code", frame(0x88, &[0x03, 0xED]), 1002),
        ("a good close", frame(0x88, &[0x03, 0xE8]), 1000),
        ("a close without a code", frame(0x88, &[]), 1000),
    ];
    for (what, bytes, code) in cases {
        let mut stream = bench.raw_socket(None).await;
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(close_code(&mut stream).await, code, "{what}");
        // The same when the client hangs up its side at once.
        let mut stream = bench.raw_socket(None).await;
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(close_code(&mut stream).await, code, "{what}, and hung up");
    }
    until("the garbage clients are gone", || bench.hub.clients() == 1).await;
    bench.set_watts(5);
    while mirror["powerMeter"]["lastSample"]["watts"] != 5 {
        apply(&mut mirror, &witness.wait_for("state.patch").await);
    }
    bench.close().await;
}

#[tokio::test]
async fn what_comes_behind_the_goodbye_is_not_done() {
    let bench = Bench::start().await;
    let mut stream = bench.raw_socket(None).await;
    let hello = frame(0x81, br#"{"type":"hello","name":"too late"}"#);
    let bytes = [frame(0x82, b"x"), hello].concat();
    stream.write_all(&bytes).await.unwrap();
    assert_eq!(close_code(&mut stream).await, 1003);
    assert_eq!(
        bench.hub.metrics().messages.get(),
        0,
        "messages that were handled"
    );
    bench.close().await;
}

#[tokio::test]
async fn a_frame_that_comes_byte_by_byte_with_the_handshake_is_read() {
    let bench = Bench::start().await;
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let bytes = [
        HANDSHAKE.as_bytes(),
        &frame(0x81, br#"{"type":"ping","id":"early"}"#),
    ]
    .concat();
    // Handshake and the first half of the frame in one piece: what hyper reads ahead must not be lost.
    let (first, rest) = bytes.split_at(HANDSHAKE.len() + 9);
    stream.write_all(first).await.unwrap();
    for byte in rest {
        stream.write_all(&[*byte]).await.unwrap();
    }
    let mut read = Vec::new();
    while !read.windows(5).any(|window| window == b"early") {
        read.push(within(stream.read_u8()).await.unwrap());
    }
    bench.close().await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_dropped_while_the_others_get_everything() {
    let mut settings = Settings::default();
    settings.hub.stall_timeout = Duration::from_millis(300);
    settings.state_ring_bytes = 64 << 20;
    let bench = Bench::with(settings).await;
    let (mut reader, mut mirror) = bench.join().await;
    let deaf = bench.raw_socket(Some(4096)).await;
    until("both are connected", || bench.hub.clients() == 2).await;
    let mut snapshots = 0;
    let mut n = 0_u64;
    while bench.hub.clients() == 2 {
        n += 1;
        bench
            .state
            .replace_slice("filler", json!({"n": n, "text": n.to_string().repeat(50_000)}))
            .unwrap();
        // The reader keeps the pace: it has to have got everything, in order, at every step.
        while mirror["filler"]["n"] != n {
            let message = reader.next().await;
            match message["type"].as_str() {
                Some("state.patch") => apply(&mut mirror, &message),
                Some("state.snapshot") => snapshots += 1,
                _ => {}
            }
        }
        assert!(n < 100_000, "the deaf client is never dropped");
    }
    assert_eq!(snapshots, 0);
    assert_eq!(mirror["filler"], bench.document()["filler"]);
    drop(deaf);
    bench.close().await;
}

#[tokio::test]
async fn a_client_that_is_silent_and_answers_no_ping_is_closed() {
    let mut settings = Settings::default();
    settings.hub.limits.heartbeat_interval_ms = 50;
    settings.hub.limits.heartbeat_timeout_ms = 200;
    let bench = Bench::with(settings).await;
    let mut stream = bench.raw_socket(None).await;
    assert_eq!(close_code(&mut stream).await, 4408);
    bench.close().await;
}

#[tokio::test]
async fn too_many_messages_are_refused_and_a_client_that_goes_on_is_closed() {
    let mut settings = Settings::default();
    settings.hub.limits.messages_per_s = 1;
    settings.hub.limits.message_burst = 3;
    // It says all that it has to say before it hears of its end.
    settings.hub.close_timeout = DEADLINE;
    let bench = Bench::with(settings).await;
    let (mut client, _) = bench.join().await;
    let begin = std::time::Instant::now();
    for id in 0..10 {
        client.say(json!({"type": "hello", "id": id})).await;
    }
    let (mut taken, mut refused) = (0, 0);
    while taken + refused < 10 {
        let message = client.next().await;
        match message["type"].as_str() {
            Some("ack") => taken += 1,
            Some("error") => {
                assert_eq!(message["code"], "rate-limited");
                assert_eq!(message["id"], taken + refused);
                refused += 1;
            }
            _ => {}
        }
    }
    // For each second that this took, one more message is in order.
    let most = 4 + begin.elapsed().as_secs();
    assert!((3..=most).contains(&taken), "{taken} were taken of {most}");
    for _ in 0..300 {
        client.say(json!({"type": "hello"})).await;
    }
    assert_eq!(client.close_code().await, Some(1008));
    drop(client);
    bench.close().await;
}

#[tokio::test]
async fn a_client_that_asks_and_does_not_read_is_closed() {
    let mut settings = Settings::default();
    settings.hub.stall_timeout = Duration::from_secs(60);
    settings.hub.close_timeout = Duration::from_millis(200);
    let bench = Bench::with(settings).await;
    bench
        .state
        .replace_slice("filler", json!({"text": "x".repeat(200_000)}))
        .unwrap();
    let mut stream = bench.raw_socket(Some(4096)).await;
    until("it is connected", || bench.hub.clients() == 1).await;
    // A resync each: they are one while they wait, so it is the acknowledgements that fill the queue.
    let question = frame(0x81, br#"{"type":"state.resync","id":1}"#);
    for _ in 0..100_000 {
        if bench.hub.clients() == 0 || stream.write_all(&question).await.is_err() {
            break;
        }
    }
    until("it is dropped", || bench.hub.clients() == 0).await;
    bench.close().await;
}

#[tokio::test]
async fn whoever_asked_and_did_not_read_is_told_why_it_is_closed_when_it_reads() {
    let mut settings = Settings::default();
    settings.hub.stall_timeout = Duration::from_secs(60);
    // The goodbye waits for as long as the client asks on.
    settings.hub.close_timeout = DEADLINE;
    let bench = Bench::with(settings).await;
    bench
        .state
        .replace_slice("filler", json!({"text": "x".repeat(200_000)}))
        .unwrap();
    let mut stream = bench.raw_socket(Some(64 << 10)).await;
    let question = frame(0x81, br#"{"type":"state.resync","id":1}"#);
    // What it says behind the goodbye is taken and not looked at, so none of this waits for the client itself.
    for _ in 0..200 {
        within(stream.write_all(&question.repeat(500))).await.unwrap();
    }
    assert_eq!(close_code(&mut stream).await, 1008);
    let handled = bench.hub.metrics().messages.get();
    assert!(handled < 100_000, "all {handled} questions were answered");
    drop(stream);
    bench.close().await;
}

#[tokio::test]
async fn a_message_over_the_limit_is_closed_with_its_code() {
    let bench = Bench::start().await;
    let (mut client, _) = bench.join().await;
    client
        .say(json!({"type": "hello", "name": "x".repeat(60_000)}))
        .await;
    client.wait_for("ack").await;
    client.say_raw(Message::text("x".repeat(65_537))).await;
    assert_eq!(client.close_code().await, Some(1009));
    bench.close().await;
}

#[tokio::test]
async fn one_client_too_many_is_refused_at_the_door_and_gets_in_when_one_has_left() {
    let mut settings = Settings::default();
    settings.hub.limits.clients = 2;
    let bench = Bench::with(settings).await;
    let (one, _) = bench.join().await;
    let (_two, _) = bench.join().await;
    let refused = bench
        .request(
            &HANDSHAKE
                .replace("\r\n\r\n", "\r\nX: 1\r\n\r\n")
                .replace("Connection: Upgrade", "Connection: Upgrade, close"),
        )
        .await;
    refused.is_problem(503, "too-many-clients");
    drop(one);
    until("the first has left", || bench.hub.clients() == 1).await;
    let (_three, _) = bench.join().await;
    bench.close().await;
}

#[tokio::test]
async fn a_handshake_that_trickles_is_cut_and_so_is_a_connection_that_idles() {
    let mut settings = Settings::default();
    settings.http.header_timeout = Duration::from_secs(1);
    let bench = Bench::with(settings).await;
    let mut slow = TcpStream::connect(bench.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: loc").await.unwrap();
    let mut mute = TcpStream::connect(bench.address).await.unwrap();
    let mut idle = TcpStream::connect(bench.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    for stream in [&mut slow, &mut mute, &mut idle] {
        let mut rest = Vec::new();
        // A reset ends it as well.
        let _ = within(stream.read_to_end(&mut rest)).await;
    }
    // A socket that was upgraded is not cut.
    let (mut client, _) = bench.join().await;
    // The time of one that came after it is over, so its own would be too.
    let mut later = TcpStream::connect(bench.address).await.unwrap();
    let _ = within(later.read_to_end(&mut Vec::new())).await;
    client.say(json!({"type": "ping"})).await;
    client.wait_for("pong").await;
    bench.close().await;
}

#[tokio::test]
async fn connections_that_send_no_request_keep_nobody_out_and_the_oldest_goes_first() {
    let mut settings = Settings::default();
    settings.http.connections = 4;
    settings.http.least_wait = Duration::from_millis(5);
    settings.http.header_timeout = Duration::from_secs(3600);
    let bench = Bench::with(settings).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(bench.address).await.unwrap());
    }
    // The youngest of them have their places still.
    let mut youngest = idle.pop().unwrap();
    assert_eq!(bench.get("/healthz").await.status, 200);
    for mut stream in idle.drain(..297) {
        let _ = within(stream.read_to_end(&mut Vec::new())).await;
    }
    youngest
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = Vec::new();
    within(youngest.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(crate::bench::Answer::read(&bytes).status, 200);
    bench.close().await;
}

#[tokio::test]
async fn bodies_that_do_not_come_keep_nobody_out() {
    let mut settings = Settings::default();
    settings.http.connections = 4;
    settings.http.least_wait = Duration::from_millis(5);
    settings.http.header_timeout = Duration::from_secs(3600);
    let bench = Bench::with(settings).await;
    let mut owing = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        let head = "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Expect: 100-continue\r\nContent-Length: 41\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        // The daemon says so when it waits for the body.
        let mut go_on = [0; 25];
        within(stream.read_exact(&mut go_on)).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        // A body that trickles has waited as long as one that does not come.
        stream.write_all(b"{").await.unwrap();
        owing.push(stream);
    }
    assert_eq!(bench.get("/healthz").await.status, 200);
    let _ = within(owing.remove(0).read_to_end(&mut Vec::new())).await;
    // The others were left alone, and go on.
    for mut stream in owing {
        stream
            .write_all(b"\"token\": \"1234567890123456789012345678\"}")
            .await
            .unwrap();
        let mut answer = [0; 12];
        within(stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    bench.close().await;
}

#[tokio::test]
async fn clients_that_pipeline_requests_and_never_read_keep_nobody_out_and_are_cut() {
    let mut settings = Settings::default();
    settings.http.connections = 8;
    settings.http.stall_timeout = Duration::from_millis(500);
    let bench = Bench::with(settings).await;
    bench
        .state
        .replace_slice("filler", json!({"text": "x".repeat(200_000)}))
        .unwrap();
    let mut deaf = Vec::new();
    for _ in 0..8 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(bench.address).await.unwrap();
        let requests = "GET /api/v1/state HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
        stream.write_all(requests.as_bytes()).await.unwrap();
        deaf.push(stream);
    }
    for _ in 0..50 {
        assert_eq!(bench.get("/healthz").await.status, 200);
    }
    // Whoever still has its place is cut because it takes nothing: writing to it fails in the end.
    for mut stream in deaf {
        let cut = async { while stream.write_all(&[b'x'; 1000]).await.is_ok() {} };
        within(cut).await;
    }
    assert_eq!(bench.get("/healthz").await.status, 200);
    bench.close().await;
}

#[tokio::test]
async fn whoever_is_turned_away_reads_why_although_its_request_was_sent() {
    let mut settings = Settings::default();
    settings.http.connections = 0;
    let bench = Bench::with(settings).await;
    for _ in 0..50 {
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        // More than one read takes, so that something is always unread.
        let request = format!(
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
            "x".repeat(50_000)
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        within(stream.read_to_end(&mut bytes)).await.unwrap();
        let answer = crate::bench::Answer::read(&bytes);
        answer.is_problem(503, "too-many-connections");
        assert_eq!(
            answer.header("content-length"),
            Some(&*answer.body.len().to_string())
        );
    }
    bench.close().await;
}

#[tokio::test]
async fn a_body_that_trickles_is_answered_408_in_time() {
    let mut settings = Settings::default();
    settings.http.header_timeout = Duration::from_millis(300);
    let bench = Bench::with(settings).await;
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    let head = "PUT /api/v1/message HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let trickling = async {
        while writer.write_all(b" ").await.is_ok() {
            // That it comes slowly is what is tested.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut bytes = Vec::new();
    tokio::select! {
        () = trickling => panic!("cut without an answer"),
        read = within(reader.read_to_end(&mut bytes)) => read.unwrap(),
    };
    crate::bench::Answer::read(&bytes).is_problem(408, "request-timeout");
    bench.close().await;
}

#[tokio::test]
async fn a_refusal_is_read_although_the_body_is_still_on_its_way() {
    let bench = Bench::start().await;
    let head = "POST /api/v1/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 500000\r\n\r\n";
    for _ in 0..20 {
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&[b'x'; 500_000]).await.unwrap();
        let mut bytes = Vec::new();
        within(stream.read_to_end(&mut bytes)).await.unwrap();
        crate::bench::Answer::read(&bytes).is_problem(415, "unsupported-media-type");
    }
    bench.close().await;
}

#[tokio::test]
async fn a_client_that_does_not_say_goodbye_holds_the_end_up_no_longer_than_the_grace() {
    let mut settings = Settings::default();
    settings.http.grace = Duration::from_millis(200);
    settings.hub.close_timeout = Duration::from_secs(3600);
    let bench = Bench::with(settings).await;
    let _open = bench.raw_socket(None).await;
    until("it is connected", || bench.hub.clients() == 1).await;
    within(bench.close()).await;
}
