//! What faults do to bytes. Each function here either leaves a row that any driver reads, or one that none can: nothing in between, or the
//! journal could not say how a driver should have read it.

use crate::random::Random;

/// Bytes that cannot be taken for a part of a packet: no `#`, `;`, comma, letter or `_`, no line end, no NUL.
const PUNCTUATION: &[u8] = b"!$%&()*+/:<=>?@[]^{|}~";
/// A record is `#d,-,18,` and 18 values, so it has twenty commas; the third ends the head.
const HEAD_COMMAS: usize = 3;

/// Junk for the gap before a row's `#`, where nothing can do harm: a packet begins at its last `#`.
pub(super) fn junk(random: &mut Random) -> Vec<u8> {
    let mut bytes = match random.below(5) {
        0 => noise_of(random, 1, 7),
        1 => noise_of(random, 20, 200),
        2 => spiced(random, b'#'),
        3 => spiced(random, b';'),
        // Few enough fields that nobody takes them for a row without a head.
        _ => spiced(random, b','),
    };
    if random.percent(25) {
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// What a line at the wrong rate makes of bytes: about half as many, and nothing of what a packet needs.
pub(super) fn garbled(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    noise_of(random, bytes.len().div_ceil(3), bytes.len().div_ceil(2))
}

/// The row with NULs around it or inside it, and whether they are inside.
pub(super) fn with_nuls(row: &[u8], random: &mut Random) -> (Vec<u8>, bool) {
    let mut bytes = row.to_vec();
    let inside = random.percent(60);
    if inside {
        for _ in 0..random.between(1, 4) {
            bytes.insert(random.between(1, row.len().saturating_sub(3)), 0);
        }
    }
    if !inside || random.percent(30) {
        let nuls = std::iter::repeat_n(0, random.between(1, 3));
        if random.percent(50) {
            bytes.splice(0..0, nuls);
        } else {
            bytes.extend(nuls);
        }
    }
    (bytes, inside)
}

/// The row without the first one, two or three bytes of `#d,`.
pub(super) fn without_head(row: &[u8], random: &mut Random) -> Vec<u8> {
    row.iter().skip(random.between(1, 3)).copied().collect()
}

/// The row without its `\r\n`.
pub(super) fn without_line_end(row: &[u8]) -> &[u8] {
    row.strip_suffix(b"\r\n").unwrap_or(row)
}

/// The row, so damaged that nobody can read it, and such that it cannot be completed by what follows.
pub(super) fn beyond_reading(row: &[u8], random: &mut Random) -> Vec<u8> {
    let commas: Vec<usize> = row
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b',')
        .map(|(position, _)| position)
        .collect();
    let comma = |index: usize| commas.get(index).copied().unwrap_or(row.len());
    match random.below(4) {
        0 => {
            // The rest is missing, with the end: at most four values are left.
            let keep = random.between(1, comma(HEAD_COMMAS + 4));
            row.iter().take(keep).copied().collect()
        }
        1 => {
            // A gap swallows at least six values, so that the count is wrong and even a careless count of fields stays below eighteen.
            let from = comma(HEAD_COMMAS - 1) + 1 + random.below(2);
            let to = comma(HEAD_COMMAS - 1 + random.between(7, 12));
            let (front, back) = (row.iter().take(from), row.iter().skip(to));
            front.chain(back).copied().collect()
        }
        2 => {
            // No value is a number.
            let values = comma(HEAD_COMMAS - 1);
            row.iter()
                .enumerate()
                .map(|(position, byte)| {
                    let value = position > values && (byte.is_ascii_digit() || *byte == b'_');
                    if value {
                        random.pick(PUNCTUATION, b'!')
                    } else {
                        *byte
                    }
                })
                .collect()
        }
        _ => {
            // An end in the middle: neither part has enough values.
            let at = comma(HEAD_COMMAS + random.between(5, 9));
            let mut bytes = row.to_vec();
            bytes.insert(at.min(row.len()), b';');
            bytes
        }
    }
}

/// A place in the row that lies before its end, for a cut.
pub(super) fn cut(row: &[u8], random: &mut Random) -> Vec<u8> {
    let end = row.iter().position(|byte| *byte == b';').unwrap_or(row.len());
    row.iter()
        .take(random.between(1, end.saturating_sub(1).max(1)))
        .copied()
        .collect()
}

/// The row in pieces that are its bytes.
pub(super) fn pieces(row: &[u8], random: &mut Random) -> Vec<Vec<u8>> {
    if random.percent(10) {
        return row.iter().map(|byte| vec![*byte]).collect();
    }
    let mut cuts: Vec<usize> = (0..random.between(1, 5))
        .map(|_| random.between(1, row.len().saturating_sub(1)))
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    let ends = cuts.iter().copied().chain([row.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    starts
        .zip(ends)
        .map(|(from, to)| row.get(from..to).unwrap_or_default().to_vec())
        .collect()
}

fn noise_of(random: &mut Random, shortest: usize, longest: usize) -> Vec<u8> {
    (0..random.between(shortest, longest))
        .map(|_| match random.below(3) {
            // Bytes with the high bit, as a wrong rate or a bad contact makes them.
            0 => 0x80 | u8::try_from(random.below(0x80)).unwrap_or(0),
            1 => b'0' + u8::try_from(random.below(10)).unwrap_or(0),
            _ => random.pick(PUNCTUATION, b'!'),
        })
        .collect()
}

/// Junk with one or two of a byte that means something.
fn spiced(random: &mut Random, spice: u8) -> Vec<u8> {
    let mut bytes = noise_of(random, 1, 40);
    for _ in 0..random.between(1, 2) {
        bytes.insert(random.between(0, bytes.len()), spice);
    }
    bytes
}
