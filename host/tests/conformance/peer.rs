//! A client of bytes: it sends what it is told, right or wrong, and reads frames strictly. It shares no code with the server.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use test_support::BrowserInflater;
pub use test_support::{client_frame as frame, client_frame_with as frame_with};

/// Nothing here takes this long.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Opcodes of the standard.
pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The bit that says that a frame is the last of its message.
pub const FIN: u8 = 0x80;

/// The key of the standard's example, with its answer.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A frame of the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.payload[..self.payload.len().min(60)];
        write!(
            f,
            "opcode {} with {} bytes {:?}",
            self.opcode,
            self.payload.len(),
            String::from_utf8_lossy(shown)
        )
    }
}

/// A client's close frame with a code and a reason.
pub fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes()[..], reason].concat())
}

/// A request for an upgrade, as a browser sends it.
pub fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

pub struct Peer {
    stream: TcpStream,
    /// Read, and not looked at.
    inbox: Vec<u8>,
    at: usize,
    /// Messages that the server sends of itself, and answers to messages, are of no interest.
    ignores_data: bool,
    /// What reads compressed messages, once they were agreed on: one for the connection's whole life, as in a browser.
    inflater: Option<BrowserInflater>,
}

impl Peer {
    /// A connection that has said nothing yet.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self::over(stream)
    }

    fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            inbox: Vec::new(),
            at: 0,
            ignores_data: false,
            inflater: None,
        }
    }

    /// An open socket.
    pub fn open(address: SocketAddr, path: &str) -> Self {
        let mut peer = Self::connect(address);
        peer.ignores_data = path == "/ws";
        peer.send(handshake(path).as_bytes());
        let head = peer.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        peer
    }

    /// A socket on which permessage-deflate was agreed on.
    pub fn open_deflated(address: SocketAddr, path: &str) -> Self {
        let offer =
            "Upgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
        let mut peer = Self::connect(address);
        let request = handshake(path).replacen("Upgrade: websocket", offer, 1);
        peer.send(request.as_bytes());
        let head = peer.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(
            head.contains("permessage-deflate") && head.contains("client_no_context_takeover"),
            "{head}"
        );
        peer.inflater = Some(BrowserInflater::default());
        peer
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The same for a server that may have closed before everything is there.
    pub fn send_anyway(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Ok(()) => {}
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
                "{error}"
            ),
        }
    }

    /// A second handle for a thread that writes while this one reads.
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    /// The same as a client that only sends.
    pub fn second(&self) -> Self {
        Self::over(self.writer())
    }

    pub fn hang_up(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// An answer's head, with the empty line.
    pub fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.take(1).expect("an answer")[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// An answer's body.
    pub fn skip(&mut self, count: usize) {
        self.take(count).expect("a body");
    }

    /// The next frame; none when the server has closed its side. Whatever a server must not send fails here.
    pub fn frame(&mut self) -> Option<Frame> {
        loop {
            let frame = self.any_frame()?;
            if !(self.ignores_data && frame.opcode == TEXT) {
                return Some(frame);
            }
        }
    }

    pub fn expect(&mut self, opcode: u8, payload: &[u8]) {
        let frame = self.frame().expect("a frame and not the end");
        let expected = Frame {
            opcode,
            payload: payload.to_vec(),
        };
        assert!(frame == expected, "expected {expected:?}, got {frame:?}");
    }

    /// A close frame with this code, and behind it the end.
    pub fn expect_close(&mut self, code: u16) {
        self.expect_close_of(&[code]);
    }

    /// The same with one of these codes.
    pub fn expect_close_of(&mut self, codes: &[u16]) {
        let frame = self.frame().expect("a close frame");
        assert_eq!(frame.opcode, CLOSE, "{frame:?}");
        let (got, reason) = frame.payload.split_first_chunk::<2>().expect("a code");
        let reason = std::str::from_utf8(reason).expect("a reason in UTF-8");
        let got = u16::from_be_bytes(*got);
        assert!(codes.contains(&got), "{got} and not {codes:?}: {reason}");
        assert_eq!(self.frame(), None, "a close frame is the last");
    }

    /// Says goodbye and hears the answer.
    pub fn part(&mut self) {
        self.send(&close(1000, b""));
        self.expect_close(1000);
    }

    fn any_frame(&mut self) -> Option<Frame> {
        let head = self.take(2)?;
        let (first, second) = (head[0], head[1]);
        let is_compressed = first & 0x40 != 0;
        assert_eq!(first & 0x30, 0, "a reserved bit without an extension");
        assert!(!is_compressed || first & 0x08 == 0, "a compressed control frame");
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let length = match second {
            126 => {
                let bytes = self.take(2).expect("a length");
                let length = u16::from_be_bytes(bytes.try_into().unwrap()) as usize;
                assert!(length > 125, "a length in too many bytes");
                length
            }
            127 => {
                let bytes = self.take(8).expect("a length");
                let length = u64::from_be_bytes(bytes.try_into().unwrap()) as usize;
                assert!(length > 65_535, "a length in too many bytes");
                length
            }
            n => n.into(),
        };
        let opcode = first & 0x0F;
        assert!(
            [TEXT, BINARY, CLOSE, PING, PONG].contains(&opcode),
            "opcode {opcode}"
        );
        assert_eq!(first & FIN, FIN, "this server sends messages in one piece");
        assert!(opcode < 8 || length < 126, "a long control frame");
        let mut payload = self.take(length).expect("a payload");
        if is_compressed {
            let inflater = self
                .inflater
                .as_mut()
                .expect("a reserved bit without an extension");
            payload = inflater.inflate(payload);
        }
        Some(Frame { opcode, payload })
    }

    /// So many bytes; none at the end of the stream, which must not lie within them.
    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut scratch = vec![0; 64 << 10];
        while self.inbox.len() - self.at < count {
            match self.stream.read(&mut scratch) {
                Ok(0) => {
                    assert_eq!(self.inbox.len(), self.at, "the stream ends within a frame");
                    return None;
                }
                Ok(read) => self.inbox.extend(&scratch[..read]),
                Err(error) => panic!("the server neither answers nor ends: {error}"),
            }
        }
        let taken = self.inbox[self.at..self.at + count].to_vec();
        self.at += count;
        if self.at == self.inbox.len() {
            self.inbox.clear();
            self.at = 0;
        }
        Some(taken)
    }
}
