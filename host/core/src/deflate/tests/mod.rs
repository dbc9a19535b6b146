//! Each client has an inflater of its own, as a browser has, and reads exactly what it was meant to be told.

mod client;
mod contexts;
mod reading;
mod schedules;

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

fn cases() -> ProptestConfig {
    let long = std::env::var("AUTOBENCH_LONG").is_ok_and(|v| v == "1");
    ProptestConfig::with_cases(if long { 20_000 } else { 200 })
}

