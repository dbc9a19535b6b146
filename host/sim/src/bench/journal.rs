//! What happened on the bench: the entries of its journal, in the order of time.
//!
//! Every edge on a contact that stands in for a button is in it, with its cause. A run whose journal has no edge has pressed nothing.

use super::desk::PcEvent;
use crate::board::NoteKind;
use crate::frontpanel::Edge;
use crate::keyboard::KeyEdge;
use crate::pc::machine::{Contact, Switch};
use crate::wattsup::Record;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The PC itself.
    Pc,
    /// The power meter.
    PowerMeter,
    /// The front-panel controller.
    Atx,
    /// The keyboard adapter.
    Keyboard,
}

/// Something that happened: a line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Simulated time since the bench was set up.
    #[serde(rename = "atMs", serialize_with = "as_milliseconds")]
    pub at: Duration,
    /// Who did it.
    pub device: Source,
    /// What it was.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// On the cable of a board.
    Cable(NoteKind),
    /// Between the devices and the PC, or inside it.
    Pc(PcEvent),
    /// A row of the meter was settled.
    Row(Record),
}

impl Entry {
    /// The edge on one of the two contacts, if it was one.
    pub fn edge(&self) -> Option<Edge> {
        match &self.event {
            Event::Pc(PcEvent::Edge {
                switch,
                contact,
                cause,
            }) => Some(Edge {
                at: self.at,
                switch: *switch,
                contact: *contact,
                cause: *cause,
            }),
            _ => None,
        }
    }

    /// What happened to a key, if it was that.
    pub fn key(&self) -> Option<KeyEdge> {
        match &self.event {
            Event::Pc(PcEvent::Key {
                action,
                prefix,
                code,
                cause,
            }) => Some(KeyEdge {
                at: self.at,
                action: *action,
                prefix: *prefix,
                code: *code,
                cause: *cause,
            }),
            _ => None,
        }
    }

    /// Whether a contact closed here.
    pub fn closes(&self, switch: Switch) -> bool {
        self.edge()
            .is_some_and(|edge| edge.switch == switch && edge.contact == Contact::Closed)
    }
}

fn as_milliseconds<S: Serializer>(at: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(at.as_millis()).unwrap_or(u64::MAX))
}
