//! The last segments of one channel.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Cursor;

/// What one flush of a channel is on the wire: whole frames, encoded once, shared by every client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The frames.
    pub bytes: Bytes,
    /// First number (version that the patch makes, seq of the first entry) that the segment covers.
    pub first: u64,
    /// Last number that it covers.
    pub last: u64,
}

/// What a segment costs beside its bytes: its own size, and that of the shared buffer's head. Small segments would otherwise make the
/// bound on memory meaningless.
const SEGMENT_OVERHEAD_BYTES: usize = 96;

/// A bounded queue of segments with absolute numbers: the first segment ever pushed is number 0, and a number is never used again.
#[derive(Debug)]
pub struct Ring {
    segments: VecDeque<Segment>,
    start: u64,
    held_bytes: usize,
    bound_bytes: usize,
    covered: u64,
}

/// A copy of the references to a part of a ring, so that sockets are written without holding the ring's lock.
#[derive(Debug, Clone)]
pub struct RingView {
    pub(super) first: u64,
    pub(super) segments: Vec<Segment>,
    /// First number that the ring still had from `first` on; names the end of what a client missed.
    pub(super) held_from: u64,
}

impl Ring {
    /// An empty ring. `covered` is the number that a client has when it has everything before the first segment.
    pub fn new(bound_bytes: usize, covered: u64) -> Self {
        Self {
            segments: VecDeque::new(),
            start: 0,
            held_bytes: 0,
            bound_bytes,
            covered,
        }
    }

    /// Appends a segment; the oldest go until the bound holds. A segment larger than the bound is not kept at all: it counts as pushed
    /// and at once dropped, and every client recovers from it as from any other loss.
    pub fn push(&mut self, segment: Segment) {
        self.covered = segment.last;
        self.held_bytes += cost(&segment);
        self.segments.push_back(segment);
        while self.held_bytes > self.bound_bytes {
            let Some(oldest) = self.segments.pop_front() else {
                break;
            };
            self.start += 1;
            self.held_bytes -= cost(&oldest);
        }
        if self.segments.capacity() > 64 && self.segments.len() < self.segments.capacity() / 8 {
            self.segments.shrink_to(self.segments.len() * 2);
        }
    }

    /// Number of the oldest segment that is still here.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Number that the next segment will get.
    pub fn end(&self) -> u64 {
        self.start + self.segments.len() as u64
    }

    /// The cursor of a client that has everything.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            segment: self.end(),
            covered: self.covered,
        }
    }

    /// The cursor of a client that has everything up to this number, if the ring still knows what follows it and a segment begins there.
    pub fn cursor_after(&self, covered: u64) -> Option<Cursor> {
        if covered == self.covered {
            return Some(self.cursor());
        }
        let wanted = covered.checked_add(1)?;
        let index = self.segments.binary_search_by_key(&wanted, |s| s.first).ok()?;
        Some(Cursor {
            segment: self.start + index as u64,
            covered,
        })
    }

    /// Memory that the ring holds.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The segments from number `from` on, or from the oldest there is, up to `limit_bytes` of frames but at least one.
    pub fn view(&self, from: u64, limit_bytes: usize) -> RingView {
        let first = from.clamp(self.start, self.end());
        let skip = usize::try_from(first - self.start).unwrap_or(usize::MAX);
        let mut taken_bytes = 0_usize;
        let segments: Vec<_> = self
            .segments
            .iter()
            .skip(skip)
            .take_while(|segment| {
                let fits = taken_bytes == 0 || taken_bytes + segment.bytes.len() <= limit_bytes;
                taken_bytes += segment.bytes.len();
                fits
            })
            .cloned()
            .collect();
        RingView {
            first,
            held_from: segments.first().map_or(self.covered + 1, |s| s.first),
            segments,
        }
    }
}

impl RingView {
    /// The segments, oldest first.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Number of the segment behind the last of this view.
    pub fn end(&self) -> u64 {
        self.first + self.segments.len() as u64
    }
}

fn cost(segment: &Segment) -> usize {
    segment.bytes.len() + SEGMENT_OVERHEAD_BYTES
}
