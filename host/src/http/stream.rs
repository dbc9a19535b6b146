//! A connection's stream as hyper sees it: a socket whose peer has only so long to take what it asked for, and that is closed without losing
//! what was last said.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::places::Place;

/// How long a peer may go on sending when everything has been said to it.
const LINGER: Duration = Duration::from_secs(1);
/// How much of that is read. A peer that sends more does not look at answers.
const LINGER_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    place: Arc<Place>,
    /// How long the socket may take nothing.
    patience: Duration,
    /// Runs while it takes nothing.
    deadline: Option<Pin<Box<Sleep>>>,
    ending: Option<Ending>,
}

/// The write side is shut; the peer is heard out.
#[derive(Debug)]
struct Ending {
    until: Pin<Box<Sleep>>,
    left_bytes: usize,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, place: Arc<Place>, patience: Duration) -> Self {
        Self {
            socket,
            place,
            patience,
            deadline: None,
            ending: None,
        }
    }

    /// The bare socket, for what comes after HTTP.
    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// Looks at how a write went. Nothing may wait for ever: the deadline begins with the first write that the socket does not take.
    fn timed<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.deadline.take().is_some() {
                self.place.set_blocked(false);
            }
            return written;
        }
        let patience = self.patience;
        let place = &self.place;
        let deadline = self.deadline.get_or_insert_with(|| {
            place.set_blocked(true);
            Box::pin(tokio::time::sleep(patience))
        });
        ready!(deadline.as_mut().poll(context));
        // The system shall not keep what this peer will never take.
        let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the peer takes nothing of its answer",
        )))
    }
}

/// Shuts a socket's write side and hears its peer out, for a bounded time.
pub(super) async fn hear_out(mut socket: TcpStream) {
    let mut ending = None;
    std::future::poll_fn(|context| poll_hear_out(&mut socket, &mut ending, context)).await;
}

/// Closing with unread bytes would reset the connection, and a peer that is still sending would never read its answer. So the end is said, and
/// what the peer still sends is read and forgotten, up to a time and an amount.
fn poll_hear_out(socket: &mut TcpStream, ending: &mut Option<Ending>, context: &mut Context<'_>) -> Poll<()> {
    if ending.is_none() && ready!(Pin::new(&mut *socket).poll_shutdown(context)).is_err() {
        return Poll::Ready(());
    }
    let ending = ending.get_or_insert_with(|| Ending {
        until: Box::pin(tokio::time::sleep(LINGER)),
        left_bytes: LINGER_BYTES,
    });
    let mut scratch = [0; 4096];
    while ending.until.as_mut().poll(context).is_pending() {
        let mut buffer = ReadBuf::new(&mut scratch);
        let read = ready!(Pin::new(&mut *socket).poll_read(context, &mut buffer));
        let count = buffer.filled().len();
        if read.is_err() || count == 0 || count > ending.left_bytes {
            break;
        }
        ending.left_bytes -= count;
    }
    Poll::Ready(())
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.timed(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write_vectored(context, slices);
        this.timed(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        poll_hear_out(&mut this.socket, &mut this.ending, context).map(Ok)
    }
}
