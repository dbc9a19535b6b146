//! Native programs that bring a meter's rows to a browser, with the driver's own parser, and without component and state.
//!
//! [`Bridge`] is the least that does it: one thread reads the line and writes frames to the one socket that it has. [`Tasks`] is built as such programs
//! usually are, for any number of browsers: a task reads the line, and a task per socket hears of rows over a broadcast channel.
//!
//! Both keep to a flush interval as the daemon does: after a pause a frame goes out at once, and what comes within the interval waits for its end.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use autobench_core::frame;
use autobench_sdk::{PacketFramer, Piece};
use autobench_sim::pty::Pty;
use futures_util::SinkExt;
use power_meter::protocol::{self, Message, Reading};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use serde_json::json;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite;

use crate::daemon::two_threads;
use crate::serial::Line;

pub struct Bridge {
    // Its end is the bridge's.
    pub line: Line,
    _thread: Thread,
}

/// Waits for the end of a thread.
struct Thread(Option<JoinHandle<()>>);

impl Bridge {
    pub fn start(link: &Path, interval: Duration) -> Self {
        let pty = Pty::create(link).unwrap();
        let tty = open(link);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            let mut socket = tungstenite::accept(stream).unwrap();
            forward(&tty, socket.get_mut(), interval);
        });
        let (socket, _) = tungstenite::client("ws://localhost/ws", client).unwrap();
        Self {
            line: Line::new(pty, socket),
            _thread: Thread(Some(thread)),
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            thread.join().unwrap();
        }
    }
}

/// The same as tasks of a runtime.
pub struct Tasks {
    pub line: Line,
    _runtime: Runtime,
}

impl Tasks {
    pub fn start(link: &Path, interval: Duration) -> Self {
        let pty = Pty::create(link).unwrap();
        let tty = open(link);
        rustix::io::ioctl_fionbio(&tty, true).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        let runtime = two_threads();
        let rows = broadcast::Sender::new(256);
        let mut heard = rows.subscribe();
        runtime.spawn(async move {
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            while let Ok(row) = heard.recv().await {
                if socket.send(tungstenite::Message::text(row)).await.is_err() {
                    return;
                }
            }
        });
        runtime.spawn(async move { publish(tty, &rows, interval).await });
        let (socket, _) = tungstenite::client("ws://localhost/ws", client).unwrap();
        Self {
            line: Line::new(pty, socket),
            _runtime: runtime,
        }
    }
}

/// Until the line is gone.
async fn publish(tty: OwnedFd, rows: &broadcast::Sender<String>, interval: Duration) {
    #[expect(
        deprecated,
        reason = "what replaces it is unsafe, and asks for no more than a descriptor that nobody else closes"
    )]
    let tty = AsyncFd::new(tty).unwrap();
    let mut reader = Rows::new(interval);
    loop {
        let due = tokio::time::Instant::from_std(reader.next_flush);
        tokio::select! {
            ready = tty.readable() => {
                match ready.unwrap().try_io(|tty| Ok(rustix::io::read(tty, &mut reader.buffer[..])?)) {
                    Ok(Ok(count @ 1..)) => reader.took(count),
                    Err(_would_block) => {}
                    Ok(_) => return,
                }
            }
            () = tokio::time::sleep_until(due), if reader.newest.is_some() => {}
        }
        if let Some(row) = reader.due() {
            // A client that is gone ends its own task.
            let _ = rows.send(row);
        }
    }
}

fn open(link: &Path) -> OwnedFd {
    let tty = rustix::fs::open(
        link,
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .unwrap();
    let mut settings = tcgetattr(&tty).unwrap();
    settings.make_raw();
    settings.set_speed(115_200).unwrap();
    tcsetattr(&tty, OptionalActions::Now, &settings).unwrap();
    tty
}

/// Until the line or the socket is gone.
fn forward(tty: &OwnedFd, socket: &mut TcpStream, interval: Duration) {
    let mut rows = Rows::new(interval);
    loop {
        let wait = rows.newest.map(|_| {
            let left = rows.next_flush.saturating_duration_since(Instant::now());
            Timespec::try_from(left).unwrap()
        });
        let mut fds = [PollFd::new(tty, PollFlags::IN)];
        if poll(&mut fds, wait.as_ref()).unwrap() > 0 {
            let Ok(count @ 1..) = rustix::io::read(tty, &mut rows.buffer[..]) else {
                return;
            };
            rows.took(count);
        }
        if let Some(row) = rows.due()
            && socket.write_all(&frame::text(row.as_bytes())).is_err()
        {
            return;
        }
    }
}

/// What came over the line, and when it may go on.
struct Rows {
    buffer: Vec<u8>,
    framer: PacketFramer,
    newest: Option<Reading>,
    interval: Duration,
    next_flush: Instant,
}

impl Rows {
    fn new(interval: Duration) -> Self {
        Self {
            buffer: vec![0; 64 << 10],
            framer: PacketFramer::new(protocol::START, protocol::END, protocol::LIMIT_BYTES)
                .ignoring(protocol::IGNORED),
            newest: None,
            interval,
            next_flush: Instant::now(),
        }
    }

    /// So many bytes are new in the buffer.
    fn took(&mut self, count: usize) {
        let newest = &mut self.newest;
        self.framer.feed(self.buffer.get(..count).unwrap(), |piece| {
            if let Piece::Packet(text) = piece
                && let Message::Row(reading) = protocol::read_packet(text)
            {
                *newest = Some(reading);
            }
        });
    }

    /// The newest row, where the interval is over.
    fn due(&mut self) -> Option<String> {
        let now = Instant::now();
        if now < self.next_flush {
            return None;
        }
        let reading = self.newest.take()?;
        self.next_flush = now + self.interval;
        Some(text_of(&reading))
    }
}

fn text_of(reading: &Reading) -> String {
    json!({
        "type": "row",
        "watts": reading.watts,
        "volts": reading.volts,
        "amps": reading.amps,
        "powerFactor": reading.power_factor,
        "frequencyHz": reading.frequency_hz,
        "energyWh": reading.energy_wh,
        "apparentVa": reading.apparent_va,
    })
    .to_string()
}
