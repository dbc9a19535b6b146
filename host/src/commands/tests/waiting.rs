//! Requests over HTTP that wait for a command's end: they keep nobody out, and there may be only so many.

use std::time::Instant;

use tokio::net::TcpStream;

use super::*;

/// Nothing here takes this long.
const DEADLINE: Duration = Duration::from_secs(20);

async fn serve(bench: &Bench, change: impl FnOnce(&mut HttpConfig)) -> Server {
    let mut config = HttpConfig::new("127.0.0.1:0".parse().unwrap());
    change(&mut config);
    Server::start(config, bench.state.clone(), bench.logs.clone(), bench.hub.clone())
        .await
        .unwrap()
}

/// A request whose answer ends with its connection.
fn request(method: &str, path: &str, from: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Forwarded-For: {from}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn get(path: &str) -> String {
    request("GET", path, "192.0.2.1", "")
}

async fn ask(server: &Server, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer));
    read.await.expect("it is answered").unwrap();
    answer
}

async fn asked(server: &Server, request: &str) -> String {
    answer(ask(server, request).await).await
}

#[tokio::test]
async fn those_who_wait_for_a_commands_end_keep_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path(), "0123456789abcdef");
    let server = serve(&bench, |http| {
        http.connections = 4;
        // Nobody has to make room: a newcomer gets in when somebody has left a place.
        http.least_wait = Duration::from_secs(3600);
    })
    .await;
    let command = bench.submit(json!({"device": "relay", "name": "on"})).unwrap();
    let path = format!("/api/v1/commands/{}", command.command_id);
    let mut waiting = Vec::new();
    for _ in 0..12 {
        waiting.push(ask(&server, &get(&format!("{path}?wait=60000"))).await);
    }
    for _ in 0..8 {
        let healthy = asked(&server, &get("/healthz")).await;
        assert!(healthy.starts_with("HTTP/1.1 200 "), "{healthy}");
    }
    let handshake = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut socket = ask(&server, handshake).await;
    let mut head = [0; 12];
    socket.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    let cancelled = asked(&server, &request("DELETE", &path, "192.0.2.1", "")).await;
    assert!(cancelled.starts_with("HTTP/1.1 200 "), "{cancelled}");
    for stream in waiting {
        let ended = answer(stream).await;
        assert!(ended.starts_with("HTTP/1.1 200 "), "{ended}");
        assert!(ended.contains("\"status\":\"cancelled\""), "{ended}");
    }
    drop(socket);
    server.close().await;
}

#[tokio::test]
async fn whoever_may_not_wait_is_told_so_and_what_was_done_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path(), "0123456789abcdef");
    let server = serve(&bench, |http| (http.waits, http.waits_of_one) = (3, 2)).await;
    let command = bench.submit(json!({"device": "relay", "name": "on"})).unwrap();
    let path = format!("/api/v1/commands/{}", command.command_id);
    // Asks until as many wait as may: the last ones asked for a moment only.
    let refused = async |from: &str| {
        let begin = Instant::now();
        loop {
            let moment = request("GET", &format!("{path}?wait=1"), from, "");
            let answer = asked(&server, &moment).await;
            if !answer.starts_with("HTTP/1.1 200 ") {
                return answer;
            }
            assert!(begin.elapsed() < DEADLINE, "everybody may wait");
        }
    };
    let long = |from: &str| request("GET", &format!("{path}?wait=60000"), from, "");
    let mut waiting = vec![
        ask(&server, &long("192.0.2.1")).await,
        ask(&server, &long("192.0.2.1")).await,
    ];
    let told = refused("192.0.2.1").await;
    assert!(told.starts_with("HTTP/1.1 429 "), "{told}");
    assert!(told.contains("\"code\":\"too-many-waits\""), "{told}");
    assert!(told.to_lowercase().contains("\r\nretry-after: 1\r\n"), "{told}");
    // Another may, until all together are too many.
    waiting.push(ask(&server, &long("192.0.2.2")).await);
    let told = refused("192.0.2.3").await;
    assert!(told.starts_with("HTTP/1.1 429 "), "{told}");
    // Whoever does not want to wait is answered as ever.
    let shown = asked(&server, &get(&path)).await;
    assert!(shown.starts_with("HTTP/1.1 200 "), "{shown}");
    let taken = request(
        "POST",
        "/api/v1/devices/relay/commands?wait=60000",
        "192.0.2.3",
        r#"{"name": "on"}"#,
    );
    let taken = asked(&server, &taken).await;
    assert!(taken.starts_with("HTTP/1.1 202 "), "{taken}");
    assert!(taken.contains("\"commandId\":"), "{taken}");
    assert_eq!(bench.commands.router().recent().len(), 2);
    bench
        .commands
        .router()
        .cancel(&command.command_id, "local")
        .unwrap();
    for stream in waiting {
        let ended = answer(stream).await;
        assert!(ended.contains("\"status\":\"cancelled\""), "{ended}");
    }
    // Their room is free again.
    let other = &bench.commands.router().recent()[0].command_id;
    let moment = get(&format!("/api/v1/commands/{other}?wait=1"));
    let shown = asked(&server, &moment).await;
    assert!(shown.starts_with("HTTP/1.1 200 "), "{shown}");
    server.close().await;
}
