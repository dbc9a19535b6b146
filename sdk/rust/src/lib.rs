//! What a driver author uses.
//!
//! A driver is a type that implements [`Driver`] and is exported with [`export_driver!`]. The host pushes events into it; what it may touch
//! stands in its [`Context`]. It keeps its slice in [`Context::slice`] and edits it in place: after each call the SDK compares it with what
//! was last published and sends only the fields that differ, at most 20 times a second, with a timer for the rest.
//!
//! The same type runs natively under [`bench::Bench`], a host made of plain code with a scripted port and a clock that the test owns, so a
//! driver is tested with `cargo test`.
//!
//! ```
//! use autobench_sdk::{Bytes, Context, Driver, LineFramer, Manifest, PortWish, Refusal, Slice, Snapshot, Start};
//!
//! #[derive(Clone, Default, schemars::JsonSchema, Slice)]
//! #[serde(rename_all = "camelCase")]
//! struct Seen {
//!     line_count: u64,
//! }
//!
//! struct Counter(LineFramer);
//!
//! impl Driver for Counter {
//!     type Settings = autobench_sdk::NoSettings;
//!     type Slice = Seen;
//!
//!     fn manifest() -> Manifest {
//!         Manifest::new("line-counter", "1.0.0", "Counts lines.").port(PortWish::new("main", "Any text."))
//!     }
//!     fn start(_: &mut Context<'_, Seen>, _: Start<Self::Settings>) -> Result<Self, Refusal> {
//!         Ok(Self(LineFramer::new(1024)))
//!     }
//!     fn on_bytes(&mut self, cx: &mut Context<'_, Seen>, bytes: Bytes) {
//!         self.0.feed(&bytes.data, |_line| cx.edit().line_count += 1);
//!     }
//!     fn snapshot(&self) -> Snapshot {
//!         Snapshot::of(&()).rereading("main", self.0.held())
//!     }
//! }
//!
//! # fn main() -> Result<(), Refusal> {
//! let mut bench = autobench_sdk::bench::Bench::<Counter>::start()?;
//! bench.feed("main", b"one\ntw");
//! let mut bench = bench.swap()?;
//! bench.feed("main", b"o\n");
//! bench.settle();
//! assert_eq!(bench.slice()["lineCount"], 2);
//! # Ok(())
//! # }
//! ```

// Lets the derive macro name this crate in the SDK's own tests too.
extern crate self as autobench_sdk;

#[cfg(not(target_arch = "wasm32"))]
pub mod bench;
pub mod bindings;
mod context;
mod driver;
mod framer;
mod host;
mod log;
mod manifest;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
mod publisher;
mod runtime;
mod slice;
mod time;
#[cfg(target_arch = "wasm32")]
mod wasm;

pub use autobench_sdk_derive::Slice;
pub use context::Context;
pub use driver::{Command, Driver, NoArguments, NoSettings, Snapshot, Start};
pub use framer::{Line, LineFramer, PacketFramer, Piece};
pub use host::Host;
pub use manifest::{Manifest, PortWish, line};
pub use slice::{Changes, History, Member, Slice};
pub use time::{iso_8601, whole_ms};

pub use bindings::autobench::driver::commands::{CommandError, Outcome};
pub use bindings::autobench::driver::events::EventError;
pub use bindings::autobench::driver::lease::LeaseError;
pub use bindings::autobench::driver::log::Level;
pub use bindings::autobench::driver::serial::{Identity, InputSignals, OutputSignals, SerialError};
pub use bindings::autobench::driver::state::{Appending, Assignment, Operation, Path, StateError};
pub use bindings::autobench::driver::telemetry::{Sample, TelemetryError};
pub use bindings::autobench::driver::timer::TimerError;
pub use bindings::autobench::driver::types::{
    Attribute, DataBits, FlowControl, LineSettings, Parity, Severity, StopBits, Value,
};
pub use bindings::exports::autobench::driver::guest::{
    Attached, Bytes, Cancellation, IdentityHint, LeaseEnd, LineError, LinesChanged, Lost, Observed,
    OtherEvent, Overrun, PortState, Refusal, StartReason, StopReason,
};

/// What the macros of this crate name. No part of the interface.
#[doc(hidden)]
pub mod private {
    pub use crate::slice::{absent_diff, json_diff, json_into, json_of};
    #[cfg(target_arch = "wasm32")]
    pub use crate::wasm::Instance;
    pub use serde_json::{Map, Value as Json};
}

/// Exports a [`Driver`] as the component's `guest`. Natively it does nothing, so that the same crate is tested with `cargo test`.
#[macro_export]
macro_rules! export_driver {
    ($driver:ty) => {
        // Says natively too what a type that is no driver lacks.
        const _: fn() = || {
            fn is_driver<D: $crate::Driver>() {}
            is_driver::<$driver>();
        };

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::exports::autobench::driver::guest;

            ::std::thread_local! {
                static INSTANCE: $crate::private::Instance<$driver> = $crate::private::Instance::new();
            }

            struct Component;

            impl guest::Guest for Component {
                fn describe() -> guest::Manifest {
                    INSTANCE.with(|instance| instance.describe())
                }
                fn start(configuration: guest::Configuration) -> Result<(), guest::Refusal> {
                    INSTANCE.with(|instance| instance.start(configuration))
                }
                fn handle(event: guest::Event) {
                    INSTANCE.with(|instance| instance.handle(event));
                }
                fn snapshot() -> guest::DriverSnapshot {
                    INSTANCE.with(|instance| instance.snapshot())
                }
                fn stop(reason: guest::StopReason) {
                    INSTANCE.with(|instance| instance.stop(reason));
                }
            }

    $crate::bindings::export_guest!(Component with_types_in $crate::bindings);
        };
    };
}
