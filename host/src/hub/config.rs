//! How the fan-out behaves.

use std::time::Duration;

use autobench_core::outbox::RING_BYTES;
use autobench_core::wire::Limits;

use crate::access::Guard;

/// How the fan-out behaves.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// What one client may ask for; every client is told.
    pub limits: Limits,
    /// Distance between two flushes of logs, samples and events while they keep coming.
    pub broadcast_interval: Duration,
    /// Log entries that a client gets first.
    pub history_entries: u64,
    /// Memory for the segments of a channel.
    pub ring_bytes: usize,
    /// Whether clients that offer it are sent compressed messages.
    pub deflate: bool,
    /// How long a socket may take nothing.
    pub stall_timeout: Duration,
    /// How long a client may take to say goodbye.
    pub close_timeout: Duration,
    /// How long a client may take to say who it is.
    pub auth_timeout: Duration,
    /// Who it can be.
    pub guard: Guard,
    /// Version of the daemon, for `welcome`.
    pub server_version: String,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            broadcast_interval: Duration::from_millis(10),
            history_entries: 200,
            ring_bytes: RING_BYTES,
            deflate: true,
            stall_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(2),
            auth_timeout: Duration::from_secs(5),
            guard: Guard::open(),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
