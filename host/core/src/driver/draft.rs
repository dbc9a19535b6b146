//! The draft of a driver's slice: what the slice becomes when a restart or a swap goes through, kept while the driver is not live.
//!
//! Operations mean here exactly what they mean in the store, and those of one call go through together or not at all.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::state::{Operation, Pointer, Value};

/// Why an operation cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// The place, or its parent, is not there.
    #[error("there is no place {0:?}")]
    NoSuchPlace(String),
    /// A slice is made and replaced as a whole, but taken away only by the host.
    #[error("a driver cannot remove its slice")]
    RemovesSlice,
    /// An array that may hold nothing.
    #[error("the bound of {0:?} is 0")]
    ZeroBound(String),
    /// Something is to be appended to what is no array.
    #[error("{0:?} is no array")]
    NotAnArray(String),
}

/// The slice of a driver that is being started.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The slice as text until somebody looks into it: a start that publishes its whole slice first never pays for parsing.
    base: Option<Arc<str>>,
    value: Option<Json>,
}

impl Draft {
    /// Goes on from this JSON text; from null where there is none.
    pub fn new(base: Option<Arc<str>>) -> Self {
        Self { base, value: None }
    }

    /// Applies the operations of one call, all or none.
    pub fn apply(&mut self, operations: &[Operation]) -> Result<(), DraftError> {
        if operations.is_empty() {
            return Ok(());
        }
        let replaces_all = matches!(operations.first(), Some(Operation::Set { path, .. }) if path.is_root());
        if self.value.is_none() && !replaces_all {
            self.value = Some(parse(self.base.take()));
        }
        // The text stays until the call has gone through: it is what an undo goes back to.
        let unread = self.value.is_none();
        let value = self.value.get_or_insert(Json::Null);
        let mut undo = Vec::with_capacity(operations.len());
        for operation in operations {
            match apply(value, operation) {
                Ok(Some(step)) => undo.push(step),
                Ok(None) => {}
                Err(error) => {
                    undo.into_iter().rev().for_each(|step| step.take_back(value));
                    if unread {
                        self.value = None;
                    }
                    return Err(error);
                }
            }
        }
        self.base = None;
        Ok(())
    }

    /// What the slice has become.
    pub fn into_value(self) -> Json {
        self.value.unwrap_or_else(|| parse(self.base))
    }
}

/// Applies one operation. Answers how to take it back, none if it changed nothing.
pub fn apply<'a>(slice: &mut Json, operation: &'a Operation) -> Result<Option<Undo<'a>>, DraftError> {
    let no_such_place = |path: &Pointer| DraftError::NoSuchPlace(path.as_str().to_owned());
    match operation {
        Operation::Set { path, value } => {
            let value = json(value);
            let Some((parent, member)) = parent_mut(slice, path) else {
                return match path.is_root() {
                    true => Ok(Some(Undo::Put(path, Some(std::mem::replace(slice, value))))),
                    false => Err(no_such_place(path)),
                };
            };
            let old = match parent {
                Json::Object(members) => members.insert(member.to_owned(), value),
                Json::Array(elements) => {
                    let element = index(member).and_then(|index| elements.get_mut(index));
                    Some(std::mem::replace(
                        element.ok_or_else(|| no_such_place(path))?,
                        value,
                    ))
                }
                _ => return Err(no_such_place(path)),
            };
            Ok(Some(Undo::Put(path, old)))
        }
        Operation::Remove { path } => {
            let Some((parent, member)) = parent_mut(slice, path) else {
                return match path.is_root() {
                    true => Err(DraftError::RemovesSlice),
                    false => Ok(None),
                };
            };
            Ok(match parent {
                Json::Object(members) => members.remove(member).map(|old| Undo::Put(path, Some(old))),
                Json::Array(elements) => index(member)
                    .filter(|&index| index < elements.len())
                    .map(|index| Undo::Reinsert(path, elements.remove(index))),
                _ => None,
            })
        }
        Operation::Append { path, bound: 0, .. } => Err(DraftError::ZeroBound(path.as_str().to_owned())),
        Operation::Append { path, value, bound } => {
            let array = slice
                .pointer_mut(path.as_str())
                .ok_or_else(|| no_such_place(path))?
                .as_array_mut()
                .ok_or_else(|| DraftError::NotAnArray(path.as_str().to_owned()))?;
            array.push(json(value));
            let excess = array.len().saturating_sub(*bound as usize);
            let dropped = array.drain(..excess).collect();
            Ok(Some(Undo::Shorten(path, dropped)))
        }
    }
}

/// How to take one operation back.
#[derive(Debug)]
pub enum Undo<'a> {
    /// Put this there again; none: nothing was there.
    Put(&'a Pointer, Option<Json>),
    /// Put this element into the array again.
    Reinsert(&'a Pointer, Json),
    /// Take the last element away and put these before the first.
    Shorten(&'a Pointer, Vec<Json>),
}

impl Undo<'_> {
    /// Takes it back. Everything around the place is as it was right after the operation, so each look-up succeeds.
    fn take_back(self, slice: &mut Json) {
        match self {
            Self::Put(path, old) => match (parent_mut(slice, path), old) {
                (None, Some(old)) => *slice = old,
                (Some((Json::Object(members), member)), Some(old)) => {
                    members.insert(member.to_owned(), old);
                }
                (Some((Json::Object(members), member)), None) => {
                    members.remove(member);
                }
                (Some((Json::Array(elements), member)), Some(old)) => {
                    if let Some(element) = index(member).and_then(|index| elements.get_mut(index)) {
                        *element = old;
                    }
                }
                _ => {}
            },
            Self::Reinsert(path, old) => {
                if let Some((Json::Array(elements), member)) = parent_mut(slice, path)
                    && let Some(index) = index(member).filter(|&index| index <= elements.len())
                {
                    elements.insert(index, old);
                }
            }
            Self::Shorten(path, dropped) => {
                if let Some(array) = slice.pointer_mut(path.as_str()).and_then(Json::as_array_mut) {
                    array.pop();
                    array.splice(0..0, dropped);
                }
            }
        }
    }
}

/// The container of the place and the place's name in it. None for the root, and where there is no container.
fn parent_mut<'s, 'p>(slice: &'s mut Json, path: &'p Pointer) -> Option<(&'s mut Json, &'p str)> {
    let (member, way) = path.tokens().split_last()?;
    let mut place = slice;
    for token in way {
        place = match place {
            Json::Object(members) => members.get_mut(&**token)?,
            Json::Array(elements) => elements.get_mut(index(token)?)?,
            _ => return None,
        };
    }
    Some((place, member))
}

/// An array index as RFC 6901 writes it: no sign, no leading zeros.
fn index(token: &str) -> Option<usize> {
    if token.starts_with('+') || (token.len() > 1 && token.starts_with('0')) {
        return None;
    }
    token.parse().ok()
}

fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(boolean) => Json::Bool(*boolean),
        Value::Integer(integer) => Json::from(*integer),
        Value::Float(float) => Json::from(*float),
        Value::Text(text) => Json::String(text.clone()),
        Value::Json(json) => json.clone(),
    }
}

fn parse(text: Option<Arc<str>>) -> Json {
    // The text is the store's own, so it parses.
    text.and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or(Json::Null)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::state::Store;

    fn set(path: &str, value: Json) -> Operation {
        Operation::Set {
            path: Arc::new(Pointer::parse(path).unwrap()),
            value: Value::Json(value),
        }
    }

    #[test]
    fn a_start_that_publishes_the_whole_slice_never_parses_the_old_one() {
        let mut draft = Draft::new(Some("no JSON at all".into()));
        draft
            .apply(&[set("", json!({"a": 1})), set("/b", Json::Null)])
            .unwrap();
        assert_eq!(draft.into_value(), json!({"a": 1, "b": null}));
    }

    #[test]
    fn a_draft_that_nobody_touches_is_the_old_slice() {
        assert_eq!(Draft::new(Some("{\"a\":1}".into())).into_value(), json!({"a": 1}));
    }

    fn path() -> impl Strategy<Value = Arc<Pointer>> {
        const PATHS: &[&str] = &[
            "",
            "/a",
            "/b",
            "/a/c",
            "/list",
            "/list/0",
            "/list/2",
            "/list/00",
            "/b/x/y",
            "/list/1/a",
        ];
        prop::sample::select(PATHS).prop_map(|text| Arc::new(Pointer::parse(text).unwrap()))
    }

    fn value() -> impl Strategy<Value = Value> {
        let trees = [
            json!({}),
            json!([]),
            json!([1, {"a": 2}, 3]),
            json!({"c": {"x": {}}}),
            json!("t"),
        ];
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Boolean),
            (-9i64..9).prop_map(Value::Integer),
            (-9.0..9.0).prop_map(Value::Float),
            "[a-z]{0,3}".prop_map(Value::Text),
            prop::sample::select(trees.to_vec()).prop_map(Value::Json),
        ]
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            5 => (path(), value()).prop_map(|(path, value)| Operation::Set { path, value }),
            2 => path().prop_map(|path| Operation::Remove { path }),
            4 => (path(), value(), 0u32..4)
                .prop_map(|(path, value, bound)| Operation::Append { path, value, bound }),
        ]
    }

    fn calls() -> impl Strategy<Value = Vec<Vec<Operation>>> {
        prop::collection::vec(prop::collection::vec(operation(), 0..5), 0..12)
    }

    const SLICE: &str = r#"{"a":{"c":1},"b":{"x":{"y":2}},"list":[1,{"a":0},3]}"#;

    proptest! {
        #[test]
        fn operations_mean_what_they_mean_in_the_store(calls in calls()) {
            let slice: Json = serde_json::from_str(SLICE).unwrap();
            let mut store = Store::from_members([("slice".to_owned(), slice)].into_iter().collect()).unwrap();
            let mut draft = Draft::new(Some(SLICE.into()));
            for operations in calls {
                let in_store = store.apply("slice", &operations);
                let in_draft = draft.apply(&operations);
                prop_assert_eq!(in_store.is_ok(), in_draft.is_ok(), "{:?} {:?}", in_store, in_draft);
                let place = Pointer::parse("/slice").unwrap();
                prop_assert_eq!(store.get(&place), Some(&draft.clone().into_value()));
            }
        }
    }
}
