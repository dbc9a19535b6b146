//! A connection's stream as hyper sees it: a socket whose peer has only so long to take what it asked for, and that is closed without losing
//! what was last said.

use std::io;
use std::os::fd::AsRawFd;
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

/// What the system may hold of an answer before it is sent. More would only hide that a peer takes little: the system says that there is room
/// again when a third of its buffer is free, which may be megabytes.
const UNSENT_BYTES: u32 = 64 << 10;

/// How much of an answer a peer has to take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The time that is looked at.
    pub(super) window: Duration,
    /// What it has to take per second. Nobody is cut who takes that much in the long run, in portions of at most what a window wants: a peer's
    /// system says that there is room again only when there is some.
    pub(super) least_bytes_per_s: u32,
}

#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    place: Arc<Place>,
    pace: Pace,
    /// There from the first write that the socket does not take to the one with which everything is out.
    behind: Option<Behind>,
    ending: Option<Ending>,
}

/// The socket holds the daemon up.
#[derive(Debug)]
struct Behind {
    /// What it took in this window.
    taken_bytes: u64,
    /// What the system held at the window's beginning and the peer had not acknowledged.
    held_bytes: u64,
    /// What the peer took beyond its due, up to what one window wants.
    ahead_bytes: f64,
    /// The window's end.
    until: Pin<Box<Sleep>>,
}

/// The write side is shut; the peer is heard out.
#[derive(Debug)]
struct Ending {
    until: Pin<Box<Sleep>>,
    left_bytes: usize,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, place: Arc<Place>, pace: Pace) -> Self {
        // Without it the socket works all the same.
        let _ = SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_BYTES);
        Self {
            socket,
            place,
            pace,
            behind: None,
            ending: None,
        }
    }

    /// The bare socket, for what comes after HTTP.
    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// Looks at how a write went. Nothing may wait for ever, and nothing may trickle: from the first write that the socket does not take it has to
    /// take enough in each window, until all is out.
    fn timed(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let (Poll::Ready(Ok(bytes)), Some(behind)) = (&written, &mut self.behind) {
            behind.taken_bytes += *bytes as u64;
        }
        if written.is_ready() {
            return written;
        }
        let Pace {
            window,
            least_bytes_per_s,
        } = self.pace;
        let least_bytes = (f64::from(least_bytes_per_s) * window.as_secs_f64()).max(1.0);
        let (place, socket) = (&self.place, &self.socket);
        let behind = self.behind.get_or_insert_with(|| {
            place.set_blocked(true);
            // A limit in time, and nothing that could be waited for instead.
            let until = Box::pin(tokio::time::sleep(window));
            Behind {
                taken_bytes: 0,
                held_bytes: held_bytes(socket),
                ahead_bytes: least_bytes,
                until,
            }
        });
        while behind.until.as_mut().poll(context).is_ready() {
            // The system takes much at once and hands it on bit by bit: what counts is what the peer has of it.
            let held_bytes = held_bytes(socket);
            let peer_bytes = (behind.taken_bytes + behind.held_bytes).saturating_sub(held_bytes);
            behind.ahead_bytes = (behind.ahead_bytes + peer_bytes as f64 - least_bytes).min(least_bytes);
            if peer_bytes == 0 || behind.ahead_bytes < 0.0 {
                // The system shall not keep what this peer will never take.
                let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the peer takes nothing of its answer, or hardly anything",
                )));
            }
            behind.taken_bytes = 0;
            behind.held_bytes = held_bytes;
            behind.until.as_mut().reset(tokio::time::Instant::now() + window);
            // Whoever takes enough has not waited since it began.
            if peer_bytes as f64 >= least_bytes {
                place.set_blocked(false);
                place.set_blocked(true);
            }
        }
        Poll::Pending
    }

    /// Everything is out.
    fn kept_up(&mut self) {
        if self.behind.take().is_some() {
            self.place.set_blocked(false);
        }
    }
}

/// What the system holds of what was written, and the peer's has not acknowledged.
fn held_bytes(socket: &TcpStream) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is that of the borrowed socket, and the system writes one integer to where it is told.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    // A system that does not say leaves what the socket took.
    if answer == 0 {
        u64::try_from(bytes).unwrap_or(0)
    } else {
        0
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
        // A peer that goes on sending never says that it has done.
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
        // Asked for when everything that there is was written.
        let this = self.get_mut();
        this.kept_up();
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        poll_hear_out(&mut this.socket, &mut this.ending, context).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::Instant;

    use super::super::places::{Places, Room};
    use super::*;

    const LEAST_BYTES_PER_S: u32 = 10 << 10;
    /// Windows of the time that is looked at, of one second each.
    const LOOKED_AT: Duration = Duration::from_secs(20);

    /// How a connection ended within that time whose peer reads so much per second, if it did.
    async fn borne(bytes_per_s: u128) -> Option<io::Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut peer = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        let places = Places::new(1, Duration::ZERO);
        let Room::Taken(taken) = places.take() else {
            panic!("there is room");
        };
        let pace = Pace {
            window: Duration::from_secs(1),
            least_bytes_per_s: LEAST_BYTES_PER_S,
        };
        let (accepted, _) = listener.accept().await.unwrap();
        let mut stream = Stream::new(accepted, Arc::clone(taken.place()), pace);
        let writing = async {
            let block = vec![0; 64 << 10];
            loop {
                if let Err(error) = stream.write_all(&block).await {
                    return error;
                }
            }
        };
        let reading = async {
            let begin = Instant::now();
            let (mut buffer, mut read) = (vec![0; 512], 0_u128);
            while begin.elapsed() < LOOKED_AT {
                if read * 1000 < bytes_per_s * begin.elapsed().as_millis() {
                    let Ok(count) = peer.read(&mut buffer).await else {
                        break;
                    };
                    read += count as u128;
                } else {
                    // The pace of a slow reader, which is what it is here for.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        tokio::select! {
            biased;
            error = writing => Some(error),
            () = reading => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_least_that_a_peer_has_to_take_is_what_is_said() {
        let least = u128::from(LEAST_BYTES_PER_S);
        let (above, below, nothing) = tokio::join!(borne(least * 5 / 4), borne(least / 2), borne(0));
        assert!(above.is_none(), "{above:?}");
        for cut in [below, nothing] {
            assert_eq!(cut.expect("it is cut").kind(), io::ErrorKind::TimedOut);
        }
    }
}
