//! Compression in the hub: who owns which part of it.
//!
//! The loop owns the [`Coder`], and with it the compressors: in each pass it codes once for each context what its members are written
//! (`autobench_core::deflate` says who is one). What clients' own writers need of that is in [`Packed`], behind locks that are held for a few
//! pointers: the tails of the contexts, for members whose sockets block, and the newest snapshot, compressed by the first client that needs it.
//! Nothing large is ever compressed under a client's lock, the store's, or in the loop.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use autobench_core::deflate::{Compression, Contexts, Follow, Membership, Pass, Tails, compress_apart};
use autobench_core::outbox::{Positions, View};
use bytes::Bytes;
use parking_lot::Mutex;

use super::channels::Channels;

/// The loop's part.
#[derive(Debug)]
pub(super) struct Coder {
    contexts: Contexts,
    /// The contexts count time from here.
    begin: Instant,
}

/// The part that clients' own writers look into.
#[derive(Debug, Default)]
pub(super) struct Packed {
    tails: Mutex<Tails>,
    snapshot: Mutex<Option<PackedSnapshot>>,
}

/// A snapshot of this version; none inside if it does not get smaller.
#[derive(Debug, Clone)]
struct PackedSnapshot {
    version: u64,
    frame: Arc<OnceLock<Option<Bytes>>>,
}

impl Default for Coder {
    fn default() -> Self {
        Self {
            contexts: Contexts::new(),
            begin: Instant::now(),
        }
    }
}

impl Coder {
    /// Codes what is new. The tails have it before the first client is written to: a member's own writer may need it at once.
    pub(super) fn begin(&mut self, view: &View, channels: &Channels) -> Pass {
        let pass = self.contexts.encode(view, self.begin.elapsed());
        channels.packed.tails.lock().take(&pass);
        let (plain_bytes, coded_bytes) = pass.coded_bytes();
        channels.metrics.plain_bytes.add(plain_bytes as u64);
        channels.metrics.coded_bytes.add(coded_bytes as u64);
        pass
    }

    /// Draws the conclusions of a pass.
    pub(super) fn end(&mut self, pass: Pass) {
        self.contexts.end_pass(pass, self.begin.elapsed());
    }

    /// Gives the memory back when nobody is connected.
    pub(super) fn rest(&mut self, clients: usize, packed: &Packed) {
        if clients == 0 {
            self.contexts.clear();
            packed.tails.lock().clear();
            *packed.snapshot.lock() = None;
        }
    }
}

impl Packed {
    /// How a member goes on whose socket blocked.
    pub(super) fn follow(&self, member: Membership, positions: &Positions, limit_bytes: usize) -> Follow {
        self.tails.lock().follow(member, positions, limit_bytes)
    }

    /// The frame of a snapshot, compressed: once for all that get this version. A second client that comes meanwhile waits for the first,
    /// which takes less than doing it again. None, if it does not pay.
    pub(super) fn snapshot(&self, version: u64, frame: &Bytes) -> Option<Bytes> {
        let mut newest = self.snapshot.lock();
        let snapshot = match &*newest {
            Some(snapshot) if snapshot.version == version => snapshot.clone(),
            _ => newest
                .insert(PackedSnapshot {
                    version,
                    frame: Arc::default(),
                })
                .clone(),
        };
        drop(newest);
        // Compressed alone it is the same for everybody, however the others are compressed for.
        let compress = || compress_apart(Compression::Alone, std::slice::from_ref(frame));
        snapshot.frame.get_or_init(compress).clone()
    }
}
