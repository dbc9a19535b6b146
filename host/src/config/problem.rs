//! What is wrong with a configuration, and how it is told: one line per problem, with its place and what to write instead.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whether a problem keeps the configuration from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// The configuration is not used.
    Error,
    /// It is used, and somebody should look at this.
    Warning,
}

/// Where a problem lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the text of a file.
    Text {
        /// The file, as it was named.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// Bytes of the text.
        span: Range<usize>,
    },
    /// A file or folder as a whole.
    File(PathBuf),
    /// An environment variable.
    Variable(&'static str),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text {
                file, line, column, ..
            } => write!(formatter, "{}:{line}:{column}", file.display()),
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Variable(name) | Self::Flag(name) => formatter.write_str(name),
        }
    }
}

/// One thing that is wrong or doubtful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub weight: Weight,
    /// Stable name of this kind of problem, for programs that read the answer.
    pub code: &'static str,
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    /// `file:line:column: message — hint`, on one line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Error => "",
            Weight::Warning => "warning: ",
        };
        write!(formatter, "{}: {weight}{}", self.place, self.message)?;
        match &self.hint {
            Some(hint) => write!(formatter, " — {hint}"),
            None => Ok(()),
        }
    }
}

impl Problem {
    /// The problem as JSON, for `--json`.
    pub fn to_json(&self) -> serde_json::Value {
        let mut object = serde_json::json!({
            "weight": self.weight,
            "code": self.code,
            "message": self.message,
            "place": self.place.to_string(),
        });
        if let Some(object) = object.as_object_mut() {
            if let Some(hint) = &self.hint {
                object.insert("hint".into(), hint.as_str().into());
            }
            match &self.place {
                Place::Text {
                    file, line, column, ..
                } => {
                    object.insert("file".into(), file.display().to_string().into());
                    object.insert("line".into(), (*line).into());
                    object.insert("column".into(), (*column).into());
                }
                Place::File(file) => {
                    object.insert("file".into(), file.display().to_string().into());
                }
                Place::Variable(name) => {
                    object.insert("variable".into(), (*name).into());
                }
                Place::Flag(name) => {
                    object.insert("flag".into(), (*name).into());
                }
            }
        }
        object
    }
}

/// The text of one file, kept so that a problem can be shown in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file, as it was named.
    pub file: PathBuf,
    /// What it said.
    pub text: Arc<str>,
}

impl Source {
    /// Line and column of a byte, both from 1, the column in characters.
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let mut end = byte.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = self.text.get(..end).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    /// The place of a span in this file.
    pub fn place(&self, span: Range<usize>) -> Place {
        let (line, column) = self.position(span.start);
        Place::Text {
            file: self.file.clone(),
            line,
            column,
            span,
        }
    }
}

/// Why a configuration is not used: every problem that was found, at least one of them an error, with the texts they lie in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// In the order of files and lines.
    pub problems: Vec<Problem>,
    /// The files that were read.
    pub sources: Vec<Source>,
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    /// One line per problem.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for problem in &self.problems {
            if !first {
                formatter.write_str("\n")?;
            }
            first = false;
            write!(formatter, "{problem}")?;
        }
        Ok(())
    }
}

impl ConfigErrors {
    /// How many of the problems are errors.
    pub fn error_count(&self) -> usize {
        self.problems
            .iter()
            .filter(|problem| problem.weight == Weight::Error)
            .count()
    }

    /// For a terminal: each problem drawn into its text. `colour` follows `NO_COLOR` and whether anyone would see it.
    pub fn render(&self, colour: Colour, columns: usize) -> String {
        render(&self.problems, &self.sources, colour, columns)
    }
}

/// Whether a rendering may use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Escape sequences.
    Ansi,
    /// Plain characters only.
    None,
}

/// Draws problems into the texts they lie in.
pub fn render(problems: &[Problem], sources: &[Source], colour: Colour, columns: usize) -> String {
    let theme = match colour {
        Colour::Ansi => miette::GraphicalTheme::unicode(),
        Colour::None => miette::GraphicalTheme::unicode_nocolor(),
    };
    let handler = miette::GraphicalReportHandler::new_themed(theme)
        .with_width(columns)
        .with_context_lines(1);
    let mut out = String::new();
    for problem in problems {
        let drawn = Drawn::new(problem, sources);
        if handler.render_report(&mut out, &drawn).is_err() {
            // Only a formatter that fails gets here; the plain line says the same.
            out.push_str(&format!("{problem}\n"));
        }
    }
    out
}

/// A problem as miette wants it.
#[derive(Debug)]
struct Drawn<'a> {
    problem: &'a Problem,
    text: Option<miette::NamedSource<String>>,
}

impl<'a> Drawn<'a> {
    fn new(problem: &'a Problem, sources: &[Source]) -> Self {
        let text = match &problem.place {
            Place::Text { file, .. } => sources.iter().find(|source| &source.file == file).map(|source| {
                miette::NamedSource::new(source.file.display().to_string(), source.text.to_string())
            }),
            Place::File(_) | Place::Variable(_) | Place::Flag(_) => None,
        };
        Self { problem, text }
    }
}

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(_) => formatter.write_str(&self.problem.message),
            None => write!(formatter, "{}: {}", self.problem.place, self.problem.message),
        }
    }
}

impl std::error::Error for Drawn<'_> {}

impl miette::Diagnostic for Drawn<'_> {
    fn code<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        Some(Box::new(self.problem.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.problem.weight {
            Weight::Error => miette::Severity::Error,
            Weight::Warning => miette::Severity::Warning,
        })
    }

    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        self.problem
            .hint
            .as_ref()
            .map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.text.as_ref().map(|text| text as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        match &self.problem.place {
            Place::Text { span, .. } => {
                let label = miette::LabeledSpan::new_with_span(Some("here".into()), span.clone());
                Some(Box::new(std::iter::once(label)))
            }
            Place::File(_) | Place::Variable(_) | Place::Flag(_) => None,
        }
    }
}

/// The word of `known` that is meant by `word`, if one is near enough to be a slip of the fingers.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let reach = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| {
            (
                distance(&word.to_lowercase(), &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The folder of a file, also for a file named without one.
pub fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Edits that make one word of the other: insert, delete, replace, and swap of two neighbours.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    let mut previous_char = None;
    for (row, from) in one.chars().enumerate() {
        let mut current = Vec::with_capacity(other.len() + 1);
        current.push(row + 1);
        let mut previous_other = None;
        for (column, to) in other.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&last, column) + usize::from(from != *to))
                .min(at(&last, column + 1) + 1)
                .min(at(&current, column) + 1);
            if column > 0 && previous_char == Some(*to) && previous_other == Some(from) {
                best = best.min(at(&before_last, column - 1) + 1);
            }
            current.push(best);
            previous_other = Some(*to);
        }
        before_last = std::mem::replace(&mut last, current);
        previous_char = Some(from);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits_and_swaps() {
        for (one, other, edits) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "abc", 3),
            ("listen", "listen", 0),
            ("lisetn", "listen", 1),
            ("lsten", "listen", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), edits, "{one} {other}");
            assert_eq!(distance(other, one), edits, "{other} {one}");
        }
    }

    #[test]
    fn only_a_slip_of_the_fingers_is_suggested() {
        let known = ["listen", "plugins-dir", "data-dir", "web-dir"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("plugin_dir", known), Some("plugins-dir"));
        assert_eq!(nearest("Listen", known), Some("listen"));
        assert_eq!(nearest("colour", known), None);
    }

    #[test]
    fn positions_count_characters_and_start_at_one() {
        let source = Source {
            file: "x.toml".into(),
            text: "äb\n\nc = 1".into(),
        };
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(2), (1, 2));
        assert_eq!(source.position(1), (1, 1));
        assert_eq!(source.position(5), (3, 1));
        assert_eq!(source.position(99), (3, 6));
    }
}
