//! From a byte on the line to a frame on the socket.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use autobench::load::Latencies;
use autobench_sim::pty::Pty;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use crate::bridge::{Bridge, Tasks};
use crate::process::Process;
use crate::{Pauses, head, line, ratio};

/// Rows before the measurement begins.
const WARM_UP: usize = 20;
/// What the way through the daemon may take at p99 besides the flush interval.
const BUDGET_US: u64 = 500;
/// Between two rows, of which each contender gets every third one: the SDK publishes a slice at most every 50 ms.
const PAUSE_US: (usize, usize) = (20_000, 50_000);
/// No row takes this long.
const STUCK: Duration = Duration::from_secs(5);

pub fn run(rows: usize, pauses: &mut Pauses) {
    for interval_ms in [0, 10] {
        let interval = Duration::from_millis(interval_ms);
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start(folder.path(), interval);
        let mut bridge = Bridge::start(&folder.path().join("bridge"), interval);
        let mut tasks = Tasks::start(&folder.path().join("tasks"), interval);
        let mut contenders = [
            (&mut process.line, Latencies::default()),
            (&mut bridge.line, Latencies::default()),
            (&mut tasks.line, Latencies::default()),
        ];
        for round in 1..=WARM_UP + rows {
            for (line, latencies) in &mut contenders {
                pauses.pause_us(PAUSE_US.0, PAUSE_US.1);
                let took = line.row(round);
                if round > WARM_UP {
                    latencies.add(took.as_nanos() as u64);
                }
            }
        }
        head(&format!(
            "serial byte to socket frame, flush interval {interval_ms} ms, {rows} rows each"
        ));
        let [(_, ours), (_, bare), (_, tasks)] = contenders;
        let ours = line("daemon with component and state", ours);
        let bare = line("native bridge, one thread", bare);
        let tasks = line("native bridge, tasks", tasks);
        ratio("daemon : one thread", &ours, &bare, "at most 1.3");
        ratio("daemon : tasks", &ours, &tasks, "at most 1.3");
        let budget_us = BUDGET_US + interval_ms * 1000;
        println!("p99 of the daemon: {:.1} µs, at most {budget_us}", ours.p99_us);
    }
}

/// A pseudo-terminal, and a client of whatever reads it.
pub struct Line {
    pub pty: Pty,
    pub socket: WebSocket<TcpStream>,
}

impl Line {
    pub fn new(pty: Pty, socket: WebSocket<TcpStream>) -> Self {
        socket.get_ref().set_nodelay(true).unwrap();
        socket.get_ref().set_read_timeout(Some(STUCK)).unwrap();
        Self { pty, socket }
    }

    /// Sends a row that the round before did not send, and waits for the frame with its value.
    pub fn row(&mut self, round: usize) -> Duration {
        // A value that no other field has: more than a thousand, with a digit behind the point.
        let watts = 1000 + round % 3900;
        let row = format!(
            "#d,-,18,{watts}1,1204,792,1,0,69384,5550,965,1205,833,965,1203,779,100,0,0,500,965;\r\n"
        );
        let mark = format!(":{watts}.1");
        let begin = Instant::now();
        let taken = self.pty.write(row.as_bytes()).unwrap();
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) if text.contains(&mark) => break,
                Ok(_) => {}
                Err(error) => panic!("the row with {watts}.1 W does not come: {error}"),
            }
        }
        let took = begin.elapsed();
        assert_eq!(taken, row.len(), "the line took a part of the row");
        took
    }
}
