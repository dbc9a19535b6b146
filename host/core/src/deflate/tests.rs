use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::{Compress, Decompress, FlushCompress, FlushDecompress};
use proptest::prelude::*;

use super::*;
use crate::frame::{self, FrameError, FrameReader, Message};
use crate::outbox::{Channel, Cursor, Next, Positions, Ring, Segment, View};

/// What a browser does with the frames that it gets: one inflater for its whole life, with a window of 32 KiB. Nothing of our own code.
struct Browser {
    inflater: Decompress,
    pending: Vec<u8>,
    messages: Vec<String>,
    compressed: usize,
}

impl Browser {
    fn new() -> Self {
        Self {
            inflater: Decompress::new(false),
            pending: Vec::new(),
            messages: Vec::new(),
            compressed: 0,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        loop {
            let pending = &self.pending[..];
            let (length, skip) = match pending {
                [_, 126, high, low, ..] => (usize::from(u16::from_be_bytes([*high, *low])), 4),
                [_, 127, rest @ ..] if rest.len() >= 8 => {
                    (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, 10)
                }
                [_, short, ..] if *short < 126 => (usize::from(*short), 2),
                _ => return,
            };
            if pending.len() < skip + length {
                return;
            }
            let payload = &pending[skip..skip + length];
            let text = match pending[0] {
                0x81 => payload.to_vec(),
                0xC1 => {
                    self.compressed += 1;
                    let mut input = payload.to_vec();
                    input.extend([0, 0, 0xFF, 0xFF]);
                    let begin = self.inflater.total_in();
                    let mut out = Vec::new();
                    loop {
                        let used = (self.inflater.total_in() - begin) as usize;
                        out.reserve(out.len() + 4096);
                        self.inflater
                            .decompress_vec(&input[used..], &mut out, FlushDecompress::Sync)
                            .expect("its window is the one that the sender meant");
                        let used = (self.inflater.total_in() - begin) as usize;
                        if used == input.len() && out.len() < out.capacity() {
                            break;
                        }
                    }
                    out
                }
                first => panic!("a frame that begins with {first:#x}"),
            };
            self.messages.push(String::from_utf8(text).unwrap());
            self.pending.drain(..skip + length);
        }
    }
}

/// What a browser sends: one masked frame, or several.
fn from_client(is_compressed: bool, opcode: u8, payload: &[u8], pieces: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let size = payload.len().div_ceil(pieces).max(1);
    let mut chunks: Vec<&[u8]> = payload.chunks(size).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let last = chunks.len() - 1;
    for (index, chunk) in chunks.into_iter().enumerate() {
        let mut first = if index == 0 { opcode } else { 0 };
        first |= if index == 0 && is_compressed { 0x40 } else { 0 };
        first |= if index == last { 0x80 } else { 0 };
        let mut unmasked = Vec::new();
        frame::append(&mut unmasked, frame::Opcode::Text, chunk);
        let header_len = unmasked.len() - chunk.len();
        out.push(first);
        out.push(unmasked[1] | 0x80);
        out.extend(&unmasked[2..header_len]);
        let mask = [0x37, 0xFA, 0x21, 0x3D];
        out.extend(mask);
        out.extend(chunk.iter().zip(mask.iter().cycle()).map(|(b, k)| b ^ k));
    }
    out
}

/// One message, compressed as a client does that begins with an empty window each time.
fn deflated(text: &[u8], level: u32, flush: FlushCompress) -> Vec<u8> {
    let mut coder = Compress::new(flate2::Compression::new(level), false);
    let mut out = Vec::with_capacity(text.len() * 2 + 1000);
    coder.compress_vec(text, &mut out, flush).unwrap();
    if flush == FlushCompress::Finish {
        // RFC 7692 section 7.2.3.4.
        out.push(0);
        return out;
    }
    assert!(out.ends_with(&[0, 0, 0xFF, 0xFF]));
    out.truncate(out.len() - 4);
    out
}

fn read(limit_bytes: usize, stream: &[u8]) -> Result<Vec<Message>, FrameError> {
    let mut reader = FrameReader::new(limit_bytes).with_deflate();
    reader.push(stream);
    let mut messages = Vec::new();
    while let Some(message) = reader.next()? {
        messages.push(message);
    }
    Ok(messages)
}

#[test]
fn the_samples_of_the_standard_are_read() {
    // RFC 7692 section 7.2.3: one block, a message in two pieces, without compression, with a last block, and two blocks.
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let two = [
        0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
    ];
    for (payload, pieces) in [
        (&hello[..], 1),
        (&hello[..], 2),
        (&stored[..], 1),
        (&last[..], 1),
        (&two[..], 3),
    ] {
        let stream = from_client(true, 1, payload, pieces);
        assert_eq!(
            read(100, &stream),
            Ok(vec![Message::Text("Hello".to_owned())]),
            "{payload:02x?}"
        );
    }
}

#[test]
fn a_bomb_is_refused_before_it_is_held() {
    let bomb = deflated(&vec![b' '; 16 << 20], 9, FlushCompress::Sync);
    assert!(bomb.len() < 20_000);
    let limit_bytes = 64 << 10;
    for pieces in [1, 7] {
        let stream = from_client(true, 1, &bomb, pieces);
        assert_eq!(
            read(limit_bytes, &stream),
            Err(FrameError::TooBig { limit_bytes })
        );
    }
    // Exactly the limit passes, one byte more does not.
    for (length, passes) in [(limit_bytes, true), (limit_bytes + 1, false)] {
        let stream = from_client(true, 2, &deflated(&vec![7; length], 6, FlushCompress::Sync), 1);
        assert_eq!(read(limit_bytes, &stream).is_ok(), passes, "{length}");
    }
    // A message that compressing made longer is judged by what it says.
    let noise: Vec<u8> = (0..limit_bytes as u64)
        .map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect();
    let grown = deflated(&noise, 0, FlushCompress::Sync);
    assert!(grown.len() > limit_bytes);
    assert!(read(limit_bytes, &from_client(true, 2, &grown, 1)).is_ok());
    // Last blocks without end say nothing and cost time.
    let blocks = [0x03, 0x00].repeat(10_000);
    assert_eq!(
        read(limit_bytes, &from_client(true, 1, &blocks, 1)),
        Err(FrameError::BadDeflate)
    );
}

#[test]
fn each_fault_of_a_compressed_message_has_its_error() {
    let good = deflated(b"{}", 6, FlushCompress::Sync);
    let no_text = deflated(&[0xFF, 0xFE], 6, FlushCompress::Sync);
    // A reference to what was never said, and a kind of block that does not exist.
    let mut window = Compress::new(flate2::Compression::new(6), false);
    let text = b"said once, said once more and never said again";
    let mut out = Vec::with_capacity(1000);
    window.compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
    out.clear();
    window.compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
    let cases: [(&[u8], u8, bool, FrameError); 6] = [
        (&no_text, 1, true, FrameError::BadText),
        (&out, 1, true, FrameError::BadDeflate),
        (&[0x06], 1, true, FrameError::BadDeflate),
        (&good, 9, true, FrameError::ReservedBits),
        (&good, 8, true, FrameError::ReservedBits),
        (&good, 0, true, FrameError::ReservedBits),
    ];
    for (payload, opcode, is_compressed, error) in cases {
        let stream = from_client(is_compressed, opcode, payload, 1);
        assert_eq!(read(1000, &stream), Err(error), "{payload:02x?}");
        let code = if error == FrameError::ReservedBits {
            1002
        } else {
            1007
        };
        assert_eq!(error.close_code().number(), code);
    }
    // The bit in a further piece of a message.
    let mut pieces = from_client(true, 1, &good, 1);
    pieces[0] = 0x41;
    let mut second = from_client(true, 0, &[], 1);
    second[0] = 0xC0;
    pieces.extend(second);
    assert_eq!(read(1000, &pieces), Err(FrameError::ReservedBits));
    // Without an agreement there is no compressed message.
    let mut reader = FrameReader::new(1000);
    reader.push(&from_client(true, 1, &good, 1));
    assert_eq!(reader.next(), Err(FrameError::ReservedBits));
}

#[test]
fn each_message_of_a_client_stands_alone() {
    let text = b"{\"type\":\"ping\",\"id\":1}";
    let one = deflated(text, 6, FlushCompress::Sync);
    let plain = from_client(false, 1, text, 1);
    let stream = [
        from_client(true, 1, &one, 1),
        plain,
        from_client(true, 1, &one, 3),
        from_client(true, 1, &[], 1),
    ]
    .concat();
    let said = Message::Text(String::from_utf8(text.to_vec()).unwrap());
    let empty = Message::Text(String::new());
    assert_eq!(
        read(100, &stream),
        Ok(vec![said.clone(), said.clone(), said, empty])
    );
}

fn patch(number: u64) -> String {
    format!(
        "{{\"type\":\"state.patch\",\"fromVersion\":{},\"toVersion\":{number},\"patch\":[{{\"op\":\"replace\",\"path\":\
         \"/powerMeter/lastSample/watts\",\"value\":{}.{}}},{{\"op\":\"replace\",\"path\":\"/version\",\"value\":{number}}}]}}",
        number - 1,
        90 + number % 10,
        number % 7,
    )
}

#[test]
fn patches_shrink_to_a_sixth_in_a_shared_window_and_hardly_alone() {
    let (mut ring, mut contexts) = (Ring::new(1 << 20, 0), Contexts::new());
    let mut positions = Positions::new();
    positions.set(Channel::State, ring.cursor());
    let (mut shared, mut alone) = ((None, 0), (None, 0));
    let mut plain = 0;
    for number in 1..=1000 {
        let segment = Segment {
            bytes: frame::text(patch(number).as_bytes()),
            first: number,
            last: number,
        };
        plain += segment.bytes.len();
        let mut view = View::new();
        let from = ring.end();
        ring.push(segment);
        view.insert(Channel::State, ring.view(from, usize::MAX));
        let mut pass = contexts.encode(&view, Duration::ZERO);
        let before = positions.clone();
        for (compression, (membership, total)) in [
            (Compression::Shared, &mut shared),
            (Compression::Alone, &mut alone),
        ] {
            match pass.turn(compression, membership, &before) {
                Turn::Coded(coded) => {
                    *total += coded.bytes().len();
                    *membership = Some(coded.membership());
                    positions.clone_from(coded.after());
                }
                _ => positions.set(Channel::State, ring.cursor()),
            }
            if membership.is_none() {
                pass.would_join(compression, &positions);
            }
        }
        contexts.end_pass(pass, Duration::ZERO);
    }
    println!("plain {plain}, shared {}, alone {}", shared.1, alone.1);
    assert!(shared.1 * 6 < plain, "{} of {plain}", shared.1);
    assert!(alone.1 < plain, "{} of {plain}", alone.1);
}

/// A segment that says what it is: `<channel>:<first>-<last>:<padding>`, in as many messages as it has numbers.
fn segment(channel: Channel, numbers: std::ops::RangeInclusive<u64>, padding: usize) -> Segment {
    let name = name(channel);
    let mut bytes = Vec::new();
    for number in numbers.clone() {
        let text = format!("{name}:{number}-{number}:{}", "never gonna give ".repeat(padding));
        frame::append(&mut bytes, frame::Opcode::Text, text.as_bytes());
    }
    Segment {
        bytes: bytes.into(),
        first: *numbers.start(),
        last: *numbers.end(),
    }
}

fn name(channel: Channel) -> String {
    match channel {
        Channel::State => "state".to_owned(),
        Channel::Logs => "logs".to_owned(),
        Channel::Alarms => "alarms".to_owned(),
        Channel::Events => "events".to_owned(),
        Channel::Blocks => "blocks".to_owned(),
        Channel::Commands => "commands".to_owned(),
        Channel::Series(id) => format!("series{id}"),
    }
}

const CHANNELS: [Channel; 4] = [
    Channel::State,
    Channel::Logs,
    Channel::Series(1),
    Channel::Series(2),
];

#[derive(Debug, Clone)]
enum Act {
    /// So many numbers more in this channel, with so much padding.
    Push(usize, u64, usize),
    /// The hub's loop looks, after so many milliseconds.
    Pass(u64),
    /// A client's own writer runs, with a socket that takes so many bytes.
    Pump(usize, usize),
    /// A client's socket takes so many bytes from now on.
    Room(usize, usize),
    /// A client asks for the state again.
    Resync(usize),
    /// A client is told something that is nobody else's.
    Personal(usize),
    /// A client begins or ends a channel.
    Toggle(usize, usize),
    /// A client goes, and another takes its place.
    Replace(usize, Option<Compression>),
}

fn compression() -> impl Strategy<Value = Option<Compression>> {
    prop_oneof![
        3 => Just(Some(Compression::Shared)),
        1 => Just(Some(Compression::Alone)),
        1 => Just(None),
    ]
}

const CLIENTS: usize = 5;

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let room = prop_oneof![Just(usize::MAX), 0..600_usize];
    let act = prop_oneof![
        8 => (0..CHANNELS.len(), 1..4_u64, 0..60_usize).prop_map(|(c, n, p)| Act::Push(c, n, p)),
        8 => (0..200_u64).prop_map(Act::Pass),
        5 => (0..CLIENTS, room.clone()).prop_map(|(c, r)| Act::Pump(c, r)),
        1 => (0..CLIENTS, room).prop_map(|(c, r)| Act::Room(c, r)),
        1 => (0..CLIENTS).prop_map(Act::Resync),
        1 => (0..CLIENTS).prop_map(Act::Personal),
        1 => (0..CLIENTS, 0..CHANNELS.len()).prop_map(|(c, ch)| Act::Toggle(c, ch)),
        1 => (0..CLIENTS, compression()).prop_map(|(c, z)| Act::Replace(c, z)),
    ];
    proptest::collection::vec(act, 1..300)
}

/// A ring, and all that was ever pushed to it.
struct Source {
    ring: Ring,
    history: Vec<Segment>,
}

type Sources = BTreeMap<Channel, Source>;

impl Source {
    fn push(&mut self, channel: Channel, count: u64, padding: usize) {
        let from = self.ring.cursor().covered + 1;
        let segment = segment(channel, from..=from + count - 1, padding);
        self.history.push(segment.clone());
        self.ring.push(segment);
    }
}

/// Messages of each kind in their order: between channels none is promised.
fn by_channel(messages: &[String]) -> BTreeMap<&str, Vec<&str>> {
    let mut sorted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for message in messages {
        sorted
            .entry(message.split(':').next().unwrap())
            .or_default()
            .push(message);
    }
    sorted
}

/// A client of the model, with what a hub keeps for it, and the browser at the other end.
struct Client {
    compression: Option<Compression>,
    positions: Positions,
    membership: Option<Membership>,
    rest: Bytes,
    has_own_writer: bool,
    room: usize,
    browser: Browser,
    /// What an uncompressed client would have been sent, message for message.
    meant: Vec<String>,
}

impl Client {
    fn new(compression: Option<Compression>, rings: &Sources) -> Self {
        let mut positions = Positions::new();
        for channel in [Channel::State, Channel::Logs] {
            positions.set(channel, rings[&channel].ring.cursor());
        }
        Self {
            compression,
            positions,
            membership: None,
            rest: Bytes::new(),
            has_own_writer: false,
            room: usize::MAX,
            browser: Browser::new(),
            meant: Vec::new(),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        let taken = self.room.min(bytes.len());
        if self.room != usize::MAX {
            self.room -= taken;
        }
        self.browser.take(&bytes[..taken]);
        taken
    }

    /// Writes down what the plain segments between two places say.
    fn means(&mut self, rings: &Sources, from: &Positions, to: &Positions) {
        for (channel, cursor) in from.iter() {
            let Some(end) = to.get(channel) else { continue };
            for segment in &rings[&channel].history[cursor.segment as usize..end.segment as usize] {
                for frame in frame::split(&segment.bytes) {
                    let text = frame.compressible().unwrap().1.to_vec();
                    self.meant.push(String::from_utf8(text).unwrap());
                }
            }
        }
    }

    fn sent(&mut self, rings: &Sources, to: &Positions) {
        let from = std::mem::replace(&mut self.positions, to.clone());
        self.means(rings, &from, to);
    }

    /// What the hub's loop does for a client.
    fn write_shared(&mut self, rings: &Sources, view: &View, pass: &mut Pass) {
        if self.has_own_writer {
            if let Some(membership) = self.membership {
                pass.is_member(membership);
            }
            return;
        }
        let turn = match self.compression {
            Some(compression) => pass.turn(compression, &mut self.membership, &self.positions),
            None => Turn::Plain,
        };
        match turn {
            Turn::UpToDate => {}
            Turn::Coded(coded) => {
                let taken = self.send(coded.bytes());
                if taken == 0 {
                    self.has_own_writer = true;
                    return;
                }
                self.membership = Some(coded.membership());
                self.sent(rings, coded.after());
                if taken < coded.bytes().len() {
                    self.rest = coded.bytes().slice(taken..);
                    self.has_own_writer = true;
                }
            }
            Turn::Plain => {
                match view.next(&self.positions) {
                    Next::UpToDate => {}
                    Next::Write(batch) => self.write(rings, &batch),
                    Next::Snapshot | Next::Missed(..) => self.has_own_writer = true,
                }
                if let (Some(compression), false) = (self.compression, self.has_own_writer) {
                    pass.would_join(compression, &self.positions);
                }
            }
        }
    }

    fn write(&mut self, rings: &Sources, batch: &crate::outbox::Batch<'_>) {
        let whole: Vec<u8> = batch.slices().iter().flat_map(|s| s.to_vec()).collect();
        let taken = self.send(&whole);
        let progress = batch.after(taken);
        self.sent(rings, &progress.positions);
        self.rest = progress.rest.unwrap_or_default();
        self.has_own_writer |= taken < whole.len();
    }

    /// What a client's own writer does.
    fn pump(&mut self, rings: &Sources, tails: &Tails, limit_bytes: usize) {
        if !self.has_own_writer {
            return;
        }
        loop {
            if !self.rest.is_empty() {
                let rest = self.rest.clone();
                let taken = self.send(&rest);
                self.rest = rest.slice(taken..);
                if !self.rest.is_empty() {
                    return;
                }
            }
            if let Some(membership) = self.membership {
                match tails.follow(membership, &self.positions, limit_bytes) {
                    Follow::UpToDate => {
                        self.has_own_writer = false;
                        return;
                    }
                    Follow::Left => self.membership = None,
                    Follow::Write(run) => {
                        let whole: Vec<u8> = run.slices().iter().flat_map(|s| s.to_vec()).collect();
                        let taken = self.send(&whole);
                        let Some(Reached {
                            membership,
                            positions,
                            rest,
                            ..
                        }) = run.after(taken)
                        else {
                            return;
                        };
                        self.membership = Some(membership);
                        self.sent(rings, positions);
                        self.rest = rest;
                    }
                }
                continue;
            }
            let mut view = View::new();
            for (channel, cursor) in self.positions.iter() {
                view.insert(channel, rings[&channel].ring.view(cursor.segment, limit_bytes));
            }
            match view.next(&self.positions) {
                Next::UpToDate => {
                    self.has_own_writer = false;
                    return;
                }
                Next::Write(batch) => match self.compression {
                    // A narrow line: what it missed is compressed for it alone.
                    Some(compression) if batch.total_bytes() > 1000 => {
                        let frames: Vec<Bytes> =
                            batch.slices().iter().map(|s| Bytes::copy_from_slice(s)).collect();
                        self.sent(rings, batch.complete());
                        match compress_apart(compression, &frames) {
                            Some(bytes) => self.rest = bytes,
                            None => self.rest = frames.concat().into(),
                        }
                    }
                    _ => {
                        self.write(rings, &batch);
                        if batch.total_bytes() > 0 && self.room == 0 {
                            return;
                        }
                    }
                },
                Next::Snapshot => self.snapshot(rings),
                Next::Missed(channel, missed) => {
                    let missed = missed.expect("numbers are contiguous here");
                    let text = format!("{}:{}-{}:", name(channel), missed.start(), missed.end());
                    let cursor = rings[&channel].ring.cursor_after(*missed.end()).unwrap();
                    self.say(&text);
                    self.positions.set(channel, cursor);
                }
            }
        }
    }

    /// The whole state, compressed for this client alone: it enters the window.
    fn snapshot(&mut self, rings: &Sources) {
        let cursor = rings[&Channel::State].ring.cursor();
        let text = format!(
            "snapshot:{}-{}:{}",
            cursor.covered,
            cursor.covered,
            "a slice, ".repeat(100)
        );
        self.meant.push(text.clone());
        let plain = frame::text(text.as_bytes());
        let apart = self
            .compression
            .and_then(|c| compress_apart(c, std::slice::from_ref(&plain)));
        if apart.is_some() {
            self.membership = None;
        }
        let bytes = apart.unwrap_or(plain);
        self.append_rest(&bytes);
        if self.positions.get(Channel::State).is_some() {
            self.positions.set(Channel::State, cursor);
        }
    }

    /// Something small that only this client gets.
    fn say(&mut self, text: &str) {
        self.meant.push(text.to_owned());
        self.append_rest(&frame::text(text.as_bytes()));
    }

    fn append_rest(&mut self, bytes: &[u8]) {
        self.rest = [&self.rest[..], bytes].concat().into();
        self.has_own_writer = true;
    }

    fn toggle(&mut self, channel: Channel, rings: &Sources) {
        if !self.positions.remove(channel) {
            let Cursor { segment, covered } = rings[&channel].ring.cursor();
            self.positions.set(channel, Cursor { segment, covered });
            self.say(&format!("{}:from-{covered}:", name(channel)));
        }
    }

    fn check(&self) {
        assert_eq!(by_channel(&self.browser.messages), by_channel(&self.meant));
        assert!(self.browser.pending.is_empty());
        // Every number once and in order, or a jump that was said.
        let mut covered: BTreeMap<&str, u64> = BTreeMap::new();
        for message in &self.browser.messages {
            let mut fields = message.split(':');
            let (name, range) = (fields.next().unwrap(), fields.next().unwrap());
            if name == "personal" {
                continue;
            }
            let (first, last) = range.split_once('-').unwrap();
            let last: u64 = last.parse().unwrap();
            if name == "snapshot" {
                covered.insert("state", last);
                continue;
            }
            if first != "from"
                && let Some(before) = covered.get(name)
            {
                assert_eq!(
                    before + 1,
                    first.parse::<u64>().unwrap(),
                    "{name} has no gap and nothing twice"
                );
            }
            covered.insert(name, last);
        }
        if self.compression.is_none() {
            assert_eq!(self.browser.compressed, 0);
        }
    }
}

/// How often what a test is about has happened: a property that never meets it would hold for nothing.
#[derive(Default, Debug)]
struct Met {
    joins: usize,
    leaves: usize,
    follows: usize,
}

fn play(acts: &[Act], bound_bytes: usize, limit_bytes: usize, met: &mut Met) {
    let source = || Source {
        ring: Ring::new(bound_bytes, 0),
        history: Vec::new(),
    };
    let mut rings: Sources = CHANNELS.into_iter().map(|channel| (channel, source())).collect();
    let mut seen: BTreeMap<Channel, u64> = BTreeMap::new();
    let (mut contexts, mut tails) = (Contexts::new(), Tails::new());
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|index| Client::new((index > 0).then_some(Compression::Shared), &rings))
        .collect();
    let mut now = Duration::ZERO;
    let mut pass = |now, rings: &Sources, clients: &mut Vec<Client>, tails: &mut Tails, met: &mut Met| {
        let mut view = View::new();
        for (channel, Source { ring, .. }) in rings {
            let place = seen.entry(*channel).or_default();
            if ring.end() != *place {
                view.insert(*channel, ring.view(*place, usize::MAX));
                *place = ring.end();
            }
        }
        if view.is_empty() {
            return;
        }
        let mut pass = contexts.encode(&view, now);
        tails.take(&pass);
        for client in clients {
            let was = client.membership.is_some();
            client.write_shared(rings, &view, &mut pass);
            met.joins += usize::from(!was && client.membership.is_some());
            met.leaves += usize::from(was && client.membership.is_none());
        }
        contexts.end_pass(pass, now);
    };
    for act in acts {
        match *act {
            Act::Push(channel, count, padding) => {
                let channel = CHANNELS[channel];
                rings.get_mut(&channel).unwrap().push(channel, count, padding);
            }
            Act::Pass(ms) => {
                now += Duration::from_millis(ms);
                pass(now, &rings, &mut clients, &mut tails, met);
            }
            Act::Pump(client, room) => {
                let client = &mut clients[client];
                let was = client.membership.is_some();
                client.room = room;
                client.pump(&rings, &tails, limit_bytes);
                met.leaves += usize::from(was && client.membership.is_none());
                met.follows += usize::from(was && client.membership.is_some());
                if client.room > 0 {
                    client.room = usize::MAX;
                }
            }
            Act::Room(client, room) => clients[client].room = room,
            Act::Resync(client) => clients[client].snapshot(&rings),
            Act::Personal(client) => clients[client].say("personal:you"),
            Act::Toggle(client, channel) => clients[client].toggle(CHANNELS[channel], &rings),
            Act::Replace(client, compression) => {
                let old = std::mem::replace(&mut clients[client], Client::new(compression, &rings));
                // It went in the middle of something; what it has got is right as far as it goes.
                let meant = by_channel(&old.meant);
                for (name, messages) in by_channel(&old.browser.messages) {
                    assert!(
                        meant.get(name).is_some_and(|meant| meant.starts_with(&messages)),
                        "{name}"
                    );
                }
            }
        }
    }
    // Then the sockets take everything.
    for round in 0..400 {
        for client in &mut clients {
            client.room = usize::MAX;
            client.pump(&rings, &tails, usize::MAX);
        }
        now += Duration::from_millis(100);
        if round % 10 == 0 {
            for (channel, source) in &mut rings {
                source.push(*channel, 1, 10);
            }
        }
        pass(now, &rings, &mut clients, &mut tails, met);
    }
    for client in &clients {
        client.check();
        let may_share = client.compression.is_some() && client.positions.iter().next().is_some();
        assert_eq!(
            may_share,
            client.membership.is_some(),
            "whoever may share a context does in the end"
        );
        for (channel, cursor) in client.positions.iter() {
            assert_eq!(cursor, rings[&channel].ring.cursor());
        }
    }
    assert!(tails.held_bytes() <= CONTEXTS * TAIL_BYTES);
}

fn cases() -> ProptestConfig {
    let long = std::env::var("AUTOBENCH_LONG").is_ok_and(|v| v == "1");
    ProptestConfig::with_cases(if long { 20_000 } else { 200 })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_client_decodes_with_its_own_inflater_what_a_plain_client_is_sent(
        acts in acts(),
        bound_bytes in prop_oneof![600..4000_usize, Just(1 << 20)],
        limit_bytes in 1..4000_usize,
    ) {
        play(&acts, bound_bytes, limit_bytes, &mut Met::default());
    }

    #[test]
    fn a_compressed_message_is_read_whatever_compressed_it(
        texts in proptest::collection::vec((".{0,400}", 0..10_u32, any::<bool>(), 1..5_usize, any::<bool>()), 1..8),
    ) {
        let mut stream = Vec::new();
        let mut meant = Vec::new();
        for (text, level, is_finished, pieces, is_compressed) in texts {
            let flush = if is_finished { FlushCompress::Finish } else { FlushCompress::Sync };
            match is_compressed {
                // A compressor that has nothing to say says nothing.
                true if !text.is_empty() => {
                    stream.extend(from_client(true, 1, &deflated(text.as_bytes(), level, flush), pieces));
                }
                _ => stream.extend(from_client(false, 1, text.as_bytes(), pieces)),
            }
            meant.push(Message::Text(text));
        }
        prop_assert_eq!(read(10_000, &stream), Ok(meant));
    }

    #[test]
    fn noise_is_no_message_and_harms_nobody(
        noise in proptest::collection::vec(any::<u8>(), 0..300),
        pieces in 1..4_usize,
    ) {
        match read(5_000, &from_client(true, 2, &noise, pieces)) {
            Ok(messages) => prop_assert!(matches!(&messages[..], [Message::Binary(bytes)] if bytes.len() <= 5_000)),
            Err(error) => prop_assert!([1007, 1009].contains(&error.close_code().number()), "{}", error),
        }
        // The inflater belongs to the thread: whatever it was fed, the next message begins anew.
        let text = "after the noise";
        let stream = from_client(true, 1, &deflated(text.as_bytes(), 6, FlushCompress::Sync), 1);
        prop_assert_eq!(read(100, &stream), Ok(vec![Message::Text(text.to_owned())]));
    }

    #[test]
    fn what_is_compressed_apart_is_read_by_whoever_reads_anything_before_it(
        texts in proptest::collection::vec("[a-d]{0,500}", 1..10),
        compression in prop_oneof![Just(Compression::Shared), Just(Compression::Alone)],
    ) {
        let frames: Vec<Bytes> = texts.iter().map(|t| frame::text(t.as_bytes())).collect();
        let mut browser = Browser::new();
        let mut meant = Vec::new();
        for _ in 0..2 {
            if let Some(bytes) = compress_apart(compression, &frames) {
                prop_assert!(bytes.len() < frames.iter().map(Bytes::len).sum());
                if compression == Compression::Alone {
                    browser.inflater.reset(false);
                }
                browser.take(&bytes);
                meant.extend(texts.clone());
            }
        }
        prop_assert_eq!(&browser.messages, &meant);
    }
}

#[test]
fn the_schedules_really_join_leave_and_lag() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut met = Met::default();
    for _ in 0..20 {
        let acts = acts().new_tree(&mut runner).unwrap().current();
        play(&acts, 3000, 500, &mut met);
    }
    println!("{met:?}");
    assert!(met.joins > 100 && met.leaves > 20 && met.follows > 20, "{met:?}");
}

fn coded(contexts: &mut Contexts, ring: &mut Ring, now_ms: u64) -> (Pass, Option<Arc<Coded>>, View) {
    let from = ring.end();
    let number = ring.cursor().covered + 1;
    ring.push(segment(Channel::State, number..=number, 10));
    let mut view = View::new();
    view.insert(Channel::State, ring.view(from, usize::MAX));
    let pass = contexts.encode(&view, Duration::from_millis(now_ms));
    let coded = pass.coded().next().and_then(|(_, coded)| coded.cloned());
    (pass, coded, view)
}

#[test]
fn a_client_that_comes_and_goes_opens_a_context_no_more_than_four_times_a_second() {
    let (mut contexts, mut ring) = (Contexts::new(), Ring::new(1 << 20, 0));
    let mut positions = Positions::new();
    positions.set(Channel::State, ring.cursor());
    let mut member = None;
    let mut opened = 0;
    for ms in (0..10_000).step_by(20) {
        let (mut pass, coded, _) = coded(&mut contexts, &mut ring, ms);
        opened += usize::from(coded.is_some_and(|coded| coded.opens));
        if let Turn::Coded(coded) = pass.turn(Compression::Shared, &mut member, &positions) {
            member = Some(coded.membership());
        }
        positions.set(Channel::State, ring.cursor());
        // Somebody always wants to join.
        pass.would_join(Compression::Shared, &positions);
        contexts.end_pass(pass, Duration::from_millis(ms));
    }
    assert!((30..=41).contains(&opened), "{opened} times in ten seconds");
}

#[test]
fn a_context_opens_for_whoever_waits_and_now_and_then_anyway_and_ends_with_its_last_member() {
    let (mut contexts, mut ring) = (Contexts::new(), Ring::new(1 << 20, 0));
    let mut positions = Positions::new();
    positions.set(Channel::State, ring.cursor());
    let mut member = None;
    let mut opens = Vec::new();
    for n in 0..600 {
        // From the four hundredth on somebody else waits.
        let (mut pass, coded, _) = coded(&mut contexts, &mut ring, 0);
        if coded.is_some_and(|coded| coded.opens) {
            opens.push(n);
        }
        if let Turn::Coded(coded) = pass.turn(Compression::Shared, &mut member, &positions) {
            member = Some(coded.membership());
        } else {
            pass.would_join(Compression::Shared, &{
                let mut positions = Positions::new();
                positions.set(Channel::State, ring.cursor());
                positions
            });
        }
        positions.set(Channel::State, ring.cursor());
        if n >= 400 {
            pass.would_join(Compression::Shared, &positions);
        }
        contexts.end_pass(pass, Duration::ZERO);
    }
    assert_eq!(opens, [1, 257, 401, 465, 529, 593]);
    assert!(!contexts.is_empty());
    let (pass, _, _) = coded(&mut contexts, &mut ring, 0);
    contexts.end_pass(pass, Duration::ZERO);
    assert!(contexts.is_empty());
}

#[test]
fn a_burst_beyond_the_bound_goes_out_as_it_is_and_the_window_goes_on() {
    let (mut contexts, mut ring) = (Contexts::new(), Ring::new(8 << 20, 0));
    let mut positions = Positions::new();
    positions.set(Channel::State, ring.cursor());
    let mut member = None;
    let mut browser = Browser::new();
    for n in 1..=20_u64 {
        let from = ring.end();
        // Each third segment is larger than what a pass codes.
        let padding = if n % 3 == 0 { 20_000 } else { 10 };
        ring.push(segment(Channel::State, n..=n, padding));
        ring.push(segment(Channel::State, n..=n, 5));
        let mut view = View::new();
        view.insert(Channel::State, ring.view(from, usize::MAX));
        let mut pass = contexts.encode(&view, Duration::ZERO);
        if let Turn::Coded(coded) = pass.turn(Compression::Shared, &mut member, &positions) {
            browser.take(coded.bytes());
            member = Some(coded.membership());
        }
        positions.set(Channel::State, ring.cursor());
        if member.is_none() {
            pass.would_join(Compression::Shared, &positions);
        }
        contexts.end_pass(pass, Duration::ZERO);
    }
    assert_eq!(browser.messages.len(), 38);
    assert_eq!(
        browser.compressed,
        38 - 2 * 6,
        "what follows the large one in its pass waits for no coder either"
    );
}
