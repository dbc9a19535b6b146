//! Drivers: components that run in wasmtime, one thread each, and the supervisor that binds them to devices.
//!
//! ```text
//! file --package--> bytes --compile, cache--> code --loader--> Prepared --instance--> Instance
//!                                                                                       | calls, effects
//! supervisor --orders--> device (thread, cell) <-----------------------------------------+
//!                            | sink: store, hub, log, ports
//! ```

mod alarms;
mod arguments;
#[expect(missing_docs, reason = "generated; the documentation is in wit/")]
pub mod bindings;
mod builder;
mod cache;
pub mod compile;
mod convert;
pub mod core_dump;
pub mod desk;
mod device;
pub mod endpoints;
pub mod engine;
mod events;
mod fault;
mod fit;
mod health;
pub mod host_state;
mod imports;
mod inbox_feed;
pub mod instance;
mod leases;
mod limits;
mod lives;
pub mod loader;
pub mod manifest;
mod metrics;
pub mod offline;
pub mod package;
pub mod record;
pub mod shadow;
mod shelf;
mod sink;
pub mod supervisor;
mod swap;
mod wasi;
mod watch;

pub use arguments::{CommandTable, Unfit};
pub use cache::{Cache, CacheError};
pub use fit::misfits;
