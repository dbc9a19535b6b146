//! Messages as large as the limit lets them be, in one piece and in many, and one byte beyond.

use std::io::Write;
use std::net::SocketAddr;

use libtest_mimic::Trial;

use super::peer::{BINARY, CONTINUATION, FIN, Peer, TEXT, frame};
use super::server::{Server, name};

/// The limit with which the socket of these cases is opened.
const LIMIT: usize = 16 << 20;

pub fn trials(server: &Server) -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut case = |what: String, numbers: &str, case: Box<dyn FnOnce(SocketAddr) + Send>| {
        trials.push(server.trial(name("large", &what, numbers), case));
    };
    for (opcode, kind, number) in [(TEXT, "text", 1), (BINARY, "binary message", 2)] {
        for kib in [64, 256, 1024, 4096, 8192, 16_384] {
            case(
                format!("a {kind} of {kib} KiB comes back"),
                &format!("9.{number}"),
                Box::new(move |address| whole(address, opcode, kib << 10)),
            );
        }
        for piece in [
            64,
            256,
            1 << 10,
            4 << 10,
            16 << 10,
            64 << 10,
            256 << 10,
            1 << 20,
            4 << 20,
        ] {
            case(
                format!("a {kind} of 4 MiB in pieces of {piece} bytes comes back"),
                &format!("9.{}", number + 2),
                Box::new(move |address| in_pieces(address, opcode, 4 << 20, piece)),
            );
        }
        for write in [64, 128, 256, 512, 1024, 2048] {
            case(
                format!("a {kind} of 1 MiB in writes of {write} bytes comes back"),
                &format!("9.{}", number + 4),
                Box::new(move |address| in_writes(address, opcode, 1 << 20, write)),
            );
        }
        for length in [0, 16, 64, 256, 1024, 4096, 16_384, 65_536] {
            case(
                format!("a thousand times a {kind} of {length} bytes comes back, one by one"),
                &format!("9.{}", number + 6),
                Box::new(move |address| one_by_one(address, opcode, length)),
            );
        }
    }
    case(
        "two thousand messages in a flood all come back".into(),
        "",
        Box::new(flood),
    );
    case(
        "a message of the limit comes back, one byte more is refused".into(),
        "",
        Box::new(limit),
    );
    case(
        "pieces beyond the limit are refused at the piece that is too much".into(),
        "",
        Box::new(pieces_beyond),
    );
    case(
        "without a limit of its own, that of every client counts".into(),
        "",
        Box::new(default_limit),
    );
    trials
}

fn open(address: SocketAddr) -> Peer {
    Peer::open(address, &format!("/ws/echo?limit={LIMIT}"))
}

/// Letters, so that it may be a text, that differ with their place.
fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| b'a' + (at % 25) as u8).collect()
}

fn whole(address: SocketAddr, opcode: u8, length: usize) {
    let mut peer = open(address);
    let payload = payload(length);
    peer.send(&frame(FIN | opcode, &payload));
    peer.expect(opcode, &payload);
    peer.part();
}

fn in_pieces(address: SocketAddr, opcode: u8, length: usize, piece: usize) {
    let mut peer = open(address);
    let payload = payload(length);
    let mut bytes = Vec::new();
    let last = length / piece - 1;
    for (at, piece) in payload.chunks(piece).enumerate() {
        let first = if at == 0 { opcode } else { CONTINUATION } | if at == last { FIN } else { 0 };
        bytes.extend(frame(first, piece));
    }
    peer.send(&bytes);
    peer.expect(opcode, &payload);
    peer.part();
}

fn in_writes(address: SocketAddr, opcode: u8, length: usize, write: usize) {
    let mut peer = open(address);
    let payload = payload(length);
    for piece in frame(FIN | opcode, &payload).chunks(write) {
        peer.send(piece);
    }
    peer.expect(opcode, &payload);
    peer.part();
}

fn one_by_one(address: SocketAddr, opcode: u8, length: usize) {
    let mut peer = open(address);
    let payload = payload(length);
    let frame = frame(FIN | opcode, &payload);
    for _ in 0..1000 {
        peer.send(&frame);
        peer.expect(opcode, &payload);
    }
    peer.part();
}

/// More than any buffer on the way holds: the server has to stop reading, and go on.
fn flood(address: SocketAddr) {
    const MESSAGES: usize = 2000;
    let mut peer = open(address);
    let mut writer = peer.writer();
    let sending = std::thread::spawn(move || {
        for n in 0..MESSAGES {
            writer
                .write_all(&frame(FIN | BINARY, &vec![n as u8; n * 8]))
                .unwrap();
        }
    });
    for n in 0..MESSAGES {
        peer.expect(BINARY, &vec![n as u8; n * 8]);
    }
    sending.join().unwrap();
    peer.part();
}

fn limit(address: SocketAddr) {
    let mut peer = Peer::open(address, "/ws/echo?limit=1000");
    peer.send(&frame(FIN | BINARY, &[7; 1000]));
    peer.expect(BINARY, &[7; 1000]);
    peer.send(&frame(FIN | BINARY, &[7; 1001]));
    peer.expect_close(1009);
}

fn pieces_beyond(address: SocketAddr) {
    let mut peer = Peer::open(address, "/ws/echo?limit=1000");
    peer.send(&frame(TEXT, &[b'x'; 600]));
    peer.send(&frame(CONTINUATION, &[b'x'; 400]));
    peer.send(&frame(CONTINUATION, b"x"));
    peer.expect_close(1009);
}

fn default_limit(address: SocketAddr) {
    let mut peer = Peer::open(address, "/ws/echo");
    peer.send(&frame(FIN | TEXT, &[b'x'; 65_536]));
    peer.expect(TEXT, &[b'x'; 65_536]);
    peer.send(&frame(FIN | TEXT, &[b'x'; 65_537]));
    peer.expect_close(1009);
}
