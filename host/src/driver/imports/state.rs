//! The driver's own slice, and foreign ones that it may read.

use std::sync::Arc;

use autobench_core::state::{self as core_state, Pointer};

use crate::driver::bindings::autobench::driver::{state, types};
use crate::driver::convert;
use crate::driver::host_state::HostState;

/// Paths that one instance may number.
const INTERNED_PATHS_LIMIT: usize = 1024;
/// Longest path, in bytes. An interned one is kept for the life of the instance.
const PATH_LIMIT_BYTES: usize = 1 << 10;

impl state::Host for HostState {
    fn update_slice(
        &mut self,
        operations: Vec<state::Operation>,
    ) -> wasmtime::Result<Result<(), state::StateError>> {
        if self.rights().is_none() {
            return Ok(Err(state::StateError::NotGranted));
        }
        let before = self.effects.operations.len();
        for operation in operations {
            match self.operation(operation)? {
                Ok(operation) => self.effects.operations.push(operation),
                Err(error) => {
                    // All of one update or none of it.
                    self.effects.operations.truncate(before);
                    return Ok(Err(error));
                }
            }
        }
        Ok(Ok(()))
    }

    fn intern(&mut self, path: String) -> wasmtime::Result<Result<u32, state::StateError>> {
        self.charge(path.len())?;
        if self.rights().is_none() {
            return Ok(Err(state::StateError::NotGranted));
        }
        if path.len() > PATH_LIMIT_BYTES {
            return Ok(Err(too_long(&path)));
        }
        if self.interned.len() >= INTERNED_PATHS_LIMIT {
            return Ok(Err(state::StateError::Other(format!(
                "more than {INTERNED_PATHS_LIMIT} interned paths"
            ))));
        }
        match Pointer::parse(&path) {
            Ok(pointer) => {
                let number = u32::try_from(self.interned.len())?;
                self.interned.push(Arc::new(pointer));
                Ok(Ok(number))
            }
            Err(error) => Ok(Err(state::StateError::InvalidPath(error.to_string()))),
        }
    }

    fn read_slice(&mut self, name: String) -> wasmtime::Result<Result<String, state::StateError>> {
        let Some(rights) = self.rights() else {
            return Ok(Err(state::StateError::NotGranted));
        };
        if !rights.readable_slices.iter().any(|slice| **slice == *name) {
            return Ok(Err(state::StateError::NotGranted));
        }
        Ok(rights
            .slices
            .read(&name)
            .ok_or_else(|| state::StateError::InvalidPath(format!("there is no slice {name:?}"))))
    }
}

impl HostState {
    fn operation(
        &mut self,
        operation: state::Operation,
    ) -> wasmtime::Result<Result<core_state::Operation, state::StateError>> {
        Ok(match operation {
            state::Operation::Set(state::Assignment { path, value }) => {
                let path = match self.path(path)? {
                    Ok(path) => path,
                    Err(error) => return Ok(Err(error)),
                };
                self.value(value)?
                    .map(|value| core_state::Operation::Set { path, value })
            }
            state::Operation::Remove(path) => self
                .path(path)?
                .map(|path| core_state::Operation::Remove { path }),
            state::Operation::Append(state::Appending { path, value, bound }) => {
                if bound == 0 {
                    return Ok(Err(state::StateError::InvalidValue(
                        "the bound of an append is 0; it has to be at least 1".to_owned(),
                    )));
                }
                let path = match self.path(path)? {
                    Ok(path) => path,
                    Err(error) => return Ok(Err(error)),
                };
                self.value(value)?
                    .map(|value| core_state::Operation::Append { path, value, bound })
            }
        })
    }

    fn path(&mut self, path: state::Path) -> wasmtime::Result<Result<Arc<Pointer>, state::StateError>> {
        match path {
            state::Path::Interned(number) => {
                let pointer = usize::try_from(number)
                    .ok()
                    .and_then(|number| self.interned.get(number));
                Ok(pointer.cloned().ok_or_else(|| {
                    state::StateError::InvalidPath(format!("no path is interned as {number}"))
                }))
            }
            state::Path::Text(text) => {
                self.charge(text.len())?;
                if text.len() > PATH_LIMIT_BYTES {
                    return Ok(Err(too_long(&text)));
                }
                Ok(Pointer::parse(&text)
                    .map(Arc::new)
                    .map_err(|error| state::StateError::InvalidPath(error.to_string())))
            }
        }
    }

    fn value(
        &mut self,
        value: types::Value,
    ) -> wasmtime::Result<Result<core_state::Value, state::StateError>> {
        self.charge(match &value {
            types::Value::Text(text) | types::Value::Json(text) => text.len(),
            _ => 16,
        })?;
        Ok(convert::value(value).map_err(state::StateError::InvalidValue))
    }
}

fn too_long(path: &str) -> state::StateError {
    state::StateError::InvalidPath(format!(
        "a path of {} bytes; at most {PATH_LIMIT_BYTES} are taken",
        path.len()
    ))
}
