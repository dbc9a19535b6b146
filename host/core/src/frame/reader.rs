//! Frames on their way in.

use super::close::may_travel;
use super::writer::COMPRESSED;
use super::{CONTROL_PAYLOAD_BYTES, CloseCode, CloseReason, Opcode};
use crate::deflate::{InflateError, inflate};

/// One whole message or control frame of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text, put together from its pieces.
    Text(String),
    /// Bytes, put together from their pieces.
    Binary(Vec<u8>),
    /// To be answered with the same bytes.
    Ping(Vec<u8>),
    /// The client is alive.
    Pong(Vec<u8>),
    /// The client's last frame; what follows it is ignored.
    Close(Option<CloseReason>),
}

/// Why a client's bytes are no messages. After one of these the reader gives nothing but the same error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A reserved bit that no extension gave a meaning.
    #[error("a reserved bit is set, and no extension was agreed on")]
    ReservedBits,
    /// An opcode that the standard has not given out.
    #[error("opcode {0:#x} is reserved")]
    ReservedOpcode(u8),
    /// A client's frame without a mask.
    #[error("a frame of a client has to be masked")]
    NotMasked,
    /// A length in more bytes than it needs, or beyond 63 bits.
    #[error("the length is not written in the shortest way")]
    BadLength,
    /// A control frame over 125 bytes.
    #[error("a control frame carries at most 125 bytes")]
    LongControl,
    /// A control frame in pieces.
    #[error("a control frame cannot come in pieces")]
    FragmentedControl,
    /// A further piece of nothing.
    #[error("a continuation without a beginning")]
    UnexpectedContinuation,
    /// A new message inside another.
    #[error("a new message began before the last one was whole")]
    ExpectedContinuation,
    /// A close frame of one byte.
    #[error("a close frame has no payload or at least two bytes")]
    BadClose,
    /// A close code that must not travel.
    #[error("{0} is no code for a close frame")]
    BadCloseCode(u16),
    /// A text that is no UTF-8.
    #[error("the text is not UTF-8")]
    BadText,
    /// A compressed message that no compressor made.
    #[error("the message cannot be decompressed")]
    BadDeflate,
    /// A message over the limit.
    #[error("a message is over the limit of {limit_bytes} bytes")]
    TooBig {
        /// The limit.
        limit_bytes: usize,
    },
}

impl FrameError {
    /// What to close with.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::TooBig { .. } => CloseCode::TooBig,
            Self::BadText | Self::BadDeflate => CloseCode::InvalidPayload,
            _ => CloseCode::Protocol,
        }
    }
}

/// Turns the bytes of one client into messages.
///
/// Give it bytes with [`push`](Self::push), then call [`next`](Self::next) until it says that it needs more. A frame whose header is already
/// wrong, or promises too much, is refused before its payload is waited for. At rest, with no frame begun, it holds no memory.
#[derive(Debug)]
pub struct FrameReader {
    /// Received and not yet consumed; begins with a frame's first byte.
    pending: Vec<u8>,
    /// How much of `pending` is consumed; cut off when the last whole frame is out, not frame by frame.
    consumed: usize,
    partial: Option<Partial>,
    limit_bytes: usize,
    /// Reserved bits that an agreed extension uses, in the first byte of a message's first frame.
    allowed_reserved: u8,
    state: State,
    /// Frames consumed since somebody asked.
    frames: u32,
}

/// The pieces of a message that is not whole yet.
#[derive(Debug)]
struct Partial {
    opcode: Opcode,
    is_compressed: bool,
    payload: Vec<u8>,
    /// Up to here a text is known to be UTF-8; a character may lie across a border.
    checked: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    Failed(FrameError),
}

/// A parsed header: what it says, and where its payload lies in `pending`.
#[derive(Debug, Clone, Copy)]
struct Header {
    is_final: bool,
    is_compressed: bool,
    opcode: Opcode,
    mask: [u8; 4],
    header_len: usize,
    payload_len: usize,
}

/// A buffer of this size is kept from message to message; a larger one is given back once it is empty.
const KEPT_BYTES: usize = 256;

impl FrameReader {
    /// A reader that takes messages, put together, up to `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            pending: Vec::new(),
            consumed: 0,
            partial: None,
            limit_bytes,
            allowed_reserved: 0,
            state: State::Open,
            frames: 0,
        }
    }

    /// Compressed messages are taken from now on: permessage-deflate was agreed on, and that the client compresses each message alone. The
    /// limit holds for a message before and after.
    pub fn with_deflate(mut self) -> Self {
        self.allowed_reserved = COMPRESSED;
        self
    }

    /// Takes bytes as they came from the socket. Nothing is looked at before [`next`](Self::next); after a close frame or an error bytes
    /// are dropped, so what is held is bounded by one message and what the caller pushes at once.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state == State::Open {
            self.pending.extend_from_slice(bytes);
        }
    }

    /// The next whole message, or none until more bytes came.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator ends with None, this one only pauses"
    )]
    pub fn next(&mut self) -> Result<Option<Message>, FrameError> {
        if let State::Failed(error) = self.state {
            return Err(error);
        }
        while self.state == State::Open {
            match self.step() {
                Ok(Step::Message(message)) => {
                    if matches!(message, Message::Close(_)) {
                        self.end(State::Closed);
                    }
                    return Ok(Some(message));
                }
                Ok(Step::Piece) => {}
                Ok(Step::NeedsMore) => break,
                Err(error) => {
                    self.end(State::Failed(error));
                    return Err(error);
                }
            }
        }
        self.tidy();
        Ok(None)
    }

    /// How many frames were consumed since the last call: messages, their pieces, pings and pongs alike.
    pub fn take_frames(&mut self) -> u32 {
        std::mem::take(&mut self.frames)
    }

    /// Bytes of memory that frames and messages begun so far hold.
    pub fn held_bytes(&self) -> usize {
        self.pending.capacity() + self.partial.as_ref().map_or(0, |p| p.payload.capacity())
    }

    fn step(&mut self) -> Result<Step, FrameError> {
        let rest = self.pending.get_mut(self.consumed..).unwrap_or_default();
        let Some(header) = Header::parse(rest, self.allowed_reserved)? else {
            return Ok(Step::NeedsMore);
        };
        check_order(&header, self.partial.as_ref())?;
        if !header.opcode.is_control() {
            let (before, is_compressed) = match &self.partial {
                Some(partial) => (partial.payload.len(), partial.is_compressed),
                None => (0, header.is_compressed),
            };
            let limit_bytes = match is_compressed {
                true => most_compressed(self.limit_bytes),
                false => self.limit_bytes,
            };
            if header.payload_len > limit_bytes.saturating_sub(before) {
                return Err(FrameError::TooBig {
                    limit_bytes: self.limit_bytes,
                });
            }
        }
        let end = header.header_len + header.payload_len;
        let Some(payload) = rest.get_mut(header.header_len..end) else {
            return Ok(Step::NeedsMore);
        };
        unmask(payload, header.mask);
        let step = match header.opcode {
            Opcode::Ping => Step::Message(Message::Ping(payload.to_vec())),
            Opcode::Pong => Step::Message(Message::Pong(payload.to_vec())),
            Opcode::Close => Step::Message(Message::Close(parse_close(payload)?)),
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                let mut partial = self.partial.take().unwrap_or(Partial {
                    opcode: header.opcode,
                    is_compressed: header.is_compressed,
                    payload: Vec::new(),
                    checked: 0,
                });
                partial.payload.extend_from_slice(payload);
                if partial.opcode == Opcode::Text && !partial.is_compressed {
                    partial.check_text(header.is_final)?;
                }
                if header.is_final {
                    Step::Message(partial.into_message(self.limit_bytes)?)
                } else {
                    self.partial = Some(partial);
                    Step::Piece
                }
            }
        };
        self.consumed += end;
        self.frames = self.frames.saturating_add(1);
        Ok(step)
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.pending = Vec::new();
        self.consumed = 0;
        self.partial = None;
    }

    /// Cuts off what is consumed, once per batch of frames, and gives back a buffer that has become too large for an idle client.
    fn tidy(&mut self) {
        self.pending.drain(..self.consumed.min(self.pending.len()));
        self.consumed = 0;
        if self.pending.is_empty() && self.pending.capacity() > KEPT_BYTES {
            self.pending = Vec::new();
        }
    }
}

enum Step {
    Message(Message),
    Piece,
    NeedsMore,
}

impl Header {
    /// Reads a header, if all of it is there. What is wrong with the first two bytes is said at once.
    fn parse(bytes: &[u8], allowed_reserved: u8) -> Result<Option<Self>, FrameError> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let bits = first & 0x0F;
        let allowed_reserved = match Opcode::from_bits(bits) {
            Some(Opcode::Text | Opcode::Binary) => allowed_reserved,
            _ => 0,
        };
        if first & 0x70 & !allowed_reserved != 0 {
            return Err(FrameError::ReservedBits);
        }
        let opcode = Opcode::from_bits(bits).ok_or(FrameError::ReservedOpcode(bits))?;
        let is_final = first & 0x80 != 0;
        if second & 0x80 == 0 {
            return Err(FrameError::NotMasked);
        }
        let short = usize::from(second & 0x7F);
        if opcode.is_control() {
            if !is_final {
                return Err(FrameError::FragmentedControl);
            }
            if short > CONTROL_PAYLOAD_BYTES {
                return Err(FrameError::LongControl);
            }
        }
        let (length, length_len, rest) = match short {
            126 => match rest.split_first_chunk::<2>() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), 2, rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk::<8>() {
                Some((length, rest)) => (u64::from_be_bytes(*length), 8, rest),
                None => return Ok(None),
            },
            _ => (short as u64, 0, rest),
        };
        let shortest = match length_len {
            2 => length > 125,
            8 => length > 0xFFFF && length >> 63 == 0,
            _ => true,
        };
        if !shortest {
            return Err(FrameError::BadLength);
        }
        let Some((mask, _)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        Ok(Some(Self {
            is_final,
            is_compressed: first & COMPRESSED != 0,
            opcode,
            mask: *mask,
            header_len: 2 + length_len + 4,
            // Beyond the address space it is over every limit anyway; the sum with the header must not wrap.
            payload_len: usize::try_from(length).unwrap_or(usize::MAX).min(usize::MAX / 2),
        }))
    }
}

impl Partial {
    /// A wrong byte is found in the piece that brings it; only a character that a border cuts waits for the next.
    fn check_text(&mut self, is_final: bool) -> Result<(), FrameError> {
        let unchecked = self.payload.get(self.checked..).unwrap_or_default();
        match std::str::from_utf8(unchecked) {
            Ok(_) => self.checked = self.payload.len(),
            Err(error) if error.error_len().is_none() && !is_final => self.checked += error.valid_up_to(),
            Err(_) => return Err(FrameError::BadText),
        }
        Ok(())
    }

    fn into_message(self, limit_bytes: usize) -> Result<Message, FrameError> {
        let payload = match self.is_compressed {
            true => inflate(&self.payload, limit_bytes).map_err(|error| match error {
                InflateError::Corrupt => FrameError::BadDeflate,
                InflateError::TooBig => FrameError::TooBig { limit_bytes },
            })?,
            false => self.payload,
        };
        Ok(match self.opcode {
            Opcode::Text => Message::Text(String::from_utf8(payload).map_err(|_| FrameError::BadText)?),
            _ => Message::Binary(payload),
        })
    }
}

/// What a message within the limit may have on the wire: whatever cannot be compressed grows, by an eighth with the worst codes.
const fn most_compressed(limit_bytes: usize) -> usize {
    limit_bytes.saturating_add(limit_bytes / 8).saturating_add(64)
}

fn check_order(header: &Header, partial: Option<&Partial>) -> Result<(), FrameError> {
    match (header.opcode, partial) {
        (Opcode::Continuation, None) => Err(FrameError::UnexpectedContinuation),
        (Opcode::Text | Opcode::Binary, Some(_)) => Err(FrameError::ExpectedContinuation),
        _ => Ok(()),
    }
}

fn parse_close(payload: &[u8]) -> Result<Option<CloseReason>, FrameError> {
    if payload.is_empty() {
        return Ok(None);
    }
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return Err(FrameError::BadClose);
    };
    let code = u16::from_be_bytes(*code);
    if !may_travel(code) {
        return Err(FrameError::BadCloseCode(code));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| FrameError::BadText)?;
    Ok(Some(CloseReason {
        code,
        reason: reason.to_owned(),
    }))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Ok(eight) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(eight) ^ wide).to_ne_bytes());
        }
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}
