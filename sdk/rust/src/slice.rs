//! What a slice is made of: members that know their places, and how two states of them differ in operations.

use std::collections::VecDeque;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::{Appending, Assignment, Operation, Path, Value};

/// The driver's part of the state. Derive it together with what it asks for:
///
/// ```
/// use autobench_sdk::Slice;
///
/// #[derive(Clone, Default, schemars::JsonSchema, Slice)]
/// #[serde(rename_all = "camelCase")]
/// struct FrontPanel {
///     /// `null` while nobody knows.
///     power_sense: Option<bool>,
///     /// Not there while there is nothing to say.
///     #[slice(absent)]
///     message: Option<String>,
///     /// Published as one value. Everything else that implements `Member` has a place per field.
///     #[slice(json)]
///     names: std::collections::BTreeMap<String, u32>,
/// }
/// ```
///
/// Structs with named fields (nested ones with `Default` too) and enums without content can be derived; of serde's attributes `rename` and
/// `rename_all` count.
pub trait Slice: Member + Clone + Default + JsonSchema + 'static {}

impl<T: Member + Clone + Default + JsonSchema + 'static> Slice for T {}

/// Something that stands at a place in a slice.
pub trait Member: Sized {
    /// How many places it takes: its own and those below it.
    const PLACES: usize;

    /// Adds its places to `places`, its own first, in the order in which [`diff`](Self::diff) counts them. `path` is its own place, and is
    /// the same again afterwards.
    fn places(path: &mut String, places: &mut Vec<String>);

    /// The whole of it.
    fn json(&self) -> Json;

    /// The whole of it, typed where it is no object and no array.
    fn value(&self) -> Value;

    /// What [`json`](Self::json) was made of, if it was made of this kind. A struct takes what is missing from its default, so that a newer
    /// version with one more field goes on from a snapshot of an older one.
    fn from_json(json: &Json) -> Option<Self>;

    /// Adds what makes `old` into this. `place` is the number of its own place.
    fn diff(&self, old: &Self, place: usize, changes: &mut Changes<'_>);
}

/// Operations in the making.
#[derive(Debug)]
pub struct Changes<'a> {
    pub(crate) paths: &'a [Path],
    pub(crate) operations: &'a mut Vec<Operation>,
}

impl Changes<'_> {
    /// Makes or replaces the member at a place.
    pub fn set(&mut self, place: usize, value: Value) {
        if let Some(path) = self.paths.get(place).cloned() {
            self.operations.push(Operation::Set(Assignment { path, value }));
        }
    }

    /// Takes the member at a place away.
    pub fn remove(&mut self, place: usize) {
        if let Some(path) = self.paths.get(place).cloned() {
            self.operations.push(Operation::Remove(path));
        }
    }

    /// Adds to the bounded array at a place.
    pub fn append(&mut self, place: usize, value: Value, bound: u32) {
        if let Some(path) = self.paths.get(place).cloned() {
            self.operations
                .push(Operation::Append(Appending { path, value, bound }));
        }
    }
}

/// Of `#[slice(absent)]`: like the diff of an option, but `None` takes the member away.
pub fn absent_diff<T: Member>(new: &Option<T>, old: &Option<T>, place: usize, changes: &mut Changes<'_>) {
    match (new, old) {
        (None, Some(_)) => changes.remove(place),
        (new, old) => new.diff(old, place, changes),
    }
}

/// Of `#[slice(json)]`: a value of any type as one value of the slice.
pub fn json_of<T: Serialize>(value: &T) -> Json {
    // Only maps with keys that are no texts cannot be written; the field is then null, as the schema of such a map says nothing better.
    serde_json::to_value(value).unwrap_or(Json::Null)
}

/// Of `#[slice(json)]`: the way back.
pub fn json_into<T: DeserializeOwned>(json: &Json) -> Option<T> {
    serde_json::from_value(json.clone()).ok()
}

/// Of `#[slice(json)]`.
pub fn json_diff<T: Serialize>(new: &T, old: &T, place: usize, changes: &mut Changes<'_>) {
    let json = json_of(new);
    if json != json_of(old) {
        changes.set(place, typed(json));
    }
}

/// JSON as a value, without text where none is needed.
fn typed(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Boolean(flag),
        Json::String(text) => Value::Text(text),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => integer_value(integer),
            (None, Some(float)) => float_value(float),
            (None, None) => Value::Null,
        },
        deeper @ (Json::Array(_) | Json::Object(_)) => Value::Json(deeper.to_string()),
    }
}

/// The largest integer that a browser keeps exactly, 2^53 - 1.
const LARGEST_EXACT: i64 = 9_007_199_254_740_991;

/// Integers that a browser would not keep exactly travel as numbers, which says so.
fn integer_value(integer: i64) -> Value {
    if (-LARGEST_EXACT..=LARGEST_EXACT).contains(&integer) {
        Value::Integer(integer)
    } else {
        Value::Float(integer as f64)
    }
}

/// JSON has no infinities and no NaN; such a value is not known, so null.
fn float_value(float: f64) -> Value {
    if float.is_finite() {
        Value::Float(float)
    } else {
        Value::Null
    }
}

/// A member with no places below it.
macro_rules! leaf {
    ($($type:ty: $new:ident => $value:expr, $changed:expr, $read:expr;)+) => { $(
        impl Member for $type {
            const PLACES: usize = 1;
            fn places(path: &mut String, places: &mut Vec<String>) {
                places.push(path.clone());
            }
            fn json(&self) -> Json {
                match self.value() {
                    Value::Integer(integer) => Json::from(integer),
                    Value::Float(float) => Json::from(float),
                    Value::Boolean(flag) => Json::from(flag),
                    Value::Text(text) => Json::from(text),
                    Value::Null | Value::Json(_) => Json::Null,
                }
            }
            fn value(&self) -> Value {
                let $new = self;
                $value
            }
            fn from_json(json: &Json) -> Option<Self> {
                let read: fn(&Json) -> Option<Self> = $read;
                read(json)
            }
            fn diff(&self, old: &Self, place: usize, changes: &mut Changes<'_>) {
                let changed: fn(&Self, &Self) -> bool = $changed;
                if changed(self, old) {
                    changes.set(place, self.value());
                }
            }
        }
    )+ };
}

leaf! {
    bool: new => Value::Boolean(*new), |new, old| new != old, Json::as_bool;
    i8: new => integer_value(i64::from(*new)), |new, old| new != old, |json| json.as_i64()?.try_into().ok();
    i16: new => integer_value(i64::from(*new)), |new, old| new != old, |json| json.as_i64()?.try_into().ok();
    i32: new => integer_value(i64::from(*new)), |new, old| new != old, |json| json.as_i64()?.try_into().ok();
    i64: new => integer_value(*new), |new, old| new != old, |json| json.as_i64().or_else(|| Some(json.as_f64()? as i64));
    u8: new => integer_value(i64::from(*new)), |new, old| new != old, |json| json.as_i64()?.try_into().ok();
    u16: new => integer_value(i64::from(*new)), |new, old| new != old, |json| json.as_i64()?.try_into().ok();
    u32: new => integer_value(i64::from(*new)), |new, old| new != old, |json| json.as_i64()?.try_into().ok();
    u64: new => i64::try_from(*new).map_or(Value::Float(*new as f64), integer_value), |new, old| new != old,
        |json| json.as_u64().or_else(|| Some(json.as_f64()? as u64));
    // By bits, because NaN is not equal to itself and would be published for ever.
    f32: new => float_value(f64::from(*new)), |new, old| new.to_bits() != old.to_bits(),
        |json| f64::from_json(json).map(|float| float as f32);
    f64: new => float_value(*new), |new, old| new.to_bits() != old.to_bits(),
        |json| if json.is_null() { Some(Self::NAN) } else { json.as_f64() };
    String: new => Value::Text(new.clone()), |new, old| new != old, |json| json.as_str().map(ToOwned::to_owned);
}

impl<T: Member> Member for Option<T> {
    const PLACES: usize = T::PLACES;
    fn places(path: &mut String, places: &mut Vec<String>) {
        T::places(path, places);
    }
    fn json(&self) -> Json {
        self.as_ref().map_or(Json::Null, Member::json)
    }
    fn value(&self) -> Value {
        self.as_ref().map_or(Value::Null, Member::value)
    }
    fn from_json(json: &Json) -> Option<Self> {
        if json.is_null() {
            Some(None)
        } else {
            T::from_json(json).map(Some)
        }
    }
    fn diff(&self, old: &Self, place: usize, changes: &mut Changes<'_>) {
        match (self, old) {
            (Some(new), Some(old)) => new.diff(old, place, changes),
            (None, None) => {}
            (new, _) => changes.set(place, new.value()),
        }
    }
}

/// The newest `N` of something, oldest first. What was added since the last publication is published as additions, not as a new array.
#[derive(Debug, Clone, PartialEq)]
pub struct History<T, const N: usize> {
    newest: VecDeque<T>,
    /// How many were ever added; the difference of two says how many are new.
    added: u64,
}

impl<T, const N: usize> History<T, N> {
    /// Adds one; the oldest goes when there are more than `N`.
    pub fn push(&mut self, entry: T) {
        self.newest.push_back(entry);
        if self.newest.len() > N {
            self.newest.pop_front();
        }
        self.added += 1;
    }

    /// Those that are kept, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.newest.iter()
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.newest.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }
}

impl<T, const N: usize> Default for History<T, N> {
    fn default() -> Self {
        Self {
            newest: VecDeque::new(),
            added: 0,
        }
    }
}

impl<T: JsonSchema, const N: usize> JsonSchema for History<T, N> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("History{N}Of{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "array", "items": generator.subschema_for::<T>(), "maxItems": N })
    }
}

impl<T: Serialize + DeserializeOwned, const N: usize> Member for History<T, N> {
    const PLACES: usize = 1;
    fn places(path: &mut String, places: &mut Vec<String>) {
        places.push(path.clone());
    }
    fn json(&self) -> Json {
        Json::Array(self.newest.iter().map(json_of).collect())
    }
    fn value(&self) -> Value {
        typed(self.json())
    }
    fn from_json(json: &Json) -> Option<Self> {
        let entries = json.as_array()?;
        // A predecessor may have kept more.
        let newest = entries
            .iter()
            .skip(entries.len().saturating_sub(N))
            .map(json_into);
        let newest: VecDeque<T> = newest.collect::<Option<_>>()?;
        let added = newest.len() as u64;
        Some(Self { newest, added })
    }
    fn diff(&self, old: &Self, place: usize, changes: &mut Changes<'_>) {
        let fresh = self
            .added
            .checked_sub(old.added)
            .and_then(|fresh| usize::try_from(fresh).ok());
        match fresh {
            Some(0) => {}
            // Fewer than all: the rest of the array stays as it is in every mirror.
            Some(fresh) if fresh < self.newest.len() => {
                for entry in self.newest.iter().skip(self.newest.len() - fresh) {
                    changes.append(place, typed(json_of(entry)), u32::try_from(N).unwrap_or(u32::MAX));
                }
            }
            _ => changes.set(place, self.value()),
        }
    }
}
