//! Each client has an inflater of its own, as a browser has, and reads exactly what it was meant to be told.

mod client;
mod contexts;
mod reading;
mod schedules;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::{Compress, FlushCompress};
use proptest::prelude::*;
use test_support::{BrowserInflater, Frame, client_frame, compressed, finished, is_long, take_frame};

use super::*;
use crate::frame::{self, FrameError, FrameReader, Message};
use crate::outbox::{Channel, Cursor, Next, Positions, Ring, Segment, View};

/// What a browser does with the frames that it gets. Nothing of our own code.
#[derive(Default)]
struct Browser {
    inflater: BrowserInflater,
    pending: Vec<u8>,
    messages: Vec<String>,
    compressed: usize,
}

impl Browser {
    fn take(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        while let Some(Frame { first, payload }) = take_frame(&mut self.pending) {
            let text = match first {
                0x81 => payload,
                0xC1 => {
                    self.compressed += 1;
                    self.inflater.inflate(payload)
                }
                first => panic!("a frame that begins with {first:#x}"),
            };
            self.messages.push(String::from_utf8(text).unwrap());
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
    ProptestConfig::with_cases(if is_long() { 20_000 } else { 200 })
}
