//! The daemon `autobench`: one process beside a hardware bench that owns its state, its logs and its ports.

pub mod access;
pub mod app;
mod bucket;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
mod data_folder;
pub mod driver;
mod durable;
pub mod http;
pub mod hub;
mod layout;
pub mod load;
pub mod logs;
pub mod metrics;
pub mod sched;
pub mod serial;
mod shares;
pub mod state;
mod tcp;
