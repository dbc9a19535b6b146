//! The last segments of each context, for members whose sockets block.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::TAIL_BYTES;
use super::contexts::{Coded, Membership, Pass};
use crate::outbox::Positions;

/// The tails of all contexts. The hub's loop adds to them before it writes, and a member's own writer reads them.
#[derive(Debug, Default)]
pub struct Tails(Vec<Tail>);

#[derive(Debug)]
struct Tail {
    context: u64,
    /// Never empty.
    segments: VecDeque<Arc<Coded>>,
    held_bytes: usize,
}

/// How a member goes on.
#[derive(Debug)]
pub enum Follow {
    /// It has everything that was coded.
    UpToDate,
    /// These segments.
    Write(Run),
    /// It is no member any more, and goes on with plain frames from its positions.
    Left,
}

/// Segments of one context for one write.
#[derive(Debug)]
pub struct Run(SmallVec<[Arc<Coded>; 8]>);

/// Where a member is after a write.
#[derive(Debug)]
pub struct Reached<'r> {
    /// Counting a segment as sent as soon as its first byte is.
    pub membership: Membership,
    /// The same, in plain positions.
    pub positions: &'r Positions,
    /// What is left of a segment that was sent in part. It goes out before anything else.
    pub rest: Bytes,
    /// How many plain segments that was.
    pub segments: usize,
}

/// What a segment costs beside its bytes: two positions, and what the allocator adds.
const SEGMENT_OVERHEAD_BYTES: usize = size_of::<Coded>() + 64;

impl Tails {
    /// No context has begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what was coded for a pass. The oldest segments go until the bound holds, but for the newest; so do contexts that have ended.
    pub fn take(&mut self, pass: &Pass) {
        self.0
            .retain(|tail| pass.coded().any(|(context, _)| context == tail.context));
        for (context, coded) in pass.coded() {
            let Some(coded) = coded else {
                continue;
            };
            match self.0.iter_mut().find(|tail| tail.context == context) {
                Some(tail) => tail.push(coded),
                None => self.0.push(Tail {
                    context,
                    held_bytes: cost(coded),
                    segments: VecDeque::from([Arc::clone(coded)]),
                }),
            }
        }
    }

    /// Forgets everything: nobody is there.
    pub fn clear(&mut self) {
        self.0 = Vec::new();
    }

    /// What follows for a member, up to `limit_bytes` but at least one segment.
    pub fn follow(&self, member: Membership, positions: &Positions, limit_bytes: usize) -> Follow {
        let Some(tail) = self.0.iter().find(|tail| tail.context == member.context) else {
            return Follow::Left;
        };
        let (Some(oldest), Some(newest)) = (tail.segments.front(), tail.segments.back()) else {
            return Follow::Left;
        };
        if member == newest.membership() {
            return match *positions == newest.after {
                true => Follow::UpToDate,
                false => Follow::Left,
            };
        }
        let Some(skip) = member.next.checked_sub(oldest.number) else {
            return Follow::Left;
        };
        let mut taken_bytes = 0;
        let run: SmallVec<[Arc<Coded>; 8]> = tail
            .segments
            .iter()
            .skip(usize::try_from(skip).unwrap_or(usize::MAX))
            .take_while(|coded| {
                let fits = taken_bytes == 0 || taken_bytes + coded.bytes.len() <= limit_bytes;
                taken_bytes += coded.bytes.len();
                fits
            })
            .cloned()
            .collect();
        match run.first() {
            Some(first) if first.before == *positions => Follow::Write(Run(run)),
            _ => Follow::Left,
        }
    }

    /// Memory that is held.
    pub fn held_bytes(&self) -> usize {
        self.0.iter().map(|tail| tail.held_bytes).sum()
    }
}

impl Tail {
    fn push(&mut self, coded: &Arc<Coded>) {
        self.held_bytes += cost(coded);
        self.segments.push_back(Arc::clone(coded));
        while self.held_bytes > TAIL_BYTES && self.segments.len() > 1 {
            if let Some(oldest) = self.segments.pop_front() {
                self.held_bytes -= cost(&oldest);
            }
        }
    }
}

impl Run {
    /// For one vectored write.
    pub fn slices(&self) -> SmallVec<[IoSlice<'_>; 8]> {
        self.0.iter().map(|coded| IoSlice::new(&coded.bytes)).collect()
    }

    /// Where a client is when so many bytes were sent. None, if nothing was.
    pub fn after(&self, written_bytes: usize) -> Option<Reached<'_>> {
        let mut left = written_bytes;
        let mut segments = 0;
        let mut reached = None;
        for coded in &self.0 {
            if left == 0 {
                break;
            }
            let taken = left.min(coded.bytes.len());
            left -= taken;
            segments += coded.segments;
            reached = Some(Reached {
                membership: coded.membership(),
                positions: &coded.after,
                rest: coded.bytes.slice(taken..),
                segments,
            });
        }
        reached
    }
}

fn cost(coded: &Coded) -> usize {
    coded.bytes.len() + SEGMENT_OVERHEAD_BYTES
}
