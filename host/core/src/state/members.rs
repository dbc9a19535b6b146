//! The top-level members of the document, found by name, each with its size and its cached bytes.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::Value as Json;

use super::path;

/// One top-level member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: Box<str>,
    /// Its path as text, and that path's hash.
    pub(super) prefix: Box<str>,
    pub(super) hash: u64,
    pub(super) value: Json,
    /// Length of the value as JSON; tracked by difference.
    pub(super) size: usize,
    /// The value as JSON, unless it has changed since.
    pub(super) cached: Option<Bytes>,
    /// The transaction that last changed it.
    pub(super) touched_by: u64,
    /// Somebody wants to hear of its changes.
    pub(super) is_observed: bool,
}

impl Member {
    pub(super) fn new(name: &str, value: Json, size: usize) -> Self {
        Self {
            name: name.into(),
            prefix: path::member_prefix(name).into(),
            hash: path::member_hash(name),
            value,
            size,
            cached: None,
            touched_by: 0,
            is_observed: false,
        }
    }

    /// The value as JSON. Serialises only if it has changed since it was last asked for.
    pub(super) fn bytes(&mut self) -> Bytes {
        if let Some(bytes) = &self.cached {
            return bytes.clone();
        }
        let mut bytes = Vec::with_capacity(self.size);
        crate::wire::encode::put(&mut bytes, &self.value);
        debug_assert_eq!(
            bytes.len(),
            self.size,
            "the tracked size of {} is wrong",
            self.name
        );
        let bytes = Bytes::from(bytes);
        self.cached = Some(bytes.clone());
        bytes
    }
}

/// A member's place. It stays the same while the member lives, and is used again afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(usize);

#[derive(Debug, Default)]
pub(super) struct Members {
    slots: Vec<Option<Box<Member>>>,
    by_name: HashMap<Box<str>, Slot>,
    free: Vec<Slot>,
}

impl Members {
    pub(super) fn find(&self, name: &str) -> Option<Slot> {
        self.by_name.get(name).copied()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Member> {
        self.slots.get(slot.0)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Member> {
        self.slots.get_mut(slot.0)?.as_deref_mut()
    }

    /// Adds a member, whose name must be free.
    pub(super) fn insert(&mut self, member: Box<Member>) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Slot(self.slots.len() - 1)
        });
        self.by_name.insert(member.name.clone(), slot);
        if let Some(place) = self.slots.get_mut(slot.0) {
            *place = Some(member);
        }
        slot
    }

    /// Takes a member out. The slot it frees is the next that [`Self::insert`] uses: removing and inserting undo one another.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Box<Member>> {
        let member = self.slots.get_mut(slot.0)?.take()?;
        self.by_name.remove(&member.name);
        self.free.push(slot);
        Some(member)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.slots.iter_mut().filter_map(|slot| slot.as_deref_mut())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.slots.iter().filter_map(|slot| slot.as_deref())
    }
}
