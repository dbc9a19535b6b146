//! The document, its version, and what is flushed of it.

mod transaction;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value as Json};

pub use self::transaction::Transaction;

use self::transaction::Running;
use super::members::{Member, Members};
use super::path::Path;
use super::pending::{Flush, Pending};
use super::value::Incoming;
use super::{Operation, Pointer, StateError};
use crate::wire::{AppState, encode};

/// Bytes of JSON that a slice may take unless it is given another limit.
pub const DEFAULT_SLICE_LIMIT_BYTES: usize = 256 * 1024;

/// Members that are the host's. No slice may have one of these names; they have no size limit.
pub const HOST_MEMBERS: [&str; 10] = [
    "version",
    "meta",
    "message",
    "layout",
    "config",
    "serverConfig",
    "plugins",
    "devices",
    "logs",
    "alarms",
];

/// From here on the pending flush should go out at once, whatever the broadcast interval says; see [`Store::pending_is_full`].
pub const MAX_PENDING_BYTES: usize = 256 * 1024;

/// The state document. Its only writer; whoever shares it puts one lock around it.
#[derive(Debug)]
pub struct Store {
    version: u64,
    /// The version as a value, so that `/version` can be read like any other place.
    version_value: Json,
    members: Members,
    limits: HashMap<Box<str>, usize>,
    pending: Pending,
    /// The version that the last flush led to.
    flushed_version: u64,
    /// The snapshot of the present version, if it was taken.
    snapshot: Option<Bytes>,
    transaction: Running,
    path: Path,
    /// Members, there or not, whose changes somebody wants to hear of.
    observed: BTreeSet<Arc<str>>,
    /// Those that have changed since this was asked last.
    observed_changes: Vec<Arc<str>>,
}

/// The document at one version.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The version.
    pub version: u64,
    /// The document as JSON.
    pub data: Bytes,
    /// The flush that the snapshot closed. It leads to the snapshot's version and has to be published before anybody who is given the
    /// snapshot is given anything else.
    pub closed: Option<Flush>,
}

impl Store {
    /// A store with the host's members.
    pub fn new(state: &AppState) -> Result<Self, StateError> {
        match serde_json::to_value(state) {
            Ok(Json::Object(members)) => Self::from_members(members),
            // A struct whose maps have texts for keys is always an object.
            Ok(_) | Err(_) => Err(StateError::Reserved { path: String::new() }),
        }
    }

    /// A store with any members. A member `version` that is a whole number is where the versions begin.
    pub fn from_members(members: Map<String, Json>) -> Result<Self, StateError> {
        let version = members.get("version").and_then(Json::as_u64).unwrap_or(0);
        let mut store = Self {
            version,
            version_value: version.into(),
            members: Members::default(),
            limits: HashMap::new(),
            pending: Pending::default(),
            flushed_version: version,
            snapshot: None,
            transaction: Running::default(),
            path: Path::default(),
            observed: BTreeSet::new(),
            observed_changes: Vec::new(),
        };
        store.transaction(|transaction| {
            for (name, value) in members {
                if name != "version" {
                    transaction.set_member(&name, Incoming::Tree(value))?;
                }
            }
            Ok::<(), StateError>(())
        })?;
        // The first version is the one that was given; nobody has seen anything before it.
        store.pending.take(version, version);
        store.version = version;
        store.version_value = version.into();
        Ok(store)
    }

    /// The present version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Reads a place.
    pub fn get(&self, at: &Pointer) -> Option<&Json> {
        let (name, rest) = at.tokens().split_first()?;
        if &**name == "version" {
            return rest.is_empty().then_some(&self.version_value);
        }
        let mut place = &self.members.get(self.members.find(name)?)?.value;
        for token in rest {
            place = match place {
                Json::Object(members) => members.get(&**token)?,
                Json::Array(elements) => elements.get(super::path::array_index(token)?)?,
                _ => return None,
            };
        }
        Some(place)
    }

    /// Names of all members but `version`.
    pub fn member_names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| &*member.name)
    }

    /// A member as JSON.
    pub fn member_bytes(&mut self, name: &str) -> Option<Bytes> {
        let slot = self.members.find(name)?;
        self.members.get_mut(slot).map(Member::bytes)
    }

    /// Length of a member as JSON; costs nothing.
    pub fn member_size_bytes(&self, name: &str) -> Option<usize> {
        Some(self.members.get(self.members.find(name)?)?.size)
    }

    /// Gives a slice another size limit, now or for when it comes. A slice that is over it already may only shrink.
    pub fn set_limit(&mut self, slice: &str, limit_bytes: usize) {
        self.limits.insert(slice.into(), limit_bytes);
    }

    /// From now on changes of this member are [noted](Self::take_observed_changes), also when it comes and when it goes. A change of another member costs
    /// nothing more for that.
    pub fn observe(&mut self, member: &str) {
        self.observed.insert(member.into());
        self.mark_observed(member, true);
    }

    /// Nobody wants to hear of it any more.
    pub fn unobserve(&mut self, member: &str) {
        self.observed.remove(member);
        self.mark_observed(member, false);
    }

    /// The observed members that have changed since this was asked last, each once.
    pub fn take_observed_changes(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.observed_changes)
    }

    /// Several changes as one: all or, when the closure answers with an error, none of them; one version for all. Gives the new version,
    /// or none when nothing has changed.
    pub fn transaction<R, E: From<StateError>>(
        &mut self,
        change: impl FnOnce(&mut Transaction<'_>) -> Result<R, E>,
    ) -> Result<(R, Option<u64>), E> {
        self.transaction.number += 1;
        let start = self.pending.mark();
        // Dropped without a commit, whether by an error or a panic in the closure, the transaction rolls back.
        let mut transaction = Transaction {
            store: self,
            start,
            open: true,
        };
        let result = change(&mut transaction)?;
        let version = transaction.commit()?;
        Ok((result, version))
    }

    /// Puts a value at a place: makes or replaces it. Its parent has to be there.
    pub fn set(&mut self, at: &Pointer, value: Json) -> Result<Option<u64>, StateError> {
        self.single(|transaction| transaction.set(at, value))
    }

    /// Merges into a place (RFC 7386).
    pub fn merge(&mut self, at: &Pointer, patch: Json) -> Result<Option<u64>, StateError> {
        self.single(|transaction| transaction.merge(at, patch))
    }

    /// Makes a place equal to a value, with operations only for the members of objects that differ.
    pub fn replace(&mut self, at: &Pointer, value: Json) -> Result<Option<u64>, StateError> {
        self.single(|transaction| transaction.replace(at, value))
    }

    /// Takes a place away.
    pub fn remove(&mut self, at: &Pointer) -> Result<Option<u64>, StateError> {
        self.single(|transaction| transaction.remove(at))
    }

    /// Adds to a bounded array.
    pub fn append(&mut self, at: &Pointer, value: Json, bound: u32) -> Result<Option<u64>, StateError> {
        self.single(|transaction| transaction.append(at, value, bound))
    }

    /// A driver's operations on its slice: all or none.
    pub fn apply(&mut self, slice: &str, operations: &[Operation]) -> Result<Option<u64>, StateError> {
        self.single(|transaction| transaction.apply(slice, operations))
    }

    /// Makes a slice equal to a value; creates it if it is not there.
    pub fn replace_slice(&mut self, slice: &str, value: Json) -> Result<Option<u64>, StateError> {
        self.single(|transaction| transaction.replace_slice(slice, value))
    }

    /// Takes a slice away; one of the [offered members](super::OFFERED_MEMBERS) is as by default again. One that is not there is no change.
    pub fn remove_slice(&mut self, slice: &str) -> Result<Option<u64>, StateError> {
        self.single(|transaction| transaction.remove_slice(slice))
    }

    /// Whether something waits to be flushed.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether what waits is so much that it should go out at once. The pending flush is as large as this and one more transaction, as
    /// long as the caller does so.
    pub fn pending_is_full(&self) -> bool {
        self.pending.len_bytes() >= MAX_PENDING_BYTES
    }

    /// Everything since the last flush, as one `state.patch`.
    pub fn take_flush(&mut self) -> Option<Flush> {
        let flush = self.pending.take(self.flushed_version, self.version);
        self.flushed_version = self.version;
        flush
    }

    /// The document as it is now. Closes the pending flush first, so that what follows the snapshot begins at its version.
    pub fn snapshot(&mut self) -> Snapshot {
        let closed = self.take_flush();
        let data = match &self.snapshot {
            Some(data) => data.clone(),
            None => self.join_members(),
        };
        self.snapshot = Some(data.clone());
        Snapshot {
            version: self.version,
            data,
            closed,
        }
    }

    /// The document as one value.
    #[cfg(test)]
    pub(super) fn document(&self) -> Json {
        let mut document = Map::new();
        document.insert("version".to_owned(), self.version.into());
        for member in self.members.iter() {
            document.insert(member.name.to_string(), member.value.clone());
        }
        Json::Object(document)
    }

    /// What waits to be flushed, without taking it.
    #[cfg(test)]
    pub(super) fn pending_text(&self) -> String {
        format!("{:?}", self.pending)
    }

    fn mark_observed(&mut self, member: &str, is_observed: bool) {
        let slot = self.members.find(member);
        if let Some(member) = slot.and_then(|slot| self.members.get_mut(slot)) {
            member.is_observed = is_observed;
        }
    }

    fn single(
        &mut self,
        change: impl FnOnce(&mut Transaction<'_>) -> Result<(), StateError>,
    ) -> Result<Option<u64>, StateError> {
        self.transaction(change).map(|((), version)| version)
    }

    /// The document from the members' own bytes; only members that have changed are serialised.
    fn join_members(&mut self) -> Bytes {
        let size: usize = self
            .members
            .iter()
            .map(|member| member.size + member.name.len() + 4)
            .sum();
        let mut data = Vec::with_capacity(size + 32);
        data.extend_from_slice(b"{\"version\":");
        encode::put(&mut data, &self.version);
        for member in self.members.iter_mut() {
            data.push(b',');
            encode::put(&mut data, &*member.name);
            data.push(b':');
            data.extend_from_slice(&member.bytes());
        }
        data.push(b'}');
        data.into()
    }
}
