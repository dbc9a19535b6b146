//! Streams that nobody would write by hand, against the daemon's `/ws/echo`, with permessage-deflate agreed on and without.
//!
//! What has to come of a stream is judged by what has no part in the daemon: tungstenite reads the frames, the inflater of [`super::inflate`] what is
//! in compressed ones, and the standard's rules for a header, which tungstenite applies later or not at all, stand below. `AUTOBENCH_LONG=1` goes
//! on for ten minutes from a new seed, `AUTOBENCH_SEED=n` begins with that stream. A finding prints its seed and the shortest stream that shows it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::catch_unwind;

use libtest_mimic::Trial;
use test_support::{
    Extension, Message, Random, Seeds, Stream, TungsteniteReader, client_frame, compressed, finished,
};

use super::inflate::{Inflated, inflate};
use super::peer::{self, Peer};
use super::server::{Server, name};

/// Streams of each kind, where the full count is not asked for.
const STREAMS: usize = 500;
/// More than this is sent while the answers are read, since the daemon reads nothing while they wait.
const AT_ONCE_BYTES: usize = 64 << 10;
/// Most answers to pings that the daemon owes at a time; of more it answers the newest.
const PINGS: usize = 16;

pub fn trials(server: &Server) -> Vec<Trial> {
    let campaign = |what, extension| {
        server.trial(name("fuzz", what, ""), move |address| {
            against_the_echo(address, what, extension);
        })
    };
    vec![
        server.trial(
            name("fuzz", "the judge's inflater reads what a compressor made", ""),
            |_| the_judge_reads_what_a_compressor_made(),
        ),
        campaign("streams of frames", Extension::None),
        campaign("streams of frames with permessage-deflate", Extension::Deflate),
    ]
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// At the border of a frame, and the socket is still good.
    Open,
    /// Within a frame in which nothing is wrong so far.
    Within,
    /// With a close frame, to be answered with this code.
    Closed(u16),
    /// Refused, with this code.
    Refused(u16),
    /// Refused, and for two reasons, of which either will do.
    RefusedFor(u16, u16),
}

/// What has to come of a stream: answers, and the end.
#[derive(Debug)]
struct Judgement {
    answers: Vec<(u8, Vec<u8>)>,
    end: End,
}

/// A header, as far as it is there.
#[derive(Debug, Clone, Copy)]
struct Header {
    first: u8,
    opcode: u8,
    length: u64,
    /// How many bytes it has; with its payload it ends where the next begins.
    header_bytes: usize,
}

impl Header {
    fn is_control(self) -> bool {
        self.opcode >= peer::CLOSE
    }

    fn is_final(self) -> bool {
        self.first & peer::FIN != 0
    }

    /// Reads one by the standard's rules. Wrong is what no following byte can put right.
    fn read(bytes: &[u8], extension: Extension) -> Result<Option<Self>, Wrong> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        let opcode = first & 0x0F;
        let is_control = opcode >= peer::CLOSE;
        let has_meaning = match (extension, opcode) {
            (Extension::Deflate, peer::TEXT | peer::BINARY) => COMPRESSED,
            _ => 0,
        };
        let short = second & 0x7F;
        let is_wrong = first & 0x70 & !has_meaning != 0
            || !matches!(opcode, 0..=2 | 8..=10)
            || second & 0x80 == 0
            || is_control && (first & peer::FIN == 0 || short > 125);
        if is_wrong {
            return Err(Wrong);
        }
        let (length, width) = match short {
            126 => (
                rest.first_chunk()
                    .map(|length| u64::from(u16::from_be_bytes(*length))),
                2,
            ),
            127 => (rest.first_chunk().map(|length| u64::from_be_bytes(*length)), 8),
            short => (Some(u64::from(short)), 0),
        };
        let Some(length) = length else {
            return Ok(None);
        };
        if width == 2 && length < 126 || width == 8 && (length < 65_536 || length >> 63 != 0) {
            return Err(Wrong);
        }
        let header_bytes = 2 + width + 4;
        Ok((bytes.len() >= header_bytes).then_some(Self {
            first: *first,
            opcode,
            length,
            header_bytes,
        }))
    }
}

/// A header that the standard does not allow.
struct Wrong;

/// The reserved bit that marks a compressed message.
const COMPRESSED: u8 = 0x40;

/// A message that has begun.
struct Begun {
    is_compressed: bool,
    /// What has come of it on the wire.
    length: usize,
    /// The same, if it is compressed.
    payload: Vec<u8>,
}

/// Reads a stream: what is compressed is given to tungstenite as if it had come plain, everything else as it is.
fn judge(bytes: &[u8], limit_bytes: usize, extension: Extension) -> Judgement {
    let mut theirs = TungsteniteReader::of_clients(limit_bytes);
    let end = walk(bytes, limit_bytes, extension, &mut theirs);
    let mut end = end.unwrap_or(End::Open);
    let mut answers = Vec::new();
    for message in &theirs.messages {
        match message {
            Message::Text(text) => answers.push((peer::TEXT, text.clone().into_bytes())),
            Message::Binary(bytes) => answers.push((peer::BINARY, bytes.clone())),
            Message::Ping(bytes) => answers.push((peer::PONG, bytes.clone())),
            Message::Pong(_) => {}
            Message::Close(reason) => end = End::Closed(reason.as_ref().map_or(1000, |(code, _)| *code)),
        }
    }
    Judgement { answers, end }
}

/// None, if the stream ends at a border of frames and nothing is wrong with it.
fn walk(
    bytes: &[u8],
    limit_bytes: usize,
    extension: Extension,
    theirs: &mut TungsteniteReader,
) -> Option<End> {
    let mut begun: Option<Begun> = None;
    let mut rest = bytes;
    while !rest.is_empty() {
        let header = match Header::read(rest, extension) {
            Ok(Some(header)) => header,
            Ok(None) => return Some(End::Within),
            Err(Wrong) => return Some(End::Refused(1002)),
        };
        let is_control = header.is_control();
        if !is_control && (header.opcode == peer::CONTINUATION) != begun.is_some() {
            return Some(End::Refused(1002));
        }
        let (before, is_compressed) = match &begun {
            Some(begun) => (begun.length, begun.is_compressed),
            None => (0, header.first & COMPRESSED != 0),
        };
        // Compressing may add an eighth to what cannot be compressed.
        let most = match is_compressed {
            true => limit_bytes + limit_bytes / 8 + 64,
            false => limit_bytes,
        };
        if !is_control && header.length > (most - before) as u64 {
            return Some(End::Refused(1009));
        }
        let whole_bytes = header.header_bytes + header.length as usize;
        let Some((whole, behind)) = rest.split_at_checked(whole_bytes) else {
            return Some(End::Within);
        };
        rest = behind;
        let payload = unmasked(whole, header);
        if header.opcode == peer::CLOSE
            && let Some((code, reason)) = payload.split_first_chunk::<2>()
        {
            let code = u16::from_be_bytes(*code);
            let may_travel = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            match (may_travel, std::str::from_utf8(reason).is_ok()) {
                (false, false) => return Some(End::RefusedFor(1002, 1007)),
                // Registered after tungstenite was written, which refuses it.
                (true, true) if code == 1014 => return Some(End::Closed(code)),
                _ => {}
            }
        }
        if is_control || !is_compressed {
            theirs.push(whole);
        } else {
            let first = header.first & !COMPRESSED;
            let mut all = begun.take().map_or_else(Vec::new, |begun| begun.payload);
            all.extend(payload);
            if header.is_final() {
                let Inflated { bytes, is_corrupt } = inflate(&all, limit_bytes);
                if bytes.len() > limit_bytes {
                    // Whether it is corrupt behind that depends on how far one reads.
                    return Some(match inflate(&all, limit_bytes * 2 + 1000).is_corrupt {
                        true => End::RefusedFor(1007, 1009),
                        false => End::Refused(1009),
                    });
                }
                if is_corrupt {
                    return Some(End::Refused(1007));
                }
                theirs.push(&client_frame(first, &bytes));
            } else {
                theirs.push(&client_frame(first, b""));
                begun = Some(Begun {
                    is_compressed,
                    length: all.len(),
                    payload: all,
                });
            }
        }
        if !is_control && !is_compressed {
            begun = (!header.is_final()).then(|| Begun {
                is_compressed,
                length: before + payload_bytes(header),
                payload: Vec::new(),
            });
        }
        if theirs.is_over() {
            return theirs.refusal_code().map(End::Refused);
        }
    }
    None
}

fn payload_bytes(header: Header) -> usize {
    header.length as usize
}

fn unmasked(whole: &[u8], header: Header) -> Vec<u8> {
    let (head, payload) = whole.split_at(header.header_bytes);
    let mask = &head[header.header_bytes - 4..];
    let bytes = payload.iter().zip(mask.iter().cycle());
    bytes.map(|(byte, key)| byte ^ key).collect()
}

/// Sends a stream and compares what comes of it. Panics at a difference.
fn run(address: SocketAddr, stream: &Stream, extension: Extension, judgement: &Judgement) {
    let path = format!("/ws/echo?limit={}", stream.limit_bytes);
    let mut peer = match extension {
        Extension::None => Peer::open(address, &path),
        Extension::Deflate => Peer::open_deflated(address, &path),
    };
    let mut pieces = stream.pieces();
    let is_long = pieces.iter().map(Vec::len).sum::<usize>() > AT_ONCE_BYTES;
    let mut writer = peer.second();
    let sending = match is_long {
        true => {
            let pieces = std::mem::take(&mut pieces);
            Some(std::thread::spawn(move || {
                pieces.iter().for_each(|piece| writer.send_anyway(piece));
            }))
        }
        false => {
            pieces.iter().for_each(|piece| writer.send_anyway(piece));
            None
        }
    };
    for (opcode, payload) in &judgement.answers {
        peer.expect(*opcode, payload);
    }
    if let Some(sending) = sending {
        sending.join().expect("the stream is sent");
    }
    match judgement.end {
        End::Open => peer.part(),
        End::Within => {
            peer.hang_up();
            assert_eq!(peer.frame(), None, "nothing comes of a frame that is not whole");
        }
        End::Closed(code) | End::Refused(code) => peer.expect_close(code),
        End::RefusedFor(one, other) => peer.expect_close_of(&[one, other]),
    }
}

fn against_the_echo(address: SocketAddr, what: &str, extension: Extension) {
    let mut ends = BTreeMap::<String, u64>::new();
    let (mut count, mut bytes, mut answers, mut in_deflate) = (0_u64, 0, 0, 0);
    for seed in Seeds::new(what, STREAMS) {
        let stream = Stream::generate(seed, extension);
        let whole = stream.frames.concat();
        let judgement = judge(&whole, stream.limit_bytes, extension);
        if judgement
            .answers
            .iter()
            .filter(|(opcode, _)| *opcode == peer::PONG)
            .count()
            > PINGS
        {
            continue;
        }
        count += 1;
        bytes += whole.len();
        answers += judgement.answers.len();
        in_deflate += stream
            .frames
            .iter()
            .filter(|frame| frame[0] & COMPRESSED != 0)
            .count();
        let end = match judgement.end {
            End::Closed(_) => "Closed".to_owned(),
            end => format!("{end:?}"),
        };
        *ends.entry(end).or_default() += 1;
        let shows = |stream: &Stream| {
            let judgement = judge(&stream.frames.concat(), stream.limit_bytes, extension);
            catch_unwind(|| run(address, stream, extension, &judgement)).is_err()
        };
        if catch_unwind(|| run(address, &stream, extension, &judgement)).is_err() {
            let shortest = stream.shortest(shows);
            panic!(
                "seed {seed}: expected {judgement:?}\nlimit {}\nborders {}\nframes {:02x?}",
                shortest.limit_bytes, shortest.borders_seed, shortest.frames
            );
        }
    }
    println!(
        "{what}: {count} streams, {:.1} MB, {in_deflate} frames marked as compressed, {answers} answers; ends: {ends:?}",
        bytes as f64 / 1e6
    );
    // A generator that stops reaching a branch would find nothing in it.
    for end in [
        "Open",
        "Within",
        "Closed",
        "Refused(1002)",
        "Refused(1007)",
        "Refused(1009)",
    ] {
        assert!(ends.contains_key(end), "{end} never happened");
    }
    assert!(answers as u64 > count, "hardly anything came back");
}

/// The judge is judged by what a compressor makes, and by what is known of it.
fn the_judge_reads_what_a_compressor_made() {
    let mut random = Random::new(7);
    for round in 0..300 {
        let count = random.below(3000);
        let payload = match round % 3 {
            0 => random.bytes(count),
            1 => random.bytes(count / 20 + 1).repeat(20),
            _ => test_support::text(&mut random, count),
        };
        for level in [0, 1, 3, 6, 9] {
            let read = Inflated {
                bytes: payload.clone(),
                is_corrupt: false,
            };
            assert_eq!(inflate(&compressed(&payload, level), payload.len()), read);
            assert_eq!(inflate(&finished(&payload, level), payload.len()), read);
            if let Some(less) = payload.len().checked_sub(1) {
                assert_eq!(inflate(&compressed(&payload, level), less).bytes, payload);
            }
        }
    }
    // A kind of block that does not exist, a length that is not its own inverse, and what was never said.
    for corrupt in [&[0x06][..], &[0x00, 5, 0, 5, 0], &[0x02, 0x02]] {
        assert!(inflate(corrupt, 1000).is_corrupt, "{corrupt:02x?}");
    }
}
