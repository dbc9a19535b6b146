//! permessage-deflate (RFC 7692) from a client's side, on top of a library's compressor and inflater.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// What ends every flush of a compressor, and does not travel.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// Marks a message's first frame as compressed.
pub fn mark_compressed(first: u8) -> u8 {
    first | 0x40
}

/// A message compressed alone, as a client does that was told to begin each with an empty window.
pub fn compressed(payload: &[u8], level: u32) -> Vec<u8> {
    let mut out = deflated(payload, level, FlushCompress::Sync);
    assert!(out.ends_with(&TAIL));
    out.truncate(out.len() - TAIL.len());
    out
}

/// The same from a compressor that can only end and not flush: a last block, and the byte that the standard wants behind it (section 7.2.3.4).
pub fn finished(payload: &[u8], level: u32) -> Vec<u8> {
    let mut out = deflated(payload, level, FlushCompress::Finish);
    out.push(0);
    out
}

fn deflated(payload: &[u8], level: u32, flush: FlushCompress) -> Vec<u8> {
    let mut compress = Compress::new(Compression::new(level), false);
    // Noise grows by an eighth with the codes of the lowest levels.
    let mut out = Vec::with_capacity(payload.len() + payload.len() / 4 + 1000);
    compress.compress_vec(payload, &mut out, flush).unwrap();
    assert_eq!(compress.total_in(), payload.len() as u64);
    out
}

/// What a browser reads compressed messages with: one inflater for its whole life, with a window of 32 KiB, fed with nothing else.
#[derive(Debug)]
pub struct BrowserInflater(Decompress);

impl Default for BrowserInflater {
    fn default() -> Self {
        Self(Decompress::new(false))
    }
}

impl BrowserInflater {
    /// Forgets all that it has read, as where each message was promised to stand alone.
    pub fn forget(&mut self) {
        self.0.reset(false);
    }

    /// What a message says.
    pub fn inflate(&mut self, mut payload: Vec<u8>) -> Vec<u8> {
        payload.extend(TAIL);
        let begin = self.0.total_in();
        let mut out = Vec::new();
        loop {
            let used = (self.0.total_in() - begin) as usize;
            out.reserve(out.len() + 4096);
            self.0
                .decompress_vec(&payload[used..], &mut out, FlushDecompress::Sync)
                .expect("its window is the one that the sender meant");
            let used = (self.0.total_in() - begin) as usize;
            if used == payload.len() && out.len() < out.capacity() {
                return out;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_one_after_another_whatever_made_them() {
        let mut inflater = BrowserInflater::default();
        let texts = ["", "watts", &"watts ".repeat(20_000)];
        for text in texts {
            for level in 0..10 {
                assert_eq!(
                    inflater.inflate(compressed(text.as_bytes(), level)),
                    text.as_bytes()
                );
            }
        }
        // A last block ends a library's inflater, so what comes behind it needs a new one.
        assert_eq!(finished(b"Hello", 6).last(), Some(&0));
    }
}
