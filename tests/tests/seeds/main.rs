//! Five clients, each written as the clients of an earlier system were, with that system's own messages and its own constants, and each through
//! its whole scenario against the public binary. They share the socket below and the harness, and nothing else.
//!
//! Covered: a mirror of the whole state (`mirror`); a studio that synchronises state and logs and follows the daemon's configuration (`studio`);
//! a dashboard of a program that runs (`dashboard`); a control panel with telemetry, alarms and limits (`panel`); stores that follow envelopes
//! of events (`envelopes`).
#![cfg(test)]

mod common;
mod dashboard;
mod envelopes;
mod mirror;
mod panel;
mod studio;
