//! What goes to one client only.

use std::collections::VecDeque;

use autobench_core::frame;
use autobench_core::wire::{MessageId, ServerMessage};
use bytes::Bytes;

use super::channels::LogStart;

/// Most items that wait for one client. A client gets here only by asking for more than it reads; it is closed with 1008 then.
const CAPACITY: usize = 128;

/// Most bytes of frames that wait for one client; the same happens.
const CAPACITY_BYTES: usize = 64 << 10;

/// Answers to pings that may wait. A few pings at once get an answer each; of a flood that nobody reads the answers of, only the newest does.
const PONGS: usize = 16;

/// One thing that a client is sent apart from the channels, in the order in which it was asked for. What is large is named here and made
/// when its turn comes, so that a client that does not read holds no memory, and gets the newest when it does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A small frame: welcome, ack, error, ping.
    Frame(Bytes),
    /// The answer to a ping of the WebSocket protocol.
    Pong(Vec<u8>),
    /// The whole state, and the place in the stream of patches that follows it.
    Snapshot,
    /// Log entries from here on. The first piece is made when the turn has come; the others follow as the client takes them.
    Logs(LogStart),
    /// Which blocks run and have run, as the answer to the message with this id, and the place in the stream of blocks that follows it.
    ExecutionState(Option<MessageId>),
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.len(),
            Self::Pong(_) | Self::Snapshot | Self::Logs(_) | Self::ExecutionState(_) => 0,
        }
    }
}

/// The queue of one client.
#[derive(Debug, Default)]
pub(super) struct Personal {
    items: VecDeque<Item>,
    /// Of the frames among them.
    bytes: usize,
}

/// The queue is full.
#[derive(Debug)]
pub(super) struct Full;

impl Personal {
    pub(super) fn push(&mut self, item: Item) -> Result<(), Full> {
        // One snapshot answers everybody who asked before it is made.
        if item == Item::Snapshot && self.items.contains(&item) {
            return Ok(());
        }
        let is_long = self.items.len() >= PONGS;
        if let (Item::Pong(new), Some(Item::Pong(waiting))) = (&item, self.items.back_mut())
            && is_long
        {
            waiting.clone_from(new);
            return Ok(());
        }
        let more = item.bytes();
        // One frame may be of any size, when it is the first: it is owed.
        let is_too_much = more > 0 && self.bytes + more > CAPACITY_BYTES && !self.items.is_empty();
        if self.items.len() >= CAPACITY || is_too_much {
            return Err(Full);
        }
        self.bytes += more;
        self.items.push_back(item);
        Ok(())
    }

    /// Its turn has come, and it has to wait: nothing that was asked for later comes before it.
    pub(super) fn put_back(&mut self, item: Item) {
        self.bytes += item.bytes();
        self.items.push_front(item);
    }

    pub(super) fn message(&mut self, message: &ServerMessage) -> Result<(), Full> {
        self.push(Item::Frame(frame::text(&message.to_json())))
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front();
        self.bytes -= item.as_ref().map_or(0, Item::bytes);
        if self.items.is_empty() {
            // An idle client keeps no buffer.
            self.items = VecDeque::new();
        }
        item
    }

    /// Half full: time to write before more comes in.
    pub(super) fn is_crowded(&self) -> bool {
        self.items.len() >= CAPACITY / 2 || self.bytes >= CAPACITY_BYTES / 2
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_that_wait_are_one() {
        let mut queue = Personal::default();
        for _ in 0..1000 {
            queue.push(Item::Snapshot).unwrap();
        }
        assert_eq!(queue.pop(), Some(Item::Snapshot));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn a_few_pings_are_all_answered_and_of_a_flood_the_newest_is() {
        let mut queue = Personal::default();
        for n in 0..200 {
            queue.push(Item::Pong(vec![n])).unwrap();
        }
        let answered: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        let expected: Vec<_> = (0..PONGS as u8 - 1)
            .chain([199])
            .map(|n| Item::Pong(vec![n]))
            .collect();
        assert_eq!(answered, expected);
    }

    #[test]
    fn a_client_that_asks_and_does_not_read_fills_its_queue_and_no_more() {
        let mut queue = Personal::default();
        for seq in 0..CAPACITY as u64 {
            queue.push(Item::Logs(LogStart::After(seq))).unwrap();
        }
        assert!(queue.push(Item::Logs(LogStart::After(0))).is_err());
    }

    #[test]
    fn frames_that_wait_are_few_bytes_whatever_they_repeat() {
        let mut queue = Personal::default();
        let frame = |bytes| Item::Frame(Bytes::from(vec![0; bytes]));
        // One is owed, of any size.
        queue.push(frame(2 * CAPACITY_BYTES)).unwrap();
        assert!(queue.is_crowded());
        assert!(queue.push(frame(1)).is_err());
        // What is named and not made yet costs nothing.
        queue.push(Item::Snapshot).unwrap();
        queue.pop();
        queue.pop();
        for _ in 0..4 {
            queue.push(frame(CAPACITY_BYTES / 4)).unwrap();
        }
        assert!(queue.push(frame(1)).is_err());
        queue.pop();
        queue.push(frame(1)).unwrap();
        queue.clear();
        queue.push(frame(CAPACITY_BYTES)).unwrap();
    }
}
