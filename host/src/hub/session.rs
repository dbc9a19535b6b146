//! The task of one client: reads its messages, answers them, and writes when its socket would block the hub.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use autobench_core::driver::LogLevel;
use autobench_core::frame::{CloseCode, FrameReader, Message};
use autobench_core::outbox::Channel;
use autobench_core::wire::{
    Ack, ClientError, ClientFrame, ClientMessage, ErrorCode, ErrorMessage, MessageId, Pong, ServerMessage,
    SnapshotRequest, Subscription, Topic,
};
use smallvec::SmallVec;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::client::{Client, Pumped};
use super::personal::{Full, Item};
use super::rate::Bucket;
use super::{Seat, Shared, now_ms};
use crate::logs::LogRecord;

/// What is taken from a socket in one go. On the stack, and only while bytes are read: an idle client holds no buffer.
const READ_BYTES: usize = 8 << 10;
/// Reads in a row for one client before the others get their turn.
const READS_IN_A_ROW: usize = 8;
/// Messages over the rate, in a row, after which a client is closed: it was told so often enough.
const REFUSALS_IN_A_ROW: u32 = 200;
/// Most of a name that a client gives itself.
const NAME_CHARS: usize = 80;

pub(super) struct Session {
    client: Arc<Client>,
    shared: Arc<Shared>,
    reader: FrameReader,
    bucket: Bucket,
    refused_in_a_row: u32,
    /// What the limit counts: one entry per message that subscribed to something, with the channels that it brought.
    subscriptions: Vec<SmallVec<[Channel; 1]>>,
    /// Given back last, when everything else of the client is gone.
    _seat: Seat,
}

/// Why a session is over.
#[derive(Debug)]
enum End {
    /// The client went without a word, or the socket failed.
    Gone(Option<io::Error>),
    /// A close frame went out.
    Closed(CloseCode),
    /// It was given up without one.
    Aborted(CloseCode),
}

impl Session {
    pub(super) fn new(client: Arc<Client>, shared: Arc<Shared>, seat: Seat) -> Self {
        let limits = &shared.config.limits;
        Self {
            reader: FrameReader::new(limits.message_bytes as usize),
            bucket: Bucket::new(limits.messages_per_s, limits.message_burst, Instant::now()),
            refused_in_a_row: 0,
            subscriptions: Vec::new(),
            client,
            shared,
            _seat: seat,
        }
    }

    /// Serves the client until it is gone. `early` is what it sent right behind the upgrade.
    pub(super) async fn run(mut self, early: bytes::Bytes) {
        let (id, peer) = (self.client.id(), self.client.peer);
        tracing::info!(client = id, %peer, "connected");
        self.take(&early);
        drop(early);
        match self.serve().await {
            End::Gone(None) => tracing::info!(client = id, "gone"),
            End::Gone(Some(error)) => tracing::info!(client = id, %error, "gone"),
            End::Closed(code) => {
                self.linger().await;
                tracing::info!(client = id, code = code.number(), "closed");
            }
            End::Aborted(code) => {
                // The system shall not keep what this client will never take.
                let _ = SockRef::from(&self.client.stream).set_linger(Some(std::time::Duration::ZERO));
                tracing::warn!(client = id, code = code.number(), "takes nothing; dropped");
            }
        }
    }

    async fn serve(&mut self) -> End {
        loop {
            let interest = match self.client.pump(&self.shared.channels) {
                Ok(Pumped::CaughtUp) => Interest::READABLE,
                Ok(Pumped::Blocked) => Interest::READABLE | Interest::WRITABLE,
                Ok(Pumped::Closed(code)) => return End::Closed(code),
                Ok(Pumped::Aborted(code)) => return End::Aborted(code),
                Err(error) => return End::Gone(Some(error)),
            };
            tokio::select! {
                ready = self.client.stream.ready(interest) => match ready {
                    Ok(ready) if ready.is_readable() || ready.is_read_closed() => match self.read() {
                        Ok(true) => {}
                        Ok(false) => return self.last_words(),
                        Err(error) => return End::Gone(Some(error)),
                    },
                    Ok(_) => {}
                    Err(error) => return End::Gone(Some(error)),
                },
                () = self.client.wake.notified() => {}
            }
        }
    }

    /// The client has closed its side. If its last bytes were wrong, it is still told so.
    fn last_words(&self) -> End {
        match self.client.pump(&self.shared.channels) {
            Ok(Pumped::Closed(code)) => End::Closed(code),
            _ => End::Gone(None),
        }
    }

    /// Takes what is there. False when the client has closed its side.
    fn read(&mut self) -> io::Result<bool> {
        let mut buffer = [0; READ_BYTES];
        for _ in 0..READS_IN_A_ROW {
            match self.client.stream.try_read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.take(buffer.get(..count).unwrap_or_default());
                    if count < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn take(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.client.heard();
        self.reader.push(bytes);
        loop {
            let handled = match self.reader.next() {
                Ok(Some(message)) => self.handle(message),
                Ok(None) => return,
                Err(error) => return self.client.close(error.close_code(), &error.to_string()),
            };
            if let Err(Full) = handled {
                return self
                    .client
                    .close(CloseCode::Policy, "this client asks for more than it reads");
            }
        }
    }

    fn handle(&mut self, message: Message) -> Result<(), Full> {
        match message {
            Message::Text(text) => self.handle_text(&text),
            Message::Binary(_) => {
                self.client
                    .close(CloseCode::Unsupported, "messages are JSON text");
                Ok(())
            }
            Message::Ping(payload) => self.client.push(Item::Pong(payload)),
            Message::Pong(_) => Ok(()),
            Message::Close(_) => {
                self.client.close(CloseCode::Normal, "");
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
            Ok(ClientFrame { id, message }) => self.answer(id, message),
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

    /// A subscription without a channel: state and newest log entries, once more.
    fn send_again(&mut self, id: Option<MessageId>, wanted: SnapshotRequest) -> Result<(), Full> {
        self.acknowledge(id)?;
        if wanted.include_snapshot {
            self.client.push(Item::Snapshot)?;
        }
        let count = wanted
            .logs_history
            .map_or(self.shared.config.history_entries, u64::from);
        self.client.push(Item::History(count))
    }

    fn subscribe(&mut self, id: Option<MessageId>, topic: Topic) -> Result<(), Full> {
        let channels = &self.shared.channels;
        let wanted: SmallVec<[Channel; 1]> = match topic {
            Topic::State | Topic::Logs => {
                // On from the start, so they count as no subscription.
                self.acknowledge(id)?;
                let channel = if topic == Topic::State {
                    Channel::State
                } else {
                    Channel::Logs
                };
                return self.client.want(channel, channels);
            }
            Topic::Alarms => SmallVec::from_slice(&[Channel::Alarms]),
            Topic::Events => SmallVec::from_slice(&[Channel::Events]),
            Topic::Telemetry { endpoint_ids } => {
                let ids = endpoint_ids.unwrap_or_default();
                if let Some(unknown) = ids.iter().find(|id| channels.series(**id).is_none()) {
                    let message = format!(
                        "there is no telemetry series {unknown}; see devices.<id>.series in the state"
                    );
                    return self.refuse(ErrorCode::UnknownEndpoint, message, id);
                }
                ids.into_iter().map(Channel::Series).collect()
            }
        };
        let mut new: SmallVec<[Channel; 1]> = SmallVec::new();
        for channel in wanted {
            if !self.client.wants(channel) && !new.contains(&channel) {
                new.push(channel);
            }
        }
        let limit = self.shared.config.limits.subscriptions;
        if !new.is_empty() && self.subscriptions.len() >= limit as usize {
            let message = format!("a client may have {limit} subscriptions; end one first");
            return self.refuse(ErrorCode::TooManySubscriptions, message, id);
        }
        self.acknowledge(id)?;
        if new.is_empty() {
            return Ok(());
        }
        // Noted before the queue may turn out to be full: what is noted is given back at the end.
        for channel in &new {
            self.joined(*channel);
        }
        self.subscriptions.push(new.clone());
        for channel in new {
            self.client.want(channel, &self.shared.channels)?;
        }
        Ok(())
    }

    fn unsubscribe(&mut self, topic: Topic) {
        let leaving: SmallVec<[Channel; 1]> = match topic {
            Topic::State => SmallVec::from_slice(&[Channel::State]),
            Topic::Logs => SmallVec::from_slice(&[Channel::Logs]),
            Topic::Alarms => SmallVec::from_slice(&[Channel::Alarms]),
            Topic::Events => SmallVec::from_slice(&[Channel::Events]),
            Topic::Telemetry {
                endpoint_ids: Some(ids),
            } => ids.into_iter().map(Channel::Series).collect(),
            Topic::Telemetry { endpoint_ids: None } => {
                let all = self.subscriptions.iter().flatten().copied();
                all.filter(|channel| matches!(channel, Channel::Series(_)))
                    .collect()
            }
        };
        for channel in leaving {
            self.client.unwant(channel);
            let held_before = self.subscriptions.iter().flatten().count();
            for subscription in &mut self.subscriptions {
                subscription.retain(|held| *held != channel);
            }
            if self.subscriptions.iter().flatten().count() < held_before {
                self.left(channel);
            }
        }
        self.subscriptions.retain(|subscription| !subscription.is_empty());
    }

    fn joined(&self, channel: Channel) {
        if let Channel::Series(id) = channel
            && let Some(series) = self.shared.channels.series(id)
        {
            series.join();
        }
    }

    fn left(&self, channel: Channel) {
        if let Channel::Series(id) = channel
            && let Some(series) = self.shared.channels.series(id)
        {
            series.leave();
        }
    }

    fn acknowledge(&self, id: Option<MessageId>) -> Result<(), Full> {
        self.client.say(&ServerMessage::Ack(Ack { ok: true, id }))
    }

    fn refuse(&self, code: ErrorCode, message: String, id: Option<MessageId>) -> Result<(), Full> {
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

    /// Waits, a bounded time, until the client has taken the close frame and said goodbye. Closing with unread bytes would reset the
    /// connection, and the client would never read why.
    async fn linger(&mut self) {
        let stream = &self.client.stream;
        let _ = SockRef::from(stream).shutdown(std::net::Shutdown::Write);
        let drained = async { while stream.readable().await.is_ok() && discard(stream) {} };
        let _ = tokio::time::timeout(self.shared.config.close_timeout, drained).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for channel in self.subscriptions.iter().flatten() {
            self.left(*channel);
        }
        self.shared.forget(&self.client);
    }
}

/// Reads and forgets what is there. False when nothing more will come.
fn discard(stream: &TcpStream) -> bool {
    let mut buffer = [0; READ_BYTES];
    match stream.try_read(&mut buffer) {
        Ok(count) => count > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

fn shortened(text: &str) -> &str {
    match text.char_indices().nth(NAME_CHARS) {
        Some((end, _)) => text.get(..end).unwrap_or(text),
        None => text,
    }
}
