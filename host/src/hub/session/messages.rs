//! What each message of a client does.

use std::sync::atomic::Ordering;
use std::time::Instant;

use autobench_core::driver::LogLevel;
use autobench_core::frame::{CloseCode, Message};
use autobench_core::outbox::Channel;
use autobench_core::wire::{
    Ack, ClientError, ClientFrame, ClientIdentified, ClientInfo, ClientMessage, ErrorCode, ErrorMessage,
    Event, EventBody, HardwareHealth, Identified, MessageId, Pong, ServerMessage, Subscription, Topic,
};
use serde_json::json;

use super::super::channels::LogStart;
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
            Ok(ClientFrame { id, message }) if self.admits(id.as_ref(), &message)? => {
                self.answer(id, message)
            }
            Ok(_) => Ok(()),
            Err(error) => self.client.say(&ClientError::into_message(error)),
        }
    }

    fn answer(&mut self, id: Option<MessageId>, message: ClientMessage) -> Result<(), Full> {
        match message {
            ClientMessage::Hello { name, page } => {
                self.introduce(name.as_deref(), page.as_deref());
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
                self.client.push(Item::Logs(LogStart::After(since_seq)))
            }
            ClientMessage::Subscribe(Subscription::Snapshot { payload }) => self.send_again(id, payload),
            ClientMessage::Subscribe(Subscription::Topic(Topic::Commands {
                command_ids: Some(ids),
            })) => self.subscribe_commands(id, &ids),
            ClientMessage::Subscribe(Subscription::Topic(topic)) => self.subscribe(id, topic),
            ClientMessage::Command(request) => self.command(id, request),
            ClientMessage::CommandCancel { command_id } => self.cancel_command(id, &command_id),
            ClientMessage::LeaseRenew { command_id } => self.renew_hold(id, &command_id),
            ClientMessage::LeaseEnd { command_id } => self.let_go_of(id, &command_id),
            ClientMessage::Unsubscribe(topic) => self.unsubscribe(id, topic),
            ClientMessage::SubscribeLogs { filters } => {
                self.acknowledge(id)?;
                self.client.filter_logs(filters)
            }
            ClientMessage::UnsubscribeLogs => {
                self.shared.end(&self.client, Channel::Logs);
                self.acknowledge(id)
            }
            ClientMessage::IdentifyClient { client_info } => self.identify(id, &client_info),
            ClientMessage::RequestInitialState => self.client.push(Item::ExecutionState(id)),
            ClientMessage::HardwareHealthUpdate(health) => {
                self.acknowledge(id)?;
                self.take_health(health);
                Ok(())
            }
        }
    }

    fn introduce(&self, name: Option<&str>, page: Option<&str>) -> Identified {
        let name = shortened(name.unwrap_or_default());
        let page = shortened(page.unwrap_or_default());
        if self.may_tell() {
            tracing::info!(client = self.client.id(), name, page, "hello");
        }
        self.client.introduce(name, page);
        Identified {
            client_id: self.client.id(),
            name: name.to_owned(),
            page: page.to_owned(),
        }
    }

    /// From now on the client hears of blocks; what runs already comes behind the answer.
    fn identify(&mut self, id: Option<MessageId>, info: &ClientInfo) -> Result<(), Full> {
        let data = self.introduce(info.name.as_deref(), info.page.as_deref());
        self.client
            .say(&ServerMessage::ClientIdentified(ClientIdentified { data, id }))?;
        self.shared.begin(&self.client, Channel::Blocks)
    }

    /// Kept with the client, and told to everybody who hears of events.
    fn take_health(&self, health: HardwareHealth) {
        let shared = &self.shared;
        let (name, page) = self.client.introduction();
        let boot_id = shared.channels.state.boot_id();
        let number = shared.next_event.fetch_add(1, Ordering::Relaxed);
        let client_id = self.client.id();
        shared.publish_event(Event {
            timestamp: now_ms() as f64,
            event: EventBody {
                _id: format!("{boot_id}-{client_id}-{number}"),
                process_id: boot_id.to_owned(),
                sender: Some(client_id.clone()),
                message: "hardware health".to_owned(),
                level: LogLevel::Info,
                context: json!({
                    "kind": "HardwareHealth",
                    "clientId": client_id,
                    "name": name,
                    "page": page,
                    "health": health,
                }),
            },
        });
        self.client.set_health(health);
    }

    pub(super) fn acknowledge(&self, id: Option<MessageId>) -> Result<(), Full> {
        self.client.say(&ServerMessage::Ack(Ack {
            ok: true,
            id,
            command_id: None,
        }))
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
