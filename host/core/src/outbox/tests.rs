use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// A segment whose bytes say what it is, so that a client's stream can be taken apart again: `<channel>:<first>-<last>;` and padding.
fn segment(channel: Channel, numbers: RangeInclusive<u64>, padding: usize) -> Segment {
    let name = match channel {
        Channel::State => "state".to_owned(),
        Channel::Logs => "logs".to_owned(),
        Channel::Alarms => "alarms".to_owned(),
        Channel::Events => "events".to_owned(),
        Channel::Blocks => "blocks".to_owned(),
        Channel::Commands => "commands".to_owned(),
        Channel::Series(id) => format!("series{id}"),
    };
    let (first, last) = (*numbers.start(), *numbers.end());
    Segment {
        bytes: Bytes::from(format!("{name}:{first}-{last}:{};", ".".repeat(padding))),
        first,
        last,
    }
}

fn numbered(number: u64) -> Segment {
    segment(Channel::State, number..=number, 0)
}

#[test]
fn a_ring_forgets_the_oldest_first_and_never_reuses_a_number() {
    let mut ring = Ring::new(1000, 0);
    for number in 1..=50 {
        ring.push(numbered(number));
        assert!(ring.held_bytes() <= 1000);
    }
    assert_eq!(ring.end(), 50);
    let view = ring.view(0, usize::MAX);
    assert_eq!(view.first, ring.start());
    assert_eq!(view.segments.last(), Some(&numbered(50)));
    assert_eq!(view.segments.first(), Some(&numbered(ring.start() + 1)));
}

#[test]
fn a_segment_over_the_bound_counts_as_lost() {
    let mut ring = Ring::new(300, 0);
    ring.push(numbered(1));
    let before = ring.cursor();
    ring.push(segment(Channel::Logs, 2..=9, 500));
    assert_eq!((ring.start(), ring.end(), ring.held_bytes()), (2, 2, 0));
    let mut view = View::new();
    view.insert(Channel::Logs, ring.view(0, usize::MAX));
    let mut positions = Positions::new();
    positions.set(Channel::Logs, before);
    assert!(matches!(view.next(&positions), Next::Missed(Channel::Logs, Some(range)) if range == (2..=9)));
}

#[test]
fn a_client_that_was_away_goes_on_where_a_segment_begins_or_not_at_all() {
    let mut ring = Ring::new(10_000, 4);
    assert_eq!(ring.cursor_after(4), Some(ring.cursor()));
    ring.push(segment(Channel::State, 5..=7, 0));
    ring.push(segment(Channel::State, 8..=8, 0));
    assert_eq!(ring.cursor_after(4).map(|c| c.segment), Some(0));
    assert_eq!(ring.cursor_after(5), None, "version 5 was inside a flush");
    assert_eq!(ring.cursor_after(7).map(|c| c.segment), Some(1));
    assert_eq!(ring.cursor_after(8), Some(ring.cursor()));
    assert_eq!(ring.cursor_after(9), None);
    assert_eq!(ring.cursor_after(3), None);
    assert_eq!(ring.cursor_after(u64::MAX), None);
}

#[test]
fn a_view_is_cut_to_its_limit_but_never_empty_when_there_is_news() {
    let mut ring = Ring::new(100_000, 0);
    for number in 1..=10 {
        ring.push(segment(Channel::State, number..=number, 100));
    }
    assert_eq!(ring.view(0, 1).segments.len(), 1);
    assert_eq!(ring.view(3, 350).segments.len(), 3);
    assert_eq!(ring.view(10, usize::MAX).segments.len(), 0);
}

#[test]
fn news_that_the_ring_could_not_keep_are_still_news() {
    let mut ring = Ring::new(300, 0);
    let mut positions = Positions::new();
    positions.set(Channel::State, ring.cursor());
    ring.push(segment(Channel::State, 1..=1, 500));
    let news = ring.view(0, usize::MAX);
    assert_eq!((news.segments().len(), news.end()), (0, 1));
    let mut view = View::new();
    view.insert(Channel::State, news);
    assert!(!view.is_empty());
    assert!(matches!(view.next(&positions), Next::Snapshot));
}

#[test]
fn clients_at_the_same_place_share_a_batch() {
    let mut ring = Ring::new(100_000, 0);
    let mut positions = Positions::new();
    positions.set(Channel::State, ring.cursor());
    let behind = positions.clone();
    ring.push(numbered(1));
    let mut view = View::new();
    view.insert(Channel::State, ring.view(0, usize::MAX));
    let Next::Write(batch) = view.next(&positions) else {
        panic!("there is news");
    };
    assert!(batch.fits(&behind));
    assert!(!batch.fits(batch.complete()));
    assert_eq!(batch.after(batch.total_bytes()).positions, *batch.complete());
    assert!(matches!(view.next(batch.complete()), Next::UpToDate));
}

#[test]
fn a_joined_batch_is_the_same_bytes_in_one_piece() {
    let mut ring = Ring::new(100_000, 0);
    let mut positions = Positions::new();
    positions.set(Channel::State, ring.cursor());
    for number in 1..=3 {
        ring.push(numbered(number));
    }
    let mut view = View::new();
    view.insert(Channel::State, ring.view(0, usize::MAX));
    let Next::Write(mut batch) = view.next(&positions) else {
        panic!("there is news");
    };
    assert_eq!((batch.whole(), batch.segments()), (None, 3));
    batch.join();
    let apart: Vec<u8> = batch.slices().iter().flat_map(|slice| slice.to_vec()).collect();
    assert_eq!(batch.whole(), Some(&apart[..]));
    // What is left of a write is cut from the segments, joined or not.
    let first = batch.slices().first().map_or(0, |slice| slice.len());
    assert_eq!(
        batch.after(first + 2).rest.map(|rest| rest.to_vec()),
        Some(apart[first + 2..2 * first].to_vec())
    );
}

const CHANNELS: [Channel; 4] = [Channel::State, Channel::Logs, Channel::Events, Channel::Series(7)];

#[derive(Debug, Clone)]
enum Act {
    /// So many numbers more in this channel, with so much padding.
    Push(usize, u64, usize),
    /// Client, bytes that its socket takes, view limit.
    Write(usize, usize, usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    proptest::collection::vec(
        prop_oneof![
            (0..CHANNELS.len(), 1..4_u64, 0..200_usize).prop_map(|(c, n, p)| Act::Push(c, n, p)),
            (0..3_usize, 0..400_usize, 1..500_usize).prop_map(|(c, b, l)| Act::Write(c, b, l)),
        ],
        1..200,
    )
}

/// A client of the model: what its socket took, and what it was told that it missed.
#[derive(Default)]
struct Client {
    positions: Positions,
    rest: Option<Bytes>,
    stream: Vec<u8>,
}

impl Client {
    /// What a hub does for one client, with a socket that takes `room` bytes.
    fn write(&mut self, rings: &BTreeMap<Channel, Ring>, mut room: usize, limit_bytes: usize) {
        if let Some(rest) = self.rest.take() {
            let taken = room.min(rest.len());
            self.stream.extend(&rest[..taken]);
            room -= taken;
            if taken < rest.len() {
                self.rest = Some(rest.slice(taken..));
                return;
            }
        }
        let mut view = View::new();
        for (channel, cursor) in self.positions.iter() {
            view.insert(channel, rings[&channel].view(cursor.segment, limit_bytes));
        }
        match view.next(&self.positions) {
            Next::UpToDate => {}
            Next::Write(batch) => {
                let whole: Vec<u8> = batch.slices().iter().flat_map(|s| s.to_vec()).collect();
                assert_eq!(whole.len(), batch.total_bytes());
                let taken = room.min(whole.len());
                self.stream.extend(&whole[..taken]);
                let progress = batch.after(taken);
                self.positions = progress.positions;
                self.rest = progress.rest;
            }
            Next::Snapshot => {
                let cursor = rings[&Channel::State].cursor();
                self.stream
                    .extend(format!("snapshot:{};", cursor.covered).bytes());
                self.positions.set(Channel::State, cursor);
            }
            Next::Missed(channel, missed) => {
                let missed = missed.expect("numbers are contiguous here");
                let covered = *missed.end();
                self.stream.extend(segment(channel, missed, 0).bytes);
                let cursor = rings[&channel]
                    .cursor_after(covered)
                    .expect("a segment begins there");
                self.positions.set(channel, cursor);
            }
        }
    }

    /// Everything that arrived: whole segments, each channel's numbers contiguous, a snapshot the only jump.
    fn check(&self, rings: &BTreeMap<Channel, Ring>) {
        let text = std::str::from_utf8(&self.stream).unwrap();
        let mut covered: BTreeMap<&str, u64> = BTreeMap::new();
        for part in text.split_terminator(';') {
            let mut fields = part.split(':');
            let (name, range) = (fields.next().unwrap(), fields.next().unwrap());
            if name == "snapshot" {
                let version: u64 = range.parse().unwrap();
                assert!(
                    version >= *covered.entry("state").or_default(),
                    "a snapshot never goes back"
                );
                covered.insert("state", version);
                continue;
            }
            let (first, last) = range.split_once('-').unwrap();
            let before = covered.insert(name, last.parse().unwrap()).unwrap_or_default();
            assert_eq!(
                before + 1,
                first.parse::<u64>().unwrap(),
                "{name} has no gap and nothing twice"
            );
        }
        for (channel, ring) in rings {
            let name = String::from_utf8(segment(*channel, 0..=0, 0).bytes.to_vec()).unwrap();
            let name = name.split(':').next().unwrap();
            assert_eq!(
                covered.get(name).copied().unwrap_or_default(),
                ring.cursor().covered,
                "{name}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        if std::env::var("AUTOBENCH_LONG").is_ok_and(|v| v == "1") { 20_000 } else { 300 }
    ))]

    #[test]
    fn every_client_gets_every_number_once_and_in_order_or_is_told(acts in acts(), bound_bytes in 300..4000_usize) {
        let mut rings: BTreeMap<Channel, Ring> =
            CHANNELS.into_iter().map(|c| (c, Ring::new(bound_bytes, 0))).collect();
        let mut clients: [Client; 3] = Default::default();
        for client in &mut clients {
            for (channel, ring) in &rings {
                client.positions.set(*channel, ring.cursor());
            }
        }
        for act in acts {
            match act {
                Act::Push(channel, count, padding) => {
                    let channel = CHANNELS[channel];
                    let ring = rings.get_mut(&channel).unwrap();
                    let from = ring.cursor().covered + 1;
                    ring.push(segment(channel, from..=from + count - 1, padding));
                    prop_assert!(ring.held_bytes() <= bound_bytes);
                }
                Act::Write(client, room, limit_bytes) => clients[client].write(&rings, room, limit_bytes),
            }
        }
        // Then the sockets take everything.
        for client in &mut clients {
            for _ in 0..1000 {
                client.write(&rings, usize::MAX, usize::MAX);
            }
            client.check(&rings);
        }
    }
}
