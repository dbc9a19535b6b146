//! The driver on the native bench with the emulator's firmware in the loop: what is typed reaches the PC once, whatever happens in between; what
//! is refused writes nothing; what is held is let go.

#![expect(clippy::expect_used, reason = "test helpers")]

mod adapter;
mod disturbances;
mod doubts;
mod holds;
mod identification;
mod losses;
mod pc;
mod queue;
mod secrets;
mod settings;
mod swaps;
mod typing;

use autobench_sdk::{Outcome, Value};

fn succeeded(count: i64) -> Outcome {
    Outcome::Succeeded(Some(Value::Integer(count)))
}

fn count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).expect("it is short")
}
