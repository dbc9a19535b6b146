//! What tungstenite says of a stream: the other implementation by which ours is judged.

use std::io::{self, Read, Write};

use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::{self, Role, WebSocket, WebSocketConfig};

/// One whole message or control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame, with code and reason if it has them.
    Close(Option<(u16, String)>),
}

/// A reader that takes pieces, one after another.
#[derive(Debug)]
pub struct TungsteniteReader {
    socket: WebSocket<Pipe>,
    /// What it has read.
    pub messages: Vec<Message>,
    /// Why it reads no more, if it was not a close frame.
    pub refused: Option<Error>,
    is_over: bool,
}

impl TungsteniteReader {
    /// The daemon's side of a connection: it reads what clients send.
    pub fn of_clients(limit_bytes: usize) -> Self {
        Self::new(Role::Server, limit_bytes)
    }

    /// A client's side: it reads what the daemon sends.
    pub fn of_the_daemon(limit_bytes: usize) -> Self {
        Self::new(Role::Client, limit_bytes)
    }

    fn new(role: Role, limit_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(4096)
            .max_message_size(Some(limit_bytes))
            .max_frame_size(Some(limit_bytes));
        Self {
            socket: WebSocket::from_raw_socket(Pipe::default(), role, Some(config)),
            messages: Vec::new(),
            refused: None,
            is_over: false,
        }
    }

    /// Whether it reads no more: it has refused the stream, or was told goodbye.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The code with which a stream is to be closed that it has refused.
    pub fn refusal_code(&self) -> Option<u16> {
        self.refused.as_ref().map(|error| match error {
            Error::Capacity(_) => 1009,
            Error::Utf8(_) => 1007,
            _ => 1002,
        })
    }

    /// Reads on.
    pub fn push(&mut self, piece: &[u8]) {
        let pipe = self.socket.get_mut();
        pipe.bytes.drain(..pipe.at);
        pipe.at = 0;
        pipe.bytes.extend_from_slice(piece);
        while !self.is_over {
            match self.socket.read() {
                Ok(message) => self.take(message),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(Error::ConnectionClosed) => self.is_over = true,
                Err(error) => self.refuse(error),
            }
        }
    }

    fn refuse(&mut self, error: Error) {
        self.refused = Some(error);
        self.is_over = true;
    }

    fn take(&mut self, message: protocol::Message) {
        use protocol::Message as Theirs;
        self.messages.push(match message {
            Theirs::Text(text) => Message::Text(text.to_string()),
            Theirs::Binary(bytes) => Message::Binary(bytes.into()),
            Theirs::Ping(bytes) => Message::Ping(bytes.into()),
            Theirs::Pong(bytes) => Message::Pong(bytes.into()),
            Theirs::Close(None) => Message::Close(None),
            // The way in which it says that it refuses a code.
            Theirs::Close(Some(close)) if close.reason.as_str() == "Protocol violation" => {
                return self.refuse(Error::Protocol(ProtocolError::InvalidCloseSequence));
            }
            Theirs::Close(Some(close)) => Message::Close(Some((close.code.into(), close.reason.to_string()))),
            Theirs::Frame(_) => unreachable!("reading never gives a bare frame"),
        });
    }
}

/// A socket that gives what it was given, and says that more may come.
#[derive(Debug, Default)]
struct Pipe {
    bytes: Vec<u8>,
    at: usize,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
