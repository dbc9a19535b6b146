//! The closing handshake: codes, reasons, and what lies around them.

use std::net::SocketAddr;

use libtest_mimic::Trial;

use super::peer::{BINARY, CLOSE, CONTINUATION, FIN, PING, Peer, TEXT, close, frame};
use super::script::Script;
use super::server::{Server, name};

pub fn trials(server: &Server) -> Vec<Trial> {
    let mut scripts = Vec::new();
    let script = |what: String, numbers| Script::new("close", what, numbers);
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999_u16,
    ] {
        let what = format!("code {code} is answered with itself");
        scripts.push(
            script(what, "7.7")
                .sends(FIN | CLOSE, code.to_be_bytes())
                .closes_with(code),
        );
    }
    for code in [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535_u16,
    ] {
        let what = format!("code {code} is refused");
        scripts.push(
            script(what, "7.9, 7.13.1")
                .sends(FIN | CLOSE, code.to_be_bytes())
                .closes_with(1002),
        );
    }
    scripts.push(
        script("code 65536 in four bytes is refused".into(), "7.13.2")
            .sends(FIN | CLOSE, 65_536_u32.to_be_bytes())
            .closes_with(1002),
    );
    scripts.push(
        script("a close without a code is answered".into(), "7.3.1")
            .sends(FIN | CLOSE, "")
            .closes_with(1000),
    );
    scripts.push(
        script("a close of one byte is refused".into(), "7.3.2")
            .sends(FIN | CLOSE, [3])
            .closes_with(1002),
    );
    for (length, numbers) in [(0, "7.3.3"), (5, "7.3.4"), (123, "7.3.5")] {
        let what = format!("a reason of {length} bytes is taken");
        scripts.push(
            script(what, numbers)
                .sends_bytes(close(1000, &vec![b'*'; length]))
                .closes_with(1000),
        );
    }
    scripts.push(
        script("a close of 126 bytes is refused".into(), "7.3.6")
            .sends_bytes(close(1000, &[b'*'; 124]))
            .closes_with(1002),
    );
    scripts.push(
        script("a reason that is no UTF-8 is refused".into(), "7.5.1")
            .sends_bytes(close(1000, &[0xCE, 0xBA, 0xED, 0xA0, 0x80, b'x']))
            .closes_with(1007),
    );
    scripts.push(
        script("a reason that ends within a character is refused".into(), "")
            .sends_bytes(close(1000, &[0xE2, 0x82]))
            .closes_with(1007),
    );
    scripts.push(
        script("a message and then a close: both are answered".into(), "7.1.1")
            .sends(FIN | TEXT, "last words")
            .sends_bytes(close(1000, b""))
            .gets(TEXT, "last words")
            .closes_with(1000),
    );
    scripts.push(
        script("of two closes the first is answered".into(), "7.1.2")
            .sends_bytes(close(1000, b""))
            .sends_bytes(close(1001, b""))
            .closes_with(1000),
    );
    scripts.push(
        script("a ping behind a close is not answered".into(), "7.1.3")
            .sends_bytes(close(1000, b""))
            .sends(FIN | PING, "late")
            .closes_with(1000),
    );
    scripts.push(
        script("a text behind a close does not come back".into(), "7.1.4")
            .sends_bytes(close(1000, b""))
            .sends(FIN | TEXT, "late")
            .closes_with(1000),
    );
    scripts.push(
        script("a message that a close cuts does not come back".into(), "7.1.5")
            .sends(TEXT, "frag")
            .sends_bytes(close(1000, b""))
            .sends(FIN | CONTINUATION, "ment")
            .closes_with(1000),
    );
    scripts.push(
        script(
            "a large message behind a close does not come back".into(),
            "7.1.6",
        )
        .sends_bytes(close(1000, b""))
        .sends(FIN | BINARY, vec![0; 60_000])
        .closes_with(1000),
    );
    scripts.push(
        script("garbage behind a close is not looked at".into(), "")
            .sends_bytes(close(1000, b""))
            .sends_bytes(vec![0xFF; 100])
            .closes_with(1000),
    );
    let mut trials: Vec<Trial> = scripts
        .into_iter()
        .flat_map(|script| script.trials(server))
        .collect();
    let mut case = |what, case: fn(SocketAddr)| trials.push(server.trial(name("close", what, ""), case));
    case(
        "a client that hangs up behind its close reads the answer",
        |address| {
            let mut peer = Peer::open(address, "/ws/echo");
            peer.send(&close(3000, b"done"));
            peer.hang_up();
            peer.expect_close(3000);
        },
    );
    case(
        "a client that hangs up without a close gets what it is owed and the end",
        |address| {
            let mut peer = Peer::open(address, "/ws/echo");
            peer.send(&[frame(FIN | TEXT, b"one"), frame(FIN | TEXT, b"two")].concat());
            peer.hang_up();
            peer.expect(TEXT, b"one");
            peer.expect(TEXT, b"two");
            assert_eq!(peer.frame(), None);
        },
    );
    case(
        "a client that goes on sending behind a refusal still reads why",
        |address| {
            let mut peer = Peer::open(address, "/ws/echo");
            peer.send(&frame(FIN | 3, b""));
            for _ in 0..50 {
                peer.send_anyway(&frame(FIN | BINARY, &[0; 4096]));
            }
            peer.expect_close(1002);
        },
    );
    trials
}
