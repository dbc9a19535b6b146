//! Load for measurements: sockets that read and count, and a writer that changes the state at a steady rate.
//!
//! `swarm` is a load generator: one thread that reads any number of sockets and counts frames by their headers; only a few of its clients look
//! into what they are sent. `source` makes changes of the state and log entries inside a daemon; a change names the moment at which it was
//! made, so that whoever reads it on the same machine can tell how long it took. `control` lets another process say how much. None takes part in a
//! daemon that is not being measured.

mod control;
mod frames;
mod handshake;
mod latency;
mod log_view;
mod source;
mod swarm;

pub use control::obey;
pub use latency::{Latencies, Quantiles, message, monotonic_ns};
pub use log_view::LogView;
pub use source::prepare;
pub use swarm::{Counts, Look, Swarm, SwarmOptions};
