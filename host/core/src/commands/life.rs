//! One command's stages, and when it reached each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// How far a command is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[ts(rename = "CommandStage")]
#[schemars(rename = "CommandStage")]
pub enum Stage {
    /// Taken; the driver has not dealt with it.
    Queued,
    /// The driver has dealt with it once; what it wrote is with the port.
    Sent,
    /// The device has taken it.
    Acked,
    /// Done.
    Succeeded,
    /// Tried, and not done; or nobody knows.
    Failed,
    /// Not tried, because something forbids it.
    Blocked,
    /// Its deadline came first.
    Expired,
    /// Given up on request.
    Cancelled,
}

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Done.
    Succeeded,
    /// Tried, and not done; or nobody knows.
    Failed,
    /// Not tried.
    Blocked,
    /// Its deadline came first.
    Expired,
    /// Given up on request.
    Cancelled,
}

/// When each stage was reached, in milliseconds since 1970. A stage that was passed over has the time of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// Taken.
    pub queued_ms: u64,
    /// Dealt with by the driver.
    pub sent_ms: Option<u64>,
    /// Taken by the device.
    pub acked_ms: Option<u64>,
    /// Over.
    pub completed_ms: Option<u64>,
}

/// A command's way through its stages. It goes forward only, and ends once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    stage: Stage,
    times: Times,
    newest_ms: u64,
}

impl Stage {
    /// Whether nothing follows.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Sent | Self::Acked)
    }

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Acked => "acked",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Ending> for Stage {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Succeeded => Self::Succeeded,
            Ending::Failed => Self::Failed,
            Ending::Blocked => Self::Blocked,
            Ending::Expired => Self::Expired,
            Ending::Cancelled => Self::Cancelled,
        }
    }
}

impl Life {
    /// A command that was just taken.
    pub fn new(now_ms: u64) -> Self {
        Self {
            stage: Stage::Queued,
            times: Times {
                queued_ms: now_ms,
                sent_ms: None,
                acked_ms: None,
                completed_ms: None,
            },
            newest_ms: now_ms,
        }
    }

    /// How far it is.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// When it got there.
    pub fn times(&self) -> Times {
        self.times
    }

    /// The driver has dealt with it. False if that is no news.
    pub fn sent(&mut self, now_ms: u64) -> bool {
        let is_news = self.stage == Stage::Queued;
        if is_news {
            self.times.sent_ms = Some(self.tick(now_ms));
            self.stage = Stage::Sent;
        }
        is_news
    }

    /// The device has taken it. False if that is no news.
    pub fn acked(&mut self, now_ms: u64) -> bool {
        self.sent(now_ms);
        let is_news = self.stage == Stage::Sent;
        if is_news {
            self.times.acked_ms = Some(self.tick(now_ms));
            self.stage = Stage::Acked;
        }
        is_news
    }

    /// It is over. False if it was over before: the first ending stands.
    pub fn end(&mut self, ending: Ending, now_ms: u64) -> bool {
        let is_news = !self.stage.is_final();
        if is_news {
            self.times.completed_ms = Some(self.tick(now_ms));
            self.stage = ending.into();
        }
        is_news
    }

    /// Times of one command never go back, whatever the machine's clock does.
    fn tick(&mut self, now_ms: u64) -> u64 {
        self.newest_ms = self.newest_ms.max(now_ms);
        self.newest_ms
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::config;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Sent,
        Acked,
        End(Ending),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Sent),
            3 => Just(Step::Acked),
            1 => prop_oneof![
                Just(Ending::Succeeded), Just(Ending::Failed), Just(Ending::Blocked), Just(Ending::Expired),
                Just(Ending::Cancelled),
            ].prop_map(Step::End),
        ]
    }

    fn take(life: &mut Life, step: Step, now_ms: u64) -> bool {
        match step {
            Step::Sent => life.sent(now_ms),
            Step::Acked => life.acked(now_ms),
            Step::End(ending) => life.end(ending, now_ms),
        }
    }

    #[test]
    fn a_command_goes_forward_only_ends_once_and_its_times_never_go_back() {
        let mut runner = proptest::test_runner::TestRunner::new(config(2_000, 200_000));
        // The machine's clock jumps about; what happens, and how often, is anything.
        let steps = proptest::collection::vec((step(), 0_u64..100), 0..12);
        runner
            .run(&(0_u64..100, steps), |(begin_ms, steps)| {
                let mut life = Life::new(begin_ms);
                let mut endings = 0;
                for (step, now_ms) in steps {
                    let before = life;
                    let is_news = take(&mut life, step, now_ms);
                    prop_assert_eq!(
                        is_news,
                        life != before,
                        "news is what changes, and nothing else is"
                    );
                    prop_assert!(life.stage() >= before.stage(), "no stage is gone back to");
                    if before.stage().is_final() {
                        prop_assert_eq!(life, before, "a final stage is final");
                    }
                    endings += usize::from(is_news && life.stage().is_final());
                    let Times {
                        queued_ms,
                        sent_ms,
                        acked_ms,
                        completed_ms,
                    } = life.times();
                    let reached: Vec<u64> = [Some(queued_ms), sent_ms, acked_ms, completed_ms]
                        .into_iter()
                        .flatten()
                        .collect();
                    prop_assert!(reached.is_sorted(), "{reached:?}");
                    prop_assert!(acked_ms.is_none() || sent_ms.is_some(), "acked and never sent");
                    prop_assert_eq!(completed_ms.is_some(), life.stage().is_final());
                }
                prop_assert_eq!(endings, usize::from(life.stage().is_final()));
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn every_stage_but_the_first_three_is_final() {
        let all = [
            Stage::Queued,
            Stage::Sent,
            Stage::Acked,
            Stage::Succeeded,
            Stage::Failed,
            Stage::Blocked,
            Stage::Expired,
            Stage::Cancelled,
        ];
        let open: Vec<_> = all.into_iter().filter(|stage| !stage.is_final()).collect();
        assert_eq!(open, [Stage::Queued, Stage::Sent, Stage::Acked]);
        for stage in all {
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.name());
        }
    }
}
