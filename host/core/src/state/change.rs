//! Changes of one member's value: made in place, recorded as operations, and noted so that they can be undone.
//!
//! Each function here may fail half way; the transaction then undoes what was noted since its mark. What it says of sizes counts only
//! when it succeeds.

use serde_json::{Map, Value as Json};

use super::path::{Path, array_index, tokens};
use super::pending::{Kind, Pending, Span};
use super::value::{BadValue, Incoming, check_key, json_len, kind, text_len, without_nulls};
use super::{Pointer, StateError};

/// What undoes one change. Paths are spans of the operations' own.
#[derive(Debug)]
pub(super) enum Undo {
    /// A value was replaced: put this back.
    Replaced { path: Span, old: Json },
    /// A member was added: take it away.
    Added { path: Span },
    /// A member or element was removed: put this back.
    Removed { path: Span, old: Json },
    /// An element was appended and these were dropped from the start: the other way round. The path is that of the new element.
    Appended { path: Span, dropped: Vec<Json> },
}

impl Undo {
    pub(super) fn path(&self) -> Span {
        match self {
            Self::Replaced { path, .. }
            | Self::Added { path }
            | Self::Removed { path, .. }
            | Self::Appended { path, .. } => *path,
        }
    }
}

/// Where changes are recorded.
pub(super) struct Recorder<'a> {
    pub(super) pending: &'a mut Pending,
    pub(super) undo: &'a mut Vec<Undo>,
    pub(super) path: &'a mut Path,
    /// What the member has grown by.
    pub(super) grown: isize,
}

/// Puts a value at a place below the member. `skip` tokens of the pointer are the member's own.
pub(super) fn set(
    root: &mut Json,
    pointer: &Pointer,
    skip: usize,
    value: Incoming<'_>,
    recorder: &mut Recorder<'_>,
) -> Result<(), StateError> {
    let Some((last, parents)) = pointer.tokens().get(skip..).unwrap_or_default().split_last() else {
        return recorder.replace(root, value, true);
    };
    let (parent, in_objects) = parent_of(root, parents, recorder)?;
    match parent {
        Json::Object(members) => match members.get_mut(&**last) {
            Some(present) => recorder.replace(present, value, in_objects),
            None => recorder.add(members, last, value, in_objects),
        },
        Json::Array(elements) => {
            let length = elements.len();
            match array_index(last).and_then(|index| elements.get_mut(index)) {
                Some(present) => recorder.replace(present, value, false),
                None => Err(StateError::NoSuchElement {
                    path: recorder.place(),
                    length,
                }),
            }
        }
        other => Err(StateError::NoObject {
            path: recorder.place(),
            found: kind(other),
        }),
    }
}

/// Takes a member or an element away. One that is not there is no change.
pub(super) fn remove(root: &mut Json, pointer: &Pointer, skip: usize, recorder: &mut Recorder<'_>) {
    let Some((last, parents)) = pointer.tokens().get(skip..).unwrap_or_default().split_last() else {
        return;
    };
    match parent_of(root, parents, recorder) {
        Ok((Json::Object(members), in_objects)) => recorder.remove(members, last, in_objects),
        Ok((Json::Array(elements), _)) => {
            if let Some(index) = array_index(last).filter(|index| *index < elements.len()) {
                recorder.remove_element(elements, index);
            }
        }
        Ok(_) | Err(_) => {}
    }
}

/// Adds an element at the end of an array, and drops from its start what is then over the bound.
pub(super) fn append(
    root: &mut Json,
    pointer: &Pointer,
    skip: usize,
    value: Incoming<'_>,
    bound: u32,
    recorder: &mut Recorder<'_>,
) -> Result<(), StateError> {
    if bound == 0 {
        return Err(StateError::ZeroBound {
            path: recorder.place(),
        });
    }
    let (place, _) = parent_of(root, pointer.tokens().get(skip..).unwrap_or_default(), recorder)?;
    let Json::Array(elements) = place else {
        return Err(StateError::NotAnArray {
            path: recorder.place(),
            found: kind(place),
        });
    };
    recorder.append(elements, value, bound as usize)
}

/// Merges into an object (RFC 7386): null removes, absent leaves, objects are merged in their turn.
pub(super) fn merge(
    members: &mut Map<String, Json>,
    patch: Map<String, Json>,
    in_objects: bool,
    recorder: &mut Recorder<'_>,
) -> Result<(), StateError> {
    for (key, value) in patch {
        recorder.at(&key, |recorder| {
            merge_member(members, &key, value, in_objects, recorder)
        })?;
    }
    Ok(())
}

/// Merges one member; the recorder's path is the member's.
pub(super) fn merge_member(
    members: &mut Map<String, Json>,
    key: &str,
    patch: Json,
    in_objects: bool,
    recorder: &mut Recorder<'_>,
) -> Result<(), StateError> {
    match (members.get_mut(key), patch) {
        (Some(_), Json::Null) => recorder.remove(members, key, in_objects),
        (None, Json::Null) => {}
        (Some(Json::Object(present)), Json::Object(patch)) => merge(present, patch, in_objects, recorder)?,
        (Some(present), patch) => {
            recorder.replace(present, Incoming::Tree(without_nulls(patch)), in_objects)?;
        }
        (None, patch) => recorder.add(members, key, Incoming::Tree(without_nulls(patch)), in_objects)?,
    }
    Ok(())
}

/// Makes an object equal to another, member by member. Arrays are never looked into: by position, one element dropped from the start would
/// replace all the others.
pub(super) fn diff(
    members: &mut Map<String, Json>,
    new: Map<String, Json>,
    in_objects: bool,
    recorder: &mut Recorder<'_>,
) -> Result<(), StateError> {
    let gone: Vec<String> = members
        .keys()
        .filter(|key| !new.contains_key(*key))
        .cloned()
        .collect();
    for key in gone {
        recorder.at(&key, |recorder| {
            recorder.remove(members, &key, in_objects);
            Ok(())
        })?;
    }
    for (key, value) in new {
        recorder.at(&key, |recorder| match (members.get_mut(&key), value) {
            (Some(Json::Object(present)), Json::Object(new)) => diff(present, new, in_objects, recorder),
            (Some(present), value) => recorder.replace(present, Incoming::Tree(value), in_objects),
            (None, value) => recorder.add(members, &key, Incoming::Tree(value), in_objects),
        })?;
    }
    Ok(())
}

/// Walks down to a place below the member; also whether no array is on the way, the place included.
pub(super) fn parent_of<'v>(
    root: &'v mut Json,
    way: &[Box<str>],
    recorder: &Recorder<'_>,
) -> Result<(&'v mut Json, bool), StateError> {
    let mut place = root;
    let mut in_objects = true;
    for token in way {
        let next = match place {
            Json::Object(members) => members.get_mut(&**token),
            Json::Array(elements) => {
                in_objects = false;
                array_index(token).and_then(|index| elements.get_mut(index))
            }
            other => {
                return Err(StateError::NoObject {
                    path: recorder.place(),
                    found: kind(other),
                });
            }
        };
        place = next.ok_or_else(|| StateError::MissingParent {
            path: recorder.place(),
        })?;
    }
    in_objects &= !place.is_array();
    Ok((place, in_objects))
}

/// Undoes one change of a member's value. `path` is the text of the change's path.
pub(super) fn undo(root: &mut Json, path: &str, change: Undo) {
    let mut way: Vec<_> = tokens(path).skip(1).collect();
    let Some(last) = way.pop() else {
        if let Undo::Replaced { old, .. } = change {
            *root = old;
        }
        return;
    };
    let mut place = root;
    for token in &way {
        let next = match place {
            Json::Object(members) => members.get_mut(&**token),
            Json::Array(elements) => array_index(token).and_then(|index| elements.get_mut(index)),
            _ => None,
        };
        match next {
            Some(next) => place = next,
            None => {
                debug_assert!(false, "undo does not find {path:?}");
                return;
            }
        }
    }
    match (place, change) {
        (Json::Object(members), Undo::Replaced { old, .. } | Undo::Removed { old, .. }) => {
            members.insert(last.into_owned(), old);
        }
        (Json::Object(members), Undo::Added { .. }) => {
            members.remove(&*last);
        }
        (Json::Array(elements), Undo::Replaced { old, .. }) => {
            if let Some(element) = array_index(&last).and_then(|index| elements.get_mut(index)) {
                *element = old;
            }
        }
        (Json::Array(elements), Undo::Removed { old, .. }) => {
            if let Some(index) = array_index(&last).filter(|index| *index <= elements.len()) {
                elements.insert(index, old);
            }
        }
        (Json::Array(elements), Undo::Appended { dropped, .. }) => {
            elements.pop();
            elements.splice(0..0, dropped);
        }
        _ => debug_assert!(false, "undo finds something else at {path:?}"),
    }
}

impl Recorder<'_> {
    /// The place as text, for an error.
    pub(super) fn place(&self) -> String {
        self.path.as_str().to_owned()
    }

    /// Names the place in a refusal.
    pub(super) fn refuse(&self, bad: BadValue) -> StateError {
        let path = self.place();
        match bad {
            BadValue::Integer(value) => StateError::IntegerOutOfRange { path, value },
            BadValue::NotFinite => StateError::NotFinite { path },
            BadValue::Key(key) => StateError::ForbiddenKey { path, key },
            BadValue::Depth => StateError::TooDeep { path },
        }
    }

    /// Puts a value in the place of one that is there, unless it is the same.
    pub(super) fn replace(
        &mut self,
        present: &mut Json,
        value: Incoming<'_>,
        in_objects: bool,
    ) -> Result<(), StateError> {
        if value.equals(present) {
            return Ok(());
        }
        let (value, span) = self.write(value)?;
        let path = self.pending.stage(Kind::Replace, self.path, span, in_objects);
        self.grow(self.pending.len_of(span), json_len(present));
        let old = std::mem::replace(present, value);
        self.undo.push(Undo::Replaced { path, old });
        Ok(())
    }

    /// One level down, at a key that the change brings along and that is therefore not checked yet.
    fn at<R>(
        &mut self,
        key: &str,
        f: impl FnOnce(&mut Recorder<'_>) -> Result<R, StateError>,
    ) -> Result<R, StateError> {
        check_key(key).map_err(|bad| self.refuse(bad))?;
        let Recorder {
            pending,
            undo,
            path,
            grown,
        } = self;
        path.with(key, |path| {
            let mut deeper = Recorder {
                pending,
                undo,
                path,
                grown: 0,
            };
            let result = f(&mut deeper);
            *grown += deeper.grown;
            result
        })
    }

    fn add(
        &mut self,
        members: &mut Map<String, Json>,
        key: &str,
        value: Incoming<'_>,
        in_objects: bool,
    ) -> Result<(), StateError> {
        let (value, span) = self.write(value)?;
        let path = self.pending.stage(Kind::Add, self.path, span, in_objects);
        let comma = usize::from(!members.is_empty());
        self.grow(text_len(key) + 1 + self.pending.len_of(span) + comma, 0);
        members.insert(key.to_owned(), value);
        self.undo.push(Undo::Added { path });
        Ok(())
    }

    fn remove(&mut self, members: &mut Map<String, Json>, key: &str, in_objects: bool) {
        let Some(old) = members.remove(key) else { return };
        let path = self
            .pending
            .stage(Kind::Remove, self.path, Span::default(), in_objects);
        let comma = usize::from(!members.is_empty());
        self.grow(0, text_len(key) + 1 + json_len(&old) + comma);
        self.undo.push(Undo::Removed { path, old });
    }

    fn remove_element(&mut self, elements: &mut Vec<Json>, index: usize) {
        let old = elements.remove(index);
        let path = self
            .pending
            .stage(Kind::Remove, self.path, Span::default(), false);
        self.grow(0, json_len(&old) + usize::from(!elements.is_empty()));
        self.undo.push(Undo::Removed { path, old });
    }

    fn append(
        &mut self,
        elements: &mut Vec<Json>,
        value: Incoming<'_>,
        bound: usize,
    ) -> Result<(), StateError> {
        let over = (elements.len() + 1).saturating_sub(bound);
        // A full history of equal elements that gets one more of them is the same history.
        if over == 1 && elements.iter().all(|element| value.equals(element)) {
            return Ok(());
        }
        let (value, span) = self.at("-", |deeper| deeper.write(value))?;
        let Recorder {
            pending,
            undo,
            path,
            grown,
        } = self;
        let added = path.with("-", |path| pending.stage(Kind::Add, path, span, false));
        *grown += (pending.len_of(span) + usize::from(!elements.is_empty())) as isize;
        elements.push(value);
        let dropped: Vec<Json> = elements.drain(..over.min(elements.len())).collect();
        for element in &dropped {
            path.with("0", |path| {
                pending.stage(Kind::Remove, path, Span::default(), false)
            });
            // The array keeps at least the new element, so each that goes takes a comma with it.
            *grown -= (json_len(element) + 1) as isize;
        }
        undo.push(Undo::Appended { path: added, dropped });
        Ok(())
    }

    /// Checks and encodes a value that goes to the recorder's place.
    fn write<'v>(&mut self, value: Incoming<'v>) -> Result<(Json, Span), StateError> {
        let value = value.into_tree().map_err(|bad| self.refuse(bad))?;
        let span = self
            .pending
            .write(&value, self.path.depth())
            .map_err(|bad| self.refuse(bad))?;
        Ok((value, span))
    }

    fn grow(&mut self, by: usize, less: usize) {
        self.grown += by as isize - less as isize;
    }
}
