//! Changes of a running daemon's state, asked for over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::{PATIENCE, Target};
use crate::load::{message, monotonic_ns};

/// Sets the bench's message, with the moment in it, so often per second, over one connection.
#[derive(Debug)]
pub(super) struct Updater {
    stop: Sender<()>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Updater {
    pub(super) fn start(target: &Target, rate: f64) -> anyhow::Result<Self> {
        let stream = TcpStream::connect_timeout(&target.address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut head = format!(
            "PUT /api/v1/message HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n",
            target.authority
        );
        for header in &target.headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        let mut connection = Connection {
            reader: BufReader::new(stream),
            head,
        };
        // The first one says whether the daemon takes them at all.
        connection.put()?;
        let (stop, stopped) = mpsc::channel();
        let spacing = Duration::from_secs_f64(1.0 / rate);
        let thread = std::thread::Builder::new()
            .name("updater".to_owned())
            .spawn(move || {
                let mut next = Instant::now();
                loop {
                    next += spacing;
                    match stopped.recv_timeout(next.saturating_duration_since(Instant::now())) {
                        Err(RecvTimeoutError::Timeout) => connection.put()?,
                        Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                    }
                }
            })?;
        Ok(Self { stop, thread })
    }

    pub(super) fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        match self.thread.join() {
            Ok(ended) => ended.context("the daemon took no more changes"),
            Err(_) => bail!("the changes ended badly"),
        }
    }
}

struct Connection {
    reader: BufReader<TcpStream>,
    head: String,
}

impl Connection {
    fn put(&mut self) -> anyhow::Result<()> {
        let body = serde_json::json!({ "message": message(monotonic_ns()) }).to_string();
        let request = format!("{}Content-Length: {}\r\n\r\n{body}", self.head, body.len());
        self.reader.get_mut().write_all(request.as_bytes())?;
        let mut status = String::new();
        self.reader.read_line(&mut status)?;
        let mut length = 0_u64;
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            let line = line.trim();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
        let mut body = String::new();
        self.reader.by_ref().take(length).read_to_string(&mut body)?;
        if !status.starts_with("HTTP/1.1 2") {
            bail!(
                "the daemon answers {} to a change of its message: {body}",
                status.trim()
            );
        }
        Ok(())
    }
}
