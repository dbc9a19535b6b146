//! Values on their way into the document: what they may be, how they are written, and how long they are when written.

use serde_json::{Map, Number, Value as Json};

use super::{FORBIDDEN_KEYS, Value};
use crate::wire::encode::put;

/// Largest integer that a browser holds exactly: 2^53 − 1.
pub const MAX_INTEGER: i64 = 9_007_199_254_740_991;

/// Levels of objects and arrays in one another, the document included. Common readers of JSON stop at 128; ours must never build what a
/// client cannot read, nor recurse without end.
pub const MAX_DEPTH: usize = 64;

/// Why a value is refused; where is for the caller to say.
#[derive(Debug, PartialEq)]
pub(super) enum BadValue {
    Integer(i128),
    NotFinite,
    Key(String),
    Depth,
}

/// A value on its way in: a driver's, which is only turned into a tree if it changes something, or the host's.
#[derive(Debug)]
pub(super) enum Incoming<'a> {
    Typed(&'a Value),
    Tree(Json),
}

impl Incoming<'_> {
    /// Whether the document has this value already. Integers and floats differ even where they are the same number, because they are
    /// written differently.
    pub(super) fn equals(&self, present: &Json) -> bool {
        match (self, present) {
            (Self::Tree(value), _) => value == present,
            (Self::Typed(Value::Null), Json::Null) => true,
            (Self::Typed(Value::Boolean(value)), Json::Bool(present)) => value == present,
            (Self::Typed(Value::Integer(value)), Json::Number(present)) => present.as_i64() == Some(*value),
            (Self::Typed(Value::Float(value)), Json::Number(present)) => {
                present.is_f64() && present.as_f64() == Some(*value)
            }
            (Self::Typed(Value::Text(value)), Json::String(present)) => value == present,
            (Self::Typed(Value::Json(value)), _) => value == present,
            (Self::Typed(_), _) => false,
        }
    }

    pub(super) fn into_tree(self) -> Result<Json, BadValue> {
        Ok(match self {
            Self::Tree(value) => value,
            Self::Typed(Value::Null) => Json::Null,
            Self::Typed(Value::Boolean(value)) => Json::Bool(*value),
            Self::Typed(Value::Integer(value)) => Json::Number((*value).into()),
            Self::Typed(Value::Float(value)) => {
                Json::Number(Number::from_f64(*value).ok_or(BadValue::NotFinite)?)
            }
            Self::Typed(Value::Text(value)) => Json::String(value.clone()),
            Self::Typed(Value::Json(value)) => value.clone(),
        })
    }
}

/// Writes a value and checks it on the way. `depth` is the number of levels above it. What was written before a refusal stays in `out`;
/// the caller truncates.
pub(super) fn write_checked(out: &mut Vec<u8>, value: &Json, depth: usize) -> Result<(), BadValue> {
    match value {
        Json::Null => out.extend_from_slice(b"null"),
        Json::Bool(true) => out.extend_from_slice(b"true"),
        Json::Bool(false) => out.extend_from_slice(b"false"),
        Json::Number(number) => {
            check_number(number)?;
            put(out, number);
        }
        Json::String(text) => write_text(out, text),
        Json::Array(elements) => {
            check_depth(depth)?;
            out.push(b'[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_checked(out, element, depth + 1)?;
            }
            out.push(b']');
        }
        Json::Object(members) => {
            check_depth(depth)?;
            out.push(b'{');
            for (index, (key, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                check_key(key)?;
                write_text(out, key);
                out.push(b':');
                write_checked(out, member, depth + 1)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// Refuses a key that poisons an object in a browser.
pub(super) fn check_key(key: &str) -> Result<(), BadValue> {
    if FORBIDDEN_KEYS.contains(&key) {
        Err(BadValue::Key(key.to_owned()))
    } else {
        Ok(())
    }
}

/// Writes a text with quotes and escapes.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(is_plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        put(out, text);
    }
}

/// Length of a value as JSON.
pub(super) fn json_len(value: &Json) -> usize {
    match value {
        Json::Null | Json::Bool(true) => 4,
        Json::Bool(false) => 5,
        Json::Number(number) => number_len(number),
        Json::String(text) => text_len(text),
        // Braces or brackets, and a comma fewer than members: two and minus one. An empty one has no comma to spare.
        Json::Array(elements) => {
            elements
                .iter()
                .map(|element| json_len(element) + 1)
                .sum::<usize>()
                + if elements.is_empty() { 2 } else { 1 }
        }
        Json::Object(members) => {
            members
                .iter()
                .map(|(key, member)| text_len(key) + json_len(member) + 2)
                .sum::<usize>()
                + if members.is_empty() { 2 } else { 1 }
        }
    }
}

/// Length of a text as JSON, quotes included.
pub(super) fn text_len(text: &str) -> usize {
    let escapes: usize = text
        .bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
            0x00..=0x1f => 5,
            _ => 0,
        })
        .sum();
    text.len() + escapes + 2
}

/// The same object without members that are null, as a merge puts it where nothing was (RFC 7386).
pub(super) fn without_nulls(value: Json) -> Json {
    match value {
        Json::Object(members) => Json::Object(
            members
                .into_iter()
                .filter(|(_, member)| !member.is_null())
                .map(|(key, member)| (key, without_nulls(member)))
                .collect::<Map<_, _>>(),
        ),
        value => value,
    }
}

/// What a value is, for a person.
pub(super) fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

fn check_number(number: &Number) -> Result<(), BadValue> {
    let integer = match (number.as_i64(), number.as_u64()) {
        (Some(integer), _) => i128::from(integer),
        (None, Some(integer)) => i128::from(integer),
        (None, None) => return Ok(()),
    };
    if integer.unsigned_abs() > u128::from(MAX_INTEGER.unsigned_abs()) {
        return Err(BadValue::Integer(integer));
    }
    Ok(())
}

fn check_depth(depth: usize) -> Result<(), BadValue> {
    if depth >= MAX_DEPTH {
        Err(BadValue::Depth)
    } else {
        Ok(())
    }
}

fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

fn number_len(number: &Number) -> usize {
    if let Some(integer) = number.as_i64() {
        return usize::from(integer < 0) + digits(integer.unsigned_abs());
    }
    if let Some(integer) = number.as_u64() {
        return digits(integer);
    }
    let mut counter = Counter(0);
    // Counting cannot fail.
    let _ = serde_json::to_writer(&mut counter, number);
    counter.0
}

fn digits(integer: u64) -> usize {
    integer.checked_ilog10().map_or(1, |log| log as usize + 1)
}

struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
