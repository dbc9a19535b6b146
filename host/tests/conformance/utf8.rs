//! Texts are UTF-8 or refused with 1007, wherever the borders of frames and writes lie.

use std::net::SocketAddr;

use libtest_mimic::Trial;

use super::peer::{CONTINUATION, FIN, Peer, TEXT, frame};
use super::script::Script;
use super::server::{Server, name};

const GREEK: &[u8] = "κόσμε".as_bytes();

/// Sequences of bytes that are UTF-8, by what they are.
fn good() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (
            "letters of several languages",
            "Hello-µ@ßöäüàá-UTF-8!! 日本語 🔌".into(),
        ),
        ("greek", GREEK.into()),
        ("the first of one byte", vec![0x00]),
        ("the last of one byte", vec![0x7F]),
        ("the first of two bytes", vec![0xC2, 0x80]),
        ("the last of two bytes", vec![0xDF, 0xBF]),
        ("the first of three bytes", vec![0xE0, 0xA0, 0x80]),
        ("the last before the surrogates", vec![0xED, 0x9F, 0xBF]),
        ("the first behind the surrogates", vec![0xEE, 0x80, 0x80]),
        ("the replacement character", vec![0xEF, 0xBF, 0xBD]),
        (
            "U+FFFE, which is no character and yet UTF-8",
            vec![0xEF, 0xBF, 0xBE],
        ),
        (
            "U+FFFF, which is no character and yet UTF-8",
            vec![0xEF, 0xBF, 0xBF],
        ),
        ("the first of four bytes", vec![0xF0, 0x90, 0x80, 0x80]),
        ("U+1FFFF", vec![0xF0, 0x9F, 0xBF, 0xBF]),
        ("U+10FFFF, the last of all", vec![0xF4, 0x8F, 0xBF, 0xBF]),
    ]
}

/// Sequences of bytes that are not.
fn bad() -> Vec<(&'static str, Vec<u8>)> {
    let mut bad = vec![
        ("a continuation byte alone", vec![0x80]),
        ("another continuation byte alone", vec![0xBF]),
        ("two continuation bytes", vec![0x80, 0xBF]),
        ("all continuation bytes", (0x80..=0xBF).collect()),
        (
            "first bytes of two, each with a space",
            (0xC0..=0xDF).flat_map(|b| [b, b' ']).collect(),
        ),
        (
            "first bytes of three, each with a space",
            (0xE0..=0xEF).flat_map(|b| [b, b' ']).collect(),
        ),
        (
            "first bytes of four, each with a space",
            (0xF0..=0xF7).flat_map(|b| [b, b' ']).collect(),
        ),
        ("a sequence of two without its last byte", vec![0xC3]),
        ("a sequence of three without its last byte", vec![0xE0, 0xA0]),
        ("a sequence of four without its last byte", vec![0xF0, 0x90, 0x80]),
        ("a cut sequence and then a letter", vec![0xE2, 0x82, b'x']),
        ("the byte FE", vec![0xFE]),
        ("the byte FF", vec![0xFF]),
        ("a slash in two bytes", vec![0xC0, 0xAF]),
        ("a slash in three bytes", vec![0xE0, 0x80, 0xAF]),
        ("a slash in four bytes", vec![0xF0, 0x80, 0x80, 0xAF]),
        ("a zero in two bytes", vec![0xC0, 0x80]),
        ("U+7F in two bytes", vec![0xC1, 0xBF]),
        ("U+7FF in three bytes", vec![0xE0, 0x9F, 0xBF]),
        ("U+FFFF in four bytes", vec![0xF0, 0x8F, 0xBF, 0xBF]),
        ("a sequence of five", vec![0xF8, 0x88, 0x80, 0x80, 0x80]),
        ("a sequence of six", vec![0xFC, 0x84, 0x80, 0x80, 0x80, 0x80]),
        ("U+110000", vec![0xF4, 0x90, 0x80, 0x80]),
        ("a first byte F5", vec![0xF5, 0x80, 0x80, 0x80]),
        ("a high surrogate", vec![0xED, 0xA0, 0x80]),
        ("the last high surrogate", vec![0xED, 0xAF, 0xBF]),
        ("a low surrogate", vec![0xED, 0xB0, 0x80]),
        ("a pair of surrogates", vec![0xED, 0xA0, 0x80, 0xED, 0xB0, 0x80]),
    ];
    for (_, bytes) in &mut bad {
        // In good company, so that only this is wrong.
        *bytes = [GREEK, bytes].concat();
    }
    bad
}

pub fn trials(server: &Server) -> Vec<Trial> {
    let mut scripts = Vec::new();
    for (what, bytes) in good() {
        scripts.push(
            Script::new("utf8", format!("{what} comes back"), "6.2, 6.5-6.9, 6.22, 6.23")
                .sends(FIN | TEXT, &bytes)
                .gets(TEXT, &bytes),
        );
        let mut pieces = Script::new("utf8", format!("{what} in pieces of a byte comes back"), "6.2");
        for (at, byte) in bytes.iter().enumerate() {
            pieces = pieces.sends(if at == 0 { TEXT } else { CONTINUATION }, [*byte]);
        }
        scripts.push(pieces.sends(FIN | CONTINUATION, "").gets(TEXT, &bytes));
    }
    for (what, bytes) in bad() {
        scripts.push(
            Script::new("utf8", format!("{what} is refused"), "6.3, 6.10-6.21")
                .sends(FIN | TEXT, &bytes)
                .closes_with(1007),
        );
        let mut pieces = Script::new("utf8", format!("{what} in pieces of a byte is refused"), "6.3");
        for (at, byte) in bytes.iter().enumerate() {
            pieces = pieces.sends(if at == 0 { TEXT } else { CONTINUATION }, [*byte]);
        }
        scripts.push(pieces.sends(FIN | CONTINUATION, "").closes_with(1007));
    }
    scripts.push(
        Script::new("utf8", "a binary message may hold anything", "")
            .sends(FIN | super::peer::BINARY, [0xFF, 0xC0, 0x80])
            .gets(super::peer::BINARY, [0xFF, 0xC0, 0x80]),
    );
    let mut trials: Vec<Trial> = scripts
        .into_iter()
        .flat_map(|script| script.trials(server))
        .collect();
    let early = [
        (
            "a byte that cannot be is refused in its piece, with the rest still to come",
            &[0xCE, 0xBA, 0xFF][..],
        ),
        (
            "a surrogate is refused in its piece, with the rest still to come",
            &[0xED, 0xA0],
        ),
        (
            "a code point beyond the last is refused in its piece, with the rest still to come",
            &[0xF4, 0x90],
        ),
    ];
    for (what, bytes) in early {
        let case = move |address: SocketAddr| {
            let mut peer = Peer::open(address, "/ws/echo");
            peer.send(&frame(TEXT, bytes));
            peer.expect_close(1007);
        };
        trials.push(server.trial(name("utf8", what, "6.4"), case));
    }
    trials.push(server.trial(
        name(
            "utf8",
            "a character that three pieces share comes back, with a ping in between",
            "6.2.4",
        ),
        |address| {
            let mut peer = Peer::open(address, "/ws/echo");
            peer.send(&frame(TEXT, &[b'a', 0xF0, 0x9F]));
            peer.send(&frame(FIN | super::peer::PING, b"?"));
            peer.expect(super::peer::PONG, b"?");
            peer.send(&frame(CONTINUATION, &[0x94]));
            peer.send(&frame(FIN | CONTINUATION, &[0x8C, b'z']));
            peer.expect(TEXT, "a🔌z".as_bytes());
            peer.part();
        },
    ));
    trials
}
