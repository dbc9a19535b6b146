//! Framers: lines and packets out of chunks, wherever the chunk borders fall. Each holds at most its limit in bytes.
//!
//! A framer that is new at the first byte it holds comes to the same results, so a snapshot leaves those bytes to the successor:
//! `Snapshot::of(&memory).rereading("main", framer.held())`.

/// Lines that end with LF or CR LF.
#[derive(Debug, Clone)]
pub struct LineFramer {
    buffer: Vec<u8>,
    limit_bytes: usize,
    skipping: bool,
}

/// One line, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// A whole line.
    Whole(&'a [u8]),
    /// The start of a line that is longer than the limit. The rest of it is left out.
    Cut(&'a [u8]),
}

impl LineFramer {
    /// A framer for lines of at most this many bytes, their end not counted.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            buffer: Vec::new(),
            limit_bytes: limit_bytes.max(1),
            skipping: false,
        }
    }

    /// A framer that goes on where one was that stood in the middle of a line that it had cut; see [`is_skipping`](Self::is_skipping).
    #[must_use]
    pub fn skipping(mut self, skipping: bool) -> Self {
        self.skipping = skipping;
        self
    }

    /// Takes a chunk and gives every line that ends in it.
    pub fn feed(&mut self, chunk: &[u8], mut each: impl FnMut(Line<'_>)) {
        for part in chunk.split_inclusive(|&byte| byte == b'\n') {
            let (text, ended) = part
                .strip_suffix(b"\n")
                .map_or((part, false), |text| (text, true));
            if !self.skipping {
                self.take(text, ended, &mut each);
            }
            if ended {
                self.skipping = false;
            }
        }
    }

    fn take(&mut self, text: &[u8], ended: bool, each: &mut impl FnMut(Line<'_>)) {
        // A line that lies in one chunk is not copied.
        if ended && self.buffer.is_empty() && text.len() <= self.limit_bytes {
            each(Line::Whole(text.strip_suffix(b"\r").unwrap_or(text)));
            return;
        }
        // One more than the limit, because a CR at the end is not counted.
        let room = (self.limit_bytes + 1).saturating_sub(self.buffer.len());
        self.buffer.extend(text.iter().take(room));
        let bare = self.buffer.strip_suffix(b"\r").unwrap_or(&self.buffer);
        if text.len() > room || bare.len() > self.limit_bytes {
            each(Line::Cut(
                self.buffer.get(..self.limit_bytes).unwrap_or(&self.buffer),
            ));
            self.buffer.clear();
            self.skipping = true;
        } else if ended {
            each(Line::Whole(bare));
            self.buffer.clear();
        }
    }

    /// How many of the bytes that came last are held, waiting for the end of their line.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Whether it stands in the middle of a line that it has cut. Belongs into a snapshot where lines can be that long.
    #[must_use]
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Forgets a half line, because the rest of it will not come.
    pub fn reset(&mut self) {
        self.buffer.clear();
        self.skipping = false;
    }
}

/// Packets between a start and an end byte, in a stream that may hold anything else too.
#[derive(Debug, Clone)]
pub struct PacketFramer {
    start: u8,
    end: u8,
    ignored: &'static [u8],
    /// Whether a byte is none of these three; a table, because each byte of the stream is looked up once.
    plain: [bool; 256],
    limit_bytes: usize,
    /// What is held of the piece, without ignored bytes.
    buffer: Vec<u8>,
    /// How many bytes of the stream that is, start byte and ignored ones included.
    held_bytes: usize,
    /// Whether the piece has begun with the start byte.
    started: bool,
}

/// A piece of the stream, without its borders and without ignored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// From a start byte to an end byte.
    Packet(&'a [u8]),
    /// From a start byte to another one: the end is lost.
    Endless(&'a [u8]),
    /// To an end byte, without a start byte: the start is lost.
    Headless(&'a [u8]),
    /// Between packets; neither start nor end byte.
    Junk(&'a [u8]),
    /// As many bytes as the limit, without an end. What follows, up to the next start or end byte, is a piece of its own.
    TooLong(&'a [u8]),
}

impl PacketFramer {
    /// A framer for packets of at most this many bytes, borders and ignored bytes not counted.
    #[must_use]
    pub fn new(start: u8, end: u8, limit_bytes: usize) -> Self {
        Self {
            start,
            end,
            ignored: &[],
            plain: plain(&[start, end]),
            limit_bytes: limit_bytes.max(1),
            buffer: Vec::new(),
            held_bytes: 0,
            started: false,
        }
    }

    /// Leaves these bytes out wherever they stand.
    #[must_use]
    pub fn ignoring(mut self, bytes: &'static [u8]) -> Self {
        self.ignored = bytes;
        self.plain = plain(&[&[self.start, self.end], bytes].concat());
        self
    }

    /// Takes a chunk and gives every piece that ends in it. Empty pieces are not given, except empty packets.
    pub fn feed(&mut self, chunk: &[u8], mut each: impl FnMut(Piece<'_>)) {
        let mut rest = chunk;
        while let Some((&byte, after)) = rest.split_first() {
            if byte == self.start {
                self.interrupt(&mut each);
                rest = match self.whole_packet(after) {
                    Some((packet, after)) => {
                        each(Piece::Packet(packet));
                        after
                    }
                    None => {
                        self.started = true;
                        self.held_bytes = 1;
                        after
                    }
                };
            } else if byte == self.end {
                self.finish(&mut each);
                rest = after;
            } else if self.ignored.contains(&byte) {
                // Between two pieces there is nothing that it would have to wait with.
                if self.held_bytes > 0 {
                    self.held_bytes += 1;
                }
                rest = after;
            } else {
                rest = self.take_run(rest, &mut each);
            }
        }
    }

    /// How many of the bytes that came last are held, waiting for the end of their piece.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held_bytes
    }

    /// Forgets a half packet, because the rest of it will not come.
    pub fn reset(&mut self) {
        self.buffer.clear();
        self.held_bytes = 0;
        self.started = false;
    }

    /// What follows a start byte, if it is a whole packet without anything to leave out, and what is left of the chunk. It is not copied.
    fn whole_packet<'a>(&self, after: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let length = after.iter().position(|byte| self.is_special(byte))?;
        let (packet, rest) = after.split_at_checked(length)?;
        let (&end, rest) = rest.split_first()?;
        (end == self.end && length <= self.limit_bytes).then_some((packet, rest))
    }

    fn is_special(&self, byte: &u8) -> bool {
        self.plain.get(usize::from(*byte)) != Some(&true)
    }

    /// Takes plain bytes up to the next special one or the limit, and gives what is left of the chunk.
    fn take_run<'a>(&mut self, rest: &'a [u8], each: &mut impl FnMut(Piece<'_>)) -> &'a [u8] {
        let length = rest
            .iter()
            .position(|byte| self.is_special(byte))
            .unwrap_or(rest.len());
        let (run, after) = rest.split_at(length.min(self.limit_bytes.saturating_sub(self.buffer.len())));
        self.buffer.extend_from_slice(run);
        self.held_bytes += run.len();
        if run.is_empty() {
            // The buffer is full and another byte wants in.
            each(Piece::TooLong(&self.buffer));
            self.reset();
        }
        after
    }

    fn interrupt(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        if !self.buffer.is_empty() {
            each(if self.started {
                Piece::Endless(&self.buffer)
            } else {
                Piece::Junk(&self.buffer)
            });
        }
        self.reset();
    }

    fn finish(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        if self.started {
            each(Piece::Packet(&self.buffer));
        } else if !self.buffer.is_empty() {
            each(Piece::Headless(&self.buffer));
        }
        self.reset();
    }
}

fn plain(special: &[u8]) -> [bool; 256] {
    std::array::from_fn(|byte| !special.iter().any(|&special| usize::from(special) == byte))
}
