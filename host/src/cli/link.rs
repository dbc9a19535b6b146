//! A connection to the daemon that is read and written at the same time: its messages wait in a queue while something else is looked after.

use std::sync::Arc;

use anyhow::{Context, bail};
use fastwebsockets::{FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError, WebSocketWrite};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::watch::{Socket, close_reason};

type Writer = Arc<Mutex<WebSocketWrite<WriteHalf<TokioIo<Upgraded>>>>>;

/// Messages that wait to be looked at. When they are this many the daemon's further ones wait in the socket.
const WAITING: usize = 64;

/// See the module. The task that reads ends with it.
pub(super) struct Link {
    messages: mpsc::Receiver<anyhow::Result<Value>>,
    writer: Writer,
    reader: JoinHandle<()>,
}

impl Link {
    pub(super) fn new(socket: Socket) -> Self {
        let (read, write) = socket.split(tokio::io::split);
        let writer = Arc::new(Mutex::new(write));
        let (sender, messages) = mpsc::channel(WAITING);
        let reader = tokio::spawn(read_all(
            FragmentCollectorRead::new(read),
            Arc::clone(&writer),
            sender,
        ));
        Self {
            messages,
            writer,
            reader,
        }
    }

    /// The next message. Nothing is lost when the wait for it is given up.
    pub(super) async fn receive(&mut self) -> anyhow::Result<Value> {
        match self.messages.recv().await {
            Some(message) => message,
            None => bail!("the connection has ended"),
        }
    }

    pub(super) async fn send(&self, message: &Value) -> anyhow::Result<()> {
        let frame = Frame::text(Payload::Owned(message.to_string().into_bytes()));
        let written = self.writer.lock().await.write_frame(frame).await;
        written.context("the connection has ended")
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Reads until the connection ends, which is the last thing that is said.
async fn read_all(
    mut socket: FragmentCollectorRead<ReadHalf<TokioIo<Upgraded>>>,
    writer: Writer,
    messages: mpsc::Sender<anyhow::Result<Value>>,
) {
    loop {
        // What the standard asks of a reader: pongs, and the answer to a close.
        let mut answer = |frame| {
            let writer = Arc::clone(&writer);
            async move { writer.lock().await.write_frame(frame).await }
        };
        let frame = socket.read_frame::<_, WebSocketError>(&mut answer).await;
        let message = match frame.context("the connection has ended") {
            Ok(frame) => match frame.opcode {
                OpCode::Text => serde_json::from_slice(&frame.payload).context("the daemon speaks no JSON"),
                OpCode::Close => Err(anyhow::anyhow!(
                    "the connection has ended: {}",
                    close_reason(&frame.payload)
                )),
                OpCode::Binary | OpCode::Continuation | OpCode::Ping | OpCode::Pong => continue,
            },
            Err(ended) => Err(ended),
        };
        let is_last = message.is_err();
        if messages.send(message).await.is_err() || is_last {
            return;
        }
    }
}
