//! Events of drivers, and about them, in the envelope that clients know.

use std::sync::atomic::{AtomicU64, Ordering};

use autobench_core::driver::Publication;
use autobench_core::wire::{Event, EventBody};

use crate::clock::wall_ms;
use crate::state::StateHandle;

/// Puts a publication into its envelope. Its number is unique in one run of the daemon, which the `bootId` names.
pub fn envelope(state: &StateHandle, sender: &str, publication: Publication) -> Event {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut context = publication.context;
    context.insert("kind".to_owned(), publication.kind.into());
    Event {
        timestamp: wall_ms(),
        event: EventBody {
            _id: format!("{}-{}", state.boot_id(), NEXT.fetch_add(1, Ordering::Relaxed)),
            process_id: state.boot_id().to_owned(),
            sender: Some(sender.to_owned()),
            message: publication.message,
            level: publication.level,
            context: context.into(),
        },
    }
}
