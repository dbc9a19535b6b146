//! The echo for suites from outside is there when it was asked for, and only then.

use e2e::{Bench, Daemon, request};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

async fn upgrade(daemon: &Daemon) -> u16 {
    let address = daemon.address();
    let text = format!(
        "GET /ws/echo HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    request(address, &text).await.status
}

#[tokio::test]
async fn there_is_an_echo_when_it_was_asked_for_and_only_then() {
    let bench = Bench::new();
    bench.configure(&[]);
    let daemon = bench.start();
    assert_eq!(upgrade(&daemon).await, 404);
    daemon.stop();

    let daemon = bench.start_with_arguments(&["--test-endpoints"]);
    // Version 8 is none that it speaks, so it is there.
    assert_eq!(upgrade(&daemon).await, 426);
    let url = format!("ws://{}/ws/echo?limit=4000000", daemon.address());
    let config = WebSocketConfig::default()
        .max_message_size(None)
        .max_frame_size(None);
    let (mut socket, _) = tokio_tungstenite::connect_async_with_config(url, Some(config), true)
        .await
        .expect("the socket opens");
    for message in [
        Message::text("κόσμε"),
        Message::binary(vec![7; 4_000_000]),
        Message::text(""),
    ] {
        socket.send(message.clone()).await.expect("it is sent");
        let echo = socket.next().await.expect("an answer").expect("a message");
        assert_eq!(echo, message);
    }
    daemon.stop();
}
