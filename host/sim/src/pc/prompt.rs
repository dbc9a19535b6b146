//! A prompt like that of DOS: a line is typed, Enter runs it. What takes time, or needs the PC, it leaves to the PC.

use super::keys::Meaning;
use super::screen::Screen;

/// Characters of a line; as on DOS, one more rings the bell, which nobody hears.
const LINE_LIMIT: usize = 126;
/// What stands before a line.
pub(super) const PROMPT: &str = "C:\\>";
/// What `ver` says.
const VERSION: &str = "Sim-DOS Version 6.22";
const HELP: &str = "BENCH     runs the benchmark; Ctrl+C stops it\n\
                    CLS       clears the screen\n\
                    ECHO      writes its words\n\
                    HELP      writes this\n\
                    SHUTDOWN  switches the PC off\n\
                    VER       says what this is\n";

/// What a line asks of the PC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Look for the command on the disk, and find that it is there or not.
    Lookup,
    /// Run the benchmark.
    Bench,
    /// Switch off.
    Shutdown,
}

/// The line that is being typed.
#[derive(Debug, Default)]
pub(super) struct Prompt {
    line: String,
}

impl Prompt {
    /// Shows the prompt, for a new line.
    pub(super) fn show(&mut self, screen: &mut Screen) {
        self.line.clear();
        if !screen.current_line().is_empty() {
            screen.print("\n");
        }
        screen.print(PROMPT);
    }

    /// A key; what to do if it was the one that ends the line. After that the prompt has to be shown again.
    pub(super) fn push(&mut self, meaning: Meaning, screen: &mut Screen) -> Option<Task> {
        match meaning {
            Meaning::Character(character) if self.line.len() < LINE_LIMIT => {
                self.line.push(character);
                screen.print(&character.to_string());
            }
            Meaning::Character(_) => {}
            Meaning::Backspace => {
                if self.line.pop().is_some() {
                    screen.erase();
                }
            }
            Meaning::Escape => {
                screen.print("\\\n");
                self.line.clear();
            }
            Meaning::ControlC => {
                screen.print("^C\n\n");
                self.show(screen);
            }
            Meaning::Enter => {
                screen.print("\n");
                let line = std::mem::take(&mut self.line);
                return self.run(line.trim(), screen);
            }
            Meaning::ControlAltDelete | Meaning::LightsChanged => {}
        }
        None
    }

    fn run(&mut self, line: &str, screen: &mut Screen) -> Option<Task> {
        let (command, words) = line.split_once(' ').unwrap_or((line, ""));
        match command.to_ascii_lowercase().as_str() {
            "" => {}
            "bench" => return Some(Task::Bench),
            "shutdown" => return Some(Task::Shutdown),
            "cls" => {
                screen.clear();
                self.show(screen);
                return None;
            }
            "ver" => screen.print(&format!("\n{VERSION}\n\n")),
            "help" => screen.print(HELP),
            "echo" => screen.print(&format!("{}\n\n", words.trim_start())),
            _ => {
                screen.print("Bad command or file name\n\n");
                self.show(screen);
                return Some(Task::Lookup);
            }
        }
        self.show(screen);
        None
    }
}
