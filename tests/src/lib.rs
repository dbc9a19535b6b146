//! The harness of the stories: starts the public binary on pseudo-terminals and looks at it from outside, as a browser and as an engineer
//! would. It shares no code with the daemon except the wire's own numbers.
//!
//! A test waits for a condition with a deadline and never for a time. What it needs is built by `cargo verify`, which names it in the
//! environment; run by hand, a missing name says which.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test harness: a failure here is the test's failure"
)]

mod artifacts;
mod browser;
mod canonical;
mod client;
mod command;
mod daemon;
mod http;
mod relay;
mod setups;
mod sim;
mod terminal;

pub use artifacts::{Artifacts, variant_of};
pub use browser::{Browser, Look};
pub use canonical::{canonical, sort_names, write_string, write_value};
pub use client::{Client, Mirror};
pub use command::Ran;
pub use daemon::{Bench, Daemon, DeviceEntry};
pub use http::{Response, call, get, request};
pub use relay::Relay;
pub use setups::{Metered, Neighbours, Probe};
pub use sim::{Journal, Sim};
pub use terminal::Terminal;
pub use test_support::{Frame, Random, client_frame, given_seed, is_long, new_seed, take_frame};

use std::time::{Duration, Instant};

/// How long a story waits for anything before it fails. Generous, because the machine may be building beside, and plugins are compiled at the lowest priority.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until a look gives something.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        // How often it looks; what it waits for is the look.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
