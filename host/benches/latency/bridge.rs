//! The least that brings a meter's rows to a browser: one thread that reads the line, parses it with the driver's own parser, and writes a frame.
//!
//! It keeps to a flush interval as the daemon does: after a pause a frame goes out at once, and what comes within the interval waits for its end.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use autobench_core::frame;
use autobench_sdk::{PacketFramer, Piece};
use autobench_sim::pty::Pty;
use power_meter::protocol::{self, Message, Reading};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use serde_json::json;
use tokio_tungstenite::tungstenite;

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
    let mut framer =
        PacketFramer::new(protocol::START, protocol::END, protocol::LIMIT_BYTES).ignoring(protocol::IGNORED);
    let mut buffer = vec![0; 64 << 10];
    let mut next_flush = Instant::now();
    let mut newest: Option<Reading> = None;
    loop {
        let wait = newest.map(|_| {
            let left = next_flush.saturating_duration_since(Instant::now());
            Timespec::try_from(left).unwrap()
        });
        let mut fds = [PollFd::new(tty, PollFlags::IN)];
        if poll(&mut fds, wait.as_ref()).unwrap() > 0 {
            let Ok(count @ 1..) = rustix::io::read(tty, &mut buffer) else {
                return;
            };
            framer.feed(buffer.get(..count).unwrap(), |piece| {
                if let Piece::Packet(text) = piece
                    && let Message::Row(reading) = protocol::read_packet(text)
                {
                    newest = Some(reading);
                }
            });
        }
        let now = Instant::now();
        if now >= next_flush
            && let Some(reading) = newest.take()
        {
            next_flush = now + interval;
            if socket
                .write_all(&frame::text(text_of(&reading).as_bytes()))
                .is_err()
            {
                return;
            }
        }
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
