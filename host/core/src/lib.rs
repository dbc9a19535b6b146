//! The pure heart of autobench: no tokio, no sockets, no wasm.
//!
//! What lives here can be tested in a line and run over a million seeded schedules. `state` is the versioned document and its patches, `logs`
//! the log ring, `wire` the messages of the socket, `frame` WebSocket framing, `outbox` what a client is sent next, `deflate` how that is
//! compressed once for all, `driver` the cell that keeps a driver's calls transactional over traps and swaps, `access` who may do what,
//! `commands` what becomes of a command, `capture` what a port did as a file.

pub mod access;
pub mod capture;
pub mod commands;
pub mod deflate;
pub mod driver;
pub mod frame;
pub mod logs;
pub mod outbox;
pub mod state;
#[cfg(test)]
mod testing;
pub mod wire;
