//! The session of `/ws/echo`: what a client sends comes back as it is.
//!
//! Everything but what a message means is the code of every other session: reader, limits, writer, heartbeat, close handling. A suite that
//! finds no fault here has found none there. One difference is on purpose: nothing more is read while an answer waits, because an echo that
//! refuses what it cannot hold would fail every suite that floods it, and one that holds everything would need no client to fill the memory.

use autobench_core::frame::{self, Message, Opcode};

use super::super::personal::{Full, Item};
use super::Session;

impl Session {
    /// Answers a data message with itself.
    pub(super) fn echo(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), Full> {
        let mut frame = Vec::with_capacity(payload.len() + 10);
        frame::append(&mut frame, opcode, payload);
        // It follows no channel, so there is no context whose window this could disturb.
        self.client.push(Item::Frame(self.client.packed(frame.into())))
    }

    /// Whether the next message has to wait until the last answer is out.
    pub(super) fn must_wait(&self) -> bool {
        self.seat.is_echo() && self.client.is_owed()
    }
}

/// What of a message comes back.
pub(super) fn echoed(message: &Message) -> Option<(Opcode, &[u8])> {
    match message {
        Message::Text(text) => Some((Opcode::Text, text.as_bytes())),
        Message::Binary(bytes) => Some((Opcode::Binary, bytes)),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => None,
    }
}
