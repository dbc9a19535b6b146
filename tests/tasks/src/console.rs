//! One line when a step begins, one when it ends, with the time it took.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// Where the lines go. `cargo demo --json` promises that standard output holds nothing but JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Prints the steps of one task and remembers how long each took.
pub struct Console {
    stream: Stream,
    started: Instant,
    steps: usize,
    begun: usize,
    times: Vec<(String, Duration)>,
}

impl Console {
    /// A console for a task of so many steps.
    pub fn new(stream: Stream, steps: usize) -> Self {
        Self {
            stream,
            started: Instant::now(),
            steps,
            begun: 0,
            times: Vec::new(),
        }
    }

    /// Runs one step between its two lines. The closure answers with a few words on the outcome.
    pub fn step<T>(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Self) -> Result<(T, String), Failure>,
    ) -> Result<T, Failure> {
        self.begun += 1;
        self.say(&format!("[{}/{}] {name}", self.begun, self.steps));
        let begun = Instant::now();
        let result = work(self);
        let took = begun.elapsed();
        self.times.push((name.to_owned(), took));
        match result {
            Ok((value, outcome)) => {
                self.say(&format!("      {name}: {outcome} ({})", seconds(took)));
                Ok(value)
            }
            Err(failure) => {
                self.say(&format!("      {name}: failed ({})", seconds(took)));
                Err(failure)
            }
        }
    }

    /// A line of its own.
    pub fn say(&self, line: &str) {
        // A terminal that has gone away is no reason to stop: the exit code still tells the outcome.
        let _ = match self.stream {
            Stream::Out => writeln!(std::io::stdout(), "{line}"),
            Stream::Err => writeln!(std::io::stderr(), "{line}"),
        };
    }

    /// The time since the task began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The steps so far, with their times.
    pub fn times(&self) -> &[(String, Duration)] {
        &self.times
    }
}

/// Whether programs whose output passes through a pipe of ours should colour it as if they wrote to the terminal.
pub fn wants_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// A time as a person reads it.
pub fn seconds(time: Duration) -> String {
    let whole_s = time.as_secs();
    if whole_s >= 60 {
        format!("{} min {} s", whole_s / 60, whole_s % 60)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
