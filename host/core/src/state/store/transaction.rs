//! Several changes as one: all of them, or none.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value as Json;

use super::super::change::{self, Recorder, Undo};
use super::super::members::{Member, Slot};
use super::super::offered;
use super::super::path::{member_hash, member_prefix};
use super::super::pending::{Kind, Mark, Span};
use super::super::value::{Incoming, check_key, kind, without_nulls};
use super::super::{Operation, Pointer, StateError};
use super::{DEFAULT_SLICE_LIMIT_BYTES, HOST_MEMBERS, Store};

/// Changes that become one version, or nothing. Made by [`Store::transaction`]. A change that is refused has no effect, and does not end the
/// transaction: whoever made it decides.
#[derive(Debug)]
pub struct Transaction<'a> {
    pub(super) store: &'a mut Store,
    pub(super) start: Mark,
    pub(super) open: bool,
}

/// What a transaction in progress has to remember; kept for its memory between transactions.
#[derive(Debug, Default)]
pub(super) struct Running {
    pub(super) number: u64,
    undo: Vec<(Slot, UndoStep)>,
    /// Undo notes of the change in progress, before they are given their member.
    notes: Vec<Undo>,
    /// Members that were changed, with their sizes before.
    touched: Vec<(Slot, usize)>,
}

#[derive(Debug)]
enum UndoStep {
    /// What the member's size was before the changes that follow.
    Size(usize),
    Value(Undo),
    MemberAdded,
    MemberRemoved(Box<Member>),
}

impl Transaction<'_> {
    /// Reads a place, with the changes of this transaction.
    pub fn get(&self, at: &Pointer) -> Option<&Json> {
        self.store.get(at)
    }

    /// Puts a value at a place: makes or replaces it. Its parent has to be there.
    pub fn set(&mut self, at: &Pointer, value: Json) -> Result<(), StateError> {
        let (name, below) = split(at)?;
        if below.is_empty() {
            return self.atomically(|this| this.set_member(name, Incoming::Tree(value)));
        }
        self.change(at, |root, recorder| {
            change::set(root, at, 1, Incoming::Tree(value), recorder)
        })
    }

    /// Merges into a place (RFC 7386): null removes, absent leaves. The same as merging, into the object above, an object that has the patch
    /// as that member and nothing else; the object above has to be there.
    pub fn merge(&mut self, at: &Pointer, patch: Json) -> Result<(), StateError> {
        let (name, below) = split(at)?;
        let Some((last, parents)) = below.split_last() else {
            return self.atomically(|this| this.merge_member(name, patch));
        };
        self.change(at, |root, recorder| {
            let (parent, in_objects) = change::parent_of(root, parents, recorder)?;
            match parent {
                Json::Object(members) => change::merge_member(members, last, patch, in_objects, recorder),
                other => Err(StateError::NoObject {
                    path: recorder.place(),
                    found: kind(other),
                }),
            }
        })
    }

    /// Makes a place equal to a value. Where both are objects, only members that differ become operations; arrays are replaced as a whole.
    pub fn replace(&mut self, at: &Pointer, value: Json) -> Result<(), StateError> {
        let both_objects = matches!((self.get(at), &value), (Some(Json::Object(_)), Json::Object(_)));
        let Json::Object(new) = value else {
            return self.set(at, value);
        };
        if !both_objects {
            return self.set(at, Json::Object(new));
        }
        let (_, below) = split(at)?;
        self.change(at, |root, recorder| {
            match change::parent_of(root, below, recorder)? {
                (Json::Object(members), in_objects) => change::diff(members, new, in_objects, recorder),
                (other, _) => Err(StateError::NoObject {
                    path: recorder.place(),
                    found: kind(other),
                }),
            }
        })
    }

    /// Takes a place away. One that is not there is no change.
    pub fn remove(&mut self, at: &Pointer) -> Result<(), StateError> {
        let (name, below) = split(at)?;
        if below.is_empty() {
            self.remove_member(name);
            return Ok(());
        }
        if self.store.members.find(name).is_none() {
            return Ok(());
        }
        self.change(at, |root, recorder| {
            change::remove(root, at, 1, recorder);
            Ok(())
        })
    }

    /// Adds an element at the end of an array and drops from its start what is then over the bound.
    pub fn append(&mut self, at: &Pointer, value: Json, bound: u32) -> Result<(), StateError> {
        split(at)?;
        self.change(at, |root, recorder| {
            change::append(root, at, 1, Incoming::Tree(value), bound, recorder)
        })
    }

    /// A driver's operations on its slice, with paths relative to it: all or none. A slice that is not there can only be set as a whole.
    pub fn apply(&mut self, slice: &str, operations: &[Operation]) -> Result<(), StateError> {
        check_slice_name(slice)?;
        self.atomically(|this| {
            let mut found = this.store.members.find(slice);
            for operation in operations {
                match (found, operation) {
                    (_, Operation::Remove { path }) if path.is_root() => {
                        return Err(StateError::RemovesSlice {
                            member: slice.to_owned(),
                        });
                    }
                    (Some(slot), operation) => {
                        this.change_slot(slot, operation_path(operation), 0, |root, recorder| {
                            apply_one(root, operation, recorder)
                        })?
                    }
                    (None, Operation::Set { path, value }) if path.is_root() => {
                        this.set_member(slice, Incoming::Typed(value))?;
                        found = this.store.members.find(slice);
                    }
                    (None, _) => {
                        return Err(StateError::NoSuchMember {
                            member: slice.to_owned(),
                        });
                    }
                }
            }
            Ok(())
        })
    }

    /// Makes a slice equal to a value; creates it if it is not there.
    pub fn replace_slice(&mut self, slice: &str, value: Json) -> Result<(), StateError> {
        check_slice_name(slice)?;
        let slot = self.store.members.find(slice);
        let present = slot
            .and_then(|slot| self.store.members.get(slot))
            .map(|member| &member.value);
        match (slot, present, value) {
            (Some(slot), Some(Json::Object(_)), Json::Object(new)) => self.atomically(|this| {
                this.change_slot(slot, None, 0, |root, recorder| match root {
                    Json::Object(members) => change::diff(members, new, true, recorder),
                    root => recorder.replace(root, Incoming::Tree(Json::Object(new)), true),
                })
            }),
            (_, _, value) => self.atomically(|this| this.set_member(slice, Incoming::Tree(value))),
        }
    }

    /// Takes a slice away; one of the [offered members](crate::state::OFFERED_MEMBERS) is as by default again. One that is not there is no change.
    pub fn remove_slice(&mut self, slice: &str) -> Result<(), StateError> {
        check_slice_name(slice)?;
        if let Some(default) = offered::default_of(slice) {
            return self.replace_slice(slice, default);
        }
        self.remove_member(slice);
        Ok(())
    }

    /// Changes a place below a member, or nothing.
    fn change(
        &mut self,
        at: &Pointer,
        f: impl FnOnce(&mut Json, &mut Recorder<'_>) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let (name, _) = split(at)?;
        let slot = self
            .store
            .members
            .find(name)
            .ok_or_else(|| StateError::NoSuchMember {
                member: name.to_owned(),
            })?;
        self.atomically(|this| this.change_slot(slot, Some(at), 1, f))
    }

    /// Changes a member's value at `at`, of which the first `skip` tokens are the member's own name.
    fn change_slot(
        &mut self,
        slot: Slot,
        at: Option<&Pointer>,
        skip: usize,
        f: impl FnOnce(&mut Json, &mut Recorder<'_>) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let Store {
            members,
            pending,
            transaction,
            path,
            ..
        } = &mut *self.store;
        let Some(member) = members.get_mut(slot) else {
            return Ok(());
        };
        if member.touched_by != transaction.number {
            member.touched_by = transaction.number;
            transaction.touched.push((slot, member.size));
        }
        transaction.undo.push((slot, UndoStep::Size(member.size)));
        path.start(&member.prefix, member.hash);
        if let Some(at) = at {
            path.extend(at, skip, if skip == 0 { 0 } else { member.prefix.len() });
        }
        let mut recorder = Recorder {
            pending,
            undo: &mut transaction.notes,
            path,
            grown: 0,
        };
        let result = f(&mut member.value, &mut recorder);
        let grown = recorder.grown;
        transaction.undo.extend(
            transaction
                .notes
                .drain(..)
                .map(|note| (slot, UndoStep::Value(note))),
        );
        if result.is_ok() {
            member.size = member.size.saturating_add_signed(grown);
        }
        result
    }

    /// Makes or replaces a whole member.
    pub(super) fn set_member(&mut self, name: &str, value: Incoming<'_>) -> Result<(), StateError> {
        if let Some(slot) = self.store.members.find(name) {
            return self.change_slot(slot, None, 0, |root, recorder| {
                recorder.replace(root, value, true)
            });
        }
        let Store {
            members,
            pending,
            transaction,
            path,
            observed,
            ..
        } = &mut *self.store;
        path.start(&member_prefix(name), member_hash(name));
        let recorder = Recorder {
            pending,
            undo: &mut transaction.notes,
            path,
            grown: 0,
        };
        check_key(name).map_err(|bad| recorder.refuse(bad))?;
        let value = value.into_tree().map_err(|bad| recorder.refuse(bad))?;
        let span = recorder
            .pending
            .write(&value, 1)
            .map_err(|bad| recorder.refuse(bad))?;
        pending.stage(Kind::Add, path, span, true);
        let mut member = Box::new(Member::new(name, value, pending.len_of(span)));
        member.touched_by = transaction.number;
        member.is_observed = observed.contains(name);
        let slot = members.insert(member);
        transaction.touched.push((slot, 0));
        transaction.undo.push((slot, UndoStep::MemberAdded));
        Ok(())
    }

    fn merge_member(&mut self, name: &str, patch: Json) -> Result<(), StateError> {
        let slot = self.store.members.find(name);
        match (slot, patch) {
            (_, Json::Null) => {
                self.remove_member(name);
                Ok(())
            }
            (Some(slot), Json::Object(patch)) => {
                self.change_slot(slot, None, 0, |root, recorder| match root {
                    Json::Object(members) => change::merge(members, patch, true, recorder),
                    root => {
                        let new = without_nulls(Json::Object(patch));
                        recorder.replace(root, Incoming::Tree(new), true)
                    }
                })
            }
            (_, patch) => self.set_member(name, Incoming::Tree(without_nulls(patch))),
        }
    }

    fn remove_member(&mut self, name: &str) {
        let Store {
            members,
            pending,
            transaction,
            path,
            ..
        } = &mut *self.store;
        let Some(slot) = members.find(name) else { return };
        let Some(member) = members.remove(slot) else {
            return;
        };
        path.start(&member.prefix, member.hash);
        pending.stage(Kind::Remove, path, Span::default(), true);
        transaction.undo.push((slot, UndoStep::MemberRemoved(member)));
    }

    /// Undoes what the closure did if it fails.
    fn atomically(&mut self, f: impl FnOnce(&mut Self) -> Result<(), StateError>) -> Result<(), StateError> {
        let mark = self.store.pending.mark();
        let undo = self.store.transaction.undo.len();
        let result = f(self);
        if result.is_err() {
            self.rollback(mark, undo);
        }
        result
    }

    fn rollback(&mut self, mark: Mark, undo: usize) {
        let Store {
            members,
            pending,
            transaction,
            ..
        } = &mut *self.store;
        for (slot, step) in transaction.undo.drain(undo..).rev() {
            match step {
                UndoStep::MemberAdded => {
                    members.remove(slot);
                }
                UndoStep::MemberRemoved(member) => {
                    members.insert(member);
                }
                UndoStep::Size(size) => {
                    if let Some(member) = members.get_mut(slot) {
                        member.size = size;
                    }
                }
                UndoStep::Value(note) => {
                    if let Some(member) = members.get_mut(slot) {
                        change::undo(&mut member.value, pending.text(note.path()), note);
                    }
                }
            }
        }
        pending.rollback(mark);
    }

    pub(super) fn commit(&mut self) -> Result<Option<u64>, StateError> {
        self.check_members()?;
        self.open = false;
        let store = &mut *self.store;
        if !store.pending.has_staged() {
            store.transaction.undo.clear();
            store.transaction.touched.clear();
            return Ok(None);
        }
        let noted = &mut store.observed_changes;
        for (_, step) in store.transaction.undo.drain(..) {
            if let UndoStep::MemberRemoved(member) = step
                && member.is_observed
            {
                note(noted, &store.observed, &member.name);
            }
        }
        for (slot, _) in store.transaction.touched.drain(..) {
            if let Some(member) = store.members.get_mut(slot) {
                member.cached = None;
                if member.is_observed {
                    note(noted, &store.observed, &member.name);
                }
            }
        }
        store.pending.commit();
        store.snapshot = None;
        store.version += 1;
        store.version_value = store.version.into();
        Ok(Some(store.version))
    }

    fn check_members(&self) -> Result<(), StateError> {
        let Store {
            members,
            limits,
            transaction,
            ..
        } = &*self.store;
        for (slot, size_before) in &transaction.touched {
            let Some(member) = members.get(*slot) else {
                continue;
            };
            let limit = match limits.get(&member.name) {
                Some(limit) => *limit,
                None if HOST_MEMBERS.contains(&&*member.name) => usize::MAX,
                None => DEFAULT_SLICE_LIMIT_BYTES,
            };
            if member.size > limit && member.size > *size_before {
                return Err(StateError::TooLarge {
                    member: member.name.to_string(),
                    size: member.size,
                    limit,
                });
            }
            if let Some(wanted) = offered::misfit(&member.name, &member.value) {
                return Err(StateError::Misfit {
                    member: member.name.to_string(),
                    wanted,
                });
            }
        }
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            let start = self.start;
            self.rollback(start, 0);
            self.store.transaction.touched.clear();
        }
    }
}

/// Notes the change of an observed member, once.
fn note(noted: &mut Vec<Arc<str>>, observed: &BTreeSet<Arc<str>>, member: &str) {
    if let Some(name) = observed.get(member)
        && !noted.contains(name)
    {
        noted.push(Arc::clone(name));
    }
}

/// The member's name and the tokens below it.
fn split(at: &Pointer) -> Result<(&str, &[Box<str>]), StateError> {
    match at.tokens().split_first() {
        Some((name, below)) if &**name != "version" => Ok((name, below)),
        _ => Err(StateError::Reserved { path: at.to_string() }),
    }
}

fn check_slice_name(slice: &str) -> Result<(), StateError> {
    if HOST_MEMBERS.contains(&slice) {
        return Err(StateError::HostOwned {
            member: slice.to_owned(),
        });
    }
    Ok(())
}

fn operation_path(operation: &Operation) -> Option<&Pointer> {
    match operation {
        Operation::Set { path, .. } | Operation::Remove { path } | Operation::Append { path, .. } => {
            Some(path)
        }
    }
}

fn apply_one(root: &mut Json, operation: &Operation, recorder: &mut Recorder<'_>) -> Result<(), StateError> {
    match operation {
        Operation::Set { path, value } => change::set(root, path, 0, Incoming::Typed(value), recorder),
        Operation::Remove { path } => {
            change::remove(root, path, 0, recorder);
            Ok(())
        }
        Operation::Append { path, value, bound } => {
            change::append(root, path, 0, Incoming::Typed(value), *bound, recorder)
        }
    }
}
