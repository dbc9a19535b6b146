//! When and how a slice is published: all of it at the start, then what differs, at most 20 times a second.

use crate::host::AnyHost;
#[cfg(target_arch = "wasm32")]
use crate::host::Host as _;
use crate::slice::{Changes, Slice};
use crate::{Assignment, Level, Operation, Path, Sample};

/// The timer that publishes what was held back. Drivers choose small numbers.
pub(crate) const TRAILING_TIMER: u32 = u32::MAX;

/// At most 20 publications a second: faster than anybody looks, slower than any meter that is worth its name.
const SPACING_MS: u32 = 50;
const SPACING_NS: u64 = SPACING_MS as u64 * 1_000_000;

/// What the SDK keeps for a driver between calls.
pub(crate) struct Desk<S> {
    /// The slice as the driver has it.
    pub(crate) slice: S,
    /// The slice as the host has it.
    published: S,
    paths: Vec<Path>,
    /// Buffer of one publication, used again.
    operations: Vec<Operation>,
    /// Whether the driver has asked for the slice to change it since the last publication.
    pub(crate) touched: bool,
    /// Whether the next publication is due at once.
    pub(crate) urgent: bool,
    /// Whether the next publication is the whole slice, because the host's may be anything.
    pub(crate) whole: bool,
    published_ns: Option<u64>,
    /// Samples of this call, pushed together when it ends.
    pub(crate) samples: Vec<Sample>,
    /// Timers that the host is believed to run, at most 64; a set would be a page of code in every driver.
    timers: Vec<u32>,
    /// What the host refused last, so that a slice that stays too large is logged once and not twenty times a second.
    refused: Option<String>,
}

impl<S: Slice> Desk<S> {
    pub(crate) fn new(host: &mut AnyHost, slice: S, timers: &[u32]) -> Self {
        let mut places = Vec::with_capacity(S::PLACES);
        S::places(&mut String::new(), &mut places);
        let paths = places
            .into_iter()
            // A host that cannot number a path takes it as text.
            .map(|place| host.intern(&place).map_or(Path::Text(place), Path::Interned))
            .collect();
        Self {
            published: slice.clone(),
            slice,
            paths,
            operations: Vec::new(),
            touched: false,
            urgent: false,
            whole: true,
            published_ns: None,
            samples: Vec::new(),
            timers: timers.to_vec(),
            refused: None,
        }
    }

    /// Ends a call: pushes its samples and publishes what is due. In a replay everything is due, because the host drops timers that are set
    /// in one and puts the slice into the state once at its end.
    pub(crate) fn settle(&mut self, host: &mut AnyHost, replayed: bool) {
        self.push_samples(host);
        if self.touched || self.urgent || self.published_ns.is_none() {
            self.publish(host, replayed);
        }
    }

    /// The trailing timer has run out.
    pub(crate) fn trailing_timer_ran_out(&mut self) {
        self.urgent = true;
    }

    pub(crate) fn timer_runs(&self, id: u32) -> bool {
        self.timers.contains(&id)
    }

    pub(crate) fn timer_set(&mut self, id: u32) {
        if !self.timers.contains(&id) {
            self.timers.push(id);
        }
    }

    /// A timer has run out or was taken back; the answer says whether it ran.
    pub(crate) fn timer_over(&mut self, id: u32) -> bool {
        let ran = self.timers.iter().position(|&running| running == id);
        ran.map(|index| self.timers.swap_remove(index)).is_some()
    }

    fn push_samples(&mut self, host: &mut AnyHost) {
        if self.samples.is_empty() {
            return;
        }
        if let Err(error) = host.push(&self.samples) {
            host.log(Level::Error, &format!("samples were refused: {error}"), &[]);
        }
        self.samples.clear();
    }

    fn publish(&mut self, host: &mut AnyHost, replayed: bool) {
        let now_ns = host.monotonic_ns();
        let since_ns = self.published_ns.map(|last| now_ns.saturating_sub(last));
        let due = self.urgent || replayed || since_ns.is_none_or(|since| since >= SPACING_NS);
        if !due && self.timer_runs(TRAILING_TIMER) {
            return;
        }
        self.operations.clear();
        if self.whole {
            let path = Path::Text(String::new());
            self.operations.push(Operation::Set(Assignment {
                path,
                value: self.slice.value(),
            }));
        } else {
            let mut changes = Changes {
                paths: &self.paths,
                operations: &mut self.operations,
            };
            self.slice.diff(&self.published, 0, &mut changes);
        }
        if self.operations.is_empty() {
            self.touched = false;
            self.urgent = false;
            return;
        }
        let since_ms = since_ns
            .and_then(|since| u32::try_from(since / 1_000_000).ok())
            .unwrap_or(SPACING_MS);
        // Without a timer there is nobody to publish later, so it goes out now.
        if !due
            && host
                .set_timer(TRAILING_TIMER, SPACING_MS.saturating_sub(since_ms).max(1))
                .is_ok()
        {
            self.timer_set(TRAILING_TIMER);
            return;
        }
        self.send(host, now_ns);
    }

    fn send(&mut self, host: &mut AnyHost, now_ns: u64) {
        self.touched = false;
        self.urgent = false;
        self.published_ns = Some(now_ns);
        match host.update_slice(&self.operations) {
            Ok(()) => {
                self.published.clone_from(&self.slice);
                self.whole = false;
                self.refused = None;
            }
            Err(error) => {
                let error = error.to_string();
                // What the host has now is still `published`, unless it was the whole slice that it did not take.
                if self.refused.as_ref() != Some(&error) {
                    host.log(Level::Error, &format!("the slice was refused: {error}"), &[]);
                    self.refused = Some(error);
                }
            }
        }
    }
}
