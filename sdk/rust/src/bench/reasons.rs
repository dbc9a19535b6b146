//! Why a command was not done, where a test knows that it was not.

use crate::Outcome;

/// The reason of a command that was not tried. It takes what [`Bench::outcome`](super::Bench::outcome) gives, or an outcome; one that is not
/// [`Outcome::Blocked`] panics.
#[must_use]
#[track_caller]
#[expect(clippy::panic, reason = "the test says how the command ended, and is wrong")]
pub fn blocked<'a>(outcome: impl Into<Option<&'a Outcome>>) -> String {
    match outcome.into() {
        Some(Outcome::Blocked(reason)) => reason.clone(),
        other => panic!("not blocked: {other:?}"),
    }
}

/// The reason of a command that was tried and not done; any other end than [`Outcome::Failed`] panics.
#[must_use]
#[track_caller]
#[expect(clippy::panic, reason = "the test says how the command ended, and is wrong")]
pub fn failed<'a>(outcome: impl Into<Option<&'a Outcome>>) -> String {
    match outcome.into() {
        Some(Outcome::Failed(reason)) => reason.clone(),
        other => panic!("not failed: {other:?}"),
    }
}
