//! The serving half of the daemon over real sockets: state, logs and telemetry in, frames out. No driver and no port takes part.

#[cfg(test)]
mod access;
#[cfg(test)]
mod actors;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod deflate;
#[cfg(test)]
mod events;
#[cfg(test)]
mod fanout;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod http;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod rest;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod siege;
