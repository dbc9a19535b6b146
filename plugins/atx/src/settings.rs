//! `[devices.<id>.settings]`.

use schemars::JsonSchema;
use serde::Deserialize;

/// The settings. Times are in milliseconds; what is not written has its default.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// How long a press lasts unless its command says otherwise.
    #[schemars(range(min = 50, max = 10_000))]
    pub press_ms: u32,
    /// How long the power button is pressed to cut power.
    #[schemars(range(min = 50, max = 10_000))]
    pub force_off_ms: u32,
    /// How long a hold lasts at the longest, unless its command says otherwise.
    #[schemars(range(min = 50, max = 10_000))]
    pub hold_ms: u32,
    /// How long a button is left alone after it was let go. A PC does not see two presses without anything between them as two.
    #[schemars(range(min = 50, max = 60_000))]
    pub dead_ms: u32,
    /// How long the board may take to say that it has done something.
    #[schemars(range(min = 100, max = 60_000))]
    pub reply_ms: u32,
    /// How long the PC may take until its 5 V are there.
    #[schemars(range(min = 100, max = 600_000))]
    pub confirm_on_ms: u32,
    /// How long the PC may take until its 5 V are gone.
    #[schemars(range(min = 100, max = 600_000))]
    pub confirm_off_ms: u32,
    /// How many commands may wait behind the one that is under way.
    #[schemars(range(max = 60))]
    pub queue_depth: u32,
    /// How long a board is left alone when it comes, before it is asked what it is. For boards that reset when their port is opened.
    #[schemars(range(max = 10_000))]
    pub wake_up_ms: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            press_ms: 250,
            force_off_ms: 5500,
            hold_ms: 10_000,
            dead_ms: 1000,
            reply_ms: 2000,
            confirm_on_ms: 10_000,
            confirm_off_ms: 20_000,
            queue_depth: 8,
            wake_up_ms: 0,
        }
    }
}

impl Settings {
    /// What is out of range, if anything is.
    pub fn check(&self) -> Result<(), String> {
        let ranges = [
            ("press-ms", self.press_ms, 50, 10_000),
            ("force-off-ms", self.force_off_ms, 50, 10_000),
            ("hold-ms", self.hold_ms, 50, 10_000),
            ("dead-ms", self.dead_ms, 50, 60_000),
            ("reply-ms", self.reply_ms, 100, 60_000),
            ("confirm-on-ms", self.confirm_on_ms, 100, 600_000),
            ("confirm-off-ms", self.confirm_off_ms, 100, 600_000),
            ("queue-depth", self.queue_depth, 0, 60),
            ("wake-up-ms", self.wake_up_ms, 0, 10_000),
        ];
        match ranges
            .iter()
            .find(|(_, value, least, most)| !(least..=most).contains(&value))
        {
            Some((name, _, least, most)) => Err(format!("{name} is a number from {least} to {most}")),
            None => Ok(()),
        }
    }
}
