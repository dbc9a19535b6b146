//! Steering an emulator that runs in another process: a line of text asks, a line of JSON answers when it has been done.

use serde::Serialize;
use std::error::Error;
use std::io::{self, BufRead, Write};

/// Why `run_control` returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlEnd {
    /// Somebody wrote `quit`.
    Quit,
    /// There is nobody any more who could write.
    EndOfInput,
}

/// Hands over lines, one after the other, up to `quit` and with it. The answer is `{"ok":true,"did":LINE,...}` with what `obey` says, or
/// `{"ok":false,"error":TEXT}`.
pub(crate) fn serve<D: Serialize>(
    input: impl BufRead,
    mut output: impl Write,
    obey: impl Fn(&str) -> io::Result<D>,
) -> io::Result<ControlEnd> {
    for line in input.lines() {
        let line = line?;
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let answer = match obey(line) {
            Ok(done) => serde_json::to_string(&Done {
                ok: true,
                did: line,
                done,
            }),
            Err(error) => serde_json::to_string(&Refused {
                ok: false,
                error: error.to_string(),
            }),
        };
        writeln!(output, "{}", answer.map_err(io::Error::other)?)?;
        output.flush()?;
        if line == "quit" {
            return Ok(ControlEnd::Quit);
        }
    }
    Ok(ControlEnd::EndOfInput)
}

/// A line that asks for nothing that can be done.
pub(crate) fn invalid(error: impl Into<Box<dyn Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

#[derive(Serialize)]
struct Done<'a, D> {
    ok: bool,
    did: &'a str,
    #[serde(flatten)]
    done: D,
}

#[derive(Serialize)]
struct Refused {
    ok: bool,
    error: String,
}
