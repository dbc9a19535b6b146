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
use tokio::time::{Instant, Sleep};

use super::places::Place;
use crate::tcp::unacknowledged_bytes;

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
    /// The time that is looked at. While everything is out, it does not pass.
    pub(super) window: Duration,
    /// What it has to take per second. Nobody is cut who takes that much in the long run, in portions of at most what a window wants: a peer's
    /// system says that there is room again only when there is some.
    pub(super) least_bytes_per_s: u32,
}

impl Pace {
    /// What has to be taken in one window.
    fn least_bytes(self) -> f64 {
        (f64::from(self.least_bytes_per_s) * self.window.as_secs_f64()).max(1.0)
    }
}

#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    place: Arc<Place>,
    pace: Pace,
    /// There from the first write that the socket does not take until a window ends while everything is out.
    behind: Option<Behind>,
    ending: Option<Ending>,
}

/// The socket holds the daemon up, or has done so in this window. Answers come in pieces, and whatever is read of one, now and then all of a piece
/// is out: a window that ended with that would begin anew with each piece, and nobody would ever have to take more than that.
#[derive(Debug)]
struct Behind {
    /// Since when the peer is waited for: since its socket took no more, or since a window ended in which it took enough. The time in which
    /// everything was out is left out.
    since: Instant,
    /// Since when everything is out, if it is.
    out_since: Option<Instant>,
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
    /// take enough in each window, until one ends while everything is out.
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
        let (pace, socket) = (self.pace, &self.socket);
        let behind = match self.behind.take().and_then(Behind::go_on) {
            Some(behind) => behind,
            None => Behind::new(pace, unacknowledged_bytes(socket)),
        };
        let behind = self.behind.insert(behind);
        while behind.until.as_mut().poll(context).is_ready() {
            if !behind.has_taken_enough(pace, unacknowledged_bytes(socket)) {
                // The system shall not keep what this peer will never take.
                let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the peer takes nothing of its answer, or hardly anything",
                )));
            }
        }
        self.place.set_blocked(Some(behind.since.into_std()));
        Poll::Pending
    }

    /// Everything is out.
    fn kept_up(&mut self) {
        if let Some(behind) = &mut self.behind
            && behind.out_since.is_none()
        {
            behind.out_since = Some(Instant::now());
            self.place.set_blocked(None);
        }
    }
}

impl Behind {
    fn new(pace: Pace, held_bytes: u64) -> Self {
        let now = Instant::now();
        Self {
            since: now,
            out_since: None,
            taken_bytes: 0,
            held_bytes,
            ahead_bytes: pace.least_bytes(),
            // A limit in time, and nothing that could be waited for instead.
            until: Box::pin(tokio::time::sleep_until(now + pace.window)),
        }
    }

    /// The same when the socket takes no more once again; none if the window is over meanwhile, and the peer has kept up.
    fn go_on(mut self) -> Option<Self> {
        let Some(out_since) = self.out_since.take() else {
            return Some(self);
        };
        let (now, until) = (Instant::now(), self.until.deadline());
        if until <= now {
            return None;
        }
        // Nobody waited for the peer meanwhile.
        let out = now - out_since;
        self.since += out;
        self.until.as_mut().reset(until + out);
        Some(self)
    }

    /// At a window's end: whether the peer has taken enough to go on. The system takes much at once and hands it on bit by bit: what counts is
    /// what the peer has of it.
    fn has_taken_enough(&mut self, pace: Pace, held_bytes: u64) -> bool {
        let least_bytes = pace.least_bytes();
        let peer_bytes = (self.taken_bytes + self.held_bytes).saturating_sub(held_bytes);
        self.ahead_bytes = (self.ahead_bytes + peer_bytes as f64 - least_bytes).min(least_bytes);
        if peer_bytes == 0 || self.ahead_bytes < 0.0 {
            return false;
        }
        let now = Instant::now();
        self.taken_bytes = 0;
        self.held_bytes = held_bytes;
        self.until.as_mut().reset(now + pace.window);
        // Whoever takes enough has not waited since it began.
        if peer_bytes as f64 >= least_bytes {
            self.since = now;
        }
        true
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

    use super::super::places::{Places, Room, Taken};
    use super::*;

    const LEAST_BYTES_PER_S: u32 = 10 << 10;
    /// What hyper writes before it flushes.
    const PIECE_BYTES: usize = 4 << 10;

    /// A stream and its peer, whose system holds little of what it does not read.
    async fn connected(window: Duration) -> (Stream, TcpStream, Taken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let peer = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        let Room::Taken(taken) = Places::new(1, Duration::ZERO).take() else {
            panic!("there is room");
        };
        let pace = Pace {
            window,
            least_bytes_per_s: LEAST_BYTES_PER_S,
        };
        let (accepted, _) = listener.accept().await.unwrap();
        (
            Stream::new(accepted, Arc::clone(taken.place()), pace),
            peer,
            taken,
        )
    }

    /// How a connection ended within twenty windows whose peer reads so much per second, if it did.
    async fn borne(window: Duration, bytes_per_s: u128) -> Option<io::Error> {
        let (mut stream, mut peer, _taken) = connected(window).await;
        let writing = async {
            let piece = vec![0; PIECE_BYTES];
            loop {
                if let Err(error) = stream.write_all(&piece).await {
                    return error;
                }
                stream.flush().await.unwrap();
            }
        };
        let reading = async {
            let begin = Instant::now();
            let (mut buffer, mut read) = (vec![0; 512], 0_u128);
            while begin.elapsed() < window * 20 {
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
        // In the longer one several pieces go out.
        for window_s in [1, 10] {
            let window = Duration::from_secs(window_s);
            let (above, below, nothing) = tokio::join!(
                borne(window, least * 5 / 4),
                borne(window, least / 2),
                borne(window, 0)
            );
            assert!(above.is_none(), "{above:?} in {window_s} s");
            for cut in [below, nothing] {
                let cut = cut.unwrap_or_else(|| panic!("is borne in {window_s} s"));
                assert_eq!(cut.kind(), io::ErrorKind::TimedOut);
            }
        }
    }

    /// Writes pieces until the socket takes no more.
    async fn fill(stream: &mut Stream) {
        let piece = vec![0; PIECE_BYTES];
        std::future::poll_fn(|context| {
            while let Poll::Ready(written) = Pin::new(&mut *stream).poll_write(context, &piece) {
                written.unwrap();
                assert!(Pin::new(&mut *stream).poll_flush(context).is_ready());
            }
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn whoever_reads_slowly_has_waited_since_the_first_piece_that_was_not_taken() {
        // Longer than this takes.
        let (mut stream, mut peer, taken) = connected(Duration::from_secs(3600)).await;
        let _busy = taken.place().busy();
        let begin = std::time::Instant::now();
        fill(&mut stream).await;
        let first = taken.place().waits_since().expect("its socket is waited for");
        assert!(first >= begin);
        // Until there is room again.
        let mut buffer = vec![0; 4096];
        let piece = vec![0; PIECE_BYTES];
        let reading = async { while peer.read(&mut buffer).await.unwrap() > 0 {} };
        tokio::select! {
            biased;
            written = stream.write_all(&piece) => written.unwrap(),
            () = reading => panic!("it is still open"),
        }
        let begin = std::time::Instant::now();
        stream.flush().await.unwrap();
        assert_eq!(taken.place().waits_since(), None, "all is out");
        fill(&mut stream).await;
        let again = taken.place().waits_since().expect("its socket is waited for");
        // But for the time in which everything was out.
        assert!(again <= first + begin.elapsed(), "{:?} later", again - first);
    }
}
