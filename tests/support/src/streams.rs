//! Streams of frames that nobody would write by hand: valid ones in random pieces, with control frames in between, damaged, and cut at random
//! borders.

use crate::compression::{compressed, finished, mark_compressed};
use crate::frames::client_frame_with;
use crate::random::Random;

/// What was agreed on beside the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// Nothing.
    None,
    /// permessage-deflate: half of the messages are compressed, and some of those badly.
    Deflate,
}

/// A stream before it is cut: pieces that are mostly frames, and the limit of whoever reads them.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The frames.
    pub frames: Vec<Vec<u8>>,
    /// What a message may have.
    pub limit_bytes: usize,
    /// What the borders follow from.
    pub borders_seed: u64,
}

impl Stream {
    /// The stream of a seed.
    pub fn generate(seed: u64, extension: Extension) -> Self {
        let mut random = Random::new(seed);
        let limit_bytes = random.pick(&[200, 1000, 70_000, 200_000]);
        let mut frames = Vec::new();
        for _ in 0..=random.below(6) {
            match random.below(8) {
                0 => frames.push(control(&mut random)),
                1 if random.one_in(3) => frames.push(close(&mut random)),
                _ => message(&mut random, limit_bytes, extension, &mut frames),
            }
        }
        // Half of all streams stay as they are.
        if random.one_in(2) {
            for _ in 0..=random.below(2) {
                damage(&mut random, &mut frames);
            }
        }
        Self {
            frames,
            limit_bytes,
            borders_seed: random.next(),
        }
    }

    /// The stream in the pieces in which it comes.
    pub fn pieces(&self) -> Vec<Vec<u8>> {
        let bytes = self.frames.concat();
        let mut random = Random::new(self.borders_seed);
        let longest = match random.below(4) {
            0 => return vec![bytes],
            // A byte at a time where that is bearable.
            1 => bytes.len() / 2000 + 1,
            2 => 20 + bytes.len() / 500,
            _ => bytes.len() / 3 + 1,
        };
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((1 + random.below(longest)).min(rest.len()));
            pieces.push(piece.to_vec());
            rest = behind;
        }
        pieces
    }

    /// Takes away the frames that a finding does not need.
    #[must_use]
    pub fn shortest(&self, is_finding: impl Fn(&Self) -> bool) -> Self {
        let mut shortest = self.clone();
        let mut at = 0;
        while at < shortest.frames.len() {
            let mut shorter = shortest.clone();
            shorter.frames.remove(at);
            if is_finding(&shorter) {
                shortest = shorter;
            } else {
                at += 1;
            }
        }
        shortest
    }
}

fn masked(random: &mut Random, first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = (random.next() as u32).to_be_bytes();
    client_frame_with(first, payload, Some(mask))
}

/// A length of a message, often near a border of the format or of the limit.
pub fn length(random: &mut Random, limit_bytes: usize) -> usize {
    match random.below(10) {
        0 => random.pick(&[0, 1, 125, 126, 127, 128]),
        1 if random.one_in(4) => random.pick(&[65_535, 65_536, limit_bytes, limit_bytes + 1]),
        2 => random.below(2000),
        _ => random.below(60),
    }
}

/// Characters of every width, and near every border of UTF-8.
pub fn text(random: &mut Random, count: usize) -> Vec<u8> {
    let mut out = String::new();
    while out.len() < count {
        out.push(match random.below(6) {
            0 => random.pick(&[
                '\0', '\u{7F}', '\u{80}', '\u{7FF}', '\u{800}', '\u{D7FF}', '\u{E000}',
            ]),
            1 => random.pick(&['\u{FFFD}', '\u{FFFF}', '\u{10000}', '\u{10FFFF}', '🔌', 'é']),
            2 => char::from_u32(random.below(0x11_0000) as u32).unwrap_or('x'),
            _ => char::from(b'a' + random.below(26) as u8),
        });
    }
    out.into_bytes()
}

fn control(random: &mut Random) -> Vec<u8> {
    let count = random.pick(&[0, 1, 5, 60, 124, 125]);
    let payload = random.bytes(count);
    let first = random.pick(&[0x89, 0x8A]);
    masked(random, first, &payload)
}

fn close(random: &mut Random) -> Vec<u8> {
    let code = match random.below(3) {
        0 => random.pick(&[
            0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 3000, 4999, 5000, 65_535,
        ]),
        1 => random.next() as u16,
        _ => random.pick(&[1000, 1001, 1003, 1007, 1011, 3500, 4401]),
    };
    let count = random.below(40);
    let mut payload = [&code.to_be_bytes()[..], &text(random, count)].concat();
    match random.below(6) {
        0 => payload.truncate(random.below(2)),
        1 => payload.push(random.next() as u8),
        _ => {}
    }
    masked(random, 0x88, &payload)
}

/// A message in random pieces, with control frames in between.
fn message(random: &mut Random, limit_bytes: usize, extension: Extension, frames: &mut Vec<Vec<u8>>) {
    let count = length(random, limit_bytes);
    let is_text = !random.one_in(3);
    let mut payload = if is_text {
        text(random, count)
    } else {
        random.bytes(count)
    };
    if is_text && random.one_in(12) && !payload.is_empty() {
        let at = random.below(payload.len());
        payload[at] = random.pick(&[0x80, 0xBF, 0xC0, 0xC1, 0xE0, 0xED, 0xF0, 0xF4, 0xF5, 0xFF]);
    }
    let mut first = if is_text { 0x01 } else { 0x02 };
    if extension == Extension::Deflate && random.one_in(2) {
        payload = deflated(random, limit_bytes, payload);
        first = mark_compressed(first);
    }
    let mut rest = &payload[..];
    for _ in 0..random.pick(&[0, 0, 0, 1, 2, 5]) {
        let (piece, behind) = rest.split_at(random.below(rest.len() + 1));
        frames.push(masked(random, first, piece));
        rest = behind;
        first = 0x00;
        if random.one_in(3) {
            frames.push(control(random));
        }
    }
    frames.push(masked(random, 0x80 | first, rest));
}

/// A message compressed, now and then so that it cannot be read or says more than it may.
fn deflated(random: &mut Random, limit_bytes: usize, payload: Vec<u8>) -> Vec<u8> {
    // What compresses well makes blocks with codes of their own, which noise and short texts never do.
    let payload = match random.below(4) {
        0 => payload.repeat(random.below(limit_bytes / payload.len().max(1) + 2).min(400)),
        _ => payload,
    };
    let level = random.below(10) as u32;
    let mut out = match random.below(12) {
        0 => finished(&payload, level),
        // Several last blocks in one message.
        1 => finished(&payload, level).repeat(random.pick(&[2, 64, 65, 66])),
        // Two flushes in one message.
        2 => {
            let one = compressed(&payload, level);
            [&one[..], &[0, 0, 0xFF, 0xFF], &one].concat()
        }
        // More than it may say, in few bytes.
        3 => {
            let count = random.pick(&[limit_bytes - 1, limit_bytes, limit_bytes + 1, limit_bytes * 8]);
            compressed(&vec![b' '; count], level)
        }
        _ => compressed(&payload, level),
    };
    match random.below(12) {
        0 => out.truncate(random.below(out.len() + 1)),
        1 => {
            let count = random.below(40);
            out = random.bytes(count);
        }
        2 => {
            for _ in 0..=random.below(3) {
                let at = random.below(out.len());
                if let Some(byte) = out.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
        3 => {
            let count = random.below(20);
            out.extend(random.bytes(count));
        }
        _ => {}
    }
    out
}

/// Something that no good client does.
fn damage(random: &mut Random, frames: &mut Vec<Vec<u8>>) {
    let at = random.below(frames.len());
    let frame = &mut frames[at];
    if frame.len() < 2 {
        // What was cut to a byte is damaged enough.
        return;
    }
    match random.below(14) {
        // Reserved bits, opcodes, the last-piece bit: anything in the first byte.
        0 => frame[0] ^= 1 << random.below(8),
        1 => frame[0] = random.next() as u8,
        2 => frame[1] ^= 0x80,
        3 => frame[1] = random.next() as u8,
        // A length in more bytes than it needs.
        4 => {
            let length = frame[1] & 0x7F;
            if length < 126 {
                let long = [&[0x80 | 126, 0, length][..], &frame[2..]].concat();
                let longer = [&[0x80 | 127, 0, 0, 0, 0, 0, 0, 0, length][..], &frame[2..]].concat();
                frame.truncate(1);
                frame.extend(if random.one_in(2) { long } else { longer });
            }
        }
        // A length that promises too much, or what no length may.
        5 => {
            let length = random.pick(&[1 << 20, 1 << 40, u64::MAX >> 1, u64::MAX]);
            frame.splice(1..2, [&[0x80 | 127][..], &length.to_be_bytes()].concat());
        }
        // A control frame that is too long, or in pieces.
        6 => {
            let count = random.pick(&[126, 200]);
            let first = random.pick(&[0x88, 0x89, 0x8A]);
            let payload = random.bytes(count);
            frames[at] = masked(random, first, &payload);
        }
        7 => {
            let first = random.pick(&[0x08, 0x09, 0x0A]);
            frames[at] = masked(random, first, b"");
        }
        8 => {
            frames.remove(at);
        }
        9 => {
            let again = frames[random.below(frames.len())].clone();
            frames.insert(at, again);
        }
        10 => frame.truncate(random.below(frame.len() + 1)),
        11 => {
            let count = random.below(8);
            frame.extend(random.bytes(count));
        }
        12 => frames.insert(at, close(&mut Random::new(random.next()))),
        _ => {
            for _ in 0..=random.below(3) {
                let at = random.below(frame.len());
                frame[at] = random.next() as u8;
            }
        }
    }
    frames.retain(|frame| !frame.is_empty());
    if frames.is_empty() {
        frames.push(control(random));
    }
}
