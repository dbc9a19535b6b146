//! WebSocket framing (RFC 6455) for the server's side, without a socket.
//!
//! [`FrameReader`] is given bytes as they arrive and hands out whole messages; between two calls it has consumed whole frames only, so
//! there is no moment at which dropping a future could lose half a header. [`text`] and its siblings build frames that are written as they
//! are: a frame is encoded once and its [`bytes::Bytes`] are shared by every client.
//!
//! Where permessage-deflate was agreed on, a message's first frame may carry the reserved bit that says that it is compressed
//! ([`FrameReader::with_deflate`], [`append_compressed`]); what is compressed, and with what before it, is the business of `deflate`.
//!
//! What is *not* here: sockets, timers, and the handshake.

mod close;
mod reader;
mod writer;

pub use close::{CloseCode, CloseReason};
pub use reader::{FrameError, FrameReader, Message};
pub use writer::{
    Framed, append, append_compressed, build_text, close, close_answer, ping, pong, split, text,
};

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// A further piece of a message.
    Continuation,
    /// A text, or its first piece.
    Text,
    /// Bytes, or their first piece.
    Binary,
    /// The last frame of a side.
    Close,
    /// Asks for a pong with the same bytes.
    Ping,
    /// Answers a ping, or says that its sender is alive.
    Pong,
}

/// Longest payload of a control frame.
pub const CONTROL_PAYLOAD_BYTES: usize = 125;

impl Opcode {
    /// The number on the wire.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    /// From the number on the wire; the reserved ones are none.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// Whether it is a close, a ping or a pong: short, whole, and allowed between the pieces of a message.
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

#[cfg(test)]
mod tests;
