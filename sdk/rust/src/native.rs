//! A driver that runs natively under a host of the caller's, for benchmarks that set a component beside the same code without one.
//!
//! Tests of drivers want [`bench::Bench`](crate::bench::Bench), which brings a host along.

use crate::bindings::exports::autobench::driver::guest;
use crate::driver::Driver;
use crate::runtime::Runtime;
use crate::{Refusal, StopReason};

pub use crate::host::Host;
pub use guest::{Configuration, DriverSnapshot, Event};

/// A running driver: the exports of a component that exist after a start, each with the host that stands for the imports.
pub struct Native<D: Driver>(Runtime<D>);

impl<D: Driver> Native<D> {
    /// `guest.start`.
    pub fn start(host: &mut (dyn Host + 'static), configuration: Configuration) -> Result<Self, Refusal> {
        Runtime::start(host, configuration).map(Self)
    }

    /// `guest.handle`.
    pub fn handle(&mut self, host: &mut (dyn Host + 'static), event: Event) {
        self.0.handle(host, event);
    }

    /// `guest.snapshot`.
    pub fn snapshot(&self, host: &mut (dyn Host + 'static)) -> DriverSnapshot {
        self.0.snapshot(host)
    }

    /// `guest.stop`.
    pub fn stop(&mut self, host: &mut (dyn Host + 'static), reason: StopReason) {
        self.0.stop(host, reason);
    }
}
