//! Operations on a JSON value, as the host applies them.

use serde_json::Value as Json;

use crate::{Operation, Path, Value};

/// Applies operations in order to a copy; the whole is refused when one of them is.
pub(super) fn apply(slice: &Json, operations: &[Operation], interned: &[String]) -> Result<Json, String> {
    let mut next = slice.clone();
    for operation in operations {
        match operation {
            Operation::Set(assignment) => {
                set(
                    &mut next,
                    pointer(&assignment.path, interned)?,
                    json(&assignment.value)?,
                )?;
            }
            Operation::Remove(path) => remove(&mut next, pointer(path, interned)?)?,
            Operation::Append(appending) => {
                let path = pointer(&appending.path, interned)?;
                let place = next.pointer_mut(path).and_then(Json::as_array_mut);
                let array = place.ok_or_else(|| format!("there is no array at {path:?}"))?;
                array.push(json(&appending.value)?);
                let bound = usize::try_from(appending.bound).unwrap_or(usize::MAX);
                array.drain(..array.len().saturating_sub(bound));
            }
        }
    }
    Ok(next)
}

/// A value as JSON, or why a host refuses it.
pub(super) fn json(value: &Value) -> Result<Json, String> {
    match value {
        Value::Null => Ok(Json::Null),
        Value::Boolean(flag) => Ok(Json::from(*flag)),
        Value::Integer(integer) if integer.unsigned_abs() < 1 << 53 => Ok(Json::from(*integer)),
        Value::Integer(integer) => Err(format!("{integer} is beyond 2^53 - 1")),
        Value::Float(float) if float.is_finite() => Ok(Json::from(*float)),
        Value::Float(float) => Err(format!("{float} is not finite")),
        Value::Text(text) => Ok(Json::from(text.as_str())),
        Value::Json(text) => serde_json::from_str(text).map_err(|error| error.to_string()),
    }
}

/// The text of a path.
pub(super) fn pointer<'a>(path: &'a Path, interned: &'a [String]) -> Result<&'a str, String> {
    match path {
        Path::Text(text) => Ok(text),
        Path::Interned(number) => usize::try_from(*number)
            .ok()
            .and_then(|number| interned.get(number))
            .map(String::as_str)
            .ok_or_else(|| format!("path {number} is not interned")),
    }
}

fn set(root: &mut Json, path: &str, value: Json) -> Result<(), String> {
    let Some((parent, name)) = path.rsplit_once('/') else {
        *root = value;
        return Ok(());
    };
    match root.pointer_mut(parent) {
        Some(Json::Object(object)) => {
            object.insert(unescaped(name), value);
            Ok(())
        }
        Some(Json::Array(array)) => {
            let place = name.parse::<usize>().ok().and_then(|index| array.get_mut(index));
            *place.ok_or_else(|| format!("there is no element {path:?}"))? = value;
            Ok(())
        }
        _ => Err(format!("there is nothing at {parent:?} to set {name:?} in")),
    }
}

fn remove(root: &mut Json, path: &str) -> Result<(), String> {
    let Some((parent, name)) = path.rsplit_once('/') else {
        return Err("a slice cannot remove itself".to_owned());
    };
    if let Some(Json::Object(object)) = root.pointer_mut(parent) {
        object.remove(&unescaped(name));
    }
    Ok(())
}

fn unescaped(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}
