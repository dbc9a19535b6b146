//! An inflater of the tests' own (RFC 1951), slow and plain, bit by bit: what the daemon's library makes of a message is judged by it.
//!
//! It knows what a message is (RFC 7692 section 7.2.2): four bytes follow each, a block that calls itself the last ends at a byte's border and may
//! stand anywhere, and what was begun and not ended says what it has said so far.

/// Blocks that may call themselves the last, in one message; a rule of the daemon's own.
const LAST_BLOCKS: u32 = 64;

/// Base and extra bits of each length, and of each distance.
const LENGTHS: [(usize, u32); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
const DISTANCES: [(usize, u32); 30] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12_289, 12),
    (16_385, 13),
    (24_577, 13),
];
/// In which order the lengths of the codes of lengths are written.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inflated {
    /// As far as it can be read, and up to one byte more than was asked for.
    pub bytes: Vec<u8>,
    /// Whether it is what no compressor makes.
    pub is_corrupt: bool,
}

/// Reads a message, up to one byte more than `limit_bytes`.
pub fn inflate(payload: &[u8], limit_bytes: usize) -> Inflated {
    let whole = [payload, &[0, 0, 0xFF, 0xFF]].concat();
    let mut reading = Reading {
        bits: Bits { bytes: &whole, at: 0 },
        out: Vec::new(),
        limit_bytes,
        last_blocks: 0,
    };
    let Err(stop) = reading.blocks();
    Inflated {
        is_corrupt: stop == Stop::Corrupt,
        bytes: reading.out,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// There are no more bits.
    Starved,
    Corrupt,
    /// It says more than was asked for.
    Full,
}

struct Bits<'a> {
    bytes: &'a [u8],
    /// The next bit.
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Result<usize, Stop> {
        let mut value = 0;
        for place in 0..count {
            let byte = self.bytes.get(self.at / 8).ok_or(Stop::Starved)?;
            value |= usize::from(byte >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Ok(value)
    }

    fn skip_to_border(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }
}

/// Codes by their lengths.
struct Codes {
    /// How many codes of each length there are.
    counts: [usize; 16],
    /// What they stand for, in the order of the codes.
    symbols: Vec<usize>,
    longest: usize,
}

impl Codes {
    /// Codes of which none is left over and none is missing; a single one of one bit may lack its other.
    fn new(lengths: &[usize], may_lack: bool) -> Result<Self, Stop> {
        let mut counts = [0; 16];
        for length in lengths {
            counts[*length] += 1;
        }
        counts[0] = 0;
        let longest = (1..16).rfind(|length| counts[*length] > 0).unwrap_or(0);
        let mut left = 1_usize;
        for count in &counts[1..=longest] {
            left = (left * 2).checked_sub(*count).ok_or(Stop::Corrupt)?;
        }
        if left > 0 && longest > 0 && !(may_lack && longest == 1) {
            return Err(Stop::Corrupt);
        }
        let of_length = |length| (0..lengths.len()).filter(move |symbol| lengths[*symbol] == length);
        Ok(Self {
            counts,
            symbols: (1..=longest).flat_map(of_length).collect(),
            longest,
        })
    }

    fn next(&self, bits: &mut Bits<'_>) -> Result<usize, Stop> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..=self.longest.max(1)] {
            code |= bits.take(1)?;
            if code < first + count {
                return Ok(self.symbols[index + code - first]);
            }
            index += count;
            first = (first + count) * 2;
            code *= 2;
        }
        Err(Stop::Corrupt)
    }
}

struct Reading<'a> {
    bits: Bits<'a>,
    out: Vec<u8>,
    limit_bytes: usize,
    last_blocks: u32,
}

impl Reading<'_> {
    /// Reads until it stops, which it does at the end.
    fn blocks(&mut self) -> Result<std::convert::Infallible, Stop> {
        loop {
            let is_last = self.bits.take(1)? == 1;
            match self.bits.take(2)? {
                0 => self.stored()?,
                1 => {
                    let lengths = |symbol| match symbol {
                        0..144 => 8,
                        144..256 => 9,
                        256..280 => 7,
                        _ => 8,
                    };
                    let lengths: Vec<usize> = (0..288).map(lengths).collect();
                    self.coded(&Codes::new(&lengths, false)?, &Codes::new(&[5; 32], false)?)?;
                }
                2 => {
                    let (symbols, distances) = self.own_codes()?;
                    self.coded(&symbols, &distances)?;
                }
                _ => return Err(Stop::Corrupt),
            }
            if is_last {
                self.bits.skip_to_border();
                self.last_blocks += 1;
                if self.last_blocks > LAST_BLOCKS {
                    return Err(Stop::Corrupt);
                }
            }
        }
    }

    fn say(&mut self, byte: u8) -> Result<(), Stop> {
        self.out.push(byte);
        match self.out.len() > self.limit_bytes {
            true => Err(Stop::Full),
            false => Ok(()),
        }
    }

    fn stored(&mut self) -> Result<(), Stop> {
        self.bits.skip_to_border();
        let (length, inverse) = (self.bits.take(16)?, self.bits.take(16)?);
        if length != inverse ^ 0xFFFF {
            return Err(Stop::Corrupt);
        }
        for _ in 0..length {
            let byte = self.bits.take(8)?;
            self.say(byte as u8)?;
        }
        Ok(())
    }

    /// The codes that a block brings with it.
    fn own_codes(&mut self) -> Result<(Codes, Codes), Stop> {
        let symbols = self.bits.take(5)? + 257;
        let distances = self.bits.take(5)? + 1;
        let of_lengths = self.bits.take(4)? + 4;
        if symbols > 286 || distances > 30 {
            return Err(Stop::Corrupt);
        }
        let mut lengths = [0; 19];
        for place in &ORDER[..of_lengths] {
            lengths[*place] = self.bits.take(3)?;
        }
        if lengths == [0; 19] {
            // Without any code there is no end of the block. It is seen when all that it would say is there, a bit for each symbol.
            for _ in 0..symbols + distances {
                self.bits.take(1)?;
            }
            return Err(Stop::Corrupt);
        }
        let codes = Codes::new(&lengths, false)?;
        let mut lengths = Vec::new();
        while lengths.len() < symbols + distances {
            let (length, count) = match codes.next(&mut self.bits)? {
                16 => {
                    let count = 3 + self.bits.take(2)?;
                    (*lengths.last().ok_or(Stop::Corrupt)?, count)
                }
                17 => (0, 3 + self.bits.take(3)?),
                18 => (0, 11 + self.bits.take(7)?),
                length => (length, 1),
            };
            lengths.extend(std::iter::repeat_n(length, count));
        }
        if lengths.len() > symbols + distances || lengths[256] == 0 {
            return Err(Stop::Corrupt);
        }
        let (symbols, distances) = lengths.split_at(symbols);
        Ok((Codes::new(symbols, true)?, Codes::new(distances, true)?))
    }

    fn coded(&mut self, symbols: &Codes, distances: &Codes) -> Result<(), Stop> {
        loop {
            let symbol = symbols.next(&mut self.bits)?;
            match symbol {
                0..256 => self.say(symbol as u8)?,
                256 => return Ok(()),
                _ => {
                    let (base, extra) = *LENGTHS.get(symbol - 257).ok_or(Stop::Corrupt)?;
                    let length = base + self.bits.take(extra)?;
                    let symbol = distances.next(&mut self.bits)?;
                    let (base, extra) = *DISTANCES.get(symbol).ok_or(Stop::Corrupt)?;
                    let distance = base + self.bits.take(extra)?;
                    for _ in 0..length {
                        let from = self.out.len().checked_sub(distance).ok_or(Stop::Corrupt)?;
                        self.say(self.out[from])?;
                    }
                }
            }
        }
    }
}
