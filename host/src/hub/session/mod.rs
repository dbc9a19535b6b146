//! The task of one client: reads its messages, answers them, and writes when its socket would block the hub.
//!
//! Here is the task itself. What a message does is in `messages`, what a client gets because it asked for it in `subscriptions`, its
//! commands in `commands`, and what becomes of messages on `/ws/echo` in `echo`.

mod access;
mod commands;
mod echo;
mod messages;
mod subscriptions;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use autobench_core::frame::{CloseCode, FrameReader};
use autobench_core::outbox::Channel;
use smallvec::SmallVec;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::client::{Client, Pumped};
use super::personal::Full;
use super::{Seat, Shared};
use crate::bucket::Bucket;

/// What is taken from a socket in one go. On the stack, and only while bytes are read: an idle client holds no buffer.
const READ_BYTES: usize = 8 << 10;
/// Frames that a client may send for each message that it may send: pieces of messages, pings and pongs. More than any honest client sends,
/// and few enough that reading them costs nothing.
const FRAMES_PER_MESSAGE: u32 = 100;
/// Reads in a row for one client before the others get their turn.
const READS_IN_A_ROW: usize = 8;

pub(super) struct Session {
    client: Arc<Client>,
    shared: Arc<Shared>,
    reader: FrameReader,
    bucket: Bucket,
    frames: Bucket,
    refused_in_a_row: u32,
    /// Messages may lie in the reader that wait until an answer is out.
    is_paused: bool,
    /// What the limit counts: one entry per message that subscribed to something, with the channels that it brought.
    subscriptions: Vec<SmallVec<[Channel; 1]>>,
    /// The same for messages that named commands.
    command_lists: Vec<Vec<String>>,
    /// Whether it has asked for a command, by which it may hold something.
    has_asked: bool,
    /// Given back last, when everything else of the client is gone.
    seat: Seat,
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
            reader: match seat.deflate {
                Some(_) => FrameReader::new(seat.message_bytes()).with_deflate(),
                None => FrameReader::new(seat.message_bytes()),
            },
            bucket: Bucket::new(limits.messages_per_s, limits.message_burst, Instant::now()),
            frames: Bucket::new(
                limits.messages_per_s.saturating_mul(FRAMES_PER_MESSAGE),
                limits.message_burst.saturating_mul(FRAMES_PER_MESSAGE),
                Instant::now(),
            ),
            refused_in_a_row: 0,
            is_paused: false,
            subscriptions: Vec::new(),
            command_lists: Vec::new(),
            has_asked: false,
            client,
            shared,
            seat,
        }
    }

    /// Serves the client until it is gone. `early` is what it sent right behind the upgrade.
    pub(super) async fn run(mut self, early: bytes::Bytes) {
        let (id, peer) = (self.client.id(), self.client.peer);
        if self.may_tell() {
            tracing::info!(client = id, %peer, "connected");
        }
        self.take(&early);
        drop(early);
        let end = self.serve().await;
        self.let_go_of_all();
        let metrics = &self.shared.channels.metrics;
        match end {
            End::Aborted(_) => metrics.dropped.inc(),
            End::Gone(_) | End::Closed(_) => metrics.gone.inc(),
        }
        match end {
            End::Gone(_) => {}
            End::Closed(_) => self.linger().await,
            End::Aborted(_) => {
                // The system shall not keep what this client will never take.
                let _ = SockRef::from(&self.client.stream).set_linger(Some(std::time::Duration::ZERO));
            }
        }
        if !self.may_tell() {
            return;
        }
        match end {
            End::Gone(None) => tracing::info!(client = id, "gone"),
            End::Gone(Some(error)) => tracing::info!(client = id, %error, "gone"),
            End::Closed(code) => tracing::info!(client = id, code = code.number(), "closed"),
            End::Aborted(code) => {
                tracing::warn!(client = id, code = code.number(), "takes nothing; dropped");
            }
        }
    }

    /// Whether the log may have a line about this client's coming and going: whoever connects without end shall not fill it.
    fn may_tell(&self) -> bool {
        let audit = self.shared.config.guard.audit();
        audit.may_tell(self.client.actor().as_ref(), self.client.peer.ip())
    }

    async fn serve(&mut self) -> End {
        loop {
            let pumped = self.client.pump(&self.shared.channels);
            let has_more = matches!(pumped, Ok(Pumped::More));
            let interest = match pumped {
                Ok(Pumped::CaughtUp) if self.resume() => continue,
                Ok(Pumped::CaughtUp | Pumped::More | Pumped::AwaitsFlush) => Interest::READABLE,
                Ok(Pumped::Blocked) if self.is_paused => Interest::WRITABLE,
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
                () = tokio::task::yield_now(), if has_more => {}
            }
        }
    }

    /// The client has closed its side. If its last bytes were wrong, it is still told so.
    fn last_words(&mut self) -> End {
        loop {
            match self.client.pump(&self.shared.channels) {
                Ok(Pumped::Closed(code)) => return End::Closed(code),
                Ok(Pumped::CaughtUp) if self.resume() => {}
                _ => return End::Gone(None),
            }
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
        // Nothing that it says counts any more once it is told goodbye.
        if bytes.is_empty() || !self.client.is_open() {
            return;
        }
        self.client.heard();
        self.reader.push(bytes);
        self.work_off();
        let frames = self.reader.take_frames();
        if !self.seat.is_echo() && !self.frames.admit_many(Instant::now(), frames) {
            self.client.close(
                CloseCode::Policy,
                "this client sends too many pings, pongs or pieces of messages",
            );
        }
    }

    /// Goes on with what had to wait. False when nothing did.
    fn resume(&mut self) -> bool {
        let was_paused = std::mem::take(&mut self.is_paused);
        if was_paused {
            self.work_off();
        }
        was_paused
    }

    /// Handles the whole messages that the reader holds.
    fn work_off(&mut self) {
        loop {
            if self.must_wait() {
                self.is_paused = true;
                return;
            }
            if self.client.is_crowded() {
                // Many messages may come in one read. A client that reads is not to be closed for that, and one that does not fills its queue.
                // How it went, the next call says again.
                let _ = self.client.pump(&self.shared.channels);
            }
            if !self.client.is_open() {
                return;
            }
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
        self.let_go_of_all();
        for channel in self.subscriptions.iter().flatten() {
            self.left(*channel);
        }
        self.shared.following.leave_all(&self.client);
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
