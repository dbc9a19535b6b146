//! Frames on their way out: unmasked, whole, built once. And back again, where one that was built is to be compressed.

use bytes::Bytes;

use super::{CONTROL_PAYLOAD_BYTES, CloseCode, Opcode};

/// Longest header of an unmasked frame: two bytes, and eight of length.
const HEADER_BYTES: usize = 10;

/// The reserved bit of a message's first frame that says that the message is compressed.
pub(super) const COMPRESSED: u8 = 0x40;

/// A text frame around a payload that is already there.
pub fn text(payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(HEADER_BYTES + payload.len());
    append(&mut out, Opcode::Text, payload);
    out.into()
}

/// A text frame around what `write` puts into the buffer. The payload is written once, behind room for the longest header, so that a
/// document of a megabyte is not copied for the sake of ten bytes. `write` must only append.
pub fn build_text<E>(
    capacity_bytes: usize,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<Bytes, E> {
    let mut out = Vec::with_capacity(HEADER_BYTES + capacity_bytes);
    out.resize(HEADER_BYTES, 0);
    write(&mut out)?;
    let (header, header_len) = header(Opcode::Text, out.len().saturating_sub(HEADER_BYTES));
    let start = HEADER_BYTES - header_len;
    if let (Some(room), Some(header)) = (out.get_mut(start..HEADER_BYTES), header.get(..header_len)) {
        room.copy_from_slice(header);
    }
    Ok(Bytes::from(out).slice(start..))
}

/// Appends one whole frame to a buffer: a segment may be several.
pub fn append(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let (header, header_len) = header(opcode, payload.len());
    out.extend(header.iter().take(header_len));
    out.extend_from_slice(payload);
}

/// Appends one whole frame whose payload was compressed (RFC 7692): the first reserved bit says so.
pub fn append_compressed(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let start = out.len();
    append(out, opcode, payload);
    if let Some(first) = out.get_mut(start) {
        *first |= COMPRESSED;
    }
}

/// The frames of a segment that was built here.
pub fn split(segment: &[u8]) -> impl Iterator<Item = Framed<'_>> {
    let mut rest = segment;
    std::iter::from_fn(move || {
        let frame = Framed::first_of(rest)?;
        rest = rest.get(frame.whole.len()..).unwrap_or_default();
        Some(frame)
    })
}

/// A frame that was built here, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framed<'f> {
    /// Header and payload.
    pub whole: &'f [u8],
    payload: &'f [u8],
}

impl<'f> Framed<'f> {
    /// What of it compression may replace: the payload of a whole message that is not compressed yet.
    pub fn compressible(&self) -> Option<(Opcode, &'f [u8])> {
        let opcode = Opcode::from_bits(self.whole.first()?.checked_sub(0x80)?)?;
        matches!(opcode, Opcode::Text | Opcode::Binary).then_some((opcode, self.payload))
    }

    /// None at the end. What is no frame of ours stays together, so that no byte is ever lost.
    fn first_of(bytes: &'f [u8]) -> Option<Self> {
        let (&[_, short], rest) = bytes.split_first_chunk::<2>()?;
        let (length, header_len) = match (short, rest) {
            (126, &[high, low, ..]) => (u64::from(u16::from_be_bytes([high, low])), 4),
            (127, &[a, b, c, d, e, f, g, h, ..]) => {
                (u64::from_be_bytes([a, b, c, d, e, f, g, h]), HEADER_BYTES)
            }
            _ => (u64::from(short), 2),
        };
        let split = usize::try_from(length)
            .ok()
            .and_then(|length| bytes.split_at_checked(header_len + length))
            .map_or(bytes, |(whole, _)| whole);
        Some(Self {
            whole: split,
            payload: split.get(header_len..).unwrap_or_default(),
        })
    }
}

/// A ping. Bytes beyond what a control frame may carry are left out.
pub fn ping(payload: &[u8]) -> Bytes {
    control(Opcode::Ping, payload)
}

/// The answer to a ping.
pub fn pong(payload: &[u8]) -> Bytes {
    control(Opcode::Pong, payload)
}

/// A close frame. The reason is cut, at a character, to what fits.
pub fn close(code: CloseCode, reason: &str) -> Bytes {
    let mut payload = Vec::with_capacity(CONTROL_PAYLOAD_BYTES);
    payload.extend(code.number().to_be_bytes());
    for c in reason.chars() {
        if payload.len() + c.len_utf8() > CONTROL_PAYLOAD_BYTES {
            break;
        }
        payload.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    control(Opcode::Close, &payload)
}

/// The answer to a client's close frame: its own code, as the standard has it, or 1000 if it named none.
pub fn close_answer(code: Option<u16>) -> Bytes {
    let code = code.unwrap_or(CloseCode::Normal.number());
    control(Opcode::Close, &code.to_be_bytes())
}

fn control(opcode: Opcode, payload: &[u8]) -> Bytes {
    let payload = payload.get(..CONTROL_PAYLOAD_BYTES).unwrap_or(payload);
    let mut out = Vec::with_capacity(2 + payload.len());
    append(&mut out, opcode, payload);
    out.into()
}

fn header(opcode: Opcode, payload_len: usize) -> ([u8; HEADER_BYTES], usize) {
    let first = 0x80 | opcode.bits();
    let mut header = [0; HEADER_BYTES];
    let length = payload_len as u64;
    let used = match payload_len {
        0..126 => {
            header = [first, payload_len as u8, 0, 0, 0, 0, 0, 0, 0, 0];
            2
        }
        126..65536 => {
            let [high, low] = (payload_len as u16).to_be_bytes();
            header = [first, 126, high, low, 0, 0, 0, 0, 0, 0];
            4
        }
        _ => {
            let [a, b, c, d, e, f, g, h] = length.to_be_bytes();
            header.copy_from_slice(&[first, 127, a, b, c, d, e, f, g, h]);
            HEADER_BYTES
        }
    };
    (header, used)
}
