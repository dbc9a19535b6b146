//! Where a shadow run begins: the last checkpoint, and what the driver was told since.

use std::sync::Arc;

use super::Cell;
use crate::driver::journal::{Entry, Own};
use crate::driver::shadow::{Origin, Tapped, Told};
use crate::driver::{CallTime, Event, Guest};

impl<G: Guest> Cell<G> {
    /// Where a shadow run begins. None for a driver that has never come to rest: there is nothing that another version could go on from.
    pub fn shadow_origin(&self, now: CallTime) -> Option<Origin> {
        let checkpoint = self.checkpoint.as_ref()?;
        let since = self.journal.entries().filter_map(|entry| {
            let (told, time, refused) = match entry {
                &Entry::Bytes {
                    port,
                    from,
                    to,
                    refused,
                } => (Told::Bytes { port, from, to }, now, refused),
                &Entry::Spared { port, from, to } => (Told::Bytes { port, from, to }, now, false),
                Entry::Event {
                    event, time, refused, ..
                } => (Told::Event(event.clone()), *time, *refused),
                Entry::Gone(Own::Timer(id)) | Entry::WasGone(Own::Timer(id)) => {
                    (Told::TimerGone(*id), now, false)
                }
                // A shadow run holds nothing.
                Entry::Gone(Own::Lease(_)) | Entry::WasGone(Own::Lease(_)) => return None,
            };
            Some(Tapped { told, time, refused })
        });
        let is_timer = |tapped: &Tapped| matches!(tapped.told, Told::Event(Event::Timer(_)));
        Some(Origin {
            device: Arc::clone(&self.setup.device),
            settings: Arc::clone(&self.setup.settings),
            snapshot: checkpoint.snapshot.clone(),
            slice: checkpoint.slice.clone(),
            ports: checkpoint.ports.clone(),
            timers: checkpoint.timers.clone(),
            leases: checkpoint.leases.clone(),
            commands: checkpoint.commands.clone(),
            time: self.journal.since().unwrap_or(now),
            since: since.filter(|tapped| !is_timer(tapped)).collect(),
        })
    }
}
