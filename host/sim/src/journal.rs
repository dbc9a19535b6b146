//! The file in which an emulator notes what happened: one line of JSON for each thing, and a last one that sums up.

use serde::Serialize;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// A journal's file.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
}

#[derive(Serialize)]
struct Summary<T> {
    summary: bool,
    #[serde(flatten)]
    counts: T,
    seed: u64,
}

impl Journal {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::create(path)?,
        })
    }

    /// One write per line, so that a reader of the growing file never waits for what has happened.
    pub(crate) fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value).map_err(io::Error::other)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }

    /// The last line: how often things happened, and from what they were drawn.
    pub(crate) fn summary(&mut self, counts: impl Serialize, seed: u64) -> io::Result<()> {
        self.line(&Summary {
            summary: true,
            counts,
            seed,
        })?;
        self.file.sync_all()
    }
}
