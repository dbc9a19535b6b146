//! The daemon `autobench`: one process beside a hardware bench that owns its state, its logs and its ports.

pub mod app;
pub mod cli;
pub mod config;
pub mod http;
pub mod hub;
pub mod logs;
pub mod state;
