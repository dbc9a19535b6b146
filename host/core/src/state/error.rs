//! Why a change is refused.

use super::{MAX_DEPTH, MAX_INTEGER};

/// Why a change is refused. A refused change has changed nothing. Each text says what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The path is the document or `/version`, which only the store writes.
    #[error("{path:?} is written by the store alone; name a member below it")]
    Reserved {
        /// The path.
        path: String,
    },
    /// A driver's change names a member that is the host's.
    #[error("the member {member:?} belongs to the host; give the slice another name in plugins.toml")]
    HostOwned {
        /// The member.
        member: String,
    },
    /// The document has no such member.
    #[error("the state has no member {member:?}; set it as a whole first")]
    NoSuchMember {
        /// The member.
        member: String,
    },
    /// The object or array that is to hold the value is not there.
    #[error("nothing can be put at {path:?}, because its parent is not there; set the parent first")]
    MissingParent {
        /// The path.
        path: String,
    },
    /// There is something above the place, but no object.
    #[error("{path:?} needs an object above it, but there is {found}; set the parent to an object first")]
    NoObject {
        /// The path.
        path: String,
        /// What is there.
        found: &'static str,
    },
    /// An element of an array that is not there.
    #[error("{path:?} names no element of the array, which has {length}; use append to add one")]
    NoSuchElement {
        /// The path.
        path: String,
        /// Elements of the array.
        length: usize,
    },
    /// An append to something that is no array.
    #[error("an append needs an array at {path:?}, but there is {found}; set it to [] first")]
    NotAnArray {
        /// The path.
        path: String,
        /// What is there.
        found: &'static str,
    },
    /// An append that would keep nothing.
    #[error("the append at {path:?} has the bound 0; a bound is at least 1")]
    ZeroBound {
        /// The path.
        path: String,
    },
    /// A driver that would remove its slice.
    #[error("the slice {member:?} cannot remove itself; set it to {{}} or null")]
    RemovesSlice {
        /// The slice.
        member: String,
    },
    /// An integer that a browser cannot hold.
    #[error(
        "{path:?} is given the integer {value}, beyond ±{MAX_INTEGER}, which browsers lose; send it as text"
    )]
    IntegerOutOfRange {
        /// The path.
        path: String,
        /// The integer.
        value: i128,
    },
    /// A number that JSON does not have.
    #[error("{path:?} is given a number that is not finite; send null or leave it out")]
    NotFinite {
        /// The path.
        path: String,
    },
    /// A key that poisons an object in a browser.
    #[error(
        "{path:?} is given an object with the key {key:?}, which would poison a mirror in a browser; rename it"
    )]
    ForbiddenKey {
        /// The path.
        path: String,
        /// The key.
        key: String,
    },
    /// Objects and arrays in one another, too many for readers of JSON.
    #[error("{path:?} is given a value that reaches more than {MAX_DEPTH} levels down; make it flatter")]
    TooDeep {
        /// The path.
        path: String,
    },
    /// The member would pass its limit.
    #[error(
        "{member:?} would take {size} bytes of JSON, and may take {limit}; keep less, or raise slice-kib in plugins.toml"
    )]
    TooLarge {
        /// The member.
        member: String,
        /// The size it would have.
        size: usize,
        /// The size it may have.
        limit: usize,
    },
    /// One of the offered members would not be of the type that every client knows.
    #[error("{member:?} has to be {wanted}: clients know its type, whichever driver writes it")]
    Misfit {
        /// The member.
        member: String,
        /// What it has to be.
        wanted: &'static str,
    },
}
