//! One look at the rings, and what it means for a client.

use std::io::IoSlice;
use std::ops::RangeInclusive;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Channel, Cursor, Positions, RingView, Segment};

/// Parts of the rings, taken at one moment and in the order of their channels.
#[derive(Debug, Default)]
pub struct View(Vec<(Channel, RingView)>);

/// What a client is sent next.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is looked at where it is made and never kept; a box would be an allocation per flush"
)]
pub enum Next<'v> {
    /// It has everything that the view holds.
    UpToDate,
    /// These segments, in one write.
    Write(Batch<'v>),
    /// It fell off the ring of the state: one snapshot, and on from there. What it would have been sent of other channels waits.
    Snapshot,
    /// It fell off the ring of another channel: it is told these numbers, and goes on behind them. None, if the numbers are not known to
    /// be any: then only the place is lost.
    Missed(Channel, Option<RangeInclusive<u64>>),
}

/// Segments for one write, in the order in which they are sent, and the way from the positions before to the positions after.
#[derive(Debug)]
pub struct Batch<'v> {
    before: Positions,
    complete: Positions,
    parts: SmallVec<[(Channel, u64, &'v Segment); 8]>,
    slices: SmallVec<[IoSlice<'v>; 8]>,
    /// All of them in one piece, once it is known that several clients get them.
    joined: Option<Bytes>,
    total_bytes: usize,
}

/// Segments of more bytes than this together are not copied for the sake of a simpler write.
const JOIN_BYTES: usize = 64 << 10;

/// Where a client is after a write.
#[derive(Debug, PartialEq, Eq)]
pub struct Progress {
    /// Counting a segment as sent as soon as its first byte is.
    pub positions: Positions,
    /// What is left of a segment that was sent in part. It goes out before anything else.
    pub rest: Option<Bytes>,
}

impl View {
    /// An empty view.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a look at one ring. Channels without news need no entry; a ring that was pushed to has news even if it kept nothing.
    pub fn insert(&mut self, channel: Channel, ring: RingView) {
        match self.0.binary_search_by_key(&channel, |(c, _)| *c) {
            Ok(index) => {
                if let Some(slot) = self.0.get_mut(index) {
                    slot.1 = ring;
                }
            }
            Err(index) => self.0.insert(index, (channel, ring)),
        }
    }

    /// Whether no ring was added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it holds news of a channel.
    pub fn has(&self, channel: Channel) -> bool {
        self.get(channel).is_some()
    }

    /// What follows these positions. A channel that the view does not hold has no news. A cursor ahead of the view belongs to a client
    /// that was written to since the view was taken; it is up to date.
    pub fn next(&self, positions: &Positions) -> Next<'_> {
        let mut batch = Batch {
            before: positions.clone(),
            complete: positions.clone(),
            parts: SmallVec::new(),
            slices: SmallVec::new(),
            joined: None,
            total_bytes: 0,
        };
        for (channel, cursor) in positions.iter() {
            let Some(ring) = self.get(channel) else {
                continue;
            };
            let Some(skip) = cursor.segment.checked_sub(ring.first) else {
                return loss(channel, cursor, ring);
            };
            let segments = usize::try_from(skip)
                .ok()
                .and_then(|skip| ring.segments.get(skip..))
                .unwrap_or_default();
            for (number, segment) in (cursor.segment..).zip(segments) {
                batch.parts.push((channel, number, segment));
                batch.slices.push(IoSlice::new(&segment.bytes));
                batch.total_bytes += segment.bytes.len();
                batch.complete.set(channel, behind(number, segment));
            }
        }
        if batch.parts.is_empty() {
            Next::UpToDate
        } else {
            Next::Write(batch)
        }
    }

    fn get(&self, channel: Channel) -> Option<&RingView> {
        let index = self.0.binary_search_by_key(&channel, |(c, _)| *c).ok()?;
        self.0.get(index).map(|(_, ring)| ring)
    }
}

impl<'v> Batch<'v> {
    /// Whether this is also what a client at those positions is sent.
    pub fn fits(&self, positions: &Positions) -> bool {
        self.before == *positions
    }

    /// Puts small segments into one piece: writing many pieces costs the system more per client than copying them once costs here.
    pub fn join(&mut self) {
        if self.joined.is_none() && self.slices.len() > 1 && self.total_bytes <= JOIN_BYTES {
            let mut joined = Vec::with_capacity(self.total_bytes);
            for slice in &self.slices {
                joined.extend_from_slice(slice);
            }
            self.joined = Some(joined.into());
        }
    }

    /// The segments in one piece, if they are.
    pub fn whole(&self) -> Option<&[u8]> {
        match (&self.joined, &self.slices[..]) {
            (Some(joined), _) => Some(joined),
            (None, [one]) => Some(one),
            (None, _) => None,
        }
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        self.parts.len()
    }

    /// The segments, in their order.
    pub fn parts(&self) -> impl Iterator<Item = (Channel, &'v Segment)> {
        self.parts
            .iter()
            .map(|(channel, _, segment)| (*channel, *segment))
    }

    /// For one vectored write.
    pub fn slices(&self) -> &[IoSlice<'v>] {
        &self.slices
    }

    /// The bytes of each segment.
    pub fn frames(&self) -> impl Iterator<Item = &'v Bytes> {
        self.parts.iter().map(|(_, _, segment)| &segment.bytes)
    }

    /// Bytes of all segments.
    pub fn total_bytes(&self) -> usize {
        self.total_bytes
    }

    /// Where the client is when everything was sent.
    pub fn complete(&self) -> &Positions {
        &self.complete
    }

    /// Where the client is when this many bytes were sent.
    pub fn after(&self, written_bytes: usize) -> Progress {
        let mut positions = self.before.clone();
        let mut left = written_bytes;
        for (channel, number, segment) in &self.parts {
            if left == 0 {
                break;
            }
            positions.set(*channel, behind(*number, segment));
            if left < segment.bytes.len() {
                return Progress {
                    positions,
                    rest: Some(segment.bytes.slice(left..)),
                };
            }
            left -= segment.bytes.len();
        }
        Progress {
            positions,
            rest: None,
        }
    }
}

fn behind(number: u64, segment: &Segment) -> Cursor {
    Cursor {
        segment: number + 1,
        covered: segment.last,
    }
}

fn loss<'v>(channel: Channel, cursor: Cursor, ring: &RingView) -> Next<'v> {
    if channel == Channel::State {
        return Next::Snapshot;
    }
    let missed = cursor.covered + 1..=ring.held_from.saturating_sub(1);
    Next::Missed(channel, Some(missed).filter(|range| !range.is_empty()))
}
