//! TOML with its places: every value knows the file and the bytes it was written in, also after several files became one tree.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem, Source, Weight};

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// Position in [`Findings::sources`].
    pub file: usize,
    /// Bytes of that file.
    pub span: Range<usize>,
}

/// A value with its key's place and its own.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where its key stands; for an element of a list, the element itself.
    pub key: At,
    /// Where it stands.
    pub at: At,
    /// What it is.
    pub datum: Datum,
}

/// What a value is.
#[derive(Debug, Clone)]
pub enum Datum {
    /// A text.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A boolean.
    Boolean(bool),
    /// A date or a time, as it was written.
    Moment(String),
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(Table),
}

/// A table.
pub type Table = BTreeMap<String, Node>;

impl Datum {
    /// What kind of value this is, with its article.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Moment(_) => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// What was read and what is wrong with it.
#[derive(Debug, Default)]
pub struct Findings {
    /// The files, in the order in which they count.
    pub sources: Vec<Source>,
    /// What was found so far.
    pub problems: Vec<Problem>,
    /// Lines that are not TOML, by file: whatever else is found on them only repeats that.
    broken_lines: Vec<(usize, usize)>,
}

impl Findings {
    /// Whether part of the text could not be read, so that what seems to be missing may be there.
    pub fn is_incomplete(&self) -> bool {
        !self.broken_lines.is_empty()
    }

    /// Where something is, for a message.
    pub fn place(&self, at: &At) -> Place {
        match self.sources.get(at.file) {
            Some(source) => source.place(at.span.clone()),
            None => Place::File(std::path::PathBuf::new()),
        }
    }

    /// Notes an error in the text.
    pub fn error(
        &mut self,
        code: &'static str,
        at: &At,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let place = self.place(at);
        if let Place::Text { line, .. } = &place
            && self.broken_lines.contains(&(at.file, *line))
        {
            return;
        }
        self.problem(Weight::Error, code, place, message, hint);
    }

    /// Notes that something is missing, unless part of the text could not be read.
    pub fn missing(
        &mut self,
        code: &'static str,
        at: &At,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        if !self.is_incomplete() {
            self.error(code, at, message, hint);
        }
    }

    /// Notes a problem anywhere.
    pub fn problem(
        &mut self,
        weight: Weight,
        code: &'static str,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        self.problems.push(Problem {
            weight,
            code,
            place,
            message: message.into(),
            hint,
        });
    }

    /// Reads one more file into a table of its own.
    pub fn parse(&mut self, source: Source) -> Table {
        let file = self.sources.len();
        let text = source.text.clone();
        self.sources.push(source);
        let (tree, errors) = DeTable::parse_recoverable(&text);
        for error in errors {
            let at = At {
                file,
                span: error.span().unwrap_or(0..0),
            };
            self.error(
                "syntax",
                &at,
                format!("this is not TOML: {}", one_line(error.message())),
                "",
            );
            if let Place::Text { line, .. } = self.place(&at) {
                self.broken_lines.push((file, line));
            }
        }
        self.table(file, tree.get_ref())
    }

    fn table(&mut self, file: usize, table: &DeTable<'_>) -> Table {
        table
            .iter()
            .map(|(name, value)| {
                let key = At {
                    file,
                    span: name.span(),
                };
                let at = At {
                    file,
                    span: value.span(),
                };
                let datum = self.datum(file, &at, value.get_ref());
                (name.get_ref().to_string(), Node { key, at, datum })
            })
            .collect()
    }

    fn datum(&mut self, file: usize, at: &At, value: &DeValue<'_>) -> Datum {
        match value {
            DeValue::String(text) => Datum::Text(text.to_string()),
            DeValue::Boolean(boolean) => Datum::Boolean(*boolean),
            DeValue::Datetime(moment) => Datum::Moment(moment.to_string()),
            DeValue::Integer(integer) => {
                let parsed = i64::from_str_radix(integer.as_str(), integer.radix());
                Datum::Integer(parsed.unwrap_or_else(|_| {
                    self.error(
                        "bad-number",
                        at,
                        format!("{} is too large for an integer", integer.as_str()),
                        "write a number of at most 63 bits",
                    );
                    0
                }))
            }
            DeValue::Float(float) => Datum::Float(float.as_str().parse().unwrap_or_else(|_| {
                self.error(
                    "bad-number",
                    at,
                    format!("{} is no number", float.as_str()),
                    "write for example 1.5",
                );
                0.0
            })),
            DeValue::Array(list) => Datum::List(
                list.iter()
                    .map(|element| {
                        let at = At {
                            file,
                            span: element.span(),
                        };
                        let datum = self.datum(file, &at, element.get_ref());
                        Node {
                            key: at.clone(),
                            at,
                            datum,
                        }
                    })
                    .collect(),
            ),
            DeValue::Table(table) => Datum::Table(self.table(file, table)),
        }
    }

    /// Lays a later file over an earlier one. Only tables that hold other tables or plain settings grow together; a device, a token and the
    /// layout come whole from one file, and nothing may be said twice.
    pub fn merge(&mut self, into: &mut Table, from: Table, path: &str) {
        for (name, node) in from {
            let inner = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            match (into.get_mut(&name), node) {
                (None, node) => {
                    into.insert(name, node);
                }
                (
                    Some(Node {
                        datum: Datum::Table(earlier),
                        ..
                    }),
                    Node {
                        datum: Datum::Table(later),
                        ..
                    },
                ) if GROWING_TABLES.contains(&inner.as_str()) => self.merge(earlier, later, &inner),
                (Some(earlier), later) => {
                    let first = self.place(&earlier.key);
                    self.error(
                        "duplicate",
                        &later.key,
                        format!("{inner} is already set in {first}"),
                        "keep one of the two: files in plugins.d add to the bench and replace nothing",
                    );
                }
            }
        }
    }
}

/// Tables to which more than one file may add.
const GROWING_TABLES: [&str; 5] = ["daemon", "daemon.limits", "auth", "auth.tokens", "devices"];

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
