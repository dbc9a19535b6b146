//! The daemon as a user runs it, with the power meter on a pseudo-terminal.

use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use autobench_sim::pty::Pty;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio_tungstenite::tungstenite;

use crate::serial::Line;
use crate::serving::{self, Further, Serving};

/// A cold start compiles the driver.
const START: Duration = Duration::from_secs(120);
/// What a meter answers when it is asked for its version.
const VERSION: &[u8] = b"#v,-,8,1,131071,5,2,3,14,0,0;\r\n";

pub struct Process {
    // Goes before its line: a line that is lost would be worth warnings.
    _daemon: Serving,
    pub line: Line,
}

impl Process {
    /// In a folder of its own.
    pub fn start(folder: &Path, interval: Duration) -> Self {
        let pty = Pty::create(&folder.join("meter")).unwrap();
        let further = Further {
            daemon: &format!("broadcast-interval-ms = {}\n", interval.as_millis()),
            device: "slice = \"powerMeter\"\n",
            ..Further::default()
        };
        serving::set_up(folder, pty.link(), &further);
        // What goes wrong shows; the rest would be between the numbers.
        let daemon = Serving::start(folder, Some("warn"));
        let address = &daemon.address;
        let stream = TcpStream::connect(address).unwrap();
        let (socket, _) = tungstenite::client(format!("ws://{address}/ws"), stream).unwrap();
        let mut line = Line::new(pty, socket);
        until_asked(&line.pty, "#V,R,0;");
        line.pty.write(VERSION).unwrap();
        until_asked(&line.pty, "#L,W,3,E");
        // The first row makes what the others change.
        line.row(0);
        Self {
            _daemon: daemon,
            line,
        }
    }
}

/// Waits until the driver has said something.
fn until_asked(pty: &Pty, question: &str) {
    let end = Instant::now() + START;
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while !heard.contains(question) {
        let left = end.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::from_borrowed_fd(pty.data(), PollFlags::IN)];
        let ready = poll(&mut fds, Some(&Timespec::try_from(left).unwrap())).unwrap();
        assert!(
            ready > 0,
            "the driver does not say {question:?} within {START:?}, but {heard:?}"
        );
        let count = pty.read(&mut buffer).unwrap();
        heard.push_str(&String::from_utf8_lossy(buffer.get(..count).unwrap()));
    }
}
