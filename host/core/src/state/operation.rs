//! What a driver asks of its slice.

use std::sync::Arc;

use super::Pointer;

/// A value on its way into the state. Mirrors `types.value` of the WIT world, with JSON already parsed and checked: parsing happens
/// before the store's lock is taken.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// JSON null, which is a value and not an absence.
    Null,
    /// A boolean.
    Boolean(bool),
    /// An integer within ±(2^53 − 1).
    Integer(i64),
    /// A finite number.
    Float(f64),
    /// A text.
    Text(String),
    /// Anything deeper.
    Json(serde_json::Value),
}

/// One change of a slice, on a path relative to it. Mirrors `state.operation` of the WIT world.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Makes or replaces a member.
    Set {
        /// Where; shared, because a driver writes the same few places again and again.
        path: Arc<Pointer>,
        /// What.
        value: Value,
    },
    /// Takes a member away.
    Remove {
        /// Where.
        path: Arc<Pointer>,
    },
    /// Adds at the end of an array and drops from its start.
    Append {
        /// The array.
        path: Arc<Pointer>,
        /// The element.
        value: Value,
        /// Most elements that stay, at least 1.
        bound: u32,
    },
}
