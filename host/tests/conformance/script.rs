//! A case as data: what is sent, what has to come back, how it ends.

use std::net::SocketAddr;
use std::sync::Arc;

use libtest_mimic::Trial;

use super::peer::{self, Peer};
use super::server::{Server, name};

/// How the bytes are cut on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Everything in one write.
    Whole,
    /// A write for each frame.
    Frames,
    /// A write for each byte; of a long case, for a few.
    Bytes,
}

/// How a case ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The socket is still good: the client says goodbye and is answered.
    Good,
    /// The server closes with this code.
    Closed(u16),
}

#[derive(Debug, Clone)]
pub struct Script {
    group: &'static str,
    what: String,
    numbers: &'static str,
    frames: Vec<Vec<u8>>,
    answers: Vec<(u8, Vec<u8>)>,
    end: End,
}

impl Script {
    pub fn new(group: &'static str, what: impl Into<String>, numbers: &'static str) -> Self {
        Self {
            group,
            what: what.into(),
            numbers,
            frames: Vec::new(),
            answers: Vec::new(),
            end: End::Good,
        }
    }

    /// Sends a frame.
    pub fn sends(mut self, first: u8, payload: impl AsRef<[u8]>) -> Self {
        self.frames.push(peer::frame(first, payload.as_ref()));
        self
    }

    /// Sends bytes that are no frame as it should be.
    pub fn sends_bytes(mut self, bytes: Vec<u8>) -> Self {
        self.frames.push(bytes);
        self
    }

    /// A frame that has to come back, in its turn.
    pub fn gets(mut self, opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        self.answers.push((opcode, payload.as_ref().to_vec()));
        self
    }

    /// The server has to close with this code.
    pub fn closes_with(mut self, code: u16) -> Self {
        self.end = End::Closed(code);
        self
    }

    /// Whether messages come back in it. Only on `/ws/echo` they do.
    fn needs_echo(&self) -> bool {
        self.answers.iter().any(|(opcode, _)| *opcode < peer::CLOSE)
    }

    /// The tests of this case: whole, frame by frame and byte by byte on `/ws/echo`, and on `/ws` where no message has to come back.
    pub fn trials(self, server: &Server) -> Vec<Trial> {
        let script = Arc::new(self);
        let mut ways = vec![("/ws/echo", Cut::Whole, "")];
        if script.frames.len() > 1 {
            ways.push(("/ws/echo", Cut::Frames, ", frame by frame"));
        }
        ways.push(("/ws/echo", Cut::Bytes, ", byte by byte"));
        if !script.needs_echo() {
            ways.push(("/ws", Cut::Whole, ", on /ws"));
        }
        let trial = |(path, cut, how)| {
            let script = Arc::clone(&script);
            let what = format!("{}{how}", script.what);
            server.trial(name(script.group, &what, script.numbers), move |address| {
                script.run(address, path, cut);
            })
        };
        ways.into_iter().map(trial).collect()
    }

    fn run(&self, address: SocketAddr, path: &str, cut: Cut) {
        let mut peer = Peer::open(address, path);
        let bytes = self.frames.concat();
        let pieces: Vec<&[u8]> = match cut {
            Cut::Whole => vec![&bytes],
            Cut::Frames => self.frames.iter().map(Vec::as_slice).collect(),
            Cut::Bytes => bytes.chunks(bytes.len() / 4096 + 1).collect(),
        };
        for piece in pieces {
            match self.end {
                End::Good => peer.send(piece),
                End::Closed(_) => peer.send_anyway(piece),
            }
        }
        for (opcode, payload) in &self.answers {
            peer.expect(*opcode, payload);
        }
        match self.end {
            End::Good => peer.part(),
            End::Closed(code) => peer.expect_close(code),
        }
    }
}
