//! Compressed messages (RFC 7692): agreed on at the handshake, on the way in each for itself and bounded before and after, on the way out as the
//! daemon likes, which one inflater for the whole connection has to read.

use libtest_mimic::Trial;
use test_support::compressed;

use super::peer::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, Peer, TEXT, close, frame};
use super::server::{Server, name};

/// The reserved bit that marks a compressed message.
const COMPRESSED: u8 = 0x40;

/// Frames, the answers to them, and the code of the close that the server has to send of itself, if any.
struct Case {
    what: String,
    numbers: &'static str,
    frames: Vec<Vec<u8>>,
    answers: Vec<(u8, Vec<u8>)>,
    code: Option<u16>,
}

pub fn trials(server: &Server) -> Vec<Trial> {
    let mut trials = Vec::new();
    for case in good().into_iter().chain(bad()) {
        let Case {
            what,
            numbers,
            frames,
            answers,
            code,
        } = case;
        trials.push(server.trial(name("deflate", &what, numbers), move |address| {
            let mut peer = Peer::open_deflated(address, "/ws/echo?limit=1000000");
            for frame in &frames {
                peer.send_anyway(frame);
            }
            for (opcode, payload) in &answers {
                peer.expect(*opcode, payload);
            }
            match code {
                None => peer.part(),
                Some(code) => peer.expect_close(code),
            }
        }));
    }
    trials
}

fn good() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |what: String, numbers, frames, answers| {
        cases.push(Case {
            what,
            numbers,
            frames,
            answers,
            code: None,
        });
    };
    // What compresses well, and what does not at all.
    let even = |length: usize| {
        b"watts "
            .iter()
            .copied()
            .cycle()
            .take(length)
            .collect::<Vec<u8>>()
    };
    let uneven = |length: usize| {
        let mut state = 1_u32;
        let step = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b' ' + (state >> 25) as u8 % 95
        };
        (0..length).map(step).collect::<Vec<u8>>()
    };
    for length in [
        0, 1, 16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072, 1_000_000,
    ] {
        for (opcode, kind) in [(TEXT, "text"), (BINARY, "binary message")] {
            for (payload, how) in [(even(length), "even"), (uneven(length), "uneven")] {
                let message = compressed(&payload, 6);
                case(
                    format!("a compressed {how} {kind} of {length} bytes comes back"),
                    "12, 13",
                    vec![frame(FIN | COMPRESSED | opcode, &message)],
                    vec![(opcode, payload)],
                );
            }
        }
    }
    let payload = even(5000);
    let message = compressed(&payload, 6);
    let (first, rest) = message.split_at(message.len() / 2);
    case(
        "a compressed text in pieces, with a ping in between, comes back".into(),
        "",
        vec![
            frame(COMPRESSED | TEXT, first),
            frame(FIN | PING, b"between"),
            frame(CONTINUATION, rest),
            frame(FIN | CONTINUATION, b""),
        ],
        vec![(PONG, b"between".to_vec()), (TEXT, payload.clone())],
    );
    case(
        "a text that is only stored comes back".into(),
        "",
        vec![frame(FIN | COMPRESSED | TEXT, &compressed(&payload, 0))],
        vec![(TEXT, payload.clone())],
    );
    case(
        "an uncompressed text comes back although compression was agreed on".into(),
        "",
        vec![frame(FIN | TEXT, b"as it is")],
        vec![(TEXT, b"as it is".to_vec())],
    );
    case(
        "compressed and uncompressed texts in turn come back".into(),
        "",
        vec![
            frame(FIN | COMPRESSED | TEXT, &message),
            frame(FIN | TEXT, b"as it is"),
            frame(FIN | COMPRESSED | TEXT, &message),
        ],
        vec![
            (TEXT, payload.clone()),
            (TEXT, b"as it is".to_vec()),
            (TEXT, payload),
        ],
    );
    cases
}

fn bad() -> Vec<Case> {
    let hello = compressed(b"hello", 6);
    let mut cases = Vec::new();
    let mut case = |what: &str, frames: Vec<Vec<u8>>, code| {
        cases.push(Case {
            what: format!("{what} is refused"),
            numbers: "",
            frames,
            answers: Vec::new(),
            code: Some(code),
        });
    };
    case(
        "the mark on a ping",
        vec![frame(FIN | COMPRESSED | PING, b"x")],
        1002,
    );
    case(
        "the mark on a pong",
        vec![frame(FIN | COMPRESSED | PONG, b"x")],
        1002,
    );
    case(
        "the mark on a close",
        vec![frame(FIN | COMPRESSED | CLOSE, &[3, 0xE8])],
        1002,
    );
    case(
        "the mark on a further piece",
        vec![
            frame(COMPRESSED | TEXT, &hello[..2]),
            frame(FIN | COMPRESSED | CONTINUATION, &hello[2..]),
        ],
        1002,
    );
    case(
        "the second reserved bit",
        vec![frame(FIN | 0x20 | TEXT, &hello)],
        1002,
    );
    case(
        "the third reserved bit",
        vec![frame(FIN | 0x10 | TEXT, &hello)],
        1002,
    );
    case(
        "what no inflater reads",
        vec![frame(FIN | COMPRESSED | TEXT, &[0xFF; 20])],
        1007,
    );
    case(
        "a compressed text that is no UTF-8",
        vec![frame(FIN | COMPRESSED | TEXT, &compressed(&[0xCE, 0xFF], 6))],
        1007,
    );
    let bomb = compressed(&vec![0; 100_000_000], 9);
    case(
        "a hundred megabytes in a hundred kilobytes",
        vec![frame(FIN | COMPRESSED | BINARY, &bomb)],
        1009,
    );
    case(
        "one byte over the limit behind its compression",
        vec![frame(
            FIN | COMPRESSED | BINARY,
            &compressed(&vec![0; 1_000_001], 9),
        )],
        1009,
    );
    // A close behind them is never looked at.
    for case in &mut cases {
        case.frames.push(close(1000, b""));
    }
    cases
}
