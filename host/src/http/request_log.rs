//! What is said of requests.
//!
//! A request that went well and changed nothing is a line on the terminal of whoever asks for debug lines, and never an entry of the ring: a page
//! that asks each second would drive the drivers' lines out of it. Actions are in the ring through the audit. Failures are in the ring too, as
//! long as they are few: who fails all the time shall not fill the ring either, so the rest is counted and its number said with the next one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use autobench_core::driver::LogLevel;
use hyper::{Method, StatusCode};
use parking_lot::Mutex;

use crate::bucket::Lines;
use crate::logs::{LogHandle, LogRecord};

/// Failures that are logged at once, and the distance of those behind them.
const BURST: u32 = 30;
const DISTANCE: Duration = Duration::from_secs(1);

/// Most of a path that is shown.
const PATH_BYTES: usize = 200;

#[derive(Debug)]
pub(super) struct RequestLog {
    logs: LogHandle,
    /// Share of the requests that went well that is printed.
    sample: f64,
    went_well: AtomicU64,
    failures: Mutex<Lines>,
}

impl RequestLog {
    pub(super) fn new(logs: LogHandle, sample: f64) -> Self {
        Self {
            logs,
            sample,
            went_well: AtomicU64::new(0),
            failures: Mutex::new(Lines::one_in(DISTANCE, BURST, Instant::now())),
        }
    }

    pub(super) fn note(&self, method: &Method, path: &str, status: StatusCode, took: Duration) {
        let path = path.get(..path.floor_char_boundary(PATH_BYTES)).unwrap_or(path);
        let ms = took.as_secs_f64() * 1e3;
        let line = || format!("{method} {path} {} in {ms:.1} ms", status.as_u16());
        if !status.is_client_error() && !status.is_server_error() {
            // Every n-th, spread evenly, without a random number.
            let count = self.went_well.fetch_add(1, Ordering::Relaxed) as f64;
            if ((count + 1.0) * self.sample).floor() > (count * self.sample).floor() {
                self.logs
                    .print(&LogRecord::new("request", LogLevel::Debug, line()).of_module("http"));
            }
            return;
        }
        let Some(unsaid) = self.failures.lock().say(Instant::now()) else {
            return;
        };
        let mut message = line();
        if unsaid > 0 {
            message.push_str(&format!(", and {unsaid} others failed before it"));
        }
        self.logs
            .append(LogRecord::new("request", LogLevel::Warn, message).of_module("http"));
    }
}
