//! The opening handshake: who gets a socket, and what the others are told.

use std::net::SocketAddr;

use libtest_mimic::Trial;

use super::peer::{ACCEPT, FIN, KEY, PING, PONG, Peer, TEXT, frame, handshake};
use super::server::{Server, name};

pub fn trials(server: &Server) -> Vec<Trial> {
    let mut trials = Vec::new();
    good(server, &mut trials);
    refused(server, &mut trials);
    around(server, &mut trials);
    trials
}

/// What differs from a handshake as a browser sends it, and why it is still one.
fn good(server: &Server, trials: &mut Vec<Trial>) {
    let changes: [(&str, &str, &str); 7] = [
        ("as a browser sends it", "", ""),
        (
            "Upgrade in other letters",
            "Upgrade: websocket",
            "Upgrade: WebSocket",
        ),
        (
            "Connection in other letters",
            "Connection: Upgrade",
            "connection: upgrade",
        ),
        (
            "Connection with more words",
            "Connection: Upgrade",
            "Connection: keep-alive, Upgrade",
        ),
        (
            "Connection in two lines",
            "Connection: Upgrade",
            "Connection: keep-alive\r\nConnection: Upgrade",
        ),
        (
            "an extension that nobody knows",
            "Upgrade: websocket",
            "Upgrade: websocket\r\nSec-WebSocket-Extensions: x-unknown; a=1",
        ),
        (
            "a subprotocol that nobody knows",
            "Upgrade: websocket",
            "Upgrade: websocket\r\nSec-WebSocket-Protocol: nobody.v1",
        ),
    ];
    for (what, from, to) in changes {
        for path in ["/ws", "/ws/flow", "/ws/echo"] {
            let request = changed(path, from, to);
            let what = format!("{what}: a socket at {path}");
            trials.push(server.trial(name("handshake", &what, ""), move |address| {
                let head = answer(address, &request);
                assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
                assert_eq!(
                    header(&head, "upgrade").map(str::to_ascii_lowercase).as_deref(),
                    Some("websocket")
                );
                assert_eq!(
                    header(&head, "connection")
                        .map(str::to_ascii_lowercase)
                        .as_deref(),
                    Some("upgrade")
                );
                assert_eq!(header(&head, "sec-websocket-accept"), Some(ACCEPT));
                assert_eq!(header(&head, "sec-websocket-protocol"), None);
                assert_eq!(header(&head, "sec-websocket-extensions"), None);
                assert_eq!(header(&head, "content-length"), None);
            }));
        }
    }
    trials.push(server.trial(
        name("handshake", "our subprotocol among others is chosen", ""),
        |address| {
            let to = "Upgrade: websocket\r\nSec-WebSocket-Protocol: other, autobench.v1, third";
            let head = answer(address, &changed("/ws", "Upgrade: websocket", to));
            assert_eq!(header(&head, "sec-websocket-protocol"), Some("autobench.v1"));
        },
    ));
}

/// What makes a handshake none, with the status that says so.
fn refused(server: &Server, trials: &mut Vec<Trial>) {
    let key = format!("Sec-WebSocket-Key: {KEY}\r\n");
    let version = "Sec-WebSocket-Version: 13\r\n";
    let changes: [(&str, &str, &str, u16); 22] = [
        ("no key", &key, "", 400),
        ("an empty key", KEY, "", 400),
        ("a key of 15 bytes", KEY, "dGhlIHNhbXBsZSBub25j", 400),
        ("a key of 17 bytes", KEY, "dGhlIHNhbXBsZSBub25jZXh4", 400),
        ("a key that is no base64", KEY, "dGhlIHNhbXBsZSBub25jZ!==", 400),
        ("a key without its padding", KEY, "dGhlIHNhbXBsZSBub25jZQ", 400),
        ("two keys", &key, &format!("{key}{key}"), 400),
        ("no version", version, "", 426),
        ("version 8", version, "Sec-WebSocket-Version: 8\r\n", 426),
        ("version 14", version, "Sec-WebSocket-Version: 14\r\n", 426),
        ("version 013", version, "Sec-WebSocket-Version: 013\r\n", 426),
        ("no Connection", "Connection: Upgrade\r\n", "", 426),
        (
            "Connection: keep-alive",
            "Connection: Upgrade",
            "Connection: keep-alive",
            426,
        ),
        (
            "Connection: Upgraded",
            "Connection: Upgrade",
            "Connection: Upgraded",
            426,
        ),
        ("no Upgrade", "Upgrade: websocket\r\n", "", 426),
        (
            "an Upgrade to something else",
            "Upgrade: websocket",
            "Upgrade: h2c",
            426,
        ),
        ("POST", "GET ", "POST ", 405),
        ("HEAD", "GET ", "HEAD ", 426),
        ("HTTP/1.0", "HTTP/1.1", "HTTP/1.0", 400),
        ("no Host", "Host: localhost\r\n", "", 400),
        ("a foreign Host", "Host: localhost", "Host: evil.example", 403),
        (
            "a foreign Origin",
            "Host: localhost",
            "Host: localhost\r\nOrigin: http://evil.example",
            403,
        ),
    ];
    for (what, from, to, status) in changes {
        for path in ["/ws", "/ws/echo"] {
            let request = changed(path, from, to);
            let what = format!("{what} at {path} is refused with {status}");
            trials.push(server.trial(name("handshake", &what, ""), move |address| {
                let head = answer(address, &request);
                assert!(
                    head.starts_with(&format!("HTTP/1.1 {status} "))
                        || head.starts_with(&format!("HTTP/1.0 {status} ")),
                    "{head}"
                );
                if status == 426 {
                    assert_eq!(header(&head, "sec-websocket-version"), Some("13"), "{head}");
                }
            }));
        }
    }
    for limit in ["16777217", "x", "-1", "18446744073709551616", ""] {
        let request = handshake(&format!("/ws/echo?limit={limit}"));
        let what = format!("an echo with limit {limit:?} is refused with 400");
        trials.push(server.trial(name("handshake", &what, ""), move |address| {
            let head = answer(address, &request);
            assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        }));
    }
    let plain = server.plain_address;
    trials.push(server.trial(
        name("handshake", "without the flag there is no echo", ""),
        move |_| {
            let head = answer(plain, &handshake("/ws/echo"));
            assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
            let head = answer(plain, &handshake("/ws"));
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        },
    ));
}

/// What lies before, in and behind a handshake.
fn around(server: &Server, trials: &mut Vec<Trial>) {
    let mut case = |what, case: fn(SocketAddr)| trials.push(server.trial(name("handshake", what, ""), case));
    case("a handshake that comes byte by byte is one", |address| {
        let mut peer = Peer::connect(address);
        for byte in handshake("/ws/echo").as_bytes() {
            peer.send(&[*byte]);
        }
        assert!(peer.head().starts_with("HTTP/1.1 101 "));
        peer.part();
    });
    case("frames in the same write as the handshake are read", |address| {
        let mut peer = Peer::connect(address);
        let frames = [frame(FIN | TEXT, b"early"), frame(FIN | PING, b"bird")].concat();
        peer.send(&[handshake("/ws/echo").as_bytes(), &frames].concat());
        assert!(peer.head().starts_with("HTTP/1.1 101 "));
        peer.expect(TEXT, b"early");
        peer.expect(PONG, b"bird");
        peer.part();
    });
    case(
        "half a frame in the same write as the handshake is read with its other half",
        |address| {
            let mut peer = Peer::connect(address);
            let frame = frame(FIN | TEXT, b"in two halves");
            let (first, second) = frame.split_at(5);
            peer.send(&[handshake("/ws/echo").as_bytes(), first].concat());
            assert!(peer.head().starts_with("HTTP/1.1 101 "));
            peer.send(second);
            peer.expect(TEXT, b"in two halves");
            peer.part();
        },
    );
    case(
        "a connection that asked something before may become a socket",
        |address| {
            let mut peer = Peer::connect(address);
            let question = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
            peer.send(&[question.as_bytes(), handshake("/ws/echo").as_bytes()].concat());
            let head = peer.head();
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            let length = header(&head, "content-length").unwrap().parse().unwrap();
            peer.skip(length);
            assert!(peer.head().starts_with("HTTP/1.1 101 "));
            peer.send(&frame(FIN | TEXT, b"x"));
            peer.expect(TEXT, b"x");
            peer.part();
        },
    );
    case(
        "a refused handshake leaves its connection good for another",
        |address| {
            let mut peer = Peer::connect(address);
            peer.send(
                changed(
                    "/ws/echo",
                    "Sec-WebSocket-Version: 13",
                    "Sec-WebSocket-Version: 8",
                )
                .as_bytes(),
            );
            let head = peer.head();
            assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
            peer.skip(header(&head, "content-length").unwrap().parse().unwrap());
            peer.send(handshake("/ws/echo").as_bytes());
            assert!(peer.head().starts_with("HTTP/1.1 101 "));
            peer.part();
        },
    );
}

fn changed(path: &str, from: &str, to: &str) -> String {
    let request = handshake(path);
    assert!(request.contains(from), "{from:?} is in no handshake");
    request.replacen(from, to, usize::from(!from.is_empty()))
}

fn answer(address: SocketAddr, request: &str) -> String {
    let mut peer = Peer::connect(address);
    peer.send(request.as_bytes());
    peer.head()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}
