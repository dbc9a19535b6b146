//! What each message of a client does.

use std::time::Instant;

use autobench_core::driver::LogLevel;
use autobench_core::frame::{CloseCode, Message};
use autobench_core::wire::{
    Ack, ClientError, ClientFrame, ClientMessage, ErrorCode, ErrorMessage, MessageId, Pong, ServerMessage,
    Subscription,
};

use super::super::now_ms;
use super::super::personal::{Full, Item};
use super::{Session, echo};
use crate::logs::LogRecord;

/// Messages over the rate, in a row, after which a client is closed: it was told so often enough.
const REFUSALS_IN_A_ROW: u32 = 200;
/// Most of a name that a client gives itself.
const NAME_CHARS: usize = 80;

impl Session {
    pub(super) fn handle(&mut self, message: Message) -> Result<(), Full> {
        if self.seat.is_echo()
            && let Some((opcode, payload)) = echo::echoed(&message)
        {
            return self.echo(opcode, payload);
        }
        match message {
            Message::Text(text) => {
                let begin = Instant::now();
                let handled = self.handle_text(&text);
                let metrics = &self.shared.channels.metrics;
                metrics.messages.inc();
                metrics.message_time.observe(begin.elapsed());
                handled
            }
            Message::Binary(_) => {
                self.client
                    .close(CloseCode::Unsupported, "messages are JSON text");
                Ok(())
            }
            Message::Ping(payload) => self.client.push(Item::Pong(payload)),
            Message::Pong(_) => Ok(()),
            Message::Close(reason) => {
                self.client.answer_close(reason.map(|reason| reason.code));
                Ok(())
            }
        }
    }

    fn handle_text(&mut self, text: &str) -> Result<(), Full> {
        let parsed = ClientFrame::parse(text.as_bytes());
        if !self.bucket.admit(Instant::now()) {
            self.refused_in_a_row += 1;
            if self.refused_in_a_row > REFUSALS_IN_A_ROW {
                self.client
                    .close(CloseCode::Policy, "this client sends too much, and was told so");
                return Ok(());
            }
            let id = match parsed {
                Ok(frame) => frame.id,
                Err(error) => error.id,
            };
            let rate = self.shared.config.limits.messages_per_s;
            let message = format!("a client may send {rate} messages per second; send this one again later");
            return self.refuse(ErrorCode::RateLimited, message, id);
        }
        self.refused_in_a_row = 0;
        match parsed {
            Ok(ClientFrame { id, message }) if self.admits(id.as_ref(), &message)? => self.answer(id, message),
            Ok(_) => Ok(()),
            Err(error) => self.client.say(&ClientError::into_message(error)),
        }
    }

    fn answer(&mut self, id: Option<MessageId>, message: ClientMessage) -> Result<(), Full> {
        match message {
            ClientMessage::Hello { name, page } => {
                tracing::info!(
                    client = self.client.id(),
                    name = shortened(name.as_deref().unwrap_or_default()),
                    page = shortened(page.as_deref().unwrap_or_default()),
                    "hello"
                );
                self.acknowledge(id)
            }
            ClientMessage::Auth { token } => self.authenticate(id, &token),
            ClientMessage::Ping => {
                self.log_heartbeat();
                self.client.say(&ServerMessage::Pong(Pong { ts: now_ms(), id }))
            }
            ClientMessage::StateResync => {
                if id.is_some() {
                    self.acknowledge(id)?;
                }
                self.client.push(Item::Snapshot)
            }
            ClientMessage::LogsReplay { since_seq } => {
                if id.is_some() {
                    self.acknowledge(id)?;
                }
                self.client.push(Item::Replay(since_seq))
            }
            ClientMessage::Subscribe(Subscription::Snapshot { payload }) => self.send_again(id, payload),
            ClientMessage::Subscribe(Subscription::Topic(topic)) => self.subscribe(id, topic),
            ClientMessage::Unsubscribe(topic) => {
                self.unsubscribe(topic);
                self.acknowledge(id)
            }
        }
    }

    pub(super) fn acknowledge(&self, id: Option<MessageId>) -> Result<(), Full> {
        self.client.say(&ServerMessage::Ack(Ack { ok: true, id }))
    }

    pub(super) fn refuse(&self, code: ErrorCode, message: String, id: Option<MessageId>) -> Result<(), Full> {
        self.client
            .say(&ServerMessage::Error(ErrorMessage { code, message, id }))
    }

    fn log_heartbeat(&self) {
        let logs = &self.shared.channels.logs;
        if logs.wants_heartbeats() {
            let mut record = LogRecord::new(
                "websocket",
                LogLevel::Debug,
                format!("ping from {}", self.client.id()),
            );
            record.emoji = Some("💓".to_owned());
            logs.append(record);
        }
    }
}

fn shortened(text: &str) -> &str {
    match text.char_indices().nth(NAME_CHARS) {
        Some((end, _)) => text.get(..end).unwrap_or(text),
        None => text,
    }
}
