//! The operations since the last flush: encoded as they are made, merged where that changes nothing, written out as one `state.patch`.
//!
//! Paths and values lie in one arena; an operation is a pair of spans. Operations of the running transaction are *staged* behind those of
//! finished ones: a rollback cuts them off, a commit merges them into what is pending.
//!
//! **What is merged.** A `replace` or `add` on an object member takes the value of a later `replace` on the identical path, when nothing
//! in between touches that path, an ancestor or a descendant, and no ancestor is an array. The later value then moves to the earlier
//! place, over operations on other places only, which cannot see it. Everything else stays in order.
//!
//! Whether something in between touches the path is answered without looking at what is in between: for each path, by its hash, `touches`
//! knows the last operation on it and the last below it. Two paths with one hash can only make a touch look later than it was, and the
//! texts of the two paths are compared before values move: a collision costs a merge, never a wrong one.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use bytes::Bytes;
use serde_json::Value as Json;

use super::path::Path;
use super::value::{BadValue, write_checked, write_text};
use crate::wire::encode;

/// One `state.patch`: everything between two versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flush {
    /// The version that it applies to.
    pub from_version: u64,
    /// The version that it leads to.
    pub to_version: u64,
    /// The whole message as JSON.
    pub frame: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Add,
    Replace,
    Remove,
}

/// A part of the arena.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    start: usize,
    end: usize,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start..self.end
    }

    fn len(self) -> usize {
        self.end - self.start
    }
}

#[derive(Debug, Clone, Copy)]
struct Op {
    kind: Kind,
    /// Whether no ancestor is an array.
    in_objects: bool,
    path: Span,
    /// Empty for a removal.
    value: Span,
}

/// What the operations of this flush have done at a path, as positions of operations counted from 1; 0 is never.
#[derive(Debug, Clone, Copy, Default)]
struct Touch {
    at: usize,
    below: usize,
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    arena: Vec<u8>,
    ops: Vec<Op>,
    /// Operations of finished transactions; those behind them are staged.
    committed: usize,
    /// Per staged operation, the hashes from its member down to its path, and how many there are.
    staged_hashes: Vec<u64>,
    staged_depths: Vec<usize>,
    touches: HashMap<u64, Touch, BuildHasherDefault<AlreadyHashed>>,
    /// Bytes of the arena that operations refer to; the rest was merged away.
    live_bytes: usize,
    frame: Vec<u8>,
}

/// A point that a rollback goes back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    arena: usize,
    ops: usize,
    hashes: usize,
    depths: usize,
}

/// Below this the arena is not worth tidying.
const TIDY_FROM_BYTES: usize = 64 * 1024;

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.committed == 0
    }

    /// Bytes that the next flush will carry, roughly.
    pub(super) fn len_bytes(&self) -> usize {
        self.live_bytes + self.committed * 40
    }

    pub(super) fn has_staged(&self) -> bool {
        self.ops.len() > self.committed
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            arena: self.arena.len(),
            ops: self.ops.len(),
            hashes: self.staged_hashes.len(),
            depths: self.staged_depths.len(),
        }
    }

    pub(super) fn rollback(&mut self, mark: Mark) {
        self.arena.truncate(mark.arena);
        self.ops.truncate(mark.ops);
        self.staged_hashes.truncate(mark.hashes);
        self.staged_depths.truncate(mark.depths);
    }

    /// Writes a value into the arena and checks it on the way. Gives its span.
    pub(super) fn write(&mut self, value: &Json, depth: usize) -> Result<Span, BadValue> {
        let start = self.arena.len();
        if let Err(bad) = write_checked(&mut self.arena, value, depth) {
            self.arena.truncate(start);
            return Err(bad);
        }
        Ok(Span {
            start,
            end: self.arena.len(),
        })
    }

    pub(super) fn len_of(&self, span: Span) -> usize {
        span.len()
    }

    /// Stages an operation. Gives the span of its path's text.
    pub(super) fn stage(&mut self, kind: Kind, path: &Path, value: Span, in_objects: bool) -> Span {
        let start = self.arena.len();
        self.arena.extend_from_slice(path.as_str().as_bytes());
        let span = Span {
            start,
            end: self.arena.len(),
        };
        self.ops.push(Op {
            kind,
            in_objects,
            path: span,
            value,
        });
        self.staged_hashes.extend_from_slice(path.hashes());
        self.staged_depths.push(path.hashes().len());
        span
    }

    /// A span's text again, for a rollback.
    pub(super) fn text(&self, span: Span) -> &str {
        self.arena
            .get(span.range())
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }

    /// Makes the staged operations part of the flush.
    pub(super) fn commit(&mut self) {
        let hashes = std::mem::take(&mut self.staged_hashes);
        let depths = std::mem::take(&mut self.staged_depths);
        let mut rest = hashes.as_slice();
        let mut kept = self.committed;
        for (staged, depth) in (self.committed..).zip(&depths) {
            let Some(op) = self.ops.get(staged).copied() else {
                break;
            };
            let Some((path_hashes, behind)) = rest.split_at_checked(*depth) else {
                break;
            };
            rest = behind;
            if self.merged(op, path_hashes) {
                continue;
            }
            if let Some(place) = self.ops.get_mut(kept) {
                *place = op;
            }
            kept += 1;
            self.live_bytes += op.path.len() + op.value.len();
            self.touch(path_hashes, kept);
        }
        self.ops.truncate(kept);
        self.committed = kept;
        // Emptied and given back, so that the next transaction needs no memory.
        self.staged_hashes = hashes;
        self.staged_hashes.clear();
        self.staged_depths = depths;
        self.staged_depths.clear();
        self.tidy();
    }

    /// Gives what is pending as one message, and begins anew.
    pub(super) fn take(&mut self, from_version: u64, to_version: u64) -> Option<Flush> {
        if self.is_empty() {
            return None;
        }
        let (arena, ops) = (&self.arena, &self.ops);
        self.frame.clear();
        encode::state_patch(&mut self.frame, from_version, to_version, |frame| {
            for op in ops {
                write_op(frame, arena, *op);
            }
        });
        let frame = Bytes::copy_from_slice(&self.frame);
        self.arena.clear();
        self.ops.clear();
        self.committed = 0;
        self.touches.clear();
        self.live_bytes = 0;
        // A flood must not hold on to its memory for ever.
        self.arena.shrink_to(TIDY_FROM_BYTES);
        self.frame.shrink_to(TIDY_FROM_BYTES);
        if self.touches.capacity() > 4096 {
            self.touches.shrink_to(1024);
            self.ops.shrink_to(1024);
        }
        Some(Flush {
            from_version,
            to_version,
            frame,
        })
    }

    /// Moves a `replace` into the operation that it may be merged with, if there is one.
    fn merged(&mut self, op: Op, path_hashes: &[u64]) -> bool {
        let Some((own, ancestors)) = path_hashes.split_last() else {
            return false;
        };
        if op.kind != Kind::Replace || !op.in_objects {
            return false;
        }
        let Some(touch) = self.touches.get(own).copied() else {
            return false;
        };
        let Some(position) = touch.at.checked_sub(1) else {
            return false;
        };
        if touch.below > touch.at {
            return false;
        }
        for ancestor in ancestors {
            if self
                .touches
                .get(ancestor)
                .is_some_and(|above| above.at > touch.at)
            {
                return false;
            }
        }
        let Some(earlier) = self.ops.get(position).copied() else {
            return false;
        };
        let same_path = self.arena.get(earlier.path.range()) == self.arena.get(op.path.range());
        if !same_path || !earlier.in_objects || earlier.kind == Kind::Remove {
            return false;
        }
        self.live_bytes = self.live_bytes + op.value.len() - earlier.value.len();
        if let Some(earlier) = self.ops.get_mut(position) {
            earlier.value = op.value;
        }
        true
    }

    fn touch(&mut self, path_hashes: &[u64], position: usize) {
        let Some((own, ancestors)) = path_hashes.split_last() else {
            return;
        };
        self.touches.entry(*own).or_default().at = position;
        for ancestor in ancestors {
            self.touches.entry(*ancestor).or_default().below = position;
        }
    }

    /// Drops merged-away bytes once they are the larger part, so that the arena stays within twice its use however long a flush waits.
    fn tidy(&mut self) {
        if self.arena.len() < TIDY_FROM_BYTES || self.arena.len() < 2 * self.live_bytes {
            return;
        }
        let mut arena = Vec::with_capacity(self.live_bytes * 2);
        for op in &mut self.ops {
            for span in [&mut op.path, &mut op.value] {
                let start = arena.len();
                arena.extend_from_slice(self.arena.get(span.range()).unwrap_or_default());
                *span = Span {
                    start,
                    end: arena.len(),
                };
            }
        }
        self.arena = arena;
    }
}

/// Writes one operation, with a comma behind it: `/version` always follows.
fn write_op(frame: &mut Vec<u8>, arena: &[u8], op: Op) {
    frame.extend_from_slice(match op.kind {
        Kind::Add => b"{\"op\":\"add\",\"path\":",
        Kind::Replace => b"{\"op\":\"replace\",\"path\":",
        Kind::Remove => b"{\"op\":\"remove\",\"path\":",
    });
    let path = arena
        .get(op.path.range())
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .unwrap_or_default();
    write_text(frame, path);
    if op.kind != Kind::Remove {
        frame.extend_from_slice(b",\"value\":");
        frame.extend_from_slice(arena.get(op.value.range()).unwrap_or_default());
    }
    frame.extend_from_slice(b"},");
}

/// A path's hash is its hash.
#[derive(Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
