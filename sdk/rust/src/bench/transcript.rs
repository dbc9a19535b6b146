//! A recorded transcript, brought to a driver in all the ways in which a line may bring it.
//!
//! What a driver makes of its bytes must depend neither on where one event ends and the next one begins, nor on the swaps and restarts between
//! them. Each way here starts a bench, feeds it the whole transcript and lets the test look at what came of it, so that one check serves all.

use super::{Bench, Checkpoint};
use crate::driver::Driver;

/// Bytes that a device has once said.
///
/// ```
/// # use autobench_sdk::{Bytes, Context, Driver, LineFramer, Manifest, PortWish, Refusal, Slice, Snapshot, Start};
/// # #[derive(Clone, Default, schemars::JsonSchema, Slice)]
/// # struct Seen { lines: u64 }
/// # struct Counter(LineFramer);
/// # impl Driver for Counter {
/// #     type Settings = autobench_sdk::NoSettings;
/// #     type Slice = Seen;
/// #     fn manifest() -> Manifest {
/// #         Manifest::new("line-counter", "1.0.0", "Counts lines.").port(PortWish::new("main", "Any text."))
/// #     }
/// #     fn start(_: &mut Context<'_, Seen>, _: Start<Self::Settings>) -> Result<Self, Refusal> {
/// #         Ok(Self(LineFramer::new(1024)))
/// #     }
/// #     fn on_bytes(&mut self, cx: &mut Context<'_, Seen>, bytes: Bytes) {
/// #         self.0.feed(&bytes.data, |_line| cx.edit().lines += 1);
/// #     }
/// #     fn snapshot(&self) -> Snapshot {
/// #         Snapshot::of(&()).rereading("main", self.0.held())
/// #     }
/// # }
/// use autobench_sdk::bench::{Bench, Transcript};
///
/// let transcript = Transcript::new("main", b"one\r\ntwo\r\n");
/// let begin = || Bench::<Counter>::start().unwrap();
/// let check = |bench: &mut Bench<Counter>| {
///     bench.settle();
///     assert_eq!(bench.slice()["lines"], 2);
/// };
/// transcript.split_everywhere(begin, check);
/// transcript.swapped_everywhere(begin, check);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Transcript<'a> {
    port: &'a str,
    bytes: &'a [u8],
}

/// What happens to a driver between two pieces of a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// Nothing.
    None,
    /// The host takes a checkpoint.
    Checkpoint,
    /// A new instance takes over.
    Swap,
    /// The driver breaks down and starts again from the last checkpoint. Where none was taken yet it lives on, because one that starts from
    /// nothing may forget.
    Restart,
}

impl Interruption {
    /// All of them, for a test that draws lots.
    pub const ALL: [Self; 4] = [Self::None, Self::Checkpoint, Self::Swap, Self::Restart];
}

impl<'a> Transcript<'a> {
    /// These bytes, from this port.
    #[must_use]
    pub const fn new(port: &'a str, bytes: &'a [u8]) -> Self {
        Self { port, bytes }
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn length_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// In one event.
    pub fn whole<D: Driver>(&self, begin: impl Fn() -> Bench<D>, check: impl Fn(&mut Bench<D>)) {
        let mut bench = begin();
        bench.feed(self.port, self.bytes);
        check(&mut bench);
    }

    /// In two events, for each place where the first may end.
    pub fn split_everywhere<D: Driver>(&self, begin: impl Fn() -> Bench<D>, check: impl Fn(&mut Bench<D>)) {
        for (front, back) in self.halves() {
            let mut bench = begin();
            bench.feed(self.port, front);
            bench.feed(self.port, back);
            check(&mut bench);
        }
    }

    /// Each byte in an event of its own.
    pub fn byte_by_byte<D: Driver>(&self, begin: impl Fn() -> Bench<D>, check: impl Fn(&mut Bench<D>)) {
        let mut bench = begin();
        for byte in self.bytes {
            bench.feed(self.port, &[*byte]);
        }
        check(&mut bench);
    }

    /// With one swap, for each place where it may fall.
    pub fn swapped_everywhere<D: Driver>(&self, begin: impl Fn() -> Bench<D>, check: impl Fn(&mut Bench<D>)) {
        for (front, back) in self.halves() {
            let mut bench = begin();
            bench.feed(self.port, front);
            let mut bench = swapped(bench);
            bench.feed(self.port, back);
            check(&mut bench);
        }
    }

    /// With a swap after each byte.
    pub fn swapped_after_each_byte<D: Driver>(
        &self,
        begin: impl Fn() -> Bench<D>,
        check: impl Fn(&mut Bench<D>),
    ) {
        let mut bench = begin();
        for byte in self.bytes {
            bench.feed(self.port, &[*byte]);
            bench = swapped(bench);
        }
        check(&mut bench);
    }

    /// In pieces, each with the pause in milliseconds and the interruption that follow it; what they leave over comes in one more.
    pub fn interrupted<D: Driver>(
        &self,
        begin: impl Fn() -> Bench<D>,
        pieces: impl IntoIterator<Item = (usize, u64, Interruption)>,
        check: impl Fn(&mut Bench<D>),
    ) {
        let mut bench = begin();
        let mut checkpoint = None;
        let mut rest = self.bytes;
        for (length_bytes, pause_ms, interruption) in pieces {
            let (piece, after) = rest.split_at(length_bytes.min(rest.len()));
            rest = after;
            feed_some(&mut bench, self.port, piece);
            bench.advance_ms(pause_ms);
            bench = interrupt(bench, interruption, &mut checkpoint);
        }
        feed_some(&mut bench, self.port, rest);
        check(&mut bench);
    }

    fn halves(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let bytes = self.bytes;
        (0..=bytes.len()).map(move |border| bytes.split_at(border))
    }
}

/// A host has no events without bytes.
fn feed_some<D: Driver>(bench: &mut Bench<D>, port: &str, piece: &[u8]) {
    if !piece.is_empty() {
        bench.feed(port, piece);
    }
}

fn interrupt<D: Driver>(
    mut bench: Bench<D>,
    interruption: Interruption,
    checkpoint: &mut Option<Checkpoint>,
) -> Bench<D> {
    match (interruption, &checkpoint) {
        (Interruption::None, _) | (Interruption::Restart, None) => bench,
        (Interruption::Checkpoint, _) => {
            *checkpoint = Some(bench.checkpoint());
            bench
        }
        (Interruption::Swap, _) => swapped(bench),
        (Interruption::Restart, Some(checkpoint)) => restarted(bench, checkpoint),
    }
}

#[expect(
    clippy::expect_used,
    reason = "a test whose driver refuses its own snapshot has failed"
)]
fn swapped<D: Driver>(bench: Bench<D>) -> Bench<D> {
    bench.swap().expect("the successor starts")
}

#[expect(
    clippy::expect_used,
    reason = "a test whose driver refuses its own snapshot has failed"
)]
fn restarted<D: Driver>(bench: Bench<D>, checkpoint: &Checkpoint) -> Bench<D> {
    bench.restart(Some(checkpoint)).expect("the driver starts again")
}
