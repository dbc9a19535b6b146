//! Frames (RFC 6455 section 5.2) from a client's side of the line.

/// A frame of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The first byte: whether it is the last of its message, the reserved bits, the opcode.
    pub first: u8,
    /// What it carries, as it came.
    pub payload: Vec<u8>,
}

/// A client's frame, masked. The mask differs from length to length.
pub fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = (payload.len() as u32).wrapping_mul(2_654_435_761) ^ 0x37FA_213D;
    client_frame_with(first, payload, Some(mask.to_be_bytes()))
}

/// A client's frame with this mask, or, as no client may send it, with none.
pub fn client_frame_with(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 14);
    out.push(first);
    let has_mask = u8::from(mask.is_some()) << 7;
    match payload.len() {
        n @ 0..126 => out.push(has_mask | n as u8),
        n @ 126..65536 => {
            out.push(has_mask | 126);
            out.extend((n as u16).to_be_bytes());
        }
        n => {
            out.push(has_mask | 127);
            out.extend((n as u64).to_be_bytes());
        }
    }
    let mask = match mask {
        Some(mask) => {
            out.extend(mask);
            mask
        }
        None => [0; 4],
    };
    out.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    out
}

/// Takes the server's next frame off, if all of it is there.
pub fn take_frame(inbox: &mut Vec<u8>) -> Option<Frame> {
    let (header, length) = match *inbox.get(1)? {
        126 => (4, u16::from_be_bytes(inbox.get(2..4)?.try_into().ok()?).into()),
        127 => (10, u64::from_be_bytes(inbox.get(2..10)?.try_into().ok()?)),
        short => {
            assert!(short < 126, "a server does not mask");
            (2, u64::from(short))
        }
    };
    let end = header + usize::try_from(length).expect("a length");
    let payload = inbox.get(header..end)?.to_vec();
    let first = inbox[0];
    inbox.drain(..end);
    Some(Frame { first, payload })
}

/// What a server's frame carries.
pub fn payload(frame: &[u8]) -> Vec<u8> {
    let mut inbox = frame.to_vec();
    take_frame(&mut inbox).expect("a whole frame").payload
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_without_a_mask_is_taken_as_it_was_written() {
        // 123 is the number of a brace: a length is not to be taken for what the frame carries.
        for length in [0, 1, 123, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..length).map(|n: u32| n as u8).collect();
            let mut inbox = client_frame_with(0x81, &payload, None);
            let last = inbox.pop();
            let cut = take_frame(&mut inbox);
            inbox.extend(last);
            if length > 0 {
                assert_eq!(cut, None, "{length} bytes, and one is missing");
            }
            inbox.extend([0x88, 0]);
            let first = 0x81;
            assert_eq!(take_frame(&mut inbox), Some(Frame { first, payload }));
            assert_eq!(inbox, [0x88, 0]);
        }
    }
}
