//! A pseudo-terminal that a story writes to byte by byte.

use std::path::Path;
use std::time::{Duration, Instant};

use autobench_sim::pty::Pty;

use crate::PATIENCE;

/// The device's side of a line.
pub struct Terminal {
    pty: Pty,
    heard: Vec<u8>,
}

impl Terminal {
    /// A line behind a link.
    pub fn create(link: &Path) -> Self {
        Self {
            pty: Pty::create(link).expect("a pseudo-terminal"),
            heard: Vec::new(),
        }
    }

    /// Sends bytes as one write, or as few as the line takes them in.
    pub fn send(&mut self, mut bytes: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        while !bytes.is_empty() {
            match self.pty.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("the line takes nothing: {error}"),
            }
            assert!(Instant::now() < deadline, "the line takes nothing");
        }
    }

    /// Waits until the daemon has read everything that was sent.
    pub fn wait_until_read(&mut self) {
        self.pty
            .wait_drained(Duration::from_secs(10))
            .expect("the line is read");
        assert!(self.pty.is_drained().unwrap(), "the daemon does not read");
    }

    /// Waits until the daemon has sent a text, and forgets everything up to its end.
    pub fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = self
                .heard
                .windows(text.len())
                .position(|window| window == text.as_bytes())
            {
                self.heard.drain(..at + text.len());
                return;
            }
            match self.pty.read(&mut buffer) {
                Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::thread::yield_now(),
                // Nobody has the line open yet.
                Err(_) => std::thread::yield_now(),
            }
            assert!(
                Instant::now() < deadline,
                "{text:?} is not sent; so far {:?}",
                String::from_utf8_lossy(&self.heard)
            );
        }
    }

    /// Waits for the next whole line that the daemon sends, and gives it without its end.
    pub fn next_line(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.line_so_far() {
                return line;
            }
            assert!(Instant::now() < deadline, "no line is sent");
            std::thread::yield_now();
        }
    }

    /// The next whole line, if the daemon has sent one by now.
    pub fn line_so_far(&mut self) -> Option<String> {
        let mut buffer = [0; 4096];
        // Nothing there, or nobody has the line open yet.
        while let Ok(count) = self.pty.read(&mut buffer) {
            if count == 0 {
                break;
            }
            self.heard.extend_from_slice(&buffer[..count]);
        }
        let end = self.heard.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.heard.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line).trim().to_owned())
    }

    /// Unplugs the device.
    pub fn close(self) {
        self.pty.close();
    }
}
