//! A client as the model has it: what a hub keeps for it, and the browser at the other end.

use super::*;

/// A ring, and all that was ever pushed to it.
pub(super) struct Source {
    pub(super) ring: Ring,
    pub(super) history: Vec<Segment>,
}

pub(super) type Sources = BTreeMap<Channel, Source>;

impl Source {
    pub(super) fn push(&mut self, channel: Channel, count: u64, padding: usize) {
        let from = self.ring.cursor().covered + 1;
        let segment = segment(channel, from..=from + count - 1, padding);
        self.history.push(segment.clone());
        self.ring.push(segment);
    }
}

/// Messages of each kind in their order: between channels none is promised.
pub(super) fn by_channel(messages: &[String]) -> BTreeMap<&str, Vec<&str>> {
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
pub(super) struct Client {
    pub(super) compression: Option<Compression>,
    pub(super) positions: Positions,
    pub(super) membership: Option<Membership>,
    rest: Bytes,
    has_own_writer: bool,
    pub(super) room: usize,
    pub(super) browser: Browser,
    /// What an uncompressed client would have been sent, message for message.
    pub(super) meant: Vec<String>,
}

impl Client {
    pub(super) fn new(compression: Option<Compression>, rings: &Sources) -> Self {
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
            browser: Browser::default(),
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
    pub(super) fn write_shared(&mut self, rings: &Sources, view: &View, pass: &mut Pass) {
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
    pub(super) fn pump(&mut self, rings: &Sources, tails: &Tails, limit_bytes: usize) {
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
    pub(super) fn snapshot(&mut self, rings: &Sources) {
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
    pub(super) fn say(&mut self, text: &str) {
        self.meant.push(text.to_owned());
        self.append_rest(&frame::text(text.as_bytes()));
    }

    fn append_rest(&mut self, bytes: &[u8]) {
        self.rest = [&self.rest[..], bytes].concat().into();
        self.has_own_writer = true;
    }

    pub(super) fn toggle(&mut self, channel: Channel, rings: &Sources) {
        if !self.positions.remove(channel) {
            let Cursor { segment, covered } = rings[&channel].ring.cursor();
            self.positions.set(channel, Cursor { segment, covered });
            self.say(&format!("{}:from-{covered}:", name(channel)));
        }
    }

    pub(super) fn check(&self) {
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
