//! Changes of a running daemon's state, asked for over HTTP.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Measured;
use super::http::Connection;
use crate::load::{message, monotonic_ns};

/// Sets the bench's message, with the moment in it, so often per second, over one connection; until it is dropped.
#[derive(Debug)]
pub(super) struct Updater {
    /// Nothing is ever sent: the end of it is the signal.
    stop: Option<Sender<()>>,
    /// Why there are no more changes. Said once.
    ended: Receiver<anyhow::Error>,
    thread: Option<JoinHandle<()>>,
}

impl Updater {
    pub(super) fn start(daemon: &Measured, rate: f64) -> anyhow::Result<Self> {
        let mut connection = Connection::open(daemon)?;
        // The first one says whether the daemon takes them at all.
        put(&mut connection)
            .context("the daemon's state cannot be changed from here (--rate 0 leaves it to itself)")?;
        let (stop, stopped) = mpsc::channel();
        let (end, ended) = mpsc::sync_channel(1);
        let spacing = Duration::from_secs_f64(1.0 / rate);
        let thread = std::thread::Builder::new()
            .name("updater".to_owned())
            .spawn(move || {
                let mut next = Instant::now();
                loop {
                    next += spacing;
                    match stopped.recv_timeout(next.saturating_duration_since(Instant::now())) {
                        Err(RecvTimeoutError::Timeout) => {}
                        Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                    }
                    if let Err(error) = put(&mut connection) {
                        let _ = end.send(error);
                        return;
                    }
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            ended,
            thread: Some(thread),
        })
    }

    /// Lets changes be made for so long; an error if they end before.
    pub(super) fn run_for(&self, duration: Duration) -> anyhow::Result<()> {
        match self.ended.recv_timeout(duration) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(error) => Err(error.context("the daemon took no more changes")),
            Err(RecvTimeoutError::Disconnected) => bail!("the changes ended badly"),
        }
    }
}

impl Drop for Updater {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn put(connection: &mut Connection) -> anyhow::Result<()> {
    let body = serde_json::json!({ "message": message(monotonic_ns()) }).to_string();
    connection.ask("PUT", "/api/v1/message", Some(&body)).map(drop)
}
