//! The serving half of the daemon over real sockets: state, logs and telemetry in, frames out. No driver and no port takes part.
#![cfg(test)]

mod access;
mod actors;
mod bench;
mod deflate;
mod events;
mod fanout;
mod hostile;
mod http;
mod messages;
mod metrics;
mod openapi;
mod protocol;
mod relay;
mod rest;
mod resume;
mod siege;
mod telemetry;
