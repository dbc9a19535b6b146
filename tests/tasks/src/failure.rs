//! Why a step could not be done, written for the person at the terminal.

use std::fmt;

/// What went wrong, and what to do about it where that is known.
#[derive(Debug)]
pub struct Failure {
    what: String,
    remedy: Option<String>,
}

impl Failure {
    /// A failure that speaks for itself.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: None,
        }
    }

    /// Adds what the person can do.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(remedy) = &self.remedy {
            for line in remedy.lines() {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}

/// Says which file an input or output error was about.
pub trait About<T> {
    /// Turns the error into a failure that names `what` was being done.
    fn about(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T> About<T> for std::io::Result<T> {
    fn about(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}
