//! Counting frames without looking into them.

/// Longest header of an unmasked frame.
const HEADER_BYTES: usize = 10;

/// Follows the frames of one connection by their headers. A frame may be cut anywhere.
#[derive(Debug, Default)]
pub struct FrameCounter {
    /// A header that has not come as a whole yet.
    header: [u8; HEADER_BYTES],
    held: usize,
    /// What is still to come of the payload under way.
    left: u64,
    is_text: bool,
}

impl FrameCounter {
    /// Takes bytes in and gives how many text frames ended in them. `payload` hears the payload of text frames, piece by piece, and with
    /// `true` behind the last piece of each.
    pub fn take(&mut self, mut bytes: &[u8], mut payload: impl FnMut(&[u8], bool)) -> u64 {
        let mut ended = 0;
        loop {
            if self.left > 0 {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                let (part, rest) = bytes.split_at(here);
                bytes = rest;
                self.left -= here as u64;
                if self.is_text {
                    payload(part, self.left == 0);
                    ended += u64::from(self.left == 0);
                }
                if self.left > 0 {
                    return ended;
                }
            }
            if bytes.is_empty() {
                return ended;
            }
            match self.header(&mut bytes) {
                // An empty text frame ends with its header.
                Some(0) if self.is_text => {
                    payload(&[], true);
                    ended += 1;
                }
                Some(length) => self.left = length,
                None => return ended,
            }
        }
    }

    /// Takes a header, or as much of it as is there. Gives the length of the payload.
    fn header(&mut self, bytes: &mut &[u8]) -> Option<u64> {
        loop {
            let held = self.header.get(..self.held).unwrap_or_default();
            if let Some((length, is_text)) = read_header(held) {
                self.held = 0;
                self.is_text = is_text;
                return Some(length);
            }
            let (next, rest) = bytes.split_first()?;
            *bytes = rest;
            if let Some(place) = self.header.get_mut(self.held) {
                *place = *next;
                self.held += 1;
            }
        }
    }
}

/// The length of the payload and whether it is text; none while the header is not whole.
fn read_header(header: &[u8]) -> Option<(u64, bool)> {
    let [first, second, rest @ ..] = header else {
        return None;
    };
    let length = match second & 0x7f {
        126 => u64::from(u16::from_be_bytes(*rest.first_chunk()?)),
        127 => u64::from_be_bytes(*rest.first_chunk()?),
        short => u64::from(short),
    };
    Some((length, first & 0x0f == 1))
}

#[cfg(test)]
mod tests {
    use autobench_core::frame;

    use super::*;

    #[test]
    fn frames_are_counted_wherever_the_bytes_are_cut() {
        let texts = ["", "a", &"b".repeat(125), &"c".repeat(126), &"d".repeat(70_000)];
        let mut bytes = Vec::new();
        for text in texts {
            bytes.extend_from_slice(&frame::text(text.as_bytes()));
            bytes.extend_from_slice(&frame::ping(b"are you there"));
        }
        for step in [1, 2, 3, 7, 1000, bytes.len()] {
            let mut counter = FrameCounter::default();
            let (mut seen, mut now, mut count) = (Vec::new(), Vec::new(), 0);
            for piece in bytes.chunks(step) {
                count += counter.take(piece, |part, is_last| {
                    now.extend_from_slice(part);
                    if is_last {
                        seen.push(std::mem::take(&mut now));
                    }
                });
            }
            assert_eq!(count, texts.len() as u64, "in steps of {step}");
            assert_eq!(seen, texts.map(str::as_bytes), "in steps of {step}");
        }
    }
}
