//! Compressed messages (RFC 7692 section 7.2) on top of zlib's raw format.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::Compression;
use crate::frame;

/// What ends every message on the compressor's side and does not travel: the tail of an empty block.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// Below this many bytes a message compressed alone hardly gets smaller.
const ALONE_FROM_BYTES: usize = 128;

/// The fastest there is. What patches share with the patches before them it finds as well as the others do.
const LIVE_LEVEL: u32 = 1;
/// For one large message to one client, a snapshot or a history: a third smaller for the same time again.
const LARGE_LEVEL: u32 = 3;

/// Largest window, and all that an inflater needs of what it gave out before.
const WINDOW_BYTES: usize = 32 << 10;

/// Blocks that call themselves the last, in one message. A sender makes one per flush; more is somebody who wants to keep us busy.
const LAST_BLOCKS: u32 = 64;

/// A compressor with its window, a quarter of a megabyte.
pub(super) struct Coder(Compress);

/// Why a compressed message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InflateError {
    /// It is not what a compressor makes.
    Corrupt,
    /// It is longer than the limit.
    TooBig,
}

/// The compressor failed. It never does with the input that it gets; whoever reads the answer drops it and goes on uncompressed.
#[derive(Debug)]
pub(super) struct Broken;

impl Coder {
    pub(super) fn new() -> Self {
        Self(Compress::new(flate2::Compression::new(LIVE_LEVEL), false))
    }

    fn set_level(&mut self, level: u32) -> Result<(), Broken> {
        self.0
            .set_level(flate2::Compression::new(level))
            .map_err(|_| Broken)
    }

    /// Forgets everything: what follows refers to nothing before.
    pub(super) fn reset(&mut self) {
        self.0.reset();
    }

    /// Appends the frames of a segment, each message compressed in the window that the ones before it left. Control frames, and an
    /// empty message, are appended as they are. Gives how many were compressed.
    pub(super) fn append_in_window(&mut self, out: &mut Vec<u8>, segment: &[u8]) -> Result<u32, Broken> {
        let mut count = 0;
        for frame in frame::split(segment) {
            match frame.compressible() {
                Some((opcode, payload)) if !payload.is_empty() => {
                    let payload = self.compress(payload)?;
                    frame::append_compressed(out, opcode, &payload);
                    count += 1;
                }
                _ => out.extend_from_slice(frame.whole),
            }
        }
        Ok(count)
    }

    /// Appends the frames of a segment, each that gets smaller by it compressed alone.
    pub(super) fn append_alone(&mut self, out: &mut Vec<u8>, segment: &[u8]) -> Result<(), Broken> {
        for frame in frame::split(segment) {
            let compressed = match frame.compressible() {
                Some((opcode, payload)) if payload.len() >= ALONE_FROM_BYTES => {
                    self.reset();
                    let compressed = self.compress(payload)?;
                    (compressed.len() < payload.len()).then_some((opcode, compressed))
                }
                _ => None,
            };
            match compressed {
                Some((opcode, payload)) => frame::append_compressed(out, opcode, &payload),
                None => out.extend_from_slice(frame.whole),
            }
        }
        Ok(())
    }

    fn compress(&mut self, payload: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut out = Vec::with_capacity(payload.len() / 2 + 64);
        let begin = self.0.total_in();
        loop {
            let used = usize::try_from(self.0.total_in() - begin).map_err(|_| Broken)?;
            let rest = payload.get(used..).ok_or(Broken)?;
            self.0
                .compress_vec(rest, &mut out, FlushCompress::Sync)
                .map_err(|_| Broken)?;
            // With room left over, everything that was to come has come.
            if out.len() < out.capacity() {
                break;
            }
            out.reserve(out.len());
        }
        match out.strip_suffix(&TAIL) {
            Some(body) => out.truncate(body.len()),
            None => return Err(Broken),
        }
        Ok(out)
    }
}

impl std::fmt::Debug for Coder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coder").finish_non_exhaustive()
    }
}

/// Frames for one client that is in no shared context, compressed: they refer to nothing that it got before. With a shared window they refer
/// to one another, so a long row of small patches shrinks, too. None, if it does not pay.
///
/// The compressor belongs to the thread and is made when it is first needed.
pub fn compress_apart(compression: Compression, frames: &[Bytes]) -> Option<Bytes> {
    thread_local!(static CODER: RefCell<Option<Coder>> = const { RefCell::new(None) });
    let plain_bytes: usize = frames.iter().map(Bytes::len).sum();
    if plain_bytes < ALONE_FROM_BYTES {
        return None;
    }
    let mut out = Vec::with_capacity(plain_bytes / 4);
    let done = CODER.with_borrow_mut(|coder| {
        let coder = coder.get_or_insert_with(Coder::new);
        coder.reset();
        coder.set_level(if frames.len() > 1 { LIVE_LEVEL } else { LARGE_LEVEL })?;
        let mut each = |bytes: &Bytes| match compression {
            Compression::Shared => coder.append_in_window(&mut out, bytes).map(drop),
            Compression::Alone => coder.append_alone(&mut out, bytes),
        };
        frames.iter().try_for_each(&mut each)
    });
    if done.is_err() {
        // A new one next time.
        CODER.with_borrow_mut(|coder| *coder = None);
        return None;
    }
    out.shrink_to_fit();
    (out.len() < plain_bytes).then(|| Bytes::from(out))
}

/// What a message says that was compressed alone, up to `limit_bytes`. More is never held, however much the message promises.
///
/// The inflater belongs to the thread, so that clients need none of their own: each message begins with an empty window.
pub(crate) fn inflate(payload: &[u8], limit_bytes: usize) -> Result<Vec<u8>, InflateError> {
    thread_local!(static INFLATER: RefCell<Decompress> = RefCell::new(Decompress::new(false)));
    INFLATER.with_borrow_mut(|inflater| {
        inflater.reset(false);
        let mut out = Vec::new();
        let mut inflation = Inflation {
            inflater,
            out: &mut out,
            limit_bytes,
            last_blocks: 0,
        };
        inflation.feed(payload)?;
        inflation.feed(&TAIL)?;
        Ok(out)
    })
}

struct Inflation<'a> {
    inflater: &'a mut Decompress,
    out: &'a mut Vec<u8>,
    limit_bytes: usize,
    last_blocks: u32,
}

impl Inflation<'_> {
    fn feed(&mut self, mut input: &[u8]) -> Result<(), InflateError> {
        loop {
            self.make_room(input.len());
            let (before_in, before_out) = (self.inflater.total_in(), self.out.len());
            let status = self
                .inflater
                .decompress_vec(input, self.out, FlushDecompress::Sync)
                .map_err(|_| InflateError::Corrupt)?;
            if self.out.len() > self.limit_bytes {
                return Err(InflateError::TooBig);
            }
            let used = usize::try_from(self.inflater.total_in() - before_in).unwrap_or(usize::MAX);
            input = input.get(used..).unwrap_or_default();
            if status == Status::StreamEnd {
                // A block that called itself the last: the standard lets it stand anywhere in a message.
                self.go_on()?;
            } else if used == 0 && self.out.len() == before_out {
                // There was room, so it is input that it wants, and there is none: or it can do nothing with it.
                return if input.is_empty() {
                    Ok(())
                } else {
                    Err(InflateError::Corrupt)
                };
            }
            if input.is_empty() && self.out.len() < self.out.capacity() {
                return Ok(());
            }
        }
    }

    /// Room for a few times the input, and at most for one byte more than the limit, which is enough to see that it is passed.
    fn make_room(&mut self, input_bytes: usize) {
        if self.out.len() < self.out.capacity() {
            return;
        }
        let wanted = (self.out.len() * 2).max(input_bytes * 4 + 64);
        let wanted = wanted.min(self.limit_bytes.saturating_add(1));
        self.out
            .reserve_exact(wanted.saturating_sub(self.out.len()).max(1));
    }

    /// Begins a new stream that may refer to what this message has said so far.
    fn go_on(&mut self) -> Result<(), InflateError> {
        self.last_blocks += 1;
        if self.last_blocks > LAST_BLOCKS {
            return Err(InflateError::Corrupt);
        }
        self.inflater.reset(false);
        let window = self.out.get(self.out.len().saturating_sub(WINDOW_BYTES)..);
        match window {
            Some(window) if !window.is_empty() => self
                .inflater
                .set_dictionary(window)
                .map(drop)
                .map_err(|_| InflateError::Corrupt),
            _ => Ok(()),
        }
    }
}
