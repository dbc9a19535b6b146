//! Child processes: run to the end, read, or shown and read at the same time.

use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::failure::{About, Failure};

/// Lines that wait for the terminal. When it is full the child waits, as it would for a slow terminal.
const LINES: usize = 1024;
/// How long output may still come after the child has ended. A grandchild that was left behind keeps the pipe open.
const AFTERMATH: Duration = Duration::from_secs(3);

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With exit code 0.
    Well,
    /// With another exit code or by a signal.
    Badly,
    /// Not by itself: it was ended because its time was over.
    OverTime,
}

/// Runs a command with the person's terminal; its standard output goes to standard error, see `console::Stream`.
pub fn stream(command: &mut Command) -> Result<(), Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::from(io::stderr()));
    let status = command.status().about(name(command))?;
    if status.success() {
        Ok(())
    } else {
        Err(ended_badly(command, status))
    }
}

/// Runs a command and returns what it wrote to standard output.
pub fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .about(name(command))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let words = String::from_utf8_lossy(&output.stderr);
        Err(ended_badly(command, output.status).remedy(words.trim()))
    }
}

/// Runs a command, writes both its outputs `to` somewhere, line by line and in their order, and hands each line to `read`.
pub fn watch(
    command: &mut Command,
    to: &mut impl Write,
    limit: Duration,
    mut read: impl FnMut(&str),
) -> Result<Ended, Failure> {
    enum Event {
        Line(Vec<u8>),
        End,
        Exit(io::Result<ExitStatus>),
    }
    let program = name(command);
    let (reader, writer) = io::pipe().about("a pipe")?;
    command
        .stdin(Stdio::null())
        .stderr(writer.try_clone().about("a pipe")?)
        .stdout(writer);
    let mut child = command.spawn().about(&program)?;
    // The command holds our copies of the pipe's writing end; while they live the reader never sees an end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let id = child.id();
    let (sender, events) = mpsc::sync_channel(LINES);
    let lines = sender.clone();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        loop {
            let mut line = Vec::new();
            let read = reader.read_until(b'\n', &mut line);
            let event = if matches!(read, Ok(0) | Err(_)) {
                Event::End
            } else {
                Event::Line(line)
            };
            let end = matches!(event, Event::End);
            if lines.send(event).is_err() || end {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        // Nobody listens any more when the step was given up.
        let _ = sender.send(Event::Exit(child.wait()));
    });

    let mut deadline = Instant::now() + limit;
    let mut exit = None;
    let mut over_time = false;
    let mut open = true;
    while open || exit.is_none() {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Event::Line(line)) => {
                // A terminal that has gone away is no reason to stop: the exit code still tells the outcome.
                let _ = to.write_all(&line);
                read(plain(&String::from_utf8_lossy(&line)).trim_end());
            }
            Ok(Event::End) => open = false,
            Ok(Event::Exit(status)) => {
                exit = Some(status.about(&program)?);
                deadline = Instant::now() + AFTERMATH;
            }
            Err(RecvTimeoutError::Timeout) if exit.is_none() && !over_time => {
                over_time = true;
                kill_tree(id);
                deadline = Instant::now() + AFTERMATH;
            }
            Err(_) => break,
        }
    }
    Ok(match exit {
        _ if over_time => Ended::OverTime,
        Some(status) if status.success() => Ended::Well,
        _ => Ended::Badly,
    })
}

/// The first of these programs that lies in a folder of `PATH`.
pub fn find(programs: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    programs.iter().find_map(|program| {
        std::env::split_paths(&path)
            .map(|folder| folder.join(program))
            .find(|file| file.is_file())
    })
}

/// Text without terminal control sequences.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            plain.push(character);
        } else if characters.next() == Some('[') {
            // A control sequence ends with its first letter or one of `@`, `~` and their neighbours.
            characters
                .by_ref()
                .find(|end| ('\u{40}'..='\u{7e}').contains(end));
        }
    }
    plain
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn ended_badly(command: &Command, status: ExitStatus) -> Failure {
    let arguments: Vec<_> = command
        .get_args()
        .map(|argument| argument.to_string_lossy())
        .collect();
    let program = PathBuf::from(command.get_program());
    let program = program.file_name().unwrap_or_default().to_string_lossy();
    Failure::new(format!("`{program} {}` ended with {status}", arguments.join(" ")))
}

/// Ends a process and all that descend from it: a cargo that is killed leaves its test programs behind.
fn kill_tree(id: u32) {
    let mut family = vec![id];
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((process, parent(&stat)?))
        })
        .collect();
    let mut known = 0;
    while known < family.len() {
        known = family.len();
        for (process, parent) in &parents {
            if family.contains(parent) && !family.contains(process) {
                family.push(*process);
            }
        }
    }
    let family: Vec<String> = family.iter().map(u32::to_string).collect();
    // Some of them may have ended by now, which is what was wanted.
    let _ = Command::new("sh")
        .args(["-c", "kill -KILL \"$@\"", "sh"])
        .args(family)
        .status();
}

/// The parent in the text of `/proc/<id>/stat`. The second field is a name that may hold spaces and parentheses.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_outputs_arrive_in_the_order_in_which_they_were_written() {
        let mut lines = Vec::new();
        let ended = watch(
            &mut shell("echo one; echo two >&2; echo three"),
            &mut io::sink(),
            Duration::from_secs(60),
            |line| {
                lines.push(line.to_owned());
            },
        );
        assert_eq!(ended.unwrap(), Ended::Well);
        assert_eq!(lines, ["one", "two", "three"]);
    }

    #[test]
    fn a_bad_exit_is_told_from_a_good_one() {
        assert_eq!(
            watch(
                &mut shell("exit 3"),
                &mut io::sink(),
                Duration::from_secs(60),
                |_| ()
            )
            .unwrap(),
            Ended::Badly
        );
    }

    #[test]
    fn a_child_that_never_ends_is_ended_with_its_children() {
        let mut child = None;
        let ended = watch(
            &mut shell("sleep 600 & echo $!; wait"),
            &mut io::sink(),
            Duration::from_secs(1),
            |line| {
                child = line.parse::<u32>().ok();
            },
        );
        assert_eq!(ended.unwrap(), Ended::OverTime);
        let stat = format!("/proc/{}/stat", child.unwrap());
        // Where nobody reaps orphans, a killed one remains as a zombie.
        let gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        let deadline = Instant::now() + Duration::from_secs(10);
        while !gone() {
            assert!(Instant::now() < deadline, "the grandchild still runs");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_a_failure() {
        assert!(
            watch(
                &mut Command::new("no-such-program-here"),
                &mut io::sink(),
                Duration::from_secs(60),
                |_| ()
            )
            .is_err()
        );
    }

    #[test]
    fn control_sequences_are_removed() {
        assert_eq!(plain("\u{1b}[1m\u{1b}[32mtest\u{1b}[0m ok"), "test ok");
        assert_eq!(plain("cut off \u{1b}["), "cut off ");
    }

    #[test]
    fn the_parent_is_found_behind_an_awkward_name() {
        assert_eq!(parent("12 (a) b (c)) S 7 12 12 0"), Some(7));
    }
}
