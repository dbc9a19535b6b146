//! Load for measurements: sockets that read and count, and a writer that changes the state at a steady rate.
//!
//! `swarm` is a load generator: one thread that reads any number of sockets and counts frames by their headers; only a few of its clients look
//! into what they are sent. `source` makes changes of the state inside a daemon, each with the time at which it was made, so that whoever
//! reads them on the same machine can tell how long they took. Neither takes part in a daemon that is not being measured.

mod frames;
mod latency;
mod source;
mod swarm;

pub use frames::FrameCounter;
pub use latency::{Latencies, Quantiles, monotonic_ns, sent_ns};
pub use source::{LoadPlan, Source, prepare};
pub use swarm::{Counts, Swarm, SwarmOptions, thread_cpu};
