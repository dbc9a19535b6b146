//! The command itself was wrong: what was typed is at fault, and nothing was done. Such failures end with 2, whoever notices them.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;

use super::Announcer;

/// The exit code of a command that was wrong.
pub(super) const WRONG: u8 = 2;

/// What was typed is wrong. Found in an error, whatever was said of it on the way up.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub(super) struct Wrong(anyhow::Error);

/// Takes an error as one of whoever typed the command.
pub(super) fn wrong(error: impl Into<anyhow::Error>) -> anyhow::Error {
    anyhow::Error::new(Wrong(error.into()))
}

/// The token of a file, or else what the environment has.
pub(super) fn token(file: Option<&Path>, environment: Option<&str>) -> anyhow::Result<Option<String>> {
    let Some(path) = file else {
        return Ok(environment.map(str::to_owned));
    };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the token cannot be read from {}", path.display()))
        .map_err(wrong)?;
    Ok(Some(text.trim().to_owned()))
}

/// What the parser of arguments has to say. Help and version are no mistakes; of mistakes a program is told in its own form, too.
pub(super) fn end(error: &clap::Error) -> ExitCode {
    let is_mistake = error.use_stderr();
    if is_mistake && wants_json(std::env::args_os().skip(1)) {
        let text = error.render().to_string();
        Announcer::new(true).say(&json!({ "event": "error", "message": message(&text) }));
    }
    // Nobody may read any more; the code still tells.
    let _ = error.print();
    match is_mistake {
        true => ExitCode::from(WRONG),
        false => ExitCode::SUCCESS,
    }
}

/// The arguments could not be parsed, so they are looked through: behind two dashes nothing is a flag.
fn wants_json(arguments: impl Iterator<Item = impl AsRef<OsStr>>) -> bool {
    let mut flags = arguments.take_while(|argument| argument.as_ref() != "--");
    flags.any(|argument| argument.as_ref() == "--json")
}

/// The mistake, without how the command is used.
fn message(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let lines = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let words: Vec<&str> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
    words.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_known_as_one_whatever_is_said_of_it_on_the_way_up() {
        let error = wrong(anyhow::anyhow!("no such thing").context("in the address"));
        let error = error.context("asking the daemon");
        assert!(error.is::<Wrong>());
        assert_eq!(
            format!("{error:#}"),
            "asking the daemon: in the address: no such thing"
        );
        assert!(!anyhow::anyhow!("the daemon is away").is::<Wrong>());
    }

    #[test]
    fn a_program_is_told_what_is_wrong_and_not_how_the_command_is_used() {
        let text = "error: unrecognized subcommand 'srve'\n\n  tip: a similar subcommand exists: 'serve'\n\nUsage: autobench [OPTIONS]\n";
        assert_eq!(
            message(text),
            "unrecognized subcommand 'srve'; tip: a similar subcommand exists: 'serve'"
        );
        assert!(wants_json(["srve", "--json"].into_iter()));
        assert!(!wants_json(["srve", "--", "--json"].into_iter()));
    }
}
