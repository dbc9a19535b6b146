//! The writer's side: which contexts there are, what they code, and who may have it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use super::codec::Coder;
use super::{CONTEXTS, Compression};
use crate::outbox::{Next, Positions, View};

/// Messages after which a context opens when somebody waits. Not at once: a client that comes and goes all the time would cost all others the
/// window.
const OPENS_AFTER_MESSAGES: u32 = 64;
/// Time after which it does so, if that is sooner.
const OPENS_AFTER: Duration = Duration::from_millis(250);
/// Messages after which it opens although nobody waits: no mistake shall last, and one message in so many costs next to nothing.
const OPENS_ANYWAY_AFTER_MESSAGES: u32 = 256;

/// What one pass codes for one context. Beyond it frames go as they are, which is always allowed: compressing a burst of any size would hold up
/// the clients that follow it.
const CODED_BYTES: usize = 256 << 10;

/// The contexts. One loop owns them.
#[derive(Debug, Default)]
pub struct Contexts {
    contexts: Vec<Context>,
    /// Names are never used again: a member of a context that is gone finds nothing.
    next_id: u64,
}

#[derive(Debug)]
struct Context {
    id: u64,
    compression: Compression,
    coder: Coder,
    /// Where a member is that has everything.
    standing: Positions,
    /// Number of the next segment.
    next: u64,
    /// Since it last opened.
    messages: u32,
    opened_at: Duration,
    /// A client stands where the context does, and waits for it to open.
    has_candidate: bool,
}

/// A segment of a context: frames, coded once, for every member.
#[derive(Debug, PartialEq, Eq)]
pub struct Coded {
    pub(super) context: u64,
    pub(super) number: u64,
    /// It refers to nothing before it.
    pub(super) opens: bool,
    pub(super) before: Positions,
    pub(super) after: Positions,
    /// How many plain segments it stands for, and of how many bytes.
    pub(super) segments: usize,
    pub(super) plain_bytes: usize,
    pub(super) bytes: Bytes,
}

/// That a client's window is the one of a context, up to a segment. Whether the client may really have that segment is looked at when it
/// is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    pub(super) context: u64,
    /// Number of the segment that comes next.
    pub(super) next: u64,
}

/// One pass over the clients: what was coded for it, and what it finds out about them.
#[derive(Debug, Default)]
pub struct Pass {
    seats: Vec<Seat>,
    candidates: SmallVec<[Candidate; 2]>,
}

/// Clients with plain frames that stand at one place and would like to share a context.
#[derive(Debug)]
struct Candidate {
    compression: Compression,
    positions: Positions,
    clients: usize,
}

/// A context, as far as one pass has to do with it.
#[derive(Debug)]
struct Seat {
    context: u64,
    compression: Compression,
    /// None: there is no news for its members.
    coded: Option<Arc<Coded>>,
    standing: Positions,
    next: u64,
    members: usize,
}

/// What a client is written in a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// This segment.
    Coded(Arc<Coded>),
    /// Nothing: it has everything.
    UpToDate,
    /// Plain frames.
    Plain,
}

impl Contexts {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether no client shares any.
    pub fn is_empty(&self) -> bool {
        self.contexts.is_empty()
    }

    /// Codes what is new for each context. `now` is the time since some fixed moment.
    ///
    /// A context that fell off a ring has lost its place; it ends, and its members go on with plain frames from where they are.
    pub fn encode(&mut self, view: &View, now: Duration) -> Pass {
        let mut pass = Pass::default();
        self.contexts.retain_mut(|context| match context.code(view, now) {
            Ok(coded) => {
                pass.seats.push(Seat {
                    context: context.id,
                    compression: context.compression,
                    coded,
                    standing: context.standing.clone(),
                    next: context.next,
                    members: 0,
                });
                true
            }
            Err(Lost) => false,
        });
        pass
    }

    /// Draws the conclusions of a pass: a context without members ends; a client that could join one waits for it to open, or has a new one
    /// made for it.
    pub fn end_pass(&mut self, pass: Pass, now: Duration) {
        let has_members = |id| {
            pass.seats
                .iter()
                .any(|seat| seat.context == id && seat.members > 0)
        };
        self.contexts.retain(|context| has_members(context.id));
        for Candidate {
            compression,
            positions,
            clients,
        } in pass.candidates
        {
            let mut contexts = self.contexts.iter_mut();
            if let Some(context) =
                contexts.find(|context| context.compression == compression && context.standing == positions)
            {
                context.has_candidate = true;
            } else if self.contexts.len() < CONTEXTS || self.make_room(&pass.seats, clients) {
                self.next_id += 1;
                self.contexts
                    .push(Context::new(self.next_id, compression, positions, now));
            }
        }
    }

    /// Ends the context that the fewest share, if more than twice as many clients would share another one: so the bound leaves out few, whoever came
    /// first, and two that are about alike do not take turns.
    fn make_room(&mut self, seats: &[Seat], clients: usize) -> bool {
        let members = |context: &Context| {
            let seat = seats.iter().find(|seat| seat.context == context.id);
            // Made in this pass: it has had no chance yet.
            seat.map_or(usize::MAX, |seat| seat.members)
        };
        let smallest = self
            .contexts
            .iter()
            .map(|context| (members(context), context.id))
            .min();
        let Some((members, id)) = smallest.filter(|(members, _)| clients > members.saturating_mul(2)) else {
            return false;
        };
        debug_assert!(members > 0, "a context without members has ended");
        self.contexts.retain(|context| context.id != id);
        true
    }

    /// Ends all of them: nobody is there.
    pub fn clear(&mut self) {
        self.contexts = Vec::new();
    }
}

/// A context has no place in the stream any more, or its compressor broke.
struct Lost;

impl Context {
    fn new(id: u64, compression: Compression, standing: Positions, now: Duration) -> Self {
        Self {
            id,
            compression,
            coder: Coder::new(),
            standing,
            next: 0,
            messages: OPENS_ANYWAY_AFTER_MESSAGES,
            opened_at: now,
            has_candidate: true,
        }
    }

    fn code(&mut self, view: &View, now: Duration) -> Result<Option<Arc<Coded>>, Lost> {
        let batch = match view.next(&self.standing) {
            Next::UpToDate => return Ok(None),
            Next::Write(batch) => batch,
            Next::Snapshot | Next::Missed(..) => return Err(Lost),
        };
        let opens = match self.compression {
            Compression::Alone => true,
            Compression::Shared => self.opens(now),
        };
        let mut out = Vec::with_capacity(batch.total_bytes() / 4 + 64);
        let mut coded_bytes = 0;
        for plain in batch.slices() {
            coded_bytes += plain.len();
            if coded_bytes > CODED_BYTES {
                out.extend_from_slice(plain);
                continue;
            }
            let coded = match self.compression {
                Compression::Alone => self.coder.append_alone(&mut out, plain).map(|()| 0),
                Compression::Shared => self.coder.append_in_window(&mut out, plain),
            };
            self.messages = self.messages.saturating_add(coded.map_err(|_| Lost)?);
        }
        let coded = Arc::new(Coded {
            context: self.id,
            number: self.next,
            opens,
            before: std::mem::replace(&mut self.standing, batch.complete().clone()),
            after: batch.complete().clone(),
            segments: batch.segments(),
            plain_bytes: batch.total_bytes(),
            bytes: out.into(),
        });
        self.next += 1;
        Ok(Some(coded))
    }

    /// Forgets the window if it is time to.
    fn opens(&mut self, now: Duration) -> bool {
        let is_time = match self.has_candidate {
            true => {
                self.messages >= OPENS_AFTER_MESSAGES || now.saturating_sub(self.opened_at) >= OPENS_AFTER
            }
            false => self.messages >= OPENS_ANYWAY_AFTER_MESSAGES,
        };
        if !is_time {
            return false;
        }
        self.coder.reset();
        self.messages = 0;
        self.opened_at = now;
        self.has_candidate = false;
        true
    }
}

impl Pass {
    /// What a client is written that keeps up. `membership` is taken or given up, as the positions say.
    pub fn turn(
        &mut self,
        compression: Compression,
        membership: &mut Option<Membership>,
        positions: &Positions,
    ) -> Turn {
        if let Some(member) = *membership {
            let seat = self.seats.iter_mut().find(|seat| seat.context == member.context);
            if let Some((seat, turn)) =
                seat.and_then(|seat| seat.turn(member, positions).map(|turn| (seat, turn)))
            {
                seat.members += 1;
                return turn;
            }
            *membership = None;
        }
        for seat in &mut self.seats {
            if let Some(coded) = &seat.coded
                && seat.compression == compression
                && coded.opens
                && coded.before == *positions
            {
                seat.members += 1;
                *membership = Some(Membership {
                    context: coded.context,
                    next: coded.number,
                });
                return Turn::Coded(Arc::clone(coded));
            }
        }
        Turn::Plain
    }

    /// A client with plain frames that has everything would like to join a context. One that follows no channel has nothing to share.
    pub fn would_join(&mut self, compression: Compression, positions: &Positions) {
        if positions.iter().next().is_none() {
            return;
        }
        let is_here = |candidate: &&mut Candidate| {
            candidate.compression == compression && candidate.positions == *positions
        };
        if let Some(candidate) = self.candidates.iter_mut().find(is_here) {
            candidate.clients += 1;
        } else if self.candidates.len() < CONTEXTS {
            self.candidates.push(Candidate {
                compression,
                positions: positions.clone(),
                clients: 1,
            });
        }
    }

    /// A member with a writer of its own: the context is still needed.
    pub fn is_member(&mut self, membership: Membership) {
        if let Some(seat) = self
            .seats
            .iter_mut()
            .find(|seat| seat.context == membership.context)
        {
            seat.members += 1;
        }
    }

    /// Bytes of what was coded, before and after.
    pub fn coded_bytes(&self) -> (usize, usize) {
        let coded = self.seats.iter().filter_map(|seat| seat.coded.as_ref());
        coded.fold((0, 0), |(plain, bytes), coded| {
            (plain + coded.plain_bytes, bytes + coded.bytes.len())
        })
    }

    /// What was coded, and where each context stands. For [`Tails`](super::Tails).
    pub(super) fn coded(&self) -> impl Iterator<Item = (u64, Option<&Arc<Coded>>)> {
        self.seats.iter().map(|seat| (seat.context, seat.coded.as_ref()))
    }
}

impl Seat {
    /// None: the client is no member any more.
    fn turn(&self, member: Membership, positions: &Positions) -> Option<Turn> {
        match &self.coded {
            Some(coded) if member.next == coded.number && *positions == coded.before => {
                Some(Turn::Coded(Arc::clone(coded)))
            }
            // It was written to by its own writer since this was coded, or there is nothing.
            _ if member.next == self.next && *positions == self.standing => Some(Turn::UpToDate),
            _ => None,
        }
    }
}

impl Coded {
    /// The frames.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Where a client is that got all of it, or whose first byte is out: the rest of a segment always follows.
    pub fn after(&self) -> &Positions {
        &self.after
    }

    /// How many plain segments it stands for.
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// The membership of a client that got it.
    pub fn membership(&self) -> Membership {
        Membership {
            context: self.context,
            next: self.number + 1,
        }
    }
}
